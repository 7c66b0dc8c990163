//! The cloud: what a fetch runs with, and the calls that it makes.

pub mod auth;
pub mod discovery;
pub mod http;
pub mod iam;
pub mod installation;
pub mod jwt;
pub mod status;

use crate::base::clock::{Clock, Deadline, clock_off};
use crate::base::error::Result;
use crate::base::notes::{Notes, Warning};
use crate::cache::Cache;
use crate::cache::record::Requirements;
use crate::cloud::http::failure::ServerError;
use crate::cloud::http::{Http, HttpRequest, HttpResponse, Proof, RetryPolicy};

/// What a fetch runs with.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub clock: &'a dyn Clock,
    pub deadline: Deadline,
    /// Requests that one fetch may make: one in the soft window, else one and the retries.
    pub attempts: u32,
    pub http: &'a Http,
    pub cache: &'a Cache,
    pub notes: &'a Notes<'a>,
    /// What the token must be good for. A grant inside another one has requirements of its own.
    pub requirements: Requirements,
    /// How messages call the profile.
    pub profile: &'a str,
    /// The token is to buy another one, and nobody sees how long it lives.
    pub is_inner: bool,
}

/// One request and three retries.
pub const ATTEMPTS: u32 = 4;
impl Context<'_> {
    /// Sends a request, within the deadline and the attempts of this fetch.
    ///
    /// # Errors
    /// As [`Http::send`].
    pub fn send(&self, request: &HttpRequest<'_>, explain: fn(&[u8]) -> Option<ServerError>) -> Result<HttpResponse> {
        self.http.send(request, explain, &self.retry_policy())
    }

    /// [`Self::send`], with a proof of possession made for each attempt.
    ///
    /// # Errors
    /// As [`Http::send_proven`].
    pub fn send_proven(
        &self,
        request: &HttpRequest<'_>,
        proof: Option<Proof<'_>>,
        explain: fn(&[u8]) -> Option<ServerError>,
    ) -> Result<HttpResponse> {
        self.http.send_proven(request, proof, explain, &self.retry_policy())
    }

    fn retry_policy(&self) -> RetryPolicy<'_> {
        RetryPolicy { clock: self.clock, deadline: self.deadline, attempts: self.attempts, notes: self.notes }
    }

    /// Tells whoever fetched that this machine's clock is off; tokens are had all the same, other programs may fare worse.
    pub fn warn_of_clock(&self, skew: i64) {
        if skew != 0 {
            self.notes.warn(Warning::ClockOff, format!("{}: set it, or turn time synchronisation on", clock_off(skew)));
        }
    }
}
