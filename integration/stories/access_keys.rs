//! Access keys for Object Storage (`ycred aws`): requests, lifetime, cache identity and failures of the cloud.

use std::fs;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use time::Duration as Span;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::emulator::access_keys::{AccessKey, EPHEMERAL_ACCESS_KEYS};
use crate::emulator::faults::{Endpoint, Fault};
use crate::expect::{fails_with, fails_with_hint};
use crate::harness::waiting::{HOUR, MINUTE};
use crate::harness::{Call, Run, run_all};
use crate::world::World;

impl World {
    fn aws(&self, more: &[&str]) -> Call {
        self.sandbox.ycred(["aws"].iter().chain(more))
    }

    /// The number of key requests that the cloud has counted.
    fn key_requests(&self) -> usize {
        self.emulator.requests(EPHEMERAL_ACCESS_KEYS)
    }

    /// The key that `ycred aws` prints, with nothing on stderr.
    #[track_caller]
    fn access_key(&self, more: &[&str]) -> AccessKey {
        self.access_key_in(&self.aws(more).run().exits(0).stderr_is_empty())
    }

    /// The key in a reply. Checks the reply against the specification and the key against the cloud.
    #[track_caller]
    fn access_key_in(&self, run: &Run) -> AccessKey {
        let reply: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{run}"));
        let names: Vec<&String> = reply.as_object().expect("an object").keys().collect();
        assert_eq!(names, ["AccessKeyId", "Expiration", "SecretAccessKey", "SessionToken", "Version"], "{run}");
        assert!(run.stdout.ends_with("}\n") && run.stdout.lines().count() == 1, "expected one line\n{run}");
        assert_eq!(reply["Version"], 1, "expected a number");
        let known = self.emulator.access_keys().into_iter().find(|key| reply["AccessKeyId"] == key.id);
        let key = known.unwrap_or_else(|| panic!("the cloud has no such key\n{run}"));
        assert_eq!(
            (&reply["SecretAccessKey"], &reply["SessionToken"]),
            (&json!(key.secret), &json!(key.session_token))
        );
        key
    }
}

/// The reply's `Expiration`, in seconds since 1970.
#[track_caller]
fn expiration(run: &Run) -> i64 {
    let reply: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{run}"));
    let timestamp = reply["Expiration"].as_str().unwrap_or_default();
    assert!(timestamp.len() == 20 && timestamp.ends_with('Z'), "expected whole seconds and Z\n{run}");
    OffsetDateTime::parse(timestamp, &Rfc3339).unwrap_or_else(|error| panic!("{error}\n{run}")).unix_timestamp()
}

fn seconds(time: SystemTime) -> i64 {
    i64::try_from(time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs()).expect("a moment")
}

/// Checks that the run succeeded with one warning that contains every expected string.
#[track_caller]
fn warns(run: Run, expected: &[&str]) -> Run {
    let run = run.exits(0);
    assert!(
        run.stderr.lines().count() == 1 && run.stderr.starts_with("ycred: warning: "),
        "expected one warning\n{run}"
    );
    for part in expected {
        assert!(run.stderr.contains(part), "expected {part:?} in the warning\n{run}");
    }
    run
}

// ------------------------------------------------------------------------------------------------------------ lifetime

#[test]
fn the_first_key_takes_two_requests_and_later_calls_use_the_cache() {
    let world = World::new();
    let first = world.aws(&[]).run().exits(0).stderr_is_empty();
    let key = world.access_key_in(&first);
    assert_eq!((key.session_name.as_str(), key.duration, &key.policy), ("ycred", HOUR, &None));
    assert_eq!(key.subject, world.key.service_account_id);
    assert!(
        (seconds(key.expires) - 60 - expiration(&first)).abs() <= 1,
        "expected the expiration a minute before the real one\n{first}"
    );
    for _ in 0..3 {
        assert_eq!(world.access_key(&[]), key);
    }
    assert_eq!(world.emulator.calls(), 2, "one request for the token, one for the key");
    assert_eq!((world.requests(), world.key_requests()), (1, 1));
    assert_eq!(world.get(), world.emulator.tokens()[0], "the IAM token is cached as usual");
    assert_eq!(world.emulator.calls(), 2);
}

