//! docker's configuration, edited and restored.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::Value;

use super::Machine;

const CONFIG: &str = "home/.docker/config.json";

/// Configurations as docker, podman, yc and people write them.
pub const FILES: [&str; 22] = [
    "{}",
    "{}\n",
    "",
    "\n",
    "{ }",
    "{\n\t\"auths\": {}\n}",
    "{\n\t\"auths\": {\n\t\t\"https://index.docker.io/v1/\": {\n\t\t\t\"auth\": \"czpzM2NyZXQ=\"\n\t\t}\n\t}\n}",
    "{\n  \"auths\": {},\n  \"credsStore\": \"desktop\"\n}\n",
    "{\"credHelpers\":{\"gcr.io\":\"gcloud\"}}",
    "{\n\t\"credHelpers\": {\n\t\t\"container-registry.cloud.yandex.net\": \"yc\",\n\t\t\"cr.cloud.yandex.net\": \"yc\",\n\t\t\"cr.yandex\": \"yc\"\n\t}\n}",
    "{\n  \"credHelpers\": {\n    \"registry.yandexcloud.net\": \"yc\"\n  }\n}\n",
    "{\n  \"credHelpers\": {}\n}\n",
    "{\n    \"credHelpers\": {\n        \"public.ecr.aws\": \"ecr-login\"\n    },\n    \"experimental\": \"enabled\"\n}",
    "{\r\n  \"credHelpers\": {\r\n    \"cr.yandex\": \"yc\"\r\n  }\r\n}\r\n",
    "{\"credHelpers\":{\"a.example\":\"x\"},\"credHelpers\":{\"cr.yandex\":\"yc\"}}",
    "{\"HttpHeaders\":{\"X\":\"\\u0416\"},\"psFormat\":\"table {{.ID}}\"}",
    "{\n\t\"proxies\": {\"default\": {\"httpProxy\": \"http://p:3128\"}}, \"credHelpers\": {\"cr.yandex\": \"yc\"}\n}",
    "{\"myUnknown\": [1, 2.50, null, true, {\"x\": 1e9}]}",
    "{\n  \"credHelpers\": { \"cr.yandex\": \"yc\", \"gcr.io\": \"gcloud\" },\n  \"currentContext\": \"default\"\n}\n",
    "   {\"auths\":{\"cr.yandex\":{\"auth\":\"aWFtOnMzY3JldA==\"}}}   ",
    "{\n\t\"auths\": {},\n\t\"plugins\": {\n\t\t\"-x-cli-hints\": {\n\t\t\t\"enabled\": \"true\"\n\t\t}\n\t}\n}\n",
    "{\"credHelpers\":{\"cr.yandex\":\"ycred-old\"}}",
];

fn helpers(text: &str) -> Value {
    serde_json::from_str::<Value>(text).expect("JSON")["credHelpers"].clone()
}

#[test]
fn every_configuration_of_docker_comes_back_to_the_byte_and_is_written_once() {
    let machine = Machine::new();
    for text in FILES {
        machine.world.sandbox.file(CONFIG, text);
        let run = machine.setup(&["docker", "-p", "prod"]).run().succeeds().stderr_is_empty().never_prints("s3cret");
        let after = machine.read(CONFIG);
        assert_eq!(helpers(&after)["cr.yandex"], "ycred-prod", "{text:?}\n{run}{after}");
        assert_eq!(helpers(&after)["registry.yandexcloud.net"], "ycred-prod", "{text:?}");
        assert!(!after.contains("\"yc\""), "{text:?}: {after}");
        let mut expected: Value = if text.trim().is_empty() {
            Value::Object(Default::default())
        } else {
            serde_json::from_str(text).expect("JSON")
        };
        let mut rest: Value = serde_json::from_str(&after).expect("JSON");
        (expected["credHelpers"], rest["credHelpers"]) = (Value::Null, Value::Null);
        assert_eq!(rest, expected, "{text:?}");
        machine.setup(&["docker", "-p", "prod"]).run().succeeds().stdout_has("cr.yandex: already set up");
        assert_eq!(machine.read(CONFIG), after);
        let link = machine.path("bin/docker-credential-ycred-prod");
        assert_eq!(fs::read_link(&link).expect("a link"), std::path::Path::new("ycred"));
        machine.unsetup(&["docker"]).run().succeeds().stderr_is_empty();
        assert_eq!(machine.read(CONFIG), text, "{text:?}");
        assert!(!link.exists() && machine.journal().is_empty(), "{text:?}");
    }
}

