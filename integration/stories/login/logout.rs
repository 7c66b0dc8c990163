//! How `logout` and `revoke` end a login and its tokens.

use super::process::{renewal_process, send};
use super::renewal::LOGIN_HINT;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use crate::emulator::Config;
use crate::emulator::auth::TOKEN;
use crate::emulator::faults::{Endpoint, Fault};
use crate::expect::{fails_with, fails_with_hint, prints_token};
use crate::harness::control::Timed;
use crate::harness::machine::{is_root, require_tracer};
use crate::harness::waiting::{HOUR, WAIT_LIMIT, is_free, wait_until};
use crate::sources::person::Person;

#[test]
fn logout_ends_the_login_and_reports_it() {
    let person = Person::new();
    person.log_in();
    let token = person.get();
    let refresh = person.state()["refresh_token"].as_str().expect("a refresh token").to_owned();
    let run = person.world.sandbox.ycred(["logout"]).run().exits(0).stderr_is_empty();
    assert!(
        run.stdout.contains("logged out") && run.stdout.contains("the cached token of the logged-in user"),
        "{run}"
    );
    for path in [person.world.sandbox.files("state"), person.world.sandbox.files("cache")].concat() {
        let content = fs::read(&path).expect("readable");
        let content = String::from_utf8_lossy(&content);
        assert!(!content.contains(&token) && !content.contains(&refresh), "{}", path.display());
    }
    fails_with_hint(person.token(&[]).run(), 1, &["nobody is logged in"], LOGIN_HINT);
    fails_with(person.token(&["--no-cache"]).run(), 1, &["nobody is logged in"]);
    person.world.sandbox.ycred(["logout"]).run().exits(0).stderr_is_empty().stdout_has("no token in the cache");
    assert!(person.world.emulator.is_live(&token), "logout alone must not revoke the token");
    assert_eq!(person.tokens(), 1);
    // With --all.
    person.log_in();
    person
        .world
        .sandbox
        .profile("second", &fs::read_to_string(person.world.sandbox.path("config/default.toml")).expect("UTF-8"));
    person.login(&["second"]).run().exits(0);
    prints_token(person.token(&["-p", "second"]).run());
    let all = person.world.sandbox.ycred(["logout", "--all"]).run().exits(0).stderr_is_empty();
    assert!(all.stdout.contains("ended 2 logins") && all.stdout.contains("deleted 1 cached token"), "{all}");
    fails_with(person.token(&["-p", "second"]).run(), 1, &["nobody is logged in"]);
}

#[test]
fn a_concurrent_refresh_does_not_restore_a_login_that_logout_ended() {
    for arguments in [&[][..], &["--no-cache"]] {
        let person = Person::new();
        person.world.emulator.set(|settings| settings.login.one_time = true);
        person.log_in();
        person.age(13 * HOUR);
        person.world.emulator.fault(Fault::held().on(Endpoint::OauthToken));
        let refresh = person.token(arguments).start();
        assert!(person.world.emulator.wait_for_requests(TOKEN, 2, WAIT_LIMIT));
        let logout = person.world.sandbox.ycred(["logout"]).start();
        wait_until("the session file is deleted", || {
            person.world.sandbox.files("state").iter().all(|path| !path.to_string_lossy().ends_with(".session"))
        });
        person.world.emulator.clear_faults();
        fails_with_hint(refresh.finish(), 1, &["nobody is logged in"], LOGIN_HINT);
        logout.finish().exits(0).stdout_has("logged out");
        let tokens = person.world.emulator.tokens();
        let token = tokens.last().expect("the renewed token");
        assert_eq!(tokens.len(), 2, "{arguments:?}");
        for path in [person.world.sandbox.files("state"), person.world.sandbox.files("cache")].concat() {
            let content = fs::read(&path).expect("readable");
            assert!(!String::from_utf8_lossy(&content).contains(token), "{}", path.display());
        }
        fails_with(person.token(arguments).run(), 1, &["nobody is logged in"]);
    }
}

