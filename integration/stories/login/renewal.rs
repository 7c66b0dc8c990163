//! Token renewal after a login, without the user.

use std::fs;
use std::time::Duration;

use crate::emulator::Config;
use crate::emulator::auth::TOKEN;
use crate::emulator::faults::{Endpoint, Fault};
use crate::expect::{fails_with, fails_with_hint, prints_token, prints_token_with_warning, token_on_stdout};
use crate::harness::files::set_mode;
use crate::harness::waiting::{HOUR, MINUTE, WAIT_LIMIT, wait_until};
use crate::sources::person::Person;
use crate::world::shift;

pub const LOGIN_HINT: &str = "ycred login --profile default";

#[test]
fn after_one_login_the_token_is_cached_and_renewed_without_the_user() {
    let person = Person::new();
    let run = person.login(&[]).run().exits(0);
    assert!(
        run.stdout.contains("profile default: logged in; the token is valid for 11h 59m and renewed automatically"),
        "{run}"
    );
    let page = fs::read_to_string(person.world.sandbox.path("tmp/page")).expect("a page");
    assert!(page.contains("You are logged in") && page.contains("profile default"), "{page}");
    let first = person.get();
    assert_eq!(person.get(), first, "cached");
    assert_eq!((person.asked(), person.tokens()), (1, 1));
    person.age(11 * HOUR);
    let second = person.get();
    assert_ne!(second, first);
    person.age(13 * HOUR);
    assert_ne!(person.get(), second);
    assert_eq!((person.asked(), person.tokens()), (1, 3));
    assert_eq!(person.world.emulator.subject_of(&first).as_deref(), Some(crate::emulator::login::PERSON));
    let url = fs::read_to_string(person.world.sandbox.path("tmp/urls")).expect("the address");
    assert!(url.contains("scope=openid%20offline_access") && url.contains("client_id=yc.oauth.public-sdk"), "{url}");
    assert!(url.contains("redirect_uri=http%3A%2F%2F127.0.0.1%3A") && !url.contains("yc_federation_hint"), "{url}");
}

#[test]
fn without_a_login_there_is_an_immediate_error_and_no_request() {
    let person = Person::new();
    for call in [
        person.token(&[]),
        person.token(&["--no-cache"]),
        person.token(&["--force-refresh"]),
        person.world.sandbox.ycred(["refresh"]),
        person.world.sandbox.ycred(["exec", "--", "true"]),
    ] {
        let code = if format!("{:?}", call.clone().run()).contains("\"exec\"") { 125 } else { 1 };
        fails_with_hint(call.run(), code, &["nobody is logged in"], LOGIN_HINT);
    }
    person.world.sandbox.ycred(["kubectl"]).run().exits(1);
    assert_eq!(person.world.emulator.calls(), 0);
    assert!(!person.world.sandbox.path("tmp/urls").exists(), "no browser must open");
}

#[test]
fn without_a_cache_the_login_still_supplies_its_token_without_a_request() {
    let person = Person::new();
    person.log_in();
    let first = prints_token(person.token(&["--no-cache"]).run());
    assert_eq!(prints_token(person.token(&["--no-cache"]).run()), first);
    assert!(person.world.sandbox.files("cache").is_empty());
    assert_eq!(person.get(), first);
    fs::remove_dir_all(person.world.sandbox.path("cache")).expect("wiped");
    assert_eq!(person.get(), first);
    person.profile("cache = \"none\"");
    assert_eq!(person.get(), first);
    assert_eq!(person.tokens(), 1);
    // A token due for renewal is renewed once, and later calls use the new one.
    person.age(11 * HOUR);
    let second = person.get();
    assert_ne!(second, first);
    assert_eq!([person.get(), person.get()], [second.clone(), second]);
    assert_eq!(person.tokens(), 2);
}