#[test]
fn a_key_with_less_than_twenty_minutes_left_is_replaced() {
    let world = World::new();
    let first = world.access_key(&[]);
    world.age(39 * MINUTE);
    assert_eq!(world.access_key(&[]), first, "21 minutes are left");
    world.age(2 * MINUTE);
    assert_ne!(world.access_key(&[]), first, "19 minutes are left");
    assert_eq!((world.requests(), world.key_requests()), (1, 2), "the token was valid for long enough");
}

#[test]
fn a_short_key_is_replaced_in_the_second_half_of_its_lifetime() {
    let world = World::new();
    let first = world.access_key(&["--duration", "15m"]);
    world.age(7 * MINUTE);
    assert_eq!(world.access_key(&["--duration", "15m"]), first, "8 of 15 minutes are left");
    world.age(MINUTE);
    assert_ne!(world.access_key(&["--duration", "15m"]), first, "7 of 15 minutes are left");
}

#[test]
fn the_profiles_min_ttl_is_capped_at_half_a_keys_lifetime_and_the_flag_is_not() {
    let world = World::new();
    world.configure("min-ttl = \"6h\"");
    let first = world.access_key(&[]);
    assert_eq!(world.access_key(&[]), first);
    world.age(31 * MINUTE);
    assert_ne!(world.access_key(&[]), first);
    let before = world.key_requests();
    warns(world.aws(&["--min-ttl", "2h"]).run(), &["sooner than the requested 2h"]);
    warns(world.aws(&["--min-ttl", "2h"]).run(), &["sooner than the requested 2h"]);
    assert_eq!(world.key_requests(), before + 1, "one attempt, and the next only after the back-off");
}

#[test]
fn a_long_key_is_renewed_in_its_last_tenth_and_used_if_the_renewal_fails() {
    let world = World::new();
    let first = world.access_key(&["--duration", "11h"]);
    world.age(9 * HOUR + 50 * MINUTE);
    assert_eq!(world.access_key(&["--duration", "11h"]), first, "more than a tenth is left");
    world.age(10 * MINUTE);
    let renewed = world.access_key(&["--duration", "11h"]);
    assert_ne!(renewed, first, "an hour is left");
    assert_eq!(renewed.duration, 11 * HOUR, "exchanged for a new token");
    world.age(10 * HOUR);
    world.emulator.fault(Fault::refuse(503).on(Endpoint::EphemeralAccessKeys));
    let run = warns(world.aws(&["--duration", "11h"]).run(), &["the cached token is used, 59m before"]);
    assert_eq!(world.access_key_in(&run), renewed);
    assert_eq!(world.key_requests(), 3, "one attempt");
}

#[test]
fn a_twelve_hour_key_expires_with_its_iam_token() {
    let world = World::new();
    let key = world.access_key(&["--duration", "12h"]);
    assert!(key.duration <= 12 * HOUR - MINUTE && key.duration > 12 * HOUR - 2 * MINUTE, "{key:?}");
    assert_eq!((world.requests(), world.key_requests()), (1, 1));
    assert_eq!(world.access_key(&["--duration", "12h"]), key);
    assert_eq!(world.emulator.calls(), 2);
}

// ---------------------------------------------------------------------------------------------------------- cache keys

#[test]
fn each_session_duration_policy_account_and_profile_has_its_own_key() {
    let world = World::new();
    world.profile("second", "");
    let account = world.emulator.new_service_account();
    world.sandbox.profile("third", &format!("{}impersonate = \"{account}\"\n", world.settings()));
    for name in ["one", "two"] {
        world
            .sandbox
            .file(format!("work/{name}.json"), format!("{{\"Version\": \"2012-10-17\", \"Id\": \"{name}\"}}\n"));
    }
    let calls: [&[&str]; 7] = [
        &[],
        &["--session-name", "other"],
        &["--duration", "30m"],
        &["--policy-file", "one.json"],
        &["--policy-file", "two.json"],
        &["-p", "second"],
        &["-p", "third"],
    ];
    let keys: Vec<AccessKey> = calls.iter().map(|arguments| world.access_key(arguments)).collect();
    let ids: std::collections::BTreeSet<&String> = keys.iter().map(|key| &key.id).collect();
    assert_eq!(ids.len(), calls.len());
    assert_eq!(keys[6].subject, account);
    assert_eq!(keys[3].policy.as_deref(), Some("{\"Version\": \"2012-10-17\", \"Id\": \"one\"}"));
    let again: Vec<AccessKey> = calls.iter().map(|arguments| world.access_key(arguments)).collect();
    assert_eq!(again, keys);
    assert_eq!(world.key_requests(), calls.len());
    let absolute = world.sandbox.path("work/one.json");
    assert_eq!(
        world.access_key(&["--policy-file", absolute.to_str().expect("UTF-8")]),
        keys[3],
        "the same file gets the same key"
    );
}

