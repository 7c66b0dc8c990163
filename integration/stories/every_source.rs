//! Every source through its whole life, by TLS: first use, cached, renewed, the cloud down, refused, a clock that is off;
//! and every source as the base of impersonation.

use std::time::Duration;

use time::Duration as Span;

use crate::emulator::CREATE_FOR_SERVICE_ACCOUNT;
use crate::emulator::faults::{Endpoint, Fault};
use crate::expect::{handed, one_token, refused, warned};
use crate::harness::waiting::HOUR;
use crate::sources::case::Case;
use crate::sources::workload::FILE;
use crate::sources::{SOURCES, Use};
use crate::world::World;

#[track_caller]
fn lives(make: impl Fn() -> Case) {
    is_used_renewed_and_recovers(&make());
    is_refused(&make());
    for minutes in [-20, 20] {
        bears_a_clock_that_is_off(&make(), minutes);
    }
}

/// First use, cached, renewed, the cloud down, up again.
#[track_caller]
fn is_used_renewed_and_recovers(case: &Case) {
    let World { emulator, .. } = &case.world;
    let first = case.get();
    assert_eq!((case.get(), case.get()), (first.clone(), first.clone()));
    case.has_asked(1);
    case.world.age(11 * HOUR);
    let second = case.get();
    assert_ne!(second, first);
    assert_eq!(case.get(), second);
    case.has_asked(2);
    // The cloud is down: the cached token serves while it lives, with a word, and nobody asks again at once.
    emulator.fault(Fault::refuse(503).message("the test says no"));
    case.world.age(11 * HOUR);
    assert_eq!(warned(case.call().run(), &["the cached token is used", "the test says no"]), second);
    let asked = emulator.calls();
    assert_eq!(case.get(), second);
    assert_eq!(emulator.calls(), asked);
    // It is dead: nothing serves.
    case.world.age(2 * HOUR);
    refused(case.call().run(), case.down, &["the test says no"]);
    let asked = emulator.calls();
    refused(case.call().run(), case.down, &["the test says no", "remembered"]);
    assert_eq!(emulator.calls(), asked);
    emulator.clear_faults();
    case.world.age(HOUR);
    assert_ne!(case.get(), second);
}

/// Refused: at once, once, in the cloud's words, and from then on from memory.
#[track_caller]
fn is_refused(case: &Case) {
    case.world.emulator.fault(Fault::refuse(403).message("the test says no"));
    refused(case.call().run(), 1, &["403", "the test says no"]);
    let asked = case.world.emulator.calls();
    refused(case.call().run(), 1, &["the test says no", "remembered"]);
    assert_eq!(case.world.emulator.calls(), asked);
    case.world.emulator.clear_faults();
    handed((case.call)(case.world.token(&["--force-refresh"])).run());
}

#[track_caller]
fn bears_a_clock_that_is_off(case: &Case, minutes: i64) {
    case.world.emulator.set(|settings| settings.clock_shift = Span::minutes(minutes));
    let token = match case.knows_time {
        true => {
            warned(case.call().run(), &["this machine's clock is 20 min", if minutes < 0 { "fast" } else { "slow" }])
        }
        false => handed(case.call().run()),
    };
    assert!(case.world.emulator.is_live(&token));
    assert_eq!(case.get(), token);
    // Once it is dead for the cloud, it is not served.
    case.world.age(13 * HOUR);
    let run = case.call().run().exits(0);
    assert_ne!(one_token(&run), token);
}

#[test]
fn an_authorized_key() {
    lives(Use::of("authorized-key", "a key file").start);
}

#[test]
fn an_oauth_token() {
    lives(Use::of("oauth", "a token file").start);
}

#[test]
fn the_metadata_service() {
    lives(Use::of("metadata", "the metadata service").start);
}

#[test]
fn a_workload_with_a_file() {
    lives(Use::of("workload", "a file").start);
}

#[test]
fn a_workload_with_a_variable() {
    lives(Use::of("workload", "a variable").start);
}

