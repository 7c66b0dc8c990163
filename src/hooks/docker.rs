//! `docker`: the credential helper protocol of docker, podman, skopeo and other programs that read docker's
//! configuration.
//!
//! Source: docker/docker-credential-helpers `credentials/credentials.go`, `error.go`, `client/client.go`.
//!
//! * Errors go to stdout with exit code 1. Clients compare some of these messages literally.
//! * docker shows the user only stderr, so ycred writes the reason to both streams.
//! * The username is `iam`. With `<token>`, docker would treat the token as an OAuth refresh token.

use serde::Deserialize;
use serde_json::json;

use crate::base::error::{Error, Result};
use crate::base::hosts::Host;
use crate::hooks::protocol::{Call, Exchange, Framing, Hook, IssuedToken, Operation, Refusal, Request, Target};
use crate::process::Reply;
use crate::process::flags::Example;
use crate::process::stdin::RequestEnd;

pub const HOOK: Hook = Hook {
    examples: &[
        Example { call: "echo cr.yandex | ycred docker get", about: "print the credentials for a registry" },
        Example { call: "ycred docker list", about: "list the registries that ycred answers for" },
    ],
    symlink: Some("docker-credential-ycred"),
    operands: &["get|store|erase|list|version"],
    operation_flags: &[("version", "version"), ("v", "version"), ("help", "help"), ("h", "help")],
    answer_unreadable,
    names_host: true,
    ..Hook::new("docker", "credential helper for docker, podman and skopeo", framing, read)
};

/// All clients compare this message literally, and continue without credentials.
const NOT_FOUND: &str = "credentials not found in native keychain\n";
/// docker's client compares this message literally.
const NO_SERVER: &str = "no credentials server URL";
const USER: &str = "iam";
const USAGE: &str = "Usage: docker-credential-ycred <store|get|erase|list|version>\n";

fn framing(call: &Call<'_>) -> Framing {
    match call.operands {
        [operation] if operation == "store" => Framing::One(RequestEnd::JsonObject),
        // A host, which may lack a line end.
        [operation] if matches!(operation.as_str(), "get" | "erase") => Framing::One(RequestEnd::EndOfStdin),
        _ => Framing::None,
    }
}

fn read(call: &Call<'_>, input: &[u8]) -> Result<Box<dyn Exchange>> {
    let name = match call.operands {
        [name] => name.as_str(),
        _ => {
            return Err(Error::usage("expected one operation: get, store, erase, list or version")
                .hint("pass the host on standard input: echo cr.yandex | docker-credential-ycred get"));
        }
    };
    let host = |text: &str| match text.trim_ascii() {
        "" => Err(Error::usage(NO_SERVER).verbatim()),
        text => Ok(Host::parse(text).map_or(Target::Unreadable, Target::Host)),
    };
    let text = || std::str::from_utf8(input).map_err(|_| Error::usage("the request on stdin is not valid UTF-8"));
    let for_host = |operation, server: &str| -> Result<Helper> {
        Ok(Helper {
            server: server.trim_ascii().to_owned(),
            request: Request { operation, target: Some(host(server)?), ..Request::default() },
            fixed: None,
        })
    };
    let fixed = |text: String| Helper {
        server: String::new(),
        request: Request { operation: Operation::Ignore, ..Request::default() },
        fixed: Some(text),
    };
    Ok(Box::new(match name {
        "get" => for_host(Operation::Get, text()?)?,
        "erase" => for_host(Operation::Erase(None), text()?)?,
        "store" => {
            let stored: Stored = serde_json::from_str(text()?)
                .map_err(|_| Error::usage("the request on stdin is not a JSON credential"))?;
            for_host(Operation::Store, &stored.server_url)?
        }
        "list" => Helper {
            server: String::new(),
            request: Request { operation: Operation::List, ..Request::default() },
            fixed: None,
        },
        "version" => fixed(concat!("docker-credential-ycred (ycred) v", env!("CARGO_PKG_VERSION"), "\n").to_owned()),
        "help" => fixed(USAGE.to_owned()),
        _ => return Err(Error::usage(format!("unknown credential action `{name}`"))),
    }))
}

fn answer_unreadable(_: &Call<'_>, error: &Error) -> Reply {
    failure(error).with_code(1)
}

/// A credential from `docker login`. ycred reads only its host, not the username and password.
#[derive(Deserialize)]
struct Stored {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
}

