//! `logout`: deletes the cached tokens and the login of a profile, or of all profiles, and reports what it deleted.
//!
//! Access keys that were issued for a deleted token are deleted too. In the cloud, the tokens stay valid, because other
//! programs may use the same ones. `--revoke` revokes them there as well.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use clap::{Arg, ArgAction};

use crate::base::clock::Deadline;
use crate::base::error::{Error, Result, clean, describe};
use crate::base::identity::Identity;
use crate::base::secret::Secret;
use crate::base::token::Credential;
use crate::cache::logout::{ClearedRecord, LogoutPatience, RemovedToken};
use crate::cache::record::Record;
use crate::cache::{BusyIdentity, Cache, DeletedIdentities, Slot};
use crate::cloud::{Context, iam};
use crate::commands::command::{Command, CommandCall, profile_argument, selected_profile};
use crate::commands::login::notice;
use crate::disk::store;
use crate::disk::store::Lock;
use crate::obtain::Grant;
use crate::process::flags::Example;
use crate::process::{Done, Outcome, Reply};
use crate::profile::{Profile, ProfileRef, find};
use crate::session::Session;
use crate::sources::access_key;
use crate::sources::login::client::{AttemptHooks, LoginClient};
use crate::sources::login::state::{LoginState, LoginStore, Removed};

pub const COMMAND: Command = Command {
    examples: &[
        Example { call: "ycred logout prod", about: "delete the login and the cached tokens of `prod`" },
        Example { call: "ycred logout --all --revoke", about: "delete everything, and revoke it in the cloud" },
    ],
    ..Command::new("logout", "delete the login and cached tokens of a profile, or of all", arguments, run)
};

fn arguments(command: clap::Command) -> clap::Command {
    command
        .arg(profile_argument())
        .arg(Arg::new("all").long("all").action(ArgAction::SetTrue).help("delete every login and every cached token"))
        .arg(Arg::new("revoke").long("revoke").action(ArgAction::SetTrue).help("also revoke the tokens in the cloud"))
        .after_help("With --revoke, the tokens stop working in every program that uses them.")
}

fn run(call: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    let mut report = Report::default();
    let must_revoke = call.matches.get_flag("revoke");
    if call.matches.get_flag("all") {
        if call.options.profile.is_some() || call.value("name").is_some() {
            return Err(Error::usage("cannot combine --all with a profile")
                .hint("run `ycred logout --all`, or omit --all to log out of one profile"));
        }
        let limit = call.options.timeout.unwrap_or(ALL_LIMIT);
        let deadline = Deadline::of_run(limit);
        if !must_revoke {
            delete_all(&deadline, session, &mut report);
            return Ok(report.outcome());
        }
        let local_states = all_local_states(&deadline.share(session.clock, ALL_STATES_SHARE), session);
        // Leaves time for the cloud. What cannot be deleted can still be revoked.
        delete_all(&deadline.share(session.clock, DELETION_SHARE), session, &mut report);
        let mut revoked = Vec::new();
        for local_state in local_states {
            local_state.revoke(limit, call, session, &mut revoked, &mut report);
        }
        return Ok(report.outcome());
    }
    let profile = session.profile(&selected_profile(call)?)?;
    // Read the tokens before they are deleted.
    let limit = call.options.timeout.unwrap_or(profile.timeout);
    let deadline = Deadline::of_run(limit).share(session.clock, ONE_STATE_SHARE);
    let local_state = must_revoke.then(|| LocalState::of(&profile, &deadline, session)).transpose()?;
    // What cannot be deleted can still be revoked.
    report.error = delete_one(&profile, call, session, &mut report.text).err();
    if report.text.is_empty() && report.error.is_none() {
        let _ = writeln!(report.text, "{profile}: no token in the cache");
    }
    if let Some(local_state) = local_state {
        local_state.revoke(limit, call, session, &mut Vec::new(), &mut report);
    }
    Ok(report.outcome())
}

/// The lines to print at the end, and the first error.
#[derive(Default)]
struct Report {
    text: String,
    error: Option<Error>,
}

impl Report {
    fn fail(&mut self, error: Error) {
        self.error.get_or_insert(error);
    }

    fn outcome(self) -> Outcome {
        let code = self.error.as_ref().map_or(0, |error| error.kind.exit_code());
        let stderr = self.error.map(|error| error.render()).unwrap_or_default();
        Outcome::Done(Done { reply: Reply { code, ..Reply::text(self.text) }, stderr, ..Done::default() })
    }
}

