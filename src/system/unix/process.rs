//! Functions for this process and its children.
#![expect(unsafe_code, reason = "libc calls without a safe wrapper in std")]

use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::system::unix::{inherited, os, signals};

/// Returns the effective user id, which decides whether this user owns a file.
pub fn effective_uid() -> u32 {
    os::effective_uid()
}

/// Returns the variables of this process, without a copy.
///
/// std's own function copies every name and value. As in std, an entry without `=` after its first character is skipped.
pub fn environment() -> impl Iterator<Item = (&'static OsStr, &'static OsStr)> {
    let first = os::environment();
    let entries = (0..).map_while(move |index| {
        // SAFETY: the C library initialises the array before `main`: null, or pointers to strings up to a null pointer.
        // `map_while` stops there, so `index` never goes beyond it. Nothing in this program changes the environment of the
        // process, so the array and its strings are never moved or written.
        unsafe {
            let entry = if first.is_null() { first.cast() } else { *first.add(index) };
            (!entry.is_null()).then(|| CStr::from_ptr::<'static>(entry).to_bytes())
        }
    });
    entries.filter_map(|entry| {
        let at = 1 + entry.get(1..)?.iter().position(|byte| *byte == b'=')?;
        Some((OsStr::from_bytes(&entry[..at]), OsStr::from_bytes(&entry[at + 1..])))
    })
}

/// Returns the effective group id.
pub fn effective_gid() -> u32 {
    // SAFETY: getegid takes no arguments, writes no memory and cannot fail (POSIX).
    unsafe { libc::getegid() }
}

/// Returns the executable of this process. On Linux this works without `/proc` too.
pub fn executable() -> Option<PathBuf> {
    std::env::current_exe().ok().or_else(os::executable)
}

/// Opens for reading the program that this process runs, even if another file has its path by now.
///
/// # Errors
/// Those of open(2).
pub fn open_program() -> io::Result<File> {
    File::open(os::PROGRAM).or_else(|error| File::open(executable().ok_or(error)?))
}

/// Keeps this process's memory, which contains tokens, out of core dumps and away from other processes of the user.
///
/// A failure is ignored.
pub fn disable_core_dumps() {
    os::disable_core_dumps();
}

/// Ends this process as its child ended: with the same signal, or with the returned exit code.
///
/// The first process of a container survives its own signals. It gets the exit code that a shell would use for the
/// signal.
pub fn end_as(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(u8::MAX),
        (None, signal) => {
            let signal = signal.unwrap_or_default();
            // SAFETY: SIG_DFL runs no code of this program, and raise takes a plain integer.
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
                libc::raise(signal);
            }
            u8::try_from(128 + signal).unwrap_or(u8::MAX)
        }
    }
}

/// Replaces this process with a program. Returns only on failure.
pub fn become_program(command: &mut Command) -> io::Error {
    command.exec()
}

/// Returns true for the first process of a container or a machine. Its end kills all other processes.
pub fn is_first() -> bool {
    std::process::id() == 1
}

/// Starts this program again, as a process that outlives this one, with some variables changed.
///
/// It has its own session, `/` as its directory and the null device as its standard streams. It inherits no other
/// descriptor and ignores SIGINT, SIGHUP and SIGTERM. It is not a child of this process, which may become another
/// program that must not have an unknown child.
///
/// # Errors
/// No process can be started.
pub fn start_again<A: AsRef<OsStr>>(
    arguments: impl IntoIterator<Item = A>,
    variables: &[(&str, OsString)],
) -> io::Result<()> {
    let program = os::own_program().or_else(executable).ok_or(io::ErrorKind::NotFound)?;
    signals::reset_sigchld();
    let mut command = Command::new(program);
    // Under the name of a hook's link, ycred would run that hook.
    command.arg0("ycred").args(arguments).envs(variables.iter().map(|(name, value)| (name, value))).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: between fork and exec, the closure calls only async-signal-safe functions (signal-safety(7)) and touches
    // no memory of other threads.
    unsafe {
        command.pre_exec(|| {
            match libc::fork() {
                -1 => return Err(io::Error::last_os_error()),
                0 => {}
                // The new process is then adopted by the system. It still reports a failing exec to this one.
                _ => libc::_exit(0),
            }
            if libc::setsid() == -1 {
                return Err(io::Error::last_os_error());
            }
            signals::ignore_ending_signals();
            os::close_other_descriptors_on_exec();
            Ok(())
        });
    }
    // The process in between has ended. An error here means that its status was collected elsewhere.
    let _ = command.spawn()?.wait();
    Ok(())
}

