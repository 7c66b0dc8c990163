//! The links of `setup`, which are hard links.

use std::fs;

use crate::harness::Machine;

#[test]
#[cfg_attr(not(windows), ignore = "needs the Windows program: .ci/platforms windows")]
fn a_link_that_an_older_program_has_left_is_replaced() {
    let mut machine = Machine::new();
    machine.set("DOCKER_CONFIG", machine.shown(machine.path("docker")));
    machine.ycred(&["setup", "docker"]).run().assert(0);
    let helper = machine.path("bin/docker-credential-ycred.exe");
    // An update replaces ycred.exe, and the link keeps the old program.
    fs::remove_file(&helper).expect("removed");
    fs::write(&helper, "an older program").expect("written");
    machine.ycred(&["setup", "docker"]).run().assert(0);
    let run = machine.call(&helper, &["get"]).stdin("cr.yandex\n").run();
    run.assert(0);
    // A file that setup has not created stays.
    let other = machine.file("bin/git-credential-ycred.exe", "another program");
    let run = machine.ycred(&["setup", "links"]).run();
    run.assert(3).says("a file has this name");
    assert_eq!(fs::read_to_string(other).expect("readable"), "another program");
}
