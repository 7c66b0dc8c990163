//! Secrets: the type that holds them, and the list of known secrets that messages are masked with.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serializer};
use zeroize::Zeroizing;

use crate::base::environment::Environment;

/// A secret string, which is wiped when its last copy is dropped.
///
/// It has no `Display` and no `Serialize`, and its `Debug` shows nothing. The error renderer knows every secret and
/// masks any part of it that has at least eight bytes.
///
/// ```
/// let secret = ycred::base::secret::Secret::new("t1.9euelZq".into());
/// assert_eq!(format!("{secret:?}"), "Secret(***)");
/// ```
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

/// The secrets that [`Secret::mask_known`] masks.
///
/// They are held until the process ends or executes another program, because an error about a secret is rendered after
/// the code that held the secret has returned.
static KNOWN: Mutex<KnownSecrets> = Mutex::new(KnownSecrets(Vec::new()));

/// What [`Secret::hide_multiline_in`] was given, until the first message.
static UNSEARCHED: Mutex<Vec<(Vec<OsString>, Environment)>> = Mutex::new(Vec::new());

/// The maximum number of known secrets, apart from those still in use.
///
/// No single call comes near it. It keeps a process that runs for weeks from growing.
const KNOWN_MAX: usize = 256;

/// The length in bytes of the shortest part of a secret that is masked.
const PART_MIN: usize = 8;

impl Secret {
    pub fn new(value: String) -> Self {
        KNOWN.lock().unwrap_or_else(PoisonError::into_inner).add(value)
    }

    /// Wraps a string that contains a secret, such as a request body.
    ///
    /// The string is wiped and never printed, but messages may contain its other parts. The secret in it has its own
    /// `Secret`, which masks it.
    pub fn wrapping(value: String) -> Self {
        Self(Arc::new(Zeroizing::new(value)))
    }

    /// Keeps a value with an inner line break out of messages, where a single line belongs: it may be a secret that was
    /// broken, and a line alone is not always recognized as a part of one.
    ///
    /// Only the words that may belong to a token are masked. A key file in JSON has fields that messages show, scripts have
    /// paths, and base64 is recognized as a block by its form, but no longer if parts of it are masked.
    pub fn hide_multiline(value: &str) {
        if !value.trim().contains(['\n', '\r']) || value.contains(['{', '+', '/']) {
            return;
        }
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let may_be_secret = |word: &&str| {
            word.len() >= PART_MIN && word.contains(|c: char| c.is_ascii_digit() || c.is_ascii_uppercase())
        };
        // The dashes in front are those of a flag.
        let words = value.split(|c| !is_part(c)).map(|word| word.trim_start_matches('-')).filter(may_be_secret);
        let words: Vec<&str> = words.collect();
        if !words.is_empty() {
            let _masked = Self::new(words.join("\n"));
        }
    }

    /// Does the same with the arguments and variables of this process, once a message needs it. Most runs print no message,
    /// and this search would take longer than reading the cache.
    pub fn hide_multiline_in(arguments: &[OsString], environment: &Environment) {
        let values = (arguments.to_vec(), environment.clone());
        UNSEARCHED.lock().unwrap_or_else(PoisonError::into_inner).push(values);
    }

    /// Returns the secret itself. The caller is responsible for where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Drops the renderer's copies, so that they are wiped before the process ends or executes another program.
    pub fn clear_known() {
        UNSEARCHED.lock().unwrap_or_else(PoisonError::into_inner).clear();
        KNOWN.lock().unwrap_or_else(PoisonError::into_inner).0.clear();
    }

    /// Returns `text` with `***` in place of every part of a known secret that has at least eight bytes.
    pub fn mask_known(text: &str) -> String {
        // Locked until the end, so that no other thread prints a message before.
        let mut unsearched = UNSEARCHED.lock().unwrap_or_else(PoisonError::into_inner);
        for (arguments, environment) in unsearched.drain(..) {
            let arguments = arguments.iter().filter_map(|argument| argument.to_str());
            arguments.chain(environment.values()).for_each(Secret::hide_multiline);
        }
        drop(unsearched);
        KNOWN.lock().unwrap_or_else(PoisonError::into_inner).mask(text)
    }
}

/// The secrets that the renderer masks, in the order of use: the latest is last.
struct KnownSecrets(Vec<Secret>);

