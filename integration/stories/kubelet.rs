//! The kubelet's image credential provider: a stand-in for the kubelet that reads the configuration in `packaging/`, runs the
//! provider and takes its answer as kubernetes' `pkg/credentialprovider/plugin/plugin.go` does, down to the unknown field for
//! which an answer is dropped.

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
use crate::expect::{refused, refused_with_hint};
use crate::harness::waiting::{HOUR, MINUTE};
use crate::harness::{Call, Run, Sandbox, run_all};
use crate::packages;
use crate::world::World;
use ycred::hooks::HOOKS as TABLE;

const API_VERSION: &str = "credentialprovider.kubelet.k8s.io/v1";

/// kubelet `config/v1` `CredentialProviderConfig`, read as strictly.
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

/// An answer that the kubelet would take: how long it keeps it, and the credentials.
#[track_caller]
fn accepted(run: &Run) -> (Duration, BTreeMap<String, Auth>) {
    let response: Response = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{run}"));
    assert_eq!((response.kind.as_str(), response.api_version.as_str()), ("CredentialProviderResponse", API_VERSION));
    assert_eq!(response.cache_key_type, "Registry", "{run}");
    (go_duration(&response.cache_duration), response.auth)
}

/// The credential for the only registry.
#[track_caller]
fn password(run: &Run, registry: &str) -> String {
    let (_, mut auth) = accepted(run);
    let credential = auth.remove(registry).unwrap_or_else(|| panic!("nothing for {registry}\n{run}"));
    assert_eq!((credential.username.as_str(), auth.len()), ("iam", 0), "{run}");
    credential.password
}

/// Go's `time.ParseDuration`, as far as whole hours, minutes and seconds go.
#[track_caller]
fn go_duration(text: &str) -> Duration {
    let (mut total, mut number) = (0, String::new());
    for c in text.chars() {
        match c {
            '0'..='9' => number.push(c),
            unit => {
                let factor = ["s", "m", "h"].iter().position(|known| *known == unit.to_string());
                let factor = 60_u64.pow(factor.unwrap_or_else(|| panic!("{text:?}")).try_into().expect("small"));
                total += number.parse::<u64>().unwrap_or_else(|error| panic!("{error}: {text:?}")) * factor;
                number.clear();
            }
        }
    }
    assert!(number.is_empty() && !text.is_empty(), "{text:?} ends without a unit");
    Duration::from_secs(total)
}

/// As the kubelet encodes it.
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

// --------------------------------------------------------------------------------------------------------- the hook

#[test]
fn the_nodes_token_is_for_the_images_registry_and_as_long_as_it_lasts() {
    let world = World::new();
    world.emulator.set(|settings| settings.life = 3 * HOUR);
    let run = world.kubelet(IMAGE, None).run().exits(0).quietly();
    let token = world.emulator.tokens()[0].clone();
    assert_eq!(password(&run, "cr.yandex"), token);
    let (life, _) = accepted(&run);
    assert!(life <= 3 * HOUR - MINUTE + Duration::from_secs(1) && life > 2 * HOUR + 58 * MINUTE, "{run}");
    world.age(2 * HOUR);
    let run = world.kubelet("cr.yandex/other@sha256:0123", None).run().exits(0).quietly();
    assert_eq!(password(&run, "cr.yandex"), token);
    assert!(accepted(&run).0 < HOUR, "what is left\n{run}");
    assert_eq!(world.emulator.calls(), 1);
}

#[test]
fn a_dying_token_is_not_kept_longer_than_it_lives() {
    let world = World::new();
    let token = world.get();
    world.emulator.fault(Fault::refuse(503).retry_after(50));
    world.age(12 * HOUR - Duration::from_secs(40));
    let run = world.kubelet(IMAGE, None).run().exits(0);
    assert_eq!(password(&run, "cr.yandex"), token);
    assert!(accepted(&run).0 <= Duration::from_secs(21), "{run}");
    assert_eq!(run.lines_of_stderr("ycred: warning: ").len(), 1, "{run}");
}

