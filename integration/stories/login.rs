//! People who log in: by a script in the browser's place, which goes where the emulator's page sends it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::emulator::Config;
use crate::emulator::auth::TOKEN;
use crate::emulator::faults::{Endpoint, Fault};
use crate::emulator::login::Page;
use crate::expect::{handed, refused, refused_with_hint, warned};
use crate::harness::machine::strace;
use crate::harness::waiting::{HOUR, HeldLock, MINUTE, PATIENCE, wait_until};
use crate::harness::{YCRED, require_client, run_all};
use crate::sources::person::Person;
use crate::world::shift;

const NOT_LOGGED_IN: &str = "ycred login --profile default";

#[test]
fn a_person_logs_in_once_and_the_token_is_had_and_renewed_without_them() {
    let person = Person::new();
    let run = person.login(&[]).run().exits(0);
    assert!(
        run.stdout.contains("profile default: logged in; the token lives another 11h 59m and renews itself"),
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
fn whoever_is_not_logged_in_is_told_at_once_and_nobody_is_asked() {
    let person = Person::new();
    for call in [
        person.token(&[]),
        person.token(&["--no-cache"]),
        person.token(&["--force-refresh"]),
        person.world.sandbox.ycred(["refresh"]),
        person.world.sandbox.ycred(["exec", "--", "true"]),
    ] {
        let code = if format!("{:?}", call.clone().run()).contains("\"exec\"") { 125 } else { 1 };
        refused_with_hint(call.run(), code, &["nobody is logged in"], NOT_LOGGED_IN);
    }
    person.world.sandbox.ycred(["kubectl"]).run().exits(1);
    assert_eq!(person.world.emulator.calls(), 0);
    assert!(!person.world.sandbox.path("tmp/urls").exists(), "no browser");
}

#[test]
fn neither_a_wiped_cache_nor_none_at_all_costs_the_login_or_a_request() {
    let person = Person::new();
    person.log_in();
    let first = handed(person.token(&["--no-cache"]).run());
    assert_eq!(handed(person.token(&["--no-cache"]).run()), first);
    assert!(person.world.sandbox.files("cache").is_empty());
    assert_eq!(person.get(), first);
    fs::remove_dir_all(person.world.sandbox.path("cache")).expect("wiped");
    assert_eq!(person.get(), first);
    person.profile("cache = \"none\"");
    assert_eq!(person.get(), first);
    assert_eq!(person.tokens(), 1);
    // Due for renewal, it is renewed once for all that come after.
    person.age(11 * HOUR);
    let second = person.get();
    assert_ne!(second, first);
    assert_eq!([person.get(), person.get()], [second.clone(), second]);
    assert_eq!(person.tokens(), 2);
}

#[test]
fn refresh_and_force_ask_the_cloud() {
    let person = Person::new();
    person.log_in();
    let first = person.get();
    person.world.sandbox.ycred(["refresh"]).run().exits(0).quietly();
    let second = person.get();
    assert_ne!(second, first);
    assert_ne!(handed(person.token(&["--force-refresh"]).run()), second);
    assert_ne!(handed(person.token(&["--force-refresh", "--no-cache"]).run()), second);
    assert_eq!(person.tokens(), 4);
    // More than what is left: renewed for it.
    person.age(3 * HOUR);
    handed(person.token(&["--min-ttl", "11h"]).run());
    assert_eq!(person.tokens(), 5);
}

#[test]
fn a_login_without_refresh_token_lasts_as_long_as_its_token() {
    let person = Person::new();
    person.world.emulator.set(|settings| settings.login.refresh_tokens = false);
    person.login(&[]).run().exits(0).stdout_has("logged in for 11h 59m; after that log in again");
    let first = person.get();
    person.age(11 * HOUR + 30 * MINUTE);
    assert_eq!(person.get(), first);
    assert_eq!(handed(person.token(&["--no-cache"]).run()), first);
    warned(person.token(&["--min-ttl", "1h"]).run(), &["less than the 1h asked for"]);
    refused_with_hint(
        person.token(&["--force-refresh"]).run(),
        1,
        &["the login cannot be renewed: its organisation gives no refresh tokens"],
        NOT_LOGGED_IN,
    );
    person.age(HOUR);
    refused_with_hint(person.token(&["--no-cache"]).run(), 1, &["the login has expired"], NOT_LOGGED_IN);
    assert_eq!(person.tokens(), 1, "nobody was asked in vain");
}

#[test]
fn a_login_that_the_cloud_has_ended_is_over_once_its_token_is() {
    let person = Person::new();
    person.log_in();
    let first = person.get();
    person.world.emulator.logins(|logins| logins.end_all());
    person.age(11 * HOUR);
    assert_eq!(warned(person.token(&[]).run(), &["the login has expired or was revoked", "invalid_grant"]), first);
    person.age(HOUR);
    let over = ["the login has expired or was revoked", "invalid_grant"];
    refused_with_hint(person.token(&[]).run(), 1, &over, NOT_LOGGED_IN);
    refused_with_hint(person.token(&["--no-cache"]).run(), 1, &over, NOT_LOGGED_IN);
    assert_eq!(person.tokens(), 4);
    person.log_in();
    assert_ne!(person.get(), first);
}

#[test]
fn while_the_cloud_is_down_the_last_token_serves() {
    let person = Person::new();
    person.log_in();
    let first = person.get();
    person.age(11 * HOUR);
    person.world.emulator.fault(Fault::refuse(503).on(Endpoint::OauthToken));
    assert_eq!(warned(person.token(&[]).run(), &["is used", "503"]), first);
    let no_cache = person.token(&["--no-cache", "--timeout", "2s"]);
    assert_eq!(warned(no_cache.run(), &["the login's last token is used", "503"]), first);
    fs::remove_dir_all(person.world.sandbox.path("cache")).expect("wiped");
    assert_eq!(warned(person.token(&["--timeout", "2s"]).run(), &["the login's last token is used"]), first);
    person.age(2 * HOUR);
    refused(person.token(&["--no-cache", "--timeout", "2s"]).run(), 4, &["503"]);
    person.world.emulator.clear_faults();
    assert_ne!(handed(person.token(&["--no-cache"]).run()), first);
}

#[test]
fn a_clock_that_is_off_costs_a_second_request_and_no_login() {
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
        warned(renewed, &[which]);
        assert_eq!(person.tokens(), 4);
    }
}

#[test]
fn a_nonce_is_put_into_the_proof_when_it_is_demanded() {
    for status in [400, 401] {
        let person = Person::new();
        person.world.emulator.set(|settings| settings.login.nonce = Some(status));
        person.log_in();
        person.get();
        assert_eq!(person.tokens(), 2);
        person.age(13 * HOUR);
        // And does not eat the ordinary retries.
        person.world.emulator.fault(Fault::refuse(503).on(Endpoint::OauthToken).after(1).times(2));
        person.get();
        assert_eq!(person.tokens(), 6);
    }
}

#[test]
fn what_no_nonce_can_mend_is_not_asked_again() {
    let person = Person::new();
    person.log_in();
    person.get();
    person.world.emulator.logins(|logins| logins.end_all());
    person.age(13 * HOUR);
    person.world.emulator.fault(Fault::default().on(Endpoint::OauthToken).header("DPoP-Nonce", "one-with-each-answer"));
    refused_with_hint(person.token(&[]).run(), 1, &["invalid_grant"], NOT_LOGGED_IN);
    assert_eq!(person.tokens(), 2);
}

#[test]
fn a_token_that_was_got_by_a_clock_far_ahead_is_renewed_first() {
    let person = Person::new();
    person.log_in();
    let first = person.get();
    // The clock has been put back by a day; the token is dead tomorrow at the latest, not the day after.
    let path = person.file(".json");
    let mut state = person.state();
    shift(&mut state, i64::try_from((24 * HOUR).as_millis()).expect("a day"));
    fs::write(path, state.to_string()).expect("written");
    fs::remove_dir_all(person.world.sandbox.path("cache")).expect("wiped");
    let second = person.get();
    assert_ne!(second, first);
    assert_eq!(handed(person.token(&["--no-cache"]).run()), second);
    assert_eq!(person.tokens(), 2);
}

#[test]
fn a_token_that_a_server_has_rejected_is_not_handed_out_again() {
    for cache in ["", "cache = \"none\""] {
        let person = Person::with(Config::default(), cache);
        person.log_in();
        let first = person.get();
        let request = format!("protocol=https\nhost=cr.yandex\nusername=iam\npassword={first}\n\n");
        person.world.sandbox.ycred(["git", "erase"]).stdin(request).run().exits(0).quietly().stdout_is("");
        assert_ne!(person.get(), first, "{cache}");
        assert_eq!(person.tokens(), 2);
    }
}

#[test]
fn a_clock_that_is_off_and_a_nonce_that_is_demanded_cost_a_request_each() {
    let person = Person::new();
    person.world.emulator.set(|settings| {
        settings.login.nonce = Some(401);
        settings.clock_shift = time::Duration::minutes(10);
    });
    person.log_in();
    assert_eq!(person.tokens(), 3);
    person.age(13 * HOUR);
    warned(person.token(&[]).run(), &["10 min slow"]);
    // A nonce that is known by now is not, to the next process.
    assert_eq!(person.tokens(), 6);
}

#[test]
fn whoever_logs_in_next_gets_no_token_of_the_one_before() {
    let person = Person::new();
    person.log_in();
    let first = person.get();
    // Even one that lives longer, and one whose renewal is under way.
    person.world.emulator.set(|settings| settings.life = HOUR);
    person.world.emulator.fault(Fault::held().on(Endpoint::OauthToken).times(1));
    let renewal = person.token(&["--force-refresh"]).start();
    assert!(person.world.emulator.wait_for_requests(TOKEN, 2, PATIENCE));
    let login = person.login(&[]).start();
    assert!(person.world.emulator.wait_for_requests(TOKEN, 3, PATIENCE));
    person.world.emulator.clear_faults();
    handed(renewal.finish());
    login.finish().exits(0);
    let own = person.state()["access"]["token"].as_str().expect("a token").to_owned();
    assert_eq!(person.get(), own);
    assert_ne!(own, first);
}

#[test]
fn twenty_who_renew_at_once_send_a_one_time_refresh_token_once_and_lose_nobody() {
    let person = Person::new();
    person.world.emulator.set(|settings| settings.login.one_time = true);
    person.log_in();
    let mut before = person.get();
    for (round, words) in [&[][..], &["--no-cache"]].into_iter().enumerate() {
        person.age(13 * HOUR);
        person.world.emulator.fault(Fault::slow(Duration::from_millis(500)).on(Endpoint::OauthToken));
        let tokens: Vec<String> = run_all((0..20).map(|_| person.token(words))).into_iter().map(handed).collect();
        person.world.emulator.clear_faults();
        assert!(tokens.iter().all(|token| *token == tokens[0]) && tokens[0] != before, "{words:?}");
        assert_eq!(person.tokens(), round + 2, "{words:?}");
        before.clone_from(&tokens[0]);
    }
    // For one that is forced only a fetch counts that began after it did, so there may be more than one here.
    run_all((0..20).map(|_| person.token(&["--force-refresh"]))).into_iter().for_each(|run| _ = handed(run));
    run_all((0..20).map(|_| person.token(&["--force-refresh", "--no-cache"])))
        .into_iter()
        .for_each(|run| _ = handed(run));
    person.age(13 * HOUR);
    person.get();
    assert_eq!(person.world.emulator.logins(|logins| (logins.reused, logins.living())), (0, 1));
}

#[test]
fn what_another_process_has_renewed_since_is_not_called_the_same_token_again() {
    let person = Person::new();
    person.log_in();
    let token = person.get();
    // Asked for by whoever renews the login, after this process began; and in the cache by a fetch that began before it.
    let mut state = person.state();
    state["access"]["began"] = (state["access"]["began"].as_i64().expect("a moment") + 30_000).into();
    fs::write(person.file(".json"), state.to_string()).expect("written");
    assert_eq!(handed(person.token(&["--force-refresh"]).run()), token);
    assert_eq!(person.tokens(), 1);
}

#[test]
fn without_a_working_lock_the_refresh_token_of_whoever_was_first_is_taken() {
    let Some(strace) = strace() else { return };
    let person = Person::new();
    person.world.emulator.set(|settings| settings.login.one_time = true);
    person.log_in();
    person.age(13 * HOUR);
    let lockless = |out: &str| {
        let trace = person.world.sandbox.path(out);
        let words = ["-f", "-qq", "-e", "trace=flock", "-e", "inject=flock:error=ENOLCK", "-o"];
        let call = person.world.sandbox.call(&strace, words);
        call.and([trace.as_os_str(), crate::harness::YCRED.as_ref(), "token".as_ref(), "--no-cache".as_ref()])
    };
    person.world.emulator.fault(Fault::held().on(Endpoint::OauthToken).times(1));
    let slow = lockless("tmp/a").start();
    assert!(person.world.emulator.wait_for_requests(TOKEN, 2, PATIENCE));
    let first = handed(lockless("tmp/b").run());
    person.world.emulator.clear_faults();
    // Refused, since the other one was first; then it finds what that has stored.
    assert_eq!(handed(slow.finish()), first);
    assert_eq!(person.world.emulator.logins(|logins| logins.reused), 1);
    person.age(13 * HOUR);
    person.get();
}

#[test]
fn without_a_browser_the_address_is_pasted_or_the_page_comes_by_itself() {
    let person = Person::new();
    // Nothing on stdin: the callback comes through a tunnel.
    let login = person.login(&["--no-browser"]).start();
    let address = person.address(&login);
    assert!(login.stderr().contains("ssh -N -L "), "{}", login.stderr());
    let callback = person.callback(&address);
    person.curl(&[&callback]).stdout_has("You are logged in");
    login.finish().exits(0).stdout_has("logged in");
    let first = person.get();
    // From stdin, at once or after something else.
    let fifo = person.world.sandbox.path("tmp/fifo");
    person.world.sandbox.call("mkfifo", [&fifo]).run().exits(0);
    let shell = format!("exec {} login --no-browser < {}", crate::harness::YCRED, fifo.display());
    let login = person.world.sandbox.call("sh", ["-c", &shell]).start();
    let mut keyboard = fs::OpenOptions::new().write(true).open(&fifo).expect("a reader");
    let callback = person.callback(&person.address(&login));
    let mut type_line = |line: &str| std::io::Write::write_all(&mut keyboard, line.as_bytes()).expect("typed");
    type_line("what?\n\n");
    wait_until("it is told", || login.stderr().contains("that is not the address"));
    type_line(&format!("{callback}\n"));
    login.finish().exits(0).stdout_has("logged in");
    assert_ne!(person.get(), first, "a new login is a new token");
    assert!(!person.world.sandbox.path("tmp/urls").exists(), "no browser was opened");
}

#[test]
fn the_redirect_port_can_be_fixed_and_a_taken_one_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let person = Person::with(Config::default(), &format!("redirect-port = \"{port}\""));
    let error = refused(person.login(&[]).run(), 4, &[&format!("cannot listen on port {port}")]);
    assert!(error.contains("in use"), "{error}");
    drop(taken);
    person.log_in();
    let url = fs::read_to_string(person.world.sandbox.path("tmp/urls")).expect("the address");
    assert!(url.contains(&format!("127.0.0.1%3A{port}%2Fauth%2Fcallback")), "{url}");
    // A number needs no quotes.
    person.profile(&format!("redirect-port = {port}"));
    person.log_in();
    let urls = fs::read_to_string(person.world.sandbox.path("tmp/urls")).expect("the addresses");
    assert_eq!(urls.matches(&format!("127.0.0.1%3A{port}%2F")).count(), 2, "{urls}");
    for wrong in ["\"0\"", "0", "-1", "65536", "0x10000", "\"http\""] {
        person.profile(&format!("redirect-port = {wrong}"));
        refused(person.login(&[]).run(), 3, &["default.toml:4", "redirect-port", "is not a port"]);
    }
}

