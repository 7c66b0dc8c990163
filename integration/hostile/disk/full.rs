//! Read-only and full disks, and the file size limit of a process.

use std::fs;
use std::path::PathBuf;

use crate::emulator::faults::Fault;
use crate::harness::files::{make_private, names, set_mode};
use crate::harness::machine::{require_root, require_tracer};
use crate::harness::strace::traced;
use crate::harness::waiting::wait_until;
use crate::harness::{Call, YCRED};
use crate::hostile::other_user::{NOBODY, OtherUser};
use crate::hostile::records::{at_most_one_warning, temporary_files};
use crate::world::World;

#[test]
fn a_user_with_a_read_only_cache_gets_the_token_and_one_warning() {
    if !require_root(&["setpriv"]) {
        return;
    }
    let world = World::new();
    let other_user = OtherUser::new(&world, NOBODY);
    for place in ["home", "home/.cache/ycred", "home/.cache/ycred/v1"] {
        fs::create_dir_all(other_user.path(place)).expect("a directory");
        for path in ["home/.cache", "home/.cache/ycred", "home/.cache/ycred/v1"] {
            if other_user.path(path).exists() {
                other_user.chown(path, NOBODY);
                set_mode(&other_user.path(path), 0o700);
            }
        }
        set_mode(&other_user.path(place), 0o500);
        for _ in 0..2 {
            let before = world.requests();
            let run = other_user.call(&world, &["token"]).run();
            at_most_one_warning(&world, &run, &other_user.path("home/.cache/ycred"));
            assert!(run.stderr.contains("permission denied"), "{place}\n{run}");
            assert_eq!(world.requests(), before + 1, "{place}: without a cache every run makes one request");
        }
        set_mode(&other_user.path(place), 0o700);
    }
    assert_eq!(names(&other_user.path("work")), Vec::<PathBuf>::new());
}

/// Returns a call of a script in its own mount namespace. `$1` is the cache directory, `$2` the binary.
fn in_mount_namespace(world: &World, script: &str) -> Call {
    let cache = world.sandbox.path("cache");
    make_private(&cache);
    let script = format!("set -e; {script}");
    let arguments = ["-m", "--propagation", "private", "sh", "-c", &script, "sh"].map(std::ffi::OsString::from);
    world.sandbox.call("unshare", arguments.into_iter().chain([cache.into_os_string(), YCRED.into()]))
}

#[test]
fn on_a_read_only_file_system_the_token_is_printed_with_one_warning() {
    if !require_root(&["unshare"]) {
        return;
    }
    let world = World::new();
    let run = in_mount_namespace(&world, "mount -t tmpfs -o ro,mode=0700 none \"$1\"; exec \"$2\" token").run();
    at_most_one_warning(&world, &run, &world.sandbox.path("cache"));
    assert!(run.stderr.contains("the file system is read-only"), "{run}");
    // A record on a read-only file system is served without a warning.
    world.ycred(&["token"]).run().succeeds().stderr_is_empty();
    let script = "mount --bind \"$1\" \"$1\"; mount -o remount,ro,bind \"$1\"; exec \"$2\" token";
    world.assert_hit(in_mount_namespace(&world, script));
}