/// The time limit of `--all`, which may have to wait for many processes.
const ALL_LIMIT: Duration = Duration::from_secs(9);
/// The share of the time limit of `--all` in which to wait for renewals of the logins that are revoked.
const ALL_STATES_SHARE: f64 = 0.5;
/// The same for one profile. Most renewals end in that time, and deleting takes less than a second.
const ONE_STATE_SHARE: f64 = 0.75;
/// The share of the remaining time in which to delete everything, if it is revoked afterwards.
const DELETION_SHARE: f64 = 0.7;

/// Deletes as much as it can. What it cannot delete is in the report.
fn delete_all(deadline: &Deadline, session: &Session<'_>, report: &mut Report) {
    // Logins first: a hook can use a login to put a token back into the cache.
    if let Ok(state) = &session.places.state {
        // Leaves time for the cache beside a stopped process that is renewing one of them.
        end_all_logins(state, &deadline.share(session.clock, 0.5), session, report);
    }
    let cache = session.cache();
    if let Err(error) = delete_all_tokens(&cache, deadline, session, report) {
        report.fail(cannot_delete(Path::new(&cache.place()), &error));
    }
}

fn end_all_logins(state: &Path, deadline: &Deadline, session: &Session<'_>, report: &mut Report) {
    let mut ended = 0;
    let login_stores = LoginStore::all(state).unwrap_or_else(|error| {
        report.fail(cannot_delete(state, &error));
        Vec::new()
    });
    for login_store in login_stores {
        match end_login(&login_store, deadline, session) {
            Ok(removed) => ended += usize::from(removed.any),
            Err(error) => report.fail(cannot_delete(state, &error)),
        }
    }
    if let Err(error) = LoginStore::remove_temporary_files(state) {
        report.fail(cannot_delete(state, &error));
    }
    if ended > 0 {
        let _ = writeln!(report.text, "{}: ended {}", clean(&state.display().to_string()), counted(ended, "login"));
    }
}

fn delete_all_tokens(cache: &Cache, deadline: &Deadline, session: &Session<'_>, report: &mut Report) -> io::Result<()> {
    let patience = LogoutPatience::default();
    let (mut deleted, mut emptied) = empty_all(cache, deadline, &patience, session)?;
    let mut removed = deleted.tokens;
    let is_unmarked = deleted.unmarked.is_some() || emptied.iter().any(|(_, cleared)| cleared.marked.is_err());
    if is_unmarked && !deadline.left(session.clock).is_zero() {
        // The disk is full, but there may be room now. Before that, a fetch may have stored a token.
        removed += emptied.iter().filter(|(_, cleared)| cleared.token != RemovedToken::Nothing).count();
        (deleted, emptied) = empty_all(cache, deadline, &patience, session)?;
        removed += deleted.tokens;
    }
    for (busy, cleared) in emptied {
        let token = cleared.token;
        let again = match deadline.left(session.clock).is_zero() {
            true => Ok(cleared),
            false => remove_again(&busy.slot, cleared, || busy.try_all_locks(), deadline, &patience, session),
        };
        removed += usize::from(again.as_ref().map_or(token, |again| again.token) != RemovedToken::Nothing);
        match again {
            Ok(again) => deleted.unmarked = deleted.unmarked.or(again.marked.err()),
            Err(error) => deleted.fail(Err(error)),
        }
    }
    let place = cache.place();
    let _ = writeln!(report.text, "{}: deleted {}", clean(&place), counted(removed, "cached token"));
    if let Some(error) = deleted.error {
        report.fail(cannot_delete(Path::new(&place), &error));
    }
    if !deleted.is_listed || deleted.left > 0 {
        let left = if deleted.is_listed { counted(deleted.left, "record") } else { "records".to_owned() };
        let what = format!("{place}: {left} left when the time limit was reached");
        report.fail(Error::unavailable(what).timed_out());
    }
    if let Some(error) = deleted.unmarked {
        report.fail(cannot_mark(&place, &error).hint(LOG_OUT_AGAIN));
    }
    Ok(())
}

