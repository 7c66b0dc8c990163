//! The kubelet: the flags and the file that make it run ycred. They belong to the administrator of the node, so nothing is
//! written.

mod check;
mod config;

use crate::base::error::Result;
use crate::commands::clients::client::{Client, SetupCall};
use crate::commands::clients::kubelet::config::{DIRECTORY, DIRECTORY_FLAG, FILE, FILE_FLAG};
use crate::commands::clients::profiles;
use crate::commands::clients::program;
use crate::commands::clients::report::{Paste, Report};
use crate::session::Session;

pub const CLIENT: Client = Client {
    name: "kubelet",
    about: "the kubelet of a node pulls images with ycred",
    is_found: |session| program::find("kubelet", session).is_some(),
    is_pasted: true,
    setup,
    check: Some(&check::CHECK),
    ..Client::PLAIN
};

/// The kubelet's configuration, as it ships with the DaemonSet.
const CONFIGURATION: &str = include_str!("../../../packaging/kubernetes/kubelet/credential-provider.yaml");

fn setup(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Report> {
    let chosen = profiles::chosen_or_default(call, session)?;
    let start = CONFIGURATION.find("apiVersion:").unwrap_or_default();
    let configuration = &CONFIGURATION[start..];
    let flags = format!("{FILE_FLAG}={FILE}\n{DIRECTORY_FLAG}={DIRECTORY}\n");
    Ok(Report {
        pastes: vec![Paste::new(FILE, configuration), Paste::new("the command line of the kubelet", flags)],
        notes: vec![
            format!("put the program on the node: sudo ycred install {DIRECTORY}"),
            format!(
                "the kubelet uses the node's own profile, /etc/ycred/default.toml; here the default is ycred {}",
                chosen.description()
            ),
            "first the files, then the flags: with a missing file, the kubelet does not start".to_owned(),
        ],
        ..Report::default()
    })
}
