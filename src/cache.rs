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
//! A failure counts only for processes that would very probably fail in the same way ([`failure`]). The others become
//! leaders themselves. Processes with different proxies or certificates do not even wait for each other: each
//! [`SharingGroup`] has a lock of its own.
//!
//! If the leader takes too long, one waiter takes a second lock and fetches as the *relief leader*. If that one takes too
//! long as well, the next waiter takes its place. A lock that does not work costs an extra request, but never the token.
//!
//! A fetch that began before a logout stores nothing: it looks at the id of the last logout in the record, and at the mark of
//! the last `logout --all` (`logout`).
//!
//! Nothing here uses the network: [`crate::obtain`] makes the requests.

pub mod attempt;
pub mod failure;
pub mod freshness;
pub mod logout;
pub mod record;
pub mod sharing_group;
mod watched_files;

use std::cell::OnceCell;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::base::account::Account;
use crate::base::clock::{Clock, Deadline, Timestamp, millis};
use crate::base::error::Result;
use crate::base::identity::{Identity, WatchedFile};
use crate::base::secret::Secret;
use crate::cache::attempt::Attempt;
use crate::cache::freshness::{RenewalRules, Requirements};
use crate::cache::logout::{
    ClearedRecord, LastLogout, LogoutPatience, RemovedToken, is_read_only, mark_logout, mark_sweep,
};
use crate::cache::record::Record;
use crate::cache::sharing_group::{LockName, SharingGroup};
use crate::cache::watched_files::Snapshot;
use crate::disk::places::CacheDirectory;
use crate::disk::store::{FileState, Lock, LockHolder, NameList};
use crate::disk::sweep::Removal;
use crate::disk::turn::{Turn, TurnBusy, TurnGuard, TurnPatience};
use crate::disk::{store, sweep, turn};

/// The directory of this record format. Each format version has its own, so old and new binaries can alternate.
pub const VERSION: &str = "v1";

/// How long a record that is not a token is kept, in milliseconds.
const AUXILIARY_LIFETIME: i64 = 24 * 3_600_000;

/// How many identities `logout --all` deletes before it lets other processes replace a record.
const DELETED_AT_ONCE: usize = 32;

/// The part of the name of a relief leader's lock that precedes the extension.
const RELIEF: &str = ".relief";

/// How often to begin again if another process has taken the turn away, because this one was slow.
const TURNS_MAX: u32 = 2;

/// The directory of all records.
pub struct Cache {
    directory: CacheDirectory,
}

impl Cache {
    /// Creates a cache in the version directory below `cache_dir`. An `Err` holds the reason for the warning.
    pub fn new(cache_dir: impl Into<CacheDirectory>) -> Self {
        Self { directory: cache_dir.into().join(VERSION) }
    }

    /// Returns the directory's name for messages.
    pub fn place(&self) -> String {
        self.directory.get().as_ref().map_or_else(|_| "no cache".into(), |directory| directory.display().to_string())
    }

    /// Returns the cache entry of an identity.
    pub fn entry<'a>(&'a self, identity: &'a Identity) -> Entry<'a> {
        let slot = self.slot(identity.name());
        Entry { slot, settings: identity.settings(), files: identity.files(), inner: Vec::new() }
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

    /// Deletes every identity that no process is using, until the deadline, and all temporary files.
    ///
    /// # Errors
    /// The directory cannot be read or belongs to another user, or there is no cache directory.
    pub fn delete_idle(
        &self,
        deadline: &Deadline,
        patience: &LogoutPatience,
        clock: &dyn Clock,
    ) -> io::Result<DeletedIdentities<'_>> {
        let directory = self.directory.get().as_deref().map_err(|why| io::Error::other(why.clone()))?;
        let mut deleted = DeletedIdentities::default();
        let owned = store::refuse_foreign_directory(directory);
        let is_owned = owned.is_ok();
        let mark = || {
            let guard = is_owned.then(|| patience.wait_for_turn(directory, clock)).flatten();
            if guard.is_some() {
                // Files of killed processes may hold tokens too.
                turn::remove_files(directory);
            }
            if is_owned { mark_logout(directory) } else { Ok(()) }
        };
        // Before the names are listed, because a fetch that is under way may store its token afterwards.
        deleted.unmarked = mark().err();
        let Some(names) = names_in_time(directory, deadline, clock)? else { return Ok(deleted) };
        deleted.is_listed = true;
        if let Err(error) = owned
            && names.iter().any(|name| name.ends_with(store::RECORD) || name.ends_with(store::LOCK))
        {
            return Err(error);
        }
        // Temporary files of killed processes may hold tokens too.
        deleted.fail(store::remove_leftovers(directory, &names));
        let identities = sweep::identities(names);
        let count = identities.len();
        let mut guard = None;
        for (index, (name, locks)) in identities.into_iter().enumerate() {
            if deadline.left(clock).is_zero() {
                deleted.left = count - index;
                break;
            }
            // Takes the turn for some identities at a time, because other processes wait for theirs.
            if index % DELETED_AT_ONCE == 0 {
                drop(guard.take());
                guard = TurnGuard::try_new(directory);
            }
            match sweep::remove(directory, &name, &locks, guard.as_ref(), |_| true) {
                Ok(Removal::Removed(content)) => {
                    let record = content.and_then(|content| serde_json::from_slice::<Record>(&content).ok());
                    deleted.tokens += usize::from(record.is_some_and(|record| record.token.is_some()));
                }
                // A full disk may have no room to move a record. Its content can be replaced.
                Ok(Removal::Locked | Removal::Kept) | Err(_) => {
                    deleted.busy.push(BusyIdentity { slot: self.slot(name), locks });
                }
            }
        }
        drop(guard);
        // A fetch may have begun meanwhile, with a record that is deleted by now.
        deleted.unmarked = deleted.unmarked.or(mark().err());
        Ok(deleted)
    }

    /// Returns the slots of the records for which `select` returns a value, with those values, until the deadline.
    ///
    /// Parses only records that contain `mark`: to parse a hundred thousand of them would take a second. Files that are not
    /// records are skipped. Without a cache directory the list is empty.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn slots_where<T>(
        &self,
        mark: &str,
        select: impl Fn(&Record) -> Option<T>,
        deadline: &Deadline,
        clock: &dyn Clock,
    ) -> io::Result<SelectedSlots<'_, T>> {
        let mut selected = SelectedSlots { slots: Vec::new(), is_complete: true };
        let Ok(directory) = self.directory.get() else { return Ok(selected) };
        let names = names_in_time(directory, deadline, clock)?;
        selected.is_complete = names.is_some();
        for name in names.unwrap_or_default() {
            let Some(name) = name.strip_suffix(store::RECORD) else { continue };
            if deadline.left(clock).is_zero() {
                selected.is_complete = false;
                break;
            }
            let slot = self.slot(name.to_owned());
            let content = slot.read().filter(|content| contains(content, mark.as_bytes()));
            let record = content.and_then(|content| serde_json::from_slice::<Record>(&content).ok());
            selected.slots.extend(record.and_then(|record| select(&record)).map(|value| (slot, value)));
        }
        Ok(selected)
    }
}

/// Returns the names in a directory, or `None` if the deadline comes first.
fn names_in_time(directory: &Path, deadline: &Deadline, clock: &dyn Clock) -> io::Result<Option<Vec<String>>> {
    let is_in_time = |count: usize| !count.is_multiple_of(256) || !deadline.left(clock).is_zero();
    let NameList { names, next } = store::names_from(directory, None, is_in_time)?;
    Ok(next.is_none().then_some(names))
}

fn contains(content: &[u8], mark: &[u8]) -> bool {
    content.windows(mark.len()).any(|window| window == mark)
}

/// The result of [`Cache::delete_idle`].
#[derive(Default)]
pub struct DeletedIdentities<'a> {
    /// How many tokens were deleted.
    pub tokens: usize,
    /// The identities that a process is using, or that could not be locked or removed.
    pub busy: Vec<BusyIdentity<'a>>,
    /// False if the time was over before all identities were found.
    pub is_listed: bool,
    /// How many identities are left because the time was over.
    pub left: usize,
    /// The first error. Everything else is deleted nevertheless.
    pub error: Option<io::Error>,
    /// Why a fetch that is under way may store its token nevertheless. Happens on a full disk. What was deleted makes room, so it
    /// may be different next time.
    pub unmarked: Option<io::Error>,
}

