//! Requests to the auth host for a login: the authorization code flow with PKCE (RFC 7636) and proofs of possession
//! (DPoP, RFC 9449), and the refresh grant. The protocol is only partly documented (docs/reference/yandex-cloud.md 4).

use std::io;
use std::path::PathBuf;

use serde::Serialize;

use crate::base::clock::{Timestamp, clock_off};
use crate::base::error::{Error, Kind, Result};
use crate::base::identity::{Identity, value_digest};
use crate::base::random;
use crate::base::secret::Secret;
use crate::base::shell;
use crate::cloud::auth::AuthResponse;
use crate::cloud::http::{BeforeWrite, ProofHeader};
use crate::cloud::installation::Installation;
use crate::cloud::jwt::ProofKey;
use crate::cloud::{Context, auth};
use crate::disk::store::ReservedSpace;
use crate::sources::login::state::{LoginState, LoginStore};
use crate::sources::source::SourceInput;

/// Path of the sign-in page, relative to the auth host's base URL.
const AUTHORIZE_PATH: &str = "/oauth/authorize";
/// Path of the redirect URL. Its host is the loopback address of this machine.
pub const CALLBACK: &str = "/auth/callback";
/// `offline_access` requests a refresh token. The organization may not grant it.
const SCOPE: &str = "openid offline_access";
/// The cloud's public OAuth client for programs on a person's machine.
pub const DEFAULT_CLIENT: &str = "yc.oauth.public-sdk";

/// The login settings of a profile, and the store of the login.
#[derive(Clone, Debug)]
pub struct LoginClient {
    pub store: LoginStore,
    /// The profile's file. `None` for a profile from the environment.
    pub profile: Option<PathBuf>,
    pub installation: Installation,
    client_id: String,
    federation: Option<String>,
    /// Port of the redirect URL. `None` for a free port.
    pub port: Option<u16>,
}

/// What to do around each attempt to send a secret that may be valid for one use only.
#[derive(Clone, Copy)]
pub struct AttemptHooks<'a> {
    /// Called before it is sent. An error prevents that.
    pub before: Option<&'a BeforeWrite>,
    /// Called if the auth host has certainly not used it.
    pub unused: &'a dyn Fn(),
}

impl AttemptHooks<'static> {
    pub const NONE: Self = Self { before: None, unused: &|| {} };
}

