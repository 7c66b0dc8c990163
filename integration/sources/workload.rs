//! The fixture of source `workload`: a workload with an OIDC issuer that the cloud trusts.

use serde_json::json;

use crate::emulator::auth::TOKEN;
use crate::emulator::exchange::{Algorithm, Issuer};
use crate::emulator::log::Presented;
use crate::emulator::{Config, Emulator};
use crate::harness::Call;
use crate::server::Response;
use crate::world::World;

pub const SUBJECT: &str = "repo:owner/name:ref:refs/heads/main";
/// The bearer token that the endpoint of GitHub's ID tokens expects.
pub const REQUEST_TOKEN: &str = "hunter22-of-the-job";
pub const GITHUB: &str = "/github/idtoken";

/// A workload, its OIDC issuer, and the service account that it may act as.
pub struct Workload {
    pub world: World,
    pub issuer: Issuer,
    pub account: String,
}

impl Workload {
    pub fn new() -> Workload {
        Workload::with(Config::default())
    }

    pub fn with(config: Config) -> Workload {
        let world = World::without_profile(config);
        let issuer = world.emulator.new_federation(Algorithm::Rs256);
        let account = world.emulator.new_service_account();
        world.emulator.new_federated_credential(&issuer, &account, SUBJECT);
        Workload { world, issuer, account }
    }

    /// Creates a workload with a default profile that reads the subject token from a file.
    pub fn of_file() -> Workload {
        let workload = Workload::new();
        workload.profile(FILE);
        workload.rotate();
        workload
    }

    pub fn emulator(&self) -> &Emulator {
        &self.world.emulator
    }

    /// Returns a profile of source `workload` with these lines added.
    pub fn settings(&self, more: &str) -> String {
        format!(
            "source = \"workload\"\nservice-account-id = \"{}\"\nauth-url = \"{}\"\n{more}\n",
            self.account,
            self.emulator().auth_url()
        )
    }

    /// Writes the default profile with these lines added.
    pub fn profile(&self, more: &str) {
        self.world.sandbox.profile("default", &self.settings(more));
    }

    /// Replaces the subject token in the file with a new one, as the kubelet does. Returns the new one.
    pub fn rotate(&self) -> String {
        self.put(&self.issuer.token(SUBJECT))
    }

    /// Writes a subject token to the file, and returns it.
    pub fn put(&self, token: &str) -> String {
        self.world.sandbox.file("config/subject-token", format!("{token}\n"));
        token.to_owned()
    }

    pub fn token(&self, more: &[&str]) -> Call {
        self.world.token(more)
    }

    /// Returns the number of requests for a token exchange.
    pub fn requests(&self) -> usize {
        self.emulator().requests(TOKEN)
    }

    /// Returns the fingerprints of the subject tokens that the cloud has received.
    pub fn shown(&self) -> Vec<String> {
        let presented = self.emulator().log().into_iter().map(|entry| entry.presented);
        presented
            .filter_map(|presented| match presented {
                Presented::SubjectToken { service_account_id, fingerprint, .. } => {
                    assert_eq!(service_account_id, self.account);
                    Some(fingerprint)
                }
                _ => None,
            })
            .collect()
    }

    /// Starts the endpoint of GitHub's ID tokens, and adds the variables of a GitHub Actions job to a call.
    pub fn job(&self, call: Call) -> Call {
        let issuer = self.issuer.clone();
        self.emulator().route(GITHUB, move |request| {
            if request.header("authorization") != Some(&format!("bearer {REQUEST_TOKEN}")) {
                return Response::json(401, r#"{"message":"bad token"}"#);
            }
            match (request.parameter("api-version"), request.parameter("audience")) {
                (Some(_), Some(audience)) if request.method == "GET" => {
                    let token = issuer.token_with(SUBJECT, &json!({"aud": audience}));
                    Response::json(200, json!({"count": 1, "value": token}).to_string())
                }
                _ => Response::json(400, r#"{"message":"audience or api-version is missing"}"#),
            }
        });
        call.env("ACTIONS_ID_TOKEN_REQUEST_URL", format!("{}{GITHUB}?api-version=2.0", self.emulator().url()))
            .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", REQUEST_TOKEN)
    }
}

pub const FILE: &str = "subject-token-file = \"subject-token\"";
pub const VARIABLE: &str = "subject-token-env = \"MY_ID_TOKEN\"";
pub const COMMAND: &str = "subject-token-command = [\"cat\", \"subject-token\"]";

/// Returns the setting that makes ycred request an ID token from GitHub Actions.
pub fn github(workload: &Workload) -> String {
    format!("github-audience = \"{}\"", workload.issuer.audience)
}
