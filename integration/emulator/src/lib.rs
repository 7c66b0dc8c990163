//! An emulator of Yandex Cloud's IAM: IamTokenService over REST and the metadata service of a virtual machine, on
//! loopback, as strict as the documentation describes the cloud, and as ill-behaved as a test wants it to be.
//!
//! ```ignore
//! let emulator = Emulator::start(Config::default());
//! let key = emulator.new_service_account_key();
//! key.write(dir.join("key.json"))?;                        // the profile: key-file, iam-url = emulator.url()
//! emulator.fault(Fault::refuse(503).times(2).retry_after(1));
//! …                                                        // run ycred
//! assert_eq!(emulator.requests(TOKENS), 3);
//! ```
//!
//! Where the documentation is silent, the emulator invents as little as it can, and says so in a comment. What is
//! modelled:
//! * `POST /iam/v1/tokens`, `…:createForServiceAccount`, `…:revoke` ([`tokens`], judged by [`jwt`]);
//! * `GET /computeMetadata/v1/instance/service-accounts/default/token` ([`metadata`]);
//! * `GET /endpoints` and `GET /endpoints/iam` ([`endpoints`]);
//! * `POST /oauth/token` at the auth host ([`auth`]): token exchange ([`exchange`]), and people who log in ([`login`]);
//! * `POST /iam/aws-compatibility/v1/ephemeralAccessKeys` ([`access_keys`]);
//! * errors as google.rpc.Status with a request id ([`refusal`]);
//! * everything that goes wrong between a client and a cloud ([`faults`]), and a log of it all ([`log`]).

#![warn(missing_docs)]

pub mod access_keys;
pub mod auth;
pub mod authority;
pub mod control;
pub mod endpoints;
pub mod exchange;
pub mod faults;
pub mod jwt;
pub mod keys;
pub mod log;
pub mod login;
pub mod metadata;
pub mod refusal;
pub mod server;
#[cfg(test)]
mod tests;
pub mod times;
pub mod tokens;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rand::Rng;

use self::access_keys::{AccessKey, EPHEMERAL_ACCESS_KEYS};
use self::exchange::Federations;
use self::faults::{Endpoint, Fault, Settings};
use self::jwt::KnownKey;
use self::keys::{AuthorizedKey, RsaKey};
use self::log::{Entry, Issued, Log, Presented};
use self::login::Logins;
use self::refusal::Refusal;
use self::tokens::{Granted, Terms, Tokens};
use crate::authority::Authority;
use crate::server::{Delivery, Request, Response, Server, Stage};

/// The path of IamTokenService.Create.
pub const TOKENS: &str = "/iam/v1/tokens";
/// The path of IamTokenService.CreateForServiceAccount.
pub const CREATE_FOR_SERVICE_ACCOUNT: &str = "/iam/v1/tokens:createForServiceAccount";
/// The path of IamTokenService.Revoke.
pub const REVOKE: &str = "/iam/v1/tokens:revoke";
/// The path of the metadata service's token.
pub const METADATA: &str = "/computeMetadata/v1/instance/service-accounts/default/token";

/// How long an answer is held back at most.
const LONGEST_HOLD: Duration = Duration::from_secs(60);
/// How long an answer is delayed at most.
const LONGEST_DELAY: Duration = Duration::from_secs(600);

/// With which certificate the IAM endpoint is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tls {
    /// None: plain http.
    #[default]
    Off,
    /// A sound one, by the emulator's own authority.
    Good,
    /// One that expired years ago.
    Expired,
    /// One that is not valid yet.
    Early,
    /// A sound one for another name.
    WrongName,
    /// One that no authority stands for.
    SelfSigned,
}

/// How an emulator starts.
#[derive(Debug, Clone)]
pub struct Config {
    /// With TLS or without.
    pub tls: Tls,
    /// Where the IAM endpoint listens.
    pub address: SocketAddr,
    /// Where the metadata service listens.
    pub metadata_address: SocketAddr,
    /// Where the auth host listens, with the same certificate as the IAM endpoint.
    pub auth_address: SocketAddr,
    /// Further host names under which the IAM endpoint is reached, for example through a proxy: they are in its
    /// certificate, and `https://<name>/iam/v1/tokens` is then an audience that it accepts.
    pub names: Vec<String>,
    /// How the cloud is disposed.
    pub settings: Settings,
}

