//! Workload identity federation: every way of the subject token, from its first use to its refusal, against a cloud that
//! verifies it.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::time::Duration;

use serde_json::json;
use time::Duration as Span;

use super::tunnel::Tunnel;
use crate::emulator::exchange::Algorithm;
use crate::emulator::faults::{Endpoint, Fault};
use crate::emulator::log::{Presented, fingerprint};
use crate::emulator::{CREATE_FOR_SERVICE_ACCOUNT, Config, TOKENS, Tls};
use crate::expect::{handed, one_token, refused, refused_with_hint, warned};
use crate::harness::files::set_mode;
use crate::harness::waiting::{HOUR, MINUTE};
use crate::harness::{Call, run_all};
use crate::server::{Response, Stage};
use crate::sources::workload::{COMMAND, FILE, GITHUB, REQUEST_TOKEN, SUBJECT, VARIABLE, Workload, github};

// ------------------------------------------------------------------------------------------------------- its whole life

#[test]
fn a_file_is_read_anew_for_each_fetch_and_not_at_all_for_a_hit() {
    let workload = Workload::of_file();
    let first = workload.rotate();
    let old = handed(workload.token(&[]).run());
    assert_eq!(workload.emulator().subject_of(&old), Some(workload.account.clone()));
    fs::remove_file(workload.world.sandbox.path("config/subject-token")).expect("the file");
    assert_eq!(handed(workload.token(&[]).run()), old, "the subject token is not part of what is cached");
    workload.world.age(12 * HOUR);
    let second = workload.rotate();
    let new = handed(workload.token(&[]).run());
    assert_ne!(new, old);
    assert_eq!(workload.shown(), [fingerprint(&first), fingerprint(&second)]);
}

/// As the kubelet does it: a link to a directory of the moment, replaced as a whole.
#[test]
fn a_volume_that_is_renewed_by_replacing_a_link_is_the_same_file() {
    let workload = Workload::new();
    let volume = workload.world.sandbox.path("config/volume");
    let renew = |moment: &str| {
        let token = workload.issuer.token(SUBJECT);
        workload.world.sandbox.file(format!("config/volume/{moment}/sa-token"), &token);
        symlink(moment, volume.join("..tmp")).expect("a link");
        fs::rename(volume.join("..tmp"), volume.join("..data")).expect("the link in its place");
        token
    };
    let first = renew("..first");
    symlink("..data/sa-token", volume.join("sa-token")).expect("a link");
    workload.profile("subject-token-file = \"volume/sa-token\"");
    let old = handed(workload.token(&[]).run());
    let second = renew("..second");
    assert_eq!(handed(workload.token(&[]).run()), old);
    workload.world.age(12 * HOUR);
    handed(workload.token(&[]).run());
    assert_eq!(workload.shown(), [fingerprint(&first), fingerprint(&second)]);
}

#[test]
fn the_mode_of_the_file_is_for_whoever_mounts_it() {
    let workload = Workload::of_file();
    // As the kubelet mounts it for a container of root.
    set_mode(&workload.world.sandbox.path("config/subject-token"), 0o644);
    handed(workload.token(&[]).run());
}

#[test]
fn a_variable_with_a_renewed_token_of_the_same_subject_is_a_hit() {
    let workload = Workload::new();
    workload.profile(VARIABLE);
    let job = |token: String| workload.token(&[]).env("MY_ID_TOKEN", token);
    let old = handed(job(workload.issuer.token(SUBJECT)).run());
    assert_eq!(handed(job(workload.issuer.token(SUBJECT)).run()), old);
    assert_eq!(workload.requests(), 1);
    workload.world.age(12 * HOUR);
    let renewed = workload.issuer.token(SUBJECT);
    assert_ne!(handed(job(renewed.clone()).run()), old);
    assert_eq!(workload.shown()[1..], [fingerprint(&renewed)]);
}

#[test]
fn two_jobs_of_different_subjects_or_issuers_never_share_a_record() {
    let workload = Workload::new();
    workload.profile(VARIABLE);
    let other_issuer = workload.emulator().new_federation(Algorithm::Es256);
    workload.emulator().new_federated_credential(&other_issuer, &workload.account, SUBJECT);
    let pull = "repo:owner/name:pull_request";
    workload.emulator().new_federated_credential(&workload.issuer, &workload.account, pull);
    let job = |token: &str| handed(workload.token(&[]).env("MY_ID_TOKEN", token).run());
    let tokens = [workload.issuer.token(SUBJECT), workload.issuer.token(pull), other_issuer.token(SUBJECT)];
    let first: Vec<String> = tokens.iter().map(|token| job(token)).collect();
    assert_eq!((workload.requests(), workload.world.records().len()), (3, 3));
    let again: Vec<String> = tokens.iter().map(|token| job(token)).collect();
    assert_eq!((workload.requests(), again), (3, first));
    // Whom the cloud does not know gets nothing, whatever others have in the cache.
    let stranger = workload.issuer.token("repo:owner/name:ref:refs/heads/dev");
    refused(workload.token(&[]).env("MY_ID_TOKEN", stranger).run(), 1, &["no federated credential"]);
}

