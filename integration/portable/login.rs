//! A login by a person, with curl in place of the browser.

use std::process::Command;

use super::harness::{Machine, Running};

#[test]
#[cfg_attr(not(windows), ignore = "takes time: .ci/platforms native, or windows for Wine")]
fn a_login_is_kept_and_renewed_by_a_process_of_its_own() {
    let machine = Machine::new();
    let (iam, auth) = (machine.emulator.url(), machine.emulator.auth_url());
    machine
        .file("config/person.toml", format!("source = \"login\"\r\niam-url = \"{iam}\"\r\nauth-url = \"{auth}\"\r\n"));
    let run = machine.ycred(&["token", "-p", "person"]).run();
    run.assert(1).says("ycred login");
    let login = machine.ycred(&["login", "-p", "person", "--no-browser"]).start();
    let address = login.wait_for_line("http");
    assert_follows_redirect(&address);
    let run = login.finish();
    run.assert(0);
    assert!(run.stdout.contains("logged in"), "{run:?}");
    let token = machine.assert_token(&machine.ycred(&["token", "-p", "person"]).run());
    // The renewal runs in a detached process, which must not keep the pipes of this one open.
    let renewed = machine.ycred(&["token", "-p", "person", "--force-refresh"]).run();
    assert_ne!(machine.assert_token(renewed.is_silent()), token);
    let cached = machine.ycred(&["token", "-p", "person"]).run();
    assert_eq!(machine.assert_token(&cached), machine.assert_token(&renewed));
    let run = machine.ycred(&["logout", "-p", "person"]).run();
    run.assert(0);
    machine.ycred(&["token", "-p", "person"]).run().assert(1).says("ycred login");
}

#[track_caller]
fn assert_follows_redirect(address: &str) {
    let page = Command::new("curl").args(["-sSLk", "--noproxy", "*", "--max-time", "60", address]).output();
    let page = page.expect("curl starts");
    let text = String::from_utf8_lossy(&page.stdout);
    assert!(text.contains("You are logged in"), "{text}{}", String::from_utf8_lossy(&page.stderr));
}

impl Running {
    /// Waits until stderr has a line with this start, and returns it.
    #[track_caller]
    fn wait_for_line(&self, start: &str) -> String {
        let mut line = None;
        super::harness::wait_until(|| {
            let text = self.stderr();
            // Without the last line, which may be incomplete.
            let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
            line = complete.lines().find(|line| line.starts_with(start)).map(|line| line.trim_end().to_owned());
            line.is_some()
        });
        line.expect("a line")
    }
}
