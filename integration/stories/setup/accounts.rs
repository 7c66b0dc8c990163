//! The account that setup prints is the one that serves: what a client prefers to ycred, and what makes ycred find another
//! profile, is refused or named.

use std::fs;

use super::{GO, Machine, kubeconfig_with, yc_with};
use crate::harness::require_client;

/// What AWS or one of its SDKs uses for a profile before it runs a process: the option, and its value.
const BEFORE_A_PROCESS: [(&str, &str); 11] = [
    ("aws_access_key_id", "AKIAs3cret"),
    ("role_arn", "arn:aws:iam::1:role/s3cret"),
    ("source_profile", "s3cret"),
    ("credential_source", "Environment"),
    ("web_identity_token_file", "/s3cret"),
    ("sso_session", "s3cret"),
    ("sso_account_id", "s3cret"),
    ("sso_role_name", "s3cret"),
    ("sso_start_url", "https://s3cret"),
    ("login_session", "s3cret"),
    ("SSO_Region", "s3cret"),
];

#[test]
fn a_profile_of_aws_that_would_not_run_ycred_is_refused_with_the_place() {
    let machine = Machine::new();
    let (config, credentials) = ("home/.aws/config", "home/.aws/credentials");
    let refused = |place: &str, what: &str| {
        for arguments in [&["aws"][..], &["aws", "--force"], &["aws", "--dry-run"], &["aws", "--json"]] {
            let run = machine.setup(arguments).run().exits(3).stderr_has(what).stderr_has(place);
            run.stderr_has("--name NAME").never_prints("s3cret");
        }
    };
    for (option, value) in BEFORE_A_PROCESS {
        let what = if option.starts_with("aws_") { "static keys".into() } else { option.to_lowercase() };
        for (file, section) in
            [(config, "profile yc"), (config, "profile 'yc'"), (config, "DEFAULT"), (credentials, "yc")]
        {
            let text = format!("# mine\n[{section}]\n{option} = {value}\n[profile other]\nregion = x\n");
            machine.world.sandbox.file(file, &text);
            refused(&format!("{}: [{section}] has {what}", machine.path(file).display()), "which AWS prefers");
            assert_eq!(machine.read(file), text);
            fs::remove_file(machine.path(file)).expect("removed");
        }
    }
    // A process in the credentials file wins, even if it is ycred with another profile.
    for process in ["/opt/s3cret", "ycred aws --profile stage"] {
        machine.world.sandbox.file(credentials, format!("[yc]\ncredential_process = {process}\n"));
        refused("credentials: [yc] has credential_process", "which AWS prefers");
    }
    assert!(!machine.path(config).exists() && machine.journal().is_empty());
    // Of other profiles, nothing matters.
    machine.world.sandbox.file(credentials, "[DEFAULT]\nrole_arn = x\n[other]\naws_access_key_id = x\n");
    machine.world.sandbox.file(config, "[profile other]\nrole_arn = x\n[yc]\nrole_arn = x\n");
    machine.setup(&["aws"]).run().succeeds().stdout_has("[profile yc]: ycred profile prod");
}

#[test]
fn what_aws_prefers_after_setup_is_named_by_setup_status_and_doctor() {
    let machine = Machine::new();
    machine.setup(&["aws"]).run().succeeds();
    let ycred = |arguments: &[&str]| machine.world.sandbox.ycred(arguments).run();
    ycred(&["setup"]).succeeds().stdout_has("set up: [profile yc]; to change it: ycred setup aws\n");
    for (option, value) in BEFORE_A_PROCESS {
        machine.world.sandbox.file("home/.aws/credentials", format!("[yc]\n{option} = {value}\n"));
        let what = if option.starts_with("aws_") { "static keys".into() } else { option.to_lowercase() };
        let note = format!("[profile yc] (AWS prefers its {what})");
        ycred(&["setup"]).succeeds().stdout_has(&note).never_prints("s3cret");
        ycred(&["status", "-p", "prod"]).succeeds().stdout_has(&note).never_prints("s3cret");
        let run = ycred(&["doctor", "aws", "--offline"]).exits(1).never_prints("s3cret");
        run.stdout_has(&format!("[yc] has {what}, which AWS uses instead of ycred"));
    }
}

