//! An HTTP server on loopback, for the callback of a login and the endpoints of `exec --serve`.
//!
//! It supports HTTP/1.1, GET only, with one request per connection.
//!
//! Any web page in a browser and any local program of any user can reach it. The server therefore rejects requests that
//! name another host (DNS rebinding) and forwarded requests. It also rejects connections of other users, if users can be
//! determined and the caller wants that, before they take a thread or a place. The caller makes all other checks.
#![expect(clippy::disallowed_types, reason = "listens on loopback only")]

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::base::error::{Error, describe};
use crate::system::peer::PeerUsers;
use crate::system::{fixes, sockets};

/// The maximum size of a request line with its headers, in bytes.
const REQUEST_MAX: usize = 16 * 1024;
/// The maximum number of headers. A browser sends about twenty.
const HEADERS_MAX: usize = 64;
/// The headers by which a proxy says that it forwards a request of somebody else.
const FORWARDING_HEADERS: [&str; 6] =
    ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];
/// The time limit for the first byte of a request. Browsers open connections that they never use.
const FIRST_BYTE: Duration = Duration::from_secs(1);
/// The time limit for reading a request and for writing a response.
const TRANSFER: Duration = Duration::from_secs(5);
/// The time limit for computing a response.
const RESPONSE: Duration = Duration::from_secs(60);
/// The maximum number of open connections. More wait until one is closed, which takes a bounded time.
const CONNECTIONS_MAX: usize = 256;
/// How often to check for a closed connection.
const POLL: Duration = Duration::from_millis(2);

/// A GET request.
#[derive(Debug)]
pub struct LocalRequest {
    pub path: String,
    /// The query as sent, percent-encoded. Empty without a query.
    pub query: String,
    /// The user id at the other end, if it can be determined.
    pub user: Option<u32>,
    headers: Vec<(String, String)>,
}

impl LocalRequest {
    /// Returns the first header with this name, in upper or lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// A response. Its headers forbid caching, content sniffing and frames.
pub struct LocalResponse {
    pub status: u16,
    pub content_type: &'static str,
    /// May contain a token.
    pub body: Zeroizing<Vec<u8>>,
}

impl LocalResponse {
    pub fn new(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, content_type, body: Zeroizing::new(body.into()) }
    }

    pub fn text(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", body)
    }

    fn head(&self) -> String {
        let phrase = match self.status {
            200 => "OK",
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            500 => "Internal Server Error",
            503 => "Service Unavailable",
            _ => "Answer",
        };
        format!(
            "HTTP/1.1 {} {phrase}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\
             Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
             frame-ancestors 'none'\r\n\r\n",
            self.status,
            self.content_type,
            self.body.len()
        )
    }
}

/// A request that waits for its response. If dropped without one, the connection is closed.
pub struct PendingRequest {
    pub request: LocalRequest,
    reply: Sender<LocalResponse>,
    written: Receiver<()>,
}

impl PendingRequest {
    /// Responds, and returns when the response is written or writing has failed.
    pub fn answer(self, response: LocalResponse) {
        if self.reply.send(response).is_ok() {
            let _ = self.written.recv_timeout(TRANSFER);
        }
    }

    /// Responds without waiting for the peer to read the response.
    pub fn respond_without_waiting(self, response: LocalResponse) {
        let _ = self.reply.send(response);
    }
}

/// Why nothing listens on loopback.
#[derive(Debug)]
pub struct ListenError {
    cause: io::Error,
    /// The socket is there, but a thread that accepts connections could not be started.
    is_thread: bool,
}

impl ListenError {
    /// Returns what went wrong.
    pub fn why(&self) -> String {
        let why = describe(&self.cause);
        if self.is_thread { format!("cannot start a thread: {why}") } else { why }
    }

    /// Returns the error, with a hint for its cause.
    ///
    /// `what` says what for. `taken` is the hint if another program uses the port.
    pub fn error(&self, what: &str, taken: &str) -> Error {
        let error = Error::unavailable(format!("{what}: {}", self.why()));
        if self.is_thread {
            return error.hint(fixes::ALLOW_THREADS);
        }
        error.hint(match self.cause.kind() {
            io::ErrorKind::AddrInUse => taken,
            _ => fixes::ALLOW_LOOPBACK,
        })
    }
}

