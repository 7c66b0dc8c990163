//! Keys and tokens in the place of every other value: variables, flags, operands and profile keys. No message, file or reply
//! may contain eight bytes of them.

use std::fs;

use serde_json::json;
use ycred::commands::COMMANDS;
use ycred::hooks::HOOKS as TABLE;
use ycred::process::flags::FLAGS;
use ycred::profile::keys::COMMON_KEYS;
use ycred::sources::SOURCES as KINDS;

use super::calls::calls;
use super::fragments::Fragments;
use crate::harness::{Call, report_faults, run_all};
use crate::sources::random_secret;
use crate::world::World;

/// Every variable that ycred reads as a path, a name, a host or a number.
const VARIABLES: &[&str] = &[
    "YC_SERVICE_ACCOUNT_KEY_FILE",
    "YC_METADATA_ADDR",
    "YC_ENDPOINT",
    "YC_TOKEN",
    "YC_OAUTH_TOKEN",
    "YC_IAM_TOKEN",
    "YCRED_PROFILE",
    "YCRED_CONFIG_DIR",
    "YCRED_CACHE_DIR",
    "YCRED_STATE_DIR",
    "YCRED_IMPERSONATE",
    "YCRED_SERVICE_ACCOUNT_ID",
    "YCRED_SUBJECT_TOKEN_FILE",
    "YCRED_AUTH_URL",
    "YCRED_GITHUB_AUDIENCE",
    "YCRED_EXPIRES_AT",
    "YCRED_TOKEN_ID",
    "YCRED_LOG",
    "YCRED_RUNNING",
    "YCRED_PASSED_ON",
    "YCRED_METADATA_ADDR",
    "YCRED_DEBUG_PANIC",
    "ACTIONS_ID_TOKEN_REQUEST_URL",
    "GITHUB_REPOSITORY_OWNER",
    "KUBERNETES_EXEC_INFO",
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
    "XDG_STATE_HOME",
    "CACHE_DIRECTORY",
    "STATE_DIRECTORY",
    "HOME",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SHELL",
    "BROWSER",
    "TERM",
    "NO_COLOR",
];

/// What shells, editors and secret stores put around a value.
const AROUND: &[(&str, &str)] = &[
    ("", ""),
    ("'", "'"),
    ("\"", "\""),
    ("\u{feff}", ""),
    ("\n", "\r\n"),
    (" ", " y"),
    ("", "\n"),
    ("\u{feff}'", "'\n"),
    ("[", "]"),
    ("=", ""),
];

/// A secret as somebody pastes it, and the part of it that nobody may see.
struct Pasted {
    text: String,
    secret: String,
}

/// A private key that nobody uses, without its first line.
const P256: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgWedAFC5z8xqSoF5u\
                    NhFwl9nC5oF5Q0FP0XeazSWLTxShRANCAASGYhzeJ/OciNBK97fxGy6p8+0r5uwC\
                    0CWCkZlMha9ldqWoIDRZvWtAmTX2ciP2Zc4dsdmA6iZkcKpgbvdaMvKQ";

/// Breaks a key into lines of so many columns.
fn wrapped(key: &str, columns: usize) -> String {
    let key = key.replace('\n', "");
    let lines: Vec<&[u8]> = key.as_bytes().chunks(columns).collect();
    String::from_utf8(lines.join(&b'\n')).expect("base64")
}

/// Breaks a token into two lines.
fn broken(token: String, at: fn(usize) -> usize) -> Pasted {
    let (first, second) = token.split_at(at(token.len()));
    Pasted { text: format!("{first}\n{second}"), secret: token.clone() }
}

/// Returns secrets of every kind.
fn pasted(world: &World) -> Vec<Pasted> {
    let key = fs::read_to_string(world.sandbox.path("config/key.json")).expect("the key");
    let pem = serde_json::from_str::<serde_json::Value>(&key).expect("JSON")["private_key"]
        .as_str()
        .expect("a key")
        .to_owned();
    let body: String = pem.lines().filter(|line| !line.contains(['-', ' '])).collect::<Vec<_>>().join("\n");
    let whole = |text: String| Pasted { secret: text.clone(), text };
    vec![
        Pasted { text: key.clone(), secret: body.clone() },
        Pasted { text: json!(key).to_string(), secret: body.clone() },
        Pasted { text: pem.clone(), secret: body.clone() },
        Pasted { text: pem.replace('\n', "\\n"), secret: body.clone() },
        Pasted { text: body.replace('\n', ""), secret: body.clone() },
        Pasted { text: wrapped(&body, 16), secret: body.clone() },
        Pasted { text: P256.to_owned(), secret: P256.to_owned() },
        Pasted { text: wrapped(P256, 20), secret: P256.to_owned() },
        whole(world.issue_token()),
        broken(world.issue_token(), |length| length - 24),
        broken(world.issue_token(), |_| 10),
        whole(format!("y0_{}", random_secret(50))),
        whole(random_secret(64)),
    ]
}

