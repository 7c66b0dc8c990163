//! The few things that std does not reach, and the only `unsafe` of the project: who we are, whether our memory may be
//! dumped, and signals.
#![expect(unsafe_code, reason = "libc calls without a safe wrapper in std")]

pub mod clock;
pub mod loopback;
pub mod peer;

use std::fs::File;
use std::io::{self, PipeReader, Read as _};
use std::os::fd::{AsRawFd as _, IntoRawFd as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
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

/// The file that this process runs; also where there is no `/proc` to ask (getauxval(3), `AT_EXECFN`).
pub fn executable() -> Option<PathBuf> {
    if let Ok(path) = std::env::current_exe() {
        return Some(path);
    }
    #[cfg(target_os = "linux")]
    {
        // SAFETY: the kernel has put a pointer to a string with a NUL at its end there, which stays as long as the process.
        let path = unsafe {
            let name = libc::getauxval(libc::AT_EXECFN) as *const libc::c_char;
            (!name.is_null()).then(|| std::ffi::CStr::from_ptr(name))
        }?;
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(path.to_bytes()));
        return Some(std::path::absolute(&path).unwrap_or(path));
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// Keeps this process's memory, and with it every token, out of core dumps and away from other processes of the user.
///
/// `PR_SET_DUMPABLE` and not `RLIMIT_CORE`: a limit would be inherited by the programs that `ycred exec` becomes. A
/// kernel that refuses is no reason to refuse the user.
pub fn disable_core_dumps() {
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
/// kernel then throws a child's exit status away. What has been caught of it stays so.
pub fn reset_sigchld() {
    if handler_of(libc::SIGCHLD) == Some(libc::SIG_IGN) {
        CHILD_SIGNAL_WAS_IGNORED.store(true, Ordering::Relaxed);
        // SAFETY: SIG_DFL runs no code of ours in signal context.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    }
}

/// What is done with a signal; none for one that the system does not know.
fn handler_of(signal: i32) -> Option<libc::sighandler_t> {
    // SAFETY: with a null pointer for the new action sigaction only reads; the struct is plain data.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        (libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0).then_some(action.sa_sigaction)
    }
}

/// What SIGPIPE was when we were started: std's own start-up overwrites it, so it is read before that.
static PIPE_SIGNAL_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

#[cfg(target_os = "linux")]
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_START: extern "C" fn() = {
    extern "C" fn read_pipe_signal() {
        PIPE_SIGNAL_WAS_IGNORED.store(handler_of(libc::SIGPIPE) == Some(libc::SIG_IGN), Ordering::Relaxed);
    }
    read_pipe_signal
};

/// The signals that were held back when we were started, where [`Signals::catch`] has let some of them in.
static HELD_BACK: OnceLock<libc::sigset_t> = OnceLock::new();

/// Makes a program that we start, or become, inherit the signals as we did: undoes [`ignore_file_size_signal`],
/// [`reset_sigchld`] and [`Signals::catch`], and std's default for SIGPIPE. (What we catch is the default again by execve
/// itself.)
pub fn restore_signals(command: &mut Command) {
    let found = [
        (&FILE_SIZE_SIGNAL_WAS_DEFAULT, libc::SIGXFSZ, libc::SIG_DFL),
        (&CHILD_SIGNAL_WAS_IGNORED, libc::SIGCHLD, libc::SIG_IGN),
        (&PIPE_SIGNAL_WAS_IGNORED, libc::SIGPIPE, libc::SIG_IGN),
    ];
    for (_, signal, disposition) in found.into_iter().filter(|(was_so, ..)| was_so.load(Ordering::Relaxed)) {
        // SAFETY: signal is async-signal-safe (signal-safety(7)), and nothing else is done between fork and exec.
        unsafe {
            command.pre_exec(move || {
                libc::signal(signal, disposition);
                Ok(())
            });
        }
    }
    if let Some(held_back) = HELD_BACK.get().copied() {
        // SAFETY: as above for sigprocmask, which gets the address of a whole set.
        unsafe {
            command.pre_exec(move || {
                libc::sigprocmask(libc::SIG_SETMASK, &raw const held_back, std::ptr::null_mut());
                Ok(())
            });
        }
    }
}

/// A signal that has come for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    pub signal: i32,
    /// A process has sent it, by kill(2). Otherwise it is the kernel's: the terminal's, for one, which every process of the
    /// group gets for itself.
    pub was_sent: bool,
}

/// Where the handler writes to; the end of a pipe that is never closed.
static ARRIVALS: AtomicI32 = AtomicI32::new(-1);

/// Signals that are caught from here on, instead of what they did.
pub struct Signals(PipeReader);

impl Signals {
    /// Catches these, but for those that we were told to ignore (nohup(1), and a shell's background jobs), also where we were
    /// started with them held back, as by a program that takes its own by signalfd(2).
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn catch(signals: &[i32]) -> io::Result<Self> {
        reset_sigchld();
        let (reader, writer) = io::pipe()?;
        let writer = writer.into_raw_fd();
        ARRIVALS.store(writer, Ordering::Relaxed);
        // SAFETY: fcntl on a descriptor of ours, with plain integers: the handler must never block. The handler itself
        // does nothing but write to that descriptor, and sigaction gets pointers to whole structs.
        unsafe {
            libc::fcntl(writer, libc::F_SETFL, libc::O_NONBLOCK);
            let mut let_in: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut let_in);
            for signal in signals {
                if matches!(handler_of(*signal), None | Some(libc::SIG_IGN)) {
                    continue;
                }
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = arrive as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
                libc::sigaction(*signal, &raw const action, std::ptr::null_mut());
                libc::sigaddset(&raw mut let_in, *signal);
            }
            let mut held_back: libc::sigset_t = std::mem::zeroed();
            libc::sigprocmask(libc::SIG_UNBLOCK, &raw const let_in, &raw mut held_back);
            let _ = HELD_BACK.set(held_back);
        }
        Ok(Self(reader))
    }

    /// Waits for the next one.
    ///
    /// # Errors
    /// What the system says; nothing is known to bring it about.
    pub fn wait(&mut self) -> io::Result<Arrived> {
        let mut note = [0; 2];
        self.0.read_exact(&mut note)?;
        Ok(Arrived { signal: note[0].into(), was_sent: note[1] != 0 })
    }
}

extern "C" fn arrive(signal: libc::c_int, info: *const libc::siginfo_t, _: *const libc::c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes a valid siginfo. write is async-signal-safe (signal-safety(7)); two
    // bytes of a pipe are written whole or not at all; and errno, which the interrupted code may be about to read, is
    // put back.
    unsafe {
        #[cfg(target_os = "linux")]
        let errno = *libc::__errno_location();
        // SI_USER, SI_QUEUE and SI_TKILL are not positive (sigaction(2)); what the kernel itself sends is.
        let note = [signal as u8, u8::from((*info).si_code <= 0)];
        libc::write(ARRIVALS.load(Ordering::Relaxed), note.as_ptr().cast(), note.len());
        #[cfg(target_os = "linux")]
        {
            *libc::__errno_location() = errno;
        }
    }
}

/// Sends a signal to a child of ours that has not been waited for.
pub fn send_signal(child: u32, signal: i32) {
    if let Ok(pid) = i32::try_from(child) {
        // SAFETY: kill takes plain integers; until it is waited for, the id is the child's.
        unsafe { libc::kill(pid, signal) };
    }
}

/// Stops us where a child of ours has stopped (by Ctrl-Z, or by itself as a shell's `suspend`), so that whoever waits for us
/// sees it, as if it had taken our place; continued, we continue it.
pub fn stop_like_child(child: u32) {
    // The first process of a container cannot be stopped from inside.
    if std::process::id() == 1 || !is_stopped(child) {
        return;
    }
    // After Ctrl-Z and `fg` the news of its stop may be older than its going on.
    std::thread::sleep(Duration::from_millis(20));
    if is_stopped(child) {
        // A shell has a group of its own, which the terminal was for, and gets it back: whoever continues us knows ours alone.
        let terminal = File::open("/dev/tty").ok();
        // SAFETY: these take and give plain integers, and the descriptor is open while `terminal` lives; SIGTTOU, which the
        // last could bring about, is ignored ([`release_terminal`]).
        unsafe {
            let in_front = |terminal: &File| libc::tcgetpgrp(terminal.as_raw_fd());
            let before = terminal.as_ref().map(in_front);
            libc::raise(libc::SIGSTOP);
            let group = libc::getpgid(i32::try_from(child).unwrap_or(-1));
            let has_its_own = group > 0 && group != libc::getpgrp() && before == Some(group);
            if let Some(terminal) = terminal.filter(|terminal| has_its_own && in_front(terminal) == libc::getpgrp()) {
                libc::tcsetpgrp(terminal.as_raw_fd(), group);
            }
        }
        send_signal(child, libc::SIGCONT);
    }
}

/// Whether a child of ours is stopped at this moment.
fn is_stopped(child: u32) -> bool {
    // SAFETY: waitid fills a whole siginfo_t, which is plain data; WNOWAIT leaves everything as it is.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let options = libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT;
        libc::waitid(libc::P_PID, child, &raw mut info, options) == 0 && info.si_signo == libc::SIGCHLD
    }
}

