//! The directories for configuration, caches and state.

use std::path::{Path, PathBuf};

use directories::BaseDirs;

use crate::base::environment::Environment;

/// The machine-wide profiles, which are searched after the user's.
pub const SYSTEM_CONFIG: Option<&str> = Some("/etc/ycred");

/// Returns `None`: programs keep their configuration below the home directory.
pub fn roaming(_: &Environment) -> Option<PathBuf> {
    None
}

/// The directories of one user, in which programs have directories of their own.
pub struct UserDirectories(BaseDirs);

impl UserDirectories {
    /// Finds the directories by HOME, and by the password database without it. Returns `None` without a home directory.
    pub fn find(environment: &Environment) -> Option<Self> {
        // A relative HOME would put files into the current directory.
        match environment.get("HOME") {
            Some(home) if Path::new(home).is_relative() => None,
            _ => BaseDirs::new().map(Self),
        }
    }

    /// Returns the directory for the configuration of a program.
    ///
    /// macOS has a place of its own. People who share their configuration with Linux machines keep it in `~/.config`, so
    /// that comes first if it exists, even if it is unusable.
    pub fn config(&self, program: &str) -> PathBuf {
        let shared = cfg!(target_vendor = "apple").then(|| self.home().join(".config").join(program));
        shared.filter(|shared| shared.symlink_metadata().is_ok()).unwrap_or_else(|| self.0.config_dir().join(program))
    }

    pub fn cache(&self) -> &Path {
        self.0.cache_dir()
    }

    pub fn state(&self) -> &Path {
        self.0.state_dir().unwrap_or_else(|| self.0.data_local_dir())
    }

    pub fn home(&self) -> &Path {
        self.0.home_dir()
    }
}
