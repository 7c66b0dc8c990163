//! `init` at a terminal: its questions, the offers after them, and where it asks nothing. Also `--json` and `--no-verify`.

use std::fs;

use serde_json::Value;

use crate::emulator::Config;
use crate::expect::{fails_with, fails_with_hint, prints_token};
use crate::harness::{Call, Run, Sandbox, YCRED};
use crate::stories::terminal::{TERMINAL, at_terminal};
use crate::world::World;

const ACCOUNT: &str = "Number [1-3]:";
const KEY: &str = "Path of the key file:";
const FEDERATION: &str = "nothing for a Yandex account:";
const NAME: &str = "Name of the profile [main]:";

/// Asks in a terminal without colour, and with no client programs but those in the sandbox.
fn init(world: &World, arguments: &[&str], steps: &[(&str, &str)]) -> Call {
    let url = world.emulator.url();
    let arguments = [&["init", "--iam-url", &url], arguments].concat();
    let steps: Vec<String> = steps.iter().map(|(output, input)| format!("{output}=>{input}")).collect();
    let call = at_terminal(&world.sandbox, &arguments, &steps.join("|"));
    call.env("NO_COLOR", "1").env("PATH", world.sandbox.path("bin"))
}

fn world() -> World {
    World::without_profile(Config::default())
}

fn key_answer(world: &World) -> String {
    format!("{}\\n", world.sandbox.path("config/key.json").display())
}

fn profile(world: &World, name: &str) -> String {
    fs::read_to_string(world.sandbox.path(format!("config/{name}.toml"))).expect("a profile")
}

/// Checks that ycred has created nothing at all.
#[track_caller]
fn assert_nothing_written(world: &World, run: &Run) {
    let files = |place| world.sandbox.files(place);
    assert_eq!(files("config"), [world.sandbox.path("config/key.json")], "{run}");
    assert!(files("cache").is_empty() && files("state").is_empty() && files("home").is_empty(), "{run}");
    assert_eq!(world.requests(), 0, "{run}");
}

#[test]
fn three_answers_create_a_profile_and_verify_it() {
    let world = world();
    let run = init(&world, &[], &[(ACCOUNT, "1\\n"), (KEY, &key_answer(&world)), (NAME, "\\n")]).run().exits(0);
    let expected =
        format!("source = \"authorized-key\"\nkey-file = \"{}\"\n", world.sandbox.path("config/key.json").display());
    assert!(profile(&world, "main").starts_with(&expected), "{run}");
    assert_eq!(profile(&world, "default"), "use = \"main\"\n");
    assert!(
        run.stdout.contains("got a token, valid for") && run.stdout.contains("the default profile is now main"),
        "{run}"
    );
    assert!(run.stdout.contains("next: ycred token\r\n"), "no client is found here\n{run}");
    assert_eq!(run.stdout.matches("]:").count() + run.stdout.matches("file:").count(), 3, "three questions\n{run}");
    assert_eq!(prints_token(world.token(&[]).run()), world.last_token());
    assert_eq!(world.requests(), 1);
}

#[test]
fn other_accounts_need_other_answers_and_a_name_on_the_command_line_is_not_asked_for() {
    let mut world = world();
    let address = world.emulator.metadata_addr();
    world.emulator.set(|settings| settings.metadata_account = Some("ajevm000000000000000".into()));
    world.sandbox.set("YC_METADATA_ADDR", address);
    let run = init(&world, &["vm"], &[(ACCOUNT, "2\\n")]).run().exits(0);
    assert!(profile(&world, "vm").starts_with("source = \"metadata\"\n"), "{run}");
    assert!(!run.stdout.contains("Name of the profile"), "{run}");
    assert!(!world.sandbox.path("config/default.toml").exists(), "it serves as the only one");
    // The name of the source works too. A federation is optional.
    let answers =
        [(ACCOUNT, "login\\n"), (FEDERATION, "bpf00000000000000001\\n"), ("Name of the profile [main]:", "me\\n")];
    let run = init(&world, &["--no-verify"], &answers).run().exits(0);
    assert!(
        profile(&world, "me").starts_with("source = \"login\"\nfederation-id = \"bpf00000000000000001\"\n"),
        "{run}"
    );
    assert!(run.stdout.contains("the default profile is still vm; to change it: ycred use me"), "{run}");
    assert_eq!(profile(&world, "default"), "use = \"vm\"\n");
    assert!(run.stdout.contains("next: ycred login me"), "{run}");
    init(&world, &["--no-verify", "you"], &[(ACCOUNT, "3\\n"), (FEDERATION, "\\n")]).run().exits(0);
    assert!(!profile(&world, "you").contains("federation"));
}

