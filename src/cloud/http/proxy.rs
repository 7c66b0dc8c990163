//! Chooses the proxy for a request, as curl does.

use std::fmt;
use std::net::IpAddr;

use ureq::Proxy;
use ureq::http::Uri;

use crate::base::environment::Environment;
use crate::base::error::{Error, Result};
use crate::base::hosts::is_loopback;
use crate::base::mask;
use crate::base::secret::Secret;
use crate::system::fixes;

/// The variables that decide which proxy serves a request.
pub(super) const VARIABLES: [&str; 6] =
    ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"];

/// The proxy for a URL, or the reason for a direct connection.
pub struct ProxyChoice {
    /// The proxy, and the variable that names it.
    proxy: Option<(Proxy, &'static str)>,
    /// The variable that exempts the host.
    exempt_by: Option<&'static str>,
    /// The variable that names the proxy from which the host is exempt.
    exempt_from: Option<&'static str>,
    /// No variable says anything about this host, so one may be missing.
    may_need_proxy: bool,
}

impl ProxyChoice {
    /// No proxy can serve the request: it is for this machine or for the metadata service.
    pub(super) const DIRECT: Self = Self { proxy: None, exempt_by: None, exempt_from: None, may_need_proxy: false };

    /// Returns the proxy.
    pub(super) fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref().map(|(proxy, _)| proxy)
    }

    /// Returns the host and port of the proxy, without user and password.
    pub fn address(&self) -> Option<String> {
        self.proxy.as_ref().map(|(proxy, _)| format!("{}:{}", proxy.host(), proxy.port()))
    }

    /// Returns the variable that decided.
    pub fn variable(&self) -> Option<&'static str> {
        self.proxy.as_ref().map(|(_, variable)| *variable).or(self.exempt_by)
    }
}

/// How a request reaches its server, for messages. A hint names the variable that applies. It mentions no proxy if none can
/// be involved.
pub(super) struct Route {
    /// The proxy's address, and the variable that names it.
    proxy: Option<(String, &'static str)>,
    /// This machine resolves the server's name. If false, the proxy does.
    resolves_server: bool,
    /// The host and port of a name that this machine did not find.
    unresolved: Option<String>,
    may_need_proxy: bool,
    /// The variable that exempts the host, and the one that names the proxy.
    exemption: Option<(&'static str, &'static str)>,
    /// Nothing can answer in place of the server.
    pub(super) is_direct: bool,
}

impl Route {
    /// `is_direct`: nothing can answer in place of the server.
    pub(super) fn new(choice: &ProxyChoice, is_direct: bool) -> Self {
        let proxy = choice.proxy.as_ref().map(|(_, variable)| *variable);
        Self {
            proxy: choice.address().zip(proxy),
            resolves_server: choice.proxy().is_none_or(Proxy::resolve_target),
            unresolved: None,
            may_need_proxy: choice.may_need_proxy,
            exemption: choice.exempt_by.zip(choice.exempt_from),
            is_direct,
        }
    }

    /// Sets the host and port of a name that this machine did not find.
    pub(super) fn unresolved_name(self, unresolved: Option<String>) -> Self {
        Self { unresolved, ..self }
    }

    /// Returns ` through the proxy HOST:PORT`, or nothing.
    pub(super) fn through(&self) -> String {
        self.proxy.as_ref().map(|(address, _)| format!(" through the proxy {address}")).unwrap_or_default()
    }

    /// Returns `the proxy HOST:PORT`.
    pub(super) fn proxy_name(&self) -> String {
        self.proxy.as_ref().map_or_else(|| "the proxy".to_owned(), |(address, _)| format!("the proxy {address}"))
    }

    /// Returns `the proxy HOST:PORT` or `the host`: what this machine connects to.
    pub(super) fn connected_name(&self) -> String {
        self.proxy.as_ref().map_or_else(|| "the host".to_owned(), |_| self.proxy_name())
    }

    /// Returns the hint for a server or a proxy that cannot be reached.
    pub(super) fn connection_hint(&self) -> String {
        match self.proxy {
            Some((_, variable)) => format!("check the proxy in {variable}"),
            None if self.may_need_proxy => "check the network; behind a proxy, set HTTPS_PROXY".to_owned(),
            None => self.with_exemption("check the network, the URL and the port"),
        }
    }

    /// Returns the hint for a server that does not answer in time. `None` if no proxy is set.
    pub(super) fn timeout_hint(&self) -> Option<String> {
        match (&self.proxy, self.exemption) {
            (Some((_, variable)), _) => {
                Some(format!("check the proxy in {variable}; or try again, or allow more time with --timeout"))
            }
            (None, Some(_)) => Some(self.with_exemption("try again, or allow more time with --timeout")),
            (None, None) => None,
        }
    }

