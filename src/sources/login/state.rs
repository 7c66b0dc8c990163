//! What a login leaves on disk: a state file with the refresh token, the key that it is bound to and the last access
//! token, and beside it a marker with the login's random id.
//!
//! The marker is what the cache watches, so that a hit need not touch the state, and a renewed refresh token makes no
//! miss. `login` writes the state first and the marker last, `logout` removes the marker first; and a state counts only
//! under the marker of its own login. So whatever a crash leaves between the two serves nobody: neither another
//! person's token nor half a login.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::base::clock::Timestamp;
use crate::base::clock::{Clock, Deadline};
use crate::base::error::{Error, Kind, Result};
use crate::base::identity::{Absent, Identity};
use crate::base::secret::Secret;
use crate::base::secret::expose;
use crate::base::token::Credential;
use crate::cloud::jwt::ProofKey;
use crate::disk::store;
use crate::disk::store::{FileState, Lock, LockGuard, ReservedSpace};

/// The format's own directory, as the cache has one.
const VERSION: &str = "v1";

/// More than a state holds: an access token has at most 4096 bytes, a refresh token 1000 (cloudapi,
/// refresh_token_service.proto).
const ROOM: usize = 12 * 1024;

/// Where one login is kept.
#[derive(Clone, Debug)]
pub struct LoginStore {
    directory: PathBuf,
    /// A digest, which says nothing about the account.
    name: String,
    /// Whose login it is, whole: another one under the same name is none.
    settings: String,
    /// What to say where nobody is logged in.
    absent: Absent,
}

/// A login.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoginState {
    settings: String,
    /// The login's id, which is in the marker too.
    session: String,
    /// PKCS#8 of the P-256 key that signs the proofs of possession.
    #[serde(serialize_with = "expose")]
    key: Secret,
    /// None: the organisation gives none, so that the login ends with its access token.
    #[serde(serialize_with = "expose_some")]
    pub refresh_token: Option<Secret>,
    pub access: Option<AccessToken>,
}

/// The last access token, which is an IAM token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccessToken {
    #[serde(serialize_with = "expose")]
    token: Secret,
    issued: Timestamp,
    expires: Timestamp,
    skew: i64,
    /// When it was asked for, by this machine's clock: what `--force-refresh` counts from.
    pub began: Timestamp,
}

fn expose_some<S: serde::Serializer>(secret: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => expose(secret, serializer),
        None => serializer.serialize_none(),
    }
}

impl LoginState {
    /// A new login, under a new id.
    pub fn new(place: &LoginStore, key: &ProofKey, refresh_token: Option<Secret>, access: AccessToken) -> Self {
        Self {
            settings: place.settings.clone(),
            session: crate::base::random::id(),
            key: key.text().clone(),
            refresh_token,
            access: Some(access),
        }
    }

    /// The key that the refresh token is bound to.
    ///
    /// # Errors
    /// Refused (1): the file is damaged, so that only another login helps.
    pub fn key(&self, place: &LoginStore) -> Result<ProofKey> {
        ProofKey::from_text(self.key.clone())
            .map_err(|why| Error::refused(format!("{}: {why}", place.path(STATE).display())).hint(&place.absent.hint))
    }

    /// The same login with what a renewal has brought.
    #[must_use]
    pub fn renewed(self, refresh_token: Option<Secret>, access: Option<AccessToken>) -> Self {
        Self { refresh_token: refresh_token.or(self.refresh_token), access, ..self }
    }

    /// Both come of one login, however often renewed since.
    pub fn is_of_the_same_login(&self, other: &Self) -> bool {
        self.session == other.session
    }
}

impl AccessToken {
    pub fn new(credential: &Credential, began: Timestamp) -> Self {
        let Credential { secret, issued, expires, skew, assumed: _ } = credential.clone();
        Self { token: secret, issued, expires, skew, began }
    }

    pub fn credential(&self) -> Credential {
        let Self { token, issued, expires, skew, began: _ } = self.clone();
        Credential { secret: token, issued, expires, skew, assumed: false }
    }
}

const STATE: &str = store::RECORD;
const MARKER: &str = ".session";
const LOCK: &str = ".lock";
const BROWSER_LOCK: &str = ".login.lock";
const FAILED: &str = ".failed";

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    pub any: bool,
}

/// Why the last login failed, which keeps the next one from opening a browser for a moment.
#[derive(Serialize, Deserialize)]
pub struct Failed {
    pub at: Timestamp,
    pub reason: String,
}

impl LoginStore {
    /// `identity` is whose login it is; `command` what logs in.
    pub fn new(state_dir: &Path, identity: &Identity, command: &str) -> Self {
        let absent = Absent { kind: Kind::Refused, message: "nobody is logged in".into(), hint: command.to_owned() };
        Self { directory: state_dir.join(VERSION), name: identity.name(), settings: identity.settings(), absent }
    }

