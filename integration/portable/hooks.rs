//! The wire formats of clients, with the names and line ends of Windows.

use super::harness::{Machine, is_windows};

#[test]
#[cfg_attr(not(windows), ignore = "takes time: .ci/platforms native, or windows for Wine")]
fn kubectl_gets_an_exec_credential() {
    let machine = Machine::new();
    let request = |version: &str| {
        format!(
            r#"{{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/{version}","spec":{{"interactive":false}}}}"#
        )
    };
    let token = machine.assert_token(&machine.ycred(&["token"]).run());
    for version in ["v1", "v1beta1"] {
        let run = machine.ycred(&["kubectl"]).env("KUBERNETES_EXEC_INFO", request(version)).run();
        run.assert(0).is_silent();
        let reply: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
        assert_eq!(reply["apiVersion"], format!("client.authentication.k8s.io/{version}"));
        assert_eq!(reply["status"]["token"], token.as_str());
        assert!(reply["status"]["expirationTimestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{reply}");
    }
    assert_eq!(machine.requests(), 1);
}

#[test]
#[cfg_attr(not(windows), ignore = "takes time: .ci/platforms native, or windows for Wine")]
fn docker_finds_the_helper_by_its_name() {
    let machine = Machine::new();
    machine.profile("prod", "prod.json");
    let token = machine.assert_token(&machine.ycred(&["token"]).run());
    let other = machine.assert_token(&machine.ycred(&["token", "-p", "prod"]).run());
    let name = |name: &str| machine.program_name(name);
    let mut names = vec![(name("docker-credential-ycred"), &token), (name("docker-credential-ycred-prod"), &other)];
    if is_windows() {
        names.push(("Docker-Credential-YCRED.EXE".to_owned(), &token));
    }
    for (name, token) in names {
        let helper = machine.program(&name);
        for request in ["cr.yandex", "https://cr.yandex\r\n"] {
            let run = machine.call(&helper, &["get"]).stdin(request).run();
            run.assert(0).is_silent();
            let reply: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
            assert_eq!(reply["Username"], "iam", "{reply}");
            assert_eq!(reply["Secret"], token.as_str(), "{name}");
        }
        let run = machine.call(&helper, &["get"]).stdin("index.docker.io\n").run();
        run.assert(1);
        assert!(run.stdout.contains("credentials not found in native keychain"), "{run:?}");
        machine
            .call(&helper, &["store"])
            .stdin(r#"{"ServerURL":"cr.yandex","Username":"iam","Secret":"x"}"#)
            .run()
            .assert(0);
    }
    assert_eq!(machine.requests(), 2);
}

#[test]
#[cfg_attr(not(windows), ignore = "takes time: .ci/platforms native, or windows for Wine")]
fn git_gets_a_password_for_its_host_alone() {
    let machine = Machine::new();
    let profile = machine.path("config/default.toml");
    let text = std::fs::read_to_string(&profile).expect("a profile");
    machine.file("config/default.toml", format!("{text}\r\nhosts = [\"git.example.com\"]\r\n"));
    let token = machine.assert_token(&machine.ycred(&["token"]).run());
    let helper = machine.program(&machine.program_name("git-credential-ycred"));
    let run = machine.call(&helper, &["get"]).stdin("protocol=https\nhost=git.example.com\n\n").run();
    run.assert(0).is_silent();
    assert!(run.stdout.lines().any(|line| line == format!("password={token}")), "{run:?}");
    // git accepts no carriage return in a reply, and sends none: one in a request belongs to the value.
    assert!(!run.stdout.contains('\r'), "{run:?}");
    let run = machine.call(&helper, &["get"]).stdin("protocol=https\r\nhost=git.example.com\r\n\r\n").run();
    run.assert(0).is_silent();
    assert_eq!(run.stdout, "");
    let run = machine.call(&helper, &["get"]).stdin("protocol=https\nhost=github.com\n\n").run();
    run.assert(0).is_silent();
    assert_eq!(run.stdout, "");
}
