//! `ycred doctor`: finds each seeded fault, prints a fix that works, and changes nothing itself.

mod clients;
mod faults;
mod hosts;
mod network;
mod own;
mod pasted;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use serde_json::Value;

use crate::harness::machine::require_tracer;
use crate::harness::{Call, Run, YCRED, require_client};
use crate::stories::doctor::faults::report;
use crate::stories::setup::{Machine, kubeconfig_with};

/// Host of the git server in the profile's `hosts`.
const GIT: &str = "git.corp.example";

/// A machine on which every client is set up and everything works.
fn healthy() -> Machine {
    let mut machine = Machine::new();
    machine.world.profile("prod", &format!("hosts = [\"{GIT}\"]"));
    for directory in ["cache", "state"] {
        let path = machine.path(directory);
        fs::create_dir_all(&path).expect("a directory");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("its mode");
    }
    // What the machine of the test has set up must not count.
    for name in ["XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"] {
        machine.world.sandbox.unset(name);
    }
    machine
}

/// [`healthy`], with a kubeconfig user that runs ycred.
fn with_kubectl() -> Machine {
    let machine = healthy();
    machine.write_kubeconfig(&kubeconfig_with(&ours(&machine, "")));
    machine
}

/// Returns a `user:` that runs ycred, with more members of `exec`.
fn ours(machine: &Machine, more: &str) -> String {
    let command = machine.command();
    format!(
        "{{exec: {{apiVersion: client.authentication.k8s.io/v1, command: {command}, args: [kubectl, --profile, prod], interactiveMode: Never{more}}}}}"
    )
}

fn doctor(machine: &Machine, arguments: &[&str]) -> Call {
    machine.world.ycred(&["doctor"]).and(arguments)
}

#[test]
fn a_healthy_machine_has_neither_warnings_nor_failures() {
    let machine = with_kubectl();
    machine.setup(&["docker", "-p", "prod"]).run().succeeds();
    machine.setup(&["aws", "-p", "prod"]).run().succeeds();
    machine.setup(&["terraform", "-p", "prod"]).run().succeeds();
    let git = require_client("git").is_some();
    if git {
        machine.setup(&["git", "--host", GIT, "-p", "prod"]).run().succeeds();
    }
    let run = doctor(&machine, &["--strict"]).run().exits(0).stderr_is_empty();
    for line in [
        "[ok]   profile",
        "[ok]   key",
        "[ok]   token",
        "[ok]   kubectl",
        "[ok]   docker",
        "[ok]   terraform",
        "[ok]   aws",
    ] {
        run.clone().stdout_has(line);
    }
    assert!(!git || run.stdout.contains("[ok]   git"), "{run}");
    assert!(run.stdout.lines().last().is_some_and(|line| line.contains("0 warnings, 0 failures")), "{run}");
    assert_eq!(machine.world.requests(), 1, "one token for the profile and all hooks");
}

#[test]
fn json_has_the_fields_of_the_schema_whatever_the_exit_code() {
    let schema = include_str!("../../docs/reference/doctor.schema.json");
    let schema: Value = serde_json::from_str(schema).expect("a schema");
    let machine = with_kubectl();
    for (arguments, code) in [(&["--json"][..], 0), (&["--json", "-p", "nowhere"], 1), (&["--json", "--offline"], 0)] {
        let run = doctor(&machine, arguments).run().exits(code).stderr_is_empty();
        let value: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{run}"));
        check(&schema, &value, "doctor");
        let count = |state: &str| {
            let checks = value["checks"].as_array().expect("checks");
            checks.iter().filter(|check| check["state"] == state).count()
        };
        for (field, state) in [("ok", "ok"), ("warnings", "warn"), ("failures", "fail")] {
            assert_eq!(value[field], count(state), "{field}\n{run}");
        }
    }
    let wrong: Value = serde_json::json!({"version": 2});
    assert!(std::panic::catch_unwind(|| check(&schema, &wrong, "wrong")).is_err(), "the schema accepts anything");
}

