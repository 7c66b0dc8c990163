//! The directories for configuration, caches and state.

use std::path::{Path, PathBuf};

use directories::BaseDirs;

use crate::base::environment::Environment;

/// The variable with the user's home directory.
pub const HOME: &str = "USERPROFILE";

/// Other variables that programs take for it: those that come from Unix.
pub const OTHER_HOMES: &[&str] = &["HOME"];

/// There are no machine-wide profiles: ordinary users can create files in `%PROGRAMDATA%`.
pub const SYSTEM_CONFIG: Option<&str> = None;

/// Returns the directory in which many programs keep their configuration, `%APPDATA%`.
pub fn roaming(environment: &Environment) -> Option<PathBuf> {
    environment.absolute("APPDATA")
}

/// Returns the directory in which kubectl looks for its configuration. `home` is the user's directory.
///
/// The order is that of `HomeDir` in client-go (k8s.io/client-go/util/homedir).
pub fn home_of_kubectl(environment: &Environment, home: Option<&Path>) -> Option<PathBuf> {
    let (named, joined) = (environment.absolute("HOME"), home_of_domain(environment));
    let home = home.map(Path::to_owned);
    let has_configuration = |home: &&PathBuf| home.join(".kube/config").exists();
    let configured = [&named, &joined, &home].into_iter().flatten().find(has_configuration);
    let existing = || [&named, &home, &joined].into_iter().flatten().find(|home| home.is_dir());
    configured.or_else(existing).cloned().or(named).or(home).or(joined)
}

/// Returns the directory in which git looks for its configuration. `home` is the user's directory.
///
/// Git for Windows sets HOME so if it is not set (`setup_windows_environment` in its compat/mingw.c).
pub fn home_of_git(environment: &Environment, home: Option<&Path>) -> Option<PathBuf> {
    let of_domain = || home_of_domain(environment).filter(|home| home.is_dir());
    environment.absolute("HOME").or_else(of_domain).or_else(|| home.map(Path::to_owned))
}

/// Returns the directory that the administrator of a domain has chosen, often on a drive of the network.
fn home_of_domain(environment: &Environment) -> Option<PathBuf> {
    let mut home = environment.get("HOMEDRIVE")?.to_owned();
    home.push(environment.get("HOMEPATH")?);
    Some(PathBuf::from(home)).filter(|home| home.is_absolute())
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
    UsualPlaces {
        config: r"%APPDATA%\ycred",
        except: "",
        cache: r"%LOCALAPPDATA%\ycred",
        state: r"%LOCALAPPDATA%\ycred",
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubectl_and_git_have_homes_of_their_own() {
        let dir = tempfile::tempdir().expect("a directory");
        let [named, domain, user] = ["named", "domain", "user"].map(|name| dir.path().join(name));
        for home in [&named, &domain, &user] {
            std::fs::create_dir_all(home.join(".kube")).expect("created");
        }
        let environment = |named: Option<&Path>, domain: &Path| {
            let domain = domain.to_str().expect("UTF-8");
            let (drive, path) = domain.split_at(2);
            let pairs = [("HOMEDRIVE", drive.into()), ("HOMEPATH", path.into())];
            let named = named.map(|named| ("HOME", named.as_os_str().to_owned()));
            Environment::new(pairs.into_iter().chain(named).map(|(name, value)| (name.into(), value)))
        };
        let of_kubectl = |named, domain| home_of_kubectl(&environment(named, domain), Some(&user));
        assert_eq!(
            of_kubectl(Some(&named), &domain),
            Some(named.clone()),
            "without a configuration, HOME is the first"
        );
        assert_eq!(of_kubectl(None, &domain), Some(user.clone()), "and the home of the domain the last");
        let config = |home: &Path| std::fs::write(home.join(".kube/config"), "").expect("written");
        config(&user);
        assert_eq!(of_kubectl(Some(&named), &domain), Some(user.clone()), "a configuration decides");
        config(&domain);
        assert_eq!(of_kubectl(Some(&named), &domain), Some(domain.clone()));
        config(&named);
        assert_eq!(of_kubectl(Some(&named), &domain), Some(named.clone()));

        let of_git = |named, domain| home_of_git(&environment(named, domain), Some(&user));
        assert_eq!(of_git(Some(&named), &domain), Some(named.clone()));
        assert_eq!(of_git(None, &domain), Some(domain.clone()));
        assert_eq!(of_git(None, &dir.path().join("disconnected")), Some(user.clone()));
    }
}
