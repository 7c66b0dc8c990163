//! Every message of the program in one list: `cargo test --test integration messages -- --nocapture` prints it, to be read from
//! top to bottom as a user would.
//!
//! The list is made from the sources: string literals outside of tests that read as prose. What must hold of all of them is
//! asserted here; whether a hint helps, only a reader can tell.

use std::path::{Path, PathBuf};

use crate::harness::literals::unescape;

/// A string literal of the program.
struct Message {
    file: String,
    line: usize,
    kind: Kind,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Error,
    Hint,
    /// Help, reports, warnings, and fragments of the other two.
    Other,
}

/// Reads the literals of one file, up to its unit tests.
fn messages(file: &str, source: &str) -> Vec<Message> {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let bytes = source.as_bytes();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let rest = &source[at..];
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            at += 3 + raw.find("\"#").map_or(raw.len(), |end| end + 2);
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") {
            at += rest[1..].find('\'').map_or(1, |end| end + 2);
        } else if rest.starts_with('"') {
            let mut end = at + 1;
            while bytes.get(end).is_some_and(|byte| *byte != b'"') {
                end += if bytes[end] == b'\\' { 2 } else { 1 };
            }
            let literal = unescape(&source[at + 1..end.min(source.len())]);
            let line = source[..at].matches('\n').count() + 1;
            found.push(Message { file: file.to_owned(), line, kind: kind(&source[..at]), text: literal });
            at = end + 1;
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    found.retain(|message| is_prose(&message.text) && !source_is_a_lint(source, message));
    found
}

/// What the literal is an argument of.
fn kind(before: &str) -> Kind {
    let code: String = before.chars().rev().filter(|c| !c.is_whitespace()).take(60).collect::<String>();
    let code: String = code.chars().rev().collect();
    let call = code.strip_suffix("format!(").or_else(|| code.strip_suffix("&format!(")).unwrap_or(&code);
    let errors = ["Error::usage(", "Error::profile(", "Error::refused(", "Error::unavailable(", "Error::internal("];
    if call.ends_with("hint(") {
        Kind::Hint
    } else if errors.iter().any(|error| call.ends_with(error)) {
        Kind::Error
    } else {
        Kind::Other
    }
}

/// At least two words of letters: not a key, a path, a header or a format of one value.
fn is_prose(text: &str) -> bool {
    let is_word = |word: &&str| word.len() > 1 && word.chars().all(|c| c.is_alphabetic() || c == '\'' || c == ',');
    text.split(' ').filter(is_word).count() >= 2 && !text.starts_with(['<', ':', '*'])
}

/// The reason of a lint is for contributors.
fn source_is_a_lint(source: &str, message: &Message) -> bool {
    let line = source.lines().nth(message.line - 1).unwrap_or_default();
    line.contains("reason = \"") || line.contains(".expect(\"")
}

fn all() -> Vec<Message> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files: Vec<PathBuf> = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder of the sources").flatten() {
            if entry.path().is_dir() { folders.push(entry.path()) } else { files.push(entry.path()) }
        }
    }
    files.sort();
    let read = |path: &PathBuf| {
        let name = path.strip_prefix(&root).expect("below src").display().to_string();
        messages(&name, &std::fs::read_to_string(path).expect("a source file"))
    };
    files.iter().flat_map(read).collect()
}

