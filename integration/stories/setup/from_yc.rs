//! A user of yc moves to ycred by the lines of the README: every account stays, and nothing is left to guess.

use std::fs;

use super::{Machine, kubeconfig_with, yc_with};
use crate::harness::Run;
use crate::stories::terminal::at_terminal;

const DOCKER: &str = "home/.docker/config.json";
const HELPER: &str = "home/.config/yandex-cloud/credhelper-config.yaml";

/// The lines of one of yc's profiles with the key in `config/FILE`.
fn with_key(machine: &Machine, profile: &str, file: &str) -> String {
    let key = fs::read(machine.path(&format!("config/{file}"))).expect("a key");
    let json: serde_json::Value = serde_json::from_slice(&key).expect("JSON");
    // JSON is YAML.
    format!("  {profile}:\n    service-account-key: {json}\n")
}

/// Writes yc's configuration with these profiles.
fn write_yc(machine: &Machine, profiles: &[String]) {
    let text = format!("current: default\nprofiles:\n{}", profiles.concat());
    machine.world.sandbox.file("home/.config/yandex-cloud/config.yaml", text);
}

/// A machine with the profiles `prod` and `second`, and yc's profile `default` for the account of `second`. Returns that account
/// too.
fn moving() -> (Machine, String) {
    let machine = Machine::new();
    let second = machine.world.profile("second", "").service_account_id;
    write_yc(&machine, &[with_key(&machine, "default", "second.json")]);
    (machine, second)
}

#[track_caller]
fn lines(run: &Run, count: usize) {
    assert_eq!(run.stdout.lines().count(), count, "{run}");
}

#[test]
fn ycs_default_profile_becomes_the_profile_with_its_account() {
    let (machine, second) = moving();
    machine.write_kubeconfig(&yc_with("default"));
    let line = format!("user u: yc profile default → ycred profile second (service account {second})\n");
    machine.setup(&["kubectl", "--all"]).run().succeeds().stdout_has(&line);
    machine.unsetup(&["kubectl"]).run().succeeds();
    // With a profile that the call names, the line shows the account that changes.
    machine.setup(&["kubectl", "-p", "prod", "--dry-run"]).run().succeeds().stdout_has(&format!(
        "user u: yc profile default (service account {second}) → ycred profile prod (service account "
    ));
    // Without `--profile`, yc uses its current profile, which can change.
    machine.write_kubeconfig(&kubeconfig_with("{exec: {command: yc, args: [k8s, create-token]}}"));
    machine.setup(&["kubectl"]).run().exits(2).stderr_has("2 profiles, and setup does not choose one");
    machine.write_kubeconfig(&yc_with("default"));
    // Of two profiles with this account, `import` has made one.
    let key = machine.read("config/second.json");
    machine.world.sandbox.file("config/third.json", &key);
    let third = machine.read("config/second.toml").replace("second.json", "third.json");
    machine.world.sandbox.profile("third", &third);
    let run = machine.setup(&["kubectl"]).run().exits(2);
    run.stderr_has(&format!("yc's profile default is for service account {second}"));
    machine.world.sandbox.profile("yc-default", &third);
    machine.setup(&["kubectl", "--dry-run"]).run().succeeds().stdout_has("→ ycred profile yc-default (");
    // No profile has the account.
    let other = machine.world.emulator.new_service_account_key();
    other.write(machine.path("config/other.json")).expect("a key");
    write_yc(&machine, &[with_key(&machine, "default", "other.json")]);
    let run = machine.setup(&["kubectl"]).run().exits(2);
    run.stderr_has(&format!("yc's profile default is for service account {}", other.service_account_id));
    assert_eq!(machine.read("home/.kube/config"), yc_with("default"));
}

#[test]
fn the_only_profile_is_used_and_the_line_names_the_account_that_yc_has_used() {
    let machine = Machine::new();
    let other = machine.world.emulator.new_service_account_key();
    other.write(machine.path("config/other.json")).expect("a key");
    write_yc(&machine, &[with_key(&machine, "default", "other.json")]);
    let account = &other.service_account_id;
    machine.write_kubeconfig(&yc_with("default"));
    let run = machine.setup(&["kubectl", "--quiet"]).run().succeeds();
    run.stdout_has(&format!("user u: yc profile default (service account {account}) → ycred profile prod ("));
    machine.unsetup(&["kubectl"]).run().succeeds();
    machine.write_kubeconfig(&kubeconfig_with("{exec: {command: yc, args: [k8s, create-token]}}"));
    let run = machine.setup(&["kubectl", "--quiet"]).run().succeeds();
    run.stdout_has(&format!("user u: yc (service account {account}) → ycred profile prod ("));
}

