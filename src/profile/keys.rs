//! The settings that any source may have.

use crate::base::environment as env;
use crate::sources::source::Key;

/// The settings that any source may have, next to `source`; a source adds its own.
pub const COMMON_KEYS: &[Key] = &[
    Key { name: "impersonate", value: "ACCOUNT", about: "service account to become; a list is a chain" },
    Key { name: "endpoint", value: "HOST", about: "installation root: api.cloud.yandex.net, api.yandexcloud.kz" },
    Key {
        name: "iam-url",
        value: "URL",
        about: "base URL in place of https://iam.<endpoint>; \"discover\" asks the endpoint",
    },
    Key { name: "auth-url", value: "URL", about: "base URL in place of https://auth.yandex.cloud" },
    Key { name: "audience", value: "TEXT", about: "the JWT's aud; default the URL that the JWT is sent to" },
    Key { name: "ca-file", value: "FILE", about: "PEM certificates to trust in addition to the usual roots" },
    Key { name: "hosts", value: "HOST", about: "further hosts that the token may go to: host, host:port, *.domain" },
    Key {
        name: "refresh-before",
        value: "DURATION",
        about: "renew when less than this is left; default a tenth of the life",
    },
    Key {
        name: "max-age",
        value: "DURATION",
        about: "renew what is older than this; default 60s metadata, 5m command, else none",
    },
    Key { name: "min-ttl", value: "DURATION", about: "fetch first when less than this is left; default 60s" },
    Key { name: "timeout", value: "DURATION", about: "one deadline for everything that a run does; default 20s" },
    Key { name: "cache", value: "file|none", about: "whether tokens are kept on disk" },
];

/// The variables that stand for these keys where there is no profile file, whatever the source.
pub const COMMON_VARIABLES: [(&str, &str); 3] =
    [(env::YC_ENDPOINT, "endpoint"), (env::YCRED_AUTH_URL, "auth-url"), (env::YCRED_IMPERSONATE, "impersonate")];