impl DeletedIdentities<'_> {
    /// Keeps the error of a step, if it is the first one.
    pub fn fail(&mut self, result: io::Result<()>) {
        self.error = self.error.take().or(result.err());
    }
}

/// An identity that [`Cache::delete_idle`] has not deleted.
pub struct BusyIdentity<'a> {
    pub slot: Slot<'a>,
    /// The file names of its locks.
    locks: Vec<String>,
}

impl BusyIdentity<'_> {
    /// Tries once to take each of its locks. Does not list the directory, which may hold many other identities.
    ///
    /// # Errors
    /// There is no cache directory.
    pub fn try_all_locks(&self) -> io::Result<Vec<Lock>> {
        self.slot.try_locks(&self.locks)
    }
}

/// The result of [`Cache::slots_where`].
pub struct SelectedSlots<'a, T> {
    pub slots: Vec<(Slot<'a>, T)>,
    /// False if the time was over before all records were read.
    pub is_complete: bool,
}

/// The record file and the lock files of one name.
///
/// Without a cache directory, reads find nothing, and writes and locks fail.
pub struct Slot<'a> {
    directory: &'a CacheDirectory,
    name: String,
}

impl Slot<'_> {
    fn directory(&self) -> io::Result<&Path> {
        self.directory.get().as_deref().map_err(|why| io::Error::other(why.clone()))
    }

    fn path(&self, extension: &str) -> io::Result<PathBuf> {
        Ok(self.directory()?.join(format!("{}{extension}", self.name)))
    }

    /// Returns the path of the record file, or the reason why nothing is stored, for messages.
    pub fn place(&self) -> Result<PathBuf, String> {
        let path = |directory: &PathBuf| directory.join(format!("{}{}", self.name, store::RECORD));
        self.directory.get().as_ref().map(path).map_err(Clone::clone)
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
        self.directory.find(|directory| match store::read(&directory.join(format!("{}{}", self.name, store::RECORD))) {
            Ok(FileState::Content(content)) => Some(content),
            Ok(FileState::Nothing | FileState::Foreign) | Err(_) => None,
        })
    }

    /// Returns true if there is a record file or another object in its place, or if that is not known.
    pub fn exists(&self) -> bool {
        self.path(store::RECORD).is_ok_and(|path| path.try_exists().unwrap_or(true))
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

    /// Tries once to take a lock.
    pub fn try_lock(&self, name: &LockName) -> Lock {
        let path = self.directory().and_then(store::refuse_foreign_directory);
        match path.and_then(|()| self.path(&lock_extension(name, ""))).map(|path| (store::try_lock(&path), path)) {
            // Few processes need it, and not again.
            Ok((Lock::Held(guard), path)) if name.is_further() => Lock::Held(guard.removing(path)),
            Ok((lock, _)) => lock,
            Err(error) => Lock::Impossible(error),
        }
    }

    /// Tries once to become the relief leader: the one waiter that fetches next to a leader that takes too long.
    ///
    /// The relief leader holds a lock and writes itself into the lock file. If that was longer ago than
    /// `successor.patience`, it may be suspended. The first process that notices then overwrites the entry in the lock file, and
    /// is the next relief leader, without the lock.
    pub fn try_relief(&self, name: &LockName, successor: &Successor, clock: &dyn Clock) -> Lock {
        let is_recent = |path: &Path| {
            let age = store::lock_holder(path).map(|holder| clock.now().since(holder.since).abs());
            age.is_some_and(|age| age < millis(successor.patience))
        };
        let path = self.directory().and_then(store::refuse_foreign_directory);
        let path = match path.and_then(|()| self.path(&lock_extension(name, RELIEF))) {
            Ok(path) => path,
            Err(error) => return Lock::Impossible(error),
        };
        if is_recent(&path) {
            return Lock::Busy;
        }
        // From taking the lock to writing the holder, so that no process sees the one without the other.
        let wait = |directory| turn::wait_for_turn(directory, successor.turn, clock);
        let _turn = match self.directory().map(wait) {
            // The process whose turn it is may be stopped too.
            Ok(Lock::Busy) if !successor.has_waited_long => return Lock::Busy,
            Ok(Lock::Held(guard)) => Some(guard),
            Ok(Lock::Busy | Lock::Impossible(_)) | Err(_) => None,
        };
        let now = clock.now();
        match store::try_lock(&path) {
            Lock::Held(guard) => {
                guard.write_holder_like(now, successor.until, Some(successor.likeness));
                if name.is_further() { Lock::Held(guard.removing(path)) } else { Lock::Held(guard) }
            }
            // On a full disk, no holder can write itself. Or it is an older ycred.
            Lock::Busy if store::recorded_holder(&path).is_none() && !successor.has_waited_long => Lock::Busy,
            Lock::Busy if is_recent(&path) => Lock::Busy,
            Lock::Busy => store::take_over(&path, now, successor.until, successor.likeness),
            Lock::Impossible(error) => Lock::Impossible(error),
        }
    }

    /// Returns true if the failure of the relief leader may not count for the process that would be the next one: it has another
    /// [`LockHolder::likeness`]. An older ycred, which says nothing, is waited for as long as an unnamed one.
    pub fn has_unlike_relief(&self, name: &LockName, successor: &Successor) -> bool {
        let holder = || store::recorded_holder(&self.path(&lock_extension(name, RELIEF)).ok()?);
        holder().is_some_and(|holder| match holder.likeness {
            Some(likeness) => likeness != successor.likeness,
            None => successor.has_waited_long,
        })
    }

    /// Waits for the turn to replace the record. Each sharing group has another lock, so two leaders would otherwise overwrite
    /// each other's results.
    ///
    /// # Errors
    /// It was the turn of other processes until the end of the time, or there is no cache directory.
    fn turn(&self, patience: TurnPatience, clock: &dyn Clock) -> Result<Turn, TurnBusy> {
        let directory = self.directory.get().as_deref().map_err(|_| TurnBusy)?;
        Turn::wait(directory, patience, clock)
    }

    /// Returns the mark of the last logout.
    ///
    /// # Errors
    /// It cannot be read, or there is no cache directory.
    pub fn last_logout(&self) -> io::Result<LastLogout> {
        self.directory().and_then(LastLogout::read)
    }

    /// Returns true if a logout has probably removed the record since `before`, because the disk had no room for an empty one. There
    /// must have been a record.
    pub fn has_lost_record_to_logout(&self, before: &LastLogout) -> bool {
        !self.exists() && self.last_logout().is_ok_and(|now| now.is_after_logout_since(before))
    }

    /// Returns the process that holds the lock, if it has written itself into the lock file.
    pub fn lock_holder(&self, name: &LockName) -> Option<LockHolder> {
        store::lock_holder(&self.path(&lock_extension(name, "")).ok()?)
    }

    /// Tries once to take each existing lock of this name, of any group.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn try_all_locks(&self) -> io::Result<Vec<Lock>> {
        let directory = self.directory()?;
        self.try_locks(&store::lock_names(directory, &self.name)?)
    }

    fn try_locks(&self, names: &[String]) -> io::Result<Vec<Lock>> {
        let directory = self.directory()?;
        // Some may have been removed meanwhile.
        Ok(names.iter().map(|name| store::try_lock_existing(&directory.join(name))).collect())
    }

    /// Deletes the token, and returns its expiry.
    ///
    /// An empty record with a new attempt id takes its place, even if there was no record: a fetch in progress sees it and
    /// stores nothing, and the processes that wait for the fetch see that they need not wait.
    ///
    /// # Errors
    /// The file cannot be read, written or removed, or the directory belongs to another user.
    pub fn clear(&self, patience: &LogoutPatience, clock: &dyn Clock) -> io::Result<ClearedRecord> {
        let Ok(path) = self.path(store::RECORD) else { return Ok(ClearedRecord::NOTHING) };
        let directory = self.directory()?;
        if !directory.is_dir() {
            return Ok(ClearedRecord::NOTHING);
        }
        let mut turn = patience.turn(directory, clock);
        // What killed processes have prepared may be a token too. On a full disk, that makes room.
        turn.iter().for_each(Turn::remove_other_files);
        let must_mark =
            !turn.as_ref().is_some_and(Turn::excludes_all) && store::refuse_foreign_directory(directory).is_ok();
        // First of all: another process, or an older ycred, may be about to replace the record. It looks at the mark afterwards.
        let marked = if must_mark { mark_logout(directory) } else { Ok(()) };
        let content = match store::read(&path)? {
            FileState::Nothing if store::refuse_foreign_directory(directory).is_err() => {
                return Ok(ClearedRecord::NOTHING);
            }
            FileState::Nothing | FileState::Foreign => None,
            FileState::Content(content) => Some(content),
        };
        store::refuse_foreign_directory(directory)?;
        // A file that cannot be parsed may hold a token too, so it is replaced as well.
        let record = content.as_ref().and_then(|content| serde_json::from_slice::<Record>(content).ok());
        let token = record.as_ref().and_then(|record| record.token.clone());
        let empty_record = Record::logged_out(record.map(|record| record.settings).unwrap_or_default(), clock.now());
        let empty_record = serde_json::to_vec(&empty_record)?;
        let replaced = match turn.as_mut().map(|turn| turn.replace(&path, &empty_record)) {
            Some(Ok(true)) => Ok(()),
            Some(Err(error)) => Err(error),
            // Another process has taken the turn away, and may be about to replace the record.
            Some(Ok(false)) => mark_logout(directory).and_then(|()| store::replace(&path, &empty_record, false)),
            None => store::replace(&path, &empty_record, false),
        };
        let marked = match (replaced, content) {
            (Ok(()), _) => marked.or_else(|_| mark_logout(directory)),
            // On a full disk, the file can only be removed. That makes room for the mark. First the one and then the other, for the
            // processes that wait.
            (Err(_), Some(_)) => {
                store::remove(&path)?;
                mark_logout(directory)
            }
            // Nothing can be stored there, so nothing needs to be kept from it.
            (Err(error), None) if is_read_only(&error) => Ok(()),
            // The mark does what an empty record would do.
            (Err(error), None) => mark_logout(directory).map_err(|_| error),
        };
        let token = token.map_or(RemovedToken::Nothing, |token| RemovedToken::Token(token.expires));
        Ok(ClearedRecord { token, marked })
    }
}

