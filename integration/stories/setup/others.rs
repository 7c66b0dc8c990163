//! The configurations of git, Terraform and AWS, edited and restored.

use std::fs;

use super::Machine;
use crate::harness::require_client;

/// git's configuration as git and people write it.
pub const GIT: [&str; 20] = [
    "",
    "\n",
    "[user]\n\tname = A\n\temail = a@example.com\n",
    "[user]\n\tname = A",
    "[user]\r\n\tname = A\r\n",
    "# only a comment\n",
    "; a comment\n[core]\n\teditor = vi ; the best\n",
    "[credential]\n\thelper = cache\n",
    "[credential]\n\thelper = store --file /x\n[credential \"https://github.com\"]\n\thelper =\n\thelper = !gh auth git-credential\n",
    "[credential \"https://git.example.com\"]\n\tusername = me\n",
    "[credential \"https://git.example.com\"]\n\thelper = mine\n",
    "[credential \"https://git.example.com\"]\n\thelper =\n\thelper = one\n\thelper = two # the second\n\tusername = me\n",
    "[include]\n\tpath = ~/other\n",
    "[url \"https://x/\"]\n\tinsteadOf = git@x:\n\n\n",
    "[alias]\n\tl = \"!f() { git log; }; f\"\n",
    "[core]\n  indent = spaces\n\n[core]\n  again = yes\n",
    "[Credential \"https://git.example.com\"]\n\tHelper = old\n",
    "[credential \"https://git.example.com:8443\"]\n\thelper = other-port\n",
    "[a]b=c\n[d]e=f",
    "[user]\n\tname = жук \\\n\tи ещё\n",
];

#[test]
fn every_configuration_of_git_comes_back_to_the_byte_and_is_written_once() {
    if require_client("git").is_none() {
        return;
    }
    let machine = Machine::new();
    machine.world.profile("prod", "hosts = [\"git.example.com\"]");
    let setup = || machine.setup(&["git", "--host", "git.example.com", "-p", "prod"]).run();
    for text in GIT {
        machine.world.sandbox.file("home/.gitconfig", text);
        let run = setup().succeeds().stderr_is_empty();
        let after = machine.read("home/.gitconfig");
        let get = ["config", "--global", "--null", "--get-all", "credential.https://git.example.com.helper"];
        let values = machine.world.sandbox.call("git", get).run().succeeds().stdout;
        assert_eq!(values, format!("\0{} git --profile prod\0", machine.command()), "{text:?}\n{run}{after}");
        setup().succeeds().stdout_has("already set up");
        assert_eq!(machine.read("home/.gitconfig"), after, "{text:?}");
        machine.unsetup(&["git"]).run().succeeds();
        assert_eq!(machine.read("home/.gitconfig"), text, "{text:?}");
        assert!(machine.journal().is_empty(), "{text:?}");
    }
    fs::remove_file(machine.path("home/.gitconfig")).expect("removed");
    setup().succeeds();
    machine.unsetup(&["git"]).run().succeeds();
    assert!(!machine.path("home/.gitconfig").exists(), "the file did not exist before");
}

