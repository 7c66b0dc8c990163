//! What an installation has besides the binary, from the tables of the program: `cargo run --example assets -- man DIRECTORY`
//! writes the man pages, `ycred.1` and one for each command; `… -- completions DIRECTORY` writes the completions under the names
//! that shells look for; `… -- links` prints the names of the links to the binary.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap_complete::Shell;
use clap_mangen::Man;
use ycred::cli::help::{self, topics::TOPICS};
use ycred::commands::completions;
use ycred::hooks::links;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["man", directory] => match write_pages(Path::new(directory)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("assets: {directory}: {error}");
                ExitCode::FAILURE
            }
        },
        ["completions", directory] => match write_completions(Path::new(directory)) {
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
            eprintln!("usage: assets man DIRECTORY | completions DIRECTORY | links");
            ExitCode::from(2)
        }
    }
}

/// Writes the completions of each shell, under the name that the shell looks for.
#[expect(clippy::disallowed_methods, reason = "a completion script is not a file of an installed ycred")]
fn write_completions(directory: &Path) -> io::Result<()> {
    let files = [
        (Shell::Bash, "ycred.bash"),
        (Shell::Zsh, "_ycred"),
        (Shell::Fish, "ycred.fish"),
        (Shell::PowerShell, "_ycred.ps1"),
    ];
    for (shell, name) in files {
        let script =
            completions::script(shell, help::tree_with_help()).map_err(|error| io::Error::other(error.reason()))?;
        std::fs::write(directory.join(name), script)?;
    }
    Ok(())
}

/// Writes `ycred.1`, and `ycred-NAME.1` for each command.
fn write_pages(directory: &Path) -> io::Result<()> {
    let tree = ycred::cli::tree::tree();
    let names: Vec<String> = tree
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(|command| command.get_name().to_owned())
        .collect();
    let topics = TOPICS.iter().map(|topic| (topic.section, (topic.text)()));
    let see_also = names.iter().map(|name| format!("ycred-{name}(1)")).collect::<Vec<_>>().join(", ");
    let overview = topics.chain([("SEE ALSO", see_also)]).collect::<Vec<_>>();
    write_page(directory, "ycred", tree.clone(), &overview)?;
    for name in names {
        let page = format!("ycred-{name}");
        let command = tree.find_subcommand(&name).expect("it is listed").clone();
        // The synopsis has the command as people type it, the title the name of the page.
        let command = command.name(page.clone()).bin_name(format!("ycred {name}")).display_name(page.clone());
        let mut examples = String::new();
        for example in help::examples(&name) {
            let _ = write!(examples, "{}\n    {}\n\n", example.call, example.about);
        }
        let sections = [("EXAMPLES", examples)].into_iter();
        let topics = TOPICS.iter().filter(|topic| matches!(topic.name, "files" | "environment" | "exit-codes"));
        let sections = sections.chain(topics.map(|topic| (topic.section, (topic.text)())));
        let sections = sections.chain([("SEE ALSO", "ycred(1)".to_owned())]).collect::<Vec<_>>();
        write_page(directory, &page, command, &sections)?;
    }
    Ok(())
}

/// Writes a page: what clap knows of the command, then the sections, then the version.
#[expect(clippy::disallowed_methods, reason = "a man page is not a file of an installed ycred")]
fn write_page(directory: &Path, name: &str, command: clap::Command, sections: &[(&str, String)]) -> io::Result<()> {
    let (has_subcommands, has_details) = (command.has_subcommands(), command.get_after_help().is_some());
    let command = command.version(env!("CARGO_PKG_VERSION")).disable_version_flag(true);
    let man = Man::new(command);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if has_subcommands {
        man.render_subcommands_section(&mut page)?;
    }
    if has_details {
        man.render_extra_section(&mut page)?;
    }
    for (heading, text) in sections {
        page.extend(section(heading, text).into_bytes());
    }
    man.render_version_section(&mut page)?;
    std::fs::write(directory.join(format!("{name}.1")), page)
}

/// Returns a section whose lines stay as they are.
fn section(heading: &str, text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('-', "\\-");
    let lines = escaped.lines().map(|line| match line.starts_with(['.', '\'']) {
        true => format!("\\&{line}\n"),
        false => format!("{line}\n"),
    });
    format!(".SH \"{heading}\"\n.nf\n{}.fi\n", lines.collect::<String>())
}
