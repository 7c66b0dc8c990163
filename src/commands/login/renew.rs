//! The hidden command `renew-login`, which runs a renewal process. ycred starts it; people have no use for it.

use crate::base::error::Result;
use crate::cache::freshness::RenewalRules;
use crate::cloud::Context;
use crate::process::flags::Options;
use crate::profile::ProfileRef;
use crate::session::Session;
use crate::sources::login::renewal;
use crate::sources::login::renewal::{PROCESS_LIMIT, RENEW_LOGIN, RenewalCall};
use crate::system::{process, signals};

/// Renews a login. The processes that wait for it read the result from the login's state.
///
/// # Errors
/// The profile cannot be loaded any more. Nobody reads this.
pub fn run(call: &RenewalCall, session: &Session<'_>) -> Result<()> {
    signals::ignore_ending_signals();
    process::end_after(PROCESS_LIMIT);
    let path = call.profile.clone().into_os_string();
    let profile = session.profile(&ProfileRef::NameOrPath { by: RENEW_LOGIN, text: path })?;
    let Some(login) = profile.login()? else { return Ok(()) };
    let rules = RenewalRules { refresh_before: profile.refresh_before, max_age: profile.max_age };
    let renew = |cx: &Context<'_>| {
        renewal::run(&login, rules, call, cx);
        Ok(())
    };
    session.with_context(&profile, &Options::default(), call.min_ttl, PROCESS_LIMIT, renew)
}
