//! `status --verify`: asks the cloud whether it accepts the token, and for the name of the account.

use std::time::Duration;

use crate::base::account::Account;
use crate::base::error::{Kind, Result};
use crate::cloud::iam;
use crate::process::flags::Options;
use crate::profile::Profile;
use crate::session::Session;

/// What the cloud has said, for people; or why there is no token, or why the cloud rejects it.
pub type Verification = Result<String>;

/// Gets a token as a hook does, and presents it to the cloud if the ID of its account is known.
pub fn verify(profile: &Profile, options: &Options, session: &Session<'_>) -> Verification {
    let obtained = session.obtain(profile, options, Duration::ZERO)?;
    let facts = session.facts(profile, options, true);
    let account = obtained.credential.account.or(facts.account);
    let Some(Account { id: Some(id), .. }) = &account else {
        return Ok(
            "there is a token, but the cloud cannot be asked about it, because the account's ID is unknown".into()
        );
    };
    let secret = &obtained.credential.secret;
    let timeout = options.timeout.unwrap_or(profile.timeout);
    let name = session.with_context(profile, options, Duration::ZERO, timeout, |cx| {
        iam::subject_name(&profile.installation, secret, id, cx)
    });
    match name {
        Ok(name) => {
            let named = Account {
                name: Some(name).filter(|name| !name.is_empty()),
                ..account.clone().unwrap_or_else(Account::user)
            };
            let grant = profile.open()?;
            let cache = session.cache();
            let stored = cache.entry(grant.identity()).store_account(secret, &named, session.clock);
            session.diagnostics.debug(|| format!("{profile}: the account's name is stored: {}", stored.is_ok()));
            Ok(format!("the cloud accepts the token of {named}"))
        }
        // The token is good: the cloud knows who asks.
        Err(error) if error.is_answer && matches!(error.status, Some(403 | 404)) => {
            Ok("the cloud accepts the token, but the account may not look up its own name".into())
        }
        Err(error) if error.is_answer && error.status == Some(401) => Err(profile.name_in_hint(
            error
                .context(format!("{profile}: the cloud rejects the token"))
                .replace_hint("to get another token, run `ycred refresh`"),
        )),
        // Something in between has answered, such as a proxy, which says nothing about the token.
        Err(mut error) if error.kind == Kind::Refused && !error.is_answer => {
            error.kind = Kind::Unavailable;
            Err(error.context(profile))
        }
        Err(error) => Err(error.context(profile)),
    }
}
