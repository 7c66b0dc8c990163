//! Installations other than the default one: how ycred discovers IAM, and the audience of its JWTs.

use std::fs;
use std::time::Duration;

use crate::emulator::endpoints::{IAM, LIST};
use crate::emulator::faults::{Endpoint, Fault};
use crate::emulator::log::Presented;
use crate::emulator::{CREATE_FOR_SERVICE_ACCOUNT, Config, TOKENS, Tls};
use crate::expect::{fails_with, fails_with_hint, prints_token, token_on_stdout};
use crate::harness::run_all;
use crate::harness::waiting::{HOUR, HeldLock, MINUTE, wait_until};
use crate::world::{World, shift};

/// An installation that publishes its endpoints, and a user with `iam-url = "discover"`.
struct Installation(World);

impl Installation {
    fn new() -> Installation {
        let world = World::without_profile(Config::with_tls(Tls::Good));
        world.emulator.write_ca(world.sandbox.path("config/ca.pem")).expect("a certificate");
        let installation = Installation(world);
        installation.profile("");
        installation
    }

    fn port(&self) -> u16 {
        self.0.emulator.address().port()
    }

    fn settings(&self, key: &str) -> String {
        format!(
            "source = \"authorized-key\"\nkey-file = \"{key}\"\nca-file = \"ca.pem\"\nendpoint = \"localhost:{}\"\n\
             iam-url = \"discover\"\n",
            self.port()
        )
    }

    fn profile(&self, more: &str) {
        self.0.sandbox.profile("default", &format!("{}{more}", self.settings("key.json")));
    }

    /// Writes a profile with its own account.
    fn add_profile(&self, name: &str) {
        let key = self.0.emulator.new_service_account_key();
        key.write(self.0.sandbox.path(format!("config/{name}.json"))).expect("a key file");
        self.0.sandbox.profile(name, &self.settings(&format!("{name}.json")));
    }

    /// The numbers of requests for the IAM endpoint, for the list of all endpoints, and for a token.
    fn requests(&self) -> (usize, usize, usize) {
        let count = |path| self.0.emulator.requests(path);
        (count(IAM), count(LIST), count(TOKENS))
    }

    /// From now on discovery gets this response.
    fn responds(&self, status: u16, body: &str) {
        self.0.emulator.clear_faults();
        self.0.emulator.fault(Fault::body(body).with_status(status).on(Endpoint::Other));
    }
}

#[test]
fn iam_is_discovered_and_a_hit_makes_no_request() {
    let installation = Installation::new();
    let token = installation.0.get();
    assert_eq!(installation.requests(), (1, 0, 1));
    assert_eq!(installation.0.get(), token);
    assert_eq!(installation.requests(), (1, 0, 1));
    // The audience is the URL that the JWT was sent to.
    let log = installation.0.emulator.log();
    let expected = vec![format!("https://localhost:{}{TOKENS}", installation.port())];
    assert!(matches!(&log[1].presented, Presented::Jwt { aud, .. } if *aud == expected), "{:?}", log[1].presented);
    assert_eq!(log[0].presented, Presented::Nothing, "the list needs no credential");
}

#[test]
fn if_the_iam_endpoint_is_not_found_the_list_is_read() {
    let installation = Installation::new();
    installation.0.emulator.fault(Fault::refuse(404).times(1).on(Endpoint::Other));
    installation.0.get();
    assert_eq!(installation.requests(), (1, 1, 1));
}

#[test]
fn a_configured_audience_is_kept_with_discovery() {
    let installation = Installation::new();
    installation.0.emulator.set(|settings| settings.audiences.push("https://iam.elsewhere.example/x".to_owned()));
    installation.profile("audience = \"https://iam.elsewhere.example/x\"\n");
    installation.0.get();
    let log = installation.0.emulator.log();
    assert!(
        matches!(&log[1].presented, Presented::Jwt { aud, .. } if aud[0].ends_with("elsewhere.example/x")),
        "{:?}",
        log[1].presented
    );
}