#[test]
fn wrong_answers_are_explained_and_asked_again() {
    let world = world();
    world.sandbox.static_profile("taken");
    let bad = world.sandbox.file("tmp/bad.json", "{}");
    let answers = [
        (ACCOUNT, "0\\n"),
        ("answer with a number from 1 to 3", "1\\n"),
        (KEY, "/nonexistent/key.json\\n"),
        ("no such file", &format!("'{}'\\n", bad.display())),
        (KEY, &format!("'{}'\\n", world.sandbox.path("config/key.json").display())),
        (NAME, "taken\\n"),
        ("taken.toml: profile already exists", "prod\\n"),
    ];
    let run = init(&world, &[], &answers).run().exits(0);
    assert_eq!(run.stdout.matches(ACCOUNT).count(), 2, "{run}");
    assert_eq!(run.stdout.matches(KEY).count(), 3, "{run}");
    assert!(!run.stdout.contains("--key-file") && !run.stdout.contains("not created: "), "{run}");
    assert!(profile(&world, "prod").contains("config/key.json\""), "{run}");
    assert!(!world.sandbox.path("config/main.toml").exists());
}

/// The person gets no hint at a question, so the line says what to answer.
#[test]
fn a_name_that_is_taken_or_not_valid_is_explained_and_enter_does_not_choose_it() {
    let world = world();
    world.sandbox.static_profile("main");
    let key = key_answer(&world);
    let answers = [
        (ACCOUNT, "1\\n"),
        (KEY, &*key),
        ("Name of the profile:", "\\n"),
        ("a name is required, because main exists", "main\\n"),
        ("choose another name, or end this with Ctrl-C and replace it with `ycred init main --force`", "Prod_A\\n"),
        ("is not a profile name: use 1 to 63 of a-z, 0-9, dot and dash", "prod\\n"),
    ];
    let run = init(&world, &[], &answers).run().exits(0);
    assert!(!run.stdout.contains("must contain a slash"), "a name at a question cannot be a path\n{run}");
    assert!(profile(&world, "prod").contains("config/key.json\""), "{run}");
    assert_eq!(profile(&world, "default"), "use = \"main\"\n");
}

#[test]
fn init_that_gets_no_token_says_how_to_go_on() {
    let world = world();
    let key = world.sandbox.path("config/key.json").display().to_string();
    // A port of loopback on which nothing listens.
    let run = world.ycred(&["init", "prod", "--key-file", &key, "--iam-url", "http://127.0.0.1:1"]).run();
    let path = world.sandbox.path("config/prod.toml").display().to_string();
    let hint = format!(
        "in profile {path}:3, whose default is https://iam.api.cloud.yandex.net; then run `ycred token --profile prod`, or run `ycred init` again with --force; then"
    );
    fails_with_hint(run, 4, &[&format!("{path}: profile created, but cannot get a token")], &hint);
    // Both ways work.
    let url = world.emulator.url();
    world.sandbox.profile("prod", &profile(&world, "prod").replace("http://127.0.0.1:1", &url));
    assert_eq!(prints_token(world.ycred(&["token", "--profile", "prod"]).run()), world.last_token());
    world.ycred(&["init", "prod", "--key-file", &key, "--iam-url", &url, "--force"]).run().succeeds();
    // A profile that is right is not to be corrected.
    for (proxy, code) in [("http://127.0.0.1:1", 4), ("http://127.0.0.1:99999", 3)] {
        let call = world.ycred(&["init", "far", "--key-file", &key, "--force"]).env("HTTPS_PROXY", proxy);
        let run = call.run();
        fails_with_hint(run.clone(), code, &["profile created, but cannot get a token"], "HTTPS_PROXY");
        assert!(!run.stderr.contains("correct "), "{run}");
        assert!(run.stderr.contains("; then run `ycred token --profile far`; then `ycred setup`"), "{run}");
    }
}

