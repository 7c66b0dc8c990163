//! Linux and macOS: the modules of every Unix, and what differs between the two.

pub mod access;
pub mod attributes;
pub mod directories;
pub mod files;
pub mod fixes;
pub mod machine;
pub mod process;
pub mod programs;
pub mod signals;
pub mod sockets;

mod descriptors;
mod disposition;
mod inherited;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod macos;

#[cfg(target_os = "linux")]
use linux as os;
#[cfg(not(target_os = "linux"))]
use macos as os;
