//! A fault at each system call of `setup` and `unsetup` that changes a file.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::thread;

use super::edited::Edited;
use crate::harness::machine::require_tracer;
use crate::harness::report_faults;
use crate::harness::strace::{Step, inject_into_first, traced};

/// Runs a test for each client, two at a time, and returns the sum of the results.
fn sum_of(clients: &[Edited], test: impl Fn(&Edited) -> usize + Sync) -> usize {
    let half = clients.len().div_ceil(2);
    thread::scope(|scope| {
        let threads: Vec<_> =
            clients.chunks(half).map(|clients| scope.spawn(|| clients.iter().map(&test).sum::<usize>())).collect();
        threads.into_iter().map(|thread| thread.join().expect("no failure")).sum()
    })
}

/// Kills a setup or unsetup at each step. The file is old or new, and the next runs do what is left and clean up.
fn killed_at_each_step(edited: &Edited, verb: &'static str) -> usize {
    let machine = edited.machine();
    let names_before = edited.names(&machine);
    edited.call(&machine, "setup").run().succeeds();
    let (ours, names_ours) = (edited.read(&machine), edited.names(&machine));
    let start = || match verb {
        "setup" => edited.put_before(&machine),
        _ => drop(edited.call(&machine, "setup").run().succeeds()),
    };
    if verb == "setup" {
        edited.call(&machine, "unsetup").run().succeeds();
    }
    start();
    let steps = edited.steps(&machine, verb);
    edited.call(&machine, "unsetup").run().succeeds();
    let has = |name: &str| steps.iter().any(|step| step.name.starts_with(name));
    let is_replaced = edited.before.is_some();
    for name in ["fsync", "openat", "write", "unlink"] {
        assert!(has(name) || verb == "setup" && name == "unlink", "no {name} in {steps:#?}");
    }
    assert!(has("rename") || !is_replaced, "{steps:#?}");
    let mut locks = 0;
    for step in &steps {
        let client = edited.client;
        start();
        let run =
            traced(&machine.world.sandbox, &inject_into_first(step, "signal=KILL"), &edited.arguments(verb)).run();
        assert_eq!(run.status.signal(), Some(libc::SIGKILL), "{client} {step:?}\n{run}");
        let text = edited.read(&machine);
        // Each place of a file is undone by a write of its own.
        let is_between = verb == "unsetup" && text.as_deref().is_some_and(|text| edited.is_between(text, &ours));
        assert!(
            text == edited.before || text == ours || is_between,
            "{client} {step:?}: neither old nor new: {text:?}"
        );
        locks += usize::from(edited.names(&machine).contains(&format!("{}.lock", edited.name)));
        if verb == "setup" {
            edited.call(&machine, "setup").run().succeeds().stderr_is_empty();
            assert_eq!(edited.read(&machine), ours, "{client} {step:?}");
            assert_eq!(edited.names(&machine), names_ours, "{client} {step:?}");
        }
        edited.call(&machine, "unsetup").run().succeeds();
        assert_eq!(edited.read(&machine), edited.before, "{client} {step:?}");
        assert_eq!(edited.names(&machine), names_before, "{client} {step:?}");
        assert!(machine.journal().is_empty(), "{client} {step:?}: {:?}", machine.journal());
        edited.clean(&machine);
    }
    let has_lock = is_replaced && ["kubectl", "git"].contains(&edited.client);
    assert!(locks > 3 || !has_lock, "{}: the lock was there at {locks} of the kills", edited.client);
    steps.len()
}

#[test]
fn after_a_kill_at_any_step_of_setup_the_file_is_old_or_new_and_the_next_run_cleans_up() {
    if !require_tracer() {
        return;
    }
    let killed = sum_of(&Edited::existing(), |edited| killed_at_each_step(edited, "setup"));
    let others = sum_of(&Edited::others(), |edited| killed_at_each_step(edited, "setup"));
    let created = sum_of(&Edited::missing(), |edited| killed_at_each_step(edited, "setup"));
    report_faults("setup killed at a system call that changes a file", killed + others + created);
}

#[test]
fn after_a_kill_at_any_step_of_unsetup_the_file_is_old_or_new_and_the_next_run_cleans_up() {
    if !require_tracer() {
        return;
    }
    let created = Edited::missing().into_iter().filter(|edited| edited.client == "docker");
    let clients: Vec<Edited> = Edited::existing().into_iter().chain(created).chain(Edited::others()).collect();
    let killed = sum_of(&clients, |edited| killed_at_each_step(edited, "unsetup"));
    report_faults("unsetup killed at a system call that changes a file", killed);
}