#[derive(Debug)]
struct Helper {
    server: String,
    request: Request,
    /// The whole reply, if it does not depend on profile or host.
    fixed: Option<String>,
}

impl Exchange for Helper {
    fn request(&self) -> &Request {
        &self.request
    }

    fn write(&self, issued: &IssuedToken<'_>) -> Reply {
        Reply::text(format!(
            "{{\"ServerURL\":{},\"Username\":\"{USER}\",\"Secret\":{}}}\n",
            json!(self.server),
            json!(issued.token.expose())
        ))
    }

    fn done(&self, hosts: &[String]) -> Reply {
        match (&self.request.operation, &self.fixed) {
            (_, Some(text)) => Reply::text(text.clone()),
            (Operation::List, None) => Reply::json(
                &hosts.iter().map(|host| (host.clone(), json!(USER))).collect::<serde_json::Map<_, _>>().into(),
            ),
            _ => Reply::default(),
        }
    }

    fn decline(&self, why: Refusal<'_>) -> Reply {
        match (why, &self.request.operation) {
            (Refusal::Failed(error), _) => failure(error),
            (Refusal::HostNotAllowed, Operation::Store) => {
                let message = format!(
                    "ycred does not store passwords, and {} is not one of its hosts: configure another credential helper for it\n",
                    crate::base::error::clean(&self.server)
                );
                Reply::text(message).with_code(1)
            }
            (Refusal::HostNotAllowed, _) => Reply::text(NOT_FOUND).with_code(1),
        }
    }
}

/// Returns the error on stdout, where podman, skopeo and BuildKit look for it.
fn failure(error: &Error) -> Reply {
    if error.is_verbatim {
        return Reply::text(format!("{}\n", error.reason())).with_code(1);
    }
    let hint = error.hint_text().map(|hint| format!(" ({hint})")).unwrap_or_default();
    Reply::text(format!("ycred: {}{hint}\n", error.reason())).with_code(error.kind.exit_code())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::base::secret::Secret;
    use crate::hooks::protocol::tests as protocol_tests;

    fn read(operation: &str, input: &str) -> Result<Box<dyn Exchange>> {
        protocol_tests::read(&HOOK, &[operation], &[], input)
    }

    fn stdout(reply: &Reply) -> &str {
        std::str::from_utf8(&reply.stdout).expect("UTF-8")
    }

    #[test]
    fn get_returns_the_server_as_requested() {
        let token = Secret::new("t1.XXX".into());
        for server in ["cr.yandex", "cr.yandex\n", "https://cr.yandex/v2/"] {
            let reply = read("get", server).expect("read").write(&IssuedToken::new(&token, Timestamp(0)));
            assert_eq!(
                stdout(&reply),
                format!("{{\"ServerURL\":\"{}\",\"Username\":\"iam\",\"Secret\":\"t1.XXX\"}}\n", server.trim())
            );
        }
    }

    #[test]
    fn another_host_is_not_found_with_the_exact_message() {
        let reply = read("get", "https://index.docker.io/v1/").expect("read").decline(Refusal::HostNotAllowed);
        assert_eq!((stdout(&reply).trim(), reply.code), ("credentials not found in native keychain", 1));
    }

    #[test]
    fn store_does_not_read_the_password() {
        let exchange = read("store", r#"{"ServerURL":"ghcr.io","Username":"u","Secret":"hunter22"}"#).expect("read");
        assert!(matches!(exchange.request().operation, Operation::Store));
        let reply = exchange.decline(Refusal::HostNotAllowed);
        assert!(reply.code == 1 && stdout(&reply).contains("ghcr.io") && !stdout(&reply).contains("hunter22"));
        assert_eq!(exchange.done(&[]).code, 0);
    }

    #[test]
    fn invalid_requests_are_errors() {
        let empty = read("get", "\n").expect_err("refused");
        assert_eq!(stdout(&failure(&empty)), "no credentials server URL\n", "docker's client compares this literally");
        assert!(read("store", "x").is_err() && read("frobnicate", "").is_err());
        let reply = protocol_tests::with_call(&[], &[], |call| (HOOK.answer_unreadable)(call, &Error::usage("x")));
        assert_eq!((stdout(&reply), reply.code), ("ycred: x\n", 1));
    }

    #[test]
    fn list_returns_the_hosts() {
        let reply = read("list", "unused").expect("read").done(&["cr.yandex".into()]);
        assert_eq!(stdout(&reply), "{\"cr.yandex\":\"iam\"}\n");
    }
}
