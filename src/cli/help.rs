//! The help: what `-h`, `--help` and `ycred help TOPIC` print.
//!
//! `-h` lists a command's arguments. `--help` adds details and examples. The flags of every command are described once, in the
//! help of ycred itself.

pub mod topics;

use std::ffi::OsString;
use std::fmt::Write as _;

use clap::builder::PossibleValuesParser;

use crate::cli::help::topics::TOPICS;
use crate::cli::tree::{argument, tree};
use crate::commands::COMMANDS;
use crate::commands::command::Group;
use crate::hooks::HOOKS;
use crate::process::flags::{Example, FLAGS};

/// How much help to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// `-h`: what a command does, and its arguments.
    Short,
    /// `--help`: with details and examples.
    Long,
}

impl Detail {
    /// Returns [`Detail::Long`] if the arguments contain `--help`, before any `--`.
    pub fn of(arguments: &[OsString]) -> Self {
        let mut own = arguments.iter().take_while(|argument| *argument != "--");
        if own.any(|argument| argument == "--help") { Self::Long } else { Self::Short }
    }
}

/// Returns the help of a command, of a topic, or of ycred itself if neither has this name.
pub fn help(name: &str, detail: Detail) -> String {
    if let Some(topic) = TOPICS.iter().find(|topic| topic.name == name) {
        return (topic.text)();
    }
    let mut tree = tree();
    let Some(command) = tree.find_subcommand_mut(name) else { return overview(detail) };
    // With its full name, clap prints `Usage: ycred NAME`.
    let mut command = command.clone().bin_name(format!("ycred {name}"));
    for flag in FLAGS {
        if command.get_arguments().any(|argument| argument.get_id() == flag.long) {
            command = command.mut_arg(flag.long, |argument| argument.hide(true));
        }
    }
    if detail == Detail::Short {
        command = command.after_help("");
    }
    // `keyring` replaces the program that its clients run.
    let hook = HOOKS.iter().find(|hook| hook.name == name && !hook.replaces_program);
    let program = hook.and_then(|hook| hook.program);
    if let Some(program) = program {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        command = command
            .about(format!("{about}\n\nThis is a hook: {program} runs it by itself, once it is set up to use ycred."));
    }
    let mut text = command.render_help().to_string().trim_end().to_owned();
    text.push('\n');
    if detail == Detail::Long {
        text.push_str("\nExamples:\n");
        for example in examples(name) {
            let _ = writeln!(text, "  {}\n      {}", example.call, example.about);
        }
        text.push_str("\nCommon flags: `ycred --help`\n");
    } else {
        let _ = writeln!(text, "\nDetails and examples: `ycred {name} --help`\nCommon flags: `ycred -h`");
    }
    text
}

/// Returns what `ycred help TOPIC` explains: commands, hooks and topics.
pub fn subjects() -> impl Iterator<Item = String> {
    let tree = tree();
    let commands: Vec<String> = tree
        .get_subcommands()
        .filter(|command| !command.is_hide_set() || command.get_name() == "install")
        .map(|command| command.get_name().to_owned())
        .collect();
    commands.into_iter().chain(TOPICS.iter().map(|topic| topic.name.to_owned()))
}

/// Returns the tree with `help`, which is not parsed by clap, for completions.
pub fn tree_with_help() -> clap::Command {
    let subjects = PossibleValuesParser::new(subjects());
    let subject = clap::Arg::new("subject").value_name("SUBJECT").value_parser(subjects);
    let help = clap::Command::new("help").about("explain a command or a topic").arg(subject);
    tree().subcommand(help.disable_help_flag(true).disable_version_flag(true))
}

/// Returns the examples of a command or hook.
pub fn examples(name: &str) -> &'static [Example] {
    let command = COMMANDS.iter().find(|command| command.name == name).map(|command| command.examples);
    command.or_else(|| HOOKS.iter().find(|hook| hook.name == name).map(|hook| hook.examples)).unwrap_or_default()
}

