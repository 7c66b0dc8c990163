//! Opens a URL in a browser.

use crate::base::environment::{BROWSER, Environment};
use crate::base::error::{Result, clean, describe};
use crate::system::{self, URL_OPENERS};
use std::ffi::OsString;
use std::process::{Child, Command, Stdio};

/// The command lines to try.
fn browsers(url: &str, environment: &Environment) -> Vec<Vec<OsString>> {
    let Some(chosen) = environment.get(BROWSER) else {
        let with_url = |words: &&[&str]| words.iter().copied().chain([url]).map(OsString::from).collect();
        return URL_OPENERS.iter().map(with_url).collect();
    };
    // A path with blanks in it is a program nevertheless.
    if std::path::Path::new(chosen).is_file() {
        return vec![vec![chosen.to_owned(), url.into()]];
    }
    let text = chosen.to_string_lossy();
    let commands = text.split(':').filter(|command| !command.trim().is_empty());
    commands
        .map(|command| {
            let mut words: Vec<OsString> =
                command.split_whitespace().map(|word| word.replace("%s", url).into()).collect();
            if !command.contains("%s") {
                words.push(url.into());
            }
            words
        })
        .collect()
}

/// Starts a browser that outlives us and has nothing of ours: stdout is a protocol channel, and Ctrl-C here is not meant
/// for it.
pub(super) fn open_browser(url: &str, environment: &Environment) -> Result<Child, String> {
    system::signals::reset_sigchld();
    let mut why = String::new();
    for words in browsers(url, environment) {
        let Some((program, arguments)) = words.split_first() else { continue };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        system::process::in_own_group(&mut command);
        system::signals::restore_signals(&mut command);
        match command.spawn() {
            Ok(child) => return Ok(child),
            Err(error) => why = format!("{}: {}", program.to_string_lossy(), describe(&error)),
        }
    }
    Err(clean(&format!("no browser can be started ({why})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browser_variable_is_read_as_xdg_open_reads_it() {
        let lines = |value: &str| {
            let environment = Environment::new([(BROWSER.into(), value.into())]);
            let join = |words: Vec<OsString>| words.join(std::ffi::OsStr::new(" ")).to_string_lossy().into_owned();
            browsers("http://x/", &environment).into_iter().map(join).collect::<Vec<_>>()
        };
        assert_eq!(lines("firefox"), ["firefox http://x/"]);
        assert_eq!(lines("a --new %s -q:b"), ["a --new http://x/ -q", "b http://x/"]);
        assert_eq!(browsers("u", &Environment::default()).len(), URL_OPENERS.len());
    }
}
