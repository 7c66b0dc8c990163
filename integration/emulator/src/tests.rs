//! Proof that the emulator is as strict as it claims: what the documentation demands, one breach at a time.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rsa::sha2::Sha256;
use rsa::signature::{RandomizedSigner, SignatureEncoding, Signer};
use rsa::{pkcs1v15, pss};
use serde_json::{Value, json};

use super::*;

/// An answer as a client sees it.
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub fn header(&self, name: &str) -> Option<String> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
    }

    /// The token of a granted request.
    fn token(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.body);
        self.json()["iamToken"].as_str().expect("a token").to_owned()
    }
}

/// Sends one request; what comes back, or nothing if the connection broke before a status line.
pub fn send(to: SocketAddr, head: &str, body: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(to).expect("the emulator listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
    let length = body.len();
    write!(stream, "{head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}").expect("a request sent");
    let mut text = Vec::new();
    // A connection that is broken on purpose may end in an error; what came before it counts.
    let _ = stream.read_to_end(&mut text);
    let text = String::from_utf8(text).expect("text");
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

/// A POST of JSON to the IAM endpoint, with a bearer or without.
pub fn post(emulator: &Emulator, path: &str, bearer: Option<&str>, body: &str) -> Answer {
    let authorization = bearer.map(|bearer| format!("\r\nAuthorization: Bearer {bearer}")).unwrap_or_default();
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json{authorization}");
    send(emulator.address(), &head, body).expect("an answer")
}

fn exchange(emulator: &Emulator, jwt: &str) -> Answer {
    post(emulator, TOKENS, None, &json!({"jwt": jwt}).to_string())
}

/// Header and payload of a sound JWT.
fn claims(emulator: &Emulator, key: &AuthorizedKey) -> (Value, Value) {
    let now = times::unix(emulator.now());
    let header = json!({"typ": "JWT", "alg": "PS256", "kid": key.id});
    let aud = format!("{}{TOKENS}", emulator.url());
    (header, json!({"iss": key.service_account_id, "aud": aud, "iat": now, "exp": now + 600}))
}

fn encode(header: &Value, payload: &Value) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload.to_string()))
}

