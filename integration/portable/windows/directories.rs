//! The directories of the user.

use std::fs;
use std::path::PathBuf;

use crate::harness::Machine;

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
