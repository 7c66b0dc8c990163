//! How ycred finds, checks and reads profiles.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use crate::expect::{fails_with, fails_with_hint, prints_token, prints_token_with_warning};
use crate::harness::files::set_mode;
use crate::harness::{Call, Sandbox, YCRED, require_client, skip};
use crate::world::World;

fn token_call(sandbox: &Sandbox, arguments: &[&str]) -> Call {
    sandbox.ycred(["token"].iter().chain(arguments))
}

// -------------------------------------------------------------------------------------------------------------- errors

#[test]
fn every_error_in_a_profile_has_file_and_line() {
    let sandbox = Sandbox::new();
    for (toml, line, expected) in [
        ("source = \"authorized-key\"\nkey-file = 1\n", 2, "`key-file` must be a string in quotes"),
        ("\n\nsource = \"nonsense\"\n", 3, "\"nonsense\" is not a source"),
        ("source = \"static\"\ntoken-env = \"X\"\ntimeout = \"soon\"\n", 3, "is not a duration"),
        ("source = \"static\"\ntoken-env = \"X\"\ntimeout = \"0s\"\n", 3, "timeout"),
        ("source = \"static\"\ntoken-env = \"X\"\n\nhosts = [1]\n", 4, "must be a list of strings"),
        ("source = \"static\"\ntoken-env = \"X\"\nhosts = [\"http://x/y\"]\n", 3, "hosts"),
        ("source = \"static\"\ntoken-env = \"X\"\nhosts = [\"*.com\"]\n", 3, "hosts"),
        ("source = \"static\"\ntoken-env = \"X\"\ncache = \"maybe\"\n", 3, "must be \"file\" or \"none\""),
        ("source = \"static\"\ntoken-env = \"X\"\nendpoint = \"https://x\"\n", 3, "endpoint"),
        ("source = \"static\"\ntoken-env = \"\"\n", 2, "is empty"),
        ("source = \"static\"\ntoken-env = [\"A\"]\n", 2, "must be a string"),
        ("source = \"static\"\ntoken-env = \"X\"\nkey-file = \"k\"\n", 3, "is a key of source \"authorized-key\""),
        ("source = \"static\"\n[token-env]\nx = 1\n", 2, "token-env"),
        ("source = \"static\"\nsource = \"oauth\"\n", 2, ""),
        ("source = \"static\ntoken-env = 1\n", 1, ""),
        ("what is this\n", 1, ""),
    ] {
        let path = sandbox.profile("default", toml);
        let location = format!("{}:{line}", path.display());
        let run = token_call(&sandbox, &[]).run();
        fails_with(run, 3, &[&location, expected]);
    }
    for (toml, expected) in
        [("", "missing `source`"), ("source = \"static\"\n", "token-file"), ("source = \"command\"\n", "`command`")]
    {
        let path = sandbox.profile("default", toml);
        fails_with(token_call(&sandbox, &[]).run(), 3, &[&path.to_string_lossy(), expected]);
    }
    sandbox.file("config/default.toml", b"# \xff\nsource = \"static\"\n".as_slice());
    fails_with(token_call(&sandbox, &[]).run(), 3, &["default.toml:1", "not UTF-8"]);
}

#[test]
fn a_mistyped_key_or_source_gets_a_suggestion() {
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
        let run = token_call(&sandbox, &[]).run();
        fails_with_hint(run, 3, &["default.toml:2", &format!("`{typed}`")], &format!("did you mean `{known}`?"));
    }
    sandbox.profile("default", "source = \"authorised-key\"\n");
    fails_with_hint(token_call(&sandbox, &[]).run(), 3, &["default.toml:1"], "did you mean \"authorized-key\"?");
    sandbox.profile("default", "source = \"static\"\npassword = \"hunter22hunter22\"\n");
    fails_with(token_call(&sandbox, &[]).run().never_prints("hunter22"), 3, &["default.toml:2", "`password`"]);
}

