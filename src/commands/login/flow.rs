//! A person's login: one browser, one callback. Nothing is saved unless every step succeeds.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use crate::base::clock::{Timestamp, human, millis};
use crate::base::error::{Error, Result};
use crate::base::token::Credential;
use crate::cloud::Context;
use crate::cloud::auth::AuthResponse;
use crate::commands::login::browser::open_browser;
use crate::commands::login::callback::{Callback, query_of, read_callback};
use crate::commands::login::page;
use crate::commands::login::paste::PastedLines;
use crate::disk::store;
use crate::disk::store::{Lock, LockGuard, ReservedSpace};
use crate::session::Session;
use crate::sources::login::client::{AuthorizationRequest, CALLBACK, LoginClient, refresh_token};
use crate::sources::login::state::{AccessToken, LoginFailure, LoginState};
use crate::system::loopback::{Listener, PendingRequest};
use crate::system::{peer, process};

/// The default time limit for the person.
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(300);
/// For this long after a failed login, no browser opens unless the user forces it. Otherwise a loop around `ycred
/// login` would fill the screen with browser windows.
const COOL_DOWN: Duration = Duration::from_secs(30);
/// The time limit for the token request. The browser waits for its page meanwhile.
const TOKEN_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How often to check stdin and the browser process, which cannot wake this thread.
const POLL: Duration = Duration::from_millis(50);
const HOW_TO_PASTE: &str = "after signing in, copy the URL from the browser's address bar (the page may fail to load), \
                            paste it here and press Enter";

/// How to log in.
#[derive(Clone, Copy)]
pub struct LoginOptions {
    /// Opens a browser. If false, ycred only prints the URL and asks the person to paste the callback.
    pub opens_browser: bool,
    /// Opens the browser even if a login has just failed.
    pub ignores_cool_down: bool,
}

/// The result of a successful login.
pub struct LoggedIn {
    pub credential: Credential,
    /// True if the login has a refresh token.
    pub is_renewable: bool,
}

/// Logs a person in and saves the login.
///
/// # Errors
/// * Refused (1): the person or the cloud rejected the login, or a login has just failed.
/// * Unavailable (4): nobody completed the login in time, the port is in use, or the cloud is unreachable.
/// * Profile (3) or Unavailable (4): the login cannot be saved.
pub fn log_in(login: &LoginClient, options: LoginOptions, session: &Session<'_>, cx: &Context<'_>) -> Result<LoggedIn> {
    let login_store = &login.store;
    let save_error = |error: io::Error| cannot_save(login, &error);
    login_store.prepare(cx.clock.now()).map_err(save_error)?;
    let _lock = match wait_for_turn(login, session, cx)? {
        Turn::Own(lock) => lock,
        Turn::LoggedInByOther(logged_in) => return Ok(logged_in),
    };
    if options.opens_browser && !options.ignores_cool_down {
        check_cool_down(login, cx)?;
    }
    // Reserve disk space before the person spends time on a login that cannot be saved.
    let reserved_space = login_store.reserve().map_err(save_error)?;
    // Another user can read the URL in the browser's arguments, and could answer it first with a code of their own.
    let allowed = (!peer::is_windows_subsystem()).then(|| vec![process::effective_uid()]);
    let listener = Listener::bind(login.port.unwrap_or(0), allowed).map_err(|error| {
        let port = login.port.map_or_else(|| "a free port".to_owned(), |port| format!("port {port}"));
        error.error(
            &format!("127.0.0.1: cannot listen on {port} for the browser"),
            "stop the program that uses the port, perhaps another login, or change `redirect-port` in the profile",
        )
    })?;
    let request = AuthorizationRequest::new()?;
    let reserved_space = RefCell::new(Some(reserved_space));
    let browser_login = BrowserLogin { login, request: &request, listener: &listener, reserved_space, session, cx };
    browser_login.run(options).inspect_err(|error| {
        login_store.record_failure(&LoginFailure { at: cx.clock.now(), reason: error.reason() });
    })
}

fn cannot_save(login: &LoginClient, error: &io::Error) -> Error {
    Error::of_disk(format!("{}: cannot save the login", login.store.directory().display()), error)
        .replace_hint("fix that, or set YCRED_STATE_DIR to a writable directory")
}

/// Whether this process may open a browser for the profile.
enum Turn {
    /// It may. The lock is `None` if the file system cannot lock.
    Own(Option<LockGuard>),
    /// It doesn't need to, because another process has logged in meanwhile.
    LoggedInByOther(LoggedIn),
}

