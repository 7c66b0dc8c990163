//! Faults while `setup` edits a file of another program: the file is whole, old or new, and no lock stays.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

use crate::harness::files::age;
use crate::harness::machine::{require_root, require_tracer};
use crate::harness::strace::{Step, inject, traced};
use crate::harness::waiting::{HOUR, wait_until};
use crate::harness::{Call, YCRED, find, report_faults, require_client, run_all};
use crate::stories::setup::{Machine, yc_with};

const SETUP: &[&str] = &["setup", "kubectl"];

/// The names in the directory of the kubeconfig.
fn beside(machine: &Machine) -> Vec<String> {
    let files = machine.world.sandbox.files("home/.kube").into_iter();
    files.map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect()
}

/// Returns the system calls of a setup that can leave a trace, and the text that it writes.
fn steps(machine: &Machine) -> (Vec<Step>, String) {
    machine.write_kubeconfig(&yc_with("prod"));
    // So that the directories exist.
    machine.setup(&["kubectl"]).run().succeeds();
    machine.unsetup(&["kubectl"]).run().succeeds();
    let steps = Step::of(&machine.world.sandbox, |strace| traced(&machine.world.sandbox, strace, SETUP));
    let ours = machine.read("home/.kube/config");
    machine.unsetup(&["kubectl"]).run().succeeds();
    let places = [machine.path("home/.kube").display().to_string(), machine.path("state").display().to_string()];
    let names = [
        "open",
        "write",
        "rename",
        "unlink",
        "link",
        "fsync",
        "fchmod",
        "fchown",
        "mkdir",
        "flock",
        "fsetxattr",
        "ftruncate",
    ];
    let is_change = |step: &Step| {
        // Not the report on stdout.
        let is_file = !step.line.starts_with("write(1<");
        is_file
            && names.iter().any(|name| step.name.starts_with(name))
            && places.iter().any(|place| step.line.contains(place.as_str()))
    };
    (steps.into_iter().filter(is_change).collect(), ours)
}

#[test]
fn after_a_kill_at_any_step_the_file_is_old_or_new_and_the_next_run_cleans_up() {
    if !require_tracer() {
        return;
    }
    let machine = Machine::new();
    let (steps, ours) = steps(&machine);
    for name in ["rename", "unlink", "linkat", "fsync", "openat", "write"] {
        assert!(steps.iter().any(|step| step.name == name), "no {name} in {steps:#?}");
    }
    let (mut killed, mut locks) = (0, 0);
    for step in &steps {
        machine.write_kubeconfig(&yc_with("prod"));
        let run = traced(&machine.world.sandbox, &inject(step, "signal=KILL"), SETUP).run();
        assert_eq!(run.status.signal(), Some(libc::SIGKILL), "{step:?}\n{run}");
        killed += 1;
        let text = machine.read("home/.kube/config");
        assert!(text == yc_with("prod") || text == ours, "{step:?}: the file is neither old nor new:\n{text}");
        locks += usize::from(beside(&machine).contains(&"config.lock".to_owned()));
        machine.setup(&["kubectl"]).run().succeeds().stderr_is_empty();
        let left: Vec<String> = beside(&machine).into_iter().filter(|name| !name.starts_with(".ycred-tmp-")).collect();
        // Only a setup that has something to write takes the lock, and removes the abandoned one.
        if text != ours {
            assert_eq!(left, ["config"], "{step:?}");
        }
        machine.unsetup(&["kubectl"]).run().succeeds();
        assert_eq!(machine.read("home/.kube/config"), yc_with("prod"), "{step:?}");
        let left: Vec<String> = beside(&machine).into_iter().filter(|name| !name.starts_with(".ycred-tmp-")).collect();
        assert_eq!(left, ["config"], "{step:?}");
        for name in beside(&machine).into_iter().filter(|name| name != "config") {
            fs::remove_file(machine.path("home/.kube").join(name)).expect("removed");
        }
    }
    assert!(locks > 3, "the lock was there at {locks} of the kills");
    report_faults("setup killed at a system call that changes a file", killed);
}

