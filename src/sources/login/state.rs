//! Files of a login: the state file with the refresh token, its key and the last access token, and next to it a marker
//! with the login's random ID.
//!
//! The cache watches the marker and not the state file. So a cache hit does not read the state, and a new refresh token
//! does not cause a cache miss.
//!
//! `login` writes the state first and the marker last; `logout` removes the marker first. A state is valid only if the
//! marker contains its ID. So after a crash between these steps nobody is logged in, and the token of another login is
//! never used.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::base::account::Account;
use crate::base::clock::Timestamp;
use crate::base::clock::{Clock, Deadline};
use crate::base::error::{Error, Kind, Result};
use crate::base::identity::{Identity, MissingFile, hex, value_digest};
use crate::base::secret::Secret;
use crate::base::secret::expose;
use crate::base::token::{Credential, LIFETIME_ASSUMED};
use crate::cache::attempt::BACK_OFF_MAX;
use crate::cache::failure::Surroundings;
use crate::cache::record::FUTURE_TOLERANCE;
use crate::cache::sharing_group::SharingGroup;
use crate::cloud::jwt::ProofKey;
use crate::disk::store;
use crate::disk::store::{FileState, Lock, LockGuard, LockHolder, ReservedSpace};

/// Directory of this version of the format.
pub const VERSION: &str = "v1";

/// Space to reserve for a state, in bytes. An access token has at most 4096 bytes, a refresh token 1000 (cloudapi,
/// refresh_token_service.proto).
const STATE_SPACE: usize = 12 * 1024;

/// How long the cloud accepts a refresh token (docs `iam/concepts/authorization/refresh-token.md`).
const REFRESH_TOKEN_LIFETIME: Duration = Duration::from_secs(31 * 24 * 3600);

/// The store of one login.
#[derive(Clone, Debug)]
pub struct LoginStore {
    directory: PathBuf,
    /// File name without extension: a digest, which does not reveal the account.
    name: String,
    /// Settings of the login's identity. A state with other settings is ignored, even if its name is the same.
    settings: String,
    /// The error if nobody is logged in.
    absent: MissingFile,
}

/// The state of a login.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoginState {
    settings: String,
    /// Random ID of the login. The marker contains it too.
    session: String,
    /// PKCS#8 of the P-256 key that signs the proofs of possession.
    #[serde(serialize_with = "expose")]
    key: Secret,
    /// `None` if the organization doesn't issue refresh tokens. Then the login ends when its access token expires.
    #[serde(serialize_with = "expose_some")]
    pub refresh_token: Option<Secret>,
    pub access: Option<AccessToken>,
    /// When the refresh token was sent, if no answer has arrived. The answer is outstanding while a process holds the
    /// login's lock. After that it is in doubt whether the refresh token is still valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// The refresh token was sent although it was in doubt, and is in doubt again. It is never sent once more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_sent_again: bool,
    /// Until then no process asks for a better access token, because the last renewal returned none that lasts long enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// The last renewal. An older ycred removes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewal: Option<Renewal>,
    /// When the refresh token expires. Unknown for a login by an older ycred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_until: Option<Timestamp>,
    /// Set once the auth host has rejected the refresh token. The user must log in again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<LoginEnd>,
}

/// A finished renewal, for the processes that waited for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Renewal {
    /// Random ID.
    pub attempt: String,
    pub began: Timestamp,
    pub ended: Timestamp,
    /// The auth host's clock minus this machine's, in milliseconds. 0 if they differ by less than 30 s.
    #[serde(default)]
    pub skew: i64,
    /// Why it failed, if it did.
    pub failure: Option<RenewalFailure>,
}

/// The error of a renewal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RenewalFailure {
    kind: u8,
    message: String,
    hint: Option<String>,
    #[serde(default)]
    timed_out: bool,
    /// The auth host has answered, so the failure is the same for every process.
    is_answer: bool,
    /// The status of the response, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// The sharing group of the process that failed. `way` is its older name.
    #[serde(rename = "way")]
    group: SharingGroup,
    /// The surroundings of the process that failed. An older ycred stores none: its failures count in all.
    #[serde(rename = "network", default, skip_serializing_if = "Option::is_none")]
    surroundings: Option<Surroundings>,
    /// Due to a limit or a sandbox of the process that failed, so it says nothing about others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_unshared: bool,
    /// Nothing was sent.
    #[serde(rename = "unsent", default, skip_serializing_if = "std::ops::Not::not")]
    is_unsent: bool,
}

