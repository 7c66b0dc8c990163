//! `exec --serve`: runs a child process next to a local endpoint that always has valid credentials. `serve` ([`alone`])
//! is the same without a child.
//!
//! There are three threads:
//!
//! * The main thread forwards signals that the child has not received itself, waits for the child, and then exits.
//! * The server answers requests from the cache.
//! * The refresher renews credentials before they expire. It also answers the requests that have to wait for a fetch.
//!
//! The refresher uses an ordinary session. So it shares the cache record with other processes, and all rules of the
//! cache apply. The main thread doesn't wait for the other two, because nobody sends requests after the child has
//! ended.

use std::ffi::OsString;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use crate::base::environment::Environment;
use crate::base::error::{Error, describe};
use crate::base::secret::Secret;
use crate::base::{environment as env, error, random};
use crate::obtain::ObtainedToken;
use crate::process::flags::Options;
use crate::process::launch::{Change, Launch, not_run};
use crate::profile::Profile;
use crate::serve::credentials::{CredentialKind, CredentialStore};
use crate::serve::endpoints::Server;
use crate::serve::refresher::{MAX_PAUSE, RefresherSetup};
use crate::session::Session;
use crate::session::child_environment::{common_changes, token_changes};
use crate::sources::metadata;
use crate::system::loopback::Listener;
use crate::system::process::ParentEnd;
use crate::system::signals::{SignalEvent, Signals};
use crate::system::{fixes, process, signals};

pub mod alone;
mod credentials;
mod endpoints;
mod refresher;

/// The exit code of `exec` if there is no token: the one that env(1), nice(1) and docker-run use for their own
/// failures.
pub const NO_TOKEN: u8 = 125;

/// The program to run, and the credentials to serve to it.
pub struct ServeOptions {
    pub program: OsString,
    pub arguments: Vec<OsString>,
    pub profile: Profile,
    pub options: Options,
    /// The token at the start.
    pub first: ObtainedToken,
    /// Also sets the token in the child's environment, for programs that don't use an endpoint.
    pub with_token: bool,
}

/// Runs the child and waits for its end.
///
/// # Errors
/// Why the child could not be run, and the exit code for that.
pub fn serve(serve_options: ServeOptions, session: &Session<'_>) -> Result<ExitStatus, (Error, u8)> {
    let with_code = |error: Error| (error, NO_TOKEN);
    let ServeOptions { program, arguments, profile, options, first, with_token } = serve_options;
    let own_user = process::effective_uid();
    let listener = Listener::bind(0, Some(vec![own_user]))
        .and_then(|listener| listener.check().map(|()| listener))
        .map_err(|error| {
            with_code(error.error("exec --serve: cannot listen on 127.0.0.1", "try again, or run without --serve"))
        })?;
    let port = listener.port();
    let users = match listener.users_unknown() {
        None => vec![own_user],
        Some(why) => {
            let consequence =
                "no metadata endpoint, so the program gets the token in its environment, where it is not renewed";
            let cause = "cannot determine the user of a connection";
            (session.print_stderr)(&error::line("warning", &format!("exec --serve: {consequence}: {cause}: {why}")));
            Vec::new()
        }
    };
    let password = random::secret::<32>().map_err(with_code)?;
    let credentials = Arc::new(CredentialStore::new(session, &profile, &options).map_err(with_code)?);
    credentials.remember(CredentialKind::Token, &first, session.clock.now());

    let mut changes = common_changes(&profile);
    if profile.name.is_none() {
        // A ycred that the child runs uses the endpoint, like other programs.
        changes.push(Change::Unset(env::YCRED_SERVICE_ACCOUNT_ID.to_owned()));
    }
    changes.extend(endpoint_changes(port, !users.is_empty(), &password, session.environment));
    if with_token || users.is_empty() {
        let expires = first.advertised(session.clock.now());
        changes.extend(token_changes(&profile, &first.credential.secret, expires));
    }

    let setup = RefresherSetup::new(session, profile, options, Arc::clone(&credentials));
    let endpoints = Endpoints { name: "exec --serve", listener, users, password: Some(password), credentials };
    let started = endpoints.start(setup, session);
    let mut signals =
        started.and_then(|()| Signals::catch()).map_err(|error| with_code(error_at_start("exec --serve", &error)))?;
    let search = session.environment.get(env::PATH).map(ToOwned::to_owned);
    let launch = Launch { program, arguments, changes, search };
    let mut child = launch
        .command()
        .and_then(|mut command| {
            process::end_child_with_parent(&mut command, ParentEnd::Terminate);
            command.spawn()
        })
        .map_err(|error| not_run(&launch.program, launch.search.as_deref(), &error))?;
    drop(launch);
    signals::release_terminal();
    watch(&mut child, &mut signals)
        .or_else(|_| child.wait())
        .map_err(|error| with_code(Error::internal("cannot wait for the program").because(error)))
}

