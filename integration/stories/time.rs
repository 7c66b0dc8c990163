//! Wrong clocks, and token lifetimes of every length (F33 to F41).

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use time::Duration as Span;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::emulator::faults::{Endpoint, Fault};
use crate::emulator::{Config, METADATA, TOKENS};
use crate::expect::{fails_with, prints_token, prints_token_with_warning, token_on_stdout};
use crate::harness::Run;
use crate::harness::waiting::{HOUR, MINUTE};
use crate::server::Response;
use crate::world::{World, shift};

/// The expiry in the output of `--format json`, in seconds since 1970.
#[track_caller]
fn advertised(run: &Run) -> i64 {
    let reply: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{run}"));
    let timestamp = reply["expires_at"].as_str().unwrap_or_else(|| panic!("no expiry\n{run}"));
    assert!(timestamp.len() == 20 && timestamp.ends_with('Z'), "expected whole seconds and Z: {timestamp}");
    OffsetDateTime::parse(timestamp, &Rfc3339).unwrap_or_else(|error| panic!("{error}: {timestamp}")).unix_timestamp()
}

/// Seconds since 1970, rounded up from milliseconds like the timestamps of ycred.
fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis().div_ceil(1000)).expect("a moment")
}

fn world_with_clock_shift(minutes: i64) -> World {
    let world = World::new();
    world.emulator.set(|settings| settings.clock_shift = Span::minutes(minutes));
    world
}

// -------------------------------------------------------------------------------------------------------- wrong clocks

#[test]
fn with_a_slow_clock_a_token_is_fetched_with_one_warning() {
    let world = world_with_clock_shift(10);
    let token = prints_token_with_warning(world.token(&[]).run(), &["this machine's clock is 10 min slow"]);
    assert!(world.emulator.is_live(&token));
    assert_eq!(world.requests(), 1, "a ten-minute-old JWT is still accepted");
    assert_eq!(world.get(), token, "a hit prints no warning");
}

#[test]
fn if_a_slow_clock_makes_the_jwt_expired_it_is_signed_again_with_the_clouds_time() {
    let world = world_with_clock_shift(20);
    let token = prints_token_with_warning(world.token(&[]).run(), &["this machine's clock is 20 min slow"]);
    assert!(world.emulator.is_live(&token));
    let statuses: Vec<_> = world.emulator.log().iter().map(|entry| entry.status).collect();
    assert_eq!(statuses, [Some(401), Some(200)]);
    assert_eq!(world.get(), token);
    assert_eq!(world.requests(), 2);
}

#[test]
fn if_a_fast_clock_dates_the_jwt_in_the_future_it_is_signed_again_with_the_clouds_time() {
    for minutes in [10, 20] {
        let world = world_with_clock_shift(-minutes);
        let expected = format!("this machine's clock is {minutes} min fast");
        let token = prints_token_with_warning(world.token(&[]).run(), &[&expected]);
        assert!(world.emulator.is_live(&token));
        let statuses: Vec<_> = world.emulator.log().iter().map(|entry| entry.status).collect();
        assert_eq!(statuses, [Some(401), Some(200)]);
        assert_eq!(world.get(), token);
    }
}

#[test]
fn a_rejection_with_a_wrong_clock_is_retried_exactly_once() {
    let world = world_with_clock_shift(20);
    world.emulator.delete_key(&world.key.id);
    fails_with(world.token(&[]).run(), 1, &["401", "does not exist"]);
    assert_eq!(world.requests(), 2);
}

#[test]
fn a_wrong_date_header_does_no_harm_if_the_clocks_agree() {
    for minutes in [-20, -10, 10, 20] {
        let world = World::new();
        world.emulator.set(|settings| settings.date_shift = Span::minutes(minutes));
        let token = prints_token_with_warning(world.token(&[]).run(), &["this machine's clock is", "min"]);
        assert!(world.emulator.is_live(&token));
        assert_eq!(world.requests(), 1, "{minutes}");
        assert_eq!(world.get(), token, "{minutes}");
    }
}

#[test]
fn a_token_that_lasts_less_than_the_error_of_the_date_header_is_returned() {
    let world = World::new();
    world.emulator.set(|settings| {
        settings.date_shift = Span::minutes(20);
        settings.life = 10 * MINUTE;
    });
    let token = prints_token_with_warning(world.token(&[]).run(), &["this machine's clock is 20 min slow"]);
    assert!(world.emulator.is_live(&token), "by this machine's clock the token is valid for ten more minutes");
}

