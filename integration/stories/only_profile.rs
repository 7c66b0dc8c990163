//! The only profile serves if there is no default, and `init` keeps it serving.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;

use crate::expect::{fails_with, fails_with_hint, prints_token};
use crate::harness::machine::require_tracer;
use crate::harness::strace::{Step, traced};
use crate::harness::{Sandbox, YCRED, require_client, skip};
use crate::world::World;

#[test]
fn the_only_profile_serves_without_a_default_and_aliases_do_not_count() {
    let sandbox = Sandbox::with_profiles(&["prod"]);
    let get = || prints_token(sandbox.ycred(["token"]).run());
    assert_eq!(get(), "t1.prod.x");
    sandbox.ycred(["list"]).run().succeeds().stdout_has("* prod");
    sandbox.ycred(["token", "-v"]).run().succeeds().stderr_has("profile prod (the only profile)");
    // These are not profiles, or only aliases of the one.
    sandbox.profile("short", "use = \"prod\"\n");
    sandbox.profile("dangling", "use = \"gone\"\n");
    for other in ["notes.txt", "Prod.toml", "old.toml.bak", ".hidden.toml", "prod.json"] {
        sandbox.file(format!("config/{other}"), "source = \"static\"\ntoken-file = \"prod.token\"\n");
    }
    fs::create_dir(sandbox.path("config/keys")).expect("a directory");
    assert_eq!(get(), "t1.prod.x");
    // A variable that selects a source comes first, and so does a default.
    assert_eq!(prints_token(sandbox.ycred(["token"]).env("YC_IAM_TOKEN", "t1.variable.x").run()), "t1.variable.x");
    sandbox.static_profile("default");
    assert_eq!(get(), "t1.default.x");
}

#[test]
fn several_profiles_without_a_default_are_an_error_that_counts_them() {
    let sandbox = Sandbox::with_profiles(&["prod", "test"]);
    sandbox.profile("short", "use = \"prod\"\n");
    let run = || sandbox.ycred(["token"]).run();
    fails_with_hint(run(), 3, &["2 profiles and no default: prod, test"], "ycred use NAME");
    sandbox.call(YCRED, ["docker", "get"]).stdin("cr.yandex").run().exits(3).stderr_has("2 profiles and no default");
    // A host that no built-in list has: not ours, and silent.
    sandbox.call(YCRED, ["docker", "get"]).stdin("example.com").run().exits(1).stderr_is_empty();
    for name in ["a", "b", "c", "d"] {
        sandbox.static_profile(name);
    }
    fails_with_hint(run(), 3, &["6 profiles and no default: a, b, c, d, prod, …"], "ycred use NAME");
    sandbox.ycred(["use", "test"]).run().succeeds();
    assert_eq!(prints_token(run()), "t1.test.x");
}

#[test]
fn a_profile_that_cannot_be_read_counts_and_a_directory_that_cannot_be_listed_is_an_error() {
    let sandbox = Sandbox::with_profiles(&["prod"]);
    let run = || sandbox.ycred(["token"]).run();
    sandbox.profile("broken", "use = 1\n");
    fails_with(run(), 3, &["2 profiles and no default"]);
    fs::remove_file(sandbox.path("config/broken.toml")).expect("removed");
    symlink("nowhere.toml", sandbox.path("config/dangling.toml")).expect("a link");
    fails_with(run(), 3, &["2 profiles and no default"]);
    fs::remove_file(sandbox.path("config/prod.toml")).expect("removed");
    fails_with(run(), 3, &["dangling.toml", "is a dangling symbolic link"]);
    // No other directory or variable serves in place of one that is there but unusable.
    let directory = |path: &str| sandbox.ycred(["token"]).env("YCRED_CONFIG_DIR", sandbox.path(path)).run();
    sandbox.file("tmp/file", "");
    fails_with(directory("tmp/file"), 3, &["tmp/file", "cannot list the profiles"]);
    symlink("nowhere", sandbox.path("tmp/dangling")).expect("a link");
    fails_with(directory("tmp/dangling"), 3, &["tmp/dangling"]);
    fails_with(directory("tmp/absent"), 3, &["no profile found"]);
    symlink("default-of-yesterday.toml", sandbox.path("config/default.toml")).expect("a link");
    fails_with(run(), 3, &["default.toml", "is a dangling symbolic link"]);
}