/// Gives the directory that programs look in without a variable a profile `prod` of another account. Returns the account.
fn another_prod_at_home(machine: &Machine) -> String {
    let account = machine.world.profile("other", "").service_account_id;
    fs::create_dir_all(machine.path("home/.config/ycred")).expect("a directory");
    fs::rename(machine.path("config/other.json"), machine.path("home/.config/ycred/other.json")).expect("moved");
    fs::rename(machine.path("config/other.toml"), machine.path("home/.config/ycred/prod.toml")).expect("moved");
    account
}

/// Puts `prod` where a variable leads: ycred's own, or that of XDG. Returns its directory.
fn by_variable(machine: &mut Machine, variable: &str) -> std::path::PathBuf {
    let config = machine.path("config");
    if variable == "YCRED_CONFIG_DIR" {
        return config;
    }
    let directory = machine.path("work/xdg/ycred");
    fs::create_dir_all(machine.path("work/xdg")).expect("a directory");
    fs::rename(config, &directory).expect("moved");
    let xdg = machine.path("work/xdg");
    machine.world.sandbox.unset("YCRED_CONFIG_DIR").set(variable, xdg);
    directory
}

#[test]
fn a_profile_that_only_a_variable_leads_to_is_written_as_its_path_where_another_has_its_name() {
    for variable in ["YCRED_CONFIG_DIR", "XDG_CONFIG_HOME"] {
        let mut machine = Machine::new();
        let account = machine.world.profile("prod", "\nhosts = [\"git.example.com\"]").service_account_id;
        let other = another_prod_at_home(&machine);
        let directory = by_variable(&mut machine, variable);
        let path = directory.join("prod.toml").display().to_string();
        machine.write_kubeconfig(&yc_with("prod"));
        machine.world.sandbox.script("bin/go", GO);
        let run = machine.setup(&["kubectl"]).run().succeeds();
        run.stdout_has(&format!("ycred profile prod (service account {account})"))
            .stdout_has(&format!("is written as its path, because without {variable} that name is"));
        machine.setup(&["kubectl"]).run().succeeds().stdout_has("already set up");
        machine.setup(&["aws"]).run().succeeds().stdout_has(&account);
        machine.setup(&["go"]).run().succeeds().stdout_has(&account);
        let mut files = vec!["home/.kube/config", "home/.aws/config", "home/.config/go/env"];
        if require_client("git").is_some() {
            machine.setup(&["git", "--host", "git.example.com"]).run().succeeds().stdout_has(&account);
            files.push("home/.gitconfig");
        }
        for file in files {
            assert!(machine.read(file).contains(&path), "{file}: {}", machine.read(file));
        }
        // The names of links and of the default profile cannot hold a path.
        for client in ["docker", "terraform", "pnpm", "bazel", "cargo", "pip", "uv"] {
            let run = machine.setup(&[client]).run().exits(2);
            run.stderr_has(&format!("without {variable}, which the client may not have, the profile prod is another"))
                .stderr_has(&format!("to use that one: unset {variable}"));
        }
        assert!(!machine.path("home/.docker").exists() && !machine.path("home/.terraform.d").exists());
        // Without the variable, the client gets the account that was printed.
        let sandbox = &mut machine.world.sandbox;
        sandbox.unset(variable);
        sandbox.ycred(["kubectl", "--profile", &path]).run().succeeds();
        sandbox.ycred(["status", "--profile", &path]).run().succeeds().stdout_has(&account);
        sandbox.ycred(["setup", "docker", "-p", "prod"]).run().succeeds().stdout_has(&other);
    }
}