// ------------------------------------------------------------------------------------------------------------- aliases

#[test]
fn an_alias_selects_the_profile_that_it_names() {
    let world = World::new();
    let token = world.get();
    world.sandbox.profile("prod", &world.settings());
    world.sandbox.profile("default", "use = \"prod\"\n");
    assert_eq!(world.get(), token, "the alias shares its cache record");
    world.profile("test", "");
    world.sandbox.profile("default", "use = \"test\"\n");
    assert_ne!(world.get(), token);
    assert_eq!(world.requests(), 2);
}

#[test]
fn an_alias_has_no_other_keys_and_names_an_existing_profile_directly() {
    let sandbox = Sandbox::with_profiles(&["prod"]);
    sandbox.profile("a", "use = \"b\"\n");
    sandbox.profile("b", "use = \"prod\"\n");
    prints_token(token_call(&sandbox, &["-p", "b"]).run());
    fails_with(token_call(&sandbox, &["-p", "a"]).run(), 3, &["config/b.toml:1", "alias of an alias"]);
    sandbox.profile("a", "use = \"a\"\n");
    fails_with(token_call(&sandbox, &["-p", "a"]).run(), 3, &["an alias of itself"]);
    sandbox.profile("a", "\nuse = \"prod\"\ntimeout = \"5s\"\n");
    fails_with(token_call(&sandbox, &["-p", "a"]).run(), 3, &["config/a.toml:2", "cannot contain other keys"]);
    sandbox.profile("a", "use = \"gone\"\n");
    fails_with(token_call(&sandbox, &["-p", "a"]).run(), 3, &["config/a.toml:1", "profile gone"]);
    sandbox.profile("a", "use = 1\n");
    fails_with(token_call(&sandbox, &["-p", "a"]).run(), 3, &["config/a.toml:1"]);
    for path in ["./prod", "/etc/passwd", "../config/prod", "prod.toml"] {
        sandbox.profile("a", &format!("use = \"{path}\"\n"));
        fails_with(token_call(&sandbox, &["-p", "a"]).run(), 3, &["config/a.toml:1", path]);
    }
}

#[test]
fn use_writes_the_default_alias_and_never_replaces_a_profile() {
    let sandbox = Sandbox::with_profiles(&["prod", "test"]);
    for name in ["prod", "test"] {
        sandbox.ycred(["use", name]).run().exits(0).stderr_is_empty();
        assert_eq!(prints_token(token_call(&sandbox, &[]).run()), format!("t1.{name}.x"));
    }
    sandbox.static_profile("default");
    let before = fs::read(sandbox.path("config/default.toml")).expect("the profile");
    let run = sandbox.ycred(["use", "prod"]).run().fails();
    assert_eq!(run.lines_of_stderr("ycred: error: ").len(), 1, "{run}");
    assert_eq!(fs::read(sandbox.path("config/default.toml")).expect("the profile"), before);
}

