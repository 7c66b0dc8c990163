//! The environment of a program that runs with a token: the variables that ycred sets and removes.

use crate::base::clock::Timestamp;
use crate::base::environment as env;
use crate::base::secret::Secret;
use crate::base::supplied_token::token_id;
use crate::process::launch::Change;
use crate::profile::Profile;

/// Returns the changes for `exec` and `env` (docs/hooks/exec.md). They set the token. They remove the variables that
/// programs prefer over it (the Terraform provider prefers `YC_SERVICE_ACCOUNT_KEY_FILE` over `YC_TOKEN`) and those
/// from which the profile reads its secrets.
pub fn changes(profile: &Profile, token: &Secret, expires: Timestamp) -> Vec<Change> {
    // The token comes last: a `static` profile may read YC_TOKEN, which is then removed first.
    common_changes(profile).into_iter().chain(token_changes(profile, token, expires)).collect()
}

/// Returns the changes that do not depend on the token: removed variables, and the profile's name.
pub fn common_changes(profile: &Profile) -> Vec<Change> {
    let preferred = [env::YC_SERVICE_ACCOUNT_KEY_FILE, env::YC_OAUTH_TOKEN].into_iter();
    let mut changes: Vec<Change> =
        preferred.chain(profile.secret_variables()).map(|name| Change::Unset(name.to_owned())).collect();
    match &profile.name {
        Some(name) => changes.push(Change::Set(env::YCRED_PROFILE, name.into())),
        // If the program runs ycred, that ycred uses the token from the environment and must not impersonate again.
        None => changes.extend([env::YCRED_PROFILE, env::YCRED_IMPERSONATE].map(|name| Change::Unset(name.into()))),
    }
    changes
}

/// Returns the changes that set the token, its expiry, and the id that binds the two.
pub fn token_changes(profile: &Profile, token: &Secret, expires: Timestamp) -> [Change; 4] {
    [
        Change::SetSecret(env::YC_TOKEN, token.clone()),
        Change::SetSecret(env::YC_IAM_TOKEN, token.clone()),
        Change::Set(env::YCRED_EXPIRES_AT, expires.to_string().into()),
        Change::Set(env::YCRED_TOKEN_ID, token_id(token, profile.name.as_deref()).into()),
    ]
}
