//! `remove` and `rename`: their effect on files, tokens and clients, and their reports.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::emulator::Config;
use crate::expect::{fails_with, fails_with_hint, prints_token};
use crate::harness::{Run, Sandbox};
use crate::world::World;

fn names(sandbox: &Sandbox) -> Vec<String> {
    let files = fs::read_dir(sandbox.path("config")).expect("a directory");
    let names = files.map(|file| file.expect("an entry").file_name().into_string().expect("UTF-8"));
    let mut names: Vec<String> = names.filter(|name| !name.ends_with("token") && !name.ends_with("json")).collect();
    names.sort();
    names
}

fn read(sandbox: &Sandbox, name: &str) -> String {
    fs::read_to_string(sandbox.path(format!("config/{name}.toml"))).expect("a profile")
}

fn ycred(sandbox: &Sandbox, arguments: &[&str]) -> Run {
    sandbox.ycred(arguments).run()
}

fn token(sandbox: &Sandbox, profile: Option<&str>) -> String {
    let flags = profile.map(|profile| vec!["--profile", profile]).unwrap_or_default();
    prints_token(sandbox.ycred(["token"].iter().chain(&flags)).run())
}

// --------------------------------------------------------------------------------------------------------------- rename

#[test]
fn a_renamed_profile_keeps_its_content_its_aliases_and_its_cached_token() {
    let world = World::without_profile(Config::default());
    let sandbox = &world.sandbox;
    world.profile("prod", "# a comment that stays");
    sandbox.profile("default", "use = \"prod\"\n");
    sandbox.profile("short", "use = \"prod\" # mine\n");
    world.profile("other", "");
    let text = read(sandbox, "prod");
    let before = world.get();
    let run = ycred(sandbox, &["rename", "prod", "production"]).succeeds().stderr_is_empty();
    let run =
        run.stdout_has("prod.toml: renamed to production\n").stdout_has("default.toml: an alias of production now");
    assert!(!run.stdout.contains("default profile"), "the same profile serves\n{run}");
    assert_eq!(names(sandbox), ["default.toml", "other.toml", "production.toml", "short.toml"]);
    assert_eq!(read(sandbox, "production"), text);
    for name in ["default", "short"] {
        assert_eq!(read(sandbox, name), "use = \"production\"\n");
    }
    for profile in [None, Some("production"), Some("short")] {
        assert_eq!(token(sandbox, profile), before);
    }
    assert_eq!(world.requests(), 1, "the name is not a part of the identity");
    fails_with(world.token(&["-p", "prod"]).run(), 3, &["profile prod"]);
}

#[test]
fn the_only_profile_serves_under_its_new_name_and_a_real_default_gets_a_name() {
    let sandbox = Sandbox::with_profiles(&["main"]);
    ycred(&sandbox, &["rename", "main", "prod"]).succeeds();
    assert_eq!(names(&sandbox), ["prod.toml"]);
    assert_eq!(token(&sandbox, None), "t1.main.x");
    // A default that is a profile of its own keeps serving, as an alias that `use` can replace.
    sandbox.static_profile("default");
    ycred(&sandbox, &["use", "prod"]).exits(3).stderr_has("ycred rename default NAME");
    ycred(&sandbox, &["rename", "default", "work"]).succeeds().stdout_has("default.toml: an alias of work from now on");
    assert_eq!(read(&sandbox, "default"), "use = \"work\"\n");
    assert_eq!(token(&sandbox, None), "t1.default.x");
    ycred(&sandbox, &["use", "prod"]).succeeds();
    assert_eq!(token(&sandbox, None), "t1.main.x");
    let run = ycred(&sandbox, &["rename", "nobody", "somebody"]).exits(3).stderr_has("`ycred list`");
    assert!(!run.stderr.contains("create this one"), "{run}");
    // An alias has a name of its own too.
    sandbox.profile("short", "use = \"work\"\n");
    ycred(&sandbox, &["rename", "short", "w"]).succeeds();
    assert_eq!(read(&sandbox, "w"), "use = \"work\"\n");
}

