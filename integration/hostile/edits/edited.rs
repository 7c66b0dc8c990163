//! The clients whose files `setup` writes, each with a file of its own.

use std::fs;

use crate::harness::strace::{Step, traced};
use crate::harness::{Call, require_client};
use crate::stories::setup::{GO, Machine, yc_with};

/// A client, and its file before setup.
pub struct Edited {
    pub client: &'static str,
    flags: &'static [&'static str],
    /// The directory of the file, relative to the sandbox.
    pub directory: &'static str,
    pub name: &'static str,
    /// `None`: there is no file.
    pub before: Option<String>,
}

impl Edited {
    /// Returns the clients with files of their own. Each has another way to plan a change.
    pub fn existing() -> Vec<Edited> {
        let all = [
            ("kubectl", &[][..], "home/.kube", "config", yc_with("prod")),
            (
                "docker",
                &[],
                "home/.docker",
                "config.json",
                "{\n  \"credHelpers\": {\n    \"cr.yandex\": \"yc\"\n  }\n}\n".into(),
            ),
            ("aws", &[], "home/.aws", "config", "[profile yc]\nregion = mine # here\n\n[default]\n".into()),
            (
                "git",
                &["--host", "git.example.com"],
                "home",
                ".gitconfig",
                "[credential \"https://git.example.com\"]\n\thelper = mine\n[user]\n\tname = A\n".into(),
            ),
        ];
        let all = all.into_iter().filter(|(client, ..)| *client != "git" || require_client("git").is_some());
        let edited = |(client, flags, directory, name, text): (_, _, _, _, String)| Edited {
            client,
            flags,
            directory,
            name,
            before: Some(text),
        };
        all.map(edited).collect()
    }

    /// Returns the clients for which setup edits lines, or a file beside its own link.
    pub fn others() -> Vec<Edited> {
        let all = [
            ("terraform", &["--file", "rc"][..], "work", "rc", "a = 1"),
            ("go", &[], "home/.config/go", "env", "GOAUTH=netrc\nGOFLAGS=-x\n"),
            ("pip", &[], "home/.config/pip", "pip.conf", "[global]\ntimeout = 60\n"),
        ];
        let edited = |(client, flags, directory, name, text): (_, _, _, _, &str)| {
            let before = Some(text.to_owned());
            Edited { client, flags, directory, name, before }
        };
        all.map(edited).into()
    }

    /// Returns the clients whose files setup can create.
    pub fn missing() -> Vec<Edited> {
        let existing = Edited::existing().into_iter().filter(|edited| edited.client != "kubectl");
        existing.map(|edited| Edited { before: None, ..edited }).collect()
    }

    /// Returns the path of the file, relative to the sandbox.
    pub fn file(&self) -> String {
        format!("{}/{}", self.directory, self.name)
    }

    /// Returns the text before setup of a client whose file exists.
    pub fn text(&self) -> &str {
        self.before.as_deref().expect("a file")
    }

    /// Returns the arguments of ycred for `setup` or `unsetup`.
    pub fn arguments(&self, verb: &'static str) -> Vec<&'static str> {
        let profile: &[&str] = if verb == "setup" { &["-p", "prod"] } else { &[] };
        [&[verb, self.client], self.flags, profile].concat()
    }

    pub fn call(&self, machine: &Machine, verb: &'static str) -> Call {
        machine.world.sandbox.ycred(self.arguments(verb))
    }

    /// Returns a machine with the file. Directories of ycred's own exist, as after the first use.
    pub fn machine(&self) -> Machine {
        let machine = Machine::new();
        machine.world.sandbox.file("config/prod.toml", {
            let profile = machine.read("config/prod.toml");
            format!("hosts = [\"git.example.com\"]\n{profile}")
        });
        machine.world.sandbox.script("bin/go", GO);
        self.put_before(&machine);
        self.call(&machine, "setup").run().succeeds();
        self.call(&machine, "unsetup").run().succeeds();
        machine
    }

    /// Makes the file what it was before setup.
    pub fn put_before(&self, machine: &Machine) {
        match &self.before {
            Some(text) => drop(machine.world.sandbox.file(self.file(), text)),
            None => assert_eq!(self.read(machine), None, "{}", self.client),
        }
    }

    pub fn read(&self, machine: &Machine) -> Option<String> {
        fs::read_to_string(machine.path(&self.file())).ok()
    }

    /// Returns true if a text consists of whole lines of the file before and after setup.
    pub fn is_between(&self, text: &str, ours: &Option<String>) -> bool {
        let known = |line: &str| {
            let texts = [&self.before, ours].into_iter().flatten();
            texts.flat_map(|text| text.lines()).any(|known| known.trim_end_matches(',') == line.trim_end_matches(','))
        };
        text.ends_with('\n') && text.lines().all(known)
    }

    /// Returns the names in the directory of the file and in that of the links. Working files that a killed process
    /// leaves are not among them.
    pub fn names(&self, machine: &Machine) -> Vec<String> {
        let mut names = Vec::new();
        for directory in [self.directory, "bin"] {
            let entries = fs::read_dir(machine.path(directory)).into_iter().flatten().flatten();
            names.extend(entries.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        }
        names.retain(|name| !name.starts_with(".ycred-tmp-"));
        names.sort();
        names
    }

    /// Removes the working files of killed processes, as a later run does after an hour. Without any, a directory that
    /// setup had created must be gone.
    pub fn clean(&self, machine: &Machine) {
        let mut is_clean = true;
        for directory in [self.directory, "bin"] {
            let entries = fs::read_dir(machine.path(directory)).into_iter().flatten().flatten();
            for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(".ycred-tmp-")) {
                fs::remove_file(entry.path()).expect("removed");
                is_clean = false;
            }
        }
        if self.before.is_none() && self.directory != "home" {
            let is_gone = fs::remove_dir(machine.path(self.directory)).is_err();
            assert!(is_gone || !is_clean, "{}: the directory that setup created is still there", self.client);
        }
    }

    /// Returns the system calls of a run that can leave a trace on the disk.
    pub fn steps(&self, machine: &Machine, verb: &'static str) -> Vec<Step> {
        let sandbox = &machine.world.sandbox;
        let steps = Step::of(sandbox, |strace| traced(sandbox, strace, &self.arguments(verb)));
        let path = |relative: &str| machine.path(relative).display().to_string();
        let directory = path(self.directory);
        let places = [
            path(&self.file()),
            format!("{directory}/.ycred-tmp-"),
            format!("{directory}\""),
            format!("{directory}>"),
            path("bin/docker-credential-"),
            path("bin/.ycred-tmp-"),
            path("home/.terraform.d/"),
            path("home/.local/lib/ycred"),
            path("state"),
        ];
        let names = [
            "open",
            "write",
            "rename",
            "unlink",
            "link",
            "symlink",
            "fsync",
            "fchmod",
            "fchown",
            "mkdir",
            "rmdir",
            "flock",
            "fsetxattr",
            "ftruncate",
        ];
        let is_change = |step: &Step| {
            // Not the report on stdout.
            !step.line.starts_with("write(1<")
                && names.iter().any(|name| step.name.starts_with(name))
                && places.iter().any(|place| step.line.contains(place.as_str()))
        };
        steps.into_iter().filter(is_change).collect()
    }
}
