//! Files as other programs read them, and places that somebody has changed between `setup` and the next call.

use std::fs;

use super::{GO, Machine, kubeconfig_with, yc_with};
use crate::harness::{YCRED, require_client};

const DOCKER: &str = "home/.docker/config.json";
const GITCONFIG: &str = "home/.gitconfig";

#[test]
fn a_link_stays_while_a_file_that_names_it_is_away() {
    let machine = Machine::new();
    machine.world.sandbox.file(DOCKER, "{}\n");
    machine.setup(&["docker"]).run().succeeds();
    let link = machine.path("bin/docker-credential-ycred-prod");
    fs::rename(machine.path("home/.docker"), machine.path("home/away")).expect("moved");
    for arguments in [&["docker", "--dry-run"][..], &["docker"], &["--all"]] {
        let run = machine.unsetup(arguments).run().exits(3).stderr_has("because the file is gone");
        assert!(link.exists() && !run.stdout.contains("removed the link"), "{run}");
    }
    fs::rename(machine.path("home/away"), machine.path("home/.docker")).expect("moved back");
    machine.unsetup(&["docker"]).run().succeeds();
    assert_eq!(machine.read(DOCKER), "{}\n");
    assert!(!link.is_symlink());
    // A file that is gone for good.
    machine.setup(&["docker"]).run().succeeds();
    fs::remove_file(machine.path(DOCKER)).expect("removed");
    machine.unsetup(&["docker", "--force"]).run().succeeds();
    assert!(!link.is_symlink() && machine.journal().is_empty());
}

#[test]
fn the_fix_for_a_static_credential_works_for_a_name_with_dots() {
    let machine = Machine::new();
    let text = kubeconfig_with("{exec: {command: yc, args: [k8s, create-token, --profile=prod]}, token: x}");
    machine.write_kubeconfig(&text.replace("user: u}", "user: a.b}").replace("name: u", "name: a.b"));
    let command = "kubectl config unset users.a.b.token\n";
    machine.setup(&["kubectl"]).run().exits(3).stderr_has(command);
    let ours = machine
        .read("home/.kube/config")
        .replace("command: yc", "command: ycred")
        .replace("[k8s, create-token", "[kubectl");
    machine.write_kubeconfig(&ours);
    machine.world.ycred(&["doctor", "kubectl"]).run().exits(1).stdout_has(command);
    if require_client("kubectl").is_some() {
        machine.world.sandbox.call("kubectl", ["config", "unset", "users.a.b.token"]).run().succeeds();
        assert!(!machine.read("home/.kube/config").contains("token: x"));
    }
}

#[test]
fn the_fix_for_a_chain_of_helpers_works_where_somebody_has_changed_it() {
    if require_client("git").is_none() {
        return;
    }
    let machine = Machine::new();
    machine.world.profile("prod", "hosts = [\"git.example.com\"]");
    machine.setup(&["git", "--host", "git.example.com"]).run().succeeds();
    let key = "credential.https://git.example.com.helper";
    for (value, verdict) in [("store", "[warn] git.chain"), ("", "[fail] git.chain")] {
        machine.world.sandbox.call("git", ["config", "--global", "--add", key, value]).run().succeeds();
        let doctor = machine.world.ycred(&["doctor", "git"]).run().stdout_has(verdict);
        let fix = doctor.stdout.split("fix: ").nth(1).and_then(|rest| rest.lines().next()).expect("a fix");
        for command in fix.split(" && ") {
            let words: Vec<&str> = command.split(' ').skip(1).collect();
            machine.world.ycred(&words).run().succeeds();
        }
        let doctor = machine.world.ycred(&["doctor", "git"]).run();
        assert!(!doctor.stdout.contains("git.chain"), "{fix}\n{doctor}");
    }
}

#[test]
fn a_repeated_option_is_refused_because_aws_cannot_read_the_file() {
    let machine = Machine::new();
    for (file, text, place) in [
        (
            "home/.aws/config",
            "[profile yc]\nregion = a\nregion = b\n",
            "config:3: region is there twice in [profile yc]",
        ),
        ("home/.aws/config", "[default]\nx = s3cret\nx = b\n", "config:3: an option is there twice in [default]"),
        ("home/.aws/credentials", "[a]\nregion = a\nregion = b\n", "credentials:3: region is there twice in a section"),
    ] {
        machine.world.sandbox.file(file, text);
        let run = machine.setup(&["aws"]).run().exits(3).stderr_has(place).never_prints("s3cret");
        run.stderr_has("AWS cannot read the file");
        assert_eq!(machine.read(file), text);
        fs::remove_file(machine.path(file)).expect("removed");
    }
    machine.setup(&["aws"]).run().succeeds();
    let text = format!("{}region = x\n", machine.read("home/.aws/config"));
    machine.world.sandbox.file("home/.aws/config", text);
    machine.setup(&["aws"]).run().exits(3).stderr_has("there twice");
}

