//! `aws`: the `credential_process` of the AWS CLI, the AWS SDKs and programs built on them. It returns an ephemeral
//! access key for Object Storage.
//!
//! Specification: <https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html>. `Version` is the
//! number 1. Without `Expiration`, a client would assume that the key never expires. On failure stdout stays empty: the
//! Go SDK prints all of a stdout that it cannot parse.

use std::time::Duration;

use serde_json::json;

use crate::base::clock::parse_duration;
use crate::base::error::{Error, Kind, Result};
use crate::hooks::protocol::{Call, Exchange, Framing, Hook, IssuedToken, Request};
use crate::process::Reply;
use crate::process::flags::{Example, Flag};
use crate::sources::Resource;
use crate::sources::access_key::{AccessKey, KeyRequest};

pub const HOOK: Hook = Hook {
    examples: &[
        Example { call: "ycred aws", about: "print an access key as the AWS SDKs expect it" },
        Example {
            call: "ycred aws --duration 15m --session-name ci",
            about: "print a key that is valid for 15 minutes",
        },
    ],
    flags: &[
        Flag::new("duration", Some("DURATION"), "validity of the access key, 15m to 12h [default: 1h]"),
        Flag::new("policy-file", Some("FILE"), "JSON file with an AWS policy that restricts the key"),
        Flag::new("session-name", Some("NAME"), "session name of the key in the cloud [default: ycred]"),
    ],
    // AWS tools do not read a token from variables, but they get keys from the endpoint of `--serve`.
    wrapper: Some("ycred exec --serve"),
    // The Go SDK kills the process after a minute.
    client_timeout: Some(Duration::from_secs(50)),
    ..Hook::new("aws", "credential_process for AWS tools and SDKs (Object Storage)", framing, read)
};

const DEFAULT_DURATION: Duration = Duration::from_secs(3600);
const DEFAULT_SESSION: &str = "ycred";

fn framing(_: &Call<'_>) -> Framing {
    // Stdin is that of the AWS program: a terminal, or the data that it uploads.
    Framing::None
}

fn read(call: &Call<'_>, _: &[u8]) -> Result<Box<dyn Exchange>> {
    let duration = match call.options.own("duration") {
        Some(text) => parse_duration(text).map_err(|why| Error::usage(format!("--duration: {why}")))?,
        None => DEFAULT_DURATION,
    };
    let session = call.options.own("session-name").unwrap_or(DEFAULT_SESSION);
    let request = KeyRequest::new(session, duration, call.options.own("policy-file"))?;
    Ok(Box::new(Plugin { request: Request { resource: Resource::AccessKey(request), ..Request::default() } }))
}

#[derive(Debug)]
struct Plugin {
    request: Request,
}

impl Exchange for Plugin {
    fn request(&self) -> &Request {
        &self.request
    }

    fn write(&self, issued: &IssuedToken<'_>) -> Reply {
        // Both the cloud's response and the cache record hold a packed key.
        let Some(key) = AccessKey::unpack(issued.token) else { return Reply::nothing(Kind::Internal.exit_code()) };
        Reply::text(format!(
            "{{\"Version\":1,\"AccessKeyId\":{},\"SecretAccessKey\":{},\"SessionToken\":{},\"Expiration\":\"{}\"}}\n",
            json!(key.id.expose()),
            json!(key.secret.expose()),
            json!(key.session_token.expose()),
            issued.expires
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::base::secret::Secret;
    use crate::hooks::protocol::tests as protocol_tests;

    fn read(flags: &[(&'static str, &str)]) -> Result<Box<dyn Exchange>> {
        protocol_tests::read(&HOOK, &[], flags, "")
    }

    #[test]
    fn the_reply_has_exactly_five_fields() {
        let packed = Secret::new("ajekey|YCsecret|s1.token".into());
        let issued = IssuedToken::new(&packed, Timestamp(1_787_421_600_000));
        let reply = read(&[]).expect("read").write(&issued);
        assert_eq!(
            String::from_utf8_lossy(&reply.stdout),
            "{\"Version\":1,\"AccessKeyId\":\"ajekey\",\"SecretAccessKey\":\"YCsecret\",\"SessionToken\":\"s1.token\",\"Expiration\":\"2026-08-22T18:00:00Z\"}\n"
        );
        let foreign = Secret::new("t1.no-key".into());
        let reply = read(&[]).expect("read").write(&IssuedToken::new(&foreign, Timestamp(0)));
        assert!(reply.code == 5 && reply.stdout.is_empty());
    }

    #[test]
    fn flags_determine_the_key() {
        let key_request = |flags: &[(&'static str, &str)]| match &read(flags).expect("read").request().resource {
            Resource::AccessKey(request) => request.clone(),
            Resource::Token { .. } => panic!("not a token"),
        };
        assert_eq!(key_request(&[]), KeyRequest::new("ycred", Duration::from_secs(3600), None).expect("good"));
        assert_eq!(
            key_request(&[("duration", "15m"), ("session-name", "ci@7"), ("policy-file", "p.json")]),
            KeyRequest::new("ci@7", Duration::from_secs(900), Some("p.json")).expect("good")
        );
        for wrong in [("duration", "14m"), ("duration", "13h"), ("duration", "soon"), ("session-name", "a b")] {
            let error = read(&[wrong]).expect_err("refused");
            assert!(error.kind == Kind::Usage && error.render().contains(wrong.0), "{wrong:?}");
        }
    }
}
