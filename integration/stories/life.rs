//! The life of a token: fresh, refreshable, expired, dead; and what is remembered of failures.

use std::fs;
use std::time::Duration;

use super::{HOUR, HeldLock, MINUTE, Story, handed, refused, refused_with_hint, set_mode, started, warned};
use crate::emulator::TOKENS;
use crate::emulator::faults::Fault;
use crate::harness::run_all;

// ----------------------------------------------------------------------------------------------------------- fresh

#[test]
fn a_token_is_asked_for_once_and_then_handed_out_with_the_same_bytes_and_no_request() {
    let story = Story::new();
    let first = story.token(&[]).run().exits(0).quietly();
    assert_eq!(first.stdout, format!("{}\n", story.emulator.tokens()[0]));
    for _ in 0..5 {
        story.token(&[]).run().exits(0).quietly().stdout_is(&first.stdout);
    }
    assert_eq!(story.emulator.calls(), 1);
    let entry = &story.emulator.log()[0];
    assert_eq!((entry.path.as_str(), entry.status), (TOKENS, Some(200)));
    assert!(entry.user_agent.as_ref().is_some_and(|name| name.starts_with("ycred/")), "{entry:?}");
}

#[test]
fn a_hit_writes_nothing() {
    let story = Story::new();
    let token = story.get();
    let snapshot = || {
        let files = story.sandbox.files("cache");
        files.iter().map(|path| (path.clone(), fs::read(path).expect("a file"))).collect::<Vec<_>>()
    };
    let before = snapshot();
    assert_eq!(story.get(), token);
    assert_eq!(snapshot(), before);
    assert_eq!(story.requests(), 1);
}

#[test]
fn a_token_is_fresh_until_a_tenth_of_its_life_is_left() {
    let story = Story::new();
    let token = story.get();
    story.age(10 * HOUR + 47 * MINUTE);
    assert_eq!(story.get(), token);
    assert_eq!(story.requests(), 1, "73 of 720 minutes are left");
    story.age(2 * MINUTE);
    assert_ne!(story.get(), token);
    assert_eq!(story.requests(), 2, "71 of 720 minutes are left");
}

#[test]
fn refresh_before_moves_the_soft_window_and_never_beyond_half_of_the_life() {
    let story = Story::new();
    story.profile("refresh-before = \"3h\"");
    let token = story.get();
    story.age(8 * HOUR + 58 * MINUTE);
    assert_eq!(story.get(), token, "3 h 2 min are left");
    story.age(4 * MINUTE);
    assert_ne!(story.get(), token, "2 h 58 min are left");
    story.profile("refresh-before = \"24h\"");
    let requests = story.requests();
    let token = story.get();
    story.age(5 * HOUR + 58 * MINUTE);
    assert_eq!((story.get(), story.requests()), (token.clone(), requests), "over half of the life is left");
    story.age(4 * MINUTE);
    assert_ne!(story.get(), token);
    assert_eq!(story.requests(), requests + 1);
}

// ----------------------------------------------------------------------------------------------------- refreshable

#[test]
fn in_the_soft_window_one_process_renews_and_all_others_hand_out_the_cached_token_at_once() {
    let story = Story::new();
    let old = story.get();
    story.age(11 * HOUR);
    story.emulator.fault(Fault::held());
    let leader = story.token(&[]).start();
    story.wait_for_requests(2);
    // The renewal is held back for as long as these run, so they cannot have waited for it.
    for run in run_all((0..20).map(|_| story.token(&[]))) {
        assert_eq!(handed(run), old);
    }
    story.emulator.clear_faults();
    let new = handed(leader.finish());
    assert_ne!(new, old);
    assert_eq!(story.get(), new);
    assert_eq!(story.requests(), 2);
}

#[test]
fn in_the_soft_window_the_cached_token_is_handed_out_while_somebody_else_holds_the_lock() {
    let story = Story::new();
    let token = story.get();
    let _held = HeldLock::of(&story.lock_file());
    story.age(11 * HOUR);
    for _ in 0..3 {
        assert_eq!(story.get(), token);
    }
    assert_eq!(story.requests(), 1);
}

#[test]
fn a_renewal_that_fails_serves_the_cached_token_with_one_warning_and_is_not_repeated_at_once() {
    let story = Story::new();
    let token = story.get();
    story.age(11 * HOUR);
    story.emulator.fault(Fault::refuse(503).message("the test says no"));
    assert_eq!(warned(story.token(&[]).run(), &["the cached token is used", "the test says no"]), token);
    assert_eq!(story.requests(), 2, "a renewal is one request, without retries");
    assert_eq!(story.get(), token);
    assert_eq!(story.requests(), 2, "nobody asks before retry-at");
    story.age(Duration::from_secs(5 * 60 + 1));
    assert_eq!(warned(story.token(&[]).run(), &["the test says no"]), token);
    assert_eq!(story.requests(), 3, "back-off ends after five minutes at most");
}

