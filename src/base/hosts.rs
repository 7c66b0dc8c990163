//! The hosts that may receive a token.
//!
//! Some clients ask for a credential for any host (docker's `credsStore`, a global git helper). They must not get an
//! IAM token for a foreign host: similar tools leaked tokens to Docker Hub that way.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::base::suggest::nearest;

/// A host that a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The scheme, if the client sent one: docker and terraform send only a name.
    pub scheme: Option<Scheme>,
    /// In lower case. An IPv6 address has no brackets.
    pub name: String,
    pub port: Option<u16>,
}

/// The accepted schemes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Host {
    /// Parses `host`, `host:port`, `host/path` or `scheme://host:port/path`.
    ///
    /// Returns `None` for input that two parsers might read differently: userinfo, a trailing dot, non-ASCII, blanks,
    /// controls, percent-escapes, a backslash, or another scheme. No allowed host contains any of these. The caller
    /// removes the line end that belongs to its protocol.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = match text.split_once("://") {
            None => (None, text),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Some(Scheme::Https), rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Some(Scheme::Http), rest),
            Some(_) => return None,
        };
        let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
        // The path is ignored, but a line break in it could split the request. Old URL parsers end the userinfo only at
        // a slash, so they read `cr.yandex#@evil.example` as evil.example (CVE-2016-8624).
        if rest.bytes().any(|byte| byte.is_ascii_control()) || rest.split('/').next().is_some_and(|it| it.contains('@'))
        {
            return None;
        }
        let (name, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (address, after) = rest.split_once(']')?;
                let address: Ipv6Addr = address.parse().ok()?;
                let port = if after.is_empty() { None } else { Some(after.strip_prefix(':')?) };
                (address.to_string(), port)
            }
            None => match authority.split_once(':') {
                None => (authority.to_ascii_lowercase(), None),
                Some((name, port)) => (name.to_ascii_lowercase(), Some(port)),
            },
        };
        let is_address = authority.starts_with('[');
        let has_valid_labels = || {
            name.len() <= 253
                && name.split('.').all(|label| {
                    !label.is_empty()
                        && label.len() <= 63
                        && label
                            .bytes()
                            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
                })
        };
        if !is_address && !has_valid_labels() {
            return None;
        }
        let port = match port {
            None => None,
            // Only digits without a leading zero: parsers may disagree about `+443` and `0443`.
            Some(port) if port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0') => {
                Some(port.parse().ok()?)
            }
            Some(_) => return None,
        };
        Some(Self { scheme, name, port })
    }

    fn is_loopback(&self) -> bool {
        is_loopback(&self.name)
    }

    /// Returns true for another machine over http, which never gets a token.
    pub fn is_foreign_over_http(&self) -> bool {
        self.scheme == Some(Scheme::Http) && !self.is_loopback()
    }
}

/// Returns true if a host, without brackets, is this machine without asking a name service.
pub fn is_loopback(name: &str) -> bool {
    name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Prints `host` or `host:port`, with brackets around an IPv6 address.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]", self.name)?
        } else {
            f.write_str(&self.name)?
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

/// One entry of a list of hosts: `host`, `host:port` or `*.domain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    host: Host,
    is_wildcard: bool,
}

impl Pattern {
    /// Parses an entry of a profile's `hosts`.
    ///
    /// # Errors
    /// The message fits after the entry.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (is_wildcard, rest) = text.strip_prefix("*.").map_or((false, text), |rest| (true, rest));
        if rest.contains(['/', '*', ' ', '?', '#']) {
            return Err("is not a host, host:port or *.domain");
        }
        let host = Host::parse(rest).ok_or("is not a host, host:port or *.domain")?;
        if is_wildcard
            && (!host.name.contains('.')
                || host.port.is_some()
                || host.name.parse::<Ipv4Addr>().is_ok()
                || host.name.contains(':'))
        {
            return Err("is too wide: a wildcard needs a domain of at least two labels, and no port");
        }
        Ok(Self { host, is_wildcard })
    }

    fn covers(&self, asked: &Host) -> bool {
        let has_name =
            if self.is_wildcard { is_below(&self.host.name, &asked.name) } else { asked.name == self.host.name };
        let default_port = if asked.scheme == Some(Scheme::Http) { 80 } else { 443 };
        let has_port = match self.host.port {
            None => matches!(asked.port, None | Some(443)),
            Some(port) => asked.port.unwrap_or(default_port) == port,
        };
        let has_scheme = asked.scheme != Some(Scheme::Http) || asked.is_loopback();
        has_name && has_port && has_scheme
    }

    /// Returns the host as a string, unless the pattern is a wildcard.
    pub fn single(&self) -> Option<String> {
        (!self.is_wildcard).then(|| self.host.to_string())
    }
}

/// Returns true if a name is below a domain, by at least one label.
fn is_below(domain: &str, name: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|front| front.len() > 1 && front.ends_with('.'))
}

