//! The CronJob that renews an image pull secret, with the real kubectl.

use std::fs;

use serde_json::{Value, json};

use super::api_server::{API_TOKEN, ApiServer, NAMESPACE};
use super::manifests::{documents, of_kind, packaging, pod_of, rendered};
use super::pages::block;
use super::pod::Pod;
use crate::authority::Authority;
use crate::clients::client::assert_not_stored;
use crate::emulator::Config;
use crate::emulator::auth::TOKEN;
use crate::emulator::exchange::Algorithm;
use crate::harness::find;
use crate::world::World;

/// The namespace's Secret and Role, the cloud with a federated credential for the service account, and the Job's pod.
struct Cluster {
    world: World,
    authority: Authority,
    manifests: Vec<Value>,
    secret: Value,
    account: String,
    subject_token: String,
}

impl Cluster {
    fn new() -> Option<Cluster> {
        let (manifests, _) = rendered("pull-secret")?;
        let secret = fs::read_to_string(packaging("pull-secret/secret.yaml")).expect("the Secret");
        let secret = documents(&secret)?.remove(0);
        let world = World::without_profile(Config::default());
        let issuer = world.emulator.new_federation(Algorithm::Rs256);
        let account = world.emulator.new_service_account();
        let name = of_kind(&manifests, "ServiceAccount")["metadata"]["name"].as_str().expect("a name").to_owned();
        let subject = format!("system:serviceaccount:{NAMESPACE}:{name}");
        world.emulator.new_federated_credential(&issuer, &account, &subject);
        let subject_token = issuer.token(&subject);
        Some(Cluster { world, authority: Authority::new(), manifests, secret, account, subject_token })
    }

    fn api_server(&self, role: &Value) -> ApiServer {
        ApiServer::start(&self.authority, &self.secret, role)
    }

    fn role(&self) -> &Value {
        of_kind(&self.manifests, "Role")
    }

    fn pod(&self, api: &ApiServer) -> Option<Pod<'_>> {
        let spec = pod_of(of_kind(&self.manifests, "CronJob"));
        // A Job's pods have the manifest's labels and its service account's token.
        let service_account = of_kind(&self.manifests, "ServiceAccount");
        assert_eq!(spec["serviceAccountName"], service_account["metadata"]["name"]);
        let binding = of_kind(&self.manifests, "RoleBinding");
        assert_eq!(binding["roleRef"]["name"], self.role()["metadata"]["name"]);
        assert_eq!(binding["subjects"][0]["name"], spec["serviceAccountName"]);
        let pod = Pod::new(&self.world.sandbox, spec, &[], &self.subject_token)?;
        let mut pod = pod
            .env("YCRED_AUTH_URL", &self.world.emulator.auth_url())
            // In place of the manifest's placeholder.
            .env("YCRED_SERVICE_ACCOUNT_ID", &self.account)
            .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
            .env("KUBERNETES_SERVICE_PORT", &api.server.port().to_string());
        let files = [("token", API_TOKEN), ("namespace", NAMESPACE), ("ca.crt", &self.authority.pem())];
        let files = files.map(|(name, content)| (name.to_owned(), content.to_owned()));
        pod.mount("kube-api-access", "/var/run/secrets/kubernetes.io/serviceaccount", &files);
        Some(pod)
    }
}

