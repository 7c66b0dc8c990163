//! The first mistakes that people make, and what ycred says about them.

use std::fs;

use serde_json::json;

use crate::emulator::faults::Fault;
use crate::expect::{fails_with, fails_with_hint};
use crate::harness::Sandbox;
use crate::sources::person::Person;
use crate::world::World;

// -------------------------------------------------------------------------------------------------------------- profiles

#[test]
fn a_wrong_source_is_reported_before_any_other_key() {
    let sandbox = Sandbox::new();
    for (source, hint) in [
        ("authorised-key", "did you mean \"authorized-key\"?"),
        ("authorized_key", "did you mean \"authorized-key\"?"),
        ("service-account", "use one of authorized-key, oauth"),
        ("", "use one of authorized-key, oauth"),
    ] {
        let path =
            sandbox.profile("default", &format!("key-file = \"key.json\"\nnonsense = 1\nsource = \"{source}\"\n"));
        let run = sandbox.ycred(["token"]).run();
        fails_with_hint(run, 3, &[&format!("{}:3", path.display()), "source"], hint);
    }
    // No source at all: the keys are not to blame either, unless one is a misspelt `source`.
    sandbox.profile("default", "key-file = \"key.json\"\n");
    fails_with_hint(sandbox.ycred(["token"]).run(), 3, &["missing `source`"], "authorized-key, oauth");
    sandbox.profile("default", "sorce = \"authorized-key\"\nkey-file = \"key.json\"\n");
    fails_with_hint(sandbox.ycred(["token"]).run(), 3, &["default.toml:1", "`sorce`"], "did you mean `source`?");
}

#[test]
fn the_bare_name_of_a_file_is_a_path_only_where_a_path_is_accepted() {
    let sandbox = Sandbox::new();
    sandbox.static_profile("prod");
    for arguments in [&["token", "-p", "prod.toml"][..], &["status", "prod.toml"], &["refresh", "prod.toml"]] {
        let run = sandbox.ycred(arguments).run();
        assert!(format!("{}{}", run.stdout, run.stderr).contains("use ./prod.toml for the file, or prod for"), "{run}");
    }
    let both = [&["remove"][..], &["use"], &["rename", "prod"], &["init", "--metadata"]];
    for (arguments, name) in both.iter().flat_map(|both| [(both, "prod.toml"), (both, "./prod.toml")]) {
        let run = sandbox.ycred(arguments.iter().chain([&name])).run();
        fails_with_hint(run, 2, &["it looks like a file"], "use the name of the profile: prod");
    }
}

#[test]
fn suggestions_are_near_and_include_profile_names() {
    let sandbox = Sandbox::new();
    for name in ["prod-eu", "test"] {
        sandbox.static_profile(name);
    }
    let near = "did you mean prod-eu? To see all profiles, run `ycred list`";
    for arguments in
        [&["token", "-p", "prod-ue"][..], &["use", "prod-e"], &["refresh", "prodeu"], &["login", "prod-ev"]]
    {
        fails_with_hint(sandbox.ycred(arguments).run(), 3, &["no such file"], near);
    }
    fails_with_hint(sandbox.ycred(["token", "-p", "production"]).run(), 3, &["no such file"], "list your profiles");
    // Other commands are not near, although a few letters agree.
    for typed in ["get-token", "delete", "whoami", "clear", "show"] {
        let run = sandbox.ycred([typed]).run();
        assert!(!run.stderr.contains("did you mean"), "{run}");
        fails_with_hint(run, 2, &[typed], "`ycred --help` lists commands and flags");
    }
    for (typed, known) in
        [("tokn", "token"), ("kubctl", "kubectl"), ("complettions", "completions"), ("lgoin", "login")]
    {
        fails_with_hint(sandbox.ycred([typed]).run(), 2, &[typed], &format!("did you mean {known}?"));
    }
    fails_with_hint(sandbox.ycred(["list", "--timout", "2s"]).run(), 2, &["--timout"], "did you mean --timeout?");
}

#[test]
fn list_has_broken_in_its_column_and_the_reason_below() {
    let sandbox = Sandbox::new();
    sandbox.static_profile("good");
    sandbox.profile("bad", "source = \"authorized-key\"\nkey-fiel = \"x\"\n");
    sandbox.profile("worse", "what is this\n");
    let run = sandbox.ycred(["list"]).run().succeeds().stderr_is_empty();
    let lines: Vec<&str> = run.stdout.lines().collect();
    let columns: Vec<Vec<&str>> = lines[..3].iter().map(|line| line.split_whitespace().take(2).collect()).collect();
    assert_eq!(columns, [["bad", "broken"], ["good", "static"], ["worse", "broken"]], "{run}");
    assert!(lines[3].contains("bad.toml:2: unknown key `key-fiel`"), "{run}");
    assert!(lines[4].contains("worse.toml:1") && lines.len() == 5, "{run}");
}

// ------------------------------------------------------------------------------------------------------------- ycred init

#[test]
fn flags_of_the_run_are_not_written_into_the_profile() {
    let world = World::new();
    let key = world.sandbox.path("config/key.json");
    let arguments = ["init", "new", "--timeout", "9s", "--min-ttl", "5m", "--iam-url"];
    world.ycred(&arguments).and([world.emulator.url()]).and(["--key-file"]).and([key]).run().succeeds();
    let text = fs::read_to_string(world.sandbox.path("config/new.toml")).expect("the profile");
    assert!(!text.contains("timeout") && !text.contains("min-ttl"), "{text}");
}

