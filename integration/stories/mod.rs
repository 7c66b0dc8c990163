//! End-to-end tests of ycred against the emulator. They check its output, and its requests in the emulator's log.
//!
//! Tests avoid waiting for time to pass. They age records on disk ([`age`](crate::world::World::age)), shift the clock of
//! the cloud, or delay a response until they release it. Time limits only stop tests that hang.

mod access_keys;
mod completions;
mod crowds;
mod doctor;
mod env;
mod every_source;
mod explain;
mod first_run;
mod growth;
mod identity;
mod import;
mod install;
mod installations;
mod kubelet;
mod life;
mod log;
pub mod login;
mod logout;
mod mistakes;
mod names;
mod nested;
mod network;
mod only_profile;
mod profiles;
mod relief;
mod schema;
mod serve;
mod serverless;
pub mod setup;
mod sharing;
mod sources;
mod status;
mod terminal;
mod time;
pub mod tunnel;
mod upgrade;
mod workload;
