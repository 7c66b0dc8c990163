//! Clients that run ycred by a link: what setup creates and prints, who shares a link, and when a link goes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::Value;

use super::Machine;
use crate::harness::machine::is_root;
use crate::harness::{Call, YCRED};

/// pip's configuration as pip and people write it.
const PIP: [&str; 10] = [
    "",
    "\n",
    "[global]\ntimeout = 60\n",
    "[global]\ntimeout = 60",
    "[global]\r\ntimeout = 60\r\n",
    "# mine\n[global] ; here\nindex-url = https://iam@registry.yandexcloud.net/pypi/x/simple/\nextra-index-url =\n    https://a\n    https://b\n",
    "[install]\nno-compile = yes\n",
    "[global]\n\n[install]\ntrusted-host = a\n\n\n",
    "[global]\nkeyring_provider: auto\n",
    "; only a comment\n",
];

const PIP_CONF: &str = "home/.config/pip/pip.conf";
const KEYRING: &str = "home/.local/lib/ycred/keyring";

fn json(call: Call) -> Value {
    serde_json::from_str(&call.run().succeeds().stderr_is_empty().stdout).expect("JSON")
}

#[test]
fn every_configuration_of_pip_comes_back_to_the_byte_and_is_written_once() {
    let machine = Machine::new();
    for text in PIP {
        machine.world.sandbox.file(PIP_CONF, text);
        let force: &[&str] = if text.contains("auto") { &["--force"] } else { &[] };
        let run = machine.setup(&[&["pip"], force].concat()).run().succeeds().stderr_is_empty();
        let after = machine.read(PIP_CONF);
        assert!(after.contains("= subprocess") || after.contains(": subprocess"), "{text:?}\n{run}{after}");
        assert_eq!(fs::read_link(machine.path(KEYRING)).expect("a link"), machine.path("bin/ycred"));
        machine.setup(&["pip"]).run().succeeds().stdout_has("already set up");
        assert_eq!(machine.read(PIP_CONF), after, "{text:?}");
        machine.unsetup(&["pip"]).run().succeeds();
        assert_eq!(machine.read(PIP_CONF), text, "{text:?}");
        assert!(!machine.path(KEYRING).is_symlink() && machine.journal().is_empty(), "{text:?}");
    }
    fs::remove_file(machine.path(PIP_CONF)).expect("removed");
    machine.setup(&["pip"]).run().succeeds();
    machine.unsetup(&["pip"]).run().succeeds();
    assert!(!machine.path(PIP_CONF).exists(), "the file did not exist before");
}

#[test]
fn what_pip_would_prefer_is_refused_or_named() {
    let mut machine = Machine::new();
    machine.world.sandbox.file(PIP_CONF, "[global]\nkeyring-provider = import\n");
    machine.setup(&["pip"]).run().exits(3).stderr_has("pip uses the provider import").stderr_has("--force");
    machine.world.sandbox.file(PIP_CONF, "[install]\nkeyring-provider = disabled\n");
    let run = machine.setup(&["pip", "--force"]).run().exits(3).stderr_has("pip uses the provider disabled");
    run.stderr_has("pip config unset install.keyring-provider");
    machine.world.sandbox.file(PIP_CONF, "broken\n");
    machine.setup(&["pip"]).run().exits(3).stderr_has("pip.conf:1:").stderr_has("pip cannot read it either");
    assert!(!machine.path(KEYRING).is_symlink() && machine.journal().is_empty());
    machine.world.sandbox.script("bin/pip", "#!/bin/sh\n");
    // The link must come first in PATH.
    fs::remove_file(machine.path(PIP_CONF)).expect("removed");
    let directory = machine.path("home/.local/lib/ycred");
    let note = format!("export PATH=\"{}:$PATH\"", directory.display());
    machine.setup(&["pip"]).run().succeeds().stdout_has(&note);
    let path = std::env::join_paths([directory, machine.path("bin")]).expect("a PATH");
    let run = machine.setup(&["pip"]).env("PATH", path).env("PIP_KEYRING_PROVIDER", "import").run().succeeds();
    assert!(!run.stdout.contains("export PATH"), "{run}");
    run.stdout_has("PIP_KEYRING_PROVIDER is set in the environment");
    machine.setup(&["pip"]).env("PIP_CONFIG_FILE", "/dev/null").run().exits(2).stderr_has("pip reads no configuration");
    // keyring uses the default profile, so another one would be another account.
    machine.world.profile("default", "");
    machine.setup(&["pip", "-p", "prod"]).run().exits(2).stderr_has("export YCRED_PROFILE=prod");
    machine.setup(&["uv", "-p", "prod"]).run().exits(2).stderr_has("export YCRED_PROFILE=prod");
    machine.world.sandbox.set("YCRED_PROFILE", "prod");
    machine.setup(&["pip", "-p", "default"]).run().succeeds();
}

