//! Requests with injected line breaks, which another parser could read as two lines.

use serde_json::Value;

use crate::world::World;

/// Characters and escapes that some parser treats as the end of a line.
const BREAKS: &[&str] = &[
    "\r", "\n", "\r\n", "\0", "%0a", "%0A", "%0d%0a", "%00", "%2e", "\u{b}", "\u{c}", "\u{85}", "\u{2028}", "\t", " ",
    "\\n",
];

#[test]
fn a_git_request_with_an_injected_line_break_gets_no_token() {
    let world = World::new();
    for line_break in BREAKS {
        for request in [
            format!("protocol=https\nhost=cr.yandex{line_break}evil.example\n\n"),
            format!("protocol=https\nhost=evil.example{line_break}cr.yandex\n\n"),
            format!("protocol=https{line_break}\nhost=evil.example\n\n"),
            format!("protocol=https\nhost={line_break}cr.yandex.evil.example\n\n"),
        ] {
            // With "\n" the rest is a separate line without a key, which makes the request invalid.
            world.ycred(&["git", "get"]).stdin(request.as_str()).run().succeeds().stderr_is_empty().stdout_is("");
        }
        if *line_break == "\n" {
            continue;
        }
        for request in [
            format!("protocol=https\nhost=cr.yandex{line_break}\n\n"),
            format!("protocol=https\nhost={line_break}cr.yandex\n\n"),
            format!("protocol=https{line_break}\nhost=cr.yandex\n\n"),
            format!("protocol=https\nhost{line_break}=cr.yandex\n\n"),
        ] {
            world.ycred(&["git", "get"]).stdin(request.as_str()).run().succeeds().stderr_is_empty().stdout_is("");
        }
        if ["\r", "\r\n", "\0"].contains(line_break) {
            // Rejected in any field, even one that ycred does not use.
            let request = format!("protocol=https\nhost=cr.yandex\npath=x{line_break}y\n\n");
            world.ycred(&["git", "get"]).stdin(request).run().succeeds().stderr_is_empty().stdout_is("");
        }
    }
    for request in [
        "protocol=https\nhost=\n\n",
        "protocol=https\nhost= \n\n",
        "protocol=https\n\n",
        "host=cr.yandex\n\n",
        "protocol=http\nhost=cr.yandex\n\n",
        "protocol=HTTPS\nhost=cr.yandex\n\n",
        "protocol=\nhost=cr.yandex\n\n",
        "protocol=ssh\nhost=cr.yandex\n\n",
        "url=https://cr.yandex\n\n",
        "protocol=https\nhost\n\n",
        "",
        "\n",
        "\nprotocol=https\nhost=cr.yandex\n\n",
        "protocol=https\nhost=cr.yandex\nhost=evil.example\n\n",
        "protocol=https\nhost=user@cr.yandex\n\n",
        "protocol=https\nhost=cr.yandex/path\n\n",
        "protocol=https\nprotocol=http\nhost=cr.yandex\n\n",
    ] {
        world.ycred(&["git", "get"]).stdin(request).run().succeeds().stderr_is_empty().stdout_is("");
    }
    assert_eq!(world.emulator.calls(), 0);
    // Unknown keys, as a later git may send them, are ignored.
    let request = "protocol=https\nhost=cr.yandex\npath=a/b\nnew-key=%0a\nstate[]=x\nwwwauth[]=Basic realm=\"x\"\n\n";
    world.ycred(&["git", "get"]).stdin(request).run().succeeds().stderr_is_empty().stdout_has("username=iam\n");
}

#[test]
fn a_docker_request_with_an_injected_line_break_is_declined() {
    let world = World::new();
    for line_break in BREAKS {
        for request in [
            format!("cr.yandex{line_break}evil.example"),
            format!("evil.example{line_break}cr.yandex"),
            format!("https://cr.yandex{line_break}evil.example/"),
            format!("https://evil.example/{line_break}cr.yandex"),
            format!("https://cr.yandex{line_break}@evil.example/"),
        ] {
            let run = world.ycred(&["docker", "get"]).stdin(request.as_str()).run();
            run.exits(1).stderr_is_empty().stdout_is("credentials not found in native keychain\n");
        }
    }
    assert_eq!(world.emulator.calls(), 0);
    // docker itself may end the address with a line break.
    for end in ["", "\n", "\r\n"] {
        let run =
            world.ycred(&["docker", "get"]).stdin(format!("https://cr.yandex{end}")).run().succeeds().stderr_is_empty();
        let reply: Value = serde_json::from_str(&run.stdout).expect("JSON");
        assert_eq!(reply["ServerURL"], "https://cr.yandex");
    }
}

#[test]
fn a_terraform_host_with_an_injected_line_break_is_declined() {
    let world = World::new();
    for line_break in BREAKS.iter().filter(|line_break| **line_break != "\0") {
        for host in [
            format!("cr.yandex{line_break}evil.example"),
            format!("evil.example{line_break}cr.yandex"),
            format!("cr.yandex{line_break}"),
            format!("{line_break}cr.yandex"),
        ] {
            world.ycred(&["terraform", "get", &host]).run().succeeds().stderr_is_empty().stdout_is("{}\n");
        }
    }
    assert_eq!(world.emulator.calls(), 0);
}
