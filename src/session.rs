//! One run of ycred: its inputs, and the steps that hooks and commands share.

pub mod child_environment;
pub mod facts;
pub mod host;
pub mod next_call;

use std::cell::{Cell, RefCell};
use std::io;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::base::clock::{Clock, Deadline, Timestamp};
use crate::base::diagnostics::Diagnostics;
use crate::base::environment as env;
use crate::base::environment::Environment;
use crate::base::error::{Error, Result};
use crate::base::secret::Secret;
use crate::base::token::Credential;
use crate::cache::Cache;
use crate::cache::freshness::Requirements;
use crate::cache::record::Record;
use crate::cloud::http::Http;
use crate::cloud::{ATTEMPTS, Context};
use crate::disk::places::Places;
use crate::obtain;
use crate::obtain::{Grant, ObtainedToken};
use crate::process::flags::Options;
use crate::process::painting::Look;
use crate::process::stdin;
use crate::process::stdin::{Input, Lines, RequestEnd};
use crate::profile;
use crate::profile::{DEFAULT_TIMEOUT, Profile, ProfileRef, SelectedBy};
use crate::sources::Resource;
use crate::sources::access_key;
use crate::sources::access_key::{AccessKey, KeyRequest};

/// The inputs and services of one run.
pub struct Session<'a> {
    pub environment: &'a Environment,
    pub clock: &'static dyn Clock,
    pub diagnostics: &'a Diagnostics<'a>,
    pub places: &'a Places,
    /// Why the directories in `places` are unknown, if they are. Loading a profile returns this error.
    pub places_error: Option<Error>,
    pub stdin: &'a RefCell<Box<dyn Input>>,
    /// Writes to stderr immediately, for messages that the user must see during the run.
    pub print_stderr: &'static (dyn Fn(&str) + Sync),
    /// Writes to stdout immediately, for protocols with several replies per process. A single reply is returned
    /// instead.
    pub print_stdout: &'a dyn Fn(&[u8]) -> io::Result<()>,
    /// How to write to the terminal of a person.
    pub look: Look,
    /// When the process started, by the wall clock. With `--force-refresh`, only tokens fetched later count.
    pub process_began: Timestamp,
    /// When the current request started, by the steady clock. Deadlines count from here. This is the start of the
    /// process, except in a process that serves several requests.
    pub request_started: Cell<Duration>,
}

