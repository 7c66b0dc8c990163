//! Disks that fail at any call, and foreign things in every place: the token is printed all the same.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::commons::{Commons, NOBODY};
use super::records::{LeftRecord, is_unharmed, litter, record, records, token_in};
use crate::emulator::faults::Fault;
use crate::harness::files::{age, make_private, mode, names, set_mode, write_private};
use crate::harness::machine::{is_root, require_root, require_tracer};
use crate::harness::strace::{Step, inject, traced};
use crate::harness::{Call, Run, YCRED, run_all, tried};
use crate::world::World;

const ABREAST: usize = 4;

/// What a disk can say to which call. An interrupted call is no failure and must not show.
const FAILURES: &[(&[&str], &[&str])] = &[
    (
        &["open", "openat"],
        &["ENOSPC", "EDQUOT", "EACCES", "EPERM", "EROFS", "EIO", "ENOENT", "EMFILE", "ESTALE", "EINTR"],
    ),
    (&["mkdir", "mkdirat"], &["ENOSPC", "EDQUOT", "EACCES", "EROFS", "EIO", "ENOENT"]),
    (&["write"], &["ENOSPC", "EDQUOT", "EIO", "EFBIG", "EINTR"]),
    (&["rename", "renameat", "renameat2"], &["ENOSPC", "EDQUOT", "EACCES", "EROFS", "EIO", "EXDEV"]),
    (&["flock"], &["ENOLCK", "EOPNOTSUPP", "EIO", "EBADF", "EINTR"]),
    (&["fstat", "statx", "newfstatat", "stat", "lstat"], &["EIO", "EACCES", "ESTALE"]),
    (&["read"], &["EIO", "ESTALE", "EINTR"]),
    (&["fchmod", "chmod", "fchmodat"], &["EIO", "EPERM", "EROFS"]),
    (&["unlink", "unlinkat"], &["EIO", "EACCES", "EROFS"]),
    (&["getdents64"], &["EIO"]),
    (&["close"], &["EIO", "EINTR"]),
];

/// Every failure of every call of these steps that touches the cache.
fn failures(steps: &[Step], cache: &Path) -> Vec<(Step, &'static str)> {
    let place = cache.display().to_string();
    let touching = steps.iter().filter(|step| step.line.contains(&place));
    touching
        .flat_map(|step| {
            let fitting = FAILURES.iter().find(|(calls, _)| calls.contains(&step.name.as_str()));
            fitting.map_or(&[][..], |(_, errors)| *errors).iter().map(|error| (step.clone(), *error))
        })
        .collect()
}

