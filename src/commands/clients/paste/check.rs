//! What `doctor`'s checks of clients whose files the user edits have in common: one command that names ycred.

use std::path::Path;

use crate::base::error::Result;
use crate::base::hosts::{Host, HostScope};
use crate::commands::check::{Examination, Finding};
use crate::commands::clients::client::setup_command;
use crate::commands::clients::program;
use crate::commands::clients::trial::{self, Trial, TrialResult};
use crate::profile::Profile;
use crate::session::Session;
use crate::system::{fixes, programs};

/// A command in a client's configuration.
pub struct PastedCommand {
    pub client: &'static str,
    /// Where it is: the file with the line, or a variable.
    pub place: String,
    /// The program, as the configuration names it.
    pub program: String,
    pub profile: Option<String>,
    /// The host that the client asks for, if the configuration names one and the hook decides by it.
    pub host: Option<(Host, HostScope)>,
}

impl PastedCommand {
    /// Returns true if a program's name is ycred's, or that of a hook's link, with or without a profile.
    pub fn is_ours(program: &str, hook: &str) -> bool {
        let name = programs::own_name(Path::new(program)).unwrap_or(program);
        let is_link = name.strip_prefix(hook).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
        is_link || matches!(name, "ycred" | "kubectl-ycred")
    }

    /// Returns what is wrong with the command. `trial` returns the call that the client makes, without the program, and `read`
    /// checks its answer.
    pub fn examine(
        &self,
        trial: impl FnOnce(&Profile) -> Option<Trial>,
        read: impl Fn(&TrialResult) -> Result<()>,
        examination: &Examination,
        session: &Session<'_>,
    ) -> Option<Finding> {
        let finding = self.find_fault(trial, read, examination, session)?;
        let finding = Finding { what: format!("{}: {}", self.place, finding.what), ..finding };
        Some(match &self.host {
            Some((host, _)) => finding.named(host.to_string()),
            None => finding,
        })
    }

    fn find_fault(
        &self,
        trial: impl FnOnce(&Profile) -> Option<Trial>,
        read: impl Fn(&TrialResult) -> Result<()>,
        examination: &Examination,
        session: &Session<'_>,
    ) -> Option<Finding> {
        let path = match trial::resolve(&self.program, Path::new("/"), session) {
            Ok(path) => path,
            Err(finding) => {
                let fix = finding.fix.clone().unwrap_or_else(|| self.make(session));
                return Some(finding.part("command").fix(fix));
            }
        };
        if !program::is_ycred(&path) {
            let what = format!("{} is not ycred, so it was not run", path.display());
            return Some(Finding::fail(what).part("command").fix(self.setup()));
        }
        let setup = format!("ycred setup {} --profile NAME", self.client);
        let profile = match trial::profile(self.profile.as_deref(), &setup, session) {
            Ok(profile) => profile,
            Err(finding) => return Some(finding.part("profile")),
        };
        if let Some((host, scope)) = &self.host
            && !profile.hosts.covers_for(*scope, host)
        {
            let bare = Host { scheme: None, ..host.clone() }.to_string();
            let what = format!(
                "{profile} does not list {bare}, so ycred does not answer for it{}",
                trial::meant(&bare, &profile)
            );
            let edit = profile.settings.edit_for_host(&bare);
            let fix = format!(
                "if the entry is wrong or misspelt, correct or remove it; if it is right and you trust the host with your IAM \
                 token, {edit}"
            );
            return Some(Finding::fail(what).part("hosts").fix(fix));
        }
        let trial = Trial { program: path, ..trial(&profile)? };
        match trial::answer(&trial, examination, session, read)? {
            Ok(_) => None,
            Err(error) => {
                let fix =
                    error.hint_text().unwrap_or_else(|| "check the profile: ycred doctor profile token".to_owned());
                let what = format!("ycred does not answer: {}", error.reason());
                Some(Finding::fail(what).part("answer").fix(fix))
            }
        }
    }

    fn setup(&self) -> String {
        setup_command(self.client, Vec::new(), self.profile.as_deref())
    }

    /// Returns the command that creates what the configuration names. A file that is there is not replaced.
    fn make(&self, session: &Session<'_>) -> String {
        let path = Path::new(&self.program);
        let is_missing = path.is_absolute() && !path.exists();
        let ycred = trial::ycred_path(session).filter(|_| is_missing);
        ycred.and_then(|ycred| fixes::link_in_new_directory(&ycred, path)).unwrap_or_else(|| self.setup())
    }
}

/// Returns the findings of a client. If there are none, says what ycred serves for it, or that its configuration does not name
/// ycred.
pub fn conclude(
    client: &str,
    programs: &[&str],
    findings: Vec<Finding>,
    served: &[String],
    session: &Session<'_>,
) -> Vec<Finding> {
    match (findings.is_empty(), served.is_empty()) {
        (true, true) => vec![without_ycred(client, programs, session)],
        (true, false) => vec![Finding::serves(served)],
        (false, _) => findings,
    }
}

/// Returns the finding for a client whose configuration does not name ycred.
pub fn without_ycred(client: &str, names: &[&str], session: &Session<'_>) -> Finding {
    match program::is_any_found(names, session) {
        true => Finding::skip(format!("{client} does not run ycred")).fix(format!("ycred setup {client}")),
        false => Finding::skip(format!("{client} is not in PATH")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_ours_by_its_whole_name() {
        for (program, is_ours) in [
            ("/usr/bin/ycred", true),
            ("ycred", true),
            ("/home/me/.local/bin/ycred-pnpm", true),
            ("/home/me/.local/bin/ycred-pnpm-prod", true),
            ("/usr/bin/ycred-pnpmx", false),
            ("/opt/ycred/print-token", false),
            ("my-ycred", false),
        ] {
            assert_eq!(PastedCommand::is_ours(program, "ycred-pnpm"), is_ours, "{program}");
        }
    }
}
