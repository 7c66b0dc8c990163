//! Parses `ycred status --short`, which prompts of shells run before each command. Like the parser of hooks, it does
//! without clap's tree.

use std::ffi::OsString;

use lexopt::Arg;

use crate::process::flags::{FLAGS, Options};

/// Returns the global flags of a call of `status` with `--short` and no other argument. `None` for any other command line,
/// also for one with an error: clap parses those.
pub fn parse_status_line(arguments: &[OsString]) -> Option<Options> {
    let mut parser = lexopt::Parser::from_args(arguments.iter().cloned());
    let (mut is_status, mut is_short, mut options) = (false, false, Options::default());
    while let Some(argument) = parser.next().ok()? {
        let flag = match argument {
            Arg::Value(value) if !is_status && value == "status" => {
                is_status = true;
                continue;
            }
            Arg::Long("short") if is_status => {
                is_short = true;
                continue;
            }
            Arg::Long(long) => FLAGS.iter().find(|flag| flag.long == long),
            Arg::Short(short) => FLAGS.iter().find(|flag| flag.short == Some(short)),
            Arg::Value(_) => None,
        };
        let flag = flag.filter(|flag| !matches!(flag.long, "help" | "version"))?;
        let value = match flag.value {
            None => OsString::new(),
            Some(_) => parser.value().ok()?,
        };
        options.set(flag, value).ok()?;
    }
    (is_status && is_short).then_some(options)
}
