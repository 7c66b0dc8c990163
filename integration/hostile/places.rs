//! Where ycred writes: unusable home directories, directories of other users, and symlinks that users made.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};

use super::other_user::{NOBODY, OtherUser, UNKNOWN_USER};
use super::records::{at_most_one_warning, records};
use crate::harness::files::{make_private, mode, names, set_mode};
use crate::harness::machine::{is_root, require_root};
use crate::harness::{Call, Run, YCRED};
use crate::world::World;

/// Returns a call of ycred with the platform's default directories and without `HOME`.
fn in_default_directories(world: &World, arguments: &[&str]) -> Call {
    let call = world.ycred(arguments);
    ["YCRED_CACHE_DIR", "YCRED_STATE_DIR", "HOME"].into_iter().fold(call, Call::without)
}

/// Asserts that the working directory of the sandbox's programs is empty.
#[track_caller]
fn work_is_empty(world: &World) {
    assert_eq!(names(&world.sandbox.path("work")), Vec::<PathBuf>::new());
}

#[test]
fn the_cache_is_below_home_unless_xdg_cache_home_is_set() {
    let world = World::new();
    let (home, xdg) = (world.sandbox.path("tmp/home"), world.sandbox.path("tmp/xdg"));
    make_private(&home);
    let call = || in_default_directories(&world, &["token"]).env("HOME", &home);
    call().run().succeeds().stderr_is_empty();
    assert_eq!(records(&home.join(".cache/ycred")).len(), 1);
    call().env("XDG_CACHE_HOME", &xdg).run().succeeds().stderr_is_empty();
    assert_eq!(records(&xdg.join("ycred")).len(), 1);
    // systemd's `CACHE_DIRECTORY` is used only without a home.
    let systemd = world.sandbox.path("tmp/given");
    make_private(&systemd);
    world.assert_hit(call().env("CACHE_DIRECTORY", &systemd));
    assert_eq!(names(&systemd), Vec::<PathBuf>::new());
    for empty in ["XDG_CACHE_HOME", "YCRED_CACHE_DIR", "YCRED_STATE_DIR"] {
        world.assert_hit(call().env(empty, ""));
    }
}

#[test]
fn a_relative_xdg_directory_is_ignored() {
    let world = World::new();
    let home = world.sandbox.path("tmp/home");
    fs::create_dir_all(home.join(".config/ycred")).expect("a configuration");
    for file in ["default.toml", "key.json"] {
        fs::copy(world.sandbox.path("config").join(file), home.join(".config/ycred").join(file)).expect("a copy");
    }
    let run = in_default_directories(&world, &["token"])
        .without("YCRED_CONFIG_DIR")
        .env("HOME", &home)
        .env("XDG_CACHE_HOME", "relative/cache")
        .env("XDG_CONFIG_HOME", "relative/config")
        .env("XDG_STATE_HOME", "relative/state")
        .run()
        .succeeds()
        .stderr_is_empty();
    world.token_printed_by(&run);
    assert_eq!(records(&home.join(".cache/ycred")).len(), 1);
    work_is_empty(&world);
}

#[test]
fn an_unusable_home_costs_one_warning_and_no_token() {
    // Root has another directory.
    if is_root() && !require_root(&["setpriv"]) {
        return;
    }
    let world = World::new();
    let other_user = is_root().then(|| OtherUser::new(&world, NOBODY));
    let call = || match &other_user {
        Some(other_user) => other_user.call(&world, &["token"]),
        None => in_default_directories(&world, &["token"]),
    };
    let file = world.sandbox.file("tmp/a-file", "not a home");
    let regular_file = file.display().to_string();
    let below = file.join("below").display().to_string();
    for home in ["/dev/null", regular_file.as_str(), below.as_str(), "/proc", "/proc/none", "/dev/full/x"] {
        let before = world.requests();
        for _ in 0..2 {
            let run = call().env("HOME", home).run();
            at_most_one_warning(&world, &run, Path::new(home));
            assert!(!run.stderr.is_empty(), "HOME={home}: nothing can be stored there, but there is no warning\n{run}");
        }
        assert_eq!(world.requests(), before + 2, "HOME={home}");
    }
    assert_eq!(fs::read(&file).expect("the file"), b"not a home");
    work_is_empty(&world);
}

