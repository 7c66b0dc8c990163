//! Functions for this process and its children.
#![expect(unsafe_code, reason = "calls of the Windows API without a safe wrapper in std")]
#![expect(clippy::disallowed_methods, reason = "exit codes of children have 32 bits; a console needs std's stdout")]

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::mem::ManuallyDrop;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::os::windows::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::ptr::null_mut;
use std::thread::sleep;
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_BAD_EXE_FORMAT, ERROR_COMMITMENT_LIMIT, ERROR_DIRECTORY, ERROR_ELEVATION_REQUIRED,
    ERROR_EXE_MACHINE_TYPE_MISMATCH, ERROR_FILE_NOT_FOUND, ERROR_FILENAME_EXCED_RANGE, ERROR_NOT_ENOUGH_MEMORY,
    ERROR_NOT_ENOUGH_QUOTA, ERROR_PATH_NOT_FOUND, ERROR_SHARING_VIOLATION, ERROR_TOO_MANY_OPEN_FILES,
    INVALID_HANDLE_VALUE, WAIT_OBJECT_0, WAIT_TIMEOUT,
};
use windows_sys::Win32::Networking::WinSock::{WSAEACCES, WSAEAFNOSUPPORT, WSAEMFILE, WSAENOBUFS};
use windows_sys::Win32::Storage::FileSystem::{FILE_TYPE_CHAR, FILE_TYPE_PIPE, GetFileType};
use windows_sys::Win32::System::Console::{
    CONSOLE_SCREEN_BUFFER_INFO, ENABLE_VIRTUAL_TERMINAL_PROCESSING, GetConsoleMode, GetConsoleScreenBufferInfo,
    GetStdHandle, STD_ERROR_HANDLE, STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, SetConsoleMode,
};
use windows_sys::Win32::System::ErrorReporting::{WER_FAULT_REPORTING_FLAG_NOHEAP, WerSetFlags};
use windows_sys::Win32::System::Pipes::PeekNamedPipe;
use windows_sys::Win32::System::Threading::{CREATE_NEW_PROCESS_GROUP, WaitForSingleObject};

use super::child::Job;
use super::console;
use super::signals;

/// Returns the environment of this process. Windows stores it as UTF-16, so it is copied once and never freed.
pub fn environment() -> impl Iterator<Item = (&'static OsStr, &'static OsStr)> {
    let leak = |text: OsString| &*Box::leak(text.into_boxed_os_str());
    std::env::vars_os().map(move |(name, value)| (leak(name), leak(value)))
}

/// Returns a number that is not root's user id: Windows has no user ids.
pub fn effective_uid() -> u32 {
    u32::MAX
}

/// Returns the executable of this process.
pub fn executable() -> Option<PathBuf> {
    std::env::current_exe().ok()
}

/// Opens for reading the executable of this process.
///
/// # Errors
/// It cannot be opened.
pub fn open_program() -> io::Result<File> {
    File::open(std::env::current_exe()?)
}

/// Keeps this process's memory, which contains tokens, out of error reports. Other programs of the same user can read it.
///
/// A failure is ignored.
pub fn disable_core_dumps() {
    // SAFETY: takes a plain integer and changes only a flag of this process.
    unsafe { WerSetFlags(WER_FAULT_REPORTING_FLAG_NOHEAP) };
}

/// Ends this process with the exit code of its child, which is larger than a byte if an exception ended the child.
pub fn end_as(status: ExitStatus) -> u8 {
    std::process::exit(status.code().unwrap_or(1))
}

/// Runs a program and ends this process with the program's exit code. Returns only on failure.
///
/// The program is in the same console, so it receives Ctrl-C itself; ycred ignores it. If ycred is killed, the program
/// ends too.
pub fn become_program(command: &mut Command) -> io::Error {
    signals::leave_console_events_to_child();
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return error,
    };
    let job = Job::new(true).and_then(|job| job.add(&child).map(|()| job));
    match child.wait() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => {
            drop(job);
            error
        }
    }
}

/// Returns true: a lock shows whether its holder is running.
pub fn may_be_running(_: u32) -> bool {
    true
}

/// Returns false: the end of a process ends no other processes.
pub fn is_first() -> bool {
    false
}

pub use super::detached::start_again;

/// Ends this process after some time, whatever its other threads are doing then.
pub fn end_after(limit: Duration) {
    let started = std::thread::Builder::new().spawn(move || {
        sleep(limit);
        std::process::exit(1)
    });
    // Without the thread, every step still has its own time limit.
    drop(started);
}

