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
