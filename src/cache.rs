//! Token cache: the records, their freshness rules, and how concurrent processes coordinate through them.
//!
//! Each identity has one record, a file under `<cache dir>/v1/` that is replaced atomically, and a lock file next to
//! it. [`Record::decide`] applies these rules:
//!
//! ```text
//!   issued                        refresh-before remains            min-ttl remains           expiry
//!     |------------ fresh -----------------|------- soft window ----------|-- below min-ttl ----|
//!       returned immediately: no lock,       one process renews it,         fetched first;
//!       no network, no write                 the others return it           still usable if the
//!                                            immediately                    fetch fails
//! ```
//!
//! The process that fetches is the *leader* and holds the lock; the others are *waiters*. Every finished fetch,
//! successful or not, stores a new random *attempt id* in the record. A waiter that sees the id change uses the result
//! of that attempt, token or error, without taking the lock. So any number of processes makes one request and reports
//! one error.
//!
//! If the leader takes too long, one waiter takes a second lock and fetches as the *relief leader*. A lock that does
//! not work costs an extra request, but never the token.
//!
//! Nothing here uses the network: [`crate::obtain`] makes the requests.

pub mod attempt;
pub mod freshness;
pub mod record;
mod watched_files;

use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::identity::{Identity, WatchedFile};
use crate::base::secret::Secret;
use crate::cache::attempt::Attempt;
use crate::cache::freshness::{RenewalRules, Requirements};
use crate::cache::record::Record;
use crate::cache::watched_files::Snapshot;
use crate::disk::store;
use crate::disk::store::{FileState, Lock};

/// The directory of this record format. Each format version has its own, so old and new binaries can alternate.
const VERSION: &str = "v1";

/// The directory of all records, or the reason why there is no such directory.
pub struct Cache {
    directory: Result<PathBuf, String>,
}

impl Cache {
    /// Creates a cache in the version directory below `cache_dir`. An `Err` holds the reason for the warning.
    pub fn new(cache_dir: Result<PathBuf, String>) -> Self {
        Self { directory: cache_dir.map(|dir| dir.join(VERSION)) }
    }

    /// Returns the directory's name for messages.
    pub fn place(&self) -> String {
        self.directory.as_ref().map_or_else(|_| "no cache".into(), |directory| directory.display().to_string())
    }

    /// Returns the cache entry of an identity.
    pub fn entry<'a>(&'a self, identity: &'a Identity) -> Entry<'a> {
        Entry { slot: self.slot(identity.name()), settings: identity.settings(), files: identity.files() }
    }

    fn slot(&self, name: String) -> Slot<'_> {
        Slot { directory: &self.directory, name }
    }

    /// Returns a slot for data that is not a token, not secret, and can be fetched again.
    ///
    /// Such data is swept after a day and deleted by `logout --all`.
    pub fn auxiliary_slot(&self, prefix: &str, identity: &Identity) -> Slot<'_> {
        self.slot(format!("{prefix}-{}", identity.name()))
    }

    /// Returns every slot that has a record or a lock, of any identity.
    ///
    /// # Errors
    /// The directory cannot be read, or there is no cache directory.
    pub fn slots(&self) -> io::Result<Vec<Slot<'_>>> {
        let directory = self.directory.as_deref().map_err(|why| io::Error::other(why.clone()))?;
        Ok(store::record_names(directory)?.into_iter().map(|name| self.slot(name)).collect())
    }

    /// Returns the slots of the records for which `select` returns a value, with those values.
    ///
    /// Files that are not records are skipped. Without a cache directory the list is empty.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn slots_where<T>(&self, select: impl Fn(&Record) -> Option<T>) -> io::Result<Vec<(Slot<'_>, T)>> {
        if self.directory.is_err() {
            return Ok(Vec::new());
        }
        let record = |slot: &Slot<'_>| match store::read(&slot.path(store::RECORD).ok()?) {
            Ok(FileState::Content(content)) => serde_json::from_slice::<Record>(&content).ok(),
            _ => None,
        };
        let slots = self.slots()?.into_iter();
        let selected = |slot| record(&slot).and_then(|record| select(&record)).map(|result| (slot, result));
        Ok(slots.filter_map(selected).collect())
    }

    /// Removes temporary files of killed processes and files that were moved out of the way. Both may hold tokens.
    ///
    /// # Errors
    /// The directory cannot be read, or a file cannot be removed.
    pub fn remove_temporary_files(&self) -> io::Result<()> {
        self.directory.as_deref().map_or(Ok(()), store::remove_temporary_files)
    }
}

