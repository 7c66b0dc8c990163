//! Programs under `exec --serve` that run longer than a token is valid: the Yandex Cloud SDK for Python, the AWS CLI,
//! boto3 and Terraform's S3 backend.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::test_server::{Gate, TestServer};
use super::versions::{AWS_PYTHON, SDK_PYTHON_ALONE};
use crate::emulator::Config;
use crate::emulator::access_keys::EPHEMERAL_ACCESS_KEYS;
use crate::harness::require_client;
use crate::object_storage::ObjectStorage;
use crate::packages;
use crate::server::Response;
use crate::world::World;

/// A service of the cloud over TLS that accepts the emulator's tokens, and a program that calls it through the SDK.
///
/// The SDK caches each token for 20 seconds, which is longer than these tokens are valid. So every call uses a new SDK
/// object.
const PROGRAM: &str = r#"
import os, sys, time, datetime, ipaddress
from concurrent import futures
import grpc, requests, yandexcloud
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from yandex.cloud.endpoint import api_endpoint_pb2, api_endpoint_service_pb2, api_endpoint_service_pb2_grpc
from yandex.cloud.iam.v1.service_account_pb2 import ServiceAccount
from yandex.cloud.iam.v1.service_account_service_pb2 import GetServiceAccountRequest
from yandex.cloud.iam.v1 import service_account_service_pb2_grpc as service

key = ec.generate_private_key(ec.SECP256R1())
name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
now = datetime.datetime.now(datetime.timezone.utc)
certificate = (
    x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    .serial_number(1).not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
    .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
    .add_extension(x509.BasicConstraints(True, None), True)
    .sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
)
key = key.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())

tokens, late = [], 0

class Accounts(service.ServiceAccountServiceServicer):
    def Get(self, request, context):
        shown = dict(context.invocation_metadata()).get("authorization", "")
        status = requests.get(os.environ["GATE"], headers={"Authorization": shown}).status_code
        if status != 200:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, f"the gate responded {status}")
        tokens.append(shown)
        return ServiceAccount(id=request.service_account_id)

class Endpoints(api_endpoint_service_pb2_grpc.ApiEndpointServiceServicer):
    def List(self, request, context):
        return api_endpoint_service_pb2.ListApiEndpointsResponse(
            endpoints=[api_endpoint_pb2.ApiEndpoint(id="iam", address=place)])

server = grpc.server(futures.ThreadPoolExecutor(2))
service.add_ServiceAccountServiceServicer_to_server(Accounts(), server)
api_endpoint_service_pb2_grpc.add_ApiEndpointServiceServicer_to_server(Endpoints(), server)
port = server.add_secure_port("localhost:0", grpc.ssl_server_credentials([(key, certificate)]))
place = f"localhost:{port}"
server.start()
# Each token is renewed at half of its validity, so the first three have expired when the sixth has been used.
end = time.monotonic() + 80
while len(set(tokens)) < 6 and time.monotonic() < end:
    sdk = yandexcloud.SDK(root_certificates=certificate, endpoint=place)
    accounts = sdk.client(service.ServiceAccountServiceStub)
    try:
        account = accounts.Get(GetServiceAccountRequest(service_account_id="aje0"))
    except grpc.RpcError as error:
        # The SDK waits for at most one second, which can be too short on a busy machine.
        if "timed out" not in str(error.details()) or late == 5:
            raise
        late += 1
        continue
    assert account.id == "aje0"
    time.sleep(0.05)
print(len(tokens), *dict.fromkeys(token.removeprefix("Bearer ") for token in tokens))
"#;

#[test]
fn the_python_sdk_works_while_three_tokens_expire() {
    let Some(bin) = packages::python(SDK_PYTHON_ALONE) else { return };
    let world = World::without_profile(Config::default());
    let gate = Gate::of(&world);
    // Accepts only tokens that are valid at the time of the request.
    let gate_server = TestServer::plain(move |request| match gate.admits_bearer(request) {
        true => Response::text(200, "valid"),
        false => Response::text(401, "not valid"),
    });
    world.emulator.set(|settings| settings.life = Duration::from_secs(10));
    world.profile_for("prod", &[]);
    let profile = world.sandbox.path("config/prod.toml");
    let toml = std::fs::read_to_string(&profile).expect("the profile");
    // Tokens are renewed at half of their validity and never served with less than four seconds left. This leaves a
    // busy machine four seconds from the reply to the use.
    world.sandbox.profile("prod", &format!("{toml}refresh-before = \"5s\"\nmin-ttl = \"4s\"\n"));
    let program = world.sandbox.file("work/program.py", PROGRAM);
    let arguments = ["exec", "--serve", "-p", "prod", "--"].map(Into::into);
    let arguments = arguments.into_iter().chain([bin.join("python").into_os_string(), program.into_os_string()]);
    let run =
        world.sandbox.ycred(arguments).env("GATE", gate_server.url()).env("GRPC_VERBOSITY", "NONE").run().exits(0);
    let mut output = run.stdout.split_whitespace();
    let calls: usize = output.next().and_then(|count| count.parse().ok()).expect("a count");
    let used: Vec<&str> = output.collect();
    assert_eq!(used.len(), 6, "{run}");
    assert!(calls > used.len() && gate_server.requests().len() == calls, "expected every call to be accepted\n{run}");
    let emulator = &world.emulator;
    for token in &used[..3] {
        assert!(
            emulator.expiry_of(token).expect("a token of the emulator") < SystemTime::now(),
            "a token is still valid"
        );
    }
    // ycred requested each token once.
    assert_eq!(world.requests(), emulator.tokens().len());
    assert_eq!(run.stderr, "", "{run}");
}

