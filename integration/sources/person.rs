//! The fixture of source `login`: a user who logs in, with a script in place of the browser.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::emulator::Config;
use crate::emulator::auth::TOKEN;
use crate::emulator::login::AUTHORIZE;
use crate::expect::prints_token;
use crate::harness::waiting::wait_until;
use crate::harness::{Call, Run, Running};
use crate::world::{World, shift};

/// A user with a cloud, a default profile of source `login`, and a script as the browser.
pub struct Person {
    pub world: World,
}

impl Person {
    pub fn new() -> Person {
        Person::with(Config::default(), "")
    }

    pub fn with(config: Config, more: &str) -> Person {
        let mut world = World::without_profile(config);
        // Follows the redirect as a browser does, and records the URL and the page.
        let browser = world.sandbox.script(
            "bin/browser",
            "#!/bin/sh\nprintf '%s\\n' \"$1\" >> \"$TMPDIR/urls\"\nexec curl -sSLk --noproxy '*' --max-time 60 -o \"$TMPDIR/page\" \"$1\"\n",
        );
        world.sandbox.set("BROWSER", browser);
        let person = Person { world };
        person.profile(more);
        person
    }

    /// Writes the default profile with these lines added.
    pub fn profile(&self, more: &str) {
        self.world.sandbox.profile(
            "default",
            &format!(
                "source = \"login\"\niam-url = \"{}\"\nauth-url = \"{}\"\n{more}\n",
                self.world.emulator.url(),
                self.world.emulator.auth_url()
            ),
        );
    }

    /// Returns a call of `ycred login` with these arguments added.
    pub fn login(&self, more: &[&str]) -> Call {
        self.world.sandbox.ycred(["login"].iter().chain(more))
    }

    /// Logs in, and checks that it succeeds.
    pub fn log_in(&self) {
        self.login(&[]).run().exits(0).stdout_has("logged in");
    }

    pub fn token(&self, more: &[&str]) -> Call {
        self.world.token(more)
    }

    #[track_caller]
    pub fn get(&self) -> String {
        prints_token(self.token(&[]).run())
    }

    /// Returns how often the login page was opened.
    pub fn asked(&self) -> usize {
        self.world.emulator.requests(AUTHORIZE)
    }

    /// Returns the number of requests to the token endpoint of the auth host.
    pub fn tokens(&self) -> usize {
        self.world.emulator.requests(TOKEN)
    }

    /// Returns the only file in the state directory that ends so, except the lock of logins.
    #[track_caller]
    pub fn file(&self, ending: &str) -> PathBuf {
        let mut files: Vec<PathBuf> = self.world.sandbox.files("state");
        files.retain(|path| {
            path.to_string_lossy().ends_with(ending) && !path.to_string_lossy().ends_with(".login.lock")
        });
        assert_eq!(files.len(), 1, "{ending}: {files:?}");
        files.remove(0)
    }

    /// Returns the stored login.
    #[track_caller]
    pub fn state(&self) -> Value {
        serde_json::from_slice(&fs::read(self.file(".json")).expect("a state")).expect("JSON")
    }

    /// Ages the state and the cache by this much: moves all times in them back.
    #[track_caller]
    pub fn age(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).expect("a duration in range");
        let files = [self.world.sandbox.files("state"), self.world.sandbox.files("cache/v1")].concat();
        for path in files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "json")) {
            let mut record = serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON");
            shift(&mut record, -by);
            fs::write(path, record.to_string()).expect("a writable file");
        }
    }

    /// Waits until a running login has printed the URL to open, and returns it.
    #[track_caller]
    pub fn address(&self, login: &Running) -> String {
        let line = || login.stderr().lines().find(|line| line.starts_with("http")).map(str::to_owned);
        wait_until("the URL is printed", || line().is_some_and(|line| login.stderr().contains(&format!("{line}\n"))));
        line().expect("a URL")
    }

    /// Returns the URL to which the login page redirects the browser.
    #[track_caller]
    pub fn callback(&self, address: &str) -> String {
        self.curl(&["-o", "/dev/null", "-w", "%{redirect_url}", address]).stdout
    }

    /// Runs curl with these arguments, and checks that it succeeds.
    #[track_caller]
    pub fn curl(&self, arguments: &[&str]) -> Run {
        self.world
            .sandbox
            .call("curl", ["-sSk", "--noproxy", "*", "--max-time", "60"].iter().chain(arguments))
            .run()
            .exits(0)
    }
}
