//! A person's login at the auth host: the authorization-code flow with PKCE (RFC 7636) and proofs of possession (DPoP,
//! RFC 9449), and the refresh grant, as far as they are known (yandex-cloud.md 4).

use serde::Serialize;

use crate::base::clock::{Timestamp, clock_off};
use crate::base::error::{Error, Kind, Result};
use crate::base::identity::{Identity, value_digest};
use crate::base::random;
use crate::base::secret::Secret;
use crate::cloud::auth::AuthResponse;
use crate::cloud::http::Proof;
use crate::cloud::installation::Installation;
use crate::cloud::jwt::ProofKey;
use crate::cloud::{Context, auth};
use crate::sources::login::state::LoginStore;
use crate::sources::source::Opening;

/// The page that people log in on, below the auth host's base URL.
const AUTHORIZE_PATH: &str = "/oauth/authorize";
/// The path of the redirect; the host is this machine's loopback.
pub const CALLBACK: &str = "/auth/callback";
/// `offline_access` asks for a refresh token, which the organisation may grant or not.
const SCOPE: &str = "openid offline_access";
/// The cloud's public client for programs on a person's machine.
const DEFAULT_CLIENT: &str = "yc.oauth.public-sdk";

/// What a profile says of a login, and where it is kept.
#[derive(Clone, Debug)]
pub struct LoginClient {
    pub place: LoginStore,
    pub installation: Installation,
    client_id: String,
    federation: Option<String>,
    /// The port of the redirect; none: a free one.
    pub port: Option<u16>,
}

