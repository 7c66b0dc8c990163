//! `logout`: forgets what ycred holds for a profile, or for all, and says what that was. The tokens themselves live on in
//! the cloud, where other programs may have been given the same one, unless `--revoke` ends them there too. Access keys that
//! a token bought are forgotten with it.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use clap::{Arg, ArgAction};

use crate::base::clock::Deadline;
use crate::base::error::{Error, Result, describe};
use crate::base::secret::Secret;
use crate::base::token::Credential;
use crate::cache::{RemovedToken, Slot};
use crate::cloud::{Context, iam};
use crate::commands::command::{Command, CommandCall, profile_argument, selected_profile};
use crate::disk::store;
use crate::disk::store::Lock;
use crate::obtain::Grant;
use crate::process::{Done, Outcome, Reply};
use crate::profile::{DEFAULT_TIMEOUT, Profile, ProfileRef, find};
use crate::session::Session;
use crate::sources::access_key;
use crate::sources::login::client::LoginClient;
use crate::sources::login::state::{LoginState, LoginStore, Removed};

pub const COMMAND: Command =
    Command::new("logout", "forget the cached token and the login of a profile, or of all", arguments, run);

fn arguments(command: clap::Command) -> clap::Command {
    command
        .arg(profile_argument())
        .arg(Arg::new("all").long("all").action(ArgAction::SetTrue).help("forget every cached token and every login"))
        .arg(
            Arg::new("revoke")
                .long("revoke")
                .action(ArgAction::SetTrue)
                .help("also end them in the cloud, for every program that has been given the same token"),
        )
}

fn run(call: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    let mut told = Report::default();
    if call.matches.get_flag("all") {
        if call.options.profile.is_some() || call.value("name").is_some() {
            return Err(Error::usage("--all and --profile are two different things").hint("leave one of them out"));
        }
        let holdings = if call.matches.get_flag("revoke") { all_holdings(call, session) } else { Vec::new() };
        delete_all(call, session, &mut told)?;
        for held in holdings {
            held.revoke(call, session, &mut told);
        }
        return Ok(told.outcome());
    }
    let profile = session.profile(&selected_profile(call)?)?;
    // Read before they are gone.
    let held = call.matches.get_flag("revoke").then(|| LocalState::of(&profile, call, session)).transpose()?;
    delete_one(&profile, call, session, &mut told)?;
    if told.text.is_empty() {
        let _ = writeln!(told.text, "{profile}: no token is cached");
    }
    if let Some(held) = held {
        held.revoke(call, session, &mut told);
    }
    Ok(told.outcome())
}

/// What is said in the end: what was done, and the first thing that went wrong.
#[derive(Default)]
struct Report {
    text: String,
    error: Option<Error>,
}

impl Report {
    fn outcome(self) -> Outcome {
        let code = self.error.as_ref().map_or(0, |error| error.kind.exit_code());
        let stderr = self.error.map(|error| error.render()).unwrap_or_default();
        Outcome::Done(Done { reply: Reply { code, ..Reply::text(self.text) }, stderr })
    }
}

fn delete_all(call: &CommandCall, session: &Session<'_>, told: &mut Report) -> Result<()> {
    let cache = session.cache();
    let disk = |error| cannot_delete(Path::new(&cache.place()), &error);
    let deadline = Deadline::of_run(call.options.timeout.unwrap_or(DEFAULT_TIMEOUT));
    // Logins first: as long as there is one, a hook may bring a token back.
    if let Ok(state) = &session.places.state {
        let cannot_delete = |error| cannot_delete(state, &error);
        let mut ended = 0;
        for place in LoginStore::all(state).map_err(cannot_delete)? {
            ended += usize::from(end(&place, &deadline, session).map_err(cannot_delete)?.any);
        }
        LoginStore::remove_temporary_files(state).map_err(cannot_delete)?;
        if ended > 0 {
            let _ = writeln!(told.text, "{}: {ended} logins ended", state.display());
        }
    }
    let mut forgotten = 0;
    for slot in cache.slots().map_err(disk)? {
        let found = forget(&slot, &deadline, session).map_err(disk)?;
        forgotten += usize::from(found != RemovedToken::Nothing);
    }
    cache.remove_temporary_files().map_err(disk)?;
    let _ = writeln!(told.text, "{}: {forgotten} cached tokens forgotten", cache.place());
    Ok(())
}

fn delete_one(profile: &Profile, call: &CommandCall, session: &Session<'_>, told: &mut Report) -> Result<()> {
    let cache = session.cache();
    let grant = profile.open()?;
    let deadline = Deadline::of_run(call.options.timeout.unwrap_or(profile.timeout));
    if let Some(login) = profile.login()? {
        let place = &login.place;
        if end(place, &deadline, session).map_err(|error| cannot_delete(place.directory(), &error))?.any {
            let _ = writeln!(told.text, "{profile}: logged out; what was kept of the login is removed");
        }
    }
    let disk = |error| cannot_delete(Path::new(&cache.place()), &error);
    // Access keys first: one that is being minted waits for a token of the grant.
    let keys = cache.slots_where(|record| access_key::request_of(record.settings(), grant.identity())).map_err(disk)?;
    for (slot, request) in keys {
        if let RemovedToken::Token(expires) = forget(&slot, &deadline, session).map_err(disk)? {
            let session_name = request.session_name;
            let _ = writeln!(
                told.text,
                "{profile}: the cached access key of session {session_name} is forgotten (the cloud honours it until {expires})"
            );
        }
    }
    let mut link: Option<&dyn Grant> = Some(grant.as_ref());
    while let Some(grant) = link {
        let entry = cache.entry(grant.identity());
        let forgotten = forget(&entry.slot, &deadline, session);
        if let RemovedToken::Token(expires) =
            forgotten.map_err(|error| cannot_delete(Path::new(&cache.place()), &error))?
        {
            let account = grant.account().unwrap_or_else(|_| "an account".into());
            let _ = writeln!(
                told.text,
                "{profile}: the cached token of {account} is forgotten (the cloud honours it until {expires})"
            );
        }
        link = grant.inner();
    }
    Ok(())
}

