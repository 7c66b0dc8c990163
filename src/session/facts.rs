//! What is there for a profile: its cached token, its login and its last failure, and whether a hook would get a token.
//!
//! Only looks: takes no lock, opens no socket, starts no program, writes nothing, and opens no secret except the record
//! and the state of a login. So it never waits, and it works where a call would fail.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::account::Account;
use crate::base::clock::Timestamp;
use crate::base::environment::{Environment, SSL_CERT_DIR, SSL_CERT_FILE};
use crate::base::error::{Error, Kind, describe};
use crate::base::supplied_token::{SuppliedToken, TOKEN_VARIABLES};
use crate::base::token::{Credential, SkewAge};
use crate::cache::Cache;
use crate::cache::freshness::{RenewalRules, TokenState};
use crate::cache::record::{LastFailure, Record};
use crate::cloud::http::Http;
use crate::disk::files;
use crate::disk::lock::LockHolder;
use crate::disk::trust;
use crate::obtain::{Caching, Grant, requester};
use crate::process::flags::Options;
use crate::profile::{Profile, find};
use crate::session::Session;
use crate::sources::Resource;
use crate::sources::login::client::LoginClient;
use crate::sources::login::state::LoginState;

/// A failure that is not a rejection by the cloud counts for this long, in milliseconds.
const FAILURE_COUNTS: i64 = 5 * 60_000;

/// What is there for a profile.
pub struct Facts {
    pub token: Option<TokenFacts>,
    /// The expiry of a valid token that is cached but not returned, because a file that it was obtained with is missing.
    pub withheld_until: Option<Timestamp>,
    /// Whose token it is, from the record.
    pub account: Option<Account>,
    /// `None` if the source needs no login, or if nobody asked for it and the token says enough.
    pub login: Option<LoginFacts>,
    pub failure: Option<FailureFacts>,
    /// When the last attempt began and ended.
    pub attempt: Option<(Timestamp, Timestamp)>,
    /// False if the profile cannot be used, so that nothing is known about its record.
    pub is_known: bool,
    /// The record file, or the reason why nothing is stored.
    pub record: Result<PathBuf, String>,
    /// The process that is asking for a token, as far as it has written itself into the lock file.
    pub holder: Option<LockHolder>,
    /// Why a hook would get no token now, if that is known.
    pub error: Option<Error>,
    /// True if `error` is only the failure of the last attempt, so the next one may succeed.
    pub is_error_remembered: bool,
}

/// A token that is there, valid or expired.
#[derive(Clone, Debug)]
pub struct TokenFacts {
    pub state: TokenState,
    /// By the cloud's clock.
    pub expires: Timestamp,
    /// The expiry that clients see, by this machine's clock. `None` if it is the same, or unknown.
    pub expires_for_clients: Option<Timestamp>,
    /// The remaining validity in milliseconds. Not negative.
    pub left: i64,
    /// True if a hook may return it.
    pub is_usable: bool,
    /// True if the source gave no expiry, so that this one is a guess.
    pub is_assumed: bool,
    /// When it becomes due for renewal. `None` if ycred does not renew it.
    pub renewal_at: Option<Timestamp>,
    /// No process asks for a better token before this time.
    pub backs_off_until: Option<Timestamp>,
    pub place: TokenPlace,
}

/// Where a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenPlace {
    Record,
    Login,
    /// A variable, in which an outer ycred has supplied it.
    Variable(&'static str),
}

/// The state of a login.
#[derive(Clone, Debug)]
pub enum LoginFacts {
    /// Nobody is logged in.
    Nobody,
    Active {
        /// True if it can be renewed without a person.
        is_renewable: bool,
        /// When the refresh token was sent, if the answer to that is outstanding or lost.
        in_doubt_since: Option<Timestamp>,
        /// When the last renewal ended.
        renewed: Option<Timestamp>,
    },
    /// A person must log in again.
    Over { at: Option<Timestamp>, reason: String },
}

/// Why the last attempt failed.
#[derive(Clone, Debug)]
pub struct FailureFacts {
    pub kind: Kind,
    pub message: String,
    pub hint: Option<String>,
    pub at: Timestamp,
    /// True if the cloud has rejected the request.
    pub is_answer: bool,
    /// True if it may have another result now, because what it depended on has changed.
    pub is_outdated: bool,
    /// True if the attempt was made with other proxy or certificate variables than those of this process.
    pub is_of_other_variables: bool,
}

