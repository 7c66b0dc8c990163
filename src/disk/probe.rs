//! Tries whether ycred's own directory can be used, with a file that exists only for that moment.
#![expect(clippy::disallowed_methods, reason = "creates and removes a file of its own, as disk/store.rs does")]

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use crate::base::random;
use crate::disk::lock::lock_file;
use crate::disk::store::TEMPORARY;
use crate::system;

/// The largest record, in bytes.
const SIZE: usize = 64 * 1024;

/// Creates a file in a directory, writes it, renames it, locks it and removes it. Returns true if locks work.
///
/// A killed process leaves it with a name that the next sweep removes.
///
/// # Errors
/// The file cannot be created, written or renamed.
pub fn try_directory(directory: &Path) -> io::Result<bool> {
    system::signals::ignore_file_size_signal();
    let name = || directory.join(format!("{TEMPORARY}{}", random::id()));
    let (first, second) = (name(), name());
    let tried = (|| {
        let mut file = system::files::create_private(&first)?;
        file.write_all(&vec![b' '; SIZE])?;
        system::files::rename(&first, &second, false)?;
        let other = system::files::open_own_for_writing(&second)?;
        // The second lock must fail, because the first one is held.
        Ok(matches!((lock_file(&file), lock_file(&other)), (Ok(true), Ok(false))))
    })();
    for path in [&first, &second] {
        let _ = fs::remove_file(path);
    }
    tried
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_tried_and_left_as_it_was() {
        let directory = tempfile::tempdir().expect("a directory");
        assert!(try_directory(directory.path()).expect("usable"), "locks work here");
        assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 0);
        let missing = directory.path().join("missing");
        assert_eq!(try_directory(&missing).expect_err("missing").kind(), io::ErrorKind::NotFound);
    }
}
