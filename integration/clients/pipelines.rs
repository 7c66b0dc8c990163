//! The pipelines of `docs/ci.md`: each is parsed, and its script runs here as the CI system would run it, against the
//! emulator and an API server. kubectl is the real one. docker and terraform are scripts that check what they get.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::kubectl::{api_server, kubectl};
use super::kubernetes::manifests::documents;
use super::test_server::Gate;
use crate::authority::Authority;
use crate::emulator::{Config, Tls};
use crate::harness::files::mode;
use crate::harness::{Call, Run, Sandbox, require_client};
use crate::sources::workload::{SUBJECT, Workload};
use crate::stories::tunnel::Tunnel;

/// Asks its helper for the registry's password, as docker does before a push.
const DOCKER: &str = "#!/bin/sh
set -eu
helper=$(sed -n 's/.*\"cr.yandex\": \"\\([a-z-]*\\)\".*/\\1/p' \"$DOCKER_CONFIG/config.json\")
printf cr.yandex | \"docker-credential-$helper\" get | grep -q '\"Username\":\"iam\",\"Secret\":\"t1'
echo \"docker $*\"
";
/// Needs a token to apply, and must not see what is worth more than a token.
const TERRAFORM: &str = "#!/bin/sh
set -eu
[ \"$1\" != apply ] || test -n \"$YC_TOKEN\"
test -z \"${YC_SERVICE_ACCOUNT_KEY_FILE-}\" || [ \"$1\" = init ]
echo \"terraform $*\"
";

/// Returns the content of the only code block of the page with this info string.
#[track_caller]
fn block(info: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ci.md");
    let page = fs::read_to_string(path).expect("docs/ci.md");
    let found: Vec<&str> = page.split(&format!("```{info}\n")).skip(1).collect();
    assert_eq!(found.len(), 1, "docs/ci.md has not one block {info:?}");
    found[0].split("\n```").next().expect("an end").to_owned() + "\n"
}

/// What a CI system makes of a pipeline: the variables of the job, and the script.
#[derive(Default)]
struct Job {
    variables: Vec<(String, String)>,
    script: Vec<String>,
}

impl Job {
    fn add_variables(&mut self, map: &Value) {
        for (name, value) in map.as_object().into_iter().flatten() {
            self.variables.push((name.clone(), value.as_str().expect("a string").to_owned()));
        }
    }
}

fn gitlab(info: &str) -> Option<Job> {
    let pipeline = documents(&block(info))?.remove(0);
    let job = &pipeline["deploy"];
    assert!(job["image"].is_string() && job["rules"][0]["if"].is_string(), "{job}");
    assert_eq!(pipeline.as_object().map(serde_json::Map::len), Some(1), "a job that the test does not know");
    let mut result = Job::default();
    result.add_variables(&job["variables"]);
    let script = job["script"].as_array().expect("a script").iter();
    result.script = script.map(|line| line.as_str().expect("a command").to_owned()).collect();
    Some(result)
}

fn github(info: &str) -> Option<Job> {
    let workflow = documents(&block(info))?.remove(0);
    let job = &workflow["jobs"]["deploy"];
    assert_eq!(workflow["permissions"]["id-token"] == "write", info.ends_with("federation"), "{workflow}");
    assert_eq!(workflow["permissions"]["contents"], "read");
    assert!(job["runs-on"].is_string(), "{job}");
    let mut result = Job::default();
    result.add_variables(&job["env"]);
    let steps = job["steps"].as_array().expect("steps");
    assert!(steps[0]["uses"].as_str().is_some_and(|it| it.starts_with("actions/checkout@")), "{job}");
    check_installation(steps[1]["run"].as_str().expect("a script"));
    // ycred is installed already; the tests of what ships run the installer.
    for step in &steps[2..] {
        result.add_variables(&step["env"]);
        result.script.push(step["run"].as_str().expect("a command").to_owned());
    }
    Some(result)
}

/// Runs the step that installs ycred as GitHub does, with a stand-in for the installer. It must fail if that cannot be downloaded.
fn check_installation(script: &str) {
    if require_client("curl").is_none() {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.file("work/release/install.sh", "printf '%s\\n' \"$@\"\n");
    let run = |release: &str| {
        let release = format!("file://{}", sandbox.path(release).display());
        let call = sandbox.call("bash", ["-e", "-c", script]).env("RUNNER_TEMP", sandbox.path("tmp"));
        (call.env("RELEASE", &release).run(), release)
    };
    let (installed, release) = run("work/release");
    installed.succeeds().stdout_is(&format!("--from\n{release}\n"));
    run("work/missing").0.fails();
}

/// Reads the part of Groovy that the page uses. Returns the variable of the credential too.
fn jenkins(info: &str) -> (Job, String) {
    let text = block(info);
    for pair in ["{}", "()", "[]"] {
        let count = |at: usize| text.matches(&pair[at..=at]).count();
        assert_eq!(count(0), count(1), "unbalanced {pair} in {info}");
    }
    let quoted = |line: &str| line.split('\'').nth(1).map(str::to_owned);
    let mut job = Job::default();
    let mut credential = String::new();
    for line in text.lines().map(str::trim) {
        if let Some((name, value)) = line.split_once(" = ") {
            job.variables.push((name.to_owned(), quoted(value).expect("a string")));
        } else if line.starts_with("sh ") {
            job.script.push(quoted(line).expect("a string"));
        } else if let Some((_, name)) =
            line.split_once("withCredentials([file(").and_then(|_| line.split_once("variable: "))
        {
            credential = quoted(name).expect("a string");
        }
    }
    assert!(!credential.is_empty(), "no credential in {info}");
    (job, credential)
}

/// A machine of the CI system, with the tools of the script.
struct Runner {
    workload: Workload,
    _tunnel: Tunnel,
    cluster: String,
    _server: super::test_server::TestServer,
}

impl Runner {
    fn new() -> Option<Runner> {
        let kubectl = kubectl()?;
        let names = vec!["iam.api.cloud.yandex.net".to_owned()];
        let mut workload = Workload::with(Config { names, ..Config::with_tls(Tls::Good) });
        let tunnel = Tunnel::to(&workload.world.emulator);
        let authority = Authority::new();
        let server = api_server(&authority, Gate::of(&workload.world));
        let sandbox = &mut workload.world.sandbox;
        let ca = sandbox.file("tmp/ca.pem", workload.world.emulator.ca_pem());
        sandbox.set("HTTPS_PROXY", tunnel.url()).set("SSL_CERT_FILE", ca);
        sandbox.link("ycred");
        sandbox.link("docker-credential-ycred");
        sandbox.script("bin/docker", DOCKER);
        sandbox.script("bin/terraform", TERRAFORM);
        // The API server knows nothing to apply. Reading needs the same token.
        let kubectl = kubectl.display();
        let kubectl = format!(
            "#!/bin/sh\ncase \"$*\" in *' apply -f deploy/') set -- --context=prod get namespaces ;; esac\nexec '{kubectl}' \"$@\"\n"
        );
        sandbox.script("bin/kubectl", &kubectl);
        sandbox.file("work/ci/deploy.sh", block("sh deploy"));
        sandbox.file("work/ci/cluster.pem", authority.pem());
        let cluster = format!("https://localhost:{}", server.port());
        Some(Runner { workload, _tunnel: tunnel, cluster, _server: server })
    }

    /// Returns the call of a job's script, with its variables. `secret` is what the CI system has stored.
    fn call(&self, job: &Job, secret: &str) -> Call {
        let sandbox = &self.workload.world.sandbox;
        // A CI system runs the lines as one script, which ends at the first failure.
        let mut call = sandbox.call("sh", ["-euc", &job.script.join("\n")]);
        for (name, value) in &job.variables {
            let value = match (name.as_str(), value.as_str()) {
                // The placeholders of the page.
                ("YCRED_SERVICE_ACCOUNT_ID", "aje0000000000000000a") => self.workload.account.clone(),
                ("CLUSTER", "https://203.0.113.10") => self.cluster.clone(),
                ("YCRED_SUBJECT_TOKEN_FILE", _) => self.subject_token_file(),
                // What the CI system replaces.
                (_, "$CI_COMMIT_SHORT_SHA" | "${{ github.sha }}") => "abc1234".to_owned(),
                (_, "${{ secrets.YANDEX_CLOUD_KEY }}") => secret.to_owned(),
                (_, value) => value.to_owned(),
            };
            assert!(!value.contains('$'), "{name}={value}: a variable that the test does not know");
            call = call.env(name, value);
        }
        call.env("YCRED_AUTH_URL", self.workload.emulator().auth_url())
    }

    fn subject_token_file(&self) -> String {
        self.workload.world.sandbox.path("tmp/id-token").display().to_string()
    }

    fn key_file(&self) -> String {
        self.workload.world.sandbox.path("config/key.json").display().to_string()
    }

    /// Checks that the script has reached its end, with one request for one token, and has printed no secret.
    #[track_caller]
    fn assert_deployed(&self, run: Run, account: &str, secrets: &[&str]) {
        let world = &self.workload.world;
        let mut run = run.succeeds();
        for line in ["terraform init", "terraform apply", "docker push cr.yandex/crp", "the-only-namespace"] {
            run = run.stdout_has(line);
        }
        let tokens = world.emulator.tokens();
        assert_eq!(tokens.len(), 1, "{run}");
        assert_eq!(world.emulator.subject_of(&tokens[0]).as_deref(), Some(account));
        for secret in secrets.iter().chain([&tokens[0].as_str()]) {
            run = run.never_prints(secret);
        }
        // The job's own directory is gone, and the user's is not used.
        assert!(!world.sandbox.path("home/.docker").exists() && !world.sandbox.path("home/.kube/config").exists());
        assert!(!world.sandbox.path("cache/v1").exists());
    }
}

#[test]
fn the_pipeline_for_gitlab_deploys_with_federation() {
    let (Some(runner), Some(job)) = (Runner::new(), gitlab("yaml gitlab-federation")) else { return };
    let token = runner.workload.issuer.token(SUBJECT);
    let run = runner.call(&job, "").env("GITLAB_OIDC_TOKEN", &token).run();
    runner.assert_deployed(run, &runner.workload.account, &[&token]);
    assert_eq!(mode(Path::new(&runner.subject_token_file())), 0o600);
    // Another branch.
    let other = runner.workload.issuer.token("another subject");
    let run = runner.call(&job, "").env("GITLAB_OIDC_TOKEN", &other).run().fails();
    assert!(!run.stdout.contains("terraform"), "{run}");
}

#[test]
fn the_pipeline_for_gitlab_deploys_with_a_key() {
    let (Some(runner), Some(job)) = (Runner::new(), gitlab("yaml gitlab-key")) else { return };
    let run = runner.call(&job, "").env("YC_SERVICE_ACCOUNT_KEY_FILE", runner.key_file()).run();
    runner.assert_deployed(run, &runner.workload.world.key.service_account_id, &[]);
}

#[test]
fn the_workflow_for_github_deploys_with_federation() {
    let (Some(runner), Some(job)) = (Runner::new(), github("yaml github-federation")) else { return };
    let audience = runner.workload.issuer.audience.clone();
    let call = runner.workload.job(runner.call(&job, "")).env("YCRED_GITHUB_AUDIENCE", audience);
    runner.assert_deployed(call.run(), &runner.workload.account, &[]);
}

#[test]
fn the_workflow_for_github_deploys_with_a_key() {
    let (Some(runner), Some(job)) = (Runner::new(), github("yaml github-key")) else { return };
    let key = fs::read_to_string(runner.key_file()).expect("a key");
    let run = runner.call(&job, &key).run();
    runner.assert_deployed(run, &runner.workload.world.key.service_account_id, &[&key]);
    // An empty secret, as in a pull request from a fork, deploys nothing.
    let run = runner.call(&job, "").run().fails();
    assert!(!run.stdout.contains("terraform"), "{run}");
}

#[test]
fn the_pipelines_for_jenkins_deploy_with_federation_and_with_a_key() {
    let Some(runner) = Runner::new() else { return };
    let (job, variable) = jenkins("groovy jenkins-federation");
    assert_eq!(variable, "YCRED_SUBJECT_TOKEN_FILE");
    let token = runner.workload.issuer.token(SUBJECT);
    fs::write(runner.subject_token_file(), &token).expect("written");
    let run = runner.call(&job, "").env(&variable, runner.subject_token_file()).run();
    runner.assert_deployed(run, &runner.workload.account, &[&token]);

    let Some(runner) = Runner::new() else { return };
    let (job, variable) = jenkins("groovy jenkins-key");
    assert_eq!(variable, "YC_SERVICE_ACCOUNT_KEY_FILE");
    let run = runner.call(&job, "").env(&variable, runner.key_file()).run();
    runner.assert_deployed(run, &runner.workload.world.key.service_account_id, &[]);
}
