//! Sandboxes: filters of system calls, user namespaces, read-only and foreign files, and users without a home. A token that
//! can be obtained there is obtained, and a hint can be followed where it is printed.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::sync::OnceLock;

use super::other_user::{NOBODY, OtherUser};
use crate::expect::{fails_with, fails_with_hint, prints_token};
use crate::harness::files::set_mode;
use crate::harness::machine::{is_root, require_root};
use crate::harness::waiting::HOUR;
use crate::harness::{Call, Run, YCRED, require_client, skip};
use crate::sources::person::Person;
use crate::world::World;

/// Runs a program under a seccomp filter: these system calls fail with this error, and all others work.
///
/// Arguments: the error, the numbers of the calls separated by commas, the program and its arguments.
const FILTER: &str = "
import ctypes, os, struct, sys
error, numbers = int(sys.argv[1]), [int(number) for number in sys.argv[2].split(',')]
def step(code, jump_if, jump_else, value): return struct.pack('HBBI', code, jump_if, jump_else, value)
# Load the number of the call; compare it with each; SECCOMP_RET_ERRNO or SECCOMP_RET_ALLOW.
steps = [step(0x20, 0, 0, 0)]
steps += [step(0x15, len(numbers) - at, 0, number) for at, number in enumerate(numbers)]
steps += [step(0x06, 0, 0, 0x7fff0000), step(0x06, 0, 0, 0x00050000 | error)]
class Program(ctypes.Structure): _fields_ = [('length', ctypes.c_ushort), ('steps', ctypes.c_void_p)]
code = ctypes.create_string_buffer(b''.join(steps))
program = Program(len(steps), ctypes.cast(code, ctypes.c_void_p))
libc = ctypes.CDLL(None, use_errno=True)
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 38, 22
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, 2, ctypes.byref(program), 0, 0):
    sys.exit('no filters of system calls here: ' + os.strerror(ctypes.get_errno()))
os.execvp(sys.argv[3], sys.argv[3:])
";

/// What a filter answers: an old kernel would say ENOSYS, a careless filter says EPERM.
const ERRORS: [i32; 2] = [libc::ENOSYS, libc::EPERM];

/// Returns a call of ycred without these system calls, or `None` if this machine has no filters.
fn filtered(world: &World, error: i32, numbers: &[libc::c_long], arguments: &[&str]) -> Option<Call> {
    static WORKS: OnceLock<bool> = OnceLock::new();
    let python = require_client("python3")?;
    let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    let head = ["-c", FILTER, &error.to_string(), &numbers.join(",")].map(str::to_owned);
    let filter = |rest: &[&str]| world.sandbox.call(&python, head.clone()).and(rest);
    if !WORKS.get_or_init(|| filter(&["true"]).run().status.success()) {
        skip("this machine has no filters of system calls");
        return None;
    }
    Some(filter(&[YCRED]).and(arguments))
}

#[test]
fn a_sandbox_without_clone3_costs_no_token() {
    let world = World::new();
    let tool = world.sandbox.script("bin/tool", &format!("#!/bin/sh\necho {}\n", world.issue_token()));
    world.sandbox.profile("command", &format!("source = \"command\"\ncommand = [{:?}]\n", tool.display()));
    for error in ERRORS {
        for arguments in [
            &["token", "--no-cache"] as &[&str],
            &["token", "--force-refresh"],
            &["token"],
            &["token", "-p", "command", "--no-cache"],
            &["exec", "--", "printenv", "YC_TOKEN"],
        ] {
            let Some(call) = filtered(&world, error, &[libc::SYS_clone3], arguments) else { return };
            let run = call.run().succeeds().stderr_is_empty();
            world.token_printed_by(&run);
        }
    }
    // A name needs the resolver, which prefers a thread of its own.
    world.sandbox.profile("default", &world.settings().replace("127.0.0.1", "localhost"));
    for error in ERRORS {
        let Some(call) = filtered(&world, error, &[libc::SYS_clone3], &["token", "--no-cache"]) else { return };
        prints_token(call.run());
    }
}

