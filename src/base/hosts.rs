//! To whom a token may go: the hosts that clients ask for, and the list that answers.
//!
//! A client that asks for every host on earth (docker's `credsStore`, a global git helper) must not carry an IAM token
//! to any of them: peers leaked theirs to Docker Hub that way.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where a client wants to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// `http` or `https` where the client said; docker and terraform send a bare name.
    pub scheme: Option<Scheme>,
    /// Lower case; an IPv6 address without its brackets.
    pub name: String,
    pub port: Option<u16>,
}

/// The schemes that a token may be asked for by; with any other one a host is nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Host {
    /// Reads `host`, `host:port`, `host/path`, `scheme://host:port/path`.
    ///
    /// None for whatever could mean two things to two readers: userinfo, a trailing dot, non-ASCII, blanks, controls,
    /// percent-escapes, a backslash, a foreign scheme. None of these is ours. A line end that belongs to a protocol's
    /// frame is for the protocol to take off.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = match text.split_once("://") {
            None => (None, text),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Some(Scheme::Https), rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Some(Scheme::Http), rest),
            Some(_) => return None,
        };
        let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
        // The path does not decide, but a line break in it would let two readers see two requests; and old readers of URLs
        // know no end of userinfo but the slash, so that to them `cr.yandex#@evil.example` is evil.example (CVE-2016-8624).
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
        let labels_fit = || {
            name.len() <= 253
                && name.split('.').all(|label| {
                    !label.is_empty()
                        && label.len() <= 63
                        && label
                            .bytes()
                            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
                })
        };
        if !is_address && !labels_fit() {
            return None;
        }
        let port = match port {
            None => None,
            // Digits alone: `+443` and `0443` are how a look-alike starts.
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
}

/// Whether a host name without brackets is this machine, and no name service has a say in it.
pub fn is_loopback(name: &str) -> bool {
    name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// `host` or `host:port`, as one would type it.
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

/// One entry of the list: `host`, `host:port` or `*.domain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    host: Host,
    wildcard: bool,
    /// From the profile's own `hosts`, which alone may open plain http to a loopback host.
    listed: bool,
}

impl Pattern {
    /// Reads an entry of a profile's `hosts`.
    ///
    /// # Errors
    /// In words that fit behind the entry.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (wildcard, rest) = text.strip_prefix("*.").map_or((false, text), |rest| (true, rest));
        if rest.contains(['/', '*', ' ', '?', '#']) {
            return Err("is not host, host:port or *.domain");
        }
        let host = Host::parse(rest).ok_or("is not host, host:port or *.domain")?;
        if wildcard
            && (!host.name.contains('.')
                || host.port.is_some()
                || host.name.parse::<Ipv4Addr>().is_ok()
                || host.name.contains(':'))
        {
            return Err("is too wide: a wildcard needs a domain of two labels at least, and no port");
        }
        Ok(Self { host, wildcard, listed: true })
    }

    fn built_in(text: &str) -> Option<Self> {
        Self::parse(text).ok().map(|pattern| Self { listed: false, ..pattern })
    }

    fn covers(&self, asked: &Host) -> bool {
        let name = if self.wildcard {
            asked.name.strip_suffix(&self.host.name).is_some_and(|front| front.len() > 1 && front.ends_with('.'))
        } else {
            asked.name == self.host.name
        };
        let default_port = if asked.scheme == Some(Scheme::Http) { 80 } else { 443 };
        let port = match self.host.port {
            None => matches!(asked.port, None | Some(443)),
            Some(port) => asked.port.unwrap_or(default_port) == port,
        };
        let scheme = asked.scheme != Some(Scheme::Http) || (self.listed && asked.is_loopback());
        name && port && scheme
    }

    /// As it would be typed, where it is one host.
    pub fn single(&self) -> Option<String> {
        (!self.wildcard).then(|| self.host.to_string())
    }
}

/// The hosts of one profile.
#[derive(Clone, Debug)]
pub struct Allowed {
    /// The registries of the installation, and what the profile lists.
    hosts: Vec<Pattern>,
    /// The installation's own APIs.
    apis: Option<Pattern>,
}

/// Nobody's hosts.
pub static NONE: Allowed = Allowed { hosts: Vec::new(), apis: None };

/// How far among the hosts of an installation a hook's clients go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostScope {
    /// To its registries.
    #[default]
    Registries,
    /// To its APIs as well.
    Apis,
}

/// What an installation has.
struct Installation {
    /// The endpoint that a profile names.
    endpoint: &'static str,
    registries: &'static [&'static str],
    apis: &'static str,
}

/// The installation that a profile means when it names none.
pub const DEFAULT_ENDPOINT: &str = "api.cloud.yandex.net";

