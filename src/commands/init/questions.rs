//! The questions of `init` at a terminal: the kind of account, its file or ID, and the name of the profile. None asks for a
//! secret, and nothing is written before the last answer.

use std::time::Duration;

use crate::base::environment::CI;
use crate::base::error::{Error, Result, clean};
use crate::base::mask;
use crate::base::secret::Secret;
use crate::commands::command::CommandCall;
use crate::process::painting::Colour;
use crate::process::stdin::Lines;
use crate::session::Session;

/// A kind of account that `init` offers.
struct AccountKind {
    about: &'static str,
    source: &'static str,
    question: Option<Question>,
}

/// The question for a setting of the source.
struct Question {
    key: &'static str,
    text: &'static str,
    is_optional: bool,
}

/// The sources that one answer configures. The others need more, and are described by `ycred init --help`.
const KINDS: &[AccountKind] = &[
    AccountKind {
        about: "a service account, with an authorized key in a file",
        source: "authorized-key",
        question: Some(Question { key: "key-file", text: "Path of the key file", is_optional: false }),
    },
    AccountKind {
        about: "the service account of this virtual machine, function or container",
        source: "metadata",
        question: None,
    },
    AccountKind {
        about: "your own account, with a login in the browser",
        source: "login",
        question: Some(Question {
            key: "federation-id",
            text: "ID of the identity federation, or nothing for a Yandex account",
            is_optional: true,
        }),
    },
];

/// How many wrong answers end the dialogue.
const WRONG_MAX: usize = 5;
/// The longest answer, in bytes.
const LONGEST: usize = 4096;
/// How long to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// The answers of a person.
pub struct Answers {
    pub source: &'static str,
    /// The key and the value of the source's setting.
    pub setting: Option<(&'static str, String)>,
}

/// Returns true if a person can be asked: stdin and stderr are a terminal, and nothing says that no person is there.
pub fn may_ask(call: &CommandCall, session: &Session<'_>) -> bool {
    let is_refused = call.matches.get_flag("no-input") || call.matches.get_flag("json");
    !is_refused && session.environment.get(CI).is_none() && session.is_terminal()
}

/// A dialogue with the person at the terminal.
pub struct Dialogue<'a> {
    session: &'a Session<'a>,
    lines: Lines,
    wrong: usize,
}

impl<'a> Dialogue<'a> {
    pub fn new(session: &'a Session<'a>) -> Self {
        Self { session, lines: Lines::new(LONGEST, PATIENCE), wrong: 0 }
    }

    fn print(&self, text: &str) {
        (self.session.print_stderr)(text);
    }

    /// Prints a question and reads the answer, without white space around it. Returns `None` at the end of input.
    ///
    /// # Errors
    /// Usage (2): the answer cannot be read.
    pub fn ask(&mut self, question: &str) -> Result<Option<String>> {
        self.print(&format!("{} ", self.session.look.coloured(&clean(question), Colour::Heading)));
        let line = self.session.next_line(&mut self.lines).map_err(|_| {
            Error::usage("the answer is too long or cannot be read; no profile was created").hint(OTHER_WAY)
        })?;
        let Some(line) = line else {
            // The next message begins on a line of its own.
            self.print("\n");
            return Ok(None);
        };
        Ok(Some(String::from_utf8_lossy(&line).trim().to_owned()))
    }

    /// Asks until `check` accepts the answer.
    ///
    /// # Errors
    /// Usage (2): the input has ended, or too many answers were wrong.
    fn ask_until<T>(&mut self, question: &str, check: impl Fn(&str) -> Result<T>) -> Result<T> {
        loop {
            let answer = self.ask(question)?.ok_or_else(|| {
                Error::usage("the input ended before the last answer; no profile was created").hint(OTHER_WAY)
            })?;
            if mask::looks_like_secret(&answer) {
                // The terminal has shown it, but no message repeats it.
                let _masked = Secret::new(answer);
                self.reject("that looks like a secret; ycred asks for no secret")?;
                continue;
            }
            match check(&answer) {
                Ok(result) => return Ok(result),
                Err(error) => self.reject(&error.reason())?,
            }
        }
    }

