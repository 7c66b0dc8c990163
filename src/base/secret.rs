//! Text that must not get out: the type that holds it, and the list by which messages are masked.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serializer};
use zeroize::Zeroizing;

/// A text that must not get out: no `Display`, no `Serialize`, a blind `Debug`, wiped when the last copy goes.
///
/// Every secret is known to the error renderer from its making on, which masks any piece of it of eight bytes and more.
///
/// ```
/// let secret = ycred::base::secret::Secret::new("t1.9euelZq".into());
/// assert_eq!(format!("{secret:?}"), "Secret(***)");
/// ```
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

/// What [`Secret::mask_known`] knows, the latest last. Held until the process ends or becomes another: an error about a
/// secret is rendered after the code that held it has returned.
static KNOWN: Mutex<Known> = Mutex::new(Known(Vec::new()));

/// How many secrets are known at most, of those that nobody holds any more: no single call comes near it, and a process
/// that serves for weeks does not grow.
const MOST_KNOWN: usize = 256;

/// The shortest piece of a secret that counts as the secret.
const PIECE: usize = 8;

impl Secret {
    pub fn new(text: String) -> Self {
        KNOWN.lock().unwrap_or_else(PoisonError::into_inner).add(text)
    }

    /// A text with a secret somewhere in it, such as a request's body: wiped and never shown like any other, but
    /// messages may speak of its other parts. The secret inside has a `Secret` of its own, by which it is masked.
    pub fn wrapping(text: String) -> Self {
        Self(Arc::new(Zeroizing::new(text)))
    }

    /// The text itself. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Drops the renderer's copies, so that the buffers are wiped before the process ends or becomes another.
    pub fn clear_known() {
        KNOWN.lock().unwrap_or_else(PoisonError::into_inner).0.clear();
    }

    /// The text with every piece (eight bytes and more) of any known secret replaced by `***`.
    pub fn mask_known(text: &str) -> String {
        KNOWN.lock().unwrap_or_else(PoisonError::into_inner).mask(text)
    }
}

/// Secrets that the renderer masks, the latest last.
struct Known(Vec<Secret>);

impl Known {
    fn add(&mut self, text: String) -> Secret {
        let secret = Secret::wrapping(text);
        // The same once more, as a record that is read anew has it: the one copy moves to the end.
        if let Some(at) = self.0.iter().rposition(|other| *other == secret) {
            let same = self.0.remove(at);
            self.0.push(same.clone());
            return same;
        }
        if self.0.len() >= MOST_KNOWN
            && let Some(at) = self.0.iter().position(|other| Arc::strong_count(&other.0) == 1)
        {
            self.0.remove(at);
        }
        self.0.push(secret.clone());
        secret
    }

    fn mask(&self, text: &str) -> String {
        let mut pieces: HashSet<&[u8]> = HashSet::new();
        for secret in &self.0 {
            // The armour of a PEM is no secret, and messages speak of it.
            for line in
                secret.expose().lines().filter(|line| !line.starts_with("-----") && !line.starts_with("PLEASE DO NOT"))
            {
                pieces.extend(line.as_bytes().windows(PIECE));
            }
        }
        if pieces.is_empty() {
            return text.to_owned();
        }
        let mut masked = vec![false; text.len()];
        for (at, window) in text.as_bytes().windows(PIECE).enumerate() {
            if pieces.contains(window) {
                masked[at..at + PIECE].fill(true);
            }
        }
        let mut out = String::with_capacity(text.len());
        let mut in_mask = false;
        for (at, c) in text.char_indices() {
            if !masked[at] {
                out.push(c);
            } else if !in_mask {
                out.push_str("***");
            }
            in_mask = masked[at];
        }
        out
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// Serialises a secret's text: the one way to do so, for the private files that ycred writes.
///
/// # Errors
/// Those of the serializer.
pub fn expose<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knowing(secret: &str) -> Known {
        let mut known = Known(Vec::new());
        known.add(secret.to_owned());
        known
    }

    #[test]
    fn known_secrets_are_masked_in_any_piece_of_eight_bytes() {
        let known = knowing("correct-horse-battery-staple");
        assert_eq!(known.mask("said horse-battery today"), "said *** today");
        assert_eq!(known.mask("short: correct"), "short: correct");
        assert_eq!(known.mask("жжж correct-horse жжж"), "жжж *** жжж");
    }

    #[test]
    fn a_process_that_meets_secrets_without_end_knows_the_latest_and_those_in_use() {
        let mut known = Known(Vec::new());
        let in_use = known.add("in-use-from-the-first-day".into());
        drop(known.add("left-on-the-first-day".into()));
        for number in 0..4 * MOST_KNOWN {
            drop(known.add(format!("again-and-again{}", "!".repeat(number % 7))));
            drop(known.add(format!("number<{number:08}>")));
        }
        assert_eq!(known.0.len(), MOST_KNOWN);
        assert_eq!(known.mask("in-use-from-the-first-day, left-on-the-first-day"), "***, left-on***");
        let latest = format!("number<{:08}>", 4 * MOST_KNOWN - 1);
        assert_eq!(known.mask(&latest), "***");
        drop(in_use);
    }

    #[test]
    fn the_armour_of_a_key_is_no_secret() {
        let known = knowing("-----BEGIN PRIVATE KEY-----\nTUlJRXZRSUJBREFOQmdrcWhr\n-----END PRIVATE KEY-----\n");
        assert_eq!(known.mask("no BEGIN PRIVATE KEY line"), "no BEGIN PRIVATE KEY line");
        assert_eq!(known.mask("has TUlJRXZRSUJB"), "has ***");
    }
}
