//! The standard streams of this process.
#![expect(clippy::disallowed_methods, reason = "the one place that touches stdout and stderr")]

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::time::Duration;

use crate::process::stdin::Input;
use crate::system::process::{self, Readable};

/// Writes to stdout at once.
///
/// # Errors
/// What the system says.
pub fn print_stdout(piece: &[u8]) -> io::Result<()> {
    let mut channel = io::stdout().lock();
    channel.write_all(piece).and_then(|()| channel.flush())
}

/// Writes to stderr at once. A stderr that cannot be written to is no reason to fail.
pub fn print_stderr(text: &str) {
    if !text.is_empty() {
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

/// Standard input.
#[derive(Default)]
pub struct Stdin {
    /// Its writers are gone, so that no wait is needed any more.
    has_ended: bool,
}

impl Input for Stdin {
    fn wait(&mut self, patience: Duration) -> bool {
        let found = if self.has_ended { Readable::ToTheEnd } else { process::wait_for_stdin(patience) };
        self.has_ended = found == Readable::ToTheEnd;
        found != Readable::NotYet
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        io::stdin().lock().read(buffer)
    }

    fn is_terminal(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }
}
