//! A login with a person: one browser, one callback, and nothing kept unless all of it went well.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use crate::base::clock::{Timestamp, human, millis};
use crate::base::error::{Error, Result, describe};
use crate::base::token::Credential;
use crate::cloud::Context;
use crate::cloud::auth::AuthResponse;
use crate::commands::login::browser::open_browser;
use crate::commands::login::callback::{Callback, query_of, read_callback};
use crate::commands::login::page;
use crate::commands::login::paste::Paste;
use crate::disk::store;
use crate::disk::store::{Lock, LockGuard, ReservedSpace};
use crate::session::Session;
use crate::sources::login::client::{AuthorizationRequest, CALLBACK, LoginClient, refresh_token};
use crate::sources::login::state::{AccessToken, Failed, LoginState};
use crate::system::loopback::{Listener, PendingRequest};

/// How long a person has.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// How long after a failed login no browser is opened again without being told to: a loop around `ycred login` would
/// otherwise fill the screen.
const COOL_DOWN: Duration = Duration::from_secs(30);
/// What the token request may take, while the browser waits for the page.
const REQUEST: Duration = Duration::from_secs(30);
/// How often what cannot wake us is looked at.
const POLL: Duration = Duration::from_millis(50);
const PASTE: &str = "then paste the address that it leads to, though the page may not load, and press Enter";

/// How to log in.
#[derive(Clone, Copy)]
pub struct LoginOptions {
    /// Open a browser; else the URL is only printed, and the callback may be pasted.
    pub browser: bool,
    /// Also right after a login that has failed.
    pub again: bool,
}

/// A login that went well.
pub struct LoggedIn {
    pub credential: Credential,
    /// There is a refresh token.
    pub renews: bool,
}

/// Lets a person log in, and keeps what comes of it.
///
/// # Errors
/// Refused (1): by the person, by the cloud, or right after a failed login; Unavailable (4): nobody came, the port is
/// taken, the cloud is not there; Internal (5): the login cannot be kept.
pub fn log_in(login: &LoginClient, manner: LoginOptions, session: &Session<'_>, cx: &Context<'_>) -> Result<LoggedIn> {
    let place = &login.place;
    let disk = |error: io::Error| cannot_keep(login, &error);
    place.prepare(cx.clock.now()).map_err(disk)?;
    let _turn = match wait_for_turn(login, session, cx)? {
        Turn::Ours(held) => held,
        Turn::Done(logged_in) => return Ok(logged_in),
    };
    if manner.browser && !manner.again {
        cool_down(login, cx)?;
    }
    // Before the browser is opened: a login that cannot be kept is not worth a person's time.
    let room = place.reserve().map_err(disk)?;
    let listener = Listener::bind(login.port.unwrap_or(0)).map_err(|error| {
        let port = login.port.map_or_else(|| "a free port".to_owned(), |port| format!("port {port}"));
        Error::unavailable(format!("127.0.0.1: cannot listen on {port} for the browser: {}", describe(&error)))
            .hint("end what holds the port (another login, perhaps), or change `redirect-port` in the profile")
    })?;
    let ask = AuthorizationRequest::new()?;
    let room = RefCell::new(Some(room));
    Waiting { login, ask: &ask, listener: &listener, room, session, cx }.run(manner).inspect_err(|error| {
        place.record_failure(&Failed { at: cx.clock.now(), reason: error.reason() });
    })
}

fn cannot_keep(login: &LoginClient, error: &io::Error) -> Error {
    Error::internal(format!("{}: a login cannot be kept", login.place.directory().display()))
        .because(describe(error))
        .hint("mend that, or set YCRED_STATE_DIR to another directory of yours")
}

/// Whose turn it is to open a browser.
enum Turn {
    Ours(Option<LockGuard>),
    /// Somebody else's login was waited for and went well.
    Done(LoggedIn),
}

