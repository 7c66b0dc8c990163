//! A profile out of the variables that stand for one.

use crate::base::environment as env;
use crate::base::environment::Environment;
use crate::base::error::{Error, Result};
use crate::base::secret::Secret;
use crate::commands::import::draft::{Draft, ImportSource, Selection, Setting};
use crate::disk::places;
use crate::profile::Profile;
use crate::profile::find::check_name;
use crate::session::Session;
use crate::sources;
use crate::sources::source::Assignment;
use std::path::Path;

/// The profile that stands for what the environment says where there is none.
pub(super) fn from_environment(wanted: &[Selection<'_>], session: &Session<'_>) -> Result<ImportSource> {
    let name = match wanted {
        [] => "default",
        [Selection { theirs, ours: None }] => theirs,
        _ => return Err(Error::usage("the environment makes one profile: give one name for it, or none")),
    };
    check_name(name)?;
    let environment = session.environment;
    let Some((source, assignments)) = sources::from_environment(environment) else {
        return Err(Error::profile("the environment says nothing that a profile could be made of")
            .hint("set YC_SERVICE_ACCOUNT_KEY_FILE, or another of the variables that docs/profiles.md lists"));
    };
    // What serves nobody without a profile would serve nobody with one.
    Profile::from_environment(environment, session.places)?.open()?;
    let mut draft = Draft::new(name.to_owned(), "the environment".to_owned(), source.name);
    let value = |variable: &str| plain(environment, variable);
    for assignment in assignments {
        match assignment {
            // Secrets that last go into files, since the variable will be gone; one that lives for hours does not.
            Assignment::Secret { variable, .. } if let Some(keep) = source.keep => {
                let text = Secret::wrapping(value(variable)?);
                draft.keep(keep(text).map_err(|error| error.context(variable))?);
            }
            Assignment::Secret { key, variable } => {
                draft.set(key, variable);
                draft.remarks.push(format!(
                    "{name}: {variable} is an IAM token, which lives for hours: the profile reads the variable, and keeps \
                     nothing"
                ));
            }
            Assignment::Value { key, value, .. } => {
                let is_file = source.keys.iter().any(|known| known.name == key && known.value == "FILE");
                draft.set(key, &if is_file { absolute(&value)? } else { value });
            }
        }
    }
    if environment.get(env::YC_ENDPOINT).is_some() {
        draft.endpoint(&value(env::YC_ENDPOINT)?);
    }
    if environment.get(env::YCRED_AUTH_URL).is_some() {
        draft.set("auth-url", &value(env::YCRED_AUTH_URL)?);
    }
    if environment.get(env::YCRED_IMPERSONATE).is_some() {
        let accounts = value(env::YCRED_IMPERSONATE)?.split(',').map(|account| account.trim().to_owned()).collect();
        draft.settings.push(("impersonate", Setting { values: accounts, is_list: true }));
    }
    Ok(ImportSource { drafts: vec![draft], ..ImportSource::default() })
}

pub(super) fn plain(environment: &Environment, variable: &str) -> Result<String> {
    let value = environment.text(variable).map_err(|_| Error::profile(format!("{variable} is not plain text")))?;
    Ok(value.unwrap_or_default().to_owned())
}

pub(super) fn absolute(path: &str) -> Result<String> {
    // A profile knows `~` too.
    if path.starts_with('~') {
        return Ok(path.to_owned());
    }
    places::absolute(Path::new(path), None).map_err(|why| Error::profile(format!("{path}: {why}")))
}