#[test]
fn after_five_wrong_answers_init_gives_up_and_writes_nothing() {
    let world = world();
    let answers: Vec<(&str, &str)> = (0..5).map(|_| (ACCOUNT, "x\\n")).collect();
    let run = init(&world, &[], &answers).run().exits(2);
    assert!(run.stdout.contains("ycred: error: 5 answers were not valid; no profile was created"), "{run}");
    assert_nothing_written(&world, &run);
    let long = "x".repeat(5000);
    // A terminal in line mode cuts a line at 4095 characters, so this comes through a pipe's worth of lines.
    let run = init(&world, &[], &[(ACCOUNT, &format!("{}\\n", &long[..3000])), (ACCOUNT, "\\x04")]).run().exits(2);
    assert_nothing_written(&world, &run);
}

#[test]
fn a_secret_in_an_answer_is_not_repeated() {
    let world = world();
    let secret = format!("t1.{}.{}", "a".repeat(40), "b".repeat(80));
    let answers = [(ACCOUNT, "1\\n"), (KEY, &*format!("{secret}\\n")), (KEY, "\\x04")];
    let run = init(&world, &[], &answers).run().exits(2);
    assert_eq!(run.stdout.matches(&secret).count(), 1, "only the terminal's own echo\n{run}");
    assert!(run.stdout.contains("ycred asks for no secret"), "{run}");
    assert_nothing_written(&world, &run);
}

/// The steps up to each question.
fn questions(world: &World) -> Vec<Vec<(&'static str, String)>> {
    let steps = [(ACCOUNT, "1\\n".to_owned()), (KEY, key_answer(world)), (NAME, String::new())];
    (1..=3).map(|count| steps[..count].to_vec()).collect()
}

#[test]
fn ctrl_c_at_any_question_ends_init_and_writes_nothing() {
    for number in 0..3 {
        let world = world();
        let mut steps = questions(&world).swap_remove(number);
        steps.last_mut().expect("a step").1 = "\\x03".into();
        let steps: Vec<(&str, &str)> = steps.iter().map(|(output, input)| (*output, &**input)).collect();
        // The helper exits with the negative number of the signal.
        let run = init(&world, &[], &steps).run().exits(256 - libc::SIGINT);
        assert_nothing_written(&world, &run);
    }
}

#[test]
fn the_end_of_input_at_any_question_exits_2_and_writes_nothing() {
    for number in 0..3 {
        let world = world();
        let mut steps = questions(&world).swap_remove(number);
        steps.last_mut().expect("a step").1 = "\\x04".into();
        let steps: Vec<(&str, &str)> = steps.iter().map(|(output, input)| (*output, &**input)).collect();
        let run = init(&world, &[], &steps).run().exits(2);
        assert!(
            run.stdout.contains("\r\nycred: error: the input ended before the last answer; no profile was created"),
            "{run}"
        );
        assert_nothing_written(&world, &run);
    }
}

#[test]
fn init_asks_nothing_where_no_person_answers() {
    let world = world();
    // Without a terminal.
    fails_with_hint(world.ycred(&["init"]).run(), 2, &["no credential source given"], "--key-file FILE");
    fails_with(world.ycred(&["init"]).stdin("1\n").run(), 2, &["no credential source given"]);
    let asks_nothing = |run: Run| {
        assert!(run.stdout.contains("ycred: error: no credential source given"), "{run}");
        assert!(!run.stdout.contains("Which account"), "{run}");
        assert_nothing_written(&world, &run.exits(2));
    };
    for flag in ["--no-input", "--json"] {
        asks_nothing(init(&world, &[flag], &[(ACCOUNT, "1\\n")]).run());
    }
    asks_nothing(init(&world, &[], &[(ACCOUNT, "1\\n")]).env("CI", "true").run());
    // One of the two streams is not a terminal.
    let python = world.sandbox.script("terminal.py", TERMINAL).into_os_string().into_string().expect("UTF-8");
    let shell = |script: &str| {
        let arguments = [&*python, "/bin/sh", "-c", script, YCRED, "never printed=>"];
        world.sandbox.call("/usr/bin/python3", arguments).env("NO_COLOR", "1").run()
    };
    asks_nothing(shell("exec \"$0\" init < /dev/null"));
    let errors = world.sandbox.path("tmp/errors");
    let run = shell(&format!("exec \"$0\" init 2> {}", errors.display())).exits(2);
    assert!(fs::read_to_string(errors).expect("the errors").contains("no credential source given"), "{run}");
    // A source that is wrong is an error, and no reason to ask.
    let run = init(&world, &["--source", "kerberos"], &[(ACCOUNT, "1\\n")]).run().exits(2);
    assert!(run.stdout.contains("\"kerberos\" is not one of") && !run.stdout.contains("Which account"), "{run}");
    // With a source, there is nothing to ask, and the next steps are printed.
    let key = world.sandbox.path("config/key.json");
    let run = init(&world, &["prod", "--key-file", key.to_str().expect("UTF-8")], &[("[y/N]", "y\\n")]).run().exits(0);
    assert!(run.stdout.contains("next: ycred token") && !run.stdout.contains("[y/N]"), "{run}");
}

