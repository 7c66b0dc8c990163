//! Changes of one file that are undone in another order than they were made: in the end every byte is back, and every
//! directory that setup created is gone.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::docker::FILES;
use super::others::{AWS, GIT};
use super::{Machine, kubeconfig_with};
use crate::harness::require_client;

/// Numbers that look random and are the same in each run.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % limit
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            let other = self.below(at + 1);
            items.swap(at, other);
        }
    }
}

/// Returns everything below a directory: the content of files and links. Directories have none. Leaves out entries of the
/// directory with these names.
pub fn contents(directory: &Path, without: &[&str]) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.file_name().is_some_and(|name| without.iter().any(|other| name == *other)) {
            continue;
        }
        let metadata = fs::symlink_metadata(&path).expect("there");
        if metadata.is_dir() {
            found.extend(contents(&path, &[]));
            found.insert(path, Vec::new());
        } else if metadata.is_symlink() {
            let target = fs::read_link(&path).expect("a link");
            found.insert(path, target.into_os_string().into_encoded_bytes());
        } else {
            let content = fs::read(&path).expect("readable");
            found.insert(path, content);
        }
    }
    found
}

/// A client, its file, the texts that the file has first (or it does not exist), and the flag that selects a place in it.
struct Subject<'a> {
    client: &'a str,
    file: &'a str,
    texts: Vec<Option<&'a str>>,
    flag: &'a str,
    places: &'a [&'a str],
}

fn and_none<'a>(texts: &[&'a str]) -> Vec<Option<&'a str>> {
    texts.iter().copied().map(Some).chain([None]).collect()
}

fn profiles(machine: &mut Machine) {
    for name in ["prod", "stage"] {
        machine.world.profile(name, "hosts = [\"one.example\", \"two.example\", \"git.example.com\"]");
    }
}

/// Sets up places in random order, some of them twice and with another profile, and undoes them in random order.
fn every_order_restores(subject: &Subject<'_>, rounds: usize) {
    let mut machine = Machine::new();
    profiles(&mut machine);
    let (mut numbers, mut undone_early) = (Numbers(7), 0);
    for round in 0..rounds {
        let path = machine.path(subject.file);
        if let Some(text) = &subject.texts[round % subject.texts.len()] {
            machine.world.sandbox.file(subject.file, text);
        } else {
            // Neither the file exists, nor its directory.
            fs::remove_file(&path).expect("removed");
            let directory = path.parent().expect("a directory");
            if directory != machine.path("home") {
                fs::remove_dir(directory).expect("removed");
            }
        }
        let before = contents(&machine.path("home"), &[]);
        let mut calls: Vec<(bool, &str)> = subject.places.iter().map(|place| (true, *place)).collect();
        calls.extend((0..3).map(|_| (numbers.below(2) == 0, subject.places[numbers.below(subject.places.len())])));
        numbers.shuffle(&mut calls);
        let mut last: Vec<(bool, &str)> = subject.places.iter().map(|place| (false, *place)).collect();
        numbers.shuffle(&mut last);
        let calls: Vec<(bool, &str)> = calls.into_iter().chain(last).collect();
        for (is_setup, place) in &calls {
            let run = match is_setup {
                true => {
                    let profile = ["prod", "stage"][numbers.below(2)];
                    machine.setup(&[subject.client, subject.flag, place, "-p", profile]).run()
                }
                false => machine.unsetup(&[subject.client, subject.flag, place]).run(),
            };
            run.succeeds().stderr_is_empty();
            undone_early += usize::from(!is_setup);
        }
        // What the flags do not select: registries that every setup of docker adds.
        machine.unsetup(&[subject.client]).run().succeeds();
        let after = contents(&machine.path("home"), &[]);
        for (path, content) in &before {
            let is = after.get(path).map(|content| String::from_utf8_lossy(content).into_owned());
            assert_eq!(is, Some(String::from_utf8_lossy(content).into_owned()), "{path:?} {calls:?}");
        }
        let new: Vec<&PathBuf> = after.keys().filter(|path| !before.contains_key(*path)).collect();
        assert!(new.is_empty() && machine.journal().is_empty(), "{calls:?}: {new:?} {:?}", machine.journal());
    }
    assert!(undone_early > rounds * subject.places.len());
}