#[test]
fn refresh_and_force_refresh_make_a_request() {
    let person = Person::new();
    person.log_in();
    let first = person.get();
    person.world.sandbox.ycred(["refresh"]).run().exits(0).stderr_is_empty();
    let second = person.get();
    assert_ne!(second, first);
    assert_ne!(prints_token(person.token(&["--force-refresh"]).run()), second);
    assert_ne!(prints_token(person.token(&["--force-refresh", "--no-cache"]).run()), second);
    assert_eq!(person.tokens(), 4);
    // A min-ttl beyond the remaining lifetime causes a renewal.
    person.age(3 * HOUR);
    prints_token(person.token(&["--min-ttl", "11h"]).run());
    assert_eq!(person.tokens(), 5);
}

#[test]
fn a_login_without_a_refresh_token_lasts_as_long_as_its_token() {
    let person = Person::new();
    person.world.emulator.set(|settings| settings.login.refresh_tokens = false);
    person.login(&[]).run().exits(0).stdout_has("logged in for 11h 59m; after that, log in again");
    let first = person.get();
    person.age(11 * HOUR + 30 * MINUTE);
    assert_eq!(person.get(), first);
    assert_eq!(prints_token(person.token(&["--no-cache"]).run()), first);
    prints_token_with_warning(person.token(&["--min-ttl", "1h"]).run(), &["sooner than the requested 1h"]);
    fails_with_hint(
        person.token(&["--force-refresh"]).run(),
        1,
        &["the login cannot be renewed: the organization issues no refresh tokens"],
        LOGIN_HINT,
    );
    person.age(HOUR);
    fails_with_hint(person.token(&["--no-cache"]).run(), 1, &["the login has expired"], LOGIN_HINT);
    assert_eq!(person.tokens(), 1, "expected no further requests");
}

#[test]
fn a_login_revoked_in_the_cloud_works_until_its_token_expires() {
    let person = Person::new();
    person.log_in();
    let first = person.get();
    person.world.emulator.logins(|logins| logins.end_all());
    person.age(11 * HOUR);
    assert_eq!(
        prints_token_with_warning(person.token(&[]).run(), &["the login has expired or was revoked", "invalid_grant"]),
        first
    );
    person.age(HOUR);
    let expected = ["the login has expired or was revoked", "invalid_grant"];
    fails_with_hint(person.token(&[]).run(), 1, &expected, LOGIN_HINT);
    fails_with_hint(person.token(&["--no-cache"]).run(), 1, &expected, LOGIN_HINT);
    assert_eq!(person.tokens(), 2, "a rejected refresh token is not sent again");
    person.log_in();
    assert_ne!(person.get(), first);
}

#[test]
fn while_the_cloud_is_down_the_last_token_is_used() {
    let person = Person::new();
    person.log_in();
    let first = person.get();
    person.age(11 * HOUR);
    person.world.emulator.fault(Fault::refuse(503).on(Endpoint::OauthToken));
    assert_eq!(prints_token_with_warning(person.token(&[]).run(), &["is used", "503"]), first);
    let no_cache = person.token(&["--no-cache", "--timeout", "2s"]);
    assert_eq!(prints_token_with_warning(no_cache.run(), &["the login's last token is used", "503"]), first);
    fs::remove_dir_all(person.world.sandbox.path("cache")).expect("wiped");
    assert_eq!(
        prints_token_with_warning(person.token(&["--timeout", "2s"]).run(), &["the login's last token is used"]),
        first
    );
    person.age(2 * HOUR);
    fails_with(person.token(&["--no-cache", "--timeout", "2s"]).run(), 4, &["503"]);
    person.world.emulator.clear_faults();
    assert_ne!(prints_token(person.token(&["--no-cache"]).run()), first);
}

#[test]
fn in_a_profile_that_others_can_write_the_login_supplies_no_token_that_is_not_in_the_cache() {
    let person = Person::new();
    person.log_in();
    person.get();
    let config = person.world.sandbox.path("config");
    let hint = format!("chmod go-w {}", config.display());
    set_mode(&config, 0o777);
    for is_stored in [true, false] {
        fs::remove_dir_all(person.world.sandbox.path("cache")).expect("wiped");
        if is_stored {
            // A failure is in the cache, and no token.
            set_mode(&config, 0o700);
            person.world.emulator.fault(Fault::refuse(429).retry_after(30).on(Endpoint::OauthToken));
            person.token(&["--force-refresh"]).run().exits(4);
            person.world.emulator.clear_faults();
            set_mode(&config, 0o777);
        }
        let requests = person.tokens();
        let expected = ["default.toml", "can be written by others (mode 0777)"];
        fails_with_hint(person.token(&[]).run(), 3, &expected, &hint);
        assert_eq!(person.tokens(), requests);
    }
}