/// The record file and the lock files of one name.
///
/// Without a cache directory, reads find nothing, and writes and locks fail.
pub struct Slot<'a> {
    directory: &'a Result<PathBuf, String>,
    name: String,
}

impl Slot<'_> {
    fn directory(&self) -> io::Result<&Path> {
        self.directory.as_deref().map_err(|why| io::Error::other(why.clone()))
    }

    fn path(&self, extension: &str) -> io::Result<PathBuf> {
        Ok(self.directory()?.join(format!("{}{extension}", self.name)))
    }

    /// Creates the directory for the record and its lock, and makes it private.
    ///
    /// # Errors
    /// The directory cannot be created or made private, or belongs to another user.
    pub fn prepare(&self) -> io::Result<()> {
        let directory = self.directory()?;
        if let Some(parent) = directory.parent() {
            store::tighten(parent)?;
        }
        store::make_private(directory)
    }

    /// Returns the content of the record file, if the file belongs to ycred.
    pub fn read(&self) -> Option<Zeroizing<Vec<u8>>> {
        match self.path(store::RECORD).and_then(|path| store::read(&path)) {
            Ok(FileState::Content(content)) => Some(content),
            Ok(FileState::Nothing | FileState::Foreign) | Err(_) => None,
        }
    }

    /// Replaces the record file.
    ///
    /// Checks the directory again first, because root could otherwise write into another user's directory.
    ///
    /// # Errors
    /// The file cannot be written. The old content is then still there.
    pub fn replace(&self, content: &[u8]) -> io::Result<()> {
        self.prepare()?;
        store::replace(&self.path(store::RECORD)?, content, false)
    }

    /// Tries once to take the lock.
    pub fn try_lock(&self) -> Lock {
        self.try_lock_file(".lock")
    }

    /// Tries once to take the relief leader's lock. It lets only one waiter fetch next to a leader that takes too long.
    pub fn try_relief_lock(&self) -> Lock {
        self.try_lock_file(".relief.lock")
    }

    fn try_lock_file(&self, extension: &str) -> Lock {
        let path = self.directory().and_then(store::refuse_foreign_directory).and_then(|()| self.path(extension));
        path.map_or_else(Lock::Impossible, |path| store::try_lock(&path))
    }

    /// Deletes the token, and returns its expiry.
    ///
    /// The record stays, empty and with a new attempt id. A fetch in progress then sees a different id from the one
    /// that it began with, and stores nothing.
    ///
    /// # Errors
    /// The file cannot be read or written, or the directory belongs to another user.
    pub fn clear(&self, now: Timestamp) -> io::Result<RemovedToken> {
        let Ok(path) = self.path(store::RECORD) else { return Ok(RemovedToken::Nothing) };
        let content = match store::read(&path)? {
            FileState::Nothing => return Ok(RemovedToken::Nothing),
            FileState::Foreign => None,
            FileState::Content(content) => Some(content),
        };
        store::refuse_foreign_directory(self.directory()?)?;
        // A file that cannot be parsed may hold a token too, so it is replaced as well.
        let record = content.and_then(|content| serde_json::from_slice::<Record>(&content).ok());
        let token = record.as_ref().and_then(|record| record.token.clone());
        let empty_record = Record::logged_out(record.map(|record| record.settings).unwrap_or_default(), now);
        store::replace(&path, &serde_json::to_vec(&empty_record)?, false)?;
        Ok(token.map_or(RemovedToken::Nothing, |token| RemovedToken::Token(token.expires)))
    }
}

/// The cache entry of one identity.
pub struct Entry<'a> {
    pub slot: Slot<'a>,
    settings: String,
    files: &'a [WatchedFile],
}

