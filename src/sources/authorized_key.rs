//! `authorized-key`: a service account's key file signs a JWT, which the cloud exchanges for a token.
//!
//! Key file shapes: gosdk2 `pkg/iamkey/iamkey.proto` (snake and camel case), and the answer of `POST /iam/v1/keys`,
//! which users save as it is (cloudapi `key_service.proto`, `CreateKeyResponse`).

use serde::{Deserialize, Serialize};

use crate::base::clock::{Timestamp, clock_off};
use crate::base::environment as env;
use crate::base::environment::Environment;
use crate::base::error::{Error, Result};
use crate::base::identity::Identity;
use crate::base::secret::Secret;
use crate::base::token::Credential;
use crate::cloud::installation::Installation;
use crate::cloud::{Context, iam, jwt};
use crate::obtain::{Caching, Grant};
use crate::sources::origin;
use crate::sources::origin::Origin;
use crate::sources::source::{Assignment, EnvironmentSettings, KeptSecret, Key, Opening, Source, Variable};

pub const SOURCE: Source = Source {
    variables: &[Variable { rank: 1, name: env::YC_SERVICE_ACCOUNT_KEY_FILE }],
    from_environment,
    keep: Some(keep),
    ..Source::new("authorized-key", "a service account's authorized key", KEYS, open)
};

const KEYS: &[Key] = &[Key {
    name: "key-file",
    value: "FILE",
    about: "the key's JSON file; `~` works, a relative path starts at the profile",
}];

const KEY: origin::SecretKind = origin::SecretKind {
    what: "key",
    file: "key-file",
    // Set by [`from_environment`] alone: the variable that holds the key's JSON itself.
    variable: "key-env",
    command: None,
    is_document: true,
    is_short_lived: false,
};

fn open(opening: &Opening<'_>) -> Result<Box<dyn Grant>> {
    let settings = opening.settings;
    let installation = opening.installation;
    let identity =
        installation.identify(Identity::of(SOURCE.name)).with_some("audience", installation.known_audience());
    let identity = identity.with_some("ca-file", opening.ca_file);
    let key = Origin::from_settings(settings, &KEY)?.ok_or_else(|| {
        settings
            .missing("source \"authorized-key\" needs `key-file`")
            .hint("write key-file = \"PATH\" (for `ycred init`: --key-file PATH), the file that `yc iam key create --output PATH` wrote")
    })?;
    let identity = key.identify(identity);
    Ok(Box::new(AuthorizedKeyGrant { key, identity, installation: installation.clone(), caching: opening.caching() }))
}

/// `YC_SERVICE_ACCOUNT_KEY_FILE` is a path or the JSON itself, as the Terraform provider has it.
fn from_environment(environment: &Environment) -> Option<EnvironmentSettings> {
    let variable = env::YC_SERVICE_ACCOUNT_KEY_FILE;
    let value = environment.get(variable)?.to_string_lossy();
    let assignment = if value.trim_start().starts_with('{') {
        Assignment::Secret { key: KEY.variable, variable }
    } else {
        Assignment::Value { key: KEY.file, variable, value: value.into_owned() }
    };
    Some(EnvironmentSettings { rank: 1, assignments: vec![assignment] })
}

/// The JSON as it is, in a file.
pub fn keep(json: Secret) -> Result<KeptSecret> {
    let about = format!("the authorized key of {}", AccountKey::parse(json.expose())?.whose());
    Ok(KeptSecret { key: KEY.file, ending: "json", content: json, about, remark: None })
}

struct AuthorizedKeyGrant {
    key: Origin,
    identity: Identity,
    installation: Installation,
    caching: Caching,
}

/// The claims of the cloud's JWT (yandex-cloud.md 2.1): `exp - iat` at most an hour.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
}

/// Dated back a little, so that a clock a few seconds fast does not make a JWT of the future.
const BACK_DATED: i64 = 10;
/// Long enough for a slow clock, short enough that `exp - iat` stays far below the hour that the cloud allows.
const LIFE: i64 = 720;

impl Grant for AuthorizedKeyGrant {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn caching(&self) -> Caching {
        self.caching
    }

    fn fetch(&self, cx: &Context<'_>) -> Result<Credential> {
        let key = self.parse(&self.key.read(cx)?)?;
        let refused = match self.exchange(&key, cx.clock.now(), cx) {
            Err(error) if error.kind == crate::base::error::Kind::Refused => error,
            outcome => return outcome,
        };
        let hint = format!(
            "check that the key exists and belongs to the account: yc iam key list --service-account-id {}",
            key.account
        );
        // Refused, and the cloud's clock is another than ours: perhaps only the times in the JWT were wrong.
        let skew = refused.clock_skew.unwrap_or(0);
        if skew == 0 || cx.deadline.left(cx.clock).is_zero() {
            return Err(refused.hint(hint));
        }
        cx.notes
            .debug(|| format!("refused while the clocks differ by {} s; signing with the cloud's time", skew / 1000));
        self.exchange(&key, cx.clock.now().shifted(skew), cx).map_err(|error| {
            let clock = clock_off(skew);
            error.hint(format!("{hint}; and set the clock: {clock}"))
        })
    }

    fn account(&self) -> Result<String> {
        Ok(self.parse(&self.key.read_quietly()?)?.whose())
    }
}

impl AuthorizedKeyGrant {
    fn parse(&self, json: &Secret) -> Result<AccountKey> {
        AccountKey::parse(json.expose()).map_err(|why| why.context(&self.key))
    }

