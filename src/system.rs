//! Operating system interfaces that std does not have, and all `unsafe` code of the project.
//!
//! Code outside of this folder does not depend on the operating system.
#![expect(clippy::disallowed_types, reason = "the only place that knows the operating system")]

pub mod clock;
pub mod files;
pub mod loopback;
pub mod peer;
pub mod process;
pub mod signals;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod macos;
mod unix;

#[cfg(target_os = "linux")]
use linux as os;
#[cfg(not(target_os = "linux"))]
use macos as os;

/// The programs that open a URL, in the order to try. (A crate would run the same ones and add four dependencies.)
pub const URL_OPENERS: &[&[&str]] = os::URL_OPENERS;