#[test]
fn a_sandbox_without_optional_system_calls_costs_no_token() {
    const OPTIONAL: [libc::c_long; 18] = [
        libc::SYS_statx,
        libc::SYS_sigaltstack,
        libc::SYS_getrandom,
        libc::SYS_readlinkat,
        libc::SYS_prlimit64,
        libc::SYS_rseq,
        libc::SYS_set_robust_list,
        libc::SYS_prctl,
        libc::SYS_sched_getaffinity,
        libc::SYS_gettid,
        libc::SYS_faccessat,
        libc::SYS_faccessat2,
        libc::SYS_ftruncate,
        libc::SYS_lseek,
        libc::SYS_getdents64,
        libc::SYS_kill,
        libc::SYS_getpeername,
        libc::SYS_pidfd_open,
    ];
    let world = World::new();
    // All of them, and one by one: of two that are missing, one may hide the other.
    let each: Vec<&[libc::c_long]> = OPTIONAL.chunks(1).chain([&OPTIONAL[..]]).collect();
    for (turn, numbers) in each.iter().enumerate() {
        let errors = if numbers.len() == 1 { &ERRORS[turn % 2..=turn % 2] } else { &ERRORS };
        for error in errors {
            let Some(call) = filtered(&world, *error, numbers, &["token", "--force-refresh"]) else { return };
            let run = call.run();
            assert!(run.status.success() && run.stderr.is_empty(), "system calls {numbers:?}\n{run}");
            world.token_printed_by(&run);
        }
    }
}

#[test]
fn a_sandbox_without_processes_is_named_and_a_login_is_renewed_in_line() {
    // What start a thread or a process: glibc uses the first two, and musl also `fork` on x86_64.
    #[cfg(target_arch = "x86_64")]
    const SPAWN: [libc::c_long; 4] = [libc::SYS_clone3, libc::SYS_clone, libc::SYS_fork, libc::SYS_vfork];
    #[cfg(not(target_arch = "x86_64"))]
    const SPAWN: [libc::c_long; 2] = [libc::SYS_clone3, libc::SYS_clone];
    let world = World::new();
    world.sandbox.profile("command", "source = \"command\"\ncommand = [\"true\"]\n");
    let person = Person::new();
    person.log_in();
    for error in ERRORS {
        let Some(call) = filtered(&world, error, &SPAWN, &["token", "--no-cache"]) else { return };
        prints_token(call.run());
        let Some(call) = filtered(&world, error, &SPAWN, &["token", "-p", "command"]) else { return };
        fails_with_hint(call.run(), 3, &["cannot start the program", "a sandbox or a security policy"], "seccomp");
        let Some(call) = filtered(&world, error, &SPAWN, &["exec", "--serve", "true"]) else { return };
        fails_with_hint(call.run(), 125, &["exec --serve", "cannot start a thread"], "seccomp");
        person.age(13 * HOUR);
        let before = person.tokens();
        let Some(call) = filtered(&person.world, error, &SPAWN, &["token"]) else { return };
        prints_token(call.run());
        assert_eq!(person.tokens(), before + 1);
    }
}

// ------------------------------------------------------------------------------------- hints where they are printed

/// Runs the command of the hint as the same user, then the call again.
#[track_caller]
fn follow(run: &Run, start: &str, again: &dyn Fn(&str) -> Call) -> Run {
    let hint = run.lines_of_stderr("ycred: hint: ").concat();
    let at = hint.find(start).unwrap_or_else(|| panic!("no {start:?}\n{run}"));
    again(&hint[at..]).run()
}

/// Returns a call of a shell as this user that runs a command, and then ycred.
fn shell_of(other: &OtherUser, world: &World, id: u32, command: &str, arguments: &[&str]) -> Call {
    let script = format!("{command} || exit 99\nexec \"$0\" \"$@\"");
    let identity = [format!("--reuid={id}"), format!("--regid={id}"), "--clear-groups".into(), "--".into()];
    let program = other.path("bin/ycred").display().to_string();
    world
        .sandbox
        .call("setpriv", identity)
        .and(["sh", "-c", &script, &program])
        .and(arguments)
        .within(other.path("work"))
        .env("HOME", other.path("home"))
        .env("YCRED_CONFIG_DIR", other.path("config"))
        .without("YCRED_CACHE_DIR")
        .without("YCRED_STATE_DIR")
        .without("TMPDIR")
}

