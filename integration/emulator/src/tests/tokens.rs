//! IamTokenService: JWTs, OAuth tokens, impersonation, revocation, and the validity of tokens.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rsa::pkcs1v15;
use rsa::sha2::Sha256;
use rsa::signature::{SignatureEncoding as _, Signer as _};
use serde_json::{Value, json};

use super::{Answer, claims, encode, exchange, good_jwt, post, send, sign};
use crate::faults::{Fault, TokenForm};
use crate::keys::RsaKey;
use crate::{CREATE_FOR_SERVICE_ACCOUNT, Config, Emulator, Impersonation, REVOKE, TOKENS, Tls, times};

/// Returns true if a token is of the documented form `t1\.[A-Z0-9a-z_-]+[=]{0,2}\.[A-Z0-9a-z_-]{86}[=]{0,2}`.
fn documented(token: &str) -> bool {
    let is_base64url =
        |part: &str| part.trim_end_matches('=').chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    match token.split('.').collect::<Vec<_>>().as_slice() {
        ["t1", claims, signature] => {
            !claims.is_empty() && is_base64url(claims) && is_base64url(signature) && signature.len() == 86
        }
        _ => false,
    }
}

#[test]
fn a_valid_jwt_is_exchanged_for_a_token() {
    let emulator = Emulator::start(Config::default());
    let key = emulator.new_service_account_key();
    let answer = exchange(&emulator, &good_jwt(&emulator, &key));
    let token = answer.token();
    assert!(documented(&token), "{token}");
    assert_eq!(answer.json().as_object().map(serde_json::Map::len), Some(2), "{}", answer.body);
    let expires = answer.json()["expiresAt"].as_str().expect("a time").to_owned();
    assert_eq!((expires.len(), expires.ends_with('Z')), (30, true), "nanoseconds: {expires}");
    assert_eq!(emulator.subject_of(&token).as_deref(), Some(key.service_account_id.as_str()));
    assert!(emulator.is_live(&token));
    assert!(answer.header("x-request-id").is_some() && answer.header("date").is_some(), "{}", answer.head);
}

#[test]
fn accepts_signatures_by_ring_and_aud_as_string_or_array() {
    let emulator = Emulator::start(Config::default());
    let key = emulator.new_service_account_key();
    let ring = ring::rsa::KeyPair::from_pkcs8(&key.rsa.pkcs8_der()).expect("ring reads the key");
    let (header, mut payload) = claims(&emulator, &key);
    payload["aud"] = json!([payload["aud"]]);
    payload["nbf"] = payload["iat"].clone();
    let signed = encode(&header, &payload);
    let mut signature = vec![0; ring.public().modulus_len()];
    let random = ring::rand::SystemRandom::new();
    ring.sign(&ring::signature::RSA_PSS_SHA256, &random, signed.as_bytes(), &mut signature).expect("a signature");
    exchange(&emulator, &format!("{signed}.{}", URL_SAFE_NO_PAD.encode(&signature))).token();
}

