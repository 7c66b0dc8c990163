//! The owner program rewrites its file between setup and unsetup, and yc writes its stanza again.

use std::fs;

use super::{Machine, yc_with};
use crate::harness::require_client;

/// A kubeconfig as yc writes it, with one more user.
const TEXT: &str = "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: []\ncontexts:\n- context:\n    cluster: x\n    user: u\n  name: c\n\
    preferences: {}\nusers:\n- name: u # mine\n  user:\n    exec:\n      apiVersion: client.authentication.k8s.io/v1beta1\n      # a comment\n      args:\n      - k8s\n      \
    - create-token\n      - --profile=prod\n      command: yc\n- name: other\n  user:\n    token: abc\n";

#[test]
fn after_kubectl_has_rewritten_the_file_ours_is_taken_out_and_nothing_else() {
    if require_client("kubectl").is_none() {
        return;
    }
    let json = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "x", "user": "u"}}],
        "users": [{"name": "u", "user": {"exec": {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": "yc",
            "args": ["k8s", "create-token", "--profile=prod"]}}}, {"name": "other", "user": {"token": "abc"}}],
    });
    // kubectl rewrites JSON as YAML.
    for text in [TEXT, &json.to_string()] {
        after_kubectl(text);
    }
}

fn after_kubectl(text: &str) {
    let machine = Machine::new();
    machine.write_kubeconfig(text);
    let kubectl =
        |arguments: &[&str]| machine.world.sandbox.call("kubectl", ["config"].iter().chain(arguments)).run().succeeds();
    let view = || kubectl(&["view", "--raw", "-o", "json"]).stdout;
    let before = view();
    machine.setup(&["kubectl"]).run().succeeds();
    kubectl(&["set-context", "new", "--user=other"]);
    kubectl(&["set-credentials", "other", "--token=def"]);
    machine.unsetup(&["kubectl"]).run().succeeds().stdout_has("restored").never_prints("def");
    kubectl(&["delete-context", "new"]);
    kubectl(&["set-credentials", "other", "--token=abc"]);
    assert_eq!(view(), before);
}

#[test]
fn comments_in_the_stanza_come_back_even_if_the_file_has_changed_elsewhere() {
    let machine = Machine::new();
    machine.write_kubeconfig(TEXT);
    machine.setup(&["kubectl"]).run().succeeds();
    let edited = format!("# new\n{}", machine.read("home/.kube/config").replace("token: abc", "token: def"));
    fs::write(machine.kubeconfig(), edited).expect("written");
    machine.unsetup(&["kubectl"]).run().succeeds();
    assert_eq!(machine.read("home/.kube/config"), format!("# new\n{}", TEXT.replace("token: abc", "token: def")));
}

#[test]
fn a_stanza_that_was_changed_since_is_left_unless_forced() {
    let machine = Machine::new();
    machine.write_kubeconfig(TEXT);
    machine.setup(&["kubectl"]).run().succeeds();
    let edited = machine.read("home/.kube/config").replace("- prod", "- mine");
    fs::write(machine.kubeconfig(), &edited).expect("written");
    machine
        .unsetup(&["kubectl"])
        .run()
        .exits(3)
        .stderr_has("user u: changed since `ycred setup`")
        .stderr_has("--force");
    assert_eq!(machine.read("home/.kube/config"), edited);
    assert_eq!(machine.journal().len(), 1);
    machine.unsetup(&["kubectl", "--force"]).run().succeeds();
    assert!(machine.read("home/.kube/config").contains("--profile=prod"));
    assert!(machine.journal().is_empty());
}

#[test]
fn an_entry_without_anything_left_to_undo_is_forgotten() {
    let machine = Machine::new();
    for (what, text) in [("the user is gone", "users: []\n"), ("yc is back", TEXT)] {
        machine.write_kubeconfig(TEXT);
        machine.setup(&["kubectl"]).run().succeeds();
        machine.write_kubeconfig(text);
        machine.unsetup(&["kubectl"]).run().succeeds().stdout_has("nothing to undo");
        assert_eq!(machine.read("home/.kube/config"), text, "{what}");
        assert!(machine.journal().is_empty(), "{what}");
    }
}

