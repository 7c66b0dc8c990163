//! A person's login at the auth host: the authorization-code flow with PKCE (RFC 7636), refresh tokens, and proofs of
//! possession (DPoP, RFC 9449), as strict as those say. Where the cloud is known to differ from them (the thumbprint by
//! SHA-512), the emulator does as the cloud does.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::{Signature, VerifyingKey};
use p256::{EncodedPoint, FieldBytes};
use rand::RngCore as _;
use rsa::sha2::{Digest as _, Sha256, Sha512};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::auth::{self, Form, field};
use super::faults::Fault;
use super::refusal::Refusal;
use super::tokens::{self, Granted};
use super::{State, World, times};
use crate::server::{Request, Response};

/// The page that a browser is sent to.
pub const AUTHORIZE: &str = "/oauth/authorize";
/// The path of RefreshTokenService.Revoke.
pub const REVOKE_REFRESH: &str = "/iam/v1/refreshTokens:revoke";

/// How long a code is good: RFC 6749, 4.1.2 recommends ten minutes at most.
const CODE_LIFE: Duration = Duration::from_secs(600);
/// How long a refresh token is good (docs, iam/concepts/authorization/refresh-token.md).
const REFRESH_LIFE: Duration = Duration::from_secs(31 * 24 * 3600);

/// What the page does with a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Page {
    /// Sends the browser back at once, by a redirect.
    #[default]
    Redirect,
    /// The same by a page that goes on by itself.
    Auto,
    /// Waits for a click.
    Button,
}

/// How the auth host is disposed towards people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// What the page does.
    pub page: Page,
    /// The person says no.
    pub deny: bool,
    /// Whether the organisation gives refresh tokens.
    pub refresh_tokens: bool,
    /// Whether a refresh token is good for one use, and each answer brings the next.
    pub one_time: bool,
    /// Demand a nonce in proofs, and ask for it with this status: 400 or 401.
    pub nonce: Option<u16>,
    /// How far `iat` of a proof may be from the emulator's time.
    #[serde(with = "times::plain")]
    pub tolerance: Duration,
    /// The OAuth client that people log in for.
    pub client: String,
    /// The federation that there is: another hint is refused.
    pub federation: Option<String>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            page: Page::Redirect,
            deny: false,
            refresh_tokens: true,
            one_time: false,
            nonce: None,
            tolerance: Duration::from_secs(60),
            client: "yc.oauth.public-sdk".to_owned(),
            federation: None,
        }
    }
}

struct Code {
    redirect: String,
    challenge: String,
    thumbprint: String,
    expires: SystemTime,
    used: bool,
    offline: bool,
}

#[derive(Clone)]
struct Refresh {
    thumbprint: String,
    expires: SystemTime,
    /// Used where it was good for one use, or revoked.
    over: bool,
}

/// Every login so far.
#[derive(Default)]
pub struct Logins {
    codes: HashMap<String, Code>,
    refresh: HashMap<String, Refresh>,
    proofs: BTreeSet<String>,
    nonce: String,
    /// Everything that must not get out: codes and refresh tokens.
    secrets: Vec<String>,
    /// How often a code or a one-time refresh token came again.
    pub reused: usize,
    /// How often somebody was asked to log in.
    pub asked: usize,
}

impl Logins {
    /// Codes and refresh tokens, oldest first.
    pub fn secrets(&self) -> &[String] {
        &self.secrets
    }

    /// Ends every login, as an administrator would.
    pub fn end_all(&mut self) {
        self.refresh.values_mut().for_each(|refresh| refresh.over = true);
    }

    /// How many refresh tokens are good.
    pub fn living(&self) -> usize {
        self.refresh.values().filter(|refresh| !refresh.over).count()
    }

    fn secret(&mut self) -> String {
        let text = random();
        self.secrets.push(text.clone());
        text
    }
}

