//! The real standard streams.
#![expect(clippy::disallowed_methods, reason = "the one place that touches stdout and stderr")]

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::time::Duration;

use crate::process::stdin::Input;
use crate::system::process::{self, Readable};

/// Writes to stdout and flushes.
///
/// # Errors
/// The error of the system call.
pub fn print_stdout(piece: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(piece).and_then(|()| stdout.flush())
}

/// Writes to stderr immediately. Ignores errors: a broken stderr must not cost the user a token.
pub fn print_stderr(text: &str) {
    if !text.is_empty() {
        let _ = io::stderr().write_all(text.as_bytes());
    }
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
