//! Clients of Object Storage: the AWS CLI, boto3, the AWS SDK for JavaScript, rclone and Terraform's S3 backend.
//!
//! Each runs `ycred aws` as its `credential_process`, and signs its requests with the access key in the reply.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::client::{runs_of, wrapper};
use super::versions::{AWS_NODE, AWS_PYTHON};
use crate::emulator::Config;
use crate::emulator::access_keys::EPHEMERAL_ACCESS_KEYS;
use crate::emulator::faults::{Endpoint, Fault};
use crate::harness::{Call, Run, YCRED, require_client};
use crate::object_storage::ObjectStorage;
use crate::packages;
use crate::world::World;

/// Returns a Python interpreter with these packages.
fn python(packages: &[&str]) -> Option<PathBuf> {
    Some(packages::python(packages)?.join("python"))
}

/// A sandbox with an AWS profile `yc` that runs ycred, and an emulated Object Storage.
struct Workspace {
    world: World,
    storage: ObjectStorage,
    runs: PathBuf,
}

impl Workspace {
    fn new(flags: &str) -> Workspace {
        let mut world = World::without_profile(Config::default());
        let storage = ObjectStorage::start(Arc::clone(&world.emulator));
        world.profile_for("prod", &[]);
        let (helper, runs) = wrapper(&world.sandbox, "helper", Path::new(YCRED));
        world.sandbox.file(
            "home/.aws/config",
            format!(
                "[profile yc]\nregion = ru-central1\nendpoint_url = {}\ncredential_process = {} aws --profile prod{flags}\n",
                storage.url(),
                helper.display()
            ),
        );
        // Keeps the clients off the network and away from EC2's metadata service.
        world.sandbox.seal().set("AWS_EC2_METADATA_DISABLED", "true");
        Workspace { world, storage, runs }
    }

    /// Returns the number of requests for an access key.
    fn key_requests(&self) -> usize {
        self.world.emulator.requests(EPHEMERAL_ACCESS_KEYS)
    }

    /// Checks that one access key was issued, and that it signed every request.
    #[track_caller]
    fn assert_one_key(&self) {
        let (log, keys) = (self.storage.log(), self.world.emulator.access_keys());
        assert_eq!((keys.len(), self.world.requests(), self.key_requests()), (1, 1, 1), "{log:?}");
        assert!(!log.is_empty(), "no request reached the storage");
        for entry in log {
            assert_eq!(entry.key.as_ref(), Ok(&keys[0]), "{}", entry.request);
        }
    }

    /// Checks that the output contains no secret of an access key.
    #[track_caller]
    fn prints_no_secret(&self, run: Run) -> Run {
        self.world
            .emulator
            .access_keys()
            .iter()
            .fold(run, |run, key| run.never_prints(&key.secret).never_prints(&key.session_token))
    }
}

/// Returns a call of the AWS CLI in a workspace.
fn aws(workspace: &Workspace, python: &Path, arguments: &[&str]) -> Call {
    workspace.world.sandbox.call(python, ["-m", "awscli"].iter().chain(arguments))
}

#[test]
fn the_aws_cli_stores_lists_and_fetches_with_one_key() {
    let Some(python) = python(AWS_PYTHON) else { return };
    let workspace = Workspace::new("");
    workspace.world.sandbox.file("work/up.txt", "an object\n");
    let run = |arguments: &[&str]| {
        workspace.prints_no_secret(aws(&workspace, &python, arguments).run().succeeds().stderr_is_empty())
    };
    run(&["--profile", "yc", "s3", "cp", "up.txt", "s3://bucket/dir/a b+c.txt", "--no-progress"]);
    assert_eq!(workspace.storage.object("/bucket/dir/a b+c.txt").as_deref(), Some(b"an object\n".as_slice()));
    run(&["--profile", "yc", "s3", "ls", "s3://bucket/dir/"]).stdout_has("a b+c.txt");
    run(&["--profile", "yc", "s3", "cp", "s3://bucket/dir/a b+c.txt", "-"]).stdout_is("an object\n");
    assert!(runs_of(&workspace.runs) >= 3, "each run of the CLI runs ycred");
    workspace.assert_one_key();
}