/// Starts a program in its own console process group, so that Ctrl-C does not reach it.
pub fn in_own_group(command: &mut Command) -> &mut Command {
    command.creation_flags(CREATE_NEW_PROCESS_GROUP)
}

/// What a child gets when ycred is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParentEnd {
    /// A chance to end in its own way.
    Terminate,
    /// Its end.
    Kill,
}

/// Does nothing: a job ends the child, for which the child must be running.
pub fn end_child_with_parent(_: &mut Command, _: ParentEnd) {}

/// Returns true if no connection could be made because of a limit or a sandbox of this process: another process of this user may
/// have none.
pub fn is_limit_of_this_process(error: &io::Error) -> bool {
    let codes = [WSAEACCES, WSAEMFILE, WSAENOBUFS, WSAEAFNOSUPPORT];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// Why a program could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFailure {
    /// The program or its directory does not exist.
    Missing,
    /// The system does not allow this user to run it.
    NotExecutable,
    /// Not on this system: a sandbox answers as a missing right does.
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
    /// Returns the reason for an error of `CreateProcessW`, or of the search before it.
    pub fn of(error: &io::Error) -> Self {
        match error.raw_os_error().map(i32::cast_unsigned) {
            None if error.kind() == io::ErrorKind::NotFound => Self::Missing,
            Some(ERROR_FILE_NOT_FOUND | ERROR_PATH_NOT_FOUND | ERROR_DIRECTORY) => Self::Missing,
            Some(ERROR_ACCESS_DENIED | ERROR_ELEVATION_REQUIRED) => Self::NotExecutable,
            Some(ERROR_BAD_EXE_FORMAT | ERROR_EXE_MACHINE_TYPE_MISMATCH) => Self::WrongFormat,
            Some(ERROR_NOT_ENOUGH_MEMORY | ERROR_NOT_ENOUGH_QUOTA | ERROR_COMMITMENT_LIMIT) => Self::ProcessLimit,
            Some(ERROR_TOO_MANY_OPEN_FILES) => Self::FileLimit,
            Some(ERROR_SHARING_VIOLATION) => Self::Busy,
            Some(ERROR_FILENAME_EXCED_RANGE) => Self::TooLong,
            _ => Self::Other,
        }
    }
}

