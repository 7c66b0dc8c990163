//! What processes share: a token always, and a failure only with processes that would fail in the same way.

mod many;
mod passed_on;
mod stopped;
mod storing;

use std::time::Duration;

use serde_json::json;

use crate::emulator::faults::Fault;
use crate::emulator::{CREATE_FOR_SERVICE_ACCOUNT, Config, Tls};
use crate::expect::{fails_with, prints_token, prints_token_with_warning, token_on_stdout};
use crate::harness::waiting::{HOUR, started};
use crate::harness::{Call, Run, require_client, run_all, skip};
use crate::sources::workload::{SUBJECT, VARIABLE, Workload};
use crate::stories::tunnel::Tunnel;
use crate::world::World;

/// Two callers of one profile. Whatever the first one lacks, the second one has.
struct Pair {
    world: World,
    unlucky: Box<dyn Fn(Call) -> Call>,
    /// A part of the error of the unlucky caller.
    error: &'static str,
    lucky: Box<dyn Fn(Call) -> Call>,
    /// True if both callers have one identity, and so one record. Otherwise they share nothing.
    is_one_identity: bool,
    /// Needed as long as the callers run.
    _tunnel: Option<Tunnel>,
}

impl Pair {
    fn new(
        world: World,
        unlucky: impl Fn(Call) -> Call + 'static,
        error: &'static str,
        lucky: impl Fn(Call) -> Call + 'static,
    ) -> Pair {
        Pair { world, unlucky: Box::new(unlucky), error, lucky: Box::new(lucky), is_one_identity: true, _tunnel: None }
    }

    fn unlucky(&self) -> Call {
        (self.unlucky)(self.world.token(&[]))
    }

    fn lucky(&self) -> Call {
        (self.lucky)(self.world.token(&[]))
    }
}

fn deadline() -> Pair {
    let world = World::new();
    world.emulator.fault(Fault::slow(Duration::from_secs(2)));
    let unlucky = |call: Call| call.and(["--timeout", "1s"]);
    Pair::new(world, unlucky, "no answer within", |call| call.and(["--timeout", "60s"]))
}

/// A line of a script: waits while the file that this variable names exists, and says so. Not longer than a minute.
const HANG: &str = "[ -z \"$HANG\" ] || { : > \"$HANG.begun\"; n=0; while [ -e \"$HANG\" ] && [ $n -lt 600 ]; do sleep 0.1; n=$((n + 1)); done; }";

/// The program is the same, but the programs that it runs are not in every `PATH`.
fn path() -> Pair {
    let world = World::without_profile(Config::default());
    let token = world.issue_token();
    world.sandbox.script("tools/print-token", &format!("#!/bin/sh\necho {token}.$$\n"));
    let program = world.sandbox.script("bin/give", &format!("#!/bin/sh\n{HANG}\nexec print-token\n"));
    world
        .sandbox
        .profile("default", &format!("source = \"command\"\ncommand = {}\nmax-age = \"11h\"\n", json!([program])));
    let tools = format!("{}:/usr/bin:/bin", world.sandbox.path("tools").display());
    Pair::new(world, |call| call.env("PATH", "/usr/bin:/bin"), "print-token", move |call| call.env("PATH", &tools))
}

/// The program reads its environment.
fn command_env() -> Pair {
    let world = World::without_profile(Config::default());
    let token = world.issue_token();
    let program = world.sandbox.script(
        "bin/give",
        &format!(
            "#!/bin/sh\n{HANG}\n[ \"$ACCOUNT\" = alice ] || {{ echo no such account >&2; exit 1; }}\necho {token}.$$\n"
        ),
    );
    world.sandbox.profile(
        "default",
        &format!(
            "source = \"command\"\ncommand = {}\ncommand-env = [\"ACCOUNT\"]\nmax-age = \"11h\"\n",
            json!([program])
        ),
    );
    let unlucky = |call: Call| call.env("ACCOUNT", "nobody");
    let pair = Pair::new(world, unlucky, "no such account", |call| call.env("ACCOUNT", "alice"));
    Pair { is_one_identity: false, ..pair }
}

