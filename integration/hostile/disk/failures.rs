//! Disk errors injected into system calls, one at a time or all at once.

use std::path::{Path, PathBuf};

use crate::harness::files::{names, write_private};
use crate::harness::machine::require_tracer;
use crate::harness::strace::{Step, inject, traced};
use crate::harness::{IS_SHIPPED, Run, report_faults, run_all};
use crate::hostile::records::{SavedRecord, at_most_one_warning, record, records, temporary_files, token_in};
use crate::world::World;

const PARALLEL: usize = 4;

/// The C library's text for EIO: musl's in the binary that ships, otherwise glibc's.
const IO_ERROR: &str = if IS_SHIPPED { "I/O error" } else { "Input/output error" };

/// System calls and the errors that a disk can cause in them. EINTR is not a failure and must have no visible effect.
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

/// Returns every error that a disk can cause in those of these calls that touch the cache.
fn failures(steps: &[Step], cache: &Path) -> Vec<(Step, &'static str)> {
    let cache = cache.display().to_string();
    let touching = steps.iter().filter(|step| step.line.contains(&cache));
    touching
        .flat_map(|step| {
            let entry = FAILURES.iter().find(|(calls, _)| calls.contains(&step.name.as_str()));
            entry.map_or(&[][..], |(_, errors)| *errors).iter().map(|error| (step.clone(), *error))
        })
        .collect()
}

/// Runs ycred once per failure, each time with its own cache.
///
/// `prepare` sets up the cache before the run. `check` gets a description of the failure, the cache and the run.
fn fail_at_each(
    world: &World,
    failures: &[(Step, &'static str)],
    arguments: &[&str],
    prepare: impl Fn(&Path),
    check: impl Fn(&str, &Path, &Run),
) {
    for (part, failures) in failures.chunks(PARALLEL).enumerate() {
        let cache = |at: usize| world.sandbox.path(format!("caches/{part}-{at}"));
        let runs = run_all(failures.iter().enumerate().map(|(at, (step, error))| {
            prepare(&cache(at));
            traced(&world.sandbox, &inject(step, &format!("error={error}")), arguments)
                .env("YCRED_CACHE_DIR", cache(at))
        }));
        for (at, ((step, error), run)) in failures.iter().zip(&runs).enumerate() {
            check(&format!("{error} at {step:?}\n{run}"), &cache(at), run);
        }
    }
}

#[test]
fn a_disk_error_at_any_call_of_a_miss_costs_at_most_one_warning_and_no_token() {
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
            let token = at_most_one_warning(&world, run, cache);
            assert_eq!(temporary_files(cache), Vec::<PathBuf>::new(), "{what}");
            let records = records(cache);
            if what.starts_with("EINTR") {
                assert_eq!(run.stderr, "", "an interruption is not a failure: {what}");
            }
            assert!(records.len() == 1 || !run.stderr.is_empty(), "neither a record nor a warning: {what}");
            for record in records {
                assert_eq!(token_in(&record), token, "{what}");
            }
        },
    );
    report_faults("disk error in a system call of a miss", failures.len());
}

#[test]
fn a_disk_error_at_any_call_of_a_renewal_leaves_the_old_or_the_new_record_intact() {
    if !require_tracer() {
        return;
    }
    let world = World::new();
    let saved = SavedRecord::of(&world);
    let longer = ["token", "--min-ttl", "13h"];
    let steps =
        Step::of(&world.sandbox, |strace| traced(&world.sandbox, strace, &longer).env("YCRED_CACHE_DIR", &saved.cache));
    let failures = failures(&steps, &saved.cache);
    fail_at_each(
        &world,
        &failures,
        &longer,
        |cache| saved.put_into(cache),
        |what, cache, run| {
            let token = world.token_printed_by(run);
            // Every run has one warning, because the cloud's tokens are valid for less than `--min-ttl`.
            assert!(run.status.success() && run.stderr.lines().count() == 1, "{what}");
            assert_eq!(temporary_files(cache), Vec::<PathBuf>::new(), "{what}");
            let cached = token_in(&record(cache));
            assert!(cached == saved.token || cached == token, "{what}");
        },
    );
    report_faults("disk error in a system call of a renewal", failures.len());
}

#[test]
fn a_disk_error_at_any_call_of_a_hit_costs_no_token() {
    if !require_tracer() {
        return;
    }
    let world = World::new();
    let saved = SavedRecord::of(&world);
    let steps = Step::of(&world.sandbox, |strace| {
        traced(&world.sandbox, strace, &["token"]).env("YCRED_CACHE_DIR", &saved.cache)
    });
    let failures = failures(&steps, &saved.cache);
    assert!(!failures.is_empty());
    fail_at_each(
        &world,
        &failures,
        &["token"],
        |cache| saved.put_into(cache),
        |_, cache, run| {
            at_most_one_warning(&world, run, cache);
            world.assert_hit(world.ycred(&["token"]).env("YCRED_CACHE_DIR", cache));
        },
    );
    report_faults("disk error in a system call of a hit", failures.len());
}

