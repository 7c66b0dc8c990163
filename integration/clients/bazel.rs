//! bazel: checks the hook against the specification of credential helpers.
//!
//! Bazel itself does not run here. Its npm launcher downloads it at run time, and Debian's version (4.2) does not
//! support credential helpers. Only the pattern with which Bazel parses times is run.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::emulator::Config;
use crate::harness::{Run, Sandbox, YCRED, require_client};
use crate::world::World;

fn world() -> World {
    let world = World::without_profile(Config::default());
    world.profile_for("prod", &["cache.example:8443".into()]);
    world
}

/// Runs the hook as Bazel does: with the argument `get`, and the request on stdin without a line break.
fn get(sandbox: &Sandbox, uri: &str) -> Run {
    let link = sandbox.path("bin/ycred-bazel-prod");
    let link = if link.exists() { link } else { sandbox.link("ycred-bazel-prod") };
    sandbox.call(link, ["get"]).stdin(json!({"uri": uri}).to_string()).run()
}

/// EngFlow/credential-helper-spec, `schemas/get-credentials-response.schema.json`: an object with `headers`, which maps
/// names to arrays of strings, and an optional `expires`.
#[test]
fn a_reply_matches_the_schema_and_contains_the_token() {
    let world = world();
    for uri in ["https://cache.example:8443/ac/0123?x=y#z", "https://registry.yandexcloud.net/", "https://cr.yandex"] {
        let run = get(&world.sandbox, uri).succeeds().stderr_is_empty();
        let reply: Value = serde_json::from_str(&run.stdout).expect("one JSON document");
        let object = reply.as_object().expect("an object");
        let names: BTreeSet<&str> = object.keys().map(String::as_str).collect();
        assert_eq!(names, BTreeSet::from(["expires", "headers"]), "{run}");
        for (name, values) in object["headers"].as_object().expect("an object") {
            assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{name}");
            let values = values.as_array().expect("an array");
            assert!(!values.is_empty() && values.iter().all(Value::is_string), "{run}");
        }
        assert_eq!(reply["headers"], json!({"Authorization": [format!("Bearer {}", world.last_token())]}), "{run}");
    }
    assert_eq!(world.requests(), 1, "IAM requests");
}

/// Bazel's `GetCredentialsResponse` parses `expires` with this pattern. If that fails, Bazel discards the reply.
#[test]
fn bazels_pattern_parses_the_expiry() {
    let (Some(java), Some(_)) = (require_client("java"), require_client("javac")) else { return };
    let world = world();
    let source = world.sandbox.file(
        "tmp/Expires.java",
        "import java.time.Instant;\n\
         import java.time.format.DateTimeFormatter;\n\
         public class Expires {\n\
           public static void main(String[] words) {\n\
             var pattern = DateTimeFormatter.ofPattern(\"yyyy-MM-dd'T'HH:mm:ssXXX\");\n\
             for (String word : words) {\n\
               System.out.println(Instant.from(pattern.parse(word)).getEpochSecond());\n\
             }\n\
           }\n\
         }\n",
    );
    let run = get(&world.sandbox, "https://cr.yandex/").succeeds();
    let reply: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let expires = reply["expires"].as_str().expect("a time");
    let parse = |time: &str| world.sandbox.call(&java, [source.as_os_str(), time.as_ref()]).run();
    let seconds = time::OffsetDateTime::parse(expires, &time::format_description::well_known::Rfc3339).expect("a time");
    parse(expires).succeeds().stdout_is(&format!("{}\n", seconds.unix_timestamp()));
    // The pattern rejects other forms of RFC 3339.
    parse("2026-08-22T10:11:12.123Z").fails().stderr_has("could not be parsed");
}

#[test]
fn an_unlisted_host_or_a_bad_request_is_an_error_with_an_empty_stdout() {
    let world = world();
    let run = get(&world.sandbox, "https://github.com/x.zip").exits(1).stdout_is("");
    assert_eq!(
        run.stderr,
        "ycred: error: the token may not be sent to github.com\n\
         ycred: hint: in {PROFILE}, change the line to: hosts = [\"cache.example:8443\", \"github.com\"]\n"
            .replace("{PROFILE}", &world.sandbox.path("config/prod.toml").display().to_string())
    );
    for input in ["", "{}", "[]", "{\"uri\":7}", "{\"uri\":\"https://cr.yandex/\"", "\u{0}"] {
        let run = world.sandbox.call(YCRED, ["bazel", "get"]).stdin(input).run().exits(2).stdout_is("");
        assert!(run.stderr.starts_with("ycred: error: "), "{run}");
    }
    for arguments in [&["put"][..], &[], &["get", "get"]] {
        let call = world.sandbox.call(world.sandbox.path("bin/ycred-bazel-prod"), arguments);
        call.stdin(r#"{"uri":"https://cr.yandex/"}"#).run().exits(2).stdout_is("");
    }
    let message = world.refuse();
    get(&world.sandbox, "https://cr.yandex/").exits(1).stdout_is("").stderr_has(message);
    assert_eq!(world.requests(), 1, "IAM requests");
}