/// Makes the kernel end this process after some time, whatever it is doing then.
pub fn end_after(limit: Duration) {
    let seconds = u32::try_from(limit.as_secs()).unwrap_or(u32::MAX);
    // SAFETY: SIG_DFL runs no code of this program, and both functions take plain integers.
    unsafe {
        libc::signal(libc::SIGALRM, libc::SIG_DFL);
        libc::alarm(seconds);
    }
}

/// Starts a program in its own process group.
pub fn in_own_group(command: &mut Command) -> &mut Command {
    command.process_group(0)
}

/// What a child gets when ycred is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParentEnd {
    /// SIGTERM, so that it can end in its own way.
    Terminate,
    /// SIGKILL.
    Kill,
}

/// Makes the kernel end the child when the thread that starts it ends, and so when ycred is killed. Does not affect the
/// child's own children.
pub fn end_child_with_parent(command: &mut Command, how: ParentEnd) {
    let signal = match how {
        ParentEnd::Terminate => libc::SIGTERM,
        ParentEnd::Kill => libc::SIGKILL,
    };
    os::end_child_with_parent(command, signal);
}

/// The result of waiting for input.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Readable {
    /// The time limit was reached.
    NotYet,
    Some,
    /// No writer is left, so no further read will block.
    AtEnd,
}

/// Reads from standard input.
///
/// # Errors
/// Those of read(2).
pub fn read_stdin(buffer: &mut [u8]) -> io::Result<usize> {
    io::stdin().lock().read(buffer)
}

/// Waits until standard input is readable or has ended.
pub fn wait_for_stdin(timeout: Duration) -> Readable {
    let mut poll = libc::pollfd { fd: libc::STDIN_FILENO, events: libc::POLLIN, revents: 0 };
    let timeout = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // An error (EINTR, a file that cannot be polled) counts as readable: the following read reports it.
    // SAFETY: `poll` is one valid pollfd, and the count is 1.
    match unsafe { libc::poll(&raw mut poll, 1, timeout) } {
        0 => Readable::NotYet,
        _ if poll.revents & libc::POLLHUP != 0 => Readable::AtEnd,
        _ => Readable::Some,
    }
}

/// Whether the locale decides which characters a terminal shows.
pub const USES_LOCALE: bool = true;

/// Returns true: terminals understand escape sequences without being asked.
pub fn enable_escapes() -> bool {
    true
}

/// Returns the number of columns of the terminal at stderr.
pub fn terminal_width() -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize (tty_ioctl(4)), and `size` is one.
    let result = unsafe { libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    (result == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// Writes to stdout without a buffer.
///
/// Unlike std's stdout, it fails if stdout is closed or open for reading only: a lost reply must not look like a success.
///
/// # Errors
/// Those of write(2). `BrokenPipe` also for a closed stdout.
pub fn write_stdout(piece: &[u8]) -> io::Result<()> {
    let closed = || io::Error::new(io::ErrorKind::BrokenPipe, "stdout is closed");
    if inherited::STDOUT_WAS_CLOSED.load(Ordering::Relaxed) {
        return Err(closed());
    }
    // SAFETY: std keeps descriptor 1 open while the process runs, and `ManuallyDrop` does not close it.
    let mut stdout = ManuallyDrop::new(unsafe { File::from_raw_fd(libc::STDOUT_FILENO) });
    let written = stdout.write_all(piece);
    written.map_err(|error| if error.raw_os_error() == Some(libc::EBADF) { closed() } else { error })
}

/// Why a program could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFailure {
    /// The program, its interpreter or its directory does not exist.
    Missing,
    /// The program or its interpreter is not executable, or its file system forbids that.
    NotExecutable,
    /// The system forbids this process to start programs: a sandbox or a security policy.
    Forbidden,
    /// The file is not a program for this machine.
    WrongFormat,
    /// The limit of processes is reached.
    ProcessLimit,
    /// The limit of open files is reached.
    FileLimit,
    /// Another process is writing the file.
    Busy,
    /// The arguments and variables are too long.
    TooLong,
    Other,
}

impl StartFailure {
    /// Returns the reason for an error of fork(2) or execve(2).
    pub fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => Self::Missing,
            Some(libc::EACCES) => Self::NotExecutable,
            // A filter of system calls answers with one of these two.
            Some(libc::EPERM | libc::ENOSYS) => Self::Forbidden,
            Some(libc::ENOEXEC | libc::EINVAL) => Self::WrongFormat,
            Some(libc::EAGAIN | libc::ENOMEM) => Self::ProcessLimit,
            Some(libc::EMFILE | libc::ENFILE) => Self::FileLimit,
            Some(libc::ETXTBSY) => Self::Busy,
            Some(libc::E2BIG) => Self::TooLong,
            _ => Self::Other,
        }
    }
}

