//! What unsetup leaves after the owner's edits, without a journal, and with links that others may need.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::Value;

use super::{GO, Machine, yc_with};
use crate::harness::machine::is_root;
use crate::harness::require_client;

#[test]
fn without_a_journal_gits_own_lines_stay_and_the_removed_ones_are_printed() {
    if require_client("git").is_none() {
        return;
    }
    let machine = Machine::new();
    let (section, ours) =
        ("[credential \"https://git.example.com\"]\n", format!("{} git --profile prod", machine.command()));
    for (before, after) in [
        // An empty value of the user's own, with lines that git would write in another way.
        (
            "\thelper =   # mine\n    helper = \"osxkeychain\" ; mine\n\thelper = \n\thelper = OURS\n",
            "\thelper =   # mine\n    helper = \"osxkeychain\" ; mine\n",
        ),
        ("\thelper = \"store\"  # mine\n\thelper = OURS\n", "\thelper = \"store\"  # mine\n"),
        ("\thelper =\n\thelper = OURS\n\thelper = late # mine\n", "\thelper = late # mine\n"),
        ("\thelper = OURS\n\thelper =\n\thelper = late # mine\n", "\thelper =\n\thelper = late # mine\n"),
        ("\tusername = x\n\thelper =\n\thelper = OURS\n", "\tusername = x\n"),
    ] {
        let text = format!("[user]\n\tname = A # a\n{section}{}", before.replace("OURS", &ours));
        machine.world.sandbox.file("home/.gitconfig", &text);
        let dry = machine.unsetup(&["git", "--dry-run"]).run().succeeds();
        let run = machine.unsetup(&["git"]).run().succeeds().stdout_has("git.example.com: removed ycred");
        let run = run.stdout_has(&format!("- helper = {ours}\n"));
        assert_eq!(dry.stdout, format!("{}dry run: nothing was written\n", run.stdout));
        assert_eq!(
            run.stdout.matches("\n- helper =\n").count(),
            usize::from(before.contains(" =\n\thelper = OURS") || before.contains(" = \n\thelper = OURS")),
            "{run}"
        );
        let left = git_values(&machine);
        assert!(
            machine.read("home/.gitconfig").starts_with("[user]\n\tname = A # a\n"),
            "{}",
            machine.read("home/.gitconfig")
        );
        machine.world.sandbox.file("home/.gitconfig", format!("{section}{after}"));
        assert_eq!(left, git_values(&machine), "{before:?}");
    }
    // The lines that stay keep their form, unless they have the same value as one that goes.
    let text = format!("{section}    helper = \"store\"  # mine\n\thelper =\n\thelper = {ours}\n");
    machine.world.sandbox.file("home/.gitconfig", text);
    machine.unsetup(&["git"]).run().succeeds();
    assert_eq!(machine.read("home/.gitconfig"), format!("{section}    helper = \"store\"  # mine\n"));
}

/// Returns what git reads as the helpers of the server.
fn git_values(machine: &Machine) -> String {
    let key = "credential.https://git.example.com.helper";
    machine.world.sandbox.call("git", ["config", "--global", "--get-all", key]).run().stdout
}

#[test]
fn without_a_journal_the_removed_lines_are_printed_for_every_client() {
    let machine = Machine::new();
    machine.world.sandbox.script("bin/go", GO);
    for client in ["aws", "go", "terraform", "docker"] {
        machine.setup(&[client]).run().succeeds();
    }
    fs::remove_dir_all(machine.path("state/setup")).expect("removed");
    let ycred = machine.command();
    for (client, line) in [
        ("aws", format!("- credential_process = {ycred} aws --profile prod\n")),
        ("go", format!("- GOAUTH={ycred} goauth --profile prod; netrc\n+ GOAUTH=netrc\n")),
        ("terraform", "- credentials_helper \"ycred-prod\" {\n".to_owned()),
        ("docker", "- cr.yandex: \"ycred-prod\"\n".to_owned()),
    ] {
        let dry = machine.unsetup(&[client, "--dry-run"]).run().succeeds().stdout_has(&line);
        let run = machine.unsetup(&[client]).run().succeeds().stdout_has(&line);
        assert_eq!(dry.stdout, format!("{}dry run: nothing was written\n", run.stdout));
    }
    assert!(!machine.path("home/.terraform.d/ycred.tfrc").exists());
}

