//! `token`: gets a token of the profile as any call would, from the cache or the cloud.

use std::time::Duration;

use crate::base::clock::human;
use crate::base::diagnostics::Warning;
use crate::commands::check::{Check, Examination, Finding, NO_PROFILE, Verdict};

pub const CHECK: Check = Check {
    id: "token",
    about: "gets a token of the profile, from the cache or the cloud",
    parts: &[],
    // More than the default of `timeout`, which ends it with a better message.
    limit: Duration::from_secs(30),
    needs_network: true,
    run,
};

fn run(examination: &Examination) -> Vec<Finding> {
    let Ok(profile) = examination.profile() else { return vec![Finding::skip(NO_PROFILE)] };
    examination.with_session(|session| {
        let obtained = session.obtain(profile, &examination.options, Duration::ZERO);
        let mut findings = vec![match obtained {
            Ok(token) => {
                let left = human(token.credential.left(session.clock.now()));
                let account = profile.open().and_then(|grant| grant.account());
                let account = account.map(|account| format!(" of {account}")).unwrap_or_default();
                Finding::ok(format!("{profile}: a token{account}, valid for {left}"))
            }
            Err(error) => Finding::of_error(&error),
        }];
        if findings[0].verdict == Verdict::Ok
            && let Some(failure) = session.facts(profile, &examination.options, false).failure
        {
            let ago = human(session.clock.now().since(failure.at).max(0));
            let what = format!("the last attempt to renew it failed {ago} ago: {}", failure.message);
            let fix = failure.hint.unwrap_or_else(|| "ycred refresh".to_owned());
            findings.push(Finding::warn(what).fix(fix));
        }
        if let Some((kind, warning)) = session.diagnostics.take() {
            findings.push(with_fix(kind, &warning));
        }
        findings
    })
}

/// Returns the warning of a call, with what to do about it.
fn with_fix(kind: Warning, warning: &str) -> Finding {
    match (kind, warning.split_once("): ")) {
        // The command is a part of the warning.
        (Warning::KeyFileReadable, Some((what, fix))) => Finding::warn(format!("{what})")).fix(fix),
        (Warning::CacheUnusable | Warning::LoginNotSaved, _) => Finding::warn(warning).fix("ycred doctor store"),
        (Warning::ClockOff, _) => Finding::warn(warning).fix("ycred doctor clock"),
        _ => Finding::warn(warning),
    }
}
