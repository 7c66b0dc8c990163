//! Settings: how the emulated cloud behaves in general. The control interface's JSON uses the same names in kebab case.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::times;

/// The form of new IAM tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenForm {
    /// `t1.….…`, as documented.
    #[default]
    T1,
    /// `CggVAgAAA…`, which the documentation of the metadata service still shows.
    Old,
}

/// What the login page does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Page {
    /// Redirects the browser back at once.
    #[default]
    Redirect,
    /// Shows a page that goes back by itself.
    Auto,
    /// Shows a page that goes back after a click.
    Button,
}

/// How the auth host treats people who log in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct LoginSettings {
    /// What the login page does.
    pub page: Page,
    /// Whether the person refuses to log in.
    pub deny: bool,
    /// Whether the organization issues refresh tokens.
    pub refresh_tokens: bool,
    /// Whether a refresh token is valid for one use, and each response carries the next one.
    pub one_time: bool,
    /// Requires a nonce in proofs, and asks for it with this status: 400 or 401.
    pub nonce: Option<u16>,
    /// The most by which a proof's `iat` may differ from the emulator's time.
    #[serde(with = "times::plain")]
    pub tolerance: Duration,
    /// The id of the OAuth client that people log in to.
    pub client: String,
    /// The only federation id that `yc_federation_hint` may name.
    pub federation: Option<String>,
}

impl Default for LoginSettings {
    fn default() -> LoginSettings {
        LoginSettings {
            page: Page::Redirect,
            deny: false,
            refresh_tokens: true,
            one_time: false,
            nonce: None,
            tolerance: Duration::from_secs(60),
            client: "yc.oauth.public-sdk".to_owned(),
            federation: None,
        }
    }
}

/// How the emulated cloud behaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// How long new tokens are valid. Documented: at most 12 hours.
    #[serde(with = "times::plain")]
    pub life: Duration,
    /// How far the emulator's clock is ahead of this machine's. Tokens, JWTs and `Date` follow the emulator's clock.
    #[serde(with = "times::signed")]
    pub clock_shift: time::Duration,
    /// How far `Date` is ahead of the emulator's clock.
    #[serde(with = "times::signed")]
    pub date_shift: time::Duration,
    /// Whether responses carry a `Date`.
    pub send_date: bool,
    /// How far in the emulator's future `iat` may lie. The cloud's own tolerance isn't documented.
    #[serde(with = "times::plain")]
    pub iat_tolerance: Duration,
    /// Audiences that a JWT may name besides the emulator's own URL.
    pub audiences: Vec<String>,
    /// Returns a subject's latest token again while it is valid for longer than this. The documentation says that the
    /// API "may return the same token in response to different requests", but not when.
    #[serde(with = "times::optional")]
    pub repeat: Option<Duration>,
    /// The service account of the metadata service. Without one, the service responds 404.
    pub metadata_account: Option<String>,
    /// The form of new tokens.
    pub token_form: TokenForm,
    /// How the auth host treats people who log in.
    pub login: LoginSettings,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            life: Duration::from_secs(12 * 3600),
            clock_shift: time::Duration::ZERO,
            date_shift: time::Duration::ZERO,
            send_date: true,
            iat_tolerance: Duration::from_secs(5),
            audiences: Vec::new(),
            repeat: None,
            metadata_account: None,
            token_form: TokenForm::T1,
            login: LoginSettings::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_json() {
        let settings = Settings { date_shift: time::Duration::minutes(-10), ..Settings::default() };
        assert_eq!(serde_json::from_str::<Settings>(&serde_json::to_string(&settings).unwrap()).unwrap(), settings);
    }
}
