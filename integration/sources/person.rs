//! A person who logs in, by a script in the browser's place: the fixture of source `login`.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::emulator::Config;
use crate::emulator::auth::TOKEN;
use crate::emulator::login::AUTHORIZE;
use crate::expect::handed;
use crate::harness::waiting::wait_until;
use crate::harness::{Call, Run, Running};
use crate::world::{World, shift};

/// A person with a cloud, a profile `default` of source `login`, and a browser.
pub struct Person {
    pub world: World,
}

impl Person {
    pub fn new() -> Person {
        Person::with(Config::default(), "")
    }

    pub fn with(config: Config, more: &str) -> Person {
        let mut world = World::bare(config);
        // Follows the redirect as a browser does, and notes what it was given and what it saw.
        let browser = world.sandbox.script(
            "bin/browser",
            "#!/bin/sh\nprintf '%s\\n' \"$1\" >> \"$TMPDIR/urls\"\nexec curl -sSLk --noproxy '*' --max-time 60 -o \"$TMPDIR/page\" \"$1\"\n",
        );
        world.sandbox.set("BROWSER", browser);
        let person = Person { world };
        person.profile(more);
        person
    }

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

    pub fn login(&self, more: &[&str]) -> Call {
        self.world.sandbox.ycred(["login"].iter().chain(more))
    }

    pub fn log_in(&self) {
        self.login(&[]).run().exits(0).stdout_has("logged in");
    }

    pub fn token(&self, more: &[&str]) -> Call {
        self.world.token(more)
    }

    #[track_caller]
    pub fn get(&self) -> String {
        handed(self.token(&[]).run())
    }

    pub fn asked(&self) -> usize {
        self.world.emulator.requests(AUTHORIZE)
    }

    pub fn tokens(&self) -> usize {
        self.world.emulator.requests(TOKEN)
    }

    /// The file of the only login with this ending.
    #[track_caller]
    pub fn file(&self, ending: &str) -> PathBuf {
        let mut found: Vec<PathBuf> = self.world.sandbox.files("state");
        found.retain(|path| {
            path.to_string_lossy().ends_with(ending) && !path.to_string_lossy().ends_with(".login.lock")
        });
        assert_eq!(found.len(), 1, "{ending}: {found:?}");
        found.remove(0)
    }

    #[track_caller]
    pub fn state(&self) -> Value {
        serde_json::from_slice(&fs::read(self.file(".json")).expect("a state")).expect("JSON")
    }

    /// Lets state and cache be as they would be when so much time had passed.
    #[track_caller]
    pub fn age(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).expect("a sensible time");
        let files = [self.world.sandbox.files("state"), self.world.sandbox.files("cache/v1")].concat();
        for path in files.iter().filter(|path| path.extension().is_some_and(|ending| ending == "json")) {
            let mut record = serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON");
            shift(&mut record, -by);
            fs::write(path, record.to_string()).expect("the file again");
        }
    }

    /// The address that a login under way has printed.
    #[track_caller]
    pub fn address(&self, login: &Running) -> String {
        let line = || login.stderr().lines().find(|line| line.starts_with("http")).map(str::to_owned);
        wait_until("the address is printed", || {
            line().is_some_and(|line| login.stderr().contains(&format!("{line}\n")))
        });
        line().expect("an address")
    }

    /// Where the emulator's page would send the browser.
    #[track_caller]
    pub fn callback(&self, address: &str) -> String {
        let run = self.curl(&["-o", "/dev/null", "-w", "%{redirect_url}", address]);
        run.stdout
    }

    #[track_caller]
    pub fn curl(&self, words: &[&str]) -> Run {
        self.world
            .sandbox
            .call("curl", ["-sSk", "--noproxy", "*", "--max-time", "60"].iter().chain(words))
            .run()
            .exits(0)
    }
}
