//! Terraform with ycred as its credentials helper, against a module registry that requires the token. Also Terraform
//! under `ycred exec`.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::client::{runs_of, wrapper};
use super::test_server::{Gate, TestServer, json_response, trust};
use crate::authority::Authority;
use crate::emulator::Config;
use crate::harness::{Call, Run, Sandbox, require_client};
use crate::server::{Request, Response};
use crate::world::World;

/// Returns the only module of the registry.
fn module(sandbox: &Sandbox) -> Vec<u8> {
    sandbox.file("tmp/module/main.tf", "output \"answer\" {\n  value = \"from-the-module\"\n}\n");
    sandbox.call("tar", ["-czf", "../tmp/module.tar.gz", "-C", "../tmp/module", "main.tf"]).run().succeeds();
    fs::read(sandbox.path("tmp/module.tar.gz")).expect("the packed module")
}

/// Starts a module registry. The package itself is public, as in registries that return URLs in object storage.
fn registry(authority: &Authority, gate: Gate, package: Vec<u8>) -> TestServer {
    TestServer::tls(authority, move |request: &Request| {
        let path = request.path.as_str();
        if path == "/package.tar.gz" {
            return Response::typed(200, "application/gzip", package.clone());
        }
        if !gate.admits_bearer(request) {
            return json_response(401, json!({"errors": ["unauthorized"]}));
        }
        match path {
            "/.well-known/terraform.json" => json_response(200, json!({"modules.v1": "/v1/modules/"})),
            "/v1/modules/acme/answer/test/versions" => {
                json_response(200, json!({"modules": [{"versions": [{"version": "1.0.0"}]}]}))
            }
            "/v1/modules/acme/answer/test/1.0.0/download" => {
                Response::new(204).header("X-Terraform-Get", "/package.tar.gz?archive=tar.gz")
            }
            _ => json_response(404, json!({"errors": ["not found"]})),
        }
    })
}

/// A sandbox with a module registry, a configuration that uses its module, and terraform configured to use ycred.
struct Workspace {
    world: World,
    registry: TestServer,
    terraform: PathBuf,
    runs: PathBuf,
}

impl Workspace {
    /// `is_listed`: the profile lists the registry.
    fn new(is_listed: bool) -> Option<Workspace> {
        let terraform = require_client("terraform")?;
        let mut world = World::without_profile(Config::default());
        let authority = Authority::new();
        let registry = registry(&authority, Gate::of(&world), module(&world.sandbox));
        // Terraform requires a dot in the name of the host.
        let host = format!("127.0.0.1:{}", registry.port());
        world.profile_for("prod", is_listed.then(|| host.clone()).as_slice());
        world.sandbox.file(
            "work/main.tf",
            format!(
                "module \"answer\" {{\n  source  = \"{host}/acme/answer/test\"\n  version = \"1.0.0\"\n}}\n\
                 output \"answer\" {{\n  value = module.answer.answer\n}}\n"
            ),
        );
        // Terraform searches for helpers only in this directory. The wrapper executes the symlink, which names the
        // hook.
        let link = world.sandbox.link("terraform-credentials-ycred");
        let (helper, runs) = wrapper(&world.sandbox, "helper", &link);
        let plugins = world.sandbox.path("home/.terraform.d/plugins");
        fs::create_dir_all(&plugins).expect("terraform's directory of plugins");
        fs::copy(helper, plugins.join("terraform-credentials-ycred")).expect("the helper in the directory of plugins");
        let configuration = world
            .sandbox
            .file("home/.terraformrc", "credentials_helper \"ycred\" {\n  args = [\"--profile\", \"prod\"]\n}\n");
        let ca = trust(&world.sandbox, &authority);
        world
            .sandbox
            .seal()
            .set("TF_CLI_CONFIG_FILE", configuration)
            .set("CHECKPOINT_DISABLE", "1")
            .set("SSL_CERT_FILE", ca);
        Some(Workspace { world, registry, terraform, runs })
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.registry.port())
    }

    fn terraform(&self, arguments: &[&str]) -> Call {
        self.world.sandbox.call(&self.terraform, arguments)
    }

    fn init(&self) -> Run {
        self.terraform(&["init", "-no-color", "-input=false"]).run()
    }
}

