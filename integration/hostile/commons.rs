//! A directory outside of the sandbox, where other users run the binary.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::PathBuf;

use tempfile::TempDir;

use crate::harness::files::{names, set_mode};
use crate::harness::{Call, YCRED};
use crate::world::World;

/// The user that nobody is.
pub const NOBODY: u32 = 65534;
/// A user that no password database has.
pub const STRANGER: u32 = 54321;

/// A directory that everybody can reach, with the binary in it, and in it a home, configuration and cache of `nobody`'s.
pub struct Commons {
    root: TempDir,
    /// Who its files belong to.
    user: u32,
}

impl Commons {
    pub fn new(world: &World, user: u32) -> Commons {
        let root = tempfile::Builder::new().prefix("ycred-commons-").tempdir().expect("a temporary directory");
        let commons = Commons { root, user };
        set_mode(commons.root.path(), 0o755);
        for directory in ["bin", "config", "home", "work"] {
            fs::create_dir(commons.path(directory)).expect("a directory");
        }
        let binary = commons.path("bin/ycred");
        // A second name costs nothing; across file systems a copy does as well.
        fs::hard_link(YCRED, &binary).or_else(|_| fs::copy(YCRED, &binary).map(drop)).expect("the binary");
        let key = world.emulator.new_service_account_key();
        key.write(commons.path("config/key.json")).expect("a key file");
        fs::write(commons.path("config/default.toml"), world.settings()).expect("a profile");
        for path in ["config", "config/key.json", "config/default.toml", "home", "work"] {
            commons.give(path, user);
        }
        set_mode(&commons.path("home"), 0o700);
        commons
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.path().join(relative)
    }

    pub fn give(&self, relative: &str, user: u32) {
        chown(self.path(relative), Some(user), Some(user)).expect("root gives files away");
    }

    /// The binary run as that user, with a home and the platform's own places in it.
    pub fn call(&self, world: &World, arguments: &[&str]) -> Call {
        let who = [format!("--reuid={}", self.user), format!("--regid={}", self.user), "--clear-groups".into()];
        let program = self.path("bin/ycred").into_os_string();
        let arguments = who
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

    /// Everything below, with its owner.
    pub fn contents(&self, relative: &str) -> Vec<(PathBuf, u32)> {
        let mut found = Vec::new();
        let mut pending = vec![self.path(relative)];
        while let Some(directory) = pending.pop() {
            for path in names(&directory) {
                let meta = fs::symlink_metadata(&path).expect("still there");
                if meta.is_dir() {
                    pending.push(path.clone());
                }
                found.push((path, meta.uid()));
            }
        }
        found.sort();
        found
    }
}
