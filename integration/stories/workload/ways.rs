//! Sources of the subject token, and its exchange.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use crate::emulator::CREATE_FOR_SERVICE_ACCOUNT;
use crate::emulator::exchange::Algorithm;
use crate::emulator::faults::Fault;
use crate::emulator::log::{Presented, fingerprint};
use crate::expect::{fails_with, fails_with_hint, prints_token};
use crate::harness::files::set_mode;
use crate::harness::run_all;
use crate::harness::waiting::{HOUR, MINUTE};
use crate::sources::workload::{COMMAND, FILE, GITHUB, SUBJECT, VARIABLE, Workload, github};

#[test]
fn the_file_is_read_for_each_fetch_and_not_for_a_hit() {
    let workload = Workload::of_file();
    let first = workload.rotate();
    let old = prints_token(workload.token(&[]).run());
    assert_eq!(workload.emulator().subject_of(&old), Some(workload.account.clone()));
    fs::remove_file(workload.world.sandbox.path("config/subject-token")).expect("the file");
    assert_eq!(prints_token(workload.token(&[]).run()), old, "a hit needs no subject token");
    workload.world.age(12 * HOUR);
    let second = workload.rotate();
    let new = prints_token(workload.token(&[]).run());
    assert_ne!(new, old);
    assert_eq!(workload.shown(), [fingerprint(&first), fingerprint(&second)]);
}

/// Rotates a projected volume as the kubelet does, by atomically replacing a symlink to a directory.
#[test]
fn a_volume_rotated_by_replacing_a_link_keeps_its_record() {
    let workload = Workload::new();
    let volume = workload.world.sandbox.path("config/volume");
    let rotate = |directory: &str| {
        let token = workload.issuer.token(SUBJECT);
        workload.world.sandbox.file(format!("config/volume/{directory}/sa-token"), &token);
        symlink(directory, volume.join("..tmp")).expect("a link");
        fs::rename(volume.join("..tmp"), volume.join("..data")).expect("the link in its place");
        token
    };
    let first = rotate("..first");
    symlink("..data/sa-token", volume.join("sa-token")).expect("a link");
    workload.profile("subject-token-file = \"volume/sa-token\"");
    let old = prints_token(workload.token(&[]).run());
    let second = rotate("..second");
    assert_eq!(prints_token(workload.token(&[]).run()), old);
    workload.world.age(12 * HOUR);
    prints_token(workload.token(&[]).run());
    assert_eq!(workload.shown(), [fingerprint(&first), fingerprint(&second)]);
}

#[test]
fn the_mode_of_the_file_is_not_checked() {
    let workload = Workload::of_file();
    // The mode that the kubelet sets for a container that runs as root.
    set_mode(&workload.world.sandbox.path("config/subject-token"), 0o644);
    prints_token(workload.token(&[]).run());
}

#[test]
fn a_renewed_token_of_the_same_subject_in_a_variable_is_a_hit() {
    let workload = Workload::new();
    workload.profile(VARIABLE);
    let job = |token: String| workload.token(&[]).env("MY_ID_TOKEN", token);
    let old = prints_token(job(workload.issuer.token(SUBJECT)).run());
    assert_eq!(prints_token(job(workload.issuer.token(SUBJECT)).run()), old);
    assert_eq!(workload.requests(), 1);
    workload.world.age(12 * HOUR);
    let renewed = workload.issuer.token(SUBJECT);
    assert_ne!(prints_token(job(renewed.clone()).run()), old);
    assert_eq!(workload.shown()[1..], [fingerprint(&renewed)]);
}

#[test]
fn jobs_of_different_subjects_or_issuers_never_share_a_record() {
    let workload = Workload::new();
    workload.profile(VARIABLE);
    let other_issuer = workload.emulator().new_federation(Algorithm::Es256);
    workload.emulator().new_federated_credential(&other_issuer, &workload.account, SUBJECT);
    let pull = "repo:owner/name:pull_request";
    workload.emulator().new_federated_credential(&workload.issuer, &workload.account, pull);
    let job = |token: &str| prints_token(workload.token(&[]).env("MY_ID_TOKEN", token).run());
    let tokens = [workload.issuer.token(SUBJECT), workload.issuer.token(pull), other_issuer.token(SUBJECT)];
    let first: Vec<String> = tokens.iter().map(|token| job(token)).collect();
    assert_eq!((workload.requests(), workload.world.records().len()), (3, 3));
    let again: Vec<String> = tokens.iter().map(|token| job(token)).collect();
    assert_eq!((workload.requests(), again), (3, first));
    // An unknown subject gets no token from the cache either.
    let stranger = workload.issuer.token("repo:owner/name:ref:refs/heads/dev");
    fails_with(workload.token(&[]).env("MY_ID_TOKEN", stranger).run(), 1, &["no federated credential"]);
}

#[test]
fn a_token_that_is_not_a_jwt_is_identified_by_its_content() {
    let workload = Workload::new();
    workload.profile(VARIABLE);
    for (number, token) in ["opaque-hunter22", "opaque-hunter23", "a.b.c"].into_iter().enumerate() {
        let run = workload.token(&[]).env("MY_ID_TOKEN", token).run().never_prints("hunter2");
        fails_with_hint(run, 1, &["subject token in MY_ID_TOKEN", "invalid_request"], "is not a JWT");
        assert_eq!(workload.requests(), number + 1, "the failure of another token must not apply to this one");
    }
}