fn cannot_delete(place: &Path, error: &io::Error) -> Error {
    let place = place.display();
    Error::internal(format!("{place}: cannot be emptied"))
        .because(describe(error))
        .hint(format!("remove it by hand: rm -r {place}"))
}

/// Forgets; and if a fetch is under way, waits for its end and forgets what it may have stored between its last look at the
/// record and its rename.
fn forget(slot: &Slot<'_>, deadline: &Deadline, session: &Session<'_>) -> io::Result<RemovedToken> {
    let forgotten = slot.forget(session.clock.now())?;
    if let Lock::Busy = store::wait_for_lock(deadline, session.clock, || slot.try_lock()) {
        return Ok(forgotten);
    }
    match slot.forget(session.clock.now())? {
        RemovedToken::Nothing => Ok(forgotten),
        found => Ok(found),
    }
}

/// Ends a login: at once for whoever asks from now on; and once nobody is renewing it, what is kept of it goes.
fn end(place: &LoginStore, deadline: &Deadline, session: &Session<'_>) -> io::Result<Removed> {
    let ended = place.end()?;
    // Whoever renews looks at the marker before it stores, so this is for the moment in between.
    let _held = place.wait_for_lock(deadline, session.clock);
    place.remove().map(|removed| Removed { any: ended.any || removed.any })
}

/// What a profile has that can be ended in the cloud.
struct LocalState {
    profile: Profile,
    /// Of each link of a chain, outermost first, as far as they live.
    tokens: Vec<Secret>,
    login: Option<(LoginClient, LoginState)>,
}

fn all_holdings(call: &CommandCall, session: &Session<'_>) -> Vec<LocalState> {
    let load = |name: String| session.profile(&ProfileRef::Given { by: "logout", name: name.clone() }).ok();
    // An alias's profile is among them under its own name.
    let profiles = find::names(session.places)
        .into_iter()
        .filter_map(|name| load(name.clone()).filter(|profile| profile.name.as_ref() == Some(&name)));
    profiles.filter_map(|profile| LocalState::of(&profile, call, session).ok()).collect()
}

impl LocalState {
    fn of(profile: &Profile, call: &CommandCall, session: &Session<'_>) -> Result<Self> {
        let grant = profile.open()?;
        let cache = session.cache();
        let now = session.clock.now();
        let is_alive = |credential: &Credential| credential.left(now).longer > 0;
        let mut tokens: Vec<Secret> = Vec::new();
        let mut add = |credential: Option<Credential>| {
            if let Some(credential) = credential.filter(is_alive)
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
        let deadline = Deadline::of_run(call.options.timeout.unwrap_or(profile.timeout));
        let login = profile.login()?.and_then(|login| {
            // Whoever renews brings the refresh token that is to be revoked, in place of the one that is there.
            session.notes.debug(|| format!("{profile}: waiting for whoever renews the login, if anybody does"));
            let _held = login.place.wait_for_lock(&deadline, session.clock);
            login.place.load().ok().map(|state| (login, state))
        });
        add(login.as_ref().and_then(|(_, state)| state.access.as_ref()).map(|access| access.credential()));
        Ok(Self { profile: profile.clone(), tokens, login })
    }

    /// Ends it all in the cloud. What fails is told, and stops nothing.
    fn revoke(&self, call: &CommandCall, session: &Session<'_>, told: &mut Report) {
        let profile = &self.profile;
        let timeout = call.options.timeout.unwrap_or(profile.timeout);
        let fail = |error: Error, told: &mut Report| {
            told.error.get_or_insert(error.context(format!("{profile}: forgotten here, but not revoked in the cloud")));
        };
        let done = session.ask(profile, &call.options, Duration::ZERO, timeout, |cx| {
            if let Err(error) = self.revoke_login(cx, told) {
                fail(error, told);
            }
            // The innermost last, though any of them may revoke itself.
            for token in &self.tokens {
                match iam::revoke(&profile.installation, token, cx) {
                    Ok(subject) => {
                        let _ = writeln!(
                            told.text,
                            "{profile}: the token of {subject} is revoked, for every program that was given the same one"
                        );
                    }
                    Err(error) => fail(error, told),
                }
            }
            Ok(())
        });
        if let Err(error) = done {
            fail(error, told);
        }
    }

    /// Ends the refresh token. The call wants a living token besides, which a dead login must get first.
    fn revoke_login(&self, cx: &Context<'_>, told: &mut Report) -> Result<()> {
        let Some((login, state)) = &self.login else { return Ok(()) };
        let Some(refresh_token) = &state.refresh_token else { return Ok(()) };
        let installation = &self.profile.installation;
        let access = state.access.as_ref().map(|access| access.credential());
        match access.filter(|credential| credential.left(cx.clock.now()).longer > 0) {
            Some(own) => iam::revoke_refresh_token(installation, &own.secret, refresh_token, cx)?,
            None => {
                let granted = login.refresh(refresh_token, &state.key(&login.place)?, cx)?.token;
                let refresh_token = granted.refresh_token.as_ref().unwrap_or(refresh_token);
                iam::revoke_refresh_token(installation, &granted.access_token, refresh_token, cx)?;
                iam::revoke(installation, &granted.access_token, cx)?;
            }
        }
        let _ = writeln!(told.text, "{}: the login is revoked", self.profile);
        Ok(())
    }
}
