//! A subject token: the token of another issuer, and what it says of itself.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::base::clock::Timestamp;
use crate::base::identity::Identity;
use crate::base::secret::Secret;

/// The longest subject token; real ones have 1 to 4 KiB.
const LONGEST: usize = 16 * 1024;

/// A text as a subject token, or why it is none, in words that fit behind what it is.
pub fn subject_token(text: &str) -> Result<Secret, &'static str> {
    match text.trim() {
        "" => Err("is empty"),
        text if text.len() > LONGEST => Err("is longer than 16 KiB, which no token is"),
        text if !text.bytes().all(|byte| byte.is_ascii_graphic()) => Err("is not one token on one line"),
        text => Ok(Secret::new(text.to_owned())),
    }
}

/// Adds whom a token speaks for, so that a renewed one of the same subject is the same identity, and two subjects never
/// are; a token that is no JWT by its digest.
pub fn identify(identity: Identity, key: &str, token: &Secret) -> Identity {
    match Claims::read(token.expose()) {
        Some(Claims { iss: Some(iss), sub: Some(sub), .. }) => {
            identity.with("subject-iss", iss).with("subject-sub", sub)
        }
        _ => identity.with_secret("subject", key, token.expose().as_bytes()),
    }
}

/// What a JWT says of itself, unverified: to tell tokens apart and to explain a refusal. The cloud judges it.
#[derive(Debug, PartialEq, Eq)]
pub struct Claims {
    pub iss: Option<String>,
    pub sub: Option<String>,
    /// As in the token: a text, or a list of some.
    pub aud: Value,
    pub exp: Option<Timestamp>,
}

impl Claims {
    /// None: it is no JWT (RFC 7519, in JWS compact serialisation).
    pub fn read(token: &str) -> Option<Self> {
        let mut parts = token.split('.');
        let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return None;
        };
        Self::of_payload(&URL_SAFE_NO_PAD.decode(payload).ok()?)
    }

    pub fn of_payload(payload: &[u8]) -> Option<Self> {
        let Ok(Value::Object(mut claims)) = serde_json::from_slice(payload) else { return None };
        let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
        // Fractions are allowed (RFC 7519, 2: NumericDate); whole seconds will do.
        #[allow(clippy::cast_possible_truncation, reason = "a cast from f64 saturates")]
        let seconds = |value: &Value| value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64));
        let exp = claims.get("exp").and_then(seconds).map(|seconds| Timestamp(seconds.saturating_mul(1000)));
        Some(Self { iss: text("iss"), sub: text("sub"), exp, aud: claims.remove("aud").unwrap_or_default() })
    }
}

/// What the cloud compares, each claim capped.
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
        for none in ["", "a.b", "a.b.c", "a.!.c", &format!("{}.d", jwt("{}")), &jwt("[]"), &jwt("{")] {
            assert_eq!(Claims::read(none), None, "{none}");
        }
        let long = Claims::read(&jwt(&format!(r#"{{"sub":"{}"}}"#, "ж".repeat(500)))).expect("a JWT");
        assert!(long.to_string().chars().count() < 250 && long.to_string().contains('…'));
    }

    #[test]
    fn whom_a_token_speaks_for_is_the_identity_and_not_the_token() {
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
    fn a_subject_token_is_one_word_of_bounded_length() {
        let read = |text: &str| subject_token(text).map(|token| token.expose().to_owned());
        assert_eq!(read(" a.b.c\r\n").as_deref(), Ok("a.b.c"));
        assert!(read(&"x".repeat(LONGEST)).is_ok());
        for bad in ["", " \n", "a b", "a\nb", "a\0b", "жетон", &"x".repeat(LONGEST + 1)] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