fn proxy() -> Pair {
    let names = vec!["iam.test.example".to_owned()];
    let world = World::without_profile(Config { names, ..Config::with_tls(Tls::Good) });
    let url = format!("https://iam.test.example:{}", world.emulator.address().port());
    world.emulator.write_ca(world.sandbox.path("config/ca.pem")).expect("a certificate");
    let settings = world.settings().replace(&world.emulator.url(), &url);
    world.sandbox.profile("default", &format!("{settings}ca-file = \"ca.pem\"\n"));
    let tunnel = Tunnel::to(&world.emulator);
    let good = tunnel.url().to_owned();
    let unlucky = |call: Call| call.env("HTTPS_PROXY", "http://127.0.0.1:1");
    let pair = Pair::new(world, unlucky, "127.0.0.1:1", move |call| call.env("HTTPS_PROXY", &good));
    Pair { _tunnel: Some(tunnel), ..pair }
}

fn certificates() -> Pair {
    let world = World::with_tls(Tls::Good);
    world.configure("");
    let good = world.sandbox.path("config/ca.pem");
    let other = crate::emulator::Emulator::start(Config::with_tls(Tls::Good));
    other.write_ca(world.sandbox.path("config/other.pem")).expect("a certificate");
    let bad = world.sandbox.path("config/other.pem");
    let unlucky = move |call: Call| call.env("SSL_CERT_FILE", &bad);
    Pair::new(world, unlucky, "signed by an authority", move |call| call.env("SSL_CERT_FILE", &good))
}

fn subject_token() -> Pair {
    let workload = Workload::new();
    workload.profile(VARIABLE);
    let expired = workload.issuer.token_with(SUBJECT, &json!({"exp": 1_700_000_000}));
    let valid = workload.issuer.token(SUBJECT);
    let unlucky = move |call: Call| call.env("MY_ID_TOKEN", &expired);
    Pair::new(workload.world, unlucky, "expired", move |call| call.env("MY_ID_TOKEN", &valid))
}

/// The unlucky one is in a sandbox without a network. `None` if this user cannot make one.
fn network() -> Option<Pair> {
    let unshare = require_client("unshare")?;
    let world = World::new();
    // Root needs no user namespace, and nobody else may go without one.
    let works = |option: &str| world.sandbox.call(&unshare, [option, "true"]).run().status.success();
    let Some(option) = ["-n", "-cn"].into_iter().find(|option| works(option)) else {
        skip("this user cannot create a network namespace");
        return None;
    };
    let unlucky = move |call: Call| call.under(&unshare, &[option]);
    Some(Pair::new(world, unlucky, "127.0.0.1", |call| call))
}

