//! Cache identities: any input that decides which token is issued selects its own record.

use std::fs;

use crate::emulator::CREATE_FOR_SERVICE_ACCOUNT;
use crate::emulator::{Config, keys};
use crate::expect::prints_token;
use crate::world::World;

#[test]
fn a_change_to_any_input_selects_another_record() {
    let world = World::new();
    let url = world.emulator.url();
    let aud = |host: &str| format!("http://{host}:{}/iam/v1/tokens", world.emulator.address().port());
    fs::copy(world.sandbox.path("config/key.json"), world.sandbox.path("config/copy.json")).expect("a copy");
    let ca = world.sandbox.file("config/ca.pem", world.emulator.ca_pem());
    let account = world.emulator.new_service_account();
    let second = world.emulator.new_service_account();
    let localhost = format!("http://localhost:{}", world.emulator.address().port());
    let base = world.settings();
    let variants = [
        base.clone(),
        base.replace("key.json", "copy.json"),
        base.replace(&url, &localhost),
        format!("{base}audience = \"{}\"\n", aud("localhost")),
        format!("{base}ca-file = \"{}\"\n", ca.display()),
        format!("{base}impersonate = \"{account}\"\n"),
        format!("{base}impersonate = \"{second}\"\n"),
        format!("{base}impersonate = [\"{account}\", \"{second}\"]\n"),
        format!("{base}impersonate = [\"{second}\", \"{account}\"]\n"),
    ];
    let mut tokens = Vec::new();
    for (number, settings) in variants.iter().enumerate() {
        world.sandbox.profile(&format!("v{number}"), settings);
        let token = prints_token(world.token(&["-p", &format!("v{number}")]).run());
        assert!(!tokens.contains(&token), "variant {number} shares the record of another");
        tokens.push(token);
    }
    let requests = world.emulator.calls();
    for (number, token) in tokens.iter().enumerate() {
        assert_eq!(prints_token(world.token(&["-p", &format!("v{number}")]).run()), *token);
    }
    assert_eq!(world.emulator.calls(), requests, "each variant uses its own record again");
    assert_eq!(world.records().len(), variants.len());
    // Five base tokens and four links: the chains share their common links.
    assert_eq!((world.requests(), world.emulator.requests(CREATE_FOR_SERVICE_ACCOUNT)), (5, 4));
}

#[test]
fn profiles_with_the_same_identity_share_one_record() {
    let world = World::new();
    let token = world.get();
    let absolute = world.sandbox.path("config/key.json");
    let home = world.sandbox.path("home");
    fs::create_dir(home.join("keys")).expect("a directory");
    let variants = [
        world.settings().lines().rev().collect::<Vec<_>>().join("\n"),
        world.settings().replace("key.json", &absolute.to_string_lossy()),
        format!("{}hosts = [\"git.example\"]\ntimeout = \"60s\"\nrefresh-before = \"30m\"\n", world.settings()),
        format!("{}audience = \"{}/iam/v1/tokens\"\n", world.settings(), world.emulator.url()),
        world.settings().replace(&world.emulator.url(), &format!("{}/", world.emulator.url())),
    ];
    for (number, settings) in variants.iter().enumerate() {
        world.sandbox.profile("same", settings);
        assert_eq!(prints_token(world.token(&["-p", "same"]).run()), token, "variant {number}");
    }
    let by_path = world.sandbox.path("config/same.toml");
    assert_eq!(prints_token(world.token(&["-p", &by_path.to_string_lossy()]).run()), token);
    let relative = world.token(&["-p", "./same.toml"]).within(world.sandbox.path("config"));
    assert_eq!(prints_token(relative.run()), token);
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_hundred_processes_find_the_same_record() {
    let world = World::new();
    let token = world.get();
    let runs = crate::harness::run_all((0..100).map(|_| world.token(&[])));
    assert!(runs.into_iter().all(|run| prints_token(run) == token));
    assert_eq!((world.requests(), world.records().len()), (1, 1));
}

#[test]
fn jobs_with_different_secrets_in_one_variable_never_share_a_record() {
    let world = World::without_profile(Config::default());
    world.sandbox.profile(
        "default",
        &format!("source = \"oauth\"\noauth-token-env = \"JOB_TOKEN\"\niam-url = \"{}\"\n", world.emulator.url()),
    );
    let jobs = [world.emulator.new_oauth(), world.emulator.new_oauth()];
    for _ in 0..3 {
        for (secret, subject) in &jobs {
            let token = prints_token(world.token(&[]).env("JOB_TOKEN", secret).run());
            assert_eq!(world.emulator.subject_of(&token).as_ref(), Some(subject));
        }
    }
    assert_eq!(world.requests(), 2);
    // One record for each secret.
    assert_eq!(world.records().len(), 2);
}

#[test]
fn two_virtual_machines_never_share_a_record() {
    let (one, two) = (World::without_profile(Config::default()), World::without_profile(Config::default()));
    for (world, account) in [(&one, "ajeone"), (&two, "ajetwo")] {
        world.emulator.attach(Some(account));
        one.sandbox.profile(
            account,
            &format!("source = \"metadata\"\nmetadata-addr = \"{}\"\n", world.emulator.metadata_addr()),
        );
    }
    for _ in 0..2 {
        for (world, account) in [(&one, "ajeone"), (&two, "ajetwo")] {
            let token = prints_token(one.token(&["-p", account]).run());
            assert_eq!(world.emulator.subject_of(&token).as_deref(), Some(account));
        }
    }
    assert_eq!((one.emulator.calls(), two.emulator.calls()), (1, 1));
}

#[test]
fn different_commands_or_directories_never_share_a_record() {
    let world = World::without_profile(Config::default());
    let script = "#!/bin/sh\nprintf 't1.%s.%s' \"$1\" \"$(basename \"$PWD\")\"\n";
    let program = world.sandbox.script("bin/give", script);
    for directory in ["one", "two"] {
        for argument in ["x", "y"] {
            let toml = format!("source = \"command\"\ncommand = [\"{}\", \"{argument}\"]\n", program.display());
            let path = world.sandbox.file(format!("config/{directory}/{argument}.toml"), toml);
            let path = path.to_string_lossy().into_owned();
            for _ in 0..2 {
                assert_eq!(prints_token(world.token(&["-p", &path]).run()), format!("t1.{argument}.{directory}"));
            }
        }
    }
    assert_eq!(world.records().len(), 4);
}

#[test]
fn cache_file_names_reveal_neither_account_nor_secret() {
    let world = World::without_profile(Config::default());
    let (oauth, subject) = world.emulator.new_oauth();
    world.sandbox.profile(
        "default",
        &format!("source = \"oauth\"\noauth-token-env = \"JOB_TOKEN\"\niam-url = \"{}\"\n", world.emulator.url()),
    );
    let token = prints_token(world.token(&[]).env("JOB_TOKEN", &oauth).run());
    for path in world.sandbox.files("cache") {
        let name = path.to_string_lossy().into_owned();
        assert!(!name.contains(&subject) && !name.contains("oauth") && !name.contains(&oauth[3..11]), "{name}");
        let content = fs::read_to_string(&path).expect("UTF-8");
        assert!(!content.contains(&oauth), "{name} contains the long-lived secret");
        assert!(!content.contains(&token) || name.ends_with(".json"), "{name}");
    }
}

#[test]
fn a_record_of_another_identity_under_the_same_name_is_a_miss() {
    let world = World::new();
    let token = world.get();
    world.edit(|record| record["settings"] = format!("source=\"x\"\naccount={}\n", keys::new_id()).into());
    assert_ne!(world.get(), token);
    assert_eq!(world.requests(), 2);
}
