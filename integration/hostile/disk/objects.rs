//! Wrong objects in place of a record, a lock file or a cache directory.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::files::{make_private, mode, names, write_private};
use crate::harness::machine::{is_root, require_root};
use crate::harness::{Call, YCRED, report_faults};
use crate::hostile::other_user::{NOBODY, OtherUser};
use crate::hostile::records::{at_most_one_warning, record, temporary_files, warm_cache};
use crate::world::World;

/// The name of an object, and the function that creates it at a path.
type Object = (&'static str, fn(&Path));

/// The objects that can be in a file's place. They may refer to a file `victim` next to them, which must not change.
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
    // Only its owner makes this record invalid.
    ("another user's good record", |path| {
        fs::copy(path.with_file_name("victim"), path).expect("a copy");
        chown(path, Some(NOBODY), Some(NOBODY)).expect("a new owner");
    }),
    ("another user's file", |path| {
        write_private(path, b"{}");
        chown(path, Some(NOBODY), Some(NOBODY)).expect("a new owner");
    }),
];

fn make_fifo(path: &Path) {
    use std::os::unix::ffi::OsStrExt as _;
    let name = std::ffi::CString::new(path.as_os_str().as_bytes()).expect("no NUL in it");
    // SAFETY: `name` is a NUL-terminated string that outlives the call.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0, "a FIFO at {}", path.display());
}

/// Returns a call of `ycred token` with limited memory and time, so that it fails if it reads a gigabyte or blocks.
fn with_limits(world: &World, cache: &Path) -> Call {
    world
        .sandbox
        .call("sh", ["-c", "ulimit -v 500000; exec \"$@\"", "sh", YCRED, "token"])
        .env("YCRED_CACHE_DIR", cache)
        .limit(Duration::from_secs(30))
}