/// Returns the fragments that the output of these secrets would have.
fn fragments_of(all: &[Pasted]) -> Fragments {
    let mut fragments = Fragments::default();
    for (number, pasted) in all.iter().enumerate() {
        fragments.add(&format!("secret {number}"), &pasted.secret);
    }
    fragments
}

/// Runs the calls, and checks both streams. A reply that hands on the token is what the user asked for.
#[track_caller]
fn check(calls: Vec<Call>, fragments: &Fragments, may_reply: bool) -> usize {
    let mut count = 0;
    for runs in calls.chunks(24).map(|calls| run_all(calls.iter().cloned())) {
        for run in &runs {
            assert!(run.status.code().is_some(), "{run}");
            assert_eq!(fragments.find_in(run.stderr.as_bytes()), None, "on stderr\n{run}");
            if !(may_reply && run.status.success()) {
                assert_eq!(fragments.find_in(run.stdout.as_bytes()), None, "on stdout\n{run}");
            }
        }
        count += runs.len();
    }
    count
}

/// Checks every file in the sandbox but the ones that the test or the user's own command put the secret into.
#[track_caller]
fn check_files(world: &World, fragments: &Fragments) {
    for path in world.sandbox.files("") {
        let is_ours = ["config/key.json", "config/keys", "config/planted", "runs"]
            .iter()
            .any(|own| path.starts_with(world.sandbox.path(own)));
        if is_ours {
            continue;
        }
        let content = fs::read(&path).unwrap_or_default();
        assert_eq!(fragments.find_in(&content), None, "in {}", path.display());
        assert_eq!(fragments.find_in(path.to_string_lossy().as_bytes()), None, "in a file's name");
    }
}

#[test]
fn a_secret_in_any_variable_is_never_shown_and_never_stored() {
    let mut world = World::without_profile(crate::emulator::Config::default());
    // Nothing but the variable says where a token comes from, or a profile does.
    world.sandbox.seal().set("YCRED_TEST", "1");
    let all = pasted(&world);
    let fragments = fragments_of(&all);
    let more: &[&[&str]] = &[
        &["import", "--environment", "x"],
        &["import", "--environment", "x", "--write"],
        &["use", "default"],
        &["logout"],
        &["init", "y", "--metadata"],
        &["completions", "bash"],
        &["revoke"],
    ];
    let calls: Vec<(&[&str], &str)> = calls().chain(more.iter().map(|it| (*it, ""))).collect();
    let (mut count, mut turn) = (0, 0);
    for variable in VARIABLES {
        let mut batch = Vec::new();
        for pasted in &all {
            let (before, after) = AROUND[turn % AROUND.len()];
            let value = format!("{before}{}{after}", pasted.text);
            for at in 0..2 {
                let (arguments, stdin) = calls[(turn * 2 + at) % calls.len()];
                let flags: &[&str] = if at == 0 { &["--timeout", "1s"] } else { &["--timeout", "1s", "-vvv"] };
                let call = world.sandbox.ycred(flags.iter().chain(arguments)).stdin(stdin);
                batch.push(call.env(variable, value.clone()));
            }
            turn += 1;
        }
        let may_reply = matches!(*variable, "YC_TOKEN" | "YC_IAM_TOKEN");
        count += check(batch, &fragments, may_reply);
        check_files(&world, &fragments);
    }
    report_faults("secret where another value belongs, such as a key in place of its path", count);
}

