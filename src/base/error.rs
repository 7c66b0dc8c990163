//! Errors, their exit codes, and the only renderer of messages.
//!
//! A message is one `ycred: error: ` line with the causes joined by colons, and at most one `ycred: hint: ` line that
//! says how to fix it. Messages start in lower case and have no full stop. [`clean`] filters all text from servers,
//! files and commands, so that no terminal escape and no secret is printed.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::base::mask::mask_secret_formats;
use crate::base::secret::Secret;

/// Failures, grouped by what the caller should do next. The number is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The cloud rejected the request, and will do so again until somebody fixes the cause.
    Refused = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The profile or a file that it names is wrong, or a TLS certificate is not trusted.
    Profile = 3,
    /// Temporary: the same call may succeed later.
    Unavailable = 4,
    /// A bug in ycred. For a hook also a reply that could not be written, because its client cannot go on without it.
    Internal = 5,
}

impl Kind {
    pub fn exit_code(self) -> u8 {
        self as u8
    }

    /// Returns the kind for a stored exit code. An unknown code counts as temporary.
    pub fn from_exit_code(code: u8) -> Self {
        [Self::Refused, Self::Usage, Self::Profile, Self::Internal]
            .into_iter()
            .find(|kind| kind.exit_code() == code)
            .unwrap_or(Self::Unavailable)
    }
}

/// A failure: its kind, the message, and an optional hint that says how to fix it.
#[derive(Clone, Debug)]
pub struct Error {
    pub kind: Kind,
    message: String,
    hint: Option<String>,
    /// How long to wait before the next request, as requested by the server (`Retry-After`).
    pub retry_after: Option<Duration>,
    /// The cloud's clock minus this machine's clock in milliseconds, from the `Date` of a rejection.
    pub clock_skew: Option<i64>,
    /// The HTTP status, if a server responded.
    pub status: Option<u16>,
    /// The request failed before its first byte was written, so no server has acted on it.
    pub is_unsent: bool,
    /// The time limit was reached. A longer one may help.
    pub has_timed_out: bool,
    /// Another process continues the work, so the same call may succeed at any time.
    pub is_pending: bool,
    /// The source has made one attempt of several, and has released a lock that others wait for. The call may make the next one.
    pub may_try_again: bool,
    /// The cloud itself has answered, with an error object of IAM or OAuth. Any other failure depends on this process:
    /// its proxy, its network, a program that it ran.
    pub is_answer: bool,
    /// It says nothing about other processes: its cause is a limit of this one, or it is from the record of another one, where
    /// all others find it too.
    pub is_unshared: bool,
    /// Another machine caused it, so finding it again costs a connection.
    pub is_remote: bool,
    /// Clients compare the whole message, so it is printed unchanged.
    pub is_verbatim: bool,
    /// Machine-readable details from the auth host.
    pub auth: Box<AuthHostDetails>,
}

/// The machine-readable details of a rejection by the auth host.
#[derive(Clone, Debug, Default)]
pub struct AuthHostDetails {
    /// The error code, such as `invalid_grant` (RFC 6749, 5.2).
    pub code: Option<String>,
    /// The nonce for the next proof of possession (`DPoP-Nonce`, RFC 9449, 8).
    pub dpop_nonce: Option<String>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            retry_after: None,
            clock_skew: None,
            status: None,
            is_unsent: false,
            is_pending: false,
            has_timed_out: false,
            may_try_again: false,
            is_answer: false,
            is_unshared: false,
            is_remote: false,
            is_verbatim: false,
            auth: Box::default(),
        }
    }
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, message)
    }
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }
    pub fn profile(message: impl Into<String>) -> Self {
        Self::new(Kind::Profile, message)
    }
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, message)
    }
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// Returns the error for a file or directory of ycred that cannot be read, written or deleted.
    ///
    /// Its kind is Unavailable if the cause may pass, and Profile if somebody must change the place.
    pub fn of_disk(message: impl Into<String>, cause: &io::Error) -> Self {
        use io::ErrorKind as E;
        let (kind, hint) = match cause.kind() {
            E::PermissionDenied | E::NotADirectory | E::IsADirectory | E::AlreadyExists => {
                let hint = match cfg!(windows) {
                    true => "check who can access it: icacls, for the path and each directory above it",
                    false => "check the owner and the mode: ls -ld, for the path and each directory above it",
                };
                (Kind::Profile, hint)
            }
            E::ReadOnlyFilesystem => (Kind::Profile, "use a directory on a file system that can be written"),
            // Made by ycred, not by the system: no directory could be determined, or a lock file cannot be used.
            E::Other => return Self::new(Kind::Profile, message).because(describe(cause)),
            E::StorageFull | E::QuotaExceeded => (Kind::Unavailable, "free some disk space, then try again"),
            _ => (Kind::Unavailable, "check the disk, then try again"),
        };
        Self::new(kind, message).because(describe(cause)).hint(hint)
    }

    /// Adds a hint, unless there is one already: the first hint was given closest to the cause.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Replaces the hint, for a caller that knows more than the code that raised the error.
    #[must_use]
    pub fn replace_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Changes the hint, if there is one.
    #[must_use]
    pub fn map_hint(mut self, change: impl FnOnce(String) -> String) -> Self {
        self.hint = self.hint.map(change);
        self
    }

    /// Appends the cause.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.message = format!("{}: {cause}", self.message);
        self
    }

    /// Prepends the operation that failed.
    #[must_use]
    pub fn context(mut self, operation: impl fmt::Display) -> Self {
        self.message = format!("{operation}: {}", self.message);
        self
    }

    /// Marks the error as a timeout. The hint says how to allow more time.
    #[must_use]
    pub fn timed_out(self) -> Self {
        Self { has_timed_out: true, ..self }
            .hint("try again, or allow more time with --timeout or `timeout` in the profile")
    }

    /// Returns true if the server has certainly not used a secret in the request: nothing was sent, or it was too busy.
    pub fn left_secret_unused(&self) -> bool {
        self.is_unsent || matches!(self.status, Some(429 | 503))
    }

    /// Returns true if the time limit was reached before there was a connection.
    pub fn has_got_no_connection(&self) -> bool {
        self.has_timed_out && self.is_unsent
    }

    /// Marks the error as one that occurred before anything was sent.
    #[must_use]
    pub fn unsent(self) -> Self {
        Self { is_unsent: true, ..self }
    }

    /// Marks the error as one that says nothing about other processes.
    #[must_use]
    pub fn unshared(self) -> Self {
        Self { is_unshared: true, ..self }
    }

    /// Marks the error as one that another machine caused.
    #[must_use]
    pub fn caused_elsewhere(self) -> Self {
        Self { is_remote: true, ..self }
    }

    /// Marks the message as one that clients compare as a whole.
    #[must_use]
    pub fn verbatim(self) -> Self {
        Self { is_verbatim: true, ..self }
    }

    #[must_use]
    pub fn retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    /// Returns the cleaned message without prefix, for protocols with their own error field and for the cache.
    pub fn reason(&self) -> String {
        cap(&clean(&self.message), LINE_MAX)
    }

    /// Returns the cleaned hint without prefix.
    pub fn hint_text(&self) -> Option<String> {
        self.hint.as_deref().map(|hint| cap(&clean(hint), LINE_MAX))
    }

    /// Returns the lines for stderr, each with a line feed at the end.
    pub fn render(&self) -> String {
        let mut lines = line("error", &self.message);
        if let Some(hint) = &self.hint {
            lines.push_str(&line("hint", hint));
        }
        lines
    }
}

