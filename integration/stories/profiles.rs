//! Finding, judging and reading a profile.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use crate::expect::{handed, refused, refused_with_hint, warned};
use crate::harness::files::set_mode;
use crate::harness::{Call, Sandbox, YCRED, require_client, skip};
use crate::world::World;

/// A sandbox with a profile that needs no network, of this name, which gives `t1.NAME.x`.
fn give(sandbox: &Sandbox, name: &str) {
    sandbox.file(format!("config/{name}.token"), format!("t1.{name}.x\n"));
    sandbox.profile(name, &format!("source = \"static\"\ntoken-file = \"{name}.token\"\n"));
}

fn with(names: &[&str]) -> Sandbox {
    let sandbox = Sandbox::new();
    names.iter().for_each(|name| give(&sandbox, name));
    sandbox
}

fn token(sandbox: &Sandbox, words: &[&str]) -> Call {
    sandbox.ycred(["token"].iter().chain(words))
}

// ----------------------------------------------------------------------------------------------------- complaints

#[test]
fn every_complaint_about_a_profile_names_file_and_line() {
    let sandbox = Sandbox::new();
    for (toml, line, words) in [
        ("source = \"authorized-key\"\nkey-file = 1\n", 2, "`key-file` takes a text in quotes"),
        ("\n\nsource = \"nonsense\"\n", 3, "\"nonsense\" is not a source"),
        ("source = \"static\"\ntoken-env = \"X\"\ntimeout = \"soon\"\n", 3, "is not a duration"),
        ("source = \"static\"\ntoken-env = \"X\"\ntimeout = \"0s\"\n", 3, "timeout"),
        ("source = \"static\"\ntoken-env = \"X\"\n\nhosts = [1]\n", 4, "a list holds texts"),
        ("source = \"static\"\ntoken-env = \"X\"\nhosts = [\"http://x/y\"]\n", 3, "hosts"),
        ("source = \"static\"\ntoken-env = \"X\"\nhosts = [\"*.com\"]\n", 3, "hosts"),
        ("source = \"static\"\ntoken-env = \"X\"\ncache = \"maybe\"\n", 3, "neither \"file\" nor \"none\""),
        ("source = \"static\"\ntoken-env = \"X\"\nendpoint = \"https://x\"\n", 3, "endpoint"),
        ("source = \"static\"\ntoken-env = \"\"\n", 2, "is empty"),
        ("source = \"static\"\ntoken-env = [\"A\"]\n", 2, "takes one text"),
        ("source = \"static\"\ntoken-env = \"X\"\nkey-file = \"k\"\n", 3, "belongs to source \"authorized-key\""),
        ("source = \"static\"\n[token-env]\nx = 1\n", 2, "token-env"),
        ("source = \"static\"\nsource = \"oauth\"\n", 2, ""),
        ("source = \"static\ntoken-env = 1\n", 1, ""),
        ("what is this\n", 1, ""),
    ] {
        let path = sandbox.profile("default", toml);
        let place = format!("{}:{line}", path.display());
        let run = token(&sandbox, &[]).run();
        refused(run, 3, &[&place, words]);
    }
    for (toml, words) in
        [("", "has no `source`"), ("source = \"static\"\n", "token-file"), ("source = \"command\"\n", "`command`")]
    {
        let path = sandbox.profile("default", toml);
        refused(token(&sandbox, &[]).run(), 3, &[&path.to_string_lossy(), words]);
    }
    sandbox.file("config/default.toml", b"# \xff\nsource = \"static\"\n".as_slice());
    refused(token(&sandbox, &[]).run(), 3, &["default.toml:1", "not UTF-8"]);
}

#[test]
fn a_mistyped_key_or_source_gets_the_nearest_known_one() {
    let sandbox = Sandbox::new();
    for (typed, known) in [
        ("keyfile", "key-file"),
        ("key_file", "key-file"),
        ("key-fiel", "key-file"),
        ("time-out", "timeout"),
        ("host", "hosts"),
        ("min_ttl", "min-ttl"),
        ("impersonat", "impersonate"),
        ("iam_url", "iam-url"),
    ] {
        sandbox.profile("default", &format!("source = \"authorized-key\"\n{typed} = \"x\"\n"));
        let run = token(&sandbox, &[]).run();
        refused_with_hint(run, 3, &["default.toml:2", &format!("`{typed}`")], &format!("did you mean `{known}`?"));
    }
    sandbox.profile("default", "source = \"authorised-key\"\n");
    refused_with_hint(token(&sandbox, &[]).run(), 3, &["default.toml:1"], "did you mean \"authorized-key\"?");
    sandbox.profile("default", "source = \"static\"\npassword = \"hunter22hunter22\"\n");
    refused(token(&sandbox, &[]).run().never_says("hunter22"), 3, &["default.toml:2", "`password`"]);
}

