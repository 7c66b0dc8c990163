//! Checks without writing anything that this user could change a file or a directory.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::system;

/// Checks that a directory exists, or that it and its missing parents could be created, and that files could be created in
/// it.
///
/// # Errors
/// Those that creating would have.
pub fn check_creatable(directory: &Path) -> io::Result<()> {
    for ancestor in directory.ancestors() {
        match fs::metadata(ancestor) {
            Ok(metadata) if metadata.is_dir() => return system::files::check_writable(ancestor),
            // A file has the name of the directory.
            Ok(_) if ancestor == directory => return Err(system::files::already_exists()),
            Ok(_) => return Err(ErrorKind::NotADirectory.into()),
            // A link that leads nowhere.
            Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(ancestor).is_ok() => {
                return Err(system::files::already_exists());
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(ErrorKind::NotFound.into())
}

/// Checks that a file or link could be replaced or removed.
///
/// # Errors
/// Those of the directory that it is in.
pub fn check_changeable(path: &Path) -> io::Result<()> {
    system::files::check_writable(path.parent().unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_created_is_known_before() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("file");
        store_file(&file);
        assert!(check_creatable(&directory.path().join("a/b")).is_ok() && check_changeable(&file).is_ok());
        for path in [file.clone(), file.join("a"), file.join("a/b")] {
            let made = system::files::create_private_directories(&path).expect_err("a file is in the way");
            let checked = check_creatable(&path).expect_err("a file is in the way");
            assert_eq!(crate::base::error::describe(&checked), crate::base::error::describe(&made), "{path:?}");
        }
    }

    fn store_file(path: &Path) {
        crate::disk::store::replace(path, b"", false).expect("written");
    }
}
