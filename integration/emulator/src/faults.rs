//! What the emulator can be told while it runs. A `Fault` spoils requests; `Settings` are how the emulated cloud is
//! disposed in general: its clock, how long its tokens live, whether it repeats them. Both have the same names in Rust
//! and in the control interface's JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{login, times};
use crate::server::Stage;

/// Which requests a fault is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Endpoint {
    /// Every request but those of the control interface.
    #[default]
    Any,
    /// The three calls of IamTokenService.
    Iam,
    /// `POST /iam/v1/tokens`.
    Tokens,
    /// `POST /iam/v1/tokens:createForServiceAccount`.
    CreateForServiceAccount,
    /// `POST /iam/v1/tokens:revoke`.
    Revoke,
    /// The metadata service.
    Metadata,
    /// `POST /oauth/token` at the auth host.
    OauthToken,
    /// `GET /oauth/authorize` at the auth host.
    Authorize,
    /// `POST /iam/v1/refreshTokens:revoke`.
    RevokeRefresh,
    /// `POST /iam/aws-compatibility/v1/ephemeralAccessKeys`.
    EphemeralAccessKeys,
    /// Any other path.
    Other,
}

impl Endpoint {
    /// Whether a request to `actual` is meant.
    pub fn covers(self, actual: Endpoint) -> bool {
        let iam = [Endpoint::Tokens, Endpoint::CreateForServiceAccount, Endpoint::Revoke];
        self == actual || self == Endpoint::Any || (self == Endpoint::Iam && iam.contains(&actual))
    }
}

/// An answer that arrives in small pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drip {
    /// Bytes per piece.
    pub bytes: usize,
    /// The pause after each piece.
    #[serde(with = "times::plain")]
    pub every: Duration,
}

/// Something to go wrong with a request. The first fault in the list that covers a request and is not used up is
/// applied to it, and no other; its parts combine (`Fault::refuse(503).delayed(second).retry_after(3)`).
///
/// Faults that only spoil how an answer travels (`drip`, `break`, `endless`, `delay`, `hold`) leave the request to be
/// judged as usual: a broken connection does not mean that the token was not issued.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Fault {
    /// For which requests.
    pub endpoint: Endpoint,
    /// For how many of them; nothing means until told otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// How many of them pass unharmed before that.
    #[serde(skip_serializing_if = "is_default")]
    pub skip: u32,
    /// Wait so long before judging and answering.
    #[serde(with = "times::optional", skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
    /// Wait until this fault is taken away (a minute at most): then a test decides when the answer comes.
    #[serde(skip_serializing_if = "is_default")]
    pub hold: bool,
    /// Refuse with this status, without judging the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The message of the refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// A `Retry-After` header with just this text: a number of seconds, or anything at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<String>,
    /// A `Retry-After` header with the HTTP date that is so far from the emulator's `Date`.
    #[serde(with = "times::optional", skip_serializing_if = "Option::is_none")]
    pub retry_after_date: Option<Duration>,
    /// Answer a page for people, as captive portals and tired proxies do; with `status`, or 200.
    #[serde(skip_serializing_if = "is_default")]
    pub html: bool,
    /// Answer this text as JSON, whatever it is; with `status`, or 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Further headers, for example `Location`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Let the answer arrive in small pieces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drip: Option<Drip>,
    /// Break the connection at this stage of the answer.
    #[serde(rename = "break", skip_serializing_if = "Option::is_none")]
    pub break_at: Option<Stage>,
    /// Send the answer over and over, without an end.
    #[serde(skip_serializing_if = "is_default")]
    pub endless: bool,
    /// Issue tokens that live only so long.
    #[serde(with = "times::optional", skip_serializing_if = "Option::is_none")]
    pub life: Option<Duration>,
    /// Hand out the subject's latest living token again, if there is one.
    #[serde(skip_serializing_if = "is_default")]
    pub repeat: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Fault {
    /// Refuses with this HTTP status.
    pub fn refuse(status: u16) -> Fault {
        Fault { status: Some(status), ..Fault::default() }
    }

    /// Answers late.
    pub fn slow(delay: Duration) -> Fault {
        Fault { delay: Some(delay), ..Fault::default() }
    }

    /// Answers when the fault is taken away, or after a minute.
    pub fn held() -> Fault {
        Fault { hold: true, ..Fault::default() }
    }

    /// Breaks the connection.
    pub fn broken(stage: Stage) -> Fault {
        Fault { break_at: Some(stage), ..Fault::default() }
    }

    /// Answers 200 with a page for people.
    pub fn html() -> Fault {
        Fault { html: true, ..Fault::default() }
    }

    /// Answers 200 with this text as JSON.
    pub fn body(text: impl Into<String>) -> Fault {
        Fault { body: Some(text.into()), ..Fault::default() }
    }

    /// Answers in pieces of so many bytes with pauses between them.
    pub fn dripping(bytes: usize, every: Duration) -> Fault {
        Fault { drip: Some(Drip { bytes, every }), ..Fault::default() }
    }

    /// Answers without an end.
    pub fn endless() -> Fault {
        Fault { endless: true, ..Fault::default() }
    }

    /// Issues tokens that live only so long.
    pub fn short_life(life: Duration) -> Fault {
        Fault { life: Some(life), ..Fault::default() }
    }

    /// Repeats the subject's latest token.
    pub fn repeating() -> Fault {
        Fault { repeat: true, ..Fault::default() }
    }

    /// Only for requests to this endpoint.
    #[must_use]
    pub fn on(mut self, endpoint: Endpoint) -> Fault {
        self.endpoint = endpoint;
        self
    }

    /// Only for the next so many requests.
    #[must_use]
    pub fn times(mut self, times: u32) -> Fault {
        self.times = Some(times);
        self
    }

    /// Only after so many requests.
    #[must_use]
    pub fn after(mut self, skip: u32) -> Fault {
        self.skip = skip;
        self
    }

    /// Late besides.
    #[must_use]
    pub fn delayed(mut self, delay: Duration) -> Fault {
        self.delay = Some(delay);
        self
    }

    /// With this status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Fault {
        self.status = Some(status);
        self
    }

    /// With this message.
    #[must_use]
    pub fn message(mut self, message: impl Into<String>) -> Fault {
        self.message = Some(message.into());
        self
    }

    /// With this text as `Retry-After`.
    #[must_use]
    pub fn retry_after(mut self, text: impl ToString) -> Fault {
        self.retry_after = Some(text.to_string());
        self
    }

    /// With an HTTP date as `Retry-After`, so far ahead of the emulator's `Date`.
    #[must_use]
    pub fn retry_after_date(mut self, ahead: Duration) -> Fault {
        self.retry_after_date = Some(ahead);
        self
    }

    /// With a further header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Fault {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }
}

