//! `login`: a person's account. After `ycred login`, ycred renews the token with the refresh token, if the organization
//! issues one.
//!
//! A refresh token may be valid for one use only. So the renewing process holds the login's lock from reading the old
//! refresh token until the next one is stored. The lock is independent of the cache: twenty processes without a cache
//! send the refresh token once.

pub mod client;
pub mod state;

use crate::base::clock::{human, millis};
use crate::base::diagnostics::Warning;
use crate::base::error::{Error, Kind, Result, describe};
use crate::base::identity::Identity;
use crate::base::token::Credential;
use crate::cache::freshness::RenewalRules;
use crate::cache::record::FUTURE_TOLERANCE;
use crate::cloud::Context;
use crate::disk::store;
use crate::disk::store::Lock;
use crate::obtain::{Caching, Grant};
use crate::sources::login::client::{LoginClient, is_grant_refused, refresh_token};
use crate::sources::login::state::{AccessToken, LoginState};
use crate::sources::source::{Key, Source, SourceInput};

pub const SOURCE: Source =
    Source { needs_login: true, ..Source::new("login", "a person who logs in with a browser", KEYS, open) };

const KEYS: &[Key] = &[
    Key { name: "federation-id", value: "ID", about: "identity federation to log in through" },
    Key { name: "client-id", value: "ID", about: "OAuth client [default: yc.oauth.public-sdk]" },
    Key { name: "redirect-port", value: "PORT", about: "local port the browser returns to [default: a free one]" },
];

fn open(input: &SourceInput<'_>) -> Result<Box<dyn Grant>> {
    let login = LoginClient::of(input)?;
    Ok(Box::new(LoginGrant {
        identity: login.identity(input),
        login,
        caching: input.caching(),
        rules: input.rules,
        name: input.label.to_string(),
    }))
}

struct LoginGrant {
    login: LoginClient,
    identity: Identity,
    caching: Caching,
    /// When to renew the token that is stored with the login. The same rules as for the cache, which may be disabled.
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
                // Another process may have renewed the login while it held the lock.
                Lock::Held(_guard) => Some(
                    self.login
                        .place
                        .load()
                        .and_then(|state| self.usable_token(&state, cx).map_or_else(|| self.renew(state, cx), Ok)),
                ),
                Lock::Impossible(error) => {
                    cx.diagnostics.debug(|| format!("{}: cannot lock the login: {}", self.name, describe(&error)));
                    Some(self.renew(state, cx))
                }
                Lock::Busy => None,
            }
        });
        outcome.unwrap_or_else(|| {
            let error = Error::unavailable("another ycred process is renewing this login and did not finish in time");
            self.fall_back(&self.login.place.load()?, error.timed_out(), cx)
        })
    }

    fn account(&self) -> Result<String> {
        Ok("the logged-in user".into())
    }
}

impl LoginGrant {
    /// Returns the token stored with the login if it meets the requirements. Makes no request.
    fn usable_token(&self, state: &LoginState, cx: &Context<'_>) -> Option<Credential> {
        let access = state.access.as_ref()?;
        let credential = access.credential();
        let now = cx.clock.now();
        let left = credential.remaining(now);
        let is_usable = match cx.requirements.force_since {
            Some(since) => access.began >= since && left.max > 0,
            // Without a refresh token, the login has no other token.
            None if state.refresh_token.is_none() => left.max > 0,
            // The token was obtained while this machine's clock was ahead, so its times are unreliable. The cache has
            // the same rule.
            None if access.began > now.plus(FUTURE_TOLERANCE) => false,
            None => {
                left.max >= millis(cx.requirements.min_ttl).max(1)
                    && left.min > self.rules.soft_window(&credential)
                    && self.rules.max_age.is_none_or(|age| now.since(access.began) < millis(age))
            }
        };
        is_usable.then_some(credential)
    }

