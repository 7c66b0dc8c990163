//! `docker`: the credential helper protocol of docker, podman, skopeo and all who read docker's configuration.
//!
//! Source: docker/docker-credential-helpers `credentials/credentials.go`, `error.go`, `client/client.go`. Errors go to
//! stdout with exit 1 and some texts are compared whole; docker itself shows the user stderr alone, so the reason goes
//! to both. The username is `iam`, never `<token>`, which would make docker treat the token as an OAuth refresh token.

use serde::Deserialize;
use serde_json::json;

use crate::base::error::{Error, Result};
use crate::base::hosts::Host;
use crate::hooks::protocol::{Call, Exchange, Framing, Hook, IssuedToken, Operation, Refusal, Request, Target};
use crate::process::Reply;

pub const HOOK: Hook = Hook {
    symlink: Some("docker-credential-ycred"),
    operands: &["get|store|erase|list|version"],
    operation_flags: &[("version", "version"), ("verbose", "version"), ("help", "help")],
    reject,
    ..Hook::new("docker", "answer docker, podman, skopeo: docker credential helper", framing, read)
};

/// Compared whole by every client: then it goes on anonymously.
const NOT_FOUND: &str = "credentials not found in native keychain\n";
/// Compared whole by docker's client.
const NO_SERVER: &str = "no credentials server URL";
const USER: &str = "iam";
const USAGE: &str = "Usage: docker-credential-ycred <store|get|erase|list|version>\n";

fn framing(call: &Call<'_>) -> Framing {
    if matches!(call.operands, [word] if matches!(word.as_str(), "get" | "store" | "erase")) {
        Framing::Whole
    } else {
        Framing::None
    }
}

fn read(call: &Call<'_>, input: &[u8]) -> Result<Box<dyn Exchange>> {
    let word = match call.operands {
        [word] => word.as_str(),
        _ => {
            return Err(Error::usage("one word is wanted: get, store, erase, list or version")
                .hint("the host comes on standard input: echo cr.yandex | docker-credential-ycred get"));
        }
    };
    let host = |text: &str| match text.trim_ascii() {
        "" => Err(Error::usage(NO_SERVER).verbatim()),
        text => Ok(Host::parse(text).map_or(Target::Unreadable, Target::Host)),
    };
    let text = || std::str::from_utf8(input).map_err(|_| Error::usage("what came on stdin is not text"));
    let of_host = |act, server: &str| -> Result<Helper> {
        Ok(Helper {
            server: server.trim_ascii().to_owned(),
            request: Request { operation: act, target: Some(host(server)?), ..Request::default() },
            fixed: None,
        })
    };
    let fixed = |text: String| Helper {
        server: String::new(),
        request: Request { operation: Operation::Ignore, ..Request::default() },
        fixed: Some(text),
    };
    Ok(Box::new(match word {
        "get" => of_host(Operation::Get, text()?)?,
        "erase" => of_host(Operation::Erase(None), text()?)?,
        "store" => {
            let stored: Stored = serde_json::from_str(text()?)
                .map_err(|_| Error::usage("what came on stdin is not a credential in JSON"))?;
            of_host(Operation::Store, &stored.server_url)?
        }
        "list" => Helper {
            server: String::new(),
            request: Request { operation: Operation::List, ..Request::default() },
            fixed: None,
        },
        "version" => fixed(concat!("docker-credential-ycred (ycred) v", env!("CARGO_PKG_VERSION"), "\n").to_owned()),
        "help" => fixed(USAGE.to_owned()),
        _ => return Err(Error::usage(format!("unknown credential action `{word}`"))),
    }))
}

fn reject(call: &Call<'_>, error: &Error) -> Reply {
    if call.operands.len() == 1 { told(error).with_code(1) } else { Reply::text(USAGE).with_code(1) }
}

/// Only the host of what `docker login` wants kept; the user's name and password are not even read.
#[derive(Deserialize)]
struct Stored {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
}

#[derive(Debug)]
struct Helper {
    server: String,
    request: Request,
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

    fn refuse(&self, why: Refusal<'_>) -> Reply {
        match (why, &self.request.operation) {
            (Refusal::Failed(error), _) => told(error),
            (Refusal::NotMine, Operation::Store) => {
                let text = format!(
                    "ycred keeps no passwords, and {} is not a host of its own: configure another credential helper for it\n",
                    crate::base::error::clean(&self.server)
                );
                Reply::text(text).with_code(1)
            }
            (Refusal::NotMine, _) => Reply::text(NOT_FOUND).with_code(1),
        }
    }
}

/// The reason where podman, skopeo and BuildKit look for it.
fn told(error: &Error) -> Reply {
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
    use crate::base::environment::Environment;
    use crate::base::secret::Secret;
    use crate::process::flags::Options;

    fn read(word: &str, input: &str) -> Result<Box<dyn Exchange>> {
        let operands = [word.to_owned()];
        (HOOK.read)(
            &Call {
                operands: &operands,
                options: &Options::default(),
                environment: &Environment::default(),
                parse: |_, _| panic!("no words come with a request"),
            },
            input.as_bytes(),
        )
    }

    fn stdout(reply: &Reply) -> &str {
        std::str::from_utf8(&reply.stdout).expect("UTF-8")
    }

    #[test]
    fn get_answers_with_the_server_as_it_was_asked_for() {
        let token = Secret::new("t1.XXX".into());
        for asked in ["cr.yandex", "cr.yandex\n", "https://cr.yandex/v2/"] {
            let reply = read("get", asked).expect("read").write(&IssuedToken::new(&token, Timestamp(0)));
            assert_eq!(
                stdout(&reply),
                format!("{{\"ServerURL\":\"{}\",\"Username\":\"iam\",\"Secret\":\"t1.XXX\"}}\n", asked.trim())
            );
        }
    }

    #[test]
    fn another_host_is_not_found_in_the_exact_words() {
        let reply = read("get", "https://index.docker.io/v1/").expect("read").refuse(Refusal::NotMine);
        assert_eq!((stdout(&reply).trim(), reply.code), ("credentials not found in native keychain", 1));
    }

    #[test]
    fn what_is_to_be_stored_is_not_read() {
        let exchange = read("store", r#"{"ServerURL":"ghcr.io","Username":"u","Secret":"hunter22"}"#).expect("read");
        assert!(matches!(exchange.request().operation, Operation::Store));
        let reply = exchange.refuse(Refusal::NotMine);
        assert!(reply.code == 1 && stdout(&reply).contains("ghcr.io") && !stdout(&reply).contains("hunter22"));
        assert_eq!(exchange.done(&[]).code, 0);
    }

    #[test]
    fn requests_that_are_none() {
        let empty = read("get", "\n").expect_err("refused");
        assert_eq!(stdout(&told(&empty)), "no credentials server URL\n", "compared whole by docker's client");
        assert!(read("store", "x").is_err() && read("frobnicate", "").is_err());
        let reply = (HOOK.reject)(
            &Call {
                operands: &[],
                options: &Options::default(),
                environment: &Environment::default(),
                parse: |_, _| panic!("no words come with a request"),
            },
            &Error::usage("x"),
        );
        assert_eq!((stdout(&reply), reply.code), (USAGE, 1));
    }

    #[test]
    fn list_names_our_hosts() {
        let reply = read("list", "unused").expect("read").done(&["cr.yandex".into()]);
        assert_eq!(stdout(&reply), "{\"cr.yandex\":\"iam\"}\n");
    }
}
