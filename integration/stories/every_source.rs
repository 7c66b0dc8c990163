//! Every source through its whole life, by TLS: first use, cached, renewed, the cloud down, refused, a clock that is off;
//! and every source as the base of impersonation.

use std::fs;
use std::time::Duration;

use serde_json::json;
use time::Duration as Span;

use super::workload::{COMMAND, FILE, SUBJECT, VARIABLE, Workload, github};
use crate::emulator::auth::TOKEN;
use crate::emulator::faults::{Endpoint, Fault};
use crate::emulator::{CREATE_FOR_SERVICE_ACCOUNT, Config, METADATA, TOKENS, Tls};
use crate::expect::{handed, one_token, refused, warned};
use crate::harness::waiting::HOUR;
use crate::harness::{Call, YCRED};
use crate::world::World;

/// A source against a cloud that speaks TLS, ready to be used.
struct Case {
    world: World,
    /// The default profile.
    settings: String,
    /// Whose tokens it gives.
    subject: String,
    /// What it asks the cloud for once each time; nothing where the token is there already.
    asks: Option<&'static str>,
    /// How a call becomes one of a process that has what the source needs.
    call: Box<dyn Fn(Call) -> Call>,
    /// Exit code while the cloud is down: of what a program says, only that it failed is known.
    down: i32,
    /// Whether it learns from the answer what time it is for the cloud.
    knows_time: bool,
}

impl Case {
    fn of(world: World, settings: String, subject: String, asks: &'static str) -> Case {
        world.emulator.write_ca(world.sandbox.path("config/ca.pem")).expect("the certificate");
        let call = Box::new(|call| call);
        let case = Case { world, settings, subject, asks: Some(asks), call, down: 4, knows_time: true };
        case.write("");
        case
    }

    fn new(source: &str, subject: impl Fn(&World) -> String, settings: &str, asks: &'static str) -> Case {
        let world = World::bare(Config::with_tls(Tls::Good));
        let (url, subject) = (world.emulator.url(), subject(&world));
        let settings = format!("source = \"{source}\"\niam-url = \"{url}\"\nca-file = \"ca.pem\"\n{settings}\n");
        Case::of(world, settings, subject, asks)
    }

    fn authorized_key() -> Case {
        let account = |world: &World| world.key.service_account_id.clone();
        Case::new("authorized-key", account, "key-file = \"key.json\"", TOKENS)
    }

    fn oauth() -> Case {
        let user = |world: &World| {
            let (oauth, subject) = world.emulator.new_oauth();
            world.sandbox.file("config/oauth", oauth);
            subject
        };
        Case::new("oauth", user, "oauth-token-file = \"oauth\"", TOKENS)
    }

    fn metadata() -> Case {
        let machine = |world: &World| {
            world.emulator.attach(Some("ajeofthemachine00000"));
            "ajeofthemachine00000".to_owned()
        };
        let mut case = Case::new("metadata", machine, "", METADATA);
        case.settings += &format!("metadata-addr = \"{}\"\n", case.world.emulator.metadata_addr());
        case.write("");
        Case { knows_time: false, ..case }
    }

