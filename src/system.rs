//! What the operating system is asked for, in the product's words, and the only `unsafe` of the project. Nothing outside of
//! this folder knows which system it runs on.
#![expect(clippy::disallowed_types, reason = "the one place that knows the operating system")]

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

/// The programs that open a URL, tried in turn. (A crate for it would bring four more, to run these.)
pub const URL_OPENERS: &[&[&str]] = os::URL_OPENERS;