#[test]
fn a_changed_policy_gets_a_new_key_and_an_identical_rewrite_does_not() {
    let world = World::new();
    let policy = world.sandbox.file("home/policy.json", r#"{"Statement": []}"#);
    let arguments = ["--policy-file", "~/policy.json"];
    let first = world.access_key(&arguments);
    fs::write(&policy, r#"{"Statement": []}"#).expect("identical content");
    assert_eq!(world.access_key(&arguments), first);
    fs::write(&policy, r#"{"Statement": [{}]}"#).expect("other content");
    assert_ne!(world.access_key(&arguments), first);
    fs::remove_file(&policy).expect("a file");
    fails_with(world.aws(&arguments).run(), 3, &["policy.json", "no such file"]);
}

#[test]
fn invalid_arguments_are_rejected_without_a_request() {
    let world = World::new();
    world.sandbox.file("work/text.json", "allow everything");
    world.sandbox.file("work/list.json", "[]");
    world.sandbox.file("work/long.json", json!({"Id": "x".repeat(2048)}).to_string());
    for (arguments, code, error) in [
        (["--duration", "14m"], 2, "--duration: 14m is not between 15m and 12h"),
        (["--duration", "13h"], 2, "--duration: 13h is not between 15m and 12h"),
        (["--duration", "1d"], 2, "--duration: \"1d\" is not a duration"),
        (["--session-name", "two words"], 2, "--session-name: \"two words\" is not a valid session name"),
        (["--policy-file", "gone.json"], 3, "work/gone.json: no such file"),
        (["--policy-file", "text.json"], 3, "work/text.json: is not a policy in JSON"),
        (["--policy-file", "list.json"], 3, "work/list.json: is not a policy in JSON"),
        (["--policy-file", "long.json"], 3, "has 2057 characters, but a policy may have at most 2048"),
    ] {
        fails_with(world.aws(&arguments).run(), code, &[error]);
        fails_with(world.aws(&[arguments[0], arguments[1], "--no-cache"]).run(), code, &[error]);
    }
    fails_with_hint(world.aws(&["--policy-file", "gone.json"]).run(), 3, &["no such file"], "--policy-file");
    fails_with_hint(world.aws(&["s3", "ls"]).run(), 2, &["takes no arguments"], "ycred exec --serve -- aws s3 ls");
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn without_a_cache_each_call_requests_a_key() {
    let world = World::new();
    let first = world.access_key(&["--no-cache"]);
    assert_ne!(world.access_key(&["--no-cache"]), first);
    assert!(world.sandbox.files("cache").is_empty());
    assert_eq!((world.requests(), world.key_requests()), (2, 2));
}

// -------------------------------------------------------------------------------------------- short and unknown tokens

#[test]
fn a_token_that_expires_before_the_key_is_renewed_first() {
    let world = World::new();
    world.emulator.set(|settings| settings.life = 30 * MINUTE);
    let short = world.get();
    world.emulator.set(|settings| settings.life = 12 * HOUR);
    assert_eq!(world.access_key(&[]).duration, HOUR);
    assert_eq!((world.requests(), world.key_requests()), (2, 1));
    assert_ne!(world.get(), short, "the new token replaces it for every caller");
    assert_eq!(world.requests(), 2);
}

#[test]
fn if_the_cloud_repeats_a_short_token_the_key_is_short_and_requests_do_not_loop() {
    let world = World::new();
    world.emulator.set(|settings| {
        settings.life = 17 * MINUTE;
        settings.repeat = Some(Duration::ZERO);
    });
    let expected = ["sooner than the requested 20m"];
    let first = world.access_key_in(&warns(world.aws(&[]).run(), &expected));
    assert!(first.duration <= 16 * MINUTE && first.duration >= 15 * MINUTE, "{first:?}");
    let five_more = || (0..5).map(|_| world.access_key_in(&warns(world.aws(&[]).run(), &expected))).collect::<Vec<_>>();
    assert!(five_more().iter().all(|key| *key == first));
    assert_eq!((world.requests(), world.key_requests()), (1, 1));
    world.age(2 * MINUTE);
    assert!(five_more().iter().all(|key| *key != first));
    assert_eq!((world.requests(), world.key_requests()), (2, 2), "one attempt to get a longer token");
}

#[test]
fn a_token_too_short_for_any_key_is_an_error_after_one_request() {
    let world = World::new();
    world.emulator.set(|settings| settings.life = 14 * MINUTE + MINUTE / 2);
    let expected = ["profile default: ", "the IAM token expires in 14m", "one that is valid for at least 16m"];
    fails_with_hint(world.aws(&[]).run(), 4, &expected, "try again in a few minutes");
    // The failure expires after two seconds; the token stays cached.
    world.age(3 * Duration::from_secs(1));
    fails_with(world.aws(&[]).run(), 4, &expected);
    assert_eq!((world.requests(), world.key_requests()), (1, 0));
}

#[test]
fn a_valid_key_is_used_while_the_clouds_tokens_are_too_short() {
    let world = World::new();
    let key = world.access_key(&[]);
    world.emulator.set(|settings| settings.life = 10 * MINUTE);
    world.sandbox.ycred(["token", "--force-refresh"]).run().exits(0);
    world.age(45 * MINUTE);
    let run = warns(world.aws(&[]).run(), &["the cached token is used", "renewing it failed"]);
    assert_eq!(world.access_key_in(&run), key);
}

#[test]
fn a_token_of_unknown_expiry_gets_a_key_of_the_requested_duration() {
    let world = World::new();
    let token = world.emulator.issue(&world.key.service_account_id);
    let script = world.sandbox.script(
        "bin/give",
        &format!("#!/bin/sh\necho run >> '{}'\necho {token}\n", world.sandbox.path("tmp/runs").display()),
    );
    let profiles = [
        format!("source = \"static\"\ntoken-env = \"MY_TOKEN\"\niam-url = \"{}\"\n", world.emulator.url()),
        format!("source = \"command\"\ncommand = [\"{}\"]\niam-url = \"{}\"\n", script.display(), world.emulator.url()),
    ];
    for profile in profiles {
        world.sandbox.profile("other", &profile);
        let call =
            || world.aws(&["-p", "other", "--duration", "2h"]).env("MY_TOKEN", &token).run().exits(0).stderr_is_empty();
        let key = world.access_key_in(&call());
        assert_eq!((key.duration, key.subject.as_str()), (2 * HOUR, world.key.service_account_id.as_str()));
        assert_eq!(world.access_key_in(&call()), key);
        world.age(2 * HOUR);
        assert_ne!(world.access_key_in(&call()), key);
    }
    assert_eq!((world.requests(), world.key_requests()), (0, 4));
}

#[test]
fn keys_from_metadata_tokens_are_cached_for_longer_than_a_minute() {
    let world = World::without_profile(crate::emulator::Config::default());
    world.emulator.attach(Some("aje0000000000000vm0"));
    world.sandbox.profile(
        "default",
        &format!(
            "source = \"metadata\"\nmetadata-addr = \"{}\"\niam-url = \"{}\"\n",
            world.emulator.metadata_addr(),
            world.emulator.url()
        ),
    );
    let key = world.access_key(&[]);
    world.age(30 * MINUTE);
    assert_eq!(world.access_key(&[]), key);
    assert_eq!(world.emulator.calls(), 2);
}

// ------------------------------------------------------------------------------------------------------------ failures

#[test]
fn a_rejected_key_request_is_reported_with_the_clouds_message() {
    let world = World::new();
    let message = "Permission denied for the access key";
    world.emulator.fault(Fault::refuse(403).message(message).on(Endpoint::EphemeralAccessKeys));
    let expected = ["profile default: asking for an access key: ", EPHEMERAL_ACCESS_KEYS, "PERMISSION_DENIED", message];
    fails_with_hint(world.aws(&[]).run(), 1, &expected, "roles");
    fails_with(world.aws(&[]).run(), 1, &["remembered"]);
    assert_eq!((world.requests(), world.key_requests()), (1, 1));
    assert_eq!(world.get(), world.emulator.tokens()[0], "the token is still cached");
    world.emulator.clear_faults();
    world.emulator.revoke(&world.emulator.tokens()[0]);
    fails_with_hint(world.aws(&["--session-name", "x"]).run(), 1, &["UNAUTHENTICATED"], "ycred aws --force-refresh");
    world.access_key(&["--session-name", "x", "--force-refresh"]);
}

#[test]
fn a_valid_key_is_used_while_the_cloud_is_down() {
    let world = World::new();
    let key = world.access_key(&[]);
    world.emulator.fault(Fault::refuse(503).on(Endpoint::EphemeralAccessKeys).retry_after(50));
    world.age(45 * MINUTE);
    let run = warns(world.aws(&[]).run(), &["the cached token is used, 14m before it expires", "503"]);
    assert_eq!(world.access_key_in(&run), key);
    world.age(15 * MINUTE);
    fails_with(world.aws(&[]).run(), 4, &["503"]);
    world.emulator.clear_faults();
    world.age(MINUTE);
    assert_ne!(world.access_key(&[]), key);
}

#[test]
fn a_malformed_key_is_an_error_and_is_not_printed() {
    let world = World::new();
    for (body, expected) in [
        ("{}", "unexpected response: "),
        (r#"{"accessKeyId":"","secret":"YC","sessionToken":"s1.x"}"#, "without a valid accessKeyId"),
        (r#"{"accessKeyId":"a","secret":"Y|C","sessionToken":"s1.x"}"#, "without a valid secret"),
        (r#"{"accessKeyId":"a","secret":"YC","sessionToken":"s1. x"}"#, "invalid token"),
    ] {
        world.emulator.fault(Fault::body(body).on(Endpoint::EphemeralAccessKeys).times(1));
        let run = world.aws(&["--no-cache"]).run();
        let error = fails_with(run, 4, &[EPHEMERAL_ACCESS_KEYS]);
        assert!(error.contains(expected), "expected {expected:?}: {error}");
    }
    world.access_key(&[]);
    world.edit(|record| {
        if record["settings"].as_str().is_some_and(|settings| settings.contains("access-key=")) {
            record["token"]["secret"] = "t1.not.a.key".into();
        }
    });
    fails_with_hint(world.aws(&[]).run(), 4, &["the cached entry is not an access key"], "ycred logout");
    world.sandbox.ycred(["logout"]).run().exits(0);
    world.access_key(&[]);
}

#[test]
fn with_a_wrong_clock_keys_are_issued_and_expire_by_this_machines_clock() {
    for minutes in [10, -10] {
        let world = World::new();
        world.emulator.set(|settings| settings.clock_shift = Span::minutes(minutes));
        let run = warns(world.aws(&[]).run(), &["this machine's clock is 10 min"]);
        let key = world.access_key_in(&run);
        assert_eq!(key.duration, HOUR);
        let end = seconds(key.expires) - minutes * 60;
        assert!((end - 60 - expiration(&run)).abs() <= 60, "{minutes}: {run}");
        assert_eq!(world.access_key(&[]), key);
        // The emulator rejects keys that outlast the token by its own clock.
        world.age(31 * MINUTE);
        let run = world.aws(&["--duration", "12h"]).run().exits(0);
        assert!(world.access_key_in(&run).duration > 11 * HOUR, "{run}");
    }
}

// -------------------------------------------------------------------------------------------------------------- concurrency

#[test]
fn fifty_processes_share_one_token_and_one_key() {
    let world = World::new();
    world.configure("timeout = \"120s\"");
    world.emulator.fault(Fault::slow(Duration::from_millis(200)));
    let runs = run_all((0..50).map(|_| world.aws(&[]).limit(Duration::from_secs(180))));
    let keys: Vec<AccessKey> =
        runs.into_iter().map(|run| world.access_key_in(&run.exits(0).stderr_is_empty())).collect();
    assert!(keys.iter().all(|key| *key == keys[0]), "different keys");
    assert_eq!((world.requests(), world.key_requests()), (1, 1));
}

// -------------------------------------------------------------------------------------------------- refresh and logout

#[test]
fn force_refresh_fetches_a_new_token_and_a_new_key() {
    let world = World::new();
    let first = world.access_key(&[]);
    assert_ne!(world.access_key(&["--force-refresh"]), first);
    assert_eq!((world.requests(), world.key_requests()), (2, 2));
}

#[test]
fn refresh_replaces_and_lists_the_profiles_valid_keys() {
    let world = World::new();
    world.profile("second", "");
    world.sandbox.file("work/gone.json", "{}");
    let (first, other) = (world.access_key(&["--session-name", "one"]), world.access_key(&["-p", "second"]));
    let output = world.sandbox.ycred(["refresh"]).run().exits(0).stderr_is_empty().stdout;
    assert_eq!(output.lines().count(), 2, "{output}");
    assert!(output.contains("profile default: access key of session one expires at "), "{output}");
    assert_eq!((world.requests(), world.key_requests()), (3, 3), "one new token for both requests");
    assert_ne!(world.access_key(&["--session-name", "one"]), first);
    assert_eq!(world.access_key(&["-p", "second"]), other, "the other profile's key is unchanged");
    assert_eq!(world.key_requests(), 3);
    world.access_key(&["--policy-file", "gone.json"]);
    fs::remove_file(world.sandbox.path("work/gone.json")).expect("a file");
    let run = world.sandbox.ycred(["refresh"]).run();
    warns(run, &["cannot renew the access key of session ycred", "gone.json"]).stdout_has("session one expires at");
}

#[test]
fn logout_deletes_every_key_of_the_profile_whatever_its_flags() {
    let world = World::new();
    world.profile("second", "");
    let account = world.emulator.new_service_account();
    world.sandbox.profile("third", &format!("{}impersonate = \"{account}\"\n", world.settings()));
    world.sandbox.file("work/policy.json", "{}");
    let calls: [&[&str]; 3] =
        [&[], &["--session-name", "other", "--duration", "2h"], &["--policy-file", "policy.json"]];
    let keys: Vec<AccessKey> = calls.iter().map(|arguments| world.access_key(arguments)).collect();
    let (second, third) = (world.access_key(&["-p", "second"]), world.access_key(&["-p", "third"]));
    let output = world.sandbox.ycred(["logout"]).run().exits(0).stderr_is_empty().stdout;
    assert_eq!(output.lines().count(), 4, "three keys and the token: {output}");
    assert!(output.contains("deleted the cached access key of session other"), "{output}");
    for path in world.sandbox.files("cache") {
        let content = String::from_utf8_lossy(&fs::read(&path).expect("readable")).into_owned();
        let leaked = keys.iter().find(|key| content.contains(&key.secret) || content.contains(&key.session_token));
        assert_eq!(leaked, None, "{} contains a key", path.display());
    }
    assert_eq!(
        (world.access_key(&["-p", "second"]), world.access_key(&["-p", "third"])),
        (second, third),
        "other profiles keep their keys"
    );
    for (arguments, key) in calls.iter().zip(&keys) {
        assert_ne!(world.access_key(arguments), *key);
    }
    let output = world.sandbox.ycred(["logout", "--all"]).run().exits(0).stderr_is_empty().stdout;
    assert!(output.contains("deleted 8 cached tokens"), "{output}");
}

#[test]
fn a_key_that_is_requested_for_the_first_time_during_a_logout_is_not_stored() {
    for logout in [&["logout"][..], &["logout", "--all"]] {
        let world = World::new();
        world.get();
        world.emulator.fault(Fault::held().on(Endpoint::EphemeralAccessKeys).times(1));
        let call = world.aws(&["--timeout", "60s"]).start();
        assert!(world.emulator.wait_for_requests(EPHEMERAL_ACCESS_KEYS, 1, MINUTE));
        world.ycred(logout).and(["--timeout", "2s"]).run().exits(0);
        world.emulator.clear_faults();
        let key = world.access_key_in(&call.finish().exits(0));
        for path in world.sandbox.files("cache") {
            let content = fs::read(&path).expect("readable");
            assert!(!String::from_utf8_lossy(&content).contains(&key.secret), "{logout:?}: {}", path.display());
        }
        assert_ne!(world.access_key(&[]).id, key.id, "{logout:?}");
        assert_eq!(world.key_requests(), 2, "{logout:?}");
    }
}