/// Why and when a login ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoginEnd {
    pub at: Timestamp,
    /// The auth host's message.
    pub reason: String,
    /// When an earlier renewal sent the refresh token, if its answer was lost. That answer probably contained the next
    /// refresh token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Timestamp>,
}

impl LoginEnd {
    /// Says why the login is over.
    pub fn message(&self, now: Timestamp) -> String {
        match self.lost {
            Some(sent_at) => {
                format!("the login is over: the answer to the last renewal ({}) was lost", sent_at.short(now))
            }
            None => format!("the login has expired or was revoked ({})", self.reason),
        }
    }
}

impl RenewalFailure {
    pub fn new(error: &Error, group: SharingGroup, surroundings: Surroundings) -> Self {
        Self {
            kind: error.kind.exit_code(),
            message: error.reason(),
            hint: error.hint_text(),
            timed_out: error.has_timed_out,
            is_answer: error.is_answer,
            status: error.status,
            group,
            surroundings: Some(surroundings),
            is_unshared: error.is_unshared,
            is_unsent: error.is_unsent,
        }
    }

    /// Returns true if a renewal by a process of this group with these surroundings would fail in the same way.
    pub fn counts_for(&self, group: &SharingGroup, surroundings: &Surroundings) -> bool {
        let is_alike = self.group == *group && self.surroundings.as_ref().is_none_or(|own| own == surroundings);
        self.is_answer || (is_alike && !self.is_unshared)
    }

    /// Returns true if the renewal has not sent the refresh token.
    pub fn is_unsent(&self) -> bool {
        self.is_unsent
    }

    /// [`Error::has_got_no_connection`].
    pub fn has_got_no_connection(&self) -> bool {
        self.timed_out && self.is_unsent
    }

    /// Returns the error for the process that has started the renewal. The cache may share it as if that process had made the
    /// request itself.
    pub fn own_error(&self) -> Error {
        let mut error = self.error();
        error.is_unshared = self.is_unshared;
        error
    }

    /// Returns the error for a process that has waited for the renewal of another one.
    pub fn error(&self) -> Error {
        let mut error = Error::new(Kind::from_exit_code(self.kind), &self.message).unshared();
        error.has_timed_out = self.timed_out;
        error.is_answer = self.is_answer;
        error.status = self.status;
        error.is_unsent = self.is_unsent;
        error.may_try_again = self.has_got_no_connection();
        match &self.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// The last access token, which is an IAM token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccessToken {
    #[serde(serialize_with = "expose")]
    token: Secret,
    issued: Timestamp,
    expires: Timestamp,
    skew: i64,
    /// When it was requested, by this machine's clock. `--force-refresh` accepts tokens requested after its own start.
    pub began: Timestamp,
}

fn expose_some<S: serde::Serializer>(secret: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => expose(secret, serializer),
        None => serializer.serialize_none(),
    }
}

impl LoginState {
    /// Creates the state of a new login, with a new ID.
    pub fn new(store: &LoginStore, key: &ProofKey, refresh_token: Option<Secret>, access: AccessToken) -> Self {
        let refresh_until = refresh_token.is_some().then(|| access.began.plus(REFRESH_TOKEN_LIFETIME));
        Self {
            refresh_until,
            settings: store.settings.clone(),
            session: crate::base::random::id(),
            key: key.text().clone(),
            refresh_token,
            access: Some(access),
            sent_at: None,
            is_sent_again: false,
            retry_at: None,
            renewal: None,
            over: None,
        }
    }

    /// Stores the refresh token of a response that was requested at `began`. The auth host may repeat the old one.
    pub fn set_refresh_token(&mut self, token: Secret, began: Timestamp) {
        if self.refresh_token.as_ref() != Some(&token) {
            self.refresh_until = Some(began.plus(REFRESH_TOKEN_LIFETIME));
            self.refresh_token = Some(token);
        }
    }

    /// Returns when the user must log in again, unless the cloud issues a new refresh token before. `None` if the login is over
    /// already, or the time is not known.
    pub fn ends(&self) -> Option<Timestamp> {
        match (&self.over, &self.refresh_token) {
            (Some(_), _) => None,
            (None, Some(_)) => self.refresh_until,
            (None, None) => self.access.as_ref().map(|access| access.expires),
        }
    }

