//! `ycred explain`: each key with its origin, and the same verdicts as those of the hooks.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use rand::seq::SliceRandom as _;
use rand::{Rng as _, thread_rng};
use serde_json::Value;
use ycred::profile::keys::COMMON_KEYS;
use ycred::sources::SOURCES;

use crate::emulator::Config;
use crate::emulator::faults::Fault;
use crate::harness::{Call, Sandbox, YCRED, require_client};
use crate::hooks::{has_token, programs};
use crate::stories::schema::assert_schema;
use crate::world::World;

/// Runs `explain --json`, checks it against the schema, and returns it.
#[track_caller]
fn explain(call: Call, code: i32) -> Value {
    let run = call.and(["--json"]).run().exits(code).stderr_is_empty();
    let json: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{run}"));
    assert_schema("explain.json", &json);
    json
}

fn key<'a>(json: &'a Value, name: &str) -> &'a Value {
    let mut keys = json["keys"].as_array().into_iter().flatten();
    keys.find(|key| key["key"] == name).unwrap_or_else(|| panic!("no key {name}: {json}"))
}

/// A profile of each source, without the cloud.
const PROFILES: &[(&str, &str)] = &[
    ("authorized-key", "key-file = \"key.json\""),
    ("oauth", "oauth-token-env = \"LANG\""),
    ("metadata", ""),
    ("workload", "service-account-id = \"aje1\"\nsubject-token-file = \"key.json\""),
    ("login", ""),
    ("command", "command = [\"true\", \"--password\", \"hunter22\"]"),
    ("static", "token-file = \"key.json\""),
];