/// Checks a value against the part of JSON Schema that the schema uses.
#[track_caller]
fn check(schema: &Value, value: &Value, place: &str) {
    if let Some(expected) = schema.get("const") {
        assert_eq!(value, expected, "{place}");
    }
    if let Some(choices) = schema["enum"].as_array() {
        assert!(choices.contains(value), "{place}: {value}");
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let is = |name: &&str| match *name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "null" => value.is_null(),
        "integer" => value.is_u64(),
        "number" => value.is_number(),
        other => panic!("{place}: the type {other} is not checked here"),
    };
    assert!(types.is_empty() || types.iter().any(is), "{place}: {value} is not {types:?}");
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        assert!(value.get(name).is_some(), "{place} has no {name}");
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(name) {
            Some(inner) => check(inner, member, &format!("{place}.{name}")),
            None => assert_ne!(schema["additionalProperties"], false, "{place}: {name} is not in the schema"),
        }
    }
    for item in value.as_array().into_iter().flatten() {
        check(&schema["items"], item, &format!("{place}[]"));
    }
}

#[test]
fn checks_and_parts_are_selected_by_name_and_listed() {
    let machine = with_kubectl();
    machine.world.profile("prod", "");
    let run = doctor(&machine, &["profile", "key"]).run().exits(0);
    assert_eq!(run.stdout.lines().count(), 3, "two checks and the summary\n{run}");
    assert_eq!(machine.world.emulator.calls(), 0, "neither needs the network");
    let kubeconfig = kubeconfig_with(&ours(&machine, "").replace(&machine.command(), "/opt/old/ycred"));
    machine.write_kubeconfig(&kubeconfig);
    doctor(&machine, &["kubectl.command"]).run().exits(1).stdout_has("[fail] kubectl.command user u: /opt/old/ycred");
    doctor(&machine, &["kubectl.answer"]).run().exits(0);
    machine.world.profile("key-old", "");
    for (name, hint) in [
        ("kubctl", "did you mean kubectl?"),
        ("kubectl.nothing", "kubectl"),
        ("zzz", "--list"),
        ("prod", "to check a profile: ycred doctor --profile prod\n"),
        ("prd", "did you mean the profile prod? ycred doctor --profile prod\n"),
        ("key-old", "ycred doctor --profile key-old\n"),
    ] {
        doctor(&machine, &[name]).run().exits(2).stdout_is("").stderr_has("unknown check").stderr_has(hint);
    }
    let list = doctor(&machine, &["--list"]).run().exits(0).stderr_is_empty();
    let page = include_str!("../../docs/doctor.md");
    for id in list.stdout.lines().filter_map(|line| line.split(' ').next()) {
        assert!(page.contains(&format!("| `{id}` |")), "docs/doctor.md does not describe {id}");
    }
    assert!(list.stdout.contains("(parts: proxy, dns)"), "{list}");
    let list: Value = serde_json::from_str(&doctor(&machine, &["--list", "--json"]).run().stdout).expect("JSON");
    for check in list["checks"].as_array().expect("checks") {
        for part in check["parts"].as_array().expect("parts") {
            let (id, part) = (check["id"].as_str().expect("an id"), part.as_str().expect("a part"));
            let row = page.lines().find(|line| line.starts_with(&format!("| `{id}` |"))).expect("a row");
            assert!(row.contains(&format!("`{part}`")), "docs/doctor.md does not describe {id}.{part}");
        }
    }
    let names = machine.world.ycred(&["completions", "--list", "checks"]).run().succeeds();
    assert!(names.stdout.lines().any(|line| line == "kubectl"), "{names}");
}

/// Returns everything about each file that doctor could change: kind, mode, content, time.
fn tree(machine: &Machine) -> BTreeMap<String, String> {
    let mut tree = BTreeMap::new();
    for directory in ["home", "config", "bin", "cache", "state", "work", "tmp"] {
        for path in machine.world.sandbox.files(directory) {
            let metadata = fs::symlink_metadata(&path).expect("a file");
            let content = match fs::read_link(&path) {
                Ok(target) => target.display().to_string(),
                Err(_) => String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned(),
            };
            let about = format!("{:o} {} {} {content:?}", metadata.mode(), metadata.ino(), metadata.mtime_nsec());
            tree.insert(path.display().to_string(), about);
        }
    }
    tree
}

