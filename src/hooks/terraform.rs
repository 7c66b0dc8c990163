//! `terraform`: the CLI credentials helper of Terraform and OpenTofu, for module and provider registries.
//!
//! Source: hashicorp/terraform-svchost `auth/helper_program.go`. The helper is found in `~/.terraform.d/plugins` only.
//! (The Yandex provider's own token comes by the environment: `ycred exec -- terraform`.)

use serde_json::json;

use crate::base::error::{Error, Result};
use crate::base::hosts::Host;
use crate::hooks::protocol::{Call, Exchange, Framing, Hook, IssuedToken, Operation, Refusal, Request, Target};
use crate::process::Reply;

pub const HOOK: Hook = Hook {
    symlink: Some("terraform-credentials-ycred"),
    is_linked_on_path: false,
    operands: &["get|store|forget", "HOST"],
    ..Hook::new("terraform", "answer terraform and tofu: CLI credentials helper", framing, read)
};

/// `store` sends the credential; it is drained so that terraform gets no broken pipe, and thrown away.
fn framing(call: &Call<'_>) -> Framing {
    if matches!(call.operands, [word, _] if word == "store") { Framing::Whole } else { Framing::None }
}

fn read(call: &Call<'_>, _: &[u8]) -> Result<Box<dyn Exchange>> {
    let (word, host) = match call.operands {
        [word, host] => (word.as_str(), host),
        _ => return Err(Error::usage("two words are wanted: get, store or forget, and a host")),
    };
    let act = match word {
        "get" => Operation::Get,
        "forget" => Operation::Ignore,
        "store" => {
            return Err(Error::usage(format!("ycred keeps no tokens of others, so that of {host} is not stored"))
                .hint("remove the credentials_helper block to use `terraform login`, or set TF_TOKEN_<host>"));
        }
        _ => {
            return Err(Error::usage(format!("unknown operation \"{word}\": terraform's are get, store and forget")));
        }
    };
    let target = Some(Host::parse(host).map_or(Target::Unreadable, Target::Host));
    Ok(Box::new(Helper { request: Request { operation: act, target, ..Request::default() } }))
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

    fn refuse(&self, why: Refusal<'_>) -> Reply {
        match why {
            Refusal::NotMine => Reply::text("{}\n"),
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

    fn read(words: &[&str]) -> Result<Box<dyn Exchange>> {
        let operands: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        (HOOK.read)(
            &Call {
                operands: &operands,
                options: &Options::default(),
                environment: &Environment::default(),
                parse: |_, _| panic!("no words come with a request"),
            },
            b"",
        )
    }

    #[test]
    fn get_gives_a_token_and_for_others_an_empty_object() {
        let exchange = read(&["get", "registry.example:8443"]).expect("read");
        let token = Secret::new("t1.XXX".into());
        assert_eq!(
            exchange.write(&IssuedToken::new(&token, Timestamp(0))).stdout.as_slice(),
            b"{\"token\":\"t1.XXX\"}\n"
        );
        let other = exchange.refuse(Refusal::NotMine);
        assert_eq!((other.stdout.as_slice(), other.code), (&b"{}\n"[..], 0));
    }

    #[test]
    fn store_is_refused_forget_is_silent_and_the_rest_is_usage() {
        assert!(read(&["store", "registry.example"]).expect_err("refused").render().contains("keeps no tokens"));
        let forget = read(&["forget", "registry.example"]).expect("read");
        assert!(matches!(forget.request().operation, Operation::Ignore) && forget.done(&[]).stdout.is_empty());
        for words in [&["get"][..], &["frob", "x"], &[], &["get", "a", "b"]] {
            assert!(read(words).is_err(), "{words:?}");
        }
    }
}
