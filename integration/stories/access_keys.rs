//! Access keys of Object Storage (`ycred aws`): what they cost, when they are minted anew, and what becomes of them when
//! the cloud is short of tokens, away, or of another opinion.

use std::fs;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use time::Duration as Span;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::emulator::access_keys::{AccessKey, EPHEMERAL_ACCESS_KEYS};
use crate::emulator::faults::{Endpoint, Fault};
use crate::expect::{refused, refused_with_hint};
use crate::harness::waiting::{HOUR, MINUTE};
use crate::harness::{Call, Run, run_all};
use crate::world::World;

impl World {
    fn aws(&self, more: &[&str]) -> Call {
        self.sandbox.ycred(["aws"].iter().chain(more))
    }

    /// How often a key was asked for.
    fn mints(&self) -> usize {
        self.emulator.requests(EPHEMERAL_ACCESS_KEYS)
    }

    /// The key that an untroubled `ycred aws` hands out.
    #[track_caller]
    fn key(&self, more: &[&str]) -> AccessKey {
        self.key_of(&self.aws(more).run().exits(0).quietly())
    }

    /// The key of a reply, which is as the specification has it and one that the cloud knows.
    #[track_caller]
    fn key_of(&self, run: &Run) -> AccessKey {
        let reply: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{run}"));
        let names: Vec<&String> = reply.as_object().expect("an object").keys().collect();
        assert_eq!(names, ["AccessKeyId", "Expiration", "SecretAccessKey", "SessionToken", "Version"], "{run}");
        assert!(run.stdout.ends_with("}\n") && run.stdout.lines().count() == 1, "one line\n{run}");
        assert_eq!(reply["Version"], 1, "a number");
        let known = self.emulator.access_keys().into_iter().find(|key| reply["AccessKeyId"] == key.id);
        let key = known.unwrap_or_else(|| panic!("none of the cloud's keys\n{run}"));
        assert_eq!(
            (&reply["SecretAccessKey"], &reply["SessionToken"]),
            (&json!(key.secret), &json!(key.session_token))
        );
        key
    }
}

/// The `Expiration` that was told, in seconds since 1970.
#[track_caller]
fn expiration(run: &Run) -> i64 {
    let reply: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{run}"));
    let text = reply["Expiration"].as_str().unwrap_or_default();
    assert!(text.len() == 20 && text.ends_with('Z'), "whole seconds and Z\n{run}");
    OffsetDateTime::parse(text, &Rfc3339).unwrap_or_else(|error| panic!("{error}\n{run}")).unix_timestamp()
}

fn seconds(time: SystemTime) -> i64 {
    i64::try_from(time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs()).expect("a moment")
}

/// It ended well, with one warning that says all this.
#[track_caller]
fn warns(run: Run, words: &[&str]) -> Run {
    let run = run.exits(0);
    assert!(run.stderr.lines().count() == 1 && run.stderr.starts_with("ycred: warning: "), "one warning\n{run}");
    for word in words {
        assert!(run.stderr.contains(word), "{word:?} expected in the warning\n{run}");
    }
    run
}

// ------------------------------------------------------------------------------------------------------------ its life

#[test]
fn a_key_costs_two_requests_once_and_then_none() {
    let world = World::new();
    let first = world.aws(&[]).run().exits(0).quietly();
    let key = world.key_of(&first);
    assert_eq!((key.session_name.as_str(), key.duration, &key.policy), ("ycred", HOUR, &None));
    assert_eq!(key.subject, world.key.service_account_id);
    assert!((seconds(key.expires) - 60 - expiration(&first)).abs() <= 1, "told a minute before its end\n{first}");
    for _ in 0..3 {
        assert_eq!(world.key(&[]), key);
    }
    assert_eq!(world.emulator.calls(), 2, "a token and a key");
    assert_eq!((world.requests(), world.mints()), (1, 1));
    assert_eq!(world.get(), world.emulator.tokens()[0], "the token that bought it is cached as ever");
    assert_eq!(world.emulator.calls(), 2);
}

#[test]
fn with_less_than_twenty_minutes_left_another_is_minted_first() {
    let world = World::new();
    let first = world.key(&[]);
    world.age(39 * MINUTE);
    assert_eq!(world.key(&[]), first, "21 minutes are left");
    world.age(2 * MINUTE);
    assert_ne!(world.key(&[]), first, "19 minutes are left");
    assert_eq!((world.requests(), world.mints()), (1, 2), "the token had long to live");
}

