//! ycred inside `ycred exec` and `eval "$(ycred env)"`: it reads back what the outer ycred has written.

use std::collections::BTreeMap;

use crate::expect::{fails_with, fails_with_hint, prints_token};
use crate::harness::{Call, Run, Sandbox, YCRED};
use crate::sources::workload::{SUBJECT, Workload};
use crate::world::World;

/// A time in the past, as `exec` writes it.
const PAST: &str = "2026-01-02T03:04:05Z";

/// Runs a script in the environment that `ycred exec` makes. `$YCRED` is the binary.
fn within_exec(call: &Call, script: &str) -> Run {
    call.clone().env("YCRED", YCRED).and(["--", "sh", "-c", script]).run()
}

/// Returns the variables that `ycred env` prints for a shell.
fn variables(run: &Run) -> BTreeMap<String, String> {
    let parse = |line: &str| {
        let (name, value) = line.strip_prefix("export ")?.strip_suffix("';")?.split_once("='")?;
        Some((name.to_owned(), value.to_owned()))
    };
    run.stdout.lines().filter_map(parse).collect()
}

#[test]
fn exec_and_env_supply_the_expiry_with_an_id_of_the_token() {
    let world = World::new();
    let first = variables(&world.ycred(&["env"]).run().succeeds().stderr_is_empty());
    let id = &first["YCRED_TOKEN_ID"];
    assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    let run = within_exec(&world.ycred(&["exec"]), "printenv YCRED_TOKEN_ID").succeeds();
    assert_eq!(run.stdout.trim(), id, "the same for the same token");
    let second = variables(&world.ycred(&["env", "--force-refresh"]).run().succeeds());
    assert_ne!(&second["YCRED_TOKEN_ID"], id, "another one for another token");
}

#[test]
fn without_a_profile_a_supplied_token_keeps_its_expiry_however_often_it_is_supplied() {
    let world = World::new();
    let outer = variables(&world.ycred(&["env"]).run().succeeds());
    let inner = Sandbox::new();
    let call = |arguments: &[&str]| {
        let names = ["YC_TOKEN", "YC_IAM_TOKEN", "YCRED_EXPIRES_AT", "YCRED_TOKEN_ID"];
        names.iter().fold(inner.ycred(arguments), |call, name| call.env(name, &outer[*name]))
    };
    assert_eq!(prints_token(call(&["token"]).run()), outer["YC_IAM_TOKEN"]);
    // Hooks that report an expiry report this one.
    let json = call(&["token", "--format", "json"]).run().succeeds().stderr_is_empty().stdout;
    assert!(json.contains(&outer["YCRED_EXPIRES_AT"]), "{json}");
    let again = variables(&call(&["env"]).run().succeeds().stderr_is_empty());
    assert_eq!(again["YCRED_EXPIRES_AT"], outer["YCRED_EXPIRES_AT"]);
    // The id fits no other token, so that one has an unknown expiry.
    let other = call(&["token", "--min-ttl", "1h"]).env("YC_IAM_TOKEN", "t1.other.x").run().succeeds();
    other.stderr_has("expiry is unknown").stdout_is("t1.other.x\n");
    let other = call(&["token"]).env("YC_IAM_TOKEN", "t1.other.x").env("YCRED_EXPIRES_AT", PAST);
    assert_eq!(prints_token(other.run()), "t1.other.x");
}

#[test]
fn an_expired_supplied_token_is_skipped_and_never_supplied_again() {
    let world = World::new();
    let outer = variables(&world.ycred(&["env"]).run().succeeds());
    let inner = Sandbox::new();
    let call = |arguments: &[&str]| {
        let names = ["YC_TOKEN", "YC_IAM_TOKEN", "YCRED_TOKEN_ID"];
        let call = names.iter().fold(inner.ycred(arguments), |call, name| call.env(name, &outer[*name]));
        call.env("YCRED_EXPIRES_AT", PAST)
    };
    let expected = ["YC_IAM_TOKEN and YC_TOKEN", PAST];
    for arguments in [&["token"][..], &["env"], &["refresh"], &["token", "--force-refresh"]] {
        fails_with_hint(call(arguments).run(), 3, &expected, "unset YC_IAM_TOKEN YC_TOKEN");
    }
    call(&["exec", "true"]).run().exits(125).stderr_has("unset YC_IAM_TOKEN YC_TOKEN");
    call(&["kubectl"]).run().exits(3).stderr_has(PAST).never_prints(&outer["YC_TOKEN"]);
    // The next variable serves; a different token in YC_TOKEN too.
    assert_eq!(prints_token(call(&["token"]).env("YC_TOKEN", "t1.next.x").run()), "t1.next.x");
    let oauth =
        call(&["token", "--timeout", "2s"]).env("YC_OAUTH_TOKEN", "y0_next").env("HTTPS_PROXY", "http://127.0.0.1:1");
    oauth.run().exits(4).stderr_has("YC_OAUTH_TOKEN");
    // A default profile serves before any variable, and the only profile never serves in place of one.
    for name in ["prod", "default"] {
        inner.file("config/token", "t1.profile.x");
        inner.profile(name, "source = \"static\"\ntoken-file = \"token\"\n");
        match name {
            "default" => assert_eq!(prints_token(call(&["token"]).run()), "t1.profile.x"),
            _ => drop(fails_with(call(&["token"]).run(), 3, &expected)),
        }
    }
}