#[test]
fn a_token_that_is_no_jwt_counts_by_its_content() {
    let workload = Workload::new();
    workload.profile(VARIABLE);
    for (number, token) in ["opaque-hunter22", "opaque-hunter23", "a.b.c"].into_iter().enumerate() {
        let run = workload.token(&[]).env("MY_ID_TOKEN", token).run().never_says("hunter2");
        refused_with_hint(run, 1, &["subject token in MY_ID_TOKEN", "invalid_request"], "is no JWT");
        assert_eq!(workload.requests(), number + 1, "no failure of another token is remembered for this one");
    }
}

#[test]
fn a_command_prints_a_fresh_token_for_each_fetch() {
    let workload = Workload::new();
    workload.profile(COMMAND);
    let first = workload.rotate();
    let old = handed(workload.token(&[]).run());
    let second = workload.rotate();
    assert_eq!(handed(workload.token(&[]).run()), old);
    workload.world.age(12 * HOUR);
    assert_ne!(handed(workload.token(&[]).run()), old);
    assert_eq!(workload.shown(), [fingerprint(&first), fingerprint(&second)]);
}

#[test]
fn a_job_of_github_actions_asks_for_an_id_token_with_the_audience_once_for_each_fetch() {
    let workload = Workload::new();
    workload.profile(&github(&workload));
    let old = handed(workload.job(workload.token(&[])).run());
    assert_eq!(workload.emulator().subject_of(&old), Some(workload.account.clone()));
    assert_eq!(handed(workload.job(workload.token(&[])).run()), old);
    assert_eq!((workload.emulator().requests(GITHUB), workload.requests()), (1, 1));
    workload.world.age(12 * HOUR);
    assert_ne!(handed(workload.job(workload.token(&[])).run()), old);
    assert_eq!((workload.emulator().requests(GITHUB), workload.requests()), (2, 2));
    let shown = workload.shown();
    assert_ne!(shown[0], shown[1]);
    // Another job has another request token, hence a record of its own.
    let other = workload.job(workload.token(&[])).env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of-another-job");
    refused(other.run(), 1, &["GitHub Actions", "401", "bad token"]);
    assert_eq!(workload.world.records().len(), 2);
}

#[test]
fn an_audience_is_encoded_as_it_must_be() {
    let workload = Workload::new();
    workload.profile("github-audience = \"a&audience=b c+d%/ж\"");
    refused_with_hint(
        workload.job(workload.token(&[])).run(),
        1,
        &["ID token of GitHub Actions"],
        "aud \"a&audience=b c+d%/ж\"",
    );
}

#[test]
fn the_request_is_the_documented_one() {
    let workload = Workload::of_file();
    let token = workload.rotate();
    handed(workload.token(&[]).run());
    let presented = &workload.emulator().log()[0].presented;
    let expected = Presented::SubjectToken {
        service_account_id: workload.account.clone(),
        iss: Some(workload.issuer.url.clone()),
        sub: Some(SUBJECT.to_owned()),
        fingerprint: fingerprint(&token),
    };
    assert_eq!(*presented, expected);
    assert_eq!((workload.emulator().calls(), workload.requests()), (1, 1), "and nobody else was asked");
}

#[test]
fn both_kinds_of_keys_that_issuers_sign_with_serve() {
    for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
        let workload = Workload::of_file();
        let issuer = workload.emulator().new_federation(algorithm);
        workload.emulator().new_federated_credential(&issuer, &workload.account, SUBJECT);
        workload.put(&issuer.token(SUBJECT));
        handed(workload.token(&[]).run());
    }
}

#[test]
fn an_answer_may_leave_the_life_out_and_hold_more_than_is_known() {
    let workload = Workload::of_file();
    let body =
        r#"{"access_token":"t1.from-elsewhere.x","issued_token_type":"urn:x","scope":"openid","refresh_token":null}"#;
    workload.emulator().fault(Fault::body(body).times(1));
    assert_eq!(handed(workload.token(&[]).run()), "t1.from-elsewhere.x");
    workload.world.age(5 * MINUTE);
    assert_ne!(handed(workload.token(&[]).run()), "t1.from-elsewhere.x");
}