#[test]
fn concurrent_misses_of_many_profiles_discover_iam_once() {
    let installation = Installation::new();
    let names = ["one", "two", "three", "four", "five", "six"];
    for name in names {
        installation.add_profile(name);
    }
    let calls = names.iter().flat_map(|name| (0..4).map(|_| installation.0.token(&["--profile", name])));
    for run in run_all(calls) {
        prints_token(run);
    }
    assert_eq!(installation.requests(), (1, 0, names.len()));
}

#[test]
fn a_discovered_address_is_used_for_an_hour_and_longer_if_discovery_fails() {
    let installation = Installation::new();
    for name in ["one", "two", "three"] {
        installation.add_profile(name);
    }
    installation.0.get();
    installation.0.age(HOUR - MINUTE);
    prints_token(installation.0.token(&["--profile", "one"]).run());
    assert_eq!(installation.requests(), (1, 0, 2));
    installation.0.age(2 * MINUTE);
    prints_token(installation.0.token(&["--profile", "two"]).run());
    assert_eq!(installation.requests(), (2, 0, 3));
    installation.0.age(2 * HOUR);
    installation.0.emulator.fault(Fault::refuse(503).retry_after(0).on(Endpoint::Other));
    prints_token(installation.0.token(&["--profile", "three"]).run());
    assert_eq!(installation.0.emulator.requests(TOKENS), 4);
}

#[test]
fn beside_a_process_that_does_not_finish_a_miss_uses_the_address_that_another_one_has_stored() {
    let installation = Installation::new();
    let world = &installation.0;
    installation.add_profile("one");
    world.get();
    let file = |ending: &str| {
        let mut files = world.sandbox.files("cache/v1");
        let name = |path: &std::path::Path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("endpoint-"))
        };
        files.retain(|path| name(path) && path.to_string_lossy().ends_with(ending));
        assert_eq!(files.len(), 1, "{files:?}");
        files.remove(0)
    };
    let fresh = fs::read(file(".json")).expect("an address");
    world.age(2 * HOUR);
    let _held = HeldLock::of(&file(".lock"));
    // It would wait for the lock for half a minute.
    let call = world.token(&["--profile", "one", "--timeout", "60s", "-v"]).limit(Duration::from_secs(20)).start();
    wait_until("it asks for a token", || call.stderr().contains("requesting a new token"));
    fs::write(file(".json"), fresh).expect("stored");
    token_on_stdout(&call.finish());
    assert_eq!(installation.requests(), (1, 0, 2));
}

#[test]
fn a_forced_refresh_discovers_iam_once_for_the_whole_chain() {
    let installation = Installation::new();
    let account = installation.0.emulator.new_service_account();
    installation.profile(&format!("impersonate = \"{account}\"\n"));
    installation.0.get();
    assert_eq!(installation.requests(), (1, 0, 1));
    prints_token(installation.0.token(&["--force-refresh"]).run());
    assert_eq!(installation.requests(), (2, 0, 2));
    assert_eq!(installation.0.emulator.requests(CREATE_FOR_SERVICE_ACCOUNT), 2);
}

#[test]
fn a_forced_refresh_accepts_no_address_that_was_discovered_by_a_clock_that_was_ahead() {
    let installation = Installation::new();
    installation.0.get();
    let ahead = i64::try_from((10 * MINUTE).as_millis()).expect("a duration in range");
    installation.0.edit(|record| shift(record, ahead));
    prints_token(installation.0.token(&["--force-refresh"]).run());
    assert_eq!(installation.requests(), (2, 0, 2));
}

#[test]
fn without_a_cache_a_run_discovers_iam_once_and_writes_nothing() {
    let installation = Installation::new();
    let account = installation.0.emulator.new_service_account();
    installation.profile(&format!("impersonate = \"{account}\"\n"));
    prints_token(installation.0.token(&["--no-cache"]).run());
    assert_eq!(installation.requests(), (1, 0, 1));
    assert_eq!(installation.0.sandbox.files("cache"), [""; 0].map(std::path::PathBuf::from));
}

