//! `authorized-key`: a JWT, signed with a service account's key and exchanged for an IAM token.
//!
//! A key file has one of two layouts: gosdk2 `pkg/iamkey/iamkey.proto` in snake or camel case, or the response of
//! `POST /iam/v1/keys`, which users save unchanged (cloudapi `key_service.proto`, `CreateKeyResponse`).

use base64::Engine as _;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::base::account::Account;
use crate::base::clock::{Timestamp, clock_off};
use crate::base::environment as env;
use crate::base::environment::Environment;
use crate::base::error::{Error, Result};
use crate::base::identity::Identity;
use crate::base::secret::Secret;
use crate::base::spelling::{trimmed, unquoted};
use crate::base::token::Credential;
use crate::cloud::installation::Installation;
use crate::cloud::{Context, iam, jwt};
use crate::obtain::{Caching, Grant};
use crate::sources::secret_origin::{Origin, SecretKind};
use crate::sources::settings::Settings;
use crate::sources::source::{Assignment, EnvironmentSettings, Key, SecretFile, Source, SourceInput, Variable};

pub const SOURCE: Source = Source {
    variables: &[Variable { rank: 1, name: env::YC_SERVICE_ACCOUNT_KEY_FILE }],
    from_environment,
    secret_file: Some(secret_file),
    ..Source::new("authorized-key", "a service account's authorized key", KEYS, open)
};

const KEYS: &[Key] = &[Key { name: "key-file", value: "FILE", about: "JSON key file that `yc iam key create` writes" }];

const AUTHORIZED_KEY: SecretKind = SecretKind {
    what: "key",
    file: "key-file",
    // Not a key that a profile may contain. `from_environment` sets it to the name of the variable with the key's JSON.
    variable: "key-env",
    command: None,
    is_part_of_content: true,
    is_short_lived: false,
};

fn open(input: &SourceInput<'_>) -> Result<Box<dyn Grant>> {
    let settings = input.settings;
    let installation = input.installation;
    let identity =
        installation.identify(Identity::of(SOURCE.name)).with_some("audience", installation.known_audience());
    let identity = identity.with_some("ca-file", input.ca_file);
    let key = Origin::from_settings(settings, &AUTHORIZED_KEY)?.ok_or_else(|| {
        settings
            .missing("source \"authorized-key\" needs `key-file`")
            .hint("set key-file = \"FILE\" in the profile, or pass --key-file FILE to `ycred init`")
    })?;
    let identity = key.identify(identity);
    Ok(Box::new(AuthorizedKeyGrant { key, identity, installation: installation.clone(), caching: input.caching() }))
}

/// Selects this source if `YC_SERVICE_ACCOUNT_KEY_FILE` is set: to a path or to the JSON itself, as for the Terraform
/// provider.
fn from_environment(environment: &Environment, _: Timestamp) -> Option<EnvironmentSettings> {
    let variable = env::YC_SERVICE_ACCOUNT_KEY_FILE;
    let value = environment.get(variable)?.to_string_lossy();
    let value = unquoted(&value);
    let assignment = if value.starts_with('{') || from_base64(value).is_some() {
        Assignment::VariableName { key: AUTHORIZED_KEY.variable, variable }
    } else {
        Assignment::Value { key: AUTHORIZED_KEY.file, variable, value: value.to_owned() }
    };
    Some(EnvironmentSettings { rank: 1, assignments: vec![assignment] })
}

/// Prepares a key's JSON to be stored in a file, unchanged.
///
/// # Errors
/// As [`AccountKey::parse`].
pub fn secret_file(json: Secret) -> Result<SecretFile> {
    let about = format!("the authorized key of {}", AccountKey::parse(json.expose())?.description());
    Ok(SecretFile { key: AUTHORIZED_KEY.file, extension: "json", content: json, about, advice: None })
}

/// Checks the key of a profile without the network: its form, that it can sign, and that its public key belongs to its
/// private key. Returns the account and the key's ID.
///
/// # Errors
/// Profile (3): the file cannot be read, or the key is wrong.
pub fn check(settings: &Settings) -> Result<String> {
    let origin = Origin::from_settings(settings, &AUTHORIZED_KEY)?;
    let origin = origin.ok_or_else(|| settings.missing("source \"authorized-key\" needs `key-file`"))?;
    let json = origin.read_quietly()?;
    let key = AccountKey::parse(json.expose()).map_err(|why| why.context(&origin))?;
    let wrong = |why: &str| Error::profile(format!("{origin}: {why}")).hint(NEW_KEY);
    let public = jwt::public_key(&key.private_key).map_err(wrong)?;
    let stated = KeyFile::read(trimmed(json.expose())).ok().and_then(KeyFile::public_key);
    // The structure in the file (SPKI) ends with the key itself (PKCS1).
    let stated = stated.and_then(|pem| SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).ok());
    match stated {
        Some(stated) if !stated.ends_with(&public) => Err(wrong("its public_key does not belong to its private_key")),
        _ => Ok(format!("{} (key {})", key.description(), key.id)),
    }
}