#[test]
fn a_missing_configuration_of_docker_is_created_and_removed() {
    use std::os::unix::fs::PermissionsExt as _;
    let machine = Machine::new();
    machine.setup(&["docker"]).run().succeeds();
    let text = machine.read(CONFIG);
    assert_eq!(
        text,
        "{\n\t\"credHelpers\": {\n\t\t\"cr.yandex\": \"ycred-prod\",\n\t\t\"registry.yandexcloud.net\": \"ycred-prod\"\n\t}\n}\n"
    );
    assert_eq!(fs::metadata(machine.path(CONFIG)).expect("the file").permissions().mode() & 0o777, 0o600);
    machine.unsetup(&["docker"]).run().succeeds();
    assert!(!machine.path(CONFIG).exists());
}

#[test]
fn what_docker_does_not_read_as_json_is_refused() {
    let machine = Machine::new();
    for text in ["{\n  // mine\n  \"auths\": {}\n}", "{\"auths\": {},}", "\u{feff}{}", "{\"auths\": ", "[", "auths: {}"]
    {
        machine.world.sandbox.file(CONFIG, text);
        let run = machine.setup(&["docker"]).run().exits(3).stderr_has("config.json:");
        run.stderr_has("docker ignores the whole file otherwise");
        assert_eq!(machine.read(CONFIG), text);
        assert!(machine.journal().is_empty() && !machine.path("bin/docker-credential-ycred-prod").exists());
    }
}

#[test]
fn a_host_with_a_scheme_or_a_path_is_no_host_to_list() {
    let machine = Machine::new();
    for host in ["http://localhost:5000", "https://r.example.com", "r.example.com/app", "R.example.com"] {
        let run = machine.setup(&["docker", "--host", host]).run();
        let error = format!("--host: {host} is not a host or host:port");
        crate::expect::fails_with_hint(run, 2, &[&error], "without scheme and path");
    }
}

#[test]
fn another_helper_stays_unless_forced_and_the_endpoint_decides_the_registries() {
    let mut machine = Machine::new();
    let text = "{\"credHelpers\":{\"cr.yandex\":\"pass\"}}";
    machine.world.sandbox.file(CONFIG, text);
    machine
        .setup(&["docker"])
        .run()
        .exits(3)
        .stderr_has("cr.yandex: docker uses the helper pass")
        .stderr_has("--force");
    assert_eq!(machine.read(CONFIG), text);
    machine.setup(&["docker", "--force"]).run().succeeds().stdout_has("cr.yandex: pass → ycred-prod");
    machine.unsetup(&["docker"]).run().succeeds();
    assert_eq!(machine.read(CONFIG), text);

    machine.world.profile("kz", "endpoint = \"api.yandexcloud.kz\"\nhosts = [\"r.example:5000\", \"own.example\"]");
    let directory = machine.path("work/docker");
    machine.world.sandbox.set("DOCKER_CONFIG", &directory);
    machine.setup(&["docker", "-p", "kz", "--host", "r.example:5000"]).run().succeeds();
    let written = helpers(&machine.read("work/docker/config.json"));
    assert_eq!(
        written,
        serde_json::json!({"cr.yandexcloud.kz": "ycred-kz", "r.example:5000": "ycred-kz"}),
        "hosts of the profile only if asked"
    );
    machine
        .setup(&["docker", "-p", "kz", "--host", "evil.example"])
        .run()
        .exits(2)
        .stderr_has("hosts = [\"r.example:5000\", \"own.example\", \"evil.example\"]");
    machine.unsetup(&["docker", "--host", "r.example:5000"]).run().succeeds();
    assert_eq!(helpers(&machine.read("work/docker/config.json")), serde_json::json!({"cr.yandexcloud.kz": "ycred-kz"}));
    assert!(machine.path("bin/docker-credential-ycred-kz").exists(), "another entry still needs the link");
    machine.unsetup(&["--all"]).run().succeeds();
    assert!(
        !machine.path("work/docker/config.json").exists() && !machine.path("bin/docker-credential-ycred-kz").exists()
    );
}

