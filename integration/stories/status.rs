//! `ycred status`: what it says in every state, and that it only looks.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::Value;

use ycred::base::secret::Secret;
use ycred::base::supplied_token::token_id;

use crate::emulator::Config;
use crate::emulator::faults::Fault;
use crate::expect::prints_token;
use crate::harness::machine::require_tracer;
use crate::harness::strace::{Step, traced};
use crate::harness::waiting::HOUR;
use crate::harness::{Call, Run, Sandbox, YCRED, require_client};
use crate::sources::person::Person;
use crate::stories::schema::assert_schema;
use crate::world::World;

/// Runs `status --json`, checks it against the schema, and returns it.
#[track_caller]
fn json(call: Call, code: i32) -> Value {
    let run = call.and(["--json"]).run().exits(code).stderr_is_empty();
    let json: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{run}"));
    assert_schema("status.json", &json);
    if json["profiles"].is_null() {
        assert_eq!(json["exit_code"], code, "{run}");
    }
    json
}

/// Runs `status` in its three forms. Checks the exit code, the state of the token, and the short line.
#[track_caller]
fn status(call: impl Fn(&[&str]) -> Call, code: i32, state: &str, short: &str) -> (Run, Value) {
    let json = json(call(&[]), code);
    assert_eq!(json["token"]["state"], state, "{json}");
    let line = call(&["--short"]).run().exits(code).stderr_is_empty();
    let expected = short.strip_suffix('…').map_or(line.stdout == short, |start| line.stdout.starts_with(start));
    assert!(expected && line.stdout.lines().count() <= 1, "expected {short:?}\n{line}");
    (call(&[]).run().exits(code).stderr_is_empty(), json)
}

fn of(world: &World) -> impl Fn(&[&str]) -> Call + '_ {
    |more: &[&str]| world.sandbox.ycred(["status"].iter().chain(more))
}

#[test]
fn every_age_of_a_token_has_a_state_an_expiry_and_the_account_from_the_record() {
    let world = World::new();
    let (run, before) = status(of(&world), 0, "none", "default expired\n");
    assert!(before["account"].is_null(), "the key file is not opened\n{run}");
    let token = world.get();
    let (run, fresh) = status(of(&world), 0, "fresh", "default 11h5…");
    let run = run.never_prints(&token);
    assert_eq!(fresh["account"]["id"], *world.key.service_account_id, "{run}");
    assert_eq!((&fresh["account"]["kind"], &fresh["account"]["name"]), (&"service-account".into(), &Value::Null));
    assert_eq!((&fresh["profile"], &fresh["source"]), (&"default".into(), &"authorized-key".into()));
    let (unix, left) = (&fresh["token"]["expires_at_unix"], fresh["token"]["seconds_left"].as_i64().expect("a number"));
    assert!((42_000..=43_200).contains(&left) && unix.as_i64().is_some_and(|unix| unix > 1_700_000_000), "{fresh}");
    for part in [
        &format!("account   service account {}\n", world.key.service_account_id),
        "token     fresh, 11h 5",
        "last      renewed 2",
    ] {
        assert!(run.stdout.contains(part), "{part}\n{run}");
    }
    // In the last tenth of its life one call renews it. In the last minute, each call fetches one first.
    world.age(11 * HOUR);
    let (run, _) = status(of(&world), 0, "refreshable", "default 5…");
    run.stdout_has("due for renewal");
    world.age(HOUR - Duration::from_secs(30));
    let (run, near) = status(of(&world), 0, "expired", "default …");
    assert!(near["token"]["usable"] == true && near["token"]["seconds_left"].as_i64().is_some_and(|left| left > 0));
    run.stdout_has("less than min-ttl");
    world.age(HOUR);
    let (run, past) = status(of(&world), 0, "expired", "default expired\n");
    assert!(past["token"]["usable"] == false && past["token"]["seconds_left"] == 0, "{past}");
    run.stdout_has("token     expired ").stdout_has(" ago (at 2");
    assert_eq!(world.requests(), 1, "it asks nobody");
}

