//! The emulated services: each file checks the requests to one of them and responds as the cloud would.

pub(crate) mod access_keys;
pub(crate) mod auth;
pub(crate) mod endpoints;
mod exchange;
pub(crate) mod granted;
pub(crate) mod login;
pub(crate) mod metadata;
mod proof;
pub(crate) mod subjects;
pub(crate) mod tokens;
