//! The few things that std does not reach, and the only `unsafe` of the project: who we are, whether our memory may be
//! dumped, and one signal.
#![expect(unsafe_code, reason = "libc calls without a safe wrapper in std")]

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The effective user id, which decides whether a file is ours.
pub fn effective_uid() -> u32 {
    // On Linux the kernel has left it beside the arguments (getauxval(3)), which saves a hit a system call.
    #[cfg(target_os = "linux")]
    // SAFETY: getauxval takes a plain integer and reads what the kernel put there before our first instruction.
    let uid = u32::try_from(unsafe { libc::getauxval(libc::AT_EUID) }).unwrap_or(u32::MAX);
    #[cfg(not(target_os = "linux"))]
    // SAFETY: geteuid takes nothing, touches no memory of ours and cannot fail (POSIX).
    let uid = unsafe { libc::geteuid() };
    uid
}

/// Keeps this process's memory, and with it every token, out of core dumps and away from other processes of the user.
///
/// `PR_SET_DUMPABLE` and not `RLIMIT_CORE`: a limit would be inherited by the programs that `ycred exec` becomes. A
/// kernel that refuses is no reason to refuse the user.
pub fn forbid_dumps() {
    #[cfg(target_os = "linux")]
    // SAFETY: PR_SET_DUMPABLE takes plain integers and changes a flag of this process alone.
    unsafe {
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
    }
}

static FILE_SIZE_SIGNAL_WAS_DEFAULT: AtomicBool = AtomicBool::new(false);

/// Makes a write beyond `ulimit -f` fail with `EFBIG`, which the cache survives, instead of killing us before the token
/// is printed. Called before the first write; a hit never writes a file and so never gets here.
pub fn ignore_file_size_signal() {
    // SAFETY: installing SIG_IGN runs no code of ours in signal context.
    let before = unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    if before == libc::SIG_DFL {
        FILE_SIZE_SIGNAL_WAS_DEFAULT.store(true, Ordering::Relaxed);
    }
}

static CHILD_SIGNAL_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

/// Makes the ends of children known to us, before the first is started. Daemons that ignore SIGCHLD bequeath that, and the
/// kernel then throws a child's exit status away.
pub fn watch_children() {
    // SAFETY: SIG_DFL runs no code of ours in signal context.
    let before = unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    if before == libc::SIG_IGN {
        CHILD_SIGNAL_WAS_IGNORED.store(true, Ordering::Relaxed);
    }
}

/// Undoes [`ignore_file_size_signal`] and [`watch_children`], so that a program we become inherits what we inherited.
pub fn restore_signals() {
    if FILE_SIZE_SIGNAL_WAS_DEFAULT.swap(false, Ordering::Relaxed) {
        // SAFETY: as above; SIG_DFL was what we found.
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_DFL) };
    }
    if CHILD_SIGNAL_WAS_IGNORED.swap(false, Ordering::Relaxed) {
        // SAFETY: as above; SIG_IGN was what we found.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    }
}

/// What SIGPIPE was when we were started: std's own start-up overwrites it, so it is read before that.
static PIPE_SIGNAL_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

#[cfg(target_os = "linux")]
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_START: extern "C" fn() = {
    extern "C" fn read_pipe_signal() {
        // SAFETY: with a null pointer for the new action sigaction only reads; the struct is plain data.
        unsafe {
            let mut inherited: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(libc::SIGPIPE, std::ptr::null(), &raw mut inherited) == 0 {
                PIPE_SIGNAL_WAS_IGNORED.store(inherited.sa_sigaction == libc::SIG_IGN, Ordering::Relaxed);
            }
        }
    }
    read_pipe_signal
};

/// Makes `command` inherit SIGPIPE as we did; std would give it the default.
pub fn pass_on_signals(command: &mut Command) {
    if PIPE_SIGNAL_WAS_IGNORED.load(Ordering::Relaxed) {
        // SAFETY: signal is async-signal-safe (signal-safety(7)), and nothing else is done between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::signal(libc::SIGPIPE, libc::SIG_IGN);
                Ok(())
            });
        }
    }
}

/// Makes a child end when we are killed, instead of going on unseen. (What it has started itself is not reached.)
pub fn end_with_us(command: &mut Command) {
    #[cfg(target_os = "linux")]
    // SAFETY: prctl with plain integers, and nothing else is done between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
    #[cfg(not(target_os = "linux"))]
    let _ = command;
}

/// What waiting for a descriptor came to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Readable {
    /// The patience was over first.
    NotYet,
    Some,
    /// Nobody will write any more, so that no further read will block.
    ToTheEnd,
}

/// Waits until a descriptor has something to read, or has ended.
pub fn wait_readable(descriptor: i32, patience: Duration) -> Readable {
    let mut poll = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
    let patience = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: one pollfd, whose address and count are right. An error (EINTR, a file that cannot be polled) counts as
    // readable: the read that follows tells.
    match unsafe { libc::poll(&raw mut poll, 1, patience) } {
        0 => Readable::NotYet,
        _ if poll.revents & libc::POLLHUP != 0 => Readable::ToTheEnd,
        _ => Readable::Some,
    }
}

/// Ends a whole process group, which a command of a profile was started in.
pub fn kill_group(leader: u32) {
    if let Ok(pid) = i32::try_from(leader) {
        // SAFETY: kill takes plain integers. A group that is gone already gives ESRCH, which is what was wanted.
        unsafe { libc::kill(-pid, libc::SIGKILL) };
    }
}