#[test]
fn a_cloud_that_repeats_the_same_token_is_not_asked_again_before_the_back_off_ends() {
    let story = Story::new();
    let token = story.get();
    story.emulator.set(|settings| settings.repeat = Some(Duration::ZERO));
    story.age(11 * HOUR);
    assert_eq!(story.get(), token);
    assert_eq!(story.requests(), 2);
    assert_eq!(story.get(), token);
    assert_eq!(story.requests(), 2);
    story.age(Duration::from_secs(5 * 60 + 1));
    assert_eq!(story.get(), token);
    assert_eq!(story.requests(), 3);
}

#[test]
fn of_two_tokens_the_later_expiring_is_kept_and_a_shorter_one_is_no_reason_to_ask_again() {
    let story = Story::new();
    let token = story.get();
    story.age(11 * HOUR);
    story.emulator.fault(Fault::short_life(30 * MINUTE));
    assert_eq!(story.get(), token, "an hour is better than half an hour");
    assert_eq!(story.get(), token);
    assert_eq!(story.requests(), 2);
}

#[test]
fn a_token_older_than_max_age_is_renewed_however_long_it_lives() {
    let story = Story::new();
    story.profile("max-age = \"10m\"");
    let token = story.get();
    story.age(9 * MINUTE);
    assert_eq!(story.get(), token);
    assert_eq!(story.requests(), 1);
    story.age(2 * MINUTE);
    let second = story.get();
    assert_ne!(second, token);
    assert_eq!(story.requests(), 2);
    // The same token again is all that was wanted: its age counts from now, without a back-off.
    story.emulator.set(|settings| settings.repeat = Some(Duration::ZERO));
    story.age(11 * MINUTE);
    assert_eq!(story.get(), second);
    assert_eq!(story.requests(), 3);
    story.age(9 * MINUTE);
    assert_eq!(story.get(), second);
    assert_eq!(story.requests(), 3);
    story.age(2 * MINUTE);
    assert_eq!(story.get(), second);
    assert_eq!(story.requests(), 4);
}

#[test]
fn a_token_that_max_age_renews_is_replaced_even_by_one_that_lives_shorter() {
    let story = Story::new();
    story.profile("max-age = \"1m\"");
    let token = story.get();
    story.age(2 * MINUTE);
    story.emulator.fault(Fault::short_life(HOUR));
    let second = story.get();
    assert_ne!(second, token);
    assert_eq!(story.get(), second);
}

// --------------------------------------------------------------------------------------------------------- expired

#[test]
fn an_expired_token_is_never_handed_out() {
    let story = Story::new();
    let token = story.get();
    story.age(12 * HOUR);
    assert_ne!(story.get(), token);
    story.age(13 * HOUR);
    story.emulator.fault(Fault::refuse(401).message("deleted"));
    refused(story.token(&[]).run(), 1, &["deleted"]);
}

#[test]
fn below_min_ttl_a_new_token_is_fetched_first() {
    let story = Story::new();
    let token = story.get();
    assert_eq!(handed(story.token(&["--min-ttl", "11h"]).run()), token);
    assert_eq!(story.requests(), 1);
    story.age(2 * HOUR);
    assert_ne!(handed(story.token(&["--min-ttl", "11h"]).run()), token);
    assert_eq!(story.requests(), 2);
    story.profile("min-ttl = \"11h\"");
    let token = story.get();
    story.age(2 * HOUR);
    assert_ne!(story.get(), token);
    assert_eq!(story.requests(), 3);
}

#[test]
fn a_token_below_min_ttl_is_handed_out_with_one_warning_when_the_cloud_is_down() {
    let story = Story::new();
    let token = story.get();
    story.age(12 * HOUR - Duration::from_secs(50));
    story.emulator.fault(Fault::refuse(503).message("the test says no").retry_after(0));
    assert_eq!(warned(story.token(&[]).run(), &["the cached token is used", "the test says no"]), token);
    assert_eq!(story.requests(), 5, "one request and three retries");
    warned(story.token(&[]).run(), &["the cached token is used"]);
    assert_eq!(story.requests(), 5, "and none before retry-at");
}

