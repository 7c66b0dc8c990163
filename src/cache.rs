//! The heart: what is kept of a token, when it is fresh, and what every process may conclude from what it finds.
//!
//! One record per identity, a file replaced whole under `<cache dir>/v1/`, with a lock file at its side. [`Record::judge`]
//! is the life of a token:
//!
//! ```text
//!   issued                              refresh-before is left          min-ttl is left      dead
//!     |------------- fresh -------------------|------ refreshable -----------|--- expired ----|
//!       handed out at once, no lock,            one process renews it,         fetch first;
//!       no network, nothing written             the others hand it out         if that fails,
//!                                               at once                        it is still usable
//! ```
//!
//! Every finished fetch, good or bad, leaves a fresh random *attempt id* in the record. A waiter that finds another id than
//! on its arrival takes what that attempt brought, token or reason, and needs no lock for it. So however many processes
//! ask, there is one request and one reason; and losing the lock costs a request, never a token.
//!
//! Nothing here talks to the network; [`crate::obtain`] is the flow that does.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::{Error, Kind, Result};
use crate::identity::{Identity, hex, value_digest};
use crate::random;
use crate::store::{self, Found, Lock};
use crate::token::{Credential, Secret, Timestamp, human, millis};

/// The format's own directory: another version goes into another, so that old and new binaries can alternate.
const VERSION: &str = "v1";

/// A record from further ahead than this was written by a clock that has been put back since.
const FUTURE: Duration = Duration::from_secs(60);

/// How long a failure answers later arrivals: refusals, and what may be over in a moment.
const REMEMBER_REFUSED: Duration = Duration::from_secs(5);
const REMEMBER_UNAVAILABLE: Duration = Duration::from_secs(2);
const REMEMBER_MOST: Duration = Duration::from_secs(60);

/// Bounds of the back-off after an attempt that brought nothing better.
const BACK_OFF_LEAST: i64 = 30_000;
const BACK_OFF_MOST: i64 = 300_000;

// ---------------------------------------------------------------------------------------------------------------- record

/// What is on disk for one identity.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The identity whole: another one under the same name is a miss.
    settings: String,
    /// What the files of the identity held when the token was asked for.
    files: Vec<Stamp>,
    /// Drawn anew by every finished fetch.
    pub attempt: String,
    /// When that fetch began and ended, by this machine's clock.
    pub began: Timestamp,
    pub ended: Timestamp,
    token: Option<Kept>,
    /// Before it nobody asks for something better than a usable token.
    retry_at: Option<Timestamp>,
    /// Why the last attempt failed, if it did.
    failure: Option<Failure>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    #[serde(serialize_with = "expose")]
    secret: Secret,
    issued: Timestamp,
    expires: Timestamp,
    skew: i64,
    /// When it was last confirmed by its source, by this machine's clock: what `max-age` counts from.
    fetched: Timestamp,
}

/// The one place where a secret is serialised: into its own 0600 record.
fn expose<S: serde::Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Failure {
    kind: u8,
    message: String,
    hint: Option<String>,
    at: Timestamp,
    until: Timestamp,
}

/// A file's stat and content, by which a replaced key is noticed without reading it on every hit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    inode: u64,
    size: u64,
    /// Nanoseconds since 1970.
    modified: i64,
    changed: i64,
    digest: String,
}

/// What a caller wants.
#[derive(Clone, Copy, Debug)]
pub struct Want {
    /// A token with less left than this is expired.
    pub floor: Duration,
    /// Only a fetch that began at this moment or later counts (`--force-refresh`).
    pub force_since: Option<Timestamp>,
}

/// When a token of this grant is due for renewal.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub refresh_before: Option<Duration>,
    pub max_age: Option<Duration>,
}

/// What to do about what was found.
#[derive(Debug)]
pub enum Verdict {
    /// Hand it out.
    Serve(Answer),
    /// Hand it out, and if nobody else is at it, renew it.
    Renew(Credential),
    /// Fetch first.
    Fetch,
    /// A failure is remembered, and nothing usable is there.
    Refuse(Error),
}

