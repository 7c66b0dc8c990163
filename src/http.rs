//! The network, and nothing else touches it: one agent, the proxy choice, retries inside the deadline, and failures
//! named so that a user knows what to do.
#![expect(clippy::disallowed_types, reason = "the one place that talks to the network")]

use std::cell::OnceCell;
use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Proxy};
use zeroize::Zeroizing;

use crate::base::clock::{Timestamp, human, millis};
use crate::base::environment::Environment;
use crate::base::error::{Error, RAISE_TIMEOUT, Result};
use crate::base::hosts::is_loopback;
use crate::base::random;
use crate::base::secret::Secret;
use crate::disk::files;
use crate::obtain::Context;

/// The most that an answer may hold; the longest real one is a few KiB.
const LARGEST_BODY: u64 = 64 * 1024;
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
pub struct Request<'a> {
    pub url: &'a str,
    pub headers: &'a [(&'static str, &'a str)],
    /// A POST with this content type and body; none is a GET.
    pub body: Option<(&'static str, &'a Secret)>,
    pub connect: Duration,
    /// Metadata is never asked for through a proxy.
    pub direct: bool,
}

/// A header that each try has another value of.
#[derive(Clone, Copy)]
pub struct Proof<'a> {
    pub header: &'static str,
    pub make: &'a dyn Fn() -> Result<Secret>,
}