/// Removes some of the dead identities. See [`sweep::sweep`].
fn sweep_directory(directory: &Path, clock: &dyn Clock) {
    let now = clock.now();
    // The id of a logout in a record prevents fetches that began before the logout from storing their tokens. Removing the record
    // would end that, so a sweep marks a logout first. Once is enough, because all these logouts were at least an hour ago.
    let is_marked = OnceCell::new();
    let mark = || *is_marked.get_or_init(|| mark_sweep(directory).is_ok());
    let parse = |content: &[u8]| serde_json::from_slice::<Record>(content);
    let is_dead = |content: &[u8], age| match parse(content) {
        Ok(record) => record.is_dead(now),
        // Damaged, or not a token: the address of an installation's IAM is valid for a day.
        Err(_) => age > AUXILIARY_LIFETIME,
    };
    // Only in this process's turn, because a process that has just stored a record would take the mark for that of a logout.
    let before_removal = |content: &[u8]| match parse(content) {
        Ok(record) if record.logged_out || record.logout.is_some() => mark(),
        _ => true,
    };
    sweep::sweep(directory, clock, is_dead, before_removal);
}

/// `.lock`, or `.3f1c….lock` for a group with variables of its own, or `.way-9a7b….lock` for some processes of a group.
fn lock_extension(name: &LockName, role: &str) -> String {
    format!("{}{role}{}", name.as_str(), store::LOCK)
}

/// The cache entry of one identity.
pub struct Entry<'a> {
    pub slot: Slot<'a>,
    settings: String,
    files: &'a [WatchedFile],
    /// The records of the tokens that a fetch exchanges, if it exchanges one.
    inner: Vec<Slot<'a>>,
}

impl<'a> Entry<'a> {
    /// Returns this entry, whose fetch exchanges a token of `inner`. A logout from that one then concerns this one too: the
    /// logout may not know of it, if it has no record yet.
    #[must_use]
    pub fn exchanging(mut self, inner: Entry<'a>) -> Self {
        self.inner.push(inner.slot);
        self
    }

