//! Every source with every hook in every failure: no fragment of a secret is printed, and none is stored outside of
//! records.

use super::calls::calls;
use super::echoing_cloud::{BEHAVIORS, Behavior, EchoingCloud, lock};
use super::fragments::Fragments;
use std::fs;

use crate::emulator::faults::Fault;
use crate::emulator::keys::{AuthorizedKey, RsaKey};
use crate::harness::files::mode;
use crate::harness::{Run, Sandbox, report_faults, run_all};
use crate::sources::{SOURCES, Secrets, Source, Way, random_secret};
use crate::world::World;

#[test]
fn no_source_hook_or_failure_exposes_eight_bytes_of_a_secret() {
    // In parallel, because the runs mostly wait: for a lock, or before a retry.
    let runs = std::thread::scope(|scope| {
        let ways: Vec<_> = SOURCES.iter().flat_map(|source| source.ways.iter().map(move |way| (source, way))).collect();
        let try_all = |ways: &[(&Source, &Way)]| ways.iter().map(|(source, way)| try_way(source, way)).sum::<usize>();
        let parts: Vec<_> = ways.chunks(3).map(<[_]>::to_vec).map(|ways| scope.spawn(move || try_all(&ways))).collect();
        parts.into_iter().map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).sum()
    });
    report_faults("output of a call that fails, searched for parts of its secrets", runs);
}

/// Runs every call for one way of a source under every behavior of the cloud, and returns the number of runs.
#[track_caller]
fn try_way(source: &Source, way: &Way) -> usize {
    let mut count = 0;
    let cloud = EchoingCloud::start();
    let mut sandbox = Sandbox::new();
    let mut fragments = Fragments::default();
    let mut secrets = Secrets::default();
    let (profile, variables) = (way.prepare)(&sandbox, &cloud.server.url(), &mut secrets);
    for (name, secret) in secrets.0 {
        fragments.add(name, &secret);
    }
    sandbox.profile("default", &profile);
    for (name, value) in variables {
        sandbox.set(name, value);
    }
    // Secrets of other programs, which ycred must not print either.
    for name in ["AWS_SECRET_ACCESS_KEY", "YC_OAUTH_TOKEN", "YC_TOKEN", "YC_IAM_TOKEN"] {
        let secret = random_secret(40);
        fragments.add(name, &secret);
        sandbox.set(name, secret);
    }
    for behavior in &BEHAVIORS[..way.answers.min(BEHAVIORS.len())] {
        let cache = sandbox.path(format!("cache-{behavior:?}"));
        for flags in [&["-vvv"][..], &["-vvv", "--no-cache"]] {
            cloud.behave(*behavior);
            let runs = run_all(calls().map(|(arguments, stdin)| {
                let arguments: Vec<&str> = flags.iter().chain(arguments).copied().collect();
                sandbox.ycred(&arguments).stdin(stdin).env("YCRED_CACHE_DIR", &cache)
            }));
            check_output(&format!("{}, {behavior:?}", way.name), &fragments, &cloud, &runs);
            count += runs.len();
            // The hook `aws` runs separately: it exchanges the token for an access key, so the token must not be
            // printed.
            if profile.contains("iam-url") {
                cloud.behave(*behavior);
                let arguments: Vec<&str> = flags.iter().chain(&["aws"]).copied().collect();
                let call =
                    sandbox.ycred(&arguments).env("YCRED_CACHE_DIR", sandbox.path(format!("cache-aws-{behavior:?}")));
                let runs = [call.run()];
                check_output(&format!("{}, {behavior:?}, aws", way.name), &fragments, &cloud, &runs);
                count += runs.len();
            }
        }
    }
    check_files(source, way.name, &sandbox, &fragments, &cloud);
    count
}

/// Asserts that stderr has no fragment, and that stdout has none except the token after a success.
#[track_caller]
fn check_output(what: &str, fragments: &Fragments, cloud: &EchoingCloud, runs: &[Run]) {
    let traffic = lock(&cloud.traffic);
    let mut all = fragments.clone();
    for (name, secret) in &traffic.received {
        all.add(name, secret);
    }
    // In a chain of exchanges every token but the last is the bearer token of the next request, and must not be
    // printed.
    let is_bearer = |token: &str| traffic.received.iter().any(|(_, received)| received == token);
    for token in traffic.issued.iter().filter(|token| !is_bearer(token)) {
        all.add("token", token);
    }
    for run in runs {
        assert!(run.status.code().is_some_and(|code| code != 5), "{what}: an internal error\n{run}");
        assert_eq!(all.find_in(run.stderr.as_bytes()), None, "{what}: on stderr\n{run}");
        let mut stdout = run.stdout.clone();
        if run.status.success() {
            for (_, token) in all.secrets.iter().filter(|(name, _)| name == "token") {
                stdout = stdout.replace(token, " ");
            }
        }
        assert_eq!(all.find_in(stdout.as_bytes()), None, "{what}: on stdout\n{run}");
    }
}

