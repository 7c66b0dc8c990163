//! The commands that people type, except for `token`, which is a hook. To add one, write a file here and add a line to [`COMMANDS`].

pub mod check;
pub mod clients;
pub mod command;
pub mod completions;
pub mod doctor;
mod env;
mod exec;
mod explain;
pub mod import;
mod init;
mod install;
mod list;
pub mod login;
mod logout;
mod profile_files;
mod profile_lock;
mod refresh;
mod remove;
mod rename;
mod revoke;
mod serve;
mod setup;
pub mod status;
mod r#use;

use crate::commands::command::Command;

/// Every command but `token`. Within a group, the help lists them in this order.
pub const COMMANDS: &[&Command] = &[
    &init::COMMAND,
    &import::COMMAND,
    &list::COMMAND,
    &status::COMMAND,
    &explain::COMMAND,
    &r#use::COMMAND,
    &rename::COMMAND,
    &remove::COMMAND,
    &setup::SETUP,
    &setup::UNSETUP,
    &doctor::COMMAND,
    &exec::COMMAND,
    &serve::COMMAND,
    &env::COMMAND,
    &refresh::COMMAND,
    &login::COMMAND,
    &logout::COMMAND,
    &revoke::COMMAND,
    &completions::COMMAND,
    &install::COMMAND,
];
