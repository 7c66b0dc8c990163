//! To whom a token goes, and to nobody else: every look-alike by every hook, in both forms of its call, without network and
//! without a profile.

use std::fs;

use serde_json::json;

use crate::emulator::faults::Fault;
use crate::emulator::{Config, Emulator};
use crate::harness::machine::require_tracer;
use crate::harness::strace::{Step, traced};
use crate::harness::{Call, Sandbox, YCRED, run_all, tried};
use crate::hooks::{HostHook, gave, has_token, link_all, programs, with_host};
use crate::world::World;

const ABREAST: usize = 8;

/// The hook of this name, which is told a host.
fn client(name: &str) -> HostHook {
    with_host().find(|client| client.hook.name == name).expect("a hook that is told a host")
}

const OURS: [&str; 5] = [
    "cr.yandex",
    "cr.cloud.yandex.net",
    "container-registry.cloud.yandex.net",
    "registry.yandexcloud.net",
    "registry.pe.yandexcloud.net",
];

/// Every way in which another host can look like one of ours, and some that do not even try.
fn look_alikes() -> Vec<String> {
    let mut hosts: Vec<String> = [
        "docker.io",
        "https://index.docker.io/v1/",
        "ghcr.io",
        "github.com",
        "app.terraform.io",
        "localhost",
        "localhost:5000",
        "127.0.0.1",
        "127.0.0.1:443",
        "[::1]",
        "[::1]:443",
        "0.0.0.0",
        "169.254.169.254",
        "[2a0d:d6c1::1]",
        "2a0d:d6c1::1",
        "[cr.yandex]",
        "[cr.yandex",
        "cr.yandex]",
        "2130706433",
        "0x7f.1",
        "",
        " ",
        ".",
        "..",
        "/",
        ":443",
        "https://",
        "https:///cr.yandex",
        "//cr.yandex",
        "https:cr.yandex",
        "https:/cr.yandex",
        "yandex",
        "yandex.net",
        "cloud.yandex.net",
        "api.cloud.yandex.net",
        "iam.api.cloud.yandex.net",
        "yandexcloud.net",
        "storage.yandexcloud.net",
        "cr.yandexcloud.kz",
        "cr.yandex.ru",
        "cr.yandex.com",
        "cr.yandex.net",
        "cr.yande",
        "r.yandex",
        "cryandex",
        "cr-yandex",
        "cr_yandex",
        "cr.yandexx",
        "crr.yandex",
        "xn--cr-6kc.yandex",
        "xn--cr.yandex",
        "cr.xn--yandex-abc",
        "cr.\u{443}andex",
        "\u{441}r.yandex",
        "cr.yandex\u{3002}evil.example",
        "cr\u{3002}yandex",
        "cr\u{ff0e}yandex",
        "cr\u{ff61}yandex",
        "cr.yandex\u{200b}",
        "\u{ff43}r.yandex",
        "cr.yand\u{435}x",
        "cr.yandex\u{301}",
        "cr%2eyandex",
        "cr.yandex%2f",
        "cr.yandex%00",
        "%63r.yandex",
        "cr.yandex;evil.example",
        "cr.yandex,evil.example",
        "cr.yandex\\evil.example",
        "cr.yandex\\@evil.example",
        "evil.example\\@cr.yandex",
        "cr.yandex&evil.example",
        "cr.yandex|evil",
        "cr..yandex",
        ".cr.yandex",
        "*.yandex",
        "*",
        "cr.*",
        "$(cr.yandex)",
        "cr.yandex:443:443",
        "cr.yandex:443@evil.example",
        "evil.example:443@cr.yandex",
        "-cr.yandex:",
        "a@b@cr.yandex",
        "cr.yandex evil.example",
        "evil.example cr.yandex",
        "file:///cr.yandex",
        "evil.example/cr.yandex",
        "evil.example?cr.yandex",
        "evil.example#cr.yandex",
        "https://evil.example/?https://cr.yandex/",
        "https://evil.example#@cr.yandex",
        "https://evil.example?@cr.yandex",
    ]
    .map(str::to_owned)
    .into();
    for ours in OURS {
        for text in [
            "{}.evil.example",
            "{}.",
            "{}.:443",
            "{}..",
            "evil-{}",
            "evil.{}",
            "a.{}",
            "evil{}",
            "{}evil",
            "{}-evil.example",
            "{}:80",
            "{}:8443",
            "{}:5000",
            "{}:0",
            "{}:0443",
            "{}:+443",
            "{}:-443",
            "{}: 443",
            "{}:443a",
            "{}:99999",
            "{}:65979",
            "{}:",
            "{}:https",
            "{}:1e3",
            "{}:\u{664}\u{664}\u{663}",
            "user@{}",
            "user:pw@{}",
            "{}@evil.example",
            "\u{3000}{}",
            "{}:443@evil.example",
            "https://user@{}/",
            "https://u:p@{}/",
            "https://{}@evil.example/",
            "https://{}#@evil.example/",
            "https://{}?@evil.example/",
            "https://{}:pw@evil.example/",
            "https://{}%40evil.example/",
            "https://{}\\.evil.example/",
            "https://{}.evil.example/",
            "https://evil.example/{}",
            "http://{}",
            "http://{}/",
            "http://{}:443",
            "http://{}:80",
            "HTTP://{}",
            "ftp://{}",
            "ssh://{}",
            "wss://{}",
            "git://{}",
            "docker://{}",
            "oci://{}",
            "httpss://{}",
            "://{}",
            "https://https://{}",
            "javascript://{}",
            "\u{2024}{}",
            "[{}]",
            "'{}'",
            "\"{}\"",
            "<{}>",
            "{}\\",
            "{}\u{0}x",
            "{}\t",
            "\t{}",
            "{}\n",
            "{}\nhost=evil.example",
            "{}\r\nhost: evil.example",
            "{}\u{b}",
            "{}\u{7f}",
            "{}\u{a0}",
        ] {
            hosts.push(text.replace("{}", ours));
        }
    }
    hosts.push(format!("{}.cr.yandex", ["a"; 200].join(".")));
    hosts.push(format!("cr.yandex{}", "x".repeat(20_000)));
    hosts.push(format!("{}@cr.yandex", "x".repeat(20_000)));
    hosts
}