/// Asserts that no file name and no file has a fragment, except tokens in records of mode 0600.
#[track_caller]
fn check_files(source: &Source, what: &str, sandbox: &Sandbox, fragments: &Fragments, cloud: &EchoingCloud) {
    cloud.behave(Behavior::Good);
    let traffic = lock(&cloud.traffic);
    let mut all = fragments.clone();
    // Bearer tokens are also in `all_issued`, and are added as tokens below.
    for (name, secret) in traffic.all_received.iter().filter(|(_, secret)| !traffic.all_issued.contains(secret)) {
        all.add(name, secret);
    }
    for token in &traffic.all_issued {
        all.add("token", token);
    }
    let no_tokens = all.without("token");
    let mut records = 0;
    for path in sandbox.files("") {
        if ["config", "runs", "bin"].iter().any(|inputs| path.starts_with(sandbox.path(inputs))) {
            continue;
        }
        let name = path.display().to_string();
        assert_eq!(all.find_in(name.as_bytes()), None, "{what}: in the file name {name}");
        // Ids of accounts and keys start with `aje`.
        assert!(!name.contains("aje"), "{what}: in the file name {name}");
        let content = fs::read(&path).expect("a file");
        if path.extension().is_some_and(|end| end == "json") && name.contains("/v1/") {
            records += 1;
            assert_eq!(mode(&path), 0o600, "{what}: {name}");
            assert_eq!(no_tokens.find_in(&content), None, "{what}: in {name}");
        } else {
            assert_eq!(all.find_in(&content), None, "{what}: in {name}");
        }
    }
    assert_eq!(records > 0, source.is_cached, "{what}: {records} records");
}

#[test]
fn messages_about_a_key_in_a_variable_name_the_account_but_never_the_key() {
    let mut sandbox = Sandbox::new();
    let key = AuthorizedKey::new("ajeaaaaaaaaaaaaaaaaa", RsaKey::shared());
    let mut fragments = Fragments::default();
    fragments.add("key", &key.file().without_line().pem());
    // Nothing listens on this port, so the request fails after ycred has used the key.
    sandbox.set("YC_ENDPOINT", "localhost:1").seal();
    for (key_json, code) in [
        (key.file().json(), 4),
        (key.file().json().replace("\"id\"", "\"other\""), 3),
        (key.file().json().replace("MII", "!!!"), 3),
        (key.file().json()[..900].to_owned(), 3),
        (key.file().user_account().json(), 3),
        (format!("{{ {}", key.file().json()), 3),
    ] {
        for arguments in [&["-vvv", "token"][..], &["-vvv", "kubectl"], &["-vvv", "token", "--no-cache"]] {
            let run = sandbox.ycred(arguments).env("YC_SERVICE_ACCOUNT_KEY_FILE", &key_json).run().exits(code);
            assert_eq!(fragments.find_in(run.stderr.as_bytes()), None, "{run}");
            assert_eq!(fragments.find_in(run.stdout.as_bytes()), None, "{run}");
            let expected = if code == 4 { "ajeaaaaaaaaaaaaaaaaa" } else { "YC_SERVICE_ACCOUNT_KEY_FILE" };
            assert!(run.stderr.contains(expected), "expected {expected:?}\n{run}");
            assert!(
                !run.lines_of_stderr("ycred: error").concat().contains("***"),
                "a value that is not secret is masked\n{run}"
            );
        }
    }
    for path in sandbox.files("") {
        if !path.starts_with(sandbox.path("runs")) {
            let content = fs::read(&path).expect("a file");
            assert_eq!(fragments.find_in(&content), None, "{}", path.display());
        }
    }
}

#[test]
fn values_that_are_not_secret_are_not_masked_in_messages() {
    let world = World::new();
    let target = world.emulator.new_service_account();
    world.emulator.set_impersonation(&target, crate::emulator::Impersonation::Nobody);
    world.profile("default", &format!("impersonate = \"{target}\""));
    let run = world.ycred(&["token"]).run().exits(1);
    assert!(run.stderr.contains(&target), "the error lacks the account that cannot be impersonated\n{run}");
    world.emulator.fault(Fault::refuse(400).message("expected yandexPassportOauthToken or jwt"));
    let (oauth, _) = world.emulator.new_oauth();
    let toml = format!("source = \"oauth\"\noauth-token-env = \"OAUTH\"\niam-url = \"{}\"\n", world.emulator.url());
    world.sandbox.profile("oauth", &toml);
    let run = world.ycred(&["token", "-p", "oauth"]).env("OAUTH", oauth).run().exits(1);
    assert!(run.stderr.contains("expected yandexPassportOauthToken or jwt"), "{run}");
}
