//! Which profile a kubeconfig user gets: nobody's account changes silently.

use std::fs;

use super::{Machine, kubeconfig_with, yc_with};

/// Writes yc's configuration, with these lines for its profile `prod`.
fn yc_profile(machine: &Machine, lines: &str) {
    machine
        .world
        .sandbox
        .file("home/.config/yandex-cloud/config.yaml", format!("current: prod\nprofiles:\n  prod:\n{lines}"));
}

/// The service account's key as yc stores it.
fn inline_key(machine: &Machine, file: &str) -> String {
    let json: serde_json::Value =
        serde_json::from_slice(&fs::read(machine.path(&format!("config/{file}"))).expect("a key")).expect("JSON");
    let fields = json.as_object().expect("an object").iter();
    // JSON is YAML.
    let lines: Vec<String> = fields.map(|(name, value)| format!("      {name}: {value}\n")).collect();
    format!("    service-account-key:\n{}", lines.concat())
}

#[test]
fn a_yc_profile_becomes_the_profile_of_that_name_and_the_account_is_printed() {
    let machine = Machine::new();
    machine.write_kubeconfig(&yc_with("prod"));
    let line = format!("user u: yc profile prod → ycred profile prod (service account {})", machine.account);
    // Without yc's configuration, with one that cannot be read, and with one that names the same account.
    machine.setup(&["kubectl", "--dry-run"]).run().succeeds().stdout_has(&line);
    yc_profile(&machine, "    token: [\n");
    machine.setup(&["kubectl", "--dry-run"]).run().succeeds().stdout_has(&line);
    yc_profile(&machine, &inline_key(&machine, "prod.json"));
    machine.setup(&["kubectl", "--dry-run"]).run().succeeds().stdout_has(&line);
    assert_eq!(machine.read("home/.kube/config"), yc_with("prod"), "--dry-run wrote");
    machine.setup(&["kubectl"]).run().succeeds().stdout_has(&line);
}

#[test]
fn another_account_in_ycs_configuration_is_refused_unless_the_profile_is_given() {
    let machine = Machine::new();
    machine.write_kubeconfig(&yc_with("prod"));
    let other = machine.world.profile("other", "").service_account_id;
    for (lines, named) in [
        (inline_key(&machine, "other.json"), other.as_str()),
        ("    token: y0_secretsecret\n".to_owned(), "OAuth token"),
        ("    federation-id: bpf1\n".to_owned(), "federation bpf1"),
        ("    instance-service-account: true\n".to_owned(), "this machine"),
        (
            format!("{}    impersonate-service-account-id: aje0000000000000imp0\n", inline_key(&machine, "prod.json")),
            "aje0000000000000imp0",
        ),
    ] {
        yc_profile(&machine, &lines);
        let run = machine.setup(&["kubectl"]).run().exits(2).stderr_has("yc's profile prod is for").stderr_has(named);
        run.stderr_has(&machine.account).stderr_has("--profile prod").never_prints("y0_secretsecret");
        assert_eq!(machine.read("home/.kube/config"), yc_with("prod"), "{named}");
    }
    machine.setup(&["kubectl", "-p", "prod"]).run().succeeds().stdout_has(&machine.account);
}

#[test]
fn the_home_directory_in_the_stanza_is_where_ycs_configuration_is_read() {
    let machine = Machine::new();
    machine.world.profile("other", "");
    let home = machine.path("work/other-home");
    let key = inline_key(&machine, "other.json");
    machine
        .world
        .sandbox
        .file("work/other-home/.config/yandex-cloud/config.yaml", format!("profiles:\n  prod:\n{key}"));
    let exec = format!(
        "{{exec: {{command: yc, args: [k8s, create-token, --profile=prod], env: [{{name: HOME, value: {}}}]}}}}",
        home.display()
    );
    machine.write_kubeconfig(&kubeconfig_with(&exec));
    machine.setup(&["kubectl"]).run().exits(2).stderr_has("yc's profile prod is for");
}

#[test]
fn a_missing_profile_is_named_with_the_command_that_imports_it() {
    let machine = Machine::new();
    machine.write_kubeconfig(&yc_with("Stage_EU"));
    let run = machine.setup(&["kubectl"]).run().exits(2);
    run.stderr_has("its profile Stage_EU, but there is no profile stage-eu")
        .stderr_has("ycred import Stage_EU --write");
    machine.world.profile("stage-eu", "");
    machine.setup(&["kubectl"]).run().succeeds().stdout_has("yc profile Stage_EU → ycred profile stage-eu (");
}

