//! Where tokens come from, and the environment in a profile's place (A1).

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::tunnel::Tunnel;
use crate::emulator::faults::{Endpoint, Fault, TokenForm};
use crate::emulator::keys::{AuthorizedKey, Ends, Form, KeyFile, RsaKey};
use crate::emulator::log::{Presented, fingerprint};
use crate::emulator::{CREATE_FOR_SERVICE_ACCOUNT, Config, Emulator, Impersonation, METADATA, Tls, times};
use crate::expect::{handed, one_token, refused, refused_with_hint, warned};
use crate::harness::machine::in_own_network;
use crate::harness::waiting::{HOUR, MINUTE, wait_until};
use crate::harness::{Call, Sandbox};
use crate::world::World;

// -------------------------------------------------------------------------------------------------- authorized-key

#[test]
fn every_shape_of_an_authorized_key_file_buys_a_token() {
    let world = World::new();
    let vary: [fn(KeyFile<'_>) -> KeyFile<'_>; 14] = [
        |file| file,
        |file| file.form(Form::Camel),
        |file| file.form(Form::CreateKeyResponse),
        |file| file.without_line(),
        |file| file.form(Form::CreateKeyResponse).without_line(),
        |file| file.ends(Ends::CrLf),
        |file| file.ends(Ends::CrLf).without_line(),
        |file| file.ends(Ends::Literal),
        |file| file.ends(Ends::Literal).without_line(),
        |file| file.pkcs1(),
        |file| file.pkcs1().ends(Ends::Literal),
        |file| file.form(Form::Camel).pkcs1().without_line(),
        |file| file.escaped(),
        |file| file.trailing_lines(3),
    ];
    for (number, vary) in vary.into_iter().enumerate() {
        let file = vary(world.key.file());
        world.sandbox.file("config/key.json", file.json());
        let token = one_token(&world.token(&["--force-refresh"]).run().exits(0).quietly());
        let subject = world.emulator.subject_of(&token);
        assert_eq!(subject.as_ref(), Some(&world.key.service_account_id), "shape {number}");
    }
}

#[test]
fn the_key_of_a_user_account_is_refused_with_the_reason() {
    let world = World::new();
    for form in [Form::Snake, Form::Camel, Form::CreateKeyResponse] {
        world.sandbox.file("config/key.json", world.key.file().user_account().form(form).json());
        refused_with_hint(
            world.token(&[]).run(),
            3,
            &["key.json", "is the key of a user account", "only a service account's key is"],
            "yc iam key create",
        );
    }
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn a_file_that_is_no_key_is_named_and_nothing_of_it_is_shown() {
    let world = World::new();
    for content in ["", "hunter22hunter22", "{\"private_key\": \"hunter22hunter22\"}", "[]", "\u{0}\u{1}"] {
        world.sandbox.file("config/key.json", content);
        let error = refused(world.token(&[]).run(), 3, &["key.json"]);
        assert!(!error.contains("hunter"), "{error}");
    }
    world.sandbox.file("config/key.json", b"\xff\xfe\x00".as_slice());
    refused(world.token(&[]).run(), 3, &["key.json", "not UTF-8"]);
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn a_key_shorter_than_the_cloud_takes_is_refused_here() {
    let world = World::new();
    let short = AuthorizedKey::new(&world.key.service_account_id, RsaKey::generate(1024));
    short.write(world.sandbox.path("config/key.json")).expect("a key file");
    refused(world.token(&[]).run(), 3, &["key.json"]);
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn a_jwt_is_good_for_the_url_that_it_is_sent_to_alone_and_dated_back_a_little() {
    let world = World::new();
    world.get();
    let log = world.emulator.log();
    let Presented::Jwt { kid, iss, aud, iat, exp, .. } = &log[0].presented else { panic!("{log:?}") };
    assert_eq!((kid.as_ref(), iss.as_ref()), (Some(&world.key.id), Some(&world.key.service_account_id)));
    assert_eq!(*aud, [format!("{}/iam/v1/tokens", world.emulator.url())]);
    let (iat, exp) = (iat.expect("iat"), exp.expect("exp"));
    assert!(exp - iat <= 3600, "the cloud takes an hour at most");
    let early = times::unix(log[0].received) - iat;
    assert!((5..60).contains(&early), "iat is {early} s before the request");
}

#[test]
fn a_deleted_key_is_refused_with_the_clouds_words_and_what_to_check() {
    let world = World::new();
    world.emulator.delete_key(&world.key.id);
    let error = refused_with_hint(
        world.token(&[]).run(),
        1,
        &["401", "UNAUTHENTICATED", "does not exist", &world.key.service_account_id],
        "yc iam key list",
    );
    assert!(error.contains(&world.emulator.log()[0].request_id), "{error}");
    assert_eq!(world.requests(), 1, "with clocks that agree, a refusal is final");
}

// ----------------------------------------------------------------------------------------------------------- oauth

#[test]
fn an_oauth_token_comes_from_a_file_a_variable_or_a_command() {
    let world = World::bare(Config::default());
    let (oauth, subject) = world.emulator.new_oauth();
    world.sandbox.file("config/oauth", format!("{oauth}\n"));
    let ways = [
        "oauth-token-file = \"oauth\"",
        "oauth-token-env = \"MY_OAUTH\"",
        "oauth-token-command = [\"cat\", \"oauth\"]",
    ];
    for (number, way) in ways.iter().enumerate() {
        let settings = format!("source = \"oauth\"\niam-url = \"{}\"\n{way}\n", world.emulator.url());
        world.sandbox.profile("default", &settings);
        let call = world.token(&[]).env("MY_OAUTH", &oauth);
        let token = handed(call.clone().run());
        assert_eq!(world.emulator.subject_of(&token).as_ref(), Some(&subject), "{way}");
        assert_eq!(handed(call.run()), token);
        assert_eq!(world.requests(), number + 1, "{way}");
    }
    let shown = Presented::Oauth { fingerprint: fingerprint(&oauth) };
    assert!(world.emulator.log().iter().all(|entry| entry.presented == shown));
}

#[test]
fn an_oauth_token_that_the_cloud_refuses_is_told_with_what_to_use_instead() {
    let world = World::bare(Config::default());
    let settings =
        format!("source = \"oauth\"\niam-url = \"{}\"\noauth-token-env = \"MY_OAUTH\"\n", world.emulator.url());
    world.sandbox.profile("default", &settings);
    let run = world.token(&[]).env("MY_OAUTH", "y0_hunter22hunter22").run().never_says("hunter22");
    refused_with_hint(run, 1, &["401", "MY_OAUTH"], "authorized key");
    refused_with_hint(world.token(&[]).run(), 3, &["default.toml:3", "MY_OAUTH", "not set"], "export MY_OAUTH");
    let run = world.token(&[]).env("MY_OAUTH", "two words").run();
    refused(run, 3, &["MY_OAUTH"]);
    assert_eq!(world.requests(), 1);
}

#[test]
fn one_way_to_the_oauth_token_is_needed_and_no_more() {
    let world = World::bare(Config::default());
    for more in ["", "oauth-token-env = \"A\"\noauth-token-file = \"b\"\n"] {
        world.sandbox.profile("default", &format!("source = \"oauth\"\n{more}"));
        refused(world.token(&[]).run(), 3, &["oauth-token-file", "oauth-token-env", "oauth-token-command"]);
    }
}

// -------------------------------------------------------------------------------------------------------- metadata

/// A virtual machine with an account attached.
fn machine() -> World {
    let world = World::bare(Config::default());
    world.emulator.attach(Some("ajeofthemachine00000"));
    let settings = format!("source = \"metadata\"\nmetadata-addr = \"{}\"\n", world.emulator.metadata_addr());
    world.sandbox.profile("default", &settings);
    world
}

#[test]
fn a_virtual_machine_gives_the_token_of_its_account() {
    let world = machine();
    for form in [TokenForm::T1, TokenForm::Old] {
        world.emulator.set(|settings| settings.token_form = form);
        let token = handed(world.token(&["--force-refresh"]).run());
        assert_eq!(world.emulator.subject_of(&token).as_deref(), Some("ajeofthemachine00000"), "{form:?}");
        assert_eq!(world.get(), token);
    }
    assert_eq!(world.emulator.requests(METADATA), 2);
    assert!(world.emulator.log().iter().all(|entry| entry.presented == Presented::MetadataFlavor));
}

#[test]
fn metadata_is_never_asked_for_through_a_proxy() {
    let mut world = machine();
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        world.sandbox.set(name, "http://127.0.0.1:1");
    }
    world.get();
}

#[test]
fn the_account_of_a_virtual_machine_may_be_swapped_which_is_noticed_after_a_minute() {
    let world = machine();
    let old = world.get();
    world.emulator.attach(Some("ajeafter000000000000"));
    assert_eq!(world.get(), old);
    assert_eq!(world.emulator.requests(METADATA), 1);
    world.age(Duration::from_secs(61));
    // Though it may live shorter than the one before.
    world.emulator.fault(Fault::short_life(HOUR).times(1));
    let new = world.get();
    assert_eq!(world.emulator.subject_of(&new).as_deref(), Some("ajeafter000000000000"));
    assert_eq!(world.get(), new);
    assert_eq!(world.emulator.requests(METADATA), 2);
}

#[test]
fn a_virtual_machine_without_an_account_is_refused_with_what_to_do() {
    let world = machine();
    world.emulator.attach(None);
    refused_with_hint(world.token(&[]).run(), 1, &["metadata", "404"], "yc compute instance update");
    assert_eq!(world.emulator.requests(METADATA), 1);
}

#[test]
fn where_no_metadata_service_answers_the_hint_asks_whether_this_is_a_virtual_machine() {
    let world = World::bare(Config::default());
    let gone = crate::server::Server::start(None, |_| crate::server::Response::new(404)).address();
    world.sandbox.profile("default", &format!("source = \"metadata\"\nmetadata-addr = \"{gone}\"\n"));
    refused_with_hint(world.token(&[]).run(), 4, &["metadata", &gone.to_string()], "is this a VM");
}

#[test]
fn metadata_is_asked_for_at_the_link_local_address_and_on_this_machine_alone() {
    let world = World::bare(Config::default());
    for address in ["example.com", "10.0.0.1", "169.254.169.253:80"] {
        world.sandbox.profile("default", &format!("source = \"metadata\"\nmetadata-addr = \"{address}\"\n"));
        refused(world.token(&[]).run(), 3, &["default.toml:2", "metadata-addr", address]);
    }
    for address in ["http://127.0.0.1", "127.0.0.1/x", "u@127.0.0.1", ""] {
        world.sandbox.profile("default", &format!("source = \"metadata\"\nmetadata-addr = \"{address}\"\n"));
        refused(world.token(&[]).run(), 3, &["default.toml:2", "metadata-addr"]);
    }
}

#[test]
fn without_a_setting_metadata_is_asked_for_at_its_usual_address() {
    in_own_network(&["169.254.169.254/32"], || {
        let address = "169.254.169.254:80".parse().expect("an address");
        let emulator = Emulator::start(Config { metadata_address: address, ..Config::default() });
        emulator.attach(Some("ajeofthemachine00000"));
        let sandbox = Sandbox::new();
        sandbox.profile("default", "source = \"metadata\"\n");
        // Not even the address of another installation's variable is asked when a profile names its own.
        let token = handed(sandbox.ycred(["token"]).run());
        assert_eq!(emulator.subject_of(&token).as_deref(), Some("ajeofthemachine00000"));
        assert_eq!(emulator.requests(METADATA), 1);
    });
}

#[test]
fn the_variable_overrides_the_usual_metadata_address_but_not_the_setting() {
    let world = machine();
    let dead = "127.0.0.1:1";
    handed(world.token(&[]).env("YC_METADATA_ADDR", dead).run());
    world.sandbox.profile("default", "source = \"metadata\"\n");
    handed(world.token(&[]).env("YC_METADATA_ADDR", world.emulator.metadata_addr()).run());
    // The same address from either place is the same identity.
    assert_eq!(world.emulator.requests(METADATA), 1);
}

// --------------------------------------------------------------------------------------------------------- command

/// A sandbox whose default profile runs a script.
fn scripted(script: &str, more: &str) -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    let runs = sandbox.path("tmp/runs");
    let script = format!("#!/bin/sh\necho run >> '{}'\n{script}\n", runs.display());
    sandbox.script("config/give", &script);
    sandbox.profile("default", &format!("source = \"command\"\ncommand = [\"./give\", \"me\"]\n{more}\n"));
    (sandbox, runs)
}

/// Ten times the deadline that the tests of hanging commands set.
const WELL_BEFORE: Duration = Duration::from_secs(20);

fn count(runs: &std::path::Path) -> usize {
    fs::read_to_string(runs).map_or(0, |text| text.lines().count())
}

#[test]
fn a_command_prints_a_token_bare_or_as_yc_or_the_api_writes_it() {
    for printed in [
        "t1.from-a-command.x",
        "{\"iam_token\": \"t1.from-a-command.x\", \"expires_at\": \"2999-01-01T00:00:00.123456789Z\"}",
        "{\"iamToken\": \"t1.from-a-command.x\", \"expiresAt\": \"2999-01-01T03:00:00+03:00\"}",
        "{\"iam_token\": \"t1.from-a-command.x\"}",
        "{\"iam_token\": \"t1.from-a-command.x\", \"expires_at\": 32472144000}",
    ] {
        let (sandbox, runs) = scripted(&format!("printf '%s\\n' '{printed}'"), "");
        sandbox.ycred(["token"]).run().exits(0).quietly().stdout_is("t1.from-a-command.x\n");
        sandbox.ycred(["token"]).run().exits(0).quietly().stdout_is("t1.from-a-command.x\n");
        assert_eq!(count(&runs), 1, "{printed}");
    }
}

#[test]
fn a_command_runs_in_the_profiles_directory_with_nothing_on_stdin_and_says_nothing_to_the_user() {
    let (sandbox, _) =
        scripted("cat >&2; pwd >&2; echo noise >&2; printf 't1.%s.%s' \"$1\" \"$(basename \"$PWD\")\"", "");
    sandbox.ycred(["token"]).stdin("from the terminal").run().exits(0).quietly().stdout_is("t1.me.config\n");
}

#[test]
fn a_command_that_fails_is_told_by_the_last_line_of_its_stderr_and_not_run_again_at_once() {
    let (sandbox, runs) = scripted("echo first >&2; echo 'please log in' >&2; exit 7", "");
    let error = refused(sandbox.ycred(["token"]).run(), 1, &["command ./give", "exit status: 7", "please log in"]);
    assert!(!error.contains("first"), "{error}");
    refused(sandbox.ycred(["token"]).run(), 1, &["please log in", "remembered"]);
    assert_eq!(count(&runs), 1, "failures of local commands count too");
    let (sandbox, _) = scripted("kill -9 $$", "");
    refused(sandbox.ycred(["token"]).run(), 1, &["signal: 9"]);
}

#[test]
fn a_command_that_cannot_be_run_is_named() {
    let sandbox = Sandbox::new();
    sandbox.profile("default", "source = \"command\"\ncommand = [\"no-such-program-anywhere\", \"secret-argument\"]\n");
    let run = sandbox.ycred(["token"]).env("PATH", sandbox.path("bin")).run().never_says("secret-argument");
    refused_with_hint(run, 3, &["command no-such-program-anywhere", "no such file"], "absolute path");
}

#[test]
fn what_a_command_prints_must_be_a_token() {
    for printed in ["", "two words", "{}", "{\"token\": 1}", "<!DOCTYPE html>", "жетон", "{\"iam_token\": \"\"}"] {
        let (sandbox, _) = scripted(&format!("printf '%s' '{printed}'"), "");
        refused(sandbox.ycred(["token"]).run(), 1, &["command ./give", "neither a token nor JSON"]);
    }
    let (sandbox, _) = scripted("head -c 100000 /dev/zero | tr '\\0' x", "");
    refused(sandbox.ycred(["token"]).run(), 1, &["command ./give"]);
    let (sandbox, _) = scripted("printf '\\377\\376'", "");
    refused(sandbox.ycred(["token"]).run(), 1, &["command ./give", "not text"]);
}

#[test]
fn a_command_that_hangs_is_killed_at_the_deadline_with_all_that_it_started() {
    let (sandbox, _) = scripted("sleep 1000 & echo $! > ../tmp/child; echo $$ > ../tmp/self; wait", "timeout = \"2s\"");
    let call = sandbox.ycred(["token"]).limit(WELL_BEFORE);
    refused_with_hint(call.run(), 4, &["command ./give", "killed"], "--timeout");
    for name in ["self", "child"] {
        let id = fs::read_to_string(sandbox.path("tmp").join(name)).expect("a process id");
        let stat = PathBuf::from(format!("/proc/{}/stat", id.trim()));
        // Dead or a zombie, if nobody collects it.
        wait_until("it is dead", || fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z ")));
    }
}

#[test]
fn a_command_that_leaves_a_child_with_its_stdout_open_does_not_hang_the_caller() {
    let (sandbox, _) = scripted("sleep 1000 & echo t1.quick.x", "timeout = \"2s\"");
    // The command's own end is the end; what it has left running is killed.
    assert_eq!(handed(sandbox.ycred(["token"]).limit(WELL_BEFORE).run()), "t1.quick.x");
}

#[test]
fn a_command_that_calls_ycred_with_the_same_profile_is_refused() {
    let sandbox = Sandbox::new();
    let ycred = crate::harness::YCRED;
    sandbox.profile("default", &format!("source = \"command\"\ncommand = [\"{ycred}\", \"token\"]\n"));
    let run = sandbox.ycred(["token"]).run();
    refused(run, 1, &["calls ycred with the profile that runs it"]);
    // Also when there is a script in between, and the cache is out of the way.
    sandbox.script("config/give", &format!("#!/bin/sh\nexec {ycred} token -p default --no-cache\n"));
    sandbox.profile("default", "source = \"command\"\ncommand = [\"./give\"]\n");
    refused(sandbox.ycred(["token"]).run(), 1, &["calls ycred with the profile that runs it"]);
}

#[test]
fn a_command_may_call_ycred_with_another_profile() {
    let world = World::new();
    let ycred = crate::harness::YCRED;
    world
        .sandbox
        .profile("outer", &format!("source = \"command\"\ncommand = [\"{ycred}\", \"token\", \"-p\", \"default\"]\n"));
    let token = handed(world.token(&["-p", "outer"]).run());
    assert_eq!(world.emulator.subject_of(&token), Some(world.key.service_account_id.clone()));
}

#[test]
fn the_token_of_a_command_is_renewed_after_five_minutes() {
    let world = World::bare(Config::default());
    let runs = world.sandbox.path("tmp/runs");
    let script = format!(
        "#!/bin/sh\necho run >> '{0}'\nn=$(wc -l < '{0}')\necho \"{{\\\"iam_token\\\":\\\"t1.number-$n.x\\\",\\\"expires_at\\\":\\\"2999-01-01T00:00:00Z\\\"}}\"\n",
        runs.display()
    );
    world.sandbox.script("config/give", &script);
    world.sandbox.profile("default", "source = \"command\"\ncommand = [\"./give\"]\n");
    assert_eq!(world.get(), "t1.number-1.x");
    world.age(4 * MINUTE);
    assert_eq!(world.get(), "t1.number-1.x");
    world.age(2 * MINUTE);
    assert_eq!(world.get(), "t1.number-2.x");
    assert_eq!(count(&runs), 2);
}

// ---------------------------------------------------------------------------------------------------------- static

#[test]
fn a_static_token_comes_from_a_file_or_a_variable_and_is_never_cached() {
    let sandbox = Sandbox::new();
    sandbox.file("config/token", "t1.from-a-file.x\n");
    sandbox.profile("default", "source = \"static\"\ntoken-file = \"token\"\n");
    sandbox.ycred(["token"]).run().exits(0).quietly().stdout_is("t1.from-a-file.x\n");
    sandbox.file("config/token", "t1.rewritten.x");
    sandbox.ycred(["token"]).run().exits(0).quietly().stdout_is("t1.rewritten.x\n");
    sandbox.profile("default", "source = \"static\"\ntoken-env = \"MY_TOKEN\"\n");
    let call = |token: &str| sandbox.ycred(["token"]).env("MY_TOKEN", token).run();
    call("t1.one.x").exits(0).quietly().stdout_is("t1.one.x\n");
    call("t1.two.x").exits(0).quietly().stdout_is("t1.two.x\n");
    refused(call(""), 3, &["default.toml:2", "MY_TOKEN", "not set"]);
    refused(call("a b"), 3, &["MY_TOKEN", "no token"]);
    sandbox.profile("default", "source = \"static\"\ntoken-file = \"gone\"\n");
    refused(sandbox.ycred(["token"]).run(), 3, &["config/gone", "no such file"]);
    assert!(!sandbox.path("cache").exists());
}

// ----------------------------------------------------------------------------------------------------- impersonate

/// A service account that the default profile's own may become.
fn steward(world: &World) -> String {
    let account = world.emulator.new_service_account();
    let callers = [world.key.service_account_id.clone()].into();
    world.emulator.set_impersonation(&account, Impersonation::By(callers));
    account
}

#[test]
fn impersonation_buys_the_token_of_another_account_with_ones_own() {
    let world = World::new();
    let account = steward(&world);
    world.configure(&format!("impersonate = \"{account}\""));
    let token = world.get();
    assert_eq!(world.emulator.subject_of(&token), Some(account.clone()));
    assert_eq!(world.get(), token);
    assert_eq!((world.requests(), world.emulator.requests(CREATE_FOR_SERVICE_ACCOUNT)), (1, 1));
    let own = world.emulator.tokens()[0].clone();
    let shown = Presented::Bearer { fingerprint: fingerprint(&own), service_account_id: Some(account) };
    assert_eq!(world.emulator.log()[1].presented, shown);
}

#[test]
fn the_base_of_impersonation_is_fetched_once_and_cached_apart() {
    let world = World::new();
    let (one, two) = (steward(&world), steward(&world));
    for (name, account) in [("one", &one), ("two", &two)] {
        world.sandbox.profile(name, &format!("{}impersonate = \"{account}\"\n", world.settings()));
    }
    let tokens = [&["-p", "one"][..], &["-p", "two"], &[]].map(|words| handed(world.token(words).run()));
    let subjects = tokens.clone().map(|token| world.emulator.subject_of(&token).expect("a subject"));
    assert_eq!(subjects, [one, two, world.key.service_account_id.clone()]);
    assert_eq!((world.requests(), world.emulator.requests(CREATE_FOR_SERVICE_ACCOUNT)), (1, 2));
    assert_eq!(world.records().len(), 3);
    let again = [&["-p", "one"][..], &["-p", "two"], &[]].map(|words| handed(world.token(words).run()));
    assert_eq!(again, tokens);
    assert_eq!(world.emulator.calls(), 3);
}

#[test]
fn a_chain_of_impersonations_is_gone_through_in_its_order() {
    let world = World::new();
    let first = steward(&world);
    let second = world.emulator.new_service_account();
    world.emulator.set_impersonation(&second, Impersonation::By([first.clone()].into()));
    world.configure(&format!("impersonate = [\"{first}\", \"{second}\"]"));
    let token = world.get();
    assert_eq!(world.emulator.subject_of(&token), Some(second.clone()));
    assert_eq!(world.get(), token);
    assert_eq!(world.emulator.calls(), 3);
    assert_eq!(world.records().len(), 3);
    world.configure(&format!("impersonate = [\"{second}\", \"{first}\"]"));
    refused(world.token(&[]).run(), 1, &[&second, "403", "Permission denied"]);
}

#[test]
fn a_forced_refresh_goes_through_the_whole_chain() {
    let world = World::new();
    let account = steward(&world);
    world.configure(&format!("impersonate = \"{account}\""));
    let old = world.get();
    let new = handed(world.token(&["--force-refresh"]).run());
    assert_ne!(new, old);
    assert_eq!((world.requests(), world.emulator.requests(CREATE_FOR_SERVICE_ACCOUNT)), (2, 2));
}

#[test]
fn a_base_that_has_been_revoked_is_had_anew_once() {
    let world = World::new();
    let (one, two) = (steward(&world), steward(&world));
    world.configure(&format!("impersonate = \"{one}\""));
    world.get();
    let base = world.emulator.tokens()[0].clone();
    assert!(world.emulator.revoke(&base));
    world.configure(&format!("impersonate = \"{two}\""));
    let token = world.get();
    assert_eq!(world.emulator.subject_of(&token), Some(two));
    assert_eq!((world.requests(), world.emulator.requests(CREATE_FOR_SERVICE_ACCOUNT)), (2, 3));
    // Where a new one is no better, that is the end of it.
    let three = steward(&world);
    world.configure(&format!("impersonate = \"{three}\""));
    world.emulator.fault(Fault::refuse(401).on(Endpoint::CreateForServiceAccount).message("Token is invalid"));
    refused_with_hint(world.token(&[]).run(), 1, &[&three, "401", "Token is invalid"], "is not accepted");
    assert_eq!((world.requests(), world.emulator.requests(CREATE_FOR_SERVICE_ACCOUNT)), (3, 5));
    // Nor is another one asked for in place of one that has just been had.
    let cold = World::new();
    cold.configure(&format!("impersonate = \"{}\"", steward(&cold)));
    cold.emulator.fault(Fault::refuse(401).on(Endpoint::CreateForServiceAccount));
    refused(cold.token(&[]).run(), 1, &["401"]);
    assert_eq!((cold.requests(), cold.emulator.requests(CREATE_FOR_SERVICE_ACCOUNT)), (1, 1));
}

#[test]
fn who_may_not_impersonate_is_told_which_role_is_missing_on_which_account() {
    let world = World::new();
    let account = world.emulator.new_service_account_key().service_account_id;
    world.configure(&format!("impersonate = \"{account}\""));
    refused_with_hint(
        world.token(&[]).run(),
        1,
        &[&account, "403", "PERMISSION_DENIED"],
        "needs the role iam.serviceAccounts.tokenCreator",
    );
    refused(world.token(&[]).run(), 1, &["remembered"]);
    assert_eq!(world.emulator.calls(), 2);
}

#[test]
fn when_the_base_is_refused_its_reason_is_told_and_the_account_not_asked_for() {
    let world = World::new();
    let account = steward(&world);
    world.configure(&format!("impersonate = \"{account}\""));
    world.emulator.fault(Fault::refuse(401).on(Endpoint::Tokens).message("key deleted"));
    refused(world.token(&[]).run(), 1, &["key deleted"]);
    assert_eq!(world.emulator.requests(CREATE_FOR_SERVICE_ACCOUNT), 0);
}

#[test]
fn when_the_base_is_refused_the_usable_token_of_the_account_is_handed_out_with_a_warning() {
    let world = World::new();
    let account = steward(&world);
    world.configure(&format!("impersonate = \"{account}\""));
    let token = world.get();
    world.age(11 * HOUR);
    world.emulator.fault(Fault::refuse(401).on(Endpoint::CreateForServiceAccount).message("Token is invalid"));
    assert_eq!(warned(world.token(&[]).run(), &["the cached token is used", "Token is invalid"]), token);
    assert_eq!(world.get(), token);
    assert_eq!(world.emulator.requests(CREATE_FOR_SERVICE_ACCOUNT), 2);
}

#[test]
fn a_static_token_is_not_cached_but_what_it_buys_is() {
    let world = World::bare(Config::default());
    let account = world.emulator.new_service_account();
    let settings = format!(
        "source = \"static\"\ntoken-env = \"MY_TOKEN\"\niam-url = \"{}\"\nimpersonate = \"{account}\"\n",
        world.emulator.url()
    );
    world.sandbox.profile("default", &settings);
    let (one, two) = (world.emulator.issue("ajeone"), world.emulator.issue("ajetwo"));
    let call = |token: &str| handed(world.token(&[]).env("MY_TOKEN", token).run());
    let first = call(&one);
    assert_eq!(call(&one), first);
    assert_eq!(world.emulator.calls(), 1);
    assert_ne!(call(&two), first, "another caller never gets it");
    assert_eq!(world.emulator.calls(), 2);
    assert!(world.emulator.revoke(&one));
    world.emulator.clear_log();
    let run = world.token(&["--force-refresh"]).env("MY_TOKEN", &one).run();
    refused_with_hint(run, 1, &[&account, "401"], "put a new one where it comes from");
    assert_eq!(world.emulator.calls(), 1, "the same token is not shown twice");
}

#[test]
fn an_impersonated_account_must_look_like_one() {
    let world = World::new();
    for bad in ["", "a b", "aje/../x", &"a".repeat(51)] {
        world.configure(&format!("impersonate = \"{bad}\""));
        refused(world.token(&[]).run(), 3, &["default.toml:4", "impersonate"]);
    }
    assert_eq!(world.emulator.calls(), 0);
}

// ----------------------------------------------------------------------------------- the environment, no profile

/// A machine without profiles, on which the real cloud's name leads to the emulator.
struct Bare {
    world: World,
    _tunnel: Tunnel,
}

impl Bare {
    fn new(names: &[&str]) -> Bare {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        let mut world = World::bare(Config { names, ..Config::with_tls(Tls::Good) });
        let tunnel = Tunnel::to(&world.emulator);
        let ca = world.sandbox.file("tmp/ca.pem", world.emulator.ca_pem());
        world.sandbox.set("HTTPS_PROXY", tunnel.url()).set("SSL_CERT_FILE", ca);
        Bare { world, _tunnel: tunnel }
    }

    fn subject(&self, call: Call) -> String {
        let token = handed(call.run());
        self.world.emulator.subject_of(&token).expect("a subject")
    }
}

#[test]
fn without_a_profile_the_environment_serves_in_the_documented_order() {
    let bare = Bare::new(&["iam.api.cloud.yandex.net"]);
    let World { emulator, sandbox, key } = &bare.world;
    emulator.attach(Some("ajeofthemachine00000"));
    let (oauth, user) = emulator.new_oauth();
    let (other_oauth, other_user) = emulator.new_oauth();
    let key_file = sandbox.path("config/key.json").into_os_string().into_string().expect("text");
    let ranked = [
        ("YC_IAM_TOKEN", emulator.issue("ajestatic"), "ajestatic".to_owned()),
        ("YC_SERVICE_ACCOUNT_KEY_FILE", key_file, key.service_account_id.clone()),
        ("YC_TOKEN", oauth, user),
        ("YC_OAUTH_TOKEN", other_oauth, other_user),
        ("YC_METADATA_ADDR", emulator.metadata_addr(), "ajeofthemachine00000".to_owned()),
    ];
    for first in 0..ranked.len() {
        let call = ranked[first..]
            .iter()
            .fold(sandbox.ycred(["token"]), |call, (name, value, _)| call.env(name, value.as_str()));
        assert_eq!(bare.subject(call), ranked[first].2, "{} comes first", ranked[first].0);
    }
    assert_eq!(emulator.calls(), 4, "the first of them needs no request, the others one each");
}

#[test]
fn a_yc_token_that_looks_like_an_iam_token_is_one() {
    let sandbox = Sandbox::new();
    sandbox.ycred(["token"]).env("YC_TOKEN", "t1.a.b").run().exits(0).quietly().stdout_is("t1.a.b\n");
    assert!(!sandbox.path("cache").exists(), "never cached");
}

#[test]
fn the_key_variable_holds_a_path_or_the_json_itself() {
    let bare = Bare::new(&["iam.api.cloud.yandex.net"]);
    let World { emulator, sandbox, key } = &bare.world;
    for value in [key.file().json(), key.file().ends(Ends::Literal).json(), format!("  \n{}", key.file().json())] {
        let call = sandbox.ycred(["token"]).env("YC_SERVICE_ACCOUNT_KEY_FILE", &value);
        assert_eq!(bare.subject(call.clone()), key.service_account_id);
        assert_eq!(bare.subject(call), key.service_account_id);
    }
    assert_eq!(emulator.calls(), 3);
    let relative = sandbox.ycred(["token"]).env("YC_SERVICE_ACCOUNT_KEY_FILE", "key.json");
    assert_eq!(bare.subject(relative.within(sandbox.path("config"))), key.service_account_id);
}

#[test]
fn a_relative_key_file_in_two_directories_is_two_identities() {
    let bare = Bare::new(&["iam.api.cloud.yandex.net"]);
    let World { emulator, sandbox, .. } = &bare.world;
    let accounts = ["a", "b"].map(|name| {
        let key = emulator.new_service_account_key();
        sandbox.file(format!("tmp/{name}/key.json"), key.file().json());
        key.service_account_id
    });
    for _ in 0..3 {
        for (name, account) in ["a", "b"].iter().zip(&accounts) {
            let call = sandbox.ycred(["token"]).env("YC_SERVICE_ACCOUNT_KEY_FILE", "key.json");
            assert_eq!(bare.subject(call.within(sandbox.path("tmp").join(name))), *account);
        }
    }
    assert_eq!(emulator.calls(), 2, "each is asked for once");
}

#[test]
fn the_environment_names_endpoint_and_impersonation_too() {
    let bare = Bare::new(&["iam.api.example.test"]);
    let World { emulator, sandbox, key } = &bare.world;
    let account = emulator.new_service_account();
    let call = sandbox
        .ycred(["token"])
        .env("YC_SERVICE_ACCOUNT_KEY_FILE", sandbox.path("config/key.json"))
        .env("YC_ENDPOINT", "api.example.test:443");
    assert_eq!(bare.subject(call.clone()), key.service_account_id);
    assert_eq!(bare.subject(call.env("YCRED_IMPERSONATE", &account)), account);
    assert_eq!((bare.world.requests(), emulator.requests(CREATE_FOR_SERVICE_ACCOUNT)), (1, 1));
}

#[test]
fn a_profile_is_never_overridden_by_the_environments_tokens() {
    let mut world = World::new();
    world.profile("prod", "");
    world.sandbox.set("YC_IAM_TOKEN", "t1.of-the.environment").set("YC_METADATA_ADDR", "127.0.0.1:1");
    for words in [&[][..], &["-p", "prod"]] {
        let token = handed(world.token(words).run());
        assert!(world.emulator.subject_of(&token).is_some(), "{words:?}");
    }
    world.sandbox.profile("default", "source = 1\n");
    refused(world.token(&[]).run(), 3, &["default.toml:1"]);
}

#[test]
fn where_nothing_says_whose_token_one_error_names_the_ways_and_metadata_is_not_probed() {
    in_own_network(&["169.254.169.254/32"], || {
        let address = "169.254.169.254:80".parse().expect("an address");
        let emulator = Emulator::start(Config { metadata_address: address, ..Config::default() });
        emulator.attach(Some("ajeofthemachine00000"));
        let sandbox = Sandbox::new();
        let ways = [
            "YC_IAM_TOKEN",
            "YC_SERVICE_ACCOUNT_KEY_FILE",
            "YC_TOKEN",
            "YC_OAUTH_TOKEN",
            "YCRED_SERVICE_ACCOUNT_ID",
            "YC_METADATA_ADDR",
        ];
        refused_with_hint(sandbox.ycred(["token"]).run(), 3, &ways, "ycred init");
        assert_eq!(emulator.metadata_server().connections(), 0);
    });
}

#[test]
fn an_iam_token_that_is_shorter_lived_than_asked_for_is_still_handed_on() {
    let sandbox = Sandbox::new();
    let call = |words: &[&str]| sandbox.ycred(["token"].iter().chain(words)).env("YC_IAM_TOKEN", "t1.a.b").run();
    assert_eq!(
        warned(call(&["--min-ttl", "1h"]), &["does not say how long the token lives, so the 1h asked for"]),
        "t1.a.b"
    );
    let json = call(&["--format", "json"]).exits(0).quietly().stdout;
    let reply: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(reply["iam_token"], json!("t1.a.b"));
}

#[test]
fn a_command_works_where_the_ends_of_children_are_ignored() {
    let (sandbox, _) = scripted("echo t1.quick.x", "");
    // What some daemons and cron wrappers bequeath.
    let call = sandbox.call("sh", ["-c", "trap '' CHLD; exec \"$@\"", "sh", crate::harness::YCRED, "token"]);
    assert_eq!(handed(call.run()), "t1.quick.x");
}