// ------------------------------------------------------------------------------------------------------------- refused

#[test]
fn a_refusal_keeps_the_clouds_words_and_shows_what_it_compares() {
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
        let run = workload.token(&["--force-refresh"]).run().never_says(token.rsplit('.').next().expect("a signature"));
        for part in [&shown, "yc iam workload-identity federated-credential list", &workload.account] {
            assert!(run.lines_of_stderr("ycred: hint: ").concat().contains(part), "{part} expected\n{run}");
        }
        let words = ["profile default", &workload.account, "config/subject-token", "400", "invalid_request", why];
        let error = refused(run, 1, &words);
        assert!(error.contains(&workload.emulator().log()[0].request_id), "{error}");
        assert_eq!(workload.requests(), 1, "a refusal is final");
    }
}

#[test]
fn a_refusal_in_the_words_of_the_clouds_other_apis_is_read_too() {
    let workload = Workload::of_file();
    let body = r#"{"code":7,"message":"the federation is disabled","details":[]}"#;
    workload.emulator().fault(Fault::body(body).with_status(403));
    refused_with_hint(workload.token(&[]).run(), 1, &["403", "PERMISSION_DENIED", "is disabled"], "sub \"repo:");
}

#[test]
fn an_expired_subject_token_is_called_so_once_the_cloud_has_refused_it() {
    let workload = Workload::new();
    let now = workload.emulator().now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_secs();
    let expired = workload.issuer.token_with(SUBJECT, &json!({"exp": now - 720}));
    workload.put(&expired);
    for (way, named, mend) in [
        (FILE, "config/subject-token (expired at 20", "whatever writes the file must renew it"),
        (VARIABLE, "MY_ID_TOKEN (expired at 20", "not renewed while a job runs"),
        (COMMAND, "command cat (expired at 20", "must print a fresh token"),
    ] {
        workload.profile(way);
        let run = workload.token(&[]).env("MY_ID_TOKEN", &expired).run();
        let run = run.stderr_has(&format!("sub \"{SUBJECT}\""));
        refused_with_hint(run, 1, &[named, "Z, 12m ago)", "is expired"], mend);
    }
}

#[test]
fn a_clock_that_is_off_neither_spoils_a_good_token_nor_hides_a_dead_one() {
    // Ours is 20 min fast: the token is dead by it, and good for the cloud, whose word counts.
    let workload = Workload::of_file();
    workload.emulator().set(|settings| settings.clock_shift = Span::minutes(-20));
    workload.rotate();
    let token = handed(workload.token(&[]).run());
    assert!(workload.emulator().is_live(&token));
    assert_eq!(handed(workload.token(&[]).run()), token, "its life was told as a length, so no clock has a say in it");
    // Ours is 20 min slow: the token is good by it, and dead for the cloud.
    let workload = Workload::of_file();
    workload.emulator().set(|settings| settings.clock_shift = Span::minutes(20));
    refused_with_hint(workload.token(&[]).run(), 1, &["(expired at ", "m ago)"], "whatever writes the file");
    assert_eq!(workload.requests(), 1);
}

#[test]
fn a_token_that_was_signed_by_a_fast_clock_is_refused_with_what_the_clock_says() {
    let workload = Workload::of_file();
    // Signed here, while ours is 20 min fast.
    workload.emulator().set(|settings| settings.clock_shift = Span::minutes(-20));
    let hint = "this machine's clock is 20 min fast";
    refused_with_hint(workload.token(&[]).run(), 1, &["is in the future"], hint);
    // Also where the claims leave no room for anything else.
    let long = "x".repeat(400);
    workload.put(&workload.issuer.token_with(&long, &json!({"iss": long, "aud": long})));
    refused_with_hint(workload.token(&["--force-refresh"]).run(), 1, &["400"], hint);
}

#[test]
fn another_host_than_the_auth_host_is_called_so() {
    let workload = Workload::of_file();
    // IAM has no such path.
    let settings = workload.settings(FILE).replace(&workload.emulator().auth_url(), &workload.emulator().url());
    workload.world.sandbox.profile("default", &settings);
    refused_with_hint(workload.token(&[]).run(), 1, &["/oauth/token: 404"], "check auth-url");
}

