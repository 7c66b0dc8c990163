//! Fault injection: killed processes, failing disks, unusable home directories, closed and full channels, look-alike
//! hosts, and searches for leaked secrets.
//!
//! Two promises must hold. If a token can be obtained, no fault of the cache, the disk or a channel prevents it.
//! Secrets are only where they belong.

mod channel;
mod crash;
mod disk;
mod dispatch;
mod edits;
mod hints;
mod hosts;
mod install;
mod kinds;
mod origins;
mod other_user;
mod places;
mod records;
mod sandboxes;
mod secrets;
mod wording;
