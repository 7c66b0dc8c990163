//! What an import has found: profiles to be, and what a person should know.

use crate::base::error::{Result, clean};
use crate::base::hosts::DEFAULT_ENDPOINT;
use crate::profile::find::check_name;
use crate::profile::text::{quote, setting};
use crate::sources::source::KeptSecret;
use std::collections::BTreeMap;

/// A profile that was asked for by name, and what to call it.
pub(super) struct Selection<'a> {
    pub(super) theirs: &'a str,
    pub(super) ours: Option<&'a str>,
}

impl<'a> Selection<'a> {
    pub(super) fn read(word: &'a str) -> Result<Self> {
        let (theirs, ours) = match word.split_once('=') {
            Some((theirs, ours)) => (theirs, Some(ours)),
            None => (word, None),
        };
        ours.map_or(Ok(()), check_name)?;
        Ok(Self { theirs, ours })
    }
}

/// What was found, in our terms; nothing of it is written yet.
#[derive(Default)]
pub(super) struct ImportSource {
    pub(super) drafts: Vec<Draft>,
    /// The name, ours, that `default` is to stand for.
    pub(super) default: Option<String>,
    /// What else a person should know, a line each.
    pub(super) remarks: Vec<String>,
    /// Hosts and the profiles, ours, that yc's docker helper has for them.
    pub(super) registries: BTreeMap<String, String>,
}

/// A profile to be.
pub(super) struct Draft {
    pub(super) name: String,
    /// What it was, for its first line.
    pub(super) origin: String,
    pub(super) source: &'static str,
    pub(super) settings: Vec<(&'static str, Setting)>,
    pub(super) kept: Option<KeptSecret>,
    pub(super) remarks: Vec<String>,
}

pub(super) struct Setting {
    pub(super) values: Vec<String>,
    pub(super) is_list: bool,
}

impl Draft {
    pub(super) fn new(name: String, origin: String, source: &'static str) -> Self {
        Self { name, origin, source, settings: Vec::new(), kept: None, remarks: Vec::new() }
    }

    pub(super) fn set(&mut self, key: &'static str, value: &str) {
        self.settings.push((key, Setting { values: vec![value.to_owned()], is_list: false }));
    }

    /// Relative to the profile, so that the directory can be moved.
    pub(super) fn kept_path(&self) -> Option<String> {
        self.kept.as_ref().map(|kept| format!("{KEYS}/{}.{}", self.name, kept.ending))
    }

    pub(super) fn text(&self) -> String {
        let mut text =
            format!("# Made by `ycred import` from {}.\nsource = {}\n", clean(&self.origin), quote(self.source));
        if let (Some(kept), Some(path)) = (&self.kept, self.kept_path()) {
            setting(&mut text, kept.key, &[path], false);
        }
        for (key, Setting { values, is_list }) in &self.settings {
            setting(&mut text, key, values, *is_list);
        }
        text
    }

    pub(super) fn keep(&mut self, kept: KeptSecret) {
        if let Some(remark) = kept.remark {
            self.remarks.push(format!("{}: {}", self.name, remark.replace("{name}", &self.name)));
        }
        self.kept = Some(kept);
    }

    pub(super) fn endpoint(&mut self, text: &str) {
        // The port goes without saying, and so does the default.
        let endpoint = text.strip_suffix(":443").unwrap_or(text);
        if endpoint != DEFAULT_ENDPOINT {
            self.set("endpoint", endpoint);
        }
    }
}

/// Below the configuration directory: what profiles name and nobody else may read.
pub(super) const KEYS: &str = "keys";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::Secret;
    use crate::sources::oauth;

    #[test]
    fn a_profile_says_where_it_is_from_and_names_its_key_by_a_relative_path() {
        let mut draft = Draft::new("kz".into(), "yc's profile KZ\nsource = \"static\"".into(), "login");
        draft.set("federation-id", "bpf0000000000000000a");
        draft.endpoint("api.yandexcloud.kz:443");
        let expected = "# Made by `ycred import` from yc's profile KZ source = \"static\".\nsource = \"login\"\n\
                        federation-id = \"bpf0000000000000000a\"\nendpoint = \"api.yandexcloud.kz\"\n";
        assert_eq!(draft.text(), expected);
        let mut draft = Draft::new("me".into(), "x".into(), "oauth");
        draft.keep(oauth::keep(Secret::wrapping("y0_x".into())).expect("a token"));
        draft.endpoint("api.cloud.yandex.net:443");
        assert!(draft.text().ends_with("source = \"oauth\"\noauth-token-file = \"keys/me.oauth-token\"\n"));
    }
}