/// The second record beside the one of `saved`, as one of another identity.
const SECOND: &str = "0123456789abcdef0123456789abcdef.json";

/// Returns the files in a cache, at any depth, that contain this token.
fn files_with(token: &str, cache: &Path) -> Vec<PathBuf> {
    let files = ["v1", "v1/storing"].into_iter().flat_map(|directory| names(&cache.join(directory)));
    files.filter(|path| std::fs::read_to_string(path).is_ok_and(|content| content.contains(token))).collect()
}

#[test]
fn a_disk_error_at_any_call_of_a_logout_of_all_is_reported_or_deletes_every_token_nevertheless() {
    if !require_tracer() {
        return;
    }
    let world = World::new();
    let saved = SavedRecord::of(&world);
    let prepare = |cache: &Path| {
        saved.put_into(cache);
        write_private(&cache.join("v1").join(SECOND), &saved.content);
    };
    let logout = ["logout", "--all"];
    prepare(&saved.cache);
    let steps =
        Step::of(&world.sandbox, |strace| traced(&world.sandbox, strace, &logout).env("YCRED_CACHE_DIR", &saved.cache));
    let mut failures = failures(&steps, &saved.cache);
    // Without a file there is nothing to delete. The output is not a file of ycred.
    failures.retain(|(step, error)| *error != "ENOENT" && !step.line.starts_with("write(1<"));
    for call in ["rename", "renameat", "unlink", "unlinkat"] {
        assert!(failures.iter().any(|(step, _)| step.name == call), "no {call} in {steps:#?}");
    }
    fail_at_each(&world, &failures, &logout, prepare, |what, cache, run| {
        let left = files_with(&saved.token, cache);
        match run.status.code() {
            Some(0) => assert_eq!(left, Vec::<PathBuf>::new(), "{what}"),
            Some(3 | 4) => {
                assert!(run.stderr.starts_with("ycred: error: ") && run.stderr.contains("cannot delete"), "{what}")
            }
            _ => panic!("{what}"),
        }
        // One error at a record leaves the other one neither.
        if what.contains("rename") || what.contains("unlink") {
            assert_eq!(left, Vec::<PathBuf>::new(), "{what}");
        }
        world.ycred(&logout).env("YCRED_CACHE_DIR", cache).run().exits(0);
        assert_eq!(files_with(&saved.token, cache), Vec::<PathBuf>::new(), "{what}");
    });
    report_faults("disk error in a system call of a logout", failures.len());
}

#[test]
fn a_logout_of_all_deletes_the_tokens_of_a_disk_without_room_to_move_a_file() {
    if !require_tracer() {
        return;
    }
    let world = World::new();
    let saved = SavedRecord::of(&world);
    for (calls, error, code) in [
        ("renameat", "EXDEV", 0),
        ("renameat", "ENOSPC", 0),
        ("rename,renameat", "ENOSPC", 4),
        ("rename,renameat,write", "ENOSPC", 4),
    ] {
        let cache = world.sandbox.path(format!("caches/{error}-{}", calls.replace(',', "-")));
        saved.put_into(&cache);
        write_private(&cache.join("v1").join(SECOND), &saved.content);
        let inject = format!("inject={calls}:error={error}");
        let strace = ["-f", "-qq", "-o", "/dev/null", "-e", &inject].map(str::to_owned);
        let run = traced(&world.sandbox, &strace, &["logout", "--all"]).env("YCRED_CACHE_DIR", &cache).run();
        assert_eq!(run.status.code(), Some(code), "{error} at {calls}\n{run}");
        assert_eq!(files_with(&saved.token, &cache), Vec::<PathBuf>::new(), "{error} at {calls}\n{run}");
    }
}

