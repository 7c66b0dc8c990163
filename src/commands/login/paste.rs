//! Reads the URL that a person pastes: the one at which the browser ended up after the login.

use crate::session::Session;
use std::time::Duration;
use zeroize::Zeroizing;

/// The longest line in bytes. A callback URL has a few hundred.
const LONGEST_LINE: usize = 8 * 1024;

/// The bytes to read at once. It is more than std's own buffer, which could otherwise hold back a part of the line.
const READ_SIZE: usize = 12 * 1024;

/// Collects lines from stdin, which may arrive at any time or never.
#[derive(Default)]
pub(super) struct PastedLines {
    /// False before the person is asked to paste, and after stdin has ended.
    pub(super) is_reading: bool,
    buffer: Zeroizing<Vec<u8>>,
}

impl PastedLines {
    /// Returns the next line, or `None` if no whole line has arrived yet.
    pub(super) fn next_line(&mut self, session: &Session<'_>) -> Option<Zeroizing<String>> {
        loop {
            let end = match self.buffer.iter().position(|byte| *byte == b'\n') {
                Some(end) => end,
                // The last line may lack a line feed.
                None if !self.is_reading || self.buffer.len() > LONGEST_LINE => self.buffer.len(),
                None if self.read_more(session) => continue,
                None => return None,
            };
            if self.buffer.is_empty() {
                return None;
            }
            let rest = self.buffer.get(end + 1..).unwrap_or_default().to_vec();
            let line = std::mem::replace(&mut self.buffer, Zeroizing::new(rest));
            let line = String::from_utf8_lossy(&line[..end]).into_owned();
            if !line.trim().is_empty() {
                return Some(Zeroizing::new(line));
            }
        }
    }

    /// Reads from stdin. Returns false if nothing has arrived yet.
    fn read_more(&mut self, session: &Session<'_>) -> bool {
        let mut stdin = session.stdin.borrow_mut();
        if !stdin.wait(Duration::from_millis(1)) {
            return false;
        }
        let mut buffer = Zeroizing::new(vec![0; READ_SIZE]);
        match stdin.read(&mut buffer[..]) {
            Ok(0) | Err(_) => self.is_reading = false,
            Ok(n) => self.buffer.extend_from_slice(&buffer[..n]),
        }
        true
    }
}