#[test]
fn a_rejection_needs_a_person_until_something_changes_and_an_outage_passes() {
    let world = World::new();
    world.emulator.fault(Fault::refuse(401).message("no such key"));
    world.token(&[]).run().exits(1);
    let (run, json) = status(of(&world), 1, "none", "default refused\n");
    let failure = &json["last_failure"];
    assert!(failure["kind"] == "refused" && failure["request_id"].is_string(), "{json}");
    run.stdout_has("no such key").stdout_has("fix       check that the key exists");
    // However long ago that was.
    world.age(3 * HOUR);
    status(of(&world), 1, "none", "default refused\n");
    // Another key may be accepted.
    let key = world.emulator.new_service_account_key();
    key.write(world.sandbox.path("config/key.json")).expect("a key file");
    status(of(&world), 0, "none", "default expired\n");
    world.emulator.clear_faults();
    world.get();
    // A usable token is what hooks return, whatever failed last.
    world.emulator.fault(Fault::refuse(403));
    world.age(11 * HOUR + HOUR / 2);
    world.token(&[]).run().succeeds();
    let (_, json) = status(of(&world), 0, "refreshable", "default 2…");
    assert_eq!(json["last_failure"]["kind"], "refused", "{json}");
    world.emulator.clear_faults();
    world.age(HOUR);
    world.emulator.fault(Fault::refuse(503));
    world.token(&["--timeout", "2s"]).run().exits(4);
    let (run, _) = status(of(&world), 4, "none", "default expired\n");
    run.stdout_has("problem   ").stdout_has("503");
    world.age(Duration::from_secs(200));
    status(of(&world), 4, "none", "default expired\n");
    world.age(Duration::from_secs(100));
    status(of(&world), 0, "none", "default expired\n");
}

#[test]
fn a_wrong_profile_is_reported_on_stdout_with_3_and_no_profile_is_silent_in_a_prompt() {
    let world = World::new();
    world.get();
    fs::remove_file(world.sandbox.path("config/key.json")).expect("the key");
    let (run, json) = status(of(&world), 3, "none", "default broken\n");
    run.stdout_has("key.json: no such file");
    assert_eq!(json["error"]["kind"], "profile");
    world.sandbox.profile("prod", "source = \"authorised-key\"\n");
    world.sandbox.profile("default", "use = \"prod\"\n");
    let (run, json) = status(of(&world), 3, "none", "prod broken\n");
    run.stdout_has("prod.toml:1").stdout_has("did you mean \"authorized-key\"?");
    assert!(json["source"].is_null() && json["profile"] == "prod");
    let named = |name: &'static str| move |more: &[&str]| of_name(more, name);
    fn of_name(more: &[&str], name: &str) -> Call {
        let sandbox: &'static Sandbox = Box::leak(Box::new(Sandbox::new()));
        sandbox.ycred(["status", "-p", name].iter().chain(more))
    }
    status(named("gone"), 3, "none", "gone broken\n");
    status(named("Not/a name"), 3, "none", "…");
    let empty = Sandbox::new();
    json_of_nothing(&empty);
    empty.ycred(["status", "--short"]).run().succeeds().stdout_is("").stderr_is_empty();
    let several = Sandbox::with_profiles(&["a", "b"]);
    several.ycred(["status"]).run().exits(3).stdout_has("2 profiles and no default");
    several.ycred(["status", "--short"]).run().succeeds().stdout_is("").stderr_is_empty();
    // The configuration directory itself is wrong.
    let run = several.ycred(["status"]).env("YCRED_CONFIG_DIR", "relative").run().exits(3).stderr_is_empty();
    run.stdout_has("YCRED_CONFIG_DIR must be an absolute path");
    for wrong in [&["--short", "--all"][..], &["--all", "a"], &["--nope"], &["--short", "--verify"]] {
        several.ycred(["status"].iter().chain(wrong)).run().exits(2).stdout_is("");
    }
}

fn json_of_nothing(sandbox: &Sandbox) {
    let json = json(sandbox.ycred(["status"]), 3);
    assert!(json["profile"].is_null() && json["token"]["state"] == "none", "{json}");
}