#[test]
fn with_a_wrong_clock_a_login_takes_a_second_request_and_succeeds() {
    for minutes in [-10, 10] {
        let person = Person::new();
        person.world.emulator.set(|settings| settings.clock_shift = time::Duration::minutes(minutes));
        let run = person.login(&[]).run().exits(0);
        let which = if minutes < 0 { "10 min fast" } else { "10 min slow" };
        assert!(run.stderr.contains(&format!("warning: this machine's clock is {which}")), "{run}");
        assert_eq!(person.tokens(), 2);
        person.get();
        person.age(13 * HOUR);
        let renewed = person.token(&[]).run();
        prints_token_with_warning(renewed, &[which]);
        assert_eq!(person.tokens(), 4);
    }
}

#[test]
fn a_required_nonce_is_added_to_the_proof() {
    for status in [400, 401] {
        let person = Person::new();
        person.world.emulator.set(|settings| settings.login.nonce = Some(status));
        person.log_in();
        person.get();
        assert_eq!(person.tokens(), 2);
        person.age(13 * HOUR);
        // The nonce does not use up ordinary retries.
        person.world.emulator.fault(Fault::refuse(503).on(Endpoint::OauthToken).after(1).times(2));
        person.get();
        assert_eq!(person.tokens(), 6);
    }
}

#[test]
fn an_error_unrelated_to_the_nonce_is_not_retried() {
    let person = Person::new();
    person.log_in();
    person.get();
    person.world.emulator.logins(|logins| logins.end_all());
    person.age(13 * HOUR);
    person.world.emulator.fault(Fault::default().on(Endpoint::OauthToken).header("DPoP-Nonce", "one-with-each-answer"));
    fails_with_hint(person.token(&[]).run(), 1, &["invalid_grant"], LOGIN_HINT);
    assert_eq!(person.tokens(), 2);
}

#[test]
fn a_token_fetched_with_a_clock_far_ahead_is_renewed_first() {
    let person = Person::new();
    person.log_in();
    let first = person.get();
    // The clock was set back by a day after the login, so the stored expiry is a day too late.
    let path = person.file(".json");
    let mut state = person.state();
    shift(&mut state, i64::try_from((24 * HOUR).as_millis()).expect("a day"));
    fs::write(path, state.to_string()).expect("written");
    fs::remove_dir_all(person.world.sandbox.path("cache")).expect("wiped");
    let second = person.get();
    assert_ne!(second, first);
    assert_eq!(prints_token(person.token(&["--no-cache"]).run()), second);
    assert_eq!(person.tokens(), 2);
}

#[test]
fn a_token_that_a_server_rejected_is_not_returned_again() {
    for cache in ["", "cache = \"none\""] {
        let person = Person::with(Config::default(), cache);
        person.log_in();
        let first = person.get();
        let request = format!("protocol=https\nhost=cr.yandex\nusername=iam\npassword={first}\n\n");
        person.world.sandbox.ycred(["git", "erase"]).stdin(request).run().exits(0).stderr_is_empty().stdout_is("");
        assert_ne!(person.get(), first, "{cache}");
        assert_eq!(person.tokens(), 2);
    }
}

#[test]
fn a_wrong_clock_and_a_required_nonce_take_one_extra_request_each() {
    let person = Person::new();
    person.world.emulator.set(|settings| {
        settings.login.nonce = Some(401);
        settings.clock_shift = time::Duration::minutes(10);
    });
    person.log_in();
    assert_eq!(person.tokens(), 3);
    person.age(13 * HOUR);
    prints_token_with_warning(person.token(&[]).run(), &["10 min slow"]);
    // Each process has to learn the nonce again.
    assert_eq!(person.tokens(), 6);
}

