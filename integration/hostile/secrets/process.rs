//! The memory and the command line of the process.

use super::fragments::Fragments;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::emulator::TOKENS;
use crate::emulator::faults::Fault;
use crate::harness::YCRED;
use crate::harness::files::names;
use crate::harness::machine::{require_root, require_tracer};
use crate::harness::strace::{Step, traced};
use crate::hostile::other_user::{NOBODY, OtherUser};
use crate::sources::random_secret;
use crate::world::World;

#[test]
fn dumps_are_disabled_before_any_configuration_file_is_opened() {
    if !require_tracer() {
        return;
    }
    let world = World::new();
    let steps = Step::of(&world.sandbox, |strace| traced(&world.sandbox, strace, &["token"]));
    let disables_dumps =
        steps.iter().position(|step| step.line.starts_with("prctl(PR_SET_DUMPABLE, SUID_DUMP_DISABLE"));
    let config = world.sandbox.path("config").display().to_string();
    let opens_config = steps.iter().position(|step| step.line.contains(&config) && step.name.starts_with("open"));
    let disables_dumps = disables_dumps.expect("dumps are disabled");
    let opens_config = opens_config.expect("a profile is read");
    assert!(disables_dumps < opens_config, "{:?} after {:?}", steps[disables_dumps], steps[opens_config]);
    assert!(!steps.iter().any(|step| step.name.contains("rlimit") && step.line.contains("RLIMIT_CORE, {")));
}

#[test]
fn a_users_process_memory_belongs_to_root_and_an_abort_leaves_no_core_file() {
    if !require_root(&["setpriv"]) {
        return;
    }
    let world = World::new();
    let other_user = OtherUser::new(&world, NOBODY);
    world.emulator.fault(Fault::held().on(crate::emulator::faults::Endpoint::Tokens));
    let running = other_user.call(&world, &["token"]).start();
    assert!(world.emulator.wait_for_requests(TOKENS, 1, Duration::from_secs(30)));
    for name in ["environ", "mem", "maps"] {
        let owner = fs::metadata(format!("/proc/{}/{name}", running.id())).expect("it runs").uid();
        assert_eq!(owner, 0, "/proc/…/{name} belongs to the user");
    }
    running.signal(libc::SIGABRT);
    let run = running.finish();
    assert_eq!((run.status.signal(), run.status.core_dumped()), (Some(libc::SIGABRT), false), "{run}");

    // The same for root, with a limit that allows a core file.
    let running = world.sandbox.call("sh", ["-c", "ulimit -c unlimited; exec \"$@\"", "sh", YCRED, "token"]).start();
    assert!(world.emulator.wait_for_requests(TOKENS, 2, Duration::from_secs(30)));
    running.signal(libc::SIGABRT);
    let run = running.finish();
    assert_eq!((run.status.signal(), run.status.core_dumped()), (Some(libc::SIGABRT), false), "{run}");
    assert_eq!(names(&world.sandbox.path("work")), Vec::<PathBuf>::new());
    world.emulator.clear_faults();
}

#[test]
fn secrets_in_arguments_or_in_a_profile_are_rejected_and_never_repeated() {
    let world = World::new();
    let secret = random_secret(40);
    let mut fragments = Fragments::default();
    fragments.add("typed secret", &secret);
    for flag in ["--token", "--oauth-token", "--password", "--private-key", "--iam-token"] {
        // These flags do not exist, and the error does not repeat the value.
        let run = world.ycred(&["token", flag, &secret]).run().exits(2);
        assert_eq!(fragments.find_in(run.stderr.as_bytes()), None, "{run}");
        let run = world.ycred(&["token", &format!("{flag}={secret}")]).run().exits(2);
        assert_eq!(fragments.find_in(run.stderr.as_bytes()), None, "{run}");
    }
    for key in ["oauth-token", "token", "private-key", "password", "iam-token"] {
        world.sandbox.profile("wrong", &format!("source = \"static\"\n{key} = \"{secret}\"\n"));
        let run = world.ycred(&["token", "-p", "wrong"]).run().exits(3);
        assert!(run.stderr.contains(&format!("unknown key `{key}`")), "{run}");
        assert_eq!(fragments.find_in(run.stderr.as_bytes()), None, "{run}");
    }
    // A secret in the wrong place of a profile, which makes it invalid TOML.
    for toml in
        [format!("source = \"static\"\ntoken-file = {secret}\n"), format!("{secret}\n"), format!("\"{secret}\n")]
    {
        world.sandbox.profile("wrong", &toml);
        let run = world.ycred(&["token", "-p", "wrong"]).run().exits(3);
        assert_eq!(fragments.find_in(run.stderr.as_bytes()), None, "{run}");
    }
}