#[test]
fn strays_are_turned_away_and_the_wait_goes_on() {
    let person = Person::new();
    let login = person.login(&["--no-browser", "-v"]).start();
    let callback = person.callback(&person.address(&login));
    let base = callback.split("/auth/").next().expect("a host").to_owned();
    let port = base.rsplit(':').next().expect("a port").to_owned();
    let silent = std::net::TcpStream::connect(("127.0.0.1", port.parse::<u16>().expect("a port"))).expect("connects");
    let status = |words: &[&str]| person.curl(&[&["-o", "/dev/null", "-w", "%{http_code}"], words].concat()).stdout;
    assert_eq!(status(&[&format!("{base}/favicon.ico")]), "404");
    assert_eq!(status(&[&format!("{base}/")]), "404");
    assert_eq!(status(&[&format!("{base}/auth/callback")]), "400");
    assert_eq!(status(&[&format!("{base}/auth/callback?code=x&state=guessed")]), "400");
    assert_eq!(status(&[&format!("{base}/auth/callback?error=access_denied&state=guessed")]), "400");
    assert_eq!(status(&["-X", "POST", &callback]), "405");
    assert_eq!(status(&["-H", "Host: evil.example", &callback]), "403");
    assert_eq!(status(&["-H", "X-Forwarded-For: 10.0.0.1", &callback]), "403");
    assert_eq!(person.tokens(), 0);
    let page = person.curl(&["-i", &callback]).stdout;
    assert!(
        page.contains("You are logged in") && page.contains("Content-Security-Policy: default-src 'none'"),
        "{page}"
    );
    login.finish().exits(0);
    drop(silent);
    assert_eq!(person.tokens(), 1);
}