/// A token to hand out, and what must be said with it.
#[derive(Debug)]
pub struct Answer {
    pub credential: Credential,
    /// Renewing failed; the reason.
    pub although: Option<String>,
    /// It has less left than was asked for.
    pub below_floor: bool,
    /// The skew was measured within the last minute.
    pub skew_is_current: bool,
}

impl Record {
    /// The life of a token (see the head of this file).
    pub fn judge(&self, want: &Want, rules: &Rules, now: Timestamp) -> Verdict {
        if let Some(since) = want.force_since {
            return match self.brought(want, now) {
                Some(Ok(answer)) if self.began >= since => Verdict::Serve(answer),
                Some(Err(error)) if self.began >= since => Verdict::Refuse(error),
                _ => Verdict::Fetch,
            };
        }
        let Some(kept) = &self.token else { return self.remembered(now).map_or(Verdict::Fetch, Verdict::Refuse) };
        let credential = kept.credential();
        let left = credential.left(now);
        let backing_off = self.retry_at.is_some_and(|at| now < at) && self.ended <= now.plus(FUTURE);
        if left.longer <= 0 {
            return self.remembered(now).map_or(Verdict::Fetch, Verdict::Refuse);
        }
        if left.longer < millis(want.floor) || kept.fetched > now.plus(FUTURE) {
            return if backing_off { Verdict::Serve(self.answer(kept, want, now)) } else { Verdict::Fetch };
        }
        let due = left.shorter <= rules.soft_window(&credential) || kept.is_older_than(rules.max_age, now);
        if due && !backing_off {
            Verdict::Renew(credential)
        } else {
            Verdict::Serve(Answer { although: None, ..self.answer(kept, want, now) })
        }
    }

    /// What the attempt that wrote this record brought: for whoever waited for it. None: a record without either.
    pub fn brought(&self, want: &Want, now: Timestamp) -> Option<Result<Answer>> {
        let usable = self.token.as_ref().filter(|kept| kept.credential().left(now).longer > 0);
        match (&self.failure, usable) {
            (None, Some(kept)) => Some(Ok(self.answer(kept, want, now))),
            (Some(_), Some(kept)) if want.force_since.is_none() => Some(Ok(self.answer(kept, want, now))),
            (Some(failure), _) => Some(Err(failure.error())),
            (None, None) => None,
        }
    }

    fn answer(&self, kept: &Kept, want: &Want, now: Timestamp) -> Answer {
        let credential = kept.credential();
        Answer {
            although: self.failure.as_ref().map(|failure| failure.message.clone()),
            below_floor: credential.left(now).longer < millis(want.floor),
            skew_is_current: now.since(kept.fetched).unsigned_abs() < FUTURE.as_millis() as u64,
            credential,
        }
    }

    /// The failure as it answers later arrivals, while it does.
    fn remembered(&self, now: Timestamp) -> Option<Error> {
        let failure = self.failure.as_ref().filter(|failure| now < failure.until && failure.at <= now.plus(FUTURE))?;
        let age = format!("{} (remembered, {} ago)", failure.message, human(now.since(failure.at).max(0)));
        Some(Failure { message: age, ..failure.clone() }.error().hint("`ycred refresh` asks again at once"))
    }

    /// The token, if one is kept, dead or alive.
    pub fn credential(&self) -> Option<Credential> {
        self.token.as_ref().map(Kept::credential)
    }

    /// The same record with the back-off set before a renewal is tried: if we are killed in the middle, or cannot store what
    /// we get, nobody repeats it at once.
    #[must_use]
    pub fn backing_off(&self, now: Timestamp) -> Self {
        Self { retry_at: self.token.as_ref().map(|kept| back_off(&kept.credential(), now)), ..self.clone() }
    }

