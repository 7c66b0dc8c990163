//! `oauth`: a Yandex OAuth token, exchanged by the same call as a JWT.
//!
//! A way out of use: since June 2026 the cloud accepts no newly issued OAuth tokens (docs
//! `_includes/iam/oauth-unavailable.md`); those issued before live on for up to a year.

use std::path::PathBuf;

use crate::base::environment as env;
use crate::base::environment::Environment;
use crate::base::error::{Error, Result};
use crate::base::identity::Identity;
use crate::base::secret::Secret;
use crate::base::token::Credential;
use crate::cloud::Context;
use crate::cloud::iam;
use crate::cloud::installation::Installation;
use crate::disk::files;
use crate::profile::Key;
use crate::source::{Caching, Found, Grant, Opening, Source, external};

pub const SOURCE: Source = Source {
    name: "oauth",
    about: "a Yandex OAuth token (no longer issued since June 2026)",
    keys: &[
        Key { name: "oauth-token-file", value: "FILE", about: "the file that holds the OAuth token" },
        Key { name: "oauth-token-env", value: "VARIABLE", about: "the environment variable that holds it" },
        Key { name: "oauth-token-command", value: "COMMAND", about: "the command that prints it: [\"prog\", \"arg\"]" },
    ],
    max_age: None,
    open,
    from_environment,
};

fn open(opening: &Opening<'_>) -> Result<Box<dyn Grant>> {
    let settings = opening.settings;
    let ways = SOURCE.keys.iter().filter(|key| settings.has(key.name)).count();
    if ways != 1 {
        let names: Vec<&str> = SOURCE.keys.iter().map(|key| key.name).collect();
        return Err(settings
            .missing(&format!("source \"oauth\" needs one of {}, and has {ways}", names.join(", ")))
            .hint(
                "write oauth-token-file = \"FILE\" into the profile; for `ycred init` it is --oauth-token-file FILE",
            ));
    }
    let identity = opening.installation.identify(Identity::of(SOURCE.name));
    let identity = identity.with_some("ca-file", opening.profile.ca_file.as_ref());
    let (holder, identity) = if let Some(path) = settings.path("oauth-token-file")? {
        let identity = identity.with_file("oauth-token-file", &path);
        (Holder::File(path), identity)
    } else if let Some((variable, value)) = settings.variable("oauth-token-env")? {
        let identity = identity.with_secret("oauth-token-env", variable, value.as_bytes());
        (Holder::Variable(variable.to_owned(), Secret::new(value.to_owned())), identity)
    } else {
        let command = external::Command::from_settings(settings, "oauth-token-command")?;
        let identity = command.identify(identity, "oauth-token-command");
        (Holder::Command(command), identity)
    };
    Ok(Box::new(OAuth { holder, identity, installation: opening.installation.clone(), caching: opening.caching }))
}

/// `YC_TOKEN` unless it is an IAM token, as the Terraform provider tells them apart; then `YC_OAUTH_TOKEN`.
fn from_environment(environment: &Environment) -> Option<Found> {
    let is_oauth = environment.get(env::YC_TOKEN).is_some_and(|value| !super::is_iam_token(value));
    if is_oauth {
        return Some((2, vec![("oauth-token-env", env::YC_TOKEN.into())]));
    }
    environment.get(env::YC_OAUTH_TOKEN).map(|_| (3, vec![("oauth-token-env", env::YC_OAUTH_TOKEN.into())]))
}

struct OAuth {
    holder: Holder,
    identity: Identity,
    installation: Installation,
    caching: Caching,
}

enum Holder {
    File(PathBuf),
    Variable(String, Secret),
    Command(external::Command),
}

/// The API's limit on the OAuth token (cloudapi, iam_token_service.proto).
const LONGEST: usize = 4000;

/// Whether a text can be an OAuth token: one word that the API would take.
pub(crate) fn is_oauth_token(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len()) && !text.contains(char::is_whitespace)
}

impl Grant for OAuth {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn caching(&self) -> Caching {
        self.caching
    }

    fn fetch(&self, cx: &Context<'_>) -> Result<Credential> {
        let (text, origin) = match &self.holder {
            Holder::File(path) => {
                let content = files::read_secret(path, cx.notes).map_err(|error| error.context("OAuth token file"))?;
                (Secret::new(content.trim().to_owned()), format!("OAuth token file {}", path.display()))
            }
            Holder::Variable(name, value) => (Secret::new(value.expose().trim().to_owned()), name.clone()),
            Holder::Command(command) => {
                let output = command.run(cx)?;
                (Secret::new(output.expose().trim().to_owned()), command.to_string())
            }
        };
        if !is_oauth_token(text.expose()) {
            return Err(Error::profile(format!("{origin}: does not hold one OAuth token"))
                .hint("it must be the token alone, on one line"));
        }
        iam::create(&self.installation, &iam::Identity::YandexPassportOauthToken(text.expose()), cx).map_err(|error| {
            error
                .context(&origin)
                .hint("OAuth tokens issued since June 2026 are not accepted; use an authorized key: ycred init --key-file FILE")
        })
    }

    fn account(&self) -> Result<String> {
        Ok("the Yandex account that the OAuth token belongs to".into())
    }
}
