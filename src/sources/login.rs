//! `login`: a person, once logged in by `ycred login`; from then on the refresh token, where the organisation gives one.
//!
//! A refresh token may be good for one use only, so whoever renews holds the login's own lock from reading it to storing
//! the next one, whatever the cache does: twenty processes without a cache still send it once.

pub mod client;
pub mod state;

use crate::base::clock::{human, millis};
use crate::base::error::{Error, Kind, Result, describe};
use crate::base::identity::Identity;
use crate::base::notes::Warning;
use crate::base::token::Credential;
use crate::cache::record::{FUTURE, RenewalRules};
use crate::cloud::Context;
use crate::disk::store;
use crate::disk::store::Lock;
use crate::obtain::{Caching, Grant};
use crate::sources::login::client::{LoginClient, is_grant_refused, refresh_token};
use crate::sources::login::state::{AccessToken, LoginState};
use crate::sources::source::{Key, Opening, Source};

pub const SOURCE: Source =
    Source { needs_person: true, ..Source::new("login", "a person, who logs in with a browser", KEYS, open) };

const KEYS: &[Key] = &[
    Key { name: "federation-id", value: "ID", about: "the identity federation to log in through" },
    Key { name: "client-id", value: "ID", about: "the OAuth client; default yc.oauth.public-sdk" },
    Key { name: "redirect-port", value: "PORT", about: "the port that the browser comes back to; default a free one" },
];

fn open(opening: &Opening<'_>) -> Result<Box<dyn Grant>> {
    let login = LoginClient::of(opening)?;
    Ok(Box::new(LoginGrant {
        identity: login.identity(opening),
        login,
        caching: opening.caching(),
        rules: opening.rules,
        name: opening.label.to_string(),
    }))
}

struct LoginGrant {
    login: LoginClient,
    identity: Identity,
    caching: Caching,
    /// When the login's own token is due for renewal: as in the cache, which may be switched off.
    rules: RenewalRules,
    name: String,
}

impl Grant for LoginGrant {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn caching(&self) -> Caching {
        self.caching
    }

    fn fetch(&self, cx: &Context<'_>) -> Result<Credential> {
        let outcome = store::poll(&cx.deadline, cx.clock, || {
            let state = match self.login.place.load() {
                Ok(state) => state,
                Err(error) => return Some(Err(error)),
            };
            if let Some(credential) = self.usable_token(&state, cx) {
                return Some(Ok(credential));
            }
            match self.login.place.try_lock() {
                // Whoever held it before has perhaps renewed.
                Lock::Held(_held) => Some(
                    self.login
                        .place
                        .load()
                        .and_then(|state| self.usable_token(&state, cx).map_or_else(|| self.renew(state, cx), Ok)),
                ),
                Lock::Impossible(error) => {
                    cx.notes.debug(|| format!("{}: the login cannot be locked: {}", self.name, describe(&error)));
                    Some(self.renew(state, cx))
                }
                Lock::Busy => None,
            }
        });
        outcome.unwrap_or_else(|| {
            let error = Error::unavailable("another ycred process has been renewing this login and has not come back");
            self.fall_back(&self.login.place.load()?, error.timed_out(), cx)
        })
    }

    fn account(&self) -> Result<String> {
        Ok("whoever is logged in".into())
    }
}

impl LoginGrant {
    /// The login's own token, where it will do: nothing is asked for it.
    fn usable_token(&self, state: &LoginState, cx: &Context<'_>) -> Option<Credential> {
        let access = state.access.as_ref()?;
        let credential = access.credential();
        let now = cx.clock.now();
        let left = credential.left(now);
        let will_do = match cx.requirements.force_since {
            Some(since) => access.began >= since && left.longer > 0,
            // Without a refresh token there is no better one.
            None if state.refresh_token.is_none() => left.longer > 0,
            // Got while this machine's clock was ahead, so that nothing it says of its end is true: as in the cache.
            None if access.began > now.plus(FUTURE) => false,
            None => {
                left.longer >= millis(cx.requirements.min_ttl).max(1)
                    && left.shorter > self.rules.soft_window(&credential)
                    && self.rules.max_age.is_none_or(|age| now.since(access.began) < millis(age))
            }
        };
        will_do.then_some(credential)
    }