/// What tokens look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenForm {
    /// `t1.….…`, as documented.
    #[default]
    T1,
    /// `CggVAgAAA…`, which the documentation of the metadata service still shows.
    Old,
}

/// How the emulated cloud is disposed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// How long new tokens live. Documented: at most 12 hours.
    #[serde(with = "times::plain")]
    pub life: Duration,
    /// How far the emulator's clock is ahead of this machine's: tokens, JWTs and `Date` all go by it.
    #[serde(with = "times::signed")]
    pub clock_shift: time::Duration,
    /// How far `Date` is ahead of the emulator's clock.
    #[serde(with = "times::signed")]
    pub date_shift: time::Duration,
    /// Whether answers carry a `Date` at all.
    pub send_date: bool,
    /// How far in the emulator's future `iat` may lie. The cloud's own tolerance is not documented.
    #[serde(with = "times::plain")]
    pub iat_tolerance: Duration,
    /// Audiences that a JWT may name besides the emulator's own URL.
    pub audiences: Vec<String>,
    /// Repeat a subject's latest token as long as more than this is left of it. The documentation says that the API
    /// "may return the same token in response to different requests", not when.
    #[serde(with = "times::optional")]
    pub repeat: Option<Duration>,
    /// Whose tokens the metadata service hands out; nobody's means 404.
    pub metadata_account: Option<String>,
    /// What tokens look like.
    pub token_form: TokenForm,
    /// How the auth host is disposed towards people who log in.
    pub login: login::Settings,
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
            login: login::Settings::default(),
        }
    }
}

/// Takes the fault that is due for a request, if any, and counts it. What is returned is without the counts.
pub fn take(faults: &mut [Fault], endpoint: Endpoint) -> Option<Fault> {
    let mut due = None;
    for fault in faults.iter_mut().filter(|fault| fault.endpoint.covers(endpoint) && fault.times != Some(0)) {
        if fault.skip > 0 {
            fault.skip -= 1;
        } else if due.is_none() {
            if let Some(times) = &mut fault.times {
                *times -= 1;
            }
            due = Some(Fault { times: None, skip: 0, ..fault.clone() });
        }
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_used_up_in_their_order() {
        let mut faults = vec![
            Fault::refuse(503).on(Endpoint::Iam).times(2),
            Fault::refuse(404).on(Endpoint::Metadata),
            Fault::refuse(500).on(Endpoint::Tokens).after(3).times(1),
        ];
        let mut next = |endpoint| take(&mut faults, endpoint).and_then(|fault| fault.status);
        assert_eq!(next(Endpoint::Tokens), Some(503));
        assert_eq!(next(Endpoint::Metadata), Some(404));
        assert_eq!(next(Endpoint::Tokens), Some(503));
        assert_eq!(next(Endpoint::Revoke), None);
        assert_eq!(next(Endpoint::Tokens), None, "the third request to it still passes");
        assert_eq!(next(Endpoint::Tokens), Some(500));
        assert_eq!(next(Endpoint::Tokens), None);
        assert_eq!(next(Endpoint::Metadata), Some(404), "until told otherwise");
    }

    #[test]
    fn faults_and_settings_are_read_as_json() {
        let fault: Fault = serde_json::from_str(
            r#"{"endpoint":"create-for-service-account","times":2,"status":429,"retry-after":"3","delay":"500ms",
                "break":"mid-body","drip":{"bytes":1,"every":"10ms"},"headers":{"Location":"/"}}"#,
        )
        .unwrap();
        assert_eq!(fault.break_at, Some(Stage::MidBody));
        assert_eq!(fault.delay, Some(Duration::from_millis(500)));
        assert_eq!(serde_json::from_str::<Fault>(&serde_json::to_string(&fault).unwrap()).unwrap(), fault);
        assert!(serde_json::from_str::<Fault>(r#"{"statsu":1}"#).is_err());
        let settings = Settings { date_shift: time::Duration::minutes(-10), ..Settings::default() };
        assert_eq!(serde_json::from_str::<Settings>(&serde_json::to_string(&settings).unwrap()).unwrap(), settings);
    }
}
