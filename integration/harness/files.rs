//! Reads and changes names, modes and ages of files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Returns the paths in a directory, sorted. A missing directory counts as empty.
pub fn names(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut names: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    names.sort();
    names
}

/// Returns the permission bits of a file. Does not follow symlinks.
pub fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode()
        & 0o7777
}

pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Sets the times of a file to this long ago.
pub fn age(path: &Path, age: Duration) {
    let when = SystemTime::now() - age;
    let file = fs::File::options().write(true).open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file.set_times(fs::FileTimes::new().set_modified(when).set_accessed(when)).expect("the times of the file");
}

/// Creates a directory with mode 0700, as ycred does.
pub fn make_private(path: &Path) {
    fs::create_dir_all(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    set_mode(path, 0o700);
}

/// Writes a file with mode 0600, as ycred does.
pub fn write_private(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    set_mode(path, 0o600);
}
