//! Where things are: profiles, token records, login sessions. Nothing is made here.

use std::path::{Path, PathBuf};

use directories::BaseDirs;

use crate::base::environment as env;
use crate::base::environment::Environment;
use crate::base::error::{Error, Result};
use crate::system;

const APP: &str = "ycred";
/// The machine's own profiles, after the user's.
const SYSTEM_CONFIG: &str = "/etc/ycred";

/// Where things are on this machine, for this user.
#[derive(Clone, Debug)]
pub struct Places {
    /// None: no home and no variable; then `/etc/ycred` alone.
    pub config: Option<PathBuf>,
    /// `Err` holds why there is none, in words for the warning.
    pub cache: Result<PathBuf, String>,
    /// Where login sessions are. `Err` holds why there is no such place.
    pub state: Result<PathBuf, String>,
    pub home: Option<PathBuf>,
}

impl Places {
    /// # Errors
    /// Usage (2): `YCRED_CONFIG_DIR` is relative. (A relative `YCRED_CACHE_DIR` means no cache, and costs no token.)
    pub fn of(environment: &Environment) -> Result<Self> {
        // HOME first and the password database only without it; `directories` knows nothing without either, and it
        // reads HOME itself, so a relative one (which would put files into the current directory) is sorted out here.
        let base = if environment.get("HOME").is_some_and(|home| Path::new(home).is_relative()) {
            None
        } else {
            BaseDirs::new()
        };
        let base = base.as_ref();
        let config = match chosen(environment, env::YCRED_CONFIG_DIR) {
            Some(Err(why)) => return Err(Error::usage(why).hint("give it an absolute path, or unset it")),
            Some(Ok(path)) => Some(path),
            // The XDG variables count without a home too, which `directories` would not see.
            None => environment
                .absolute(env::XDG_CONFIG_HOME)
                .or_else(|| base.map(|base| base.config_dir().to_owned()))
                .map(|directory| directory.join(APP)),
        };
        let cache = match chosen(environment, env::YCRED_CACHE_DIR) {
            Some(chosen) => chosen,
            None => match environment
                .absolute(env::XDG_CACHE_HOME)
                .or_else(|| base.map(|base| base.cache_dir().to_owned()))
            {
                Some(directory) => Ok(directory.join(APP)),
                None => first_of(environment, env::CACHE_DIRECTORY)
                    .or_else(|| (system::process::effective_uid() == 0).then(|| Path::new("/run").join(APP)))
                    .ok_or_else(|| format!("there is no home directory; {} can name a place", env::YCRED_CACHE_DIR)),
            },
        };
        let state = match chosen(environment, env::YCRED_STATE_DIR) {
            Some(chosen) => chosen,
            None => environment
                .absolute(env::XDG_STATE_HOME)
                .or_else(|| base.map(|base| base.state_dir().unwrap_or_else(|| base.data_local_dir()).to_owned()))
                .map(|directory| directory.join(APP))
                .or_else(|| first_of(environment, env::STATE_DIRECTORY))
                .ok_or_else(|| format!("there is no home directory; {} can name a place", env::YCRED_STATE_DIR)),
        };
        Ok(Self { config, cache, state, home: base.map(|base| base.home_dir().to_owned()) })
    }

    /// No places at all.
    pub fn none() -> Self {
        let nowhere = || Err("no place is known".into());
        Self { config: None, cache: nowhere(), state: nowhere(), home: None }
    }

    /// The files that a profile's name may mean, in the order of looking.
    pub fn profile_candidates(&self, name: &str) -> Vec<PathBuf> {
        self.profile_directories().map(|directory| directory.join(format!("{name}.toml"))).collect()
    }

    /// Where profiles are looked for, in this order.
    pub fn profile_directories(&self) -> impl Iterator<Item = &Path> {
        self.config.as_deref().into_iter().chain([Path::new(SYSTEM_CONFIG)])
    }
}

/// A path with `~` and `~/…` expanded to the home directory. Any other path is returned as it is.
///
/// # Errors
/// There is no home directory; in words that fit behind the name of the setting.
pub fn expand_home(path: &Path, home: Option<&Path>) -> Result<PathBuf, &'static str> {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => Ok(home.join(rest)),
        (Ok(_), None) => Err("starts with ~, and there is no home directory"),
        (Err(_), _) => Ok(path.to_owned()),
    }
}

/// A path as it was typed, made absolute, as a string for a profile or a record.
///
/// # Errors
/// Why that cannot be, in words that fit behind the path.
pub fn absolute(path: &Path, home: Option<&Path>) -> Result<String, String> {
    let expanded = expand_home(path, home)?;
    let absolute = std::path::absolute(expanded).map_err(|error| format!("cannot be made absolute: {error}"))?;
    absolute.into_os_string().into_string().map_err(|_| "is not plain text".to_owned())
}

fn chosen(environment: &Environment, variable: &str) -> Option<Result<PathBuf, String>> {
    let path = PathBuf::from(environment.get(variable)?);
    Some(if path.is_absolute() { Ok(path) } else { Err(format!("{variable} must be an absolute path")) })
}

/// systemd joins several directories with colons; the first is the unit's main one.
fn first_of(environment: &Environment, variable: &str) -> Option<PathBuf> {
    let first = std::env::split_paths(environment.get(variable)?).next();
    first.filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(pairs: &[(&str, &str)]) -> Result<Places> {
        Places::of(&Environment::new(pairs.iter().map(|(k, v)| (k.into(), v.into()))))
    }

    #[test]
    fn the_variables_come_first_and_must_be_absolute() {
        let all = [(env::YCRED_CONFIG_DIR, "/c"), (env::YCRED_CACHE_DIR, "/k"), (env::YCRED_STATE_DIR, "/s")];
        let both = places(&all).expect("good");
        assert_eq!(
            both.profile_candidates("prod"),
            [PathBuf::from("/c/prod.toml"), PathBuf::from("/etc/ycred/prod.toml")]
        );
        assert_eq!((both.cache, both.state), (Ok(PathBuf::from("/k")), Ok(PathBuf::from("/s"))));
        let xdg = places(&[(env::XDG_STATE_HOME, "/x"), (env::STATE_DIRECTORY, "/d:/e")]).expect("good");
        assert_eq!(xdg.state, Ok(PathBuf::from("/x/ycred")));
        assert!(places(&[(env::YCRED_STATE_DIR, "s")]).expect("no error").state.is_err());
        assert_eq!(places(&[(env::YCRED_CONFIG_DIR, "c")]).expect_err("relative").kind.exit_code(), 2);
        assert!(places(&[(env::YCRED_CACHE_DIR, "k")]).expect("no error").cache.is_err());
    }
}
