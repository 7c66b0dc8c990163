//! `init`: creates a profile, fetches a token with it, and prints the account.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use clap::{Arg, ArgAction};

use crate::base::clock::human;
use crate::base::error::{Error, Result, clean};
use crate::base::mask;
use crate::base::secret::Secret;
use crate::commands::command::{Command, CommandCall, Group};
use crate::commands::login;
use crate::commands::login::flow;
use crate::commands::profile_files;
use crate::disk::places::Places;
use crate::disk::{places, store};
use crate::process::flags::Example;
use crate::process::{Outcome, Reply};
use crate::profile::find::{self, FoundProfile, check_name};
use crate::profile::keys::COMMON_KEYS;
use crate::profile::text::{alias, setting};
use crate::profile::{Profile, ProfileRef};
use crate::session::Session;
use crate::sources;
use crate::sources::SOURCES;
use crate::sources::source::{Key, Source};
use crate::system;

pub const COMMAND: Command = Command {
    group: Group::SetUp,
    examples: &[
        Example {
            call: "ycred init prod --key-file key.json",
            about: "create the profile `prod` for a service account with an authorized key",
        },
        Example {
            call: "ycred init --metadata",
            about: "create a profile for the service account of this virtual machine",
        },
    ],
    ..Command::new("init", "create a profile and verify it by fetching a token", arguments, run)
};

