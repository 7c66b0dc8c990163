//! A source in use, against a cloud that speaks TLS.

use std::fs;

use serde_json::json;

use super::workload::{SUBJECT, Workload};
use crate::emulator::auth::TOKEN;
use crate::emulator::{CREATE_FOR_SERVICE_ACCOUNT, Config, METADATA, TOKENS, Tls};
use crate::expect::handed;
use crate::harness::{Call, YCRED};
use crate::world::World;

/// A source against a cloud that speaks TLS, ready to be used.
pub struct Case {
    pub world: World,
    /// The default profile.
    pub settings: String,
    /// Whose tokens it gives.
    pub subject: String,
    /// What it asks the cloud for once each time; nothing where the token is there already.
    pub asks: Option<&'static str>,
    /// How a call becomes one of a process that has what the source needs.
    pub call: Box<dyn Fn(Call) -> Call>,
    /// Exit code while the cloud is down: of what a program says, only that it failed is known.
    pub down: i32,
    /// Whether it learns from the answer what time it is for the cloud.
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
        let world = World::bare(Config::with_tls(Tls::Good));
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

    pub fn workload(way: impl Fn(&Workload) -> String) -> Case {
        let workload = Workload::with(Config::with_tls(Tls::Good));
        let iam = format!("{}\niam-url = \"{}\"\nca-file = \"ca.pem\"", way(&workload), workload.world.emulator.url());
        let (settings, issuer) = (workload.settings(&iam), workload.issuer.clone());
        let environment = workload.job(workload.world.token(&[]));
        let Workload { world, account, .. } = workload;
        let case = Case::of(world, settings, account, TOKEN);
        // A fresh token of the same subject each time, wherever it is looked for; and GitHub's variables.
        let file = case.world.sandbox.path("config/subject-token");
        let call = move |call: Call| {
            let token = issuer.token(SUBJECT);
            fs::write(&file, &token).expect("the file");
            call.with_environment_of(&environment).env("MY_ID_TOKEN", token)
        };
        Case { call: Box::new(call), knows_time: false, ..case }
    }

    /// A program that asks the cloud itself: another ycred.
    pub fn command() -> Case {
        let account = |world: &World| {
            let settings = world.settings();
            world.sandbox.profile("inner", &format!("{settings}ca-file = \"ca.pem\"\n"));
            world.key.service_account_id.clone()
        };
        let words = ["token", "-p", "inner", "--format", "json", "--force-refresh"];
        let command = format!("command = {}", json!([&[YCRED][..], &words].concat()));
        let case = Case::new("command", account, &command, TOKENS);
        Case { down: 1, knows_time: false, ..case }
    }

    pub fn fixed() -> Case {
        let case = Case::new("static", |_| "ajestatic".to_owned(), "token-env = \"MY_TOKEN\"", TOKENS);
        let token = case.world.emulator.issue("ajestatic");
        Case { asks: None, call: Box::new(move |call| call.env("MY_TOKEN", &token)), knows_time: false, ..case }
    }

    /// The same, as another account.
    pub fn impersonating(mut self) -> Case {
        let account = self.world.emulator.new_service_account();
        self.settings += &format!("impersonate = \"{account}\"\n");
        self.write("");
        // The last answer is always IAM's.
        Case { subject: account, asks: Some(CREATE_FOR_SERVICE_ACCOUNT), knows_time: true, ..self }
    }

    pub fn write(&self, more: &str) {
        self.world.sandbox.profile("default", &format!("{}{more}", self.settings));
    }

    pub fn call(&self) -> Call {
        (self.call)(self.world.token(&[]))
    }

    #[track_caller]
    pub fn get(&self) -> String {
        let token = handed(self.call().run());
        assert_eq!(self.world.emulator.subject_of(&token).as_ref(), Some(&self.subject));
        assert!(self.world.emulator.is_live(&token));
        token
    }

    #[track_caller]
    pub fn has_asked(&self, times: usize) {
        assert_eq!(self.asks.map_or(0, |path| self.world.emulator.requests(path)), times);
    }
}
