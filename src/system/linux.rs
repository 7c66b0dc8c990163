//! What only Linux has.
#![expect(unsafe_code, reason = "libc calls without a safe wrapper in std")]

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

/// The programs that open a URL, tried in turn.
pub const URL_OPENERS: &[&[&str]] = &[&["xdg-open"], &["gio", "open"], &["wslview"]];

/// The effective user id. The kernel has left it beside the arguments (getauxval(3)), which saves a hit a system call.
pub fn effective_uid() -> u32 {
    // SAFETY: getauxval takes a plain integer and reads what the kernel put there before our first instruction.
    u32::try_from(unsafe { libc::getauxval(libc::AT_EUID) }).unwrap_or(u32::MAX)
}

/// The file that this process runs, as the kernel left it beside the arguments (getauxval(3), `AT_EXECFN`).
pub fn executable() -> Option<PathBuf> {
    // SAFETY: the kernel has put a pointer to a string with a NUL at its end there, which stays as long as the process.
    let path = unsafe {
        let name = libc::getauxval(libc::AT_EXECFN) as *const libc::c_char;
        (!name.is_null()).then(|| CStr::from_ptr(name))
    }?;
    let path = PathBuf::from(OsStr::from_bytes(path.to_bytes()));
    Some(std::path::absolute(&path).unwrap_or(path))
}

/// See [`super::process::disable_core_dumps`].
///
/// `PR_SET_DUMPABLE` and not `RLIMIT_CORE`: a limit would be inherited by the programs that `ycred exec` becomes.
pub fn disable_core_dumps() {
    // SAFETY: PR_SET_DUMPABLE takes plain integers and changes a flag of this process alone.
    unsafe {
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
    }
}

/// See [`super::process::kill_child_on_exit`].
pub fn kill_child_on_exit(command: &mut Command) {
    // SAFETY: prctl with plain integers, and nothing else is done between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
}

/// Where libc keeps `errno`, which a signal handler must put back.
///
/// # Safety
/// The pointer is the calling thread's own and is valid as long as the thread.
pub unsafe fn errno() -> *mut libc::c_int {
    // SAFETY: takes nothing, and touches no memory of ours.
    unsafe { libc::__errno_location() }
}

/// Whether SIGPIPE was ignored when we were started: std's own start-up overwrites it, so it is read before that.
pub static PIPE_SIGNAL_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_START: extern "C" fn() = {
    extern "C" fn read_pipe_signal() {
        let was_ignored = super::unix::handler_of(libc::SIGPIPE) == Some(libc::SIG_IGN);
        PIPE_SIGNAL_WAS_IGNORED.store(was_ignored, Ordering::Relaxed);
    }
    read_pipe_signal
};
