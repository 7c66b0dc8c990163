//! `goauth`: the `GOAUTH` command of Go 1.24 and later, for module proxies and private modules.
//!
//! Sources: `go help goauth`; golang/go `src/cmd/go/internal/auth/userauth.go`.
//!
//! * Go first calls the command without arguments and uses everything that it prints.
//! * If a server responds with a 4xx status, Go calls it again with the URL as argument and the response on stdin.
//!   ycred ignores the response.
//! * The output is blocks of URLs, a blank line, headers and a blank line. A URL also covers everything below it.
//! * URLs are https only.

use crate::base::error::{Error, Result};
use crate::base::hosts::{Host, Scheme};
use crate::hooks::protocol::{Call, Exchange, Framing, Hook, IssuedToken, Request, Target, basic};
use crate::process::Reply;
use crate::process::flags::Example;

pub const HOOK: Hook = Hook {
    examples: &[
        Example { call: "ycred goauth", about: "print the headers for all listed hosts" },
        Example { call: "ycred goauth https://goproxy.example", about: "print the headers for one URL" },
    ],
    operands: &["URL"],
    ignores_unknown_operations: true,
    program: Some("go"),
    names_host: true,
    ..Hook::new("goauth", "GOAUTH command for go", framing, read)
};

/// The server's response on stdin stays unread, which Go allows.
fn framing(_: &Call<'_>) -> Framing {
    Framing::None
}

fn read(call: &Call<'_>, _: &[u8]) -> Result<Box<dyn Exchange>> {
    let url = match call.operands {
        [] => None,
        [url] => Some(url),
        _ => return Err(Error::usage("expected at most one argument: URL")),
    };
    let target = url.map(|url| match Host::parse(url) {
        Some(host) if host.scheme == Some(Scheme::Https) => Target::Host(host),
        _ => Target::Unreadable,
    });
    Ok(Box::new(Helper { request: Request { target, ..Request::default() } }))
}

#[derive(Debug)]
struct Helper {
    request: Request,
}

impl Helper {
    /// Returns the block for these hosts; an empty reply if there are none.
    fn block(issued: &IssuedToken<'_>, hosts: impl Iterator<Item = String>) -> Reply {
        let urls: String = hosts.map(|host| format!("https://{host}\n")).collect();
        if urls.is_empty() {
            return Reply::default();
        }
        Reply::text(format!("{urls}\nAuthorization: {}\n\n", basic(issued.token)))
    }
}

impl Exchange for Helper {
    fn request(&self) -> &Request {
        &self.request
    }

    /// Covers the requested host. If none was requested, it covers all hosts: Go keeps them in memory and then sends
    /// the token with the first request.
    fn write(&self, issued: &IssuedToken<'_>) -> Reply {
        match &self.request.target {
            Some(Target::Host(host)) => Self::block(issued, std::iter::once(host.to_string())),
            Some(_) => Reply::default(),
            None => Self::block(issued, issued.hosts.singles()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::base::hosts::{Allowed, Pattern};
    use crate::base::secret::Secret;
    use crate::hooks::protocol::Refusal;
    use crate::hooks::protocol::tests as protocol_tests;

    fn read(arguments: &[&str]) -> Box<dyn Exchange> {
        protocol_tests::read(&HOOK, arguments, &[], "").expect("read")
    }

    fn stdout(arguments: &[&str], endpoint: &str, listed: &[&str]) -> String {
        let listed: Vec<Pattern> = listed.iter().map(|text| Pattern::parse(text).expect(text)).collect();
        let token = Secret::new("t1.XXX".into());
        let hosts = &Allowed::new(endpoint, &listed);
        let reply = read(arguments).write(&IssuedToken { hosts, ..IssuedToken::new(&token, Timestamp(0)) });
        String::from_utf8(reply.stdout.to_vec()).expect("UTF-8")
    }

    #[test]
    fn the_first_call_lists_every_host_without_wildcard() {
        assert_eq!(
            stdout(&[], "api.yandexcloud.kz", &["go.example:8443", "*.corp.example", "[::1]:5000"]),
            "https://cr.yandexcloud.kz\nhttps://go.example:8443\nhttps://[::1]:5000\n\n\
             Authorization: Basic aWFtOnQxLlhYWA==\n\n"
        );
        assert_eq!(stdout(&[], "api.example", &["*.corp.example"]), "", "no URL, no header");
    }

    #[test]
    fn a_call_with_a_url_returns_its_host() {
        assert_eq!(
            stdout(&["https://CR.yandex:443/go/@v/list?x=y"], "api.cloud.yandex.net", &[]),
            "https://cr.yandex:443\n\nAuthorization: Basic aWFtOnQxLlhYWA==\n\n"
        );
        for url in ["http://cr.yandex", "cr.yandex", "https://iam:x@cr.yandex/", "ftp://cr.yandex", ""] {
            assert!(matches!(read(&[url]).request().target, Some(Target::Unreadable)), "{url}");
        }
        let other = read(&["https://evil.example"]).decline(Refusal::HostNotAllowed);
        assert!(other.stdout.is_empty() && other.code == 0);
    }
}
