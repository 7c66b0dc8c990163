//! `keyring`: the program that pip and uv run to get the password for a package index.
//!
//! Sources: the command line of the Python package keyring (`keyring/cli.py`), and pip 23, pip 26 and uv themselves.
//!
//! * They run the first `keyring` in `PATH`, each with different arguments.
//! * Any exit code other than 0 means "no password". With 2, pip warns of an outdated keyring.
//! * Calls for another host, user or operation are meant for the user's own keyring. ycred passes them on to the next
//!   `keyring` in `PATH`, with arguments and stdin unchanged.

use serde_json::json;

use crate::base::error::{Error, Kind, Result};
use crate::base::hosts::Host;
use crate::hooks::protocol::{Call, Exchange, Framing, Hook, IssuedToken, Refusal, Request, Target};
use crate::process::Reply;
use crate::process::flags::{Example, Flag};

pub const HOOK: Hook = Hook {
    examples: &[
        Example { call: "ycred keyring get https://pypi.example/simple/ iam", about: "print the token for an index" },
        Example { call: "ln -s \"$(command -v ycred)\" ~/bin/keyring", about: "create the link for pip and uv" },
    ],
    symlink: Some("keyring"),
    is_linked_on_path: false,
    operands: &["get", "URL", "USER"],
    flags: &[
        Flag::new("mode", Some("MODE"), "what to print [default: password]").choices(&["password", "creds"]),
        Flag::new("output", Some("FORMAT"), "output format [default: plain]").choices(&["plain", "json"]),
    ],
    ignores_unknown_operations: true,
    replaces_program: true,
    answer_unreadable,
    names_host: true,
    ..Hook::new("keyring", "keyring command for pip and uv", framing, read)
};

const USER: &str = "iam";

/// Only `set` reads stdin, and the next `keyring` serves that.
fn framing(_: &Call<'_>) -> Framing {
    Framing::None
}

fn read(call: &Call<'_>, _: &[u8]) -> Result<Box<dyn Exchange>> {
    let operands: Vec<&str> = call.operands.iter().map(String::as_str).collect();
    let (url, user) = match operands[..] {
        ["get", url] => (url, None),
        ["get", url, user] => (url, Some(user)),
        ["get", ..] => return Err(Error::usage("keyring get: expected URL [USER]")),
        [] => return Err(Error::usage("missing operation: expected get URL [USER]")),
        [operation, ..] => {
            return Err(Error::usage(format!(
                "ycred does not store passwords, and there is no other keyring in PATH to run `{operation}`"
            ))
            .hint("to install one: pip install keyring"));
        }
    };
    let with_user = call.options.own("mode") == Some("creds");
    // Without a user, only `--mode creds` is for ycred: the output then includes the user.
    let is_own_user = user.map_or(with_user, |user| user == USER);
    let host = Host::parse(url).filter(|_| is_own_user);
    Ok(Box::new(Helper {
        with_user,
        is_json: call.options.own("output") == Some("json"),
        request: Request { target: Some(host.map_or(Target::Unreadable, Target::Host)), ..Request::default() },
    }))
}

fn answer_unreadable(_: &Call<'_>, _: &Error) -> Reply {
    pass_on()
}

/// Passes the call on. If there is no other `keyring`, prints nothing and exits with 1.
fn pass_on() -> Reply {
    Reply { pass_on: true, ..Reply::nothing(1) }
}

#[derive(Debug)]
struct Helper {
    with_user: bool,
    is_json: bool,
    request: Request,
}

impl Exchange for Helper {
    fn request(&self) -> &Request {
        &self.request
    }

    fn write(&self, issued: &IssuedToken<'_>) -> Reply {
        let token = issued.token.expose();
        match (self.is_json, self.with_user) {
            (true, true) => Reply::json(&json!({"username": USER, "password": token})),
            (true, false) => Reply::json(&json!({"password": token})),
            (false, true) => Reply::text(format!("{USER}\n{token}\n")),
            (false, false) => Reply::text(format!("{token}\n")),
        }
    }

    fn decline(&self, why: Refusal<'_>) -> Reply {
        match why {
            Refusal::HostNotAllowed => pass_on(),
            // With exit code 2, pip would warn of an outdated keyring.
            Refusal::Failed(error) if error.kind == Kind::Usage => Reply::nothing(1),
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

    fn read(arguments: &[&str], own: &[(&'static str, &str)]) -> Result<Box<dyn Exchange>> {
        protocol_tests::read(&HOOK, arguments, own, "")
    }

    #[test]
    fn each_client_gets_its_format() {
        let url = "https://registry.yandexcloud.net/pypi/x/simple/";
        let token = Secret::new("t1.XXX".into());
        for (arguments, own, expected) in [
            // pip 23, and uv with a user in the URL.
            (&["get", url, "iam"][..], &[][..], "t1.XXX\n"),
            (&["get", "registry.yandexcloud.net:443", "iam"], &[], "t1.XXX\n"),
            // pip 26.
            (
                &["get", url],
                &[("mode", "creds"), ("output", "json")],
                "{\"password\":\"t1.XXX\",\"username\":\"iam\"}\n",
            ),
            (
                &["get", url, "iam"],
                &[("mode", "creds"), ("output", "json")],
                "{\"password\":\"t1.XXX\",\"username\":\"iam\"}\n",
            ),
            // uv without a user.
            (&["get", url], &[("mode", "creds")], "iam\nt1.XXX\n"),
            (&["get", url, "iam"], &[("output", "json")], "{\"password\":\"t1.XXX\"}\n"),
        ] {
            let exchange = read(arguments, own).expect("read");
            assert!(matches!(exchange.request().target, Some(Target::Host(_))), "{arguments:?}");
            let reply = exchange.write(&IssuedToken::new(&token, Timestamp(0)));
            assert_eq!(std::str::from_utf8(&reply.stdout).expect("UTF-8"), expected, "{arguments:?}");
        }
    }

    #[test]
    fn other_calls_are_passed_on_and_never_exit_with_2() {
        for (arguments, own) in [
            (&["get", "https://cr.yandex/", "bob"][..], &[][..]),
            (&["get", "https://cr.yandex/"], &[]),
            (&["get", "https://iam@cr.yandex/", "iam"], &[]),
            (&["get", "", "iam"], &[]),
            (&["get", "https://cr.yandex/", "oauth"], &[("mode", "creds")]),
        ] {
            let exchange = read(arguments, own).expect("read");
            assert!(matches!(exchange.request().target, Some(Target::Unreadable)), "{arguments:?}");
            let reply = exchange.decline(Refusal::HostNotAllowed);
            assert!(reply.pass_on && reply.code == 1 && reply.stdout.is_empty(), "{arguments:?}");
        }
        for arguments in
            [&[][..], &["set", "a", "b"], &["del", "a", "b"], &["diagnose"], &["get"], &["get", "a", "b", "c"]]
        {
            let error = read(arguments, &[]).expect_err("an error");
            let reply = protocol_tests::with_call(&[], &[], |call| (HOOK.answer_unreadable)(call, &error));
            assert!(reply.pass_on && reply.code == 1, "{arguments:?}");
        }
        let exchange = read(&["get", "https://cr.yandex/", "iam"], &[]).expect("read");
        let failed = |error: Error| exchange.decline(Refusal::Failed(&error));
        assert_eq!((failed(Error::usage("x")).code, failed(Error::unavailable("x")).code), (1, 4));
        assert!(!failed(Error::refused("x")).pass_on, "not passed on: the host is ycred's own");
    }
}
