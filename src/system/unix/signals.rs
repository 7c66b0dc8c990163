//! Signals: those that ycred receives, and the settings that the programs it runs inherit.
#![expect(unsafe_code, reason = "libc calls without a safe wrapper in std")]

use std::fs::File;
use std::io::{self, PipeReader, Read as _};
use std::os::fd::{AsRawFd as _, IntoRawFd as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use crate::system::unix::disposition::handler_of;
use crate::system::unix::{inherited, os};

static FILE_SIZE_SIGNAL_WAS_DEFAULT: AtomicBool = AtomicBool::new(false);

/// Makes a write beyond `ulimit -f` fail with `EFBIG`, instead of killing ycred before it prints the token.
///
/// Called before the first write to a file. A cache hit writes no file.
pub fn ignore_file_size_signal() {
    // SAFETY: SIG_IGN runs no code of this program in signal context.
    let before = unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    if before == libc::SIG_DFL {
        FILE_SIZE_SIGNAL_WAS_DEFAULT.store(true, Ordering::Relaxed);
    }
}

static CHILD_SIGNAL_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

/// Resets SIGCHLD to its default before the first child starts.
///
/// If SIGCHLD is inherited as ignored (some daemons do this), the kernel discards exit statuses. An installed
/// handler stays.
pub fn reset_sigchld() {
    if handler_of(libc::SIGCHLD) == Some(libc::SIG_IGN) {
        CHILD_SIGNAL_WAS_IGNORED.store(true, Ordering::Relaxed);
        // SAFETY: SIG_DFL runs no code of this program in signal context.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    }
}

/// The signal mask that ycred inherited, if [`Signals::catch`] has changed it.
static INHERITED_MASK: OnceLock<libc::sigset_t> = OnceLock::new();

/// Makes a program that ycred runs inherit the signal settings that ycred inherited.
///
/// Undoes [`ignore_file_size_signal`], [`reset_sigchld`], [`Signals::catch`], and std's setting for SIGPIPE. execve
/// itself resets the handlers.
pub fn restore_signals(command: &mut Command) {
    let inherited = [
        (&FILE_SIZE_SIGNAL_WAS_DEFAULT, libc::SIGXFSZ, libc::SIG_DFL),
        (&CHILD_SIGNAL_WAS_IGNORED, libc::SIGCHLD, libc::SIG_IGN),
        (&inherited::PIPE_SIGNAL_WAS_IGNORED, libc::SIGPIPE, libc::SIG_IGN),
    ];
    for (_, signal, disposition) in inherited.into_iter().filter(|(is_set, ..)| is_set.load(Ordering::Relaxed)) {
        // SAFETY: signal is async-signal-safe (signal-safety(7)), and nothing else runs between fork and exec.
        unsafe {
            command.pre_exec(move || {
                libc::signal(signal, disposition);
                Ok(())
            });
        }
    }
    if let Some(inherited_mask) = INHERITED_MASK.get().copied() {
        // SAFETY: sigprocmask is async-signal-safe as well, and gets the address of an initialized set.
        unsafe {
            command.pre_exec(move || {
                libc::sigprocmask(libc::SIG_SETMASK, &raw const inherited_mask, std::ptr::null_mut());
                Ok(())
            });
        }
    }
}

/// The signals with which a user, a terminal or a supervisor ends a process.
const ENDING: [i32; 3] = [libc::SIGINT, libc::SIGHUP, libc::SIGTERM];

/// Makes this process ignore the signals that would end it. Async-signal-safe.
pub fn ignore_ending_signals() {
    for signal in ENDING {
        // SAFETY: SIG_IGN runs no code of this program in signal context.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Keeps the signals that would end this process waiting until it is dropped. They then take effect.
pub struct EndingSignalsBlocked(libc::sigset_t);

impl EndingSignalsBlocked {
    pub fn start() -> Self {
        // SAFETY: the functions get pointers to sets on the stack, which are plain data, and change only the mask of
        // this thread. ycred has no other thread that a signal could end, except in `exec --serve`, which catches them.
        unsafe {
            let (mut ending, mut before): (libc::sigset_t, libc::sigset_t) = std::mem::zeroed();
            libc::sigemptyset(&raw mut ending);
            for signal in ENDING {
                libc::sigaddset(&raw mut ending, signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const ending, &raw mut before);
            Self(before)
        }
    }
}

impl Drop for EndingSignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: restores the mask that `start` has saved.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
    }
}

/// The signals that `exec --serve` forwards to its child. On SIGTSTP, ycred stops only after the child has stopped.
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

/// The signals that the terminal sends to every process in its foreground group.
const FROM_THE_TERMINAL: [i32; 5] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGWINCH, libc::SIGTSTP];

/// An event for the process that runs a child.
pub enum SignalEvent {
    /// A child has ended, stopped or continued.
    ChildChanged,
    Received(ReceivedSignal),
}

/// A signal that ycred received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceivedSignal {
    number: i32,
    sender: Sender,
}

/// Who sent a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    /// Another process, with kill(2).
    Process,
    /// The kernel, for example for the terminal.
    Kernel,
    /// One of them: this system does not tell.
    Unknown,
}

