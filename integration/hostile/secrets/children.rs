//! What child processes inherit: the commands of a profile, and programs under `ycred exec`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use crate::emulator::faults::Fault;
use crate::harness::YCRED;
use crate::sources::random_secret;
use crate::world::World;

/// Returns the variables in the output of `env -0`.
fn variables(output: &[u8]) -> BTreeMap<String, String> {
    let pairs = output.split(|byte| *byte == 0).filter(|pair| !pair.is_empty());
    pairs
        .filter_map(|pair| {
            let pair = String::from_utf8_lossy(pair).into_owned();
            pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
        })
        .collect()
}

#[test]
fn a_profiles_command_gets_the_inherited_environment_one_marker_and_no_secret_argument() {
    let mut world = World::new();
    let (environ, cmdline) = (world.sandbox.path("tmp/environ"), world.sandbox.path("tmp/cmdline"));
    let script = world.sandbox.script(
        "bin/helper",
        &format!(
            "#!/bin/sh\ncat /proc/$$/environ > '{}'; cat /proc/$$/cmdline > '{}'; ls /proc/$$/fd > '{}'; echo t1.{}.x\n",
            environ.display(),
            cmdline.display(),
            world.sandbox.path("tmp/fds").display(),
            random_secret(40)
        ),
    );
    let toml = format!("source = \"command\"\ncommand = [\"{}\", \"one\", \"t w o\"]\n", script.display());
    world.sandbox.profile("default", &toml);
    let inherited = variables(world.sandbox.call("env", ["-0"]).run().succeeds().stdout.as_bytes());
    // The descriptors that are open if the test runs the script itself.
    world.sandbox.call(&script, ["one"]).run().succeeds();
    let descriptors = fs::read_to_string(world.sandbox.path("tmp/fds")).expect("the script's descriptors");
    let run = world.ycred(&["token"]).run().succeeds().stderr_is_empty();
    let mut seen = variables(&fs::read(&environ).expect("the script's environment"));
    let marker = seen.remove("YCRED_RUNNING").expect("the marker");
    assert!(marker.bytes().all(|byte| byte.is_ascii_hexdigit()), "{marker}");
    seen.remove("PWD");
    assert_eq!(seen, inherited, "{run}");
    let cmdline = String::from_utf8(fs::read(&cmdline).expect("the script's command line")).expect("UTF-8");
    assert_eq!(cmdline, format!("/bin/sh\0{}\0one\0t w o\0", script.display()));
    // The script does not inherit a lock or a socket.
    assert_eq!(fs::read_to_string(world.sandbox.path("tmp/fds")).expect("the script's descriptors"), descriptors);

    // The command of an OAuth source does not get the token that the previous profile has cached.
    let url = world.emulator.url();
    let (oauth, _) = world.emulator.new_oauth();
    world.sandbox.set("SOME_SECRET", "inherited-secret");
    let script = world
        .sandbox
        .script("bin/oauth", &format!("#!/bin/sh\ncat /proc/$$/environ > '{}'; echo {oauth}\n", environ.display()));
    let toml = format!("source = \"oauth\"\noauth-token-command = [\"{}\"]\niam-url = \"{url}\"\n", script.display());
    world.sandbox.profile("default", &toml);
    let run = world.ycred(&["token"]).run().succeeds().stderr_is_empty();
    let mut seen = variables(&fs::read(&environ).expect("the script's environment"));
    seen.remove("YCRED_RUNNING");
    seen.remove("PWD");
    let mut expected = inherited;
    expected.insert("SOME_SECRET".into(), "inherited-secret".into());
    assert_eq!(seen, expected);
    world.token_printed_by(&run);
}

