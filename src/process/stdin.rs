//! Standard input, read within limits of size and time.

use std::io;
use std::time::Duration;

use serde::de::IgnoredAny;
use zeroize::Zeroizing;

use crate::base::clock::{Clock, Deadline};
use crate::base::error::{Error, Result};

/// The standard input of the process.
pub trait Input {
    /// Waits until a read would not block. Returns false if `patience` has passed first.
    fn wait(&mut self, patience: Duration) -> bool;

    /// Reads what is available into `buffer` and returns the number of bytes; 0 is the end.
    ///
    /// # Errors
    /// The error of the system call.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Returns true if both stdin and stderr are a terminal, so that a person can be asked.
    fn is_terminal(&self) -> bool;
}

/// An input that is empty, for code that runs while the real one belongs to the user or to a child.
pub struct NoInput;

impl Input for NoInput {
    fn wait(&mut self, _: Duration) -> bool {
        true
    }
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }
    fn is_terminal(&self) -> bool {
        false
    }
}

/// How the end of a request is recognized, besides the end of stdin.
///
/// A client may keep its end of the pipe open after the request, so ycred must not wait longer than the protocol requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestEnd {
    /// Only the end of stdin.
    EndOfStdin,
    /// An empty line.
    EmptyLine,
    /// The end of a JSON object.
    JsonObject,
}

impl RequestEnd {
    fn is_in(self, input: &[u8]) -> bool {
        match self {
            Self::EndOfStdin => false,
            Self::EmptyLine => input.starts_with(b"\n") || input.windows(2).any(|pair| pair == b"\n\n"),
            Self::JsonObject => {
                input.trim_ascii_end().ends_with(b"}") && serde_json::from_slice::<IgnoredAny>(input).is_ok()
            }
        }
    }
}

/// The first buffer's size. std passes reads of this size straight through, so no copy stays in std's own buffer, which
/// is not wiped.
const FIRST_READ: usize = 12 * 1024;

/// Reads one request, up to `end` or the end of stdin, at most `most` bytes.
///
/// # Errors
/// Usage (2): stdin is longer, cannot be read, or does not end before the deadline.
pub fn read_request(
    stdin: &mut dyn Input,
    end: RequestEnd,
    most: usize,
    deadline: &Deadline,
    clock: &dyn Clock,
) -> Result<Zeroizing<Vec<u8>>> {
    // Real requests fit into this. A buffer for the largest one would have to be zeroed on every cache hit.
    let mut input = Zeroizing::new(vec![0; FIRST_READ.min(most + 1)]);
    let mut filled = 0;
    while filled <= most {
        if filled == input.len() {
            // A vector that grows by itself would leave an unwiped copy behind.
            let mut larger = Zeroizing::new(vec![0; most + 1]);
            larger[..filled].copy_from_slice(&input);
            input = larger;
        }
        if !stdin.wait(deadline.left(clock)) {
            return Err(Error::usage("stdin did not end in time").hint(
                "hooks read a request from stdin and are run by their client; to print a token, run `ycred token`",
            ));
        }
        match stdin.read(&mut input[filled..]) {
            Ok(0) => break,
            Ok(n) => {
                filled += n;
                if end.is_in(&input[..filled]) {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::usage("cannot read stdin").because(error)),
        }
    }
    if filled > most {
        return Err(Error::usage(format!("the request on stdin is larger than {most} bytes")));
    }
    input.truncate(filled);
    Ok(input)
}

/// Reads stdin line by line. Buffers are wiped after use.
pub struct Lines {
    most: usize,
    /// How long to wait for each line.
    patience: Duration,
    /// Bytes that have been read but not returned yet.
    pending: Zeroizing<Vec<u8>>,
}

impl Lines {
    /// Limits each line to `most` bytes and the wait for it to `patience`.
    pub fn new(most: usize, patience: Duration) -> Self {
        Self { most, patience, pending: Zeroizing::default() }
    }

    /// Returns the next line without its line feed, or `None` at the end of stdin. The last line may lack a line feed.
    ///
    /// # Errors
    /// Usage (2): the line is too long, cannot be read, or does not arrive in time.
    pub fn next(&mut self, stdin: &mut dyn Input, clock: &dyn Clock) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let deadline = Deadline::after(clock, self.patience);
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let rest = Zeroizing::new(self.pending[end + 1..].to_vec());
                let mut line = std::mem::replace(&mut self.pending, rest);
                line.truncate(end);
                return Ok(Some(line));
            }
            if self.pending.len() > self.most {
                return Err(Error::usage(format!("a request on stdin is longer than {} bytes", self.most)));
            }
            if !stdin.wait(deadline.left(clock)) {
                return Err(Error::usage("no request arrived on stdin in time"));
            }
            // A vector that grows by itself would leave an unwiped copy behind.
            let mut larger = Zeroizing::new(vec![0; self.pending.len() + FIRST_READ]);
            let filled = self.pending.len();
            larger[..filled].copy_from_slice(&self.pending);
            match stdin.read(&mut larger[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Ok(Some(std::mem::take(&mut self.pending))),
                Ok(n) => {
                    larger.truncate(filled + n);
                    self.pending = larger;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::usage("cannot read stdin").because(error)),
            }
        }
    }
}
