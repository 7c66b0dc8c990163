//! TLS connections, with the trust settings of this machine and of a profile's `ca-file`.
//!
//! ureq's own connector accepts either a list of roots or the platform's verifier, and no roots in addition to the latter.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName};
use ureq::unversioned::transport::time;
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, SocksConnector,
    TcpConnector, Transport, TransportAdapter,
};

use crate::base::error::{Error, Result};
use crate::cloud::http::trust;
use crate::cloud::http::written::Connected;
use crate::system::verifier::platform_verifier;

/// Returns the settings of TLS: with `roots`, or else with the platform's verifier, or, on a
/// platform that has none, with the machine's roots.
/// `extra` adds certificate authorities.
///
/// # Errors
/// Unavailable (4): the platform's verifier does not start.
pub fn client_config(
    roots: Option<Vec<CertificateDer<'static>>>,
    extra: Vec<CertificateDer<'static>>,
) -> Result<Arc<ClientConfig>> {
    let unusable = |error: rustls::Error| Error::unavailable("cannot set up TLS").because(error);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let verifier = if roots.is_some() { None } else { platform_verifier(&extra, &provider).map_err(unusable)? };
    let config = match verifier {
        Some(verifier) => config.dangerous().with_custom_certificate_verifier(verifier),
        None => {
            let mut store = if roots.is_some() { RootCertStore::empty() } else { trust::machine_roots() };
            store.add_parsable_certificates(roots.into_iter().flatten().chain(extra));
            config.with_root_certificates(store)
        }
    };
    Ok(Arc::new(config.with_no_client_auth()))
}

/// Connects as ureq does, through a proxy if there is one, and encrypts with `config` if the URL is https.
pub(super) fn connector(config: Option<Arc<ClientConfig>>, connected: Connected) -> impl Connector<(), Out: Transport> {
    ().chain(SocksConnector::default())
        .chain(ConnectProxyConnector::default())
        .chain(TcpConnector::default())
        .chain(connected)
        .chain(TlsConnector(config))
}

/// Encrypts a connection. `None` suffices for URLs that are not https.
#[derive(Debug)]
struct TlsConnector(Option<Arc<ClientConfig>>);

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, TlsTransport>;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else { return Ok(None) };
        if !details.needs_tls() || transport.is_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let config = self.0.as_ref().ok_or(ureq::Error::TlsRequired)?;
        let host = details.uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(host.to_owned()).map_err(|_| ureq::Error::Tls("invalid server name"))?;
        let mut connection = ClientConnection::new(Arc::clone(config), name)?;
        let mut socket = TransportAdapter::new(transport.boxed(), Arc::clone(&details.current_time));
        socket.set_timeout(remaining(details));
        connection.complete_io(&mut socket)?;
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(Either::B(TlsTransport { buffers, stream: StreamOwned { conn: connection, sock: socket } })))
    }
}

/// Returns the time that the TCP connection has left of the time limit for connecting.
fn remaining(details: &ConnectionDetails<'_>) -> NextTimeout {
    let mut timeout = details.timeout;
    if let (time::Duration::Exact(limit), time::Instant::Exact(began), time::Instant::Exact(now)) =
        (timeout.after, details.now, (details.current_time)())
    {
        timeout.after = time::Duration::Exact(limit.saturating_sub(now.saturating_duration_since(began)));
    }
    timeout
}

/// An encrypted connection.
pub struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        self.stream.write_all(&self.buffers.output()[..amount])?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsTransport")
    }
}
