//! The network, and nothing else touches it: one agent, the proxy choice, retries inside the deadline, and failures
//! named so that a user knows what to do.
#![expect(clippy::disallowed_types, reason = "the one place that talks to the network")]

pub mod failure;
pub mod proxy;

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Proxy};
use zeroize::Zeroizing;

use crate::base::clock::{Clock, Deadline, Timestamp, millis};
use crate::base::environment::Environment;
use crate::base::error::{Error, Result};
use crate::base::notes::Notes;
use crate::base::random;
use crate::base::secret::Secret;
use crate::cloud::http::failure::{Failure, LARGEST_BODY, PORTAL, ServerError, name_trouble, refusal, too_large};
use crate::cloud::http::proxy::choose_proxy;
use crate::disk::files;

/// A clock difference below this is none.
const SKEW_LEAST: i64 = 30_000;
/// How long a TCP connection may take to come up.
pub const CONNECT: Duration = Duration::from_secs(3);
/// First and longest pause between tries; each is drawn evenly from 0 to it ("full jitter").
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MOST: Duration = Duration::from_secs(4);

/// What the network needs of a profile and an environment; the agent itself is made when the first request goes out.
pub struct Http {
    environment: Environment,
    ca_file: Option<PathBuf>,
    roots: OnceCell<Arc<Vec<Certificate<'static>>>>,
}

/// One request.
pub struct HttpRequest<'a> {
    pub url: &'a str,
    pub headers: &'a [(&'static str, &'a str)],
    /// A POST with this content type and body; none is a GET.
    pub body: Option<(&'static str, &'a Secret)>,
    pub connect: Duration,
    /// Metadata is never asked for through a proxy.
    pub direct: bool,
}

/// How long and how often a request may be tried, and who is told of it.
pub struct RetryPolicy<'a> {
    pub clock: &'a dyn Clock,
    pub deadline: Deadline,
    /// Requests at most.
    pub attempts: u32,
    pub notes: &'a Notes<'a>,
}

/// A header that each try has another value of.
#[derive(Clone, Copy)]
pub struct Proof<'a> {
    pub header: &'static str,
    pub make: &'a dyn Fn() -> Result<Secret>,
}

/// A 2xx answer.
pub struct HttpResponse {
    pub body: Zeroizing<Vec<u8>>,
    /// The server's clock less ours, in milliseconds, where it told its time; 0 where they agree to 30 s.
    pub skew: Option<i64>,
    pub received: Timestamp,
    content_type: String,
}

impl Http {
    /// Reads nothing yet: proxies and roots are looked at by the first request.
    pub fn new(environment: &Environment, ca_file: Option<&Path>) -> Self {
        Self { environment: environment.clone(), ca_file: ca_file.map(Path::to_owned), roots: OnceCell::new() }
    }

    /// What the process was given: commands of a profile get it too, with one mark more.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Sends a request, again after 429, 5xx and broken connections, until it is answered, refused, or the time is up.
    ///
    /// `explain` turns the body of an error answer into the server's own words.
    ///
    /// # Errors
    /// Refused (1) for a 4xx; Profile (3) for distrusted certificates and proxies that want a password; else
    /// Unavailable (4).
    pub fn send(
        &self,
        request: &HttpRequest<'_>,
        explain: fn(&[u8]) -> Option<ServerError>,
        policy: &RetryPolicy<'_>,
    ) -> Result<HttpResponse> {
        self.send_proven(request, None, explain, policy)
    }

