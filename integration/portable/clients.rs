//! Clients whose configuration has the paths of the system: what `setup` writes is recognized again, by `setup` itself, by
//! `doctor`, and by the commands that ask who uses a profile.

use std::fs;
use std::path::PathBuf;

use super::harness::{Machine, is_under_wine, is_windows, only_for_owner};

const HOST: &str = "git.example.com";

impl Machine {
    /// Creates a machine with a profile `prod` and with configuration files of clients.
    fn with_clients() -> Self {
        let mut machine = Self::new();
        machine.profile("prod", "prod.json");
        for (name, file) in [
            ("AWS_CONFIG_FILE", "home/aws config"),
            ("AWS_SHARED_CREDENTIALS_FILE", "home/aws credentials"),
            ("GIT_CONFIG_GLOBAL", "home/git config"),
        ] {
            machine.set(name, machine.shown(machine.path(file)));
        }
        machine
    }

    /// Sets a client up, and checks that a second call finds nothing to change.
    #[track_caller]
    fn assert_set_up(&self, arguments: &[&str]) {
        let arguments = [&["setup"], arguments, &["-p", "prod"]].concat();
        self.ycred(&arguments).run().assert(0);
        let again = self.ycred(&arguments).run();
        again.assert(0);
        assert!(again.stdout.contains("already set up"), "{again:?}");
    }

    /// Checks that `doctor` looks at what `setup` wrote.
    #[track_caller]
    fn assert_examined(&self, client: &str) {
        let run = self.ycred(&["doctor", client, "--offline"]).run();
        run.assert(0);
        assert!(run.stdout.contains("[ok]") && !run.stdout.contains("[skip]"), "{run:?}");
    }

    /// Checks that `unsetup` finds what `setup` wrote even without its notes.
    #[track_caller]
    fn assert_undone_without_notes(&self, client: &str) {
        fs::remove_dir_all(self.path("state/setup")).expect("setup has made notes");
        let run = self.ycred(&["unsetup", client]).run();
        run.assert(0);
        assert!(run.stdout.contains("removed"), "{run:?}");
    }

    /// Adds a program that prints one line.
    fn printing_program(&self, name: &str, line: &str) {
        match is_windows() {
            true => self.file(format!("bin/{name}.cmd"), format!("@echo {line}\r\n")),
            false => executable(self.file(format!("bin/{name}"), format!("#!/bin/sh\necho '{line}'\n"))),
        };
    }

    /// Allows a profile to serve a host.
    fn allow(&self, profile: &str, host: &str) {
        let file = format!("config/{profile}.toml");
        let text = fs::read_to_string(self.path(&file)).expect("readable");
        self.file(file, format!("{text}\r\nhosts = [\"{host}\"]\r\n"));
    }
}

#[cfg(unix)]
fn executable(path: PathBuf) -> PathBuf {
    super::harness::set_mode(&path, 0o700);
    path
}

#[cfg(windows)]
fn executable(path: PathBuf) -> PathBuf {
    path
}

#[test]
#[cfg_attr(not(windows), ignore = "takes time: .ci/platforms native, or windows for Wine")]
fn aws_runs_what_setup_wrote_and_setup_knows_it() {
    let machine = Machine::with_clients();
    machine.assert_set_up(&["aws"]);
    machine.assert_examined("aws");
    let run = machine.ycred(&["status", "prod"]).run();
    assert!(run.stdout.contains("aws"), "{run:?}");
    let run = machine.ycred(&["remove", "prod"]).run();
    assert!(run.stderr.contains("aws") || run.stdout.contains("aws"), "remove names the client: {run:?}");
    machine.profile("prod", "prod.json");
    machine.assert_undone_without_notes("aws");
    let text = fs::read_to_string(machine.path("home/aws config")).expect("readable");
    assert!(!text.contains("credential_process"), "{text}");
}

#[test]
#[cfg_attr(not(windows), ignore = "takes time: .ci/platforms native, or windows for Wine")]
fn go_gets_its_method_in_the_file_that_it_names() {
    let machine = Machine::with_clients();
    let file = machine.path("home/go settings/env");
    machine.printing_program("go", &machine.shown(&file));
    // GOAUTH separates words by blanks, and the directory of the test has one.
    let bin = tempfile::Builder::new().prefix("ycred-").tempdir().expect("a directory");
    only_for_owner(bin.path());
    let program = machine.copy_to(bin.path());
    machine.assert_set_up(&["go", "--command", &machine.shown(&program)]);
    let text = fs::read_to_string(&file).expect("readable");
    assert!(text.starts_with(&format!("GOAUTH={} goauth --profile prod", machine.shown(&program))), "{text}");
    machine.assert_examined("go");
    machine.assert_undone_without_notes("go");
}

#[test]
#[cfg_attr(not(windows), ignore = "takes time: .ci/platforms native, or windows for Wine")]
fn git_gets_a_helper_that_doctor_examines() {
    if is_under_wine() {
        println!("SKIPPED: there is no git for Wine");
        return;
    }
    let machine = Machine::with_clients();
    machine.allow("prod", HOST);
    machine.assert_set_up(&["git", "--host", HOST]);
    machine.assert_examined("git");
    machine.assert_undone_without_notes("git");
}

#[test]
#[cfg_attr(not(windows), ignore = "takes time: .ci/platforms native, or windows for Wine")]
fn bazel_gets_a_path_without_backslashes() {
    let machine = Machine::with_clients();
    let run = machine.ycred(&["setup", "bazel", "-p", "prod"]).run();
    run.assert(0);
    let lines: Vec<&str> = run.stdout.lines().filter(|line| line.contains("--credential_helper=")).collect();
    assert!(!lines.is_empty() && lines.iter().all(|line| !line.contains('\\')), "{run:?}");
}

#[test]
#[cfg_attr(not(windows), ignore = "takes time: .ci/platforms native, or windows for Wine")]
fn a_report_has_no_paths_of_the_user() {
    let machine = Machine::with_clients();
    machine.profile("alice-secret-project", "key.json");
    let run = machine.ycred(&["doctor", "--report", "--offline", "-p", "alice-secret-project"]).run();
    for part in ["alice-secret-project", "ycred win", "key.json"] {
        assert!(!run.stdout.contains(part), "{part}\n{run:?}");
    }
    assert!(run.stdout.contains("<path-1>"), "{run:?}");
}
