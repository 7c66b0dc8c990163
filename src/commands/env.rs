//! `env`: prints the changes that `exec` makes to the environment, in the syntax of a shell or of a dotenv file.

use std::time::Duration;

use clap::Arg;

use crate::base::environment::SHELL;
use crate::base::error::{Error, Result};
use crate::commands::command::{Command, CommandCall, Group};
use crate::process::flags::Example;
use crate::process::launch::Change;
use crate::process::{Outcome, Reply};
use crate::session::Session;
use crate::session::child_environment::changes;

pub const COMMAND: Command = Command {
    group: Group::Use,
    examples: &[
        Example { call: "eval \"$(ycred env)\"", about: "set the variables in this shell" },
        Example { call: "ycred env --shell dotenv > .env", about: "write them to a file for docker run --env-file" },
    ],
    ..Command::new("env", "print the token as shell variables: eval \"$(ycred env)\"", arguments, run)
};

/// The shells whose syntax ycred can print, and `dotenv` for files.
const SHELLS: [&str; 6] = ["sh", "bash", "zsh", "fish", "powershell", "dotenv"];

fn arguments(command: clap::Command) -> clap::Command {
    command.arg(
        Arg::new("shell")
            .long("shell")
            .value_name("SHELL")
            .help("output syntax [default: fish if $SHELL is fish, else sh]")
            .value_parser(SHELLS),
    )
}

fn run(call: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    let is_fish = || session.environment.get(SHELL).is_some_and(|shell| shell.as_encoded_bytes().ends_with(b"/fish"));
    let shell = call.value("shell").unwrap_or_else(|| if is_fish() { "fish" } else { "sh" });
    let profile = session.profile(&call.profile_by_flag())?;
    let obtained = session.obtain(&profile, &call.options, Duration::ZERO)?;
    let expires = obtained.advertised(session.clock.now());
    let mut text = String::new();
    for change in changes(&profile, &obtained.credential.secret, expires) {
        let line = match &change {
            Change::Set(name, value) => {
                let value = value
                    .to_str()
                    .ok_or_else(|| Error::profile(format!("{profile}: path of the profile is not valid UTF-8")))?;
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
    // The name may come from a profile's `token-env`, which can be any string. A shell must not evaluate it.
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
