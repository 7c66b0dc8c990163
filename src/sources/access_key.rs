//! Ephemeral access keys of Object Storage, for any source: a grant that exchanges the source's IAM token for a key
//! with the parts of an AWS key.
//!
//! A key is valid no longer than the token it was exchanged for. Each combination of identity and request parameters
//! has its own cache record and lock.
//!
//! Source: cloudapi `yandex/cloud/iam/v1/awscompatibility/temporary_access_key_service.proto`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::clock::{Timestamp, human, millis};
use crate::base::error::{Error, Kind, Result};
use crate::base::identity::Identity;
use crate::base::mask;
use crate::base::secret::Secret;
use crate::base::shell;
use crate::base::token::{Credential, Expiry};
use crate::cache::freshness::{RenewalRules, Requirements};
use crate::cloud::installation::Installation;
use crate::cloud::{Context, iam};
use crate::disk::{files, places};
use crate::obtain::{Caching, Grant, obtain};
use crate::sources::source::SourceInput;

/// Minimum validity of an access key.
pub const MIN_DURATION: Duration = Duration::from_secs(15 * 60);
/// Maximum validity of an access key, by the documentation and `yc`. The proto allows more.
pub const MAX_DURATION: Duration = Duration::from_secs(12 * 3600);
/// Maximum length of a policy, in characters.
const MAX_POLICY: usize = 2048;
/// How much longer than the key its IAM token must be valid. [`Credential::advertised`] subtracts up to that much.
const MARGIN: Duration = Duration::from_secs(60);
/// Default minimum remaining validity of a key. Below 15 minutes, botocore asks for credentials at each call, and the
/// advertised expiry is up to a minute early.
const MIN_TTL: Duration = Duration::from_secs(20 * 60);

// ----------------------------------------------------------------------------------------------------------------- key

/// An access key. The cache stores its three parts as one secret, like a token.
#[derive(Debug)]
pub struct AccessKey {
    /// Key ID. Each request signed with the key contains it.
    pub id: Secret,
    /// Signs requests.
    pub secret: Secret,
    /// Sent with each request (`x-amz-security-token`).
    pub session_token: Secret,
}

/// Separates the parts in the stored secret. It is valid in a token and does not occur in a key.
const SEPARATOR: char = '|';

impl AccessKey {
    /// Joins the three parts into one secret.
    ///
    /// # Errors
    /// Unavailable (4): the cloud's response does not contain a valid key. `origin` names the response in the message.
    pub fn pack(&self, origin: &str) -> Result<Secret> {
        let parts = [("accessKeyId", &self.id), ("secret", &self.secret), ("sessionToken", &self.session_token)];
        for (name, part) in parts {
            if part.expose().is_empty() || part.expose().contains(SEPARATOR) {
                return Err(Error::unavailable(format!(
                    "{origin}: the response contains an access key without a valid {name}"
                )));
            }
        }
        let [id, secret, token] = parts.map(|(_, part)| part.expose());
        Ok(Secret::new(format!("{id}{SEPARATOR}{secret}{SEPARATOR}{token}")))
    }

    /// Splits the result of [`Self::pack`] into the three parts. Returns `None` for any other secret.
    pub fn unpack(packed: &Secret) -> Option<Self> {
        let parts: Vec<&str> = packed.expose().split(SEPARATOR).collect();
        let [id, secret, session_token] = parts.as_slice() else { return None };
        if parts.iter().any(|part| part.is_empty()) {
            return None;
        }
        let [id, secret, session_token] = [id, secret, session_token].map(|part| Secret::new((*part).to_owned()));
        Some(Self { id, secret, session_token })
    }
}

// ------------------------------------------------------------------------------------------------------------- request

/// The parameters of a key. The cache record contains them as JSON, so that `refresh` can request the same key again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRequest {
    /// 1 to 64 of `[\w+=,.@-]`.
    #[serde(rename = "session")]
    pub session_name: String,
    /// Validity in seconds.
    duration: u64,
    /// File with an AWS policy in JSON, which limits what the key permits.
    #[serde(rename = "policy", skip_serializing_if = "Option::is_none")]
    policy_file: Option<PathBuf>,
}

/// A key that is valid for an hour.
impl Default for KeyRequest {
    fn default() -> Self {
        Self { session_name: "ycred".into(), duration: 3600, policy_file: None }
    }
}

