//! Ephemeral access keys of Object Storage, around any source: its IAM token buys a key of the AWS kind, which the cloud
//! lets live no longer than that token. Each kind of key that was asked for has a record and a lock of its own.
//!
//! Source: cloudapi `yandex/cloud/iam/v1/awscompatibility/temporary_access_key_service.proto`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::clock::{Timestamp, human, millis};
use crate::base::error::{Error, Kind, Result};
use crate::base::identity::Identity;
use crate::base::secret::Secret;
use crate::base::token::{Credential, Expiry};
use crate::cache::record::{RenewalRules, Requirements};
use crate::cloud::installation::Installation;
use crate::cloud::{Context, iam};
use crate::disk::{files, places};
use crate::obtain::{Caching, Grant, obtain};
use crate::sources::source::Opening;

/// What an access key may live (the proto allows more, the documentation and `yc` do not).
pub const SHORTEST: Duration = Duration::from_secs(15 * 60);
pub const LONGEST: Duration = Duration::from_secs(12 * 3600);
/// The most characters that a policy has.
const LARGEST_POLICY: usize = 2048;
/// What an IAM token must have left beyond the life of the key that it buys: [`Credential::advertised`] takes as much
/// off.
const MARGIN: Duration = Duration::from_secs(60);
/// With less left, a key is minted anew first: botocore asks again at every call below 15 minutes, and is told of a
/// minute less than there is.
const MIN_TTL: Duration = Duration::from_secs(20 * 60);

// ------------------------------------------------------------------------------------------------------------------- key

/// An access key. In the cache its three parts are one secret, as every other token is.
#[derive(Debug)]
pub struct AccessKey {
    /// Names the key, and is seen in every request signed with it.
    pub id: Secret,
    /// Signs.
    pub secret: Secret,
    /// Goes with every request (`x-amz-security-token`).
    pub session_token: Secret,
}

/// Between the parts: in no part of a key, and allowed in a token.
const BAR: char = '|';

impl AccessKey {
    /// The three in one text.
    ///
    /// # Errors
    /// Unavailable (4): the cloud gave something that is no key; `origin` names it.
    pub fn pack(&self, origin: &str) -> Result<Secret> {
        let parts = [("accessKeyId", &self.id), ("secret", &self.secret), ("sessionToken", &self.session_token)];
        for (name, part) in parts {
            if part.expose().is_empty() || part.expose().contains(BAR) {
                return Err(Error::unavailable(format!("{origin} gave an access key whose {name} is none")));
            }
        }
        let [id, secret, token] = parts.map(|(_, part)| part.expose());
        Ok(Secret::new(format!("{id}{BAR}{secret}{BAR}{token}")))
    }

    /// The parts of what [`Self::pack`] made; none of anything else.
    pub fn unpack(packed: &Secret) -> Option<Self> {
        let parts: Vec<&str> = packed.expose().split(BAR).collect();
        let [id, secret, session_token] = parts.as_slice() else { return None };
        if parts.iter().any(|part| part.is_empty()) {
            return None;
        }
        let [id, secret, session_token] = [id, secret, session_token].map(|part| Secret::new((*part).to_owned()));
        Some(Self { id, secret, session_token })
    }
}

// --------------------------------------------------------------------------------------------------------------- request

/// Which key is asked for. In a record's settings it is a line of JSON, so that `refresh` can ask for the same again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRequest {
    /// 1 to 64 of `[\w+=,.@-]`.
    #[serde(rename = "session")]
    pub session_name: String,
    /// In seconds.
    duration: u64,
    /// What the key may do at most, an AWS policy in JSON.
    #[serde(rename = "policy", skip_serializing_if = "Option::is_none")]
    policy_file: Option<PathBuf>,
}

/// An hour's key.
impl Default for KeyRequest {
    fn default() -> Self {
        Self { session_name: "ycred".into(), duration: 3600, policy_file: None }
    }
}

