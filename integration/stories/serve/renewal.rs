//! Tokens and keys are renewed as long as the child runs.

use super::served::{Answer, Served, WAITING, ask};
use std::fs;
use std::thread;
use std::time::Duration;

use crate::emulator::access_keys::EPHEMERAL_ACCESS_KEYS;
use crate::emulator::faults::{Endpoint, Fault};
use crate::emulator::{Config, METADATA};
use crate::expect::handed;
use crate::harness::YCRED;
use crate::harness::waiting::{HOUR, MINUTE, wait_until};
use crate::world::World;

#[test]
fn three_hundred_at_once_make_one_request() {
    let world = World::new();
    let served = Served::start(&world, &[]);
    let before = served.token();
    world.sandbox.ycred(["logout"]).run().exits(0);
    // Nothing is at hand while they come.
    world.emulator.fault(Fault::slow(Duration::from_millis(300)).times(1));
    let port = served.port();
    let clients: Vec<_> =
        (0..300).map(|_| thread::spawn(move || ask(port, "GET", METADATA, &["Metadata-Flavor: Google"]))).collect();
    let bodies: Vec<Answer> = clients.into_iter().map(|client| client.join().expect("no panic")).collect();
    let token = served.token();
    assert_ne!(token, before, "what was logged out of is not handed out");
    for answer in bodies {
        assert!(answer.status == 200 && answer.body.contains(&token), "{answer:?}");
    }
    served.end().exits(0).quietly();
    assert_eq!(world.requests(), 2);
}

#[test]
fn a_token_is_renewed_ahead_of_need_and_its_record_is_everybodys() {
    let world = World::new();
    let served = Served::start(&world, &[]);
    let first = served.token();
    assert_eq!(first, world.get(), "from the record");
    // In the soft window: the old one at once, and a new one is got meanwhile.
    world.age(11 * HOUR);
    assert_eq!(served.token(), first);
    world.wait_for_requests(2);
    wait_until("the new one is handed out", || served.token() != first);
    let second = served.token();
    assert_eq!(second, world.get());
    // And again as soon as that is due, however short it lived.
    world.age(11 * HOUR);
    wait_until("the next one is handed out", || served.token() != second);
    let second = served.token();
    // What another process got is handed out too.
    world.sandbox.ycred(["refresh"]).run().exits(0);
    let third = served.token();
    assert_ne!(third, second);
    assert_eq!(third, world.get());
    served.end().exits(0).quietly();
    assert_eq!(world.requests(), 4);
}

#[test]
fn a_cloud_that_is_down_costs_no_token_and_is_told_once() {
    let world = World::new();
    let served = Served::start(&world, &[]);
    let first = served.token();
    world.emulator.fault(Fault::refuse(503).message("Back in a moment, says the test"));
    world.age(11 * HOUR);
    for _ in 0..20 {
        assert_eq!(served.token(), first);
    }
    world.age(HOUR);
    for _ in 0..20 {
        let answer = served.metadata();
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.body.starts_with("ycred: ") && answer.body.contains("Back in a moment"), "{answer:?}");
        assert_eq!(answer.body.lines().count(), 1);
    }
    // And when it has been asked in vain once more.
    let asked = world.requests();
    wait_until("the cloud is asked again", || served.metadata().status == 503 && world.requests() >= asked + 4);
    wait_until("it has failed again", || served.metadata().status == 503);
    let told = served.running.stderr();
    assert_eq!(told.matches("ycred: error: ").count(), 1, "{told}");
    world.emulator.clear_faults();
    wait_until("there is a token again", || served.metadata().status == 200);
    assert_ne!(served.token(), first);
    let run = served.end().exits(0);
    assert_eq!(run.stderr, told, "nothing more was said");
}

#[test]
fn a_key_is_renewed_too_and_a_refusal_of_it_costs_no_token() {
    let world = World::new();
    let served = Served::start(&world, &[]);
    world.emulator.fault(Fault::refuse(403).message("No access key, says the test").on(Endpoint::EphemeralAccessKeys));
    let authorization = format!("Authorization: {}", served.password());
    let answer = ask(served.port(), "GET", "/credentials", &[&authorization]);
    assert!(answer.status == 503 && answer.body.contains("No access key, says the test"), "{answer:?}");
    let token = served.token();
    assert!(world.emulator.is_live(&token));
    world.emulator.clear_faults();
    // Another process need not wait until the refusal is forgotten.
    world.sandbox.ycred(["--force-refresh", "aws"]).run().exits(0).quietly();
    let first = served.key()["AccessKeyId"].clone();
    world.age(50 * MINUTE);
    assert_eq!(served.key()["AccessKeyId"], first);
    wait_until("the new one is handed out", || served.key()["AccessKeyId"] != first);
    served.end().exits(0);
}

