//! The heart: what is kept of a token, when it is fresh, and what every process may conclude from what it finds.
//!
//! One record per identity, a file replaced whole under `<cache dir>/v1/`, with a lock file at its side.
//! [`Record::judge`] is the life of a token:
//!
//! ```text
//!   issued                              refresh-before is left          min-ttl is left      dead
//!     |------------- fresh -------------------|------ refreshable -----------|--- expired ----|
//!       handed out at once, no lock,            one process renews it,         fetch first;
//!       no network, nothing written             the others hand it out         if that fails,
//!                                               at once                        it is still usable
//! ```
//!
//! Every finished fetch, good or bad, leaves a fresh random *attempt id* in the record. A waiter that finds another id
//! than on its arrival takes what that attempt brought, token or reason, and needs no lock for it. So however many
//! processes ask, there is one request and one reason; and losing the lock costs a request, never a token.
//!
//! Nothing here talks to the network; [`crate::obtain`] is the flow that does.

pub mod record;
mod snapshot;

use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::identity::{Identity, WatchedFile};
use crate::base::secret::Secret;
use crate::cache::record::{Attempt, Record, RenewalRules, Requirements};
use crate::cache::snapshot::Snapshot;
use crate::disk::store;
use crate::disk::store::{FileState, Lock};

/// The format's own directory: another version goes into another, so that old and new binaries can alternate.
const VERSION: &str = "v1";

/// The directory of all records; or why there is none, for the warning.
pub struct Cache {
    directory: Result<PathBuf, String>,
}

impl Cache {
    /// Records below this directory, in one of their format's own.
    pub fn new(cache_dir: Result<PathBuf, String>) -> Self {
        Self { directory: cache_dir.map(|dir| dir.join(VERSION)) }
    }

    /// What to call it in messages.
    pub fn place(&self) -> String {
        self.directory.as_ref().map_or_else(|_| "no cache".into(), |directory| directory.display().to_string())
    }

    /// The place of one identity.
    pub fn entry<'a>(&'a self, identity: &'a Identity) -> Entry<'a> {
        Entry { slot: self.slot(identity.name()), settings: identity.settings(), files: identity.files() }
    }

    fn slot(&self, name: String) -> Slot<'_> {
        Slot { directory: &self.directory, name }
    }

    /// The place of something that is kept beside the tokens, is no secret, and can be had again: swept after a day,
    /// forgotten by `logout --all`.
    pub fn auxiliary_slot(&self, what: &str, identity: &Identity) -> Slot<'_> {
        self.slot(format!("{what}-{}", identity.name()))
    }

    /// Every slot that has been used, whosever token is or was in it.
    ///
    /// # Errors
    /// What the disk says, or that there is no cache directory.
    pub fn slots(&self) -> io::Result<Vec<Slot<'_>>> {
        let directory = self.directory.as_deref().map_err(|why| io::Error::other(why.clone()))?;
        Ok(store::record_names(directory)?.into_iter().map(|name| self.slot(name)).collect())
    }

    /// The slots of those records that something is made of, and that. What is no record is passed over.
    ///
    /// # Errors
    /// What the disk says. Without a cache directory there is none.
    pub fn slots_where<T>(&self, made: impl Fn(&Record) -> Option<T>) -> io::Result<Vec<(Slot<'_>, T)>> {
        if self.directory.is_err() {
            return Ok(Vec::new());
        }
        let record = |slot: &Slot<'_>| match store::read(&slot.path(store::RECORD).ok()?) {
            Ok(FileState::Content(content)) => serde_json::from_slice::<Record>(&content).ok(),
            _ => None,
        };
        let slots = self.slots()?.into_iter();
        Ok(slots.filter_map(|slot| record(&slot).and_then(|record| made(&record)).map(|it| (slot, it))).collect())
    }

    /// Removes what killed processes and foreign objects have left, which may hold tokens too.
    ///
    /// # Errors
    /// What the disk says.
    pub fn remove_temporary_files(&self) -> io::Result<()> {
        self.directory.as_deref().map_or(Ok(()), store::remove_temporary_files)
    }
}

/// Where one name's record and locks are. Every method works without a cache directory too: nothing is found, nothing
/// can be locked.
pub struct Slot<'a> {
    directory: &'a Result<PathBuf, String>,
    name: String,
}