    /// A new token for the refresh token, which is stored before anything else is done with the answer.
    fn renew(&self, state: LoginState, cx: &Context<'_>) -> Result<Credential> {
        let Some(current) = &state.refresh_token else {
            let what = if self.unexpired(&state, cx).is_some() { "cannot be renewed" } else { "has expired" };
            return Err(Error::refused(format!("the login {what}: its organisation gives no refresh tokens"))
                .hint(self.login.place.absent().hint));
        };
        let key = state.key(&self.login.place)?;
        // Taken before the request, which may bring the only refresh token that there is.
        let room = self.login.place.reserve();
        if let (Err(error), Some(credential)) = (&room, self.unexpired(&state, cx))
            && cx.requirements.force_since.is_none()
            && credential.left(cx.clock.now()).longer >= millis(cx.requirements.min_ttl)
        {
            cx.notes.debug(|| format!("{}: not renewed, since nothing can be kept: {}", self.name, describe(error)));
            return Ok(credential);
        }
        let began = cx.clock.now();
        let granted = match self.login.refresh(current, &key, cx) {
            Ok(granted) => granted,
            Err(error) if is_grant_refused(&error) => {
                // Without a working lock somebody else may have been first.
                let now = self.login.place.load()?;
                if now.refresh_token != state.refresh_token {
                    return self.usable_token(&now, cx).map_or_else(|| self.renew(now, cx), Ok);
                }
                return self.fall_back(&state, self.over(&error.reason()), cx);
            }
            Err(error) => return self.fall_back(&state, error, cx),
        };
        let credential = granted.credential();
        let renewed = refresh_token(&granted);
        let rotated = renewed.is_some();
        let access = credential.as_ref().ok().map(|credential| AccessToken::new(credential, began));
        let next = state.renewed(renewed, access);
        // Logged out meanwhile, or anew: then this is to be forgotten.
        if !self.login.place.is_current(&next) {
            cx.notes.debug(|| format!("{}: logged out meanwhile; the new token is not kept", self.name));
            return credential;
        }
        let stored = match room {
            Ok(room) => self.login.place.store(&next, Some(room)),
            // There may be room again.
            Err(_) => self.login.place.store(&next, None),
        };
        if let Err(error) = stored {
            let lost =
                if rotated { ", and neither can the renewed login: `ycred login` may be needed next time" } else { "" };
            let place = self.login.place.directory().display();
            let what = format!("{}: the token cannot be kept{lost}: {place}: {}", self.name, describe(&error));
            cx.notes.warn(Warning::LoginNotSaved, what);
        }
        credential
    }

    /// Renewing failed. The login's own token goes on while it lives, where the cache has none that would.
    fn fall_back(&self, state: &LoginState, error: Error, cx: &Context<'_>) -> Result<Credential> {
        let cached = match self.caching {
            Caching::Never => None,
            Caching::StoredToken(_) => cx.cache.entry(&self.identity).load().ok().flatten(),
        };
        let is_cached = cached
            .and_then(|record| record.credential())
            .is_some_and(|credential| credential.left(cx.clock.now()).longer > 0);
        match self.unexpired(state, cx).filter(|_| cx.requirements.force_since.is_none() && !is_cached) {
            Some(credential) => {
                let left = human(credential.left(cx.clock.now()).longer);
                let reason = error.reason();
                cx.notes.warn(
                    Warning::ServedAlthoughRenewingFailed,
                    format!("{}: the login's last token is used, {left} before it expires, since it could not be renewed: {reason}", self.name),
                );
                Ok(credential)
            }
            None => Err(error),
        }
    }

    fn unexpired(&self, state: &LoginState, cx: &Context<'_>) -> Option<Credential> {
        let credential = state.access.as_ref()?.credential();
        (credential.left(cx.clock.now()).longer > 0).then_some(credential)
    }

    fn over(&self, why: &str) -> Error {
        Error::new(Kind::Refused, format!("the login has expired or was revoked ({why})"))
            .hint(self.login.place.absent().hint)
    }
}
