//! The scenes: how to get each hint, in a sandbox whose paths a shell would split.

use std::fs;
use std::os::unix::fs::symlink;

use crate::emulator::faults::{Endpoint, Fault};
use crate::emulator::{Config, Impersonation, Tls};
use crate::harness::Sandbox;
use crate::harness::files::set_mode;
use crate::hostile::hints::scene::{Holder, Scene, Then};
use crate::sources::person::Person;
use crate::stories::setup::Machine;
use crate::stories::tunnel::Tunnel;
use crate::world::World;

impl Holder for World {
    fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }
}

impl Holder for Person {
    fn sandbox(&self) -> &Sandbox {
        &self.world.sandbox
    }
}

impl Holder for Machine {
    fn sandbox(&self) -> &Sandbox {
        &self.world.sandbox
    }
}

/// The name of a directory that a shell would split, and that ends a string in quotes.
const AWKWARD: &str = "it's a place";

/// A world whose configuration is in a directory with an awkward name.
fn awkward() -> World {
    let mut world = World::new();
    let config = world.sandbox.path(AWKWARD);
    fs::rename(world.sandbox.path("config"), &config).expect("renamed");
    world.sandbox.set("YCRED_CONFIG_DIR", config);
    world
}

/// A world without a profile, and the address of its cloud for `ycred init`.
pub fn empty() -> (World, String, String) {
    let world = World::without_profile(Config::default());
    let key = world.sandbox.path("config/key.json").display().to_string();
    let key = format!("{key} --iam-url {}", world.emulator.url());
    let url = world.emulator.url();
    (world, key, url)
}

// ------------------------------------------------------------------------------------------------------------- modes

pub fn a_file_that_anyone_may_write() -> Scene {
    let world = awkward();
    set_mode(&world.sandbox.path(format!("{AWKWARD}/default.toml")), 0o666);
    Scene::new(world, &["token"], "chmod o-w")
}

pub fn a_directory_that_others_may_write() -> Scene {
    let world = awkward();
    set_mode(&world.sandbox.path(AWKWARD), 0o777);
    Scene::new(world, &["token"], "chmod go-w")
}

pub fn a_key_that_others_can_read() -> Scene {
    let world = awkward();
    set_mode(&world.sandbox.path(format!("{AWKWARD}/key.json")), 0o644);
    Scene::new(world, &["token", "--no-cache"], "chmod 600")
}

pub fn a_command_that_is_not_executable() -> Scene {
    let world = awkward();
    let tool = world.sandbox.script(format!("{AWKWARD}/tool"), "#!/bin/sh\necho t1.a.b\n");
    set_mode(&tool, 0o600);
    world.sandbox.file(format!("{AWKWARD}/default.toml"), "source = \"command\"\ncommand = [\"./tool\"]\n");
    Scene::new(world, &["token"], "chmod +x")
}

// ---------------------------------------------------------------------------------------------------------- programs

pub fn windows_line_ends() -> Scene {
    let world = awkward();
    world.sandbox.script(format!("{AWKWARD}/tool"), "#!/bin/sh\r\necho t1.a.b\n");
    world.sandbox.file(format!("{AWKWARD}/default.toml"), "source = \"command\"\ncommand = [\"./tool\"]\n");
    Scene::new(world, &["token"], "sed -i")
}

// ---------------------------------------------------------------------------------------------------------- profiles

pub fn no_profile() -> Scene {
    let (world, key, _) = empty();
    Scene::new(world, &["token"], "ycred init").fill("FILE", key)
}

pub fn an_unknown_profile() -> Scene {
    let (world, key, _) = empty();
    Scene::new(world, &["token", "-p", "nope"], "ycred init").fill("FILE", key)
}

pub fn an_unknown_profile_in_a_list() -> Scene {
    Scene::new(World::new(), &["token", "-p", "/etc/../nope.toml"], "ycred list").then(Then::Done)
}

pub fn a_misspelt_profile() -> Scene {
    let world = World::new();
    world.profile("staging", "");
    Scene::new(world, &["token", "-p", "stagin"], "ycred list").then(Then::Done)
}

