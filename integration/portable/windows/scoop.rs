//! Programs of package managers in front of ycred, and other programs of its names.

use std::fs;

use crate::harness::{Call, Machine};

/// What scoop has in front of each program, in a directory of `PATH`.
fn add_shims(machine: &Machine) {
    for name in ["ycred", "docker-credential-ycred"] {
        machine.file(format!("shims/{name}.exe"), "the shim of scoop");
        let target = machine.shown(machine.path(format!("bin/{name}.exe")));
        machine.file(format!("shims/{name}.shim"), format!("path = \"{target}\"\r\n"));
    }
    machine.program("docker-credential-ycred.exe");
}

/// Calls ycred with nothing but these directories in `PATH`.
fn with_path(machine: &Machine, directories: &[&str], arguments: &[&str]) -> Call {
    let directories: Vec<String> = directories.iter().map(|directory| machine.shown(machine.path(directory))).collect();
    let call = machine.ycred(arguments).env("DOCKER_CONFIG", machine.shown(machine.path("docker")));
    call.env(if cfg!(windows) { "PATH" } else { "WINEPATH" }, directories.join(";"))
}

#[test]
#[cfg_attr(not(windows), ignore = "needs the Windows program: .ci/platforms windows")]
fn a_shim_of_scoop_stands_for_the_helper() {
    let machine = Machine::new();
    add_shims(&machine);
    machine.profile("prod", "prod.json");
    let setup = |arguments: &[&str]| with_path(&machine, &["shims"], &[&["setup", "docker"], arguments].concat()).run();
    let run = setup(&["-p", "default"]);
    run.assert(0);
    assert_eq!(
        fs::read_to_string(machine.path("shims/docker-credential-ycred.exe")).expect("a shim"),
        "the shim of scoop"
    );
    // The helper of another profile has no shim.
    setup(&["-p", "prod", "--force"]).assert(0);
    assert!(machine.path("shims/docker-credential-ycred-prod.exe").exists());
}

#[test]
#[cfg_attr(not(windows), ignore = "needs the Windows program: .ci/platforms windows")]
fn another_helper_of_this_name_is_an_error() {
    let machine = Machine::new();
    for name in ["docker-credential-ycred", "docker-credential-ycred-default"] {
        machine.file(format!("other/{name}.exe"), "another program");
    }
    let run = with_path(&machine, &["other", "bin"], &["setup", "docker"]).run();
    run.assert(3).says("a file has this name");
    assert!(!machine.path("docker/config.json").exists());
}
