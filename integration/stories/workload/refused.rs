//! Rejections by the cloud, and profiles and subject tokens that ycred itself rejects.

use std::fs;
use std::time::Duration;

use serde_json::json;
use time::Duration as Span;

use crate::emulator::exchange::Algorithm;
use crate::emulator::faults::Fault;
use crate::emulator::{Config, Tls};
use crate::expect::{fails_with, fails_with_hint, prints_token, prints_token_with_warning};
use crate::harness::waiting::HOUR;
use crate::server::Stage;
use crate::sources::workload::{COMMAND, FILE, REQUEST_TOKEN, SUBJECT, VARIABLE, Workload, github};

#[test]
fn a_rejection_has_the_clouds_message_and_the_tokens_claims() {
    let workload = Workload::of_file();
    let wrong_sub = "repo:owner/name:ref:refs/heads/Main";
    let unknown = workload.emulator().new_federation(Algorithm::Es256);
    let elsewhere = json!({"iss": "https://elsewhere.example"});
    for (token, why, shown) in [
        (workload.issuer.token(wrong_sub), "no federated credential matches", format!("sub \"{wrong_sub}\"")),
        (workload.issuer.token_with(SUBJECT, &json!({"aud": "yc"})), "aud is", "aud \"yc\"".to_owned()),
        (
            workload.issuer.token_with(SUBJECT, &elsewhere),
            "no federation",
            "iss \"https://elsewhere.example\"".to_owned(),
        ),
        (unknown.token(SUBJECT), "no federated credential matches", format!("iss \"{}\"", unknown.url)),
        (workload.issuer.impostor().token(SUBJECT), "signature", format!("sub \"{SUBJECT}\"")),
    ] {
        workload.put(&token);
        workload.emulator().clear_log();
        let run =
            workload.token(&["--force-refresh"]).run().never_prints(token.rsplit('.').next().expect("a signature"));
        for part in [&shown, "yc iam workload-identity federated-credential list", &workload.account] {
            assert!(run.lines_of_stderr("ycred: hint: ").concat().contains(part), "expected {part}\n{run}");
        }
        let expected = ["profile default", &workload.account, "config/subject-token", "400", "invalid_request", why];
        let error = fails_with(run, 1, &expected);
        assert!(error.contains(&workload.emulator().log()[0].request_id), "{error}");
        assert_eq!(workload.requests(), 1, "a rejection is final");
    }
}

#[test]
fn a_rejection_in_the_format_of_other_apis_is_parsed_too() {
    let workload = Workload::of_file();
    let body = r#"{"code":7,"message":"the federation is disabled","details":[]}"#;
    workload.emulator().fault(Fault::body(body).with_status(403));
    fails_with_hint(workload.token(&[]).run(), 1, &["403", "PERMISSION_DENIED", "is disabled"], "sub \"repo:");
}

#[test]
fn an_expired_subject_token_is_named_as_such_after_the_cloud_rejects_it() {
    let workload = Workload::new();
    let now = workload.emulator().now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_secs();
    let expired = workload.issuer.token_with(SUBJECT, &json!({"exp": now - 720}));
    workload.put(&expired);
    for (setting, expected, hint) in [
        (FILE, "config/subject-token (expired at 20", "renew the token with the program that writes the file"),
        (VARIABLE, "MY_ID_TOKEN (expired at 20", "the variable is not renewed"),
        (COMMAND, "command cat (expired at 20", "prints a new token each time"),
    ] {
        workload.profile(setting);
        let run = workload.token(&[]).env("MY_ID_TOKEN", &expired).run();
        let run = run.stderr_has(&format!("sub \"{SUBJECT}\""));
        fails_with_hint(run, 1, &[expected, "Z, 12m ago)", "is expired"], hint);
    }
}

#[test]
fn with_a_wrong_clock_valid_tokens_are_sent_and_expired_ones_are_reported() {
    // This machine's clock is 20 min fast: the token has expired by it, but the cloud's clock counts.
    let workload = Workload::of_file();
    workload.emulator().set(|settings| settings.clock_shift = Span::minutes(-20));
    workload.rotate();
    let token = prints_token(workload.token(&[]).run());
    assert!(workload.emulator().is_live(&token));
    assert_eq!(
        prints_token(workload.token(&[]).run()),
        token,
        "the lifetime is a duration, so the clocks do not matter"
    );
    // This machine's clock is 20 min slow: the token is valid by it, but expired for the cloud.
    let workload = Workload::of_file();
    workload.emulator().set(|settings| settings.clock_shift = Span::minutes(20));
    fails_with_hint(workload.token(&[]).run(), 1, &["(expired at ", "m ago)"], "the program that writes the file");
    assert_eq!(workload.requests(), 1);
}