#[test]
fn images_of_other_registries_get_an_empty_answer_without_a_request() {
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
        let run = world.kubelet(image, None).run().exits(0).quietly();
        assert_eq!(accepted(&run), (Duration::ZERO, BTreeMap::new()), "{image}");
    }
    fs::write(world.sandbox.path("config/default.toml"), "no profile").expect("a broken profile");
    let run = world.kubelet("nginx", None).run().exits(0).quietly();
    assert!(accepted(&run).1.is_empty(), "{run}");
    refused(world.kubelet(IMAGE, None).run(), 3, &["default.toml"]);
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn a_registry_of_ones_own_is_keyed_with_its_port() {
    let world = World::new();
    world.configure("hosts = \"registry.example.com:5000\"");
    let run = world.kubelet("registry.example.com:5000/team/app:1", None).run().exits(0).quietly();
    assert_eq!(password(&run, "registry.example.com:5000"), world.emulator.tokens()[0]);
}

#[test]
fn a_refusal_is_on_stderr_with_nothing_on_stdout() {
    let world = World::new();
    world.emulator.fault(Fault::refuse(401).message("The key was deleted"));
    refused(world.kubelet(IMAGE, None).run(), 1, &["profile default: ", "The key was deleted"]);
}

#[test]
fn what_is_no_request_of_version_1_is_refused() {
    let world = World::new();
    let call = |input: String| world.sandbox.ycred(["kubelet"]).stdin(input).run();
    for input in ["", "no JSON", "{}", "[]", r#"{"kind":"Pod"}"#] {
        refused_with_hint(call(input.to_owned()), 2, &["the request on stdin"], "ycred token");
    }
    let beta = request(IMAGE, None).replace("/v1\"", "/v1beta1\"");
    refused_with_hint(call(beta), 2, &["v1beta1"], "CredentialProviderConfig");
    let long = request(&format!("cr.yandex/{}", "x".repeat(65 * 1024)), None);
    refused(call(long), 2, &["larger than 65536 bytes"]);
    refused(world.sandbox.ycred(["kubelet", "run"]).run(), 2, &["takes no further words"]);
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn without_a_home_and_with_hardly_an_environment_a_path_to_a_profile_will_do() {
    let world = World::new();
    let profile = world.sandbox.path("config/default.toml");
    let call = |image: &str| {
        let call =
            world.sandbox.ycred(["kubelet", "--profile", profile.to_str().expect("text")]).stdin(request(image, None));
        ["HOME", "LANG", "TMPDIR", "YCRED_CONFIG_DIR", "YCRED_STATE_DIR"]
            .iter()
            .fold(call, |call, name| call.without(name))
    };
    let first = call(IMAGE).run().exits(0).quietly();
    assert_eq!(password(&call(IMAGE).run().exits(0).quietly(), "cr.yandex"), password(&first, "cr.yandex"));
    assert_eq!(world.emulator.calls(), 1);
}

// ------------------------------------------------------------------------------------------- service accounts' tokens

#[test]
fn each_service_account_pulls_with_its_own_token_and_shares_no_record() {
    let world = World::bare(Config::default());
    let issuer = world.emulator.new_federation(Algorithm::Rs256);
    let account = world.emulator.new_service_account();
    let subjects = ["system:serviceaccount:red:app", "system:serviceaccount:blue:app"];
    for subject in subjects {
        world.emulator.new_federated_credential(&issuer, &account, subject);
    }
    // No way of its own to a subject token: each request brings one.
    world.sandbox.profile(
        "default",
        &format!(
            "source = \"workload\"\nservice-account-id = \"{account}\"\nauth-url = \"{}\"\n",
            world.emulator.auth_url()
        ),
    );
    let pull = |subject: &str| world.kubelet(IMAGE, Some(&issuer.token(subject))).run();
    let first = subjects.map(|subject| password(&pull(subject).exits(0).quietly(), "cr.yandex"));
    assert_ne!(first[0], first[1]);
    let again = subjects.map(|subject| password(&pull(subject).exits(0).quietly(), "cr.yandex"));
    assert_eq!(again, first, "another pod of the account, with another token");
    assert_eq!(world.emulator.requests(TOKEN), 2);
    assert_eq!(world.records().len(), 2);

    let stranger = "system:serviceaccount:green:app";
    let presented = issuer.token(stranger);
    let run = world.kubelet(IMAGE, Some(&presented)).run();
    assert!(!run.stderr.contains(&presented), "{run}");
    refused_with_hint(run, 1, &["no federated credential"], stranger);
    // A static pod, which has no service account.
    refused(world.kubelet(IMAGE, None).run(), 3, &["or a client that sends a subject token"]);
}

#[test]
fn a_profile_without_use_for_a_service_accounts_token_gives_no_rights_of_its_own() {
    let world = World::new();
    let token = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4Iiwic3ViIjoieSJ9.c2lnbmF0dXJl";
    let run = world.kubelet(IMAGE, Some(token)).run();
    let said = ["profile default: the request contains a service account token, but source \"authorized-key\""];
    refused_with_hint(run, 3, &said, "tokenAttributes");
    let run = world.kubelet("nginx", Some(token)).run().exits(0).quietly();
    assert!(accepted(&run).1.is_empty(), "not ours, whoever asks\n{run}");
    password(&world.kubelet(IMAGE, Some("")).run().exits(0).quietly(), "cr.yandex");
    assert_eq!(world.emulator.calls(), 1);
}

// ------------------------------------------------------------------------------------------------------- what is shipped

fn packaging(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/kubelet").join(file)
}

/// A file's YAML documents as JSON.
#[track_caller]
fn yaml(path: &Path) -> Option<Vec<Value>> {
    let python = packages::python(&["PyYAML==6.0.3"])?.join("python");
    let script = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let run = Sandbox::new().call(python, ["-c", script, path.to_str().expect("text")]).run().succeeds().quietly();
    Some(serde_json::from_str(&run.stdout).expect("JSON"))
}

/// The only provider of a configuration that the kubelet would take.
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
    assert!(TABLE.iter().any(|protocol| provider.args.first().is_some_and(|word| word == protocol.name)));
    Some(provider.clone())
}

