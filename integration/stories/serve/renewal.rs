//! Renewal of tokens and keys while the child runs.

use super::served::{HttpResponse, ServedChild, WAITING, request};
use std::fs;
use std::thread;
use std::time::Duration;

use crate::emulator::access_keys::EPHEMERAL_ACCESS_KEYS;
use crate::emulator::faults::{Endpoint, Fault};
use crate::emulator::{Config, METADATA};
use crate::expect::prints_token;
use crate::harness::YCRED;
use crate::harness::waiting::{HOUR, MINUTE, wait_until};
use crate::world::World;

#[test]
fn three_hundred_concurrent_clients_share_one_request() {
    let world = World::new();
    let served = ServedChild::start(&world, &[]);
    let before = served.token();
    world.sandbox.ycred(["logout"]).run().exits(0);
    // The cache is empty while the requests arrive.
    world.emulator.fault(Fault::slow(Duration::from_millis(300)).times(1));
    let port = served.port();
    let clients: Vec<_> =
        (0..300).map(|_| thread::spawn(move || request(port, "GET", METADATA, &["Metadata-Flavor: Google"]))).collect();
    let responses: Vec<HttpResponse> = clients.into_iter().map(|client| client.join().expect("no panic")).collect();
    let token = served.token();
    assert_ne!(token, before, "the token from before the logout is not served");
    for response in responses {
        assert!(response.status == 200 && response.body.contains(&token), "{response:?}");
    }
    served.end().exits(0).stderr_is_empty();
    assert_eq!(world.requests(), 2);
}

#[test]
fn a_token_is_renewed_ahead_of_its_expiry_and_its_record_is_shared() {
    let world = World::new();
    let served = ServedChild::start(&world, &[]);
    let first = served.token();
    assert_eq!(first, world.get(), "expected the token of the cache record");
    // In the soft window the old token is served at once, and a new one is fetched in the background.
    world.age(11 * HOUR);
    assert_eq!(served.token(), first);
    world.wait_for_requests(2);
    wait_until("the renewed credential is served", || served.token() != first);
    let second = served.token();
    assert_eq!(second, world.get());
    // The next renewal follows as soon as it is due.
    world.age(11 * HOUR);
    wait_until("the next token is served", || served.token() != second);
    let second = served.token();
    // A token that another process fetched is served too.
    world.sandbox.ycred(["refresh"]).run().exits(0);
    let third = served.token();
    assert_ne!(third, second);
    assert_eq!(third, world.get());
    served.end().exits(0).stderr_is_empty();
    assert_eq!(world.requests(), 4);
}

#[test]
fn while_the_cloud_is_down_the_token_is_served_and_one_error_is_printed() {
    let world = World::new();
    let served = ServedChild::start(&world, &[]);
    let first = served.token();
    world.emulator.fault(Fault::refuse(503).message("Back in a moment, says the test"));
    world.age(11 * HOUR);
    for _ in 0..20 {
        assert_eq!(served.token(), first);
    }
    world.age(HOUR);
    for _ in 0..20 {
        let response = served.metadata();
        assert_eq!(response.status, 503, "{response:?}");
        assert!(response.body.starts_with("ycred: ") && response.body.contains("Back in a moment"), "{response:?}");
        assert_eq!(response.body.lines().count(), 1);
    }
    // A further failed request prints no second error.
    let before = world.requests();
    wait_until("the cloud gets more requests", || served.metadata().status == 503 && world.requests() >= before + 4);
    wait_until("the renewal has failed again", || served.metadata().status == 503);
    let stderr = served.running.stderr();
    assert_eq!(stderr.matches("ycred: error: ").count(), 1, "{stderr}");
    world.emulator.clear_faults();
    wait_until("there is a token again", || served.metadata().status == 200);
    assert_ne!(served.token(), first);
    let run = served.end().exits(0);
    assert_eq!(run.stderr, stderr, "expected no further output");
}

#[test]
fn a_key_is_renewed_too_and_its_rejection_does_not_affect_the_token() {
    let world = World::new();
    let served = ServedChild::start(&world, &[]);
    world.emulator.fault(Fault::refuse(403).message("No access key, says the test").on(Endpoint::EphemeralAccessKeys));
    let authorization = format!("Authorization: {}", served.password());
    let response = request(served.port(), "GET", "/credentials", &[&authorization]);
    assert!(response.status == 503 && response.body.contains("No access key, says the test"), "{response:?}");
    let token = served.token();
    assert!(world.emulator.is_live(&token));
    world.emulator.clear_faults();
    // A forced request in another process bypasses the remembered rejection.
    world.sandbox.ycred(["--force-refresh", "aws"]).run().exits(0).stderr_is_empty();
    let first = served.key()["AccessKeyId"].clone();
    world.age(50 * MINUTE);
    assert_eq!(served.key()["AccessKeyId"], first);
    wait_until("the renewed credential is served", || served.key()["AccessKeyId"] != first);
    served.end().exits(0);
}

