//! Credentials from environment variables, without a profile.

use serde_json::json;

use crate::emulator::keys::Ends;
use crate::emulator::{CREATE_FOR_SERVICE_ACCOUNT, Config, Emulator, Tls};
use crate::expect::{fails_with, fails_with_hint, prints_token, prints_token_with_warning};
use crate::harness::machine::in_own_network;
use crate::harness::{Call, Sandbox};
use crate::stories::tunnel::Tunnel;
use crate::world::World;

/// A machine without profiles, on which the cloud's real host names lead to the emulator.
struct MachineWithoutProfiles {
    world: World,
    _tunnel: Tunnel,
}

impl MachineWithoutProfiles {
    fn new(names: &[&str]) -> MachineWithoutProfiles {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        let mut world = World::without_profile(Config { names, ..Config::with_tls(Tls::Good) });
        let tunnel = Tunnel::to(&world.emulator);
        let ca = world.sandbox.file("tmp/ca.pem", world.emulator.ca_pem());
        world.sandbox.set("HTTPS_PROXY", tunnel.url()).set("SSL_CERT_FILE", ca);
        MachineWithoutProfiles { world, _tunnel: tunnel }
    }

    fn subject(&self, call: Call) -> String {
        let token = prints_token(call.run());
        self.world.emulator.subject_of(&token).expect("a subject")
    }
}

#[test]
fn without_a_profile_the_variables_are_used_in_the_documented_order() {
    let machine = MachineWithoutProfiles::new(&["iam.api.cloud.yandex.net"]);
    let World { emulator, sandbox, key } = &machine.world;
    emulator.attach(Some("ajeofthemachine00000"));
    let (oauth, user) = emulator.new_oauth();
    let (other_oauth, other_user) = emulator.new_oauth();
    let key_file = sandbox.path("config/key.json").into_os_string().into_string().expect("UTF-8");
    let ranked = [
        ("YC_IAM_TOKEN", emulator.issue("ajestatic"), "ajestatic".to_owned()),
        ("YC_SERVICE_ACCOUNT_KEY_FILE", key_file, key.service_account_id.clone()),
        ("YC_TOKEN", oauth, user),
        ("YC_OAUTH_TOKEN", other_oauth, other_user),
        ("YC_METADATA_ADDR", emulator.metadata_addr(), "ajeofthemachine00000".to_owned()),
    ];
    for first in 0..ranked.len() {
        let call = ranked[first..]
            .iter()
            .fold(sandbox.ycred(["token"]), |call, (name, value, _)| call.env(name, value.as_str()));
        assert_eq!(machine.subject(call), ranked[first].2, "expected {} to win", ranked[first].0);
    }
    assert_eq!(emulator.calls(), 4, "YC_IAM_TOKEN needs no request, the others one each");
}

#[test]
fn a_yc_token_variable_may_contain_an_iam_token() {
    let sandbox = Sandbox::new();
    sandbox.ycred(["token"]).env("YC_TOKEN", "t1.a.b").run().exits(0).stderr_is_empty().stdout_is("t1.a.b\n");
    assert!(!sandbox.path("cache").exists(), "never cached");
}

#[test]
fn the_key_variable_holds_a_path_or_the_json_itself() {
    let machine = MachineWithoutProfiles::new(&["iam.api.cloud.yandex.net"]);
    let World { emulator, sandbox, key } = &machine.world;
    for value in [key.file().json(), key.file().ends(Ends::Literal).json(), format!("  \n{}", key.file().json())] {
        let call = sandbox.ycred(["token"]).env("YC_SERVICE_ACCOUNT_KEY_FILE", &value);
        assert_eq!(machine.subject(call.clone()), key.service_account_id);
        assert_eq!(machine.subject(call), key.service_account_id);
    }
    assert_eq!(emulator.calls(), 3);
    let relative = sandbox.ycred(["token"]).env("YC_SERVICE_ACCOUNT_KEY_FILE", "key.json");
    assert_eq!(machine.subject(relative.within(sandbox.path("config"))), key.service_account_id);
}

