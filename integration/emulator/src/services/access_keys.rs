//! TemporaryAccessKeyService over REST (cloudapi, iam/v1/awscompatibility/temporary_access_key_service.proto): ephemeral
//! access keys for Object Storage.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngCore as _;
use serde_json::{Map, Value, json};

use super::granted::Granted;
use crate::faults::Fault;
use crate::keys;
use crate::log::{Issued, fingerprint};
use crate::message::{fields, required, violation};
use crate::refusal::Refusal;
use crate::server::{Request, Response};
use crate::state::State;
use crate::store::access_keys::AccessKey;
use crate::times;

/// The duration if the request names none. The documentation does not give a default.
const DEFAULT_LIFE: Duration = Duration::from_secs(3600);
/// The accepted durations. The documentation and `yc` say 15 minutes to 12 hours; the proto file says 8760 hours.
const SHORTEST: Duration = Duration::from_secs(15 * 60);
const LONGEST: Duration = Duration::from_secs(12 * 3600);

/// `POST …/ephemeralAccessKeys`.
pub(crate) fn create(state: &State, request: &Request, fault: Option<&Fault>) -> Result<Granted, Refusal> {
    let mut cloud = state.cloud();
    let caller = cloud.authenticate(request)?;
    let known = [("subjectId", 50), ("sessionName", 64), ("policy", 2048), ("duration", 32)];
    let fields = fields(request, &known)?;
    let session_name = required(&fields, "sessionName")?.to_owned();
    if !session_name.chars().all(|c| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c)) {
        return Err(violation("sessionName", "must match the pattern [\\w+=,.@-]*"));
    }
    // Keys for other subjects are not modelled.
    if fields.get("subjectId").is_some_and(|subject| *subject != caller) {
        return Err(Refusal::denied("Permission denied").because("a key for another subject"));
    }
    let policy = fields.get("policy").cloned();
    if let Some(policy) = &policy
        && let Err(error) = serde_json::from_str::<Map<String, Value>>(policy)
    {
        return Err(violation("policy", &format!("is not a JSON object: {error}")));
    }
    let duration = match fields.get("duration") {
        None => DEFAULT_LIFE,
        Some(text) => {
            read_duration(text).ok_or_else(|| violation("duration", "is not a Duration such as \"3600s\""))?
        }
    };
    if duration < SHORTEST || duration > LONGEST {
        return Err(violation("duration", "must be within 15m and 12h"));
    }
    let now = cloud.now();
    let token = request.bearer().and_then(|token| cloud.tokens.get(token));
    let token_expires = token.map_or(now, |record| record.expires);
    // "Won't be longer than the lifetime of the authentication token", says the proto file, but not whether the cloud
    // rejects or shortens longer ones. Rejecting them exposes clients that ask for more.
    if now + duration > token_expires {
        return Err(violation("duration", "must not be longer than the lifetime of the authentication token"));
    }
    let expires = now + fault.and_then(|fault| fault.life).unwrap_or(duration);
    let key = AccessKey {
        subject: caller,
        id: keys::new_id(),
        secret: format!("YC{}", &random(32)[..41]),
        session_token: format!("s1.{}", random(211)),
        session_name,
        policy,
        duration,
        expires,
    };
    let body = json!({
        "accessKeyId": key.id, "secret": key.secret, "sessionToken": key.session_token,
        "expiresAt": times::rfc3339(expires),
    });
    let issued = Issued {
        subject: key.subject.clone(),
        expires_at: expires,
        fingerprint: fingerprint(&key.session_token),
        repeated: false,
    };
    cloud.access_keys.push(key);
    Ok((Response::json(200, body.to_string()), Some(issued)))
}

/// Reads a protobuf Duration in JSON: seconds with up to nine decimals and an `s`.
fn read_duration(text: &str) -> Option<Duration> {
    let number = text.strip_suffix('s')?;
    let (seconds, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.is_empty() || fraction.len() > 9 || !digits(seconds) || !digits(fraction) {
        return None;
    }
    let nanos: u32 = format!("{fraction:0<9}").parse().ok()?;
    Some(Duration::new(seconds.parse().ok()?, nanos))
}

fn random(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    rand::thread_rng().fill_bytes(&mut random);
    URL_SAFE_NO_PAD.encode(random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations_in_protobuf_json() {
        let seconds = |text| read_duration(text).map(|duration| duration.as_secs_f64());
        assert_eq!([seconds("3600s"), seconds("1.5s"), seconds("0s")], [Some(3600.0), Some(1.5), Some(0.0)]);
        for wrong in ["", "s", "3600", "1h", "-1s", "+1s", "1.0123456789s", ".5s", "1e3s", " 1s"] {
            assert_eq!(seconds(wrong), None, "{wrong:?}");
        }
    }
}