#[test]
fn a_profile_that_nothing_else_has_the_name_of_is_written_by_its_name_and_the_variable_is_named() {
    let machine = Machine::new();
    machine.setup(&["docker"]).run().succeeds().stdout_has("find only where YCRED_CONFIG_DIR is set as it is here");
    assert!(machine.read("home/.docker/config.json").contains("\"cr.yandex\": \"ycred-prod\""));
    machine.unsetup(&["docker"]).run().succeeds();
    // A client that names no profile would get the only one of the other directory.
    fs::rename(machine.path("config/prod.toml"), machine.path("config/default.toml")).expect("renamed");
    machine.setup(&["docker"]).run().succeeds();
    assert!(machine.read("home/.docker/config.json").contains("\"cr.yandex\": \"ycred\""));
    machine.unsetup(&["docker"]).run().succeeds();
    another_prod_at_home(&machine);
    machine.setup(&["docker"]).run().succeeds();
    assert!(machine.read("home/.docker/config.json").contains("\"cr.yandex\": \"ycred-default\""));
    machine.unsetup(&["docker"]).run().succeeds();
    // Two spellings of one directory are the same.
    fs::remove_dir_all(machine.path("home/.config")).expect("removed");
    fs::create_dir_all(machine.path("home/.config")).expect("a directory");
    std::os::unix::fs::symlink(machine.path("config"), machine.path("home/.config/ycred")).expect("a link");
    let run = machine.setup(&["docker"]).run().succeeds();
    assert!(!run.stdout.contains("YCRED_CONFIG_DIR"), "{run}");
    assert!(machine.read("home/.docker/config.json").contains("\"cr.yandex\": \"ycred\""));
}

#[test]
fn a_user_that_names_another_profile_without_the_variable_keeps_it_unless_the_profile_is_given() {
    let mut machine = Machine::new();
    another_prod_at_home(&machine);
    let ours = "{exec: {apiVersion: client.authentication.k8s.io/v1, command: ycred, args: [kubectl, --profile, prod], \
                interactiveMode: Never}}";
    let text = kubeconfig_with(ours);
    machine.write_kubeconfig(&text);
    machine.setup(&["kubectl", "--all"]).run().exits(2).stderr_has("without YCRED_CONFIG_DIR");
    assert_eq!(machine.read("home/.kube/config"), text);
    machine.setup(&["kubectl", "-p", "prod"]).run().succeeds().stdout_has(&machine.account);
    assert!(machine.read("home/.kube/config").contains(&machine.path("config/prod.toml").display().to_string()));
    machine.world.sandbox.unset("YCRED_CONFIG_DIR");
    machine.setup(&["kubectl", "--all"]).run().succeeds().stdout_has("already set up").stdout_has(&machine.account);
}

#[test]
fn a_variable_in_the_stanza_that_decides_the_account_is_dropped_from_ycs_and_refused_in_ours() {
    let machine = Machine::new();
    let home = machine.path("home").display().to_string();
    let env = |name: &str, value: &str| format!("[{{name: HTTPS_PROXY, value: p}}, {{name: {name}, value: {value}}}]");
    for variable in [
        "YCRED_CONFIG_DIR",
        "YCRED_STATE_DIR",
        "XDG_CONFIG_HOME",
        "XDG_STATE_HOME",
        "YCRED_PROFILE",
        "YCRED_IMPERSONATE",
        "YCRED_AUTH_URL",
        "YCRED_SERVICE_ACCOUNT_ID",
        "YCRED_SUBJECT_TOKEN_FILE",
        "YC_SERVICE_ACCOUNT_KEY_FILE",
        "YC_ENDPOINT",
        "YC_METADATA_ADDR",
        "YC_IAM_TOKEN",
        "HOME",
    ] {
        let (env, is_of_yc) = (env(variable, "/s3cret"), variable != "YC_IAM_TOKEN");
        let of_yc = format!("{{exec: {{command: yc, args: [k8s, create-token, --profile=prod], env: {env}}}}}");
        machine.write_kubeconfig(&kubeconfig_with(&of_yc));
        let arguments = if is_of_yc { &["kubectl"][..] } else { &["kubectl", "-p", "prod", "--force"] };
        let run = machine.setup(arguments).run().succeeds().never_prints("s3cret");
        run.stdout_has(&format!("name: {variable}"));
        let text = machine.read("home/.kube/config");
        assert!(!text.contains("s3cret") && text.contains("HTTPS_PROXY"), "{text}");
        machine.unsetup(&["kubectl"]).run().succeeds();
        assert_eq!(machine.read("home/.kube/config"), kubeconfig_with(&of_yc));

        let ours = format!(
            "{{exec: {{apiVersion: client.authentication.k8s.io/v1, command: {}, args: [kubectl, --profile, prod], \
             interactiveMode: Never, env: {env}}}}}",
            machine.command()
        );
        machine.write_kubeconfig(&kubeconfig_with(&ours));
        for arguments in [&["kubectl"][..], &["kubectl", "--all"], &["kubectl", "-p", "prod"], &["kubectl", "--force"]]
        {
            let run = machine.setup(arguments).run().exits(2).never_prints("s3cret");
            run.stderr_has(&format!("user u: runs ycred with {variable}, which decides the account"));
        }
        let note = format!("user u (its env sets {variable})");
        machine.setup(&[]).run().succeeds().stdout_has(&note);
        machine.world.sandbox.ycred(["status", "-p", "prod"]).run().succeeds().stdout_has(&note);
        let run = machine.setup(&["kubectl", "-p", "prod", "--force"]).run().succeeds();
        run.stdout_has(&machine.account).never_prints("s3cret");
        assert!(!machine.read("home/.kube/config").contains("s3cret"));
        machine.unsetup(&["kubectl"]).run().succeeds();
    }
    // The same value as here changes nothing.
    let config = machine.path("config").display().to_string();
    for (variable, value) in [("HOME", home), ("YCRED_CONFIG_DIR", config)] {
        let ours = format!(
            "{{exec: {{apiVersion: client.authentication.k8s.io/v1, command: {}, args: [kubectl, --profile, prod], \
             interactiveMode: Never, installHint: x, provideClusterInfo: false, env: {}}}}}",
            machine.command(),
            env(variable, &value)
        );
        machine.write_kubeconfig(&kubeconfig_with(&ours));
        machine.setup(&["kubectl"]).run().succeeds().stdout_has("already set up");
    }
}

