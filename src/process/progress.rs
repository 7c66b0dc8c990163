//! The progress line of commands for people: what the run waits for, and for how long.

use std::cell::RefCell;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::base::clock::Clock;
use crate::base::diagnostics::WaitDisplay;
use crate::process::stdio;

/// A shorter wait is not shown.
const FIRST: Duration = Duration::from_millis(700);
/// How often the line changes.
const STEP: Duration = Duration::from_secs(1);
/// The longest line in characters, where the width of the terminal is unknown.
const WIDTH: usize = 80;

/// Shows a line on the terminal while the run waits. A thread counts the seconds; without one, nothing is shown.
pub struct Progress {
    shared: Arc<Shared>,
    thread: RefCell<Option<JoinHandle<()>>>,
}

struct Shared {
    clock: &'static dyn Clock,
    state: Mutex<State>,
    has_changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What the run waits for and since when, by the steady clock. The last one is shown.
    waits: Vec<(String, Duration)>,
    is_over: bool,
}

impl Progress {
    pub fn new(clock: &'static dyn Clock) -> Self {
        let shared = Shared { clock, state: Mutex::default(), has_changed: Condvar::new() };
        Self { shared: Arc::new(shared), thread: RefCell::new(None) }
    }
}

impl WaitDisplay for Progress {
    fn begin(&self, what: String) {
        let since = self.shared.clock.elapsed();
        self.shared.state().waits.push((what, since));
        self.shared.has_changed.notify_all();
        let mut thread = self.thread.borrow_mut();
        if thread.is_none() {
            let shared = Arc::clone(&self.shared);
            *thread = thread::Builder::new().spawn(move || shared.run()).ok();
        }
    }

    fn end(&self) {
        self.shared.state().waits.pop();
        self.shared.has_changed.notify_all();
        stdio::erase_progress();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.shared.state().is_over = true;
        self.shared.has_changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        stdio::erase_progress();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.state();
        while !state.is_over {
            let pause = match state.waits.last() {
                None => None,
                Some((what, since)) => {
                    let waited = self.clock.elapsed().saturating_sub(*since);
                    if waited >= FIRST {
                        stdio::show_progress(&line(what, waited, stdio::width().unwrap_or(WIDTH)));
                    }
                    Some(until_next(waited))
                }
            };
            state = match pause {
                None => self.has_changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(pause) => {
                    let waited = self.has_changed.wait_timeout(state, pause);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// Returns the time until the line changes.
fn until_next(waited: Duration) -> Duration {
    match FIRST.checked_sub(waited) {
        Some(left) if !left.is_zero() => left,
        _ => STEP - Duration::from_millis(u64::from(waited.subsec_millis())),
    }
}

/// Returns the line. It leaves the last column free, because some terminals wrap there.
fn line(what: &str, waited: Duration, width: usize) -> String {
    let time = format!(" ({} s)", waited.as_secs());
    let space = width.saturating_sub(time.len() + 1);
    if what.chars().count() <= space {
        return format!("{what}{time}");
    }
    let shortened: String = what.chars().take(space.saturating_sub(3)).collect();
    format!("{shortened}...{time}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fits_the_terminal_and_counts_whole_seconds() {
        let second = Duration::from_secs(1);
        assert_eq!(line("waiting for x", second * 3, 80), "waiting for x (3 s)");
        assert_eq!(line("waiting for x", Duration::from_millis(999), 80), "waiting for x (0 s)");
        for width in [20, 40, 80] {
            let line = line(&"a long name ".repeat(20), second * 75, width);
            assert!(line.chars().count() < width && line.ends_with("... (75 s)"), "{line}");
        }
    }

    #[test]
    fn the_line_appears_after_a_moment_and_changes_at_whole_seconds() {
        let millis = Duration::from_millis;
        assert_eq!(until_next(millis(0)), millis(700));
        assert_eq!(until_next(millis(699)), millis(1));
        assert_eq!(until_next(millis(700)), millis(300));
        assert_eq!(until_next(millis(1000)), millis(1000));
        assert_eq!(until_next(millis(2250)), millis(750));
    }
}
