//! The environment: a constant for every variable that ycred reads or sets, and a snapshot of their values.
//!
//! An empty variable counts as unset, as in kubectl, docker and curl.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// The profile to use: a name, or a path if it has a separator. `--profile` and a symlink's suffix override it.
pub const YCRED_PROFILE: &str = "YCRED_PROFILE";
/// The directory of profiles; must be absolute. Overrides `XDG_CONFIG_HOME`.
pub const YCRED_CONFIG_DIR: &str = "YCRED_CONFIG_DIR";
/// The directory of cache records; must be absolute. Overrides `XDG_CACHE_HOME`.
pub const YCRED_CACHE_DIR: &str = "YCRED_CACHE_DIR";
/// The directory of logins; must be absolute. Overrides `XDG_STATE_HOME`.
pub const YCRED_STATE_DIR: &str = "YCRED_STATE_DIR";
/// Without a profile file: the service account to impersonate. Several separated by commas form a chain.
pub const YCRED_IMPERSONATE: &str = "YCRED_IMPERSONATE";
/// Without a profile file: the service account that workload identity federation returns a token for.
pub const YCRED_SERVICE_ACCOUNT_ID: &str = "YCRED_SERVICE_ACCOUNT_ID";
/// With `YCRED_SERVICE_ACCOUNT_ID`: the file with the issuer's token. Not needed in GitHub Actions.
pub const YCRED_SUBJECT_TOKEN_FILE: &str = "YCRED_SUBJECT_TOKEN_FILE";
/// Without a profile file: the base URL of another installation's auth host.
pub const YCRED_AUTH_URL: &str = "YCRED_AUTH_URL";
/// The audience to request from GitHub. The default is `https://github.com/` and the repository's owner.
pub const YCRED_GITHUB_AUDIENCE: &str = "YCRED_GITHUB_AUDIENCE";
/// Switches the log of `-v` on, also inside a client: `stderr`, `1` (the same), or the absolute path of a file.
pub const YCRED_LOG: &str = "YCRED_LOG";
/// Set by `exec` and `env`: when the token that they supply expires, in RFC 3339.
pub const YCRED_EXPIRES_AT: &str = "YCRED_EXPIRES_AT";
/// Set by `exec` and `env`: a digest of the token that they supply, which binds the expiry to it.
pub const YCRED_TOKEN_ID: &str = "YCRED_TOKEN_ID";
/// Only in debug builds: panic with this message, to test how ycred handles a bug.
#[cfg(debug_assertions)]
pub const YCRED_DEBUG_PANIC: &str = "YCRED_DEBUG_PANIC";
/// Set for the commands that a profile runs, to detect a profile that runs ycred with itself.
pub const YCRED_RUNNING: &str = "YCRED_RUNNING";

/// Set for the next program that gets a call (`keyring`): the programs that already had it, separated as in `PATH`.
pub const YCRED_PASSED_ON: &str = "YCRED_PASSED_ON";

/// An IAM token, which ycred returns unchanged. The yc CLI and several SDKs read this variable too.
pub const YC_IAM_TOKEN: &str = "YC_IAM_TOKEN";
/// An IAM token if it starts with `t1.` and has two dots, otherwise an OAuth token, as in the Terraform provider.
pub const YC_TOKEN: &str = "YC_TOKEN";
/// A Yandex OAuth token.
pub const YC_OAUTH_TOKEN: &str = "YC_OAUTH_TOKEN";
/// An authorized key: a path, or the JSON itself.
pub const YC_SERVICE_ACCOUNT_KEY_FILE: &str = "YC_SERVICE_ACCOUNT_KEY_FILE";
/// `host[:port]` of the metadata service, as the Yandex Cloud SDKs read it.
pub const YC_METADATA_ADDR: &str = "YC_METADATA_ADDR";
/// Set by `exec --serve`: the real address of the metadata service, for profiles. `YC_METADATA_ADDR` has ycred's own
/// there.
pub const YCRED_METADATA_ADDR: &str = "YCRED_METADATA_ADDR";
/// The installation's API endpoint, as the Terraform provider reads it: without a scheme, with an optional port.
pub const YC_ENDPOINT: &str = "YC_ENDPOINT";