#[test]
fn a_response_without_a_date_is_read_by_this_machines_clock() {
    let world = World::new();
    world.emulator.set(|settings| settings.send_date = false);
    let token = world.get();
    assert_eq!(world.get(), token);
    assert_eq!(world.requests(), 1);
}

#[test]
fn the_date_of_a_response_that_is_not_from_the_cloud_is_ignored() {
    let world = World::new();
    world.emulator.set(|settings| settings.date_shift = Span::minutes(20));
    // An HTML page with status 403, as a proxy sends it.
    world.emulator.fault(Fault::html().with_status(403));
    fails_with(world.token(&[]).run(), 4, &["403"]);
    assert_eq!(world.requests(), 1, "no second JWT for a proxy's clock");
}

#[test]
fn with_a_wrong_clock_a_token_expired_by_the_clouds_clock_is_not_returned() {
    for minutes in [-20, 20] {
        let world = world_with_clock_shift(minutes);
        world.emulator.set(|settings| settings.life = HOUR);
        let token = token_on_stdout(&world.token(&[]).run().exits(0));
        // Expired by either clock.
        world.age(HOUR + 21 * MINUTE);
        let new = token_on_stdout(&world.token(&[]).run().exits(0));
        assert_ne!(new, token, "{minutes}");
        assert!(world.emulator.is_live(&new));
    }
}

#[test]
fn with_a_wrong_clock_a_valid_token_is_not_discarded() {
    // This machine's clock is 20 minutes fast, so a token that is valid for 10 minutes looks expired on arrival.
    let world = world_with_clock_shift(-20);
    world.emulator.set(|settings| settings.life = 10 * MINUTE);
    let token = prints_token_with_warning(world.token(&[]).run(), &["20 min fast"]);
    assert!(world.emulator.is_live(&token));
    world.emulator.fault(Fault::refuse(503).retry_after(0));
    let again = token_on_stdout(&world.token(&[]).run().exits(0));
    assert_eq!(again, token);
}

#[test]
fn a_record_from_the_future_is_replaced_and_used_if_the_fetch_fails() {
    let world = World::new();
    let token = world.get();
    world.edit(|record| shift(record, 2 * 3_600_000));
    world.emulator.fault(Fault::refuse(503).times(4).retry_after(0));
    assert_eq!(prints_token_with_warning(world.token(&[]).run(), &["the cached token is used"]), token);
    assert_eq!(world.requests(), 5);
}

#[test]
fn a_token_fetched_with_a_fast_clock_is_not_used_beyond_its_expiry_after_the_clock_is_corrected() {
    // At boot the clock was ten hours fast, and the machine got a token valid for one hour. The metadata service
    // returns a duration, so the expiry was computed by that clock. Then the clock was corrected.
    let world = World::without_profile(Config::default());
    world.emulator.attach(Some("ajeofthemachine00000"));
    world.emulator.set(|settings| settings.life = HOUR);
    let settings = format!("source = \"metadata\"\nmetadata-addr = \"{}\"\n", world.emulator.metadata_addr());
    world.sandbox.profile("default", &settings);
    let old = world.get();
    world.edit(|record| shift(record, 10 * 3_600_000));
    let new = world.get();
    assert_ne!(new, old, "expected a new token");
    assert_eq!(world.get(), new, "the new token is cached although it expires earlier");
    assert_eq!(world.emulator.requests(METADATA), 2);
    // If the service repeats its token, the latest expiry counts.
    world.edit(|record| shift(record, 10 * 3_600_000));
    world.emulator.set(|settings| settings.repeat = Some(Duration::ZERO));
    let run = world.token(&["--format", "json"]).run().exits(0).stderr_is_empty();
    let end = seconds(world.emulator.expiry_of(&new).expect("a token"));
    assert!(advertised(&run) <= end, "{} is after {end}\n{run}", advertised(&run));
}

// ----------------------------------------------------------------------------------------------------------- lifetimes

#[test]
fn the_advertised_expiry_is_a_minute_before_the_real_one() {
    let world = World::new();
    let run = world.token(&["--format", "json"]).run().exits(0).stderr_is_empty();
    let token = world.emulator.tokens()[0].clone();
    let expected = world.emulator.expiry_of(&token).expect("a token") - MINUTE;
    let expiry = advertised(&run);
    assert!((seconds(expected) - expiry).abs() <= 1, "{expiry} instead of {}\n{run}", seconds(expected));
    assert_eq!(
        advertised(&world.token(&["--format", "json"]).run().exits(0).stderr_is_empty()),
        expiry,
        "a hit advertises the same expiry"
    );
}

