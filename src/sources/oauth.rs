//! `oauth`: a Yandex OAuth token, exchanged by the same call as a JWT.
//!
//! A way out of use: since June 2026 the cloud accepts no newly issued OAuth tokens (docs
//! `_includes/iam/oauth-unavailable.md`); those issued before live on for up to a year.

use crate::base::environment as env;
use crate::base::environment::Environment;
use crate::base::error::{Error, Result};
use crate::base::identity::Identity;
use crate::base::secret::Secret;
use crate::base::token::{Credential, is_iam_token};
use crate::cloud::installation::Installation;
use crate::cloud::{Context, iam};
use crate::obtain::{Caching, Grant};
use crate::sources::origin::{Origin, SecretKind};
use crate::sources::source::{Assignment, EnvironmentSettings, KeptSecret, Key, Opening, Source, Variable};

pub const SOURCE: Source = Source {
    variables: &[Variable { rank: 2, name: env::YC_TOKEN }, Variable { rank: 3, name: env::YC_OAUTH_TOKEN }],
    from_environment,
    keep: Some(keep),
    ..Source::new("oauth", "a Yandex OAuth token (no longer issued since June 2026)", KEYS, open)
};

const KEYS: &[Key] = &[
    Key { name: "oauth-token-file", value: "FILE", about: "the file that holds the OAuth token" },
    Key { name: "oauth-token-env", value: "VARIABLE", about: "the environment variable that holds it" },
    Key { name: "oauth-token-command", value: "COMMAND", about: "the command that prints it: [\"prog\", \"arg\"]" },
];

const TOKEN: SecretKind = SecretKind {
    what: "OAuth token",
    file: "oauth-token-file",
    variable: "oauth-token-env",
    command: Some("oauth-token-command"),
    is_document: false,
    is_short_lived: false,
};

fn open(opening: &Opening<'_>) -> Result<Box<dyn Grant>> {
    let settings = opening.settings;
    let ways = KEYS.iter().filter(|key| settings.has(key.name)).count();
    if ways != 1 {
        let names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
        return Err(settings
            .missing(&format!("source \"oauth\" needs one of {}, and has {ways}", names.join(", ")))
            .hint(
                "write oauth-token-file = \"FILE\" into the profile; for `ycred init` it is --oauth-token-file FILE",
            ));
    }
    let identity = opening.installation.identify(Identity::of(SOURCE.name)).with_some("ca-file", opening.ca_file);
    let token = Origin::from_settings(settings, &TOKEN)?.ok_or_else(|| settings.missing("no OAuth token is named"))?;
    let identity = token.identify(identity);
    let (installation, caching) = (opening.installation.clone(), opening.caching());
    Ok(Box::new(OAuthGrant { token, identity, installation, caching }))
}

/// `YC_TOKEN` unless it is an IAM token, as the Terraform provider tells them apart; then `YC_OAUTH_TOKEN`.
fn from_environment(environment: &Environment) -> Option<EnvironmentSettings> {
    let found = |rank, variable| {
        Some(EnvironmentSettings { rank, assignments: vec![Assignment::Secret { key: TOKEN.variable, variable }] })
    };
    if environment.get(env::YC_TOKEN).is_some_and(|value| !is_iam_token(value)) {
        return found(2, env::YC_TOKEN);
    }
    environment.get(env::YC_OAUTH_TOKEN).and_then(|_| found(3, env::YC_OAUTH_TOKEN))
}

/// The token alone, in a file.
pub fn keep(text: Secret) -> Result<KeptSecret> {
    let token = text.expose().trim();
    if !is_oauth_token(token) {
        return Err(Error::profile("does not hold one OAuth token"));
    }
    Ok(KeptSecret {
        key: TOKEN.file,
        ending: "oauth-token",
        content: Secret::new(token.to_owned()),
        about: "an OAuth token".to_owned(),
        remark: Some(
            "OAuth tokens are on their way out, none are issued since June 2026: make a key in time and replace this \
             profile, ycred init {name} --key-file FILE --force",
        ),
    })
}

struct OAuthGrant {
    token: Origin,
    identity: Identity,
    installation: Installation,
    caching: Caching,
}

/// The API's limit on the OAuth token (cloudapi, iam_token_service.proto).
const LONGEST: usize = 4000;

/// Whether a text can be an OAuth token: one word that the API would take.
pub fn is_oauth_token(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len()) && !text.contains(char::is_whitespace)
}

impl Grant for OAuthGrant {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn caching(&self) -> Caching {
        self.caching
    }

    fn fetch(&self, cx: &Context<'_>) -> Result<Credential> {
        let text = Secret::new(self.token.read(cx)?.expose().trim().to_owned());
        let origin = self.token.to_string();
        if !is_oauth_token(text.expose()) {
            return Err(Error::profile(format!("{origin}: does not hold one OAuth token"))
                .hint("it must be the token alone, on one line"));
        }
        iam::create(&self.installation, &iam::CreateIamTokenRequest::YandexPassportOauthToken(text.expose()), cx).map_err(|error| {
            error
                .context(&origin)
                .hint("OAuth tokens issued since June 2026 are not accepted; use an authorized key: ycred init --key-file FILE")
        })
    }

    fn account(&self) -> Result<String> {
        Ok("the Yandex account that the OAuth token belongs to".into())
    }
}