#[test]
fn hints_can_be_followed_without_rights_over_the_file() {
    if !require_root(&["setpriv"]) {
        return;
    }
    let world = World::new();
    let (user, foreign) = (NOBODY, 54_399);
    let other = OtherUser::new(&world, user);
    let profile = other.path("config/default.toml");
    // It belongs to another user: one can replace it by a copy.
    chown(&profile, Some(foreign), Some(foreign)).expect("root may");
    set_mode(&profile, 0o644);
    let run = other.call(&world, &["token"]).run();
    fails_with(run.clone(), 3, &["default.toml", "belongs to another user (54399)"]);
    let run = follow(&run, "install -m", &|command| shell_of(&other, &world, user, command, &["token"]));
    prints_token(run);
    assert_eq!(fs::metadata(&profile).expect("the profile").uid(), user);
    // Anyone may write it, and only its owner can change that.
    for owner in [foreign, 0] {
        chown(&profile, Some(owner), Some(owner)).expect("root may");
        set_mode(&profile, 0o666);
        let run = other.call(&world, &["token"]).run();
        fails_with_hint(run.clone(), 3, &["anyone may write it"], "only its owner can change the mode");
        prints_token(follow(&run, "install -m", &|command| shell_of(&other, &world, user, command, &["token"])));
    }
    // In a directory of another user, a copy goes elsewhere.
    chown(&profile, Some(0), Some(0)).expect("root may");
    set_mode(&profile, 0o666);
    chown(other.path("config"), Some(0), Some(0)).expect("root may");
    set_mode(&other.path("config"), 0o755);
    let run = other.call(&world, &["token"]).run();
    let copy = other.path("home/copy.toml").display().to_string();
    fs::copy(other.path("config/key.json"), other.path("home/key.json")).expect("the key");
    other.chown("home/key.json", user);
    let run = follow(&run, "install -m", &|command| {
        shell_of(&other, &world, user, &command.replace("COPY", &copy), &["token", "-p", &copy])
    });
    prints_token(run);
}

#[test]
fn hints_can_be_followed_on_a_read_only_mount() {
    if !require_root(&["unshare"]) {
        return;
    }
    let world = World::new();
    let config = world.sandbox.path("config");
    let copy = world.sandbox.path("home/copy.toml").display().to_string();
    fs::copy(config.join("key.json"), world.sandbox.path("home/key.json")).expect("the key");
    let run_in_mount = |script: &str| {
        let script = format!("mount --bind \"$1\" \"$1\" && mount -o remount,ro,bind \"$1\" && {script}");
        world.sandbox.call("unshare", ["-m", "sh", "-c", &script, "sh"]).and([&config]).run()
    };
    // Each of these modes can only be changed where the file system can be written.
    set_mode(&config.join("default.toml"), 0o666);
    let run = run_in_mount(&format!("exec '{YCRED}' token"));
    fails_with_hint(run.clone(), 3, &["anyone may write it"], "its file system is read-only");
    let hint = run.lines_of_stderr("ycred: hint: ").concat();
    let command = hint[hint.find("install -m").expect("a command")..].replace("COPY", &copy);
    prints_token(run_in_mount(&format!("{command} && exec '{YCRED}' token -p {copy}")));
    set_mode(&config.join("default.toml"), 0o600);
    // Of a key that others can read, nobody can change the mode on a read-only mount.
    set_mode(&config.join("key.json"), 0o644);
    let run = run_in_mount(&format!("exec '{YCRED}' token --no-cache")).succeeds();
    assert!(run.stderr.is_empty() || run.stderr.contains("its file system is read-only"), "{run}");
    // `init`, `use` and `setup` name a place that can be written instead.
    let key = world.sandbox.path("home/key.json").display().to_string();
    let url = world.emulator.url();
    let run = run_in_mount(&format!("exec '{YCRED}' init new --key-file {key} --iam-url {url}"));
    fails_with_hint(run.clone(), 3, &["read-only"], "YCRED_CONFIG_DIR");
    let writable = world.sandbox.path("home/config").display().to_string();
    let again = format!("export YCRED_CONFIG_DIR={writable}; exec '{YCRED}' init new --key-file {key} --iam-url {url}");
    let _ = run_in_mount(&again).succeeds();
}

