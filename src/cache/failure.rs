//! A remembered failure, and the processes that it counts for: one process's trouble must not become another's.
//!
//! A failure is one of three things:
//! * The cloud's *answer*. It counts for every process that would present the same subject token.
//! * A *limit*: the cloud asks to come back later. It counts for every process of the same [`SharingGroup`], because the cloud
//!   may limit requests by their network address.
//! * A *local* failure: the process's own proxy, certificates or network, or a program that it ran. It counts for the same
//!   group, the same subject token and the same [`Surroundings`]. A time-out also depends on the time that the attempt
//!   had: it counts only for a process that would not have much more.

use std::ffi::OsStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::clock::{Timestamp, millis};
use crate::base::error::{Error, Kind};
use crate::base::identity::{hex, value_digest};
use crate::cache::sharing_group::{LockName, SharingGroup};
use crate::system::machine;

/// How long a failure is remembered: a rejection, then the bounds for an outage.
const REMEMBER_REFUSED: Duration = Duration::from_secs(5);
const REMEMBER_UNAVAILABLE: Duration = Duration::from_secs(2);
const REMEMBER_MAX: Duration = Duration::from_secs(60);

/// A process that needs a token: what decides which failures of other processes count for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requester {
    pub group: SharingGroup,
    pub surroundings: Surroundings,
    /// The subject token that this process would present to the cloud, if other processes may present another one.
    pub presented_token: Option<PresentedToken>,
    /// How long a fetch by this process could take.
    pub fetch_limit: Duration,
    /// How long the renewal of a refreshable token by this process could take.
    pub renewal_limit: Duration,
}

/// What a process sees and others of its identity may not: the network, and `PATH` if a fetch runs a program. A digest,
/// empty where the system does not tell the network and no program runs.
///
/// A sandbox without a network shares the cache with the programs outside. It is not a part of the [`SharingGroup`]: many
/// containers, each with a network of its own, still make one request, and so do shells with different `PATH`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Surroundings(String);

impl Requester {
    /// Returns the name of the lock that this process shares only with those for which the same failures count.
    pub fn own_lock(&self) -> LockName {
        let token = self.presented_token.as_ref().map(|token| &token.digest);
        self.group.lock_name_of(value_digest(format!("{} {token:?}", self.surroundings.0).as_bytes()))
    }

    /// Returns a digest of what the processes have in common that share [`Self::own_lock`].
    pub fn likeness(&self) -> u64 {
        let digest = value_digest(self.own_lock().as_str().as_bytes());
        digest.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

impl Surroundings {
    /// Returns those of this process. `path` is the value of `PATH`, if a fetch runs a program. Makes a system call, which a
    /// hit does not need.
    pub fn of_this_process(path: Option<&OsStr>) -> Self {
        let digest = |value: &[u8]| hex(&value_digest(value)[..8]);
        let network = machine::network().map_or_else(String::new, |name| digest(name.as_bytes()));
        Self(path.map_or(network.clone(), |path| digest(format!("{network} {path:?}").as_bytes())))
    }

    #[cfg(test)]
    pub fn of_digest(digest: &str) -> Self {
        Self(digest.into())
    }
}

/// A subject token (of `workload`) that a process would present to the cloud. One identity has many of them over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentedToken {
    pub digest: String,
    /// True if the client's request contained it. False if it is from a variable or a file, where a newer one of the same
    /// subject may replace it.
    pub is_from_request: bool,
}

/// What a failure is, if it is not local to one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum FailureOrigin {
    /// The cloud has rejected the request.
    Answer,
    /// The cloud has too many requests, or says when to come back.
    Limit,
    /// Written by a later version.
    #[serde(other)]
    Unknown,
}

/// A failure in a record. Some names in the record are older than those of the fields.
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
    /// `None` if the failure is local.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) origin: Option<FailureOrigin>,
    /// The group of the process that failed. Without one, the failure counts for no process: it says nothing about others, or
    /// the record is of an older version.
    #[serde(rename = "way", default, skip_serializing_if = "Option::is_none")]
    pub(super) group: Option<SharingGroup>,
    /// The surroundings of the process that failed. Records of older versions have none: their failures count in all.
    #[serde(rename = "network", default, skip_serializing_if = "Option::is_none")]
    pub(super) surroundings: Option<Surroundings>,
    /// The digest of the subject token that was presented, if the failure may be due to it.
    #[serde(rename = "shown", default, skip_serializing_if = "Option::is_none")]
    pub(super) presented_token: Option<String>,
    /// If the attempt timed out: how long it could take, in milliseconds.
    #[serde(rename = "budget", default, skip_serializing_if = "Option::is_none")]
    pub(super) time_limit: Option<i64>,
    /// No connection was made, so no server has seen the request.
    #[serde(rename = "unsent", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_unsent: bool,
    /// [`Error::may_try_again`].
    #[serde(rename = "again", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) may_try_again: bool,
}

