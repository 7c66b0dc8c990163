//! Calls that print, use or look up a token.

use crate::hooks::forms;

/// Commands that use a token without printing it on stdout, or that look at the cache.
const COMMANDS: &[&[&str]] = &[
    &["env"],
    &["exec", "true"],
    &["exec", "--serve", "true"],
    &["refresh"],
    &["list"],
    &["status"],
    &["status", "--json"],
    &["status", "--short"],
    &["status", "--all"],
    // Without the checks of clients, which read nothing of a profile but its name.
    &["doctor", "environment", "profile", "key", "store", "lock", "clock", "network", "token", "login"],
    &["doctor", "--report", "--json", "profile", "key", "token"],
    &["explain"],
    &["explain", "--json", "--host", "cr.yandex"],
];

/// Returns every call that prints, uses or looks up a token, as arguments and stdin.
pub fn calls() -> impl Iterator<Item = (&'static [&'static str], &'static str)> {
    let hooks = forms().filter(|(hook, _)| hook.returns_token).map(|(_, form)| (form.words, form.stdin));
    hooks.chain(COMMANDS.iter().map(|arguments| (*arguments, "")))
}