pub fn several_profiles() -> Scene {
    let world = World::without_profile(Config::default());
    world.profile("prod", "");
    world.profile("staging", "");
    Scene::new(world, &["token"], "ycred use").fill("NAME", "prod")
}

pub fn no_metadata_service() -> Scene {
    let (world, key, _) = empty();
    let closed = "127.0.0.1:1";
    Scene::new(world, &["token"], "ycred init").fill("FILE", key).env("YC_METADATA_ADDR", closed)
}

pub fn use_of_an_alias() -> Scene {
    let world = World::without_profile(Config::default());
    world.profile("prod", "");
    world.sandbox.profile("main", "use = \"prod\"\n");
    Scene::new(world, &["use", "main"], "ycred use").then(Then::Done)
}

pub fn use_of_the_default() -> Scene {
    Scene::new(World::new(), &["use", "default"], "ycred list").then(Then::Done)
}

pub fn use_over_a_profile() -> Scene {
    let world = awkward();
    let prod = world.sandbox.path(format!("{AWKWARD}/prod.toml"));
    fs::copy(world.sandbox.path(format!("{AWKWARD}/default.toml")), prod).expect("copied");
    Scene::new(world, &["use", "prod"], "ycred rename").fill("NAME", "former")
}

pub fn rename_over_a_profile() -> Scene {
    let world = World::without_profile(Config::default());
    world.profile("prod", "");
    world.profile("staging", "");
    Scene::new(world, &["rename", "prod", "staging"], "ycred remove")
}

pub fn rename_of_an_alias() -> Scene {
    let world = World::without_profile(Config::default());
    world.profile("prod", "");
    world.sandbox.profile("default", "use = \"prod\"\n");
    Scene::new(world, &["rename", "default", "live"], "ycred rename").then(Then::Done)
}

pub fn rename_of_a_profile_with_a_link() -> Scene {
    let world = awkward();
    let directory = world.sandbox.path(AWKWARD);
    fs::rename(directory.join("default.toml"), directory.join("prod.toml")).expect("renamed");
    symlink("prod.toml", directory.join("link.toml")).expect("a link");
    Scene::new(world, &["rename", "prod", "live"], "ycred remove")
}

pub fn no_arguments() -> Scene {
    let (world, key, _) = empty();
    Scene::new(world, &[], "ycred init").fill("FILE", key).then(Then::Done)
}

pub fn an_unknown_flag() -> Scene {
    Scene::new(World::new(), &["--nonsense"], "ycred --help").then(Then::Done)
}

pub fn an_unknown_topic() -> Scene {
    Scene::new(World::new(), &["help", "nonsense"], "ycred help").then(Then::Done)
}

pub fn an_unknown_flag_of_a_command() -> Scene {
    Scene::new(World::new(), &["list", "--nonsense"], "ycred list --help").then(Then::Done)
}

pub fn a_flag_of_another_client() -> Scene {
    Scene::new(Machine::new(), &["setup", "docker", "--kubeconfig", "x"], "ycred setup --help").then(Then::Done)
}

pub fn an_unknown_key() -> Scene {
    let world = World::new();
    world.configure("nonsense = \"x\"");
    Scene::new(world, &["token"], "ycred init --help").then(Then::Done)
}

pub fn workload_without_a_subject_token() -> Scene {
    let world = World::new();
    world.sandbox.profile("default", "source = \"workload\"\nservice-account-id = \"ajex\"\n");
    Scene::new(world, &["token"], "ycred init --help").then(Then::Done)
}

pub fn init_without_a_source() -> Scene {
    Scene::new(World::new(), &["init", "x"], "ycred init --help").then(Then::Done)
}

pub fn init_of_an_existing_profile() -> Scene {
    let world = World::without_profile(Config::default());
    world.profile("prod", "");
    Scene::new(world, &["init", "prod", "--metadata"], "ycred token").then(Then::Done)
}

pub fn init_with_a_key_as_operand() -> Scene {
    let (world, _, url) = empty();
    let key = world.sandbox.path("work/a key.json");
    fs::rename(world.sandbox.path("config/key.json"), &key).expect("moved");
    Scene::new(world, &["init", "prod", "a key.json"], "ycred init")
        .fill("NAME", format!("prod --iam-url {url}"))
        .then(Then::Done)
}

