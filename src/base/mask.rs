//! Recognizes secrets by their form: in messages, to mask them, and in settings, where they must not be.
//!
//! A secret may turn up where something else is expected: a key in the variable for its path, a token in the key for a
//! variable's name, or in the response of a server that echoes what it was sent.

const MASK: &str = "***";
const PEM_BEGIN: &str = "-----BEGIN ";
const PEM_END: &str = "-----END ";
/// The name of the private key in either layout of a key file.
const KEY_FIELDS: [&str; 2] = ["private_key", "privateKey"];

/// Masks everything in a message that looks like a secret, since ycred may never have held it as one.
///
/// Covers IAM, OAuth and SourceCraft tokens, ephemeral access keys and API keys (docs/reference/yandex-cloud.md,
/// section 14), JWTs, PEM blocks, user names and passwords in URLs, and long random strings.
pub fn mask_secret_formats(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // A whole key file. Its other fields are not secret, but say nothing.
    if let Some(at) = KEY_FIELDS.iter().find_map(|field| text.find(field))
        && let Some(begin) = text[..at].find('{')
    {
        mask_words(&text[..begin], &mut out);
        out.push_str(MASK);
        rest = text[at..].rfind('}').map_or("", |end| &text[at + end + 1..]);
    }
    // In JSON, the block is part of a word that starts with `\n`.
    while let Some(at) = rest.find(PEM_BEGIN) {
        mask_words(&rest[..at], &mut out);
        out.push_str(MASK);
        rest = rest[at..]
            .find(PEM_END)
            .map(|end| &rest[at + end + PEM_END.len()..])
            .and_then(|after| after.find("-----").map(|end| &after[end + 5..]))
            .unwrap_or_default();
    }
    mask_words(rest, &mut out);
    out
}

fn mask_words(text: &str, out: &mut String) {
    let mut rest = text;
    // The rest of a masked block of base64 may be too short to be recognized by itself.
    let mut in_block = false;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("://") {
            let authority = &after[..after.find(['/', ' ', '"', '\'', '?', '#']).unwrap_or(after.len())];
            out.push_str("://");
            rest = after;
            if let Some(at) = authority.rfind('@') {
                out.push_str(MASK);
                rest = &after[at..];
            }
            continue;
        }
        let word = &rest[..rest.find(|c: char| !is_word_char(c)).unwrap_or(rest.len())];
        if word.is_empty() {
            // Line feeds may be escaped.
            in_block &= first.is_whitespace() || first == '\\';
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let block =
            if in_block { None } else { start_of_block(rest, word).or_else(|| start_of_broken_token(rest, word)) };
        in_block = if let Some(at) = block {
            out.push_str(&word[..at]);
            out.push_str(MASK);
            true
        } else {
            mask_word(word, in_block, out)
        };
        rest = &rest[word.len()..];
    }
}

/// Returns where in the first word of a text a block of base64 begins, for example after a directory.
fn start_of_block(text: &str, word: &str) -> Option<usize> {
    let after_separators = word.match_indices(['/', '-', '_', '~', '.', '=', '+']).map(|(at, _)| at + 1);
    std::iter::once(0).chain(after_separators).find(|at| is_base64_block(&text[*at..]))
}

/// Returns where in the first word of a text a token begins that a line break cuts off early: too short to be recognized alone.
fn start_of_broken_token(text: &str, word: &str) -> Option<usize> {
    const LINE_MIN: usize = 8;
    let after = &text[word.len()..];
    let next = after.trim_start_matches([' ', '\n', '\r', '\t']);
    let next = &next[..next.find(|c: char| !is_word_char(c)).unwrap_or(next.len())];
    if next.len() == after.len() || next.len() < LINE_MIN || !has_all_kinds(next) {
        return None;
    }
    let has_prefix = |at: usize| {
        ["t1.", "c1.", "s1.", "y0_", "y1_", "y2_", "y3_", "AQVN", "eyJ"].iter().any(|it| word[at..].starts_with(it))
    };
    std::iter::once(0).chain(word.match_indices(['=', '/']).map(|(at, _)| at + 1)).find(|at| has_prefix(*at))
}

