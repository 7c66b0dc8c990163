//! Faults in the configuration of clients.

use std::fs;

use super::faults::{Fault, Fix, Seeded, try_all};
use super::{GIT, healthy, ours, with_kubectl};
use crate::stories::setup::{Machine, kubeconfig_with};

/// Returns a machine whose kubeconfig user has this in place of a part of its stanza.
fn kubectl(from: &str, to: &str) -> Seeded {
    let machine = healthy();
    let user = ours(&machine, "");
    assert!(user.contains(from), "{user} has no {from}");
    machine.write_kubeconfig(&kubeconfig_with(&user.replace(from, to)));
    Seeded::of(machine)
}

fn with_docker(change: impl Fn(&Machine, String) -> String) -> Seeded {
    let machine = healthy();
    machine.setup(&["docker", "-p", "prod"]).run().succeeds();
    let text = change(&machine, machine.read("home/.docker/config.json"));
    machine.world.sandbox.file("home/.docker/config.json", text);
    Seeded::of(machine)
}

fn with_git(change: impl Fn(String) -> String) -> Seeded {
    let machine = healthy();
    machine.setup(&["git", "--host", GIT, "-p", "prod"]).run().succeeds();
    let text = change(machine.read("home/.gitconfig"));
    machine.world.sandbox.file("home/.gitconfig", text);
    Seeded::of(machine)
}

fn with_aws(change: impl Fn(String) -> String) -> Seeded {
    let machine = healthy();
    machine.setup(&["aws", "-p", "prod"]).run().succeeds();
    let text = change(machine.read("home/.aws/config"));
    machine.world.sandbox.file("home/.aws/config", text);
    Seeded::of(machine)
}

fn with_terraform() -> Machine {
    let machine = healthy();
    machine.setup(&["terraform", "-p", "prod"]).run().succeeds();
    machine
}

/// Puts a `go` into PATH that only knows the file of its settings.
fn with_go(value: &str) -> Machine {
    let machine = healthy();
    let file = machine.path("home/.config/go/env");
    machine.world.sandbox.script("bin/go", &format!("#!/bin/sh\necho {}\n", file.display()));
    machine.world.sandbox.file("home/.config/go/env", format!("GOAUTH={value}\n"));
    machine
}