#[test]
fn a_workload_with_a_command() {
    lives(Use::of("workload", "a command").start);
}

#[test]
fn a_workload_in_github_actions() {
    lives(Use::of("workload", "GitHub Actions").start);
}

#[test]
fn a_command() {
    lives(Use::of("command", "a command").start);
}

/// A source is tested as soon as it has a row; those with a test of their own run beside each other.
#[test]
fn every_source_without_a_test_of_its_own() {
    let have_one = ["authorized-key", "oauth", "metadata", "workload", "command", "static"];
    for used in SOURCES.iter().filter(|source| !have_one.contains(&source.name)).flat_map(|source| source.uses) {
        lives(used.start);
    }
}

#[test]
fn an_account_that_a_key_impersonates() {
    lives(|| Case::authorized_key().impersonating());
}

#[test]
fn an_account_that_a_workload_impersonates() {
    lives(|| Case::workload(|_| FILE.to_owned()).impersonating());
}

#[test]
fn an_account_that_a_machine_impersonates() {
    lives(|| Case::metadata().impersonating());
}

#[test]
fn a_static_token_needs_no_cloud_and_is_as_old_as_it_is() {
    let case = Case::fixed();
    case.world.emulator.fault(Fault::refuse(503));
    case.world.emulator.set(|settings| settings.clock_shift = Span::minutes(20));
    let token = case.get();
    assert_eq!(case.get(), token);
    let another = case.world.emulator.issue("ajestatic");
    assert_eq!(handed(case.call().env("MY_TOKEN", &another).run()), another, "never cached");
    refused(case.call().without("MY_TOKEN").run(), 3, &["default.toml", "MY_TOKEN", "not set"]);
    refused(case.call().env("MY_TOKEN", "two words").run(), 3, &["MY_TOKEN", "no token"]);
    assert_eq!(case.world.emulator.calls(), 0);
}

/// On any source: each link of a chain is bought and kept by itself, so that many accounts cost one token of the base.
#[test]
fn many_accounts_cost_one_token_of_the_base_whatever_that_is() {
    for source in SOURCES {
        let (name, Some(used)) = (source.name, source.uses.last()) else { continue };
        let case = (used.start)();
        let emulator = &case.world.emulator;
        let shared = emulator.new_service_account();
        for number in 1..=3 {
            let account = emulator.new_service_account();
            case.write(&format!("impersonate = [\"{shared}\", \"{account}\"]\n"));
            let token = handed(case.call().run());
            assert_eq!(emulator.subject_of(&token), Some(account), "{name}");
            assert_eq!(handed(case.call().run()), token, "{name}");
            case.has_asked(usize::from(case.asks.is_some()));
            assert_eq!(emulator.requests(CREATE_FOR_SERVICE_ACCOUNT), 1 + number, "{name}");
        }
        case.write("");
        case.get();
        case.has_asked(usize::from(case.asks.is_some()));
        // A refusal in the midst of a chain is told with its link, and does not cost the base again.
        let last = emulator.new_service_account();
        case.write(&format!("impersonate = [\"{shared}\", \"{last}\"]\n"));
        emulator.fault(Fault::refuse(403).on(Endpoint::CreateForServiceAccount).message("the test says no"));
        refused(case.call().run(), 1, &[&last, "the test says no"]);
        case.has_asked(usize::from(case.asks.is_some()));
    }
}

/// What a program makes of the cloud's deadline: it is killed in time for our own.
#[test]
fn a_cloud_that_hangs_ends_each_source_with_its_deadline() {
    let started = SOURCES.iter().filter_map(|source| Some((source.uses.last()?.start)()));
    for case in started.filter(|case| case.asks.is_some()) {
        case.world.emulator.fault(Fault::slow(Duration::from_secs(300)));
        let call = (case.call)(case.world.token(&["--timeout", "2s"])).limit(Duration::from_secs(30));
        refused(call.run(), 4, &["profile default"]);
    }
}
