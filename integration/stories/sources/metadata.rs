//! Source `metadata`.

use std::time::Duration;

use crate::emulator::faults::{Fault, TokenForm};
use crate::emulator::log::Presented;
use crate::emulator::{Config, Emulator, METADATA};
use crate::expect::{fails_with, fails_with_hint, prints_token};
use crate::harness::Sandbox;
use crate::harness::machine::in_own_network;
use crate::harness::waiting::HOUR;
use crate::world::World;

/// A virtual machine with an account attached.
fn virtual_machine() -> World {
    let world = World::without_profile(Config::default());
    world.emulator.attach(Some("ajeofthemachine00000"));
    let settings = format!("source = \"metadata\"\nmetadata-addr = \"{}\"\n", world.emulator.metadata_addr());
    world.sandbox.profile("default", &settings);
    world
}

#[test]
fn the_metadata_service_returns_the_token_of_the_machines_account() {
    let world = virtual_machine();
    for form in [TokenForm::T1, TokenForm::Old] {
        world.emulator.set(|settings| settings.token_form = form);
        let token = prints_token(world.token(&["--force-refresh"]).run());
        assert_eq!(world.emulator.subject_of(&token).as_deref(), Some("ajeofthemachine00000"), "{form:?}");
        assert_eq!(world.get(), token);
    }
    assert_eq!(world.emulator.requests(METADATA), 2);
    assert!(world.emulator.log().iter().all(|entry| entry.presented == Presented::MetadataFlavor));
}

#[test]
fn metadata_requests_never_use_a_proxy() {
    let mut world = virtual_machine();
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        world.sandbox.set(name, "http://127.0.0.1:1");
    }
    world.get();
}

#[test]
fn a_changed_account_of_a_virtual_machine_is_noticed_after_a_minute() {
    let world = virtual_machine();
    let old = world.get();
    world.emulator.attach(Some("ajeafter000000000000"));
    assert_eq!(world.get(), old);
    assert_eq!(world.emulator.requests(METADATA), 1);
    world.age(Duration::from_secs(61));
    // The new token is used even if it expires earlier than the old one.
    world.emulator.fault(Fault::short_life(HOUR).times(1));
    let new = world.get();
    assert_eq!(world.emulator.subject_of(&new).as_deref(), Some("ajeafter000000000000"));
    assert_eq!(world.get(), new);
    assert_eq!(world.emulator.requests(METADATA), 2);
}

#[test]
fn a_virtual_machine_without_an_account_is_an_error_with_a_hint() {
    let world = virtual_machine();
    world.emulator.attach(None);
    fails_with_hint(world.token(&[]).run(), 1, &["metadata", "404"], "yc compute instance update");
    assert_eq!(world.emulator.requests(METADATA), 1);
}

#[test]
fn if_no_metadata_service_responds_the_hint_asks_whether_this_is_a_virtual_machine() {
    let world = World::without_profile(Config::default());
    let gone = crate::server::Server::start(None, |_| crate::server::Response::new(404)).address();
    world.sandbox.profile("default", &format!("source = \"metadata\"\nmetadata-addr = \"{gone}\"\n"));
    fails_with_hint(world.token(&[]).run(), 4, &["metadata", &gone.to_string()], "outside a Yandex Cloud VM");
}

#[test]
fn the_metadata_address_is_limited_to_link_local_and_loopback() {
    let world = World::without_profile(Config::default());
    for address in ["example.com", "10.0.0.1", "169.254.169.253:80"] {
        world.sandbox.profile("default", &format!("source = \"metadata\"\nmetadata-addr = \"{address}\"\n"));
        fails_with(world.token(&[]).run(), 3, &["default.toml:2", "metadata-addr", address]);
    }
    for address in ["http://127.0.0.1", "127.0.0.1/x", "u@127.0.0.1", ""] {
        world.sandbox.profile("default", &format!("source = \"metadata\"\nmetadata-addr = \"{address}\"\n"));
        fails_with(world.token(&[]).run(), 3, &["default.toml:2", "metadata-addr"]);
    }
}

#[test]
fn by_default_the_usual_metadata_address_is_used() {
    in_own_network(&["169.254.169.254/32"], || {
        let address = "169.254.169.254:80".parse().expect("an address");
        let emulator = Emulator::start(Config { metadata_address: address, ..Config::default() });
        emulator.attach(Some("ajeofthemachine00000"));
        let sandbox = Sandbox::new();
        sandbox.profile("default", "source = \"metadata\"\n");
        let token = prints_token(sandbox.ycred(["token"]).run());
        assert_eq!(emulator.subject_of(&token).as_deref(), Some("ajeofthemachine00000"));
        assert_eq!(emulator.requests(METADATA), 1);
    });
}

#[test]
fn the_variable_overrides_the_default_metadata_address_but_not_the_setting() {
    let world = virtual_machine();
    let unreachable = "127.0.0.1:1";
    prints_token(world.token(&[]).env("YC_METADATA_ADDR", unreachable).run());
    world.sandbox.profile("default", "source = \"metadata\"\n");
    prints_token(world.token(&[]).env("YC_METADATA_ADDR", world.emulator.metadata_addr()).run());
    // The address selects the same identity, whether set in the profile or by the variable.
    assert_eq!(world.emulator.requests(METADATA), 1);
}
