//! Errors of failed requests: what to report, what to advise, and whether another attempt may succeed.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::base::clock::{human, millis};
use crate::base::error::{Error, describe};
use crate::cloud::http::tls::tls_error;

/// The maximum size of a response in bytes. Real ones have at most a few KiB.
pub(super) const BODY_MAX: u64 = 64 * 1024;

pub const PORTAL_HINT: &str =
    "open a browser and sign in if there is a captive portal; otherwise check the URL and HTTPS_PROXY";

/// A failed attempt.
pub(super) struct Failure {
    pub(super) error: Error,
    /// Another attempt may succeed.
    pub(super) is_temporary: bool,
}

impl Failure {
    pub(super) fn permanent(error: Error) -> Self {
        Self { error, is_temporary: false }
    }
    pub(super) fn temporary(error: Error) -> Self {
        Self { error, is_temporary: true }
    }
}

/// The error in a server's response.
pub struct ServerError {
    pub message: String,
    pub request_id: Option<String>,
    /// The error code of the auth host.
    pub code: Option<String>,
    /// Only IAM and the auth host send an error of this form, so it is the cloud's answer.
    pub is_cloud: bool,
}

/// Returns the failure for a response with an error status.
pub(super) fn error_response(
    url: &str,
    status: u16,
    body: &[u8],
    request_id: Option<String>,
    retry_after: Option<Duration>,
    skew: Option<i64>,
    explain: fn(&[u8]) -> Option<ServerError>,
) -> Failure {
    let explained = explain(body);
    let mut text = format!("{url}: {status}");
    match &explained {
        Some(explained) => {
            let _ = write!(text, ": {}", explained.message);
        }
        None => text.push_str(reason_phrase(status)),
    }
    if let Some(id) = explained.as_ref().and_then(|explained| explained.request_id.clone()).or(request_id) {
        let _ = write!(text, " (request id {id})");
    }
    // Trust the skew only if the body shows that the cloud itself responded.
    let clock_skew = skew.filter(|_| explained.is_some());
    let is_temporary = status == 429 || status >= 500;
    let kind = if is_temporary || status == 408 { Error::unavailable(text) } else { Error::refused(text) };
    let mut error = kind.retry_after(retry_after.filter(|_| is_temporary));
    error.clock_skew = clock_skew;
    error.status = Some(status);
    error.is_answer = explained.as_ref().is_some_and(|explained| explained.is_cloud);
    error.auth.code = explained.and_then(|explained| explained.code);
    if is_temporary {
        error = error.hint("the cloud is overloaded or unavailable; try again in a moment");
    }
    if status == 407 {
        let mut error = proxy_requires_password(url, None);
        error.status = Some(status);
        return Failure::permanent(error);
    }
    Failure { error, is_temporary }
}

fn reason_phrase(status: u16) -> &'static str {
    match status {
        400 => " Bad Request",
        401 => " Unauthorized",
        403 => " Forbidden",
        404 => " Not Found",
        429 => " Too Many Requests",
        500 => " Internal Server Error",
        502 => " Bad Gateway",
        503 => " Service Unavailable",
        504 => " Gateway Timeout",
        _ => "",
    }
}

pub(super) fn too_large(url: &str) -> Error {
    Error::unavailable(format!("{url}: the response is larger than {BODY_MAX} bytes")).hint(PORTAL_HINT)
}

fn proxy_requires_password(url: &str, proxy: Option<&str>) -> Error {
    let proxy = proxy.map_or_else(|| "the proxy".to_owned(), |proxy| format!("the proxy {proxy}"));
    Error::profile(format!("{url}: {proxy} requires a user and password (407)"))
        .remote()
        .hint("add them to the URL in HTTPS_PROXY, percent-encoded: http://USER:PASSWORD@HOST:PORT")
}