#[test]
fn what_holds_no_subject_token_is_named_and_not_sent() {
    let workload = Workload::of_file();
    for content in ["", "\n", "hunter22 hunter22", "hunter22\nhunter22", &"hunter22".repeat(2049), "hunter22\u{1}"] {
        workload.world.sandbox.file("config/subject-token", content);
        workload.profile(FILE);
        let run = workload.token(&["--force-refresh"]).run().never_says("hunter");
        refused(run, 3, &["subject token file", "config/subject-token"]);
        workload.profile(COMMAND);
        let run = workload.token(&["--force-refresh"]).run().never_says("hunter");
        refused_with_hint(run, 1, &["command cat"], "run the command by hand");
        workload.profile(VARIABLE);
        let run = workload.token(&[]).env("MY_ID_TOKEN", content).run().never_says("hunter");
        refused(run, 3, &["default.toml:4", "MY_ID_TOKEN"]);
    }
    refused_with_hint(
        workload.token(&[]).run(),
        3,
        &["default.toml:4", "MY_ID_TOKEN", "not set"],
        "export MY_ID_TOKEN",
    );
    workload.profile("subject-token-file = \"not-there\"");
    refused_with_hint(
        workload.token(&[]).run(),
        3,
        &["subject token file", "config/not-there", "no such file"],
        "ls -l",
    );
    workload.profile("subject-token-command = [\"sh\", \"-c\", \"echo no login >&2; exit 3\"]");
    refused(workload.token(&[]).run(), 1, &["command sh", "no login"]);
    assert_eq!(workload.emulator().calls(), 0);
}

#[test]
fn a_profile_names_the_account_and_one_way() {
    let workload = Workload::new();
    let ways = ["subject-token-file", "subject-token-env", "subject-token-command", "github-audience"];
    for more in [
        "",
        "subject-token-file = \"a\"\nsubject-token-env = \"B\"",
        "github-audience = \"a\"\nsubject-token-env = \"B\"",
    ] {
        workload.profile(more);
        refused(workload.token(&[]).run(), 3, &[&["default.toml", "needs one of"][..], &ways].concat());
    }
    let sandbox = &workload.world.sandbox;
    sandbox.profile("default", "source = \"workload\"\nsubject-token-file = \"a\"\n");
    refused_with_hint(workload.token(&[]).run(), 3, &["`service-account-id`"], "service-account-id = ");
    sandbox.profile("default", "source = \"workload\"\nservice-account-id = \"a b\"\nsubject-token-file = \"a\"\n");
    refused(workload.token(&[]).run(), 3, &["default.toml:2", "`service-account-id`", "a b"]);
    sandbox.profile("default", "source = \"workload\"\nservice-account = \"a\"\n");
    refused_with_hint(workload.token(&[]).run(), 3, &["default.toml:2"], "service-account-id");
    assert_eq!(workload.emulator().calls(), 0);
}

#[test]
fn init_writes_the_profile_and_says_whose_it_is() {
    let workload = Workload::new();
    let sandbox = &workload.world.sandbox;
    sandbox.file("work/token", workload.issuer.token(SUBJECT));
    let (url, account) = (workload.emulator().auth_url(), workload.account.as_str());
    let words = ["init", "ci", "--service-account-id", account, "--subject-token-file", "token", "--auth-url", &url];
    sandbox.ycred(words).run().exits(0).quietly().stdout_has(&format!("service account {account} (workload"));
    let text = fs::read_to_string(sandbox.path("config/ci.toml")).expect("the profile");
    assert!(text.contains("source = \"workload\"") && text.contains("work/token\""), "{text}");
    handed(workload.token(&["-p", "ci"]).run());
    assert_eq!(workload.requests(), 1);
}

// -------------------------------------------------------------------------------------------------------------- GitHub