#[test]
fn a_persistent_disk_error_costs_one_warning_per_run_and_no_token() {
    if !require_tracer() {
        return;
    }
    let world = World::new();
    for (calls, error, cause) in [
        ("mkdir", "EROFS", "the file system is read-only"),
        ("mkdir", "ENOSPC", "the disk is full"),
        ("mkdir", "EACCES", "permission denied"),
        ("rename", "EIO", IO_ERROR),
        ("rename", "EDQUOT", "quota"),
        ("rename,flock", "EIO", IO_ERROR),
        ("mkdir,rename,flock,unlink", "EIO", IO_ERROR),
    ] {
        let cache = world.sandbox.path(format!("caches/{error}-{}", calls.replace(',', "-")));
        let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:error={error}"));
        let strace = ["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject].map(str::to_owned);
        for _ in 0..2 {
            let before = world.requests();
            let run = traced(&world.sandbox, &strace, &["token"]).env("YCRED_CACHE_DIR", &cache).run();
            at_most_one_warning(&world, &run, &cache);
            // musl begins some of these texts with a capital.
            assert!(
                run.stderr.to_lowercase().contains(&cause.to_lowercase()),
                "expected {cause:?} for {error} at {calls}\n{run}"
            );
            assert_eq!(world.requests(), before + 1, "{error} at {calls}");
        }
        assert_eq!(records(&cache), Vec::<PathBuf>::new(), "{error} at {calls}");
        assert_eq!(temporary_files(&cache), Vec::<PathBuf>::new(), "{error} at {calls}");
        // Once the disk works again, so does the cache.
        world.ycred(&["token"]).env("YCRED_CACHE_DIR", &cache).run().succeeds().stderr_is_empty();
        world.assert_hit(world.ycred(&["token"]).env("YCRED_CACHE_DIR", &cache));
    }
}

#[test]
fn without_lock_support_the_warning_names_the_cause_and_the_token_is_cached() {
    if !require_tracer() {
        return;
    }
    let world = World::new();
    for (error, cause) in [("ENOLCK", "No locks available"), ("EOPNOTSUPP", "not supported"), ("EIO", IO_ERROR)] {
        let cache = world.sandbox.path(format!("caches/{error}"));
        let strace =
            ["-f", "-qq", "-o", "/dev/null", "-e", "trace=flock", "-e", &format!("inject=flock:error={error}")]
                .map(str::to_owned);
        let run = traced(&world.sandbox, &strace, &["token"]).env("YCRED_CACHE_DIR", &cache).run();
        at_most_one_warning(&world, &run, &cache);
        assert!(run.stderr.to_lowercase().contains(&cause.to_lowercase()), "expected {cause:?}\n{run}");
        assert!(!run.stderr.contains("cannot be kept"), "the warning denies that the token is stored\n{run}");
        world.assert_hit(world.ycred(&["token"]).env("YCRED_CACHE_DIR", &cache));
    }
}

#[test]
fn an_interrupted_lock_call_is_retried() {
    if !require_tracer() {
        return;
    }
    let world = World::new();
    let strace = ["-f", "-qq", "-o", "/dev/null", "-e", "trace=flock", "-e", "inject=flock:error=EINTR:when=1..5"]
        .map(str::to_owned);
    let run = traced(&world.sandbox, &strace, &["token"]).run().succeeds().stderr_is_empty();
    world.token_printed_by(&run);
}

#[test]
fn the_lock_is_polled_and_never_blocks_in_the_kernel() {
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
    assert!(
        names(&cache.join("v1")).iter().any(|path| path.extension().is_some_and(|end| end == "lock")),
        "the lock file was deleted"
    );
}

/// std panics if it cannot close a directory.
#[test]
fn a_directory_that_cannot_be_closed_is_no_failure() {
    if !require_tracer() {
        return;
    }
    let world = World::new();
    world.get();
    world.sandbox.file("home/.terraform.d/x.tfrc", "");
    world.sandbox.file("home/.terraform.d/plugins/x", "");
    world.sandbox.file("home/.docker/config.json", "{}");
    world.sandbox.link("docker-credential-ycred");
    world.sandbox.link("docker-credential-ycred-other");
    let directories = [
        "bin",
        "config",
        "cache",
        "cache/v1",
        "home",
        "home/.docker",
        "home/.terraform.d",
        "home/.terraform.d/plugins",
        "home/.local/bin",
    ];
    let mut strace = ["-f", "-qq", "-o", "/dev/null", "-e", "trace=close", "-e", "inject=close:error=EIO"]
        .map(str::to_owned)
        .to_vec();
    strace
        .extend(directories.iter().flat_map(|name| ["-P".to_owned(), world.sandbox.path(name).display().to_string()]));
    let path = format!("{}:/usr/bin:/bin", world.sandbox.path("bin").display());
    for arguments in [
        &["list"][..],
        &["status"],
        &["status", "--all"],
        &["doctor", "--offline"],
        &["explain"],
        &["completions", "bash"],
        &["setup", "terraform"],
        &["setup", "docker"],
        &["unsetup", "docker"],
        &["unsetup", "terraform"],
        &["rename", "default", "other"],
        &["refresh", "-p", "other"],
        &["remove", "other"],
        &["logout", "--all"],
    ] {
        let call = |strace: &[String]| traced(&world.sandbox, strace, arguments).env("PATH", &path).stdin("");
        let run = call(&strace).run();
        assert!(
            !matches!(run.status.code(), None | Some(2 | 5)) && !run.stderr.contains("panicked"),
            "{arguments:?}\n{run}"
        );
    }
}
