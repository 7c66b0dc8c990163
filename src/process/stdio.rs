//! The real standard streams.
#![expect(clippy::disallowed_methods, reason = "the one place that touches stdout and stderr")]

use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::base::error::{Error, describe};
use crate::process::Done;
use crate::process::painting::Look;
use crate::process::stdin::Input;
use crate::system::process::{self, Readable};

/// True once a progress line was shown. Most runs never show one, and need no lock to write.
static HAS_PROGRESS: AtomicBool = AtomicBool::new(false);
/// True while a progress line is visible.
static IS_PROGRESS_VISIBLE: Mutex<bool> = Mutex::new(false);
/// Returns to the start of the line and erases it (ECMA-48).
const ERASE_LINE: &str = "\r\u{1b}[K";

/// Shows a line on stderr, a terminal, in place of the one before. Anything else that is written erases it first.
pub fn show_progress(line: &str) {
    HAS_PROGRESS.store(true, Ordering::Relaxed);
    let mut is_visible = IS_PROGRESS_VISIBLE.lock().unwrap_or_else(PoisonError::into_inner);
    *is_visible = true;
    let _ = io::stderr().write_all(format!("{ERASE_LINE}{line}").as_bytes());
}

/// Erases the progress line.
pub fn erase_progress() {
    without_progress(|| ());
}

/// Writes after the progress line is erased, and before another one appears.
fn without_progress<T>(write: impl FnOnce() -> T) -> T {
    if !HAS_PROGRESS.load(Ordering::Relaxed) {
        return write();
    }
    let mut is_visible = IS_PROGRESS_VISIBLE.lock().unwrap_or_else(PoisonError::into_inner);
    if std::mem::take(&mut *is_visible) {
        let _ = io::stderr().write_all(ERASE_LINE.as_bytes());
    }
    write()
}

/// Returns true if stderr is a terminal that understands escape sequences.
pub fn is_terminal() -> bool {
    io::stderr().is_terminal() && process::enable_escapes()
}

/// Returns the width of the terminal at stderr, if it is known.
pub fn width() -> Option<usize> {
    process::terminal_width()
}

/// Writes to stdout.
///
/// # Errors
/// The error of the system call.
pub fn print_stdout(piece: &[u8]) -> io::Result<()> {
    without_progress(|| process::write_stdout(piece))
}

/// Writes to stderr immediately. Ignores errors: a broken stderr must not cost the user a token.
pub fn print_stderr(text: &str) {
    if !text.is_empty() {
        without_progress(|| drop(io::stderr().write_all(text.as_bytes())));
    }
}

/// Writes messages to stderr, with this look if it is a terminal.
fn print_messages(text: &str, look: &Look) {
    match !text.is_empty() && look.is_used() && is_terminal() {
        true => print_stderr(&look.stderr(text)),
        false => print_stderr(text),
    }
}

/// Writes output to stdout, with this look if it is a terminal.
///
/// # Errors
/// The error of the system call.
pub fn print_output(text: &[u8], look: &Look) -> io::Result<()> {
    match std::str::from_utf8(text) {
        Ok(text) if look.is_used() && io::stdout().is_terminal() && process::enable_escapes() => {
            print_stdout(look.stdout(text).as_bytes())
        }
        _ => print_stdout(text),
    }
}

/// Writes both streams of a finished run, after its warning, and returns the exit code.
///
/// A reply that cannot be written is an error of a hook, because its client cannot go on without it. A person may stop
/// reading, as in `ycred list | head`.
pub fn deliver(done: &Done, warning: &str) -> u8 {
    print_messages(warning, &done.look);
    let print_error = || print_messages(&done.stderr, &done.look);
    if !done.is_error_last {
        print_error();
    }
    let stdout = &done.reply.stdout;
    let failure = if stdout.is_empty() { None } else { print_output(stdout, &done.look).err() };
    if done.is_error_last {
        print_error();
    }
    let error = match failure {
        None => return done.reply.code,
        // The run has failed and has said why. This would be a second message.
        Some(_) if !done.stderr.is_empty() => return done.reply.code,
        Some(failure) if done.is_for_people && failure.kind() == ErrorKind::BrokenPipe => return done.reply.code,
        Some(failure) if done.is_for_people => Error::of_disk("cannot write the output", &failure),
        Some(failure) => Error::internal("cannot write the reply").because(describe(&failure)),
    };
    print_messages(&error.render(), &done.look);
    error.kind.exit_code()
}

/// Standard input.
#[derive(Default)]
pub struct Stdin {
    /// Every writer has closed its end, so reads no longer block.
    has_ended: bool,
}

impl Input for Stdin {
    fn wait(&mut self, patience: Duration) -> bool {
        let readable = if self.has_ended { Readable::AtEnd } else { process::wait_for_stdin(patience) };
        self.has_ended = readable == Readable::AtEnd;
        readable != Readable::NotYet
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        process::read_stdin(buffer)
    }

    fn is_terminal(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }
}
