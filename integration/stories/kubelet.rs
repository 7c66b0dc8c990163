//! The image credential provider for the kubelet.
//!
//! A stand-in for the kubelet reads the configuration in `packaging/`, runs the provider and parses its response like
//! kubernetes' `pkg/credentialprovider/plugin/plugin.go`. Like the kubelet, it rejects unknown fields.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::emulator::auth::TOKEN;
use crate::emulator::exchange::Algorithm;
use crate::emulator::faults::Fault;
use crate::emulator::{Config, TOKENS};
use crate::expect::{fails_with, fails_with_hint};
use crate::harness::waiting::{HOUR, MINUTE};
use crate::harness::{Call, Run, Sandbox, run_all};
use crate::packages;
use crate::world::World;
use ycred::hooks::HOOKS as TABLE;

const API_VERSION: &str = "credentialprovider.kubelet.k8s.io/v1";

/// kubelet `config/v1` `CredentialProviderConfig`, parsed as strictly as the kubelet does.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ProviderConfig {
    api_version: String,
    kind: String,
    providers: Vec<Provider>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Provider {
    name: String,
    match_images: Vec<String>,
    default_cache_duration: String,
    api_version: String,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<Variable>,
    token_attributes: Option<TokenAttributes>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Variable {
    name: String,
    value: String,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TokenAttributes {
    service_account_token_audience: String,
    cache_type: String,
    require_service_account: bool,
}

/// kubelet `credentialprovider/v1` `CredentialProviderResponse`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Response {
    kind: String,
    api_version: String,
    cache_key_type: String,
    cache_duration: String,
    auth: BTreeMap<String, Auth>,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Auth {
    username: String,
    password: String,
}

/// Parses a response as the kubelet does. Returns the cache duration and the credentials.
#[track_caller]
fn parse_response(run: &Run) -> (Duration, BTreeMap<String, Auth>) {
    let response: Response = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{run}"));
    assert_eq!((response.kind.as_str(), response.api_version.as_str()), ("CredentialProviderResponse", API_VERSION));
    assert_eq!(response.cache_key_type, "Registry", "{run}");
    (go_duration(&response.cache_duration), response.auth)
}

/// The password for the only registry in the response.
#[track_caller]
fn password(run: &Run, registry: &str) -> String {
    let (_, mut auth) = parse_response(run);
    let credential = auth.remove(registry).unwrap_or_else(|| panic!("no credential for {registry}\n{run}"));
    assert_eq!((credential.username.as_str(), auth.len()), ("iam", 0), "{run}");
    credential.password
}

/// Go's `time.ParseDuration`, for whole hours, minutes and seconds.
#[track_caller]
fn go_duration(duration: &str) -> Duration {
    let (mut total, mut number) = (0, String::new());
    for character in duration.chars() {
        match character {
            '0'..='9' => number.push(character),
            unit => {
                let factor = ["s", "m", "h"].iter().position(|known| *known == unit.to_string());
                let factor = 60_u64.pow(factor.unwrap_or_else(|| panic!("{duration:?}")).try_into().expect("small"));
                total += number.parse::<u64>().unwrap_or_else(|error| panic!("{error}: {duration:?}")) * factor;
                number.clear();
            }
        }
    }
    assert!(number.is_empty() && !duration.is_empty(), "{duration:?} ends without a unit");
    Duration::from_secs(total)
}

/// A request as the kubelet encodes it.
fn request(image: &str, token: Option<&str>) -> String {
    let mut request = json!({"kind": "CredentialProviderRequest", "apiVersion": API_VERSION, "image": image});
    if let Some(token) = token {
        request["serviceAccountToken"] = token.into();
        request["serviceAccountAnnotations"] = json!({"example.com/team": "red"});
    }
    format!("{request}\n")
}

impl World {
    fn kubelet(&self, image: &str, token: Option<&str>) -> Call {
        self.sandbox.ycred(["kubelet"]).stdin(request(image, token))
    }
}

const IMAGE: &str = "cr.yandex/crp0000000000000000/app:1";

// ------------------------------------------------------------------------------------------------------------ the hook

#[test]
fn the_nodes_token_is_for_the_images_registry_until_it_expires() {
    let world = World::new();
    world.emulator.set(|settings| settings.life = 3 * HOUR);
    let run = world.kubelet(IMAGE, None).run().exits(0).stderr_is_empty();
    let token = world.emulator.tokens()[0].clone();
    assert_eq!(password(&run, "cr.yandex"), token);
    let (duration, _) = parse_response(&run);
    assert!(duration <= 3 * HOUR - MINUTE + Duration::from_secs(1) && duration > 2 * HOUR + 58 * MINUTE, "{run}");
    world.age(2 * HOUR);
    let run = world.kubelet("cr.yandex/other@sha256:0123", None).run().exits(0).stderr_is_empty();
    assert_eq!(password(&run, "cr.yandex"), token);
    assert!(parse_response(&run).0 < HOUR, "expected the remaining lifetime\n{run}");
    assert_eq!(world.emulator.calls(), 1);
}

#[test]
fn the_kubelet_does_not_cache_a_token_beyond_its_expiry() {
    let world = World::new();
    let token = world.get();
    world.emulator.fault(Fault::refuse(503).retry_after(50));
    world.age(12 * HOUR - Duration::from_secs(40));
    let run = world.kubelet(IMAGE, None).run().exits(0);
    assert_eq!(password(&run, "cr.yandex"), token);
    assert!(parse_response(&run).0 <= Duration::from_secs(21), "{run}");
    assert_eq!(run.lines_of_stderr("ycred: warning: ").len(), 1, "{run}");
}

#[test]
fn images_of_other_registries_get_an_empty_response_without_a_request() {
    let world = World::new();
    for image in [
        "nginx",
        "library/nginx:1.27",
        "docker.io/library/nginx",
        "registry.example.com/app",
        "cr.yandex.evil.example/app",
        "cr.yandex:5000/app",
        "user@cr.yandex/app",
        "cr.yandex./app",
    ] {
        let run = world.kubelet(image, None).run().exits(0).stderr_is_empty();
        assert_eq!(parse_response(&run), (Duration::ZERO, BTreeMap::new()), "{image}");
    }
    fs::write(world.sandbox.path("config/default.toml"), "no profile").expect("a broken profile");
    let run = world.kubelet("nginx", None).run().exits(0).stderr_is_empty();
    assert!(parse_response(&run).1.is_empty(), "{run}");
    fails_with(world.kubelet(IMAGE, None).run(), 3, &["default.toml"]);
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn a_custom_registry_is_keyed_with_its_port() {
    let world = World::new();
    world.configure("hosts = \"registry.example.com:5000\"");
    let run = world.kubelet("registry.example.com:5000/team/app:1", None).run().exits(0).stderr_is_empty();
    assert_eq!(password(&run, "registry.example.com:5000"), world.emulator.tokens()[0]);
}

#[test]
fn a_rejection_is_on_stderr_and_stdout_is_empty() {
    let world = World::new();
    world.emulator.fault(Fault::refuse(401).message("The key was deleted"));
    fails_with(world.kubelet(IMAGE, None).run(), 1, &["profile default: ", "The key was deleted"]);
}

#[test]
fn anything_but_a_version_1_request_is_rejected() {
    let world = World::new();
    let call = |input: String| world.sandbox.ycred(["kubelet"]).stdin(input).run();
    for input in ["", "no JSON", "{}", "[]", r#"{"kind":"Pod"}"#] {
        fails_with_hint(call(input.to_owned()), 2, &["the request on stdin"], "ycred token");
    }
    let beta = request(IMAGE, None).replace("/v1\"", "/v1beta1\"");
    fails_with_hint(call(beta), 2, &["v1beta1"], "CredentialProviderConfig");
    let long = request(&format!("cr.yandex/{}", "x".repeat(65 * 1024)), None);
    fails_with(call(long), 2, &["larger than 65536 bytes"]);
    fails_with(world.sandbox.ycred(["kubelet", "run"]).run(), 2, &["takes no arguments"]);
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn a_profile_path_works_without_home_and_other_variables() {
    let world = World::new();
    let profile = world.sandbox.path("config/default.toml");
    let call = |image: &str| {
        let call =
            world.sandbox.ycred(["kubelet", "--profile", profile.to_str().expect("UTF-8")]).stdin(request(image, None));
        ["HOME", "LANG", "TMPDIR", "YCRED_CONFIG_DIR", "YCRED_STATE_DIR"]
            .iter()
            .fold(call, |call, name| call.without(name))
    };
    let first = call(IMAGE).run().exits(0).stderr_is_empty();
    assert_eq!(password(&call(IMAGE).run().exits(0).stderr_is_empty(), "cr.yandex"), password(&first, "cr.yandex"));
    assert_eq!(world.emulator.calls(), 1);
}

// -------------------------------------------------------------------------------------------- service accounts' tokens

#[test]
fn each_service_account_pulls_with_its_own_token_and_record() {
    let world = World::without_profile(Config::default());
    let issuer = world.emulator.new_federation(Algorithm::Rs256);
    let account = world.emulator.new_service_account();
    let subjects = ["system:serviceaccount:red:app", "system:serviceaccount:blue:app"];
    for subject in subjects {
        world.emulator.new_federated_credential(&issuer, &account, subject);
    }
    // The profile has no source of subject tokens: each request supplies one.
    world.sandbox.profile(
        "default",
        &format!(
            "source = \"workload\"\nservice-account-id = \"{account}\"\nauth-url = \"{}\"\n",
            world.emulator.auth_url()
        ),
    );
    let pull = |subject: &str| world.kubelet(IMAGE, Some(&issuer.token(subject))).run();
    let first = subjects.map(|subject| password(&pull(subject).exits(0).stderr_is_empty(), "cr.yandex"));
    assert_ne!(first[0], first[1]);
    let again = subjects.map(|subject| password(&pull(subject).exits(0).stderr_is_empty(), "cr.yandex"));
    assert_eq!(again, first, "another token of the same account");
    assert_eq!(world.emulator.requests(TOKEN), 2);
    assert_eq!(world.records().len(), 2);

    let stranger = "system:serviceaccount:green:app";
    let presented = issuer.token(stranger);
    let run = world.kubelet(IMAGE, Some(&presented)).run();
    assert!(!run.stderr.contains(&presented), "{run}");
    fails_with_hint(run, 1, &["no federated credential"], stranger);
    // A static pod has no service account.
    fails_with(world.kubelet(IMAGE, None).run(), 3, &["or a client that sends a subject token"]);
}

#[test]
fn a_profile_that_cannot_use_a_service_accounts_token_rejects_the_request() {
    let world = World::new();
    let token = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4Iiwic3ViIjoieSJ9.c2lnbmF0dXJl";
    let run = world.kubelet(IMAGE, Some(token)).run();
    let expected = ["profile default: the request contains a service account token, but source \"authorized-key\""];
    fails_with_hint(run, 3, &expected, "tokenAttributes");
    let run = world.kubelet("nginx", Some(token)).run().exits(0).stderr_is_empty();
    assert!(parse_response(&run).1.is_empty(), "another registry gets an empty response\n{run}");
    password(&world.kubelet(IMAGE, Some("")).run().exits(0).stderr_is_empty(), "cr.yandex");
    assert_eq!(world.emulator.calls(), 1);
}

// ------------------------------------------------------------------------------------------------------- shipped files

fn packaging(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/kubernetes/kubelet").join(file)
}

/// A file's YAML documents as JSON.
#[track_caller]
fn yaml(path: &Path) -> Option<Vec<Value>> {
    let python = packages::python(&["PyYAML==6.0.3"])?.join("python");
    let script = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let run =
        Sandbox::new().call(python, ["-c", script, path.to_str().expect("UTF-8")]).run().succeeds().stderr_is_empty();
    Some(serde_json::from_str(&run.stdout).expect("JSON"))
}

/// The only provider in a shipped configuration. Checks the fields that the kubelet validates.
#[track_caller]
fn provider(file: &str) -> Option<Provider> {
    let documents = yaml(&packaging(file))?;
    let [document] = documents.as_slice() else { panic!("{file} has {} documents", documents.len()) };
    let config: ProviderConfig =
        serde_json::from_value(document.clone()).unwrap_or_else(|error| panic!("{file}: {error}"));
    assert_eq!(
        (config.api_version.as_str(), config.kind.as_str()),
        ("kubelet.config.k8s.io/v1", "CredentialProviderConfig")
    );
    let [provider] = config.providers.as_slice() else { panic!("{file} has {} providers", config.providers.len()) };
    assert_eq!(provider.api_version, API_VERSION);
    assert!(go_duration(&provider.default_cache_duration) > Duration::ZERO);
    assert!(TABLE.iter().any(|protocol| provider.args.first().is_some_and(|name| name == protocol.name)));
    Some(provider.clone())
}

/// The provider's program, run like the kubelet does: from a directory, with its arguments and environment.
fn provider_call(provider: &Provider, sandbox: &Sandbox, input: String) -> Call {
    let program = sandbox.path("bin").join(&provider.name);
    if !program.exists() {
        sandbox.link(&provider.name);
    }
    let call = sandbox.call(program, &provider.args).stdin(input).without("HOME").without("YCRED_CACHE_DIR");
    provider.env.iter().fold(call, |call, variable| {
        // The sandbox's cache takes the place of /run/ycred.
        let value = variable.value.replace("/run/ycred", &sandbox.path("cache").to_string_lossy());
        call.env(&variable.name, value)
    })
}

#[test]
fn with_the_shipped_configuration_many_concurrent_pulls_share_one_request() {
    let Some(provider) = provider("credential-provider.yaml") else { return };
    assert!(provider.token_attributes.is_none());
    let world = World::new();
    let served: Vec<String> = {
        let list = world.sandbox.ycred(["docker", "list"]).run().succeeds().stdout;
        serde_json::from_str::<BTreeMap<String, String>>(&list).expect("JSON").into_keys().collect()
    };
    let mut matched = provider.match_images.clone();
    matched.sort();
    assert_eq!(matched, served, "the kubelet must ask exactly for the registries that ycred serves");
    world.emulator.fault(Fault::slow(Duration::from_millis(200)));
    let calls: Vec<Call> = (0..20)
        .map(|n| {
            let image = format!("{}/team/app-{n}:1", provider.match_images[n % provider.match_images.len()]);
            provider_call(&provider, &world.sandbox, request(&image, None))
        })
        .collect();
    for (n, run) in run_all(calls).into_iter().enumerate() {
        let run = run.exits(0).stderr_is_empty();
        let registry = &provider.match_images[n % provider.match_images.len()];
        assert_eq!(password(&run, registry), world.emulator.tokens()[0]);
    }
    assert_eq!(world.emulator.requests(TOKENS), 1);
}

#[test]
fn the_shipped_configuration_for_service_accounts_separates_them() {
    let Some(provider) = provider("credential-provider-workload.yaml") else { return };
    let attributes = provider.token_attributes.clone().expect("tokenAttributes");
    // kubernetes `pkg/credentialprovider/plugin/config.go`, `validateCredentialProviderConfig`.
    assert!(!attributes.service_account_token_audience.is_empty() && attributes.require_service_account);
    assert_eq!(attributes.cache_type, "ServiceAccount");
    let world = World::without_profile(Config::default());
    let issuer = world.emulator.new_federation(Algorithm::Rs256);
    let account = world.emulator.new_service_account();
    world.emulator.new_federated_credential(&issuer, &account, "system:serviceaccount:red:app");
    world.sandbox.profile(
        "pods",
        &format!(
            "source = \"workload\"\nservice-account-id = \"{account}\"\nauth-url = \"{}\"\n",
            world.emulator.auth_url()
        ),
    );
    let token = issuer.token("system:serviceaccount:red:app");
    let run = provider_call(&provider, &world.sandbox, request(IMAGE, Some(&token))).run().exits(0).stderr_is_empty();
    let password = password(&run, "cr.yandex");
    assert_eq!(world.emulator.subject_of(&password), Some(account));
    assert_ne!(password, token, "the kubelet rejects a response that returns the pod's token");
}