#[test]
fn nothing_is_changed_and_files_are_created_only_for_a_moment_in_directories_of_ycred() {
    let machine = with_kubectl();
    machine.setup(&["docker", "-p", "prod"]).run().succeeds();
    machine.world.ycred(&["token", "-p", "prod"]).run().succeeds();
    let before = tree(&machine);
    doctor(&machine, &["--strict"]).run().exits(0);
    assert_eq!(tree(&machine), before, "with a cached token");
    if !require_tracer() {
        return;
    }
    let log = machine.path("runs/strace.log");
    let calls = "trace=open,openat,creat,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,symlink,symlinkat,link,linkat,\
                 chmod,fchmod,fchmodat,chown,fchown,fchownat,truncate,ftruncate";
    let strace =
        ["-f", "-qq", "-y", "--seccomp-bpf", "-e", calls, "-e", "signal=none", "-o", &log.display().to_string()]
            .map(str::to_owned);
    let all = strace.iter().map(String::as_str).chain([YCRED, "doctor", "--offline"]);
    machine.world.sandbox.call("strace", all).run().succeeds();
    let log = fs::read_to_string(log).expect("strace's log");
    let own = machine.path("").canonicalize().expect("the sandbox");
    let mut created = 0;
    for line in log.lines().filter(|line| !line.contains(" = -1 ")) {
        let is_write = line.contains("O_CREAT") || line.contains("O_TRUNC");
        let changes = ["rename(", "renameat", "unlink", "mkdir", "symlink", "chmod", "chown", "link("];
        if is_write || changes.iter().any(|call| line.contains(&format!(" {call}"))) {
            let is_own = line.contains("/cache/v1/tmp-") || line.contains("/state/v1/tmp-");
            assert!(is_own && line.contains(&own.file_name().expect("a name").to_string_lossy()[..]), "{line}");
            created += usize::from(is_write);
        }
    }
    assert!(created > 0, "the directory was not tried:\n{log}");
    assert_eq!(tree(&machine), before, "offline");
}

#[test]
fn it_works_with_a_broken_profile_without_home_and_with_closed_descriptors() {
    let machine = with_kubectl();
    machine.world.sandbox.profile("broken", "source = ");
    for (name, value) in [("YCRED_PROFILE", "broken"), ("YCRED_PROFILE", "nowhere"), ("YCRED_CONFIG_DIR", "relative")] {
        let run = doctor(&machine, &[]).env(name, value).run().exits(1).stderr_is_empty();
        run.clone().stdout_has("[skip] token");
        assert!(run.stdout.lines().count() > 12, "{name}={value}: the other checks run too\n{run}");
    }
    let all: Vec<String> = ["HOME", "YCRED_CONFIG_DIR", "YCRED_CACHE_DIR", "YCRED_STATE_DIR"].map(str::to_owned).into();
    for names in [&all[..1], &all[..]] {
        let call =
            names.iter().fold(doctor(&machine, &["--offline", "profile", "store", "key", "links"]), |call, name| {
                call.without(name)
            });
        let run = call.run().stderr_is_empty();
        assert!(matches!(run.status.code(), Some(0 | 1)) && run.stdout.contains("links"), "{run}");
    }
    if require_client("bash").is_none() {
        return;
    }
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        let script = format!("\"$@\" {closed}; exit $?");
        let run = machine.world.sandbox.call("bash", ["-c", &script, "bash", YCRED, "doctor", "-p", "prod"]).run();
        assert_eq!(run.status.code(), Some(0), "{closed}\n{run}");
        assert_eq!(run.stdout.contains("[ok]   token"), !closed.contains(">&- ") && closed != ">&-", "{closed}\n{run}");
    }
}

#[test]
fn a_command_that_hangs_fails_alone_and_a_foreign_one_is_not_run() {
    let machine = with_kubectl();
    let marker = machine.path("work/was-run");
    let foreign = machine.world.sandbox.script("work/plugin", &format!("#!/bin/sh\ntouch {}\n", marker.display()));
    let hanging = machine.world.sandbox.script("work/ycred", "#!/bin/sh\n# ycred-program-marker\nsleep 1000\n");
    for (command, part, what) in [
        (&hanging, "[fail] kubectl.answer", "did not answer within 5s"),
        (&foreign, "[skip] kubectl", "no user of the kubeconfig runs ycred"),
    ] {
        let user = ours(&machine, "").replace(&machine.command(), &command.display().to_string());
        machine.write_kubeconfig(&kubeconfig_with(&user));
        let run = doctor(&machine, &[]).run().stderr_is_empty();
        run.clone().stdout_has(part).stdout_has(what).stdout_has("[ok]   token").stdout_has("docker");
    }
    // The name alone does not make it ycred.
    machine.setup(&["docker", "-p", "prod"]).run().succeeds();
    fs::remove_file(machine.path("bin/docker-credential-ycred-prod")).expect("removed");
    let script = format!("#!/bin/sh\ntouch {}\n", marker.display());
    machine.world.sandbox.script("bin/docker-credential-ycred-prod", &script);
    doctor(&machine, &["docker"])
        .run()
        .exits(1)
        .stdout_has("[fail] docker.helper")
        .stdout_has("is not ycred, so it was not run");
    let stranger = machine.world.sandbox.script("first/ycred", &script);
    let path = format!("{}:{}", stranger.parent().expect("a directory").display(), machine.path("bin").display());
    let user = ours(&machine, "").replace(&machine.command(), "ycred");
    machine.write_kubeconfig(&kubeconfig_with(&user));
    for arguments in [&["kubectl", "links"][..], &["kubectl", "links", "--offline"]] {
        let run = doctor(&machine, arguments).env("PATH", &path).run().exits(1);
        let run = run.stdout_has("[fail] kubectl.command").stdout_has("[warn] links.path");
        assert!(!run.stdout.contains("[ok]   links"), "{run}");
    }
    // Another file than the running program, as another version is.
    fs::create_dir(machine.path("copy")).expect("a directory");
    fs::copy(YCRED, machine.path("copy/ycred")).expect("copied");
    let user = ours(&machine, "").replace(&machine.command(), &machine.path("copy/ycred").display().to_string());
    machine.write_kubeconfig(&kubeconfig_with(&user));
    doctor(&machine, &["kubectl"]).run().exits(0).stdout_has("users that run ycred: u");
    assert!(!marker.exists(), "a program that is not ycred was run");
}