#[test]
fn after_docker_has_rewritten_the_file_or_without_a_journal_ours_is_taken_out() {
    let machine = Machine::new();
    let text = "{\n  \"auths\": {\"a.example\": {\"auth\": \"x\"}},\n  \"credHelpers\": {\"cr.yandex\": \"yc\"}\n}\n";
    machine.world.sandbox.file(CONFIG, text);
    machine.setup(&["docker"]).run().succeeds();
    // `docker logout` sorts the keys and indents with tabs.
    let rewritten = "{\n\t\"auths\": {},\n\t\"credHelpers\": {\n\t\t\"cr.yandex\": \"ycred-prod\",\n\t\t\"registry.yandexcloud.net\": \"ycred-prod\"\n\t}\n}";
    machine.world.sandbox.file(CONFIG, rewritten);
    machine.unsetup(&["docker"]).run().succeeds();
    assert_eq!(machine.read(CONFIG), "{\n\t\"auths\": {},\n\t\"credHelpers\": {\n\t\t\"cr.yandex\": \"yc\"\n\t}\n}");
    machine.world.sandbox.file(CONFIG, rewritten);
    let run = machine.unsetup(&["docker"]).run().succeeds().stdout_has("cr.yandex: removed ycred-prod");
    assert_eq!(helpers(&machine.read(CONFIG)), serde_json::json!({}), "{run}");
    // Somebody has chosen another helper since.
    machine.world.sandbox.file(CONFIG, text);
    machine.setup(&["docker"]).run().succeeds();
    let changed = machine.read(CONFIG).replace("\"cr.yandex\": \"ycred-prod\"", "\"cr.yandex\": \"mine\"");
    machine.world.sandbox.file(CONFIG, &changed);
    machine.unsetup(&["docker"]).run().exits(3).stderr_has("cr.yandex: changed since `ycred setup`");
    assert_eq!(helpers(&machine.read(CONFIG)), serde_json::json!({"cr.yandex": "mine"}), "the other host is undone");
}

#[test]
fn an_entry_that_the_journal_does_not_know_can_be_removed_by_its_host() {
    let machine = Machine::new();
    machine.setup(&["docker"]).run().succeeds();
    let set_up = machine.read(CONFIG);
    let with_typo = set_up.replacen(
        "\"cr.yandex\": \"ycred-prod\"",
        "\"cr.yandx\": \"ycred-prod\",\n\t\t\"cr.yandex\": \"ycred-prod\"",
        1,
    );
    assert_ne!(with_typo, set_up);
    machine.world.sandbox.file(CONFIG, &with_typo);
    let run = machine.setup(&[]).run().succeeds();
    run.stdout_has(
        "set up: cr.yandex, registry.yandexcloud.net; not working: cr.yandx (profile prod does not list it)",
    )
    .stdout_has("; how to fix it: ycred doctor docker\n");
    let run = machine.world.ycred(&["doctor", "docker"]).run().exits(1);
    // The fix also sets up the registry that is meant, which is done already.
    let fix = run.stdout.lines().find_map(|line| line.trim().strip_prefix("fix: ")).unwrap_or_default();
    assert!(fix.starts_with("ycred unsetup docker --host cr.yandx && "), "{run}");
    let run = machine.world.sandbox.call("sh", ["-c", fix]).run().succeeds();
    run.stdout_has("cr.yandx: removed ycred").stdout_has("cr.yandex: already set up\n");
    assert_eq!(machine.read(CONFIG), set_up);
    // The others are in the journal, and the link serves them.
    machine.world.ycred(&["doctor", "docker"]).run().exits(0);
    machine.unsetup(&["docker"]).run().succeeds();
    assert!(!machine.path(CONFIG).exists() && !machine.path("bin/docker-credential-ycred").exists());
}

#[test]
fn the_link_is_put_where_docker_finds_it_and_nothing_is_overwritten() {
    let mut machine = Machine::new();
    fs::create_dir_all(machine.path("home/.local/bin")).expect("a directory");
    let path = machine.path("bin/docker-credential-ycred-prod");
    fs::write(&path, "a script").expect("written");
    machine.setup(&["docker"]).run().exits(3).stderr_has("a file has this name");
    assert!(!machine.path(CONFIG).exists(), "the configuration would name a program that is not ycred");
    fs::remove_file(&path).expect("removed");
    symlink("/nowhere/ycred", &path).expect("a link");
    machine.setup(&["docker"]).run().succeeds().stdout_has("docker-credential-ycred-prod: linked to");
    machine.unsetup(&["docker"]).run().succeeds();
    assert_eq!(fs::read_link(&path).expect("restored"), std::path::Path::new("/nowhere/ycred"));
    // Without a directory in PATH, nothing is written.
    fs::remove_file(&path).expect("removed");
    fs::remove_file(machine.path("bin/ycred")).expect("removed");
    machine.world.sandbox.set("PATH", "/nowhere:relative");
    let run = machine
        .setup(&["docker"])
        .run()
        .exits(2)
        .stderr_has("no directory in PATH for the link docker-credential-ycred-prod");
    run.stderr_has("~/.local/bin");
    assert!(!machine.path(CONFIG).exists());
    let both = std::env::join_paths([machine.path("home/.local/bin"), machine.path("nowhere")]).expect("a PATH");
    machine.world.sandbox.set("PATH", both);
    machine.setup(&["docker"]).run().succeeds();
    assert!(machine.path("home/.local/bin/docker-credential-ycred-prod").exists());
}

