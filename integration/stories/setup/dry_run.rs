//! A dry run prints what the run after it does, and ends with the same exit code. It changes no file.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::Value;

use super::orders::{Numbers, contents};
use super::{GO, Machine, yc_with};
use crate::harness::{Call, Run};

/// A machine with two profiles, a kubeconfig of yc, and a go that only says where its settings are.
fn machine() -> Machine {
    let machine = Machine::new();
    for name in ["prod", "stage"] {
        machine.world.profile(name, "hosts = [\"one.example\", \"git.example.com\"]");
    }
    machine.world.sandbox.file("config/default.toml", "use = \"prod\"\n");
    machine.world.sandbox.script("bin/go", GO);
    machine.write_kubeconfig(&yc_with("prod"));
    machine
}

fn call(machine: &Machine, words: &str, more: &[&str]) -> Call {
    machine.world.sandbox.ycred(words.split_whitespace().chain(more.iter().copied()))
}

fn document(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{run}"))
}

/// Does one step: a call of ycred, first as a dry run, or `write PATH TEXT`, `remove PATH`, `link PATH TARGET`,
/// `mode PATH OCTAL`.
fn step(machine: &Machine, words: &str) {
    let mut parts = words.splitn(3, ' ');
    let (verb, path, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next());
    match (verb, rest) {
        ("write", text) => drop(machine.world.sandbox.file(path, text.unwrap_or_default())),
        // Root has removed what an ordinary user cannot.
        ("mode", _) if !machine.path(path).exists() => {}
        ("mode", octal) => {
            let mode = u32::from_str_radix(octal.expect("a mode"), 8).expect("octal digits");
            fs::set_permissions(machine.path(path), fs::Permissions::from_mode(mode)).expect("own files");
        }
        ("link", target) => symlink(target.unwrap_or_default(), machine.path(path)).expect("a link"),
        ("remove", _) if machine.path(path).is_dir() => fs::remove_dir_all(machine.path(path)).expect("removed"),
        ("remove", _) => fs::remove_file(machine.path(path)).expect("removed"),
        _ => drop(pair(machine, words)),
    }
}

/// Runs a call as a dry run, and then for real. Both must say the same. Returns the real run.
fn pair(machine: &Machine, words: &str) -> Run {
    let before = contents(&machine.path(""), &["runs", "target"]);
    let dry = call(machine, words, &["--json", "--dry-run"]).run();
    let after = contents(&machine.path(""), &["runs", "target"]);
    assert!(before == after, "{words}: the dry run has changed {:?}", changed(&before, &after));
    let run = call(machine, words, &["--json"]).run();
    let mut planned = document(&dry);
    assert_eq!(planned["dry_run"], !words.is_empty(), "{dry}");
    planned["dry_run"] = false.into();
    assert_eq!(planned, document(&run), "{words}\n{dry}\n{run}");
    assert_eq!((dry.status.code(), &dry.stderr), (run.status.code(), &run.stderr), "{words}");
    run
}

type Contents = std::collections::BTreeMap<std::path::PathBuf, Vec<u8>>;

fn changed(before: &Contents, after: &Contents) -> Vec<std::path::PathBuf> {
    let differs = |path: &&std::path::PathBuf| before.get(*path) != after.get(*path);
    before.keys().chain(after.keys()).filter(differs).cloned().collect()
}

