//! The output of `ycred env`, read by the programs that it is for: shells, and the readers of dotenv files.

use std::collections::BTreeMap;

use serde_json::Value;

use super::docker::Daemon;
use super::versions::{DOTENV_NODE, DOTENV_PYTHON};
use crate::harness::{Call, require_client};
use crate::packages;
use crate::world::World;

/// A path with everything that some shell gives a meaning. Each name inside it would create a file if it ran.
const PATH: &str =
    "work/it's \u{2018}a\u{2019} \"q\" $(touch ran) `touch ran` \\ {b,c} #;&|<>*?!~ %d\n$HOME;touch ran/x.toml";

/// Returns the variables of ycred in the output of `env -0`.
fn variables(output: &str) -> BTreeMap<String, String> {
    let pairs = output.split('\0').filter_map(|pair| pair.trim_start().split_once('='));
    let own = pairs.filter(|(name, _)| name.starts_with("YC_") || name.starts_with("YCRED_"));
    let settings = ["YCRED_CONFIG_DIR", "YCRED_CACHE_DIR", "YCRED_STATE_DIR"];
    own.filter(|(name, _)| !settings.contains(name)).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn every_shell_evaluates_any_value_to_itself_and_runs_nothing() {
    let world = World::new();
    world.sandbox.file(PATH, format!("{}timeout = \"30s\"\n", world.settings().replace("key.json", "key")));
    let path = world.sandbox.path(PATH);
    std::fs::copy(world.sandbox.path("config/key.json"), path.with_file_name("key")).expect("a copy of the key");
    let mut tried = 0;
    for (shell, program, script) in [
        ("sh", "sh", "eval \"$(\"$@\")\"; env -0"),
        ("bash", "bash", "eval \"$(\"$@\")\"; env -0"),
        ("zsh", "zsh", "eval \"$(\"$@\")\"; env -0"),
        ("zsh", "zsh", "setopt rc_quotes ksh_arrays sh_word_split; eval \"$(\"$@\")\"; env -0"),
        ("sh", "busybox", "eval \"$(\"$@\")\"; env -0"),
        ("fish", "fish", "$argv | source; env -0"),
    ] {
        let Some(program) = require_client(program) else { continue };
        let first: &[&str] = match program.file_name().and_then(|name| name.to_str()) {
            Some("busybox") => &["sh", "-c", script, "sh"],
            Some("fish") => &["--no-config", "-c", script],
            Some("zsh") => &["-f", "-c", script, "zsh"],
            _ => &["-c", script, "sh"],
        };
        let ycred = world.sandbox.path("bin/ycred");
        if !ycred.exists() {
            world.sandbox.link("ycred");
        }
        let call = world.sandbox.call(&program, first).and([ycred.as_os_str(), "env".as_ref(), "--shell".as_ref()]);
        let run = call.and([shell.as_ref(), "-p".as_ref(), path.as_os_str()]).run().succeeds().stderr_is_empty();
        let seen = variables(&run.stdout);
        assert_eq!(seen.get("YC_TOKEN"), Some(&world.last_token()), "{shell}\n{run}");
        assert_eq!(seen.get("YC_IAM_TOKEN"), Some(&world.last_token()), "{shell}\n{run}");
        assert_eq!(seen.get("YCRED_PROFILE").map(String::as_str), path.to_str(), "{shell}\n{run}");
        tried += 1;
    }
    assert!(tried >= 1, "there is always a shell");
    let ran = world.sandbox.files("work").into_iter().filter(|file| file.ends_with("ran")).count();
    assert_eq!(ran, 0, "a part of a value was run as a command");
}

/// Writes the dotenv file of the profile `prod`, and returns its variables as a shell has them after `eval`.
fn dotenv_file(world: &World) -> BTreeMap<String, String> {
    world.profile("prod", "");
    let run = world.ycred(&["env", "-p", "prod", "--shell", "dotenv"]).run().succeeds().stderr_is_empty();
    world.sandbox.file("work/.env", &run.stdout);
    let script = "eval \"$(\"$@\")\"; env -0";
    let call = world.sandbox.call("sh", ["-c", script, "sh", crate::harness::YCRED, "env", "-p", "prod"]);
    let expected = variables(&call.run().succeeds().stdout);
    assert!(expected.len() >= 4 && expected["YC_TOKEN"].starts_with("t1."), "{expected:?}");
    expected
}

#[track_caller]
fn reads(call: Call, expected: &BTreeMap<String, String>) {
    let run = call.run().succeeds();
    assert_eq!(&variables(&run.stdout), expected, "{run}");
}

#[test]
fn shells_that_source_a_dotenv_file_read_the_token() {
    let world = World::new();
    let expected = dotenv_file(&world);
    for shell in ["sh", "bash", "zsh", "busybox"] {
        let Some(program) = require_client(shell) else { continue };
        let first: &[&str] = if shell == "busybox" { &["sh"] } else { &[] };
        let script = ["-c", "set -a; . ./.env; env -0"];
        reads(world.sandbox.call(program, first.iter().chain(&script)), &expected);
    }
}

#[test]
fn docker_reads_the_token_from_a_dotenv_file() {
    let Some(docker) = require_client("docker") else { return };
    let mut world = World::new();
    let expected = dotenv_file(&world);
    let daemon = Daemon::start(&mut world.sandbox);
    // The daemon's reply is not that of a container. Only the request matters.
    let run = world.sandbox.call(docker, ["create", "--pull=never", "--env-file=.env", "alpine"]).run();
    let requests = daemon.requests("/containers/create");
    assert_eq!(requests.len(), 1, "{run}");
    let body: Value = serde_json::from_slice(requests[0].body()).expect("JSON");
    let pairs = body["Env"].as_array().expect("a list").iter().filter_map(|pair| pair.as_str()?.split_once('='));
    let seen: BTreeMap<String, String> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    assert_eq!(seen, expected, "{run}");
}

#[test]
fn libraries_for_dotenv_files_read_the_token() {
    let world = World::new();
    let expected = dotenv_file(&world);
    if let Some(bin) = packages::python(DOTENV_PYTHON) {
        let script =
            "import dotenv\nfor pair in dotenv.dotenv_values('.env').items(): print('%s=%s' % pair, end='\\0')";
        reads(world.sandbox.call(bin.join("python"), ["-c", script]), &expected);
    }
    if let Some(modules) = packages::node(DOTENV_NODE) {
        let script = "const all = require(process.argv[1] + '/dotenv').parse(require('fs').readFileSync('.env'));\n\
                      for (const name in all) process.stdout.write(name + '=' + all[name] + '\\0');";
        reads(world.sandbox.call("node", ["-e", script]).and([modules.as_os_str()]), &expected);
        // The reader that node itself has.
        reads(
            world.sandbox.call(
                "node",
                [
                    "--env-file=.env",
                    "-e",
                    "require('child_process').execSync('env -0', \
             {stdio: ['ignore', 'inherit', 'inherit']})",
                ],
            ),
            &expected,
        );
    }
}

/// GitHub's runner (`FileCommandManager.cs`) takes everything after the first `=`, unless the line has `<<` before it. GitLab
/// (`lib/gitlab/ci/... dotenv`) does the same, and forbids blank values.
#[test]
fn continuous_integration_reads_the_token_from_a_dotenv_file() {
    let world = World::new();
    let expected = dotenv_file(&world);
    let text = std::fs::read_to_string(world.sandbox.path("work/.env")).expect("the file");
    let mut seen = BTreeMap::new();
    for line in text.lines() {
        let (name, value) = line.split_once('=').expect("an assignment");
        assert!(!name.contains("<<") && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{line}");
        assert!(value.trim() == value && !value.is_empty(), "{line}");
        seen.insert(name.to_owned(), value.to_owned());
    }
    assert_eq!(seen, expected);
}

#[test]
fn a_dotenv_file_with_a_value_that_readers_disagree_about_is_not_written() {
    let world = World::new();
    for name in ["a b", "it's", "$(touch ran)", "x;touch ran", "back\\slash", "line\nbreak", "#hash", "\u{2019}"] {
        let path = format!("work/{name}/x.toml");
        world.sandbox.file(&path, world.settings().replace("key.json", "../../config/key.json"));
        let path = world.sandbox.path(&path);
        let call = world.ycred(&["env", "--shell", "dotenv", "-p"]).and([path.as_os_str()]);
        let run = call.run().exits(2).stdout_is("").stderr_has("cannot write YCRED_PROFILE to a dotenv file");
        assert_eq!(run.stderr.lines().count(), 2, "{run}");
    }
}