#[test]
fn a_disk_error_at_any_step_leaves_the_file_old_or_new_and_no_lock() {
    if !require_tracer() {
        return;
    }
    let machine = Machine::new();
    let (steps, ours) = steps(&machine);
    let mut tried = 0;
    for step in &steps {
        for error in ["ENOSPC", "EIO", "EROFS"] {
            machine.write_kubeconfig(&yc_with("prod"));
            let run = traced(&machine.world.sandbox, &inject(step, &format!("error={error}")), SETUP).run();
            assert!(matches!(run.status.code(), Some(0 | 3 | 4)), "{step:?} {error}\n{run}");
            let text = machine.read("home/.kube/config");
            let is_expected = text == ours || (text == yc_with("prod") && run.status.code() != Some(0));
            assert!(is_expected, "{step:?} {error}\n{run}{text}");
            // An unlink that fails leaves what it would have removed; the next run removes it.
            if step.name != "unlink" {
                let left: Vec<String> = beside(&machine).into_iter().filter(|name| name != "config").collect();
                assert_eq!(left, [""; 0], "{step:?} {error}\n{run}");
            }
            if text != ours {
                machine.setup(&["kubectl"]).run().succeeds();
            }
            machine.unsetup(&["kubectl"]).run().succeeds();
            assert_eq!(machine.read("home/.kube/config"), yc_with("prod"), "{step:?} {error}");
            for name in beside(&machine).into_iter().filter(|name| name != "config") {
                assert!(name.starts_with(".ycred-tmp-"), "{step:?} {error}: {name}");
                fs::remove_file(machine.path("home/.kube").join(name)).expect("removed");
            }
            tried += 1;
        }
    }
    report_faults("disk error in a system call of setup", tried);
}

#[test]
fn a_file_that_is_overwritten_in_place_survives_a_kill_at_any_step() {
    if !require_tracer() {
        return;
    }
    let machine = Machine::new();
    // Two names for one file: replacing it would leave the other name with the old content.
    machine.write_kubeconfig(&yc_with("prod"));
    fs::hard_link(machine.kubeconfig(), machine.path("work/other-name")).expect("a link");
    let sandbox = &machine.world.sandbox;
    for call in [&["setup", "kubectl"][..], &["unsetup", "kubectl"]] {
        let prepare = || {
            machine.unsetup(&["kubectl"]).run().succeeds();
            fs::write(machine.kubeconfig(), yc_with("prod")).expect("written");
            if call[0] == "unsetup" {
                machine.setup(&["kubectl"]).run().succeeds();
            }
        };
        prepare();
        let steps = Step::of(sandbox, |strace| traced(sandbox, strace, call));
        let names = ["write", "ftruncate", "fsync", "openat", "unlink"];
        let is_in_place = |step: &&Step| {
            let is_place = step.line.contains("home/.kube/config") || step.line.contains("state/setup/copy-");
            is_place && names.contains(&step.name.as_str())
        };
        let steps: Vec<&Step> = steps.iter().filter(is_in_place).collect();
        assert!(steps.iter().any(|step| step.name == "ftruncate"), "{steps:#?}");
        for step in steps {
            prepare();
            let run = traced(sandbox, &inject(step, "signal=KILL"), call).run();
            assert_eq!(run.status.signal(), Some(libc::SIGKILL), "{step:?}\n{run}");
            machine.setup(&["kubectl"]).run().succeeds();
            assert!(machine.read("home/.kube/config").contains(&machine.command()), "{step:?}");
            machine.unsetup(&["kubectl"]).run().succeeds();
            assert_eq!(machine.read("home/.kube/config"), yc_with("prod"), "{step:?}");
            let copies =
                sandbox.files("state/setup").into_iter().filter(|path| path.to_string_lossy().contains("copy-"));
            assert_eq!(copies.count(), 0, "{step:?}");
        }
    }
}