pub fn init_with_a_pipe() -> Scene {
    let (world, _, url) = empty();
    let key = fs::read_to_string(world.sandbox.path("config/key.json")).expect("the key");
    Scene::new(world, &["init", "x", "--key-file", "/dev/stdin", "--iam-url", &url], "install -m 600")
        .stdin(key)
        .then(Then::Done)
}

pub fn a_profile_as_operand() -> Scene {
    let world = World::new();
    world.profile("prod", "");
    Scene::new(world, &["token", "prod"], "ycred token").then(Then::Done)
}

pub fn a_command_as_the_value_of_a_flag() -> Scene {
    Scene::new(World::new(), &["--timeout", "token"], "ycred --timeout").fill("VALUE", "20s").then(Then::Done)
}

fn with_a_profile() -> World {
    let world = World::new();
    world.profile("prod", "");
    world
}

pub fn a_profile_as_operand_of_a_hook() -> Scene {
    Scene::new(with_a_profile(), &["kubectl", "prod"], "ycred kubectl --profile prod").then(Then::Done)
}

pub fn a_profile_as_argument_of_list() -> Scene {
    Scene::new(with_a_profile(), &["list", "prod"], "ycred status prod").then(Then::Done)
}

pub fn a_profile_as_check() -> Scene {
    Scene::new(with_a_profile(), &["doctor", "prod"], "ycred doctor --profile prod").then(Then::Done)
}

pub fn a_misspelt_profile_as_check() -> Scene {
    Scene::new(with_a_profile(), &["doctor", "prd"], "ycred doctor --profile prod").then(Then::Done)
}

pub fn a_profile_as_program() -> Scene {
    Scene::new(with_a_profile(), &["exec", "prod"], "ycred exec --profile prod")
        .fill("PROGRAM", "true")
        .then(Then::Done)
}

pub fn a_profile_as_client() -> Scene {
    Scene::new(with_a_profile(), &["setup", "prod"], "ycred setup CLIENT").fill("CLIENT", "aws").then(Then::Done)
}

pub fn a_profile_as_argument() -> Scene {
    let world = World::new();
    world.profile("prod", "");
    Scene::new(world, &["env", "prod"], "ycred env").then(Then::Done)
}

// ------------------------------------------------------------------------------------------------------------ tokens

pub fn a_remembered_failure() -> Scene {
    let world = World::without_profile(Config::default());
    world.profile("default", "");
    world.profile("prod", "");
    world.emulator.fault(Fault::refuse(400).message("the test says no").times(1));
    let _ = world.token(&["-p", "prod"]).run().exits(1);
    // The hint of the failure itself comes first, so take it out.
    world.edit(|record| {
        for name in ["failure", "failures"] {
            if let Some(failure) = record.get_mut(name) {
                let one = if failure.is_array() { failure.get_mut(0) } else { Some(failure) };
                one.and_then(serde_json::Value::as_object_mut).map(|failure| failure.remove("hint"));
            }
        }
    });
    Scene::new(world, &["token", "-p", "prod"], "ycred refresh")
}

pub fn a_revoked_token() -> Scene {
    let world = World::without_profile(Config::default());
    world.profile("prod", "");
    world.profile("staging", "");
    let run = world.token(&["-p", "prod"]).run().succeeds();
    world.revoke(run.stdout.trim());
    Scene::new(world, &["status", "--verify", "-p", "prod"], "ycred refresh")
}

pub fn a_record_that_is_no_access_key() -> Scene {
    let world = World::new();
    let _ = world.ycred(&["aws"]).run().succeeds();
    world.edit(|record| {
        if record["settings"].as_str().is_some_and(|settings| settings.contains("access-key=")) {
            record["token"]["secret"] = "t1.not.a.key".into();
        }
    });
    Scene::new(world, &["aws"], "ycred logout")
}

pub fn a_rejected_token_of_the_caller() -> Scene {
    let world = World::new();
    let account = world.emulator.new_service_account();
    let callers = [world.key.service_account_id.clone()].into();
    world.emulator.set_impersonation(&account, Impersonation::By(callers));
    world.configure(&format!("impersonate = \"{account}\""));
    world.emulator.fault(Fault::refuse(401).on(Endpoint::CreateForServiceAccount).times(1));
    Scene::new(world, &["token"], "ycred refresh")
}