/// One rule for hooks and for `setup`, which writes the name of the profile.
#[test]
fn setup_counts_profiles_as_the_hooks_do() {
    let sandbox = Sandbox::with_profiles(&["prod"]);
    let kubeconfig = sandbox.file(
        "home/.kube/config",
        "users:\n- name: me\n  user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: yc, args: [k8s, create-token]}}\n",
    );
    let setup = || sandbox.ycred(["setup", "kubectl", "--user", "me", "--dry-run"]);
    setup().run().succeeds().stdout_has("ycred profile prod");
    sandbox.profile("short", "use = \"prod\"\n");
    setup().run().succeeds().stdout_has("ycred profile prod");
    sandbox.profile("broken", "use = 1\n");
    fails_with_hint(setup().run(), 2, &["2 profiles, and setup does not choose one"], "--profile prod");
    sandbox.file("tmp/file", "");
    let run = setup().env("YCRED_CONFIG_DIR", sandbox.path("tmp/file")).run();
    fails_with(run, 3, &["tmp/file", "cannot list the profiles"]);
    // A default that is a profile of its own is one of them, and can be the only one.
    for name in ["broken", "short", "prod"] {
        fs::remove_file(sandbox.path(format!("config/{name}.toml"))).expect("removed");
    }
    sandbox.static_profile("default");
    setup().run().succeeds().stdout_has("ycred profile default");
    assert!(fs::read_to_string(kubeconfig).expect("there").contains("command: yc"), "a dry run");
}

#[test]
fn a_variable_that_is_set_but_unusable_never_leads_to_the_only_profile() {
    let sandbox = Sandbox::with_profiles(&["prod"]);
    for (name, value) in [
        ("YC_SERVICE_ACCOUNT_KEY_FILE", "/nonexistent/key.json"),
        ("YC_SERVICE_ACCOUNT_KEY_FILE", "{}"),
        ("YC_IAM_TOKEN", "two words"),
        ("YC_TOKEN", "two words"),
        ("YC_OAUTH_TOKEN", "two words"),
        ("YCRED_SERVICE_ACCOUNT_ID", "aje0000000000000000a"),
        ("YCRED_SUBJECT_TOKEN_FILE", "token"),
        ("YCRED_IMPERSONATE", "aje0000000000000000a"),
        ("YC_METADATA_ADDR", "metadata.example.com"),
    ] {
        let run = sandbox.ycred(["token", "--timeout", "2s"]).env(name, value).run();
        fails_with(run, 3, &[name]);
    }
}

#[test]
fn the_hint_for_an_impersonation_without_a_source_leads_to_the_only_profile() {
    let sandbox = Sandbox::with_profiles(&["prod"]);
    let call = |arguments: &[&str]| sandbox.ycred(arguments).env("YCRED_IMPERSONATE", "aje0000000000000000a").run();
    let hint = "to use profile \"prod\", which ignores YCRED_IMPERSONATE, pass --profile prod";
    fails_with_hint(call(&["token"]), 3, &["no variable selects a credential source"], hint);
    call(&["token", "--profile", "prod"]).succeeds().stdout_is("t1.prod.x\n");
}

#[test]
fn an_empty_list_of_accounts_never_leads_to_the_account_of_the_source() {
    let sandbox = Sandbox::new();
    sandbox.file("config/prod.token", "t1.prod.x");
    sandbox.profile("prod", "source = \"static\"\ntoken-file = \"prod.token\"\nimpersonate = []\n");
    fails_with(sandbox.ycred(["token"]).run().stdout_is(""), 3, &["prod.toml:3: `impersonate` is empty"]);
}

#[test]
fn profiles_of_the_user_and_of_the_machine_count_together() {
    let Some(unshare) = require_client("unshare") else { return };
    let sandbox = Sandbox::new();
    for name in ["machine", "both"] {
        sandbox.file(format!("tmp/etc/{name}.token"), "t1.machine.x");
        sandbox.file(format!("tmp/{name}.toml"), format!("source = \"static\"\ntoken-file = \"{name}.token\"\n"));
    }
    // Mounts a private /etc, which disappears with the process.
    let script = "mount -t tmpfs tmpfs /etc && cp -a \"$0\" /etc/ycred || exit 99\nexec \"$@\"";
    let call = || {
        let arguments = ["-m", "sh", "-c", script].map(OsString::from).into_iter();
        sandbox.call(&unshare, arguments.chain([sandbox.path("tmp/etc").into(), YCRED.into(), "token".into()])).run()
    };
    fs::copy(sandbox.path("tmp/machine.toml"), sandbox.path("tmp/etc/machine.toml")).expect("a profile");
    if call().status.code().is_none_or(|code| matches!(code, 1 | 99)) {
        return skip("this user may not make a mount namespace");
    }
    assert_eq!(prints_token(call()), "t1.machine.x");
    fs::remove_dir(sandbox.path("config")).expect("removed");
    assert_eq!(prints_token(call()), "t1.machine.x", "the user's directory need not exist");
    sandbox.static_profile("users");
    fails_with(call(), 3, &["2 profiles and no default: machine, users"]);
    // One name in both places is one profile: the user's.
    for place in ["users.toml", "users.token"] {
        fs::remove_file(sandbox.path("config").join(place)).expect("removed");
    }
    sandbox.static_profile("machine");
    assert_eq!(prints_token(call()), "t1.machine.x");
    sandbox.file("config/machine.token", "t1.users.x");
    assert_eq!(prints_token(call()), "t1.users.x");
    // A default of the machine serves before the only profile.
    fs::copy(sandbox.path("tmp/both.toml"), sandbox.path("tmp/etc/default.toml")).expect("a profile");
    fs::copy(sandbox.path("tmp/etc/machine.token"), sandbox.path("tmp/etc/both.token")).expect("a token");
    assert_eq!(prints_token(call()), "t1.machine.x");
}