#[test]
fn ycs_default_profile_maps_to_nothing_by_name() {
    let machine = Machine::new();
    let texts = [yc_with("default"), kubeconfig_with("{exec: {command: yc, args: [k8s, create-token]}}")];
    for text in &texts {
        machine.write_kubeconfig(text);
        machine.setup(&["kubectl", "--dry-run"]).run().succeeds().stdout_has("→ ycred profile prod (");
    }
    // An alias does not count, a second profile does.
    machine.world.sandbox.ycred(["use", "prod"]).run().succeeds();
    machine.setup(&["kubectl", "--dry-run"]).run().succeeds().stdout_has("→ ycred profile prod (");
    machine.world.profile("second", "");
    for text in &texts {
        machine.write_kubeconfig(text);
        machine
            .setup(&["kubectl"])
            .run()
            .exits(2)
            .stderr_has("2 profiles, and setup does not choose one")
            .stderr_has("--profile");
        machine
            .setup(&["kubectl", "-p", "second", "--dry-run"])
            .run()
            .succeeds()
            .stdout_has("→ ycred profile second (");
    }
}

#[test]
fn each_candidate_is_a_command_that_can_be_run() {
    let machine = Machine::new();
    machine.write_kubeconfig(&yc_with("default"));
    machine.world.profile("second", "");
    let run = machine.setup(&["kubectl", "--all"]).run();
    let hint = "choose one: ycred setup kubectl --all --profile prod, or ycred setup kubectl --all --profile second";
    crate::expect::fails_with_hint(
        run,
        2,
        &["2 profiles, and setup does not choose one: prod (service account "],
        hint,
    );
    let run = machine.setup(&["kubectl", "--all", "--profile", "second"]).run().succeeds();
    run.stdout_has("→ ycred profile second (");
}

/// The users `a` and `b`, who run yc with these profiles.
fn two_users(a: &str, b: &str) -> String {
    let user = |name: &str, profile: &str| {
        format!("- name: {name}\n  user: {{exec: {{command: yc, args: [k8s, create-token, --profile={profile}]}}}}\n")
    };
    format!("apiVersion: v1\nkind: Config\nusers:\n{}{}", user("a", a), user("b", b))
}

#[test]
fn the_hint_of_setup_of_all_clients_keeps_the_users_that_run_ycred() {
    let machine = Machine::new();
    machine.world.profile("second", "");
    machine.write_kubeconfig(&two_users("prod", "default"));
    let run = machine.setup(&["--all"]).run().exits(2);
    run.stdout_has("user a: yc profile prod → ycred profile prod (")
        .stderr_has("ycred setup kubectl --user b --profile second");
    let run = machine.setup(&["kubectl", "--user", "b", "--profile", "second"]).run().succeeds();
    run.stdout_has("user b: yc profile default → ycred profile second (");
    machine
        .setup(&["kubectl", "--all"])
        .run()
        .succeeds()
        .stdout_has("user a: already set up with ycred profile prod (");
}

#[test]
fn one_profile_for_all_users_changes_no_account_that_was_chosen() {
    let machine = Machine::new();
    machine.world.profile("second", "");
    machine.write_kubeconfig(&two_users("default", "default"));
    machine.setup(&["kubectl", "--user", "b", "--profile", "second"]).run().succeeds();
    let before = machine.read("home/.kube/config");
    let all = ["kubectl", "--all", "--profile", "prod"];
    let run = machine.setup(&all).run().succeeds();
    run.stdout_has("user a: yc profile default → ycred profile prod (")
        .stdout_has("user b: already set up with ycred profile second (");
    let after = machine.read("home/.kube/config");
    assert_eq!(after.split("name: b").nth(1), before.split("name: b").nth(1), "{after}");
    machine
        .setup(&[&all[..], &["--force"]].concat())
        .run()
        .succeeds()
        .stdout_has("user b: ycred profile second → ycred profile prod (");
    machine.unsetup(&["kubectl"]).run().succeeds();
    // yc's profiles are different accounts too.
    let text = two_users("one", "two");
    machine.write_kubeconfig(&text);
    let error = "the users run yc with different profiles (one, two), and --profile names one for all";
    crate::expect::fails_with_hint(machine.setup(&all).run(), 2, &[error], "ycred setup kubectl --all;");
    assert_eq!(machine.read("home/.kube/config"), text);
    machine
        .setup(&[&all[..], &["--force"]].concat())
        .run()
        .succeeds()
        .stdout_has("user a: yc profile one → ycred profile prod (");
}

/// The account is what counts, so an alias does not hide whose it is.
#[test]
fn an_alias_is_printed_with_its_profile() {
    let machine = Machine::new();
    machine.world.sandbox.ycred(["use", "prod"]).run().succeeds();
    machine.setup(&["docker"]).run().succeeds().stdout_has("ycred profile prod (by the alias default; ");
    let run = machine.setup(&["docker", "--host", "r.example.com"]).run();
    run.exits(2).stderr_has("may not get a token of profile prod (by the alias default)");
}

