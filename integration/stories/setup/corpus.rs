//! Kubeconfigs of all kinds: after setup, kubectl sees another `exec` and nothing else; after unsetup, every byte is back.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::Machine;
use crate::harness::require_client;

/// Returns the files whose names start with this word.
fn corpus(start: &str) -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/data/kubeconfigs");
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).expect("the corpus").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
        .iter()
        .map(|path| {
            let name = path.file_stem().expect("a name").to_str().expect("UTF-8").to_owned();
            (name, fs::read_to_string(path).expect("text"))
        })
        .filter(|(name, _)| name.starts_with(start))
        .collect()
}

/// Returns what kubectl reads.
fn view(kubectl: &Path, path: &Path) -> Value {
    let output = Command::new(kubectl)
        .args(["config", "view", "--raw", "-o", "json", "--kubeconfig"])
        .arg(path)
        .env_clear()
        .output()
        .expect("kubectl runs");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{}: {error}: {}", path.display(), String::from_utf8_lossy(&output.stderr)))
}

fn runs_yc(user: &Value) -> bool {
    user["user"]["exec"]["command"]
        .as_str()
        .is_some_and(|command| command.ends_with("yc") || command.ends_with("yc.exe"))
}

#[test]
fn every_kubeconfig_comes_back_to_the_byte_and_is_written_once() {
    let machine = Machine::new();
    let files = corpus("ok");
    assert!(files.len() >= 40, "{} files", files.len());
    for (name, text) in &files {
        let variants = [
            text.clone(),
            text.replace('\n', "\r\n"),
            format!("\u{feff}{text}"),
            text.trim_end_matches('\n').to_owned(),
        ];
        for (number, text) in variants.iter().enumerate() {
            machine.write_kubeconfig(text);
            let run = machine.setup(&["kubectl", "--all"]).run().succeeds().stderr_is_empty();
            let after = fs::read_to_string(machine.kubeconfig()).expect("the file");
            assert!(after != *text && after.contains(&machine.command()), "{name} {number}\n{run}");
            let stamp = fs::metadata(machine.kubeconfig()).and_then(|file| file.modified()).expect("a time");
            machine.setup(&["kubectl", "--all"]).run().succeeds().stdout_has("already set up");
            machine.setup(&["kubectl", "--all", "--quiet"]).run().succeeds().stdout_is("").stderr_is_empty();
            let again = fs::metadata(machine.kubeconfig()).and_then(|file| file.modified()).expect("a time");
            assert_eq!(stamp, again, "{name} {number}: written twice");
            machine.unsetup(&["kubectl"]).run().succeeds().stdout_has("restored");
            let restored = fs::read_to_string(machine.kubeconfig()).expect("the file");
            assert_eq!(restored, *text, "{name} {number}");
            assert!(machine.journal().is_empty(), "{name} {number}: {:?}", machine.journal());
        }
    }
}

#[test]
fn kubectl_sees_no_other_difference() {
    let Some(kubectl) = require_client("kubectl") else { return };
    let machine = Machine::new();
    for (name, text) in corpus("ok") {
        machine.write_kubeconfig(&text);
        let mut expected = view(&kubectl, &machine.kubeconfig());
        machine.setup(&["kubectl", "--all"]).run().succeeds();
        let mut changed = 0;
        for user in expected["users"].as_array_mut().expect("users").iter_mut().filter(|user| runs_yc(user)) {
            let env = user["user"]["exec"]["env"].as_array().cloned().unwrap_or_default();
            let env: Vec<Value> = env.into_iter().filter(|it| it["name"] != "YC_CLI_INITIALIZATION_SILENCE").collect();
            let hint = user["user"]["exec"]["installHint"].clone();
            user["user"]["exec"] = json!({
                "apiVersion": "client.authentication.k8s.io/v1", "command": machine.command(),
                "args": ["kubectl", "--profile", "prod"], "interactiveMode": "Never", "provideClusterInfo": false,
                "env": if env.is_empty() { Value::Null } else { env.into() }, "installHint": hint,
            });
            changed += 1;
        }
        let mut after = view(&kubectl, &machine.kubeconfig());
        for (user, expected) in after["users"]
            .as_array_mut()
            .expect("users")
            .iter_mut()
            .zip(expected["users"].as_array_mut().expect("users"))
        {
            // The text of the hint does not matter.
            if user["user"]["exec"]["command"] == machine.command().as_str() {
                assert!(
                    user["user"]["exec"]["installHint"].as_str().is_some_and(|hint| hint.contains("ycred")),
                    "{name}"
                );
                expected["user"]["exec"]["installHint"] = user["user"]["exec"]["installHint"].take();
                user["user"]["exec"]["installHint"] = expected["user"]["exec"]["installHint"].clone();
            }
        }
        assert!(changed > 0, "{name}: no user runs yc");
        assert_eq!(after, expected, "{name}");
    }
}

#[test]
fn what_cannot_be_edited_is_refused_and_stays() {
    let machine = Machine::new();
    let files = corpus("refused");
    assert!(files.len() >= 20, "{} files", files.len());
    for (name, text) in files {
        machine.write_kubeconfig(&text);
        for arguments in [&["kubectl"][..], &["kubectl", "--dry-run"]] {
            let run = machine.setup(arguments).run().fails().stdout_is("");
            assert!(matches!(run.status.code(), Some(2 | 3)), "{name}\n{run}");
            assert_eq!(run.lines_of_stderr("ycred: error: ").len(), 1, "{name}\n{run}");
            assert_eq!(run.lines_of_stderr("ycred: hint: ").len(), 1, "{name}\n{run}");
            run.never_prints("t1.a").never_prints("y0_abc");
        }
        assert_eq!(machine.read("home/.kube/config"), text, "{name}");
        assert!(machine.journal().is_empty(), "{name}");
        assert_eq!(machine.world.sandbox.files("home/.kube").len(), 1, "{name}");
    }
}

