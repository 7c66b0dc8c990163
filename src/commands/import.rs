//! `import`: profiles out of what yc has in its configuration, or out of the environment. Says what it would write;
//! writes when told to.
//!
//! yc's files are read, never written, and its token cache is not touched. Facts: yandex-cloud.md 10.2 and 12; what is not
//! known of them is read leniently, and what is not understood is told at `-v`.

mod draft;
mod environment;
mod plan;
pub mod yaml;
mod yc;

use std::path::Path;

use clap::{Arg, ArgAction};

use crate::base::error::{Error, Result};
use crate::commands::command::{Command, CommandCall};
use crate::commands::import::draft::Selection;
use crate::commands::import::plan::Plan;
use crate::process::{Outcome, Reply};
use crate::session::Session;

pub const COMMAND: Command =
    Command::new("import", "make profiles from yc's configuration or from the environment", arguments, run);

fn arguments(command: clap::Command) -> clap::Command {
    let names = Arg::new("profiles")
        .value_name("PROFILE[=NAME]")
        .action(ArgAction::Append)
        .help("only these profiles of yc's, perhaps under another name; with --environment the new profile's name");
    let from = Arg::new("from")
        .long("from")
        .value_name("FILE")
        .help("yc's config.yaml or credhelper-config.yaml; default: ~/.config/yandex-cloud/config.yaml");
    let environment = Arg::new("environment")
        .long("environment")
        .action(ArgAction::SetTrue)
        .conflicts_with("from")
        .help("make a profile from the variables that serve where there is no profile");
    let write = Arg::new("write")
        .long("write")
        .action(ArgAction::SetTrue)
        .help("write the files; without it they are only shown");
    let force = Arg::new("force").long("force").action(ArgAction::SetTrue).help("replace profiles that are there");
    command.args([names, from, environment, write, force])
}

fn run(call: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    if call.options.profile.is_some() {
        return Err(Error::usage("import takes the profiles' names as they are, without --profile")
            .hint("ycred import NAME, or NAME=OTHER to call it otherwise"));
    }
    let directory = session.places.config.as_ref().ok_or_else(|| {
        Error::profile("there is no home directory to keep a profile in").hint("set YCRED_CONFIG_DIR")
    })?;
    let wanted = call.matches.get_many::<String>("profiles").into_iter().flatten().map(String::as_str);
    let wanted = wanted.map(Selection::read).collect::<Result<Vec<_>>>()?;
    let found = if call.matches.get_flag("environment") {
        environment::from_environment(&wanted, session)?
    } else {
        yc::from_yc(call.value("from").map(Path::new), &wanted, session)?
    };
    let force = call.matches.get_flag("force");
    let plan = Plan::of(found, &wanted, force, directory, session)?;
    let text = if call.matches.get_flag("write") {
        plan.write()?;
        plan.report("written", (!plan.files.is_empty()).then_some("what there is now: ycred list"))
    } else {
        let more = (!plan.files.is_empty()).then_some("nothing is written yet: the same with --write does it");
        plan.report("would be written", more)
    };
    Ok(Outcome::reply(Reply::text(text)))
}