fn random() -> String {
    let mut bytes = [0; 32];
    rand::thread_rng().fill_bytes(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The subject whose tokens people get.
pub const PERSON: &str = "ajeperson00000000000";

/// `GET /oauth/authorize`.
pub fn authorize(state: &State, request: &Request) -> Result<Granted, Refusal> {
    if request.method != "GET" {
        return Err(Refusal::other(405, "Method not allowed").because(format!("{} is not GET", request.method)));
    }
    let wrong = |why: &str| Refusal::oauth(400, "invalid_request", why);
    let need = |name: &str| {
        let mut found = request.query.split('&').filter(|pair| pair.split('=').next() == Some(name));
        match (found.next(), found.next(), request.parameter(name)) {
            (Some(_), None, Some(value)) if !value.is_empty() => Ok(value),
            (Some(_), Some(_), _) => Err(wrong(&format!("{name} comes twice"))),
            _ => Err(wrong(&format!("{name} is missing"))),
        }
    };
    let mut world = state.world();
    world.logins.asked += 1;
    let settings = world.settings.login.clone();
    if need("client_id")? != settings.client {
        return Err(wrong("there is no such client"));
    }
    let redirect = need("redirect_uri")?;
    if !is_loopback(&redirect) {
        return Err(wrong("redirect_uri is not http://127.0.0.1:PORT/auth/callback"));
    }
    let given = need("state")?;
    if given.len() < 22 {
        return Err(wrong("state has less than 128 bits"));
    }
    if need("response_type")? != "code" {
        return Err(wrong("response_type is not code"));
    }
    if need("code_challenge_method")? != "S256" {
        return Err(wrong("code_challenge_method is not S256"));
    }
    let challenge = need("code_challenge")?;
    if decoded(&challenge) != Some(32) {
        return Err(wrong("code_challenge is not a SHA-256"));
    }
    let thumbprint = need("dpop_jkt")?;
    if decoded(&thumbprint) != Some(64) {
        return Err(wrong("dpop_jkt is not a SHA-512"));
    }
    let scope = need("scope")?;
    let scopes: Vec<&str> = scope.split(' ').collect();
    if !scopes.contains(&"openid") {
        return Err(wrong("scope has no openid"));
    }
    if let Some(hint) = request.parameter("yc_federation_hint")
        && settings.federation.as_ref() != Some(&hint)
    {
        return Err(wrong("there is no such federation"));
    }
    let back = if settings.deny {
        format!("{redirect}?error=access_denied&error_description=The+person+said+no&state={given}")
    } else {
        let code = world.logins.secret();
        let expires = world.now() + CODE_LIFE;
        let offline = scopes.contains(&"offline_access");
        let record = Code { redirect: redirect.clone(), challenge, thumbprint, expires, used: false, offline };
        world.logins.codes.insert(code.clone(), record);
        format!("{redirect}?code={code}&state={given}")
    };
    let html = |head: &str, body: &str| {
        let page =
            format!("<!DOCTYPE html>\n<html><head><title>Log in</title>{head}</head><body>{body}</body></html>\n");
        Response::typed(200, "text/html; charset=utf-8", page)
    };
    let escaped = back.replace('&', "&amp;");
    let response = match settings.page {
        Page::Redirect => Response::new(302).header("Location", &back),
        Page::Auto => html(&format!("<meta http-equiv=\"refresh\" content=\"0;url={escaped}\">"), "<p>One moment</p>"),
        Page::Button => html("", &format!("<h1>Log in</h1><p><a href=\"{escaped}\">Yes, it is me</a></p>")),
    };
    Ok((response, None))
}

fn is_loopback(redirect: &str) -> bool {
    let port = redirect.strip_prefix("http://127.0.0.1:").and_then(|rest| rest.strip_suffix("/auth/callback"));
    port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port != 0))
}

fn decoded(text: &str) -> Option<usize> {
    URL_SAFE_NO_PAD.decode(text).ok().map(|bytes| bytes.len())
}