#[test]
fn the_advertised_expiry_is_by_this_machines_clock() {
    for minutes in [-20, -10, 10, 20] {
        let world = world_with_clock_shift(minutes);
        let run = world.token(&["--format", "json"]).run().exits(0);
        let token = world.emulator.tokens()[0].clone();
        let cloud_expiry = seconds(world.emulator.expiry_of(&token).expect("a token"));
        // `Date` has whole seconds, so the clock difference is known to within a second.
        let expected = cloud_expiry - minutes * 60 - 60;
        let expiry = advertised(&run);
        assert!((expected - expiry).abs() <= 2, "{minutes} min: {expiry} instead of {expected}\n{run}");
    }
}

#[test]
fn the_advertised_expiry_of_a_short_token_is_neither_past_nor_after_the_real_one() {
    let world = World::new();
    for life in [3, 30, 60, 90] {
        world.emulator.set(|settings| settings.life = Duration::from_secs(life));
        let before = seconds(SystemTime::now());
        let run = world.token(&["--format", "json", "--force-refresh", "--min-ttl", "1s"]).run().exits(0);
        let token = world.emulator.tokens().pop().expect("a token");
        let real = seconds(world.emulator.expiry_of(&token).expect("known"));
        let expiry = advertised(&run);
        assert!(expiry >= before - 1, "life {life}: {expiry} is in the past of {before}\n{run}");
        assert!(expiry <= real, "life {life}: {expiry} is after {real}\n{run}");
    }
}

#[test]
fn a_token_valid_for_seconds_is_requested_once_and_not_in_a_loop() {
    let world = World::new();
    for life in [3, 30] {
        world.emulator.clear_log();
        world.emulator.set(|settings| settings.life = Duration::from_secs(life));
        let token = token_on_stdout(&world.token(&["--force-refresh"]).run().exits(0));
        assert!(world.emulator.subject_of(&token).is_some());
        assert_eq!(world.requests(), 1, "life {life}");
    }
    // The token is always below min-ttl, but the cloud cannot issue a longer one: it is used until it expires.
    let token = prints_token_with_warning(world.token(&[]).run(), &["sooner than the requested 60s"]);
    assert_eq!(prints_token_with_warning(world.token(&[]).run(), &["sooner than the requested 60s"]), token);
    assert_eq!(world.requests(), 1);
}

#[test]
fn tokens_of_every_lifetime_are_cached() {
    for hours in [1, 12, 24, 48, 24 * 400] {
        let world = World::new();
        world.emulator.set(|settings| settings.life = hours * HOUR);
        let token = world.get();
        assert_eq!(world.get(), token);
        // Lifetimes are capped at one day.
        world.age(Duration::from_secs(24 * 3600));
        assert_ne!(token_on_stdout(&world.token(&[]).run().exits(0)), token, "{hours} h");
        assert_eq!(world.requests(), 2, "{hours} h");
    }
}

#[test]
fn an_expiry_may_have_any_fraction_and_offset() {
    let end = OffsetDateTime::now_utc() + Span::hours(3);
    let whole = end.replace_nanosecond(0).expect("a moment");
    let timestamps = [
        whole.format(&Rfc3339).expect("a timestamp"),
        end.replace_nanosecond(123_456_789).expect("a moment").format(&Rfc3339).expect("a timestamp"),
        whole.to_offset(time::UtcOffset::from_hms(5, 30, 0).expect("an offset")).format(&Rfc3339).expect("a timestamp"),
    ];
    for timestamp in timestamps {
        let world = World::new();
        world.emulator.fault(Fault::body(json!({"iamToken": "t1.told.x", "expiresAt": timestamp}).to_string()));
        let run = world.token(&["--format", "json"]).run().exits(0).stderr_is_empty();
        assert!(
            (whole.unix_timestamp() - 60..=whole.unix_timestamp() - 59).contains(&advertised(&run)),
            "{timestamp}\n{run}"
        );
    }
}