// -------------------------------------------------------------------------------------------------------- aliases

#[test]
fn an_alias_stands_for_the_profile_that_it_names() {
    let world = World::new();
    let token = world.get();
    world.sandbox.profile("prod", &world.settings());
    world.sandbox.profile("default", "use = \"prod\"\n");
    assert_eq!(world.get(), token, "and shares its entry");
    world.profile("test", "");
    world.sandbox.profile("default", "use = \"test\"\n");
    assert_ne!(world.get(), token);
    assert_eq!(world.requests(), 2);
}

#[test]
fn an_alias_stands_alone_names_one_that_is_there_and_goes_one_step() {
    let sandbox = with(&["prod"]);
    sandbox.profile("a", "use = \"b\"\n");
    sandbox.profile("b", "use = \"prod\"\n");
    handed(token(&sandbox, &["-p", "b"]).run());
    refused(token(&sandbox, &["-p", "a"]).run(), 3, &["config/b.toml:1", "alias of an alias"]);
    sandbox.profile("a", "use = \"a\"\n");
    refused(token(&sandbox, &["-p", "a"]).run(), 3, &["alias of an alias"]);
    sandbox.profile("a", "\nuse = \"prod\"\ntimeout = \"5s\"\n");
    refused(token(&sandbox, &["-p", "a"]).run(), 3, &["config/a.toml:2", "stands alone"]);
    sandbox.profile("a", "use = \"gone\"\n");
    refused(token(&sandbox, &["-p", "a"]).run(), 3, &["config/a.toml:1", "profile gone"]);
    sandbox.profile("a", "use = 1\n");
    refused(token(&sandbox, &["-p", "a"]).run(), 3, &["config/a.toml:1"]);
    for path in ["./prod", "/etc/passwd", "../config/prod", "prod.toml"] {
        sandbox.profile("a", &format!("use = \"{path}\"\n"));
        refused(token(&sandbox, &["-p", "a"]).run(), 3, &["config/a.toml:1", path]);
    }
}

#[test]
fn use_writes_the_default_alias_and_replaces_nothing_else() {
    let sandbox = with(&["prod", "test"]);
    for name in ["prod", "test"] {
        sandbox.ycred(["use", name]).run().exits(0).quietly();
        assert_eq!(handed(token(&sandbox, &[]).run()), format!("t1.{name}.x"));
    }
    give(&sandbox, "default");
    let before = fs::read(sandbox.path("config/default.toml")).expect("the profile");
    let run = sandbox.ycred(["use", "prod"]).run().fails();
    assert_eq!(run.lines_of_stderr("ycred: error: ").len(), 1, "{run}");
    assert_eq!(fs::read(sandbox.path("config/default.toml")).expect("the profile"), before);
}

// ---------------------------------------------------------------------------------------------------------- trust

#[test]
fn a_profile_that_anyone_may_write_is_refused_with_the_chmod() {
    let sandbox = with(&["default"]);
    let path = sandbox.path("config/default.toml");
    set_mode(&path, 0o666);
    let chmod = format!("chmod o-w {}", path.display());
    refused_with_hint(token(&sandbox, &[]).run(), 3, &[&path.to_string_lossy(), "anyone may write it"], &chmod);
    // The hint mends it.
    let run = sandbox.call("sh", ["-c", &chmod]).run().exits(0);
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o664, "{run}");
    handed(token(&sandbox, &[]).run());
    // A link in its place is judged by what it leads to.
    fs::rename(&path, sandbox.path("config/elsewhere")).expect("moved");
    std::os::unix::fs::symlink("elsewhere", &path).expect("a link");
    handed(token(&sandbox, &[]).run());
    set_mode(&sandbox.path("config/elsewhere"), 0o602);
    refused(token(&sandbox, &[]).run(), 3, &["anyone may write it"]);
}