struct AuthorizedKeyGrant {
    key: Origin,
    identity: Identity,
    installation: Installation,
    caching: Caching,
}

/// The claims of the JWT (docs/reference/yandex-cloud.md 2.1). `exp - iat` is at most an hour.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
}

/// Seconds by which `iat` is set back, so that a slightly fast clock does not put it in the future.
const IAT_LEEWAY: i64 = 10;
/// Validity of the JWT in seconds: enough for a slow clock, and far below the hour that the cloud allows.
const JWT_VALIDITY: i64 = 720;

impl Grant for AuthorizedKeyGrant {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn caching(&self) -> Caching {
        self.caching
    }

    fn fetch(&self, cx: &Context<'_>) -> Result<Credential> {
        let key = self.parse(&self.key.read(cx)?)?;
        let rejection = match self.exchange(&key, cx.clock.now(), cx) {
            Err(error) if error.kind == crate::base::error::Kind::Refused => error,
            outcome => return outcome,
        };
        let hint = match rejection.status {
            Some(403) => format!("{}: yc iam service-account get {}", iam::FORBIDDEN, key.account),
            _ => format!(
                "check that the key exists and belongs to the account: yc iam key list --service-account-id {}",
                key.account
            ),
        };
        // If the clocks differ, the rejection may be due to the times in the JWT. Sign again with the cloud's time.
        let skew = rejection.clock_skew.unwrap_or(0);
        if skew == 0 || cx.deadline.left(cx.clock).is_zero() {
            return Err(rejection.hint(hint));
        }
        cx.diagnostics.debug(|| {
            format!("rejected, and the clocks differ by {} s: signing again with the cloud's time", skew / 1000)
        });
        self.exchange(&key, cx.clock.now().shifted(skew), cx).map_err(|error| {
            let clock = clock_off(skew);
            error.hint(format!("set the clock ({clock}), and {hint}"))
        })
    }

    fn account(&self) -> Result<String> {
        Ok(self.parse(&self.key.read_quietly()?)?.description())
    }
}

impl AuthorizedKeyGrant {
    fn parse(&self, json: &Secret) -> Result<AccountKey> {
        AccountKey::parse(json.expose()).map_err(|why| why.context(&self.key))
    }

    fn exchange(&self, key: &AccountKey, now: Timestamp, cx: &Context<'_>) -> Result<Credential> {
        let issued = now.unix_seconds() - IAT_LEEWAY;
        let audience = self.installation.audience(cx)?;
        let claims = Claims { iss: &key.account, aud: &audience, iat: issued, exp: issued + JWT_VALIDITY };
        let jwt = jwt::ps256(&claims, &key.id, &key.private_key)
            .map_err(|why| Error::profile(format!("{}: {why}", self.key)).hint(NEW_KEY))?;
        iam::create(&self.installation, &iam::CreateIamTokenRequest::Jwt(jwt.expose()), cx)
            .map(|credential| credential.of(Account::service_account(&key.account)))
            .map_err(|error| error.context(format!("service account {}", key.account)))
    }
}

const NEW_KEY: &str = "create a new key: yc iam key create --service-account-name NAME --output key.json";

/// The contents of a key file that ycred uses.
pub struct AccountKey {
    id: String,
    account: String,
    private_key: Secret,
}

/// A key file in either layout. Other fields (`created_at`, `description`, the `endpoint` that YDB's SDK reads) are
/// ignored.
#[derive(Deserialize)]
struct KeyFile {
    id: Option<String>,
    #[serde(alias = "serviceAccountId")]
    service_account_id: Option<String>,
    #[serde(alias = "userAccountId")]
    user_account_id: Option<String>,
    #[serde(alias = "privateKey")]
    private_key: Option<Secret>,
    #[serde(alias = "publicKey")]
    public_key: Option<String>,
    /// In `CreateKeyResponse`, the fields other than `privateKey` are in here.
    key: Option<NestedKey>,
}

impl KeyFile {
    /// Returns the public key in PEM, in either layout.
    fn public_key(self) -> Option<String> {
        self.public_key.or(self.key.and_then(|key| key.public_key))
    }

    /// Reads JSON, also in the forms that secret stores and shells give it: in quotes, as a JSON string, or in base64.
    ///
    /// # Errors
    /// The string is not a key file in any of these forms. The error is the one for plain JSON.
    fn read(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text).or_else(|error| {
            let inner = serde_json::from_str::<String>(text).ok().map(Zeroizing::new);
            let decoded = from_base64(unquoted(text));
            let others = [
                Some(unquoted(text)),
                inner.as_ref().map(|inner| trimmed(inner)),
                decoded.as_ref().map(|it| trimmed(it)),
            ];
            others.into_iter().flatten().find_map(|other| serde_json::from_str(other).ok()).ok_or(error)
        })
    }
}