#[test]
fn a_user_without_credentials_is_changed_only_if_it_is_named() {
    let machine = Machine::new();
    for user in ["{}", "null", "{exec: null}", "{extensions: []}"] {
        let text = kubeconfig_with(user);
        machine.write_kubeconfig(&text);
        machine.setup(&["kubectl"]).run().exits(2).stderr_has("user u: has no credentials").stderr_has("--user u");
        machine.setup(&["kubectl", "--all"]).run().exits(2).stderr_has("no user in the kubeconfig runs yc");
        for named in [["--user", "u"], ["--context", "c"]] {
            machine.setup(&["kubectl", named[0], named[1]]).run().succeeds().stdout_has("→ ycred profile prod (");
            machine.unsetup(&["kubectl"]).run().succeeds();
            assert_eq!(machine.read("home/.kube/config"), text, "{user} {named:?}");
        }
    }
    // The item of the user has no `user` at all.
    let text = kubeconfig_with("{}").replace("  user: {}\n", "");
    machine.write_kubeconfig(&text);
    machine.setup(&["kubectl", "--user", "u"]).run().succeeds();
    machine.unsetup(&["kubectl"]).run().succeeds();
    assert_eq!(machine.read("home/.kube/config"), text);
}

#[test]
fn another_plugin_is_replaced_only_by_name_and_force_and_comes_back() {
    let machine = Machine::new();
    let text = kubeconfig_with(
        "{exec: {command: aws, args: [eks, get-token, --client-secret=s3cret], env: [{name: K, value: s3cret}]}}",
    );
    machine.write_kubeconfig(&text);
    machine.setup(&["kubectl"]).run().exits(2).stderr_has("user u: runs aws, not yc").stderr_has("--force");
    machine.setup(&["kubectl", "--user", "u"]).run().exits(2);
    let run = machine.setup(&["kubectl", "--user", "u", "--force", "-p", "prod"]).run().succeeds();
    run.stdout_has("aws → ycred profile prod").never_prints("s3cret");
    machine.unsetup(&["kubectl"]).run().succeeds().never_prints("s3cret");
    assert_eq!(machine.read("home/.kube/config"), text);
}

#[test]
fn all_users_are_set_up_and_the_ones_that_cannot_be_are_named() {
    let machine = Machine::new();
    let user = |name: &str, args: &str| format!("- name: {name}\n  user: {{exec: {{command: yc, args: [{args}]}}}}\n");
    let text = format!(
        "{}{}{}",
        yc_with("prod"),
        user("second", "k8s, create-token, --profile=prod"),
        user("third", "k8s, create-token, --profile=missing")
    );
    machine.write_kubeconfig(&text);
    machine
        .setup(&["kubectl", "--dry-run"])
        .run()
        .succeeds()
        .stdout_has("2 more users run yc; to set up all: ycred setup kubectl --all");
    let other =
        machine.world.sandbox.file("tmp/other", text.replace("user: u}", "user: second}")).display().to_string();
    let run = machine.setup(&["kubectl", "--dry-run", "--kubeconfig", &other]).run().succeeds();
    run.stdout_has(&format!("; to set up all: ycred setup kubectl --kubeconfig {other} --all"));
    let run = machine.setup(&["kubectl", "--all"]).run().exits(2).stdout_has("user u: ").stdout_has("user second: ");
    run.stderr_has("user third: ");
    assert_eq!(machine.read("home/.kube/config").matches(&machine.command()).count(), 2);
    machine.unsetup(&["kubectl"]).run().succeeds();
    assert_eq!(machine.read("home/.kube/config"), text);
}

#[test]
fn a_login_profile_may_ask_and_the_profile_can_be_changed_later() {
    let machine = Machine::new();
    machine.world.sandbox.profile("me", "source = \"login\"\n");
    let text = yc_with("prod");
    machine.write_kubeconfig(&text);
    machine.setup(&["kubectl", "-p", "me"]).run().succeeds();
    assert!(machine.read("home/.kube/config").contains("\"interactiveMode\": \"IfAvailable\""));
    machine.setup(&["kubectl", "-p", "prod"]).run().succeeds().stdout_has("ycred profile me → ycred profile prod");
    // Without a flag, the profile in the file stays.
    machine.setup(&["kubectl"]).run().succeeds().stdout_has("already set up with ycred profile prod");
    machine.unsetup(&["kubectl"]).run().succeeds();
    assert_eq!(machine.read("home/.kube/config"), text, "the journal keeps what stood there in the beginning");
}