#[test]
fn persons_of_one_federation_are_not_the_same_account() {
    let machine = Machine::new();
    machine.world.sandbox.profile("me", "source = \"login\"\nfederation-id = \"bpf00000000000000000\"\n");
    write_yc(&machine, &["  default:\n    federation-id: bpf00000000000000000\n".to_owned()]);
    machine.write_kubeconfig(&yc_with("default"));
    machine.setup(&["kubectl"]).run().exits(2).stderr_has("2 profiles, and setup does not choose one");
}

#[test]
fn the_profile_that_setup_gave_is_given_again_after_yc_has_written_its_stanza() {
    let machine = Machine::new();
    let second = machine.world.profile("second", "").service_account_id;
    machine.write_kubeconfig(&yc_with("default"));
    machine.setup(&["kubectl", "-p", "second"]).run().succeeds();
    let again = || machine.setup(&["kubectl", "--all", "--quiet"]).run();
    machine.write_kubeconfig(&yc_with("default"));
    let run = again().succeeds().stderr_is_empty();
    run.stdout_has(&format!("user u: yc profile default → ycred profile second (service account {second})"));
    again().succeeds().stdout_is("").stderr_is_empty();
    // What the user had before ycred comes back.
    machine.unsetup(&["kubectl"]).run().succeeds();
    assert_eq!(machine.read("home/.kube/config"), yc_with("default"));
    // The name of the profile leads to another account now.
    machine.write_kubeconfig(&yc_with("default"));
    machine.world.sandbox.profile("default", "use = \"second\"\n");
    machine.setup(&["kubectl", "-p", "default"]).run().succeeds();
    machine.world.sandbox.profile("default", "use = \"prod\"\n");
    machine.write_kubeconfig(&yc_with("default"));
    again().exits(2).stderr_has("2 profiles, and setup does not choose one");
    machine.world.sandbox.profile("default", "use = \"second\"\n");
    again().succeeds().stdout_has("→ ycred profile second (by the alias default; ");
    fs::remove_file(machine.path("config/default.toml")).expect("the alias");
    machine.unsetup(&["kubectl"]).run().succeeds();
    // yc has written another stanza, which is not ycred's to change.
    machine.write_kubeconfig(&yc_with("default"));
    machine.setup(&["kubectl", "-p", "second"]).run().succeeds();
    let text = yc_with("anna");
    machine.write_kubeconfig(&text);
    let nothing = "user u: nothing to undo, because ycred is not there any more\n";
    for arguments in [&["kubectl", "--dry-run"][..], &["kubectl"]] {
        machine.unsetup(arguments).run().succeeds().stdout_has(nothing);
    }
    assert!(machine.read("home/.kube/config") == text && machine.journal().is_empty());
    // A profile of yc that ycred does not have.
    machine.write_kubeconfig(&yc_with("missing"));
    machine.setup(&["kubectl", "-p", "second"]).run().succeeds();
    machine.write_kubeconfig(&yc_with("missing"));
    again().succeeds().stdout_has("user u: yc profile missing → ycred profile second (");
    // Another profile of yc is another decision, and so is another account.
    machine.write_kubeconfig(&yc_with("default"));
    again().exits(2).stderr_has("2 profiles, and setup does not choose one");
    machine.setup(&["kubectl", "-p", "second"]).run().succeeds();
    machine.write_kubeconfig(&yc_with("default"));
    let other = machine.world.emulator.new_service_account_key();
    other.write(machine.path("config/other.json")).expect("a key");
    write_yc(&machine, &[with_key(&machine, "default", "other.json")]);
    again().exits(2).stderr_has("2 profiles, and setup does not choose one");
    // The person has decided about this account, too.
    machine.setup(&["kubectl", "-p", "second"]).run().succeeds();
    machine.write_kubeconfig(&yc_with("default"));
    again().succeeds().stdout_has("→ ycred profile second (");
}