#[test]
fn no_look_alike_gets_a_token_by_any_hook_in_either_form_and_none_costs_a_request() {
    let world = World::new();
    link_all(&world.sandbox);
    let hosts = look_alikes();
    let mut asked = 0;
    for client in with_host() {
        for by_symlink in [false, true] {
            if by_symlink && client.hook.symlink().is_none() {
                continue;
            }
            let hosts: Vec<&String> = hosts.iter().filter(|host| (client.host.can_ask)(host)).collect();
            for part in hosts.chunks(ABREAST) {
                let runs = run_all(part.iter().map(|host| client.ask(&world.sandbox, by_symlink, host)));
                for (host, run) in part.iter().zip(runs) {
                    assert!(!has_token(&run), "{client:?} got a token for {host:?}\n{run}");
                    // A path is no part of a host for git; docker sends whole addresses.
                    client.is_turned_away(&run, host);
                    asked += 1;
                }
            }
        }
    }
    assert_eq!(world.emulator.calls(), 0);
    assert!(!world.sandbox.path("cache").exists());
    tried("look-alike of a host asked for by a hook", asked);
}

/// The kubelet names images; their first part is the host.
#[test]
fn no_look_alike_gets_a_token_for_the_kubelet_and_none_costs_a_request() {
    let world = World::new();
    let images: Vec<String> = look_alikes()
        .into_iter()
        .chain(
            OURS.iter()
                .flat_map(|ours| ["{}?x", "{}#x", "{}?@evil.example", "{}"].map(|form| form.replace("{}", ours))),
        )
        .map(|host| if OURS.contains(&host.as_str()) { host } else { format!("{host}/team/app:1") })
        .collect();
    for part in images.chunks(ABREAST) {
        let runs = run_all(part.iter().map(|image| {
            let request = json!({"kind": "CredentialProviderRequest", "image": image,
                "apiVersion": "credentialprovider.kubelet.k8s.io/v1"});
            world.ycred(&["kubelet"]).stdin(request.to_string())
        }));
        for (image, run) in part.iter().zip(runs) {
            let run = run.exits(0).quietly();
            assert!(run.stdout.ends_with("\"cacheDuration\":\"0s\",\"auth\":{}}\n"), "{image:?}\n{run}");
        }
    }
    assert_eq!(world.emulator.calls(), 0);
    tried("look-alike of a host in the name of an image", images.len());
}

