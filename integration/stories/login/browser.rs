//! Logins with and without a browser.

use super::renewal::LOGIN_HINT;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::emulator::Config;
use crate::emulator::auth::TOKEN;
use crate::emulator::faults::{Endpoint, Fault};
use crate::emulator::login::Page;
use crate::expect::{fails_with, fails_with_hint, prints_token};
use crate::harness::waiting::{WAIT_LIMIT, wait_until};
use crate::harness::{YCRED, require_client};
use crate::sources::person::Person;
use crate::stories::terminal::TERMINAL;
use crate::world::shift;

#[test]
fn without_a_browser_the_callback_arrives_by_request_or_is_pasted() {
    let person = Person::new();
    // Without input on stdin: the callback arrives through a tunnel.
    let login = person.login(&["--no-browser"]).start();
    let address = person.address(&login);
    assert!(login.stderr().contains("ssh -N -L "), "{}", login.stderr());
    let callback = person.callback(&address);
    person.curl(&[&callback]).stdout_has("You are logged in");
    login.finish().exits(0).stdout_has("logged in");
    let first = person.get();
    // The address is pasted on stdin, after other input.
    let fifo = person.world.sandbox.path("tmp/fifo");
    person.world.sandbox.call("mkfifo", [&fifo]).run().exits(0);
    let shell = format!("exec '{}' login --no-browser < {}", crate::harness::YCRED, fifo.display());
    let login = person.world.sandbox.call("sh", ["-c", &shell]).start();
    let mut keyboard = fs::OpenOptions::new().write(true).open(&fifo).expect("a reader");
    let callback = person.callback(&person.address(&login));
    let mut type_line = |line: &str| std::io::Write::write_all(&mut keyboard, line.as_bytes()).expect("typed");
    type_line("what?\n\n");
    wait_until("ycred has printed the message", || login.stderr().contains("not the URL of a completed login"));
    type_line(&format!("{callback}\n"));
    login.finish().exits(0).stdout_has("logged in");
    assert_ne!(person.get(), first, "a new login must issue a new token");
    assert!(!person.world.sandbox.path("tmp/urls").exists(), "no browser was opened");
}

#[test]
fn the_redirect_port_can_be_set_and_a_port_in_use_is_an_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let person = Person::with(Config::default(), &format!("redirect-port = \"{port}\""));
    let error = fails_with(person.login(&[]).run(), 4, &[&format!("cannot listen on port {port}")]);
    assert!(error.contains("in use"), "{error}");
    drop(listener);
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
        fails_with(person.login(&[]).run(), 3, &["default.toml:4", "redirect-port", "is not a port"]);
    }
}

