//! The program `keyring`, through which pip and uv ask for passwords: a link to ycred in a directory of its own, which
//! must come first in PATH.

pub mod check;

use std::path::{Path, PathBuf};

use crate::base::environment::YCRED_PROFILE;
use crate::base::error::{Error, Result};
use crate::base::shell;
use crate::commands::clients::client::SetupCall;
use crate::commands::clients::profiles::{self, Chosen};
use crate::commands::clients::program;
use crate::commands::clients::report::Report;
use crate::commands::clients::undo::unlink_by_form;
use crate::profile::find;
use crate::session::Session;
use crate::system::{fixes, programs};

pub const NAME: &str = "keyring";
/// The value of the option that makes pip and uv run the program.
pub const SUBPROCESS: &str = "subprocess";

/// Returns the directory of the link, which contains nothing else.
pub fn directory(session: &Session<'_>) -> Option<PathBuf> {
    session.places.home.as_ref().map(|home| home.join(".local/lib/ycred"))
}

/// Returns where to create the link. Returns `None` if the first `keyring` in PATH is ycred, but not this link.
///
/// # Errors
/// Usage (2): there is no home directory.
pub fn link_path(session: &Session<'_>) -> Result<Option<PathBuf>> {
    let directory = directory(session).ok_or_else(|| Error::usage("no home directory").hint("set HOME"))?;
    let link = directory.join(programs::own_file_name(NAME));
    let found = program::find(NAME, session);
    let is_elsewhere = found.is_some_and(|found| found != link && program::is_running(&found));
    Ok((!is_elsewhere).then_some(link))
}

/// Returns true if ycred is linked as `keyring`, in PATH or in its own directory. A link there is ycred's also if it leads
/// nowhere.
pub fn is_linked(session: &Session<'_>) -> bool {
    let own = directory(session).map(|directory| directory.join(programs::own_file_name(NAME)));
    let is_dangling = own.as_ref().is_some_and(|own| own.is_symlink() && !own.exists());
    is_dangling || program::find(NAME, session).into_iter().chain(own).any(|path| program::is_running(&path))
}

/// Returns the line that puts the directory first in PATH, if it is not.
pub fn path_note(link: Option<&Path>, session: &Session<'_>) -> Option<String> {
    let directory = link?.parent()?;
    // The link itself may not be there: this may be a dry run.
    let mut directories = program::directories(session);
    let first = directories.find(|known| known == directory || program::has(known, NAME));
    if first.as_deref() == Some(directory) {
        return None;
    }
    Some(fixes::search_first_always(directory))
}

/// Returns the profile that `keyring` uses. Its callers choose no profile, so it is the default one.
///
/// # Errors
/// Usage (2): `--profile` names another profile.
pub fn chosen(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Chosen> {
    let chosen = match call.profile_argument()? {
        Some(argument) => Chosen::load(argument, session)?,
        None => profiles::default_or_only(call, session)?,
    };
    chosen.refuse_other()?;
    if call.profile_argument()?.is_some() {
        let default = profiles::default_or_only(call, session).ok();
        if default.as_ref().and_then(|default| default.profile.name.as_ref()) != chosen.profile.name.as_ref() {
            let profile = shell::word(&chosen.argument);
            return Err(Error::usage(format!(
                "{} cannot choose a profile: keyring uses the default one",
                call.client.name
            ))
            .hint(match is_default_own(session) {
                true => format!("where the program runs: export {YCRED_PROFILE}={profile}"),
                false => format!(
                    "where the program runs: export {YCRED_PROFILE}={profile}; or make it the default of all programs: \
                     ycred use {profile}"
                ),
            }));
        }
    }
    Ok(chosen)
}

/// Returns true if the default is a profile of its own, which `ycred use` does not replace.
fn is_default_own(session: &Session<'_>) -> bool {
    let file = session.places.config.as_ref().map(|directory| directory.join("default.toml"));
    let is_own = |path: &PathBuf| find::is_present(path) && !matches!(find::alias_target(path), Ok(Some(_)));
    file.is_some_and(|path| is_own(&path))
}

/// Without a journal, removes the link.
///
/// # Errors
/// As [`unlink_by_form`].
pub fn undo_without_journal(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Report> {
    let link = directory(session).map(|directory| directory.join(programs::own_file_name(NAME)));
    link.map_or_else(|| Ok(Report::default()), |link| unlink_by_form(call, &link, session))
}