/// Returns true if a child has ended.
///
/// # Errors
/// Those of `WaitForSingleObject`.
pub fn has_ended(child: &Child) -> io::Result<bool> {
    // SAFETY: the handle is open, because the child has not been waited for.
    match unsafe { WaitForSingleObject(child.as_raw_handle(), 0) } {
        WAIT_OBJECT_0 => Ok(true),
        WAIT_TIMEOUT => Ok(false),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The end of a pipe from which a child's output is read, as far as it is there.
pub struct ChildOutput(Option<File>);

impl ChildOutput {
    /// Takes over a pipe.
    ///
    /// # Errors
    /// None.
    pub fn of(pipe: Option<impl Into<OwnedHandle>>) -> io::Result<Self> {
        Ok(Self(pipe.map(|pipe| File::from(pipe.into()))))
    }

    /// Calls `take` with all output that is there. An error counts as the end of the output.
    pub fn drain(&mut self, mut take: impl FnMut(&[u8])) {
        let Some(pipe) = &mut self.0 else { return };
        let mut buffer = [0; 4096];
        // Bounded, because a program may print faster than this reads.
        for _ in 0..64 {
            let there = match available(pipe) {
                Some(0) => break,
                Some(there) => there.min(buffer.len()),
                None => 0,
            };
            match pipe.read(&mut buffer[..there]) {
                Ok(count @ 1..) => take(&buffer[..count]),
                _ => {
                    self.0 = None;
                    break;
                }
            }
        }
        // The output may be a secret.
        zeroize::Zeroize::zeroize(&mut buffer[..]);
    }
}

/// Returns how many bytes can be read without waiting. `None` at the end.
fn available(pipe: &File) -> Option<usize> {
    let mut count = 0;
    // SAFETY: the handle is open. Without a buffer, the call only sets `count`.
    let is_open = unsafe {
        let handle = pipe.as_raw_handle();
        PeekNamedPipe(handle, null_mut(), 0, null_mut(), &raw mut count, null_mut())
    };
    (is_open != 0).then_some(count as usize)
}

/// Waits until there is more output or the time has passed.
pub fn wait_for_output(outputs: &[&ChildOutput], timeout: Duration) {
    // A pipe cannot be waited for.
    let has_some = |output: &&ChildOutput| output.0.as_ref().is_some_and(|pipe| available(pipe) > Some(0));
    if !outputs.iter().any(has_some) {
        sleep(timeout.min(Duration::from_millis(10)));
    }
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

/// Waits until standard input is readable or has ended.
pub fn wait_for_stdin(timeout: Duration) -> Readable {
    // SAFETY: takes plain integers. The handle stays open as long as the process runs.
    let (stdin, kind) = unsafe {
        let stdin = GetStdHandle(STD_INPUT_HANDLE);
        (stdin, GetFileType(stdin))
    };
    if stdin.is_null() || stdin == INVALID_HANDLE_VALUE {
        return Readable::AtEnd;
    }
    match kind {
        FILE_TYPE_CHAR => match console::wait(timeout) {
            None => Readable::NotYet,
            Some(0) => Readable::AtEnd,
            Some(_) => Readable::Some,
        },
        FILE_TYPE_PIPE => {
            // A pipe cannot be waited for.
            let began = Instant::now();
            let mut pause = Duration::from_micros(500);
            loop {
                let mut available = 0;
                // SAFETY: without a buffer, the call only sets `available`.
                let is_open =
                    unsafe { PeekNamedPipe(stdin, null_mut(), 0, null_mut(), &raw mut available, null_mut()) };
                if is_open == 0 {
                    return Readable::AtEnd;
                }
                if available > 0 {
                    return Readable::Some;
                }
                if began.elapsed() >= timeout {
                    return Readable::NotYet;
                }
                sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(10));
            }
        }
        // A file, or an error that the following read reports.
        _ => Readable::Some,
    }
}

/// Reads from standard input.
///
/// # Errors
/// Those of `ReadFile` and `ReadConsoleW`.
pub fn read_stdin(buffer: &mut [u8]) -> io::Result<usize> {
    console::read(buffer)
}

/// Whether the locale decides which characters a terminal shows. A console gets UTF-16.
pub const USES_LOCALE: bool = false;

/// Makes the consoles at stdout and stderr understand escape sequences. Returns false if one of them cannot.
pub fn enable_escapes() -> bool {
    [STD_OUTPUT_HANDLE, STD_ERROR_HANDLE].into_iter().all(|stream| {
        let mut mode = 0;
        // SAFETY: takes plain integers and one integer to write, which is valid. It fails for other handles than those of consoles.
        unsafe {
            let handle = GetStdHandle(stream);
            GetConsoleMode(handle, &raw mut mode) == 0
                || SetConsoleMode(handle, mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING) != 0
        }
    })
}

/// Returns the number of columns of the console at stderr.
pub fn terminal_width() -> Option<usize> {
    let mut info = CONSOLE_SCREEN_BUFFER_INFO::default();
    // SAFETY: takes a handle and writes one structure, which is valid. It fails for other handles than those of consoles.
    let result = unsafe { GetConsoleScreenBufferInfo(GetStdHandle(STD_ERROR_HANDLE), &raw mut info) };
    let width = i32::from(info.srWindow.Right) - i32::from(info.srWindow.Left) + 1;
    usize::try_from(width).ok().filter(|width| result != 0 && *width > 0)
}

/// Writes to stdout without a buffer, except to a console, for which std converts the text to UTF-16.
///
/// Unlike std's stdout, it fails if there is no stdout: a lost reply must not look like a success.
///
/// # Errors
/// Those of `WriteFile`. `BrokenPipe` without a stdout.
pub fn write_stdout(piece: &[u8]) -> io::Result<()> {
    // SAFETY: takes plain integers. The handle stays open as long as the process runs, and `ManuallyDrop` does not close
    // it.
    let stdout = unsafe { GetStdHandle(STD_OUTPUT_HANDLE) };
    if stdout.is_null() || stdout == INVALID_HANDLE_VALUE {
        return Err(io::Error::new(io::ErrorKind::BrokenPipe, "stdout is closed"));
    }
    if unsafe { GetFileType(stdout) } == FILE_TYPE_CHAR {
        let mut console = io::stdout().lock();
        return console.write_all(piece).and_then(|()| console.flush());
    }
    ManuallyDrop::new(unsafe { File::from_raw_handle(stdout) }).write_all(piece)
}