    /// Returns the ids of the last logouts from the tokens that a fetch exchanges.
    fn inner_logouts(&self) -> Vec<Option<String>> {
        let logout = |slot: &Slot<'_>| serde_json::from_slice::<Record>(&slot.read()?).ok()?.logout;
        self.inner.iter().map(logout).collect()
    }

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
        // An empty record is valid whatever the files contain. One that a logout made where there was none has no settings.
        if record.logged_out && (record.settings.is_empty() || record.settings == self.settings) {
            return Ok(Some(record));
        }
        if record.settings != self.settings {
            return Ok(None);
        }
        Ok(record.files.is_current(self.files, &metadata)?.then_some(record))
    }

    /// Returns the record even if a file of the identity is missing, for reports only: no client may get its token. Once the
    /// same file is back, [`Self::load`] returns the record again.
    pub fn load_withheld(&self) -> Option<Record> {
        let record: Record = serde_json::from_slice(&self.slot.read()?).ok()?;
        (record.settings == self.settings).then_some(record)
    }

    /// Checks that the identity's files are there.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn check_files(&self) -> Result<()> {
        watched_files::stat_all(self.files).map(drop)
    }

    /// Stores the result of `attempt`. Returns the record that is in the cache afterwards.
    ///
    /// If another attempt was stored since `before` was read, this process is a late leader. Its token replaces only a
    /// failure or a token that expires earlier. Its failure replaces only a failure that its own waiters do not accept.
    /// It never undoes a logout.
    ///
    /// Stores nothing if the identity's files have changed since `start`, if the user has logged out since, or while another
    /// process is stopped in the middle of storing something.
    ///
    /// # Errors
    /// The record that would have been written, and why it could not be written, or the last logout could not be read.
    pub fn store_attempt(
        &self,
        start: &FetchStart,
        attempt: &Attempt<'_>,
        before: Option<&Record>,
        requirements: &Requirements,
        rules: &RenewalRules,
        clock: &dyn Clock,
    ) -> Result<Record, Box<(Record, io::Error)>> {
        // If a file was replaced during the fetch, even if it was put back, the token may belong to the other content.
        let files = Snapshot::take(self.files, clock);
        let has_changed =
            !files.is_ok_and(|after| after.agrees_with(&start.files)) || start.files.was_read_differently(self.files);
        let record =
            |before: Option<&Record>| attempt.record(&self.settings, &start.files, before, requirements, rules);
        let arrived = clock.elapsed();
        for _ in 0..TURNS_MAX {
            // For all rounds together.
            let in_all = attempt.patience.in_all.saturating_sub(clock.elapsed().saturating_sub(arrived));
            let Ok(mut turn) = self.slot.turn(TurnPatience { in_all, ..attempt.patience }, clock) else { break };
            let last_logout = match (self.slot.last_logout(), &start.last_logout) {
                (Ok(now), Ok(then)) if !has_changed && now == *then && self.inner_logouts() == start.inner_logouts => {
                    now
                }
                (Err(error), _) if !has_changed => return Err(Box::new((record(before), error))),
                (_, Err(error)) if !has_changed => return Err(Box::new((record(before), error.kind().into()))),
                _ => break,
            };
            let current = self.load().ok().flatten();
            let is_of_other = |current: &Record| before.is_none_or(|before| before.attempt != current.attempt);
            if let Some(other) = current.as_ref().filter(|current| is_of_other(current))
                && (other.is_after_logout_since(before) || !attempt.may_replace(other))
            {
                return Ok(other.clone());
            }
            // Not from `before`: if another process has removed the record since, or the token in it, the user may have logged out
            // from that token, or a server may have rejected it.
            let next = record(current.as_ref());
            match self.write_unless_logged_out(&mut turn, &next, &last_logout) {
                Ok(true) => {
                    drop(turn);
                    if let Ok(directory) = self.slot.directory() {
                        sweep_directory(directory, clock);
                    }
                    return Ok(next);
                }
                // The record may be another one by now.
                Ok(false) => {}
                Err(error) => return Err(Box::new((next, error))),
            }
        }
        Ok(record(before))
    }

    /// Stores the back-off in the record that a renewal starts from.
    ///
    /// Returns false if another attempt was stored since that record was read, or if it cannot be written.
    pub fn store_back_off(&self, before: &Record, clock: &dyn Clock) -> bool {
        let Ok(mut turn) = self.slot.turn(TurnPatience::SHORT, clock) else { return false };
        let Ok(last_logout) = self.slot.last_logout() else { return false };
        let current = self.load().ok().flatten().filter(|current| current.attempt == before.attempt);
        current.filter(|current| current.token.is_some()).is_some_and(|current| {
            let with_back_off = current.with_back_off(clock.now());
            self.write_unless_logged_out(&mut turn, &with_back_off, &last_logout).unwrap_or(false)
        })
    }

    /// Replaces the record. Empties it again if the user has logged out since `last_logout` was read: a logout that does not get
    /// its turn goes on without it. Returns false, and replaces nothing, if this process has lost its turn.
    fn write_unless_logged_out(&self, turn: &mut Turn, record: &Record, last_logout: &LastLogout) -> io::Result<bool> {
        self.slot.prepare()?;
        let path = self.slot.path(store::RECORD)?;
        let is_replaced = turn.replace(&path, &Zeroizing::new(serde_json::to_vec(record)?))?;
        if is_replaced && self.slot.last_logout().is_ok_and(|now| now != *last_logout) {
            // Not if this process has lost its turn since: the record may be that of the logout by now.
            let empty_record = Record::logged_out(self.settings.clone(), record.ended);
            if turn.replace(&path, &serde_json::to_vec(&empty_record)?).is_err() {
                store::remove(&path)?;
            }
        }
        Ok(is_replaced)
    }

    /// Looks at what must not change during a fetch: the contents of the identity's files, which the token would not match,
    /// and the last logout.
    ///
    /// # Errors
    /// Profile (3): a file cannot be read.
    pub fn start_fetch(&self, clock: &dyn Clock) -> Result<FetchStart> {
        watched_files::watch(self.files);
        Ok(FetchStart {
            files: Snapshot::take(self.files, clock)?,
            last_logout: self.slot.last_logout(),
            inner_logouts: self.inner_logouts(),
        })
    }

    /// Stores the name of the account that `token` belongs to. A newer token stays as it is.
    ///
    /// # Errors
    /// The record cannot be written.
    pub fn store_account(&self, token: &Secret, account: &Account, clock: &dyn Clock) -> io::Result<()> {
        let Ok(mut turn) = self.slot.turn(TurnPatience::SHORT, clock) else { return Ok(()) };
        let last_logout = self.slot.last_logout()?;
        let Ok(Some(mut record)) = self.load() else { return Ok(()) };
        if record.token.as_ref().is_none_or(|stored| stored.secret != *token) {
            return Ok(());
        }
        record.account = Some(account.clone());
        self.write_unless_logged_out(&mut turn, &record, &last_logout).map(drop)
    }

    /// Deletes `token`, which a server rejected, from the record. Returns true if it was the stored one.
    ///
    /// A newer token stays, because another process has fetched it since (git-ecosystem/git-credential-manager#1555).
    /// Nothing changes while another process fetches. The attempt id stays, because there was no attempt.
    ///
    /// # Errors
    /// The record cannot be written.
    pub fn reject(&self, token: &Secret, group: &SharingGroup, clock: &dyn Clock) -> io::Result<bool> {
        let Lock::Held(_guard) = self.slot.try_lock(&group.lock_name()) else { return Ok(false) };
        let Ok(mut turn) = self.slot.turn(TurnPatience::SHORT, clock) else { return Ok(false) };
        let last_logout = self.slot.last_logout()?;
        let Ok(Some(record)) = self.load() else { return Ok(false) };
        if record.token.as_ref().is_none_or(|stored| stored.secret != *token) {
            return Ok(false);
        }
        self.write_unless_logged_out(&mut turn, &record.without_token(), &last_logout)
    }
}

/// What [`Entry::start_fetch`] has seen.
pub struct FetchStart {
    files: Snapshot,
    /// If it is unknown, nothing is stored.
    last_logout: io::Result<LastLogout>,
    inner_logouts: Vec<Option<String>>,
}

/// A process that would become the next relief leader.
pub struct Successor {
    /// How long it waits for the present one.
    pub patience: Duration,
    /// How long it waits for the turn to write itself into the lock file.
    pub turn: TurnPatience,
    /// It has waited that long itself. It then also replaces a relief leader that is not written in the lock file.
    pub has_waited_long: bool,
    /// When it will have finished at the latest.
    pub until: Timestamp,
    /// See [`LockHolder::likeness`].
    pub likeness: u64,
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::base::clock::tests::FixedClock;
    use crate::base::error::{Error, Kind};
    use crate::base::token::Credential;
    use crate::cache::attempt::tests::{failure, secret_of};
    use crate::cache::failure::Requester;
    use crate::cache::freshness::Decision;
    use crate::cache::freshness::tests::default_decision;
    use crate::cache::record::StoredToken;
    use crate::cache::record::fixtures::{ANY, HOUR, NOW, PLAIN, SECOND, record, token};
    use crate::system;

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

    fn clock() -> FixedClock {
        FixedClock::at(NOW)
    }

    fn attempt<'a>(outcome: &'a Result<Credential>, requester: &'a Requester) -> Attempt<'a> {
        Attempt {
            began: NOW,
            ended: NOW,
            outcome,
            is_relief: false,
            requester,
            time_limit: Duration::from_secs(15),
            patience: TurnPatience::SHORT,
        }
    }

    impl Fixture {
        fn store(&self, outcome: Result<Credential>, before: Option<&Record>) -> Record {
            self.store_of(&Requester::default(), outcome, before)
        }

