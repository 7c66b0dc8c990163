//! Hosts that get a token: those of the installation, and those that a profile lists.

use crate::hooks::{HostHook, has_token, link_all, programs, with_host};
use crate::world::World;

/// Returns the hook with this name. Its requests must name a host.
fn client(name: &str) -> HostHook {
    with_host().find(|client| client.hook.name == name).expect("a hook with a host in its requests")
}

/// The registries of the default installation.
pub const DEFAULT_HOSTS: [&str; 5] = [
    "cr.yandex",
    "cr.cloud.yandex.net",
    "container-registry.cloud.yandex.net",
    "registry.yandexcloud.net",
    "registry.pe.yandexcloud.net",
];

#[test]
fn every_client_spelling_of_a_registry_gets_the_token() {
    let world = World::new();
    link_all(&world.sandbox);
    for registry in DEFAULT_HOSTS {
        for client in with_host() {
            for by_symlink in [false, true] {
                for is_upper in [false, true] {
                    let name = if is_upper { registry.to_uppercase() } else { registry.to_owned() };
                    for spelling in client.host.spellings {
                        let host = spelling.replace("{}", &name);
                        let run =
                            client.call_for_host(&world.sandbox, by_symlink, &host).run().succeeds().stderr_is_empty();
                        client.hook.assert_gave_token(&run, &world.last_token());
                    }
                }
            }
        }
    }
    // The reply to Go repeats the requested host.
    let goauth = client("goauth");
    for registry in DEFAULT_HOSTS {
        for host in [registry.to_owned(), registry.to_uppercase(), format!("https://{registry}:443/go/x")] {
            let run = goauth.call_for_host(&world.sandbox, false, &host).run().succeeds().stderr_is_empty();
            assert!(run.stdout.starts_with(&format!("https://{registry}")), "{host:?}\n{run}");
        }
    }
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_profiles_hosts_are_accepted_only_as_listed_including_the_port() {
    let world = World::new();
    link_all(&world.sandbox);
    let listed =
        r#"hosts = ["git.example", "registry.example:5000", "*.corp.example", "localhost:5001", "127.0.0.1:5002"]"#;
    world.profile("default", listed);
    let gets_token = |client: HostHook, host: &str| {
        let run = client.call_for_host(&world.sandbox, false, host).run();
        let has_token = has_token(&run);
        if !has_token {
            client.assert_not_found(&run, host);
        }
        has_token
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
            assert!(gets_token(client, host), "{client:?} got no token for {host}");
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
            assert!(!gets_token(client, host), "{client:?} got a token for {host}");
        }
    }
    // Plain http is accepted only for listed hosts on this machine, and for some clients not at all.
    for client in programs() {
        let Some(plain_http) = client.host.plain_http else { continue };
        for listed in ["http://localhost:5001", "http://localhost:5001/v2/", "http://127.0.0.1:5002"] {
            assert_eq!(gets_token(client, listed), plain_http, "{client:?} for {listed}");
        }
        assert!(!gets_token(client, "http://localhost:5002"), "{client:?}");
        assert!(!gets_token(client, "http://localhost:5002/x"), "{client:?}");
    }
}

#[test]
fn each_installation_has_its_own_registries_and_an_unknown_one_has_none() {
    for (endpoint, registries, foreign) in [
        ("api.yandexcloud.kz", &["cr.yandexcloud.kz"][..], &DEFAULT_HOSTS[..]),
        ("api.yandexcloud.kz:443", &["cr.yandexcloud.kz"], &DEFAULT_HOSTS),
        ("api.cloud.yandex.net:443", &DEFAULT_HOSTS, &["cr.yandexcloud.kz"]),
        ("api.private.example", &[], &["cr.yandex", "cr.yandexcloud.kz", "cr.private.example"]),
    ] {
        let world = World::new();
        world.profile("default", &format!("endpoint = \"{endpoint}\""));
        for client in programs() {
            for host in registries {
                let run = client.call_for_host(&world.sandbox, false, host).run().succeeds().stderr_is_empty();
                assert!(has_token(&run), "{endpoint}: {client:?} got no token for {host}\n{run}");
            }
            for host in foreign {
                client.assert_not_found(&client.call_for_host(&world.sandbox, false, host).run(), host);
            }
        }
    }
}

#[test]
fn only_bazel_gets_a_token_for_an_installations_apis() {
    let world = World::new();
    link_all(&world.sandbox);
    for host in ["llm.api.cloud.yandex.net", "https://Storage.API.cloud.yandex.net:443/x", "a.b.api.cloud.yandex.net"] {
        for client in programs() {
            let run = client.call_for_host(&world.sandbox, true, host).run();
            match client.host.apis {
                true => assert!(has_token(&run), "{host}\n{run}"),
                false => client.assert_not_found(&run, host),
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
        bazel.assert_not_found(&bazel.call_for_host(&world.sandbox, false, host).run(), host);
    }
    world.profile("default", "endpoint = \"api.yandexcloud.kz\"");
    assert!(has_token(&bazel.call_for_host(&world.sandbox, false, "llm.api.yandexcloud.kz").run()));
    let run = bazel.call_for_host(&world.sandbox, false, "llm.api.cloud.yandex.net").run();
    bazel.assert_not_found(&run, "another installation's");
}