#[test]
fn nothing_of_a_secret_is_printed() {
    let machine = with_kubectl();
    machine.setup(&["docker", "-p", "prod"]).run().succeeds();
    machine.setup(&["aws", "-p", "prod"]).run().succeeds();
    let key = fs::read_to_string(machine.path("config/prod.json")).expect("the key");
    let key: Value = serde_json::from_str(&key).expect("JSON");
    let password = "aWFtOnMzY3JldC1wYXNzd29yZC1vZi10aGUtdGVzdA==";
    let config = machine.read("home/.docker/config.json");
    let with_password = config.replacen('{', &format!("{{\"auths\":{{\"cr.yandex\":{{\"auth\":\"{password}\"}}}},"), 1);
    machine.world.sandbox.file("home/.docker/config.json", with_password);
    let is_secret = |line: &&str| !line.starts_with('-') && !line.starts_with("PLEASE DO NOT REMOVE");
    let (npm, crates, header) = ("npm_Secret8dGVzdA", "cioSecret9dGVzdA", "hdrSecret7dGVzdA");
    let bin = machine.path("bin").display().to_string();
    let lines = format!("//r.example/:_authToken={npm}\n//iam:{npm}@r.example/:tokenHelper={bin}/ycred-pnpm\n");
    machine.world.sandbox.file("home/.npmrc", lines);
    let lines = format!(
        "[registries.corp]\nindex = \"sparse+https://iam:{crates}@{GIT}/\"\ntoken = \"{crates}\"\ncredential-provider = [\"{bin}/ycred\", \"--token\", \"{crates}\"]\n"
    );
    machine.world.sandbox.file("home/.cargo/config.toml", lines);
    let helper = format!("common --credential_helper=iam:{header}@x={bin}/ycred-bazel");
    machine.world.sandbox.file("home/.bazelrc", format!("{helper} --remote_header=x={header}\n"));
    let misplaced = "t1.9euelZqMisplacedSecretOfTheTest.QWERTYUIOPASDFGHJKL0123456789";
    for arguments in [&[][..], &["--json"], &["--report"], &["-v"], &["--report", "--json"]] {
        for (name, value) in [("YC_TOKEN", misplaced), ("YCRED_LOG", misplaced), ("YCRED_PROFILE", misplaced)] {
            let run = doctor(&machine, arguments).env(name, value).run();
            let private: Vec<&str> =
                key["private_key"].as_str().expect("a key").lines().filter(|line| is_secret(line)).collect();
            let tokens = machine.world.emulator.tokens();
            let secrets =
                tokens.iter().map(String::as_str).chain(private).chain([password, misplaced, npm, crates, header]);
            for secret in secrets {
                let is_leaked = |part: &[u8]| {
                    let part = std::str::from_utf8(part).unwrap_or_default();
                    part.len() == 8 && (run.stdout.contains(part) || run.stderr.contains(part))
                };
                let leak = secret.as_bytes().windows(8).find(|part| is_leaked(part));
                assert!(leak.is_none(), "{:?} with {name}\n{run}", leak.map(String::from_utf8_lossy));
            }
        }
    }
    assert!(!machine.world.emulator.tokens().is_empty(), "a token was issued");
}

