//! `ycred import`: profiles of yc become working profiles, existing files are kept, and no secret is printed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::expect::{fails_with, fails_with_hint, prints_token};
use crate::harness::files::set_mode;
use crate::world::World;
use serde_json::Value;
use ycred::sources;

use crate::emulator::keys::AuthorizedKey;
use crate::emulator::{Config, METADATA};
use crate::harness::{Call, Run};

const YC: &str = "home/.config/yandex-cloud/config.yaml";
const HELPER: &str = "home/.config/yandex-cloud/credhelper-config.yaml";

/// An authorized key in the form that yc stores inline in `config.yaml`.
fn inline(key: &AuthorizedKey) -> String {
    let file = tempfile::NamedTempFile::new().expect("a file");
    key.write(file.path()).expect("a key file");
    let json: Value = serde_json::from_slice(&fs::read(file.path()).expect("a key")).expect("JSON");
    let mut yaml = "    service-account-key:\n".to_owned();
    for (name, value) in json.as_object().expect("an object") {
        let value = value.as_str().expect("a string");
        if value.contains('\n') {
            yaml += &format!("      {name}: |\n");
            yaml.extend(value.lines().map(|line| format!("        {line}\n")));
        } else {
            yaml += &format!("      {name}: {value}\n");
        }
    }
    yaml
}

/// A yc user with one profile of every kind and no ycred profiles.
struct User {
    world: World,
    oauth: String,
    machine: String,
}

impl User {
    fn new() -> User {
        let world = World::without_profile(Config::default());
        fs::remove_file(world.sandbox.path("config/key.json")).expect("the sandbox's key file");
        let (oauth, _) = world.emulator.new_oauth();
        let machine = world.emulator.new_service_account();
        world.emulator.attach(Some(&machine));
        let config = format!(
            "current: Prod_EU\nprofiles:\n  default:\n    token: {oauth}\n    cloud-id: b1g0\n    folder-id: b1g1\n  Prod_EU:\n{}    endpoint: api.cloud.yandex.net:443\n    format: json\n  kz:\n    federation-id: bpf0000000000000000a\n    endpoint: api.yandexcloud.kz:443\n    quota-limit: 5\n  vm:\n    instance-service-account: true\n  nobody:\n    folder-id: b1g2\n",
            inline(&world.key)
        );
        world.sandbox.file(YC, config);
        User { world, oauth, machine }
    }

    fn import(&self, more: &[&str]) -> Call {
        self.world.sandbox.ycred(["import"].iter().chain(more))
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.world.sandbox.path("config").join(name))
            .unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn files(&self) -> Vec<String> {
        let root = self.world.sandbox.path("config");
        let name = |path: PathBuf| path.strip_prefix(&root).expect("below").to_string_lossy().into_owned();
        self.world.sandbox.files("config").into_iter().map(name).collect()
    }

    /// Runs `ycred token` with an imported profile, pointed at the emulator.
    fn token_of(&self, name: &str) -> Run {
        let here = format!("{}iam-url = \"{}\"\n", self.read(&format!("{name}.toml")), self.world.emulator.url());
        self.world.sandbox.profile("here", &here);
        let run = self.world.token(&["--profile", "here"]);
        run.env("YC_METADATA_ADDR", self.world.emulator.metadata_addr()).run()
    }

    fn private_line(&self) -> String {
        let config = fs::read_to_string(self.world.sandbox.path(YC)).expect("yc's file");
        let line = config.lines().skip_while(|line| !line.contains("BEGIN PRIVATE KEY")).nth(1);
        line.expect("a line of the key").trim().to_owned()
    }
}

