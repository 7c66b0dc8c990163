//! The topics of `ycred help TOPIC`. The man pages have the same texts as sections.

use std::fmt::Write as _;
use std::path::MAIN_SEPARATOR;

use crate::base::environment as env;
use crate::profile::keys::COMMON_KEYS;
use crate::sources::SOURCES;
use crate::sources::source::Key;
use crate::system::directories::{SYSTEM_CONFIG, UsualPlaces, usual_places};

/// The URL of the documentation: `package.repository` of `Cargo.toml`, if it is set.
pub const DOCUMENTATION: Option<&str> = match env!("CARGO_PKG_REPOSITORY") {
    url if url.is_empty() => None,
    url => Some(url),
};

/// A page of `ycred help TOPIC`.
pub struct Topic {
    pub name: &'static str,
    /// The heading of the man page's section.
    pub section: &'static str,
    pub text: fn() -> String,
}

/// Every topic, in the order of the man page.
pub const TOPICS: &[Topic] = &[
    Topic { name: "profiles", section: "PROFILES", text: profiles },
    Topic { name: "accounts", section: "ACCOUNTS", text: accounts },
    Topic { name: "hosts", section: "HOSTS", text: hosts },
    Topic { name: "files", section: "FILES", text: files },
    Topic { name: "environment", section: "ENVIRONMENT", text: environment },
    Topic { name: "exit-codes", section: "EXIT STATUS", text: exit_codes },
];

/// Returns the rows as two columns.
fn table<'a>(rows: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let rows: Vec<_> = rows.into_iter().collect();
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    rows.iter().fold(String::new(), |mut text, (name, about)| {
        let _ = writeln!(text, "  {name:width$}  {about}");
        text
    })
}

fn profiles() -> String {
    // What follows the semicolon is about the flags of `ycred init`.
    let rows = |keys: &'static [Key]| {
        keys.iter().map(|key| (key.name, key.about.split_once("; ").map_or(key.about, |(about, _)| about)))
    };
    let example = format!("{}{MAIN_SEPARATOR}prod.toml", usual_places().config);
    let mut text = format!(
        "A profile is a TOML file that says where tokens come from, such as {example}:\n\n  \
         source = \"authorized-key\"\n  key-file = \"~/keys/prod.json\"\n\n\
         `ycred init` and `ycred import` write profiles. The first of these that is there decides: the flag\n\
         --profile, the suffix of the link that ycred is called by (docker-credential-ycred-prod), the profile in\n\
         the cluster's entry of a kubeconfig, the variable YCRED_PROFILE, the profile `default`, variables that\n\
         replace a profile (`ycred help environment`), the only profile. A profile name with a slash is the path of its file.\n\n\
         Keys of every profile, besides `source` (`impersonate`, `hosts` and `command-env` may be lists):\n",
    );
    text.push_str(&table(rows(COMMON_KEYS)));
    for source in SOURCES {
        let _ = writeln!(text, "\nSource {}: {}", source.name, source.about);
        text.push_str(&table(rows(source.keys)));
    }
    text
}

fn accounts() -> String {
    "Each account has a profile. Commands take --profile NAME, and `ycred use NAME` changes the default.\n\n\
     kubectl: a kubeconfig user for each account. yc creates only one for a cluster. A second one, for the profile `admin`:\n\n  \
     kubectl config set-credentials admin@prod\n  \
     kubectl config set-context admin --cluster CLUSTER --user admin@prod\n  \
     ycred setup kubectl --user admin@prod --profile admin\n  \
     kubectl --context admin get pods\n\n\
     `kubectl config get-clusters` lists the names for CLUSTER. `ycred setup kubectl --all --dry-run` shows the account of\n\
     each user.\n\n\
     docker, podman: ycred setup docker --profile NAME for the cloud's registries; then, for another profile at one of\n\
     your own: ycred setup docker --host REGISTRY --profile OTHER\n\
     git: a profile for each server: ycred setup git --host HOST --profile NAME\n\
     AWS CLI: an AWS profile for each account: ycred setup aws --name stage --profile stage\n\
     go: one profile: ycred setup go --profile NAME\n\
     pip, uv: the default profile\n\
     Any program: ycred exec --profile NAME -- PROGRAM\n\n\
     `ycred status NAME` shows the account of a profile, and the clients that use it.\n"
        .to_owned()
}

fn hosts() -> String {
    "If a client names a host, ycred returns the token only for listed hosts. These are the registries of the\n\
     installation (cr.yandex and others) and the key `hosts` of the profile:\n\n  \
     hosts = [\"git.example.com\", \"registry.example.com:5000\", \"*.corp.example.com\"]\n\n\
     An entry without a port covers only port 443. A wildcard covers subdomains, and needs a domain of two labels\n\
     or more. For other hosts ycred replies that it has no credentials, without asking the cloud. It never\n\
     returns the token for plain http, except to loopback hosts that `hosts` lists.\n"
        .to_owned()
}