#[test]
fn every_message_is_one_plain_line() {
    let all = all();
    let mut faults = Vec::new();
    for Message { file, line, kind, text } in &all {
        let label = format!("{kind:?}").to_lowercase();
        println!("{file}:{line}: {label}: {}", text.replace('\n', " ⏎ "));
        let mut fault = |why: &str| faults.push(format!("{file}:{line}: {why}: {text}"));
        // An installed program has no repository beside it.
        if ["README", "docs/", "ARCHITECTURE", "yandex-cloud.md"].iter().any(|name| text.contains(name)) {
            fault("names a file of the repository");
        }
        if *kind == Kind::Other {
            continue;
        }
        if text.contains('\n') || text.contains("  ") {
            fault("is not one line with single spaces");
        }
        if text.ends_with('.') && !text.ends_with("…") {
            fault("ends in a full stop");
        }
        let first = text.split(' ').next().unwrap_or_default();
        let is_name = first.chars().skip(1).any(|c| c.is_uppercase() || c == '_') || first.starts_with("OAuth");
        if first.starts_with(char::is_uppercase) && !is_name && !["Git", "GitHub", "Ctrl-C"].contains(&first) {
            fault("starts with a capital");
        }
        if text.chars().count() > 400 {
            fault("is too long for a line");
        }
    }
    let count = |kind| all.iter().filter(|message| message.kind == kind).count();
    let counts = (count(Kind::Error), count(Kind::Hint), all.len());
    assert!(counts.0 > 100 && counts.1 > 80 && counts.2 > 500, "errors, hints, all: {counts:?}");
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// A message that ycred's own mask changes would tell the user nothing.
#[test]
fn no_message_looks_like_a_secret() {
    let changed: Vec<String> = all()
        .iter()
        .filter(|message| message.file != "base/mask.rs")
        .filter(|message| ycred::base::mask::mask_secret_formats(&message.text) != message.text)
        .map(|message| format!("{}:{}: {}", message.file, message.line, message.text))
        .collect();
    assert!(changed.is_empty(), "{} messages:\n{}", changed.len(), changed.join("\n"));
}

#[test]
fn messages_are_found_with_their_kinds() {
    let source = "fn f() {\n    // \"not a message of ours\"\n    Error::usage(format!(\"cannot read {x}\")).hint(\"try it \\\n        once more\");\n    \
                  let c = '\"';\n    \"Plain-Header: x\";\n}\n#[cfg(test)]\nmod tests { \"a test says this\" }\n";
    let found = messages("x.rs", source);
    let brief: Vec<_> = found.iter().map(|it| (it.line, it.kind, it.text.as_str())).collect();
    assert_eq!(brief, [(3, Kind::Error, "cannot read {x}"), (3, Kind::Hint, "try it once more")]);
}

/// What a newcomer types first, by situation. The word `KEY` stands for a key file.
const FIRST_CALLS: &[(&str, &[&str])] = &[
    ("nothing is configured", &["token"]),
    ("nothing is configured", &["exec", "--", "true"]),
    ("nothing is configured", &["login"]),
    ("nothing is configured", &["use", "prod"]),
    ("nothing is configured", &["kubectl", "get", "pods"]),
    ("no command", &[]),
    ("a command of another program", &["get-token"]),
    ("no source", &["init"]),
    ("a key that is not there", &["init", "prod", "--key-file", "./nope.json"]),
    ("a file that is not a key", &["init", "prod", "--key-file", "./garbage"]),
    ("a key without its flag", &["init", "prod", "./garbage"]),
    ("a capital in the name", &["init", "Prod", "--key-file", "KEY"]),
    ("a name that is taken", &["init", "good", "--key-file", "KEY"]),
    ("a wrong profile name", &["token", "-p", "goood"]),
    ("an unknown profile name", &["token", "-p", "staging"]),
    ("a profile as an argument", &["token", "good"]),
    ("a wrong source", &["token", "-p", "source"]),
    ("no source in the profile", &["token", "-p", "nothing"]),
    ("a wrong key of a profile", &["token", "-p", "misspelt"]),
    ("a value without quotes", &["token", "-p", "unquoted"]),
    ("a key file that is not there", &["token", "-p", "missing"]),
    ("a key that the cloud does not know", &["token", "-p", "unknown"]),
    ("no role", &["token", "-p", "forbidden"]),
    ("no network", &["token", "-p", "closed"]),
    ("no such host", &["token", "-p", "nowhere", "--timeout", "3s"]),
    ("no metadata service", &["token", "-p", "vm"]),
    ("a host that is not listed", &["token", "-p", "good", "--host", "registry.example.com"]),
    ("several profiles", &["token"]),
];

#[test]
fn the_first_messages_of_a_newcomer_are_read_together() {
    use crate::emulator::Config;
    use crate::emulator::faults::Fault;
    use crate::world::World;

    let mut world = World::without_profile(Config::default());
    world.sandbox.seal();
    let key = world.sandbox.path("home/key.json");
    std::fs::rename(world.sandbox.path("config/key.json"), &key).expect("moved");
    world.sandbox.file("work/garbage", "garbage\n");
    let root = world.sandbox.path("").display().to_string();
    let url = world.emulator.url();
    let stranger =
        crate::emulator::keys::AuthorizedKey::new("ajestranger000000000", crate::emulator::keys::RsaKey::shared());
    for (at, (situation, arguments)) in FIRST_CALLS.iter().enumerate() {
        if at == 8 {
            // From here on there is a profile.
            world.profile("good", "");
            stranger.write(world.sandbox.path("config/stranger.json")).expect("a key");
            for (name, text) in [
                ("source", "source = \"authorised-key\"\nkey-file = \"k\"".to_owned()),
                ("nothing", "key-file = \"k\"".to_owned()),
                ("misspelt", "source = \"authorized-key\"\nkeyfile = \"k\"".to_owned()),
                ("unquoted", "source = authorized-key".to_owned()),
                ("missing", "source = \"authorized-key\"\nkey-file = \"missing.json\"".to_owned()),
                ("unknown", format!("source = \"authorized-key\"\nkey-file = \"stranger.json\"\niam-url = \"{url}\"")),
                (
                    "forbidden",
                    format!(
                        "source = \"authorized-key\"\nkey-file = \"good.json\"\niam-url = \"{url}\"\naudience = \"x\""
                    ),
                ),
                (
                    "closed",
                    "source = \"authorized-key\"\nkey-file = \"good.json\"\niam-url = \"http://127.0.0.1:1\""
                        .to_owned(),
                ),
                ("nowhere", "source = \"authorized-key\"\nkey-file = \"good.json\"".to_owned()),
                ("vm", "source = \"metadata\"\nmetadata-addr = \"127.0.0.1:1\"".to_owned()),
            ] {
                world.sandbox.profile(name, &format!("{text}\n"));
            }
        }
        let arguments: Vec<String> =
            arguments.iter().map(|argument| argument.replace("KEY", &key.display().to_string())).collect();
        world.emulator.clear_faults();
        if arguments.iter().any(|argument| argument == "forbidden") {
            world.emulator.fault(Fault::refuse(403).times(1));
        }
        let run = world.sandbox.ycred(&arguments).run().fails();
        let shown = run.stderr.replace(&root, "~/");
        println!("{situation}: ycred {}\n{shown}", arguments.join(" ").replace(&root, "~/"));
        let lines: Vec<&str> = run.stderr.lines().collect();
        assert!(
            lines.len() == 2 && lines[0].starts_with("ycred: error: "),
            "{situation}: one error and one hint\n{run}"
        );
        assert!(lines[1].starts_with("ycred: hint: "), "{situation}\n{run}");
        for line in shown.lines() {
            assert!(line.chars().count() <= 300, "{situation}: too long to read: {line}");
            for word in ["os error", "Error", "Some(", "None", "expected literal", "clap", "0x"] {
                assert!(!line.contains(word), "{situation}: {word:?} in {line}");
            }
        }
    }
}