#[test]
fn every_key_of_the_schema_is_explained_and_the_text_is_toml() {
    let sandbox = Sandbox::new();
    sandbox.file("config/key.json", "x");
    assert_eq!(PROFILES.len(), SOURCES.len());
    for (name, settings) in PROFILES {
        let source = SOURCES.iter().find(|source| source.name == *name).expect("a source");
        let path = sandbox.profile("default", &format!("source = \"{name}\"\n{settings}\nmin-ttl = \"90s\"\n"));
        let json = explain(sandbox.ycred(["explain"]), 0);
        let names: Vec<&str> =
            json["keys"].as_array().expect("keys").iter().filter_map(|key| key["key"].as_str()).collect();
        let schema: BTreeSet<&str> =
            COMMON_KEYS.iter().chain(source.keys).map(|key| key.name).chain(["source"]).collect();
        assert_eq!(names.iter().copied().collect::<BTreeSet<_>>(), schema, "{name}");
        assert_eq!(names.len(), schema.len(), "{name}: each key once");
        assert_eq!(key(&json, "source")["origin"]["place"], format!("{}:1", path.display()));
        assert_eq!((&key(&json, "min-ttl")["value"], &key(&json, "timeout")["value"]), (&"90s".into(), &"20s".into()));
        assert_eq!(key(&json, "timeout")["origin"]["kind"], "default");
        let run = sandbox.ycred(["explain"]).run().succeeds().stderr_is_empty().never_prints("hunter22");
        let table = toml::de::DeTable::parse(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{run}"));
        assert!(table.get_ref().contains_key("source"), "{run}");
        for key in names {
            assert!(run.stdout.contains(key), "{key}\n{run}");
        }
    }
}

#[test]
fn values_are_those_of_the_call_with_their_origins() {
    let world = World::new();
    world.configure("timeout = \"45s\"\nhosts = [\"git.example\"]\n");
    let file = world.sandbox.path("config/default.toml").display().to_string();
    let json = explain(world.ycred(&["explain", "--timeout", "5s", "--no-cache"]), 0);
    assert_eq!(key(&json, "timeout")["value"], "5s");
    assert_eq!(key(&json, "timeout")["origin"]["place"], "--timeout");
    assert_eq!(key(&json, "timeout")["note"], "in place of \"45s\" in the profile");
    assert_eq!(key(&json, "cache")["value"], "none");
    assert_eq!(key(&json, "hosts")["value"][0], "git.example");
    assert_eq!(key(&json, "hosts")["origin"]["place"], format!("{file}:5"));
    let path = world.sandbox.path("config/key.json").display().to_string();
    assert_eq!(
        (&key(&json, "key-file")["value"], &key(&json, "key-file")["note"]),
        (&path.into(), &"written as key.json".into())
    );
    assert_eq!(key(&json, "iam-url")["value"], world.emulator.url());
    // Without a profile: from variables, whose secrets are shown as their size.
    let bare = Sandbox::new();
    let json = explain(
        bare.ycred(["explain"]).env("YC_OAUTH_TOKEN", "y0_sixteen-bytes").env("YC_ENDPOINT", "api.yandexcloud.kz"),
        0,
    );
    assert_eq!(key(&json, "oauth-token-env")["note"], "set, 16 bytes");
    assert_eq!(key(&json, "endpoint")["origin"]["place"], "YC_ENDPOINT");
    let json = explain(bare.ycred(["explain"]).env("YC_METADATA_ADDR", "127.0.0.1:1"), 0);
    assert_eq!(key(&json, "metadata-addr")["origin"]["place"], "YC_METADATA_ADDR");
}

#[test]
fn the_proxy_is_shown_without_its_password_and_the_roots_are_counted() {
    let mut sandbox = Sandbox::new();
    sandbox.file("config/key.json", "x");
    sandbox.profile("default", "source = \"authorized-key\"\nkey-file = \"key.json\"\n");
    sandbox.set("HTTPS_PROXY", "http://me:pass-word-1@proxy.example:3128");
    let json = explain(sandbox.ycred(["explain"]), 0);
    assert_eq!(json["proxies"][0]["proxy"], "proxy.example:3128", "{json}");
    assert_eq!(json["proxies"][0]["variable"], "HTTPS_PROXY");
    assert!(json["roots"]["count"].as_u64().is_some_and(|count| count > 0), "{json}");
    let run = sandbox.ycred(["explain"]).run().succeeds().never_prints("pass-word-1");
    run.stdout_has("proxy.example:3128 (HTTPS_PROXY)");
    let run = sandbox.ycred(["explain"]).env("NO_PROXY", "*").run().succeeds();
    run.stdout_has("no proxy (NO_PROXY)");
    // No request can be made, so the next call fails.
    let json = explain(sandbox.ycred(["explain"]).env("HTTPS_PROXY", "::"), 3);
    assert!(json["proxies"][0]["error"].is_string(), "{json}");
    assert_eq!(
        (&json["cache"]["next_call"], &json["error"]["message"]),
        (&"refuse".into(), &"HTTPS_PROXY: not a proxy URL".into())
    );
}

#[test]
fn the_only_profile_is_listed_also_if_another_one_is_named() {
    let world = World::without_profile(Config::default());
    world.profile("prod", "");
    let shows = |name: &str, code, state: &str| {
        world.ycred(&["explain", name]).run().exits(code).stdout_has(&format!("#   the only profile: {state}\n"))
    };
    shows("nope", 3, "there, not used");
    shows("prod", 0, "there, not used");
    world.ycred(&["explain"]).run().exits(0).stdout_has("#   the only profile: used\n");
    world.profile("stage", "");
    shows("nope", 3, "nothing");
}

#[test]
fn a_broken_profile_exits_3_with_the_lines_that_can_be_read() {
    let world = World::new();
    let path = world.sandbox.profile("default", "source = \"authorised-key\"\nkey-file = \"some-secret-value\"\n");
    let run = world.ycred(&["explain"]).run().exits(3).stderr_is_empty().never_prints("some-secret-value");
    run.stdout_has("did you mean \"authorized-key\"?").stdout_has(&format!("# key-file is set ({}:2)", path.display()));
    let json = explain(world.ycred(&["explain", "--host", "cr.yandex"]), 3);
    assert!(json["host"]["released"] == false && json["error"]["message"].is_string(), "{json}");
    Sandbox::new().ycred(["explain"]).run().exits(3).stdout_has("cannot be used: no profile found");
    world.ycred(&["explain", "-p", "Not a name"]).run().exits(3).stderr_is_empty();
}

const HOSTS: &[&str] = &[
    "cr.yandex",
    "CR.yandex",
    "cr.yandex:443",
    "cr.yandex:5000",
    "cr.yandex.",
    "cr.yandexcloud.kz",
    "registry.yandexcloud.net",
    "iam.api.cloud.yandex.net",
    "api.cloud.yandex.net",
    "git.example",
    "git.example:443",
    "git.example:8443",
    "a.corp.example",
    "a.b.corp.example",
    "corp.example",
    "localhost:5000",
    "localhost",
    "127.0.0.1:5001",
    "user@git.example",
    "docker.io",
    "xn--d1a.example",
];
const LISTS: &[&str] = &[
    "",
    "hosts = [\"git.example\"]",
    "hosts = [\"git.example:8443\", \"*.corp.example\"]",
    "hosts = [\"localhost:5000\", \"127.0.0.1:5001\"]",
    "endpoint = \"api.yandexcloud.kz\"",
    "endpoint = \"api.yandexcloud.kz\"\nhosts = [\"cr.yandex\"]",
    "source-of-errors = 1",
];

/// The verdict on a host is what each hook then does.
#[test]
fn the_verdict_on_a_host_is_that_of_every_hook() {
    let (mut released, mut declined) = (0, 0);
    for list in LISTS {
        let world = World::new();
        world.configure(list);
        let is_broken = list.contains("errors");
        for host in HOSTS.choose_multiple(&mut thread_rng(), 9) {
            let run = world.ycred(&["explain", "--json", "--host", host]).run().stderr_is_empty();
            let json: Value = serde_json::from_str(&run.stdout).expect("JSON");
            let verdict = &json["host"];
            let expected = if is_broken { 3 } else { i32::from(verdict["released"] != true) };
            assert_eq!(run.status.code(), Some(expected), "{run}");
            for client in programs().filter(|client| (client.host.can_ask)(host)) {
                let answer = client.call_for_host(&world.sandbox, false, host).run();
                let is_released = verdict["hooks"][client.hook.name] == true;
                assert_eq!(has_token(&answer), is_released, "{client:?} {host} {list}\n{answer}\n{json}");
                *(if is_released { &mut released } else { &mut declined }) += 1;
            }
        }
    }
    assert!(released > 30 && declined > 30, "{released} {declined}");
}

/// The profile that it names is the one that a call uses.
#[test]
fn the_selected_profile_is_that_of_a_call() {
    let mut rng = thread_rng();
    let mut seen = BTreeSet::new();
    for _ in 0..24 {
        let sandbox = Sandbox::new();
        for name in ["a", "b"] {
            if rng.gen_bool(0.5) {
                sandbox.static_profile(name);
            }
        }
        match rng.gen_range(0..4) {
            0 => sandbox.static_profile("default"),
            1 => drop(sandbox.profile("default", "use = \"a\"\n")),
            _ => {}
        }
        let variables: Vec<(&str, &str)> =
            [("YCRED_PROFILE", "b"), ("YC_IAM_TOKEN", "t1.iam.x"), ("YC_TOKEN", "t1.yc.x")]
                .into_iter()
                .filter(|_| rng.gen_bool(0.3))
                .collect();
        let flag: &[&str] = if rng.gen_bool(0.25) { &["-p", "a"] } else { &[] };
        let call = |command: &str| {
            let call = sandbox.ycred([command]).and(flag);
            variables.iter().fold(call, |call, (name, value)| call.env(name, *value))
        };
        let token = call("token").run();
        let code = if token.status.success() { 0 } else { 3 };
        let json = explain(call("explain"), code);
        let used: Vec<&Value> =
            json["looked_at"].as_array().expect("a list").iter().filter(|it| it["state"] == "used").collect();
        if code == 3 {
            assert!(used.is_empty(), "{json}\n{token}");
            continue;
        }
        assert_eq!(used.len(), 1, "{json}\n{token}");
        let expected = match (json["profile"].as_str(), used[0]["what"].as_str()) {
            (Some(name), _) => format!("t1.{name}.x\n"),
            (None, Some("YC_IAM_TOKEN")) => "t1.iam.x\n".to_owned(),
            (None, _) => "t1.yc.x\n".to_owned(),
        };
        assert_eq!(token.stdout, expected, "{json}\n{token}");
        // Nothing that comes before it is there.
        let before = json["looked_at"].as_array().expect("a list").iter().take_while(|it| it["state"] != "used");
        assert!(before.into_iter().all(|it| it["state"] == "absent"), "{json}");
        seen.insert(used[0]["what"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned());
    }
    assert!(seen.len() >= 3, "{seen:?}");
}

/// What it says of the next call is what the call does.
#[test]
fn the_next_call_does_what_it_says() {
    let mut rng = thread_rng();
    let mut seen = BTreeSet::new();
    for round in 0..60 {
        if round >= 20 && seen.len() >= 3 {
            break;
        }
        let world = World::new();
        world.configure(
            ["", "refresh-before = \"1h\"", "max-age = \"2h\"", "min-ttl = \"3h\"", "cache = \"none\""]
                .choose(&mut rng)
                .expect("one"),
        );
        if round % 5 != 0 {
            world.get();
            let minutes = *[0_u64, 90, 150, 600, 660, 700, 719, 721, 2000].choose(&mut rng).expect("an age");
            if !world.records().is_empty() {
                world.age(Duration::from_secs(minutes * 60));
            }
        }
        if rng.gen_bool(0.3) {
            world.emulator.fault(Fault::refuse(403).times(1));
            world.token(&[]).run();
        }
        world.emulator.clear_faults();
        let json = explain(world.ycred(&["explain"]), 0);
        let next = json["cache"]["next_call"].as_str().expect("a word").to_owned();
        let before = world.requests();
        let run = world.token(&[]).run();
        let asked = world.requests() - before;
        match next.as_str() {
            "serve" => assert!(run.status.success() && asked == 0, "{json}\n{run}"),
            "renew" | "fetch" => assert!(run.status.success() && asked == 1, "{json}\n{run}"),
            // A failure is remembered for some seconds only.
            _ => assert!(asked == 1 || !run.status.success(), "{json}\n{run}"),
        }
        seen.insert(next);
    }
    assert!(seen.len() >= 3, "{seen:?}");
}

#[test]
fn it_works_without_a_home_and_with_closed_descriptors() {
    if require_client("bash").is_none() {
        return;
    }
    let world = World::new();
    world.ycred(&["explain"]).without("HOME").run().succeeds().stderr_is_empty();
    let nothing = World::without_profile(Config::default());
    nothing.ycred(&["explain"]).without("HOME").run().exits(3).stderr_is_empty();
    for closed in 1..8 {
        let redirections: String = [(1, " <&-"), (2, " >&-"), (4, " 2>&-")]
            .into_iter()
            .filter_map(|(bit, text)| (closed & bit != 0).then_some(text))
            .collect();
        let script = format!("\"$@\"{redirections}; exit $?");
        for json in [&["explain"][..], &["explain", "--json", "--host", "cr.yandex"]] {
            let run = world.sandbox.call("bash", ["-c", &script, "bash", YCRED].iter().chain(json)).run().exits(0);
            assert_eq!(run.stdout.is_empty(), closed & 2 != 0, "{redirections}\n{run}");
        }
    }
    assert_eq!(world.emulator.calls(), 0);
    fs::remove_file(world.sandbox.path("config/key.json")).expect("the key");
    world.ycred(&["explain"]).run().exits(3).stdout_has("# problem: ");
}

#[test]
fn what_stands_in_the_way_is_what_the_next_call_says() {
    let world = World::new();
    let directory = world.sandbox.path("config");
    let next = |code| explain(world.ycred(&["explain"]), code)["cache"]["next_call"].clone();
    assert_eq!(next(0), "fetch");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).expect("chmod");
    assert_eq!(next(3), "refuse");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).expect("chmod");
    world.configure("ca-file = \"missing.pem\"");
    assert_eq!(next(3), "refuse");
    let run = world.ycred(&["explain"]).run().exits(3).stdout_has("# the next call fails: ");
    assert!(!run.stdout.contains("because \n"), "{run}");
    let sandbox = Sandbox::new();
    sandbox.profile("default", "source = \"static\"\ntoken-file = \"missing\"\n");
    assert_eq!(explain(sandbox.ycred(["explain"]), 3)["cache"]["next_call"], "refuse");
    // A remembered failure may be over.
    sandbox.profile("default", "source = \"command\"\ncommand = [\"./missing\"]\n");
    let token = sandbox.ycred(["token"]).run();
    assert_eq!(token.status.code(), Some(3), "{token}");
    let json = explain(sandbox.ycred(["explain"]), 0);
    assert_eq!(json["cache"]["next_call"], "fetch", "{json}");
}

