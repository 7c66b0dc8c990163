//! Errors of failed requests: what to report, what to advise, and whether another attempt may succeed.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::base::clock::{human, millis};
use crate::base::error::{Error, describe};
use crate::cloud::http::proxy::Route;
use crate::cloud::http::tls::tls_error;
use crate::system::process;

/// The maximum size of a response in bytes. Real ones have at most a few KiB.
pub(super) const BODY_MAX: u64 = 64 * 1024;

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
    /// True if only IAM and the auth host send errors of this form: then it is the cloud's answer.
    pub is_from_cloud: bool,
    /// True if the requested server sends its errors in this form. If not, a proxy or portal may have responded instead.
    pub is_from_server: bool,
}

/// A response with an error status.
pub(super) struct ErrorResponse<'a> {
    pub(super) url: &'a str,
    pub(super) status: u16,
    pub(super) body: &'a [u8],
    pub(super) content_type: &'a str,
    pub(super) request_id: Option<String>,
    pub(super) retry_after: Option<Duration>,
    pub(super) skew: Option<i64>,
}

/// Returns the failure for a response with an error status. `explain` finds the server's error in the body.
pub(super) fn error_response(
    response: ErrorResponse<'_>,
    route: &Route,
    explain: fn(&[u8]) -> Option<ServerError>,
) -> Failure {
    let ErrorResponse { url, status, body, content_type, request_id, retry_after, skew } = response;
    let explained = explain(body);
    let is_temporary = status == 429 || status >= 500;
    // A portal or a firewall says nothing about the credential. Only the server itself refuses it.
    let is_from_server = route.is_direct || explained.as_ref().is_some_and(|explained| explained.is_from_server);
    let mut text = format!("{url}: {status}");
    match &explained {
        Some(explained) => {
            let _ = write!(text, ": {}", explained.message);
        }
        None => text.push_str(reason_phrase(status)),
    }
    if explained.is_none() && !is_temporary && !is_from_server {
        let _ = write!(text, ": unexpected response: {}", describe_body(body, content_type));
    }
    if let Some(id) = explained.as_ref().and_then(|explained| explained.request_id.clone()).or(request_id) {
        let _ = write!(text, " (request id {id})");
    }
    // Trust the skew only if the body shows that the cloud itself responded.
    let clock_skew = skew.filter(|_| explained.is_some());
    let is_unavailable = is_temporary || status == 408 || !is_from_server;
    let kind = if is_unavailable { Error::unavailable(text) } else { Error::refused(text) };
    let mut error = kind.retry_after(retry_after.filter(|_| is_temporary));
    error.clock_skew = clock_skew;
    error.status = Some(status);
    error.is_answer = explained.as_ref().is_some_and(|explained| explained.is_from_cloud);
    error.auth.code = explained.and_then(|explained| explained.code);
    // No API of the cloud answers so: something else listens at the URL.
    let is_unknown_there = status == 501 && !is_from_server;
    if is_temporary && !is_unknown_there {
        error = error.hint("the cloud is overloaded or unavailable; try again in a moment");
    } else if !is_from_server {
        error = error.hint(route.portal_hint());
    }
    Failure { error, is_temporary }
}

/// Describes a body that is not what was expected.
pub(super) fn describe_body(body: &[u8], content_type: &str) -> String {
    match body.len() {
        0 => "an empty body".to_owned(),
        length => format!("{length} bytes of {content_type}"),
    }
}

fn reason_phrase(status: u16) -> &'static str {
    match status {
        400 => " Bad Request",
        401 => " Unauthorized",
        403 => " Forbidden",
        404 => " Not Found",
        405 => " Method Not Allowed",
        407 => " Proxy Authentication Required",
        429 => " Too Many Requests",
        500 => " Internal Server Error",
        501 => " Not Implemented",
        502 => " Bad Gateway",
        503 => " Service Unavailable",
        504 => " Gateway Timeout",
        _ => "",
    }
}

