//! The fixture of every suite: a sandbox, an emulator, and profiles of service accounts with keys.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::emulator::faults::Fault;
use crate::emulator::keys::AuthorizedKey;
use crate::emulator::{Config, Emulator, TOKENS, Tls};
use crate::expect::prints_token;
use crate::harness::waiting::WAIT_LIMIT;
use crate::harness::{Call, Run, Sandbox};

/// A sandbox and the emulator that its profiles use.
pub struct World {
    pub sandbox: Sandbox,
    pub emulator: Arc<Emulator>,
    /// The key in `config/key.json`, used by the default profile.
    pub key: AuthorizedKey,
}

impl World {
    /// Creates a world with the profile `default` of source `authorized-key`.
    pub fn new() -> World {
        World::with(Config::default())
    }

    /// [`Self::new`] with this configuration of the emulator.
    pub fn with(config: Config) -> World {
        let world = World::without_profile(config);
        world.configure("");
        world
    }

    /// [`Self::new`] with an emulator that uses TLS. The profile names its certificate authority.
    pub fn with_tls(tls: Tls) -> World {
        let world = World::with(Config::with_tls(tls));
        world.emulator.write_ca(world.sandbox.path("config/ca.pem")).expect("a certificate");
        world.configure("ca-file = \"ca.pem\"");
        world
    }

    /// Creates a world with a key file but no profile.
    pub fn without_profile(config: Config) -> World {
        let (sandbox, emulator) = (Sandbox::new(), Arc::new(Emulator::start(config)));
        let key = emulator.new_service_account_key();
        key.write(sandbox.path("config/key.json")).expect("a key file");
        World { sandbox, emulator, key }
    }

    /// Returns the settings of the default profile.
    pub fn settings(&self) -> String {
        self.settings_with("key.json")
    }

    pub fn settings_with(&self, key_file: &str) -> String {
        let url = self.emulator.url();
        format!("source = \"authorized-key\"\nkey-file = \"{key_file}\"\niam-url = \"{url}\"\n")
    }

    /// Rewrites the default profile with these lines added. The key stays the same.
    pub fn configure(&self, more: &str) {
        self.sandbox.profile("default", &format!("{}{more}\n", self.settings()));
    }

    /// Writes a profile for a new service account with its own key, with these lines added.
    pub fn profile(&self, name: &str, more: &str) -> AuthorizedKey {
        let file = if name == "default" { "key.json".to_owned() } else { format!("{name}.json") };
        let key = self.emulator.new_service_account_key();
        key.write(self.sandbox.path("config").join(&file)).expect("a key file");
        self.sandbox.profile(name, &format!("{}{more}\n", self.settings_with(&file)));
        key
    }

    /// [`Self::profile`] with these hosts.
    pub fn profile_for(&self, name: &str, hosts: &[String]) -> AuthorizedKey {
        // JSON and TOML write an array of strings the same way.
        self.profile(name, &format!("hosts = {}", json!(hosts)))
    }

    /// Returns a call of `ycred` with these arguments.
    pub fn ycred(&self, arguments: &[&str]) -> Call {
        self.sandbox.ycred(arguments)
    }

    /// Returns a call of `ycred token` with these arguments added.
    pub fn token(&self, more: &[&str]) -> Call {
        self.sandbox.ycred(["token"].iter().chain(more))
    }

    /// Runs `ycred token`, checks that it prints only a token, and returns the token.
    #[track_caller]
    pub fn get(&self) -> String {
        prints_token(self.token(&[]).run())
    }

    // ------------------------------------------------------------------------------------------------------- the cloud

    /// Returns the number of token requests with a JWT or an OAuth token.
    pub fn requests(&self) -> usize {
        self.emulator.requests(TOKENS)
    }

    /// Waits until the number of token requests has reached `count`.
    #[track_caller]
    pub fn wait_for_requests(&self, count: usize) {
        let has_reached = self.emulator.wait_for_requests(TOKENS, count, WAIT_LIMIT);
        assert!(has_reached, "{} requests, expected {count}", self.requests());
    }

    /// Returns the token that the cloud issued last.
    #[track_caller]
    pub fn last_token(&self) -> String {
        self.emulator.tokens().pop().expect("the cloud has issued a token")
    }

    /// Issues a valid token without ycred.
    pub fn issue_token(&self) -> String {
        self.emulator.issue("ajesomebodyelse00000")
    }

