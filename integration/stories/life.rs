//! The lifecycle of a cached token (fresh, refreshable, expired) and of remembered failures.

use std::fs;
use std::time::Duration;

use crate::emulator::TOKENS;
use crate::emulator::faults::Fault;
use crate::expect::{fails_with, fails_with_hint, prints_token, prints_token_with_warning, token_on_stdout};
use crate::harness::files::set_mode;
use crate::harness::run_all;
use crate::harness::waiting::{HOUR, HeldLock, MINUTE, started};
use crate::world::World;

// --------------------------------------------------------------------------------------------------------------- fresh

#[test]
fn a_token_is_requested_once_and_then_printed_from_the_cache_byte_for_byte() {
    let world = World::new();
    let first = world.token(&[]).run().exits(0).stderr_is_empty();
    assert_eq!(first.stdout, format!("{}\n", world.emulator.tokens()[0]));
    for _ in 0..5 {
        world.token(&[]).run().exits(0).stderr_is_empty().stdout_is(&first.stdout);
    }
    assert_eq!(world.emulator.calls(), 1);
    let entry = &world.emulator.log()[0];
    assert_eq!((entry.path.as_str(), entry.status), (TOKENS, Some(200)));
    assert!(entry.user_agent.as_ref().is_some_and(|name| name.starts_with("ycred/")), "{entry:?}");
}