impl ReceivedSignal {
    /// Returns true if only ycred got the signal. If the child got it too, a second copy might have another effect.
    pub fn must_be_forwarded(self) -> bool {
        let is_from_terminal = match self.sender {
            Sender::Process => false,
            Sender::Kernel => true,
            Sender::Unknown => Terminal::now().may_signal(),
        };
        !is_from_terminal
            || !FROM_THE_TERMINAL.contains(&self.number)
            || (self.number == libc::SIGHUP && is_session_leader())
    }

    /// Sends the signal to a child that has not been waited for.
    pub fn forward(self, child: u32) {
        send_signal(child, self.number);
    }
}

/// Whether this process had a terminal when it began to catch signals.
static HAD_TERMINAL: AtomicBool = AtomicBool::new(false);

/// What decides whether a signal can come from the terminal, which sends its signals to the process group in the foreground.
/// The child is in ycred's group, unless it has made one of its own.
#[derive(Clone, Copy)]
struct Terminal {
    had_terminal: bool,
    /// The group in the foreground. `None` if the terminal is gone, or if there never was one.
    foreground_group: Option<libc::pid_t>,
    own_group: libc::pid_t,
}

impl Terminal {
    fn now() -> Self {
        // SAFETY: both functions take and return plain integers, and `terminal` keeps the descriptor open.
        let (foreground_group, own_group) = unsafe {
            let group = File::open("/dev/tty").map(|terminal| libc::tcgetpgrp(terminal.as_raw_fd()));
            (group.ok().filter(|group| *group > 0), libc::getpgrp())
        };
        Self { had_terminal: HAD_TERMINAL.load(Ordering::Relaxed), foreground_group, own_group }
    }

    /// Returns true if the terminal may have sent a signal to this process, and so to the child too.
    fn may_signal(self) -> bool {
        match self.foreground_group {
            Some(group) => group == self.own_group,
            None => self.had_terminal,
        }
    }
}

/// The pipe that the handler writes to. It is never closed.
static HANDLER_PIPE: AtomicI32 = AtomicI32::new(-1);

/// The signals that ycred catches.
pub struct Signals(PipeReader);