/// Returns true if a text begins with lines of base64 that together look random. A line by itself may be too short for that.
fn is_base64_block(text: &str) -> bool {
    const LINE_MIN: usize = 8;
    const BLOCK_MIN: usize = 32;
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    // In a block, even a short line is hardly ever an ordinary word.
    let is_ordinary = |line: &str| line.chars().skip(1).all(|c| c.is_ascii_lowercase());
    let (mut letters, mut lines) = (String::new(), 0);
    for line in text.split(|c: char| c.is_whitespace() || c == '\\').filter(|line| !line.is_empty()) {
        // After a backslash, the `n` of a line feed or the `r` of a carriage return.
        let line = if lines > 0 { line.strip_prefix(['n', 'r']).unwrap_or(line) } else { line };
        if line.is_empty() {
            continue;
        }
        let is_path = lines == 0 && line.starts_with('/');
        if is_path || line.len() < LINE_MIN || !line.chars().all(is_base64) || is_ordinary(line) {
            break;
        }
        letters.extend(line.chars().filter(char::is_ascii_alphanumeric));
        lines += 1;
        if lines > 1 && letters.len() >= BLOCK_MIN && is_random(&letters) {
            return true;
        }
    }
    false
}

/// Appends a word, masked as far as necessary. Returns true if it may belong to a block of base64 that is masked.
fn mask_word(word: &str, in_block: bool, out: &mut String) -> bool {
    // `=` pads a token, but also separates a name from its value: a secret may begin after one.
    let mut starts = std::iter::once(0).chain(word.match_indices(['=', '/']).map(|(at, _)| at + 1));
    // In a name, a part that begins like a secret is one only if it looks random too.
    let mut inner = word.match_indices(['-', '_', '~', '+', '.']).map(|(at, _)| at + 1);
    let found = starts.find(|at| has_secret_format(&word[*at..]) || is_der(&word[*at..])).or_else(|| {
        inner.find(|at| is_der(&word[*at..]) || (has_all_kinds(&word[*at..]) && has_secret_format(&word[*at..])))
    });
    if let Some(at) = found {
        out.push_str(&word[..at]);
        out.push_str(MASK);
        // A line break may have cut a token too.
        return true;
    }
    // In a path, such a string is the name of a file.
    let value = word.rsplit_once('=').map_or(word, |(_, value)| value);
    if is_hex_key(value) {
        out.push_str(&word[..word.len() - value.len()]);
        out.push_str(MASK);
        return false;
    }
    if in_block && word.len() >= 4 && word.contains(|c: char| c.is_ascii_digit() || c.is_ascii_uppercase() || c == '=')
    {
        out.push_str(MASK);
        return true;
    }
    if !word.split(is_separator).any(is_random) {
        out.push_str(word);
        return false;
    }
    // In a path or a URL only some parts are random. The slashes in base64 are part of the secret.
    if word.starts_with(['/', '~', '.']) {
        let mut parts: Vec<&str> = word.split('/').collect();
        let is_masked = |part: &str| part.split(is_separator).any(is_random);
        let masked: Vec<usize> = (0..parts.len()).filter(|at| is_masked(parts[*at])).collect();
        // Around a random part, shorter ones may belong to it.
        let is_odd = |part: &&&str| part.len() >= 4 && (has_all_kinds(part) || is_mixed(part, 4));
        let before = parts[..masked[0]].iter().rev().take_while(is_odd).count();
        let after = parts[masked[0] + 1..].iter().take_while(is_odd).count();
        // With several, the slashes are those of base64.
        let is_base64 = masked.len() > 1 || before + after > 0;
        parts.truncate(if is_base64 { masked[0] + 1 } else { parts.len() });
        parts[masked[0]] = MASK;
        parts.drain(masked[0] - before..masked[0]);
        out.push_str(&parts.join("/"));
        return false;
    }
    out.push_str(MASK);
    true
}

fn is_word_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '=' | '+' | '~' | '/')
}

fn is_separator(c: char) -> bool {
    !c.is_ascii_alphanumeric() && !matches!(c, '+' | '=')
}

fn has_secret_format(word: &str) -> bool {
    let has_prefix = |prefix: &str, min: usize| word.strip_prefix(prefix).is_some_and(|rest| rest.len() >= min);
    // The length distinguishes a token from a host name such as `c1.internal.example`.
    let has_long_part = |prefix: &str| {
        word.strip_prefix(prefix).and_then(|rest| rest.split('.').next()).is_some_and(|part| part.len() >= 16)
    };
    ["t1.", "c1.", "s1."].iter().any(|prefix| has_long_part(prefix))
        || ["y0_", "y1_", "y2_", "y3_", "AQVN", "pv1_"].iter().any(|prefix| has_prefix(prefix, 8))
        || has_prefix("eyJ", 12)
        || is_secret_of_access_key(word)
}