    fn workload(way: impl Fn(&Workload) -> String) -> Case {
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
    fn command() -> Case {
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

    fn fixed() -> Case {
        let case = Case::new("static", |_| "ajestatic".to_owned(), "token-env = \"MY_TOKEN\"", TOKENS);
        let token = case.world.emulator.issue("ajestatic");
        Case { asks: None, call: Box::new(move |call| call.env("MY_TOKEN", &token)), knows_time: false, ..case }
    }

    /// The same, as another account.
    fn impersonating(mut self) -> Case {
        let account = self.world.emulator.new_service_account();
        self.settings += &format!("impersonate = \"{account}\"\n");
        self.write("");
        // The last answer is always IAM's.
        Case { subject: account, asks: Some(CREATE_FOR_SERVICE_ACCOUNT), knows_time: true, ..self }
    }

    fn write(&self, more: &str) {
        self.world.sandbox.profile("default", &format!("{}{more}", self.settings));
    }

    fn call(&self) -> Call {
        (self.call)(self.world.token(&[]))
    }

    #[track_caller]
    fn get(&self) -> String {
        let token = handed(self.call().run());
        assert_eq!(self.world.emulator.subject_of(&token).as_ref(), Some(&self.subject));
        assert!(self.world.emulator.is_live(&token));
        token
    }

    #[track_caller]
    fn has_asked(&self, times: usize) {
        assert_eq!(self.asks.map_or(0, |path| self.world.emulator.requests(path)), times);
    }
}

#[track_caller]
fn lives(make: impl Fn() -> Case) {
    is_used_renewed_and_recovers(&make());
    is_refused(&make());
    for minutes in [-20, 20] {
        bears_a_clock_that_is_off(&make(), minutes);
    }
}

/// First use, cached, renewed, the cloud down, up again.
#[track_caller]
fn is_used_renewed_and_recovers(case: &Case) {
    let World { emulator, .. } = &case.world;
    let first = case.get();
    assert_eq!((case.get(), case.get()), (first.clone(), first.clone()));
    case.has_asked(1);
    case.world.age(11 * HOUR);
    let second = case.get();
    assert_ne!(second, first);
    assert_eq!(case.get(), second);
    case.has_asked(2);
    // The cloud is down: the cached token serves while it lives, with a word, and nobody asks again at once.
    emulator.fault(Fault::refuse(503).message("the test says no"));
    case.world.age(11 * HOUR);
    assert_eq!(warned(case.call().run(), &["the cached token is used", "the test says no"]), second);
    let asked = emulator.calls();
    assert_eq!(case.get(), second);
    assert_eq!(emulator.calls(), asked);
    // It is dead: nothing serves.
    case.world.age(2 * HOUR);
    refused(case.call().run(), case.down, &["the test says no"]);
    let asked = emulator.calls();
    refused(case.call().run(), case.down, &["the test says no", "remembered"]);
    assert_eq!(emulator.calls(), asked);
    emulator.clear_faults();
    case.world.age(HOUR);
    assert_ne!(case.get(), second);
}

/// Refused: at once, once, in the cloud's words, and from then on from memory.
#[track_caller]
fn is_refused(case: &Case) {
    case.world.emulator.fault(Fault::refuse(403).message("the test says no"));
    refused(case.call().run(), 1, &["403", "the test says no"]);
    let asked = case.world.emulator.calls();
    refused(case.call().run(), 1, &["the test says no", "remembered"]);
    assert_eq!(case.world.emulator.calls(), asked);
    case.world.emulator.clear_faults();
    handed((case.call)(case.world.token(&["--force-refresh"])).run());
}

#[track_caller]
fn bears_a_clock_that_is_off(case: &Case, minutes: i64) {
    case.world.emulator.set(|settings| settings.clock_shift = Span::minutes(minutes));
    let token = match case.knows_time {
        true => {
            warned(case.call().run(), &["this machine's clock is 20 min", if minutes < 0 { "fast" } else { "slow" }])
        }
        false => handed(case.call().run()),
    };
    assert!(case.world.emulator.is_live(&token));
    assert_eq!(case.get(), token);
    // Once it is dead for the cloud, it is not served.
    case.world.age(13 * HOUR);
    let run = case.call().run().exits(0);
    assert_ne!(one_token(&run), token);
}

#[test]
fn an_authorized_key() {
    lives(Case::authorized_key);
}

#[test]
fn an_oauth_token() {
    lives(Case::oauth);
}

#[test]
fn the_metadata_service() {
    lives(Case::metadata);
}

#[test]
fn a_workload_with_a_file() {
    lives(|| Case::workload(|_| FILE.to_owned()));
}

#[test]
fn a_workload_with_a_variable() {
    lives(|| Case::workload(|_| VARIABLE.to_owned()));
}

#[test]
fn a_workload_with_a_command() {
    lives(|| Case::workload(|_| COMMAND.to_owned()));
}

#[test]
fn a_workload_in_github_actions() {
    lives(|| Case::workload(github));
}

#[test]
fn a_command() {
    lives(Case::command);
}

#[test]
fn an_account_that_a_key_impersonates() {
    lives(|| Case::authorized_key().impersonating());
}

#[test]
fn an_account_that_a_workload_impersonates() {
    lives(|| Case::workload(|_| FILE.to_owned()).impersonating());
}

#[test]
fn an_account_that_a_machine_impersonates() {
    lives(|| Case::metadata().impersonating());
}

#[test]
fn a_static_token_needs_no_cloud_and_is_as_old_as_it_is() {
    let case = Case::fixed();
    case.world.emulator.fault(Fault::refuse(503));
    case.world.emulator.set(|settings| settings.clock_shift = Span::minutes(20));
    let token = case.get();
    assert_eq!(case.get(), token);
    let another = case.world.emulator.issue("ajestatic");
    assert_eq!(handed(case.call().env("MY_TOKEN", &another).run()), another, "never cached");
    refused(case.call().without("MY_TOKEN").run(), 3, &["default.toml", "MY_TOKEN", "not set"]);
    refused(case.call().env("MY_TOKEN", "two words").run(), 3, &["MY_TOKEN", "no token"]);
    assert_eq!(case.world.emulator.calls(), 0);
}

/// On any source: each link of a chain is bought and kept by itself, so that many accounts cost one token of the base.
#[test]
fn many_accounts_cost_one_token_of_the_base_whatever_that_is() {
    for (name, case) in [
        ("authorized-key", Case::authorized_key()),
        ("oauth", Case::oauth()),
        ("metadata", Case::metadata()),
        ("workload", Case::workload(github)),
        ("command", Case::command()),
        ("static", Case::fixed()),
    ] {
        let emulator = &case.world.emulator;
        let shared = emulator.new_service_account();
        for number in 1..=3 {
            let account = emulator.new_service_account();
            case.write(&format!("impersonate = [\"{shared}\", \"{account}\"]\n"));
            let token = handed(case.call().run());
            assert_eq!(emulator.subject_of(&token), Some(account), "{name}");
            assert_eq!(handed(case.call().run()), token, "{name}");
            case.has_asked(usize::from(case.asks.is_some()));
            assert_eq!(emulator.requests(CREATE_FOR_SERVICE_ACCOUNT), 1 + number, "{name}");
        }
        case.write("");
        case.get();
        case.has_asked(usize::from(case.asks.is_some()));
        // A refusal in the midst of a chain is told with its link, and does not cost the base again.
        let last = emulator.new_service_account();
        case.write(&format!("impersonate = [\"{shared}\", \"{last}\"]\n"));
        emulator.fault(Fault::refuse(403).on(Endpoint::CreateForServiceAccount).message("the test says no"));
        refused(case.call().run(), 1, &[&last, "the test says no"]);
        case.has_asked(usize::from(case.asks.is_some()));
    }
}

/// What a program makes of the cloud's deadline: it is killed in time for our own.
#[test]
fn a_cloud_that_hangs_ends_each_source_with_its_deadline() {
    for make in [Case::authorized_key, Case::oauth, Case::metadata, || Case::workload(github), Case::command] {
        let case = make();
        case.world.emulator.fault(Fault::slow(Duration::from_secs(300)));
        let call = (case.call)(case.world.token(&["--timeout", "2s"])).limit(Duration::from_secs(30));
        refused(call.run(), 4, &["profile default"]);
    }
}
