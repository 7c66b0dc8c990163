//! `init`: writes a profile, fetches a token with it, and says whose it is.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use clap::{Arg, ArgAction};

use crate::base::clock::human;
use crate::base::error::{Error, Result, clean};
use crate::commands::command::{Command, CommandCall};
use crate::commands::login;
use crate::commands::login::flow;
use crate::disk::{places, store};
use crate::process::{Outcome, Reply};
use crate::profile::Profile;
use crate::profile::find::check_name;
use crate::profile::keys::COMMON_KEYS;
use crate::profile::text::setting;
use crate::session::Session;
use crate::sources;
use crate::sources::SOURCES;
use crate::sources::source::{Key, Source};

pub const COMMAND: Command =
    Command::new("init", "write a profile, fetch a token with it, say whose it is", arguments, run);

fn arguments(command: clap::Command) -> clap::Command {
    let named = Arg::new("name").value_name("PROFILE").help("the profile's name; default: default");
    let force = Arg::new("force").long("force").action(ArgAction::SetTrue).help("replace a profile that is there");
    let source = Arg::new("source")
        .long("source")
        .value_name("SOURCE")
        .help("where tokens come from; most follow from their own flag");
    let words = Arg::new("words")
        .value_name("CMD")
        .last(true)
        .action(ArgAction::Append)
        .help("the command of a source that runs one, such as: -- yc iam create-token");
    // A source without a key of its own to name it by has a switch: --metadata.
    let switches = SOURCES.iter().filter(|source| !taken(source.name)).map(|source| {
        Arg::new(source.name)
            .long(source.name)
            .action(ArgAction::SetTrue)
            .help(format!("source = \"{}\": {}", source.name, source.about))
    });
    let keys = keys().map(|key| {
        Arg::new(key.name)
            .long(key.name)
            .value_name(key.value)
            .action(ArgAction::Append)
            .help(key.about)
            .allow_hyphen_values(true)
    });
    command.arg(login::no_browser()).arg(named).arg(force).arg(source).args(switches).args(keys).arg(words)
}

/// Every key of the schema is a flag, except those that are flags of every command.
fn keys() -> impl Iterator<Item = &'static Key> {
    let own = SOURCES.iter().flat_map(|source| source.keys);
    COMMON_KEYS.iter().chain(own).filter(|key| !crate::process::flags::FLAGS.iter().any(|flag| flag.long == key.name))
}

fn taken(name: &str) -> bool {
    keys().any(|key| key.name == name)
}

fn run(call: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    // `--profile` names a profile everywhere else, so here too; only a path is not what init writes.
    let by_flag = call.options.profile.as_ref().map(|name| name.to_string_lossy().into_owned());
    let name = match (call.text("name"), by_flag.as_deref()) {
        (Some(name), Some(other)) if name != other => {
            return Err(Error::usage(format!("two names are given: {name} and --profile {other}")).hint("give one"));
        }
        (name, other) => name.or(other).unwrap_or("default"),
    };
    check_name(name)?;
    let directory = session.places.config.as_ref().ok_or_else(|| {
        Error::profile("there is no home directory to keep a profile in").hint("set YCRED_CONFIG_DIR")
    })?;
    let path = directory.join(format!("{name}.toml"));
    let overwrite = call.matches.get_flag("force");
    if !overwrite && path.symlink_metadata().is_ok() {
        return Err(Error::usage(format!("{}: there is such a profile already", path.display()))
            .hint("choose another name, or replace it with --force"));
    }
    let text = write(call, session)?;
    // Read back before it is written, so that what is written is right, and its key file can be read.
    let unwritten = |error: Error| error.context("nothing is written");
    let profile = Profile::from_text(name, &path, &text, session.environment, session.places).map_err(unwritten)?;
    let account = profile.open().and_then(|grant| grant.account()).map_err(unwritten)?;
    store::write_config(&path, text.as_bytes(), overwrite).map_err(|error| {
        Error::profile(format!("{}: cannot be written", path.display()))
            .because(crate::base::error::describe(&error))
            .hint("set YCRED_CONFIG_DIR to a directory of yours")
    })?;
    // The one source that needs a person, who is there now.
    let logged_in =
        match profile.source.needs_person {
            true => Some(login::log_in(&profile, call, flow::PATIENCE, session).map_err(|error| {
                error.context(format!("{} is written, but nobody is logged in yet", path.display()))
            })?),
            false => None,
        };
    let obtained = session
        .obtain(&profile, &call.options, Duration::ZERO)
        .map_err(|error| error.context(format!("{} is written, but gives no token yet", path.display())))?;
    let credential = obtained.credential;
    let until = match credential.assumed {
        _ if logged_in.is_some() => logged_in.unwrap_or_default(),
        true => "there is a token".to_owned(),
        false => format!("token for another {}", human(credential.left(session.clock.now()).longer)),
    };
    Ok(Outcome::reply(Reply::text(format!("{}: {account}; {until}\n", clean(&path.display().to_string())))))
}

