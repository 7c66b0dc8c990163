//! `setup`: the links, and the configuration of clients with the paths and line ends of Windows.

use std::fs;

use super::harness::Machine;

#[test]
#[cfg_attr(not(windows), ignore = "takes time: .ci/platforms native, or windows for Wine")]
fn docker_gets_a_helper_and_everything_goes_again() {
    let mut machine = Machine::new();
    machine.profile("prod", "prod.json");
    machine.set("DOCKER_CONFIG", machine.shown(machine.path("docker")));
    let original = "{\r\n\t\"auths\": {},\r\n\t\"credHelpers\": {\r\n\t\t\"cr.yandex\": \"yc\"\r\n\t}\r\n}\r\n";
    let config = machine.file("docker/config.json", original);
    let run = machine.ycred(&["setup", "docker", "-p", "prod"]).run();
    run.assert(0);
    let text = fs::read_to_string(&config).expect("readable");
    let root: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(root["credHelpers"]["cr.yandex"], "ycred-prod", "{text}");
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "the line ends stay: {text:?}");
    let helper = machine.program_path("docker-credential-ycred-prod");
    assert!(helper.exists(), "{run:?}");
    let token = machine.assert_token(&machine.ycred(&["token", "-p", "prod"]).run());
    let run = machine.call(&helper, &["get"]).stdin("cr.yandex\n").run();
    let reply: serde_json::Value = serde_json::from_str(&run.assert(0).stdout).expect("JSON");
    assert_eq!(reply["Secret"], token.as_str());
    let again = machine.ycred(&["setup", "docker", "-p", "prod"]).run();
    again.assert(0);
    assert_eq!(fs::read_to_string(&config).expect("readable"), text, "nothing to change: {again:?}");
    machine.ycred(&["unsetup", "docker"]).run().assert(0);
    assert_eq!(fs::read_to_string(&config).expect("readable"), original);
    assert!(!helper.exists(), "the link is removed");
}

#[test]
#[cfg_attr(not(windows), ignore = "takes time: .ci/platforms native, or windows for Wine")]
fn a_kubeconfig_with_crlf_comes_back_to_the_byte() {
    let mut machine = Machine::new();
    machine.profile("prod", "prod.json");
    let lines = [
        "# A comment.",
        "apiVersion: v1",
        "kind: Config",
        "current-context: one",
        "contexts:",
        "- name: one",
        "  context: {cluster: one, user: one}",
        "clusters:",
        "- name: one",
        "  cluster: {server: https://10.0.0.1}",
        "users:",
        "- name: one",
        "  user:",
        "    exec:",
        "      apiVersion: client.authentication.k8s.io/v1beta1",
        "      command: C:\\Users\\me\\yandex-cloud\\bin\\yc.exe",
        "      args: [k8s, create-token, --profile=prod]",
        "",
    ];
    let original = lines.join("\r\n");
    let config = machine.file("kube/config", &original);
    machine.set("KUBECONFIG", machine.shown(&config));
    let run = machine.ycred(&["setup", "kubectl"]).run();
    run.assert(0);
    let text = fs::read_to_string(&config).expect("readable");
    let program = machine.shown(machine.program_path("ycred"));
    assert!(text.contains(&program) || text.contains(&program.replace('\\', "\\\\")), "{text}\n{run:?}");
    assert!(text.contains("# A comment.\r\n") && text.contains("client.authentication.k8s.io/v1"), "{text}");
    machine.ycred(&["unsetup", "kubectl"]).run().assert(0);
    assert_eq!(fs::read_to_string(&config).expect("readable"), original);
}

#[test]
#[cfg_attr(not(windows), ignore = "takes time: .ci/platforms native, or windows for Wine")]
fn doctor_finds_no_failure_in_a_good_configuration() {
    let machine = Machine::new();
    let run = machine.ycred(&["doctor", "profile", "key", "store", "lock", "token"]).run();
    run.assert(0);
    assert!(run.stdout.contains("[ok]") && !run.stdout.contains("[fail]"), "{run:?}");
}
