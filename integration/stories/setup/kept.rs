//! A client that runs ycred keeps its profile: no setup changes an account that somebody has chosen.

use serde_json::{Value, json};

use super::{GO, Machine, yc_with};
use crate::harness::require_client;
use crate::sources::person::Person;

const FILES: [&str; 4] =
    ["home/.docker/config.json", "home/.terraform.d/ycred.tfrc", "home/.aws/config", "home/.config/go/env"];
const CLIENTS: [&str; 4] = ["docker", "terraform", "aws", "go"];

/// A machine whose default profile is `prod`, and that has another one.
fn machine() -> Machine {
    let mut machine = Machine::new();
    let hosts = "hosts = [\"git.example.com\", \"one.example\"]";
    machine.account = machine.world.profile("prod", hosts).service_account_id;
    machine.world.profile("stage", hosts);
    machine.world.sandbox.ycred(["use", "prod"]).run().succeeds();
    machine.world.sandbox.script("bin/go", GO);
    machine.world.sandbox.script("bin/terraform", "#!/bin/sh\n");
    machine
}

fn texts(machine: &Machine) -> Vec<String> {
    FILES.iter().map(|file| machine.read(file)).collect()
}

fn document(machine: &Machine, arguments: &[&str]) -> Value {
    let run = machine.setup(&[arguments, &["--json"]].concat()).run();
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{run}"))
}

#[test]
fn every_client_keeps_its_profile_unless_another_one_is_given() {
    let mut machine = machine();
    for client in CLIENTS {
        machine.setup(&[client, "-p", "stage"]).run().succeeds();
    }
    let chosen = texts(&machine);
    machine.write_kubeconfig(&yc_with("prod"));
    machine.setup(&["kubectl", "-p", "stage"]).run().succeeds();
    let kubeconfig = machine.read("home/.kube/config");
    let keeps = |run: crate::harness::Run, clients: &[&str]| {
        for client in clients {
            let note = format!("{client} keeps the profile stage; to change it: ycred setup {client} --profile NAME\n");
            assert!(run.stdout.contains(&note), "{run}");
        }
        assert!(run.stdout.contains("already set up"), "{run}");
        assert_eq!(texts(&machine), chosen, "{run}");
    };
    keeps(machine.setup(&["--all"]).run(), &CLIENTS);
    assert_eq!(machine.read("home/.kube/config"), kubeconfig);
    for client in CLIENTS {
        keeps(machine.setup(&[client]).run().succeeds(), &[client]);
    }
    // A variable of this shell is not meant for all clients.
    keeps(machine.setup(&["--all"]).env("YCRED_PROFILE", "prod").run(), &CLIENTS);
    machine.setup(&["--all", "-p", "prod"]).run();
    assert!(
        texts(&machine).iter().all(|text| text.contains("prod") && !text.contains("stage")),
        "{:?}",
        texts(&machine)
    );
    // Users of a kubeconfig keep theirs.
    assert_eq!(machine.read("home/.kube/config"), kubeconfig);
    machine.setup(&["docker"]).env("YCRED_PROFILE", "stage").run().succeeds().stdout_has("YCRED_PROFILE has selected");
    assert_eq!(machine.read(FILES[0]), chosen[0]);
    machine.setup(&["--all", "--force"]).run();
    assert!(texts(&machine).iter().all(|text| !text.contains("stage")), "{:?}", texts(&machine));
    machine.unsetup(&["--all"]).run().succeeds();
    // With the default profile chosen, there is nothing to say.
    machine.setup(&["docker"]).run().succeeds();
    machine.world.sandbox.set("YCRED_PROFILE", "stage");
    let run = machine.setup(&["--all"]).run();
    assert!(!run.stdout.contains("docker keeps") && machine.read(FILES[0]).contains("\"ycred\""), "{run}");
}

#[test]
fn a_server_of_git_and_a_profile_of_aws_keep_their_profiles_one_by_one() {
    let machine = machine();
    machine.setup(&["aws", "--name", "two", "-p", "stage"]).run().succeeds();
    machine.setup(&["aws"]).run().succeeds().stdout_has("[profile yc]: ycred profile prod");
    let run = machine.setup(&["aws", "--name", "two"]).run().succeeds().stdout_has("already set up");
    run.stdout_has("to change it: ycred setup aws --name two --profile NAME");
    let text = machine.read("home/.aws/config");
    assert!(text.matches("--profile stage").count() == 1 && text.matches("ycred aws").count() == 2, "{text}");
    if require_client("git").is_none() {
        return;
    }
    machine.setup(&["git", "--host", "one.example", "-p", "stage"]).run().succeeds();
    let run = machine.setup(&["git", "--host", "one.example", "--host", "git.example.com"]).run().succeeds();
    run.stdout_has("one.example: already set up with ycred profile stage")
        .stdout_has("git.example.com: ycred profile prod");
}