#[test]
fn a_hit_writes_nothing() {
    let world = World::new();
    let token = world.get();
    let snapshot = || {
        let files = world.sandbox.files("cache");
        files.iter().map(|path| (path.clone(), fs::read(path).expect("a file"))).collect::<Vec<_>>()
    };
    let before = snapshot();
    assert_eq!(world.get(), token);
    assert_eq!(snapshot(), before);
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_token_is_fresh_until_a_tenth_of_its_lifetime_is_left() {
    let world = World::new();
    let token = world.get();
    world.age(10 * HOUR + 47 * MINUTE);
    assert_eq!(world.get(), token);
    assert_eq!(world.requests(), 1, "73 of 720 minutes are left");
    world.age(2 * MINUTE);
    assert_ne!(world.get(), token);
    assert_eq!(world.requests(), 2, "71 of 720 minutes are left");
}

#[test]
fn refresh_before_moves_the_soft_window_up_to_half_the_lifetime() {
    let world = World::new();
    world.configure("refresh-before = \"3h\"");
    let token = world.get();
    world.age(8 * HOUR + 58 * MINUTE);
    assert_eq!(world.get(), token, "3 h 2 min are left");
    world.age(4 * MINUTE);
    assert_ne!(world.get(), token, "2 h 58 min are left");
    world.configure("refresh-before = \"24h\"");
    let requests = world.requests();
    let token = world.get();
    world.age(5 * HOUR + 58 * MINUTE);
    assert_eq!((world.get(), world.requests()), (token.clone(), requests), "more than half of the lifetime is left");
    world.age(4 * MINUTE);
    assert_ne!(world.get(), token);
    assert_eq!(world.requests(), requests + 1);
}

// --------------------------------------------------------------------------------------------------------- refreshable

#[test]
fn in_the_soft_window_one_process_renews_and_all_others_return_the_cached_token_at_once() {
    let world = World::new();
    let old = world.get();
    world.age(11 * HOUR);
    world.emulator.fault(Fault::held());
    let leader = world.token(&[]).start();
    world.wait_for_requests(2);
    // The emulator delays the renewal until these have finished, so they cannot have waited for it.
    for run in run_all((0..20).map(|_| world.token(&[]))) {
        assert_eq!(prints_token(run), old);
    }
    world.emulator.clear_faults();
    let new = prints_token(leader.finish());
    assert_ne!(new, old);
    assert_eq!(world.get(), new);
    assert_eq!(world.requests(), 2);
}

#[test]
fn in_the_soft_window_the_cached_token_is_returned_while_another_process_holds_the_lock() {
    let world = World::new();
    let token = world.get();
    let _held = HeldLock::of(&world.lock_file());
    world.age(11 * HOUR);
    for _ in 0..3 {
        assert_eq!(world.get(), token);
    }
    assert_eq!(world.requests(), 1);
}

#[test]
fn after_a_failed_renewal_the_cached_token_is_used_with_one_warning_and_a_back_off() {
    let world = World::new();
    let token = world.get();
    world.age(11 * HOUR);
    world.emulator.fault(Fault::refuse(503).message("the test says no"));
    assert_eq!(
        prints_token_with_warning(world.token(&[]).run(), &["the cached token is used", "the test says no"]),
        token
    );
    assert_eq!(world.requests(), 2, "a renewal is one request, without retries");
    assert_eq!(world.get(), token);
    assert_eq!(world.requests(), 2, "no request before retry-at");
    world.age(Duration::from_secs(5 * 60 + 1));
    assert_eq!(prints_token_with_warning(world.token(&[]).run(), &["the test says no"]), token);
    assert_eq!(world.requests(), 3, "the back-off lasts five minutes at most");
}

#[test]
fn if_the_cloud_repeats_the_token_there_is_no_request_before_the_back_off_ends() {
    let world = World::new();
    let token = world.get();
    world.emulator.set(|settings| settings.repeat = Some(Duration::ZERO));
    world.age(11 * HOUR);
    assert_eq!(world.get(), token);
    assert_eq!(world.requests(), 2);
    assert_eq!(world.get(), token);
    assert_eq!(world.requests(), 2);
    world.age(Duration::from_secs(5 * 60 + 1));
    assert_eq!(world.get(), token);
    assert_eq!(world.requests(), 3);
}

#[test]
fn a_renewal_with_a_shorter_token_keeps_the_old_one_and_is_not_repeated() {
    let world = World::new();
    let token = world.get();
    world.age(11 * HOUR);
    world.emulator.fault(Fault::short_life(30 * MINUTE));
    assert_eq!(world.get(), token, "an hour is better than half an hour");
    assert_eq!(world.get(), token);
    assert_eq!(world.requests(), 2);
}

#[test]
fn a_token_older_than_max_age_is_renewed_whatever_its_expiry() {
    let world = World::new();
    world.configure("max-age = \"10m\"");
    let token = world.get();
    world.age(9 * MINUTE);
    assert_eq!(world.get(), token);
    assert_eq!(world.requests(), 1);
    world.age(2 * MINUTE);
    let second = world.get();
    assert_ne!(second, token);
    assert_eq!(world.requests(), 2);
    // The cloud confirms the same token: its age restarts, and there is no back-off.
    world.emulator.set(|settings| settings.repeat = Some(Duration::ZERO));
    world.age(11 * MINUTE);
    assert_eq!(world.get(), second);
    assert_eq!(world.requests(), 3);
    world.age(9 * MINUTE);
    assert_eq!(world.get(), second);
    assert_eq!(world.requests(), 3);
    world.age(2 * MINUTE);
    assert_eq!(world.get(), second);
    assert_eq!(world.requests(), 4);
}

#[test]
fn a_token_older_than_max_age_is_replaced_even_by_a_shorter_one() {
    let world = World::new();
    world.configure("max-age = \"1m\"");
    let token = world.get();
    world.age(2 * MINUTE);
    world.emulator.fault(Fault::short_life(HOUR));
    let second = world.get();
    assert_ne!(second, token);
    assert_eq!(world.get(), second);
}

// ------------------------------------------------------------------------------------------------------------- expired

#[test]
fn an_expired_token_is_never_returned() {
    let world = World::new();
    let token = world.get();
    world.age(12 * HOUR);
    assert_ne!(world.get(), token);
    world.age(13 * HOUR);
    world.emulator.fault(Fault::refuse(401).message("deleted"));
    fails_with(world.token(&[]).run(), 1, &["deleted"]);
}

#[test]
fn below_min_ttl_a_new_token_is_fetched_first() {
    let world = World::new();
    let token = world.get();
    assert_eq!(prints_token(world.token(&["--min-ttl", "11h"]).run()), token);
    assert_eq!(world.requests(), 1);
    world.age(2 * HOUR);
    assert_ne!(prints_token(world.token(&["--min-ttl", "11h"]).run()), token);
    assert_eq!(world.requests(), 2);
    world.configure("min-ttl = \"11h\"");
    let token = world.get();
    world.age(2 * HOUR);
    assert_ne!(world.get(), token);
    assert_eq!(world.requests(), 3);
}

#[test]
fn a_token_below_min_ttl_is_returned_with_one_warning_if_the_cloud_is_down() {
    let world = World::new();
    let token = world.get();
    world.age(12 * HOUR - Duration::from_secs(50));
    world.emulator.fault(Fault::refuse(503).message("the test says no").retry_after(0));
    assert_eq!(
        prints_token_with_warning(world.token(&[]).run(), &["the cached token is used", "the test says no"]),
        token
    );
    assert_eq!(world.requests(), 5, "one request and three retries");
    prints_token_with_warning(world.token(&[]).run(), &["the cached token is used"]);
    assert_eq!(world.requests(), 5, "no request before retry-at");
}

#[test]
fn a_min_ttl_that_the_cloud_cannot_meet_gets_the_longest_token_with_one_warning() {
    let world = World::new();
    world.emulator.set(|settings| settings.life = HOUR);
    let token = prints_token_with_warning(world.token(&["--min-ttl", "10h"]).run(), &["sooner than the requested 10h"]);
    assert_eq!(
        prints_token_with_warning(world.token(&["--min-ttl", "10h"]).run(), &["sooner than the requested 10h"]),
        token
    );
    assert_eq!(world.requests(), 1, "later runs make no request: the cloud cannot issue a longer token");
    assert_eq!(world.get(), token);
}

// ------------------------------------------------------------------------------------------------- remembered failures

#[test]
fn a_rejection_has_the_clouds_message_and_request_id_and_is_remembered_for_five_seconds() {
    let world = World::new();
    world.emulator.fault(Fault::refuse(403).message("the test says no"));
    let first =
        fails_with(world.token(&[]).run(), 1, &["profile default", "403", "PERMISSION_DENIED", "the test says no"]);
    let id = world.emulator.log()[0].request_id.clone();
    assert!(first.contains(&id), "{first}");
    assert!(!first.contains("remembered"), "{first}");
    // Twenty seconds longer, so that a slow machine does not matter.
    world.remember_failures_longer();
    let again = fails_with(world.token(&[]).run(), 1, &[&id, "(remembered, ", " ago)"]);
    assert!(again.starts_with(&first), "expected the same error: {again}");
    world.age(Duration::from_secs(21));
    let later = fails_with(world.token(&[]).run(), 1, &["(remembered, "]);
    assert!(!later.contains("remembered, 0s"), "expected the age of the failure: {later}");
    assert_eq!(world.requests(), 1);
    world.age(Duration::from_secs(5));
    let fresh = fails_with(world.token(&[]).run(), 1, &["the test says no"]);
    assert!(!fresh.contains("remembered"), "{fresh}");
    assert_eq!(world.requests(), 2);
}

#[test]
fn an_unavailable_cloud_is_remembered_for_two_seconds() {
    let world = World::new();
    world.emulator.fault(Fault::refuse(500).retry_after(0));
    fails_with(world.token(&[]).run(), 4, &["500", "INTERNAL"]);
    assert_eq!(world.requests(), 4);
    // Twenty seconds longer, so that a slow machine does not matter.
    world.remember_failures_longer();
    fails_with(world.token(&[]).run(), 4, &["remembered"]);
    assert_eq!(world.requests(), 4);
    world.age(Duration::from_secs(22));
    world.emulator.clear_faults();
    world.get();
    assert_eq!(world.requests(), 5);
}

#[test]
fn a_retry_after_beyond_the_deadline_fails_at_once_and_later_processes_obey_it_for_up_to_a_minute() {
    let world = World::new();
    world.emulator.fault(Fault::refuse(429).message("slow down").retry_after(3600));
    fails_with(world.token(&[]).run(), 4, &["429", "slow down"]);
    assert_eq!(world.requests(), 1);
    world.age(Duration::from_secs(40));
    fails_with(world.token(&[]).run(), 4, &["slow down", "remembered"]);
    assert_eq!(world.requests(), 1);
    world.age(Duration::from_secs(21));
    world.emulator.clear_faults();
    world.get();
    assert_eq!(world.requests(), 2);
}

#[test]
fn a_remembered_rejection_ends_with_a_new_key_or_a_forced_refresh() {
    let world = World::new();
    let refuse = || world.emulator.fault(Fault::refuse(401).message("deleted").times(1));
    refuse();
    fails_with(world.token(&[]).run(), 1, &["deleted"]);
    prints_token(world.token(&["--force-refresh"]).run());
    for path in world.records() {
        fs::remove_file(path).expect("a record");
    }
    refuse();
    fails_with(world.token(&[]).run(), 1, &["deleted"]);
    let key = world.emulator.new_service_account_key();
    key.write(world.sandbox.path("config/key.json")).expect("another key");
    let token = world.get();
    assert_eq!(world.emulator.subject_of(&token).as_deref(), Some(key.service_account_id.as_str()));
}

// ------------------------------------------------------------------------------------------------------- force-refresh

#[test]
fn force_refresh_replaces_a_fresh_token_and_caches_the_new_one() {
    let world = World::new();
    let old = world.get();
    let new = prints_token(world.token(&["--force-refresh"]).run());
    assert_ne!(new, old);
    assert_eq!(world.get(), new);
    assert_eq!(world.requests(), 2);
    // A forced token replaces the old one even if it expires earlier: the old one may have been revoked.
    world.emulator.fault(Fault::short_life(HOUR).times(1));
    let short = prints_token(world.token(&["--force-refresh"]).run());
    assert_eq!(world.get(), short);
    assert_eq!(world.requests(), 3);
}

#[test]
fn many_forced_refreshes_at_once_make_one_request() {
    let world = World::new();
    let old = world.get();
    // The test holds the lock until all have begun, so that one fetch can count for all of them.
    let held = HeldLock::of(&world.lock_file());
    let running: Vec<_> = (0..20).map(|_| started(world.token(&["--force-refresh", "-v"]))).collect();
    drop(held);
    let tokens: Vec<String> = running.into_iter().map(|one| token_on_stdout(&one.finish().exits(0))).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0] && *token != old), "{tokens:?}");
    assert_eq!(world.requests(), 2);
}