/// What the kubelet does with a provider: its program in a directory, its arguments, its environment.
fn run_by(provider: &Provider, sandbox: &Sandbox, input: String) -> Call {
    let program = sandbox.path("bin").join(&provider.name);
    if !program.exists() {
        sandbox.link(&provider.name);
    }
    let call = sandbox.call(program, &provider.args).stdin(input).without("HOME").without("YCRED_CACHE_DIR");
    provider.env.iter().fold(call, |call, variable| {
        // In the sandbox what on a node is below /run.
        let value = variable.value.replace("/run/ycred", &sandbox.path("cache").to_string_lossy());
        call.env(&variable.name, value)
    })
}

#[test]
fn with_the_configuration_that_is_shipped_many_images_are_pulled_at_once_for_one_request() {
    let Some(provider) = provider("credential-provider.yaml") else { return };
    assert!(provider.token_attributes.is_none());
    let world = World::new();
    let ours: Vec<String> = {
        let list = world.sandbox.ycred(["docker", "list"]).run().succeeds().stdout;
        serde_json::from_str::<BTreeMap<String, String>>(&list).expect("JSON").into_keys().collect()
    };
    let mut matched = provider.match_images.clone();
    matched.sort();
    assert_eq!(matched, ours, "what the kubelet asks for is what ycred answers for");
    world.emulator.fault(Fault::slow(Duration::from_millis(200)));
    let calls: Vec<Call> = (0..20)
        .map(|n| {
            let image = format!("{}/team/app-{n}:1", provider.match_images[n % provider.match_images.len()]);
            run_by(&provider, &world.sandbox, request(&image, None))
        })
        .collect();
    for (n, run) in run_all(calls).into_iter().enumerate() {
        let run = run.exits(0).quietly();
        let registry = &provider.match_images[n % provider.match_images.len()];
        assert_eq!(password(&run, registry), world.emulator.tokens()[0]);
    }
    assert_eq!(world.emulator.requests(TOKENS), 1);
}