/// Waits while another process has a browser open for this login; what comes of that is ours too.
fn wait_for_turn(login: &LoginClient, session: &Session<'_>, cx: &Context<'_>) -> Result<Turn> {
    let before = login.place.load().ok();
    let began = cx.clock.now();
    let mut waited = false;
    let lock = store::wait_for_lock(&cx.deadline, cx.clock, || {
        let lock = login.place.try_browser_lock();
        if matches!(lock, Lock::Busy) && !waited {
            waited = true;
            (session.print_stderr)(
                "ycred: another `ycred login` has a browser open for this profile; waiting for it\n",
            );
        }
        lock
    });
    match lock {
        Lock::Held(held) if !waited => return Ok(Turn::Ours(Some(held))),
        Lock::Held(_) => {}
        Lock::Impossible(_) => return Ok(Turn::Ours(None)),
        Lock::Busy => {
            return Err(Error::unavailable("another `ycred login` for this profile has not come to an end")
                .hint("finish it in its browser, or end it with Ctrl-C"));
        }
    }
    let now = login.place.load().ok().filter(|now| before.is_none_or(|before| !before.is_of_the_same_login(now)));
    if let Some(state) = now
        && let Some(access) = &state.access
    {
        (session.print_stderr)("ycred: the other `ycred login` went well\n");
        return Ok(Turn::Done(LoggedIn { credential: access.credential(), renews: state.refresh_token.is_some() }));
    }
    let reason = login.place.last_failure().filter(|failed| failed.at >= began).map(|failed| failed.reason);
    let reason = reason.unwrap_or_else(|| "it was broken off".into());
    Err(Error::refused(format!("the other `ycred login` for this profile failed: {reason}"))
        .hint(login.place.absent().hint))
}

fn cool_down(login: &LoginClient, cx: &Context<'_>) -> Result<()> {
    let Some(failed) = login.place.last_failure() else { return Ok(()) };
    let age = cx.clock.now().since(failed.at);
    if !(0..millis(COOL_DOWN)).contains(&age) {
        return Ok(());
    }
    Err(Error::refused(format!("no browser is opened: the last login failed {} ago: {}", human(age), failed.reason))
        .hint(format!(
            "wait {} s, or try again at once: {} --force-refresh",
            COOL_DOWN.as_secs(),
            login.place.absent().hint
        )))
}

/// One login, from the URL to the tokens.
struct Waiting<'a> {
    login: &'a LoginClient,
    ask: &'a AuthorizationRequest,
    listener: &'a Listener,
    /// Taken on the disk for what comes of it.
    room: RefCell<Option<ReservedSpace>>,
    session: &'a Session<'a>,
    cx: &'a Context<'a>,
}

