//! Signals: those that come for us, and those that the programs that we start inherit.
#![expect(unsafe_code, reason = "libc calls without a safe wrapper in std")]

use std::fs::File;
use std::io::{self, PipeReader, Read as _};
use std::os::fd::{AsRawFd as _, IntoRawFd as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use crate::system::os;
use crate::system::unix::handler_of;

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

/// The signals that were held back when we were started, where [`Signals::catch`] has let some of them in.
static HELD_BACK: OnceLock<libc::sigset_t> = OnceLock::new();

/// Makes a program that we start, or become, inherit the signals as we did: undoes [`ignore_file_size_signal`],
/// [`reset_sigchld`] and [`Signals::catch`], and std's default for SIGPIPE. (What we catch is the default again by execve
/// itself.)
pub fn restore_signals(command: &mut Command) {
    let found = [
        (&FILE_SIZE_SIGNAL_WAS_DEFAULT, libc::SIGXFSZ, libc::SIG_DFL),
        (&CHILD_SIGNAL_WAS_IGNORED, libc::SIGCHLD, libc::SIG_IGN),
        (&os::PIPE_SIGNAL_WAS_IGNORED, libc::SIGPIPE, libc::SIG_IGN),
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

/// What a process would send to a program, and `exec --serve` passes on to its child. (It stops when the child does, and not
/// before.)
const FORWARDED: [i32; 10] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGWINCH,
    libc::SIGTSTP,
    libc::SIGCONT,
];

/// Those that the terminal sends, to every process of its group.
const FROM_THE_TERMINAL: [i32; 5] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGWINCH, libc::SIGTSTP];

/// What has come.
pub enum SignalEvent {
    /// A child has ended, stopped or gone on.
    ChildChanged,
    Received(ReceivedSignal),
}

/// A signal that has come for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceivedSignal {
    number: i32,
    /// A process has sent it, by kill(2). Otherwise it is the kernel's: the terminal's, for one, which every process of the
    /// group gets for itself.
    was_sent: bool,
}

impl ReceivedSignal {
    /// Returns true if the child does not get the signal by itself: twice would mean something else to it.
    pub fn must_be_forwarded(self) -> bool {
        self.was_sent
            || !FROM_THE_TERMINAL.contains(&self.number)
            || (self.number == libc::SIGHUP && is_session_leader())
    }

    /// Sends it to a child of ours that has not been waited for.
    pub fn forward(self, child: u32) {
        send_signal(child, self.number);
    }
}

/// Where the handler writes to; the end of a pipe that is never closed.
static ARRIVALS: AtomicI32 = AtomicI32::new(-1);

/// Signals that are caught from here on, instead of what they did.
pub struct Signals(PipeReader);

impl Signals {
    /// Catches what is to be passed on and the ends of children, but for those signals that we were told to ignore (nohup(1), and a shell's background jobs), also where we were
    /// started with them held back, as by a program that takes its own by signalfd(2).
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn catch() -> io::Result<Self> {
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
            for signal in FORWARDED.iter().chain(&[libc::SIGCHLD]) {
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
    pub fn wait(&mut self) -> io::Result<SignalEvent> {
        let mut note = [0; 2];
        self.0.read_exact(&mut note)?;
        Ok(match i32::from(note[0]) {
            libc::SIGCHLD => SignalEvent::ChildChanged,
            number => SignalEvent::Received(ReceivedSignal { number, was_sent: note[1] != 0 }),
        })
    }
}

extern "C" fn arrive(signal: libc::c_int, info: *const libc::siginfo_t, _: *const libc::c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes a valid siginfo. write is async-signal-safe (signal-safety(7)); two
    // bytes of a pipe are written whole or not at all; and errno, which the interrupted code may be about to read, is
    // put back.
    unsafe {
        let errno = *os::errno();
        // SI_USER, SI_QUEUE and SI_TKILL are not positive (sigaction(2)); what the kernel itself sends is.
        let note = [signal as u8, u8::from((*info).si_code <= 0)];
        libc::write(ARRIVALS.load(Ordering::Relaxed), note.as_ptr().cast(), note.len());
        *os::errno() = errno;
    }
}

/// Sends a signal to a child of ours that has not been waited for.
fn send_signal(child: u32, signal: i32) {
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

/// Whether the end of our terminal (a connection that breaks) is told to us alone, as the leader of its session.
fn is_session_leader() -> bool {
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