#[test]
fn a_directory_of_many_names_is_listed_to_its_end() {
    let sandbox = Sandbox::with_profiles(&["zz"]);
    for number in 0..3000 {
        fs::write(sandbox.path(format!("config/not-a-profile-{number}")), "").expect("a file");
    }
    assert_eq!(prints_token(sandbox.ycred(["token"]).run()), "t1.zz.x");
    sandbox.static_profile("second");
    fails_with(sandbox.ycred(["token"]).run(), 3, &["2 profiles and no default: second, zz"]);
}

#[test]
fn a_hit_makes_four_system_calls_more_through_an_alias_or_as_the_only_profile() {
    if !require_tracer() {
        return;
    }
    let world = World::new();
    world.get();
    let count = || {
        let steps = Step::of(&world.sandbox, |arguments| traced(&world.sandbox, arguments, &["kubectl"]));
        let lines: Vec<&str> = steps.iter().map(|step| step.line.as_str()).collect();
        let first = lines.iter().position(|line| line.starts_with("prctl(PR_SET_DUMPABLE")).expect("the first call");
        let last = lines.iter().position(|line| line.starts_with("write(1<")).expect("the reply");
        // A debug build of std asks for the flags of a descriptor before it closes it.
        let own = lines[first..=last].iter().filter(|line| !line.contains("F_GETFD"));
        let own: Vec<&str> = own.copied().collect();
        (own.len(), own.join("\n"))
    };
    let (direct, calls) = count();
    assert!(direct <= 12, "{direct}:\n{calls}");
    fs::rename(world.sandbox.path("config/default.toml"), world.sandbox.path("config/prod.toml")).expect("renamed");
    let (only, calls) = count();
    assert!(only <= direct + 4, "{only} as the only profile, {direct} otherwise:\n{calls}");
    world.sandbox.profile("default", "use = \"prod\"\n");
    let (alias, calls) = count();
    assert!(alias <= direct + 4, "{alias} through an alias, {direct} otherwise:\n{calls}");
    assert_eq!(world.requests(), 1);
}

// ----------------------------------------------------------------------------------------------------------------- init

/// Runs `ycred init` for a token file.
fn init(sandbox: &Sandbox, arguments: &[&str]) -> crate::harness::Run {
    let token = sandbox.file("tmp/token", "t1.new.x");
    sandbox.ycred(["init"].iter().chain(arguments)).and(["--token-file"]).and([token]).run()
}

#[test]
fn init_without_a_name_writes_main_and_makes_it_the_default() {
    let sandbox = Sandbox::new();
    init(&sandbox, &[]).succeeds().stdout_has("main.toml").stdout_has("the default profile is now main");
    let read = |name: &str| fs::read_to_string(sandbox.path("config").join(name)).expect("a profile");
    assert_eq!(read("default.toml"), "use = \"main\"\n");
    assert_eq!(prints_token(sandbox.ycred(["token"]).run()), "t1.new.x");
    // `use` works afterwards, and back.
    sandbox.static_profile("prod");
    for (name, token) in [("prod", "t1.prod.x"), ("main", "t1.new.x")] {
        sandbox.ycred(["use", name]).run().succeeds();
        assert_eq!(prints_token(sandbox.ycred(["token"]).run()), token);
    }
    let run = init(&sandbox, &[]);
    fails_with_hint(run, 2, &["main.toml", "already exists"], "--force");
    init(&sandbox, &["--force"]).succeeds();
    assert_eq!(read("default.toml"), "use = \"main\"\n");
}