#[test]
fn every_spelling_of_ours_that_a_client_sends_gets_the_token() {
    let world = World::new();
    link_all(&world.sandbox);
    for ours in OURS {
        for client in with_host() {
            for by_symlink in [false, true] {
                for upper in [false, true] {
                    let name = if upper { ours.to_uppercase() } else { ours.to_owned() };
                    for spelling in client.host.spellings {
                        let host = spelling.replace("{}", &name);
                        let run = client.ask(&world.sandbox, by_symlink, &host).run().succeeds().quietly();
                        gave(&run, &world.last_token());
                    }
                }
            }
        }
    }
    // The reply to Go names the host that was asked about.
    let goauth = client("goauth");
    for ours in OURS {
        for host in [ours.to_owned(), ours.to_uppercase(), format!("https://{ours}:443/go/x")] {
            let run = goauth.ask(&world.sandbox, false, &host).run().succeeds().quietly();
            assert!(run.stdout.starts_with(&format!("https://{ours}")), "{host:?}\n{run}");
        }
    }
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_foreign_host_needs_no_profile_no_home_no_network_and_opens_no_socket() {
    let sandbox = Sandbox::new();
    link_all(&sandbox);
    let bare =
        |call: Call| ["HOME", "YCRED_CACHE_DIR", "YCRED_STATE_DIR", "PATH"].into_iter().fold(call, Call::without);
    for client in programs() {
        for by_symlink in [false, true] {
            client.is_turned_away(&bare(client.ask(&sandbox, by_symlink, "ghcr.io")).run(), "ghcr.io");
        }
    }
    if !require_tracer() {
        return;
    }
    let world = World::new();
    for client in programs() {
        let (words, stdin) = (client.host.request)("ghcr.io");
        let strace = |arguments: &[String]| {
            // Docker's word for a foreign host is exit 1, and a run under the tracer is to succeed.
            let all: Vec<&str> = ["-c", "\"$@\"; :", "sh", "strace"]
                .into_iter()
                .chain(arguments.iter().map(String::as_str))
                .chain([YCRED, client.hook.name])
                .chain(words.iter().map(String::as_str))
                .collect();
            world.sandbox.call("sh", all).stdin(stdin.as_str())
        };
        let steps = Step::of(&world.sandbox, strace);
        let network = steps.iter().find(|step| ["socket", "connect", "sendto"].contains(&step.name.as_str()));
        assert_eq!(network, None, "{client:?}");
        let wrote = steps.iter().find(|step| step.line.contains("O_CREAT") || step.name.starts_with("mkdir"));
        assert_eq!(wrote, None, "{client:?}");
    }
    // The oracle sees a socket where there is one.
    let steps = Step::of(&world.sandbox, |strace| traced(&world.sandbox, strace, &["token"]));
    assert!(steps.iter().any(|step| step.name == "connect"));
}

/// What can be wrong with a profile, such that nobody can say which hosts it lists.
const BROKEN: &[(&str, &str)] = &[
    ("toml", "source = "),
    ("key", "source = \"authorized-key\"\nkey-fiel = \"x\"\nhosts = [\"git.example\"]\n"),
    ("source", "source = \"nothing\"\nhosts = [\"git.example\"]\n"),
    ("host", "source = \"metadata\"\nhosts = [\"*\"]\n"),
    ("url", "source = \"metadata\"\niam-url = \"http://evil.example\"\nhosts = [\"git.example\"]\n"),
    ("alias", "use = \"nowhere\"\n"),
    ("empty", ""),
    ("binary", "\u{0}\u{1}"),
];

#[test]
fn a_broken_or_missing_profile_is_silent_for_foreign_hosts_and_an_error_for_ours() {
    for (what, text) in BROKEN.iter().copied().chain([("missing", "")]) {
        let sandbox = Sandbox::new();
        link_all(&sandbox);
        if what != "missing" {
            sandbox.profile("default", text);
        }
        for client in programs() {
            for by_symlink in [false, true] {
                for host in ["ghcr.io", "git.example", "cr.yandex.evil.example"] {
                    client.is_turned_away(&client.ask(&sandbox, by_symlink, host).run(), host);
                }
                let run = client.ask(&sandbox, by_symlink, "cr.yandex").run().exits((client.hook.failure)(3));
                assert!(run.stderr.starts_with("ycred: error: "), "{what}\n{run}");
                assert!(run.stderr.lines().count() <= 2, "{what}\n{run}");
                assert_eq!(run.stdout, (client.hook.forms[0].refusal)(&run), "{what}\n{run}");
            }
        }
        // What only keeps or drops has nothing to complain of.
        let stored = |host: &str| json!({"ServerURL": host, "Username": "u", "Secret": "p"}).to_string();
        sandbox.ycred(["docker", "store"]).stdin(stored("cr.yandex")).run().succeeds().quietly().stdout_is("");
        sandbox.ycred(["docker", "erase"]).stdin("cr.yandex").run().succeeds().quietly().stdout_is("");
        let erase = "protocol=https\nhost=cr.yandex\nusername=iam\npassword=t1.x.y\n\n";
        sandbox.ycred(["git", "erase"]).stdin(erase).run().succeeds().quietly().stdout_is("");
        sandbox.ycred(["terraform", "forget", "cr.yandex"]).run().succeeds().quietly().stdout_is("");
        let run = sandbox.ycred(["docker", "store"]).stdin(stored("ghcr.io")).run().exits(1).quietly();
        assert!(run.stdout.contains("ghcr.io") && run.stdout.contains("keeps no passwords"), "{run}");
    }
}

#[test]
fn a_named_profile_that_is_missing_is_silent_for_foreign_hosts_too() {
    let world = World::new();
    for client in programs() {
        let Some(link) = client.hook.symlink() else { continue };
        let link = format!("{link}-gone");
        world.sandbox.link(&link);
        client.is_turned_away(&client.ask_as(&world.sandbox, &link, "ghcr.io").run(), "ghcr.io");
        let run = client.ask_as(&world.sandbox, &link, "cr.yandex").run().exits((client.hook.failure)(3));
        assert!(run.stderr.contains("profile gone"), "{run}");
    }
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn a_symlinks_suffix_is_never_a_path() {
    let world = World::new();
    fs::copy(world.sandbox.path("config/default.toml"), world.sandbox.path("work/evil.toml")).expect("copied");
    for suffix in ["evil.toml", "..", ".", "default.toml", "-default", "DEFAULT\u{e9}", "a b"] {
        let link = world.sandbox.link(&format!("docker-credential-ycred-{suffix}"));
        let run = world.sandbox.call(&link, ["get"]).stdin("cr.yandex").run();
        assert!(run.status.code().is_some_and(|code| code == 2 || code == 3), "{suffix}\n{run}");
        assert!(!run.stdout.contains("t1."), "{suffix}\n{run}");
    }
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn a_profiles_own_hosts_are_ours_to_the_port_and_not_beyond() {
    let world = World::new();
    link_all(&world.sandbox);
    let listed =
        r#"hosts = ["git.example", "registry.example:5000", "*.corp.example", "localhost:5001", "127.0.0.1:5002"]"#;
    world.profile("default", listed);
    let gets = |client: HostHook, host: &str| {
        let run = client.ask(&world.sandbox, false, host).run();
        let has = has_token(&run);
        if !has {
            client.is_turned_away(&run, host);
        }
        has
    };
    for client in programs() {
        for host in [
            "git.example",
            "git.example:443",
            "GIT.example",
            "registry.example:5000",
            "a.corp.example",
            "a.b.corp.example",
            "A.corp.example:443",
            "localhost:5001",
            "127.0.0.1:5002",
            "cr.yandex",
        ] {
            assert!(gets(client, host), "{client:?} got none for {host}");
        }
        for host in [
            "git.example:80",
            "git.example:8443",
            "a.git.example",
            "git.example.evil.example",
            "registry.example",
            "registry.example:443",
            "registry.example:5001",
            "corp.example",
            "evilcorp.example",
            "a.corp.example:5000",
            "a.corp.example.evil.example",
            ".corp.example",
            "a..corp.example",
            "localhost",
            "localhost:443",
            "127.0.0.1",
            "127.0.0.2:5002",
            "[::1]:5001",
            "http://git.example",
            "http://a.corp.example",
            "http://registry.example:5000",
            "user@git.example",
            "git.example.",
            "a.corp.example.",
        ] {
            assert!(!gets(client, host), "{client:?} got a token for {host}");
        }
    }
    // Plain http to this machine alone, where it is listed; to some clients never.
    for client in programs() {
        let Some(plain_http) = client.host.plain_http else { continue };
        for listed in ["http://localhost:5001", "http://localhost:5001/v2/", "http://127.0.0.1:5002"] {
            assert_eq!(gets(client, listed), plain_http, "{client:?} for {listed}");
        }
        assert!(!gets(client, "http://localhost:5002"), "{client:?}");
        assert!(!gets(client, "http://localhost:5002/x"), "{client:?}");
    }
}

#[test]
fn another_installation_has_its_own_registries_and_an_unknown_one_none() {
    for (endpoint, ours, foreign) in [
        ("api.yandexcloud.kz", &["cr.yandexcloud.kz"][..], &OURS[..]),
        ("api.yandexcloud.kz:443", &["cr.yandexcloud.kz"], &OURS),
        ("api.cloud.yandex.net:443", &OURS, &["cr.yandexcloud.kz"]),
        ("api.private.example", &[], &["cr.yandex", "cr.yandexcloud.kz", "cr.private.example"]),
    ] {
        let world = World::new();
        world.profile("default", &format!("endpoint = \"{endpoint}\""));
        for client in programs() {
            for host in ours {
                let run = client.ask(&world.sandbox, false, host).run().succeeds().quietly();
                assert!(has_token(&run), "{endpoint}: {client:?} got none for {host}\n{run}");
            }
            for host in foreign {
                client.is_turned_away(&client.ask(&world.sandbox, false, host).run(), host);
            }
        }
    }
}

#[test]
fn the_apis_of_an_installation_are_answered_to_bazel_alone() {
    let world = World::new();
    link_all(&world.sandbox);
    for host in ["llm.api.cloud.yandex.net", "https://Storage.API.cloud.yandex.net:443/x", "a.b.api.cloud.yandex.net"] {
        for client in programs() {
            let run = client.ask(&world.sandbox, true, host).run();
            match client.host.apis {
                true => assert!(has_token(&run), "{host}\n{run}"),
                false => client.is_turned_away(&run, host),
            }
        }
    }
    let bazel = client("bazel");
    for host in [
        "api.cloud.yandex.net",
        "https://llm.api.cloud.yandex.net:8443/",
        "http://llm.api.cloud.yandex.net/",
        "llm.api.cloud.yandex.net.evil.example",
        "llm.api.cloud.yandex.net.",
        "evilapi.cloud.yandex.net",
        "https://x@llm.api.cloud.yandex.net/",
        "llm.api.yandexcloud.kz",
    ] {
        bazel.is_turned_away(&bazel.ask(&world.sandbox, false, host).run(), host);
    }
    world.profile("default", "endpoint = \"api.yandexcloud.kz\"");
    assert!(has_token(&bazel.ask(&world.sandbox, false, "llm.api.yandexcloud.kz").run()));
    let run = bazel.ask(&world.sandbox, false, "llm.api.cloud.yandex.net").run();
    bazel.is_turned_away(&run, "another installation's");
}

#[test]
fn a_token_for_a_host_that_is_not_ours_is_not_printed_by_the_token_command_either() {
    let world = World::new();
    for host in ["ghcr.io", "cr.yandex.evil.example", "http://cr.yandex", "user@cr.yandex", "cr.yandex."] {
        world.ycred(&["token", "--format", "netrc", "--host", host]).run().exits(2).stdout_is("");
    }
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn a_cloud_that_is_down_or_refuses_is_no_matter_for_foreign_hosts() {
    let world = World::new();
    link_all(&world.sandbox);
    world.emulator.fault(Fault::refuse(503));
    let dead = Emulator::start(Config::default()).url();
    world.sandbox.profile("default", &format!("source = \"metadata\"\niam-url = \"{dead}\"\n"));
    for client in programs() {
        client.is_turned_away(&client.ask(&world.sandbox, true, "docker.io").run(), "docker.io");
    }
}
