//! IamTokenService over REST (cloudapi, iam/v1/iam_token_service.proto): the three calls, and the tokens they hand out.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngCore;
use serde_json::{Map, Value, json};

use super::faults::{Fault, Settings, TokenForm};
use super::jwt::{self, Expected};
use super::log::{Issued, fingerprint};
use super::refusal::Refusal;
use super::{State, World, times};
use crate::server::{Request, Response};

/// What the cloud says of every bearer that it does not accept (docs, _includes/errors-handling.md).
const BAD_TOKEN: &str = "Token is invalid or has expired.";

/// What the emulator remembers of a token.
#[derive(Debug, Clone)]
pub struct Record {
    /// Whose token it is.
    pub subject: String,
    /// When it ends, by the emulator's clock.
    pub expires: SystemTime,
    /// Whether it has been revoked.
    pub revoked: bool,
}

/// All tokens ever issued.
#[derive(Default)]
pub struct Tokens {
    records: HashMap<String, Record>,
    order: Vec<String>,
    latest: HashMap<String, String>,
}

/// How tokens are issued at this moment.
pub struct Terms {
    life: Duration,
    repeat: Option<Duration>,
    form: TokenForm,
}

impl Terms {
    /// The settings, as far as a fault leaves them.
    pub fn new(settings: &Settings, fault: Option<&Fault>) -> Terms {
        Terms {
            life: fault.and_then(|fault| fault.life).unwrap_or(settings.life),
            repeat: if fault.is_some_and(|fault| fault.repeat) { Some(Duration::ZERO) } else { settings.repeat },
            form: settings.token_form,
        }
    }
}

impl Tokens {
    /// Issues a token, or repeats one.
    pub fn issue(&mut self, subject: &str, now: SystemTime, terms: &Terms) -> (String, Issued) {
        if let Some(left) = terms.repeat {
            let latest = self.latest.get(subject);
            let known = latest.and_then(|token| self.records.get(token).map(|record| (token, record)));
            if let Some((token, record)) = known.filter(|(_, record)| !record.revoked && record.expires > now + left) {
                let (subject, expires_at) = (subject.to_owned(), record.expires);
                let note = Issued { subject, expires_at, fingerprint: fingerprint(token), repeated: true };
                return (token.clone(), note);
            }
        }
        let token = new_token(terms.form);
        let expires = now + terms.life;
        self.records.insert(token.clone(), Record { subject: subject.to_owned(), expires, revoked: false });
        self.latest.insert(subject.to_owned(), token.clone());
        self.order.push(token.clone());
        let subject = subject.to_owned();
        let note = Issued { subject, expires_at: expires, fingerprint: fingerprint(&token), repeated: false };
        (token, note)
    }

    /// What is known of a token.
    pub fn get(&self, token: &str) -> Option<&Record> {
        self.records.get(token)
    }

    /// Revokes a token; its subject, if there is such a token.
    pub fn revoke(&mut self, token: &str) -> Option<String> {
        let record = self.records.get_mut(token)?;
        record.revoked = true;
        Some(record.subject.clone())
    }

    /// Whose living token this is, or why it is none.
    pub fn judge(&self, token: &str, now: SystemTime) -> Result<&Record, &'static str> {
        match self.records.get(token) {
            None => Err("the token is not one of ours"),
            Some(record) if record.revoked => Err("the token is revoked"),
            Some(record) if record.expires <= now => Err("the token has expired"),
            Some(record) => Ok(record),
        }
    }

    /// The text of every token issued, oldest first.
    pub fn all(&self) -> &[String] {
        &self.order
    }
}

/// A new token: `t1.` and parts of 96 and 86 characters, as in the documented sample (docs, iam/concepts/authorization/
/// iam-token.md), or the form that came before it.
fn new_token(form: TokenForm) -> String {
    let mut random = [0; 72 + 64];
    rand::thread_rng().fill_bytes(&mut random);
    let (claims, signature) = random.split_at(72);
    match form {
        TokenForm::T1 => format!("t1.{}.{}", URL_SAFE_NO_PAD.encode(claims), URL_SAFE_NO_PAD.encode(signature)),
        TokenForm::Old => format!("CggVAgAAA{}", URL_SAFE_NO_PAD.encode(random)),
    }
}

/// A granted request: the answer, and the token in it.
pub type Granted = (Response, Option<Issued>);

