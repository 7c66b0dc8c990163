//! Creates a profile from the environment variables that ycred uses if there is no profile.

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

/// Returns a draft profile that is equivalent to the environment.
///
/// # Errors
/// Usage (2): more than one name is given. Profile (3): the variables are not set, or are invalid.
pub(super) fn from_environment(selections: &[Selection<'_>], session: &Session<'_>) -> Result<ImportSource> {
    let name = match selections {
        [] => "main",
        [Selection { yc_name: name, new_name: None }] => name,
        _ => {
            return Err(Error::usage("cannot create more than one profile from the environment")
                .hint("give one name: ycred import --environment NAME"));
        }
    };
    check_name(name)?;
    let environment = session.environment;
    let Some((source, assignments)) = sources::from_environment(environment, session.clock.now()) else {
        return Err(Error::profile("cannot create a profile: no credentials in the environment")
            .hint(format!("set one of {}", sources::variables().join(", "))));
    };
    // Report an invalid variable now, before a profile contains its value.
    Profile::from_environment(environment, session.places, session.clock.now())?.open()?;
    let mut draft = Draft::new(name.to_owned(), "the environment".to_owned(), source.name);
    let value = |variable: &str| utf8_value(environment, variable);
    for assignment in assignments {
        match assignment {
            // A long-lived secret goes into a file, because the variable will be gone. An IAM token expires within
            // hours and is not stored.
            Assignment::VariableName { variable, .. } if let Some(secret_file) = source.secret_file => {
                let secret = Secret::wrapping(value(variable)?);
                draft.set_secret(secret_file(secret).map_err(|error| error.context(variable))?);
            }
            Assignment::VariableName { key, variable } => {
                draft.set(key, variable);
                draft.remarks.push(format!(
                    "{name}: {variable} is an IAM token, which expires within hours: it is not stored, and the profile \
                     reads the variable"
                ));
            }
            Assignment::Value { key, value, .. } => {
                let is_file = source.keys.iter().any(|known| known.name == key && known.value == "FILE");
                draft.set(key, &if is_file { absolute(&value)? } else { value });
            }
        }
    }
    if environment.get(env::YC_ENDPOINT).is_some() {
        draft.set_endpoint(&value(env::YC_ENDPOINT)?);
    }
    if environment.get(env::YCRED_AUTH_URL).is_some() {
        draft.set("auth-url", &value(env::YCRED_AUTH_URL)?);
    }
    if environment.get(env::YCRED_IMPERSONATE).is_some() {
        let accounts = value(env::YCRED_IMPERSONATE)?.split(',').map(|account| account.trim().to_owned()).collect();
        draft.settings.push(("impersonate", Setting { values: accounts, is_list: true }));
    }
    let default = selections.is_empty().then(|| name.to_owned());
    Ok(ImportSource { drafts: vec![draft], default, ..ImportSource::default() })
}

/// Returns the value of a variable.
///
/// # Errors
/// Profile (3): the value is not valid UTF-8.
pub(super) fn utf8_value(environment: &Environment, variable: &str) -> Result<String> {
    let value = environment.text(variable).map_err(|_| Error::profile(format!("{variable}: not valid UTF-8")))?;
    Ok(value.unwrap_or_default().to_owned())
}

/// Makes a path absolute. A path that starts with `~` stays as it is, because profiles support `~` too.
pub(super) fn absolute(path: &str) -> Result<String> {
    if path.starts_with('~') {
        return Ok(path.to_owned());
    }
    places::absolute(Path::new(path), None).map_err(|why| Error::profile(format!("{path}: {why}")))
}
