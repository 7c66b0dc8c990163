//! The journal: for each place that setup has changed, what stood there first and what ycred wrote.
//!
//! It is a directory in the state directory with one private file for each entry. An entry keeps pieces of text, never a
//! copy of a file.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::base::error::{Error, Result, describe};
use crate::base::identity::{hex, value_digest};
use crate::disk::store::{self, FileState};
use crate::edit::lock;
use crate::edit::render;
use crate::edit::splice::{Format, Splice};
use crate::edit::tree::{Pointer, TreeNode};

/// The version of the entries' format.
const VERSION: u32 = 1;
/// How many earlier values of [`JournalEntry::exact`] an entry keeps.
const FORMER: usize = 4;
/// The largest entry that can be read again.
const MAX_SIZE: usize = 60 * 1024;

/// What ycred has changed in one place.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JournalEntry {
    pub version: u32,
    /// Later entries have higher numbers.
    pub sequence: u64,
    /// The name of the client, such as `kubectl`.
    pub client: String,
    /// The path of the file without links, or the path of a link that ycred created.
    pub file: PathBuf,
    /// The place in the file, for people: `user NAME`.
    pub label: String,
    pub what: What,
    /// ycred created the file.
    pub created: bool,
    /// How to restore the file if nothing else has changed in it.
    pub exact: Option<Exact>,
    /// Earlier values of `exact`. If ycred was killed before it wrote the file, one of them fits.
    #[serde(default)]
    pub former: Vec<Exact>,
    /// The directories that ycred created for the file, the innermost one first.
    #[serde(default)]
    pub directories: Vec<PathBuf>,
    /// Whose account the place had before, as a digest, if that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Whose account the place has now, as a digest, if that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_account: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// A value at a path of a file with a known format.
    Value {
        format: Format,
        path: Vec<Step>,
        before: Option<Stored>,
        /// The values that ycred wrote here, the last one first. If ycred was killed before it wrote the last one, the
        /// other is in the file.
        ours: Vec<Stored>,
        /// How many of the containers around the value did not exist before.
        containers: usize,
    },
    /// All values of a named option, such as git's `credential.….helper` or go's `GOAUTH`. The client's `undo_option` takes them
    /// out of a file that has changed since.
    Option { name: String, before: Vec<String>, ours: Vec<String> },
    /// A piece of text that ycred added, or the whole file.
    Text { ours: String },
    /// A symbolic link.
    Link { target: PathBuf, before: Option<PathBuf> },
}

/// A step from a container to a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Step {
    Key(String),
    /// The item of a list whose `name` is this.
    Item {
        name: String,
    },
}

impl Step {
    pub fn name(&self) -> &str {
        let (Self::Key(name) | Self::Item { name }) = self;
        name
    }
}

/// A value, as it stood in the file and on one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    pub raw: String,
    pub flow: String,
}

/// The inverse of the last change: in a file with this digest, `splice.after` becomes `splice.before`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exact {
    pub splice: Splice,
    pub digest: String,
}

impl Stored {
    pub fn of(text: &str, node: &TreeNode) -> Self {
        Self { raw: text[node.span.clone()].to_owned(), flow: render::flow(node) }
    }

    pub fn node(&self, format: Format) -> Option<TreeNode> {
        match format {
            Format::Ini => Some(TreeNode::text(&self.raw)),
            _ => format.parse(&self.flow).ok(),
        }
    }
}

/// Returns the digest that [`Exact`] compares.
fn digest(text: &str) -> String {
    hex(&value_digest(text.as_bytes()))
}

impl Exact {
    /// Describes a change of a whole file.
    pub fn of(splice: Splice, after: &str) -> Self {
        Self { splice, digest: digest(after) }
    }

    fn undo(&self, text: &str) -> Option<String> {
        let Splice { at, before, after } = &self.splice;
        let is_as_written = digest(text) == self.digest && text.get(*at..at + after.len()) == Some(after);
        is_as_written.then(|| format!("{}{before}{}", &text[..*at], &text[at + after.len()..]))
    }
}