/// A sandbox with an emulated Object Storage and no AWS configuration.
struct Workspace {
    world: World,
    storage: ObjectStorage,
}

impl Workspace {
    fn new() -> Workspace {
        let mut world = World::without_profile(Config::default());
        let storage = ObjectStorage::start(Arc::clone(&world.emulator));
        world.profile_for("prod", &[]);
        // Stale keys in the environment, which must not take precedence.
        world.sandbox.seal().set("AWS_EC2_METADATA_DISABLED", "true").set("AWS_REGION", "ru-central1");
        world.sandbox.set("AWS_ACCESS_KEY_ID", "stale").set("AWS_SECRET_ACCESS_KEY", "stale");
        Workspace { world, storage }
    }

    /// Checks that one access key was issued, and that it signed every request.
    #[track_caller]
    fn assert_one_key(&self) {
        let emulator = &self.world.emulator;
        let (log, keys) = (self.storage.log(), emulator.access_keys());
        assert_eq!((keys.len(), emulator.requests(EPHEMERAL_ACCESS_KEYS), self.world.requests()), (1, 1, 1));
        assert!(!log.is_empty(), "no request reached the storage");
        for entry in log {
            assert_eq!(entry.key.as_ref(), Ok(&keys[0]), "{}", entry.request);
        }
    }
}

#[test]
fn the_aws_cli_and_boto3_get_their_keys_from_the_endpoint() {
    let Some(bin) = packages::python(AWS_PYTHON) else { return };
    let workspace = Workspace::new();
    workspace.world.sandbox.file("work/up.txt", "an object\n");
    let python = bin.join("python").into_os_string().into_string().expect("a path in UTF-8");
    let under = |arguments: &[&str]| {
        let arguments = [&["exec", "--serve", "-p", "prod", "--", python.as_str()], arguments].concat();
        workspace.world.sandbox.ycred(arguments).env("AWS_ENDPOINT_URL", workspace.storage.url()).run().exits(0)
    };
    under(&["-m", "awscli", "s3", "cp", "up.txt", "s3://bucket/cli.txt", "--no-progress"]).stderr_is_empty();
    assert_eq!(workspace.storage.object("/bucket/cli.txt").as_deref(), Some(b"an object\n".as_slice()));
    let script = "import boto3\nfor n in range(3):\n    s3 = boto3.Session().client('s3')\n    s3.put_object(Bucket='bucket', Key=f'n{n}', Body=b'from boto3')\nprint(s3.get_object(Bucket='bucket', Key='n2')['Body'].read().decode())";
    under(&["-c", script]).stderr_is_empty().stdout_is("from boto3\n");
    workspace.assert_one_key();
}

#[test]
fn terraform_stores_its_state_with_keys_from_the_endpoint_and_gets_the_token() {
    let Some(_) = require_client("terraform") else { return };
    let mut workspace = Workspace::new();
    workspace.world.sandbox.set("CHECKPOINT_DISABLE", "1");
    // As in docs/hooks/aws.md, except for the addresses and without a profile.
    let main = format!(
        "terraform {{\n  backend \"s3\" {{\n    bucket = \"my-state\"\n    key = \"prod.tfstate\"\n    \
         region = \"ru-central1\"\n    use_path_style = true\n    endpoints = {{ s3 = \"{}\" }}\n    \
         skip_region_validation = true\n    skip_credentials_validation = true\n    \
         skip_requesting_account_id = true\n    skip_metadata_api_check = true\n    skip_s3_checksum = true\n  }}\n}}\n\
         resource \"terraform_data\" \"it\" {{\n  input = \"kept in the state\"\n  \
         provisioner \"local-exec\" {{\n    command = \"test $YC_TOKEN = $YC_IAM_TOKEN && echo $YC_TOKEN > token\"\n  }}\n}}\n",
        workspace.storage.url()
    );
    workspace.world.sandbox.file("work/main.tf", main);
    let under = |arguments: &[&str]| {
        let flags = ["exec", "--serve", "--with-token", "--min-ttl", "6h", "-p", "prod", "--", "terraform"];
        workspace.world.sandbox.ycred([&flags, arguments].concat()).run().exits(0)
    };
    under(&["init", "-no-color", "-input=false"]);
    under(&["apply", "-no-color", "-input=false", "-auto-approve"]).stdout_has("Apply complete!");
    let state = workspace.storage.object("/my-state/prod.tfstate").expect("the state");
    assert!(String::from_utf8_lossy(&state).contains("kept in the state"));
    let token = std::fs::read_to_string(workspace.world.sandbox.path("work/token")).expect("the token");
    assert_eq!(token.trim(), workspace.world.last_token());
    workspace.assert_one_key();
}
