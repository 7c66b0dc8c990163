//! The same scenarios for every source, over TLS: first use, cache hit, renewal, cloud down, rejection and wrong clock.
//!
//! Every source is also tested as the base of impersonation.

use std::time::Duration;

use time::Duration as Span;

use crate::emulator::CREATE_FOR_SERVICE_ACCOUNT;
use crate::emulator::faults::{Endpoint, Fault};
use crate::expect::{fails_with, prints_token, prints_token_with_warning, token_on_stdout};
use crate::harness::waiting::HOUR;
use crate::sources::case::Case;
use crate::sources::workload::FILE;
use crate::sources::{SOURCES, Use};
use crate::world::World;

/// Runs every scenario, each with a new case.
#[track_caller]
fn check_lifecycle(make: impl Fn() -> Case) {
    check_renewal_and_recovery(&make());
    check_rejection(&make());
    for minutes in [-20, 20] {
        check_wrong_clock(&make(), minutes);
    }
}

/// First use, cache hits, a renewal, then a cloud that goes down and comes back.
#[track_caller]
fn check_renewal_and_recovery(case: &Case) {
    let World { emulator, .. } = &case.world;
    let first = case.get();
    assert_eq!((case.get(), case.get()), (first.clone(), first.clone()));
    case.assert_requests(1);
    case.world.age(11 * HOUR);
    let second = case.get();
    assert_ne!(second, first);
    assert_eq!(case.get(), second);
    case.assert_requests(2);
    // The cloud is down: the cached token is used while it is valid, with one warning and no immediate retry.
    emulator.fault(Fault::refuse(503).message("the test says no"));
    case.world.age(11 * HOUR);
    assert_eq!(prints_token_with_warning(case.call().run(), &["the cached token is used", "the test says no"]), second);
    let before = emulator.calls();
    assert_eq!(case.get(), second);
    assert_eq!(emulator.calls(), before);
    // The token has expired: the run fails.
    case.world.age(2 * HOUR);
    fails_with(case.call().run(), case.down, &["the test says no"]);
    let before = emulator.calls();
    fails_with(case.call().run(), case.down, &["the test says no", "remembered"]);
    assert_eq!(emulator.calls(), before);
    emulator.clear_faults();
    case.world.age(HOUR);
    assert_ne!(case.get(), second);
}

/// A rejection is reported at once with the cloud's message. The next run reports it from the cache.
#[track_caller]
fn check_rejection(case: &Case) {
    case.world.emulator.fault(Fault::refuse(403).message("the test says no"));
    fails_with(case.call().run(), 1, &["403", "the test says no"]);
    let before = case.world.emulator.calls();
    fails_with(case.call().run(), 1, &["the test says no", "remembered"]);
    assert_eq!(case.world.emulator.calls(), before);
    case.world.emulator.clear_faults();
    prints_token((case.call)(case.world.token(&["--force-refresh"])).run());
}

/// With a clock that is this many minutes off, tokens are cached and never used beyond their expiry.
#[track_caller]
fn check_wrong_clock(case: &Case, minutes: i64) {
    case.world.emulator.set(|settings| settings.clock_shift = Span::minutes(minutes));
    let token = match case.knows_time {
        true => prints_token_with_warning(
            case.call().run(),
            &["this machine's clock is 20 min", if minutes < 0 { "fast" } else { "slow" }],
        ),
        false => prints_token(case.call().run()),
    };
    assert!(case.world.emulator.is_live(&token));
    assert_eq!(case.get(), token);
    // A token that has expired by the cloud's clock is not returned.
    case.world.age(13 * HOUR);
    let run = case.call().run().exits(0);
    assert_ne!(token_on_stdout(&run), token);
}

#[test]
fn an_authorized_key_passes_every_scenario() {
    check_lifecycle(Use::of("authorized-key", "a key file").start);
}

#[test]
fn an_oauth_token_passes_every_scenario() {
    check_lifecycle(Use::of("oauth", "a token file").start);
}

#[test]
fn the_metadata_service_passes_every_scenario() {
    check_lifecycle(Use::of("metadata", "the metadata service").start);
}

#[test]
fn a_workload_with_a_file_passes_every_scenario() {
    check_lifecycle(Use::of("workload", "a file").start);
}