const KUBECTL: &[Fault] = &[
    Fault {
        id: "kubectl.config",
        state: "fail",
        name: "a kubeconfig that is not YAML",
        needs: &[],
        seed: || {
            let machine = healthy();
            machine.write_kubeconfig("apiVersion: v1\nusers: [\n");
            Seeded::of(machine)
        },
        fix: Fix::Command,
    },
    Fault {
        id: "kubectl.stanza",
        state: "fail",
        name: "a token beside exec",
        needs: &["kubectl"],
        seed: || kubectl("{exec:", "{token: abc, exec:"),
        fix: Fix::Run,
    },
    Fault {
        id: "kubectl.stanza",
        state: "fail",
        name: "v1 without interactiveMode",
        needs: &[],
        seed: || kubectl(", interactiveMode: Never", ""),
        fix: Fix::Run,
    },
    Fault {
        id: "kubectl.stanza",
        state: "fail",
        name: "v1alpha1",
        needs: &[],
        seed: || kubectl("k8s.io/v1", "k8s.io/v1alpha1"),
        fix: Fix::Run,
    },
    Fault {
        id: "kubectl.stanza",
        state: "fail",
        name: "ycred without its hook",
        needs: &[],
        seed: || kubectl("[kubectl, ", "["),
        fix: Fix::Run,
    },
    Fault {
        id: "kubectl.stanza",
        state: "warn",
        name: "a variable that decides the account",
        needs: &[],
        seed: || {
            kubectl("interactiveMode: Never", "interactiveMode: Never, env: [{name: YCRED_IMPERSONATE, value: x}]")
        },
        fix: Fix::Run,
    },
    Fault {
        id: "kubectl.command",
        state: "fail",
        name: "a command that is not there",
        needs: &[],
        seed: || kubectl("/bin/ycred", "/nowhere/ycred"),
        fix: Fix::Run,
    },
    Fault {
        id: "kubectl.command",
        state: "fail",
        name: "a command that is not executable",
        needs: &[],
        seed: || {
            let seeded = kubectl("/bin/ycred", "/home/ycred");
            let script = format!("#!/bin/sh\n# ycred-program-marker\nexec '{}' \"$@\"\n", crate::harness::YCRED);
            seeded.machine.world.sandbox.file("home/ycred", script);
            seeded
        },
        fix: Fix::Run,
    },
    Fault {
        id: "kubectl.command",
        state: "fail",
        name: "another program with the name of ycred",
        needs: &[],
        seed: || {
            let seeded = kubectl("/bin/ycred", "/home/ycred");
            let script = "#!/bin/sh\necho run >was-run\n";
            seeded.machine.world.sandbox.script("home/ycred", script);
            seeded
        },
        fix: Fix::Run,
    },
    Fault {
        id: "kubectl.path",
        state: "warn",
        name: "a command that only terminals find",
        needs: &[],
        seed: || {
            let machine = healthy();
            let user = ours(&machine, "").replace(&machine.command(), "ycred");
            machine.write_kubeconfig(&kubeconfig_with(&user));
            Seeded::of(machine)
        },
        fix: Fix::Run,
    },
    Fault {
        id: "kubectl.policy",
        state: "fail",
        name: "a list of plugins without ycred",
        needs: &[],
        seed: || {
            let machine = with_kubectl();
            let text = "credentialPluginPolicy: Allowlist\ncredentialPluginAllowlist:\n- command: other\n";
            machine.world.sandbox.file("home/.kube/kuberc", text);
            Seeded::of(machine)
        },
        fix: Fix::Text("credentialPluginAllowlist"),
    },
    Fault {
        id: "kubectl.profile",
        state: "fail",
        name: "a profile that is not there",
        needs: &[],
        seed: || kubectl("--profile, prod", "--profile, gone"),
        fix: Fix::Text("ycred setup kubectl --user u --profile NAME"),
    },
    Fault {
        id: "kubectl.answer",
        state: "warn",
        name: "a program of the profile that only terminals find",
        needs: &[],
        seed: || {
            let machine = with_kubectl();
            machine.world.sandbox.script("bin/print-token", "#!/bin/sh\necho t1.abcdefghijkl.mnop\n");
            machine.world.sandbox.profile("prod", "source = \"command\"\ncommand = [\"print-token\"]\n");
            Seeded::of(machine)
        },
        fix: Fix::Text("PATH"),
    },
];