#[test]
fn without_githubs_variables_the_hint_has_the_permission() {
    let workload = Workload::new();
    workload.profile(&github(&workload));
    let job = workload.job(workload.token(&[]));
    for name in ["ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"] {
        let run = job.clone().without(name).run();
        refused_with_hint(run, 3, &["default.toml:4", "github-audience", name], "permissions: id-token: write");
    }
    for url in ["http://github.example/x", "https://u@github.example/", "ftp://127.0.0.1/", "127.0.0.1", "https://x/#y"]
    {
        let run = job.clone().env("ACTIONS_ID_TOKEN_REQUEST_URL", url).run();
        refused(run, 3, &["ACTIONS_ID_TOKEN_REQUEST_URL", "is not an https URL"]);
    }
    let run = job.clone().env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "hunter22\nX-Header: x").run().never_says("hunter22");
    refused(run, 3, &["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]);
    assert_eq!(workload.emulator().calls(), 0);
}

#[test]
fn github_down_or_out_of_its_mind_is_told_as_such() {
    let workload = Workload::new();
    workload.profile(&github(&workload));
    let job = |words: &[&str]| workload.job(workload.token(words));
    let at_github = |fault: Fault| workload.emulator().fault(fault.on(Endpoint::Other));
    at_github(Fault::refuse(500).times(2));
    let token = handed(job(&[]).run());
    assert_eq!((workload.emulator().requests(GITHUB), workload.requests()), (3, 1), "one request and the retries");
    assert_eq!(handed(job(&[]).run()), token);
    for (fault, code, words) in [
        (Fault::html(), 4, &["/github/idtoken", "text/html"][..]),
        (Fault::body("{\"count\":0}"), 4, &["/github/idtoken", "not with a token"]),
        (Fault::body("{\"value\":\"two words\"}"), 1, &["GitHub Actions", "one token on one line"]),
        (Fault::refuse(403).message("no"), 1, &["GitHub Actions", "403", "no"]),
        (Fault::refuse(302), 4, &["GitHub Actions", "redirected"]),
    ] {
        workload.emulator().clear_faults();
        at_github(fault);
        refused(job(&["--force-refresh"]).run(), code, words);
    }
    assert_eq!(workload.requests(), 1, "nothing was exchanged");
}

#[test]
fn a_program_gets_the_token_and_not_what_it_was_bought_with() {
    let workload = Workload::new();
    workload.profile(&github(&workload));
    let exec = |words: &[&str]| workload.world.sandbox.ycred(["exec", "--"].iter().chain(words));
    let run = workload.job(exec(&["/usr/bin/env"])).run().exits(0).quietly();
    assert!(run.stdout.contains("\nYC_TOKEN=") || run.stdout.starts_with("YC_TOKEN="), "{run}");
    let run = run.never_says("ACTIONS_ID_TOKEN_REQUEST_TOKEN").never_says(REQUEST_TOKEN);
    run.stdout_has("ACTIONS_ID_TOKEN_REQUEST_URL=");
    workload.profile(VARIABLE);
    let token = workload.issuer.token(SUBJECT);
    let run = exec(&["/usr/bin/env"]).env("MY_ID_TOKEN", &token).run().exits(0).quietly();
    run.never_says("MY_ID_TOKEN").never_says(&token);
    let env = workload.world.sandbox.ycred(["env"]).env("MY_ID_TOKEN", &token).run().exits(0);
    env.stdout_has("unset MY_ID_TOKEN;").never_says(&token);
}

// ------------------------------------------------------------------------------------------------------------- network

#[test]
fn a_cloud_that_is_down_is_asked_again_and_the_cached_token_serves_meanwhile() {
    let workload = Workload::of_file();
    workload.emulator().fault(Fault::refuse(500).times(1));
    workload.emulator().fault(Fault::broken(Stage::BeforeAnswer).times(1));
    workload.emulator().fault(Fault::refuse(429).retry_after(0).times(1));
    let old = handed(workload.token(&[]).run());
    assert_eq!(workload.requests(), 4, "one request and three retries");
    workload.emulator().clear_faults();
    workload.emulator().fault(Fault::refuse(503).message("maintenance"));
    workload.world.age(12 * HOUR - Duration::from_secs(50));
    assert_eq!(warned(workload.token(&[]).run(), &["the cached token is used", "503", "maintenance"]), old);
    assert_eq!(workload.requests(), 8);
    let run = workload.token(&["--no-cache"]).run();
    refused(run, 4, &["service account", "subject token file", "/oauth/token", "503", "maintenance"]);
}

#[test]
fn what_is_not_the_cloud_is_told_as_such() {
    for (fault, words) in [
        (Fault::html(), &["/oauth/token", "text/html", "not with a token"][..]),
        (Fault::body(""), &["/oauth/token", "an empty body"]),
        (Fault::body("{\"token_type\":\"Bearer\"}"), &["/oauth/token", "not with a token"]),
        (Fault::body("{\"access_token\":\"two words\"}"), &["/oauth/token", "no token"]),
        (Fault::refuse(302), &["/oauth/token", "redirected"]),
        (Fault::endless(), &["/oauth/token", "larger than"]),
    ] {
        let workload = Workload::of_file();
        workload.emulator().fault(fault);
        refused(workload.token(&["--timeout", "5s"]).run(), 4, words);
        assert_eq!(workload.requests(), 1);
    }
}

#[test]
fn by_tls_with_an_authority_of_ones_own() {
    let workload = Workload::with(Config::with_tls(Tls::Good));
    workload.emulator().write_ca(workload.world.sandbox.path("config/ca.pem")).expect("the certificate");
    workload.rotate();
    workload.profile(FILE);
    refused(workload.token(&[]).run(), 3, &["/oauth/token", "signed by an authority"]);
    workload.profile(&format!("{FILE}\nca-file = \"ca.pem\""));
    handed(workload.token(&[]).run());
    assert_eq!(workload.requests(), 1);
}

// -------------------------------------------------------------------------------------------------------------- crowds

#[test]
fn fifty_processes_make_one_request() {
    let workload = Workload::of_file();
    workload.profile(&format!("{FILE}\ntimeout = \"120s\""));
    workload.emulator().fault(Fault::slow(Duration::from_millis(300)));
    let limit = Duration::from_secs(180);
    let runs = run_all((0..50).map(|_| workload.token(&[]).limit(limit)));
    let tokens: Vec<String> = runs.into_iter().map(handed).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]), "different tokens");
    assert_eq!(workload.requests(), 1);
    // And as many, of as many jobs with a renewed token each.
    workload.profile(&format!("{VARIABLE}\ntimeout = \"120s\""));
    let runs =
        run_all((0..50).map(|_| workload.token(&[]).env("MY_ID_TOKEN", workload.issuer.token(SUBJECT)).limit(limit)));
    let tokens: Vec<String> = runs.into_iter().map(handed).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]), "different tokens");
    assert_eq!(workload.requests(), 2);
}

