//! Colour for people, and plain letters for terminals without UTF-8.
//!
//! Both are added to text that the renderer of messages has finished and cleaned, so no escape sequence ever passes through it.

use std::borrow::Cow;

use crate::base::environment::{CI, Environment, LOCALE, NO_COLOR, TERM};
use crate::system::process::USES_LOCALE;

/// The meaning of a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// A failure, or something to repair now.
    Bad,
    /// A warning.
    Caution,
    /// Success.
    Good,
    /// A removed line, and an added one.
    Removed,
    Added,
    /// A heading, a label, or what a line is about.
    Heading,
    /// What to do next.
    Advice,
    /// Less important than the rest.
    Quiet,
}

impl Colour {
    /// Returns the parameters of the escape sequence. The eight basic colours have contrast on light and dark backgrounds,
    /// apart from yellow and white, which are not used for text on their own.
    fn parameters(self) -> &'static str {
        match self {
            Self::Bad => "1;31",
            Self::Caution => "1;35",
            Self::Removed => "31",
            Self::Good | Self::Added => "32",
            Self::Heading => "1",
            Self::Advice => "1",
            Self::Quiet => "2",
        }
    }
}

/// What has a colour in the output of a command.
#[derive(Clone, Copy, Debug)]
pub enum Paint {
    /// The start of a line.
    Start(&'static str, Colour),
    /// A line with this start.
    Line(&'static str, Colour),
    /// The first word of each line that is followed by two spaces or more, as in a table.
    Label(Colour),
    /// A word, wherever it is in a line.
    Word(&'static str, Colour),
}

/// How to write text to the terminal of a person.
#[derive(Clone, Copy, Debug, Default)]
pub struct Look {
    pub has_colour: bool,
    /// The locale is not UTF-8.
    pub is_ascii: bool,
    /// What has a colour on stdout.
    pub paints: &'static [Paint],
}

/// What has a colour on stderr.
const MESSAGES: &[Paint] = &[
    Paint::Start("ycred: error:", Colour::Bad),
    Paint::Start("ycred: warning:", Colour::Caution),
    Paint::Start("ycred: hint:", Colour::Advice),
];

impl Look {
    /// Returns how a command for people writes to a terminal in this environment.
    pub fn of(environment: &Environment, paints: &'static [Paint]) -> Self {
        let is_set = |name| environment.get(name).is_some();
        let is_dumb = environment.get(TERM).is_some_and(|terminal| terminal == "dumb");
        let locale = LOCALE.into_iter().find_map(|name| environment.get(name));
        let is_utf8 = locale.is_some_and(|locale| {
            let locale = locale.to_string_lossy().to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        });
        Self { has_colour: !is_set(NO_COLOR) && !is_set(CI) && !is_dumb, is_ascii: USES_LOCALE && !is_utf8, paints }
    }

    /// Returns true if text may change on its way to a terminal.
    pub fn is_used(&self) -> bool {
        self.has_colour || self.is_ascii
    }

    /// Returns text for stdout, if it is a terminal.
    pub fn stdout<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.write(text, self.paints)
    }

    /// Returns messages for stderr, if it is a terminal.
    pub fn stderr<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.write(text, MESSAGES)
    }

    /// Returns text with this colour, for stderr.
    pub fn coloured(&self, text: &str, colour: Colour) -> String {
        match self.has_colour {
            true => wrapped(text, colour),
            false => text.to_owned(),
        }
    }

    fn write<'a>(&self, text: &'a str, paints: &[Paint]) -> Cow<'a, str> {
        let text = if self.is_ascii { in_ascii(text) } else { Cow::Borrowed(text) };
        match self.has_colour && !paints.is_empty() {
            true => text.split_inclusive('\n').map(|line| painted(line, paints)).collect::<String>().into(),
            false => text,
        }
    }
}

fn wrapped(text: &str, colour: Colour) -> String {
    format!("\u{1b}[{}m{text}\u{1b}[0m", colour.parameters())
}