#[test]
fn it_says_why_the_profile_serves() {
    let world = World::new();
    world.get();
    let alias = World::without_profile(Config::default());
    alias.profile("prod", "");
    let line = |call: Call| call.run().succeeds().stdout.lines().next().unwrap_or_default().to_owned();
    assert_eq!(line(of(&alias)(&[])), "profile   prod (the only profile)");
    alias.ycred(&["use", "prod"]).run().succeeds();
    let file = alias.sandbox.path("config/default.toml");
    assert_eq!(line(of(&alias)(&[])), format!("profile   prod (the default), alias in {}:1", file.display()));
    assert_eq!(line(of(&alias)(&["-p", "prod"])), "profile   prod (by --profile)");
    assert_eq!(line(of(&alias)(&[]).env("YCRED_PROFILE", "prod")), "profile   prod (by YCRED_PROFILE)");
    // Without a profile: the environment, which a prompt does not show.
    fs::remove_file(&file).expect("the alias");
    let call = |more: &[&str]| of(&alias)(more).env("YC_IAM_TOKEN", "t1.variable.x");
    assert_eq!(line(call(&[])), "profile   the environment (YC_IAM_TOKEN)");
    call(&["--short"]).run().succeeds().stdout_is("").stderr_is_empty();
    let json = json(call(&[]), 0);
    assert!(json["profile"].is_null() && json["source"] == "static" && json["selected_by"] == "YC_IAM_TOKEN");
}

#[test]
fn inside_exec_it_shows_the_supplied_token_until_it_expires() {
    let world = World::without_profile(Config::default());
    let (oauth, _) = world.emulator.new_oauth();
    let url = world.emulator.url();
    world.sandbox.profile("ci", &format!("source = \"oauth\"\noauth-token-env = \"JOB\"\niam-url = \"{url}\"\n"));
    let within = |script: &str| {
        let call = world.ycred(&["exec", "-p", "ci", "--", "sh", "-c", script]);
        call.env("JOB", oauth.as_str()).env("YCRED", YCRED).run()
    };
    let run = within("$YCRED status --short; $YCRED status").succeeds().never_prints(&oauth);
    assert!(
        run.stdout.starts_with("ci 11h5")
            && run.stdout.contains("supplied in YC_IAM_TOKEN by `ycred exec` or `ycred env`")
            && run.stdout.contains("source    the token in the variable YC_IAM_TOKEN\n"),
        "{run}"
    );
    let run = within("YCRED_EXPIRES_AT=2020-01-01T00:00:00Z $YCRED status --short; echo $?").succeeds();
    assert_eq!(run.stdout, "ci broken\n3\n", "{run}");
}

#[test]
fn a_login_is_active_over_or_missing() {
    let person = Person::new();
    let call = |more: &[&str]| person.world.sandbox.ycred(["status"].iter().chain(more));
    let (run, json) = status(call, 1, "none", "default login!\n");
    assert_eq!(json["login"]["state"], "none", "{run}");
    run.stdout_has("fix       ").stdout_has("ycred login");
    person.log_in();
    let (run, json) = status(call, 0, "fresh", "default …");
    assert!(json["login"]["state"] == "active" && json["login"]["renewable"] == true, "{run}");
    // A token of the login counts as cached also without a record.
    fs::remove_dir_all(person.world.sandbox.path("cache/v1")).ok();
    status(call, 0, "fresh", "default …");
    person.world.emulator.logins(|logins| logins.end_all());
    person.age(13 * HOUR);
    person.world.token(&[]).run().exits(1);
    let (run, json) = status(call, 1, "expired", "default login!\n");
    assert_eq!(json["login"]["state"], "over", "{run}");
}

#[test]
fn all_profiles_are_rows_and_the_exit_code_is_that_of_the_worst() {
    let world = World::new();
    world.get();
    let all = |more: &[&str]| world.sandbox.ycred(["status", "--all"].iter().chain(more));
    assert_eq!(json(all(&[]), 0)["profiles"].as_array().map(Vec::len), Some(1));
    world.sandbox.profile("alias", "use = \"default\"\n");
    world.profile("refused", "");
    world.emulator.fault(Fault::refuse(403));
    world.token(&["-p", "refused"]).run().exits(1);
    let rows = json(all(&[]), 1);
    let names: Vec<&str> =
        rows["profiles"].as_array().expect("rows").iter().filter_map(|row| row["profile"].as_str()).collect();
    assert_eq!(names, ["default", "refused"], "an alias is not a profile");
    world.sandbox.profile("broken", "source = 1\n");
    let run = all(&[]).run().exits(3).stderr_is_empty();
    assert_eq!(run.stdout.lines().count(), 3, "{run}");
    assert!(run.stdout.contains("* default") && run.stdout.contains("broken.toml:1"), "{run}");
    json(all(&[]), 3);
    Sandbox::new().ycred(["status", "--all"]).run().exits(3).stdout_has("no profiles in ");
}