#[test]
fn after_git_has_changed_its_configuration_ours_is_taken_out_and_others_come_back() {
    if require_client("git").is_none() {
        return;
    }
    let mut machine = Machine::new();
    machine.world.profile("prod", "hosts = [\"git.example.com\"]");
    let text = "[credential \"https://git.example.com\"]\n\thelper = mine\n[user]\n\tname = A\n";
    machine.world.sandbox.file("home/.gitconfig", text);
    machine.setup(&["git", "--host", "git.example.com"]).run().succeeds();
    machine.world.sandbox.call("git", ["config", "--global", "user.name", "B"]).run().succeeds();
    machine.unsetup(&["git"]).run().succeeds();
    assert_eq!(machine.read("home/.gitconfig"), text.replace("= A", "= B"));
    // The change names the section of the two lines.
    machine.world.sandbox.file("home/.gitconfig", "[user]\n\tname = A\n");
    let run = machine.setup(&["git", "--host", "git.example.com", "--dry-run"]).run().succeeds();
    run.stdout_has("+ [credential \"https://git.example.com\"]\n+ helper =\n+ helper = /");
    // What another helper's command line contains is not printed.
    let secret = "[credential \"https://git.example.com\"]\n\thelper = \"!f() { echo password=s3cret; }; f\"\n";
    machine.world.sandbox.file("home/.gitconfig", secret);
    let run = machine.setup(&["git", "--host", "git.example.com"]).run().succeeds().never_prints("s3cret");
    run.stdout_has("- helper = …");
    machine.unsetup(&["git"]).run().succeeds().never_prints("s3cret");
    assert_eq!(machine.read("home/.gitconfig"), secret);
    machine.world.sandbox.file("home/.gitconfig", text.replace("= A", "= B"));
    // Another helper was added after ours.
    machine.setup(&["git", "--host", "git.example.com"]).run().succeeds();
    let key = "credential.https://git.example.com.helper";
    machine.world.sandbox.call("git", ["config", "--global", "--add", key, "late"]).run().succeeds();
    machine.unsetup(&["git"]).run().exits(3).stderr_has("changed since `ycred setup`");
    machine.unsetup(&["git", "--force"]).run().succeeds();
    assert_eq!(machine.read("home/.gitconfig"), text.replace("= A", "= B"));
    // Without a journal, ours is recognized.
    machine.setup(&["git", "--host", "git.example.com"]).run().succeeds();
    fs::remove_dir_all(machine.path("state/setup")).expect("removed");
    machine.unsetup(&["git"]).run().succeeds().stdout_has("removed ycred");
    assert!(!machine.read("home/.gitconfig").contains("ycred"));
    // git's lock, another server, and no git.
    let lock = machine.world.sandbox.file("home/.gitconfig.lock", "");
    machine.setup(&["git", "--host", "git.example.com"]).run().exits(4).stderr_has("git holds the lock");
    fs::remove_file(lock).expect("removed");
    machine
        .setup(&["git", "--host", "evil.example"])
        .run()
        .exits(2)
        .stderr_has("hosts = [\"git.example.com\", \"evil.example\"]");
    machine.setup(&["git"]).run().exits(2).stderr_has("no server given");
    let bin = machine.path("bin");
    machine.world.sandbox.set("PATH", bin);
    machine.setup(&["git", "--host", "git.example.com"]).run().exits(2).stderr_has("git is not in PATH");
}

/// AWS's configuration as its tools and people write it.
pub const AWS: [&str; 20] = [
    "",
    "\n\n",
    "[default]\nregion = us-east-1\n",
    "[default]\nregion = us-east-1",
    "[default]\r\nregion = us-east-1\r\n",
    "# a comment\n[default] # after the header\nregion=us-east-1\noutput=json\n",
    "[profile yc]\nregion = ru-central1\n",
    "[profile yc]\n",
    "[profile yc]\nendpoint_url = https://storage.example\n[profile other]\nregion = eu-west-1\n",
    "[profile yc]\ns3 =\n  max_concurrent_requests = 20\n  # a comment\n  addressing_style = path\n",
    "[default]\nregion = us-east-1\n\n[profile 'with space']\nregion = x\n\n",
    "[sso-session my]\nsso_region = us-east-1\nsso_start_url = https://x\n",
    "[profile a]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = default\n",
    "[profile yc]\nregion = ru-central1\nendpoint_url = https://storage.yandexcloud.net\n; the end\n",
    "[profile a]\ncredential_process = /opt/other\n",
    "[preview]\ncloudfront = true\n",
    "[plugins]\nx = y\n[profile yc]\nrequest_checksum_calculation = when_required\n\n[profile z]\nregion: x\n",
    "[services s]\ns3 =\n  endpoint_url = https://x\n",
    "[profile yc]\nregion = ru-central1\n\n\n\n[profile z]\n",
    "[default]\nregion = жук\n",
];