#[test]
fn a_relative_key_file_in_two_directories_has_two_identities() {
    let machine = MachineWithoutProfiles::new(&["iam.api.cloud.yandex.net"]);
    let World { emulator, sandbox, .. } = &machine.world;
    let accounts = ["a", "b"].map(|name| {
        let key = emulator.new_service_account_key();
        sandbox.file(format!("tmp/{name}/key.json"), key.file().json());
        key.service_account_id
    });
    for _ in 0..3 {
        for (name, account) in ["a", "b"].iter().zip(&accounts) {
            let call = sandbox.ycred(["token"]).env("YC_SERVICE_ACCOUNT_KEY_FILE", "key.json");
            assert_eq!(machine.subject(call.within(sandbox.path("tmp").join(name))), *account);
        }
    }
    assert_eq!(emulator.calls(), 2, "one request for each account");
}

#[test]
fn the_endpoint_and_impersonation_can_be_set_by_variables() {
    let machine = MachineWithoutProfiles::new(&["iam.api.example.test"]);
    let World { emulator, sandbox, key } = &machine.world;
    let account = emulator.new_service_account();
    let call = sandbox
        .ycred(["token"])
        .env("YC_SERVICE_ACCOUNT_KEY_FILE", sandbox.path("config/key.json"))
        .env("YC_ENDPOINT", "api.example.test:443");
    assert_eq!(machine.subject(call.clone()), key.service_account_id);
    assert_eq!(machine.subject(call.env("YCRED_IMPERSONATE", &account)), account);
    assert_eq!((machine.world.requests(), emulator.requests(CREATE_FOR_SERVICE_ACCOUNT)), (1, 1));
}

#[test]
fn tokens_in_variables_never_override_a_profile() {
    let mut world = World::new();
    world.profile("prod", "");
    world.sandbox.set("YC_IAM_TOKEN", "t1.of-the.environment").set("YC_METADATA_ADDR", "127.0.0.1:1");
    for arguments in [&[][..], &["-p", "prod"]] {
        let token = prints_token(world.token(arguments).run());
        assert!(world.emulator.subject_of(&token).is_some(), "{arguments:?}");
    }
    world.sandbox.profile("default", "source = 1\n");
    fails_with(world.token(&[]).run(), 3, &["default.toml:1"]);
}

#[test]
fn without_any_credentials_one_error_lists_the_variables_and_metadata_is_not_probed() {
    in_own_network(&["169.254.169.254/32"], || {
        let address = "169.254.169.254:80".parse().expect("an address");
        let emulator = Emulator::start(Config { metadata_address: address, ..Config::default() });
        emulator.attach(Some("ajeofthemachine00000"));
        let sandbox = Sandbox::new();
        let ways = [
            "YC_IAM_TOKEN",
            "YC_SERVICE_ACCOUNT_KEY_FILE",
            "YC_TOKEN",
            "YC_OAUTH_TOKEN",
            "YCRED_SERVICE_ACCOUNT_ID",
            "YC_METADATA_ADDR",
        ];
        fails_with_hint(sandbox.ycred(["token"]).run(), 3, &ways, "ycred init");
        assert_eq!(emulator.metadata_server().connections(), 0);
    });
}

#[test]
fn an_iam_token_of_unknown_expiry_is_returned_with_a_warning_below_min_ttl() {
    let sandbox = Sandbox::new();
    let call =
        |arguments: &[&str]| sandbox.ycred(["token"].iter().chain(arguments)).env("YC_IAM_TOKEN", "t1.a.b").run();
    assert_eq!(
        prints_token_with_warning(
            call(&["--min-ttl", "1h"]),
            &["the token's expiry is unknown, so it may expire sooner than the requested 1h"]
        ),
        "t1.a.b"
    );
    let json = call(&["--format", "json"]).exits(0).stderr_is_empty().stdout;
    let reply: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(reply["iam_token"], json!("t1.a.b"));
}