#[test]
fn use_names_the_clients_whose_account_changes_and_list_marks_a_broken_default() {
    let sandbox = Sandbox::with_profiles(&["prod", "test"]);
    sandbox.ycred(["use", "prod"]).run().exits(0).stdout_is("the default profile is now prod\n");
    let user = |name: &str, arguments: &str| {
        format!(
            "- name: {name}\n  user:\n    exec:\n      apiVersion: client.authentication.k8s.io/v1\n      command: \
             /usr/bin/ycred\n      args: [{arguments}]\n"
        )
    };
    let users = user("plain", "kubectl") + &user("named", "kubectl, --profile, prod");
    let users = users + &user("default", "kubectl, --profile, default");
    sandbox.file("home/.kube/config", format!("apiVersion: v1\nkind: Config\nusers:\n{users}"));
    sandbox.ycred(["use", "test"]).run().exits(0).stderr_is_empty().stdout_is(
        "the default profile is now test\nit serves these clients from now on: kubectl: user plain, user default\n\
         these clients name a profile and keep it: kubectl: user named\n",
    );
    // Nothing changes.
    sandbox.ycred(["use", "test"]).run().exits(0).stdout_is("the default profile is now test\n");
    let marked = || {
        let list = sandbox.ycred(["list"]).run().exits(0);
        let lines: Vec<String> = list.stdout.lines().filter(|line| line.starts_with('*')).map(str::to_owned).collect();
        assert_eq!(lines.len(), 1, "{list}");
        lines[0].split_whitespace().nth(1).expect("a name").to_owned()
    };
    assert_eq!(marked(), "test");
    sandbox.profile("test", "sourc = \"static\"\n");
    assert_eq!(marked(), "test");
    sandbox.profile("default", "use = \"gone\"\n");
    assert_eq!(marked(), "default");
    let run = sandbox.ycred(["list"]).env("YCRED_PROFILE", "tset").run().exits(0).stdout_has("YCRED_PROFILE");
    assert!(!run.stdout.contains('*') && run.stdout.contains("tset"), "no profile is in use\n{run}");
    sandbox.profile("default", "use = \"prod\"\n");
    let run = sandbox.ycred(["remove", "prod"]).run().exits(0);
    run.stdout_has("test is now the only profile")
        .stdout_has("it serves these clients from now on: kubectl: user plain\n")
        .stdout_has("user default still names the profile default; to change it: ycred setup kubectl --user default ");
}

#[test]
fn a_profile_that_is_not_usable_here_is_removed_without_its_tokens() {
    let sandbox = Sandbox::new();
    sandbox.profile("ci", "source = \"oauth\"\noauth-token-env = \"CI_TOKEN\"\n");
    let run = sandbox.ycred(["remove", "ci"]).run().exits(0);
    run.stdout_has("were not deleted: ycred cannot tell which they are, because the profile could not be used here");
}

// --------------------------------------------------------------------------------------------------------- permissions

#[test]
fn a_world_writable_profile_is_rejected_with_a_chmod_hint() {
    let sandbox = Sandbox::with_profiles(&["default"]);
    let path = sandbox.path("config/default.toml");
    set_mode(&path, 0o666);
    let chmod = format!("chmod o-w {}", path.display());
    fails_with_hint(token_call(&sandbox, &[]).run(), 3, &[&path.to_string_lossy(), "anyone may write it"], &chmod);
    // The command in the hint fixes it.
    let run = sandbox.call("sh", ["-c", &chmod]).run().exits(0);
    assert_eq!(fs::metadata(&path).expect("an existing file").permissions().mode() & 0o777, 0o664, "{run}");
    prints_token(token_call(&sandbox, &[]).run());
    // For a symlink, the mode of its target counts.
    fs::rename(&path, sandbox.path("config/elsewhere")).expect("moved");
    std::os::unix::fs::symlink("elsewhere", &path).expect("a link");
    prints_token(token_call(&sandbox, &[]).run());
    set_mode(&sandbox.path("config/elsewhere"), 0o602);
    fails_with(token_call(&sandbox, &[]).run(), 3, &["anyone may write it"]);
}