#[test]
fn on_a_full_disk_the_token_is_printed_with_one_warning_and_the_old_record_is_unchanged() {
    if !require_root(&["unshare"]) {
        return;
    }
    let world = World::new();
    let mount = "mount -t tmpfs -o size=4k,mode=0700 none \"$1\"";
    let run = in_mount_namespace(&world, &format!("{mount}; echo x > \"$1/ballast\"; exec \"$2\" token")).run();
    at_most_one_warning(&world, &run, &world.sandbox.path("cache"));
    assert!(run.stderr.contains("the disk is full"), "{run}");

    // The old record takes all the space.
    world.ycred(&["token"]).run().succeeds().stderr_is_empty();
    let old = world.last_token();
    let script = format!(
        "mkdir -p -m 700 ../tmp/kept; cp -p \"$1\"/v1/*.json ../tmp/kept; {mount}; mkdir -m 700 \"$1/v1\"; \
         cp -p ../tmp/kept/*.json \"$1/v1\"; \"$2\" token --min-ttl 13h; cmp \"$1\"/v1/*.json ../tmp/kept/*.json; \
         ls \"$1/v1\" >&2; \"$2\" token"
    );
    let run = in_mount_namespace(&world, &script).run().succeeds();
    assert_eq!(run.stdout, format!("{}\n{old}\n", world.last_token()), "{run}");
    assert_ne!(old, world.last_token());
    assert_eq!(run.lines_of_stderr("ycred: ").len(), 1, "{run}");
    assert!(!run.stderr.contains("tmp-"), "a temporary file was left behind\n{run}");
}

#[test]
fn a_disk_with_room_for_one_record_stores_it_without_a_warning() {
    if !require_root(&["unshare"]) {
        return;
    }
    let world = World::new();
    let script = "mount -t tmpfs -o size=4k,mode=0700 none \"$1\"; \"$2\" token; exec \"$2\" token";
    let run = in_mount_namespace(&world, script).run().succeeds().stderr_is_empty();
    assert_eq!(run.stdout, format!("{0}\n{0}\n", world.last_token()));
    assert_eq!(world.requests(), 1);
}

#[test]
fn with_a_file_size_limit_of_zero_the_token_is_printed_and_no_signal_kills_the_process() {
    let world = World::new();
    // The limit applies to files only. The reply goes through a pipe, as with every client.
    let script = "(ulimit -f 0; trap - XFSZ; \"$@\"; echo \"exit $?\") 2>\"$ERRORS\" | cat; cat \"$ERRORS\" >&2";
    let run = world
        .sandbox
        .call("sh", ["-c", script, "sh", YCRED, "token"])
        .env("ERRORS", world.sandbox.path("tmp/errors"))
        .run();
    // The warning is lost here, because stderr is a file. The second run sends it to a pipe.
    assert_eq!(run.stdout, format!("{}\nexit 0\n", world.last_token()), "{run}");
    assert_eq!(temporary_files(&world.sandbox.path("cache")), Vec::<PathBuf>::new());
    let script = "(ulimit -f 0; \"$@\" 2>&1 >/dev/null; echo \"exit $?\") | cat";
    let run = world.sandbox.call("sh", ["-c", script, "sh", YCRED, "token"]).run().succeeds();
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("ycred: warning: ") && lines[1] == "exit 0", "{run}");
    assert!(lines[0].contains(&world.sandbox.path("cache").display().to_string()), "{run}");
    assert!(lines[0].contains("File too large"), "the warning lacks the cause\n{run}");
}

#[test]
fn with_an_unusable_cache_a_refusal_is_reported_without_a_cache_warning() {
    let world = World::new();
    world.emulator.fault(Fault::refuse(403).message("Permission denied, says the test"));
    for _ in 0..2 {
        let run = world.ycred(&["token"]).env("YCRED_CACHE_DIR", "/dev/null/cache").run().exits(1).stdout_is("");
        let lines: Vec<&str> = run.stderr.lines().collect();
        assert!(lines.len() == 2 && lines[0].contains("Permission denied, says the test"), "{run}");
        assert!(lines[0].starts_with("ycred: error: ") && lines[1].starts_with("ycred: hint: "), "{run}");
    }
    assert_eq!(world.requests(), 2, "an unusable cache cannot store the failure either");
}

