//! A token, from the cloud and from the cache.

use std::fs;
use std::path::PathBuf;

use super::harness::Machine;

#[test]
#[cfg_attr(not(windows), ignore = "needs the Windows program: .ci/platforms windows")]
fn a_token_is_fetched_once_and_then_cached() {
    let machine = Machine::new();
    let run = machine.ycred(&["token"]).run();
    let token = machine.assert_token(&run);
    run.is_silent();
    let run = machine.ycred(&["token"]).run();
    assert_eq!(machine.assert_token(run.is_silent()), token);
    assert_eq!(machine.requests(), 1);
    let forced = machine.ycred(&["token", "--force-refresh"]).run();
    assert_ne!(machine.assert_token(&forced), token);
    assert_eq!(machine.requests(), 2);
}

#[test]
#[cfg_attr(not(windows), ignore = "needs the Windows program: .ci/platforms windows")]
fn a_profile_is_found_by_name_and_by_every_form_of_path() {
    let machine = Machine::new();
    let key = machine.shown(machine.path("config").join("absolute key.json"));
    machine.profile("prod", &key);
    let file = machine.shown(machine.path("config/prod.toml"));
    let forms = ["prod".to_owned(), file.clone(), file.replace('\\', "/"), r"..\config\prod.toml".to_owned()];
    let tokens: Vec<String> =
        forms.iter().map(|form| machine.assert_token(&machine.ycred(&["token", "-p", form]).run())).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
    assert_eq!(machine.requests(), 1);
}

#[test]
#[cfg_attr(not(windows), ignore = "needs the Windows program: .ci/platforms windows")]
fn the_only_missing_key_file_is_named_with_its_path() {
    let machine = Machine::new();
    fs::remove_file(machine.path("config/key.json")).expect("removed");
    let run = machine.ycred(&["token"]).run();
    run.assert(3).says(&machine.shown(machine.path("config").join("key.json")));
    assert_eq!(run.stdout, "");
}

#[test]
#[cfg_attr(not(windows), ignore = "needs the Windows program: .ci/platforms windows")]
fn the_directories_are_those_of_the_user() {
    let machine = Machine::new();
    let (roaming, local) = user_directories(&machine);
    let name = format!("story-{}", std::process::id());
    machine.profile(&name, &machine.shown(machine.path("config/own.json")));
    fs::create_dir_all(roaming.join("ycred")).expect("a directory");
    let profile = roaming.join(format!("ycred/{name}.toml"));
    fs::rename(machine.path(format!("config/{name}.toml")), &profile)
        .or_else(|_| fs::copy(machine.path(format!("config/{name}.toml")), &profile).map(|_| ()))
        .expect("moved");
    let cache = local.join("ycred").join("v1");
    let before = fs::read_dir(&cache).map_or(0, Iterator::count);
    let run = machine.ycred(&["token", "-p", &name]).without("YCRED_CONFIG_DIR").without("YCRED_CACHE_DIR").run();
    fs::remove_file(&profile).expect("removed");
    machine.assert_token(&run);
    assert!(fs::read_dir(&cache).expect("a cache").count() > before, "no record in {}", cache.display());
}

/// Returns `%APPDATA%` and `%LOCALAPPDATA%` of the user, as paths of the system that runs the tests.
fn user_directories(machine: &Machine) -> (PathBuf, PathBuf) {
    let print = machine.file("bin/print.cmd", "@echo off\r\necho %APPDATA%\r\necho %LOCALAPPDATA%\r\n");
    let run = machine.ycred(&["exec", "--", &machine.shown(print)]).run();
    run.assert(0);
    let mut lines = run.stdout.lines().map(|line| {
        let line = line.trim();
        match std::env::var_os("WINEPREFIX").filter(|_| !cfg!(windows)) {
            Some(prefix) => PathBuf::from(prefix).join("drive_c").join(line[3..].replace('\\', "/")),
            None => PathBuf::from(line),
        }
    });
    (lines.next().expect("a line"), lines.next().expect("a line"))
}