/// The URL where an AWS SDK requests an access key, and the token that it sends. `exec --serve` sets both.
///
/// See <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>.
pub const AWS_CONTAINER_CREDENTIALS_FULL_URI: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
pub const AWS_CONTAINER_AUTHORIZATION_TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
/// The variables that an AWS SDK prefers to these two: keys, a role with a token, another URL or token.
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

/// Proxies for plain http, and the hosts to exclude, as curl and Python read them.
pub const PROXIES: [&str; 4] = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
pub const NO_PROXIES: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// The request that kubectl and client-go send to an exec plugin.
///
/// See <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins>.
pub const KUBERNETES_EXEC_INFO: &str = "KUBERNETES_EXEC_INFO";

/// The kubeconfig files, separated as in `PATH`, and the file with kubectl's preferences; `off` turns the latter off.
pub const KUBECONFIG: &str = "KUBECONFIG";
pub const KUBERC: &str = "KUBERC";
/// The directory of docker's configuration.
pub const DOCKER_CONFIG: &str = "DOCKER_CONFIG";
/// The configuration that `git config --global` edits, if not the usual one.
pub const GIT_CONFIG_GLOBAL: &str = "GIT_CONFIG_GLOBAL";
/// The configuration file of Terraform's command line, by its new and its old name. If
/// either is set, Terraform ignores the `.tfrc` files in its configuration directory.
pub const TF_CLI_CONFIG_FILE: &str = "TF_CLI_CONFIG_FILE";
pub const TERRAFORM_CONFIG: &str = "TERRAFORM_CONFIG";
/// How the go command gets credentials.
pub const GOAUTH: &str = "GOAUTH";
/// pip's configuration file, and its option for `keyring`; uv's option.
pub const PIP_CONFIG_FILE: &str = "PIP_CONFIG_FILE";
pub const PIP_KEYRING_PROVIDER: &str = "PIP_KEYRING_PROVIDER";
pub const UV_KEYRING_PROVIDER: &str = "UV_KEYRING_PROVIDER";
/// The user's `.npmrc`, and cargo's directory, if not the usual ones.
pub const NPM_CONFIG_USERCONFIG: &str = "NPM_CONFIG_USERCONFIG";
pub const CARGO_HOME: &str = "CARGO_HOME";
/// The two files of the AWS CLI and SDKs.
pub const AWS_CONFIG_FILE: &str = "AWS_CONFIG_FILE";
pub const AWS_SHARED_CREDENTIALS_FILE: &str = "AWS_SHARED_CREDENTIALS_FILE";

/// The URL where a GitHub Actions job with `permissions: id-token: write` requests ID tokens, and the secret to send.
///
/// See "About security hardening with OpenID Connect" in GitHub's documentation.
pub const ACTIONS_ID_TOKEN_REQUEST_URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
pub const ACTIONS_ID_TOKEN_REQUEST_TOKEN: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";
/// The user or organization that owns the repository of such a job.
pub const GITHUB_REPOSITORY_OWNER: &str = "GITHUB_REPOSITORY_OWNER";

/// The XDG base directories (<https://specifications.freedesktop.org/basedir-spec/>); relative ones are ignored.
pub const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";
pub const XDG_CACHE_HOME: &str = "XDG_CACHE_HOME";
pub const XDG_STATE_HOME: &str = "XDG_STATE_HOME";
pub const XDG_DATA_HOME: &str = "XDG_DATA_HOME";
pub const XDG_RUNTIME_DIR: &str = "XDG_RUNTIME_DIR";
pub const REGISTRY_AUTH_FILE: &str = "REGISTRY_AUTH_FILE";
pub const CONTAINERS_REGISTRIES_CONF: &str = "CONTAINERS_REGISTRIES_CONF";

