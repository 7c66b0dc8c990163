//! The directories of profiles, cache records and logins. Only computes the paths and creates nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::base::environment as env;
use crate::base::environment::Environment;
use crate::base::error::{Error, Result};
use crate::disk::permission;
use crate::system;
use crate::system::directories::{SYSTEM_CONFIG, UserDirectories};

const APP: &str = "ycred";

/// yc's configuration file, relative to the home directory.
pub const YC_CONFIG: &str = ".config/yandex-cloud/config.yaml";

/// The directories for this user on this machine.
#[derive(Clone, Debug)]
pub struct Places {
    /// The user's profiles. `None` without a home directory and a variable.
    pub config: Option<PathBuf>,
    pub cache: CacheDirectory,
    /// The logins. `Err` has the reason why there is no such directory.
    pub state: Result<PathBuf, String>,
    pub home: Option<PathBuf>,
}

/// The directory of the cache. `Err` has the reason for the warning.
///
/// Root's default gives way to the next one if it does not exist and cannot be created. Whether it does is not looked at before
/// it matters, because every cache hit would pay for it.
#[derive(Clone, Debug)]
pub struct CacheDirectory {
    /// `Err` has the reason for the warning.
    preferred: Result<PathBuf, String>,
    next: Option<Result<PathBuf, String>>,
    gives_way: OnceLock<bool>,
}

impl From<Result<PathBuf, String>> for CacheDirectory {
    fn from(directory: Result<PathBuf, String>) -> Self {
        Self { preferred: directory, next: None, gives_way: OnceLock::new() }
    }
}

impl CacheDirectory {
    /// Returns the directory that is used.
    pub fn get(&self) -> &Result<PathBuf, String> {
        match (&self.preferred, &self.next) {
            (Ok(preferred), Some(next)) => {
                let gives_way = || fs::metadata(preferred).is_err() && permission::check_creatable(preferred).is_err();
                if *self.gives_way.get_or_init(gives_way) { next } else { &self.preferred }
            }
            _ => &self.preferred,
        }
    }

    /// Returns what `read` finds in the directory that is used. If it finds something in a default, that is not checked.
    pub fn find<T>(&self, read: impl Fn(&Path) -> Option<T>) -> Option<T> {
        let preferred = self.preferred.as_deref().ok().filter(|_| self.gives_way.get() != Some(&true));
        preferred.and_then(&read).or_else(|| {
            let used = self.get().as_deref().ok()?;
            (Some(used) != preferred).then(|| read(used))?
        })
    }

    /// Returns the directory of this name below it.
    pub fn join(self, name: &str) -> Self {
        let join = |directory: Result<PathBuf, String>| directory.map(|directory| directory.join(name));
        Self { preferred: join(self.preferred), next: self.next.map(join), gives_way: OnceLock::new() }
    }
}

impl Places {
    /// Finds the directories by the environment and the password database.
    ///
    /// # Errors
    /// Usage (2): `YCRED_CONFIG_DIR` is relative. A relative `YCRED_CACHE_DIR` only turns the cache off.
    pub fn of(environment: &Environment) -> Result<Self> {
        let base = UserDirectories::find(environment);
        let base = base.as_ref();
        let config = match directory_in(environment, env::YCRED_CONFIG_DIR) {
            Some(Err(why)) => return Err(Error::usage(why).hint("set it to an absolute path, or unset it")),
            Some(Ok(path)) => Some(path),
            None => environment
                .absolute(env::XDG_CONFIG_HOME)
                .map(|directory| directory.join(APP))
                .or_else(|| base.map(|base| base.config(APP))),
        };
        let cache = match directory_in(environment, env::YCRED_CACHE_DIR) {
            Some(chosen) => chosen.into(),
            None => match environment.absolute(env::XDG_CACHE_HOME) {
                Some(directory) => Ok(directory.join(APP)).into(),
                None => default_cache(environment, base),
            },
        };
        let state = match directory_in(environment, env::YCRED_STATE_DIR) {
            Some(chosen) => chosen,
            None => match environment.absolute(env::XDG_STATE_HOME) {
                Some(directory) => Ok(directory.join(APP)),
                None => default_state(environment, base),
            },
        };
        Ok(Self { config, cache, state, home: base.map(|base| base.home().to_owned()) })
    }

    /// Returns true if yc has been used here, so that `import` has something to read.
    pub fn has_yc(&self) -> bool {
        self.home.as_ref().is_some_and(|home| home.join(YC_CONFIG).exists())
    }

    /// Returns the same directories, but for the profiles the one that programs without the variable look in. Returns `None`
    /// if no variable selects the directory.
    pub fn without_variable(&self, environment: &Environment) -> Option<(&'static str, Self)> {
        let variable = first_set(environment, [env::YCRED_CONFIG_DIR, env::XDG_CONFIG_HOME])?;
        let config = UserDirectories::find(environment).map(|base| base.config(APP));
        (config != self.config).then(|| (variable, Self { config, ..self.clone() }))
    }

    /// Returns the same directories, but for the logins the one that programs without the variable look in. Returns `None` if
    /// no variable selects the directory.
    pub fn without_state_variable(&self, environment: &Environment) -> Option<(&'static str, Self)> {
        let variable = first_set(environment, [env::YCRED_STATE_DIR, env::XDG_STATE_HOME])?;
        let state = UserDirectories::find(environment).map(|base| base.state().join(APP));
        let state = state.ok_or_else(|| "there is no home directory".to_owned());
        (state != self.state).then(|| (variable, Self { state, ..self.clone() }))
    }