pub fn an_access_key_with_a_revoked_token() -> Scene {
    let world = World::without_profile(Config::default());
    world.profile("prod", "");
    let run = world.token(&["-p", "prod"]).run().succeeds();
    world.revoke(run.stdout.trim());
    world.profile("default", "");
    Scene::new(world, &["aws", "-p", "prod"], "ycred aws")
}

pub fn the_token_of_the_environment() -> Scene {
    let world = World::without_profile(Config::default());
    Scene::new(world, &["refresh"], "unset").env("YC_IAM_TOKEN", "t1.a.b").then(Then::Other("no profile found"))
}

pub fn a_supplied_token_that_has_expired() -> Scene {
    let world = World::new();
    let printed = world.ycred(&["env", "--shell", "dotenv"]).run().succeeds().stdout;
    let value = |name: &str| {
        let line = printed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {name} in {printed}")).to_owned()
    };
    fs::remove_file(world.sandbox.path("config/default.toml")).expect("removed");
    let (token, id) = (value("YC_IAM_TOKEN"), value("YCRED_TOKEN_ID"));
    Scene::new(world, &["token"], "unset")
        .env("YC_IAM_TOKEN", &token)
        .env("YC_TOKEN", &token)
        .env("YCRED_TOKEN_ID", id)
        .env("YCRED_EXPIRES_AT", "2020-01-01T00:00:00Z")
        .then(Then::Other("no profile found"))
}

pub fn revoke_of_a_profile() -> Scene {
    let world = World::without_profile(Config::default());
    world.profile("prod", "");
    let _ = world.token(&["-p", "prod"]).run().succeeds();
    Scene::new(world, &["revoke", "prod"], "ycred revoke").then(Then::Done)
}

pub fn revoke_of_an_argument() -> Scene {
    let world = World::new();
    let file = world.sandbox.file("work/other token", world.issue_token());
    Scene::new(world, &["revoke", "t1.a.b"], "ycred revoke")
        .fill("FILE", format!("'{}'", file.display()))
        .then(Then::Done)
}

pub fn revoke_of_nothing() -> Scene {
    let world = World::new();
    let file = world.sandbox.file("work/token", world.issue_token()).display().to_string();
    Scene::new(world, &["revoke", "-"], "ycred revoke").fill("FILE", file).then(Then::Done)
}

pub fn revoke_without_a_token() -> Scene {
    let world = World::new();
    let file = world.sandbox.file("work/token", world.issue_token()).display().to_string();
    Scene::new(world, &["revoke"], "ycred revoke").fill("FILE", file).then(Then::Done)
}

pub fn logout_of_all_and_one() -> Scene {
    Scene::new(World::new(), &["logout", "default", "--all"], "ycred logout").then(Then::Done)
}

// ------------------------------------------------------------------------------------------------------------- logins

pub fn no_login() -> Scene {
    Scene::new(Person::new(), &["token"], "ycred login")
}

pub fn no_login_of_a_profile() -> Scene {
    let person = Person::new();
    let profile = person.world.sandbox.path("config/default.toml");
    fs::rename(profile, person.world.sandbox.path("config/work.toml")).expect("renamed");
    person.world.profile("default", "");
    Scene::new(person, &["token", "-p", "work"], "ycred login --profile")
}

/// A person without a profile, and the flags that name the emulator.
fn newcomer() -> (Person, String) {
    let person = Person::new();
    let emulator = &person.world.emulator;
    let flags = format!("--login --iam-url {} --auth-url {}", emulator.url(), emulator.auth_url());
    fs::remove_file(person.world.sandbox.path("config/default.toml")).expect("removed");
    (person, flags)
}

pub fn login_without_a_profile() -> Scene {
    let (person, flags) = newcomer();
    Scene::new(person, &["login"], "ycred init").fill("--login", flags).then(Then::Done)
}

pub fn login_with_an_unknown_profile() -> Scene {
    let (person, flags) = newcomer();
    Scene::new(person, &["login", "me"], "ycred init").fill("--login", flags).then(Then::Done)
}

