//! The byte stream under a connection: plain TCP or TLS.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use super::shared::{Shared, WAIT_LIMIT};

/// A connection with or without TLS.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<rustls::StreamOwned<rustls::ServerConnection, TcpStream>>),
}

impl Stream {
    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => &tls.sock,
        }
    }

    /// Closes the connection in order: a TLS close_notify first, then TCP.
    pub(super) fn close(mut self) {
        if let Stream::Tls(tls) = &mut self {
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
        let _ = self.tcp().shutdown(Shutdown::Both);
    }

    /// Closes the connection by a reset. On systems other than Unix this is an ordinary close.
    pub(super) fn reset(self) {
        #[cfg(unix)]
        {
            use std::os::fd::AsRawFd;
            let linger = libc::linger { l_onoff: 1, l_linger: 0 };
            // SAFETY: the descriptor is open, and the pointer and the length describe a valid `linger`.
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

/// Completes the TLS handshake, so that a failure is reported as a failed handshake.
pub(super) fn handshake(mut tcp: TcpStream, config: &Arc<rustls::ServerConfig>, shared: &Shared) -> io::Result<Stream> {
    let mut tls = rustls::ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    let end = Instant::now() + WAIT_LIMIT;
    while tls.is_handshaking() {
        if shared.stopping() || Instant::now() >= end {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match tls.complete_io(&mut tcp) {
            Ok(_) => {}
            Err(error) if is_read_timeout(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Stream::Tls(Box::new(rustls::StreamOwned::new(tls, tcp))))
}

/// Returns true if a read only timed out, which lets a thread check whether the server was dropped.
pub(super) fn is_read_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}