impl Slot<'_> {
    fn directory(&self) -> io::Result<&Path> {
        self.directory.as_deref().map_err(|why| io::Error::other(why.clone()))
    }

    fn path(&self, ending: &str) -> io::Result<PathBuf> {
        Ok(self.directory()?.join(format!("{}{ending}", self.name)))
    }

    /// Makes the directory, so that a lock and a record can be put there.
    ///
    /// # Errors
    /// Why nothing can be kept.
    pub fn prepare(&self) -> io::Result<()> {
        let directory = self.directory()?;
        if let Some(above) = directory.parent() {
            store::tighten(above)?;
        }
        store::make_private(directory)
    }

    /// What is there, if it is a file of ours.
    pub fn read(&self) -> Option<Zeroizing<Vec<u8>>> {
        match self.path(store::RECORD).and_then(|path| store::read(&path)) {
            Ok(FileState::Content(content)) => Some(content),
            Ok(FileState::Nothing | FileState::Foreign) | Err(_) => None,
        }
    }

    /// Puts this there, into a directory that has been judged, and tightened, anew: root could write into another
    /// user's.
    ///
    /// # Errors
    /// What the disk says; what was there before is then still there.
    pub fn replace(&self, content: &[u8]) -> io::Result<()> {
        self.prepare()?;
        store::replace(&self.path(store::RECORD)?, content, false)
    }

    /// One try for the lock.
    pub fn try_lock(&self) -> Lock {
        self.try_lock_file(".lock")
    }

    /// One try for the lock of those who lost patience with the holder of the first: one of them asks, not all.
    pub fn try_relief_lock(&self) -> Lock {
        self.try_lock_file(".relief.lock")
    }

    fn try_lock_file(&self, ending: &str) -> Lock {
        let path = self.directory().and_then(store::refuse_foreign_directory).and_then(|()| self.path(ending));
        path.map_or_else(Lock::Impossible, |path| store::try_lock(&path))
    }

    /// Forgets the token for good, whosever it is. The record stays, empty and under a fresh attempt id: a fetch that is
    /// under way finds another id than it began with and stores nothing.
    ///
    /// # Errors
    /// What the disk says.
    pub fn forget(&self, now: Timestamp) -> io::Result<RemovedToken> {
        let Ok(path) = self.path(store::RECORD) else { return Ok(RemovedToken::Nothing) };
        let content = match store::read(&path)? {
            FileState::Nothing => return Ok(RemovedToken::Nothing),
            FileState::Foreign => None,
            FileState::Content(content) => Some(content),
        };
        store::refuse_foreign_directory(self.directory()?)?;
        // What cannot be read as a record may hold a token all the same.
        let record = content.and_then(|content| serde_json::from_slice::<Record>(&content).ok());
        let token = record.as_ref().and_then(|record| record.token.clone());
        let empty = Record::logged_out(record.map(|record| record.settings).unwrap_or_default(), now);
        store::replace(&path, &serde_json::to_vec(&empty)?, false)?;
        Ok(token.map_or(RemovedToken::Nothing, |kept| RemovedToken::Token(kept.expires)))
    }
}

/// One identity in the cache.
pub struct Entry<'a> {
    pub slot: Slot<'a>,
    settings: String,
    files: &'a [WatchedFile],
}

impl Entry<'_> {
    /// The record, if there is one of this identity that its files still agree with. Takes no lock and writes nothing.
    ///
    /// # Errors
    /// Profile (3): a file of the identity is gone, so no cached token is handed out either.
    pub fn load(&self) -> Result<Option<Record>> {
        let found = snapshot::look(self.files)?;
        let Some(content) = self.slot.read() else { return Ok(None) };
        // Whatever is no record of ours, torn, foreign or of another make, is a miss and will be replaced.
        let Ok(record) = serde_json::from_slice::<Record>(&content) else { return Ok(None) };
        if record.settings != self.settings {
            return Ok(None);
        }
        // An empty record holds for whatever the files hold.
        if record.logged_out {
            return Ok(Some(record));
        }
        Ok(record.files.agrees_with(self.files, &found)?.then_some(record))
    }

    /// Replaces the record by the one after `attempt`, unless somebody else's attempt has come in since `before` was
    /// read: a late leader never undoes what was got without it. (A failure is nothing got: a token takes its place.)
    /// Returns what is in the record then.
    ///
    /// # Errors
    /// The record that would have been written, and why it could not be.
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
            && !(attempt.outcome.is_ok() && current.is_failure_alone(attempt.ended))
        {
            return Ok(current);
        }
        match self.write(&next) {
            Ok(()) => {
                let now = attempt.ended;
                if let Ok(directory) = self.slot.directory() {
                    store::sweep(directory, now, |content| {
                        serde_json::from_slice::<Record>(content).map_or(true, |record| record.is_dead(now))
                    });
                }
                Ok(next)
            }
            Err(error) => Err(Box::new((next, error))),
        }
    }

    /// Writes a record as it is.
    ///
    /// # Errors
    /// What the disk says; the old record is then still there.
    pub fn write(&self, record: &Record) -> io::Result<()> {
        self.slot.replace(&Zeroizing::new(serde_json::to_vec(record)?))
    }

    /// Reads the identity's files before a fetch, so that the token is never filed under content that it was not got
    /// with.
    ///
    /// # Errors
    /// Profile (3): one cannot be read.
    pub fn snapshot(&self) -> Result<Snapshot> {
        Snapshot::take(self.files)
    }

    /// Drops the kept token if it is this very one: the server that it was given to has rejected it. A sibling's newer
    /// one stays (git-ecosystem/git-credential-manager#1555). While somebody fetches nothing is done, since a newer one
    /// is on its way; and the attempt id stays, since no attempt was made.
    ///
    /// # Errors
    /// What the disk says.
    pub fn reject(&self, token: &Secret) -> io::Result<bool> {
        let Lock::Held(_held) = self.slot.try_lock() else { return Ok(false) };
        let Ok(Some(record)) = self.load() else { return Ok(false) };
        if record.token.as_ref().is_none_or(|kept| kept.secret != *token) {
            return Ok(false);
        }
        self.write(&record.without_token()).map(|()| true)
    }
}