#[test]
fn a_token_signed_with_a_fast_clock_is_rejected_with_a_hint_about_the_clock() {
    let workload = Workload::of_file();
    // The token is signed with this machine's clock, which is 20 min fast.
    workload.emulator().set(|settings| settings.clock_shift = Span::minutes(-20));
    let hint = "this machine's clock is 20 min fast";
    fails_with_hint(workload.token(&[]).run(), 1, &["is in the future"], hint);
    // Long claims must not push this hint out.
    let long = "x".repeat(400);
    workload.put(&workload.issuer.token_with(&long, &json!({"iss": long, "aud": long})));
    fails_with_hint(workload.token(&["--force-refresh"]).run(), 1, &["400"], hint);
}

#[test]
fn a_wrong_auth_host_causes_a_hint_to_check_auth_url() {
    let workload = Workload::of_file();
    // IAM does not have this path.
    let settings = workload.settings(FILE).replace(&workload.emulator().auth_url(), &workload.emulator().url());
    workload.world.sandbox.profile("default", &settings);
    let hint = format!(
        "your installation: `auth-url` in profile {}:",
        workload.world.sandbox.path("config/default.toml").display()
    );
    let run = workload.token(&[]).run();
    fails_with_hint(run, 1, &["/oauth/token: 404"], &hint);
    // Without a profile, a variable sets it.
    let call = workload.token(&[]).env("YCRED_CONFIG_DIR", workload.world.sandbox.path("work"));
    let call = call.env("YCRED_SERVICE_ACCOUNT_ID", "aje1").env("YCRED_AUTH_URL", workload.emulator().url());
    let run = call.env("YCRED_SUBJECT_TOKEN_FILE", workload.world.sandbox.path("config/subject-token")).run();
    fails_with_hint(run, 1, &["/oauth/token: 404"], "your installation: YCRED_AUTH_URL");
}

#[test]
fn an_invalid_subject_token_is_reported_with_its_origin_and_not_sent() {
    let workload = Workload::of_file();
    for content in ["", "\n", "hunter22 hunter22", "hunter22\nhunter22", &"hunter22".repeat(2049), "hunter22\u{1}"] {
        workload.world.sandbox.file("config/subject-token", content);
        workload.profile(FILE);
        let run = workload.token(&["--force-refresh"]).run().never_prints("hunter");
        fails_with(run, 3, &["subject token file", "config/subject-token"]);
        workload.profile(COMMAND);
        let run = workload.token(&["--force-refresh"]).run().never_prints("hunter");
        fails_with_hint(run, 1, &["command cat"], "run the command by hand");
        workload.profile(VARIABLE);
        let run = workload.token(&[]).env("MY_ID_TOKEN", content).run().never_prints("hunter");
        fails_with(run, 3, &["default.toml:4", "MY_ID_TOKEN"]);
    }
    fails_with_hint(workload.token(&[]).run(), 3, &["default.toml:4", "MY_ID_TOKEN", "not set"], "export MY_ID_TOKEN");
    workload.profile("subject-token-file = \"not-there\"");
    fails_with_hint(workload.token(&[]).run(), 3, &["subject token file", "config/not-there", "no such file"], "ls -l");
    workload.profile("subject-token-command = [\"sh\", \"-c\", \"echo no login >&2; exit 3\"]");
    fails_with(workload.token(&[]).run(), 1, &["command sh", "no login"]);
    assert_eq!(workload.emulator().calls(), 0);
}

#[test]
fn a_profile_needs_an_account_and_exactly_one_subject_token_source() {
    let workload = Workload::new();
    let keys = ["subject-token-file", "subject-token-env", "subject-token-command", "github-audience"];
    for more in [
        "",
        "subject-token-file = \"a\"\nsubject-token-env = \"B\"",
        "github-audience = \"a\"\nsubject-token-env = \"B\"",
    ] {
        workload.profile(more);
        fails_with(workload.token(&[]).run(), 3, &[&["default.toml", "one of"][..], &keys].concat());
    }
    let sandbox = &workload.world.sandbox;
    sandbox.profile("default", "source = \"workload\"\nsubject-token-file = \"a\"\n");
    fails_with_hint(workload.token(&[]).run(), 3, &["`service-account-id`"], "service-account-id = ");
    sandbox.profile("default", "source = \"workload\"\nservice-account-id = \"a b\"\nsubject-token-file = \"a\"\n");
    fails_with(workload.token(&[]).run(), 3, &["default.toml:2", "`service-account-id`", "a b"]);
    sandbox.profile("default", "source = \"workload\"\nservice-account = \"a\"\n");
    fails_with_hint(workload.token(&[]).run(), 3, &["default.toml:2"], "service-account-id");
    assert_eq!(workload.emulator().calls(), 0);
}