/// Waits while another process has a browser open for this login, and returns that process's result.
fn wait_for_turn(login: &LoginClient, session: &Session<'_>, cx: &Context<'_>) -> Result<Turn> {
    let before = login.store.load().ok();
    let failure_before = login.store.last_failure().map(|failed| failed.at);
    let mut has_waited = false;
    let lock = store::wait_for_lock(&cx.deadline, cx.clock, || {
        let lock = login.store.try_browser_lock();
        if matches!(lock, Lock::Busy) && !has_waited {
            has_waited = true;
            (session.print_stderr)(
                "ycred: another `ycred login` has a browser open for this profile; waiting for it\n",
            );
        }
        lock
    });
    match lock {
        Lock::Held(lock) if !has_waited => return Ok(Turn::Own(Some(lock))),
        Lock::Held(_) => {}
        Lock::Impossible(_) => return Ok(Turn::Own(None)),
        Lock::Busy => {
            return Err(Error::unavailable("another `ycred login` for this profile is still waiting for its browser")
                .hint("complete that login in the browser, or stop it with Ctrl-C"));
        }
    }
    let now = login.store.load().ok().filter(|now| before.is_none_or(|before| !before.is_same_login(now)));
    if let Some(state) = now
        && let Some(access) = &state.access
    {
        (session.print_stderr)("ycred: the other `ycred login` succeeded\n");
        let logged_in = LoggedIn { credential: access.credential(), is_renewable: state.refresh_token.is_some() };
        return Ok(Turn::LoggedInByOther(logged_in));
    }
    let failed = login.store.last_failure().filter(|failed| Some(failed.at) != failure_before);
    let reason = failed.map_or_else(|| "it was interrupted".into(), |failed| failed.reason);
    Err(Error::refused(format!("the other `ycred login` for this profile failed: {reason}"))
        .hint(login.store.absent().hint))
}

/// Fails if the last login failed less than [`COOL_DOWN`] ago.
fn check_cool_down(login: &LoginClient, cx: &Context<'_>) -> Result<()> {
    let Some(failed) = login.store.last_failure() else { return Ok(()) };
    let age = cx.clock.now().since(failed.at);
    if !(0..millis(COOL_DOWN)).contains(&age) {
        return Ok(());
    }
    Err(Error::refused(format!("browser not opened: the last login failed {} ago: {}", human(age), failed.reason))
        .hint(format!("wait {} s, or run `{} --force-refresh`", COOL_DOWN.as_secs(), login.store.absent().hint)))
}

/// One login, from the printed URL to the saved tokens.
struct BrowserLogin<'a> {
    login: &'a LoginClient,
    request: &'a AuthorizationRequest,
    listener: &'a Listener,
    /// Disk space for the login's state, used once.
    reserved_space: RefCell<Option<ReservedSpace>>,
    session: &'a Session<'a>,
    cx: &'a Context<'a>,
}

