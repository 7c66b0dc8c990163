//! The state that a server's threads share.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::request::Request;
use super::response::Response;

/// How often a waiting thread checks whether the server has been dropped.
pub(super) const POLL: Duration = Duration::from_millis(100);
/// How long a connection may stay silent, between requests or within one.
pub(super) const WAIT_LIMIT: Duration = Duration::from_secs(30);

/// Turns a request into a response; called from many threads.
type Handler = dyn Fn(&Request) -> Response + Send + Sync;

/// What the acceptor and the connections' threads share.
pub(super) struct Shared {
    pub(super) stop: AtomicBool,
    pub(super) connections: AtomicU64,
    pub(super) active: AtomicUsize,
    pub(super) failed_handshakes: Mutex<Vec<String>>,
    pub(super) tls: Option<Arc<rustls::ServerConfig>>,
    pub(super) handler: Box<Handler>,
}

impl Shared {
    /// Returns true once the server has been dropped.
    pub(super) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Sleeps in slices, so that threads end soon after the server is dropped. Returns false if it was dropped.
    pub(super) fn sleep(&self, time: Duration) -> bool {
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

/// Locks a mutex even if another thread panicked: the data under these locks is consistent at every moment.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