impl From<io::Error> for ListenError {
    fn from(cause: io::Error) -> Self {
        Self { cause, is_thread: false }
    }
}

/// Listens until it is dropped.
pub struct Listener {
    port: u16,
    incoming: Receiver<PendingRequest>,
    ended: Arc<AtomicBool>,
    /// Why the users of connections cannot be determined.
    users_unknown: Option<String>,
}

impl Listener {
    /// Listens on a port of 127.0.0.1. 0 selects a free port.
    ///
    /// If `allowed` is set and users can be determined, the connections of users other than these are rejected.
    ///
    /// # Errors
    /// The port is in use, there is no loopback interface, or no thread could be started.
    pub fn bind(port: u16, allowed: Option<Vec<u32>>) -> Result<Self, ListenError> {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        sockets::lengthen_queue(&socket);
        let port = socket.local_addr()?.port();
        let (users, users_unknown) = match PeerUsers::of(port) {
            Ok(users) => (Some(users), None),
            Err(why) => (None, Some(why)),
        };
        let door = Door { users, allowed };
        let (send, incoming) = mpsc::channel();
        let ended = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&ended);
        thread::Builder::new()
            .spawn(move || accept(&socket, &door, &send, &is_over))
            .map_err(|cause| ListenError { cause, is_thread: true })?;
        Ok(Self { port, incoming, ended, users_unknown })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the reason why the users of connections cannot be determined, if they cannot.
    pub fn users_unknown(&self) -> Option<&str> {
        self.users_unknown.as_deref()
    }

    /// Checks that clients can connect, because listening also succeeds on a loopback interface that is down.
    ///
    /// # Errors
    /// Connecting failed.
    pub fn check(&self) -> Result<(), ListenError> {
        Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).map(drop)?)
    }

    /// Waits for the next request, at most for `timeout`.
    pub fn next(&self, timeout: Duration) -> Option<PendingRequest> {
        self.incoming.recv_timeout(timeout).ok()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a connection.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
    }
}

/// Decides whose connections are served.
struct Door {
    users: Option<PeerUsers>,
    allowed: Option<Vec<u32>>,
}

impl Door {
    /// Returns the user of a connection, if it can be determined.
    ///
    /// # Errors
    /// The connection must be rejected.
    fn user(&self, peer: SocketAddr) -> Result<Option<u32>, LocalResponse> {
        let Some(users) = &self.users else { return Ok(None) };
        let user = users.user(peer);
        match &self.allowed {
            // A connection that its peer has closed has no user.
            Some(allowed) if !user.is_some_and(|user| allowed.contains(&user)) => {
                Err(LocalResponse::text(403, "this user may not connect to ycred\n"))
            }
            _ => Ok(user),
        }
    }
}

/// Rejects a connection without waiting for its peer.
fn reject(mut connection: TcpStream, rejection: &LocalResponse) {
    // What has arrived is read first. Otherwise a TCP reset could reach the peer before the response.
    let _ = connection
        .set_nonblocking(true)
        .and_then(|()| connection.read(&mut [0; REQUEST_MAX]).map(drop).or_else(ignore_blocking))
        .and_then(|()| write_response(&mut connection, rejection));
}

fn ignore_blocking(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::WouldBlock { Ok(()) } else { Err(error) }
}

