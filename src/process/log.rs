//! The log of `-v` and `YCRED_LOG`: what it is written to.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use crate::base::clock::Clock;
use crate::base::diagnostics::{Diagnostics, LogFile, Warning};
use crate::base::environment::{Environment, YCRED_LOG};
use crate::base::error;
use crate::disk::store;

/// Above this size, in bytes, the file is renamed and a new one begins.
const SIZE_MAX: u64 = 4 * 1024 * 1024;

/// Creates the diagnostics of a run, which log as `-v` and `YCRED_LOG` require.
pub fn diagnostics<'a>(
    is_verbose: bool,
    environment: &Environment,
    clock: &'static dyn Clock,
    print_stderr: &'a dyn Fn(&str),
) -> Diagnostics<'a> {
    let Some(value) = environment.get(YCRED_LOG) else { return Diagnostics::new(is_verbose, print_stderr, None) };
    if value == "1" || value == "stderr" {
        return Diagnostics::new(true, print_stderr, None);
    }
    let path = Path::new(value);
    let file = path.is_absolute().then(|| log_file(path, clock)).flatten();
    let diagnostics = Diagnostics::new(is_verbose, print_stderr, file);
    if !path.is_absolute() {
        // Not the value: it may be a secret in the wrong variable.
        diagnostics.warn(
            Warning::InvalidLog,
            format!("{YCRED_LOG} must be \"stderr\", \"1\" or an absolute path; nothing is logged"),
        );
    }
    diagnostics
}

/// Opens a log file. `None` if it cannot be written, since a log must not cost a token.
fn log_file(path: &Path, clock: &'static dyn Clock) -> Option<LogFile> {
    let file = store::open_log(path, SIZE_MAX).ok()?;
    let process = std::process::id();
    Some(Arc::new(move |label, message| {
        // One write for each line, so that the lines of several processes do not mix.
        let line = error::line(label, &format!("{} [{process}] {message}", clock.now()));
        let _ = (&file).write_all(line.as_bytes());
    }))
}
