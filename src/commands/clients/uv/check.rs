//! `doctor`'s check of uv, which runs the first `keyring` in PATH.

use toml::de::DeTable;

use crate::base::environment::UV_KEYRING_PROVIDER;
use crate::commands::check::{Check, Examination, Finding};
use crate::commands::clients::keyring::{self, SUBPROCESS};
use crate::commands::clients::paste::check::without_ycred;
use crate::commands::clients::paste::line_at;
use crate::commands::clients::trial::CLIENT_LIMIT;
use crate::commands::clients::uv::config::{OPTION, path};
use crate::edit::target::TargetFile;
use crate::session::Session;
use crate::system::fixes;

pub const CHECK: Check = Check {
    id: "uv",
    about: "uv's keyring: the option, which keyring is first in PATH, and its answer",
    parts: &["config", "variable", "link", "path", "profile", "answer"],
    limit: CLIENT_LIMIT,
    needs_network: false,
    run,
};

fn run(examination: &Examination) -> Vec<Finding> {
    examination.with_session(|session| vec![examine(examination, session)])
}

fn examine(examination: &Examination, session: &Session<'_>) -> Finding {
    let by_variable = session.environment.get(UV_KEYRING_PROVIDER);
    let is_linked = keyring::is_linked(session);
    let mut in_file = false;
    if let Some(path) = path(session) {
        let text = match TargetFile::read(&path) {
            Ok(target) => target.text.unwrap_or_default(),
            Err(error) => return Finding::of_error(&error).part("config"),
        };
        match DeTable::parse(&text) {
            Ok(root) => {
                let pip = root.get_ref().get("pip").and_then(|pip| pip.get_ref().as_table());
                let tables = [Some(root.get_ref()), pip].into_iter().flatten();
                in_file = tables
                    .filter_map(|table| table.get(OPTION)?.get_ref().as_str())
                    .any(|provider| provider == SUBPROCESS);
            }
            Err(error) if is_linked && text.contains(OPTION) => {
                let line = line_at(&text, error.span().map_or(0, |span| span.start));
                let what = format!("{}:{line}: {}; uv cannot read the file", path.display(), error.message());
                return Finding::fail(what).part("config").fix(fixes::edit(&path, line));
            }
            Err(_) => {}
        }
    }
    if !is_linked || !in_file && by_variable.is_none_or(|value| value != SUBPROCESS) {
        return without_ycred("uv", &["uv"], session);
    }
    if by_variable.is_some_and(|value| value != SUBPROCESS) {
        let what = format!("{UV_KEYRING_PROVIDER} has another value than {OPTION} in uv's file, and uv prefers it");
        return Finding::fail(what).part("variable").fix(fixes::unset(&[UV_KEYRING_PROVIDER]));
    }
    keyring::check::examine("uv", examination, session)
}
