//! Homes that are none, directories that belong to others, links that users made: where things go, and where nothing does.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};

use super::commons::{Commons, NOBODY, STRANGER};
use super::records::{is_unharmed, records};
use crate::harness::files::{make_private, mode, names, set_mode};
use crate::harness::machine::require_root;
use crate::harness::{Call, Run, YCRED};
use crate::world::World;

/// ycred with the platform's own places, and nothing said about a home.
fn at_home(world: &World, arguments: &[&str]) -> Call {
    let call = world.ycred(arguments);
    ["YCRED_CACHE_DIR", "YCRED_STATE_DIR", "HOME"].into_iter().fold(call, Call::without)
}

/// Nothing is in the directory that the sandbox's programs start in.
#[track_caller]
fn nothing_was_written_here(world: &World) {
    assert_eq!(names(&world.sandbox.path("work")), Vec::<PathBuf>::new());
}

#[test]
fn the_cache_is_below_home_unless_xdg_cache_home_is_set() {
    let world = World::new();
    let (home, xdg) = (world.sandbox.path("tmp/home"), world.sandbox.path("tmp/xdg"));
    make_private(&home);
    let call = || at_home(&world, &["token"]).env("HOME", &home);
    call().run().succeeds().quietly();
    assert_eq!(records(&home.join(".cache/ycred")).len(), 1);
    call().env("XDG_CACHE_HOME", &xdg).run().succeeds().quietly();
    assert_eq!(records(&xdg.join("ycred")).len(), 1);
    // What systemd gives is for those without a home.
    let given = world.sandbox.path("tmp/given");
    make_private(&given);
    world.is_a_hit(call().env("CACHE_DIRECTORY", &given));
    assert_eq!(names(&given), Vec::<PathBuf>::new());
    for empty in ["XDG_CACHE_HOME", "YCRED_CACHE_DIR", "YCRED_STATE_DIR"] {
        world.is_a_hit(call().env(empty, ""));
    }
}

#[test]
fn a_relative_xdg_directory_is_ignored() {
    let world = World::new();
    let home = world.sandbox.path("tmp/home");
    fs::create_dir_all(home.join(".config/ycred")).expect("a configuration");
    for file in ["default.toml", "key.json"] {
        fs::copy(world.sandbox.path("config").join(file), home.join(".config/ycred").join(file)).expect("copied");
    }
    let run = at_home(&world, &["token"])
        .without("YCRED_CONFIG_DIR")
        .env("HOME", &home)
        .env("XDG_CACHE_HOME", "relative/cache")
        .env("XDG_CONFIG_HOME", "relative/config")
        .env("XDG_STATE_HOME", "relative/state")
        .run()
        .succeeds()
        .quietly();
    world.printed_a_token(&run);
    assert_eq!(records(&home.join(".cache/ycred")).len(), 1);
    nothing_was_written_here(&world);
}

#[test]
fn an_unusable_home_costs_one_warning_and_no_token() {
    let world = World::new();
    let file = world.sandbox.file("tmp/a-file", "not a home");
    let file_text = file.display().to_string();
    let below = file.join("below").display().to_string();
    for home in ["/dev/null", file_text.as_str(), below.as_str(), "/proc", "/proc/none", "/dev/full/x"] {
        let before = world.requests();
        for _ in 0..2 {
            let run = at_home(&world, &["token"]).env("HOME", home).run();
            is_unharmed(&world, &run, Path::new(home));
            assert!(!run.stderr.is_empty(), "HOME={home}: nothing can be kept there, and nothing is told\n{run}");
        }
        assert_eq!(world.requests(), before + 2, "HOME={home}");
    }
    assert_eq!(fs::read(&file).expect("the file"), b"not a home");
    nothing_was_written_here(&world);
}

#[test]
fn a_missing_home_is_created_with_mode_0700_down_to_the_cache() {
    let world = World::new();
    let home = world.sandbox.path("tmp/new/home");
    at_home(&world, &["token"]).env("HOME", &home).run().succeeds().quietly();
    for directory in ["tmp/new", "tmp/new/home", "tmp/new/home/.cache", "tmp/new/home/.cache/ycred"] {
        assert_eq!(mode(&world.sandbox.path(directory)), 0o700, "{directory}");
    }
    world.is_a_hit(at_home(&world, &["token"]).env("HOME", &home));
}

