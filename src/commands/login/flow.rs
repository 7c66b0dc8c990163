//! A login with a person: one browser, one callback, and nothing kept unless all of it went well.

use std::cell::RefCell;
use std::ffi::OsString;
use std::io;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use crate::base::clock::{Timestamp, human, millis};
use crate::base::environment::{BROWSER, Environment};
use crate::base::error::describe;
use crate::base::error::{Error, Result, clean};
use crate::base::identity::value_digest;
use crate::base::secret::Secret;
use crate::base::token::Credential;
use crate::cloud::Context;
use crate::cloud::auth::AuthResponse;
use crate::commands::login::page;
use crate::disk::store::{Lock, LockGuard, ReservedSpace};
use crate::session::Session;
use crate::sources::login::client::{AuthorizationRequest, CALLBACK, LoginClient, refresh_token};
use crate::sources::login::state::{AccessToken, Failed, LoginState};
use crate::system;
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
/// The longest line that is pasted; a callback has a few hundred bytes.
const LONGEST_LINE: usize = 8 * 1024;

/// What is read at once: more than std's own buffer, in which a rest would lie unseen.
const AT_ONCE: usize = 12 * 1024;

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
    loop {
        match login.place.try_browser_lock() {
            Lock::LockGuard(held) if !waited => return Ok(Turn::Ours(Some(held))),
            Lock::LockGuard(_) => break,
            Lock::Impossible(_) => return Ok(Turn::Ours(None)),
            Lock::Busy => {}
        }
        if !waited {
            waited = true;
            (session.print_stderr)(
                "ycred: another `ycred login` has a browser open for this profile; waiting for it\n",
            );
        }
        if cx.deadline.left(cx.clock).is_zero() {
            return Err(Error::unavailable("another `ycred login` for this profile has not come to an end")
                .hint("finish it in its browser, or end it with Ctrl-C"));
        }
        cx.clock.sleep(POLL.min(cx.deadline.left(cx.clock)));
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

/// What the callback said.
pub enum Callback {
    Code(Secret),
    /// The person or the cloud said no.
    Refused(String),
}

/// Reads the query of a callback.
///
/// # Errors
/// It is not the answer to what was asked: why, in words.
pub fn read_callback(query: &str, state: &str) -> Result<Callback, &'static str> {
    let mut found: [Option<Zeroizing<String>>; 4] = Default::default();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let names = ["state", "code", "error", "error_description"];
        let Some(at) = names.iter().position(|known| *known == name) else { continue };
        let value = Zeroizing::new(value.replace('+', " "));
        let value = percent_decode_str(&value).decode_utf8().map_err(|_| "it is not text")?;
        if found[at].replace(Zeroizing::new(value.into_owned())).is_some() {
            return Err("a parameter comes twice");
        }
    }
    let [given, code, error, description] = found;
    // By digests, so that the time it takes tells nothing of where they differ.
    if given.is_none_or(|given| value_digest(given.as_bytes()) != value_digest(state.as_bytes())) {
        return Err("its state is not that of this login");
    }
    if let Some(error) = error.filter(|error| !error.is_empty()) {
        let description: String = description.iter().flat_map(|text| text.chars()).take(250).collect();
        let error: String = error.chars().take(60).collect();
        return Ok(Callback::Refused(if description.is_empty() { error } else { format!("{error}: {description}") }));
    }
    match code {
        Some(code) if (1..=4096).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(Callback::Code(Secret::new(code.to_string())))
        }
        _ => Err("there is no code in it"),
    }
}