#[test]
fn login_works_over_tls_with_a_custom_ca() {
    let person = Person::with(Config::with_tls(crate::emulator::Tls::Good), "ca-file = \"ca.pem\"");
    person.world.emulator.write_ca(person.world.sandbox.path("config/ca.pem")).expect("a certificate");
    person.log_in();
    person.get();
    person.age(13 * HOUR);
    person.get();
    person.profile("");
    person.age(13 * HOUR);
    fails_with(
        person.token(&["--no-cache"]).run(),
        3,
        &["/oauth/token: the server's certificate is signed by an authority"],
    );
}

#[test]
fn a_logged_in_user_can_impersonate_a_service_account() {
    let person = Person::new();
    let account = person.world.emulator.new_service_account();
    person.profile(&format!("impersonate = \"{account}\""));
    fails_with_hint(person.token(&[]).run(), 1, &["nobody is logged in"], LOGIN_HINT);
    person.log_in();
    let token = person.get();
    assert_eq!(person.world.emulator.subject_of(&token), Some(account));
    person.world.sandbox.ycred(["logout"]).run().exits(0);
    fails_with_hint(person.token(&[]).run(), 1, &["nobody is logged in"], LOGIN_HINT);
}

#[test]
fn an_access_key_that_outlasts_the_login_token_renews_it_first() {
    let person = Person::new();
    person.log_in();
    person.get();
    // Still fresh, but too short for a two-hour key.
    person.age(10 * HOUR + 30 * MINUTE);
    person.get();
    assert_eq!(person.tokens(), 1, "still fresh");
    person.world.sandbox.ycred(["aws", "--duration", "2h"]).run().exits(0).stderr_is_empty();
    let keys = person.world.emulator.access_keys();
    assert_eq!(keys.iter().map(|key| key.duration).collect::<Vec<_>>(), [2 * HOUR]);
    assert_eq!(person.tokens(), 2, "the login was renewed once");
}

#[test]
fn a_revoked_login_token_behind_impersonation_is_renewed_once() {
    let person = Person::new();
    let [first, second] = [(); 2].map(|()| person.world.emulator.new_service_account());
    person.profile(&format!("impersonate = \"{first}\""));
    person.log_in();
    person.get();
    let login_token = person.state()["access"]["token"].as_str().expect("a token").to_owned();
    assert!(person.world.emulator.revoke(&login_token));
    person.profile(&format!("impersonate = \"{second}\""));
    let token = person.get();
    assert_eq!(person.world.emulator.subject_of(&token), Some(second));
    assert_eq!(person.tokens(), 2, "the login was renewed once");
}

#[test]
fn a_forced_refresh_that_fails_keeps_no_call_from_the_token_of_the_login() {
    // Fresh, and due for renewal.
    for (age, is_due) in [(Duration::ZERO, false), (11 * HOUR + 50 * MINUTE, true)] {
        let person = Person::new();
        person.log_in();
        person.age(age);
        let token = person.state()["access"]["token"].as_str().expect("a token").to_owned();
        let emulator = &person.world.emulator;
        emulator.fault(Fault { hold: true, ..Fault::refuse(429).retry_after(30) }.on(Endpoint::OauthToken));
        let forced = person.token(&["--force-refresh", "--timeout", "60s"]).start();
        assert!(emulator.wait_for_requests(TOKEN, 2, WAIT_LIMIT));
        // It waits for the forced one, whose failure is not its own.
        let waiting = person.token(&["-v"]).start();
        wait_until("it has begun", || waiting.stderr().contains("no suitable cached token"));
        emulator.clear_faults();
        emulator.fault(Fault::refuse(429).retry_after(30).on(Endpoint::OauthToken));
        forced.finish().exits(4).stdout_is("");
        assert_eq!(token_on_stdout(&waiting.finish().exits(0)), token);
        let requests = person.tokens();
        for _ in 0..2 {
            let run = person.token(&[]).run();
            let printed = match is_due {
                true => prints_token_with_warning(run, &["because renewing failed"]),
                false => prints_token(run),
            };
            assert_eq!(printed, token);
        }
        assert_eq!(person.tokens(), requests, "the failure is remembered");
    }
}