#[test]
fn roots_cache_is_in_run_if_its_home_cannot_be_created() {
    if !require_root(&["unshare", "getent"]) {
        return;
    }
    let world = World::new();
    let file = world.sandbox.file("tmp/a-file", "not a home").display().to_string();
    for home in ["/dev/null", file.as_str()] {
        let before = world.requests();
        let script = format!(
            "export HOME='{home}'; \"$1\" token; \"$1\" token; \"$1\" status --json >&2; ls /run/ycred/v1/*.json >&2"
        );
        let run = with_empty_home_and_run(&world, &script).run().succeeds();
        let token = world.last_token();
        assert_eq!(run.stdout, format!("{token}\n{token}\n"), "HOME={home}\n{run}");
        assert!(!run.stderr.contains("warning") && run.stderr.ends_with(".json\n"), "HOME={home}\n{run}");
        assert!(run.stderr.contains("\"fresh\""), "HOME={home}: status looks elsewhere\n{run}");
        assert_eq!(world.requests(), before + 1, "HOME={home}");
    }
    // As on a node whose root file system nobody can write to.
    let script = "mount -o remount,ro none \"$home\"; \"$1\" token; \"$1\" token; ls /run/ycred/v1/*.json >&2";
    let before = world.requests();
    let run = with_empty_home_and_run(&world, script).run().succeeds();
    assert!(run.stderr.lines().count() == 1 && run.stderr.ends_with(".json\n"), "{run}");
    assert_eq!(world.requests(), before + 1, "{run}");
    work_is_empty(&world);
}

#[test]
fn a_missing_home_is_created_with_mode_0700_down_to_the_cache() {
    let world = World::new();
    let home = world.sandbox.path("tmp/new/home");
    in_default_directories(&world, &["token"]).env("HOME", &home).run().succeeds().stderr_is_empty();
    for directory in ["tmp/new", "tmp/new/home", "tmp/new/home/.cache", "tmp/new/home/.cache/ycred"] {
        assert_eq!(mode(&world.sandbox.path(directory)), 0o700, "{directory}");
    }
    world.assert_hit(in_default_directories(&world, &["token"]).env("HOME", &home));
}

/// Returns a call of a script in a mount namespace where root's home and `/run` are empty temporary file systems.
fn with_empty_home_and_run(world: &World, script: &str) -> Call {
    let script = format!(
        "set -e; home=$(getent passwd 0 | cut -d: -f6); mount -t tmpfs none \"$home\"; mount -t tmpfs none /run; {script}"
    );
    let arguments = ["-m", "--propagation", "private", "sh", "-c", &script, "sh", YCRED].map(OsString::from);
    let call = world.sandbox.call("unshare", arguments);
    ["YCRED_CACHE_DIR", "YCRED_STATE_DIR", "HOME"].into_iter().fold(call, Call::without)
}

#[test]
fn without_home_the_password_database_is_used_and_home_overrides_it() {
    if !require_root(&["unshare", "getent"]) {
        return;
    }
    let world = World::new();
    for unset in ["unset HOME", "export HOME="] {
        let script =
            format!("{unset}; \"$1\" token; \"$1\" token; ls \"$home/.cache/ycred/v1\"/*.json >&2; ls -A /run >&2");
        let run = with_empty_home_and_run(&world, &script).run().succeeds();
        let token = world.last_token();
        assert_eq!(run.stdout, format!("{token}\n{token}\n"), "{run}");
        assert!(run.stderr.lines().count() == 1 && run.stderr.ends_with(".json\n"), "{run}");
    }
    let home = world.sandbox.path("tmp/other-home");
    make_private(&home);
    let run = with_empty_home_and_run(&world, "\"$1\" token; ls -A \"$home\" >&2")
        .env("HOME", &home)
        .run()
        .succeeds()
        .stderr_is_empty();
    world.token_printed_by(&run);
    assert_eq!(records(&home.join(".cache/ycred")).len(), 1);
    work_is_empty(&world);
}