impl Default for Config {
    fn default() -> Config {
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Config {
            tls: Tls::Off,
            address: anywhere,
            metadata_address: anywhere,
            auth_address: anywhere,
            names: Vec::new(),
            settings: Settings::default(),
        }
    }
}

impl Config {
    /// Like the default, but with TLS.
    pub fn with_tls(tls: Tls) -> Config {
        Config { tls, ..Config::default() }
    }
}

/// Who may ask for tokens of a service account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Impersonation {
    /// Nobody: the role `iam.serviceAccounts.tokenCreator` has not been granted.
    #[default]
    Nobody,
    /// Every caller with a living token.
    Anyone,
    /// These subjects.
    By(BTreeSet<String>),
}

/// The listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// The IAM endpoint.
    Iam,
    /// The metadata service.
    Metadata,
    /// The auth host.
    Auth,
}

/// What the emulated cloud knows.
pub struct World {
    settings: Settings,
    initial_settings: Settings,
    faults: Vec<Fault>,
    /// Counts how often faults were taken away; a held answer waits for it to change.
    releases: u64,
    keys: HashMap<String, KnownKey>,
    accounts: HashMap<String, Impersonation>,
    oauth: HashMap<String, String>,
    tokens: Tokens,
    federations: Federations,
    access_keys: Vec<AccessKey>,
    log: Log,
    logins: Logins,
    /// The auth host's base URL, which proofs of possession name.
    auth_url: String,
    own_audiences: Vec<String>,
    /// Under which address the list of endpoints has IAM.
    iam_address: String,
    stopping: bool,
}

impl World {
    /// The emulator's time.
    fn now(&self) -> SystemTime {
        times::shifted(SystemTime::now(), self.settings.clock_shift)
    }

    /// The time that `Date` tells.
    fn date(&self) -> SystemTime {
        times::shifted(self.now(), self.settings.date_shift)
    }

    fn may_impersonate(&self, caller: &str, account: &str) -> bool {
        match self.accounts.get(account) {
            None | Some(Impersonation::Nobody) => false,
            Some(Impersonation::Anyone) => true,
            Some(Impersonation::By(callers)) => callers.contains(caller),
        }
    }

    fn issue(&mut self, subject: &str, fault: Option<&Fault>) -> (String, Issued) {
        let (now, terms) = (self.now(), Terms::new(&self.settings, fault));
        self.tokens.issue(subject, now, &terms)
    }
}

type Route = dyn Fn(&Request) -> Response + Send + Sync;

/// What the threads of the servers share.
pub struct State {
    world: Mutex<World>,
    /// The log has grown or an entry was completed.
    logged: Condvar,
    /// Faults were taken away, or the emulator ends. Apart from `logged`, so that a thousand held answers do not all
    /// wake for each request.
    released: Condvar,
    routes: Mutex<HashMap<String, Arc<Route>>>,
}

impl State {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn own_audiences(&self) -> Vec<String> {
        self.world().own_audiences.clone()
    }

    /// Puts these faults in place of all others and lets go of what was held.
    fn replace_faults(&self, faults: Vec<Fault>) {
        let mut world = self.world();
        world.faults = faults;
        world.releases += 1;
        drop(world);
        self.released.notify_all();
    }

