//! An emulator of Yandex Cloud's IAM on loopback, for tests of clients: as strict as the documentation, and able to fail
//! on demand. `README.md` describes the program; this is the library for tests in Rust.
//!
//! ```
//! use ycred_emulator::faults::Fault;
//! use ycred_emulator::{Config, Emulator, TOKENS};
//!
//! let emulator = Emulator::start(Config::default());
//! let key = emulator.new_service_account_key();
//! emulator.fault(Fault::refuse(503).times(2).retry_after(1));
//! // Run the client with the file that `key.write(path)` writes and with the endpoint `emulator.url()`.
//! assert_eq!(emulator.requests(TOKENS), 0);
//! ```
//!
//! The parts of the cloud that it models:
//!
//! * IamTokenService over REST: `POST /iam/v1/tokens`, `…:createForServiceAccount` and `…:revoke`
//! * the metadata service of virtual machines
//! * the auth host: token exchange, and people who log in
//! * ephemeral access keys for Object Storage
//! * the list of API endpoints
//! * errors as google.rpc.Status with a request id
//!
//! Where the documentation is silent, the emulator invents as little as possible and says so in a comment.

#![warn(missing_docs)]

pub mod authority;
mod config;
pub mod control;
mod dispatch;
mod emulator;
pub mod exchange;
pub mod faults;
mod form;
mod jwt;
pub mod keys;
pub mod log;
mod message;
mod refusal;
mod routes;
pub mod server;
mod services;
pub mod settings;
mod state;
mod store;
#[cfg(test)]
mod tests;
pub mod times;

pub use config::{Config, Tls};
pub use emulator::Emulator;
pub use routes::{CREATE_FOR_SERVICE_ACCOUNT, METADATA, REVOKE, TOKENS};
pub use store::accounts::Impersonation;

/// Ephemeral access keys for Object Storage.
pub mod access_keys {
    pub use crate::routes::EPHEMERAL_ACCESS_KEYS;
    pub use crate::store::access_keys::AccessKey;
}

/// The auth host.
pub mod auth {
    pub use crate::form::{Form, read as read_form};
    pub use crate::refusal::Refusal;
    pub use crate::routes::OAUTH_TOKEN as TOKEN;
}

/// The list of API endpoints.
pub mod endpoints {
    pub use crate::routes::{ENDPOINT_LIST as LIST, IAM_ENDPOINT as IAM};
}

/// People who log in with a browser.
pub mod login {
    pub use crate::routes::{AUTHORIZE, REVOKE_REFRESH};
    pub use crate::settings::{LoginSettings, Page};
    pub use crate::store::logins::{Logins, PERSON};
}