#[test]
fn a_second_callback_while_the_first_is_answered_finds_nothing() {
    let person = Person::new();
    person.world.emulator.fault(Fault::held().on(Endpoint::OauthToken));
    let login = person.login(&["--no-browser"]).start();
    let callback = person.callback(&person.address(&login));
    let words = ["-sS", "--noproxy", "*", "-o", "/dev/null", "-w", "%{http_code}", &callback];
    let first = person.world.sandbox.call("curl", words).start();
    assert!(person.world.emulator.wait_for_requests(TOKEN, 1, PATIENCE));
    let second = person.world.sandbox.call("curl", words).start();
    // It has connected, or else it finds nobody, which is as good.
    std::thread::sleep(Duration::from_millis(300));
    person.world.emulator.clear_faults();
    first.finish().exits(0).stdout_is("200");
    assert!(["404", "000"].contains(&second.finish().stdout.as_str()));
    login.finish().exits(0);
    assert_eq!(person.tokens(), 1);
}

#[test]
fn a_no_is_told_and_no_browser_opens_again_at_once() {
    let person = Person::new();
    person.world.emulator.set(|settings| settings.login.deny = true);
    let words = ["access_denied: The person said no"];
    refused_with_hint(person.login(&[]).run().without_address(), 1, &words, "said no in the browser");
    let page = fs::read_to_string(person.world.sandbox.path("tmp/page")).expect("a page");
    assert!(page.contains("You are not logged in") && page.contains("The person said no"), "{page}");
    let cooling = person.login(&[]).run();
    refused_with_hint(
        cooling,
        1,
        &["no browser is opened", "the last login failed", "access_denied"],
        "--force-refresh",
    );
    assert_eq!(person.asked(), 1);
    refused(person.login(&["--force-refresh"]).run().without_address(), 1, &words);
    assert_eq!(person.asked(), 2);
    person.world.emulator.set(|settings| settings.login.deny = false);
    let path = person.file(".failed");
    let mut failed: Value = serde_json::from_slice(&fs::read(&path).expect("remembered")).expect("JSON");
    shift(&mut failed, -31_000);
    fs::write(&path, failed.to_string()).expect("aged");
    person.log_in();
    assert!(!path.exists(), "forgotten after a login");
}

