//! The files that an import writes, and the report about them.

use crate::base::environment::KUBECONFIG;
use crate::base::error::{Error, Result, clean, describe};
use crate::base::hosts::{Allowed, DEFAULT_ENDPOINT, Host};
use crate::base::secret::Secret;
use crate::commands::import::draft::{Draft, ImportSource, KEYS, Selection};
use crate::disk::{files, store};
use crate::profile::find::FoundProfile;
use crate::profile::{Profile, ProfileRef, find};
use crate::session::Session;
use crate::{profile, sources};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Files to write, and the contents of the report.
pub(super) struct Plan {
    /// The directory for secrets.
    pub(super) keys: PathBuf,
    /// In the order in which they are written.
    pub(super) files: Vec<PlannedFile>,
    pub(super) remarks: Vec<String>,
    pub(super) registries: BTreeMap<String, String>,
    /// For each imported profile, the hosts that may get its token.
    pub(super) allowed_hosts: BTreeMap<String, Allowed>,
    /// Profiles that yc's docker helper uses but that don't exist.
    pub(super) missing_profiles: BTreeSet<String>,
    /// Only the docker helper's file was read, so there is no profile to write.
    pub(super) is_only_docker: bool,
}

pub(super) struct PlannedFile {
    pub(super) path: PathBuf,
    pub(super) content: Content,
    pub(super) overwrite: bool,
}

pub(super) enum Content {
    Profile(String),
    /// A secret and its description.
    Secret(Secret, String),
}

impl Content {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Profile(text) => text.as_bytes(),
            Self::Secret(secret, _) => secret.expose().as_bytes(),
        }
    }
}

