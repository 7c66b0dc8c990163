//! `setup`: the links, and the configuration of clients with the paths and line ends of Windows.

use std::fs;

use super::harness::Machine;

#[test]
#[cfg_attr(not(windows), ignore = "needs the Windows program: .ci/platforms windows")]
fn docker_gets_a_helper_that_is_a_hard_link_and_everything_goes_again() {
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
    let helper = machine.path("bin/docker-credential-ycred-prod.exe");
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
#[cfg_attr(not(windows), ignore = "needs the Windows program: .ci/platforms windows")]
fn a_link_that_an_older_program_has_left_is_replaced() {
    let mut machine = Machine::new();
    machine.set("DOCKER_CONFIG", machine.shown(machine.path("docker")));
    machine.ycred(&["setup", "docker"]).run().assert(0);
    let helper = machine.path("bin/docker-credential-ycred.exe");
    // An update replaces ycred.exe, and the link keeps the old program.
    fs::remove_file(&helper).expect("removed");
    fs::write(&helper, "an older program").expect("written");
    machine.ycred(&["setup", "docker"]).run().assert(0);
    let run = machine.call(&helper, &["get"]).stdin("cr.yandex\n").run();
    run.assert(0);
    // A file that setup has not created stays.
    let other = machine.file("bin/git-credential-ycred.exe", "another program");
    let run = machine.ycred(&["setup", "links"]).run();
    run.assert(3).says("a file has this name");
    assert_eq!(fs::read_to_string(other).expect("readable"), "another program");
}

#[test]
#[cfg_attr(not(windows), ignore = "needs the Windows program: .ci/platforms windows")]
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
    let program = machine.shown(machine.path("bin").join("ycred.exe"));
    assert!(text.contains(&program) || text.contains(&program.replace('\\', "\\\\")), "{text}\n{run:?}");
    assert!(text.contains("# A comment.\r\n") && text.contains("client.authentication.k8s.io/v1"), "{text}");
    machine.ycred(&["unsetup", "kubectl"]).run().assert(0);
    assert_eq!(fs::read_to_string(&config).expect("readable"), original);
}

#[test]
#[cfg_attr(not(windows), ignore = "needs the Windows program: .ci/platforms windows")]
fn doctor_finds_no_failure_in_a_good_configuration() {
    let machine = Machine::new();
    let run = machine.ycred(&["doctor", "profile", "key", "store", "lock", "token"]).run();
    run.assert(0);
    assert!(run.stdout.contains("[ok]") && !run.stdout.contains("[fail]"), "{run:?}");
}