/// Ends as a child of ours did: by the same signal where it was one, as if it had taken our place, whatever was caught of it.
/// What is left of us then (the first process of a container survives its own signals) says it as shells do, by the exit code
/// that is returned.
pub fn end_as(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(u8::MAX),
        (None, signal) => {
            let signal = signal.unwrap_or_default();
            // SAFETY: SIG_DFL runs no code of ours, and raise takes a plain integer.
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
                libc::raise(signal);
            }
            u8::try_from(128 + signal).unwrap_or(u8::MAX)
        }
    }
}

/// Becomes a program. Returns only where that cannot be.
pub fn become_program(command: &mut Command) -> io::Error {
    command.exec()
}

/// Whether the end of our terminal (a connection that breaks) is told to us alone, as the leader of its session.
pub fn is_session_leader() -> bool {
    // SAFETY: both take and give plain integers, and touch no memory of ours.
    unsafe { libc::getsid(0) == libc::getpid() }
}

/// Leaves the terminal and the standard streams to a child of ours: its end of a pipe is the only one from now on, and what
/// the child does with a terminal that is another group's stops the child, and us with it ([`stop_like_child`]).
pub fn release_terminal() {
    for signal in [libc::SIGTTIN, libc::SIGTTOU] {
        // SAFETY: SIG_IGN runs no code of ours in signal context.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    let Ok(nothing) = File::options().read(true).write(true).open("/dev/null") else { return };
    for descriptor in [libc::STDIN_FILENO, libc::STDOUT_FILENO] {
        // SAFETY: dup2 takes plain integers, and what std keeps of these two are their numbers alone.
        unsafe { libc::dup2(nothing.as_raw_fd(), descriptor) };
    }
}

/// Makes a child end when we are killed, instead of going on unseen. (What it has started itself is not reached.)
pub fn kill_child_on_exit(command: &mut Command) {
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

/// Waits until standard input has something to read, or has ended.
pub fn wait_for_stdin(patience: Duration) -> Readable {
    let mut poll = libc::pollfd { fd: libc::STDIN_FILENO, events: libc::POLLIN, revents: 0 };
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