#[test]
fn a_refresh_that_outlasts_the_timeout_of_logout_stores_nothing() {
    let person = Person::new();
    person.log_in();
    person.age(13 * HOUR);
    person.world.emulator.fault(Fault::held().on(Endpoint::OauthToken));
    let refresh = person.token(&["--no-cache"]).start();
    assert!(person.world.emulator.wait_for_requests(TOKEN, 2, WAIT_LIMIT));
    person.world.sandbox.ycred(["logout", "--timeout", "1s"]).run().exits(0).stdout_has("logged out");
    fails_with_hint(refresh.finish(), 1, &["nobody is logged in"], LOGIN_HINT);
    // The renewal is waiting for its answer. It ends once it has released the lock.
    person.world.emulator.clear_faults();
    let lock = person.file(".lock");
    wait_until("the renewal has ended", || is_free(&lock));
    let left = person.world.sandbox.files("state");
    assert!(left.iter().all(|path| path.extension().is_some_and(|ending| ending == "lock")), "{left:?}");
    fails_with(person.token(&["--no-cache"]).run(), 1, &["nobody is logged in"]);
}

#[test]
fn a_renewal_process_that_a_logout_overtakes_sends_and_stores_nothing() {
    if !require_tracer() {
        return;
    }
    let person = Person::new();
    person.log_in();
    person.age(13 * HOUR);
    let trace = person.world.sandbox.path("tmp/trace");
    // Each process pauses when it first syncs a file, which it does before it stores that it sends the refresh token.
    let head = ["-f", "-qq", "-e", "trace=fsync", "-e", "inject=fsync:delay_enter=5000000:when=1", "-o"];
    let call = person.world.sandbox.call("strace", head);
    let arguments = ["token", "--no-cache"].map(std::ffi::OsStr::new);
    let renewal = call.and([trace.as_os_str(), crate::harness::YCRED.as_ref()]).and(arguments).start();
    // The caller holds the lock until it has started the renewal process.
    wait_until("the renewal process holds the lock", || {
        let process = renewal_process(&person.file(".lock"));
        fs::read_to_string(format!("/proc/{process}/cmdline")).is_ok_and(|arguments| arguments.contains("renew-login"))
    });
    person.world.sandbox.ycred(["logout", "--timeout", "1s"]).run().exits(0).stdout_has("logged out");
    fails_with_hint(renewal.finish(), 1, &["nobody is logged in"], LOGIN_HINT);
    assert_eq!(person.tokens(), 1);
    let left = person.world.sandbox.files("state");
    assert!(left.iter().all(|path| path.extension().is_some_and(|ending| ending == "lock")), "{left:?}");
}

#[test]
fn logout_of_all_deletes_login_files_of_killed_processes() {
    let person = Person::new();
    person.log_in();
    let left = person.file(".json").with_file_name("tmp-0123456789abcdef");
    fs::copy(person.file(".json"), &left).expect("a copy");
    // A login in progress has reserved its space on disk and still completes.
    let login = person.login(&["--no-browser"]).start();
    let address = person.address(&login);
    person.world.sandbox.ycred(["logout", "--all"]).run().exits(0).stderr_is_empty().stdout_has("ended 1 login");
    assert!(!left.exists());
    person.curl(&["-o", "/dev/null", &person.callback(&address)]);
    login.finish().exits(0).stdout_has("logged in");
    person.get();
}

#[test]
fn the_token_of_a_concurrent_renewal_is_revoked_too() {
    let person = Person::new();
    person.world.emulator.set(|settings| settings.login.one_time = true);
    person.log_in();
    person.age(13 * HOUR);
    person.world.emulator.fault(Fault::held().on(Endpoint::OauthToken));
    let renewal = person.token(&["--no-cache"]).start();
    assert!(person.world.emulator.wait_for_requests(TOKEN, 2, WAIT_LIMIT));
    let logout = person.world.sandbox.ycred(["logout", "--revoke", "-v"]).start();
    wait_until("logout waits", || logout.stderr().contains("waiting"));
    person.world.emulator.clear_faults();
    // The renewal's caller reads the state before the logout deletes it, or after.
    renewal.finish();
    logout.finish().exits(0).stdout_has("revoked the login");
    let issued = person.world.emulator.tokens();
    assert!(issued.len() >= 2, "the renewal has not issued a token: {}", issued.len());
    assert!(!person.world.emulator.is_live(issued.last().expect("a token")), "the renewed token is still valid");
    assert_eq!(person.world.emulator.logins(|logins| logins.valid_refresh_tokens()), 0);
}