/// Deletes the idle identities, and empties the records of the others, which it returns. Does not wait for fetches: one of them
/// may take the rest of the time.
fn empty_all<'a>(
    cache: &'a Cache,
    deadline: &Deadline,
    patience: &LogoutPatience,
    session: &Session<'_>,
) -> io::Result<(DeletedIdentities<'a>, Vec<(BusyIdentity<'a>, ClearedRecord)>)> {
    let mut deleted = cache.delete_idle(deadline, patience, session.clock)?;
    let mut emptied = Vec::new();
    for busy in std::mem::take(&mut deleted.busy) {
        if deadline.left(session.clock).is_zero() {
            deleted.left += 1;
            continue;
        }
        match busy.slot.clear(patience, session.clock) {
            Ok(cleared) => emptied.push((busy, cleared)),
            Err(error) => deleted.fail(Err(error)),
        }
    }
    Ok((deleted, emptied))
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

fn delete_one(profile: &Profile, call: &CommandCall, session: &Session<'_>, report: &mut String) -> Result<()> {
    let deletion = Deletion {
        profile,
        deadline: Deadline::of_run(call.options.timeout.unwrap_or(profile.timeout)),
        is_revoked_later: call.matches.get_flag("revoke"),
        advice: "; to revoke a copy that you still have: ycred revoke - < FILE; next time: ycred logout --revoke",
        hint: LOG_OUT_AGAIN,
        is_shared: &|_| false,
        session,
    };
    let grant = profile.open()?;
    let ended = deletion.end_login(report);
    deletion.delete_tokens(grant.as_ref(), report).and(ended)
}

/// Deletes what is kept of one profile on this machine.
pub struct Deletion<'a> {
    pub profile: &'a Profile,
    pub deadline: Deadline,
    /// True if the tokens are revoked in the cloud afterwards.
    pub is_revoked_later: bool,
    /// What to add to the line about a token that stays valid in the cloud.
    pub advice: &'static str,
    /// The hint if a process that is fetching a token may still store it.
    pub hint: &'static str,
    /// Returns true for an identity whose tokens stay, because another profile has it too.
    pub is_shared: &'a dyn Fn(&Identity) -> bool,
    pub session: &'a Session<'a>,
}

impl Deletion<'_> {
    /// Ends the login, if the profile has one. Adds what it did to the report.
    ///
    /// # Errors
    /// Profile (3) or Unavailable (4): the login cannot be deleted.
    pub fn end_login(&self, report: &mut String) -> Result<()> {
        let Self { profile, session, .. } = self;
        let Some(login) = profile.login()? else { return Ok(()) };
        // Leaves time for the tokens beside a stopped process that is renewing it.
        let removed = end_login(&login.store, &self.deadline.share(session.clock, 0.5), session)
            .map_err(|error| cannot_delete(login.store.directory(), &error))?;
        if removed.any {
            let _ = writeln!(report, "{profile}: logged out and deleted the login's data");
        }
        Ok(())
    }

    /// Deletes the tokens and access keys of a grant from the cache. Adds them to the report.
    ///
    /// # Errors
    /// Profile (3) or Unavailable (4): a record cannot be deleted, a process that is fetching a token may still store it, or not
    /// all access keys were found in time.
    pub fn delete_tokens(&self, grant: &dyn Grant, report: &mut String) -> Result<()> {
        let Self { profile, deadline, session, .. } = self;
        let cache = session.cache();
        let cache_error = |error| cannot_delete(Path::new(&cache.place()), &error);
        let (mut has_all_keys, mut marked) = (true, Ok(()));
        // Empty the records of the chain first. From then on, a process that is getting an access key for one of these tokens
        // cannot store it, although its key has no record yet.
        let (patience, mut emptied) = (LogoutPatience::default(), Vec::new());
        let mut link: Option<&dyn Grant> = Some(grant);
        while let Some(grant) = link.take() {
            link = grant.inner();
            if !(self.is_shared)(grant.identity()) {
                let cleared =
                    cache.entry(grant.identity()).slot.clear(&patience, session.clock).map_err(cache_error)?;
                emptied.push((grant, cleared));
            }
        }
        if !(self.is_shared)(grant.identity()) {
            // Wait for the access keys first: a process that is getting one waits for a token of the grant.
            let request = |record: &Record| access_key::request_of(record.settings(), grant.identity());
            let keys = cache.slots_where(&grant.identity().name(), request, deadline, session.clock);
            let keys = keys.map_err(cache_error)?;
            has_all_keys = keys.is_complete;
            for (slot, request) in keys.slots {
                let cleared = remove_token(&slot, deadline, session).map_err(cache_error)?;
                marked = marked.and(cleared.marked);
                if let RemovedToken::Token(expires) = cleared.token {
                    let session_name = request.session_name;
                    let _ = writeln!(
                        report,
                        "{profile}: deleted the cached access key of session {session_name}, \
                         still valid in the cloud until {expires}"
                    );
                }
            }
        }
        let validity = |expires| match self.is_revoked_later {
            true => format!("which expires at {expires}"),
            false => format!("still valid in the cloud until {expires}{}", self.advice),
        };
        for (grant, cleared) in emptied {
            let (slot, token) = (&cache.entry(grant.identity()).slot, cleared.token);
            let again = remove_again(slot, cleared, || slot.try_all_locks(), deadline, &patience, session);
            if let RemovedToken::Token(expires) = again.as_ref().map_or(token, |again| again.token) {
                let account = grant.account().unwrap_or_else(|_| "an account".into());
                let validity = validity(expires);
                let _ = writeln!(report, "{profile}: deleted the cached token of {account}, {validity}");
            }
            marked = marked.and(again.map_err(cache_error)?.marked);
        }
        if !has_all_keys {
            let what = format!("{}: the time limit was reached before all access keys were found", cache.place());
            return Err(Error::unavailable(what).timed_out());
        }
        marked.map_err(|error| cannot_mark(&cache.place(), &error).hint(self.hint))
    }
}