impl Waiting<'_> {
    fn redirect(&self) -> String {
        format!("http://127.0.0.1:{}{CALLBACK}", self.listener.port())
    }

    fn print_stderr(&self, text: &str) {
        (self.session.print_stderr)(&format!("ycred: {text}\n"));
    }

    /// Whoever must open the address may have to do so on another machine.
    fn take_paste(&self, paste: &mut Paste) {
        if self.session.stdin.borrow().is_terminal() {
            paste.wanted = true;
            self.print_stderr(PASTE);
        }
    }

    fn run(&self, manner: LoginOptions) -> Result<LoggedIn> {
        let url = self.login.authorize_url(self.ask, &self.redirect());
        self.print_stderr("to log in, open this address in a browser:");
        // As it is, since a masked or shortened address leads nowhere; whatever could act on a terminal is not in it.
        let url: String = url.chars().filter(char::is_ascii_graphic).collect();
        (self.session.print_stderr)(&format!("{url}\n"));
        let mut browser = None;
        let mut paste = Paste::default();
        if manner.browser {
            match open_browser(&url, self.session.environment) {
                Ok(child) => browser = Some(child),
                Err(why) => {
                    self.print_stderr(&format!("{why}; open the address yourself"));
                    self.take_paste(&mut paste);
                }
            }
        } else {
            paste.wanted = true;
            self.print_stderr(PASTE);
            let port = self.listener.port();
            self.print_stderr(&format!(
                "or, from the browser's machine, let the page load: ssh -N -L {port}:127.0.0.1:{port} USER@THIS-HOST"
            ));
        }
        loop {
            let left = self.cx.deadline.left(self.cx.clock);
            if left.is_zero() {
                let time = human(millis(self.cx.deadline.whole));
                return Err(Error::unavailable(format!("nobody has logged in within {time}"))
                    .hint("run it again; --timeout gives it longer"));
            }
            if let Some(incoming) = self.listener.next(POLL.min(left))
                && let Some(outcome) = self.take(incoming)
            {
                self.close_pending();
                return outcome;
            }
            if let Some(line) = paste.line(self.session) {
                match read_callback(query_of(&line), &self.ask.state) {
                    Ok(answer) => return self.complete(answer),
                    Err(why) => self.print_stderr(&format!(
                        "that is not the address that the browser ends at: {why}; paste it whole"
                    )),
                }
            }
            if let Some(child) = &mut browser
                && let Ok(Some(status)) = child.try_wait()
            {
                browser = None;
                if !status.success() {
                    self.print_stderr("no browser has opened; open the address yourself");
                    self.take_paste(&mut paste);
                }
            }
        }
    }

    /// Answers a request; an outcome if it was the callback that is waited for.
    fn take(&self, incoming: PendingRequest) -> Option<Result<LoggedIn>> {
        let request = &incoming.request;
        if request.path != CALLBACK {
            incoming.answer(page::not_here());
            return None;
        }
        match read_callback(&request.query, &self.ask.state) {
            Err(why) => {
                self.cx.notes.debug(|| format!("a callback is ignored: {why}"));
                incoming.answer(page::stray(why));
                None
            }
            Ok(answer) => {
                let outcome = self.complete(answer);
                incoming.answer(match &outcome {
                    Ok(_) => page::logged_in(self.cx.profile),
                    Err(error) => page::refused(&error.reason()),
                });
                Some(outcome)
            }
        }
    }

    /// What is said in the browser is true: it is answered once the login is kept, or is not.
    fn complete(&self, answer: Callback) -> Result<LoggedIn> {
        match answer {
            Callback::Refused(why) => {
                Err(Error::refused(format!("{}: {why}", self.login.installation.auth_url)).hint(if why.starts_with("access_denied") {
                    "somebody said no in the browser, or the account may not log in here; ask the organisation's administrator"
                } else {
                    "log in again; if it goes on, the account or `federation-id` and `client-id` in the profile may be wrong"
                }))
            }
            Callback::Code(code) => {
                let cx = Context { deadline: self.cx.deadline.at_most(self.cx.clock, REQUEST), ..*self.cx };
                let began = cx.clock.now();
                let granted = self.login.exchange_code(self.ask, &code, &self.redirect(), &cx);
                granted
                    .and_then(|granted| granted.credential().map(|credential| (granted, credential)))
                    .map_err(|error| error.context("the login went well, but gave no token"))
                    .and_then(|(granted, credential)| self.keep(&granted, credential, began))
            }
        }
    }

    fn keep(&self, granted: &AuthResponse, credential: Credential, began: Timestamp) -> Result<LoggedIn> {
        let place = &self.login.place;
        let refresh_token = refresh_token(granted);
        let renews = refresh_token.is_some();
        let state = LoginState::new(place, &self.ask.key, refresh_token, AccessToken::new(&credential, began));
        // Whoever renews the login before this one finishes first; what it stores is then replaced. Where it cannot be
        // waited for, it finds the marker changed and stores nothing.
        let _lock = place.wait_for_lock(&self.cx.deadline.at_most(self.cx.clock, REQUEST), self.cx.clock);
        let room = self.room.take().ok_or_else(|| Error::internal("a login came twice"))?;
        place.establish(&state, room).map_err(|error| cannot_keep(self.login, &error))?;
        Ok(LoggedIn { credential, renews })
    }

    /// Whoever else asks, now that it is over.
    fn close_pending(&self) {
        for _ in 0..32 {
            let Some(incoming) = self.listener.next(Duration::from_millis(20)) else { return };
            incoming.answer(page::not_here());
        }
    }
}