#[test]
fn a_name_that_is_taken_or_wrong_changes_nothing() {
    let sandbox = Sandbox::with_profiles(&["prod", "test"]);
    sandbox.profile("default", "use = \"prod\"\n");
    let before = names(&sandbox);
    let rename = |old: &str, new: &str| ycred(&sandbox, &["rename", old, new]);
    fails_with_hint(rename("prod", "test"), 2, &["test.toml", "already exists"], "ycred remove test");
    fails_with_hint(rename("prod", "default"), 2, &["default.toml", "already exists"], "ycred remove default");
    fails_with(rename("prod", "prod"), 2, &["prod has that name already"]);
    fails_with(rename("prod", "Prod"), 2, &["\"Prod\" is not a profile name"]);
    fails_with(rename("./prod.toml", "x"), 2, &["is not a profile name"]);
    fails_with_hint(rename("prd", "x"), 3, &["profile prd"], "did you mean prod?");
    fails_with_hint(rename("default", "x"), 2, &["default is an alias of prod"], "ycred rename prod x");
    symlink("prod.toml", sandbox.path("config/linked.toml")).expect("a link");
    fails_with_hint(rename("prod", "x"), 3, &["linked.toml: links to the file of prod"], "ycred remove linked");
    fs::remove_file(sandbox.path("config/linked.toml")).expect("removed");
    assert_eq!(names(&sandbox), before);
    assert_eq!(token(&sandbox, None), "t1.prod.x");
}

#[test]
fn a_link_is_renamed_itself_and_a_broken_profile_can_be_renamed() {
    let sandbox = Sandbox::new();
    let file = sandbox.file("tmp/dotfiles/prod.toml", "source = \"static\"\ntoken-file = \"p.token\"\n");
    sandbox.file("config/p.token", "t1.linked.x");
    for (old, new) in [("prod", "work"), ("default", "home")] {
        let link = sandbox.path(format!("config/{old}.toml"));
        symlink(&file, &link).expect("a link");
        ycred(&sandbox, &["rename", old, new]).succeeds();
        assert_eq!(fs::read_link(sandbox.path(format!("config/{new}.toml"))).expect("still a link"), file);
        assert_eq!(token(&sandbox, Some(new)), "t1.linked.x");
    }
    assert!(fs::read_to_string(&file).expect("the file").starts_with("source"), "its content is untouched");
    assert_eq!(read(&sandbox, "default"), "use = \"home\"\n");
    sandbox.profile("broken", "sorce = 1\n");
    ycred(&sandbox, &["rename", "broken", "later"]).succeeds();
    assert_eq!(read(&sandbox, "later"), "sorce = 1\n");
}

/// Each name of the profile works at every moment: the default, the alias, and the only profile.
#[test]
fn programs_that_ask_during_a_rename_get_their_token() {
    for has_alias in [true, false] {
        let sandbox = Sandbox::with_profiles(&["a"]);
        if has_alias {
            sandbox.profile("default", "use = \"a\"\n");
        }
        let is_done = AtomicBool::new(false);
        let calls = thread::scope(|scope| {
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let mut calls = 0;
                        while !is_done.load(Ordering::Relaxed) || calls == 0 {
                            assert_eq!(token(&sandbox, None), "t1.a.x");
                            calls += 1;
                        }
                        calls
                    })
                })
                .collect();
            for _ in 0..20 {
                ycred(&sandbox, &["rename", "a", "b"]).succeeds();
                ycred(&sandbox, &["rename", "b", "a"]).succeeds();
            }
            is_done.store(true, Ordering::Relaxed);
            readers.into_iter().map(|reader| reader.join().expect("a reader")).sum::<usize>()
        });
        assert!(calls >= 2);
    }
}