        fn store_of(&self, requester: &Requester, outcome: Result<Credential>, before: Option<&Record>) -> Record {
            let entry = self.cache.entry(&self.identity);
            let attempt = attempt(&outcome, requester);
            let stored = entry.store_attempt(
                &entry.start_fetch(&clock()).expect("no files"),
                &attempt,
                before,
                &ANY,
                &PLAIN,
                &clock(),
            );
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
    fn a_late_leader_replaces_a_token_only_by_one_that_expires_later() {
        let fixture = fixture();
        let relief = fixture.store(Ok(token("t1.relief", HOUR, HOUR)), None);
        for late in [
            Ok(token("t1.late", HOUR, HOUR)),
            Ok(token("t1.late", HOUR - 1, HOUR)),
            Err(Error::unavailable("late")),
            Err(Error::refused("late")),
        ] {
            assert_eq!(fixture.store(late, None).attempt, relief.attempt);
            assert_eq!(fixture.load().expect("a record").attempt, relief.attempt);
        }
        fixture.store(Ok(token("t1.late", HOUR + 1, HOUR)), None);
        let late = fixture.load().expect("a record");
        assert_eq!(secret_of(&late).as_deref(), Some("t1.late"));
        let next = fixture.store(Err(Error::refused("no")), Some(&late));
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
        fixture.cache.entry(&fixture.identity).slot.clear(&LogoutPatience::default(), &clock()).expect("deleted");
        for outcome in [Ok(token("t1.later", HOUR, HOUR)), Err(Error::refused("later"))] {
            fixture.store(outcome, Some(&late));
            assert!(fixture.load().expect("a record").is_emptied());
        }
    }

    /// A kind of logout.
    type Logout = (&'static str, fn(&Fixture));

    #[test]
    fn a_fetch_that_began_before_a_logout_stores_nothing_whatever_the_logout_found() {
        let outcome = || Ok(token("t1.in-flight", 2 * HOUR, HOUR));
        let logouts: [Logout; 2] = [
            ("of one profile", |fixture| {
                fixture
                    .cache
                    .entry(&fixture.identity)
                    .slot
                    .clear(&LogoutPatience::default(), &clock())
                    .expect("deleted");
            }),
            ("of all", |fixture| {
                let deadline = Deadline::after(&clock(), Duration::from_secs(1));
                fixture.cache.delete_idle(&deadline, &LogoutPatience::default(), &clock()).expect("deleted");
            }),
        ];
        for (name, log_out) in logouts {
            for has_record in [false, true] {
                let fixture = fixture();
                let before = has_record.then(|| fixture.store(Ok(token("t1.old", HOUR, HOUR)), None));
                let (entry, requester) = (fixture.cache.entry(&fixture.identity), Requester::default());
                let start = entry.start_fetch(&clock()).expect("no files");
                log_out(&fixture);
                // A lock that is created after the logout has listed the names does not matter.
                let _guard = entry.slot.try_lock(&SharingGroup::default().lock_name());
                for outcome in [outcome(), Err(Error::unavailable("no answer"))] {
                    let attempt = attempt(&outcome, &requester);
                    let returned = entry.store_attempt(&start, &attempt, before.as_ref(), &ANY, &PLAIN, &clock());
                    assert!(returned.is_ok());
                    let stored = fixture.load();
                    assert!(stored.is_none_or(|record| record.token.is_none()), "{name}, {has_record}");
                }
                assert!(before.is_none_or(|before| !entry.store_back_off(&before, &clock())), "{name}");
                // A fetch that begins now is kept.
                fixture.store(outcome(), fixture.load().as_ref());
                assert_eq!(secret_of(&fixture.load().expect("a record")).as_deref(), Some("t1.in-flight"), "{name}");
            }
        }
    }

    #[test]
    fn a_process_that_is_stopped_while_it_stores_a_token_does_not_undo_a_logout() {
        let fixture = fixture();
        let entry = fixture.cache.entry(&fixture.identity);
        let stored = fixture.store(Ok(token("t1.old", HOUR, HOUR)), None);
        let before = entry.slot.last_logout().expect("readable");
        // This process has checked the mark, and is stopped in its turn.
        let mut turn = entry.slot.turn(TurnPatience::SHORT, &clock()).unwrap_or_else(|TurnBusy| panic!("nobody else"));
        entry.slot.clear(&LogoutPatience::default(), &clock()).expect("deleted");
        assert!(fixture.load().expect("a record").is_emptied());
        assert!(!entry.write_unless_logged_out(&mut turn, &stored, &before).expect("no error"));
        assert!(fixture.load().expect("a record").is_emptied());
    }

    #[test]
    fn a_logout_while_a_token_is_being_stored_removes_it_although_nothing_can_be_locked() {
        let fixture = fixture();
        let entry = fixture.cache.entry(&fixture.identity);
        // A file in the place of the directory that is locked.
        store::replace(&entry.slot.directory().expect("a cache").join("storing"), b"", false).expect("written");
        let stored = fixture.store(Ok(token("t1.old", HOUR, HOUR)), None);
        let before = entry.slot.last_logout().expect("readable");
        // This process has checked the mark.
        let mut turn = entry.slot.turn(TurnPatience::SHORT, &clock()).unwrap_or_else(|TurnBusy| panic!("nobody else"));
        assert!(!turn.is_exclusive());
        entry.slot.clear(&LogoutPatience::default(), &clock()).expect("deleted");
        assert!(fixture.load().expect("a record").is_emptied());
        assert!(entry.write_unless_logged_out(&mut turn, &stored, &before).expect("written"));
        assert!(fixture.load().expect("a record").is_emptied());
    }

    #[test]
    fn beside_a_process_that_is_stopped_in_its_turn_a_logout_concerns_its_own_identity_only() {
        let fixture = fixture();
        let entry = fixture.cache.entry(&fixture.identity);
        fixture.store(Ok(token("t1.old", HOUR, HOUR)), None);
        let before = entry.slot.last_logout().expect("readable");
        let _stopped = entry.slot.turn(TurnPatience::SHORT, &clock()).unwrap_or_else(|TurnBusy| panic!("nobody else"));
        entry.slot.clear(&LogoutPatience::default(), &clock()).expect("deleted");
        assert!(fixture.load().expect("a record").is_emptied());
        assert_eq!(entry.slot.last_logout().expect("readable"), before);
    }

    #[test]
    fn a_process_that_has_lost_its_turn_after_it_has_stored_a_token_leaves_the_record_of_a_logout() {
        let fixture = fixture();
        let entry = fixture.cache.entry(&fixture.identity);
        let stored = fixture.store(Ok(token("t1.old", HOUR, HOUR)), None);
        let before = entry.slot.last_logout().expect("readable");
        let path = entry.slot.path(store::RECORD).expect("a path");
        let mut turn = entry.slot.turn(TurnPatience::SHORT, &clock()).unwrap_or_else(|TurnBusy| panic!("nobody else"));
        // It has replaced the record, and is stopped before it looks at the mark again.
        assert!(turn.replace(&path, &serde_json::to_vec(&stored).expect("JSON")).expect("written"));
        mark_logout(entry.slot.directory().expect("a cache")).expect("written");
        assert_ne!(entry.slot.last_logout().expect("readable"), before);
        entry.slot.clear(&LogoutPatience::default(), &clock()).expect("deleted");
        let logout = fixture.load().expect("a record").attempt;
        assert!(!turn.replace(&path, b"{}").expect("no error"));
        assert_eq!(fixture.load().expect("a record").attempt, logout);
    }

    #[test]
    fn a_fetch_that_began_before_a_logout_stores_nothing_although_another_one_has_stored_a_token_since() {
        let fixture = fixture();
        let (entry, requester) = (fixture.cache.entry(&fixture.identity), Requester::default());
        for before in [None, Some(fixture.store(Ok(token("t1.old", HOUR, HOUR)), None))] {
            let start = entry.start_fetch(&clock()).expect("no files");
            entry.slot.clear(&LogoutPatience::default(), &clock()).expect("deleted");
            // As a process of another sharing group, or a relief leader.
            let newer = fixture.store(Ok(token("t1.newer", HOUR, HOUR)), fixture.load().as_ref());
            let outcome = Ok(token("t1.in-flight", 2 * HOUR, HOUR));
            let stored =
                entry.store_attempt(&start, &attempt(&outcome, &requester), before.as_ref(), &ANY, &PLAIN, &clock());
            assert!(stored.is_ok());
            assert_eq!(fixture.load().expect("a record").attempt, newer.attempt);
            // A fetch that begins now is kept, however many have been stored in between.
            fixture.store(Err(Error::refused("no")), Some(&newer));
            fixture.store(outcome, fixture.load().as_ref());
            assert_eq!(secret_of(&fixture.load().expect("a record")).as_deref(), Some("t1.in-flight"));
        }
    }

    #[test]
    fn a_process_that_is_stopped_while_it_stores_a_token_delays_others_once_and_replaces_nothing_later() {
        let fixture = fixture();
        let entry = fixture.cache.entry(&fixture.identity);
        let old = fixture.store(Ok(token("t1.old", HOUR, HOUR)), None);
        let last_logout = entry.slot.last_logout().expect("readable");
        let mut turn = entry.slot.turn(TurnPatience::SHORT, &clock()).unwrap_or_else(|TurnBusy| panic!("nobody else"));
        let clock = clock();
        let waits = [2 * HOUR, 3 * HOUR].map(|left| {
            let (outcome, requester, began) = (Ok(token("t1.new", left, HOUR)), Requester::default(), clock.elapsed());
            let start = entry.start_fetch(&clock).expect("no files");
            let before = fixture.load();
            let stored =
                entry.store_attempt(&start, &attempt(&outcome, &requester), before.as_ref(), &ANY, &PLAIN, &clock);
            assert!(stored.is_ok());
            assert_eq!(fixture.load().and_then(|record| secret_of(&record)).as_deref(), Some("t1.new"));
            clock.elapsed() - began
        });
        assert!(waits[0] >= TurnPatience::SHORT.with_one && waits[0] < TurnPatience::SHORT.in_all, "{waits:?}");
        assert_eq!(waits[1], Duration::ZERO);
        // It goes on.
        assert!(!entry.write_unless_logged_out(&mut turn, &old, &last_logout).expect("no error"));
        assert_eq!(fixture.load().and_then(|record| secret_of(&record)).as_deref(), Some("t1.new"));
    }

    #[test]
    fn a_process_that_was_slow_and_has_lost_its_turn_stores_its_token_in_the_next_one() {
        // Another process takes the turn away while this one looks at the mark of the last logout.
        let fixture = fixture();
        let entry = fixture.cache.entry(&fixture.identity);
        let mut slow = entry.slot.turn(TurnPatience::SHORT, &clock()).unwrap_or_else(|TurnBusy| panic!("nobody else"));
        fixture.store(Ok(token("t1.other", HOUR, HOUR)), None);
        let record = fixture.load().expect("a record");
        let last_logout = entry.slot.last_logout().expect("readable");
        assert!(!entry.write_unless_logged_out(&mut slow, &record, &last_logout).expect("no error"));
        fixture.store(Ok(token("t1.slow", 2 * HOUR, HOUR)), None);
        assert_eq!(fixture.load().and_then(|record| secret_of(&record)).as_deref(), Some("t1.slow"));
    }

    #[test]
    fn a_logout_of_one_profile_does_not_keep_others_from_storing() {
        let fixture = fixture();
        let (entry, requester) = (fixture.cache.entry(&fixture.identity), Requester::default());
        let start = entry.start_fetch(&clock()).expect("no files");
        let other = Identity::of("other");
        fixture.cache.entry(&other).slot.clear(&LogoutPatience::default(), &clock()).expect("deleted");
        let outcome = Ok(token("t1.new", HOUR, HOUR));
        let stored = entry.store_attempt(&start, &attempt(&outcome, &requester), None, &ANY, &PLAIN, &clock());
        assert!(stored.is_ok());
        assert_eq!(fixture.load().and_then(|record| secret_of(&record)).as_deref(), Some("t1.new"));
    }

    #[cfg(unix)]
    #[test]
    fn a_logout_is_marked_if_an_older_ycred_may_be_storing_a_token() {
        let fixture = fixture();
        let slot = fixture.cache.entry(&fixture.identity).slot;
        let is_marked = || {
            let before = slot.last_logout().expect("readable");
            slot.clear(&LogoutPatience::default(), &clock()).expect("deleted");
            slot.last_logout().expect("readable") != before
        };
        assert!(!is_marked());
        let older = store::try_lock_directory(slot.directory().expect("a cache"));
        assert!(matches!(older, Lock::Held(_)) && is_marked());
        drop(older);
        assert!(!is_marked());
    }

    #[test]
    fn a_waiter_takes_neither_a_sweep_nor_the_logout_of_another_profile_for_its_own_logout() {
        let fixture = fixture();
        let slot = fixture.cache.entry(&fixture.identity).slot;
        let (directory, path) = (slot.directory().expect("a cache"), slot.path(store::RECORD).expect("a path"));
        for is_first in [true, false] {
            let before = slot.last_logout().expect("readable");
            fixture.store(Ok(token("t1.old", HOUR, HOUR)), None);
            mark_sweep(directory).expect("written");
            assert!(slot.last_logout().expect("readable") != before, "no fetch that began before stores its token");
            store::remove(&path).expect("removed");
            assert!(!slot.has_lost_record_to_logout(&before), "a sweep, {is_first}");
            fixture.store(Ok(token("t1.old", HOUR, HOUR)), None);
            mark_logout(directory).expect("written");
            assert!(!slot.has_lost_record_to_logout(&before), "from another profile, {is_first}");
            mark_sweep(directory).expect("written");
            store::remove(&path).expect("removed");
            assert!(slot.has_lost_record_to_logout(&before), "{is_first}");
        }
    }

    #[test]
    fn a_failed_fetch_does_not_bring_back_a_token_that_another_process_has_removed() {
        let fixture = fixture();
        let old = fixture.store(Ok(token("t1.old", HOUR, HOUR)), None);
        let path = fixture.cache.entry(&fixture.identity).slot.path(store::RECORD).expect("a path");
        store::remove(&path).expect("removed");
        fixture.store(Err(Error::unavailable("no answer")), Some(&old));
        assert!(fixture.load().expect("a record").token.is_none());
    }

    #[test]
    fn a_rejected_token_does_not_come_back_with_the_result_of_a_fetch_that_began_before() {
        let fixture = fixture();
        let entry = fixture.cache.entry(&fixture.identity);
        let before = fixture.store(Ok(token("t1.old", HOUR, HOUR)), None);
        let rejected = entry.reject(&Secret::new("t1.old".into()), &SharingGroup::default(), &clock());
        assert!(rejected.expect("written"));
        assert!(!entry.store_back_off(&before, &clock()), "there is nothing to renew");
        assert!(fixture.load().expect("a record").token.is_none());
        fixture.store(Err(Error::refused("no")), Some(&before));
        assert!(fixture.load().expect("a record").token.is_none());
        // Nor does a back-off undo what another process has stored without an attempt.
        let before = fixture.store(Ok(token("t1.new", HOUR, HOUR)), fixture.load().as_ref());
        let account = Account::service_account("aje1");
        entry.store_account(&Secret::new("t1.new".into()), &account, &clock()).expect("written");
        assert!(entry.store_back_off(&before, &clock()));
        assert_eq!(fixture.load().expect("a record").account(), Some(&account));
    }

    #[test]
    fn after_a_logout_from_the_token_that_it_exchanges_a_fetch_stores_nothing() {
        for has_record in [false, true] {
            let fixture = fixture();
            let outer = Identity::of("outer");
            let entry = || fixture.cache.entry(&outer).exchanging(fixture.cache.entry(&fixture.identity));
            if has_record {
                fixture.store(Ok(token("t1.inner", HOUR, HOUR)), None);
            }
            let store = |start: &FetchStart| {
                let (outcome, requester) = (Ok(token("t1.outer", HOUR, HOUR)), Requester::default());
                let stored = entry().store_attempt(start, &attempt(&outcome, &requester), None, &ANY, &PLAIN, &clock());
                assert!(stored.is_ok());
                entry().load().expect("no files")
            };
            let start = entry().start_fetch(&clock()).expect("no files");
            // It does not know that there will be a record of the outer token.
            fixture.cache.entry(&fixture.identity).slot.clear(&LogoutPatience::default(), &clock()).expect("deleted");
            fixture.store(Ok(token("t1.new", HOUR, HOUR)), fixture.load().as_ref());
            assert!(store(&start).is_none(), "{has_record}");
            let start = entry().start_fetch(&clock()).expect("no files");
            assert!(store(&start).is_some(), "{has_record}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn nothing_is_stored_if_a_link_led_to_another_key_when_the_fetch_read_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let key = directory.path().join("key");
        let link_to = |name: &str| {
            let target = directory.path().join(name);
            store::write_config(&target, name.as_bytes(), true).expect("written");
            let _ = store::remove(&key);
            std::os::unix::fs::symlink(&target, &key).expect("a link");
        };
        link_to("b");
        link_to("a");
        let cache = Cache::new(Ok(directory.path().join("cache")));
        let identity = Identity::of("test").with_file("key-file", &key);
        let entry = cache.entry(&identity);
        entry.slot.prepare().expect("prepared");
        let (outcome, requester) = (Ok(token("t1.new", HOUR, HOUR)), Requester::default());
        for other in ["b", "a"] {
            let start = entry.start_fetch(&clock()).expect("the key");
            let target = |name: &str| {
                store::remove(&key).expect("removed");
                std::os::unix::fs::symlink(directory.path().join(name), &key).expect("a link");
            };
            target(other);
            crate::disk::files::read(&key).expect("readable");
            target("a");
            let _ = entry.store_attempt(&start, &attempt(&outcome, &requester), None, &ANY, &PLAIN, &clock());
            assert_eq!(entry.load().expect("the key").is_some(), other == "a", "{other}");
        }
    }

    #[test]
    fn a_swept_logout_still_keeps_a_fetch_from_storing() {
        for has_later_record in [false, true] {
            let fixture = fixture();
            let entry = fixture.cache.entry(&fixture.identity);
            let start = entry.start_fetch(&clock()).expect("no files");
            let now = system::clock::clock().now();
            entry.slot.clear(&LogoutPatience::default(), &FixedClock::at(now)).expect("deleted");
            if has_later_record {
                let empty = fixture.load().expect("a record");
                let later = Record { settings: entry.settings.clone(), logged_out: false, ..empty };
                entry.slot.replace(&serde_json::to_vec(&later).expect("JSON")).expect("written");
            }
            let path = entry.slot.path(store::RECORD).expect("a path");
            assert!(path.exists());
            sweep_directory(entry.slot.directory().expect("a cache"), &FixedClock::at(now.shifted(3 * HOUR)));
            assert!(!path.exists(), "swept");
            let (outcome, requester) = (Ok(token("t1.late", HOUR, HOUR)), Requester::default());
            let stored = entry.store_attempt(&start, &attempt(&outcome, &requester), None, &ANY, &PLAIN, &clock());
            assert!(stored.is_ok() && fixture.load().is_none(), "{has_later_record}");
        }
    }

    #[test]
    fn a_process_that_is_stopped_while_it_stores_a_token_does_not_keep_a_relief_leader_waiting() {
        let fixture = fixture();
        let (slot, group) = (fixture.cache.entry(&fixture.identity).slot, SharingGroup::of_digest("3f1c").lock_name());
        let _guard = turn::try_turn(slot.directory().expect("a cache"));
        let clock = clock();
        let successor = |has_waited_long, in_all| {
            let turn = TurnPatience { in_all, ..TurnPatience::SHORT };
            let (patience, until) = (Duration::from_secs(2), NOW.shifted(HOUR));
            let successor = Successor { patience, has_waited_long, until, turn, likeness: 1 };
            slot.try_relief(&group, &successor, &clock)
        };
        // It has too little time to see that the other process is stopped.
        assert!(matches!(successor(false, Duration::ZERO), Lock::Busy));
        assert!(matches!(successor(true, Duration::ZERO), Lock::Held(_)));
        let began = clock.elapsed();
        assert!(matches!(successor(false, TurnPatience::SHORT.in_all), Lock::Held(_)));
        assert!(clock.elapsed() - began < TurnPatience::SHORT.in_all);
    }

    #[test]
    fn a_relief_leader_that_is_not_like_a_process_or_does_not_say_so_is_not_its_own() {
        let fixture = fixture();
        let (slot, group) = (fixture.cache.entry(&fixture.identity).slot, SharingGroup::default().lock_name());
        let successor = |likeness, has_waited_long| {
            let (patience, until) = (Duration::from_secs(2), NOW.shifted(HOUR));
            Successor { patience, has_waited_long, until, turn: TurnPatience::SHORT, likeness }
        };
        let is_unlike =
            |likeness, has_waited_long| slot.has_unlike_relief(&group, &successor(likeness, has_waited_long));
        assert!(!is_unlike(1, true), "there is no relief leader");
        let Lock::Held(first) = slot.try_relief(&group, &successor(1, false), &clock()) else { panic!("nobody else") };
        assert_eq!([is_unlike(1, false), is_unlike(1, true), is_unlike(2, false)], [false, false, true]);
        first.write_holder(NOW, NOW.shifted(HOUR));
        assert_eq!([is_unlike(2, false), is_unlike(2, true)], [false, true], "an older ycred");
    }

    #[test]
    fn a_silent_relief_leader_is_succeeded_by_one_process_at_a_time() {
        let fixture = fixture();
        let (slot, group) = (fixture.cache.entry(&fixture.identity).slot, SharingGroup::of_digest("3f1c").lock_name());
        let patience = Duration::from_secs(2);
        let until = NOW.shifted(HOUR);
        let try_at = |seconds: i64, has_waited_long| {
            let successor = Successor { patience, has_waited_long, until, turn: TurnPatience::SHORT, likeness: 1 };
            slot.try_relief(&group, &successor, &FixedClock::at(NOW.shifted(seconds * SECOND)))
        };
        let Lock::Held(first) = try_at(0, false) else { panic!("nobody else") };
        assert!(matches!(try_at(1, false), Lock::Busy) && matches!(try_at(1, true), Lock::Busy));
        let Lock::Held(second) = try_at(2, false) else { panic!("the first one is silent") };
        assert!(matches!(try_at(2, false), Lock::Busy) && matches!(try_at(3, true), Lock::Busy));
        drop(second);
        assert!(matches!(try_at(3, false), Lock::Busy), "its failure does not count, but the first one may answer yet");
        let Lock::Held(_third) = try_at(4, false) else { panic!("both are silent") };
        // The clock was set back.
        let Lock::Held(_fourth) = try_at(-100, false) else { panic!("both are silent") };
        first.erase_holder();
        assert!(matches!(try_at(5, false), Lock::Busy), "an older ycred does not say when it began");
        let Lock::Held(_fifth) = try_at(5, true) else { panic!("it is silent") };
        drop(first);
        let Lock::Held(_sixth) = try_at(8, false) else { panic!("nobody has the lock") };
    }

    #[test]
    fn failures_of_other_groups_are_kept_side_by_side() {
        let fixture = fixture();
        let of = |group: &str| Requester { group: SharingGroup::of_digest(group), ..patient() };
        let reason = |group: &str| match fixture.load().expect("a record").decide(&ANY, &PLAIN, NOW, &|| of(group)) {
            Decision::Refuse(error) => Some(error.reason()),
            _ => None,
        };
        // Two leaders that began at the same time: neither has read the result of the other one.
        fixture.store_of(&of("a"), Err(Error::unavailable("proxy a is down")), None);
        fixture.store_of(&of("b"), Err(Error::profile("certificate of b").caused_elsewhere()), None);
        assert_eq!(reason("a").as_deref(), Some("proxy a is down (remembered, 0s ago)"));
        assert_eq!(reason("b").as_deref(), Some("certificate of b (remembered, 0s ago)"));
        assert_eq!(reason("c"), None);
        // The newest failure of a group replaces its older one, and many groups do not fill the record.
        let mut last = fixture.load();
        let mut fail = |text: &str, count: usize| {
            for number in 0..count {
                let error = Error::profile(text.repeat(400)).hint(text.repeat(200)).caused_elsewhere();
                last = Some(fixture.store_of(&of(&format!("{number}")), Err(error), last.as_ref()));
            }
            last =
                Some(fixture.store_of(&of(&format!("{}", count - 1)), Err(Error::unavailable("again")), last.as_ref()));
        };
        fail("x", 24);
        assert_eq!(reason("23").as_deref(), Some("again (remembered, 0s ago)"));
        assert!((0..24).all(|number| reason(&number.to_string()).is_some()));
        fail("\u{44f}", 100);
        assert_eq!(reason("99").as_deref(), Some("again (remembered, 0s ago)"));
        assert!(reason("95").is_some() && reason("50").is_none() && reason("a").is_none());
        let last = fixture.load();
        // A token clears all of them.
        fixture.store_of(&of("a"), Ok(token("t1.new", HOUR, HOUR)), last.as_ref());
        assert!(fixture.load().expect("a record").failures().next().is_none());
    }

    fn patient() -> Requester {
        Requester { fetch_limit: Duration::from_secs(15), ..Requester::default() }
    }

    #[test]
    fn nothing_is_stored_if_a_key_was_replaced_during_the_fetch_even_if_it_was_put_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let key = directory.path().join("key");
        let write = |content: &str| store::write_config(&key, content.as_bytes(), true).expect("written");
        write("A");
        let cache = Cache::new(Ok(directory.path().join("cache")));
        let identity = Identity::of("test").with_file("key-file", &key);
        let entry = cache.entry(&identity);
        entry.slot.prepare().expect("prepared");
        let (outcome, requester) = (Ok(token("t1.of-b", HOUR, HOUR)), Requester::default());
        let before = entry.start_fetch(&clock()).expect("the key");
        write("B");
        write("A");
        let stored = entry.store_attempt(&before, &attempt(&outcome, &requester), None, &ANY, &PLAIN, &clock());
        assert_eq!(
            secret_of(&stored.map_err(|_| ()).expect("no disk error")).as_deref(),
            Some("t1.of-b"),
            "for this call"
        );
        assert!(entry.load().expect("the key").is_none(), "the token of B is not kept for A");
        let before = entry.start_fetch(&clock()).expect("the key");
        let _ = entry.store_attempt(&before, &attempt(&outcome, &requester), None, &ANY, &PLAIN, &clock());
        assert!(entry.load().expect("the key").is_some());
    }

    #[test]
    fn idle_identities_are_deleted_until_the_deadline_and_busy_ones_are_returned() {
        let fixture = fixture();
        for name in ["a", "b", "c"] {
            let identity = Identity::of(name);
            let (entry, outcome) = (fixture.cache.entry(&identity), Ok(token("t1.x", HOUR, HOUR)));
            drop(entry.slot.try_lock(&SharingGroup::default().lock_name()));
            let (files, requester) = (entry.start_fetch(&clock()).expect("no files"), Requester::default());
            let _ = entry.store_attempt(&files, &attempt(&outcome, &requester), None, &ANY, &PLAIN, &clock());
        }
        let (clock, names) = (clock(), || store::names(&fixture._directory.path().join("cache/v1")).expect("readable"));
        let over = Deadline::after(&clock, Duration::ZERO);
        let deleted = fixture.cache.delete_idle(&over, &LogoutPatience::default(), &clock).expect("readable");
        assert_eq!((deleted.tokens, deleted.busy.len(), deleted.left), (0, 0, 3));
        assert_eq!(
            names().len(),
            9,
            "three records, three locks, the tag, the mark of this logout and the directory of turns"
        );
        let busy = Identity::of("b");
        let guard = fixture.cache.entry(&busy).slot.try_lock(&SharingGroup::default().lock_name());
        let deadline = Deadline::after(&clock, Duration::from_secs(1));
        let deleted = fixture.cache.delete_idle(&deadline, &LogoutPatience::default(), &clock).expect("readable");
        assert_eq!((deleted.tokens, deleted.busy.len(), deleted.left), (2, 1, 0));
        assert_eq!(names().len(), 5);
        drop((guard, deleted));
    }

    #[test]
    fn with_a_hundred_thousand_identities_a_day_few_files_are_left_at_any_time() {
        const A_DAY: usize = 100_000;
        const AN_HOUR: usize = A_DAY / 24;
        // The time between two sweeps in a large directory. Each step adds the identities of that time.
        const STEP: i64 = 30 * SECOND;
        let fixture = fixture();
        let directory = fixture._directory.path().join("cache/v1");
        // The files get the times of the simulated clock.
        let time_of = |now: Timestamp| std::time::UNIX_EPOCH + Duration::from_millis(now.0.unsigned_abs());
        let create = |name: &str, content: &[u8], now: Timestamp| {
            let mut file = system::files::create_private(&directory.join(name)).expect("a new file");
            file.write_all(content).expect("written");
            file.set_modified(time_of(now)).expect("its time");
        };
        // A tenth of the identities have five files: several sharing groups use them, one of which had a relief leader.
        let groups = ["3f1c0d5e9a7b2468", "9b2d"].map(|group| SharingGroup::of_digest(group).lock_name());
        let further = [(0, ""), (1, ""), (0, ".relief")].map(|(group, role)| lock_extension(&groups[group], role));
        let (mut most, mut number, mut last_sweep) = (0, 0, std::time::UNIX_EPOCH);
        // A token is valid for an hour, so as many identities die as are added: the fourth hour is like the last one of a day.
        for now in (0..4 * HOUR / STEP).map(|step| NOW.shifted(step * STEP)) {
            let stored = StoredToken::new(&token("t1.x", now.since(NOW) + HOUR, HOUR), now);
            let content = serde_json::to_vec(&Record { began: now, ended: now, ..record(Some(stored)) }).expect("JSON");
            while number < AN_HOUR * usize::try_from(now.since(NOW)).expect("later") / HOUR as usize {
                let name = Identity::of(&number.to_string()).name();
                create(&format!("{name}{}", store::RECORD), &content, now);
                create(&format!("{name}{}", store::LOCK), b"", now);
                if number % 10 == 0 {
                    further.iter().for_each(|extension| create(&format!("{name}{extension}"), b"", now));
                }
                number += 1;
            }
            // Each sweep lists and examines a part only, as on a slow machine.
            sweep_directory(&directory, &SlowClock(FixedClock::at(now)));
            let tag = directory.join(sweep::CACHE_TAG);
            if std::fs::metadata(&tag).and_then(|tag| tag.modified()).expect("a tag") != last_sweep {
                // A sweep has written it, with the real time.
                let Ok(FileState::Content(content)) = store::read(&tag) else { panic!("no tag") };
                store::remove(&tag).expect("removed");
                create(sweep::CACHE_TAG, &content, now);
                last_sweep = time_of(now);
                if number % 8 == 0 {
                    most = most.max(store::names(&directory).expect("readable").len());
                }
            }
        }
        // Those of the last hour are in use or have a valid token.
        let allowed = 3 * AN_HOUR + 1000;
        assert!((2 * AN_HOUR..allowed).contains(&most), "{most} files, {allowed} are allowed");
    }

    /// A clock that takes a twentieth of a millisecond for each look at it.
    struct SlowClock(FixedClock);

    impl Clock for SlowClock {
        fn now(&self) -> Timestamp {
            self.0.now()
        }
        fn elapsed(&self) -> Duration {
            self.0.advance(Duration::from_micros(50));
            self.0.elapsed()
        }
        fn sleep(&self, length: Duration) {
            self.0.sleep(length);
        }
    }

    #[test]
    fn each_group_of_processes_has_a_lock_of_its_own_and_an_entry_knows_all_of_them() {
        let fixture = fixture();
        let entry = fixture.cache.entry(&fixture.identity);
        let (other, group) = (Identity::of("other"), SharingGroup::of_digest("3f1c").lock_name());
        let held = [
            entry.slot.try_lock(&SharingGroup::default().lock_name()),
            entry.slot.try_lock(&group),
            entry.slot.try_relief(
                &group,
                &Successor {
                    patience: Duration::ZERO,
                    has_waited_long: false,
                    until: NOW,
                    turn: TurnPatience::SHORT,
                    likeness: 1,
                },
                &clock(),
            ),
        ];
        assert!(held.iter().all(|lock| matches!(lock, Lock::Held(_))));
        assert!(matches!(entry.slot.try_lock(&group), Lock::Busy));
        drop(fixture.cache.entry(&other).slot.try_lock(&SharingGroup::default().lock_name()));
        let names = || store::names(&fixture._directory.path().join("cache/v1")).expect("readable");
        let before = names();
        let further = ["missing.lock".to_owned()];
        assert!(
            entry.slot.try_locks(&further).expect("readable").iter().all(|lock| matches!(lock, Lock::Impossible(_)))
        );
        assert_eq!(names(), before, "a removed lock is not created again");
        let all = entry.slot.try_all_locks().expect("readable");
        assert_eq!(all.iter().filter(|lock| matches!(lock, Lock::Busy)).count(), 3);
        assert_eq!(all.len(), 3, "none of the other identity");
    }

    #[test]
    fn only_the_stored_token_is_rejected() {
        let fixture = fixture();
        fixture.store(Ok(token("t1.new", HOUR, HOUR)), None);
        let (entry, group) = (fixture.cache.entry(&fixture.identity), SharingGroup::default());
        assert!(!entry.reject(&Secret::new("t1.other".into()), &group, &clock()).expect("read"));
        assert!(entry.reject(&Secret::new("t1.new".into()), &group, &clock()).expect("written"));
        assert_eq!(default_decision(&fixture.load().expect("a record")), "fetch");
        assert!(!entry.reject(&Secret::new("t1.new".into()), &group, &clock()).expect("read"), "already deleted");
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
        let requester = Requester::default();
        let attempt = attempt(&outcome, &requester);
        entry
            .store_attempt(&entry.start_fetch(&clock()).expect("the key"), &attempt, None, &ANY, &PLAIN, &clock())
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