/// Follows a path as far as it exists. Returns the pointer and the number of steps that exist.
///
/// If a name occurs more than once, the last one that leads further counts, as in programs that merge them.
pub fn follow(root: &TreeNode, path: &[Step]) -> (Pointer, usize) {
    let Some((step, rest)) = path.split_first() else { return (Vec::new(), 0) };
    let is_named = |item: &TreeNode, name: &str| item.member("name").and_then(TreeNode::as_scalar) == Some(name);
    let candidates: Vec<usize> = match step {
        Step::Key(key) => {
            let members = root.members().iter().enumerate().rev();
            members.filter(|(_, (name, _))| name.as_scalar() == Some(key)).map(|(at, _)| at).collect()
        }
        Step::Item { name } => {
            root.items().iter().enumerate().filter(|(_, item)| is_named(item, name)).map(|(at, _)| at).collect()
        }
    };
    let mut best = (Vec::new(), 0);
    for at in candidates {
        let (mut pointer, steps) = root.at(&[at]).map(|child| follow(child, rest)).unwrap_or_default();
        if steps + 1 > best.1 {
            pointer.insert(0, at);
            best = (pointer, steps + 1);
        }
    }
    best
}

impl JournalEntry {
    pub fn new(client: &str, file: &Path, label: impl Into<String>, what: What) -> Self {
        let (client, file) = (client.to_owned(), file.to_owned());
        Self {
            version: VERSION,
            sequence: 0,
            client,
            file,
            label: label.into(),
            what,
            created: false,
            exact: None,
            former: Vec::new(),
            directories: Vec::new(),
            account: None,
            given_account: None,
        }
    }

    /// Returns the text before the change, if the file is exactly as the change left it.
    pub fn undo_exactly(&self, text: &str) -> Option<String> {
        self.exact.iter().chain(&self.former).find_map(|exact| exact.undo(text))
    }

    /// Takes over what an earlier entry about the same place says, besides its values.
    pub fn inherit(&mut self, former: &Self) {
        self.inherit_file(former);
        self.account.clone_from(&former.account);
    }

    /// Takes over what another entry says about the file and its directories.
    pub fn inherit_file(&mut self, other: &Self) {
        self.created |= other.created;
        self.add_directories(&other.directories);
    }

    /// Notes directories that ycred created.
    pub fn add_directories(&mut self, directories: &[PathBuf]) {
        let new: Vec<PathBuf> =
            directories.iter().filter(|directory| !self.directories.contains(directory)).cloned().collect();
        self.directories.extend(new);
        self.directories.sort_by_key(|directory| std::cmp::Reverse(directory.components().count()));
    }

    /// Returns true if both entries are about the same place.
    pub fn is_same_place(&self, other: &Self) -> bool {
        self.place() == other.place()
    }

    fn place(&self) -> String {
        let place = match &self.what {
            What::Value { path, .. } => serde_json::to_string(path).unwrap_or_default(),
            What::Option { name, .. } => name.clone(),
            What::Text { .. } => "text".to_owned(),
            What::Link { .. } => "link".to_owned(),
        };
        format!("{}\n{}\n{place}", self.client, self.file.display())
    }

    fn file_name(&self) -> String {
        format!("{}-{}.json", self.client, &hex(&value_digest(self.place().as_bytes()))[..16])
    }
}

/// The journal's directory, and its entries in the order in which they were made.
#[derive(Clone)]
pub struct Journal {
    directory: PathBuf,
    entries: Vec<JournalEntry>,
    damaged: Vec<DamagedEntry>,
}

/// A file of the journal that cannot be used. The other entries can.
#[derive(Clone)]
struct DamagedEntry {
    name: String,
    error: Error,
}

impl Journal {
    /// Reads the journal. A missing directory counts as empty. Damaged entries are kept apart: see [`Self::damaged`].
    ///
    /// # Errors
    /// Profile (3): the directory cannot be read.
    pub fn read(directory: &Path) -> Result<Self> {
        let names =
            store::record_names(directory).map_err(|error| damaged(directory, &format!(": {}", describe(&error))))?;
        let (mut entries, mut bad) = (Vec::new(), Vec::new());
        // The note about a held lock is in this directory too.
        for name in names.into_iter().filter(|name| format!("{name}{}", store::RECORD) != lock::NOTE) {
            let path = directory.join(format!("{name}{}", store::RECORD));
            match read_entry(&path) {
                Ok(entry) => entries.extend(entry),
                Err(error) => bad.push(DamagedEntry { name, error }),
            }
        }
        entries.sort_by_key(|entry| entry.sequence);
        Ok(Self { directory: directory.to_owned(), entries, damaged: bad })
    }

