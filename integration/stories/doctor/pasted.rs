//! Faults of clients whose files the user edits: uv, pnpm, cargo, bazel and the kubelet.

use std::fs;

use super::faults::{Fault, Fix, Seeded, report, try_all};
use super::{GIT, healthy};
use crate::harness::{YCRED, require_client, skip};

/// A machine whose client has a line that ycred prints for people to add, with the home directory for `HOME`.
fn with_line(file: &str, text: &str) -> Seeded {
    let machine = healthy();
    let text = text.replace("HOME", &machine.path("home").display().to_string());
    machine.world.sandbox.file(format!("home/{file}"), text);
    Seeded::of(machine)
}

const CARGO: &str = "[registries.corp]\nindex = \"sparse+https://git.corp.example/index/\"\n\
                     credential-provider = [\"HOME/new/ycred\", \"--profile\", \"prod\"]\n";

fn with_uv() -> Seeded {
    let seeded = with_line(".config/uv/uv.toml", "keyring-provider = \"subprocess\"\n");
    seeded.machine.setup(&["uv"]).run().succeeds();
    seeded
}

const PASTED: &[Fault] = &[
    Fault {
        id: "uv.path",
        state: "fail",
        name: "another keyring is first in PATH",
        needs: &[],
        seed: with_uv,
        fix: Fix::Run,
    },
    Fault {
        id: "uv.link",
        state: "fail",
        name: "a keyring that leads nowhere",
        needs: &[],
        seed: || {
            let seeded = with_uv();
            let link = seeded.machine.path("home/.local/lib/ycred/keyring");
            fs::remove_file(&link).expect("removed");
            std::os::unix::fs::symlink("/nowhere/ycred", link).expect("a link");
            seeded
        },
        fix: Fix::Run,
    },
    Fault {
        id: "uv.variable",
        state: "fail",
        name: "a variable in front of uv's file",
        needs: &[],
        seed: || with_uv().with("UV_KEYRING_PROVIDER", "disabled"),
        fix: Fix::Run,
    },
    Fault {
        id: "uv.config",
        state: "fail",
        name: "a file of uv that is not TOML",
        needs: &[],
        seed: || {
            let seeded = with_uv();
            seeded.machine.world.sandbox.file("home/.config/uv/uv.toml", "\nkeyring-provider = \"subprocess\n");
            seeded
        },
        fix: Fix::Command,
    },
    Fault {
        id: "pnpm.command",
        state: "fail",
        name: "a tokenHelper that is not there",
        needs: &[],
        seed: || with_line(".npmrc", "//registry.yandexcloud.net/npm/:tokenHelper=HOME/new/ycred-pnpm-prod\n"),
        fix: Fix::Run,
    },
    Fault {
        id: "pnpm.profile",
        state: "fail",
        name: "a tokenHelper for a profile that is not there",
        needs: &[],
        seed: || {
            let seeded =
                with_line(".npmrc", "//registry.yandexcloud.net/npm/:tokenHelper=HOME/../bin/ycred-pnpm-gone\n");
            seeded.machine.world.sandbox.link("ycred-pnpm-gone");
            seeded
        },
        fix: Fix::Text("ycred setup pnpm --profile NAME"),
    },
    Fault {
        id: "cargo.command",
        state: "fail",
        name: "a credential provider that is not there",
        needs: &[],
        seed: || with_line(".cargo/config.toml", CARGO),
        fix: Fix::Run,
    },
    Fault {
        id: "cargo.hosts",
        state: "fail",
        name: "a registry of crates that the profile does not list",
        needs: &[],
        seed: || {
            let text = CARGO.replace("HOME/new/", "HOME/../bin/").replace(GIT, "other.example");
            with_line(".cargo/config.toml", &text)
        },
        fix: Fix::Text("\"other.example\"]"),
    },
    Fault {
        id: "cargo.variable",
        state: "fail",
        name: "a variable in front of cargo's file",
        needs: &[],
        seed: || {
            let seeded = with_line(".cargo/config.toml", &CARGO.replace("HOME/new/", "HOME/../bin/"));
            seeded.with("CARGO_REGISTRIES_CORP_CREDENTIAL_PROVIDER", "cargo:token")
        },
        fix: Fix::Run,
    },
    Fault {
        id: "cargo.config",
        state: "fail",
        name: "a file of cargo that is not TOML",
        needs: &[],
        seed: || with_line(".cargo/config.toml", &CARGO.replace("[registries.corp]", "[registries.corp")),
        fix: Fix::Command,
    },
    Fault {
        id: "bazel.command",
        state: "fail",
        name: "a credential helper that is not there",
        needs: &[],
        seed: || with_line(".bazelrc", "common --credential_helper=cr.yandex=HOME/new/ycred-bazel-prod\n"),
        fix: Fix::Run,
    },
    Fault {
        id: "bazel.hosts",
        state: "fail",
        name: "a host of bazel that the profile does not list",
        needs: &[],
        seed: || {
            let text = "common --credential_helper=other.example=HOME/../bin/ycred-bazel\n";
            let seeded = with_line(".bazelrc", text);
            seeded.machine.world.sandbox.link("ycred-bazel");
            seeded
        },
        fix: Fix::Text("\"other.example\"]"),
    },
];