#[test]
fn the_command_runs_for_each_fetch() {
    let workload = Workload::new();
    workload.profile(COMMAND);
    let first = workload.rotate();
    let old = prints_token(workload.token(&[]).run());
    let second = workload.rotate();
    assert_eq!(prints_token(workload.token(&[]).run()), old);
    workload.world.age(12 * HOUR);
    assert_ne!(prints_token(workload.token(&[]).run()), old);
    assert_eq!(workload.shown(), [fingerprint(&first), fingerprint(&second)]);
}

#[test]
fn a_github_actions_job_requests_one_id_token_for_each_fetch() {
    let workload = Workload::new();
    workload.profile(&github(&workload));
    let old = prints_token(workload.job(workload.token(&[])).run());
    assert_eq!(workload.emulator().subject_of(&old), Some(workload.account.clone()));
    assert_eq!(prints_token(workload.job(workload.token(&[])).run()), old);
    assert_eq!((workload.emulator().requests(GITHUB), workload.requests()), (1, 1));
    workload.world.age(12 * HOUR);
    assert_ne!(prints_token(workload.job(workload.token(&[])).run()), old);
    assert_eq!((workload.emulator().requests(GITHUB), workload.requests()), (2, 2));
    let shown = workload.shown();
    assert_ne!(shown[0], shown[1]);
    // Another job has another request token, so it gets its own record.
    let other = workload.job(workload.token(&[])).env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of-another-job");
    fails_with(other.run(), 1, &["GitHub Actions", "401", "bad token"]);
    assert_eq!(workload.world.records().len(), 2);
}

#[test]
fn the_audience_is_percent_encoded() {
    let workload = Workload::new();
    workload.profile("github-audience = \"a&audience=b c+d%/ж\"");
    fails_with_hint(
        workload.job(workload.token(&[])).run(),
        1,
        &["ID token from GitHub Actions"],
        "aud \"a&audience=b c+d%/ж\"",
    );
}

#[test]
fn the_request_has_the_documented_form() {
    let workload = Workload::of_file();
    let token = workload.rotate();
    prints_token(workload.token(&[]).run());
    let presented = &workload.emulator().log()[0].presented;
    let expected = Presented::SubjectToken {
        service_account_id: workload.account.clone(),
        iss: Some(workload.issuer.url.clone()),
        sub: Some(SUBJECT.to_owned()),
        fingerprint: fingerprint(&token),
    };
    assert_eq!(*presented, expected);
    assert_eq!((workload.emulator().calls(), workload.requests()), (1, 1), "expected no other requests");
}

#[test]
fn tokens_signed_with_rs256_and_es256_work() {
    for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
        let workload = Workload::of_file();
        let issuer = workload.emulator().new_federation(algorithm);
        workload.emulator().new_federated_credential(&issuer, &workload.account, SUBJECT);
        workload.put(&issuer.token(SUBJECT));
        prints_token(workload.token(&[]).run());
    }
}

#[test]
fn a_response_may_omit_the_lifetime_and_have_unknown_fields() {
    let workload = Workload::of_file();
    let body =
        r#"{"access_token":"t1.from-elsewhere.x","issued_token_type":"urn:x","scope":"openid","refresh_token":null}"#;
    workload.emulator().fault(Fault::body(body).times(1));
    assert_eq!(prints_token(workload.token(&[]).run()), "t1.from-elsewhere.x");
    workload.world.age(5 * MINUTE);
    assert_ne!(prints_token(workload.token(&[]).run()), "t1.from-elsewhere.x");
}

#[test]
fn fifty_processes_make_one_request() {
    let workload = Workload::of_file();
    workload.profile(&format!("{FILE}\ntimeout = \"120s\""));
    workload.emulator().fault(Fault::slow(Duration::from_millis(300)));
    let limit = Duration::from_secs(180);
    let runs = run_all((0..50).map(|_| workload.token(&[]).limit(limit)));
    let tokens: Vec<String> = runs.into_iter().map(prints_token).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]), "different tokens");
    assert_eq!(workload.requests(), 1);
    // The same for fifty jobs that each have a renewed subject token.
    workload.profile(&format!("{VARIABLE}\ntimeout = \"120s\""));
    let runs =
        run_all((0..50).map(|_| workload.token(&[]).env("MY_ID_TOKEN", workload.issuer.token(SUBJECT)).limit(limit)));
    let tokens: Vec<String> = runs.into_iter().map(prints_token).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]), "different tokens");
    assert_eq!(workload.requests(), 2);
}

#[test]
fn one_exchange_is_enough_to_impersonate_several_accounts() {
    let workload = Workload::of_file();
    for number in 0..3 {
        let name = format!("as-{number}");
        let account = workload.emulator().new_service_account();
        let iam = format!("{FILE}\niam-url = \"{}\"\nimpersonate = \"{account}\"", workload.emulator().url());
        workload.world.sandbox.profile(&name, &workload.settings(&iam));
        let token = prints_token(workload.token(&["-p", &name]).run());
        assert_eq!(workload.emulator().subject_of(&token), Some(account));
        assert_eq!(prints_token(workload.token(&["-p", &name]).run()), token);
    }
    assert_eq!((workload.requests(), workload.emulator().requests(CREATE_FOR_SERVICE_ACCOUNT)), (1, 3));
    prints_token(workload.token(&[]).run());
    assert_eq!(workload.requests(), 1, "the account's own token was cached as the base of the others");
}