impl KeyRequest {
    /// Checks the values of the flags, but does not read the policy.
    ///
    /// # Errors
    /// Usage (2): a value is invalid; the message names the flag.
    pub fn new(session_name: &str, duration: Duration, policy_file: Option<&str>) -> Result<Self> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
        if !(1..=64).contains(&session_name.len()) || !session_name.chars().all(allowed) {
            return Err(Error::usage(format!("--session-name: \"{session_name}\" is not a valid session name"))
                .hint("use 1 to 64 letters, digits and characters from _ + = , . @ -"));
        }
        if duration < MIN_DURATION || duration > MAX_DURATION {
            return Err(Error::usage(format!("--duration: {} is not between 15m and 12h", human(millis(duration))))
                .hint("pass --duration with a value from 15m to 12h, or omit it for 1h"));
        }
        if policy_file.is_some_and(str::is_empty) {
            return Err(Error::usage("--policy-file: the path is empty"));
        }
        if let Some(text) = policy_file.filter(|text| !mask::is_path(text) && !Path::new(text).exists()) {
            let _masked = Secret::new(text.to_owned());
            return Err(Error::usage("--policy-file: not the path of a file; it may be a secret, so it is not shown"));
        }
        let policy_file = policy_file.map(PathBuf::from);
        Ok(Self { session_name: session_name.to_owned(), duration: duration.as_secs(), policy_file })
    }

    /// Returns the request with an absolute path to the policy. Expands `~`, because clients may run ycred without a
    /// shell.
    ///
    /// # Errors
    /// Usage (2): the path cannot be made absolute.
    pub fn resolved(&self, home: Option<&Path>) -> Result<Self> {
        let Some(path) = &self.policy_file else { return Ok(self.clone()) };
        let path = places::absolute(path, home)
            .map_err(|why| Error::usage(format!("--policy-file: {}: {why}", path.display())))?
            .into();
        Ok(Self { policy_file: Some(path), ..self.clone() })
    }

    /// Returns the requested validity.
    pub fn duration(&self) -> Duration {
        Duration::from_secs(self.duration)
    }

    /// Returns the minimum remaining validity of a cached key: 20 minutes, or the profile's `min_ttl` if it is longer.
    ///
    /// It is at most half of the key's validity. Otherwise each call would request a new short-lived key.
    pub fn min_ttl(&self, min_ttl: Duration) -> Duration {
        MIN_TTL.max(min_ttl).min(self.duration() / 2)
    }
}

/// The JSON in a record's settings: the request, and the identity of the token to exchange.
#[derive(Serialize, Deserialize)]
struct Terms {
    /// Name of the token's identity.
    of: String,
    #[serde(flatten)]
    request: KeyRequest,
}

/// Reads the request from a record's settings. Returns `None` if the record is not an access key for tokens of
/// `identity`.
pub fn request_of(settings: &str, identity: &Identity) -> Option<KeyRequest> {
    let terms = Identity::access_key_terms(settings)?;
    let Terms { of, request } = serde_json::from_str(terms).ok()?;
    (of == identity.name()).then_some(request)
}

// --------------------------------------------------------------------------------------------------------------- grant

/// Creates a grant that exchanges the tokens of `inner` for access keys.
///
/// # Errors
/// Usage (2): the policy's path cannot be made absolute. Profile (3): `max-age` is wrong.
pub fn link(
    inner: Box<dyn Grant>,
    request: &KeyRequest,
    input: &SourceInput<'_>,
    home: Option<&Path>,
) -> Result<Box<dyn Grant>> {
    let request = request.resolved(home)?;
    let terms = Terms { of: inner.identity().name(), request: request.clone() };
    let terms = serde_json::to_string(&terms)
        .map_err(|_| Error::internal("cannot serialize the parameters of an access key"))?;
    let identity = input.installation.identify(inner.identity().clone()).with_access_key(&terms);
    let identity = match &request.policy_file {
        Some(path) => identity.with_file("policy-file", path),
        None => identity,
    };
    // A source's default `max-age` is for its tokens, which can be revoked. Access keys cannot, so only a `max-age` in
    // the profile applies. Otherwise ycred would request a key every minute.
    let max_age = input.settings.duration("max-age")?;
    let caching = match input.is_caching {
        true => Caching::Enabled(RenewalRules { max_age, ..input.rules }),
        false => Caching::Never,
    };
    Ok(Box::new(AccessKeyGrant { inner, request, identity, installation: input.installation.clone(), caching }))
}