#[test]
fn init_writes_the_profile_and_prints_the_account() {
    let workload = Workload::new();
    let sandbox = &workload.world.sandbox;
    sandbox.file("work/token", workload.issuer.token(SUBJECT));
    let (url, account) = (workload.emulator().auth_url(), workload.account.as_str());
    let arguments =
        ["init", "ci", "--service-account-id", account, "--subject-token-file", "token", "--auth-url", &url];
    sandbox
        .ycred(arguments)
        .run()
        .exits(0)
        .stderr_is_empty()
        .stdout_has(&format!("service account {account} (workload"));
    let profile = fs::read_to_string(sandbox.path("config/ci.toml")).expect("the profile");
    assert!(profile.contains("source = \"workload\"") && profile.contains("work/token\""), "{profile}");
    prints_token(workload.token(&["-p", "ci"]).run());
    assert_eq!(workload.requests(), 1);
}

#[test]
fn a_program_gets_the_token_and_not_the_subject_token() {
    let workload = Workload::new();
    workload.profile(&github(&workload));
    let exec = |arguments: &[&str]| workload.world.sandbox.ycred(["exec", "--"].iter().chain(arguments));
    let run = workload.job(exec(&["/usr/bin/env"])).run().exits(0).stderr_is_empty();
    assert!(run.stdout.contains("\nYC_TOKEN=") || run.stdout.starts_with("YC_TOKEN="), "{run}");
    let run = run.never_prints("ACTIONS_ID_TOKEN_REQUEST_TOKEN").never_prints(REQUEST_TOKEN);
    run.stdout_has("ACTIONS_ID_TOKEN_REQUEST_URL=");
    workload.profile(VARIABLE);
    let token = workload.issuer.token(SUBJECT);
    let run = exec(&["/usr/bin/env"]).env("MY_ID_TOKEN", &token).run().exits(0).stderr_is_empty();
    run.never_prints("MY_ID_TOKEN").never_prints(&token);
    let env = workload.world.sandbox.ycred(["env"]).env("MY_ID_TOKEN", &token).run().exits(0);
    env.stdout_has("unset MY_ID_TOKEN;").never_prints(&token);
}

#[test]
fn if_the_cloud_is_down_requests_are_retried_and_the_cached_token_is_used() {
    let workload = Workload::of_file();
    workload.emulator().fault(Fault::refuse(500).times(1));
    workload.emulator().fault(Fault::broken(Stage::BeforeAnswer).times(1));
    workload.emulator().fault(Fault::refuse(429).retry_after(0).times(1));
    let old = prints_token(workload.token(&[]).run());
    assert_eq!(workload.requests(), 4, "one request and three retries");
    workload.emulator().clear_faults();
    workload.emulator().fault(Fault::refuse(503).message("maintenance"));
    workload.world.age(12 * HOUR - Duration::from_secs(50));
    assert_eq!(
        prints_token_with_warning(workload.token(&[]).run(), &["the cached token is used", "503", "maintenance"]),
        old
    );
    assert_eq!(workload.requests(), 8);
    let run = workload.token(&["--no-cache"]).run();
    fails_with(run, 4, &["service account", "subject token file", "/oauth/token", "503", "maintenance"]);
}

#[test]
fn responses_that_are_not_from_the_cloud_are_reported() {
    for (fault, expected) in [
        (Fault::html(), &["/oauth/token", "text/html", "unexpected response: "][..]),
        (Fault::body(""), &["/oauth/token", "an empty body"]),
        (Fault::body("{\"token_type\":\"Bearer\"}"), &["/oauth/token", "unexpected response: "]),
        (Fault::body("{\"access_token\":\"two words\"}"), &["/oauth/token", "invalid token"]),
        (Fault::refuse(302), &["/oauth/token", "redirected"]),
        (Fault::endless(), &["/oauth/token", "larger than"]),
    ] {
        let workload = Workload::of_file();
        workload.emulator().fault(fault);
        fails_with(workload.token(&["--timeout", "5s"]).run(), 4, expected);
        assert_eq!(workload.requests(), 1);
    }
}

#[test]
fn exchange_works_over_tls_with_a_custom_ca() {
    let workload = Workload::with(Config::with_tls(Tls::Good));
    workload.emulator().write_ca(workload.world.sandbox.path("config/ca.pem")).expect("the certificate");
    workload.rotate();
    workload.profile(FILE);
    fails_with(workload.token(&[]).run(), 3, &["/oauth/token", "signed by an authority"]);
    workload.profile(&format!("{FILE}\nca-file = \"ca.pem\""));
    prints_token(workload.token(&[]).run());
    assert_eq!(workload.requests(), 1);
}
