//! `static`: a token that somebody else keeps fresh, handed on as it is and never cached.

use crate::base::environment as env;
use crate::base::environment::Environment;
use crate::base::error::{Error, Result};
use crate::base::identity::Identity;
use crate::base::secret::Secret;
use crate::base::token::{Credential, Expiry, is_iam_token, token_text};
use crate::cloud::Context;
use crate::obtain::{Caching, Grant};
use crate::sources::origin::{Origin, SecretKind};
use crate::sources::source::{Assignment, EnvironmentSettings, Key, Opening, Source, Variable};

pub const SOURCE: Source = Source {
    variables: &[Variable { rank: 0, name: env::YC_IAM_TOKEN }, Variable { rank: 2, name: env::YC_TOKEN }],
    from_environment,
    ..Source::new("static", "a token that is there already, in a file or a variable; never cached", KEYS, open)
};

const KEYS: &[Key] = &[
    Key { name: "token-file", value: "FILE", about: "the file that holds the IAM token, read anew each time" },
    Key { name: "token-env", value: "VARIABLE", about: "the environment variable that holds it" },
];

const TOKEN: SecretKind = SecretKind {
    what: "token",
    file: "token-file",
    variable: "token-env",
    command: None,
    is_document: false,
    is_short_lived: false,
};

fn open(opening: &Opening<'_>) -> Result<Box<dyn Grant>> {
    let settings = opening.settings;
    let token = match KEYS.iter().filter(|key| settings.has(key.name)).count() {
        1 => Origin::from_settings(settings, &TOKEN)?,
        _ => None,
    };
    let token = token.ok_or_else(|| {
        settings
            .missing("source \"static\" needs either `token-file` or `token-env`")
            .hint("write token-file = \"FILE\" into the profile; for `ycred init` it is --token-file FILE")
    })?;
    let identity = token.identify(Identity::of(SOURCE.name));
    Ok(Box::new(StaticGrant { token, identity }))
}

/// `YC_IAM_TOKEN` before all else; `YC_TOKEN` where it is an IAM token.
fn from_environment(environment: &Environment) -> Option<EnvironmentSettings> {
    let found = |rank, variable| {
        Some(EnvironmentSettings { rank, assignments: vec![Assignment::Secret { key: TOKEN.variable, variable }] })
    };
    if environment.get(env::YC_IAM_TOKEN).is_some() {
        return found(0, env::YC_IAM_TOKEN);
    }
    environment.get(env::YC_TOKEN).filter(|value| is_iam_token(value)).and_then(|_| found(2, env::YC_TOKEN))
}

struct StaticGrant {
    token: Origin,
    identity: Identity,
}

impl Grant for StaticGrant {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn caching(&self) -> Caching {
        Caching::Never
    }

    fn fetch(&self, cx: &Context<'_>) -> Result<Credential> {
        let text = Secret::new(self.token.read(cx)?.expose().trim().to_owned());
        let origin = self.token.to_string();
        let text =
            token_text(text).map_err(|why| Error::profile(format!("{origin}: what it holds is no token: it {why}")))?;
        Credential::new(text, &Expiry::At(None), cx.clock.now(), None, &origin)
    }

    fn account(&self) -> Result<String> {
        Ok("whoever the token belongs to".into())
    }
}
