//! Stories of ycred against the emulator, whose log of requests is the oracle: what a user sees, and what it cost.
//!
//! Where they can, tests do not wait for time to pass: they make records older on disk ([`age`](crate::world::World::age)),
//! shift the cloud's clock, or hold an answer back until they release it. Upper bounds on time only keep a hang from lasting.

mod access_keys;
mod crowds;
mod every_source;
mod identity;
mod import;
mod installations;
mod kubelet;
mod life;
pub mod login;
mod logout;
mod network;
mod profiles;
mod serve;
mod serverless;
mod sources;
mod terminal;
mod time;
mod tunnel;
mod workload;