/// Returns true if no connection could be made because of a limit or a sandbox of this process: another process of this user may
/// have none.
pub fn is_limit_of_this_process(error: &io::Error) -> bool {
    let codes = [
        libc::EAFNOSUPPORT,
        libc::EPERM,
        libc::EACCES,
        libc::EMFILE,
        libc::ENFILE,
        libc::ENOMEM,
        libc::ENOBUFS,
        libc::ENOSYS,
    ];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// Returns true if a child has ended. It stays a zombie, so that its process group cannot become that of a stranger.
///
/// # Errors
/// Those of waitid(2).
pub fn has_ended(child: &Child) -> io::Result<bool> {
    // SAFETY: `info` is plain data, for which zero is valid, and outlives the call.
    let (result, pid) = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        let result = libc::waitid(libc::P_PID, child.id(), &raw mut info, flags);
        (result, info.si_pid())
    };
    if result == 0 { Ok(pid != 0) } else { Err(io::Error::last_os_error()) }
}

/// The end of a pipe from which a child's output is read, as far as it is there.
pub struct ChildOutput(Option<File>);

impl ChildOutput {
    /// Takes over a pipe.
    ///
    /// # Errors
    /// Those of fcntl(2).
    pub fn of(pipe: Option<impl Into<OwnedFd>>) -> io::Result<Self> {
        let Some(pipe) = pipe else { return Ok(Self(None)) };
        let descriptor: OwnedFd = pipe.into();
        // SAFETY: F_GETFL and F_SETFL take plain integers, and the descriptor is open.
        let result = unsafe {
            let flags = libc::fcntl(descriptor.as_raw_fd(), libc::F_GETFL);
            libc::fcntl(descriptor.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK)
        };
        if result == -1 { Err(io::Error::last_os_error()) } else { Ok(Self(Some(descriptor.into()))) }
    }

    /// Calls `take` with all output that is there. An error counts as the end of the output.
    pub fn drain(&mut self, mut take: impl FnMut(&[u8])) {
        let Some(pipe) = &mut self.0 else { return };
        let mut buffer = [0; 4096];
        // Bounded, because a program may print faster than this reads.
        for _ in 0..64 {
            match pipe.read(&mut buffer) {
                Ok(0) => {
                    self.0 = None;
                    break;
                }
                Ok(count) => take(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.0 = None;
                    break;
                }
            }
        }
        // The output may be a secret.
        zeroize::Zeroize::zeroize(&mut buffer[..]);
    }
}

/// Waits until there is more output or the time has passed.
pub fn wait_for_output(outputs: &[&ChildOutput], timeout: Duration) {
    let mut polls: Vec<libc::pollfd> = outputs
        .iter()
        .filter_map(|output| output.0.as_ref())
        .map(|pipe| libc::pollfd { fd: pipe.as_raw_fd(), events: libc::POLLIN, revents: 0 })
        .collect();
    let timeout = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX).max(1);
    // SAFETY: the pointer and the length are those of one vector. With a length of 0, poll only waits.
    unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, timeout) };
}

/// Returns false if no process has this number.
pub fn may_be_running(pid: u32) -> bool {
    // SAFETY: kill takes plain integers. The signal 0 only asks whether the process is there.
    i32::try_from(pid).is_ok_and(|pid| unsafe { libc::kill(pid, 0) } == 0 || last_error() != Some(libc::ESRCH))
}

fn last_error() -> Option<i32> {
    io::Error::last_os_error().raw_os_error()
}

/// Kills a whole process group, such as that of a profile's command.
pub fn kill_group(leader: u32) {
    if let Ok(pid) = i32::try_from(leader) {
        // SAFETY: kill takes plain integers. ESRCH means that the group has ended already.
        unsafe { libc::kill(-pid, libc::SIGKILL) };
    }
}
