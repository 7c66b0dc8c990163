//! Opens a URL in a browser.

use crate::base::environment::{BROWSER, Environment};
use crate::base::error::{Result, clean, describe};
use crate::system::browser::URL_OPENERS;
use crate::system::{self, programs};
use std::ffi::OsString;
use std::process::{Child, Stdio};

/// Returns the command lines to try, in order: those in `$BROWSER`, or else those of the operating system.
fn browser_commands(url: &str, environment: &Environment, openers: &[&[&str]]) -> Vec<Vec<OsString>> {
    let Some(chosen) = environment.get(BROWSER) else {
        let with_url = |command: &&[&str]| command.iter().copied().chain([url]).map(OsString::from).collect();
        return openers.iter().map(with_url).collect();
    };
    // The path of an existing file is one program, even if it contains spaces or colons.
    if std::path::Path::new(chosen).is_file() {
        return vec![vec![chosen.to_owned(), url.into()]];
    }
    let text = chosen.to_string_lossy();
    // Windows has drives in paths.
    let separator = if cfg!(windows) { ';' } else { ':' };
    let commands = text.split(separator).filter(|command| !command.trim().is_empty());
    commands
        .map(|command| {
            let mut arguments: Vec<OsString> =
                command.split_whitespace().map(|argument| argument.replace("%s", url).into()).collect();
            if !command.contains("%s") {
                arguments.push(url.into());
            }
            arguments
        })
        .collect()
}

/// Starts a browser that may outlive ycred.
///
/// It does not inherit the standard streams, because stdout is a protocol channel. It runs in its own process group, so
/// Ctrl-C in ycred's terminal does not end it.
///
/// # Errors
/// Why no browser could be started.
pub(super) fn open_browser(url: &str, environment: &Environment) -> Result<Child, String> {
    system::signals::reset_sigchld();
    let mut reason = String::new();
    for command_line in browser_commands(url, environment, URL_OPENERS) {
        let Some((program, arguments)) = command_line.split_first() else { continue };
        let mut command = match programs::command(program) {
            Ok(command) => command,
            Err(error) => {
                reason = format!("{}: {}", program.to_string_lossy(), describe(&error));
                continue;
            }
        };
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        system::process::in_own_group(&mut command);
        system::signals::restore_signals(&mut command);
        match command.spawn() {
            Ok(child) => return Ok(child),
            Err(error) => reason = format!("{}: {}", program.to_string_lossy(), describe(&error)),
        }
    }
    Err(clean(&format!("cannot start a browser ({reason})")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::browser::{LINUX, MACOS, WINDOWS};

    #[test]
    fn the_browser_variable_is_parsed_like_xdg_open_does() {
        let lines = |value: &str| {
            let environment = Environment::new([(BROWSER.into(), value.into())]);
            let join = |command: Vec<OsString>| command.join(std::ffi::OsStr::new(" ")).to_string_lossy().into_owned();
            browser_commands("http://x/", &environment, &[]).into_iter().map(join).collect::<Vec<_>>()
        };
        assert_eq!(lines("firefox"), ["firefox http://x/"]);
        assert_eq!(lines("a --new %s -q:b"), ["a --new http://x/ -q", "b http://x/"]);
    }

    #[test]
    fn every_system_gets_the_url_as_one_argument_without_a_shell() {
        let url = "https://auth.example/?a=b&c=d e";
        let lines = |openers| browser_commands(url, &Environment::default(), openers);
        assert_eq!(lines(MACOS), [["open", url]]);
        assert_eq!(lines(WINDOWS), [["rundll32.exe", "url.dll,FileProtocolHandler", url]]);
        assert_eq!(lines(LINUX), [vec!["xdg-open", url], vec!["gio", "open", url], vec!["wslview", url]]);
        assert!([LINUX, MACOS, WINDOWS].contains(&URL_OPENERS));
    }
}