    /// Returns a digest that changes with each login, each new access token, and whenever the refresh token is sent or its answer
    /// arrives, also by an older ycred. A renewal that fails without that leaves it as it is: otherwise processes that cannot
    /// connect would keep all others from renewing the login.
    pub fn version(&self) -> String {
        let began = self.access.as_ref().map(|access| access.began);
        hex(&value_digest(format!("{} {began:?} {:?}", self.session, self.sent_at).as_bytes())[..8])
    }

    /// Returns true if this is the [`Self::version`] of the state, or what it was for an older ycred, which may be running still.
    pub fn has_version(&self, version: &str) -> bool {
        let began = self.access.as_ref().map(|access| access.began);
        let older = || value_digest(format!("{} {:?} {began:?}", self.session, self.last_renewal()).as_bytes());
        self.version() == version || hex(&older()[..8]) == version
    }

    /// Returns true if a renewal has failed since the one with the ID `last`, and one by a process of this group with these
    /// surroundings would fail in the same way.
    pub fn has_failed_since(&self, last: Option<&str>, group: &SharingGroup, surroundings: &Surroundings) -> bool {
        let later = self.renewal.as_ref().filter(|renewal| last != Some(&renewal.attempt));
        let failure = later.and_then(|renewal| renewal.failure.as_ref());
        failure.is_some_and(|failure| failure.counts_for(group, surroundings))
    }

    /// Returns the random ID of the last renewal.
    pub fn last_renewal(&self) -> Option<&str> {
        self.renewal.as_ref().map(|renewal| renewal.attempt.as_str())
    }

    /// Returns the access token if it has not expired.
    pub fn unexpired(&self, now: Timestamp) -> Option<Credential> {
        self.access.as_ref().map(AccessToken::credential).filter(|credential| !credential.is_expired(now))
    }

    /// Returns the access token if it certainly has not expired.
    pub fn reliable(&self, now: Timestamp) -> Option<Credential> {
        self.unexpired(now).filter(|_| self.access.as_ref().is_some_and(|access| !access.is_from_future(now)))
    }

    /// Returns the access token if it may still be valid, for a call whose renewal has failed.
    pub fn last_resort(&self, now: Timestamp) -> Option<Credential> {
        let credential = self.unexpired(now)?;
        if self.reliable(now).is_some() {
            return Some(credential);
        }
        let expires = credential.expires.min(now.plus(LIFETIME_ASSUMED));
        Some(Credential { issued: now, expires, skew: 0, assumed: true, ..credential })
    }

    /// Returns the time before which no process asks for a better access token, if it is in the future. Ignores one that the
    /// clock cannot have shown if it was right.
    pub fn backs_off_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.retry_at.filter(|at| (1..=BACK_OFF_MAX).contains(&at.since(now)))
    }

    /// Returns the key that the refresh token is bound to.
    ///
    /// # Errors
    /// Refused (1): the file is damaged. The user must log in again.
    pub fn key(&self, store: &LoginStore) -> Result<ProofKey> {
        ProofKey::from_text(self.key.clone())
            .map_err(|why| Error::refused(format!("{}: {why}", store.path(STATE).display())).hint(&store.absent.hint))
    }

    /// Returns true if both states belong to the same login, even if it was renewed in between.
    pub fn is_same_login(&self, other: &Self) -> bool {
        self.session == other.session
    }
}

impl AccessToken {
    pub fn new(credential: &Credential, began: Timestamp) -> Self {
        let Credential { secret, issued, expires, skew, assumed: _, is_reported: _, account: _ } = credential.clone();
        Self { token: secret, issued, expires, skew, began }
    }

    /// Returns true if the token was requested while this machine's clock was ahead, or by a machine whose clock is ahead. Then its
    /// times are unreliable. The cache has the same rule.
    pub fn is_from_future(&self, now: Timestamp) -> bool {
        self.began > now.plus(FUTURE_TOLERANCE)
    }

    pub fn credential(&self) -> Credential {
        let Self { token, issued, expires, skew, began: _ } = self.clone();
        let account = Some(Account::user());
        Credential { secret: token, issued, expires, skew, assumed: false, is_reported: false, account }
    }
}

const STATE: &str = store::RECORD;
const MARKER: &str = ".session";
const LOCK: &str = ".lock";
const BROWSER_LOCK: &str = ".login.lock";
const FAILED: &str = ".failed";