/// Returns the failure for a request without a response.
///
/// `time_limit` is that of the run, since the attempt has only a part of it. `connect_limit` is set if it is shorter than the
/// time for the attempt. `proxy` is the proxy in use, and `resolved_proxy` is set if this machine had to resolve the proxy's name.
pub(super) fn connection_failure(
    error: &ureq::Error,
    url: &str,
    (proxy, resolved_proxy): (Option<&str>, Option<&str>),
    time_limit: Duration,
    connect_limit: Option<Duration>,
    ca_file: Option<&Path>,
) -> Failure {
    let through = proxy.map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default();
    match error {
        ureq::Error::Timeout(phase) => {
            let (what, limit) = match (phase, connect_limit) {
                (ureq::Timeout::Connect | ureq::Timeout::Resolve, Some(limit)) => ("no connection", limit),
                _ => ("no answer", time_limit),
            };
            let limit = match limit.as_secs() {
                0 => format!("{} ms", limit.as_millis()),
                _ => human(millis(limit)),
            };
            Failure::temporary(Error::unavailable(format!("{url}: {what} within {limit}{through}")).timed_out())
        }
        ureq::Error::HostNotFound => Failure::permanent(name_not_resolved(url, resolved_proxy)),
        ureq::Error::ConnectProxyFailed(text) => proxy_connect_failure(text, url, proxy),
        ureq::Error::BodyExceedsLimit(_) => Failure::permanent(too_large(url)),
        ureq::Error::Rustls(tls) => tls_failure(tls_error(tls, url, &through, ca_file)),
        ureq::Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => tls_failure(tls_error(tls, url, &through, ca_file)),
            None => io_failure(error, url, &through, (proxy, resolved_proxy)),
        },
        ureq::Error::LargeResponseHeader(_, limit) => {
            let why = format!("{url}: the header of the response is larger than {limit} bytes{through}");
            Failure::permanent(Error::unavailable(why).hint(PORTAL_HINT))
        }
        ureq::Error::Protocol(_) | ureq::Error::Http(_) => Failure::temporary(
            Error::unavailable(format!("{url}: the response is incomplete or not HTTP{through}")).hint(PORTAL_HINT),
        ),
        ureq::Error::BadUri(_) | ureq::Error::RequireHttpsOnly(_) => {
            let why = format!("{url}: not a URL that ycred can request");
            Failure::permanent(Error::profile(why).hint("check the URLs and hosts in the profile"))
        }
        ureq::Error::InvalidProxyUrl => {
            Failure::permanent(Error::profile(format!("{url}: the proxy's URL is invalid")).hint("check HTTPS_PROXY"))
        }
        ureq::Error::ConnectionFailed => Failure::temporary(
            Error::unavailable(format!("{url}: no address of the host accepts a connection{through}"))
                .hint("check the network; behind a proxy, set HTTPS_PROXY"),
        ),
        // The library's own words for anything else may be those of a programmer.
        _ => Failure::temporary(Error::unavailable(format!("{url}: the request failed{through}")).hint(PORTAL_HINT)),
    }
}

/// Returns the failure for a rejected CONNECT. ureq reports it only as a message: "proxy server responded 502/502".
fn proxy_connect_failure(text: &str, url: &str, proxy: Option<&str>) -> Failure {
    let status: Option<u16> = text.rsplit(['/', ' ']).next().and_then(|number| number.parse().ok());
    let what = match status {
        Some(407) => return Failure::permanent(proxy_requires_password(url, proxy)),
        Some(status) => format!("{status}{}", reason_phrase(status)),
        None => "no response".to_owned(),
    };
    let error = Error::unavailable(format!("{url}: the proxy {} did not connect: {what}", proxy.unwrap_or("?")))
        .hint("check HTTPS_PROXY and NO_PROXY");
    // A 4xx is the proxy's own decision. A 5xx may be temporary: it is overloaded or cannot reach the server.
    if status.is_none_or(|status| status >= 500) { Failure::temporary(error) } else { Failure::permanent(error) }
}

fn name_not_resolved(url: &str, proxy: Option<&str>) -> Error {
    let name = proxy.map_or("the host name".to_owned(), |proxy| format!("the name of the proxy {proxy}"));
    Error::unavailable(format!("{url}: {name} cannot be resolved"))
        .hint("check the network, the VPN and the spelling; behind a proxy, set HTTPS_PROXY")
}

fn io_failure(
    error: &io::Error,
    url: &str,
    through: &str,
    (proxy, resolved_proxy): (Option<&str>, Option<&str>),
) -> Failure {
    let why = match error.kind() {
        io::ErrorKind::ConnectionRefused => "nothing listens there (connection refused)".to_owned(),
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => "the connection was closed before the response was complete".to_owned(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "the connection timed out".to_owned(),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            "this machine has no route to the host".to_owned()
        }
        // getaddrinfo's own failures come without an errno.
        _ if error.raw_os_error().is_none() && error.to_string().contains("lookup") => {
            return Failure::permanent(name_not_resolved(url, resolved_proxy));
        }
        _ => describe(error),
    };
    let hint = if proxy.is_some() {
        "check the proxy in HTTPS_PROXY"
    } else {
        "check the network; behind a proxy, set HTTPS_PROXY"
    };
    Failure::temporary(Error::unavailable(format!("{url}: {why}{through}")).hint(hint))
}

fn tls_failure((error, is_permanent): (Error, bool)) -> Failure {
    Failure { error, is_temporary: !is_permanent }
}
