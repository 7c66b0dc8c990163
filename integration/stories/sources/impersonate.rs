//! Impersonation of service accounts.

use crate::emulator::faults::{Endpoint, Fault};
use crate::emulator::log::{Presented, fingerprint};
use crate::emulator::{CREATE_FOR_SERVICE_ACCOUNT, Config, Impersonation};
use crate::expect::{fails_with, fails_with_hint, prints_token, prints_token_with_warning};
use crate::harness::waiting::HOUR;
use crate::world::World;

/// A new service account that the default profile's account may impersonate.
fn impersonable_account(world: &World) -> String {
    let account = world.emulator.new_service_account();
    let callers = [world.key.service_account_id.clone()].into();
    world.emulator.set_impersonation(&account, Impersonation::By(callers));
    account
}

#[test]
fn impersonation_exchanges_the_base_token_for_the_accounts_token() {
    let world = World::new();
    let account = impersonable_account(&world);
    world.configure(&format!("impersonate = \"{account}\""));
    let token = world.get();
    assert_eq!(world.emulator.subject_of(&token), Some(account.clone()));
    assert_eq!(world.get(), token);
    assert_eq!((world.requests(), world.emulator.requests(CREATE_FOR_SERVICE_ACCOUNT)), (1, 1));
    let base = world.emulator.tokens()[0].clone();
    let expected = Presented::Bearer { fingerprint: fingerprint(&base), service_account_id: Some(account) };
    assert_eq!(world.emulator.log()[1].presented, expected);
}

#[test]
fn the_base_token_is_fetched_once_and_cached_separately() {
    let world = World::new();
    let (one, two) = (impersonable_account(&world), impersonable_account(&world));
    for (name, account) in [("one", &one), ("two", &two)] {
        world.sandbox.profile(name, &format!("{}impersonate = \"{account}\"\n", world.settings()));
    }
    let tokens = [&["-p", "one"][..], &["-p", "two"], &[]].map(|arguments| prints_token(world.token(arguments).run()));
    let subjects = tokens.clone().map(|token| world.emulator.subject_of(&token).expect("a subject"));
    assert_eq!(subjects, [one, two, world.key.service_account_id.clone()]);
    assert_eq!((world.requests(), world.emulator.requests(CREATE_FOR_SERVICE_ACCOUNT)), (1, 2));
    assert_eq!(world.records().len(), 3);
    let again = [&["-p", "one"][..], &["-p", "two"], &[]].map(|arguments| prints_token(world.token(arguments).run()));
    assert_eq!(again, tokens);
    assert_eq!(world.emulator.calls(), 3);
}

#[test]
fn a_chain_of_impersonations_is_followed_in_order() {
    let world = World::new();
    let first = impersonable_account(&world);
    let second = world.emulator.new_service_account();
    world.emulator.set_impersonation(&second, Impersonation::By([first.clone()].into()));
    world.configure(&format!("impersonate = [\"{first}\", \"{second}\"]"));
    let token = world.get();
    assert_eq!(world.emulator.subject_of(&token), Some(second.clone()));
    assert_eq!(world.get(), token);
    assert_eq!(world.emulator.calls(), 3);
    assert_eq!(world.records().len(), 3);
    world.configure(&format!("impersonate = [\"{second}\", \"{first}\"]"));
    fails_with(world.token(&[]).run(), 1, &[&second, "403", "Permission denied"]);
}

#[test]
fn a_forced_refresh_renews_the_whole_chain() {
    let world = World::new();
    let account = impersonable_account(&world);
    world.configure(&format!("impersonate = \"{account}\""));
    let old = world.get();
    let new = prints_token(world.token(&["--force-refresh"]).run());
    assert_ne!(new, old);
    assert_eq!((world.requests(), world.emulator.requests(CREATE_FOR_SERVICE_ACCOUNT)), (2, 2));
}

