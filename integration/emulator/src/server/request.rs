//! A request as the server has read it.

use std::net::SocketAddr;

/// A request with its whole body.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method, as sent.
    pub method: String,
    /// The request target, as sent: path and query, an absolute URL if sent to a proxy, or `host:port` for CONNECT.
    pub target: String,
    /// The target's path, still percent-encoded.
    pub path: String,
    /// The query of the target without the `?`, or an empty string.
    pub query: String,
    /// The body, without chunked framing.
    pub body: Vec<u8>,
    /// The sender's address.
    pub peer: SocketAddr,
    /// The connection's number, counted from 1. Requests with the same number shared a connection.
    pub connection: u64,
    pub(super) headers: Vec<(String, String)>,
}

impl Request {
    /// Copies a parsed head out of its buffer.
    pub(super) fn from_head(head: &httparse::Request<'_, '_>, peer: SocketAddr, connection: u64) -> Request {
        let target = head.path.unwrap_or_default().to_owned();
        // A proxy receives the whole URL, of which only path and query matter here.
        let local = match target.split_once("://").filter(|_| !target.starts_with('/')) {
            Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
            None => &target,
        };
        let (path, query) = local.split_once('?').unwrap_or((local, ""));
        let (path, query) = (path.to_owned(), query.to_owned());
        let headers = head
            .headers
            .iter()
            .map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned()));
        let (method, headers) = (head.method.unwrap_or_default().to_owned(), headers.collect());
        Request { method, target, path, query, body: Vec::new(), peer, connection, headers }
    }

    /// Returns the first header of this name, compared without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Returns all headers in the order they were sent.
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// Returns the body as a string, with invalid UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the token of `Authorization: Bearer …`.
    pub fn bearer(&self) -> Option<&str> {
        let (scheme, rest) = self.header("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| rest.trim())
    }

    /// Returns a query parameter, percent-decoded and with `+` read as a space.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .find(|(key, _)| decode(key) == name)
            .map(|(_, value)| decode(value))
    }
}

/// Percent-decodes a value from a form or query.
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