#[test]
fn every_invalid_jwt_is_unauthenticated() {
    let emulator = Emulator::start(Config::default());
    let (key, stranger) = (emulator.new_service_account_key(), emulator.new_service_account_key());
    let (header, payload) = claims(&emulator, &key);
    let now = times::unix(emulator.now());
    let with = |name: &str, value: Value| {
        let mut payload = payload.clone();
        payload[name] = value;
        sign(&header, &payload, &key.rsa, 32)
    };
    let headed = |name: &str, value: Value| {
        let mut header = header.clone();
        header[name] = value;
        sign(&header, &payload, &key.rsa, 32)
    };
    let aged = |iat: i64, exp: i64| {
        let mut payload = payload.clone();
        payload["iat"] = iat.into();
        payload["exp"] = exp.into();
        sign(&header, &payload, &key.rsa, 32)
    };
    let rs256 = {
        let mut header = header.clone();
        header["alg"] = "RS256".into();
        let signed = encode(&header, &payload);
        let signature = pkcs1v15::SigningKey::<Sha256>::new(key.rsa.private.clone()).sign(signed.as_bytes()).to_vec();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    };
    // PKCS#1 v1.5 under a header that says PS256.
    let mislabelled = {
        let signed = encode(&header, &payload);
        let signature = pkcs1v15::SigningKey::<Sha256>::new(key.rsa.private.clone()).sign(signed.as_bytes()).to_vec();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    };
    let good = sign(&header, &payload, &key.rsa, 32);
    let tampered = {
        let signature = good.rsplit('.').next().expect("a signature");
        let mut payload = payload.clone();
        payload["exp"] = json!(now + 601);
        format!("{}.{signature}", encode(&header, &payload))
    };
    let unsigned = format!("{}.", encode(&json!({"typ": "JWT", "alg": "none", "kid": key.id}), &payload));
    let stripped = format!("{}.", encode(&header, &payload));
    let padded = format!("{good}=");
    let invalid = [
        (sign(&header, &payload, &key.rsa, 20), "salt length 32"),
        (sign(&header, &payload, &key.rsa, 222), "salt length 32"),
        (sign(&header, &payload, &key.rsa, 0), "salt length 32"),
        (sign(&header, &payload, &RsaKey::another(), 32), "salt length 32"),
        (rs256, "alg is \"RS256\""),
        (mislabelled, "salt length 32"),
        (unsigned, "alg is \"none\""),
        (stripped, "signature"),
        (tampered, "salt length 32"),
        (padded, "base64url"),
        ("not.a-jwt".to_owned(), "three parts"),
        ("a.b.c".to_owned(), "JWT"),
        (headed("typ", Value::Null), "typ is missing"),
        (headed("alg", json!("ps256")), "alg is \"ps256\""),
        (headed("kid", Value::Null), "kid is missing"),
        (headed("kid", json!("ajeunknown0000000000")), "does not exist"),
        (headed("kid", json!(stranger.id)), "does not belong"),
        (headed("crit", json!(["exp"])), "crit"),
        (with("iss", json!(stranger.service_account_id)), "does not belong"),
        (with("iss", Value::Null), "iss is missing"),
        (with("aud", json!("https://iam.api.cloud.yandex.net/iam/v1/tokens")), "aud is"),
        (with("aud", json!([format!("{}{TOKENS}", emulator.url()), "https://elsewhere.example"])), "aud is"),
        (with("aud", json!([])), "aud is"),
        (with("aud", json!(format!("{}{TOKENS}/", emulator.url()))), "aud is"),
        (with("iat", Value::Null), "iat is missing"),
        (with("exp", json!("soon")), "exp is missing or not a number"),
        (with("nbf", json!(now + 60)), "nbf is in the future"),
        (aged(now - 60, now - 10), "expired"),
        (aged(now - 3601, now), "more than 3600"),
        (aged(now, now + 3601), "more than 3600"),
        (aged(now, now), "exp - iat is 0"),
        (aged(now + 60, now + 600), "in the future"),
        (aged(now, now - 1), "exp - iat is -1"),
    ];
    for (jwt, why) in &invalid {
        let answer = exchange(&emulator, jwt);
        assert_eq!(answer.status, 401, "{why}: {}", answer.body);
        let status = answer.json();
        assert_eq!(status["code"], 16, "{why}");
        assert!(status["message"].as_str().is_some_and(|message| message.contains(why)), "{why}: {}", answer.body);
        assert_eq!(status["details"][0]["@type"], "type.googleapis.com/google.rpc.RequestInfo");
        assert_eq!(status["details"][0]["requestId"].as_str(), answer.header("x-request-id").as_deref());
    }
    assert_eq!(emulator.requests(TOKENS), invalid.len());
    assert!(emulator.tokens().is_empty());
    exchange(&emulator, &good).token();
    exchange(&emulator, &aged(now - 60, now + 3540)).token();
    emulator.delete_key(&key.id);
    assert_eq!(exchange(&emulator, &good).status, 401);
}

#[test]
fn a_setting_adds_the_audience_of_the_cloud() {
    let cloud = "https://iam.api.cloud.yandex.net/iam/v1/tokens";
    let emulator = Emulator::start(Config::default());
    emulator.set(|settings| settings.audiences = vec![cloud.to_owned()]);
    let key = emulator.new_service_account_key();
    let (header, mut payload) = claims(&emulator, &key);
    payload["aud"] = cloud.into();
    exchange(&emulator, &sign(&header, &payload, &key.rsa, 32)).token();
}