/// Returns true for `YC` and about 38 random characters. Variables such as `YC_TOKEN` have only upper case.
fn is_secret_of_access_key(word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let key = &word[..word.find(|c| !is_part(c)).unwrap_or(word.len())];
    key.starts_with("YC") && (38..=46).contains(&key.len()) && key.contains(|c: char| c.is_ascii_lowercase())
}

/// Returns true if a word begins like a private key in base64: as DER, or as a PEM block that was encoded again.
///
/// The first lines of all keys are alike and look less random than the rest.
fn is_der(word: &str) -> bool {
    let has_at = |at: usize, part: &str| word.get(at..).is_some_and(|rest| rest.starts_with(part));
    // A sequence that starts with the version, a number of one byte, after a length of three, two or one bytes. An
    // encrypted key starts with an identifier instead.
    (has_at(0, "MII") && (has_at(6, "IBA") || has_at(8, "BgkqhkiG")))
        || ((has_at(0, "MIG") || has_at(0, "MIH")) && has_at(4, "AgE"))
        || (has_at(0, "M") && has_at(3, "CAQ") && word.len() >= 8)
        || has_at(0, "LS0tLS1C")
}

/// Returns true for 256 bits in hexadecimal. A digest looks the same, but messages contain digests only in paths.
fn is_hex_key(word: &str) -> bool {
    word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The length of the shortest string that can be recognized as random, in bytes.
const RANDOM_MIN: usize = 20;

/// Returns true if a string looks random: upper case, lower case and digits, mixed as nobody would write them.
///
/// In random letters and digits, three of five neighbors are of different kinds. In names such as
/// `ProductionServiceKey2026`, one in four is.
fn is_random(text: &str) -> bool {
    text.len() >= RANDOM_MIN && has_all_kinds(text) && is_mixed(text, 4)
}

fn kind(byte: u8) -> Option<u8> {
    match byte {
        b'a'..=b'z' => Some(0),
        b'A'..=b'Z' => Some(1),
        b'0'..=b'9' => Some(2),
        _ => None,
    }
}

fn has_all_kinds(text: &str) -> bool {
    (0..3).all(|wanted| text.bytes().any(|byte| kind(byte) == Some(wanted)))
}

/// Returns true if at least so many of ten neighbors are of different kinds.
fn is_mixed(text: &str, tenths: usize) -> bool {
    let kinds: Vec<u8> = text.bytes().filter_map(kind).collect();
    let changes = kinds.windows(2).filter(|pair| pair[0] != pair[1]).count();
    changes * 10 >= kinds.len() * tenths
}

/// Returns true if a setting looks like a secret that was put in the wrong place.
pub fn looks_like_secret(text: &str) -> bool {
    // Most settings have none of these, and every cache hit looks at some.
    let may_be =
        || text.bytes().any(|byte| byte.is_ascii_uppercase() || matches!(byte, b'_' | b'@')) || text.contains("1.");
    text.len() >= PEM_BEGIN.len()
        && !is_plain(text)
        && may_be()
        && (KEY_FIELDS.iter().any(|field| text.contains(field)) || mask_secret_formats(text) != text)
}

/// Returns true if a text of one word certainly has nothing to mask: no part of it is long enough to look random, and none
/// begins like a secret. A cache hit looks at each path and URL of the profile, so this takes a few instructions per byte.
fn is_plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut length = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let kind = KINDS_OF_BYTES[usize::from(*byte)];
        length = if kind & SEPARATES != 0 { 0 } else { length + 1 };
        let is_odd = kind & IS_ODD != 0 || kind & ENDS_PREFIX != 0 && ends_with_prefix(&bytes[..=at]);
        if length >= RANDOM_MIN || is_odd {
            return false;
        }
    }
    true
}

/// Starts the next part of a word.
const SEPARATES: u8 = 1;
/// May be the last byte of a secret's prefix.
const ENDS_PREFIX: u8 = 2;
/// Does not occur in a plain text.
const IS_ODD: u8 = 4;

