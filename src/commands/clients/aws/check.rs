//! `doctor`'s check of the AWS CLI and SDKs: their two files, and the `credential_process` of each profile of AWS that
//! runs ycred.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::base::environment::AWS_SHARED_CREDENTIALS_FILE;
use crate::base::error::{Error, Result};
use crate::base::secret::Secret;
use crate::commands::check::{Check, Examination, Finding};
use crate::commands::clients::aws::config::{self, PROCESS, in_home, is_ours, path, profile_of};
use crate::commands::clients::aws::order::{self, AwsFileKind};
use crate::commands::clients::client::{profile_in_line, setup_command};
use crate::commands::clients::program;
use crate::commands::clients::public;
use crate::commands::clients::trial::{self, CLIENT_LIMIT, Trial, TrialResult};
use crate::edit::splice::Format;
use crate::edit::target::TargetFile;
use crate::edit::tree::TreeNode;
use crate::session::Session;
use crate::system::fixes;

pub const CHECK: Check = Check {
    id: "aws",
    about: "profiles of AWS that run ycred: the files, what AWS uses instead of ycred, and its answer",
    parts: &["config", "keys", "variable", "command", "profile", "answer"],
    limit: CLIENT_LIMIT,
    needs_network: false,
    run,
};

const VARIABLES: [&str; 4] =
    ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE"];

fn run(examination: &Examination) -> Vec<Finding> {
    examination.with_session(|session| examine(examination, session))
}

/// A file of AWS with its content.
struct AwsFile {
    path: PathBuf,
    text: String,
    root: TreeNode,
}

impl AwsFile {
    /// Reads a file as AWS does. A missing one is empty.
    fn read(path: PathBuf) -> Result<Self, Finding> {
        let text = match TargetFile::read(&path) {
            Ok(target) => target.text.unwrap_or_default(),
            Err(error) => return Err(Finding::of_error(&error).part("config")),
        };
        let place = |line: usize| format!("{}:{line}", path.display());
        let root = Format::Ini.parse(&text).map_err(|error| {
            Finding::fail(format!("{}: {}; AWS cannot read the file", place(error.line), error.why))
                .part("config")
                .fix(fixes::edit(&path, error.line))
        })?;
        let file = Self { path: path.clone(), text, root };
        if let Some((section, key)) = config::repeated(&file.root) {
            let line = file.line(key);
            let name = key.as_text().unwrap_or_default();
            let what = format!("{}: {name} is there twice in [{section}], so AWS cannot read the file", place(line));
            let fix = fixes::change(&path, &format!("{line}d"), line);
            return Err(Finding::fail(what).part("config").fix(fix).named(section));
        }
        Ok(file)
    }

    fn line(&self, node: &TreeNode) -> usize {
        self.text.get(..node.span.start).unwrap_or_default().matches('\n').count() + 1
    }

    /// Returns a finding if AWS uses other options of a profile instead of ycred.
    fn preferred(&self, kind: AwsFileKind, name: &str) -> Option<Finding> {
        let found = order::preferred(&self.root, kind, name)?;
        let lines: Vec<usize> = found.keys.iter().map(|key| self.line(key)).collect();
        let first = *lines.first()?;
        let (path, section) = (self.path.display(), found.section);
        let what = format!("{path}: [{section}] has {}, which AWS uses instead of ycred", found.description());
        let fix = if found.are_static_keys() {
            let script: Vec<String> = lines.iter().map(|line| format!("{line}d")).collect();
            fixes::change(&self.path, &script.join(";"), first)
        } else {
            fixes::edit(&self.path, first)
        };
        Some(Finding::fail(what).part("keys").fix(fix).named(section))
    }
}