#[test]
fn a_profile_of_aws_can_have_blanks_in_its_name() {
    let machine = Machine::new();
    machine.setup(&["aws", "--name", "with space"]).run().succeeds();
    assert!(
        machine.read("home/.aws/config").starts_with("[profile 'with space']\n"),
        "{}",
        machine.read("home/.aws/config")
    );
    machine.setup(&["aws", "--name", "with space"]).run().succeeds().stdout_has("already set up");
    machine.unsetup(&["aws", "--name", "with space"]).run().succeeds();
    assert!(!machine.path("home/.aws/config").exists());
    machine.setup(&["aws", "--name", " x"]).run().exits(2);
}

#[test]
fn a_file_that_terraform_cannot_parse_is_named_with_its_line() {
    let machine = Machine::new();
    machine.world.profile("prod", "hosts = [\"r.example\"]");
    machine.setup(&["terraform"]).run().succeeds();
    for file in ["home/.terraformrc", "home/.terraform.d/z.tfrc"] {
        machine.world.sandbox.file(file, "a = 1\nbad {{{\n");
        let doctor = machine.world.ycred(&["doctor", "terraform"]).run().exits(1).stdout_has("[fail] terraform.config");
        doctor.stdout_has(":2: expected a name; terraform cannot read the file");
        let run = machine.setup(&["terraform"]).run().succeeds();
        run.stdout_has(&format!("terraform cannot read {}:2: ", machine.path(file).display()));
        fs::remove_file(machine.path(file)).expect("removed");
    }
    let own = machine.world.sandbox.file("home/own.tfrc", "bad {{{\n");
    let own = own.to_str().expect("UTF-8");
    machine.setup(&["terraform", "--file", own]).run().exits(3).stderr_has("own.tfrc:1: expected a name");
    assert_eq!(machine.read("home/own.tfrc"), "bad {{{\n");
}

#[test]
fn without_a_journal_a_file_of_terraform_is_found_by_its_flag() {
    let machine = Machine::new();
    let own = machine.world.sandbox.file("home/own.tfrc", "disable_checkpoint = true\n");
    machine.setup(&["terraform", "--file", own.to_str().expect("UTF-8")]).run().succeeds();
    fs::remove_dir_all(machine.path("state/setup")).expect("removed");
    let run = machine.unsetup(&["terraform", "--file", "own.tfrc"]).within(machine.path("home")).run().succeeds();
    run.stdout_has("credentials_helper \"ycred-prod\": removed");
    assert_eq!(machine.read("home/own.tfrc"), "disable_checkpoint = true\n");
}

/// Terraform merges two blocks for one helper.
#[test]
fn a_block_of_terraform_that_was_changed_by_hand_is_not_added_again() {
    let machine = Machine::new();
    let own = machine.world.sandbox.file("home/own.tfrc", "");
    let arguments = ["terraform", "--file", own.to_str().expect("UTF-8")];
    machine.setup(&arguments).run().succeeds();
    let changed = machine.read("home/own.tfrc").replace("args = []", "args = [\"x\"]");
    machine.world.sandbox.file("home/own.tfrc", &changed);
    machine.setup(&arguments).run().succeeds().stdout_has("already set up");
    assert_eq!(machine.read("home/own.tfrc"), changed);
}

#[test]
fn a_copy_of_the_same_version_under_the_name_of_dockers_helper_is_no_other_version() {
    let machine = Machine::new();
    fs::copy(YCRED, machine.path("bin/docker-credential-ycred")).expect("a copy");
    let doctor = machine.world.ycred(&["doctor", "links"]).run().exits(0);
    assert!(!doctor.stdout.contains("links.version"), "{doctor}");
}

