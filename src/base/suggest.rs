//! What a mistyped word may have meant.

/// The known word that is nearest to a mistyped one, if any is near enough to be meant.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let typed = word.to_ascii_lowercase().replace('_', "-");
    known
        .map(|known| (strsim::osa_distance(&typed, known), known))
        .filter(|(distance, known)| *distance <= known.len().div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_offered_only_when_it_is_near() {
        let keys = || ["impersonate", "iam-url", "ca-file", "hosts", "max-age", "timeout", "key-file"].into_iter();
        assert_eq!(nearest("keyfile", keys()), Some("key-file"));
        assert_eq!(nearest("key_file", keys()), Some("key-file"));
        assert_eq!(nearest("hsots", keys()), Some("hosts"));
        assert_eq!(nearest("Timeout", keys()), Some("timeout"));
        assert_eq!(nearest("password", keys()), None);
    }
}
