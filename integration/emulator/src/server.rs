//! A small HTTP/1.1 server for tests: one thread per connection, bodies by Content-Length or chunks, keep-alive, TLS if
//! asked for, and answers that can be delivered as badly as real networks deliver them.
//!
//! ```ignore
//! let server = Server::start(None, |request| match request.path.as_str() {
//!     "/hello" => Response::text(200, "hi"),
//!     _ => Response::text(404, "no such page"),
//! });
//! let url = format!("{}/hello", server.url());
//! ```
//!
//! Every loop here has an end: a peer that neither speaks nor leaves is dropped, and all threads stop within a
//! fraction of a second after the `Server` is dropped.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How often a waiting thread looks whether the server has been dropped.
const POLL: Duration = Duration::from_millis(100);
/// How long a connection may stay silent, between requests or within one.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest request head; real servers allow 8 to 64 KiB.
const MAX_HEAD: usize = 64 * 1024;
/// The largest request body: room for a pushed git pack or an image layer.
const MAX_BODY: usize = 64 * 1024 * 1024;
/// Where an endless answer ends all the same, if the peer swallows it to the end.
const ENDLESS: usize = 64 * 1024 * 1024;
/// Requests served on one connection.
const MAX_REQUESTS: usize = 100_000;
/// Threads, hence connections, at a time. More are turned away by closing them.
const MAX_CONNECTIONS: usize = 4096;

/// A request, read whole.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method, as it was sent.
    pub method: String,
    /// The request target as it was sent: path and query, an absolute URL to a proxy, or `host:port` for CONNECT.
    pub target: String,
    /// The target's path, still percent-encoded.
    pub path: String,
    /// What follows the `?` in the target, or nothing.
    pub query: String,
    /// The body, with any chunking undone.
    pub body: Vec<u8>,
    /// Who sent it.
    pub peer: SocketAddr,
    /// The number of the connection, from 1: two requests with the same number shared it.
    pub connection: u64,
    headers: Vec<(String, String)>,
}

impl Request {
    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All headers, in the order they were sent.
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// The body as text; broken UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The credentials of `Authorization: Bearer …`.
    pub fn bearer(&self) -> Option<&str> {
        let (scheme, rest) = self.header("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| rest.trim())
    }

    /// One parameter of the query, percent-decoded, `+` taken as a blank.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .find(|(key, _)| decode(key) == name)
            .map(|(_, value)| decode(value))
    }
}

/// Undoes the percent-encoding of a form or query.
pub fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|two| std::str::from_utf8(two).ok());
        match (bytes[at], hex.and_then(|two| u8::from_str_radix(two, 16).ok())) {
            (b'%', Some(byte)) => {
                plain.push(byte);
                at += 2;
            }
            (b'+', _) => plain.push(b' '),
            (byte, _) => plain.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// Where an answer breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The request was read; the connection closes without a byte in return.
    BeforeAnswer,
    /// Half of the head, then the connection closes.
    MidHeaders,
    /// The whole head and half of the body, then the connection closes.
    MidBody,
    /// No byte in return, and a TCP reset in place of an orderly close.
    Reset,
}

/// How an answer travels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Delivery {
    /// At once, as servers do.
    #[default]
    Whole,
    /// So many bytes at a time, head and body alike, with a pause after each piece.
    Drip {
        /// Bytes per piece.
        bytes: usize,
        /// The pause after each piece.
        every: Duration,
    },
    /// Broken off.
    Break(Stage),
    /// The body again and again, without a length, until the peer leaves.
    Endless,
    /// The answer to CONNECT: everything after it goes to and from this address. Only on a server without TLS.
    Tunnel(SocketAddr),
}

/// How the end of the body is marked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Framing {
    /// By `Content-Length`.
    #[default]
    Length,
    /// In chunks.
    Chunked,
    /// By closing the connection.
    Close,
}

/// An answer. `Content-Length`, `Transfer-Encoding` and `Connection` are written by the server; `Date` is not.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Headers, in the order they are sent.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// How the answer travels.
    pub delivery: Delivery,
    /// How the end of the body is marked.
    pub framing: Framing,
    /// How long to wait before the first byte.
    pub delay: Duration,
}

impl Response {
    /// An answer without a body.
    pub fn new(status: u16) -> Response {
        let (delivery, framing) = (Delivery::Whole, Framing::Length);
        Response { status, headers: Vec::new(), body: Vec::new(), delivery, framing, delay: Duration::ZERO }
    }

