//! `doctor`'s check of Terraform and OpenTofu, which ignore a missing helper without a message.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::base::error::{Error, Result};
use crate::base::shell;
use crate::commands::check::{Check, Examination, Finding};
use crate::commands::clients::client::setup_command;
use crate::commands::clients::program;
use crate::commands::clients::public;
use crate::commands::clients::terraform::config::{
    self, OWN_FILE, PREFIX, chosen_file, directories, extra_files, helpers, is_ours, main_files,
};
use crate::commands::clients::terraform::syntax;
use crate::commands::clients::trial::{self, CLIENT_LIMIT, Trial, TrialResult};
use crate::disk::files;
use crate::edit::target::TargetFile;
use crate::session::Session;
use crate::system::fixes;

pub const CHECK: Check = Check {
    id: "terraform",
    about: "Terraform's credentials helper: the files that are read, the link, and its answer",
    parts: &["config", "variable", "helper", "profile", "answer"],
    limit: CLIENT_LIMIT,
    needs_network: false,
    run,
};

/// A `credentials_helper` block.
struct Block {
    file: PathBuf,
    line: usize,
    helper: String,
}

impl Block {
    fn is_ours(&self) -> bool {
        is_ours(&self.helper)
    }

    fn profile(&self) -> Option<&str> {
        self.helper.strip_prefix("ycred-")
    }
}

fn run(examination: &Examination) -> Vec<Finding> {
    examination.with_session(|session| examine(examination, session))
}

fn examine(examination: &Examination, session: &Session<'_>) -> Vec<Finding> {
    let places: Vec<_> = [false, true].into_iter().filter_map(|is_tofu| directories(is_tofu, session).ok()).collect();
    let mut in_directories: Vec<PathBuf> = Vec::new();
    for place in &places {
        in_directories.extend(extra_files(&place.configuration));
        in_directories.push(place.configuration.join(OWN_FILE));
    }
    in_directories.dedup();
    let hiding = chosen_file(session);
    let mut read = main_files(session);
    if hiding.is_none() {
        read.extend(in_directories.iter().cloned());
    }
    let blocks = match blocks(&read) {
        Ok(blocks) => blocks,
        Err(error) => return vec![Finding::of_error(&error).part("config")],
    };
    let Some(ours) = blocks.iter().find(|block| block.is_ours()) else {
        return vec![without(hiding, &in_directories, session)];
    };
    if let Some(finding) = read.iter().find_map(|file| unreadable(file)) {
        return vec![finding];
    }
    if let Some(other) = blocks.iter().find(|block| block.helper != ours.helper) {
        let (file, line) = (other.file.display(), other.line);
        let what = format!(
            "{file}:{line}: a second helper, {}; terraform accepts only one and reports an error",
            public::name_of(public::helper(&other.helper))
        );
        return vec![Finding::fail(what).part("config").fix(format!("remove the block at {file}:{line}"))];
    }
    let plugins: Vec<PathBuf> = places.iter().map(|place| place.plugins.clone()).collect();
    vec![helper(ours, &plugins, examination, session)]
}

/// Terraform goes on without a file that it cannot parse, or stops.
fn unreadable(file: &Path) -> Option<Finding> {
    let text = TargetFile::read(file).ok()?.text?;
    let (line, why) = syntax::error(&text)?;
    let what = format!("{}:{line}: {why}; terraform cannot read the file", file.display());
    Some(Finding::fail(what).part("config").fix(fixes::edit(file, line)))
}

fn blocks(files: &[PathBuf]) -> Result<Vec<Block>> {
    let mut blocks: Vec<Block> = Vec::new();
    for file in files {
        let Some(text) = TargetFile::read(file)?.text else { continue };
        let found = helpers(&text).into_iter();
        blocks.extend(found.map(|(line, helper)| Block { file: file.clone(), line, helper }));
    }
    Ok(blocks)
}

/// No file that is read names ycred.
fn without(hiding: Option<(&str, PathBuf)>, in_directories: &[PathBuf], session: &Session<'_>) -> Finding {
    let hidden = blocks(in_directories).unwrap_or_default().into_iter().find(Block::is_ours);
    if let (Some((variable, hiding)), Some(hidden)) = (hiding, hidden) {
        let what = format!(
            "{variable} makes terraform read {} instead of {}, which names ycred",
            hiding.display(),
            hidden.file.display()
        );
        let file = vec!["--file".to_owned(), hiding.display().to_string()];
        return Finding::fail(what).part("variable").fix(setup_command("terraform", file, hidden.profile()));
    }
    match program::is_any_found(&["terraform", "tofu"], session) {
        true => Finding::skip("ycred is not the credentials helper").fix("ycred setup terraform"),
        false => Finding::skip("neither terraform nor tofu is in PATH"),
    }
}

fn helper(block: &Block, plugins: &[PathBuf], examination: &Examination, session: &Session<'_>) -> Finding {
    let name = format!("{PREFIX}{}", block.helper);
    let selection = config::selection(&block.file, session);
    let command = |profile: Option<&str>| setup_command("terraform", selection.clone(), profile);
    // Both look in a directory of the platform too.
    let directories = plugins.iter().flat_map(|directory| {
        let below = files::paths(directory).into_iter();
        std::iter::once(directory.clone()).chain(below.filter(|path| path.is_dir()).collect::<Vec<_>>())
    });
    let Some(path) = directories.map(|directory| directory.join(&name)).find(|path| program::is_program(path)) else {
        let directory = plugins.first().cloned().unwrap_or_default();
        let what =
            format!("{name} is not in {}, and terraform goes on without it, without a message", directory.display());
        let link = directory.join(&name);
        let fix = trial::ycred_path(session)
            .and_then(|ycred| fixes::link_in_new_directory(&ycred, &link))
            .unwrap_or_else(|| command(block.profile()));
        return Finding::fail(what).part("helper").fix(fix);
    };
    if !program::is_ycred(&path) {
        let what = format!("{} is not ycred, so it was not run", path.display());
        return Finding::fail(what).part("helper").fix(format!("see what it is: {}", fixes::show(&path)));
    }
    let profile = match trial::profile(block.profile(), &command(Some("NAME")), session) {
        Ok(profile) => profile,
        Err(finding) => return finding.part("profile"),
    };
    let Some(host) = profile.hosts.singles().next() else {
        let what = format!("{profile} lists no host, so the helper answers for none");
        return Finding::warn(what).part("profile").fix("add the registry to `hosts` in the profile");
    };
    let ok = Finding::ok(format!("{} is the credentials helper ({})", block.helper, block.file.display()));
    let trial = Trial { program: path, arguments: vec!["get".to_owned(), host.clone()], ..Trial::default() };
    match trial::answer(&trial, examination, session, credential) {
        None | Some(Ok(_)) => ok,
        Some(Err(error)) => {
            let what = format!("{name} does not answer for {host}: {}", error.reason());
            let by_hand = format!("run it by hand: {} get {host}", shell::word(&trial.program));
            Finding::fail(what).part("answer").fix(error.hint_text().unwrap_or(by_hand)).named(host)
        }
    }
}

fn credential(result: &TrialResult) -> Result<()> {
    let answer: Value =
        serde_json::from_str(result.stdout.expose()).map_err(|_| Error::internal("the answer is not JSON"))?;
    trial::hide(answer["token"].as_str(), "token")
}