#[test]
fn in_every_order_of_undoing_each_byte_of_dockers_configuration_comes_back() {
    let places = &["one.example", "two.example", "cr.yandex"];
    let (client, file) = ("docker", "home/.docker/config.json");
    // Not one that names ycred already: `unsetup --host` removes such an entry if the journal does not know it.
    let foreign: Vec<&str> = FILES.into_iter().filter(|text| !text.contains("ycred")).collect();
    assert_eq!(foreign.len(), FILES.len() - 1);
    every_order_restores(&Subject { client, file, texts: and_none(&foreign), flag: "--host", places }, 23);
}

#[test]
fn in_every_order_of_undoing_each_byte_of_awss_configuration_comes_back() {
    let places = &["a1", "b1", "yc"];
    let (client, file) = ("aws", "home/.aws/config");
    every_order_restores(&Subject { client, file, texts: and_none(&AWS), flag: "--name", places }, 21);
}

#[test]
fn in_every_order_of_undoing_each_byte_of_gits_configuration_comes_back() {
    if require_client("git").is_none() {
        return;
    }
    let places = &["git.example.com", "one.example", "two.example"];
    let (client, file) = ("git", "home/.gitconfig");
    every_order_restores(&Subject { client, file, texts: and_none(&GIT), flag: "--host", places }, 21);
}

#[test]
fn in_every_order_of_undoing_each_byte_of_a_kubeconfig_comes_back() {
    let yc = "exec: {command: yc, args: [k8s, create-token, --profile=prod]}";
    let first = kubeconfig_with(&format!("{{{yc}}}"));
    let mut texts = Vec::new();
    for user in [
        "  user:\n",
        "  user: null\n",
        "  user: {}\n",
        "  user: {exec: null}\n",
        "  # a comment\n  user:\n    exec: # here\n      # and here\n      command: yc\n      args:\n      - k8s\n      - create-token\n",
        "",
    ] {
        texts.push(format!("{first}- name: v\n{user}- name: w\n{user}# the end\n"));
        texts.push(format!("{first}- name: w\n{user}- name: v\n{user}").trim_end().replace('\n', "\r\n"));
    }
    let (client, file, places) = ("kubectl", "home/.kube/config", &["u", "v", "w"]);
    let texts: Vec<Option<&str>> = texts.iter().map(|text| Some(text.as_str())).collect();
    let rounds = texts.len();
    every_order_restores(&Subject { client, file, texts, flag: "--user", places }, rounds);
}

#[test]
fn a_container_goes_with_the_last_value_in_it_even_if_the_file_has_changed_elsewhere() {
    let mut machine = Machine::new();
    profiles(&mut machine);
    let file = "home/.docker/config.json";
    machine.world.sandbox.file(file, "{\n\t\"auths\": {}\n}\n");
    machine.setup(&["docker", "-p", "prod", "--host", "one.example"]).run().succeeds();
    machine.setup(&["docker", "-p", "prod", "--host", "two.example"]).run().succeeds();
    // docker rewrites its file.
    let value: serde_json::Value = serde_json::from_str(&machine.read(file)).expect("JSON");
    machine.world.sandbox.file(file, serde_json::to_string(&value).expect("JSON"));
    machine.unsetup(&["docker", "--host", "cr.yandex"]).run().succeeds();
    machine.unsetup(&["docker", "--host", "one.example"]).run().succeeds();
    assert!(machine.read(file).contains("two.example"));
    machine.unsetup(&["docker"]).run().succeeds();
    assert_eq!(machine.read(file), "{\"auths\":{}}");
}

