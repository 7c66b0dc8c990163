//! `remove`: deletes a profile with its aliases, its login and its cached tokens. Key files stay.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use clap::Arg;

use crate::base::clock::Deadline;
use crate::base::error::{Error, Result, clean};
use crate::base::identity::Identity;
use crate::commands::command::{Command, CommandCall};
use crate::commands::import::KEYS;
use crate::commands::logout::Deletion;
use crate::commands::profile_files::{self, Unnamed};
use crate::disk::store;
use crate::obtain::Grant;
use crate::process::flags::Example;
use crate::process::{Done, Outcome, Reply};
use crate::profile::find::{self, check_name};
use crate::profile::{Profile, ProfileRef};
use crate::session::Session;
use crate::system::access;

pub const COMMAND: Command = Command {
    examples: &[
        Example { call: "ycred remove test", about: "delete the profile `test`, its aliases, login and cached tokens" },
        Example {
            call: "ycred logout test --revoke && ycred remove test",
            about: "first revoke its tokens in the cloud",
        },
    ],
    ..Command::new("remove", "delete a profile with its login and cached tokens", arguments, run)
};

fn arguments(command: clap::Command) -> clap::Command {
    command.arg(Arg::new("name").value_name("PROFILE").required(true).help("name of the profile")).after_help(
        "Aliases of the profile are deleted too. Key files stay, and so do tokens that another profile shares. In the\n\
         cloud, tokens stay valid: see `ycred logout --revoke`.",
    )
}

fn run(call: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    let name = call.value("name").unwrap_or_default();
    check_name(name)?;
    let directory = profile_files::directory(session)?;
    let _lock = profile_files::lock(directory, session)?;
    let path = profile_files::of_user(name, directory, session)?;
    let before = Unnamed::of(session);
    let mut text = String::new();
    let mut mentions = String::new();
    let mut failure = None;
    if let Ok(Some(target)) = find::alias_target(&path) {
        remove_file(&path)?;
        let _ = writeln!(text, "{}: removed the alias of {target}", shown(&path));
    } else {
        // A broken profile can be removed too. Its tokens are unknown then.
        let profile = session.profile(&ProfileRef::Name { by: COMMAND.name, name: name.to_owned() });
        let grant = profile.as_ref().map_err(Error::clone).and_then(Profile::open);
        let others = OtherProfiles::of(name, session);
        let deadline = Deadline::of_run(call.options.timeout.unwrap_or(crate::profile::DEFAULT_TIMEOUT));
        let is_shared = |identity: &Identity| others.has(identity);
        let deletion = profile.as_ref().ok().map(|profile| Deletion {
            profile,
            deadline,
            is_revoked_later: false,
            advice: "",
            hint: "a token that is stored now is not used any more, and expires by itself",
            is_shared: &is_shared,
            session,
        });
        let keys = own_keys(profile.as_ref().ok(), name, &directory.join(KEYS));
        // The login first: if this fails or is interrupted, the profile is still there for another attempt.
        if let Some(deletion) = &deletion
            && !others.has_login(deletion.profile)
        {
            deletion.end_login(&mut text).map_err(|error| error.context("profile not removed"))?;
        }
        for alias in profile_files::aliases(name, &path, directory, session) {
            remove_file(&alias.path)?;
            let _ = writeln!(text, "{}: removed the alias of {name}", shown(&alias.path));
            mentions.push_str(&profile_files::mentions(&alias.name, &alias.path, "NAME", session));
        }
        let target = path.is_symlink().then(|| std::fs::read_link(&path).ok()).flatten();
        remove_file(&path)?;
        let _ = match target {
            Some(target) => {
                writeln!(text, "{}: removed the link; {} stays", shown(&path), clean(&target.display().to_string()))
            }
            None => writeln!(text, "{}: removed", shown(&path)),
        };
        match (&deletion, grant) {
            (Some(deletion), Ok(grant)) => failure = deletion.delete_tokens(grant.as_ref(), &mut text).err(),
            // The reason is about lines of the file that is gone now.
            (_, Err(_)) => {
                text.push_str("its cached tokens, if any, were not deleted: ycred cannot tell which they are, because the profile could not be used here; they expire by themselves\n")
            }
            (None, Ok(_)) => {}
        }
        for key in keys.iter().filter(|key| !others.files.contains(*key) && key.exists()) {
            let _ =
                writeln!(text, "{}: the key stays; to delete it: {}", shown(key), clean(&access::remove_command(key)));
        }
    }
    text.push_str(&Unnamed::of(session).change_since(&before, session));
    text.push_str(&profile_files::mentions(name, &path, "NAME", session));
    text.push_str(&mentions);
    let code = failure.as_ref().map_or(0, |error| error.kind.exit_code());
    let stderr = failure.map(|error| error.render()).unwrap_or_default();
    Ok(Outcome::Done(Done { reply: Reply { code, ..Reply::text(text) }, stderr, ..Done::default() }))
}

fn shown(path: &Path) -> String {
    clean(&path.display().to_string())
}

fn remove_file(path: &Path) -> Result<()> {
    store::remove(path)
        .map_err(|error: io::Error| Error::of_disk(format!("{}: cannot be removed", path.display()), &error))
}

/// Returns the files with secrets that `import` may have written for a profile. A broken profile does not say which it reads.
fn own_keys(profile: Option<&Profile>, name: &str, directory: &Path) -> BTreeSet<PathBuf> {
    let named = profile.map(files_of).unwrap_or_default().into_iter().filter(|path| path.starts_with(directory));
    named.chain(["json", "oauth-token"].map(|ending| directory.join(format!("{name}.{ending}")))).collect()
}

/// Returns the files that a profile reads.
fn files_of(profile: &Profile) -> Vec<PathBuf> {
    let keys = profile.source.keys.iter().filter(|key| key.value == "FILE");
    keys.filter_map(|key| profile.settings.path(key.name).ok().flatten()).collect()
}

/// What the other profiles get tokens with.
struct OtherProfiles {
    identities: BTreeSet<String>,
    /// The markers of their logins.
    logins: BTreeSet<PathBuf>,
    files: BTreeSet<PathBuf>,
}

impl OtherProfiles {
    fn of(name: &str, session: &Session<'_>) -> Self {
        let (mut identities, mut logins, mut files) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for other in find::names(session.places) {
            let reference = ProfileRef::Name { by: COMMAND.name, name: other };
            let now = session.clock.now();
            let profile = Profile::load(&reference, session.environment, session.places, now);
            // An alias leads to the profile that is removed, or to another one that is in the list itself.
            let Ok(profile) = profile.map(|profile| (profile.name.as_deref() != Some(name)).then_some(profile)) else {
                continue;
            };
            let Some(profile) = profile else { continue };
            logins.extend(marker_of(&profile));
            files.extend(files_of(&profile));
            let grant = profile.open();
            let mut link: Option<&dyn Grant> = grant.as_ref().ok().map(|grant| grant.as_ref());
            while let Some(grant) = link {
                identities.insert(grant.identity().name());
                link = grant.inner();
            }
        }
        Self { identities, logins, files }
    }

    fn has(&self, identity: &Identity) -> bool {
        self.identities.contains(&identity.name())
    }

    fn has_login(&self, profile: &Profile) -> bool {
        marker_of(profile).is_some_and(|marker| self.logins.contains(&marker))
    }
}

fn marker_of(profile: &Profile) -> Option<PathBuf> {
    Some(profile.login().ok()??.store.marker())
}
