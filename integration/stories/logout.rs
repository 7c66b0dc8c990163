//! `ycred logout`: the cached tokens are deleted for good, and the command lists them.

use crate::emulator::faults::Fault;
use crate::expect::{fails_with, fails_with_hint, prints_token};
use crate::harness::waiting::wait_until;
use crate::world::World;

#[test]
fn logout_deletes_and_lists_every_link_and_succeeds_with_an_empty_cache() {
    let world = World::new();
    let account = world.emulator.new_service_account();
    world.configure(&format!("impersonate = \"{account}\""));
    let logout = || world.sandbox.ycred(["logout"]).run().exits(0).stderr_is_empty().stdout;
    assert!(logout().contains("no token in the cache"));
    let token = world.get();
    let output = logout();
    assert_eq!(output.lines().count(), 2, "one line for the impersonated account, one for the key: {output}");
    assert!(output.contains(&account) && output.contains(&world.key.service_account_id), "{output}");
    assert!(!output.contains("t1."), "{output}");
    for path in world.sandbox.files("cache") {
        let content = std::fs::read(&path).expect("readable");
        assert!(!String::from_utf8_lossy(&content).contains("t1."), "{} contains a token", path.display());
    }
    assert!(logout().contains("no token in the cache"));
    assert_ne!(world.get(), token);
}

#[test]
fn logout_of_all_empties_the_cache_and_counts() {
    let world = World::new();
    world.profile("second", "");
    world.get();
    prints_token(world.token(&["-p", "second"]).run());
    let output = world.sandbox.ycred(["logout", "--all"]).run().exits(0).stderr_is_empty().stdout;
    assert!(output.contains("deleted 2 cached tokens"), "{output}");
    let output = world.sandbox.ycred(["logout", "--all"]).run().exits(0).stderr_is_empty().stdout;
    assert!(output.contains("deleted 0 cached tokens"), "{output}");
    world.get();
    assert_eq!(world.requests(), 3);
}

#[test]
fn a_concurrent_fetch_does_not_restore_what_logout_deleted() {
    let world = World::new();
    let old = world.get();
    world.emulator.fault(Fault::held());
    let refresh = world.token(&["--force-refresh"]).start();
    world.wait_for_requests(2);
    let logout = world.sandbox.ycred(["logout"]).start();
    wait_until("the record is empty", || {
        world.records().iter().all(|path| !std::fs::read_to_string(path).expect("a record").contains(&old))
    });
    world.emulator.clear_faults();
    let fetched = prints_token(refresh.finish());
    logout.finish().exits(0).stderr_is_empty().stdout_has("deleted the cached token");
    for path in world.records() {
        let record = std::fs::read_to_string(&path).expect("a record");
        assert!(!record.contains(&fetched) && !record.contains(&old), "a token is cached again");
    }
    assert_ne!(world.get(), fetched, "the next call fetches a new token");
}

#[test]
fn logout_of_all_waits_for_a_first_fetch_and_deletes_its_token() {
    let world = World::new();
    world.emulator.fault(Fault::held());
    let fetch = world.token(&[]).start();
    world.wait_for_requests(1);
    let logout = world.sandbox.ycred(["logout", "--all"]).start();
    // There is no record to empty yet, so logout waits for the lock. If it has not got that far, the test still passes
    // but proves less.
    std::thread::sleep(std::time::Duration::from_millis(300));
    world.emulator.clear_faults();
    let fetched = prints_token(fetch.finish());
    logout.finish().exits(0).stderr_is_empty().stdout_has(" cached token");
    for path in world.sandbox.files("cache") {
        let content = std::fs::read(&path).expect("readable");
        assert!(!String::from_utf8_lossy(&content).contains(&fetched), "{} contains the token", path.display());
    }
}

