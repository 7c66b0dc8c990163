//! What ycred looks at to select a profile, in its order, and what came of each.

use crate::base::environment::YCRED_PROFILE;
use crate::base::supplied_token::{SuppliedToken, TOKEN_VARIABLES};
use crate::profile::find::FoundProfile;
use crate::profile::{Profile, ProfileRef, SelectedBy, find};
use crate::session::Session;
use crate::sources;

/// The flag that selects a profile.
const PROFILE_FLAG: &str = "--profile";

/// A place that may select a profile.
pub struct Candidate {
    /// A flag, a variable, or a file.
    pub what: String,
    pub state: CandidateState,
}

/// What came of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandidateState {
    /// There is nothing.
    Absent,
    Used,
    /// It selects the profile, which cannot be used.
    Failed,
    /// There is something, but an earlier place selects the profile.
    NotUsed,
    /// There is something that cannot select a profile: a supplied token that has expired.
    Expired,
}

impl CandidateState {
    pub fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Used => "used",
            Self::Failed => "failed",
            Self::NotUsed => "not-used",
            Self::Expired => "expired",
        }
    }
}

/// Returns every place in the order in which ycred looks at them.
pub fn candidates(reference: &ProfileRef, profile: Option<&Profile>, session: &Session<'_>) -> Vec<Candidate> {
    let (environment, now) = (session.environment, session.clock.now());
    let is_set = |name: &str| environment.get(name).is_some();
    // The file that was found: the alias, if it led to the profile.
    let file = profile.and_then(|profile| {
        profile.alias.as_ref().map(|alias| alias.file.as_path()).or(profile.settings.file.as_deref())
    });
    let selected_by = profile.map(|profile| &profile.selected_by);
    let flag = match reference {
        ProfileRef::NameOrPath { by, .. } if *by != PROFILE_FLAG => "the argument PROFILE",
        _ => PROFILE_FLAG,
    };
    let mut places = vec![
        (flag.to_owned(), !matches!(reference, ProfileRef::Unnamed), {
            matches!(selected_by, Some(SelectedBy::Named(by)) if *by != YCRED_PROFILE)
        }),
        (YCRED_PROFILE.to_owned(), is_set(YCRED_PROFILE), selected_by == Some(&SelectedBy::Named(YCRED_PROFILE))),
    ];
    let defaults = session.places.profile_candidates(find::DEFAULT).into_iter().map(|path| {
        let is_used = selected_by == Some(&SelectedBy::Default) && file == Some(path.as_path());
        (path.display().to_string(), find::is_present(&path), is_used)
    });
    places.extend(defaults);
    for variable in sources::variables() {
        let is_used = selected_by == Some(&SelectedBy::Environment(Some(variable)));
        places.push((variable.to_owned(), is_set(variable), is_used));
    }
    let is_only = selected_by == Some(&SelectedBy::Only);
    let has_only = matches!(find::only(session.places), Ok(FoundProfile::Only { .. }));
    places.push(("the only profile".to_owned(), is_only || has_only, is_only));
    let is_expired = |what: &str| {
        let variable = TOKEN_VARIABLES.into_iter().find(|variable| *variable == what);
        let supplied = variable.and_then(|variable| SuppliedToken::in_variable(environment, variable));
        supplied.is_some_and(|supplied| supplied.is_expired(now))
    };
    // Without a profile, the first place that has something is the one that failed.
    let mut has_failed = profile.is_some();
    let mut candidate = |(what, is_present, is_used): (String, bool, bool)| {
        let state = match (is_used, is_present) {
            (true, _) => CandidateState::Used,
            (false, false) => CandidateState::Absent,
            (false, true) if is_expired(&what) => CandidateState::Expired,
            (false, true) if !std::mem::replace(&mut has_failed, true) => CandidateState::Failed,
            (false, true) => CandidateState::NotUsed,
        };
        Candidate { what, state }
    };
    places.into_iter().map(&mut candidate).collect()
}
