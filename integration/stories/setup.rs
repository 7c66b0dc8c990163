//! `ycred setup` and `ycred unsetup`: configuration files of other programs are edited in one place, and restored to the
//! byte.

mod accounts;
mod corners;
mod corpus;
mod docker;
mod dry_run;
mod from_yc;
mod kept;
mod links;
mod mapping;
mod orders;
mod others;
mod reports;
mod restored;
mod secrets;
mod undo;

use std::fs;
use std::path::PathBuf;

use crate::emulator::Config;
use crate::harness::Call;
use crate::world::World;

/// A machine with ycred in PATH and the profile `prod`.
pub struct Machine {
    pub world: World,
    /// The service account of `prod`.
    pub account: String,
}

impl Machine {
    pub fn new() -> Machine {
        let world = World::without_profile(Config::default());
        world.sandbox.link("ycred");
        let account = world.profile("prod", "").service_account_id;
        Machine { world, account }
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.world.sandbox.path(relative)
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.path("home/.kube/config")
    }

    /// Writes `~/.kube/config`.
    pub fn write_kubeconfig(&self, text: &str) {
        self.world.sandbox.file("home/.kube/config", text);
    }

    pub fn setup(&self, arguments: &[&str]) -> Call {
        self.world.sandbox.ycred(["setup"].iter().chain(arguments))
    }

    pub fn unsetup(&self, arguments: &[&str]) -> Call {
        self.world.sandbox.ycred(["unsetup"].iter().chain(arguments))
    }

    /// Returns the path of ycred that setup writes.
    pub fn command(&self) -> String {
        self.path("bin/ycred").display().to_string()
    }

    pub fn journal(&self) -> Vec<PathBuf> {
        let files = self.world.sandbox.files("state/setup").into_iter();
        files.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect()
    }

    #[track_caller]
    pub fn read(&self, relative: &str) -> String {
        fs::read_to_string(self.path(relative)).unwrap_or_else(|error| panic!("{relative}: {error}"))
    }
}

/// A go that only says where its settings are.
pub const GO: &str = "#!/bin/sh\necho \"$HOME/.config/go/env\"\n";

/// A kubeconfig with one context, whose user `u` has this `user:` value in flow style.
pub fn kubeconfig_with(user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n- name: c\n  context: {{cluster: x, user: u}}\n\
         users:\n- name: u\n  user: {user}\n"
    )
}

/// `exec` that runs yc with this profile.
pub fn yc_with(profile: &str) -> String {
    kubeconfig_with(&format!("{{exec: {{command: yc, args: [k8s, create-token, --profile={profile}]}}}}"))
}
