//! Helpers for the tests of clients: count the runs of ycred, search for stored secrets, and provoke failures.

use std::fs;
use std::path::{Path, PathBuf};

use super::test_server::basic_value;
use crate::harness::Sandbox;
use crate::world::World;

/// Runs `check` for each reason why a user gets no token: no profile, a rejected key, an unavailable cloud.
///
/// `check` gets the registry to use, and the parts of ycred's messages that must reach the user. `host` is a registry
/// that the client can connect to.
pub fn for_each_failure(world: &World, host: &str, check: impl Fn(&str, &[&str])) {
    // Without this, the only profile would serve.
    for path in world.sandbox.files("config").iter().filter(|path| path.extension().is_some_and(|it| it == "toml")) {
        fs::remove_file(path).expect("a profile");
    }
    // An allowed host by default, even without a profile.
    check("cr.yandex", &["no profile", "ycred init"]);
    let hosts = [host.to_owned()];
    world.profile_for("default", &hosts);
    check(host, &[world.refuse(), "yc iam key list"]);
    world.emulator.clear_faults();
    // A new key, because ycred remembers the rejection of the old one.
    world.profile_for("default", &hosts);
    check(host, &[world.make_unavailable(), "503"]);
    world.emulator.clear_faults();
}

/// Writes a script that records each run and then executes `target`. Returns the script, and the file for [`runs_of`].
pub fn wrapper(sandbox: &Sandbox, relative: &str, target: &Path) -> (PathBuf, PathBuf) {
    let runs = sandbox.path(format!("tmp/{}.runs", relative.replace('/', "-")));
    let script = format!("#!/bin/sh\necho run >> '{}'\nexec '{}' \"$@\"\n", runs.display(), target.display());
    (sandbox.script(relative, &script), runs)
}

/// Returns how often a [`wrapper`] has run.
pub fn runs_of(runs: &Path) -> usize {
    fs::read_to_string(runs).map_or(0, |content| content.lines().count())
}

/// Checks that no file in the sandbox contains this secret, neither in the clear nor as Basic credentials.
#[track_caller]
pub fn assert_not_stored(sandbox: &Sandbox, secret: &str) {
    let encoded = basic_value("iam", secret);
    let encoded = encoded.trim_start_matches("Basic ");
    for path in sandbox.files("") {
        // Skip sockets, which cannot be read.
        let Ok(content) = fs::read(&path) else { continue };
        for form in [secret, encoded] {
            let is_stored = content.windows(form.len()).any(|window| window == form.as_bytes());
            assert!(!is_stored, "{} contains the secret", path.display());
        }
    }
}
