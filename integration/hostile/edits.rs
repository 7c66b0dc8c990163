//! Faults while `setup` edits a file of another program: the file is whole, old or new, and no lock stays.

mod disks;
mod edited;
mod steps;

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

use crate::harness::files::age;
use crate::harness::machine::require_root;
use crate::harness::waiting::{HOUR, wait_until};
use crate::harness::{find, require_client, run_all};
use crate::stories::setup::{Machine, yc_with};

/// The names in the directory of the kubeconfig.
fn beside(machine: &Machine) -> Vec<String> {
    let files = machine.world.sandbox.files("home/.kube").into_iter();
    files.map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect()
}

#[test]
fn kubectls_lock_is_respected_and_a_foreign_one_is_never_removed() {
    let machine = Machine::new();
    machine.write_kubeconfig(&yc_with("prod"));
    let lock = machine.world.sandbox.file("home/.kube/config.lock", "");
    let run = machine.setup(&["kubectl"]).run().exits(4).stderr_has("kubectl holds the lock");
    run.stderr_has(&format!("rm {}", lock.display()));
    assert!(lock.exists() && machine.read("home/.kube/config") == yc_with("prod") && machine.journal().is_empty());
    // A plan says the same; a setup that finds nothing to do is not disturbed.
    machine.setup(&["kubectl", "--dry-run"]).run().exits(4).stderr_has("kubectl holds the lock");
    let waiting = machine.setup(&["kubectl"]).start();
    fs::remove_file(&lock).expect("removed");
    waiting.finish().succeeds();
    fs::write(&lock, "").expect("written");
    machine.setup(&["kubectl"]).run().succeeds().stdout_has("already set up");
}

#[test]
fn root_with_the_home_directory_of_another_user_is_refused() {
    if !require_root(&[]) {
        return;
    }
    let machine = Machine::new();
    machine.write_kubeconfig(&yc_with("prod"));
    chown(machine.path("home"), Some(1234), None).expect("root may");
    for command in ["setup", "unsetup"] {
        let run =
            machine.world.sandbox.ycred([command, "kubectl"]).run().exits(2).stderr_has("belongs to another user");
        run.stderr_has(&format!("without sudo, so that the files keep their owner: ycred {command} kubectl\n"));
    }
    assert_eq!(machine.read("home/.kube/config"), yc_with("prod"));
}

/// A machine whose kubeconfig has twenty users more. The first ten run ycred, the others yc.
fn with_twenty_users() -> Machine {
    let machine = Machine::new();
    let user = |number: usize| {
        format!("- name: u{number}\n  user: {{exec: {{command: yc, args: [k8s, create-token, --profile=prod]}}}}\n")
    };
    let text = format!("{}{}", yc_with("prod"), (0..20).map(user).collect::<String>());
    machine.write_kubeconfig(&text);
    for number in 0..10 {
        machine.setup(&["kubectl", "--user", &format!("u{number}")]).run().succeeds();
    }
    machine
}

/// Returns the verb and the user of a call. Each user gets only calls with the same verb.
fn verb_and_user(number: usize) -> (&'static str, String) {
    let verb = if number % 5 < 2 && number % 20 < 10 { "unsetup" } else { "setup" };
    (verb, format!("u{}", number % 20))
}

#[test]
fn after_fifty_setups_and_unsetups_at_once_the_file_has_each_successful_change() {
    let machine = with_twenty_users();
    let calls = (0..50).map(|number| {
        let (verb, user) = verb_and_user(number);
        machine.world.sandbox.ycred([verb, "kubectl", "--user", &user])
    });
    let runs = run_all(calls);
    let text = machine.read("home/.kube/config");
    let mut changed = 0;
    for (number, run) in runs.iter().enumerate() {
        let (verb, user) = verb_and_user(number);
        match run.status.code() {
            Some(0) => {
                let entry =
                    text.split("- name: ").find(|entry| entry.starts_with(&format!("{user}\n"))).expect("the user");
                assert_eq!(entry.contains(&machine.command()), verb == "setup", "{verb} {user}\n{run}{text}");
                changed += 1;
            }
            code => assert_eq!(code, Some(4), "{run}"),
        }
    }
    assert!(changed > 20, "only {changed} of the runs succeeded");
    assert_eq!(beside(&machine), ["config"]);
    machine.unsetup(&["kubectl"]).run().succeeds();
    assert!(!machine.read("home/.kube/config").contains("ycred") && machine.journal().is_empty());
}

