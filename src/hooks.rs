//! The table of hooks. A hook is an interface of a client program that ycred implements. To add one, add a file here
//! and a line in [`HOOKS`].

pub mod answer;
mod aws;
mod bazel;
mod cargo;
mod docker;
mod git;
mod goauth;
mod keyring;
mod kubectl;
mod kubelet;
pub mod next_in_path;
mod pnpm;
pub mod protocol;
mod terraform;
mod token;

use crate::commands::clients::program::KUBECTL_PLUGIN;
use crate::commands::command::HostClient;
use crate::hooks::protocol::Hook;

/// Every hook, in the order of docs/compatibility.md.
pub const HOOKS: &[&Hook] = &[
    &kubectl::HOOK,
    &docker::HOOK,
    &git::HOOK,
    &terraform::HOOK,
    &aws::HOOK,
    &kubelet::HOOK,
    &bazel::HOOK,
    &cargo::HOOK,
    &goauth::HOOK,
    &pnpm::HOOK,
    &keyring::HOOK,
    &token::HOOK,
];

/// Returns the names of the links that an installation has next to the program: those of the hooks, and kubectl's plugin.
pub fn links() -> Vec<&'static str> {
    let hooks = HOOKS.iter().filter(|hook| hook.is_linked_on_path).filter_map(|hook| hook.symlink);
    hooks.chain([KUBECTL_PLUGIN]).collect()
}

/// Returns the hooks whose clients name the host that the token is for.
pub fn host_clients() -> Vec<HostClient> {
    let named = HOOKS.iter().filter(|hook| hook.names_host);
    named
        .map(|hook| HostClient { name: hook.name, scope: hook.host_scope, is_https_only: hook.is_https_only })
        .collect()
}

/// Returns the hook with this name.
pub fn named(name: &str) -> Option<&'static Hook> {
    HOOKS.iter().find(|hook| hook.name == name).copied()
}
