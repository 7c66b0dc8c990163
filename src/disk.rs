//! Access to files: where they are, and how they are read and written.

pub mod executable;
pub mod files;
pub mod lock;
pub mod permission;
pub mod places;
pub mod probe;
pub mod program;
pub mod store;
pub mod sweep;
pub mod trust;
pub mod turn;
