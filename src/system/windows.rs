//! Windows: the modules of the interface, and the safe wrappers that they share.

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

mod acl;
mod child;
mod console;
mod detached;
mod handle;
mod names;
mod search;