#[test]
fn logout_can_revoke_the_login_in_the_cloud() {
    let person = Person::new();
    person.log_in();
    let token = person.get();
    let run = person.world.sandbox.ycred(["logout", "--revoke"]).run().exits(0).stderr_is_empty();
    for expected in ["revoked the login", "revoked the token of ajeperson00000000000, for every program"] {
        assert!(run.stdout.contains(expected), "{run}");
    }
    assert!(!person.world.emulator.is_live(&token));
    assert_eq!(person.world.emulator.logins(|logins| logins.valid_refresh_tokens()), 0);
    // If the token has expired, a new one is fetched to authorize the revocation.
    person.world.emulator.set(|settings| settings.login.one_time = true);
    person.log_in();
    person.age(13 * HOUR);
    person.world.sandbox.ycred(["logout", "--revoke"]).run().exits(0).stderr_is_empty().stdout_has("revoked the login");
    assert_eq!(person.world.emulator.logins(|logins| logins.valid_refresh_tokens()), 0);
    assert!(
        person.world.emulator.tokens().iter().filter(|token| person.world.emulator.is_live(token)).count() <= 1,
        "expected the aged token only"
    );
    // If revocation fails, local data is still deleted.
    person.log_in();
    person.get();
    person.world.emulator.fault(Fault::refuse(403).on(Endpoint::RevokeRefresh));
    let run = person.world.sandbox.ycred(["logout", "--revoke"]).run().exits(1);
    assert!(run.stdout.contains("logged out") && run.stdout.contains(", for every program"), "{run}");
    assert!(run.stderr.contains("removed from this machine, but not revoked in the cloud"), "{run}");
    fails_with(person.token(&[]).run(), 1, &["nobody is logged in"]);
    // With --all.
    person.world.emulator.clear_faults();
    person.log_in();
    let token = person.get();
    let run = person.world.sandbox.ycred(["logout", "--revoke", "--all"]).run().exits(0).stderr_is_empty();
    assert!(run.stdout.contains("ended 1 login") && !person.world.emulator.is_live(&token), "{run}");
}

#[test]
fn logout_with_revoke_waits_for_a_slow_renewal_and_sends_no_token_whose_answer_is_outstanding() {
    for (options, sent) in [(&[][..], 2), (&["--timeout", "4s"][..], 2)] {
        let person = Person::new();
        person.world.emulator.set(|settings| settings.login.one_time = true);
        person.log_in();
        person.age(13 * HOUR);
        person.world.emulator.fault(Fault::late(Duration::from_secs(8)).on(Endpoint::OauthToken));
        let renewal = person.token(&["--no-cache"]).start();
        assert!(person.world.emulator.wait_for_requests(TOKEN, sent, WAIT_LIMIT));
        let run = person.world.sandbox.ycred(["logout", "--revoke"].iter().chain(options)).run();
        match options {
            [] => drop(run.exits(0).stdout_has("revoked the login")),
            _ => drop(run.exits(4).stderr_has("another process is renewing the login")),
        }
        renewal.finish();
        assert_eq!(person.world.emulator.requests(TOKEN), sent, "{options:?}");
    }
}

/// Keeps ycred from removing anything from the cache: it belongs to another user, or is read-only.
fn block_cache(person: &Person) {
    let cache = person.world.sandbox.path("cache/v1");
    match is_root() {
        true => std::os::unix::fs::chown(&cache, Some(65534), Some(65534)).expect("another owner"),
        false => fs::set_permissions(&cache, fs::Permissions::from_mode(0o500)).expect("a mode"),
    }
}