#[test]
fn a_logout_deletes_the_token_on_a_full_disk_and_says_that_it_stays_valid_in_the_cloud() {
    if !require_root(&["unshare"]) {
        return;
    }
    for (what, options, fill) in [
        ("no room", "size=16k", "dd if=/dev/zero of=\"$1/ballast\" bs=1k count=64 2>/dev/null || true"),
        (
            "no room for another file",
            "nr_inodes=8",
            "for n in 1 2 3 4 5 6 7 8; do true >\"$1/ballast-$n\" || true; done",
        ),
        // As an older ycred has left it.
        (
            "no room for a directory",
            "nr_inodes=8",
            "rmdir \"$1/v1/storing\"; for n in 1 2 3 4 5 6 7 8; do true >\"$1/ballast-$n\" || true; done",
        ),
    ] {
        let world = World::new();
        let script = format!(
            "mount -t tmpfs -o {options},mode=0700 none \"$1\"; \"$2\" token; {fill} 2>/dev/null; \"$2\" logout; \
             grep -rl secret \"$1/v1\" >&2 || true"
        );
        let run = in_mount_namespace(&world, &script).run().succeeds();
        run.clone().stdout_has("deleted the cached token of ").stdout_has("still valid in the cloud until");
        assert_eq!(run.stderr, "", "{what}: {run}");
    }
}

#[test]
fn a_logout_deletes_what_a_killed_process_was_about_to_store() {
    if !require_tracer() {
        return;
    }
    let world = World::new();
    world.get();
    let kill = ["-f", "-qq", "-o", "/dev/null", "-e", "inject=rename:signal=KILL:when=1"].map(str::to_owned);
    traced(&world.sandbox, &kill, &["token", "--force-refresh"]).run();
    assert_eq!(names(&world.sandbox.path("cache/v1/storing")).len(), 1, "what it has prepared");
    world.ycred(&["logout"]).run().succeeds();
    assert_eq!(names(&world.sandbox.path("cache/v1/storing")), Vec::<PathBuf>::new());
    // On a full disk too.
    if !require_root(&["unshare"]) {
        return;
    }
    let world = World::new();
    let script = "mount -t tmpfs -o size=64k,mode=0700 none \"$1\"; \"$2\" token; \
         strace -f -qq -o /dev/null -e inject=rename:signal=KILL:when=1 \"$2\" token --force-refresh || true; \
         ls \"$1/v1/storing\"; dd if=/dev/zero of=\"$1/ballast\" bs=1k count=64 2>/dev/null || true; \
         \"$2\" logout; ls \"$1/v1/storing\"";
    let run = in_mount_namespace(&world, script).run().succeeds().stdout_has("deleted the cached token");
    assert_eq!(run.stdout.matches("tmp-").count(), 1, "before the logout only\n{run}");
}

/// What leaves no room on a disk, with the options of its mount: for content, or for another file.
const FULL_DISKS: [(&str, &str); 2] = [
    ("size=16k", "dd if=/dev/zero of=\"$1/ballast\" bs=1k count=64 2>/dev/null || true"),
    ("nr_inodes=8", "for n in 1 2 3 4 5 6 7 8; do true 2>/dev/null >\"$1/ballast-$n\" || true; done"),
];

#[test]
fn a_logout_ends_the_waiters_on_a_full_disk_without_a_request() {
    if !require_root(&["unshare"]) {
        return;
    }
    for (options, fill) in FULL_DISKS {
        for logout in ["logout", "logout --all"] {
            let world = World::new();
            let script = format!(
                "gate() {{ until test -e \"../tmp/$1\"; do sleep 0.02; done; }}; \
                 mount -t tmpfs -o {options},mode=0700 none \"$1\"; \"$2\" token >/dev/null; {fill}; \
                 \"$2\" token --min-ttl 13h >/dev/null 2>&1 & gate waiters; \
                 for n in 1 2; do \
                 ( \"$2\" token -v --min-ttl 13h 2>../tmp/waiter-$n && echo 0 || echo $? ) >../tmp/code-$n & done; \
                 gate logout; sleep 0.2; \"$2\" {logout} --timeout 1s; true >../tmp/done; wait; \
                 grep -rl secret \"$1/v1\" >&2 || true"
            );
            let at = |name: &str| world.sandbox.path(format!("tmp/{name}"));
            let content = |name: &str| fs::read_to_string(at(name)).unwrap_or_default();
            let open = |gate: &str| fs::write(at(gate), "").expect("written");
            world.emulator.fault(Fault::held().after(1));
            let all = in_mount_namespace(&world, &script).start();
            world.wait_for_requests(2);
            open("waiters");
            for name in ["waiter-1", "waiter-2"] {
                wait_until("the waiter has read the record", || content(name).contains("no suitable cached token"));
            }
            open("logout");
            wait_until("the logout has ended", || at("done").exists());
            world.emulator.clear_faults();
            all.finish().succeeds().stdout_has("deleted ").stderr_is_empty();
            for number in [1, 2] {
                let (code, stderr) = (content(&format!("code-{number}")), content(&format!("waiter-{number}")));
                assert_eq!(code, "4\n", "{logout} with {options}: {stderr}");
                assert!(
                    stderr.contains("was logged out while this process waited"),
                    "{logout} with {options}: {stderr}"
                );
            }
            assert_eq!(world.requests(), 2, "{logout} with {options}");
        }
    }
}