#[test]
fn every_file_with_logins_that_podman_reads_first_is_named() {
    let machine = Machine::new();
    machine.setup(&["docker"]).run().succeeds();
    let login = "{\"auths\":{\"cr.yandex\":{\"auth\":\"eDp5\"}}}";
    let chosen = machine.world.sandbox.file("work/auth.json", login);
    let own = machine.world.sandbox.file("home/.config/containers/auth.json", login);
    let call = |words: &[&str]| machine.world.sandbox.ycred(words).env("REGISTRY_AUTH_FILE", &chosen);
    let commands =
        ["podman logout cr.yandex".to_owned(), format!("podman logout --authfile {} cr.yandex", own.display())];
    for command in &commands {
        call(&["doctor", "docker"]).run().exits(0).stdout_has(&format!("fix: {command}\n"));
        call(&["setup", "docker"]).run().succeeds().stdout_has(&format!(": {command}\n"));
    }
}

#[test]
fn a_link_stays_that_podman_asks_about_all_registries() {
    let machine = Machine::new();
    machine.setup(&["docker"]).run().succeeds();
    let conf = "unqualified-search-registries = [\"docker.io\"]\ncredential-helpers = [\"containers-auth.json\", \"ycred-prod\"]\n";
    for file in ["home/.config/containers/registries.conf", "home/.config/containers/registries.conf.d/y.conf"] {
        machine.world.sandbox.file(file, conf);
        let run = machine.unsetup(&["docker", "--dry-run"]).run().exits(3);
        run.stderr_has("docker-credential-ycred-prod: needed by").stderr_has(file.rsplit('/').next().expect("a name"));
        fs::remove_file(machine.path(file)).expect("removed");
    }
    machine.unsetup(&["docker"]).run().succeeds();
    assert!(!machine.path("bin/docker-credential-ycred-prod").is_symlink());
}

#[test]
fn names_of_dockers_options_in_another_case_are_read_as_docker_does() {
    let machine = Machine::new();
    let text = "{\"CredHelpers\":{\"cr.yandex\":\"zzz\"}}";
    machine.world.sandbox.file(DOCKER, text);
    let run = machine.setup(&["docker"]).run().exits(3).stderr_has("credHelpers is written as CredHelpers");
    run.stderr_has("rename CredHelpers to credHelpers");
    assert_eq!(machine.read(DOCKER), text);
    assert!(!machine.path("bin/docker-credential-ycred-prod").is_symlink());
    machine.world.ycred(&["doctor", "docker"]).run().exits(0).stdout_has("[warn] docker.config");
}

#[test]
fn pip_must_be_there_and_a_link_that_is_gone_is_a_failure() {
    let machine = Machine::new();
    let run = machine.setup(&["pip"]).env("PATH", machine.path("bin")).run();
    crate::expect::fails_with_hint(run, 2, &["neither pip nor python3 is in PATH"], "install pip");
    assert!(!machine.path("home/.config/pip").exists() && machine.journal().is_empty());
    machine.world.sandbox.script("bin/pip", "#!/bin/sh\n");
    machine.world.profile("prod", "hosts = [\"pypi.example\"]");
    let directory = machine.path("home/.local/lib/ycred");
    let path = std::env::join_paths([&directory, &machine.path("bin")]).expect("a PATH");
    let call = |words: &[&str]| machine.world.sandbox.ycred(words).env("PATH", &path);
    call(&["setup", "pip"]).run().succeeds();
    fs::remove_file(directory.join("keyring")).expect("removed");
    let doctor = call(&["doctor", "pip"]).run().exits(1).stdout_has("[fail] pip.link");
    doctor.stdout_has("fix: ").stdout_has(" setup pip\n");
    call(&["setup", "pip"]).run().succeeds();
    let doctor = call(&["doctor", "pip"]).run();
    assert!(!doctor.stdout.contains("pip.link"), "{doctor}");
}

#[test]
fn each_client_is_listed_with_its_command_also_if_it_is_set_up() {
    let machine = Machine::new();
    machine.write_kubeconfig(&yc_with("prod"));
    machine.setup(&["kubectl"]).run().succeeds();
    machine.setup(&[]).run().succeeds().stdout_has("kubectl    set up: user u; to change it: ycred setup kubectl\n");
}

#[test]
fn flags_of_yc_that_are_refused_are_named() {
    let machine = Machine::new();
    for flag in ["federation-id", "organization-id", "username", "token", "endpoint", "cloud-id", "folder-id"] {
        let user = format!("{{exec: {{command: yc, args: [k8s, create-token, --{flag}=s3cret]}}}}");
        machine.write_kubeconfig(&kubeconfig_with(&user));
        let run = machine.setup(&["kubectl"]).run().exits(2).never_prints("s3cret");
        run.stderr_has(&format!("runs yc with --{flag}, which"));
    }
}