#[test]
fn a_fetch_that_began_before_the_forced_refresh_does_not_count_for_it() {
    let world = World::new();
    world.emulator.fault(Fault::held());
    let leader = world.token(&[]).start();
    world.wait_for_requests(1);
    let forced = started(world.token(&["--force-refresh", "-v"]));
    world.emulator.clear_faults();
    let first = prints_token(leader.finish());
    let second = token_on_stdout(&forced.finish().exits(0));
    assert_ne!(first, second);
    assert_eq!(world.requests(), 2);
}

#[test]
fn a_forced_refresh_does_not_accept_an_old_token_that_another_process_kept() {
    let world = World::new();
    let old = world.get();
    world.emulator.fault(Fault::short_life(HOUR));
    let held = HeldLock::of(&world.lock_file());
    let forced = started(world.token(&["--force-refresh", "-v"]));
    // The forced process is stopped while a later process fetches a shorter token and keeps the old one.
    forced.signal(libc::SIGSTOP);
    let other = started(world.token(&["--min-ttl", "24h", "-v"]));
    drop(held);
    assert_eq!(token_on_stdout(&other.finish().exits(0)), old);
    forced.signal(libc::SIGCONT);
    let new = token_on_stdout(&forced.finish().exits(0));
    assert_ne!(new, old);
    assert_eq!(world.requests(), 3);
}