/// Paints one line. Each character gets at most one colour.
fn painted(line: &str, paints: &[Paint]) -> String {
    let (text, end) = line.split_at(line.trim_end_matches('\n').len());
    let is_whole = |paint: &&Paint| matches!(paint, Paint::Line(start, _) if text.starts_with(start));
    if let Some(Paint::Line(_, colour)) = paints.iter().find(is_whole) {
        return format!("{}{end}", wrapped(text, *colour));
    }
    let first = paints.iter().find_map(|paint| match paint {
        Paint::Start(start, colour) if text.starts_with(start) => Some((start.len(), *colour)),
        Paint::Label(colour) => {
            let label = text.split("  ").next().filter(|label| !label.is_empty() && label.len() < text.len())?;
            (!label.contains(' ')).then_some((label.len(), *colour))
        }
        _ => None,
    });
    let (start, colour) = first.unwrap_or((0, Colour::Quiet));
    let mut line = if start > 0 { wrapped(&text[..start], colour) } else { String::new() };
    let mut rest = &text[start..];
    while !rest.is_empty() {
        let words = paints.iter().filter_map(|paint| match paint {
            Paint::Word(word, colour) => find_word(rest, word).map(|at| (at, *word, *colour)),
            _ => None,
        });
        let Some((at, word, colour)) = words.min_by_key(|(at, ..)| *at) else { break };
        line.push_str(&rest[..at]);
        line.push_str(&wrapped(word, colour));
        rest = &rest[at + word.len()..];
    }
    format!("{line}{rest}{end}")
}

/// Finds a word that no letter, digit or dash precedes or follows.
fn find_word(text: &str, word: &str) -> Option<usize> {
    let is_part = |c: char| c.is_alphanumeric() || c == '-' || c == '_' || c == '/';
    text.match_indices(word)
        .map(|(at, _)| at)
        .find(|at| !text[..*at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part))
}

/// Replaces the signs of ycred's own messages that a terminal without UTF-8 cannot show.
fn in_ascii(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return text.into();
    }
    let mut ascii = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '→' => ascii.push_str("->"),
            '…' => ascii.push_str("..."),
            '–' | '—' => ascii.push('-'),
            '·' => ascii.push('*'),
            '×' => ascii.push('x'),
            other => ascii.push(other),
        }
    }
    ascii.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(pairs: &[(&str, &str)]) -> Look {
        Look::of(&Environment::new(pairs.iter().map(|(name, value)| (name.into(), value.into()))), &[])
    }

    #[test]
    fn the_environment_decides() {
        assert!(look(&[("TERM", "xterm")]).has_colour && look(&[]).has_colour);
        for pair in [("TERM", "dumb"), ("NO_COLOR", "1"), ("CI", "true")] {
            assert!(!look(&[pair]).has_colour, "{pair:?}");
        }
        assert!(look(&[("NO_COLOR", ""), ("CI", "")]).has_colour, "an empty variable counts as unset");
        for (pairs, is_ascii) in [
            (&[][..], true),
            (&[("LANG", "C")], true),
            (&[("LANG", "C.UTF-8")], false),
            (&[("LANG", "ru_RU.utf8")], false),
            (&[("LC_ALL", "C"), ("LANG", "C.UTF-8")], true),
        ] {
            assert_eq!(look(pairs).is_ascii, is_ascii, "{pairs:?}");
        }
    }

    #[test]
    fn colour_surrounds_text_and_changes_nothing_else() {
        const PAINTS: &[Paint] = &[
            Paint::Line("- ", Colour::Bad),
            Paint::Start("[ok]", Colour::Good),
            Paint::Label(Colour::Heading),
            Paint::Word("broken", Colour::Bad),
        ];
        let look = Look { has_colour: true, is_ascii: false, paints: PAINTS };
        for (text, painted) in [
            ("- gone\n", "\u{1b}[1;31m- gone\u{1b}[0m\n"),
            ("[ok]   key\n", "\u{1b}[32m[ok]\u{1b}[0m   key\n"),
            ("source   is broken", "\u{1b}[1msource\u{1b}[0m   is \u{1b}[1;31mbroken\u{1b}[0m"),
            ("two words  x\nunbroken broken-x /broken\n", "two words  x\nunbroken broken-x /broken\n"),
            ("\n\n", "\n\n"),
        ] {
            let result = look.stdout(text);
            assert_eq!(result, painted);
            let mut plain = result.into_owned();
            for colour in ["\u{1b}[1;31m", "\u{1b}[32m", "\u{1b}[1m", "\u{1b}[0m"] {
                plain = plain.replace(colour, "");
            }
            assert_eq!(plain, text);
        }
        let plain = Look { has_colour: false, ..look };
        assert_eq!(plain.stdout("- gone\n"), "- gone\n");
        assert_eq!(look.stderr("ycred: hint: - x\n"), "\u{1b}[1mycred: hint:\u{1b}[0m - x\n");
    }

    #[test]
    fn signs_of_messages_become_ascii_without_utf8() {
        let look = Look { is_ascii: true, ..Look::default() };
        assert_eq!(look.stdout("a → b … – жук"), "a -> b ... - жук");
    }
}
