//! Arguments, variables, paths and requests that are not UTF-8.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;

use serde_json::Value;

use crate::hostile::records::records;
use crate::world::World;

fn foul(text: &[u8]) -> OsString {
    OsString::from_vec(text.to_vec())
}

#[test]
fn input_that_is_not_utf_8_never_panics_and_is_reported_as_one_error() {
    let world = World::new();
    let raw = foul(b"\xff\xfe\xc3(");
    let words = |text: &[&str]| -> Vec<OsString> { text.iter().map(OsString::from).chain([raw.clone()]).collect() };
    for arguments in [
        words(&[]),
        words(&["token"]),
        words(&["token", "--profile"]),
        words(&["token", "--format"]),
        words(&["token", "--min-ttl"]),
        words(&["token", "--host"]),
        words(&["kubectl"]),
        words(&["docker"]),
        words(&["docker", "get"]),
        words(&["git"]),
        words(&["terraform", "get"]),
        words(&["use"]),
        words(&["init"]),
        words(&["env", "--shell"]),
        words(&["completions"]),
    ] {
        let run = world.sandbox.ycred(&arguments).stdin("cr.yandex").run();
        let code = run.status.code();
        assert!(code.is_some_and(|code| (1..=3).contains(&code)), "{arguments:?}\n{run}");
        assert!(!run.stderr.contains("panic") && run.stderr.lines().count() <= 2, "{run}");
        assert!(run.stderr.starts_with("ycred: error: "), "{run}");
    }
    // A program of that name is looked for, in vain.
    world.sandbox.ycred(words(&["exec", "--"])).run().exits(127);
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
        let run = world.ycred(&["kubectl"]).env(variable, raw.clone()).run();
        let used = ["KUBERNETES_EXEC_INFO", "YCRED_PROFILE"].contains(&variable);
        assert_eq!(run.status.code(), Some(if used { 2 } else { 0 }), "{variable}\n{run}");
        if used {
            let status: Value = serde_json::from_str(&run.stdout).expect("a metav1.Status");
            assert_eq!(status["kind"], "Status", "{variable}\n{run}");
        }
    }
    for stdin in [&b"\xff\xfe"[..], b"cr.yandex\xff", b"host=cr.yandex\nprotocol=https\nx=\xff\n\n"] {
        world.ycred(&["git", "get"]).stdin(stdin).run().succeeds().quietly().stdout_is("");
        let run = world.ycred(&["docker", "get"]).stdin(stdin).run().exits(1);
        assert!(run.stdout.starts_with("ycred: "), "{run}");
    }
}

#[test]
fn paths_that_are_not_utf_8_work() {
    let world = World::new();
    let odd = world.sandbox.path("work").parent().expect("the root").join(foul(b"odd \xff\xfe dir"));
    fs::create_dir(&odd).expect("a directory of that name");
    for file in ["default.toml", "key.json"] {
        fs::copy(world.sandbox.path("config").join(file), odd.join(file)).expect("copied");
    }
    let cache = odd.join("cache");
    let call = || world.ycred(&["token"]).env("YCRED_CONFIG_DIR", &odd).env("YCRED_CACHE_DIR", &cache);
    let run = call().run().succeeds().quietly();
    world.printed_a_token(&run);
    world.is_a_hit(call());
    assert_eq!(records(&cache).len(), 1);
    // By its path, too.
    let path = odd.join("default.toml");
    let arguments = [OsString::from("token"), "--profile".into(), path.clone().into_os_string()];
    world.is_a_hit(world.sandbox.ycred(&arguments).env("YCRED_CACHE_DIR", &cache));
    // Two names that look alike where they are shown share nothing.
    let twin = odd.parent().expect("the root").join(foul(b"odd \xfe\xff dir"));
    fs::create_dir(&twin).expect("another directory");
    for file in ["default.toml", "key.json"] {
        fs::copy(odd.join(file), twin.join(file)).expect("copied");
    }
    let before = world.requests();
    world.ycred(&["token"]).env("YCRED_CONFIG_DIR", &twin).env("YCRED_CACHE_DIR", &cache).run().succeeds().quietly();
    assert_eq!((world.requests(), records(&cache).len()), (before + 1, 2));
    // And a complaint about them is a line of text.
    fs::remove_file(odd.join("key.json")).expect("the key goes");
    let run = call().run().exits(3);
    assert!(run.stderr.is_char_boundary(0) && run.stderr.lines().count() <= 2, "{run}");
}
