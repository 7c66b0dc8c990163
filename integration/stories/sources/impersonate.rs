//! Impersonation, on any source.

use crate::emulator::faults::{Endpoint, Fault};
use crate::emulator::log::{Presented, fingerprint};
use crate::emulator::{CREATE_FOR_SERVICE_ACCOUNT, Config, Impersonation};
use crate::expect::{handed, refused, refused_with_hint, warned};
use crate::harness::waiting::HOUR;
use crate::world::World;

/// A service account that the default profile's own may become.
fn steward(world: &World) -> String {
    let account = world.emulator.new_service_account();
    let callers = [world.key.service_account_id.clone()].into();
    world.emulator.set_impersonation(&account, Impersonation::By(callers));
    account
}

#[test]
fn impersonation_buys_the_token_of_another_account_with_ones_own() {
    let world = World::new();
    let account = steward(&world);
    world.configure(&format!("impersonate = \"{account}\""));
    let token = world.get();
    assert_eq!(world.emulator.subject_of(&token), Some(account.clone()));
    assert_eq!(world.get(), token);
    assert_eq!((world.requests(), world.emulator.requests(CREATE_FOR_SERVICE_ACCOUNT)), (1, 1));
    let own = world.emulator.tokens()[0].clone();
    let shown = Presented::Bearer { fingerprint: fingerprint(&own), service_account_id: Some(account) };
    assert_eq!(world.emulator.log()[1].presented, shown);
}

#[test]
fn the_base_of_impersonation_is_fetched_once_and_cached_apart() {
    let world = World::new();
    let (one, two) = (steward(&world), steward(&world));
    for (name, account) in [("one", &one), ("two", &two)] {
        world.sandbox.profile(name, &format!("{}impersonate = \"{account}\"\n", world.settings()));
    }
    let tokens = [&["-p", "one"][..], &["-p", "two"], &[]].map(|words| handed(world.token(words).run()));
    let subjects = tokens.clone().map(|token| world.emulator.subject_of(&token).expect("a subject"));
    assert_eq!(subjects, [one, two, world.key.service_account_id.clone()]);
    assert_eq!((world.requests(), world.emulator.requests(CREATE_FOR_SERVICE_ACCOUNT)), (1, 2));
    assert_eq!(world.records().len(), 3);
    let again = [&["-p", "one"][..], &["-p", "two"], &[]].map(|words| handed(world.token(words).run()));
    assert_eq!(again, tokens);
    assert_eq!(world.emulator.calls(), 3);
}

#[test]
fn a_chain_of_impersonations_is_gone_through_in_its_order() {
    let world = World::new();
    let first = steward(&world);
    let second = world.emulator.new_service_account();
    world.emulator.set_impersonation(&second, Impersonation::By([first.clone()].into()));
    world.configure(&format!("impersonate = [\"{first}\", \"{second}\"]"));
    let token = world.get();
    assert_eq!(world.emulator.subject_of(&token), Some(second.clone()));
    assert_eq!(world.get(), token);
    assert_eq!(world.emulator.calls(), 3);
    assert_eq!(world.records().len(), 3);
    world.configure(&format!("impersonate = [\"{second}\", \"{first}\"]"));
    refused(world.token(&[]).run(), 1, &[&second, "403", "Permission denied"]);
}

#[test]
fn a_forced_refresh_goes_through_the_whole_chain() {
    let world = World::new();
    let account = steward(&world);
    world.configure(&format!("impersonate = \"{account}\""));
    let old = world.get();
    let new = handed(world.token(&["--force-refresh"]).run());
    assert_ne!(new, old);
    assert_eq!((world.requests(), world.emulator.requests(CREATE_FOR_SERVICE_ACCOUNT)), (2, 2));
}

