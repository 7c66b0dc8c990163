//! A running emulator, and how a test in the same process controls it.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rand::Rng;

use crate::authority::Authority;
use crate::config::{Config, Tls};
use crate::dispatch;
use crate::exchange::{Algorithm, Issuer};
use crate::faults::Fault;
use crate::jwt::KnownKey;
use crate::keys::{self, AuthorizedKey, RsaKey};
use crate::log::Entry;
use crate::routes::{Listener, TOKENS};
use crate::server::{Request, Response, Server};
use crate::settings::Settings;
use crate::state::{Cloud, State};
use crate::store::access_keys::AccessKey;
use crate::store::accounts::Impersonation;
use crate::store::logins::Logins;

/// A running emulator. Dropping it stops it.
pub struct Emulator {
    pub(crate) state: Arc<State>,
    authority: Authority,
    iam: Server,
    metadata: Server,
    auth: Server,
}

/// Starting, and the addresses to give to a client.
impl Emulator {
    /// Starts an emulator for a test. Panics if its ports are taken.
    pub fn start(config: Config) -> Emulator {
        Emulator::try_start(config).expect("the emulator starts")
    }

    /// Starts an emulator. Fails if its ports are taken.
    pub fn try_start(config: Config) -> io::Result<Emulator> {
        let Config { tls, address, metadata_address, auth_address, names, settings } = config;
        let state = Arc::new(State::new(settings));
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
        let serve = |listener| {
            let state = Arc::clone(&state);
            move |request: &Request| dispatch::respond(&state, listener, request)
        };
        let auth = Server::start_on(auth_address, tls.clone(), serve(Listener::Auth))?;
        let iam = Server::start_on(address, tls, serve(Listener::Iam))?;
        let metadata = Server::start_on(metadata_address, None, serve(Listener::Metadata))?;
        let port = iam.port();
        let mut hosts: BTreeSet<String> =
            ["127.0.0.1", "localhost", "[::1]"].map(|host| format!("{host}:{port}")).into();
        hosts.insert(iam.address().to_string());
        hosts.extend(names.iter().flat_map(|name| [name.clone(), format!("{name}:{port}")]));
        let mut cloud = state.cloud();
        cloud.auth_url = auth.url();
        cloud.iam_address = format!("localhost:{port}");
        cloud.own_audiences = hosts.iter().map(|host| format!("{scheme}://{host}{TOKENS}")).collect();
        drop(cloud);
        Ok(Emulator { state, authority, iam, metadata, auth })
    }

    /// Returns the base URL of the IAM endpoint.
    pub fn url(&self) -> String {
        self.iam.url()
    }

    /// Returns the base URL of the auth host.
    pub fn auth_url(&self) -> String {
        self.auth.url()
    }

    /// Returns the address of the auth host.
    pub fn auth_address(&self) -> SocketAddr {
        self.auth.address()
    }

    /// Returns the address of the IAM endpoint.
    pub fn address(&self) -> SocketAddr {
        self.iam.address()
    }

    /// Returns the `host:port` of the metadata service.
    pub fn metadata_addr(&self) -> String {
        self.metadata.address().to_string()
    }

    /// Returns the server of the IAM endpoint, which counts connections and failed handshakes.
    pub fn server(&self) -> &Server {
        &self.iam
    }

    /// Returns the server of the metadata service.
    pub fn metadata_server(&self) -> &Server {
        &self.metadata
    }

    /// Returns the certificate of the emulator's authority in PEM. A client has to trust it.
    pub fn ca_pem(&self) -> String {
        self.authority.pem()
    }

    /// Writes the certificate of the emulator's authority to a file.
    pub fn write_ca(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.authority.write(path)
    }
}

/// Accounts and their credentials.
impl Emulator {
    /// Creates a service account that anyone may impersonate, and returns its id.
    pub fn new_service_account(&self) -> String {
        let id = keys::new_id();
        self.set_impersonation(&id, Impersonation::Anyone);
        id
    }

    /// Creates an account with this id, or changes who may impersonate it.
    pub fn set_impersonation(&self, account: &str, impersonation: Impersonation) {
        self.state.cloud().accounts.set(account, impersonation);
    }

    /// Gives an account a name, which any caller may look up.
    pub fn set_name(&self, account: &str, name: &str) {
        self.state.cloud().accounts.set_name(account, name);
    }

    /// Creates an authorized key of a new service account, which nobody may impersonate.
    pub fn new_service_account_key(&self) -> AuthorizedKey {
        let account = keys::new_id();
        self.set_impersonation(&account, Impersonation::Nobody);
        self.new_key_for(&account)
    }

    /// Creates an authorized key of this service account.
    pub fn new_key_for(&self, account: &str) -> AuthorizedKey {
        let key = AuthorizedKey::new(account, RsaKey::shared());
        self.register_key(&key);
        key
    }

    /// Registers a key, whatever its id, account and RSA key.
    pub fn register_key(&self, key: &AuthorizedKey) {
        let known = KnownKey { owner: key.service_account_id.clone(), public: key.rsa.private.to_public_key() };
        let mut cloud = self.state.cloud();
        cloud.accounts.add(&known.owner);
        cloud.keys.insert(key.id.clone(), known);
    }

    /// Deletes a key, as an administrator would. Its JWTs are rejected from now on.
    pub fn delete_key(&self, kid: &str) {
        self.state.cloud().keys.remove(kid);
    }