#[test]
fn a_code_that_buys_nothing_is_told_in_browser_and_terminal() {
    let person = Person::new();
    person.world.emulator.fault(Fault::refuse(400).on(Endpoint::OauthToken).message("<b>not today</b>"));
    let run = person.login(&[]).run().without_address();
    refused(run, 1, &["the login went well, but gave no token", "<b>not today</b>"]);
    let page = fs::read_to_string(person.world.sandbox.path("tmp/page")).expect("a page");
    assert!(page.contains("&lt;b&gt;not today") && !page.contains("<b>"), "{page}");
    refused_with_hint(person.token(&[]).run(), 1, &["nobody is logged in"], NOT_LOGGED_IN);
}

#[test]
fn two_who_log_in_at_once_open_one_browser() {
    let person = Person::new();
    person.world.emulator.fault(Fault::held().on(Endpoint::OauthToken));
    let first = person.login(&[]).start();
    assert!(person.world.emulator.wait_for_requests(TOKEN, 1, PATIENCE));
    let second = person.login(&[]).start();
    wait_until("it waits", || second.stderr().contains("another `ycred login`"));
    person.world.emulator.clear_faults();
    first.finish().exits(0).stdout_has("logged in");
    second.finish().exits(0).stdout_has("logged in").stderr_has("went well");
    assert_eq!((person.asked(), person.tokens()), (1, 1));
    // And when it fails, both do, with one reason.
    person.world.emulator.fault(Fault { hold: true, ..Fault::refuse(400) }.on(Endpoint::OauthToken).message("no more"));
    let first = person.login(&[]).start();
    assert!(person.world.emulator.wait_for_requests(TOKEN, 2, PATIENCE));
    let second = person.login(&[]).start();
    wait_until("it waits", || second.stderr().contains("another `ycred login`"));
    person.world.emulator.clear_faults();
    first.finish().exits(1).stderr_has("no more");
    second.finish().exits(1).stderr_has("the other `ycred login` for this profile failed").stderr_has("no more");
    assert_eq!((person.asked(), person.tokens()), (2, 2));
    person.get();
}

#[test]
fn a_login_that_is_killed_leaves_nothing_half() {
    let person = Person::new();
    let login = person.login(&["--no-browser"]).start();
    person.address(&login);
    login.signal(libc::SIGINT);
    assert_eq!(login.finish().status.code(), None, "ended by the signal");
    refused_with_hint(person.token(&[]).run(), 1, &["nobody is logged in"], NOT_LOGGED_IN);
    person.log_in();
    person.get();
}

#[test]
fn nobody_comes_and_the_time_is_up() {
    let person = Person::new();
    let run = person.login(&["--no-browser", "--timeout", "1s"]).run().without_address();
    refused_with_hint(run, 4, &["nobody has logged in within 1s"], "--timeout");
}

#[test]
fn a_browser_that_does_not_start_leaves_the_address() {
    let person = Person::new();
    for (browser, told) in [
        ("/nowhere/browser", "no browser can be started (/nowhere/browser: no such file)"),
        ("false", "no browser has opened"),
    ] {
        let login = person.login(&["--force-refresh"]).env("BROWSER", browser).start();
        let callback = person.callback(&person.address(&login));
        wait_until("it is told", || login.stderr().contains(told));
        person.curl(&[&callback]);
        login.finish().exits(0).stdout_has("logged in");
    }
    // Who sits at a terminal may paste then, as with --no-browser: the machine may have no browser at all.
    let Some(python) = require_client("python3") else { return };
    let terminal = person.world.sandbox.script("terminal.py", super::serve::TERMINAL);
    for browser in ["/nowhere/browser", "false"] {
        let steps = r"press Enter=>what?\n|that is not the address=>\x03";
        let words = [terminal.to_str().expect("plain text"), YCRED, "login", "--force-refresh", steps];
        let run = person.world.sandbox.call(&python, words).env("BROWSER", browser).run();
        assert!(run.stdout.contains("that is not the address that the browser ends at"), "{run}");
    }
}

