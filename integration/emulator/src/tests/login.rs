//! Logins: each rule for the page, the code, the refresh token and the proof, broken one at a time.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::FieldBytes;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use rsa::sha2::{Digest as _, Sha256, Sha512};
use serde_json::{Value, json};

use super::{Answer, post, send};
use crate::auth::TOKEN;
use crate::login::{AUTHORIZE, LoginSettings, PERSON, Page, REVOKE_REFRESH};
use crate::store::logins::random;
use crate::{Config, Emulator, times};

/// A client that sends valid requests until a test changes something.
struct Client {
    emulator: Emulator,
    key: SigningKey,
    verifier: String,
    redirect: String,
}

impl Client {
    fn new() -> Client {
        let redirect = "http://127.0.0.1:4321/auth/callback".to_owned();
        let key = SigningKey::random(&mut rand::thread_rng());
        Client { emulator: Emulator::start(Config::default()), key, verifier: random(), redirect }
    }

    fn jwk(&self, key: &SigningKey) -> Value {
        let point = key.verifying_key().to_encoded_point(false);
        let text = |bytes: Option<&FieldBytes>| URL_SAFE_NO_PAD.encode(bytes.expect("a coordinate"));
        json!({"kty": "EC", "crv": "P-256", "x": text(point.x()), "y": text(point.y())})
    }

    fn thumbprint(&self) -> String {
        let jwk = self.jwk(&self.key);
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#, jwk["x"], jwk["y"]);
        URL_SAFE_NO_PAD.encode(Sha512::digest(canonical))
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        vec![
            ("client_id", "yc.oauth.public-sdk".into()),
            ("redirect_uri", self.redirect.clone()),
            ("response_type", "code".into()),
            ("scope", "openid offline_access".into()),
            ("state", "s".repeat(43)),
            ("code_challenge", URL_SAFE_NO_PAD.encode(Sha256::digest(&self.verifier))),
            ("code_challenge_method", "S256".into()),
            ("dpop_jkt", self.thumbprint()),
        ]
    }

    fn authorize(&self, query: &[(&'static str, String)]) -> Answer {
        let query: Vec<String> =
            query.iter().map(|(name, value)| format!("{name}={}", value.replace(' ', "+"))).collect();
        let head = format!("GET {AUTHORIZE}?{} HTTP/1.1\r\nHost: x", query.join("&"));
        send(self.emulator.auth_address(), &head, "").expect("a response")
    }

    fn code(&self) -> String {
        let answer = self.authorize(&self.query());
        assert_eq!(answer.status, 302, "{}", answer.body);
        let location = answer.header("location").expect("a redirect");
        let code = location.split(['?', '&']).find_map(|pair| pair.strip_prefix("code="));
        code.expect("a code").to_owned()
    }

    fn claims(&self) -> (Value, Value) {
        let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk(&self.key)});
        let htu = format!("{}{}", self.emulator.auth_url(), TOKEN);
        let iat = times::unix(self.emulator.now());
        (header, json!({"htm": "POST", "htu": htu, "iat": iat, "jti": random()}))
    }

    fn sign(&self, header: &Value, payload: &Value) -> String {
        let signed =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload.to_string()));
        let signature: Signature = self.key.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }

    fn proof(&self) -> String {
        let (header, payload) = self.claims();
        self.sign(&header, &payload)
    }

    fn token(&self, proof: &str, form: &[(&str, &str)]) -> Answer {
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nDPoP: {proof}",
            TOKEN
        );
        let form: Vec<String> = form.iter().map(|(name, value)| format!("{name}={value}")).collect();
        send(self.emulator.auth_address(), &head, &form.join("&")).expect("a response")
    }

    fn code_form<'a>(&'a self, code: &'a str) -> Vec<(&'static str, &'a str)> {
        vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("code_verifier", &self.verifier),
            ("redirect_uri", &self.redirect),
            ("client_id", "yc.oauth.public-sdk"),
        ]
    }

    fn refresh(&self, proof: &str, refresh: &str) -> Answer {
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh), ("client_id", "yc.oauth.public-sdk")];
        self.token(proof, &form)
    }

    fn log_in(&self) -> String {
        let code = self.code();
        let answer = self.token(&self.proof(), &self.code_form(&code));
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()["refresh_token"].as_str().expect("a refresh token").to_owned()
    }
}

#[track_caller]
fn fails_with(answer: &Answer, error: &str, why: &str) {
    let json = answer.json();
    assert_eq!(json["error"], error, "{}", answer.body);
    assert!(json["error_description"].as_str().is_some_and(|text| text.contains(why)), "{why}: {}", answer.body);
}