#[test]
fn the_preview_shows_everything_and_writes_nothing() {
    let user = User::new();
    let run = user.import(&[]).run().exits(0).stderr_is_empty();
    let config = user.world.sandbox.path("config");
    for shown in [
        &format!("{}/keys/ (0700) would be written\n", config.display()),
        &format!("{}/keys/prod-eu.json (0600) would be written:", config.display()),
        &format!("the authorized key of service account {}", user.world.key.service_account_id),
        &format!("{}/prod-eu.toml (0600) would be written:", config.display()),
        "    source = \"authorized-key\"\n    key-file = \"keys/prod-eu.json\"\n",
        "    source = \"oauth\"\n    oauth-token-file = \"keys/yc-default.oauth-token\"\n",
        "    source = \"login\"\n    federation-id = \"bpf0000000000000000a\"\n    endpoint = \"api.yandexcloud.kz\"\n",
        "    source = \"metadata\"\n",
        "default.toml (0600) would be written:\n    use = \"prod-eu\"\n",
        "Prod_EU: renamed to prod-eu",
        "default: renamed to yc-default",
        "nobody: skipped, because it has no credentials",
        "kz: belongs to a person; to log in, run `ycred login --profile kz`",
        "yc-default: cloud-id, folder-id not imported",
        "the cloud rejects OAuth tokens issued since June 2026",
        "Nothing written. Run again with --write to apply.",
    ] {
        assert!(run.stdout.contains(shown), "expected {shown:?}\n{run}");
    }
    let run = run.never_prints(&user.oauth).never_prints(&user.private_line());
    assert!(!run.stdout.contains("quota-limit"), "{run}");
    assert_eq!(user.files(), [""; 0]);
    user.import(&["-v"]).run().exits(0).stderr_has("ignored the unknown setting `quota-limit` of profile kz");
}