/// `POST /iam/v1/tokens`, IamTokenService.Create: a JWT or an OAuth token for an IAM token. No authorization is asked.
pub fn create(state: &State, request: &Request, fault: Option<&Fault>) -> Result<Granted, Refusal> {
    let fields = fields(request, &[("yandexPassportOauthToken", 4000), ("jwt", 8000)])?;
    let subject = match (fields.get("yandexPassportOauthToken"), fields.get("jwt")) {
        (Some(oauth), None) => {
            let known = state.world().oauth.get(oauth).cloned();
            known.ok_or_else(|| Refusal::unauthenticated("OAuth token is invalid or has expired"))?
        }
        (None, Some(jwt)) => {
            let mut audiences = state.own_audiences();
            let (now, tolerance) = {
                let world = state.world();
                audiences.extend(world.settings.audiences.iter().cloned());
                (times::unix(world.now()), world.settings.iat_tolerance)
            };
            let tolerance = i64::try_from(tolerance.as_secs()).unwrap_or(i64::MAX);
            let key = |kid: &str| state.world().keys.get(kid).cloned();
            jwt::judge(jwt, key, &Expected { audiences: &audiences, now, tolerance })
                .map_err(Refusal::unauthenticated)?
        }
        // The words of the cloud's own answer, as a bug report of GoogleCloudPlatform's terraformer quotes it.
        _ => return Err(violation("identity", "One of the options must be selected")),
    };
    Ok(hand_out(&mut state.world(), &subject, fault))
}

/// `POST /iam/v1/tokens:createForServiceAccount`: impersonation.
pub fn create_for_service_account(state: &State, request: &Request, fault: Option<&Fault>) -> Result<Granted, Refusal> {
    let mut world = state.world();
    let caller = authenticate(&world, request)?;
    let fields = fields(request, &[("serviceAccountId", 50)])?;
    let account = required(&fields, "serviceAccountId")?;
    if !world.may_impersonate(&caller, account) {
        let reason = match world.accounts.contains_key(account) {
            true => format!("{caller} may not impersonate {account}"),
            false => format!("there is no service account {account}"),
        };
        // One answer to both, as clouds do: a stranger is not told which accounts exist.
        return Err(Refusal::denied("Permission denied").because(reason));
    }
    let account = account.to_owned();
    Ok(hand_out(&mut world, &account, fault))
}

/// `POST /iam/v1/tokens:revoke`. "Any authenticated user can revoke an IAM token" (docs, iam/concepts/authorization).
pub fn revoke(state: &State, request: &Request) -> Result<Granted, Refusal> {
    let mut world = state.world();
    authenticate(&world, request)?;
    let fields = fields(request, &[("iamToken", 4096)])?;
    let token = required(&fields, "iamToken")?;
    let now = world.now();
    // What the cloud answers to a token that is no more is not documented; the emulator calls it a wrong argument.
    if let Err(reason) = world.tokens.judge(token, now) {
        return Err(violation("iamToken", reason));
    }
    let subject = world.tokens.revoke(token).unwrap_or_default();
    Ok((Response::json(200, json!({"subjectId": subject}).to_string()), None))
}

/// The answer of both calls that create tokens (CreateIamTokenResponse): these two fields and nothing else.
fn hand_out(world: &mut World, subject: &str, fault: Option<&Fault>) -> Granted {
    let (token, issued) = world.issue(subject, fault);
    let body = json!({"iamToken": token, "expiresAt": times::rfc3339(issued.expires_at)});
    (Response::json(200, body.to_string()), Some(issued))
}

/// The subject of the bearer token.
pub fn authenticate(world: &World, request: &Request) -> Result<String, Refusal> {
    let Some(bearer) = request.bearer() else {
        return Err(Refusal::unauthenticated(BAD_TOKEN).because("there is no Authorization: Bearer"));
    };
    match world.tokens.judge(bearer, world.now()) {
        Ok(record) => Ok(record.subject.clone()),
        Err(reason) => Err(Refusal::unauthenticated(BAD_TOKEN).because(reason)),
    }
}

/// Reads a JSON object of texts of limited length, and of no other names.
pub fn fields(request: &Request, known: &[(&str, usize)]) -> Result<HashMap<String, String>, Refusal> {
    let content_type = request.header("content-type").unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Refusal::invalid(format!("Content-Type is `{essence}`, not application/json")));
    }
    let object: Map<String, Value> = serde_json::from_slice(&request.body)
        .map_err(|error| Refusal::invalid(format!("Request body is no JSON object: {error}")))?;
    let mut fields = HashMap::new();
    for (name, value) in object {
        let Some((_, limit)) = known.iter().find(|(known, _)| *known == name) else {
            return Err(Refusal::invalid(format!("Request body: unknown field `{name}`")));
        };
        match value {
            Value::String(text) if text.chars().count() > *limit => {
                return Err(violation(&name, &format!("must be at most {limit} characters long")));
            }
            Value::String(text) => _ = fields.insert(name, text),
            // In proto3's JSON, null is a field that was not sent.
            Value::Null => {}
            _ => return Err(Refusal::invalid(format!("Request body: `{name}` is no string"))),
        }
    }
    Ok(fields)
}

/// A field that must be there and not be empty (`(required) = true` in the proto).
pub fn required<'a>(fields: &'a HashMap<String, String>, name: &str) -> Result<&'a str, Refusal> {
    match fields.get(name) {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(violation(name, "is required")),
    }
}

/// A broken rule of the proto.
pub fn violation(field: &str, rule: &str) -> Refusal {
    Refusal::invalid(format!("Validation failed:\n  - {field}: {rule}"))
}