#[test]
fn terraform_fetches_a_module_with_one_run_of_the_helper_and_one_iam_request() {
    let Some(workspace) = Workspace::new(true) else { return };
    workspace.init().succeeds().stderr_is_empty().stdout_has("acme/answer/test 1.0.0");
    assert_eq!(runs_of(&workspace.runs), 1, "runs of the helper");
    assert_eq!(workspace.world.requests(), 1, "IAM requests");

    let bearer = Some(format!("Bearer {}", workspace.world.last_token()));
    for request in workspace.registry.requests() {
        let expected = if request.path.as_str() == "/package.tar.gz" { None } else { bearer.as_deref() };
        assert_eq!(request.header("authorization"), expected, "{}", request.path.as_str());
    }
    let apply = workspace.terraform(&["apply", "-no-color", "-input=false", "-auto-approve"]).run().succeeds();
    apply.stdout_has("answer = \"from-the-module\"");
    assert_eq!(workspace.world.requests(), 1, "IAM requests");
}

#[test]
fn terraform_hides_the_rejection_of_a_key_and_ycred_token_shows_it() {
    let Some(workspace) = Workspace::new(true) else { return };
    let refusal = workspace.world.refuse();
    let run = workspace.init().fails().stderr_has("401 Unauthorized");
    assert!(runs_of(&workspace.runs) >= 1, "terraform did not run the helper\n{run}");
    assert_eq!(workspace.world.requests(), 1, "IAM requests\n{run}");
    assert_eq!(workspace.registry.authorizations(), Vec::<String>::new());

    // Terraform hides the messages of a helper. `ycred token` shows the reason.
    let run = workspace.world.sandbox.ycred(["token", "--profile", "prod"]).run().exits(1).stdout_is("");
    let errors = run.lines_of_stderr("ycred: error: ");
    assert!(
        errors.len() == 1 && errors[0].contains(refusal),
        "expected one error line with the cloud's message\n{run}"
    );
}

#[test]
fn a_registry_that_is_not_ours_gets_no_token_and_no_iam_request() {
    let Some(workspace) = Workspace::new(false) else { return };
    workspace.init().fails().stderr_has("401 Unauthorized");
    assert_eq!(runs_of(&workspace.runs), 1, "runs of the helper");
    assert_eq!(workspace.registry.authorizations(), Vec::<String>::new());
    assert_eq!(workspace.world.requests(), 0, "IAM requests");
}

#[test]
fn terraform_logout_succeeds_and_keeps_the_cached_token() {
    let Some(workspace) = Workspace::new(true) else { return };
    workspace.init().succeeds();
    workspace.terraform(&["logout", &workspace.host()]).run().succeeds().stderr_is_empty();
    fs::remove_dir_all(workspace.world.sandbox.path("work/.terraform")).expect("terraform's own cache");
    workspace.init().succeeds();
    assert_eq!(workspace.world.requests(), 1, "IAM requests");
}

/// Replaces the Yandex provider: records its environment, and exits before terraform's handshake.
const PROVIDER: &str = "#!/bin/sh\nenv > \"$PROVIDER_SAW\"\nexit 1\n";

