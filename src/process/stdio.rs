//! The real standard streams.
#![expect(clippy::disallowed_methods, reason = "the one place that touches stdout and stderr")]

use std::io::{self, ErrorKind, IsTerminal as _, Read as _, Write as _};
use std::time::Duration;

use crate::base::error::{Error, describe};
use crate::process::Done;
use crate::process::stdin::Input;
use crate::system::process::{self, Readable};

/// Writes to stdout.
///
/// # Errors
/// The error of the system call.
pub fn print_stdout(piece: &[u8]) -> io::Result<()> {
    process::write_stdout(piece)
}

/// Writes to stderr immediately. Ignores errors: a broken stderr must not cost the user a token.
pub fn print_stderr(text: &str) {
    if !text.is_empty() {
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

/// Writes both streams of a finished run, and returns the exit code.
///
/// A reply that cannot be written is an error of a hook, because its client cannot go on without it. A person may stop
/// reading, as in `ycred list | head`.
pub fn deliver(done: &Done) -> u8 {
    print_stderr(&done.stderr);
    let stdout = &done.reply.stdout;
    let failure = if stdout.is_empty() { None } else { print_stdout(stdout).err() };
    let error = match failure {
        None => return done.reply.code,
        // The run has failed and has said why. This would be a second message.
        Some(_) if !done.stderr.is_empty() => return done.reply.code,
        Some(failure) if done.is_for_people && failure.kind() == ErrorKind::BrokenPipe => return done.reply.code,
        Some(failure) if done.is_for_people => Error::of_disk("cannot write the output", &failure),
        Some(failure) => Error::internal("cannot write the reply").because(describe(&failure)),
    };
    print_stderr(&error.render());
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
        io::stdin().lock().read(buffer)
    }

    fn is_terminal(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }
}