#[test]
fn a_short_key_is_minted_anew_in_the_second_half_of_its_life() {
    let world = World::new();
    let first = world.key(&["--duration", "15m"]);
    world.age(7 * MINUTE);
    assert_eq!(world.key(&["--duration", "15m"]), first, "8 of 15 minutes are left");
    world.age(MINUTE);
    assert_ne!(world.key(&["--duration", "15m"]), first, "7 of 15 minutes are left");
}

#[test]
fn min_ttl_of_the_profile_counts_up_to_half_a_keys_life_and_the_flag_in_full() {
    let world = World::new();
    world.configure("min-ttl = \"6h\"");
    let first = world.key(&[]);
    assert_eq!(world.key(&[]), first);
    world.age(31 * MINUTE);
    assert_ne!(world.key(&[]), first);
    let mints = world.mints();
    warns(world.aws(&["--min-ttl", "2h"]).run(), &["less than the 2h asked for"]);
    warns(world.aws(&["--min-ttl", "2h"]).run(), &["less than the 2h asked for"]);
    assert_eq!(world.mints(), mints + 1, "once, and then not for a while");
}

#[test]
fn a_long_key_is_renewed_in_the_background_of_its_own_life() {
    let world = World::new();
    let first = world.key(&["--duration", "11h"]);
    world.age(9 * HOUR + 50 * MINUTE);
    assert_eq!(world.key(&["--duration", "11h"]), first, "more than a tenth is left");
    world.age(10 * MINUTE);
    let renewed = world.key(&["--duration", "11h"]);
    assert_ne!(renewed, first, "an hour is left, and the cloud answers");
    assert_eq!(renewed.duration, 11 * HOUR, "with a new token");
    world.age(10 * HOUR);
    world.emulator.fault(Fault::refuse(503).on(Endpoint::EphemeralAccessKeys));
    let run = warns(world.aws(&["--duration", "11h"]).run(), &["the cached token is used, 59m before"]);
    assert_eq!(world.key_of(&run), renewed);
    assert_eq!(world.mints(), 3, "one try");
}

#[test]
fn twelve_hours_are_as_long_as_the_token_that_buys_them() {
    let world = World::new();
    let key = world.key(&["--duration", "12h"]);
    assert!(key.duration <= 12 * HOUR - MINUTE && key.duration > 12 * HOUR - 2 * MINUTE, "{key:?}");
    assert_eq!((world.requests(), world.mints()), (1, 1));
    assert_eq!(world.key(&["--duration", "12h"]), key);
    assert_eq!(world.emulator.calls(), 2);
}

// ------------------------------------------------------------------------------------------------- what decides a key

#[test]
fn every_session_duration_policy_account_and_profile_has_a_key_of_its_own() {
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
    let keys: Vec<AccessKey> = calls.iter().map(|words| world.key(words)).collect();
    let ids: std::collections::BTreeSet<&String> = keys.iter().map(|key| &key.id).collect();
    assert_eq!(ids.len(), calls.len());
    assert_eq!(keys[6].subject, account);
    assert_eq!(keys[3].policy.as_deref(), Some("{\"Version\": \"2012-10-17\", \"Id\": \"one\"}"));
    let again: Vec<AccessKey> = calls.iter().map(|words| world.key(words)).collect();
    assert_eq!(again, keys);
    assert_eq!(world.mints(), calls.len());
    let absolute = world.sandbox.path("work/one.json");
    assert_eq!(world.key(&["--policy-file", absolute.to_str().expect("text")]), keys[3], "one file, one key");
}