// --------------------------------------------------------------------------------------------------------------- offers

/// Installs docker's command and ycred in the sandbox, and a kubeconfig whose user runs yc.
fn install_clients(sandbox: &Sandbox) {
    sandbox.link("ycred");
    sandbox.script("bin/docker", "#!/bin/sh\n");
    sandbox.script("bin/kubectl", "#!/bin/sh\n");
    sandbox.file(
        "home/.kube/config",
        "users:\n- name: me\n  user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: yc, args: [k8s, create-token]}}\n\
         contexts:\n- {name: c, context: {user: me}}\ncurrent-context: c\n",
    );
}

fn answers<'a>(key: &'a str, offers: &[(&'static str, &'a str)]) -> Vec<(&'static str, &'a str)> {
    [&[(ACCOUNT, "1\\n"), (KEY, key), (NAME, "prod\\n")], offers].concat()
}

#[test]
fn each_client_is_offered_with_its_change_and_the_answer_is_no_unless_it_is_yes() {
    let world = world();
    install_clients(&world.sandbox);
    let kubeconfig = || fs::read_to_string(world.sandbox.path("home/.kube/config")).expect("there");
    let docker = world.sandbox.path("home/.docker/config.json");
    let key = key_answer(&world);
    let offers = [("Set up kubectl? [y/N]", "yes\\n"), ("Set up docker? [y/N]", "\\n")];
    let run = init(&world, &[], &answers(&key, &offers)).run().exits(0);
    let text = &run.stdout;
    assert!(text.contains("user me: yc → ycred profile prod (service account "), "the change comes first\n{run}");
    assert!(text.contains("+ command: ") && text.contains("next: ycred setup docker\r\n"), "{run}");
    assert!(text.find("got a token") < text.find("Set up kubectl?"), "the result comes before the offers\n{run}");
    assert!(kubeconfig().contains("ycred") && !docker.exists(), "{run}");
    // A client that is set up is not offered again. With a second profile, its name is a part of the commands.
    let offers = [("Set up docker? [y/N]", "y\\n")];
    let more: Vec<_> = [(ACCOUNT, "1\\n"), (KEY, &*key), (NAME, "test\\n")].into_iter().chain(offers).collect();
    let before = kubeconfig();
    let run = init(&world, &[], &more).run().exits(0);
    assert!(!run.stdout.contains("kubectl?") && run.stdout.contains("ycred-test"), "{run}");
    assert!(fs::read_to_string(docker).expect("written").contains("\"cr.yandex\": \"ycred-test\""), "{run}");
    assert_eq!(kubeconfig(), before);
}

#[test]
fn the_end_of_input_at_an_offer_means_no_and_without_a_terminal_the_commands_are_printed() {
    let world = world();
    install_clients(&world.sandbox);
    let key = key_answer(&world);
    let run = init(&world, &[], &answers(&key, &[("Set up kubectl? [y/N]", "\\x04")])).run().exits(0);
    for client in ["kubectl", "docker"] {
        assert!(run.stdout.contains(&format!("next: ycred setup {client}\r\n")), "{run}");
    }
    assert!(!run.stdout.contains("Set up docker?"), "{run}");
    assert!(!world.sandbox.path("home/.docker").exists() && !world.sandbox.path("state/setup").exists());
    // The same with a source, and with another profile's name.
    let (file, url) = (world.sandbox.path("config/key.json"), world.emulator.url());
    let call = world.ycred(&["init", "two", "--iam-url", &url, "--key-file", file.to_str().expect("UTF-8")]);
    let run = call.env("PATH", world.sandbox.path("bin")).run().exits(0).stderr_is_empty();
    run.stdout_has("next: ycred setup kubectl --profile two\nnext: ycred setup docker --profile two\n");
    assert!(!world.sandbox.path("state/setup").exists());
}

