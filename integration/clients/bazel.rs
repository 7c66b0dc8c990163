//! bazel: its protocol, to the letter. There is no Bazel here to run: npm's launcher fetches it from elsewhere, and the one
//! that Debian has (4.2) is older than credential helpers. What of Bazel can be run is the reader of its times.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::emulator::Config;
use crate::harness::{Run, Sandbox, YCRED, require_client};
use crate::world::World;

fn bench() -> World {
    let world = World::bare(Config::default());
    world.profile_for("prod", &["cache.example:8443".into()]);
    world
}

/// As Bazel calls it: in the workspace, with `get` alone, the request on stdin, without a line end.
fn get(sandbox: &Sandbox, uri: &str) -> Run {
    let link = sandbox.path("bin/ycred-bazel-prod");
    let link = if link.exists() { link } else { sandbox.link("ycred-bazel-prod") };
    sandbox.call(link, ["get"]).stdin(json!({"uri": uri}).to_string()).run()
}

/// EngFlow/credential-helper-spec, `schemas/get-credentials-response.schema.json`: an object with `headers`, whose values are
/// arrays of strings, and perhaps `expires`.
#[test]
fn a_reply_is_what_the_schema_wants_and_the_server_is_content_with() {
    let world = bench();
    for uri in ["https://cache.example:8443/ac/0123?x=y#z", "https://registry.yandexcloud.net/", "https://cr.yandex"] {
        let run = get(&world.sandbox, uri).succeeds().quietly();
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

/// Bazel's `GetCredentialsResponse` reads `expires` with this pattern, and throws the reply away where it does not fit.
#[test]
fn javas_pattern_of_bazel_reads_when_a_token_expires() {
    let (Some(java), Some(_)) = (require_client("java"), require_client("javac")) else { return };
    let world = bench();
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
    let read = |text: &str| world.sandbox.call(&java, [source.as_os_str(), text.as_ref()]).run();
    let seconds = time::OffsetDateTime::parse(expires, &time::format_description::well_known::Rfc3339).expect("a time");
    read(expires).succeeds().stdout_is(&format!("{}\n", seconds.unix_timestamp()));
    // The oracle minds what it is there for.
    read("2026-08-22T10:11:12.123Z").fails().stderr_has("could not be parsed");
}

#[test]
fn whatever_is_not_ours_or_no_request_is_an_exit_code_with_a_reason_and_nothing_on_stdout() {
    let world = bench();
    let run = get(&world.sandbox, "https://github.com/x.zip").exits(1).stdout_is("");
    assert_eq!(
        run.stderr,
        "ycred: error: the token may not be sent to github.com\n\
         ycred: hint: to allow it, list the host in the profile: hosts = [\"github.com\"]\n"
    );
    for input in ["", "{}", "[]", "{\"uri\":7}", "{\"uri\":\"https://cr.yandex/\"", "\u{0}"] {
        let run = world.sandbox.call(YCRED, ["bazel", "get"]).stdin(input).run().exits(2).stdout_is("");
        assert!(run.stderr.starts_with("ycred: error: "), "{run}");
    }
    for words in [&["put"][..], &[], &["get", "get"]] {
        let call = world.sandbox.call(world.sandbox.path("bin/ycred-bazel-prod"), words);
        call.stdin(r#"{"uri":"https://cr.yandex/"}"#).run().exits(2).stdout_is("");
    }
    let words = world.refuse();
    get(&world.sandbox, "https://cr.yandex/").exits(1).stdout_is("").stderr_has(words);
    assert_eq!(world.requests(), 1, "IAM requests");
}