#[test]
fn of_many_renames_at_once_one_wins_and_nothing_is_lost() {
    let sandbox = Sandbox::with_profiles(&["a"]);
    sandbox.profile("default", "use = \"a\"\n");
    let text = read(&sandbox, "a");
    let runs = crate::harness::run_all((0..8).map(|n| sandbox.ycred(["rename", "a", &format!("b{n}")])));
    let winners = runs.iter().filter(|run| run.status.success()).count();
    assert_eq!(winners, 1, "{runs:?}");
    let left = names(&sandbox);
    assert_eq!(left.len(), 2, "{left:?}");
    assert_eq!(fs::read_to_string(sandbox.path("config").join(&left[0])).expect("a profile"), text);
    assert_eq!(token(&sandbox, None), "t1.a.x");
}

#[test]
fn clients_that_name_the_profile_are_listed_with_the_command_that_changes_them() {
    let mut sandbox = Sandbox::with_profiles(&["prod", "test"]);
    sandbox.link("ycred");
    let kubeconfig = sandbox.file(
        "home/.kube/config",
        "apiVersion: v1\nkind: Config\nusers:\n- name: me\n  user:\n    exec:\n      command: yc\n      args: [k8s, create-token]\n\
         contexts:\n- name: c\n  context: {cluster: c, user: me}\ncurrent-context: c\n",
    );
    ycred(&sandbox, &["setup", "kubectl", "--profile", "prod"]).succeeds();
    ycred(&sandbox, &["setup", "docker", "--profile", "prod"]).succeeds();
    sandbox.profile("asks", "source = \"command\"\ncommand = [\"/usr/bin/ycred\", \"token\", \"-p\", \"prod\"]\n");
    let expected = [
        ".kube/config: user me still names the profile prod; to change it: ycred setup kubectl --user me --",
        "config.json: cr.yandex still names the profile prod; to change it: ycred setup docker --profile ",
        "docker-credential-ycred-prod: link still names the profile prod; setup removes it when no configuration names it\n",
        "profile asks: `command` still names the profile prod\n",
        "YCRED_PROFILE still names prod in this shell",
    ];
    let check = |mut run: Run, name: &str| {
        for part in expected {
            run = run.stdout_has(part);
        }
        run.stdout_has(&format!("--profile {name}\n")).succeeds()
    };
    check(sandbox.ycred(["rename", "prod", "main"]).env("YCRED_PROFILE", "prod").run(), "main");
    // The printed command does what it says.
    ycred(&sandbox, &["setup", "kubectl", "--user", "me", "--profile", "main"]).succeeds();
    // What names the default gets another account with the next `use`.
    let text = read(&sandbox, "main");
    sandbox.profile("default", &text);
    ycred(&sandbox, &["setup", "kubectl", "--user", "me", "--profile", "default"]).succeeds();
    let run = ycred(&sandbox, &["rename", "default", "work"]).succeeds();
    run.stdout_has(
        "user me still names the profile default; to change it: ycred setup kubectl --user me --profile work\n",
    );
    ycred(&sandbox, &["setup", "kubectl", "--user", "me", "--profile", "main"]).succeeds();
    ycred(&sandbox, &["setup", "docker", "--profile", "main"]).succeeds();
    let run = ycred(&sandbox, &["rename", "main", "prod"]);
    assert!(run.stdout.contains("user me still names the profile main"), "{run}");
    ycred(&sandbox, &["setup", "kubectl", "--user", "me", "--profile", "prod"]).succeeds();
    ycred(&sandbox, &["setup", "docker", "--profile", "prod"]).succeeds();
    // A kubeconfig that this run does not read is remembered by setup.
    sandbox.set("KUBECONFIG", sandbox.path("tmp/none"));
    let run = sandbox.ycred(["remove", "prod"]).env("YCRED_PROFILE", "prod").run();
    check(run, "NAME");
    assert!(fs::read_to_string(kubeconfig).expect("there").contains("prod"), "remove edits no client");
}