    /// Every place in a state directory that has been used, for whom nothing but removing is possible.
    ///
    /// # Errors
    /// What the disk says.
    pub fn all(state_dir: &Path) -> io::Result<Vec<Self>> {
        let directory = state_dir.join(VERSION);
        let absent = Absent { kind: Kind::Refused, message: String::new(), hint: String::new() };
        let place = |name| Self { directory: directory.clone(), name, settings: String::new(), absent: absent.clone() };
        Ok(store::names_before_dot(&directory)?.into_iter().map(place).collect())
    }

    /// Removes what killed processes have left in a state directory, which may hold a refresh token.
    ///
    /// # Errors
    /// What the disk says.
    pub fn remove_temporary_files(state_dir: &Path) -> io::Result<()> {
        store::remove_temporary_files(&state_dir.join(VERSION))
    }

    fn path(&self, ending: &str) -> PathBuf {
        self.directory.join(format!("{}{ending}", self.name))
    }

    /// What the cache watches.
    pub fn marker(&self) -> PathBuf {
        self.path(MARKER)
    }

    /// What it means that there is no marker.
    pub fn absent(&self) -> Absent {
        self.absent.clone()
    }

    /// What to call it in messages.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes the directory, so that something can be kept there.
    ///
    /// # Errors
    /// What the disk says, or that it belongs to somebody else.
    pub fn prepare(&self, now: Timestamp) -> io::Result<()> {
        if let Some(above) = self.directory.parent() {
            store::tighten(above)?;
        }
        store::make_private(&self.directory)?;
        store::remove_old_temporary_files(&self.directory, now);
        Ok(())
    }

