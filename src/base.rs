//! Types and helpers that every other module uses.

pub mod account;
pub mod clock;
pub mod diagnostics;
pub mod environment;
pub mod error;
pub mod hosts;
pub mod identity;
pub mod mask;
pub mod pem;
pub mod random;
pub mod secret;
pub mod shell;
pub mod spelling;
pub mod suggest;
pub mod supplied_token;
pub mod token;
