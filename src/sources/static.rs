//! `static`: an IAM token that another program keeps up to date. ycred passes it through and never caches it.

use crate::base::clock::Timestamp;
use crate::base::environment as env;
use crate::base::environment::Environment;
use crate::base::error::{Error, Result};
use crate::base::identity::Identity;
use crate::base::secret::Secret;
use crate::base::spelling::unquoted;
use crate::base::supplied_token::{SuppliedToken, TOKEN_VARIABLES};
use crate::base::token::{Credential, Expiry, check_token, is_iam_token};
use crate::cloud::Context;
use crate::obtain::{Caching, Grant};
use crate::sources::secret_origin::{Location, Origin, SecretKind};
use crate::sources::source::{Assignment, EnvironmentSettings, Key, Source, SourceInput, Variable};

pub const SOURCE: Source = Source {
    variables: &[Variable { rank: 0, name: env::YC_IAM_TOKEN }, Variable { rank: 2, name: env::YC_TOKEN }],
    from_environment,
    is_passed_through: true,
    ..Source::new("static", "an IAM token in a file or variable, passed through uncached", KEYS, open)
};

/// The key that names the variable with the token.
pub const TOKEN_ENV: &str = "token-env";

const KEYS: &[Key] = &[
    Key { name: "token-file", value: "FILE", about: "file that contains the IAM token; ycred reads it each time" },
    Key { name: TOKEN_ENV, value: "VARIABLE", about: "environment variable that contains the IAM token" },
];

const TOKEN: SecretKind = SecretKind {
    what: "token",
    file: "token-file",
    variable: TOKEN_ENV,
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
    let supplied = match &token.location {
        Location::Variable(name, _) => TOKEN_VARIABLES
            .into_iter()
            .find(|variable| variable == name)
            .and_then(|variable| SuppliedToken::in_variable(settings.environment(), variable)),
        Location::File(_) | Location::Command(_) => None,
    };
    Ok(Box::new(StaticGrant { token, identity, supplied, environment: settings.environment().clone() }))
}

/// Selects this source if `YC_IAM_TOKEN` is set, or if `YC_TOKEN` is an IAM token. Skips a token that `exec` or `env`
/// has supplied and that has expired since.
fn from_environment(environment: &Environment, now: Timestamp) -> Option<EnvironmentSettings> {
    let selects = |variable| {
        let value = environment.get(variable)?;
        match SuppliedToken::in_variable(environment, variable) {
            Some(supplied) => (!supplied.is_expired(now)).then_some(()),
            None => (variable == env::YC_IAM_TOKEN || is_iam_token(value)).then_some(()),
        }
    };
    let Variable { rank, name: variable } = SOURCE.variables.iter().find(|it| selects(it.name).is_some())?;
    let assignments = vec![Assignment::VariableName { key: TOKEN.variable, variable }];
    Some(EnvironmentSettings { rank: *rank, assignments })
}

struct StaticGrant {
    token: Origin,
    identity: Identity,
    /// Set if `exec` or `env` has supplied the token.
    supplied: Option<SuppliedToken>,
    environment: Environment,
}

impl Grant for StaticGrant {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn caching(&self) -> Caching {
        Caching::Never
    }

    fn fetch(&self, cx: &Context<'_>) -> Result<Credential> {
        let token = Secret::new(unquoted(self.token.read(cx)?.expose()).to_owned());
        let origin = self.token.to_string();
        let token = check_token(token).map_err(|why| Error::profile(format!("{origin}: not a token: it {why}")))?;
        let now = cx.clock.now();
        let expiry = match &self.supplied {
            Some(supplied) if supplied.is_expired(now) => return Err(supplied.expired_error(&self.environment, now)),
            Some(supplied) => Expiry::Reported(supplied.expires),
            None => Expiry::At(None),
        };
        Credential::new(token, &expiry, now, None, &origin)
    }

    fn account(&self) -> Result<String> {
        Ok("the account that the token belongs to".into())
    }
}