#[test]
fn whatever_docker_rewrites_in_between_the_meaning_of_its_file_comes_back() {
    let mut machine = Machine::new();
    profiles(&mut machine);
    machine.world.profile("kz", "endpoint = \"api.yandexcloud.kz\"");
    let file = "home/.docker/config.json";
    let read = |machine: &Machine| fs::read_to_string(machine.path(file)).ok();
    let meaning = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
    let (mut numbers, mut rewritten) = (Numbers(11), 0);
    for text in [
        None,
        None,
        Some("{}"),
        Some("{\"credHelpers\": {}}"),
        Some("{\"auths\": {}}"),
        Some("{\"credHelpers\": {\"cr.yandex\": \"yc\", \"one.example\": \"yc\"}, \"x\": 1}"),
    ] {
        if let Some(text) = text {
            machine.world.sandbox.file(file, text);
        }
        let mut calls = Vec::new();
        // Each profile at least once, and some places undone before others are set up.
        for round in 0..5 {
            if let Some(value) = read(&machine).map(|text| meaning(&text)) {
                let form = [serde_json::to_string, serde_json::to_string_pretty][numbers.below(2)];
                machine.world.sandbox.file(file, form(&value).expect("JSON"));
                rewritten += 1;
            }
            let profile = ["prod", "stage", "kz"][round % 3];
            let host = ["cr.yandex", "registry.yandexcloud.net", "cr.yandexcloud.kz"][numbers.below(3)];
            let (verb, arguments) = match numbers.below(3) {
                0 => ("unsetup", vec!["docker", "--host", host]),
                _ => ("setup", vec!["docker", "-p", profile]),
            };
            calls.push((verb, arguments.clone()));
            let call = if verb == "setup" { machine.setup(&arguments) } else { machine.unsetup(&arguments) };
            call.run().succeeds().stderr_is_empty();
        }
        machine.unsetup(&["--all"]).run().succeeds().stderr_is_empty();
        let after = read(&machine).map(|text| meaning(&text));
        assert_eq!(after, text.map(meaning), "{calls:?}");
        assert_eq!(machine.path("home/.docker").exists(), text.is_some(), "{calls:?}");
        assert!(machine.journal().is_empty(), "{calls:?}");
        if text.is_some() {
            fs::remove_dir_all(machine.path("home/.docker")).expect("removed");
        }
    }
    assert!(rewritten > 15, "{rewritten}");
}

#[test]
fn two_profiles_in_turn_leave_nothing_of_a_file_that_setup_created() {
    let mut machine = Machine::new();
    profiles(&mut machine);
    let before = contents(&machine.path("home"), &[]);
    for client in ["docker", "aws", "terraform"] {
        for profiles in [&["prod", "stage"][..], &["prod", "stage", "prod"]] {
            for profile in profiles {
                machine.setup(&[client, "-p", profile, "--force"]).run().succeeds();
            }
            machine.unsetup(&["--all"]).run().succeeds().stderr_is_empty();
            assert_eq!(contents(&machine.path("home"), &[]), before, "{client} {profiles:?}");
            assert!(machine.journal().is_empty(), "{client} {profiles:?}: {:?}", machine.journal());
        }
    }
}

#[test]
fn directories_that_setup_created_go_with_the_last_thing_in_them() {
    let machine = Machine::new();
    let before = contents(&machine.path("home"), &[]);
    let kubeconfig = machine.path("home/.kube");
    assert!(!kubeconfig.exists());
    for client in ["docker", "aws", "terraform", "pip", "pnpm"] {
        machine.setup(&[client]).run().succeeds();
    }
    for directory in [".docker", ".aws", ".terraform.d/plugins", ".config/pip", ".local/lib/ycred"] {
        assert!(machine.path("home").join(directory).is_dir(), "{directory}");
    }
    // A directory with something of the user's stays.
    let own = machine.world.sandbox.file("home/.docker/own", "");
    for client in ["docker", "aws", "terraform", "pip", "pnpm"] {
        machine.unsetup(&[client]).run().succeeds();
    }
    fs::remove_file(&own).expect("there");
    fs::remove_dir(machine.path("home/.docker")).expect("nothing else");
    assert_eq!(contents(&machine.path("home"), &[]), before);
    // A setup that fails leaves none.
    machine.world.sandbox.file("home/.aws/credentials", "[yc]\naws_access_key_id = x\n");
    machine.setup(&["aws"]).run().exits(3);
    assert!(!machine.path("home/.aws/config").exists());
}

