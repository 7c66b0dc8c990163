//! Whom a call is passed on to that is not for us: the next program in `PATH` of the name that ycred stands in for.
//!
//! It must never be ycred once more: neither by a link, nor by a script of the same name that calls ycred back. So a
//! program that is this very file is passed over, and so is one that the call has been passed on to before; who they are
//! goes along in [`YCRED_PASSED_ON`]. Each step takes one of `PATH` away, so there is an end.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::base::environment::{Environment, PATH, YCRED_PASSED_ON};
use crate::hooks::protocol::HookCall;
use crate::process::launch::{Change, Launch};
use crate::system::{files, process};

/// The program that a hook's call is passed on to, with the words that it came with; none if there is none.
pub fn of(call: &HookCall, environment: &Environment) -> Option<Launch> {
    let tried = list(environment, YCRED_PASSED_ON);
    let program = next(call.hook.symlink?, &list(environment, PATH), &tried)?;
    let tried = std::env::join_paths(tried.iter().chain([&program])).ok()?;
    Some(Launch {
        program: program.into(),
        arguments: arguments(call),
        changes: vec![Change::Set(YCRED_PASSED_ON, tried)],
    })
}

/// As they came; but flags of ours, which go to `ycred keyring` alone, would mean nothing to another program, or something
/// else.
fn arguments(call: &HookCall) -> Vec<OsString> {
    let read = (!call.by_symlink).then(|| {
        let own = call.options.own.iter().map(|(flag, value)| format!("--{flag}={value}"));
        own.chain(call.operands.iter().cloned()).map(OsString::from)
    });
    read.into_iter().flatten().chain(call.unread.iter().cloned()).collect()
}

fn list(environment: &Environment, name: &str) -> Vec<PathBuf> {
    environment.get(name).map(|value| std::env::split_paths(value).collect()).unwrap_or_default()
}

fn next(name: &str, directories: &[PathBuf], tried: &[PathBuf]) -> Option<PathBuf> {
    // Who we are must be known, or the call would be passed on to ourselves.
    let ourselves = identity(&process::executable()?)?;
    directories
        .iter()
        // What a relative entry means depends on where one stands, which is no ground to run a program on.
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .filter(|file| !tried.contains(file))
        .find(|file| is_program(file) && identity(file) != Some(ourselves))
}

fn is_program(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|found| found.is_file() && files::mode(&found) & 0o111 != 0)
}

/// Which file it is, whatever its name.
fn identity(file: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(file).ok().map(|found| files::identity(&found))
}