/// The endpoints of this process, ready to start.
struct Endpoints {
    /// The name of the command, for messages.
    name: &'static str,
    listener: Listener,
    users: Vec<u32>,
    password: Option<Secret>,
    credentials: Arc<CredentialStore>,
}

impl Endpoints {
    /// Starts the server and the refresher, each in its own thread.
    fn start(self, setup: RefresherSetup, session: &Session<'_>) -> io::Result<()> {
        let Self { name, listener, users, password, credentials } = self;
        let (task_sender, tasks) = mpsc::channel();
        let server = Server { clock: session.clock, users, password, credentials, refresher: task_sender };
        thread::Builder::new().name("server".into()).spawn(move || handle_requests(&listener, &server))?;
        let print_stderr = session.print_stderr;
        thread::Builder::new().name("refresher".into()).spawn(move || {
            // If the refresher panics, the server still answers from the cache.
            if catch_unwind(AssertUnwindSafe(|| setup.run(&tasks))).is_err() {
                print_stderr(&error::line("error", &format!("bug in ycred: {name} no longer renews credentials")));
            }
        })?;
        Ok(())
    }
}

/// Returns the error if a thread or a pipe could not be created.
fn error_at_start(name: &str, error: &io::Error) -> Error {
    Error::unavailable(format!("{name}: {}", describe(error))).hint(fixes::CHECK_LIMITS)
}

/// Handles requests until the process ends.
fn handle_requests(listener: &Listener, server: &Server) {
    loop {
        if let Some(incoming) = listener.next(MAX_PAUSE) {
            server.handle(incoming);
        }
    }
}

/// Returns the changes to the child's environment: sets the variables of the endpoints, and removes those that take
/// precedence over them.
fn endpoint_changes(port: u16, has_metadata: bool, password: &Secret, environment: &Environment) -> Vec<Change> {
    let mut changes: Vec<Change> = env::BEFORE_CONTAINER_CREDENTIALS.map(|name| Change::Unset(name.to_owned())).into();
    let url = format!("http://127.0.0.1:{port}{}", endpoints::ACCESS_KEY);
    changes.push(Change::Set(env::AWS_CONTAINER_CREDENTIALS_FULL_URI, url.into()));
    changes.push(Change::SetSecret(env::AWS_CONTAINER_AUTHORIZATION_TOKEN, password.clone()));
    if has_metadata {
        // Programs prefer a token in the environment over the endpoint, but that token is never renewed.
        let supplied = [env::YC_TOKEN, env::YC_IAM_TOKEN, env::YCRED_EXPIRES_AT, env::YCRED_TOKEN_ID];
        changes.extend(supplied.map(|name| Change::Unset(name.to_owned())));
        changes.push(Change::Set(env::YC_METADATA_ADDR, format!("127.0.0.1:{port}").into()));
        // A ycred that the child runs with a `metadata` profile needs the real service. This endpoint would return the
        // token of another profile.
        let real_address =
            [env::YCRED_METADATA_ADDR, env::YC_METADATA_ADDR].into_iter().find_map(|n| environment.get(n));
        changes
            .push(Change::Set(env::YCRED_METADATA_ADDR, real_address.unwrap_or(metadata::ADDRESS.as_ref()).to_owned()));
    }
    // Python's clients send even loopback requests to the proxy, unless `NO_PROXY` lists the address.
    if env::PROXIES.iter().any(|name| environment.get(name).is_some()) {
        let lists: Vec<_> = env::NO_PROXIES.iter().filter(|name| environment.get(name).is_some()).collect();
        for name in if lists.is_empty() { env::NO_PROXIES.iter().collect() } else { lists } {
            let mut list = environment.get(name).unwrap_or_default().to_owned();
            if list == "*" {
                continue;
            }
            if !list.is_empty() {
                list.push(",");
            }
            list.push("127.0.0.1");
            changes.push(Change::Set(name, list));
        }
    }
    changes
}

/// Forwards signals until the child has ended.
fn watch(child: &mut Child, signals: &mut Signals) -> io::Result<ExitStatus> {
    loop {
        match signals.wait(child)? {
            SignalEvent::ChildChanged => {
                if let Some(status) = child.try_wait()? {
                    return Ok(status);
                }
                signals::stop_like_child(child.id());
            }
            SignalEvent::Received(signal) if signal.must_be_forwarded() => signal.forward(child.id()),
            SignalEvent::Received(_) => {}
        }
    }
}