#[test]
fn exec_makes_only_the_documented_changes_to_the_environment() {
    let mut world = World::new();
    for (name, value) in [
        ("YC_SERVICE_ACCOUNT_KEY_FILE", "/none"),
        ("YC_OAUTH_TOKEN", "y0_other"),
        ("YC_TOKEN", "t1.stale.x"),
        ("YC_IAM_TOKEN", "t1.stale.x"),
        ("YCRED_EXPIRES_AT", "stale"),
        ("YCRED_TOKEN_ID", "stale"),
        ("YCRED_PROFILE", "default"),
        ("OTHER", "x\ny"),
        ("YCRED_RUNNING", "00"),
        ("EMPTY", ""),
    ] {
        world.sandbox.set(name, value);
    }
    let before = variables(world.sandbox.call("env", ["-0"]).run().succeeds().stdout.as_bytes());
    let run = world.ycred(&["exec", "--", "env", "-0"]).run().succeeds().stderr_is_empty();
    let mut after = variables(run.stdout.as_bytes());
    let token = world.last_token();
    let mut expected = before.clone();
    for removed in ["YC_SERVICE_ACCOUNT_KEY_FILE", "YC_OAUTH_TOKEN", "YCRED_EXPIRES_AT", "YCRED_TOKEN_ID"] {
        expected.remove(removed);
    }
    for name in ["YC_TOKEN", "YC_IAM_TOKEN"] {
        expected.insert(name.to_owned(), token.clone());
    }
    let expires = after.remove("YCRED_EXPIRES_AT").expect("the expiry");
    assert!(expires.len() == 20 && expires.ends_with('Z') && expires.contains('T'), "{expires}");
    let id = after.remove("YCRED_TOKEN_ID").expect("the id of the token");
    assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert_eq!(after, expected);

    // The program does not get a variable from which the profile reads a secret.
    let (oauth, _) = world.emulator.new_oauth();
    let toml = format!("source = \"oauth\"\noauth-token-env = \"MY_OAUTH\"\niam-url = \"{}\"\n", world.emulator.url());
    world.sandbox.profile("default", &toml);
    world.sandbox.set("MY_OAUTH", oauth);
    let run = world.ycred(&["exec", "env", "-0"]).run().succeeds().stderr_is_empty();
    let after = variables(run.stdout.as_bytes());
    assert!(!after.contains_key("MY_OAUTH"), "{run}");
    assert_eq!(after.get("YC_TOKEN"), Some(&world.last_token()));
    // If that variable is YC_TOKEN, the program gets it with the token, which is the same here.
    world.sandbox.profile("default", "source = \"static\"\ntoken-env = \"YC_TOKEN\"\n");
    let run = world.ycred(&["exec", "env", "-0"]).env("YC_TOKEN", "t1.own.x").run().succeeds().stderr_is_empty();
    assert_eq!(variables(run.stdout.as_bytes()).get("YC_TOKEN").map(String::as_str), Some("t1.own.x"));
    // Without a profile, a ycred that the program runs must find the token in the environment.
    fs::remove_file(world.sandbox.path("config/default.toml")).expect("the profile is removed");
    let call = world.ycred(&["exec", "env", "-0"]).without("YCRED_PROFILE").env("YC_IAM_TOKEN", "t1.env.x");
    let after = variables(call.run().succeeds().stderr_is_empty().stdout.as_bytes());
    assert_eq!(after.get("YC_IAM_TOKEN").map(String::as_str), Some("t1.env.x"));
    assert!(!after.contains_key("YCRED_PROFILE"));
}