/// `grant_type=authorization_code`.
pub fn code(state: &State, request: &Request, form: &Form, fault: Option<&Fault>) -> Result<Granted, Refusal> {
    let refuse = |why: &str| Refusal::oauth(400, "invalid_grant", why);
    let mut world = state.world();
    let thumbprint = prove(&mut world, request)?;
    client(&world, form)?;
    let (given, verifier, redirect) =
        (field(form, "code")?, field(form, "code_verifier")?, field(form, "redirect_uri")?);
    let now = world.now();
    let Some(code) = world.logins.codes.get_mut(given) else { return Err(refuse("there is no such code")) };
    if code.used {
        world.logins.reused += 1;
        return Err(refuse("the code has been used"));
    }
    // Whatever is wrong with the rest, it is used up.
    code.used = true;
    if code.expires <= now {
        return Err(refuse("the code has expired"));
    }
    if code.redirect != redirect {
        return Err(refuse("redirect_uri is not the one of the code"));
    }
    if !(43..=128).contains(&verifier.len()) || URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)) != code.challenge {
        return Err(refuse("code_verifier does not fit the code"));
    }
    if code.thumbprint != thumbprint {
        return Err(refuse("the proof is by another key than the code was asked for with"));
    }
    let refreshes = code.offline && world.settings.login.refresh_tokens;
    Ok(hand_out(state, world, refreshes.then_some(thumbprint), fault))
}

/// `grant_type=refresh_token`.
pub fn refresh(state: &State, request: &Request, form: &Form, fault: Option<&Fault>) -> Result<Granted, Refusal> {
    let refuse = |why: &str| Refusal::oauth(400, "invalid_grant", why);
    let mut world = state.world();
    let thumbprint = prove(&mut world, request)?;
    client(&world, form)?;
    let given = field(form, "refresh_token")?;
    let (now, one_time) = (world.now(), world.settings.login.one_time);
    let Some(record) = world.logins.refresh.get_mut(given) else {
        return Err(refuse("there is no such refresh token"));
    };
    if record.over {
        world.logins.reused += 1;
        return Err(refuse("the refresh token has been used or revoked"));
    }
    if record.expires <= now {
        return Err(refuse("the refresh token has expired"));
    }
    if record.thumbprint != thumbprint {
        return Err(refuse("the proof is by another key than the refresh token is bound to"));
    }
    record.over = one_time;
    Ok(hand_out(state, world, one_time.then_some(thumbprint), fault))
}

/// The answer, with a new refresh token if there is to be one.
fn hand_out(
    state: &State,
    mut world: std::sync::MutexGuard<'_, World>,
    bound_to: Option<String>,
    fault: Option<&Fault>,
) -> Granted {
    let (token, issued) = world.issue(PERSON, fault);
    let mut more = vec![("scope", json!("openid"))];
    if let Some(thumbprint) = bound_to {
        let refresh = world.logins.secret();
        let expires = world.now() + REFRESH_LIFE;
        world.logins.refresh.insert(refresh.clone(), Refresh { thumbprint, expires, over: false });
        more.push(("refresh_token", json!(refresh)));
    }
    drop(world);
    auth::granted(state, &token, issued, &more)
}

fn client(world: &World, form: &Form) -> Result<(), Refusal> {
    match field(form, "client_id")? == world.settings.login.client {
        true => Ok(()),
        false => Err(Refusal::oauth(401, "invalid_client", "there is no such client")),
    }
}

/// Judges the proof of possession of a token request; the thumbprint of its key.
fn prove(world: &mut World, request: &Request) -> Result<String, Refusal> {
    let wrong = |why: &str| Refusal::oauth(400, "invalid_dpop_proof", why);
    let proofs: Vec<&str> = request
        .headers()
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("dpop"))
        .map(|(_, value)| value.as_str())
        .collect();
    let [proof] = proofs.as_slice() else { return Err(wrong("there must be one DPoP header")) };
    let url = format!("{}{}", world.auth_url, auth::TOKEN);
    let proof = judge(proof, &request.method, &url).map_err(wrong)?;
    let tolerance = i64::try_from(world.settings.login.tolerance.as_secs()).unwrap_or(i64::MAX);
    if (times::unix(world.now()) - proof.iat).abs() > tolerance {
        return Err(wrong("iat is not now"));
    }
    if let Some(status) = world.settings.login.nonce
        && (world.logins.nonce.is_empty() || proof.nonce.as_ref() != Some(&world.logins.nonce))
    {
        world.logins.nonce = random();
        let nonce = world.logins.nonce.clone();
        return Err(Refusal::oauth(status, "use_dpop_nonce", "a nonce is required").header("DPoP-Nonce", nonce));
    }
    if !world.logins.proofs.insert(proof.jti) {
        return Err(wrong("the proof has been used"));
    }
    Ok(proof.thumbprint)
}

