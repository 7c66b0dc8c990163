//! The directories for configuration, caches and state.

use std::path::{Path, PathBuf};

use directories::BaseDirs;

use crate::base::environment::Environment;

/// The variable with the user's home directory.
pub const HOME: &str = "HOME";

/// No other variables of this kind exist.
pub const OTHER_HOMES: &[&str] = &[];

/// The machine-wide profiles, which are searched after the user's.
pub const SYSTEM_CONFIG: Option<&str> = Some("/etc/ycred");

/// Returns `None`: programs keep their configuration below the home directory.
pub fn roaming(_: &Environment) -> Option<PathBuf> {
    None
}

/// Returns the directory in which kubectl looks for its configuration: the home directory.
pub fn home_of_kubectl(_: &Environment, home: Option<&Path>) -> Option<PathBuf> {
    home.map(Path::to_owned)
}

/// Returns the directory in which git looks for its configuration: the home directory.
pub fn home_of_git(_: &Environment, home: Option<&Path>) -> Option<PathBuf> {
    home.map(Path::to_owned)
}

/// The usual places of files, as people write them.
pub struct UsualPlaces {
    pub config: &'static str,
    /// When profiles are elsewhere.
    pub except: &'static str,
    pub cache: &'static str,
    pub state: &'static str,
}

/// Returns the places of this system.
pub const fn usual_places() -> UsualPlaces {
    places_of(cfg!(target_vendor = "apple"))
}

const fn places_of(is_mac: bool) -> UsualPlaces {
    match is_mac {
        true => UsualPlaces {
            config: "~/Library/Application Support/ycred",
            except: ", if there is no ~/.config/ycred",
            cache: "~/Library/Caches/ycred",
            state: "~/Library/Application Support/ycred",
        },
        false => UsualPlaces {
            config: "~/.config/ycred",
            except: "",
            cache: "~/.cache/ycred",
            state: "~/.local/state/ycred",
        },
    }
}

/// The directories of one user, in which programs have directories of their own.
pub struct UserDirectories {
    home: PathBuf,
    is_mac: bool,
}

impl UserDirectories {
    /// Finds the directories by HOME, and by the password database without it. Returns `None` without a home directory.
    pub fn find(environment: &Environment) -> Option<Self> {
        let home = match environment.get(HOME).map(Path::new) {
            // A relative HOME would put files into the current directory.
            Some(home) if home.is_relative() => return None,
            Some(home) => home.to_owned(),
            None => BaseDirs::new()?.home_dir().to_owned(),
        };
        Some(Self { home, is_mac: cfg!(target_vendor = "apple") })
    }

    /// Returns the directory for the configuration of a program.
    ///
    /// macOS has a place of its own. People who share their configuration with Linux machines keep it in `~/.config`, so
    /// that comes first if it exists, even if it is unusable.
    pub fn config(&self, program: &str) -> PathBuf {
        let shared = self.home.join(".config").join(program);
        if self.is_mac && shared.symlink_metadata().is_err() {
            self.application_support().join(program)
        } else {
            shared
        }
    }

    pub fn cache(&self) -> PathBuf {
        self.home.join(if self.is_mac { "Library/Caches" } else { ".cache" })
    }

    pub fn state(&self) -> PathBuf {
        if self.is_mac { self.application_support() } else { self.home.join(".local/state") }
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    fn application_support(&self) -> PathBuf {
        self.home.join("Library/Application Support")
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the test creates and removes the file of a user")]
mod tests {
    use super::*;

    #[test]
    fn a_mac_has_its_directories_in_library_and_prefers_a_shared_configuration() {
        let home = tempfile::tempdir().expect("a directory");
        let directories = UserDirectories { home: home.path().to_owned(), is_mac: true };
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
    fn linux_has_the_directories_of_xdg() {
        let directories = UserDirectories { home: "/h".into(), is_mac: false };
        assert_eq!(directories.config("ycred"), Path::new("/h/.config/ycred"));
        for is_mac in [true, false] {
            let home = Path::new("/no/such/home");
            let (directories, places) = (UserDirectories { home: home.to_owned(), is_mac }, places_of(is_mac));
            let shown = |path: PathBuf| path.to_str().expect("UTF-8").replace("/no/such/home", "~");
            assert_eq!(places.config, shown(directories.config("ycred")));
            assert_eq!(places.cache, shown(directories.cache().join("ycred")));
            assert_eq!(places.state, shown(directories.state().join("ycred")));
        }
        assert_eq!((directories.cache(), directories.state()), ("/h/.cache".into(), "/h/.local/state".into()));
    }

    #[test]
    fn a_relative_home_is_none() {
        let environment = |home: &str| Environment::new([(HOME.into(), home.into())]);
        assert!(UserDirectories::find(&environment("here")).is_none());
        assert!(UserDirectories::find(&environment("/here")).is_some());
    }
}