pub(super) fn too_large(url: &str, route: &Route) -> Error {
    Error::unavailable(format!("{url}: the response is larger than {BODY_MAX} bytes")).hint(route.portal_hint())
}

fn proxy_requires_password(url: &str, route: &Route) -> Error {
    Error::profile(format!("{url}: {} requires a user and password (407)", route.proxy_name()))
        .caused_elsewhere()
        .hint(route.password_hint())
}

/// Returns the failure for a request without a response.
///
/// `waited` is the time since the first attempt began. `connect_limit` is set if it is shorter than the
/// time for the attempt. `is_connected` is true if the server was reached, though not yet by TLS.
pub(super) fn connection_failure(
    error: &ureq::Error,
    url: &str,
    route: &Route,
    waited: Duration,
    connect_limit: Option<Duration>,
    is_connected: bool,
    ca_file: Option<&Path>,
) -> Failure {
    let through = route.through();
    match error {
        ureq::Error::Timeout(phase) => {
            let (what, limit) = match (phase, connect_limit) {
                (ureq::Timeout::Connect | ureq::Timeout::Resolve, Some(limit)) => ("no connection", limit),
                _ if !is_connected => ("no connection", waited),
                _ => ("no answer", waited),
            };
            let limit = match limit.as_secs() {
                0 => format!("{} ms", limit.as_millis()),
                1..10 if limit.subsec_millis() >= 50 => format!("{:.1}s", limit.as_secs_f64()),
                _ => human(millis(limit)),
            };
            let no_response = || Error::unavailable(format!("{url}: {what} within {limit}{through}"));
            let error = match (route.is_unresolved(), route.timeout_hint()) {
                (true, _) => name_not_resolved(&format!(" within {limit}"), url, route),
                (false, Some(hint)) => no_response().hint(hint),
                (false, None) => no_response(),
            };
            Failure::temporary(error.timed_out())
        }
        ureq::Error::HostNotFound => Failure::permanent(name_not_resolved("", url, route)),
        ureq::Error::ConnectProxyFailed(text) => proxy_connect_failure(text, url, route),
        ureq::Error::BodyExceedsLimit(_) => Failure::permanent(too_large(url, route)),
        ureq::Error::Rustls(tls) => tls_failure(tls_error(tls, url, route, ca_file)),
        ureq::Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => tls_failure(tls_error(tls, url, route, ca_file)),
            None => io_failure(error, url, route),
        },
        ureq::Error::LargeResponseHeader(_, limit) => {
            let why = format!("{url}: the header of the response is larger than {limit} bytes{through}");
            Failure::permanent(Error::unavailable(why).hint(route.portal_hint()))
        }
        ureq::Error::Protocol(_) | ureq::Error::Http(_) => Failure::temporary(
            Error::unavailable(format!("{url}: the response is incomplete or not HTTP{through}"))
                .hint(route.portal_hint()),
        ),
        ureq::Error::BadUri(_) | ureq::Error::RequireHttpsOnly(_) => {
            let why = format!("{url}: not a URL that ycred can request");
            Failure::permanent(Error::profile(why).hint("check the URLs and hosts in the profile"))
        }
        ureq::Error::InvalidProxyUrl => Failure::permanent(
            Error::profile(format!("{url}: the proxy's URL is invalid")).hint(route.connection_hint()),
        ),
        ureq::Error::ConnectionFailed => Failure::temporary(
            Error::unavailable(format!("{url}: no address of {} accepts a connection", route.connected_name()))
                .hint(route.connection_hint()),
        ),
        // The library's own words for anything else may be those of a programmer.
        _ => Failure::temporary(
            Error::unavailable(format!("{url}: the request failed{through}")).hint(route.portal_hint()),
        ),
    }
}

