//! The records of the emulated cloud. They know nothing of requests.

pub(crate) mod access_keys;
pub(crate) mod accounts;
pub(crate) mod federations;
pub(crate) mod logins;
pub(crate) mod tokens;
