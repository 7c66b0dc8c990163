//! What `doctor`'s checks of pip and uv have in common: the first `keyring` in PATH, and its answer.

use std::path::Path;

use crate::base::error::Result;
use crate::base::shell;
use crate::commands::check::{Examination, Finding};
use crate::commands::clients::keyring;
use crate::commands::clients::program;
use crate::commands::clients::trial::{self, Trial, TrialResult};
use crate::edit::change::Editor;
use crate::session::Session;
use crate::system::{fixes, programs};

/// Examines the program that a client runs because its option says so.
pub fn examine(client: &'static str, examination: &Examination, session: &Session<'_>) -> Finding {
    let own = keyring::directory(session).map(|directory| directory.join(programs::own_file_name(keyring::NAME)));
    let found = program::find(keyring::NAME, session).filter(|found| program::is_ycred(found));
    let Some(found) = found else {
        if let Some(own) = own.as_ref().filter(|own| own.is_symlink() && !own.exists())
            && let Some(ycred) = trial::ycred_path(session)
        {
            let what = format!("{} is a link to a file that does not exist", own.display());
            return Finding::fail(what).part("link").fix(fixes::link(&ycred, own));
        }
        let what = format!("the first keyring in PATH is not ycred, so {client} does not ask it");
        let fix = fixes::search_first(&keyring::directory(session).unwrap_or_default());
        return Finding::fail(what).part("path").fix(fix);
    };
    call(client, &found, examination, session)
}

/// Reports that the link which setup has created is gone. Only the journal knows that: another program named `keyring` may be
/// what pip should run.
pub fn lost_link(client: &'static str, session: &Session<'_>) -> Option<Finding> {
    let own = keyring::directory(session)?.join(programs::own_file_name(keyring::NAME));
    if keyring::is_linked(session) || own.symlink_metadata().is_ok() {
        return None;
    }
    let editor = Editor::new(session.places, session.clock, true).ok()?;
    let journal = editor.journal().ok()?;
    let is_noted = journal.of_client(client).any(|entry| entry.file == own);
    let what = format!("{} is gone, which setup has linked to ycred", own.display());
    is_noted.then(|| Finding::fail(what).part("link").fix(format!("ycred setup {client}")))
}

fn call(client: &'static str, found: &Path, examination: &Examination, session: &Session<'_>) -> Finding {
    let profile = match trial::profile(None, &format!("ycred setup {client}"), session) {
        Ok(profile) => profile,
        Err(finding) => return finding.part("profile"),
    };
    let Some(host) = profile.hosts.singles().next() else {
        return Finding::warn(format!("{profile} lists no host, so ycred answers for no index"))
            .part("profile")
            .fix("add the index to `hosts` in the profile");
    };
    let arguments = ["get".to_owned(), format!("https://{host}/simple/"), "iam".to_owned()].into();
    let trial = Trial { program: found.to_owned(), arguments, ..Trial::default() };
    match trial::answer(&trial, examination, session, password) {
        None | Some(Ok(_)) => Finding::ok(format!("{client} asks ycred through {}", found.display())),
        Some(Err(error)) => {
            let what = format!("keyring does not answer for {host}: {}", error.reason());
            let by_hand = format!("run it by hand: {} {}", shell::word(found), trial.arguments.join(" "));
            Finding::fail(what).part("answer").fix(error.hint_text().unwrap_or(by_hand)).named(host)
        }
    }
}

fn password(result: &TrialResult) -> Result<()> {
    trial::hide(Some(result.stdout.expose().trim()), "password")
}
