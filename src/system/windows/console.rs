//! Reads a console in a thread of its own, so that waiting for a line can have a time limit.
//!
//! Every event makes a console ready: a key without Enter, the mouse, the focus, a new size. But a read then blocks until Enter,
//! and only such a read shows what is typed.

use std::io::{self, Read as _};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use zeroize::Zeroizing;

/// What the thread is doing, or has read. The thread reads once, and only when somebody waits: what is typed later may be for
/// another program.
enum State {
    Idle,
    Reading,
    /// Nothing is the end of the input.
    Read(io::Result<Zeroizing<Vec<u8>>>),
}

static STATE: (Mutex<State>, Condvar) = (Mutex::new(State::Idle), Condvar::new());

fn state() -> MutexGuard<'static, State> {
    STATE.0.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until a line has been entered, or the input has ended. Returns how many bytes there are, or `None` after the time limit.
pub fn wait(timeout: Duration) -> Option<usize> {
    let mut state = state();
    if matches!(*state, State::Idle) {
        if thread::Builder::new().spawn(read_once).is_err() {
            // The following read waits.
            return Some(1);
        }
        *state = State::Reading;
    }
    let is_reading = |state: &mut State| matches!(state, State::Reading);
    let waited = STATE.1.wait_timeout_while(state, timeout, is_reading);
    match &*waited.unwrap_or_else(PoisonError::into_inner).0 {
        State::Reading => None,
        State::Read(Ok(bytes)) => Some(bytes.len()),
        // The following read reports the error.
        _ => Some(1),
    }
}

fn read_once() {
    let mut buffer = Zeroizing::new(vec![0; 8192]);
    let result = io::stdin().lock().read(&mut buffer);
    *state() = State::Read(result.map(|count| {
        buffer.truncate(count);
        buffer
    }));
    STATE.1.notify_all();
}

/// Reads what [`wait`] has waited for, or else from standard input itself.
pub fn read(buffer: &mut [u8]) -> io::Result<usize> {
    let is_reading = |state: &mut State| matches!(state, State::Reading);
    let mut state = STATE.1.wait_while(state(), is_reading).unwrap_or_else(PoisonError::into_inner);
    match std::mem::replace(&mut *state, State::Idle) {
        State::Read(Ok(bytes)) => {
            let (now, later) = bytes.split_at(bytes.len().min(buffer.len()));
            buffer[..now.len()].copy_from_slice(now);
            // The end of the input stays.
            if !later.is_empty() || bytes.is_empty() {
                *state = State::Read(Ok(Zeroizing::new(later.to_vec())));
            }
            Ok(now.len())
        }
        State::Read(Err(error)) => Err(error),
        State::Idle | State::Reading => {
            drop(state);
            io::stdin().lock().read(buffer)
        }
    }
}