#[test]
fn malformed_requests_are_invalid_arguments() {
    let emulator = Emulator::start(Config::default());
    let (oauth, _) = emulator.new_oauth();
    let identity = "Validation failed:\n  - identity: One of the options must be selected";
    for (body, message) in [
        ("{}".to_owned(), identity),
        (json!({"jwt": "a.b.c", "yandexPassportOauthToken": oauth}).to_string(), identity),
        (json!({"jwt": null}).to_string(), identity),
        (json!({"jwt": "a.b.c", "subject": "me"}).to_string(), "unknown field `subject`"),
        (json!({"yandex_passport_oauth_token": oauth}).to_string(), "unknown field"),
        (json!({"jwt": 1}).to_string(), "is not a string"),
        (json!({"jwt": "j".repeat(8001)}).to_string(), "at most 8000"),
        (json!({"yandexPassportOauthToken": "y".repeat(4001)}).to_string(), "at most 4000"),
        ("[]".to_owned(), "is not a JSON object"),
        ("{\"jwt\":".to_owned(), "is not a JSON object"),
        (String::new(), "is not a JSON object"),
    ] {
        let answer = post(&emulator, TOKENS, None, &body);
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!(3)), "{body}: {}", answer.body);
        assert!(answer.json()["message"].as_str().is_some_and(|text| text.contains(message)), "{}", answer.body);
    }
    let body = json!({"yandexPassportOauthToken": oauth}).to_string();
    let form = send(emulator.address(), "POST /iam/v1/tokens HTTP/1.1\r\nContent-Type: text/plain", &body)
        .expect("a response");
    assert_eq!(form.status, 400);
    let get = send(emulator.address(), "GET /iam/v1/tokens HTTP/1.1", "").expect("a response");
    assert_eq!(get.status, 405);
    let lost = send(emulator.address(), "POST /iam/v1/token HTTP/1.1", "{}").expect("a response");
    assert_eq!((lost.status, &lost.json()["code"]), (404, &json!(5)));
    assert!(emulator.tokens().is_empty());
}

#[test]
fn oauth_impersonation_and_revocation() {
    let emulator = Emulator::start(Config::default());
    let (oauth, user) = emulator.new_oauth();
    let own = post(&emulator, TOKENS, None, &json!({"yandexPassportOauthToken": oauth}).to_string()).token();
    assert_eq!(emulator.subject_of(&own).as_deref(), Some(user.as_str()));
    let stranger = post(&emulator, TOKENS, None, &json!({"yandexPassportOauthToken": "y0_other"}).to_string());
    assert_eq!(stranger.status, 401);

    let account = emulator.new_service_account();
    let impersonate = |bearer: Option<&str>, account: &str| {
        post(&emulator, CREATE_FOR_SERVICE_ACCOUNT, bearer, &json!({"serviceAccountId": account}).to_string())
    };
    let token = impersonate(Some(&own), &account).token();
    assert_eq!(emulator.subject_of(&token), Some(account.clone()));
    assert_eq!(impersonate(None, &account).status, 401);
    assert_eq!(impersonate(Some("t1.made.up"), &account).status, 401);
    assert_eq!(impersonate(Some(&own), "ajenobody00000000000").json()["code"], 7);
    assert_eq!(impersonate(Some(&own), "").status, 400);
    assert_eq!(impersonate(Some(&own), &"a".repeat(51)).status, 400);
    let locked = emulator.new_service_account_key().service_account_id;
    assert_eq!(impersonate(Some(&own), &locked).status, 403);
    emulator.set_impersonation(&locked, Impersonation::By([user.clone()].into()));
    assert_eq!(impersonate(Some(&token), &locked).status, 403, "only the user has the role");
    impersonate(Some(&own), &locked).token();

    let revoke =
        |bearer: &str, token: &str| post(&emulator, REVOKE, Some(bearer), &json!({"iamToken": token}).to_string());
    assert_eq!(revoke(&own, &"t".repeat(4097)).status, 400);
    assert_eq!(revoke("t1.made.up", &own).status, 401);
    let revoked = revoke(&own, &own);
    assert_eq!((revoked.status, &revoked.json()["subjectId"]), (200, &json!(user)));
    let refused = impersonate(Some(&own), &account);
    assert_eq!((refused.status, &refused.json()["message"]), (401, &json!("Token is invalid or has expired.")));
    assert!(!emulator.is_live(&own) && emulator.is_live(&token));
}

