//! `terraform`: the CLI credentials helper of Terraform and OpenTofu, for module and provider registries.
//!
//! Source: hashicorp/terraform-svchost `auth/helper_program.go`. Terraform looks for the helper only in
//! `~/.terraform.d/plugins`. The Yandex provider does not use it: it reads a token from the environment, which
//! `ycred exec -- terraform` sets.

use serde_json::json;

use crate::base::error::{Error, Result};
use crate::base::hosts::Host;
use crate::hooks::protocol::{Call, Exchange, Framing, Hook, IssuedToken, Operation, Refusal, Request, Target};
use crate::process::Reply;
use crate::process::flags::Example;
use crate::process::stdin::RequestEnd;

pub const HOOK: Hook = Hook {
    examples: &[
        Example { call: "ycred terraform get registry.example", about: "print the credentials for a registry" },
        Example {
            call: "ycred terraform get registry.example --profile prod",
            about: "print them with a token of `prod`",
        },
    ],
    symlink: Some("terraform-credentials-ycred"),
    is_linked_on_path: false,
    operands: &["get|store|forget", "HOST"],
    wrapper: Some("ycred exec"),
    names_host: true,
    ..Hook::new("terraform", "credentials helper for terraform and tofu", framing, read)
};

/// `store` sends a credential on stdin. ycred reads and drops it, so that terraform does not get a broken pipe.
fn framing(call: &Call<'_>) -> Framing {
    if matches!(call.operands, [operation, _] if operation == "store") {
        Framing::One(RequestEnd::JsonObject)
    } else {
        Framing::None
    }
}

fn read(call: &Call<'_>, _: &[u8]) -> Result<Box<dyn Exchange>> {
    let (name, host) = match call.operands {
        [name, host] => (name.as_str(), host),
        _ => return Err(Error::usage("expected an operation and a host: get, store or forget, and HOST")),
    };
    let operation = match name {
        "get" => Operation::Get,
        "forget" => Operation::Ignore,
        "store" => {
            return Err(Error::usage(format!("cannot store a token for {host}: ycred does not store tokens"))
                .hint("remove the credentials_helper block to use `terraform login`, or set TF_TOKEN_<host>"));
        }
        _ => {
            return Err(Error::usage(format!("unknown operation \"{name}\": expected get, store or forget")));
        }
    };
    let target = Some(Host::parse(host).map_or(Target::Unreadable, Target::Host));
    Ok(Box::new(Helper { request: Request { operation, target, ..Request::default() } }))
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
        Reply::json(&json!({"token": issued.token.expose()}))
    }

    fn decline(&self, why: Refusal<'_>) -> Reply {
        match why {
            Refusal::HostNotAllowed => Reply::text("{}\n"),
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

    fn read(arguments: &[&str]) -> Result<Box<dyn Exchange>> {
        protocol_tests::read(&HOOK, arguments, &[], "")
    }

    #[test]
    fn get_returns_a_token_or_an_empty_object_for_other_hosts() {
        let exchange = read(&["get", "registry.example:8443"]).expect("read");
        let token = Secret::new("t1.XXX".into());
        assert_eq!(
            exchange.write(&IssuedToken::new(&token, Timestamp(0))).stdout.as_slice(),
            b"{\"token\":\"t1.XXX\"}\n"
        );
        let other = exchange.decline(Refusal::HostNotAllowed);
        assert_eq!((other.stdout.as_slice(), other.code), (&b"{}\n"[..], 0));
    }

    #[test]
    fn store_is_refused_forget_is_silent_and_the_rest_is_a_usage_error() {
        assert!(read(&["store", "registry.example"]).expect_err("refused").render().contains("does not store tokens"));
        let forget = read(&["forget", "registry.example"]).expect("read");
        assert!(matches!(forget.request().operation, Operation::Ignore) && forget.done(&[]).stdout.is_empty());
        for arguments in [&["get"][..], &["frob", "x"], &[], &["get", "a", "b"]] {
            assert!(read(arguments).is_err(), "{arguments:?}");
        }
    }
}