#[test]
fn a_client_that_cannot_be_set_up_yet_is_not_passed_over_in_silence() {
    let world = world();
    // ycred is not in PATH, and neither is a directory for its links.
    world.sandbox.script("bin/docker", "#!/bin/sh\n");
    let run = init(&world, &[], &answers(&key_answer(&world), &[])).run().exits(0);
    let line = "docker: cannot be set up yet: no directory in PATH for the link docker-credential-ycred";
    assert!(run.stdout.contains(line) && run.stdout.contains("next: ycred setup docker\r\n"), "{run}");
}

/// Each command is one that `setup` accepts.
#[test]
fn the_next_commands_have_the_hosts_and_no_profile_for_pip() {
    let world = world();
    let sandbox = &world.sandbox;
    sandbox.link("ycred");
    for program in ["docker", "git", "pip"] {
        sandbox.script(format!("bin/{program}"), "#!/bin/sh\n");
    }
    let (file, url) = (sandbox.path("config/key.json"), world.emulator.url());
    let init = |name: &str| {
        let call = world.ycred(&["init", name, "--iam-url", &url, "--key-file", file.to_str().expect("UTF-8")]);
        let hosts = ["git.example.com", "registry.example.com:5000", "*.apps.example.com"];
        let hosts = hosts.iter().flat_map(|host| ["--hosts", host]);
        call.and(hosts).env("PATH", sandbox.path("bin")).run().exits(0).stderr_is_empty()
    };
    let run = init("one");
    run.stdout_has("next: ycred setup docker --host registry.example.com:5000\n")
        .stdout_has("next: ycred setup git --host git.example.com\n")
        .stdout_has("next: ycred setup pip\n");
    let run = init("two");
    assert!(!run.stdout.contains("setup pip"), "pip uses the default profile\n{run}");
    run.stdout_has("next: ycred setup docker --host registry.example.com:5000 --profile two\n")
        .stdout_has("next: ycred setup git --host git.example.com --profile two\n");
    // More than three are not read.
    for program in ["terraform", "aws", "kubectl"] {
        sandbox.script(format!("bin/{program}"), "#!/bin/sh\n");
    }
    let run = init("three");
    let next: Vec<&str> = run.stdout.lines().filter(|line| line.starts_with("next: ")).collect();
    let expected = [
        "next: ycred setup kubectl --profile three",
        "next: ycred setup docker --host registry.example.com:5000 --profile three",
        "next: ycred setup   # it lists more clients",
    ];
    assert_eq!(next, expected, "{run}");
    let setup = ["setup", "docker", "--host", "registry.example.com:5000", "--profile", "two"];
    world.ycred(&setup).env("PATH", sandbox.path("bin")).run().succeeds();
}

/// A kubeconfig alone runs nothing, and git needs a host of the profile.
#[test]
fn the_next_commands_are_those_of_installed_programs_that_can_be_set_up() {
    let world = world();
    let sandbox = &world.sandbox;
    install_clients(sandbox);
    fs::remove_file(sandbox.path("bin/kubectl")).expect("removed");
    sandbox.file("home/.aws/config", "");
    sandbox.script("bin/git", "#!/bin/sh\n");
    let (file, url) = (sandbox.path("config/key.json"), world.emulator.url());
    let init = world.ycred(&["init", "one", "--iam-url", &url, "--key-file", file.to_str().expect("UTF-8")]);
    let run = init.env("PATH", sandbox.path("bin")).run().exits(0).stderr_is_empty();
    let next: Vec<&str> = run.stdout.lines().filter(|line| line.starts_with("next: ")).collect();
    assert_eq!(next, ["next: ycred setup docker"], "{run}");
}

// ------------------------------------------------------------------------------------------------- --json and --no-verify