    /// The login, if there is one.
    ///
    /// # Errors
    /// Refused (1): nobody is logged in, or what is there is no login of ours; Internal (5): the disk fails.
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
                Err(Error::refused(format!("{}: is not a file that a login has written", path.display()))
                    .hint(&self.absent.hint))
            }
            Err(error) => Err(Error::internal(format!("{}: cannot be read", path.display()))
                .because(crate::base::error::describe(&error))
                .hint(format!("look at the disk: ls -ld {}", self.directory.display()))),
        }
    }

    /// Whether this is still the login that is in force: it has neither been logged out nor replaced.
    pub fn is_current(&self, state: &LoginState) -> bool {
        self.read(MARKER).is_ok_and(|marker| marker.is_some_and(|marker| *marker == *state.session.as_bytes()))
    }

    /// One try for the lock that is held from reading the refresh token to storing the next one.
    pub fn try_lock(&self) -> Lock {
        self.try_lock_file(LOCK)
    }

    /// The lock, once whoever renews has come to an end; none where that takes longer than this, or nothing can be locked.
    pub fn wait_for_lock(&self, deadline: &Deadline, clock: &dyn Clock) -> Option<LockGuard> {
        match store::wait_for_lock(deadline, clock, || self.try_lock_if_there()) {
            Lock::Held(held) => Some(held),
            Lock::Busy | Lock::Impossible(_) => None,
        }
    }

    /// [`Self::try_lock`], for those who would not make a place where there is none.
    pub fn try_lock_if_there(&self) -> Lock {
        match self.directory.is_dir() {
            true => self.try_lock(),
            false => Lock::Impossible(io::ErrorKind::NotFound.into()),
        }
    }

    /// Forgets the access token if it is this one, which is worth nothing any more; the login stays. Best effort.
    pub fn drop_access(&self, token: &Secret) {
        // Where nothing can be locked, the moment up to storing is risked: a dead token would be served for hours.
        let lock = self.try_lock_if_there();
        if matches!(lock, Lock::Busy) {
            return;
        }
        let Ok(state) = self.load() else { return };
        if state.access.as_ref().is_some_and(|access| access.token == *token) {
            let _ = self.store(&state.renewed(None, None), None);
        }
    }

    /// One try for the lock of whoever has a browser open.
    pub fn try_browser_lock(&self) -> Lock {
        self.try_lock_file(BROWSER_LOCK)
    }

    fn try_lock_file(&self, ending: &str) -> Lock {
        match store::refuse_foreign_directory(&self.directory) {
            Ok(()) => store::try_lock(&self.path(ending)),
            Err(error) => Lock::Impossible(error),
        }
    }

    /// Takes room for the next state before a token is asked for that may be the only one.
    ///
    /// # Errors
    /// What the disk says: nothing can be kept.
    pub fn reserve(&self) -> io::Result<ReservedSpace> {
        store::refuse_foreign_directory(&self.directory)?;
        store::reserve(&self.path(STATE), ROOM)
    }

    /// Replaces the state, durably, in the room that was taken for it, or without.
    ///
    /// # Errors
    /// What the disk says; the old state is then still there.
    pub fn store(&self, state: &LoginState, room: Option<ReservedSpace>) -> io::Result<()> {
        let content = Zeroizing::new(serde_json::to_vec(state)?);
        match room {
            Some(room) => room.fill(&content),
            None => {
                store::refuse_foreign_directory(&self.directory)?;
                store::replace(&self.path(STATE), &content, true)
            }
        }
    }

    /// Puts a new login in force: its state first, then the marker.
    ///
    /// # Errors
    /// What the disk says.
    pub fn establish(&self, state: &LoginState, room: ReservedSpace) -> io::Result<()> {
        self.store(state, Some(room))?;
        store::replace(&self.marker(), state.session.as_bytes(), true)?;
        let _ = store::remove(&self.path(FAILED));
        Ok(())
    }

    /// Ends the login for everybody who asks from now on. What is kept of it is removed by [`Self::remove`], under the
    /// lock.
    ///
    /// # Errors
    /// What the disk says.
    pub fn end(&self) -> io::Result<Removed> {
        let any = self.marker().symlink_metadata().is_ok();
        store::remove(&self.marker())?;
        Ok(Removed { any })
    }

    /// Removes whatever is kept, also what a crash has left of a login.
    ///
    /// # Errors
    /// What the disk says.
    pub fn remove(&self) -> io::Result<Removed> {
        let any = [MARKER, STATE].iter().any(|ending| self.path(ending).symlink_metadata().is_ok());
        [MARKER, STATE, FAILED].iter().try_for_each(|ending| store::remove(&self.path(ending)))?;
        Ok(Removed { any })
    }

    /// Remembers why a login failed, as well as can be.
    pub fn record_failure(&self, failed: &Failed) {
        if let Ok(content) = serde_json::to_vec(failed) {
            let _ = store::replace(&self.path(FAILED), &content, false);
        }
    }

    /// Why the last login failed, if it did.
    pub fn last_failure(&self) -> Option<Failed> {
        serde_json::from_slice(&self.read(FAILED).ok()??).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_000_000_000);

    fn access(token: &str) -> AccessToken {
        let credential = Credential {
            secret: Secret::new(token.into()),
            issued: NOW,
            expires: NOW.shifted(3_600_000),
            skew: 0,
            assumed: false,
        };
        AccessToken::new(&credential, NOW)
    }

    fn place(directory: &Path) -> LoginStore {
        let place = LoginStore::new(directory, &Identity::of("login").with("profile", "/x.toml"), "ycred login");
        place.prepare(NOW).expect("a directory");
        place
    }

    fn log_in(place: &LoginStore, token: &str) -> LoginState {
        let key = ProofKey::generate().expect("a key");
        let state = LoginState::new(place, &key, Some(Secret::new("refresh-me".into())), access(token));
        place.establish(&state, place.reserve().expect("room")).expect("stored");
        state
    }

    #[test]
    fn a_login_is_read_back_and_is_over_once_it_is_ended() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = place(directory.path());
        assert_eq!(place.load().expect_err("nobody").kind, Kind::Refused);
        let state = log_in(&place, "t1.one");
        let read = place.load().expect("a login");
        assert!(read.is_of_the_same_login(&state) && place.is_current(&state));
        assert_eq!(read.access.expect("a token").credential().secret.expose(), "t1.one");
        assert_eq!(read.refresh_token.expect("a token").expose(), "refresh-me");
        assert!(place.end().expect("ended").any);
        assert!(place.load().is_err() && !place.is_current(&state));
        assert!(place.remove().expect("removed").any && !place.remove().expect("removed").any);
    }

    #[test]
    fn what_a_crash_leaves_between_state_and_marker_serves_nobody() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = place(directory.path());
        let first = log_in(&place, "t1.one");
        let marker = std::fs::read(place.marker()).expect("a marker");
        // A second login dies before its marker is there.
        let second = log_in(&place, "t1.two");
        store::replace(&place.marker(), &marker, false).expect("the old marker");
        assert!(place.load().is_err() && !place.is_current(&second) && place.is_current(&first));
        // A first one, likewise.
        place.end().expect("no marker");
        assert!(place.load().is_err());
    }

    #[test]
    fn another_login_under_the_same_name_is_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = place(directory.path());
        log_in(&place, "t1.one");
        let other = LoginStore { settings: "source=\"login\"\n".into(), ..place.clone() };
        assert!(other.load().is_err() && place.load().is_ok());
    }
}
