//! `exec --serve`: a child of ours that always finds a living token, on loopback, as long as it runs.
//!
//! Three threads. This one waits: for signals, of which it passes on what the child has not got itself, and for the child's
//! end, which is the end of all. The *desk* answers requests from what is at hand. The *keeper* renews it ahead of need and
//! answers what had to wait for that. The keeper is a session like any other, so the record on disk is shared with every other
//! process, and all rules of the cache hold. Neither is waited for: when the child has ended nobody asks any more.

use std::ffi::OsString;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::sync::mpsc::{self};
use std::thread;

use crate::base::environment::Environment;
use crate::base::error::{Error, describe};
use crate::base::secret::Secret;
use crate::base::{environment as env, error, random};
use crate::obtain::ObtainedToken;
use crate::process::flags::Options;
use crate::process::launch::{Change, Launch, not_run};
use crate::profile::Profile;
use crate::serve::credentials::{CredentialStore, Item};
use crate::serve::endpoints::Server;
use crate::serve::refresher::{LONGEST_PAUSE, RefresherSetup};
use crate::session::Session;
use crate::session::child::{common_changes, token_changes};
use crate::sources::metadata;
use crate::system::loopback::Listener;
use crate::system::signals::{SignalEvent, Signals};
use crate::system::{peer, process, signals};

mod credentials;
mod endpoints;
mod refresher;

/// The exit code of `exec` where there is no token, as env(1), nice(1) and docker-run have it.
pub const NO_TOKEN: u8 = 125;

/// A child to be, and what it is to find.
pub struct ServeOptions {
    pub program: OsString,
    pub arguments: Vec<OsString>,
    pub profile: Profile,
    pub options: Options,
    /// The token to begin with.
    pub first: ObtainedToken,
    /// The child gets the token itself too, for programs that ask nobody.
    pub with_token: bool,
}

/// Runs the child to its end.
///
/// # Errors
/// Why there is no child, and the exit code that says so.
pub fn serve(order: ServeOptions, session: &Session<'_>) -> Result<ExitStatus, (Error, u8)> {
    let own = |error: Error| (error, NO_TOKEN);
    let ServeOptions { program, arguments, profile, options, first, with_token } = order;
    let listener = Listener::bind(0).and_then(|listener| listener.check().map(|()| listener)).map_err(|error| {
        own(Error::unavailable(format!("exec --serve: cannot listen on 127.0.0.1: {}", describe(&error)))
            .hint("is the loopback interface up? without --serve no endpoint is needed"))
    })?;
    let (port, us) = (listener.port(), process::effective_uid());
    let user = match peer::can_tell(port, us) {
        Ok(()) => Some(us),
        Err(why) => {
            let what = "no metadata endpoint, since whose a connection is cannot be told here, and the program gets the token as without --serve";
            (session.print_stderr)(&error::line("warning", &format!("exec --serve: {what}: {why}")));
            None
        }
    };
    let password = random::secret::<32>().map_err(own)?;
    let credentials = Arc::new(CredentialStore::new(session, &profile, &options).map_err(own)?);
    credentials.keep(Item::Token, &first, session.clock.now());

    let mut changes = common_changes(&profile);
    if profile.name.is_none() {
        // A ycred inside asks the endpoint, as other programs do.
        changes.push(Change::Unset(env::YCRED_SERVICE_ACCOUNT_ID.to_owned()));
    }
    changes.extend(endpoints(port, user.is_some(), &password, session.environment));
    if with_token || user.is_none() {
        let expires = first.advertised(session.clock.now());
        changes.extend(token_changes(&first.credential.secret, expires));
    }

    let (refresher, work) = mpsc::channel();
    let server =
        Server { clock: session.clock, port, user, password, credentials: Arc::clone(&credentials), refresher };
    let refresher = RefresherSetup::new(session, profile, options, credentials);
    let started =
        thread::Builder::new().name("desk".into()).spawn(move || while_open(&listener, &server)).and_then(|_| {
            let print_stderr = session.print_stderr;
            thread::Builder::new().name("keeper".into()).spawn(move || {
                // Without it the desk still answers what the cache has.
                if catch_unwind(AssertUnwindSafe(|| refresher.keep(&work))).is_err() {
                    print_stderr(&error::line("error", "a defect of ycred: exec --serve renews nothing any more"));
                }
            })
        });
    let mut signals = started.and_then(|_| Signals::catch()).map_err(|error| {
        own(Error::unavailable(format!("exec --serve: {}", describe(&error)))
            .hint("this machine or user has too many processes or open files; try again"))
    })?;
    let launch = Launch { program, arguments, changes };
    let mut child = launch.command().spawn().map_err(|error| not_run(&launch.program, &error))?;
    drop(launch);
    signals::release_terminal();
    watch(&mut child, &mut signals)
        .or_else(|_| child.wait())
        .map_err(|error| own(Error::internal("the program cannot be waited for").because(error)))
}

fn while_open(listener: &Listener, server: &Server) {
    loop {
        if let Some(incoming) = listener.next(LONGEST_PAUSE) {
            server.take(incoming);
        }
    }
}

/// What the child finds of the endpoints, and what would come before them.
fn endpoints(port: u16, metadata: bool, password: &Secret, environment: &Environment) -> Vec<Change> {
    let mut changes: Vec<Change> = env::BEFORE_CONTAINER_CREDENTIALS.map(|name| Change::Unset(name.to_owned())).into();
    let url = format!("http://127.0.0.1:{port}{}", endpoints::ACCESS_KEY);
    changes.push(Change::Set(env::AWS_CONTAINER_CREDENTIALS_FULL_URI, url.into()));
    changes.push(Change::SetSecret(env::AWS_CONTAINER_AUTHORIZATION_TOKEN, password.clone()));
    if metadata {
        // A token in the environment comes before any endpoint, and is never renewed.
        changes.extend([env::YC_TOKEN, env::YC_IAM_TOKEN, env::YCRED_EXPIRES_AT].map(|n| Change::Unset(n.to_owned())));
        changes.push(Change::Set(env::YC_METADATA_ADDR, format!("127.0.0.1:{port}").into()));
        // A profile of this kind means the real one, or it would be given another profile's token.
        let usual = [env::YCRED_METADATA_ADDR, env::YC_METADATA_ADDR].into_iter().find_map(|n| environment.get(n));
        changes.push(Change::Set(env::YCRED_METADATA_ADDR, usual.unwrap_or(metadata::ADDRESS.as_ref()).to_owned()));
    }
    // Python's clients send even what is for loopback to the proxy, unless they are told not to.
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

/// Passes signals on until the child has ended.
fn watch(child: &mut Child, signals: &mut Signals) -> io::Result<ExitStatus> {
    loop {
        match signals.wait()? {
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