#[test]
fn each_choice_is_offered_with_its_account_and_as_a_command_for_that_user() {
    let machine = Machine::new();
    let second = machine.world.profile("second", "").service_account_id;
    machine.world.sandbox.profile("broken", "source = \"authorized-key\"\nkey-file = \"nowhere.json\"\n");
    let user = |name: &str, profile: &str| {
        format!("- name: {name}\n  user: {{exec: {{command: yc, args: [k8s, create-token, --profile={profile}]}}}}\n")
    };
    machine.write_kubeconfig(&format!("kind: Config\nusers:\n{}{}", user("-a", "default"), user("b", "prod")));
    let accounts = format!(
        "user -a: 3 profiles, and setup does not choose one: prod (service account {}), second (service account {second}), broken (cannot be \
         used)",
        machine.account
    );
    let hint =
        "choose one: ycred setup kubectl --user=-a --profile prod, or ycred setup kubectl --user=-a --profile second";
    // After the dry run, no user is set up.
    let run = machine.setup(&["kubectl", "--all", "--dry-run"]).run().exits(2).stderr_has(&accounts);
    assert!(run.stderr.trim_end().ends_with(hint), "{run}");
    for profile in ["prod", "second"] {
        machine.setup(&["kubectl", "--user=-a", "--profile", profile, "--dry-run"]).run().succeeds();
    }
    // What the refusal of one profile for all of them advises.
    let run = machine.setup(&["kubectl", "--all", "--profile", "second"]).run().exits(2);
    run.stderr_has("to keep the account of each user: ycred setup kubectl --all; to give all of them that of second: ")
        .stderr_has(": ycred setup kubectl --all --profile second --force\n");
}

#[test]
fn profiles_that_cannot_be_used_are_not_offered() {
    let machine = Machine::new();
    machine.write_kubeconfig(&yc_with("default"));
    for name in ["prod", "second"] {
        machine.world.sandbox.profile(name, "source = \"authorized-key\"\nkey-file = \"nowhere.json\"\n");
    }
    let error = "2 profiles, and setup does not choose one: prod (cannot be used), second (cannot be used)";
    let hint = "see what is wrong with each of them: ycred list";
    crate::expect::fails_with_hint(machine.setup(&["kubectl"]).run(), 2, &[error], hint);
    machine.world.ycred(&["list"]).run().stdout_has("nowhere.json");
}

#[test]
fn each_registry_keeps_the_account_that_ycs_helper_uses() {
    let (machine, second) = moving();
    machine.world.sandbox.ycred(["use", "prod"]).run().succeeds();
    let text = "{\"credHelpers\":{\"cr.yandex\":\"yc\",\"cr.cloud.yandex.net\":\"yc\"}}";
    let write = || drop(machine.world.sandbox.file(DOCKER, text));
    write();
    machine.world.sandbox.file(HELPER, "cr.yandex: default\n");
    let dry = machine.setup(&["docker", "--dry-run"]).run().succeeds();
    let run = machine.setup(&["docker"]).run().succeeds();
    assert_eq!(dry.stdout, format!("{}dry run: nothing was written\n", run.stdout));
    run.stdout_has(&format!("cr.yandex: yc → ycred-second: ycred profile second (service account {second})"))
        .stdout_has(&format!("profile prod (by the alias default; service account {})", machine.account));
    let helpers = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON")["credHelpers"].clone();
    let expected = serde_json::json!({
        "cr.yandex": "ycred-second", "cr.cloud.yandex.net": "ycred", "registry.yandexcloud.net": "ycred"});
    assert_eq!(helpers(&machine.read(DOCKER)), expected);
    for name in ["ycred", "ycred-second"] {
        assert!(machine.path(&format!("bin/docker-credential-{name}")).is_symlink(), "{name}");
    }
    machine.unsetup(&["docker"]).run().succeeds();
    assert_eq!(machine.read(DOCKER), text);
    assert!(!machine.path("bin/docker-credential-ycred-second").is_symlink() && machine.journal().is_empty());
    // The name alone counts where yc's configuration does not have the profile, and an account that ycred lacks is refused.
    machine.world.sandbox.file(HELPER, "cr.yandex: second\n");
    machine.setup(&["docker", "--dry-run"]).run().succeeds().stdout_has("cr.yandex: yc → ycred-second: ");
    machine.world.sandbox.file(HELPER, "cr.yandex: prod\n");
    machine.setup(&["docker", "--dry-run"]).run().succeeds().stdout_has("cr.yandex: yc → ycred: ");
    let refused = |profiles: &str, why: &str| {
        machine.world.sandbox.file(HELPER, profiles);
        machine.setup(&["docker"]).run().exits(2).stderr_has(why);
        assert_eq!(machine.read(DOCKER), text);
        assert!(!machine.path("bin/docker-credential-ycred").is_symlink(), "{why}");
    };
    refused("default: anna\n", "cr.yandex: runs yc with its profile anna, but there is no profile anna of ycred");
    let other = machine.world.emulator.new_service_account_key();
    other.write(machine.path("config/other.json")).expect("a key");
    write_yc(&machine, &[with_key(&machine, "prod", "other.json")]);
    let why = format!("cr.yandex: yc's profile prod is for service account {}, but", other.service_account_id);
    refused("cr.yandex: prod\n", &why);
    // The person decides.
    let run = machine.setup(&["docker", "-p", "prod"]).run().succeeds();
    run.stdout_has("cr.yandex: yc → ycred-prod: ycred profile prod (");
}

