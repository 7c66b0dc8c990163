//! What a profile adds to hints: its name, and the file and line of the key that is wrong.

use crate::base::environment as env;
use crate::base::error::{Error, Kind};
use crate::base::hosts::DEFAULT_ENDPOINT;
use crate::base::shell;
use crate::profile::{Profile, SelectedBy};

/// The end of a hint to correct a key, where the profile's file is not known.
const IN_PROFILE: &str = "` in the profile";

/// The part of a hint about something else than the cloud that has answered.
const CHECK_URL: &str = "; otherwise check the URL";

/// The commands that hints name without a profile, where none is known.
const COMMANDS_IN_HINTS: [&str; 3] = ["ycred refresh", "ycred logout", "ycred aws"];

impl Profile {
    /// Names the file and the line in a hint to correct a key "in the profile".
    pub fn with_place_of_key(&self, error: Error) -> Error {
        error.map_hint(|hint| {
            let place = hint.strip_suffix(IN_PROFILE).and_then(|start| {
                let (start, key) = start.rsplit_once('`')?;
                Some(format!("{start}{}", self.settings.place_in_words(key)?))
            });
            place.unwrap_or(hint)
        })
    }

    /// Returns the URL that IAM has if the profile does not set the one in the reason of an error.
    fn default_url(&self, reason: &str) -> Option<String> {
        let [iam, _] = self.installation.known_urls();
        let endpoint = self.settings.text("endpoint").ok().flatten().unwrap_or(DEFAULT_ENDPOINT);
        (self.settings.file.is_some() && self.settings.has("iam-url") && reason.contains(&iam))
            .then(|| format!("https://iam.{}", endpoint.strip_suffix(":443").unwrap_or(endpoint)))
    }

    /// Returns where the URL of IAM is set, if it has a path and IAM knows no such path.
    fn place_of_path(&self, error: &Error) -> Option<String> {
        let [iam, _] = self.installation.known_urls();
        let has_path = iam.split_once("://").is_some_and(|(_, rest)| rest.trim_end_matches('/').contains('/'));
        // Of a failure that is remembered, the text is all there is.
        let reason = error.reason();
        let is_unknown = reason.contains(&iam) && reason.contains(": 404: NOT_FOUND");
        self.settings.place_in_words("iam-url").filter(|_| has_path && is_unknown)
    }

    /// Adds to the hint of a request that the cloud did not answer where its URL was set, unless it is a default.
    pub fn with_place_of_url(&self, error: Error) -> Error {
        let reason = error.reason();
        // The proxy itself has failed, whatever the URL is.
        let is_of_proxy = reason.contains("the proxy ") && !reason.contains("through the proxy ");
        if let Some(place) = self.place_of_path(&error) {
            return error
                .map_hint(|hint| format!("check the path of {place}, to which /iam/v1/… is added; otherwise {hint}"));
        }
        if error.kind != Kind::Unavailable || error.is_answer || is_of_proxy {
            return error;
        }
        let [iam, auth] = self.installation.known_urls();
        let place = |key: &str| self.settings.place_in_words(key);
        let (place, is_default_of) = match () {
            () if reason.contains(&iam) => (place("iam-url").or_else(|| place("endpoint")), None),
            () if reason.contains(&auth) => {
                // Somebody who has set the one has probably forgotten the other.
                let other = place("iam-url").or_else(|| place("endpoint"));
                (place("auth-url"), other.map(|_| "auth-url"))
            }
            () => (None, None),
        };
        let place = place.map(|place| match self.default_url(&reason) {
            Some(default) => format!("{place}, whose default is {default}"),
            None => place,
        });
        match (place, is_default_of) {
            (Some(place), _) => {
                let is_name_unknown = reason.contains("the host name cannot be resolved");
                error.map_hint(|hint| hint_with_place(&hint, &place, is_name_unknown))
            }
            (None, Some(key)) => error.map_hint(|hint| {
                let name =
                    if self.settings.file.is_some() { format!("`{key}`") } else { env::YCRED_AUTH_URL.to_owned() };
                format!("{hint}; the URL is the default, because {name} is not set")
            }),
            (None, None) => error,
        }
    }

    /// Returns the hint about a host that gets no token: it may be misspelt, else the profile can list it.
    pub fn hint_for_host(&self, host: &str) -> String {
        let edit = self.settings.edit_for_host(host);
        match self.hosts.near(host) {
            Some(near) => format!("did you mean {near}? If not, {edit}"),
            None => edit,
        }
    }

    /// Makes the hint's command one for this profile. As printed, it would act on the default profile.
    pub fn name_in_hint(&self, error: Error) -> Error {
        let Some(name) = self.name.as_deref().filter(|_| matches!(self.selected_by, SelectedBy::Named(_))) else {
            return error;
        };
        error.map_hint(|hint| {
            let command = COMMANDS_IN_HINTS.into_iter().find(|command| hint.contains(command));
            match command {
                Some(command) if !hint.contains("--profile") => {
                    hint.replacen(command, &format!("{command} --profile {}", shell::word(name)), 1)
                }
                _ => hint,
            }
        })
    }
}

/// Names in a hint where the URL of a failed request is set.
fn hint_with_place(hint: &str, place: &str, is_name_unknown: bool) -> String {
    let name = place.strip_prefix("in ").unwrap_or(place);
    match hint.split_once(CHECK_URL) {
        // The profile is at fault more often than the network.
        Some((portal, end)) => format!("check {name}{end}; or {portal}"),
        None if is_name_unknown => format!("{hint}; if the name is wrong, correct {name}"),
        None => format!("{hint}; the URL is {place}"),
    }
}
