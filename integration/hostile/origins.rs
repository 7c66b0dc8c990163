//! Messages name where a value came from, and their hints fit the place: each variable, and each slip of a person.

use crate::emulator::Config;
use crate::expect::{fails_with, fails_with_hint};
use crate::world::World;
use ycred::base::environment as env;

/// A variable's name and value.
type Variable = (&'static str, &'static str);

const ACCOUNT: Variable = (env::YCRED_SERVICE_ACCOUNT_ID, "aje00000000000000000");
const OAUTH: Variable = (env::YC_OAUTH_TOKEN, "y0_AgAAAAABCDEFGHIJ");

/// The variable that is wrong, its value, and another variable that it needs. `{}` is the directory `tmp`.
const ROWS: &[(&str, &str, Option<Variable>)] = &[
    (env::YC_IAM_TOKEN, "two words", None),
    (env::YC_SERVICE_ACCOUNT_KEY_FILE, "/nonexistent/key.json", None),
    (env::YC_SERVICE_ACCOUNT_KEY_FILE, "{}", None),
    (env::YC_SERVICE_ACCOUNT_KEY_FILE, "{}/text", None),
    (env::YC_SERVICE_ACCOUNT_KEY_FILE, "{}/empty", None),
    (env::YC_SERVICE_ACCOUNT_KEY_FILE, "/dev/null", None),
    (env::YC_SERVICE_ACCOUNT_KEY_FILE, "{\"id\": 1}", None),
    (env::YC_TOKEN, "two words", None),
    (env::YC_OAUTH_TOKEN, "two words", None),
    (env::YCRED_SERVICE_ACCOUNT_ID, "not an id", None),
    (env::YCRED_SERVICE_ACCOUNT_ID, "aje00000000000000000", None),
    (env::YCRED_SUBJECT_TOKEN_FILE, "/nonexistent/token", None),
    (env::YCRED_SUBJECT_TOKEN_FILE, "/nonexistent/token", Some(ACCOUNT)),
    (env::YCRED_SUBJECT_TOKEN_FILE, "{}", Some(ACCOUNT)),
    (env::YCRED_SUBJECT_TOKEN_FILE, "{}/text", Some(ACCOUNT)),
    (env::YCRED_SUBJECT_TOKEN_FILE, "{}/empty", Some(ACCOUNT)),
    (env::YCRED_SUBJECT_TOKEN_FILE, "/dev/null", Some(ACCOUNT)),
    (env::YC_METADATA_ADDR, "a/b", None),
    (env::YC_METADATA_ADDR, "metadata.example.com", None),
    (env::YC_ENDPOINT, "https://x/", Some(OAUTH)),
    (env::YCRED_IMPERSONATE, "not an id", Some(OAUTH)),
    (env::YCRED_AUTH_URL, "http://x.example", Some(OAUTH)),
    (env::YCRED_AUTH_URL, "x", Some(OAUTH)),
    (env::YCRED_PROFILE, "No", None),
    (env::YCRED_PROFILE, "gone", None),
    (env::YCRED_PROFILE, "{}/gone.toml", None),
    (env::YCRED_CONFIG_DIR, "relative", None),
    (env::SSL_CERT_FILE, "/nonexistent/roots.pem", Some(OAUTH)),
    (env::SSL_CERT_FILE, "{}/empty", Some(OAUTH)),
    (env::SSL_CERT_DIR, "/nonexistent", Some(OAUTH)),
    ("https_proxy", "://", Some(OAUTH)),
    ("HTTPS_PROXY", "://", Some(OAUTH)),
    ("all_proxy", "://", Some(OAUTH)),
    ("ALL_PROXY", "://", Some(OAUTH)),
];