/// A script in a mount namespace where root's own home and `/run` are empty and gone afterwards.
fn in_a_sealed_root(world: &World, script: &str) -> Call {
    let script = format!(
        "set -e; home=$(getent passwd 0 | cut -d: -f6); mount -t tmpfs none \"$home\"; mount -t tmpfs none /run; {script}"
    );
    let words = ["-m", "--propagation", "private", "sh", "-c", &script, "sh", YCRED].map(OsString::from);
    let call = world.sandbox.call("unshare", words);
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
        let run = in_a_sealed_root(&world, &script).run().succeeds();
        let token = world.last_token();
        assert_eq!(run.stdout, format!("{token}\n{token}\n"), "{run}");
        assert!(run.stderr.lines().count() == 1 && run.stderr.ends_with(".json\n"), "{run}");
    }
    let home = world.sandbox.path("tmp/other-home");
    make_private(&home);
    let run =
        in_a_sealed_root(&world, "\"$1\" token; ls -A \"$home\" >&2").env("HOME", &home).run().succeeds().quietly();
    world.printed_a_token(&run);
    assert_eq!(records(&home.join(".cache/ycred")).len(), 1);
    nothing_was_written_here(&world);
}

#[test]
fn a_relative_home_is_ignored_and_nothing_is_written_to_the_current_directory() {
    if !require_root(&["unshare", "getent"]) {
        return;
    }
    let world = World::new();
    for home in [".", "home", "./x", "~"] {
        // Root without a home keeps its tokens in /run.
        let script = format!(
            "export HOME='{home}'; \"$1\" token; \"$1\" token; ls /run/ycred/v1/*.json >&2; ls -A \"$home\" >&2"
        );
        let run = in_a_sealed_root(&world, &script).run().succeeds();
        let token = world.last_token();
        assert_eq!(run.stdout, format!("{token}\n{token}\n"), "HOME={home}\n{run}");
        assert!(run.stderr.lines().count() == 1 && run.stderr.ends_with(".json\n"), "HOME={home}\n{run}");
        nothing_was_written_here(&world);
    }
    // systemd's directory goes before /run, the first of several, and only an absolute one counts.
    let given = world.sandbox.path("tmp/given");
    let list = format!("{}:/elsewhere", given.display());
    let run =
        in_a_sealed_root(&world, "export HOME=x; \"$1\" token; ls -A /run >&2").env("CACHE_DIRECTORY", list).run();
    world.printed_a_token(&run.succeeds().quietly());
    assert_eq!(records(&given).len(), 1);
    let run =
        in_a_sealed_root(&world, "export HOME=x; \"$1\" token; ls -A /run >&2").env("CACHE_DIRECTORY", "given").run();
    assert_eq!(run.succeeds().stderr, "ycred\n");
    nothing_was_written_here(&world);
}

#[test]
fn under_sudo_with_the_callers_home_nothing_is_created_and_one_warning_names_the_directory() {
    if !require_root(&["setpriv"]) {
        return;
    }
    let world = World::new();
    for prepared in ["", ".cache", ".cache/ycred", ".cache/ycred/v1"] {
        let commons = Commons::new(&world, NOBODY);
        let home = commons.path("home");
        let mut made = home.clone();
        for part in Path::new(prepared) {
            made.push(part);
            make_private(&made);
            chown(&made, Some(NOBODY), Some(NOBODY)).expect("given away");
        }
        let before = commons.contents("home");
        for _ in 0..2 {
            let run = at_home(&world, &["token"]).env("HOME", &home).run();
            is_unharmed(&world, &run, &home);
            assert!(run.stderr.contains("belongs to user 65534, not to 0"), "{prepared}\n{run}");
        }
        assert_eq!(commons.contents("home"), before, "{prepared}: something was created");
        // And the caller is not locked out.
        commons.call(&world, &["token"]).run().succeeds().quietly();
        world.is_a_hit(commons.call(&world, &["token"]));
        // Root does not read the caller's token either.
        let asked = world.requests();
        let run = at_home(&world, &["token"]).env("HOME", &home).run();
        is_unharmed(&world, &run, &home);
        assert_eq!(world.requests(), asked + 1);
        world.is_a_hit(commons.call(&world, &["token"]));
        let strangers: Vec<_> = commons.contents("home").into_iter().filter(|(_, owner)| *owner != NOBODY).collect();
        assert_eq!(strangers, []);
    }
}

