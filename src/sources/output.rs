//! Captures what a child process prints, with a time limit and without a thread.

use std::io;
use std::process::Child;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::base::clock::{Clock, Deadline};
use crate::system;
use crate::system::process::ChildOutput;

/// Limit for the output, in bytes.
pub const MAX_OUTPUT: usize = 64 * 1024;

/// The longest pause between two looks at the program. Its output ends a pause.
const MAX_PAUSE: Duration = Duration::from_millis(10);

/// What a program prints: each pipe, and what has come from it. No thread is needed, which the system may refuse.
pub struct Outputs {
    out: (ChildOutput, Zeroizing<Vec<u8>>),
    err: (ChildOutput, Zeroizing<Vec<u8>>),
}

impl Outputs {
    /// Takes over the pipes of a child.
    ///
    /// # Errors
    /// As [`ChildOutput::of`].
    pub fn of(child: &mut Child) -> io::Result<Self> {
        let bytes = || Zeroizing::new(Vec::with_capacity(MAX_OUTPUT + 1));
        Ok(Self {
            out: (ChildOutput::of(child.stdout.take())?, bytes()),
            err: (ChildOutput::of(child.stderr.take())?, bytes()),
        })
    }

    /// Reads until the program ends. Returns false if the deadline passes first.
    ///
    /// # Errors
    /// The state of the program cannot be determined.
    pub fn wait(&mut self, child: &Child, deadline: &Deadline, clock: &dyn Clock) -> io::Result<bool> {
        let mut pause = Duration::from_millis(1);
        loop {
            self.drain();
            if system::process::has_ended(child)? {
                return Ok(true);
            }
            let left = deadline.left(clock);
            if left.is_zero() {
                return Ok(false);
            }
            system::process::wait_for_output(&[&self.out.0, &self.err.0], pause.min(left));
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    /// Reads what is there. Keeps [`MAX_OUTPUT`] + 1 bytes of each pipe, enough to detect output that is too long, and
    /// discards the rest, so that the program does not block on a full pipe.
    pub fn drain(&mut self) {
        for (pipe, bytes) in [&mut self.out, &mut self.err] {
            // The buffer never grows, because that would leave an unwiped copy behind.
            pipe.drain(|piece| {
                let room = MAX_OUTPUT + 1 - bytes.len();
                bytes.extend_from_slice(&piece[..piece.len().min(room)]);
            });
        }
    }

    /// Returns what the program has printed to stdout and stderr.
    pub fn into_bytes(self) -> (Zeroizing<Vec<u8>>, Zeroizing<Vec<u8>>) {
        (self.out.1, self.err.1)
    }
}
