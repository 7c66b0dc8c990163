//! A listener on this machine's loopback, for what a browser or a child of ours sends: the callback of a login, the
//! endpoints of `exec --serve`. HTTP/1.1, GET alone, one request a connection.
//!
//! Any page in a browser, and any program of any user here, can reach it. So nothing is answered that names another
//! host than ours (a name that somebody has bent to 127.0.0.1) or that was forwarded; what else must hold of a request,
//! whoever takes it here decides.
#![expect(clippy::disallowed_types, reason = "listens on loopback; whoever connects is on this machine")]

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

/// The most that a request may hold, line and headers.
const LARGEST: usize = 16 * 1024;
/// Header lines; a browser sends about twenty.
const HEADERS: usize = 64;
/// How long a request may take to come, and an answer to go. Browsers open connections in advance and never use them.
const SILENCE: Duration = Duration::from_secs(5);
/// How long a request may wait for its answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections at a time; more wait until one is done, which each is in bounded time.
const CONNECTIONS: usize = 256;
const LOOK: Duration = Duration::from_millis(2);

/// A request for something that a GET may be for.
#[derive(Debug)]
pub struct LocalRequest {
    pub path: String,
    /// As it was sent, percent-encoded; empty without one.
    pub query: String,
    pub peer: SocketAddr,
    headers: Vec<(String, String)>,
}

impl LocalRequest {
    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// What is answered. It is never cached, sniffed, or shown in a frame.
pub struct LocalResponse {
    pub status: u16,
    pub content_type: &'static str,
    /// May hold a token.
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
            "HTTP/1.1 {} {phrase}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\nCache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nContent-Security-Policy: default-src 'none'; \
             style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'\r\n\r\n",
            self.status,
            self.content_type,
            self.body.len()
        )
    }
}

/// A request that waits for its answer. Dropped without one, its connection is closed.
pub struct PendingRequest {
    pub request: LocalRequest,
    reply: Sender<LocalResponse>,
    written: Receiver<()>,
}

impl PendingRequest {
    /// Answers, and returns once the answer is written or cannot be.
    pub fn answer(self, response: LocalResponse) {
        if self.reply.send(response).is_ok() {
            let _ = self.written.recv_timeout(SILENCE);
        }
    }

    /// Answers, without waiting for the peer to take it.
    pub fn respond_without_waiting(self, response: LocalResponse) {
        let _ = self.reply.send(response);
    }
}

/// Listens until it is dropped.
pub struct Listener {
    port: u16,
    incoming: Receiver<PendingRequest>,
    ended: Arc<AtomicBool>,
}

impl Listener {
    /// Listens on 127.0.0.1, on this port or (0) on a free one.
    ///
    /// # Errors
    /// The port is taken, or there is no loopback.
    pub fn bind(port: u16) -> io::Result<Self> {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let port = socket.local_addr()?.port();
        let (send, incoming) = mpsc::channel();
        let ended = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&ended);
        thread::Builder::new().spawn(move || accept(&socket, &send, &is_over))?;
        Ok(Self { port, incoming, ended })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// That somebody can come: a port can be had on a loopback that is down, and is reached by nobody.
    ///
    /// # Errors
    /// What the system says.
    pub fn check(&self) -> io::Result<()> {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).map(drop)
    }

    /// The next request, if one comes within `patience`.
    pub fn next(&self, patience: Duration) -> Option<PendingRequest> {
        self.incoming.recv_timeout(patience).ok()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a connection.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
    }
}

