//! Cache identities: any input that decides which token is issued selects its own record.

use std::fs;

use crate::emulator::CREATE_FOR_SERVICE_ACCOUNT;
use crate::emulator::{Config, keys};
use crate::expect::{fails_with, fails_with_hint, prints_token};
use crate::harness::files::set_mode;
use crate::harness::machine::require_root;
use crate::harness::{YCRED, skip};
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

/// Mounts a file system with whole seconds at `$1`. Then gives the tokens of two users to ycred, in one second.
const TWO_USERS_IN_ONE_SECOND: &str = r#"
mount -o loop "$2" "$1" || exit 99
for turn in $(seq 50); do
    cat alice > "$1/oauth"
    before=$(stat -c '%i %s %Y %Z' "$1/oauth")
    "$3" token > first || exit 1
    cat bob > "$1/oauth"
    "$3" token > second || exit 1
    [ "$before" = "$(stat -c '%i %s %Y %Z' "$1/oauth")" ] && exit 0
done
exit 98
"#;

#[test]
fn on_a_file_system_with_whole_seconds_a_file_replaced_in_the_same_second_is_noticed() {
    if !require_root(&["unshare", "mount", "mkfs.ext2"]) {
        return;
    }
    let world = World::without_profile(Config::default());
    let image = world.sandbox.file("tmp/image", vec![0; 4 << 20]);
    // Without room for fractions in the smallest inodes.
    world.sandbox.call("mkfs.ext2", ["-q", "-F", "-I", "128"]).and([&image]).run().succeeds();
    let users = [world.emulator.new_oauth(), world.emulator.new_oauth()];
    for (name, (secret, _)) in ["alice", "bob"].iter().zip(&users) {
        world.sandbox.file(format!("work/{name}"), secret);
    }
    assert_eq!(users[0].0.len(), users[1].0.len());
    let mount = world.sandbox.path("config/mount");
    fs::create_dir(&mount).expect("a directory");
    let url = world.emulator.url();
    let settings = format!("source = \"oauth\"\noauth-token-file = \"mount/oauth\"\niam-url = \"{url}\"\n");
    world.sandbox.profile("default", &settings);
    let script = ["-m", "--propagation", "private", "sh", "-c", TWO_USERS_IN_ONE_SECOND, "sh"];
    let run = world.sandbox.call("unshare", script).and([mount.as_os_str(), image.as_os_str(), YCRED.as_ref()]).run();
    match run.status.code() {
        Some(99) => return skip("this machine cannot mount a file as a file system"),
        Some(98) => return skip("no two calls were made in one second"),
        _ => drop(run.succeeds()),
    }
    for (name, (_, subject)) in ["first", "second"].iter().zip(users) {
        let token = fs::read_to_string(world.sandbox.path("work").join(name)).expect("a token");
        assert_eq!(world.emulator.subject_of(token.trim()), Some(subject), "{name}");
    }
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

/// The keys that run a command, with the settings around them.
fn command_profiles(world: &World, command: &str) -> Vec<String> {
    let issuer = world.emulator.new_federation(crate::emulator::exchange::Algorithm::Rs256);
    let account = world.emulator.new_service_account();
    world.emulator.new_federated_credential(&issuer, &account, crate::sources::workload::SUBJECT);
    let token = issuer.token(crate::sources::workload::SUBJECT);
    let (oauth, _) = world.emulator.new_oauth();
    for (name, output) in [("give-oauth", &oauth), ("give-subject", &token), ("give-token", &world.issue_token())] {
        let script = format!("#!/bin/sh\necho {output}\n");
        for directory in ["one", "two"] {
            world.sandbox.script(format!("{directory}/{name}"), &script);
        }
    }
    let (iam, auth) = (world.emulator.url(), world.emulator.auth_url());
    [
        format!("source = \"command\"\ncommand = [\"{command}give-token\"]\n"),
        format!("source = \"oauth\"\niam-url = \"{iam}\"\noauth-token-command = [\"{command}give-oauth\"]\n"),
        format!(
            "source = \"workload\"\nauth-url = \"{auth}\"\nservice-account-id = \"{account}\"\n\
             subject-token-command = [\"{command}give-subject\"]\n"
        ),
    ]
    .map(|settings| settings + "command-env = [\"ACCOUNT\", \"REGION\"]\n")
    .into()
}

#[test]
fn a_command_has_one_record_for_each_home_program_and_value_of_command_env() {
    let world = World::without_profile(Config::default());
    let path = |directory: &str| format!("{}:/usr/bin:/bin", world.sandbox.path(directory).display());
    for settings in command_profiles(&world, "") {
        let source = settings.lines().next().unwrap_or_default().to_owned();
        world.sandbox.profile("default", &settings);
        let before = world.records().len();
        let plain = || world.token(&[]).env("PATH", path("one"));
        let variants: Vec<Box<dyn Fn() -> crate::harness::Call>> = vec![
            Box::new(plain),
            Box::new(|| plain().env("PATH", path("two"))),
            Box::new(|| plain().env("HOME", world.sandbox.path("work"))),
            Box::new(|| plain().env("ACCOUNT", "alice")),
            Box::new(|| plain().env("ACCOUNT", "bob")),
            Box::new(|| plain().env("REGION", "alice")),
        ];
        for (number, call) in variants.iter().enumerate() {
            prints_token(call().run());
            assert_eq!(world.records().len(), before + number + 1, "{source}, variant {number}");
        }
        for call in &variants {
            prints_token(call().run());
        }
        // Another variable decides nothing, and neither does a longer way to the same program.
        prints_token(plain().env("OTHER", "x").env("PATH", format!("/nowhere:{}", path("one"))).run());
        assert_eq!(world.records().len(), before + variants.len(), "{source}");
        for record in world.records() {
            assert!(!fs::read_to_string(record).expect("UTF-8").contains("alice"), "a value may be a secret");
        }
    }
}

#[test]
fn a_program_that_reads_its_environment_never_gives_one_users_token_to_another() {
    let world = World::without_profile(Config::default());
    let program = world.sandbox.script("bin/give", "#!/bin/sh\nprintf 't1.%s.%s' \"$ACCOUNT\" x\n");
    let settings =
        format!("source = \"command\"\ncommand = [\"{}\"]\ncommand-env = [\"ACCOUNT\"]\n", program.display());
    world.sandbox.profile("default", &settings);
    for _ in 0..2 {
        for name in ["alice", "bob"] {
            assert_eq!(prints_token(world.token(&[]).env("ACCOUNT", name).run()), format!("t1.{name}.x"));
        }
    }
    // `exec` removes variables that contain secrets, but not this one.
    let run = world.sandbox.ycred(["exec", "--", "printenv", "ACCOUNT"]).env("ACCOUNT", "alice").run().exits(0);
    assert_eq!(run.stdout, "alice\n");
}

/// A machine with the metadata service of the emulator.
fn machine() -> World {
    let world = World::without_profile(Config::default());
    world.emulator.attach(Some("ajeofthemachine00000"));
    let address = world.emulator.metadata_addr();
    world
        .sandbox
        .profile("default", &format!("source = \"metadata\"\nmetadata-addr = \"{address}\"\ntimeout = \"3s\"\n"));
    world
}

#[test]
fn two_machines_that_share_a_home_never_share_the_token_of_their_metadata_service() {
    if !require_root(&["unshare", "hostname"]) {
        return;
    }
    let world = machine();
    let token = world.get();
    // A machine with another network does not reach the first one's service, and does not get its token either.
    let ycred = crate::harness::YCRED;
    fails_with(world.sandbox.call("unshare", ["-n", ycred, "token"]).run(), 4, &["127.0.0.1"]);
    // One with another name asks for itself.
    let renamed = ["-u", "sh", "-c", "hostname other && exec \"$0\" token", ycred];
    let other = prints_token(world.sandbox.call("unshare", renamed).run());
    assert_ne!(other, token);
    assert_eq!((world.get(), world.emulator.calls()), (token, 2));
}

#[test]
fn if_the_machine_cannot_be_told_from_others_no_token_of_its_metadata_service_is_kept() {
    if !require_root(&["unshare", "mount"]) {
        return;
    }
    let world = machine();
    let account = world.emulator.new_service_account();
    let impersonating = fs::read_to_string(world.sandbox.path("config/default.toml")).expect("a profile")
        + &format!("iam-url = \"{}\"\nimpersonate = \"{account}\"\n", world.emulator.url());
    world.sandbox.profile("chain", &impersonating);
    for profile in ["default", "chain"] {
        let hidden = [
            "-m",
            "--propagation",
            "private",
            "sh",
            "-c",
            "mount -t tmpfs none /proc/sys/kernel/random && exec \"$0\" token -p \"$1\"",
        ];
        let arguments = hidden.iter().copied().chain([crate::harness::YCRED, profile]);
        let call = || world.sandbox.call("unshare", arguments.clone());
        assert_ne!(prints_token(call().run()), prints_token(call().run()), "{profile}");
        assert_eq!(world.records().len(), 0, "{profile}");
    }
}

#[test]
fn a_profile_or_ca_file_in_a_directory_that_others_can_write_is_rejected_before_a_fetch() {
    let world = World::new();
    let config = world.sandbox.path("config");
    set_mode(&config, 0o777);
    let hint = format!("chmod go-w {}", config.display());
    fails_with_hint(world.token(&[]).run(), 3, &["default.toml", "can be written by others (mode 0777)"], &hint);
    assert_eq!(world.emulator.calls(), 0);
    // Users cannot replace each other's files in a directory such as /tmp.
    set_mode(&config, 0o1777);
    world.get();
    set_mode(&config, 0o700);
    // A directory above counts too.
    let deep = world.sandbox.file("shared/mine/x.toml", world.settings().replace("key.json", "../../config/key.json"));
    let shared = world.sandbox.path("shared");
    set_mode(&shared, 0o777);
    let run = world.token(&["-p", &deep.to_string_lossy(), "--force-refresh"]).run();
    fails_with(run, 3, &["its directory", &shared.to_string_lossy()]);
    let with_tls = World::with_tls(crate::emulator::Tls::Good);
    let authority = with_tls.sandbox.path("shared/ca.pem");
    with_tls.sandbox.file("shared/ca.pem", with_tls.emulator.ca_pem());
    with_tls.configure(&format!("ca-file = \"{}\"", authority.display()));
    with_tls.get();
    set_mode(&with_tls.sandbox.path("shared"), 0o777);
    fails_with(with_tls.token(&["--force-refresh"]).run(), 3, &["ca-file", "can be written by others"]);
    assert_eq!(with_tls.requests(), 1, "the JWT was not sent to a server of somebody else");
}