#[test]
fn without_a_record_the_token_is_kept_in_memory() {
    let world = World::new();
    let served = Served::start(&world, &["--no-cache"]);
    let token = served.token();
    for _ in 0..50 {
        assert_eq!(served.token(), token);
        served.key();
    }
    served.end().exits(0).quietly();
    assert!(world.sandbox.files("cache").is_empty());
    // A key is bought with a token of its own where tokens are kept nowhere.
    assert_eq!((world.requests(), world.emulator.requests(EPHEMERAL_ACCESS_KEYS)), (2, 1));
    // A directory that cannot be: the same, with one warning.
    world.sandbox.file("work/file", "");
    let cache = world.sandbox.path("work/file/cache");
    let words = ["exec", "--serve", "--", "sh", "-c", WAITING];
    let served = Served::of(&world, world.sandbox.ycred(words).env("YCRED_CACHE_DIR", &cache));
    let token = served.token();
    for _ in 0..50 {
        assert_eq!(served.token(), token);
    }
    // Once it can be, what others leave there counts: a later token, and that it is to be forgotten.
    fs::remove_file(world.sandbox.path("work/file")).expect("removed");
    fs::create_dir(world.sandbox.path("work/file")).expect("made");
    let later = handed(world.token(&[]).env("YCRED_CACHE_DIR", &cache).run());
    assert_eq!(served.token(), later);
    world.sandbox.ycred(["logout"]).env("YCRED_CACHE_DIR", &cache).run().exits(0);
    let last = served.token();
    assert!(last != token && last != later);
    let run = served.end().exits(0);
    assert!(run.stderr.starts_with("ycred: warning: ") && run.stderr.lines().count() == 1, "{run}");
    assert_eq!(world.requests(), 5);
}

#[test]
fn a_static_token_is_read_anew_each_time() {
    let world = World::new();
    let file = world.sandbox.file("config/token", "t1.first.x\n");
    world.sandbox.profile("fixed", &format!("source = \"static\"\ntoken-file = \"{}\"\n", file.display()));
    let served = Served::start(&world, &["-p", "fixed"]);
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
    let run = world.sandbox.ycred(["exec", "--serve", "-p", "prod", "--", YCRED, "token"]).run().exits(0).quietly();
    assert_eq!(world.emulator.tokens(), [run.stdout.trim()]);
    // Without a profile file it asks the endpoint, since it has nothing else.
    let world = World::bare(Config::default());
    let token = "t1.given.by-the-environment";
    let words = ["exec", "--serve", "--", YCRED, "-v", "token"];
    let run = world.sandbox.ycred(words).env("YC_IAM_TOKEN", token).run().exits(0);
    assert_eq!(run.stdout.trim(), token, "{run}");
    run.stderr_has("source metadata");
}

#[test]
fn a_profile_inside_that_asks_the_metadata_service_asks_the_real_one() {
    let world = World::new();
    let account = world.emulator.new_service_account();
    world.emulator.attach(Some(&account));
    world.sandbox.profile("vm", "source = \"metadata\"\n");
    let words = ["exec", "--serve", YCRED, "token", "-p", "vm"];
    let inside = |words: &[&str]| {
        let call = world.sandbox.ycred(words).env("YC_METADATA_ADDR", world.emulator.metadata_addr());
        handed(call.run())
    };
    let token = inside(&words);
    assert_eq!(world.emulator.subject_of(&token), Some(account.clone()), "not the default profile's");
    assert_eq!(inside(&["token", "-p", "vm"]), token, "one record inside and outside");
    // And so it does within another one.
    assert_eq!(inside(&["exec", "--serve", YCRED, "exec", "--serve", YCRED, "token", "-p", "vm"]), token);
}

#[test]
fn thousands_of_requests_take_no_memory() {
    let world = World::new();
    let served = Served::start(&world, &[]);
    let resident = || -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", served.running.id())).expect("a status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a size");
        line.split_whitespace().nth(1).and_then(|size| size.parse().ok()).expect("KiB")
    };
    let ask = |count: usize| {
        for number in 0..count {
            served.token();
            if number % 10 == 0 {
                served.key();
            }
            // Every so often another token, so that old ones would heap up.
            if number % 100 == 0 {
                world.edit(|record| {
                    if let Some(token) = record.pointer_mut("/token/secret") {
                        let text = token.as_str().expect("a secret").to_owned();
                        *token = if text.contains('|') { text } else { format!("t1.{number:0>3000}.x") }.into();
                    }
                });
            }
        }
    };
    ask(300);
    let before = resident();
    ask(2000);
    let after = resident();
    assert!(after < before + 2048, "{before} KiB became {after} KiB");
    served.end().exits(0).quietly();
    assert_eq!(world.requests(), 1);
}
