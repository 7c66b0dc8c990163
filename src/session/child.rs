//! The environment of a program that gets a token from us: what it is given, and what would come before that.

use crate::base::clock::Timestamp;
use crate::base::environment as env;
use crate::base::secret::Secret;
use crate::process::launch::Change;
use crate::profile::Profile;

/// What a program's environment gets and loses (docs/hooks/exec.md): the token; not what would outrank it
/// (`YC_SERVICE_ACCOUNT_KEY_FILE` beats `YC_TOKEN` in the Terraform provider), nor what the profile reads its secrets
/// from.
pub fn changes(profile: &Profile, token: &Secret, expires: Timestamp) -> Vec<Change> {
    // In this order: a static profile may read YC_TOKEN itself.
    common_changes(profile).into_iter().chain(token_changes(token, expires)).collect()
}

/// What a program loses and is told of the profile, however it gets at a token.
pub fn common_changes(profile: &Profile) -> Vec<Change> {
    let outranking = [env::YC_SERVICE_ACCOUNT_KEY_FILE, env::YC_OAUTH_TOKEN].into_iter();
    let mut changes: Vec<Change> =
        outranking.chain(profile.secret_variables()).map(|name| Change::Unset(name.to_owned())).collect();
    match &profile.name {
        Some(name) => changes.push(Change::Set(env::YCRED_PROFILE, name.into())),
        // A ycred inside takes the token from the environment, and must not impersonate with it once more.
        None => changes.extend([env::YCRED_PROFILE, env::YCRED_IMPERSONATE].map(|name| Change::Unset(name.into()))),
    }
    changes
}

/// The token itself, and until when.
pub fn token_changes(token: &Secret, expires: Timestamp) -> [Change; 3] {
    [
        Change::SetSecret(env::YC_TOKEN, token.clone()),
        Change::SetSecret(env::YC_IAM_TOKEN, token.clone()),
        Change::Set(env::YCRED_EXPIRES_AT, expires.to_string().into()),
    ]
}
