//! Standard input, read within bounds of size and time.

use std::io;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::base::clock::{Clock, Deadline};
use crate::base::error::{Error, Result};

/// Where a request comes from.
pub trait Input {
    /// Waits until there is something to read, or the end; false where `patience` is over first.
    fn wait(&mut self, patience: Duration) -> bool;

    /// # Errors
    /// What the system says.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Whether a person is there: stdin and stderr are a terminal.
    fn is_terminal(&self) -> bool;
}

/// Above the size from which std reads into our buffer and not through one of its own, which nobody wipes.
const FIRST_READ: usize = 12 * 1024;

/// Reads all of stdin, up to `most` bytes.
///
/// # Errors
/// Usage (2): there is more, or it cannot be read, or it does not end in time.
pub fn read_whole(
    stdin: &mut dyn Input,
    most: usize,
    deadline: &Deadline,
    clock: &dyn Clock,
) -> Result<Zeroizing<Vec<u8>>> {
    // A real request fits; room for the largest would be cleared, and touched, on every hit of a hook with stdin.
    let mut input = Zeroizing::new(vec![0; FIRST_READ.min(most + 1)]);
    let mut filled = 0;
    while filled <= most {
        if filled == input.len() {
            // Into another buffer, since one that grows by itself leaves an unwiped copy behind.
            let mut larger = Zeroizing::new(vec![0; most + 1]);
            larger[..filled].copy_from_slice(&input);
            input = larger;
        }
        if !stdin.wait(deadline.left(clock)) {
            return Err(Error::usage("stdin has not ended in time")
                .hint("a hook reads its request from stdin, to the end; it is another program that calls it"));
        }
        match stdin.read(&mut input[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::usage("stdin cannot be read").because(error)),
        }
    }
    if filled > most {
        return Err(Error::usage(format!("the request on stdin is larger than {most} bytes")));
    }
    input.truncate(filled);
    Ok(input)
}

/// Reads stdin line by line.
pub struct Lines {
    most: usize,
    /// For each line.
    patience: Duration,
    /// Read, and not handed out yet.
    waiting: Zeroizing<Vec<u8>>,
}

impl Lines {
    /// Lines of at most `most` bytes, each of which comes within `patience`.
    pub fn new(most: usize, patience: Duration) -> Self {
        Self { most, patience, waiting: Zeroizing::default() }
    }

    /// The next line, without its end; none once stdin has ended. A last line without an end counts.
    ///
    /// # Errors
    /// Usage (2): it is longer than it may be, or cannot be read, or does not come in time.
    pub fn next(&mut self, stdin: &mut dyn Input, clock: &dyn Clock) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let deadline = Deadline::after(clock, self.patience);
        loop {
            if let Some(end) = self.waiting.iter().position(|byte| *byte == b'\n') {
                let rest = Zeroizing::new(self.waiting[end + 1..].to_vec());
                let mut line = std::mem::replace(&mut self.waiting, rest);
                line.truncate(end);
                return Ok(Some(line));
            }
            if self.waiting.len() > self.most {
                return Err(Error::usage(format!("a request on stdin is longer than {} bytes", self.most)));
            }
            if !stdin.wait(deadline.left(clock)) {
                return Err(Error::usage("stdin has neither brought a request nor ended in time"));
            }
            // Room made anew, since a vector that grows by itself leaves an unwiped copy behind.
            let mut larger = Zeroizing::new(vec![0; self.waiting.len() + FIRST_READ]);
            let filled = self.waiting.len();
            larger[..filled].copy_from_slice(&self.waiting);
            match stdin.read(&mut larger[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Ok(Some(std::mem::take(&mut self.waiting))),
                Ok(n) => {
                    larger.truncate(filled + n);
                    self.waiting = larger;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::usage("stdin cannot be read").because(error)),
            }
        }
    }
}
