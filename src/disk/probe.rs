//! Tries whether ycred's own directory can be used, with a file that exists only for that moment.
#![expect(clippy::disallowed_methods, reason = "creates and removes a file of its own, as disk/store.rs does")]

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use crate::base::random;
use crate::disk::lock::lock_file;
use crate::disk::store::TEMPORARY;
use crate::system;
use crate::system::fixes;

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

/// Returns what lets this user write into a directory, which need not exist. `variable` names another directory.
pub fn how_to_make_writable(directory: &Path, variable: &str) -> String {
    let nearest = directory.ancestors().find(|ancestor| ancestor.symlink_metadata().is_ok()).unwrap_or(directory);
    let is_own_without_mode = nearest.metadata().is_ok_and(|metadata| {
        system::files::is_own(&metadata) && metadata.is_dir() && system::files::mode(&metadata) & 0o700 != 0o700
    });
    let command =
        if is_own_without_mode { format!(" ({})", fixes::make_directory_private(nearest)) } else { String::new() };
    format!("make {} writable for you{command}, or set {variable}", nearest.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn the_directory_to_make_writable_is_the_nearest_one_that_exists() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, missing) = (directory.path(), directory.path().join("a/b"));
        let advice = |command: &str| format!("make {} writable for you{command}, or set HERE", path.display());
        assert_eq!(how_to_make_writable(&missing, "HERE"), advice(""));
        system::files::set_mode(&fs::File::open(path).expect("a directory"), 0o500).expect("its mode");
        let command = format!(" (chmod 700 {})", path.display());
        assert_eq!(how_to_make_writable(&missing, "HERE"), advice(&command));
        system::files::set_mode(&fs::File::open(path).expect("a directory"), 0o700).expect("its mode");
    }

    #[test]
    fn a_directory_is_tried_and_left_as_it_was() {
        let directory = tempfile::tempdir().expect("a directory");
        assert!(try_directory(directory.path()).expect("usable"), "locks work here");
        assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 0);
        let missing = directory.path().join("missing");
        assert_eq!(try_directory(&missing).expect_err("missing").kind(), io::ErrorKind::NotFound);
    }
}
