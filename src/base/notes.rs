//! What a run has to say besides its reply: at most one warning, and at `-v` what it did, free of secrets.

use std::cell::RefCell;

use crate::base::error;

/// What may be warned of; of several in one run the first in this order is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Warning {
    /// The cached token was handed out although a fetch failed.
    ServedAlthoughRenewingFailed,
    /// `--force-refresh` brought the same token again.
    SameTokenAgain,
    /// The token lives shorter than was asked for.
    MinTtlNotMet,
    /// A login's new state cannot be kept, which may cost the login.
    LoginNotSaved,
    /// This machine's clock is off.
    ClockOff,
    /// Nothing can be kept on disk or locked.
    CacheUnusable,
    /// A key file of ours that others can read.
    KeyFileReadable,
}

/// Collects the warning and passes on what `-v` shows.
pub struct Notes<'a> {
    warning: RefCell<Option<(Warning, String)>>,
    verbosity: u8,
    print_stderr: &'a dyn Fn(&str),
}

impl<'a> Notes<'a> {
    /// `tell` writes a line to stderr at once, so that `-v` shows where a run hangs.
    pub fn new(verbosity: u8, print_stderr: &'a dyn Fn(&str)) -> Self {
        Self { warning: RefCell::new(None), verbosity, print_stderr }
    }

    /// Warns, unless something that comes before it has been warned of.
    pub fn warn(&self, warning: Warning, text: impl Into<String>) {
        let mut kept = self.warning.borrow_mut();
        if kept.as_ref().is_none_or(|(other, _)| warning < *other) {
            *kept = Some((warning, text.into()));
        }
    }

    /// What `-v` shows; the text is made only where it is wanted.
    pub fn debug(&self, text: impl FnOnce() -> String) {
        if self.verbosity > 0 {
            (self.print_stderr)(&error::line("debug", &text()));
        }
    }

    /// The warning, if there is one, which then counts as told: for a run of many requests.
    pub fn take(&self) -> Option<(Warning, String)> {
        self.warning.take()
    }

    /// The warning's line for stderr, if there is one.
    pub fn finish(&self) -> String {
        self.warning.borrow().as_ref().map(|(_, text)| error::line("warning", text)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_warnings_the_gravest_is_told() {
        let notes = Notes::new(0, &|_| ());
        assert_eq!(notes.finish(), "");
        notes.warn(Warning::CacheUnusable, "the cache");
        notes.warn(Warning::ServedAlthoughRenewingFailed, "the token");
        notes.warn(Warning::ClockOff, "the clock");
        assert_eq!(notes.finish(), "ycred: warning: the token\n");
    }

    #[test]
    fn nothing_is_told_unless_asked() {
        let told = RefCell::new(String::new());
        let print_stderr = |line: &str| told.borrow_mut().push_str(line);
        Notes::new(0, &print_stderr).debug(|| unreachable!("made for nobody"));
        Notes::new(1, &print_stderr).debug(|| "a\nb".into());
        assert_eq!(*told.borrow(), "ycred: debug: a b\n");
    }
}