    /// An answer with a body of this content type.
    pub fn typed(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Response {
        let mut response = Response::new(status).header("Content-Type", content_type);
        response.body = body.into();
        response
    }

    /// A plain text answer.
    pub fn text(status: u16, body: impl Into<Vec<u8>>) -> Response {
        Response::typed(status, "text/plain; charset=utf-8", body)
    }

    /// A JSON answer.
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Response {
        Response::typed(status, "application/json", body)
    }

    /// Lets a CONNECT through to this address, whatever the client asked for.
    pub fn tunnel(to: SocketAddr) -> Response {
        Response::new(200).delivered(Delivery::Tunnel(to))
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Response {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sets how the answer travels.
    #[must_use]
    pub fn delivered(mut self, delivery: Delivery) -> Response {
        self.delivery = delivery;
        self
    }

    /// Sets how the end of the body is marked.
    #[must_use]
    pub fn framed(mut self, framing: Framing) -> Response {
        self.framing = framing;
        self
    }

    /// Sets how long to wait before the first byte.
    #[must_use]
    pub fn delayed(mut self, delay: Duration) -> Response {
        self.delay = delay;
        self
    }
}

type Handler = dyn Fn(&Request) -> Response + Send + Sync;

struct Shared {
    stop: AtomicBool,
    connections: AtomicU64,
    active: AtomicUsize,
    failed_handshakes: Mutex<Vec<String>>,
    tls: Option<Arc<rustls::ServerConfig>>,
    handler: Box<Handler>,
}

impl Shared {
    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Sleeps in slices, so that a dropped server does not keep its threads. False when the server has been dropped.
    fn sleep(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        while !self.stopping() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(POLL));
        }
        false
    }
}

/// A running server. Dropping it closes the port and ends its threads.
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Option<thread::JoinHandle<()>>,
    #[cfg(unix)]
    listener: std::os::fd::OwnedFd,
}

impl Server {
    /// Starts a server on a free port of 127.0.0.1. The handler is called from many threads; if it panics, the peer
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

    /// Starts a server on a socket that listens already, for example one that was made in another network namespace.
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

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The base URL, without a trailing slash: `http://127.0.0.1:40000`.
    pub fn url(&self) -> String {
        let scheme = if self.shared.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// How many connections were accepted so far. Zero says: nobody called.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Acquire)
    }

    /// Why TLS handshakes failed, in the order they did: what a client that distrusts the certificate leaves behind.
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
        // Where shutting a listening socket does not wake `accept`, a connection does.
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

/// Waits for a thread, but not for longer than this.
fn ended(thread: &thread::JoinHandle<()>, patience: Duration) -> bool {
    let end = Instant::now() + patience;
    while !thread.is_finished() && Instant::now() < end {
        thread::sleep(Duration::from_millis(1));
    }
    thread.is_finished()
}

/// Locks even after a panic elsewhere: what is kept under these locks is whole at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The standard library asks for a backlog of 128, too few for a thousand processes at once: those beyond it would wait
/// a second for their SYN to be sent again.
#[cfg(unix)]
fn widen_backlog(listener: &std::os::fd::OwnedFd) {
    use std::os::fd::AsRawFd;
    // SAFETY: the descriptor is open and a listening socket; calling listen again only changes its backlog.
    unsafe { libc::listen(listener.as_raw_fd(), 4096) };
}

/// Wakes a thread that waits in `accept`.
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
            // Out of descriptors, most likely: wait for some to come back.
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
            // A peer that breaks the connection or speaks no HTTP is no failure of the server.
            let _ = serve(stream, peer, number, &active.0);
        });
    }
}

/// Counts a connection for as long as it lives.
struct Active(Arc<Shared>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The two kinds of byte stream.
enum Stream {
    Plain(TcpStream),
    Tls(Box<rustls::StreamOwned<rustls::ServerConnection, TcpStream>>),
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => &tls.sock,
        }
    }

    /// An orderly close: TLS says goodbye, then TCP does.
    fn close(mut self) {
        if let Stream::Tls(tls) = &mut self {
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
        let _ = self.tcp().shutdown(Shutdown::Both);
    }

    /// Closes by a reset. Elsewhere than on Unix the close is an ordinary one.
    fn reset(self) {
        #[cfg(unix)]
        {
            use std::os::fd::AsRawFd;
            let linger = libc::linger { l_onoff: 1, l_linger: 0 };
            // SAFETY: the descriptor is open, and the pointer and the length describe a live `linger`.
            unsafe {
                libc::setsockopt(
                    self.tcp().as_raw_fd(),
                    libc::SOL_SOCKET,
                    libc::SO_LINGER,
                    (&raw const linger).cast(),
                    std::mem::size_of::<libc::linger>() as libc::socklen_t,
                )
            };
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(tcp) => tcp.read(buffer),
            Stream::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(tcp) => tcp.write(buffer),
            Stream::Tls(tls) => tls.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(tcp) => tcp.flush(),
            Stream::Tls(tls) => tls.flush(),
        }
    }
}

