//! The account that setup prints is the one that serves: what a client prefers to ycred, and what makes ycred find another
//! profile, is refused or named.

use std::fs;

use super::Machine;

/// What AWS or one of its SDKs uses for a profile before it runs a process: the option, and its value.
const BEFORE_A_PROCESS: [(&str, &str); 11] = [
    ("aws_access_key_id", "AKIAs3cret"),
    ("role_arn", "arn:aws:iam::1:role/s3cret"),
    ("source_profile", "s3cret"),
    ("credential_source", "Environment"),
    ("web_identity_token_file", "/s3cret"),
    ("sso_session", "s3cret"),
    ("sso_account_id", "s3cret"),
    ("sso_role_name", "s3cret"),
    ("sso_start_url", "https://s3cret"),
    ("login_session", "s3cret"),
    ("SSO_Region", "s3cret"),
];

#[test]
fn a_profile_of_aws_that_would_not_run_ycred_is_refused_with_the_place() {
    let machine = Machine::new();
    let (config, credentials) = ("home/.aws/config", "home/.aws/credentials");
    let refused = |place: &str, what: &str| {
        for arguments in [&["aws"][..], &["aws", "--force"], &["aws", "--dry-run"], &["aws", "--json"]] {
            let run = machine.setup(arguments).run().exits(3).stderr_has(what).stderr_has(place);
            run.stderr_has("--name NAME").never_prints("s3cret");
        }
    };
    for (option, value) in BEFORE_A_PROCESS {
        let what = if option.starts_with("aws_") { "static keys".into() } else { option.to_lowercase() };
        for (file, section) in
            [(config, "profile yc"), (config, "profile 'yc'"), (config, "DEFAULT"), (credentials, "yc")]
        {
            let text = format!("# mine\n[{section}]\n{option} = {value}\n[profile other]\nregion = x\n");
            machine.world.sandbox.file(file, &text);
            refused(&format!("{}: [{section}] has {what}", machine.path(file).display()), "which AWS prefers");
            assert_eq!(machine.read(file), text);
            fs::remove_file(machine.path(file)).expect("removed");
        }
    }
    // A process in the credentials file wins, even if it is ycred with another profile.
    for process in ["/opt/s3cret", "ycred aws --profile stage"] {
        machine.world.sandbox.file(credentials, format!("[yc]\ncredential_process = {process}\n"));
        refused("credentials: [yc] has credential_process", "which AWS prefers");
    }
    assert!(!machine.path(config).exists() && machine.journal().is_empty());
    // Of other profiles, nothing matters.
    machine.world.sandbox.file(credentials, "[DEFAULT]\nrole_arn = x\n[other]\naws_access_key_id = x\n");
    machine.world.sandbox.file(config, "[profile other]\nrole_arn = x\n[yc]\nrole_arn = x\n");
    machine.setup(&["aws"]).run().succeeds().stdout_has("[profile yc]: ycred profile prod");
}

#[test]
fn what_aws_prefers_after_setup_is_named_by_setup_status_and_doctor() {
    let machine = Machine::new();
    machine.setup(&["aws"]).run().succeeds();
    let ycred = |arguments: &[&str]| machine.world.sandbox.ycred(arguments).run();
    ycred(&["setup"]).succeeds().stdout_has("set up: [profile yc]\n");
    for (option, value) in BEFORE_A_PROCESS {
        machine.world.sandbox.file("home/.aws/credentials", format!("[yc]\n{option} = {value}\n"));
        let what = if option.starts_with("aws_") { "static keys".into() } else { option.to_lowercase() };
        let note = format!("[profile yc] (AWS prefers its {what})");
        ycred(&["setup"]).succeeds().stdout_has(&note).never_prints("s3cret");
        ycred(&["status", "-p", "prod"]).succeeds().stdout_has(&note).never_prints("s3cret");
        let run = ycred(&["doctor", "aws", "--offline"]).exits(1).never_prints("s3cret");
        run.stdout_has(&format!("[yc] has {what}, which AWS uses instead of ycred"));
    }
}