/// Makes each step fail. kubectl gets each error at each step, the others one of them.
fn error_at_each_step(edited: &Edited) -> usize {
    const ERRORS: [&str; 3] = ["ENOSPC", "EIO", "EROFS"];
    let machine = edited.machine();
    let names_before = edited.names(&machine);
    let steps = edited.steps(&machine, "setup");
    let (ours, names_ours) = (edited.read(&machine), edited.names(&machine));
    edited.call(&machine, "unsetup").run().succeeds();
    let all = |_: usize| ERRORS.to_vec();
    let one = |at: usize| vec![ERRORS[at % ERRORS.len()]];
    let tries = steps.iter().enumerate().flat_map(|(at, step)| {
        let errors = if edited.client == "kubectl" { all(at) } else { one(at) };
        errors.into_iter().map(move |error| (step, error))
    });
    let mut tried = 0;
    for (step, error) in tries {
        edited.put_before(&machine);
        let strace = inject_into_first(step, &format!("error={error}"));
        let run = traced(&machine.world.sandbox, &strace, &edited.arguments("setup")).run();
        let what = format!("{} {step:?} {error}\n{run}", edited.client);
        assert!(matches!(run.status.code(), Some(0 | 3 | 4)), "{what}");
        let text = edited.read(&machine);
        assert!(text == ours || text == edited.before && run.status.code() != Some(0), "{what}{text:?}");
        // An unlink that fails leaves what it would have removed; the next run removes it.
        if !step.name.starts_with("unlink") {
            let expected = if text == ours { &names_ours } else { &names_before };
            assert_eq!(edited.names(&machine), *expected, "{what}");
        }
        if text != ours {
            edited.call(&machine, "setup").run().succeeds();
        }
        edited.call(&machine, "unsetup").run().succeeds();
        assert_eq!(edited.read(&machine), edited.before, "{what}");
        assert_eq!(edited.names(&machine), names_before, "{what}");
        assert!(machine.journal().is_empty(), "{what}: {:?}", machine.journal());
        edited.clean(&machine);
        tried += 1;
    }
    tried
}

#[test]
fn a_disk_error_at_any_step_of_setup_leaves_the_file_old_or_new_and_no_lock() {
    if !require_tracer() {
        return;
    }
    let clients: Vec<Edited> = Edited::existing().into_iter().chain(Edited::missing()).collect();
    report_faults("disk error in a system call of setup", sum_of(&clients, error_at_each_step));
}

/// Kills a process that overwrites a file in place, because the file has two names.
fn killed_while_overwriting(edited: &Edited) -> usize {
    let machine = edited.machine();
    let sandbox = &machine.world.sandbox;
    fs::hard_link(machine.path(&edited.file()), machine.path("work/other-name")).expect("a link");
    let mut killed = 0;
    for verb in ["setup", "unsetup"] {
        let start = || {
            edited.call(&machine, "unsetup").run().succeeds();
            // Not `put_before`: the file keeps both names.
            fs::write(machine.path(&edited.file()), edited.text()).expect("written");
            if verb == "unsetup" {
                edited.call(&machine, "setup").run().succeeds();
            }
        };
        start();
        let names = ["write", "ftruncate", "fsync", "openat", "unlink"];
        let is_in_place = |step: &Step| {
            let is_place = step.line.contains(&edited.file()) || step.line.contains("state/setup/copy-");
            is_place && names.contains(&step.name.as_str())
        };
        let steps: Vec<Step> = edited.steps(&machine, verb).into_iter().filter(is_in_place).collect();
        assert!(steps.iter().any(|step| step.name == "ftruncate"), "{} {verb} {steps:#?}", edited.client);
        for step in &steps {
            start();
            let run = traced(sandbox, &inject_into_first(step, "signal=KILL"), &edited.arguments(verb)).run();
            let what = format!("{} {step:?}\n{run}", edited.client);
            assert_eq!(run.status.signal(), Some(libc::SIGKILL), "{what}");
            edited.call(&machine, "setup").run().succeeds();
            assert!(machine.read(&edited.file()).contains("ycred"), "{what}");
            edited.call(&machine, "unsetup").run().succeeds();
            assert_eq!(machine.read(&edited.file()), edited.text(), "{what}");
            assert_eq!(machine.read("work/other-name"), edited.text(), "{what}");
            let copies = sandbox.files("state/setup");
            let copies: Vec<_> = copies.iter().filter(|path| path.to_string_lossy().contains("copy-")).collect();
            assert!(copies.is_empty(), "{what}{copies:?}");
            killed += 1;
        }
    }
    killed
}

#[test]
fn a_file_that_is_overwritten_in_place_survives_a_kill_at_any_step() {
    if !require_tracer() {
        return;
    }
    assert!(sum_of(&Edited::existing(), killed_while_overwriting) > 20);
}

#[test]
fn signals_leave_no_lock_behind() {
    if !require_tracer() {
        return;
    }
    for edited in Edited::existing().iter().filter(|edited| ["kubectl", "git"].contains(&edited.client)) {
        let machine = edited.machine();
        let names = edited.names(&machine);
        let steps = edited.steps(&machine, "setup");
        let ours = edited.read(&machine);
        edited.call(&machine, "unsetup").run().succeeds();
        let beside = format!("{}/.", edited.directory);
        for signal in ["INT", "TERM", "HUP"] {
            for step in steps.iter().filter(|step| step.line.contains(&beside) || step.line.contains(&edited.file())) {
                edited.put_before(&machine);
                let strace = inject_into_first(step, &format!("signal={signal}"));
                traced(&machine.world.sandbox, &strace, &edited.arguments("setup")).run();
                let text = edited.read(&machine);
                assert!(text == edited.before || text == ours, "{signal} {step:?}");
                assert_eq!(edited.names(&machine), names, "{signal} {step:?}");
                edited.call(&machine, "setup").run().succeeds();
                edited.call(&machine, "unsetup").run().succeeds();
            }
        }
    }
}
