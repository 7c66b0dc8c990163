//! The HTTP endpoints of `exec --serve` and `serve`.
//!
//! * The metadata service, as the Yandex Cloud SDKs use it (cloud documentation,
//!   `compute/operations/vm-connect/auth-inside-vm.md`). Its protocol has no password, so ycred answers only programs
//!   of listed users: its own user, or those that `--allow-uid` lists.
//! * AWS container credentials (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>).
//!   They require the password that ycred gives to the child.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use subtle::ConstantTimeEq as _;

use crate::base::clock::Clock;
use crate::base::secret::Secret;
use crate::serve::credentials::{CacheLookup, CredentialKind, CredentialStore};
use crate::serve::refresher::RefreshTask;
use crate::system::loopback::{LocalRequest, LocalResponse, PendingRequest};

/// The prefix of every path of the metadata service.
const METADATA: &str = "/computeMetadata/";
/// The only path of the metadata service that ycred implements.
const TOKEN: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
/// The path of the access keys. Any path would do, because the child gets the whole URL.
pub const ACCESS_KEY: &str = "/credentials";

/// Answers the requests of the child, or of the listed users.
pub struct Server {
    pub clock: &'static dyn Clock,
    /// The users that may use the metadata endpoint. Empty if the user of a connection cannot be determined.
    pub users: Vec<u32>,
    /// The password of the access keys. `None` disables that endpoint, because there is no child to give it to.
    pub password: Option<Secret>,
    pub credentials: Arc<CredentialStore>,
    pub refresher: Sender<RefreshTask>,
}

impl Server {
    /// Responds immediately if a credential is cached; otherwise passes the request to the refresher.
    pub fn handle(&self, incoming: PendingRequest) {
        let kind = match self.authorize(&incoming.request) {
            Ok(kind) => kind,
            Err(refusal) => return incoming.respond_without_waiting(refusal),
        };
        let now = self.clock.now();
        // If the refresher has panicked, sending fails. The request is dropped, which closes its connection.
        let _ = match self.credentials.lookup(kind, now) {
            None => self.refresher.send(RefreshTask::Respond(kind, incoming)),
            Some(CacheLookup { obtained, is_due }) => {
                incoming.respond_without_waiting(kind.response(&obtained, now));
                match is_due && !self.credentials.set_renewal_queued(kind, true) {
                    true => self.refresher.send(RefreshTask::Renew(kind)),
                    false => Ok(()),
                }
            }
        };
    }

    /// Returns the requested kind of credential, or the response to a request that is not allowed.
    fn authorize(&self, request: &LocalRequest) -> Result<CredentialKind, LocalResponse> {
        let refuse = |status: u16, why: &str| Err(LocalResponse::text(status, format!("{why}\n")));
        if let Some(password) = self.password.as_ref().filter(|_| request.path == ACCESS_KEY) {
            return match request.header("authorization") {
                Some(presented) if is_same(presented, password) => Ok(CredentialKind::AccessKey),
                Some(_) => refuse(403, "wrong authorization token"),
                None => refuse(401, "missing authorization token"),
            };
        }
        if self.users.is_empty() || !request.path.starts_with(METADATA) {
            return refuse(404, "not found");
        }
        // Checked first, so that other users cannot find out which paths exist.
        if !request.user.is_some_and(|user| self.users.contains(&user)) {
            return refuse(403, "this user may not use this endpoint");
        }
        if request.header("metadata-flavor").is_none_or(|flavor| !flavor.eq_ignore_ascii_case("google")) {
            return refuse(403, "missing header Metadata-Flavor: Google");
        }
        match request.path.as_str() {
            TOKEN => Ok(CredentialKind::Token),
            _ => refuse(404, "only the token endpoint is implemented"),
        }
    }
}

/// Compares in constant time, so that the duration does not reveal where the two differ.
fn is_same(presented: &str, password: &Secret) -> bool {
    presented.as_bytes().ct_eq(password.expose().as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_password_matches() {
        let password = Secret::new("abcdefgh".into());
        assert!(is_same("abcdefgh", &password));
        for wrong in ["", "abcdefg", "abcdefghi", "abcdefgx", "xbcdefgh", "Bearer abcdefgh"] {
            assert!(!is_same(wrong, &password), "{wrong}");
        }
    }
}