#[test]
fn following_the_hint_about_an_expired_token_leads_back_to_the_only_profile() {
    let world = World::new();
    let outer = variables(&world.ycred(&["env"]).run().succeeds());
    let inner = Sandbox::new();
    inner.file("config/token", "t1.profile.x");
    inner.profile("prod", "source = \"static\"\ntoken-file = \"token\"\n");
    let call = inner.call("sh", ["-c", "\"$YCRED\" token; unset YC_IAM_TOKEN YC_TOKEN; \"$YCRED\" token"]);
    let call = ["YC_TOKEN", "YC_IAM_TOKEN", "YCRED_TOKEN_ID"].iter().fold(call, |it, name| it.env(name, &outer[*name]));
    let run = call.env("YCRED_EXPIRES_AT", PAST).env("YCRED", YCRED).run().succeeds();
    run.stdout_is("t1.profile.x\n").stderr_has("hint: unset YC_IAM_TOKEN YC_TOKEN");
}

#[test]
fn refresh_says_where_a_token_that_is_passed_through_comes_from() {
    let sandbox = Sandbox::new();
    let run = sandbox.ycred(["refresh"]).env("YC_IAM_TOKEN", "t1.a.b").run();
    fails_with_hint(run, 2, &["nothing to refresh"], "unset YC_IAM_TOKEN YC_TOKEN");
    sandbox.file("config/token", "t1.profile.x");
    sandbox.profile("file", "source = \"static\"\ntoken-file = \"token\"\n");
    fails_with_hint(sandbox.ycred(["refresh", "file"]).run(), 2, &["profile file", "nothing to refresh"], "token file");
    sandbox.profile("variable", "source = \"static\"\ntoken-env = \"MY_TOKEN\"\n");
    let run = sandbox.ycred(["refresh", "variable"]).env("MY_TOKEN", "t1.a.b").run();
    fails_with_hint(run, 2, &["profile variable", "nothing to refresh"], "MY_TOKEN");
}

/// GitLab's recipe, with the variable that `exec` removes from the environment of its program.
fn gitlab() -> (Workload, Call) {
    let mut workload = Workload::new();
    workload.profile("subject-token-env = \"YC_ID_TOKEN\"");
    let token = workload.issuer.token(SUBJECT);
    workload.world.sandbox.set("YC_ID_TOKEN", token);
    let exec = workload.world.sandbox.ycred(["exec"]);
    (workload, exec)
}

#[test]
fn hooks_inside_exec_use_its_token_if_exec_has_removed_the_profiles_variable() {
    let (workload, exec) = gitlab();
    let script = "test -z \"$YC_ID_TOKEN\" && \"$YCRED\" token && \
                  printf 'https://cr.yandex' | \"$YCRED\" docker get && \"$YCRED\" kubectl && \
                  \"$YCRED\" exec -- sh -c '\"$YCRED\" token'";
    let run = within_exec(&exec, script).succeeds().stderr_is_empty();
    let token = run.stdout.lines().next().expect("a token").to_owned();
    assert_eq!(run.stdout.matches(&token).count(), 4, "{run}");
    assert_eq!(workload.emulator().subject_of(&token), Some(workload.account.clone()));
    assert_eq!(workload.requests(), 1);
    // Afterwards, the error names the variable.
    let run = within_exec(&exec, &format!("YCRED_EXPIRES_AT={PAST} \"$YCRED\" token"));
    fails_with_hint(run, 3, &["YC_ID_TOKEN", PAST, "ycred exec"], "set YC_ID_TOKEN again");
    // With the variable, the profile works as usual.
    let with =
        format!("export YC_ID_TOKEN='{}'; YCRED_EXPIRES_AT={PAST} \"$YCRED\" token", workload.issuer.token(SUBJECT));
    assert_eq!(prints_token(within_exec(&exec, &with)), token);
}

#[test]
fn the_token_of_exec_is_never_used_for_another_profile() {
    let (workload, exec) = gitlab();
    let text = "source = \"static\"\ntoken-env = \"OTHER_TOKEN\"\n";
    workload.world.sandbox.profile("other", text);
    let run = within_exec(&exec, "YCRED_PROFILE=other \"$YCRED\" token");
    fails_with(run, 3, &["other.toml", "OTHER_TOKEN", "not set"]);
    // Nor if the variable has another token, or if the profile is named on the command line.
    let run = within_exec(&exec, "YC_IAM_TOKEN=t1.a.b YC_TOKEN=t1.a.b \"$YCRED\" token");
    fails_with(run, 3, &["default.toml", "YC_ID_TOKEN", "not set"]);
    let run = within_exec(&exec, "\"$YCRED\" token --profile default");
    fails_with_hint(run, 3, &["default.toml", "YC_ID_TOKEN", "not set"], "`ycred exec` may have removed it");
    let run = workload.world.sandbox.ycred(["token"]).env("YC_ID_TOKEN", "").run();
    fails_with(run, 3, &["YC_ID_TOKEN, which is set, but empty"]);
}

#[test]
fn an_impersonated_token_is_used_as_it_is() {
    let (workload, _) = gitlab();
    let account = workload.emulator().new_service_account();
    let iam = workload.emulator().url();
    workload.profile(&format!("subject-token-env = \"YC_ID_TOKEN\"\nimpersonate = \"{account}\"\niam-url = \"{iam}\""));
    let exec = workload.world.sandbox.ycred(["exec"]);
    let run = within_exec(&exec, "\"$YCRED\" token");
    assert_eq!(workload.emulator().subject_of(&prints_token(run)), Some(account));
}