/// A 2xx answer.
pub struct Answer {
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
        request: &Request<'_>,
        explain: fn(&[u8]) -> Option<Explained>,
        cx: &Context<'_>,
    ) -> Result<Answer> {
        self.send_proven(request, None, explain, cx)
    }

    /// [`Self::send`], with a header whose value is made anew for each try: a proof of possession that came twice would be
    /// taken for a stolen one (RFC 9449, 11.1).
    ///
    /// # Errors
    /// As [`Self::send`], and what making the header brings.
    pub fn send_proven(
        &self,
        request: &Request<'_>,
        proof: Option<Proof<'_>>,
        explain: fn(&[u8]) -> Option<Explained>,
        cx: &Context<'_>,
    ) -> Result<Answer> {
        let mut pause = PAUSE_FIRST;
        let mut before: Option<Error> = None;
        for attempt in 1.. {
            let left = cx.deadline.left(cx.clock);
            if left.is_zero() {
                // What went wrong before says more than that there was no time to try again.
                let no_time =
                    || Error::unavailable(format!("{}: no time is left to ask", request.url)).hint(RAISE_TIMEOUT);
                return Err(before.unwrap_or_else(no_time));
            }
            let last = attempt >= cx.attempts;
            let budget = if cx.attempts == 1 { left } else { left / 2 };
            let value = proof.map(|proof| (proof.make)().map(|value| (proof.header, value))).transpose()?;
            let fresh = value.as_ref().map(|(name, value)| (*name, value.expose()));
            let (error, again) = match self.attempt(request, fresh, budget, explain, cx) {
                Ok(answer) => return Ok(answer),
                Err(failure) => (failure.error, failure.again),
            };
            let wait = error.retry_after.unwrap_or_else(|| random::between(Duration::ZERO, pause));
            if !again || last || wait >= cx.deadline.left(cx.clock) {
                return Err(error);
            }
            cx.notes.debug(|| format!("try {attempt}: {}; again in {} ms", error.reason(), wait.as_millis()));
            cx.clock.sleep(wait);
            pause = (pause * 2).min(PAUSE_MOST);
            before = Some(error);
        }
        unreachable!("the loop ends by returning")
    }

    fn attempt(
        &self,
        request: &Request<'_>,
        fresh: Option<(&'static str, &str)>,
        budget: Duration,
        explain: fn(&[u8]) -> Option<Explained>,
        cx: &Context<'_>,
    ) -> Result<Answer, Failure> {
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
        let received = cx.clock.now();
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
        cx.notes.debug(|| format!("{}: {status}, {} bytes", request.url, body.len()));
        if (200..300).contains(&status) {
            return Ok(Answer { body, skew, received, content_type });
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

impl Answer {
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

const PORTAL: &str =
    "a captive portal, a proxy or a wrong URL may stand in between: open a browser, or check that URL and HTTPS_PROXY";

/// A failed try, and whether another may go better.
struct Failure {
    error: Error,
    again: bool,
}

impl Failure {
    fn last(error: Error) -> Self {
        Self { error, again: false }
    }
    fn passing(error: Error) -> Self {
        Self { error, again: true }
    }
}

/// A server's error in its own words.
pub struct Explained {
    pub message: String,
    pub request_id: Option<String>,
    /// The auth host's word for it.
    pub code: Option<String>,
}

fn refusal(
    url: &str,
    status: u16,
    body: &[u8],
    request_id: Option<String>,
    retry_after: Option<Duration>,
    skew: Option<i64>,
    explain: fn(&[u8]) -> Option<Explained>,
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

fn too_large(url: &str) -> Error {
    Error::unavailable(format!("{url}: the answer is larger than {LARGEST_BODY} bytes, which no token is")).hint(PORTAL)
}

fn proxy_wants_password(url: &str, via: Option<&str>) -> Error {
    let proxy = via.map_or_else(|| "the proxy".to_owned(), |via| format!("the proxy {via}"));
    Error::profile(format!("{url}: {proxy} wants a user and password (407)"))
        .hint("put them in front of the host in HTTPS_PROXY, percent-encoded: USER:PASSWORD@HOST:PORT")
}

/// Names what a failed connection means for a user.
fn name_trouble(
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
            .hint(RAISE_TIMEOUT),
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

/// Reads and judges a profile's `ca-file`.
fn read_ca_file(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let complain = |why: &str| {
        Error::profile(format!("ca-file {}: {why}", path.display())).hint("it must hold PEM blocks BEGIN CERTIFICATE")
    };
    let content = files::read(path).map_err(|error| error.context("ca-file"))?;
    let certificates = CertificateDer::pem_slice_iter(&content)
        .map(|item| {
            item.map(|der| Certificate::from_der(&der).to_owned()).map_err(|_| complain("a PEM block in it is broken"))
        })
        .collect::<Result<Vec<_>>>()?;
    if certificates.is_empty() {
        return Err(complain("has no certificate in it"));
    }
    Ok(certificates)
}

/// Reads an HTTP date in any of the three forms of RFC 9110, 5.6.7.
pub(crate) fn http_date(text: &str) -> Option<Timestamp> {
    let moment = httpdate::parse_http_date(text).ok()?;
    let since = moment.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp(millis(since)))
}

/// Reads `Retry-After`: seconds or a date (RFC 9110, 10.2.3); `there` is the server's own time.
pub(crate) fn retry_after(text: &str, there: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let wait = http_date(text.trim())?.since(there).max(0);
    Some(Duration::from_millis(wait.unsigned_abs()))
}

// ----------------------------------------------------------------------------------------------------------------- proxy

/// The proxy for a URL, as curl chooses it: only for https (plain http goes to loopback and the metadata service
/// alone), `https_proxy` before `all_proxy`, and none for the hosts of `no_proxy` and for this machine.
///
/// # Errors
/// Profile (3): the variable holds no proxy's URL. Going direct then would take traffic where the user forbade it.
fn choose_proxy(uri: &Uri, environment: &Environment) -> Result<Option<Proxy>> {
    let Some(host) = uri.host().filter(|_| uri.scheme_str() == Some("https")) else { return Ok(None) };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    if is_loopback(&host) {
        return Ok(None);
    }
    let first =
        |names: [&'static str; 2]| names.into_iter().find_map(|name| environment.get(name).map(|value| (name, value)));
    if let Some((_, list)) = first(["no_proxy", "NO_PROXY"])
        && is_exempt(&host, uri.port_u16().unwrap_or(443), &list.to_string_lossy())
    {
        return Ok(None);
    }
    let Some((name, value)) = first(["https_proxy", "HTTPS_PROXY"]).or_else(|| first(["all_proxy", "ALL_PROXY"]))
    else {
        return Ok(None);
    };
    let wrong = || {
        Error::profile(format!("{name}: is not a proxy's URL"))
            .hint(format!("export {name}=http://HOST:PORT, or unset it"))
    };
    let text = value.to_str().map(str::trim).ok_or_else(wrong)?;
    // Known to the renderer before anything can go wrong: the value may be broken and have a password in it all the
    // same.
    if let Some((userinfo, _)) = text.rsplit_once('@') {
        let userinfo = userinfo.rsplit_once("://").map_or(userinfo, |(_, userinfo)| userinfo);
        let _known = Secret::new(userinfo.to_owned());
    }
    // ureq takes a port that is none for the default one.
    let authority = text.rsplit_once('@').map_or(text, |(_, rest)| rest);
    let authority = authority.rsplit_once("://").map_or(authority, |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let port = authority.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(wrong());
    }
    let proxy = Proxy::new(text).map_err(|_| wrong())?;
    if let Some(password) = proxy.password() {
        let _known = Secret::new(password.to_owned());
    }
    Ok(Some(proxy))
}

/// Whether `no_proxy` names the host: names cover their subdomains, with or without a leading dot or `*.`; addresses
/// may be CIDR blocks; entries are parted by commas and blanks; `*` is everything.
pub(crate) fn is_exempt(host: &str, port: u16, list: &str) -> bool {
    let address: Option<IpAddr> = host.parse().ok();
    list.split([',', ' ', '\t', '\n']).map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        let entry = entry.to_ascii_lowercase();
        if entry == "*" {
            return true;
        }
        if let Some(address) = address {
            let bare = entry.trim_start_matches('[').trim_end_matches(']');
            return match bare.split_once('/') {
                Some((block, bits)) => block
                    .parse()
                    .ok()
                    .zip(bits.parse().ok())
                    .is_some_and(|(block, bits)| is_in_block(address, block, bits)),
                None => bare.parse().is_ok_and(|other: IpAddr| other == address),
            };
        }
        let (name, entry_port) = match entry.rsplit_once(':') {
            Some((name, digits)) if digits.bytes().all(|b| b.is_ascii_digit()) => (name, digits.parse().ok()),
            _ => (entry.as_str(), None),
        };
        let name = name.trim_start_matches('*').trim_start_matches('.').trim_end_matches('.');
        let matches =
            !name.is_empty() && (host == name || host.strip_suffix(name).is_some_and(|front| front.ends_with('.')));
        matches && entry_port.is_none_or(|other: u16| other == port)
    })
}

fn is_in_block(address: IpAddr, block: IpAddr, bits: u32) -> bool {
    match (address, block) {
        (IpAddr::V4(a), IpAddr::V4(b)) if bits <= 32 => {
            (u32::from(a) ^ u32::from(b)).checked_shr(32 - bits).unwrap_or(0) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) if bits <= 128 => {
            (u128::from(a) ^ u128::from(b)).checked_shr(128 - bits).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(url: &str, pairs: &[(&str, &str)]) -> Option<String> {
        let environment = Environment::new(pairs.iter().map(|(k, v)| (k.into(), v.into())));
        let proxy = choose_proxy(&url.parse().expect("a URL"), &environment).expect("good variables");
        proxy.map(|proxy| format!("{}:{}", proxy.host(), proxy.port()))
    }

    #[test]
    fn proxies_are_chosen_as_curl_does() {
        let url = "https://iam.api.cloud.yandex.net/iam/v1/tokens";
        let is = |pairs: &[(&str, &str)], wanted: Option<&str>| {
            assert_eq!(chosen(url, pairs).as_deref(), wanted, "{pairs:?}")
        };
        is(&[], None);
        is(&[("HTTPS_PROXY", "http://p:3128")], Some("p:3128"));
        is(&[("https_proxy", "low:1"), ("HTTPS_PROXY", "http://up:2"), ("ALL_PROXY", "http://all:3")], Some("low:1"));
        is(&[("ALL_PROXY", "http://all:3")], Some("all:3"));
        is(&[("HTTP_PROXY", "http://plain:4")], None);
        is(&[("HTTPS_PROXY", "")], None);
        for exempt in [
            "*",
            "api.cloud.yandex.net",
            ".yandex.net",
            "*.cloud.yandex.net",
            "x, yandex.net",
            "x\tyandex.net:443",
            "IAM.api.cloud.yandex.net",
            "yandex.net.",
        ] {
            is(&[("HTTPS_PROXY", "http://p:3128"), ("NO_PROXY", exempt)], None);
        }
        for other in
            ["dex.net", "am.api.cloud.yandex.net", "yandex.net:8443", "10.0.0.0/8", ",", "x.iam.api.cloud.yandex.net"]
        {
            is(&[("HTTPS_PROXY", "http://p:3128"), ("NO_PROXY", other)], Some("p:3128"));
        }
    }

    #[test]
    fn addresses_are_exempt_by_block_and_this_machine_always() {
        let proxy = ("HTTPS_PROXY", "http://p:3128");
        for (url, list, direct) in [
            ("https://10.1.2.3/x", "10.0.0.0/8", true),
            ("https://11.1.2.3/x", "10.0.0.0/8", false),
            ("https://10.1.2.3/x", "10.1.2.3", true),
            ("https://10.1.2.3/x", "0.0.0.0/0", true),
            ("https://10.1.2.3/x", "10.1.2.3/33", false),
            ("https://[fd00::1]/x", "fd00::/8", true),
            ("https://[fd00::1]/x", "[fd00::1]", true),
            ("https://[fd00::1]/x", "::/0", true),
            ("https://127.0.0.1:8443/x", "", true),
            ("https://localhost/x", "", true),
            ("https://[::1]/x", "", true),
            ("http://169.254.169.254/x", "", true),
        ] {
            assert_eq!(chosen(url, &[proxy, ("NO_PROXY", list)]).is_none(), direct, "{url} {list}");
        }
    }

    #[test]
    fn a_broken_proxy_variable_is_an_error_without_its_value() {
        let environment = Environment::new([("HTTPS_PROXY".into(), "http://user:hunter22hunter@".into())]);
        let error =
            choose_proxy(&"https://iam.example/".parse().expect("a URL"), &environment).expect_err("not a proxy");
        assert_eq!(error.kind.exit_code(), 3);
        assert!(!error.render().contains("hunter"), "{}", error.render());
    }

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
