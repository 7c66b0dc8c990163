//! Notices when there is a connection, and when the first byte of a request is written. Before that, the server cannot have
//! acted on the request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, io};

use ureq::Proxy;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use crate::base::error::{Error, Result};

/// What to do when there is a connection, before the first byte of a request is written. An error prevents that.
pub type BeforeWrite = Arc<dyn Fn() -> Result<()> + Send + Sync>;

/// True once a byte of the request may have been written. Connecting, through a proxy too, and the TLS handshake do not count.
#[derive(Clone, Default)]
pub(super) struct RequestWritten {
    is_written: Arc<AtomicBool>,
    before: Option<BeforeWrite>,
    /// The request goes through a proxy.
    has_proxy: bool,
    /// The error of `before`.
    error: Arc<Mutex<Option<Error>>>,
}

impl RequestWritten {
    pub(super) fn after(before: Option<&BeforeWrite>) -> Self {
        Self { before: before.cloned(), ..Self::default() }
    }

    /// Returns the same for a request through a proxy, or for one without.
    pub(super) fn through(&self, proxy: Option<&Proxy>) -> Self {
        Self { has_proxy: proxy.is_some(), ..self.clone() }
    }

    pub(super) fn get(&self) -> bool {
        self.is_written.load(Ordering::Relaxed)
    }

    /// Returns why nothing was written, once, if [`BeforeWrite`] has prevented it.
    pub(super) fn take_error(&self) -> Option<Error> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn begin(&self) -> io::Result<()> {
        if self.get() {
            return Ok(());
        }
        if let Some(Err(error)) = self.before.as_ref().map(|before| before()) {
            *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            return Err(io::Error::other("not sent"));
        }
        self.is_written.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl fmt::Debug for RequestWritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequestWritten").field(&self.get()).finish()
    }
}

/// The last link of a connector chain: its input is connected, and encrypted if the URL requires it.
impl<In: Transport> Connector<In> for RequestWritten {
    type Out = Watched<In>;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        // ureq runs the whole chain for the connection to a proxy too, with settings without a proxy.
        let is_to_proxy = self.has_proxy && details.config.proxy().is_none();
        Ok(chained.map(|inner| Watched { inner, written: (!is_to_proxy).then(|| self.clone()) }))
    }
}

/// A connection that sets [`RequestWritten`], if it is for the request.
pub(super) struct Watched<T> {
    inner: T,
    written: Option<RequestWritten>,
}

impl<T: Transport> Transport for Watched<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.written.as_ref().map_or(Ok(()), RequestWritten::begin)?;
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched(…)") // the buffers hold secrets
    }
}

/// True once there is a TCP connection to the server, perhaps through a proxy.
#[derive(Clone, Debug, Default)]
pub(super) struct Connected(Arc<AtomicBool>);

impl Connected {
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl<In: Transport> Connector<In> for Connected {
    type Out = In;

    fn connect(&self, _: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<In>, ureq::Error> {
        self.0.store(chained.is_some(), Ordering::Relaxed);
        Ok(chained)
    }
}
