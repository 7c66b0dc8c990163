//! Looks up host names: on a thread, so that a time limit holds, or in line where no thread can be started.
//!
//! musl, the C library of the static build, reads `/etc/hosts` and asks the name servers in `/etc/resolv.conf`. It does not
//! load what `/etc/nsswitch.conf` names, and accepts "no such name" from any of the servers. Without a network it waits for
//! seconds. `getent` uses the system's own C library, so it knows what other programs of this machine know, and fails as fast as
//! they do. It runs only for a name that musl does not find, or not within a second.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
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
/// How long to wait for the C library before `getent` is asked too, at most. A name server answers in a fraction of that.
const SILENCE: Duration = Duration::from_secs(1);
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
    fn look_up(&self, name: &str, timeout: NextTimeout) -> Result<Vec<SocketAddr>, Error> {
        let (started, limit) = (Instant::now(), *timeout.after);
        let left = || limit.saturating_sub(started.elapsed());
        let late = Error::Timeout(timeout.reason);
        let lookup = Lookup::start(name);
        let patience = if system::NEEDS_GETENT { SILENCE.min(limit / 2) } else { limit };
        let failed = match lookup.wait(patience) {
            Some(Err(error @ (Error::Io(_) | Error::HostNotFound))) if system::NEEDS_GETENT => Some(error),
            Some(answer) => return answer,
            None if left().is_zero() => return Err(late),
            None => None,
        };
        let Some((host, port)) = name.rsplit_once(':') else { return Err(failed.unwrap_or(late)) };
        let Ok(port) = port.parse() else { return Err(failed.unwrap_or(late)) };
        let mut answer = None;
        let known = getent(host, left().min(GETENT_LIMIT), || {
            answer = if failed.is_none() { lookup.wait(Duration::ZERO).and_then(Result::ok) } else { None };
            answer.is_some()
        });
        if let Some(addresses) = answer {
            return Ok(addresses);
        }
        let first = if failed.is_some() { "does not find this name" } else { "has not answered" };
        let then = match &known {
            Known::Addresses(_) => "knows it",
            Known::Nothing => "does not know it either",
            Known::NoAnswer => "does not answer either",
        };
        let note = format!("{host}: the C library {first}; getent {then}");
        *self.note.lock().unwrap_or_else(PoisonError::into_inner) = Some(note);
        match (known, failed) {
            (Known::Addresses(addresses), _) => {
                Ok(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect())
            }
            (Known::Nothing | Known::NoAnswer, Some(error)) => Err(error),
            // A limit may be so short that getent was asked early.
            (Known::Nothing, None) => {
                let patience = SILENCE.saturating_sub(started.elapsed()).min(left());
                lookup.wait(patience).unwrap_or(Err(Error::HostNotFound))
            }
            (Known::NoAnswer, None) => lookup.wait(left()).unwrap_or(Err(late)),
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
            Err(_) => self.look_up(&name, timeout).inspect_err(|_| {
                *self.unresolved.lock().unwrap_or_else(PoisonError::into_inner) = Some(name);
            })?,
        };
        let mut addresses = self.empty();
        config.ip_family().keep_wanted(found.into_iter()).take(MAX_ADDRESSES).for_each(|it| addresses.push(it));
        if addresses.is_empty() { Err(Error::HostNotFound) } else { Ok(addresses) }
    }
}

/// A lookup by the C library.
enum Lookup {
    Running(Receiver<io::Result<Vec<SocketAddr>>>),
    /// No thread can be started: the limit of processes is reached, or the system refuses threads.
    Inline(String),
}

impl Lookup {
    fn start(name: &str) -> Self {
        let (sender, receiver) = mpsc::sync_channel(1);
        let started = thread::Builder::new().spawn({
            let name = name.to_owned();
            move || drop(sender.send(resolve(&name)))
        });
        if started.is_ok() { Self::Running(receiver) } else { Self::Inline(name.to_owned()) }
    }

    /// Returns the answer, or `None` at the limit. Without a thread, it takes as long as the C library's own time-out allows.
    fn wait(&self, limit: Duration) -> Option<Result<Vec<SocketAddr>, Error>> {
        match self {
            Self::Inline(name) => Some(resolve(name).map_err(Error::from)),
            Self::Running(receiver) => match receiver.recv_timeout(limit) {
                Ok(answer) => Some(answer.map_err(Error::from)),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(Err(Error::HostNotFound)),
            },
        }
    }
}

fn resolve(name: &str) -> io::Result<Vec<SocketAddr>> {
    name.to_socket_addrs().map(Iterator::collect)
}

/// What `getent` has said about a name.
enum Known {
    Addresses(Vec<IpAddr>),
    Nothing,
    /// It does not exist on this machine, or has not ended in time.
    NoAnswer,
}

/// Asks `getent ahosts`. Gives up if `is_over` returns true.
fn getent(name: &str, limit: Duration, is_over: impl FnMut() -> bool) -> Known {
    // getent would take such a name for a flag.
    if name.starts_with('-') {
        return Known::NoAnswer;
    }
    let Ok(mut command) = programs::command("getent".as_ref()) else { return Known::NoAnswer };
    command.args(["ahosts", name]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    system::signals::reset_sigchld();
    let Ok((mut child, group)) = ProcessGroup::spawn(&mut command) else { return Known::NoAnswer };
    let output = output_of(&mut child, limit, is_over);
    group.kill(&mut child);
    match (output, child.wait()) {
        (Some(output), Ok(status)) if status.success() => match addresses(&String::from_utf8_lossy(&output)) {
            found if found.is_empty() => Known::Nothing,
            found => Known::Addresses(found),
        },
        // Its exit code for a name that is not found.
        (Some(_), Ok(status)) if status.code() == Some(2) => Known::Nothing,
        _ => Known::NoAnswer,
    }
}

/// Returns what a child has printed when it ends. `None` if it does not end within the limit.
fn output_of(child: &mut Child, limit: Duration, mut is_over: impl FnMut() -> bool) -> Option<Vec<u8>> {
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
        if is_over() {
            return None;
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