#[test]
fn fifty_programs_at_once_lose_no_change() {
    if require_client("kubectl").is_none() {
        return;
    }
    let machine = with_twenty_users();
    let kubectl = find("kubectl").expect("kubectl");
    let kubectl = |arguments: &[&str]| machine.world.sandbox.call(&kubectl, arguments).run();
    // Users are undone while others are set up and kubectl writes. kubectl computes its change from what it has read
    // before it takes the lock, so it can revert a user, but only as a whole.
    let calls = (0..50).filter(|number| number % 5 != 4).map(|number| {
        let (verb, user) = verb_and_user(number);
        machine.world.sandbox.ycred([verb, "kubectl", "--user", &user])
    });
    // kubectl runs one at a time, because it reads the file before it takes the lock: of two at once, one can lose the
    // context of the other.
    let (runs, contexts) = std::thread::scope(|scope| {
        let contexts = scope.spawn(|| {
            let names = (0..10).map(|number| format!("new{number}"));
            names.map(|name| (kubectl(&["config", "set-context", &name, "--user=u0"]), name)).collect::<Vec<_>>()
        });
        (run_all(calls), contexts.join().expect("no panic"))
    });
    let after = kubectl(&["config", "view", "-o", "json"]).succeeds();
    let after: serde_json::Value = serde_json::from_str(&after.stdout).expect("JSON");
    let mut written = 0;
    for (run, name) in contexts {
        if run.status.success() {
            let all = after["contexts"].as_array().expect("contexts");
            assert!(all.iter().any(|context| context["name"] == name), "{run}");
            written += 1;
        } else {
            assert!(run.stderr.contains(".lock"), "{run}");
        }
    }
    for run in runs {
        match run.status.code() {
            Some(0) => written += 1,
            code => assert_eq!(code, Some(4), "{run}"),
        }
    }
    assert!(written > 20, "only {written} of the runs succeeded");
    // Each user runs yc or ycred, completely.
    for user in after["users"].as_array().expect("users") {
        let args = user["user"]["exec"]["args"].as_array().expect("args").len();
        assert_eq!(args, 3, "{user}");
    }
    assert_eq!(beside(&machine), ["config"]);
    let run = machine.unsetup(&["kubectl"]).run().succeeds();
    // A user that was undone, and that kubectl has reverted since, is not in the journal any more. It is named.
    let undone: Vec<String> =
        (0..50).map(verb_and_user).filter(|(verb, _)| *verb == "unsetup").map(|it| it.1).collect();
    let text = machine.read("home/.kube/config");
    for entry in text.split("- name: ").filter(|entry| entry.contains("ycred")) {
        let user = entry.lines().next().unwrap_or_default();
        let is_named = run.stdout.contains(&format!("user {user}: still runs ycred"));
        assert!(undone.iter().any(|undone| undone == user) && is_named, "{user}\n{run}{text}");
    }
}

#[test]
fn files_of_killed_processes_are_removed_after_an_hour() {
    let machine = Machine::new();
    machine.write_kubeconfig(&yc_with("prod"));
    let old = machine.world.sandbox.file("home/.kube/.ycred-tmp-0123", "x");
    let young = machine.world.sandbox.file("home/.kube/.ycred-tmp-4567", "x");
    age(&old, 2 * HOUR);
    machine.setup(&["kubectl"]).run().succeeds();
    assert!(!old.exists() && young.exists());
}

#[test]
fn a_program_that_keeps_changing_the_file_is_not_overwritten() {
    let machine = Machine::new();
    machine.write_kubeconfig(&yc_with("prod"));
    let path = machine.kubeconfig();
    // Changes the file as often as it can for some seconds. It stays smaller than the largest file that ycred edits.
    let script = "n=0; while [ $n -lt 400000 ]; do n=$((n+1)); printf '#\\n' >> \"$1\"; done";
    let writer = machine.world.sandbox.call("sh", [Path::new("-c"), Path::new(script), Path::new("sh"), &path]).start();
    wait_until("the file grows", || fs::metadata(&path).is_ok_and(|file| file.len() > 1000));
    let run = machine.setup(&["kubectl"]).run();
    drop(writer);
    let text = fs::read_to_string(&path).expect("text");
    assert!(matches!(run.status.code(), Some(0 | 4)), "{run}");
    assert!(text.starts_with("apiVersion: v1\nkind: Config\n"), "{text}");
    machine.unsetup(&["kubectl"]).run().succeeds();
    assert!(fs::read_to_string(&path).expect("text").starts_with(&yc_with("prod")));
}