#[test]
fn one_exchange_serves_every_account_that_is_impersonated_with_it() {
    let workload = Workload::of_file();
    for number in 0..3 {
        let name = format!("as-{number}");
        let account = workload.emulator().new_service_account();
        let iam = format!("{FILE}\niam-url = \"{}\"\nimpersonate = \"{account}\"", workload.emulator().url());
        workload.world.sandbox.profile(&name, &workload.settings(&iam));
        let token = handed(workload.token(&["-p", &name]).run());
        assert_eq!(workload.emulator().subject_of(&token), Some(account));
        assert_eq!(handed(workload.token(&["-p", &name]).run()), token);
    }
    assert_eq!((workload.requests(), workload.emulator().requests(CREATE_FOR_SERVICE_ACCOUNT)), (1, 3));
    handed(workload.token(&[]).run());
    assert_eq!(workload.requests(), 1, "the account's own token is the one that bought them");
}

// --------------------------------------------------------------------------------------------------------- environment

/// A workload without a profile: the auth host of the cloud is reached through a proxy, by TLS.
fn bare() -> (Workload, Tunnel) {
    let names = ["auth.yandex.cloud", "iam.api.cloud.yandex.net"].map(str::to_owned).to_vec();
    let mut workload = Workload::with(Config { names, ..Config::with_tls(Tls::Good) });
    let ca = workload.world.sandbox.path("tmp/ca.pem");
    workload.emulator().write_ca(&ca).expect("the certificate");
    let address = |url: &str| -> SocketAddr {
        url.split_once("://").and_then(|(_, address)| address.parse().ok()).expect("an address")
    };
    let (iam, auth) = (address(&workload.emulator().url()), address(&workload.emulator().auth_url()));
    let tunnel = Tunnel::answering(move |request| {
        Response::tunnel(if request.target.starts_with("auth.yandex.cloud:") { auth } else { iam })
    });
    workload.world.sandbox.set("HTTPS_PROXY", tunnel.url()).set("SSL_CERT_FILE", ca);
    workload.rotate();
    (workload, tunnel)
}

#[test]
fn without_a_profile_the_variables_serve_after_other_credentials_and_before_metadata() {
    let (workload, tunnel) = bare();
    workload.emulator().attach(Some("ajeofthemachine00000"));
    let (oauth, user) = workload.emulator().new_oauth();
    let subject = |call: Call| workload.emulator().subject_of(&handed(call.run()));
    let call = workload
        .token(&[])
        .env("YCRED_SERVICE_ACCOUNT_ID", &workload.account)
        .env("YCRED_SUBJECT_TOKEN_FILE", "../config/subject-token")
        .env("YC_METADATA_ADDR", workload.emulator().metadata_addr());
    assert_eq!(subject(call.clone()), Some(workload.account.clone()));
    assert_eq!((workload.requests(), tunnel.targets()), (1, vec!["CONNECT auth.yandex.cloud:443".to_owned()]));
    assert_eq!(subject(call.clone().env("YC_OAUTH_TOKEN", oauth)), Some(user));
    // An account alone is no way to a token.
    let alone = call.clone().without("YCRED_SUBJECT_TOKEN_FILE");
    assert_eq!(subject(alone.clone()).as_deref(), Some("ajeofthemachine00000"));
    let alone = alone.without("YC_METADATA_ADDR");
    refused_with_hint(alone.run(), 3, &["YCRED_SERVICE_ACCOUNT_ID"], "permissions: id-token: write");
    let wrong = call.clone().env("YCRED_SERVICE_ACCOUNT_ID", "my account");
    refused(wrong.run(), 3, &["`YCRED_SERVICE_ACCOUNT_ID`", "my account"]);
    let account = workload.emulator().new_service_account();
    assert_eq!(subject(call.env("YCRED_IMPERSONATE", &account)), Some(account));
    assert_eq!((workload.requests(), workload.emulator().requests(TOKENS)), (1, 1));
}