impl Signals {
    /// Catches SIGCHLD and the signals to forward.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn catch() -> io::Result<Self> {
        reset_sigchld();
        HAD_TERMINAL.store(!os::TELLS_SENDER_OF_SIGNALS && File::open("/dev/tty").is_ok(), Ordering::Relaxed);
        Self::catch_these(FORWARDED.iter().chain(&[libc::SIGCHLD]), None)
    }

    /// Catches the signals that ask a process to end. The first process of a container ignores them otherwise.
    ///
    /// SIGTERM is caught even if it was ignored when ycred started: a supervisor has no other way to end it in time.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn catch_end() -> io::Result<Self> {
        Self::catch_these([libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT].iter(), Some(libc::SIGTERM))
    }

    /// Signals that were ignored when ycred started stay ignored (nohup(1), background jobs of a shell), except `always`.
    /// The others are unblocked, because a parent may have blocked them (signalfd(2)).
    fn catch_these<'a>(signals: impl Iterator<Item = &'a i32>, always: Option<i32>) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let writer = writer.into_raw_fd();
        HANDLER_PIPE.store(writer, Ordering::Relaxed);
        // The handler must never block, so the pipe does not block either.
        // SAFETY: fcntl takes plain integers and gets an open descriptor. The handler only writes to that descriptor.
        // sigaction and the set functions get pointers to initialized structs.
        unsafe {
            libc::fcntl(writer, libc::F_SETFL, libc::O_NONBLOCK);
            let mut unblocked: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut unblocked);
            for signal in signals {
                if always != Some(*signal) && matches!(handler_of(*signal), None | Some(libc::SIG_IGN)) {
                    continue;
                }
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = handle_signal as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
                libc::sigaction(*signal, &raw const action, std::ptr::null_mut());
                libc::sigaddset(&raw mut unblocked, *signal);
            }
            let mut inherited_mask: libc::sigset_t = std::mem::zeroed();
            libc::sigprocmask(libc::SIG_UNBLOCK, &raw const unblocked, &raw mut inherited_mask);
            let _ = INHERITED_MASK.set(inherited_mask);
        }
        Ok(Self(reader))
    }

    /// Waits for the first signal.
    ///
    /// # Errors
    /// Reading the pipe failed, which is not expected.
    pub fn wait_for_any(&mut self) -> io::Result<()> {
        self.0.read_exact(&mut [0; 2])
    }

    /// Waits for the next event.
    ///
    /// # Errors
    /// Reading the pipe failed, which is not expected.
    pub fn wait(&mut self, _: &Child) -> io::Result<SignalEvent> {
        let mut message = [0; 2];
        self.0.read_exact(&mut message)?;
        Ok(match i32::from(message[0]) {
            libc::SIGCHLD => SignalEvent::ChildChanged,
            number => {
                let sender = match message[1] {
                    _ if !os::TELLS_SENDER_OF_SIGNALS => Sender::Unknown,
                    0 => Sender::Kernel,
                    _ => Sender::Process,
                };
                SignalEvent::Received(ReceivedSignal { number, sender })
            }
        })
    }
}

extern "C" fn handle_signal(signal: libc::c_int, info: *const libc::siginfo_t, _: *const libc::c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes a valid siginfo. write is async-signal-safe (signal-safety(7)), and
    // writes two bytes to a pipe completely or not at all. errno is restored, because the interrupted code may read it.
    unsafe {
        let errno = *os::errno();
        // si_code is positive only for signals from the kernel (sigaction(2)).
        let message = [signal as u8, u8::from((*info).si_code <= 0)];
        libc::write(HANDLER_PIPE.load(Ordering::Relaxed), message.as_ptr().cast(), message.len());
        *os::errno() = errno;
    }
}

/// Sends a signal to a child that has not been waited for.
fn send_signal(child: u32, signal: i32) {
    if let Ok(pid) = i32::try_from(child) {
        // SAFETY: kill takes plain integers. The id belongs to the child until it is waited for.
        unsafe { libc::kill(pid, signal) };
    }
}