#[test]
fn a_link_that_two_clients_need_goes_with_the_last_one() {
    let machine = Machine::new();
    for order in [["pip", "uv"], ["uv", "pip"]] {
        machine.setup(&["pip"]).run().succeeds();
        machine.setup(&["uv"]).run().succeeds().stdout_has("linked to ycred already");
        machine.setup(&["uv"]).run().succeeds();
        machine.unsetup(&[order[0]]).run().succeeds();
        assert!(machine.path(KEYRING).exists(), "{order:?}");
        machine.unsetup(&[order[1]]).run().succeeds().stdout_has("removed the link");
        assert!(!machine.path(KEYRING).is_symlink() && machine.journal().is_empty(), "{order:?}");
    }
    // docker uses a link that `setup links` has created.
    machine.setup(&["links"]).run().succeeds();
    symlink("../config/prod.toml", machine.path("config/default.toml")).expect("a default profile");
    machine.setup(&["docker"]).run().succeeds().stdout_has("docker-credential-ycred: linked to ycred already");
    let run = machine.unsetup(&["links"]).run().succeeds().stderr_is_empty();
    run.stdout_has("docker-credential-ycred: left for docker, which also uses the link");
    assert!(machine.path("bin/docker-credential-ycred").exists() && !machine.path("bin/ycred-bazel").is_symlink());
    machine.unsetup(&["links"]).run().succeeds().stdout_is("nothing to undo\n");
    machine.unsetup(&["docker"]).run().succeeds().stdout_has("docker-credential-ycred: removed the link");
    assert!(!machine.path("bin/docker-credential-ycred").is_symlink() && machine.journal().is_empty());
}

