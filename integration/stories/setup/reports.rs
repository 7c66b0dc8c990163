//! What setup and unsetup print: what a line replaces, and where to read how to go on.

use serde_json::Value;

use super::{GO, Machine, yc_with};
use crate::harness::require_client;
use crate::stories::schema::assert_schema;

#[test]
fn every_change_is_printed_as_the_file_was_before_and_is_after() {
    let mut machine = Machine::new();
    for name in ["prod", "stage"] {
        machine.world.profile(name, "hosts = [\"git.example.com\"]");
    }
    machine.world.sandbox.script("bin/go", GO);
    machine.write_kubeconfig(&yc_with("prod"));
    machine.world.sandbox.set("YCRED_CONFIG_DIR", machine.path("config"));
    let mut clients = vec![
        (vec!["kubectl"], "home/.kube/config"),
        (vec!["docker"], "home/.docker/config.json"),
        (vec!["terraform"], "home/.terraform.d/ycred.tfrc"),
        (vec!["terraform", "--file", "rc"], "work/rc"),
        (vec!["aws"], "home/.aws/config"),
        (vec!["go"], "home/.config/go/env"),
    ];
    if require_client("git").is_some() {
        clients.push((vec!["git", "--host", "git.example.com"], "home/.gitconfig"));
    }
    machine.world.sandbox.file("work/rc", "a = 1");
    for (arguments, file) in clients {
        let setup = |profile: &str| machine.setup(&[&arguments[..], &["-p", profile]].concat()).run().succeeds();
        let lines = |run: &crate::harness::Run, sign: &str| -> Vec<String> {
            run.stdout.lines().filter_map(|line| line.strip_prefix(sign).map(str::to_owned)).collect()
        };
        let names = |lines: &[String], profile: &str| lines.iter().any(|line| line.contains(profile));
        setup("prod");
        let second = setup("stage");
        let (removed, added) = (lines(&second, "- "), lines(&second, "+ "));
        assert!(names(&removed, "prod") && !names(&removed, "stage"), "{arguments:?}\n{second}");
        assert!(names(&added, "stage") && !names(&added, "prod"), "{arguments:?}\n{second}");
        assert!(machine.read(file).contains("stage"), "{arguments:?}");
        let third = setup("stage");
        assert!(lines(&third, "- ").is_empty() && third.stdout.contains("already set up"), "{arguments:?}\n{third}");
        let undone = machine.unsetup(&arguments).run().succeeds();
        assert!(
            names(&lines(&undone, "- "), "stage") && !names(&lines(&undone, "- "), "prod"),
            "{arguments:?}\n{undone}"
        );
    }
    assert!(machine.journal().is_empty());
    // The values of others are never printed.
    if require_client("git").is_some() {
        let text = "[credential \"https://git.example.com\"]\n\thelper = !echo s3cret\n";
        machine.world.sandbox.file("home/.gitconfig", text);
        let git = ["git", "--host", "git.example.com", "-p", "prod"];
        machine.setup(&git).run().succeeds().stdout_has("- helper = …").never_prints("s3cret");
        machine.unsetup(&["git"]).run().succeeds().stdout_has("+ helper = …").never_prints("s3cret");
    }
    machine.world.sandbox.file("home/.config/go/env", "GOAUTH=git /s3cret; netrc\n");
    machine.setup(&["go", "-p", "prod"]).run().succeeds().never_prints("s3cret");
    machine.unsetup(&["go"]).run().succeeds().stdout_has("- GOAUTH=").never_prints("s3cret");
}

#[test]
fn what_is_left_is_never_said_to_be_above_where_nothing_is() {
    let machine = Machine::new();
    machine.world.sandbox.script("bin/git", "#!/bin/sh\nexit 1\n");
    machine.write_kubeconfig(&yc_with("prod"));
    let quiet = machine.setup(&["--all", "--quiet"]).run().exits(2);
    assert!(!quiet.stdout.contains("git") && !quiet.stderr.contains("above"), "{quiet}");
    quiet.stderr_has("not set up: git").stderr_has("the same command without --quiet shows how");
    machine.setup(&["--all"]).run().exits(2).stderr_has("as shown above").stdout_has("git: run `ycred setup git");
    let run = machine.setup(&["--all", "--json"]).run().exits(2);
    let report: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(report["failures"][0]["hint"], "set them up one by one; the notes say how");
    assert!(report["notes"].to_string().contains("ycred setup git --host HOST"), "{report}");
    // Several users that cannot be set up.
    let user = |name: &str| {
        format!("- name: {name}\n  user: {{exec: {{command: yc, args: [k8s, create-token, --profile={name}]}}}}\n")
    };
    machine.write_kubeconfig(&format!("kind: Config\nusers:\n{}{}", user("a"), user("b")));
    let run = machine.setup(&["kubectl", "--all", "--quiet"]).run().exits(2).stdout_is("");
    run.stderr_has("the same command without --quiet shows how to fix each of them");
    let run = machine.setup(&["kubectl", "--all"]).run().exits(2);
    run.stderr_has("the report shows how to fix each of them")
        .stdout_has("failed: user a:")
        .stdout_has("failed: user b:");
}

#[test]
fn a_value_that_cannot_be_set_is_named_with_its_place() {
    let machine = Machine::new();
    for (text, why) in [
        ("{\"credHelpers\":[]}", "what is around the value is not a mapping"),
        ("{\"credHelpers\":\"x\"}", "what is around the value is not a mapping"),
    ] {
        machine.world.sandbox.file("home/.docker/config.json", text);
        let error =
            format!("{}: cr.yandex: cannot be edited: {why}", machine.path("home/.docker/config.json").display());
        let hint = "edit the file yourself: set credHelpers → cr.yandex to \"ycred-prod\"";
        crate::expect::fails_with_hint(machine.setup(&["docker"]).run(), 3, &[&error], hint);
        assert_eq!(machine.read("home/.docker/config.json"), text);
    }
}

#[test]
fn a_wrong_command_line_of_status_or_doctor_is_a_document_too() {
    let machine = Machine::new();
    let schemas =
        [("status", "status.json", "/error/message"), ("doctor", "../reference/doctor.schema.json", "/error/message")];
    for (command, schema, message) in schemas {
        for arguments in [&["--json", "--frob"][..], &["--frob", "--json"], &["--json", "--timeout", "x"]] {
            let run = machine.world.sandbox.ycred([command].iter().chain(arguments)).run().exits(2);
            let document: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{run}"));
            assert_schema(schema, &document);
            let message = document.pointer(message).and_then(Value::as_str).expect("a message");
            assert!(run.stderr.contains(message), "{run}");
        }
        machine.world.sandbox.ycred([command, "--frob"]).run().exits(2).stdout_is("");
    }
    let ycred = |arguments: &[&str]| machine.world.sandbox.ycred(arguments).run().exits(2).stdout;
    assert!(ycred(&["doctor", "--json", "kubctl"]).contains("did you mean kubectl?"));
    assert!(ycred(&["status", "--json", "--short"]).contains("\"exit_code\":2"));
}