/// The hosts that may receive the token of one profile.
#[derive(Clone, Debug)]
pub struct Allowed {
    /// The built-in hosts. Not parsed: most hooks receive no host, and a hit costs as little as possible.
    installation: Option<&'static Installation>,
    /// The profile's `hosts`. Only these allow plain http, and only to a loopback host.
    profile_hosts: Vec<Pattern>,
}

/// The list without any host.
pub static NONE: Allowed = Allowed { installation: None, profile_hosts: Vec::new() };

/// Why a host may receive the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostReason {
    /// It is one of the installation's own.
    Installation,
    /// The profile's `hosts` has it.
    Listed,
}

/// Which hosts of an installation a hook's clients may send a token to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostScope {
    /// Only the registries.
    #[default]
    Registries,
    /// The registries and the APIs.
    Apis,
}

/// The built-in hosts of an installation. All are names in lower case without a port.
#[derive(Debug)]
struct Installation {
    /// The API endpoint, as in the profile. The other APIs have names below it.
    endpoint: &'static str,
    registries: &'static [&'static str],
}

/// The endpoint of the default installation.
pub const DEFAULT_ENDPOINT: &str = "api.cloud.yandex.net";

/// Sources: docs/reference/yandex-cloud.md, sections 9 and 10. The first is the default.
const INSTALLATIONS: &[Installation] = &[
    Installation {
        endpoint: DEFAULT_ENDPOINT,
        registries: &[
            "cr.yandex",
            "cr.cloud.yandex.net",
            "container-registry.cloud.yandex.net",
            "registry.yandexcloud.net",
            "registry.pe.yandexcloud.net",
        ],
    },
    Installation { endpoint: "api.yandexcloud.kz", registries: &["cr.yandexcloud.kz"] },
];

impl Allowed {
    /// Combines the built-in hosts of an installation with a profile's `hosts`.
    pub fn new(endpoint_host: &str, profile_hosts: &[Pattern]) -> Self {
        let installation = INSTALLATIONS.iter().find(|installation| installation.endpoint == endpoint_host);
        Self { installation, profile_hosts: profile_hosts.to_vec() }
    }

    /// Returns true if a client of a registry may send the token to the host.
    pub fn covers(&self, asked: &Host) -> bool {
        self.covers_for(HostScope::Registries, asked)
    }

    /// Returns true if a client of this scope may send the token to the host.
    pub fn covers_for(&self, scope: HostScope, asked: &Host) -> bool {
        self.reason_for(scope, asked).is_some()
    }

    /// Returns why a client of this scope may send the token to the host, or `None` if it may not.
    pub fn reason_for(&self, scope: HostScope, asked: &Host) -> Option<HostReason> {
        if self.installation.is_some_and(|installation| installation.covers(scope, asked)) {
            return Some(HostReason::Installation);
        }
        self.profile_hosts.iter().any(|pattern| pattern.covers(asked)).then_some(HostReason::Listed)
    }

    /// Returns the listed host that is spelled almost like this one.
    pub fn near(&self, host: &str) -> Option<String> {
        let listed: Vec<String> = self.singles().collect();
        nearest(host, listed.iter().map(String::as_str)).map(str::to_owned)
    }

    /// Returns the hosts that are not wildcards, for docker's `list` and go's first request.
    pub fn singles(&self) -> impl Iterator<Item = String> + '_ {
        let registries = self.installation.map_or(&[][..], |installation| installation.registries);
        registries.iter().map(|host| (*host).to_owned()).chain(self.profile_hosts.iter().filter_map(Pattern::single))
    }
}

impl Installation {
    /// Returns true if the host is one of this installation, by https.
    fn covers(&self, scope: HostScope, asked: &Host) -> bool {
        let is_listed = self.registries.contains(&asked.name.as_str())
            || (scope == HostScope::Apis && is_below(self.endpoint, &asked.name));
        is_listed && asked.scheme != Some(Scheme::Http) && matches!(asked.port, None | Some(443))
    }
}