const DOCKER: &[Fault] = &[
    Fault {
        id: "docker.config",
        state: "fail",
        name: "a comment, for which docker ignores the file",
        needs: &[],
        seed: || with_docker(|_, text| format!("// mine\n{text}")),
        fix: Fix::Run,
    },
    Fault {
        id: "docker.config",
        state: "fail",
        name: "a byte order mark",
        needs: &[],
        seed: || with_docker(|_, text| format!("\u{feff}{text}")),
        fix: Fix::Run,
    },
    Fault {
        id: "docker.helper",
        state: "fail",
        name: "a helper that is not in PATH",
        needs: &[],
        seed: || {
            with_docker(|machine, text| {
                fs::remove_file(machine.path("bin/docker-credential-ycred-prod")).expect("removed");
                text
            })
        },
        fix: Fix::Run,
    },
    Fault {
        id: "docker.hosts",
        state: "fail",
        name: "a registry that the profile does not list",
        needs: &[],
        seed: || with_docker(|_, text| text.replace("\"registry.yandexcloud.net\"", "\"r.example\"")),
        fix: Fix::Text("\"r.example\"]"),
    },
    Fault {
        id: "docker.hosts",
        state: "fail",
        name: "a registry that is misspelt",
        needs: &[],
        seed: || {
            let machine = healthy();
            machine.world.profile("prod", "hosts = [\"localhost:5000\"]");
            machine.setup(&["docker", "-p", "prod", "--host", "localhost:5000"]).run().succeeds();
            let text = machine.read("home/.docker/config.json").replace("localhost:5000", "locahost:5000");
            machine.world.sandbox.file("home/.docker/config.json", text);
            Seeded::of(machine)
        },
        fix: Fix::Run,
    },
    Fault {
        id: "docker.profile",
        state: "fail",
        name: "a helper for a profile that is not there",
        needs: &[],
        seed: || {
            with_docker(|machine, text| {
                machine.world.sandbox.link("docker-credential-ycred-gone");
                text.replace("ycred-prod", "ycred-gone")
            })
        },
        fix: Fix::Text("ycred setup docker --profile NAME"),
    },
    Fault {
        id: "docker.password",
        state: "warn",
        name: "a password that is left",
        needs: &["docker"],
        seed: || with_docker(|_, text| text.replacen('{', "{\"auths\":{\"cr.yandex\":{\"auth\":\"aWFtOng=\"}},", 1)),
        fix: Fix::Run,
    },
    Fault {
        id: "docker.password",
        state: "warn",
        name: "a login of podman in front of ycred",
        needs: &[],
        seed: || {
            let seeded = with_docker(|_, text| text);
            let text = "{\"auths\":{\"cr.yandex\":{\"auth\":\"aWFtOng=\"}}}";
            seeded.machine.world.sandbox.file("work/run/containers/auth.json", text);
            let directory = seeded.machine.path("work/run");
            seeded.with("XDG_RUNTIME_DIR", directory)
        },
        fix: Fix::Command,
    },
    Fault {
        id: "docker.variable",
        state: "warn",
        name: "a variable in front of the helpers",
        needs: &[],
        seed: || with_docker(|_, text| text).with("DOCKER_AUTH_CONFIG", "{\"auths\":{}}"),
        fix: Fix::Run,
    },
    Fault {
        id: "docker.yc",
        state: "warn",
        name: "the helper yc without yc",
        needs: &[],
        seed: || {
            let machine = healthy();
            machine.world.sandbox.file("home/.docker/config.json", "{\"credHelpers\":{\"cr.yandex\":\"yc\"}}");
            Seeded::of(machine)
        },
        fix: Fix::Run,
    },
];