/// A connection with what has been read of it and not yet been used.
struct Connection<'a> {
    stream: Stream,
    buffer: Vec<u8>,
    shared: &'a Shared,
}

/// Why a request could not be read.
enum Unread {
    /// The peer is gone, or the server is going: nothing to answer.
    Gone,
    /// The peer sent something that is to be answered with this status, after which the connection is of no more use.
    Bad(u16),
}

impl From<io::Error> for Unread {
    fn from(_: io::Error) -> Unread {
        Unread::Gone
    }
}

impl Connection<'_> {
    /// Reads more. `Gone` at the peer's end of stream, when its time is up, and when the server is dropped.
    fn fill(&mut self) -> Result<(), Unread> {
        let end = Instant::now() + PATIENCE;
        let mut piece = [0; 16 * 1024];
        while Instant::now() < end && !self.shared.stopping() {
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(Unread::Gone),
                Ok(count) => {
                    self.buffer.extend_from_slice(&piece[..count]);
                    return Ok(());
                }
                Err(error) if waits(&error) => {}
                Err(_) => return Err(Unread::Gone),
            }
        }
        Err(Unread::Gone)
    }

    /// Reads one request; the flag says whether the connection may serve another.
    fn request(&mut self, peer: SocketAddr, connection: u64) -> Result<(Request, bool), Unread> {
        let (mut request, used, mut keep) = loop {
            let mut slots = [httparse::EMPTY_HEADER; 128];
            let mut head = httparse::Request::new(&mut slots);
            match head.parse(&self.buffer) {
                Ok(httparse::Status::Complete(used)) => {
                    break (lift(&head, peer, connection), used, head.version == Some(1));
                }
                Ok(httparse::Status::Partial) if self.buffer.len() < MAX_HEAD => {}
                Ok(httparse::Status::Partial) => return Err(Unread::Bad(431)),
                Err(_) => return Err(Unread::Bad(400)),
            }
            self.fill()?;
        };
        self.buffer.drain(..used);
        if request.header("connection").is_some_and(|value| value.to_ascii_lowercase().contains("close")) {
            keep = false;
        }
        if request.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            self.stream.flush()?;
        }
        request.body = match (request.header("transfer-encoding"), request.header("content-length")) {
            (Some(_), Some(_)) => return Err(Unread::Bad(400)),
            (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => self.chunks()?,
            (Some(_), None) => return Err(Unread::Bad(501)),
            (None, Some(length)) => {
                let length: usize = length.parse().map_err(|_| Unread::Bad(400))?;
                self.exactly(length)?
            }
            (None, None) => Vec::new(),
        };
        Ok((request, keep))
    }

    /// Takes so many bytes.
    fn exactly(&mut self, length: usize) -> Result<Vec<u8>, Unread> {
        if length > MAX_BODY {
            return Err(Unread::Bad(413));
        }
        while self.buffer.len() < length {
            self.fill()?;
        }
        let rest = self.buffer.split_off(length);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    /// Takes one line, without its end.
    fn line(&mut self) -> Result<Vec<u8>, Unread> {
        let end = loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                break end;
            }
            if self.buffer.len() > MAX_HEAD {
                return Err(Unread::Bad(400));
            }
            self.fill()?;
        };
        let mut line = self.exactly(end + 2)?;
        line.truncate(end);
        Ok(line)
    }

    /// Takes a chunked body and its trailers, which are dropped.
    fn chunks(&mut self) -> Result<Vec<u8>, Unread> {
        let mut body = Vec::new();
        loop {
            let mut line = self.line()?;
            line.extend_from_slice(b"\r\n");
            let Ok(httparse::Status::Complete((_, size))) = httparse::parse_chunk_size(&line) else {
                return Err(Unread::Bad(400));
            };
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            if size == 0 {
                break;
            }
            if size > MAX_BODY - body.len() {
                return Err(Unread::Bad(413));
            }
            body.extend(self.exactly(size)?);
            if !self.line()?.is_empty() {
                return Err(Unread::Bad(400));
            }
        }
        for _ in 0..128 {
            if self.line()?.is_empty() {
                return Ok(body);
            }
        }
        Err(Unread::Bad(400))
    }

    /// Sends an answer; the flag says whether the connection is still good for another request.
    fn respond(mut self, request: &Request, response: &Response, keep: bool) -> io::Result<Option<Self>> {
        if !self.shared.sleep(response.delay) {
            return Ok(None);
        }
        let keep =
            keep && response.framing != Framing::Close
                && response.delivery != Delivery::Endless
                && !response.headers.iter().any(|(name, value)| {
                    name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close")
                });
        let head = head(request, response, keep);
        let body = match request.method.as_str() {
            "HEAD" => Vec::new(),
            _ => framed(response),
        };
        match response.delivery {
            Delivery::Whole => {
                self.stream.write_all(&[head, body].concat())?;
                self.stream.flush()?;
            }
            Delivery::Drip { bytes, every } => {
                for piece in [head, body].concat().chunks(bytes.max(1)) {
                    self.stream.write_all(piece)?;
                    self.stream.flush()?;
                    if !self.shared.sleep(every) {
                        return Ok(None);
                    }
                }
            }
            Delivery::Break(stage) => {
                match stage {
                    Stage::BeforeAnswer => {}
                    Stage::MidHeaders => self.stream.write_all(&head[..head.len() / 2])?,
                    Stage::MidBody => self.stream.write_all(&[&head, &body[..body.len() / 2]].concat())?,
                    Stage::Reset => {
                        self.stream.reset();
                        return Ok(None);
                    }
                }
                self.stream.flush()?;
                // Not `close`: a connection that breaks says no goodbye in TLS either.
                self.stream.tcp().shutdown(Shutdown::Both)?;
                return Ok(None);
            }
            Delivery::Endless => {
                self.stream.write_all(&head)?;
                let piece = if response.body.is_empty() { vec![b' '; 4096] } else { response.body.clone() };
                let mut sent = 0;
                while sent < ENDLESS && !self.shared.stopping() {
                    self.stream.write_all(&piece)?;
                    sent += piece.len();
                }
            }
            Delivery::Tunnel(to) => {
                self.tunnel(to)?;
                return Ok(None);
            }
        }
        if keep {
            return Ok(Some(self));
        }
        self.stream.close();
        Ok(None)
    }

    /// Joins the peer with another address until either of them is done.
    fn tunnel(self, to: SocketAddr) -> io::Result<()> {
        let Connection { stream: Stream::Plain(mut near), buffer, shared } = self else {
            return Err(io::Error::other("a tunnel needs a server without TLS"));
        };
        let mut far = TcpStream::connect_timeout(&to, Duration::from_secs(3))?;
        far.set_read_timeout(Some(POLL))?;
        far.set_write_timeout(Some(PATIENCE))?;
        near.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        far.write_all(&buffer)?;
        let (near_copy, far_copy) = (near.try_clone()?, far.try_clone()?);
        thread::scope(|scope| {
            scope.spawn(|| copy(near_copy, far, shared));
            copy(far_copy, near, shared);
        });
        Ok(())
    }
}