/// How often to write a state if its file is removed before it has its name.
const STORE_MAX: u32 = 2;

/// The result of a removal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// True if there was a file.
    pub any: bool,
}

/// The reason why the last login failed. For some seconds after `at`, the next login opens no browser.
#[derive(Serialize, Deserialize)]
pub struct LoginFailure {
    pub at: Timestamp,
    pub reason: String,
}

impl LoginStore {
    /// Creates the store for a login with this identity. `command` is the command that logs in, for hints.
    pub fn new(state_dir: &Path, identity: &Identity, command: &str) -> Self {
        let absent =
            MissingFile { kind: Kind::Refused, message: "nobody is logged in".into(), hint: command.to_owned() };
        Self { directory: state_dir.join(VERSION), name: identity.name(), settings: identity.settings(), absent }
    }

    /// Lists the stores of all logins in a state directory. They can only be removed, because their identities are
    /// unknown.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn all(state_dir: &Path) -> io::Result<Vec<Self>> {
        let directory = state_dir.join(VERSION);
        let absent = MissingFile { kind: Kind::Refused, message: String::new(), hint: String::new() };
        let store = |name| Self { directory: directory.clone(), name, settings: String::new(), absent: absent.clone() };
        Ok(store::names_before_dot(&directory)?.into_iter().map(store).collect())
    }

    /// Removes temporary files that killed processes left in a state directory. They may contain a refresh token.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn remove_temporary_files(state_dir: &Path) -> io::Result<()> {
        store::remove_temporary_files(&state_dir.join(VERSION))
    }

    fn path(&self, ending: &str) -> PathBuf {
        self.directory.join(format!("{}{ending}", self.name))
    }

    /// Returns the path of the marker, which the cache watches.
    pub fn marker(&self) -> PathBuf {
        self.path(MARKER)
    }

    /// Returns the error for a missing marker: nobody is logged in.
    pub fn absent(&self) -> MissingFile {
        self.absent.clone()
    }

    /// Returns the directory, for messages.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Creates the directory if necessary, and removes old temporary files.
    ///
    /// # Errors
    /// The directory cannot be created, or it belongs to another user.
    pub fn prepare(&self, now: Timestamp) -> io::Result<()> {
        if let Some(parent) = self.directory.parent() {
            store::tighten(parent)?;
        }
        store::make_private(&self.directory)?;
        store::remove_old_temporary_files(&self.directory, now);
        Ok(())
    }

    /// Reads the state.
    ///
    /// # Errors
    /// Refused (1): nobody is logged in, or the file is not a login of this user. Profile (3) or Unavailable (4): the file cannot be
    /// read.
    pub fn load(&self) -> Result<LoginState> {
        let state = match self.read(STATE)? {
            Some(content) => serde_json::from_slice::<LoginState>(&content).ok(),
            None => None,
        };
        let marker = self.read(MARKER)?;
        state
            .filter(|state| state.settings == self.settings)
            .filter(|state| marker.is_some_and(|marker| *marker == *state.session.as_bytes()))
            .ok_or_else(|| self.absent.error())
    }

    fn read(&self, ending: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let path = self.path(ending);
        match store::read(&path) {
            Ok(FileState::Content(content)) => Ok(Some(content)),
            Ok(FileState::Nothing) => Ok(None),
            Ok(FileState::Foreign) => {
                Err(Error::refused(format!("{}: not a login file of this user", path.display()))
                    .hint(&self.absent.hint))
            }
            Err(error) => Err(Error::of_disk(format!("{}: cannot be read", path.display()), &error)),
        }
    }

    /// Returns true if somebody is logged in, perhaps with a state that cannot be read.
    pub fn has_marker(&self) -> bool {
        self.marker().symlink_metadata().is_ok()
    }

    /// Returns true if this login is the current one, that is, the user has not logged out or logged in again.
    pub fn is_current(&self, state: &LoginState) -> bool {
        self.read(MARKER).is_ok_and(|marker| marker.is_some_and(|marker| *marker == *state.session.as_bytes()))
    }

    /// Tries once to take the login's lock. The renewing process holds it from reading the refresh token until the next
    /// one is stored.
    pub fn try_lock(&self) -> Lock {
        self.try_lock_file(LOCK)
    }

    /// Returns the process that holds the login's lock, if it has written that.
    pub fn lock_holder(&self) -> Option<LockHolder> {
        store::lock_holder(&self.path(LOCK))
    }

    /// Waits until no process renews the login, and takes the lock. Returns `None` if the deadline passes or locking is
    /// impossible.
    pub fn wait_for_lock(&self, deadline: &Deadline, clock: &dyn Clock) -> Option<LockGuard> {
        match store::wait_for_lock(deadline, clock, || self.try_lock_existing()) {
            Lock::Held(guard) => Some(guard),
            Lock::Busy | Lock::Impossible(_) => None,
        }
    }

    /// [`Self::try_lock`], without creating a lock file if there is no directory.
    pub fn try_lock_existing(&self) -> Lock {
        match self.directory.is_dir() {
            true => self.try_lock(),
            false => Lock::Impossible(io::ErrorKind::NotFound.into()),
        }
    }

    /// Deletes the access token from the state if it is `token`, which the cloud has rejected or revoked. The login
    /// remains. Best effort.
    pub fn delete_access_token(&self, token: &Secret) {
        // If locking is impossible, continue without the lock. That might overwrite a concurrent renewal, but otherwise
        // the invalid token would be returned for hours.
        let lock = self.try_lock_existing();
        if matches!(lock, Lock::Busy) {
            return;
        }
        let Ok(state) = self.load() else { return };
        if state.access.as_ref().is_some_and(|access| access.token == *token) {
            let _ = self.store_if_current(&LoginState { access: None, ..state }, None);
        }
    }

    /// Tries once to take the lock of the process that has a browser open.
    pub fn try_browser_lock(&self) -> Lock {
        self.try_lock_file(BROWSER_LOCK)
    }

    fn try_lock_file(&self, ending: &str) -> Lock {
        match store::refuse_foreign_directory(&self.directory) {
            Ok(()) => store::try_lock(&self.path(ending)),
            Err(error) => Lock::Impossible(error),
        }
    }

    /// Reserves space for the state of a new login. Call this before requesting tokens, because they can be obtained only once.
    ///
    /// # Errors
    /// The state cannot be saved.
    pub fn reserve(&self) -> io::Result<ReservedSpace> {
        store::refuse_foreign_directory(&self.directory)?;
        store::reserve(&self.path(STATE), "", STATE_SPACE)
    }

    /// Reserves space for the next state of this login. Call this before requesting tokens, because the old refresh token may
    /// become invalid.
    ///
    /// # Errors
    /// The state cannot be saved.
    pub fn reserve_for(&self, state: &LoginState) -> io::Result<ReservedSpace> {
        self.reserve_of(state, STATE_SPACE)
    }

    fn reserve_of(&self, state: &LoginState, size: usize) -> io::Result<ReservedSpace> {
        store::refuse_foreign_directory(&self.directory)?;
        store::reserve(&self.path(STATE), &self.owner(Some(&state.session)), size)
    }

    /// Returns the start of the names of temporary files, after which comes a random ID.
    fn owner(&self, session: Option<&str>) -> String {
        session.map_or_else(|| format!("{}.", self.name), |session| format!("{}.{session}.", self.name))
    }

    /// Replaces the state and syncs it to disk, in the reserved space if there is any.
    ///
    /// # Errors
    /// The state cannot be written. Then the old one remains.
    pub fn store(&self, state: &LoginState, space: Option<ReservedSpace>) -> io::Result<()> {
        let content = Zeroizing::new(serde_json::to_vec(state)?);
        match space {
            Some(space) => space.fill(&content),
            None => {
                store::refuse_foreign_directory(&self.directory)?;
                store::replace(&self.path(STATE), &content, true)
            }
        }
    }

    /// [`Self::store`], unless the user has logged out or logged in again. Returns false in that case.
    ///
    /// # Errors
    /// As [`Self::store`].
    pub fn store_if_current(&self, state: &LoginState, space: Option<ReservedSpace>) -> io::Result<bool> {
        let mut space = space;
        for _ in 0..STORE_MAX {
            let stored = self.prepare_if_current(state, space.take()).and_then(|prepared| match prepared {
                Some(prepared) => self.put_if_current(state, prepared),
                None => Ok(false),
            });
            match stored {
                // Somebody else than a login or a logout has removed the file.
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.is_current(state) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                stored => return stored,
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }

    /// Writes a state into a file of its own, if the login is the current one. Only then looks at the marker: a login or a logout
    /// replaces or removes the marker first, and such files afterwards.
    fn prepare_if_current(
        &self,
        state: &LoginState,
        space: Option<ReservedSpace>,
    ) -> io::Result<Option<ReservedSpace>> {
        let space = space.map_or_else(|| self.reserve_of(state, 0), Ok)?;
        space.write(&Zeroizing::new(serde_json::to_vec(state)?))?;
        Ok(self.is_current(state).then_some(space))
    }

    /// Replaces the state. If this process was stopped since it has looked at the marker, the file may be gone.
    fn put_if_current(&self, state: &LoginState, space: ReservedSpace) -> io::Result<bool> {
        space.put_in_place()?;
        let is_current = self.is_current(state);
        // An older ycred, which does not remove the file, has logged out meanwhile.
        if !is_current && !self.has_marker() {
            store::remove(&self.path(STATE))?;
        }
        Ok(is_current)
    }

    /// Makes a new login the current one: writes its state, then the marker.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn establish(&self, state: &LoginState, space: ReservedSpace) -> io::Result<()> {
        self.store(state, Some(space))?;
        store::replace(&self.marker(), state.session.as_bytes(), true)?;
        self.supersede(state)?;
        let _ = store::remove(&self.path(FAILED));
        Ok(())
    }

    /// Keeps a process that is stopped while it stores the state of an earlier login from doing so. It may have done so after the
    /// state of the new login was written, and before its marker was.
    fn supersede(&self, state: &LoginState) -> io::Result<()> {
        store::remove_temporary_files_of(&self.directory, &self.owner(None), Some(&self.owner(Some(&state.session))));
        match self.load() {
            Ok(current) if current.is_same_login(state) => Ok(()),
            Ok(_) | Err(_) => self.store_if_current(state, None).map(drop),
        }
    }

    /// Ends the login at once for all processes, by removing the marker. [`Self::remove`] removes the rest, under the
    /// lock.
    ///
    /// # Errors
    /// The marker cannot be removed.
    pub fn end(&self) -> io::Result<Removed> {
        let any = self.has_marker();
        store::remove(&self.marker())?;
        // A process that is stopped while it stores the state cannot store it any more.
        store::remove_temporary_files_of(&self.directory, &self.owner(None), None);
        Ok(Removed { any })
    }

    /// Removes all files except the locks, including those that a crash left.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn remove(&self) -> io::Result<Removed> {
        let any = [MARKER, STATE].iter().any(|ending| self.path(ending).symlink_metadata().is_ok());
        [MARKER, STATE, FAILED].iter().try_for_each(|ending| store::remove(&self.path(ending)))?;
        Ok(Removed { any })
    }

    /// Saves the reason why a login failed. Best effort.
    pub fn record_failure(&self, failed: &LoginFailure) {
        if let Ok(content) = serde_json::to_vec(failed) {
            let _ = store::replace(&self.path(FAILED), &content, false);
        }
    }

    /// Returns the reason why the last login failed, if it did.
    pub fn last_failure(&self) -> Option<LoginFailure> {
        serde_json::from_slice(&self.read(FAILED).ok()??).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::environment::Environment;
    use crate::cloud::http::Http;

    const NOW: Timestamp = Timestamp(1_795_000_000_000);

    fn access(token: &str) -> AccessToken {
        let credential = Credential {
            secret: Secret::new(token.into()),
            issued: NOW,
            expires: NOW.shifted(3_600_000),
            skew: 0,
            assumed: false,
            is_reported: false,
            account: None,
        };
        AccessToken::new(&credential, NOW)
    }

    fn new_store(directory: &Path) -> LoginStore {
        let login = LoginStore::new(directory, &Identity::of("login").with("profile", "/x.toml"), "ycred login");
        login.prepare(NOW).expect("a directory");
        login
    }

    fn log_in(login: &LoginStore, token: &str) -> LoginState {
        let key = ProofKey::generate().expect("a key");
        let state = LoginState::new(login, &key, Some(Secret::new("refresh-me".into())), access(token));
        login.establish(&state, login.reserve().expect("space")).expect("stored");
        state
    }

    #[test]
    fn a_later_failure_counts_for_those_who_would_get_the_same_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut state = log_in(&new_store(directory.path()), "t1.one");
        let environment = |proxy: &str| Environment::new([("HTTPS_PROXY".into(), proxy.into())]);
        let group = |proxy| Http::sharing_group_of(&environment(proxy));
        let here = Surroundings::of_this_process(None);
        let mut has_failed_since = |error: Option<Error>, last| {
            let failure = error.map(|error| RenewalFailure::new(&error, group("http://a"), here.clone()));
            state.renewal = Some(Renewal { attempt: "2".into(), began: NOW, ended: NOW, skew: 0, failure });
            [
                state.has_failed_since(last, &group("http://a"), &here),
                state.has_failed_since(last, &group("http://b"), &here),
            ]
        };
        let mut answer = Error::unavailable("503");
        answer.is_answer = true;
        for last in [None, Some("1")] {
            assert_eq!(has_failed_since(Some(answer.clone()), last), [true, true]);
            assert_eq!(has_failed_since(Some(Error::unavailable("refused")), last), [true, false]);
            assert_eq!(has_failed_since(Some(Error::unavailable("sandbox").unshared()), last), [false, false]);
            assert_eq!(has_failed_since(None, last), [false, false]);
        }
        assert_eq!(has_failed_since(Some(answer), Some("2")), [false, false], "it was known");
    }

    #[test]
    fn a_login_is_read_back_until_it_is_ended() {
        let directory = tempfile::tempdir().expect("a directory");
        let login = new_store(directory.path());
        assert_eq!(login.load().expect_err("nobody").kind, Kind::Refused);
        let state = log_in(&login, "t1.one");
        let read = login.load().expect("a login");
        assert!(read.is_same_login(&state) && login.is_current(&state));
        assert_eq!(read.access.expect("a token").credential().secret.expose(), "t1.one");
        assert_eq!(read.refresh_token.expect("a token").expose(), "refresh-me");
        assert!(login.end().expect("ended").any);
        assert!(login.load().is_err() && !login.is_current(&state));
        assert!(login.remove().expect("removed").any && !login.remove().expect("removed").any);
    }

    #[test]
    fn a_process_that_is_stopped_while_it_stores_a_login_replaces_no_later_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let login = new_store(directory.path());
        let temporary = || {
            let mut names = store::names(&directory.path().join(VERSION)).expect("readable");
            names.retain(|name| name.starts_with("tmp-"));
            names.len()
        };
        for logs_out in [false, true] {
            for has_reserved in [false, true] {
                let old = log_in(&login, "t1.old");
                let space = has_reserved.then(|| login.reserve_for(&old).expect("space"));
                let stopped = login.prepare_if_current(&old, space).expect("written").expect("the current login");
                if logs_out {
                    assert!(login.end().expect("ended").any && login.remove().expect("removed").any);
                    assert_eq!(temporary(), 0);
                }
                let new = log_in(&login, "t1.new");
                // It goes on.
                let error = login.put_if_current(&old, stopped).expect_err("its file is gone");
                assert_eq!(error.kind(), io::ErrorKind::NotFound);
                assert!(login.load().expect("the new login").is_same_login(&new));
                assert!(!login.store_if_current(&old, None).expect("no error"));
                assert_eq!(temporary(), 0);
                // A file that somebody else has removed costs nothing.
                let space = login.reserve_for(&new).expect("space");
                store::remove_temporary_files_of(&directory.path().join(VERSION), "", None);
                assert!(login.store_if_current(&new, Some(space)).expect("stored"));
            }
        }
        // It has stored the old login between the state and the marker of the new one.
        let old = log_in(&login, "t1.old");
        let key = ProofKey::generate().expect("a key");
        let new = LoginState::new(&login, &key, None, access("t1.new"));
        login.store(&new, None).expect("stored");
        assert!(login.store_if_current(&old, None).expect("stored"), "it is still the current one");
        store::replace(&login.marker(), new.session.as_bytes(), false).expect("written");
        assert!(login.load().is_err());
        login.supersede(&new).expect("stored");
        assert!(login.load().expect("the new login").is_same_login(&new));
    }

    #[test]
    fn after_a_crash_between_state_and_marker_nobody_is_logged_in() {
        let directory = tempfile::tempdir().expect("a directory");
        let login = new_store(directory.path());
        let first = log_in(&login, "t1.one");
        let marker = std::fs::read(login.marker()).expect("a marker");
        // A second login crashes before it writes its marker.
        let second = log_in(&login, "t1.two");
        store::replace(&login.marker(), &marker, false).expect("the old marker");
        assert!(login.load().is_err() && !login.is_current(&second) && login.is_current(&first));
        // The same for a first login.
        login.end().expect("no marker");
        assert!(login.load().is_err());
    }

    #[test]
    fn a_failed_renewal_counts_for_the_same_group_and_network_and_an_answer_for_all() {
        let group = SharingGroup::of_digest;
        let counts = |error: &Error| {
            let failure = RenewalFailure::new(error, group("a"), Surroundings::of_digest("x"));
            // As another process reads it.
            let json = serde_json::to_vec(&failure).expect("JSON");
            let failure: RenewalFailure = serde_json::from_slice(&json).expect("readable");
            let one = |(a, network)| failure.counts_for(&group(a), &Surroundings::of_digest(network));
            [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")].map(one)
        };
        assert_eq!(counts(&Error::unavailable("no route to the host")), [true, false, false, false]);
        let mut answer = Error::refused("no");
        answer.is_answer = true;
        assert_eq!(counts(&answer), [true; 4]);
        let own = Error::unavailable("too many open files").unshared();
        assert_eq!(counts(&own), [false; 4]);
        let failure = |error: &Error| RenewalFailure::new(error, group("a"), Surroundings::of_digest("x"));
        assert!(failure(&own).own_error().is_unshared && !failure(&answer).own_error().is_unshared);
        assert!(failure(&answer).error().is_unshared, "the failure of another process");
        // An older ycred does not store the network.
        let old = r#"{"kind":4,"message":"no route","hint":null,"is_answer":false,"way":"a"}"#;
        let old: RenewalFailure = serde_json::from_str(old).expect("readable");
        assert!(old.counts_for(&group("a"), &Surroundings::of_digest("y")));
        assert!(!old.counts_for(&group("b"), &Surroundings::of_digest("y")));
    }

    #[test]
    fn a_renewal_that_fails_without_an_answer_outstanding_leaves_the_version_as_it_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = log_in(&new_store(directory.path()), "t1.one");
        let failure = RenewalFailure::new(
            &Error::unavailable("no route to the host"),
            SharingGroup::default(),
            Surroundings::default(),
        );
        let renewal = Renewal { attempt: "1".into(), began: NOW, ended: NOW, skew: 0, failure: Some(failure) };
        assert_eq!(LoginState { renewal: Some(renewal), ..state.clone() }.version(), state.version());
        let later = AccessToken { began: NOW.shifted(1), ..access("t1.two") };
        for changed in [
            LoginState { sent_at: Some(NOW), ..state.clone() },
            LoginState { access: Some(later), ..state.clone() },
            LoginState { access: None, ..state.clone() },
            LoginState { session: "another".into(), ..state.clone() },
        ] {
            assert_ne!(changed.version(), state.version());
        }
    }

    #[test]
    fn a_token_and_a_back_off_of_a_clock_that_was_ahead_are_unreliable() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = log_in(&new_store(directory.path()), "t1.one");
        let at = |now: Timestamp| {
            let last = state.last_resort(now).map(|credential| (credential.expires.since(now), credential.assumed));
            (state.reliable(now).is_some(), last)
        };
        const MINUTE: i64 = 60_000;
        // The token is valid for an hour from the time that the clock showed.
        assert_eq!(at(NOW), (true, Some((60 * MINUTE, false))));
        assert_eq!(at(NOW.shifted(-MINUTE)), (true, Some((61 * MINUTE, false))));
        assert_eq!(at(NOW.shifted(-MINUTE - 1)), (false, Some((5 * MINUTE, true))));
        assert_eq!(at(NOW.shifted(60 * MINUTE)), (false, None));
        let backs_off = |ahead| {
            let retry_at = Some(NOW.shifted(ahead));
            LoginState { retry_at, ..state.clone() }.backs_off_until(NOW).is_some()
        };
        let times = [0, 1, 5 * MINUTE, 5 * MINUTE + 1, 180 * MINUTE];
        assert_eq!(times.map(backs_off), [false, true, true, false, false]);
    }

    #[test]
    fn a_login_with_other_settings_is_ignored() {
        let directory = tempfile::tempdir().expect("a directory");
        let login = new_store(directory.path());
        log_in(&login, "t1.one");
        let other = LoginStore { settings: "source=\"login\"\n".into(), ..login.clone() };
        assert!(other.load().is_err() && login.load().is_ok());
    }
}