#[test]
fn a_user_with_a_private_home_has_a_private_cache() {
    if !require_root(&["setpriv"]) {
        return;
    }
    let world = World::new();
    let commons = Commons::new(&world, NOBODY);
    commons.call(&world, &["token"]).run().succeeds().quietly();
    world.is_a_hit(commons.call(&world, &["token"]));
    let strangers: Vec<_> = commons.contents("home").into_iter().filter(|(_, owner)| *owner != NOBODY).collect();
    assert_eq!(strangers, []);
    assert_eq!(names(&commons.path("work")), Vec::<PathBuf>::new());
}

#[test]
fn a_user_without_a_usable_home_gets_the_token_and_one_warning() {
    if !require_root(&["setpriv"]) {
        return;
    }
    let world = World::new();
    let commons = Commons::new(&world, NOBODY);
    let foreign = commons.path("foreign");
    fs::create_dir(&foreign).expect("root's directory");
    let foreign = foreign.display().to_string();
    let roots = || ["/.cache", "/nonexistent"].map(|path| Path::new(path).exists());
    let at_the_root = roots();
    for (home, place) in [
        ("/", "/.cache/ycred"),
        ("/nonexistent", "/nonexistent"),
        ("/dev/null", "/dev/null"),
        (foreign.as_str(), foreign.as_str()),
        ("relative", "YCRED_CACHE_DIR"),
    ] {
        let run = commons.call(&world, &["token"]).env("HOME", home).run();
        is_unharmed(&world, &run, Path::new(place));
        assert!(!run.stderr.is_empty(), "HOME={home}\n{run}");
    }
    assert_eq!(names(Path::new(&foreign)), Vec::<PathBuf>::new());
    assert_eq!(roots(), at_the_root, "something was made at the root");
    assert_eq!(names(&commons.path("work")), Vec::<PathBuf>::new());
}

#[test]
fn a_user_missing_from_the_password_database_needs_no_home_and_can_use_systemds_cache_directory() {
    if !require_root(&["setpriv"]) {
        return;
    }
    let world = World::new();
    let commons = Commons::new(&world, STRANGER);
    let call = || commons.call(&world, &["token"]).without("HOME");
    let run = call().run();
    is_unharmed(&world, &run, Path::new("YCRED_CACHE_DIR"));
    assert!(run.stderr.contains("there is no home directory"), "{run}");
    fs::create_dir(commons.path("given")).expect("systemd's directory");
    commons.give("given", STRANGER);
    let given = || call().env("CACHE_DIRECTORY", commons.path("given"));
    given().run().succeeds().quietly();
    world.is_a_hit(given());
    // Without a configuration directory either, the machine's own profiles and the environment are left.
    let run = call().without("YCRED_CONFIG_DIR").env("YC_IAM_TOKEN", "t1.given.x").run();
    assert_eq!((run.status.code(), run.stdout.as_str(), run.stderr.as_str()), (Some(0), "t1.given.x\n", ""), "{run}");
    let run = call().without("YCRED_CONFIG_DIR").run().exits(3);
    assert!(run.stderr.contains("/etc/ycred/default.toml"), "{run}");
    assert_eq!(names(&commons.path("work")), Vec::<PathBuf>::new());
}

#[test]
fn directory_variables_must_be_absolute_and_a_relative_cache_costs_no_token() {
    let world = World::new();
    for relative in ["cache", "./cache", "../cache", "~/cache"] {
        let run = world.ycred(&["token"]).env("YCRED_CACHE_DIR", relative).run();
        is_unharmed(&world, &run, Path::new("YCRED_CACHE_DIR must be an absolute path"));
        world.ycred(&["token"]).env("YCRED_CONFIG_DIR", relative).run().exits(2).stdout_is("");
        nothing_was_written_here(&world);
    }
}

#[test]
fn nothing_is_ever_written_to_the_current_directory() {
    let world = World::new();
    world.profile("other", "");
    let foul = world.sandbox.path("work");
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
    .map(|words| world.ycred(words).within(&foul))
    .collect();
    for call in calls {
        let run: Run = call.run();
        assert!(run.status.code().is_some_and(|code| code <= 3), "{run}");
        nothing_was_written_here(&world);
    }
}

