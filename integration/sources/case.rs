//! The fixture of suites that cover all sources: a source against a cloud over TLS.

use std::fs;

use serde_json::json;

use super::workload::{SUBJECT, Workload};
use crate::emulator::auth::TOKEN;
use crate::emulator::{CREATE_FOR_SERVICE_ACCOUNT, Config, METADATA, TOKENS, Tls};
use crate::expect::prints_token;
use crate::harness::{Call, YCRED};
use crate::world::World;

/// A default profile of one source, and a cloud over TLS.
pub struct Case {
    pub world: World,
    /// The default profile.
    pub settings: String,
    /// The account of the tokens.
    pub subject: String,
    /// The path of its one request for each token. `None` if it makes no requests.
    pub asks: Option<&'static str>,
    /// Adds to a call what the source needs, such as a variable.
    pub call: Box<dyn Fn(Call) -> Call>,
    /// The exit code while the cloud is down. For source `command`, ycred knows only that the program failed.
    pub down: i32,
    /// True if it reads the cloud's time from the response.
    pub knows_time: bool,
}

impl Case {
    pub fn of(world: World, settings: String, subject: String, asks: &'static str) -> Case {
        world.emulator.write_ca(world.sandbox.path("config/ca.pem")).expect("the certificate");
        let call = Box::new(|call| call);
        let case = Case { world, settings, subject, asks: Some(asks), call, down: 4, knows_time: true };
        case.write("");
        case
    }

    pub fn new(source: &str, subject: impl Fn(&World) -> String, settings: &str, asks: &'static str) -> Case {
        let world = World::without_profile(Config::with_tls(Tls::Good));
        let (url, subject) = (world.emulator.url(), subject(&world));
        let settings = format!("source = \"{source}\"\niam-url = \"{url}\"\nca-file = \"ca.pem\"\n{settings}\n");
        Case::of(world, settings, subject, asks)
    }

    pub fn authorized_key() -> Case {
        let account = |world: &World| world.key.service_account_id.clone();
        Case::new("authorized-key", account, "key-file = \"key.json\"", TOKENS)
    }

    pub fn oauth() -> Case {
        let user = |world: &World| {
            let (oauth, subject) = world.emulator.new_oauth();
            world.sandbox.file("config/oauth", oauth);
            subject
        };
        Case::new("oauth", user, "oauth-token-file = \"oauth\"", TOKENS)
    }

    pub fn metadata() -> Case {
        let machine = |world: &World| {
            world.emulator.attach(Some("ajeofthemachine00000"));
            "ajeofthemachine00000".to_owned()
        };
        let mut case = Case::new("metadata", machine, "", METADATA);
        case.settings += &format!("metadata-addr = \"{}\"\n", case.world.emulator.metadata_addr());
        case.write("");
        Case { knows_time: false, ..case }
    }

    pub fn workload(setting: impl Fn(&Workload) -> String) -> Case {
        let workload = Workload::with(Config::with_tls(Tls::Good));
        let iam =
            format!("{}\niam-url = \"{}\"\nca-file = \"ca.pem\"", setting(&workload), workload.world.emulator.url());
        let (settings, issuer) = (workload.settings(&iam), workload.issuer.clone());
        let environment = workload.job(workload.world.token(&[]));
        let Workload { world, account, .. } = workload;
        let case = Case::of(world, settings, account, TOKEN);
        // For each call, a new token of the same subject in the file and in the variable, and GitHub's variables.
        let file = case.world.sandbox.path("config/subject-token");
        let call = move |call: Call| {
            let token = issuer.token(SUBJECT);
            fs::write(&file, &token).expect("a writable file");
            call.with_environment_of(&environment).env("MY_ID_TOKEN", token)
        };
        Case { call: Box::new(call), knows_time: false, ..case }
    }

    /// Source `command` with a program that requests tokens itself: another ycred.
    pub fn command() -> Case {
        let account = |world: &World| {
            let settings = world.settings();
            world.sandbox.profile("inner", &format!("{settings}ca-file = \"ca.pem\"\n"));
            world.key.service_account_id.clone()
        };
        let arguments = ["token", "-p", "inner", "--format", "json", "--force-refresh"];
        let command = format!("command = {}", json!([&[YCRED][..], &arguments].concat()));
        let case = Case::new("command", account, &command, TOKENS);
        Case { down: 1, knows_time: false, ..case }
    }

    pub fn fixed() -> Case {
        let case = Case::new("static", |_| "ajestatic".to_owned(), "token-env = \"MY_TOKEN\"", TOKENS);
        let token = case.world.emulator.issue("ajestatic");
        Case { asks: None, call: Box::new(move |call| call.env("MY_TOKEN", &token)), knows_time: false, ..case }
    }

    /// Adds the impersonation of another account.
    pub fn impersonating(mut self) -> Case {
        let account = self.world.emulator.new_service_account();
        self.settings += &format!("impersonate = \"{account}\"\n");
        self.write("");
        // The last response is always IAM's.
        Case { subject: account, asks: Some(CREATE_FOR_SERVICE_ACCOUNT), knows_time: true, ..self }
    }

    /// Writes the profile with these lines added.
    pub fn write(&self, more: &str) {
        self.world.sandbox.profile("default", &format!("{}{more}", self.settings));
    }

    /// Returns a call of `ycred token`.
    pub fn call(&self) -> Call {
        (self.call)(self.world.token(&[]))
    }

    /// Runs `ycred token`, checks the account of the token, and returns the token.
    #[track_caller]
    pub fn get(&self) -> String {
        let token = prints_token(self.call().run());
        assert_eq!(self.world.emulator.subject_of(&token).as_ref(), Some(&self.subject));
        assert!(self.world.emulator.is_live(&token));
        token
    }

    /// Checks the number of requests.
    #[track_caller]
    pub fn assert_requests(&self, times: usize) {
        assert_eq!(self.asks.map_or(0, |path| self.world.emulator.requests(path)), times);
    }
}