#[test]
fn a_profile_of_another_user_is_rejected_unless_root_owns_it() {
    let Some(setpriv) = require_client("setpriv") else { return };
    let sandbox = Sandbox::with_profiles(&["own", "foreign", "roots"]);
    let work = sandbox.path("work");
    if fs::metadata(&work).expect("an existing file").uid() != 0 {
        return skip("only root can become two other users");
    }
    let (us, other) = (64_100, 64_101);
    let binary = sandbox.path("bin/ycred");
    fs::copy(YCRED, &binary).expect("a copy of the program");
    for path in ["", "bin", "bin/ycred", "config", "work", "home"] {
        set_mode(&sandbox.path(path), 0o755);
    }
    for (name, owner) in [("own", us), ("foreign", other), ("roots", 0)] {
        for ending in ["toml", "token"] {
            let path = sandbox.path(format!("config/{name}.{ending}"));
            set_mode(&path, 0o644);
            std::os::unix::fs::chown(&path, Some(owner), None).expect("changed the owner");
        }
    }
    let id = (format!("--reuid={us}"), format!("--regid={us}"));
    let call = |name: &str| {
        let arguments = [id.0.as_ref(), id.1.as_ref(), "--clear-groups".as_ref(), binary.as_os_str()];
        let arguments = arguments.into_iter().chain(["token", "-p", name].map(AsRef::as_ref));
        sandbox.call(&setpriv, arguments.map(OsString::from)).without("YCRED_CACHE_DIR").run()
    };
    assert!(call("own").exits(0).stdout.starts_with("t1.own."));
    assert!(call("roots").exits(0).stdout.starts_with("t1.roots."));
    let expected = ["config/foreign.toml", "belongs to another user (64101)"];
    fails_with_hint(call("foreign"), 3, &expected, "install -m 600");
    // Root may use any user's profile.
    prints_token(token_call(&sandbox, &["-p", "foreign"]).run());
}

#[test]
fn a_profile_must_be_a_regular_file_of_limited_size() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("config/default.toml")).expect("a directory");
    fails_with(token_call(&sandbox, &[]).run(), 3, &["default.toml", "not a regular file"]);
    let fifo = sandbox.path("config/fifo.toml");
    sandbox.call("mkfifo", [&fifo]).run().exits(0);
    fails_with(token_call(&sandbox, &["-p", "fifo"]).run(), 3, &["fifo.toml", "not a regular file"]);
    sandbox.profile("huge", &"# padding\n".repeat(30_000));
    fails_with(token_call(&sandbox, &["-p", "huge"]).run(), 3, &["huge.toml", "larger"]);
}

// ----------------------------------------------------------------------------------------------------- names and paths

#[test]
fn a_profile_argument_with_a_slash_is_a_path_otherwise_a_name() {
    let sandbox = Sandbox::with_profiles(&["prod"]);
    sandbox.file("work/here.toml", "source = \"static\"\ntoken-file = \"here.token\"\n");
    sandbox.file("work/here.token", "t1.here.x");
    sandbox.file("work/prod", "source = \"static\"\ntoken-file = \"here.token\"\n");
    assert_eq!(prints_token(token_call(&sandbox, &["-p", "prod"]).run()), "t1.prod.x");
    assert_eq!(prints_token(token_call(&sandbox, &["-p", "./here.toml"]).run()), "t1.here.x");
    assert_eq!(prints_token(token_call(&sandbox, &["--profile=./prod"]).run()), "t1.here.x");
    let path = sandbox.path("config/prod.toml");
    assert_eq!(prints_token(token_call(&sandbox, &["-p", &path.to_string_lossy()]).run()), "t1.prod.x");
    fails_with(token_call(&sandbox, &["-p", "./gone.toml"]).run(), 3, &["work/gone.toml", "no such file"]);
    fails_with_hint(
        token_call(&sandbox, &["-p", "gone"]).run(),
        3,
        &["profile gone", "config/gone.toml"],
        "ycred list",
    );
}

#[test]
fn a_bare_file_name_is_an_error_and_the_hint_has_the_path() {
    let sandbox = Sandbox::with_profiles(&["x"]);
    fails_with_hint(token_call(&sandbox, &["-p", "x.toml"]).run(), 2, &["\"x.toml\""], "./x.toml");
    fails_with_hint(token_call(&sandbox, &[]).env("YCRED_PROFILE", "x.toml").run(), 2, &["YCRED_PROFILE"], "./x.toml");
}

