//! The address that the browser ended at, pasted by a person.

use crate::session::Session;
use std::time::Duration;
use zeroize::Zeroizing;

/// The longest line that is pasted; a callback has a few hundred bytes.
const LONGEST_LINE: usize = 8 * 1024;

/// What is read at once: more than std's own buffer, in which a rest would lie unseen.
const AT_ONCE: usize = 12 * 1024;

/// Lines from stdin, which may come at any time or never.
#[derive(Default)]
pub(super) struct Paste {
    pub(super) wanted: bool,
    text: Zeroizing<Vec<u8>>,
}

impl Paste {
    /// The next line, if there is one by now.
    pub(super) fn line(&mut self, session: &Session<'_>) -> Option<Zeroizing<String>> {
        loop {
            let end = match self.text.iter().position(|byte| *byte == b'\n') {
                Some(end) => end,
                // The last line may have no end.
                None if !self.wanted || self.text.len() > LONGEST_LINE => self.text.len(),
                None if self.read_more(session) => continue,
                None => return None,
            };
            if self.text.is_empty() {
                return None;
            }
            let rest = self.text.get(end + 1..).unwrap_or_default().to_vec();
            let line = std::mem::replace(&mut self.text, Zeroizing::new(rest));
            let line = String::from_utf8_lossy(&line[..end]).into_owned();
            if !line.trim().is_empty() {
                return Some(Zeroizing::new(line));
            }
        }
    }

    /// Whether there was something to read by now.
    fn read_more(&mut self, session: &Session<'_>) -> bool {
        let mut stdin = session.stdin.borrow_mut();
        if !stdin.wait(Duration::from_millis(1)) {
            return false;
        }
        let mut buffer = Zeroizing::new(vec![0; AT_ONCE]);
        match stdin.read(&mut buffer[..]) {
            Ok(0) | Err(_) => self.wanted = false,
            Ok(n) => self.text.extend_from_slice(&buffer[..n]),
        }
        true
    }
}