#[test]
fn hints_can_be_followed_in_a_user_namespace() {
    if !require_root(&["setpriv", "unshare"]) {
        return;
    }
    let world = World::new();
    let (user, foreign) = (NOBODY, 54_399);
    let other = OtherUser::new(&world, user);
    let profile = other.path("config/default.toml");
    chown(&profile, Some(foreign), Some(foreign)).expect("root may");
    set_mode(&profile, 0o666);
    // `-r` maps this user to root, and nobody else: the owner of the file does not exist there, and chmod fails.
    let in_namespace = |script: &str| {
        let program = other.path("bin/ycred").display().to_string();
        let identity = [format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".into(), "--".into()];
        world
            .sandbox
            .call("setpriv", identity)
            .and(["unshare", "-r", "sh", "-c", script, &program, "token"])
            .within(other.path("work"))
            .env("HOME", other.path("home"))
            .env("YCRED_CONFIG_DIR", other.path("config"))
            .without("YCRED_CACHE_DIR")
            .without("YCRED_STATE_DIR")
            .without("TMPDIR")
            .run()
    };
    if !in_namespace("true").status.success() {
        return skip("this user cannot create a user namespace");
    }
    let run = in_namespace("exec \"$0\" \"$@\"");
    fails_with_hint(run.clone(), 3, &["anyone may write it"], "only its owner can change the mode");
    let hint = run.lines_of_stderr("ycred: hint: ").concat();
    let command = &hint[hint.find("install -m").expect("a command")..];
    prints_token(in_namespace(&format!("{command} && exec \"$0\" \"$@\"")));
}

#[test]
fn a_directory_for_links_is_made_as_the_hint_says() {
    if !require_root(&["setpriv"]) {
        return;
    }
    let world = World::new();
    let other = OtherUser::new(&world, NOBODY);
    let bin = other.path("bin");
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let setup = ["setup", "docker", "-p", "prod"];
    fs::copy(other.path("config/default.toml"), other.path("config/prod.toml")).expect("copied");
    other.chown("config/prod.toml", NOBODY);
    let run = other.call(&world, &setup).env("PATH", &path).run();
    fails_with(run.clone(), 2, &["no directory in PATH"]);
    let again = |command: &str| shell_of(&other, &world, NOBODY, command, &setup).env("PATH", &path);
    let _ = follow(&run, "mkdir -p", &again).succeeds();
    assert!(other.path("home/.local/bin/docker-credential-ycred-prod").symlink_metadata().is_ok());
}

#[test]
fn a_user_without_shell_home_and_name_gets_tokens_and_hints_that_hold() {
    if !is_root() {
        return skip("only root can run programs as another user");
    }
    let world = World::new();
    // As in an image: a number without an entry in the password database, nothing that can be written, no variables.
    let other = OtherUser::new(&world, super::other_user::UNKNOWN_USER);
    let bare = |arguments: &[&str]| other.call(&world, arguments).without("HOME").without("LANG");
    for arguments in [&["token"] as &[&str], &["kubectl"], &["env"]] {
        let _ = bare(arguments).run().succeeds();
    }
    let run = bare(&["docker", "get"]).stdin("cr.yandex\n").run().succeeds();
    assert!(run.stdout.contains("\"Secret\""), "{run}");
    // Each hint names a variable; with it, the call works.
    let kubeconfig = other.path("work/kubeconfig").display().to_string();
    fs::write(&kubeconfig, crate::stories::setup::yc_with("default")).expect("written");
    other.chown("work/kubeconfig", super::other_user::UNKNOWN_USER);
    for (arguments, variable, value) in [
        (&["init", "x", "--metadata"] as &[&str], "YCRED_CONFIG_DIR", "config"),
        (&["use", "default"], "YCRED_CONFIG_DIR", "config"),
        (&["setup", "terraform"], "HOME", "home"),
        (&["setup", "aws"], "HOME", "home"),
    ] {
        let call = bare(arguments).without(variable).env("YCRED_STATE_DIR", other.path("home"));
        let run = call.clone().run().fails();
        let named = run.lines_of_stderr("ycred: hint: ").concat();
        assert!(named.contains(variable), "expected {variable}\n{run}");
        let set = call.env(variable, other.path(value)).run();
        assert!(!set.stderr.contains("home directory"), "{set}");
    }
    let run = bare(&["exec"]).without("SHELL").run();
    assert!(run.status.code().is_some_and(|code| [0, 125, 126, 127].contains(&code)), "{run}");
}
