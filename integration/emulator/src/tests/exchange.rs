//! Token exchange: each rule for the request and the subject token, broken one at a time.

use serde_json::{Value, json};

use super::{Answer, send};
use crate::auth::TOKEN;
use crate::exchange::{Algorithm, Issuer};
use crate::{Config, Emulator, times};

const ACCOUNT: &str = "aje00000000000000001";
/// The parameters with fixed values.
const FIXED: [(&str, &str); 3] = [
    ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
    ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
    ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
];
const SUBJECT: &str = "repo:owner/name:ref:refs/heads/main";

fn cloud(algorithm: Algorithm) -> (Emulator, Issuer) {
    let emulator = Emulator::start(Config::default());
    let issuer = emulator.new_federation(algorithm);
    emulator.new_federated_credential(&issuer, ACCOUNT, SUBJECT);
    (emulator, issuer)
}

fn parameters(token: &str) -> Vec<(String, String)> {
    let own = [("audience", ACCOUNT), ("subject_token", token)];
    FIXED.iter().copied().chain(own).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn post(emulator: &Emulator, parameters: &[(String, String)]) -> Answer {
    let form: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let head = format!("POST {} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded", TOKEN);
    send(emulator.auth_address(), &head, &form.join("&")).expect("a response")
}

fn present(emulator: &Emulator, token: &str) -> Answer {
    post(emulator, &parameters(token))
}

#[track_caller]
fn is_refused(answer: &Answer, why: &str) {
    assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_request")), "{}", answer.body);
    let description = answer.json()["error_description"].as_str().unwrap_or_default().to_owned();
    assert!(description.contains(why), "{description}: {why} expected");
}

#[test]
fn a_valid_subject_token_is_exchanged_for_a_token_of_the_account() {
    for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
        let (emulator, issuer) = cloud(algorithm);
        let answer = present(&emulator, &issuer.token(SUBJECT));
        assert_eq!(answer.status, 200, "{}", answer.body);
        let body = answer.json();
        let token = body["access_token"].as_str().expect("a token");
        assert_eq!(emulator.subject_of(token).as_deref(), Some(ACCOUNT));
        assert_eq!(
            (&body["token_type"], body["expires_in"].as_u64().map(|left| left / 100)),
            (&json!("Bearer"), Some(431))
        );
        // One of several audiences is enough.
        let many = issuer.token_with(SUBJECT, &json!({"aud": ["x", issuer.audience]}));
        assert_eq!(present(&emulator, &many).status, 200);
    }
}

#[test]
fn each_parameter_is_required_exactly_once_and_others_are_rejected() {
    let (emulator, issuer) = cloud(Algorithm::Es256);
    let good = parameters(&issuer.token(SUBJECT));
    for (at, (name, value)) in good.iter().enumerate() {
        let mut less = good.clone();
        less.remove(at);
        is_refused(&post(&emulator, &less), &format!("{name} is missing"));
        let mut twice = good.clone();
        twice.push((name.clone(), value.clone()));
        is_refused(&post(&emulator, &twice), "twice");
    }
    for name in ["requested_token_type", "subject_token_type"] {
        let mut other = good.clone();
        for (_, value) in other.iter_mut().filter(|(known, _)| known == name) {
            *value = "urn:ietf:params:oauth:token-type:jwt".to_owned();
        }
        is_refused(&post(&emulator, &other), &format!("{name} must be"));
    }
    let more: Vec<_> = good.iter().cloned().chain([("scope".to_owned(), "x".to_owned())]).collect();
    is_refused(&post(&emulator, &more), "scope is not a parameter");
    let mut other = good;
    other[0].1 = "password".to_owned();
    assert_eq!(post(&emulator, &other).json()["error"], "unsupported_grant_type");
}

#[test]
fn each_claim_is_verified() {
    let (emulator, issuer) = cloud(Algorithm::Es256);
    let now = times::unix(emulator.now());
    for (changes, why) in [
        (json!({"iss": "https://other.example"}), "no federation with issuer https://other.example"),
        (json!({"iss": null}), "iss is missing"),
        (json!({"aud": "other"}), "aud is"),
        (json!({"aud": null}), "aud is"),
        (json!({"exp": now - 1}), "is expired"),
        (json!({"exp": null}), "exp is missing"),
        (json!({"iat": now + 60}), "iat is in the future"),
        (json!({"nbf": now + 60}), "nbf is in the future"),
        (json!({"sub": null}), "sub is missing"),
        (json!({"sub": format!("{SUBJECT}x")}), "no federated credential matches"),
        (json!({"sub": SUBJECT.to_uppercase()}), "no federated credential matches"),
    ] {
        is_refused(&present(&emulator, &issuer.token_with(SUBJECT, &changes)), why);
    }
    let other = emulator.new_federation(Algorithm::Es256);
    is_refused(&present(&emulator, &other.token(SUBJECT)), "no federated credential matches");
    emulator.delete_federated_credentials(ACCOUNT);
    is_refused(&present(&emulator, &issuer.token(SUBJECT)), "no federated credential matches");
}

#[test]
fn rejects_signatures_by_another_key_or_algorithm() {
    for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
        let (emulator, issuer) = cloud(algorithm);
        is_refused(&present(&emulator, &issuer.impostor().token(SUBJECT)), "the signature is not by key");
        let (mut header, payload) = issuer.claims(SUBJECT);
        for alg in ["none", "HS256", "PS256", if algorithm == Algorithm::Rs256 { "ES256" } else { "RS256" }] {
            header["alg"] = alg.into();
            is_refused(&present(&emulator, &issuer.sign(&header, &payload)), "is not the key's");
        }
        let (mut header, _) = issuer.claims(SUBJECT);
        header["kid"] = "other".into();
        is_refused(&present(&emulator, &issuer.sign(&header, &payload)), "no key other");
        header["kid"] = Value::Null;
        is_refused(&present(&emulator, &issuer.sign(&header, &payload)), "kid is missing");
        let (mut header, _) = issuer.claims(SUBJECT);
        header["crit"] = json!(["x"]);
        is_refused(&present(&emulator, &issuer.sign(&header, &payload)), "crit");
        let good = issuer.token(SUBJECT);
        let (signed, signature) = good.rsplit_once('.').expect("three parts");
        is_refused(&present(&emulator, &format!("{signed}.")), "the signature is not by key");
        is_refused(&present(&emulator, &format!("{signed}.!")), "is not base64url");
        is_refused(&present(&emulator, signed), "three parts");
        // Another payload under the same signature.
        let other = issuer.token("somebody else");
        let (other, _) = other.rsplit_once('.').expect("three parts");
        is_refused(&present(&emulator, &format!("{other}.{signature}")), "the signature is not by key");
        is_refused(&present(&emulator, "a.b.c"), "is not a JWT");
    }
}