#[test]
fn without_a_record_the_token_is_kept_in_memory() {
    let world = World::new();
    let served = ServedChild::start(&world, &["--no-cache"]);
    let token = served.token();
    for _ in 0..50 {
        assert_eq!(served.token(), token);
        served.key();
    }
    served.end().exits(0).stderr_is_empty();
    assert!(world.sandbox.files("cache").is_empty());
    // Without a cache, a key request fetches its own token.
    assert_eq!((world.requests(), world.emulator.requests(EPHEMERAL_ACCESS_KEYS)), (2, 1));
    // The same with a cache directory that cannot be created, and one warning.
    world.sandbox.file("work/file", "");
    let cache = world.sandbox.path("work/file/cache");
    let arguments = ["exec", "--serve", "--", "sh", "-c", WAITING];
    let served = ServedChild::start_call(&world, world.sandbox.ycred(arguments).env("YCRED_CACHE_DIR", &cache));
    let token = served.token();
    for _ in 0..50 {
        assert_eq!(served.token(), token);
    }
    // Once the directory can be created, a later token and a logout by other processes take effect.
    fs::remove_file(world.sandbox.path("work/file")).expect("removed");
    fs::create_dir(world.sandbox.path("work/file")).expect("made");
    let later = prints_token(world.token(&[]).env("YCRED_CACHE_DIR", &cache).run());
    assert_eq!(served.token(), later);
    world.sandbox.ycred(["logout"]).env("YCRED_CACHE_DIR", &cache).run().exits(0);
    let last = served.token();
    assert!(last != token && last != later);
    let run = served.end().exits(0);
    assert!(run.stderr.starts_with("ycred: warning: ") && run.stderr.lines().count() == 1, "{run}");
    assert_eq!(world.requests(), 5);
}

#[test]
fn a_static_token_is_read_for_each_request() {
    let world = World::new();
    let file = world.sandbox.file("config/token", "t1.first.x\n");
    world.sandbox.profile("fixed", &format!("source = \"static\"\ntoken-file = \"{}\"\n", file.display()));
    let served = ServedChild::start(&world, &["-p", "fixed"]);
    assert_eq!(served.token(), "t1.first.x");
    world.sandbox.file("config/token", "t1.second.x\n");
    assert_eq!(served.token(), "t1.second.x");
    fs::remove_file(&file).expect("removed");
    assert_eq!(served.metadata().status, 503);
    world.sandbox.file("config/token", "t1.third.x\n");
    assert_eq!(served.token(), "t1.third.x");
    assert_eq!(served.variable("YCRED_PROFILE"), Some("fixed"));
    served.end().exits(0).stderr_has("no such file");
}

#[test]
fn a_ycred_inside_uses_the_same_profile_and_record() {
    let world = World::new();
    world.profile("prod", "");
    let run =
        world.sandbox.ycred(["exec", "--serve", "-p", "prod", "--", YCRED, "token"]).run().exits(0).stderr_is_empty();
    assert_eq!(world.emulator.tokens(), [run.stdout.trim()]);
    // Without a profile file the inner ycred uses the endpoint, its only source.
    let world = World::without_profile(Config::default());
    let token = "t1.given.by-the-environment";
    let arguments = ["exec", "--serve", "--", YCRED, "-v", "token"];
    let run = world.sandbox.ycred(arguments).env("YC_IAM_TOKEN", token).run().exits(0);
    assert_eq!(run.stdout.trim(), token, "{run}");
    run.stderr_has("source metadata");
}

#[test]
fn an_inner_profile_with_source_metadata_uses_the_real_metadata_service() {
    let world = World::new();
    let account = world.emulator.new_service_account();
    world.emulator.attach(Some(&account));
    world.sandbox.profile("vm", "source = \"metadata\"\n");
    let arguments = ["exec", "--serve", YCRED, "token", "-p", "vm"];
    let inside = |arguments: &[&str]| {
        let call = world.sandbox.ycred(arguments).env("YC_METADATA_ADDR", world.emulator.metadata_addr());
        prints_token(call.run())
    };
    let token = inside(&arguments);
    assert_eq!(world.emulator.subject_of(&token), Some(account.clone()), "expected the token of the machine's account");
    assert_eq!(inside(&["token", "-p", "vm"]), token, "expected the same record inside and outside");
    // The same holds for a nested `exec --serve`.
    assert_eq!(inside(&["exec", "--serve", YCRED, "exec", "--serve", YCRED, "token", "-p", "vm"]), token);
}

#[test]
fn thousands_of_requests_do_not_leak_memory() {
    let world = World::new();
    let served = ServedChild::start(&world, &[]);
    let resident = || -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", served.running.id())).expect("a status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a size");
        line.split_whitespace().nth(1).and_then(|size| size.parse().ok()).expect("KiB")
    };
    let make_requests = |count: usize| {
        for number in 0..count {
            served.token();
            if number % 10 == 0 {
                served.key();
            }
            // Changes the token now and then, so that a leak of old tokens would show.
            if number % 100 == 0 {
                world.edit(|record| {
                    if let Some(token) = record.pointer_mut("/token/secret") {
                        let secret = token.as_str().expect("a secret").to_owned();
                        *token = if secret.contains('|') { secret } else { format!("t1.{number:0>3000}.x") }.into();
                    }
                });
            }
        }
    };
    make_requests(300);
    let before = resident();
    make_requests(2000);
    let after = resident();
    assert!(after < before + 2048, "{before} KiB became {after} KiB");
    served.end().exits(0).stderr_is_empty();
    assert_eq!(world.requests(), 1);
}