    /// Adds why a proxy that is set was not used.
    fn with_exemption(&self, hint: &str) -> String {
        match self.exemption {
            Some((list, proxy)) => format!("{hint}; {list} lists the host, so the proxy in {proxy} is not used"),
            None => hint.to_owned(),
        }
    }

    /// Returns true if a lookup has failed or was too slow.
    pub(super) fn is_unresolved(&self) -> bool {
        self.unresolved.is_some()
    }

    /// Returns whose name this machine could not resolve, and the hint.
    pub(super) fn unresolved(&self) -> (String, String) {
        match &self.proxy {
            Some((address, _)) if !self.resolves_server || self.unresolved.as_ref() == Some(address) => {
                (format!("the name of the proxy {address}"), self.name_hint(true))
            }
            _ => ("the host name".to_owned(), self.name_hint(false)),
        }
    }

    fn name_hint(&self, is_of_proxy: bool) -> String {
        match self.proxy {
            Some((_, variable)) if is_of_proxy => {
                format!("correct the proxy in {variable}, or check the network and the VPN")
            }
            Some((_, variable)) => {
                format!("check the network and the VPN; to let the proxy resolve names, write socks5h:// in {variable}")
            }
            None if self.may_need_proxy => "check the network and the VPN; behind a proxy, set HTTPS_PROXY".to_owned(),
            None => self.with_exemption("check the network and the VPN"),
        }
    }

    /// Returns the hint for a response of somebody else.
    pub(super) fn portal_hint(&self) -> String {
        match self.proxy {
            Some((_, variable)) => format!(
                "open a browser and sign in if there is a captive portal; otherwise check the URL and the proxy in \
                 {variable}"
            ),
            None if self.may_need_proxy => {
                "open a browser and sign in if there is a captive portal; otherwise check the URL, and behind a proxy \
                 set HTTPS_PROXY"
                    .to_owned()
            }
            None => "open a browser and sign in if there is a captive portal; otherwise check the URL".to_owned(),
        }
    }

    /// Returns the hint for a server that does not speak TLS.
    pub(super) fn hint_if_not_tls(&self) -> String {
        match self.proxy {
            Some((_, variable)) => {
                format!("check the port and the proxy in {variable}: something else than a TLS server listens there")
            }
            None => "check the port: something else than a TLS server listens there".to_owned(),
        }
    }

    /// Returns the hint for a proxy that rejects a request.
    pub(super) fn rejection_hint(&self) -> String {
        let variable = self.proxy.as_ref().map_or("HTTPS_PROXY", |(_, variable)| variable);
        format!("check the proxy in {variable}; to connect to a host without it, list the host in NO_PROXY")
    }

    /// Returns the hint for a proxy that requires a password. It has no scheme, because
    /// messages mask a whole URL with a password.
    pub(super) fn password_hint(&self) -> String {
        let variable = self.proxy.as_ref().map_or("HTTPS_PROXY", |(_, variable)| variable);
        format!("in {variable}, put user and password in front of the host, percent-encoded: USER:PASSWORD@HOST:PORT")
    }
}

/// Writes `proxy HOST:PORT (VARIABLE)`, or `no proxy`.
impl fmt::Display for ProxyChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address() {
            Some(address) => write!(f, "proxy {address}")?,
            None => f.write_str("no proxy")?,
        }
        self.variable().map_or(Ok(()), |variable| write!(f, " ({variable})"))
    }
}

/// Returns the proxy that a request to this URL would use.
///
/// # Errors
/// Profile (3): the URL or the variable is invalid.
pub fn proxy_for(url: &str, environment: &Environment) -> Result<ProxyChoice> {
    let uri: Uri = url.parse().map_err(|_| Error::profile(format!("{url}: not a URL")))?;
    choose_proxy(&uri, environment)
}