#[test]
fn init_makes_the_profile_and_logs_in() {
    let person = Person::new();
    let (iam, auth) = (person.world.emulator.url(), person.world.emulator.auth_url());
    person.world.emulator.set(|settings| settings.login.federation = Some("bpf00000000000000001".into()));
    let words =
        ["init", "work", "--login", "--federation-id", "bpf00000000000000001", "--iam-url", &iam, "--auth-url", &auth];
    let run = person.world.sandbox.ycred(words).run().exits(0);
    assert!(run.stdout.contains("work.toml: whoever is logged in; logged in; the token lives"), "{run}");
    let url = fs::read_to_string(person.world.sandbox.path("tmp/urls")).expect("the address");
    assert!(url.contains("yc_federation_hint=bpf00000000000000001"), "{url}");
    handed(person.token(&["-p", "work"]).run());
    person.login(&["work"]).run().exits(0).stdout_has("profile work: logged in");
    refused_with_hint(person.login(&["nope"]).run(), 3, &["profile nope"], "ycred init nope --login");
    refused(person.login(&["work", "-p", "other"]).run(), 2, &["two profiles are named"]);
    person.world.sandbox.profile("static", "source = \"static\"\ntoken-env = \"PATH\"\n");
    refused(person.login(&["static"]).run(), 2, &["its source is \"static\", which needs no login"]);
    // What is written stays where nobody logs in.
    person.world.emulator.set(|settings| settings.login.deny = true);
    let words = ["init", "two", "--login", "--iam-url", &iam, "--auth-url", &auth];
    refused(
        person.world.sandbox.ycred(words).run().without_address(),
        1,
        &["two.toml is written, but nobody is logged in yet"],
    );
    fs::remove_file(person.world.sandbox.path("config/default.toml")).expect("removed");
    refused_with_hint(person.login(&[]).run(), 3, &["no profile"], "ycred init default --login");
}

#[test]
fn logout_ends_the_login_and_says_so() {
    let person = Person::new();
    person.log_in();
    let token = person.get();
    let refresh = person.state()["refresh_token"].as_str().expect("one").to_owned();
    let run = person.world.sandbox.ycred(["logout"]).run().exits(0).quietly();
    assert!(
        run.stdout.contains("logged out") && run.stdout.contains("the cached token of whoever is logged in"),
        "{run}"
    );
    for path in [person.world.sandbox.files("state"), person.world.sandbox.files("cache")].concat() {
        let content = fs::read(&path).expect("readable");
        let content = String::from_utf8_lossy(&content);
        assert!(!content.contains(&token) && !content.contains(&refresh), "{}", path.display());
    }
    refused_with_hint(person.token(&[]).run(), 1, &["nobody is logged in"], NOT_LOGGED_IN);
    refused(person.token(&["--no-cache"]).run(), 1, &["nobody is logged in"]);
    person.world.sandbox.ycred(["logout"]).run().exits(0).quietly().stdout_has("no token is cached");
    assert!(person.world.emulator.is_live(&token), "the cloud was not asked");
    assert_eq!(person.tokens(), 1);
    // All of them.
    person.log_in();
    person
        .world
        .sandbox
        .profile("second", &fs::read_to_string(person.world.sandbox.path("config/default.toml")).expect("text"));
    person.login(&["second"]).run().exits(0);
    handed(person.token(&["-p", "second"]).run());
    let all = person.world.sandbox.ycred(["logout", "--all"]).run().exits(0).quietly();
    assert!(all.stdout.contains("2 logins ended") && all.stdout.contains("1 cached tokens forgotten"), "{all}");
    refused(person.token(&["-p", "second"]).run(), 1, &["nobody is logged in"]);
}

#[test]
fn a_refresh_under_way_does_not_bring_back_what_logout_ended() {
    for words in [&[][..], &["--no-cache"]] {
        let person = Person::new();
        person.world.emulator.set(|settings| settings.login.one_time = true);
        person.log_in();
        person.age(13 * HOUR);
        person.world.emulator.fault(Fault::held().on(Endpoint::OauthToken));
        let refresh = person.token(words).start();
        assert!(person.world.emulator.wait_for_requests(TOKEN, 2, PATIENCE));
        let logout = person.world.sandbox.ycred(["logout"]).start();
        wait_until("the login is over", || {
            person.world.sandbox.files("state").iter().all(|path| !path.to_string_lossy().ends_with(".session"))
        });
        person.world.emulator.clear_faults();
        let token = handed(refresh.finish());
        logout.finish().exits(0).stdout_has("logged out");
        for path in [person.world.sandbox.files("state"), person.world.sandbox.files("cache")].concat() {
            let content = fs::read(&path).expect("readable");
            assert!(!String::from_utf8_lossy(&content).contains(&token), "{}", path.display());
        }
        refused(person.token(words).run(), 1, &["nobody is logged in"]);
    }
}

#[test]
fn a_refresh_that_outlasts_logouts_patience_stores_nothing_either() {
    let person = Person::new();
    person.log_in();
    person.age(13 * HOUR);
    person.world.emulator.fault(Fault::held().on(Endpoint::OauthToken));
    let refresh = person.token(&["--no-cache"]).start();
    assert!(person.world.emulator.wait_for_requests(TOKEN, 2, PATIENCE));
    person.world.sandbox.ycred(["logout", "--timeout", "1s"]).run().exits(0).stdout_has("logged out");
    person.world.emulator.clear_faults();
    handed(refresh.finish());
    let left = person.world.sandbox.files("state");
    assert!(left.iter().all(|path| path.extension().is_some_and(|ending| ending == "lock")), "{left:?}");
    refused(person.token(&["--no-cache"]).run(), 1, &["nobody is logged in"]);
}

