//! Who is answered what at the endpoints of `exec --serve`.
//!
//! The metadata service's protocol (docs `compute/operations/vm-connect/auth-inside-vm.md`), as the Yandex Cloud SDKs speak it,
//! has no secret in it: it is for programs of our own user alone. That of AWS containers
//! (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>) is for whoever knows the password
//! that our child was given.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use subtle::ConstantTimeEq as _;

use crate::base::clock::Clock;
use crate::base::secret::Secret;
use crate::serve::credentials::{CacheLookup, CredentialStore, Item};
use crate::serve::refresher::RefreshTask;
use crate::system::loopback::{LocalRequest, LocalResponse, PendingRequest};
use crate::system::peer;

/// Where the metadata service is on its host, and the one thing of it that we have.
const METADATA: &str = "/computeMetadata/";
const TOKEN: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
/// Ours to choose, since the child is given the URL.
pub const ACCESS_KEY: &str = "/credentials";

/// Who answers the child's requests, and by what they are judged.
pub struct Server {
    pub clock: &'static dyn Clock,
    pub port: u16,
    /// Our own user, where the users of others can be told; none: no metadata is answered.
    pub user: Option<u32>,
    pub password: Secret,
    pub credentials: Arc<CredentialStore>,
    pub refresher: Sender<RefreshTask>,
}

impl Server {
    /// Answers at once where there is something to answer with; else it is the keeper's.
    pub fn take(&self, incoming: PendingRequest) {
        let item = match self.judge(&incoming.request) {
            Ok(item) => item,
            Err(refusal) => return incoming.respond_without_waiting(refusal),
        };
        let now = self.clock.now();
        // Where the keeper is gone, the connection is closed.
        let _ = match self.credentials.find(item, now) {
            None => self.refresher.send(RefreshTask::Answer(item, incoming)),
            Some(CacheLookup { got, is_due }) => {
                incoming.respond_without_waiting(item.response(&got, now));
                match is_due && !self.credentials.mark_requested(item, true) {
                    true => self.refresher.send(RefreshTask::Renew(item)),
                    false => Ok(()),
                }
            }
        };
    }

    /// What is asked for, by one who may.
    fn judge(&self, request: &LocalRequest) -> Result<Item, LocalResponse> {
        let refuse = |status: u16, why: &str| Err(LocalResponse::text(status, format!("{why}\n")));
        if request.path == ACCESS_KEY {
            return match request.header("authorization") {
                Some(presented) if is_same(presented, &self.password) => Ok(Item::AccessKey),
                Some(_) => refuse(403, "this is not the authorization token that was given out"),
                None => refuse(401, "the authorization token is missing"),
            };
        }
        let Some(us) = self.user.filter(|_| request.path.starts_with(METADATA)) else {
            return refuse(404, "there is nothing here");
        };
        // Before anything is told of what is here.
        if peer::user(request.peer, self.port) != Some(us) {
            return refuse(403, "this is for programs of the user who started it");
        }
        if request.header("metadata-flavor").is_none_or(|flavor| !flavor.eq_ignore_ascii_case("google")) {
            return refuse(403, "the header Metadata-Flavor: Google is missing");
        }
        match request.path.as_str() {
            TOKEN => Ok(Item::Token),
            _ => refuse(404, "of the metadata service there is the token alone"),
        }
    }
}

/// Compares in a time that tells nothing of where the two differ.
fn is_same(presented: &str, password: &Secret) -> bool {
    presented.as_bytes().ct_eq(password.expose().as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_compared_whole() {
        let password = Secret::new("abcdefgh".into());
        assert!(is_same("abcdefgh", &password));
        for wrong in ["", "abcdefg", "abcdefghi", "abcdefgx", "xbcdefgh", "Bearer abcdefgh"] {
            assert!(!is_same(wrong, &password), "{wrong}");
        }
    }
}
