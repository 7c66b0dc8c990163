//! The secrets of a test, and a search for fragments of them.

use std::collections::HashMap;

/// The length in bytes of the shortest fragment that counts as a leak.
const LENGTH: usize = 8;

/// Secrets with their names, and an index of every fragment of `LENGTH` bytes.
#[derive(Default, Clone)]
pub struct Fragments {
    pub secrets: Vec<(String, String)>,
    /// Maps a fragment to the position of its secret in `secrets`.
    index: HashMap<[u8; LENGTH], usize>,
}

impl Fragments {
    pub fn add(&mut self, name: &str, secret: &str) {
        let position = self.secrets.len();
        self.secrets.push((name.to_owned(), secret.to_owned()));
        // The header and footer of a PEM file are not secret.
        for line in secret.lines().filter(|line| !line.starts_with("-----")) {
            let fragments = line.as_bytes().windows(LENGTH).filter_map(|fragment| fragment.try_into().ok());
            self.index.extend(fragments.map(|fragment: [u8; LENGTH]| (fragment, position)));
        }
    }

    /// Returns the first fragment in this content, with the name of its secret.
    pub fn find_in(&self, content: &[u8]) -> Option<String> {
        content.windows(LENGTH).find_map(|fragment| {
            let position = self.index.get(fragment)?;
            Some(format!("{}: {:?}", self.secrets[*position].0, String::from_utf8_lossy(fragment)))
        })
    }

    /// Returns the fragments of all secrets but those with this name.
    pub fn without(&self, name: &str) -> Fragments {
        let mut fragments = Fragments::default();
        for (other, secret) in self.secrets.iter().filter(|(other, _)| other != name) {
            fragments.add(other, secret);
        }
        fragments
    }
}

#[test]
fn fragments_of_eight_bytes_are_found_and_fragments_of_seven_are_not() {
    let mut fragments = Fragments::default();
    fragments.add("secret", "correct-horse");
    assert!(fragments.find_in(b"a correct-").is_some());
    assert!(fragments.find_in(b"ct-horse").is_some());
    assert!(fragments.find_in(b"a correct x").is_none());
    assert!(fragments.find_in(b"t-horse").is_none());
}
