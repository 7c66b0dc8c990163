//! A remembered failure, and the processes that it counts for: one process's trouble must not become another's.
//!
//! A failure is either the cloud's answer or the *circumstances* of the process that made the attempt: its proxy, its
//! certificates, its network, a program that it ran. The cloud's answer counts for every process that would present the
//! same secret. A request to come back later counts for every process with the same proxy, because the cloud may limit
//! requests by their network address. Circumstances count for processes with the same ones ([`Caller::way`]). A time-out
//! also depends on the time that the attempt had: it counts only for a process that would not have much more.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::clock::{Timestamp, millis};
use crate::base::error::{Error, Kind};

/// How long a failure is remembered: a rejection, then the bounds for an outage.
const REMEMBER_REFUSED: Duration = Duration::from_secs(5);
const REMEMBER_UNAVAILABLE: Duration = Duration::from_secs(2);
const REMEMBER_MAX: Duration = Duration::from_secs(60);

/// The properties of a process that decide which failures of other processes count for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// A digest of the variables that decide how requests are sent. Empty without such variables.
    pub way: String,
    /// The subject token that the cloud would get from this process, if it may differ from those of other processes.
    pub shown: Option<ShownSecret>,
    /// How long a fetch by this process could take.
    pub fetch_time: Duration,
    /// How long a renewal in the soft window by this process could take.
    pub renewal_time: Duration,
}

/// A subject token that a process would show to the cloud. One identity can have many of them over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownSecret {
    pub digest: String,
    /// True if the client's request contained it. False if it is from a variable or a file, where a newer one of the same
    /// subject may replace it.
    pub is_from_request: bool,
}

/// What a failure is, besides the circumstances of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum FailureOrigin {
    /// The cloud has rejected the request.
    Answer,
    /// A server has too many requests, or says when to come back.
    Limit,
    /// Written by a later version.
    #[serde(other)]
    Unknown,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredFailure {
    pub(super) kind: u8,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// The attempt timed out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) timed_out: bool,
    pub(super) at: Timestamp,
    pub(super) until: Timestamp,
    /// `None` for circumstances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) origin: Option<FailureOrigin>,
    /// The circumstances of the attempt. Records of older versions have none, and their failures count for no process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) way: Option<String>,
    /// The digest of the secret that was shown, if the failure may be due to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) shown: Option<String>,
    /// If the attempt timed out: how long it could take, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) budget: Option<i64>,
}

/// Returns how long a failure is remembered.
pub fn failure_lifetime(error: &Error) -> Duration {
    match error.kind {
        _ if error.is_pending => Duration::ZERO,
        Kind::Unavailable => {
            error.retry_after.unwrap_or(REMEMBER_UNAVAILABLE).clamp(REMEMBER_UNAVAILABLE, REMEMBER_MAX)
        }
        _ => REMEMBER_REFUSED,
    }
}

impl StoredFailure {
    /// Creates the record of a failure. `budget` is the time that the attempt had.
    pub(super) fn new(error: &Error, at: Timestamp, caller: &Caller, budget: Duration) -> Self {
        // Short enough to leave room on the line for "(remembered, N ago)".
        let message: String = error.reason().chars().take(400).collect();
        Self {
            kind: error.kind.exit_code(),
            message,
            hint: error.hint_text(),
            timed_out: error.has_timed_out,
            at,
            until: at.plus(failure_lifetime(error)),
            origin: match error {
                Error { status: Some(429 | 503), .. } | Error { retry_after: Some(_), .. } => {
                    Some(FailureOrigin::Limit)
                }
                Error { is_answer: true, .. } => Some(FailureOrigin::Answer),
                _ => None,
            },
            way: Some(caller.way.clone()),
            shown: caller.shown.as_ref().filter(|shown| may_be_due_to(shown, error)).map(|shown| shown.digest.clone()),
            budget: error.has_timed_out.then(|| millis(budget)),
        }
    }

