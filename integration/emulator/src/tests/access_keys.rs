//! Ephemeral access keys.

use std::time::Duration;

use serde_json::{Value, json};

use super::post;
use crate::access_keys::EPHEMERAL_ACCESS_KEYS;
use crate::faults::{Endpoint, Fault};
use crate::{Config, Emulator};

#[test]
fn access_keys_need_a_valid_token_and_expire_no_later_than_it() {
    let emulator = Emulator::start(Config::default());
    let token = emulator.issue("aje00000000000000001");
    let create = |bearer: Option<&str>, body: Value| post(&emulator, EPHEMERAL_ACCESS_KEYS, bearer, &body.to_string());
    let answer = create(Some(&token), json!({"sessionName": "a@b.c=d,e+f-g_h", "duration": "900s", "policy": "{}"}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let key = emulator.access_keys().pop().expect("a key");
    let body = answer.json();
    assert_eq!(body["accessKeyId"], key.id);
    assert_eq!(body["secret"], key.secret);
    assert_eq!(body["sessionToken"], key.session_token);
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(4), "{body}");
    assert_eq!((key.id.len(), key.secret.len(), key.session_token.len()), (20, 43, 285));
    assert!(key.secret.starts_with("YC") && key.session_token.starts_with("s1."));
    assert_eq!((key.subject.as_str(), key.policy.as_deref()), ("aje00000000000000001", Some("{}")));
    assert_eq!(create(Some(&token), json!({"sessionName": "x"})).status, 200, "the default duration is an hour");

    let good = json!({"sessionName": "x", "duration": "3600s"});
    for bearer in [None, Some("t1.no.token")] {
        assert_eq!(create(bearer, good.clone()).status, 401, "{bearer:?}");
    }
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    for (body, field) in [
        (json!({"duration": "3600s"}), "sessionName"),
        (with("sessionName", json!("a b")), "sessionName"),
        (with("sessionName", json!("x".repeat(65))), "sessionName"),
        (with("duration", json!("1h")), "duration"),
        (with("duration", json!(3600)), "duration"),
        (with("duration", json!("899s")), "duration"),
        (with("duration", json!("43201s")), "duration"),
        (with("policy", json!("[]")), "policy"),
        (with("policy", json!("x".repeat(2049))), "policy"),
        (with("durationSeconds", json!("3600")), "durationSeconds"),
    ] {
        let answer = create(Some(&token), body.clone());
        assert!(answer.status == 400 && answer.body.contains(field), "{body}: {}", answer.body);
    }
    assert_eq!(create(Some(&token), with("subjectId", json!("aje00000000000000002"))).status, 403);

    emulator.set(|settings| settings.life = Duration::from_secs(1800));
    let short = emulator.issue("aje00000000000000001");
    assert_eq!(create(Some(&short), json!({"sessionName": "x", "duration": "1700s"})).status, 200);
    let answer = create(Some(&short), good.clone());
    assert!(answer.status == 400 && answer.body.contains("lifetime of the authentication token"), "{}", answer.body);
    emulator.revoke(&short);
    assert_eq!(create(Some(&short), json!({"sessionName": "x", "duration": "900s"})).status, 401);
    assert_eq!(emulator.access_keys().len(), 3, "rejected requests create no keys");

    emulator.fault(Fault::refuse(403).on(Endpoint::EphemeralAccessKeys).times(1));
    assert_eq!(create(Some(&token), good.clone()).status, 403);
    assert_eq!(create(Some(&token), good).status, 200);
}