#[test]
fn a_report_has_no_name_of_the_machine() {
    let mut machine = healthy();
    let user = "someuser@cluster-of-mine";
    machine.world.sandbox.set("USER", "jdoe").set("HTTPS_PROXY", "http://proxy.corp.example:3128");
    machine
        .world
        .profile("stage-of-mine", "hosts = [\"registry.corp.example\"]\nimpersonate = \"ajeabcdefgh0123456789\"");
    let kubeconfig = kubeconfig_with(&ours(&machine, "")).replace("name: u\n", &format!("name: {user}\n"));
    machine.write_kubeconfig(&kubeconfig.replace("user: u}", &format!("user: {user}}}")));
    machine.setup(&["docker", "-p", "stage-of-mine", "--host", "registry.corp.example"]).run().succeeds();
    machine.setup(&["aws", "--name", "bucket-of-mine", "-p", "prod"]).run().succeeds();
    machine.world.sandbox.profile("broken-of-mine", "source = ");
    let url = machine.world.emulator.url();
    let port = url.rsplit(':').next().expect("a port").trim_end_matches('/').to_owned();
    let key: Value = serde_json::from_slice(&fs::read(machine.path("config/prod.json")).expect("a key")).expect("JSON");
    let root = machine.path("").display().to_string();
    let names = [
        root.trim_end_matches('/').rsplit('/').next().expect("a name").to_owned(),
        machine.account.clone(),
        key["id"].as_str().expect("an id").to_owned(),
        key["service_account_id"].as_str().expect("an id").to_owned(),
        port,
    ];
    let names = names.iter().map(String::as_str).chain([
        "prod",
        "of-mine",
        "stage",
        "someuser",
        "jdoe",
        "corp.example",
        "ajeabcdefgh",
        "127.0.0.1",
        "bucket",
    ]);
    let names: Vec<&str> = names.collect();
    let faults: [fn(&Machine); 3] = [
        |_| {},
        |machine| fs::remove_file(machine.path("bin/docker-credential-ycred-stage-of-mine")).expect("removed"),
        |machine| {
            let text = machine.read("home/.kube/config").replace(&machine.command(), "/opt/of-mine/ycred");
            machine.write_kubeconfig(&text);
        },
    ];
    for (number, fault) in faults.iter().enumerate() {
        fault(&machine);
        for arguments in [
            &["--report"][..],
            &["--report", "--json"],
            &["--report", "-p", "prod"],
            &["--report", "-p", "stage-of-mine"],
        ] {
            let run = doctor(&machine, arguments).run();
            for name in &names {
                // `production` and the like are no names.
                let is_there = run
                    .stdout
                    .split(|c: char| !c.is_alphanumeric() && c != '-' && c != '.')
                    .any(|word| word == *name || (name.len() > 5 && word.contains(name)));
                assert!(!is_there, "{number}: {name} is in the report\n{run}");
            }
            assert!(run.stdout.contains("<name-1>") || run.stdout.contains("<path-1>"), "{run}");
        }
    }
    let run = doctor(&machine, &["--report", "-p", "prod"]).run();
    let of = |check: &str| -> Vec<String> {
        let lines = run.stdout.lines().filter(|line| line.contains(check));
        lines
            .flat_map(|line| {
                line.match_indices("<name-").map(|(at, _)| line[at..at + 8].to_owned()).collect::<Vec<_>>()
            })
            .collect()
    };
    assert_eq!(of("]   profile").first(), of("]   token").first(), "the same name has one replacement\n{run}");
}

#[test]
fn the_only_profile_is_not_another_one_and_a_warning_of_the_call_has_a_fix() {
    let machine = healthy();
    let set = |file: &str, mode| {
        fs::set_permissions(machine.path(file), fs::Permissions::from_mode(mode)).expect("a mode");
    };
    set("config/prod.toml", 0o666);
    let run = doctor(&machine, &["profile"]).run().exits(1).stdout_has("[fail] profile");
    assert!(!run.stdout.contains("other profile"), "{run}");
    set("config/prod.toml", 0o600);
    set("config/prod.json", 0o644);
    doctor(&machine, &["token"])
        .run()
        .exits(0)
        .stdout_has("can be read by others (mode 0644)\n")
        .stdout_has("fix: chmod 600");
}

#[test]
fn report_reads_what_the_table_prints() {
    let machine = healthy();
    let run: Run = doctor(&machine, &["--json", "profile"]).run();
    let findings = report(&run);
    assert_eq!((findings[0].id.as_str(), findings[0].state.as_str()), ("profile", "ok"), "{run}");
}