impl Entry<'_> {
    /// Returns the record, if there is one for this identity and the identity's files are unchanged.
    ///
    /// Takes no lock and writes nothing.
    ///
    /// # Errors
    /// Profile (3): a file of the identity is missing. A cached token is not returned then either.
    pub fn load(&self) -> Result<Option<Record>> {
        let metadata = watched_files::stat_all(self.files)?;
        let Some(content) = self.slot.read() else { return Ok(None) };
        // A torn, foreign or incompatible record is a miss and gets replaced.
        let Ok(record) = serde_json::from_slice::<Record>(&content) else { return Ok(None) };
        if record.settings != self.settings {
            return Ok(None);
        }
        // An empty record is valid whatever the files contain.
        if record.logged_out {
            return Ok(Some(record));
        }
        Ok(record.files.is_current(self.files, &metadata)?.then_some(record))
    }

    /// Stores the result of `attempt`, unless another attempt was stored since `before` was read.
    ///
    /// This keeps a late leader from overwriting a newer result. A token still replaces a stored failure. Returns the
    /// record that is in the cache afterwards.
    ///
    /// # Errors
    /// The record that would have been written, and why it could not be written.
    pub fn store_attempt(
        &self,
        files: &Snapshot,
        attempt: &Attempt<'_>,
        before: Option<&Record>,
        requirements: &Requirements,
        rules: &RenewalRules,
    ) -> Result<Record, Box<(Record, io::Error)>> {
        let next = attempt.record(&self.settings, files, before, requirements, rules);
        if let Ok(Some(current)) = self.load()
            && before.is_none_or(|before| before.attempt != current.attempt)
            && !(attempt.outcome.is_ok() && current.has_only_failure(attempt.ended))
        {
            return Ok(current);
        }
        match self.write(&next) {
            Ok(()) => {
                let now = attempt.ended;
                if let Ok(directory) = self.slot.directory() {
                    store::sweep(directory, now, |content| {
                        serde_json::from_slice::<Record>(content).map_or(true, |record| record.is_obsolete(now))
                    });
                }
                Ok(next)
            }
            Err(error) => Err(Box::new((next, error))),
        }
    }

    /// Writes a record unchanged.
    ///
    /// # Errors
    /// The file cannot be written. The old record is then still there.
    pub fn write(&self, record: &Record) -> io::Result<()> {
        self.slot.replace(&Zeroizing::new(serde_json::to_vec(record)?))
    }

    /// Reads the identity's files before a fetch, so that a file that changes during the fetch is noticed: the token would not
    /// match its new content.
    ///
    /// # Errors
    /// Profile (3): a file cannot be read.
    pub fn snapshot(&self) -> Result<Snapshot> {
        Snapshot::take(self.files)
    }

    /// Deletes `token`, which a server rejected, from the record. Returns true if it was the stored one.
    ///
    /// A newer token stays, because another process has fetched it since (git-ecosystem/git-credential-manager#1555).
    /// Nothing changes while another process fetches. The attempt id stays, because there was no attempt.
    ///
    /// # Errors
    /// The record cannot be written.
    pub fn reject(&self, token: &Secret) -> io::Result<bool> {
        let Lock::Held(_guard) = self.slot.try_lock() else { return Ok(false) };
        let Ok(Some(record)) = self.load() else { return Ok(false) };
        if record.token.as_ref().is_none_or(|stored| stored.secret != *token) {
            return Ok(false);
        }
        self.write(&record.without_token()).map(|()| true)
    }
}

