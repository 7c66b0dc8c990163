//! An installation of the cloud: where its IAM API and its auth host are.

use crate::base::error::Result;
use crate::base::identity::Identity;
use crate::cloud::Context;
use crate::cloud::discovery::{Discovery, WORD as DISCOVER};

/// `IamTokenService.Create`, below the base URL; the base URL and this are a JWT's default audience.
pub const TOKENS_PATH: &str = "/iam/v1/tokens";

/// Where the cloud is.
#[derive(Clone, Debug)]
pub struct Installation {
    iam: Iam,
    /// Base URL of the auth host.
    pub auth_url: String,
    /// The `aud` of a JWT, where the profile sets one.
    audience: Option<String>,
}

/// Where the IAM API is.
#[derive(Clone, Debug)]
pub enum Iam {
    /// Base URL, without a slash at the end.
    At(String),
    Discovered(Discovery),
}

impl Installation {
    pub fn new(iam: Iam, auth_url: String, audience: Option<String>) -> Self {
        Self { iam, auth_url, audience }
    }

    /// Base URL of the IAM API, without a slash at the end. Known at a fetch alone, where it is to be discovered.
    ///
    /// # Errors
    /// As [`Discovery::iam_url`].
    pub fn iam_url(&self, cx: &Context<'_>) -> Result<String> {
        match &self.iam {
            Iam::At(url) => Ok(url.clone()),
            Iam::Discovered(discovery) => discovery.iam_url(cx),
        }
    }

    /// The `aud` of a JWT: as the profile has it, or the URL that the JWT is sent to, so that it is worth nothing elsewhere.
    ///
    /// # Errors
    /// As [`Self::iam_url`].
    pub fn audience(&self, cx: &Context<'_>) -> Result<String> {
        match self.known_audience() {
            Some(audience) => Ok(audience),
            None => Ok(tokens_url(&self.iam_url(cx)?)),
        }
    }

    /// The `aud` of a JWT, where it is known without the network.
    pub fn known_audience(&self) -> Option<String> {
        match (&self.audience, &self.iam) {
            (Some(audience), _) => Some(audience.clone()),
            (None, Iam::At(url)) => Some(tokens_url(url)),
            (None, Iam::Discovered(_)) => None,
        }
    }

    /// Adds where IAM is, or whom to ask for that, to an identity.
    #[must_use]
    pub fn identify(&self, identity: Identity) -> Identity {
        match &self.iam {
            Iam::At(url) => identity.with("iam-url", url),
            Iam::Discovered(discovery) => identity.with("iam-url", format!("{DISCOVER} {}", discovery.url())),
        }
    }
}

fn tokens_url(iam_url: &str) -> String {
    format!("{iam_url}{}", TOKENS_PATH)
}
