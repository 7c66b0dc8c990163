//! One run: what the process was given, and the steps that hooks and people's commands share.

pub mod child;

use std::cell::{Cell, RefCell};
use std::io;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::base::clock::{Clock, Deadline, Timestamp};
use crate::base::environment as env;
use crate::base::environment::Environment;
use crate::base::error::{Error, Result};
use crate::base::notes::Notes;
use crate::base::secret::Secret;
use crate::cache::Cache;
use crate::cache::record::Requirements;
use crate::cloud::http::Http;
use crate::cloud::{ATTEMPTS, Context};
use crate::disk::places::Places;
use crate::obtain::{Grant, ObtainedToken, obtain};
use crate::process::flags::Options;
use crate::process::stdin;
use crate::process::stdin::{Input, Lines};
use crate::profile;
use crate::profile::{DEFAULT_TIMEOUT, Profile, ProfileRef};
use crate::sources::Resource;
use crate::sources::access_key::AccessKey;

/// What a run has at hand.
pub struct Session<'a> {
    pub environment: &'a Environment,
    pub clock: &'static dyn Clock,
    pub notes: &'a Notes<'a>,
    pub places: &'a Places,
    /// Why the places are not known, if they are not: told when a profile is wanted.
    pub places_error: Option<Error>,
    pub stdin: &'a RefCell<Box<dyn Input>>,
    /// Writes to stderr at once: for what a person must see while the run goes on.
    pub print_stderr: &'static (dyn Fn(&str) + Sync),
    /// Writes a piece of a conversation to stdout at once. A reply that is one piece is returned instead.
    pub print_stdout: &'a dyn Fn(&[u8]) -> io::Result<()>,
    /// When this process began, by the wall clock: what `--force-refresh` counts from.
    pub began: Timestamp,
    /// When what is being done began, by the steady clock: what deadlines count from. The start of the process, but for
    /// one that answers request after request.
    pub started: Cell<Duration>,
}