const KINDS_OF_BYTES: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0_u8;
    loop {
        let is_part = byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'=');
        let ends_prefix = matches!(byte, b'.' | b'_' | b'N' | b'J' | b'C' | b'I' | b'Q' | b'S' | b'-' | b'v');
        let is_odd = !byte.is_ascii_graphic() || matches!(byte, b'@' | b'\\');
        kinds[byte as usize] = if is_part { 0 } else { SEPARATES }
            | if ends_prefix { ENDS_PREFIX } else { 0 }
            | if is_odd { IS_ODD } else { 0 };
        if byte == u8::MAX {
            break;
        }
        byte += 1;
    }
    kinds
};

/// Returns true if a text ends with the first bytes of a secret, or of a key file's field.
fn ends_with_prefix(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [.., b't' | b'c' | b's', b'1', b'.']
            | [.., b'y', b'0'..=b'3', b'_']
            | [.., b'p', b'v', b'1', b'_']
            | [.., b'A', b'Q', b'V', b'N']
            | [.., b'e', b'y', b'J']
            | [.., b'Y', b'C']
            | [.., b'M', b'I']
            | [.., b'M', _, _, b'C', b'A', b'Q']
            | [.., b'L', b'S']
            | [.., b'-', b'-', b'-', b'-', b'-']
            | [.., b'p', b'r', b'i', b'v']
    )
}

/// Returns true if a string can be the path of a file, so that a message may contain it.
///
/// A longer string without a slash and without an extension may be anything, for example a secret in the variable for its path.
pub fn is_path(text: &str) -> bool {
    has_form_of_path(text) && !looks_like_secret(text)
}

/// Returns true if a string that does not look like a secret can be the path of a file.
pub fn has_form_of_path(text: &str) -> bool {
    has_form_with(text, std::path::is_separator)
}