/// A command without the flags of the place would change the account of another one.
#[test]
fn each_printed_command_changes_the_place_that_the_line_is_about_and_no_other() {
    let sandbox = Sandbox::with_profiles(&["prod", "test"]);
    sandbox.link("ycred");
    let hosts = "hosts = [\"localhost:46367\"]\n";
    sandbox.profile("prod", &format!("{}{hosts}", read(&sandbox, "prod")));
    let exec = "exec: {apiVersion: client.authentication.k8s.io/v1, command: yc, args: [k8s, create-token]}";
    let text = format!("users:\n- name: me\n  user: {{{exec}}}\n- name: admin@cat1\n  user: {{{exec}}}\n");
    let kubeconfig = sandbox.file("home/.kube/config", format!("{text}- name: other\n  user: {{{exec}}}\n"));
    let elsewhere = sandbox.file("tmp/kubeconfig", &text);
    for arguments in [
        &["kubectl", "--user", "me", "-p", "test"][..],
        &["kubectl", "--user", "admin@cat1", "-p", "prod"],
        &["kubectl", "--user", "other", "-p", "test"],
        &["kubectl", "--user", "me", "-p", "prod", "--kubeconfig", elsewhere.to_str().expect("UTF-8")],
        &["docker", "-p", "test"],
        &["docker", "--host", "localhost:46367", "-p", "prod"],
        &["aws", "-p", "test"],
        &["aws", "--name", "mine", "-p", "prod"],
        &["terraform", "-p", "prod"],
    ] {
        ycred(&sandbox, &[&["setup"], arguments].concat()).succeeds();
    }
    let docker = sandbox.path("home/.docker/config.json");
    let of = |file: &std::path::Path| fs::read_to_string(file).expect("a configuration");
    assert!(of(&docker).contains("\"cr.yandex\": \"ycred-test\""), "{}", of(&docker));
    let link = sandbox.path("bin/docker-credential-ycred-prod");
    assert!(link.exists());
    let run = ycred(&sandbox, &["rename", "prod", "live"]).succeeds();
    let commands: Vec<&str> =
        run.stdout.lines().filter_map(|line| line.split_once("; to change it: ")).map(|(_, it)| it).collect();
    let elsewhere_shown = format!("--kubeconfig {}", elsewhere.display());
    for expected in [
        "ycred setup kubectl --user admin@cat1 --profile live",
        &format!("ycred setup kubectl --user me {elsewhere_shown} --profile live"),
        "ycred setup docker --host localhost:46367 --profile live",
        "ycred setup aws --name mine --profile live",
        "ycred setup terraform --profile live",
    ] {
        assert_eq!(commands.iter().filter(|command| **command == expected).count(), 1, "{expected}: {run}");
    }
    assert_eq!(commands.len(), 5, "{run}");
    // doctor's fix is for the same user.
    ycred(&sandbox, &["doctor", "--offline", "kubectl"])
        .stdout_has("ycred setup kubectl --user admin@cat1 --profile NAME");
    for command in commands {
        sandbox.call("sh", ["-c", command]).run().succeeds();
    }
    let kubeconfig = of(&kubeconfig);
    assert_eq!((kubeconfig.matches("test").count(), kubeconfig.matches("live").count()), (2, 1), "{kubeconfig}");
    assert!(of(&docker).contains("\"cr.yandex\": \"ycred-test\""), "{}", of(&docker));
    assert!(of(&docker).contains("\"localhost:46367\": \"ycred-live\""), "{}", of(&docker));
    let aws = of(&sandbox.path("home/.aws/config"));
    assert!(aws.contains("--profile test") && aws.contains("--profile live") && !aws.contains("prod"), "{aws}");
    // Nothing names the old profile, so the links for it are gone too.
    assert!(!link.exists() && sandbox.path("bin/docker-credential-ycred-test").exists());
    assert!(!sandbox.path("home/.terraform.d/plugins/terraform-credentials-ycred-prod").exists());
    let run = ycred(&sandbox, &["rename", "live", "prod"]).succeeds();
    assert!(!run.stdout.contains("ycred-prod"), "{run}");
}