#[test]
fn blanks_and_blank_lines_come_back_if_the_file_has_changed_elsewhere() {
    let machine = Machine::new();
    let (aws, docker) = ("home/.aws/config", "home/.docker/config.json");
    for text in ["[default]\nregion = a\n", "[default]\r\nregion = a\r\n", "[default]\nregion = a\n\n\n"] {
        machine.world.sandbox.file(aws, text);
        machine.setup(&["aws"]).run().succeeds();
        machine.world.sandbox.file(aws, machine.read(aws).replace("region = a", "region = b"));
        machine.unsetup(&["aws"]).run().succeeds();
        assert_eq!(machine.read(aws), text.replace("= a", "= b"));
    }
    for text in [
        "{ \"credHelpers\" : { } , \"x\" : 1 }\n",
        "{\n    \"credHelpers\" :  {\n    },\n    \"x\": 1\n}\n",
        "{ \"credHelpers\": { \"cr.yandex\" :  \"yc\" } , \"x\": 1 }",
        "{ \"x\": 1 }\n",
    ] {
        machine.world.sandbox.file(docker, text);
        machine.setup(&["docker"]).run().succeeds();
        let changed = |text: &str| text.replace(": 1", ": 2");
        machine.world.sandbox.file(docker, changed(&machine.read(docker)));
        machine.unsetup(&["docker"]).run().succeeds();
        assert_eq!(machine.read(docker), changed(text));
    }
    assert!(machine.journal().is_empty());
}

#[test]
fn terraforms_block_goes_whatever_was_added_after_it_and_with_other_line_ends() {
    let machine = Machine::new();
    let file = "work/rc";
    for (text, newline) in [("a = 1\n", "\n"), ("a = 1", "\n"), ("a = 1\r\nb = 2", "\r\n"), ("", "\n")] {
        for is_noted in [true, false] {
            for change in ["", "added", "crlf"] {
                machine.world.sandbox.file(file, text);
                machine.setup(&["terraform", "--file", "rc"]).run().succeeds();
                let written = machine.read(file);
                assert!(!written.replace("\r\n", "").contains('\n') || !written.contains("\r\n"), "{written:?}");
                let (changed, expected) = match change {
                    "added" => {
                        let separator = if text.is_empty() || text.ends_with('\n') { "" } else { newline };
                        (format!("{written}c = 3{newline}"), format!("{text}{separator}c = 3{newline}"))
                    }
                    "crlf" => {
                        let crlf = |text: &str| text.replace("\r\n", "\n").replace('\n', "\r\n");
                        (crlf(&written), crlf(text))
                    }
                    _ => (written, text.to_owned()),
                };
                machine.world.sandbox.file(file, &changed);
                let mut unsetup = machine.unsetup(&["terraform"]);
                if !is_noted {
                    fs::remove_dir_all(machine.path("state/setup")).expect("removed");
                    unsetup = unsetup.env("TF_CLI_CONFIG_FILE", machine.path(file));
                }
                unsetup.run().succeeds();
                // Without a journal, nobody knows that a line end was missing.
                let (left, expected) = match is_noted {
                    true => (machine.read(file), expected),
                    false => (machine.read(file).trim_end().to_owned(), expected.trim_end().to_owned()),
                };
                assert_eq!(left, expected, "{text:?} {change} {is_noted}");
            }
        }
    }
    // A block that somebody has edited is left and named.
    machine.setup(&["terraform", "--file", "rc"]).run().succeeds();
    machine.world.sandbox.file(file, machine.read(file).replace("[]", "[\"x\"]"));
    fs::remove_dir_all(machine.path("state/setup")).expect("removed");
    let run = machine.unsetup(&["terraform"]).env("TF_CLI_CONFIG_FILE", machine.path(file)).run().exits(3);
    run.stderr_has("names ycred-prod, but not as setup writes it");
}