struct AccessKeyGrant {
    inner: Box<dyn Grant>,
    request: KeyRequest,
    identity: Identity,
    installation: Installation,
    caching: Caching,
}

impl Grant for AccessKeyGrant {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn caching(&self) -> Caching {
        self.caching
    }

    fn fetch(&self, cx: &Context<'_>) -> Result<Credential> {
        // Read the policy first: if it is wrong, no request is made.
        let policy = self.request.policy_file.as_deref().map(read_policy).transpose()?;
        // A token that expires too early for the key is renewed first. If the new one is not valid longer, the cache's
        // back-off prevents a renewal at each call.
        let requirements = Requirements { min_ttl: self.request.duration() + MARGIN, ..cx.requirements };
        let caller = obtain(self.inner.as_ref(), &Context { is_inner: true, requirements, ..*cx })?;
        let now = cx.clock.now();
        let token_expiry = caller.advertised(now);
        let duration = match caller.credential.assumed {
            // The token's expiry is unknown: let the cloud decide.
            true => self.request.duration(),
            false => possible_duration(self.request.duration(), now, token_expiry).ok_or_else(|| {
                Error::unavailable(format!(
                    "the IAM token expires in {}, and an access key needs one that is valid for at least {}; \
                     the cloud has not issued such a token",
                    human(caller.credential.left(now)),
                    human(millis(MIN_DURATION + MARGIN)),
                ))
                .hint("try again in a few minutes, or request a new IAM token now with `ycred aws --force-refresh`")
            })?,
        };
        let key_request =
            iam::EphemeralKeyRequest { session_name: &self.request.session_name, policy: policy.as_deref(), duration };
        let created = iam::create_ephemeral_access_key(&self.installation, &caller.credential.secret, &key_request, cx)
            .map_err(|error| match error.kind {
                Kind::Refused if error.status == Some(403) => error.hint(iam::FORBIDDEN),
                Kind::Refused => error.hint("if the IAM token was revoked, get a new one: ycred aws --force-refresh"),
                _ => error,
            })?;
        let iam::EphemeralKeyResponse { key, url, received, skew } = created;
        let iam::EphemeralKey { access_key_id, secret, session_token, expires_at } = key;
        let key = AccessKey { id: access_key_id, secret, session_token }.pack(&url)?;
        Credential::new(key, &Expiry::At(expires_at), received, skew, &url)
    }

    fn inner(&self) -> Option<&dyn Grant> {
        Some(self.inner.as_ref())
    }

    fn account(&self) -> Result<String> {
        self.inner.account()
    }
}

/// Returns the validity to request: `requested`, but no longer than the IAM token. Returns `None` if the token expires
/// too early for any key.
fn possible_duration(requested: Duration, now: Timestamp, token_expiry: Timestamp) -> Option<Duration> {
    let left = Duration::from_millis(u64::try_from(token_expiry.since(now)).ok()?);
    (left >= MIN_DURATION).then_some(requested.min(left))
}

