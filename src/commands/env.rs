//! `env`: the same changes as `exec`, as text for a shell to evaluate, or for a file that is read like one.

use std::time::Duration;

use clap::Arg;

use crate::base::environment::SHELL;
use crate::base::error::{Error, Result};
use crate::commands::command::{Command, CommandCall};
use crate::process::launch::Change;
use crate::process::{Outcome, Reply};
use crate::session::Session;
use crate::session::child::changes;

pub const COMMAND: Command =
    Command::new("env", "print the token as variables for a shell: eval \"$(ycred env)\"", arguments, run);

fn arguments(command: clap::Command) -> clap::Command {
    command.arg(
        Arg::new("shell")
            .long("shell")
            .value_name("SHELL")
            .help("sh, fish, powershell or dotenv; default by $SHELL")
            .value_parser(["sh", "fish", "powershell", "dotenv"]),
    )
}

fn run(call: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    let from_environment =
        || session.environment.get(SHELL).is_some_and(|shell| shell.as_encoded_bytes().ends_with(b"/fish"));
    let shell = call.text("shell").unwrap_or_else(|| if from_environment() { "fish" } else { "sh" });
    let profile = session.profile(&call.wanted())?;
    let obtained = session.obtain(&profile, &call.options, Duration::ZERO)?;
    let expires = obtained.advertised(session.clock.now());
    let mut text = String::new();
    for change in changes(&profile, &obtained.credential.secret, expires) {
        let line = match &change {
            Change::Set(name, value) => {
                let value =
                    value.to_str().ok_or_else(|| Error::profile(format!("{profile}: its path is not plain text")))?;
                set(shell, name, value)
            }
            Change::SetSecret(name, secret) => set(shell, name, secret.expose()),
            Change::Unset(name) => unset(shell, name),
        };
        text.push_str(&line);
    }
    Ok(Outcome::reply(Reply::text(text)))
}

fn set(shell: &str, name: &str, value: &str) -> String {
    match shell {
        "fish" => format!("set -gx {name} '{}';\n", value.replace('\\', "\\\\").replace('\'', "\\'")),
        "powershell" => format!("$Env:{name} = '{}'\n", value.replace('\'', "''")),
        "dotenv" => format!("{name}='{}'\n", value.replace('\\', "\\\\").replace('\'', "\\'")),
        _ => format!("export {name}='{}';\n", value.replace('\'', "'\\''")),
    }
}

fn unset(shell: &str, name: &str) -> String {
    // A name that is none (a profile's `token-env` can be anything) is not for a shell to read.
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return String::new();
    }
    match shell {
        "fish" => format!("set -e {name};\n"),
        "powershell" => format!("Remove-Item -ErrorAction Ignore Env:{name}\n"),
        "dotenv" => String::new(),
        _ => format!("unset {name};\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_for_each_shell() {
        assert_eq!(set("sh", "A", "it's"), "export A='it'\\''s';\n");
        assert_eq!(set("fish", "A", "it's\\"), "set -gx A 'it\\'s\\\\';\n");
        assert_eq!(set("powershell", "A", "it's"), "$Env:A = 'it''s'\n");
        assert_eq!(set("dotenv", "A", "x"), "A='x'\n");
        assert_eq!(unset("sh", "A; rm -rf /"), "");
    }
}