#[test]
fn logout_of_all_clears_what_a_killed_process_left_of_a_login() {
    let person = Person::new();
    person.log_in();
    let left = person.file(".json").with_file_name("tmp-0123456789abcdef");
    fs::copy(person.file(".json"), &left).expect("a copy");
    // A login under way has taken its room on the disk, and comes to its end all the same.
    let login = person.login(&["--no-browser"]).start();
    let address = person.address(&login);
    person.world.sandbox.ycred(["logout", "--all"]).run().exits(0).quietly().stdout_has("1 logins ended");
    assert!(!left.exists());
    person.curl(&["-o", "/dev/null", &person.callback(&address)]);
    login.finish().exits(0).stdout_has("logged in");
    person.get();
}

#[test]
fn what_a_renewal_under_way_brings_is_revoked_with_the_rest() {
    let person = Person::new();
    person.world.emulator.set(|settings| settings.login.one_time = true);
    person.log_in();
    person.age(13 * HOUR);
    person.world.emulator.fault(Fault::held().on(Endpoint::OauthToken));
    let renewal = person.token(&["--no-cache"]).start();
    assert!(person.world.emulator.wait_for_requests(TOKEN, 2, PATIENCE));
    let logout = person.world.sandbox.ycred(["logout", "--revoke", "-v"]).start();
    wait_until("it waits", || logout.stderr().contains("waiting"));
    person.world.emulator.clear_faults();
    let token = handed(renewal.finish());
    logout.finish().exits(0).stdout_has("the login is revoked");
    assert!(!person.world.emulator.is_live(&token));
    assert_eq!(person.world.emulator.logins(|logins| logins.living()), 0);
}

#[test]
fn logout_can_end_it_in_the_cloud_too() {
    let person = Person::new();
    person.log_in();
    let token = person.get();
    let run = person.world.sandbox.ycred(["logout", "--revoke"]).run().exits(0).quietly();
    for words in ["the login is revoked", "the token of ajeperson00000000000 is revoked, for every program"] {
        assert!(run.stdout.contains(words), "{run}");
    }
    assert!(!person.world.emulator.is_live(&token));
    assert_eq!(person.world.emulator.logins(|logins| logins.living()), 0);
    // Whose token is dead gets one more, to be allowed to end the login.
    person.world.emulator.set(|settings| settings.login.one_time = true);
    person.log_in();
    person.age(13 * HOUR);
    person.world.sandbox.ycred(["logout", "--revoke"]).run().exits(0).quietly().stdout_has("the login is revoked");
    assert_eq!(person.world.emulator.logins(|logins| logins.living()), 0);
    assert!(
        person.world.emulator.tokens().iter().filter(|token| person.world.emulator.is_live(token)).count() <= 1,
        "only the aged one"
    );
    // What cannot be revoked is forgotten all the same.
    person.log_in();
    person.get();
    person.world.emulator.fault(Fault::refuse(403).on(Endpoint::RevokeRefresh));
    let run = person.world.sandbox.ycred(["logout", "--revoke"]).run().exits(1);
    assert!(run.stdout.contains("logged out") && run.stdout.contains("is revoked, for every"), "{run}");
    assert!(run.stderr.contains("forgotten here, but not revoked in the cloud"), "{run}");
    refused(person.token(&[]).run(), 1, &["nobody is logged in"]);
    // All of them.
    person.world.emulator.clear_faults();
    person.log_in();
    let token = person.get();
    let run = person.world.sandbox.ycred(["logout", "--revoke", "--all"]).run().exits(0).quietly();
    assert!(run.stdout.contains("1 logins ended") && !person.world.emulator.is_live(&token), "{run}");
}

#[test]
fn revoke_takes_a_token_from_standard_input_and_from_nowhere_else() {
    let person = Person::new();
    person.log_in();
    let cached = person.get();
    let revoke = |words: &[&str]| person.world.sandbox.ycred(["revoke"].iter().chain(words));
    for words in [&["-"][..], &[]] {
        let other = person.world.emulator.issue("ajeother000000000000");
        revoke(words)
            .stdin(format!("{other}\n"))
            .run()
            .exits(0)
            .stdout_has("the token of ajeother000000000000 is revoked");
        assert!(!person.world.emulator.is_live(&other) && person.world.emulator.is_live(&cached));
        assert_eq!(person.get(), cached, "another one's end is not that of the cached one");
    }
    revoke(&["-"]).stdin(cached.clone()).run().exits(0);
    assert_ne!(person.get(), cached, "the cached one is dropped");
    let told =
        refused_with_hint(revoke(&[&person.get()]).run(), 2, &["not given on the command line"], "ycred revoke -");
    assert!(!told.contains("t1."), "{told}");
    refused(revoke(&["-"]).run(), 2, &["there is no token on standard input"]);
    refused(revoke(&["-"]).stdin("two words").run(), 2, &["what is on standard input is no token"]);
    refused(revoke(&["-"]).stdin("t1.unknown.token").run(), 1, &["Token is invalid or has expired"]);
    person.world.sandbox.ycred(["logout"]).run().exits(0);
    refused_with_hint(revoke(&[]).run(), 1, &["nobody is logged in"], NOT_LOGGED_IN);
}

#[test]
fn revoke_ends_the_cached_token_and_the_login_goes_on() {
    let person = Person::new();
    person.log_in();
    let first = person.get();
    person
        .world
        .sandbox
        .ycred(["revoke"])
        .run()
        .exits(0)
        .quietly()
        .stdout_is("profile default: the token of ajeperson00000000000 is revoked\n");
    assert!(!person.world.emulator.is_live(&first));
    let second = person.get();
    assert_ne!(second, first);
    assert!(person.world.emulator.is_live(&second));
    assert_eq!(person.tokens(), 2);
}