#[test]
fn under_exec_a_provider_gets_the_token_and_no_credentials_that_take_precedence() {
    let Some(workspace) = Workspace::new(true) else { return };
    let sandbox = &workspace.world.sandbox;
    sandbox.script("tmp/provider/terraform-provider-yandex", PROVIDER);
    let configuration = sandbox.file(
        "home/overrides.tfrc",
        format!(
            "provider_installation {{\n  dev_overrides {{\n    \"yandex-cloud/yandex\" = \"{}\"\n  }}\n}}\n",
            sandbox.path("tmp/provider").display()
        ),
    );
    sandbox.file(
        "work/main.tf",
        "terraform {\n  required_providers {\n    yandex = { source = \"yandex-cloud/yandex\" }\n  }\n}\n\
         provider \"yandex\" {}\n",
    );
    let saw = sandbox.path("tmp/provider-saw");
    let plan = |program: &str| {
        let run = sandbox
            .ycred(["exec", "--profile", "prod", "--", program, "plan", "-no-color", "-input=false"])
            .env("TF_CLI_CONFIG_FILE", &configuration)
            .env("PROVIDER_SAW", &saw)
            .env("YC_TOKEN", "t1.stale.token")
            .env("YC_SERVICE_ACCOUNT_KEY_FILE", "/nonexistent/key.json")
            .env("YC_OAUTH_TOKEN", "y0_stale")
            .run();
        // Terraform's own exit code and error, because the script is not a real provider.
        run.exits(1).stderr_has("Failed to load plugin schemas")
    };
    let run = plan("terraform");
    let environment =
        fs::read_to_string(&saw).unwrap_or_else(|error| panic!("no provider was started: {error}\n{run}"));
    let variable = |name: &str| environment.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
    let token = workspace.world.last_token();
    assert_eq!(variable("YC_TOKEN"), Some(token.as_str()));
    assert_eq!(variable("YC_IAM_TOKEN"), Some(token.as_str()));
    assert_eq!(variable("YCRED_PROFILE"), Some("prod"));
    let expires = variable("YCRED_EXPIRES_AT").unwrap_or_default();
    assert!(expires.len() == 20 && expires.ends_with('Z'), "YCRED_EXPIRES_AT={expires:?}");
    assert_eq!(variable("YC_SERVICE_ACCOUNT_KEY_FILE"), None);
    assert_eq!(variable("YC_OAUTH_TOKEN"), None);
    run.never_prints(&token);
    assert_eq!(workspace.world.requests(), 1, "IAM requests");
    plan("terraform");
    assert_eq!(workspace.world.requests(), 1, "IAM requests");
}

#[test]
fn under_exec_terraform_applies_and_stores_no_token() {
    let Some(workspace) = Workspace::new(true) else { return };
    let sandbox = &workspace.world.sandbox;
    // A child of terraform, which inherits terraform's environment.
    sandbox.file(
        "work/main.tf",
        "resource \"terraform_data\" \"check\" {\n  provisioner \"local-exec\" {\n    \
         command = \"test -n \\\"$YC_TOKEN\\\" && printf %s \\\"$YC_TOKEN\\\" > ../tmp/seen\"\n  }\n}\n",
    );
    workspace.init().succeeds();
    sandbox
        .ycred(["--profile", "prod", "exec", "terraform", "apply", "-no-color", "-input=false", "-auto-approve"])
        .run()
        .succeeds()
        .stderr_is_empty()
        .stdout_has("Apply complete!");
    let token = workspace.world.last_token();
    assert_eq!(fs::read_to_string(sandbox.path("tmp/seen")).expect("the token of the child"), token);
    assert_eq!(workspace.world.requests(), 1, "IAM requests");
    let files = sandbox.files("work");
    assert!(files.iter().any(|path| path.ends_with("terraform.tfstate")), "terraform wrote no state: {files:?}");
    for path in files {
        let content = fs::read(&path).expect("a file of terraform");
        assert!(
            !content.windows(token.len()).any(|window| window == token.as_bytes()),
            "{} contains the token",
            path.display()
        );
    }
}

#[test]
fn terraform_gets_a_token_through_what_setup_wrote_and_the_files_go_again() {
    let Some(mut workspace) = Workspace::new(true) else { return };
    let sandbox = &mut workspace.world.sandbox;
    sandbox.unset("TF_CLI_CONFIG_FILE").link("ycred");
    fs::remove_file(sandbox.path("home/.terraformrc")).expect("the file");
    fs::remove_dir_all(sandbox.path("home/.terraform.d")).expect("the directory");
    workspace.init().fails();
    workspace.world.ycred(&["setup", "terraform", "-p", "prod"]).run().succeeds().stderr_is_empty();
    workspace.init().succeeds().stderr_is_empty().stdout_has("acme/answer/test 1.0.0");
    assert_eq!(workspace.world.requests(), 1, "IAM requests");
    workspace.world.ycred(&["unsetup", "--all"]).run().succeeds();
    assert_eq!(workspace.world.sandbox.files("home/.terraform.d"), Vec::<PathBuf>::new());
}