/// Moves bytes one way until the source ends, then says so to the sink.
fn copy(mut from: TcpStream, mut to: TcpStream, shared: &Shared) {
    let mut piece = [0; 16 * 1024];
    let mut silent_since = Instant::now();
    while !shared.stopping() && silent_since.elapsed() < PATIENCE {
        match from.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => {
                silent_since = Instant::now();
                if to.write_all(&piece[..count]).is_err() {
                    break;
                }
            }
            Err(error) if waits(&error) => {}
            Err(_) => break,
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Whether a read only ran into its time-out, by which these threads look up from time to time.
fn waits(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// Copies a parsed head out of its buffer.
fn lift(head: &httparse::Request<'_, '_>, peer: SocketAddr, connection: u64) -> Request {
    let target = head.path.unwrap_or_default().to_owned();
    // A proxy is sent the whole URL; its path is what is asked for.
    let local = match target.split_once("://").filter(|_| !target.starts_with('/')) {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => &target,
    };
    let (path, query) = local.split_once('?').unwrap_or((local, ""));
    let (path, query) = (path.to_owned(), query.to_owned());
    let headers =
        head.headers.iter().map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned()));
    let (method, headers) = (head.method.unwrap_or_default().to_owned(), headers.collect());
    Request { method, target, path, query, body: Vec::new(), peer, connection, headers }
}

/// The status line and the headers.
fn head(request: &Request, response: &Response, keep: bool) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {} {}\r\n", response.status, reason(response.status));
    for (name, value) in &response.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let bodiless = matches!(response.status, 100..=199 | 204 | 304);
    match (&response.delivery, response.framing) {
        (Delivery::Endless, _) | (_, Framing::Close) => {}
        (_, Framing::Chunked) if !bodiless => head += "Transfer-Encoding: chunked\r\n",
        _ if bodiless => {}
        // The answer to HEAD tells the length that GET would have had, if its maker has not said it himself.
        _ if request.method == "HEAD" && named(response, "content-length") => {}
        _ => head += &format!("Content-Length: {}\r\n", response.body.len()),
    }
    if !keep && !named(response, "connection") {
        head += "Connection: close\r\n";
    }
    head += "\r\n";
    head.into_bytes()
}