/// Returns how long a failure is remembered.
pub fn failure_lifetime(error: &Error) -> Duration {
    match error.kind {
        _ if error.is_pending || error.is_unshared => Duration::ZERO,
        // Something on this machine must be fixed, and the next call shows whether it is. It costs no request.
        Kind::Profile if !error.is_remote => Duration::ZERO,
        Kind::Unavailable => {
            error.retry_after.unwrap_or(REMEMBER_UNAVAILABLE).clamp(REMEMBER_UNAVAILABLE, REMEMBER_MAX)
        }
        _ => REMEMBER_REFUSED,
    }
}

impl StoredFailure {
    /// Creates the record of a failure. `time_limit` is the time that the attempt had.
    pub(super) fn new(error: &Error, at: Timestamp, requester: &Requester, time_limit: Duration) -> Self {
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
                // Any other server may be one of this process's network only.
                Error { is_answer: false, .. } => None,
                Error { status: Some(429 | 503), .. } | Error { retry_after: Some(_), .. } => {
                    Some(FailureOrigin::Limit)
                }
                Error { is_answer: true, .. } => Some(FailureOrigin::Answer),
            },
            group: Some(requester.group.clone()).filter(|_| !error.is_unshared),
            surroundings: Some(requester.surroundings.clone()),
            presented_token: (requester.presented_token.as_ref())
                .filter(|token| may_be_due_to(token, error))
                .map(|token| token.digest.clone()),
            time_limit: error.has_timed_out.then(|| millis(time_limit)),
            is_unsent: error.is_unsent && error.kind == Kind::Unavailable,
            may_try_again: error.may_try_again,
        }
    }

    pub(super) fn error(&self) -> Error {
        let mut error = Error::new(Kind::from_exit_code(self.kind), &self.message).unshared();
        error.has_timed_out = self.timed_out;
        error.may_try_again = self.may_try_again;
        error.is_answer = matches!(self.origin, Some(FailureOrigin::Answer | FailureOrigin::Limit));
        error.status = match self.origin {
            Some(FailureOrigin::Limit) => Some(503),
            Some(FailureOrigin::Answer) if self.presented_token.is_some() => Some(401),
            _ => None,
        };
        match &self.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    /// Returns false if this failure counts for no process.
    pub(super) fn counts_at_all(&self) -> bool {
        self.group.is_some()
    }

    /// Returns about how many bytes of a record this failure takes.
    pub(super) fn size(&self) -> usize {
        // The rest is numbers and digests.
        self.message.len() + self.hint.as_ref().map_or(0, String::len) + 256
    }

    /// Returns true as long as the failure answers later processes. A clock that was set back does not make that longer.
    pub(super) fn is_remembered(&self, now: Timestamp) -> bool {
        now < self.until && now.since(self.at).saturating_abs() < self.until.since(self.at)
    }

    /// Returns true if a process of the same group and surroundings with the same subject token has stored this failure.
    pub(super) fn is_of(&self, requester: &Requester) -> bool {
        self.group.as_ref() == Some(&requester.group)
            && self.has_surroundings_of(requester)
            && self.is_about_token_of(requester)
    }

    /// Returns true if a process of the same group has failed, but with other surroundings or another subject token.
    pub(super) fn is_of_unlike(&self, requester: &Requester) -> bool {
        self.group.as_ref() == Some(&requester.group) && !self.is_of(requester)
    }

    /// Returns true unless the process that failed has other surroundings than this one.
    fn has_surroundings_of(&self, requester: &Requester) -> bool {
        self.surroundings.as_ref().is_none_or(|own| *own == requester.surroundings)
    }

    /// Returns true unless the failure may be due to another subject token than the one that this process would present.
    fn is_about_token_of(&self, requester: &Requester) -> bool {
        let presented_token = requester.presented_token.as_ref().map(|token| &token.digest);
        self.presented_token.is_none() || self.presented_token.as_ref() == presented_token
    }

    /// Returns true if this failure counts for a process whose own attempt could take `limit`: that attempt would very
    /// probably fail in the same way.
    pub(super) fn counts_for(&self, requester: &Requester, limit: Duration) -> bool {
        let is_same_group = self.group.as_ref() == Some(&requester.group);
        let is_same_token = self.is_about_token_of(requester);
        // Less than 1.5 times the time: no process fails because of a more impatient one.
        let is_long_enough = |time_limit: i64| millis(limit).saturating_mul(2) < time_limit.saturating_mul(3);
        match self.origin {
            _ if self.group.is_none() => false,
            Some(FailureOrigin::Answer) => is_same_token,
            Some(FailureOrigin::Limit) => is_same_group,
            None | Some(FailureOrigin::Unknown) => {
                is_same_group
                    && is_same_token
                    && self.has_surroundings_of(requester)
                    && (!self.timed_out || self.time_limit.is_some_and(is_long_enough))
            }
        }
    }
}