#[test]
fn a_secret_in_any_key_of_a_profile_is_never_shown_and_never_stored() {
    let mut world = World::new();
    world.sandbox.seal();
    let all = pasted(&world);
    let fragments = fragments_of(&all);
    let (mut batch, mut turn) = (Vec::new(), 0);
    for source in KINDS {
        for key in source.keys.iter().chain(COMMON_KEYS).map(|key| key.name).chain(["source", "use", ""]) {
            for pasted in &all {
                let (before, after) = AROUND[turn % AROUND.len()];
                turn += 1;
                let value = json!(format!("{before}{}{after}", pasted.text)).to_string().replace("\\b", "\\u0008");
                let base = format!("source = \"{}\"\n", source.name);
                let toml = match key {
                    "source" | "use" => format!("{key} = {value}\n"),
                    // The secret is a key, or stands where none may be.
                    "" => format!("{base}{}\n", pasted.text),
                    "command" | "hosts" | "impersonate" => format!("{base}{key} = [{value}]\n"),
                    key => format!("{base}{key} = {value}\n"),
                };
                let name = format!("planted/{turn}");
                world.sandbox.profile(&name, &toml);
                let path = world.sandbox.path(format!("config/{name}.toml"));
                for arguments in [&["-vvv", "token", "-p"][..], &["kubectl", "--timeout", "1s", "-p"]]
                    .into_iter()
                    .skip(turn % 2)
                    .take(1)
                {
                    batch.push(
                        world.ycred(arguments).and([path.as_os_str()]).env("NO_PROXY", "").and(["--timeout", "1s"]),
                    );
                }
            }
        }
    }
    let count = check(batch, &fragments, false);
    check_files(&world, &fragments);
    assert!(count > 500, "{count}");
}

#[test]
fn a_secret_in_any_argument_is_never_shown_and_never_stored() {
    let mut world = World::new();
    world.sandbox.seal();
    let all = pasted(&world);
    let fragments = fragments_of(&all);
    let mut before: Vec<Vec<String>> = Vec::new();
    let own = |text: &[&str]| text.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    for flag in FLAGS.iter().filter(|flag| flag.value.is_some()) {
        before.extend([own(&["token", &format!("--{}", flag.long)]), own(&["list", &format!("--{}", flag.long)])]);
    }
    for hook in TABLE {
        before.push(own(&[hook.name]));
        before.extend(
            hook.operands.first().map(|operation| own(&[hook.name, operation.split('|').next().unwrap_or_default()])),
        );
        before.extend(hook.flags.iter().map(|flag| own(&[hook.name, &format!("--{}", flag.long)])));
    }
    for command in COMMANDS {
        // The address of a login is for the user's browser, and the directory of an installation is created.
        if !["login", "install"].contains(&command.name) {
            before.push(own(&[command.name]));
        }
    }
    for key in KINDS.iter().flat_map(|source| source.keys).chain(COMMON_KEYS) {
        let is_common = FLAGS.iter().any(|flag| flag.long == key.name);
        if !is_common {
            before.push(own(&["init", "new", "--no-browser", &format!("--{}", key.name)]));
        }
    }
    before.extend([
        own(&[]),
        own(&["--"]),
        own(&["init"]),
        own(&["init", "--key-file", "/dev/null"]),
        own(&["env", "--shell"]),
        own(&["use"]),
        own(&["exec", "--"]),
        own(&["import", "--environment"]),
        own(&["logout", "-p"]),
        own(&["help"]),
        own(&["docker", "get"]),
    ]);
    let mut batch = Vec::new();
    for (turn, words) in before.iter().enumerate() {
        for (at, pasted) in all.iter().enumerate() {
            let (front, back) = AROUND[(turn + at) % AROUND.len()];
            let value = format!("{front}{}{back}", pasted.text);
            let call = match (words.last().filter(|last| last.starts_with("--") && last.len() > 2), at % 2) {
                (Some(flag), 0) => {
                    world.sandbox.ycred(words[..words.len() - 1].iter().cloned().chain([format!("{flag}={value}")]))
                }
                // A secret in place of the name of a flag.
                (None, 0) if at % 4 == 0 => world.sandbox.ycred(words.iter().cloned().chain([format!("--{value}")])),
                _ => world.sandbox.ycred(words.iter().cloned().chain([value])),
            };
            batch.push(call.stdin("").env("SHELL", "/bin/true").and(if words.first().is_some_and(|it| it == "exec") {
                &[][..]
            } else {
                &["--timeout", "1s"]
            }));
        }
    }
    let count = check(batch, &fragments, false);
    check_files(&world, &fragments);
    assert!(count > 300, "{count}");
}