/// Returns the proxy for a URL, as curl chooses it: `https_proxy`, then `all_proxy`.
///
/// No proxy serves the hosts in `no_proxy`, this machine and plain http, which ycred uses only for loopback
/// and the metadata service.
///
/// # Errors
/// Profile (3): the variable is not a proxy URL. A direct connection might not be allowed.
pub(super) fn choose_proxy(uri: &Uri, environment: &Environment) -> Result<ProxyChoice> {
    let Some(host) = uri.host().filter(|_| uri.scheme_str() == Some("https")) else {
        return Ok(ProxyChoice::DIRECT);
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    if is_loopback(&host) {
        return Ok(ProxyChoice::DIRECT);
    }
    let first =
        |names: [&'static str; 2]| names.into_iter().find_map(|name| environment.get(name).map(|value| (name, value)));
    let chosen = first(["https_proxy", "HTTPS_PROXY"]).or_else(|| first(["all_proxy", "ALL_PROXY"]));
    if let Some((name, list)) = first(["no_proxy", "NO_PROXY"])
        && is_exempt(&host, uri.port_u16().unwrap_or(443), &list.to_string_lossy())
    {
        let exempt_from = chosen.map(|(variable, _)| variable);
        return Ok(ProxyChoice { exempt_by: Some(name), exempt_from, ..ProxyChoice::DIRECT });
    }
    let Some((name, value)) = chosen else {
        return Ok(ProxyChoice { may_need_proxy: true, ..ProxyChoice::DIRECT });
    };
    let error = || {
        let set = fixes::set(name, "http://HOST:PORT");
        Error::profile(format!("{name}: not a proxy URL")).hint(format!("{set}, or unset it"))
    };
    let text = value.to_str().map(str::trim).ok_or_else(error)?;
    // Register the password before any error, so that messages mask it even if the value is invalid.
    if let Some((userinfo, _)) = text.rsplit_once('@') {
        let userinfo = userinfo.rsplit_once("://").map_or(userinfo, |(_, userinfo)| userinfo);
        let _masked = Secret::new(userinfo.to_owned());
    }
    // The first of these ends the host, so the rest of a password would be taken for a path. curl reads it differently.
    let after_scheme = text.split_once("://").map_or(text, |(_, rest)| rest);
    if let Some((userinfo, _)) = after_scheme.rsplit_once('@')
        && userinfo.contains(['/', '?', '#', '@', '[', ']', '\\', ' ', '"', '<', '>'])
    {
        return Err(Error::profile(format!("{name}: the user or password has a character that a URL reserves"))
            .hint("write it percent-encoded: %2F for /, %3F for ?, %23 for #, %40 for @, %20 for a blank"));
    }
    // A secret in place of the URL must not reach a name server.
    if mask::looks_like_secret(text.rsplit_once('@').map_or(text, |(_, rest)| rest)) {
        let _masked = Secret::new(text.to_owned());
        return Err(error());
    }
    // ureq uses the default port if the port is invalid.
    let authority = text.rsplit_once('@').map_or(text, |(_, rest)| rest);
    let authority = authority.rsplit_once("://").map_or(authority, |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let port = authority.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(error());
    }
    let proxy = Proxy::new(text).map_err(|_| error())?;
    if let Some(password) = proxy.password() {
        let _masked = Secret::new(password.to_owned());
    }
    Ok(ProxyChoice { proxy: Some((proxy, name)), ..ProxyChoice::DIRECT })
}

/// Returns true if `no_proxy` contains the host.
///
/// Entries are separated by commas or blanks. A name covers its subdomains, with or without a leading dot or `*.`. An
/// address may be a CIDR block. `*` covers everything.
pub fn is_exempt(host: &str, port: u16, list: &str) -> bool {
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
        choose_proxy(&url.parse().expect("a URL"), &environment).expect("good variables").address()
    }

    #[test]
    fn proxies_are_chosen_as_curl_does() {
        let url = "https://iam.api.cloud.yandex.net/iam/v1/tokens";
        let check = |pairs: &[(&str, &str)], expected: Option<&str>| {
            assert_eq!(chosen(url, pairs).as_deref(), expected, "{pairs:?}")
        };
        check(&[], None);
        check(&[("HTTPS_PROXY", "http://p:3128")], Some("p:3128"));
        check(
            &[("https_proxy", "low:1"), ("HTTPS_PROXY", "http://up:2"), ("ALL_PROXY", "http://all:3")],
            Some("low:1"),
        );
        check(&[("ALL_PROXY", "http://all:3")], Some("all:3"));
        check(&[("HTTP_PROXY", "http://plain:4")], None);
        check(&[("HTTPS_PROXY", "")], None);
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
            check(&[("HTTPS_PROXY", "http://p:3128"), ("NO_PROXY", exempt)], None);
        }
        for other in
            ["dex.net", "am.api.cloud.yandex.net", "yandex.net:8443", "10.0.0.0/8", ",", "x.iam.api.cloud.yandex.net"]
        {
            check(&[("HTTPS_PROXY", "http://p:3128"), ("NO_PROXY", other)], Some("p:3128"));
        }
    }

    #[test]
    fn addresses_match_cidr_blocks_and_loopback_needs_no_proxy() {
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
            choose_proxy(&"https://iam.example/".parse().expect("a URL"), &environment).err().expect("not a proxy");
        assert_eq!(error.kind.exit_code(), 3);
        assert!(!error.render().contains("hunter"), "{}", error.render());
    }
}
