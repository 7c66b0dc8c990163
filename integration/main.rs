//! Tests that drive the built binary: against the emulator, and as the helper of the real clients.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the rules are about the product; the tests stand outside of it and make its surroundings"
)]

mod authority;
mod clients;
mod docs;
mod emulator;
mod expect;
mod harness;
mod hooks;
mod hostile;
mod layers;
mod object_storage;
mod packages;
mod requirements;
mod server;
mod sources;
mod stories;
mod world;
