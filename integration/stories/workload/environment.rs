//! Workloads configured by variables, without a profile.

use std::net::SocketAddr;

use crate::emulator::{Config, TOKENS, Tls};
use crate::expect::{fails_with, fails_with_hint, prints_token, token_on_stdout};
use crate::harness::Call;
use crate::server::Response;
use crate::sources::workload::{REQUEST_TOKEN, Workload};
use crate::stories::tunnel::Tunnel;

/// A workload without a profile. A proxy connects the cloud's real host names to the emulator, over TLS.
fn without_profile() -> (Workload, Tunnel) {
    let names = ["auth.yandex.cloud", "iam.api.cloud.yandex.net"].map(str::to_owned).to_vec();
    let mut workload = Workload::with(Config { names, ..Config::with_tls(Tls::Good) });
    let ca = workload.world.sandbox.path("tmp/ca.pem");
    workload.emulator().write_ca(&ca).expect("the certificate");
    let address = |url: &str| -> SocketAddr {
        url.split_once("://").and_then(|(_, address)| address.parse().ok()).expect("an address")
    };
    let (iam, auth) = (address(&workload.emulator().url()), address(&workload.emulator().auth_url()));
    let tunnel = Tunnel::responding(move |request| {
        Response::tunnel(if request.target.starts_with("auth.yandex.cloud:") { auth } else { iam })
    });
    workload.world.sandbox.set("HTTPS_PROXY", tunnel.url()).set("SSL_CERT_FILE", ca);
    workload.rotate();
    (workload, tunnel)
}

#[test]
fn without_a_profile_workload_variables_rank_after_other_credentials_and_before_metadata() {
    let (workload, tunnel) = without_profile();
    workload.emulator().attach(Some("ajeofthemachine00000"));
    let (oauth, user) = workload.emulator().new_oauth();
    let subject = |call: Call| workload.emulator().subject_of(&prints_token(call.run()));
    let call = workload
        .token(&[])
        .env("YCRED_SERVICE_ACCOUNT_ID", &workload.account)
        .env("YCRED_SUBJECT_TOKEN_FILE", "../config/subject-token")
        .env("YC_METADATA_ADDR", workload.emulator().metadata_addr());
    assert_eq!(subject(call.clone()), Some(workload.account.clone()));
    assert_eq!((workload.requests(), tunnel.targets()), (1, vec!["CONNECT auth.yandex.cloud:443".to_owned()]));
    assert_eq!(subject(call.clone().env("YC_OAUTH_TOKEN", oauth)), Some(user));
    // One variable without the other never leads to the machine's account.
    let alone = call.clone().without("YCRED_SERVICE_ACCOUNT_ID");
    fails_with(alone.run(), 3, &["YCRED_SUBJECT_TOKEN_FILE is set, but YCRED_SERVICE_ACCOUNT_ID"]);
    let alone = call.clone().without("YCRED_SUBJECT_TOKEN_FILE");
    fails_with_hint(alone.run(), 3, &["YCRED_SERVICE_ACCOUNT_ID"], "permissions: id-token: write");
    let wrong = call.clone().env("YCRED_SERVICE_ACCOUNT_ID", "my account");
    fails_with(wrong.run(), 3, &["`YCRED_SERVICE_ACCOUNT_ID`", "my account"]);
    let account = workload.emulator().new_service_account();
    assert_eq!(subject(call.env("YCRED_IMPERSONATE", &account)), Some(account));
    assert_eq!((workload.requests(), workload.emulator().requests(TOKENS)), (1, 1));
}

#[test]
fn without_a_profile_a_variable_sets_the_auth_host_of_another_installation() {
    let workload = Workload::new();
    workload.rotate();
    let call = workload
        .token(&[])
        .env("YCRED_SERVICE_ACCOUNT_ID", &workload.account)
        .env("YCRED_SUBJECT_TOKEN_FILE", workload.world.sandbox.path("config/subject-token"));
    let token = prints_token(call.clone().env("YCRED_AUTH_URL", workload.emulator().auth_url()).run());
    assert_eq!(workload.emulator().subject_of(&token), Some(workload.account.clone()));
    fails_with(call.env("YCRED_AUTH_URL", "http://auth.example").run(), 3, &["`YCRED_AUTH_URL`", "plain http"]);
}

#[test]
fn without_a_profile_a_github_actions_job_needs_only_the_account() {
    let (workload, _tunnel) = without_profile();
    let audience = workload.issuer.audience.clone();
    // The endpoint is on loopback, and behind the emulator's own authority.
    let call = workload.job(workload.token(&[])).env("YCRED_SERVICE_ACCOUNT_ID", &workload.account);
    let run = call.clone().env("GITHUB_REPOSITORY_OWNER", "owner").run();
    fails_with_hint(run, 1, &["ID token from GitHub Actions"], "aud \"https://github.com/owner\"");
    let run = call.clone().env("GITHUB_REPOSITORY_OWNER", "owner").env("YCRED_GITHUB_AUDIENCE", &audience).run();
    let token = token_on_stdout(&run.exits(0).stderr_is_empty());
    assert_eq!(workload.emulator().subject_of(&token), Some(workload.account.clone()));
    fails_with_hint(call.run(), 3, &["YCRED_SERVICE_ACCOUNT_ID"], "YCRED_GITHUB_AUDIENCE");
    // A program under `exec` gets the token, but not the secret used to request it.
    let exec = workload.job(workload.world.sandbox.ycred(["exec", "/usr/bin/env"]));
    let exec = exec.env("YCRED_SERVICE_ACCOUNT_ID", &workload.account).env("YCRED_GITHUB_AUDIENCE", &audience);
    exec.run().exits(0).stderr_is_empty().never_prints(REQUEST_TOKEN);
}