#[test]
fn keys_clients_and_the_process_that_asks_are_shown() {
    let world = World::new();
    world.ycred(&["aws"]).run().succeeds();
    let kubeconfig = "apiVersion: v1\nkind: Config\nusers:\n- name: somebody\n  user:\n    exec:\n      apiVersion: \
                      client.authentication.k8s.io/v1\n      command: /usr/bin/ycred\n      args: [kubectl]\n";
    world.sandbox.file("home/.kube/config", kubeconfig);
    let (run, json) = status(of(&world), 0, "fresh", "default 1…");
    run.stdout_has("key       access key for Object Storage, session \"ycred\": 5")
        .stdout_has("clients   kubectl: user somebody");
    assert!(json["keys"][0]["session"] == "ycred" && json["clients"][0]["client"] == "kubectl", "{json}");
    let held = World::new();
    held.emulator.fault(Fault::held());
    let running = held.token(&[]).start();
    held.wait_for_requests(1);
    let run = of(&held)(&[]).run().succeeds();
    assert!(run.stdout.contains(&format!("now       process {} has been asking", running.id())), "{run}");
    held.emulator.clear_faults();
    running.finish().succeeds();
}

#[test]
fn verify_asks_for_the_name_which_is_then_remembered_and_reports_a_rejected_token() {
    let world = World::new();
    let verify = |code| world.ycred(&["status", "--verify"]).run().exits(code).stderr_is_empty();
    verify(0).stdout_has("may not look up its own name");
    world.emulator.set_name(&world.key.service_account_id, "deployer");
    verify(0)
        .stdout_has(&format!("accepts the token of service account {} \"deployer\"", world.key.service_account_id));
    let calls = world.emulator.calls();
    let (run, json) = status(of(&world), 0, "fresh", "default 1…");
    assert!(json["account"]["name"] == "deployer" && run.stdout.contains("\"deployer\""), "{run}");
    assert_eq!(world.emulator.calls(), calls);
    // The name outlives the token.
    world.token(&["--force-refresh"]).run().succeeds();
    assert_eq!(json_name(&world), "deployer");
    let token = world.get();
    world.ycred(&["revoke"]).run().succeeds();
    world.edit(|record| record["logged_out"] = false.into());
    world.emulator.fault(Fault::refuse(401));
    let run = verify(1).never_prints(&token);
    assert!(run.stdout.contains("verified  no: "), "{run}");
    // A verification without a token is printed once, too.
    let world = World::new();
    world.emulator.fault(Fault::refuse(401));
    let run = world.ycred(&["status", "--verify"]).run().exits(1).stderr_is_empty();
    let count = |label| run.stdout.matches(label).count();
    assert_eq!(["\nverified", "\nfix", "\nproblem", "\nfailure"].map(count), [1, 1, 0, 0], "{run}");
}

fn json_name(world: &World) -> Value {
    json(of(world)(&[]), 0)["account"]["name"].clone()
}

#[test]
fn it_takes_no_lock_opens_no_socket_and_no_secret_and_writes_nothing() {
    if !require_tracer() {
        return;
    }
    let world = World::new();
    for state in ["none", "fresh", "refused"] {
        match state {
            "fresh" => drop(world.get()),
            "refused" => world.edit(|record| record["retry_at"] = 0.into()),
            _ => {}
        }
        for arguments in [&["status"][..], &["status", "--short"], &["status", "--all", "--json"]] {
            let steps = Step::of(&world.sandbox, |strace| traced(&world.sandbox, strace, arguments));
            for step in &steps {
                let is_write = step.name == "write" && !step.line.starts_with("write(1");
                let opens_for_writing =
                    step.name == "openat" && (step.line.contains("O_WRONLY") || step.line.contains("O_CREAT"));
                let is_forbidden = matches!(
                    step.name.as_str(),
                    "socket" | "connect" | "flock" | "rename" | "mkdir" | "unlink" | "fchmod"
                );
                assert!(!is_write && !opens_for_writing && !is_forbidden, "{arguments:?}: {}", step.line);
                let opens_key = step.name == "openat" && step.line.contains("key.json");
                assert!(!opens_key, "{arguments:?}: {}", step.line);
            }
        }
    }
}

