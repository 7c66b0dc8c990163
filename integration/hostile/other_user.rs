//! Runs of the binary by another user, in a directory outside the sandbox.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::PathBuf;

use tempfile::TempDir;

use crate::harness::files::{names, set_mode};
use crate::harness::{Call, YCRED};
use crate::world::World;

/// The user id of `nobody`.
pub const NOBODY: u32 = 65534;
/// A user id that is not in the password database.
pub const UNKNOWN_USER: u32 = 54321;

/// A user other than the one that runs the tests, with a directory that holds the binary, a home and a configuration.
pub struct OtherUser {
    root: TempDir,
    id: u32,
}

impl OtherUser {
    /// Creates the directory, which everybody can reach, with a key and a default profile for the world's emulator.
    pub fn new(world: &World, id: u32) -> OtherUser {
        let root = tempfile::Builder::new().prefix("ycred-other-user-").tempdir().expect("a temporary directory");
        let other_user = OtherUser { root, id };
        set_mode(other_user.root.path(), 0o755);
        for directory in ["bin", "config", "home", "work"] {
            fs::create_dir(other_user.path(directory)).expect("a directory");
        }
        let binary = other_user.path("bin/ycred");
        // A hard link is cheaper than a copy, but does not work across file systems.
        fs::hard_link(YCRED, &binary).or_else(|_| fs::copy(YCRED, &binary).map(drop)).expect("the binary");
        let key = world.emulator.new_service_account_key();
        key.write(other_user.path("config/key.json")).expect("a key file");
        fs::write(other_user.path("config/default.toml"), world.settings()).expect("a profile");
        for path in ["config", "config/key.json", "config/default.toml", "home", "work"] {
            other_user.chown(path, id);
        }
        set_mode(&other_user.path("home"), 0o700);
        other_user
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.path().join(relative)
    }

    /// Changes the owner of a file to the user and the group with this id. Needs root.
    pub fn chown(&self, relative: &str, id: u32) {
        chown(self.path(relative), Some(id), Some(id)).expect("root may change owners");
    }

    /// Returns a call of the binary as this user, with the platform's default directories below its home.
    pub fn call(&self, world: &World, arguments: &[&str]) -> Call {
        let identity = [format!("--reuid={}", self.id), format!("--regid={}", self.id), "--clear-groups".into()];
        let program = self.path("bin/ycred").into_os_string();
        let arguments = identity
            .iter()
            .map(Into::into)
            .chain(["--".into(), program])
            .chain(arguments.iter().map(Into::into))
            .collect::<Vec<std::ffi::OsString>>();
        world
            .sandbox
            .call("setpriv", arguments)
            .within(self.path("work"))
            .env("HOME", self.path("home"))
            .env("YCRED_CONFIG_DIR", self.path("config"))
            .without("YCRED_CACHE_DIR")
            .without("YCRED_STATE_DIR")
            .without("TMPDIR")
    }

    /// Returns every path below a directory with its owner, sorted by path.
    pub fn owners_below(&self, relative: &str) -> Vec<(PathBuf, u32)> {
        let mut owners = Vec::new();
        let mut pending = vec![self.path(relative)];
        while let Some(directory) = pending.pop() {
            for path in names(&directory) {
                let meta = fs::symlink_metadata(&path).expect("the file still exists");
                if meta.is_dir() {
                    pending.push(path.clone());
                }
                owners.push((path, meta.uid()));
            }
        }
        owners.sort();
        owners
    }
}