#[test]
fn a_host_over_http_is_for_this_machine_and_not_for_git() {
    let world = World::new();
    world.configure("hosts = [\"localhost:5000\", \"a.example\"]");
    let host = |host: &str, code| explain(world.ycred(&["explain", "--host", host]), code)["host"].clone();
    let local = host("http://localhost:5000", 0);
    assert!(local["hooks"]["git"] == false && local["hooks"]["docker"] == true, "{local}");
    assert_eq!(host("https://localhost:5000", 0)["hooks"]["git"], true);
    let foreign = host("http://a.example", 1);
    assert!(foreign["reason"].as_str().is_some_and(|why| !why.contains("to allow it")), "{foreign}");
    let other = host("b.example", 1);
    let line = "hosts = [\"localhost:5000\", \"a.example\", \"b.example\"]";
    assert!(other["reason"].as_str().is_some_and(|why| why.contains(line)), "{other}");
}

#[test]
fn the_edit_for_a_host_is_one_line_that_every_command_prints_and_that_works() {
    let world = World::new();
    world.sandbox.link("ycred");
    let host = "b.example:5000";
    let edit = "hosts = [\"a.example\", \"b.example:5000\"]";
    let calls = [
        &["explain", "--host", host][..],
        &["token", "--host", host],
        &["setup", "git", "--host", host, "--dry-run"],
        &["setup", "docker", "--host", host, "--dry-run"],
        &["setup", "bazel", "--host", host, "--dry-run"],
    ];
    for call in calls {
        world.configure("hosts = [\"a.example\"]");
        let run = world.ycred(call).run().fails();
        let printed = format!("{}{}", run.stdout, run.stderr);
        assert!(printed.contains(&format!("change the line to: {edit}")), "{run}");
        world.configure(edit);
        world.ycred(call).run().succeeds();
        world.configure("");
        let run = world.ycred(call).run().fails();
        let printed = format!("{}{}", run.stdout, run.stderr);
        assert!(printed.contains("add the line: hosts = [\"b.example:5000\"]"), "{run}");
    }
}