#[test]
fn an_invalid_profile_name_is_a_usage_error() {
    let sandbox = Sandbox::with_profiles(&["prod"]);
    let long = "x".repeat(64);
    for name in ["", "Prod", "-x", ".x", "a_b", "a b", "жук", "..", long.as_str()] {
        fails_with(token_call(&sandbox, &[&format!("--profile={name}")]).run(), 2, &["--profile"]);
    }
}

#[test]
fn a_symlinks_suffix_names_a_profile_and_never_a_path() {
    let sandbox = Sandbox::with_profiles(&["default", "prod"]);
    sandbox.file("work/docker-credential-ycred-x", "");
    let get = |name: &str| sandbox.call(sandbox.link(name), ["get"]).stdin("cr.yandex");
    get("docker-credential-ycred-prod").run().exits(0).stderr_is_empty().stdout_has("t1.prod.x");
    get("docker-credential-ycred").run().exits(0).stderr_is_empty().stdout_has("t1.default.x");
    get("docker-credential-ycred-gone").run().exits(3).stderr_has("profile gone");
    get("docker-credential-ycred-..").run().exits(2).stderr_has("is not a profile name");
    // The suffix takes precedence over the variable.
    let call = sandbox.call(sandbox.path("bin/docker-credential-ycred-prod"), ["get"]).stdin("cr.yandex");
    call.env("YCRED_PROFILE", "default").run().exits(0).stdout_has("t1.prod.x");
}

#[test]
fn the_flag_overrides_the_variable_and_the_variable_overrides_the_default() {
    let sandbox = Sandbox::with_profiles(&["default", "prod", "test"]);
    let call = |arguments: &[&str]| token_call(&sandbox, arguments).env("YCRED_PROFILE", "prod").run();
    assert_eq!(prints_token(token_call(&sandbox, &[]).run()), "t1.default.x");
    assert_eq!(prints_token(call(&[])), "t1.prod.x");
    assert_eq!(prints_token(call(&["-p", "test"])), "t1.test.x");
    assert_eq!(
        prints_token(token_call(&sandbox, &[]).env("YCRED_PROFILE", "").run()),
        "t1.default.x",
        "empty is unset"
    );
    let path = sandbox.path("config/test.toml");
    assert_eq!(prints_token(token_call(&sandbox, &[]).env("YCRED_PROFILE", path).run()), "t1.test.x");
    fails_with(token_call(&sandbox, &[]).env("YCRED_PROFILE", "gone").run(), 3, &["profile gone"]);
}

#[test]
fn paths_in_a_profile_are_relative_to_its_directory_or_to_home() {
    let sandbox = Sandbox::new();
    sandbox.file("config/sub/rel.token", "t1.rel.x");
    sandbox.file("home/keys/home.token", "t1.home.x");
    sandbox.profile("rel", "source = \"static\"\ntoken-file = \"sub/rel.token\"\n");
    sandbox.profile("home", "source = \"static\"\ntoken-file = \"~/keys/home.token\"\n");
    assert_eq!(prints_token(token_call(&sandbox, &["-p", "rel"]).run()), "t1.rel.x");
    assert_eq!(prints_token(token_call(&sandbox, &["-p", "home"]).run()), "t1.home.x");
    let run = token_call(&sandbox, &["-p", "./rel.toml"]).within(sandbox.path("config")).run();
    assert_eq!(prints_token(run), "t1.rel.x");
}

// --------------------------------------------------------------------------------------------------------- directories

