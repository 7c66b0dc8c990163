//! Operating system interfaces that std does not have, and all `unsafe` code of the project.
//!
//! Code outside of this folder does not depend on the operating system. Each kind of system has a folder here, with the
//! modules `access`, `attributes`, `directories`, `files`, `fixes`, `machine`, `process`, `programs`, `signals` and `sockets`.
#![expect(clippy::disallowed_types, reason = "the only place that knows the operating system")]

pub mod browser;
pub mod clock;
pub mod loopback;
pub mod memory;
pub mod peer;
pub mod verifier;

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as os;
#[cfg(windows)]
use windows as os;

pub use os::{access, attributes, directories, files, fixes, machine, process, programs, signals};

use os::sockets;

/// Whether this build's C library does not use the system's name service, so that `getent` can know more names. In debug
/// builds always, so that tests cover it.
pub const NEEDS_GETENT: bool = cfg!(all(target_os = "linux", any(target_env = "musl", debug_assertions)));
