//! Makes an edit: takes the locks, reads the file, plans, writes the journal, then the file.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::clock::{Clock, Deadline};
use crate::base::error::{Error, Result, describe};
use crate::disk::permission;
use crate::disk::places::Places;
use crate::disk::store::{self, Lock};
use crate::edit::dry_run::DryRun;
use crate::edit::installed::is_installed;
use crate::edit::journal::{Journal, JournalEntry, What};
use crate::edit::lock::{self, OwnersLock, Patience};
use crate::edit::target::{self, TargetFile, Written};
use crate::system;

/// Makes edits, or only plans them.
pub struct Editor {
    /// The directory of the journal.
    directory: PathBuf,
    clock: &'static dyn Clock,
    patience: Patience,
    pub is_dry_run: bool,
    dry_run: RefCell<DryRun>,
    /// The links that this run has removed or restored, or would have.
    undone_links: RefCell<BTreeSet<PathBuf>>,
}

/// The lock that the owner program uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerLock {
    None,
    /// `FILE.lock` beside the path as it is spelled, which may be a link (kubectl).
    BesideSpelled(&'static str),
    /// `FILE.lock` beside the file without links (git).
    BesideReal(&'static str),
}

/// A plan for one file.
pub struct EditPlan {
    /// The new content. `None` removes the file.
    pub after: Option<String>,
    /// Entries to write to the journal before the file is written.
    pub put: Vec<JournalEntry>,
    /// Entries to remove from the journal after the file is written.
    pub remove: Vec<JournalEntry>,
}

/// How long to wait for another ycred that edits files.
const PATIENCE: Duration = Duration::from_secs(10);
/// ycred's own lock for edits.
const LOCK: &str = "edit.lock";
/// How often an edit is planned again because another program has changed the file.
const ATTEMPTS: usize = 3;

impl Editor {
    /// Creates an editor.
    ///
    /// # Errors
    /// Usage (2): this process runs as root with another user's home directory. Profile (3): there is no directory for the
    /// journal.
    pub fn new(places: &Places, clock: &'static dyn Clock, is_dry_run: bool) -> Result<Self> {
        if let Some(home) = &places.home
            && system::process::effective_uid() == 0
            && std::fs::metadata(home).is_ok_and(|metadata| !system::files::is_own(&metadata))
        {
            return Err(Error::usage(format!(
                "running as root, but the home directory {} belongs to another user",
                home.display()
            ))
            .hint("run the same command without sudo, so that the files keep their owner"));
        }
        let state = places.state.as_ref().map_err(|why| {
            Error::profile(format!("no directory for the journal of setup: {why}")).hint("set YCRED_STATE_DIR")
        })?;
        Ok(Self {
            directory: state.join("setup"),
            clock,
            patience: Patience::default(),
            is_dry_run,
            dry_run: RefCell::default(),
            undone_links: RefCell::default(),
        })
    }

    /// Reads the journal.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn journal(&self) -> Result<Journal> {
        match self.dry_run.borrow().journal() {
            Some(journal) => Ok(journal.clone()),
            None => Journal::read(&self.directory),
        }
    }

    /// Returns the content of a file, or the one that it would have. Returns `None` if there is no file that can be read.
    pub fn text(&self, path: &Path) -> Option<String> {
        match self.dry_run.borrow().text(path) {
            Some(text) => text.clone(),
            None => TargetFile::read(path).ok().and_then(|target| target.text),
        }
    }

    /// Returns true if a file contains a word, or would contain it. A file that cannot be read, or that is away, may contain it.
    pub fn may_contain(&self, file: &Path, word: &str) -> bool {
        if let Some(text) = self.dry_run.borrow().text(file) {
            return text.as_ref().is_some_and(|text| text.contains(word));
        }
        match std::fs::read(file) {
            Ok(content) => String::from_utf8_lossy(&content).contains(word),
            Err(_) => true,
        }
    }

    /// Returns true if this is a dry run, and the real one would write something.
    pub fn has_plans(&self) -> bool {
        self.is_dry_run && !self.dry_run.borrow().is_empty()
    }

    /// Returns true if this run has removed or restored a link, or would have.
    pub fn has_undone_link(&self, link: &Path) -> bool {
        self.undone_links.borrow().contains(link)
    }

    /// Returns a private directory for working copies, and creates it.
    ///
    /// # Errors
    /// Profile (3): it cannot be created.
    pub fn directory(&self) -> Result<&Path> {
        store::make_private(&self.directory).map_err(|error| self.unusable(&error))?;
        Ok(&self.directory)
    }

    /// Returns the private directory for working copies. A dry run does not create it.
    ///
    /// # Errors
    /// As [`Self::directory`].
    pub fn working_directory(&self) -> Result<Option<PathBuf>> {
        match self.is_dry_run {
            true => Ok(self.directory.exists().then(|| self.directory.clone())),
            false => self.directory().map(|directory| Some(directory.to_owned())),
        }
    }

    /// Edits one file. `plan` may be called more than once; the last call counts. Returns the path without links and
    /// whether the file changed.
    ///
    /// # Errors
    /// Those of `plan`. Profile (3): the file or the journal cannot be read or written. Unavailable (4): another program
    /// holds the lock or keeps changing the file.
    pub fn edit(
        &self,
        path: &Path,
        owner: OwnerLock,
        mut plan: impl FnMut(&TargetFile, &Journal) -> Result<EditPlan>,
    ) -> Result<(PathBuf, bool)> {
        let target = self.read(path, owner)?;
        let is_change = |target: &TargetFile, plan: &EditPlan| {
            target.text != plan.after || !plan.put.is_empty() || !plan.remove.is_empty()
        };
        let journal = self.journal()?;
        let first = plan(&target, &journal)?;
        let changes = target.text != first.after;
        if !is_change(&target, &first) {
            return Ok((target.real, changes));
        }
        if self.is_dry_run {
            self.check_edit(&target, owner, &first, &journal)?;
            let mut dry_run = self.dry_run.borrow_mut();
            dry_run.note(journal, first.put, &first.remove);
            dry_run.edit(target.real.clone(), first.after);
            return Ok((target.real, changes));
        }
        let _lock = self.lock()?;
        for _ in 0..ATTEMPTS {
            let target = TargetFile::read(path)?;
            target::remove_old_temporaries(&target.real, self.clock.now());
            let _owners_lock = self.owners_lock(&target, owner)?;
            // Once more: before the lock was held, the file may have changed.
            let target = TargetFile::read(path)?;
            let mut journal = self.journal()?;
            let mut plan = plan(&target, &journal)?;
            let missing = match (&target.text, &plan.after) {
                (None, Some(_)) => target::missing_directories(&target.real),
                _ => Vec::new(),
            };
            plan.put.iter_mut().for_each(|entry| entry.add_directories(&missing));
            let before: Vec<Option<JournalEntry>> = plan.put.iter().map(|entry| journal.find(entry).cloned()).collect();
            // An entry that cannot be removed must not be noticed after the file was written.
            journal.check(&[], &plan.remove)?;
            journal.put(&plan.put)?;
            let written = match (&plan.after, &target.text) {
                (after, text) if after == text => Ok(Written::Done),
                (Some(text), _) => target.write(text, &self.directory),
                (None, _) => target.remove(),
            };
            match written {
                Ok(Written::Done) => {
                    self.remove_entries(&mut journal, &plan)?;
                    return Ok((target.real, target.text != plan.after));
                }
                other => {
                    // The file is unchanged, so the journal must be, too.
                    for (entry, before) in plan.put.iter().zip(before) {
                        let _ = journal.remove(entry);
                        let _ = before.map_or(Ok(()), |before| journal.put(&[before]));
                    }
                    target::remove_empty_directories(&missing);
                    other?;
                }
            }
        }
        Err(Error::unavailable(format!("{}: another program keeps changing the file", path.display()))
            .hint("try again"))
    }

    /// Removes the entries of a plan that was carried out, and the directories of a file that is gone.
    fn remove_entries(&self, journal: &mut Journal, plan: &EditPlan) -> Result<()> {
        for entry in &plan.remove {
            let entry = journal.find(entry).unwrap_or(entry).clone();
            // Before the entry that names them, so that the next run can do it if this one is killed.
            if plan.after.is_none() {
                remove_directories(journal, &entry)?;
            }
            journal.remove(&entry)?;
        }
        Ok(())
    }

    /// Takes ycred's own lock for edits, and cleans up after a killed process.
    ///
    /// # Errors
    /// Unavailable (4): another process holds it.
    pub fn lock(&self) -> Result<Lock> {
        let path = self.directory()?.join(LOCK);
        let deadline = Deadline::after(self.clock, PATIENCE);
        match store::wait_for_lock(&deadline, self.clock, || store::try_lock(&path)) {
            Lock::Busy => Err(Error::unavailable("another ycred has been editing files for 10 seconds")
                .hint("try again when it is done")),
            lock => {
                lock::remove_abandoned(&self.directory);
                store::remove_old_temporary_files(&self.directory, self.clock.now());
                store::remove_old_working_directories(&self.directory, self.clock.now());
                Ok(lock)
            }
        }
    }

    /// Restores a file that a killed ycred has left half written. That happens only to a file that ycred overwrites in place,
    /// because it cannot replace it.
    fn restore_torn(&self, path: &Path) -> Result<()> {
        let Ok(real) = system::files::real_path(path) else { return Ok(()) };
        if self.is_dry_run || !target::has_copy(&real, &self.directory) {
            return Ok(());
        }
        let _lock = self.lock()?;
        target::restore_torn(&real, &self.directory)
    }

    /// Removes the lock file of a client that a killed ycred may have left. The client cannot work until then.
    pub fn remove_abandoned_lock(&self) {
        if lock::is_noted(&self.directory)
            && let Lock::Held(_guard) = store::try_lock(&self.directory.join(LOCK))
        {
            lock::remove_abandoned(&self.directory);
        }
    }

    /// Removes ycred's own lock file if the journal is empty, so that nothing is left of setup. A process that has opened the file
    /// before notices that.
    pub fn remove_unused_lock(&self) {
        let lock = self.directory.join(LOCK);
        if !self.is_dry_run
            && let Lock::Held(guard) = store::try_lock_existing(&lock)
            && Journal::read(&self.directory).is_ok_and(|journal| journal.is_empty())
        {
            drop(guard.removing(lock));
        }
    }

    /// Reads a file, but not while its owner is changing it.
    ///
    /// # Errors
    /// As [`TargetFile::read`].
    pub fn read(&self, path: &Path, owner: OwnerLock) -> Result<TargetFile> {
        self.restore_torn(path)?;
        let lock = match owner {
            OwnerLock::None => None,
            OwnerLock::BesideSpelled(_) => Some(path.to_owned()),
            OwnerLock::BesideReal(_) => Some(system::files::real_path(path).unwrap_or_else(|_| path.to_owned())),
        };
        // The read below would wait for it.
        self.remove_abandoned_lock();
        let lock = lock.map(lock_of);
        let read = |deadline: &Deadline| TargetFile::read_settled(path, lock.as_deref(), deadline, self.clock);
        let mut target = self.patience.spend(self.clock, read)?;
        self.dry_run.borrow().apply(&mut target);
        Ok(target)
    }

    /// Fails as the real run would before it writes.
    fn check_edit(&self, target: &TargetFile, owner: OwnerLock, plan: &EditPlan, journal: &Journal) -> Result<()> {
        self.check_directory()?;
        if let Some((path, name)) = owners_path(target, owner) {
            lock::wait(&lock_of(path.to_owned()), name, &self.patience, self.clock)?;
        }
        journal.check(&[], &plan.remove)?;
        journal.check(&plan.put, &[])?;
        target.check(plan.after.as_deref())
    }

    /// Checks that the directory of the journal exists or could be created, as [`Self::directory`] does.
    fn check_directory(&self) -> Result<()> {
        store::check_private(&self.directory).map_err(|error| self.unusable(&error))
    }

    fn unusable(&self, error: &std::io::Error) -> Error {
        Error::profile(format!("{}: {}", self.directory.display(), describe(error))).hint("set YCRED_STATE_DIR")
    }

    /// Creates a symbolic link and its directory, and notes it in the journal. Returns false if the path leads to the same
    /// file already. Replaces a link that leads nowhere, or to another ycred.
    ///
    /// Clients can share a link that one of them has created: each has an entry, and the last one removes the link.
    ///
    /// # Errors
    /// Profile (3): something else is there, or the link cannot be created.
    pub fn link(&self, client: &str, path: &Path, target: &Path) -> Result<bool> {
        let cannot = |why: String| Error::profile(format!("{}: cannot create the link: {why}", path.display()));
        let directory = path.parent().ok_or_else(|| cannot("no directory".into()))?;
        let wanted = directory.join(target);
        let before = match std::fs::symlink_metadata(path) {
            _ if self.dry_run.borrow().has_created(path) => {
                self.share_link(client, path)?;
                return Ok(false);
            }
            Err(_) => None,
            Ok(_) if system::programs::is_same(path, &wanted) => {
                self.share_link(client, path)?;
                return Ok(false);
            }
            Ok(metadata) if metadata.is_symlink() => {
                let former = std::fs::read_link(path).map_err(|error| cannot(describe(&error)))?;
                let is_ycred = system::programs::own_name(&former) == Some("ycred");
                if !is_ycred && path.exists() {
                    return Err(cannot(format!("it leads to {} already", former.display())).hint("remove it first"));
                }
                Some(former)
            }
            // On Windows, a link is a file: this may be the link that an earlier setup created to an older ycred.
            Ok(_)
                if system::files::LINKS_ARE_FILES
                    && self.journal()?.entries().iter().any(|entry| is_link(entry, path)) =>
            {
                None
            }
            Ok(_) => return Err(cannot("a file has this name".into()).hint("move it away first")),
        };
        let what = What::Link { target: target.to_owned(), before };
        let directories = target::missing_directories(path);
        let entry = JournalEntry { created: true, directories, ..JournalEntry::new(client, path, "link", what) };
        if self.is_dry_run {
            self.check_directory()?;
            let journal = self.journal()?;
            journal.check(std::slice::from_ref(&entry), &[])?;
            permission::check_creatable(directory).map_err(|error| cannot(describe(&error)))?;
            let mut dry_run = self.dry_run.borrow_mut();
            dry_run.note(journal, vec![entry], &[]);
            dry_run.link(path, Some(target));
            return Ok(true);
        }
        let _lock = self.lock()?;
        let mut journal = self.journal()?;
        journal.put(std::slice::from_ref(&entry))?;
        target::remove_old_temporaries(path, self.clock.now());
        target::put_link(path, target).map_err(|error| {
            let _ = journal.remove(&entry);
            target::remove_empty_directories(&entry.directories);
            cannot(describe(&error))
        })?;
        Ok(true)
    }

    /// Notes that one more client needs a link, if another client's entry says that ycred has created it.
    fn share_link(&self, client: &str, path: &Path) -> Result<()> {
        let journal = self.journal()?;
        let mut entries = journal.entries().iter().filter(|entry| is_link(entry, path));
        let Some(known) = entries.clone().next() else { return Ok(()) };
        let entry = JournalEntry { client: client.to_owned(), ..known.clone() };
        if entries.any(|entry| entry.client == client) {
            return Ok(());
        }
        if self.is_dry_run {
            self.check_directory()?;
            journal.check(std::slice::from_ref(&entry), &[])?;
            self.dry_run.borrow_mut().note(journal.clone(), vec![entry], &[]);
            return Ok(());
        }
        let _lock = self.lock()?;
        self.journal()?.put(&[entry])
    }

    /// Returns the other clients that need a link of an entry.
    ///
    /// # Errors
    /// As [`Self::journal`].
    pub fn sharers(&self, entry: &JournalEntry) -> Result<Vec<String>> {
        let journal = self.journal()?;
        let others = journal.entries().iter().filter(|other| is_link(other, &entry.file));
        Ok(others.filter(|other| other.client != entry.client).map(|other| other.client.clone()).collect())
    }

    /// Removes a link that the journal names, or restores the one that was there before. Returns false if the link does
    /// not lead where ycred made it lead, or if another client needs it.
    ///
    /// # Errors
    /// Profile (3): the link cannot be removed.
    pub fn unlink(&self, entry: &JournalEntry) -> Result<bool> {
        let What::Link { target, before } = &entry.what else { return Ok(false) };
        let cannot = |error: &std::io::Error| {
            Error::profile(format!("{}: cannot remove the link: {}", entry.file.display(), describe(error)))
        };
        if self.is_dry_run {
            self.check_directory()?;
            let journal = self.journal()?;
            journal.check(&[], std::slice::from_ref(entry))?;
            let is_ours = self.sharers(entry)?.is_empty()
                && self.dry_run.borrow().leads_to(&entry.file, target)
                && !is_installed(&entry.file);
            if is_ours {
                permission::check_changeable(&entry.file).map_err(|error| cannot(&error))?;
                self.dry_run.borrow_mut().link(&entry.file, before.as_deref());
                self.undone_links.borrow_mut().insert(entry.file.clone());
            }
            self.dry_run.borrow_mut().note(journal, Vec::new(), std::slice::from_ref(entry));
            return Ok(is_ours);
        }
        let _lock = self.lock()?;
        let is_ours = self.sharers(entry)?.is_empty()
            && system::files::leads_to(&entry.file, target)
            && !is_installed(&entry.file);
        let mut journal = self.journal()?;
        journal.check(&[], std::slice::from_ref(entry))?;
        target::remove_old_temporaries(&entry.file, self.clock.now());
        if is_ours {
            target::restore_link(&entry.file, before.as_deref()).map_err(|error| cannot(&error))?;
            self.undone_links.borrow_mut().insert(entry.file.clone());
        }
        let entry = journal.find(entry).unwrap_or(entry).clone();
        remove_directories(&mut journal, &entry)?;
        journal.remove(&entry)?;
        Ok(is_ours)
    }

    /// Removes a link that the journal does not name.
    ///
    /// # Errors
    /// Profile (3): the link cannot be removed.
    pub fn remove_link(&self, path: &Path) -> Result<()> {
        self.undone_links.borrow_mut().insert(path.to_owned());
        let cannot = |error: &std::io::Error| {
            Error::profile(format!("{}: cannot remove the link: {}", path.display(), describe(error)))
        };
        if self.is_dry_run {
            self.check_directory()?;
            permission::check_changeable(path).map_err(|error| cannot(&error))?;
            self.dry_run.borrow_mut().link(path, None);
            return Ok(());
        }
        let _lock = self.lock()?;
        target::restore_link(path, None).map_err(|error| cannot(&error))
    }

    fn owners_lock(&self, target: &TargetFile, owner: OwnerLock) -> Result<Option<OwnersLock>> {
        match owners_path(target, owner) {
            Some((path, name)) => {
                lock::acquire(&lock_of(path.to_owned()), name, &self.directory, &self.patience, self.clock)
            }
            None => Ok(None),
        }
    }
}