#[test]
fn revoke_finds_the_token_that_only_the_login_has() {
    let person = Person::with(Config::default(), "cache = \"none\"");
    person.log_in();
    let first = person.get();
    person.world.sandbox.ycred(["revoke"]).run().exits(0).quietly().stdout_has("is revoked");
    assert!(!person.world.emulator.is_live(&first));
    assert_ne!(person.get(), first);
    // But not in place of another one's: whoever is impersonated has none now.
    let more = "cache = \"none\"\nimpersonate = \"ajeservice0000000000\"";
    let person = Person::with(Config::default(), more);
    person.log_in();
    refused(person.world.sandbox.ycred(["revoke"]).run(), 2, &["no living token is cached"]);
}

#[test]
fn secrets_and_directories_of_a_login_are_its_owners_alone() {
    let person = Person::new();
    let shell = format!("umask 000; exec {} login", crate::harness::YCRED);
    person.world.sandbox.call("sh", ["-c", &shell]).run().exits(0);
    let mode = |path: &std::path::Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    for path in person.world.sandbox.files("state") {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(
            name.starts_with(|c: char| c.is_ascii_hexdigit())
                && name.split('.').next().is_some_and(|stem| stem.len() == 32),
            "{name}"
        );
    }
    for directory in ["state", "state/v1"] {
        assert_eq!(mode(&person.world.sandbox.path(directory)), 0o700, "{directory}");
    }
    // Loosened by somebody, they are tightened by the next login.
    fs::set_permissions(person.world.sandbox.path("state/v1"), fs::Permissions::from_mode(0o755)).expect("loosened");
    person.log_in();
    assert_eq!(mode(&person.world.sandbox.path("state/v1")), 0o700);
}

#[test]
fn a_login_that_cannot_be_kept_is_told_before_a_browser_opens() {
    let person = Person::new();
    person.world.sandbox.file("state", "in the way");
    refused(person.login(&[]).run(), 5, &["state/v1: a login cannot be kept"]);
    let nowhere = person.login(&[]).env("YCRED_STATE_DIR", "relative").run();
    refused_with_hint(
        nowhere,
        3,
        &["a login cannot be kept", "YCRED_STATE_DIR must be an absolute path"],
        "YCRED_STATE_DIR",
    );
    assert_eq!(person.asked(), 0);
}

#[test]
fn what_is_in_the_place_of_a_state_and_is_none_is_no_login() {
    let person = Person::new();
    person.log_in();
    let state = person.file(".json");
    let good = fs::read(&state).expect("a state");
    for bad in [&b""[..], b"{", b"{}", &good[..good.len() / 2], &[0xff; 100_000]] {
        fs::write(&state, bad).expect("damaged");
        refused_with_hint(person.token(&["--no-cache"]).run(), 1, &[], NOT_LOGGED_IN);
    }
    fs::remove_file(&state).expect("removed");
    std::os::unix::fs::symlink("/etc/passwd", &state).expect("a link");
    refused_with_hint(
        person.token(&["--no-cache"]).run(),
        1,
        &["is not a file that a login has written"],
        NOT_LOGGED_IN,
    );
    person.log_in();
    handed(person.token(&["--no-cache"]).run());
    // Another login's marker makes this one none.
    fs::write(person.file(".session"), "another").expect("a marker");
    refused_with_hint(person.token(&[]).run(), 1, &["nobody is logged in"], NOT_LOGGED_IN);
}

#[test]
fn on_a_full_disk_a_living_token_is_not_risked_and_a_dead_one_is_renewed_with_a_warning() {
    let Some(strace) = strace() else { return };
    let person = Person::new();
    person.world.emulator.set(|settings| settings.login.one_time = true);
    person.log_in();
    let first = person.get();
    // Only what must be durable is synced: the login's state.
    let full = |words: &[&str]| {
        let trace = person.world.sandbox.path("tmp/trace");
        let head = ["-f", "-qq", "-e", "trace=fsync", "-e", "inject=fsync:error=ENOSPC", "-o"];
        let call = person.world.sandbox.call(&strace, head);
        let call =
            call.and([trace.as_os_str(), crate::harness::YCRED.as_ref(), "token".as_ref(), "--no-cache".as_ref()]);
        call.and(words)
    };
    person.age(11 * HOUR);
    assert_eq!(handed(full(&[]).run()), first);
    assert_eq!(person.tokens(), 1, "the refresh token was not put at risk");
    person.age(2 * HOUR);
    let told = ["the token cannot be kept, and neither can the renewed login", "the disk is full"];
    assert_ne!(warned(full(&[]).run(), &told), first);
    let left = person.world.sandbox.files("state");
    assert!(left.iter().all(|path| !path.to_string_lossy().contains("tmp-")), "{left:?}");
}

#[test]
fn over_tls_with_an_authority_of_ones_own() {
    let person = Person::with(Config::with_tls(crate::emulator::Tls::Good), "ca-file = \"ca.pem\"");
    person.world.emulator.write_ca(person.world.sandbox.path("config/ca.pem")).expect("a certificate");
    person.log_in();
    person.get();
    person.age(13 * HOUR);
    person.get();
    person.profile("");
    person.age(13 * HOUR);
    refused(person.token(&["--no-cache"]).run(), 3, &["/oauth/token: its certificate is signed by an authority"]);
}

#[test]
fn a_person_may_impersonate_a_service_account() {
    let person = Person::new();
    let account = person.world.emulator.new_service_account();
    person.profile(&format!("impersonate = \"{account}\""));
    refused_with_hint(person.token(&[]).run(), 1, &["nobody is logged in"], NOT_LOGGED_IN);
    person.log_in();
    let token = person.get();
    assert_eq!(person.world.emulator.subject_of(&token), Some(account));
    person.world.sandbox.ycred(["logout"]).run().exits(0);
    refused_with_hint(person.token(&[]).run(), 1, &["nobody is logged in"], NOT_LOGGED_IN);
}

