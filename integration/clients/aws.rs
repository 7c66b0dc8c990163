//! Clients of Object Storage: AWS CLI, boto3, the AWS SDK for JavaScript and Terraform's S3 backend, each of which runs
//! `ycred aws` as its `credential_process` and signs its requests with what comes of that.

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

/// A Python with these packages.
fn python(packages: &[&str]) -> Option<PathBuf> {
    Some(packages::python(packages)?.join("python"))
}

/// A sandbox whose AWS profile `yc` runs ycred, with Object Storage behind it.
struct Workspace {
    world: World,
    storage: ObjectStorage,
    runs: PathBuf,
}

impl Workspace {
    fn new(flags: &str) -> Workspace {
        let mut world = World::bare(Config::default());
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
        // No metadata service and no network is looked for.
        world.sandbox.seal().set("AWS_EC2_METADATA_DISABLED", "true");
        Workspace { world, storage, runs }
    }

    fn mints(&self) -> usize {
        self.world.emulator.requests(EPHEMERAL_ACCESS_KEYS)
    }

    /// Every request was signed with the one key that was minted.
    #[track_caller]
    fn all_by_one_key(&self) {
        let (log, keys) = (self.storage.log(), self.world.emulator.access_keys());
        assert_eq!((keys.len(), self.world.requests(), self.mints()), (1, 1, 1), "{log:?}");
        assert!(!log.is_empty(), "nothing was asked of the storage");
        for entry in log {
            assert_eq!(entry.key.as_ref(), Ok(&keys[0]), "{}", entry.what);
        }
    }

    /// Neither secret of the key was said by a client.
    #[track_caller]
    fn untold(&self, run: Run) -> Run {
        self.world
            .emulator
            .access_keys()
            .iter()
            .fold(run, |run, key| run.never_says(&key.secret).never_says(&key.session_token))
    }
}

/// The AWS CLI in a workspace.
fn aws(workspace: &Workspace, python: &Path, words: &[&str]) -> Call {
    workspace.world.sandbox.call(python, ["-m", "awscli"].iter().chain(words))
}

#[test]
fn the_aws_cli_stores_lists_and_fetches_with_one_key() {
    let Some(python) = python(AWS_PYTHON) else { return };
    let workspace = Workspace::new("");
    workspace.world.sandbox.file("work/up.txt", "an object\n");
    let run = |words: &[&str]| workspace.untold(aws(&workspace, &python, words).run().succeeds().quietly());
    run(&["--profile", "yc", "s3", "cp", "up.txt", "s3://bucket/dir/a b+c.txt", "--no-progress"]);
    assert_eq!(workspace.storage.object("/bucket/dir/a b+c.txt").as_deref(), Some(b"an object\n".as_slice()));
    run(&["--profile", "yc", "s3", "ls", "s3://bucket/dir/"]).stdout_has("a b+c.txt");
    run(&["--profile", "yc", "s3", "cp", "s3://bucket/dir/a b+c.txt", "-"]).stdout_is("an object\n");
    assert!(runs_of(&workspace.runs) >= 3, "each run asks ycred");
    workspace.all_by_one_key();
}

/// The trap that the page tells of.
#[test]
fn a_profile_named_outright_wins_over_stale_keys_and_the_variable_loses() {
    let Some(python) = python(AWS_PYTHON) else { return };
    let workspace = Workspace::new("");
    let list = |words: &[&str]| {
        let call =
            aws(&workspace, &python, words).env("AWS_ACCESS_KEY_ID", "stale").env("AWS_SECRET_ACCESS_KEY", "stale");
        call.env("AWS_PROFILE", "yc").run()
    };
    let run = list(&["s3", "ls", "s3://bucket/"]).fails().stderr_has("InvalidAccessKeyId");
    assert_eq!(runs_of(&workspace.runs), 0, "ycred was asked\n{run}");
    workspace.world.sandbox.file("work/up.txt", "x");
    list(&["--profile", "yc", "s3", "cp", "up.txt", "s3://bucket/x"]).succeeds();
    assert!(workspace.storage.object("/bucket/x").is_some());
}

#[test]
fn a_refusal_reaches_the_user_of_the_aws_cli_as_it_is() {
    let Some(python) = python(AWS_PYTHON) else { return };
    let workspace = Workspace::new("");
    let words = "No access key for you, says the test";
    workspace.world.emulator.fault(Fault::refuse(403).message(words).on(Endpoint::EphemeralAccessKeys));
    let run = aws(&workspace, &python, &["--profile", "yc", "s3", "ls", "s3://bucket/"]).run().fails().stdout_is("");
    run.stderr_has("Error when retrieving credentials from custom-process: ycred: error: profile prod:")
        .stderr_has(words);
    assert_eq!(workspace.mints(), 1);
    assert!(workspace.storage.log().is_empty());
}

#[test]
fn boto3_asks_oftener_for_a_short_key_and_is_answered_from_the_cache() {
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
    let run =
        workspace.world.sandbox.call(&python, ["-c", script]).run().succeeds().quietly().stdout_is("from boto3\n");
    workspace.untold(run);
    assert!(runs_of(&workspace.runs) > 1, "less than 15 minutes are left, so that botocore asks again");
    workspace.all_by_one_key();
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
    workspace.untold(call.run().succeeds().stdout_is("from JavaScript\n"));
    workspace.all_by_one_key();
}

#[test]
fn rclone_copies_with_the_profile_of_its_remote() {
    let Some(rclone) = require_client("rclone") else { return };
    let workspace = Workspace::new("");
    // As in docs/hooks/aws.md, but for the address.
    let remote = format!(
        "[yc]\ntype = s3\nprovider = Other\nenv_auth = true\nprofile = yc\nregion = ru-central1\nendpoint = {}\n",
        workspace.storage.url()
    );
    workspace.world.sandbox.file("home/.config/rclone/rclone.conf", remote);
    workspace.world.sandbox.file("work/up.txt", "by rclone\n");
    let run = |words: &[&str]| {
        let call = workspace.world.sandbox.call(&rclone, words).env("RCLONE_S3_NO_CHECK_BUCKET", "true");
        workspace.untold(call.run().succeeds())
    };
    run(&["copyto", "up.txt", "yc:bucket/dir/up.txt"]);
    assert_eq!(workspace.storage.object("/bucket/dir/up.txt").as_deref(), Some(b"by rclone\n".as_slice()));
    run(&["cat", "yc:bucket/dir/up.txt"]).stdout_is("by rclone\n");
    workspace.all_by_one_key();
}

#[test]
fn terraform_keeps_its_state_in_object_storage() {
    let Some(terraform) = require_client("terraform") else { return };
    let mut workspace = Workspace::new("");
    workspace.world.sandbox.set("CHECKPOINT_DISABLE", "1");
    // As in docs/hooks/aws.md, but for the addresses.
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
    let run = |words: &[&str]| {
        // Stale keys lose to the profile that the backend names.
        let call = workspace.world.sandbox.call(&terraform, words).env("AWS_ACCESS_KEY_ID", "stale");
        workspace.untold(call.env("AWS_SECRET_ACCESS_KEY", "stale").run().succeeds())
    };
    run(&["init", "-no-color", "-input=false"]);
    run(&["apply", "-no-color", "-input=false", "-auto-approve"]).stdout_has("Apply complete!");
    let state = workspace.storage.object("/my-state/prod.tfstate").expect("the state");
    assert!(String::from_utf8_lossy(&state).contains("kept in the state"));
    run(&["plan", "-no-color", "-input=false"]).stdout_has("No changes.");
    workspace.all_by_one_key();
}