#[test]
fn the_entry_of_a_file_that_is_away_is_kept_until_the_file_is_back_or_force() {
    let machine = Machine::new();
    machine.write_kubeconfig(TEXT);
    machine.setup(&["kubectl"]).run().succeeds();
    let away = machine.path("home/away");
    fs::rename(machine.kubeconfig(), &away).expect("moved");
    for arguments in [["kubectl"], ["--all"]] {
        let run = machine.unsetup(&arguments).run().exits(3);
        run.stderr_has("user u: cannot be restored, because the file is gone").stderr_has("--force");
    }
    fs::rename(&away, machine.kubeconfig()).expect("moved back");
    machine.unsetup(&["kubectl"]).run().succeeds().stdout_has("restored");
    assert_eq!(machine.read("home/.kube/config"), TEXT);
    machine.setup(&["kubectl"]).run().succeeds();
    fs::remove_file(machine.kubeconfig()).expect("removed");
    machine.unsetup(&["--all", "--force"]).run().succeeds().stdout_has("the file is gone");
    machine.unsetup(&["kubectl"]).run().succeeds().stdout_is("nothing to undo\n");
}

#[test]
fn a_user_with_a_repeated_key_or_name_is_refused_and_stays() {
    let machine = Machine::new();
    let start = TEXT.split("- name: u #").next().expect("a start");
    let user = |name: &str, member: &str| {
        format!(
            "- name: {name}\n  user:\n    exec:\n      {member}command: yc\n      args: [k8s, create-token, --profile=prod]\n"
        )
    };
    for (what, first, why) in [
        ("a hint", user("u", "installHint: a\n      installHint: b\n      "), "a key occurs twice"),
        ("the command", user("u", "command: other\n      "), "a key occurs twice"),
        ("the arguments", user("u", "args: [x]\n      "), "a key occurs twice"),
        ("a variable's value", user("u", "env: [{name: A, value: a, value: b}]\n      "), "a key occurs twice"),
        ("exec", user("u", "command: yc\n    exec:\n      "), "a key occurs twice"),
        ("user", user("u", "command: yc\n  user:\n    exec:\n      "), "a key occurs twice"),
        ("the name", user("u", "") + &user("u", ""), "two users have this name"),
    ] {
        let text = format!("{start}{first}{}", user("v", ""));
        machine.write_kubeconfig(&text);
        for _ in 0..2 {
            machine
                .setup(&["kubectl", "--all"])
                .run()
                .exits(3)
                .stderr_has("user u: cannot be edited: ")
                .stderr_has(why);
            assert!(machine.read("home/.kube/config").starts_with(&format!("{start}{first}")), "{what}");
            assert_eq!(machine.journal().len(), 1, "{what}: only the other user is set up");
        }
        machine.unsetup(&["--all"]).run().succeeds();
        assert_eq!(machine.read("home/.kube/config"), text, "{what}");
        machine.setup(&["kubectl", "--user", "u", "--force"]).run().exits(3).stderr_has(why);
        assert_eq!(machine.read("home/.kube/config"), text, "{what}");
    }
}

#[test]
fn what_does_not_change_is_not_called_restored() {
    let machine = Machine::new();
    machine.write_kubeconfig(TEXT);
    machine.setup(&["kubectl"]).run().succeeds();
    let entry = &machine.journal()[0];
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(entry).expect("an entry")).expect("JSON");
    json["what"]["value"]["before"] = json["what"]["value"]["ours"][0].clone();
    json["exact"] = serde_json::Value::Null;
    fs::write(entry, json.to_string()).expect("written");
    let ours = machine.read("home/.kube/config");
    machine.unsetup(&["kubectl"]).run().succeeds().stdout_has("it was the same before setup").never_prints("restored");
    assert_eq!(machine.read("home/.kube/config"), ours);
}