#[test]
fn the_error_has_the_place_and_the_stanza_to_paste() {
    let machine = Machine::new();
    let text = |name: &str| corpus(name).pop().unwrap_or_else(|| panic!("{name}")).1;
    let path = machine.kubeconfig().display().to_string();
    machine.write_kubeconfig(&text("refused-broken-yaml"));
    let run = machine.setup(&["kubectl", "--profile", "prod"]).run().exits(3);
    run.stderr_has(&format!("{path}:")).stderr_has("\"args\": [\"kubectl\", \"--profile\", \"prod\"]");
    machine.write_kubeconfig(&text("refused-alias-user"));
    let run = machine.setup(&["kubectl"]).run().exits(3).stderr_has("an anchor, an alias or a tag is in the way");
    run.stderr_has("set exec of user u to {\"apiVersion\": \"client.authentication.k8s.io/v1\"")
        .stderr_has(&machine.command());
    machine.write_kubeconfig(&text("refused-token-beside"));
    machine
        .setup(&["kubectl"])
        .run()
        .exits(3)
        .stderr_has("user u: has `token`")
        .stderr_has("kubectl config unset users.u.token");
    machine.write_kubeconfig(&text("refused-impersonation"));
    machine.setup(&["kubectl"]).run().exits(2).stderr_has("--impersonate-service-account-id");
    machine.write_kubeconfig(&text("refused-no-current-context"));
    machine.setup(&["kubectl"]).run().exits(2).stderr_has("--all");
}

#[test]
fn lists_of_files_are_merged_as_by_kubectl() {
    let mut machine = Machine::new();
    let user = |name: &str, profile: &str| {
        format!(
            "users:\n- name: {name}\n  user: {{exec: {{command: yc, args: [k8s, create-token, --profile={profile}]}}}}\n"
        )
    };
    let first = machine.world.sandbox.file("work/first", user("u", "prod"));
    let second = machine.world.sandbox.file(
        "work/second",
        format!(
            "current-context: c\ncontexts: [{{name: c, context: {{cluster: x, user: u}}}}]\n{}",
            user("u", "shadowed")
        ),
    );
    let second_text = fs::read_to_string(&second).expect("text");
    let missing = machine.path("work/missing/file");
    let list = std::env::join_paths([missing.as_path(), Path::new(""), &first, &second, &first]).expect("paths");
    machine.world.sandbox.set("KUBECONFIG", list);
    machine.setup(&["kubectl"]).run().succeeds().stdout_has("work/first: user u: yc profile prod");
    assert_eq!(fs::read_to_string(&second).expect("text"), second_text, "the shadowed user stays");
    assert!(!machine.path("work/missing").exists(), "kubectl creates the directory for its lock; ycred must not");
    machine.unsetup(&["kubectl"]).run().succeeds();
    assert_eq!(fs::read_to_string(&first).expect("text"), user("u", "prod"));
    // A file of the list that cannot be read breaks kubectl, and setup too.
    fs::write(&second, "users: [").expect("written");
    machine.setup(&["kubectl", "--user", "u"]).run().exits(3).stderr_has("work/second:");
}

#[test]
fn links_stay_links_and_modes_stay() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let machine = Machine::new();
    let real = machine.world.sandbox.file("work/dotfiles/kubeconfig", super::yc_with("prod"));
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).expect("a mode");
    fs::create_dir_all(machine.path("home/.kube")).expect("a directory");
    symlink("../../work/dotfiles/kubeconfig", machine.kubeconfig()).expect("a link");
    machine.setup(&["kubectl"]).run().succeeds();
    let is_link = || fs::symlink_metadata(machine.kubeconfig()).expect("the link").is_symlink();
    let mode = || fs::metadata(&real).expect("the file").permissions().mode() & 0o777;
    assert!(is_link() && mode() == 0o640 && fs::read_to_string(&real).expect("text").contains("ycred"));
    machine.unsetup(&["kubectl"]).run().succeeds();
    assert!(is_link() && mode() == 0o640);
    assert_eq!(fs::read_to_string(&real).expect("text"), super::yc_with("prod"));
    fs::remove_file(&real).expect("removed");
    machine.setup(&["kubectl"]).run().exits(3).stderr_has("is a link to a file that does not exist");
}

#[test]
fn kubectls_list_of_allowed_plugins_is_read_and_never_changed() {
    let machine = Machine::new();
    machine.write_kubeconfig(&super::yc_with("prod"));
    let policy = "apiVersion: kubectl.config.k8s.io/v1beta1\nkind: Preference\ncredentialPluginPolicy: Allowlist\n\
                  credentialPluginAllowlist:\n- command: yc\n";
    let kuberc = machine.world.sandbox.file("home/.kube/kuberc", policy);
    let note = format!("does not allow ycred; add to credentialPluginAllowlist: - command: {}", machine.command());
    machine.setup(&["kubectl"]).run().succeeds().stdout_has(&note);
    assert_eq!(fs::read_to_string(&kuberc).expect("text"), policy);
    let is_silent = |call: crate::harness::Call| assert!(!call.run().succeeds().stdout.contains("Allowlist"));
    is_silent(machine.setup(&["kubectl"]).env("KUBERC", "off"));
    let allowed = machine.world.sandbox.file("work/kuberc", policy.replace("command: yc", "command: ycred"));
    is_silent(machine.setup(&["kubectl"]).env("KUBERC", allowed));
}
