//! Who can access the files. The unit tests read the access control lists back.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::harness::{Machine, set_mode};

#[test]
#[cfg_attr(not(windows), ignore = "needs the Windows program: .ci/platforms windows")]
fn the_cache_is_private() {
    let machine = Machine::new();
    machine.assert_token(&machine.ycred(&["token"]).run());
    let mode = |path: &std::path::Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    // Wine stores the access control list as a mode, with the administrators as the group.
    for directory in ["cache", "cache/v1"] {
        assert_eq!(mode(&machine.path(directory)) & 0o027, 0, "{directory}: {:o}", mode(&machine.path(directory)));
    }
    let records: Vec<_> =
        machine.cache().into_iter().filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
    assert_eq!(records.len(), 1);
    assert_eq!(mode(&records[0]) & 0o027, 0, "{:o}", mode(&records[0]));
}

#[test]
#[cfg_attr(not(windows), ignore = "needs the Windows program: .ci/platforms windows")]
fn a_cache_that_others_can_write_is_not_used() {
    let machine = Machine::new();
    let token = machine.assert_token(&machine.ycred(&["token"]).run());
    set_mode(&machine.path("cache/v1"), 0o777);
    let run = machine.ycred(&["token"]).run();
    assert_ne!(machine.assert_token(&run), token);
    run.says("can be written by other users");
    assert_eq!(fs::metadata(machine.path("cache/v1")).expect("there").permissions().mode() & 0o777, 0o777, "unchanged");
}

#[test]
#[cfg_attr(not(windows), ignore = "needs the Windows program: .ci/platforms windows")]
fn a_profile_that_others_can_write_is_refused() {
    let machine = Machine::new();
    set_mode(&machine.path("config/default.toml"), 0o666);
    let run = machine.ycred(&["token"]).run();
    run.assert(3).says("other users may write it").says("icacls");
    assert_eq!((run.stdout.as_str(), machine.requests()), ("", 0));
}

#[test]
#[cfg_attr(not(windows), ignore = "needs the Windows program: .ci/platforms windows")]
fn a_key_file_that_others_can_read_causes_a_warning() {
    let machine = Machine::new();
    set_mode(&machine.path("config/key.json"), 0o644);
    let run = machine.ycred(&["token"]).run();
    machine.assert_token(&run);
    run.says("can be read by others").says("icacls");
    let run = machine.ycred(&["token"]).run();
    machine.assert_token(run.is_silent());
}
