//! The proxy of a request, as curl chooses it.

use std::net::IpAddr;

use ureq::Proxy;
use ureq::http::Uri;

use crate::base::environment::Environment;
use crate::base::error::{Error, Result};
use crate::base::hosts::is_loopback;
use crate::base::secret::Secret;

/// The proxy for a URL, as curl chooses it: only for https (plain http goes to loopback and the metadata service
/// alone), `https_proxy` before `all_proxy`, and none for the hosts of `no_proxy` and for this machine.
///
/// # Errors
/// Profile (3): the variable holds no proxy's URL. Going direct then would take traffic where the user forbade it.
pub(super) fn choose_proxy(uri: &Uri, environment: &Environment) -> Result<Option<Proxy>> {
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
}