#[test]
fn a_fetch_that_ends_after_a_logout_is_not_stored_even_if_there_was_no_record() {
    for arguments in [&["logout"][..], &["logout", "--all"]] {
        let world = World::new();
        world.emulator.fault(Fault::held());
        let fetch = world.token(&["--timeout", "120s"]).start();
        world.wait_for_requests(1);
        // It does not wait for the fetch to end.
        world.ycred(arguments).and(["--timeout", "1s"]).run().exits(0).stderr_is_empty();
        world.emulator.clear_faults();
        let fetched = prints_token(fetch.finish());
        for path in world.sandbox.files("cache") {
            let content = std::fs::read(&path).expect("readable");
            assert!(!String::from_utf8_lossy(&content).contains("t1."), "{arguments:?}: {}", path.display());
        }
        assert_ne!(world.get(), fetched, "the next call fetches a new token, and stores it");
        assert_eq!((world.get(), world.requests()), (world.get(), 2));
    }
}

#[test]
fn logout_of_all_deletes_the_files_of_killed_processes() {
    let world = World::new();
    world.get();
    for name in ["tmp-0123", "set-aside-x.json"] {
        world.sandbox.file(format!("cache/v1/{name}"), "t1.left.behind");
    }
    world.sandbox.ycred(["logout", "--all"]).run().exits(0).stderr_is_empty();
    let left: Vec<_> = world.sandbox.files("cache/v1");
    assert!(left.iter().all(|path| !path.to_string_lossy().contains("tmp-")), "{left:?}");
    assert!(left.iter().all(|path| !path.to_string_lossy().contains("set-aside-")), "{left:?}");
}

#[test]
fn a_logout_ends_the_waiters_without_a_request() {
    let world = World::new();
    world.get();
    world.age(13 * crate::harness::waiting::HOUR);
    world.emulator.fault(Fault::held());
    let leader = world.token(&[]).start();
    world.wait_for_requests(2);
    let waiting: Vec<_> = (0..5).map(|_| world.token(&["-v"]).start()).collect();
    for waiter in &waiting {
        wait_until("the waiter has read the record", || waiter.stderr().contains("no suitable cached token"));
    }
    let logout = world.sandbox.ycred(["logout"]).start();
    for waiter in waiting {
        let run = waiter.finish().exits(4).stdout_is("");
        assert!(run.stderr.contains("was logged out while this process waited"), "{run}");
    }
    world.emulator.clear_faults();
    prints_token(leader.finish());
    logout.finish().exits(0);
    assert_eq!(world.requests(), 2);
}

#[test]
fn logout_with_conflicting_arguments_or_without_a_cache_directory_is_an_error() {
    let world = World::new();
    world.get();
    let all_of_one = world.sandbox.ycred(["logout", "--all", "-p", "default"]).run();
    fails_with(all_of_one, 2, &["cannot combine --all with a profile"]);
    fails_with(world.sandbox.ycred(["logout", "--all", "default"]).run(), 2, &["cannot combine --all with a profile"]);
    let two = world.sandbox.ycred(["logout", "default", "-p", "other"]).run();
    fails_with(two, 2, &["two different profiles given: default and --profile other"]);
    let nowhere = world.sandbox.ycred(["logout", "--all"]).env("YCRED_CACHE_DIR", "relative").run();
    fails_with(nowhere, 3, &["YCRED_CACHE_DIR must be an absolute path"]);
    assert!(!world.records().is_empty());
}

#[test]
fn the_profile_may_be_a_positional_argument() {
    let world = World::new();
    world.get();
    world.sandbox.profile("other", "source = \"static\"\ntoken-env = \"TOKEN\"");
    world.sandbox.ycred(["logout", "other"]).env("TOKEN", "t1.other.one").run().exits(0).stdout_has("profile other");
    assert!(!world.records().is_empty(), "only the other profile was logged out");
    world.sandbox.ycred(["refresh", "default"]).run().exits(0).stdout_has("profile default: token expires at");
    world.sandbox.ycred(["logout", "default"]).run().exits(0).stdout_has("profile default: deleted the cached token");
    // For `revoke`, this argument might be a token.
    fails_with_hint(
        world.sandbox.ycred(["revoke", "other"]).run(),
        2,
        &["unexpected argument \"other\""],
        "--profile other",
    );
}