#[test]
fn every_configuration_of_aws_comes_back_to_the_byte_and_is_written_once() {
    let machine = Machine::new();
    for text in AWS {
        machine.world.sandbox.file("home/.aws/config", text);
        let run = machine.setup(&["aws"]).run().succeeds().stderr_is_empty();
        let after = machine.read("home/.aws/config");
        let line = format!("credential_process = {} aws --profile prod", machine.command());
        assert!(after.contains(&line) && after.contains("[profile yc]"), "{text:?}\n{run}{after}");
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            assert!(after.contains(line), "{text:?}: {after}");
        }
        machine.setup(&["aws"]).run().succeeds().stdout_has("already set up");
        assert_eq!(machine.read("home/.aws/config"), after, "{text:?}");
        machine.unsetup(&["aws"]).run().succeeds();
        assert_eq!(machine.read("home/.aws/config"), text, "{text:?}");
        assert!(machine.journal().is_empty(), "{text:?}");
    }
}

#[test]
fn after_aws_configure_has_changed_the_file_ours_is_taken_out_and_nothing_else() {
    let machine = Machine::new();
    machine.world.sandbox.file("home/.aws/config", "[default]\nregion = us-east-1\n");
    machine.setup(&["aws"]).run().succeeds();
    // `aws configure set output json --profile yc`, and `aws configure set region eu-west-1`
    let text = machine
        .read("home/.aws/config")
        .replace("us-east-1", "eu-west-1")
        .replace("[profile yc]\n", "[profile yc]\noutput = json\n");
    machine.world.sandbox.file("home/.aws/config", &text);
    machine.unsetup(&["aws"]).run().succeeds();
    assert_eq!(machine.read("home/.aws/config"), "[default]\nregion = eu-west-1\n\n[profile yc]\noutput = json\n");
    assert!(machine.journal().is_empty());
    // Somebody has chosen another endpoint.
    machine.world.sandbox.file("home/.aws/config", "");
    machine.setup(&["aws"]).run().succeeds();
    let text = machine.read("home/.aws/config").replace("https://storage.yandexcloud.net", "https://mine");
    machine.world.sandbox.file("home/.aws/config", &text);
    machine.unsetup(&["aws"]).run().exits(3).stderr_has("[profile yc] endpoint_url: changed since `ycred setup`");
    assert_eq!(machine.read("home/.aws/config"), "[profile yc]\nendpoint_url = https://mine\n");
}

#[test]
fn what_aws_would_prefer_or_cannot_read_is_refused() {
    let machine = Machine::new();
    let config = |text: &str| machine.world.sandbox.file("home/.aws/config", text);
    config("[profile yc]\ncredential_process = /opt/other --secret s3cret\n");
    let run = machine.setup(&["aws"]).run().exits(3).stderr_has("another credential_process: it runs another program");
    run.stderr_has("--force").never_prints("s3cret");
    machine.setup(&["aws", "--force"]).run().succeeds().stdout_has("- credential_process: …").never_prints("s3cret");
    machine.unsetup(&["aws"]).run().succeeds().never_prints("s3cret");
    config("[profile yc]\naws_access_key_id = A\naws_secret_access_key = s3cret\n");
    machine.setup(&["aws"]).run().exits(3).stderr_has("has static keys").never_prints("s3cret");
    config("[profile yc]\nregion = a\n[profile yc]\nregion = b\n");
    machine.setup(&["aws"]).run().exits(3).stderr_has("occurs twice");
    config("no section = 1\n");
    machine.setup(&["aws"]).run().exits(3).stderr_has("config:1: an option before the first section");
    config("");
    machine
        .world
        .sandbox
        .file("home/.aws/credentials", "[yc]\naws_access_key_id = A\naws_secret_access_key = s3cret\n");
    machine.setup(&["aws"]).run().exits(3).stderr_has("credentials: [yc] has static keys");
    machine.setup(&["aws", "--name", "other"]).run().succeeds().stdout_has("[profile other]: ycred profile prod");
    machine.setup(&["aws", "--name", "a]b"]).run().exits(2).stderr_has("not a profile name");
    // Without a journal, the option that names ycred is removed.
    fs::remove_dir_all(machine.path("state/setup")).expect("removed");
    machine.unsetup(&["aws"]).run().succeeds().stdout_has("[profile other]: removed credential_process");
    assert!(!machine.read("home/.aws/config").contains("ycred"));
}