impl Facts {
    /// Returns the exit code for these facts: that of a hook, as far as it can be known without asking the cloud.
    pub fn code(&self) -> u8 {
        self.error.as_ref().map_or(0, |error| code_of(error.kind))
    }

    /// Returns the facts about a profile that cannot be used.
    pub fn failed(error: Error) -> Self {
        let record = Err("the profile cannot be used".into());
        Self { error: Some(error), is_known: false, record, ..Self::nothing() }
    }

    fn nothing() -> Self {
        Self {
            token: None,
            withheld_until: None,
            account: None,
            login: None,
            failure: None,
            attempt: None,
            is_known: true,
            record: Err(String::new()),
            holder: None,
            error: None,
            is_error_remembered: false,
        }
    }

    /// Returns why a hook gets no token until somebody changes something on this machine.
    pub fn lasting_error(&self) -> Option<&Error> {
        self.error.as_ref().filter(|_| !self.is_error_remembered)
    }

    /// Returns true if a hook may return the token that is there.
    pub fn is_usable(&self) -> bool {
        self.token.as_ref().is_some_and(|token| token.is_usable)
    }
}

/// Returns the exit code for what is wrong with a profile: 1 if a person must act, 3 if the profile is wrong, 4 for an outage.
pub fn code_of(kind: Kind) -> u8 {
    match kind {
        Kind::Refused => 1,
        Kind::Usage | Kind::Profile | Kind::Internal => 3,
        Kind::Unavailable => 4,
    }
}