/// The profile's text, from the flags.
fn write(call: &CommandCall, session: &Session<'_>) -> Result<String> {
    let mut values: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    for key in keys() {
        let given: Vec<String> = call.matches.get_many::<String>(key.name).into_iter().flatten().cloned().collect();
        if !given.is_empty() {
            values.insert(key.name, given);
        }
    }
    let source = choose_source(call, &values)?;
    let words: Vec<String> = call.matches.get_many::<String>("words").into_iter().flatten().cloned().collect();
    if !words.is_empty() {
        let key = source
            .keys
            .iter()
            .find(|key| key.value == "COMMAND")
            .ok_or_else(|| Error::usage(format!("source \"{}\" runs no command", source.name)))?;
        values.insert(key.name, words);
    }
    for (flag, length) in [("min-ttl", call.options.min_ttl), ("timeout", call.options.timeout)] {
        if let Some(length) = length {
            values.insert(flag, vec![format!("{}s", length.as_secs())]);
        }
    }
    let mut text = String::new();
    setting(&mut text, "source", &[source.name], false);
    let order = source.keys.iter().chain(COMMON_KEYS);
    for (key, mut given) in order.filter_map(|key| values.remove(key.name).map(|given| (key, given))) {
        if key.value == "FILE" {
            given = given.iter().map(|path| absolute(path, session)).collect::<Result<_>>()?;
        }
        let many = given.len() > 1 || matches!(key.value, "COMMAND" | "HOST") && key.name != "endpoint";
        setting(&mut text, key.name, &given, many);
    }
    match values.keys().next() {
        Some(stray) => Err(Error::usage(format!("--{stray} is not for source \"{}\"", source.name))),
        None => Ok(text),
    }
}

/// By `--source`, by its switch, or by the one key that only it has.
fn choose_source(call: &CommandCall, values: &BTreeMap<&'static str, Vec<String>>) -> Result<&'static Source> {
    if let Some(name) = call.text("source") {
        let names: Vec<&str> = SOURCES.iter().map(|source| source.name).collect();
        return sources::named(name)
            .ok_or_else(|| Error::usage(format!("--source: \"{name}\" is not one of {}", names.join(", "))));
    }
    // A command after `--` is for the source that is named after it.
    let named_command =
        |source: &&&Source| call.matches.contains_id("words") && source.keys.iter().any(|key| key.name == source.name);
    let switched = |source: &&&Source| !taken(source.name) && call.matches.get_flag(source.name);
    let keyed = |source: &&&Source| source.keys.iter().any(|key| values.contains_key(key.name));
    let found = [SOURCES.iter().find(switched), SOURCES.iter().find(keyed), SOURCES.iter().find(named_command)];
    found.into_iter().flatten().next().copied().ok_or_else(|| {
        Error::usage("where tokens are to come from is not said").hint(
            "ycred init --key-file FILE (a service account's key), or --metadata (on a VM); `ycred init --help` lists all",
        )
    })
}

/// A path on the command line is relative to where it was typed, one in a profile to the profile.
fn absolute(path: &str, session: &Session<'_>) -> Result<String> {
    places::absolute(Path::new(path), session.places.home.as_deref())
        .map_err(|why| Error::usage(format!("{path}: {why}")))
}
