//! A token, from the cloud and from the cache.

use std::fs;

use super::harness::{Machine, is_windows};

#[test]
#[cfg_attr(not(windows), ignore = "takes time: .ci/platforms native, or windows for Wine")]
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
#[cfg_attr(not(windows), ignore = "takes time: .ci/platforms native, or windows for Wine")]
fn a_profile_is_found_by_name_and_by_every_form_of_path() {
    let machine = Machine::new();
    let key = machine.shown(machine.path("config").join("absolute key.json"));
    machine.profile("prod", &key);
    let file = machine.shown(machine.path("config/prod.toml"));
    let mut forms = vec!["prod".to_owned(), file.clone(), "../config/prod.toml".to_owned()];
    if is_windows() {
        forms.extend([file.replace('\\', "/"), r"..\config\prod.toml".to_owned()]);
    }
    let tokens: Vec<String> =
        forms.iter().map(|form| machine.assert_token(&machine.ycred(&["token", "-p", form]).run())).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
    assert_eq!(machine.requests(), 1);
}

#[test]
#[cfg_attr(not(windows), ignore = "takes time: .ci/platforms native, or windows for Wine")]
fn the_only_missing_key_file_is_named_with_its_path() {
    let machine = Machine::new();
    fs::remove_file(machine.path("config/key.json")).expect("removed");
    let run = machine.ycred(&["token"]).run();
    run.assert(3).says(&machine.shown(machine.path("config").join("key.json")));
    assert_eq!(run.stdout, "");
}