fn arguments(command: clap::Command) -> clap::Command {
    let name = Arg::new("name").value_name("PROFILE").help("name of the new profile [default: main]");
    let force = Arg::new("force").long("force").action(ArgAction::SetTrue).help("replace an existing profile");
    let source = Arg::new("source")
        .long("source")
        .value_name("SOURCE")
        .help("credential source [default: inferred from the other flags]");
    let source_command = Arg::new("source-command")
        .value_name("CMD")
        .last(true)
        .action(ArgAction::Append)
        .help("command for the source to run [e.g. -- yc iam create-token --format json]");
    // A source gets a switch, such as --metadata, unless a key has the same name.
    let switches = SOURCES.iter().filter(|source| !is_key(source.name)).map(|source| {
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
    command.arg(login::no_browser()).arg(name).arg(force).arg(source).args(switches).args(keys).arg(source_command)
}

/// Returns the profile keys that are flags of `init`: all of them, except those that are flags of every command.
fn keys() -> impl Iterator<Item = &'static Key> {
    let own = SOURCES.iter().flat_map(|source| source.keys);
    COMMON_KEYS.iter().chain(own).filter(|key| !crate::process::flags::FLAGS.iter().any(|flag| flag.long == key.name))
}

/// Returns true if a flag for a profile key has this name.
fn is_key(name: &str) -> bool {
    keys().any(|key| key.name == name)
}

fn run(call: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    // `--profile` works here as in other commands, but `check_name` rejects a path.
    let by_flag = call.options.profile.as_ref().map(|name| name.to_string_lossy().into_owned());
    let name = match (call.value("name"), by_flag.as_deref()) {
        (Some(name), Some(other)) if name != other => {
            return Err(Error::usage(format!("two different profiles given: {name} and --profile {other}"))
                .hint(format!("omit --profile {other}")));
        }
        (name, other) => name.or(other),
    };
    let is_named = name.is_some();
    let name = name.unwrap_or("main");
    check_name(name)?;
    let directory = profile_files::directory(session)?;
    let path = directory.join(format!("{name}.toml"));
    let overwrite = call.matches.get_flag("force");
    if !overwrite && path.symlink_metadata().is_ok() {
        return Err(
            Error::usage(format!("{}: profile already exists", path.display())).hint(hint_for_existing(name, session))
        );
    }
    let text = profile_text(call, session)?;
    // Parse the profile and read its key file before writing anything.
    let unwritten = |error: Error| error.context("profile not created");
    let profile = Profile::from_text(name, &path, &text, session.environment, session.places).map_err(unwritten)?;
    let account = profile.open().and_then(|grant| grant.account()).map_err(unwritten)?;
    let lock = profile_files::lock(directory, session)?;
    let default = default_alias(name, is_named, session.places);
    let default_path = directory.join("default.toml");
    let write = |path: &Path, text: &str, overwrite| {
        store::write_config(path, text.as_bytes(), overwrite).map_err(|error| {
            Error::profile(format!("{}: cannot write the profile", path.display()))
                .because(crate::base::error::describe(&error))
                .hint("set YCRED_CONFIG_DIR to a writable directory")
        })
    };
    // Before the new profile, so that the first one keeps serving all the time.
    if let Some(first) = default.as_ref().filter(|first| *first != name) {
        write(&default_path, &alias(first), false)?;
    }
    write(&path, &text, overwrite)?;
    if default.as_deref() == Some(name) {
        write(&default_path, &alias(name), false)?;
    }
    drop(lock);
    // Source `login` needs a person, so log in while one is at the terminal.
    let login_report = match profile.source.needs_login {
        true => {
            Some(login::log_in(&profile, call, call.options.timeout.unwrap_or(flow::LOGIN_TIMEOUT), session).map_err(
                |error| {
                    let hint = error.hint_text().map(|hint| format!("{hint}; then run ")).unwrap_or_default();
                    let next = if hint.is_empty() { "to try again, run " } else { &hint };
                    error
                        .context(format!("{}: profile created, but the login failed", path.display()))
                        .replace_hint(format!("{next}`ycred login {name}`"))
                },
            )?)
        }
        false => None,
    };
    let obtained = session
        .obtain(&profile, &call.options, Duration::ZERO)
        .map_err(|error| error.context(format!("{}: profile created, but cannot get a token", path.display())))?;
    let credential = obtained.credential;
    let status = match (login_report, credential.assumed) {
        (Some(report), _) => report,
        (None, true) => format!("{account}; got a token"),
        (None, false) => {
            let left = human(credential.left(session.clock.now()));
            format!("{account}; got a token, valid for {left}")
        }
    };
    let mut report = format!("{}: {status}\n", clean(&path.display().to_string()));
    if let Some(default) = default {
        let path = clean(&default_path.display().to_string());
        let _ = match default == name {
            true => writeln!(report, "{path}: the default profile is now {name}"),
            false => writeln!(report, "{path}: the default profile is still {default}; to change it: ycred use {name}"),
        };
    }
    Ok(Outcome::reply(Reply::text(report)))
}

/// Says how to go on with a profile that exists already, such as after a login that failed.
fn hint_for_existing(name: &str, session: &Session<'_>) -> String {
    let existing = session.profile(&ProfileRef::Name { by: "init", name: name.to_owned() });
    let next = match existing {
        Ok(profile) if profile.source.needs_login => format!("to log in with it, run `ycred login {name}`"),
        Ok(_) => format!("to use it, run `ycred token --profile {name}`"),
        Err(_) => "choose another name".to_owned(),
    };
    format!("{next}, or pass --force to replace it")
}

/// Returns the profile of which `default.toml` must become an alias, if it must.
///
/// A profile that serves as the only one keeps serving when a second one is created. A profile that is created without a
/// name becomes the default if no default exists.
fn default_alias(name: &str, is_named: bool, places: &Places) -> Option<String> {
    match find::without_name(places) {
        Ok(FoundProfile::Only { name: first, .. }) => (first != name).then_some(first),
        Ok(FoundProfile::Nothing | FoundProfile::Several(_)) => (!is_named).then(|| name.to_owned()),
        Ok(FoundProfile::Default(_)) | Err(_) => None,
    }
}

/// Builds the content of the profile's file from the flags.
fn profile_text(call: &CommandCall, session: &Session<'_>) -> Result<String> {
    let mut values: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    for key in keys() {
        let given: Vec<String> = call.matches.get_many::<String>(key.name).into_iter().flatten().cloned().collect();
        if !given.is_empty() {
            values.insert(key.name, given);
        }
    }
    let source = choose_source(call, &values)?;
    let command: Vec<String> =
        call.matches.get_many::<String>("source-command").into_iter().flatten().cloned().collect();
    if !command.is_empty() {
        let key = source
            .keys
            .iter()
            .find(|key| key.value == "COMMAND")
            .ok_or_else(|| Error::usage(format!("source \"{}\" doesn't run a command", source.name)))?;
        values.insert(key.name, command);
    }
    for (key, given) in &values {
        // A command may need arguments that only look like secrets. Its first word is a program.
        let is_command = keys().any(|known| known.name == *key && known.value == "COMMAND");
        let checked = &given[..if is_command { 1 } else { given.len() }];
        let is_path = |text: &String| !text.contains(['{', '"', '\n']) || Path::new(text).exists();
        if checked.iter().any(|text| mask::looks_like_secret(text) || is_command && !is_path(text)) {
            checked.iter().for_each(|text| drop(Secret::new(text.clone())));
            return Err(Error::usage(format!("--{key}: looks like a secret, so it is not shown and not written"))
                .hint("put the secret into a file or a variable, and name that in the profile"));
        }
    }
    let mut text = String::new();
    setting(&mut text, "source", &[source.name], false);
    let order = source.keys.iter().chain(COMMON_KEYS);
    for (key, mut given) in order.filter_map(|key| values.remove(key.name).map(|given| (key, given))) {
        if key.value == "FILE" {
            given = given.iter().map(|path| absolute(key.name, path, session)).collect::<Result<_>>()?;
        }
        let is_list = given.len() > 1 || matches!(key.name, "hosts" | "command-env") || key.value == "COMMAND";
        setting(&mut text, key.name, &given, is_list);
    }
    match values.keys().next() {
        Some(key) => Err(Error::usage(format!("--{key} cannot be used with source \"{}\"", source.name))),
        None => Ok(text),
    }
}

/// Returns the source that the command line selects. The first of these wins: `--source`, the switch of a source, a key
/// that belongs to a source, a command after `--`.
fn choose_source(call: &CommandCall, values: &BTreeMap<&'static str, Vec<String>>) -> Result<&'static Source> {
    if let Some(name) = call.value("source") {
        let names: Vec<&str> = SOURCES.iter().map(|source| source.name).collect();
        return sources::named(name)
            .ok_or_else(|| Error::usage(format!("--source: \"{name}\" is not one of {}", names.join(", "))));
    }
    let has_switch = |source: &&&Source| !is_key(source.name) && call.matches.get_flag(source.name);
    let has_key = |source: &&&Source| source.keys.iter().any(|key| values.contains_key(key.name));
    // A command after `--` selects source `command`, the only one that has a key of its own name.
    let runs_command = |source: &&&Source| {
        call.matches.contains_id("source-command") && source.keys.iter().any(|key| key.name == source.name)
    };
    let matching = [SOURCES.iter().find(has_switch), SOURCES.iter().find(has_key), SOURCES.iter().find(runs_command)];
    matching.into_iter().flatten().next().copied().ok_or_else(|| {
        Error::usage("no credential source given").hint(
            "pass --key-file FILE (a service account's key) or --metadata (on a VM); `ycred init --help` lists all \
             sources",
        )
    })
}

/// Returns true if a path exists and is neither a file nor a directory, such as a named pipe.
fn is_pipe(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

/// Makes a path absolute. On the command line it is relative to the current directory, but in a profile it would be
/// relative to the profile.
fn absolute(key: &str, path: &str, session: &Session<'_>) -> Result<String> {
    if !mask::is_path(path) && !Path::new(path).exists() {
        let _masked = Secret::new(path.to_owned());
        return Err(Error::usage(format!("--{key}: not the path of a file; it may be a secret, so it is not shown"))
            .hint(format!("pass --{key} with the path of a file; if it has no slash, write ./NAME")));
    }
    // The profile would name the standard input or a pipe of this run.
    if system::files::is_of_one_process(Path::new(path)) || is_pipe(Path::new(path)) {
        return Err(Error::usage(format!(
            "--{key}: {path} is gone after this run, but the profile reads the file each time"
        ))
        .hint(format!("save it as a file first, for example: install -m 600 {path} key.json")));
    }
    places::absolute(Path::new(path), session.places.home.as_deref())
        .map_err(|why| Error::usage(format!("{path}: {why}")))
}