/// The exception that docs/hooks/aws.md describes: keys in the environment win over `AWS_PROFILE`.
#[test]
fn the_option_profile_overrides_keys_in_the_environment_but_the_variable_does_not() {
    let Some(python) = python(AWS_PYTHON) else { return };
    let workspace = Workspace::new("");
    let list = |arguments: &[&str]| {
        let call =
            aws(&workspace, &python, arguments).env("AWS_ACCESS_KEY_ID", "stale").env("AWS_SECRET_ACCESS_KEY", "stale");
        call.env("AWS_PROFILE", "yc").run()
    };
    let run = list(&["s3", "ls", "s3://bucket/"]).fails().stderr_has("InvalidAccessKeyId");
    assert_eq!(runs_of(&workspace.runs), 0, "ycred was run\n{run}");
    workspace.world.sandbox.file("work/up.txt", "x");
    list(&["--profile", "yc", "s3", "cp", "up.txt", "s3://bucket/x"]).succeeds();
    assert!(workspace.storage.object("/bucket/x").is_some());
}

#[test]
fn the_aws_cli_shows_the_refusal_of_the_cloud() {
    let Some(python) = python(AWS_PYTHON) else { return };
    let workspace = Workspace::new("");
    let message = "No access key for you, says the test";
    workspace.world.emulator.fault(Fault::refuse(403).message(message).on(Endpoint::EphemeralAccessKeys));
    let run = aws(&workspace, &python, &["--profile", "yc", "s3", "ls", "s3://bucket/"]).run().fails().stdout_is("");
    run.stderr_has("Error when retrieving credentials from custom-process: ycred: error: profile prod:")
        .stderr_has(message);
    assert_eq!(workspace.key_requests(), 1);
    assert!(workspace.storage.log().is_empty());
}

#[test]
fn boto3_runs_ycred_more_often_for_a_short_key_and_gets_the_cached_one() {
    let Some(python) = python(AWS_PYTHON) else { return };
    let workspace = Workspace::new(" --duration 15m --session-name 'by boto3'");
    let script = "import boto3\n\
                  s3 = boto3.Session(profile_name='yc').client('s3')\n\
                  for n in range(3):\n    s3.put_object(Bucket='bucket', Key=f'n{n}', Body=b'from boto3')\n\
                  print(s3.get_object(Bucket='bucket', Key='n2')['Body'].read().decode())\n";
    let failed = workspace.world.sandbox.call(&python, ["-c", script]).run().fails();
    let failed = failed.stderr_has("--session-name: \"by boto3\" is not a valid session name");
    assert_eq!(workspace.world.requests(), 0, "{failed}");

    let workspace = Workspace::new(" --duration 15m --session-name by-boto3");
    let run = workspace
        .world
        .sandbox
        .call(&python, ["-c", script])
        .run()
        .succeeds()
        .stderr_is_empty()
        .stdout_is("from boto3\n");
    workspace.prints_no_secret(run);
    assert!(runs_of(&workspace.runs) > 1, "botocore runs ycred again when less than 15 minutes are left");
    workspace.assert_one_key();
    assert_eq!(workspace.world.emulator.access_keys()[0].session_name, "by-boto3");
}

