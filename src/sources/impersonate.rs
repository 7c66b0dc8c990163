//! Impersonation, around any source: the token of the account before buys one of the account after. Each link has its
//! own record and lock, so N impersonated accounts cost one token of the base, and a hit touches the outermost alone.

use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::identity::Identity;
use crate::base::secret::Secret;
use crate::base::token::Credential;
use crate::cache::record::Requirements;
use crate::cloud::Context;
use crate::cloud::iam;
use crate::cloud::installation::Installation;
use crate::obtain::{Caching, Grant};
use crate::obtain::{ObtainedToken, obtain};
use crate::sources::source::Opening;

/// A grant of `account`'s tokens, bought with those of `inner`.
pub fn link(inner: Box<dyn Grant>, account: &str, opening: &Opening<'_>) -> Box<dyn Grant> {
    let identity = opening.installation.identify(inner.identity().clone()).impersonating(account);
    // A static token is not kept, but what it buys is: its digest, or the file whose content is compared, is part of
    // the identity that this one continues, so that it never serves another caller.
    Box::new(ImpersonatedGrant {
        inner,
        account: account.to_owned(),
        identity,
        installation: opening.installation.clone(),
        caching: opening.caching(),
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
    /// The token to buy with.
    fn caller(&self, force_since: Option<Timestamp>, cx: &Context<'_>) -> Result<ObtainedToken> {
        let requirements = Requirements { min_ttl: MIN_TTL, force_since };
        obtain(self.inner.as_ref(), &Context { is_inner: true, requirements, ..*cx })
    }

    fn exchange(&self, caller: &Secret, cx: &Context<'_>) -> Result<Credential> {
        iam::create_for_service_account(&self.installation, caller, &self.account, cx)
    }
}

/// Whether it was the token that was refused, and not what was asked for with it.
fn is_unauthenticated(error: &Error) -> bool {
    error.kind == Kind::Refused && error.status == Some(401)
}

/// Whether a token was there before this moment of our clock.
fn is_older(credential: &Credential, moment: Timestamp) -> bool {
    credential.issued.shifted(-credential.skew) < moment
}

/// The least that the buying token must have left: enough for the call.
const MIN_TTL: Duration = Duration::from_secs(60);

impl Grant for ImpersonatedGrant {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn caching(&self) -> Caching {
        self.caching
    }

    fn fetch(&self, cx: &Context<'_>) -> Result<Credential> {
        let began = cx.clock.now();
        let caller = self.caller(cx.requirements.force_since, cx)?;
        let bought = match self.exchange(&caller.credential.secret, cx) {
            // The one that was at hand has been revoked, perhaps; a new one is had once, unless a cached token serves
            // meanwhile. One that has just been had is as good as any.
            Err(error) if cx.attempts > 1 && is_older(&caller.credential, began) && is_unauthenticated(&error) => {
                match self.caller(Some(began), cx) {
                    Ok(fresh) if fresh.credential.secret != caller.credential.secret => {
                        self.exchange(&fresh.credential.secret, cx)
                    }
                    _ => Err(error),
                }
            }
            bought => bought,
        };
        bought.map_err(|error| {
            let caller = self.inner.account().unwrap_or_else(|_| "the caller".into());
            let hint = match (is_unauthenticated(&error), self.inner.caching()) {
                (true, Caching::Never) => {
                    format!("the token of {caller} is not accepted; put a new one where it comes from")
                }
                (true, Caching::StoredToken(_)) => {
                    format!("the token of {caller} is not accepted; a new one is had by `ycred refresh`")
                }
                (false, _) => format!("{caller} needs the role iam.serviceAccounts.tokenCreator on {}", self.account),
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