    /// Revokes a token in the cloud.
    #[track_caller]
    pub fn revoke(&self, token: &str) {
        assert!(self.emulator.revoke(token), "unknown token");
    }

    /// Makes the cloud reject every key from now on. Returns the error message.
    pub fn refuse(&self) -> &'static str {
        const MESSAGE: &str = "The key 'from the test' was deleted";
        self.emulator.fault(Fault::refuse(401).message(MESSAGE));
        MESSAGE
    }

    /// Makes the cloud unavailable from now on, for longer than any run waits. Returns the error message.
    pub fn make_unavailable(&self) -> &'static str {
        const MESSAGE: &str = "Back in a moment, says the test";
        self.emulator.fault(Fault::refuse(503).message(MESSAGE).retry_after(50));
        MESSAGE
    }

    // ------------------------------------------------------------------------------------------------------- the cache

    /// Returns the path of every cache record.
    pub fn records(&self) -> Vec<PathBuf> {
        let is_record = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
        self.sandbox.files("cache/v1").into_iter().filter(is_record).collect()
    }

    /// Changes every cache record.
    #[track_caller]
    pub fn edit(&self, change: impl Fn(&mut Value)) {
        let records = self.records();
        assert!(!records.is_empty(), "the cache has no record");
        for path in records {
            let mut record = serde_json::from_slice(&fs::read(&path).expect("a record")).expect("JSON");
            change(&mut record);
            replace(&path, &record.to_string());
        }
    }

    /// Ages every cache record by this much: moves all of its times back.
    #[track_caller]
    pub fn age(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).expect("a duration in range");
        self.edit(|record| shift(record, -by));
    }

    /// Lets each failure in the cache be remembered for 20 seconds more.
    pub fn remember_failures_longer(&self) {
        self.edit(|record| {
            let until = record["failure"]["until"].as_i64().expect("a time");
            record["failure"]["until"] = (until + 20_000).into();
        });
    }

    /// Returns the only lock file in the cache.
    #[track_caller]
    pub fn lock_file(&self) -> PathBuf {
        let is_lock =
            |path: &PathBuf| path.to_string_lossy().ends_with(".lock") && !path.to_string_lossy().contains(".relief");
        let locks: Vec<PathBuf> = self.sandbox.files("cache/v1").into_iter().filter(is_lock).collect();
        assert_eq!(locks.len(), 1, "lock files: {locks:?}");
        locks[0].clone()
    }

    // -------------------------------------------------------------------------------------------------------- the runs

    /// Checks that stdout is one token that the cloud has issued. Returns the token.
    #[track_caller]
    pub fn token_printed_by(&self, run: &Run) -> String {
        let token = run.stdout.strip_suffix('\n').unwrap_or_default().to_owned();
        assert!(self.emulator.tokens().contains(&token), "expected a token that the cloud has issued\n{run}");
        token
    }

    /// Checks that the call is served from the cache, without a request and with an empty stderr. Returns the token.
    #[track_caller]
    pub fn assert_hit(&self, call: Call) -> String {
        let before = self.emulator.calls();
        let run = call.run().succeeds().stderr_is_empty();
        assert_eq!(self.emulator.calls(), before, "expected no request\n{run}");
        self.token_printed_by(&run)
    }
}

/// Replaces a record in one step, because a process that is still running may read it. Its owner stays.
pub fn replace(path: &Path, content: &str) {
    let owner = fs::metadata(path).expect("a record");
    let new = path.with_extension("edited");
    let written = fs::write(&new, content)
        .and_then(|()| fs::set_permissions(&new, owner.permissions()))
        .and_then(|()| std::os::unix::fs::chown(&new, Some(owner.uid()), Some(owner.gid())))
        .and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // Nothing can be created in a read-only directory.
        let _ = fs::remove_file(&new);
        fs::write(path, content).expect("a writable record");
    }
}

/// Moves every time in a record by this many milliseconds.
pub fn shift(record: &mut Value, by: i64) {
    let times =
        ["asked", "began", "ended", "retry_at", "issued", "expires", "fetched", "at", "until", "sent_at", "lost"];
    let Value::Object(members) = record else { return };
    for (name, value) in members {
        match value {
            Value::Object(_) => shift(value, by),
            Value::Number(number) if times.contains(&name.as_str()) => {
                *value = (number.as_i64().expect("a time") + by).into();
            }
            _ => {}
        }
    }
}
