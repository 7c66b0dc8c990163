//! The directories for configuration, caches and state.

use std::path::{Path, PathBuf};

use directories::BaseDirs;

use crate::base::environment::Environment;

/// The variable with the user's home directory.
pub const HOME: &str = "USERPROFILE";

/// There are no machine-wide profiles: ordinary users can create files in `%PROGRAMDATA%`.
pub const SYSTEM_CONFIG: Option<&str> = None;

/// Returns the directory in which many programs keep their configuration, `%APPDATA%`.
pub fn roaming(environment: &Environment) -> Option<PathBuf> {
    environment.absolute("APPDATA")
}

/// The directories of one user, in which programs have directories of their own.
pub struct UserDirectories {
    config: PathBuf,
    local: PathBuf,
    home: PathBuf,
}

impl UserDirectories {
    /// Finds the directories by the variables that every session has, or else asks the system for them.
    pub fn find(environment: &Environment) -> Option<Self> {
        let named = ["APPDATA", "LOCALAPPDATA", "USERPROFILE"].map(|name| environment.absolute(name));
        if let [Some(config), Some(local), Some(home)] = named {
            return Some(Self { config, local, home });
        }
        let base = BaseDirs::new()?;
        let [config, local, home] = named;
        Some(Self {
            config: config.unwrap_or_else(|| base.config_dir().to_owned()),
            local: local.unwrap_or_else(|| base.data_local_dir().to_owned()),
            home: home.unwrap_or_else(|| base.home_dir().to_owned()),
        })
    }

    /// Returns the directory for the configuration of a program, which Windows may copy to the user's other machines.
    pub fn config(&self, program: &str) -> PathBuf {
        self.config.join(program)
    }

    pub fn cache(&self) -> PathBuf {
        self.local.clone()
    }

    /// Returns the directory for state, which stays on this machine: a refresh token must not be copied.
    pub fn state(&self) -> PathBuf {
        self.local.clone()
    }

    pub fn home(&self) -> &Path {
        &self.home
    }
}