#[test]
fn the_variable_with_a_profile_selects_it_where_the_default_would_serve_and_setup_says_so() {
    let mut machine = Machine::new();
    let stage = machine.world.profile("stage", "").service_account_id;
    machine.world.sandbox.ycred(["use", "prod"]).run().succeeds();
    machine.world.sandbox.set("YCRED_PROFILE", "stage");
    let run = machine.setup(&["docker"]).run().succeeds();
    run.stdout_has(&stage).stdout_has("YCRED_PROFILE has selected the profile stage");
    assert!(machine.read("home/.docker/config.json").contains("\"cr.yandex\": \"ycred-stage\""));
    machine.setup(&["docker", "-p", "prod"]).run().succeeds().stdout_has(&machine.account);
    let run = machine.setup(&["uv"]).run().succeeds();
    run.stdout_has(&machine.account).stdout_has("where YCRED_PROFILE is set, as it is here, uv gets the profile");
    // A user of yc keeps its account.
    machine.write_kubeconfig(&yc_with("prod"));
    let run = machine.setup(&["kubectl"]).run().succeeds();
    run.stdout_has(&machine.account).stdout_has("YCRED_PROFILE does not select the profile of kubectl; --profile does");
    machine.world.sandbox.set("YCRED_PROFILE", "nowhere");
    machine.setup(&["docker"]).run().exits(3).stderr_has("YCRED_PROFILE: profile nowhere");
}

#[test]
fn a_profile_whose_variable_is_set_elsewhere_can_be_wired_up() {
    let machine = Machine::new();
    let ycred = |arguments: &[&str]| machine.world.sandbox.ycred(arguments).run();
    ycred(&[
        "init",
        "ci",
        "--service-account-id",
        "aje0000000000000ci00",
        "--subject-token-env",
        "CI_TOKEN",
        "--no-verify",
    ])
    .succeeds();
    ycred(&["init", "token", "--token-env", "CI_TOKEN", "--no-verify"]).succeeds();
    for profile in ["ci", "token"] {
        for client in ["docker", "aws", "terraform"] {
            let run = machine.setup(&[client, "-p", profile]).run().succeeds().stderr_is_empty();
            run.stdout_has(&format!("ycred profile {profile} ("));
        }
        machine.unsetup(&["--all"]).run().succeeds();
    }
    // A key that cannot be read is still an error.
    fs::remove_file(machine.path("config/prod.json")).expect("removed");
    machine.setup(&["docker", "-p", "prod"]).run().exits(3).stderr_has("prod.json");
}