#[test]
fn unrelated_requests_are_rejected_and_the_login_continues() {
    let person = Person::new();
    let login = person.login(&["--no-browser", "-v"]).start();
    let callback = person.callback(&person.address(&login));
    let base = callback.split("/auth/").next().expect("a host").to_owned();
    let port = base.rsplit(':').next().expect("a port").to_owned();
    let silent = std::net::TcpStream::connect(("127.0.0.1", port.parse::<u16>().expect("a port"))).expect("connects");
    let status =
        |arguments: &[&str]| person.curl(&[&["-o", "/dev/null", "-w", "%{http_code}"], arguments].concat()).stdout;
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
fn a_second_callback_during_the_first_is_not_accepted() {
    let person = Person::new();
    person.world.emulator.fault(Fault::held().on(Endpoint::OauthToken));
    let login = person.login(&["--no-browser"]).start();
    let callback = person.callback(&person.address(&login));
    let arguments = ["-sS", "--noproxy", "*", "-o", "/dev/null", "-w", "%{http_code}", &callback];
    let first = person.world.sandbox.call("curl", arguments).start();
    assert!(person.world.emulator.wait_for_requests(TOKEN, 1, WAIT_LIMIT));
    let second = person.world.sandbox.call("curl", arguments).start();
    // By now it has connected. If it has not, it finds the port closed, which is also accepted.
    std::thread::sleep(Duration::from_millis(300));
    person.world.emulator.clear_faults();
    first.finish().exits(0).stdout_is("200");
    assert!(["404", "000"].contains(&second.finish().stdout.as_str()));
    login.finish().exits(0);
    assert_eq!(person.tokens(), 1);
}

#[test]
fn a_denied_login_is_reported_and_the_browser_does_not_reopen_at_once() {
    let person = Person::new();
    person.world.emulator.set(|settings| settings.login.deny = true);
    let expected = ["access_denied: The person said no"];
    fails_with_hint(person.login(&[]).run().without_address(), 1, &expected, "administrator");
    let page = fs::read_to_string(person.world.sandbox.path("tmp/page")).expect("a page");
    assert!(page.contains("You are not logged in") && page.contains("The person said no"), "{page}");
    let retry = person.login(&[]).run();
    fails_with_hint(retry, 1, &["browser not opened", "the last login failed", "access_denied"], "--force-refresh");
    assert_eq!(person.asked(), 1);
    fails_with(person.login(&["--force-refresh"]).run().without_address(), 1, &expected);
    assert_eq!(person.asked(), 2);
    person.world.emulator.set(|settings| settings.login.deny = false);
    let path = person.file(".failed");
    let mut failed: Value = serde_json::from_slice(&fs::read(&path).expect("the failure file")).expect("JSON");
    shift(&mut failed, -31_000);
    fs::write(&path, failed.to_string()).expect("aged");
    person.log_in();
    assert!(!path.exists(), "a login deletes the failure file");
}

#[test]
fn a_rejected_code_is_reported_in_browser_and_terminal() {
    let person = Person::new();
    person.world.emulator.fault(Fault::refuse(400).on(Endpoint::OauthToken).message("<b>not today</b>"));
    let run = person.login(&[]).run().without_address();
    fails_with(run, 1, &["the login succeeded, but no token was issued", "<b>not today</b>"]);
    let page = fs::read_to_string(person.world.sandbox.path("tmp/page")).expect("a page");
    assert!(page.contains("&lt;b&gt;not today") && !page.contains("<b>"), "{page}");
    fails_with_hint(person.token(&[]).run(), 1, &["nobody is logged in"], LOGIN_HINT);
}

#[test]
fn a_login_without_a_callback_times_out() {
    let person = Person::new();
    let run = person.login(&["--no-browser", "--timeout", "1s"]).run().without_address();
    fails_with_hint(run, 4, &["login not completed within 1s"], "--timeout");
}

#[test]
fn if_the_browser_does_not_start_the_printed_address_still_works() {
    let person = Person::new();
    for (browser, message) in [
        ("/nowhere/browser", "cannot start a browser (/nowhere/browser: no such file)"),
        ("false", "the browser failed to start"),
    ] {
        let login = person.login(&["--force-refresh"]).env("BROWSER", browser).start();
        let callback = person.callback(&person.address(&login));
        wait_until("ycred has printed the message", || login.stderr().contains(message));
        person.curl(&[&callback]);
        login.finish().exits(0).stdout_has("logged in");
    }
    // At a terminal the address can then be pasted, as with --no-browser: the machine may not have a browser.
    let Some(python) = require_client("python3") else { return };
    let terminal = person.world.sandbox.script("terminal.py", TERMINAL);
    for browser in ["/nowhere/browser", "false"] {
        let steps = r"press Enter=>what?\n|not the URL of a completed login=>\x03";
        let arguments = [terminal.to_str().expect("UTF-8"), YCRED, "login", "--force-refresh", steps];
        let run = person.world.sandbox.call(&python, arguments).env("BROWSER", browser).run();
        assert!(run.stdout.contains("not the URL of a completed login"), "{run}");
    }
}

#[test]
fn init_writes_the_profile_and_logs_in() {
    let person = Person::new();
    let (iam, auth) = (person.world.emulator.url(), person.world.emulator.auth_url());
    person.world.emulator.set(|settings| settings.login.federation = Some("bpf00000000000000001".into()));
    let arguments =
        ["init", "work", "--login", "--federation-id", "bpf00000000000000001", "--iam-url", &iam, "--auth-url", &auth];
    let run = person.world.sandbox.ycred(arguments).run().exits(0);
    assert!(run.stdout.contains("work.toml: logged in; the token is valid for"), "{run}");
    let url = fs::read_to_string(person.world.sandbox.path("tmp/urls")).expect("the address");
    assert!(url.contains("yc_federation_hint=bpf00000000000000001"), "{url}");
    prints_token(person.token(&["-p", "work"]).run());
    person.login(&["work"]).run().exits(0).stdout_has("profile work: logged in");
    fails_with_hint(person.login(&["nope"]).run(), 3, &["profile nope"], "ycred init nope --login");
    fails_with(person.login(&["work", "-p", "other"]).run(), 2, &["two different profiles given"]);
    person.world.sandbox.profile("static", "source = \"static\"\ntoken-env = \"PATH\"\n");
    fails_with(person.login(&["static"]).run(), 2, &["source \"static\" doesn't need a login"]);
    // The profile is kept if the login fails.
    person.world.emulator.set(|settings| settings.login.deny = true);
    let arguments = ["init", "two", "--login", "--iam-url", &iam, "--auth-url", &auth];
    fails_with(
        person.world.sandbox.ycred(arguments).run().without_address(),
        1,
        &["two.toml: profile created, but the login failed"],
    );
    fs::remove_file(person.world.sandbox.path("config/default.toml")).expect("removed");
    fails_with_hint(person.login(&[]).run(), 3, &["3 profiles and no default"], "ycred use NAME");
    let empty = person.login(&[]).env("YCRED_CONFIG_DIR", person.world.sandbox.path("tmp")).run();
    fails_with_hint(empty, 3, &["no profile"], "ycred init --login");
}

#[test]
fn output_of_the_browser_is_discarded() {
    let person = Person::new();
    let noisy = person
        .world
        .sandbox
        .script("bin/noisy", "#!/bin/sh\necho noise\necho noise >&2\nexec \"$PWD/../bin/browser\" \"$1\"\n");
    let run = person.login(&[]).env("BROWSER", noisy).run().exits(0);
    assert_eq!(run.stdout.lines().count(), 1, "{run}");
    run.never_prints("noise");
}

/// Flags that keep Chromium from contacting other hosts and from storing data.
const CHROMIUM: &str = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
    --disable-component-update --disable-sync --ignore-certificate-errors --no-proxy-server --disable-dev-shm-usage";

/// Logs in with Chromium. Returns the final page, if Chromium printed it.
fn page_after_login(chromium: &Path, tls: crate::emulator::Tls, page: Page) -> Option<String> {
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
        // On a busy machine `--dump-dom` occasionally prints nothing although the login succeeded.
        let shown = (0..6).find_map(|_| page_after_login(&chromium, tls, page)).expect("a page");
        assert!(shown.contains("You are logged in") && shown.contains("<svg"), "{shown}");
    }
}