#[test]
fn a_link_stays_while_a_file_that_cannot_be_restored_may_name_it() {
    let machine = Machine::new();
    machine.setup(&["docker"]).run().succeeds();
    let (file, link) = ("home/.docker/config.json", machine.path("bin/docker-credential-ycred-prod"));
    let text = machine.read(file);
    machine.world.sandbox.file(file, format!("{text},"));
    for arguments in [&["docker"][..], &["--all"]] {
        machine.unsetup(arguments).run().exits(3).stderr_has("config.json");
        assert!(link.is_symlink() && !machine.journal().is_empty());
    }
    machine.world.sandbox.file(file, text);
    machine.unsetup(&["docker"]).run().succeeds();
    assert!(!link.is_symlink() && machine.journal().is_empty() && !machine.path(file).exists());
}

#[test]
fn the_highest_number_of_an_entry_is_no_obstacle() {
    let machine = Machine::new();
    machine.setup(&["docker"]).run().succeeds();
    for path in machine.journal() {
        let mut entry: Value = serde_json::from_slice(&fs::read(&path).expect("an entry")).expect("JSON");
        entry["sequence"] = u64::MAX.into();
        fs::write(path, entry.to_string()).expect("written");
    }
    machine.setup(&["aws"]).run().succeeds();
    machine.unsetup(&["--all"]).run().succeeds();
    assert!(
        machine.journal().is_empty() && !machine.path("home/.aws").exists() && !machine.path("home/.docker").exists()
    );
}

#[test]
fn only_ycred_is_accepted_as_the_command() {
    let machine = Machine::new();
    let wrapper = machine.world.sandbox.script("work/ycred", "#!/bin/sh\nexec true\n");
    let other = machine.world.sandbox.script("work/other", "#!/bin/sh\ntouch was-run\n");
    let copy = machine.path("work/renamed");
    fs::copy(machine.path("bin/ycred"), &copy).expect("copied");
    for (path, is_accepted) in [("/bin/sh".into(), false), (other, false), (wrapper, true), (copy, true)] {
        let path = path.display().to_string();
        let run = machine.setup(&["aws", "--command", &path, "--dry-run"]).run();
        match is_accepted {
            true => drop(run.succeeds().stdout_has(&format!("credential_process: {path} aws"))),
            false => drop(run.exits(2).stderr_has(&format!("--command: {path}: not ycred"))),
        }
    }
    assert!(!machine.path("work/was-run").exists());
}

#[test]
fn a_wrong_command_line_is_a_document_too_if_json_is_asked_for() {
    let machine = Machine::new();
    for arguments in [
        &["setup", "--json", "--frob"][..],
        &["setup", "kubectl", "--frob", "--json"],
        &["unsetup", "--json", "a", "b"],
        &["setup", "--json", "docker", "--user", "x"],
        &["setup", "--json", "--timeout", "x"],
    ] {
        let run = machine.world.sandbox.ycred(arguments).run().exits(2);
        let document: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{run}"));
        assert_eq!(document["failures"][0]["exit_code"], 2, "{document}");
        assert!(run.stderr.contains(document["failures"][0]["message"].as_str().expect("text")), "{run}");
    }
    let run = machine.setup(&["--json"]).env("YCRED_CONFIG_DIR", "relative").run().exits(2);
    assert!(run.stdout.contains("\"exit_code\":2"), "{run}");
    machine.setup(&["--frob"]).run().exits(2).stdout_is("");
}

#[test]
fn a_dry_run_says_what_the_run_says() {
    let machine = Machine::new();
    machine.write_kubeconfig(&super::yc_with("prod"));
    for client in ["kubectl", "docker", "aws", "terraform"] {
        let dry = machine.setup(&[client, "--dry-run"]).run().succeeds();
        let run = machine.setup(&[client]).run().succeeds();
        assert_eq!(dry.stdout, format!("{}dry run: nothing was written\n", run.stdout));
    }
    let dry = machine.unsetup(&["--all", "--dry-run"]).run().succeeds();
    let run = machine.unsetup(&["--all"]).run().succeeds().stdout_has("removed the file, which setup had created");
    assert_eq!(dry.stdout, format!("{}dry run: nothing was written\n", run.stdout));
}