#[test]
fn a_registry_that_stays_with_yc_is_named_with_what_to_do_and_that_works() {
    let machine = Machine::new();
    machine.world.sandbox.file(DOCKER, "{\"credHelpers\":{\"cr.yandex\":\"yc\",\"r.example:5000\":\"yc\"}}");
    let profile = machine.path("config/prod.toml");
    let edit = format!("in {}, add the line: hosts = [\"r.example:5000\"]", profile.display());
    let how = format!("{edit}, then run: ycred setup docker --host r.example:5000");
    let run = machine.setup(&["docker"]).run().succeeds();
    run.stdout_has("r.example:5000: left with yc: profile prod does not list it. ").stdout_has(&how);
    let run = machine.setup(&["docker", "--json"]).run().succeeds();
    assert!(run.stdout.contains("left with yc"), "{run}");
    let doctor = machine.world.ycred(&["doctor", "docker"]).run().exits(0);
    doctor.stdout_has("r.example:5000: the helper yc is configured").stdout_has(&how);
    // A profile or a file that the call names is in the command as well.
    machine.world.profile("second", "");
    let run = machine.setup(&["docker", "-p", "second", "--dry-run"]).run().succeeds();
    run.stdout_has("then run: ycred setup docker --host r.example:5000 --profile second\n");
    fs::remove_file(machine.path("config/second.toml")).expect("the profile");
    let copy = machine.world.sandbox.file("tmp/d/config.json", machine.read(DOCKER));
    let file = copy.display().to_string();
    let run = machine.setup(&["docker", "--file", &file, "--dry-run"]).run().succeeds();
    run.stdout_has(&format!("then run: ycred setup docker --host r.example:5000 --file {file}\n"));
    // As the line says.
    let text = format!("{}hosts = [\"r.example:5000\"]\n", machine.read("config/prod.toml"));
    machine.world.sandbox.file("config/prod.toml", text);
    let run = machine.setup(&["docker", "--host", "r.example:5000"]).run().succeeds();
    run.stdout_has("r.example:5000: yc → ycred-prod: ");
    let doctor = machine.world.ycred(&["doctor", "docker"]).run().exits(0);
    assert!(!doctor.stdout.contains("helper yc"), "{doctor}");
}

#[test]
fn a_place_is_reported_in_one_line() {
    let machine = Machine::new();
    machine.world.profile("prod", "hosts = [\"r.example:5000\"]");
    machine.world.sandbox.file(DOCKER, "{\"credHelpers\":{\"r.example:5000\":\"yc\"}}");
    let twice = ["docker", "--host", "r.example:5000", "--host", "r.example:5000"];
    for arguments in [&twice[..3], &twice] {
        let run = machine.setup(arguments).run().succeeds();
        assert_eq!(run.stdout.matches(": r.example:5000: ").count(), 1, "{run}");
        machine.unsetup(&["docker"]).run().succeeds();
    }
    machine.world.profile("prod", "hosts = [\"git.example.com\"]");
    if crate::harness::require_client("git").is_some() {
        let run = machine.setup(&["git", "--host", "git.example.com", "--host", "git.example.com"]).run().succeeds();
        assert_eq!(run.stdout.matches(": git.example.com: ").count(), 1, "{run}");
    }
}

#[test]
fn before_the_import_every_command_names_it() {
    let machine = Machine::new();
    for file in ["config/prod.toml", "config/key.json"] {
        fs::remove_file(machine.path(file)).expect("removed");
    }
    machine.write_kubeconfig(&yc_with("default"));
    let calls: [&[&str]; 5] = [&["setup", "kubectl"], &["setup"], &["status"], &["list"], &["token"]];
    let prints = |arguments: &[&str], command: &str| {
        let run = machine.world.sandbox.ycred(arguments).run();
        let printed = format!("{}{}", run.stdout, run.stderr);
        assert!(printed.contains(command), "{arguments:?}\n{run}");
    };
    for call in calls {
        prints(call, "ycred init --key-file FILE");
    }
    write_yc(&machine, &[with_key(&machine, "default", "prod.json")]);
    for call in calls {
        prints(call, "ycred import --write");
    }
    let run = machine.world.sandbox.ycred(["import", "--write"]).run().succeeds();
    run.stdout_has("\nnext: ycred setup kubectl --all\n");
    machine.setup(&["kubectl", "--all"]).run().succeeds();
    let run = machine.setup(&[]).run().succeeds();
    assert!(!run.stdout.contains("no profile yet"), "{run}");
}