impl Session<'_> {
    /// Loads the profile that the call names; else the one in `YCRED_PROFILE`; else the default.
    ///
    /// # Errors
    /// As [`Profile::load`].
    pub fn profile(&self, profile_ref: &ProfileRef) -> Result<Profile> {
        if let Some(error) = &self.places_error {
            return Err(error.clone());
        }
        let (environment, now) = (self.environment, self.clock.now());
        let profile = match (profile_ref, environment.get(env::YCRED_PROFILE)) {
            (ProfileRef::Unnamed, Some(text)) => {
                let named = ProfileRef::NameOrPath { by: env::YCRED_PROFILE, text: text.to_owned() };
                // `ycred exec` sets the variable, supplies a token, and removes variables that the profile may read.
                Profile::load(&named, environment, self.places, now)?.or_supplied_token(environment, now)?
            }
            _ => Profile::load(profile_ref, environment, self.places, now)?,
        };
        self.diagnostics.debug(|| {
            let only = if profile.selected_by == SelectedBy::Only { " (the only profile)" } else { "" };
            let file = profile.settings.file.as_ref().map(|file| format!(" from {}", file.display()));
            format!("{profile}{only}: source {}{}", profile.source.name, file.unwrap_or_default())
        });
        Ok(profile)
    }

    /// Obtains a token of the profile, as the flags require. Its minimum remaining validity is `min_ttl` or that of the
    /// profile, whichever is longer; `--min-ttl` overrides both.
    ///
    /// # Errors
    /// As [`obtain`].
    pub fn obtain(&self, profile: &Profile, options: &Options, min_ttl: Duration) -> Result<ObtainedToken> {
        self.obtain_resource(profile, options, &Resource::default(), min_ttl)
    }

    /// Obtains a token or an access key. Otherwise like [`Self::obtain`].
    ///
    /// # Errors
    /// As [`obtain`]; Unavailable (4): the cached entry is not an access key.
    pub fn obtain_resource(
        &self,
        profile: &Profile,
        options: &Options,
        resource: &Resource,
        min_ttl: Duration,
    ) -> Result<ObtainedToken> {
        let profile = &Profile { is_caching: profile.is_caching && !options.no_cache, ..profile.clone() };
        let (grant, min_ttl) = self.open(profile, resource, min_ttl)?;
        let obtained = self.obtain_from(grant.as_ref(), profile, options, min_ttl)?;
        match resource {
            Resource::AccessKey(_) if AccessKey::unpack(&obtained.credential.secret).is_none() => Err(profile
                .name_in_hint(
                    Error::unavailable(format!("{profile}: the cached entry is not an access key"))
                        .hint("to delete it, run `ycred logout`"),
                )),
            _ => Ok(obtained),
        }
    }

    /// Opens the grant for a token or an access key. Also returns its minimum remaining validity, which `--min-ttl`
    /// overrides.
    ///
    /// # Errors
    /// As [`Profile::open_resource`].
    pub fn open(
        &self,
        profile: &Profile,
        resource: &Resource,
        min_ttl: Duration,
    ) -> Result<(Box<dyn Grant>, Duration)> {
        let min_ttl = profile.min_ttl.max(min_ttl);
        let grant = profile.open_resource(resource, self.places.home.as_deref())?;
        Ok(match resource {
            Resource::Token { .. } => (grant, min_ttl),
            Resource::AccessKey(request) => (grant, request.min_ttl(min_ttl)),
        })
    }

    /// Obtains a token from a grant. `--min-ttl` overrides `min_ttl`.
    fn obtain_from(
        &self,
        grant: &dyn Grant,
        profile: &Profile,
        options: &Options,
        min_ttl: Duration,
    ) -> Result<ObtainedToken> {
        let timeout = options.timeout.unwrap_or(profile.timeout);
        let min_ttl = options.min_ttl.unwrap_or(min_ttl);
        self.with_context(profile, options, min_ttl, timeout, |cx| obtain::obtain(grant, cx))
            .map_err(|error| profile.with_place_of_key(profile.with_place_of_url(error)))
            .map_err(|error| profile.name_in_hint(error.context(profile)))
    }

    /// Runs an operation with the network settings, cache and deadline of this profile.
    ///
    /// # Errors
    /// Profile (3): the `ca-file` is unusable; and the errors of the operation.
    pub fn with_context<T>(
        &self,
        profile: &Profile,
        options: &Options,
        min_ttl: Duration,
        timeout: Duration,
        operation: impl FnOnce(&Context<'_>) -> Result<T>,
    ) -> Result<T> {
        // Anyone who can write this file can intercept tokens, so every call checks who can write it, as for the
        // profile.
        if let Some(path) = &profile.ca_file {
            profile::find::check_named_file(path, "ca-file")?;
        }
        let http = Http::new(self.environment, profile.ca_file.as_deref());
        let cache = match profile.is_caching {
            true => self.cache(),
            false => Cache::new(Err("the cache is turned off".into())),
        };
        let label = profile.to_string();
        let force_since = options.force_refresh.then_some(self.process_began);
        let cx = Context {
            clock: self.clock,
            deadline: Deadline::since(self.request_started.get(), timeout),
            began: self.clock.now().minus(self.clock.elapsed().saturating_sub(self.request_started.get())),
            attempts: ATTEMPTS,
            attempt_time: None,
            http: &http,
            cache: &cache,
            diagnostics: self.diagnostics,
            requirements: Requirements { min_ttl, force_since },
            profile: &label,
            profile_file: profile.settings.file.as_deref(),
            last_error: None,
            is_inner: false,
        };
        operation(&cx)
    }

    /// Returns the cache, for operations other than obtaining a token.
    pub fn cache(&self) -> Cache {
        Cache::new(self.places.cache.clone())
    }

    /// Returns the profile's access keys that are cached and valid, as far as they are found in a quarter of the time.
    ///
    /// # Errors
    /// As [`Profile::open`].
    pub fn access_keys(&self, profile: &Profile, options: &Options) -> Result<Vec<(KeyRequest, Credential)>> {
        if options.no_cache || !profile.is_caching {
            return Ok(Vec::new());
        }
        let (grant, now) = (profile.open()?, self.clock.now());
        let key = |record: &Record| {
            let request = access_key::request_of(record.settings(), grant.identity())?;
            Some((request, record.credential().filter(|credential| !credential.is_expired(now))?))
        };
        let cache = self.cache();
        // Most of the time is for requests.
        let deadline = Deadline::of_run(options.timeout.unwrap_or(profile.timeout)).share(self.clock, 0.25);
        let Ok(keys) = cache.slots_where(&grant.identity().name(), key, &deadline, self.clock) else {
            return Ok(Vec::new());
        };
        if !keys.is_complete {
            self.diagnostics.debug(|| format!("{profile}: no time to look for access keys in all records"));
        }
        Ok(keys.slots.into_iter().map(|(_, key)| key).collect())
    }

    /// Removes from the cache a token that a server rejected, so that the next call fetches a new one. Failures are
    /// only logged: the client that reports the rejection does not read errors.
    pub fn reject_token(&self, profile: &Profile, options: &Options, token: &Secret) {
        // A login stores its last token outside the cache, and would return it again.
        if let Ok(Some(login)) = profile.login() {
            login.store.delete_access_token(token);
        }
        if options.no_cache || !profile.is_caching {
            return;
        }
        let Ok(grant) = profile.open() else { return };
        let group = Http::sharing_group_of(self.environment);
        match self.cache().entry(grant.identity()).reject(token, &group, self.clock) {
            Ok(true) => self.diagnostics.debug(|| format!("{profile}: removed the rejected token from the cache")),
            Ok(false) => self.diagnostics.debug(|| format!("{profile}: the rejected token is not the cached one")),
            Err(error) => self
                .diagnostics
                .debug(|| format!("{profile}: cannot remove the rejected token from the cache: {error}")),
        }
    }

    /// Returns true if a person may be at stdin: it is a terminal, and so is stderr.
    pub fn is_terminal(&self) -> bool {
        self.stdin.borrow().is_terminal()
    }

    /// Reads a request from stdin, at most `most` bytes, within `--timeout` or the default time. The profile's `timeout` is not
    /// known yet.
    ///
    /// # Errors
    /// As [`stdin::read_request`].
    pub fn read_stdin(&self, end: RequestEnd, most: usize, options: &Options) -> Result<Zeroizing<Vec<u8>>> {
        let deadline = Deadline::of_run(options.timeout.unwrap_or(DEFAULT_TIMEOUT));
        stdin::read_request(self.stdin.borrow_mut().as_mut(), end, most, &deadline, self.clock)
    }

    /// Returns a reader for stdin, with at most `most` bytes per line and `--timeout` or the default time for each.
    pub fn lines(&self, most: usize, options: &Options) -> Lines {
        Lines::new(most, options.timeout.unwrap_or(DEFAULT_TIMEOUT))
    }

    /// Returns the next line, or `None` at the end of stdin.
    ///
    /// # Errors
    /// As [`Lines::next`].
    pub fn next_line(&self, lines: &mut Lines) -> Result<Option<Zeroizing<Vec<u8>>>> {
        lines.next(self.stdin.borrow_mut().as_mut(), self.clock)
    }
}
