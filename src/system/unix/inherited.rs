//! What this process has inherited and std's startup code changes, read before that code runs.
#![expect(unsafe_code, reason = "a function that runs before main, and libc calls without a safe wrapper in std")]

use std::sync::atomic::{AtomicBool, Ordering};

use super::disposition::handler_of;

/// Whether SIGPIPE was ignored when ycred was started. Read before std's startup code, which changes it.
pub static PIPE_SIGNAL_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

/// Whether stdout was closed when ycred was started. Read before std's startup code, which opens `/dev/null` instead.
pub static STDOUT_WAS_CLOSED: AtomicBool = AtomicBool::new(false);

#[used]
#[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
#[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
static BEFORE_START: extern "C" fn() = {
    extern "C" fn read_inherited_state() {
        let was_ignored = handler_of(libc::SIGPIPE) == Some(libc::SIG_IGN);
        PIPE_SIGNAL_WAS_IGNORED.store(was_ignored, Ordering::Relaxed);
        // SAFETY: F_GETFD takes plain integers and only reads.
        let was_closed = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) } == -1;
        STDOUT_WAS_CLOSED.store(was_closed, Ordering::Relaxed);
    }
    read_inherited_state
};