/// The token that `logout` deleted, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovedToken {
    Nothing,
    /// When the deleted token expires.
    Token(Timestamp),
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::error::{Error, Kind};
    use crate::base::token::Credential;
    use crate::cache::attempt::tests::{failure, secret_of};
    use crate::cache::freshness::tests::default_decision;
    use crate::cache::record::fixtures::{ANY, HOUR, NOW, PLAIN, SECOND, token};

    struct Fixture {
        _directory: tempfile::TempDir,
        cache: Cache,
        identity: Identity,
    }

    fn fixture() -> Fixture {
        let directory = tempfile::tempdir().expect("a directory");
        let cache = Cache::new(Ok(directory.path().join("cache")));
        let fixture = Fixture { _directory: directory, cache, identity: Identity::of("test") };
        fixture.cache.entry(&fixture.identity).slot.prepare().expect("prepared");
        fixture
    }

    impl Fixture {
        fn store(&self, outcome: Result<Credential>, before: Option<&Record>) -> Record {
            let entry = self.cache.entry(&self.identity);
            let attempt = Attempt { began: NOW, ended: NOW, outcome: &outcome, is_relief: false };
            let stored = entry.store_attempt(&entry.snapshot().expect("no files"), &attempt, before, &ANY, &PLAIN);
            stored.map_err(|unwritten| unwritten.1).expect("stored")
        }

        fn load(&self) -> Option<Record> {
            self.cache.entry(&self.identity).load().expect("no files")
        }
    }

    #[test]
    fn a_record_is_read_back_as_it_was_written() {
        let fixture = fixture();
        assert!(fixture.load().is_none());
        let first = fixture.store(Ok(token("t1.new", HOUR, HOUR)), None);
        let read = fixture.load().expect("a record");
        assert_eq!((secret_of(&read), &read.attempt, read.ended), (Some("t1.new".into()), &first.attempt, NOW));
        let error = Error::unavailable("down").hint("wait").retry_after(Some(Duration::from_secs(10)));
        fixture.store(Err(error.clone()), Some(&first));
        let read = fixture.load().expect("a record");
        assert_eq!(failure(&read), Some((error.render(), NOW.shifted(10 * SECOND))));
    }

    #[test]
    fn a_late_leader_never_replaces_a_newer_result() {
        let fixture = fixture();
        let relief = fixture.store(Ok(token("t1.relief", HOUR, HOUR)), None);
        for late in [Ok(token("t1.late", 2 * HOUR, 2 * HOUR)), Err(Error::unavailable("late"))] {
            assert_eq!(fixture.store(late, None).attempt, relief.attempt);
            assert_eq!(fixture.load().expect("a record").attempt, relief.attempt);
        }
        let next = fixture.store(Ok(token("t1.next", 2 * HOUR, 2 * HOUR)), Some(&relief));
        assert_eq!(
            fixture.load().expect("a record").attempt,
            next.attempt,
            "a process that has read it may replace it"
        );
    }

    #[test]
    fn a_late_leaders_token_replaces_a_failure_but_not_a_logout() {
        let fixture = fixture();
        let failed = fixture.store(Err(Error::refused("another's")), None);
        assert_eq!(fixture.store(Err(Error::refused("late")), None).attempt, failed.attempt);
        let late = fixture.store(Ok(token("t1.late", HOUR, HOUR)), None);
        assert_eq!(secret_of(&fixture.load().expect("a record")).as_deref(), Some("t1.late"));
        fixture.cache.entry(&fixture.identity).slot.clear(NOW).expect("deleted");
        fixture.store(Ok(token("t1.later", HOUR, HOUR)), Some(&late));
        assert_eq!(secret_of(&fixture.load().expect("a record")), None);
    }

    #[test]
    fn only_the_stored_token_is_rejected() {
        let fixture = fixture();
        fixture.store(Ok(token("t1.new", HOUR, HOUR)), None);
        let entry = fixture.cache.entry(&fixture.identity);
        assert!(!entry.reject(&Secret::new("t1.other".into())).expect("read"));
        assert!(entry.reject(&Secret::new("t1.new".into())).expect("written"));
        assert_eq!(default_decision(&fixture.load().expect("a record")), "fetch");
        assert!(!entry.reject(&Secret::new("t1.new".into())).expect("read"), "already deleted");
    }

    #[test]
    fn a_changed_file_is_compared_by_its_content() {
        let directory = tempfile::tempdir().expect("a directory");
        let key = directory.path().join("key");
        let write = |content: &str| store::write_config(&key, content.as_bytes(), true).expect("written");
        write("one");
        let cache = Cache::new(Ok(directory.path().join("cache")));
        let identity = Identity::of("test").with_file("key-file", &key);
        let entry = cache.entry(&identity);
        entry.slot.prepare().expect("prepared");
        let outcome = Ok(token("t1.new", HOUR, HOUR));
        let attempt = Attempt { began: NOW, ended: NOW, outcome: &outcome, is_relief: false };
        entry
            .store_attempt(&entry.snapshot().expect("the key"), &attempt, None, &ANY, &PLAIN)
            .map_err(|_| ())
            .expect("stored");
        let is_hit = || entry.load().map(|record| record.is_some()).map_err(|error| error.kind);
        assert_eq!(is_hit(), Ok(true));
        write("one");
        assert_eq!(is_hit(), Ok(true), "another inode, the same content");
        write("two");
        assert_eq!(is_hit(), Ok(false), "of the same size");
        write("one");
        assert_eq!(is_hit(), Ok(true));
        store::remove(&key).expect("removed");
        assert_eq!(is_hit(), Err(Kind::Profile));
    }
}
