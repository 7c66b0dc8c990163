//! The files that an import writes, and what it says of them.

use crate::base::error::{Error, Result, clean, describe};
use crate::base::hosts::{Allowed, DEFAULT_ENDPOINT, Host};
use crate::base::secret::Secret;
use crate::commands::import::draft::{Draft, ImportSource, KEYS, Selection};
use crate::disk::{files, store};
use crate::profile::{Profile, find};
use crate::session::Session;
use crate::{profile, sources};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Files to write, in this order, and what to say.
pub(super) struct Plan {
    pub(super) keys: PathBuf,
    pub(super) files: Vec<Planned>,
    pub(super) remarks: Vec<String>,
    pub(super) registries: BTreeMap<String, String>,
    /// Of each profile that was found, to whom its token may go.
    pub(super) allowed: BTreeMap<String, Allowed>,
    /// Profiles that registries have, and nobody else.
    pub(super) lacking: BTreeSet<String>,
}

pub(super) struct Planned {
    pub(super) path: PathBuf,
    pub(super) content: Content,
    pub(super) overwrite: bool,
}

pub(super) enum Content {
    Profile(String),
    StoredToken(Secret, String),
}

impl Content {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Profile(text) => text.as_bytes(),
            Self::StoredToken(secret, _) => secret.expose().as_bytes(),
        }
    }
}

