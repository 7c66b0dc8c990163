//! Messages besides the reply: at most one warning, and the debug lines of `-v`. They contain no secrets.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use crate::base::error::{self, Error};

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
    /// `YCRED_LOG` has a value that is not a log.
    InvalidLog,
    /// A login ends soon. Only commands for people warn of it, once a day.
    LoginEndsSoon,
}

/// Writes a line to a log file: label and message.
pub type LogFile = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// Shows a person what the run waits for.
pub trait WaitDisplay {
    /// Begins a wait. Waits may be nested; the innermost one is shown.
    fn begin(&self, what: String);
    fn end(&self);
}

/// A wait of the run. It ends when this is dropped.
pub struct Wait<'a>(Option<&'a dyn WaitDisplay>);

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(display) = self.0 {
            display.end();
        }
    }
}

/// Collects the warning of a run, and prints the debug lines.
pub struct Diagnostics<'a> {
    warning: RefCell<Option<(Warning, String)>>,
    /// True if debug lines go to stderr.
    is_verbose: Cell<bool>,
    print_stderr: &'a dyn Fn(&str),
    /// Gets the debug lines, and everything else that is printed.
    log_file: Option<LogFile>,
    /// Shows waits, for commands of people at a terminal.
    display: Option<&'a dyn WaitDisplay>,
}

impl<'a> Diagnostics<'a> {
    /// Creates the diagnostics of a run. `print_stderr` must print immediately, so that `-v` shows where a run hangs.
    pub fn new(is_verbose: bool, print_stderr: &'a dyn Fn(&str), log_file: Option<LogFile>) -> Self {
        let is_verbose = Cell::new(is_verbose);
        Self { warning: RefCell::new(None), is_verbose, print_stderr, log_file, display: None }
    }

    /// Shows the waits of this run.
    #[must_use]
    pub fn with_display(self, display: Option<&'a dyn WaitDisplay>) -> Self {
        Self { display, ..self }
    }

    /// Says what the run waits for, until the result is dropped. `what` fits after "waiting for".
    #[must_use]
    pub fn waiting(&self, what: impl FnOnce() -> String) -> Wait<'a> {
        if let Some(display) = self.display {
            display.begin(format!("waiting for {}", error::clean(&what())));
        }
        Wait(self.display)
    }

    pub fn is_verbose(&self) -> bool {
        self.is_verbose.get()
    }

    /// Prints debug lines from now on: the flag came with a request.
    pub fn set_verbose(&self) {
        self.is_verbose.set(true);
    }

    /// Returns the log file, for another thread.
    pub fn log_file(&self) -> Option<LogFile> {
        self.log_file.clone()
    }

    /// Sets the warning, unless one that comes first in the order is set.
    pub fn warn(&self, warning: Warning, message: impl Into<String>) {
        let mut current = self.warning.borrow_mut();
        if current.as_ref().is_none_or(|(other, _)| warning < *other) {
            *current = Some((warning, message.into()));
        }
    }

    /// Returns true if the run has a warning.
    pub fn has_warning(&self) -> bool {
        self.warning.borrow().is_some()
    }

    /// Logs a debug line, with `-v` or `YCRED_LOG`. Without them, `message` is not called.
    pub fn debug(&self, message: impl FnOnce() -> String) {
        if !self.is_verbose() && self.log_file.is_none() {
            return;
        }
        let message = message();
        if self.is_verbose() {
            (self.print_stderr)(&error::line("debug", &message));
        }
        if let Some(log) = &self.log_file {
            log("debug", &message);
        }
    }

    /// Adds an error to the log file. It is printed elsewhere.
    pub fn log_error(&self, error: &Error) {
        if let Some(log) = &self.log_file {
            log("error", &error.reason());
            if let Some(hint) = error.hint_text() {
                log("hint", &hint);
            }
        }
    }

    /// Returns and clears the warning, for a run with many requests.
    pub fn take(&self) -> Option<(Warning, String)> {
        self.warning.take()
    }

    /// Returns the warning as a line for stderr, or an empty string.
    pub fn finish(&self) -> String {
        let warning = self.warning.borrow();
        let Some((_, message)) = &*warning else { return String::new() };
        if let Some(log) = &self.log_file {
            log("warning", message);
        }
        error::line("warning", message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_warning_in_the_order_is_printed() {
        let diagnostics = Diagnostics::new(false, &|_| (), None);
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
        Diagnostics::new(false, &print_stderr, None).debug(|| unreachable!("called without -v"));
        Diagnostics::new(true, &print_stderr, None).debug(|| "a\nb".into());
        assert_eq!(*printed.borrow(), "ycred: debug: a b\n");
    }
}