#[test]
fn a_directory_that_two_clients_share_goes_with_the_last_one() {
    let machine = Machine::new();
    machine.world.sandbox.script("bin/go", super::GO);
    let before = contents(&machine.path("home"), &[]);
    for clients in [["pip", "go"], ["go", "pip"]] {
        for is_reversed in [false, true] {
            for client in clients {
                machine.setup(&[client]).run().succeeds();
            }
            let mut order = clients;
            if is_reversed {
                order.reverse();
            }
            machine.unsetup(&[order[0]]).run().succeeds();
            assert!(machine.path("home/.config").is_dir(), "{clients:?} {order:?}");
            machine.unsetup(&[order[1]]).run().succeeds();
            assert_eq!(contents(&machine.path("home"), &[]), before, "{clients:?} {order:?}");
        }
    }
}

#[test]
fn a_damaged_entry_of_the_journal_is_named_and_the_others_are_undone() {
    let machine = Machine::new();
    machine.write_kubeconfig(&super::yc_with("prod"));
    machine.setup(&["kubectl"]).run().succeeds();
    machine.setup(&["aws"]).run().succeeds();
    for (name, content) in [
        ("docker-0000000000000000", ""),
        ("docker-1111111111111111", "{}"),
        ("git-2222222222222222", "\0\0\0\0"),
        ("pip-3333333333333333", "{\"version\":1,\"client\":\"pip\",\"fi"),
        ("go-4444444444444444", "{\"version\":9,\"client\":\"go\"}"),
    ] {
        machine.world.sandbox.file(format!("state/setup/{name}.json"), content);
    }
    // Another client can be set up and undone.
    machine.setup(&["terraform"]).run().succeeds();
    machine.unsetup(&["terraform"]).run().succeeds();
    machine.setup(&["pip"]).run().exits(3).stderr_has("pip-3333333333333333.json").stderr_has("move the file away");
    machine.unsetup(&["pip"]).run().exits(3).stderr_has("pip-3333333333333333.json: cannot read this entry");
    let mut run = machine.unsetup(&["--all"]).run().exits(3);
    for name in ["docker-0000000000000000", "docker-1111111111111111", "git-2222", "pip-3333", "go-4444"] {
        run = run.stdout_has(name);
    }
    run.stdout_has("format 9");
    assert_eq!(machine.read("home/.kube/config"), super::yc_with("prod"));
    assert!(!machine.path("home/.aws").exists() && machine.journal().len() == 5, "{:?}", machine.journal());
}

#[test]
fn the_copy_that_git_edits_is_private_and_goes() {
    if require_client("git").is_none() {
        return;
    }
    let mut machine = Machine::new();
    profiles(&mut machine);
    machine.world.sandbox.file("home/.gitconfig", "[http]\n\textraheader = Authorization: s3cret\n");
    // A git that notes the modes of the file and of its directory, and whether it dies.
    let real = crate::harness::find("git").expect("git");
    let note = machine.path("tmp/modes");
    let script = format!(
        "#!/bin/sh\nstat -c '%a %n' \"$3\" \"$(dirname \"$3\")\" >> {}\n[ -z \"$KILLS\" ] || [ \"$4\" != --replace-all ] || kill -9 $PPID\nexec {} \"$@\"\n",
        note.display(),
        real.display()
    );
    let program = machine.world.sandbox.file("bin/git", &script);
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    let arguments = ["git", "--host", "git.example.com", "-p", "prod"];
    for is_killed in [false, true] {
        let call = machine.setup(&arguments);
        let run = if is_killed { call.env("KILLS", "1").run() } else { call.run().succeeds() };
        assert_eq!(run.status.code().is_none(), is_killed, "{run}");
        let modes = fs::read_to_string(&note).expect("git ran");
        for line in modes.lines().filter(|line| !line.contains(".gitconfig")) {
            assert!(line.starts_with("600 ") || line.starts_with("700 "), "{line}");
        }
        assert!(modes.contains("state/setup/working-"), "{modes}");
        let left = contents(&machine.path("state/setup"), &[])
            .into_iter()
            .filter(|(_, content)| String::from_utf8_lossy(content).contains("s3cret"));
        assert_eq!(left.count() > 0, is_killed);
        machine.unsetup(&["git"]).run().succeeds();
    }
}