/// What `logout` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovedToken {
    Nothing,
    /// A token that would have lived until then.
    Token(Timestamp),
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::record::tests::{ANY, HOUR, NOW, PLAIN, SECOND, failure, name, plain, token};
    use super::*;
    use crate::base::error::{Error, Kind};
    use crate::base::token::Credential;

    struct Server {
        _directory: tempfile::TempDir,
        cache: Cache,
        identity: Identity,
    }

    fn desk() -> Server {
        let directory = tempfile::tempdir().expect("a directory");
        let cache = Cache::new(Ok(directory.path().join("cache")));
        let desk = Server { _directory: directory, cache, identity: Identity::of("test") };
        desk.cache.entry(&desk.identity).slot.prepare().expect("prepared");
        desk
    }

    impl Server {
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
        let desk = desk();
        assert!(desk.load().is_none());
        let first = desk.store(Ok(token("t1.new", HOUR, HOUR)), None);
        let read = desk.load().expect("a record");
        assert_eq!((name(&read), &read.attempt, read.ended), (Some("t1.new".into()), &first.attempt, NOW));
        let error = Error::unavailable("down").hint("wait").retry_after(Some(Duration::from_secs(10)));
        desk.store(Err(error.clone()), Some(&first));
        let read = desk.load().expect("a record");
        let told = failure(&read);
        assert_eq!(told, Some((error.render(), NOW.shifted(10 * SECOND))));
    }

    #[test]
    fn a_late_leader_never_replaces_what_was_got_without_it() {
        let desk = desk();
        let relief = desk.store(Ok(token("t1.relief", HOUR, HOUR)), None);
        for late in [Ok(token("t1.late", 2 * HOUR, 2 * HOUR)), Err(Error::unavailable("late"))] {
            assert_eq!(desk.store(late, None).attempt, relief.attempt);
            assert_eq!(desk.load().expect("a record").attempt, relief.attempt);
        }
        let next = desk.store(Ok(token("t1.next", 2 * HOUR, 2 * HOUR)), Some(&relief));
        assert_eq!(desk.load().expect("a record").attempt, next.attempt, "who has read it may");
    }

    #[test]
    fn a_late_leaders_token_takes_the_place_of_a_failure_and_of_no_logout() {
        let desk = desk();
        let failed = desk.store(Err(Error::refused("another's")), None);
        assert_eq!(desk.store(Err(Error::refused("late")), None).attempt, failed.attempt);
        let late = desk.store(Ok(token("t1.late", HOUR, HOUR)), None);
        assert_eq!(name(&desk.load().expect("a record")).as_deref(), Some("t1.late"));
        desk.cache.entry(&desk.identity).slot.forget(NOW).expect("forgotten");
        desk.store(Ok(token("t1.later", HOUR, HOUR)), Some(&late));
        assert_eq!(name(&desk.load().expect("a record")), None);
    }

    #[test]
    fn only_the_very_token_is_rejected() {
        let desk = desk();
        desk.store(Ok(token("t1.new", HOUR, HOUR)), None);
        let entry = desk.cache.entry(&desk.identity);
        assert!(!entry.reject(&Secret::new("t1.other".into())).expect("read"));
        assert!(entry.reject(&Secret::new("t1.new".into())).expect("written"));
        assert_eq!(plain(&desk.load().expect("a record")), "fetch");
        assert!(!entry.reject(&Secret::new("t1.new".into())).expect("read"), "it is gone already");
    }

    #[test]
    fn files_are_known_by_their_stat_and_then_by_their_content() {
        let directory = tempfile::tempdir().expect("a directory");
        let key = directory.path().join("key");
        let write = |text: &str| store::write_config(&key, text.as_bytes(), true).expect("written");
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
        let found = || entry.load().map(|record| record.is_some()).map_err(|error| error.kind);
        assert_eq!(found(), Ok(true));
        write("one");
        assert_eq!(found(), Ok(true), "another inode, the same content");
        write("two");
        assert_eq!(found(), Ok(false), "of the same size");
        write("one");
        assert_eq!(found(), Ok(true));
        store::remove(&key).expect("removed");
        assert_eq!(found(), Err(Kind::Profile));
    }
}
