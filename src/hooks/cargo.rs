//! `cargo`: the credential provider protocol of cargo, for registries that require a token.
//!
//! Sources: the cargo book, "Credential Provider Protocol"; rust-lang/cargo `credential/cargo-credential/src/lib.rs`.
//!
//! * Cargo always runs `PROVIDER --cargo-plugin`. The configured arguments are in the request.
//! * The provider sends the first message.
//! * A failure is an `Err` object and exit code 0: with any other exit code, cargo does not show the provider's
//!   message.
//! * Cargo sends the token as the value of `Authorization`, so the token includes the scheme.

use std::ffi::OsString;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::base::error::{Error, Result};
use crate::base::hosts::Host;
use crate::hooks::protocol::{Call, Exchange, Framing, Hook, IssuedToken, Operation, Refusal, Request, Target};
use crate::process::Reply;
use crate::process::flags::Example;
use crate::process::flags::Options;
use crate::system::files::is_path;

pub const HOOK: Hook = Hook {
    examples: &[
        Example { call: "ln -s \"$(command -v ycred)\" ~/.cargo/bin/ycred-cargo", about: "create a link for cargo" },
        Example { call: "ycred --cargo-plugin", about: "start a conversation, as cargo does" },
    ],
    symlink: Some("ycred-cargo"),
    flag_alias: Some("cargo-plugin"),
    answer_unreadable,
    names_host: true,
    ..Hook::new("cargo", "credential provider for cargo", framing, read)
};

/// The supported version of the protocol, which the greeting announces.
const VERSION: u64 = 1;
const GREETING: &str = r#"{"v":[1]}"#;

/// Cargo asks again if the token expires within a minute.
const MIN_TTL: Duration = Duration::from_secs(120);

fn framing(_: &Call<'_>) -> Framing {
    Framing::Lines { greeting: GREETING }
}

fn read(call: &Call<'_>, input: &[u8]) -> Result<Box<dyn Exchange>> {
    let invalid = |why: &dyn std::fmt::Display| {
        Error::usage("the request on stdin is not a cargo credential request").because(why)
    };
    // Check the version first: the fields of another version may differ.
    let Versioned { v } = serde_json::from_slice(input).map_err(|_| invalid(&"expected JSON with a version `v`"))?;
    if v != VERSION {
        return Err(Error::usage(format!(
            "cargo uses protocol version {v}, but ycred supports only version {VERSION}"
        ))
        .hint("update ycred, or use a cargo that supports version 1"));
    }
    let request: WireRequest = serde_json::from_slice(input).map_err(|_| invalid(&"a field is missing or invalid"))?;
    let operation = match request.kind.as_str() {
        "get" => Operation::Get,
        // Not supported. The host decides between the replies `url-not-supported` and `operation-not-supported`.
        _ => Operation::Store,
    };
    let options = request.options(call)?;
    let url = &request.registry.index_url;
    let host = Host::parse(url.strip_prefix("sparse+").unwrap_or(url)).filter(|_| url.contains("://"));
    let target = Some(host.map_or(Target::Unreadable, Target::Host));
    Ok(Box::new(Provider { request: Request { operation, target, options, min_ttl: MIN_TTL, ..Request::default() } }))
}

fn answer_unreadable(_: &Call<'_>, error: &Error) -> Reply {
    failure(error)
}

#[derive(Deserialize)]
struct Versioned {
    v: u64,
}

/// Cargo's request. Unknown fields are ignored.
#[derive(Deserialize)]
struct WireRequest {
    kind: String,
    registry: Registry,
    #[serde(default)]
    args: Vec<String>,
}

#[derive(Deserialize)]
struct Registry {
    #[serde(rename = "index-url")]
    index_url: String,
}

impl WireRequest {
    /// Parses the configured arguments, such as `["--profile", "prod"]`. The hook's name may come first, as in
    /// `credential-provider = "ycred cargo --profile prod"`. Returns `None` if there are no arguments.
    fn options(&self, call: &Call<'_>) -> Result<Option<Options>> {
        let arguments: Vec<OsString> = self.args.iter().map(OsString::from).collect();
        if arguments.is_empty() {
            return Ok(None);
        }
        let (options, operands) = (call.parse)(&HOOK, &arguments)
            .map_err(|error| error.context("credential-provider in cargo's configuration"))?;
        if let Some(operand) = operands.iter().find(|operand| *operand != HOOK.name) {
            return Err(Error::usage(format!(
                "credential-provider in cargo's configuration: unexpected argument \"{operand}\""
            ))
            .hint("write credential-provider = [\"ycred\", \"--profile\", \"NAME\"]"));
        }
        let profile = options.profile.or_else(|| call.options.profile.clone());
        // Cargo also reads its configuration from the working directory, which may come from a stranger.
        if let Some(text) = profile.as_ref().filter(|text| is_path(text)) {
            return Err(Error::usage(format!(
                "credential-provider in cargo's configuration: profile {}: expected a name, not a path",
                text.to_string_lossy()
            )));
        }
        Ok(Some(Options { profile, ..options }))
    }
}

fn error(kind: &str) -> Reply {
    Reply::json(&json!({"Err": {"kind": kind}}))
}

