//! What a profile needs on this machine: its settings, and the files that hold its secrets.

use std::fs;
use std::path::Path;

use crate::base::error::{Error, describe};
use crate::base::shell;
use crate::commands::check::Finding;
use crate::disk::{files, trust};
use crate::profile::Profile;
use crate::sources::authorized_key;
use crate::system;

/// Returns what is wrong with the settings of a profile, although its file can be read.
pub fn settings(profile: &Profile) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(file) = &profile.settings.file
        && let Err(error) = trust::check_directories(file)
    {
        findings.push(Finding::of_error(&error));
    }
    if let Err(error) = profile.open() {
        findings.push(Finding::of_error(&error));
    }
    findings
}

/// Examines the files in which a profile's source finds its secrets. Empty if the source has none.
pub fn secrets(profile: &Profile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for key in profile.source.keys.iter().filter(|key| key.name.ends_with("-file")) {
        match profile.settings.path(key.name) {
            Ok(Some(path)) => findings.extend(file(profile, key.name, &path)),
            Ok(None) => {}
            Err(error) => findings.push(Finding::of_error(&error)),
        }
    }
    let is_readable = findings.iter().all(|finding| finding.verdict != crate::commands::check::Verdict::Fail);
    if profile.source.name == authorized_key::SOURCE.name && is_readable {
        match authorized_key::check(&profile.settings) {
            Ok(account) => findings.push(Finding::ok(format!("{profile}: {account}"))),
            Err(error) => findings.push(Finding::of_error(&error)),
        }
    }
    findings
}

fn file(profile: &Profile, key: &str, path: &Path) -> Vec<Finding> {
    let shown = path.display();
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            let finding = Finding::fail(format!("{profile}: {shown}: {}", describe(&error)));
            // The same as the hint of a call.
            let origin = match profile.settings.variable_of(key) {
                Some(variable) => format!("the variable {variable}"),
                None => profile.settings.place_in_words(key).unwrap_or_else(|| format!("`{key}` in the profile")),
            };
            return vec![finding.fix(format!("restore the file, or correct {origin}"))];
        }
    };
    let mode = system::files::mode(&metadata);
    let is_own = system::files::is_own(&metadata);
    match files::read_text(path) {
        Err(error) if is_own && metadata.is_file() && mode & 0o400 == 0 => {
            return vec![Finding::fail(error.reason()).fix(system::fixes::make_private(path))];
        }
        Err(error) => return vec![Finding::of_error(&error)],
        Ok(text) if text.trim().is_empty() => {
            return vec![Finding::of_error(&Error::profile(format!("{shown}: is empty")).hint("write the file again"))];
        }
        Ok(_) => {}
    }
    let exposure = system::access::reason_for_exposure(path, &metadata, &shell::word(path));
    let finding = exposure.map(|(how, fix)| {
        Finding::warn(format!("{shown}: others can read or change it ({how})")).part("mode").fix(fix)
    });
    finding.into_iter().collect()
}