#[test]
fn after_yc_has_written_its_stanza_again_one_quiet_command_puts_ours_in() {
    let machine = Machine::new();
    machine.write_kubeconfig(&yc_with("prod"));
    machine.setup(&["kubectl", "--all", "--quiet"]).run().succeeds();
    let ours = machine.read("home/.kube/config");
    // `yc … get-credentials --force`
    let with_comment = format!("# by yc\n{}", yc_with("prod"));
    machine.write_kubeconfig(&with_comment);
    let run = machine.setup(&["kubectl", "--all", "--quiet"]).run().succeeds().stderr_is_empty();
    let line = format!(
        "{}: user u: yc profile prod → ycred profile prod (service account {})\n",
        machine.kubeconfig().display(),
        machine.account
    );
    assert_eq!(run.stdout, line);
    assert_eq!(machine.read("home/.kube/config"), format!("# by yc\n{ours}"));
    machine.setup(&["kubectl", "--all", "--quiet"]).run().succeeds().stdout_is("").stderr_is_empty();
    machine.unsetup(&["kubectl"]).run().succeeds();
    assert_eq!(machine.read("home/.kube/config"), with_comment);
}

#[test]
fn without_a_journal_a_kubeconfig_is_not_changed_and_the_command_is_named() {
    let machine = Machine::new();
    let text =
        TEXT.replace("name: u ", "name: yc-managed-k8s-cat1 ").replace("user: u\n", "user: yc-managed-k8s-cat1\n");
    machine.write_kubeconfig(&text);
    machine.setup(&["kubectl"]).run().succeeds();
    fs::remove_dir_all(machine.path("state/setup")).expect("removed");
    let ours = machine.read("home/.kube/config");
    let run = machine.unsetup(&["kubectl"]).run().exits(3).stderr_has("user yc-managed-k8s-cat1");
    run.stderr_has("yc managed-kubernetes cluster get-credentials cat1 --external --force");
    assert_eq!(machine.read("home/.kube/config"), ours);
}

#[test]
fn each_user_can_be_undone_alone() {
    let machine = Machine::new();
    let text = format!(
        "{}- name: second\n  user: {{exec: {{command: yc, args: [k8s, create-token, --profile=prod]}}}}\n",
        yc_with("prod")
    );
    machine.write_kubeconfig(&text);
    machine.setup(&["kubectl", "--all"]).run().succeeds();
    let both = machine.read("home/.kube/config");
    machine.unsetup(&["kubectl", "--user", "u"]).run().succeeds();
    let one = machine.read("home/.kube/config");
    assert_eq!(one.matches(&machine.command()).count(), 1, "{one}");
    machine.setup(&["kubectl", "--user", "u"]).run().succeeds();
    assert_eq!(machine.read("home/.kube/config"), both);
    machine.unsetup(&["kubectl", "--context", "c"]).run().succeeds();
    machine.unsetup(&["--all"]).run().succeeds();
    assert_eq!(machine.read("home/.kube/config"), text);
}

#[test]
fn json_reports_have_the_documented_fields() {
    let machine = Machine::new();
    machine.write_kubeconfig(TEXT);
    let report =
        |run: crate::harness::Run| -> serde_json::Value { serde_json::from_str(&run.succeeds().stdout).expect("JSON") };
    let dry = report(machine.setup(&["kubectl", "--json", "--dry-run"]).run());
    let real = report(machine.setup(&["kubectl", "--json"]).run());
    let change = &real["changes"][0];
    assert_eq!((&dry["dry_run"], &real["dry_run"], &real["version"]), (&true.into(), &false.into(), &1.into()));
    assert_eq!(dry["changes"], real["changes"]);
    let names: Vec<&String> = change.as_object().expect("an object").keys().collect();
    assert_eq!(names, ["account", "after", "before", "changed", "client", "file", "place", "profile", "summary"]);
    assert_eq!(change["client"], "kubectl");
    assert_eq!(change["file"], machine.kubeconfig().display().to_string());
    assert_eq!(
        (&change["changed"], &change["place"], &change["profile"]),
        (&true.into(), &"user u".into(), &"prod".into())
    );
    assert_eq!(change["account"], format!("service account {}", machine.account));
    assert!(change["before"].as_str().expect("a string").contains("command: yc"));
    assert!(change["after"].as_str().expect("a string").contains(&machine.command()));
    let again = report(machine.setup(&["kubectl", "--json"]).run());
    assert_eq!((&again["changes"][0]["changed"], &again["changes"][0]["before"]), (&false.into(), &"".into()));
}
