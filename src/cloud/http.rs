//! HTTP requests: proxies, TLS roots and error messages. All outgoing requests are made here.
#![expect(clippy::disallowed_types, reason = "the only place that talks to the network")]

mod connector;
pub mod failure;
pub mod proxy;
mod resolver;
pub mod retry;
mod tls;
pub mod trust;
mod written;

use std::cell::OnceCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use ureq::Agent;
use ureq::http::Uri;
use ureq::unversioned::transport::Connector as _;
use zeroize::Zeroizing;

use crate::base::clock::{Timestamp, millis};
use crate::base::environment::Environment;
use crate::base::error::{Error, Result};
use crate::base::secret::Secret;
use crate::cache::sharing_group::SharingGroup;
use crate::cloud::http::failure::{
    BODY_MAX, ErrorResponse, Failure, ServerError, connection_failure, describe_body, error_response, too_large,
};
use crate::cloud::http::proxy::{ProxyChoice, Route, choose_proxy};
use crate::cloud::http::resolver::NameResolver;
use crate::cloud::http::retry::{RetryPolicy, retry};
pub use crate::cloud::http::written::BeforeWrite;
use crate::cloud::http::written::{Connected, RequestWritten};

/// A smaller skew counts as 0, in milliseconds.
const SKEW_MIN: i64 = 30_000;
/// The time limit for a TCP connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The variables that replace this machine's roots.
const CERTIFICATES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// The HTTP client of a run, configured by a profile and the environment.
pub struct Http {
    environment: Environment,
    ca_file: Option<PathBuf>,
    tls: OnceCell<Arc<ClientConfig>>,
}

/// One request.
pub struct HttpRequest<'a> {
    pub url: &'a str,
    pub headers: &'a [(&'static str, &'a str)],
    /// The content type and body of a POST. Without a body, the request is a GET.
    pub body: Option<(&'static str, &'a Secret)>,
    /// The time limit for the connection.
    pub connect: Duration,
    /// Do not use a proxy, as for the metadata service.
    pub direct: bool,
    /// The request contains a secret that may be valid for one use only. It is repeated only if the server has certainly
    /// not used the secret, and each attempt may take all the remaining time.
    pub is_one_time: bool,
}

/// A DPoP proof (RFC 9449 section 4), made anew for each attempt.
#[derive(Clone, Copy)]
pub struct ProofHeader<'a> {
    pub header: &'static str,
    pub make: &'a dyn Fn() -> Result<Secret>,
    /// Called in each attempt, before anything is sent. An error ends the attempt, and is that of the call.
    pub before: Option<&'a BeforeWrite>,
    /// Called after an attempt whose secrets the server has certainly not used ([`Error::left_secret_unused`]).
    pub unused: &'a dyn Fn(),
}

/// The time of an attempt.
struct AttemptBudget {
    /// When the first attempt began, by the monotonic clock.
    began: Duration,
    /// The time limit of this attempt.
    budget: Duration,
}

/// A 2xx response.
pub struct HttpResponse {
    pub body: Zeroizing<Vec<u8>>,
    /// The server's clock minus this machine's clock, in milliseconds, if the response has a `Date`.
    ///
    /// 0 if they differ by less than 30 s.
    pub skew: Option<i64>,
    /// When the response arrived, by this machine's clock.
    pub received: Timestamp,
    content_type: String,
    /// The hint if somebody else than the server has responded.
    portal_hint: String,
}

impl Http {
    /// Creates a client. The first request reads the proxy variables and the TLS roots.
    pub fn new(environment: &Environment, ca_file: Option<&Path>) -> Self {
        Self { environment: environment.clone(), ca_file: ca_file.map(Path::to_owned), tls: OnceCell::new() }
    }

    /// Returns the sharing group of this process: the processes with which it shares locks, and all failures that are not the
    /// cloud's answers. Those are shared with every group.
    pub fn sharing_group(&self) -> SharingGroup {
        Self::sharing_group_of(&self.environment)
    }