#[test]
fn terraform_gets_a_file_of_its_own_and_a_link_and_both_go_again() {
    let mut machine = Machine::new();
    let main = "plugin_cache_dir = \"/x\"\n# credentials_helper \"none\" {}\n";
    machine.world.sandbox.file("home/.terraformrc", main);
    machine
        .setup(&["terraform", "-p", "prod"])
        .run()
        .succeeds()
        .stdout_has("credentials_helper \"ycred-prod\": ycred profile prod");
    let link = machine.path("home/.terraform.d/plugins/terraform-credentials-ycred-prod");
    assert_eq!(fs::read_link(&link).expect("a link"), machine.path("bin/ycred"));
    let own = machine.read("home/.terraform.d/ycred.tfrc");
    assert!(own.contains("credentials_helper \"ycred-prod\" {\n  args = []\n}\n"), "{own}");
    machine.setup(&["terraform", "-p", "prod"]).run().succeeds().stdout_has("already set up");
    machine.unsetup(&["terraform"]).run().succeeds();
    assert!(!machine.path("home/.terraform.d/ycred.tfrc").exists() && !link.exists() && machine.journal().is_empty());
    assert_eq!(machine.read("home/.terraformrc"), main);

    machine.world.sandbox.file("home/.terraform.d/x.tfrc", "credentials_helper \"vault\" {}\n");
    // Terraform would fail with two, so `--force` changes nothing.
    for arguments in [&["terraform"][..], &["terraform", "--force"]] {
        machine.setup(arguments).run().exits(3).stderr_has("x.tfrc:1: another credentials helper is set: vault");
    }
    fs::remove_file(machine.path("home/.terraform.d/x.tfrc")).expect("removed");

    // The variable hides the directory; with `--file`, the block is added to that file.
    for variable in ["TF_CLI_CONFIG_FILE", "TERRAFORM_CONFIG"] {
        let shared = machine.world.sandbox.file("work/terraformrc", main);
        machine.world.sandbox.set(variable, &shared);
        let run = machine.setup(&["terraform", "--dry-run"]).run().succeeds();
        run.stdout_has(&format!("{variable} is set, so terraform reads {} instead", shared.display()));
        machine.setup(&["terraform", "--file", "terraformrc"]).run().succeeds();
        let text = machine.read("work/terraformrc");
        assert!(text.starts_with(main) && text.contains("credentials_helper \"ycred-prod\""), "{text}");
        machine.world.sandbox.file("work/terraformrc", format!("# new\n{text}"));
        machine.unsetup(&["terraform"]).run().succeeds();
        assert_eq!(machine.read("work/terraformrc"), format!("# new\n{main}"));
        machine.world.sandbox.unset(variable);
    }

    // OpenTofu's own directory would be hidden by a new ~/.terraform.d.
    fs::remove_dir_all(machine.path("home/.terraform.d")).expect("removed");
    let xdg = machine.path("work/xdg");
    machine.world.sandbox.set("XDG_CONFIG_HOME", &xdg).set("XDG_DATA_HOME", &xdg);
    fs::create_dir_all(xdg.join("opentofu")).expect("a directory");
    machine.setup(&["terraform"]).run().exits(2).stderr_has("--tofu");
    machine.setup(&["terraform", "--tofu"]).run().succeeds();
    assert!(
        xdg.join("opentofu/ycred.tfrc").exists()
            && xdg.join("opentofu/plugins/terraform-credentials-ycred-prod").exists()
    );
    machine.unsetup(&["--all"]).run().succeeds();
    assert!(!xdg.join("opentofu/ycred.tfrc").exists());
}