#[test]
fn the_configuration_directory_comes_from_the_variable_then_xdg_then_home() {
    let sandbox = Sandbox::new();
    for (place, name) in [("config", "variable"), ("tmp/xdg/ycred", "xdg"), ("home/.config/ycred", "home")] {
        sandbox.file(format!("{place}/token"), format!("t1.{name}.x"));
        sandbox.file(format!("{place}/default.toml"), "source = \"static\"\ntoken-file = \"token\"\n");
    }
    let xdg = sandbox.path("tmp/xdg");
    let call = || token_call(&sandbox, &[]);
    assert_eq!(prints_token(call().env("XDG_CONFIG_HOME", &xdg).run()), "t1.variable.x");
    assert_eq!(prints_token(call().without("YCRED_CONFIG_DIR").env("XDG_CONFIG_HOME", &xdg).run()), "t1.xdg.x");
    assert_eq!(prints_token(call().without("YCRED_CONFIG_DIR").run()), "t1.home.x");
    let relative = call().without("YCRED_CONFIG_DIR").env("XDG_CONFIG_HOME", "tmp/xdg").within(sandbox.path(""));
    assert_eq!(
        prints_token(relative.run()),
        "t1.home.x",
        "a relative directory is ignored, as the XDG specification requires"
    );
    // There is no fallback to another directory: the variable selects the only one.
    fs::remove_file(sandbox.path("config/default.toml")).expect("removed");
    fails_with(call().run(), 3, &["no profile"]);
}

#[test]
fn init_writes_nothing_if_it_cannot_create_the_profile() {
    let sandbox = Sandbox::new();
    let key = sandbox.file("tmp/key.json", "{}");
    for (arguments, hint) in [
        (&["--static"][..], "--token-file FILE"),
        (&["--oauth"], "--oauth-token-file FILE"),
        (&["--authorized-key"], "--key-file FILE"),
        (&["--workload"], "--service-account-id ID"),
        (&["--key-file", "/nonexistent/key.json"], "check the path"),
        (&["--key-file", key.to_str().expect("UTF-8")], "yc iam key create"),
    ] {
        let run = sandbox.ycred([&["init", "new"], arguments].concat()).run();
        fails_with_hint(run, 3, &["profile not created: "], hint);
        assert!(!sandbox.path("config/new.toml").exists(), "{arguments:?}");
    }
}

#[test]
fn the_configuration_directories_need_not_exist() {
    let sandbox = Sandbox::new();
    fs::remove_dir(sandbox.path("config")).expect("removed");
    let run = token_call(&sandbox, &[]).run();
    fails_with_hint(run, 3, &["no profile", "/config or /etc/ycred"], "ycred init");
    fails_with(token_call(&sandbox, &["-p", "prod"]).run(), 3, &["config/prod.toml", "/etc/ycred/prod.toml"]);
    let run = token_call(&sandbox, &[]).without("HOME").without("YCRED_CONFIG_DIR").without("YCRED_CACHE_DIR").run();
    fails_with(run, 3, &["no profile"]);
}

#[test]
fn the_users_profiles_override_the_machines() {
    let Some(unshare) = require_client("unshare") else { return };
    let sandbox = Sandbox::with_profiles(&["both", "users"]);
    for name in ["both", "machines", "default"] {
        sandbox.file(format!("tmp/etc/{name}.token"), "t1.machine.x");
        sandbox.file(format!("tmp/etc/{name}.toml"), format!("source = \"static\"\ntoken-file = \"{name}.token\"\n"));
    }
    // Mounts a private /etc, which disappears with the process.
    let script = "mount -t tmpfs tmpfs /etc && cp -a \"$0\" /etc/ycred || exit 99\nexec \"$@\"";
    let etc = sandbox.path("tmp/etc");
    let call = |arguments: &[&str]| {
        let before =
            ["-m", "sh", "-c", script].map(OsString::from).into_iter().chain([etc.clone().into(), YCRED.into()]);
        sandbox.call(&unshare, before.chain(["token"].iter().chain(arguments).map(OsString::from))).run()
    };
    if call(&[]).status.code().is_none_or(|code| matches!(code, 1 | 99)) {
        return skip("this user may not make a mount namespace");
    }
    assert_eq!(prints_token(call(&[])), "t1.machine.x", "the machine's default, since the user has none");
    assert_eq!(prints_token(call(&["-p", "machines"])), "t1.machine.x");
    assert_eq!(prints_token(call(&["-p", "users"])), "t1.users.x");
    assert_eq!(prints_token(call(&["-p", "both"])), "t1.both.x");
}