#[test]
fn the_error_of_every_variable_names_the_variable() {
    let world = World::without_profile(Config::default());
    world.sandbox.file("tmp/text", "two words\n");
    world.sandbox.file("tmp/empty", "");
    let directory = world.sandbox.path("tmp").display().to_string();
    let mut faults = Vec::new();
    for (variable, value, needed) in ROWS {
        let mut call = world.token(&["--timeout", "2s"]).env(variable, value.replace("{}", &directory));
        if let Some((name, value)) = needed {
            call = call.env(name, *value);
        }
        let run = call.run().fails().stdout_is("");
        let [error] = run.lines_of_stderr("ycred: error: ")[..] else { panic!("one error\n{run}") };
        if !error.contains(variable) {
            faults.push(format!("{variable}={value}: {error}"));
        }
        // A hint names no variable that is not set, unless that is the one to set.
        for other in ["YC_SERVICE_ACCOUNT_KEY_FILE", "SSL_CERT_FILE", "HTTPS_PROXY"] {
            let hint = run.lines_of_stderr("ycred: hint: ").concat();
            if hint.contains(other) && other != *variable {
                faults.push(format!("{variable}={value}: {hint}"));
            }
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    let common = ycred::profile::keys::COMMON_VARIABLES.iter().map(|(variable, _)| *variable);
    for variable in ycred::sources::variables().into_iter().chain(common) {
        assert!(ROWS.iter().any(|row| row.0 == variable), "{variable} has no row");
    }
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn only_a_pipe_gets_the_hint_about_pipes() {
    let world = World::new();
    let key = |path: &str| {
        world.sandbox.profile("default", &format!("source = \"authorized-key\"\nkey-file = \"{path}\"\n"));
        world.token(&[]).run().exits(3).stdout_is("")
    };
    for path in ["/dev/null", "/dev/zero", "/", "/dev/full"] {
        assert!(!key(path).stderr.contains("pipe"), "{path}");
    }
    let pipe = world.sandbox.path("tmp/pipe");
    world.sandbox.call("mkfifo", [&pipe]).run().succeeds();
    let run = key(&pipe.display().to_string());
    assert!(!run.stderr.contains("YC_SERVICE_ACCOUNT_KEY_FILE"), "not in play\n{run}");
    fails_with_hint(run, 3, &["is not a regular file"], "a pipe can be read only once");
}

#[test]
fn a_command_that_a_flag_took_as_its_value_is_named() {
    let world = World::new();
    for (arguments, flag, name) in [
        (&["--timeout", "kubectl"][..], "--timeout", "kubectl"),
        (&["-p", "kubectl"], "-p", "kubectl"),
        (&["-v", "--profile", "token"], "--profile", "token"),
        (&["--min-ttl", "status"], "--min-ttl", "status"),
    ] {
        let message = format!("no command given: \"{name}\" is the value of {flag}");
        fails_with_hint(world.ycred(arguments).run(), 2, &[&message], &format!("ycred {flag} VALUE {name}"));
    }
    fails_with(world.ycred(&["-p", "default"]).run(), 2, &["no command given"]);
    // What follows the name of a hook is for the hook, so its client reads the answer.
    for host in ["cr.yandex", "https://cr.yandex"] {
        let run = world.ycred(&["-p", "docker", "get"]).stdin(format!("{host}\n")).run();
        run.exits(1).stdout_has("no command given: \"docker\" is the value of -p");
    }
    let run = world.ycred(&["-p", "status", "get"]).run();
    fails_with_hint(run, 2, &["\"status\" is the value of -p"], "ycred -p VALUE status");
    // The suffix of a link is the name of a profile, also if it is empty.
    let link = world.sandbox.link_at("work/docker-credential-ycred-");
    world.sandbox.call(&link, ["get"]).stdin("cr.yandex\n").run().exits(2).stdout_has("profile name");
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn a_profile_in_capitals_is_suggested_as_it_is_written() {
    let world = World::new();
    world.profile("prod", "");
    world.profile("my-team", "");
    for (typed, near) in [("PROD", "prod"), ("Prod", "prod"), ("my_team", "my-team"), ("prod_", "prod")] {
        let hint = format!("did you mean {near}?");
        let run = world.ycred(&["token", "-p", typed]).run();
        fails_with_hint(run, 2, &[&format!("\"{typed}\" is not a profile name")], &hint);
        fails_with_hint(world.token(&[]).env("YCRED_PROFILE", typed).run(), 2, &["YCRED_PROFILE"], &hint);
    }
    // What is near no name may be a secret.
    world.ycred(&["token", "-p", "HUNTER22"]).run().exits(2).never_prints("HUNTER22");
}

#[test]
fn a_program_without_a_name_is_not_looked_for() {
    let world = World::new();
    for arguments in [&["exec", "--", ""][..], &["exec", "--", "", "x"]] {
        let run = world.ycred(arguments).run();
        fails_with(run, 127, &["cannot run a program without a name"]);
    }
}

#[test]
fn the_kubelet_is_not_suggested_as_a_command() {
    let world = World::new();
    let run = world.ycred(&["kubelet", "x"]).run().exits(2).stdout_is("");
    assert!(!run.stderr.contains("as usual") && !run.stderr.contains("`kubelet"), "{run}");
    fails_with_hint(run, 2, &["kubelet runs it by itself"], "ycred setup kubelet");
}

#[test]
fn the_hint_after_a_syntax_error_corrects_that_error() {
    let world = World::without_profile(Config::default());
    for (toml, hint) in [
        ("source = metadata\n", Some("put the value in quotes")),
        ("source = \"metadata\n", Some("put the value in quotes")),
        ("source = \"metadata\"\nsource = \"oauth\"\n", Some("remove one of the two lines")),
        ("source = \"metadata\"\nhosts = [\"a.example\"\n", Some("write a list as key = [")),
        ("source\n", Some("write each setting as key = \"value\"")),
        ("source =\n", Some("key = \"value\"")),
        ("source = \"metadata\"\n[section\n", None),
        ("source = \"authorized-key\"\nkey-file = \"C:\\keys\\prod.json\"\n", Some("use single quotes")),
        ("source = \"authorized-key\"\nkey-file = \"C:\\Users\\k.json\"\n", Some("use single quotes")),
        ("source = \"metadata\"\nmin\u{2010}ttl = \"1m\"\n", Some("`\u{2010}` is not allowed in a key")),
        ("source = \"metadata\",\n", Some("remove the `,` at the end of the line")),
        ("source = \"metadata\";\n", Some("remove the `;` at the end of the line")),
        ("source = \"metadata\"\nhosts = [cr.yandex]\n", Some("put quotes around each entry")),
    ] {
        world.sandbox.profile("default", toml);
        let run = world.token(&["--timeout", "1s"]).run().exits(3).stderr_has("default.toml:");
        let hints = run.lines_of_stderr("ycred: hint: ").concat();
        assert!(hint.map_or(hints.is_empty(), |hint| hints.contains(hint)), "{toml:?}\n{run}");
    }
}