#[test]
fn a_profile_of_another_ordinary_user_is_refused_and_one_of_root_is_not() {
    let Some(setpriv) = require_client("setpriv") else { return };
    let sandbox = with(&["own", "foreign", "roots"]);
    let work = sandbox.path("work");
    if fs::metadata(&work).expect("there").uid() != 0 {
        return skip("only root can become two other users");
    }
    let (us, other) = (64_100, 64_101);
    let binary = sandbox.path("bin/ycred");
    fs::copy(YCRED, &binary).expect("a copy that everybody may run");
    for path in ["", "bin", "bin/ycred", "config", "work", "home"] {
        set_mode(&sandbox.path(path), 0o755);
    }
    for (name, owner) in [("own", us), ("foreign", other), ("roots", 0)] {
        for ending in ["toml", "token"] {
            let path = sandbox.path(format!("config/{name}.{ending}"));
            set_mode(&path, 0o644);
            std::os::unix::fs::chown(&path, Some(owner), None).expect("root may");
        }
    }
    let id = (format!("--reuid={us}"), format!("--regid={us}"));
    let call = |name: &str| {
        let words = [id.0.as_ref(), id.1.as_ref(), "--clear-groups".as_ref(), binary.as_os_str()];
        let words = words.into_iter().chain(["token", "-p", name].map(AsRef::as_ref));
        sandbox.call(&setpriv, words.map(OsString::from)).without("YCRED_CACHE_DIR").run()
    };
    assert!(call("own").exits(0).stdout.starts_with("t1.own."));
    assert!(call("roots").exits(0).stdout.starts_with("t1.roots."));
    let words = ["config/foreign.toml", "belongs to another user (64101)"];
    refused_with_hint(call("foreign"), 3, &words, "sudo chown");
    // Root may use everybody's.
    handed(token(&sandbox, &["-p", "foreign"]).run());
}

#[test]
fn what_is_no_regular_file_is_no_profile() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("config/default.toml")).expect("a directory");
    refused(token(&sandbox, &[]).run(), 3, &["default.toml", "not a regular file"]);
    let fifo = sandbox.path("config/fifo.toml");
    sandbox.call("mkfifo", [&fifo]).run().exits(0);
    refused(token(&sandbox, &["-p", "fifo"]).run(), 3, &["fifo.toml", "not a regular file"]);
    sandbox.profile("huge", &"# padding\n".repeat(30_000));
    refused(token(&sandbox, &["-p", "huge"]).run(), 3, &["huge.toml", "larger"]);
}

// ------------------------------------------------------------------------------------------------- names and paths

#[test]
fn a_profile_with_a_slash_is_a_path_and_without_one_a_name() {
    let sandbox = with(&["prod"]);
    sandbox.file("work/here.toml", "source = \"static\"\ntoken-file = \"here.token\"\n");
    sandbox.file("work/here.token", "t1.here.x");
    sandbox.file("work/prod", "source = \"static\"\ntoken-file = \"here.token\"\n");
    assert_eq!(handed(token(&sandbox, &["-p", "prod"]).run()), "t1.prod.x");
    assert_eq!(handed(token(&sandbox, &["-p", "./here.toml"]).run()), "t1.here.x");
    assert_eq!(handed(token(&sandbox, &["--profile=./prod"]).run()), "t1.here.x");
    let path = sandbox.path("config/prod.toml");
    assert_eq!(handed(token(&sandbox, &["-p", &path.to_string_lossy()]).run()), "t1.prod.x");
    refused(token(&sandbox, &["-p", "./gone.toml"]).run(), 3, &["work/gone.toml", "no such file"]);
    refused_with_hint(token(&sandbox, &["-p", "gone"]).run(), 3, &["profile gone", "config/gone.toml"], "ycred list");
}

#[test]
fn a_bare_file_name_is_an_error_that_names_the_path() {
    let sandbox = with(&["x"]);
    refused_with_hint(token(&sandbox, &["-p", "x.toml"]).run(), 2, &["\"x.toml\""], "./x.toml");
    refused_with_hint(token(&sandbox, &[]).env("YCRED_PROFILE", "x.toml").run(), 2, &["YCRED_PROFILE"], "./x.toml");
}

#[test]
fn names_that_cannot_be_profiles_are_a_usage_error() {
    let sandbox = with(&["prod"]);
    let long = "x".repeat(64);
    for name in ["", "Prod", "-x", ".x", "a_b", "a b", "жук", "..", long.as_str()] {
        refused(token(&sandbox, &[&format!("--profile={name}")]).run(), 2, &["--profile"]);
    }
}