impl LoginClient {
    /// Reads the settings of a profile with the source `login`.
    ///
    /// # Errors
    /// Profile (3): the value of a key is wrong, or there is no state directory.
    pub fn of(input: &SourceInput<'_>) -> Result<Self> {
        let settings = input.settings;
        let id = |key: &str| match settings.text(key)? {
            Some(text) if text.len() > 256 || !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Err(settings.error_at(key, "is not a valid ID (at most 256 printable ASCII characters, no spaces)"))
            }
            text => Ok(text.map(str::to_owned)),
        };
        let port = settings.text("redirect-port")?.map(|text| {
            text.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(|| {
                settings
                    .error_at("redirect-port", &format!("\"{text}\" is not a port"))
                    .hint("use a number from 1 to 65535")
            })
        });
        let installation = input.installation.clone();
        let (client_id, federation) = (id("client-id")?, id("federation-id")?);
        let client_id = client_id.unwrap_or_else(|| DEFAULT_CLIENT.to_owned());
        let directory = settings.state.as_ref().map_err(|why| {
            settings
                .missing(&format!("cannot save a login: {why}"))
                .hint("set YCRED_STATE_DIR to a directory that you own")
        })?;
        let identity = Identity::of("login")
            .with_some("profile", settings.file.as_ref())
            .with("auth-url", &installation.auth_url)
            .with("client-id", &client_id)
            .with_some("federation-id", federation.as_ref());
        let store = LoginStore::new(directory, &identity, &login_command(input.name));
        let profile = settings.file.clone();
        Ok(Self { store, profile, installation, client_id, federation, port: port.transpose()? })
    }

    /// Returns the identity of the login's tokens.
    pub fn identity(&self, input: &SourceInput<'_>) -> Identity {
        Identity::of("login")
            .with("auth-url", &self.installation.auth_url)
            .with("client-id", &self.client_id)
            .with_some("federation-id", self.federation.as_ref())
            .with_some("ca-file", input.ca_file)
            .with_marker("session", &self.store.marker(), self.store.absent())
    }

    /// Returns the URL to open in the browser (RFC 6749, 4.1.1).
    pub fn authorize_url(&self, request: &AuthorizationRequest, redirect: &str) -> String {
        let challenge = request.challenge();
        let thumbprint = request.key.thumbprint();
        let mut parameters = vec![
            ("client_id", self.client_id.as_str()),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("redirect_uri", redirect),
            ("response_type", "code"),
            ("scope", SCOPE),
            ("state", &request.state),
            ("dpop_jkt", &thumbprint),
        ];
        if let Some(federation) = &self.federation {
            parameters.push(("yc_federation_hint", federation));
        }
        let query: Vec<String> = parameters
            .iter()
            .map(|(name, value)| format!("{name}={}", auth::encode(value).collect::<String>()))
            .collect();
        format!("{}{AUTHORIZE_PATH}?{}", self.installation.auth_url, query.join("&"))
    }

    /// Exchanges an authorization code for tokens (RFC 6749, 4.1.3).
    ///
    /// # Errors
    /// As [`auth::token`].
    pub fn exchange_code(
        &self,
        request: &AuthorizationRequest,
        code: &Secret,
        redirect: &str,
        cx: &Context<'_>,
    ) -> Result<AuthResponse> {
        let parameters = [
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("code_verifier", request.verifier.expose()),
            ("redirect_uri", redirect),
            ("client_id", self.client_id.as_str()),
        ];
        self.request_token(&parameters, &request.key, AttemptHooks::NONE, cx)
    }

    /// Reserves disk space for the state after a renewal. The answer may contain the only valid refresh token, so this is
    /// done first.
    ///
    /// # Errors
    /// As [`Error::of_disk`]: the state cannot be saved.
    pub fn reserve(&self, state: &LoginState) -> Result<ReservedSpace> {
        self.store.reserve_for(state).map_err(|error| self.cannot_renew(&error))
    }

    /// Returns the error if the state after a renewal cannot be saved.
    pub fn cannot_renew(&self, error: &io::Error) -> Error {
        let directory = self.store.directory().display();
        Error::of_disk(format!("the login is not renewed, because {directory} cannot be written"), error)
    }

    /// Exchanges a refresh token for tokens (RFC 6749, 6).
    ///
    /// # Errors
    /// As [`auth::token`], and those of the hooks. `invalid_grant` means that the login has ended.
    pub fn refresh(
        &self,
        refresh_token: &Secret,
        key: &ProofKey,
        hooks: AttemptHooks<'_>,
        cx: &Context<'_>,
    ) -> Result<AuthResponse> {
        let parameters = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token.expose()),
            ("client_id", self.client_id.as_str()),
        ];
        self.request_token(&parameters, key, hooks, cx)
    }

    /// Sends a token request with a proof of possession. Tries again once with a nonce if the host requires one, and
    /// once with the host's time if the clocks differ.
    fn request_token(
        &self,
        parameters: &[(&str, &str)],
        key: &ProofKey,
        hooks: AttemptHooks<'_>,
        cx: &Context<'_>,
    ) -> Result<AuthResponse> {
        let url = auth::token_url(&self.installation);
        let (mut nonce, mut shift) = (None::<String>, 0);
        loop {
            let make = || make_proof(key, &url, cx.clock.now().shifted(shift), nonce.as_deref());
            let AttemptHooks { before, unused } = hooks;
            let proof = ProofHeader { header: "dpop", make: &make, before, unused };
            let error = match auth::proven_token(&self.installation, parameters, &[], Some(proof), cx) {
                Ok(response) => {
                    cx.warn_of_clock(response.skew());
                    return Ok(response);
                }
                Err(error) if error.kind != Kind::Refused || cx.deadline.left(cx.clock).is_zero() => return Err(error),
                Err(error) => error,
            };
            match (&error.auth.dpop_nonce, error.clock_skew.unwrap_or(0)) {
                // Some hosts send a nonce with each response (RFC 9449, 8.2). If the grant itself was rejected, a nonce
                // does not help.
                (Some(required), _) if nonce.is_none() && !is_grant_refused(&error) => {
                    cx.diagnostics.debug(|| format!("{url}: requires a nonce in the proof: trying again with it"));
                    nonce = Some(required.clone());
                }
                (latest, skew) if skew != 0 && shift == 0 => {
                    // If each response contains a nonce, the latest one is valid.
                    nonce = latest.clone().or(nonce);
                    cx.diagnostics.debug(|| {
                        format!(
                            "rejected, and the clocks differ by {} s: trying again with the auth host's time",
                            skew / 1000
                        )
                    });
                    shift = skew;
                }
                (_, skew) if skew != 0 => {
                    return Err(error.hint(format!("set the clock: {}", clock_off(skew))));
                }
                _ => return Err(error),
            }
        }
    }
}

/// Returns true if the code or the refresh token is invalid, has expired or was revoked.
pub fn is_grant_refused(error: &Error) -> bool {
    error.kind == Kind::Refused && error.auth.code.as_deref() == Some("invalid_grant")
}

/// Returns the refresh token of a response, if there is one and it can be valid. The limit is generous: the API's is
/// 1000.
pub fn refresh_token(response: &AuthResponse) -> Option<Secret> {
    let token = response.token.refresh_token.as_ref()?;
    let value = token.expose();
    ((1..=4096).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic())).then(|| token.clone())
}

/// Returns the command that logs in with this profile, quoted for a shell.
fn login_command(name: Option<&str>) -> String {
    match name {
        None => "ycred login".into(),
        Some(name) => format!("ycred login --profile {}", shell::word(name)),
    }
}

/// The claims of a proof of possession (RFC 9449, 4.2).
#[derive(Serialize)]
struct Claims<'a> {
    htu: &'a str,
    htm: &'static str,
    iat: i64,
    jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
}

fn make_proof(key: &ProofKey, url: &str, now: Timestamp, nonce: Option<&str>) -> Result<Secret> {
    let claims = Claims { htu: url, htm: "POST", iat: now.unix_seconds(), jti: random::id(), nonce };
    key.proof(&claims).map_err(|why| Error::internal(format!("cannot create a proof of possession: {why}")))
}

/// The secrets of one run of the authorization code flow.
pub struct AuthorizationRequest {
    /// Signs the proofs of possession.
    pub key: ProofKey,
    /// The callback must contain it. Not a secret, because it is part of the URL.
    pub state: String,
    /// Proves to the auth host that the token request comes from the process that started the flow (PKCE).
    verifier: Secret,
}

impl AuthorizationRequest {
    /// Generates the key and the random values.
    pub fn new() -> Result<Self> {
        Ok(Self {
            key: ProofKey::generate().map_err(Error::internal)?,
            state: random::secret::<32>()?.expose().to_owned(),
            verifier: random::secret::<32>()?,
        })
    }

    /// Returns the PKCE challenge: S256 of the verifier (RFC 7636, 4.2).
    fn challenge(&self) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value_digest(self.verifier.expose().as_bytes()))
    }
}