/// Stops ycred if its child has stopped, so that ycred's parent (usually a shell) notices. Continues the child after
/// ycred is continued.
///
/// A child stops by Ctrl-Z, or by itself, as with a shell's `suspend`.
pub fn stop_like_child(child: u32) {
    // The first process of a container cannot be stopped from inside.
    if std::process::id() == 1 || !is_stopped(child) {
        return;
    }
    // The child may have continued already (Ctrl-Z, then `fg`), so check again.
    std::thread::sleep(Duration::from_millis(20));
    if is_stopped(child) {
        // If the child is a shell, it has its own process group, which was in the foreground. ycred's parent later
        // gives the terminal to ycred's group, so ycred gives it back to the child's group.
        let terminal = File::open("/dev/tty").ok();
        // SAFETY: these functions take and return plain integers, and `terminal` keeps the descriptor open. tcsetpgrp
        // may cause SIGTTOU, which is ignored ([`release_terminal`]).
        unsafe {
            let foreground_group = |terminal: &File| libc::tcgetpgrp(terminal.as_raw_fd());
            let before = terminal.as_ref().map(foreground_group);
            libc::raise(libc::SIGSTOP);
            let group = libc::getpgid(i32::try_from(child).unwrap_or(-1));
            let had_terminal = group > 0 && group != libc::getpgrp() && before == Some(group);
            if let Some(terminal) =
                terminal.filter(|terminal| had_terminal && foreground_group(terminal) == libc::getpgrp())
            {
                libc::tcsetpgrp(terminal.as_raw_fd(), group);
            }
        }
        send_signal(child, libc::SIGCONT);
    }
}

/// Returns true if the child is stopped now.
fn is_stopped(child: u32) -> bool {
    // SAFETY: waitid fills a siginfo_t, which is plain data. WNOWAIT leaves the child's state unchanged.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let options = libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT;
        libc::waitid(libc::P_PID, child, &raw mut info, options) == 0 && info.si_signo == libc::SIGCHLD
    }
}

/// Returns true if ycred leads its session. If the terminal is closed, the kernel sends SIGHUP to the session leader
/// only.
fn is_session_leader() -> bool {
    // SAFETY: both take and return plain integers and write no memory.
    unsafe { libc::getsid(0) == libc::getpid() }
}

/// Leaves the terminal, stdin and stdout to the child. ycred keeps stderr for its messages.
///
/// ycred no longer holds a pipe open on stdin or stdout, so the pipe closes when the child closes it. If the child is in
/// the background and uses the terminal, the kernel stops it, and ycred stops with it ([`stop_like_child`]).
pub fn release_terminal() {
    for signal in [libc::SIGTTIN, libc::SIGTTOU] {
        // SAFETY: SIG_IGN runs no code of this program in signal context.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    let Ok(null) = File::options().read(true).write(true).open("/dev/null") else { return };
    for descriptor in [libc::STDIN_FILENO, libc::STDOUT_FILENO] {
        // SAFETY: dup2 takes plain integers. std stores only the numbers of these descriptors.
        unsafe { libc::dup2(null.as_raw_fd(), descriptor) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_of_an_unknown_sender_is_forwarded_unless_the_terminal_may_have_sent_it() {
        let may_signal =
            |had_terminal, foreground_group| Terminal { had_terminal, foreground_group, own_group: 7 }.may_signal();
        assert!(may_signal(true, Some(7)), "in the foreground, Ctrl-C reaches the child without help");
        assert!(!may_signal(true, Some(8)), "in the background, only a process sends signals");
        assert!(!may_signal(false, None), "a service without a terminal");
        assert!(may_signal(true, None), "the terminal was closed, which sent SIGHUP to the group");
    }

    #[test]
    fn what_the_terminal_never_sends_is_always_forwarded() {
        for sender in [Sender::Process, Sender::Kernel, Sender::Unknown] {
            assert!(ReceivedSignal { number: libc::SIGTERM, sender }.must_be_forwarded(), "{sender:?}");
        }
        assert!(ReceivedSignal { number: libc::SIGINT, sender: Sender::Process }.must_be_forwarded());
        assert!(!ReceivedSignal { number: libc::SIGINT, sender: Sender::Kernel }.must_be_forwarded());
    }
}