fn accept(socket: &TcpListener, send: &Sender<PendingRequest>, ended: &AtomicBool) {
    let open = Arc::new(AtomicUsize::new(0));
    for connection in socket.incoming() {
        if ended.load(Ordering::Relaxed) {
            return;
        }
        let Ok(connection) = connection else {
            // Out of descriptors, perhaps; no reason to spin.
            thread::sleep(Duration::from_millis(20));
            continue;
        };
        while open.load(Ordering::Relaxed) >= CONNECTIONS && !ended.load(Ordering::Relaxed) {
            thread::sleep(LOOK);
        }
        open.fetch_add(1, Ordering::Relaxed);
        let (send, counter) = (send.clone(), Arc::clone(&open));
        let started = thread::Builder::new().spawn(move || {
            // A peer that breaks off is no concern of ours.
            let _ = serve(connection, &send);
            counter.fetch_sub(1, Ordering::Relaxed);
        });
        if started.is_err() {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn serve(mut connection: TcpStream, send: &Sender<PendingRequest>) -> io::Result<()> {
    connection.set_write_timeout(Some(SILENCE))?;
    let began = Instant::now();
    let (peer, local) = (connection.peer_addr()?, connection.local_addr()?);
    let mut head = Zeroizing::new(vec![0; LARGEST]);
    let mut filled = 0;
    let request = loop {
        // Of the whole request and not of each read, or a peer that drips would hold its place for hours. None left: an error.
        connection.set_read_timeout(Some(SILENCE.saturating_sub(began.elapsed())))?;
        let n = connection.read(&mut head[filled..])?;
        if n == 0 {
            return Ok(());
        }
        filled += n;
        match read_head(&head[..filled], peer, local.port()) {
            Ok(Some(request)) => break request,
            Ok(None) if filled < LARGEST => {}
            Ok(None) => return write(&mut connection, &LocalResponse::text(400, "the request is too large\n")),
            Err(refusal) => return write(&mut connection, &refusal),
        }
    };
    let ((reply, answer), (done, written)) = (mpsc::channel(), mpsc::channel());
    if send.send(PendingRequest { request, reply, written }).is_err() {
        return Ok(());
    }
    let Ok(response) = answer.recv_timeout(PATIENCE) else { return Ok(()) };
    let outcome = write_response(&mut connection, &response);
    // Before the rest is heard: whoever waits for this takes one request after the other, and a peer may talk on.
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

/// What the peer still has to say is taken off its hands, or a reset would overtake the answer.
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

/// Reads a request's head. None: it is not whole yet.
///
/// # Errors
/// The answer to what is not for us.
pub fn read_head(head: &[u8], peer: SocketAddr, port: u16) -> Result<Option<LocalRequest>, LocalResponse> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(LocalResponse::text(400, "this is no HTTP request\n")),
    }
    let target = parsed.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let request = LocalRequest {
        path: path.to_owned(),
        query: query.to_owned(),
        peer,
        headers: parsed
            .headers
            .iter()
            .map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned()))
            .collect(),
    };
    let ours = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    if !request.header("host").is_some_and(|host| ours.iter().any(|our| our.eq_ignore_ascii_case(host))) {
        return Err(LocalResponse::text(403, "this is not the host that was asked for\n"));
    }
    if ["x-forwarded-for", "forwarded"].iter().any(|name| request.header(name).is_some()) {
        return Err(LocalResponse::text(403, "forwarded requests are not answered\n"));
    }
    if parsed.method != Some("GET") {
        return Err(LocalResponse::text(405, "only GET is answered\n"));
    }
    Ok(Some(request))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> Result<Option<LocalRequest>, u16> {
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        read_head(head.as_bytes(), peer, 8080).map_err(|response| response.status)
    }

    #[test]
    fn a_request_is_read_once_it_is_whole() {
        let head = "GET /auth/callback?code=a%20b&state=x HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAccept: */*\r\n\r\n";
        let request = read(head).expect("good").expect("whole");
        assert_eq!((request.path.as_str(), request.query.as_str()), ("/auth/callback", "code=a%20b&state=x"));
        assert_eq!(request.header("ACCEPT"), Some("*/*"));
        for end in 0..head.len() {
            assert!(matches!(read(&head[..end]), Ok(None)), "{end}");
        }
    }

    #[test]
    fn what_is_for_another_host_is_refused() {
        let status = |lines: &str| read(&format!("{lines}\r\n\r\n")).map(|_| ());
        assert_eq!(status("GET / HTTP/1.1\r\nHost: LOCALHOST:8080"), Ok(()));
        for host in ["evil.example:8080", "127.0.0.1", "127.0.0.1:80", "127.0.0.1:8080.evil.example", ""] {
            assert_eq!(status(&format!("GET / HTTP/1.1\r\nHost: {host}")), Err(403), "{host}");
        }
        assert_eq!(status("GET / HTTP/1.1"), Err(403), "no host at all");
        assert_eq!(status("GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nX-Forwarded-For: 10.0.0.1"), Err(403));
        assert_eq!(status("POST / HTTP/1.1\r\nHost: 127.0.0.1:8080"), Err(405));
        assert_eq!(status("\u{1}"), Err(400));
    }

    #[test]
    fn requests_are_answered_while_another_connection_is_silent() {
        let listener = Listener::bind(0).expect("a port");
        let address = (Ipv4Addr::LOCALHOST, listener.port());
        let silent = TcpStream::connect(address).expect("connects");
        let mut speaking = TcpStream::connect(address).expect("connects");
        write!(speaking, "GET /x HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", listener.port()).expect("sent");
        let incoming = listener.next(Duration::from_secs(20)).expect("a request");
        assert_eq!(incoming.request.path, "/x");
        let reading = thread::spawn(move || {
            let mut answer = String::new();
            speaking.read_to_string(&mut answer).map(|_| answer)
        });
        incoming.answer(LocalResponse::text(200, "hello"));
        let answer = reading.join().expect("no panic").expect("read");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"), "{answer}");
        drop(silent);
    }

    #[test]
    fn a_peer_that_talks_on_after_its_request_keeps_nobody_waiting() {
        let listener = Listener::bind(0).expect("a port");
        let mut peer = TcpStream::connect((Ipv4Addr::LOCALHOST, listener.port())).expect("connects");
        write!(peer, "GET /x HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", listener.port()).expect("sent");
        let PendingRequest { request: _, reply, written } = listener.next(Duration::from_secs(20)).expect("a request");
        let talking = thread::spawn(move || {
            // Until the other side has had enough.
            while peer.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(50));
            }
        });
        reply.send(LocalResponse::text(200, "hello")).expect("taken");
        assert!(written.recv_timeout(SILENCE / 2).is_ok(), "the answer is out while the peer talks on");
        talking.join().expect("no panic");
    }

    #[test]
    fn a_peer_that_drips_holds_its_place_no_longer_than_a_silent_one() {
        let listener = Listener::bind(0).expect("a port");
        let mut dripping = TcpStream::connect((Ipv4Addr::LOCALHOST, listener.port())).expect("connects");
        dripping.write_all(b"GET / HTTP/1.1\r\nHost: ").expect("sent");
        let cut_off = (0..300).any(|_| {
            thread::sleep(Duration::from_millis(100));
            dripping.write_all(b"x").is_err()
        });
        assert!(cut_off);
    }
}