/// Signs by RSASSA-PSS with a salt of this length.
fn sign(header: &Value, payload: &Value, key: &RsaKey, salt: usize) -> String {
    let signed = encode(header, payload);
    let signer = pss::SigningKey::<Sha256>::new_with_salt_len(key.private.clone(), salt);
    let signature = signer.sign_with_rng(&mut rand::thread_rng(), signed.as_bytes()).to_vec();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn good_jwt(emulator: &Emulator, key: &AuthorizedKey) -> String {
    let (header, payload) = claims(emulator, key);
    sign(&header, &payload, &key.rsa, 32)
}

/// Whether a token is of the documented form `t1\.[A-Z0-9a-z_-]+[=]{0,2}\.[A-Z0-9a-z_-]{86}[=]{0,2}`.
fn documented(token: &str) -> bool {
    let word =
        |text: &str| text.trim_end_matches('=').chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    match token.split('.').collect::<Vec<_>>().as_slice() {
        ["t1", claims, signature] => !claims.is_empty() && word(claims) && word(signature) && signature.len() == 86,
        _ => false,
    }
}

#[test]
fn a_sound_jwt_buys_a_token() {
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
fn signatures_by_ring_pass_and_the_shape_of_aud_is_free() {
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
fn every_breach_of_the_jwt_rules_is_unauthenticated() {
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
    let breaches = [
        (sign(&header, &payload, &key.rsa, 20), "salt length 32"),
        (sign(&header, &payload, &key.rsa, 222), "salt length 32"),
        (sign(&header, &payload, &key.rsa, 0), "salt length 32"),
        (sign(&header, &payload, &RsaKey::another(), 32), "salt length 32"),
        (rs256, "alg is RS256"),
        (mislabelled, "salt length 32"),
        (unsigned, "alg is none"),
        (stripped, "signature"),
        (tampered, "salt length 32"),
        (padded, "base64url"),
        ("not.a-jwt".to_owned(), "three parts"),
        ("a.b.c".to_owned(), "JWT"),
        (headed("typ", Value::Null), "typ is missing"),
        (headed("alg", json!("ps256")), "alg is ps256"),
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
        (with("exp", json!("soon")), "exp is missing or no number"),
        (with("nbf", json!(now + 60)), "nbf is in the future"),
        (aged(now - 60, now - 10), "expired"),
        (aged(now - 3601, now), "more than 3600"),
        (aged(now, now + 3601), "more than 3600"),
        (aged(now, now), "exp - iat is 0"),
        (aged(now + 60, now + 600), "in the future"),
        (aged(now, now - 1), "exp - iat is -1"),
    ];
    for (jwt, why) in &breaches {
        let answer = exchange(&emulator, jwt);
        assert_eq!(answer.status, 401, "{why}: {}", answer.body);
        let status = answer.json();
        assert_eq!(status["code"], 16, "{why}");
        assert!(status["message"].as_str().is_some_and(|message| message.contains(why)), "{why}: {}", answer.body);
        assert_eq!(status["details"][0]["@type"], "type.googleapis.com/google.rpc.RequestInfo");
        assert_eq!(status["details"][0]["requestId"].as_str(), answer.header("x-request-id").as_deref());
    }
    assert_eq!(emulator.requests(TOKENS), breaches.len());
    assert!(emulator.tokens().is_empty());
    exchange(&emulator, &good).token();
    exchange(&emulator, &aged(now - 60, now + 3540)).token();
    emulator.delete_key(&key.id);
    assert_eq!(exchange(&emulator, &good).status, 401);
}

#[test]
fn the_audience_can_be_the_clouds_if_the_emulator_is_told_so() {
    let cloud = "https://iam.api.cloud.yandex.net/iam/v1/tokens";
    let emulator = Emulator::start(Config::default());
    emulator.set(|settings| settings.audiences = vec![cloud.to_owned()]);
    let key = emulator.new_service_account_key();
    let (header, mut payload) = claims(&emulator, &key);
    payload["aud"] = cloud.into();
    exchange(&emulator, &sign(&header, &payload, &key.rsa, 32)).token();
}

#[test]
fn requests_of_a_wrong_form_are_invalid_arguments() {
    let emulator = Emulator::start(Config::default());
    let (oauth, _) = emulator.new_oauth();
    let identity = "Validation failed:\n  - identity: One of the options must be selected";
    for (body, message) in [
        ("{}".to_owned(), identity),
        (json!({"jwt": "a.b.c", "yandexPassportOauthToken": oauth}).to_string(), identity),
        (json!({"jwt": null}).to_string(), identity),
        (json!({"jwt": "a.b.c", "subject": "me"}).to_string(), "unknown field `subject`"),
        (json!({"yandex_passport_oauth_token": oauth}).to_string(), "unknown field"),
        (json!({"jwt": 1}).to_string(), "no string"),
        (json!({"jwt": "j".repeat(8001)}).to_string(), "at most 8000"),
        (json!({"yandexPassportOauthToken": "y".repeat(4001)}).to_string(), "at most 4000"),
        ("[]".to_owned(), "no JSON object"),
        ("{\"jwt\":".to_owned(), "no JSON object"),
        (String::new(), "no JSON object"),
    ] {
        let answer = post(&emulator, TOKENS, None, &body);
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!(3)), "{body}: {}", answer.body);
        assert!(answer.json()["message"].as_str().is_some_and(|text| text.contains(message)), "{}", answer.body);
    }
    let body = json!({"yandexPassportOauthToken": oauth}).to_string();
    let form =
        send(emulator.address(), "POST /iam/v1/tokens HTTP/1.1\r\nContent-Type: text/plain", &body).expect("an answer");
    assert_eq!(form.status, 400);
    let get = send(emulator.address(), "GET /iam/v1/tokens HTTP/1.1", "").expect("an answer");
    assert_eq!(get.status, 405);
    let lost = send(emulator.address(), "POST /iam/v1/token HTTP/1.1", "{}").expect("an answer");
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
    assert_eq!(impersonate(Some(&token), &locked).status, 403, "only the user was granted it");
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
fn the_clock_can_be_shifted_and_tokens_expire_by_it() {
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
    let ahead = date(&answer).duration_since(SystemTime::now()).expect("a date to come");
    assert!(ahead > Duration::from_secs(7100), "{ahead:?}");
    emulator.set(|settings| settings.date_shift = time::Duration::hours(-4));
    let answer = exchange(&emulator, &good_jwt(&emulator, &key));
    assert!(date(&answer) < SystemTime::now() && answer.status == 200, "Date is off, the clock is as it was");
    emulator.set(|settings| settings.send_date = false);
    assert_eq!(exchange(&emulator, &jwt).header("date"), None);
}

#[test]
fn tokens_can_be_repeated_and_short_lived() {
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
    assert_ne!(third, second, "only ten hours are left of it");
    emulator.revoke(&third);
    assert_ne!(get(), third, "a revoked token is not repeated");
    emulator.clear_faults();
    emulator.set(|settings| settings.repeat = None);
    emulator.fault(Fault::short_life(Duration::from_secs(1)).times(1));
    let short = get();
    let left = emulator.expiry_of(&short).and_then(|end| end.duration_since(emulator.now()).ok()).unwrap_or_default();
    assert!(left <= Duration::from_secs(1), "{left:?}");
    assert!(!emulator.tokens().iter().any(|token| !documented(token)));
    emulator.set(|settings| settings.token_form = faults::TokenForm::Old);
    assert!(get().starts_with("CggVAgAAA"));
}

#[test]
fn the_metadata_service_demands_its_header_and_an_account() {
    let emulator = Emulator::start(Config::default());
    let to: SocketAddr = emulator.metadata_addr().parse().expect("an address");
    let ask = |head: &str| send(to, &head.replace("PATH", METADATA), "").expect("an answer");
    let sound = "GET PATH HTTP/1.1\r\nMetadata-Flavor: Google";
    assert_eq!(ask(sound).status, 404, "no account is attached");
    let account = emulator.new_service_account();
    emulator.attach(Some(&account));
    let answer = ask(sound);
    let token = answer.json()["access_token"].as_str().expect("a token").to_owned();
    assert_eq!(emulator.subject_of(&token), Some(account));
    assert_eq!(answer.json()["token_type"], "Bearer");
    assert!(
        answer.json()["expires_in"].as_u64().is_some_and(|left| (43190..=43200).contains(&left)),
        "{}",
        answer.body
    );
    assert_eq!(ask("GET PATH HTTP/1.1").status, 403);
    assert_eq!(ask("GET PATH HTTP/1.1\r\nMetadata-Flavor: google").status, 403);
    assert_eq!(ask(&format!("{sound}\r\nX-Forwarded-For: 10.0.0.1")).status, 403);
    assert_eq!(ask("POST PATH HTTP/1.1\r\nMetadata-Flavor: Google").status, 405);
    assert_eq!(ask("GET /iam/v1/tokens HTTP/1.1\r\nMetadata-Flavor: Google").status, 404);
    let other = emulator.new_service_account();
    emulator.attach(Some(&other));
    let swapped = ask(sound).json()["access_token"].as_str().expect("a token").to_owned();
    assert_eq!(emulator.subject_of(&swapped), Some(other));
}

#[test]
fn faults_do_what_they_are_told() {
    let emulator = Emulator::start(Config::default());
    let key = emulator.new_service_account_key();
    let ask = || {
        let head = format!("POST {TOKENS} HTTP/1.1\r\nContent-Type: application/json");
        send(emulator.address(), &head, &json!({"jwt": good_jwt(&emulator, &key)}).to_string())
    };
    let told = |fault: Fault| {
        emulator.clear_faults();
        emulator.fault(fault.on(Endpoint::Tokens).times(1));
        ask()
    };
    let refused = told(Fault::refuse(429).retry_after(7).message("slow down")).expect("an answer");
    assert_eq!((refused.status, refused.header("retry-after").as_deref()), (429, Some("7")));
    assert_eq!((&refused.json()["code"], &refused.json()["message"]), (&json!(8), &json!("slow down")));
    let dated = told(Fault::refuse(503).retry_after_date(Duration::from_secs(90))).expect("an answer");
    let (date, later) = (dated.header("date").expect("Date"), dated.header("retry-after").expect("Retry-After"));
    let parse = |text: &str| httpdate::parse_http_date(text).expect("an HTTP date");
    let ahead = parse(&later).duration_since(parse(&date)).expect("a later date");
    assert!((89..=91).contains(&ahead.as_secs()), "{ahead:?}");
    let page = told(Fault::html()).expect("an answer");
    assert!(page.status == 200 && page.body.starts_with("<!DOCTYPE html>"), "{}", page.body);
    let moved = told(Fault::refuse(302).header("Location", "https://example.com/")).expect("an answer");
    assert_eq!((moved.status, moved.header("location").as_deref()), (302, Some("https://example.com/")));
    assert_eq!(told(Fault::body("{}")).expect("an answer").body, "{}");
    told(Fault::dripping(64, Duration::from_millis(1))).expect("an answer").token();
    told(Fault::slow(Duration::from_millis(1))).expect("an answer").token();
    for stage in [Stage::BeforeAnswer, Stage::MidHeaders, Stage::Reset] {
        assert!(told(Fault::broken(stage)).is_none(), "{stage:?}");
    }
    let half = told(Fault::broken(Stage::MidBody)).expect("a head");
    assert!(half.status == 200 && serde_json::from_str::<Value>(&half.body).is_err(), "{}", half.body);
    ask().expect("no fault is left").token();
    let log = emulator.log();
    let before =
        log.iter().find(|entry| entry.fault.as_ref().is_some_and(|fault| fault.break_at == Some(Stage::BeforeAnswer)));
    let before = before.expect("the broken request is in the log");
    assert!(before.status.is_none() && before.issued.is_some(), "the token was issued, the answer lost: {before:?}");
}

#[test]
fn held_answers_wait_for_the_test_and_the_log_shows_them_waiting() {
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
fn the_log_tells_what_was_shown_without_telling_secrets() {
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
    assert_eq!(log[1].refused.as_deref(), Some("JWT has not three parts"));
    assert_eq!(
        log[2].presented,
        Presented::Bearer { fingerprint: log::fingerprint(&token), service_account_id: Some(account) }
    );
    let text = send(emulator.address(), "GET /_emulator/log HTTP/1.1", "").expect("an answer").body;
    assert!(text.contains(&key.id) && !text.contains(&jwt), "{text}");
    assert!(emulator.tokens().iter().all(|token| !text.contains(token.as_str())), "{text}");
    emulator.clear_log();
    assert_eq!(emulator.calls(), 0);
}

#[test]
fn another_process_controls_it_by_http() {
    let emulator = Emulator::start(Config::default());
    let control = |method: &str, what: &str, body: &str| {
        send(emulator.address(), &format!("{method} /_emulator{what} HTTP/1.1"), body).expect("an answer")
    };
    assert!(control("GET", "", "").body.contains("/_emulator/faults"));
    let set = control("PUT", "/faults", r#"[{"status": 503, "times": 2}, {"delay": "1ms"}]"#);
    assert_eq!((set.status, emulator.faults().len()), (200, 2));
    assert_eq!(control("POST", "/faults", r#"{"html": true}"#).json().as_array().map(Vec::len), Some(3));
    assert_eq!(control("PUT", "/faults", r#"{"statsu": 503}"#).status, 400);
    assert_eq!(emulator.faults().len(), 3, "a wrong command changes nothing");
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
    assert_eq!(control("GET", "/log", "").body, "[]\n", "control is not logged");
}

#[test]
fn further_paths_can_be_routed() {
    let emulator = Emulator::start(Config::default());
    emulator.route("/iam/v1/whoami", |request| Response::text(200, request.method.clone()));
    assert_eq!(post(&emulator, "/iam/v1/whoami", None, "").body, "POST");
    assert_eq!((emulator.log()[0].endpoint, emulator.log()[0].status), (Endpoint::Other, Some(200)));
}

#[test]
fn with_tls_the_url_and_the_audience_are_https() {
    let config = Config { names: vec!["iam.api.cloud.yandex.net".to_owned()], ..Config::with_tls(Tls::Good) };
    let emulator = Emulator::start(config);
    assert!(emulator.url().starts_with("https://127.0.0.1:"));
    assert!(emulator.ca_pem().starts_with("-----BEGIN CERTIFICATE-----"));
    let audiences = emulator.state.own_audiences();
    assert!(audiences.contains(&format!("{}{TOKENS}", emulator.url())), "{audiences:?}");
    assert!(audiences.contains(&"https://iam.api.cloud.yandex.net/iam/v1/tokens".to_owned()), "{audiences:?}");
}

#[test]
fn access_keys_are_minted_for_who_shows_a_token_and_never_outlive_it() {
    let emulator = Emulator::start(Config::default());
    let token = emulator.issue("aje00000000000000001");
    let mint = |bearer: Option<&str>, body: Value| post(&emulator, EPHEMERAL_ACCESS_KEYS, bearer, &body.to_string());
    let answer = mint(Some(&token), json!({"sessionName": "a@b.c=d,e+f-g_h", "duration": "900s", "policy": "{}"}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let key = emulator.access_keys().pop().expect("a key");
    let told = answer.json();
    assert_eq!(told["accessKeyId"], key.id);
    assert_eq!(told["secret"], key.secret);
    assert_eq!(told["sessionToken"], key.session_token);
    assert_eq!(told.as_object().map(serde_json::Map::len), Some(4), "{told}");
    assert_eq!((key.id.len(), key.secret.len(), key.session_token.len()), (20, 43, 285));
    assert!(key.secret.starts_with("YC") && key.session_token.starts_with("s1."));
    assert_eq!((key.subject.as_str(), key.policy.as_deref()), ("aje00000000000000001", Some("{}")));
    assert_eq!(mint(Some(&token), json!({"sessionName": "x"})).status, 200, "an hour, if nothing else is said");

    let good = json!({"sessionName": "x", "duration": "3600s"});
    for bearer in [None, Some("t1.no.token")] {
        assert_eq!(mint(bearer, good.clone()).status, 401, "{bearer:?}");
    }
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    for (body, word) in [
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
        let answer = mint(Some(&token), body.clone());
        assert!(answer.status == 400 && answer.body.contains(word), "{body}: {}", answer.body);
    }
    assert_eq!(mint(Some(&token), with("subjectId", json!("aje00000000000000002"))).status, 403);

    emulator.set(|settings| settings.life = Duration::from_secs(1800));
    let short = emulator.issue("aje00000000000000001");
    assert_eq!(mint(Some(&short), json!({"sessionName": "x", "duration": "1700s"})).status, 200);
    let answer = mint(Some(&short), good.clone());
    assert!(answer.status == 400 && answer.body.contains("lifetime of the authentication token"), "{}", answer.body);
    emulator.revoke(&short);
    assert_eq!(mint(Some(&short), json!({"sessionName": "x", "duration": "900s"})).status, 401);
    assert_eq!(emulator.access_keys().len(), 3, "what was refused was not minted");

    emulator.fault(Fault::refuse(403).on(Endpoint::EphemeralAccessKeys).times(1));
    assert_eq!(mint(Some(&token), good.clone()).status, 403);
    assert_eq!(mint(Some(&token), good).status, 200);
}
