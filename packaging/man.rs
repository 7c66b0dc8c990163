//! Writes the man pages, `ycred.1` and one for each command, into a directory: `cargo run --example man -- DIRECTORY`.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: man DIRECTORY");
        return ExitCode::from(2);
    };
    match clap_mangen::generate_to(ycred::cli::people::tree(), &directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("man: {}: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}