#[test]
fn a_symlinks_suffix_names_a_profile_and_never_a_path() {
    let sandbox = with(&["default", "prod"]);
    sandbox.file("work/docker-credential-ycred-x", "");
    let get = |name: &str| sandbox.call(sandbox.link(name), ["get"]).stdin("cr.yandex");
    get("docker-credential-ycred-prod").run().exits(0).quietly().stdout_has("t1.prod.x");
    get("docker-credential-ycred").run().exits(0).quietly().stdout_has("t1.default.x");
    get("docker-credential-ycred-gone").run().exits(3).stderr_has("profile gone");
    get("docker-credential-ycred-..").run().exits(2).stderr_has("is not a profile's name");
    // The suffix is nearer to the call than the variable, and the flag nearer than the suffix.
    let call = sandbox.call(sandbox.path("bin/docker-credential-ycred-prod"), ["get"]).stdin("cr.yandex");
    call.env("YCRED_PROFILE", "default").run().exits(0).stdout_has("t1.prod.x");
}

#[test]
fn the_flag_comes_before_the_variable_and_the_variable_before_the_default() {
    let sandbox = with(&["default", "prod", "test"]);
    let call = |words: &[&str]| token(&sandbox, words).env("YCRED_PROFILE", "prod").run();
    assert_eq!(handed(token(&sandbox, &[]).run()), "t1.default.x");
    assert_eq!(handed(call(&[])), "t1.prod.x");
    assert_eq!(handed(call(&["-p", "test"])), "t1.test.x");
    assert_eq!(handed(token(&sandbox, &[]).env("YCRED_PROFILE", "").run()), "t1.default.x", "empty is unset");
    let path = sandbox.path("config/test.toml");
    assert_eq!(handed(token(&sandbox, &[]).env("YCRED_PROFILE", path).run()), "t1.test.x");
    refused(token(&sandbox, &[]).env("YCRED_PROFILE", "gone").run(), 3, &["profile gone"]);
}

#[test]
fn paths_in_a_profile_start_at_the_profile_or_at_home() {
    let sandbox = Sandbox::new();
    sandbox.file("config/sub/rel.token", "t1.rel.x");
    sandbox.file("home/keys/home.token", "t1.home.x");
    sandbox.profile("rel", "source = \"static\"\ntoken-file = \"sub/rel.token\"\n");
    sandbox.profile("home", "source = \"static\"\ntoken-file = \"~/keys/home.token\"\n");
    assert_eq!(handed(token(&sandbox, &["-p", "rel"]).run()), "t1.rel.x");
    assert_eq!(handed(token(&sandbox, &["-p", "home"]).run()), "t1.home.x");
    let run = token(&sandbox, &["-p", "./rel.toml"]).within(sandbox.path("config")).run();
    assert_eq!(handed(run), "t1.rel.x");
}

// ---------------------------------------------------------------------------------------------------------- places

#[test]
fn the_configuration_directory_is_the_variables_then_xdgs_then_the_homes() {
    let sandbox = Sandbox::new();
    for (place, name) in [("config", "variable"), ("tmp/xdg/ycred", "xdg"), ("home/.config/ycred", "home")] {
        sandbox.file(format!("{place}/token"), format!("t1.{name}.x"));
        sandbox.file(format!("{place}/default.toml"), "source = \"static\"\ntoken-file = \"token\"\n");
    }
    let xdg = sandbox.path("tmp/xdg");
    let call = || token(&sandbox, &[]);
    assert_eq!(handed(call().env("XDG_CONFIG_HOME", &xdg).run()), "t1.variable.x");
    assert_eq!(handed(call().without("YCRED_CONFIG_DIR").env("XDG_CONFIG_HOME", &xdg).run()), "t1.xdg.x");
    assert_eq!(handed(call().without("YCRED_CONFIG_DIR").run()), "t1.home.x");
    let relative = call().without("YCRED_CONFIG_DIR").env("XDG_CONFIG_HOME", "tmp/xdg").within(sandbox.path(""));
    assert_eq!(handed(relative.run()), "t1.home.x", "a relative one is ignored, as its specification says");
    // Another directory's profile is not a fallback: the variable says where they are.
    fs::remove_file(sandbox.path("config/default.toml")).expect("removed");
    refused(call().run(), 3, &["no profile"]);
}