/// Decodes JSON in base64. Returns `None` for anything else.
fn from_base64(text: &str) -> Option<Zeroizing<String>> {
    // `{"`, or `{` and white space.
    if !["ey", "ew"].iter().any(|start| text.starts_with(start)) {
        return None;
    }
    let packed = Zeroizing::new(text.chars().filter(|c| !c.is_whitespace()).collect::<String>());
    let decoded = base64::engine::general_purpose::STANDARD.decode(packed.as_bytes()).ok()?;
    String::from_utf8(decoded).ok().map(Zeroizing::new)
}

#[derive(Deserialize)]
struct NestedKey {
    id: Option<String>,
    #[serde(alias = "serviceAccountId")]
    service_account_id: Option<String>,
    #[serde(alias = "userAccountId")]
    user_account_id: Option<String>,
    #[serde(alias = "publicKey")]
    public_key: Option<String>,
}

impl AccountKey {
    /// Returns the service account, for messages. It may have other keys, so the key's ID is not a part of it.
    pub fn description(&self) -> String {
        format!("service account {}", self.account)
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// Profile (3): the file is not the key of a service account.
    pub fn parse(json: &str) -> Result<Self> {
        let error = |why: &str| Error::profile(why).hint(NEW_KEY);
        let text = trimmed(json);
        let file = match KeyFile::read(text) {
            Ok(file) => file,
            Err(_) if text.is_empty() => return Err(error("is empty")),
            Err(_) if text.starts_with("-----BEGIN ") => {
                return Err(error("is a PEM file, but an authorized key is a JSON file that contains one"));
            }
            // serde's message may quote a secret, so only its position is shown.
            Err(cause) => {
                let (line, column) = (cause.line(), cause.column());
                return Err(error(&format!("is not an authorized key in JSON (line {line}, column {column})")));
            }
        };
        let (id, account, user) = match file.key {
            Some(key) => (key.id, key.service_account_id, key.user_account_id),
            None => (file.id, file.service_account_id, file.user_account_id),
        };
        let account = match (account, user) {
            (Some(account), _) if !account.is_empty() => account,
            (_, Some(_)) => {
                return Err(error(
                    "is the key of a user account, but the cloud issues tokens only for keys of service accounts",
                ));
            }
            _ => return Err(error("has no service_account_id")),
        };
        let id = id.filter(|id| !id.is_empty()).ok_or_else(|| error("has no id"))?;
        let private_key = file
            .private_key
            .filter(|key| !key.expose().trim().is_empty())
            .ok_or_else(|| error("has no private_key"))?;
        // Environment variables and CI secrets often turn the line feeds of a key into the two characters `\n`.
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
    fn every_layout_of_a_key_file_is_read() {
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
    fn a_key_is_read_as_secret_stores_and_shells_pass_it_on() {
        use base64::engine::general_purpose::STANDARD;
        let key = format!(r#"{{"id":"ajek","service_account_id":"ajes","private_key":"{PEM}"}}"#);
        for json in [
            format!("'{key}'"),
            format!("\"{key}\""),
            format!("\u{feff}'{key}'\r\n"),
            serde_json::to_string(&key).expect("JSON"),
            serde_json::to_string(&format!("{key}\n")).expect("JSON"),
            STANDARD.encode(&key),
            format!("{}\n", STANDARD.encode(format!("{key}\n"))),
            STANDARD.encode(key.replace('{', "{\n")),
        ] {
            let read = parse(&json).unwrap_or_else(|error| panic!("{json}: {}", error.render()));
            assert_eq!((read.id.as_str(), read.account.as_str()), ("ajek", "ajes"), "{json}");
            let environment = Environment::new([(env::YC_SERVICE_ACCOUNT_KEY_FILE.into(), json.clone().into())]);
            let settings = from_environment(&environment, Timestamp(0)).expect("selected");
            assert!(matches!(settings.assignments[0], Assignment::VariableName { .. }), "{json}");
        }
    }

    #[test]
    fn escaped_line_feeds_are_converted() {
        let key =
            parse(&format!(r#"{{"id":"k","service_account_id":"s","private_key":"{}"}}"#, PEM.replace("\\n", "\\\\n")))
                .expect("read");
        assert_eq!(key.private_key.expose().lines().count(), 3);
    }

    #[test]
    fn a_file_without_a_service_account_key_is_rejected_with_the_reason() {
        for (json, why) in [
            (format!(r#"{{"id":"k","user_account_id":"u","private_key":"{PEM}"}}"#), "user account"),
            (format!(r#"{{"id":"k","private_key":"{PEM}"}}"#), "no service_account_id"),
            (format!(r#"{{"service_account_id":"s","private_key":"{PEM}"}}"#), "no id"),
            (r#"{"id":"k","service_account_id":"s"}"#.to_owned(), "no private_key"),
            ("hello".to_owned(), "not an authorized key in JSON (line 1"),
            (String::new(), "is empty"),
            (PEM.replace("\\n", "\n"), "is a PEM file"),
            ("[]".to_owned(), "not an authorized key in JSON"),
        ] {
            let error = parse(&json).err().expect("refused");
            assert!(error.render().contains(why) && error.kind.exit_code() == 3, "{}", error.render());
        }
    }
}