    /// Waits until this is true of the world, or the time is up; says whether it became true.
    fn wait(&self, signal: &Condvar, patience: Duration, until: impl Fn(&World) -> bool) -> bool {
        let end = Instant::now() + patience;
        let mut world = self.world();
        while !until(&world) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            world = signal.wait_timeout(world, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Answers a request and writes it down.
    fn answer(&self, door: Door, request: &Request) -> Response {
        if door == Door::Iam && request.path.starts_with(control::PREFIX) {
            return control::answer(self, request);
        }
        let endpoint = endpoint(door, &request.path);
        let request_id = new_request_id();
        let (number, fault, releases) = self.receive(door, endpoint, request, &request_id);
        if let Some(fault) = &fault {
            if let Some(delay) = fault.delay {
                self.wait(&self.released, delay.min(LONGEST_DELAY), |world| world.stopping);
            }
            if fault.hold {
                self.wait(&self.released, LONGEST_HOLD, |world| world.stopping || world.releases != releases);
            }
        }
        let told = fault.as_ref().and_then(|fault| told(fault, door, &request_id));
        let (response, issued, refused) = match told {
            Some(response) => {
                let refused = format!("told to answer {}", response.status);
                (response, None, Some(refused))
            }
            None => match self.judge(door, endpoint, request, fault.as_ref()) {
                Ok((response, issued)) => (response, issued, None),
                Err(refusal) => {
                    let response = match door {
                        Door::Iam => refusal.response(&request_id),
                        Door::Auth => refusal.oauth_response(),
                        Door::Metadata => Response::text(refusal.status, refusal.message.clone()),
                    };
                    (response, None, Some(refusal.reason.unwrap_or(refusal.message)))
                }
            },
        };
        let response = self.dress(response, fault.as_ref(), &request_id);
        let unanswered = matches!(response.delivery, Delivery::Break(Stage::BeforeAnswer | Stage::Reset));
        self.world().log.finish(number, |entry| {
            entry.answered = Some(SystemTime::now());
            entry.status = (!unanswered).then_some(response.status);
            entry.refused = refused;
            entry.issued = issued;
        });
        self.logged.notify_all();
        response
    }

    /// Writes a request down and picks its fault.
    fn receive(
        &self,
        door: Door,
        endpoint: Endpoint,
        request: &Request,
        request_id: &str,
    ) -> (u64, Option<Fault>, u64) {
        let presented = Presented::read(door, request);
        let mut world = self.world();
        let fault = faults::take(&mut world.faults, endpoint);
        let number = world.log.next();
        world.log.push(Entry {
            number,
            received: SystemTime::now(),
            answered: None,
            connection: request.connection,
            endpoint,
            method: request.method.clone(),
            path: request.path.clone(),
            user_agent: request.header("user-agent").map(str::to_owned),
            presented,
            status: None,
            refused: None,
            fault: fault.clone(),
            issued: None,
            request_id: request_id.to_owned(),
        });
        let releases = world.releases;
        drop(world);
        self.logged.notify_all();
        (number, fault, releases)
    }

    /// Answers as the cloud would.
    fn judge(
        &self,
        door: Door,
        endpoint: Endpoint,
        request: &Request,
        fault: Option<&Fault>,
    ) -> Result<Granted, Refusal> {
        if door == Door::Metadata {
            return metadata::answer(self, request, fault);
        }
        let route = self.routes.lock().unwrap_or_else(PoisonError::into_inner).get(&request.path).cloned();
        if let Some(route) = route {
            return Ok((route(request), None));
        }
        if door == Door::Auth {
            return auth::answer(self, endpoint, request, fault);
        }
        if let Some(answer) = endpoints::answer(self, request) {
            return answer;
        }
        if endpoint == Endpoint::Other {
            return Err(Refusal::other(404, "Not found").because(format!("no such path: {}", request.path)));
        }
        if request.method != "POST" {
            return Err(Refusal::other(405, "Method not allowed").because(format!("{} is not POST", request.method)));
        }
        match endpoint {
            Endpoint::CreateForServiceAccount => tokens::create_for_service_account(self, request, fault),
            Endpoint::Revoke => tokens::revoke(self, request),
            Endpoint::RevokeRefresh => login::revoke_refresh(self, request),
            Endpoint::EphemeralAccessKeys => access_keys::create(self, request, fault),
            _ => tokens::create(self, request, fault),
        }
    }

    /// Adds what every answer carries, and what the fault adds to it.
    fn dress(&self, mut response: Response, fault: Option<&Fault>, request_id: &str) -> Response {
        let world = self.world();
        if world.settings.send_date {
            response = response.header("Date", httpdate::fmt_http_date(world.date()));
        }
        response = response.header("x-request-id", request_id).header("x-server-trace-id", new_request_id());
        let Some(fault) = fault else { return response };
        if let Some(text) = &fault.retry_after {
            response = response.header("Retry-After", text);
        }
        if let Some(ahead) = fault.retry_after_date {
            response = response.header("Retry-After", httpdate::fmt_http_date(world.date() + ahead));
        }
        for (name, value) in &fault.headers {
            response = response.header(name, value);
        }
        response.delivery = match (fault.break_at, fault.drip, fault.endless) {
            (Some(stage), _, _) => Delivery::Break(stage),
            (None, Some(drip), _) => Delivery::Drip { bytes: drip.bytes, every: drip.every },
            (None, None, true) => Delivery::Endless,
            (None, None, false) => Delivery::Whole,
        };
        response
    }
}

/// The answer that a fault puts in place of the cloud's, if it does.
fn told(fault: &Fault, door: Door, request_id: &str) -> Option<Response> {
    let status = fault.status;
    if fault.html {
        let page = "<!DOCTYPE html>\n<html><head><title>Sign in to the network</title></head>\
                    <body><h1>Welcome</h1><p>Please accept the terms of use.</p></body></html>\n";
        return Some(Response::typed(status.unwrap_or(200), "text/html; charset=utf-8", page));
    }
    if let Some(body) = &fault.body {
        return Some(Response::json(status.unwrap_or(200), body.clone()));
    }
    let status = status?;
    let message = fault.message.clone().unwrap_or_else(|| "The emulator was told to refuse".to_owned());
    Some(match door {
        Door::Iam => Refusal::other(status, message).response(request_id),
        Door::Auth => Refusal::oauth(status, if status < 500 { "invalid_request" } else { "server_error" }, message)
            .oauth_response(),
        Door::Metadata => Response::text(status, message),
    })
}

fn endpoint(door: Door, path: &str) -> Endpoint {
    match (door, path) {
        (Door::Metadata, _) => Endpoint::Metadata,
        (Door::Iam, TOKENS) => Endpoint::Tokens,
        (Door::Iam, CREATE_FOR_SERVICE_ACCOUNT) => Endpoint::CreateForServiceAccount,
        (Door::Iam, REVOKE) => Endpoint::Revoke,
        (Door::Iam, login::REVOKE_REFRESH) => Endpoint::RevokeRefresh,
        (Door::Iam, EPHEMERAL_ACCESS_KEYS) => Endpoint::EphemeralAccessKeys,
        (Door::Auth, auth::TOKEN) => Endpoint::OauthToken,
        (Door::Auth, login::AUTHORIZE) => Endpoint::Authorize,
        (Door::Iam | Door::Auth, _) => Endpoint::Other,
    }
}

/// A request id in the documented form, a UUID.
fn new_request_id() -> String {
    let bits: u128 = rand::thread_rng().r#gen();
    let hex = format!("{bits:032x}");
    format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}

/// A running emulator. Dropping it ends it.
pub struct Emulator {
    state: Arc<State>,
    authority: Authority,
    iam: Server,
    metadata: Server,
    auth: Server,
}

impl Emulator {
    /// Starts an emulator for a test.
    pub fn start(config: Config) -> Emulator {
        Emulator::try_start(config).expect("the emulator starts")
    }

    /// Starts an emulator; fails if its ports are taken.
    pub fn try_start(config: Config) -> io::Result<Emulator> {
        let Config { tls, address, metadata_address, auth_address, names, settings } = config;
        let state = Arc::new(State {
            world: Mutex::new(World {
                initial_settings: settings.clone(),
                settings,
                faults: Vec::new(),
                releases: 0,
                keys: HashMap::new(),
                accounts: HashMap::new(),
                oauth: HashMap::new(),
                tokens: Tokens::default(),
                federations: Federations::default(),
                access_keys: Vec::new(),
                log: Log::default(),
                logins: Logins::default(),
                auth_url: String::new(),
                own_audiences: Vec::new(),
                iam_address: String::new(),
                stopping: false,
            }),
            logged: Condvar::new(),
            released: Condvar::new(),
            routes: Mutex::new(HashMap::new()),
        });
        let authority = Authority::new();
        let more: Vec<&str> = names.iter().map(String::as_str).collect();
        let tls = match tls {
            Tls::Off => None,
            Tls::Good => Some(authority.server_config(&more)),
            Tls::Expired => Some(authority.expired_config(&more)),
            Tls::Early => Some(authority.early_config(&more)),
            Tls::WrongName => Some(authority.foreign_config(&["wrong.example"])),
            Tls::SelfSigned => Some(Authority::self_signed_config(&more)),
        };
        let scheme = if tls.is_some() { "https" } else { "http" };
        let serve = |door| {
            let state = Arc::clone(&state);
            move |request: &Request| state.answer(door, request)
        };
        let auth = Server::start_on(auth_address, tls.clone(), serve(Door::Auth))?;
        let iam = Server::start_on(address, tls, serve(Door::Iam))?;
        let metadata = Server::start_on(metadata_address, None, serve(Door::Metadata))?;
        state.world().auth_url = auth.url();
        let port = iam.port();
        let mut hosts: BTreeSet<String> =
            ["127.0.0.1", "localhost", "[::1]"].map(|host| format!("{host}:{port}")).into();
        hosts.insert(iam.address().to_string());
        hosts.extend(names.iter().flat_map(|name| [name.clone(), format!("{name}:{port}")]));
        state.world().iam_address = format!("localhost:{port}");
        state.world().own_audiences = hosts.iter().map(|host| format!("{scheme}://{host}{TOKENS}")).collect();
        Ok(Emulator { state, authority, iam, metadata, auth })
    }

    /// The base URL: what a profile names as `iam-url`.
    pub fn url(&self) -> String {
        self.iam.url()
    }

    /// The auth host's base URL: what a profile names as `auth-url`.
    pub fn auth_url(&self) -> String {
        self.auth.url()
    }

    /// Where the auth host listens.
    pub fn auth_address(&self) -> SocketAddr {
        self.auth.address()
    }

    /// Looks at, or changes, what the auth host knows of people.
    pub fn logins<T>(&self, look: impl FnOnce(&mut Logins) -> T) -> T {
        look(&mut self.state.world().logins)
    }

    /// Where the IAM endpoint listens.
    pub fn address(&self) -> SocketAddr {
        self.iam.address()
    }

    /// The metadata service's `host:port`: what a profile names as `metadata-addr`.
    pub fn metadata_addr(&self) -> String {
        self.metadata.address().to_string()
    }

    /// The server behind the IAM endpoint, for its counts of connections and of failed handshakes.
    pub fn server(&self) -> &Server {
        &self.iam
    }

    /// The server behind the metadata service.
    pub fn metadata_server(&self) -> &Server {
        &self.metadata
    }

    /// The certificate of the emulator's authority.
    pub fn ca_pem(&self) -> String {
        self.authority.pem()
    }

    /// Writes the certificate of the emulator's authority: what a profile names as `ca-file`.
    pub fn write_ca(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.authority.write(path)
    }

    /// A new service account that anyone may impersonate; its id.
    pub fn new_service_account(&self) -> String {
        let id = keys::new_id();
        self.set_impersonation(&id, Impersonation::Anyone);
        id
    }

    /// Makes an account with this id, or changes who may impersonate it.
    pub fn set_impersonation(&self, account: &str, impersonation: Impersonation) {
        self.state.world().accounts.insert(account.to_owned(), impersonation);
    }

    /// A new authorized key of a new service account, which nobody may impersonate.
    pub fn new_service_account_key(&self) -> AuthorizedKey {
        let account = keys::new_id();
        self.set_impersonation(&account, Impersonation::Nobody);
        self.new_key_for(&account)
    }

    /// A new authorized key of this service account.
    pub fn new_key_for(&self, account: &str) -> AuthorizedKey {
        let key = AuthorizedKey::new(account, RsaKey::shared());
        self.register_key(&key);
        key
    }

    /// Makes a key known, with whatever id, account and RSA key it has.
    pub fn register_key(&self, key: &AuthorizedKey) {
        let known = KnownKey { owner: key.service_account_id.clone(), public: key.rsa.private.to_public_key() };
        let mut world = self.state.world();
        world.accounts.entry(known.owner.clone()).or_default();
        world.keys.insert(key.id.clone(), known);
    }

    /// Deletes a key, as an administrator would: its JWTs are refused from now on.
    pub fn delete_key(&self, kid: &str) {
        self.state.world().keys.remove(kid);
    }

    /// Makes an OAuth token known as this subject's.
    pub fn register_oauth(&self, oauth: &str, subject: &str) {
        self.state.world().oauth.insert(oauth.to_owned(), subject.to_owned());
    }

    /// A new OAuth token (docs, oauth-token.md: `y[0-3]_…`) of a new subject; the token and the subject's id.
    pub fn new_oauth(&self) -> (String, String) {
        let subject = keys::new_id();
        let tail: String =
            rand::thread_rng().sample_iter(rand::distributions::Alphanumeric).take(55).map(char::from).collect();
        let oauth = format!("y0_{tail}");
        self.register_oauth(&oauth, &subject);
        (oauth, subject)
    }

    /// Attaches a service account to the emulated virtual machine, or takes it away.
    pub fn attach(&self, account: Option<&str>) {
        self.set(|settings| settings.metadata_account = account.map(str::to_owned));
    }

    /// Changes settings.
    pub fn set(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.state.world().settings);
    }

    /// The settings as they are.
    pub fn settings(&self) -> Settings {
        self.state.world().settings.clone()
    }

    /// The emulator's time.
    pub fn now(&self) -> SystemTime {
        self.state.world().now()
    }

    /// Adds a fault after those that are there.
    pub fn fault(&self, fault: Fault) {
        self.state.world().faults.push(fault);
    }

    /// The faults as they stand, with what is left of their `times`.
    pub fn faults(&self) -> Vec<Fault> {
        self.state.world().faults.clone()
    }

    /// Takes all faults away and lets go of the answers that were held.
    pub fn clear_faults(&self) {
        self.state.replace_faults(Vec::new());
    }

    /// Answers requests to a further path of the IAM endpoint or the auth host; they are logged, and faults apply to them.
    pub fn route(&self, path: &str, handler: impl Fn(&Request) -> Response + Send + Sync + 'static) {
        self.state.routes.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), Arc::new(handler));
    }

    /// All requests, oldest first.
    pub fn log(&self) -> Vec<Entry> {
        self.state.world().log.entries().to_vec()
    }

    /// How many requests to this path there were, answered or not.
    pub fn requests(&self, path: &str) -> usize {
        self.state.world().log.entries().iter().filter(|entry| entry.path == path).count()
    }

    /// How many requests there were in all. Zero says: the emulator was not called.
    pub fn calls(&self) -> usize {
        self.state.world().log.entries().len()
    }

    /// Waits until there were so many requests to this path, for example to a fault that holds them; says whether
    /// there were.
    pub fn wait_for_requests(&self, path: &str, count: usize, patience: Duration) -> bool {
        let seen = |world: &World| world.log.entries().iter().filter(|entry| entry.path == path).count();
        self.state.wait(&self.state.logged, patience, |world| seen(world) >= count)
    }

    /// Forgets all requests.
    pub fn clear_log(&self) {
        self.state.world().log.clear();
    }

    /// A token of this subject, without a request for it.
    pub fn issue(&self, subject: &str) -> String {
        self.state.world().issue(subject, None).0
    }

    /// Revokes a token; says whether there was such a token.
    pub fn revoke(&self, token: &str) -> bool {
        self.state.world().tokens.revoke(token).is_some()
    }

    /// Whether the emulator accepts this token at its present time.
    pub fn is_live(&self, token: &str) -> bool {
        let world = self.state.world();
        world.tokens.judge(token, world.now()).is_ok()
    }

    /// Whose token this is, or was.
    pub fn subject_of(&self, token: &str) -> Option<String> {
        self.state.world().tokens.get(token).map(|record| record.subject.clone())
    }

    /// When this token ends, by the emulator's clock.
    pub fn expiry_of(&self, token: &str) -> Option<SystemTime> {
        self.state.world().tokens.get(token).map(|record| record.expires)
    }

    /// Every access key that was ever minted, oldest first.
    pub fn access_keys(&self) -> Vec<AccessKey> {
        self.state.world().access_keys.clone()
    }

    /// Every token that was ever handed out, oldest first: what a test of secrecy looks for.
    pub fn tokens(&self) -> Vec<String> {
        self.state.world().tokens.all().to_vec()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.state.world().stopping = true;
        self.state.released.notify_all();
    }
}