#[test]
fn a_base_that_has_been_revoked_is_had_anew_once() {
    let world = World::new();
    let (one, two) = (steward(&world), steward(&world));
    world.configure(&format!("impersonate = \"{one}\""));
    world.get();
    let base = world.emulator.tokens()[0].clone();
    assert!(world.emulator.revoke(&base));
    world.configure(&format!("impersonate = \"{two}\""));
    let token = world.get();
    assert_eq!(world.emulator.subject_of(&token), Some(two));
    assert_eq!((world.requests(), world.emulator.requests(CREATE_FOR_SERVICE_ACCOUNT)), (2, 3));
    // Where a new one is no better, that is the end of it.
    let three = steward(&world);
    world.configure(&format!("impersonate = \"{three}\""));
    world.emulator.fault(Fault::refuse(401).on(Endpoint::CreateForServiceAccount).message("Token is invalid"));
    refused_with_hint(
        world.token(&[]).run(),
        1,
        &[&three, "401", "Token is invalid"],
        "the cloud rejected the token of",
    );
    assert_eq!((world.requests(), world.emulator.requests(CREATE_FOR_SERVICE_ACCOUNT)), (3, 5));
    // Nor is another one asked for in place of one that has just been had.
    let cold = World::new();
    cold.configure(&format!("impersonate = \"{}\"", steward(&cold)));
    cold.emulator.fault(Fault::refuse(401).on(Endpoint::CreateForServiceAccount));
    refused(cold.token(&[]).run(), 1, &["401"]);
    assert_eq!((cold.requests(), cold.emulator.requests(CREATE_FOR_SERVICE_ACCOUNT)), (1, 1));
}

#[test]
fn who_may_not_impersonate_is_told_which_role_is_missing_on_which_account() {
    let world = World::new();
    let account = world.emulator.new_service_account_key().service_account_id;
    world.configure(&format!("impersonate = \"{account}\""));
    refused_with_hint(
        world.token(&[]).run(),
        1,
        &[&account, "403", "PERMISSION_DENIED"],
        "the role iam.serviceAccounts.tokenCreator",
    );
    refused(world.token(&[]).run(), 1, &["remembered"]);
    assert_eq!(world.emulator.calls(), 2);
}

#[test]
fn when_the_base_is_refused_its_reason_is_told_and_the_account_not_asked_for() {
    let world = World::new();
    let account = steward(&world);
    world.configure(&format!("impersonate = \"{account}\""));
    world.emulator.fault(Fault::refuse(401).on(Endpoint::Tokens).message("key deleted"));
    refused(world.token(&[]).run(), 1, &["key deleted"]);
    assert_eq!(world.emulator.requests(CREATE_FOR_SERVICE_ACCOUNT), 0);
}

#[test]
fn when_the_base_is_refused_the_usable_token_of_the_account_is_handed_out_with_a_warning() {
    let world = World::new();
    let account = steward(&world);
    world.configure(&format!("impersonate = \"{account}\""));
    let token = world.get();
    world.age(11 * HOUR);
    world.emulator.fault(Fault::refuse(401).on(Endpoint::CreateForServiceAccount).message("Token is invalid"));
    assert_eq!(warned(world.token(&[]).run(), &["the cached token is used", "Token is invalid"]), token);
    assert_eq!(world.get(), token);
    assert_eq!(world.emulator.requests(CREATE_FOR_SERVICE_ACCOUNT), 2);
}

#[test]
fn a_static_token_is_not_cached_but_what_it_buys_is() {
    let world = World::bare(Config::default());
    let account = world.emulator.new_service_account();
    let settings = format!(
        "source = \"static\"\ntoken-env = \"MY_TOKEN\"\niam-url = \"{}\"\nimpersonate = \"{account}\"\n",
        world.emulator.url()
    );
    world.sandbox.profile("default", &settings);
    let (one, two) = (world.emulator.issue("ajeone"), world.emulator.issue("ajetwo"));
    let call = |token: &str| handed(world.token(&[]).env("MY_TOKEN", token).run());
    let first = call(&one);
    assert_eq!(call(&one), first);
    assert_eq!(world.emulator.calls(), 1);
    assert_ne!(call(&two), first, "another caller never gets it");
    assert_eq!(world.emulator.calls(), 2);
    assert!(world.emulator.revoke(&one));
    world.emulator.clear_log();
    let run = world.token(&["--force-refresh"]).env("MY_TOKEN", &one).run();
    refused_with_hint(run, 1, &[&account, "401"], "replace the token where the profile reads it");
    assert_eq!(world.emulator.calls(), 1, "the same token is not shown twice");
}

#[test]
fn an_impersonated_account_must_look_like_one() {
    let world = World::new();
    for bad in ["", "a b", "aje/../x", &"a".repeat(51)] {
        world.configure(&format!("impersonate = \"{bad}\""));
        refused(world.token(&[]).run(), 3, &["default.toml:4", "impersonate"]);
    }
    assert_eq!(world.emulator.calls(), 0);
}
