//! Impersonation, around any source: the token of the account before buys one of the account after. Each link has its
//! own record and lock, so N impersonated accounts cost one token of the base, and a hit touches the outermost alone.

use std::time::Duration;

use super::{Caching, Grant, Opening};
use crate::cache::Want;
use crate::error::Result;
use crate::iam;
use crate::identity::Identity;
use crate::obtain::{Context, obtain};
use crate::profile::Installation;
use crate::token::Credential;

/// A grant of `account`'s tokens, bought with those of `inner`.
pub fn link(inner: Box<dyn Grant>, account: &str, opening: &Opening<'_>) -> Box<dyn Grant> {
    let identity = opening.installation.identify(inner.identity().clone()).impersonating(account);
    // A static token is not kept, but what it buys is: its digest, or the file whose content is compared, is part of
    // the identity that this one continues, so that it never serves another caller.
    Box::new(Impersonated {
        inner,
        account: account.to_owned(),
        identity,
        installation: opening.installation.clone(),
        caching: opening.caching,
    })
}

struct Impersonated {
    inner: Box<dyn Grant>,
    account: String,
    identity: Identity,
    installation: Installation,
    caching: Caching,
}

/// The least that the buying token must have left: enough for the call.
const FLOOR: Duration = Duration::from_secs(60);

impl Grant for Impersonated {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn caching(&self) -> Caching {
        self.caching
    }

    fn fetch(&self, cx: &Context<'_>) -> Result<Credential> {
        let want = Want { floor: FLOOR, force_since: cx.force_since };
        let caller = obtain(self.inner.as_ref(), &want, &Context { is_inner: true, floor: FLOOR, ..*cx })?;
        iam::create_for_service_account(&self.installation, &caller.credential.secret, &self.account, cx).map_err(
            |error| {
                error.hint(format!(
                    "{} needs the role iam.serviceAccounts.tokenCreator on {}",
                    self.inner.account().unwrap_or_else(|_| "the caller".into()),
                    self.account
                ))
            },
        )
    }

    fn inner(&self) -> Option<&dyn Grant> {
        Some(self.inner.as_ref())
    }

    fn account(&self) -> Result<String> {
        Ok(format!("service account {}, impersonated by {}", self.account, self.inner.account()?))
    }
}