/// A difference between two callers, and an example.
type Row = (&'static str, fn() -> Option<Pair>);

/// The differences between two callers, each with an example.
fn pairs() -> impl Iterator<Item = (&'static str, Pair)> {
    const PAIRS: [Row; 7] = [
        ("deadline", || Some(deadline())),
        ("PATH", || Some(path())),
        ("command-env", || Some(command_env())),
        ("proxy", || Some(proxy())),
        ("certificates", || Some(certificates())),
        ("subject token", || Some(subject_token())),
        ("network", network),
    ];
    PAIRS.into_iter().filter_map(|(name, pair)| Some((name, pair()?)))
}

#[track_caller]
fn fails_alone(pair: &Pair, name: &str) {
    let run = pair.unlucky().run().fails();
    assert!(run.stderr.contains(pair.error), "{name}: {:?} expected\n{run}", pair.error);
}

#[test]
fn with_an_empty_cache_a_failure_does_not_reach_a_caller_that_would_succeed() {
    for (name, pair) in pairs() {
        fails_alone(&pair, name);
        let token = prints_token(pair.lucky().run());
        // And from then on, every caller is served from the cache.
        assert_eq!(prints_token(pair.lucky().run()), token, "{name}");
        match pair.is_one_identity {
            true => assert_eq!(prints_token(pair.unlucky().run()), token, "{name}"),
            false => fails_alone(&pair, name),
        }
    }
}

#[test]
fn with_an_empty_cache_callers_at_the_same_time_get_what_they_would_get_alone() {
    for (name, pair) in pairs() {
        let calls = (0..10).map(|number| if number % 2 == 0 { pair.unlucky() } else { pair.lucky() });
        let runs: Vec<Run> = run_all(calls.map(|call| call.limit(4 * Duration::from_secs(60))));
        let mut tokens = Vec::new();
        for (number, run) in runs.into_iter().enumerate() {
            if number % 2 == 1 {
                tokens.push(prints_token(run));
            } else if run.status.success() {
                tokens.push(token_on_stdout(&run));
            } else {
                // Beside a leader that takes longer, an impatient caller ends before that leader does.
                let reasons = [pair.error, "has been asking for this token"];
                assert!(reasons.iter().any(|reason| run.stderr.contains(reason)), "{name}\n{run}");
            }
        }
        assert!(tokens.iter().all(|token| *token == tokens[0]), "{name}: {tokens:?}");
    }
}

#[test]
fn a_failed_renewal_does_not_keep_another_caller_from_renewing() {
    for (name, pair) in pairs() {
        let old = prints_token(pair.lucky().run());
        // `path` has tokens of unknown expiry, which are due after `max-age`.
        pair.world.edit(|record| {
            record["token"]["expires"] = (record["token"]["issued"].as_i64().unwrap_or(0) + 43_200_000).into()
        });
        pair.world.age(11 * HOUR);
        if pair.is_one_identity {
            assert_eq!(prints_token_with_warning(pair.unlucky().run(), &["the cached token is used"]), old, "{name}");
        } else {
            fails_alone(&pair, name);
        }
        let new = prints_token(pair.lucky().run());
        assert_ne!(new, old, "{name}: not renewed, because another caller has failed");
        if pair.is_one_identity {
            assert_eq!(prints_token(pair.unlucky().run()), new, "{name}");
        }
    }
}

#[test]
fn a_failed_renewal_is_not_repeated_by_callers_that_would_fail_too() {
    let pair = certificates();
    let old = prints_token(pair.lucky().run());
    pair.world.age(11 * HOUR);
    prints_token_with_warning(pair.unlucky().run(), &["the cached token is used"]);
    let failures = pair.world.emulator.server().failed_handshakes();
    for _ in 0..3 {
        assert_eq!(prints_token(pair.unlucky().run()), old);
    }
    assert_eq!(pair.world.emulator.server().failed_handshakes(), failures, "tried again before retry-at");
}

#[test]
fn each_group_of_equal_callers_makes_one_request_and_reports_one_error() {
    let world = World::new();
    world.configure("timeout = \"120s\"");
    // A page that is not IAM's. Slow enough for all to start before the first group has its result.
    let page = Fault { html: true, status: Some(502), ..Fault::slow(Duration::from_secs(2)) };
    world.emulator.fault(page);
    // Loopback needs no proxy, so the variable decides nothing but the group.
    let groups = ["http://one.example:1", "http://two.example:1", "http://three.example:1"];
    let calls = (0..30).map(|number| world.token(&[]).env("HTTPS_PROXY", groups[number % 3]));
    let errors: Vec<String> = run_all(calls.map(|call| call.limit(4 * Duration::from_secs(60))))
        .into_iter()
        .map(|run| fails_with(run, 4, &["502"]))
        .map(|error| error.split(" (remembered").next().unwrap_or_default().to_owned())
        .collect();
    for group in 0..3 {
        let of_group: Vec<&String> = errors.iter().skip(group).step_by(3).collect();
        assert!(of_group.iter().all(|error| *error == of_group[0]), "{of_group:?}");
    }
    assert_eq!(world.requests(), 3 * 4, "one request and three retries for each group");
}

#[test]
fn the_clouds_answer_counts_for_every_group() {
    let world = World::new();
    world.emulator.fault(Fault::refuse(403).message("the test says no"));
    fails_with(world.token(&[]).run(), 1, &["the test says no"]);
    let other = world.token(&["--timeout", "60s"]).env("HTTPS_PROXY", "http://one.example:1");
    fails_with(other.run(), 1, &["the test says no", "(remembered, "]);
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_request_to_wait_counts_for_the_same_proxy_only() {
    let world = World::new();
    world.emulator.fault(Fault::refuse(429).message("slow down").retry_after(50));
    fails_with(world.token(&[]).run(), 4, &["slow down"]);
    fails_with(world.token(&["--timeout", "40s"]).run(), 4, &["slow down", "(remembered, "]);
    assert_eq!(world.requests(), 1);
    world.emulator.clear_faults();
    let other = world.token(&[]).env("HTTPS_PROXY", "http://one.example:1");
    prints_token(other.run());
}

#[test]
fn three_hundred_callers_with_three_hundred_deadlines_share_a_refused_connection() {
    let world = World::new();
    let unused = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let settings = world.settings().replace(&world.emulator.url(), &format!("http://127.0.0.1:{unused}"));
    world.sandbox.profile("default", &settings);
    let limit = |number: usize| format!("{}s", number + 2);
    let calls =
        (0..300).map(|number| world.token(&["-v", "--timeout", &limit(number)]).limit(4 * Duration::from_secs(60)));
    let mut attempts = 0;
    for run in run_all(calls) {
        let run = run.exits(4);
        assert!(run.stderr.contains("nothing listens there"), "{run}");
        // The first attempt of a fetch, and each further one.
        attempts += ["requesting a new token", "; next one in "]
            .map(|text| run.stderr.matches(text).count())
            .iter()
            .sum::<usize>();
    }
    assert!((4..=8).contains(&attempts), "{attempts} attempts to connect");
}

// ------------------------------------------------------------------------------------------------- a holder that stops

#[test]
fn beside_a_stopped_holder_a_token_that_comes_within_a_tenth_of_the_time_is_in_time() {
    let world = World::new();
    world.emulator.fault(Fault::held().times(1));
    let holder = world.token(&[]).start();
    world.wait_for_requests(1);
    holder.signal(libc::SIGSTOP);
    // The waiter gives up after eight of the ten seconds. The response then takes one more.
    world.emulator.fault(Fault::slow(Duration::from_secs(1)));
    let token = prints_token(world.token(&["--timeout", "10s"]).run());
    assert_eq!(world.requests(), 2);
    assert_eq!(world.get(), token, "it is stored for the others");
}

#[test]
fn a_holder_that_stops_with_the_locks_of_a_whole_chain_is_replaced_in_time() {
    let world = World::new();
    let account = world.emulator.new_service_account();
    world.configure(&format!("impersonate = \"{account}\""));
    world.emulator.fault(Fault::held().times(1));
    let holder = world.token(&[]).start();
    world.wait_for_requests(1);
    holder.signal(libc::SIGSTOP);
    let token = prints_token(world.token(&["--timeout", "8s"]).run());
    assert_eq!(world.emulator.subject_of(&token), Some(account));
    assert_eq!((world.requests(), world.emulator.requests(CREATE_FOR_SERVICE_ACCOUNT)), (2, 1));
}

#[test]
fn a_late_leaders_token_is_kept_if_it_expires_later() {
    let world = World::new();
    world.emulator.fault(Fault::held().times(1));
    let leader = started(world.token(&["-v", "--timeout", "120s"]));
    world.wait_for_requests(1);
    // The relief's token is valid for an hour only.
    world.emulator.fault(Fault::short_life(HOUR).times(1));
    let short = prints_token(world.token(&["--timeout", "5s"]).run());
    world.emulator.clear_faults();
    let late = token_on_stdout(&leader.finish().exits(0));
    assert_ne!(late, short);
    assert_eq!(world.get(), late);
}