#[test]
fn all_clients_that_are_found_are_set_up_and_the_others_are_named() {
    let machine = Machine::new();
    for name in ["kubectl", "docker", "git", "terraform", "aws"] {
        machine.world.sandbox.script(format!("bin/{name}"), "#!/bin/sh\nexit 1\n");
    }
    machine.write_kubeconfig(&super::yc_with("prod"));
    let list = machine.setup(&[]).run().succeeds().stdout;
    for line in ["kubectl", "docker", "git", "terraform", "aws"] {
        assert!(list.contains(&format!("not set up: ycred setup {line}")), "{list}");
    }
    let run = machine.setup(&["--all"]).run().exits(2).stdout_has("git: run `ycred setup git --host HOST`");
    run.stderr_has("not set up: git");
    for path in ["home/.docker/config.json", "home/.aws/config", "home/.terraform.d/ycred.tfrc"] {
        assert!(machine.read(path).contains("ycred"), "{path}");
    }
    assert!(machine.read("home/.kube/config").contains(&machine.command()));
    let list = machine.setup(&[]).run().succeeds().stdout;
    assert!(list.contains("set up: user u") && list.contains("set up: cr.yandex, registry.yandexcloud.net"), "{list}");
    machine.unsetup(&["--all"]).run().succeeds();
    assert_eq!(machine.read("home/.kube/config"), super::yc_with("prod"));
    for path in ["home/.docker/config.json", "home/.aws/config", "home/.terraform.d/ycred.tfrc"] {
        assert!(!machine.path(path).exists(), "{path}");
    }
    assert!(machine.journal().is_empty() && !machine.path("bin/docker-credential-ycred-prod").exists());
}

#[test]
fn links_are_created_beside_ycred_and_removed() {
    let machine = Machine::new();
    machine.setup(&["links"]).run().succeeds();
    let names = || -> Vec<String> {
        let entries = fs::read_dir(machine.path("bin")).expect("readable").flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    let all = names();
    for name in
        ["docker-credential-ycred", "git-credential-ycred", "ycred-bazel", "ycred-cargo", "ycred-pnpm", "kubectl-ycred"]
    {
        assert!(all.contains(&name.to_owned()), "{all:?}");
    }
    machine.setup(&["links"]).run().succeeds().stdout_has("linked to ycred already");
    machine.unsetup(&["links"]).run().succeeds();
    assert_eq!(names(), ["ycred"]);
}

/// A client, its flags, its file and the text in it, and the refusal.
type EmptyName<'a> = (&'a str, &'a [&'a str], &'a str, &'a str, Option<&'a str>);

#[test]
fn an_empty_name_of_a_helper_is_called_that_and_comes_back() {
    let machine = Machine::new();
    machine.world.profile("prod", "hosts = [\"git.example.com\"]");
    let empty_command = super::kubeconfig_with("{exec: {command: '', args: [a]}}");
    // Without a refusal, setup replaces the empty name, which no client can use.
    let clients: [EmptyName<'_>; 6] = [
        (
            "docker",
            &[],
            "home/.docker/config.json",
            "{\"credHelpers\": {\"cr.yandex\": \"\"}}",
            Some("cr.yandex: an empty helper turns helpers off for it"),
        ),
        ("kubectl", &["--user", "u"], "home/.kube/config", &empty_command, Some("user u: runs no program, not yc")),
        (
            "pip",
            &[],
            "home/.config/pip/pip.conf",
            "[global]\nkeyring-provider =\n",
            Some("[global] keyring-provider: the value is empty"),
        ),
        (
            "terraform",
            &[],
            "home/.terraformrc",
            "credentials_helper \"\" {\n}\n",
            Some(".terraformrc:1: another credentials helper is set: one without a name"),
        ),
        ("aws", &[], "home/.aws/config", "[profile yc]\ncredential_process =\nregion = x\n", None),
        (
            "git",
            &["--host", "git.example.com"],
            "home/.gitconfig",
            "[credential \"https://git.example.com\"]\n\thelper =\n",
            None,
        ),
    ];
    for (client, flags, file, text, refusal) in clients {
        if client == "git" && require_client("git").is_none() {
            continue;
        }
        machine.world.sandbox.file(file, text);
        let arguments = [&[client], flags, &["-p", "prod"]].concat();
        match refusal {
            Some(why) => {
                machine.setup(&arguments).run().fails().stderr_has(why).stdout_is("");
                assert_eq!(machine.read(file), text, "{client}");
                let forced = machine.setup(&[&arguments[..], &["--force"]].concat()).run();
                // Terraform would fail with two helpers.
                if client == "terraform" {
                    forced.fails().stderr_has(why);
                    fs::remove_file(machine.path(file)).expect("removed");
                    continue;
                }
                forced.succeeds();
            }
            None => drop(machine.setup(&arguments).run().succeeds()),
        }
        assert_ne!(machine.read(file), text, "{client}");
        machine.unsetup(&[client]).run().succeeds().stderr_is_empty();
        assert_eq!(machine.read(file), text, "{client}");
        assert!(machine.journal().is_empty(), "{client}");
        fs::remove_file(machine.path(file)).expect("removed");
    }
}

