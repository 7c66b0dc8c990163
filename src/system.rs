//! The few things that std does not reach, and the only `unsafe` of the project: who we are, whether our memory may be
//! dumped, and one signal.
#![expect(unsafe_code, reason = "libc calls without a safe wrapper in std")]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The effective user id, which decides whether a file is ours.
pub fn effective_uid() -> u32 {
    static UID: OnceLock<u32> = OnceLock::new();
    // SAFETY: geteuid takes nothing, touches no memory of ours and cannot fail (POSIX).
    *UID.get_or_init(|| unsafe { libc::geteuid() })
}

/// Keeps this process's memory, and with it every token, out of core dumps and away from other processes of the user.
///
/// `PR_SET_DUMPABLE` and not `RLIMIT_CORE`: a limit would be inherited by the programs that `ycred exec` becomes. A kernel
/// that refuses is no reason to refuse the user.
pub fn forbid_dumps() {
    #[cfg(target_os = "linux")]
    // SAFETY: PR_SET_DUMPABLE takes plain integers and changes a flag of this process alone.
    unsafe {
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
    }
}

static FILE_SIZE_SIGNAL_WAS_DEFAULT: AtomicBool = AtomicBool::new(false);

/// Makes a write beyond `ulimit -f` fail with `EFBIG`, which the cache survives, instead of killing us before the token is
/// printed. Called before the first write; a hit never writes a file and so never gets here.
pub fn ignore_file_size_signal() {
    // SAFETY: installing SIG_IGN runs no code of ours in signal context.
    let before = unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    if before == libc::SIG_DFL {
        FILE_SIZE_SIGNAL_WAS_DEFAULT.store(true, Ordering::Relaxed);
    }
}

/// Undoes [`ignore_file_size_signal`], so that a program we become inherits what we inherited. (std itself gives SIGPIPE,
/// which its start-up ignores, back its default before an exec.)
pub fn restore_signals() {
    if FILE_SIZE_SIGNAL_WAS_DEFAULT.swap(false, Ordering::Relaxed) {
        // SAFETY: as above; SIG_DFL was what we found.
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_DFL) };
    }
}

/// Ends a whole process group, which a command of a profile was started in.
pub fn kill_group(leader: u32) {
    if let Ok(pid) = i32::try_from(leader) {
        // SAFETY: kill takes plain integers. A group that is gone already gives ESRCH, which is what was wanted.
        unsafe { libc::kill(-pid, libc::SIGKILL) };
    }
}