/// Returns the groups of commands, with a heading and the names and descriptions of each.
fn groups() -> Vec<(&'static str, Vec<(&'static str, &'static str)>)> {
    let of = |group| {
        let commands = COMMANDS.iter().filter(move |command| command.group == group);
        commands.map(|command| (command.name, command.about))
    };
    let hooks = |is_called| {
        let hooks = HOOKS.iter().filter(move |hook| hook.program.is_some() == is_called);
        hooks.map(|hook| (hook.name, hook.about))
    };
    vec![
        ("Set up", of(Group::SetUp).collect()),
        ("Use a token", hooks(false).chain(of(Group::Use)).collect()),
        ("Look after profiles and tokens", of(Group::Manage).collect()),
        ("Hooks, which programs run by themselves once they are set up", hooks(true).collect()),
    ]
}

/// Returns the help of ycred itself.
fn overview(detail: Detail) -> String {
    let groups = groups();
    let names = groups.iter().flat_map(|(_, commands)| commands.iter().map(|(name, _)| name.len()));
    let width = names.max().unwrap_or_default();
    let mut text = format!("{}\n\nUsage: ycred COMMAND [ARGUMENTS]\n", env!("CARGO_PKG_DESCRIPTION"));
    for (heading, commands) in &groups {
        let _ = writeln!(text, "\n{heading}:");
        for (name, about) in commands {
            let _ = writeln!(text, "  {name:width$}  {about}");
        }
    }
    let options = clap::Command::new("ycred").disable_help_flag(true).help_template("{options}");
    let options = options.args(FLAGS.iter().map(argument)).render_help().to_string();
    let _ = writeln!(text, "\nFlags of hooks, and of commands that use a profile:\n{}", options.trim_end());
    if detail == Detail::Long {
        text.push_str(
            "\nExamples:\n  ycred init prod --key-file key.json\n      create the profile `prod` for a service account\n  \
             ycred token\n      print the token of the default profile\n",
        );
    }
    text.push_str(
        "\nA command in detail, with examples: `ycred COMMAND --help`\nA topic: `ycred help TOPIC`, where TOPIC is ",
    );
    let topics: Vec<&str> = TOPICS.iter().map(|topic| topic.name).collect();
    let (last, others) = topics.split_last().expect("there are topics");
    let _ = writeln!(text, "{} or {last}", others.join(", "));
    if let Some(url) = topics::DOCUMENTATION {
        let _ = writeln!(text, "Documentation: {url}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed_names() -> impl Iterator<Item = &'static str> {
        let commands = COMMANDS.iter().map(|command| command.name);
        commands.chain(HOOKS.iter().map(|hook| hook.name))
    }

    #[test]
    fn every_command_is_in_one_group_and_has_two_examples_that_call_it() {
        let listed: Vec<&str> =
            groups().iter().flat_map(|(_, commands)| commands.iter().map(|(name, _)| *name)).collect();
        for name in listed_names() {
            assert_eq!(listed.iter().filter(|other| **other == name).count(), 1, "{name}");
            let examples = examples(name);
            assert!(examples.len() >= 2, "{name} has fewer than two examples");
            for example in examples {
                assert!(example.call.contains("ycred"), "{name}: {}", example.call);
                assert!(example.about.len() <= 80 && !example.about.ends_with('.'), "{name}: {}", example.about);
            }
        }
    }

    #[test]
    fn short_help_has_no_examples_and_global_flags_are_described_once() {
        for name in listed_names().chain(["install"]) {
            let (short, long) = (help(name, Detail::Short), help(name, Detail::Long));
            assert!(!short.contains("Examples:") && long.contains("Examples:\n  "), "{name}: {long}");
            for text in [&short, &long] {
                assert!(!text.contains("--force-refresh  ") && text.contains("Common flags"), "{text}");
                assert!(text.contains(&format!("Usage: ycred {name}")), "{text}");
            }
            assert!(short.lines().count() < long.lines().count(), "{name}");
        }
        let overview = overview(Detail::Short);
        for flag in FLAGS {
            assert_eq!(
                overview.matches(&format!("--{}", flag.long)).count(),
                1 + usize::from(flag.long == "help"),
                "{}",
                flag.long
            );
        }
    }
}