#[test]
fn a_relative_home_is_ignored_and_nothing_is_written_to_the_current_directory() {
    if !require_root(&["unshare", "getent"]) {
        return;
    }
    let world = World::new();
    for home in [".", "home", "./x", "~"] {
        // Without a home, root's cache is in /run.
        let script = format!(
            "export HOME='{home}'; \"$1\" token; \"$1\" token; ls /run/ycred/v1/*.json >&2; ls -A \"$home\" >&2"
        );
        let run = with_empty_home_and_run(&world, &script).run().succeeds();
        let token = world.last_token();
        assert_eq!(run.stdout, format!("{token}\n{token}\n"), "HOME={home}\n{run}");
        assert!(run.stderr.lines().count() == 1 && run.stderr.ends_with(".json\n"), "HOME={home}\n{run}");
        work_is_empty(&world);
    }
    // The first directory in systemd's list takes precedence over /run, if it is absolute.
    let systemd = world.sandbox.path("tmp/given");
    let list = format!("{}:/elsewhere", systemd.display());
    let run = with_empty_home_and_run(&world, "export HOME=x; \"$1\" token; ls -A /run >&2")
        .env("CACHE_DIRECTORY", list)
        .run();
    world.token_printed_by(&run.succeeds().stderr_is_empty());
    assert_eq!(records(&systemd).len(), 1);
    let run = with_empty_home_and_run(&world, "export HOME=x; \"$1\" token; ls -A /run >&2")
        .env("CACHE_DIRECTORY", "given")
        .run();
    assert_eq!(run.succeeds().stderr, "ycred\n");
    work_is_empty(&world);
}

#[test]
fn under_sudo_with_the_callers_home_nothing_is_created_and_one_warning_names_the_directory() {
    if !require_root(&["setpriv"]) {
        return;
    }
    let world = World::new();
    for prepared in ["", ".cache", ".cache/ycred", ".cache/ycred/v1"] {
        let other_user = OtherUser::new(&world, NOBODY);
        let home = other_user.path("home");
        let mut directory = home.clone();
        for part in Path::new(prepared) {
            directory.push(part);
            make_private(&directory);
            chown(&directory, Some(NOBODY), Some(NOBODY)).expect("a new owner");
        }
        let before = other_user.owners_below("home");
        for _ in 0..2 {
            let run = in_default_directories(&world, &["token"]).env("HOME", &home).run();
            at_most_one_warning(&world, &run, &home);
            assert!(run.stderr.contains("belongs to user 65534, not to 0"), "{prepared}\n{run}");
        }
        assert_eq!(other_user.owners_below("home"), before, "{prepared}: something was created");
        // The caller can still use the home.
        other_user.call(&world, &["token"]).run().succeeds().stderr_is_empty();
        world.assert_hit(other_user.call(&world, &["token"]));
        // Root does not read the caller's token.
        let before = world.requests();
        let run = in_default_directories(&world, &["token"]).env("HOME", &home).run();
        at_most_one_warning(&world, &run, &home);
        assert_eq!(world.requests(), before + 1);
        world.assert_hit(other_user.call(&world, &["token"]));
        let foreign_files: Vec<_> =
            other_user.owners_below("home").into_iter().filter(|(_, owner)| *owner != NOBODY).collect();
        assert_eq!(foreign_files, []);
    }
}

#[test]
fn a_user_with_a_private_home_has_a_private_cache() {
    if !require_root(&["setpriv"]) {
        return;
    }
    let world = World::new();
    let other_user = OtherUser::new(&world, NOBODY);
    other_user.call(&world, &["token"]).run().succeeds().stderr_is_empty();
    world.assert_hit(other_user.call(&world, &["token"]));
    let foreign_files: Vec<_> =
        other_user.owners_below("home").into_iter().filter(|(_, owner)| *owner != NOBODY).collect();
    assert_eq!(foreign_files, []);
    assert_eq!(names(&other_user.path("work")), Vec::<PathBuf>::new());
}

