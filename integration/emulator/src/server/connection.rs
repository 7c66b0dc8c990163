//! One connection: reads requests, calls the handler, and sends responses as each asks to be sent.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::request::Request;
use super::response::{Delivery, Framing, Response, Stage, framed, head, reason};
use super::shared::{POLL, Shared, WAIT_LIMIT, lock};
use super::stream::{Stream, handshake, is_read_timeout};

/// The largest request head. Real servers allow 8 to 64 KiB.
const MAX_HEAD: usize = 64 * 1024;
/// The largest request body: enough for a pushed git pack or an image layer.
const MAX_BODY: usize = 64 * 1024 * 1024;
/// The limit of an endless response, in case the peer never leaves.
const ENDLESS: usize = 64 * 1024 * 1024;
/// The most requests served on one connection.
const MAX_REQUESTS: usize = 100_000;

/// A connection, and the bytes read from it but not yet used.
struct Connection<'a> {
    stream: Stream,
    buffer: Vec<u8>,
    shared: &'a Shared,
}

/// Why a request could not be read.
enum Unread {
    /// The peer has left or the server was dropped, so there is nobody to respond to.
    Gone,
    /// The request is malformed: the server responds with this status and closes the connection.
    Bad(u16),
}

impl From<io::Error> for Unread {
    fn from(_: io::Error) -> Unread {
        Unread::Gone
    }
}

impl Connection<'_> {
    /// Reads more bytes. Returns `Gone` at the end of the stream, after `WAIT_LIMIT`, and when the server is dropped.
    fn fill(&mut self) -> Result<(), Unread> {
        let end = Instant::now() + WAIT_LIMIT;
        let mut piece = [0; 16 * 1024];
        while Instant::now() < end && !self.shared.stopping() {
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(Unread::Gone),
                Ok(count) => {
                    self.buffer.extend_from_slice(&piece[..count]);
                    return Ok(());
                }
                Err(error) if is_read_timeout(&error) => {}
                Err(_) => return Err(Unread::Gone),
            }
        }
        Err(Unread::Gone)
    }

    /// Reads one request. The flag is true if the connection may serve another.
    fn request(&mut self, peer: SocketAddr, connection: u64) -> Result<(Request, bool), Unread> {
        let (mut request, used, mut keep) = loop {
            let mut slots = [httparse::EMPTY_HEADER; 128];
            let mut head = httparse::Request::new(&mut slots);
            match head.parse(&self.buffer) {
                Ok(httparse::Status::Complete(used)) => {
                    break (Request::from_head(&head, peer, connection), used, head.version == Some(1));
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

    /// Takes exactly `length` bytes.
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

    /// Takes one line, without its CRLF.
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

    /// Takes a chunked body, and drops its trailers.
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

    /// Sends a response. Returns the connection if it can serve another request.
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
                // Not `close`: a connection that breaks sends no close_notify either.
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

    /// Relays between the peer and another address until one of them ends.
    fn tunnel(self, to: SocketAddr) -> io::Result<()> {
        let Connection { stream: Stream::Plain(mut near), buffer, shared } = self else {
            return Err(io::Error::other("a tunnel needs a server without TLS"));
        };
        let mut far = TcpStream::connect_timeout(&to, Duration::from_secs(3))?;
        far.set_read_timeout(Some(POLL))?;
        far.set_write_timeout(Some(WAIT_LIMIT))?;
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

/// Copies bytes one way until the source ends, then closes the sink for writing.
fn copy(mut from: TcpStream, mut to: TcpStream, shared: &Shared) {
    let mut piece = [0; 16 * 1024];
    let mut silent_since = Instant::now();
    while !shared.stopping() && silent_since.elapsed() < WAIT_LIMIT {
        match from.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => {
                silent_since = Instant::now();
                if to.write_all(&piece[..count]).is_err() {
                    break;
                }
            }
            Err(error) if is_read_timeout(&error) => {}
            Err(_) => break,
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Serves one connection to its end.
pub(super) fn serve(tcp: TcpStream, peer: SocketAddr, number: u64, shared: &Shared) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(POLL))?;
    tcp.set_write_timeout(Some(WAIT_LIMIT))?;
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
                let response =
                    format!("HTTP/1.1 {status} {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", reason(status));
                connection.stream.write_all(response.as_bytes())?;
                connection.stream.close();
                break;
            }
        }
    }
    Ok(())
}
