//! `rename`: gives a profile another name. Its aliases follow, and its login and cached tokens stay.
//!
//! At every moment, each name of the profile leads to it: first it gets the new name in addition, then its aliases change,
//! then the old name goes.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use clap::Arg;

use crate::base::error::{Error, Result, clean};
use crate::base::shell;
use crate::commands::command::{Command, CommandCall};
use crate::commands::profile_files::{self, Alias, Unnamed};
use crate::disk::store;
use crate::process::flags::Example;
use crate::process::{Outcome, Reply};
use crate::profile::find::{self, DEFAULT, check_name};
use crate::profile::text::alias;
use crate::session::Session;

pub const COMMAND: Command = Command {
    examples: &[
        Example { call: "ycred rename main prod", about: "rename the profile `main` to `prod`" },
        Example {
            call: "ycred rename default work",
            about: "name the default profile, and make `default` an alias of it",
        },
    ],
    ..Command::new("rename", "give a profile another name", arguments, run)
};

fn arguments(command: clap::Command) -> clap::Command {
    command
        .arg(Arg::new("name").value_name("PROFILE").required(true).help("name of the profile"))
        .arg(Arg::new("new-name").value_name("NEW-NAME").required(true).help("its new name"))
        .after_help(
            "Aliases of the profile, such as the default, follow. Clients that name the profile are listed, with the\n\
             commands that change them.",
        )
}

fn run(call: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    let (old, new) = (call.value("name").unwrap_or_default(), call.value("new-name").unwrap_or_default());
    check_name(old)?;
    check_name(new)?;
    let directory = profile_files::directory(session)?;
    let _lock = profile_files::lock(directory, session)?;
    let path = profile_files::of_user(old, directory, session)?;
    if old == new {
        return Err(Error::usage(format!("{old} has that name already")));
    }
    let target = find::alias_target(&path).ok().flatten();
    if let Some(target) = target.filter(|_| old == DEFAULT) {
        return Err(Error::usage(format!("{DEFAULT} is an alias of {target}"))
            .hint(format!("to rename the profile, run `ycred rename {target} {new}`")));
    }
    let taken = session.places.profile_candidates(new).into_iter().find(|path| path.symlink_metadata().is_ok());
    if let Some(taken) = taken {
        return Err(Error::usage(format!("{}: profile already exists", taken.display()))
            .hint(format!("choose another name, or remove that one first: ycred remove {new}")));
    }
    let aliases = profile_files::aliases(old, &path, directory, session);
    if let Some(link) = aliases.iter().find(|alias| alias.is_link) {
        let (path, name) = (&link.path, &link.name);
        let alias = shell::word(path);
        return Err(Error::profile(format!("{}: links to the file of {old}, and would lead nowhere", path.display()))
            .hint(format!(
                "replace the link by an alias first: ycred remove {name} && echo 'use = \"{old}\"' > {alias}"
            )));
    }
    let before = Unnamed::of(session);
    let new_path = directory.join(format!("{new}.toml"));
    let cannot = |error: io::Error| Error::of_disk(format!("{}: cannot be renamed", path.display()), &error);
    match (old == DEFAULT, aliases.is_empty()) {
        (true, _) => rename_default(&path, &new_path, new).map_err(cannot)?,
        (false, true) => store::rename_new(&path, &new_path).map_err(cannot)?,
        (false, false) => rename_with_aliases(&path, &new_path, (old, new), &aliases).map_err(cannot)?,
    }
    let shown = |path: &Path| clean(&path.display().to_string());
    let mut text = format!("{}: renamed to {new}\n", shown(&path));
    if old == DEFAULT {
        let _ = writeln!(text, "{}: an alias of {new} from now on", shown(&path));
    }
    for alias in &aliases {
        let _ = writeln!(text, "{}: an alias of {new} now", shown(&alias.path));
    }
    // The same profile is used, under its new name.
    let after = Unnamed::of(session);
    let is_same = match (&before, &after) {
        (Unnamed::Default(name) | Unnamed::Only(name), Unnamed::Default(now) | Unnamed::Only(now)) => {
            name == old && now == new
        }
        _ => false,
    };
    if !is_same {
        text.push_str(&after.change_since(&before, session));
    }
    text.push_str(&profile_files::mentions(old, &path, new, session));
    Ok(Outcome::reply(Reply::text(text)))
}

/// Names the profile in `default.toml`, and leaves an alias there.
fn rename_default(path: &Path, new_path: &Path, new: &str) -> io::Result<()> {
    match store::add_name(path, new_path) {
        Ok(()) => store::replace_name(path, alias(new).as_bytes()).inspect_err(|_| drop(store::remove(new_path))),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // A file system without hard links.
        Err(_) => {
            store::rename_new(path, new_path)?;
            store::write_config(path, alias(new).as_bytes(), false)
                .inspect_err(|_| drop(store::rename_new(new_path, path)))
        }
    }
}

/// Renames a profile and changes its aliases. On failure, everything is as before.
fn rename_with_aliases(path: &Path, new_path: &Path, names: (&str, &str), aliases: &[Alias]) -> io::Result<()> {
    let (old, new) = names;
    let has_both = match store::add_name(path, new_path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
        // A file system without hard links.
        Err(_) => store::rename_new(path, new_path).map(|()| false)?,
        Ok(()) => true,
    };
    let write = |at: &Alias, name: &str| store::write_config(&at.path, alias(name).as_bytes(), true);
    let undo = |changed: &[Alias]| {
        changed.iter().for_each(|at| drop(write(at, old)));
        drop(if has_both { store::remove(new_path) } else { store::rename_new(new_path, path) });
    };
    for (at, alias) in aliases.iter().enumerate() {
        write(alias, new).inspect_err(|_| undo(&aliases[..at]))?;
    }
    if has_both { store::remove(path).inspect_err(|_| undo(aliases)) } else { Ok(()) }
}