impl KnownSecrets {
    fn add(&mut self, value: String) -> Secret {
        let secret = Secret::wrapping(value);
        // A known secret, for example from a record that is read again: reuse the copy and move it to the end.
        if let Some(at) = self.0.iter().rposition(|other| *other == secret) {
            let known = self.0.remove(at);
            self.0.push(known.clone());
            return known;
        }
        if self.0.len() >= KNOWN_MAX
            && let Some(at) = self.0.iter().position(|other| Arc::strong_count(&other.0) == 1)
        {
            self.0.remove(at);
        }
        self.0.push(secret.clone());
        secret
    }

    fn mask(&self, text: &str) -> String {
        let mut parts: HashSet<&[u8]> = HashSet::new();
        for secret in &self.0 {
            // The first and last line of a PEM block are not secret, and messages mention them.
            for line in
                secret.expose().lines().filter(|line| !line.starts_with("-----") && !line.starts_with("PLEASE DO NOT"))
            {
                parts.extend(line.as_bytes().windows(PART_MIN));
            }
        }
        if parts.is_empty() {
            return text.to_owned();
        }
        let mut masked = vec![false; text.len()];
        for (at, window) in text.as_bytes().windows(PART_MIN).enumerate() {
            if parts.contains(window) {
                masked[at..at + PART_MIN].fill(true);
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

/// Serializes a secret, for the private files that ycred writes. There is no other way to serialize one.
///
/// # Errors
/// The serializer fails.
pub fn expose<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known_secret(secret: &str) -> KnownSecrets {
        let mut known = KnownSecrets(Vec::new());
        known.add(secret.to_owned());
        known
    }

    #[test]
    fn every_part_of_eight_bytes_of_a_known_secret_is_masked() {
        let known = known_secret("correct-horse-battery-staple");
        assert_eq!(known.mask("said horse-battery today"), "said *** today");
        assert_eq!(known.mask("short: correct"), "short: correct");
        assert_eq!(known.mask("жжж correct-horse жжж"), "жжж *** жжж");
    }

    #[test]
    fn the_list_keeps_the_latest_secrets_and_those_in_use() {
        let mut known = KnownSecrets(Vec::new());
        let in_use = known.add("in-use-from-the-first-day".into());
        drop(known.add("left-on-the-first-day".into()));
        for number in 0..4 * KNOWN_MAX {
            drop(known.add(format!("again-and-again{}", "!".repeat(number % 7))));
            drop(known.add(format!("number<{number:08}>")));
        }
        assert_eq!(known.0.len(), KNOWN_MAX);
        assert_eq!(known.mask("in-use-from-the-first-day, left-on-the-first-day"), "***, left-on***");
        let latest = format!("number<{:08}>", 4 * KNOWN_MAX - 1);
        assert_eq!(known.mask(&latest), "***");
        drop(in_use);
    }

    #[test]
    fn the_words_of_a_broken_value_are_hidden() {
        Secret::hide_multiline("t1.Broken0\nCgt7QXU35XsA 'Ahq4Tail9' plain-words-stay");
        let masked = Secret::mask_known("\"t1.Broken0 Cgt7QXU35XsA 'Ahq4Tail9'\" plain-words-stay");
        assert_eq!(masked, "\"*** *** '***'\" plain-words-stay");
        Secret::hide_multiline("one-line-Xk3v9\n");
        Secret::hide_multiline("{\n\"id\": \"Account-Xk3v8\"\n}");
        for shown in ["one-line-Xk3v9", "Account-Xk3v8"] {
            assert_eq!(Secret::mask_known(shown), shown);
        }
    }

    #[test]
    fn arguments_and_variables_are_searched_before_the_first_message() {
        let environment = Environment::new([("A".into(), "t1.Variable7\nAhq4Qail2x".into())]);
        Secret::hide_multiline_in(&["--host=t1.Argument7\nAhq4Rail3x".into()], &environment);
        assert_eq!(Secret::mask_known("Ahq4Qail2x and Ahq4Rail3x"), "*** and ***");
    }

    #[test]
    fn the_begin_and_end_lines_of_a_key_are_not_masked() {
        let known = known_secret("-----BEGIN PRIVATE KEY-----\nTUlJRXZRSUJBREFOQmdrcWhr\n-----END PRIVATE KEY-----\n");
        assert_eq!(known.mask("no BEGIN PRIVATE KEY line"), "no BEGIN PRIVATE KEY line");
        assert_eq!(known.mask("has TUlJRXZRSUJB"), "has ***");
    }
}