#[test]
fn without_a_profile_a_variable_names_the_auth_host_of_another_installation() {
    let workload = Workload::new();
    workload.rotate();
    let call = workload
        .token(&[])
        .env("YCRED_SERVICE_ACCOUNT_ID", &workload.account)
        .env("YCRED_SUBJECT_TOKEN_FILE", workload.world.sandbox.path("config/subject-token"));
    let token = handed(call.clone().env("YCRED_AUTH_URL", workload.emulator().auth_url()).run());
    assert_eq!(workload.emulator().subject_of(&token), Some(workload.account.clone()));
    refused(call.env("YCRED_AUTH_URL", "http://auth.example").run(), 3, &["`YCRED_AUTH_URL`", "plain http"]);
}

#[test]
fn without_a_profile_a_job_of_github_actions_needs_the_account_alone() {
    let (workload, _tunnel) = bare();
    let audience = workload.issuer.audience.clone();
    // The endpoint is on loopback, and behind the emulator's own authority.
    let call = workload.job(workload.token(&[])).env("YCRED_SERVICE_ACCOUNT_ID", &workload.account);
    let run = call.clone().env("GITHUB_REPOSITORY_OWNER", "owner").run();
    refused_with_hint(run, 1, &["ID token of GitHub Actions"], "aud \"https://github.com/owner\"");
    let run = call.clone().env("GITHUB_REPOSITORY_OWNER", "owner").env("YCRED_GITHUB_AUDIENCE", &audience).run();
    let token = one_token(&run.exits(0).quietly());
    assert_eq!(workload.emulator().subject_of(&token), Some(workload.account.clone()));
    refused_with_hint(call.run(), 3, &["YCRED_SERVICE_ACCOUNT_ID"], "YCRED_GITHUB_AUDIENCE");
    // What runs inside gets the token, and not what it was bought with.
    let exec = workload.job(workload.world.sandbox.ycred(["exec", "/usr/bin/env"]));
    let exec = exec.env("YCRED_SERVICE_ACCOUNT_ID", &workload.account).env("YCRED_GITHUB_AUDIENCE", &audience);
    exec.run().exits(0).quietly().never_says(REQUEST_TOKEN);
}

// ------------------------------------------------------------------------------------------------- with the request

/// A client's own token takes the place of the profile's way, and another source refuses it.
#[test]
fn a_token_that_comes_with_the_request_decides_whose_record_it_is() {
    use ycred::environment::Environment;
    use ycred::places::Places;
    use ycred::profile::Profile;
    use ycred::source::open_for;
    use ycred::token::Secret;

    let workload = Workload::new();
    let read = |text: &str| {
        let path = workload.world.sandbox.path("config/x.toml");
        Profile::from_text("x", &path, text, &Environment::default(), &Places::none()).expect("a profile")
    };
    let name = |profile: &Profile, subject: Option<&str>| {
        let subject = subject.map(|text| Secret::new(text.to_owned()));
        open_for(profile, subject.as_ref()).map(|grant| grant.identity().name())
    };
    let bare = read(&workload.settings(""));
    let (one, renewed) = (workload.issuer.token(SUBJECT), workload.issuer.token(SUBJECT));
    let other = workload.issuer.token("system:serviceaccount:default:other");
    let [one, renewed, other] = [one, renewed, other].map(|token| name(&bare, Some(&token)).expect("a grant"));
    assert!(one == renewed && one != other);
    assert!(name(&bare, None).expect_err("no way").render().contains("a client that sends a token"));
    for bad in ["", "two words"] {
        let error = name(&bare, Some(bad)).expect_err("no token").render();
        assert!(error.contains("came with the request") && !error.contains("words"), "{error}");
    }
    // A way of the profile's own gives way, and need not work.
    let token = workload.issuer.token(SUBJECT);
    for way in [FILE, VARIABLE, COMMAND, &github(&workload)] {
        assert_eq!(name(&read(&workload.settings(way)), Some(&token)).expect("a grant"), one, "{way}");
    }
    let keyed = read(&workload.world.settings());
    assert!(name(&keyed, Some(&token)).expect_err("another's rights").render().contains("has no use for it"));
}