fn named(response: &Response, name: &str) -> bool {
    response.headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name))
}

/// The body as it goes over the wire.
fn framed(response: &Response) -> Vec<u8> {
    if response.framing != Framing::Chunked || response.delivery == Delivery::Endless {
        return response.body.clone();
    }
    let mut wire = Vec::new();
    // Two chunks, if there is enough for it: a client that reads only the first is caught.
    for piece in response.body.chunks(response.body.len().div_ceil(2).max(1)) {
        wire.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        wire.extend_from_slice(piece);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"0\r\n\r\n");
    wire
}

/// The words after the status code; clients ignore them, people read them.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        407 => "Proxy Authentication Required",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Answer",
    }
}

/// Serves one connection to its end.
fn serve(tcp: TcpStream, peer: SocketAddr, number: u64, shared: &Shared) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(POLL))?;
    tcp.set_write_timeout(Some(PATIENCE))?;
    let stream = match &shared.tls {
        None => Stream::Plain(tcp),
        Some(config) => match handshake(tcp, config, shared) {
            Ok(stream) => stream,
            Err(error) => {
                lock(&shared.failed_handshakes).push(error.to_string());
                return Err(error);
            }
        },
    };
    let mut connection = Connection { stream, buffer: Vec::new(), shared };
    for _ in 0..MAX_REQUESTS {
        match connection.request(peer, number) {
            Ok((request, keep)) => {
                let response = (shared.handler)(&request);
                let Some(still) = connection.respond(&request, &response, keep)? else { break };
                connection = still;
            }
            Err(Unread::Gone) => break,
            Err(Unread::Bad(status)) => {
                let answer =
                    format!("HTTP/1.1 {status} {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", reason(status));
                connection.stream.write_all(answer.as_bytes())?;
                connection.stream.close();
                break;
            }
        }
    }
    Ok(())
}

