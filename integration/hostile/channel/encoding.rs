//! Arguments, variables, paths and requests that are not UTF-8.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;

use serde_json::Value;

use crate::hostile::records::records;
use crate::world::World;

fn os_string(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

#[test]
fn input_that_is_not_utf_8_never_panics_and_is_reported_as_one_error() {
    let world = World::new();
    let invalid = os_string(b"\xff\xfe\xc3(");
    let with_invalid = |arguments: &[&str]| -> Vec<OsString> {
        arguments.iter().map(OsString::from).chain([invalid.clone()]).collect()
    };
    for arguments in [
        with_invalid(&[]),
        with_invalid(&["token"]),
        with_invalid(&["token", "--profile"]),
        with_invalid(&["token", "--format"]),
        with_invalid(&["token", "--min-ttl"]),
        with_invalid(&["token", "--host"]),
        with_invalid(&["kubectl"]),
        with_invalid(&["docker"]),
        with_invalid(&["docker", "get"]),
        with_invalid(&["git"]),
        with_invalid(&["terraform", "get"]),
        with_invalid(&["use"]),
        with_invalid(&["init"]),
        with_invalid(&["env", "--shell"]),
        with_invalid(&["completions"]),
    ] {
        let run = world.sandbox.ycred(&arguments).stdin("cr.yandex").run();
        let code = run.status.code();
        assert!(code.is_some_and(|code| (1..=3).contains(&code)), "{arguments:?}\n{run}");
        assert!(!run.stderr.contains("panic") && run.stderr.lines().count() <= 2, "{run}");
        assert!(run.stderr.starts_with("ycred: error: "), "{run}");
    }
    // `exec` takes the argument as a program name and does not find it.
    world.sandbox.ycred(with_invalid(&["exec", "--"])).run().exits(127);
    for variable in [
        "KUBERNETES_EXEC_INFO",
        "YCRED_PROFILE",
        "YC_IAM_TOKEN",
        "YC_TOKEN",
        "YC_SERVICE_ACCOUNT_KEY_FILE",
        "YC_METADATA_ADDR",
        "YC_ENDPOINT",
        "HTTPS_PROXY",
        "NO_PROXY",
        "YCRED_RUNNING",
        "SHELL",
        "LANG",
        "CACHE_DIRECTORY",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "HOME",
        "YCRED_CACHE_DIR",
        "YCRED_STATE_DIR",
    ] {
        let run = world.ycred(&["kubectl"]).env(variable, invalid.clone()).run();
        let is_read = ["KUBERNETES_EXEC_INFO", "YCRED_PROFILE"].contains(&variable);
        assert_eq!(run.status.code(), Some(if is_read { 2 } else { 0 }), "{variable}\n{run}");
        if is_read {
            let status: Value = serde_json::from_str(&run.stdout).expect("a metav1.Status");
            assert_eq!(status["kind"], "Status", "{variable}\n{run}");
        }
    }
    for stdin in [&b"\xff\xfe"[..], b"cr.yandex\xff", b"host=cr.yandex\nprotocol=https\nx=\xff\n\n"] {
        world.ycred(&["git", "get"]).stdin(stdin).run().succeeds().stderr_is_empty().stdout_is("");
        let run = world.ycred(&["docker", "get"]).stdin(stdin).run().exits(1);
        assert!(run.stdout.starts_with("ycred: "), "{run}");
    }
}

#[test]
fn paths_that_are_not_utf_8_work() {
    let world = World::new();
    let odd = world.sandbox.path("work").parent().expect("the root").join(os_string(b"odd \xff\xfe dir"));
    fs::create_dir(&odd).expect("a directory of that name");
    for file in ["default.toml", "key.json"] {
        fs::copy(world.sandbox.path("config").join(file), odd.join(file)).expect("a copy");
    }
    let cache = odd.join("cache");
    let call = || world.ycred(&["token"]).env("YCRED_CONFIG_DIR", &odd).env("YCRED_CACHE_DIR", &cache);
    let run = call().run().succeeds().stderr_is_empty();
    world.token_printed_by(&run);
    world.assert_hit(call());
    assert_eq!(records(&cache).len(), 1);
    // The profile can also be given by path.
    let path = odd.join("default.toml");
    let arguments = [OsString::from("token"), "--profile".into(), path.clone().into_os_string()];
    world.assert_hit(world.sandbox.ycred(&arguments).env("YCRED_CACHE_DIR", &cache));
    // Two names that are displayed alike do not share records.
    let twin = odd.parent().expect("the root").join(os_string(b"odd \xfe\xff dir"));
    fs::create_dir(&twin).expect("another directory");
    for file in ["default.toml", "key.json"] {
        fs::copy(odd.join(file), twin.join(file)).expect("a copy");
    }
    let before = world.requests();
    world
        .ycred(&["token"])
        .env("YCRED_CONFIG_DIR", &twin)
        .env("YCRED_CACHE_DIR", &cache)
        .run()
        .succeeds()
        .stderr_is_empty();
    assert_eq!((world.requests(), records(&cache).len()), (before + 1, 2));
    // An error that names such a path is still one line.
    fs::remove_file(odd.join("key.json")).expect("the key is removed");
    let run = call().run().exits(3);
    assert!(run.stderr.is_char_boundary(0) && run.stderr.lines().count() <= 2, "{run}");
}