    /// Says why an answer does not count.
    fn reject(&mut self, why: &str) -> Result<()> {
        self.wrong += 1;
        // The person knows neither the flag nor that a profile was tried.
        let why = why.trim_start_matches("profile not created: ").trim_start_matches("--key-file: ");
        self.print(&format!("  {}\n", self.session.look.coloured(&clean(why), Colour::Bad)));
        match self.wrong < WRONG_MAX {
            true => Ok(()),
            false => {
                Err(Error::usage(format!("{WRONG_MAX} answers were not valid; no profile was created")).hint(OTHER_WAY))
            }
        }
    }

    /// Asks for the account. `check` reports what is wrong with the answers before the next question.
    ///
    /// # Errors
    /// As [`Self::ask_until`].
    pub fn ask_account(&mut self, check: impl Fn(&Answers) -> Result<()>) -> Result<Answers> {
        self.print("Which account should ycred get tokens for?\n");
        for (number, kind) in KINDS.iter().enumerate() {
            self.print(&format!("  {}  {}\n", number + 1, kind.about));
        }
        self.print("For other sources, see `ycred init --help`. Ctrl-C ends this, and no profile is created.\n");
        let kind = self.ask_until(&format!("Number [1-{}]:", KINDS.len()), |answer| {
            let numbered = answer.parse::<usize>().ok().and_then(|number| KINDS.get(number.checked_sub(1)?));
            let kind = numbered.or_else(|| KINDS.iter().find(|kind| kind.source == answer));
            let kind = kind.ok_or_else(|| Error::usage(format!("answer with a number from 1 to {}", KINDS.len())))?;
            match kind.question {
                Some(_) => {}
                None => check(&Answers { source: kind.source, setting: None })?,
            }
            Ok(kind)
        })?;
        let Some(question) = &kind.question else { return Ok(Answers { source: kind.source, setting: None }) };
        self.ask_until(&format!("{}:", question.text), |answer| {
            // Terminals quote the path of a file that is dropped on them.
            let quoted = ['\'', '"'].iter().find_map(|quote| answer.strip_prefix(*quote)?.strip_suffix(*quote));
            let answer = quoted.unwrap_or(answer);
            let setting = match (answer, question.is_optional) {
                ("", true) => None,
                ("", false) => return Err(Error::usage("an answer is required")),
                _ => Some((question.key, answer.to_owned())),
            };
            let answers = Answers { source: kind.source, setting };
            check(&answers).map(|()| answers)
        })
    }

    /// Asks for the name of the profile. `check` reports a name that is not valid or taken.
    ///
    /// # Errors
    /// As [`Self::ask_until`].
    pub fn ask_name(&mut self, default: &str, check: impl Fn(&str) -> Result<()>) -> Result<String> {
        let suggested = check(default).is_ok().then_some(default);
        let question = match suggested {
            Some(default) => format!("Name of the profile [{default}]:"),
            None => "Name of the profile:".to_owned(),
        };
        self.ask_until(&question, |answer| match (answer, suggested) {
            ("", Some(default)) => Ok(default.to_owned()),
            ("", None) => Err(Error::usage(format!("a name is required, because {default} exists"))),
            (name, _) => check(name).map(|()| name.to_owned()),
        })
    }

    /// Asks a question that has the answer no by default, also at the end of input.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn confirm(&mut self, question: &str) -> Result<Option<bool>> {
        let answer = self.ask(&format!("{question} [y/N]"))?;
        Ok(answer.map(|answer| matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes")))
    }
}

const OTHER_WAY: &str = "run `ycred init` again, or pass the answers: ycred init NAME --key-file FILE";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources;

    #[test]
    fn every_kind_is_a_source_and_its_question_sets_one_of_its_keys() {
        for kind in KINDS {
            let source = sources::named(kind.source).expect("a source");
            if let Some(question) = &kind.question {
                let key = source.keys.iter().find(|key| key.name == question.key).expect("a key of the source");
                assert!(["FILE", "ID"].contains(&key.value), "{} asks for more than a file or an ID", kind.source);
            }
        }
    }
}