#[test]
fn the_configuration_for_service_accounts_that_is_shipped_keeps_them_apart() {
    let Some(provider) = provider("credential-provider-workload.yaml") else { return };
    let attributes = provider.token_attributes.clone().expect("tokenAttributes");
    // kubernetes `pkg/credentialprovider/plugin/config.go`, `validateCredentialProviderConfig`.
    assert!(!attributes.service_account_token_audience.is_empty() && attributes.require_service_account);
    assert_eq!(attributes.cache_type, "ServiceAccount");
    let world = World::bare(Config::default());
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
    let run = run_by(&provider, &world.sandbox, request(IMAGE, Some(&token))).run().exits(0).quietly();
    let password = password(&run, "cr.yandex");
    assert_eq!(world.emulator.subject_of(&password), Some(account));
    assert_ne!(password, token, "a kubelet drops an answer that echoes the pod's token");
}

#[test]
fn the_installer_puts_every_file_where_the_pages_say_also_over_old_ones() {
    let Some(documents) = yaml(&packaging("install.yaml")) else { return };
    let set = &documents[0];
    assert_eq!((&set["apiVersion"], &set["kind"]), (&json!("apps/v1"), &json!("DaemonSet")));
    let spec = &set["spec"]["template"]["spec"];
    assert_eq!(set["spec"]["selector"]["matchLabels"], set["spec"]["template"]["metadata"]["labels"]);
    let install = &spec["initContainers"][0];
    // Every mount has its volume, and every volume is mounted.
    let names = |list: &Value| {
        let names =
            list.as_array().into_iter().flatten().map(|item| item["name"].as_str().unwrap_or_default().to_owned());
        names.collect::<std::collections::BTreeSet<String>>()
    };
    assert_eq!(names(&install["volumeMounts"]), names(&spec["volumes"]));
    let host_paths: Vec<&str> = spec["volumes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|volume| volume["hostPath"]["path"].as_str())
        .collect();
    assert_eq!(host_paths, ["/opt/ycred/bin", "/etc/ycred", "/etc/kubernetes"]);

    // The script itself, with the sandbox in the place of the node and of the image.
    let sandbox = Sandbox::new();
    for directory in ["host/bin", "host/profile", "host/kubernetes"] {
        fs::create_dir_all(sandbox.path(directory)).expect("a directory");
    }
    sandbox.script("image/ycred", "#!/bin/sh\necho new\n");
    sandbox.file("profile/default.toml", "source = \"authorized-key\"\nkey-file = \"key.json\"\n");
    sandbox.file("profile/key.json", "{}");
    fs::copy(packaging("credential-provider.yaml"), sandbox.path("config/credential-provider.yaml")).expect("a file");
    sandbox.script("host/bin/ycred", "#!/bin/sh\necho old\n");
    let script = install["args"][0].as_str().expect("a script");
    let root = sandbox.path("");
    let root = root.to_str().expect("text").trim_end_matches('/');
    let script = script
        .replace("/host/", &format!("{root}/host/"))
        .replace("/profile/*", &format!("{root}/profile/*"))
        .replace("/bin/ycred /", &format!("{root}/image/ycred /"))
        .replace("/config/", &format!("{root}/config/"));
    let words: Vec<&str> = install["command"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    assert_eq!(words, ["/bin/sh", "-euc"]);
    for _ in 0..2 {
        sandbox.call("/bin/sh", ["-euc", &script]).run().succeeds().quietly();
    }
    let mode = |file: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(sandbox.path(file)).unwrap_or_else(|error| panic!("{file}: {error}")).permissions().mode() & 0o777
    };
    assert_eq!(mode("host/bin/ycred"), 0o755);
    assert_eq!([mode("host/profile/default.toml"), mode("host/profile/key.json")], [0o600, 0o600]);
    assert_eq!(mode("host/kubernetes/credential-provider.yaml"), 0o644);
    assert!(fs::read_to_string(sandbox.path("host/bin/ycred")).expect("the program").contains("new"));
    assert_eq!(sandbox.files("host").len(), 4, "nothing half is left");
}
