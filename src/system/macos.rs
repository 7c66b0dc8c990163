//! What macOS has in place of Linux's own.
#![expect(unsafe_code, reason = "libc calls without a safe wrapper in std")]

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::AtomicBool;

/// The programs that open a URL, tried in turn.
pub const URL_OPENERS: &[&[&str]] = &[&["open"]];

/// The effective user id.
pub fn effective_uid() -> u32 {
    // SAFETY: geteuid takes nothing, touches no memory of ours and cannot fail (POSIX).
    unsafe { libc::geteuid() }
}

/// Nothing is known beyond what std finds.
pub fn executable() -> Option<PathBuf> {
    None
}

/// macOS writes no core dumps unless an administrator switches them on.
pub fn disable_core_dumps() {}

/// macOS has no signal for the death of a parent.
pub fn kill_child_on_exit(_: &mut Command) {}

/// Where libc keeps `errno`, which a signal handler must put back.
///
/// # Safety
/// The pointer is the calling thread's own and is valid as long as the thread.
pub unsafe fn errno() -> *mut libc::c_int {
    // SAFETY: takes nothing, and touches no memory of ours.
    unsafe { libc::__error() }
}

/// What SIGPIPE was before std's start-up is not known here, so the programs that we start get the default.
pub static PIPE_SIGNAL_WAS_IGNORED: AtomicBool = AtomicBool::new(false);
