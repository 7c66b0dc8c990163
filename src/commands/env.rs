//! `env`: prints the changes that `exec` makes to the environment, in the syntax of a shell or of a dotenv file.

use std::time::Duration;

use clap::Arg;

use crate::base::environment::{SHELL, YCRED_PROFILE};
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
    is_plain: true,
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
                set(shell, name, value)?
            }
            Change::SetSecret(name, secret) => set(shell, name, secret.expose())?,
            Change::Unset(name) => unset(shell, name),
        };
        text.push_str(&line);
    }
    Ok(Outcome::reply(Reply::text(text)))
}

/// Returns the line that sets a variable.
///
/// # Errors
/// Usage (2): the readers of dotenv files would not agree on the value.
fn set(shell: &str, name: &str, value: &str) -> Result<String> {
    Ok(match shell {
        "fish" => format!("set -gx {name} '{}';\n", value.replace('\\', "\\\\").replace('\'', "\\'")),
        "powershell" => format!("$Env:{name} = '{}'\n", double_quotes(value)),
        "dotenv" => match value.chars().find(|c| !is_plain(*c)) {
            None if !value.starts_with('=') => format!("{name}={value}\n"),
            odd => return Err(not_plain(name, odd.unwrap_or('='))),
        },
        _ => format!("export {name}='{}';\n", value.replace('\'', "'\\''")),
    })
}

/// Doubles every character that ends a string in single quotes in PowerShell: `'`, and the four typographic ones
/// (about_Quoting_Rules; `IsSingleQuote` in PowerShell's `CharTraits.cs`).
fn double_quotes(value: &str) -> String {
    let mut doubled = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '\'' | '\u{2018}'..='\u{201b}') {
            doubled.push(c);
        }
        doubled.push(c);
    }
    doubled
}

/// Returns true for a character that means itself to every reader of dotenv files, without quotes.
///
/// docker's `--env-file`, `$GITHUB_ENV` and GitLab's reports keep quotes as a part of the value, a shell that sources the
/// file runs what follows a blank, and libraries expand `$` and cut at `#`.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':' | '=' | '@' | '%' | '+' | ',')
}

fn not_plain(name: &str, odd: char) -> Error {
    let odd = if odd == ' ' { "a blank".to_owned() } else { format!("{odd:?}") };
    let error =
        Error::usage(format!("cannot write {name} to a dotenv file: programs read {odd} in a value differently"));
    error.hint(match name {
        YCRED_PROFILE => "use a profile by its name, or one with a plainer path",
        _ => "use the syntax of a shell: --shell sh",
    })
}

fn unset(shell: &str, name: &str) -> String {
    // The name may come from a profile's `token-env`, which can be any string. A shell must not evaluate it.
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_name || name.starts_with(|c: char| c.is_ascii_digit()) {
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
        let set = |shell, value| set(shell, "A", value).expect("a value that the syntax has");
        assert_eq!(set("sh", "it's"), "export A='it'\\''s';\n");
        assert_eq!(set("fish", "it's\\"), "set -gx A 'it\\'s\\\\';\n");
        assert_eq!(set("powershell", "it's"), "$Env:A = 'it''s'\n");
        assert_eq!(
            set("powershell", "\u{2018}a\u{2019};\u{201a}b\u{201b}\u{201c}"),
            "$Env:A = '\u{2018}\u{2018}a\u{2019}\u{2019};\u{201a}\u{201a}b\u{201b}\u{201b}\u{201c}'\n"
        );
        assert_eq!(set("dotenv", "t1.x-Y_z==/a:b@c%d+e,f"), "A=t1.x-Y_z==/a:b@c%d+e,f\n");
        for name in ["A; rm -rf /", "1A", "A-B", "A\nB", "$(x)"] {
            assert_eq!(unset("sh", name), "", "{name}");
        }
    }

    #[test]
    fn a_dotenv_file_has_only_values_that_every_reader_reads_alike() {
        for odd in "'\"\\ \t\n\r#$`;&|<>(){}[]*?!~^".chars().chain(['\u{2019}', 'é', '\u{feff}', '\0']) {
            for value in [format!("/a{odd}b/x.toml"), format!("{odd}a"), format!("a{odd}")] {
                let error = set("dotenv", "A", &value).expect_err("refused");
                assert!(error.kind.exit_code() == 2 && error.render().starts_with("ycred: error: cannot write A to"));
            }
        }
        assert!(set("dotenv", "A", "=ls").is_err(), "zsh would look for a program");
    }
}
