//! `bazel`: the credential helper protocol of Bazel, Buck2 and others.
//!
//! Specification: EngFlow/credential-helper-spec `spec.md` and its schemas; Bazel's `GetCredentialsResponse.java`. A
//! header's values are an array. `expires` is read with the pattern `yyyy-MM-dd'T'HH:mm:ssXXX`: a fraction of a second would
//! make the whole reply invalid. Bazel gives a helper no arguments but `get`, waits ten seconds, and asks about every URI
//! that its `--credential_helper` pattern fits, the cloud's APIs among them. A URI that is not ours is an error.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use crate::base::error::{Error, Kind, Result};
use crate::base::hosts::{Host, HostScope, Scheme, is_loopback};
use crate::hooks::protocol::{Call, Exchange, Framing, Hook, IssuedToken, Refusal, Request, Target};
use crate::process::Reply;

pub const HOOK: Hook = Hook {
    symlink: Some("ycred-bazel"),
    operands: &["get"],
    reach: HostScope::Apis,
    client_timeout: Some(PATIENCE),
    ..Hook::new("bazel", "answer bazel: credential helper", framing, read)
};

/// Bazel's own patience is ten seconds (`--credential_helper_timeout`), and it tells no reason when that is over.
const PATIENCE: Duration = Duration::from_secs(8);

/// A build asks once for each URI.
const MIN_TTL: Duration = Duration::from_secs(120);

fn framing(call: &Call<'_>) -> Framing {
    if matches!(call.operands, [word] if word == "get") { Framing::Whole } else { Framing::None }
}

fn read(call: &Call<'_>, input: &[u8]) -> Result<Box<dyn Exchange>> {
    match call.operands {
        [word] if word == "get" => {}
        [word] => return Err(Error::usage(format!("unknown operation \"{word}\": bazel's is get"))),
        _ => return Err(Error::usage("one word is wanted: get")),
    }
    let WireRequest { uri } = serde_json::from_slice(input)
        .map_err(|_| Error::usage("what came on stdin is not a request for credentials in JSON: {\"uri\": …}"))?;
    // A URI has a scheme; what is read without one is read by nobody else.
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

    fn refuse(&self, why: Refusal<'_>) -> Reply {
        match why {
            Refusal::NotMine => {
                let reason = match &self.request.target {
                    Some(Target::Host(host)) if host.scheme == Some(Scheme::Http) && !is_loopback(&host.name) => {
                        Error::usage(format!("the token does not go over plain http, to {host}")).hint("use https")
                    }
                    Some(Target::Host(host)) => Error::usage(format!("the token may not go to {host}"))
                        .hint(format!("if it may, list the host in the profile: hosts = [\"{host}\"]")),
                    _ => Error::usage("the URI names no host that the token may go to"),
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
    use crate::base::environment::Environment;
    use crate::base::secret::Secret;
    use crate::process::flags::Options;

    fn read(words: &[&str], input: &str) -> Result<Box<dyn Exchange>> {
        let operands: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let options = Options::default();
        let call = Call {
            operands: &operands,
            options: &options,
            environment: &Environment::default(),
            parse: |_, _| panic!("no words come with a request"),
        };
        (HOOK.read)(&call, input.as_bytes())
    }

    #[test]
    fn a_reply_has_values_in_arrays_and_whole_seconds() {
        let token = Secret::new("t1.XXX".into());
        let exchange = read(&["get"], r#"{"uri":"https://cr.yandex/v2/?a=b"}"#).expect("read");
        let reply = exchange.write(&IssuedToken::new(&token, Timestamp(1_787_421_600_999)));
        assert_eq!(
            std::str::from_utf8(&reply.stdout).expect("UTF-8"),
            "{\"expires\":\"2026-08-22T18:00:00Z\",\"headers\":{\"Authorization\":[\"Bearer t1.XXX\"]}}\n"
        );
    }

    #[test]
    fn a_uri_that_is_not_ours_is_exit_1_with_a_reason_on_stderr() {
        for (uri, says) in [
            ("https://github.com/x", "the token may not go to github.com"),
            ("http://cr.yandex/", "plain http"),
            ("http://localhost:8080/", "hosts = [\"localhost:8080\"]"),
            ("https://cr.yandex@evil.example/", "the URI names no host"),
            ("cr.yandex/v2", "the URI names no host"),
            ("", "the URI names no host"),
        ] {
            let exchange = read(&["get"], &json!({"uri": uri}).to_string()).expect("read");
            let reply = exchange.refuse(Refusal::NotMine);
            assert!(reply.code == 1 && reply.stdout.is_empty(), "{uri}");
            assert!(reply.reason.expect("a reason").render().contains(says), "{uri}");
        }
    }

    #[test]
    fn requests_that_are_none() {
        for input in ["", "{}", "[]", "null", r#"{"uri":1}"#, r#"{"uri":"a","uri":"b"}"#, r#"{"uri":"https://a"} x"#] {
            assert!(read(&["get"], input).is_err(), "{input}");
        }
        assert!(read(&["get"], r#"{"uri":"https://cr.yandex","more":[1]}"#).is_ok(), "what is new is ignored");
        for words in [&[][..], &["put"], &["get", "x"]] {
            assert!(read(words, r#"{"uri":"https://cr.yandex"}"#).is_err(), "{words:?}");
        }
    }
}