#[test]
fn a_min_ttl_that_the_cloud_does_not_meet_gets_the_best_token_with_one_warning() {
    let story = Story::new();
    story.emulator.set(|settings| settings.life = HOUR);
    let token = warned(story.token(&["--min-ttl", "10h"]).run(), &["less than the 10h asked for"]);
    assert_eq!(warned(story.token(&["--min-ttl", "10h"]).run(), &["less than the 10h"]), token);
    assert_eq!(story.requests(), 1, "the cloud gives no longer one, so it is not asked at each run");
    assert_eq!(story.get(), token);
}

// ----------------------------------------------------------------------------------------------- remembered failures

#[test]
fn a_refusal_is_told_with_the_clouds_words_and_request_id_and_remembered_for_five_seconds() {
    let story = Story::new();
    story.emulator.fault(Fault::refuse(403).message("the test says no"));
    let first =
        refused(story.token(&[]).run(), 1, &["profile default", "403", "PERMISSION_DENIED", "the test says no"]);
    let id = story.emulator.log()[0].request_id.clone();
    assert!(first.contains(&id), "{first}");
    assert!(!first.contains("remembered"), "{first}");
    // As if it had happened just now, however slow this machine is.
    story.edit(|record| super::shift(&mut record["failure"], 20_000));
    let again = refused(story.token(&[]).run(), 1, &[&id, "(remembered, ", " ago)"]);
    assert!(again.starts_with(&first), "the same reason: {again}");
    story.age(Duration::from_secs(21));
    let later = refused(story.token(&[]).run(), 1, &["(remembered, "]);
    assert!(!later.contains("remembered, 0s"), "it says how old it is: {later}");
    assert_eq!(story.requests(), 1);
    story.age(Duration::from_secs(5));
    let fresh = refused(story.token(&[]).run(), 1, &["the test says no"]);
    assert!(!fresh.contains("remembered"), "{fresh}");
    assert_eq!(story.requests(), 2);
}

#[test]
fn an_unavailable_cloud_is_remembered_for_two_seconds() {
    let story = Story::new();
    story.emulator.fault(Fault::refuse(500).retry_after(0));
    refused(story.token(&[]).run(), 4, &["500", "INTERNAL"]);
    assert_eq!(story.requests(), 4);
    // As if it had happened just now, however slow this machine is.
    story.edit(|record| super::shift(&mut record["failure"], 20_000));
    refused(story.token(&[]).run(), 4, &["remembered"]);
    assert_eq!(story.requests(), 4);
    story.age(Duration::from_secs(22));
    story.emulator.clear_faults();
    story.get();
    assert_eq!(story.requests(), 5);
}

#[test]
fn a_retry_after_beyond_the_deadline_fails_at_once_and_is_obeyed_by_later_processes_up_to_a_minute() {
    let story = Story::new();
    story.emulator.fault(Fault::refuse(429).message("slow down").retry_after(3600));
    refused(story.token(&[]).run(), 4, &["429", "slow down"]);
    assert_eq!(story.requests(), 1);
    story.age(Duration::from_secs(40));
    refused(story.token(&[]).run(), 4, &["slow down", "remembered"]);
    assert_eq!(story.requests(), 1);
    story.age(Duration::from_secs(21));
    story.emulator.clear_faults();
    story.get();
    assert_eq!(story.requests(), 2);
}

#[test]
fn a_remembered_refusal_is_forgotten_when_the_key_or_the_profile_changes_or_a_refresh_is_forced() {
    let story = Story::new();
    let refuse = || story.emulator.fault(Fault::refuse(401).message("deleted").times(1));
    refuse();
    refused(story.token(&[]).run(), 1, &["deleted"]);
    handed(story.token(&["--force-refresh"]).run());
    for path in story.records() {
        fs::remove_file(path).expect("a record");
    }
    refuse();
    refused(story.token(&[]).run(), 1, &["deleted"]);
    let key = story.emulator.new_service_account_key();
    key.write(story.sandbox.path("config/key.json")).expect("another key");
    let token = story.get();
    assert_eq!(story.emulator.subject_of(&token).as_deref(), Some(key.service_account_id.as_str()));
}

// ---------------------------------------------------------------------------------------------------- force-refresh

#[test]
fn force_refresh_fetches_though_the_token_is_fresh_and_what_it_brings_is_kept() {
    let story = Story::new();
    let old = story.get();
    let new = handed(story.token(&["--force-refresh"]).run());
    assert_ne!(new, old);
    assert_eq!(story.get(), new);
    assert_eq!(story.requests(), 2);
    // Though it expires earlier: the old one may have been revoked.
    story.emulator.fault(Fault::short_life(HOUR).times(1));
    let short = handed(story.token(&["--force-refresh"]).run());
    assert_eq!(story.get(), short);
    assert_eq!(story.requests(), 3);
}

