//! Console events, which Windows has in place of signals.
#![expect(unsafe_code, reason = "calls of the Windows API without a safe wrapper in std")]
#![expect(clippy::disallowed_methods, reason = "ends this process as a console event would")]

use std::fs::File;
use std::io;
use std::os::windows::io::{AsRawHandle as _, IntoRawHandle as _};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use windows_sys::Win32::Foundation::{CloseHandle, STATUS_CONTROL_C_EXIT};
use windows_sys::Win32::System::Console::{
    CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT, GetStdHandle, STD_INPUT_HANDLE, STD_OUTPUT_HANDLE,
    SetConsoleCtrlHandler, SetStdHandle,
};
use windows_sys::Win32::System::Threading::{INFINITE, WaitForSingleObject};
use windows_sys::core::BOOL;

use super::child::Job;
use super::handle::check;

/// Does nothing: there is no limit on the size of a file.
pub fn ignore_file_size_signal() {}

/// Does nothing: the exit status of a child is always available.
pub fn reset_sigchld() {}

/// Does nothing: children inherit no settings of this kind.
pub fn restore_signals(_: &mut Command) {}

/// Ignores Ctrl-C and similar events. A child in the same console receives them too, and decides what to do.
pub fn leave_console_events_to_child() {
    // SAFETY: the handler touches no memory and takes plain integers. Unlike a null handler, it is not inherited.
    unsafe { SetConsoleCtrlHandler(Some(ignore_event), 1) };
}

unsafe extern "system" fn ignore_event(event: u32) -> BOOL {
    handled(event)
}

/// Says that an event is handled. If the console is closed or the session ends, Windows ends this process as soon as the handler
/// returns, or after some seconds. These are for the child and for the other threads, which end this process earlier.
fn handled(event: u32) -> BOOL {
    if ends_process(event) {
        std::thread::sleep(END_LIMIT);
    }
    1
}

/// Longer than Windows waits: 5 s after closing the console, 20 s at the end of the session.
const END_LIMIT: Duration = Duration::from_secs(60);

fn ends_process(event: u32) -> bool {
    matches!(event, CTRL_CLOSE_EVENT | CTRL_LOGOFF_EVENT | CTRL_SHUTDOWN_EVENT)
}

/// Ignores the console events that would end this process.
pub fn ignore_ending_signals() {
    leave_console_events_to_child();
}

/// True if an event arrived while [`EndingSignalsBlocked`] existed.
static EVENT_ARRIVED: AtomicBool = AtomicBool::new(false);

unsafe extern "system" fn note_event(event: u32) -> BOOL {
    EVENT_ARRIVED.store(true, Ordering::Relaxed);
    handled(event)
}

/// Keeps the console events that would end this process waiting until it is dropped. They then take effect.
pub struct EndingSignalsBlocked(());

impl EndingSignalsBlocked {
    pub fn start() -> Self {
        // SAFETY: the handler only stores into a static.
        unsafe { SetConsoleCtrlHandler(Some(note_event), 1) };
        Self(())
    }
}

impl Drop for EndingSignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: removes the handler that `start` has added.
        unsafe { SetConsoleCtrlHandler(Some(note_event), 0) };
        if EVENT_ARRIVED.load(Ordering::Relaxed) {
            std::process::exit(STATUS_CONTROL_C_EXIT);
        }
    }
}

/// Whether an event has asked this process to end, for [`Signals::wait_for_any`].
static END: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

unsafe extern "system" fn announce_end(event: u32) -> BOOL {
    *END.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
    END.1.notify_all();
    handled(event)
}

/// An event for the process that runs a child.
pub enum SignalEvent {
    /// The child has ended.
    ChildChanged,
    Received(ReceivedSignal),
}

/// A signal that ycred received: never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceivedSignal {}

impl ReceivedSignal {
    pub fn must_be_forwarded(self) -> bool {
        match self {}
    }

    pub fn forward(self, _: u32) {
        match self {}
    }
}

/// Waits for the child. Console events reach the child without help.
pub struct Signals {
    /// Ends the child if ycred is killed.
    job: Option<Job>,
}

impl Signals {
    /// Ignores console events from now on.
    ///
    /// # Errors
    /// None.
    pub fn catch() -> io::Result<Self> {
        leave_console_events_to_child();
        Ok(Self { job: None })
    }

    /// Notes the console events that ask a process to end.
    ///
    /// # Errors
    /// Those of `SetConsoleCtrlHandler`.
    pub fn catch_end() -> io::Result<Self> {
        // SAFETY: the system runs the handler in a thread of its own, and it only uses the static.
        check(unsafe { SetConsoleCtrlHandler(Some(announce_end), 1) })?;
        Ok(Self { job: None })
    }

    /// Waits for the first event.
    ///
    /// # Errors
    /// None.
    pub fn wait_for_any(&mut self) -> io::Result<()> {
        let (arrived, condition) = &END;
        let arrived = arrived.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = condition.wait_while(arrived, |arrived| !*arrived);
        drop(ended.unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }

    /// Waits until the child has ended.
    ///
    /// # Errors
    /// None.
    pub fn wait(&mut self, child: &Child) -> io::Result<SignalEvent> {
        if self.job.is_none() {
            self.job = Job::new(true).and_then(|job| job.add(child).map(|()| job)).ok();
        }
        // SAFETY: the handle is open, because the child has not been waited for.
        unsafe { WaitForSingleObject(child.as_raw_handle(), INFINITE) };
        Ok(SignalEvent::ChildChanged)
    }
}

/// Does nothing: Windows cannot stop a process.
pub fn stop_like_child(_: u32) {}

/// Leaves stdin and stdout to the child. A pipe then closes when the child closes it.
pub fn release_terminal() {
    let Ok(null) = File::options().read(true).write(true).open("NUL") else { return };
    for stream in [STD_INPUT_HANDLE, STD_OUTPUT_HANDLE] {
        let Ok(copy) = null.try_clone() else { return };
        // SAFETY: std asks for the handle at each use, so none of them is used after it is closed. The new handle stays
        // open as long as the process runs.
        unsafe {
            let old = GetStdHandle(stream);
            if SetStdHandle(stream, copy.into_raw_handle()) != 0 && !old.is_null() {
                CloseHandle(old);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use windows_sys::Win32::System::Console::{CTRL_BREAK_EVENT, CTRL_C_EVENT};

    use super::*;

    #[test]
    fn only_the_events_that_end_a_process_are_held_back() {
        assert_eq!([handled(CTRL_C_EVENT), handled(CTRL_BREAK_EVENT)], [1, 1], "at once");
        assert!([CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT].into_iter().all(ends_process));
    }
}