#[test]
fn the_sdk_for_javascript_stores_and_fetches() {
    let (Some(node), Some(modules)) = (require_client("node"), packages::node(AWS_NODE)) else { return };
    let workspace = Workspace::new("");
    let script = format!(
        "const {{ S3Client, PutObjectCommand, GetObjectCommand }} = require('@aws-sdk/client-s3');\n\
         const {{ fromProcess }} = require('@aws-sdk/credential-providers');\n\
         (async () => {{\n\
           const s3 = new S3Client({{ region: 'ru-central1', endpoint: '{}', forcePathStyle: true,\n\
             credentials: fromProcess({{ profile: 'yc' }}) }});\n\
           await s3.send(new PutObjectCommand({{ Bucket: 'bucket', Key: 'from/js', Body: 'from JavaScript' }}));\n\
           const got = await s3.send(new GetObjectCommand({{ Bucket: 'bucket', Key: 'from/js' }}));\n\
           console.log(await got.Body.transformToString());\n\
         }})();\n",
        workspace.storage.url()
    );
    let script = workspace.world.sandbox.file("work/script.js", script);
    let call = workspace.world.sandbox.call(node, [&script]).env("NODE_PATH", modules);
    workspace.prints_no_secret(call.run().succeeds().stdout_is("from JavaScript\n"));
    workspace.assert_one_key();
}

#[test]
fn rclone_uses_the_profile_of_its_remote() {
    let Some(rclone) = require_client("rclone") else { return };
    let workspace = Workspace::new("");
    // As in docs/hooks/aws.md, except for the address.
    let remote = format!(
        "[yc]\ntype = s3\nprovider = Other\nenv_auth = true\nprofile = yc\nregion = ru-central1\nendpoint = {}\n",
        workspace.storage.url()
    );
    workspace.world.sandbox.file("home/.config/rclone/rclone.conf", remote);
    workspace.world.sandbox.file("work/up.txt", "by rclone\n");
    let run = |arguments: &[&str]| {
        let call = workspace.world.sandbox.call(&rclone, arguments).env("RCLONE_S3_NO_CHECK_BUCKET", "true");
        workspace.prints_no_secret(call.run().succeeds())
    };
    run(&["copyto", "up.txt", "yc:bucket/dir/up.txt"]);
    assert_eq!(workspace.storage.object("/bucket/dir/up.txt").as_deref(), Some(b"by rclone\n".as_slice()));
    run(&["cat", "yc:bucket/dir/up.txt"]).stdout_is("by rclone\n");
    workspace.assert_one_key();
}

#[test]
fn terraform_stores_its_state_in_object_storage() {
    let Some(terraform) = require_client("terraform") else { return };
    let mut workspace = Workspace::new("");
    workspace.world.sandbox.set("CHECKPOINT_DISABLE", "1");
    // As in docs/hooks/aws.md, except for the addresses.
    workspace.world.sandbox.file(
        "work/main.tf",
        format!(
            "terraform {{\n  backend \"s3\" {{\n    bucket = \"my-state\"\n    key = \"prod.tfstate\"\n    \
             region = \"ru-central1\"\n    profile = \"yc\"\n    use_path_style = true\n    \
             endpoints = {{ s3 = \"{}\" }}\n    skip_region_validation = true\n    \
             skip_credentials_validation = true\n    skip_requesting_account_id = true\n    \
             skip_metadata_api_check = true\n    skip_s3_checksum = true\n  }}\n}}\n\
             resource \"terraform_data\" \"it\" {{\n  input = \"kept in the state\"\n}}\n",
            workspace.storage.url()
        ),
    );
    let run = |arguments: &[&str]| {
        // The profile in the backend takes precedence over stale keys in the environment.
        let call = workspace.world.sandbox.call(&terraform, arguments).env("AWS_ACCESS_KEY_ID", "stale");
        workspace.prints_no_secret(call.env("AWS_SECRET_ACCESS_KEY", "stale").run().succeeds())
    };
    run(&["init", "-no-color", "-input=false"]);
    run(&["apply", "-no-color", "-input=false", "-auto-approve"]).stdout_has("Apply complete!");
    let state = workspace.storage.object("/my-state/prod.tfstate").expect("the state");
    assert!(String::from_utf8_lossy(&state).contains("kept in the state"));
    run(&["plan", "-no-color", "-input=false"]).stdout_has("No changes.");
    workspace.assert_one_key();
}