/// Reads a policy and checks that it is JSON of a valid length.
fn read_policy(path: &Path) -> Result<String> {
    let text = files::read_text(path)?;
    let text = text.trim();
    let error_at = |why: String| Error::profile(format!("{}: {why}", path.display()));
    if let Err(error) = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text) {
        return Err(error_at("is not a policy in JSON".into()).because(error));
    }
    let length = text.chars().count();
    if length > MAX_POLICY {
        return Err(error_at(format!("has {length} characters, but a policy may have at most {MAX_POLICY}"))
            .hint(format!("remove the white space: jq -c . {}", shell::word(path))));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(parts: [&str; 3]) -> AccessKey {
        let [id, secret, session_token] = parts.map(|part| Secret::new(part.to_owned()));
        AccessKey { id, secret, session_token }
    }

    fn request(duration: &str) -> Result<KeyRequest> {
        KeyRequest::new("ycred", crate::base::clock::parse_duration(duration).expect("a duration"), None)
    }

    #[test]
    fn a_packed_key_is_a_valid_token_and_can_be_unpacked() {
        let packed = key(["ajeid", "YCsecret", "s1.x/+=y"]).pack("the test").expect("packed");
        assert!(crate::base::token::check_token(packed.clone()).is_ok(), "the cache stores it like a token");
        let unpacked = AccessKey::unpack(&packed).expect("unpacked");
        assert_eq!(
            [unpacked.id, unpacked.secret, unpacked.session_token].map(|part| part.expose().to_owned()),
            ["ajeid", "YCsecret", "s1.x/+=y"]
        );
        for wrong in [["", "b", "c"], ["a", "b|c", "d"], ["a", "b", ""]] {
            assert!(key(wrong).pack("the test").is_err(), "{wrong:?}");
        }
        for wrong in ["", "a|b", "a|b|c|d", "a||c", "t1.x.y"] {
            assert!(AccessKey::unpack(&Secret::new(wrong.into())).is_none(), "{wrong}");
        }
    }

    #[test]
    fn flag_values_are_checked() {
        let hour = Duration::from_secs(3600);
        for name in ["a", "user@host.example", "a+b=c,d_e-f", &"x".repeat(64)] {
            assert!(KeyRequest::new(name, hour, None).is_ok(), "{name}");
        }
        for name in ["", "a b", "жук", "a/b", "a\n", &"x".repeat(65)] {
            assert!(KeyRequest::new(name, hour, None).is_err(), "{name}");
        }
        for good in ["15m", "1h", "12h"] {
            assert!(request(good).is_ok(), "{good}");
        }
        for bad in ["0s", "14m59s", "12h1s", "24h"] {
            assert!(request(bad).expect_err(bad).render().contains("15m and 12h"), "{bad}");
        }
        assert!(KeyRequest::new("a", hour, Some("")).is_err());
    }

    #[test]
    fn min_ttl_is_twenty_minutes_and_at_most_half_of_the_validity() {
        let min_ttl =
            |duration, seconds| request(duration).expect("valid").min_ttl(Duration::from_secs(seconds)).as_secs();
        assert_eq!(min_ttl("1h", 60), 1200);
        assert_eq!(min_ttl("15m", 60), 450);
        assert_eq!(min_ttl("12h", 6 * 3600), 6 * 3600);
        assert_eq!(
            min_ttl("1h", 6 * 3600),
            1800,
            "a profile's min-ttl is meant for tokens that are valid for 12 hours"
        );
    }

    #[test]
    fn a_key_expires_no_later_than_its_token() {
        let now = Timestamp(1_795_000_000_000);
        let hour = Duration::from_secs(3600);
        let of_token = |seconds| possible_duration(hour, now, now.plus(Duration::from_secs(seconds)));
        assert_eq!([of_token(7200), of_token(1800)], [Some(hour), Some(hour / 2)]);
        assert_eq!([of_token(900), of_token(899)], [Some(hour / 4), None]);
        assert_eq!(possible_duration(hour, now, now.minus(hour)), None);
    }

    #[test]
    fn the_request_is_read_back_from_the_settings_of_its_record() {
        let inner = Identity::of("metadata").with("metadata-addr", "x");
        let request =
            KeyRequest::new("se\u{73}sion", Duration::from_secs(900), Some("/a \"b\"\\c.json")).expect("good");
        let terms = Terms { of: inner.name(), request: request.clone() };
        let terms = serde_json::to_string(&terms).expect("JSON");
        let settings = inner.clone().with("iam-url", "https://x").with_access_key(&terms).settings();
        assert_eq!(request_of(&settings, &inner), Some(request));
        assert_eq!(request_of(&settings, &Identity::of("metadata")), None, "another identity");
        assert_eq!(request_of(&inner.settings(), &inner), None, "a token's record");
    }

    #[test]
    fn a_policy_path_is_made_absolute() {
        let of = |path: &str| KeyRequest::new("a", Duration::from_secs(900), Some(path)).expect("good");
        let resolved = |path: &str, home: Option<&str>| {
            of(path).resolved(home.map(Path::new)).map(|request| request.policy_file.expect("a path"))
        };
        assert_eq!(resolved("~/p.json", Some("/home/u")).expect("good"), Path::new("/home/u/p.json"));
        assert_eq!(resolved("/p.json", None).expect("good"), Path::new("/p.json"));
        assert!(resolved("p.json", None).expect("good").is_absolute());
        assert!(resolved("~/p.json", None).is_err());
    }
}
