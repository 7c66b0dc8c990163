//! The directories for configuration, caches and state.

use std::path::{Path, PathBuf};

use directories::BaseDirs;

use crate::base::environment::Environment;

/// The variable with the user's home directory.
pub const HOME: &str = "HOME";

/// The machine-wide profiles, which are searched after the user's.
pub const SYSTEM_CONFIG: Option<&str> = Some("/etc/ycred");

/// Returns `None`: programs keep their configuration below the home directory.
pub fn roaming(_: &Environment) -> Option<PathBuf> {
    None
}

/// The directories of one user, in which programs have directories of their own.
pub struct UserDirectories(Layout);

enum Layout {
    /// Those of the XDG specification.
    Xdg(BaseDirs),
    /// Those of macOS.
    Library { home: PathBuf, application_support: PathBuf, caches: PathBuf },
}

impl UserDirectories {
    /// Finds the directories by HOME, and by the password database without it. Returns `None` without a home directory.
    pub fn find(environment: &Environment) -> Option<Self> {
        // A relative HOME would put files into the current directory.
        match environment.get(HOME) {
            Some(home) if Path::new(home).is_relative() => None,
            _ => BaseDirs::new().map(|base| match cfg!(target_vendor = "apple") {
                true => Self::in_library(base.home_dir()),
                false => Self(Layout::Xdg(base)),
            }),
        }
    }

    /// Returns the directories of macOS below a home directory.
    fn in_library(home: &Path) -> Self {
        let library = home.join("Library");
        let (application_support, caches) = (library.join("Application Support"), library.join("Caches"));
        Self(Layout::Library { home: home.to_owned(), application_support, caches })
    }

    /// Returns the directory for the configuration of a program.
    ///
    /// macOS has a place of its own. People who share their configuration with Linux machines keep it in `~/.config`, so
    /// that comes first if it exists, even if it is unusable.
    pub fn config(&self, program: &str) -> PathBuf {
        match &self.0 {
            Layout::Xdg(base) => base.config_dir().join(program),
            Layout::Library { home, application_support, .. } => {
                let shared = home.join(".config").join(program);
                if shared.symlink_metadata().is_ok() { shared } else { application_support.join(program) }
            }
        }
    }

    /// Returns the same as [`Self::config`] without `XDG_CONFIG_HOME`.
    pub fn usual_config(&self, program: &str) -> PathBuf {
        match &self.0 {
            Layout::Xdg(base) => base.home_dir().join(".config").join(program),
            Layout::Library { .. } => self.config(program),
        }
    }

    pub fn cache(&self) -> &Path {
        match &self.0 {
            Layout::Xdg(base) => base.cache_dir(),
            Layout::Library { caches, .. } => caches,
        }
    }

    pub fn state(&self) -> &Path {
        match &self.0 {
            Layout::Xdg(base) => base.state_dir().unwrap_or_else(|| base.data_local_dir()),
            Layout::Library { application_support, .. } => application_support,
        }
    }

    pub fn home(&self) -> &Path {
        match &self.0 {
            Layout::Xdg(base) => base.home_dir(),
            Layout::Library { home, .. } => home,
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the test creates and removes the file of a user")]
mod tests {
    use super::*;

    #[test]
    fn a_mac_has_its_directories_in_library_and_prefers_a_shared_configuration() {
        let home = tempfile::tempdir().expect("a directory");
        let directories = UserDirectories::in_library(home.path());
        let library = home.path().join("Library");
        assert_eq!(directories.home(), home.path());
        assert_eq!(directories.cache(), library.join("Caches"));
        assert_eq!(directories.state(), library.join("Application Support"));
        assert_eq!(directories.config("ycred"), library.join("Application Support/ycred"));
        let shared = home.path().join(".config/ycred");
        std::fs::create_dir_all(shared.parent().expect("a parent")).expect("a directory");
        assert_eq!(directories.config("ycred"), library.join("Application Support/ycred"), "that of other programs");
        std::fs::write(&shared, "").expect("a file");
        assert_eq!(directories.config("ycred"), shared, "it is reported, not ignored");
        std::fs::remove_file(&shared).expect("removed");
        std::fs::create_dir(&shared).expect("a directory");
        assert_eq!(directories.config("ycred"), shared);
        assert_eq!(directories.state(), library.join("Application Support"), "logins are not shared");
    }

    #[test]
    fn a_relative_home_is_none() {
        let environment = |home: &str| Environment::new([(HOME.into(), home.into())]);
        assert!(UserDirectories::find(&environment("here")).is_none());
        assert!(UserDirectories::find(&environment("/here")).is_some());
    }
}