#[test]
fn the_aws_cli_gets_a_key_through_what_setup_wrote_and_the_file_comes_back() {
    let Some(python) = python(AWS_PYTHON) else { return };
    let workspace = Workspace::new("");
    let sandbox = &workspace.world.sandbox;
    sandbox.link("ycred");
    // The endpoint is the emulator's, which setup must not replace.
    let text = format!("# mine\n[profile yc]\nendpoint_url = {}\n", workspace.storage.url());
    let path = sandbox.file("home/.aws/config", &text);
    sandbox.file("work/up.txt", "an object\n");
    let copy = ["--profile", "yc", "s3", "cp", "up.txt", "s3://bucket/up.txt", "--no-progress"];
    aws(&workspace, &python, &copy).run().fails();
    sandbox.ycred(["setup", "aws", "-p", "prod"]).run().succeeds().stderr_is_empty();
    workspace.prints_no_secret(aws(&workspace, &python, &copy).run().succeeds());
    workspace.assert_one_key();
    sandbox.ycred(["unsetup", "--all"]).run().succeeds();
    assert_eq!(std::fs::read_to_string(&path).expect("the file"), text);
    // The AWS CLI edits its file between setup and unsetup.
    sandbox.ycred(["setup", "aws", "-p", "prod"]).run().succeeds();
    let set = |name: &str, value: &str, profile: &str| {
        aws(&workspace, &python, &["configure", "set", name, value, "--profile", profile]).run().succeeds();
    };
    set("output", "json", "yc");
    set("region", "eu-west-1", "other");
    sandbox.ycred(["unsetup", "--all"]).run().succeeds();
    let left = std::fs::read_to_string(&path).expect("the file");
    assert_eq!(left, format!("{text}output = json\n[profile other]\nregion = eu-west-1\n"));
}

#[test]
fn what_setup_refuses_is_what_botocore_uses_instead_of_ycred() {
    let Some(python) = python(AWS_PYTHON) else { return };
    let workspace = Workspace::new("");
    let sandbox = &workspace.world.sandbox;
    sandbox.link("ycred");
    let script = "import botocore.session, sys\n\
                  session = botocore.session.Session(profile='yc')\n\
                  try:\n    print(session.get_credentials().method)\n\
                  except Exception as error:\n    print(type(error).__name__)\n";
    let used = || sandbox.call(&python, ["-c", script]).run().succeeds().stdout.trim().to_owned();
    assert_eq!(used(), "custom-process");
    let runs = runs_of(&workspace.runs);
    let config = std::fs::read_to_string(sandbox.path("home/.aws/config")).expect("the file");
    for options in [
        "aws_access_key_id = a\naws_secret_access_key = b\n",
        "role_arn = arn:aws:iam::1:role/x\nsource_profile = yc\n",
        "role_arn = arn:aws:iam::1:role/x\ncredential_source = Environment\n",
        "role_arn = arn:aws:iam::1:role/x\nweb_identity_token_file = /nowhere\n",
        "sso_account_id = 1\nsso_start_url = https://x\nsso_region = x\n",
        "login_session = arn:aws:iam::1:user/x\n",
        "credential_process = /bin/false\n",
    ] {
        let first = options.split(' ').next().unwrap_or_default();
        sandbox.file("home/.aws/credentials", format!("[yc]\n{options}"));
        assert_ne!(used(), "custom-process", "{options}");
        let run = sandbox.ycred(["setup", "aws", "-p", "prod", "--force"]).run().exits(3);
        run.stderr_has(if first.starts_with("aws_") { "static keys" } else { first });
        std::fs::remove_file(sandbox.path("home/.aws/credentials")).expect("removed");
        // In the configuration file, botocore uses static keys only without a process. Other SDKs use them first.
        if !first.starts_with("aws_") && first != "credential_process" {
            for text in [format!("{config}{options}"), format!("{config}\n[DEFAULT]\n{options}")] {
                sandbox.file("home/.aws/config", text);
                assert_ne!(used(), "custom-process", "{options}");
            }
        }
        sandbox.file("home/.aws/config", &config);
    }
    assert_eq!(runs_of(&workspace.runs), runs, "ycred was never asked");
}
