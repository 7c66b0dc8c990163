//! Responses: their contents, how they are framed, and how they are delivered or broken off.

use std::net::SocketAddr;
use std::time::Duration;

use super::request::Request;

/// The point at which a response breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The request is read, then the connection closes without a byte in return.
    BeforeAnswer,
    /// Half of the head is sent, then the connection closes.
    MidHeaders,
    /// The whole head and half of the body are sent, then the connection closes.
    MidBody,
    /// The request is read, then the connection is reset.
    Reset,
}

/// How a response is sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Delivery {
    /// All at once.
    #[default]
    Whole,
    /// In pieces, head and body alike, with a pause after each.
    Drip {
        /// Bytes per piece.
        bytes: usize,
        /// The pause after each piece.
        every: Duration,
    },
    /// Broken off at this stage.
    Break(Stage),
    /// The body over and over, without a length, until the peer leaves.
    Endless,
    /// The response to CONNECT, after which bytes are relayed to and from this address. Needs a server without TLS.
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

/// A response. The server adds `Content-Length`, `Transfer-Encoding` and `Connection`, but not `Date`.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Headers in the order they are sent.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// How the response is sent.
    pub delivery: Delivery,
    /// How the end of the body is marked.
    pub framing: Framing,
    /// How long to wait before the first byte.
    pub delay: Duration,
}

impl Response {
    /// Creates a response without a body.
    pub fn new(status: u16) -> Response {
        let (delivery, framing) = (Delivery::Whole, Framing::Length);
        Response { status, headers: Vec::new(), body: Vec::new(), delivery, framing, delay: Duration::ZERO }
    }

    /// Creates a response with a body of this content type.
    pub fn typed(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Response {
        let mut response = Response::new(status).header("Content-Type", content_type);
        response.body = body.into();
        response
    }

    /// Creates a plain-text response.
    pub fn text(status: u16, body: impl Into<Vec<u8>>) -> Response {
        Response::typed(status, "text/plain; charset=utf-8", body)
    }

    /// Creates a JSON response.
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Response {
        Response::typed(status, "application/json", body)
    }

    /// Accepts a CONNECT and relays to this address, whichever one the client named.
    pub fn tunnel(to: SocketAddr) -> Response {
        Response::new(200).delivered(Delivery::Tunnel(to))
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Response {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sets how the response is sent.
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

/// Returns the status line and the headers as bytes.
pub(super) fn head(request: &Request, response: &Response, keep: bool) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {} {}\r\n", response.status, reason(response.status));
    for (name, value) in &response.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let bodiless = matches!(response.status, 100..=199 | 204 | 304);
    match (&response.delivery, response.framing) {
        (Delivery::Endless, _) | (_, Framing::Close) => {}
        (_, Framing::Chunked) if !bodiless => head += "Transfer-Encoding: chunked\r\n",
        _ if bodiless => {}
        // A response to HEAD carries the length of the one to GET, unless the handler has set it.
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

/// Returns the body as bytes on the wire.
pub(super) fn framed(response: &Response) -> Vec<u8> {
    if response.framing != Framing::Chunked || response.delivery == Delivery::Endless {
        return response.body.clone();
    }
    let mut wire = Vec::new();
    // At least two chunks where the body is long enough, to catch a client that reads only the first.
    for piece in response.body.chunks(response.body.len().div_ceil(2).max(1)) {
        wire.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        wire.extend_from_slice(piece);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"0\r\n\r\n");
    wire
}

/// Returns the reason phrase of a status.
pub(super) fn reason(status: u16) -> &'static str {
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
        _ => "Unknown",
    }
}
