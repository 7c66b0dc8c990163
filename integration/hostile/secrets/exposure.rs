//! Every source by every hook, in every failure: no piece of a secret is printed or stored.

use super::calls::calls;
use super::eavesdropper::{Eavesdropper, LoginOptions, MANNERS, lock};
use super::net::Net;
use std::fs;

use crate::emulator::faults::Fault;
use crate::emulator::keys::{AuthorizedKey, RsaKey};
use crate::harness::files::mode;
use crate::harness::{Run, Sandbox, run_all, tried};
use crate::sources::{SOURCES, Secrets, Source, Way, shapeless};
use crate::world::World;

#[test]
fn no_source_hook_or_failure_exposes_eight_bytes_of_a_secret() {
    // Much of it is waiting: for a lock, and before another try.
    let runs = std::thread::scope(|scope| {
        let ways: Vec<_> = SOURCES.iter().flat_map(|source| source.ways.iter().map(move |way| (source, way))).collect();
        let expose_all = |ways: &[(&Source, &Way)]| ways.iter().map(|(source, way)| expose(source, way)).sum::<usize>();
        let parts: Vec<_> =
            ways.chunks(3).map(<[_]>::to_vec).map(|ways| scope.spawn(move || expose_all(&ways))).collect();
        parts.into_iter().map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).sum()
    });
    tried("run searched for fragments of its secrets", runs);
}

/// Throws everything at one way of a source, and counts the runs.
#[track_caller]
fn expose(source: &Source, way: &Way) -> usize {
    let mut count = 0;
    let eavesdropper = Eavesdropper::start();
    let mut sandbox = Sandbox::new();
    let mut net = Net::default();
    let mut secrets = Secrets::default();
    let (profile, variables) = (way.prepare)(&sandbox, &eavesdropper.server.url(), &mut secrets);
    for (name, secret) in secrets.0 {
        net.add(name, &secret);
    }
    sandbox.profile("default", &profile);
    for (name, value) in variables {
        sandbox.set(name, value);
    }
    // Whatever else an environment holds, and is none of our business.
    for name in ["AWS_SECRET_ACCESS_KEY", "YC_OAUTH_TOKEN", "YC_TOKEN", "YC_IAM_TOKEN"] {
        let secret = shapeless(40);
        net.add(name, &secret);
        sandbox.set(name, secret);
    }
    for manner in &MANNERS[..way.answers.min(MANNERS.len())] {
        let cache = sandbox.path(format!("cache-{manner:?}"));
        for flags in [&["-vvv"][..], &["-vvv", "--no-cache"]] {
            eavesdropper.behave(*manner);
            let runs = run_all(calls().map(|(words, stdin)| {
                let words: Vec<&str> = flags.iter().chain(words).copied().collect();
                sandbox.ycred(&words).stdin(stdin).env("YCRED_CACHE_DIR", &cache)
            }));
            judge(&format!("{}, {manner:?}", way.name), &net, &eavesdropper, &runs);
            count += runs.len();
            // Apart, since to an access key the token is what buys it, and nothing to be seen.
            if profile.contains("iam-url") {
                eavesdropper.behave(*manner);
                let words: Vec<&str> = flags.iter().chain(&["aws"]).copied().collect();
                let call = sandbox.ycred(&words).env("YCRED_CACHE_DIR", sandbox.path(format!("cache-aws-{manner:?}")));
                let runs = [call.run()];
                judge(&format!("{}, {manner:?}, aws", way.name), &net, &eavesdropper, &runs);
                count += runs.len();
            }
        }
    }
    look_around(source, way.name, &sandbox, &net, &eavesdropper);
    count
}

/// Nothing on stderr; on stdout the token alone, and in failure not even that.
#[track_caller]
fn judge(what: &str, net: &Net, eavesdropper: &Eavesdropper, runs: &[Run]) {
    let heard = lock(&eavesdropper.shared);
    let mut all = net.clone();
    for (name, secret) in &heard.shown {
        all.add(name, secret);
    }
    // A link's token is a caller's bearer to the next, and only the last one's is for us.
    let is_bearer = |token: &str| heard.shown.iter().any(|(_, shown)| shown == token);
    for token in heard.given.iter().filter(|token| !is_bearer(token)) {
        all.add("token", token);
    }
    for run in runs {
        assert!(run.status.code().is_some_and(|code| code != 5), "{what}: a defect\n{run}");
        assert_eq!(all.catch(run.stderr.as_bytes()), None, "{what}: on stderr\n{run}");
        let mut stdout = run.stdout.clone();
        if run.status.success() {
            for (_, token) in all.secrets.iter().filter(|(name, _)| name == "token") {
                stdout = stdout.replace(token, " ");
            }
        }
        assert_eq!(all.catch(stdout.as_bytes()), None, "{what}: on stdout\n{run}");
    }
}

