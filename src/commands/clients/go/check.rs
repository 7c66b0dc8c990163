//! `doctor`'s check of go: the methods in `GOAUTH`, from the environment or go's own file.

use std::path::Path;

use crate::base::environment::GOAUTH;
use crate::base::secret::Secret;
use crate::commands::check::{Check, Examination, Finding};
use crate::commands::clients::client::{profile_in_line, setup_command};
use crate::commands::clients::go::config::{is_ours, methods, path, value};
use crate::commands::clients::program;
use crate::commands::clients::public;
use crate::commands::clients::trial::{self, CLIENT_LIMIT, Trial};
use crate::edit::target::TargetFile;
use crate::session::Session;
use crate::system::fixes;

pub const CHECK: Check = Check {
    id: "go",
    about: "ycred in go's GOAUTH: the variable, the command, and its answer",
    parts: &["config", "variable", "command", "profile", "answer"],
    limit: CLIENT_LIMIT,
    needs_network: false,
    run,
};

fn run(examination: &Examination) -> Vec<Finding> {
    examination.with_session(|session| vec![examine(examination, session)])
}

fn examine(examination: &Examination, session: &Session<'_>) -> Finding {
    if program::find("go", session).is_none() {
        return Finding::skip("go is not in PATH");
    }
    let by_variable = session.environment.get(GOAUTH).map(|value| value.to_string_lossy().into_owned());
    let in_file = match path(session) {
        Ok(path) => match TargetFile::read(&path) {
            Ok(target) => target.text.as_deref().and_then(value).map(str::to_owned),
            Err(error) => return Finding::of_error(&error).part("config"),
        },
        // GOENV=off: there is no file.
        Err(_) => None,
    };
    let ours = |value: &Option<String>| -> Option<String> {
        let value = value.as_ref()?;
        methods(value).into_iter().find(|method| is_ours(method)).map(str::to_owned)
    };
    match (ours(&by_variable), ours(&in_file)) {
        (Some(method), _) => call(&method, examination, session),
        (None, Some(_)) if by_variable.is_some() => {
            let what = format!("{GOAUTH} is set without ycred, and go prefers it to its file, which has ycred");
            Finding::fail(what).part("variable").fix(fixes::unset(&[GOAUTH]))
        }
        (None, Some(method)) => call(&method, examination, session),
        (None, None) => Finding::skip(format!("{GOAUTH} has no ycred")).fix("ycred setup go"),
    }
}

fn call(method: &str, examination: &Examination, session: &Session<'_>) -> Finding {
    let named = profile_in_line(method);
    let setup = setup_command("go", Vec::new(), named.as_deref());
    let mut words = method.split_whitespace();
    let first = words.next().unwrap_or_default();
    let path = match trial::resolve(first, Path::new("/"), session) {
        Ok(path) => path,
        Err(finding) => {
            let fix = finding.fix.unwrap_or(setup);
            return Finding::fail(format!("{GOAUTH}: {}", finding.what)).part("command").fix(fix);
        }
    };
    if !program::is_ycred(&path) {
        let what = format!("{GOAUTH}: {} is not ycred, so it was not run", path.display());
        return Finding::fail(what).part("command").fix(setup);
    }
    if let Err(finding) = trial::profile(named.as_deref(), "ycred setup go --profile NAME", session) {
        return finding.part("profile");
    }
    let trial = Trial { program: path, arguments: words.map(str::to_owned).collect(), ..Trial::default() };
    // The answer may be empty: the profile may list no host of modules.
    let answer = trial::answer(&trial, examination, session, |result| {
        for line in result.stdout.expose().lines().filter_map(|line| line.split_once("Basic ")) {
            let _masked = Secret::new(line.1.to_owned());
        }
        Ok(())
    });
    match answer {
        None | Some(Ok(_)) => Finding::ok(format!("{GOAUTH} runs ycred")),
        Some(Err(error)) => {
            let what = format!("{GOAUTH}: ycred does not answer: {}", error.reason());
            let by_hand = format!("run it by hand: {}", public::command(method));
            Finding::fail(what).part("answer").fix(error.hint_text().unwrap_or(by_hand))
        }
    }
}