fn accept(socket: &TcpListener, door: &Door, send: &Sender<PendingRequest>, ended: &AtomicBool) {
    let open = Arc::new(AtomicUsize::new(0));
    for connection in socket.incoming() {
        if ended.load(Ordering::Relaxed) {
            return;
        }
        let Ok(connection) = connection else {
            // Perhaps no descriptors are left: avoid a busy loop.
            thread::sleep(Duration::from_millis(20));
            continue;
        };
        let user = match connection.peer_addr().map(|peer| door.user(peer)) {
            Ok(Ok(user)) => user,
            Ok(Err(rejection)) => {
                reject(connection, &rejection);
                continue;
            }
            Err(_) => continue,
        };
        while open.load(Ordering::Relaxed) >= CONNECTIONS_MAX && !ended.load(Ordering::Relaxed) {
            thread::sleep(POLL);
        }
        open.fetch_add(1, Ordering::Relaxed);
        let (send, counter) = (send.clone(), Arc::clone(&open));
        let started = thread::Builder::new().spawn(move || {
            // A peer that disconnects is not an error.
            let _ = serve(connection, user, &send);
            counter.fetch_sub(1, Ordering::Relaxed);
        });
        if started.is_err() {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn serve(mut connection: TcpStream, user: Option<u32>, send: &Sender<PendingRequest>) -> io::Result<()> {
    connection.set_write_timeout(Some(TRANSFER))?;
    let began = Instant::now();
    let local = connection.local_addr()?;
    let mut head = Zeroizing::new(vec![0; REQUEST_MAX]);
    let mut filled = 0;
    let request = loop {
        // The limit is for the whole request: a peer that sends one byte at a time must not keep the connection for
        // hours. A timeout of zero is an error.
        let limit = if filled == 0 { FIRST_BYTE } else { TRANSFER };
        connection.set_read_timeout(Some(limit.saturating_sub(began.elapsed())))?;
        let n = connection.read(&mut head[filled..])?;
        if n == 0 {
            return Ok(());
        }
        filled += n;
        match read_head(&head[..filled], local.port()) {
            Ok(Some(request)) => break LocalRequest { user, ..request },
            Ok(None) if filled < REQUEST_MAX => {}
            Ok(None) => return write(&mut connection, &LocalResponse::text(400, "the request is too large\n")),
            Err(rejection) => return write(&mut connection, &rejection),
        }
    };
    let ((reply, response), (done, written)) = (mpsc::channel(), mpsc::channel());
    if send.send(PendingRequest { request, reply, written }).is_err() {
        return Ok(());
    }
    let Ok(response) = response.recv_timeout(RESPONSE) else { return Ok(()) };
    let outcome = write_response(&mut connection, &response);
    // Before draining: the thread that waits for this handles one request after another, and a peer may keep sending.
    let _ = done.send(());
    outcome.and_then(|()| drain(&mut connection))
}

fn write(connection: &mut TcpStream, response: &LocalResponse) -> io::Result<()> {
    write_response(connection, response)?;
    drain(connection)
}

fn write_response(connection: &mut TcpStream, response: &LocalResponse) -> io::Result<()> {
    connection.write_all(response.head().as_bytes())?;
    connection.write_all(&response.body)?;
    connection.shutdown(Shutdown::Write)
}

/// Reads what the peer still sends. Otherwise a TCP reset could reach the peer before the response.
fn drain(connection: &mut TcpStream) -> io::Result<()> {
    let mut rest = [0; 1024];
    connection.set_read_timeout(Some(Duration::from_millis(500)))?;
    for _ in 0..64 {
        if connection.read(&mut rest)? == 0 {
            break;
        }
    }
    Ok(())
}

/// Parses a request line with its headers. Returns `None` if it is not complete yet.
///
/// # Errors
/// The response that rejects the request.
pub fn read_head(head: &[u8], port: u16) -> Result<Option<LocalRequest>, LocalResponse> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(LocalResponse::text(400, "this is not an HTTP request\n")),
    }
    let target = parsed.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let request = LocalRequest {
        path: path.to_owned(),
        query: query.to_owned(),
        user: None,
        headers: parsed
            .headers
            .iter()
            .map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned()))
            .collect(),
    };
    let allowed_hosts = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    if !request
        .header("host")
        .is_some_and(|host| allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host)))
    {
        return Err(LocalResponse::text(403, "the Host header does not name this server\n"));
    }
    if FORWARDING_HEADERS.iter().any(|name| request.header(name).is_some()) {
        return Err(LocalResponse::text(403, "forwarded requests are not allowed\n"));
    }
    if parsed.method != Some("GET") {
        return Err(LocalResponse::text(405, "only GET is allowed\n"));
    }
    Ok(Some(request))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> Result<Option<LocalRequest>, u16> {
        read_head(head.as_bytes(), 8080).map_err(|response| response.status)
    }

    #[test]
    fn a_request_is_parsed_once_it_is_complete() {
        let head = "GET /auth/callback?code=a%20b&state=x HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAccept: */*\r\n\r\n";
        let request = read(head).expect("good").expect("complete");
        assert_eq!((request.path.as_str(), request.query.as_str()), ("/auth/callback", "code=a%20b&state=x"));
        assert_eq!(request.header("ACCEPT"), Some("*/*"));
        for end in 0..head.len() {
            assert!(matches!(read(&head[..end]), Ok(None)), "{end}");
        }
    }

    #[test]
    fn requests_for_another_host_are_rejected() {
        let status = |lines: &str| read(&format!("{lines}\r\n\r\n")).map(|_| ());
        assert_eq!(status("GET / HTTP/1.1\r\nHost: LOCALHOST:8080"), Ok(()));
        for host in ["evil.example:8080", "127.0.0.1", "127.0.0.1:80", "127.0.0.1:8080.evil.example", ""] {
            assert_eq!(status(&format!("GET / HTTP/1.1\r\nHost: {host}")), Err(403), "{host}");
        }
        assert_eq!(status("GET / HTTP/1.1"), Err(403), "no host at all");
        assert_eq!(status("GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nX-Forwarded-For: 10.0.0.1"), Err(403));
        assert_eq!(status("GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nVia: 1.1 proxy"), Err(403));
        assert_eq!(status("GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nX-Real-IP: 10.0.0.1"), Err(403));
        assert_eq!(status("POST / HTTP/1.1\r\nHost: 127.0.0.1:8080"), Err(405));
        assert_eq!(status("\u{1}"), Err(400));
    }

    #[test]
    fn requests_are_answered_while_another_connection_is_silent() {
        let listener = Listener::bind(0, None).expect("a port");
        let address = (Ipv4Addr::LOCALHOST, listener.port());
        let silent = TcpStream::connect(address).expect("connects");
        let mut speaking = TcpStream::connect(address).expect("connects");
        write!(speaking, "GET /x HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", listener.port()).expect("sent");
        let incoming = listener.next(Duration::from_secs(20)).expect("a request");
        assert_eq!(incoming.request.path, "/x");
        let reading = thread::spawn(move || {
            let mut response = String::new();
            speaking.read_to_string(&mut response).map(|_| response)
        });
        incoming.answer(LocalResponse::text(200, "hello"));
        let response = reading.join().expect("no panic").expect("read");
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n") && response.ends_with("\r\n\r\nhello"), "{response}");
        drop(silent);
    }

    #[test]
    #[cfg_attr(windows, ignore = "Wine does not show the process of a socket: .ci/platforms native")]
    fn another_user_is_rejected_and_a_connection_without_a_request_loses_its_place() {
        let own = crate::system::process::effective_uid();
        let other = Listener::bind(0, Some(vec![own.wrapping_add(1)])).expect("a port");
        assert_eq!(other.users_unknown(), None);
        let response = |port: u16| {
            let mut peer = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connects");
            let mut response = String::new();
            peer.read_to_string(&mut response).map(|_| response).expect("read")
        };
        // The response comes before any request.
        assert!(response(other.port()).starts_with("HTTP/1.1 403 "));
        let listener = Listener::bind(0, Some(vec![own])).expect("a port");
        let began = Instant::now();
        assert_eq!(response(listener.port()), "", "closed without a response");
        assert!(began.elapsed() < TRANSFER);
    }

    #[test]
    fn a_peer_that_keeps_sending_does_not_delay_the_response() {
        let listener = Listener::bind(0, None).expect("a port");
        let mut peer = TcpStream::connect((Ipv4Addr::LOCALHOST, listener.port())).expect("connects");
        write!(peer, "GET /x HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", listener.port()).expect("sent");
        let PendingRequest { request: _, reply, written } = listener.next(Duration::from_secs(20)).expect("a request");
        let talking = thread::spawn(move || {
            // Until the server closes the connection.
            while peer.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(50));
            }
        });
        reply.send(LocalResponse::text(200, "hello")).expect("taken");
        assert!(written.recv_timeout(TRANSFER / 2).is_ok(), "the response is written while the peer keeps sending");
        talking.join().expect("no panic");
    }

    #[test]
    fn a_peer_that_sends_slowly_is_cut_off() {
        let listener = Listener::bind(0, None).expect("a port");
        let mut dripping = TcpStream::connect((Ipv4Addr::LOCALHOST, listener.port())).expect("connects");
        dripping.write_all(b"GET / HTTP/1.1\r\nHost: ").expect("sent");
        let cut_off = (0..300).any(|_| {
            thread::sleep(Duration::from_millis(100));
            dripping.write_all(b"x").is_err()
        });
        assert!(cut_off);
    }
}