#[test]
fn a_hook_whose_profile_is_gone_is_told_how_to_use_another_one() {
    let sandbox = Sandbox::with_profiles(&["main"]);
    let gone = |arguments: &[&str]| ycred(&sandbox, &[arguments, &["-p", "vanished"]].concat()).exits(3);
    let kubectl = gone(&["kubectl"]).stderr_has(
        "to use one that `ycred list` shows: ycred setup kubectl --user USER --profile NAME; to create this one: ycred init vanished",
    );
    assert_eq!(kubectl.stderr.matches("hint:").count(), 1, "{kubectl}");
    gone(&["aws"]).stderr_has("ycred setup aws --name NAME-OF-AWS --profile NAME");
    gone(&["token"]).stderr_has("list your profiles with `ycred list`");
    // Without another profile there is nothing else to use.
    std::fs::remove_file(sandbox.path("config/main.toml")).expect("removed");
    gone(&["kubectl"]).stderr_has("or create this one: ycred init vanished");
}

#[test]
fn an_empty_variable_is_named_if_there_is_no_profile() {
    let sandbox = Sandbox::new();
    let run = ycred(&sandbox, &["token"]).exits(3).stderr_has("in CI, set YC_SERVICE_ACCOUNT_KEY_FILE");
    assert!(!run.stderr.contains("but empty"), "{run}");
    let run = sandbox.ycred(["token"]).env("YC_SERVICE_ACCOUNT_KEY_FILE", "").run();
    run.exits(3).stderr_has(" is set; YC_SERVICE_ACCOUNT_KEY_FILE is set, but empty\n");
}

// --------------------------------------------------------------------------------------------------------------- remove

#[test]
fn remove_deletes_the_profile_its_aliases_and_its_token_and_says_what_serves_now() {
    let world = World::without_profile(Config::default());
    let sandbox = &world.sandbox;
    world.profile("prod", "");
    world.profile("test", "");
    sandbox.profile("default", "use = \"prod\"\n");
    sandbox.profile("short", "use = \"prod\"\n");
    world.get();
    prints_token(world.token(&["-p", "test"]).run());
    assert_eq!(world.records().len(), 2);
    let run = ycred(sandbox, &["remove", "prod"]).succeeds().stderr_is_empty();
    let run = run.stdout_has("prod.toml: removed\n").stdout_has("default.toml: removed the alias of prod");
    let run = run.stdout_has("short.toml: removed the alias of prod").stdout_has("deleted the cached token of");
    run.stdout_has("still valid in the cloud until")
        .stdout_has("test is now the only profile, so it is used if none is named");
    assert_eq!(names(sandbox), ["test.toml"]);
    assert!(sandbox.path("config/prod.json").exists(), "the key stays");
    let tokens = |world: &World| {
        let has_token = |path: &std::path::PathBuf| fs::read_to_string(path).expect("a record").contains("\"token\":{");
        world.records().iter().filter(|path| has_token(path)).count()
    };
    assert_eq!(tokens(&world), 1, "the other profile's token stays");
    ycred(sandbox, &["remove", "test"]).succeeds().stdout_has("no profile is left");
    assert_eq!(tokens(&world), 0);
    fails_with(ycred(sandbox, &["remove", "test"]), 3, &["profile test: no such file"]);
}

/// `import` has written it, so the user may not know of it.
#[test]
fn remove_names_the_key_of_import_that_stays() {
    let world = World::without_profile(Config::default());
    let sandbox = &world.sandbox;
    let key = fs::read_to_string(sandbox.path("config/key.json")).expect("a key");
    for name in ["one", "two"] {
        sandbox.profile(name, "source = \"authorized-key\"\nkey-file = \"keys/one.json\"\n");
    }
    let path = sandbox.file("config/keys/one.json", &key);
    let run = ycred(sandbox, &["remove", "one"]).succeeds();
    assert!(!run.stdout.contains("stays"), "the other profile reads it\n{run}");
    let run = ycred(sandbox, &["remove", "two"]).succeeds().stdout_has("no profile is left");
    let line = format!("{0}: the key stays; to delete it: rm {0}\n", path.display());
    assert!(run.stdout.contains(&line) && path.exists(), "{run}");
    // A broken profile does not say what it reads.
    let path = sandbox.file("config/keys/broken.oauth-token", "y0_x");
    sandbox.profile("broken", "sorce = 1\n");
    ycred(sandbox, &["remove", "broken"]).succeeds().stdout_has(&format!("to delete it: rm {}\n", path.display()));
    // A key elsewhere is the user's own.
    world.profile("mine", "");
    let run = ycred(sandbox, &["remove", "mine"]).succeeds();
    assert!(!run.stdout.contains("the key stays"), "{run}");
}

