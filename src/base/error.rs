//! What went wrong, what the caller should do next (the exit code), and the one place that turns either into text.
//!
//! The voice: `ycred: error: ` and a line that says why, cause after cause joined by colons; then at most one `ycred:
//! hint: ` line with what mends it. No capital at the start, no full stop at the end. Whatever a server, a file or a
//! command contributed passes through [`clean`], so no terminal escape and no secret gets out this way.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::base::secret::Secret;

/// Failures by what the caller should do next; the number is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The cloud said no, and will again until a person acts.
    Refused = 1,
    /// The command line was wrong.
    Usage = 2,
    /// The profile, a file that it names, or the trust in a TLS certificate is wrong.
    Profile = 3,
    /// Not now; the same call may work later.
    Unavailable = 4,
    /// A defect of ycred, or an output that could not be written.
    Internal = 5,
}

impl Kind {
    pub fn exit_code(self) -> u8 {
        self as u8
    }

    /// The way back from a stored exit code; anything unknown is "try again".
    pub fn from_exit_code(code: u8) -> Self {
        [Self::Refused, Self::Usage, Self::Profile, Self::Internal]
            .into_iter()
            .find(|kind| kind.exit_code() == code)
            .unwrap_or(Self::Unavailable)
    }
}

/// A failure: its kind, the line that says why, and perhaps the line that mends it.
#[derive(Clone, Debug)]
pub struct Error {
    pub kind: Kind,
    message: String,
    hint: Option<String>,
    /// How long the server asked us to stay away (`Retry-After`).
    pub retry_after: Option<Duration>,
    /// The cloud's `Date` at the moment of a refusal, less this machine's clock, in milliseconds.
    pub clock_skew: Option<i64>,
    /// What a server answered, in HTTP's number; none where there was no answer.
    pub status: Option<u16>,
    /// Time ran out: it may go better with more of it.
    pub has_timed_out: bool,
    /// Clients compare this message whole, so that it is shown as it is.
    pub is_verbatim: bool,
    /// What the auth host says besides.
    pub auth: Box<AuthHost>,
}

/// What the auth host says with a refusal, for programs.
#[derive(Clone, Debug, Default)]
pub struct AuthHost {
    /// Its word for it (RFC 6749, 5.2): `invalid_grant`.
    pub code: Option<String>,
    /// What it wants to see in the next proof of possession (`DPoP-Nonce`, RFC 9449, 8).
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
            has_timed_out: false,
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

    /// The command or change that mends it; the first one given stays, since it was nearest to the cause.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// The mend of one who knows better than whoever raised it.
    #[must_use]
    pub fn replace_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Appends the cause.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.message = format!("{}: {cause}", self.message);
        self
    }

    /// Puts what was being done in front.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// Time ran out; the hint says how to give it more.
    #[must_use]
    pub fn timed_out(self) -> Self {
        Self { has_timed_out: true, ..self }.hint("try again; --timeout or `timeout` in the profile gives it longer")
    }

    /// Clients compare the message whole.
    #[must_use]
    pub fn verbatim(self) -> Self {
        Self { is_verbatim: true, ..self }
    }

    #[must_use]
    pub fn retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    /// The reason, cleaned, without prefix: for protocols that carry a message of their own, and for the cache.
    pub fn reason(&self) -> String {
        cap(&clean(&self.message), LINE)
    }

    /// The mend, cleaned, without prefix.
    pub fn hint_text(&self) -> Option<String> {
        self.hint.as_deref().map(|hint| cap(&clean(hint), LINE))
    }

    /// The lines for stderr, each ending in a line feed.
    pub fn render(&self) -> String {
        let mut text = line("error", &self.message);
        if let Some(hint) = &self.hint {
            text.push_str(&line("hint", hint));
        }
        text
    }
}

/// One line for stderr: `ycred: LABEL: TEXT`, cleaned and capped.
pub fn line(label: &str, text: &str) -> String {
    let mut line = cap(&format!("ycred: {label}: {}", clean(text)), LINE);
    line.push('\n');
    line
}

/// An I/O error in words, without the errno that std adds.
pub fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".into(),
        io::ErrorKind::PermissionDenied if error.raw_os_error().is_some() => "permission denied".into(),
        io::ErrorKind::StorageFull => "the disk is full".into(),
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only".into(),
        _ => {
            // Without the number that std adds: "File too large (os error 27)".
            let text = error.to_string();
            text.split(" (os error").next().unwrap_or_default().to_owned()
        }
    }
}

/// The most characters that a line of ours has.
const LINE: usize = 500;

fn cap(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most - 1).collect();
    short.push('…');
    short
}