/// Returns the failure for a rejected CONNECT. ureq reports it only as a message: "proxy server responded 502/502".
fn proxy_connect_failure(text: &str, url: &str, route: &Route) -> Failure {
    let status: Option<u16> = text.rsplit(['/', ' ']).next().and_then(|number| number.parse().ok());
    let what = match status {
        Some(407) => return Failure::permanent(proxy_requires_password(url, route)),
        Some(status) => format!("{status}{}", reason_phrase(status)),
        None => "no response".to_owned(),
    };
    let error = Error::unavailable(format!("{url}: {} did not connect: {what}", route.proxy_name()))
        .hint(route.rejection_hint());
    // A 4xx is the proxy's own decision. A 5xx may be temporary: it is overloaded or cannot reach the server.
    if status.is_none_or(|status| status >= 500) { Failure::temporary(error) } else { Failure::permanent(error) }
}

fn name_not_resolved(within: &str, url: &str, route: &Route) -> Error {
    let (name, hint) = route.unresolved();
    Error::unavailable(format!("{url}: {name} cannot be resolved{within}")).hint(hint)
}

fn io_failure(error: &io::Error, url: &str, route: &Route) -> Failure {
    let through = route.through();
    let why = match error.kind() {
        io::ErrorKind::ConnectionRefused if through.is_empty() => {
            "nothing listens there (connection refused)".to_owned()
        }
        io::ErrorKind::ConnectionRefused => {
            format!("nothing listens at {} (connection refused)", route.connected_name())
        }
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => {
            format!("the connection was closed before the response was complete{through}")
        }
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => format!("the connection timed out{through}"),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            format!("this machine has no route to {}", route.connected_name())
        }
        // getaddrinfo's own failures come without an errno.
        _ if error.raw_os_error().is_none() && error.to_string().contains("lookup") => {
            return Failure::permanent(name_not_resolved("", url, route));
        }
        _ => format!("{}{through}", describe(error)),
    };
    let failed = Error::unavailable(format!("{url}: {why}")).hint(route.connection_hint());
    // Another process may have no such limit.
    Failure::temporary(if process::is_limit_of_this_process(error) { failed.unshared() } else { failed })
}

fn tls_failure((error, is_permanent): (Error, bool)) -> Failure {
    Failure { error, is_temporary: !is_permanent }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::environment::Environment;
    use crate::cloud::http::proxy::choose_proxy;

    #[test]
    fn a_timeout_names_the_time_that_was_waited_and_the_proxy_in_play() {
        let url = "https://iam.example/";
        let failed = |variables: &[(&str, &str)], waited: u64, is_connected: bool| {
            let environment = Environment::new(variables.iter().map(|(name, value)| (name.into(), value.into())));
            let choice = choose_proxy(&url.parse().expect("a URL"), &environment).expect("good variables");
            let error = ureq::Error::Timeout(ureq::Timeout::Global);
            let waited = Duration::from_millis(waited);
            connection_failure(&error, url, &Route::new(&choice, false), waited, None, is_connected, None)
                .error
                .render()
        };
        let failure = |variables: &[(&str, &str)], waited: u64| failed(variables, waited, true);
        let text = failed(&[], 3_010, false);
        assert!(text.contains("no connection within 3s\n"), "{text}");
        for (waited, shown) in [(80, "80 ms"), (1_640, "1.6s"), (3_010, "3s"), (42_400, "42s")] {
            let text = failure(&[], waited);
            assert!(text.contains(&format!("no answer within {shown}\n")), "{text}");
            assert!(text.contains("hint: try again, or allow more time") && !text.contains("PROXY"), "{text}");
        }
        let text = failure(&[("all_proxy", "http://p:3128")], 3_000);
        assert!(text.contains("within 3s through the proxy p:3128\n"), "{text}");
        assert!(
            text.contains("hint: check the proxy in all_proxy; or try again, or allow more time with --timeout"),
            "{text}"
        );
        let exempt = [("HTTPS_PROXY", "http://p:3128"), ("no_proxy", "iam.example")];
        let text = failure(&exempt, 3_000);
        assert!(text.contains("no_proxy lists the host, so the proxy in HTTPS_PROXY is not used"), "{text}");
    }
}