#[test]
fn a_cache_that_cannot_be_deleted_keeps_no_login_and_no_token_from_being_revoked() {
    for arguments in [&["logout", "--all", "--revoke"][..], &["logout", "--revoke"], &["logout", "--all"], &["logout"]]
    {
        let person = Person::new();
        person.log_in();
        let token = person.get();
        block_cache(&person);
        let run = person.world.ycred(arguments).run().exits(3).stderr_has("cannot delete its contents");
        let ended = if arguments.contains(&"--all") { "ended 1 login" } else { "logged out" };
        assert!(run.stdout.contains(ended), "{run}");
        let is_revoked = arguments.contains(&"--revoke");
        assert_eq!(run.stdout.contains("revoked the login"), is_revoked, "{run}");
        assert_eq!(person.world.emulator.is_live(&token), !is_revoked, "{run}");
        let left = person.world.emulator.logins(|logins| logins.valid_refresh_tokens());
        assert_eq!(left, usize::from(!is_revoked), "{run}");
        fs::set_permissions(person.world.sandbox.path("cache/v1"), fs::Permissions::from_mode(0o700)).expect("a mode");
    }
}

#[test]
fn logout_of_all_revokes_a_token_once_that_two_profiles_have() {
    let person = Person::new();
    let world = &person.world;
    let account = world.emulator.new_service_account();
    world.profile("key", "");
    world.sandbox.profile("other", &format!("{}impersonate = \"{account}\"\n", world.settings_with("key.json")));
    for name in ["key", "other"] {
        prints_token(world.token(&["-p", name]).run());
    }
    let run = world.ycred(&["logout", "--all", "--revoke"]).run().exits(0).stderr_is_empty();
    assert_eq!(run.stdout.matches("revoked the token of").count(), 2, "{run}");
    assert!(world.emulator.tokens().iter().all(|token| !world.emulator.is_live(token)));
}

#[test]
fn logout_of_all_with_revoke_has_one_time_limit() {
    let worlds = [(&[][..], Duration::from_secs(10)), (&["--timeout", "4s"][..], Duration::from_secs(4))].map(
        |(options, limit)| {
            let person = Person::new();
            person.log_in();
            person.get();
            let world = &person.world;
            // One profile's login is being renewed by a process that is stopped. The tokens of others cannot be revoked.
            person.age(13 * HOUR);
            world.emulator.fault(Fault::held().on(Endpoint::OauthToken));
            let renewing = person.token(&["--timeout", "1s", "--no-cache"]).run().exits(4);
            assert!(renewing.stderr.contains("renewing this login"), "{renewing}");
            let process = renewal_process(&person.file(".lock"));
            send(libc::SIGSTOP, process);
            let names = ["a", "b", "c"];
            for name in names {
                world.profile(name, "timeout = \"60s\"");
                prints_token(world.token(&["-p", name]).run());
            }
            world.emulator.fault(Fault::held().on(Endpoint::Revoke));
            let arguments = [&["logout", "--all", "--revoke"], options].concat();
            (Timed::start(&world.sandbox, [world.ycred(&arguments)], limit), process, person)
        },
    );
    let ended = worlds.map(|(timed, process, person)| {
        let timed = timed.finish().remove(0);
        send(libc::SIGKILL, process);
        (timed, person)
    });
    for (timed, person) in ended {
        assert!(!timed.is_late(), "{:?} after the control process\n{}", timed.lateness, timed.run);
        let run = timed.run.exits(4).stdout_has("ended 1 login").stdout_has("deleted 4 cached tokens");
        assert!(run.stderr.contains("removed from this machine, but not revoked in the cloud"), "{run}");
        for path in [person.world.sandbox.files("state"), person.world.sandbox.files("cache")].concat() {
            let content = fs::read(&path).expect("readable");
            assert!(!String::from_utf8_lossy(&content).contains("t1."), "{}", path.display());
        }
    }
}

