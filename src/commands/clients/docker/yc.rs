//! Registries that yc's docker helper serves: which profile keeps the account of each, and which of them stay with yc.

use std::collections::BTreeMap;
use std::path::Path;

use crate::base::error::{Error, Result};
use crate::base::hosts::Host;
use crate::commands::clients::client::{Use, setup_command};
use crate::commands::clients::docker::config::{self, helpers};
use crate::commands::clients::profiles::Chosen;
use crate::commands::clients::same_account::{YcProfile, for_registry};
use crate::commands::import::account;
use crate::edit::tree::TreeNode;
use crate::profile::Profile;
use crate::session::Session;

/// The name of yc's helper in docker's configuration.
pub const HELPER: &str = "yc";

/// The registries in a file that run yc.
#[derive(Default)]
pub struct YcRegistries {
    /// The profile of each registry whose account is not that of the usual profile.
    pub others: BTreeMap<String, Chosen>,
    /// The registries that the usual profile serves.
    pub usual: Vec<String>,
    /// The registries that no profile may serve, each with the reason and what to do.
    pub left: Vec<(String, String)>,
    /// The registries of the cloud whose account no profile has.
    pub refused: Vec<Error>,
}

impl YcRegistries {
    /// Looks at each registry in a file that runs yc. `asked` are those of `--host`. If this call chooses the profile
    /// (`is_chosen`), that one serves all of them.
    pub fn of(
        root: &TreeNode,
        path: &Path,
        usual: &Chosen,
        asked: &[String],
        is_chosen: bool,
        session: &Session<'_>,
    ) -> Self {
        let mut found = Self::default();
        for (host, _) in helpers(root).into_iter().filter(|(_, helper)| helper == HELPER) {
            let other = if is_chosen { Ok(None) } else { profile_for(&host, usual, session) };
            let covers = |chosen: &Chosen| Host::parse(&host).is_some_and(|host| chosen.profile.hosts.covers(&host));
            let is_asked = asked.contains(&host);
            match other {
                Err(error) if covers(usual) || is_asked => found.refused.push(error.context(&host)),
                Err(error) => found.left.push((host, error.reason())),
                // What is asked for is checked, and refused, as a host.
                Ok(Some(other)) if covers(&other) || is_asked => drop(found.others.insert(host, other)),
                Ok(None) if covers(usual) || is_asked => found.usual.push(host),
                Ok(other) => {
                    let profile = other.as_ref().unwrap_or(usual);
                    let why = format!("profile {} does not list it", profile.name());
                    let named = is_chosen.then_some(profile.argument.as_str());
                    let how = how_to_list(&host, path, &profile.profile, named, session);
                    found.left.push((host.clone(), format!("{why}. {how}")));
                }
            }
        }
        found
    }
}

fn profile_for(host: &str, usual: &Chosen, session: &Session<'_>) -> Result<Option<Chosen>> {
    let home = session.places.home.as_deref();
    let name = home.and_then(|home| account::yc_name_for_registry(home, host, session));
    for_registry(&YcProfile { name: name.as_deref(), home }, usual, session)
}

/// Returns what makes ycred serve a registry of docker's configuration in `path`: an edit of the profile, and a command.
/// `named` is the profile that the command must name to use the same one.
fn how_to_list(host: &str, path: &Path, profile: &Profile, named: Option<&str>, session: &Session<'_>) -> String {
    let place = Use { file: path.to_owned(), label: host.to_owned(), profile: None, note: None };
    let command = setup_command("docker", config::selection(&place, session), named);
    let edit = profile.settings.edit_for_host(host);
    format!("If you trust the registry with your IAM token: {edit}, then run: {command}")
}