    /// Whether this record serves nobody any more.
    fn is_dead(&self, now: Timestamp) -> bool {
        let a_day_ago = now.minus(Duration::from_secs(24 * 3600));
        self.ended < a_day_ago && self.token.as_ref().is_none_or(|kept| kept.credential().left(a_day_ago).longer <= 0)
    }
}

impl Rules {
    /// Milliseconds before the end at which renewing begins: as configured or a tenth of the life, never over half of it.
    fn soft_window(&self, credential: &Credential) -> i64 {
        self.refresh_before.map_or(credential.life() / 10, millis).min(credential.life() / 2)
    }
}

impl Kept {
    fn new(credential: &Credential, fetched: Timestamp) -> Self {
        let Credential { secret, issued, expires, skew } = credential.clone();
        Self { secret, issued, expires, skew, fetched }
    }

    fn credential(&self) -> Credential {
        let Self { secret, issued, expires, skew, fetched: _ } = self.clone();
        Credential { secret, issued, expires, skew }
    }

    fn is_older_than(&self, max_age: Option<Duration>, now: Timestamp) -> bool {
        max_age.is_some_and(|age| now.since(self.fetched) >= millis(age))
    }
}

impl Failure {
    fn new(error: &Error, at: Timestamp) -> Self {
        let length = match error.kind {
            Kind::Unavailable => {
                error.retry_after.unwrap_or(REMEMBER_UNAVAILABLE).clamp(REMEMBER_UNAVAILABLE, REMEMBER_MOST)
            }
            _ => REMEMBER_REFUSED,
        };
        Self { kind: error.kind.exit_code(), message: error.reason(), hint: error.mend(), at, until: at.plus(length) }
    }

    fn error(&self) -> Error {
        let error = Error::new(Kind::from_exit_code(self.kind), &self.message);
        match &self.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// A tenth of what is left, within 30 seconds and 5 minutes.
fn back_off(credential: &Credential, now: Timestamp) -> Timestamp {
    let wait = (credential.left(now).longer / 10).clamp(BACK_OFF_LEAST, BACK_OFF_MOST);
    now.shifted(wait)
}

/// A finished fetch, on its way into a record.
pub struct Attempt<'a> {
    pub began: Timestamp,
    pub ended: Timestamp,
    pub outcome: &'a Result<Credential>,
}

impl Attempt<'_> {
    /// The record after this attempt, given the one before it.
    ///
    /// Of two tokens the later-expiring is kept, unless the old one was to be got rid of: by `--force-refresh` (it may be
    /// revoked) or for its age (a VM's service account may have been swapped).
    fn record(
        &self,
        entry: &Entry<'_>,
        files: Vec<Stamp>,
        before: Option<&Record>,
        want: &Want,
        rules: &Rules,
    ) -> Record {
        let now = self.ended;
        let old = before.and_then(|record| record.token.as_ref()).filter(|kept| kept.credential().left(now).longer > 0);
        let (token, better) = match (self.outcome, old) {
            (Err(_), old) => (old.cloned(), false),
            (Ok(new), None) => (Some(Kept::new(new, now)), true),
            (Ok(new), Some(old)) if new.secret == old.secret => {
                // The same token: its source vouches for it anew, but its life began when it did.
                let confirmed = Kept { fetched: now, skew: new.skew, ..old.clone() };
                let was_for_its_age = want.force_since.is_none() && self.was_due_for_age_alone(old, want, rules);
                (Some(confirmed), was_for_its_age)
            }
            (Ok(new), Some(old)) if new.expires > old.expires => (Some(Kept::new(new, now)), true),
            (Ok(new), Some(old)) if want.force_since.is_some() || old.is_older_than(rules.max_age, self.began) => {
                (Some(Kept::new(new, now)), true)
            }
            (Ok(_), Some(old)) => (Some(old.clone()), false),
        };
        // A token that is better but still short of what was asked counts as "nothing better", or every run that asks for
        // more than the cloud gives would make a request.
        let satisfied =
            better && token.as_ref().is_none_or(|kept| kept.credential().left(now).longer >= millis(want.floor));
        Record {
            settings: entry.settings.clone(),
            files,
            attempt: random::id(),
            began: self.began,
            ended: self.ended,
            retry_at: token.as_ref().filter(|_| !satisfied).map(|kept| back_off(&kept.credential(), now)),
            failure: self.outcome.as_ref().err().map(|error| Failure::new(error, now)),
            token,
        }
    }