#[test]
fn it_works_without_a_home_and_with_closed_descriptors() {
    if require_client("bash").is_none() {
        return;
    }
    let world = World::new();
    world.get();
    for arguments in [&["status"][..], &["status", "--json"], &["status", "--short"], &["status", "--all"]] {
        let with = |call: Call, code: i32| call.run().exits(code);
        with(world.ycred(arguments).without("HOME"), 0);
        with(world.ycred(arguments).without("HOME").env("YCRED_CACHE_DIR", "relative"), 0);
        for closed in 1..8 {
            let redirections: String = [(1, " <&-"), (2, " >&-"), (4, " 2>&-")]
                .into_iter()
                .filter_map(|(bit, text)| (closed & bit != 0).then_some(text))
                .collect();
            let script = format!("\"$@\"{redirections}; exit $?");
            let call = world.sandbox.call("bash", ["-c", &script, "bash", YCRED].iter().chain(arguments));
            let run = with(call, 0);
            assert_eq!(run.stdout.is_empty(), closed & 2 != 0, "{redirections}\n{run}");
        }
    }
}

#[test]
fn the_short_line_has_no_escape_sequences_and_the_same_flags_as_the_other_parser() {
    let world = World::new();
    world.profile("prod", "");
    let line = |arguments: &[&str]| world.ycred(arguments).run().succeeds().stderr_is_empty().stdout;
    let expected = "prod expired\n";
    for arguments in [
        &["status", "--short", "-p", "prod"][..],
        &["-p", "prod", "status", "--short"],
        &["status", "prod", "--short"],
        &["status", "--profile=prod", "--short", "--no-cache"],
        &["status", "--short", "--short", "--min-ttl", "1h", "-pprod"],
    ] {
        assert_eq!(line(arguments), expected, "{arguments:?}");
    }
    let odd = world.sandbox.file("config/od\u{1b}[31md/x.toml", "source = 1\n");
    let run = world.ycred(&["status", "--short", "-p", &odd.to_string_lossy()]).run().exits(3);
    assert!(!run.stdout.contains('\u{1b}') && run.stdout.ends_with(" broken\n"), "{run}");
    world.ycred(&["status", "--short", "-h"]).run().succeeds().stdout_has("Usage: ycred status");
    world.ycred(&["status", "--short", "--timeout", "x"]).run().exits(2).stderr_has("--timeout");
}

#[test]
fn only_the_cloud_itself_rejects_a_token() {
    let world = World::new();
    world.get();
    world.emulator.fault(Fault::html().with_status(403));
    let run = world.ycred(&["status", "--verify"]).run().exits(4).stderr_is_empty();
    assert!(run.stdout.contains("verified  no: ") && !run.stdout.contains("accepts"), "{run}");
}

#[test]
fn a_failure_on_this_machine_is_one_of_the_profile_or_passes() {
    let world = World::without_profile(Config::default());
    let script =
        |name: &str| world.sandbox.profile("default", &format!("source = \"command\"\ncommand = [\"{name}\"]\n"));
    script("false");
    world.token(&[]).run().exits(1);
    status(of(&world), 4, "none", "default expired\n");
    world.age(2 * HOUR);
    status(of(&world), 0, "none", "default expired\n");
    let world = World::new();
    fs::write(world.sandbox.path("config/key.json"), "garbage").expect("a file");
    world.token(&[]).run().exits(3);
    status(of(&world), 3, "none", "default broken\n");
    fs::remove_file(world.sandbox.path("config/key.json")).expect("removed");
    fs::create_dir(world.sandbox.path("config/key.json")).expect("a directory");
    let (run, _) = status(of(&world), 3, "none", "default broken\n");
    run.stdout_has("is not a regular file");
    let sandbox = Sandbox::with_profiles(&["default"]);
    let text = fs::read_to_string(sandbox.path("config/default.toml")).expect("a profile");
    let file =
        text.lines().find_map(|line| line.strip_prefix("token-file = ")).expect("a token file").trim_matches('"');
    fs::write(sandbox.path("config").join(file), "").expect("a file");
    let run = sandbox.ycred(["status", "--short"]).run().exits(3);
    assert_eq!(run.stdout, "default broken\n");
}