/// A new user has yc's files, yc's docker helper and no ycred profile.
#[test]
fn a_user_of_yc_moves_to_ycred_and_back_without_a_question() {
    for _ in 0..2 {
        let machine = Machine::new();
        fs::remove_file(machine.path("config/prod.toml")).expect("the profile");
        let key: serde_json::Value = serde_json::from_str(&machine.read("config/prod.json")).expect("a key");
        fs::remove_file(machine.path("config/prod.json")).expect("the key");
        let fields = key.as_object().expect("an object").iter();
        let fields: String = fields.map(|(name, value)| format!("      {name}: {value}\n")).collect();
        let yc = format!("current: prod\nprofiles:\n  prod:\n    service-account-key:\n{fields}    cloud-id: b1g\n");
        let files = [
            ("home/.config/yandex-cloud/config.yaml", yc),
            ("home/.kube/config", super::yc_with("prod")),
            ("home/.docker/config.json", "{\n  \"credHelpers\": {\n    \"cr.yandex\": \"yc\"\n  }\n}\n".to_owned()),
        ];
        for (path, text) in &files {
            machine.world.sandbox.file(path, text);
        }
        let run = |call: crate::harness::Call| call.run().succeeds().stderr_is_empty();
        run(machine.world.sandbox.ycred(["import", "--write"]));
        let line = format!("user u: yc profile prod → ycred profile prod (service account {})", machine.account);
        run(machine.setup(&["kubectl", "--all"])).stdout_has(&line);
        run(machine.setup(&["docker"])).stdout_has("cr.yandex: yc → ycred");
        run(machine.unsetup(&["--all"]));
        for (path, text) in &files {
            assert_eq!(machine.read(path), *text, "{path}");
        }
        assert!(machine.journal().is_empty());
    }
}

#[test]
fn a_section_of_aws_is_found_however_it_is_written() {
    let machine = Machine::new();
    for section in ["[profile \"yc\"]", "[profile 'yc']", "[profile  yc]", "[profile y'c']", "[profile yc ]"] {
        let text = format!("{section}\nregion = mine\n");
        machine.world.sandbox.file("home/.aws/config", &text);
        machine.setup(&["aws"]).run().succeeds();
        let after = machine.read("home/.aws/config");
        assert!(after.starts_with(&text) && after.matches('[').count() == 1, "{after}");
        machine.setup(&["aws"]).run().succeeds().stdout_has("already set up");
        machine.unsetup(&["aws", "--name", "other"]).run().succeeds();
        assert_eq!(machine.read("home/.aws/config"), after);
        machine.unsetup(&["aws", "--name", "yc"]).run().succeeds().stdout_has("restored");
        assert_eq!(machine.read("home/.aws/config"), text);
        machine.world.sandbox.file("home/.aws/config", format!("{text}aws_access_key_id = x\n"));
        machine.setup(&["aws"]).run().exits(3).stderr_has("static keys");
        machine.world.sandbox.file("home/.aws/config", format!("{text}[profile yc]\n"));
        machine.setup(&["aws"]).run().exits(3).stderr_has("[profile yc] occurs twice");
    }
}
