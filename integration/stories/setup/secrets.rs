//! No secret of another program's configuration is printed: not in changes, errors or JSON, and not by `doctor` or `status`.

use std::fs;

use super::{Machine, kubeconfig_with};
use crate::stories::schema::assert_schema;

/// With the punctuation of tokens, and as one word. Neither looks like a token of a known kind.
const SECRETS: [&str; 2] = ["qX7+vB2/mK9=zT4wRd", "Zq8Wx3Vn6Bt1Lp5Ks2"];

/// Returns the stanzas and users of a kubeconfig with `S` at each place.
fn kubeconfigs() -> Vec<String> {
    let exec = |exec: &str| format!("{{exec: {{{exec}}}}}");
    let users = [
        exec("command: sh, args: [-c, 'exec yc --token @ k8s create-token']"),
        exec("command: bash, args: ['-c', 'export AWS_SECRET_ACCESS_KEY=@; vault login @']"),
        exec("command: \"sh -c 'PASS=@ yc k8s create-token'\""),
        exec("command: sh, args: \"sh -c 'PASS=@ yc k8s create-token'\""),
        exec("command: yc, args: [k8s, create-token, -t@]"),
        exec("command: yc, args: [k8s, create-token, --token=@]"),
        exec("command: yc, args: [k8s, create-token, --@]"),
        exec("command: yc, args: ['@', create-token]"),
        exec(
            "command: yc, args: [k8s, create-token, --profile=prod], env: [{name: A, value: '@'}, {name: '@', value: a}]",
        ),
        exec("command: yc, args: [k8s, create-token, --profile=prod], installHint: '@', other: '@', '@': 1"),
        exec("command: yc, args: [k8s, create-token, --profile=prod], apiVersion: '@', interactiveMode: '@'"),
        exec("command: yc, args: [k8s, create-token, '--profile=prod @']"),
        exec(
            "command: aws, args: [eks, get-token, 'user:@@h', '--url=https://u:@@h', '@', --header, 'Authorization: Bearer @']",
        ),
        exec("command: '@', args: [{command: '@'}, ['@']]"),
        exec("command: {installHint: '@'}"),
        "{exec: '@'}".to_owned(),
        "{token: '@'}".to_owned(),
        "{username: a, password: '@'}".to_owned(),
        "{client-key-data: '@', exec: {command: yc, args: [k8s, create-token, --profile=prod]}}".to_owned(),
        "{auth-provider: {name: x, config: {id-token: '@'}}}".to_owned(),
        exec("command: /x/ycred, args: [kubectl, --profile, '@!', '@']"),
    ];
    let mut texts: Vec<String> = users.iter().map(|user| kubeconfig_with(user)).collect();
    texts.push(
        "current-context: c\ncontexts:\n- name: c\n  context: {cluster: x, user: u}\nusers:\n- name: u\n  user:\n    # @\n    exec: # @\n      \
         # @\n      command: yc # @\n      args:\n      - k8s\n      # @\n      - create-token\n      - --profile=prod\n- name: v\n  user: {token: '@'}\n"
            .to_owned(),
    );
    texts
}

