//! The secrets of a test, and every piece of eight bytes of one.

use std::collections::HashMap;

/// The shortest piece of a secret that counts as the secret.
const PIECE: usize = 8;

/// Secrets by name, and every piece of them.
#[derive(Default, Clone)]
pub struct Net {
    pub secrets: Vec<(String, String)>,
    pub pieces: HashMap<[u8; PIECE], usize>,
}

impl Net {
    pub fn add(&mut self, name: &str, secret: &str) {
        let number = self.secrets.len();
        self.secrets.push((name.to_owned(), secret.to_owned()));
        // A PEM's armour is no secret.
        for line in secret.lines().filter(|line| !line.starts_with("-----")) {
            let pieces = line.as_bytes().windows(PIECE).filter_map(|piece| piece.try_into().ok());
            self.pieces.extend(pieces.map(|piece: [u8; PIECE]| (piece, number)));
        }
    }

    /// The first piece of a secret in this text, and of which.
    pub fn catch(&self, text: &[u8]) -> Option<String> {
        text.windows(PIECE).find_map(|piece| {
            let number = self.pieces.get(piece)?;
            Some(format!("{}: {:?}", self.secrets[*number].0, String::from_utf8_lossy(piece)))
        })
    }

    /// Without the secrets of this name.
    pub fn without(&self, name: &str) -> Net {
        let mut net = Net::default();
        for (other, secret) in self.secrets.iter().filter(|(other, _)| other != name) {
            net.add(other, secret);
        }
        net
    }
}

#[test]
fn fragments_of_eight_bytes_are_found_and_fragments_of_seven_are_not() {
    let mut net = Net::default();
    net.add("secret", "correct-horse");
    assert!(net.catch(b"a correct-").is_some());
    assert!(net.catch(b"ct-horse").is_some());
    assert!(net.catch(b"a correct x").is_none());
    assert!(net.catch(b"t-horse").is_none());
}