fn files() -> String {
    let UsualPlaces { config, except, cache, state } = usual_places();
    let below = |directory: &str, name: &str| format!("{directory}{MAIN_SEPARATOR}{name}");
    let change = |own: &str, general: &str| format!("; {own} or {general} change the directory");
    let profiles = format!("profiles{except}{}", change(env::YCRED_CONFIG_DIR, env::XDG_CONFIG_HOME));
    let cached = format!("cached tokens and their locks{}", change(env::YCRED_CACHE_DIR, env::XDG_CACHE_HOME));
    let logins = format!("logins{}", change(env::YCRED_STATE_DIR, env::XDG_STATE_HOME));
    let mut rows = vec![(below(config, "NAME.toml"), profiles)];
    rows.extend(SYSTEM_CONFIG.map(|directory| {
        (below(directory, "NAME.toml"), "profiles for all users, searched after that directory".to_owned())
    }));
    rows.push((below(&below(cache, "v1"), ""), cached));
    rows.push((below(state, ""), logins));
    table(rows.iter().map(|(name, about)| (&**name, &**about)))
}

/// The variables that ycred reads, and those that it sets for the programs that it runs.
pub const VARIABLES: &[(&str, &str)] = &[
    (env::YCRED_PROFILE, "the profile to use, if no flag, link or kubeconfig cluster selects one"),
    (env::YCRED_CONFIG_DIR, "the directory of profiles, an absolute path"),
    (env::YCRED_CACHE_DIR, "the directory of cached tokens, an absolute path"),
    (env::YCRED_STATE_DIR, "the directory of logins, an absolute path"),
    (env::YC_IAM_TOKEN, "without a profile: a token to return unchanged"),
    (env::YC_SERVICE_ACCOUNT_KEY_FILE, "without a profile: an authorized key, as a path or as JSON"),
    (env::YC_TOKEN, "without a profile: an IAM token (t1.…) or an OAuth token"),
    (env::YC_OAUTH_TOKEN, "without a profile: an OAuth token"),
    (env::YCRED_SERVICE_ACCOUNT_ID, "without a profile: the account for workload identity federation"),
    (env::YCRED_SUBJECT_TOKEN_FILE, "with YCRED_SERVICE_ACCOUNT_ID: the file with the issuer's token"),
    (env::YCRED_GITHUB_AUDIENCE, "with YCRED_SERVICE_ACCOUNT_ID in GitHub Actions: the audience to request"),
    (env::YC_METADATA_ADDR, "the address of the metadata service; without a profile it selects that source"),
    (env::YC_ENDPOINT, "without a profile: the API host of the cloud"),
    (env::YCRED_AUTH_URL, "without a profile: the URL of the auth host"),
    (env::YCRED_IMPERSONATE, "without a profile: the service account to impersonate"),
    (env::YCRED_LOG, "logs as -v does: `stderr`, `1`, or the absolute path of a file"),
    (env::YCRED_EXPIRES_AT, "set by exec and env: when the token expires"),
    (env::YCRED_TOKEN_ID, "set by exec and env: a digest that says which token and profile YCRED_EXPIRES_AT is about"),
    ("HTTPS_PROXY, ALL_PROXY, NO_PROXY", "proxies, as for curl"),
    ("SSL_CERT_FILE, SSL_CERT_DIR", "trusted certificates instead of the system's"),
    ("NO_COLOR, CI", "no colour and no progress line; with CI, `ycred init` asks no question"),
    (env::BROWSER, "the browser for `ycred login`"),
];

fn environment() -> String {
    table(VARIABLES.iter().copied())
}

fn exit_codes() -> String {
    table([
        ("0", "done; also for a host that is not listed, where the protocol has no code for that"),
        ("1", "the cloud rejected the request; for docker, bazel and keyring also: the host is not listed"),
        ("2", "the command line, the request or a variable is wrong; from `token --host`: the host is not listed"),
        ("3", "the profile or a file that it names is wrong, or a TLS certificate is not trusted"),
        ("4", "not available: try again later"),
        ("5", "a bug in ycred, or output that could not be written"),
        ("125, 126, 127", "from exec: no token, the program cannot be run, no such program"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The variables that only one client or platform sets, which its page explains.
    const SET_BY_OTHERS: &[&str] = &["YCRED_RUNNING", "YCRED_PASSED_ON", "YCRED_DEBUG_PANIC", "YCRED_METADATA_ADDR"];

    #[test]
    fn every_variable_of_ycred_is_explained() {
        let constants = include_str!("../../base/environment.rs");
        let mut seen = 0;
        for name in constants
            .split('"')
            .filter(|text| text.starts_with("YC") && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
        {
            seen += 1;
            let is_listed = VARIABLES.iter().any(|(listed, _)| *listed == name);
            assert!(is_listed || SET_BY_OTHERS.contains(&name), "`ycred help environment` does not explain {name}");
        }
        assert!(seen >= 15, "only {seen} constants were read");
    }

    #[test]
    fn every_topic_fits_a_terminal_and_has_a_text() {
        for topic in TOPICS {
            let text = (topic.text)();
            assert!(text.lines().count() >= 4 && text.ends_with('\n'), "{}", topic.name);
            for line in text.lines() {
                assert!(line.chars().count() <= 130, "{}: {line}", topic.name);
            }
        }
    }
}
