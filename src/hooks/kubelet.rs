//! `kubelet`: the image credential provider of the kubelet, version v1, with or without a service account's token.
//!
//! Sources: <https://kubernetes.io/docs/reference/config-api/kubelet-credentialprovider.v1/>; kubernetes
//! `pkg/credentialprovider/plugin/plugin.go`. The kubelet reads the answer strictly: one field too many, and it is dropped
//! without a word of why. On failure it logs stderr and pulls without credentials.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use crate::base::error::{Error, Result};
use crate::base::hosts::Host;
use crate::base::secret::Secret;
use crate::hooks::protocol::{Call, Exchange, Framing, Hook, IssuedToken, Refusal, Request, Target};
use crate::process::Reply;
use crate::sources::Resource;

pub const HOOK: Hook = Hook {
    // The kubelet kills a provider after a minute.
    client_timeout: Some(Duration::from_secs(50)),
    ..Hook::new("kubelet", "answer the kubelet: image credential provider v1", framing, read)
};

const API_VERSION: &str = "credentialprovider.kubelet.k8s.io/v1";
const REQUEST: &str = "CredentialProviderRequest";
const USER: &str = "iam";

fn framing(_: &Call<'_>) -> Framing {
    Framing::Whole
}

fn read(_: &Call<'_>, input: &[u8]) -> Result<Box<dyn Exchange>> {
    // What was sent is not shown: a service account's token may be in it.
    let request: WireRequest =
        serde_json::from_slice(input).map_err(|_| unreadable(format!("is no {REQUEST} in JSON")))?;
    if request.kind != REQUEST {
        return Err(unreadable(format!("has another kind than {REQUEST}")));
    }
    if request.api_version != API_VERSION {
        return Err(Error::usage(format!(
            "the kubelet asks for apiVersion \"{}\", and ycred speaks {API_VERSION}",
            request.api_version
        ))
        .hint(format!("set apiVersion: {API_VERSION} of the provider in the kubelet's CredentialProviderConfig")));
    }
    if request.image.is_empty() {
        return Err(unreadable("names no image".to_owned()));
    }
    let registry = registry(&request.image).unwrap_or_default().to_owned();
    let subject = request.service_account_token.filter(|token| !token.expose().is_empty());
    let target = Host::parse(&registry).map_or(Target::Unreadable, Target::Host);
    let request = Request { target: Some(target), resource: Resource::Token { subject }, ..Request::default() };
    Ok(Box::new(Provider { registry, request }))
}

fn unreadable(why: String) -> Error {
    Error::usage(format!("the request on stdin {why}"))
        .hint("it is the kubelet that sends it; by hand run `ycred token`")
}

/// Fields that a later kubelet adds are none of our business, nor are the annotations of the service account: whose token
/// it is, profile and subject say.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireRequest {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    image: String,
    /// Of the pod that the image is for, where the configuration has `tokenAttributes`.
    service_account_token: Option<Secret>,
}

/// The registry that an image is in, as the reference has it; none for Docker Hub's short names (`nginx`, `library/nginx`):
/// a first part is a host if it has a dot or a port, or is `localhost` (distribution/reference, `splitDockerDomain`).
fn registry(image: &str) -> Option<&str> {
    let (first, _) = image.split_once('/')?;
    // What would end a host in a URL has no place in a reference.
    (!first.contains(['?', '#'])).then_some(())?;
    (first == "localhost" || first.contains(['.', ':'])).then_some(first)
}

