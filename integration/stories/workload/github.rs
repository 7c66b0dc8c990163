//! GitHub Actions jobs without their variables or with a failing token endpoint.

use crate::emulator::faults::{Endpoint, Fault};
use crate::expect::{fails_with, fails_with_hint, prints_token};
use crate::sources::workload::{GITHUB, Workload, github};

#[test]
fn without_githubs_variables_the_hint_names_the_permission() {
    let workload = Workload::new();
    workload.profile(&github(&workload));
    let job = workload.job(workload.token(&[]));
    for name in ["ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"] {
        let run = job.clone().without(name).run();
        fails_with_hint(run, 3, &["default.toml:4", "github-audience", name], "permissions: id-token: write");
    }
    for url in ["http://github.example/x", "https://u@github.example/", "ftp://127.0.0.1/", "127.0.0.1", "https://x/#y"]
    {
        let run = job.clone().env("ACTIONS_ID_TOKEN_REQUEST_URL", url).run();
        fails_with(run, 3, &["ACTIONS_ID_TOKEN_REQUEST_URL", "is not an https URL"]);
    }
    let run = job.clone().env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "hunter22\nX-Header: x").run().never_prints("hunter22");
    fails_with(run, 3, &["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]);
    assert_eq!(workload.emulator().calls(), 0);
}

#[test]
fn failures_of_githubs_token_endpoint_are_retried_or_reported() {
    let workload = Workload::new();
    workload.profile(&github(&workload));
    let job = |arguments: &[&str]| workload.job(workload.token(arguments));
    let at_github = |fault: Fault| workload.emulator().fault(fault.on(Endpoint::Other));
    at_github(Fault::refuse(500).times(2));
    let token = prints_token(job(&[]).run());
    assert_eq!((workload.emulator().requests(GITHUB), workload.requests()), (3, 1), "one request and the retries");
    assert_eq!(prints_token(job(&[]).run()), token);
    for (fault, code, expected) in [
        (Fault::html(), 4, &["/github/idtoken", "text/html"][..]),
        (Fault::body("{\"count\":0}"), 4, &["/github/idtoken", "unexpected response: "]),
        (Fault::body("{\"value\":\"two words\"}"), 1, &["GitHub Actions", "single token on one line"]),
        (Fault::refuse(403).message("no"), 1, &["GitHub Actions", "403", "no"]),
        (Fault::refuse(302), 4, &["GitHub Actions", "redirected"]),
    ] {
        workload.emulator().clear_faults();
        at_github(fault);
        fails_with(job(&["--force-refresh"]).run(), code, expected);
    }
    assert_eq!(workload.requests(), 1, "expected no further exchange");
}
