//! The cloud's APIs: the context of a fetch, and the calls that it makes.

pub mod auth;
pub mod discovery;
pub mod http;
pub mod iam;
pub mod installation;
pub mod jwt;
pub mod rpc_status;

use std::path::Path;

use crate::base::clock::{Clock, Deadline, Timestamp, clock_off};
use crate::base::diagnostics::{Diagnostics, Warning};
use crate::base::error::{Error, Result};
use crate::cache::Cache;
use crate::cache::freshness::Requirements;
use crate::cloud::http::failure::ServerError;
use crate::cloud::http::retry::{AttemptTime, RetryPolicy};
use crate::cloud::http::{Http, HttpRequest, HttpResponse, ProofHeader};

/// The context of a fetch.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub clock: &'a dyn Clock,
    pub deadline: Deadline,
    /// When the call began, by the wall clock.
    pub began: Timestamp,
    /// The maximum number of requests: one to renew a refreshable token, otherwise one plus the retries.
    pub attempts: u32,
    /// How much time must be left for a request to start, and how long it may take. `None`: any part of the remaining time.
    pub attempt_time: Option<AttemptTime>,
    pub http: &'a Http,
    pub cache: &'a Cache,
    pub diagnostics: &'a Diagnostics<'a>,
    /// The requirements for the token. A grant inside another one has its own.
    pub requirements: Requirements,
    /// The profile's name in messages.
    pub profile: &'a str,
    /// The profile's file, if it has one. A fetch checks its directories; a hit skips that check, to be fast.
    pub profile_file: Option<&'a Path>,
    /// Why the attempt before this one has failed, if this call makes several ([`Error::may_try_again`]).
    pub last_error: Option<&'a Error>,
    /// The token is only exchanged for another one, so the user does not see its expiry.
    pub is_inner: bool,
}

/// One request and three retries.
pub const ATTEMPTS: u32 = 4;

impl Context<'_> {
    /// Sends a request within the deadline and the attempts of this fetch.
    ///
    /// # Errors
    /// As [`Http::send`].
    pub fn send(&self, request: &HttpRequest<'_>, explain: fn(&[u8]) -> Option<ServerError>) -> Result<HttpResponse> {
        self.http.send(request, explain, &self.retry_policy())
    }

    /// Sends a request as [`Self::send`] does, with a new proof of possession in each attempt.
    ///
    /// # Errors
    /// As [`Http::send_with_proof`].
    pub fn send_with_proof(
        &self,
        request: &HttpRequest<'_>,
        proof: Option<ProofHeader<'_>>,
        explain: fn(&[u8]) -> Option<ServerError>,
    ) -> Result<HttpResponse> {
        self.http.send_with_proof(request, proof, explain, &self.retry_policy())
    }

    fn retry_policy(&self) -> RetryPolicy<'_> {
        RetryPolicy {
            clock: self.clock,
            deadline: self.deadline,
            attempts: self.attempts,
            attempt_time: self.attempt_time,
            diagnostics: self.diagnostics,
        }
    }

    /// Warns that this machine's clock is wrong. ycred corrects for that, but other programs may fail.
    pub fn warn_of_clock(&self, skew: i64) {
        if skew != 0 {
            self.diagnostics
                .warn(Warning::ClockOff, format!("{}: set it, or enable time synchronization", clock_off(skew)));
        }
    }
}