#[test]
fn each_fault_of_clients_with_pasted_lines_is_found_and_its_fix_works() {
    let (found, run) = try_all(PASTED);
    assert!(found == PASTED.len() && run >= 7, "{found} faults found, {run} fixes run");
}

#[test]
fn clients_with_pasted_lines_that_reach_ycred_are_in_order() {
    let machine = with_uv().machine;
    for name in ["ycred-pnpm-prod", "ycred-bazel-prod"] {
        machine.world.sandbox.link(name);
    }
    let bin = machine.path("bin").display().to_string();
    let npmrc = format!("//registry.yandexcloud.net/npm/:tokenHelper={bin}/ycred-pnpm-prod\n");
    machine.world.sandbox.file("home/.npmrc", npmrc);
    machine.world.sandbox.file("home/.cargo/config.toml", CARGO.replace("HOME/new", &bin));
    machine
        .world
        .sandbox
        .file("home/.bazelrc", format!("common --credential_helper=*.yandex={bin}/ycred-bazel-prod\n"));
    let keyring = machine.path("home/.local/lib/ycred").display().to_string();
    let names = ["uv", "pnpm", "cargo", "bazel"];
    let call = |arguments: &[&str]| {
        let call = machine.world.ycred(&["doctor", "--strict"]).and(names).and(arguments);
        call.env("PATH", format!("{keyring}:{bin}:/usr/bin:/bin"))
    };
    let run = call(&[]).run().exits(0).stderr_is_empty();
    for name in names {
        assert!(run.stdout.contains(&format!("[ok]   {name} ")), "{name}\n{run}");
    }
    assert_eq!(machine.world.requests(), 1, "each was asked for an answer");
    call(&["--offline"]).run().exits(0);
    // An answer that is not one.
    machine.world.refuse();
    fs::remove_dir_all(machine.path("cache")).expect("removed");
    let run = call(&[]).run().exits(1);
    for name in names {
        assert!(run.stdout.contains(&format!("[fail] {name}.answer ")), "{name}\n{run}");
    }
}

/// The kubelet's files have fixed places, so the test has directories of its own there.
#[test]
fn faults_of_the_kubelet_are_found_and_the_program_is_installed() {
    let Some(unshare) = require_client("unshare") else { return };
    let machine = healthy();
    let configuration = include_str!("../../../packaging/kubernetes/kubelet/credential-provider.yaml");
    let configuration = configuration.replace("/run/ycred", &machine.path("run").display().to_string());
    machine.world.sandbox.file("tmp/etc/credential-provider.yaml", configuration);
    machine.world.sandbox.script("bin/sudo", "#!/bin/sh\nexec \"$@\"\n");
    let script = "mount -t tmpfs tmpfs /etc && cp -a \"$0\" /etc/ycred && mount -t tmpfs tmpfs /opt || exit 99\n\
                  chown -R 0:0 /etc/ycred\neval \"$1\"\nshift\nexec \"$@\"";
    let call = |before: &str| {
        let directory = machine.path("tmp/etc").display().to_string();
        let words = ["-rm", "sh", "-c", script, &directory, before, YCRED, "doctor", "kubelet", "--json"];
        machine.world.sandbox.call(&unshare, words).run()
    };
    let run = call("");
    if run.status.code().is_none_or(|code| code == 99) || run.stdout.is_empty() {
        return skip("this user may not make a mount namespace");
    }
    let missing = &report(&run.exits(1))[0];
    assert_eq!((missing.id.as_str(), missing.state.as_str()), ("kubelet.command", "fail"), "{}", missing.what);
    let install = missing.fix.clone().expect("a fix");
    let next = &report(&call(&format!("{install} >/dev/null")).exits(1))[0];
    assert_eq!((next.id.as_str(), next.state.as_str()), ("kubelet.profile", "fail"), "{}", next.what);
    assert!(next.fix.as_ref().is_some_and(|fix| fix.contains("create /etc/ycred/default.toml")));
    // The node's profile, with a key of its own.
    for (from, to) in [("prod.toml", "default.toml"), ("prod.json", "prod.json")] {
        fs::copy(machine.path("config").join(from), machine.path("tmp/etc").join(to)).expect("copied");
    }
    let good = &report(&call(&format!("{install} >/dev/null")).exits(0))[0];
    assert_eq!((good.id.as_str(), good.state.as_str()), ("kubelet", "ok"), "{}", good.what);
    assert_eq!(machine.world.requests(), 1, "the provider was asked");
    let file = "sed -i s/providers:/providers:[/ /etc/ycred/credential-provider.yaml";
    let broken = &report(&call(file).exits(1))[0];
    assert_eq!((broken.id.as_str(), broken.state.as_str()), ("kubelet.config", "fail"), "{}", broken.what);
    let file = "rm /etc/ycred/credential-provider.yaml";
    assert_eq!(report(&call(file).exits(0))[0].state, "skip");
}