/// As Go writes a `time.Duration` of whole seconds: `3h0m0s`, `59m0s`, `45s`, `0s`.
fn go_duration(length: Duration) -> String {
    let seconds = length.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[derive(Debug)]
struct Provider {
    registry: String,
    request: Request,
}

impl Provider {
    /// Keyed by the registry also where a service account's token came with the request: the kubelet itself keeps answers
    /// for different service accounts apart (`generateCacheKey`).
    fn answer(life: Duration, auth: &str) -> Reply {
        // Written out rather than through a tree of values, for the order of the fields.
        Reply::text(format!(
            "{{\"kind\":\"CredentialProviderResponse\",\"apiVersion\":\"{API_VERSION}\",\"cacheKeyType\":\"Registry\",\"cacheDuration\":\"{}\",\"auth\":{auth}}}\n",
            go_duration(life)
        ))
    }
}

impl Exchange for Provider {
    fn request(&self) -> &Request {
        &self.request
    }

    fn write(&self, issued: &IssuedToken<'_>) -> Reply {
        let (registry, token) = (json!(self.registry), json!(issued.token.expose()));
        let credential = format!("{{{registry}:{{\"username\":\"{USER}\",\"password\":{token}}}}}");
        Self::answer(issued.life, &credential)
    }

    fn refuse(&self, why: Refusal<'_>) -> Reply {
        match why {
            // Not to be remembered, since a profile may come to list the host.
            Refusal::NotMine => Self::answer(Duration::ZERO, "{}"),
            Refusal::Failed(error) => Reply::nothing(error.kind.exit_code()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::base::environment::Environment;
    use crate::base::error::Kind;
    use crate::process::flags::Options;

    fn read(input: &str) -> Result<Box<dyn Exchange>> {
        let call = Call {
            operands: &[],
            options: &Options::default(),
            environment: &Environment::default(),
            parse: |_, _| panic!("no words come with a request"),
        };
        (HOOK.read)(&call, input.as_bytes())
    }

    fn request(image: &str) -> String {
        format!("{{\"kind\":\"CredentialProviderRequest\",\"apiVersion\":\"{API_VERSION}\",\"image\":\"{image}\"}}\n")
    }

    fn text(reply: &Reply) -> &str {
        std::str::from_utf8(&reply.stdout).expect("UTF-8")
    }

    #[test]
    fn the_answer_has_what_the_kubelet_knows_and_nothing_else() {
        let token = Secret::new("t1.XXX".into());
        let issued = IssuedToken::new(&token, Timestamp(0));
        let exchange = read(&request("cr.yandex/crp0/app:1")).expect("read");
        let reply = exchange.write(&IssuedToken { life: Duration::from_secs(10_800), ..issued });
        assert_eq!(
            text(&reply),
            "{\"kind\":\"CredentialProviderResponse\",\"apiVersion\":\"credentialprovider.kubelet.k8s.io/v1\",\"cacheKeyType\":\"Registry\",\"cacheDuration\":\"3h0m0s\",\"auth\":{\"cr.yandex\":{\"username\":\"iam\",\"password\":\"t1.XXX\"}}}\n"
        );
        let refused = exchange.refuse(Refusal::NotMine);
        assert!(refused.code == 0 && text(&refused).ends_with("\"cacheDuration\":\"0s\",\"auth\":{}}\n"));
        let failed = exchange.refuse(Refusal::Failed(&Error::refused("no")));
        assert!(failed.code == 1 && failed.stdout.is_empty());
    }

    #[test]
    fn images_name_their_registry() {
        for (image, expected) in [
            ("cr.yandex/crp0/app:1", Some("cr.yandex")),
            ("cr.yandex/crp0/app@sha256:0123", Some("cr.yandex")),
            ("registry.example.com:5000/app", Some("registry.example.com:5000")),
            ("localhost/app", Some("localhost")),
            ("localhost:5000/app", Some("localhost:5000")),
            ("[::1]:5000/app", Some("[::1]:5000")),
            ("nginx", None),
            ("nginx:1.27", None),
            ("library/nginx", None),
            ("cr.yandex", None),
        ] {
            assert_eq!(registry(image), expected, "{image}");
        }
        for odd in ["user@cr.yandex/app", "https://cr.yandex/app", "cr.yandex./app", "cr.yandex:/app", "crп.yandex/app"]
        {
            let exchange = read(&request(odd)).expect("read");
            assert!(matches!(exchange.request().target, Some(Target::Unreadable)), "{odd}");
        }
    }

    #[test]
    fn durations_are_written_as_go_does() {
        let written = |seconds| go_duration(Duration::from_secs(seconds));
        assert_eq!(
            [written(0), written(45), written(60), written(3540), written(10_800), written(43_141)],
            ["0s", "45s", "1m0s", "59m0s", "3h0m0s", "11h59m1s"]
        );
    }

    #[test]
    fn a_service_accounts_token_is_handed_on_and_whatever_else_comes_is_not_read() {
        let subject = |more: &str| {
            let input = request("cr.yandex/app").replace("}\n", &format!("{more}}}\n"));
            match &read(&input).expect("read").request().resource {
                Resource::Token { subject } => subject.as_ref().map(|token| token.expose().to_owned()),
                Resource::AccessKey(_) => panic!("not a key"),
            }
        };
        assert_eq!(
            subject(r#","serviceAccountToken":"ey.x.y","serviceAccountAnnotations":{"a":"b"}"#),
            Some("ey.x.y".into())
        );
        for none in ["", r#","serviceAccountToken":"""#, r#","serviceAccountToken":null,"somethingNew":[1]"#] {
            assert_eq!(subject(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_no_request_is_refused_without_showing_it() {
        let beta = request("cr.yandex/app").replace("/v1\"", "/v1beta1\"");
        assert!(read(&beta).expect_err("refused").render().contains("v1beta1"));
        for input in [
            "",
            "hunter22",
            "{}",
            "[]",
            r#"{"kind":"hunter22"}"#,
            &request(""),
            &request("cr.yandex/app").replace(REQUEST, "CredentialProviderResponse"),
            &request("cr.yandex/app").replace("\"cr.yandex/app\"", "{\"hunter22\":1}"),
        ] {
            let error = read(input).expect_err("refused");
            assert!(error.kind == Kind::Usage && !error.render().contains("hunter22"), "{input}");
        }
    }
}