/// Returns true if the default installation has the host.
///
/// For such a host, a missing or broken profile is an error, and not a reason to decline.
pub fn is_built_in(scope: HostScope, asked: &Host) -> bool {
    Allowed::new(DEFAULT_ENDPOINT, &[]).covers_for(scope, asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(listed: &[&str]) -> Allowed {
        let listed: Vec<Pattern> = listed.iter().map(|text| Pattern::parse(text).expect(text)).collect();
        Allowed::new("api.cloud.yandex.net", &listed)
    }

    fn covers(listed: &[&str], asked: &str) -> bool {
        Host::parse(asked).is_some_and(|host| allowed(listed).covers(&host))
    }

    #[test]
    fn registries_are_allowed_in_every_spelling_of_a_client() {
        for asked in [
            "cr.yandex",
            "CR.Yandex",
            "cr.yandex:443",
            "https://cr.yandex",
            "https://cr.yandex/v2/",
            "https://cr.yandex/@scope/name?to=a@b",
            "cr.yandex/crp123/app",
            "https://registry.yandexcloud.net:443/npm/x",
            "container-registry.cloud.yandex.net",
        ] {
            assert!(covers(&[], asked), "{asked}");
        }
    }

    #[test]
    fn look_alikes_of_registries_are_not_allowed() {
        for asked in [
            "",
            ".",
            "docker.io",
            "https://index.docker.io/v1/",
            "cr.yandex.evil.example",
            "evil-cr.yandex",
            "cr.yandex:5000",
            "cr.yandex.",
            "http://cr.yandex",
            "ftp://cr.yandex",
            "cr.yandex@evil.example",
            "https://cr.yandex@evil.example/",
            "https://cr.yandex:pw@evil.example/",
            "evil.example/cr.yandex",
            "https://evil.example\\@cr.yandex",
            "https://cr.yandex#@evil.example/",
            "https://cr.yandex?@evil.example/",
            "cr.yandex\nhost=evil.example",
            "cr.yandex%2eevil.example",
            "сr.yandex",
            "xn--r-7sb.yandex",
            "cr。yandex",
            "[::1]",
            "127.0.0.1",
            "localhost:5000",
            "cr.yandex:0443",
            "cr.yandex:+443",
            "cr.yandex:99999",
            "cr yandex",
            "cr.yandex ",
            "cr.yandex\n",
            "\tcr.yandex",
            "*.yandex",
            "a.cr.yandex",
        ] {
            assert!(!covers(&[], asked), "{asked}");
        }
    }

    #[test]
    fn a_profile_adds_hosts_ports_and_domains() {
        let listed =
            &["git.example", "registry.example:5000", "*.corp.example", "localhost:5001", "[::1]:5002", "127.0.0.1"];
        for asked in [
            "git.example",
            "https://git.example:443/x",
            "registry.example:5000",
            "https://registry.example:5000/v2",
            "a.corp.example",
            "a.b.corp.example",
            "localhost:5001",
            "http://localhost:5001/v2/",
            "http://[::1]:5002/",
            "[::1]:5002",
            "http://127.0.0.1/",
        ] {
            assert!(covers(listed, asked), "{asked}");
        }
        for asked in [
            "git.example:8443",
            "registry.example",
            "http://registry.example:5000",
            "corp.example",
            "evilcorp.example",
            "a.corp.example:5000",
            "http://a.corp.example",
            "localhost",
            "http://localhost:5003",
        ] {
            assert!(!covers(listed, asked), "{asked}");
        }
    }

    #[test]
    fn entries_that_are_too_wide_or_not_hosts_are_rejected() {
        for bad in [
            "*",
            "*.example",
            "*.",
            "a.*.example",
            "https://x.example",
            "x.example/path",
            "x.example?path",
            "x.example#path",
            "x.example.",
            "*.a.example:5000",
            "",
            "a b",
            "*.127.0.0.1",
        ] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn each_known_installation_has_its_own_list() {
        let host = |text: &str| Host::parse(text).expect("a host");
        let kazakhstan = Allowed::new("api.yandexcloud.kz", &[]);
        assert!(kazakhstan.covers(&host("cr.yandexcloud.kz")) && !kazakhstan.covers(&host("cr.yandex")));
        let unknown = Allowed::new("api.example", &[]);
        assert!(!unknown.covers(&host("cr.yandex")) && !unknown.covers(&host("cr.yandexcloud.kz")));
        let is_built_in = |text: &str| is_built_in(HostScope::Registries, &host(text));
        assert!(is_built_in("cr.yandex") && !is_built_in("cr.yandexcloud.kz"));
    }

    #[test]
    fn the_apis_of_an_installation_are_allowed_in_the_api_scope_only() {
        let host = |text: &str| Host::parse(text).expect("a host");
        let default = Allowed::new("api.cloud.yandex.net", &[]);
        let (api, deeper) = (host("https://llm.api.cloud.yandex.net/v1"), host("a.b.api.cloud.yandex.net:443"));
        for asked in [&api, &deeper] {
            assert!(default.covers_for(HostScope::Apis, asked) && !default.covers(asked), "{asked}");
            assert!(is_built_in(HostScope::Apis, asked) && !is_built_in(HostScope::Registries, asked), "{asked}");
        }
        assert!(default.covers_for(HostScope::Apis, &host("cr.yandex")));
        for asked in [
            "api.cloud.yandex.net",
            "evilapi.cloud.yandex.net",
            "x.api.cloud.yandex.net.evil.example",
            "http://iam.api.cloud.yandex.net",
            "iam.api.cloud.yandex.net:8443",
            "iam.api.yandexcloud.kz",
        ] {
            assert!(!default.covers_for(HostScope::Apis, &host(asked)), "{asked}");
        }
        let kazakhstan = Allowed::new("api.yandexcloud.kz", &[]);
        assert!(kazakhstan.covers_for(HostScope::Apis, &host("iam.api.yandexcloud.kz")));
        assert!(!kazakhstan.covers_for(HostScope::Apis, &api));
        assert!(!Allowed::new("api.example", &[]).covers_for(HostScope::Apis, &api));
        assert!(!default.singles().any(|host| host.contains('*')), "no wildcards");
    }
}
