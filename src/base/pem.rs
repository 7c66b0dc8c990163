//! PEM as people, editors and secret stores write it.

use std::fmt::Write as _;

use zeroize::Zeroizing;

/// The marks around a PEM block (RFC 7468).
const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// A block of a PEM file.
pub struct Block<'a> {
    /// As in `-----BEGIN LABEL-----`.
    pub label: &'a str,
    /// Base64 without white space; empty if the block has other content, such as the headers of an encrypted key.
    pub base64: Zeroizing<String>,
    /// The block has no end, or its content is not base64.
    pub is_broken: bool,
}

impl Block<'_> {
    /// Returns the block as RFC 7468 writes it.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(self.base64.len() + 2 * self.label.len() + 64));
        let _ = write!(*text, "{BEGIN}{0}{DASHES}\n{1}\n{END}{0}{DASHES}\n", self.label, *self.base64);
        text
    }
}

/// Returns the blocks of a PEM file. The text between them is ignored, as RFC 7468 requires.
///
/// Accepts what happens to such files: blocks that touch each other, indented lines, any line ends, line ends that have
/// become blanks or the two characters `\n`, and a byte order mark.
pub fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(BEGIN) {
        let after = &rest[at + BEGIN.len()..];
        let Some((label, body)) = after.split_once(DASHES) else { break };
        // Not the end of the file: after a block without an end, the next one must still be found.
        let until = body.find(BEGIN).unwrap_or(body.len());
        let end = format!("{END}{label}{DASHES}");
        let (content, next, has_end) = match body[..until].split_once(&end) {
            Some((content, _)) => (content, &body[content.len() + end.len()..], true),
            None => (&body[..until], &body[until..], false),
        };
        let content = Zeroizing::new(content.replace("\\r", "").replace("\\n", ""));
        let base64 = Zeroizing::new(content.chars().filter(|c| !c.is_whitespace()).collect::<String>());
        let is_base64 = base64.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '='));
        let is_broken = !has_end || !is_base64 || base64.is_empty();
        blocks.push(Block { label, base64: if is_base64 { base64 } else { Zeroizing::default() }, is_broken });
        rest = next;
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_however_they_are_written() {
        let one = "-----BEGIN CERTIFICATE-----\nQUJD\nREVG\n-----END CERTIFICATE-----\n";
        let whole = "-----BEGIN CERTIFICATE-----\nQUJDREVG\n-----END CERTIFICATE-----\n";
        for (text, count) in [
            (one.to_owned(), 1),
            (one.trim_end().to_owned(), 1),
            (format!("\u{feff}{one}"), 1),
            (one.replace('\n', "\r\n"), 1),
            (one.replace('\n', "\r"), 1),
            (one.replace('\n', " "), 1),
            (one.replace('\n', "\\n"), 1),
            (one.replace('\n', "\n    "), 1),
            (format!("subject=x\n{one}issuer=y\n{one}"), 2),
            (one.trim_end().repeat(3), 3),
            (String::new(), 0),
            ("QUJD".to_owned(), 0),
        ] {
            let blocks = blocks(&text);
            assert_eq!(blocks.len(), count, "{text}");
            assert!(blocks.iter().all(|block| !block.is_broken && *block.to_text() == whole), "{text}");
        }
    }

    #[test]
    fn a_broken_block_is_not_skipped() {
        for text in [
            "-----BEGIN CERTIFICATE-----\nQUJD\n",
            "-----BEGIN CERTIFICATE-----\nQUJD\n-----END PRIVATE KEY-----\n",
            "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n",
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nQUJD\n-----END RSA PRIVATE KEY-----\n",
        ] {
            let good = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n";
            let all = format!("{text}{good}");
            let broken: Vec<bool> = blocks(&all).iter().map(|block| block.is_broken).collect();
            assert_eq!(broken, [true, false], "{text}");
        }
    }
}