    /// Whether only `max-age` asked for this renewal: then the same token again is all that was wanted.
    fn was_due_for_age_alone(&self, old: &Kept, want: &Want, rules: &Rules) -> bool {
        let (credential, now) = (old.credential(), self.began);
        let left = credential.left(now);
        old.is_older_than(rules.max_age, now)
            && left.shorter > rules.soft_window(&credential)
            && left.longer >= millis(want.floor)
    }
}

// ----------------------------------------------------------------------------------------------------------------- cache

/// The directory of all records; or why there is none, for the warning.
pub struct Cache {
    directory: Result<PathBuf, String>,
}

impl Cache {
    pub fn new(cache_dir: Result<PathBuf, String>) -> Self {
        Self { directory: cache_dir.map(|dir| dir.join(VERSION)) }
    }

    /// What to call it in messages.
    pub fn place(&self) -> String {
        self.directory.as_ref().map_or_else(|_| "no cache".into(), |directory| directory.display().to_string())
    }

    /// The place of one identity.
    pub fn entry<'a>(&'a self, identity: &'a Identity) -> Entry<'a> {
        Entry {
            directory: &self.directory,
            name: identity.name(),
            settings: identity.settings(),
            files: identity.files(),
        }
    }
}

/// Where one identity's record and locks are. Every method works without a cache directory too: nothing is found, nothing
/// can be locked.
pub struct Entry<'a> {
    directory: &'a Result<PathBuf, String>,
    name: String,
    settings: String,
    files: &'a [PathBuf],
}