#[test]
fn a_code_is_valid_once_and_a_refresh_token_repeatedly() {
    let client = Client::new();
    let code = client.code();
    let answer = client.token(&client.proof(), &client.code_form(&code));
    assert_eq!((answer.status, &answer.json()["token_type"]), (200, &json!("Bearer")), "{}", answer.body);
    fails_with(&client.token(&client.proof(), &client.code_form(&code)), "invalid_grant", "has been used");
    let refresh = answer.json()["refresh_token"].as_str().expect("one").to_owned();
    for _ in 0..2 {
        let again = client.refresh(&client.proof(), &refresh);
        assert!(again.status == 200 && again.json().get("refresh_token").is_none(), "{}", again.body);
    }
    client.emulator.set(|settings| settings.login.one_time = true);
    let next = client.refresh(&client.proof(), &refresh).json()["refresh_token"].as_str().expect("one").to_owned();
    fails_with(&client.refresh(&client.proof(), &refresh), "invalid_grant", "used or revoked");
    assert_eq!(client.refresh(&client.proof(), &next).status, 200);
    assert_eq!(client.emulator.logins(|logins| logins.reused), 2);
}

#[test]
fn rejects_every_invalid_authorization_request() {
    let client = Client::new();
    for (name, value) in [
        ("client_id", "other"),
        ("redirect_uri", "http://localhost:1/auth/callback"),
        ("redirect_uri", "http://127.0.0.1:0/auth/callback"),
        ("redirect_uri", "http://127.0.0.1:1/other"),
        ("redirect_uri", "https://example.com/auth/callback"),
        ("response_type", "token"),
        ("scope", "offline_access"),
        ("state", "short"),
        ("code_challenge", "c2hvcnQ"),
        ("code_challenge_method", "plain"),
        ("dpop_jkt", &"A".repeat(43)),
    ] {
        let mut query = client.query();
        query.retain(|(known, _)| *known != name);
        assert_eq!(client.authorize(&query).status, 400, "without {name}");
        query.push((name, value.to_owned()));
        assert_eq!(client.authorize(&query).status, 400, "{name}={value}");
        query.push((name, client.query().iter().find(|(known, _)| *known == name).expect("known").1.clone()));
        assert_eq!(client.authorize(&query).status, 400, "{name} twice");
    }
    let hinted = [client.query(), vec![("yc_federation_hint", "bpf1".to_owned())]].concat();
    assert_eq!(client.authorize(&hinted).status, 400);
    client.emulator.set(|settings| settings.login.federation = Some("bpf1".into()));
    assert_eq!(client.authorize(&hinted).status, 302);
}

#[test]
fn a_code_is_bound_to_redirect_verifier_client_and_key() {
    let mut client = Client::new();
    for (name, value, error) in [
        ("redirect_uri", "http://127.0.0.1:1/auth/callback", "invalid_grant"),
        ("code_verifier", &"v".repeat(43)[..], "invalid_grant"),
        ("client_id", "other", "invalid_client"),
    ] {
        let code = client.code();
        let mut form = client.code_form(&code);
        form.retain(|(known, _)| *known != name);
        form.push((name, value));
        fails_with(&client.token(&client.proof(), &form), error, "");
    }
    let code = client.code();
    let old = std::mem::replace(&mut client.key, SigningKey::random(&mut rand::thread_rng()));
    fails_with(&client.token(&client.proof(), &client.code_form(&code)), "invalid_grant", "another key");
    client.key = old;
    let code = client.code();
    client.emulator.set(|settings| settings.clock_shift = time::Duration::minutes(11));
    fails_with(&client.token(&client.proof(), &client.code_form(&code)), "invalid_grant", "expired");
}

#[test]
fn a_refresh_token_is_bound_to_its_key_and_expires_after_31_days() {
    let mut client = Client::new();
    let refresh = client.log_in();
    let old = std::mem::replace(&mut client.key, SigningKey::random(&mut rand::thread_rng()));
    fails_with(&client.refresh(&client.proof(), &refresh), "invalid_grant", "another key");
    client.key = old;
    client.emulator.set(|settings| settings.clock_shift = time::Duration::days(32));
    fails_with(&client.refresh(&client.proof(), &refresh), "invalid_grant", "expired");
}