#[test]
fn flags_without_effect_are_refused() {
    let machine = Machine::new();
    for (command, flag) in [("setup", "--host"), ("unsetup", "--user"), ("setup", "--name")] {
        let run = machine.world.sandbox.ycred([command, "--all", flag, "x"]).run();
        let error = format!("cannot use {flag} with all clients");
        crate::expect::fails_with_hint(
            run,
            2,
            &[&error],
            &format!("name the client, such as `ycred {command} docker`"),
        );
    }
}

#[test]
fn an_error_without_a_hint_promises_none() {
    let machine = Machine::new();
    machine.setup(&["docker"]).run().succeeds();
    fs::remove_file(machine.path(DOCKER)).expect("removed");
    fs::create_dir(machine.path(DOCKER)).expect("a directory");
    let run = machine.unsetup(&["docker"]).run().exits(3);
    assert!(!run.stderr.contains("the report shows") && !run.stderr.contains("hint"), "{run}");
}

#[test]
fn a_part_of_a_check_says_what_the_check_says() {
    let machine = Machine::new();
    machine.world.sandbox.script("bin/kubectl", "#!/bin/sh\n");
    let whole = machine.world.ycred(&["doctor", "kubectl"]).run().exits(0).stdout_has("[skip] kubectl");
    let part = machine.world.ycred(&["doctor", "kubectl.command"]).run().exits(0);
    assert_eq!(part.stdout, whole.stdout);
}

#[test]
fn an_endpoint_without_registries_needs_a_host() {
    let machine = Machine::new();
    machine.world.profile("own", "endpoint = \"api.private.example\"\nhosts = [\"r.example\"]");
    let run = machine.setup(&["docker", "-p", "own"]).run();
    let hint = "name one that the profile lists: ycred setup docker --host HOST";
    crate::expect::fails_with_hint(run, 2, &["the endpoint of profile own has no registry that ycred knows"], hint);
    assert!(!machine.path("bin/docker-credential-ycred-own").is_symlink());
    machine.setup(&["docker", "-p", "own", "--host", "r.example"]).run().succeeds();
}

/// As for kubectl and docker: what ycred wrote and somebody changed is ycred's as long as it runs ycred.
#[test]
fn what_git_and_go_had_first_comes_back_after_a_change_by_hand_and_another_setup() {
    let machine = Machine::new();
    if require_client("git").is_some() {
        machine.world.profile("prod", "hosts = [\"git.example.com\"]");
        let text = "[credential \"https://git.example.com\"]\n\thelper = mine\n";
        machine.world.sandbox.file(GITCONFIG, text);
        let setup = ["git", "--host", "git.example.com", "-p", "prod"];
        machine.setup(&setup).run().succeeds();
        let changed = machine.read(GITCONFIG).replace("--profile prod", "--profile prdo");
        assert!(changed.contains("prdo"), "{changed}");
        machine.world.sandbox.file(GITCONFIG, &changed);
        // It is still there, so it is not left in silence.
        machine.unsetup(&["git"]).run().exits(3).stderr_has("changed since `ycred setup`");
        machine.setup(&setup).run().succeeds();
        machine.unsetup(&["git"]).run().succeeds();
        assert_eq!(machine.read(GITCONFIG), text);
        // What somebody else has added comes back too.
        machine.setup(&setup).run().succeeds();
        let changed =
            format!("{}\thelper = late\n", machine.read(GITCONFIG).replace("--profile prod", "--profile prdo"));
        machine.world.sandbox.file(GITCONFIG, &changed);
        machine.setup(&setup).run().succeeds();
        machine.unsetup(&["git"]).run().succeeds();
        assert_eq!(machine.read(GITCONFIG), format!("{text}\thelper = late\n"));
    }
    machine.world.sandbox.script("bin/go", GO);
    let file = "home/.config/go/env";
    machine.world.sandbox.file(file, "GOFLAGS=-x\nGOAUTH=git /x; netrc\n");
    machine.setup(&["go", "-p", "prod"]).run().succeeds();
    let changed = machine.read(file).replace("--profile prod", "--profile prdo").replace("netrc", "netrc; added");
    machine.world.sandbox.file(file, &changed);
    machine.setup(&["go", "-p", "prod"]).run().succeeds();
    assert!(machine.read(file).contains("; git /x; netrc; added\n"), "{}", machine.read(file));
    machine.unsetup(&["go"]).run().succeeds();
    assert_eq!(machine.read(file), "GOFLAGS=-x\nGOAUTH=git /x; netrc; added\n");
}