/// Sources: yandex-cloud.md sections 9 and 10. The first is the default.
const INSTALLATIONS: &[Installation] = &[
    Installation {
        endpoint: crate::base::hosts::DEFAULT_ENDPOINT,
        registries: &[
            "cr.yandex",
            "cr.cloud.yandex.net",
            "container-registry.cloud.yandex.net",
            "registry.yandexcloud.net",
            "registry.pe.yandexcloud.net",
        ],
        apis: "*.api.cloud.yandex.net",
    },
    Installation { endpoint: "api.yandexcloud.kz", registries: &["cr.yandexcloud.kz"], apis: "*.api.yandexcloud.kz" },
];

impl Allowed {
    /// The built-in hosts of an installation and a profile's own.
    pub fn new(endpoint_host: &str, listed: &[Pattern]) -> Self {
        let installation = INSTALLATIONS.iter().find(|installation| installation.endpoint == endpoint_host);
        let registries = installation.map_or(&[][..], |installation| installation.registries);
        Self {
            hosts: registries.iter().filter_map(|host| Pattern::built_in(host)).chain(listed.iter().cloned()).collect(),
            apis: installation.and_then(|installation| Pattern::built_in(installation.apis)),
        }
    }

    /// For clients that go to registries.
    pub fn covers(&self, asked: &Host) -> bool {
        self.covers_for(HostScope::Registries, asked)
    }

    /// Whether the token may go there, by a client that goes so far.
    pub fn covers_for(&self, reach: HostScope, asked: &Host) -> bool {
        let apis = self.apis.iter().filter(|_| reach == HostScope::Apis);
        self.hosts.iter().chain(apis).any(|pattern| pattern.covers(asked))
    }

    /// The single hosts, for docker's `list` and go's first question.
    pub fn singles(&self) -> impl Iterator<Item = String> + '_ {
        self.hosts.iter().filter_map(Pattern::single)
    }
}

/// Whether the host is ours where no profile says anything, so that a missing or broken profile is an error worth
/// telling and not just "not mine".
pub fn is_built_in(reach: HostScope, asked: &Host) -> bool {
    Allowed::new(crate::base::hosts::DEFAULT_ENDPOINT, &[]).covers_for(reach, asked)
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
    fn our_registries_are_ours_in_every_spelling_of_a_client() {
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
    fn look_alikes_are_not() {
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
    fn entries_that_are_too_wide_or_no_hosts_are_refused() {
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
    fn each_installation_has_its_own_list_and_an_unknown_one_none() {
        let host = |text: &str| Host::parse(text).expect("a host");
        let kazakhstan = Allowed::new("api.yandexcloud.kz", &[]);
        assert!(kazakhstan.covers(&host("cr.yandexcloud.kz")) && !kazakhstan.covers(&host("cr.yandex")));
        let unknown = Allowed::new("api.example", &[]);
        assert!(!unknown.covers(&host("cr.yandex")) && !unknown.covers(&host("cr.yandexcloud.kz")));
        let is_built_in = |text: &str| is_built_in(HostScope::Registries, &host(text));
        assert!(is_built_in("cr.yandex") && !is_built_in("cr.yandexcloud.kz"));
    }

    #[test]
    fn the_apis_of_an_installation_are_for_those_who_go_there() {
        let host = |text: &str| Host::parse(text).expect("a host");
        let ours = Allowed::new("api.cloud.yandex.net", &[]);
        let (api, deeper) = (host("https://llm.api.cloud.yandex.net/v1"), host("a.b.api.cloud.yandex.net:443"));
        for asked in [&api, &deeper] {
            assert!(ours.covers_for(HostScope::Apis, asked) && !ours.covers(asked), "{asked}");
            assert!(is_built_in(HostScope::Apis, asked) && !is_built_in(HostScope::Registries, asked), "{asked}");
        }
        assert!(ours.covers_for(HostScope::Apis, &host("cr.yandex")));
        for asked in [
            "api.cloud.yandex.net",
            "evilapi.cloud.yandex.net",
            "x.api.cloud.yandex.net.evil.example",
            "http://iam.api.cloud.yandex.net",
            "iam.api.cloud.yandex.net:8443",
            "iam.api.yandexcloud.kz",
        ] {
            assert!(!ours.covers_for(HostScope::Apis, &host(asked)), "{asked}");
        }
        let kazakhstan = Allowed::new("api.yandexcloud.kz", &[]);
        assert!(kazakhstan.covers_for(HostScope::Apis, &host("iam.api.yandexcloud.kz")));
        assert!(!kazakhstan.covers_for(HostScope::Apis, &api));
        assert!(!Allowed::new("api.example", &[]).covers_for(HostScope::Apis, &api));
        assert!(!ours.singles().any(|host| host.contains('*')), "what is listed is hosts");
    }
}