#[test]
fn a_browsers_noise_reaches_nobody() {
    let person = Person::new();
    let noisy = person
        .world
        .sandbox
        .script("bin/noisy", "#!/bin/sh\necho noise\necho noise >&2\nexec \"$PWD/../bin/browser\" \"$1\"\n");
    let run = person.login(&[]).env("BROWSER", noisy).run().exits(0);
    assert_eq!(run.stdout.lines().count(), 1, "{run}");
    run.never_says("noise");
}

/// What Chromium must not do in a test: talk to anybody else, or keep anything.
const CHROMIUM: &str = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
    --disable-component-update --disable-sync --ignore-certificate-errors --no-proxy-server --disable-dev-shm-usage";

/// Logs in with Chromium; the page that it shows in the end, if it shows any.
fn shown_by(chromium: &Path, tls: crate::emulator::Tls, page: Page) -> Option<String> {
    let person = Person::with(Config::with_tls(tls), "ca-file = \"ca.pem\"");
    person.world.emulator.write_ca(person.world.sandbox.path("config/ca.pem")).expect("a certificate");
    person.world.emulator.set(|settings| settings.login.page = page);
    let dom = person.world.sandbox.path("tmp/dom");
    let browser = person.world.sandbox.script(
        "bin/chromium-here",
        &format!(
            "#!/bin/sh\ntimeout 80 {} {CHROMIUM} --user-data-dir=\"$TMPDIR/chromium\" --virtual-time-budget=20000 \
             --dump-dom \"$1\" > {dom}.part\nmv {dom}.part {dom}\n",
            chromium.display(),
            dom = dom.display()
        ),
    );
    person.login(&[]).env("BROWSER", browser).run().exits(0).stdout_has("logged in");
    person.get();
    assert_eq!((person.asked(), person.tokens()), (1, 1));
    wait_until("the browser is done", || dom.exists());
    Some(fs::read_to_string(&dom).expect("the page")).filter(|page| !page.is_empty())
}

#[test]
fn a_real_browser_logs_in_and_shows_the_page() {
    let Some(chromium) = require_client("chromium") else { return };
    for (tls, page) in [(crate::emulator::Tls::Off, Page::Redirect), (crate::emulator::Tls::Good, Page::Auto)] {
        // On a busy machine `--dump-dom` now and then prints nothing at all, though the login went well.
        let shown = (0..3).find_map(|_| shown_by(&chromium, tls, page)).expect("a page");
        assert!(shown.contains("You are logged in") && shown.contains("<svg"), "{shown}");
    }
}

#[test]
fn whoever_renews_for_ever_is_not_waited_for_for_ever() {
    let person = Person::new();
    person.log_in();
    let first = person.get();
    person.age(11 * HOUR);
    handed(person.token(&["--no-cache"]).run());
    person.age(11 * HOUR);
    let held = HeldLock::of(&person.file(".lock"));
    let words = ["--no-cache", "--timeout", "1s"];
    let told = ["the login's last token is used", "another ycred process has been renewing this login"];
    assert_ne!(warned(person.token(&words).run(), &told), first);
    person.age(2 * HOUR);
    refused_with_hint(person.token(&words).run(), 4, &["another ycred process has been renewing"], "--timeout");
    drop(held);
    handed(person.token(&words).run());
    assert_eq!(person.tokens(), 3);
}

#[test]
fn a_hit_touches_the_logins_marker_and_nothing_else_of_it() {
    if !crate::harness::machine::require_tracer() {
        return;
    }
    let Some(strace) = strace() else { return };
    let person = Person::new();
    person.log_in();
    person.get();
    let trace = person.world.sandbox.path("tmp/trace");
    let call = person.world.sandbox.call(&strace, ["-f", "-qq", "-y", "-o"]);
    handed(call.and([trace.as_os_str(), crate::harness::YCRED.as_ref(), "token".as_ref()]).run());
    let trace = fs::read_to_string(trace).expect("a trace");
    let state = person.world.sandbox.path("state").display().to_string();
    // The environment, which the first line has, names the directory too.
    let touched: Vec<&str> = trace.lines().filter(|line| line.contains(&state) && !line.contains("execve")).collect();
    assert!(matches!(touched.as_slice(), [one] if one.contains(".session") && one.contains("stat")), "{touched:#?}");
    assert!(!trace.contains("socket(") && !trace.contains("flock("), "{trace}");
}

#[test]
fn killed_at_any_step_of_keeping_it_a_login_is_whole_or_the_one_before() {
    let Some(strace) = strace() else { return };
    let person = Person::new();
    person.log_in();
    let mut killed = 0;
    for call in ["fsync", "rename", "unlink", "openat"] {
        for number in 1..40 {
            person.age(13 * HOUR);
            let inject = format!("inject={call}:signal=KILL:when={number}");
            let words = ["-f", "-qq", "-e", &format!("trace={call}"), "-e", &inject, "-o", "/dev/null"];
            let renewal = person.world.sandbox.call(&strace, words);
            let run = renewal.and([crate::harness::YCRED, "token", "--no-cache"]).run();
            let was_killed = run.stdout.is_empty();
            assert!(was_killed || run.status.success(), "{run}");
            handed(person.token(&["--no-cache"]).run());
            if !was_killed {
                break;
            }
            killed += 1;
        }
    }
    assert!(killed > 8, "{killed}");
    // A killed login leaves the one before, or none; never a half of each.
    for call in ["fsync", "rename"] {
        for number in 1..10 {
            let inject = format!("inject={call}:signal=KILL:when={number}");
            let words = ["-f", "-qq", "-e", &format!("trace={call}"), "-e", &inject, "-o", "/dev/null"];
            let login = person.world.sandbox.call(&strace, words);
            let run = login.and([crate::harness::YCRED, "login", "--force-refresh"]).run();
            let token = person.token(&["--no-cache"]).run();
            if token.status.success() {
                handed(token);
            } else {
                refused_with_hint(token, 1, &["nobody is logged in"], NOT_LOGGED_IN);
            }
            if run.status.success() {
                break;
            }
            person.log_in();
        }
    }
    person.login(&["--force-refresh"]).run().exits(0);
    person.get();
}
