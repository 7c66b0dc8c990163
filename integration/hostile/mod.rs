//! A hostile world: processes killed at every step, disks that fail at every call, homes that are none, closed and full
//! channels, look-alike hosts, and whoever would like to see a secret.
//!
//! What must hold is the promise: no trouble with the cache, the disk or the channel ever costs a token that could be
//! had, and no secret is anywhere but where it belongs.

mod channel;
mod commons;
mod crash;
mod disk;
mod dispatch;
mod hosts;
mod places;
mod records;
mod secrets;
