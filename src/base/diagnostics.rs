//! Messages besides the reply: at most one warning, and the debug lines of `-v`. They contain no secrets.

use std::cell::RefCell;

use crate::base::error;

/// The reasons for a warning. If a run has several, it prints the first in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Warning {
    /// ycred returned the cached token because a fetch failed.
    ServedAlthoughRenewingFailed,
    /// A forced refresh returned the same token again.
    SameTokenAgain,
    /// The token expires sooner than the caller asked for.
    MinTtlNotMet,
    /// The new state of a login cannot be saved, so the login may be lost.
    LoginNotSaved,
    /// This machine's clock is wrong.
    ClockOff,
    /// The cache directory cannot be written or locked.
    CacheUnusable,
    /// Other users can read a key file of this user.
    KeyFileReadable,
}

/// Collects the warning of a run, and prints the debug lines.
pub struct Diagnostics<'a> {
    warning: RefCell<Option<(Warning, String)>>,
    verbosity: u8,
    print_stderr: &'a dyn Fn(&str),
}

impl<'a> Diagnostics<'a> {
    /// Creates the diagnostics of a run. `print_stderr` must print immediately, so that `-v` shows where a run hangs.
    pub fn new(verbosity: u8, print_stderr: &'a dyn Fn(&str)) -> Self {
        Self { warning: RefCell::new(None), verbosity, print_stderr }
    }

    /// Sets the warning, unless one that comes first in the order is set.
    pub fn warn(&self, warning: Warning, message: impl Into<String>) {
        let mut current = self.warning.borrow_mut();
        if current.as_ref().is_none_or(|(other, _)| warning < *other) {
            *current = Some((warning, message.into()));
        }
    }

    /// Prints a debug line with `-v`. Without it, `message` is not called.
    pub fn debug(&self, message: impl FnOnce() -> String) {
        if self.verbosity > 0 {
            (self.print_stderr)(&error::line("debug", &message()));
        }
    }

    /// Returns and clears the warning, for a run with many requests.
    pub fn take(&self) -> Option<(Warning, String)> {
        self.warning.take()
    }

    /// Returns the warning as a line for stderr, or an empty string.
    pub fn finish(&self) -> String {
        self.warning.borrow().as_ref().map(|(_, message)| error::line("warning", message)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_warning_in_the_order_is_printed() {
        let diagnostics = Diagnostics::new(0, &|_| ());
        assert_eq!(diagnostics.finish(), "");
        diagnostics.warn(Warning::CacheUnusable, "the cache");
        diagnostics.warn(Warning::ServedAlthoughRenewingFailed, "the token");
        diagnostics.warn(Warning::ClockOff, "the clock");
        assert_eq!(diagnostics.finish(), "ycred: warning: the token\n");
    }

    #[test]
    fn debug_lines_are_printed_with_v_only() {
        let printed = RefCell::new(String::new());
        let print_stderr = |line: &str| printed.borrow_mut().push_str(line);
        Diagnostics::new(0, &print_stderr).debug(|| unreachable!("called without -v"));
        Diagnostics::new(1, &print_stderr).debug(|| "a\nb".into());
        assert_eq!(*printed.borrow(), "ycred: debug: a b\n");
    }
}