#[test]
fn signals_leave_no_lock_behind() {
    if !require_tracer() {
        return;
    }
    let machine = Machine::new();
    let (steps, ours) = steps(&machine);
    for signal in ["INT", "TERM", "HUP"] {
        for step in steps.iter().filter(|step| step.line.contains(".kube")) {
            machine.write_kubeconfig(&yc_with("prod"));
            traced(&machine.world.sandbox, &inject(step, &format!("signal={signal}")), SETUP).run();
            let text = machine.read("home/.kube/config");
            assert!(text == yc_with("prod") || text == ours, "{signal} {step:?}");
            assert_eq!(beside(&machine), ["config"], "{signal} {step:?}");
            machine.setup(&["kubectl"]).run().succeeds();
            machine.unsetup(&["kubectl"]).run().succeeds();
        }
    }
}

#[test]
fn kubectls_lock_is_respected_and_a_foreign_one_is_never_removed() {
    let machine = Machine::new();
    machine.write_kubeconfig(&yc_with("prod"));
    let lock = machine.world.sandbox.file("home/.kube/config.lock", "");
    let run = machine.setup(&["kubectl"]).run().exits(4).stderr_has("kubectl holds the lock");
    run.stderr_has(&format!("rm {}", lock.display()));
    assert!(lock.exists() && machine.read("home/.kube/config") == yc_with("prod") && machine.journal().is_empty());
    // It does not disturb a plan, nor a setup that finds nothing to do.
    machine.setup(&["kubectl", "--dry-run"]).run().succeeds();
    let waiting = machine.setup(&["kubectl"]).start();
    fs::remove_file(&lock).expect("removed");
    waiting.finish().succeeds();
    fs::write(&lock, "").expect("written");
    machine.setup(&["kubectl"]).run().succeeds().stdout_has("already set up");
}

/// Runs a script in its own mount namespace. `$1` is the directory of the kubeconfig, `$2` the binary.
fn in_mount_namespace(machine: &Machine, script: &str) -> Call {
    let script = format!("set -e; {script}");
    let arguments = ["-m", "--propagation", "private", "sh", "-c", &script, "sh"].map(std::ffi::OsString::from);
    let directory = machine.path("home/.kube").into_os_string();
    machine.world.sandbox.call("unshare", arguments.into_iter().chain([directory, YCRED.into()]))
}

#[test]
fn a_bind_mounted_file_is_written_in_place_and_restored() {
    if !require_root(&["unshare"]) {
        return;
    }
    let machine = Machine::new();
    machine.write_kubeconfig(&yc_with("prod"));
    let before = fs::metadata(machine.kubeconfig()).expect("the file").ino();
    let mount = "cp \"$1/config\" \"$1/real\"; mount --bind \"$1/real\" \"$1/config\"";
    let run = in_mount_namespace(
        &machine,
        &format!("{mount}; \"$2\" setup kubectl; cat \"$1/config\"; \"$2\" unsetup kubectl; cat \"$1/config\""),
    );
    let run = run.run().succeeds().stderr_is_empty().stdout_has(&machine.command());
    assert!(run.stdout.ends_with(&yc_with("prod")), "{run}");
    assert_eq!(fs::metadata(machine.kubeconfig()).expect("the file").ino(), before);
    assert_eq!(
        machine.world.sandbox.files("state/setup").len(),
        1,
        "only the lock: {:?}",
        machine.world.sandbox.files("state/setup")
    );
}

#[test]
fn on_a_full_or_read_only_disk_the_file_stays_and_the_error_says_why() {
    if !require_root(&["unshare"]) {
        return;
    }
    let machine = Machine::new();
    machine.write_kubeconfig(&yc_with("prod"));
    let setup = "\"$2\" setup kubectl && exit 9; echo \"exit $?\"; cat \"$1/config\"; ls -A \"$1\"";
    let full = "cp \"$1/config\" ../tmp/config; mount -t tmpfs -o size=4k none \"$1\"; cp ../tmp/config \"$1/config\"";
    let run = in_mount_namespace(&machine, &format!("{full}; {setup}")).run().succeeds();
    assert_eq!(run.stdout, format!("exit 4\n{}config\n", yc_with("prod")), "{run}");
    assert!(run.stderr.contains("the disk is full"), "{run}");
    let read_only = "mount --bind \"$1\" \"$1\"; mount -o remount,ro,bind \"$1\"";
    let run = in_mount_namespace(&machine, &format!("{read_only}; {setup}")).run().succeeds();
    assert_eq!(run.stdout, format!("exit 3\n{}config\n", yc_with("prod")), "{run}");
    assert!(run.stderr.contains("the file system is read-only"), "{run}");
    assert!(machine.journal().is_empty(), "{:?}", machine.journal());
}