#[test]
fn a_user_without_a_usable_home_gets_the_token_and_one_warning() {
    if !require_root(&["setpriv"]) {
        return;
    }
    let world = World::new();
    let other_user = OtherUser::new(&world, NOBODY);
    let foreign = other_user.path("foreign");
    fs::create_dir(&foreign).expect("root's directory");
    let foreign = foreign.display().to_string();
    let exist_at_root = || ["/.cache", "/nonexistent"].map(|path| Path::new(path).exists());
    let before = exist_at_root();
    for (home, place) in [
        ("/", "YCRED_CACHE_DIR"),
        ("/nonexistent", "YCRED_CACHE_DIR"),
        ("/dev/null", "/dev/null"),
        (foreign.as_str(), foreign.as_str()),
        ("relative", "YCRED_CACHE_DIR"),
    ] {
        let run = other_user.call(&world, &["token"]).env("HOME", home).run();
        at_most_one_warning(&world, &run, Path::new(place));
        assert!(!run.stderr.is_empty(), "HOME={home}\n{run}");
    }
    assert_eq!(names(Path::new(&foreign)), Vec::<PathBuf>::new());
    assert_eq!(exist_at_root(), before, "something was created in /");
    assert_eq!(names(&other_user.path("work")), Vec::<PathBuf>::new());
}

#[test]
fn a_user_missing_from_the_password_database_needs_no_home_and_can_use_systemds_cache_directory() {
    if !require_root(&["setpriv"]) {
        return;
    }
    let world = World::new();
    let other_user = OtherUser::new(&world, UNKNOWN_USER);
    let call = || other_user.call(&world, &["token"]).without("HOME");
    let run = call().run();
    at_most_one_warning(&world, &run, Path::new("YCRED_CACHE_DIR"));
    assert!(run.stderr.contains("there is no home directory"), "{run}");
    fs::create_dir(other_user.path("given")).expect("systemd's directory");
    other_user.chown("given", UNKNOWN_USER);
    let with_systemd = || call().env("CACHE_DIRECTORY", other_user.path("given"));
    with_systemd().run().succeeds().stderr_is_empty();
    world.assert_hit(with_systemd());
    // Without a configuration directory, ycred uses /etc/ycred and the environment.
    let run = call().without("YCRED_CONFIG_DIR").env("YC_IAM_TOKEN", "t1.given.x").run();
    assert_eq!((run.status.code(), run.stdout.as_str(), run.stderr.as_str()), (Some(0), "t1.given.x\n", ""), "{run}");
    let run = call().without("YCRED_CONFIG_DIR").run().exits(3);
    assert!(run.stderr.contains("/etc/ycred"), "{run}");
    assert_eq!(names(&other_user.path("work")), Vec::<PathBuf>::new());
}

#[test]
fn directory_variables_must_be_absolute_and_a_relative_cache_costs_no_token() {
    let world = World::new();
    for relative in ["cache", "./cache", "../cache", "~/cache"] {
        let run = world.ycred(&["token"]).env("YCRED_CACHE_DIR", relative).run();
        at_most_one_warning(&world, &run, Path::new("YCRED_CACHE_DIR must be an absolute path"));
        world.ycred(&["token"]).env("YCRED_CONFIG_DIR", relative).run().exits(2).stdout_is("");
        work_is_empty(&world);
    }
}

#[test]
fn nothing_is_ever_written_to_the_current_directory() {
    let world = World::new();
    world.profile("other", "");
    let work = world.sandbox.path("work");
    let calls: Vec<Call> = [
        &["token"][..],
        &["kubectl"],
        &["terraform", "get", "cr.yandex"],
        &["refresh"],
        &["list"],
        &["use", "other"],
        &["env"],
        &["exec", "true"],
        &["exec", "--serve", "true"],
        &["completions", "bash"],
        &["token", "--no-cache"],
        &["token", "--force-refresh"],
        &["token", "-p", "./none.toml"],
        &["token", "-p", "none"],
        &["frobnicate"],
        &["--help"],
    ]
    .into_iter()
    .map(|arguments| world.ycred(arguments).within(&work))
    .collect();
    for call in calls {
        let run: Run = call.run();
        assert!(run.status.code().is_some_and(|code| code <= 3), "{run}");
        work_is_empty(&world);
    }
}

