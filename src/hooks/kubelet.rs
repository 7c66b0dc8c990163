//! `kubelet`: the image credential provider of the kubelet, version v1, with or without a service account's token.
//!
//! Sources: <https://kubernetes.io/docs/reference/config-api/kubelet-credentialprovider.v1/>; kubernetes
//! `pkg/credentialprovider/plugin/plugin.go`. The kubelet silently drops a reply with an unknown field. On failure it
//! logs stderr and pulls without credentials.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use crate::base::error::{Error, Result};
use crate::base::hosts::Host;
use crate::base::secret::Secret;
use crate::hooks::protocol::{Call, Exchange, Framing, Hook, IssuedToken, Refusal, Request, Target};
use crate::process::Reply;
use crate::process::flags::Example;
use crate::process::stdin::RequestEnd;
use crate::sources::Resource;

pub const HOOK: Hook = Hook {
    examples: &[
        Example { call: "ycred kubelet < request.json", about: "print the credentials for an image" },
        Example { call: "ycred kubelet --profile node < request.json", about: "print them with a token of `node`" },
    ],
    // The kubelet kills a provider after one minute.
    client_timeout: Some(Duration::from_secs(50)),
    names_host: true,
    is_run_by_service: true,
    ..Hook::new("kubelet", "image credential provider for the kubelet (v1)", framing, read)
};

const API_VERSION: &str = "credentialprovider.kubelet.k8s.io/v1";
const REQUEST: &str = "CredentialProviderRequest";
const USER: &str = "iam";

fn framing(_: &Call<'_>) -> Framing {
    Framing::One(RequestEnd::JsonObject)
}

fn read(_: &Call<'_>, input: &[u8]) -> Result<Box<dyn Exchange>> {
    // Do not show the request: it may contain a service account's token.
    let request: WireRequest =
        serde_json::from_slice(input).map_err(|_| invalid(format!("is not a {REQUEST} in JSON")))?;
    if request.kind != REQUEST {
        return Err(invalid(format!("has a kind other than {REQUEST}")));
    }
    if request.api_version != API_VERSION {
        return Err(Error::usage(format!(
            "the kubelet requested apiVersion \"{}\", but ycred supports only {API_VERSION}",
            request.api_version
        ))
        .hint(format!("in the kubelet's CredentialProviderConfig, set the provider's apiVersion: {API_VERSION}")));
    }
    if request.image.is_empty() {
        return Err(invalid("does not name an image".to_owned()));
    }
    let registry = registry(&request.image).unwrap_or_default().to_owned();
    let subject = request.service_account_token.filter(|token| !token.expose().is_empty());
    let target = Host::parse(&registry).map_or(Target::Unreadable, Target::Host);
    let request = Request { target: Some(target), resource: Resource::Token { subject }, ..Request::default() };
    Ok(Box::new(Provider { registry, request }))
}

fn invalid(why: String) -> Error {
    Error::usage(format!("the request on stdin {why}"))
        .hint("the kubelet sends this request; to print a token, run `ycred token`")
}

/// The kubelet's request. Unknown fields are ignored, and so are the annotations of the service account: profile and
/// subject determine the token.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireRequest {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    image: String,
    /// The token of the pod that the image is for. Present if the kubelet's configuration has `tokenAttributes`.
    service_account_token: Option<Secret>,
}

/// Returns the registry part of an image reference, or `None` for Docker Hub's short names (`nginx`, `library/nginx`).
/// The first part is a registry if it has a dot or a port, or is `localhost` (distribution/reference,
/// `splitDockerDomain`).
fn registry(image: &str) -> Option<&str> {
    let (first, _) = image.split_once('/')?;
    // These characters would end the host in a URL.
    (!first.contains(['?', '#'])).then_some(())?;
    (first == "localhost" || first.contains(['.', ':'])).then_some(first)
}

/// Formats whole seconds as Go's `time.Duration` does: `3h0m0s`, `59m0s`, `45s`, `0s`.
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
    /// Returns a response that the kubelet caches for this long under the registry's name. That is safe even with a
    /// service account's token: the kubelet separates service accounts itself (`generateCacheKey`).
    fn response(cache_duration: Duration, auth: &str) -> Reply {
        // A format string keeps the fields in this order.
        Reply::text(format!(
            "{{\"kind\":\"CredentialProviderResponse\",\"apiVersion\":\"{API_VERSION}\",\"cacheKeyType\":\"Registry\",\"cacheDuration\":\"{}\",\"auth\":{auth}}}\n",
            go_duration(cache_duration)
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
        Self::response(issued.valid_for, &credential)
    }

    fn decline(&self, why: Refusal<'_>) -> Reply {
        match why {
            // Not cached: the profile may list the host later.
            Refusal::HostNotAllowed => Self::response(Duration::ZERO, "{}"),
            Refusal::Failed(error) => Reply::nothing(error.kind.exit_code()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::base::error::Kind;
    use crate::hooks::protocol::tests as protocol_tests;

    fn read(input: &str) -> Result<Box<dyn Exchange>> {
        protocol_tests::read(&HOOK, &[], &[], input)
    }

    fn request(image: &str) -> String {
        format!("{{\"kind\":\"CredentialProviderRequest\",\"apiVersion\":\"{API_VERSION}\",\"image\":\"{image}\"}}\n")
    }

    fn text(reply: &Reply) -> &str {
        std::str::from_utf8(&reply.stdout).expect("UTF-8")
    }

    #[test]
    fn the_response_has_exactly_the_known_fields() {
        let token = Secret::new("t1.XXX".into());
        let issued = IssuedToken::new(&token, Timestamp(0));
        let exchange = read(&request("cr.yandex/crp0/app:1")).expect("read");
        let reply = exchange.write(&IssuedToken { valid_for: Duration::from_secs(10_800), ..issued });
        assert_eq!(
            text(&reply),
            "{\"kind\":\"CredentialProviderResponse\",\"apiVersion\":\"credentialprovider.kubelet.k8s.io/v1\",\"cacheKeyType\":\"Registry\",\"cacheDuration\":\"3h0m0s\",\"auth\":{\"cr.yandex\":{\"username\":\"iam\",\"password\":\"t1.XXX\"}}}\n"
        );
        let refused = exchange.decline(Refusal::HostNotAllowed);
        assert!(refused.code == 0 && text(&refused).ends_with("\"cacheDuration\":\"0s\",\"auth\":{}}\n"));
        let failed = exchange.decline(Refusal::Failed(&Error::refused("no")));
        assert!(failed.code == 1 && failed.stdout.is_empty());
    }

    #[test]
    fn the_registry_is_read_from_the_image() {
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
    fn durations_are_formatted_as_in_go() {
        let format = |seconds| go_duration(Duration::from_secs(seconds));
        assert_eq!(
            [format(0), format(45), format(60), format(3540), format(10_800), format(43_141)],
            ["0s", "45s", "1m0s", "59m0s", "3h0m0s", "11h59m1s"]
        );
    }

    #[test]
    fn a_service_accounts_token_is_used_and_unknown_fields_are_ignored() {
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
    fn an_invalid_request_is_rejected_and_not_shown() {
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
