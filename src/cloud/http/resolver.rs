//! Looks up host names: on a thread, so that a time limit holds, or in line where no thread can be started.
//!
//! musl, the C library of the static build, reads `/etc/hosts` and asks the name servers in `/etc/resolv.conf`. It does not
//! load what `/etc/nsswitch.conf` names, and accepts "no such name" from any of the servers. `getent` uses the system's
//! own C library, so it knows what other programs of this machine know. It runs only for a name that musl does not find.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::system;
use crate::system::process::ChildOutput;
use crate::system::programs::{self, ProcessGroup};

/// The most addresses of one host that are tried.
const MAX_ADDRESSES: usize = 16;
/// The time limit of `getent`.
const GETENT_LIMIT: Duration = Duration::from_secs(2);
/// The longest pause between two looks at `getent`. Its output ends a pause.
const GETENT_PAUSE: Duration = Duration::from_millis(10);
/// The limit of its output, in bytes. [`MAX_ADDRESSES`] need a fraction of it.
const GETENT_OUTPUT: usize = 16 * 1024;

/// The resolver of one request.
#[derive(Clone, Debug, Default)]
pub(super) struct NameResolver {
    /// What happened, for the request to print with `-v`: ureq's resolvers have no access to the diagnostics.
    note: Arc<Mutex<Option<String>>>,
    /// The host and port of the last lookup that failed. With a proxy, it may be the server or the proxy.
    unresolved: Arc<Mutex<Option<String>>>,
}

impl NameResolver {
    /// Returns what to print about the last lookup, once.
    pub(super) fn take_note(&self) -> Option<String> {
        self.note.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns the host and port of the last lookup that failed.
    pub(super) fn unresolved(&self) -> Option<String> {
        self.unresolved.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the C library, and then `getent` if this build's C library does not use the system's name service.
    fn look_up(&self, name: String, timeout: NextTimeout) -> Result<Vec<SocketAddr>, Error> {
        let started = Instant::now();
        let asked = name.clone();
        let error = match look_up(name, timeout) {
            Err(error @ (Error::Io(_) | Error::HostNotFound)) if system::NEEDS_GETENT => error,
            result => return result,
        };
        let Some((host, port)) = asked.rsplit_once(':') else { return Err(error) };
        let Ok(port) = port.parse() else { return Err(error) };
        let left = timeout.after.saturating_sub(started.elapsed());
        let addresses = getent(host, left.min(GETENT_LIMIT));
        let outcome = if addresses.is_empty() { "does not know it either" } else { "knows it" };
        let note = format!("{host}: the C library does not find this name; getent {outcome}");
        *self.note.lock().unwrap_or_else(PoisonError::into_inner) = Some(note);
        match addresses.is_empty() {
            true => Err(error),
            false => Ok(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect()),
        }
    }
}

impl Resolver for NameResolver {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else { return Err(Error::HostNotFound) };
        let name = DefaultResolver::host_and_port(scheme, authority).ok_or(Error::HostNotFound)?;
        let found = match name.parse::<SocketAddr>() {
            // An address needs no name server.
            Ok(address) => vec![address],
            Err(_) => self.look_up(name.clone(), timeout).inspect_err(|_| {
                *self.unresolved.lock().unwrap_or_else(PoisonError::into_inner) = Some(name);
            })?,
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
    // The limit of processes is reached, or the system refuses threads. Without a thread, the lookup takes as long as the C
    // library's own time-out allows.
    if started.is_err() {
        return Ok(resolve(&name)?);
    }
    match receiver.recv_timeout(*timeout.after) {
        Ok(answer) => Ok(answer?),
        Err(RecvTimeoutError::Timeout) => Err(Error::Timeout(timeout.reason)),
        Err(RecvTimeoutError::Disconnected) => Err(Error::HostNotFound),
    }
}

/// Returns the addresses that `getent ahosts` prints within the limit. None if it does not exist or fails.
fn getent(name: &str, limit: Duration) -> Vec<IpAddr> {
    // getent would take such a name for a flag.
    if name.starts_with('-') {
        return Vec::new();
    }
    let Ok(mut command) = programs::command("getent".as_ref()) else { return Vec::new() };
    command.args(["ahosts", name]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    system::signals::reset_sigchld();
    let Ok((mut child, group)) = ProcessGroup::spawn(&mut command) else { return Vec::new() };
    let output = output_of(&mut child, limit);
    group.kill(&mut child);
    match (output, child.wait()) {
        (Some(output), Ok(status)) if status.success() => addresses(&String::from_utf8_lossy(&output)),
        _ => Vec::new(),
    }
}

/// Returns what a child has printed when it ends. `None` if it does not end within the limit.
fn output_of(child: &mut Child, limit: Duration) -> Option<Vec<u8>> {
    let started = Instant::now();
    let mut pipe = ChildOutput::of(child.stdout.take()).ok()?;
    let mut output = Vec::new();
    loop {
        let has_ended = system::process::has_ended(child).ok()?;
        pipe.drain(|piece| {
            let room = GETENT_OUTPUT - output.len();
            output.extend_from_slice(&piece[..piece.len().min(room)]);
        });
        if has_ended {
            return Some(output);
        }
        let left = limit.checked_sub(started.elapsed())?;
        system::process::wait_for_output(&[&pipe], left.min(GETENT_PAUSE));
    }
}

/// Returns each address once, in order. A line is an address, a kind of socket and, in the first line, a name.
fn addresses(output: &str) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for address in output.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_counts_once_in_the_order_of_getent() {
        let output =
            "2001:db8::1     STREAM iam.example\n2001:db8::1     DGRAM\n192.0.2.7  STREAM\nfe80::1%eth0 STREAM\n\n";
        let expected: [IpAddr; 2] = ["2001:db8::1".parse().expect("IPv6"), "192.0.2.7".parse().expect("IPv4")];
        assert_eq!(addresses(output), expected);
    }
}