fn failure(error: &Error) -> Reply {
    let causes: Vec<Value> = error.hint_text().map(Value::from).into_iter().collect();
    Reply::json(&json!({"Err": {"kind": "other", "message": error.reason(), "caused-by": causes}}))
}

#[derive(Debug)]
struct Provider {
    request: Request,
}

impl Exchange for Provider {
    fn request(&self) -> &Request {
        &self.request
    }

    fn write(&self, issued: &IssuedToken<'_>) -> Reply {
        Reply::json(&json!({"Ok": {
            "kind": "get",
            "token": format!("Bearer {}", issued.token.expose()),
            "cache": "expires",
            "expiration": issued.expires.unix_seconds(),
            "operation_independent": true,
        }}))
    }

    /// The reply to `login`, `logout` and unknown operations, as the cargo book requires.
    fn done(&self, _: &[String]) -> Reply {
        error("operation-not-supported")
    }

    fn decline(&self, why: Refusal<'_>) -> Reply {
        match why {
            // Cargo then tries its next provider.
            Refusal::HostNotAllowed => error("url-not-supported"),
            Refusal::Failed(why) => failure(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::base::secret::Secret;
    use crate::hooks::protocol::tests as protocol_tests;

    fn read(input: &str) -> Result<Box<dyn Exchange>> {
        protocol_tests::read(&HOOK, &[], &[], input)
    }

    fn request(kind: &str, url: &str, args: &Value) -> String {
        json!({"v": 1, "registry": {"index-url": url, "name": "yc", "headers": []}, "kind": kind, "operation": "read",
            "args": args})
        .to_string()
    }

    fn text(reply: &Reply) -> &str {
        std::str::from_utf8(&reply.stdout).expect("UTF-8")
    }

    #[test]
    fn get_returns_a_token_with_its_scheme_and_expiry() {
        let token = Secret::new("t1.XXX".into());
        let exchange = read(&request("get", "sparse+https://cr.yandex/cargo/", &json!([]))).expect("read");
        assert!(matches!(&exchange.request().target, Some(Target::Host(host)) if host.to_string() == "cr.yandex"));
        let reply = exchange.write(&IssuedToken::new(&token, Timestamp(1_787_421_600_000)));
        assert_eq!(
            text(&reply),
            "{\"Ok\":{\"cache\":\"expires\",\"expiration\":1787421600,\"kind\":\"get\",\"operation_independent\":true,\
             \"token\":\"Bearer t1.XXX\"}}\n"
        );
        assert_eq!(text(&exchange.decline(Refusal::HostNotAllowed)), "{\"Err\":{\"kind\":\"url-not-supported\"}}\n");
        let failed = exchange.decline(Refusal::Failed(&Error::refused("no").hint("fix")));
        assert_eq!(text(&failed), "{\"Err\":{\"caused-by\":[\"fix\"],\"kind\":\"other\",\"message\":\"no\"}}\n");
        assert_eq!(failed.code, 0);
    }

    #[test]
    fn other_operations_are_not_supported() {
        for kind in ["login", "logout", "owner", ""] {
            let exchange = read(&request(kind, "https://cr.yandex/index", &json!([]))).expect("read");
            assert!(matches!(exchange.request().operation, Operation::Store), "{kind}");
            assert_eq!(text(&exchange.done(&[])), "{\"Err\":{\"kind\":\"operation-not-supported\"}}\n");
        }
    }

    #[test]
    fn arguments_in_the_request_are_parsed_as_flags() {
        let profile = |args: Value| {
            let exchange = read(&request("get", "sparse+https://cr.yandex/", &args)).expect("read");
            exchange.request().options.as_ref().and_then(|options| options.profile.clone())
        };
        assert_eq!(profile(json!([])), None);
        assert_eq!(profile(json!(["--profile", "prod"])), Some("prod".into()));
        assert_eq!(profile(json!(["cargo", "-p", "prod", "--no-cache"])), Some("prod".into()));
        for args in [
            json!(["--profile", "./prod.toml"]),
            json!(["--profile=/etc/x"]),
            json!(["--nope"]),
            json!(["--help"]),
            json!(["docker", "get"]),
            json!(["--timeout", "0s"]),
        ] {
            assert!(read(&request("get", "sparse+https://cr.yandex/", &args)).is_err(), "{args}");
        }
    }

    #[test]
    fn invalid_requests_are_errors() {
        for input in [
            "",
            "{}",
            "null",
            r#"{"v":1}"#,
            r#"{"v":"1","registry":{"index-url":"https://cr.yandex"},"kind":"get"}"#,
            r#"{"v":1,"registry":{},"kind":"get"}"#,
            r#"{"v":1,"registry":{"index-url":"https://cr.yandex"}}"#,
        ] {
            let error = read(input).expect_err("an error");
            assert!(text(&failure(&error)).starts_with("{\"Err\":{"), "{input}");
        }
        let newer = read(r#"{"v":2,"something":"else"}"#).expect_err("an error");
        assert!(newer.render().contains("version 2"), "{}", newer.render());
        for url in ["cr.yandex", "sparse+cr.yandex", "", "sparse+sparse+https://cr.yandex", "git+https://cr.yandex"] {
            let exchange = read(&request("get", url, &json!([]))).expect("read");
            assert!(matches!(exchange.request().target, Some(Target::Unreadable)), "{url}");
        }
    }
}