#[test]
fn a_workload_with_a_variable_passes_every_scenario() {
    check_lifecycle(Use::of("workload", "a variable").start);
}

#[test]
fn a_workload_with_a_command_passes_every_scenario() {
    check_lifecycle(Use::of("workload", "a command").start);
}

#[test]
fn a_workload_in_github_actions_passes_every_scenario() {
    check_lifecycle(Use::of("workload", "GitHub Actions").start);
}

#[test]
fn a_command_passes_every_scenario() {
    check_lifecycle(Use::of("command", "a command").start);
}

/// Covers new sources as soon as they have a row. Sources with their own test run in parallel.
#[test]
fn every_other_source_passes_every_scenario() {
    let tested = ["authorized-key", "oauth", "metadata", "workload", "command", "static"];
    for used in SOURCES.iter().filter(|source| !tested.contains(&source.name)).flat_map(|source| source.uses) {
        check_lifecycle(used.start);
    }
}

#[test]
fn an_account_impersonated_with_a_key_passes_every_scenario() {
    check_lifecycle(|| Case::authorized_key().impersonating());
}

#[test]
fn an_account_impersonated_by_a_workload_passes_every_scenario() {
    check_lifecycle(|| Case::workload(|_| FILE.to_owned()).impersonating());
}

#[test]
fn an_account_impersonated_by_a_virtual_machine_passes_every_scenario() {
    check_lifecycle(|| Case::metadata().impersonating());
}

#[test]
fn a_static_token_needs_no_cloud_and_is_never_cached() {
    let case = Case::fixed();
    case.world.emulator.fault(Fault::refuse(503));
    case.world.emulator.set(|settings| settings.clock_shift = Span::minutes(20));
    let token = case.get();
    assert_eq!(case.get(), token);
    let another = case.world.emulator.issue("ajestatic");
    assert_eq!(prints_token(case.call().env("MY_TOKEN", &another).run()), another, "never cached");
    fails_with(case.call().without("MY_TOKEN").run(), 3, &["default.toml", "MY_TOKEN", "not set"]);
    fails_with(case.call().env("MY_TOKEN", "two words").run(), 3, &["MY_TOKEN", "not a token"]);
    assert_eq!(case.world.emulator.calls(), 0);
}

/// For every source: each link of a chain is exchanged and cached separately, so many accounts need one base token.
#[test]
fn many_accounts_need_one_base_token_from_any_source() {
    for source in SOURCES {
        let (name, Some(used)) = (source.name, source.uses.last()) else { continue };
        let case = (used.start)();
        let emulator = &case.world.emulator;
        let shared = emulator.new_service_account();
        for number in 1..=3 {
            let account = emulator.new_service_account();
            case.write(&format!("impersonate = [\"{shared}\", \"{account}\"]\n"));
            let token = prints_token(case.call().run());
            assert_eq!(emulator.subject_of(&token), Some(account), "{name}");
            assert_eq!(prints_token(case.call().run()), token, "{name}");
            case.assert_requests(usize::from(case.asks.is_some()));
            assert_eq!(emulator.requests(CREATE_FOR_SERVICE_ACCOUNT), 1 + number, "{name}");
        }
        case.write("");
        case.get();
        case.assert_requests(usize::from(case.asks.is_some()));
        // A rejection inside a chain names its link and does not fetch the base token again.
        let last = emulator.new_service_account();
        case.write(&format!("impersonate = [\"{shared}\", \"{last}\"]\n"));
        emulator.fault(Fault::refuse(403).on(Endpoint::CreateForServiceAccount).message("the test says no"));
        fails_with(case.call().run(), 1, &[&last, "the test says no"]);
        case.assert_requests(usize::from(case.asks.is_some()));
    }
}

/// Includes sources that run a command: ycred kills the command in time.
#[test]
fn if_the_cloud_hangs_each_source_fails_at_its_deadline() {
    let started = SOURCES.iter().filter_map(|source| Some((source.uses.last()?.start)()));
    for case in started.filter(|case| case.asks.is_some()) {
        case.world.emulator.fault(Fault::slow(Duration::from_secs(300)));
        let call = (case.call)(case.world.token(&["--timeout", "2s"])).limit(Duration::from_secs(30));
        fails_with(call.run(), 4, &["profile default"]);
    }
}