const SEQUENCES: [&[&str]; 41] = [
    // Registries one by one: the link goes with the last one.
    &["setup docker -p prod", "unsetup docker --host cr.yandex", "unsetup docker --host registry.yandexcloud.net"],
    // A helper whose name is the start of another one.
    &[
        "setup docker",
        "setup docker -p stage --host one.example",
        "unsetup docker --host one.example",
        "unsetup docker",
    ],
    &["setup docker", "setup docker -p stage", "setup docker -p stage", "unsetup docker", "unsetup docker"],
    // A link that two clients share.
    &["setup links", "setup docker", "unsetup links", "unsetup links", "unsetup docker"],
    &["setup docker", "setup links", "unsetup docker", "unsetup links"],
    &["setup links", "setup docker", "unsetup --all"],
    &["setup pip", "setup uv", "unsetup pip", "unsetup uv"],
    // A configuration that setup did not write names the link.
    &[
        "setup links",
        "write home/.docker/config.json {\"credHelpers\":{\"a\":\"ycred\"}}",
        "unsetup links",
        "unsetup --all",
    ],
    &[
        "setup links",
        "write home/.gitconfig [credential]\n\thelper = ycred\n",
        "unsetup links",
        "unsetup --all --force",
    ],
    // The link of a profile that is gone.
    &["setup docker -p stage", "remove config/stage.toml", "setup docker", "setup docker -p prod", "unsetup docker"],
    &[
        "setup terraform -p stage",
        "remove config/stage.toml",
        "setup terraform",
        "setup terraform -p prod",
        "unsetup --all",
    ],
    // A directory where nothing can be created.
    &["setup links --dir /dev/null/x", "setup links --dir work/x", "unsetup links --dir work/x"],
    &["write work/file x", "setup links --dir work/file", "setup links --dir work/file/below", "unsetup links"],
    &["link work/nowhere /nowhere/at/all", "setup links --dir work/nowhere", "setup docker --file work/nowhere"],
    &["write home/.docker x", "setup docker", "setup --all", "unsetup --all"],
    &["write home/.terraform.d x", "setup terraform", "write home/.aws x", "setup aws", "unsetup --all"],
    // No place for the journal.
    &["write state x", "setup docker", "setup kubectl", "setup links", "unsetup --all", "setup --all"],
    &["setup docker", "remove state/setup", "write state/setup x", "unsetup docker", "unsetup --all", "setup pip"],
    // A link that was there before.
    &[
        "link bin/docker-credential-ycred /nowhere/ycred",
        "setup docker",
        "setup docker",
        "unsetup --all",
        "unsetup --all",
    ],
    &["write bin/docker-credential-ycred x", "setup docker", "setup links", "unsetup --all"],
    // Somebody has changed what setup wrote, or the rest of the file.
    &[
        "setup docker",
        "write home/.docker/config.json {\"credHelpers\":{\"cr.yandex\":\"mine\"}}",
        "unsetup docker",
        "unsetup --all --force",
    ],
    &[
        "setup docker",
        "write home/.docker/config.json {,",
        "unsetup docker",
        "unsetup --all",
        "setup docker",
        "setup --all",
    ],
    &["setup aws", "write home/.aws/config [profile yc]\nregion = mine\n", "unsetup aws", "unsetup aws --force"],
    &["setup kubectl", "remove home/.kube/config", "unsetup kubectl", "unsetup kubectl --force"],
    &["setup go", "write home/.config/go/env GOAUTH=mine\n", "setup go", "unsetup go"],
    // Without a journal.
    &["setup --all", "remove state/setup", "unsetup docker", "unsetup --all", "unsetup --all"],
    &["setup docker -p stage", "setup terraform", "setup pip", "setup bazel", "remove state/setup", "unsetup --all"],
    // Another profile, and what it replaces.
    &["setup git --host git.example.com", "setup git --host git.example.com -p stage", "unsetup git"],
    &[
        "setup terraform",
        "setup terraform -p stage",
        "setup terraform -p stage --file work/rc",
        "unsetup terraform --file work/rc",
        "unsetup --all",
    ],
    &[
        "setup go",
        "setup go -p stage",
        "setup aws --name a",
        "setup aws --name a -p stage",
        "unsetup aws --name a",
        "unsetup --all",
    ],
    // What the user has pasted.
    &[
        "setup pnpm",
        "setup cargo",
        "write home/.npmrc //r/:tokenHelper=/x/ycred-pnpm\n",
        "unsetup pnpm",
        "unsetup --all",
        "unsetup --all --force",
    ],
    // Everything.
    &["setup --all", "setup --all", "setup --all -p stage", "setup --all --force", "unsetup --all"],
    // No choice of a profile, and wrong command lines.
    &[
        "remove config/default.toml",
        "setup docker",
        "setup --all",
        "setup kubectl",
        "setup aws --user x",
        "unsetup nothing",
    ],
    // What an ordinary user cannot change.
    &["setup docker", "mode bin 555", "unsetup docker", "unsetup --all", "mode bin 755", "unsetup docker"],
    &["mode bin 555", "setup docker", "setup links", "setup bazel", "mode bin 755"],
    &["mode home 555", "setup docker", "setup aws", "setup terraform", "setup pip", "setup --all", "mode home 755"],
    &[
        "write home/.docker/config.json {}",
        "mode home/.docker 555",
        "setup docker",
        "mode home/.docker/config.json 444",
        "setup docker -p stage",
        "unsetup docker",
        "mode home/.docker 755",
        "unsetup docker",
    ],
    &["setup docker", "mode home/.docker 555", "unsetup docker", "mode home/.docker 755", "unsetup docker"],
    &[
        "setup docker",
        "mode state/setup 555",
        "setup aws",
        "mode state/setup 500",
        "setup go",
        "setup links",
        "unsetup docker",
        "unsetup --all",
    ],
    &[
        "setup pip",
        "unsetup pip",
        "remove state/setup",
        "mode state 500",
        "setup docker",
        "setup aws",
        "mode state 700",
        "setup --all",
    ],
    // kubectl holds its lock.
    &["write home/.kube/config.lock x", "setup kubectl", "setup docker"],
];