/// A client with the flags that select a place, its file, and the texts with `@` wherever a secret can be.
type Subject = (&'static str, &'static [&'static str], &'static str, Vec<String>);

fn subjects() -> Vec<Subject> {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    vec![
        ("kubectl", &["--user", "u"], "home/.kube/config", kubeconfigs()),
        (
            "docker",
            &[],
            "home/.docker/config.json",
            owned(&[
                "{\"auths\": {\"cr.yandex\": {\"auth\": \"@\", \"identitytoken\": \"@\", \"password\": \"@\"}}, \"HttpHeaders\": {\"X\": \"@\"}}",
                "{\"credHelpers\": {\"cr.yandex\": \"@\"}}",
                "{\"credHelpers\": {\"cr.yandex\": {\"x\": \"@\"}}}",
                "{\"credHelpers\": {\"cr.yandex\": \"ycred-@!\"}, \"credsStore\": \"@\"}",
                "{\"auths\": {\"@\": \"@\", @}",
            ]),
        ),
        (
            "git",
            &["--host", "git.example.com"],
            "home/.gitconfig",
            owned(&[
                "[http]\n\textraheader = \"Authorization: @\"\n[credential]\n\thelper = store --@\n",
                "[credential \"https://git.example.com\"]\n\thelper = \"!f() { echo password=@; }; f\" # @\n",
                "[credential \"https://git.example.com\"]\n\thelper = @\n\thelper = cache @\n\tusername = @\n",
                "[credential \"https://git.example.com\"]\n\thelper = /x/@ --password @\n",
                "[credential \"https://git.example.com\"]\n\thelper = ycred git --profile @! @\n",
            ]),
        ),
        (
            "aws",
            &[],
            "home/.aws/config",
            owned(&[
                "[profile yc]\ncredential_process = @\n",
                "[profile yc]\ncredential_process = /x/tool --secret @ ycred\nregion = @\n",
                "[profile yc]\nregion = @\nendpoint_url = https://u:@@h\n[default]\naws_secret_access_key = @\n",
                "[profile yc]\naws_access_key_id = @\naws_secret_access_key = @\n",
                "[profile yc]\ncredential_process = /x/ycred aws --profile '@!' @\n",
                "@\n",
            ]),
        ),
        (
            "terraform",
            &["--file", "home/.terraformrc"],
            "home/.terraformrc",
            owned(&["credentials \"h\" {\n  token = \"@\"\n}\n", "credentials_helper \"@\" {\n  args = [\"@\"]\n}\n"]),
        ),
        (
            "go",
            &[],
            "home/.config/go/env",
            owned(&[
                "GOAUTH=git /x --token=@; @; /x/ycred goauth --profile @! @\n",
                "GOPROXY=https://u:@@proxy.example,direct\nGOAUTH=@\nGOFLAGS=-ldflags=@\n",
            ]),
        ),
        (
            "pip",
            &[],
            "home/.config/pip/pip.conf",
            owned(&[
                "[global]\nindex-url = https://u:@@h/simple\nkeyring-provider = @\n",
                "[install]\nkeyring-provider = @\n",
                "[global]\nextra-index-url = https://u:@@h\n",
            ]),
        ),
        (
            "uv",
            &[],
            "home/.config/uv/uv.toml",
            owned(&["keyring-provider = \"@\"\n[[index]]\nurl = \"https://u:@@h\"\n"]),
        ),
        (
            "pnpm",
            &[],
            "home/.npmrc",
            owned(&[
                "registry=https://u:@@registry.yandexcloud.net/npm/x\n//registry.yandexcloud.net/npm/x/:_authToken=@\n//h/:tokenHelper=/x/ycred-pnpm-@! @\n",
                "registry=https://registry.yandexcloud.net/npm/x/?token=@\n",
            ]),
        ),
        (
            "cargo",
            &[],
            "home/.cargo/config.toml",
            owned(&[
                "[registries.a]\nindex = \"sparse+https://u:@@registry.yandexcloud.net/@\"\ntoken = \"@\"\n",
                "[registries.a]\ncredential-provider = [\"ycred\", \"--profile\", \"@!\"]\n",
            ]),
        ),
        ("bazel", &[], "home/.bazelrc", owned(&["common --remote_header=@ --credential_helper=h=/x/ycred-bazel-@!\n"])),
    ]
}

/// Returns eight bytes of the secret that a text contains.
fn leak<'a>(text: &str, secret: &'a str) -> Option<&'a str> {
    (0..=secret.len() - 8).map(|at| &secret[at..at + 8]).find(|part| text.contains(part))
}