impl KeyRequest {
    /// Checks what can be checked here.
    ///
    /// # Errors
    /// Usage (2), naming the flag.
    pub fn new(session_name: &str, duration: Duration, policy_file: Option<&str>) -> Result<Self> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
        if !(1..=64).contains(&session_name.len()) || !session_name.chars().all(allowed) {
            return Err(Error::usage(format!("--session-name: \"{session_name}\" is not a session's name"))
                .hint("a name is 1 to 64 of letters, digits and _ + = , . @ -"));
        }
        if duration < SHORTEST || duration > LONGEST {
            return Err(Error::usage(format!("--duration: {} is not within 15m and 12h", human(millis(duration))))
                .hint("access keys live 15 minutes to 12 hours; the default is 1h"));
        }
        if policy_file.is_some_and(str::is_empty) {
            return Err(Error::usage("--policy-file: is empty"));
        }
        let policy_file = policy_file.map(PathBuf::from);
        Ok(Self { session_name: session_name.to_owned(), duration: duration.as_secs(), policy_file })
    }

    /// The same with the policy's path made absolute; `~` is the home, for callers without a shell in between.
    ///
    /// # Errors
    /// Usage (2): it cannot be.
    pub fn resolved(&self, home: Option<&Path>) -> Result<Self> {
        let Some(path) = &self.policy_file else { return Ok(self.clone()) };
        let path = places::absolute(path, home)
            .map_err(|why| Error::usage(format!("--policy-file: {}: {why}", path.display())))?
            .into();
        Ok(Self { policy_file: Some(path), ..self.clone() })
    }

    /// The life that is asked for.
    pub fn duration(&self) -> Duration {
        Duration::from_secs(self.duration)
    }

    /// The least that a key must have left to be handed out: 20 minutes, or `wanted` by the profile where that is more,
    /// but at most half of its life, or a short one would be minted anew at every call.
    pub fn min_ttl(&self, wanted: Duration) -> Duration {
        MIN_TTL.max(wanted).min(self.duration() / 2)
    }
}

/// What stands in a record's settings: the request, and whose tokens buy the key.
#[derive(Serialize, Deserialize)]
struct Terms {
    /// The name of the identity that it continues.
    of: String,
    #[serde(flatten)]
    request: KeyRequest,
}

/// The request that made a record, by the record's settings, if it is a key bought with tokens of `identity`.
pub fn request_of(settings: &str, identity: &Identity) -> Option<KeyRequest> {
    let terms = Identity::access_key_terms(settings)?;
    let Terms { of, request } = serde_json::from_str(terms).ok()?;
    (of == identity.name()).then_some(request)
}

// ----------------------------------------------------------------------------------------------------------------- grant

