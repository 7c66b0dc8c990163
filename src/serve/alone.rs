//! `serve`: the metadata endpoint without a child, for the containers of one pod.
//!
//! It provides tokens only. The access keys need a password, and there is no child to give one to.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use crate::base::error::{Error, Result};
use crate::process::flags::Options;
use crate::profile::Profile;
use crate::serve::credentials::{CredentialKind, CredentialStore};
use crate::serve::refresher::RefresherSetup;
use crate::serve::{Endpoints, error_at_start};
use crate::session::Session;
use crate::system::loopback::Listener;
use crate::system::signals::Signals;

/// Serves tokens of a profile to these users until a signal ends the process.
///
/// # Errors
/// Unavailable (4): cannot listen, or cannot determine the user of a connection. Otherwise the error of the first fetch, with
/// its own kind; without `--force-refresh`, not Unavailable, because then the refresher tries again.
pub fn serve_alone(
    listen: SocketAddrV4,
    users: Vec<u32>,
    profile: Profile,
    options: Options,
    session: &Session<'_>,
) -> Result<()> {
    debug_assert!(*listen.ip() == Ipv4Addr::LOCALHOST);
    // Caught first: the first process of a container ignores signals that it does not catch.
    let mut signals = Signals::catch_end().map_err(|error| error_at_start("serve", &error))?;
    // Connections wait from now on, so that a program may start at the same time.
    let listener = Listener::bind(listen.port(), Some(users.clone()))
        .and_then(|listener| listener.check().map(|()| listener))
        .map_err(|error| {
            error.error(&format!("serve: cannot listen on {listen}"), "choose a port that no other program uses")
        })?;
    if let Some(why) = listener.users_unknown() {
        return Err(Error::unavailable(format!("serve: cannot determine the user of a connection: {why}"))
            .hint("run it where /proc is mounted"));
    }
    let credentials = Arc::new(CredentialStore::new(session, &profile, &options)?);
    if options.force_refresh {
        // Before any request is answered, which would otherwise get the cached token.
        let kind = CredentialKind::Token;
        let forced = session.obtain_resource(&profile, &options, &kind.resource(), Duration::ZERO)?;
        credentials.remember(kind, &forced, session.clock.now());
    }
    let (send_end, end) = mpsc::channel();
    let is_forced = options.force_refresh;
    let setup = RefresherSetup::new(session, profile, options, Arc::clone(&credentials));
    // Otherwise the refresher fetches the first token, so that a signal ends the process in the meantime.
    let setup = if is_forced { setup } else { setup.ending_with(send_end.clone()) };
    let endpoints = Endpoints { name: "serve", listener, users, password: None, credentials };
    let started = endpoints.start(setup, session).and_then(|()| {
        thread::Builder::new().spawn(move || {
            let waited = signals.wait_for_any();
            send_end.send(waited.map_err(|error| Error::internal("cannot wait for signals").because(error)))
        })
    });
    started.map_err(|error| error_at_start("serve", &error))?;
    end.recv().unwrap_or_else(|_| Err(Error::internal("serve: no thread is left")))
}