#[test]
fn init_with_a_login_obeys_the_timeout_and_names_the_command_to_continue_with() {
    let person = Person::new();
    let (iam, auth) = (person.world.emulator.url(), person.world.emulator.auth_url());
    let arguments =
        ["init", "me", "--login", "--no-browser", "--timeout", "1s", "--iam-url", &iam, "--auth-url", &auth];
    let init = || person.world.sandbox.ycred(arguments).run().without_address();
    // Nobody signs in. Without the flag, this would take five minutes, more than the harness waits.
    fails_with_hint(init(), 4, &["me.toml: profile created, but the login failed"], "`ycred login me --force-refresh`");
    fails_with_hint(init(), 2, &["me.toml: profile already exists"], "to log in with it, run `ycred login me`");
    let sandbox = Sandbox::new();
    sandbox.static_profile("prod");
    let run = sandbox.ycred(["init", "prod", "--metadata"]).run();
    fails_with_hint(run, 2, &["already exists"], "to use it, run `ycred token --profile prod`");
}

// ------------------------------------------------------------------------------------------------------------- the cloud

#[test]
fn a_403_gets_a_hint_about_roles_and_a_401_one_about_the_key() {
    let world = World::new();
    world.emulator.fault(Fault::refuse(403).message("Permission denied").times(1));
    fails_with_hint(world.token(&[]).run(), 1, &["Permission denied"], "check the account's roles");
    let world = World::new();
    world.refuse();
    fails_with_hint(world.token(&[]).run(), 1, &["401"], "yc iam key list");
    let (oauth, _) = world.emulator.new_oauth();
    world.sandbox.file("config/oauth", oauth);
    let url = world.emulator.url();
    world
        .sandbox
        .profile("person", &format!("source = \"oauth\"\noauth-token-file = \"oauth\"\niam-url = \"{url}\"\n"));
    fails_with_hint(world.token(&["-p", "person"]).run(), 1, &["401"], "ycred init --key-file FILE");
}

#[test]
fn a_clock_that_is_hours_off_is_reported_in_hours_and_the_validity_is_the_clouds() {
    for (hours, phrase) in [(20, "this machine's clock is 20 h slow"), (-20, "20 h fast"), (-240, "10 days fast")] {
        let world = World::new();
        world.emulator.set(|settings| settings.clock_shift = time::Duration::hours(hours));
        let key = world.sandbox.path("config/key.json");
        let call =
            world.ycred(&["init", "new", "--iam-url"]).and([world.emulator.url()]).and(["--key-file"]).and([key]);
        let run = call.run().succeeds().stderr_has(phrase);
        assert!(run.stdout.contains("valid for 12h") || run.stdout.contains("valid for 11h 59m"), "{run}");
        let run = world.ycred(&["token", "-v", "-p", "new"]).run().succeeds();
        assert!(run.stderr.contains("12h left") || run.stderr.contains("11h 59m left"), "{run}");
    }
}

// -------------------------------------------------------------------------------------------------------- other commands

#[test]
fn import_accepts_dry_run_and_exec_explains_with_token() {
    let sandbox = Sandbox::new();
    let run = sandbox.ycred(["import", "--environment", "--dry-run"]).env("YC_METADATA_ADDR", "127.0.0.1:1").run();
    run.succeeds().stderr_is_empty().stdout_has("Nothing written. Run again with --write");
    assert!(sandbox.files("config").is_empty());
    let both =
        sandbox.ycred(["import", "--environment", "--dry-run", "--write"]).env("YC_METADATA_ADDR", "127.0.0.1:1");
    both.run().exits(2).stderr_has("--dry-run");
    assert!(sandbox.files("config").is_empty());
    let run = sandbox.ycred(["exec", "--with-token", "--", "true"]).run();
    fails_with_hint(run, 125, &["--with-token needs --serve"], "omit --with-token");
}

#[test]
fn a_wrong_path_in_the_key_variable_is_reported_with_the_variable() {
    let sandbox = Sandbox::new();
    let run = |value: &str| sandbox.ycred(["token"]).env("YC_SERVICE_ACCOUNT_KEY_FILE", value).run();
    let hint = "correct the variable YC_SERVICE_ACCOUNT_KEY_FILE";
    fails_with_hint(run("/nonexistent/key.json"), 3, &["YC_SERVICE_ACCOUNT_KEY_FILE", "no such file"], hint);
    // In a profile, the key is named.
    let path = sandbox.profile("default", "source = \"authorized-key\"\nkey-file = \"gone.json\"\n");
    let hint = format!("restore the file, or correct `key-file` in profile {}:2", path.display());
    let run = fails_with_hint(sandbox.ycred(["token"]).run(), 3, &["config/gone.json"], &hint);
    assert!(!run.contains("policy") && path.exists(), "{run}");
    let json = json!({"id": "x"}).to_string();
    let run =
        sandbox.ycred(["token"]).env("YCRED_CONFIG_DIR", sandbox.path("tmp")).env("YC_SERVICE_ACCOUNT_KEY_FILE", json);
    fails_with(run.run(), 3, &["YC_SERVICE_ACCOUNT_KEY_FILE"]);
}

#[test]
fn the_value_of_an_unknown_flag_does_not_hide_the_flag() {
    let sandbox = Sandbox::new();
    let run = sandbox.ycred(["token", "--profil", "prod"]).run().exits(2);
    run.stderr_has("unknown flag --profil\n").stderr_has("did you mean --profile?");
    // Without an unknown flag, it is an argument too many.
    sandbox.ycred(["token", "prod"]).run().exits(2).stderr_has("takes no arguments");
}
