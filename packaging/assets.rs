//! What an installation has besides the binary, from the tables of the program: `cargo run --example assets -- man DIRECTORY`
//! writes the man pages, `ycred.1` and one for each command; `… -- links` prints the names of the links to the binary.

use std::path::Path;
use std::process::ExitCode;

use ycred::hooks::links;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["man", directory] => match clap_mangen::generate_to(ycred::cli::command::tree(), Path::new(directory)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("assets: {directory}: {error}");
                ExitCode::FAILURE
            }
        },
        ["links"] => {
            links().iter().for_each(|link| println!("{link}"));
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("usage: assets man DIRECTORY | links");
            ExitCode::from(2)
        }
    }
}
