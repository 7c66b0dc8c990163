//! A user with a cloud: a sandbox, an emulator, and profiles of accounts with keys. Every suite starts from one.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::emulator::faults::Fault;
use crate::emulator::keys::AuthorizedKey;
use crate::emulator::{Config, Emulator, TOKENS, Tls};
use crate::expect::handed;
use crate::harness::waiting::PATIENCE;
use crate::harness::{Call, Run, Sandbox};

/// A sandbox and the emulator that its profiles lead to.
pub struct World {
    pub sandbox: Sandbox,
    pub emulator: Arc<Emulator>,
    /// The key in `config/key.json`, which is the default profile's.
    pub key: AuthorizedKey,
}

impl World {
    /// A world with the profile `default`, of source `authorized-key`.
    pub fn new() -> World {
        World::with(Config::default())
    }

    /// The same with an emulator that behaves like this.
    pub fn with(config: Config) -> World {
        let world = World::bare(config);
        world.configure("");
        world
    }

    /// The same with an emulator that speaks TLS, by an authority that the profile names.
    pub fn with_tls(tls: Tls) -> World {
        let world = World::with(Config::with_tls(tls));
        world.emulator.write_ca(world.sandbox.path("config/ca.pem")).expect("a certificate");
        world.configure("ca-file = \"ca.pem\"");
        world
    }

    /// The same without any profile. The key file is there.
    pub fn bare(config: Config) -> World {
        let (sandbox, emulator) = (Sandbox::new(), Arc::new(Emulator::start(config)));
        let key = emulator.new_service_account_key();
        key.write(sandbox.path("config/key.json")).expect("a key file");
        World { sandbox, emulator, key }
    }

    /// The settings of the default profile, to which tests add lines.
    pub fn settings(&self) -> String {
        self.settings_with("key.json")
    }

    fn settings_with(&self, key_file: &str) -> String {
        let url = self.emulator.url();
        format!("source = \"authorized-key\"\nkey-file = \"{key_file}\"\niam-url = \"{url}\"\n")
    }

    /// Writes the default profile again, with these lines added. Its key stays.
    pub fn configure(&self, more: &str) {
        self.sandbox.profile("default", &format!("{}{more}\n", self.settings()));
    }

    /// Writes a profile for a new account with a key of its own, with these lines added.
    pub fn profile(&self, name: &str, more: &str) -> AuthorizedKey {
        let file = if name == "default" { "key.json".to_owned() } else { format!("{name}.json") };
        let key = self.emulator.new_service_account_key();
        key.write(self.sandbox.path("config").join(&file)).expect("a key file");
        self.sandbox.profile(name, &format!("{}{more}\n", self.settings_with(&file)));
        key
    }

    /// [`Self::profile`], which lists these hosts.
    pub fn profile_for(&self, name: &str, hosts: &[String]) -> AuthorizedKey {
        // An array of strings is written alike in JSON and TOML.
        self.profile(name, &format!("hosts = {}", json!(hosts)))
    }

    /// `ycred` with these arguments.
    pub fn ycred(&self, arguments: &[&str]) -> Call {
        self.sandbox.ycred(arguments)
    }

    /// `ycred token` with these arguments added.
    pub fn token(&self, more: &[&str]) -> Call {
        self.sandbox.ycred(["token"].iter().chain(more))
    }

    /// The token that an untroubled `ycred token` prints.
    #[track_caller]
    pub fn get(&self) -> String {
        handed(self.token(&[]).run())
    }

    // ------------------------------------------------------------------------------------------------------- the cloud

    /// How many requests for a token by JWT or OAuth token the cloud has counted.
    pub fn requests(&self) -> usize {
        self.emulator.requests(TOKENS)
    }

    /// Waits until the cloud has counted so many requests for a token.
    #[track_caller]
    pub fn wait_for_requests(&self, count: usize) {
        let came = self.emulator.wait_for_requests(TOKENS, count, PATIENCE);
        assert!(came, "{} requests instead of {count}", self.requests());
    }

    /// The token that the cloud issued last.
    #[track_caller]
    pub fn last_token(&self) -> String {
        self.emulator.tokens().pop().expect("the cloud has issued a token")
    }

    /// A valid token that ycred knows nothing of.
    pub fn mint(&self) -> String {
        self.emulator.issue("ajesomebodyelse00000")
    }

    /// Revokes a token in the cloud.
    #[track_caller]
    pub fn revoke(&self, token: &str) {
        assert!(self.emulator.revoke(token), "not a token of the emulator's");
    }

    /// From now on the cloud refuses every key; its words.
    pub fn refuse(&self) -> &'static str {
        const WORDS: &str = "The key 'from the test' was deleted";
        self.emulator.fault(Fault::refuse(401).message(WORDS));
        WORDS
    }

    /// From now on the cloud is out of order for longer than any run waits; its words.
    pub fn break_down(&self) -> &'static str {
        const WORDS: &str = "Back in a moment, says the test";
        self.emulator.fault(Fault::refuse(503).message(WORDS).retry_after(50));
        WORDS
    }

    // ------------------------------------------------------------------------------------------------------- the cache

    /// Every record of the cache.
    pub fn records(&self) -> Vec<PathBuf> {
        let is_record = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "json");
        self.sandbox.files("cache/v1").into_iter().filter(is_record).collect()
    }

    /// Changes every record.
    #[track_caller]
    pub fn edit(&self, change: impl Fn(&mut Value)) {
        let records = self.records();
        assert!(!records.is_empty(), "there is no record");
        for path in records {
            let mut record = serde_json::from_slice(&fs::read(&path).expect("a record")).expect("JSON");
            change(&mut record);
            fs::write(&path, record.to_string()).expect("the record again");
        }
    }

    /// Makes every record what it would be after so much time.
    #[track_caller]
    pub fn age(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).expect("a sensible time");
        self.edit(|record| shift(record, -by));
    }

    /// The lock file of the only identity.
    #[track_caller]
    pub fn lock_file(&self) -> PathBuf {
        let is_lock =
            |path: &PathBuf| path.to_string_lossy().ends_with(".lock") && !path.to_string_lossy().contains(".relief");
        let locks: Vec<PathBuf> = self.sandbox.files("cache/v1").into_iter().filter(is_lock).collect();
        assert_eq!(locks.len(), 1, "lock files: {locks:?}");
        locks[0].clone()
    }

    // -------------------------------------------------------------------------------------------------------- the runs

    /// The run printed one token of the cloud's, whole, and nothing else.
    #[track_caller]
    pub fn printed_a_token(&self, run: &Run) -> String {
        let token = run.stdout.strip_suffix('\n').unwrap_or_default().to_owned();
        assert!(self.emulator.tokens().contains(&token), "expected one of the cloud's tokens\n{run}");
        token
    }

    /// The call is served from the cache, silently and without a request.
    #[track_caller]
    pub fn is_a_hit(&self, call: Call) -> String {
        let before = self.emulator.calls();
        let run = call.run().succeeds().quietly();
        assert_eq!(self.emulator.calls(), before, "expected no request\n{run}");
        self.printed_a_token(&run)
    }
}

/// Moves every moment in a record.
pub fn shift(record: &mut Value, by: i64) {
    let times = ["asked", "began", "ended", "retry_at", "issued", "expires", "fetched", "at", "until"];
    let Value::Object(members) = record else { return };
    for (name, value) in members {
        match value {
            Value::Object(_) => shift(value, by),
            Value::Number(number) if times.contains(&name.as_str()) => {
                *value = (number.as_i64().expect("a moment") + by).into();
            }
            _ => {}
        }
    }
}
