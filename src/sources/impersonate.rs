//! Impersonation, for any source: a grant that exchanges the token of another grant for a service account's token.
//!
//! Grants can be chained. Each has its own cache record and lock, so profiles that impersonate different accounts share
//! the source's token. A cache hit reads only the record of the last account.

use std::time::Duration;

use crate::base::account::Account;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::identity::Identity;
use crate::base::secret::Secret;
use crate::base::token::Credential;
use crate::cache::freshness::Requirements;
use crate::cloud::Context;
use crate::cloud::iam;
use crate::cloud::installation::Installation;
use crate::obtain::{Caching, Grant};
use crate::obtain::{ObtainedToken, obtain};
use crate::sources::source::SourceInput;

/// Creates a grant that exchanges the tokens of `inner` for tokens of `account`.
pub fn link(inner: Box<dyn Grant>, account: &str, input: &SourceInput<'_>) -> Box<dyn Grant> {
    let identity = input.installation.identify(inner.identity().clone()).impersonating(account);
    // A static token is not cached, but the token it is exchanged for is. The identity extends the one of `inner`,
    // which contains the static token's digest or watches its file. So another caller never gets this cached token.
    Box::new(ImpersonatedGrant {
        inner,
        account: account.to_owned(),
        identity,
        installation: input.installation.clone(),
        caching: input.caching(),
    })
}

struct ImpersonatedGrant {
    inner: Box<dyn Grant>,
    account: String,
    identity: Identity,
    installation: Installation,
    caching: Caching,
}

impl ImpersonatedGrant {
    /// Gets the token of the calling account, from the cache if possible.
    fn caller_token(&self, force_since: Option<Timestamp>, cx: &Context<'_>) -> Result<ObtainedToken> {
        let requirements = Requirements { min_ttl: MIN_TTL, force_since };
        obtain(self.inner.as_ref(), &Context { is_inner: true, requirements, ..*cx })
    }

    /// Exchanges the caller's token for one of the impersonated account.
    fn exchange(&self, caller_token: &Secret, cx: &Context<'_>) -> Result<Credential> {
        iam::create_for_service_account(&self.installation, caller_token, &self.account, cx)
            .map(|credential| credential.of(Account::service_account(&self.account)))
    }
}

/// Returns true if the cloud rejected the caller's token, rather than the request made with it.
fn is_unauthenticated(error: &Error) -> bool {
    error.kind == Kind::Refused && error.status == Some(401)
}

/// Returns true if a token was issued before `moment`, by this machine's clock.
fn is_older(credential: &Credential, moment: Timestamp) -> bool {
    credential.issued.shifted(-credential.skew) < moment
}

/// Minimum remaining validity of the caller's token: enough for the API call.
const MIN_TTL: Duration = Duration::from_secs(60);

impl Grant for ImpersonatedGrant {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn caching(&self) -> Caching {
        self.caching
    }

    fn fetch(&self, cx: &Context<'_>) -> Result<Credential> {
        let started = cx.clock.now();
        let caller = self.caller_token(cx.requirements.force_since, cx)?;
        let result = match self.exchange(&caller.credential.secret, cx) {
            // The cached caller's token may have been revoked. Get a new one and try once more, unless this is a
            // background renewal (one attempt). If the token was issued during this call, a new one would not help.
            Err(error) if cx.attempts > 1 && is_older(&caller.credential, started) && is_unauthenticated(&error) => {
                match self.caller_token(Some(started), cx) {
                    Ok(fresh) if fresh.credential.secret != caller.credential.secret => {
                        self.exchange(&fresh.credential.secret, cx)
                    }
                    _ => Err(error),
                }
            }
            result => result,
        };
        result.map_err(|error| {
            let caller = self.inner.account().unwrap_or_else(|_| "the calling account".into());
            let hint = match (is_unauthenticated(&error), self.inner.caching()) {
                (true, Caching::Never) => {
                    format!("the cloud rejected the token of {caller}: replace the token where the profile reads it")
                }
                (true, Caching::Enabled(_)) => {
                    format!("the cloud rejected the token of {caller}: get a new one with `ycred refresh`")
                }
                (false, _) if error.status == Some(404) => {
                    format!("check the ID in `impersonate`: yc iam service-account get {}", self.account)
                }
                (false, _) => format!("grant {caller} the role iam.serviceAccounts.tokenCreator on {}", self.account),
            };
            error.hint(hint)
        })
    }

    fn inner(&self) -> Option<&dyn Grant> {
        Some(self.inner.as_ref())
    }

    fn account(&self) -> Result<String> {
        Ok(format!("service account {}, impersonated by {}", self.account, self.inner.account()?))
    }
}
