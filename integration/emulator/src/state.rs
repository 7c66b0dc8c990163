//! The state of the emulated cloud, shared by the threads of its servers.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::faults::Fault;
use crate::jwt::KnownKey;
use crate::log::{Issued, Log};
use crate::refusal::Refusal;
use crate::server::{Request, Response};
use crate::settings::Settings;
use crate::store::access_keys::AccessKey;
use crate::store::accounts::Accounts;
use crate::store::federations::Federations;
use crate::store::logins::Logins;
use crate::store::tokens::{Terms, Tokens};
use crate::times;

/// The cloud's message for every bearer token that it rejects (docs, _includes/errors-handling.md).
const BAD_TOKEN: &str = "Token is invalid or has expired.";

/// All records and settings of the emulated cloud.
#[derive(Default)]
pub(crate) struct Cloud {
    pub(crate) settings: Settings,
    pub(crate) initial_settings: Settings,
    pub(crate) faults: Vec<Fault>,
    /// Counts how often all faults were replaced. A held response waits until this changes.
    pub(crate) releases: u64,
    pub(crate) keys: HashMap<String, KnownKey>,
    pub(crate) accounts: Accounts,
    /// OAuth tokens and their subjects.
    pub(crate) oauth: HashMap<String, String>,
    pub(crate) tokens: Tokens,
    pub(crate) federations: Federations,
    pub(crate) access_keys: Vec<AccessKey>,
    pub(crate) log: Log,
    pub(crate) logins: Logins,
    /// The auth host's base URL, which proofs of possession name.
    pub(crate) auth_url: String,
    /// The audiences that name the emulator itself.
    pub(crate) own_audiences: Vec<String>,
    /// The address of IAM in the list of endpoints.
    pub(crate) iam_address: String,
    pub(crate) stopping: bool,
}

impl Cloud {
    /// Returns the emulator's time.
    pub(crate) fn now(&self) -> SystemTime {
        times::shifted(SystemTime::now(), self.settings.clock_shift)
    }

    /// Returns the time that `Date` carries.
    pub(crate) fn date(&self) -> SystemTime {
        times::shifted(self.now(), self.settings.date_shift)
    }

    /// Issues a token to a subject, or returns its latest one again.
    pub(crate) fn issue(&mut self, subject: &str, fault: Option<&Fault>) -> (String, Issued) {
        let (now, terms) = (self.now(), Terms::new(&self.settings, fault));
        self.tokens.issue(subject, now, &terms)
    }

    /// Returns the subject of a request's bearer token.
    pub(crate) fn authenticate(&self, request: &Request) -> Result<String, Refusal> {
        let Some(bearer) = request.bearer() else {
            return Err(Refusal::unauthenticated(BAD_TOKEN).because("missing header: Authorization: Bearer"));
        };
        match self.tokens.check(bearer, self.now()) {
            Ok(record) => Ok(record.subject.clone()),
            Err(reason) => Err(Refusal::unauthenticated(BAD_TOKEN).because(reason)),
        }
    }
}

/// The handler of a path that a test has added.
pub(crate) type Route = dyn Fn(&Request) -> Response + Send + Sync;

/// The cloud, and the signals that threads wait for.
pub(crate) struct State {
    cloud: Mutex<Cloud>,
    /// Signals that the log has grown or an entry was completed.
    pub(crate) logged: Condvar,
    /// Signals that faults were removed or the emulator stops. Separate from `logged`, so that a thousand held responses
    /// don't all wake for each request.
    pub(crate) released: Condvar,
    routes: Mutex<HashMap<String, Arc<Route>>>,
}

impl State {
    /// Creates the state of a cloud that nobody has called yet.
    pub(crate) fn new(settings: Settings) -> State {
        let cloud = Cloud { initial_settings: settings.clone(), settings, ..Cloud::default() };
        State {
            cloud: Mutex::new(cloud),
            logged: Condvar::new(),
            released: Condvar::new(),
            routes: Mutex::new(HashMap::new()),
        }
    }

    /// Locks the cloud.
    pub(crate) fn cloud(&self) -> MutexGuard<'_, Cloud> {
        self.cloud.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a path with its handler.
    pub(crate) fn add_route(&self, path: &str, handler: Arc<Route>) {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), handler);
    }

    /// Returns the handler that a test has added for this path.
    pub(crate) fn route(&self, path: &str) -> Option<Arc<Route>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    /// Replaces all faults, and sends the responses that were held.
    pub(crate) fn replace_faults(&self, faults: Vec<Fault>) {
        let mut cloud = self.cloud();
        cloud.faults = faults;
        cloud.releases += 1;
        drop(cloud);
        self.released.notify_all();
    }

    /// Makes waiting threads give up.
    pub(crate) fn stop(&self) {
        self.cloud().stopping = true;
        self.released.notify_all();
    }

    /// Waits until a condition holds. Returns false if the time is up first.
    pub(crate) fn wait(&self, signal: &Condvar, patience: Duration, until: impl Fn(&Cloud) -> bool) -> bool {
        let end = Instant::now() + patience;
        let mut cloud = self.cloud();
        while !until(&cloud) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            cloud = signal.wait_timeout(cloud, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}