/// Runs ycred once per failure, each in a cache of its own.
fn fail_at_each(
    world: &World,
    failures: &[(Step, &'static str)],
    arguments: &[&str],
    prepare: impl Fn(&Path),
    judge: impl Fn(&str, &Path, &Run),
) {
    for (part, failures) in failures.chunks(ABREAST).enumerate() {
        let cache = |at: usize| world.sandbox.path(format!("caches/{part}-{at}"));
        let runs = run_all(failures.iter().enumerate().map(|(at, (step, error))| {
            prepare(&cache(at));
            traced(&world.sandbox, &inject(step, &format!("error={error}")), arguments)
                .env("YCRED_CACHE_DIR", cache(at))
        }));
        for (at, ((step, error), run)) in failures.iter().zip(&runs).enumerate() {
            judge(&format!("{error} at {step:?}\n{run}"), &cache(at), run);
        }
    }
}

#[test]
fn whatever_call_of_a_miss_the_disk_fails_the_token_is_printed_with_one_warning_at_most() {
    if !require_tracer() {
        return;
    }
    let world = World::new();
    let first = world.sandbox.path("caches/first");
    let steps =
        Step::of(&world.sandbox, |strace| traced(&world.sandbox, strace, &["token"]).env("YCRED_CACHE_DIR", &first));
    let failures = failures(&steps, &first);
    for (names, _) in &FAILURES[..6] {
        assert!(failures.iter().any(|(step, _)| names.contains(&step.name.as_str())), "no {names:?} in {steps:#?}");
    }
    fail_at_each(
        &world,
        &failures,
        &["token"],
        |_| (),
        |what, cache, run| {
            let token = is_unharmed(&world, run, cache);
            assert_eq!(litter(cache), Vec::<PathBuf>::new(), "{what}");
            let kept = records(cache);
            if what.starts_with("EINTR") {
                assert_eq!(run.stderr, "", "an interruption is no failure: {what}");
            }
            // What was not kept was told.
            assert!(kept.len() == 1 || !run.stderr.is_empty(), "nothing was kept, and nothing told: {what}");
            for record in kept {
                assert_eq!(token_in(&record), token, "{what}");
            }
        },
    );
    tried("a system call of a miss failed by the disk", failures.len());
}

#[test]
fn whatever_call_of_a_renewal_the_disk_fails_the_old_record_is_whole_or_replaced() {
    if !require_tracer() {
        return;
    }
    let world = World::new();
    let left = LeftRecord::of(&world);
    let longer = ["token", "--min-ttl", "13h"];
    let steps =
        Step::of(&world.sandbox, |strace| traced(&world.sandbox, strace, &longer).env("YCRED_CACHE_DIR", &left.cache));
    let failures = failures(&steps, &left.cache);
    fail_at_each(
        &world,
        &failures,
        &longer,
        |cache| left.put_into(cache),
        |what, cache, run| {
            let token = world.printed_a_token(run);
            // One warning there is in any case: the cloud gives no token as long as that.
            assert!(run.status.success() && run.stderr.lines().count() == 1, "{what}");
            assert_eq!(litter(cache), Vec::<PathBuf>::new(), "{what}");
            let there = token_in(&record(cache));
            assert!(there == left.token || there == token, "{what}");
        },
    );
    tried("a system call of a renewal failed by the disk", failures.len());
}

#[test]
fn whatever_call_of_a_hit_the_disk_fails_a_token_is_printed() {
    if !require_tracer() {
        return;
    }
    let world = World::new();
    let left = LeftRecord::of(&world);
    let steps = Step::of(&world.sandbox, |strace| {
        traced(&world.sandbox, strace, &["token"]).env("YCRED_CACHE_DIR", &left.cache)
    });
    let failures = failures(&steps, &left.cache);
    assert!(!failures.is_empty());
    fail_at_each(
        &world,
        &failures,
        &["token"],
        |cache| left.put_into(cache),
        |_, cache, run| {
            is_unharmed(&world, run, cache);
            world.is_a_hit(world.ycred(&["token"]).env("YCRED_CACHE_DIR", cache));
        },
    );
    tried("a system call of a hit failed by the disk", failures.len());
}

#[test]
fn a_disk_that_goes_on_failing_costs_one_warning_a_run_and_no_token() {
    if !require_tracer() {
        return;
    }
    let world = World::new();
    for (calls, error, words) in [
        ("mkdir", "EROFS", "the file system is read-only"),
        ("mkdir", "ENOSPC", "the disk is full"),
        ("mkdir", "EACCES", "permission denied"),
        ("rename", "EIO", "Input/output error"),
        ("rename", "EDQUOT", "quota"),
        ("rename,flock", "EIO", "Input/output error"),
        ("mkdir,rename,flock,unlink", "EIO", "Input/output error"),
    ] {
        let cache = world.sandbox.path(format!("caches/{error}-{}", calls.replace(',', "-")));
        let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:error={error}"));
        let strace = ["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject].map(str::to_owned);
        for _ in 0..2 {
            let before = world.requests();
            let run = traced(&world.sandbox, &strace, &["token"]).env("YCRED_CACHE_DIR", &cache).run();
            is_unharmed(&world, &run, &cache);
            assert!(run.stderr.contains(words), "expected {words:?} for {error} at {calls}\n{run}");
            assert_eq!(world.requests(), before + 1, "{error} at {calls}");
        }
        assert_eq!(records(&cache), Vec::<PathBuf>::new(), "{error} at {calls}");
        assert_eq!(litter(&cache), Vec::<PathBuf>::new(), "{error} at {calls}");
        // And when it is well again, so is the cache.
        world.ycred(&["token"]).env("YCRED_CACHE_DIR", &cache).run().succeeds().quietly();
        world.is_a_hit(world.ycred(&["token"]).env("YCRED_CACHE_DIR", &cache));
    }
}

#[test]
fn where_locking_is_unsupported_the_warning_gives_the_real_cause_and_the_token_is_kept_all_the_same() {
    if !require_tracer() {
        return;
    }
    let world = World::new();
    for (error, words) in
        [("ENOLCK", "No locks available"), ("EOPNOTSUPP", "not supported"), ("EIO", "Input/output error")]
    {
        let cache = world.sandbox.path(format!("caches/{error}"));
        let strace =
            ["-f", "-qq", "-o", "/dev/null", "-e", "trace=flock", "-e", &format!("inject=flock:error={error}")]
                .map(str::to_owned);
        let run = traced(&world.sandbox, &strace, &["token"]).env("YCRED_CACHE_DIR", &cache).run();
        is_unharmed(&world, &run, &cache);
        assert!(run.stderr.to_lowercase().contains(&words.to_lowercase()), "expected {words:?}\n{run}");
        assert!(!run.stderr.contains("cannot be kept"), "it is kept\n{run}");
        world.is_a_hit(world.ycred(&["token"]).env("YCRED_CACHE_DIR", &cache));
    }
}

#[test]
fn a_lock_call_that_is_interrupted_is_made_again() {
    if !require_tracer() {
        return;
    }
    let world = World::new();
    let strace = ["-f", "-qq", "-o", "/dev/null", "-e", "trace=flock", "-e", "inject=flock:error=EINTR:when=1..5"]
        .map(str::to_owned);
    let run = traced(&world.sandbox, &strace, &["token"]).run().succeeds().quietly();
    world.printed_a_token(&run);
}

#[test]
fn the_lock_is_polled_and_never_waited_for_in_the_kernel() {
    if !require_tracer() {
        return;
    }
    let world = World::new();
    let cache = world.sandbox.path("cache");
    let steps = Step::of(&world.sandbox, |strace| traced(&world.sandbox, strace, &["token"]));
    let flocks: Vec<&Step> = steps.iter().filter(|step| step.name == "flock").collect();
    assert!(!flocks.is_empty());
    for step in flocks {
        assert!(step.line.contains("LOCK_NB"), "{step:?}");
    }
    assert!(names(&cache.join("v1")).iter().any(|path| path.extension().is_some_and(|end| end == "lock")), "unlinked");
}

// ---------------------------------------------------------------------------------------------------- foreign objects

/// Its name, and how to put it there.
type Object = (&'static str, fn(&Path));

/// What can stand in a file's place.
const OBJECTS: &[Object] = &[
    ("empty", |path| write_private(path, b"")),
    ("garbage", |path| write_private(path, b"\x00\xff\xfe not a record \x1b[31m")),
    ("json of another make", |path| write_private(path, b"{\"version\":99,\"token\":null}")),
    ("a json list", |path| write_private(path, b"[1,2,3]")),
    ("deep json", |path| write_private(path, "[".repeat(60_000).as_bytes())),
    ("truncated utf-8", |path| write_private(path, b"{\"settings\":\"\xd0")),
    ("a gigabyte", |path| {
        write_private(path, b"{");
        fs::File::options().write(true).open(path).and_then(|file| file.set_len(1 << 30)).expect("a sparse file");
    }),
    ("a directory", |path| fs::create_dir(path).expect("a directory")),
    ("a full directory", |path| {
        fs::create_dir(path).and_then(|()| fs::write(path.join("inside"), "x")).expect("a directory");
    }),
    ("a fifo", |path| make_fifo(path)),
    ("a socket", |path| drop(UnixListener::bind(path).expect("a socket"))),
    ("a symlink", |path| symlink(path.with_file_name("victim"), path).expect("a link")),
    ("a dangling symlink", |path| symlink(path.with_file_name("nothing"), path).expect("a link")),
    ("a symlink to itself", |path| symlink(path, path).expect("a link")),
    // Which would be served, were it not for its owner.
    ("another user's good record", |path| {
        fs::copy(path.with_file_name("victim"), path).expect("a copy");
        chown(path, Some(NOBODY), Some(NOBODY)).expect("given away");
    }),
    ("another user's file", |path| {
        write_private(path, b"{}");
        chown(path, Some(NOBODY), Some(NOBODY)).expect("given away");
    }),
];

fn make_fifo(path: &Path) {
    use std::os::unix::ffi::OsStrExt as _;
    let name = std::ffi::CString::new(path.as_os_str().as_bytes()).expect("no NUL in it");
    // SAFETY: the string lives beyond the call.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0, "a FIFO at {}", path.display());
}

/// With little memory, so that what reads a gigabyte dies of it, and not for long.
fn frugal(world: &World, cache: &Path) -> Call {
    world
        .sandbox
        .call("sh", ["-c", "ulimit -v 500000; exec \"$@\"", "sh", YCRED, "token"])
        .env("YCRED_CACHE_DIR", cache)
        .limit(Duration::from_secs(30))
}

/// A cache that has served once: the names in it are known.
fn used_cache(world: &World, name: &str) -> (PathBuf, PathBuf) {
    let cache = world.sandbox.path(format!("caches/{name}"));
    world.ycred(&["token"]).env("YCRED_CACHE_DIR", &cache).run().succeeds().quietly();
    let record = record(&cache);
    (cache, record)
}

fn clear(path: &Path) {
    fs::remove_file(path).or_else(|_| fs::remove_dir_all(path)).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn whatever_stands_in_a_records_place_is_a_miss_in_silence_and_the_next_run_is_a_hit() {
    let world = World::new();
    let mut objects = 0;
    for (at, (what, make)) in OBJECTS.iter().enumerate() {
        if what.contains("user") && !is_root() {
            continue;
        }
        let (cache, record) = used_cache(&world, &format!("record-{at}"));
        let victim = record.with_file_name("victim");
        let innocent = fs::read(&record).expect("the record");
        write_private(&victim, &innocent);
        clear(&record);
        make(&record);
        objects += 1;
        let before = world.requests();
        let run = frugal(&world, &cache).run();
        assert!(run.status.success() && run.stderr.is_empty(), "{what}\n{run}");
        assert_eq!(world.requests(), before + 1, "{what}: is a miss\n{run}");
        assert_eq!(world.printed_a_token(&run), world.last_token(), "{what}");
        world.is_a_hit(world.ycred(&["token"]).env("YCRED_CACHE_DIR", &cache));
        assert_eq!(mode(&record), 0o600, "{what}");
        assert_eq!(fs::read(&victim).expect("the victim"), innocent, "{what}: touched what a link led to");
        assert!(!record.with_file_name("nothing").exists(), "{what}: made what a link led to");
        assert!(litter(&cache).len() <= 1, "{what}: {:?}", litter(&cache));
    }
    tried("something else in the record's place", objects);
}

#[test]
fn what_is_set_aside_again_and_again_does_not_pile_up() {
    let world = World::new();
    let (cache, record) = used_cache(&world, "again");
    for _ in 0..5 {
        clear(&record);
        make_fifo(&record);
        world.ycred(&["token"]).env("YCRED_CACHE_DIR", &cache).run().succeeds().quietly();
    }
    assert_eq!(litter(&cache).len(), 1, "{:?}", litter(&cache));
}

#[test]
fn whatever_stands_in_a_locks_place_costs_one_warning_and_no_token_and_is_not_touched() {
    let world = World::new();
    let mut objects = 0;
    for (at, (what, make)) in OBJECTS.iter().enumerate() {
        // A lock file's content is of no interest, so these are no foreign objects.
        let harmless = ["empty", "garbage", "json", "utf-8", "gigabyte"].iter().any(|word| what.contains(word));
        if what.contains("user") && !is_root() {
            continue;
        }
        let (cache, record) = used_cache(&world, &format!("lock-{at}"));
        let victim = record.with_file_name("victim");
        fs::write(&victim, "innocent").expect("the victim");
        let lock = record.with_extension("lock");
        clear(&lock);
        make(&lock);
        objects += 1;
        let kind = fs::symlink_metadata(&lock).expect("there").file_type();
        fs::remove_file(&record).expect("the record goes");
        let run = frugal(&world, &cache).run();
        is_unharmed(&world, &run, &cache);
        assert_eq!(run.stderr.is_empty(), harmless, "{what}\n{run}");
        assert!(!run.stderr.contains("cannot be kept"), "{what}: it is kept\n{run}");
        assert_eq!(fs::symlink_metadata(&lock).expect("still there").file_type(), kind, "{what}: was touched");
        world.is_a_hit(world.ycred(&["token"]).env("YCRED_CACHE_DIR", &cache));
        assert_eq!(fs::read_to_string(&victim).expect("the victim"), "innocent", "{what}");
        assert!(!record.with_file_name("nothing").exists(), "{what}: made what a link led to");
    }
    tried("something else in the lock's place", objects);
}

#[test]
fn whatever_stands_in_the_directorys_place_costs_one_warning_and_no_token_and_is_not_touched() {
    let world = World::new();
    let mut objects = 0;
    for (at, (what, make)) in OBJECTS.iter().enumerate() {
        if what.contains("directory") || (what.contains("user") && !is_root()) {
            continue;
        }
        for (depth, inner) in ["cache", "cache/v1"].iter().enumerate() {
            let base = world.sandbox.path(format!("caches/dir-{at}-{depth}"));
            let (cache, place) = (base.join("cache"), base.join(inner));
            make_private(place.parent().expect("a parent"));
            fs::write(place.with_file_name("victim"), "innocent").expect("the victim");
            make(&place);
            objects += 1;
            let kind = fs::symlink_metadata(&place).expect("there").file_type();
            let run = frugal(&world, &cache).run();
            is_unharmed(&world, &run, &cache);
            assert!(!run.stderr.is_empty(), "{what} at {inner}: nothing was kept, and nothing told\n{run}");
            assert_eq!(fs::symlink_metadata(&place).expect("still there").file_type(), kind, "{what}: was touched");
            assert!(!place.with_file_name("nothing").exists(), "{what}: made what a link led to");
            assert_eq!(fs::read_to_string(place.with_file_name("victim")).expect("the victim"), "innocent");
        }
    }
    tried("something else in the directory's place", objects);
}

#[test]
fn a_directory_of_another_user_is_refused_with_a_warning_that_says_whose_it_is() {
    if !require_root(&[]) {
        return;
    }
    let world = World::new();
    let cache = world.sandbox.path("cache");
    make_private(&cache.join("v1"));
    chown(cache.join("v1"), Some(NOBODY), Some(NOBODY)).expect("given away");
    for _ in 0..2 {
        let run = world.ycred(&["token"]).run();
        is_unharmed(&world, &run, &cache);
        assert!(run.stderr.contains("belongs to user 65534, not to 0"), "{run}");
    }
    assert_eq!(names(&cache.join("v1")), Vec::<PathBuf>::new());
}

#[test]
fn a_user_whose_record_belongs_to_root_gets_a_new_one_in_its_place() {
    if !require_root(&["setpriv"]) {
        return;
    }
    let world = World::new();
    let commons = Commons::new(&world, NOBODY);
    let cache = commons.path("home/.cache/ycred");
    commons.call(&world, &["token"]).run().succeeds().quietly();
    let record = record(&cache);
    chown(&record, Some(0), Some(0)).expect("root takes it");
    let run = commons.call(&world, &["token"]).run().succeeds().quietly();
    assert_eq!(world.printed_a_token(&run), world.last_token());
    assert_eq!(world.requests(), 2);
    world.is_a_hit(commons.call(&world, &["token"]));
}

// --------------------------------------------------------------------------------------------------------- real disks

#[test]
fn a_user_with_a_read_only_cache_gets_the_token_and_one_warning() {
    if !require_root(&["setpriv"]) {
        return;
    }
    let world = World::new();
    let commons = Commons::new(&world, NOBODY);
    for place in ["home", "home/.cache/ycred", "home/.cache/ycred/v1"] {
        fs::create_dir_all(commons.path(place)).expect("a directory");
        for path in ["home/.cache", "home/.cache/ycred", "home/.cache/ycred/v1"] {
            if commons.path(path).exists() {
                commons.give(path, NOBODY);
                set_mode(&commons.path(path), 0o700);
            }
        }
        set_mode(&commons.path(place), 0o500);
        for _ in 0..2 {
            let before = world.requests();
            let run = commons.call(&world, &["token"]).run();
            is_unharmed(&world, &run, &commons.path("home/.cache/ycred"));
            assert!(run.stderr.contains("permission denied"), "{place}\n{run}");
            assert_eq!(world.requests(), before + 1, "{place}: without a cache every run asks once");
        }
        set_mode(&commons.path(place), 0o700);
    }
    assert_eq!(names(&commons.path("work")), Vec::<PathBuf>::new());
}

/// A script run in a mount namespace of its own, with the cache directory as `$1` and the binary as `$2`.
fn mounted(world: &World, script: &str) -> Call {
    let cache = world.sandbox.path("cache");
    make_private(&cache);
    let script = format!("set -e; {script}");
    let words = ["-m", "--propagation", "private", "sh", "-c", &script, "sh"].map(std::ffi::OsString::from);
    world.sandbox.call("unshare", words.into_iter().chain([cache.into_os_string(), YCRED.into()]))
}

#[test]
fn on_a_file_system_that_is_read_only_the_token_is_printed_with_one_warning() {
    if !require_root(&["unshare"]) {
        return;
    }
    let world = World::new();
    let run = mounted(&world, "mount -t tmpfs -o ro,mode=0700 none \"$1\"; exec \"$2\" token").run();
    is_unharmed(&world, &run, &world.sandbox.path("cache"));
    assert!(run.stderr.contains("the file system is read-only"), "{run}");
    // With a record on it, that is served in silence.
    world.ycred(&["token"]).run().succeeds().quietly();
    let script = "mount --bind \"$1\" \"$1\"; mount -o remount,ro,bind \"$1\"; exec \"$2\" token";
    world.is_a_hit(mounted(&world, script));
}

#[test]
fn on_a_full_disk_the_token_is_printed_with_one_warning_and_the_old_record_is_as_it_was() {
    if !require_root(&["unshare"]) {
        return;
    }
    let world = World::new();
    let mount = "mount -t tmpfs -o size=4k,mode=0700 none \"$1\"";
    let run = mounted(&world, &format!("{mount}; echo x > \"$1/ballast\"; exec \"$2\" token")).run();
    is_unharmed(&world, &run, &world.sandbox.path("cache"));
    assert!(run.stderr.contains("the disk is full"), "{run}");

    // The old record takes all the room there is.
    world.ycred(&["token"]).run().succeeds().quietly();
    let old = world.last_token();
    let script = format!(
        "mkdir -p -m 700 ../tmp/kept; cp -p \"$1\"/v1/*.json ../tmp/kept; {mount}; mkdir -m 700 \"$1/v1\"; \
         cp -p ../tmp/kept/*.json \"$1/v1\"; \"$2\" token --min-ttl 13h; cmp \"$1\"/v1/*.json ../tmp/kept/*.json; \
         ls \"$1/v1\" >&2; \"$2\" token"
    );
    let run = mounted(&world, &script).run().succeeds();
    assert_eq!(run.stdout, format!("{}\n{old}\n", world.last_token()), "{run}");
    assert_ne!(old, world.last_token());
    assert_eq!(run.lines_of_stderr("ycred: ").len(), 1, "{run}");
    assert!(!run.stderr.contains("tmp-"), "litter\n{run}");
}

#[test]
fn a_disk_with_room_for_the_record_alone_keeps_it_in_silence() {
    if !require_root(&["unshare"]) {
        return;
    }
    let world = World::new();
    let script = "mount -t tmpfs -o size=4k,mode=0700 none \"$1\"; \"$2\" token; exec \"$2\" token";
    let run = mounted(&world, script).run().succeeds().quietly();
    assert_eq!(run.stdout, format!("{0}\n{0}\n", world.last_token()));
    assert_eq!(world.requests(), 1);
}

#[test]
fn under_a_file_size_limit_of_nothing_the_token_is_printed_and_no_signal_kills() {
    let world = World::new();
    // The limit is for files alone; the reply goes through a pipe, as it does to every client.
    let script = "(ulimit -f 0; trap - XFSZ; \"$@\"; echo \"exit $?\") 2>\"$ERRORS\" | cat; cat \"$ERRORS\" >&2";
    let run = world
        .sandbox
        .call("sh", ["-c", script, "sh", YCRED, "token"])
        .env("ERRORS", world.sandbox.path("tmp/errors"))
        .run();
    // What the warning said could not be written either, its file having no room.
    assert_eq!(run.stdout, format!("{}\nexit 0\n", world.last_token()), "{run}");
    assert_eq!(litter(&world.sandbox.path("cache")), Vec::<PathBuf>::new());
    let script = "(ulimit -f 0; \"$@\" 2>&1 >/dev/null; echo \"exit $?\") | cat";
    let run = world.sandbox.call("sh", ["-c", script, "sh", YCRED, "token"]).run().succeeds();
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("ycred: warning: ") && lines[1] == "exit 0", "{run}");
    assert!(lines[0].contains(&world.sandbox.path("cache").display().to_string()), "{run}");
    assert!(lines[0].contains("File too large"), "the real cause\n{run}");
}

#[test]
fn a_refusal_where_nothing_can_be_kept_is_told_as_a_refusal_and_no_more() {
    let world = World::new();
    world.emulator.fault(Fault::refuse(403).message("Permission denied, says the test"));
    for _ in 0..2 {
        let run = world.ycred(&["token"]).env("YCRED_CACHE_DIR", "/dev/null/cache").run().exits(1).stdout_is("");
        let lines: Vec<&str> = run.stderr.lines().collect();
        assert!(lines.len() == 2 && lines[0].contains("Permission denied, says the test"), "{run}");
        assert!(lines[0].starts_with("ycred: error: ") && lines[1].starts_with("ycred: hint: "), "{run}");
    }
    assert_eq!(world.requests(), 2, "nothing can be remembered either");
}

// -------------------------------------------------------------------------------------------------------------- modes

#[test]
fn under_umask_zero_files_are_0600_and_directories_0700() {
    let world = World::new();
    let cache = world.sandbox.path("deep/er/cache");
    world
        .sandbox
        .call("sh", ["-c", "umask 000; exec \"$@\"", "sh", YCRED, "token"])
        .env("YCRED_CACHE_DIR", &cache)
        .run()
        .succeeds()
        .quietly();
    for directory in ["deep", "deep/er", "deep/er/cache", "deep/er/cache/v1"] {
        assert_eq!(mode(&world.sandbox.path(directory)), 0o700, "{directory}");
    }
    let files = names(&cache.join("v1"));
    assert_eq!(files.len(), 3, "a record, a lock and a tag: {files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn files_are_private_at_their_making_and_not_a_moment_later() {
    if !require_tracer() {
        return;
    }
    let world = World::new();
    let place = world.sandbox.path("cache").display().to_string();
    let steps = Step::of(&world.sandbox, |strace| traced(&world.sandbox, strace, &["token"]));
    let making: Vec<&Step> =
        steps.iter().filter(|step| step.line.contains(&place) && step.line.contains("O_CREAT")).collect();
    assert!(making.len() >= 2, "{steps:#?}");
    for step in making {
        assert!(step.line.contains("0600") && step.line.contains("O_NOFOLLOW"), "{step:?}");
    }
    let directories = steps.iter().filter(|step| step.name.starts_with("mkdir") && step.line.contains(&place));
    for step in directories {
        assert!(step.line.contains("0700"), "{step:?}");
    }
    // Replaced by a rename within one directory, hence never across file systems.
    let rename = steps.iter().find(|step| step.name.starts_with("rename")).expect("a rename");
    assert_eq!(rename.line.matches(&format!("{place}/v1/")).count(), 2, "{rename:?}");
    assert!(!steps.iter().any(|step| step.name.contains("sync")), "a record needs no fsync");
}

#[test]
fn loose_modes_are_tightened_by_the_next_store() {
    let world = World::new();
    let (cache, record) = used_cache(&world, "loose");
    let loosen = || {
        set_mode(&cache.join("v1"), 0o777);
        set_mode(&record, 0o666);
    };
    loosen();
    world.is_a_hit(world.ycred(&["token"]).env("YCRED_CACHE_DIR", &cache));
    world.ycred(&["token", "--force-refresh"]).env("YCRED_CACHE_DIR", &cache).run().succeeds().quietly();
    assert_eq!((mode(&cache.join("v1")), mode(&record)), (0o700, 0o600));

    // A renewal in the soft window is a store as well.
    loosen();
    world.sandbox.profile("aged", &format!("{}max-age = \"0s\"\n", world.settings()));
    let before = world.requests();
    world.ycred(&["token", "--profile", "aged"]).env("YCRED_CACHE_DIR", &cache).run().succeeds().quietly();
    assert_eq!(world.requests(), before + 1, "it was due");
    assert_eq!((mode(&cache.join("v1")), mode(&record)), (0o700, 0o600));
}

#[test]
fn the_cache_is_tagged_for_backup_programs() {
    let world = World::new();
    let (cache, _) = used_cache(&world, "tagged");
    let tag = fs::read_to_string(cache.join("v1/CACHEDIR.TAG")).expect("a tag");
    assert!(tag.starts_with("Signature: 8a477f597d28d172789f06886806bc55\n"), "{tag}");
}

#[test]
fn a_sweep_takes_dead_records_and_old_litter_and_leaves_what_is_alive_or_not_ours() {
    let world = World::new();
    let (cache, record) = used_cache(&world, "swept");
    let here = |name: &str| cache.join("v1").join(name);
    let days = |days: u64| Duration::from_secs(days * 24 * 3600);
    let text = fs::read_to_string(&record).expect("the record");
    // The same record as it was long ago: every moment in it counts in milliseconds.
    let moments = shift_moments(&text, 3 * 24 * 3600 * 1000);
    for (name, content, old) in [
        ("dead.json", moments.as_str(), days(3)),
        ("alive.json", text.as_str(), days(3)),
        ("dead-but-young.json", moments.as_str(), days(0)),
        ("tmp-old", "x", Duration::from_secs(3700)),
        ("tmp-young", "x", Duration::from_secs(3000)),
        ("set-aside-old", "x", days(2)),
        ("set-aside-young", "x", Duration::from_secs(3700)),
        ("old.lock", "", days(30)),
        ("somebody's notes.txt", "x", days(30)),
    ] {
        write_private(&here(name), content.as_bytes());
        age(&here(name), old);
    }
    age(&here("CACHEDIR.TAG"), Duration::from_secs(3700));
    world.ycred(&["token", "--force-refresh"]).env("YCRED_CACHE_DIR", &cache).run().succeeds().quietly();
    let left: Vec<String> = names(&cache.join("v1"))
        .iter()
        .map(|path| path.file_name().unwrap_or_default().to_string_lossy().into_owned())
        .filter(|name| !record.ends_with(name) && !record.with_extension("lock").ends_with(name))
        .collect();
    assert_eq!(
        left,
        [
            "CACHEDIR.TAG",
            "alive.json",
            "dead-but-young.json",
            "old.lock",
            "set-aside-young",
            "somebody's notes.txt",
            "tmp-young"
        ]
    );
}

/// The text with every number of thirteen digits (a moment in milliseconds) made smaller.
fn shift_moments(text: &str, by: i64) -> String {
    let mut out = String::new();
    let mut digits = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        match digits.parse::<i64>() {
            Ok(number) if digits.len() == 13 => out += &(number - by).to_string(),
            _ => out += &digits,
        }
        digits.clear();
        if c != '\0' {
            out.push(c);
        }
    }
    out
}

#[test]
fn a_sweep_looks_at_64_entries_at_most_and_once_an_hour() {
    let world = World::new();
    let (cache, _) = used_cache(&world, "crowded");
    for number in 0..200 {
        let path = cache.join(format!("v1/tmp-{number:032x}"));
        fs::write(&path, "x").expect("litter");
        age(&path, Duration::from_secs(7200));
    }
    let store = || {
        world.ycred(&["token", "--force-refresh"]).env("YCRED_CACHE_DIR", &cache).run().succeeds().quietly();
        litter(&cache).len()
    };
    assert_eq!(store(), 200, "the hour is not over");
    age(&cache.join("v1/CACHEDIR.TAG"), Duration::from_secs(3700));
    let after = store();
    assert!((200 - 64..200).contains(&after), "{after} are left");
    assert_eq!(store(), after, "within the hour again");
    for _ in 0..12 {
        age(&cache.join("v1/CACHEDIR.TAG"), Duration::from_secs(3700));
        store();
    }
    assert!(litter(&cache).len() < after / 2, "{} are left", litter(&cache).len());
}

#[test]
fn old_and_new_formats_live_side_by_side() {
    let world = World::new();
    let cache = world.sandbox.path("cache");
    make_private(&cache.join("v0"));
    make_private(&cache.join("v2"));
    write_private(&cache.join("v2/future.json"), b"{\"not\":\"ours\"}");
    world.ycred(&["token"]).run().succeeds().quietly();
    world.is_a_hit(world.ycred(&["token"]));
    assert_eq!(fs::read(cache.join("v2/future.json")).expect("untouched"), b"{\"not\":\"ours\"}");
    let all: Vec<PathBuf> = names(&cache);
    assert_eq!(all, ["v0", "v1", "v2"].map(|name| cache.join(name)));
}