/// A grant of keys, bought with the tokens of `inner`.
///
/// # Errors
/// Usage (2), Profile (3): the policy's path or a setting cannot be read.
pub fn link(
    inner: Box<dyn Grant>,
    request: &KeyRequest,
    opening: &Opening<'_>,
    home: Option<&Path>,
) -> Result<Box<dyn Grant>> {
    let request = request.resolved(home)?;
    let terms = Terms { of: inner.identity().name(), request: request.clone() };
    let terms = serde_json::to_string(&terms).map_err(|_| Error::internal("an identity could not be written"))?;
    let identity = opening.installation.identify(inner.identity().clone()).with_access_key(&terms);
    let identity = match &request.policy_file {
        Some(path) => identity.with_file("policy-file", path),
        None => identity,
    };
    // A source's own `max-age` is for its tokens: a key that nobody can take back is not minted every minute.
    let max_age = opening.settings.duration("max-age")?;
    let caching = match opening.cached {
        true => Caching::StoredToken(RenewalRules { max_age, ..opening.rules }),
        false => Caching::Never,
    };
    Ok(Box::new(AccessKeyGrant { inner, request, identity, installation: opening.installation.clone(), caching }))
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
        // Before anything is asked for: a policy that is wrong costs no request.
        let policy = self.request.policy_file.as_deref().map(read_policy).transpose()?;
        // A token that is too short for the key is renewed first; where that brings no longer one, the cache's back-off
        // sees to it that it is not tried at every call.
        let requirements = Requirements { min_ttl: self.request.duration() + MARGIN, ..cx.requirements };
        let caller = obtain(self.inner.as_ref(), &Context { is_inner: true, requirements, ..*cx })?;
        let now = cx.clock.now();
        let last = caller.advertised(now);
        let duration = match caller.credential.assumed {
            // Nobody knows how long it lives but the cloud.
            true => self.request.duration(),
            false => possible_duration(self.request.duration(), now, last).ok_or_else(|| {
                Error::unavailable(format!(
                    "the IAM token lasts another {}, the cloud gives no longer one now, and an access key needs {} of it at least",
                    human(caller.credential.left(now).longer),
                    human(millis(SHORTEST + MARGIN)),
                ))
                .hint("try again in some minutes; `ycred aws --force-refresh` asks for another IAM token at once")
            })?,
        };
        let order =
            iam::EphemeralKeyRequest { session_name: &self.request.session_name, policy: policy.as_deref(), duration };
        // Which role it takes is nowhere documented; what the cloud says of it is in the error.
        let created = iam::create_ephemeral_access_key(&self.installation, &caller.credential.secret, &order, cx)
            .map_err(|error| match error.kind {
                Kind::Refused => error.hint("should the IAM token have been revoked: ycred aws --force-refresh"),
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

/// The life to ask for: what is wanted, as far as the token lasts that buys it; none where that is too short for a key.
fn possible_duration(wanted: Duration, now: Timestamp, last: Timestamp) -> Option<Duration> {
    let left = Duration::from_millis(u64::try_from(last.since(now)).ok()?);
    (left >= SHORTEST).then_some(wanted.min(left))
}

/// Reads a policy as it is to be sent.
fn read_policy(path: &Path) -> Result<String> {
    let text = files::read_text(path)?;
    let text = text.trim();
    let error_at = |why: String| Error::profile(format!("{}: {why}", path.display()));
    if let Err(error) = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text) {
        return Err(error_at("is no policy in JSON".into()).because(error));
    }
    let length = text.chars().count();
    if length > LARGEST_POLICY {
        return Err(error_at(format!("has {length} characters, and a policy may have {LARGEST_POLICY}"))
            .hint(format!("without its blanks it may fit: jq -c . {}", path.display())));
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
    fn a_key_is_one_secret_and_comes_apart_again() {
        let packed = key(["ajeid", "YCsecret", "s1.x/+=y"]).pack("the test").expect("packed");
        assert!(crate::base::token::token_text(packed.clone()).is_ok(), "it is kept as any token is");
        let again = AccessKey::unpack(&packed).expect("unpacked");
        assert_eq!(
            [again.id, again.secret, again.session_token].map(|part| part.expose().to_owned()),
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
    fn requests_are_judged_before_anybody_is_asked() {
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
    fn the_floor_is_twenty_minutes_and_at_most_half_of_the_life() {
        let min_ttl =
            |duration, wanted| request(duration).expect("good").min_ttl(Duration::from_secs(wanted)).as_secs();
        assert_eq!(min_ttl("1h", 60), 1200);
        assert_eq!(min_ttl("15m", 60), 450);
        assert_eq!(min_ttl("12h", 6 * 3600), 6 * 3600);
        assert_eq!(min_ttl("1h", 6 * 3600), 1800, "a profile's min-ttl is for tokens of half a day");
    }

    #[test]
    fn a_key_never_outlives_the_token_that_buys_it() {
        let now = Timestamp(1_795_000_000_000);
        let hour = Duration::from_secs(3600);
        let lasting = |seconds| possible_duration(hour, now, now.plus(Duration::from_secs(seconds)));
        assert_eq!([lasting(7200), lasting(1800)], [Some(hour), Some(hour / 2)]);
        assert_eq!([lasting(900), lasting(899)], [Some(hour / 4), None]);
        assert_eq!(possible_duration(hour, now, now.minus(hour)), None);
    }

    #[test]
    fn the_request_is_found_again_in_the_settings_of_its_record() {
        let inner = Identity::of("metadata").with("metadata-addr", "x");
        let request =
            KeyRequest::new("se\u{73}sion", Duration::from_secs(900), Some("/a \"b\"\\c.json")).expect("good");
        let terms = Terms { of: inner.name(), request: request.clone() };
        let terms = serde_json::to_string(&terms).expect("JSON");
        let settings = inner.clone().with("iam-url", "https://x").with_access_key(&terms).settings();
        assert_eq!(request_of(&settings, &inner), Some(request));
        assert_eq!(request_of(&settings, &Identity::of("metadata")), None, "another's");
        assert_eq!(request_of(&inner.settings(), &inner), None, "a token's record");
    }

    #[test]
    fn a_home_is_for_those_without_a_shell() {
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