#[test]
fn what_init_cannot_make_is_not_written_and_that_is_said() {
    let sandbox = Sandbox::new();
    let key = sandbox.file("tmp/key.json", "{}");
    for (words, hint) in [
        (&["--static"][..], "--token-file FILE"),
        (&["--oauth"], "--oauth-token-file FILE"),
        (&["--authorized-key"], "--key-file PATH"),
        (&["--workload"], "--service-account-id ID"),
        (&["--key-file", "/nonexistent/key.json"], "check the path"),
        (&["--key-file", key.to_str().expect("plain text")], "yc iam key create"),
    ] {
        let run = sandbox.ycred([&["init", "new"], words].concat()).run();
        refused_with_hint(run, 3, &["profile not created: "], hint);
        assert!(!sandbox.path("config/new.toml").exists(), "{words:?}");
    }
}

#[test]
fn the_directories_of_the_machine_and_the_user_need_not_be_there() {
    let sandbox = Sandbox::new();
    fs::remove_dir(sandbox.path("config")).expect("removed");
    let run = token(&sandbox, &[]).run();
    refused_with_hint(run, 3, &["no profile", "config/default.toml", "/etc/ycred/default.toml"], "ycred init");
    refused(token(&sandbox, &["-p", "prod"]).run(), 3, &["config/prod.toml", "/etc/ycred/prod.toml"]);
    let run = token(&sandbox, &[]).without("HOME").without("YCRED_CONFIG_DIR").without("YCRED_CACHE_DIR").run();
    refused(run, 3, &["no profile"]);
}

#[test]
fn the_machines_profiles_come_after_the_users() {
    let Some(unshare) = require_client("unshare") else { return };
    let sandbox = with(&["both", "users"]);
    for name in ["both", "machines", "default"] {
        sandbox.file(format!("tmp/etc/{name}.token"), "t1.machine.x");
        sandbox.file(format!("tmp/etc/{name}.toml"), format!("source = \"static\"\ntoken-file = \"{name}.token\"\n"));
    }
    // An /etc of its own, which ends with the process.
    let script = "mount -t tmpfs tmpfs /etc && cp -a \"$0\" /etc/ycred || exit 99\nexec \"$@\"";
    let etc = sandbox.path("tmp/etc");
    let call = |words: &[&str]| {
        let before =
            ["-m", "sh", "-c", script].map(OsString::from).into_iter().chain([etc.clone().into(), YCRED.into()]);
        sandbox.call(&unshare, before.chain(["token"].iter().chain(words).map(OsString::from))).run()
    };
    if call(&[]).status.code().is_none_or(|code| matches!(code, 1 | 99)) {
        return skip("this user may not make a mount namespace");
    }
    assert_eq!(handed(call(&[])), "t1.machine.x", "the default, where the user has none");
    assert_eq!(handed(call(&["-p", "machines"])), "t1.machine.x");
    assert_eq!(handed(call(&["-p", "users"])), "t1.users.x");
    assert_eq!(handed(call(&["-p", "both"])), "t1.both.x");
}

#[test]
fn a_relative_configuration_directory_is_a_usage_error() {
    let sandbox = with(&["default"]);
    let run = token(&sandbox, &[]).env("YCRED_CONFIG_DIR", "config").within(sandbox.path("")).run();
    refused_with_hint(run, 2, &["YCRED_CONFIG_DIR", "absolute"], "absolute");
}

#[test]
fn a_relative_cache_directory_costs_a_warning_and_no_token_and_nothing_is_written() {
    let world = World::new();
    let call = || world.token(&[]).env("YCRED_CACHE_DIR", "kept");
    warned(call().run(), &["YCRED_CACHE_DIR", "absolute"]);
    assert_eq!(world.sandbox.files("work"), Vec::<std::path::PathBuf>::new());
    assert!(!world.sandbox.path("work/kept").exists());
    warned(call().run(), &["YCRED_CACHE_DIR"]);
    assert_eq!(world.requests(), 2);
}

#[test]
fn the_cache_is_in_xdgs_place_or_the_homes_and_private_from_the_start() {
    let world = World::new();
    let xdg = world.sandbox.path("tmp/xdg");
    handed(world.token(&[]).without("YCRED_CACHE_DIR").env("XDG_CACHE_HOME", &xdg).run());
    handed(world.token(&[]).without("YCRED_CACHE_DIR").run());
    for place in ["tmp/xdg/ycred", "home/.cache/ycred"] {
        let mode = |path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(world.sandbox.path(place).join("v1")), 0o700);
        let files = world.sandbox.files(place);
        assert_eq!(files.len(), 3, "{files:?}");
        assert!(files.into_iter().all(|path| mode(path) == 0o600));
    }
}

