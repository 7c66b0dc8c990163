//! Suggestions for mistyped names.

/// Returns the known name that is closest to a mistyped one, if one is near: one typing error in a name of up to eight
/// characters, two in a longer one.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let typed = name.to_ascii_lowercase().replace('_', "-");
    known
        .map(|known| (strsim::osa_distance(&typed, known), known))
        .filter(|(distance, known)| *distance <= known.len().div_ceil(8))
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
        let commands = || ["docker", "revoke", "kubelet", "kubectl", "completions", "env", "exec"].into_iter();
        assert_eq!(nearest("kubctl", commands()), Some("kubectl"));
        assert_eq!(nearest("completion", commands()), Some("completions"));
        for other in ["doctor", "get-token", "delete", "run", "x", ""] {
            assert_eq!(nearest(other, commands()), None, "{other}");
        }
    }
}
