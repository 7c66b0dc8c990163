//! The keys that a profile of any source may contain.

use crate::base::environment as env;
use crate::sources;
use crate::sources::source::Key;
use crate::system::directories::HOME;

/// The common keys, apart from `source`. Each source adds its own.
pub const COMMON_KEYS: &[Key] = &[
    Key { name: "impersonate", value: "ACCOUNT", about: "service account to impersonate; repeat the flag for a chain" },
    Key { name: "endpoint", value: "HOST", about: "API host of the cloud [default: api.cloud.yandex.net]" },
    Key { name: "iam-url", value: "URL", about: "IAM URL, or \"discover\" [default: https://iam.<endpoint>]" },
    Key { name: "auth-url", value: "URL", about: "URL of the auth host [default: https://auth.yandex.cloud]" },
    Key {
        name: "audience",
        value: "AUDIENCE",
        about: "aud claim of the JWT that ycred signs [default: the URL it is sent to]",
    },
    Key { name: "ca-file", value: "FILE", about: "PEM certificates to trust besides the system's roots" },
    Key { name: "hosts", value: "HOST", about: "more hosts that may get the token: host[:port], *.domain" },
    Key {
        name: "refresh-before",
        value: "DURATION",
        about: "renew at this remaining validity [default: a tenth of the total]",
    },
    Key {
        name: "max-age",
        value: "DURATION",
        about: "renew tokens older than this [default: 60s for metadata, 5m for command]",
    },
    Key { name: "min-ttl", value: "DURATION", about: "minimum remaining validity [default: 60s]" },
    Key { name: "timeout", value: "DURATION", about: "time limit for everything in one run [default: 20s]" },
    Key {
        name: "command-env",
        value: "VARIABLE",
        about: "variable that a command's output depends on; repeat the flag for more",
    },
    Key { name: "cache", value: "file|none", about: "none to cache no tokens on disk [default: file]" },
];

/// Pairs of variable and common key: the variables that set these keys if there is no profile file.
pub const COMMON_VARIABLES: [(&str, &str); 3] =
    [(env::YC_ENDPOINT, "endpoint"), (env::YCRED_AUTH_URL, "auth-url"), (env::YCRED_IMPERSONATE, "impersonate")];

/// Returns every variable that can make a call of ycred serve another account, with or without a named profile: those that
/// select a source, change it, or change where ycred looks for profiles and logins.
pub fn deciding_variables() -> Vec<&'static str> {
    let common = COMMON_VARIABLES.iter().map(|(variable, _)| *variable);
    let others = [
        env::YCRED_PROFILE,
        env::YCRED_CONFIG_DIR,
        env::YCRED_STATE_DIR,
        env::XDG_CONFIG_HOME,
        env::XDG_STATE_HOME,
        env::STATE_DIRECTORY,
        HOME,
        env::YCRED_SUBJECT_TOKEN_FILE,
        env::YCRED_GITHUB_AUDIENCE,
        env::ACTIONS_ID_TOKEN_REQUEST_URL,
        env::ACTIONS_ID_TOKEN_REQUEST_TOKEN,
        env::GITHUB_REPOSITORY_OWNER,
        env::YCRED_METADATA_ADDR,
        env::YCRED_EXPIRES_AT,
        env::YCRED_TOKEN_ID,
    ];
    sources::variables().into_iter().chain(common).chain(others).collect()
}
