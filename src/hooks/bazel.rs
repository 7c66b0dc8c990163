//! `bazel`: the credential helper protocol of Bazel, Buck2 and others.
//!
//! Specification: EngFlow/credential-helper-spec `spec.md` and its schemas; Bazel's `GetCredentialsResponse.java`.
//!
//! * The values of a header are an array.
//! * Bazel parses `expires` with the pattern `yyyy-MM-dd'T'HH:mm:ssXXX`. A fraction of a second would make the whole
//!   reply invalid.
//! * Bazel passes no argument other than `get` and waits ten seconds.
//! * Bazel asks for every URI that matches its `--credential_helper` pattern, the cloud's APIs included. A URI of any
//!   other host is an error.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use crate::base::error::{Error, Kind, Result};
use crate::base::hosts::{Host, HostScope, Scheme, is_loopback};
use crate::hooks::protocol::{Call, Exchange, Framing, Hook, IssuedToken, Refusal, Request, Target};
use crate::process::Reply;
use crate::process::flags::Example;
use crate::process::stdin::RequestEnd;

pub const HOOK: Hook = Hook {
    examples: &[
        Example {
            call: "echo '{\"uri\":\"https://cr.yandex/v2/\"}' | ycred bazel get",
            about: "print the headers for a URL",
        },
        Example {
            call: "ln -s \"$(command -v ycred)\" ~/bin/ycred-bazel",
            about: "create the link for --credential_helper",
        },
    ],
    symlink: Some("ycred-bazel"),
    operands: &["get"],
    host_scope: HostScope::Apis,
    client_timeout: Some(CLIENT_TIMEOUT),
    names_host: true,
    ..Hook::new("bazel", "credential helper for bazel", framing, read)
};

/// Less than the ten seconds that Bazel waits (`--credential_helper_timeout`): after those it reports no reason.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(8);

/// A build asks only once for each URI, so the token must stay valid for a while.
const MIN_TTL: Duration = Duration::from_secs(120);

fn framing(call: &Call<'_>) -> Framing {
    if matches!(call.operands, [operation] if operation == "get") {
        Framing::One(RequestEnd::JsonObject)
    } else {
        Framing::None
    }
}

fn read(call: &Call<'_>, input: &[u8]) -> Result<Box<dyn Exchange>> {
    match call.operands {
        [operation] if operation == "get" => {}
        [operation] => return Err(Error::usage(format!("unknown operation \"{operation}\": expected get"))),
        _ => return Err(Error::usage("expected one operation: get")),
    }
    let WireRequest { uri } = serde_json::from_slice(input)
        .map_err(|_| Error::usage("the request on stdin is not JSON of the form {\"uri\": …}"))?;
    // `Host::parse` also accepts a bare host, but a URI has a scheme.
    let host = uri.contains("://").then(|| Host::parse(&uri)).flatten();
    let target = Some(host.map_or(Target::Unreadable, Target::Host));
    Ok(Box::new(Helper { request: Request { target, min_ttl: MIN_TTL, ..Request::default() } }))
}

#[derive(Deserialize)]
struct WireRequest {
    uri: String,
}

#[derive(Debug)]
struct Helper {
    request: Request,
}

impl Exchange for Helper {
    fn request(&self) -> &Request {
        &self.request
    }

    fn write(&self, issued: &IssuedToken<'_>) -> Reply {
        Reply::json(&json!({
            "headers": {"Authorization": [format!("Bearer {}", issued.token.expose())]},
            "expires": issued.expires.to_string(),
        }))
    }

    fn decline(&self, why: Refusal<'_>) -> Reply {
        match why {
            Refusal::HostNotAllowed => {
                let reason = match &self.request.target {
                    Some(Target::Host(host)) if host.scheme == Some(Scheme::Http) && !is_loopback(&host.name) => {
                        Error::usage(format!("the token may not be sent over plain http: {host}")).hint("use https")
                    }
                    Some(Target::Host(host)) => Error::usage(format!("the token may not be sent to {host}")),
                    _ => Error::usage("the URI does not name a host that the token may be sent to"),
                };
                Reply::nothing(Kind::Refused.exit_code()).with_reason(reason)
            }
            Refusal::Failed(error) => Reply::nothing(error.kind.exit_code()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::base::secret::Secret;
    use crate::hooks::protocol::tests as protocol_tests;

    fn read(arguments: &[&str], input: &str) -> Result<Box<dyn Exchange>> {
        protocol_tests::read(&HOOK, arguments, &[], input)
    }

    #[test]
    fn the_reply_has_header_values_in_arrays_and_whole_seconds() {
        let token = Secret::new("t1.XXX".into());
        let exchange = read(&["get"], r#"{"uri":"https://cr.yandex/v2/?a=b"}"#).expect("read");
        let reply = exchange.write(&IssuedToken::new(&token, Timestamp(1_787_421_600_999)));
        assert_eq!(
            std::str::from_utf8(&reply.stdout).expect("UTF-8"),
            "{\"expires\":\"2026-08-22T18:00:00Z\",\"headers\":{\"Authorization\":[\"Bearer t1.XXX\"]}}\n"
        );
    }

    #[test]
    fn another_hosts_uri_is_exit_1_with_a_reason_on_stderr() {
        for (uri, message) in [
            ("https://github.com/x", "the token may not be sent to github.com"),
            ("http://cr.yandex/", "plain http"),
            ("http://localhost:8080/", "the token may not be sent to localhost:8080"),
            ("https://cr.yandex@evil.example/", "the URI does not name a host"),
            ("cr.yandex/v2", "the URI does not name a host"),
            ("", "the URI does not name a host"),
        ] {
            let exchange = read(&["get"], &json!({"uri": uri}).to_string()).expect("read");
            let reply = exchange.decline(Refusal::HostNotAllowed);
            assert!(reply.code == 1 && reply.stdout.is_empty(), "{uri}");
            assert!(reply.reason.expect("a reason").render().contains(message), "{uri}");
        }
    }

    #[test]
    fn invalid_requests_are_errors() {
        for input in ["", "{}", "[]", "null", r#"{"uri":1}"#, r#"{"uri":"a","uri":"b"}"#, r#"{"uri":"https://a"} x"#] {
            assert!(read(&["get"], input).is_err(), "{input}");
        }
        assert!(read(&["get"], r#"{"uri":"https://cr.yandex","more":[1]}"#).is_ok(), "new fields are ignored");
        for arguments in [&[][..], &["put"], &["get", "x"]] {
            assert!(read(arguments, r#"{"uri":"https://cr.yandex"}"#).is_err(), "{arguments:?}");
        }
    }
}