impl Entry<'_> {
    fn directory(&self) -> io::Result<&Path> {
        self.directory.as_deref().map_err(|why| io::Error::other(why.clone()))
    }

    fn path(&self, ending: &str) -> io::Result<PathBuf> {
        Ok(self.directory()?.join(format!("{}{ending}", self.name)))
    }

    /// The record, if there is one of this identity that its files still agree with. Takes no lock and writes nothing.
    ///
    /// # Errors
    /// Profile (3): a file of the identity is gone, so no cached token is handed out either.
    pub fn load(&self) -> Result<Option<Record>> {
        let stats = self.files.iter().map(|path| stat(path)).collect::<Result<Vec<_>>>()?;
        let Ok(Found::Content(content)) = self.path(store::RECORD).and_then(|path| store::read(&path)) else {
            return Ok(None);
        };
        // Whatever is no record of ours, torn, foreign or of another make, is a miss and will be replaced.
        let Ok(record) = serde_json::from_slice::<Record>(&content) else { return Ok(None) };
        if record.settings != self.settings || record.files.len() != stats.len() {
            return Ok(None);
        }
        for ((stamp, found), path) in record.files.iter().zip(&stats).zip(self.files) {
            if !stamp.has_stat(found) && stamp.digest != digest_of(path)? {
                return Ok(None);
            }
        }
        Ok(Some(record))
    }

    /// What the identity's files hold now.
    ///
    /// # Errors
    /// Profile (3): one cannot be read.
    fn stamps(&self) -> Result<Vec<Stamp>> {
        self.files
            .iter()
            .map(|path| {
                // The stat first: if the file is replaced between the two, its stat is the old one, and the next load compares
                // the content.
                let found = stat(path)?;
                Ok(Stamp::new(&found, digest_of(path)?))
            })
            .collect()
    }

    /// Makes the directory, so that a lock and a record can be put there.
    ///
    /// # Errors
    /// Why nothing can be kept.
    pub fn prepare(&self) -> io::Result<()> {
        store::make_private(self.directory()?)
    }

    /// One try for the lock.
    pub fn try_lock(&self) -> Lock {
        self.path(".lock").map_or_else(Lock::Impossible, |path| store::try_lock(&path))
    }

    /// One try for the lock of those who lost patience with the holder of the first: one of them asks, not all.
    pub fn try_relief_lock(&self) -> Lock {
        self.path(".relief.lock").map_or_else(Lock::Impossible, |path| store::try_lock(&path))
    }

    /// Replaces the record by the one after `attempt`, unless somebody else's attempt has come in since `before` was read: a
    /// late leader never undoes what was got without it. Returns what is in the record then.
    ///
    /// # Errors
    /// The record that would have been written, and why it could not be.
    pub fn remember(
        &self,
        witness: &Witness,
        attempt: &Attempt<'_>,
        before: Option<&Record>,
        want: &Want,
        rules: &Rules,
    ) -> Result<Record, Box<(Record, io::Error)>> {
        let next = attempt.record(self, witness.0.clone(), before, want, rules);
        if let Ok(Some(current)) = self.load()
            && before.is_none_or(|before| before.attempt != current.attempt)
        {
            return Ok(current);
        }
        match self.write(&next) {
            Ok(()) => {
                let now = attempt.ended;
                if let Ok(directory) = self.directory() {
                    store::sweep(directory, now, |content| {
                        serde_json::from_slice::<Record>(content).map_or(true, |record| record.is_dead(now))
                    });
                }
                Ok(next)
            }
            Err(error) => Err(Box::new((next, error))),
        }
    }

    /// Writes a record as it is, into a directory that has been judged, and tightened, anew: root could write into another
    /// user's.
    ///
    /// # Errors
    /// What the disk says; the old record is then still there.
    pub fn write(&self, record: &Record) -> io::Result<()> {
        self.prepare()?;
        let content = Zeroizing::new(serde_json::to_vec(record)?);
        store::replace(&self.path(store::RECORD)?, &content, false)
    }

    /// Reads the identity's files before a fetch, so that the token is never filed under content that it was not got with.
    ///
    /// # Errors
    /// Profile (3): one cannot be read.
    pub fn witness(&self) -> Result<Witness> {
        self.stamps().map(Witness)
    }

    /// Drops the kept token if it is this very one: the server that it was given to has rejected it. A sibling's newer one
    /// stays (git-ecosystem/git-credential-manager#1555).
    ///
    /// # Errors
    /// What the disk says.
    pub fn reject(&self, token: &Secret) -> io::Result<bool> {
        let Ok(Some(record)) = self.load() else { return Ok(false) };
        if record.token.as_ref().is_none_or(|kept| kept.secret != *token) {
            return Ok(false);
        }
        self.write(&Record { token: None, retry_at: None, failure: None, attempt: random::id(), ..record })
            .map(|()| true)
    }
}

/// What the files of an identity held when a fetch began.
pub struct Witness(Vec<Stamp>);

fn stat(path: &Path) -> Result<fs::Metadata> {
    fs::metadata(path).map_err(|error| {
        Error::profile(format!("{}", path.display()))
            .because(describe(&error))
            .hint("put the file back, or correct its path in the profile")
    })
}

/// An I/O error in words, without the errno that std adds.
pub fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".into(),
        io::ErrorKind::PermissionDenied if error.raw_os_error().is_some() => "permission denied".into(),
        io::ErrorKind::StorageFull => "the disk is full".into(),
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only".into(),
        _ => error.to_string(),
    }
}

fn digest_of(path: &Path) -> Result<String> {
    crate::input::read(path).map(|content| hex(&value_digest(&content)))
}

impl Stamp {
    fn new(found: &fs::Metadata, digest: String) -> Self {
        Self {
            inode: found.ino(),
            size: found.size(),
            modified: nanos(found.mtime(), found.mtime_nsec()),
            changed: nanos(found.ctime(), found.ctime_nsec()),
            digest,
        }
    }

    fn has_stat(&self, found: &fs::Metadata) -> bool {
        *self == Self::new(found, self.digest.clone())
    }
}

fn nanos(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}
