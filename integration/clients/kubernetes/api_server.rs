//! An API server with one Secret, which grants exactly what a Role grants.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use serde_json::{Value, json};

use crate::authority::Authority;
use crate::clients::test_server::{TestServer, json_response, lock};
use crate::server::{Request, Response};

pub const NAMESPACE: &str = "team";
/// The token of the pod's service account for the API server.
pub const API_TOKEN: &str = "api-server-token-of-the-service-account";

/// The server, and the Secret as it is now.
pub struct ApiServer {
    pub server: TestServer,
    secret: Arc<Mutex<Value>>,
}

impl ApiServer {
    /// Starts a server with this Secret. `role` is the Role of the holder of [`API_TOKEN`].
    pub fn start(authority: &Authority, secret: &Value, role: &Value) -> ApiServer {
        let secret = Arc::new(Mutex::new(secret.clone()));
        let rules = role["rules"].clone();
        let server = TestServer::tls(authority, {
            let secret = Arc::clone(&secret);
            move |request| respond(request, &rules, &mut lock(&secret))
        });
        ApiServer { server, secret }
    }

    /// Returns the value of a key of the Secret.
    pub fn value(&self, key: &str) -> String {
        let encoded = lock(&self.secret)["data"][key].as_str().expect("a string").to_owned();
        String::from_utf8(base64::engine::general_purpose::STANDARD.decode(encoded).expect("base64")).expect("UTF-8")
    }

    /// Returns the Secret's `.dockerconfigjson`.
    pub fn docker_config(&self) -> Value {
        serde_json::from_str(&self.value(".dockerconfigjson")).expect("JSON")
    }

    /// Returns the method and the path of every request for a Secret.
    pub fn requests_for_secrets(&self) -> Vec<String> {
        let requests = self.server.requests();
        let secrets = requests.iter().filter(|request| request.path.contains("/secrets"));
        secrets.map(|request| format!("{} {}", request.method, request.path)).collect()
    }
}

fn status(code: u16, reason: &str) -> Response {
    json_response(
        code,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason,
            "message": format!("{reason}, says the test"), "code": code}),
    )
}

fn respond(request: &Request, rules: &Value, secret: &mut Value) -> Response {
    if request.bearer() != Some(API_TOKEN) {
        return status(401, "Unauthorized");
    }
    match request.path.as_str() {
        // What every authenticated user may read (system:discovery).
        "/version" => json_response(200, json!({"major": "1", "minor": "34", "gitVersion": "v1.34.1"})),
        "/api" => json_response(200, json!({"kind": "APIVersions", "versions": ["v1"]})),
        "/apis" => json_response(200, json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": []})),
        "/api/v1" => json_response(
            200,
            json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": [
                {"name": "secrets", "singularName": "secret", "namespaced": true, "kind": "Secret",
                 "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"]}]}),
        ),
        path => {
            let Some(name) = path.strip_prefix(&format!("/api/v1/namespaces/{NAMESPACE}/secrets")) else {
                return status(404, "NotFound");
            };
            let name = name.trim_start_matches('/');
            let verb = match (request.method.as_str(), name) {
                ("GET", "") => "list",
                ("GET", _) => "get",
                ("PATCH", _) => "patch",
                _ => "another verb",
            };
            if !is_granted(rules, verb, name) {
                return status(403, "Forbidden");
            }
            if secret["metadata"]["name"] != name {
                return status(404, "NotFound");
            }
            if verb == "patch" {
                let body: Value = serde_json::from_slice(&request.body).expect("kubectl sends JSON");
                assert_eq!(request.header("content-type"), Some("application/strategic-merge-patch+json"));
                merge(secret, &body);
                let data = secret["data"].as_object().expect("an object");
                // Only the values of this type of Secret must be JSON.
                let is_docker_config = secret["type"] == "kubernetes.io/dockerconfigjson";
                let is_valid = data.values().all(|value| {
                    let decoded = base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap_or("-"));
                    decoded.is_ok_and(|bytes| !is_docker_config || serde_json::from_slice::<Value>(&bytes).is_ok())
                });
                if !is_valid {
                    return status(422, "Invalid");
                }
            }
            json_response(200, secret.clone())
        }
    }
}

/// RBAC for the core API group.
fn is_granted(rules: &Value, verb: &str, name: &str) -> bool {
    let has = |list: &Value, item: &str| list.as_array().into_iter().flatten().any(|it| it == item || it == "*");
    rules.as_array().into_iter().flatten().any(|rule| {
        has(&rule["apiGroups"], "")
            && has(&rule["resources"], "secrets")
            && has(&rule["verbs"], verb)
            && (rule["resourceNames"].is_null() || has(&rule["resourceNames"], name))
    })
}

/// A strategic merge of objects without lists.
fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}