#[test]
fn beside_a_stopped_renewal_a_logout_deletes_and_revokes_what_it_can() {
    let person = Person::new();
    person.log_in();
    person.get();
    person.world.sandbox.ycred(["aws"]).run().exits(0);
    // The tokens in the cache stay valid.
    let mut state = person.state();
    crate::world::shift(&mut state, -13 * 3_600_000);
    fs::write(person.file(".json"), state.to_string()).expect("written");
    person.world.emulator.fault(Fault::held().on(Endpoint::OauthToken));
    person.token(&["--timeout", "1s", "--no-cache"]).run().exits(4);
    let process = renewal_process(&person.file(".lock"));
    send(libc::SIGSTOP, process);
    person.world.emulator.clear_faults();
    let run = person.world.sandbox.ycred(["logout", "--revoke", "--timeout", "16s"]).run();
    send(libc::SIGKILL, process);
    for expected in ["logged out", "deleted the cached access key", "deleted the cached token", "revoked the token of"]
    {
        assert!(run.stdout.contains(expected), "{expected}\n{run}");
    }
    for path in [person.world.sandbox.files("state"), person.world.sandbox.files("cache")].concat() {
        let content = fs::read(&path).expect("readable");
        assert!(!String::from_utf8_lossy(&content).contains("t1."), "{}", path.display());
    }
}

#[test]
fn revoke_takes_a_token_only_from_standard_input() {
    let person = Person::new();
    person.log_in();
    let cached = person.get();
    let revoke = |arguments: &[&str]| person.world.sandbox.ycred(["revoke"].iter().chain(arguments));
    for arguments in [&["-"][..], &[]] {
        let other = person.world.emulator.issue("ajeother000000000000");
        revoke(arguments)
            .stdin(format!("{other}\n"))
            .run()
            .exits(0)
            .stdout_has("revoked the token of ajeother000000000000");
        assert!(!person.world.emulator.is_live(&other) && person.world.emulator.is_live(&cached));
        assert_eq!(person.get(), cached, "revoking another token keeps the cached one");
    }
    revoke(&["-"]).stdin(cached.clone()).run().exits(0);
    assert_ne!(person.get(), cached, "the cached token is dropped");
    let error = fails_with_hint(
        revoke(&[&person.get()]).run(),
        2,
        &["other users can read a token on the command line"],
        "ycred revoke -",
    );
    assert!(!error.contains("t1."), "{error}");
    fails_with(revoke(&["-"]).run(), 2, &["missing token on standard input"]);
    fails_with(revoke(&["-"]).stdin("two words").run(), 2, &["standard input is not a token"]);
    fails_with(revoke(&["-"]).stdin("t1.unknown.token").run(), 1, &["Token is invalid or has expired"]);
    person.world.sandbox.ycred(["logout"]).run().exits(0);
    fails_with_hint(revoke(&[]).run(), 1, &["nobody is logged in"], LOGIN_HINT);
}

#[test]
fn revoke_ends_the_cached_token_and_keeps_the_login() {
    let person = Person::new();
    person.log_in();
    let first = person.get();
    person
        .world
        .sandbox
        .ycred(["revoke"])
        .run()
        .exits(0)
        .stderr_is_empty()
        .stdout_is("profile default: revoked the token of ajeperson00000000000\n");
    assert!(!person.world.emulator.is_live(&first));
    let second = person.get();
    assert_ne!(second, first);
    assert!(person.world.emulator.is_live(&second));
    assert_eq!(person.tokens(), 2);
}

#[test]
fn revoke_finds_a_token_that_only_the_login_state_has() {
    let person = Person::with(Config::default(), "cache = \"none\"");
    person.log_in();
    let first = person.get();
    person.world.sandbox.ycred(["revoke"]).run().exits(0).stderr_is_empty().stdout_has("revoked the token");
    assert!(!person.world.emulator.is_live(&first));
    assert_ne!(person.get(), first);
    // With impersonation, `revoke` does not fall back to the login's own token.
    let more = "cache = \"none\"\nimpersonate = \"ajeservice0000000000\"";
    let person = Person::with(Config::default(), more);
    person.log_in();
    fails_with(person.world.sandbox.ycred(["revoke"]).run(), 2, &["no valid token in the cache"]);
}