#[test]
fn a_changed_policy_is_another_key_at_once_and_a_touched_one_is_not() {
    let world = World::new();
    let policy = world.sandbox.file("home/policy.json", r#"{"Statement": []}"#);
    let words = ["--policy-file", "~/policy.json"];
    let first = world.key(&words);
    fs::write(&policy, r#"{"Statement": []}"#).expect("the same again");
    assert_eq!(world.key(&words), first);
    fs::write(&policy, r#"{"Statement": [{}]}"#).expect("another");
    assert_ne!(world.key(&words), first);
    fs::remove_file(&policy).expect("a file");
    refused(world.aws(&words).run(), 3, &["policy.json", "no such file"]);
}

#[test]
fn what_cannot_be_asked_for_is_refused_before_anybody_is_asked() {
    let world = World::new();
    world.sandbox.file("work/text.json", "allow everything");
    world.sandbox.file("work/list.json", "[]");
    world.sandbox.file("work/long.json", json!({"Id": "x".repeat(2048)}).to_string());
    for (words, code, error) in [
        (["--duration", "14m"], 2, "--duration: 14m is not within 15m and 12h"),
        (["--duration", "13h"], 2, "--duration: 13h is not within 15m and 12h"),
        (["--duration", "1d"], 2, "--duration: \"1d\" is not a duration"),
        (["--session-name", "two words"], 2, "--session-name: \"two words\" is not a session's name"),
        (["--policy-file", "gone.json"], 3, "work/gone.json: no such file"),
        (["--policy-file", "text.json"], 3, "work/text.json: is no policy in JSON"),
        (["--policy-file", "list.json"], 3, "work/list.json: is no policy in JSON"),
        (["--policy-file", "long.json"], 3, "has 2057 characters, and a policy may have 2048"),
    ] {
        refused(world.aws(&words).run(), code, &[error]);
        refused(world.aws(&[words[0], words[1], "--no-cache"]).run(), code, &[error]);
    }
    refused_with_hint(world.aws(&["--policy-file", "gone.json"]).run(), 3, &["no such file"], "--policy-file");
    refused_with_hint(
        world.aws(&["s3", "ls"]).run(),
        2,
        &["takes no further words"],
        "ycred exec --serve -- aws s3 ls",
    );
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn without_a_cache_each_call_mints() {
    let world = World::new();
    let first = world.key(&["--no-cache"]);
    assert_ne!(world.key(&["--no-cache"]), first);
    assert!(world.sandbox.files("cache").is_empty());
    assert_eq!((world.requests(), world.mints()), (2, 2));
}

// --------------------------------------------------------------------------------------------- short and unknown tokens

#[test]
fn a_token_too_short_for_the_key_is_renewed_first() {
    let world = World::new();
    world.emulator.set(|settings| settings.life = 30 * MINUTE);
    let short = world.get();
    world.emulator.set(|settings| settings.life = 12 * HOUR);
    assert_eq!(world.key(&[]).duration, HOUR);
    assert_eq!((world.requests(), world.mints()), (2, 1));
    assert_ne!(world.get(), short, "the longer one is everybody's");
    assert_eq!(world.requests(), 2);
}

#[test]
fn where_the_cloud_repeats_its_token_the_key_is_as_short_and_nobody_asks_in_a_loop() {
    let world = World::new();
    world.emulator.set(|settings| {
        settings.life = 17 * MINUTE;
        settings.repeat = Some(Duration::ZERO);
    });
    let words = ["less than the 20m asked for"];
    let first = world.key_of(&warns(world.aws(&[]).run(), &words));
    assert!(first.duration <= 16 * MINUTE && first.duration >= 15 * MINUTE, "{first:?}");
    let five_more = || (0..5).map(|_| world.key_of(&warns(world.aws(&[]).run(), &words))).collect::<Vec<_>>();
    assert!(five_more().iter().all(|key| *key == first));
    assert_eq!((world.requests(), world.mints()), (1, 1));
    world.age(2 * MINUTE);
    assert!(five_more().iter().all(|key| *key != first));
    assert_eq!((world.requests(), world.mints()), (2, 2), "it tried once to do better");
}

#[test]
fn a_token_too_short_for_any_key_is_an_error_that_says_so_and_costs_one_request() {
    let world = World::new();
    world.emulator.set(|settings| settings.life = 14 * MINUTE + MINUTE / 2);
    let words = ["profile default: ", "the IAM token lasts another 14m", "an access key needs 16m of it at least"];
    refused_with_hint(world.aws(&[]).run(), 4, &words, "try again in some minutes");
    // The failure is forgotten after two seconds, and what is known of the token is not.
    world.age(3 * Duration::from_secs(1));
    refused(world.aws(&[]).run(), 4, &words);
    assert_eq!((world.requests(), world.mints()), (1, 0));
}

#[test]
fn a_living_key_outlasts_a_cloud_whose_tokens_are_too_short() {
    let world = World::new();
    let key = world.key(&[]);
    world.emulator.set(|settings| settings.life = 10 * MINUTE);
    world.sandbox.ycred(["token", "--force-refresh"]).run().exits(0);
    world.age(45 * MINUTE);
    let run = warns(world.aws(&[]).run(), &["the cached token is used", "renewing it failed"]);
    assert_eq!(world.key_of(&run), key);
}

#[test]
fn a_token_of_unknown_life_buys_what_is_asked_for() {
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
        let call = || world.aws(&["-p", "other", "--duration", "2h"]).env("MY_TOKEN", &token).run().exits(0).quietly();
        let key = world.key_of(&call());
        assert_eq!((key.duration, key.subject.as_str()), (2 * HOUR, world.key.service_account_id.as_str()));
        assert_eq!(world.key_of(&call()), key);
        world.age(2 * HOUR);
        assert_ne!(world.key_of(&call()), key);
    }
    assert_eq!((world.requests(), world.mints()), (0, 4));
}

#[test]
fn metadata_tokens_buy_keys_that_are_kept_longer_than_a_minute() {
    let world = World::bare(crate::emulator::Config::default());
    world.emulator.attach(Some("aje0000000000000vm0"));
    world.sandbox.profile(
        "default",
        &format!(
            "source = \"metadata\"\nmetadata-addr = \"{}\"\niam-url = \"{}\"\n",
            world.emulator.metadata_addr(),
            world.emulator.url()
        ),
    );
    let key = world.key(&[]);
    world.age(30 * MINUTE);
    assert_eq!(world.key(&[]), key);
    assert_eq!(world.emulator.calls(), 2);
}

// ------------------------------------------------------------------------------------------------------- when it fails

#[test]
fn a_refusal_is_told_in_the_clouds_words_with_nothing_on_stdout() {
    let world = World::new();
    let words = "Permission denied for the access key";
    world.emulator.fault(Fault::refuse(403).message(words).on(Endpoint::EphemeralAccessKeys));
    let said = ["profile default: asking for an access key: ", EPHEMERAL_ACCESS_KEYS, "PERMISSION_DENIED", words];
    refused_with_hint(world.aws(&[]).run(), 1, &said, "ycred aws --force-refresh");
    refused(world.aws(&[]).run(), 1, &["remembered"]);
    assert_eq!((world.requests(), world.mints()), (1, 1));
    assert_eq!(world.get(), world.emulator.tokens()[0], "the token is none the worse");
    world.emulator.clear_faults();
    world.emulator.revoke(&world.emulator.tokens()[0]);
    refused_with_hint(world.aws(&["--session-name", "x"]).run(), 1, &["UNAUTHENTICATED"], "ycred aws --force-refresh");
    world.key(&["--session-name", "x", "--force-refresh"]);
}

#[test]
fn a_cloud_that_is_down_costs_no_living_key() {
    let world = World::new();
    let key = world.key(&[]);
    world.emulator.fault(Fault::refuse(503).on(Endpoint::EphemeralAccessKeys).retry_after(50));
    world.age(45 * MINUTE);
    let run = warns(world.aws(&[]).run(), &["the cached token is used, 14m before it expires", "503"]);
    assert_eq!(world.key_of(&run), key);
    world.age(15 * MINUTE);
    refused(world.aws(&[]).run(), 4, &["503"]);
    world.emulator.clear_faults();
    world.age(MINUTE);
    assert_ne!(world.key(&[]), key);
}

#[test]
fn what_is_no_key_is_an_error_and_not_handed_out() {
    let world = World::new();
    for (body, words) in [
        ("{}", "not with a token"),
        (r#"{"accessKeyId":"","secret":"YC","sessionToken":"s1.x"}"#, "accessKeyId is none"),
        (r#"{"accessKeyId":"a","secret":"Y|C","sessionToken":"s1.x"}"#, "secret is none"),
        (r#"{"accessKeyId":"a","secret":"YC","sessionToken":"s1. x"}"#, "invalid token"),
    ] {
        world.emulator.fault(Fault::body(body).on(Endpoint::EphemeralAccessKeys).times(1));
        let run = world.aws(&["--no-cache"]).run();
        let error = refused(run, 4, &[EPHEMERAL_ACCESS_KEYS]);
        assert!(error.contains(words), "{words:?} expected: {error}");
    }
    world.key(&[]);
    world.edit(|record| {
        if record["settings"].as_str().is_some_and(|settings| settings.contains("access-key=")) {
            record["token"]["secret"] = "t1.not.a.key".into();
        }
    });
    refused_with_hint(world.aws(&[]).run(), 5, &["what the cache has is no access key"], "ycred logout");
    world.sandbox.ycred(["logout"]).run().exits(0);
    world.key(&[]);
}

#[test]
fn with_a_clock_that_is_off_keys_are_minted_and_told_by_this_machines_clock() {
    for minutes in [10, -10] {
        let world = World::new();
        world.emulator.set(|settings| settings.clock_shift = Span::minutes(minutes));
        let run = warns(world.aws(&[]).run(), &["this machine's clock is 10 min"]);
        let key = world.key_of(&run);
        assert_eq!(key.duration, HOUR);
        let end = seconds(key.expires) - minutes * 60;
        assert!((end - 60 - expiration(&run)).abs() <= 60, "{minutes}: {run}");
        assert_eq!(world.key(&[]), key);
        // As long as the token lives by the cloud's clock and no longer, or this strict cloud would refuse.
        world.age(31 * MINUTE);
        let run = world.aws(&["--duration", "12h"]).run().exits(0);
        assert!(world.key_of(&run).duration > 11 * HOUR, "{run}");
    }
}

// --------------------------------------------------------------------------------------------------------------- crowds

#[test]
fn fifty_processes_share_one_token_and_one_key() {
    let world = World::new();
    world.configure("timeout = \"120s\"");
    world.emulator.fault(Fault::slow(Duration::from_millis(200)));
    let runs = run_all((0..50).map(|_| world.aws(&[]).limit(Duration::from_secs(180))));
    let keys: Vec<AccessKey> = runs.into_iter().map(|run| world.key_of(&run.exits(0).quietly())).collect();
    assert!(keys.iter().all(|key| *key == keys[0]), "different keys");
    assert_eq!((world.requests(), world.mints()), (1, 1));
}

// -------------------------------------------------------------------------------------------- what people do about them

#[test]
fn force_refresh_brings_a_new_token_and_a_new_key() {
    let world = World::new();
    let first = world.key(&[]);
    assert_ne!(world.key(&["--force-refresh"]), first);
    assert_eq!((world.requests(), world.mints()), (2, 2));
}

#[test]
fn refresh_mints_the_living_keys_of_the_profile_anew_and_says_so() {
    let world = World::new();
    world.profile("second", "");
    world.sandbox.file("work/gone.json", "{}");
    let (first, other) = (world.key(&["--session-name", "one"]), world.key(&["-p", "second"]));
    let told = world.sandbox.ycred(["refresh"]).run().exits(0).quietly().stdout;
    assert_eq!(told.lines().count(), 2, "{told}");
    assert!(told.contains("profile default: access key of session one until "), "{told}");
    assert_eq!((world.requests(), world.mints()), (3, 3), "one token for both");
    assert_ne!(world.key(&["--session-name", "one"]), first);
    assert_eq!(world.key(&["-p", "second"]), other, "another profile's");
    assert_eq!(world.mints(), 3);
    world.key(&["--policy-file", "gone.json"]);
    fs::remove_file(world.sandbox.path("work/gone.json")).expect("a file");
    let run = world.sandbox.ycred(["refresh"]).run();
    warns(run, &["the access key of session ycred stays as it is", "gone.json"]).stdout_has("session one until");
}

#[test]
fn logout_forgets_every_key_of_the_profile_whatever_flags_it_was_asked_for_with() {
    let world = World::new();
    world.profile("second", "");
    let account = world.emulator.new_service_account();
    world.sandbox.profile("third", &format!("{}impersonate = \"{account}\"\n", world.settings()));
    world.sandbox.file("work/policy.json", "{}");
    let calls: [&[&str]; 3] =
        [&[], &["--session-name", "other", "--duration", "2h"], &["--policy-file", "policy.json"]];
    let keys: Vec<AccessKey> = calls.iter().map(|words| world.key(words)).collect();
    let (second, third) = (world.key(&["-p", "second"]), world.key(&["-p", "third"]));
    let told = world.sandbox.ycred(["logout"]).run().exits(0).quietly().stdout;
    assert_eq!(told.lines().count(), 4, "three keys and the token: {told}");
    assert!(told.contains("the cached access key of session other is forgotten"), "{told}");
    for path in world.sandbox.files("cache") {
        let content = String::from_utf8_lossy(&fs::read(&path).expect("readable")).into_owned();
        let held = keys.iter().find(|key| content.contains(&key.secret) || content.contains(&key.session_token));
        assert_eq!(held, None, "{} holds a key", path.display());
    }
    assert_eq!((world.key(&["-p", "second"]), world.key(&["-p", "third"])), (second, third), "others keep theirs");
    for (words, key) in calls.iter().zip(&keys) {
        assert_ne!(world.key(words), *key);
    }
    let told = world.sandbox.ycred(["logout", "--all"]).run().exits(0).quietly().stdout;
    assert!(told.contains("8 cached tokens forgotten"), "{told}");
}