    /// Returns the errors of a client's damaged entries, or of all damaged entries if `client` is `None`. The name of an
    /// entry's file begins with the client's name.
    pub fn damaged<'a>(&'a self, client: Option<&'a str>) -> impl Iterator<Item = &'a Error> {
        let is_of = move |entry: &&DamagedEntry| {
            let stem = entry.name.rsplit_once('-').map_or("", |(client, _)| client);
            client.is_none_or(|client| stem == client)
        };
        self.damaged.iter().filter(is_of).map(|entry| &entry.error)
    }

    /// Returns the entries of a client, the newest last.
    pub fn of_client<'a>(&'a self, client: &'a str) -> impl DoubleEndedIterator<Item = &'a JournalEntry> {
        self.entries.iter().filter(move |entry| entry.client == client)
    }

    /// Returns all entries, the newest last.
    pub fn entries(&self) -> &[JournalEntry] {
        &self.entries
    }

    /// Returns true if nothing is left to undo: there is no entry, and no damaged one.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.damaged.is_empty()
    }

    /// Returns the entry about the same place.
    pub fn find(&self, place: &JournalEntry) -> Option<&JournalEntry> {
        self.entries.iter().find(|entry| entry.is_same_place(place))
    }

    /// Writes entries. Those without a number become the newest.
    ///
    /// # Errors
    /// Profile (3): an entry cannot be written. Unavailable (4): the disk is full.
    pub fn put(&mut self, entries: &[JournalEntry]) -> Result<()> {
        for entry in entries {
            let (entry, content) = self.prepared(entry)?;
            let path = self.path(&entry);
            store::replace(&path, &content, true).map_err(|error| cannot_write(&path, &error))?;
            self.note(entry);
        }
        Ok(())
    }

    /// Returns an entry as [`Self::put`] writes it, and its content.
    fn prepared(&self, entry: &JournalEntry) -> Result<(JournalEntry, Vec<u8>)> {
        let mut entry = entry.clone();
        if let Some(old) = self.find(&entry) {
            entry.former.extend(old.exact.iter().chain(&old.former).cloned());
            entry.former.dedup();
            entry.former.truncate(FORMER);
            entry.add_directories(&old.directories);
        }
        let entry = self.number(entry);
        let content = serde_json::to_vec(&entry).unwrap_or_default();
        if content.len() > MAX_SIZE {
            let what = format!("{}: {}: too large for the journal of setup", entry.file.display(), entry.label);
            return Err(Error::profile(what).hint("nothing was changed; edit the file yourself"));
        }
        Ok((entry, content))
    }

    fn path(&self, entry: &JournalEntry) -> PathBuf {
        self.directory.join(entry.file_name())
    }

    /// Checks without writing that entries could be written and removed.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub fn check(&self, put: &[JournalEntry], remove: &[JournalEntry]) -> Result<()> {
        put.iter().try_for_each(|entry| self.prepared(entry).map(drop))?;
        let Some(first) = put.iter().chain(remove).next() else { return Ok(()) };
        let path = self.path(first);
        store::check_replaceable(&path).map_err(|error| cannot_write(&path, &error))
    }

    /// Adds an entry here, but not in the directory.
    pub fn note(&mut self, entry: JournalEntry) {
        let entry = self.number(entry);
        self.entries.retain(|other| !other.is_same_place(&entry));
        self.entries.push(entry);
        self.entries.sort_by_key(|entry| entry.sequence);
    }

    /// Removes an entry here, but not from the directory.
    pub fn forget(&mut self, entry: &JournalEntry) {
        self.entries.retain(|other| !other.is_same_place(entry));
    }

    fn number(&self, mut entry: JournalEntry) -> JournalEntry {
        if entry.sequence == 0 {
            entry.sequence = self.entries.last().map_or(0, |last| last.sequence).saturating_add(1);
        }
        entry
    }

    /// Removes an entry.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub fn remove(&mut self, entry: &JournalEntry) -> Result<()> {
        let path = self.path(entry);
        store::remove(&path).map_err(|error| cannot_write(&path, &error))?;
        self.forget(entry);
        Ok(())
    }
}