#[test]
fn json_names_the_profile_the_account_the_token_and_the_next_steps() {
    let world = world();
    install_clients(&world.sandbox);
    let (file, url) = (world.sandbox.path("config/key.json"), world.emulator.url());
    let call = world.ycred(&["init", "--json", "--iam-url", &url, "--key-file", file.to_str().expect("UTF-8")]);
    let run = call.env("PATH", world.sandbox.path("bin")).run().exits(0).stderr_is_empty();
    assert!(!run.stdout.contains(&world.last_token()), "no token");
    let json: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(json["version"], 1);
    assert_eq!(
        (&json["profile"], &json["source"], &json["default"]),
        (&"main".into(), &"authorized-key".into(), &"main".into())
    );
    assert_eq!(json["file"], world.sandbox.path("config/main.toml").to_str().expect("UTF-8"));
    assert!(json["account"].as_str().is_some_and(|account| account.starts_with("service account ")), "{json}");
    let (at, unix) = (json["token"]["expires_at"].as_str(), json["token"]["expires_at_unix"].as_i64());
    assert!(at.is_some_and(|at| at.ends_with('Z')) && unix.is_some_and(|unix| unix > 1_700_000_000), "{json}");
    assert!(json["token"]["seconds_left"].as_i64().is_some_and(|left| (1..=43_200).contains(&left)), "{json}");
    assert_eq!(json["next"], serde_json::json!(["ycred setup kubectl", "ycred setup docker"]));
    // A failure leaves stdout empty.
    fails_with(world.ycred(&["init", "x", "--json", "--key-file", "/nonexistent/key.json"]).run(), 3, &["not created"]);
}

#[test]
fn a_profile_for_another_machine_is_written_without_its_variable_or_file() {
    let world = world();
    let sandbox = &world.sandbox;
    let workload = ["init", "ci", "--service-account-id", "aje0000000000000000a", "--subject-token-env", "CI_TOKEN"];
    let run = sandbox.ycred(workload).run();
    fails_with_hint(run, 3, &["profile not created: ", "CI_TOKEN"], "on another machine, pass --no-verify");
    let run = sandbox.ycred(workload).and(["--no-verify"]).run().exits(0).stderr_is_empty();
    let run = run.stdout_has("ci.toml: service account aje0000000000000000a").stdout_has("; not verified\n");
    run.stdout_has("next, where CI_TOKEN is set: ycred refresh --profile ci\n");
    assert_eq!(
        fs::read_to_string(sandbox.path("config/ci.toml")).expect("written"),
        "source = \"workload\"\nservice-account-id = \"aje0000000000000000a\"\nsubject-token-env = \"CI_TOKEN\"\n"
    );
    let account = ["--service-account-id", "aje0000000000000000a"];
    for (name, flags, place) in [
        ("github", &["--github-audience", "https://github.com/o"][..], "in a job of GitHub Actions"),
        ("key", &["--key-file", "/run/secrets/key.json"], "where /run/secrets/key.json exists"),
        ("file", &["--subject-token-file", "/run/t/token"], "where /run/t/token exists"),
        ("oauth", &["--oauth-token-env", "OAUTH_TOKEN"], "where OAUTH_TOKEN is set"),
        ("static", &["--token-env", "SOME_TOKEN"], "where SOME_TOKEN is set"),
        ("vm", &["--metadata"], "on the virtual machine"),
    ] {
        let account = if matches!(name, "github" | "file") { &account[..] } else { &[] };
        let run = sandbox.ycred(["init", name, "--no-verify"].iter().chain(account).chain(flags)).run();
        let run = run.exits(0).stderr_is_empty();
        run.stdout_has(&format!("next, {place}: ycred refresh --profile {name}\n"));
        assert!(sandbox.path(format!("config/{name}.toml")).exists());
        sandbox.ycred(["list"]).run().exits(0).stdout_has(name);
    }
    assert_eq!(world.emulator.calls(), 0, "no request at all");
    let run = sandbox.ycred(["init", "k", "--key-file", "/run/secrets/key.json"]).run();
    fails_with_hint(run, 3, &["profile not created: "], "on another machine, pass --no-verify");
    // Everything else must be right.
    for (flags, error) in [
        (&["--workload"][..], "needs `service-account-id`"),
        (&["--service-account-id", "no id!", "--subject-token-env", "X"], "is not the ID of a service account"),
        (&["--service-account-id", "aje0000000000000000a"], "needs one of"),
        (&["--static"], "token-file"),
        (&["--oauth"], "oauth-token"),
    ] {
        let run = sandbox.ycred(["init", "bad", "--no-verify"].iter().chain(flags)).run();
        fails_with(run, 3, &["profile not created: ", error]);
        assert!(!sandbox.path("config/bad.toml").exists());
    }
    let json: Value = serde_json::from_str(
        &sandbox.ycred(["init", "j", "--no-verify", "--json", "--metadata"]).run().exits(0).stdout,
    )
    .expect("JSON");
    assert_eq!(json["token"], Value::Null);
}