#[test]
fn pnpm_bazel_and_cargo_get_what_to_add_and_their_links_stay_while_a_file_names_them() {
    let machine = Machine::new();
    machine.world.sandbox.file(
        "home/.npmrc",
        "@corp:registry=https://registry.yandexcloud.net/npm/r1\nregistry=https://evil.example/\n",
    );
    let pnpm = json(machine.setup(&["pnpm", "-p", "prod", "--json"]));
    let link = machine.path("bin/ycred-pnpm-prod");
    let line = format!("//registry.yandexcloud.net/npm/r1/:tokenHelper={}", link.display());
    assert_eq!(pnpm["pastes"][0]["file"], machine.path("home/.npmrc").display().to_string());
    assert_eq!(pnpm["pastes"][0]["text"], line, "{pnpm}");
    assert_eq!(pnpm["changes"][0]["account"], format!("service account {}", machine.account));
    assert!(link.exists() && machine.read("home/.npmrc").lines().count() == 2);
    let text = format!("{}{line}\n", machine.read("home/.npmrc"));
    machine.world.sandbox.file("home/.npmrc", &text);
    assert_eq!(json(machine.setup(&["pnpm", "-p", "prod", "--json"]))["pastes"], Value::Array(Vec::new()));
    machine.world.sandbox.script("bin/pnpm", "#!/bin/sh\n");
    machine.setup(&[]).run().succeeds().stdout_has("pnpm       set up: line 3");
    for arguments in [&["pnpm"][..], &["--all"], &["pnpm", "--dry-run"]] {
        machine.unsetup(arguments).run().exits(3).stderr_has("ycred-pnpm-prod: needed by").stderr_has(".npmrc");
    }
    assert!(link.exists() && machine.read("home/.npmrc") == text, "the user has added the line");
    machine.world.sandbox.file("home/.npmrc", text.replace(&line, "# no helper"));
    machine.unsetup(&["pnpm"]).run().succeeds();
    assert!(!link.is_symlink() && machine.journal().is_empty());

    let bazel = json(machine.setup(&["bazel", "-p", "prod", "--json"]));
    let link = machine.path("bin/ycred-bazel-prod");
    let line = format!("common --credential_helper=registry.yandexcloud.net={}", link.display());
    assert_eq!(bazel["pastes"][0]["text"], line, "{bazel}");
    machine.setup(&["bazel", "--host", "evil.example"]).run().exits(2).stderr_has("hosts = [\"evil.example\"]");
    machine.world.sandbox.file("home/.bazelrc", format!("{line}\n"));
    machine.unsetup(&["bazel"]).run().exits(3).stderr_has(".bazelrc");
    machine.unsetup(&["bazel", "--force"]).run().succeeds();
    assert!(!link.is_symlink());

    let cargo = json(machine.setup(&["cargo", "-p", "prod", "--json"]));
    assert!(cargo["pastes"][0]["text"].as_str().expect("text").starts_with("[registries.NAME]\nindex = "), "{cargo}");
    let index = "[registries.other]\nindex = \"sparse+https://evil.example/\"\n[registries.corp]\nindex = \"sparse+https://registry.yandexcloud.net/cargo/x/\"\n";
    machine.world.sandbox.file("home/.cargo/config.toml", index);
    let cargo = json(machine.setup(&["cargo", "-p", "prod", "--json"]));
    let provider = format!("credential-provider = [\"{}\", \"--profile\", \"prod\"]", machine.command());
    assert_eq!(cargo["pastes"].as_array().map(Vec::len), Some(1), "{cargo}");
    assert_eq!(cargo["pastes"][0]["text"], provider);
    assert_eq!(cargo["pastes"][0]["under"], "[registries.corp]");
    machine.world.sandbox.file("home/.cargo/config.toml", format!("{index}{provider}\n"));
    machine.world.sandbox.script("bin/cargo", "#!/bin/sh\n");
    machine.setup(&[]).run().succeeds().stdout_has("cargo      set up: line 5");
    let run =
        machine.setup(&["kubelet"]).run().succeeds().stdout_has("--image-credential-provider-bin-dir=/opt/ycred/bin");
    run.stdout_has("\n  providers:\n").stdout_has("      matchImages:\n");
    assert!(machine.journal().is_empty());
}

#[test]
fn setup_of_all_clients_only_names_those_whose_files_it_does_not_edit() {
    let machine = Machine::new();
    for name in ["uv", "pnpm", "cargo", "bazel", "kubelet", "pip"] {
        machine.world.sandbox.script(format!("bin/{name}"), "#!/bin/sh\nexit 1\n");
    }
    let path = machine.path("bin").into_os_string();
    let run = machine.setup(&["--all"]).env("PATH", path).run().succeeds().stderr_is_empty();
    for name in ["uv", "pnpm", "cargo", "bazel", "kubelet"] {
        assert!(run.stdout.contains(&format!("{name}: run `ycred setup {name}`, which prints what to add")), "{run}");
    }
    assert!(machine.read(PIP_CONF).contains("subprocess") && !machine.path("bin/ycred-pnpm").is_symlink());
    machine.unsetup(&["--all"]).run().succeeds();
    assert!(!machine.path(PIP_CONF).exists() && !machine.path(KEYRING).is_symlink());
}

