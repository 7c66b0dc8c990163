//! Requests with line breaks where another reader may see two lines.

use serde_json::Value;

use crate::world::World;

/// What parts one line from the next for some reader or other.
const BREAKS: &[&str] = &[
    "\r", "\n", "\r\n", "\0", "%0a", "%0A", "%0d%0a", "%00", "%2e", "\u{b}", "\u{c}", "\u{85}", "\u{2028}", "\t", " ",
    "\\n",
];

#[test]
fn a_git_request_with_an_injected_line_break_gets_no_token() {
    let world = World::new();
    for text in BREAKS {
        for request in [
            format!("protocol=https\nhost=cr.yandex{text}evil.example\n\n"),
            format!("protocol=https\nhost=evil.example{text}cr.yandex\n\n"),
            format!("protocol=https{text}\nhost=evil.example\n\n"),
            format!("protocol=https\nhost={text}cr.yandex.evil.example\n\n"),
        ] {
            // A line feed that makes a line of its own is no injection: without a key it is no request at all.
            world.ycred(&["git", "get"]).stdin(request.as_str()).run().succeeds().quietly().stdout_is("");
        }
        if *text == "\n" {
            continue;
        }
        for request in [
            format!("protocol=https\nhost=cr.yandex{text}\n\n"),
            format!("protocol=https\nhost={text}cr.yandex\n\n"),
            format!("protocol=https{text}\nhost=cr.yandex\n\n"),
            format!("protocol=https\nhost{text}=cr.yandex\n\n"),
        ] {
            world.ycred(&["git", "get"]).stdin(request.as_str()).run().succeeds().quietly().stdout_is("");
        }
        if ["\r", "\r\n", "\0"].contains(text) {
            // Refused wherever it stands, since another reader may see two lines.
            let request = format!("protocol=https\nhost=cr.yandex\npath=x{text}y\n\n");
            world.ycred(&["git", "get"]).stdin(request).run().succeeds().quietly().stdout_is("");
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
        world.ycred(&["git", "get"]).stdin(request).run().succeeds().quietly().stdout_is("");
    }
    assert_eq!(world.emulator.calls(), 0);
    // Keys of a later git are no reason to refuse.
    let known = "protocol=https\nhost=cr.yandex\npath=a/b\nnew-key=%0a\nstate[]=x\nwwwauth[]=Basic realm=\"x\"\n\n";
    world.ycred(&["git", "get"]).stdin(known).run().succeeds().quietly().stdout_has("username=iam\n");
}

#[test]
fn a_docker_request_with_an_injected_line_break_is_declined() {
    let world = World::new();
    for text in BREAKS {
        for request in [
            format!("cr.yandex{text}evil.example"),
            format!("evil.example{text}cr.yandex"),
            format!("https://cr.yandex{text}evil.example/"),
            format!("https://evil.example/{text}cr.yandex"),
            format!("https://cr.yandex{text}@evil.example/"),
        ] {
            let run = world.ycred(&["docker", "get"]).stdin(request.as_str()).run();
            run.exits(1).quietly().stdout_is("credentials not found in native keychain\n");
        }
    }
    assert_eq!(world.emulator.calls(), 0);
    // A line end behind the address is docker's own doing.
    for end in ["", "\n", "\r\n"] {
        let run = world.ycred(&["docker", "get"]).stdin(format!("https://cr.yandex{end}")).run().succeeds().quietly();
        let reply: Value = serde_json::from_str(&run.stdout).expect("JSON");
        assert_eq!(reply["ServerURL"], "https://cr.yandex");
    }
}

#[test]
fn a_terraform_host_with_an_injected_line_break_is_declined() {
    let world = World::new();
    for text in BREAKS.iter().filter(|text| **text != "\0") {
        for host in [
            format!("cr.yandex{text}evil.example"),
            format!("evil.example{text}cr.yandex"),
            format!("cr.yandex{text}"),
            format!("{text}cr.yandex"),
        ] {
            world.ycred(&["terraform", "get", &host]).run().succeeds().quietly().stdout_is("{}\n");
        }
    }
    assert_eq!(world.emulator.calls(), 0);
}
