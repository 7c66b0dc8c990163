//! `doctor`'s check of pip, which runs the first `keyring` in PATH.

use crate::base::environment::PIP_KEYRING_PROVIDER;
use crate::commands::check::{Check, Examination, Finding};
use crate::commands::clients::keyring::{self, SUBPROCESS};
use crate::commands::clients::paste::check::without_ycred;
use crate::commands::clients::pip::config::{OPTION, SECTION, SPELLINGS, path};
use crate::commands::clients::trial::CLIENT_LIMIT;
use crate::commands::clients::values::{find, keys};
use crate::edit::splice::Format;
use crate::edit::target::TargetFile;
use crate::edit::tree::TreeNode;
use crate::session::Session;
use crate::system::fixes;

pub const CHECK: Check = Check {
    id: "pip",
    about: "pip's keyring: the option, which keyring is first in PATH, and its answer",
    parts: &["config", "variable", "link", "path", "profile", "answer"],
    limit: CLIENT_LIMIT,
    needs_network: false,
    run,
};

fn run(examination: &Examination) -> Vec<Finding> {
    examination.with_session(|session| vec![examine(examination, session)])
}

fn examine(examination: &Examination, session: &Session<'_>) -> Finding {
    let Ok(path) = path(session) else { return Finding::skip("pip reads no configuration file here") };
    let text = match TargetFile::read(&path) {
        Ok(target) => target.text.unwrap_or_default(),
        Err(error) => return Finding::of_error(&error).part("config"),
    };
    let root = match Format::Ini.parse(&text) {
        Ok(root) => root,
        Err(error) => {
            let what = format!("{}:{}: {}; pip cannot read the file", path.display(), error.line, error.why);
            let fix = fixes::edit(&path, error.line);
            return Finding::fail(what).part("config").fix(fix);
        }
    };
    let value = SPELLINGS.iter().find_map(|spelling| find(&root, &keys(&[SECTION, spelling])));
    let in_file = value.and_then(TreeNode::as_text) == Some(SUBPROCESS);
    let by_variable = session.environment.get(PIP_KEYRING_PROVIDER);
    if in_file && let Some(finding) = keyring::check::lost_link("pip", session) {
        return finding;
    }
    if !keyring::is_linked(session) || !in_file && by_variable.is_none_or(|value| value != SUBPROCESS) {
        return without_ycred("pip", &["pip", "pip3"], session);
    }
    if by_variable.is_some_and(|value| value != SUBPROCESS) {
        let what = format!("{PIP_KEYRING_PROVIDER} has another value than {OPTION} in {}", path.display());
        return Finding::fail(what).part("variable").fix(fixes::unset(&[PIP_KEYRING_PROVIDER]));
    }
    keyring::check::examine("pip", examination, session)
}