    /// Returns the variables that choose proxies and certificates.
    pub fn variables() -> impl Iterator<Item = &'static str> {
        proxy::VARIABLES.into_iter().chain(CERTIFICATES)
    }

    /// Returns the environment of this process, for the commands that a profile runs.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Returns the sharing group of a process with these proxy and certificate variables.
    pub fn sharing_group_of(environment: &Environment) -> SharingGroup {
        let variables = proxy::VARIABLES.iter().chain(&CERTIFICATES);
        let absolute = trust::absolute_variables(environment);
        let value = |name| {
            let changed = absolute.iter().find(|(changed, _)| *changed == name);
            changed.map(|(_, value)| value.as_os_str()).or_else(|| environment.get(name))
        };
        let values = variables.filter_map(|name| Some((*name, value(*name)?)));
        SharingGroup::with_variables(values)
    }

    /// Returns the variables for certificates that are relative to this process's directory, with absolute paths.
    pub fn absolute_certificates(&self) -> Vec<(&'static str, OsString)> {
        trust::absolute_variables(&self.environment)
    }

    /// Sends a request. Repeats it after 429, 5xx and broken connections, within the policy's limits.
    ///
    /// `explain` extracts the server's error from the body of an error response.
    ///
    /// # Errors
    /// Refused (1): the server itself responded with 4xx, except 408 and 429. Profile (3): the URL or a proxy variable is
    /// invalid, a certificate is not trusted, or a proxy requires a password. Unavailable (4): any other failure.
    pub fn send(
        &self,
        request: &HttpRequest<'_>,
        explain: fn(&[u8]) -> Option<ServerError>,
        policy: &RetryPolicy<'_>,
    ) -> Result<HttpResponse> {
        self.send_with_proof(request, None, explain, policy)
    }

    /// Sends a request as [`Self::send`] does, with a new proof of possession in each attempt.
    ///
    /// A server may treat a repeated proof as a stolen one (RFC 9449, 11.1).
    ///
    /// # Errors
    /// As [`Self::send`], and the errors of `proof`.
    pub fn send_with_proof(
        &self,
        request: &HttpRequest<'_>,
        proof: Option<ProofHeader<'_>>,
        explain: fn(&[u8]) -> Option<ServerError>,
        policy: &RetryPolicy<'_>,
    ) -> Result<HttpResponse> {
        let began = policy.clock.elapsed();
        retry(request.url, policy, request.is_one_time, |budget| {
            let time = AttemptBudget { began, budget };
            let value = proof.map(|proof| (proof.make)().map(|value| (proof.header, value))).transpose();
            let value = value.map_err(|error| Failure::permanent(error.unsent()))?;
            let proof_header = value.as_ref().map(|(name, value)| (*name, value.expose()));
            let written = RequestWritten::after(proof.and_then(|proof| proof.before));
            self.attempt(request, proof_header, time, explain, policy, &written).map_err(|mut failure| {
                if let Some(error) = written.take_error() {
                    failure = Failure::permanent(error);
                }
                failure.error.is_unsent = !written.get();
                if let Some(proof) = proof.filter(|_| failure.error.left_secret_unused()) {
                    (proof.unused)();
                }
                failure
            })
        })
    }

    fn attempt(
        &self,
        request: &HttpRequest<'_>,
        proof_header: Option<(&'static str, &str)>,
        AttemptBudget { began, budget }: AttemptBudget,
        explain: fn(&[u8]) -> Option<ServerError>,
        policy: &RetryPolicy<'_>,
        written: &RequestWritten,
    ) -> Result<HttpResponse, Failure> {
        let uri: Uri = request
            .url
            .parse()
            .map_err(|_| Failure::permanent(Error::profile(format!("{}: not a URL", request.url))))?;
        let choice = match request.direct {
            true => ProxyChoice::DIRECT,
            false => choose_proxy(&uri, &self.environment).map_err(Failure::permanent)?,
        };
        let route = Route::new(&choice, request.direct);
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(choice.proxy().cloned())
            .user_agent(concat!("ycred/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(budget))
            // Without this, ureq divides the connect budget over the addresses.
            .timeout_connect(Some(request.connect.min(budget)))
            .build();
        let tls = (uri.scheme_str() == Some("https")).then(|| self.tls().map_err(Failure::permanent)).transpose()?;
        let connected = Connected::default();
        let connector = connector::connector(tls, connected.clone()).chain(written.through(choice.proxy()));
        // ureq's own resolver needs a thread. This one works where no thread can be started.
        let resolver = NameResolver::default();
        let agent = Agent::with_parts(config, connector, resolver.clone());
        let headers = || request.headers.iter().copied().chain(proof_header);
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
        let route = route.unresolved_name(resolver.unresolved());
        let failure = |error: ureq::Error| {
            connection_failure(
                &error,
                request.url,
                &route,
                policy.clock.elapsed().saturating_sub(began),
                (request.connect < budget).then_some(request.connect),
                connected.get(),
                self.ca_file.as_deref(),
            )
        };
        if let Some(note) = resolver.take_note() {
            policy.diagnostics.debug(|| note);
        }
        let mut response = sent.map_err(failure)?;
        let received = policy.clock.now();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let skew = header("date").and_then(http_date).map(|date| significant_skew(date.since(received)));
        let retry_after = header("retry-after").and_then(|text| retry_after(text, received.shifted(skew.unwrap_or(0))));
        let content_type = header("content-type").unwrap_or("no content type").to_owned();
        let request_id = ["x-request-id", "x-server-trace-id"].iter().find_map(|name| header(name).map(str::to_owned));
        let location = header("location").map(str::to_owned);
        let dpop_nonce = header("dpop-nonce").map(str::to_owned);
        let status = response.status().as_u16();
        let body =
            response.body_mut().with_config().limit(BODY_MAX + 1).read_to_vec().map(Zeroizing::new).map_err(failure)?;
        if body.len() as u64 > BODY_MAX {
            return Err(Failure::permanent(too_large(request.url, &route)));
        }
        policy.diagnostics.debug(|| format!("{}: {status}, {} bytes", request.url, body.len()));
        if (200..300).contains(&status) {
            let portal_hint = route.portal_hint();
            return Ok(HttpResponse { body, skew, received, content_type, portal_hint });
        }
        if (300..400).contains(&status) {
            let to = location.map(|location| format!(" to {location}")).unwrap_or_default();
            let what = format!("{}: redirected{to} ({status}); ycred does not follow redirects", request.url);
            let mut error = Error::unavailable(what).hint(route.portal_hint());
            error.status = Some(status);
            return Err(Failure::permanent(error));
        }
        let response = ErrorResponse {
            url: request.url,
            status,
            body: &body,
            content_type: &content_type,
            request_id,
            retry_after,
            skew,
        };
        let mut failure = error_response(response, &route, explain);
        failure.error.auth.dpop_nonce = dpop_nonce;
        Err(failure)
    }

    /// Checks the certificates that this client trusts, without a request.
    ///
    /// # Errors
    /// Profile (3): the `ca-file` or a variable for certificates is unusable.
    pub fn check_roots(&self) -> Result<()> {
        self.tls().map(drop)
    }

    /// Returns the address of the proxy for requests to a URL, if there is one.
    ///
    /// # Errors
    /// Profile (3): the variable is not a proxy URL.
    pub fn proxy_for(&self, url: &str) -> Result<Option<String>> {
        let Ok(uri) = url.parse::<Uri>() else { return Ok(None) };
        choose_proxy(&uri, &self.environment).map(|choice| choice.address())
    }

    fn tls(&self) -> Result<Arc<ClientConfig>> {
        if let Some(config) = self.tls.get() {
            return Ok(Arc::clone(config));
        }
        let roots = trust::chosen_roots(&self.environment)?;
        let extra = self.ca_file.as_deref().map(|path| trust::read_certificates("ca-file", path)).transpose()?;
        let config = connector::client_config(roots, extra.unwrap_or_default())?;
        Ok(Arc::clone(self.tls.get_or_init(|| config)))
    }
}

/// Returns 0 for a small skew.
fn significant_skew(skew: i64) -> i64 {
    if skew.abs() < SKEW_MIN { 0 } else { skew }
}

impl HttpResponse {
    /// Parses the body as JSON.
    ///
    /// # Errors
    /// Unavailable (4): the body is something else, such as the page of a captive portal.
    pub fn json<T: serde::de::DeserializeOwned>(&self, url: &str) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|_| {
            let content = describe_body(&self.body, &self.content_type);
            Error::unavailable(format!("{url}: unexpected response: {content}")).hint(&*self.portal_hint)
        })
    }
}