/// systemd's `CacheDirectory=` (systemd.exec(5)): the cache of a unit without a home directory.
pub const CACHE_DIRECTORY: &str = "CACHE_DIRECTORY";
/// systemd's `StateDirectory=`: the logins of a unit without a home directory.
pub const STATE_DIRECTORY: &str = "STATE_DIRECTORY";

/// The certificates to trust instead of the machine's, as OpenSSL reads them: a file, and a list of directories.
pub const SSL_CERT_FILE: &str = "SSL_CERT_FILE";
pub const SSL_CERT_DIR: &str = "SSL_CERT_DIR";

/// Set by CI systems and by users who want neither colour nor progress lines.
pub const CI: &str = "CI";
pub const NO_COLOR: &str = "NO_COLOR";
/// The kind of terminal; `dumb` for one without escape sequences.
pub const TERM: &str = "TERM";
/// The locale, in the order in which programs look for it.
pub const LOCALE: [&str; 3] = ["LC_ALL", "LC_CTYPE", "LANG"];

/// The home directory, which programs of a profile may read their configuration from.
pub const HOME: &str = "HOME";
/// The directories to search for a program.
pub const PATH: &str = "PATH";
/// The user's shell, for `exec` without a command and `env` without `--shell`.
pub const SHELL: &str = "SHELL";

/// The browser for `ycred login`: commands separated by colons, with an optional `%s` for the URL, as in xdg-open(1).
pub const BROWSER: &str = "BROWSER";

/// The environment of this process, read once by `main`.
#[derive(Clone, Default)]
pub struct Environment(Arc<Vec<(Text, Text)>>);

/// Borrowed from the process, which never changes its environment, so that a run does not copy it.
type Text = Cow<'static, OsStr>;

impl Environment {
    pub fn new(pairs: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self(Arc::new(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect()))
    }

    /// Returns an environment with these variables added.
    #[must_use]
    pub fn with(&self, pairs: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let added = pairs.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self(Arc::new(self.0.iter().cloned().chain(added).collect()))
    }

    /// Takes the variables of this process without copying them.
    pub fn of(pairs: impl IntoIterator<Item = (&'static OsStr, &'static OsStr)>) -> Self {
        Self(Arc::new(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect()))
    }

    /// Returns the variable's value. `None` if it is unset or empty.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.iter().find(|(key, value)| is_same(key, name) && !value.is_empty()).map(|(_, value)| value.as_ref())
    }

    /// Returns true if the variable is set to an empty value.
    pub fn is_empty(&self, name: &str) -> bool {
        self.0.iter().any(|(key, value)| is_same(key, name) && value.is_empty())
    }

    /// Returns the values of all variables that are UTF-8.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|(_, value)| value.to_str())
    }

    /// Returns the variable's value as UTF-8.
    ///
    /// # Errors
    /// The value is not UTF-8. The error does not contain it, because it may be a secret.
    pub fn text(&self, name: &str) -> Result<Option<&str>, NotUtf8> {
        self.get(name).map(|value| value.to_str().ok_or(NotUtf8)).transpose()
    }

    /// Returns the path in a variable. The XDG specification requires that a relative path is ignored.
    pub fn absolute(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }
}

/// Windows ignores the case of names: the variable with the programs is often `Path`.
fn is_same(key: &OsStr, name: &str) -> bool {
    if cfg!(windows) { key.eq_ignore_ascii_case(name) } else { *key == *name }
}

/// The error for a variable with a value that is not UTF-8.
pub struct NotUtf8;

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
    fn case_matters_except_on_windows() {
        let environment = Environment::new([("Path".into(), "x".into())]);
        assert_eq!(environment.get(PATH).is_some(), cfg!(windows));
    }

    #[test]
    fn a_relative_directory_is_ignored() {
        assert_eq!(environment().absolute("DIR"), Some(PathBuf::from("/d")));
        assert_eq!(environment().absolute("REL"), None);
    }
}
