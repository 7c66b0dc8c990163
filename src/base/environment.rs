//! Every environment variable that ycred reads or sets, each a documented constant, and the snapshot they are read
//! from.
//!
//! An empty variable counts as unset, as it does for kubectl, docker and curl.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// The profile to use: a name, or a path if it has a separator. `--profile` and a symlink's suffix win over it.
pub const YCRED_PROFILE: &str = "YCRED_PROFILE";
/// Where profiles live; absolute. Before `XDG_CONFIG_HOME`.
pub const YCRED_CONFIG_DIR: &str = "YCRED_CONFIG_DIR";
/// Where token records live; absolute. Before `XDG_CACHE_HOME`.
pub const YCRED_CACHE_DIR: &str = "YCRED_CACHE_DIR";
/// Where login sessions live; absolute. Before `XDG_STATE_HOME`.
pub const YCRED_STATE_DIR: &str = "YCRED_STATE_DIR";
/// The service account to impersonate when there is no profile file; commas make a chain.
pub const YCRED_IMPERSONATE: &str = "YCRED_IMPERSONATE";
/// The service account whose token workload identity federation is to give where there is no profile file.
pub const YCRED_SERVICE_ACCOUNT_ID: &str = "YCRED_SERVICE_ACCOUNT_ID";
/// With it: the file that holds the issuer's token. Without one, GitHub's variables serve in GitHub Actions.
pub const YCRED_SUBJECT_TOKEN_FILE: &str = "YCRED_SUBJECT_TOKEN_FILE";
/// Base URL of the auth host when there is no profile file: another installation's.
pub const YCRED_AUTH_URL: &str = "YCRED_AUTH_URL";
/// The audience to ask GitHub for, in place of `https://github.com/` and the repository's owner.
pub const YCRED_GITHUB_AUDIENCE: &str = "YCRED_GITHUB_AUDIENCE";
/// Set by `exec` and `env`: when the token they handed over expires, RFC 3339.
pub const YCRED_EXPIRES_AT: &str = "YCRED_EXPIRES_AT";
/// In debug builds alone: panic with this text, so that tests see what becomes of a defect.
#[cfg(debug_assertions)]
pub const YCRED_DEBUG_PANIC: &str = "YCRED_DEBUG_PANIC";
/// Set for the commands that a profile runs, so that a profile that runs ycred with itself is noticed.
pub const YCRED_RUNNING: &str = "YCRED_RUNNING";

/// Set for a program that a call is passed on to (`keyring`): those that it has been passed on to already, as in `PATH`.
pub const YCRED_PASSED_ON: &str = "YCRED_PASSED_ON";

/// An IAM token, handed on as it is (the yc CLI and several SDKs read it too).
pub const YC_IAM_TOKEN: &str = "YC_IAM_TOKEN";
/// An IAM token if it starts with `t1.` and has two dots, else an OAuth token: what the Terraform provider makes of it.
pub const YC_TOKEN: &str = "YC_TOKEN";
/// A Yandex OAuth token.
pub const YC_OAUTH_TOKEN: &str = "YC_OAUTH_TOKEN";
/// An authorized key: a path, or the JSON itself.
pub const YC_SERVICE_ACCOUNT_KEY_FILE: &str = "YC_SERVICE_ACCOUNT_KEY_FILE";
/// `host[:port]` of the metadata service, as the Yandex Cloud SDKs read it.
pub const YC_METADATA_ADDR: &str = "YC_METADATA_ADDR";
/// Set by `exec --serve`, whose own endpoint `YC_METADATA_ADDR` names inside: where the metadata service is for profiles.
pub const YCRED_METADATA_ADDR: &str = "YCRED_METADATA_ADDR";
/// The installation's API endpoint, as the Terraform provider reads it; with or without port, without scheme.
pub const YC_ENDPOINT: &str = "YC_ENDPOINT";

/// Where an AWS SDK asks for an access key, and what it shows there
/// (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>). `exec --serve` sets both.
pub const AWS_CONTAINER_CREDENTIALS_FULL_URI: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
pub const AWS_CONTAINER_AUTHORIZATION_TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
/// What an AWS SDK takes before these two: keys, a role with a token, another endpoint or another token for it.
pub const BEFORE_CONTAINER_CREDENTIALS: [&str; 9] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

/// Proxies for plain http, and the hosts that need none, as curl and Python read them.
pub const PROXIES: [&str; 4] = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
pub const NO_PROXIES: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// The request that kubectl and client-go send to an exec plugin
/// (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins>).
pub const KUBERNETES_EXEC_INFO: &str = "KUBERNETES_EXEC_INFO";

/// Where a job of GitHub Actions with `permissions: id-token: write` asks for ID tokens, and the secret that it shows
/// (GitHub's documentation, "About security hardening with OpenID Connect").
pub const ACTIONS_ID_TOKEN_REQUEST_URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
pub const ACTIONS_ID_TOKEN_REQUEST_TOKEN: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";
/// The user or organisation that the repository of such a job belongs to.
pub const GITHUB_REPOSITORY_OWNER: &str = "GITHUB_REPOSITORY_OWNER";

/// The XDG base directories (<https://specifications.freedesktop.org/basedir-spec/>); relative ones are ignored.
pub const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";
pub const XDG_CACHE_HOME: &str = "XDG_CACHE_HOME";
pub const XDG_STATE_HOME: &str = "XDG_STATE_HOME";

/// systemd's `CacheDirectory=` (systemd.exec(5)): the cache of a unit without a home.
pub const CACHE_DIRECTORY: &str = "CACHE_DIRECTORY";
/// systemd's `StateDirectory=`: the login sessions of a unit without a home.
pub const STATE_DIRECTORY: &str = "STATE_DIRECTORY";

/// Where the next program of a name is looked for.
pub const PATH: &str = "PATH";
/// The user's shell, for `exec` without a command and `env` without `--shell`.
pub const SHELL: &str = "SHELL";

/// The browser for `ycred login`: commands parted by colons, perhaps with `%s` for the URL, as xdg-open(1) reads it.
pub const BROWSER: &str = "BROWSER";

/// What the process was given, taken once by main.
#[derive(Clone, Default)]
pub struct Environment(Arc<Vec<(OsString, OsString)>>);

impl Environment {
    pub fn new(pairs: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self(Arc::new(pairs.into_iter().collect()))
    }

    /// The variable's value; none if it is unset or empty.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_os_str())
    }

    /// The variable's value where it is valid UTF-8; `Err` holds nothing of the value, which may be a secret.
    pub fn text(&self, name: &str) -> Result<Option<&str>, NotText> {
        self.get(name).map(|value| value.to_str().ok_or(NotText)).transpose()
    }

    /// A directory variable where it is absolute. The XDG specification demands that a relative one be ignored.
    pub fn absolute(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }
}

/// A variable's value is not UTF-8.
pub struct NotText;

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment(…)") // it holds secrets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        Environment::new([("A", "x"), ("EMPTY", ""), ("DIR", "/d"), ("REL", "d")].map(|(k, v)| (k.into(), v.into())))
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        assert_eq!(environment().get("A"), Some(OsStr::new("x")));
        assert_eq!(environment().get("EMPTY"), None);
        assert_eq!(environment().get("ABSENT"), None);
    }

    #[test]
    fn a_relative_directory_is_ignored() {
        assert_eq!(environment().absolute("DIR"), Some(PathBuf::from("/d")));
        assert_eq!(environment().absolute("REL"), None);
    }
}