    /// [`Self::send`], with a header whose value is made anew for each try: a proof of possession that came twice would be
    /// taken for a stolen one (RFC 9449, 11.1).
    ///
    /// # Errors
    /// As [`Self::send`], and what making the header brings.
    pub fn send_proven(
        &self,
        request: &HttpRequest<'_>,
        proof: Option<Proof<'_>>,
        explain: fn(&[u8]) -> Option<ServerError>,
        policy: &RetryPolicy<'_>,
    ) -> Result<HttpResponse> {
        let mut pause = PAUSE_FIRST;
        let mut before: Option<Error> = None;
        for attempt in 1.. {
            let left = policy.deadline.left(policy.clock);
            if left.is_zero() {
                // What went wrong before says more than that there was no time to try again.
                let no_time = || Error::unavailable(format!("{}: no time is left to ask", request.url)).timed_out();
                return Err(before.unwrap_or_else(no_time));
            }
            let last = attempt >= policy.attempts;
            let budget = if policy.attempts == 1 { left } else { left / 2 };
            let value = proof.map(|proof| (proof.make)().map(|value| (proof.header, value))).transpose()?;
            let fresh = value.as_ref().map(|(name, value)| (*name, value.expose()));
            let (error, again) = match self.attempt(request, fresh, budget, explain, policy) {
                Ok(answer) => return Ok(answer),
                Err(failure) => (failure.error, failure.again),
            };
            let wait = error.retry_after.unwrap_or_else(|| random::between(Duration::ZERO, pause));
            if !again || last || wait >= policy.deadline.left(policy.clock) {
                return Err(error);
            }
            policy.notes.debug(|| format!("try {attempt}: {}; again in {} ms", error.reason(), wait.as_millis()));
            policy.clock.sleep(wait);
            pause = (pause * 2).min(PAUSE_MOST);
            before = Some(error);
        }
        unreachable!("the loop ends by returning")
    }

    fn attempt(
        &self,
        request: &HttpRequest<'_>,
        fresh: Option<(&'static str, &str)>,
        budget: Duration,
        explain: fn(&[u8]) -> Option<ServerError>,
        policy: &RetryPolicy<'_>,
    ) -> Result<HttpResponse, Failure> {
        let uri: Uri =
            request.url.parse().map_err(|_| Failure::last(Error::profile(format!("{}: not a URL", request.url))))?;
        let proxy = if request.direct { None } else { choose_proxy(&uri, &self.environment).map_err(Failure::last)? };
        let via = proxy.as_ref().map(|proxy| format!("{}:{}", proxy.host(), proxy.port()));
        // Whose name it is that this machine looks up: some kinds of SOCKS leave the target's to us.
        let looked_up = if proxy.as_ref().is_some_and(Proxy::resolve_target) { None } else { via.clone() };
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(proxy)
            .user_agent(concat!("ycred/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(budget))
            // ureq divides its connect budget over the addresses unless told.
            .timeout_connect(Some(request.connect.min(budget)));
        if uri.scheme_str() == Some("https") {
            let roots = RootCerts::Specific(self.roots().map_err(Failure::last)?);
            config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
        }
        let agent: Agent = config.build().into();
        let headers = || request.headers.iter().copied().chain(fresh);
        let sent = match request.body {
            Some((content_type, body)) => {
                let mut call = agent.post(request.url).header("content-type", content_type);
                for (name, value) in headers() {
                    call = call.header(name, value);
                }
                call.send(body.expose())
            }
            None => {
                let mut call = agent.get(request.url);
                for (name, value) in headers() {
                    call = call.header(name, value);
                }
                call.call()
            }
        };
        let trouble = |error: ureq::Error| {
            name_trouble(&error, request.url, (via.as_deref(), looked_up.as_deref()), budget, self.ca_file.as_deref())
        };
        let mut response = sent.map_err(trouble)?;
        let received = policy.clock.now();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let skew = header("date").and_then(http_date).map(|date| date.since(received).clamp_small());
        let retry_after = header("retry-after").and_then(|text| retry_after(text, received.shifted(skew.unwrap_or(0))));
        let content_type = header("content-type").unwrap_or("no content type").to_owned();
        let request_id = ["x-request-id", "x-server-trace-id"].iter().find_map(|name| header(name).map(str::to_owned));
        let location = header("location").map(str::to_owned);
        let dpop_nonce = header("dpop-nonce").map(str::to_owned);
        let status = response.status().as_u16();
        let body = response
            .body_mut()
            .with_config()
            .limit(LARGEST_BODY + 1)
            .read_to_vec()
            .map(Zeroizing::new)
            .map_err(trouble)?;
        if body.len() as u64 > LARGEST_BODY {
            return Err(Failure::last(too_large(request.url)));
        }
        policy.notes.debug(|| format!("{}: {status}, {} bytes", request.url, body.len()));
        if (200..300).contains(&status) {
            return Ok(HttpResponse { body, skew, received, content_type });
        }
        if (300..400).contains(&status) {
            let to = location.map(|location| format!(" to {location}")).unwrap_or_default();
            return Err(Failure::last(
                Error::unavailable(format!(
                    "{}: redirected{to} ({status}), and a credential follows no redirect",
                    request.url
                ))
                .hint(PORTAL),
            ));
        }
        let mut failure = refusal(request.url, status, &body, request_id, retry_after, skew, explain);
        failure.error.auth.dpop_nonce = dpop_nonce;
        Err(failure)
    }

    fn roots(&self) -> Result<Arc<Vec<Certificate<'static>>>> {
        if let Some(roots) = self.roots.get() {
            return Ok(roots.clone());
        }
        let mut roots: Vec<Certificate<'static>> = rustls_native_certs::load_native_certs()
            .certs
            .iter()
            .map(|der| Certificate::from_der(der).to_owned())
            .collect();
        if roots.is_empty() {
            roots.extend(
                webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(|der| Certificate::from_der(der).to_owned()),
            );
        }
        if let Some(path) = &self.ca_file {
            roots.extend(read_ca_file(path)?);
        }
        Ok(self.roots.get_or_init(|| Arc::new(roots)).clone())
    }
}

trait ClampSmall {
    fn clamp_small(self) -> Self;
}

impl ClampSmall for i64 {
    fn clamp_small(self) -> Self {
        if self.abs() < SKEW_LEAST { 0 } else { self }
    }
}

impl HttpResponse {
    /// The body as JSON of the expected shape.
    ///
    /// # Errors
    /// Unavailable (4): it is something else, such as the page of a captive portal.
    pub fn json<T: serde::de::DeserializeOwned>(&self, url: &str) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|_| {
            let what = if self.body.is_empty() {
                "an empty body".to_owned()
            } else {
                format!("{} bytes of {}", self.body.len(), self.content_type)
            };
            Error::unavailable(format!("{url}: answered 200 with {what}, not with a token")).hint(PORTAL)
        })
    }
}

