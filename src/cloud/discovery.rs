//! Discovery: where the IAM API of an installation is, by the installation's own list of endpoints
//! (cloudapi `yandex/cloud/endpoint/api_endpoint_service.proto`; docs `cli/concepts/endpoints.md`).
//!
//! Asked for by `iam-url = "discover"`, and then at a fetch alone: a hit knows nothing of it. What was found is kept for an
//! hour in a small record of its own beside the token records, under a lock of its own, so that however many misses there
//! are, of however many profiles, one of them asks.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::clock::{Timestamp, millis};
use crate::base::error::{Error, Kind, Result};
use crate::base::hosts::Host;
use crate::base::identity::Identity;
use crate::cache::Slot;
use crate::cloud::http::{CONNECT, HttpRequest, HttpResponse};
use crate::cloud::{Context, status};
use crate::disk::store;
use crate::disk::store::{Lock, LockGuard};

/// What a profile writes in place of a URL.
pub const WORD: &str = "discover";

/// How long an address is used without asking again.
const KEPT: Duration = Duration::from_secs(3600);

/// The IAM API of an installation that is asked where that is.
#[derive(Clone, Debug)]
pub struct Discovery {
    /// `host` or `host:port`.
    endpoint: String,
    /// For the rest of this run: without a cache too, the links of a chain ask once.
    found: Arc<Mutex<Option<DiscoveredEndpoint>>>,
}

/// An answer, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct DiscoveredEndpoint {
    /// Whose: a record of another endpoint under the same name is none.
    endpoint: String,
    iam_url: String,
    /// When it was asked for, by this machine's clock.
    asked: Timestamp,
}

/// `ApiEndpoint`; what else is in it is let be.
#[derive(Deserialize)]
struct ApiEndpoint {
    id: String,
    address: String,
}

#[derive(Deserialize)]
struct ListApiEndpointsResponse {
    endpoints: Vec<ApiEndpoint>,
}

impl Discovery {
    /// `endpoint`: `host` or `host:port` of the installation.
    pub fn of(endpoint: String) -> Self {
        Self { endpoint, found: Arc::default() }
    }

    /// The list's URL: what identities and messages call it.
    pub fn url(&self) -> String {
        format!("https://{}/endpoints", self.endpoint)
    }

    /// Base URL of the IAM API. An address that was found earlier is better than none while the list cannot be had.
    ///
    /// # Errors
    /// As [`crate::cloud::http::Http::send`]; Unavailable (4) for an answer that is no list; Profile (3) for a list without IAM.
    pub fn iam_url(&self, cx: &Context<'_>) -> Result<String> {
        let known = self.found.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let found = match known.filter(|found| found.serves(cx)) {
            Some(found) => found,
            None => self.look_up(cx)?,
        };
        let url = found.iam_url.clone();
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        Ok(url)
    }

    fn look_up(&self, cx: &Context<'_>) -> Result<DiscoveredEndpoint> {
        let identity = Identity::of(WORD).with("endpoint", &self.endpoint);
        let slot = cx.cache.auxiliary_slot("endpoint", &identity);
        if let Some(found) = self.kept(&slot).filter(|found| found.serves(cx)) {
            return Ok(found);
        }
        let _held = await_lock(&slot, cx);
        let before = self.kept(&slot);
        if let Some(found) = before.as_ref().filter(|found| found.serves(cx)) {
            return Ok(found.clone());
        }
        let asked = cx.clock.now();
        // The better half of the time is for what the address is wanted for.
        let half = Context { deadline: cx.deadline.share(cx.clock, 0.4), ..*cx };
        match (self.ask(&half), before) {
            (Ok(iam_url), _) => {
                let found = DiscoveredEndpoint { endpoint: self.endpoint.clone(), iam_url, asked };
                let kept = serde_json::to_vec(&found).map_err(Into::into).and_then(|content| slot.replace(&content));
                if let Err(error) = kept {
                    // The token record tells a person that nothing can be kept; this one costs a request.
                    cx.notes.debug(|| format!("{}: the answer cannot be kept: {error}", self.url()));
                }
                Ok(found)
            }
            (Err(error), Some(before)) if error.kind == Kind::Unavailable => {
                cx.notes.debug(|| format!("{}; the address found earlier is used", error.reason()));
                Ok(before)
            }
            (Err(error), _) => Err(error
                .context("discovery of the IAM address")
                .hint("check `endpoint` in the profile, or name the address itself: iam-url = \"https://…\"")),
        }
    }

