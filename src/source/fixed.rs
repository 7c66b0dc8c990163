//! `static`: a token that somebody else keeps fresh, handed on as it is and never cached.

use std::path::PathBuf;

use crate::base::environment as env;
use crate::base::environment::Environment;
use crate::base::error::{Error, Result};
use crate::base::identity::Identity;
use crate::base::secret::Secret;
use crate::base::token::{Credential, Expiry, token_text};
use crate::cloud::Context;
use crate::disk::files;
use crate::profile::Key;
use crate::source::{Caching, Found, Grant, Opening, Source};

pub const SOURCE: Source = Source {
    name: "static",
    about: "a token that is there already, in a file or a variable; never cached",
    keys: &[
        Key { name: "token-file", value: "FILE", about: "the file that holds the IAM token, read anew each time" },
        Key { name: "token-env", value: "VARIABLE", about: "the environment variable that holds it" },
    ],
    max_age: None,
    open,
    from_environment,
};

fn open(opening: &Opening<'_>) -> Result<Box<dyn Grant>> {
    let settings = opening.settings;
    let identity = Identity::of(SOURCE.name);
    let (holder, identity) = match (settings.path("token-file")?, settings.variable("token-env")?) {
        (Some(path), None) => {
            let identity = identity.with_file("token-file", &path);
            (Holder::File(path), identity)
        }
        (None, Some((name, value))) => (
            Holder::Variable(name.to_owned(), Secret::new(value.to_owned())),
            identity.with_secret("token-env", name, value.as_bytes()),
        ),
        _ => {
            return Err(settings
                .missing("source \"static\" needs either `token-file` or `token-env`")
                .hint("write token-file = \"FILE\" into the profile; for `ycred init` it is --token-file FILE"));
        }
    };
    Ok(Box::new(Static { holder, identity }))
}

/// `YC_IAM_TOKEN` before all else; `YC_TOKEN` where it is an IAM token.
fn from_environment(environment: &Environment) -> Option<Found> {
    let variable = |name: &str| vec![("token-env", name.to_owned())];
    if environment.get(env::YC_IAM_TOKEN).is_some() {
        return Some((0, variable(env::YC_IAM_TOKEN)));
    }
    environment.get(env::YC_TOKEN).filter(|value| super::is_iam_token(value)).map(|_| (2, variable(env::YC_TOKEN)))
}

struct Static {
    holder: Holder,
    identity: Identity,
}

enum Holder {
    File(PathBuf),
    Variable(String, Secret),
}

impl Grant for Static {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn caching(&self) -> Caching {
        Caching::Never
    }

    fn fetch(&self, cx: &Context<'_>) -> Result<Credential> {
        let (text, origin) = match &self.holder {
            Holder::File(path) => {
                let content = files::read_secret(path, cx.notes).map_err(|error| error.context("token file"))?;
                (Secret::new(content.trim().to_owned()), format!("token file {}", path.display()))
            }
            Holder::Variable(name, value) => (Secret::new(value.expose().trim().to_owned()), name.clone()),
        };
        let text =
            token_text(text).map_err(|why| Error::profile(format!("{origin}: what it holds is no token: it {why}")))?;
        Credential::new(text, &Expiry::At(None), cx.clock.now(), None, &origin)
    }

    fn account(&self) -> Result<String> {
        Ok("whoever the token belongs to".into())
    }
}
