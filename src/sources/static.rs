//! `static`: an IAM token that another program keeps up to date. ycred passes it through and never caches it.

use crate::base::environment as env;
use crate::base::environment::Environment;
use crate::base::error::{Error, Result};
use crate::base::identity::Identity;
use crate::base::secret::Secret;
use crate::base::token::{Credential, Expiry, check_token, is_iam_token};
use crate::cloud::Context;
use crate::obtain::{Caching, Grant};
use crate::sources::secret_origin::{Origin, SecretKind};
use crate::sources::source::{Assignment, EnvironmentSettings, Key, Source, SourceInput, Variable};

pub const SOURCE: Source = Source {
    variables: &[Variable { rank: 0, name: env::YC_IAM_TOKEN }, Variable { rank: 2, name: env::YC_TOKEN }],
    from_environment,
    ..Source::new("static", "an IAM token in a file or variable, passed through uncached", KEYS, open)
};

const KEYS: &[Key] = &[
    Key { name: "token-file", value: "FILE", about: "file that contains the IAM token; ycred reads it each time" },
    Key { name: "token-env", value: "VARIABLE", about: "environment variable that contains the IAM token" },
];

const TOKEN: SecretKind = SecretKind {
    what: "token",
    file: "token-file",
    variable: "token-env",
    command: None,
    is_part_of_content: false,
    is_short_lived: false,
};

fn open(input: &SourceInput<'_>) -> Result<Box<dyn Grant>> {
    let settings = input.settings;
    let token = match KEYS.iter().filter(|key| settings.has(key.name)).count() {
        1 => Origin::from_settings(settings, &TOKEN)?,
        _ => None,
    };
    let token = token.ok_or_else(|| {
        settings
            .missing("source \"static\" needs exactly one of `token-file` and `token-env`")
            .hint("set token-file = \"FILE\" in the profile, or pass --token-file FILE to `ycred init`")
    })?;
    let identity = token.identify(Identity::of(SOURCE.name));
    Ok(Box::new(StaticGrant { token, identity }))
}

/// Selects this source if `YC_IAM_TOKEN` is set, or if `YC_TOKEN` is an IAM token.
fn from_environment(environment: &Environment) -> Option<EnvironmentSettings> {
    let settings = |rank, variable| {
        Some(EnvironmentSettings {
            rank,
            assignments: vec![Assignment::VariableName { key: TOKEN.variable, variable }],
        })
    };
    if environment.get(env::YC_IAM_TOKEN).is_some() {
        return settings(0, env::YC_IAM_TOKEN);
    }
    environment.get(env::YC_TOKEN).filter(|value| is_iam_token(value)).and_then(|_| settings(2, env::YC_TOKEN))
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
        let token = Secret::new(self.token.read(cx)?.expose().trim().to_owned());
        let origin = self.token.to_string();
        let token = check_token(token).map_err(|why| Error::profile(format!("{origin}: not a token: it {why}")))?;
        Credential::new(token, &Expiry::At(None), cx.clock.now(), None, &origin)
    }

    fn account(&self) -> Result<String> {
        Ok("the account that the token belongs to".into())
    }
}