#[test]
fn many_forced_refreshes_at_once_make_one_request() {
    let story = Story::new();
    let old = story.get();
    // The lock is ours until all have begun, so that one fetch can count for all of them.
    let held = HeldLock::of(&story.lock_file());
    let running: Vec<_> = (0..20).map(|_| started(story.token(&["--force-refresh", "-v"]))).collect();
    drop(held);
    let tokens: Vec<String> = running.into_iter().map(|one| super::one_token(&one.finish().exits(0))).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0] && *token != old), "{tokens:?}");
    assert_eq!(story.requests(), 2);
}

#[test]
fn a_fetch_that_began_before_the_forced_refresh_does_not_count_for_it() {
    let story = Story::new();
    story.emulator.fault(Fault::held());
    let leader = story.token(&[]).start();
    story.wait_for_requests(1);
    let forced = started(story.token(&["--force-refresh", "-v"]));
    story.emulator.clear_faults();
    let first = handed(leader.finish());
    let second = super::one_token(&forced.finish().exits(0));
    assert_ne!(first, second);
    assert_eq!(story.requests(), 2);
}

#[test]
fn a_forced_refresh_is_not_answered_by_an_old_token_that_outlived_what_another_process_got() {
    let story = Story::new();
    let old = story.get();
    story.emulator.fault(Fault::short_life(HOUR));
    let held = HeldLock::of(&story.lock_file());
    let forced = started(story.token(&["--force-refresh", "-v"]));
    // It sleeps while another process, which came later, finds nothing better than what there was.
    forced.signal(libc::SIGSTOP);
    let other = started(story.token(&["--min-ttl", "24h", "-v"]));
    drop(held);
    assert_eq!(super::one_token(&other.finish().exits(0)), old);
    forced.signal(libc::SIGCONT);
    let new = super::one_token(&forced.finish().exits(0));
    assert_ne!(new, old);
    assert_eq!(story.requests(), 3);
}

#[test]
fn a_forced_refresh_that_brings_the_same_token_warns_once() {
    let story = Story::new();
    let token = story.get();
    story.emulator.set(|settings| settings.repeat = Some(Duration::ZERO));
    assert_eq!(warned(story.token(&["--force-refresh"]).run(), &["the same token again"]), token);
    assert_eq!(story.requests(), 2);
}

#[test]
fn a_forced_refresh_never_falls_back_to_the_cached_token() {
    let story = Story::new();
    let token = story.get();
    story.emulator.fault(Fault::refuse(403).message("the test says no"));
    refused(story.token(&["--force-refresh"]).run(), 1, &["the test says no"]);
    assert_eq!(story.get(), token, "who does not force still has it");
}

#[test]
fn refresh_says_until_when_the_new_token_lives_and_does_not_show_it() {
    let story = Story::new();
    let old = story.get();
    let run = story.sandbox.ycred(["refresh"]).run().exits(0).quietly().stdout_has("profile default: token until ");
    let new = story.get();
    assert_ne!(new, old);
    run.never_says(&new).never_says(&old);
    assert_eq!(story.requests(), 2);
}

// -------------------------------------------------------------------------------------------------------- no cache

#[test]
fn no_cache_neither_reads_nor_writes_a_record_or_a_lock() {
    let story = Story::new();
    let first = handed(story.token(&["--no-cache"]).run());
    assert!(!story.sandbox.path("cache").exists());
    let cached = story.get();
    let files = || {
        let files = story.sandbox.files("cache");
        files.into_iter().map(|path| (fs::read(&path).expect("a file"), path)).collect::<Vec<_>>()
    };
    let before = files();
    let _held = HeldLock::of(&story.lock_file());
    let second = handed(story.token(&["--no-cache"]).run());
    assert!(first != cached && second != cached && first != second);
    assert_eq!(files(), before);
    assert_eq!(story.requests(), 3);
}

#[test]
fn a_profile_with_cache_none_keeps_nothing() {
    let story = Story::new();
    story.profile("cache = \"none\"");
    assert_ne!(story.get(), story.get());
    assert!(!story.sandbox.path("cache").exists());
    assert_eq!(story.requests(), 2);
}

// ------------------------------------------------------------------------------------------- what else ends a life