struct Proof {
    thumbprint: String,
    iat: i64,
    jti: String,
    nonce: Option<String>,
}

/// Everything about a proof that needs no clock and no memory (RFC 9449, 4.3), by an ES256 of its own.
fn judge(proof: &str, method: &str, url: &str) -> Result<Proof, &'static str> {
    let parts: Vec<&str> = proof.split('.').collect();
    let [header, payload, signature] = parts.as_slice() else { return Err("the proof is no JWS") };
    let object =
        |part: &str| -> Option<Map<String, Value>> { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok() };
    let header_object = object(header).ok_or("its header is no JSON")?;
    let claims = object(payload).ok_or("its payload is no JSON")?;
    let text = |object: &Map<String, Value>, name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
    if text(&header_object, "typ").as_deref() != Some("dpop+jwt") {
        return Err("typ is not dpop+jwt");
    }
    if text(&header_object, "alg").as_deref() != Some("ES256") {
        return Err("alg is not ES256");
    }
    let jwk = header_object.get("jwk").and_then(Value::as_object).ok_or("there is no jwk")?;
    if jwk.contains_key("d") {
        return Err("jwk is a private key");
    }
    if text(jwk, "kty").as_deref() != Some("EC") || text(jwk, "crv").as_deref() != Some("P-256") {
        return Err("jwk is no P-256 key");
    }
    let (x, y) = (text(jwk, "x").unwrap_or_default(), text(jwk, "y").unwrap_or_default());
    let coordinate = |text: &str| -> Option<FieldBytes> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        (bytes.len() == 32).then(|| FieldBytes::clone_from_slice(&bytes))
    };
    let (Some(px), Some(py)) = (coordinate(&x), coordinate(&y)) else { return Err("jwk has no coordinates") };
    let point = EncodedPoint::from_affine_coordinates(&px, &py, false);
    let key = VerifyingKey::from_encoded_point(&point).map_err(|_| "jwk is no point of P-256")?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "the signature is no base64url")?;
    let signature = Signature::from_slice(&signature).map_err(|_| "the signature is not r and s of 32 bytes each")?;
    key.verify(format!("{header}.{payload}").as_bytes(), &signature).map_err(|_| "the signature is wrong")?;
    if text(&claims, "htm").as_deref() != Some(method) {
        return Err("htm is not the method");
    }
    if text(&claims, "htu").as_deref() != Some(url) {
        return Err("htu is not the URL");
    }
    let iat = claims.get("iat").and_then(Value::as_i64).ok_or("there is no iat")?;
    let jti = text(&claims, "jti").filter(|jti| jti.len() >= 16).ok_or("jti is not unique enough")?;
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    let thumbprint = URL_SAFE_NO_PAD.encode(Sha512::digest(canonical));
    Ok(Proof { thumbprint, iat, jti, nonce: text(&claims, "nonce") })
}

/// `POST /iam/v1/refreshTokens:revoke` (cloudapi, iam/v1/refresh_token_service.proto), by the refresh token itself.
pub fn revoke_refresh(state: &State, request: &Request) -> Result<Granted, Refusal> {
    let mut world = state.world();
    tokens::authenticate(&world, request)?;
    let fields = tokens::fields(request, &[("refreshToken", 1000)])?;
    let given = tokens::required(&fields, "refreshToken")?;
    let Some(record) = world.logins.refresh.get_mut(given) else {
        return Err(Refusal::other(404, "Refresh token not found"));
    };
    record.over = true;
    Ok((Response::json(200, "{}"), None))
}

#[cfg(test)]
mod tests {
    use p256::ecdsa::SigningKey;
    use p256::ecdsa::signature::Signer as _;

    use super::*;
    use crate::{Config, Emulator};

    /// A client that does everything right until a test changes something.
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

