//! `import`: creates profiles from yc's configuration or from the environment. It prints a preview, and writes the
//! files if `--write` is given.
//!
//! It reads yc's files, never writes them, and doesn't touch yc's token cache. Facts: docs/reference/yandex-cloud.md
//! 10.2 and 12. Where those are incomplete, parsing is lenient, and `-v` lists the settings that it ignores.

pub mod account;
mod draft;
mod environment;
mod plan;
pub mod yaml;
mod yc;

use std::path::Path;

use clap::{Arg, ArgAction};

use crate::base::error::{Error, Result};
use crate::commands::command::{Command, CommandCall, Group};
pub use crate::commands::import::draft::KEYS;
use crate::commands::import::draft::Selection;
use crate::commands::import::plan::Plan;
use crate::commands::profile_lock;
use crate::disk::store;
use crate::process::flags::Example;
use crate::process::{Outcome, Reply};
use crate::session::Session;

pub const COMMAND: Command = Command {
    group: Group::SetUp,
    examples: &[
        Example { call: "ycred import", about: "preview profiles made from the profiles of yc" },
        Example { call: "ycred import prod=main --write", about: "create the profile `main` from yc's profile `prod`" },
    ],
    ..Command::new("import", "create profiles from yc's configuration or the environment", arguments, run)
};

fn arguments(command: clap::Command) -> clap::Command {
    let profiles = Arg::new("profiles")
        .value_name("PROFILE[=NAME]")
        .action(ArgAction::Append)
        .help("yc profiles to import, optionally renamed [default: all]");
    let from = Arg::new("from")
        .long("from")
        .value_name("FILE")
        .help("yc's config.yaml or credhelper-config.yaml [default: ~/.config/yandex-cloud/config.yaml]");
    let environment = Arg::new("environment")
        .long("environment")
        .action(ArgAction::SetTrue)
        .conflicts_with("from")
        .help("create a profile from the YC_* and YCRED_* variables");
    let write =
        Arg::new("write").long("write").action(ArgAction::SetTrue).help("write the files [default: only preview them]");
    let dry_run = Arg::new("dry-run")
        .long("dry-run")
        .action(ArgAction::SetTrue)
        .conflicts_with("write")
        .help("only preview the files, as without --write");
    let force = Arg::new("force").long("force").action(ArgAction::SetTrue).help("replace existing profiles");
    command
        .args([profiles, from, environment, write, dry_run, force])
        .after_help("With --environment, PROFILE is the name of the new profile [default: main].")
}

fn run(call: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    if call.options.profile.is_some() {
        return Err(Error::usage("cannot use --profile with import")
            .hint("name yc's profile as an argument: ycred import PROFILE, or PROFILE=NAME to rename it"));
    }
    let directory = session.places.config.as_ref().ok_or_else(|| {
        Error::profile("cannot find the configuration directory: no home directory").hint("set YCRED_CONFIG_DIR")
    })?;
    let arguments = call.matches.get_many::<String>("profiles").into_iter().flatten().map(String::as_str);
    let selections = arguments.map(Selection::parse).collect::<Result<Vec<_>>>()?;
    let plan = || {
        let import_source = if call.matches.get_flag("environment") {
            environment::from_environment(&selections, session)?
        } else {
            yc::from_yc(call.value("from").map(Path::new), &selections, session)?
        };
        Plan::of(import_source, &selections, call.matches.get_flag("force"), directory, session)
    };
    let text = if call.matches.get_flag("write") {
        // The lock needs a directory, and an import that fails leaves none.
        if !directory.exists() && !plan()?.files.is_empty() {
            // What is wrong is reported when the first file is written.
            let _ = store::make_private(directory);
        }
        // Another import may have written a part of its files, of which one would seem to be the only profile.
        let _lock = profile_lock::lock(directory, session)?;
        let plan = plan()?;
        plan.write()?;
        let mut text =
            plan.report("written", (!plan.files.is_empty()).then_some("To see all profiles, run `ycred list`."));
        if !plan.files.is_empty() || plan.is_only_docker {
            text.extend(plan.next_commands(session).into_iter().map(|command| format!("next: {command}\n")));
        }
        text
    } else {
        let plan = plan()?;
        let mut text = plan.report(
            "would be written",
            (!plan.files.is_empty()).then_some("Nothing written. Run again with --write to apply."),
        );
        if plan.is_only_docker {
            text.extend(plan.next_commands(session).into_iter().map(|command| format!("next: {command}\n")));
        }
        text
    };
    Ok(Outcome::reply(Reply::text(text)))
}