#[test]
fn a_revoked_base_token_is_fetched_again_once() {
    let world = World::new();
    let (one, two) = (impersonable_account(&world), impersonable_account(&world));
    world.configure(&format!("impersonate = \"{one}\""));
    world.get();
    let base = world.emulator.tokens()[0].clone();
    assert!(world.emulator.revoke(&base));
    world.configure(&format!("impersonate = \"{two}\""));
    let token = world.get();
    assert_eq!(world.emulator.subject_of(&token), Some(two));
    assert_eq!((world.requests(), world.emulator.requests(CREATE_FOR_SERVICE_ACCOUNT)), (2, 3));
    // If the new base token is rejected too, there is no further attempt.
    let three = impersonable_account(&world);
    world.configure(&format!("impersonate = \"{three}\""));
    world.emulator.fault(Fault::refuse(401).on(Endpoint::CreateForServiceAccount).message("Token is invalid"));
    fails_with_hint(world.token(&[]).run(), 1, &[&three, "401", "Token is invalid"], "the cloud rejected the token of");
    assert_eq!((world.requests(), world.emulator.requests(CREATE_FOR_SERVICE_ACCOUNT)), (3, 5));
    // A base token that was just fetched is not replaced.
    let cold = World::new();
    cold.configure(&format!("impersonate = \"{}\"", impersonable_account(&cold)));
    cold.emulator.fault(Fault::refuse(401).on(Endpoint::CreateForServiceAccount));
    fails_with(cold.token(&[]).run(), 1, &["401"]);
    assert_eq!((cold.requests(), cold.emulator.requests(CREATE_FOR_SERVICE_ACCOUNT)), (1, 1));
}

#[test]
fn a_denied_impersonation_is_reported_with_account_and_missing_role() {
    let world = World::new();
    let account = world.emulator.new_service_account_key().service_account_id;
    world.configure(&format!("impersonate = \"{account}\""));
    fails_with_hint(
        world.token(&[]).run(),
        1,
        &[&account, "403", "PERMISSION_DENIED"],
        "the role iam.serviceAccounts.tokenCreator",
    );
    fails_with(world.token(&[]).run(), 1, &["remembered"]);
    assert_eq!(world.emulator.calls(), 2);
}

#[test]
fn if_the_base_is_rejected_its_error_is_reported_and_no_account_token_is_requested() {
    let world = World::new();
    let account = impersonable_account(&world);
    world.configure(&format!("impersonate = \"{account}\""));
    world.emulator.fault(Fault::refuse(401).on(Endpoint::Tokens).message("key deleted"));
    fails_with(world.token(&[]).run(), 1, &["key deleted"]);
    assert_eq!(world.emulator.requests(CREATE_FOR_SERVICE_ACCOUNT), 0);
}

#[test]
fn if_the_base_token_is_rejected_the_accounts_valid_token_is_used_with_a_warning() {
    let world = World::new();
    let account = impersonable_account(&world);
    world.configure(&format!("impersonate = \"{account}\""));
    let token = world.get();
    world.age(11 * HOUR);
    world.emulator.fault(Fault::refuse(401).on(Endpoint::CreateForServiceAccount).message("Token is invalid"));
    assert_eq!(
        prints_token_with_warning(world.token(&[]).run(), &["the cached token is used", "Token is invalid"]),
        token
    );
    assert_eq!(world.get(), token);
    assert_eq!(world.emulator.requests(CREATE_FOR_SERVICE_ACCOUNT), 2);
}

#[test]
fn a_static_token_is_not_cached_but_the_accounts_token_is() {
    let world = World::without_profile(Config::default());
    let account = world.emulator.new_service_account();
    let settings = format!(
        "source = \"static\"\ntoken-env = \"MY_TOKEN\"\niam-url = \"{}\"\nimpersonate = \"{account}\"\n",
        world.emulator.url()
    );
    world.sandbox.profile("default", &settings);
    let (one, two) = (world.emulator.issue("ajeone"), world.emulator.issue("ajetwo"));
    let call = |token: &str| prints_token(world.token(&[]).env("MY_TOKEN", token).run());
    let first = call(&one);
    assert_eq!(call(&one), first);
    assert_eq!(world.emulator.calls(), 1);
    assert_ne!(call(&two), first, "another caller must get its own token");
    assert_eq!(world.emulator.calls(), 2);
    assert!(world.emulator.revoke(&one));
    world.emulator.clear_log();
    let run = world.token(&["--force-refresh"]).env("MY_TOKEN", &one).run();
    fails_with_hint(run, 1, &[&account, "401"], "replace the token where the profile reads it");
    assert_eq!(world.emulator.calls(), 1, "the same token must not be sent twice");
}

#[test]
fn an_invalid_account_id_is_rejected() {
    let world = World::new();
    for bad in ["", "a b", "aje/../x", &"a".repeat(51)] {
        world.configure(&format!("impersonate = \"{bad}\""));
        fails_with(world.token(&[]).run(), 3, &["default.toml:4", "impersonate"]);
    }
    assert_eq!(world.emulator.calls(), 0);
}