/// Removes a file or a directory.
fn remove(path: &Path) {
    fs::remove_file(path).or_else(|_| fs::remove_dir_all(path)).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_wrong_object_in_place_of_the_record_is_a_silent_miss_and_the_next_run_is_a_hit() {
    let world = World::new();
    let mut count = 0;
    for (at, (what, create)) in OBJECTS.iter().enumerate() {
        if what.contains("user") && !is_root() {
            continue;
        }
        let (cache, record) = warm_cache(&world, &format!("record-{at}"));
        let victim = record.with_file_name("victim");
        let original = fs::read(&record).expect("the record");
        write_private(&victim, &original);
        remove(&record);
        create(&record);
        count += 1;
        let before = world.requests();
        let run = with_limits(&world, &cache).run();
        assert!(run.status.success() && run.stderr.is_empty(), "{what}\n{run}");
        assert_eq!(world.requests(), before + 1, "{what}: not a miss\n{run}");
        assert_eq!(world.token_printed_by(&run), world.last_token(), "{what}");
        world.assert_hit(world.ycred(&["token"]).env("YCRED_CACHE_DIR", &cache));
        assert_eq!(mode(&record), 0o600, "{what}");
        assert_eq!(fs::read(&victim).expect("the victim"), original, "{what}: the target of a link was changed");
        assert!(!record.with_file_name("nothing").exists(), "{what}: the target of a dangling link was created");
        assert!(temporary_files(&cache).len() <= 1, "{what}: {:?}", temporary_files(&cache));
    }
    report_faults("wrong object in place of the cache record", count);
}

#[test]
fn objects_set_aside_do_not_accumulate() {
    let world = World::new();
    let (cache, record) = warm_cache(&world, "again");
    for _ in 0..5 {
        remove(&record);
        make_fifo(&record);
        world.ycred(&["token"]).env("YCRED_CACHE_DIR", &cache).run().succeeds().stderr_is_empty();
    }
    assert_eq!(temporary_files(&cache).len(), 1, "{:?}", temporary_files(&cache));
}

#[test]
fn a_wrong_object_in_place_of_the_lock_file_costs_at_most_one_warning_and_is_not_changed() {
    let world = World::new();
    let mut count = 0;
    for (at, (what, create)) in OBJECTS.iter().enumerate() {
        // ycred ignores the content of a lock file, so these are valid lock files.
        let is_valid = ["empty", "garbage", "json", "utf-8", "gigabyte"].iter().any(|word| what.contains(word));
        if what.contains("user") && !is_root() {
            continue;
        }
        let (cache, record) = warm_cache(&world, &format!("lock-{at}"));
        let victim = record.with_file_name("victim");
        fs::write(&victim, "innocent").expect("the victim");
        let lock = record.with_extension("lock");
        remove(&lock);
        create(&lock);
        count += 1;
        let kind = fs::symlink_metadata(&lock).expect("the object").file_type();
        fs::remove_file(&record).expect("the record is removed");
        let run = with_limits(&world, &cache).run();
        at_most_one_warning(&world, &run, &cache);
        assert_eq!(run.stderr.is_empty(), is_valid, "{what}\n{run}");
        assert!(!run.stderr.contains("cannot be kept"), "{what}: the warning denies that the token is stored\n{run}");
        assert_eq!(
            fs::symlink_metadata(&lock).expect("the object").file_type(),
            kind,
            "{what}: the object was changed"
        );
        world.assert_hit(world.ycred(&["token"]).env("YCRED_CACHE_DIR", &cache));
        assert_eq!(fs::read_to_string(&victim).expect("the victim"), "innocent", "{what}");
        assert!(!record.with_file_name("nothing").exists(), "{what}: the target of a dangling link was created");
    }
    report_faults("wrong object in place of the lock file", count);
}

#[test]
fn a_wrong_object_in_place_of_the_cache_directory_costs_one_warning_and_is_not_changed() {
    let world = World::new();
    let mut count = 0;
    for (at, (what, create)) in OBJECTS.iter().enumerate() {
        if what.contains("directory") || (what.contains("user") && !is_root()) {
            continue;
        }
        for (depth, inner) in ["cache", "cache/v1"].iter().enumerate() {
            let base = world.sandbox.path(format!("caches/dir-{at}-{depth}"));
            let (cache, place) = (base.join("cache"), base.join(inner));
            make_private(place.parent().expect("a parent"));
            fs::write(place.with_file_name("victim"), "innocent").expect("the victim");
            create(&place);
            count += 1;
            let kind = fs::symlink_metadata(&place).expect("the object").file_type();
            let run = with_limits(&world, &cache).run();
            at_most_one_warning(&world, &run, &cache);
            assert!(!run.stderr.is_empty(), "{what} at {inner}: nothing was stored, but there is no warning\n{run}");
            assert_eq!(
                fs::symlink_metadata(&place).expect("the object").file_type(),
                kind,
                "{what}: the object was changed"
            );
            assert!(!place.with_file_name("nothing").exists(), "{what}: the target of a dangling link was created");
            assert_eq!(fs::read_to_string(place.with_file_name("victim")).expect("the victim"), "innocent");
        }
    }
    report_faults("wrong object in place of the cache directory", count);
}

#[test]
fn another_users_cache_directory_is_rejected_with_a_warning_that_names_the_owner() {
    if !require_root(&[]) {
        return;
    }
    let world = World::new();
    let cache = world.sandbox.path("cache");
    make_private(&cache.join("v1"));
    chown(cache.join("v1"), Some(NOBODY), Some(NOBODY)).expect("a new owner");
    for _ in 0..2 {
        let run = world.ycred(&["token"]).run();
        at_most_one_warning(&world, &run, &cache);
        assert!(run.stderr.contains("belongs to user 65534, not to 0"), "{run}");
    }
    assert_eq!(names(&cache.join("v1")), Vec::<PathBuf>::new());
}

#[test]
fn a_users_record_that_root_owns_is_replaced() {
    if !require_root(&["setpriv"]) {
        return;
    }
    let world = World::new();
    let other_user = OtherUser::new(&world, NOBODY);
    let cache = other_user.path("home/.cache/ycred");
    other_user.call(&world, &["token"]).run().succeeds().stderr_is_empty();
    let record = record(&cache);
    chown(&record, Some(0), Some(0)).expect("a new owner");
    let run = other_user.call(&world, &["token"]).run().succeeds().stderr_is_empty();
    assert_eq!(world.token_printed_by(&run), world.last_token());
    assert_eq!(world.requests(), 2);
    world.assert_hit(other_user.call(&world, &["token"]));
}
