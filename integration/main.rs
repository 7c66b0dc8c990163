//! Tests that run the built binary against the emulator and as a hook of the real clients.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "these rules apply to the product only; the tests set up its environment"
)]

mod clients;
mod docs;
mod expect;
mod harness;
mod hooks;
mod hostile;
mod layers;
mod messages;
mod object_storage;
mod packages;
#[path = "../fuzz/readers.rs"]
mod readers;
mod release;
mod requirements;
mod sources;
mod stories;
mod world;

use ycred_emulator as emulator;
use ycred_emulator::{authority, server};
