//! `terraform`: the CLI credentials helper of Terraform and OpenTofu, for module and provider registries.
//!
//! Source: hashicorp/terraform-svchost `auth/helper_program.go`. The helper is found in `~/.terraform.d/plugins` only.
//! (The Yandex provider's own token comes by the environment: `ycred exec -- terraform`.)

use serde_json::json;

use crate::base::error::{Error, Result};
use crate::base::hosts::Host;
use crate::protocol::{Act, Ask, Call, Exchange, Framing, Handout, Hook, Protocol, Refusal, Reply, Target};

pub struct Terraform;

static HOOK: Hook = Hook {
    name: "terraform",
    about: "answer terraform and tofu: CLI credentials helper",
    symlink: Some("terraform-credentials-ycred"),
    by_flag: None,
    operands: &["get|store|forget", "HOST"],
    flags: &[],
    own_words: &[],
    ignores_unknown: false,
};

impl Protocol for Terraform {
    fn hook(&self) -> &'static Hook {
        &HOOK
    }

    /// `store` sends the credential; it is drained so that terraform gets no broken pipe, and thrown away.
    fn framing(&self, call: &Call<'_>) -> Framing {
        if matches!(call.operands, [word, _] if word == "store") { Framing::Whole } else { Framing::None }
    }

    fn read(&self, call: &Call<'_>, _: &[u8]) -> Result<Box<dyn Exchange>> {
        let (word, host) = match call.operands {
            [word, host] => (word.as_str(), host),
            _ => return Err(Error::usage("two words are wanted: get, store or forget, and a host")),
        };
        let act = match word {
            "get" => Act::Get,
            "forget" => Act::Nothing,
            "store" => {
                return Err(Error::usage(format!("ycred keeps no tokens of others, so that of {host} is not stored"))
                    .hint("remove the credentials_helper block to use `terraform login`, or set TF_TOKEN_<host>"));
            }
            _ => {
                return Err(Error::usage(format!(
                    "unknown operation \"{word}\": terraform's are get, store and forget"
                )));
            }
        };
        let target = Some(Host::parse(host).map_or(Target::Unreadable, Target::Host));
        Ok(Box::new(Helper { ask: Ask { act, target, ..Ask::default() } }))
    }
}

#[derive(Debug)]
struct Helper {
    ask: Ask,
}

impl Exchange for Helper {
    fn ask(&self) -> &Ask {
        &self.ask
    }

    fn write(&self, handout: &Handout<'_>) -> Reply {
        Reply::json(&json!({"token": handout.token.expose()}))
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
    use crate::invocation::Options;

    fn read(words: &[&str]) -> Result<Box<dyn Exchange>> {
        let operands: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Terraform.read(
            &Call { operands: &operands, options: &Options::default(), environment: &Environment::default() },
            b"",
        )
    }

    #[test]
    fn get_gives_a_token_and_for_others_an_empty_object() {
        let exchange = read(&["get", "registry.example:8443"]).expect("read");
        let token = Secret::new("t1.XXX".into());
        assert_eq!(exchange.write(&Handout::new(&token, Timestamp(0))).stdout.as_slice(), b"{\"token\":\"t1.XXX\"}\n");
        let other = exchange.refuse(Refusal::NotMine);
        assert_eq!((other.stdout.as_slice(), other.code), (&b"{}\n"[..], 0));
    }

    #[test]
    fn store_is_refused_forget_is_silent_and_the_rest_is_usage() {
        assert!(read(&["store", "registry.example"]).expect_err("refused").render().contains("keeps no tokens"));
        let forget = read(&["forget", "registry.example"]).expect("read");
        assert!(matches!(forget.ask().act, Act::Nothing) && forget.done(&[]).stdout.is_empty());
        for words in [&["get"][..], &["frob", "x"], &[], &["get", "a", "b"]] {
            assert!(read(words).is_err(), "{words:?}");
        }
    }
}