#[test]
fn the_name_is_that_of_the_cause() {
    let sandbox = Sandbox::with_profiles(&["a"]);
    let call = |more: &[&str]| sandbox.ycred(["status"].iter().chain(more));
    let expired = |more: &[&str]| {
        let id = "YCRED_TOKEN_ID";
        call(more)
            .env("YC_IAM_TOKEN", "t1.old.x")
            .env(id, token_id(&Secret::new("t1.old.x".to_owned()), None))
            .env("YCRED_EXPIRES_AT", "2020-01-01T00:00:00Z")
    };
    assert!(json(expired(&[]), 3)["profile"].is_null());
    expired(&["--short"]).run().exits(3).stdout_is("YC_IAM_TOKEN broken\n");
    assert_eq!(json(expired(&["--all"]), 3)["profiles"].as_array().map(Vec::len), Some(2));
    let file = sandbox.path("config/a.toml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("chmod");
    assert_eq!(json(call(&[]), 3)["profile"], "a");
    call(&["--short"]).run().exits(3).stdout_is("a broken\n");
    let run = call(&["--all"]).env("YCRED_CONFIG_DIR", "/dev/null").run().exits(3);
    assert!(!run.stdout.contains("no profiles in"), "{run}");
    // What is not a name may be a secret.
    let run = call(&[]).env("YCRED_PROFILE", "hunter2passwordX").run().exits(3);
    assert!(!run.stdout.contains("hunter2") && !run.stderr.contains("hunter2"), "{run}");
}

#[test]
fn a_problem_is_printed_once_and_promises_no_token() {
    let world = World::new();
    world.emulator.fault(Fault::refuse(403));
    world.token(&[]).run().fails();
    let run = of(&world)(&[]).run().exits(1);
    let why = run.stdout.lines().find_map(|line| line.strip_prefix("problem   ")).expect("a problem");
    assert_eq!(run.stdout.matches(why).count(), 1, "{run}");
    assert!(run.stdout.contains("token     none is cached\n") && run.stdout.contains("fix       "), "{run}");
    let sandbox = Sandbox::new();
    sandbox.profile("default", "source = \"static\"\ntoken-file = \"missing\"\nimpersonate = \"aje1\"\n");
    let run = sandbox.ycred(["status"]).run().exits(3).stdout_has("problem   ");
    assert!(!run.stdout.contains("the next call"), "{run}");
}

#[test]
fn a_token_whose_key_file_is_gone_is_cached_but_not_used_until_the_file_is_back() {
    let world = World::new();
    let key = world.sandbox.path("config/key.json");
    let away = world.sandbox.path("tmp/key.json");
    fs::rename(&key, &away).expect("moved");
    let (run, _) = status(of(&world), 3, "none", "default broken\n");
    run.stdout_has("token     none is cached\n");
    fs::rename(&away, &key).expect("moved");
    let token = world.get();
    fs::rename(&key, &away).expect("moved");
    let (run, json) = status(of(&world), 3, "none", "default broken\n");
    let run = run.never_prints(&token).stdout_has("token     one is cached, 11h 5").stdout_has("no such file\n");
    run.stdout_has("not used while the file is missing; it is used again when the same file is back\n");
    assert_eq!(json["account"]["id"], *world.key.service_account_id, "{json}");
    fs::rename(&away, &key).expect("moved");
    status(of(&world), 0, "fresh", "default 11h5…");
    assert_eq!(prints_token(world.token(&[]).run()), token);
    // An expired one is of no use.
    world.age(13 * HOUR);
    fs::remove_file(&key).expect("removed");
    let (run, _) = status(of(&world), 3, "none", "default broken\n");
    run.stdout_has("token     none is cached\n");
    // Without the variable, nobody knows whose record it is.
    let sandbox = Sandbox::new();
    sandbox.profile("default", "source = \"oauth\"\noauth-token-env = \"TEST_TOKEN\"\n");
    sandbox.ycred(["status"]).run().exits(3).stdout_has("token     unknown, because of the problem below\n");
}

#[test]
fn a_failure_with_other_proxy_variables_says_so_and_is_no_problem_of_this_call() {
    let world = World::new();
    world.emulator.fault(Fault::html().with_status(502));
    // Loopback needs no proxy, so the variable decides nothing but the group.
    let with_proxy = |call: Call| call.env("HTTPS_PROXY", "http://proxy.example:1");
    with_proxy(world.token(&["--timeout", "2s"])).run().exits(4);
    with_proxy(of(&world)(&[])).run().exits(4).stdout_has("problem   ").stdout_has("502");
    let (run, json) = status(of(&world), 0, "none", "default expired\n");
    let failure = run.stdout.lines().find(|line| line.starts_with("failure   ")).expect("a failure");
    assert!(failure.contains("502") && failure.contains("s ago, with other proxy or certificate variables"), "{run}");
    assert!(!run.stdout.contains("problem") && !run.stdout.contains("fix  "), "{run}");
    assert_eq!(json["last_failure"]["kind"], "unavailable", "{json}");
    // What the cloud itself says does not depend on the way to it.
    let world = World::new();
    world.emulator.fault(Fault::refuse(403));
    with_proxy(world.token(&[])).run().exits(1);
    let (run, _) = status(of(&world), 1, "none", "default refused\n");
    assert!(!run.stdout.contains("other proxy"), "{run}");
}

#[test]
fn the_expiry_that_clients_see_stands_beside_the_clouds() {
    let world = World::new();
    world.get();
    let reply: Value = serde_json::from_str(&world.token(&["--format", "json"]).run().succeeds().stdout).expect("JSON");
    let told = reply["expires_at"].as_str().expect("a time");
    let json = json(of(&world)(&[]), 0);
    let real = json["token"]["expires_at"].as_str().expect("a time");
    assert_ne!(told, real);
    let expected = format!(" left (until {real}; to be safe, clients get {}), due for renewal", &told[11..]);
    of(&world)(&[]).run().exits(0).stdout_has(&expected);
}

#[test]
fn an_account_has_the_same_name_in_every_output() {
    let world = World::without_profile(Config::default());
    let account = format!("service account {}", world.key.service_account_id);
    let (file, url) = (world.sandbox.path("config/key.json"), world.emulator.url());
    let init = world.ycred(&["init", "default", "--iam-url", &url, "--key-file", file.to_str().expect("UTF-8")]);
    init.run().succeeds().stdout_has(&format!("default.toml: {account}; got a token"));
    of(&world)(&[]).run().exits(0).stdout_has(&format!("account   {account}\n"));
    world.ycred(&["doctor", "token"]).run().stdout_has(&format!("a token of {account}, valid"));
    world.ycred(&["logout"]).run().succeeds().stdout_has(&format!("the cached token of {account}, still valid"));
}

#[test]
fn clients_stand_under_the_profile_that_they_use() {
    let world = World::new();
    world.profile("prod", "");
    let user = |name: &str, arguments: &str| {
        format!(
            "- name: {name}\n  user:\n    exec:\n      apiVersion: client.authentication.k8s.io/v1\n      command: \
             /usr/bin/ycred\n      args: [{arguments}]\n"
        )
    };
    let users = user("plain", "kubectl") + &user("named", "kubectl, --profile, prod");
    world.sandbox.file("home/.kube/config", format!("apiVersion: v1\nkind: Config\nusers:\n{users}"));
    for (profile, expected) in [
        ("default", "kubectl: user plain; others use the profile prod; to see it: ycred status prod\n"),
        ("prod", "kubectl: user named; others use the profile default; to see it: ycred status default\n"),
        ("gone", "none uses this profile; others use the profiles default, prod; to see one: ycred status NAME\n"),
    ] {
        world.ycred(&["status", profile]).run().stdout_has(&format!("clients   {expected}"));
    }
}