#[test]
fn a_logout_on_a_full_disk_says_if_a_running_fetch_may_still_store_its_token() {
    if !require_root(&["unshare"]) {
        return;
    }
    for (options, fill) in FULL_DISKS {
        let mount = format!("mount -t tmpfs -o {options},mode=0700 none \"$1\"; \"$2\" token >/dev/null");
        // The record that it deletes makes room for the mark.
        let world = World::new();
        let script = format!("{mount}; {fill}; \"$2\" logout --all; grep -rl secret \"$1/v1\" >&2 || true");
        let run = in_mount_namespace(&world, &script).run().succeeds().stderr_is_empty();
        run.stdout_has("deleted 1 cached token");
        // There is nothing that it could delete.
        let again = "ycred: hint: free some disk space, or wait until no ycred process is running, then log out again";
        let expires = "ycred: hint: a token that is stored now is not used any more, and expires by itself";
        for (call, hint) in [("logout", again), ("logout --all", again), ("remove default", expires)] {
            let world = World::new();
            let script = format!(
                "{mount}; rm \"$1\"/v1/*.json \"$1\"/v1/*.lock; {fill}; \"$2\" {call} || echo \"exit $?\"; \
                 rm \"$1\"/ballast*; test -e ../config/default.toml || exit 0; \"$2\" {call} && echo done"
            );
            let run = in_mount_namespace(&world, &script).run().succeeds().stdout_has("exit 4\n");
            assert_eq!(run.stdout.contains("done\n"), hint == again, "{run}");
            let lines: Vec<&str> = run.stderr.lines().collect();
            let error = "the tokens are deleted, but a process that is fetching one now may still store it, because \
                         last-logout cannot be written: the disk is full";
            assert!(lines.len() == 2 && lines[0].starts_with("ycred: error: ") && lines[0].ends_with(error), "{run}");
            assert_eq!(lines[1], hint, "{run}");
        }
    }
}

#[test]
fn a_token_that_is_stored_before_a_late_mark_of_a_logout_is_deleted_too() {
    if !require_tracer() {
        return;
    }
    let world = World::new();
    world.get();
    // No room for the first mark, whose temporary file it removes. Then it stops after it has removed the lock, and with it the record.
    let inject = ["inject=rename:error=ENOSPC:when=1", "inject=unlink:delay_exit=2000000:when=2"];
    let strace = ["-f", "-qq", "-o", "/dev/null", "-e", "trace=rename,unlink", "-e", inject[0], "-e", inject[1]];
    let logout = traced(&world.sandbox, &strace.map(str::to_owned), &["logout", "--all"]).start();
    wait_until("the record is deleted", || world.records().is_empty());
    world.get();
    assert_eq!(world.records().len(), 1, "the logout has not marked itself yet");
    logout.finish().succeeds().stderr_is_empty();
    assert_eq!(world.records(), Vec::<PathBuf>::new());
}