#[test]
fn imported_profiles_are_private_and_work() {
    let user = User::new();
    // The directory exists, made with another umask.
    fs::create_dir(user.world.sandbox.path("config/keys")).expect("a directory");
    set_mode(&user.world.sandbox.path("config/keys"), 0o755);
    let run = user
        .import(&["--write"])
        .run()
        .exits(0)
        .stderr_is_empty()
        .never_prints(&user.oauth)
        .never_prints(&user.private_line());
    assert!(run.stdout.contains("(0600) written:") && !run.stdout.contains("--write"), "{run}");
    let written = [
        "default.toml",
        "keys/prod-eu.json",
        "keys/yc-default.oauth-token",
        "kz.toml",
        "prod-eu.toml",
        "vm.toml",
        "yc-default.toml",
    ];
    assert_eq!(user.files(), written);
    let mode = |name: &str| {
        let path = user.world.sandbox.path("config").join(name);
        fs::metadata(path).expect("an existing file").permissions().mode() & 0o777
    };
    for name in written {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    assert_eq!(mode("keys"), 0o700);
    // The key file equals the one that yc imported.
    user.world.key.write(user.world.sandbox.path("tmp/key.json")).expect("a key file");
    let json = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    let before = fs::read_to_string(user.world.sandbox.path("tmp/key.json")).expect("the key");
    assert!(json(&user.read("keys/prod-eu.json")) == json(&before), "the key differs");
    for (name, subject) in [
        ("prod-eu", Some(user.world.key.service_account_id.clone())),
        ("yc-default", None),
        ("vm", Some(user.machine.clone())),
    ] {
        let token = prints_token(user.token_of(name));
        let owner = user.world.emulator.subject_of(&token).expect("a token of the emulator's");
        assert!(subject.is_none_or(|subject| subject == owner), "{name}: {owner}");
    }
    assert_eq!(user.world.requests(), 2);
    assert_eq!(user.world.emulator.requests(METADATA), 1);
    assert_eq!(user.read("default.toml"), "use = \"prod-eu\"\n");
    // Every profile can be read, if this version has its source.
    let list = user.world.sandbox.ycred(["list"]).run().exits(0);
    for line in list.stdout.lines().filter(|line| line.contains("broken")) {
        assert!(line.contains("kz") && sources::named("login").is_none(), "{list}");
    }
}

#[test]
fn existing_profiles_are_kept_without_force() {
    let user = User::new();
    user.world.sandbox.profile("vm", "source = \"static\"\ntoken-env = \"MINE\"\n");
    user.world.sandbox.profile("default", "use = \"vm\"\n");
    let run = user.import(&["--write"]).run().exits(0).stderr_is_empty();
    for expected in [
        "vm: skipped",
        "exists and differs; --force replaces it",
        "default profile unchanged: vm; to change it, run `ycred use prod-eu`",
    ] {
        assert!(run.stdout.contains(expected), "expected {expected:?}\n{run}");
    }
    assert!(user.read("vm.toml").contains("MINE") && user.read("default.toml").contains("vm"));
    // A profile named on the command line is an error, not skipped.
    fails_with_hint(
        user.import(&["vm", "--write"]).run(),
        2,
        &["vm.toml", "a different file already exists"],
        "--force",
    );
    let again = user.import(&["--write"]).run().exits(0).stdout_has("prod-eu: unchanged");
    assert!(!again.stdout.contains("(0600)"), "{again}");
    // A line that somebody has added is theirs, and nothing to replace.
    let extended = format!("{}hosts = [\"r.example\"]\n", user.read("prod-eu.toml"));
    user.world.sandbox.profile("prod-eu", &extended);
    let run = user.import(&["--write"]).run().exits(0);
    run.stdout_has("prod-eu: unchanged, with lines that you have added\n");
    assert_eq!(user.read("prod-eu.toml"), extended);
    user.import(&["--write", "--force"]).run().exits(0).stderr_is_empty();
    assert!(user.read("vm.toml").contains("metadata") && user.read("default.toml").contains("prod-eu"));
    // A default that is a profile and not an alias is kept.
    user.world.sandbox.profile("default", "source = \"static\"\ntoken-env = \"MINE\"\n");
    user.import(&["--write", "--force"]).run().exits(0).stdout_has("is a profile, not an alias");
    assert!(user.read("default.toml").contains("MINE"));
}

/// The account that programs use does not change until the user runs `ycred use`.
#[test]
fn the_only_profile_stays_in_use_after_an_import() {
    for (current, config) in [
        ("vm", "current: vm\nprofiles:\n  vm:\n    instance-service-account: true\n"),
        ("yc-default", "current: default\nprofiles:\n  default:\n    instance-service-account: true\n"),
        ("yc-default", "profiles:\n  default:\n    instance-service-account: true\n"),
    ] {
        let user = User::new();
        user.world.sandbox.static_profile("prod");
        user.world.sandbox.file(YC, config);
        let preview = user.import(&[]).run().exits(0);
        let run = user.import(&["--write"]).run().exits(0).stderr_is_empty();
        assert_eq!(user.read("default.toml"), "use = \"prod\"\n", "{run}");
        assert!(user.read(&format!("{current}.toml")).contains("metadata"), "{run}");
        assert!(prints_token(user.world.token(&[]).run()).contains("prod"));
        for run in [&preview, &run] {
            assert!(run.stdout.contains("the default profile is still prod, which was the only one"), "{run}");
        }
        if config.contains("current") {
            assert!(run.stdout.contains(&format!("run `ycred use {current}`")), "{run}");
        }
        // Nothing is written, renamed or added when the same import runs again.
        let again = user.import(&["--write"]).run().exits(0).stdout_has("Nothing to write.\n");
        assert!(again.stdout.contains(&format!("{current}: unchanged")), "{again}");
        assert!(!again.stdout.contains("renamed to") && !again.stdout.contains("still"), "{again}");
    }
    // The name of the environment's profile makes no difference.
    let user = User::new();
    user.world.sandbox.static_profile("prod");
    let metadata = user.world.emulator.metadata_addr();
    let run = user.import(&["--environment", "--write"]).env("YC_METADATA_ADDR", metadata).run().exits(0);
    run.stdout_has("the default profile is still prod, which was the only one; to change it, run `ycred use main`");
    assert_eq!(user.read("default.toml"), "use = \"prod\"\n");
    // A profile that the user calls `default` is the default.
    let user = User::new();
    user.world.sandbox.static_profile("prod");
    user.import(&["--write", "vm=default", "kz"]).run().exits(0).stderr_is_empty();
    assert!(user.read("default.toml").contains("metadata"));
}

#[test]
fn an_existing_key_file_is_not_replaced() {
    let user = User::new();
    user.world.sandbox.file("config/keys/prod-eu.json", "somebody's");
    user.import(&["--write"]).run().exits(0).stdout_has("prod-eu: skipped");
    assert_eq!(user.read("keys/prod-eu.json"), "somebody's");
    assert!(!user.files().contains(&"prod-eu.toml".to_owned()) && !user.files().contains(&"default.toml".to_owned()));
}

#[test]
fn if_a_key_cannot_be_written_its_profile_is_not_written() {
    let user = User::new();
    user.world.sandbox.file("config/keys", "a file in the way");
    fails_with(user.import(&["Prod_EU", "--write"]).run(), 3, &["keys/prod-eu.json", "cannot write the file"]);
    assert_eq!(user.files(), ["keys"]);
}

#[test]
fn profiles_are_selected_and_renamed_on_the_command_line() {
    let user = User::new();
    user.import(&["--write", "vm=machine-1", "kz"])
        .run()
        .exits(0)
        .stderr_is_empty()
        .stdout_has("vm: renamed to machine-1");
    assert_eq!(user.files(), ["kz.toml", "machine-1.toml"]);
    // If another profile is renamed to `default`, no alias of that name is written.
    user.import(&["--write", "vm=default", "Prod_EU"]).run().exits(0).stderr_is_empty();
    assert!(user.read("default.toml").contains("source = \"metadata\""), "{}", user.read("default.toml"));
    fails_with_hint(user.import(&["gone"]).run(), 2, &["config.yaml", "no profile gone"], "Prod_EU");
    fails_with(user.import(&["vm=Not_A_Name"]).run(), 2, &["Not_A_Name"]);
    fails_with(user.import(&["--profile", "vm"]).run(), 2, &["--profile"]);
}

#[test]
fn colliding_names_are_rejected_until_one_is_renamed() {
    let user = User::new();
    let profile = "instance-service-account: \"true\"\n";
    user.world.sandbox.file(YC, format!("profiles:\n  a_b:\n    {profile}  A-B:\n    {profile}  жук:\n    {profile}"));
    let expected = ["a_b", "A-B", "both become a-b"];
    fails_with_hint(user.import(&[]).run(), 2, &expected, "ycred import a_b=a-b A-B=a-b-2");
    fails_with_hint(user.import(&["жук"]).run(), 2, &["жук"], "=NAME");
    user.import(&["--write", "a_b", "A-B=other", "жук=beetle"]).run().exits(0).stderr_is_empty();
    assert_eq!(user.files(), ["a-b.toml", "beetle.toml", "other.toml"]);
}

#[test]
fn a_current_profile_named_default_becomes_the_default() {
    let user = User::new();
    user.world.sandbox.file(YC, "current: default\nprofiles:\n  default:\n    instance-service-account: true\n");
    user.import(&["--write"]).run().exits(0).stderr_is_empty();
    assert_eq!(user.files(), ["default.toml"]);
    assert!(user.read("default.toml").contains("source = \"metadata\""));
}

#[test]
fn a_key_in_one_string_and_a_disabled_instance_account_are_read_correctly() {
    let user = User::new();
    let json = user.world.key.file().json();
    let key: String = json.lines().map(|line| format!("      {line}\n")).collect();
    let config = format!(
        "profiles:\n  text:\n    service-account-key: |\n{key}  off:\n    instance-service-account: FALSE\n  on:\n    instance-service-account: 'True'\n"
    );
    user.world.sandbox.file(YC, config);
    let run = user.import(&["--write"]).run().exits(0).stderr_is_empty().never_prints(&user.private_line());
    assert!(run.stdout.contains("off: skipped, because it has no credentials"), "{run}");
    assert_eq!(user.files(), ["keys/text.json", "on.toml", "text.toml"]);
    let token = prints_token(user.token_of("text"));
    assert_eq!(user.world.emulator.subject_of(&token).as_ref(), Some(&user.world.key.service_account_id));
}

#[test]
fn concurrent_imports_write_the_same_files_and_all_succeed() {
    let user = User::new();
    for run in crate::harness::run_all((0..20).map(|_| user.import(&["--write"]))) {
        run.exits(0).stderr_is_empty();
    }
    assert!(prints_token(user.token_of("prod-eu")).starts_with("t1."));
    assert!(user.files().iter().all(|name| !name.contains(".ycred-")), "{:?}", user.files());
}

#[test]
fn a_profile_with_impersonation_and_several_credentials_is_imported() {
    let user = User::new();
    let account = user.world.emulator.new_service_account();
    let config = format!(
        "profiles:\n  one:\n    token: {}\n    federation-id: bpf1\n    impersonate-service-account-id: {account}\n",
        user.oauth
    );
    user.world.sandbox.file(YC, config);
    user.import(&["--write"]).run().exits(0).stdout_has("one: federation-id ignored, because token takes precedence");
    let token = prints_token(user.token_of("one"));
    assert_eq!(user.world.emulator.subject_of(&token), Some(account));
}

#[test]
fn the_registries_of_the_docker_helper_are_listed_with_the_command_that_takes_them_over() {
    let user = User::new();
    user.world.sandbox.file(HELPER, "cr.yandex: Prod_EU\ncr.yandexcloud.kz: kz\ndefault: default\n");
    let list = "yc's docker helper serves:\n    container-registry.cloud.yandex.net with profile yc-default\n    \
                cr.cloud.yandex.net with profile yc-default\n    cr.yandex with profile prod-eu\n    \
                cr.yandexcloud.kz with profile kz\n";
    let run = user.import(&[]).run().exits(0).stderr_is_empty().stdout_has(list);
    assert!(!run.stdout.contains("credHelpers") && !run.stdout.contains("next:"), "nothing is written\n{run}");
    // The helper's file alone: names are resolved with the config.yaml next to it.
    let helper = user.world.sandbox.path(HELPER);
    let run = user.import(&["--from", &helper.to_string_lossy()]).run().exits(0).stderr_is_empty();
    run.stdout_has(list).stdout_has("\nnext: ycred setup docker\n");
    // The profile must exist.
    user.world.sandbox.file(HELPER, "cr.yandex: nobody\ncr.cloud.yandex.net: vm\n");
    let run = user.import(&[]).run().exits(0).stdout_has("cr.yandex: profile nobody doesn't exist");
    assert!(!run.stdout.contains("profile vm doesn't exist"), "{run}");
    user.world.sandbox.profile("nobody", "source = \"metadata\"\n");
    let run = user.import(&[]).run().exits(0);
    assert!(!run.stdout.contains("doesn't exist"), "{run}");
    fs::remove_file(user.world.sandbox.path("config/nobody.toml")).expect("removed");
    user.world.sandbox.file(HELPER, "registry.example.com: vm\n");
    let hosts = "registry.example.com: gets no token unless you add it to `hosts` in profile vm";
    let run = user.import(&["--write"]).run().exits(0).stdout_has(hosts);
    run.stdout_has("\nnext: ycred setup docker\n");
    // A repeated import says only what is true now.
    let run = user.import(&["--write"]).run().exits(0).stdout_has("Nothing to write.\n").stdout_has(hosts);
    assert!(!run.stdout.contains("docker helper serves") && !run.stdout.contains("next:"), "{run}");
    let listed = format!("{}hosts = [\"registry.example.com\"]\n", user.read("vm.toml"));
    user.world.sandbox.file("config/vm.toml", listed);
    for arguments in [&[][..], &["--write"]] {
        let run = user.import(arguments).run().exits(0).stdout_has("vm: unchanged, with lines");
        assert!(!run.stdout.contains("gets no token"), "{run}");
    }
}

#[test]
fn errors_in_yc_files_have_file_and_line_and_nothing_is_written() {
    let user = User::new();
    let key = inline(&user.world.key).replace("service_account_id:", "user_account_id:");
    for (config, expected) in [
        ("profiles:\n  a: [1\n  b: 2\n".to_owned(), vec!["config.yaml:", "not valid YAML"]),
        ("profiles:\n  a: &x {}\n  b: *x\n".to_owned(), vec!["config.yaml:3", "alias"]),
        ("current:\n  - a\n".to_owned(), vec!["config.yaml", "no profiles"]),
        ("a: b\n".to_owned(), vec!["config.yaml", "no profiles"]),
        (String::new(), vec!["config.yaml", "no profiles"]),
        (format!("profiles:\n  a:\n{key}"), vec!["config.yaml:4", "profile a: service-account-key", "user account"]),
        ("profiles:\n  a:\n    token: t1.x.y\n".to_owned(), vec!["config.yaml:3", "an IAM token"]),
        ("profiles:\n  a:\n    token: y0_x\n    endpoint: https://x/\n".to_owned(), vec!["config.yaml:4", "endpoint"]),
        ("profiles:\n  a:\n    token: two words\n".to_owned(), vec!["config.yaml:3", "not an OAuth token"]),
        ("profiles:\n  a:\n    service-account-key: k.json\n".to_owned(), vec!["config.yaml:3", "JSON"]),
        (
            "profiles:\n  a:\n    token: y0_x\n    impersonate-service-account-id: a b\n".to_owned(),
            vec!["config.yaml:4", "impersonate-service-account-id is not"],
        ),
        ("a".repeat(1024 * 1024 + 1), vec!["config.yaml", "larger than"]),
    ] {
        user.world.sandbox.file(YC, &config);
        let run = user.import(&["--write"]).run();
        fails_with(run, 3, &expected);
        assert_eq!(user.files(), [""; 0], "{config:.60}");
    }
    // The other profiles can be imported without the broken one.
    let config =
        "profiles:\n  bad:\n    token: t1.x.y\n  a:\n    token: y0_x\n  b c:\n    instance-service-account: true\n";
    user.world.sandbox.file(YC, config);
    let hint = "ycred import a 'b c'";
    fails_with_hint(user.import(&["--write"]).run(), 3, &["config.yaml:3", "profile bad"], hint);
    user.world.sandbox.file(YC, format!("{config}  worse:\n{key}").replace("t1.x.y", "y0_y"));
    let hint = "ycred import bad a 'b c'";
    fails_with_hint(user.import(&["--write"]).run(), 3, &["profile worse: service-account-key"], hint);
    user.import(&["--write", "bad", "a", "b c"]).run().exits(0).stderr_is_empty();
    fs::remove_file(user.world.sandbox.path(YC)).expect("yc's file");
    fails_with_hint(user.import(&[]).run(), 3, &["config.yaml", "no such file"], "--from FILE");
}

#[test]
fn a_yc_file_that_others_can_read_causes_a_warning() {
    let user = User::new();
    set_mode(&user.world.sandbox.path(YC), 0o644);
    user.import(&[]).run().exits(0).stderr_has("can be read by others");
}

#[test]
fn variables_become_a_profile_that_works_without_them() {
    let user = User::new();
    let key = user.world.sandbox.path("home/key.json");
    user.world.key.write(&key).expect("a key file");
    let json = fs::read_to_string(&key).expect("the key");
    let subject = |name: &str| user.world.emulator.subject_of(&prints_token(user.token_of(name))).expect("a subject");
    let account = user.world.key.service_account_id.clone();
    let import = |name: &str, variable: &str, value: &str| {
        user.import(&["--environment", name, "--write"]).env(variable, value).run().exits(0).stderr_is_empty()
    };
    // A path is relative to the working directory.
    let call = user.import(&["--environment", "path", "--write"]).env("YC_SERVICE_ACCOUNT_KEY_FILE", "key.json");
    call.within(user.world.sandbox.path("home")).run().exits(0).stderr_is_empty();
    assert!(user.read("path.toml").contains(&format!("key-file = \"{}\"", key.display())));
    assert_eq!(subject("path"), account);
    import("inline", "YC_SERVICE_ACCOUNT_KEY_FILE", &json).never_prints(&user.private_line());
    assert_eq!(user.read("keys/inline.json").trim(), json.trim());
    assert_eq!(subject("inline"), account);
    import("oauth", "YC_TOKEN", &user.oauth).never_prints(&user.oauth);
    assert_eq!(user.read("keys/oauth.oauth-token"), user.oauth);
    prints_token(user.token_of("oauth"));
    import("vm", "YC_METADATA_ADDR", &user.world.emulator.metadata_addr());
    assert_eq!(subject("vm"), user.machine);
    import("held", "YC_IAM_TOKEN", "t1.held.x").never_prints("t1.held.x").stdout_has("reads the variable");
    assert!(user.read("held.toml").contains("token-env = \"YC_IAM_TOKEN\""));
    let call = user.import(&["--environment", "job", "--write"]).env("YCRED_SERVICE_ACCOUNT_ID", "aje1");
    let call = call.env("YCRED_SUBJECT_TOKEN_FILE", "token").env("YCRED_AUTH_URL", "https://auth.example");
    call.within(user.world.sandbox.path("home")).run().exits(0).stderr_is_empty();
    let profile = user.read("job.toml");
    let file = format!("subject-token-file = \"{}/token\"\n", user.world.sandbox.path("home").display());
    assert!(
        profile.contains("source = \"workload\"\nservice-account-id = \"aje1\"\n") && profile.contains(&file),
        "{profile}"
    );
    assert!(profile.contains("auth-url = \"https://auth.example\"\n"), "{profile}");
    let other = user.world.emulator.new_service_account();
    let call = user.import(&["--environment", "--write"]).env("YC_SERVICE_ACCOUNT_KEY_FILE", key.as_os_str());
    call.env("YC_ENDPOINT", "api.yandexcloud.kz:443")
        .env("YCRED_IMPERSONATE", format!(" {other}"))
        .run()
        .exits(0)
        .stderr_is_empty();
    let profile = user.read("main.toml");
    assert!(
        profile.contains("endpoint = \"api.yandexcloud.kz\"\n")
            && profile.contains(&format!("impersonate = [\"{other}\"]")),
        "{profile}"
    );
    fails_with_hint(
        user.import(&["--environment"]).run(),
        3,
        &["no credentials in the environment"],
        "YC_SERVICE_ACCOUNT_KEY_FILE",
    );
    fails_with(user.import(&["--environment", "a", "b"]).run(), 2, &["one profile"]);
    // Invalid variables are reported by name.
    for (variables, expected) in [
        (&[("YC_METADATA_ADDR", "example.com")][..], ["YC_METADATA_ADDR", "example.com"]),
        (
            &[("YC_METADATA_ADDR", "127.0.0.1"), ("YCRED_IMPERSONATE", "a,,b")],
            ["the environment", "`YCRED_IMPERSONATE`"],
        ),
        (&[("YC_METADATA_ADDR", "127.0.0.1"), ("YC_ENDPOINT", "https://x")], ["the environment", "`YC_ENDPOINT`"]),
        (
            &[("YCRED_SERVICE_ACCOUNT_ID", "aje1")],
            ["YCRED_SERVICE_ACCOUNT_ID", "but nothing says where to get the subject token"],
        ),
        (&[("YC_TOKEN", "two words")], ["YC_TOKEN", "one OAuth token"]),
    ] {
        let call = user.import(&["--environment", "wrong", "--write"]);
        let call = variables.iter().fold(call, |call, (name, value)| call.env(name, *value));
        fails_with(call.run(), 3, &expected);
        assert!(!user.files().iter().any(|name| name.contains("wrong")), "{variables:?}");
    }
}
