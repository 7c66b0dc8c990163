//! End-to-end tests of ycred against the emulator. Each checks what the user sees and, in the emulator's log, which requests
//! were made.
//!
//! Tests avoid waiting for time to pass. They age records on disk ([`age`](crate::world::World::age)), shift the cloud's clock
//! or delay a response until they release it. Time limits only stop tests that hang.

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
