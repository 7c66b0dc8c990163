//! `oauth`: a Yandex OAuth token, exchanged for an IAM token with the same API call as a JWT.
//!
//! This source is being phased out. The cloud rejects OAuth tokens issued since June 2026 (docs
//! `_includes/iam/oauth-unavailable.md`). Tokens issued before remain valid for up to a year.

use crate::base::account::Account;
use crate::base::clock::Timestamp;
use crate::base::environment as env;
use crate::base::environment::Environment;
use crate::base::error::{Error, Result};
use crate::base::identity::Identity;
use crate::base::secret::Secret;
use crate::base::spelling::unquoted;
use crate::base::supplied_token::SuppliedToken;
use crate::base::token::{Credential, is_iam_token};
use crate::cloud::installation::Installation;
use crate::cloud::{Context, iam};
use crate::obtain::{Caching, Grant};
use crate::sources::secret_origin::{Origin, SecretKind};
use crate::sources::source::{Assignment, EnvironmentSettings, Key, SecretFile, Source, SourceInput, Variable};

pub const SOURCE: Source = Source {
    variables: &[Variable { rank: 2, name: env::YC_TOKEN }, Variable { rank: 3, name: env::YC_OAUTH_TOKEN }],
    from_environment,
    secret_file: Some(secret_file),
    ..Source::new("oauth", "a Yandex OAuth token issued before June 2026", KEYS, open)
};

const KEYS: &[Key] = &[
    Key { name: "oauth-token-file", value: "FILE", about: "file that contains the OAuth token" },
    Key { name: "oauth-token-env", value: "VARIABLE", about: "environment variable that contains the OAuth token" },
    Key {
        name: "oauth-token-command",
        value: "COMMAND",
        about: "program that prints the OAuth token; if it takes arguments, use --oauth -- PROGRAM ARGUMENT...",
    },
];

const TOKEN: SecretKind = SecretKind {
    what: "OAuth token",
    file: "oauth-token-file",
    variable: "oauth-token-env",
    command: Some("oauth-token-command"),
    is_part_of_content: false,
    is_short_lived: false,
};

fn open(input: &SourceInput<'_>) -> Result<Box<dyn Grant>> {
    let settings = input.settings;
    let count = KEYS.iter().filter(|key| settings.has(key.name)).count();
    if count != 1 {
        let names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
        return Err(settings
            .missing(&format!("source \"oauth\" needs exactly one of {}, but has {count}", names.join(", ")))
            .hint("set oauth-token-file = \"FILE\" in the profile, or pass --oauth-token-file FILE to `ycred init`"));
    }
    let identity = input.installation.identify(Identity::of(SOURCE.name)).with_some("ca-file", input.ca_file);
    let token = Origin::from_settings(settings, &TOKEN)?.ok_or_else(|| settings.missing("missing OAuth token"))?;
    let identity = token.identify(identity);
    let (installation, caching) = (input.installation.clone(), input.caching());
    Ok(Box::new(OAuthGrant { token, identity, installation, caching }))
}

/// Selects this source if `YC_TOKEN` is set and not an IAM token, such as one that `exec` has supplied, or if `YC_OAUTH_TOKEN` is set. The Terraform provider
/// distinguishes IAM tokens in the same way.
fn from_environment(environment: &Environment, _: Timestamp) -> Option<EnvironmentSettings> {
    let settings = |rank, variable| {
        Some(EnvironmentSettings {
            rank,
            assignments: vec![Assignment::VariableName { key: TOKEN.variable, variable }],
        })
    };
    let is_supplied = || SuppliedToken::in_variable(environment, env::YC_TOKEN).is_some();
    if environment.get(env::YC_TOKEN).is_some_and(|value| !is_iam_token(value) && !is_supplied()) {
        return settings(2, env::YC_TOKEN);
    }
    environment.get(env::YC_OAUTH_TOKEN).and_then(|_| settings(3, env::YC_OAUTH_TOKEN))
}

/// Prepares an OAuth token to be stored in a file, without the white space around it.
///
/// # Errors
/// Profile (3): the string is not an OAuth token.
pub fn secret_file(text: Secret) -> Result<SecretFile> {
    let token = unquoted(text.expose());
    if !is_oauth_token(token) {
        return Err(Error::profile("does not contain exactly one OAuth token"));
    }
    Ok(SecretFile {
        key: TOKEN.file,
        extension: "oauth-token",
        content: Secret::new(token.to_owned()),
        about: "an OAuth token".to_owned(),
        advice: Some(
            "the cloud rejects OAuth tokens issued since June 2026; if it rejects this one, use a service account with an \
             authorized key instead: ycred init {name} --key-file FILE --force",
        ),
    })
}

struct OAuthGrant {
    token: Origin,
    identity: Identity,
    installation: Installation,
    caching: Caching,
}

/// The hint for a token that the cloud rejects.
const NEW_SOURCE: &str =
    "use an authorized key, because OAuth tokens issued since June 2026 are rejected: ycred init --key-file FILE";

/// The API's limit for an OAuth token, in bytes (cloudapi, iam_token_service.proto).
const MAX_LENGTH: usize = 4000;

/// Returns true if a string can be an OAuth token: no white space, and within the API's limit.
pub fn is_oauth_token(text: &str) -> bool {
    (1..=MAX_LENGTH).contains(&text.len()) && !text.contains(char::is_whitespace)
}

impl Grant for OAuthGrant {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn caching(&self) -> Caching {
        self.caching
    }

    fn fetch(&self, cx: &Context<'_>) -> Result<Credential> {
        let token = Secret::new(unquoted(self.token.read(cx)?.expose()).to_owned());
        let origin = self.token.to_string();
        if !is_oauth_token(token.expose()) {
            return Err(Error::profile(format!("{origin}: does not contain exactly one OAuth token"))
                .hint("the content must be just the token, on one line"));
        }
        let request = iam::CreateIamTokenRequest::YandexPassportOauthToken(token.expose());
        let created = iam::create(&self.installation, &request, cx).map_err(|error| {
            let hint = if error.status == Some(403) { iam::FORBIDDEN } else { NEW_SOURCE };
            error.context(&origin).hint(hint)
        })?;
        Ok(created.of(Account::user()))
    }

    fn runs_program(&self) -> bool {
        self.token.is_program()
    }

    fn account(&self) -> Result<String> {
        Ok("the Yandex account that the OAuth token belongs to".into())
    }
}