#[test]
fn without_a_journal_root_leaves_links_that_serve_everybody_and_names_them() {
    let machine = Machine::new();
    let (shared, own) = (machine.path("bin/docker-credential-ycred-prod"), "home/.local/bin/docker-credential-ycred-x");
    fs::create_dir_all(machine.path("home/.local/bin")).expect("a directory");
    symlink(machine.path("bin/ycred"), &shared).expect("a link");
    symlink(machine.path("bin/ycred"), machine.path(own)).expect("a link");
    let run = machine.unsetup(&["--all"]).run().succeeds();
    assert!(!machine.path(own).is_symlink(), "{run}");
    let line = format!(
        "{0}: left, because other users of this machine may need them; to remove them: rm {0}\n",
        shared.display()
    );
    assert_eq!((shared.is_symlink(), run.stdout.contains(&line)), (is_root(), is_root()), "{run}");
    if is_root() {
        // A link that belongs to another user is not even named.
        std::os::unix::fs::lchown(&shared, Some(1), Some(1)).expect("root can");
        machine.unsetup(&["--all"]).run().succeeds().stdout_is("nothing to undo\n");
        assert!(shared.is_symlink());
    }
}

#[test]
fn a_flag_that_selects_a_place_leaves_the_link_that_other_places_need() {
    let machine = Machine::new();
    machine.setup(&["docker", "-p", "prod"]).run().succeeds();
    let link = machine.path("bin/docker-credential-ycred-prod");
    machine.unsetup(&["docker", "--host", "cr.yandex", "--force"]).run().succeeds();
    assert!(link.exists() && machine.read("home/.docker/config.json").contains("registry.yandexcloud.net"));
    machine.unsetup(&["docker"]).run().succeeds();
    assert!(!link.exists());
    // Terraform's file is selected too.
    let other = machine.path("home/my.tfrc");
    machine.setup(&["terraform", "-p", "prod"]).run().succeeds();
    machine.setup(&["terraform", "-p", "prod", "--file", other.to_str().expect("UTF-8")]).run().succeeds();
    machine.unsetup(&["terraform", "--file", other.to_str().expect("UTF-8"), "--force"]).run().succeeds();
    let link = machine.path("home/.terraform.d/plugins/terraform-credentials-ycred-prod");
    assert!(!other.exists() && link.exists() && machine.path("home/.terraform.d/ycred.tfrc").exists());
    machine.unsetup(&["terraform"]).run().succeeds();
    assert!(!link.exists());
}

#[test]
fn go_without_credentials_gets_ycred_alone_and_is_restored() {
    let machine = Machine::new();
    machine.world.sandbox.script("bin/go", GO);
    let file = "home/.config/go/env";
    machine.world.sandbox.file(file, "GOAUTH=off\nGOFLAGS=-x\n");
    machine.setup(&["go"]).run().succeeds().stdout_has("- GOAUTH=off\n");
    // go refuses `off` beside another method.
    let ours = format!("GOAUTH={} goauth --profile prod", machine.command());
    assert!(machine.read(file).lines().any(|line| line == ours), "{}", machine.read(file));
    machine.unsetup(&["go"]).run().succeeds();
    assert_eq!(machine.read(file), "GOAUTH=off\nGOFLAGS=-x\n");
}

#[test]
fn a_value_that_was_changed_by_hand_and_set_up_again_is_undone_to_what_was_before_the_first_setup() {
    let machine = Machine::new();
    let docker = "{\"credHelpers\": {\"cr.yandex\": \"yc\"}}\n";
    machine.write_kubeconfig(&yc_with("prod"));
    machine.world.sandbox.file("home/.docker/config.json", docker);
    for client in ["kubectl", "docker"] {
        machine.setup(&[client, "--profile", "prod"]).run().succeeds();
    }
    for file in ["home/.kube/config", "home/.docker/config.json"] {
        let text = machine.read(file);
        assert!(text.contains("ycred") && text.contains("prod"), "{text}");
        machine.world.sandbox.file(file, text.replace("prod", "prdo"));
    }
    machine.setup(&["kubectl", "--user", "u", "--profile", "prod"]).run().succeeds();
    machine.setup(&["docker", "--profile", "prod"]).run().succeeds();
    machine.unsetup(&["--all"]).run().succeeds();
    // What was edited by hand comes back in the style of ycred's own stanza.
    assert_eq!(machine.read("home/.kube/config").replace('"', ""), yc_with("prod"));
    assert_eq!(machine.read("home/.docker/config.json"), docker);
}
