//! The real clients, each against a server that takes nothing but the emulator's tokens.
//!
//! Every test looks at both ends: what the client got and said, what its server saw, and how many requests the emulator
//! counted. A client that is not installed skips its tests visibly.

mod aws;
mod bazel;
mod cargo;
mod client;
mod docker;
mod git;
mod go;
mod kubectl;
mod libraries;
mod package_managers;
mod pnpm;
mod podman;
mod python;
mod registry;
mod sdk;
mod serve;
mod skopeo;
mod stand_in;
mod terraform;
mod token;
pub mod versions;