#[test]
fn a_discovery_error_has_the_url_and_suggests_iam_url() {
    let installation = Installation::new();
    let url = format!("https://localhost:{}{IAM}", installation.port());
    let list = format!("https://localhost:{}{LIST}:", installation.port());
    let hint = "iam-url";
    let check = |code, expected: &[&str]| {
        let run = installation.0.token(&["--force-refresh"]).run();
        let error = fails_with_hint(run, code, expected, hint);
        assert!(error.contains("discovery of the IAM address"), "{error}");
    };
    installation.0.emulator.fault(Fault::refuse(403).message("not for you").on(Endpoint::Other));
    check(1, &[&url, "PERMISSION_DENIED: not for you"]);
    installation.responds(200, "<html>Welcome</html>");
    check(4, &[&url, "not a list of endpoints"]);
    installation.responds(200, r#"{"id":"iam","address":"http://iam.example/"}"#);
    check(4, &[&url, "http://iam.example/", "is not a host or host:port"]);
    installation.responds(404, r#"{"code":5,"message":"no such thing"}"#);
    check(1, &[&list, "no such thing"]);
    installation.0.emulator.clear_faults();
    installation.0.emulator.fault(Fault::refuse(404).times(1).on(Endpoint::Other));
    let body = r#"{"endpoints":[{"id":"ai","address":"a:443"}]}"#;
    installation.0.emulator.fault(Fault::body(body).on(Endpoint::Other));
    check(3, &[&list, "has no endpoint called iam"]);
    assert_eq!(installation.0.requests(), 0, "no JWT was sent");
}

#[test]
fn a_rejected_discovery_is_remembered_like_any_rejection() {
    let installation = Installation::new();
    installation.0.emulator.fault(Fault::refuse(403).on(Endpoint::Other));
    fails_with(installation.0.token(&[]).run(), 1, &["discovery"]);
    fails_with(installation.0.token(&[]).run(), 1, &["discovery", "remembered"]);
    assert_eq!(installation.requests(), (1, 0, 0));
}

#[test]
fn logout_of_all_deletes_the_discovered_address_and_counts_only_tokens() {
    let installation = Installation::new();
    installation.0.get();
    let run = installation.0.sandbox.ycred(["logout", "--all"]).run().exits(0).stderr_is_empty();
    assert!(run.stdout.contains(": deleted 1 cached token"), "{run}");
    installation.0.get();
    assert_eq!(installation.requests(), (2, 0, 2));
}

#[test]
fn a_discovered_and_a_configured_address_never_share_a_record() {
    let installation = Installation::new();
    let discovered = installation.0.get();
    let configured = installation
        .settings("key.json")
        .replace("\"discover\"", &format!("\"https://localhost:{}\"", installation.port()));
    installation.0.sandbox.profile("default", &configured);
    assert_ne!(installation.0.get(), discovered);
}

#[test]
fn an_iam_url_that_is_neither_a_url_nor_discover_is_rejected() {
    let installation = Installation::new();
    let wrong = installation.settings("key.json").replace("discover", "discovery");
    installation.0.sandbox.profile("default", &wrong);
    let expected = ["default.toml:5", "`iam-url` is not a URL such as https://"];
    fails_with_hint(installation.0.token(&[]).run(), 3, &expected, "\"discover\"");
}

#[test]
fn init_writes_a_profile_with_discovery() {
    let installation = Installation::new();
    let key = installation.0.sandbox.path("config/key.json");
    let endpoint = format!("localhost:{}", installation.port());
    let ca = installation.0.sandbox.path("config/ca.pem");
    let arguments = ["init", "new", "--endpoint", &endpoint, "--iam-url", "discover"];
    let files =
        [std::ffi::OsStr::new("--key-file"), key.as_os_str(), std::ffi::OsStr::new("--ca-file"), ca.as_os_str()];
    let arguments = arguments.map(std::ffi::OsStr::new);
    installation
        .0
        .sandbox
        .ycred(arguments.into_iter().chain(files))
        .run()
        .exits(0)
        .stderr_is_empty()
        .stdout_has("service account");
    assert_eq!(installation.requests(), (1, 0, 1));
}