impl Session<'_> {
    /// The profile that a call names, or the environment names, or the default.
    ///
    /// # Errors
    /// As [`Profile::load`].
    pub fn profile(&self, wanted: &ProfileRef) -> Result<Profile> {
        if let Some(error) = &self.places_error {
            return Err(error.clone());
        }
        let named = match (wanted, self.environment.get(env::YCRED_PROFILE)) {
            (ProfileRef::Unnamed, Some(text)) => &ProfileRef::Typed { by: env::YCRED_PROFILE, text: text.to_owned() },
            _ => wanted,
        };
        let profile = Profile::load(named, self.environment, self.places)?;
        self.notes.debug(|| format!("{profile}: source {}", profile.source.name));
        Ok(profile)
    }

    /// A token of the profile, as the flags want it; `floor` is what the caller's protocol needs at least.
    ///
    /// # Errors
    /// See [`obtain`].
    pub fn obtain(&self, profile: &Profile, options: &Options, min_ttl: Duration) -> Result<ObtainedToken> {
        self.obtain_need(profile, options, &Resource::default(), min_ttl)
    }

    /// [`Self::obtain`], for what a protocol needs.
    ///
    /// # Errors
    /// See [`obtain`].
    pub fn obtain_need(
        &self,
        profile: &Profile,
        options: &Options,
        need: &Resource,
        min_ttl: Duration,
    ) -> Result<ObtainedToken> {
        let profile = &Profile { cached: profile.cached && !options.no_cache, ..profile.clone() };
        let (grant, min_ttl) = self.open(profile, need, min_ttl)?;
        let obtained = self.obtain_from(grant.as_ref(), profile, options, min_ttl)?;
        match need {
            Resource::AccessKey(_) if AccessKey::unpack(&obtained.credential.secret).is_none() => {
                Err(Error::internal(format!("{profile}: what the cache has is no access key"))
                    .hint("`ycred logout` forgets it"))
            }
            _ => Ok(obtained),
        }
    }

    /// The grant of what is needed, and what is left at least of what it hands out, unless `--min-ttl` says otherwise.
    ///
    /// # Errors
    /// As [`sources::open`].
    pub fn open(&self, profile: &Profile, need: &Resource, min_ttl: Duration) -> Result<(Box<dyn Grant>, Duration)> {
        let min_ttl = profile.min_ttl.max(min_ttl);
        let grant = profile.open_resource(need, self.places.home.as_deref())?;
        Ok(match need {
            Resource::Token { .. } => (grant, min_ttl),
            Resource::AccessKey(request) => (grant, request.min_ttl(min_ttl)),
        })
    }

    /// `floor` is what is left at least of what comes, unless `--min-ttl` says otherwise.
    fn obtain_from(
        &self,
        grant: &dyn Grant,
        profile: &Profile,
        options: &Options,
        min_ttl: Duration,
    ) -> Result<ObtainedToken> {
        let timeout = options.timeout.unwrap_or(profile.timeout);
        let min_ttl = options.min_ttl.unwrap_or(min_ttl);
        self.ask(profile, options, min_ttl, timeout, |cx| obtain(grant, cx)).map_err(|error| error.context(profile))
    }

    /// Does something with the network, as this profile has it.
    ///
    /// # Errors
    /// Profile (3): its `ca-file`; and what `act` brings.
    pub fn ask<T>(
        &self,
        profile: &Profile,
        options: &Options,
        min_ttl: Duration,
        timeout: Duration,
        act: impl FnOnce(&Context<'_>) -> Result<T>,
    ) -> Result<T> {
        // Trusted like the profile itself, so judged like it, on every call.
        if let Some(path) = &profile.ca_file {
            profile::find::check_named_file(path, "ca-file")?;
        }
        let http = Http::new(self.environment, profile.ca_file.as_deref());
        let cache = match profile.cached {
            true => self.cache(),
            false => Cache::new(Err("no cache is wanted".into())),
        };
        let label = profile.to_string();
        let force_since = options.force_refresh.then_some(self.began);
        let cx = Context {
            clock: self.clock,
            deadline: Deadline::since(self.started.get(), timeout),
            attempts: ATTEMPTS,
            http: &http,
            cache: &cache,
            notes: self.notes,
            requirements: Requirements { min_ttl, force_since },
            profile: &label,
            is_inner: false,
        };
        act(&cx)
    }

    /// The cache, for those who do not want a token of it.
    pub fn cache(&self) -> Cache {
        Cache::new(self.places.cache.clone())
    }

    /// A server has rejected this very token: the cache forgets it, so that the next call fetches. Best effort, since
    /// the program that tells us has no use for an error.
    pub fn reject_token(&self, profile: &Profile, options: &Options, token: &Secret) {
        // It would be handed out again otherwise: a login keeps its last token beside the cache.
        if let Ok(Some(login)) = profile.login() {
            login.place.drop_access(token);
        }
        if options.no_cache || !profile.cached {
            return;
        }
        let Ok(grant) = profile.open() else { return };
        match self.cache().entry(grant.identity()).reject(token) {
            Ok(true) => {
                self.notes.debug(|| format!("{profile}: the token was rejected, and is dropped from the cache"))
            }
            Ok(false) => self.notes.debug(|| format!("{profile}: the rejected token is not the cached one")),
            Err(error) => self.notes.debug(|| format!("{profile}: the rejected token stays in the cache: {error}")),
        }
    }

    /// All of stdin, up to `most` bytes. The profile is not known yet, so it is `--timeout` or the default that bounds
    /// this.
    ///
    /// # Errors
    /// As [`stdin::read_whole`].
    pub fn read_stdin(&self, most: usize, options: &Options) -> Result<Zeroizing<Vec<u8>>> {
        let deadline = Deadline::of_run(options.timeout.unwrap_or(DEFAULT_TIMEOUT));
        stdin::read_whole(self.stdin.borrow_mut().as_mut(), most, &deadline, self.clock)
    }

    /// stdin line by line, each at most `most` bytes.
    pub fn lines(&self, most: usize, options: &Options) -> Lines {
        Lines::new(most, options.timeout.unwrap_or(DEFAULT_TIMEOUT))
    }

    /// The next of these lines; none once stdin has ended.
    ///
    /// # Errors
    /// As [`Lines::next`].
    pub fn next_line(&self, lines: &mut Lines) -> Result<Option<Zeroizing<Vec<u8>>>> {
        lines.next(self.stdin.borrow_mut().as_mut(), self.clock)
    }
}