#[test]
fn a_dry_run_of_any_sequence_says_and_ends_as_the_run_after_it() {
    for steps in SEQUENCES {
        let machine = machine();
        for words in steps {
            step(&machine, words);
        }
    }
}

#[test]
fn a_dry_run_of_random_sequences_says_and_ends_as_the_run_after_it() {
    const CALLS: [&str; 24] = [
        "setup docker",
        "setup docker -p stage",
        "setup docker --host one.example -p stage",
        "setup kubectl",
        "setup kubectl -p stage --all --force",
        "setup terraform",
        "setup terraform -p stage",
        "setup aws",
        "setup aws --name two -p stage",
        "setup go",
        "setup go -p stage",
        "setup pip",
        "setup uv",
        "setup links",
        "setup bazel -p stage",
        "setup --all",
        "unsetup docker",
        "unsetup docker --host cr.yandex",
        "unsetup docker --host one.example",
        "unsetup links",
        "unsetup aws --name two",
        "unsetup terraform",
        "unsetup pip",
        "unsetup --all",
    ];
    const EDITS: [&str; 5] = [
        "write home/.docker/config.json {\"credHelpers\":{\"cr.yandex\":\"ycred\",\"one.example\":\"mine\"}}",
        "write home/.docker/config.json {\"credHelpers\":{\"cr.yandex\":\"ycred-stage\"},\"x\":1}",
        "write home/.aws/config [profile two]\nregion = x\n",
        "write home/.config/go/env GOAUTH=netrc\n",
        "write home/.terraform.d/ycred.tfrc # mine\n",
    ];
    let machine = machine();
    let (mut numbers, mut codes) = (Numbers(5), std::collections::BTreeSet::new());
    for _ in 0..90 {
        match numbers.below(8) {
            0 => step(&machine, EDITS[numbers.below(EDITS.len())]),
            _ => drop(codes.insert(pair(&machine, CALLS[numbers.below(CALLS.len())]).status.code())),
        }
    }
    assert!(codes.contains(&Some(0)) && codes.contains(&Some(3)), "{codes:?}");
    step(&machine, "unsetup --all --force");
    assert!(machine.journal().is_empty(), "{:?}", machine.journal());
}

#[test]
fn the_text_of_a_dry_run_is_that_of_the_run() {
    let machine = machine();
    for words in
        ["setup links", "setup docker -p stage", "setup --all", "unsetup docker --host cr.yandex", "unsetup --all"]
    {
        let dry = call(&machine, words, &["--dry-run"]).run();
        let run = call(&machine, words, &[]).run();
        let code = |run: &Run| run.status.code();
        assert_eq!((code(&dry), &dry.stderr), (code(&run), &run.stderr), "{words}");
        assert_eq!(dry.stdout, format!("{}dry run: nothing was written\n", run.stdout), "{words}");
    }
}
