//! Faults, the log, the control interface, and paths that a test adds.

use std::time::Duration;

use serde_json::{Value, json};

use super::{exchange, good_jwt, post, send};
use crate::faults::{Endpoint, Fault};
use crate::log::{self, Presented};
use crate::server::{Response, Stage};
use crate::settings::Settings;
use crate::{CREATE_FOR_SERVICE_ACCOUNT, Config, Emulator, TOKENS};

#[test]
fn each_fault_has_its_effect() {
    let emulator = Emulator::start(Config::default());
    let key = emulator.new_service_account_key();
    let ask = || {
        let head = format!("POST {TOKENS} HTTP/1.1\r\nContent-Type: application/json");
        send(emulator.address(), &head, &json!({"jwt": good_jwt(&emulator, &key)}).to_string())
    };
    let with_fault = |fault: Fault| {
        emulator.clear_faults();
        emulator.fault(fault.on(Endpoint::Tokens).times(1));
        ask()
    };
    let refused = with_fault(Fault::refuse(429).retry_after(7).message("slow down")).expect("a response");
    assert_eq!((refused.status, refused.header("retry-after").as_deref()), (429, Some("7")));
    assert_eq!((&refused.json()["code"], &refused.json()["message"]), (&json!(8), &json!("slow down")));
    let dated = with_fault(Fault::refuse(503).retry_after_date(Duration::from_secs(90))).expect("a response");
    let (date, later) = (dated.header("date").expect("Date"), dated.header("retry-after").expect("Retry-After"));
    let parse = |text: &str| httpdate::parse_http_date(text).expect("an HTTP date");
    let ahead = parse(&later).duration_since(parse(&date)).expect("a later date");
    assert!((89..=91).contains(&ahead.as_secs()), "{ahead:?}");
    let page = with_fault(Fault::html()).expect("a response");
    assert!(page.status == 200 && page.body.starts_with("<!DOCTYPE html>"), "{}", page.body);
    let moved = with_fault(Fault::refuse(302).header("Location", "https://example.com/")).expect("a response");
    assert_eq!((moved.status, moved.header("location").as_deref()), (302, Some("https://example.com/")));
    assert_eq!(with_fault(Fault::body("{}")).expect("a response").body, "{}");
    with_fault(Fault::dripping(64, Duration::from_millis(1))).expect("a response").token();
    with_fault(Fault::slow(Duration::from_millis(1))).expect("a response").token();
    for stage in [Stage::BeforeAnswer, Stage::MidHeaders, Stage::Reset] {
        assert!(with_fault(Fault::broken(stage)).is_none(), "{stage:?}");
    }
    let half = with_fault(Fault::broken(Stage::MidBody)).expect("a head");
    assert!(half.status == 200 && serde_json::from_str::<Value>(&half.body).is_err(), "{}", half.body);
    ask().expect("no fault remains").token();
    let log = emulator.log();
    let before =
        log.iter().find(|entry| entry.fault.as_ref().is_some_and(|fault| fault.break_at == Some(Stage::BeforeAnswer)));
    let before = before.expect("the broken request is in the log");
    assert!(
        before.status.is_none() && before.issued.is_some(),
        "the token was issued, the response was lost: {before:?}"
    );
}

#[test]
fn held_responses_wait_and_the_log_shows_them() {
    let emulator = Emulator::start(Config::default());
    let key = emulator.new_service_account_key();
    emulator.fault(Fault::held().on(Endpoint::Iam));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..3).map(|_| scope.spawn(|| exchange(&emulator, &good_jwt(&emulator, &key)))).collect();
        assert!(emulator.wait_for_requests(TOKENS, 3, Duration::from_secs(20)));
        assert!(emulator.log().iter().all(|entry| entry.answered.is_none()));
        emulator.clear_faults();
        for client in clients {
            client.join().expect("a client").token();
        }
    });
    assert!(emulator.log().iter().all(|entry| entry.answered.is_some() && entry.status == Some(200)));
}

