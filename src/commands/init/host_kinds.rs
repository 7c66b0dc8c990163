//! Which client a host is for, as far as its name tells. `init` prints a command for each client, with the hosts for it.

/// The usual words in the names of servers, and the client of `setup` that connects to these. An empty name stands for clients
/// that are set up without hosts.
const KINDS: &[(&str, &[&str])] = &[
    ("docker", &["cr", "registry", "docker", "harbor", "quay", "oci", "images", "containers"]),
    ("git", &["git", "gitlab", "github", "gitea", "forgejo", "gogs", "bitbucket", "code", "scm", "vcs"]),
    ("bazel", &["bazel", "cache", "buildfarm", "buildbarn"]),
    ("", &["pypi", "pip", "npm", "goproxy", "crates", "cargo", "maven", "nuget", "terraform"]),
];

/// Returns true if this host may be one that the client connects to. A name without a usual word fits every client, unless
/// only a registry would have its port or address.
pub fn fits(host: &str, client: &str) -> bool {
    let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    // The first label with a usual word decides: `registry.gitlab.example.com` is a registry.
    let kind_of = |label: &str| {
        let has_word = |words: &&[&str]| label.split('-').any(|part| words.contains(&part));
        KINDS.iter().find(|(_, words)| has_word(words)).map(|(kind, _)| *kind)
    };
    let kind = name.split('.').find_map(kind_of);
    let is_registry = port.is_some_and(|port| port != "443") || name == "localhost" || name.starts_with("127.");
    match kind {
        Some(kind) => kind == client,
        None => !is_registry || client == "docker",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_fits_the_client_that_its_name_tells() {
        for (host, docker, git, bazel) in [
            ("git.example.com", false, true, false),
            ("gitlab.example.com:8443", false, true, false),
            ("registry.gitlab.example.com", true, false, false),
            ("gitlab-registry.example.com", true, false, false),
            ("harbor.corp.example", true, false, false),
            ("localhost:5000", true, false, false),
            ("127.0.0.1:5000", true, false, false),
            ("apps.example.com:5000", true, false, false),
            ("cache.example.com", false, false, true),
            ("pypi.example.com", false, false, false),
            ("apps.example.com", true, true, true),
            ("apps.example.com:443", true, true, true),
        ] {
            let fitting = ["docker", "git", "bazel"].map(|client| fits(host, client));
            assert_eq!(fitting, [docker, git, bazel], "{host}");
        }
    }
}