#[test]
fn a_cache_directory_may_be_the_users_own_symlink() {
    let world = World::new();
    let (real, link) = (world.sandbox.path("tmp/real"), world.sandbox.path("tmp/link"));
    make_private(&real);
    symlink(&real, &link).expect("a link");
    world.ycred(&["token"]).env("YCRED_CACHE_DIR", &link).run().succeeds().stderr_is_empty();
    assert_eq!(records(&real).len(), 1);
    world.assert_hit(world.ycred(&["token"]).env("YCRED_CACHE_DIR", &link));
    world.assert_hit(world.ycred(&["token"]).env("YCRED_CACHE_DIR", &real));
    assert!(fs::symlink_metadata(&link).expect("the link").is_symlink());
    // The same for the format's directory, `v1`.
    let (other, inner) = (world.sandbox.path("tmp/other"), world.sandbox.path("tmp/cache"));
    make_private(&other);
    make_private(&inner);
    symlink(&other, inner.join("v1")).expect("a link");
    world.ycred(&["token"]).env("YCRED_CACHE_DIR", &inner).run().succeeds().stderr_is_empty();
    world.assert_hit(world.ycred(&["token"]).env("YCRED_CACHE_DIR", &inner));
    // The target of a dangling link is not created.
    let dangling = world.sandbox.path("tmp/dangling");
    symlink(world.sandbox.path("tmp/nowhere"), &dangling).expect("a link");
    let run = world.ycred(&["token"]).env("YCRED_CACHE_DIR", &dangling).run();
    at_most_one_warning(&world, &run, &dangling);
    assert!(!run.stderr.is_empty() && !world.sandbox.path("tmp/nowhere").exists(), "{run}");
}

#[test]
fn a_user_caches_in_roots_directories_that_anyone_may_write_to() {
    if !require_root(&["setpriv"]) {
        return;
    }
    let world = World::new();
    let other_user = OtherUser::new(&world, UNKNOWN_USER);
    // A container's volume without and with a subdirectory, and a function's /tmp.
    for (volume, cache, bits) in
        [("volume", "volume", 0o777), ("other", "other/cache", 0o2777), ("tmp", "tmp/ycred", 0o1777)]
    {
        let cache = other_user.path(cache);
        fs::create_dir(other_user.path(volume)).expect("a directory");
        set_mode(&other_user.path(volume), bits);
        let call = || other_user.call(&world, &["token"]).env("YCRED_CACHE_DIR", &cache);
        call().run().succeeds().stderr_is_empty();
        world.assert_hit(call());
        assert!(other_user.owners_below(volume).iter().all(|(_, owner)| *owner == UNKNOWN_USER));
        assert_eq!(names(&cache).iter().map(|path| mode(path) & 0o777).collect::<Vec<_>>(), [0o700], "{volume}");
        assert_eq!(mode(&other_user.path(volume)), bits, "the mode of a directory of root has changed");
    }
    // What another user has put there is not used.
    fs::create_dir(other_user.path("tmp/taken")).expect("a directory");
    other_user.chown("tmp/taken", NOBODY);
    set_mode(&other_user.path("tmp/taken"), 0o777);
    let run = other_user.call(&world, &["token"]).env("YCRED_CACHE_DIR", other_user.path("tmp/taken")).run();
    at_most_one_warning(&world, &run, &other_user.path("tmp/taken"));
    assert!(run.stderr.contains("belongs to user 65534, not to 54321"), "{run}");
    assert_eq!(names(&other_user.path("tmp/taken")), Vec::<PathBuf>::new());
}