#[test]
fn a_first_profile_serves_by_itself_and_keeps_serving_when_init_creates_a_second() {
    let sandbox = Sandbox::new();
    init(&sandbox, &["prod"]).succeeds();
    assert!(!sandbox.path("config/default.toml").exists());
    sandbox.file("tmp/token", "t1.other.x");
    let run = init(&sandbox, &["prod", "--force"]).succeeds();
    assert!(!sandbox.path("config/default.toml").exists(), "{run}");
    let run = init(&sandbox, &["test"]).succeeds();
    let run = run.stdout_has("the default profile is still prod; to change it: ycred use test");
    assert_eq!(fs::read_to_string(sandbox.path("config/default.toml")).expect("an alias"), "use = \"prod\"\n", "{run}");
    // A third one changes nothing, and says so. The default itself is not mentioned.
    let run = init(&sandbox, &["third"]).succeeds();
    let run = run.stdout_has("default.toml: the default profile is still prod; to change it: ycred use third\n");
    assert!(!init(&sandbox, &["prod", "--force"]).succeeds().stdout.contains("default"), "{run}");
    assert_eq!(fs::read_to_string(sandbox.path("config/default.toml")).expect("an alias"), "use = \"prod\"\n");
}

/// The commands in these lines work.
#[test]
fn init_names_the_default_that_stays_even_if_it_is_broken() {
    let sandbox = Sandbox::with_profiles(&["prod"]);
    sandbox.profile("default", "use = \"gone\"\n");
    let run = init(&sandbox, &["new"]).succeeds();
    let line = "the default profile is still gone, which cannot be used: ";
    run.stdout_has(line).stdout_has("; to change it: ycred use new\n");
    sandbox.ycred(["use", "new"]).run().succeeds();
    assert_eq!(prints_token(sandbox.ycred(["token"]).run()), "t1.new.x");
    // A default that is a profile itself is renamed first.
    sandbox.static_profile("default");
    let run = init(&sandbox, &["other"]).succeeds();
    run.stdout_has(
        "the default profile is still default; to change it: ycred rename default main, then ycred use other\n",
    );
    sandbox.ycred(["rename", "default", "main"]).run().succeeds();
    sandbox.ycred(["use", "other"]).run().succeeds();
    assert_eq!(prints_token(sandbox.ycred(["token"]).run()), "t1.new.x");
}

#[test]
fn init_without_a_name_leaves_the_account_of_an_only_profile_serving() {
    let sandbox = Sandbox::with_profiles(&["prod"]);
    init(&sandbox, &[]).succeeds().stdout_has("the default profile is still prod; to change it: ycred use main");
    assert_eq!(prints_token(sandbox.ycred(["token"]).run()), "t1.prod.x");
    // Several profiles without a default: nothing served before, so the new one does.
    let sandbox = Sandbox::with_profiles(&["prod", "test"]);
    init(&sandbox, &[]).succeeds().stdout_has("the default profile is now main");
    assert_eq!(prints_token(sandbox.ycred(["token"]).run()), "t1.new.x");
}

#[test]
fn init_never_touches_a_default_that_is_there() {
    let sandbox = Sandbox::with_profiles(&["default"]);
    let before = fs::read(sandbox.path("config/default.toml")).expect("a profile");
    init(&sandbox, &[]).succeeds();
    assert_eq!(fs::read(sandbox.path("config/default.toml")).expect("a profile"), before);
    assert_eq!(prints_token(sandbox.ycred(["token"]).run()), "t1.default.x");
    // A broken one stays as it is too.
    let sandbox = Sandbox::with_profiles(&["prod"]);
    sandbox.profile("default", "use = 1\n");
    init(&sandbox, &["test"]).succeeds();
    assert_eq!(fs::read_to_string(sandbox.path("config/default.toml")).expect("a profile"), "use = 1\n");
}

#[test]
fn import_keeps_an_only_profile_serving_too() {
    let sandbox = Sandbox::with_profiles(&["prod"]);
    let run = sandbox.ycred(["import", "--environment", "--write", "vm"]).env("YC_METADATA_ADDR", "127.0.0.1:1").run();
    run.succeeds().stdout_has("use = \"prod\"");
    assert_eq!(prints_token(sandbox.ycred(["token"]).run()), "t1.prod.x");
    let sandbox = Sandbox::new();
    let run = sandbox.ycred(["import", "--environment", "--write"]).env("YC_METADATA_ADDR", "127.0.0.1:1").run();
    run.succeeds().stdout_has("main.toml").stdout_has("use = \"main\"");
}