pub fn login_with_a_key() -> Scene {
    let (person, flags) = newcomer();
    person.world.profile("prod", "");
    Scene::new(person, &["login", "prod"], "ycred init").fill("--login", flags).fill("NAME", "me").then(Then::Done)
}

pub fn init_whose_login_fails() -> Scene {
    let (person, _) = newcomer();
    let emulator = person.world.emulator.clone();
    emulator.fault(Fault::refuse(400).times(1).on(Endpoint::OauthToken));
    let (iam, auth) = (emulator.url(), emulator.auth_url());
    Scene::new(person, &["init", "me", "--login", "--iam-url", &iam, "--auth-url", &auth], "ycred login")
        .then(Then::Done)
}

pub fn init_of_an_existing_login() -> Scene {
    let (person, _) = newcomer();
    person.profile("");
    fs::rename(person.world.sandbox.path("config/default.toml"), person.world.sandbox.path("config/me.toml"))
        .expect("renamed");
    Scene::new(person, &["init", "me", "--login"], "ycred login").then(Then::Done)
}

pub fn a_login_right_after_a_failed_one() -> Scene {
    let person = Person::new();
    person.world.emulator.fault(Fault::refuse(400).times(1).on(Endpoint::OauthToken));
    let _ = person.login(&[]).run().fails();
    Scene::new(person, &["login"], "ycred login").then(Then::Done)
}

// ---------------------------------------------------------------------------------------------------------- variables

pub fn a_variable_that_is_not_set() -> Scene {
    let world = World::new();
    world.sandbox.profile("default", "source = \"static\"\ntoken-env = \"MY_TOKEN\"\n");
    Scene::new(world, &["token"], "export").fill("VALUE", "t1.a.b")
}

pub fn a_proxy_that_is_no_url() -> Scene {
    let names = vec!["iam.test.example".to_owned()];
    let world = World::without_profile(Config { names, ..Config::with_tls(Tls::Good) });
    let url = format!("https://iam.test.example:{}", world.emulator.address().port());
    world.emulator.write_ca(world.sandbox.path("config/ca.pem")).expect("a certificate");
    let settings = world.settings().replace(&world.emulator.url(), &url);
    world.sandbox.profile("default", &format!("{settings}ca-file = \"ca.pem\"\n"));
    let tunnel = Tunnel::to(&world.emulator);
    let address = tunnel.url().trim_start_matches("http://").to_owned();
    Scene::new((world, tunnel), &["token"], "export").env("HTTPS_PROXY", "://").fill("HOST:PORT", address)
}

impl<T: 'static> Holder for (World, T) {
    fn sandbox(&self) -> &Sandbox {
        &self.0.sandbox
    }
}

pub fn a_relative_configuration_directory() -> Scene {
    let world = World::new();
    let home = world.sandbox.path("home/.config/ycred");
    fs::create_dir_all(home.parent().expect("a directory")).expect("created");
    fs::rename(world.sandbox.path("config"), &home).expect("moved");
    Scene::new(world, &["token"], "unset it").env("YCRED_CONFIG_DIR", "here").fill("unset it", "unset YCRED_CONFIG_DIR")
}

pub fn certificates_in_a_variable_that_are_none() -> Scene {
    let world = World::with_tls(Tls::Good);
    let file = world.sandbox.file("work/ca.pem", "nothing\n").display().to_string();
    Scene::new(world, &["token"], "unset it").env("SSL_CERT_FILE", file).fill("unset it", "unset SSL_CERT_FILE")
}

pub fn certificates_in_place_of_their_path() -> Scene {
    let world = World::with_tls(Tls::Good);
    let content = fs::read_to_string(world.sandbox.path("config/ca.pem")).expect("certificates");
    Scene::new(world, &["token"], "unset it").env("SSL_CERT_FILE", content).fill("unset it", "unset SSL_CERT_FILE")
}

pub fn a_directory_of_certificates_that_is_missing() -> Scene {
    let world = World::with_tls(Tls::Good);
    Scene::new(world, &["token"], "unset SSL_CERT_DIR").env("SSL_CERT_DIR", "/nonexistent")
}