    pub(super) fn error(&self) -> Error {
        let mut error = Error::new(Kind::from_exit_code(self.kind), &self.message);
        error.has_timed_out = self.timed_out;
        error.is_answer = self.origin == Some(FailureOrigin::Answer);
        error.status = match self.origin {
            Some(FailureOrigin::Limit) => Some(503),
            Some(FailureOrigin::Answer) if self.shown.is_some() => Some(401),
            _ => None,
        };
        match &self.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    /// Returns true if a process with the same circumstances and the same secret has stored this failure.
    pub(super) fn is_of(&self, caller: &Caller) -> bool {
        self.way.as_ref() == Some(&caller.way) && self.is_about_secret_of(caller)
    }

    /// Returns true unless the failure may be due to another secret than the one that this process would show.
    fn is_about_secret_of(&self, caller: &Caller) -> bool {
        self.shown.is_none() || self.shown.as_ref() == caller.shown.as_ref().map(|shown| &shown.digest)
    }

    /// Returns true if this failure counts for a process whose own attempt could take `time`: that attempt would very
    /// probably fail in the same way.
    pub(super) fn counts_for(&self, caller: &Caller, time: Duration) -> bool {
        let (is_same_way, is_same_secret) = (self.way.as_ref() == Some(&caller.way), self.is_about_secret_of(caller));
        // Less than 1.5 times the time: no process fails because of a more impatient one.
        let is_long_enough = |budget: i64| millis(time).saturating_mul(2) < budget.saturating_mul(3);
        match self.origin {
            _ if self.way.is_none() => false,
            Some(FailureOrigin::Answer) => is_same_secret,
            Some(FailureOrigin::Limit) => is_same_way,
            None | Some(FailureOrigin::Unknown) => {
                is_same_way && is_same_secret && (!self.timed_out || self.budget.is_some_and(is_long_enough))
            }
        }
    }
}

/// Returns true if a failure may be due to the secret that was shown.
///
/// The cloud rejects one that is expired or damaged with 400 or 401, and a local check fails without a status. Any other
/// failure concerns the subject, which is the same for a newer secret from the same variable or file.
fn may_be_due_to(shown: &ShownSecret, error: &Error) -> bool {
    let is_rejected = error.is_answer && matches!(error.status, Some(400 | 401));
    let is_local = error.kind == Kind::Profile && error.status.is_none();
    let is_limit = matches!(error.status, Some(429 | 503)) || error.retry_after.is_some();
    is_rejected || is_local || (shown.is_from_request && error.is_answer && !is_limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::record::fixtures::NOW;

    fn caller(way: &str, shown: Option<&str>) -> Caller {
        let shown = shown.map(|digest| ShownSecret { digest: digest.into(), is_from_request: true });
        Caller { way: way.into(), shown, ..Caller::default() }
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn stored(error: &Error, way: &str, shown: Option<&str>) -> StoredFailure {
        let failure = StoredFailure::new(error, NOW, &caller(way, shown), 10 * SECOND);
        // As another process reads it.
        serde_json::from_slice(&serde_json::to_vec(&failure).expect("JSON")).expect("JSON")
    }

    /// For callers of the same way and secret, of another secret, of another way, and of both others.
    fn counts(error: &Error) -> [bool; 4] {
        let failure = stored(error, "a", Some("x"));
        [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]
            .map(|(way, shown)| failure.counts_for(&caller(way, Some(shown)), 20 * SECOND))
    }

    fn answered(mut error: Error, status: u16) -> Error {
        (error.is_answer, error.status) = (true, Some(status));
        error
    }

    #[test]
    fn the_clouds_answer_counts_whatever_the_way_and_for_the_same_secret_only() {
        let by_secret = [true, false, true, false];
        assert_eq!(counts(&answered(Error::refused("no"), 401)), by_secret);
        assert_eq!(counts(&answered(Error::unavailable("INTERNAL"), 500)), by_secret);
        let failure = stored(&answered(Error::refused("no"), 401), "a", None);
        assert!(failure.counts_for(&caller("b", None), SECOND));
    }

    #[test]
    fn a_newer_secret_of_the_same_subject_helps_only_if_the_secret_was_rejected() {
        let of = |error: &Error, digest: &str| {
            let shown = Some(ShownSecret { digest: digest.into(), is_from_request: false });
            Caller { shown, ..caller("", None) }.is_counted_by(error)
        };
        for (error, helps) in [
            (answered(Error::refused("expired"), 401), true),
            (answered(Error::refused("invalid_grant"), 400), true),
            (Error::profile("the file is empty"), true),
            (answered(Error::refused("the account may not"), 403), false),
            (answered(Error::refused("no such account"), 404), false),
            (answered(Error::unavailable("maintenance"), 503), false),
            (Error::unavailable("nothing listens there"), false),
        ] {
            assert!(of(&error, "x"), "{error:?}");
            assert_eq!(!of(&error, "y"), helps, "{error:?}");
        }
    }

    impl Caller {
        /// The failure of a process that has shown the secret `x`.
        fn is_counted_by(&self, error: &Error) -> bool {
            let shown = Some(ShownSecret { digest: "x".into(), is_from_request: false });
            let failure = StoredFailure::new(error, NOW, &Caller { shown, ..self.clone() }, 10 * SECOND);
            failure.counts_for(self, 5 * SECOND)
        }
    }

    #[test]
    fn circumstances_and_requests_to_wait_count_for_the_same_way_only() {
        let by_way = [true, true, false, false];
        assert_eq!(counts(&Error::unavailable("nothing listens there")), by_way);
        assert_eq!(counts(&Error::profile("a broken subject token")), [true, false, false, false]);
        let mut page = Error::unavailable("a page of the proxy");
        page.status = Some(502);
        assert_eq!(counts(&page), by_way);
        assert_eq!(counts(&answered(Error::unavailable("slow down"), 429)), by_way);
        assert_eq!(counts(&answered(Error::unavailable("maintenance"), 503)), by_way);
        let later = Error::unavailable("later").retry_after(Some(SECOND));
        assert_eq!(counts(&answered(later, 500)), by_way);
    }

    #[test]
    fn a_time_out_counts_for_less_than_one_and_a_half_times_its_time() {
        let failure = stored(&Error::unavailable("no response").timed_out(), "a", None);
        let at = |way, ms| failure.counts_for(&caller(way, None), Duration::from_millis(ms));
        assert_eq!(
            [at("a", 100), at("a", 10_000), at("a", 14_999), at("a", 15_000), at("a", 60_000)],
            [true, true, true, false, false]
        );
        assert!(!at("b", 100));
    }

    #[test]
    fn a_failure_of_an_older_version_counts_for_no_process() {
        let old = r#"{"kind":4,"message":"no response","hint":null,"timed_out":true,"at":1,"until":2000}"#;
        let failure: StoredFailure = serde_json::from_str(old).expect("readable");
        assert!(!failure.counts_for(&Caller::default(), Duration::ZERO));
        let later = r#"{"kind":4,"message":"x","hint":null,"at":1,"until":2000,"way":"","origin":"new","new":1}"#;
        let later: StoredFailure = serde_json::from_str(later).expect("readable");
        assert!(later.counts_for(&Caller::default(), Duration::ZERO), "an unknown origin is one of circumstances");
        // What this version writes has every field that the older one requires.
        let new = serde_json::to_value(stored(&Error::refused("no"), "", None)).expect("JSON");
        for field in ["kind", "message", "hint", "at", "until"] {
            assert!(new.get(field).is_some(), "{field}");
        }
    }

    #[test]
    fn a_stored_failure_is_stored_again_as_the_same_kind() {
        // The outer link of an impersonation stores the failure of the inner link, which may come from its record.
        for error in [
            answered(Error::refused("no"), 401),
            answered(Error::unavailable("busy"), 429),
            Error::unavailable("late").timed_out(),
            Error::profile("x"),
        ] {
            let first = stored(&error, "a", None);
            let again = stored(&first.error(), "a", None);
            assert_eq!((first.origin, first.timed_out), (again.origin, again.timed_out), "{error:?}");
        }
    }
}
