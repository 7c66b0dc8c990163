//! The result of reading yc's configuration or the environment: draft profiles, and remarks for the user.

use crate::base::error::{Result, clean};
use crate::base::hosts::DEFAULT_ENDPOINT;
use crate::profile::find::check_name;
use crate::profile::text::{quote, setting};
use crate::sources::source::SecretFile;
use std::collections::BTreeMap;

/// An argument `PROFILE` or `PROFILE=NAME`: a profile to import, and perhaps a new name for it.
pub(super) struct Selection<'a> {
    pub(super) yc_name: &'a str,
    pub(super) new_name: Option<&'a str>,
}

impl<'a> Selection<'a> {
    pub(super) fn parse(argument: &'a str) -> Result<Self> {
        let (yc_name, new_name) = match argument.split_once('=') {
            Some((yc_name, new_name)) => (yc_name, Some(new_name)),
            None => (argument, None),
        };
        new_name.map_or(Ok(()), check_name)?;
        Ok(Self { yc_name, new_name })
    }
}

/// What can be imported, in terms of ycred.
#[derive(Default)]
pub(super) struct ImportSource {
    pub(super) drafts: Vec<Draft>,
    /// The new name of the profile to make the default.
    pub(super) default: Option<String>,
    /// Lines for the user that do not belong to one draft.
    pub(super) remarks: Vec<String>,
    /// For each host that yc's docker helper serves, the new name of its profile.
    pub(super) registries: BTreeMap<String, String>,
}

/// A profile that is not written yet.
pub(super) struct Draft {
    pub(super) name: String,
    /// Where the profile comes from, for the comment in its first line.
    pub(super) origin: String,
    pub(super) source: &'static str,
    pub(super) settings: Vec<(&'static str, Setting)>,
    pub(super) secret: Option<SecretFile>,
    pub(super) remarks: Vec<String>,
}

pub(super) struct Setting {
    pub(super) values: Vec<String>,
    pub(super) is_list: bool,
}

impl Draft {
    pub(super) fn new(name: String, origin: String, source: &'static str) -> Self {
        Self { name, origin, source, settings: Vec::new(), secret: None, remarks: Vec::new() }
    }

    pub(super) fn set(&mut self, key: &'static str, value: &str) {
        self.settings.push((key, Setting { values: vec![value.to_owned()], is_list: false }));
    }

    /// Returns the path of the secret's file. It is relative to the profile, so that the directory can be moved.
    pub(super) fn secret_path(&self) -> Option<String> {
        self.secret.as_ref().map(|secret| format!("{KEYS}/{}.{}", self.name, secret.extension))
    }

    /// Returns the content of the profile's file.
    pub(super) fn text(&self) -> String {
        let mut text =
            format!("# Created by `ycred import` from {}.\nsource = {}\n", clean(&self.origin), quote(self.source));
        if let (Some(secret), Some(path)) = (&self.secret, self.secret_path()) {
            setting(&mut text, secret.key, &[path], false);
        }
        for (key, Setting { values, is_list }) in &self.settings {
            setting(&mut text, key, values, *is_list);
        }
        text
    }

    /// Adds a secret that will be stored in a file of its own.
    pub(super) fn set_secret(&mut self, secret: SecretFile) {
        if let Some(advice) = secret.advice {
            self.remarks.push(format!("{}: {}", self.name, advice.replace("{name}", &self.name)));
        }
        self.secret = Some(secret);
    }

    /// Sets the endpoint, without port 443. Sets nothing if it is the default endpoint.
    pub(super) fn set_endpoint(&mut self, endpoint: &str) {
        let endpoint = endpoint.strip_suffix(":443").unwrap_or(endpoint);
        if endpoint != DEFAULT_ENDPOINT {
            self.set("endpoint", endpoint);
        }
    }
}

/// The directory for secrets, below the configuration directory. Only its owner may read it.
pub const KEYS: &str = "keys";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::Secret;
    use crate::sources::oauth;

    #[test]
    fn a_profile_states_its_origin_and_has_a_relative_path_to_its_secret() {
        let mut draft = Draft::new("kz".into(), "yc's profile KZ\nsource = \"static\"".into(), "login");
        draft.set("federation-id", "bpf0000000000000000a");
        draft.set_endpoint("api.yandexcloud.kz:443");
        let expected = "# Created by `ycred import` from yc's profile KZ source = \"static\".\nsource = \"login\"\n\
                        federation-id = \"bpf0000000000000000a\"\nendpoint = \"api.yandexcloud.kz\"\n";
        assert_eq!(draft.text(), expected);
        let mut draft = Draft::new("me".into(), "x".into(), "oauth");
        draft.set_secret(oauth::secret_file(Secret::wrapping("y0_x".into())).expect("a token"));
        draft.set_endpoint("api.cloud.yandex.net:443");
        assert!(draft.text().ends_with("source = \"oauth\"\noauth-token-file = \"keys/me.oauth-token\"\n"));
    }
}