/// No file's name has a piece of a secret, nor any file but a record, which has tokens alone and is 0600.
#[track_caller]
fn look_around(source: &Source, what: &str, sandbox: &Sandbox, net: &Net, eavesdropper: &Eavesdropper) {
    eavesdropper.behave(LoginOptions::Good);
    let heard = lock(&eavesdropper.shared);
    let mut all = net.clone();
    // A bearer is a token that was given before.
    for (name, secret) in heard.all_shown.iter().filter(|(_, secret)| !heard.all_given.contains(secret)) {
        all.add(name, secret);
    }
    for token in &heard.all_given {
        all.add("token", token);
    }
    let no_tokens = all.without("token");
    let mut records = 0;
    for path in sandbox.files("") {
        if ["config", "runs", "bin"].iter().any(|inputs| path.starts_with(sandbox.path(inputs))) {
            continue;
        }
        let name = path.display().to_string();
        assert_eq!(all.catch(name.as_bytes()), None, "{what}: the name {name}");
        // Neither an account nor a key is in a name.
        assert!(!name.contains("aje"), "{what}: the name {name}");
        let text = fs::read(&path).expect("a file");
        if path.extension().is_some_and(|end| end == "json") && name.contains("/v1/") {
            records += 1;
            assert_eq!(mode(&path), 0o600, "{what}: {name}");
            assert_eq!(no_tokens.catch(&text), None, "{what}: in {name}");
        } else {
            assert_eq!(all.catch(&text), None, "{what}: in {name}");
        }
    }
    assert_eq!(records > 0, source.is_cached, "{what}: {records} records");
}

#[test]
fn messages_about_a_key_in_a_variable_name_the_account_but_never_the_key() {
    let mut sandbox = Sandbox::new();
    let key = AuthorizedKey::new("ajeaaaaaaaaaaaaaaaaa", RsaKey::shared());
    let mut net = Net::default();
    net.add("key", &key.file().without_line().pem());
    // Nothing listens there, so that the call fails after the key was used.
    sandbox.set("YC_ENDPOINT", "localhost:1").seal();
    for (text, code) in [
        (key.file().json(), 4),
        (key.file().json().replace("\"id\"", "\"other\""), 3),
        (key.file().json().replace("MII", "!!!"), 3),
        (key.file().json()[..900].to_owned(), 3),
        (key.file().user_account().json(), 3),
        (format!("{{ {}", key.file().json()), 3),
    ] {
        for words in [&["-vvv", "token"][..], &["-vvv", "kubectl"], &["-vvv", "token", "--no-cache"]] {
            let run = sandbox.ycred(words).env("YC_SERVICE_ACCOUNT_KEY_FILE", &text).run().exits(code);
            assert_eq!(net.catch(run.stderr.as_bytes()), None, "{run}");
            assert_eq!(net.catch(run.stdout.as_bytes()), None, "{run}");
            let says = if code == 4 { "ajeaaaaaaaaaaaaaaaaa" } else { "YC_SERVICE_ACCOUNT_KEY_FILE" };
            assert!(run.stderr.contains(says), "expected {says:?}\n{run}");
            assert!(!run.lines_of_stderr("ycred: error").concat().contains("***"), "masks what is no secret\n{run}");
        }
    }
    for path in sandbox.files("") {
        if !path.starts_with(sandbox.path("runs")) {
            let text = fs::read(&path).expect("a file");
            assert_eq!(net.catch(&text), None, "{}", path.display());
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
    assert!(run.stderr.contains(&target), "the account that could not be impersonated is named\n{run}");
    world.emulator.fault(Fault::refuse(400).message("yandexPassportOauthToken or jwt: one of them is wanted"));
    let (oauth, _) = world.emulator.new_oauth();
    let toml = format!("source = \"oauth\"\noauth-token-env = \"OAUTH\"\niam-url = \"{}\"\n", world.emulator.url());
    world.sandbox.profile("oauth", &toml);
    let run = world.ycred(&["token", "-p", "oauth"]).env("OAUTH", oauth).run().exits(1);
    assert!(run.stderr.contains("yandexPassportOauthToken or jwt: one of them is wanted"), "{run}");
}
