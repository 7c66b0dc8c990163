//! `kubectl`: the exec credential plugin of client-go (kubectl, helm, k9s, the Terraform providers for Kubernetes).
//!
//! Specification: <https://kubernetes.io/docs/reference/config-api/client-authentication.v1/>.
//!
//! * The reply has the same `apiVersion` as the request. Clients that are too old to send a request use v1beta1.
//! * The reply always has an `expirationTimestamp`. Without it, client-go would use the token until its process ends.
//! * On failure, stdout has a `metav1.Status`, which newer clients show.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::base::environment::KUBERNETES_EXEC_INFO;
use crate::base::error::{Error, Kind, Result};
use crate::hooks::protocol::{Call, Exchange, Framing, Hook, IssuedToken, Refusal, Request};
use crate::process::Reply;
use crate::process::flags::Example;

pub const HOOK: Hook = Hook {
    examples: &[
        Example { call: "ycred kubectl", about: "print an ExecCredential" },
        Example { call: "ycred kubectl --profile prod", about: "print one with a token of `prod`" },
    ],
    answer_unreadable,
    ..Hook::new("kubectl", "credential plugin for kubectl, helm and k9s (ExecCredential v1, v1beta1)", framing, read)
};

const GROUP: &str = "client.authentication.k8s.io/";
const OLDEST: &str = "client.authentication.k8s.io/v1beta1";

fn framing(_: &Call<'_>) -> Framing {
    Framing::None
}

fn read(call: &Call<'_>, _: &[u8]) -> Result<Box<dyn Exchange>> {
    let text = call.environment.text(KUBERNETES_EXEC_INFO).map_err(|_| invalid("is not valid UTF-8"))?;
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
        return Ok(Box::new(Plugin { api_version: OLDEST.into(), interactive: false, request: Request::default() }));
    };
    let info: ExecInfo = serde_json::from_str(text).map_err(|_| invalid("is not an ExecCredential in JSON"))?;
    if info.kind != "ExecCredential" {
        return Err(invalid("has a kind other than ExecCredential"));
    }
    if !matches!(info.api_version.strip_prefix(GROUP), Some("v1" | "v1beta1")) {
        return Err(Error::usage(format!(
            "kubectl requested apiVersion \"{}\", but ycred supports only {GROUP}v1 and v1beta1",
            info.api_version
        ))
        .hint(format!("in the kubeconfig, set apiVersion: {GROUP}v1 in the user's exec section")));
    }
    let profile = info.spec.cluster.as_ref().map(Cluster::profile).transpose()?.flatten();
    Ok(Box::new(Plugin {
        api_version: info.api_version,
        interactive: info.spec.interactive,
        request: Request { profile, ..Request::default() },
    }))
}

fn answer_unreadable(_: &Call<'_>, error: &Error) -> Reply {
    status(error)
}

fn invalid(why: &str) -> Error {
    // Do not show the value: its cluster `config` may contain a secret.
    Error::usage(format!("{KUBERNETES_EXEC_INFO} {why}"))
        .hint("kubectl sets this variable; to print a token, run `ycred token`")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecInfo {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Spec {
    interactive: bool,
    /// Present only with `provideClusterInfo: true`.
    cluster: Option<Cluster>,
}

#[derive(Deserialize)]
struct Cluster {
    /// The cluster extension `client.authentication.k8s.io/exec` of the kubeconfig. It is the user's, and may have any
    /// contents.
    #[serde(default)]
    config: Value,
}

impl Cluster {
    /// Returns the profile that the extension names.
    ///
    /// A name that is not a string is an error: if ycred ignored it, it would use the account of another profile.
    fn profile(&self) -> Result<Option<String>> {
        match self.config.get("profile") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(name)) => Ok(Some(name.clone())),
            Some(_) => Err(Error::usage("the cluster's exec extension has a `profile` that is not a string")
                .hint("in the kubeconfig, write the cluster's profile in quotes")),
        }
    }
}

#[derive(Debug)]
struct Plugin {
    api_version: String,
    interactive: bool,
    request: Request,
}

impl Exchange for Plugin {
    fn request(&self) -> &Request {
        &self.request
    }

    fn write(&self, issued: &IssuedToken<'_>) -> Reply {
        // A format string keeps the fields in this order.
        Reply::text(format!(
            "{{\"kind\":\"ExecCredential\",\"apiVersion\":{},\"spec\":{{\"interactive\":{}}},\"status\":{{\"expirationTimestamp\":\"{}\",\"token\":{}}}}}\n",
            json!(self.api_version),
            self.interactive,
            issued.expires,
            json!(issued.token.expose())
        ))
    }