#[test]
fn a_symlink_into_another_users_directory_is_rejected() {
    if !require_root(&["setpriv"]) {
        return;
    }
    let world = World::new();
    let other_user = OtherUser::new(&world, NOBODY);
    let link = world.sandbox.path("tmp/link");
    symlink(other_user.path("home"), &link).expect("a link");
    let run = world.ycred(&["token"]).env("YCRED_CACHE_DIR", &link).run();
    at_most_one_warning(&world, &run, &link);
    assert!(run.stderr.contains("belongs to user 65534"), "{run}");
    assert_eq!(other_user.owners_below("home"), []);
}

#[test]
fn a_symlinked_profile_is_read_and_stays_a_symlink() {
    let world = World::new();
    world.profile("other", "");
    let config = world.sandbox.path("config");
    let dotfiles = world.sandbox.path("tmp/dotfiles");
    make_private(&dotfiles);
    fs::rename(config.join("default.toml"), config.join("prod.toml")).expect("renamed");
    fs::write(dotfiles.join("default.toml"), "use = \"prod\"\n").expect("an alias");
    symlink(dotfiles.join("default.toml"), config.join("default.toml")).expect("a link");
    world.ycred(&["token"]).run().succeeds().stderr_is_empty();
    world.ycred(&["use", "other"]).run().succeeds().stderr_is_empty().stdout_is("the default profile is now other\n");
    assert!(fs::symlink_metadata(config.join("default.toml")).expect("the link").is_symlink());
    assert_eq!(fs::read_to_string(dotfiles.join("default.toml")).expect("the alias"), "use = \"other\"\n");
    assert_eq!(names(&dotfiles).len(), 1, "a temporary file was left behind");
    let before = world.requests();
    world.ycred(&["token"]).run().succeeds().stderr_is_empty();
    assert_eq!(world.requests(), before + 1, "another profile needs another token");
}

#[test]
fn a_profile_that_another_user_owns_or_can_write_is_rejected() {
    let world = World::new();
    let path = world.sandbox.path("config/default.toml");
    set_mode(&path, 0o602);
    let run = world.ycred(&["token"]).run().exits(3).stdout_is("");
    assert!(run.stderr.contains("anyone may write it"), "{run}");
    assert!(run.stderr.contains(&format!("hint: chmod o-w {}", path.display())), "{run}");
    set_mode(&path, 0o644);
    world.ycred(&["token"]).run().succeeds().stderr_is_empty();
    if !require_root(&["setpriv"]) {
        return;
    }
    let other_user = OtherUser::new(&world, NOBODY);
    other_user.chown("config/default.toml", UNKNOWN_USER);
    let run = other_user.call(&world, &["token"]).run().exits(3).stdout_is("");
    assert!(run.stderr.contains("belongs to another user (54321)"), "{run}");
    // A user may use root's profiles, and root may use any user's.
    other_user.chown("config/default.toml", 0);
    other_user.call(&world, &["token"]).run().succeeds().stderr_is_empty();
    chown(&path, Some(NOBODY), Some(NOBODY)).expect("a new owner");
    world.ycred(&["token", "--no-cache"]).run().succeeds().stderr_is_empty();
}

#[test]
fn under_sudo_logout_and_erase_create_nothing_in_the_callers_cache() {
    if !require_root(&["setpriv"]) {
        return;
    }
    let world = World::new();
    let cache = world.sandbox.path("cache");
    make_private(&cache.join("v1"));
    for path in [cache.clone(), cache.join("v1")] {
        std::os::unix::fs::chown(&path, Some(65534), Some(65534)).expect("a new owner");
    }
    world.ycred(&["logout"]).run().succeeds();
    world.ycred(&["logout", "--all"]).run().succeeds();
    let erase = "protocol=https\nhost=cr.yandex\nusername=iam\npassword=t1.abcdefgh.x\n";
    world.ycred(&["git", "erase"]).stdin(erase).run().succeeds();
    let created = world.sandbox.files("cache");
    assert!(created.is_empty(), "{created:?}");
}