impl Plan {
    pub(super) fn of(
        found: ImportSource,
        wanted: &[Selection<'_>],
        force: bool,
        directory: &Path,
        session: &Session<'_>,
    ) -> Result<Self> {
        let is_there = |name: &str| {
            found.drafts.iter().any(|draft| draft.name == name)
                || session.places.profile_candidates(name).iter().any(|path| path.exists())
        };
        let lacking = found.registries.values().filter(|name| !is_there(name)).cloned().collect();
        let mut plan = Self {
            keys: directory.join(KEYS),
            lacking,
            files: Vec::new(),
            remarks: found.remarks,
            registries: found.registries,
            allowed: BTreeMap::new(),
        };
        let mut default = None;
        for draft in found.drafts {
            let name = draft.name.clone();
            if plan.add(draft, !wanted.is_empty(), force, directory, session)? && found.default.as_ref() == Some(&name)
            {
                default = Some(name);
            }
        }
        if let Some(name) = default {
            plan.add_default(&name, force, directory)?;
        }
        Ok(plan)
    }

    /// A profile and its key, the key first: a profile is there whole or not at all. False: another one is there, and stays.
    pub(super) fn add(
        &mut self,
        draft: Draft,
        is_asked: bool,
        force: bool,
        directory: &Path,
        session: &Session<'_>,
    ) -> Result<bool> {
        let path = directory.join(format!("{}.toml", draft.name));
        let text = draft.text();
        if sources::named(draft.source).is_some() {
            let profile = Profile::from_text(&draft.name, &path, &text, session.environment, session.places);
            let profile = profile.map_err(|error| error.context(&draft.origin))?;
            self.allowed.insert(draft.name.clone(), profile.hosts);
        }
        let kept_path = draft.kept_path().map(|relative| directory.join(relative));
        let mut files = vec![];
        if let (Some(kept), Some(path)) = (draft.kept, kept_path) {
            let content = Content::StoredToken(kept.content, kept.about);
            files.push(Planned { path, content, overwrite: force });
        }
        files.push(Planned { path, content: Content::Profile(text), overwrite: force });
        files.retain(|file| !file.is_there_already());
        if files.is_empty() {
            self.remarks.push(format!("{}: is there already, just so", draft.name));
            return Ok(true);
        }
        if let Some(taken) = files.iter().find(|file| !force && file.path.symlink_metadata().is_ok()) {
            let path = taken.path.display();
            if is_asked {
                return Err(Error::usage(format!("{path}: there is another one already"))
                    .hint("replace it with --force, or choose another name: ycred import PROFILE=NAME"));
            }
            self.remarks
                .push(format!("{}: is left out, {path} is there and is another; --force replaces it", draft.name));
            return Ok(false);
        }
        self.files.append(&mut files);
        self.remarks.extend(draft.remarks);
        Ok(true)
    }

    /// What yc calls its current profile, as an alias; only an alias is replaced, as by `use`.
    pub(super) fn add_default(&mut self, name: &str, force: bool, directory: &Path) -> Result<()> {
        let path = directory.join("default.toml");
        let content = Content::Profile(profile::text::alias(name));
        let file = Planned { path, content, overwrite: force };
        let current = find::alias_target(&file.path);
        match current {
            Ok(Some(other)) if other == name => {}
            Ok(None) if file.path.symlink_metadata().is_err() => self.files.push(file),
            Ok(Some(_)) if force => self.files.push(file),
            Ok(Some(other)) => {
                self.remarks.push(format!("the default stays {other}; `ycred use {name}` makes it yc's current one"));
            }
            Ok(None) | Err(_) => {
                self.remarks.push(format!("{}: is a profile of its own and stays the default", file.path.display()));
            }
        }
        Ok(())
    }

    pub(super) fn write(&self) -> Result<()> {
        for (done, file) in self.files.iter().enumerate() {
            let written = match &file.content {
                Content::StoredToken(..) => store::make_private(&self.keys),
                Content::Profile(_) => Ok(()),
            };
            let written = written.and_then(|()| store::write_config(&file.path, file.content.bytes(), file.overwrite));
            // Another import was quicker, with the very same.
            let written = written.or_else(|error| if file.is_there_already() { Ok(()) } else { Err(error) });
            written.map_err(|error| {
                let error = Error::profile(format!("{}: cannot be written", file.path.display()))
                    .because(describe(&error))
                    .hint("set YCRED_CONFIG_DIR to a directory of yours; what is written already is whole");
                match done {
                    0 => error,
                    done => error.context(format!("{done} of {} files are written", self.files.len())),
                }
            })?;
        }
        Ok(())
    }

    /// For people: every file with its mode and content, but for secrets; then what to know and to do.
    pub(super) fn report(&self, done: &str, end: Option<&str>) -> String {
        let mut text = String::new();
        if self.files.iter().any(|file| matches!(file.content, Content::StoredToken(..))) {
            let _ = writeln!(text, "{} (0700) {done}", clean(&format!("{}/", self.keys.display())));
        }
        for file in &self.files {
            let _ = writeln!(text, "{} (0600) {done}:", clean(&file.path.display().to_string()));
            match &file.content {
                Content::Profile(content) => {
                    for line in content.lines() {
                        let _ = writeln!(text, "    {}", clean(line));
                    }
                }
                Content::StoredToken(_, about) => {
                    let _ = writeln!(text, "    ({})", clean(about));
                }
            }
        }
        if self.files.is_empty() && self.registries.is_empty() {
            text.push_str("there is nothing to write\n");
        }
        for remark in &self.remarks {
            let _ = writeln!(text, "{}", clean(remark));
        }
        if !self.registries.is_empty() {
            text.push_str("yc's docker helper, as ~/.docker/config.json has it for ycred (docs/hooks/docker.md):\n");
            let helpers: BTreeMap<&String, String> =
                self.registries.iter().map(|(host, profile)| (host, format!("ycred-{profile}"))).collect();
            let json = serde_json::json!({ "credHelpers": helpers });
            for line in serde_json::to_string_pretty(&json).unwrap_or_default().lines() {
                let _ = writeln!(text, "    {}", clean(line));
            }
            text.push_str("and the links that these names are, in a directory on PATH:\n");
            for profile in self.registries.values().collect::<BTreeSet<_>>() {
                let link = format!("~/.local/bin/docker-credential-ycred-{profile}");
                let _ = writeln!(text, "    ln -s \"$(command -v ycred)\" {link}");
            }
            let usual = Allowed::new(DEFAULT_ENDPOINT, &[]);
            for (host, profile) in &self.registries {
                if self.lacking.contains(profile) {
                    let remark = format!("{host}: there is no profile {profile}, which docker would ask");
                    let _ = writeln!(text, "{}", clean(&remark));
                    continue;
                }
                let allowed = self.allowed.get(profile).unwrap_or(&usual);
                if !Host::parse(host).is_some_and(|host| allowed.covers(&host)) {
                    let remark = format!("{host}: profile {profile} gives it no token unless its `hosts` lists it");
                    let _ = writeln!(text, "{}", clean(&remark));
                }
            }
        }
        if let Some(end) = end {
            let _ = writeln!(text, "{end}");
        }
        text
    }
}

impl Planned {
    pub(super) fn is_there_already(&self) -> bool {
        files::read(&self.path).is_ok_and(|content| *content == *self.content.bytes())
    }
}