#[test]
fn a_forced_refresh_that_returns_the_same_token_warns_once() {
    let world = World::new();
    let token = world.get();
    world.emulator.set(|settings| settings.repeat = Some(Duration::ZERO));
    assert_eq!(prints_token_with_warning(world.token(&["--force-refresh"]).run(), &["the same token again"]), token);
    assert_eq!(world.requests(), 2);
}

#[test]
fn a_forced_refresh_never_falls_back_to_the_cached_token() {
    let world = World::new();
    let token = world.get();
    world.emulator.fault(Fault::refuse(403).message("the test says no"));
    fails_with(world.token(&["--force-refresh"]).run(), 1, &["the test says no"]);
    assert_eq!(world.get(), token, "an ordinary call still returns it");
}

#[test]
fn refresh_prints_the_new_tokens_expiry_and_not_the_token() {
    let world = World::new();
    let old = world.get();
    let run = world
        .sandbox
        .ycred(["refresh"])
        .run()
        .exits(0)
        .stderr_is_empty()
        .stdout_has("profile default: token expires at ");
    let new = world.get();
    assert_ne!(new, old);
    run.never_prints(&new).never_prints(&old);
    assert_eq!(world.requests(), 2);
}

// ------------------------------------------------------------------------------------------------------------ no cache

#[test]
fn no_cache_neither_reads_nor_writes_a_record_or_a_lock() {
    let world = World::new();
    let first = prints_token(world.token(&["--no-cache"]).run());
    assert!(!world.sandbox.path("cache").exists());
    let cached = world.get();
    let files = || {
        let files = world.sandbox.files("cache");
        files.into_iter().map(|path| (fs::read(&path).expect("a file"), path)).collect::<Vec<_>>()
    };
    let before = files();
    let _held = HeldLock::of(&world.lock_file());
    let second = prints_token(world.token(&["--no-cache"]).run());
    assert!(first != cached && second != cached && first != second);
    assert_eq!(files(), before);
    assert_eq!(world.requests(), 3);
}

#[test]
fn a_profile_with_cache_none_stores_nothing() {
    let world = World::new();
    world.configure("cache = \"none\"");
    assert_ne!(world.get(), world.get());
    assert!(!world.sandbox.path("cache").exists());
    assert_eq!(world.requests(), 2);
}

// ---------------------------------------------------------------------------------------------- other reasons to fetch

