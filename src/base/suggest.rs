//! Suggestions for mistyped names.

/// Returns the known name that is closest to a mistyped one, if one is close enough.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let typed = name.to_ascii_lowercase().replace('_', "-");
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
    fn only_a_similar_name_is_suggested() {
        let keys = || ["impersonate", "iam-url", "ca-file", "hosts", "max-age", "timeout", "key-file"].into_iter();
        assert_eq!(nearest("keyfile", keys()), Some("key-file"));
        assert_eq!(nearest("key_file", keys()), Some("key-file"));
        assert_eq!(nearest("hsots", keys()), Some("hosts"));
        assert_eq!(nearest("Timeout", keys()), Some("timeout"));
        assert_eq!(nearest("password", keys()), None);
    }
}