    /// Returns no directories at all.
    pub fn none() -> Self {
        let unknown = || Err("the directory is unknown".into());
        Self { config: None, cache: unknown().into(), state: unknown(), home: None }
    }

    /// Returns the possible files of a profile, in search order.
    pub fn profile_candidates(&self, name: &str) -> Vec<PathBuf> {
        self.profile_directories().map(|directory| directory.join(format!("{name}.toml"))).collect()
    }

    /// Returns the directories of profiles, in search order.
    pub fn profile_directories(&self) -> impl Iterator<Item = &Path> {
        self.config.as_deref().into_iter().chain(SYSTEM_CONFIG.map(Path::new))
    }
}

/// Expands `~` and `~/…` to the home directory. Returns any other path unchanged.
///
/// # Errors
/// There is no home directory. The message fits after the name of the setting.
pub fn expand_home(path: &Path, home: Option<&Path>) -> Result<PathBuf, &'static str> {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => Ok(home.join(rest)),
        (Ok(_), None) => Err("starts with ~, but there is no home directory"),
        (Err(_), _) => Ok(path.to_owned()),
    }
}

/// Returns a path from the command line as an absolute path, as a string for a profile or a record.
///
/// # Errors
/// The message fits after the path.
pub fn absolute(path: &Path, home: Option<&Path>) -> Result<String, String> {
    let expanded = expand_home(path, home)?;
    let absolute = std::path::absolute(expanded).map_err(|error| format!("cannot be made absolute: {error}"))?;
    absolute.into_os_string().into_string().map_err(|_| "is not UTF-8".to_owned())
}

/// Returns the cache directory where no variable of ycred or of XDG names one.
fn default_cache(environment: &Environment, base: Option<&UserDirectories>) -> CacheDirectory {
    let has_next = environment.get(env::CACHE_DIRECTORY).is_some() || has_no_real_home(environment);
    let preferred = base.and_then(|base| usable(base.cache().join(APP), has_next));
    let run = || (system::process::effective_uid() == 0).then(|| Path::new("/run").join(APP));
    let next = first_of(environment, env::CACHE_DIRECTORY).or_else(run);
    match preferred {
        Some(preferred) => CacheDirectory { next: next.map(Ok), ..CacheDirectory::from(Ok(preferred)) },
        None => next.ok_or_else(|| missing(env::YCRED_CACHE_DIR)).into(),
    }
}

/// Returns the state directory where no variable of ycred or of XDG names one. `Err` has the reason for having none.
fn default_state(environment: &Environment, base: Option<&UserDirectories>) -> Result<PathBuf, String> {
    let next = first_of(environment, env::STATE_DIRECTORY);
    let preferred =
        base.and_then(|base| usable(base.state().join(APP), environment.get(env::STATE_DIRECTORY).is_some()));
    preferred.or(next).ok_or_else(|| missing(env::YCRED_STATE_DIR))
}

/// Returns a default, unless it cannot work and there is another one. Looks at it only then, because every cache hit would pay
/// for it.
fn usable(directory: PathBuf, has_next: bool) -> Option<PathBuf> {
    (!has_next || permission::check_creatable(&directory).is_ok()).then_some(directory)
}

fn missing(variable: &str) -> String {
    format!("there is no home directory that can be used; set {variable} to a directory")
}

/// Returns the first of these variables that has an absolute path.
fn first_set(environment: &Environment, variables: [&'static str; 2]) -> Option<&'static str> {
    variables.into_iter().find(|name| environment.absolute(name).is_some())
}

/// Returns the directory in a variable, or an error if it is relative.
fn directory_in(environment: &Environment, variable: &str) -> Option<Result<PathBuf, String>> {
    let path = PathBuf::from(environment.get(variable)?);
    Some(if path.is_absolute() { Ok(path) } else { Err(format!("{variable} must be an absolute path")) })
}

/// Returns true if `HOME` is one of the values that stand for "no home".
fn has_no_real_home(environment: &Environment) -> bool {
    environment.get("HOME").is_some_and(|home| home == "/" || home == "/nonexistent")
}

/// Returns the first directory in a variable. systemd separates several with colons.
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
    fn the_variables_override_the_defaults_and_must_be_absolute() {
        let all = [(env::YCRED_CONFIG_DIR, "/c"), (env::YCRED_CACHE_DIR, "/k"), (env::YCRED_STATE_DIR, "/s")];
        let both = places(&all).expect("good");
        assert_eq!(
            both.profile_candidates("prod"),
            [PathBuf::from("/c/prod.toml"), PathBuf::from("/etc/ycred/prod.toml")]
        );
        assert_eq!((both.cache.get().clone(), both.state), (Ok(PathBuf::from("/k")), Ok(PathBuf::from("/s"))));
        let xdg = places(&[(env::XDG_STATE_HOME, "/x"), (env::STATE_DIRECTORY, "/d:/e")]).expect("good");
        assert_eq!(xdg.state, Ok(PathBuf::from("/x/ycred")));
        assert!(places(&[(env::YCRED_STATE_DIR, "s")]).expect("no error").state.is_err());
        assert_eq!(places(&[(env::YCRED_CONFIG_DIR, "c")]).expect_err("relative").kind.exit_code(), 2);
        assert!(places(&[(env::YCRED_CACHE_DIR, "k")]).expect("no error").cache.get().is_err());
    }
}