#[test]
fn rejects_every_invalid_proof() {
    let client = Client::new();
    let refresh = client.log_in();
    let (header, payload) = client.claims();
    let changed = |object: &Value, name: &str, value: Value| {
        let mut object = object.clone();
        object[name] = value;
        object
    };
    let mut private = client.jwk(&client.key);
    private["d"] = json!("AAAA");
    let other = client.jwk(&SigningKey::random(&mut rand::thread_rng()));
    let now = times::unix(client.emulator.now());
    for (header, payload, why) in [
        (changed(&header, "typ", json!("JWT")), payload.clone(), "typ"),
        (changed(&header, "alg", json!("none")), payload.clone(), "alg"),
        (changed(&header, "jwk", json!(null)), payload.clone(), "jwk is missing"),
        (changed(&header, "jwk", private), payload.clone(), "private"),
        (changed(&header, "jwk", other), payload.clone(), "signature is wrong"),
        (changed(&header, "jwk", json!({"kty": "RSA"})), payload.clone(), "P-256"),
        (header.clone(), changed(&payload, "htm", json!("GET")), "htm"),
        (header.clone(), changed(&payload, "htu", json!("https://auth.yandex.cloud/oauth/token")), "htu"),
        (header.clone(), changed(&payload, "iat", json!(now - 61)), "iat"),
        (header.clone(), changed(&payload, "iat", json!(now + 62)), "iat"),
        (header.clone(), changed(&payload, "jti", json!("short")), "jti"),
    ] {
        fails_with(&client.refresh(&client.sign(&header, &payload), &refresh), "invalid_dpop_proof", why);
    }
    let proof = client.proof();
    assert_eq!(client.refresh(&proof, &refresh).status, 200);
    fails_with(&client.refresh(&proof, &refresh), "invalid_dpop_proof", "has been used");
    fails_with(&client.refresh("x.y", &refresh), "invalid_dpop_proof", "not a JWS");
    let twice = format!("{}\r\nDPoP: {}", client.proof(), client.proof());
    fails_with(&client.refresh(&twice, &refresh), "invalid_dpop_proof", "one DPoP header");
    // DER in place of r and s.
    let (header, payload) = client.claims();
    let signed = client.sign(&header, &payload);
    let (signed, _) = signed.rsplit_once('.').expect("three parts");
    let der: Signature = client.key.sign(signed.as_bytes());
    let der = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(der.to_der()));
    fails_with(&client.refresh(&der, &refresh), "invalid_dpop_proof", "r and s");
}

#[test]
fn a_required_nonce_is_requested_and_then_verified() {
    let client = Client::new();
    let refresh = client.log_in();
    for status in [400, 401] {
        client.emulator.set(|settings| settings.login.nonce = Some(status));
        let asked = client.refresh(&client.proof(), &refresh);
        assert_eq!(asked.status, status);
        fails_with(&asked, "use_dpop_nonce", "");
        let (header, mut payload) = client.claims();
        payload["nonce"] = json!(asked.header("dpop-nonce").expect("a nonce"));
        assert_eq!(client.refresh(&client.sign(&header, &payload), &refresh).status, 200);
        payload["nonce"] = json!("other");
        fails_with(&client.refresh(&client.sign(&header, &payload), &refresh), "use_dpop_nonce", "");
    }
}

#[test]
fn a_person_can_refuse_and_an_organization_can_disable_refresh_tokens() {
    let client = Client::new();
    client.emulator.set(|settings| settings.login.deny = true);
    let location = client.authorize(&client.query()).header("location").expect("a redirect");
    assert!(location.contains("error=access_denied") && location.contains("state=sss"), "{location}");
    client.emulator.set(|settings| {
        settings.login = LoginSettings { refresh_tokens: false, page: Page::Button, ..LoginSettings::default() };
    });
    assert!(client.authorize(&client.query()).body.contains("<a href="));
    client.emulator.set(|settings| settings.login.page = Page::Redirect);
    let code = client.code();
    let answer = client.token(&client.proof(), &client.code_form(&code));
    assert!(answer.status == 200 && answer.json().get("refresh_token").is_none(), "{}", answer.body);
}

#[test]
fn any_valid_token_can_revoke_a_refresh_token() {
    let client = Client::new();
    let refresh = client.log_in();
    let body = json!({"refreshToken": refresh}).to_string();
    let revoke = |bearer| post(&client.emulator, REVOKE_REFRESH, bearer, &body).status;
    assert_eq!(revoke(None), 401);
    let bearer = client.emulator.issue(PERSON);
    assert_eq!(revoke(Some(bearer.as_str())), 200);
    fails_with(&client.refresh(&client.proof(), &refresh), "invalid_grant", "used or revoked");
}