#[test]
fn a_replaced_key_file_brings_a_new_token_at_once() {
    let story = Story::new();
    let old = story.get();
    let key = story.emulator.new_service_account_key();
    key.write(story.sandbox.path("config/key.json")).expect("another key");
    let new = story.get();
    assert_ne!(new, old);
    assert_eq!(story.emulator.subject_of(&new).as_deref(), Some(key.service_account_id.as_str()));
    assert_eq!(story.get(), new);
    assert_eq!(story.requests(), 2);
}

#[test]
fn a_replaced_key_that_is_refused_does_not_bring_back_the_token_of_the_old_one() {
    let story = Story::new();
    story.get();
    let key = story.emulator.new_service_account_key();
    key.write(story.sandbox.path("config/key.json")).expect("another key");
    story.emulator.delete_key(&key.id);
    refused(story.token(&[]).run(), 1, &["401", &key.service_account_id]);
}

#[test]
fn a_key_that_is_replaced_during_a_fetch_does_not_lend_its_name_to_the_old_ones_token() {
    let story = Story::new();
    story.emulator.fault(Fault::held().times(1));
    let leader = story.token(&[]).start();
    story.wait_for_requests(1);
    let waiting = started(story.token(&["-v"]));
    let key = story.emulator.new_service_account_key();
    key.write(story.sandbox.path("config/key.json")).expect("another key");
    story.emulator.clear_faults();
    let subject = |token: &str| story.emulator.subject_of(token).expect("a subject");
    assert_eq!(subject(&handed(leader.finish())), story.key.service_account_id);
    assert_eq!(subject(&super::one_token(&waiting.finish().exits(0))), key.service_account_id);
    assert_eq!(subject(&story.get()), key.service_account_id);
    assert_eq!(story.requests(), 2);
}

#[test]
fn a_key_file_that_is_touched_or_written_anew_with_the_same_content_is_still_a_hit() {
    let story = Story::new();
    let token = story.get();
    let path = story.sandbox.path("config/key.json");
    fs::File::open(&path).and_then(|file| file.set_modified(std::time::SystemTime::UNIX_EPOCH)).expect("touched");
    assert_eq!(story.get(), token);
    let content = fs::read(&path).expect("the key");
    fs::remove_file(&path).expect("removed");
    story.sandbox.file("config/key.json", content);
    assert_eq!(story.get(), token);
    assert_eq!(story.requests(), 1);
}

#[test]
fn without_its_key_file_no_cached_token_is_handed_out() {
    let story = Story::new();
    story.get();
    let path = story.sandbox.path("config/key.json");
    fs::rename(&path, story.sandbox.path("config/away.json")).expect("moved");
    let path = path.to_string_lossy().into_owned();
    refused_with_hint(story.token(&[]).run(), 3, &[&path, "no such file"], "put the file back");
    refused(story.token(&["--force-refresh"]).run(), 3, &[&path]);
    refused(story.token(&["--no-cache"]).run(), 3, &[&path]);
    assert_eq!(story.requests(), 1);
}

#[test]
fn an_edited_profile_takes_effect_with_the_next_call() {
    let story = Story::new();
    let old = story.get();
    story.profile("timeout = \"30s\"\n# a comment");
    assert_eq!(story.get(), old, "what does not say whose token it is costs none");
    let other = story.another("other");
    story.sandbox.profile("default", &story.settings().replace("key.json", "other.json"));
    let new = story.get();
    assert_eq!(story.emulator.subject_of(&new).as_deref(), Some(other.service_account_id.as_str()));
    story.profile("");
    assert_eq!(story.get(), old);
    assert_eq!(story.requests(), 2);
}

#[test]
fn git_erase_drops_the_very_token_and_no_other() {
    let story = Story::new();
    let token = story.get();
    let erase = |password: &str| {
        let request = format!("protocol=https\nhost=cr.yandex\nusername=iam\npassword={password}\n\n");
        story.sandbox.ycred(["git", "erase"]).stdin(request).run().exits(0).quietly().stdout_is("");
    };
    erase(&story.emulator.issue("ajesomebodyelse00000"));
    assert_eq!(story.get(), token, "a sibling's token is not this one");
    erase(&token);
    let new = story.get();
    assert_ne!(new, token);
    erase(&token);
    assert_eq!(story.get(), new);
    assert_eq!(story.requests(), 2);
}

#[test]
fn a_key_file_that_others_can_read_is_warned_of_on_a_miss_alone() {
    let story = Story::new();
    let path = story.sandbox.path("config/key.json");
    set_mode(&path, 0o644);
    let token = warned(story.token(&[]).run(), &["can be read by others", "0644", "chmod 600"]);
    assert_eq!(story.get(), token);
}