#[test]
fn a_relative_configuration_directory_is_a_usage_error() {
    let sandbox = Sandbox::with_profiles(&["default"]);
    let run = token_call(&sandbox, &[]).env("YCRED_CONFIG_DIR", "config").within(sandbox.path("")).run();
    fails_with_hint(run, 2, &["YCRED_CONFIG_DIR", "absolute"], "absolute");
}

#[test]
fn with_a_relative_cache_directory_a_token_is_fetched_with_a_warning_and_not_stored() {
    let world = World::new();
    let call = || world.token(&[]).env("YCRED_CACHE_DIR", "kept");
    prints_token_with_warning(call().run(), &["YCRED_CACHE_DIR", "absolute"]);
    assert_eq!(world.sandbox.files("work"), Vec::<std::path::PathBuf>::new());
    assert!(!world.sandbox.path("work/kept").exists());
    prints_token_with_warning(call().run(), &["YCRED_CACHE_DIR"]);
    assert_eq!(world.requests(), 2);
}

#[test]
fn the_cache_is_in_the_xdg_directory_or_home_and_is_private() {
    let world = World::new();
    let xdg = world.sandbox.path("tmp/xdg");
    prints_token(world.token(&[]).without("YCRED_CACHE_DIR").env("XDG_CACHE_HOME", &xdg).run());
    prints_token(world.token(&[]).without("YCRED_CACHE_DIR").run());
    for place in ["tmp/xdg/ycred", "home/.cache/ycred"] {
        let mode = |path| fs::metadata(path).expect("an existing file").permissions().mode() & 0o777;
        assert_eq!(mode(world.sandbox.path(place).join("v1")), 0o700);
        let files = world.sandbox.files(place);
        assert_eq!(files.len(), 3, "{files:?}");
        assert!(files.into_iter().all(|path| mode(path) == 0o600));
    }
}

// ----------------------------------------------------------------------------------------------------------- not UTF-8

#[test]
fn arguments_and_variables_that_are_not_utf8_never_panic() {
    let sandbox = Sandbox::with_profiles(&["default"]);
    let invalid = || OsString::from_vec(b"x\xff\xfe".to_vec());
    let call = |arguments: Vec<OsString>| sandbox.ycred(arguments).run();
    fails_with(call(vec!["token".into(), invalid()]), 2, &["not valid UTF-8"]);
    fails_with(call(vec!["token".into(), "--profile".into(), invalid()]), 2, &["--profile"]);
    fails_with(call(vec!["token".into(), "--min-ttl".into(), invalid()]), 2, &["--min-ttl"]);
    fails_with(call(vec![invalid()]), 2, &[]);
    fails_with(token_call(&sandbox, &[]).env("YCRED_PROFILE", invalid()).run(), 2, &["YCRED_PROFILE"]);
    for name in ["YC_IAM_TOKEN", "YC_TOKEN", "YC_OAUTH_TOKEN", "YC_SERVICE_ACCOUNT_KEY_FILE", "YC_METADATA_ADDR"] {
        prints_token(token_call(&sandbox, &[]).env(name, invalid()).run());
        let alone = token_call(&sandbox, &["--timeout", "2s"])
            .env(name, invalid())
            .env("YCRED_CONFIG_DIR", sandbox.path("tmp"));
        fails_with(alone.run(), 3, &[]);
    }
    for name in ["YC_ENDPOINT", "YCRED_IMPERSONATE"] {
        let call = token_call(&sandbox, &[]).env(name, invalid()).env("YCRED_CONFIG_DIR", sandbox.path("tmp"));
        fails_with(call.env("YC_IAM_TOKEN", "t1.a.b").run(), 3, &[name]);
    }
    for name in ["HOME", "XDG_CONFIG_HOME", "TMPDIR", "SHELL", "KUBERNETES_EXEC_INFO"] {
        prints_token(token_call(&sandbox, &[]).env(name, invalid()).run());
    }
}

