//! `store`: the directories of cache records and logins, and their modes.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::base::environment::{YCRED_CACHE_DIR, YCRED_STATE_DIR};
use crate::base::error::describe;
use crate::cache;
use crate::commands::check::{Check, Examination, Finding, LOCAL_LIMIT, Verdict};
use crate::disk::{permission, probe, store};
use crate::sources::login::state;
use crate::system::{access, files, fixes, process};

pub const CHECK: Check = Check {
    id: "store",
    about: "the directories of tokens and logins: owner, mode, space, locks",
    parts: &["cache", "state"],
    limit: LOCAL_LIMIT,
    needs_network: false,
    run,
};

/// One of ycred's directories.
struct Place<'a> {
    part: &'static str,
    /// What it is for.
    what: &'static str,
    variable: &'static str,
    root: &'a Result<PathBuf, String>,
    /// The name of the directory below it that has the files.
    version: &'static str,
    /// True if nothing works without it.
    is_needed: bool,
}

/// Parts of paths that are copied to other machines.
const SYNCED: [&str; 6] = ["Dropbox", "OneDrive", "Google Drive", "Yandex.Disk", "iCloud Drive", "Mobile Documents"];

fn run(examination: &Examination) -> Vec<Finding> {
    let is_login = examination.profile().is_ok_and(|profile| profile.source.needs_login);
    let is_caching = examination.profile().is_ok_and(|profile| profile.is_caching);
    let places = [
        Place {
            part: "cache",
            what: "cache",
            variable: YCRED_CACHE_DIR,
            root: examination.places.cache.get(),
            version: cache::VERSION,
            is_needed: false,
        },
        Place {
            part: "state",
            what: "logins",
            variable: YCRED_STATE_DIR,
            root: &examination.places.state,
            version: state::VERSION,
            is_needed: is_login,
        },
    ];
    let mut findings: Vec<Finding> = places.iter().flat_map(|place| place.examine()).collect();
    if !is_caching && examination.profile().is_ok() {
        findings.push(Finding::ok("the profile keeps no tokens: cache = \"none\"").part("cache"));
    }
    findings
}

impl Place<'_> {
    fn bad(&self, what: String) -> Finding {
        let verdict = if self.is_needed { Verdict::Fail } else { Verdict::Warn };
        Finding { verdict, ..Finding::warn(format!("{}: {what}", self.what)) }.part(self.part)
    }

    fn examine(&self) -> Vec<Finding> {
        let root = match self.root {
            Ok(root) => root,
            Err(why) => {
                let fix = match why.contains(self.variable) && why.contains("absolute") {
                    true => fixes::unset(&[self.variable]),
                    false => fixes::set(self.variable, "/absolute/path/of/a/directory"),
                };
                return vec![self.bad(why.clone()).fix(fix)];
            }
        };
        let directory = root.join(self.version);
        let mut findings = Vec::new();
        for path in [root.as_path(), &directory] {
            findings.extend(self.examine_directory(path));
        }
        if !findings.is_empty() {
            return findings;
        }
        if let Some(part) = SYNCED.iter().find(|part| root.components().any(|it| it.as_os_str() == **part)) {
            let what = format!("{} is copied to other machines by {part}", root.display());
            let fix = format!("set {} to a directory outside of {part}", self.variable);
            return vec![self.bad(what).fix(fix)];
        }
        vec![self.try_out(&directory)]
    }

    /// Returns what is wrong with a directory that exists.
    fn examine_directory(&self, path: &Path) -> Option<Finding> {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => return None,
            Err(error) => {
                let fix = match fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_symlink()) {
                    true => fixes::remove(path),
                    false => format!("see what is there: {}", access::show_directory_command(path)),
                };
                return Some(self.bad(format!("{}: {}", path.display(), describe(&error))).fix(fix));
            }
        };
        if !metadata.is_dir() {
            let aside = path.with_extension("aside");
            return Some(self.bad(format!("{} is not a directory", path.display())).fix(fixes::rename(path, &aside)));
        }
        if !files::is_own(&metadata) {
            let (owner, user) = (files::owner(&metadata), process::effective_uid());
            return Some(
                self.bad(format!("{} belongs to user {owner}, not to {user}", path.display()))
                    .fix(fixes::make_own(path)),
            );
        }
        let mode = files::mode(&metadata);
        if mode & 0o700 != 0o700 {
            return Some(
                self.bad(format!("{} cannot be used by its owner (mode {mode:04o})", path.display()))
                    .fix(fixes::make_directory_private(path)),
            );
        }
        // ycred makes the directory with the files private itself, but others could replace that directory.
        if mode & 0o022 != 0 {
            return Some(
                self.bad(format!("{}: others can replace files there (mode {mode:04o})", path.display()))
                    .fix(fixes::make_directory_private(path)),
            );
        }
        // Where access does not show in a mode.
        if let Err(error) = access::refuse_open_directory(path) {
            return Some(self.bad(describe(&error)).fix(fixes::make_directory_private(path)));
        }
        let loose = loose_files(path);
        let first = loose.first()?;
        let commands: Vec<String> = loose.iter().map(|path| fixes::make_private(path)).collect();
        Some(
            self.bad(format!(
                "others can read {} files in {}, such as {}",
                loose.len(),
                path.display(),
                first.display()
            ))
            .fix(commands.join(" && ")),
        )
    }

    fn try_out(&self, directory: &Path) -> Finding {
        let shown = directory.display();
        if !directory.is_dir() {
            return match permission::check_creatable(directory) {
                Ok(()) => {
                    Finding::ok(format!("{}: {shown} does not exist yet and can be created", self.what)).part(self.part)
                }
                Err(_) => {
                    let nearest = directory.ancestors().find(|ancestor| ancestor.symlink_metadata().is_ok());
                    let nearest = nearest.unwrap_or(directory);
                    self.bad(format!("{shown} cannot be created in {}", nearest.display()))
                        .fix(probe::how_to_make_writable(directory, self.variable))
                }
            };
        }
        match probe::try_directory(directory) {
            Ok(true) => Finding::ok(format!("{}: {shown} is private, can be written, and locks work", self.what))
                .part(self.part),
            Ok(false) => self
                .bad(format!("{shown}: locks do not work there, so processes may make extra requests"))
                .fix(format!("set {} to a directory on a local disk", self.variable)),
            Err(error) => {
                let fix = match error.kind() {
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                        format!("free some space: {}", fixes::show_space(directory))
                    }
                    _ => fixes::make_directory_private(directory),
                };
                self.bad(format!("{shown} cannot be written: {}", describe(&error))).fix(fix)
            }
        }
    }
}

/// Returns the records of this user that others can read.
fn loose_files(directory: &Path) -> Vec<PathBuf> {
    const SHOWN: usize = 20;
    let names = store::names(directory).unwrap_or_default();
    let is_loose = |path: &PathBuf| {
        fs::symlink_metadata(path)
            .is_ok_and(|metadata| metadata.is_file() && files::is_own(&metadata) && files::mode(&metadata) & 0o077 != 0)
    };
    let secret = names.iter().filter(|name| name.ends_with(store::RECORD));
    secret.map(|name| directory.join(name)).filter(is_loose).take(SHOWN).collect()
}