/// Reads and judges a profile's `ca-file`.
fn read_ca_file(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let error_at = |why: &str| {
        Error::profile(format!("ca-file {}: {why}", path.display())).hint("it must hold PEM blocks BEGIN CERTIFICATE")
    };
    let content = files::read(path).map_err(|error| error.context("ca-file"))?;
    let certificates = CertificateDer::pem_slice_iter(&content)
        .map(|item| {
            item.map(|der| Certificate::from_der(&der).to_owned()).map_err(|_| error_at("a PEM block in it is broken"))
        })
        .collect::<Result<Vec<_>>>()?;
    if certificates.is_empty() {
        return Err(error_at("has no certificate in it"));
    }
    Ok(certificates)
}

/// Reads an HTTP date in any of the three forms of RFC 9110, 5.6.7.
pub fn http_date(text: &str) -> Option<Timestamp> {
    let moment = httpdate::parse_http_date(text).ok()?;
    let since = moment.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp(millis(since)))
}

/// Reads `Retry-After`: seconds or a date (RFC 9110, 10.2.3); `there` is the server's own time.
pub fn retry_after(text: &str, there: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let wait = http_date(text.trim())?.since(there).max(0);
    Some(Duration::from_millis(wait.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_comes_in_seconds_and_as_a_date() {
        let there = http_date("Sat, 21 Nov 2026 10:00:00 GMT").expect("a date");
        assert_eq!(retry_after("7", there), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(" Sat, 21 Nov 2026 10:01:30 GMT", there), Some(Duration::from_secs(90)));
        assert_eq!(retry_after("Sat, 21 Nov 2026 09:00:00 GMT", there), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", there), None);
    }

    #[test]
    fn small_clock_differences_are_none() {
        assert_eq!(
            [
                29_999_i64.clamp_small(),
                -29_999_i64.clamp_small(),
                30_000_i64.clamp_small(),
                (-600_000_i64).clamp_small()
            ],
            [0, 0, 30_000, -600_000]
        );
    }
}