// -------------------------------------------------------------------------------------------------- not plain text

#[test]
fn arguments_and_variables_that_are_not_text_never_panic() {
    let sandbox = with(&["default"]);
    let foul = || OsString::from_vec(b"x\xff\xfe".to_vec());
    let call = |words: Vec<OsString>| sandbox.ycred(words).run();
    refused(call(vec!["token".into(), foul()]), 2, &["not plain text"]);
    refused(call(vec!["token".into(), "--profile".into(), foul()]), 2, &["--profile"]);
    refused(call(vec!["token".into(), "--min-ttl".into(), foul()]), 2, &["--min-ttl"]);
    refused(call(vec![foul()]), 2, &[]);
    refused(token(&sandbox, &[]).env("YCRED_PROFILE", foul()).run(), 2, &["YCRED_PROFILE"]);
    for name in ["YC_IAM_TOKEN", "YC_TOKEN", "YC_OAUTH_TOKEN", "YC_SERVICE_ACCOUNT_KEY_FILE", "YC_METADATA_ADDR"] {
        handed(token(&sandbox, &[]).env(name, foul()).run());
        let alone =
            token(&sandbox, &["--timeout", "2s"]).env(name, foul()).env("YCRED_CONFIG_DIR", sandbox.path("tmp"));
        refused(alone.run(), 3, &[]);
    }
    for name in ["YC_ENDPOINT", "YCRED_IMPERSONATE"] {
        let call = token(&sandbox, &[]).env(name, foul()).env("YCRED_CONFIG_DIR", sandbox.path("tmp"));
        refused(call.env("YC_IAM_TOKEN", "t1.a.b").run(), 3, &[name]);
    }
    for name in ["HOME", "XDG_CONFIG_HOME", "TMPDIR", "SHELL", "KUBERNETES_EXEC_INFO"] {
        handed(token(&sandbox, &[]).env(name, foul()).run());
    }
}

#[test]
fn paths_that_are_not_text_work() {
    let sandbox = Sandbox::new();
    let directory = sandbox.path("tmp").join(OsString::from_vec(b"caf\xe9".to_vec()));
    fs::create_dir(&directory).expect("a directory");
    fs::write(directory.join("x.toml"), "source = \"static\"\ntoken-file = \"token\"\n").expect("a profile");
    fs::write(directory.join("token"), "t1.odd.x").expect("a token");
    for path in ["x.toml", "token"] {
        set_mode(&directory.join(path), 0o600);
    }
    let words: Vec<OsString> = vec!["token".into(), "-p".into(), directory.join("x.toml").into()];
    assert_eq!(handed(sandbox.ycred(words).run()), "t1.odd.x");
    let call = token(&sandbox, &["-p", "x"]).env("YCRED_CONFIG_DIR", &directory);
    assert_eq!(handed(call.run()), "t1.odd.x");
    // The cache's place too.
    let world = World::new();
    let call = || world.token(&[]).env("YCRED_CACHE_DIR", directory.join("cache"));
    assert_eq!(handed(call().run()), handed(call().run()));
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_profile_that_is_a_link_to_nowhere_is_an_error_and_nothing_serves_in_its_place() {
    let world = World::bare(crate::emulator::Config::default());
    let link = world.sandbox.path("config/default.toml");
    std::os::unix::fs::symlink("/nonexistent/profile.toml", &link).expect("a link");
    let run = world.token(&[]).env("YC_IAM_TOKEN", "t1.of.environment").run();
    refused(run, 3, &["default.toml", "is a link to what is not there"]);
}

#[test]
fn a_fault_in_the_arguments_is_usage_whatever_word_is_among_them() {
    let world = World::new();
    // 125 belongs to `exec`; a profile of that name does not make this a call of it.
    world.sandbox.ycred(["--profile", "exec", "lst"]).run().exits(2).stdout_is("");
    world.sandbox.ycred(["exec", "--min-ttl", "soon", "--", "true"]).run().exits(125).stdout_is("");
    world.sandbox.ycred(["--timeout", "5", "exec", "--", "true"]).run().exits(125).stdout_is("");
    world.sandbox.ycred(["exec", "--nonesuch"]).run().exits(125).stdout_is("");
}