#[test]
fn tokens_expire_by_the_shifted_clock() {
    let emulator = Emulator::start(Config::default());
    emulator.set(|settings| settings.life = Duration::from_secs(60));
    let key = emulator.new_service_account_key();
    let jwt = good_jwt(&emulator, &key);
    let token = exchange(&emulator, &jwt).token();
    emulator.set(|settings| settings.clock_shift = time::Duration::hours(2));
    assert!(!emulator.is_live(&token));
    assert_eq!(exchange(&emulator, &jwt).status, 401, "the JWT has expired as well");
    let answer = exchange(&emulator, &good_jwt(&emulator, &key));
    let date =
        |answer: &Answer| httpdate::parse_http_date(&answer.header("date").expect("a Date")).expect("an HTTP date");
    let ahead = date(&answer).duration_since(SystemTime::now()).expect("a date in the future");
    assert!(ahead > Duration::from_secs(7100), "{ahead:?}");
    emulator.set(|settings| settings.date_shift = time::Duration::hours(-4));
    let answer = exchange(&emulator, &good_jwt(&emulator, &key));
    assert!(date(&answer) < SystemTime::now() && answer.status == 200, "Date is shifted, the clock is not");
    emulator.set(|settings| settings.send_date = false);
    assert_eq!(exchange(&emulator, &jwt).header("date"), None);
}

#[test]
fn tokens_can_be_repeated_or_expire_soon() {
    let emulator = Emulator::start(Config::default());
    let key = emulator.new_service_account_key();
    let get = || exchange(&emulator, &good_jwt(&emulator, &key)).token();
    let (first, second) = (get(), get());
    assert_ne!(first, second);
    emulator.fault(Fault::repeating().times(1));
    assert_eq!(get(), second);
    assert!(emulator.log().last().is_some_and(|entry| entry.issued.as_ref().is_some_and(|issued| issued.repeated)));
    emulator.set(|settings| settings.repeat = Some(Duration::from_secs(11 * 3600)));
    assert_eq!(get(), second);
    emulator.set(|settings| settings.clock_shift = time::Duration::hours(2));
    let third = get();
    assert_ne!(third, second, "it is valid for only ten more hours");
    emulator.revoke(&third);
    assert_ne!(get(), third, "a revoked token is not repeated");
    emulator.clear_faults();
    emulator.set(|settings| settings.repeat = None);
    emulator.fault(Fault::short_life(Duration::from_secs(1)).times(1));
    let short = get();
    let left = emulator.expiry_of(&short).and_then(|end| end.duration_since(emulator.now()).ok()).unwrap_or_default();
    assert!(left <= Duration::from_secs(1), "{left:?}");
    assert!(!emulator.tokens().iter().any(|token| !documented(token)));
    emulator.set(|settings| settings.token_form = TokenForm::Old);
    assert!(get().starts_with("CggVAgAAA"));
}

#[test]
fn with_tls_url_and_audience_use_https() {
    let config = Config { names: vec!["iam.api.cloud.yandex.net".to_owned()], ..Config::with_tls(Tls::Good) };
    let emulator = Emulator::start(config);
    assert!(emulator.url().starts_with("https://127.0.0.1:"));
    assert!(emulator.ca_pem().starts_with("-----BEGIN CERTIFICATE-----"));
    let audiences = emulator.state.cloud().own_audiences.clone();
    assert!(audiences.contains(&format!("{}{TOKENS}", emulator.url())), "{audiences:?}");
    assert!(audiences.contains(&"https://iam.api.cloud.yandex.net/iam/v1/tokens".to_owned()), "{audiences:?}");
}