#[test]
fn paths_that_are_not_utf8_work() {
    let sandbox = Sandbox::new();
    let directory = sandbox.path("tmp").join(OsString::from_vec(b"caf\xe9".to_vec()));
    fs::create_dir(&directory).expect("a directory");
    fs::write(directory.join("x.toml"), "source = \"static\"\ntoken-file = \"token\"\n").expect("a profile");
    fs::write(directory.join("token"), "t1.odd.x").expect("a token");
    for path in ["x.toml", "token"] {
        set_mode(&directory.join(path), 0o600);
    }
    let arguments: Vec<OsString> = vec!["token".into(), "-p".into(), directory.join("x.toml").into()];
    assert_eq!(prints_token(sandbox.ycred(arguments).run()), "t1.odd.x");
    let call = token_call(&sandbox, &["-p", "x"]).env("YCRED_CONFIG_DIR", &directory);
    assert_eq!(prints_token(call.run()), "t1.odd.x");
    // The cache directory too.
    let world = World::new();
    let call = || world.token(&[]).env("YCRED_CACHE_DIR", directory.join("cache"));
    assert_eq!(prints_token(call().run()), prints_token(call().run()));
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_profile_that_is_a_dangling_link_is_an_error_without_fallback() {
    let world = World::without_profile(crate::emulator::Config::default());
    let link = world.sandbox.path("config/default.toml");
    std::os::unix::fs::symlink("/nonexistent/profile.toml", &link).expect("a link");
    let run = world.token(&[]).env("YC_IAM_TOKEN", "t1.of.environment").run();
    fails_with(run, 3, &["default.toml", "is a dangling symbolic link"]);
}

#[test]
fn invalid_arguments_are_a_usage_error_even_with_a_profile_named_exec() {
    let world = World::new();
    // Only `exec` exits with 125. A profile named `exec` does not select that command.
    world.sandbox.ycred(["--profile", "exec", "lst"]).run().exits(2).stdout_is("");
    world.sandbox.ycred(["exec", "--min-ttl", "soon", "--", "true"]).run().exits(125).stdout_is("");
    world.sandbox.ycred(["--timeout", "5", "exec", "--", "true"]).run().exits(125).stdout_is("");
    world.sandbox.ycred(["exec", "--nonesuch"]).run().exits(125).stdout_is("");
}

#[test]
fn the_list_names_profiles_that_get_no_token_here() {
    let world = World::new();
    world.profile("stage", "");
    let key = fs::read_to_string(world.sandbox.path("config/stage.toml")).expect("a profile");
    let line = key.lines().find(|line| line.starts_with("key-file")).expect("a key").to_owned();
    world.sandbox.profile("stage", &key.replace(&line, "key-file = \"/nonexistent/key.json\""));
    world.sandbox.profile("ci", "source = \"static\"\ntoken-env = \"CI_TOKEN\"\n");
    let run = world.ycred(&["list"]).run().exits(0).stderr_is_empty();
    let row =
        |name: &str| run.stdout.lines().find(|line| line[2..].starts_with(&format!("{name} "))).unwrap_or_default();
    assert!(row("default").contains(" authorized-key "), "{run}");
    assert!(row("stage").contains(" unusable here ") && row("ci").contains(" unusable here "), "{run}");
    run.clone().stdout_has("stage: /nonexistent/key.json: no such file; details: ycred status stage\n");
    world.ycred(&["status", "stage"]).run().exits(3).stdout_has("fix       restore the file, or correct ");
    let run = world.ycred(&["list"]).env("CI_TOKEN", "t1.variable.x").run().exits(0);
    assert!(!run.stdout.contains("ci: "), "{run}");
}