/// Returns the calls of ycred that can print something about a client.
fn calls<'a>(client: &'a str, flags: &[&'a str]) -> Vec<Vec<&'a str>> {
    let mut calls: Vec<Vec<&str>> = Vec::new();
    for verb in ["setup", "unsetup"] {
        for more in [
            &["--dry-run", "--force"][..],
            &["--json", "--dry-run", "--force"],
            &[],
            &["--json"],
            &["--force", "-p", "prod"],
        ] {
            let profile: &[&str] = if verb == "setup" && !more.contains(&"-p") { &["-p", "prod"] } else { &[] };
            calls.push([&[verb, client], flags, more, profile].concat());
        }
        if verb == "setup" {
            calls.extend([vec!["setup"], vec!["status"], vec!["status", "--json"]]);
        }
        if verb == "setup" && ["kubectl", "docker", "git", "aws", "terraform", "go", "pip"].contains(&client) {
            calls.extend([vec!["doctor", client, "--offline"], vec!["doctor", client, "--offline", "--json"]]);
        }
    }
    calls
}

#[test]
fn no_secret_of_a_clients_configuration_is_printed() {
    let machine = Machine::new();
    machine.world.profile("prod", "hosts = [\"git.example.com\", \"registry.yandexcloud.net\"]");
    machine.world.sandbox.script("bin/go", super::GO);
    let mut printed = 0;
    for (client, flags, file, texts) in subjects() {
        for (text, secret) in texts.iter().flat_map(|text| SECRETS.map(|secret| (text, secret))) {
            let text = text.replace("@@", "@\u{1}").replace('@', secret).replace('\u{1}', "@");
            machine.world.sandbox.file(file, &text);
            let path = machine.path(file).display().to_string();
            let flags: Vec<&str> = flags.iter().map(|flag| if *flag == file { path.as_str() } else { flag }).collect();
            for arguments in calls(client, &flags) {
                let run = machine.world.sandbox.ycred(&arguments).run();
                for stream in [&run.stdout, &run.stderr] {
                    assert_eq!(leak(stream, secret), None, "{arguments:?} {text}\n{run}");
                    printed += usize::from(!stream.is_empty());
                }
                for name in machine.journal() {
                    assert_eq!(leak(&name.display().to_string(), secret), None);
                }
            }
            machine.unsetup(&["--all", "--force"]).run();
            let _ = fs::remove_file(machine.path(file));
        }
    }
    assert!(printed > 1000, "{printed} texts");
}

#[test]
fn json_is_printed_if_setup_fails_and_follows_the_schema() {
    let machine = Machine::new();
    let report = |run: crate::harness::Run| -> serde_json::Value {
        let json: serde_json::Value =
            serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"));
        assert_schema("setup.json", &json);
        json
    };
    for (arguments, code, message) in [
        (&["kubectl", "--json"][..], 3, "no kubeconfig"),
        (&["git", "--json"], 2, "no server given"),
        (&["kubectll", "--json"], 2, "unknown client"),
        (&["docker", "--json", "--host", "evil.example"], 2, "evil.example"),
    ] {
        let run = machine.setup(arguments).run().exits(code).stderr_has(message);
        let json = report(run);
        assert!(json["failures"][0]["message"].as_str().is_some_and(|text| text.contains(message)), "{json}");
        assert_eq!((&json["failures"][0]["exit_code"], &json["changes"]), (&code.into(), &serde_json::json!([])));
    }
    report(machine.unsetup(&["--json"]).run().exits(2));
    machine.write_kubeconfig(&super::yc_with("prod"));
    machine.setup(&["kubectl"]).run().succeeds();
    let list = report(machine.setup(&["--json"]).run().succeeds());
    let kubectl = &list["clients"][0];
    let found = (&kubectl["name"], &kubectl["set_up"], &kubectl["places"][0]);
    assert_eq!(found, (&"kubectl".into(), &true.into(), &"user u".into()));
    fs::write(machine.kubeconfig(), super::yc_with("prod").replace("yc,", "other,")).expect("written");
    let json = report(machine.unsetup(&["kubectl", "--json"]).run().exits(3));
    assert!(json["failures"][0]["message"].as_str().is_some_and(|text| text.contains("changed since")), "{json}");
    report(machine.setup(&["--all", "--json", "--dry-run"]).run());
}