/// [`has_form_of_path`] with the separators of one system.
fn has_form_with(text: &str, is_separator: fn(char) -> bool) -> bool {
    let is_file_name = || {
        let (name, extension) = text.rsplit_once('.').unwrap_or_default();
        !name.is_empty()
            && (1..=8).contains(&extension.len())
            && extension.bytes().all(|byte| byte.is_ascii_lowercase())
            && !text.contains(char::is_whitespace)
    };
    let is_short_name = || {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
        (1..=16).contains(&text.len()) && text.bytes().all(plain)
    };
    // Almost every path is ASCII, and every cache hit looks at some.
    let is_ascii = text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'{' | b'}'));
    (is_ascii || !text.contains(|c: char| c.is_control() || matches!(c, '{' | '}' | '\u{feff}')))
        && !text.starts_with(['\'', '"'])
        && (text.contains(is_separator) || is_file_name() || is_short_name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_text_has_nothing_to_mask() {
        let mut random = 1_u32;
        let mut next = |below: usize| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 8) as usize % below
        };
        // The parts of secrets and of paths, put together by chance.
        let parts: Vec<&str> =
            "t1.|c1.|y0_|y3_|AQVN|pv1_|eyJ|YC|MII|IBA|MIG|AgE|M1aCAQ|LS0tLS1C|-----BEGIN |-----END |private_key|://|\
            @|/|.|-|_|=|+|~| |\n|\\n|{|}|Home|key|json|aB3dE5gH7jK9|qW2eR4tY6uI8oP0a|0123456789abcdef|Ключ"
                .split('|')
                .collect();
        let (mut plain, mut masked) = (0, 0);
        for _ in 0..50_000 {
            let text: String = (0..=next(8)).map(|_| parts[next(parts.len())]).collect();
            let is_masked = mask_secret_formats(&text) != text;
            assert!(!(is_masked && is_plain(&text)), "{text:?}");
            plain += usize::from(is_plain(&text));
            masked += usize::from(is_masked);
        }
        assert!(plain > 1_000 && masked > 5_000, "{plain} {masked}");
        assert!(is_plain("/tmp/ycred-bench-Xk3v9Q/config/key.json"));
    }

    const BASE64: &str = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC/BKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj";

    #[test]
    fn secrets_in_messages_are_masked() {
        for input in [
            "got t1.9euelZqXabcdefgh.AAAA_bbbb-cc== here",
            "token=y0_AgAAAAABbbbbCCCC",
            "YCMIIEvQ-abcdefghijklmnopqrstuvwxyz_abcd/x YC_KEY=YCMIIEvQ-abcdefghijklmnopqrstuvwxyz_abcd",
            "/home/me/y0_AgAAAAABbbbbCCCC: no such file",
            "jwt eyJhbGciOiJQUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln",
            "key -----BEGIN PRIVATE KEY----- MIIEvQ -----END PRIVATE KEY----- tail",
            "{\"private_key\":\"PLEASE DO NOT REMOVE!\\n-----BEGIN PRIVATE KEY-----\\nMIIEvQ\\n-----END PRIVATE KEY-----\\n\"}",
            "-----BEGIN PRIVATE KEY----- MIIEvQ and no end",
            "proxy http://user:hunter22@proxy:3128/ refused",
            &format!("half a block: {BASE64} MIIEvQ== "),
            &format!("\"{BASE64}\": MIIEv"),
        ] {
            let masked = mask_secret_formats(input);
            assert!(masked.contains("***"), "{masked}");
            for secret in ["9euelZqX", "AgAAAAAB", "hbGciOiJ", "MIIEvQ", "hunter22", "BKcwggSj"] {
                assert!(!masked.contains(secret), "{masked}");
            }
        }
    }

    /// The starts of private keys without their `BEGIN` line: RSA in two layouts and two sizes, P-256 in two layouts, Ed25519.
    /// Nobody uses them.
    const KEYS: [&str; 6] = [
        "MIIEvwIBADANBgkqhkiG9w0BAQEFAASCBKkwggSlAgEAAoIBAQDjRAHJkaIiRzkJ\
         TJvv2LO9szaAnl5dx5gnlyDD895huMM/NqmvOhO/mR5wNt+/ocaH9yTikZgCVAVf\
         I1qyBkRg/YhmsBctWjQ95sa4t3Fh5MivLih4phlxwjyQmIsKnHja2mJpdor9Bedz\
         8cj679TMgYriD9vZcHc8QgiDiA/DujZQ/46Kbz8quQk5uekzQPP+Jpq+h6UbPRZ5",
        "MIIEpQIBAAKCAQEA1LzsrLHqydcSexRpKyQNADtDVplbuEt/+jmcMH1QI9A/2OGS\
         6LEDAmjfioR5dqtQ8c3kGK5B/pFjVKVHXcI9hKlQxJpEAYueCDtxl/cappH2/FPr\
         LY38Nr3fIBgdocvoeRMbLSaTTXUikUrlRIdRdz++YuRqiAUMZdF/ctohPoF8mJs2\
         ndyCVlwBPwg3Ii4vb6TRi55rwiucn90RSiUHes+SvYscdPrDT2n4drqoyYChnwBR",
        "MIIJQwIBADANBgkqhkiG9w0BAQEFAASCCS0wggkpAgEAAoICAQCclOy6NQx9oM7K\
         ATQw0nScYC/yOqSQ9VjiloVsD8WxSiDRo0I4e5ToRaXfUxFYgu9vhScoFf1mQFd7\
         D5Y3nWfl05+AFczbIxWVbD4wkW+83NQmf3JVlh21IwGzphY4pjPQhYgoBRHtkSox\
         AV1RP2RrE069VaDvfIMqK0CWjEBxTMLOL2/N0MjpXhSrQHAwUPJrbm64mGPlqtwa",
        "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgWedAFC5z8xqSoF5u\
         NhFwl9nC5oF5Q0FP0XeazSWLTxShRANCAASGYhzeJ/OciNBK97fxGy6p8+0r5uwC\
         0CWCkZlMha9ldqWoIDRZvWtAmTX2ciP2Zc4dsdmA6iZkcKpgbvdaMvKQ",
        "MHcCAQEEIIkVdh57eS8DWPVE+KzqnJ+7gqmCELVtMenkUGJEalreoAoGCCqGSM49\
         AwEHoUQDQgAEFkDuqKuAiQ7rCR2Jmw/TVk9hvs/gX7FT8E2arvK80P+77FXPV657\
         N7A2K3TMnv62eN9dhqvgs6ooUhlI1zCOwA==",
        "MC4CAQAwBQYDK2VwBCIEIGzd75z9ivQPe0lDI8gSFNphv10smCWr2cruWs7l2hwV",
    ];

    fn wrapped(key: &str, columns: usize, separator: &str) -> String {
        let lines: Vec<String> =
            key.as_bytes().chunks(columns).map(|line| String::from_utf8_lossy(line).into()).collect();
        lines.join(separator)
    }

    #[track_caller]
    fn assert_hidden(secret: &str, input: &str) {
        let masked = mask_secret_formats(input);
        for part in secret.as_bytes().windows(8).map(String::from_utf8_lossy) {
            assert!(!masked.contains(&*part), "{part} of {input}: {masked}");
        }
    }

    #[test]
    fn a_key_without_its_first_line_is_masked_however_it_is_wrapped() {
        for key in KEYS {
            for (columns, separator) in
                [64, 20, 16].into_iter().flat_map(|at| ["\n", " ", "  ", "\\n"].map(|it| (at, it)))
            {
                let key_lines = wrapped(key, columns, separator);
                for (before, after) in [
                    ("", ""),
                    ("--timeout: \"", "\" is not"),
                    ("/x/", "/y.toml: gone"),
                    ("--", ""),
                    ("key=", ""),
                    ("a-", ""),
                ] {
                    assert_hidden(key, &format!("{before}{key_lines}{after}"));
                }
            }
            assert_hidden(key, &format!("cannot use {}", key));
        }
    }

    #[test]
    fn the_end_of_a_key_is_masked_however_it_is_wrapped() {
        for key in KEYS.iter().filter(|key| key.len() > 140) {
            let end = &key[64..];
            for (columns, separator) in
                [64, 32, 24, 20, 16, 12, 8].into_iter().flat_map(|at| ["\n", " ", "\\n", "\r\n"].map(|it| (at, it)))
            {
                let lines = wrapped(end, columns, separator);
                assert_hidden(end, &format!("value \"{lines}\" is not"));
                for before in ["/etc/keys/", "~/", "./", "a/", "cannot-", "x_", "k.pem ", "name=", "C:\\", "a.b~"] {
                    assert_hidden(end, &format!("no such file: {before}{lines}"));
                }
            }
        }
    }

    #[test]
    fn a_key_that_was_encoded_again_is_masked() {
        // "-----BEGIN PRIVATE KEY-----" and the line after it.
        let encoded = "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCk1JSUV2Z0lCQURBTkJna3Foa2lHOXcwQkFRRUZBQVNDQktnd2dnU2s=";
        for columns in [96, 64, 16] {
            assert_hidden(encoded, &wrapped(encoded, columns, " "));
        }
    }

    #[test]
    fn a_token_is_masked_wherever_a_line_break_cuts_it() {
        let token = "t1.9euelZqPgC3mRWp0FG1PrQgQkTy3QXU35XsAaB3dE5fG7hJ9kL1mN3pQ.RWp0FG_PrQgQkTy3QXU35XsAxY7zW2vU9tS4";
        for token in [token, &token.replacen("t1.", "y0_", 1), &token.replacen("t1.", "AQVN", 1)] {
            for at in (4..token.len() - 8).filter(|at| token[*at..].len() >= 8) {
                for separator in ["\n", " ", "\r\n"] {
                    let (first, second) = token.split_at(at);
                    let masked = mask_secret_formats(&format!("--host: \"{first}{separator}{second}\" is not a host"));
                    assert!(!masked.contains(&second[second.len() - 8..]), "{at}: {masked}");
                }
            }
        }
        let input = "got t1.9euelZqXabcdefghijk.AAAA from the metadata service";
        assert_eq!(mask_secret_formats(input), "got *** from the metadata service");
    }

    #[test]
    fn a_secret_inside_a_name_is_masked() {
        for (input, masked) in [
            ("--y0_AgAAAAABbbbbCCCC", "--***"),
            ("/home/me/oauth_y0_AgAAAAABbbbbCCCC.txt: gone", "/home/me/oauth_***: gone"),
            ("my-AQVN1bcdefghIJ", "my-***"),
            ("~t1.9euelZqXabcdefghijk.AAAA", "~***"),
            ("0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0", "***"),
            ("key=0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0", "key=***"),
        ] {
            assert_eq!(mask_secret_formats(input), masked);
        }
    }

    #[test]
    fn base64_in_the_place_of_a_path_is_masked_from_its_first_random_part() {
        let random = "aB3dE5fG7hJ9kL1mN3pQ";
        assert_eq!(mask_secret_formats(&format!("/tmp/{random}/x.json: gone")), "/tmp/***/x.json: gone");
        assert_eq!(mask_secret_formats(&format!("/tmp/{random}/short+1A/{random}/x")), "/tmp/***");
        assert_eq!(mask_secret_formats(&format!("/tmp/aBoh4eNhTE/{random}/x")), "/tmp/***");
        assert_eq!(mask_secret_formats(&format!("~/x/{random}/fdDWtYO90/x.json")), "~/x/***");
    }

    #[test]
    fn everything_else_in_messages_stays() {
        for input in [
            "https://iam.api.cloud.yandex.net/iam/v1/tokens: 401",
            "account aje1234567890abcdefg, t1. is short",
            "request id 0f8fad5b-d9cb-469f-a165-70867728950e",
            "/nix/store/0c8cjrh4bbkdf0ys9pnilvjq5w9qgv2x-openssl-3.0.13/etc/ssl/certs/ca-bundle.crt: no such file",
            "/var/run/secrets/..2026_11_26_10_20_30.123456789/Token",
            "~/Documents/MyCompanyProductionServiceKey2026.json: permission denied",
            "/var/folders/zz/zyxvpxvq6csfxvn_n0000000000000/T/ycred-Ab3dE9/config",
            "TLS13_AES_256_GCM_SHA384 YC_SERVICE_ACCOUNT_KEY_FILE KUBERNETES_EXEC_INFO",
            "YCRED_CACHE_DIR=/absolute/path/of/a/directory YC_SERVICE_ACCOUNT_KEY_FILE_OF_PRODUCTION",
            "2026-08-22T18:00:00Z, 2026-08-22T18:00:00.123456789+03:00",
            "client.authentication.k8s.io/v1beta1 CredentialProviderRequest",
            "KubernetesExecInfo ServiceAccountKey2026 CredentialProviderRequest ExecCredentialV1Beta1 AuthorizedKeyV2",
            "/home/me/.cache/ycred/0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0: not a record",
            "node-s1.production-cluster-number-2.example, MIIT, MHC-2026, policy-y0_resolution_file",
            "CARGO_YCRED_TEST_OF_A_LONG_NAME_WITH_MANY_PARTS_26 docs/MIGRATION.md MIGRATE_2026 MIGHTY",
        ] {
            assert_eq!(mask_secret_formats(input), input);
        }
    }

    #[test]
    fn a_path_of_windows_is_told_from_a_secret_there() {
        let is_path = |text: &str| has_form_with(text, |c| matches!(c, '/' | '\\')) && !looks_like_secret(text);
        for path in [
            r"C:\Users\John Doe\key.json",
            r"C:\keys\prod",
            r"\\server\share\KEY.JSON",
            r"..\keys\k",
            r".\k",
            "C:/x y/K.JSON",
        ] {
            assert!(is_path(path), "{path}");
            assert!(path.contains('/') || !has_form_with(path, |c| c == '/') || path == r"..\keys\k", "{path}");
        }
        let line = BASE64.replace('/', "x");
        for secret in [format!(r"C:\{line}"), format!("{line}\\n{line}"), r"x\t1.9euelZqXabcdefghijk.AAAA".to_owned()] {
            assert!(!is_path(&secret), "{secret}");
        }
    }

    #[test]
    fn a_path_is_told_from_a_secret_in_its_place() {
        for path in
            ["/k.json", "~/keys/prod.json", "key.json", "./key", "../My Keys/k 1.json", "/a'b/c", "C:/x", "keys/prod"]
        {
            assert!(is_path(path), "{path}");
        }
        let key = "{\"id\":\"a\",\"private_key\":\"-----BEGIN PRIVATE KEY-----\\nMIIEvQ\\n\"}";
        for secret in [
            "SECRET y",
            "",
            "t1.9euelZqXabcdefghijk.AAAA",
            "y0_AgAAAAABbbbbCCCC",
            BASE64,
            key,
            &format!("'{key}'"),
            &format!("\u{feff}{key}"),
            &format!(" {key}\n"),
            &format!("/tmp/{BASE64}"),
            "a/b\nc",
            "'/k.json'",
            "AQVNabcdefgh.json",
        ] {
            assert!(!is_path(secret), "{secret}");
        }
    }
}