#[test]
fn the_log_shows_credentials_as_fingerprints() {
    let emulator = Emulator::start(Config::default());
    let key = emulator.new_service_account_key();
    let jwt = good_jwt(&emulator, &key);
    let token = exchange(&emulator, &jwt).token();
    exchange(&emulator, "nonsense");
    let account = emulator.new_service_account();
    post(&emulator, CREATE_FOR_SERVICE_ACCOUNT, Some(&token), &json!({"serviceAccountId": account}).to_string())
        .token();
    let log = emulator.log();
    assert_eq!(log.iter().map(|entry| entry.number).collect::<Vec<_>>(), [1, 2, 3]);
    let Presented::Jwt { kid, iss, iat, exp, fingerprint, .. } = &log[0].presented else { panic!("{log:?}") };
    assert_eq!((kid.as_deref(), iss.as_deref()), (Some(key.id.as_str()), Some(key.service_account_id.as_str())));
    assert_eq!((exp.expect("exp") - iat.expect("iat"), fingerprint), (600, &log::fingerprint(&jwt)));
    assert_eq!(log[1].refused.as_deref(), Some("JWT does not have three parts"));
    assert_eq!(
        log[2].presented,
        Presented::Bearer { fingerprint: log::fingerprint(&token), service_account_id: Some(account) }
    );
    let text = send(emulator.address(), "GET /_emulator/log HTTP/1.1", "").expect("a response").body;
    assert!(text.contains(&key.id) && !text.contains(&jwt), "{text}");
    assert!(emulator.tokens().iter().all(|token| !text.contains(token.as_str())), "{text}");
    emulator.clear_log();
    assert_eq!(emulator.calls(), 0);
}

#[test]
fn the_control_interface_changes_faults_and_settings() {
    let emulator = Emulator::start(Config::default());
    let control = |method: &str, what: &str, body: &str| {
        send(emulator.address(), &format!("{method} /_emulator{what} HTTP/1.1"), body).expect("a response")
    };
    assert!(control("GET", "", "").body.contains("/_emulator/faults"));
    let set = control("PUT", "/faults", r#"[{"status": 503, "times": 2}, {"delay": "1ms"}]"#);
    assert_eq!((set.status, emulator.faults().len()), (200, 2));
    assert_eq!(control("POST", "/faults", r#"{"html": true}"#).json().as_array().map(Vec::len), Some(3));
    assert_eq!(control("PUT", "/faults", r#"{"statsu": 503}"#).status, 400);
    assert_eq!(emulator.faults().len(), 3, "an invalid request changes nothing");
    assert_eq!(control("DELETE", "/faults", "").status, 204);
    assert_eq!(control("GET", "/faults", "").body, "[]\n");
    let settings = control("PUT", "/settings", r#"{"life": "90s", "clock-shift": "-10m"}"#);
    assert_eq!(settings.json()["life"], "90s");
    assert_eq!(emulator.settings().clock_shift, time::Duration::minutes(-10));
    assert_eq!(control("PUT", "/settings", r#"{"life": 90}"#).status, 400);
    assert_eq!(control("DELETE", "/settings", "").status, 204);
    assert_eq!(emulator.settings(), Settings::default());
    assert_eq!(control("GET", "/nothing", "").status, 404);
    assert_eq!(control("DELETE", "/log", "").status, 204);
    assert_eq!(control("GET", "/log", "").body, "[]\n", "control requests are not logged");
}

#[test]
fn a_test_can_add_paths() {
    let emulator = Emulator::start(Config::default());
    emulator.route("/iam/v1/whoami", |request| Response::text(200, request.method.clone()));
    assert_eq!(post(&emulator, "/iam/v1/whoami", None, "").body, "POST");
    assert_eq!((emulator.log()[0].endpoint, emulator.log()[0].status), (Endpoint::Other, Some(200)));
}
