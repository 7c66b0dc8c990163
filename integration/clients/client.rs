//! Client programs: how often they run ycred, what they leave behind, and the troubles that each must show to its user.

use std::fs;
use std::path::{Path, PathBuf};

use super::stand_in::basic_value;
use crate::harness::Sandbox;
use crate::world::World;

/// Lets a client meet what keeps a user from a token, each with the words that must reach that user, however the client
/// shows them: `meet` is given the registry to ask about, and the words. `host` is one that the client can reach.
pub fn troubles(world: &World, host: &str, meet: impl Fn(&str, &[&str])) {
    // Built in, so that it is ours even without a profile.
    meet("cr.yandex", &["no profile", "ycred init"]);
    let hosts = [host.to_owned()];
    world.profile_for("default", &hosts);
    meet(host, &[world.refuse(), "yc iam key list"]);
    world.emulator.clear_faults();
    // Another key, so that no refusal is remembered.
    world.profile_for("default", &hosts);
    meet(host, &[world.break_down(), "503"]);
    world.emulator.clear_faults();
}

/// A script that notes each of its runs and then becomes `target`; and the file with the notes.
pub fn wrapper(sandbox: &Sandbox, relative: &str, target: &Path) -> (PathBuf, PathBuf) {
    let runs = sandbox.path(format!("tmp/{}.runs", relative.replace('/', "-")));
    let text = format!("#!/bin/sh\necho run >> '{}'\nexec '{}' \"$@\"\n", runs.display(), target.display());
    (sandbox.script(relative, &text), runs)
}

/// How often such a script has run.
pub fn runs_of(runs: &Path) -> usize {
    fs::read_to_string(runs).map_or(0, |text| text.lines().count())
}

/// No file in the sandbox holds this secret, neither as it is nor as docker's configuration would have it.
#[track_caller]
pub fn assert_nowhere(sandbox: &Sandbox, secret: &str) {
    let encoded = basic_value("iam", secret);
    let encoded = encoded.trim_start_matches("Basic ");
    for path in sandbox.files("") {
        // A socket is no file to read.
        let Ok(text) = fs::read(&path) else { continue };
        for form in [secret, encoded] {
            let found = text.windows(form.len()).any(|window| window == form.as_bytes());
            assert!(!found, "{} holds the secret", path.display());
        }
    }
}
