//! Looks up host names: on a thread, so that a time limit holds, or in line where no thread can be started.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// The most addresses of one host that are tried.
const MAX_ADDRESSES: usize = 16;

#[derive(Debug)]
pub(super) struct NameResolver;

impl Resolver for NameResolver {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else { return Err(Error::HostNotFound) };
        let name = DefaultResolver::host_and_port(scheme, authority).ok_or(Error::HostNotFound)?;
        let found = match name.parse::<SocketAddr>() {
            // An address needs no name server.
            Ok(address) => vec![address],
            Err(_) => look_up(name, timeout)?,
        };
        let mut addresses = self.empty();
        config.ip_family().keep_wanted(found.into_iter()).take(MAX_ADDRESSES).for_each(|it| addresses.push(it));
        if addresses.is_empty() { Err(Error::HostNotFound) } else { Ok(addresses) }
    }
}

fn look_up(name: String, timeout: NextTimeout) -> Result<Vec<SocketAddr>, Error> {
    let resolve = |name: &str| name.to_socket_addrs().map(Iterator::collect::<Vec<SocketAddr>>);
    let (sender, receiver) = mpsc::sync_channel(1);
    let started = thread::Builder::new().spawn({
        let name = name.clone();
        move || drop(sender.send(resolve(&name)))
    });
    // The limit of processes is reached, or the system refuses threads. Without one, the system's own limit holds.
    if started.is_err() {
        return Ok(resolve(&name)?);
    }
    match receiver.recv_timeout(*timeout.after) {
        Ok(answer) => Ok(answer?),
        Err(RecvTimeoutError::Timeout) => Err(Error::Timeout(timeout.reason)),
        Err(RecvTimeoutError::Disconnected) => Err(Error::HostNotFound),
    }
}