/// Makes foreign text fit to be shown: one line, no control characters, no secrets.
pub fn clean(text: &str) -> String {
    let flat = strip_controls(text);
    mask_shapes(&Secret::mask_known(&flat))
}

/// Removes terminal escape sequences and bidirectional controls; turns line breaks and other C0/C1 controls into a
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

const MASK: &str = "***";

/// Masks what looks like a credential although we never held it: a server may echo somebody else's.
///
/// Shapes: yandex-cloud.md section 14 (IAM, OAuth, ephemeral and API keys), JWTs, PEM blocks, userinfo in URLs.
fn mask_shapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        if rest.starts_with("-----BEGIN ") {
            out.push_str(MASK);
            rest = rest
                .find("-----END ")
                .and_then(|at| rest[at + 9..].find("-----").map(|n| &rest[at + 9 + n + 5..]))
                .unwrap_or("");
            continue;
        }
        if let Some(after) = rest.strip_prefix("://") {
            let authority = &after[..after.find(['/', ' ', '"', '\'', '?', '#']).unwrap_or(after.len())];
            out.push_str("://");
            rest = after;
            if let Some(at) = authority.rfind('@') {
                out.push_str(MASK);
                rest = &after[at..];
            }
            continue;
        }
        let word = &rest[..rest.find(|c: char| !is_word(c)).unwrap_or(rest.len())];
        if word.is_empty() {
            let c = rest.chars().next().unwrap_or(' ');
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        // `=` pads a token and parts a name from its value, so a secret may begin behind one.
        let starts = std::iter::once(0).chain(word.match_indices('=').map(|(at, _)| at + 1));
        match starts.into_iter().find(|at| has_secret_shape(&word[*at..])) {
            Some(at) => {
                out.push_str(&word[..at]);
                out.push_str(MASK);
            }
            None => out.push_str(word),
        }
        rest = &rest[word.len()..];
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '=' | '+' | '~')
}

fn has_secret_shape(word: &str) -> bool {
    let long = |prefix: &str, least: usize| word.strip_prefix(prefix).is_some_and(|rest| rest.len() >= least);
    // A host may be called `c1.internal.example`; a token's first part is long.
    let long_part = |prefix: &str| {
        word.strip_prefix(prefix).and_then(|rest| rest.split('.').next()).is_some_and(|part| part.len() >= 16)
    };
    ["t1.", "c1.", "s1."].iter().any(|prefix| long_part(prefix))
        || ["y0_", "y1_", "y2_", "y3_", "AQVN", "pv1_"].iter().any(|prefix| long(prefix, 8))
        || long("eyJ", 12)
        || (long("YC", 36) && word.len() <= 46)
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
    fn controls_and_escapes_of_a_server_do_not_reach_the_terminal() {
        let foul = "a\u{1b}[31mb\r\nc\u{1b}]0;title\u{7}d\u{202e}e\u{9b}f\tg\0h";
        assert_eq!(clean(foul), "ab c d e f g h".replace(" d e", " de"));
        let line = line("error", foul);
        assert!(line.trim_end_matches('\n').chars().all(|c| !c.is_control()));
    }

    #[test]
    fn a_line_is_capped_at_500_characters() {
        let rendered = Error::refused("ж".repeat(2000)).render();
        assert_eq!(rendered.trim_end().chars().count(), 500);
        assert!(rendered.ends_with("…\n"));
    }

    #[test]
    fn token_shaped_text_is_masked() {
        for foul in [
            "got t1.9euelZqXabcdefgh.AAAA_bbbb-cc== here",
            "token=y0_AgAAAAABbbbbCCCC",
            "jwt eyJhbGciOiJQUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln",
            "key -----BEGIN PRIVATE KEY----- MIIEvQ -----END PRIVATE KEY----- tail",
            "proxy http://user:hunter22@proxy:3128/ refused",
        ] {
            let cleaned = clean(foul);
            assert!(cleaned.contains("***"), "{cleaned}");
            for secret in ["9euelZqX", "AgAAAAAB", "hbGciOiJ", "MIIEvQ", "hunter22"] {
                assert!(!cleaned.contains(secret), "{cleaned}");
            }
        }
        assert_eq!(
            clean("https://iam.api.cloud.yandex.net/iam/v1/tokens: 401"),
            "https://iam.api.cloud.yandex.net/iam/v1/tokens: 401"
        );
        assert_eq!(clean("account aje1234567890abcdefg, t1. is short"), "account aje1234567890abcdefg, t1. is short");
    }

    #[test]
    fn kinds_survive_the_cache() {
        for kind in [Kind::Refused, Kind::Usage, Kind::Profile, Kind::Unavailable, Kind::Internal] {
            assert_eq!(Kind::from_exit_code(kind.exit_code()), kind);
        }
    }
}