fn examine(examination: &Examination, session: &Session<'_>) -> Vec<Finding> {
    let paths =
        path(session).and_then(|path| Ok((path, in_home(AWS_SHARED_CREDENTIALS_FILE, "credentials", session)?)));
    let Ok((config, credentials)) = paths else { return vec![Finding::skip("there is no home directory")] };
    let files = AwsFile::read(config).and_then(|config| Ok((config, AwsFile::read(credentials)?)));
    let (config, credentials) = match files {
        Ok(files) => files,
        Err(finding) => return vec![finding],
    };
    let ours: Vec<(String, String)> = config
        .root
        .members()
        .iter()
        .filter_map(|(key, section)| {
            let process = section.member(PROCESS).and_then(TreeNode::as_text).filter(|process| is_ours(process))?;
            Some((key.as_text()?.to_owned(), process.to_owned()))
        })
        .collect();
    if ours.is_empty() {
        return vec![match program::find("aws", session) {
            Some(_) => Finding::skip("no profile of AWS runs ycred").fix("ycred setup aws"),
            None => Finding::skip("the AWS CLI is not in PATH"),
        }];
    }
    let mut findings = Vec::new();
    for (section, process) in &ours {
        let name = &profile_of(section).unwrap_or_else(|| section.clone());
        let other = credentials.preferred(AwsFileKind::Credentials, name);
        let other = other.or_else(|| config.preferred(AwsFileKind::Configuration, name));
        let finding = other.or_else(|| call(name, section, process, examination, session));
        findings.extend(finding.map(|finding| finding.named(name)));
    }
    let set: Vec<&str> = VARIABLES.into_iter().filter(|name| session.environment.get(name).is_some()).collect();
    if !set.is_empty() {
        let what = format!("{} is set, which AWS uses instead of ycred unless you pass --profile", set.join(", "));
        findings.push(Finding::warn(what).part("variable").fix(fixes::unset(&set)));
    }
    if findings.is_empty() {
        let names: Vec<String> = ours.iter().map(|(section, _)| format!("[{section}]")).collect();
        findings.push(Finding::ok(format!("ycred serves {}", names.join(", "))).named(names.join(", ")));
    }
    findings
}

fn call(name: &str, section: &str, process: &str, examination: &Examination, session: &Session<'_>) -> Option<Finding> {
    let named = profile_in_line(process);
    let command = |profile: Option<&str>| setup_command("aws", config::selection(section), profile);
    let setup = command(named.as_deref());
    let words = words(process);
    let (first, arguments) = words.split_first()?;
    let path = match trial::resolve(first, Path::new("/"), session) {
        Ok(path) => path,
        Err(finding) => {
            let fix = finding.fix.unwrap_or(setup);
            return Some(Finding::fail(format!("[{name}]: {}", finding.what)).part("command").fix(fix));
        }
    };
    if !program::is_ycred(&path) {
        let what = format!("[{name}]: {} is not ycred, so it was not run", path.display());
        return Some(Finding::fail(what).part("command").fix(setup));
    }
    if let Err(finding) = trial::profile(named.as_deref(), &command(Some("NAME")), session) {
        return Some(Finding { what: format!("[{name}]: {}", finding.what), ..finding.part("profile") });
    }
    let trial = Trial { program: path, arguments: arguments.to_vec(), ..Trial::default() };
    match trial::answer(&trial, examination, session, credential)? {
        Ok(_) => None,
        Err(error) => {
            let what = format!("[{name}]: ycred does not answer: {}", error.reason());
            let by_hand = format!("run it by hand: {}", public::command(process));
            Some(Finding::fail(what).part("answer").fix(error.hint_text().unwrap_or(by_hand)))
        }
    }
}

/// Splits a command as setup writes it: words, some in double quotes.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut is_quoted) = (Vec::new(), None::<String>, false);
    let mut rest = command.chars();
    while let Some(c) = rest.next() {
        match c {
            '"' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            '\\' if is_quoted => word.get_or_insert_default().extend(rest.next()),
            ' ' if !is_quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

fn credential(result: &TrialResult) -> Result<()> {
    let answer: Value =
        serde_json::from_str(result.stdout.expose()).map_err(|_| Error::internal("the answer is not JSON"))?;
    let field = |name: &str| answer[name].as_str().filter(|value| !value.is_empty()).map(str::to_owned);
    match (field("AccessKeyId"), field("SecretAccessKey"), field("SessionToken")) {
        (Some(id), Some(secret), token) => {
            for secret in [Some(id), Some(secret), token].into_iter().flatten() {
                let _masked = Secret::new(secret);
            }
            Ok(())
        }
        _ => Err(Error::internal("the answer has no access key")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_split_into_words() {
        assert_eq!(words("/b/ycred aws --profile p"), ["/b/ycred", "aws", "--profile", "p"]);
        assert_eq!(words("\"/my dir/a \\\"b\\\"/ycred\" aws"), ["/my dir/a \"b\"/ycred", "aws"]);
    }
}