    fn exchange(&self, key: &AccountKey, now: Timestamp, cx: &Context<'_>) -> Result<Credential> {
        let issued = now.unix_seconds() - BACK_DATED;
        let audience = self.installation.audience(cx)?;
        let claims = Claims { iss: &key.account, aud: &audience, iat: issued, exp: issued + LIFE };
        let jwt = jwt::ps256(&claims, &key.id, &key.private_key)
            .map_err(|why| Error::profile(format!("{}: {why}", self.key)).hint(NEW_KEY))?;
        iam::create(&self.installation, &iam::CreateIamTokenRequest::Jwt(jwt.expose()), cx)
            .map_err(|error| error.context(format!("service account {}", key.account)))
    }
}

const NEW_KEY: &str = "make a new one: yc iam key create --service-account-name NAME --output key.json";

/// What is needed of a key file.
pub struct AccountKey {
    id: String,
    account: String,
    private_key: Secret,
}

/// The flat shapes of a key file; unknown fields (`created_at`, `description`, an `endpoint` that YDB's SDK reads) are
/// let be.
#[derive(Deserialize)]
struct Flat {
    id: Option<String>,
    #[serde(alias = "serviceAccountId")]
    service_account_id: Option<String>,
    #[serde(alias = "userAccountId")]
    user_account_id: Option<String>,
    #[serde(alias = "privateKey")]
    private_key: Option<Secret>,
    /// `CreateKeyResponse` has the key's data in here and `privateKey` beside it.
    key: Option<Nested>,
}

#[derive(Deserialize)]
struct Nested {
    id: Option<String>,
    #[serde(alias = "serviceAccountId")]
    service_account_id: Option<String>,
    #[serde(alias = "userAccountId")]
    user_account_id: Option<String>,
}

impl AccountKey {
    /// The account, for people.
    pub fn whose(&self) -> String {
        format!("service account {} (key {})", self.account, self.id)
    }

    pub fn parse(json: &str) -> Result<Self> {
        let wrong = |why: &str| Error::profile(why).hint(NEW_KEY);
        let flat: Flat = serde_json::from_str(json.trim_start_matches('\u{feff}')).map_err(|error| {
            // serde's message may quote a value; the place is all that is safe to tell.
            wrong(&format!("is not an authorized key's JSON (line {}, column {})", error.line(), error.column()))
        })?;
        let (id, account, user) = match flat.key {
            Some(key) => (key.id, key.service_account_id, key.user_account_id),
            None => (flat.id, flat.service_account_id, flat.user_account_id),
        };
        let account = match (account, user) {
            (Some(account), _) if !account.is_empty() => account,
            (_, Some(_)) => {
                return Err(wrong(
                    "is the key of a user account, which the cloud does not accept for tokens; only a service account's key is",
                ));
            }
            _ => return Err(wrong("has no service_account_id")),
        };
        let id = id.filter(|id| !id.is_empty()).ok_or_else(|| wrong("has no id"))?;
        let private_key = flat
            .private_key
            .filter(|key| !key.expose().trim().is_empty())
            .ok_or_else(|| wrong("has no private_key"))?;
        // A key that went through an environment variable or a CI secret often comes with its line feeds as two
        // characters.
        let private_key = if private_key.expose().contains("\\n") {
            Secret::new(private_key.expose().replace("\\n", "\n"))
        } else {
            private_key
        };
        Ok(Self { id, account, private_key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN PRIVATE KEY-----\\nAAAA\\n-----END PRIVATE KEY-----\\n";

    fn parse(json: &str) -> Result<AccountKey> {
        AccountKey::parse(json)
    }

    #[test]
    fn every_shape_of_a_key_file_is_read() {
        for json in [
            format!(
                r#"{{"id":"ajek","service_account_id":"ajes","created_at":"2018-10-31T09:30:52Z","key_algorithm":"RSA_2048","public_key":"x","private_key":"{PEM}"}}"#
            ),
            format!(r#"{{"id":"ajek","serviceAccountId":"ajes","createdAt":"x","privateKey":"{PEM}"}}"#),
            format!(
                r#"{{"key":{{"id":"ajek","serviceAccountId":"ajes","keyAlgorithm":"RSA_2048"}},"privateKey":"{PEM}"}}"#
            ),
            format!(
                "\u{feff}{{\r\n\"id\":\"ajek\",\r\n\"service_account_id\":\"ajes\",\r\n\"private_key\":\"{PEM}\"}}\r\n"
            ),
        ] {
            let key = parse(&json).unwrap_or_else(|error| panic!("{}: {json}", error.render()));
            assert_eq!((key.id.as_str(), key.account.as_str()), ("ajek", "ajes"));
            assert!(key.private_key.expose().starts_with("-----BEGIN"));
        }
    }

    #[test]
    fn literal_line_feeds_are_mended() {
        let key =
            parse(&format!(r#"{{"id":"k","service_account_id":"s","private_key":"{}"}}"#, PEM.replace("\\n", "\\\\n")))
                .expect("read");
        assert_eq!(key.private_key.expose().lines().count(), 3);
    }

    #[test]
    fn what_is_no_service_account_key_is_refused_with_the_reason() {
        for (json, why) in [
            (format!(r#"{{"id":"k","user_account_id":"u","private_key":"{PEM}"}}"#), "user account"),
            (format!(r#"{{"id":"k","private_key":"{PEM}"}}"#), "no service_account_id"),
            (format!(r#"{{"service_account_id":"s","private_key":"{PEM}"}}"#), "no id"),
            (r#"{"id":"k","service_account_id":"s"}"#.to_owned(), "no private_key"),
            ("hello".to_owned(), "not an authorized key's JSON (line 1"),
            (String::new(), "not an authorized key's JSON"),
            ("[]".to_owned(), "not an authorized key's JSON"),
        ] {
            let error = parse(&json).err().expect("refused");
            assert!(error.render().contains(why) && error.kind.exit_code() == 3, "{}", error.render());
        }
    }
}
