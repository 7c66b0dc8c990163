//! Tests with real clients. Each runs against a server that accepts only the emulator's tokens.
//!
//! The tests check the output of the client, the requests that its server received, and the number of requests to the
//! emulator. If a client is not installed, its tests are skipped and report that.

mod aws;
mod bazel;
mod cargo;
mod client;
mod docker;
mod env_file;
mod git;
mod go;
mod kubectl;
mod kubernetes;
mod libraries;
mod new_user;
mod package_managers;
mod pipelines;
mod pnpm;
mod podman;
mod python;
mod registry;
mod sdk;
mod serve;
mod skopeo;
mod terraform;
mod test_server;
mod token;
pub mod versions;