/// Returns the path beside which the owner's lock is, and the owner's name.
fn owners_path(target: &TargetFile, owner: OwnerLock) -> Option<(&Path, &'static str)> {
    let (path, name) = match owner {
        OwnerLock::None => return None,
        OwnerLock::BesideSpelled(name) => (&target.spelled, name),
        OwnerLock::BesideReal(name) => (&target.real, name),
    };
    // Without the directory there is nothing to lock. It is created with the file.
    path.parent().is_some_and(Path::exists).then_some((path.as_path(), name))
}

/// Removes the directories that ycred created for an entry, if they are empty now. The other entries with files in a
/// directory that is not empty take it over: it goes when they are undone.
fn remove_directories(journal: &mut Journal, entry: &JournalEntry) -> Result<()> {
    for directory in target::remove_empty_directories(&entry.directories) {
        let is_heir = |other: &&JournalEntry| other.file.starts_with(&directory) && !other.is_same_place(entry);
        let mut heirs: Vec<JournalEntry> = journal.entries().iter().filter(is_heir).cloned().collect();
        heirs.iter_mut().for_each(|heir| heir.add_directories(std::slice::from_ref(&directory)));
        journal.put(&heirs)?;
    }
    Ok(())
}

fn is_link(entry: &JournalEntry, path: &Path) -> bool {
    entry.file == path && matches!(entry.what, What::Link { .. })
}

/// Returns the path of a file's lock.
fn lock_of(path: PathBuf) -> PathBuf {
    let mut lock = path.into_os_string();
    lock.push(".lock");
    lock.into()
}