#[test]
fn a_cache_directory_may_be_the_users_own_symlink() {
    let world = World::new();
    let (real, link) = (world.sandbox.path("tmp/real"), world.sandbox.path("tmp/link"));
    make_private(&real);
    symlink(&real, &link).expect("a link");
    world.ycred(&["token"]).env("YCRED_CACHE_DIR", &link).run().succeeds().quietly();
    assert_eq!(records(&real).len(), 1);
    world.is_a_hit(world.ycred(&["token"]).env("YCRED_CACHE_DIR", &link));
    world.is_a_hit(world.ycred(&["token"]).env("YCRED_CACHE_DIR", &real));
    assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
    // Also where the version's directory is one.
    let (other, inner) = (world.sandbox.path("tmp/other"), world.sandbox.path("tmp/cache"));
    make_private(&other);
    make_private(&inner);
    symlink(&other, inner.join("v1")).expect("a link");
    world.ycred(&["token"]).env("YCRED_CACHE_DIR", &inner).run().succeeds().quietly();
    world.is_a_hit(world.ycred(&["token"]).env("YCRED_CACHE_DIR", &inner));
    // A link that leads nowhere is not followed into making what it names.
    let dangling = world.sandbox.path("tmp/dangling");
    symlink(world.sandbox.path("tmp/nowhere"), &dangling).expect("a link");
    let run = world.ycred(&["token"]).env("YCRED_CACHE_DIR", &dangling).run();
    is_unharmed(&world, &run, &dangling);
    assert!(!run.stderr.is_empty() && !world.sandbox.path("tmp/nowhere").exists(), "{run}");
}

#[test]
fn a_symlink_into_another_users_directory_is_rejected() {
    if !require_root(&["setpriv"]) {
        return;
    }
    let world = World::new();
    let commons = Commons::new(&world, NOBODY);
    let link = world.sandbox.path("tmp/link");
    symlink(commons.path("home"), &link).expect("a link");
    let run = world.ycred(&["token"]).env("YCRED_CACHE_DIR", &link).run();
    is_unharmed(&world, &run, &link);
    assert!(run.stderr.contains("belongs to user 65534"), "{run}");
    assert_eq!(commons.contents("home"), []);
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
    world.ycred(&["token"]).run().succeeds().quietly();
    world.ycred(&["use", "other"]).run().succeeds().quietly().stdout_is("the default profile is now other\n");
    assert!(fs::symlink_metadata(config.join("default.toml")).expect("there").is_symlink());
    assert_eq!(fs::read_to_string(dotfiles.join("default.toml")).expect("there"), "use = \"other\"\n");
    assert_eq!(names(&dotfiles).len(), 1, "no litter beside it");
    let before = world.requests();
    world.ycred(&["token"]).run().succeeds().quietly();
    assert_eq!(world.requests(), before + 1, "another profile, another token");
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
    world.ycred(&["token"]).run().succeeds().quietly();
    if !require_root(&["setpriv"]) {
        return;
    }
    let commons = Commons::new(&world, NOBODY);
    commons.give("config/default.toml", STRANGER);
    let run = commons.call(&world, &["token"]).run().exits(3).stdout_is("");
    assert!(run.stderr.contains("belongs to another user (54321)"), "{run}");
    // Root's is as good as one's own; and root may use anybody's.
    commons.give("config/default.toml", 0);
    commons.call(&world, &["token"]).run().succeeds().quietly();
    chown(&path, Some(NOBODY), Some(NOBODY)).expect("given away");
    world.ycred(&["token", "--no-cache"]).run().succeeds().quietly();
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
        std::os::unix::fs::chown(&path, Some(65534), Some(65534)).expect("given away");
    }
    world.ycred(&["logout"]).run().succeeds();
    world.ycred(&["logout", "--all"]).run().succeeds();
    let erase = "protocol=https\nhost=cr.yandex\nusername=iam\npassword=t1.abcdefgh.x\n";
    world.ycred(&["git", "erase"]).stdin(erase).run().succeeds();
    let left = world.sandbox.files("cache");
    assert!(left.is_empty(), "{left:?}");
}