        fn authorize(&self, query: &[(&'static str, String)]) -> super::super::tests::Answer {
            let query: Vec<String> =
                query.iter().map(|(name, value)| format!("{name}={}", value.replace(' ', "+"))).collect();
            let head = format!("GET {AUTHORIZE}?{} HTTP/1.1\r\nHost: x", query.join("&"));
            super::super::tests::send(self.emulator.auth_address(), &head, "").expect("an answer")
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
            let htu = format!("{}{}", self.emulator.auth_url(), auth::TOKEN);
            let iat = times::unix(self.emulator.now());
            (header, json!({"htm": "POST", "htu": htu, "iat": iat, "jti": random()}))
        }

        fn sign(&self, header: &Value, payload: &Value) -> String {
            let signed = format!(
                "{}.{}",
                URL_SAFE_NO_PAD.encode(header.to_string()),
                URL_SAFE_NO_PAD.encode(payload.to_string())
            );
            let signature: Signature = self.key.sign(signed.as_bytes());
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
        }

        fn proof(&self) -> String {
            let (header, payload) = self.claims();
            self.sign(&header, &payload)
        }

        fn token(&self, proof: &str, form: &[(&str, &str)]) -> super::super::tests::Answer {
            let head = format!(
                "POST {} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nDPoP: {proof}",
                auth::TOKEN
            );
            let form: Vec<String> = form.iter().map(|(name, value)| format!("{name}={value}")).collect();
            super::super::tests::send(self.emulator.auth_address(), &head, &form.join("&")).expect("an answer")
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

        fn refresh(&self, proof: &str, refresh: &str) -> super::super::tests::Answer {
            let form =
                [("grant_type", "refresh_token"), ("refresh_token", refresh), ("client_id", "yc.oauth.public-sdk")];
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
    fn refused(answer: &super::super::tests::Answer, error: &str, why: &str) {
        let json = answer.json();
        assert_eq!(json["error"], error, "{}", answer.body);
        assert!(json["error_description"].as_str().is_some_and(|text| text.contains(why)), "{why}: {}", answer.body);
    }

    #[test]
    fn a_code_buys_tokens_once_and_a_refresh_token_more() {
        let client = Client::new();
        let code = client.code();
        let answer = client.token(&client.proof(), &client.code_form(&code));
        assert_eq!((answer.status, &answer.json()["token_type"]), (200, &json!("Bearer")), "{}", answer.body);
        refused(&client.token(&client.proof(), &client.code_form(&code)), "invalid_grant", "has been used");
        let refresh = answer.json()["refresh_token"].as_str().expect("one").to_owned();
        for _ in 0..2 {
            let again = client.refresh(&client.proof(), &refresh);
            assert!(again.status == 200 && again.json().get("refresh_token").is_none(), "{}", again.body);
        }
        client.emulator.set(|settings| settings.login.one_time = true);
        let next = client.refresh(&client.proof(), &refresh).json()["refresh_token"].as_str().expect("one").to_owned();
        refused(&client.refresh(&client.proof(), &refresh), "invalid_grant", "used or revoked");
        assert_eq!(client.refresh(&client.proof(), &next).status, 200);
        assert_eq!(client.emulator.logins(|logins| logins.reused), 2);
    }

    #[test]
    fn an_authorize_request_must_be_right_in_every_point() {
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
            refused(&client.token(&client.proof(), &form), error, "");
        }
        let code = client.code();
        let old = std::mem::replace(&mut client.key, SigningKey::random(&mut rand::thread_rng()));
        refused(&client.token(&client.proof(), &client.code_form(&code)), "invalid_grant", "another key");
        client.key = old;
        let code = client.code();
        client.emulator.set(|settings| settings.clock_shift = time::Duration::minutes(11));
        refused(&client.token(&client.proof(), &client.code_form(&code)), "invalid_grant", "expired");
    }

    #[test]
    fn a_refresh_token_is_bound_to_its_key_and_its_month() {
        let mut client = Client::new();
        let refresh = client.log_in();
        let old = std::mem::replace(&mut client.key, SigningKey::random(&mut rand::thread_rng()));
        refused(&client.refresh(&client.proof(), &refresh), "invalid_grant", "another key");
        client.key = old;
        client.emulator.set(|settings| settings.clock_shift = time::Duration::days(32));
        refused(&client.refresh(&client.proof(), &refresh), "invalid_grant", "expired");
    }

    #[test]
    fn a_proof_must_be_right_in_every_point() {
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
            (changed(&header, "jwk", json!(null)), payload.clone(), "no jwk"),
            (changed(&header, "jwk", private), payload.clone(), "private"),
            (changed(&header, "jwk", other), payload.clone(), "signature is wrong"),
            (changed(&header, "jwk", json!({"kty": "RSA"})), payload.clone(), "P-256"),
            (header.clone(), changed(&payload, "htm", json!("GET")), "htm"),
            (header.clone(), changed(&payload, "htu", json!("https://auth.yandex.cloud/oauth/token")), "htu"),
            (header.clone(), changed(&payload, "iat", json!(now - 61)), "iat"),
            (header.clone(), changed(&payload, "iat", json!(now + 62)), "iat"),
            (header.clone(), changed(&payload, "jti", json!("short")), "jti"),
        ] {
            refused(&client.refresh(&client.sign(&header, &payload), &refresh), "invalid_dpop_proof", why);
        }
        let proof = client.proof();
        assert_eq!(client.refresh(&proof, &refresh).status, 200);
        refused(&client.refresh(&proof, &refresh), "invalid_dpop_proof", "has been used");
        refused(&client.refresh("x.y", &refresh), "invalid_dpop_proof", "no JWS");
        let twice = format!("{}\r\nDPoP: {}", client.proof(), client.proof());
        refused(&client.refresh(&twice, &refresh), "invalid_dpop_proof", "one DPoP header");
        // DER in place of r and s.
        let (header, payload) = client.claims();
        let signed = client.sign(&header, &payload);
        let (signed, _) = signed.rsplit_once('.').expect("three parts");
        let der: Signature = client.key.sign(signed.as_bytes());
        let der = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(der.to_der()));
        refused(&client.refresh(&der, &refresh), "invalid_dpop_proof", "r and s");
    }

    #[test]
    fn a_nonce_is_asked_for_and_then_demanded() {
        let client = Client::new();
        let refresh = client.log_in();
        for status in [400, 401] {
            client.emulator.set(|settings| settings.login.nonce = Some(status));
            let asked = client.refresh(&client.proof(), &refresh);
            assert_eq!(asked.status, status);
            refused(&asked, "use_dpop_nonce", "");
            let (header, mut payload) = client.claims();
            payload["nonce"] = json!(asked.header("dpop-nonce").expect("a nonce"));
            assert_eq!(client.refresh(&client.sign(&header, &payload), &refresh).status, 200);
            payload["nonce"] = json!("other");
            refused(&client.refresh(&client.sign(&header, &payload), &refresh), "use_dpop_nonce", "");
        }
    }

    #[test]
    fn people_may_say_no_and_organisations_give_no_refresh_tokens() {
        let client = Client::new();
        client.emulator.set(|settings| settings.login.deny = true);
        let location = client.authorize(&client.query()).header("location").expect("a redirect");
        assert!(location.contains("error=access_denied") && location.contains("state=sss"), "{location}");
        client.emulator.set(|settings| {
            settings.login = Settings { refresh_tokens: false, page: Page::Button, ..Settings::default() };
        });
        assert!(client.authorize(&client.query()).body.contains("<a href="));
        client.emulator.set(|settings| settings.login.page = Page::Redirect);
        let code = client.code();
        let answer = client.token(&client.proof(), &client.code_form(&code));
        assert!(answer.status == 200 && answer.json().get("refresh_token").is_none(), "{}", answer.body);
    }

    #[test]
    fn a_refresh_token_is_revoked_by_whoever_has_a_token() {
        let client = Client::new();
        let refresh = client.log_in();
        let body = json!({"refreshToken": refresh}).to_string();
        let revoke = |bearer| super::super::tests::post(&client.emulator, REVOKE_REFRESH, bearer, &body).status;
        assert_eq!(revoke(None), 401);
        let bearer = client.emulator.issue(PERSON);
        assert_eq!(revoke(Some(bearer.as_str())), 200);
        refused(&client.refresh(&client.proof(), &refresh), "invalid_grant", "used or revoked");
    }
}
