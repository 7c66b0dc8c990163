//! `command`: whatever program already knows how to get a token.

use std::time::Duration;

use serde::Deserialize;

use crate::base::error::{Error, Result};
use crate::base::identity::Identity;
use crate::base::secret::Secret;
use crate::base::token::{Credential, Expiry, lenient_moment, token_text};
use crate::cloud::Context;
use crate::obtain::{Caching, Grant};
use crate::sources::program::Program;
use crate::sources::source::{Key, Opening, Source};

pub const SOURCE: Source = Source {
    // Whose token a command gives may change behind our back (`yc config profile activate`).
    max_age: Some(Duration::from_secs(300)),
    ..Source::new("command", "a program that prints a token, such as yc", KEYS, open)
};

const KEYS: &[Key] = &[Key {
    name: "command",
    value: "COMMAND",
    about: "the program and its arguments: [\"yc\", \"iam\", \"create-token\", \"--format\", \"json\"]",
}];

fn open(opening: &Opening<'_>) -> Result<Box<dyn Grant>> {
    if !opening.settings.has("command") {
        return Err(opening
            .settings
            .missing("source \"command\" needs `command`")
            .hint("write command = [\"yc\", \"iam\", \"create-token\", \"--format\", \"json\"]"));
    }
    let command = Program::from_settings(opening.settings, "command")?;
    let identity = command.identify(Identity::of(SOURCE.name), "command");
    Ok(Box::new(CommandGrant { command, identity, caching: opening.caching() }))
}

/// A token and its expiry, from what a command printed.
pub fn parse(text: &str) -> Option<(Secret, Option<String>)> {
    let (token, expiry) = if text.starts_with('{') {
        let CommandOutput { iam_token, expires_at } = serde_json::from_str(text).ok()?;
        (iam_token, expires_at)
    } else {
        // Known as a secret only once it can be one: what a command says in prose is not to blot out our own words.
        (Secret::wrapping(text.to_owned()), None)
    };
    let token = token_text(token).ok()?;
    Some((Secret::new(token.expose().to_owned()), expiry))
}

struct CommandGrant {
    command: Program,
    identity: Identity,
    caching: Caching,
}

/// `yc iam create-token --format json`, and the same in the spelling of the API.
#[derive(Deserialize)]
struct CommandOutput {
    #[serde(alias = "iamToken")]
    iam_token: Secret,
    #[serde(alias = "expiresAt", default, deserialize_with = "lenient_moment")]
    expires_at: Option<String>,
}

impl Grant for CommandGrant {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn caching(&self) -> Caching {
        self.caching
    }

    fn fetch(&self, cx: &Context<'_>) -> Result<Credential> {
        let output = self.command.run(cx)?;
        let text = output.expose().trim();
        let no_token = || {
            Error::refused(format!(
                "{}: what it printed is neither a token nor JSON with iam_token and expires_at",
                self.command
            ))
            .hint("run the command by hand and look at what it prints")
        };
        let (token, expiry) = parse(text).ok_or_else(no_token)?;
        Credential::new(token, &Expiry::At(expiry), cx.clock.now(), None, &self.command.to_string())
    }

    fn account(&self) -> Result<String> {
        Ok(format!("whoever {} is logged in as", self.command))
    }
}