#[test]
fn a_hard_link_and_a_file_of_another_user_keep_their_inode_or_owner() {
    if !require_root(&[]) {
        return;
    }
    let machine = Machine::new();
    machine.write_kubeconfig(&yc_with("prod"));
    let other_name = machine.path("work/other-name");
    fs::hard_link(machine.kubeconfig(), &other_name).expect("a link");
    machine.setup(&["kubectl"]).run().succeeds();
    assert_eq!(fs::read_to_string(&other_name).expect("text"), machine.read("home/.kube/config"));
    machine.unsetup(&["kubectl"]).run().succeeds();
    assert_eq!(fs::read_to_string(&other_name).expect("text"), yc_with("prod"));
    fs::remove_file(&other_name).expect("removed");
    chown(machine.kubeconfig(), Some(1234), Some(4321)).expect("root may");
    fs::set_permissions(machine.kubeconfig(), fs::Permissions::from_mode(0o640)).expect("a mode");
    machine.setup(&["kubectl"]).run().succeeds();
    let after = fs::metadata(machine.kubeconfig()).expect("the file");
    assert_eq!((after.uid(), after.gid(), after.mode() & 0o777), (1234, 4321, 0o640));
}

#[test]
fn access_control_lists_and_attributes_stay() {
    if !require_root(&["setfacl", "getfacl"]) {
        return;
    }
    let machine = Machine::new();
    machine.write_kubeconfig(&yc_with("prod"));
    let path = machine.kubeconfig().display().to_string();
    let acl = || machine.world.sandbox.call("getfacl", ["-cp", &path]).run().succeeds().stdout;
    if !machine.world.sandbox.call("setfacl", ["-m", "u:1234:r", &path]).run().status.success() {
        return crate::harness::skip("the file system has no access control lists");
    }
    let before = acl();
    assert!(before.contains("user:1234:r"), "{before}");
    machine.setup(&["kubectl"]).run().succeeds();
    assert_eq!(acl(), before);
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
        run.stderr_has("without sudo");
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
    machine.unsetup(&["kubectl"]).run().succeeds();
    assert!(!machine.read("home/.kube/config").contains("ycred"), "{}", machine.read("home/.kube/config"));
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
fn a_file_in_a_read_only_directory_is_written_in_place() {
    if !require_root(&["setpriv"]) {
        return;
    }
    let machine = Machine::new();
    let other = super::other_user::OtherUser::new(&machine.world, super::other_user::NOBODY);
    fs::create_dir(other.path("home/.kube")).expect("a directory");
    fs::write(other.path("home/.kube/config"), yc_with("default")).expect("written");
    for path in ["home/.kube", "home/.kube/config"] {
        other.chown(path, super::other_user::NOBODY);
    }
    fs::set_permissions(other.path("home/.kube"), fs::Permissions::from_mode(0o500)).expect("a mode");
    let names = || fs::read_dir(other.path("home/.kube")).expect("readable").count();
    let text = || fs::read_to_string(other.path("home/.kube/config")).expect("text");
    other.call(&machine.world, &["setup", "kubectl"]).run().succeeds().stderr_is_empty();
    assert!(text().contains("ycred") && names() == 1);
    other.call(&machine.world, &["unsetup", "kubectl"]).run().succeeds();
    assert!(text() == yc_with("default") && names() == 1);
    // Without permission to write the file, nothing happens.
    fs::set_permissions(other.path("home/.kube/config"), fs::Permissions::from_mode(0o400)).expect("a mode");
    other.call(&machine.world, &["setup", "kubectl"]).run().exits(3).stderr_has("permission denied");
    assert!(text() == yc_with("default") && names() == 1);
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