#[test]
fn without_a_journal_links_go_by_their_form_except_those_of_a_package() {
    let machine = Machine::new();
    let symlink = |target: &str, path: &str| {
        let path = machine.path(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("created");
        symlink(if target == "ycred" { machine.path("bin/ycred") } else { target.into() }, path).expect("a link");
    };
    machine.setup(&["docker", "-p", "prod"]).run().succeeds();
    machine.setup(&["terraform", "-p", "prod"]).run().succeeds();
    machine.setup(&["pip"]).run().succeeds();
    fs::remove_dir_all(machine.path("state/setup")).expect("removed");
    // As a package installs them, by hand, of a version that is gone, and of other programs.
    symlink("ycred", "bin/git-credential-ycred");
    symlink("ycred", "home/.local/bin/docker-credential-ycred");
    symlink("/gone/1.0/ycred", "home/.local/bin/ycred-bazel");
    symlink("ycred", "home/.local/bin/ycred-pnpm-prod");
    symlink("/bin/true", "home/.local/bin/ycred-cargo");
    symlink("ycred", "home/.local/bin/mine");
    machine.world.sandbox.file("home/.npmrc", "//r/:tokenHelper=/x/ycred-pnpm-prod\n");
    let dry = machine.unsetup(&["--all", "--dry-run"]).run().succeeds();
    assert!(machine.path(KEYRING).exists() && machine.read("home/.docker/config.json").contains("ycred"), "{dry}");
    machine.unsetup(&["--all"]).run().succeeds().stderr_is_empty();
    let left: Vec<String> = [
        "bin/docker-credential-ycred-prod",
        "home/.terraform.d/plugins/terraform-credentials-ycred-prod",
        "home/.terraform.d/ycred.tfrc",
        KEYRING,
        "bin/git-credential-ycred",
        "home/.local/bin/docker-credential-ycred",
        "home/.local/bin/ycred-bazel",
        "home/.local/bin/ycred-pnpm-prod",
        "home/.local/bin/ycred-cargo",
        "home/.local/bin/mine",
    ]
    .into_iter()
    .filter(|path| fs::symlink_metadata(machine.path(path)).is_ok())
    .map(str::to_owned)
    .collect();
    let expected = [
        "bin/git-credential-ycred",
        "home/.local/bin/ycred-pnpm-prod",
        "home/.local/bin/ycred-cargo",
        "home/.local/bin/mine",
    ];
    // Outside the home directory, root's links serve every user of the machine.
    let of_root = is_root().then_some("bin/docker-credential-ycred-prod");
    assert_eq!(left, of_root.into_iter().chain(expected).collect::<Vec<_>>());
    assert!(!machine.read("home/.docker/config.json").contains("ycred"));
    let run = machine.unsetup(&["--all"]).run().succeeds();
    assert!(run.stdout.contains(if is_root() { ": left, because" } else { "nothing to undo\n" }), "{run}");
}

#[test]
fn the_links_of_an_installation_stay_also_if_setup_has_created_one_first() {
    let mut machine = Machine::new();
    fs::remove_file(machine.path("bin/ycred")).expect("removed");
    let bin = machine.path("home/.local/bin");
    fs::create_dir_all(&bin).expect("created");
    let program = bin.join("ycred");
    fs::hard_link(YCRED, &program).or_else(|_| fs::copy(YCRED, &program).map(drop)).expect("the program");
    let links = ["docker-credential-ycred", "git-credential-ycred", "kubectl-ycred"];
    for link in links {
        symlink("ycred", bin.join(link)).expect("a link");
    }
    // As Homebrew links a package.
    symlink(&program, machine.path("home/ycred-pnpm")).expect("a link");
    symlink("../../ycred-pnpm", bin.join("ycred-pnpm")).expect("a link");
    let list = "home/.local/share/ycred/installed";
    let listed =
        |links: &[&str]| links.iter().map(|link| format!("bin/{link}\n")).collect::<String>() + "bin/ycred\nbin/\n";
    machine.world.sandbox.file(list, listed(&links));
    machine.world.sandbox.set("PATH", std::env::join_paths([&bin, &machine.path("bin")]).expect("a PATH"));
    let run = |arguments: &[&str]| machine.world.sandbox.call(&program, arguments).run().succeeds().stderr_is_empty();
    let are_there = || links.iter().all(|link| fs::read_link(bin.join(link)).is_ok_and(|to| to == Path::new("ycred")));
    // No client was ever set up.
    for arguments in [&["unsetup", "--all", "--dry-run"][..], &["unsetup", "--all"], &["unsetup", "links"]] {
        run(arguments).stdout_is("nothing to undo\n");
        assert!(are_there(), "{arguments:?}");
    }
    run(&["setup", "docker", "-p", "prod"]).stdout_has("docker-credential-ycred-prod: linked to");
    symlink("../config/prod.toml", machine.path("config/default.toml")).expect("a default profile");
    run(&["setup", "docker", "--force"]).stdout_has("docker-credential-ycred: linked to ycred already");
    run(&["unsetup", "--all"]);
    assert!(are_there() && !bin.join("docker-credential-ycred-prod").is_symlink());
    // Created by setup, then by the installer too.
    fs::remove_file(bin.join("docker-credential-ycred")).expect("removed");
    machine.world.sandbox.file(list, listed(&links[1..]));
    run(&["setup", "docker"]).stdout_has("docker-credential-ycred: linked to");
    machine.world.sandbox.file(list, listed(&links));
    let dry = run(&["unsetup", "--all", "--dry-run"]);
    assert!(!dry.stdout.contains("removed the link"), "{dry}");
    run(&["unsetup", "--all"]).stdout_has("left, because the installer of ycred has created it too");
    assert!(are_there() && machine.journal().is_empty());
    assert!(crate::harness::files::names(&machine.path("state/setup")).is_empty(), "a lock is left");
    // Without the list, nothing tells that it is not setup's.
    fs::remove_file(machine.path(list)).expect("removed");
    run(&["unsetup", "--all"]).stdout_has("docker-credential-ycred: removed the link");
    assert!(!are_there() && bin.join("ycred-pnpm").exists());
}

#[test]
fn with_krew_alone_setup_and_unsetup_leave_krews_own_link() {
    let mut machine = Machine::new();
    fs::remove_file(machine.path("bin/ycred")).expect("removed");
    let program = machine.path("home/.krew/store/ycred/v1.0.0/ycred");
    fs::create_dir_all(program.parent().expect("a directory")).expect("created");
    fs::hard_link(YCRED, &program).or_else(|_| fs::copy(YCRED, &program).map(drop)).expect("the program");
    let (bin, plugin) = (machine.path("home/.krew/bin"), machine.path("home/.krew/bin/kubectl-ycred"));
    fs::create_dir_all(&bin).expect("created");
    symlink(&program, &plugin).expect("a link");
    let path = std::env::join_paths([&bin, &machine.path("bin")]).expect("a PATH");
    machine.world.sandbox.set("PATH", path);
    let run = |arguments: &[&str]| machine.world.sandbox.call(&plugin, arguments).run().succeeds().stderr_is_empty();
    run(&["setup", "links"]).stdout_has("kubectl-ycred: linked to ycred already");
    assert_eq!(fs::read_link(&plugin).expect("a link"), program);
    assert_eq!(fs::read_link(bin.join("ycred-pnpm")).expect("a link"), Path::new("kubectl-ycred"));
    run(&["unsetup", "links"]);
    assert_eq!(crate::harness::files::names(&bin), std::slice::from_ref(&plugin));
    // Without a journal, links go by their form.
    run(&["setup", "links"]);
    fs::remove_dir_all(machine.path("state/setup")).expect("removed");
    run(&["unsetup", "--all"]);
    assert!(!bin.join("ycred-pnpm").is_symlink());
    assert_eq!(crate::harness::files::names(&bin), std::slice::from_ref(&plugin));
    assert_eq!(fs::read_link(&plugin).expect("a link"), program);
}

#[test]
fn a_name_after_that_of_kubectls_plugin_selects_no_profile_and_may_be_another_program() {
    let machine = Machine::new();
    machine.world.sandbox.script("bin/kubectl-ycred-other", "#!/bin/sh\nexit 1\n");
    fs::create_dir_all(machine.path("home/.local/bin")).expect("created");
    for name in ["kubectl-ycred-mine", "ycred-pnpm-prod"] {
        symlink(machine.path("bin/ycred"), machine.path("home/.local/bin").join(name)).expect("a link");
    }
    let doctor = machine.world.sandbox.ycred(["doctor", "links", "--offline"]).run().succeeds();
    assert!(!doctor.stdout.contains("kubectl-ycred-other"), "{doctor}");
    machine.unsetup(&["--all"]).run().succeeds();
    let left = crate::harness::files::names(&machine.path("home/.local/bin"));
    assert_eq!(left, [machine.path("home/.local/bin/kubectl-ycred-mine")]);
}

#[test]
fn everything_is_undone_from_the_newest_entry_to_the_oldest_and_each_that_is_left_is_named() {
    let machine = Machine::new();
    machine.write_kubeconfig(&super::yc_with("prod"));
    machine.setup(&["docker"]).run().succeeds();
    machine.setup(&["kubectl"]).run().succeeds();
    machine.setup(&["aws"]).run().succeeds();
    machine.setup(&["docker", "--file", "work.json"]).run().succeeds();
    let report = json(machine.unsetup(&["--all", "--dry-run", "--json"]));
    let clients: Vec<&str> =
        report["changes"].as_array().expect("changes").iter().filter_map(|change| change["client"].as_str()).collect();
    assert_eq!(clients, ["docker", "docker", "aws", "aws", "aws", "kubectl", "docker", "docker", "docker"], "{report}");
    // Somebody has changed a value of each of two clients.
    let docker = machine.read("home/.docker/config.json").replacen("ycred-prod", "mine", 1);
    machine.world.sandbox.file("home/.docker/config.json", &docker);
    let aws = machine.read("home/.aws/config").replace("ru-central1", "mine");
    machine.world.sandbox.file("home/.aws/config", &aws);
    let run = machine.unsetup(&["--all"]).run().exits(3);
    for place in ["config.json: cr.yandex: changed since", "[profile yc] region: changed since"] {
        assert!(run.stderr.contains(place) && run.stdout.contains(place), "{run}");
    }
    assert_eq!(run.lines_of_stderr("ycred: error: ").len(), 1, "{run}");
    let report = machine.unsetup(&["--all", "--json"]).run().exits(3).stdout;
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["failures"].as_array().map(Vec::len), Some(2), "{report}");
    assert!(report["failures"][0]["hint"].as_str().expect("a hint").contains("--force"));
    assert_eq!(machine.read("home/.kube/config"), super::yc_with("prod"));
    assert!(!machine.path("work/work.json").exists() && !machine.path("bin/docker-credential-ycred-prod").is_symlink());
    machine.unsetup(&["--all", "--force"]).run().succeeds();
    assert!(machine.journal().is_empty() && !machine.path("home/.aws/config").exists());
    // An entry that another version has written is left.
    machine.setup(&["docker"]).run().succeeds();
    let entry = machine
        .journal()
        .into_iter()
        .find(|path| fs::read_to_string(path).expect("text").contains("\"value\""))
        .expect("one");
    let text = fs::read_to_string(&entry).expect("text").replace("\"client\":\"docker\"", "\"client\":\"newer\"");
    fs::write(&entry, text).expect("written");
    machine.unsetup(&["--all"]).run().exits(3).stderr_has("unknown client newer");
}