#[test]
fn a_selected_check_without_its_profile_reports_why() {
    let machine = healthy();
    let run = doctor(&machine, &["-p", "prdo", "token"]).run().exits(1);
    let run = run.stdout_has("[fail] profile profile prdo: no such file").stdout_has("fix: did you mean prod?");
    assert!(run.stdout.contains("[skip] token") && run.stdout.contains("1 failure"), "{run}");
    doctor(&machine, &["-p", "prdo", "profile", "token"]).run().exits(1).stdout_has("0 ok, 0 warnings, 1 failure");
    let run = doctor(&machine, &["-p", "prod", "token"]).run().exits(0);
    assert!(!run.stdout.contains("profile  "), "{run}");
}

#[test]
fn a_broken_profile_counts_once_whatever_leads_to_it() {
    let machine = healthy();
    machine.world.sandbox.profile("old", "source = \"magic\"\n");
    machine.world.sandbox.profile("default", "use = \"old\"\n");
    for arguments in [&["profile"][..], &["profile", "-p", "old"], &["profile", "-p", "default"]] {
        let run = doctor(&machine, arguments).run().exits(1);
        assert!(run.stdout.contains("0 warnings, 1 failure") && !run.stdout.contains("others"), "{run}");
    }
    let run = doctor(&machine, &["profile", "-p", "prod"]).run().exits(0);
    run.stdout_has("1 other profile is broken: old").stdout_has("ycred doctor profile --profile old");
    let list = machine.world.ycred(&["list"]).run();
    assert_eq!(list.stdout.matches("old.toml:1").count(), 1, "{list}");
    assert_eq!(list.stdout.matches("broken").count(), 1, "{list}");
    list.stdout_has("alias of old");
}

#[test]
fn a_helper_outside_path_is_found_there() {
    let machine = healthy();
    machine.setup(&["docker", "-p", "prod"]).run().succeeds();
    let name = "docker-credential-ycred-prod";

    let link = machine.path("home/.local/bin").join(name);
    fs::create_dir_all(link.parent().expect("a directory")).expect("a directory");
    std::os::unix::fs::symlink(YCRED, &link).expect("a link");
    let run = doctor(&machine, &["docker"]).env("PATH", "/usr/bin:/bin").run();

    let run = run
        .stdout_has("which is not in PATH, so docker asks the registry without credentials, and podman and skopeo stop with an error");
    assert!(run.stdout.contains("fix: export PATH=") && !run.stdout.contains("ln -sfn"), "{run}");
}

#[test]
fn a_file_or_a_variable_that_is_missing_is_printed_once() {
    let machine = with_kubectl();
    machine.setup(&["docker", "-p", "prod"]).run().succeeds();
    let text = fs::read_to_string(machine.path("config/prod.toml")).expect("a profile");
    let line = text.lines().find(|line| line.starts_with("key-file")).expect("a key").to_owned();
    machine.world.sandbox.profile("prod", &text.replace(&line, "key-file = \"/nonexistent/key.json\""));
    let run = doctor(&machine, &["-p", "prod"]).run().exits(1);
    assert_eq!(run.stdout.matches("/nonexistent/key.json").count(), 1, "{run}");
    assert_eq!(run.stdout.matches("restore the file").count(), 1, "{run}");
    run.stdout_has("[fail] token ").stdout_has("cr.yandex: as above (key)\n");
    machine.world.sandbox.profile("ci", "source = \"static\"\ntoken-env = \"CI_TOKEN\"\n");
    let run = doctor(&machine, &["-p", "ci", "profile", "key"]).run().exits(1);
    assert_eq!(run.stdout.matches("CI_TOKEN, which is not set").count(), 1, "{run}");
    run.stdout_has("[fail] key     as above (profile)\n")
        .stdout_has("fix: export CI_TOKEN=VALUE, or use another profile\n");
}

#[test]
fn the_network_check_says_where_the_url_is_set() {
    let machine = healthy();
    let network = || doctor(&machine, &["network"]).run().exits(0);
    let path = machine.path("config/prod.toml").display().to_string();
    let text = fs::read_to_string(&path).expect("a profile");
    let number = 1 + text.lines().position(|line| line.starts_with("iam-url")).expect("a URL");
    network().stdout_has(&format!("; the URL is set by `iam-url` in profile {path}:{number}\n"));
}