impl BrowserLogin<'_> {
    fn redirect_url(&self) -> String {
        format!("http://127.0.0.1:{}{CALLBACK}", self.listener.port())
    }

    fn print_stderr(&self, text: &str) {
        (self.session.print_stderr)(&format!("ycred: {text}\n"));
    }

    /// Asks a person at the terminal to paste the callback, because the browser may run on another machine.
    fn ask_to_paste(&self, pasted: &mut PastedLines) {
        if self.session.stdin.borrow().is_terminal() {
            pasted.is_reading = true;
            self.print_stderr(HOW_TO_PASTE);
        }
    }

    fn run(&self, options: LoginOptions) -> Result<LoggedIn> {
        let url = self.login.authorize_url(self.request, &self.redirect_url());
        self.print_stderr("to log in, open this URL in a browser:");
        // Prints the URL without masking or shortening, which would break it. Instead, removes every character that
        // could control the terminal.
        let url: String = url.chars().filter(char::is_ascii_graphic).collect();
        (self.session.print_stderr)(&format!("{url}\n"));
        let mut browser = None;
        let mut pasted = PastedLines::default();
        if options.opens_browser {
            match open_browser(&url, self.session.environment) {
                Ok(child) => browser = Some(child),
                Err(reason) => {
                    self.print_stderr(&format!("{reason}; open the URL yourself"));
                    self.ask_to_paste(&mut pasted);
                }
            }
        } else {
            pasted.is_reading = true;
            self.print_stderr(HOW_TO_PASTE);
            let port = self.listener.port();
            self.print_stderr(&format!(
                "or, if the browser is on another machine, first run there: \
                 ssh -N -L {port}:127.0.0.1:{port} USER@THIS-HOST"
            ));
        }
        let limit = human(millis(self.cx.deadline.limit));
        // A person who pastes sees what they type, and no line that changes.
        let mut wait = (!pasted.is_reading)
            .then(|| self.cx.diagnostics.waiting(|| format!("the login in the browser, {limit} at most")));
        loop {
            if pasted.is_reading {
                drop(wait.take());
            }
            let time_left = self.cx.deadline.left(self.cx.clock);
            if time_left.is_zero() {
                let limit = human(millis(self.cx.deadline.limit));
                return Err(Error::unavailable(format!("login not completed within {limit}"))
                    .hint("log in again; for more time, pass --timeout, e.g. --timeout 15m"));
            }
            if let Some(incoming) = self.listener.next(POLL.min(time_left))
                && let Some(outcome) = self.handle(incoming)
            {
                self.close_pending();
                return outcome;
            }
            if let Some(line) = pasted.next_line(self.session) {
                match read_callback(query_of(&line), &self.request.state) {
                    Ok(callback) => return self.complete(callback),
                    Err(why) => {
                        self.print_stderr(&format!("not the URL of a completed login: {why}; paste the whole URL"))
                    }
                }
            }
            if let Some(child) = &mut browser
                && let Ok(Some(status)) = child.try_wait()
            {
                browser = None;
                if !status.success() {
                    self.print_stderr("the browser failed to start; open the URL yourself");
                    self.ask_to_paste(&mut pasted);
                }
            }
        }
    }

    /// Responds to a request. Returns the outcome of the login if the request is its callback.
    fn handle(&self, incoming: PendingRequest) -> Option<Result<LoggedIn>> {
        let request = &incoming.request;
        if request.path != CALLBACK {
            incoming.answer(page::not_found());
            return None;
        }
        match read_callback(&request.query, &self.request.state) {
            Err(why) => {
                self.cx.diagnostics.debug(|| format!("ignored a callback: {why}"));
                incoming.answer(page::ignored(why));
                None
            }
            Ok(callback) => {
                // Responds only after the login has been saved, or saving has failed, so that the page shows the real
                // outcome.
                let outcome = self.complete(callback);
                incoming.answer(match &outcome {
                    Ok(_) => page::logged_in(self.cx.profile),
                    Err(error) => page::refused(&error.reason()),
                });
                Some(outcome)
            }
        }
    }

    /// Exchanges the callback's code for tokens and saves them.
    fn complete(&self, callback: Callback) -> Result<LoggedIn> {
        match callback {
            Callback::Refused(why) => Err(Error::refused(format!("{}: {why}", self.login.installation.auth_url)).hint(
                if why.starts_with("access_denied") {
                    "log in again and approve it, or ask your organization's administrator for access"
                } else {
                    "log in again; if that fails too, check `federation-id` and `client-id` in the profile"
                },
            )),
            Callback::Code(code) => {
                let deadline = self.cx.deadline.at_most(self.cx.clock, TOKEN_REQUEST_TIMEOUT);
                let cx = Context { deadline, ..*self.cx };
                let began = cx.clock.now();
                let response = self.login.exchange_code(self.request, &code, &self.redirect_url(), &cx);
                response
                    .and_then(|response| response.credential().map(|credential| (response, credential)))
                    .map_err(|error| error.context("the login succeeded, but no token was issued"))
                    .and_then(|(response, credential)| self.save(&response, credential, began))
            }
        }
    }

    fn save(&self, response: &AuthResponse, credential: Credential, began: Timestamp) -> Result<LoggedIn> {
        let login_store = &self.login.store;
        let refresh_token = refresh_token(response);
        let is_renewable = refresh_token.is_some();
        let access_token = AccessToken::new(&credential, began);
        let state = LoginState::new(login_store, &self.request.key, refresh_token, access_token);
        // Waits until a process that is renewing the previous login has finished, then replaces what it stored. If the
        // wait times out, that process finds the marker changed and stores nothing.
        let deadline = self.cx.deadline.at_most(self.cx.clock, TOKEN_REQUEST_TIMEOUT);
        let _lock = login_store.wait_for_lock(&deadline, self.cx.clock);
        let reserved_space =
            self.reserved_space.take().ok_or_else(|| Error::internal("the login was completed twice"))?;
        login_store.establish(&state, reserved_space).map_err(|error| cannot_save(self.login, &error))?;
        Ok(LoggedIn { credential, is_renewable })
    }

    /// Responds to the requests that are still waiting when the login is over.
    fn close_pending(&self) {
        for _ in 0..32 {
            let Some(incoming) = self.listener.next(Duration::from_millis(20)) else { return };
            incoming.answer(page::not_found());
        }
    }
}
