//! Logging out: what ycred holds is forgotten for good, and what that was is told.

use super::{Story, handed};
use crate::emulator::faults::Fault;

#[test]
fn logout_forgets_every_link_says_what_it_forgot_and_is_content_with_nothing() {
    let story = Story::new();
    let account = story.emulator.new_service_account();
    story.profile(&format!("impersonate = \"{account}\""));
    let logout = || story.sandbox.ycred(["logout"]).run().exits(0).quietly().stdout;
    assert!(logout().contains("no token is cached"));
    let token = story.get();
    let told = logout();
    assert_eq!(told.lines().count(), 2, "the impersonated account's and the key's: {told}");
    assert!(told.contains(&account) && told.contains(&story.key.service_account_id), "{told}");
    assert!(!told.contains("t1."), "{told}");
    for path in story.sandbox.files("cache") {
        let content = std::fs::read(&path).expect("readable");
        assert!(!String::from_utf8_lossy(&content).contains("t1."), "{} holds a token", path.display());
    }
    assert!(logout().contains("no token is cached"));
    assert_ne!(story.get(), token);
}

#[test]
fn logout_of_all_empties_the_cache_and_counts() {
    let story = Story::new();
    story.another("second");
    story.get();
    handed(story.token(&["-p", "second"]).run());
    let told = story.sandbox.ycred(["logout", "--all"]).run().exits(0).quietly().stdout;
    assert!(told.contains("2 cached tokens forgotten"), "{told}");
    let told = story.sandbox.ycred(["logout", "--all"]).run().exits(0).quietly().stdout;
    assert!(told.contains("0 cached tokens forgotten"), "{told}");
    story.get();
    assert_eq!(story.requests(), 3);
}

#[test]
fn a_fetch_under_way_does_not_bring_back_what_logout_forgot() {
    let story = Story::new();
    let old = story.get();
    story.emulator.fault(Fault::held());
    let refresh = story.token(&["--force-refresh"]).start();
    story.wait_for_requests(2);
    let logout = story.sandbox.ycred(["logout"]).start();
    super::wait_until("the record is empty", || {
        story.records().iter().all(|path| !std::fs::read_to_string(path).expect("a record").contains(&old))
    });
    story.emulator.clear_faults();
    let fetched = handed(refresh.finish());
    logout.finish().exits(0).quietly().stdout_has("is forgotten");
    for path in story.records() {
        let record = std::fs::read_to_string(&path).expect("a record");
        assert!(!record.contains(&fetched) && !record.contains(&old), "a token came back");
    }
    assert_ne!(story.get(), fetched, "the next call asks anew");
}

#[test]
fn logout_of_all_outlasts_a_first_fetch_that_is_under_way() {
    let story = Story::new();
    story.emulator.fault(Fault::held());
    let fetch = story.token(&[]).start();
    story.wait_for_requests(1);
    let logout = story.sandbox.ycred(["logout", "--all"]).start();
    // There is no record yet to be emptied; it waits for the lock. (If it has not come so far yet, the test is the weaker for
    // it, and not wrong.)
    std::thread::sleep(std::time::Duration::from_millis(300));
    story.emulator.clear_faults();
    let fetched = handed(fetch.finish());
    logout.finish().exits(0).quietly().stdout_has("1 cached tokens forgotten");
    for path in story.sandbox.files("cache") {
        let content = std::fs::read(&path).expect("readable");
        assert!(!String::from_utf8_lossy(&content).contains(&fetched), "{} holds it", path.display());
    }
}

#[test]
fn logout_of_all_clears_what_killed_processes_left() {
    let story = Story::new();
    story.get();
    for name in ["tmp-0123", "set-aside-x.json"] {
        story.sandbox.file(format!("cache/v1/{name}"), "t1.left.behind");
    }
    story.sandbox.ycred(["logout", "--all"]).run().exits(0).quietly();
    let left: Vec<_> = story.sandbox.files("cache/v1");
    assert!(left.iter().all(|path| !path.to_string_lossy().contains("tmp-")), "{left:?}");
    assert!(left.iter().all(|path| !path.to_string_lossy().contains("set-aside-")), "{left:?}");
}

#[test]
fn who_waits_for_a_token_is_told_of_a_logout_and_asks_for_none() {
    let story = Story::new();
    story.get();
    story.age(13 * crate::stories::HOUR);
    story.emulator.fault(Fault::held());
    let leader = story.token(&[]).start();
    story.wait_for_requests(2);
    let waiting: Vec<_> = (0..5).map(|_| story.token(&["-v"]).start()).collect();
    for waiter in &waiting {
        super::wait_until("it has seen the record", || waiter.stderr().contains("no cached token that will do"));
    }
    let logout = story.sandbox.ycred(["logout"]).start();
    for waiter in waiting {
        let run = waiter.finish().exits(4).stdout_is("");
        assert!(run.stderr.contains("was logged out while this process waited"), "{run}");
    }
    story.emulator.clear_faults();
    handed(leader.finish());
    logout.finish().exits(0);
    assert_eq!(story.requests(), 2);
}

#[test]
fn logout_with_two_meanings_or_without_a_place_is_an_error() {
    let story = Story::new();
    story.get();
    let all_of_one = story.sandbox.ycred(["logout", "--all", "-p", "default"]).run();
    super::refused(all_of_one, 2, &["--all and --profile"]);
    super::refused(story.sandbox.ycred(["logout", "--all", "default"]).run(), 2, &["--all and --profile"]);
    let two = story.sandbox.ycred(["logout", "default", "-p", "other"]).run();
    super::refused(two, 2, &["two profiles are named: default and other"]);
    let nowhere = story.sandbox.ycred(["logout", "--all"]).env("YCRED_CACHE_DIR", "relative").run();
    super::refused(nowhere, 5, &["YCRED_CACHE_DIR must be an absolute path"]);
    assert!(!story.records().is_empty());
}

#[test]
fn the_profile_may_be_a_word_of_its_own() {
    let story = Story::new();
    story.get();
    story.sandbox.profile("other", "source = \"static\"\ntoken-env = \"TOKEN\"");
    story.sandbox.ycred(["logout", "other"]).env("TOKEN", "t1.other.one").run().exits(0).stdout_has("profile other");
    assert!(!story.records().is_empty(), "it was another one's");
    story.sandbox.ycred(["refresh", "default"]).run().exits(0).stdout_has("profile default: token until");
    story.sandbox.ycred(["logout", "default"]).run().exits(0).stdout_has("profile default: the cached token");
    // What stands there for `revoke` may be a token.
    super::refused_with_hint(story.sandbox.ycred(["revoke", "other"]).run(), 2, &["--profile"], "--profile other");
}