impl Session<'_> {
    /// Describes a profile's cached token, login and last failure. Reads the login's state only if `with_login`, or if the
    /// cache has no usable token.
    pub fn facts(&self, profile: &Profile, options: &Options, with_login: bool) -> Facts {
        if let Some(path) = &profile.ca_file
            && let Err(error) = find::check_named_file(path, "ca-file")
        {
            return Facts::failed(error);
        }
        let opened = self.open(profile, &Resource::default(), Duration::ZERO);
        let (grant, min_ttl) = match opened {
            Ok((grant, min_ttl)) => (grant, options.min_ttl.unwrap_or(min_ttl)),
            Err(error) => return Facts::failed(error),
        };
        let mut facts = Facts::nothing();
        let cache = match profile.is_caching && !options.no_cache {
            true => self.cache(),
            false => Cache::new(Err("the cache is turned off".into())),
        };
        let (entry, now) = (cache.entry(grant.identity()), self.clock.now());
        facts.record = entry.slot.place();
        let rules = match grant.caching() {
            Caching::Enabled(rules) if grant.identity().is_complete() => Some(rules),
            Caching::Enabled(_) => {
                facts.record = Err("this machine cannot be told from others, so nothing is cached".into());
                None
            }
            Caching::Never => {
                facts.record = Err("its tokens are not cached".into());
                None
            }
        };
        let loaded = match rules {
            Some(_) => entry.load(),
            None => entry.check_files().map(|()| None),
        };
        let record = loaded.unwrap_or_else(|error| {
            facts.error = Some(error);
            let withheld = rules.and_then(|_| entry.load_withheld()).filter(|_| with_login);
            if let Some(record) = &withheld {
                let valid = record.credential().filter(|credential| !credential.is_expired(now));
                facts.withheld_until = valid.map(|credential| credential.expires);
                facts.account = record.account().cloned();
            }
            None
        });
        let rules = rules.unwrap_or(RenewalRules { refresh_before: profile.refresh_before, max_age: profile.max_age });
        if let Some(record) = &record {
            facts.token = token_in_record(record, min_ttl, &rules, now);
            let this = || requester(grant.as_ref(), self.environment, options.timeout.unwrap_or(profile.timeout));
            facts.failure =
                record.failure_for(&this).map(|failure| failure_facts(failure, grant.as_ref(), self.environment));
            facts.account = record.account().cloned();
            facts.attempt = (!record.is_emptied()).then_some((record.began, record.ended));
        }
        if !facts.is_usable()
            && let Some(token) = self.supplied_token(profile, now)
        {
            facts.token = Some(token);
        }
        if profile.source.needs_login && (with_login || !facts.is_usable()) {
            match profile.login() {
                Ok(Some(client)) => self.add_login(&client, min_ttl, &rules, &mut facts),
                Ok(None) => {}
                Err(error) => facts.error = Some(error),
            }
        }
        if facts.error.is_none() && !facts.is_usable() {
            facts.error = obstacle(profile, grant.as_ref(), self.environment);
        }
        if facts.error.is_none() && !facts.is_usable() {
            facts.error = self.remembered_error(&facts, profile);
            facts.is_error_remembered = facts.error.is_some();
        }
        facts.error = facts.error.map(|error| profile.with_place_of_key(profile.with_place_of_url(error)));
        if with_login && facts.holder.is_none() {
            let holder = entry.slot.lock_holder(&Http::sharing_group_of(self.environment).lock_name());
            facts.holder = holder.filter(|holder| now <= holder.until);
        }
        facts
    }

    /// Returns the token that an outer ycred has supplied in the variable that the profile reads.
    fn supplied_token(&self, profile: &Profile, now: Timestamp) -> Option<TokenFacts> {
        if !profile.source.is_passed_through || !profile.impersonate.is_empty() {
            return None;
        }
        let named = profile.settings.values_of("-env").next()?;
        let variable = TOKEN_VARIABLES.into_iter().find(|variable| *variable == named)?;
        let supplied = SuppliedToken::in_variable(self.environment, variable)?;
        let left = supplied.expires.since(now).max(0);
        Some(TokenFacts {
            state: match left {
                0 => TokenState::Unsuitable(crate::cache::freshness::FetchReason::Expiry),
                _ => TokenState::Fresh,
            },
            expires: supplied.expires,
            // An outer ycred has told it already.
            expires_for_clients: None,
            left,
            is_usable: left > 0,
            is_assumed: false,
            renewal_at: None,
            backs_off_until: None,
            place: TokenPlace::Variable(variable),
        })
    }

    fn add_login(&self, client: &LoginClient, min_ttl: Duration, rules: &RenewalRules, facts: &mut Facts) {
        let now = self.clock.now();
        let state = match client.store.load() {
            Ok(state) => state,
            Err(error) => {
                facts.login = Some(LoginFacts::Nobody);
                facts.error.get_or_insert(error);
                return;
            }
        };
        facts.holder = client.store.lock_holder().filter(|holder| now <= holder.until);
        if !facts.is_usable()
            && let Some((credential, fetched)) = state.access.as_ref().map(|access| (access.credential(), access.began))
        {
            let token = TokenFacts {
                state: rules.state_without_record(&credential, fetched, min_ttl, now),
                renewal_at: state.refresh_token.is_some().then(|| rules.renewal_time(&credential, fetched)),
                backs_off_until: state.backs_off_until(now),
                ..token_facts(&credential, TokenPlace::Login, now)
            };
            let is_newer = facts.token.as_ref().is_none_or(|other| other.expires <= token.expires);
            facts.token = if is_newer { Some(token) } else { facts.token.take() };
        }
        let is_usable = facts.is_usable();
        facts.login = Some(login_facts(&state, is_usable, now));
        if let (Some(LoginFacts::Over { reason, .. }), false) = (&facts.login, is_usable) {
            let hint = client.store.absent().hint;
            facts.error.get_or_insert_with(|| Error::refused(reason).hint(hint));
        }
    }

    /// Returns the failure of the last attempt, if it still counts.
    fn remembered_error(&self, facts: &Facts, profile: &Profile) -> Option<Error> {
        let failure = facts.failure.as_ref().filter(|failure| !failure.is_outdated)?;
        // A clock that was set back since does not make that longer.
        let is_recent = self.clock.now().since(failure.at).saturating_abs() < FAILURE_COUNTS;
        // The metadata service is part of the cloud, and no proxy is in between.
        let is_of_cloud = failure.is_answer || profile.source.name == "metadata";
        let kind = match failure.kind {
            Kind::Refused if is_of_cloud => Kind::Refused,
            _ if !is_recent => return None,
            Kind::Refused => Kind::Unavailable,
            kind => kind,
        };
        let error = Error::new(kind, &failure.message);
        Some(match &failure.hint {
            Some(hint) => error.hint(hint),
            None => error,
        })
    }
}

