//! The client programs that `setup` configures. To add one, write a file here and add a line to [`CLIENTS`].

pub mod client;
mod kubectl;
pub mod profiles;
mod program;
pub mod report;

use crate::commands::clients::client::Client;

/// Every client, in the order in which `setup` lists them.
pub const CLIENTS: &[&Client] = &[&kubectl::CLIENT];

/// Returns the client with this name.
pub fn named(name: &str) -> Option<&'static Client> {
    CLIENTS.iter().find(|client| client.name == name).copied()
}