#[test]
fn an_expiry_that_is_missing_malformed_or_absurd_counts_as_five_minutes() {
    for body in [
        json!({"iamToken": "t1.told.x"}),
        json!({"iamToken": "t1.told.x", "expiresAt": null}),
        json!({"iamToken": "t1.told.x", "expiresAt": ""}),
        json!({"iamToken": "t1.told.x", "expiresAt": "soon"}),
        json!({"iamToken": "t1.told.x", "expiresAt": "0001-01-01T00:00:00Z"}),
        json!({"iamToken": "t1.told.x", "expiresAt": "2026-13-41T00:00:00Z"}),
        json!({"iamToken": "t1.told.x", "expiresAt": 1_795_000_000}),
        json!({"iamToken": "t1.told.x", "expiresAt": {"seconds": 1}}),
    ] {
        let world = World::new();
        world.emulator.route(TOKENS, {
            let body = body.to_string();
            move |_| Response::json(200, body.clone())
        });
        let before = seconds(SystemTime::now());
        let run = world.token(&["--format", "json"]).run().exits(0).stderr_is_empty();
        let after = seconds(SystemTime::now());
        let expiry = advertised(&run) + 60;
        assert!((before + 299..=after + 301).contains(&expiry), "{body}: {expiry} is not five minutes from {before}");
        assert_eq!(token_on_stdout(&world.token(&[]).run().exits(0).stderr_is_empty()), "t1.told.x");
        assert_eq!(world.requests(), 1, "{body}");
    }
}

#[test]
fn an_expiry_in_the_year_9999_counts_as_one_day() {
    let world = World::new();
    world
        .emulator
        .fault(Fault::body(json!({"iamToken": "t1.told.x", "expiresAt": "9999-12-31T23:59:59Z"}).to_string()));
    let before = seconds(SystemTime::now());
    let expiry = advertised(&world.token(&["--format", "json"]).run().exits(0).stderr_is_empty()) + 60;
    let after = seconds(SystemTime::now());
    assert!((before + 86_399..=after + 86_401).contains(&expiry), "{expiry} is not a day from {before}");
}

#[test]
fn a_token_that_has_expired_on_arrival_is_not_returned() {
    let world = World::new();
    world
        .emulator
        .fault(Fault::body(json!({"iamToken": "t1.told.x", "expiresAt": "2020-01-01T00:00:00Z"}).to_string()));
    fails_with(world.token(&[]).run(), 4, &["expired at 2020-01-01T00:00:00Z"]);
}

#[test]
fn a_missing_or_malformed_lifetime_from_metadata_counts_as_five_minutes_and_an_absurd_one_as_a_day() {
    for (expires_in, least, most) in [
        (json!(null), 299, 301),
        (json!(-5), 299, 301),
        (json!(3600), 3599, 3601),
        (json!(i64::MAX), 86_399, 86_401),
        (json!(u64::MAX), 86_399, 86_401),
        (json!(3600.5), 3599, 3601),
        (json!("3600"), 3599, 3601),
        (json!("soon"), 299, 301),
        (json!([3600]), 299, 301),
    ] {
        let world = World::without_profile(Config::default());
        world.emulator.attach(Some("ajeofthemachine00000"));
        let settings = format!("source = \"metadata\"\nmetadata-addr = \"{}\"\n", world.emulator.metadata_addr());
        world.sandbox.profile("default", &settings);
        let body = json!({"access_token": "t1.told.x", "expires_in": expires_in, "token_type": "Bearer"});
        world.emulator.fault(Fault::body(body.to_string()).on(Endpoint::Metadata));
        let before = seconds(SystemTime::now());
        let expiry = advertised(&world.token(&["--format", "json"]).run().exits(0).stderr_is_empty()) + 60;
        let after = seconds(SystemTime::now());
        assert!((before + least..=after + most).contains(&expiry), "{expires_in}: {expiry} from {before}");
    }
}

#[test]
fn a_malformed_token_is_not_returned() {
    for token in [json!(""), json!("two words"), json!("a\"b"), json!("a\nb"), json!("x".repeat(4097)), json!(null)] {
        let world = World::new();
        world.emulator.fault(Fault::body(json!({"iamToken": token}).to_string()));
        fails_with(world.token(&[]).run(), 4, &["/iam/v1/tokens"]);
    }
    let world = World::new();
    let longest = "x".repeat(4096);
    world.emulator.fault(Fault::body(json!({"iamToken": longest}).to_string()));
    assert_eq!(prints_token(world.token(&[]).run()), longest);
}

#[test]
fn a_failure_of_a_clock_that_was_ahead_does_not_count_until_that_time_comes() {
    let world = World::new();
    world.emulator.fault(Fault::body("<html>a captive portal</html>"));
    world.token(&[]).run().exits(4);
    let exits_after = |shifted| {
        world.edit(|record| shift(&mut record["failure"], shifted));
        world.ycred(&["status"]).run().status.code()
    };
    const MINUTE: i64 = 60_000;
    assert_eq!([0, 4 * MINUTE, 2 * MINUTE, -12 * MINUTE].map(exits_after), [Some(4), Some(4), Some(0), Some(0)]);
}
