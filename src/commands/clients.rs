//! The client programs that `setup` configures. To add one, write a file here and add a line to [`CLIENTS`].

mod aws;
mod bazel;
mod cargo;
pub mod client;
mod docker;
mod git;
mod go;
mod keyring;
mod kubectl;
mod kubelet;
mod links;
mod paste;
mod pip;
mod pnpm;
pub mod profiles;
pub mod program;
mod public;
pub mod report;
mod same_account;
pub mod terraform;
pub mod trial;
pub mod undo;
mod uv;
mod values;

use crate::commands::clients::client::Client;

/// Every client, in the order in which `setup` lists them.
pub const CLIENTS: &[&Client] = &[
    &kubectl::CLIENT,
    &docker::CLIENT,
    &git::CLIENT,
    &terraform::CLIENT,
    &aws::CLIENT,
    &go::CLIENT,
    &pip::CLIENT,
    &uv::CLIENT,
    &pnpm::CLIENT,
    &cargo::CLIENT,
    &bazel::CLIENT,
    &kubelet::CLIENT,
    &links::CLIENT,
];

/// Returns the client with this name.
pub fn named(name: &str) -> Option<&'static Client> {
    CLIENTS.iter().find(|client| client.name == name).copied()
}
