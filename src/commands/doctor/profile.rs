//! `profile`: the profile that ycred uses here, its settings, and the other profiles.

use crate::base::environment::YCRED_PROFILE;
use crate::cloud::http::Http;
use crate::commands::check::{Check, Examination, Finding, LOCAL_LIMIT, profile_files};
use crate::profile::find::FoundProfile;
use crate::profile::{Profile, ProfileRef, SelectedBy, find};

pub const CHECK: Check = Check {
    id: "profile",
    about: "the profile that ycred uses here, and who may change it; other profiles that are broken",
    parts: &["ca-file", "others"],
    limit: LOCAL_LIMIT,
    needs_network: false,
    run,
};

fn run(examination: &Examination) -> Vec<Finding> {
    let mut findings = match examination.profile() {
        Ok(profile) => serving(profile, examination),
        Err(error) => vec![match several(examination) {
            Some(first) => Finding::fail(error.reason()).fix(format!("ycred use {first}")),
            None => Finding::of_error(&error),
        }],
    };
    findings.extend(others(examination));
    findings
}

fn serving(profile: &Profile, examination: &Examination) -> Vec<Finding> {
    let mut findings = profile_files::settings(profile);
    if let Some(path) = &profile.ca_file {
        let usable = find::check_named_file(path, "ca-file")
            .and_then(|()| Http::new(&examination.environment, Some(path)).check_roots());
        if let Err(error) = usable {
            findings.push(Finding::of_error(&error).part("ca-file"));
        }
    }
    if findings.is_empty() {
        let file = profile.settings.file.as_ref().map(|file| format!(", {}", file.display())).unwrap_or_default();
        let source = profile.source.name;
        findings.push(Finding::ok(format!("{profile} ({}): {source}{file}", reason(profile))));
    }
    findings
}

/// Returns why this profile serves.
fn reason(profile: &Profile) -> String {
    match profile.selected_by {
        SelectedBy::Named(by) => format!("by {by}"),
        SelectedBy::Default => "the default".to_owned(),
        SelectedBy::Environment(_) => "there is no default profile".to_owned(),
        SelectedBy::Only => "the only profile".to_owned(),
    }
}

/// Returns the first of several profiles, if none serves because there is no default.
fn several(examination: &Examination) -> Option<String> {
    let is_unnamed =
        matches!(examination.profile_ref, ProfileRef::Unnamed) && examination.environment.get(YCRED_PROFILE).is_none();
    match find::without_name(&examination.places) {
        Ok(FoundProfile::Several(names)) if is_unnamed => names.into_iter().next(),
        _ => None,
    }
}

/// Returns one warning for all other profiles that are broken.
fn others(examination: &Examination) -> Option<Finding> {
    let is_broken = |name: &String| {
        let named = ProfileRef::Name { by: "doctor", name: name.clone() };
        let (environment, places) = (&examination.environment, &examination.places);
        Profile::load(&named, environment, places, examination.clock.now()).is_err()
    };
    let serving = match examination.profile() {
        Ok(profile) => profile.name.clone(),
        // Its error has a line of its own.
        Err(_) => match &examination.profile_ref {
            ProfileRef::NameOrPath { text, .. } => text.to_str().map(str::to_owned),
            _ => Some(find::DEFAULT.to_owned()),
        },
    };
    let broken: Vec<String> = find::names(&examination.places)
        .into_iter()
        .filter(|name| Some(name) != serving.as_ref() && is_broken(name))
        .collect();
    let first = broken.first()?;
    let noun = if broken.len() == 1 { "profile is" } else { "profiles are" };
    Some(
        Finding::warn(format!("{} other {noun} broken: {}", broken.len(), broken.join(", ")))
            .part("others")
            .fix(format!("ycred doctor profile --profile {first}")),
    )
}