const LOG_OUT_AGAIN: &str = "free some disk space, or wait until no ycred process is running, then log out again";

/// The error of a logout that has deleted every token, but has no room for what keeps a running fetch from storing another one.
fn cannot_mark(place: &str, error: &io::Error) -> Error {
    let what = format!(
        "{place}: the tokens are deleted, but a process that is fetching one now may still store it, because \
         last-logout cannot be written"
    );
    Error::unavailable(what).because(describe(error))
}

fn cannot_delete(place: &Path, error: &io::Error) -> Error {
    Error::of_disk(format!("{}: cannot delete its contents", place.display()), error)
}

/// Deletes a token from the cache.
///
/// If a fetch is running, waits for its end and deletes again. The fetch may have stored a token if it checked the
/// record just before the first deletion.
fn remove_token(slot: &Slot<'_>, deadline: &Deadline, session: &Session<'_>) -> io::Result<ClearedRecord> {
    let patience = LogoutPatience::default();
    let cleared = slot.clear(&patience, session.clock)?;
    remove_again(slot, cleared, || slot.try_all_locks(), deadline, &patience, session)
}

/// The second half of [`remove_token`]. `first` is the result of the first half.
fn remove_again(
    slot: &Slot<'_>,
    first: ClearedRecord,
    try_all_locks: impl Fn() -> io::Result<Vec<Lock>>,
    deadline: &Deadline,
    patience: &LogoutPatience,
    session: &Session<'_>,
) -> io::Result<ClearedRecord> {
    // Each group of processes with the same proxies and certificates has a lock of its own.
    let is_idle = || try_all_locks().map_or(true, |locks| !locks.iter().any(|lock| matches!(lock, Lock::Busy)));
    if store::poll(deadline, session.clock, || is_idle().then_some(())).is_none() {
        return Ok(first);
    }
    match slot.clear(patience, session.clock) {
        Ok(again) => Ok(ClearedRecord {
            token: if again.token == RemovedToken::Nothing { first.token } else { again.token },
            // Without a record, the disk is full. A mark that the first half has left is enough: nothing was stored since.
            marked: if slot.exists() { again.marked } else { again.marked.or(first.marked) },
        }),
        Err(_) if !slot.exists() => Ok(first),
        Err(error) => Err(error),
    }
}

/// Ends a login. It stops working immediately; its files are deleted once no process is renewing it.
fn end_login(login_store: &LoginStore, deadline: &Deadline, session: &Session<'_>) -> io::Result<Removed> {
    let ended = login_store.end()?;
    // A renewing process checks the marker before it stores. The lock covers the moment between the two.
    let _lock = login_store.wait_for_lock(deadline, session.clock);
    notice::clear(login_store, session);
    login_store.remove().map(|removed| Removed { any: ended.any || removed.any })
}

/// The tokens and the login of a profile, as far as they can be revoked in the cloud.
struct LocalState {
    profile: Profile,
    /// The valid tokens of each link of the impersonation chain, outermost first.
    tokens: Vec<Secret>,
    login: Option<(LoginClient, LoginState)>,
    /// True if another process has sent the refresh token and has no answer yet.
    is_being_renewed: bool,
}

fn all_local_states(deadline: &Deadline, session: &Session<'_>) -> Vec<LocalState> {
    let load = |name: String| session.profile(&ProfileRef::Name { by: "logout", name: name.clone() }).ok();
    // Skips aliases: the profile of an alias is in the list under its own name.
    let profiles = find::names(session.places)
        .into_iter()
        .filter_map(|name| load(name.clone()).filter(|profile| profile.name.as_ref() == Some(&name)));
    profiles.filter_map(|profile| LocalState::of(&profile, deadline, session).ok()).collect()
}