/// The test's own process as a user of the library: what the hook of a client that sends a token does.
#[test]
fn a_token_that_comes_with_the_request_is_the_one_that_is_exchanged() {
    use std::time::{Instant, SystemTime};
    use ycred::cache::Cache;
    use ycred::clock::{Clock, Deadline};
    use ycred::environment::Environment;
    use ycred::http::Http;
    use ycred::notes::Notes;
    use ycred::obtain::Context;
    use ycred::places::Places;
    use ycred::profile::Profile;
    use ycred::source::open_for;
    use ycred::token::{Secret, Timestamp};

    struct RealClock(Instant);
    impl Clock for RealClock {
        fn now(&self) -> Timestamp {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
            Timestamp(i64::try_from(since.as_millis()).expect("a moment"))
        }
        fn elapsed(&self) -> Duration {
            self.0.elapsed()
        }
        fn sleep(&self, length: Duration) {
            std::thread::sleep(length);
        }
    }

    let workload = Workload::new();
    // A way of the profile's own that would fail.
    let text = workload.settings("subject-token-file = \"not-there\"");
    let path = workload.world.sandbox.path("config/x.toml");
    let environment = Environment::default();
    let profile = Profile::from_text("x", &path, &text, &environment, &Places::none()).expect("a profile");
    let clock = RealClock(Instant::now());
    let (http, cache) = (Http::new(&environment, None), Cache::new(Err("none is wanted".into())));
    let notes = Notes::new(0, &|_| ());
    let cx = Context {
        clock: &clock,
        deadline: Deadline::of_run(Duration::from_secs(60)),
        attempts: 4,
        http: &http,
        cache: &cache,
        notes: &notes,
        force_since: None,
        profile: "profile x",
        floor: Duration::ZERO,
        is_inner: false,
    };
    let fetch = |token: &str| {
        let token = Secret::new(token.to_owned());
        open_for(&profile, Some(&token)).expect("a grant").fetch(&cx)
    };
    let token = workload.issuer.token(SUBJECT);
    let credential = fetch(&token).unwrap_or_else(|error| panic!("{}", error.render()));
    assert_eq!(workload.emulator().subject_of(credential.secret.expose()), Some(workload.account.clone()));
    assert_eq!(workload.shown(), [fingerprint(&token)]);
    let stranger = workload.issuer.token("system:serviceaccount:default:stranger");
    let error = fetch(&stranger).expect_err("no credential").render();
    assert!(error.contains("subject token of the request") && error.contains("default:stranger"), "{error}");
}

/// Every setting that decides whose token it is makes a record of its own.
#[test]
fn account_host_way_and_authority_are_part_of_the_identity() {
    let workload = Workload::of_file();
    let (first, second) = (workload.emulator().new_service_account(), workload.emulator().auth_url());
    workload.emulator().new_federated_credential(&workload.issuer, &first, SUBJECT);
    fs::copy(workload.world.sandbox.path("config/subject-token"), workload.world.sandbox.path("config/other"))
        .expect("a copy");
    workload.emulator().write_ca(workload.world.sandbox.path("config/ca.pem")).expect("the certificate");
    let settings = workload.settings(FILE);
    let profiles = [
        settings.clone(),
        settings.replace(&workload.account, &first),
        settings.replace(&second, &second.replace("127.0.0.1", "localhost")),
        settings.replace("\"subject-token\"", "\"other\""),
        format!("{settings}ca-file = \"ca.pem\"\n"),
        workload.settings(COMMAND),
    ];
    for (number, profile) in profiles.iter().enumerate() {
        workload.world.sandbox.profile("default", profile);
        handed(workload.token(&[]).run());
        handed(workload.token(&[]).run());
        assert_eq!((workload.requests(), workload.world.records().len()), (number + 1, number + 1), "{profile}");
    }
}

#[test]
fn the_record_says_whose_it_is_and_holds_no_subject_token() {
    let workload = Workload::new();
    workload.profile(VARIABLE);
    let token = workload.issuer.token(SUBJECT);
    let run = workload.token(&["-vvv"]).env("MY_ID_TOKEN", &token).run().exits(0);
    run.stderr_has(SUBJECT).never_says(&token[token.len() - 40..]);
    let record = fs::read_to_string(&workload.world.records()[0]).expect("a record");
    assert!(record.contains(SUBJECT) && !record.contains(&token[token.len() - 40..]), "{record}");
}
