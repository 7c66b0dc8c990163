//! Faults: how a test makes requests fail. The control interface's JSON uses the same names in kebab case.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use crate::routes::Endpoint;
use crate::server::Stage;
pub use crate::settings::TokenForm;
use crate::times;

/// A response that is sent in small pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drip {
    /// Bytes per piece.
    pub bytes: usize,
    /// The pause after each piece.
    #[serde(with = "times::plain")]
    pub every: Duration,
}

/// A fault that a test injects into requests. Only the first fault in the list that covers a request and isn't used up
/// applies to it. Its parts combine: `Fault::refuse(503).delayed(second).retry_after(3)`.
///
/// Faults of delivery (`drip`, `break`, `endless`, `delay`, `late`, `hold`) don't change how the request is processed. In
/// particular, a broken connection doesn't mean that no token was issued.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Fault {
    /// The requests it applies to.
    pub endpoint: Endpoint,
    /// The number of requests it applies to; `None` means all until it is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// The number of requests to leave alone first.
    #[serde(skip_serializing_if = "is_default")]
    pub skip: u32,
    /// How long to wait before processing the request.
    #[serde(with = "times::optional", skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
    /// How long to wait after processing the request, before sending the response.
    #[serde(with = "times::optional", skip_serializing_if = "Option::is_none")]
    pub late: Option<Duration>,
    /// Waits until the faults are removed, for at most a minute, so that a test decides when the response comes.
    #[serde(skip_serializing_if = "is_default")]
    pub hold: bool,
    /// Responds with this status, without processing the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The message of that response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// A `Retry-After` header with this value, valid or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<String>,
    /// A `Retry-After` header with an HTTP date this far after the emulator's `Date`.
    #[serde(with = "times::optional", skip_serializing_if = "Option::is_none")]
    pub retry_after_date: Option<Duration>,
    /// Responds with an HTML page, as captive portals and overloaded proxies do, and with `status` or 200.
    #[serde(skip_serializing_if = "is_default")]
    pub html: bool,
    /// Responds with this body, labelled as JSON, and with `status` or 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Further headers, for example `Location`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Sends the response in small pieces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drip: Option<Drip>,
    /// Breaks the connection at this stage of the response.
    #[serde(rename = "break", skip_serializing_if = "Option::is_none")]
    pub break_at: Option<Stage>,
    /// Sends the body over and over, without an end.
    #[serde(skip_serializing_if = "is_default")]
    pub endless: bool,
    /// Issues tokens that are valid only for this long.
    #[serde(with = "times::optional", skip_serializing_if = "Option::is_none")]
    pub life: Option<Duration>,
    /// Returns the subject's latest valid token again, if there is one.
    #[serde(skip_serializing_if = "is_default")]
    pub repeat: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Fault {
    /// Responds with this HTTP status.
    pub fn refuse(status: u16) -> Fault {
        Fault { status: Some(status), ..Fault::default() }
    }

    /// Waits this long before it processes the request.
    pub fn slow(delay: Duration) -> Fault {
        Fault { delay: Some(delay), ..Fault::default() }
    }

    /// Processes the request at once, and responds late.
    pub fn late(delay: Duration) -> Fault {
        Fault { late: Some(delay), ..Fault::default() }
    }

    /// Responds when the faults are removed, or after a minute.
    pub fn held() -> Fault {
        Fault { hold: true, ..Fault::default() }
    }

    /// Breaks the connection.
    pub fn broken(stage: Stage) -> Fault {
        Fault { break_at: Some(stage), ..Fault::default() }
    }

    /// Responds 200 with an HTML page.
    pub fn html() -> Fault {
        Fault { html: true, ..Fault::default() }
    }

    /// Responds 200 with this body, labelled as JSON.
    pub fn body(text: impl Into<String>) -> Fault {
        Fault { body: Some(text.into()), ..Fault::default() }
    }

    /// Responds in pieces of this many bytes, with pauses between them.
    pub fn dripping(bytes: usize, every: Duration) -> Fault {
        Fault { drip: Some(Drip { bytes, every }), ..Fault::default() }
    }

    /// Responds without an end.
    pub fn endless() -> Fault {
        Fault { endless: true, ..Fault::default() }
    }

    /// Issues tokens that are valid only for this long.
    pub fn short_life(life: Duration) -> Fault {
        Fault { life: Some(life), ..Fault::default() }
    }

    /// Returns the subject's latest token again.
    pub fn repeating() -> Fault {
        Fault { repeat: true, ..Fault::default() }
    }

    /// Applies only to requests to this endpoint.
    #[must_use]
    pub fn on(mut self, endpoint: Endpoint) -> Fault {
        self.endpoint = endpoint;
        self
    }

    /// Applies only to this many requests.
    #[must_use]
    pub fn times(mut self, times: u32) -> Fault {
        self.times = Some(times);
        self
    }

    /// Applies only after this many requests.
    #[must_use]
    pub fn after(mut self, skip: u32) -> Fault {
        self.skip = skip;
        self
    }

    /// Also waits this long before it processes the request.
    #[must_use]
    pub fn delayed(mut self, delay: Duration) -> Fault {
        self.delay = Some(delay);
        self
    }

    /// Sets the status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Fault {
        self.status = Some(status);
        self
    }

    /// Sets the message.
    #[must_use]
    pub fn message(mut self, message: impl Into<String>) -> Fault {
        self.message = Some(message.into());
        self
    }

    /// Sets `Retry-After` to this value.
    #[must_use]
    pub fn retry_after(mut self, text: impl ToString) -> Fault {
        self.retry_after = Some(text.to_string());
        self
    }

    /// Sets `Retry-After` to an HTTP date this far after the emulator's `Date`.
    #[must_use]
    pub fn retry_after_date(mut self, ahead: Duration) -> Fault {
        self.retry_after_date = Some(ahead);
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Fault {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }
}

/// Returns the fault that applies to a request, if any, and counts the request. The result carries no counts.
pub(crate) fn take(faults: &mut [Fault], endpoint: Endpoint) -> Option<Fault> {
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
    fn faults_apply_in_order_until_used_up() {
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
        assert_eq!(next(Endpoint::Metadata), Some(404), "a fault without `times` stays");
    }

    #[test]
    fn faults_are_read_as_json() {
        let fault: Fault = serde_json::from_str(
            r#"{"endpoint":"create-for-service-account","times":2,"status":429,"retry-after":"3","delay":"500ms",
                "break":"mid-body","drip":{"bytes":1,"every":"10ms"},"headers":{"Location":"/"}}"#,
        )
        .unwrap();
        assert_eq!(fault.break_at, Some(Stage::MidBody));
        assert_eq!(fault.delay, Some(Duration::from_millis(500)));
        assert_eq!(serde_json::from_str::<Fault>(&serde_json::to_string(&fault).unwrap()).unwrap(), fault);
        assert!(serde_json::from_str::<Fault>(r#"{"statsu":1}"#).is_err());
    }
}
