//! Faults of ycred on this machine: variables, profiles, keys, directories, locks, links.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use ycred::base::secret::Secret;
use ycred::base::supplied_token::token_id;

use super::faults::{Fault, Fix, Seeded, try_all};
use super::{healthy, with_kubectl};
use crate::stories::setup::Machine;

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
}

pub fn settings(machine: &Machine, file: &str) -> String {
    let url = machine.world.emulator.url();
    format!("source = \"authorized-key\"\nkey-file = \"{file}\"\niam-url = \"{url}\"\n")
}

/// Adds a line to the profile.
fn with_line(machine: Machine, line: &str) -> Seeded {
    let text = format!("{}{line}\n", settings(&machine, "prod.json"));
    machine.world.sandbox.profile("prod", &text);
    Seeded::of(machine)
}

const LOCAL: &[Fault] = &[
    Fault {
        id: "environment.variables",
        state: "warn",
        name: "two variables with a credential",
        needs: &[],
        seed: || {
            let machine = healthy();
            machine.world.sandbox.profile("default", "use = \"prod\"\n");
            let key = machine.path("config/prod.json");
            Seeded::of(machine).with("YC_TOKEN", "y0_of-somebody").with("YC_SERVICE_ACCOUNT_KEY_FILE", key)
        },
        fix: Fix::Run,
    },
    Fault {
        id: "environment.log",
        state: "warn",
        name: "a log that is not a path",
        needs: &[],
        seed: || Seeded::of(healthy()).with("YCRED_LOG", "loud"),
        fix: Fix::Run,
    },
    Fault {
        id: "environment.directories",
        state: "warn",
        name: "a relative cache directory",
        needs: &[],
        seed: || Seeded::of(healthy()).with("YCRED_CACHE_DIR", "cache"),
        fix: Fix::Run,
    },
    Fault {
        id: "environment.home",
        state: "warn",
        name: "a home directory that does not exist",
        needs: &[],
        seed: || Seeded::of(healthy()).with("HOME", "/nonexistent"),
        fix: Fix::Text("HOME"),
    },
    Fault {
        id: "environment.token",
        state: "warn",
        name: "an expired token of exec",
        needs: &[],
        seed: || {
            let token = "t1.aaaaaaaaaaaa.bbbb";
            let id = token_id(&Secret::new(token.to_owned()), Some("prod"));
            let expired = "2020-01-01T00:00:00Z";
            Seeded::of(healthy()).with("YC_TOKEN", token).with("YCRED_TOKEN_ID", id).with("YCRED_EXPIRES_AT", expired)
        },
        fix: Fix::Run,
    },
    Fault {
        id: "profile",
        state: "fail",
        name: "a profile that anybody may write",
        needs: &[],
        seed: || {
            let machine = healthy();
            mode(&machine.path("config/prod.toml"), 0o666);
            Seeded::of(machine)
        },
        fix: Fix::Run,
    },
    Fault {
        id: "profile",
        state: "fail",
        name: "a misspelled key",
        needs: &[],
        seed: || {
            let machine = healthy();
            let text = machine.read("config/prod.toml").replace("key-file", "keyfile");
            machine.world.sandbox.profile("prod", &text);
            Seeded::of(machine)
        },
        fix: Fix::Text("key-file"),
    },
    Fault {
        id: "profile",
        state: "fail",
        name: "two profiles and no default",
        needs: &[],
        seed: || {
            let machine = healthy();
            machine.world.profile("stage", "");
            Seeded::of(machine)
        },
        fix: Fix::Run,
    },
    Fault {
        id: "profile",
        state: "fail",
        name: "hosts that are not hosts",
        needs: &[],
        seed: || with_line(healthy(), "hosts = [\"http://x/\"]"),
        fix: Fix::Command,
    },
    Fault {
        id: "profile",
        state: "fail",
        name: "a timeout of nothing",
        needs: &[],
        seed: || with_line(healthy(), "timeout = \"0s\""),
        fix: Fix::Command,
    },
    Fault {
        id: "profile",
        state: "fail",
        name: "a directory in place of the default profile",
        needs: &[],
        seed: || {
            let machine = healthy();
            fs::create_dir(machine.path("config/default.toml")).expect("a directory");
            Seeded::of(machine)
        },
        fix: Fix::Text("ls -ld "),
    },
    Fault {
        id: "profile.others",
        state: "warn",
        name: "another profile is broken",
        needs: &[],
        seed: || {
            let machine = healthy();
            machine.world.sandbox.profile("default", "use = \"prod\"\n");
            machine.world.sandbox.profile("old", "source = \"magic\"\n");
            Seeded::of(machine)
        },
        fix: Fix::Command,
    },
    Fault {
        id: "profile.ca-file",
        state: "fail",
        name: "a missing ca-file",
        needs: &[],
        seed: || with_line(healthy(), "ca-file = \"corp.pem\""),
        fix: Fix::Text("ca-file"),
    },
    Fault {
        id: "profile.ca-file",
        state: "warn",
        name: "a ca-file without certificates, which calls without TLS do not read",
        needs: &[],
        seed: || {
            let machine = healthy();
            machine.world.sandbox.file("config/corp.pem", "none\n");
            with_line(machine, "ca-file = \"corp.pem\"")
        },
        fix: Fix::Text(""),
    },
    Fault {
        id: "key.mode",
        state: "warn",
        name: "a key that others can read",
        needs: &[],
        seed: || {
            let machine = healthy();
            mode(&machine.path("config/prod.json"), 0o644);
            Seeded::of(machine)
        },
        fix: Fix::Run,
    },
    Fault {
        id: "key",
        state: "fail",
        name: "a missing key",
        needs: &[],
        seed: || {
            let machine = healthy();
            fs::remove_file(machine.path("config/prod.json")).expect("removed");
            Seeded::of(machine)
        },
        fix: Fix::Text("config/prod.toml"),
    },
    Fault {
        id: "key",
        state: "fail",
        name: "the public key of another key",
        needs: &[],
        seed: || {
            let machine = healthy();
            let mut key: serde_json::Value = serde_json::from_str(&machine.read("config/prod.json")).expect("JSON");
            let public = key["public_key"].as_str().expect("key files have a public key");
            // One digit of the modulus.
            let line = public.lines().nth(3).expect("four lines");
            let changed = line.replacen(&line[30..31], if &line[30..31] == "A" { "B" } else { "A" }, 1);
            key["public_key"] = public.replace(line, &changed).into();
            machine.world.sandbox.file("config/prod.json", key.to_string());
            Seeded::of(machine)
        },
        fix: Fix::Text("yc iam key create"),
    },
    Fault {
        id: "key",
        state: "fail",
        name: "a variable with the secret that is not set",
        needs: &[],
        seed: || {
            let machine = healthy();
            machine.world.sandbox.profile("prod", "source = \"static\"\ntoken-env = \"CI_TOKEN\"\n");
            Seeded::of(machine)
        },
        fix: Fix::Text("CI_TOKEN"),
    },
    Fault {
        id: "key.program",
        state: "fail",
        name: "a program that is not there",
        needs: &[],
        seed: || {
            let machine = healthy();
            machine.world.sandbox.profile("prod", "source = \"command\"\ncommand = [\"nowhere-to-be-found\", \"x\"]\n");
            Seeded::of(machine)
        },
        fix: Fix::Text("nowhere-to-be-found"),
    },
    Fault {
        id: "store.cache",
        state: "warn",
        name: "a file in place of the cache",
        needs: &[],
        seed: || {
            let machine = healthy();
            machine.world.sandbox.file("cache/v1", "not a directory");
            Seeded::of(machine)
        },
        fix: Fix::Run,
    },
    Fault {
        id: "store.cache",
        state: "warn",
        name: "a cache that a group may write",
        needs: &[],
        seed: || {
            let machine = healthy();
            mode(&machine.path("cache"), 0o770);
            Seeded::of(machine)
        },
        fix: Fix::Run,
    },
    Fault {
        id: "store.cache",
        state: "warn",
        name: "a record that others can read",
        needs: &[],
        seed: || {
            let machine = healthy();
            machine.world.ycred(&["token"]).run().succeeds();
            mode(&machine.world.records()[0], 0o644);
            Seeded::of(machine)
        },
        fix: Fix::Run,
    },
    Fault {
        id: "store.state",
        state: "warn",
        name: "a link to nowhere in place of the logins",
        needs: &[],
        seed: || {
            let machine = healthy();
            fs::remove_dir(machine.path("state")).expect("removed");
            symlink("/nowhere/state", machine.path("state")).expect("a link");
            Seeded::of(machine)
        },
        fix: Fix::Run,
    },
    Fault {
        id: "store.state",
        state: "warn",
        name: "a directory of logins that a group may write",
        needs: &[],
        seed: || {
            let machine = healthy();
            fs::create_dir(machine.path("state/v1")).expect("created");
            mode(&machine.path("state/v1"), 0o770);
            Seeded::of(machine)
        },
        fix: Fix::Run,
    },
    Fault {
        id: "lock.kubectl",
        state: "warn",
        name: "a lock that kubectl has left",
        needs: &[],
        seed: || {
            let machine = with_kubectl();
            machine.world.sandbox.file("home/.kube/config.lock", "");
            Seeded::of(machine)
        },
        fix: Fix::Run,
    },
    Fault {
        id: "lock.git",
        state: "warn",
        name: "a lock that git has left",
        needs: &[],
        seed: || {
            let machine = healthy();
            machine.world.sandbox.file("home/.gitconfig.lock", "");
            Seeded::of(machine)
        },
        fix: Fix::Run,
    },
    Fault {
        id: "lock.docker",
        state: "warn",
        name: "a lock of docker's file",
        needs: &[],
        seed: || {
            let machine = healthy();
            machine.world.sandbox.file("home/.docker/config.json.lock", "");
            Seeded::of(machine)
        },
        fix: Fix::Run,
    },
    Fault {
        id: "lock.cache",
        state: "warn",
        name: "a process that holds a lock for years",
        needs: &["flock"],
        seed: || {
            let machine = healthy();
            let lock = machine.world.sandbox.file("cache/v1/0123456789abcdef.lock", "");
            mode(&machine.path("cache/v1"), 0o700);
            let held = machine.path("work/held");
            let script = format!("echo >{}; exec sleep 1000", held.display());
            let flock = ["--no-fork".as_ref(), lock.as_os_str(), "sh".as_ref(), "-c".as_ref(), script.as_ref()];
            let running = machine.world.sandbox.call("flock", flock).start();
            crate::harness::waiting::wait_until("the lock is held", || held.exists());
            let holder = format!("{{\"pid\":{},\"since\":0,\"until\":1}}", running.id());
            fs::write(&lock, holder).expect("written");
            Seeded { running: Some(running), ..Seeded::of(machine) }
        },
        fix: Fix::Run,
    },
    Fault {
        id: "links.dangling",
        state: "warn",
        name: "a link to nowhere",
        needs: &[],
        seed: || {
            let machine = healthy();
            symlink("/nowhere/ycred", machine.path("bin/docker-credential-ycred")).expect("a link");
            Seeded::of(machine)
        },
        fix: Fix::Run,
    },
    Fault {
        id: "links.version",
        state: "warn",
        name: "an older version in PATH",
        needs: &[],
        seed: || {
            let machine = healthy();
            machine.world.sandbox.script("old/ycred", "#!/bin/sh\n# ycred-program-marker\necho ycred 0.0.1\n");
            symlink("../old/ycred", machine.path("bin/git-credential-ycred")).expect("a link");
            Seeded::of(machine)
        },
        fix: Fix::Run,
    },
    Fault {
        id: "links.version",
        state: "warn",
        name: "a ycred that does not tell its version",
        needs: &[],
        seed: || {
            let machine = healthy();
            machine.world.sandbox.script("old/ycred", "#!/bin/sh\n# ycred-program-marker\nexit 1\n");
            symlink("../old/ycred", machine.path("bin/git-credential-ycred")).expect("a link");
            Seeded::of(machine)
        },
        fix: Fix::Run,
    },
    Fault {
        id: "links.path",
        state: "warn",
        name: "another program with the name of ycred, first in PATH",
        needs: &[],
        seed: || {
            let machine = healthy();
            machine.world.sandbox.script("first/ycred", "#!/bin/sh\necho ycred 0.0.1\n");
            let path = format!("{}:{}:/usr/bin:/bin", machine.path("first").display(), machine.path("bin").display());
            Seeded::of(machine).with("PATH", path)
        },
        fix: Fix::Run,
    },
    Fault {
        id: "links.path",
        state: "warn",
        name: "no ycred in PATH",
        needs: &[],
        seed: || {
            let machine = healthy();
            Seeded::of(machine).with("PATH", "/usr/bin:/bin")
        },
        fix: Fix::Run,
    },
];

#[test]
fn each_local_fault_is_found_and_its_fix_works() {
    let (found, run) = try_all(LOCAL);
    assert!(found >= 24 && run >= 17, "{found} faults found, {run} fixes run");
}