impl Plan {
    pub(super) fn of(
        source: ImportSource,
        selections: &[Selection<'_>],
        force: bool,
        directory: &Path,
        session: &Session<'_>,
    ) -> Result<Self> {
        let exists = |name: &str| {
            source.drafts.iter().any(|draft| draft.name == name)
                || session.places.profile_candidates(name).iter().any(|path| path.exists())
        };
        let missing_profiles = source.registries.values().filter(|name| !exists(name)).cloned().collect();
        let mut plan = Self {
            keys: directory.join(KEYS),
            missing_profiles,
            is_only_docker: source.drafts.is_empty() && !source.registries.is_empty(),
            files: Vec::new(),
            remarks: source.remarks,
            registries: source.registries,
            allowed_hosts: BTreeMap::new(),
        };
        let mut default = None;
        let is_selected = !selections.is_empty();
        for draft in source.drafts {
            let name = draft.name.clone();
            if plan.add(draft, is_selected, force, directory, session)? && source.default.as_ref() == Some(&name) {
                default = Some(name);
            }
        }
        // A profile that stays as it is decides itself which hosts may get its token.
        for name in plan.registries.values() {
            let reference = ProfileRef::NameOrPath { by: "--profile", text: name.into() };
            if !plan.allowed_hosts.contains_key(name)
                && let Ok(profile) = session.profile(&reference)
            {
                plan.allowed_hosts.insert(name.clone(), profile.hosts);
            }
        }
        match (find::without_name(session.places), default) {
            // A profile that is used because it is the only one stays in use.
            (Ok(FoundProfile::Only { name, .. }), default) => {
                plan.keep_default(&name, default.as_deref(), directory)?
            }
            (_, Some(name)) => plan.add_default(&name, force, directory)?,
            (_, None) => {}
        }
        Ok(plan)
    }

    /// Adds the files of a profile: first its secret, so that a profile never names a file that does not exist.
    ///
    /// Returns false if a different profile of this name exists and is kept.
    ///
    /// # Errors
    /// Profile (3): the draft is not a valid profile. Usage (2): a different profile exists, and the user has selected
    /// this one by name.
    pub(super) fn add(
        &mut self,
        draft: Draft,
        is_selected: bool,
        force: bool,
        directory: &Path,
        session: &Session<'_>,
    ) -> Result<bool> {
        let path = directory.join(format!("{}.toml", draft.name));
        let text = draft.text();
        if sources::named(draft.source).is_some() {
            let profile = Profile::from_text(&draft.name, &path, &text, session.environment, session.places);
            let profile = profile.map_err(|error| error.context(&draft.origin))?;
            self.allowed_hosts.insert(draft.name.clone(), profile.hosts);
        }
        let secret_path = draft.secret_path().map(|relative| directory.join(relative));
        let mut files = vec![];
        if let (Some(secret), Some(path)) = (draft.secret, secret_path) {
            let content = Content::Secret(secret.content, secret.about);
            files.push(PlannedFile { path, content, overwrite: force });
        }
        files.push(PlannedFile { path, content: Content::Profile(text), overwrite: force });
        files.retain(|file| !file.is_unchanged());
        let is_extended = files.iter().any(PlannedFile::is_extended);
        files.retain(|file| force || !file.is_extended());
        if files.is_empty() {
            // What it allows now is in the file.
            if is_extended {
                self.allowed_hosts.remove(&draft.name);
            }
            let with = if is_extended { ", with lines that you have added" } else { "" };
            self.remarks.push(format!("{}: unchanged{with}", draft.name));
            return Ok(true);
        }
        if let Some(existing) = files.iter().find(|file| !force && file.path.symlink_metadata().is_ok()) {
            let path = existing.path.display();
            if is_selected {
                return Err(Error::usage(format!("{path}: a different file already exists"))
                    .hint("pass --force to replace it, or choose another name: ycred import PROFILE=NAME"));
            }
            self.remarks
                .push(format!("{}: skipped, because {path} exists and differs; --force replaces it", draft.name));
            self.allowed_hosts.remove(&draft.name);
            return Ok(false);
        }
        self.files.append(&mut files);
        self.remarks.extend(draft.remarks);
        Ok(true)
    }

    /// If there was only one profile and the import adds others, makes that one the default. `imported` is the profile that would
    /// have become the default.
    fn keep_default(&mut self, only: &str, imported: Option<&str>, directory: &Path) -> Result<()> {
        let only_path = directory.join(format!("{only}.toml"));
        let default_path = directory.join("default.toml");
        // The user may have given the name `default` to one of the profiles.
        let is_chosen = self.files.iter().any(|file| file.path == default_path);
        if is_chosen || !self.files.iter().any(|file| file.is_profile() && file.path != only_path) {
            return Ok(());
        }
        self.remarks.push(format!(
            "the default profile is still {only}, which was the only one; to change it, run `ycred use {}`",
            imported.unwrap_or("NAME")
        ));
        self.add_default(only, false, directory)
    }

    /// Makes this profile the default, by an alias in `default.toml`. Replaces an alias if forced, but never a profile.
    pub(super) fn add_default(&mut self, name: &str, force: bool, directory: &Path) -> Result<()> {
        let path = directory.join("default.toml");
        let content = Content::Profile(profile::text::alias(name));
        let file = PlannedFile { path, content, overwrite: force };
        let current = find::alias_target(&file.path);
        match current {
            Ok(Some(other)) if other == name => {}
            Ok(None) if file.path.symlink_metadata().is_err() => self.files.push(file),
            Ok(Some(_)) if force => self.files.push(file),
            Ok(Some(other)) => {
                self.remarks.push(format!("default profile unchanged: {other}; to change it, run `ycred use {name}`"));
            }
            Ok(None) => {
                self.remarks
                    .push(format!("default profile unchanged: {} is a profile, not an alias", file.path.display()));
            }
            Err(error) => self.remarks.push(format!("default profile unchanged: {}", error.reason())),
        }
        Ok(())
    }

    pub(super) fn write(&self) -> Result<()> {
        for (done, file) in self.files.iter().enumerate() {
            let written = match &file.content {
                Content::Secret(..) => store::make_private(&self.keys),
                Content::Profile(_) => Ok(()),
            };
            let written = written.and_then(|()| store::write_config(&file.path, file.content.bytes(), file.overwrite));
            // Not an error if a concurrent import has just written the same content.
            let written = written.or_else(|error| if file.is_unchanged() { Ok(()) } else { Err(error) });
            written.map_err(|error| {
                let error = Error::profile(format!("{}: cannot write the file", file.path.display()))
                    .because(describe(&error))
                    .hint("set YCRED_CONFIG_DIR to a writable directory");
                match done {
                    0 => error,
                    done => error.context(format!("{done} of {} files written", self.files.len())),
                }
            })?;
        }
        Ok(())
    }

    /// Returns the commands that make clients use the profiles.
    pub(super) fn next_commands(&self, session: &Session<'_>) -> Vec<&'static str> {
        let home = session.places.home.as_ref();
        let has = |path: &str| home.is_some_and(|home| home.join(path).exists());
        let has_kubeconfig = has(".kube/config") || session.environment.get(KUBECONFIG).is_some();
        let has_docker = !self.registries.is_empty() || has(".docker/config.json");
        let kubectl = (has_kubeconfig && !self.is_only_docker).then_some("ycred setup kubectl --all");
        kubectl.into_iter().chain(has_docker.then_some("ycred setup docker")).collect()
    }

    /// Returns the report: every file with its mode and content (a secret's description only), the remarks, and the
    /// registries of yc's docker helper.
    ///
    /// `status` says what happens to each file. `next_step` is the last line.
    pub(super) fn report(&self, status: &str, next_step: Option<&str>) -> String {
        let mut text = String::new();
        if self.files.iter().any(|file| matches!(file.content, Content::Secret(..))) {
            let _ = writeln!(text, "{} (0700) {status}", clean(&format!("{}/", self.keys.display())));
        }
        for file in &self.files {
            let _ = writeln!(text, "{} (0600) {status}:", clean(&file.path.display().to_string()));
            match &file.content {
                Content::Profile(content) => {
                    for line in content.lines() {
                        let _ = writeln!(text, "    {}", clean(line));
                    }
                }
                Content::Secret(_, about) => {
                    let _ = writeln!(text, "    ({})", clean(about));
                }
            }
        }
        let is_only_docker = self.is_only_docker;
        if self.files.is_empty() && !is_only_docker {
            text.push_str("Nothing to write.\n");
        }
        for remark in &self.remarks {
            let _ = writeln!(text, "{}", clean(remark));
        }
        if !self.registries.is_empty() && (!self.files.is_empty() || is_only_docker) {
            text.push_str("yc's docker helper serves:\n");
            for (host, profile) in &self.registries {
                let _ = writeln!(text, "{}", clean(&format!("    {host} with profile {profile}")));
            }
        }
        let default_hosts = Allowed::new(DEFAULT_ENDPOINT, &[]);
        for (host, profile) in &self.registries {
            let remark = match self.allowed_hosts.get(profile) {
                _ if self.missing_profiles.contains(profile) => {
                    format!("{host}: profile {profile} doesn't exist; create it, or docker gets no token")
                }
                allowed if Host::parse(host).is_some_and(|host| allowed.unwrap_or(&default_hosts).covers(&host)) => {
                    continue;
                }
                _ => format!("{host}: gets no token unless you add it to `hosts` in profile {profile}"),
            };
            let _ = writeln!(text, "{}", clean(&remark));
        }
        if let Some(next_step) = next_step {
            let _ = writeln!(text, "{next_step}");
        }
        text
    }
}

impl PlannedFile {
    fn is_profile(&self) -> bool {
        matches!(self.content, Content::Profile(_))
    }

    /// Returns true if the file exists with this content.
    pub(super) fn is_unchanged(&self) -> bool {
        files::read(&self.path).is_ok_and(|content| *content == *self.content.bytes())
    }

    /// Returns true if the file is a profile that has each line of the new one, and others that somebody has added.
    fn is_extended(&self) -> bool {
        let Content::Profile(text) = &self.content else { return false };
        let Ok(existing) = files::read_text(&self.path) else { return false };
        text.lines().all(|line| existing.lines().any(|known| known == line))
    }
}
