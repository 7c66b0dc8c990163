//! Operating system interfaces that std does not have, and all `unsafe` code of the project.
//!
//! Code outside of this folder does not depend on the operating system. Each kind of system has a folder here, with the
//! modules `attributes`, `files`, `process` and `signals`.
#![expect(clippy::disallowed_types, reason = "the only place that knows the operating system")]

pub mod clock;
pub mod loopback;
pub mod memory;
pub mod peer;
pub mod verifier;

mod unix;

pub use unix::{URL_OPENERS, attributes, files, machine, process, signals};

use unix::sockets;

/// Whether this build's C library does not use the system's name service, so that `getent` can know more names. In debug
/// builds always, so that tests cover it.
pub const NEEDS_GETENT: bool = cfg!(all(target_os = "linux", any(target_env = "musl", debug_assertions)));