    fn kept(&self, slot: &Slot<'_>) -> Option<DiscoveredEndpoint> {
        let found: DiscoveredEndpoint = serde_json::from_slice(&slot.read()?).ok()?;
        (found.endpoint == self.endpoint).then_some(found)
    }

    /// The one endpoint; or the whole list, where an installation does not know that call.
    fn ask(&self, cx: &Context<'_>) -> Result<String> {
        let list = self.url();
        let one = format!("{list}/iam");
        match get(&one, cx) {
            Ok(answer) => base_url(&read::<ApiEndpoint>(&answer.body, &one)?.address, &one),
            Err(error) if error.status == Some(404) => {
                let answer = get(&list, cx)?;
                iam_in_list(&answer.body, &list)
            }
            Err(error) => Err(error),
        }
    }
}

impl DiscoveredEndpoint {
    /// Whether it is used without asking again; a forced refresh asks, as it may be the address that is wrong.
    fn serves(&self, cx: &Context<'_>) -> bool {
        let age = cx.clock.now().since(self.asked);
        let is_fresh = (0..millis(KEPT)).contains(&age);
        cx.requirements.force_since.map_or(is_fresh, |since| self.asked >= since)
    }
}

/// Waits for the lock, but not longer than is good for what follows; none where it cannot be had, which costs a request.
fn await_lock(slot: &Slot<'_>, cx: &Context<'_>) -> Option<LockGuard> {
    slot.prepare().ok()?;
    match store::wait_for_lock(&cx.deadline.share(cx.clock, 0.5), cx.clock, || slot.try_lock()) {
        Lock::Held(held) => Some(held),
        Lock::Busy | Lock::Impossible(_) => None,
    }
}

fn get(url: &str, cx: &Context<'_>) -> Result<HttpResponse> {
    let request = HttpRequest { url, headers: &[], body: None, connect: CONNECT, direct: false };
    cx.send(&request, status::explain)
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8], url: &str) -> Result<T> {
    serde_json::from_slice(body)
        .map_err(|_| Error::unavailable(format!("{url}: the answer is not a list of endpoints")))
}

/// For the fuzzer: either answer.
pub fn iam_in(body: &[u8]) -> Result<String> {
    read::<ApiEndpoint>(body, "url")
        .and_then(|listed| base_url(&listed.address, "url"))
        .or_else(|_| iam_in_list(body, "url"))
}

fn iam_in_list(body: &[u8], url: &str) -> Result<String> {
    let ListApiEndpointsResponse { endpoints } = read(body, url)?;
    let listed = endpoints.iter().find(|listed| listed.id == "iam");
    let listed = listed.ok_or_else(|| Error::profile(format!("{url}: has no endpoint called iam")))?;
    base_url(&listed.address, url)
}

/// An address has no scheme, and is always https.
fn base_url(address: &str, url: &str) -> Result<String> {
    let host = Host::parse(address).filter(|host| host.scheme.is_none() && !address.contains(['/', '?', '#']));
    let host = host.ok_or_else(|| {
        Error::unavailable(format!("{url}: says that IAM is at \"{address}\", which is not host or host:port"))
    })?;
    Ok(format!("https://{}", Host { port: host.port.filter(|port| *port != 443), ..host }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_host_and_port_and_always_https() {
        for (address, url) in [
            ("iam.api.cloud.yandex.net:443", "https://iam.api.cloud.yandex.net"),
            ("iam.api.yandexcloud.kz", "https://iam.api.yandexcloud.kz"),
            ("IAM.example:8443", "https://iam.example:8443"),
            ("[::1]:8443", "https://[::1]:8443"),
        ] {
            assert_eq!(base_url(address, "list").expect("an address"), url);
        }
        for bad in
            ["", "http://iam.example", "https://iam.example", "iam.example/x", "u@iam.example", "a b", "iam.example:0x"]
        {
            assert!(base_url(bad, "list").is_err(), "{bad}");
        }
    }

    #[test]
    fn both_answers_are_read_with_whatever_else_is_in_them() {
        let listed: ApiEndpoint = read(br#"{"id":"iam","address":"a:443","new":1}"#, "url").expect("one");
        assert_eq!(listed.address, "a:443");
        let list = br#"{"endpoints":[{"id":"ai","address":"b"},{"id":"iam","address":"a:443"}],"nextPageToken":""}"#;
        assert_eq!(iam_in_list(list, "url").expect("a list"), "https://a");
    }
}