    /// Exchanges the refresh token for a new token. Stores the new refresh token before the new token is used.
    fn renew(&self, state: LoginState, cx: &Context<'_>) -> Result<Credential> {
        let Some(current) = &state.refresh_token else {
            let what = if self.unexpired(&state, cx).is_some() { "cannot be renewed" } else { "has expired" };
            return Err(Error::refused(format!("the login {what}: the organization issues no refresh tokens"))
                .hint(self.login.place.absent().hint));
        };
        let key = state.key(&self.login.place)?;
        // Reserve the space before the request: the response may contain the only valid refresh token.
        let space = self.login.place.reserve();
        if let (Err(error), Some(credential)) = (&space, self.unexpired(&state, cx))
            && cx.requirements.force_since.is_none()
            && credential.remaining(cx.clock.now()).max >= millis(cx.requirements.min_ttl)
        {
            cx.diagnostics.debug(|| {
                format!("{}: not renewed, because the new login cannot be saved: {}", self.name, describe(error))
            });
            return Ok(credential);
        }
        let began = cx.clock.now();
        let response = match self.login.refresh(current, &key, cx) {
            Ok(response) => response,
            Err(error) if is_grant_refused(&error) => {
                // If locking does not work, another process may have used the refresh token first.
                let latest = self.login.place.load()?;
                if latest.refresh_token != state.refresh_token {
                    return self.usable_token(&latest, cx).map_or_else(|| self.renew(latest, cx), Ok);
                }
                return self.fall_back(&state, self.ended(&error.reason()), cx);
            }
            Err(error) => return self.fall_back(&state, error, cx),
        };
        let credential = response.credential();
        let new_refresh_token = refresh_token(&response);
        let is_rotated = new_refresh_token.is_some();
        let access = credential.as_ref().ok().map(|credential| AccessToken::new(credential, began));
        let next = state.renewed(new_refresh_token, access);
        // If the user logged out or logged in again during the request, the result must not be stored.
        if !self.login.place.is_current(&next) {
            cx.diagnostics
                .debug(|| format!("{}: logged out during the request: the new token is not saved", self.name));
            return credential;
        }
        let result = match space {
            Ok(space) => self.login.place.store(&next, Some(space)),
            // There may be space again.
            Err(_) => self.login.place.store(&next, None),
        };
        if let Err(error) = result {
            let consequence = match is_rotated {
                true => ", and neither can the renewed login: the next call may need `ycred login`",
                false => "",
            };
            let place = self.login.place.directory().display();
            let what = format!("{}: the token cannot be saved{consequence}: {place}: {}", self.name, describe(&error));
            cx.diagnostics.warn(Warning::LoginNotSaved, what);
        }
        credential
    }

    /// Handles a failed renewal: returns the token stored with the login if it is valid and the cache has no valid one.
    ///
    /// # Errors
    /// `error`, in all other cases.
    fn fall_back(&self, state: &LoginState, error: Error, cx: &Context<'_>) -> Result<Credential> {
        let cached = match self.caching {
            Caching::Never => None,
            Caching::Enabled(_) => cx.cache.entry(&self.identity).load().ok().flatten(),
        };
        let is_cached = cached
            .and_then(|record| record.credential())
            .is_some_and(|credential| !credential.is_expired(cx.clock.now()));
        match self.unexpired(state, cx).filter(|_| cx.requirements.force_since.is_none() && !is_cached) {
            Some(credential) => {
                let left = human(credential.remaining(cx.clock.now()).max);
                let reason = error.reason();
                cx.diagnostics.warn(
                    Warning::ServedAlthoughRenewingFailed,
                    format!(
                        "{}: the login's last token is used, {left} before it expires, because renewing \
                         failed: {reason}",
                        self.name
                    ),
                );
                Ok(credential)
            }
            None => Err(error),
        }
    }

    /// Returns the token stored with the login if it has not expired.
    fn unexpired(&self, state: &LoginState, cx: &Context<'_>) -> Option<Credential> {
        let credential = state.access.as_ref()?.credential();
        (!credential.is_expired(cx.clock.now())).then_some(credential)
    }

    fn ended(&self, why: &str) -> Error {
        Error::new(Kind::Refused, format!("the login has expired or was revoked ({why})"))
            .hint(self.login.place.absent().hint)
    }
}