#[test]
fn a_token_and_a_login_that_another_profile_shares_stay() {
    let world = World::without_profile(Config::default());
    let sandbox = &world.sandbox;
    world.profile("one", "");
    fs::copy(sandbox.path("config/one.toml"), sandbox.path("config/two.toml")).expect("a copy");
    sandbox.profile("base", &format!("{}impersonate = \"aje0000000000000000b\"\n", read(sandbox, "one")));
    let before = prints_token(world.token(&["-p", "one"]).run());
    let run = ycred(sandbox, &["remove", "one"]).succeeds();
    assert!(!run.stdout.contains("deleted"), "{run}");
    assert_eq!(prints_token(world.token(&["-p", "two"]).run()), before);
    assert_eq!(world.requests(), 1);
    // The base of an impersonated account is shared as well.
    let run = ycred(sandbox, &["remove", "two"]).succeeds();
    assert!(!run.stdout.contains("deleted"), "{run}");
    ycred(sandbox, &["remove", "base"]).succeeds().stdout_has("deleted the cached token");
}

#[test]
fn an_alias_and_a_broken_profile_can_be_removed_and_a_directory_is_not() {
    let sandbox = Sandbox::with_profiles(&["prod", "test"]);
    sandbox.profile("default", "use = \"prod\"\n");
    ycred(&sandbox, &["remove", "default"])
        .succeeds()
        .stdout_has("removed the alias of prod")
        .stdout_has("there is no default profile now; to choose one, run `ycred use NAME`");
    assert_eq!(token(&sandbox, Some("prod")), "t1.prod.x");
    sandbox.profile("broken", "sorce = 1\n");
    ycred(&sandbox, &["remove", "broken"])
        .succeeds()
        .stdout_has("broken.toml: removed")
        .stdout_has("tokens, if any, were not deleted: ycred cannot tell which they are");
    symlink("nowhere", sandbox.path("config/dangling.toml")).expect("a link");
    ycred(&sandbox, &["remove", "dangling"]).succeeds().stdout_has("removed the link; nowhere stays");
    // A link to a profile goes with it.
    symlink("test.toml", sandbox.path("config/default.toml")).expect("a link");
    ycred(&sandbox, &["remove", "test"]).succeeds().stdout_has("default.toml: removed the alias of test");
    assert_eq!(names(&sandbox), ["prod.toml"]);
    fs::create_dir(sandbox.path("config/folder.toml")).expect("a directory");
    fails_with(ycred(&sandbox, &["remove", "folder"]), 3, &["folder.toml: cannot be removed"]);
    fails_with(ycred(&sandbox, &["remove", "../prod"]), 2, &["is not a profile name"]);
    assert_eq!(token(&sandbox, Some("prod")), "t1.prod.x");
}

#[test]
fn an_alias_of_itself_is_fixed_as_its_hint_says() {
    let sandbox = Sandbox::with_profiles(&["a"]);
    sandbox.profile("default", "use = \"default\"\n");
    fails_with_hint(ycred(&sandbox, &["token"]), 3, &["default.toml:1", "an alias of itself"], "run `ycred list`");
    ycred(&sandbox, &["list"]).stdout_has("a");
    sandbox.profile("default", "use = \"a\"\n");
    assert_eq!(token(&sandbox, None), "t1.a.x");
}