/// Returns why a fetch would fail before it asks anybody, as far as that shows without reading a secret.
pub(super) fn obstacle(profile: &Profile, grant: &dyn Grant, environment: &Environment) -> Option<Error> {
    // A call that fetches checks this first.
    let directories = profile.settings.file.as_deref().map_or(Ok(()), trust::check_directories);
    if let Err(error) = directories {
        return Some(error);
    }
    let file = grant.renewed_file().and_then(missing).map(|error| error.context(profile)).or_else(|| {
        let paths = grant.identity().files().iter().map(|file| file.path.as_path());
        let mut paths = paths.chain(grant.renewed_file());
        // The program that writes such a token has not finished.
        let is_empty =
            |path: &Path| profile.source.is_passed_through && std::fs::metadata(path).is_ok_and(|it| it.len() == 0);
        paths.find_map(|path| match files::check_readable(path) {
            Ok(()) if is_empty(path) => Some(Error::profile(format!("{}: is empty", path.display()))),
            checked => checked.err(),
        })
    });
    file.or_else(|| unusable_variable(profile, environment))
}

/// Returns what is wrong with the proxy or the certificates that the requests of a fetch would use.
fn unusable_variable(profile: &Profile, environment: &Environment) -> Option<Error> {
    let http = Http::new(environment, profile.ca_file.as_deref());
    let urls = profile.asked_urls();
    let has_own_roots =
        profile.ca_file.is_some() || [SSL_CERT_FILE, SSL_CERT_DIR].iter().any(|name| environment.get(name).is_some());
    let is_https = || urls.iter().any(|url| url.starts_with("https://"));
    let proxy = urls.iter().find_map(|url| http.proxy_for(url).err());
    proxy.or_else(|| if has_own_roots && is_https() { http.check_roots().err() } else { None })
}

/// Returns an error if a file that a fetch needs is missing.
fn missing(path: &Path) -> Option<Error> {
    std::fs::metadata(path)
        .err()
        .map(|error| Error::profile(path.display().to_string()).because(describe(&error)))
        .map(|error| error.hint("check the program that writes the file"))
}

fn token_in_record(record: &Record, min_ttl: Duration, rules: &RenewalRules, now: Timestamp) -> Option<TokenFacts> {
    let (state, credential) = record.token_state(min_ttl, rules, now).zip(record.credential())?;
    let fetched = record.fetched().unwrap_or(now);
    Some(TokenFacts {
        state,
        renewal_at: Some(rules.renewal_time(&credential, fetched)),
        backs_off_until: record.backs_off_until(now),
        ..token_facts(&credential, TokenPlace::Record, now)
    })
}

fn token_facts(credential: &Credential, place: TokenPlace, now: Timestamp) -> TokenFacts {
    let for_clients = credential.advertised(now, SkewAge::Earlier);
    TokenFacts {
        state: TokenState::Fresh,
        expires: credential.expires,
        expires_for_clients: Some(for_clients).filter(|at| at.unix_seconds() != credential.expires.unix_seconds()),
        left: credential.left(now),
        is_usable: !credential.is_expired(now),
        is_assumed: credential.assumed,
        renewal_at: None,
        backs_off_until: None,
        place,
    }
}

fn login_facts(state: &LoginState, is_usable: bool, now: Timestamp) -> LoginFacts {
    match &state.over {
        Some(end) => LoginFacts::Over { at: Some(end.at), reason: end.message(now) },
        None if state.refresh_token.is_none() && !is_usable => LoginFacts::Over {
            at: None,
            reason: "the login has expired: the organization issues no refresh tokens".into(),
        },
        None => LoginFacts::Active {
            is_renewable: state.refresh_token.is_some(),
            in_doubt_since: state.sent_at,
            renewed: state.renewal.as_ref().map(|renewal| renewal.ended),
        },
    }
}

/// Describes the failure of the last attempt. Reads no file to see whether it is outdated: a subject token in a file counts as
/// another one if the file was written since.
fn failure_facts(failure: LastFailure<'_>, grant: &dyn Grant, environment: &Environment) -> FailureFacts {
    let is_of_other_variables = failure.group.is_some_and(|group| *group != Http::sharing_group_of(environment));
    let is_for_other_token = failure.presented_token.is_some_and(|presented| match grant.renewed_file() {
        Some(path) => {
            let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
            let modified = modified.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
            modified.is_some_and(|age| Timestamp(0).plus(age) > failure.at)
        }
        None => grant.presented_token().is_some_and(|current| current.digest != presented),
    });
    FailureFacts {
        kind: failure.kind,
        message: failure.message.to_owned(),
        hint: failure.hint.map(str::to_owned),
        at: failure.at,
        is_answer: failure.is_answer,
        is_outdated: is_for_other_token || is_of_other_variables,
        is_of_other_variables,
    }
}