const OTHERS: &[Fault] = &[
    Fault {
        id: "git.chain",
        state: "warn",
        name: "a helper that stores what ycred returns",
        needs: &["git"],
        seed: || with_git(|text| format!("{text}[credential]\n\thelper = store\n")),
        fix: Fix::Run,
    },
    Fault {
        id: "git.chain",
        state: "fail",
        name: "a later setting that removes ycred",
        needs: &["git"],
        seed: || with_git(|text| format!("{text}[credential]\n\thelper =\n")),
        fix: Fix::Run,
    },
    Fault {
        id: "git.helper",
        state: "fail",
        name: "a helper that is not there",
        needs: &["git"],
        seed: || with_git(|text| text.replace("/bin/ycred", "/nowhere/ycred")),
        fix: Fix::Run,
    },
    Fault {
        id: "git.hosts",
        state: "fail",
        name: "a server that the profile does not list",
        needs: &["git"],
        seed: || with_git(|text| text.replace(GIT, "other.example")),
        fix: Fix::Text("\"other.example\"]"),
    },
    Fault {
        id: "git.hosts",
        state: "fail",
        name: "a server that is misspelt",
        needs: &["git"],
        seed: || with_git(|text| text.replace(GIT, "git.crop.example")),
        fix: Fix::Run,
    },
    Fault {
        id: "terraform.helper",
        state: "fail",
        name: "a helper that is not in the directory of plugins",
        needs: &[],
        seed: || {
            let machine = with_terraform();
            fs::remove_dir_all(machine.path("home/.terraform.d/plugins")).expect("removed");
            Seeded::of(machine)
        },
        fix: Fix::Run,
    },
    Fault {
        id: "terraform.variable",
        state: "fail",
        name: "a variable that hides the file",
        needs: &[],
        seed: || {
            let machine = with_terraform();
            let file = machine.world.sandbox.file("work/terraformrc", "plugin_cache_dir = \"/x\"\n");
            Seeded::of(machine).with("TF_CLI_CONFIG_FILE", file)
        },
        fix: Fix::Run,
    },
    Fault {
        id: "terraform.variable",
        state: "fail",
        name: "the older name of the variable that hides the file",
        needs: &[],
        seed: || {
            let machine = with_terraform();
            let file = machine.world.sandbox.file("work/terraformrc", "plugin_cache_dir = \"/x\"\n");
            Seeded::of(machine).with("TERRAFORM_CONFIG", file)
        },
        fix: Fix::Run,
    },
    Fault {
        id: "terraform.config",
        state: "fail",
        name: "a second helper",
        needs: &[],
        seed: || {
            let machine = with_terraform();
            machine.world.sandbox.file("home/.terraformrc", "credentials_helper \"vault\" {\n  args = []\n}\n");
            Seeded::of(machine)
        },
        fix: Fix::Text(".terraformrc:1"),
    },
    Fault {
        id: "aws.keys",
        state: "fail",
        name: "static keys of the same profile",
        needs: &[],
        seed: || {
            let seeded = with_aws(|text| text);
            let text = "[other]\naws_access_key_id = a\n\n[yc]\naws_access_key_id = b\naws_secret_access_key = c\n";
            seeded.machine.world.sandbox.file("home/.aws/credentials", text);
            seeded
        },
        fix: Fix::Run,
    },
    Fault {
        id: "aws.keys",
        state: "fail",
        name: "a role of the same profile",
        needs: &[],
        seed: || with_aws(|text| format!("{text}role_arn = x\nsource_profile = y\n")),
        fix: Fix::Text("EDITOR"),
    },
    Fault {
        id: "aws.config",
        state: "fail",
        name: "an option that is there twice",
        needs: &[],
        seed: || with_aws(|text| format!("{text}region = ru-central1\n")),
        fix: Fix::Run,
    },
    Fault {
        id: "aws.variable",
        state: "warn",
        name: "keys in variables",
        needs: &[],
        seed: || with_aws(|text| text).with("AWS_ACCESS_KEY_ID", "a").with("AWS_SECRET_ACCESS_KEY", "b"),
        fix: Fix::Run,
    },
    Fault {
        id: "aws.command",
        state: "fail",
        name: "a process that is not there",
        needs: &[],
        seed: || with_aws(|text| text.replace("/bin/ycred", "/nowhere/ycred")),
        fix: Fix::Run,
    },
    Fault {
        id: "go.variable",
        state: "fail",
        name: "a variable in front of go's file",
        needs: &[],
        seed: || {
            let machine = with_go("netrc");
            let text = format!("GOAUTH={} goauth --profile prod\n", machine.command());
            machine.world.sandbox.file("home/.config/go/env", text);
            Seeded::of(machine).with("GOAUTH", "netrc")
        },
        fix: Fix::Run,
    },
    Fault {
        id: "go.command",
        state: "fail",
        name: "a method that is not there",
        needs: &[],
        seed: || Seeded::of(with_go("/nowhere/ycred goauth --profile prod; netrc")),
        fix: Fix::Run,
    },
    Fault {
        id: "pip.path",
        state: "fail",
        name: "another keyring is first in PATH",
        needs: &[],
        seed: || {
            let machine = healthy();
            machine.setup(&["pip"]).run().succeeds();
            Seeded::of(machine)
        },
        fix: Fix::Run,
    },
    Fault {
        id: "pip.variable",
        state: "fail",
        name: "a variable in front of pip's file",
        needs: &[],
        seed: || {
            let machine = healthy();
            machine.setup(&["pip"]).run().succeeds();
            Seeded::of(machine).with("PIP_KEYRING_PROVIDER", "disabled")
        },
        fix: Fix::Run,
    },
];

#[test]
fn each_fault_of_kubectl_is_found_and_its_fix_works() {
    let (found, run) = try_all(KUBECTL);
    assert!(found >= 10 && run >= 6, "{found} faults found, {run} fixes run");
}

#[test]
fn each_fault_of_docker_is_found_and_its_fix_works() {
    let (found, run) = try_all(DOCKER);
    assert!(found >= 8 && run >= 5, "{found} faults found, {run} fixes run");
}

#[test]
fn each_fault_of_the_other_clients_is_found_and_its_fix_works() {
    let (found, run) = try_all(OTHERS);
    assert!(found >= 9 && run >= 8, "{found} faults found, {run} fixes run");
}
