//! An installation of the cloud: the addresses of its IAM API and its auth host.

use crate::base::error::Result;
use crate::base::identity::Identity;
use crate::cloud::Context;
use crate::cloud::discovery::{DISCOVER, Discovery};

/// The path of `IamTokenService.Create`, below the base URL. The full URL is the default audience of a JWT.
pub const TOKENS_PATH: &str = "/iam/v1/tokens";

/// The addresses of an installation.
#[derive(Clone, Debug)]
pub struct Installation {
    iam: Iam,
    /// Base URL of the auth host.
    pub auth_url: String,
    /// The `aud` of a JWT, if the profile sets it.
    audience: Option<String>,
}

/// The address of the IAM API.
#[derive(Clone, Debug)]
pub enum Iam {
    /// The base URL, without a slash at the end.
    At(String),
    /// Looked up when a token is fetched.
    Discovered(Discovery),
}

impl Installation {
    pub fn new(iam: Iam, auth_url: String, audience: Option<String>) -> Self {
        Self { iam, auth_url, audience }
    }

    /// Returns the base URL of the IAM API, without a slash at the end. May use the network for discovery.
    ///
    /// # Errors
    /// As [`Discovery::iam_url`].
    pub fn iam_url(&self, cx: &Context<'_>) -> Result<String> {
        match &self.iam {
            Iam::At(url) => Ok(url.clone()),
            Iam::Discovered(discovery) => discovery.iam_url(cx),
        }
    }

    /// Returns the `aud` of a JWT: the profile's, or the URL that the JWT is sent to, so that no other server accepts
    /// it.
    ///
    /// # Errors
    /// As [`Self::iam_url`].
    pub fn audience(&self, cx: &Context<'_>) -> Result<String> {
        match self.known_audience() {
            Some(audience) => Ok(audience),
            None => Ok(tokens_url(&self.iam_url(cx)?)),
        }
    }

    /// Returns the base URL of the IAM API as a profile has it: a URL, or the word for its discovery.
    pub fn iam_setting(&self) -> String {
        match &self.iam {
            Iam::At(url) => url.clone(),
            Iam::Discovered(_) => DISCOVER.to_owned(),
        }
    }

    /// Returns the URLs that requests go to, as far as they are known without the network.
    pub fn known_urls(&self) -> [String; 2] {
        let iam = match &self.iam {
            Iam::At(url) => url.clone(),
            Iam::Discovered(discovery) => discovery.url(),
        };
        [iam, self.auth_url.clone()]
    }

    /// Returns the `aud` of a JWT, if it is known without the network.
    pub fn known_audience(&self) -> Option<String> {
        match (&self.audience, &self.iam) {
            (Some(audience), _) => Some(audience.clone()),
            (None, Iam::At(url)) => Some(tokens_url(url)),
            (None, Iam::Discovered(_)) => None,
        }
    }

    /// Adds the IAM address, or the URL for its discovery, to an identity.
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
