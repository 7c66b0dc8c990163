//! `keyring`: what pip and uv run to ask for the password of a package index.
//!
//! Sources: the command line of the Python package keyring (`keyring/cli.py`), and pip 23 and 26 and uv themselves. They
//! run whatever `keyring` is first in `PATH`, each in words of its own; any exit but 0 means "no password", and exit 2 makes
//! pip complain of an old keyring. We are not the user's keyring: what is not for us (another host, another user, another
//! operation) is passed on to the next `keyring` in `PATH`, which finds everything as it came.

use serde_json::json;

use crate::base::error::{Error, Kind, Result};
use crate::base::hosts::Host;
use crate::hooks::protocol::{Call, Exchange, Framing, Hook, IssuedToken, Refusal, Request, Target};
use crate::process::Reply;
use crate::process::flags::Flag;

pub const HOOK: Hook = Hook {
    symlink: Some("keyring"),
    is_linked_on_path: false,
    operands: &["get", "URL", "USER"],
    flags: &[
        Flag::new("mode", Some("MODE"), "what is wanted").choices(&["password", "creds"]),
        Flag::new("output", Some("FORMAT"), "shape of the output").choices(&["plain", "json"]),
    ],
    ignores_unknown_operations: true,
    replaces_program: true,
    reject,
    ..Hook::new("keyring", "answer pip and uv: keyring's command line", framing, read)
};

const USER: &str = "iam";

/// `set` reads the password, and it is another program that does.
fn framing(_: &Call<'_>) -> Framing {
    Framing::None
}

fn read(call: &Call<'_>, _: &[u8]) -> Result<Box<dyn Exchange>> {
    let words: Vec<&str> = call.operands.iter().map(String::as_str).collect();
    let (url, user) = match words[..] {
        ["get", url] => (url, None),
        ["get", url, user] => (url, Some(user)),
        ["get", ..] => return Err(Error::usage("keyring get wants a URL, and perhaps a user")),
        [] => return Err(Error::usage("keyring's `get` is wanted, with a URL and perhaps a user")),
        [word, ..] => {
            return Err(Error::usage(format!(
                "ycred keeps no passwords, and there is no other keyring in PATH to pass `{word}` on to"
            ))
            .hint("for a keyring of your own: pip install keyring"));
        }
    };
    let creds = call.options.own("mode") == Some("creds");
    // A password of this user is not asked for without naming it; a pair may be.
    let is_ours = user.map_or(creds, |user| user == USER);
    let host = Host::parse(url).filter(|_| is_ours);
    Ok(Box::new(Helper {
        creds,
        json: call.options.own("output") == Some("json"),
        request: Request { target: Some(host.map_or(Target::Unreadable, Target::Host)), ..Request::default() },
    }))
}

fn reject(_: &Call<'_>, _: &Error) -> Reply {
    not_ours()
}

/// Exit 1 in silence, if nobody else answers.
fn not_ours() -> Reply {
    Reply { pass_on: true, ..Reply::nothing(1) }
}

#[derive(Debug)]
struct Helper {
    creds: bool,
    json: bool,
    request: Request,
}

impl Exchange for Helper {
    fn request(&self) -> &Request {
        &self.request
    }

    fn write(&self, issued: &IssuedToken<'_>) -> Reply {
        let token = issued.token.expose();
        match (self.json, self.creds) {
            (true, true) => Reply::json(&json!({"username": USER, "password": token})),
            (true, false) => Reply::json(&json!({"password": token})),
            (false, true) => Reply::text(format!("{USER}\n{token}\n")),
            (false, false) => Reply::text(format!("{token}\n")),
        }
    }

    fn refuse(&self, why: Refusal<'_>) -> Reply {
        match why {
            Refusal::NotMine => not_ours(),
            // Two is what pip takes for a keyring that is too old.
            Refusal::Failed(error) if error.kind == Kind::Usage => Reply::nothing(1),
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

    fn read(words: &[&str], own: &[(&'static str, &str)]) -> Result<Box<dyn Exchange>> {
        let operands: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let own = own.iter().map(|(flag, value)| (*flag, (*value).to_owned())).collect();
        let options = Options { own, ..Options::default() };
        (HOOK.read)(
            &Call {
                operands: &operands,
                options: &options,
                environment: &Environment::default(),
                parse: |_, _| panic!("no words come with a request"),
            },
            b"",
        )
    }

    #[test]
    fn each_client_gets_what_it_reads() {
        let url = "https://registry.yandexcloud.net/pypi/x/simple/";
        let token = Secret::new("t1.XXX".into());
        for (words, own, wanted) in [
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
            let exchange = read(words, own).expect("read");
            assert!(matches!(exchange.request().target, Some(Target::Host(_))), "{words:?}");
            let reply = exchange.write(&IssuedToken::new(&token, Timestamp(0)));
            assert_eq!(std::str::from_utf8(&reply.stdout).expect("UTF-8"), wanted, "{words:?}");
        }
    }

    #[test]
    fn what_is_not_for_us_is_passed_on_and_never_exit_2() {
        for (words, own) in [
            (&["get", "https://cr.yandex/", "bob"][..], &[][..]),
            (&["get", "https://cr.yandex/"], &[]),
            (&["get", "https://iam@cr.yandex/", "iam"], &[]),
            (&["get", "", "iam"], &[]),
            (&["get", "https://cr.yandex/", "oauth"], &[("mode", "creds")]),
        ] {
            let exchange = read(words, own).expect("read");
            assert!(matches!(exchange.request().target, Some(Target::Unreadable)), "{words:?}");
            let reply = exchange.refuse(Refusal::NotMine);
            assert!(reply.pass_on && reply.code == 1 && reply.stdout.is_empty(), "{words:?}");
        }
        for words in [&[][..], &["set", "a", "b"], &["del", "a", "b"], &["diagnose"], &["get"], &["get", "a", "b", "c"]]
        {
            let error = read(words, &[]).expect_err("an error");
            let options = Options::default();
            let call = Call {
                operands: &[],
                options: &options,
                environment: &Environment::default(),
                parse: |_, _| panic!("no words come with a request"),
            };
            let reply = (HOOK.reject)(&call, &error);
            assert!(reply.pass_on && reply.code == 1, "{words:?}");
        }
        let exchange = read(&["get", "https://cr.yandex/", "iam"], &[]).expect("read");
        let failed = |error: Error| exchange.refuse(Refusal::Failed(&error));
        assert_eq!((failed(Error::usage("x")).code, failed(Error::unavailable("x")).code), (1, 4));
        assert!(!failed(Error::refused("x")).pass_on, "the host is ours: nobody else is to be asked");
    }
}