impl LoginClient {
    /// Reads a profile whose source is `login`.
    ///
    /// # Errors
    /// Profile (3): a key is wrong, or there is no place to keep a login.
    pub fn of(opening: &Opening<'_>) -> Result<Self> {
        let settings = opening.settings;
        let plain = |key: &str| match settings.text(key)? {
            Some(text) if text.len() > 256 || !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Err(settings.error_at(key, "is not an id"))
            }
            text => Ok(text.map(str::to_owned)),
        };
        let port = settings.text("redirect-port")?.map(|text| {
            text.parse::<u16>()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| settings.error_at("redirect-port", "is not a port").hint("a number from 1 to 65535"))
        });
        let installation = opening.installation.clone();
        let (client_id, federation) = (plain("client-id")?, plain("federation-id")?);
        let client_id = client_id.unwrap_or_else(|| DEFAULT_CLIENT.to_owned());
        let directory = settings.state.as_ref().map_err(|why| {
            settings
                .missing(&format!("a login cannot be kept: {why}"))
                .hint("set YCRED_STATE_DIR to a directory of yours")
        })?;
        let identity = Identity::of("login")
            .with_some("profile", settings.file.as_ref())
            .with("auth-url", &installation.auth_url)
            .with("client-id", &client_id)
            .with_some("federation-id", federation.as_ref());
        let place = LoginStore::new(directory, &identity, &command(opening.name));
        Ok(Self { place, installation, client_id, federation, port: port.transpose()? })
    }

    /// The identity of its tokens, as far as it is the login's own.
    pub fn identity(&self, opening: &Opening<'_>) -> Identity {
        Identity::of("login")
            .with("auth-url", &self.installation.auth_url)
            .with("client-id", &self.client_id)
            .with_some("federation-id", self.federation.as_ref())
            .with_some("ca-file", opening.ca_file)
            .with_marker("session", &self.place.marker(), self.place.absent())
    }

    /// The URL that the browser is sent to (RFC 6749, 4.1.1).
    pub fn authorize_url(&self, ask: &AuthorizationRequest, redirect: &str) -> String {
        let challenge = ask.challenge();
        let thumbprint = ask.key.thumbprint();
        let mut parameters = vec![
            ("client_id", self.client_id.as_str()),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("redirect_uri", redirect),
            ("response_type", "code"),
            ("scope", SCOPE),
            ("state", &ask.state),
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

    /// A code for tokens (RFC 6749, 4.1.3).
    ///
    /// # Errors
    /// As [`auth::token`].
    pub fn exchange_code(
        &self,
        ask: &AuthorizationRequest,
        code: &Secret,
        redirect: &str,
        cx: &Context<'_>,
    ) -> Result<AuthResponse> {
        let parameters = [
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("code_verifier", ask.verifier.expose()),
            ("redirect_uri", redirect),
            ("client_id", self.client_id.as_str()),
        ];
        self.request(&parameters, &ask.key, cx)
    }

    /// A refresh token for tokens (RFC 6749, 6).
    ///
    /// # Errors
    /// As [`auth::token`]; `invalid_grant` means that the login is over.
    pub fn refresh(&self, refresh_token: &Secret, key: &ProofKey, cx: &Context<'_>) -> Result<AuthResponse> {
        let parameters = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token.expose()),
            ("client_id", self.client_id.as_str()),
        ];
        self.request(&parameters, key, cx)
    }

    /// A token request with a proof of possession: once more with the nonce that the host wants to see in it, and once
    /// more with the host's own time where ours may be what it objects to.
    fn request(&self, parameters: &[(&str, &str)], key: &ProofKey, cx: &Context<'_>) -> Result<AuthResponse> {
        let url = auth::token_url(&self.installation);
        let (mut nonce, mut shift) = (None::<String>, 0);
        loop {
            let make = || make_proof(key, &url, cx.clock.now().shifted(shift), nonce.as_deref());
            let proof = Proof { header: "dpop", make: &make };
            let error = match auth::proven_token(&self.installation, parameters, &[], Some(proof), cx) {
                Ok(granted) => {
                    cx.warn_of_clock(granted.skew());
                    return Ok(granted);
                }
                Err(error) if error.kind != Kind::Refused || cx.deadline.left(cx.clock).is_zero() => return Err(error),
                Err(error) => error,
            };
            match (&error.auth.dpop_nonce, error.clock_skew.unwrap_or(0)) {
                // What the grant itself is refused for, no nonce mends: some hosts send one with each answer (RFC 9449, 8.2).
                (Some(wanted), _) if nonce.is_none() && !is_grant_refused(&error) => {
                    cx.notes.debug(|| format!("{url}: wants a nonce in the proof; asking again with it"));
                    nonce = Some(wanted.clone());
                }
                (wanted, skew) if skew != 0 && shift == 0 => {
                    // The latest one counts, where each answer brings another.
                    nonce = wanted.clone().or(nonce);
                    cx.notes.debug(|| {
                        format!("refused while the clocks differ by {} s; proving with its time", skew / 1000)
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

/// The code or the refresh token is worth nothing, or not any more.
pub fn is_grant_refused(error: &Error) -> bool {
    error.kind == Kind::Refused && error.auth.code.as_deref() == Some("invalid_grant")
}

/// The refresh token of an answer, if there is one that could be. (The API's limit is 1000.)
pub fn refresh_token(granted: &AuthResponse) -> Option<Secret> {
    let token = granted.token.refresh_token.as_ref()?;
    let text = token.expose();
    ((1..=4096).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| token.clone())
}

/// What logs in with this profile.
fn command(name: Option<&str>) -> String {
    let plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./+@".contains(&byte));
    match name {
        None => "ycred login".into(),
        Some(name) if plain(name) => format!("ycred login --profile {name}"),
        Some(name) => format!("ycred login --profile '{}'", name.replace('\'', r"'\''")),
    }
}

/// The claims of a proof (RFC 9449, 4.2).
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
    key.proof(&claims).map_err(|why| Error::internal(format!("a proof of possession cannot be made: {why}")))
}

/// One login that is asked for: what must come back, and what proves that we asked.
pub struct AuthorizationRequest {
    pub key: ProofKey,
    /// In the URL, and so no secret: whoever answers must have seen it.
    pub state: String,
    verifier: Secret,
}

impl AuthorizationRequest {
    pub fn new() -> Result<Self> {
        Ok(Self {
            key: ProofKey::generate().map_err(Error::internal)?,
            state: random::secret::<32>()?.expose().to_owned(),
            verifier: random::secret::<32>()?,
        })
    }

    /// S256 of the verifier (RFC 7636, 4.2).
    fn challenge(&self) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value_digest(self.verifier.expose().as_bytes()))
    }
}
