//! What AWS uses for a profile of its own before a `credential_process`.
//!
//! botocore asks in this order: a role to assume, a web identity, SSO, static keys in the credentials file, a login, a
//! process, static keys in the configuration file. An option in the credentials file replaces the same one in the
//! configuration file. The other SDKs use a source profile, a credential source and all static keys before a process too.

use crate::commands::clients::aws::config::{PROCESS, profile_of};
use crate::edit::tree::TreeNode;

/// A section whose options apply to all sections of its file.
const COMMON: &str = "DEFAULT";
const STATIC_KEYS: [&str; 3] = ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"];
/// Options that select another origin of the credentials.
const ORIGINS: [&str; 10] = [
    "role_arn",
    "source_profile",
    "credential_source",
    "web_identity_token_file",
    "sso_session",
    "sso_account_id",
    "sso_role_name",
    "sso_start_url",
    "sso_region",
    "login_session",
];

/// A file of AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwsFileKind {
    /// `~/.aws/config`, with sections such as `[profile yc]`.
    Configuration,
    /// `~/.aws/credentials`, with sections such as `[yc]`.
    Credentials,
}

/// The options of a section that AWS uses in place of ycred.
pub struct PreferredOptions<'a> {
    pub section: &'a str,
    /// Their names in the file.
    pub keys: Vec<&'a TreeNode>,
}

impl PreferredOptions<'_> {
    pub fn are_static_keys(&self) -> bool {
        self.keys.iter().all(|key| key.as_text().is_some_and(|name| STATIC_KEYS.contains(&name)))
    }

    /// Returns what they are, for people.
    pub fn description(&self) -> String {
        if self.are_static_keys() {
            return "static keys".to_owned();
        }
        let names: Vec<&str> = self.keys.iter().filter_map(|key| key.as_text()).collect();
        names.join(", ")
    }
}

/// Finds the options of a file that AWS uses for the profile `name` in place of ycred.
pub fn preferred<'a>(root: &'a TreeNode, kind: AwsFileKind, name: &str) -> Option<PreferredOptions<'a>> {
    let is_of_profile = |section: &str| match kind {
        AwsFileKind::Configuration => profile_of(section).as_deref() == Some(name),
        AwsFileKind::Credentials => section == name,
    };
    let sections: Vec<(&str, &TreeNode)> =
        root.members().iter().filter_map(|(key, section)| Some((key.as_text()?, section))).collect();
    let is_there = sections.iter().any(|(section, _)| is_of_profile(section));
    // Setup creates the section of the configuration file.
    let has_common = is_there || kind == AwsFileKind::Configuration;
    let is_read = |section: &str| is_of_profile(section) || has_common && section == COMMON;
    // The process in the configuration file is ycred's own, or setup decides about it.
    let is_preferred = |key: &&TreeNode| {
        let name = key.as_text().unwrap_or_default();
        let is_origin = ORIGINS.contains(&name) || name == PROCESS && kind == AwsFileKind::Credentials;
        is_origin || STATIC_KEYS.contains(&name)
    };
    sections.into_iter().filter(|(section, _)| is_read(section)).find_map(|(section, options)| {
        let keys: Vec<&TreeNode> = options.members().iter().map(|(key, _)| key).filter(is_preferred).collect();
        (!keys.is_empty()).then_some(PreferredOptions { section, keys })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::splice::Format;

    #[test]
    fn what_comes_before_the_process_is_found_in_both_files() {
        let found = |text: &str, kind| {
            let root = Format::Ini.parse(text).expect("valid");
            preferred(&root, kind, "yc").map(|found| format!("[{}] {}", found.section, found.description()))
        };
        let (configuration, credentials) = (AwsFileKind::Configuration, AwsFileKind::Credentials);
        for (text, kind, expected) in [
            ("[profile yc]\nregion = x\ncredential_process = x\n", configuration, None),
            ("[profile other]\nrole_arn = x\n[yc]\nrole_arn = x\n", configuration, None),
            (
                "[profile 'yc']\nROLE_ARN = x\nsource_profile = y\n",
                configuration,
                Some("[profile 'yc'] role_arn, source_profile"),
            ),
            ("[profile yc]\nlogin_session = x\n", configuration, Some("[profile yc] login_session")),
            (
                "[profile yc]\naws_access_key_id = x\naws_secret_access_key = y\n",
                configuration,
                Some("[profile yc] static keys"),
            ),
            ("[DEFAULT]\nsso_account_id = x\n", configuration, Some("[DEFAULT] sso_account_id")),
            ("[DEFAULT]\naws_access_key_id = x\n[other]\nx = y\n", credentials, None),
            ("[DEFAULT]\naws_access_key_id = x\n[yc]\nx = y\n", credentials, Some("[DEFAULT] static keys")),
            ("[profile yc]\nrole_arn = x\n", credentials, None),
            ("[yc]\ncredential_process = x\n", credentials, Some("[yc] credential_process")),
        ] {
            assert_eq!(found(text, kind).as_deref(), expected, "{text}");
        }
    }
}