#[test]
fn a_replaced_key_file_causes_an_immediate_fetch() {
    let world = World::new();
    let old = world.get();
    let key = world.emulator.new_service_account_key();
    key.write(world.sandbox.path("config/key.json")).expect("another key");
    let new = world.get();
    assert_ne!(new, old);
    assert_eq!(world.emulator.subject_of(&new).as_deref(), Some(key.service_account_id.as_str()));
    assert_eq!(world.get(), new);
    assert_eq!(world.requests(), 2);
}

#[test]
fn if_a_replaced_key_is_rejected_the_old_keys_token_is_not_used() {
    let world = World::new();
    world.get();
    let key = world.emulator.new_service_account_key();
    key.write(world.sandbox.path("config/key.json")).expect("another key");
    world.emulator.delete_key(&key.id);
    fails_with(world.token(&[]).run(), 1, &["401", &key.service_account_id]);
}

#[test]
fn a_key_replaced_during_a_fetch_does_not_get_the_old_keys_token() {
    let world = World::new();
    world.emulator.fault(Fault::held().times(1));
    let leader = world.token(&[]).start();
    world.wait_for_requests(1);
    let waiting = started(world.token(&["-v"]));
    let key = world.emulator.new_service_account_key();
    key.write(world.sandbox.path("config/key.json")).expect("another key");
    world.emulator.clear_faults();
    let subject = |token: &str| world.emulator.subject_of(token).expect("a subject");
    assert_eq!(subject(&prints_token(leader.finish())), world.key.service_account_id);
    assert_eq!(subject(&token_on_stdout(&waiting.finish().exits(0))), key.service_account_id);
    assert_eq!(subject(&world.get()), key.service_account_id);
    assert_eq!(world.requests(), 2);
}

#[test]
fn a_key_file_touched_or_rewritten_with_the_same_content_is_still_a_hit() {
    let world = World::new();
    let token = world.get();
    let path = world.sandbox.path("config/key.json");
    fs::File::open(&path).and_then(|file| file.set_modified(std::time::SystemTime::UNIX_EPOCH)).expect("touched");
    assert_eq!(world.get(), token);
    let content = fs::read(&path).expect("the key");
    fs::remove_file(&path).expect("removed");
    world.sandbox.file("config/key.json", content);
    assert_eq!(world.get(), token);
    assert_eq!(world.requests(), 1);
}

#[test]
fn without_its_key_file_the_cached_token_is_not_returned() {
    let world = World::new();
    world.get();
    let path = world.sandbox.path("config/key.json");
    fs::rename(&path, world.sandbox.path("config/away.json")).expect("moved");
    let path = path.to_string_lossy().into_owned();
    fails_with_hint(world.token(&[]).run(), 3, &[&path, "no such file"], "restore the file");
    fails_with(world.token(&["--force-refresh"]).run(), 3, &[&path]);
    fails_with(world.token(&["--no-cache"]).run(), 3, &[&path]);
    assert_eq!(world.requests(), 1);
}

#[test]
fn an_edited_profile_takes_effect_with_the_next_call() {
    let world = World::new();
    let old = world.get();
    world.configure("timeout = \"30s\"\n# a comment");
    assert_eq!(world.get(), old, "settings outside the identity keep the token");
    let other = world.profile("other", "");
    world.sandbox.profile("default", &world.settings().replace("key.json", "other.json"));
    let new = world.get();
    assert_eq!(world.emulator.subject_of(&new).as_deref(), Some(other.service_account_id.as_str()));
    world.configure("");
    assert_eq!(world.get(), old);
    assert_eq!(world.requests(), 2);
}

#[test]
fn git_erase_drops_only_the_given_token() {
    let world = World::new();
    let token = world.get();
    let erase = |password: &str| {
        let request = format!("protocol=https\nhost=cr.yandex\nusername=iam\npassword={password}\n\n");
        world.sandbox.ycred(["git", "erase"]).stdin(request).run().exits(0).stderr_is_empty().stdout_is("");
    };
    erase(&world.emulator.issue("ajesomebodyelse00000"));
    assert_eq!(world.get(), token, "another token does not match");
    erase(&token);
    let new = world.get();
    assert_ne!(new, token);
    erase(&token);
    assert_eq!(world.get(), new);
    assert_eq!(world.requests(), 2);
}

#[test]
fn a_key_file_that_others_can_read_causes_a_warning_only_on_a_miss() {
    let world = World::new();
    let path = world.sandbox.path("config/key.json");
    set_mode(&path, 0o644);
    let token = prints_token_with_warning(world.token(&[]).run(), &["can be read by others", "0644", "chmod 600"]);
    assert_eq!(world.get(), token);
}