/// Parses an HTTP date in any of the three formats of RFC 9110, 5.6.7.
pub fn http_date(text: &str) -> Option<Timestamp> {
    let moment = httpdate::parse_http_date(text).ok()?;
    let since = moment.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp(millis(since)))
}

/// Parses `Retry-After`: seconds or a date (RFC 9110, 10.2.3). `server_now` is the time by the server's clock.
pub fn retry_after(text: &str, server_now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let wait = http_date(text.trim())?.since(server_now).max(0);
    Some(Duration::from_millis(wait.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::sharing_group::LockName;

    #[test]
    fn retry_after_is_in_seconds_or_a_date() {
        let server_now = http_date("Sat, 21 Nov 2026 10:00:00 GMT").expect("a date");
        assert_eq!(retry_after("7", server_now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(" Sat, 21 Nov 2026 10:01:30 GMT", server_now), Some(Duration::from_secs(90)));
        assert_eq!(retry_after("Sat, 21 Nov 2026 09:00:00 GMT", server_now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", server_now), None);
    }

    #[test]
    fn the_sharing_group_of_a_process_depends_on_proxies_and_certificates() {
        let group = |pairs: &[(&str, &str)]| {
            Http::sharing_group_of(&Environment::new(pairs.iter().map(|(k, v)| (k.into(), v.into()))))
        };
        let plain = group(&[("HOME", "/home/me"), ("PATH", "/bin"), ("HTTPS_PROXY", "")]);
        assert_eq!(plain, SharingGroup::default());
        let one = ("HTTPS_PROXY", "http://one:1");
        let all = [
            group(&[one]),
            group(&[("HTTPS_PROXY", "http://two:1")]),
            group(&[("https_proxy", "http://one:1")]),
            group(&[("ALL_PROXY", "http://one:1")]),
            group(&[one, ("NO_PROXY", "x")]),
            group(&[("SSL_CERT_FILE", "/a.pem")]),
            group(&[("SSL_CERT_DIR", "/a.pem")]),
        ];
        let names: Vec<_> = all.iter().map(SharingGroup::lock_name).collect();
        let different: std::collections::HashSet<&str> = names.iter().map(LockName::as_str).collect();
        assert_eq!(different.len(), all.len(), "{all:?}");
        assert!(names.iter().all(|name| name.as_str().len() == 17), "{all:?}");
        assert_eq!(group(&[one, ("HOME", "/x"), ("PATH", "/y")]), all[0]);
    }

    #[test]
    fn a_small_skew_counts_as_zero() {
        assert_eq!(
            [significant_skew(29_999), significant_skew(-29_999), significant_skew(30_000), significant_skew(-600_000)],
            [0, 0, 30_000, -600_000]
        );
    }
}