#[test]
fn setup_of_all_clients_counts_a_server_that_is_set_up_and_ends_with_the_error() {
    let machine = Machine::new();
    if crate::harness::require_client("git").is_none() {
        return;
    }
    machine.world.sandbox.script("bin/pnpm", "#!/bin/sh\n");
    machine.write_kubeconfig(&yc_with("prod"));
    let path = std::env::var("PATH").expect("a PATH");
    let path = format!("{}:{path}", machine.path("bin").display());
    let run = at_terminal(&machine.world.sandbox, &["setup", "--all"], "never printed=>")
        .env("PATH", &path)
        .env("NO_COLOR", "1")
        .run();
    let (git, error) =
        (run.stdout.find("git: run `ycred setup git --host HOST`"), run.stdout.find("ycred: error: not set up: "));
    assert!(git.is_some() && git < error, "{run}");
    machine.world.profile("prod", "hosts = [\"git.example.com\"]");
    machine.setup(&["git", "--host", "git.example.com"]).env("PATH", &path).run().succeeds();
    let run = machine.setup(&["--all"]).env("PATH", &path).run();
    assert!(!run.stderr.contains("git"), "{run}");
    run.stdout_has("git: set up: git.example.com; for another: `ycred setup git --host HOST`");
}

#[test]
fn a_link_that_goes_is_not_said_to_be_left() {
    let machine = Machine::new();
    machine.setup(&["links"]).run().succeeds();
    machine.setup(&["bazel"]).run().succeeds();
    symlink_default(&machine);
    machine.setup(&["docker"]).run().succeeds();
    let dry = machine.unsetup(&["--all", "--dry-run"]).run().succeeds();
    let run = machine.unsetup(&["--all"]).run().succeeds();
    assert!(!run.stdout.contains("left for"), "{run}");
    assert_eq!(run.stdout.matches("docker-credential-ycred: removed the link").count(), 1, "{run}");
    assert_eq!(dry.stdout, format!("{}dry run: nothing was written\n", run.stdout));
    assert!(machine.journal().is_empty() && !machine.path("bin/docker-credential-ycred").is_symlink());
}

fn symlink_default(machine: &Machine) {
    std::os::unix::fs::symlink("prod.toml", machine.path("config/default.toml")).expect("a default profile");
}

#[test]
fn entries_that_a_person_has_pasted_are_named_with_the_command_that_removes_them() {
    let machine = Machine::new();
    let pasted = "{\"credHelpers\":{\"cr.yandex\":\"ycred-other\"}}";
    machine.world.sandbox.file(DOCKER, pasted);
    machine.world.sandbox.link("docker-credential-ycred-other");
    machine.world.profile("other", "");
    machine.setup(&["docker", "--host", "registry.yandexcloud.net", "-p", "prod"]).run();
    machine.unsetup(&["docker"]).run();
    machine.world.sandbox.file(DOCKER, pasted.replace("cr.yandex", "r.example"));
    machine.setup(&["docker", "-p", "prod"]).run().succeeds();
    let line = "r.example: ycred-other stays, because setup did not write it; to remove it: ycred unsetup docker --host r.example";
    for arguments in [&["--all", "--dry-run"][..], &["docker", "--dry-run"], &["--all"]] {
        machine.unsetup(arguments).run().succeeds().stdout_has(line);
    }
    machine.unsetup(&["docker", "--host", "r.example"]).run().succeeds().stdout_has("r.example: removed ycred-other");
    assert!(!machine.read(DOCKER).contains("ycred"));
}

#[test]
fn a_dry_run_says_so_if_only_the_journal_would_change_and_if_it_is_quiet() {
    let machine = Machine::new();
    machine.setup(&["pip"]).run().succeeds();
    machine.setup(&["uv", "--dry-run"]).run().succeeds().stdout_has("\ndry run: nothing was written\n");
    machine.setup(&["uv"]).run().succeeds();
    let run = machine.setup(&["uv", "--dry-run"]).run().succeeds();
    assert!(!run.stdout.contains("dry run"), "{run}");
    machine.write_kubeconfig(&yc_with("prod"));
    let run = machine.setup(&["kubectl", "--quiet", "--dry-run"]).run().succeeds();
    run.stdout_has("\ndry run: nothing was written\n");
    lines(&machine.setup(&["kubectl", "--quiet"]).run(), 1);
    machine.setup(&["kubectl", "--quiet", "--dry-run"]).run().succeeds().stdout_is("");
}