#[test]
fn a_profile_that_a_path_names_is_kept_too() {
    let machine = machine();
    // Neither the blank nor the missing suffix may hide it.
    for path in ["work/my dir/p.toml", "work/plain"] {
        let key = machine.path("config/stage.json").display().to_string();
        let path = machine.world.sandbox.file(path, machine.read("config/stage.toml").replace("stage.json", &key));
        let path = path.display().to_string();
        let mut clients = vec![vec!["aws"]];
        if !path.contains(' ') {
            clients.push(vec!["go"]);
        }
        if require_client("git").is_some() {
            clients.push(vec!["git", "--host", "git.example.com"]);
        }
        for client in clients {
            machine.setup(&[&client[..], &["-p", &path]].concat()).run().succeeds();
            let files = ["home/.aws/config", "home/.gitconfig", "home/.config/go/env"];
            let texts = || files.map(|file| std::fs::read(machine.path(file)).ok());
            let before = texts();
            machine.setup(&client).run().succeeds().stdout_has("already set up").stdout_has("keeps the profile");
            assert!(texts() == before, "{client:?}");
            machine.world.sandbox.ycred(["doctor", client[0], "--offline"]).run().exits(0);
            machine.unsetup(&client).run().succeeds();
        }
    }
}

#[test]
fn registries_with_several_profiles_keep_them_and_missing_ones_follow() {
    let machine = machine();
    let write = |helpers: Value| machine.world.sandbox.file(FILES[0], json!({ "credHelpers": helpers }).to_string());
    let helpers = || serde_json::from_str::<Value>(&machine.read(FILES[0])).expect("JSON")["credHelpers"].clone();
    // One profile serves docker: a registry that is missing gets it too.
    write(json!({ "cr.yandex": "ycred-stage" }));
    machine.setup(&["docker"]).run().succeeds();
    assert_eq!(helpers(), json!({ "cr.yandex": "ycred-stage", "registry.yandexcloud.net": "ycred-stage" }));
    let several = json!({ "cr.yandex": "ycred-stage", "registry.yandexcloud.net": "ycred" });
    write(several.clone());
    for arguments in [&["docker"][..], &["--all"]] {
        let report = document(&machine, arguments);
        assert_eq!(helpers(), several, "{report}");
        let changes = report["changes"].as_array().expect("changes");
        let of =
            |place: &str| changes.iter().find(|change| change["place"] == place).expect("a row")["profile"].clone();
        assert_eq!((of("cr.yandex"), of("registry.yandexcloud.net")), (json!("stage"), Value::Null), "{report}");
    }
    // A registry of another installation has nothing to do with these.
    write(json!({ "cr.yandexcloud.kz": "ycred-stage" }));
    machine.setup(&["docker"]).run().succeeds();
    assert_eq!(helpers()["cr.yandex"], "ycred", "{}", helpers());
}

#[test]
fn a_profile_that_is_gone_is_never_replaced_by_another_one_unasked() {
    let machine = machine();
    for client in CLIENTS {
        machine.setup(&[client, "-p", "stage"]).run().succeeds();
    }
    let chosen = texts(&machine);
    machine.world.sandbox.ycred(["rename", "stage", "test"]).run().succeeds();
    for client in CLIENTS {
        let run = machine.setup(&[client]).run();
        let error = format!("{client} uses the profile stage, which does not exist");
        crate::expect::fails_with_hint(run, 2, &[&error], &format!("ycred setup {client} --profile NAME"));
    }
    let run = machine.setup(&["--all"]).run().exits(2);
    for client in CLIENTS {
        assert!(run.stdout.contains(&format!("{client}: {client} uses the profile stage")), "{run}");
    }
    assert_eq!(texts(&machine), chosen);
    for client in CLIENTS {
        machine.setup(&[client, "--profile", "test"]).run().succeeds();
    }
    let links = ["bin/docker-credential-ycred-stage", "home/.terraform.d/plugins/terraform-credentials-ycred-stage"];
    assert!(links.iter().all(|link| !machine.path(link).is_symlink()), "the links of the profile that is gone");
}

#[test]
fn a_login_that_only_a_variable_leads_to_is_named_and_another_one_is_refused() {
    for variable in ["YCRED_STATE_DIR", "XDG_STATE_HOME"] {
        let mut person = Person::new();
        if variable == "XDG_STATE_HOME" {
            let state = person.world.sandbox.path("work/state");
            person.world.sandbox.unset("YCRED_STATE_DIR").set(variable, state);
        }
        let setup = |person: &Person| person.world.sandbox.ycred(["setup", "aws", "--dry-run"]);
        // Nobody is logged in, here or there.
        let run = setup(&person).run().succeeds();
        assert!(!run.stdout.contains(variable), "{run}");
        person.log_in();
        let note = format!("find the login of profile default only where {variable} is set as it is here");
        setup(&person).run().succeeds().stdout_has(&note);
        person.login(&[]).without(variable).run().exits(0);
        let run = setup(&person).run();
        let error = format!("without {variable}, which the client may not have, the profile default has another login");
        crate::expect::fails_with_hint(run, 2, &[&error], &format!("unset {variable}"));
        let run = setup(&person).without(variable).run().succeeds();
        assert!(!run.stdout.contains("login"), "{run}");
    }
}
