//! Ephemeral access keys for Object Storage.

use std::time::{Duration, SystemTime};

/// An access key that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// The id of the account it belongs to.
    pub subject: String,
    /// The key's id, 20 characters.
    pub id: String,
    /// The secret, 43 characters beginning with `YC`.
    pub secret: String,
    /// The session token `s1.…`, 285 characters.
    pub session_token: String,
    /// The session name, as requested.
    pub session_name: String,
    /// The policy, as requested.
    pub policy: Option<String>,
    /// The duration, as requested.
    pub duration: Duration,
    /// When it expires, by the emulator's clock.
    pub expires: SystemTime,
}
