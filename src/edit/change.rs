//! Makes an edit: takes the locks, reads the file, plans, writes the journal, then the file.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::clock::{Clock, Deadline};
use crate::base::error::{Error, Result, describe};
use crate::disk::places::Places;
use crate::disk::store::{self, Lock};
use crate::edit::journal::{Exact, Journal, JournalEntry, Step, Stored, What, follow};
use crate::edit::lock::{self, OwnersLock};
use crate::edit::splice::{self, EditRefusal, Format};
use crate::edit::target::{self, TargetFile, Written};
use crate::edit::tree::{TreeChange, TreeNode};
use crate::edit::undo::{Undone, difference, take_out, undo};
use crate::system;

/// Makes edits, or only plans them.
pub struct Editor {
    /// The directory of the journal.
    directory: PathBuf,
    clock: &'static dyn Clock,
    pub is_dry_run: bool,
    pretended: RefCell<Pretended>,
}

/// What a dry run would have written so far. Without it, the changes that follow in the same file would be planned, and
/// reported, otherwise than in the real run.
#[derive(Default)]
struct Pretended {
    /// The content of each file, by its path without links. `None` if the file would be gone.
    files: BTreeMap<PathBuf, Option<String>>,
    journal: Option<Journal>,
    /// The links that would be gone.
    links: BTreeSet<PathBuf>,
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
        Ok(Self { directory: state.join("setup"), clock, is_dry_run, pretended: RefCell::default() })
    }

    /// Reads the journal.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn journal(&self) -> Result<Journal> {
        match &self.pretended.borrow().journal {
            Some(journal) => Ok(journal.clone()),
            None => Journal::read(&self.directory),
        }
    }

    /// Returns true if a dry run would have removed a word from a file, or the whole file.
    pub fn would_remove(&self, word: &str, file: &Path) -> bool {
        let real = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        let pretended = self.pretended.borrow();
        pretended.files.get(&real).is_some_and(|text| !text.as_ref().is_some_and(|text| text.contains(word)))
    }

    /// Returns true if a dry run would have removed a link.
    pub fn would_have_removed_link(&self, link: &Path) -> bool {
        self.pretended.borrow().links.contains(link)
    }

    /// Remembers what a dry run would have written.
    fn pretend(&self, real: PathBuf, plan: EditPlan, mut journal: Journal) {
        plan.put.into_iter().for_each(|entry| journal.note(entry));
        plan.remove.iter().for_each(|entry| journal.forget(entry));
        let mut pretended = self.pretended.borrow_mut();
        pretended.files.insert(real, plan.after);
        pretended.journal = Some(journal);
    }

    /// Returns a private directory for working copies, and creates it.
    ///
    /// # Errors
    /// Profile (3): it cannot be created.
    pub fn directory(&self) -> Result<&Path> {
        store::make_private(&self.directory).map_err(|error| {
            Error::profile(format!("{}: {}", self.directory.display(), describe(&error))).hint("set YCRED_STATE_DIR")
        })?;
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
        if self.is_dry_run {
            self.pretend(target.real.clone(), first, journal);
            return Ok((target.real, changes));
        }
        if !is_change(&target, &first) {
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
        let Ok(real) = std::fs::canonicalize(path) else { return Ok(()) };
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

    /// Reads a file, but not while its owner is changing it.
    ///
    /// # Errors
    /// As [`TargetFile::read`].
    pub fn read(&self, path: &Path, owner: OwnerLock) -> Result<TargetFile> {
        self.restore_torn(path)?;
        let lock = match owner {
            OwnerLock::None => None,
            OwnerLock::BesideSpelled(_) => Some(path.to_owned()),
            OwnerLock::BesideReal(_) => Some(std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())),
        };
        // The read below would wait for it.
        self.remove_abandoned_lock();
        let deadline = Deadline::after(self.clock, lock::PATIENCE);
        let mut target = TargetFile::read_settled(path, lock.map(lock_of).as_deref(), &deadline, self.clock)?;
        if let Some(text) = self.pretended.borrow().files.get(&target.real) {
            target.text.clone_from(text);
        }
        Ok(target)
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
            Err(_) => None,
            Ok(_) if system::programs::is_same(path, &wanted) => {
                self.share_link(client, path)?;
                return Ok(false);
            }
            Ok(metadata) if metadata.is_symlink() => {
                let former = std::fs::read_link(path).map_err(|error| cannot(describe(&error)))?;
                let is_ycred = former.file_name().is_some_and(|name| name == "ycred");
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
        if self.is_dry_run {
            return Ok(true);
        }
        let _lock = self.lock()?;
        let mut journal = self.journal()?;
        let what = What::Link { target: target.to_owned(), before };
        let directories = target::missing_directories(path);
        let entry = JournalEntry { created: true, directories, ..JournalEntry::new(client, path, "link", what) };
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
        if self.is_dry_run || entries.any(|entry| entry.client == client) {
            return Ok(());
        }
        let entry = JournalEntry { client: client.to_owned(), ..known.clone() };
        let _lock = self.lock()?;
        self.journal()?.put(&[entry])
    }

    /// Removes a link that the journal names, or restores the one that was there before. Returns false if the link does
    /// not lead where ycred made it lead, or if another client needs it.
    ///
    /// # Errors
    /// Profile (3): the link cannot be removed.
    pub fn unlink(&self, entry: &JournalEntry) -> Result<bool> {
        let What::Link { target, before } = &entry.what else { return Ok(false) };
        let is_ours = |journal: &Journal| {
            let is_shared =
                journal.entries().iter().any(|other| is_link(other, &entry.file) && other.client != entry.client);
            !is_shared && system::files::leads_to(&entry.file, target)
        };
        if self.is_dry_run {
            let mut journal = self.journal()?;
            let is_ours = is_ours(&journal);
            journal.forget(entry);
            let mut pretended = self.pretended.borrow_mut();
            pretended.journal = Some(journal);
            if is_ours {
                pretended.links.insert(entry.file.clone());
            }
            return Ok(is_ours);
        }
        let _lock = self.lock()?;
        let mut journal = self.journal()?;
        let is_ours = is_ours(&journal);
        target::remove_old_temporaries(&entry.file, self.clock.now());
        if is_ours {
            target::restore_link(&entry.file, before.as_deref()).map_err(|error| {
                Error::profile(format!("{}: cannot remove the link: {}", entry.file.display(), describe(&error)))
            })?;
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
        if self.is_dry_run {
            self.pretended.borrow_mut().links.insert(path.to_owned());
            return Ok(());
        }
        let _lock = self.lock()?;
        target::restore_link(path, None).map_err(|error| {
            Error::profile(format!("{}: cannot remove the link: {}", path.display(), describe(&error)))
        })
    }

    fn owners_lock(&self, target: &TargetFile, owner: OwnerLock) -> Result<Option<OwnersLock>> {
        let (path, name) = match owner {
            OwnerLock::None => return Ok(None),
            OwnerLock::BesideSpelled(name) => (&target.spelled, name),
            OwnerLock::BesideReal(name) => (&target.real, name),
        };
        // Without the directory there is nothing to lock. It is created with the file.
        if !path.parent().is_some_and(Path::exists) {
            return Ok(None);
        }
        lock::acquire(&lock_of(path.clone()), name, &self.directory, self.clock)
    }
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

/// A place in a file, and its entry in the journal.
pub struct Place<'a> {
    pub client: &'a str,
    pub file: &'a Path,
    pub label: String,
    pub format: Format,
    pub path: Vec<Step>,
}

/// The result of planning a value.
pub struct PlannedValue {
    pub text: Option<String>,
    /// `None` if the value is there already.
    pub entry: Option<JournalEntry>,
    /// Entries of other changes of this file that must be written again.
    pub others: Vec<JournalEntry>,
}

/// What docker reads from a file without content.
pub const EMPTY_OBJECT: &str = "{}\n";

/// Makes the change of an entry once more, in another text.
///
/// # Errors
/// As [`Place::set`]; or only the client can make it.
pub fn redo(entry: &JournalEntry, text: Option<&str>) -> Result<(String, JournalEntry), EditRefusal> {
    let What::Value { format, path, ours, .. } = &entry.what else { return Err(EditRefusal::Unproven) };
    let value = ours.first().and_then(|ours| ours.node(*format)).ok_or(EditRefusal::Unproven)?;
    let (label, path) = (entry.label.clone(), path.clone());
    Place { client: &entry.client, file: &entry.file, label, format: *format, path }.write(text, &value)
}

impl Place<'_> {
    fn key(&self) -> JournalEntry {
        let what =
            What::Value { format: self.format, path: self.path.clone(), before: None, ours: Vec::new(), containers: 0 };
        JournalEntry::new(self.client, self.file, self.label.clone(), what)
    }

    /// Plans to set the value of this place. A value that ycred wrote before is undone first, so that the journal keeps
    /// what stood there in the beginning. Without a text, there is no file yet.
    ///
    /// # Errors
    /// The file cannot be parsed, or the change cannot be proven.
    pub fn set(&self, text: Option<&str>, value: &TreeNode, journal: &Journal) -> Result<PlannedValue, EditRefusal> {
        let read = self.readable(text.unwrap_or_default());
        let current = self.format.parse(read).map_err(EditRefusal::Syntax)?;
        let (pointer, steps) = follow(&current, &self.path);
        let there = current.at(&pointer).filter(|_| steps == self.path.len());
        if there.is_some_and(|node| node.has_meaning_of(value)) {
            return Ok(PlannedValue { text: text.map(str::to_owned), entry: None, others: Vec::new() });
        }
        let original = self.without_ours(text, journal)?;
        let (new, mut entry) = self.write(original.text.as_deref(), value)?;
        if let Some(former) = original.entry {
            entry.inherit_file(&former);
            if let (What::Value { ours, .. }, What::Value { ours: old, .. }) = (&mut entry.what, former.what) {
                ours.extend(old.into_iter().take(1));
            }
        }
        Ok(PlannedValue { text: Some(new), entry: Some(entry), others: original.others })
    }

    /// Returns the text without ycred's own value, the entry about it, if there is one, and the other entries that have
    /// changed with it.
    fn without_ours(&self, text: Option<&str>, journal: &Journal) -> Result<PlannedValue, EditRefusal> {
        let unchanged = || PlannedValue { text: text.map(str::to_owned), entry: None, others: Vec::new() };
        let (Some(entry), Some(text)) = (journal.find(&self.key()), text) else { return Ok(unchanged()) };
        let taken = take_out(entry, text, journal, |entry, text| undo(entry, text, false), redo)?;
        Ok(match taken.undone {
            Undone::Restored(text) => PlannedValue { text, entry: Some(entry.clone()), others: taken.others },
            // A setup after somebody else's change begins anew.
            Undone::Absent | Undone::Changed => unchanged(),
        })
    }

    /// Writes a value, and describes the change.
    fn write(&self, text: Option<&str>, value: &TreeNode) -> Result<(String, JournalEntry), EditRefusal> {
        let original = text.unwrap_or_default();
        let read = self.readable(original);
        let root = self.format.parse(read).map_err(EditRefusal::Syntax)?;
        let (pointer, steps) = follow(&root, &self.path);
        let before = root.at(&pointer).filter(|_| steps == self.path.len());
        let (change, containers) = match before {
            Some(_) => (TreeChange::Replace(pointer, value.clone()), 0),
            None => self.insertion(pointer, steps, value)?,
        };
        let before = before.map(|node| Stored::of(read, node));
        let (new, splice) = splice::apply(self.format, read, &change)?;
        let written = self.format.parse(&new).map_err(EditRefusal::Syntax)?;
        let (pointer, _) = follow(&written, &self.path);
        let ours = vec![Stored::of(&new, written.at(&pointer).ok_or(EditRefusal::Unproven)?)];
        let what = What::Value { format: self.format, path: self.path.clone(), before, ours, containers };
        // The splice must restore the bytes of the file. They differ from the edited text if an empty JSON file was read as {}.
        let splice = if read == original { splice } else { difference(original, &new) };
        let exact = Some(Exact::of(splice, &new));
        let entry = JournalEntry::new(self.client, self.file, self.label.clone(), what);
        Ok((new, JournalEntry { created: text.is_none(), exact, ..entry }))
    }

    /// Returns what a text stands for: a JSON file without content is an empty object.
    fn readable<'b>(&self, text: &'b str) -> &'b str {
        if self.format == Format::Json && text.trim().is_empty() { EMPTY_OBJECT } else { text }
    }

    /// Returns the change that creates the missing end of the path.
    fn insertion(
        &self,
        pointer: Vec<usize>,
        steps: usize,
        value: &TreeNode,
    ) -> Result<(TreeChange, usize), EditRefusal> {
        let mut missing = self.path[steps..].iter().map(|step| match step {
            Step::Key(key) => Ok(key.clone()),
            Step::Item { .. } => Err(EditRefusal::Unsupported("the list has no such item")),
        });
        let first = missing.next().ok_or(EditRefusal::Unproven)??;
        let inner = missing.collect::<Result<Vec<_>, _>>()?;
        let value = inner.iter().rev().fold(value.clone(), |value, key| TreeNode::map([(key, value)]));
        Ok((TreeChange::Insert(pointer, first, value), inner.len()))
    }
}
