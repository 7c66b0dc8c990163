//! What a dry run would have written so far. Without it, the changes that follow would be planned, and reported, otherwise
//! than in the real run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::edit::journal::{Journal, JournalEntry};
use crate::edit::target::TargetFile;
use crate::system;

/// The files, links and entries of the journal as they would be.
#[derive(Default)]
pub struct DryRun {
    /// The content of each file, by its path without links. `None` if the file would be gone.
    files: BTreeMap<PathBuf, Option<String>>,
    /// Where each link would lead, as it is written in the link. `None` if the link would be gone.
    links: BTreeMap<PathBuf, Option<PathBuf>>,
    journal: Option<Journal>,
}

impl DryRun {
    /// Returns the journal, if it would differ from the one on disk.
    pub fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref()
    }

    /// Returns true if nothing would have been written so far.
    pub fn is_empty(&self) -> bool {
        self.journal.is_none() && self.files.is_empty() && self.links.is_empty()
    }

    pub fn set_journal(&mut self, journal: Journal) {
        self.journal = Some(journal);
    }

    /// Notes an edit.
    pub fn edit(&mut self, real: PathBuf, after: Option<String>) {
        self.files.insert(real, after);
    }

    /// Returns the content that a file would have. The outer `None` means that it would be as it is.
    pub fn text(&self, path: &Path) -> Option<&Option<String>> {
        let real = system::files::real_path(path).unwrap_or_else(|_| path.to_owned());
        self.files.get(&real)
    }

    /// Gives a file that was read the content that it would have.
    pub fn apply(&self, target: &mut TargetFile) {
        if let Some(text) = self.files.get(&target.real) {
            target.text.clone_from(text);
        }
    }

    /// Notes that a link would be created, replaced or removed.
    pub fn link(&mut self, path: &Path, target: Option<&Path>) {
        self.links.insert(path.to_owned(), target.map(Path::to_owned));
    }

    /// Returns true if a link would lead to a target.
    pub fn leads_to(&self, link: &Path, target: &Path) -> bool {
        match self.links.get(link) {
            Some(found) => found.as_deref() == Some(target),
            None => system::files::leads_to(link, target),
        }
    }

    /// Returns true if an earlier change of this run would have created a link.
    pub fn has_created(&self, link: &Path) -> bool {
        self.links.get(link).is_some_and(Option::is_some)
    }

    /// Notes what an edit would write to the journal.
    pub fn note(&mut self, mut journal: Journal, put: Vec<JournalEntry>, remove: &[JournalEntry]) {
        put.into_iter().for_each(|entry| journal.note(entry));
        remove.iter().for_each(|entry| journal.forget(entry));
        self.journal = Some(journal);
    }
}