#[test]
fn a_host_in_place_of_a_profile_gets_the_command_for_hosts() {
    let world = World::new();
    for host in ["localhost:36739", "registry.example", "https://git.example:8443/"] {
        let run = world.ycred(&["explain", host]).run().exits(3);
        let run = run.stdout_has(&format!("# to fix it: ycred explain --host {host}\n"));
        assert!(run.stdout.contains("the argument PROFILE: there") && !run.stdout.contains("--profile"), "{run}");
        world.ycred(&["explain", "--host", host]).run().exits(1).stdout_has("--profile: nothing");
    }
    // These may be secrets or names.
    for other in ["Secret.With.Dots", "prod", "t1.x:y"] {
        let run = world.ycred(&["explain", other]).run().exits(3);
        assert!(!run.stdout.contains("explain --host"), "{run}");
    }
}

#[test]
fn every_default_is_listed_before_the_variables() {
    let world = World::without_profile(Config::default());
    let run = world.ycred(&["explain"]).env("YC_IAM_TOKEN", "t1.variable.x").run();
    let at = |what: &str| run.stdout.find(what).unwrap_or_else(|| panic!("no {what}: {run}"));
    assert!(at("/etc/ycred/default.toml: nothing") < at("YC_IAM_TOKEN: used"), "{run}");
}

#[test]
fn the_hint_for_a_host_says_that_it_gets_the_token() {
    let world = World::new();
    world.configure("");
    let public = world.ycred(&["explain", "--host", "docker.io"]).run().exits(1);
    assert!(public.stdout.contains("nothing to change") && !public.stdout.contains("add the line"), "{public}");
    let own = world.ycred(&["explain", "--host", "registry.example"]).run().exits(1);
    own.stdout_has("no: not in `hosts`. If you trust this host with your IAM token: in ");
}