/// Returns true if a failure may be due to the subject token that was presented.
///
/// The cloud rejects one that is expired or damaged with 400 or 401, and a local check fails without a status. Any other
/// failure concerns the subject, which is the same for a newer token from the same variable or file.
fn may_be_due_to(presented_token: &PresentedToken, error: &Error) -> bool {
    let is_rejected = error.is_answer && matches!(error.status, Some(400 | 401));
    let is_local = error.kind == Kind::Profile && error.status.is_none();
    let is_limit = matches!(error.status, Some(429 | 503)) || error.retry_after.is_some();
    is_rejected || is_local || (presented_token.is_from_request && error.is_answer && !is_limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::record::fixtures::NOW;

    fn requester(group: &str, presented_token: Option<&str>) -> Requester {
        let presented_token =
            presented_token.map(|digest| PresentedToken { digest: digest.into(), is_from_request: true });
        Requester { group: SharingGroup::of_digest(group), presented_token, ..Requester::default() }
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn stored(error: &Error, group: &str, presented_token: Option<&str>) -> StoredFailure {
        let failure = StoredFailure::new(error, NOW, &requester(group, presented_token), 10 * SECOND);
        // As another process reads it.
        serde_json::from_slice(&serde_json::to_vec(&failure).expect("JSON")).expect("JSON")
    }

    /// For processes of the same group with the same subject token, with another token, of another group, and with both others.
    fn counts(error: &Error) -> [bool; 4] {
        let failure = stored(error, "a", Some("x"));
        [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]
            .map(|(group, token)| failure.counts_for(&requester(group, Some(token)), 20 * SECOND))
    }

    fn answered(mut error: Error, status: u16) -> Error {
        (error.is_answer, error.status) = (true, Some(status));
        error
    }

    #[test]
    fn the_clouds_answer_counts_for_every_group_but_for_the_same_subject_token_only() {
        let by_token = [true, false, true, false];
        assert_eq!(counts(&answered(Error::refused("no"), 401)), by_token);
        assert_eq!(counts(&answered(Error::unavailable("INTERNAL"), 500)), by_token);
        let failure = stored(&answered(Error::refused("no"), 401), "a", None);
        assert!(failure.counts_for(&requester("b", None), SECOND));
    }

    #[test]
    fn a_failure_that_says_nothing_about_others_counts_for_no_process() {
        assert_eq!(counts(&Error::unavailable("address family not supported").unshared()), [false; 4]);
        // What a process has read in a record is not stored again as its own, with a new time and a new limit.
        let first = stored(&Error::unavailable("no answer").timed_out(), "a", None);
        assert!(first.counts_for(&requester("a", None), 14 * SECOND));
        let second = stored(&first.error(), "a", None);
        assert!(!second.counts_for(&requester("a", None), 14 * SECOND) && !second.is_remembered(NOW));
    }

    #[test]
    fn only_the_cloud_limits_processes_of_other_networks() {
        let of = |surroundings: &str| {
            let surroundings = Surroundings::of_digest(surroundings);
            Requester { surroundings, ..requester("a", None) }
        };
        let mut error = Error::unavailable("no healthy upstream").retry_after(Some(60 * SECOND));
        error.status = Some(503);
        for (error, elsewhere) in [(error.clone(), false), (answered(error, 503), true)] {
            let failure = StoredFailure::new(&error, NOW, &of("here"), SECOND);
            assert!(failure.counts_for(&of("here"), SECOND), "{error:?}");
            assert_eq!(failure.counts_for(&of("elsewhere"), SECOND), elsewhere, "{error:?}");
        }
    }

    #[test]
    fn a_newer_token_of_the_same_subject_helps_only_if_the_token_was_rejected() {
        let of = |error: &Error, digest: &str| {
            let presented_token = Some(PresentedToken { digest: digest.into(), is_from_request: false });
            Requester { presented_token, ..requester("", None) }.is_affected_by(error)
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

    impl Requester {
        /// Returns true if this failure of a process that has presented the token `x` counts for this requester.
        fn is_affected_by(&self, error: &Error) -> bool {
            let presented_token = Some(PresentedToken { digest: "x".into(), is_from_request: false });
            let failure = StoredFailure::new(error, NOW, &Self { presented_token, ..self.clone() }, 10 * SECOND);
            failure.counts_for(self, 5 * SECOND)
        }
    }

    #[test]
    fn local_failures_and_limits_count_for_the_same_group_only() {
        let by_group = [true, true, false, false];
        assert_eq!(counts(&Error::unavailable("nothing listens there")), by_group);
        assert_eq!(counts(&Error::profile("a broken subject token")), [true, false, false, false]);
        let mut page = Error::unavailable("a page of the proxy");
        page.status = Some(502);
        assert_eq!(counts(&page), by_group);
        assert_eq!(counts(&answered(Error::unavailable("slow down"), 429)), by_group);
        assert_eq!(counts(&answered(Error::unavailable("maintenance"), 503)), by_group);
        let later = Error::unavailable("later").retry_after(Some(SECOND));
        assert_eq!(counts(&answered(later, 500)), by_group);
    }

    #[test]
    fn a_local_failure_counts_for_the_same_network_only_and_does_not_replace_one_of_another() {
        let here = |network: &str| Requester { surroundings: Surroundings::of_digest(network), ..requester("a", None) };
        let counts = |error: &Error| {
            let failure = StoredFailure::new(error, NOW, &here("x"), 10 * SECOND);
            assert!(failure.is_of(&here("x")) && !failure.is_of(&here("y")));
            ["x", "y", ""].map(|network| failure.counts_for(&here(network), 5 * SECOND))
        };
        assert_eq!(counts(&Error::unavailable("no route to the host")), [true, false, false]);
        assert_eq!(counts(&Error::unavailable("no response").timed_out()), [true, false, false]);
        assert_eq!(counts(&answered(Error::refused("no"), 403)), [true; 3]);
        assert_eq!(counts(&answered(Error::unavailable("slow down"), 429)), [true; 3]);
        // A record of an older version says nothing about the network.
        let old = r#"{"kind":4,"message":"no route","hint":null,"at":1,"until":2000,"way":"a"}"#;
        let failure: StoredFailure = serde_json::from_str(old).expect("readable");
        assert!(failure.counts_for(&here("x"), SECOND) && failure.counts_for(&here(""), SECOND));
    }

    #[test]
    fn the_surroundings_of_a_process_contain_path_only_if_a_fetch_runs_a_program() {
        let of = |path: Option<&str>| Surroundings::of_this_process(path.map(OsStr::new));
        assert!(of(None) == of(None) && of(Some("/bin")) == of(Some("/bin")));
        assert!(of(None) != of(Some("/bin")) && of(Some("/bin")) != of(Some("/usr/bin")));
    }

    #[test]
    fn a_time_out_counts_for_less_than_one_and_a_half_times_its_time() {
        let failure = stored(&Error::unavailable("no response").timed_out(), "a", None);
        let at = |group, ms| failure.counts_for(&requester(group, None), Duration::from_millis(ms));
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
        assert!(!failure.counts_for(&Requester::default(), Duration::ZERO));
        let later = r#"{"kind":4,"message":"x","hint":null,"at":1,"until":2000,"way":"","origin":"new","new":1}"#;
        let later: StoredFailure = serde_json::from_str(later).expect("readable");
        assert!(later.counts_for(&Requester::default(), Duration::ZERO), "an unknown origin is local");
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
