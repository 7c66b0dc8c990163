//! The emulator's listeners, the endpoints behind them, and their paths.

use serde::{Deserialize, Serialize};

/// The path of IamTokenService.Create.
pub const TOKENS: &str = "/iam/v1/tokens";
/// The path of IamTokenService.CreateForServiceAccount.
pub const CREATE_FOR_SERVICE_ACCOUNT: &str = "/iam/v1/tokens:createForServiceAccount";
/// The path of IamTokenService.Revoke.
pub const REVOKE: &str = "/iam/v1/tokens:revoke";
/// The path of RefreshTokenService.Revoke.
pub const REVOKE_REFRESH: &str = "/iam/v1/refreshTokens:revoke";
/// The path of SubjectDetailsService.Get, before the subject's id.
pub const SUBJECTS: &str = "/iam/v1/subjects/";
/// The path of TemporaryAccessKeyService.CreateEphemeral.
pub const EPHEMERAL_ACCESS_KEYS: &str = "/iam/aws-compatibility/v1/ephemeralAccessKeys";
/// The path of the list of API endpoints.
pub const ENDPOINT_LIST: &str = "/endpoints";
/// The path of the list's entry for IAM.
pub const IAM_ENDPOINT: &str = "/endpoints/iam";
/// The path of the metadata service's token.
pub const METADATA: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
/// The path of the auth host's token endpoint.
pub const OAUTH_TOKEN: &str = "/oauth/token";
/// The path of the page where people log in.
pub const AUTHORIZE: &str = "/oauth/authorize";

/// The emulator's listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listener {
    /// The IAM endpoint.
    Iam,
    /// The metadata service.
    Metadata,
    /// The auth host.
    Auth,
}

/// An endpoint, or a group of them: selects the requests that a fault applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Endpoint {
    /// Every request except those to the control interface.
    #[default]
    Any,
    /// The three calls of IamTokenService.
    Iam,
    /// `POST /iam/v1/tokens`.
    Tokens,
    /// `POST /iam/v1/tokens:createForServiceAccount`.
    CreateForServiceAccount,
    /// `POST /iam/v1/tokens:revoke`.
    Revoke,
    /// The metadata service.
    Metadata,
    /// `POST /oauth/token` at the auth host.
    OauthToken,
    /// `GET /oauth/authorize` at the auth host.
    Authorize,
    /// `POST /iam/v1/refreshTokens:revoke`.
    RevokeRefresh,
    /// `POST /iam/aws-compatibility/v1/ephemeralAccessKeys`.
    EphemeralAccessKeys,
    /// `GET /iam/v1/subjects/{id}`.
    Subjects,
    /// Any other path.
    Other,
}

impl Endpoint {
    /// Returns true if this selects requests to the endpoint `actual`.
    pub fn covers(self, actual: Endpoint) -> bool {
        let iam = [Endpoint::Tokens, Endpoint::CreateForServiceAccount, Endpoint::Revoke];
        self == actual || self == Endpoint::Any || (self == Endpoint::Iam && iam.contains(&actual))
    }

    /// Returns the endpoint at this path of a listener.
    pub(crate) fn at(listener: Listener, path: &str) -> Endpoint {
        match (listener, path) {
            (Listener::Metadata, _) => Endpoint::Metadata,
            (Listener::Iam, TOKENS) => Endpoint::Tokens,
            (Listener::Iam, CREATE_FOR_SERVICE_ACCOUNT) => Endpoint::CreateForServiceAccount,
            (Listener::Iam, REVOKE) => Endpoint::Revoke,
            (Listener::Iam, REVOKE_REFRESH) => Endpoint::RevokeRefresh,
            (Listener::Iam, EPHEMERAL_ACCESS_KEYS) => Endpoint::EphemeralAccessKeys,
            (Listener::Iam, path) if path.starts_with(SUBJECTS) => Endpoint::Subjects,
            (Listener::Auth, OAUTH_TOKEN) => Endpoint::OauthToken,
            (Listener::Auth, AUTHORIZE) => Endpoint::Authorize,
            (Listener::Iam | Listener::Auth, _) => Endpoint::Other,
        }
    }
}