/// Returns one line for stderr, `ycred: LABEL: MESSAGE`, cleaned and shortened.
pub fn line(label: &str, message: &str) -> String {
    let mut line = cap(&format!("ycred: {label}: {}", clean(message)), LINE_MAX);
    line.push('\n');
    line
}

/// Describes an I/O error, without the error number that std adds.
pub fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".into(),
        io::ErrorKind::PermissionDenied if error.raw_os_error().is_some() => "permission denied".into(),
        io::ErrorKind::StorageFull => "the disk is full".into(),
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only".into(),
        _ => {
            // For example "File too large (os error 27)".
            let message = error.to_string();
            message.split(" (os error").next().unwrap_or_default().to_owned()
        }
    }
}

/// The maximum length of a line, in characters.
const LINE_MAX: usize = 500;

fn cap(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let mut shortened: String = text.chars().take(max - 1).collect();
    shortened.push('…');
    shortened
}

/// Makes foreign text safe to print: one line, no control characters, no secrets.
pub fn clean(text: &str) -> String {
    let single_line = strip_controls(text);
    mask_secret_formats(&Secret::mask_known(&single_line))
}

/// Removes terminal escape sequences and bidirectional controls. Turns line breaks and other C0/C1 controls into a
/// space.
fn strip_controls(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            // CSI … final byte; OSC … BEL or ST (ECMA-48).
            '\u{1b}' => match chars.peek() {
                Some('[') => {
                    chars.next();
                    while chars.next_if(|c| !('\u{40}'..='\u{7e}').contains(c)).is_some() {}
                    chars.next();
                }
                Some(']') => while chars.next_if(|c| !matches!(c, '\u{7}' | '\u{1b}')).is_some() {},
                _ => {}
            },
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {}
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                if !out.ends_with(' ') && !out.is_empty() {
                    out.push(' ');
                }
            }
            c => out.push(c),
        }
    }
    out.truncate(out.trim_end().len());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_and_one_hint() {
        let error =
            Error::profile("profile \"prod\"").because("key file is gone").hint("run ycred init").hint("second");
        assert_eq!(error.render(), "ycred: error: profile \"prod\": key file is gone\nycred: hint: run ycred init\n");
        assert_eq!(error.kind.exit_code(), 3);
    }

    #[test]
    fn control_characters_and_escape_sequences_are_removed() {
        let input = "a\u{1b}[31mb\r\nc\u{1b}]0;title\u{7}d\u{202e}e\u{9b}f\tg\0h";
        assert_eq!(clean(input), "ab c de f g h");
        let line = line("error", input);
        assert!(line.trim_end_matches('\n').chars().all(|c| !c.is_control()));
    }

    #[test]
    fn a_line_has_at_most_500_characters() {
        let rendered = Error::refused("ж".repeat(2000)).render();
        assert_eq!(rendered.trim_end().chars().count(), 500);
        assert!(rendered.ends_with("…\n"));
    }

    #[test]
    fn exit_codes_convert_back_to_kinds() {
        for kind in [Kind::Refused, Kind::Usage, Kind::Profile, Kind::Unavailable, Kind::Internal] {
            assert_eq!(Kind::from_exit_code(kind.exit_code()), kind);
        }
    }
}