/// Reads an entry. Returns `None` if the file is gone.
fn read_entry(path: &Path) -> Result<Option<JournalEntry>> {
    #[derive(Deserialize)]
    struct Header {
        version: u32,
    }
    let content = match store::read(path).map_err(|error| damaged(path, &format!(": {}", describe(&error))))? {
        FileState::Content(content) => content,
        FileState::Nothing => return Ok(None),
        FileState::Foreign => return Err(damaged(path, ", because it is not a file that ycred wrote")),
    };
    match serde_json::from_slice::<Header>(&content) {
        Ok(header) if header.version != VERSION => {
            Err(damaged(path, &format!(", because another version of ycred wrote it: format {}", header.version)))
        }
        // What is in the file is not printed: it may contain what was secret in another file.
        _ => serde_json::from_slice(&content).map(Some).map_err(|_| damaged(path, ", because it is damaged")),
    }
}

fn damaged(path: &Path, why: &str) -> Error {
    Error::profile(format!("{}: cannot read this entry of the journal of setup{why}", path.display()))
        .hint("move the file away, but keep it: it records what `ycred setup` changed")
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Error {
    let new = match error.kind() {
        std::io::ErrorKind::StorageFull => Error::unavailable,
        _ => Error::profile,
    };
    new(format!("{}: cannot write the journal of setup: {}", path.display(), describe(error)))
        .hint("nothing was changed; set YCRED_STATE_DIR to a writable directory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_followed_as_far_as_it_exists() {
        let root =
            Format::Json.parse(r#"{"c":{"x":1},"u":[{"name":"a"},{"name":"b","e":2}],"c":{"y":1}}"#).expect("valid");
        let key = |key: &str| Step::Key(key.to_owned());
        assert_eq!(follow(&root, &[key("u"), Step::Item { name: "b".into() }, key("e")]), (vec![1, 1, 1], 3));
        assert_eq!(follow(&root, &[key("u"), Step::Item { name: "a".into() }, key("e")]), (vec![1, 0], 2));
        assert_eq!(follow(&root, &[key("c"), key("x")]), (vec![0, 0], 2));
        assert_eq!(follow(&root, &[key("c"), key("z")]), (vec![2], 1));
        assert_eq!(follow(&root, &[key("z")]), (vec![], 0));
    }

    #[test]
    fn entries_are_kept_by_place_and_in_order() {
        let directory = tempfile::tempdir().expect("a directory");
        let text =
            |file: &str, ours: &str| JournalEntry::new("aws", Path::new(file), "x", What::Text { ours: ours.into() });
        let mut journal = Journal::read(directory.path()).expect("empty");
        journal.put(&[text("/a", "1"), text("/b", "2"), text("/a", "3")]).expect("written");
        store::replace(&directory.path().join(lock::NOTE), b"{\"lock\":1}", false).expect("a note");
        let mut journal = Journal::read(directory.path()).expect("readable");
        let files: Vec<&str> = journal.entries().iter().map(|entry| entry.file.to_str().expect("UTF-8")).collect();
        assert_eq!(files, ["/b", "/a"]);
        let entry = journal.find(&text("/a", "")).expect("there").clone();
        assert!(matches!(&entry.what, What::Text { ours } if ours == "3"));
        journal.remove(&entry).expect("removed");
        assert_eq!(Journal::read(directory.path()).expect("readable").entries().len(), 1);
    }

    #[test]
    fn each_damaged_entry_is_named_and_the_others_are_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let entry = JournalEntry::new("aws", Path::new("/a"), "x", What::Text { ours: "1".into() });
        Journal::read(directory.path()).expect("empty").put(&[entry]).expect("written");
        let contents: [&[u8]; 6] =
            [b"", b"{}", b"\0\0\0", b"{\"version\":1,\"client\":\"aws\"", b"{\"version\":9}", b"[]"];
        for (number, content) in contents.iter().enumerate() {
            store::replace(&directory.path().join(format!("docker-{number}.json")), content, false).expect("written");
        }
        let journal = Journal::read(directory.path()).expect("readable");
        assert_eq!(journal.entries().len(), 1);
        let named: Vec<String> = journal.damaged(None).map(Error::reason).collect();
        assert_eq!(named.len(), contents.len(), "{named:?}");
        assert!(
            named.iter().enumerate().all(|(at, reason)| reason.contains(&format!("docker-{at}.json"))),
            "{named:?}"
        );
        assert!(named[4].contains("format 9"), "{named:?}");
        assert_eq!((journal.damaged(Some("docker")).count(), journal.damaged(Some("aws")).count()), (6, 0));
    }
}
