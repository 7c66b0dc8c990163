//! Paths of Windows in messages, and the directories in which clients look.

use std::fs;

use crate::harness::Machine;

#[test]
#[cfg_attr(not(windows), ignore = "needs the Windows program: .ci/platforms windows")]
fn a_path_in_a_message_is_no_secret() {
    let machine = Machine::new();
    for file in [r"C:\no such\John Doe\key.json", r"C:\missing\KEY.JSON", r"C:\missing\prod", r"\\?\C:\missing\k"] {
        machine.file("config/own.toml", format!("source = \"authorized-key\"\r\nkey-file = '{file}'\r\n"));
        let run = machine.ycred(&["token", "-p", "own"]).run();
        run.assert(3).says(file);
    }
    let run = machine.ycred(&["token", "-p", r"C:\no such\prod"]).run();
    run.assert(3).says(r"C:\no such\prod");
}

#[test]
#[cfg_attr(not(windows), ignore = "needs the Windows program: .ci/platforms windows")]
fn a_pipe_is_not_read() {
    let machine = Machine::new();
    for pipe in [r"\\.\pipe\x", "//./pipe/x", r"\\host\pipe\x"] {
        machine.file("config/own.toml", format!("source = \"static\"\r\ntoken-file = '{pipe}'\r\n"));
        machine.ycred(&["token", "-p", "own"]).run().assert(3).says("is a device, not a file");
    }
}

#[test]
#[cfg_attr(not(windows), ignore = "needs the Windows program: .ci/platforms windows")]
fn kubectl_reads_the_file_in_home_and_messages_name_it_as_people_do() {
    let machine = Machine::new();
    let original = "apiVersion: v1\r\nkind: Config\r\nusers:\r\n- name: one\r\n  user:\r\n    exec:\r\n      \
                    apiVersion: client.authentication.k8s.io/v1\r\n      command: yc\r\n      \
                    args: [k8s, create-token]\r\n";
    let config = machine.file("home of mine/.kube/config", original);
    let home = machine.shown(machine.path("home of mine"));
    let call = format!("@set HOME={home}\r\n@set KUBECONFIG=\r\n@ycred %*\r\n");
    let script = machine.file("bin/with home.cmd", call);
    let script = machine.shown(script);
    let run = machine.ycred(&["exec", "--", &script, "setup", "kubectl", "--all", "-p", "default"]).run();
    run.assert(0);
    let text = fs::read_to_string(config).expect("readable");
    assert!(text.contains("ycred"), "{text}\n{run:?}");
    let run = machine.ycred(&["exec", "--", &script, "unsetup", "kubectl"]).run();
    run.assert(0);
    assert!(run.stdout.contains(&home) && !run.stdout.contains(r"\\?\"), "{run:?}");
}
