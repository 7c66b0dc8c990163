//! A small HTTP/1.1 server for tests, with faults that real networks have.
//!
//! It runs one thread per connection and supports keep-alive, chunked bodies and TLS. A [`Response`] can be delayed, cut
//! off, sent in small pieces or without an end.
//!
//! ```
//! use ycred_emulator::server::{Response, Server};
//!
//! let server = Server::start(None, |request| match request.path.as_str() {
//!     "/hello" => Response::text(200, "hi"),
//!     _ => Response::text(404, "no such page"),
//! });
//! assert!(server.url().starts_with("http://127.0.0.1:"));
//! assert_eq!(server.connections(), 0);
//! ```
//!
//! Every loop here has an end: a silent peer is dropped, and all threads stop within a fraction of a second after the
//! `Server` is dropped.

mod connection;
mod request;
mod response;
mod shared;
mod stream;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

pub use self::request::{Request, decode};
pub use self::response::{Delivery, Framing, Response, Stage};
use self::shared::{Shared, lock};

/// The most connections, hence threads, at a time. Further ones are closed at once.
const MAX_CONNECTIONS: usize = 4096;

/// A running server. Dropping it closes the port and ends its threads.
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Option<thread::JoinHandle<()>>,
    #[cfg(unix)]
    listener: std::os::fd::OwnedFd,
}

impl Server {
    /// Starts a server on a free port of 127.0.0.1. The handler is called from many threads. If it panics, the peer
    /// sees a closed connection.
    pub fn start(
        tls: Option<Arc<rustls::ServerConfig>>,
        handler: impl Fn(&Request) -> Response + Send + Sync + 'static,
    ) -> Server {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Server::start_on(address, tls, handler).expect("a free port on loopback")
    }

    /// Starts a server on this address, for example `[::1]:0`, or `169.254.169.254:80` inside a network namespace.
    pub fn start_on(
        address: SocketAddr,
        tls: Option<Arc<rustls::ServerConfig>>,
        handler: impl Fn(&Request) -> Response + Send + Sync + 'static,
    ) -> io::Result<Server> {
        Server::listen(TcpListener::bind(address)?, tls, handler)
    }

    /// Starts a server on a listening socket, for example one from another network namespace.
    pub fn listen(
        listener: TcpListener,
        tls: Option<Arc<rustls::ServerConfig>>,
        handler: impl Fn(&Request) -> Response + Send + Sync + 'static,
    ) -> io::Result<Server> {
        let address = listener.local_addr()?;
        #[cfg(unix)]
        let handle = std::os::fd::OwnedFd::from(listener.try_clone()?);
        #[cfg(unix)]
        widen_backlog(&handle);
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            active: AtomicUsize::new(0),
            failed_handshakes: Mutex::new(Vec::new()),
            tls,
            handler: Box::new(handler),
        });
        let acceptor = {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name("server".to_owned()).spawn(move || accept(&listener, &shared))?
        };
        Ok(Server {
            shared,
            address,
            acceptor: Some(acceptor),
            #[cfg(unix)]
            listener: handle,
        })
    }

    /// Returns the address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the port it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns the base URL without a trailing slash, such as `http://127.0.0.1:40000`.
    pub fn url(&self) -> String {
        let scheme = if self.shared.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Returns the number of connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Acquire)
    }

    /// Returns the reasons of all failed TLS handshakes, oldest first. A client that distrusts the certificate leaves
    /// one.
    pub fn failed_handshakes(&self) -> Vec<String> {
        lock(&self.shared.failed_handshakes).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        #[cfg(unix)]
        shut(&self.listener);
        let Some(acceptor) = self.acceptor.take() else { return };
        // Where shutting a listening socket down doesn't wake `accept`, a connection does.
        if !ended(&acceptor, Duration::from_millis(200)) {
            let ip = match self.address.ip() {
                ip if !ip.is_unspecified() => ip,
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            };
            let _ = TcpStream::connect_timeout(&SocketAddr::new(ip, self.address.port()), Duration::from_millis(200));
            ended(&acceptor, Duration::from_secs(1));
        }
    }
}

/// Waits for a thread to end, for at most this long.
fn ended(thread: &thread::JoinHandle<()>, patience: Duration) -> bool {
    let end = Instant::now() + patience;
    while !thread.is_finished() && Instant::now() < end {
        thread::sleep(Duration::from_millis(1));
    }
    thread.is_finished()
}

/// Widens the backlog from the standard library's 128. With a thousand processes at once, the others would wait a
/// second until their SYN is sent again.
#[cfg(unix)]
fn widen_backlog(listener: &std::os::fd::OwnedFd) {
    use std::os::fd::AsRawFd;
    // SAFETY: the descriptor is open and a listening socket; calling listen again only changes its backlog.
    unsafe { libc::listen(listener.as_raw_fd(), 4096) };
}

/// Wakes the thread that waits in `accept`.
#[cfg(unix)]
fn shut(listener: &std::os::fd::OwnedFd) {
    use std::os::fd::AsRawFd;
    // SAFETY: the descriptor is open; shutdown touches no memory.
    unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RDWR) };
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut failures = 0;
    while !shared.stopping() && failures < 1000 {
        let Ok((stream, peer)) = listener.accept() else {
            // Most likely out of descriptors, so wait until some are closed.
            failures += 1;
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        if shared.stopping() {
            break;
        }
        failures = 0;
        let number = shared.connections.fetch_add(1, Ordering::AcqRel) + 1;
        if shared.active.fetch_add(1, Ordering::AcqRel) >= MAX_CONNECTIONS {
            shared.active.fetch_sub(1, Ordering::AcqRel);
            continue;
        }
        let active = Active(Arc::clone(shared));
        // A failure to start the thread drops the closure, and with it the stream and the count.
        let _ = thread::Builder::new().name(format!("connection {number}")).stack_size(1 << 20).spawn(move || {
            // A peer that breaks the connection or doesn't speak HTTP isn't a failure of the server.
            let _ = connection::serve(stream, peer, number, &active.0);
        });
    }
}

/// Counts a connection as active until dropped.
struct Active(Arc<Shared>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::AcqRel);
    }
}
