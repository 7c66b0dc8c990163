//! Hosts that resemble those of the installation.

use super::accepted::DEFAULT_HOSTS;

use serde_json::json;

use crate::harness::{report_faults, run_all};
use crate::hooks::{has_token, link_all, with_host};
use crate::world::World;

const PARALLEL: usize = 8;

/// Returns hosts that resemble a registry in every known way, and some that do not.
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
    for registry in DEFAULT_HOSTS {
        for form in [
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
            hosts.push(form.replace("{}", registry));
        }
    }
    hosts.push(format!("{}.cr.yandex", ["a"; 200].join(".")));
    hosts.push(format!("cr.yandex{}", "x".repeat(20_000)));
    hosts.push(format!("{}@cr.yandex", "x".repeat(20_000)));
    hosts
}

#[test]
fn no_look_alike_host_gets_a_token_or_causes_a_request() {
    let world = World::new();
    link_all(&world.sandbox);
    let hosts = look_alikes();
    let mut requests = 0;
    for client in with_host() {
        for by_symlink in [false, true] {
            if by_symlink && client.hook.symlink().is_none() {
                continue;
            }
            let hosts: Vec<&String> = hosts.iter().filter(|host| (client.host.can_ask)(host)).collect();
            for part in hosts.chunks(PARALLEL) {
                let runs = run_all(part.iter().map(|host| client.call_for_host(&world.sandbox, by_symlink, host)));
                for (host, run) in part.iter().zip(runs) {
                    assert!(!has_token(&run), "{client:?} got a token for {host:?}\n{run}");
                    client.assert_not_found(&run, host);
                    requests += 1;
                }
            }
        }
    }
    assert_eq!(world.emulator.calls(), 0);
    assert!(!world.sandbox.path("cache").exists());
    report_faults("look-alike host in the request of a client", requests);
}

/// The kubelet sends image names, which start with the host.
#[test]
fn no_look_alike_image_host_gets_a_token_or_causes_a_request() {
    let world = World::new();
    let images: Vec<String> =
        look_alikes()
            .into_iter()
            .chain(DEFAULT_HOSTS.iter().flat_map(|registry| {
                ["{}?x", "{}#x", "{}?@evil.example", "{}"].map(|form| form.replace("{}", registry))
            }))
            .map(|host| if DEFAULT_HOSTS.contains(&host.as_str()) { host } else { format!("{host}/team/app:1") })
            .collect();
    for part in images.chunks(PARALLEL) {
        let runs = run_all(part.iter().map(|image| {
            let request = json!({"kind": "CredentialProviderRequest", "image": image,
                "apiVersion": "credentialprovider.kubelet.k8s.io/v1"});
            world.ycred(&["kubelet"]).stdin(request.to_string())
        }));
        for (image, run) in part.iter().zip(runs) {
            let run = run.exits(0).stderr_is_empty();
            assert!(run.stdout.ends_with("\"cacheDuration\":\"0s\",\"auth\":{}}\n"), "{image:?}\n{run}");
        }
    }
    assert_eq!(world.emulator.calls(), 0);
    report_faults("look-alike host in an image name", images.len());
}