/// The query in what a person has pasted: an address, or what stands in it behind the question mark.
pub fn query_of(line: &str) -> &str {
    let line = line.trim().trim_matches(['"', '\'']);
    let query = line.split_once('?').map_or(line, |(_, query)| query);
    query.split('#').next().unwrap_or_default()
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

/// Lines from stdin, which may come at any time or never.
#[derive(Default)]
struct Paste {
    wanted: bool,
    text: Zeroizing<Vec<u8>>,
}

impl Paste {
    /// The next line, if there is one by now.
    fn line(&mut self, session: &Session<'_>) -> Option<Zeroizing<String>> {
        loop {
            let end = match self.text.iter().position(|byte| *byte == b'\n') {
                Some(end) => end,
                // The last line may have no end.
                None if !self.wanted || self.text.len() > LONGEST_LINE => self.text.len(),
                None if self.read_more(session) => continue,
                None => return None,
            };
            if self.text.is_empty() {
                return None;
            }
            let rest = self.text.get(end + 1..).unwrap_or_default().to_vec();
            let line = std::mem::replace(&mut self.text, Zeroizing::new(rest));
            let line = String::from_utf8_lossy(&line[..end]).into_owned();
            if !line.trim().is_empty() {
                return Some(Zeroizing::new(line));
            }
        }
    }

    /// Whether there was something to read by now.
    fn read_more(&mut self, session: &Session<'_>) -> bool {
        let mut stdin = session.stdin.borrow_mut();
        if !stdin.wait(Duration::from_millis(1)) {
            return false;
        }
        let mut buffer = Zeroizing::new(vec![0; AT_ONCE]);
        match stdin.read(&mut buffer[..]) {
            Ok(0) | Err(_) => self.wanted = false,
            Ok(n) => self.text.extend_from_slice(&buffer[..n]),
        }
        true
    }
}

/// What opens a URL on this system, tried in turn. (A crate for it would bring four more, to run these.)
const OPENERS: &[&[&str]] =
    if cfg!(target_os = "macos") { &[&["open"]] } else { &[&["xdg-open"], &["gio", "open"], &["wslview"]] };

/// The command lines to try.
fn browsers(url: &str, environment: &Environment) -> Vec<Vec<OsString>> {
    let Some(chosen) = environment.get(BROWSER) else {
        let with_url = |words: &&[&str]| words.iter().copied().chain([url]).map(OsString::from).collect();
        return OPENERS.iter().map(with_url).collect();
    };
    // A path with blanks in it is a program nevertheless.
    if std::path::Path::new(chosen).is_file() {
        return vec![vec![chosen.to_owned(), url.into()]];
    }
    let text = chosen.to_string_lossy();
    let commands = text.split(':').filter(|command| !command.trim().is_empty());
    commands
        .map(|command| {
            let mut words: Vec<OsString> =
                command.split_whitespace().map(|word| word.replace("%s", url).into()).collect();
            if !command.contains("%s") {
                words.push(url.into());
            }
            words
        })
        .collect()
}

/// Starts a browser that outlives us and has nothing of ours: stdout is a protocol channel, and Ctrl-C here is not meant
/// for it.
fn open_browser(url: &str, environment: &Environment) -> Result<Child, String> {
    use std::os::unix::process::CommandExt as _;
    system::reset_sigchld();
    let mut why = String::new();
    for words in browsers(url, environment) {
        let Some((program, arguments)) = words.split_first() else { continue };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        system::restore_signals(&mut command);
        match command.spawn() {
            Ok(child) => return Ok(child),
            Err(error) => why = format!("{}: {}", program.to_string_lossy(), describe(&error)),
        }
    }
    Err(clean(&format!("no browser can be started ({why})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<String, &'static str> {
        read_callback(query, "abc").map(|answer| match answer {
            Callback::Code(code) => format!("code {}", code.expose()),
            Callback::Refused(why) => format!("refused {why}"),
        })
    }

    #[test]
    fn a_callback_counts_only_with_our_state() {
        assert_eq!(read("code=c1&state=abc").as_deref(), Ok("code c1"));
        assert_eq!(read("state=%61bc&x=y&code=a%2Bb").as_deref(), Ok("code a+b"));
        assert_eq!(
            read("error=access_denied&error_description=not+to%20day&state=abc").as_deref(),
            Ok("refused access_denied: not to day")
        );
        assert_eq!(read("error=server_error&code=c&state=abc").as_deref(), Ok("refused server_error"));
        for stray in [
            "",
            "code=c1",
            "code=c1&state=abd",
            "code=c1&state=ab",
            "error=access_denied&state=",
            "state=abc",
            "error&state=abc",
        ] {
            assert!(read(stray).is_err(), "{stray}");
        }
        for wrong in [
            "code=a&code=b&state=abc",
            "code=a&state=abc&state=abc",
            "code=%FF&state=abc",
            "code=&state=abc",
            "code=a+b&state=abc",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_pasted_may_be_the_whole_address_or_its_query() {
        for line in [
            "http://127.0.0.1:1234/auth/callback?code=c&state=abc\n",
            "  code=c&state=abc ",
            "\"http://127.0.0.1/auth/callback?code=c&state=abc#x\"",
            "?code=c&state=abc",
        ] {
            assert_eq!(query_of(line), "code=c&state=abc", "{line}");
        }
    }

    #[test]
    fn the_browser_variable_is_read_as_xdg_open_reads_it() {
        let lines = |value: &str| {
            let environment = Environment::new([(BROWSER.into(), value.into())]);
            let join = |words: Vec<OsString>| words.join(std::ffi::OsStr::new(" ")).to_string_lossy().into_owned();
            browsers("http://x/", &environment).into_iter().map(join).collect::<Vec<_>>()
        };
        assert_eq!(lines("firefox"), ["firefox http://x/"]);
        assert_eq!(lines("a --new %s -q:b"), ["a --new http://x/ -q", "b http://x/"]);
        assert_eq!(browsers("u", &Environment::default()).len(), OPENERS.len());
    }
}
