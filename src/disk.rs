//! Which files may be touched, and how.

pub mod files;
pub mod places;
pub mod store;
