//! Subject tokens: tokens from another issuer, and their claims.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::base::clock::Timestamp;
use crate::base::identity::Identity;
use crate::base::secret::Secret;
use crate::base::spelling::unquoted;

/// Maximum length of a subject token, in bytes. Real ones have 1 to 4 KiB.
const MAX_LENGTH: usize = 16 * 1024;

/// Checks that a string can be a subject token. Ignores white space around it.
///
/// # Errors
/// The reason, as a predicate: `is empty`.
pub fn subject_token(text: &str) -> Result<Secret, &'static str> {
    match unquoted(text) {
        "" => Err("is empty"),
        text if text.len() > MAX_LENGTH => Err("is longer than 16 KiB, which is too long for a token"),
        text if !text.bytes().all(|byte| byte.is_ascii_graphic()) => Err("is not a single token on one line"),
        text => Ok(Secret::new(text.to_owned())),
    }
}

/// Adds the subject of a token to an identity: issuer and subject of a JWT, or the digest of any other token.
///
/// So a renewed token of the same subject has the same identity, and two subjects never share one.
pub fn identify(identity: Identity, key: &str, token: &Secret) -> Identity {
    match Claims::read(token.expose()) {
        Some(Claims { iss: Some(iss), sub: Some(sub), .. }) => {
            identity.with("subject-iss", iss).with("subject-sub", sub)
        }
        _ => identity.with_secret("subject", key, token.expose().as_bytes()),
    }
}

/// Claims of a JWT. They are not verified, because the cloud does that. ycred uses them to distinguish subjects and to
/// explain rejections.
#[derive(Debug, PartialEq, Eq)]
pub struct Claims {
    pub iss: Option<String>,
    pub sub: Option<String>,
    /// As in the token: a string or a list of strings. Null if missing.
    pub aud: Value,
    pub exp: Option<Timestamp>,
}

impl Claims {
    /// Reads the claims of a JWT in compact serialization (RFC 7519). Returns `None` if the string is not one.
    pub fn read(token: &str) -> Option<Self> {
        let mut parts = token.split('.');
        let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return None;
        };
        Self::of_payload(&URL_SAFE_NO_PAD.decode(payload).ok()?)
    }

    /// Reads claims from the decoded payload of a JWT. Returns `None` if the payload is not a JSON object.
    pub fn of_payload(payload: &[u8]) -> Option<Self> {
        let Ok(Value::Object(mut claims)) = serde_json::from_slice(payload) else { return None };
        let string = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
        // RFC 7519, 2 allows fractions in a NumericDate. Whole seconds are enough here.
        #[allow(clippy::cast_possible_truncation, reason = "a cast from f64 saturates")]
        let seconds = |value: &Value| value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64));
        let exp = claims.get("exp").and_then(seconds).map(|seconds| Timestamp(seconds.saturating_mul(1000)));
        Some(Self { iss: string("iss"), sub: string("sub"), exp, aud: claims.remove("aud").unwrap_or_default() })
    }
}

/// Writes the claims that the cloud compares. Long claims are shortened.
impl fmt::Display for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let capped = |text: String| match text.chars().count() {
            0..=160 => text,
            _ => text.chars().take(159).chain(['…']).collect(),
        };
        let quoted = |claim: &Option<String>| claim.as_ref().map_or("(none)".to_owned(), |text| format!("\"{text}\""));
        let aud = if self.aud.is_null() { "(none)".to_owned() } else { self.aud.to_string() };
        write!(f, "sub {}, iss {}, aud {}", capped(quoted(&self.sub)), capped(quoted(&self.iss)), capped(aud))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(payload: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode("{}"), URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn claims_are_read_leniently() {
        let all = Claims::read(&jwt(r#"{"iss":"https://i","sub":"repo:a/b","aud":["x","y"],"exp":1795000000.9}"#));
        let all = all.expect("a JWT");
        assert_eq!((all.iss.as_deref(), all.sub.as_deref()), (Some("https://i"), Some("repo:a/b")));
        assert_eq!(all.exp, Some(Timestamp(1_795_000_000_000)));
        assert_eq!(all.to_string(), r#"sub "repo:a/b", iss "https://i", aud ["x","y"]"#);
        let odd = Claims::read(&jwt(r#"{"iss":1,"aud":"x","exp":1e300}"#)).expect("a JWT");
        assert_eq!((odd.iss.as_ref(), odd.exp), (None, Some(Timestamp(i64::MAX))));
        assert_eq!(odd.to_string(), r#"sub (none), iss (none), aud "x""#);
        let odd = Claims::read(&jwt(r#"{"exp":"soon"}"#)).expect("a JWT");
        assert_eq!((odd.exp, odd.to_string().as_str()), (None, "sub (none), iss (none), aud (none)"));
        for not_a_jwt in ["", "a.b", "a.b.c", "a.!.c", &format!("{}.d", jwt("{}")), &jwt("[]"), &jwt("{")] {
            assert_eq!(Claims::read(not_a_jwt), None, "{not_a_jwt}");
        }
        let long = Claims::read(&jwt(&format!(r#"{{"sub":"{}"}}"#, "ж".repeat(500)))).expect("a JWT");
        assert!(long.to_string().chars().count() < 250 && long.to_string().contains('…'));
    }

    #[test]
    fn the_identity_depends_on_the_subject_and_not_on_the_token() {
        let name = |text: &str| identify(Identity::of("workload"), "A", &Secret::new(text.to_owned())).name();
        let (first, renewed) = (jwt(r#"{"iss":"i","sub":"s","exp":1}"#), jwt(r#"{"iss":"i","sub":"s","exp":2}"#));
        assert_eq!(name(&first), name(&renewed));
        let all = [
            first,
            jwt(r#"{"iss":"i","sub":"t"}"#),
            jwt(r#"{"iss":"j","sub":"s"}"#),
            jwt(r#"{"iss":"i","exp":1}"#),
            jwt(r#"{"iss":"i","exp":2}"#),
            "opaque-one".to_owned(),
            "opaque-two".to_owned(),
        ];
        let names: std::collections::HashSet<String> = all.iter().map(|token| name(token)).collect();
        assert_eq!(names.len(), all.len());
    }

    #[test]
    fn a_subject_token_has_no_white_space_and_a_maximum_length() {
        let read = |text: &str| subject_token(text).map(|token| token.expose().to_owned());
        assert_eq!(read(" a.b.c\r\n").as_deref(), Ok("a.b.c"));
        assert!(read(&"x".repeat(MAX_LENGTH)).is_ok());
        for bad in ["", " \n", "a b", "a\nb", "a\0b", "жетон", &"x".repeat(MAX_LENGTH + 1)] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