#[test]
fn passwords_that_shadow_ycred_or_are_left_over_are_named() {
    let mut machine = Machine::new();
    machine.world.sandbox.file(CONFIG, "{\"auths\":{\"cr.yandex\":{\"auth\":\"aWFtOnMzY3JldA==\"}}}");
    let run = machine.setup(&["docker"]).run().succeeds();
    run.stdout_has("docker logout cr.yandex").never_prints("aWFtOnMzY3JldA==");
    machine.world.sandbox.file("work/run/containers/auth.json", "{\"auths\":{\"cr.yandex\":{\"auth\":\"x\"}}}");
    let runtime = machine.path("work/run");
    machine.world.sandbox.set("XDG_RUNTIME_DIR", runtime);
    machine.setup(&["docker"]).run().succeeds().stdout_has("podman logout cr.yandex");
}

#[test]
fn a_helper_whose_profile_does_not_exist_is_an_error_with_the_profile_that_is_near() {
    let machine = Machine::new();
    let text = "{\"credHelpers\":{\"cr.yandex\":\"ycred-prdo\",\"registry.yandexcloud.net\":\"ycred-prod\"}}";
    machine.world.sandbox.file("home/.docker/config.json", text);
    let run = machine.setup(&["docker"]).run().exits(2);
    run.stderr_has("docker uses the profile prdo, which does not exist").stderr_has("--profile NAME");
    let run = machine.world.ycred(&["doctor", "docker"]).run().exits(1);
    run.stdout_has("cr.yandex: the helper docker-credential-ycred-prdo uses the profile prdo, which does not exist")
        .stdout_has("ycred setup docker --host cr.yandex --profile prod\n");
    machine.setup(&["docker", "--host", "cr.yandex", "--profile", "prod"]).run().succeeds();
    let run = machine.world.ycred(&["doctor", "docker", "--offline"]).run();
    assert!(!run.stdout.contains("prdo"), "{run}");
}

#[test]
fn a_program_that_uses_the_default_profile_gets_another_by_the_variable() {
    let machine = Machine::new();
    machine.world.profile("staging", "");
    let default = machine.read("config/prod.toml");
    machine.world.sandbox.profile("default", &default);
    let run = machine.setup(&["pip", "-p", "staging"]).run().exits(2);
    run.stderr_has("hint: where the program runs: export YCRED_PROFILE=staging\n");
}

#[test]
fn after_a_misspelt_entry_was_corrected_as_doctor_says_the_file_is_as_before() {
    for before in [None, Some("{\n\t\"auths\": {}\n}\n")] {
        let machine = Machine::new();
        machine.world.profile("prod", "");
        if let Some(before) = before {
            machine.world.sandbox.file(CONFIG, before);
        }
        machine.setup(&["docker"]).run().succeeds();
        let text = machine.read(CONFIG).replace("cr.yandex", "cr.yandx");
        machine.world.sandbox.file(CONFIG, text);
        let run = machine.world.ycred(&["doctor", "docker", "--offline"]).run().exits(1);
        run.stdout_has("ycred unsetup docker --host cr.yandx && ").stdout_has("ycred setup docker --host cr.yandex");
        machine.unsetup(&["docker", "--host", "cr.yandx"]).run().succeeds();
        machine.setup(&["docker", "--host", "cr.yandex", "--profile", "prod"]).run().succeeds();
        machine.unsetup(&["--all"]).run().succeeds();
        assert_eq!(fs::read_to_string(machine.path(CONFIG)).ok().as_deref(), before);
        assert_eq!(machine.path("home/.docker").exists(), before.is_some());
        assert!(machine.journal().is_empty());
    }
}