impl LocalState {
    /// Reads what is kept of a profile. Waits until the deadline for a renewal of its login.
    fn of(profile: &Profile, deadline: &Deadline, session: &Session<'_>) -> Result<Self> {
        let grant = profile.open()?;
        let cache = session.cache();
        let now = session.clock.now();
        let is_valid = |credential: &Credential| !credential.is_expired(now);
        let mut tokens: Vec<Secret> = Vec::new();
        let mut add = |credential: Option<Credential>| {
            if let Some(credential) = credential.filter(is_valid)
                && !tokens.contains(&credential.secret)
            {
                tokens.push(credential.secret);
            }
        };
        let mut link: Option<&dyn Grant> = Some(grant.as_ref());
        while let Some(grant) = link {
            add(cache.entry(grant.identity()).load().ok().flatten().and_then(|record| record.credential()));
            link = grant.inner();
        }
        let mut is_being_renewed = false;
        let login = profile.login()?.and_then(|login| {
            // A renewing process replaces the refresh token. The new one must be revoked, so wait for it.
            session.diagnostics.debug(|| format!("{profile}: waiting until no process is renewing the login"));
            let lock = login.store.wait_for_lock(deadline, session.clock);
            is_being_renewed = lock.is_none() && matches!(login.store.try_lock_existing(), Lock::Busy);
            login.store.load().ok().map(|state| (login, state))
        });
        add(login.as_ref().and_then(|(_, state)| state.access.as_ref()).map(|access| access.credential()));
        Ok(Self { profile: profile.clone(), tokens, login, is_being_renewed })
    }

    /// Revokes the login and the tokens in the cloud. Reports a failure and continues with the next token. `timeout` is the
    /// time limit of the whole call. `revoked` has those that other profiles have too and that were tried before.
    fn revoke(
        &self,
        timeout: Duration,
        call: &CommandCall,
        session: &Session<'_>,
        revoked: &mut Vec<Secret>,
        report: &mut Report,
    ) {
        let profile = &self.profile;
        let fail = |error: Error, report: &mut Report| {
            report.fail(error.context(format!("{profile}: removed from this machine, but not revoked in the cloud")));
        };
        let is_new = |token: &Secret, revoked: &mut Vec<Secret>| {
            let is_new = !revoked.contains(token);
            if is_new {
                revoked.push(token.clone());
            }
            is_new
        };
        let outcome = session.with_context(profile, &call.options, Duration::ZERO, timeout, |cx| {
            let refresh_token = self.login.as_ref().and_then(|(_, state)| state.refresh_token.as_ref());
            if refresh_token.is_some_and(|token| is_new(token, revoked))
                && let Err(error) = self.revoke_login(cx, report)
            {
                fail(error, report);
            }
            // Outermost first. Any token may revoke itself, so the order is not essential.
            for token in &self.tokens {
                if !is_new(token, revoked) {
                    continue;
                }
                match iam::revoke(&profile.installation, token, cx) {
                    Ok(subject) => {
                        let _ = writeln!(
                            report.text,
                            "{profile}: revoked the token of {subject}, for every program that uses it"
                        );
                    }
                    Err(error) => fail(error, report),
                }
            }
            Ok(())
        });
        if let Err(error) = outcome {
            fail(error, report);
        }
    }

    /// Revokes the refresh token. The request also needs a valid access token, so an expired login is renewed first.
    fn revoke_login(&self, cx: &Context<'_>, report: &mut Report) -> Result<()> {
        let Some((login, state)) = &self.login else { return Ok(()) };
        let Some(refresh_token) = &state.refresh_token else { return Ok(()) };
        let installation = &self.profile.installation;
        let access = state.access.as_ref().map(|access| access.credential());
        match access.filter(|credential| !credential.is_expired(cx.clock.now())) {
            Some(own) => iam::revoke_refresh_token(installation, &own.secret, refresh_token, cx)?,
            // Sent a second time, it could end the login whose new refresh token only that process gets.
            None if self.is_being_renewed => {
                return Err(Error::unavailable(
                    "another process is renewing the login, so its new token is unknown here",
                ));
            }
            None => {
                let granted = login.refresh(refresh_token, &state.key(&login.store)?, AttemptHooks::NONE, cx)?.token;
                let refresh_token = granted.refresh_token.as_ref().unwrap_or(refresh_token);
                iam::revoke_refresh_token(installation, &granted.access_token, refresh_token, cx)?;
                iam::revoke(installation, &granted.access_token, cx)?;
            }
        }
        let _ = writeln!(report.text, "{}: revoked the login", self.profile);
        Ok(())
    }
}