    fn decline(&self, why: Refusal<'_>) -> Reply {
        match why {
            Refusal::Failed(error) => status(error),
            Refusal::HostNotAllowed => Reply::nothing(0),
        }
    }
}

/// Returns the error as a `metav1.Status`
/// (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/>).
fn status(error: &Error) -> Reply {
    let (reason, code) = match error.kind {
        Kind::Refused => ("Unauthorized", 401),
        Kind::Unavailable => ("ServiceUnavailable", 503),
        Kind::Usage | Kind::Profile => ("BadRequest", 400),
        Kind::Internal => ("InternalError", 500),
    };
    let message = match error.hint_text() {
        Some(hint) => format!("{} ({hint})", error.reason()),
        None => error.reason(),
    };
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": format!("ycred: {message}"), "reason": reason, "code": code});
    Reply::json(&status).with_code(error.kind.exit_code())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::base::environment::Environment;
    use crate::base::secret::Secret;
    use crate::process::flags::Options;

    fn read(info: Option<&str>) -> Result<Box<dyn Exchange>> {
        let environment = Environment::new(info.map(|info| (KUBERNETES_EXEC_INFO.into(), info.into())));
        (HOOK.read)(
            &Call {
                operands: &[],
                options: &Options::default(),
                environment: &environment,
                parse: |_, _| panic!("the request has no arguments"),
            },
            b"",
        )
    }

    fn reply(info: Option<&str>) -> String {
        let token = Secret::new("t1.XXX".into());
        let reply = read(info).map(|plugin| plugin.write(&IssuedToken::new(&token, Timestamp(1_787_421_600_000))));
        String::from_utf8(reply.map(|reply| reply.stdout.to_vec()).unwrap_or_default()).expect("UTF-8")
    }

    #[test]
    fn the_reply_has_the_version_of_the_request() {
        let info = |version: &str| {
            format!(
                "{{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/{version}\",\"spec\":{{\"interactive\":false}}}}\n"
            )
        };
        assert_eq!(
            reply(Some(&info("v1"))),
            "{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\"spec\":{\"interactive\":false},\"status\":{\"expirationTimestamp\":\"2026-08-22T18:00:00Z\",\"token\":\"t1.XXX\"}}\n"
        );
        assert!(reply(Some(&info("v1beta1"))).contains("/v1beta1\""));
        assert!(reply(None).contains("/v1beta1\""), "only old clients send no request");
    }

    #[test]
    fn a_cluster_can_name_its_profile() {
        let info = |config: &str| {
            format!(
                r#"{{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{{"cluster":{{"server":"https://x","insecure-skip-tls-verify":true,"config":{config}}},"interactive":true}}}}"#
            )
        };
        let profile = |config: &str| read(Some(&info(config))).expect("read").request().profile.clone();
        assert_eq!(profile(r#"{"audience":"abc","profile":"prod"}"#).as_deref(), Some("prod"));
        for other in ["null", "{}", "[1]", "\"x\"", r#"{"profile":null}"#] {
            assert_eq!(profile(other), None, "{other}");
        }
        for wrong in [r#"{"profile":7}"#, r#"{"profile":["prod"]}"#, r#"{"profile":{}}"#] {
            let error = read(Some(&info(wrong))).expect_err("refused");
            assert!(error.render().contains("a `profile` that is not a string"), "{wrong}");
        }
    }

    #[test]
    fn an_invalid_request_is_rejected_and_not_shown() {
        for info in [
            "hunter22",
            "{}",
            r#"{"kind":"Pod"}"#,
            r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1alpha1"}"#,
        ] {
            let error = read(Some(info)).expect_err("refused");
            assert!(error.kind == Kind::Usage && !error.render().contains("hunter22"));
        }
    }

    #[test]
    fn a_failure_is_a_status() {
        let reply = status(&Error::refused("no\nway").hint("ask"));
        assert_eq!(reply.code, 1);
        let value: serde_json::Value = serde_json::from_slice(&reply.stdout).expect("JSON");
        assert_eq!(
            (&value["kind"], &value["status"], &value["code"]),
            (&json!("Status"), &json!("Failure"), &json!(401))
        );
        assert_eq!(value["message"], "ycred: no way (ask)");
    }
}