    /// Registers an OAuth token of this subject.
    pub fn register_oauth(&self, oauth: &str, subject: &str) {
        self.state.cloud().oauth.insert(oauth.to_owned(), subject.to_owned());
    }

    /// Creates an OAuth token (docs, oauth-token.md: `y[0-3]_…`) of a new subject. Returns the token and the subject's id.
    pub fn new_oauth(&self) -> (String, String) {
        let subject = keys::new_id();
        let tail: String =
            rand::thread_rng().sample_iter(rand::distributions::Alphanumeric).take(55).map(char::from).collect();
        let oauth = format!("y0_{tail}");
        self.register_oauth(&oauth, &subject);
        (oauth, subject)
    }

    /// Attaches a service account to the emulated virtual machine, or detaches it.
    pub fn attach(&self, account: Option<&str>) {
        self.set(|settings| settings.metadata_account = account.map(str::to_owned));
    }

    /// Creates a federation with an issuer of its own.
    pub fn new_federation(&self, algorithm: Algorithm) -> Issuer {
        let issuer = Issuer::new(Arc::clone(&self.state), keys::new_id(), algorithm);
        self.state.cloud().federations.add(issuer.federation());
        issuer
    }

    /// Creates a federated credential: allows the issuer's tokens for this subject to be exchanged for the account's.
    pub fn new_federated_credential(&self, issuer: &Issuer, account: &str, subject: &str) {
        self.state.cloud().federations.add_credential(&issuer.federation, account, subject);
    }

    /// Deletes all federated credentials of a service account, as an administrator would.
    pub fn delete_federated_credentials(&self, account: &str) {
        self.state.cloud().federations.delete_credentials(account);
    }

    /// Reads or changes what the auth host knows about people.
    pub fn logins<T>(&self, change: impl FnOnce(&mut Logins) -> T) -> T {
        change(&mut self.state.cloud().logins)
    }
}

/// Settings and faults.
impl Emulator {
    /// Changes settings.
    pub fn set(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.state.cloud().settings);
    }

    /// Returns the current settings.
    pub fn settings(&self) -> Settings {
        self.state.cloud().settings.clone()
    }

    /// Returns the emulator's time.
    pub fn now(&self) -> SystemTime {
        self.state.cloud().now()
    }

    /// Adds a fault behind the existing ones.
    pub fn fault(&self, fault: Fault) {
        self.state.cloud().faults.push(fault);
    }

    /// Returns the current faults, with their remaining `times`.
    pub fn faults(&self) -> Vec<Fault> {
        self.state.cloud().faults.clone()
    }

    /// Removes all faults, and sends the responses that were held.
    pub fn clear_faults(&self) {
        self.state.replace_faults(Vec::new());
    }

    /// Adds a path to the IAM endpoint and the auth host. Its requests are logged, and faults apply to them.
    pub fn route(&self, path: &str, handler: impl Fn(&Request) -> Response + Send + Sync + 'static) {
        self.state.add_route(path, Arc::new(handler));
    }
}

/// The request log.
impl Emulator {
    /// Returns all requests, oldest first.
    pub fn log(&self) -> Vec<Entry> {
        self.state.cloud().log.entries().to_vec()
    }

    /// Returns the number of requests to this path, whether they have been answered or not.
    pub fn requests(&self, path: &str) -> usize {
        self.state.cloud().log.count(path)
    }

    /// Returns the number of all requests.
    pub fn calls(&self) -> usize {
        self.state.cloud().log.entries().len()
    }

    /// Waits for this many requests to a path, for example to one that a fault holds. Returns false if the time is up
    /// first.
    pub fn wait_for_requests(&self, path: &str, count: usize, patience: Duration) -> bool {
        self.state.wait(&self.state.logged, patience, |cloud: &Cloud| cloud.log.count(path) >= count)
    }

    /// Clears the log.
    pub fn clear_log(&self) {
        self.state.cloud().log.clear();
    }
}

/// Tokens and access keys.
impl Emulator {
    /// Issues a token to this subject, without a request for it.
    pub fn issue(&self, subject: &str) -> String {
        self.state.cloud().issue(subject, None).0
    }

    /// Revokes a token. Returns false if there is no such token.
    pub fn revoke(&self, token: &str) -> bool {
        self.state.cloud().tokens.revoke(token).is_some()
    }

    /// Returns true if the token is valid at the emulator's time.
    pub fn is_live(&self, token: &str) -> bool {
        let cloud = self.state.cloud();
        cloud.tokens.check(token, cloud.now()).is_ok()
    }

    /// Returns the subject of a token, valid or not.
    pub fn subject_of(&self, token: &str) -> Option<String> {
        self.state.cloud().tokens.get(token).map(|record| record.subject.clone())
    }

    /// Returns when a token expires, by the emulator's clock.
    pub fn expiry_of(&self, token: &str) -> Option<SystemTime> {
        self.state.cloud().tokens.get(token).map(|record| record.expires)
    }

    /// Returns every access key ever issued, oldest first.
    pub fn access_keys(&self) -> Vec<AccessKey> {
        self.state.cloud().access_keys.clone()
    }

    /// Returns every token ever issued, oldest first, for tests that search for leaked secrets.
    pub fn tokens(&self) -> Vec<String> {
        self.state.cloud().tokens.all().to_vec()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.state.stop();
    }
}
