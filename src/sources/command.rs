//! `command`: any program that prints an IAM token.

use std::time::Duration;

use serde::Deserialize;

use crate::base::error::{Error, Result};
use crate::base::identity::Identity;
use crate::base::secret::Secret;
use crate::base::spelling::unquoted;
use crate::base::token::{Credential, Expiry, check_token, lenient_time};
use crate::cloud::Context;
use crate::obtain::{Caching, Grant};
use crate::sources::program::Program;
use crate::sources::source::{Key, Source, SourceInput};

pub const SOURCE: Source = Source {
    // The account of a command may change without ycred noticing (`yc config profile activate`).
    max_age: Some(Duration::from_secs(300)),
    ..Source::new("command", "a program that prints a token, such as yc", KEYS, open)
};

const KEYS: &[Key] = &[Key {
    name: "command",
    value: "COMMAND",
    about: "program that prints a token; if it takes arguments, use -- PROGRAM ARGUMENT...",
}];

fn open(input: &SourceInput<'_>) -> Result<Box<dyn Grant>> {
    if !input.settings.has("command") {
        return Err(input
            .settings
            .missing("source \"command\" needs `command`")
            .hint("set command = [\"yc\", \"iam\", \"create-token\", \"--format\", \"json\"]"));
    }
    let command = Program::from_settings(input.settings, "command")?;
    let identity = command.identify(Identity::of(SOURCE.name), "command");
    Ok(Box::new(CommandGrant { command, identity, caching: input.caching() }))
}

/// Reads a token and its expiry from a command's output. Returns `None` if the output is neither a token nor JSON.
pub fn parse(output: &str) -> Option<(Secret, Option<String>)> {
    let (token, expiry) = if output.starts_with('{') {
        let CommandOutput { iam_token, expires_at } = serde_json::from_str(output).ok()?;
        (iam_token, expires_at)
    } else {
        // Registered as a secret only after the check below. Otherwise ordinary text in the output, such as an error
        // message, would be redacted from ycred's own messages.
        (Secret::wrapping(output.to_owned()), None)
    };
    let token = check_token(token).ok()?;
    Some((Secret::new(token.expose().to_owned()), expiry))
}

struct CommandGrant {
    command: Program,
    identity: Identity,
    caching: Caching,
}

/// The output of `yc iam create-token --format json`. The API's spelling of the fields is accepted too.
#[derive(Deserialize)]
struct CommandOutput {
    #[serde(alias = "iamToken")]
    iam_token: Secret,
    #[serde(alias = "expiresAt", default, deserialize_with = "lenient_time")]
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
        let output = unquoted(output.expose());
        let no_token = || {
            Error::refused(format!(
                "{}: the output is neither a token nor JSON with iam_token and expires_at",
                self.command
            ))
            .hint("run the command by hand and check its output")
        };
        let (token, expiry) = parse(output).ok_or_else(no_token)?;
        Credential::new(token, &Expiry::At(expiry), cx.clock.now(), None, &self.command.to_string())
    }

    fn runs_program(&self) -> bool {
        true
    }

    fn account(&self) -> Result<String> {
        Ok(format!("the account of {}", self.command))
    }
}