#[test]
fn the_job_puts_a_token_for_each_registry_into_the_secret() {
    let Some(cluster) = Cluster::new() else { return };
    let api = cluster.api_server(cluster.role());
    let Some(pod) = cluster.pod(&api) else { return };
    pod.container("ycred").run().succeeds().stderr_is_empty().stdout_has("/tools: installed ycred");
    let run = pod.container("kubectl").run().succeeds().stderr_is_empty();
    run.stdout_has("secret/ycred-pull-secret patched");

    let config = api.docker_config();
    let (world, token) = (&cluster.world, cluster.world.last_token());
    assert_eq!(world.emulator.subject_of(&token).as_ref(), Some(&cluster.account));
    assert_eq!(world.emulator.requests(TOKEN), 1, "one request for both registries");
    let registries: Vec<&String> = config["auths"].as_object().expect("auths").keys().collect();
    assert_eq!(registries, ["cr.yandex", "registry.yandexcloud.net"]);
    let file = world.sandbox.file("work/auth.json", config.to_string());
    for registry in &registries {
        use base64::Engine as _;
        let auth = config["auths"][registry]["auth"].as_str().expect("a string");
        let pair = base64::engine::general_purpose::STANDARD.decode(auth).expect("base64");
        assert_eq!(String::from_utf8(pair).expect("UTF-8"), format!("iam:{token}"));
        // A program that pulls images can read it.
        if let Some(skopeo) = find("skopeo") {
            let call = world.sandbox.call(skopeo, ["login", "--get-login", "--authfile"]).and([&file]);
            call.and([registry]).run().succeeds().stdout_is("iam\n");
        }
    }
    assert_eq!(
        api.requests_for_secrets(),
        ["GET", "PATCH"].map(|method| format!("{method} /api/v1/namespaces/{NAMESPACE}/secrets/ycred-pull-secret"))
    );
    // The token is in the Secret and in the volume that stays in memory, and nowhere else.
    fs::remove_file(file).expect("removed");
    for volume in ["work", "tools"] {
        fs::remove_dir_all(pod.volume(volume)).expect("removed");
    }
    assert_not_stored(&world.sandbox, &token);
}

#[test]
fn the_job_needs_every_verb_of_its_role_and_no_other() {
    let Some(cluster) = Cluster::new() else { return };
    for missing in ["get", "patch"] {
        let mut role = cluster.role().clone();
        let verbs = role["rules"][0]["verbs"].as_array_mut().expect("verbs");
        verbs.retain(|verb| verb != missing);
        assert_eq!(verbs.len(), 1);
        let api = cluster.api_server(&role);
        let Some(pod) = cluster.pod(&api) else { return };
        pod.container("ycred").run().succeeds();
        pod.container("kubectl").run().fails().stderr_has("Forbidden");
        assert_eq!(api.docker_config(), json!({"auths": {}}));
        fs::remove_dir_all(cluster.world.sandbox.path("caches/volumes")).expect("removed");
    }
    assert_eq!(cluster.role()["rules"].as_array().map(Vec::len), Some(1));
    assert_eq!(cluster.role()["rules"][0]["resourceNames"], json!(["ycred-pull-secret"]));
}

#[test]
fn if_no_token_can_be_obtained_the_job_fails_with_the_reason_and_the_secret_stays() {
    let Some(cluster) = Cluster::new() else { return };
    let api = cluster.api_server(cluster.role());
    let Some(pod) = cluster.pod(&api) else { return };
    // The cloud has no federated credential for this account.
    let stranger = cluster.world.emulator.new_service_account();
    let pod = pod.env("YCRED_SERVICE_ACCOUNT_ID", &stranger);
    pod.container("ycred").run().succeeds();
    let run = pod.container("kubectl").run().exits(1).stderr_has("ycred: error: ");
    assert!(run.stderr_has("system:serviceaccount:team:ycred-pull-secret").stdout.is_empty());
    // A registry that the token must not be sent to.
    let pod = pod.env("YCRED_SERVICE_ACCOUNT_ID", &cluster.account).env("REGISTRIES", "cr.yandex registry.example.com");
    pod.container("kubectl").run().exits(2).stderr_has("registry.example.com");
    assert_eq!(api.docker_config(), json!({"auths": {}}));
    assert_eq!(api.requests_for_secrets(), Vec::<String>::new());
}

#[test]
fn with_the_script_of_the_page_the_job_renews_a_password_for_argo_cd() {
    let Some(mut cluster) = Cluster::new() else { return };
    cluster.secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "my-registry"},
        "type": "Opaque", "data": {"username": "aWFt"}});
    for manifest in &mut cluster.manifests {
        if manifest["kind"] == "Role" {
            manifest["rules"][0]["resourceNames"] = json!(["my-registry"]);
        } else if manifest["kind"] == "CronJob" {
            let template = &mut manifest["spec"]["jobTemplate"]["spec"]["template"];
            template["spec"]["containers"][0]["args"] = json!([block("argo-cd", "sh")]);
        }
    }
    let api = cluster.api_server(cluster.role());
    let Some(pod) = cluster.pod(&api) else { return };
    pod.container("ycred").run().succeeds();
    pod.container("kubectl").run().succeeds().stderr_is_empty().stdout_has("secret/my-registry patched");
    assert_eq!((api.value("username"), api.value("password")), ("iam".to_owned(), cluster.world.last_token()));
}
