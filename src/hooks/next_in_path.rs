//! Finds the next program of the same name in `PATH`, for calls that are not for ycred (e.g. the real `keyring`).
//!
//! That program must not be ycred again, neither through a link nor through a script of that name that calls ycred. So
//! ycred skips links to its own file, and programs that the call was already passed on to. [`YCRED_PASSED_ON`] lists
//! those. Each step uses up one entry of `PATH`, so a loop ends.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::base::environment::{Environment, PATH, YCRED_PASSED_ON};
use crate::hooks::protocol::HookCall;
use crate::process::launch::{Change, Launch};
use crate::system::{process, programs};

/// Returns the program to pass the call on to, with the original arguments; `None` if there is no such program.
pub fn program(call: &HookCall, environment: &Environment) -> Option<Launch> {
    let tried = list(environment, YCRED_PASSED_ON);
    let program = next(call.hook.symlink?, &list(environment, PATH), &tried)?;
    let tried = std::env::join_paths(tried.iter().chain([&program])).ok()?;
    Some(Launch {
        program: program.into(),
        arguments: arguments(call),
        changes: vec![Change::Set(YCRED_PASSED_ON, tried)],
        search: None,
    })
}

/// Returns the original arguments without ycred's global flags: another program does not know them, or uses them for
/// something else.
fn arguments(call: &HookCall) -> Vec<OsString> {
    let has_flags_of_ycred = call.options.has_global() && !call.operands.is_empty();
    let parsed = (!call.is_by_symlink || has_flags_of_ycred).then(|| {
        let own = call.options.own.iter().map(|(flag, value)| format!("--{flag}={value}"));
        own.chain(call.operands.iter().cloned()).map(OsString::from)
    });
    parsed.into_iter().flatten().chain(call.arguments_to_pass_on.iter().cloned()).collect()
}

/// Splits a variable in the format of `PATH`.
fn list(environment: &Environment, name: &str) -> Vec<PathBuf> {
    environment.get(name).map(|value| std::env::split_paths(value).collect()).unwrap_or_default()
}

fn next(name: &str, directories: &[PathBuf], tried: &[PathBuf]) -> Option<PathBuf> {
    // Without ycred's own file, the call could be passed on to ycred itself.
    let ycred = process::executable().filter(|ycred| ycred.exists())?;
    let names = programs::file_names(name);
    directories
        .iter()
        // A relative entry depends on the working directory, so it is not safe to run a program from it.
        .filter(|directory| directory.is_absolute())
        .flat_map(|directory| names.iter().map(|name| directory.join(name)))
        .filter(|file| !tried.contains(file))
        .find(|file| programs::is_program(file) && !programs::is_same(file, &ycred))
}