/// Completes the TLS handshake, so that its failure is known for what it is.
fn handshake(mut tcp: TcpStream, config: &Arc<rustls::ServerConfig>, shared: &Shared) -> io::Result<Stream> {
    let mut tls = rustls::ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    let end = Instant::now() + PATIENCE;
    while tls.is_handshaking() {
        if shared.stopping() || Instant::now() >= end {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match tls.complete_io(&mut tcp) {
            Ok(_) => {}
            Err(error) if waits(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Stream::Tls(Box::new(rustls::StreamOwned::new(tls, tcp))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends bytes and reads to the end of the stream.
    fn talk(server: &Server, bytes: &[u8]) -> io::Result<String> {
        let mut stream = TcpStream::connect(server.address())?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(bytes)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    fn echo() -> Server {
        Server::start(None, |request| Response::text(200, [b"<", request.body.as_slice(), b">"].concat()))
    }

    #[test]
    fn a_connection_serves_many_requests_with_either_kind_of_body() {
        let answer = talk(
            &echo(),
            b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\none\
              POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\ntw\r\n1\r\no\r\n0\r\nTrailer: t\r\n\r\n\
              GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
        )
        .unwrap();
        assert_eq!(answer.matches("HTTP/1.1 200 OK\r\n").count(), 3, "{answer}");
        assert!(answer.contains("<one>") && answer.contains("<two>") && answer.ends_with("<>"), "{answer}");
    }

    #[test]
    fn what_is_not_http_is_answered_with_400() {
        let server = echo();
        for bytes in [
            b"\x16\x03\x01\x00\xa5\x01\x00\r\n\r\n".as_slice(),
            b"POST / HTTP/1.1\r\nContent-Length: minus\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n",
        ] {
            let answer = talk(&server, bytes).unwrap();
            assert!(answer.starts_with("HTTP/1.1 400 "), "{answer:?} for {bytes:?}");
        }
    }

    #[test]
    fn answers_break_off_where_they_are_told_to() {
        let broken = |stage| {
            let server =
                Server::start(None, move |_| Response::text(200, "0123456789").delivered(Delivery::Break(stage)));
            talk(&server, b"GET / HTTP/1.1\r\n\r\n")
        };
        assert_eq!(broken(Stage::BeforeAnswer).unwrap(), "");
        let half = broken(Stage::MidHeaders).unwrap();
        assert!(half.starts_with("HTTP/1.1 200") && !half.contains("\r\n\r\n"), "{half}");
        assert!(broken(Stage::MidBody).unwrap().ends_with("\r\n\r\n01234"));
        #[cfg(unix)]
        assert_eq!(broken(Stage::Reset).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn dripping_chunked_and_unframed_answers_arrive_whole() {
        let server = Server::start(None, |request| match request.path.as_str() {
            "/drip" => Response::text(200, "slowly")
                .delivered(Delivery::Drip { bytes: 40, every: Duration::from_millis(1) })
                .header("Connection", "close"),
            "/chunks" => Response::text(200, "pieces").framed(Framing::Chunked).header("Connection", "close"),
            _ => Response::text(200, "to the end").framed(Framing::Close),
        });
        assert!(talk(&server, b"GET /drip HTTP/1.1\r\n\r\n").unwrap().ends_with("\r\n\r\nslowly"));
        assert!(talk(&server, b"GET /chunks HTTP/1.1\r\n\r\n").unwrap().ends_with("3\r\npie\r\n3\r\nces\r\n0\r\n\r\n"));
        assert!(talk(&server, b"GET /close HTTP/1.1\r\n\r\n").unwrap().ends_with("\r\n\r\nto the end"));
    }

    #[test]
    fn a_tunnel_carries_bytes_both_ways() {
        let far = echo();
        let to = far.address();
        let proxy = Server::start(None, move |request| {
            assert_eq!((request.method.as_str(), request.target.as_str()), ("CONNECT", "iam.example:443"));
            Response::tunnel(to)
        });
        let answer = talk(
            &proxy,
            b"CONNECT iam.example:443 HTTP/1.1\r\n\r\n\
              POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
        )
        .unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 Connection established") && answer.ends_with("<hi>"), "{answer}");
    }

    #[test]
    fn a_dropped_server_lets_go_of_its_port_and_its_connections() {
        let server = echo();
        let address = server.address();
        let mut idle = TcpStream::connect(address).unwrap();
        idle.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        drop(server);
        assert!(TcpStream::connect(address).is_err());
        // A close or a reset, but not the time-out.
        let end = idle.read(&mut [0]).map_err(|error| error.kind());
        assert!(matches!(end, Ok(0) | Err(io::ErrorKind::ConnectionReset)), "{end:?}");
    }

    #[test]
    fn queries_are_decoded_and_headers_found_in_any_case() {
        let server = Server::start(None, |request| {
            let (name, bearer) = (request.parameter("na me").unwrap_or_default(), request.bearer().unwrap_or_default());
            Response::text(200, format!("{} {name} {bearer}", request.path)).framed(Framing::Close)
        });
        let answer = talk(&server, b"GET http://h/p?x=1&na+me=a%2Fb%zz HTTP/1.1\r\nAUTHORIZATION: bearer t\r\n\r\n");
        assert!(answer.unwrap().ends_with("/p a/b%zz t"));
    }

    #[test]
    fn ipv6_is_served_where_the_machine_has_it() {
        let Ok(probe) = TcpListener::bind("[::1]:0") else { return };
        let server = Server::listen(probe, None, |_| Response::text(200, "six").framed(Framing::Close)).unwrap();
        assert_eq!(server.url(), format!("http://[::1]:{}", server.port()));
        assert!(talk(&server, b"GET / HTTP/1.1\r\n\r\n").unwrap().ends_with("six"));
        assert_eq!(server.connections(), 1);
    }
}