#[test]
fn exec_exits_125_126_or_127_for_its_own_errors_and_otherwise_ends_like_the_program() {
    let world = World::new();
    let exec = |arguments: &[&str]| world.ycred(&[&["exec"], arguments].concat());
    for code in [0, 1, 7, 125, 126, 127, 255] {
        exec(&["sh", "-c", &format!("exit {code}")]).run().exits(code).stderr_is_empty();
        exec(&["--", "sh", "-c", &format!("exit {code}")]).run().exits(code).stderr_is_empty();
    }
    for signal in [libc::SIGTERM, libc::SIGKILL, libc::SIGUSR1, libc::SIGPIPE, libc::SIGSEGV] {
        let run = exec(&["sh", "-c", &format!("kill -{signal} $$")]).run();
        assert_eq!(run.status.signal(), Some(signal), "{run}");
    }
    exec(&["no-such-program"]).run().exits(127).stdout_is("").stderr_has("no-such-program: program not found");
    exec(&["./no/such"]).run().exits(127);
    let plain = world.sandbox.file("tmp/plain", "not a program").display().to_string();
    let run = exec(&[&plain]).run().exits(126).stdout_is("");
    assert!(run.stderr.contains("permission denied"), "{run}");
    exec(&[&world.sandbox.path("tmp").display().to_string()]).run().exits(126);
    world.emulator.fault(Fault::refuse(403));
    let run = world.ycred(&["exec", "--force-refresh", "true"]).run();
    let run = run.exits(125).stdout_is("").stderr_has("ycred: error: ");
    assert_eq!(run.stderr.lines().count(), 2, "{run}");
    world.ycred(&["exec", "-p", "none", "true"]).run().exits(125);
}

#[test]
fn exec_becomes_the_program_and_leaves_signals_and_descriptors_unchanged() {
    let world = World::new();
    let running = world.ycred(&["exec", "sh", "-c", "echo $$; sleep 30"]).start();
    let id = running.id();
    while !running.stdout().ends_with('\n') {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(running.stdout(), format!("{id}\n"), "the program has another process id than ycred");
    running.signal(libc::SIGTERM);
    assert_eq!(running.finish().status.signal(), Some(libc::SIGTERM));

    // The masks without signals 32 and above, two of which glibc reserves.
    let signals = "sed -n 's/^Sig\\(Ign\\|Blk\\):.*\\(.......[0-9a-f]\\)$/\\1 \\2/p' /proc/self/status";
    let masks = |status: &str| {
        let masks = status.lines().filter_map(|line| u64::from_str_radix(line.split_once(' ')?.1, 16).ok());
        masks.map(|mask| mask & 0x7fff_ffff).collect::<Vec<_>>()
    };
    let inherited = masks(&world.sandbox.call("sh", ["-c", signals]).run().succeeds().stdout);
    // The process that runs the tests may leave some descriptors open.
    let descriptors = world.sandbox.call("sh", ["-c", "ls /proc/$$/fd"]).run().succeeds().stdout;
    for case in ["miss", "hit"] {
        if case == "miss" {
            fs::remove_dir_all(world.sandbox.path("cache")).expect("a cold cache");
        }
        let run = world.ycred(&["exec", "sh", "-c", signals]).run().succeeds().stderr_is_empty();
        assert_eq!(masks(&run.stdout), inherited, "{case}\n{run}");
        let run = world.ycred(&["exec", "sh", "-c", "ls /proc/$$/fd"]).run().succeeds().stderr_is_empty();
        assert_eq!(run.stdout, descriptors, "{case}");
    }
    // Signals that the caller ignores stay ignored, as under `nohup ycred exec …`.
    fs::remove_dir_all(world.sandbox.path("cache")).expect("a cold cache");
    let script = "trap '' HUP XFSZ; exec \"$@\"";
    let arguments = ["-c", script, "sh", YCRED, "exec", "sh", "-c", signals];
    let run = world.sandbox.call("sh", arguments).run().succeeds().stderr_is_empty();
    let ignored = 1 << (libc::SIGHUP - 1) | 1 << (libc::SIGXFSZ - 1);
    assert_eq!(masks(&run.stdout), [inherited[0], inherited[1] | ignored], "{run}");
}

#[test]
fn a_program_under_exec_has_the_inherited_resource_limits() {
    let world = World::new();
    let limits = "ulimit -a; ulimit -aH";
    let inherited = world.sandbox.call("sh", ["-c", limits]).run().succeeds().stdout;
    let run = world.ycred(&["exec", "sh", "-c", limits]).run().succeeds().stderr_is_empty();
    assert_eq!(run.stdout, inherited);
}
