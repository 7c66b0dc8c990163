//! Names that mean something else on Windows.

use crate::harness::Machine;

#[test]
#[cfg_attr(not(windows), ignore = "needs the Windows program: .ci/platforms windows")]
fn devices_and_drives_are_not_profile_names() {
    let machine = Machine::new();
    for name in ["con", "nul", "com1", "aux.prod", "c:prod", r"c:config\prod.toml"] {
        let run = machine.ycred(&["token", "-p", name]).run();
        run.assert(2).says("ycred: error: ").says("ycred: hint: ");
        assert_eq!(run.stdout, "", "{name}");
    }
    assert_eq!(machine.requests(), 0);
}

#[test]
#[cfg_attr(not(windows), ignore = "needs the Windows program: .ci/platforms windows")]
fn variables_are_found_in_any_case() {
    let machine = Machine::new();
    machine.profile("prod", "prod.json");
    let token = machine.assert_token(&machine.ycred(&["token", "-p", "prod"]).run());
    let run = machine.ycred(&["token"]).env("Ycred_Profile", "prod").run();
    assert_eq!(machine.assert_token(&run), token);
}
