//! What a failed request means for a user: the error, what to do, and whether trying again may help.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use ureq::http::Uri;

use crate::base::clock::{human, millis};
use crate::base::error::Error;

/// The most that an answer may hold; the longest real one is a few KiB.
pub(super) const LARGEST_BODY: u64 = 64 * 1024;

pub(super) const PORTAL: &str =
    "a captive portal, a proxy or a wrong URL may stand in between: open a browser, or check that URL and HTTPS_PROXY";

/// A failed try, and whether another may go better.
pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) again: bool,
}

impl Failure {
    pub(super) fn last(error: Error) -> Self {
        Self { error, again: false }
    }
    pub(super) fn passing(error: Error) -> Self {
        Self { error, again: true }
    }
}

/// A server's error in its own words.
pub struct ServerError {
    pub message: String,
    pub request_id: Option<String>,
    /// The auth host's word for it.
    pub code: Option<String>,
}

pub(super) fn refusal(
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
    // A skew is believed only where the words show that the cloud itself answered.
    let clock_skew = skew.filter(|_| explained.is_some());
    let again = status == 429 || status >= 500;
    let kind = if again || status == 408 { Error::unavailable(text) } else { Error::refused(text) };
    let mut error = kind.retry_after(retry_after.filter(|_| again));
    error.clock_skew = clock_skew;
    error.status = Some(status);
    error.auth.code = explained.and_then(|explained| explained.code);
    if again {
        error = error.hint("the cloud is busy or out of order; try again in a moment");
    }
    if status == 407 {
        return Failure::last(proxy_wants_password(url, None));
    }
    Failure { error, again }
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
    Error::unavailable(format!("{url}: the answer is larger than {LARGEST_BODY} bytes, which no token is")).hint(PORTAL)
}

fn proxy_wants_password(url: &str, via: Option<&str>) -> Error {
    let proxy = via.map_or_else(|| "the proxy".to_owned(), |via| format!("the proxy {via}"));
    Error::profile(format!("{url}: {proxy} wants a user and password (407)"))
        .hint("put them in front of the host in HTTPS_PROXY, percent-encoded: USER:PASSWORD@HOST:PORT")
}

/// Names what a failed connection means for a user.
pub(super) fn name_trouble(
    error: &ureq::Error,
    url: &str,
    (via, looked_up): (Option<&str>, Option<&str>),
    budget: Duration,
    ca_file: Option<&Path>,
) -> Failure {
    let through = via.map(|via| format!(" through the proxy {via}")).unwrap_or_default();
    match error {
        ureq::Error::Timeout(what) => Failure::passing(
            Error::unavailable(format!(
                "{url}: no answer within {}{through} ({what})",
                if budget < Duration::from_secs(1) { "a second".to_owned() } else { human(millis(budget)) }
            ))
            .timed_out(),
        ),
        ureq::Error::HostNotFound => Failure::last(name_not_found(url, looked_up)),
        ureq::Error::ConnectProxyFailed(text) => name_connect(text, url, via),
        ureq::Error::BodyExceedsLimit(_) => Failure::last(too_large(url)),
        ureq::Error::Rustls(tls) => name_tls(tls, url, &through, ca_file),
        ureq::Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => name_tls(tls, url, &through, ca_file),
            None => name_io(error, url, &through, (via, looked_up)),
        },
        ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) | ureq::Error::Http(_) => Failure::passing(
            Error::unavailable(format!("{url}: the answer is broken off or is not HTTP{through}: {error}"))
                .hint(PORTAL),
        ),
        other => Failure::passing(Error::unavailable(format!("{url}: {other}{through}")).hint(PORTAL)),
    }
}

/// What a proxy said to CONNECT; ureq has it as text alone: "proxy server responded 502/502".
fn name_connect(text: &str, url: &str, via: Option<&str>) -> Failure {
    let status: Option<u16> = text.rsplit(['/', ' ']).next().and_then(|number| number.parse().ok());
    let what = match status {
        Some(407) => return Failure::last(proxy_wants_password(url, via)),
        Some(status) => format!("{status}{}", reason_phrase(status)),
        None => "it gave no answer".to_owned(),
    };
    let error = Error::unavailable(format!("{url}: the proxy {} would not connect: {what}", via.unwrap_or("?")))
        .hint("check HTTPS_PROXY and NO_PROXY");
    // Its own refusals are final; that it could not reach the server, or is ill, may pass.
    if status.is_none_or(|status| status >= 500) { Failure::passing(error) } else { Failure::last(error) }
}

fn name_not_found(url: &str, via: Option<&str>) -> Error {
    let what = via.map_or("its host".to_owned(), |via| format!("the proxy {via}"));
    Error::unavailable(format!("{url}: the name of {what} cannot be resolved"))
        .hint("check the network, the VPN and the spelling; behind a proxy set HTTPS_PROXY")
}

fn name_io(error: &io::Error, url: &str, through: &str, (via, looked_up): (Option<&str>, Option<&str>)) -> Failure {
    let why = match error.kind() {
        io::ErrorKind::ConnectionRefused => "nothing listens there (connection refused)".to_owned(),
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => "the connection broke before the answer was whole".to_owned(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "the connection timed out".to_owned(),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            "there is no way there from this machine".to_owned()
        }
        // getaddrinfo's own failures come without an errno.
        _ if error.raw_os_error().is_none() && error.to_string().contains("lookup") => {
            return Failure::last(name_not_found(url, looked_up));
        }
        _ => error.to_string(),
    };
    let hint = if via.is_some() {
        "check the proxy in HTTPS_PROXY"
    } else {
        "check the network; behind a proxy set HTTPS_PROXY"
    };
    Failure::passing(Error::unavailable(format!("{url}: {why}{through}")).hint(hint))
}

/// Which TLS failures are a matter of trust, which a person must mend, and which may pass.
fn name_tls(error: &rustls::Error, url: &str, through: &str, ca_file: Option<&Path>) -> Failure {
    use rustls::CertificateError as C;
    let host = url.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
    let rustls::Error::InvalidCertificate(why) = error else {
        let hint = "is it TLS that is spoken there? check the URL and HTTPS_PROXY";
        return Failure::passing(Error::unavailable(format!("{url}: TLS{through}: {error}")).hint(hint));
    };
    let trusted =
        ca_file.map_or("this machine's roots".to_owned(), |path| format!("this machine's roots or {}", path.display()));
    let (why, hint) = match why {
        C::UnknownIssuer => (
            format!("its certificate is signed by an authority that is not among {trusted}"),
            "behind a TLS-inspecting proxy, name its authority's PEM file: ca-file = \"…\" in the profile, or SSL_CERT_FILE",
        ),
        C::Expired | C::ExpiredContext { .. } => (
            "its certificate has expired".to_owned(),
            "check this machine's clock; else the server's owner must renew it",
        ),
        C::NotValidYet | C::NotValidYetContext { .. } => {
            ("its certificate is not valid yet".to_owned(), "check this machine's clock")
        }
        C::NotValidForName | C::NotValidForNameContext { .. } => (
            format!("its certificate is for another name than {host}"),
            "check the URL, and whether a captive portal answers",
        ),
        C::Revoked => {
            ("its certificate has been revoked".to_owned(), "do not send credentials there; ask the server's owner")
        }
        other => (format!("its certificate cannot be trusted: {other}"), "check iam-url and ca-file"),
    };
    Failure::last(Error::profile(format!("{url}: {why}{through}")).hint(hint))
}
