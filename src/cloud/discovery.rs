//! Discovery of the IAM address from the installation's list of endpoints
//! (cloudapi `yandex/cloud/endpoint/api_endpoint_service.proto`; docs `cli/concepts/endpoints.md`).
//!
//! Used with `iam-url = "discover"`, and only when a token is fetched: a cache hit does not need the address. The
//! address is cached for an hour in its own record with its own lock, so that one request serves any number of misses
//! and profiles.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::clock::{Timestamp, millis};
use crate::base::error::{Error, Kind, Result};
use crate::base::hosts::Host;
use crate::base::identity::Identity;
use crate::cache::Slot;
use crate::cloud::http::{CONNECT_TIMEOUT, HttpRequest, HttpResponse};
use crate::cloud::{Context, rpc_status};
use crate::disk::store;
use crate::disk::store::Lock;

/// The value of `iam-url` that turns discovery on.
pub const DISCOVER: &str = "discover";

/// How long a discovered address is used.
const VALIDITY: Duration = Duration::from_secs(3600);

/// The discovery of an installation's IAM address.
#[derive(Clone, Debug)]
pub struct Discovery {
    /// `host` or `host:port`.
    endpoint: String,
    /// The result for the rest of this run. Without a cache, a chain of impersonations still asks only once.
    result: Arc<Mutex<Option<DiscoveredEndpoint>>>,
}

/// A discovered address, as cached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct DiscoveredEndpoint {
    /// The installation's endpoint. A record of another endpoint under the same file name is a miss.
    endpoint: String,
    iam_url: String,
    /// The time of the request, by this machine's clock.
    asked: Timestamp,
}

/// The API's `ApiEndpoint`. Other fields are ignored.
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
    /// Creates a discovery. `endpoint` is `host` or `host:port` of the installation.
    pub fn of(endpoint: String) -> Self {
        Self { endpoint, result: Arc::default() }
    }

    /// Returns the URL of the list, for identities and messages.
    pub fn url(&self) -> String {
        format!("https://{}/endpoints", self.endpoint)
    }

    /// Returns the base URL of the IAM API. If the list is unavailable, returns the last known address.
    ///
    /// # Errors
    /// As [`crate::cloud::http::Http::send`]. Unavailable (4): the response is not a list. Profile (3): the list has no
    /// IAM address.
    pub fn iam_url(&self, cx: &Context<'_>) -> Result<String> {
        let known = self.result.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let discovered = match known.filter(|known| known.is_usable(cx)) {
            Some(known) => known,
            None => self.look_up(cx)?,
        };
        let url = discovered.iam_url.clone();
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(discovered);
        Ok(url)
    }

    fn look_up(&self, cx: &Context<'_>) -> Result<DiscoveredEndpoint> {
        let identity = Identity::of(DISCOVER).with("endpoint", &self.endpoint);
        let slot = cx.cache.auxiliary_slot("endpoint", &identity);
        if let Some(cached) = self.cached(&slot).filter(|cached| cached.is_usable(cx)) {
            return Ok(cached);
        }
        // For half of the remaining time. Without the lock, there is only an extra request.
        let waiting = cx.deadline.share(cx.clock, 0.5);
        let found = store::poll(&waiting, cx.clock, || {
            let lock = slot.prepare().map(|()| slot.try_lock(&cx.http.sharing_group().lock_name()));
            // With or without the lock: another process may have stored the address although the one with the lock is stopped.
            let cached = self.cached(&slot).filter(|cached| cached.is_usable(cx));
            match lock {
                Ok(Lock::Busy) => cached.map(|cached| (None, Some(cached))),
                Ok(Lock::Held(guard)) => Some((Some(guard), cached)),
                Ok(Lock::Impossible(_)) | Err(_) => Some((None, cached)),
            }
        });
        let (_guard, cached) = found.unwrap_or_default();
        if let Some(cached) = cached {
            return Ok(cached);
        }
        let before = self.cached(&slot);
        let asked = cx.clock.now();
        // Leave more than half of the time for the token request.
        let limited = Context { deadline: cx.deadline.share(cx.clock, 0.4), ..*cx };
        match (self.request(&limited), before) {
            (Ok(iam_url), _) => {
                let discovered = DiscoveredEndpoint { endpoint: self.endpoint.clone(), iam_url, asked };
                let stored =
                    serde_json::to_vec(&discovered).map_err(Into::into).and_then(|content| slot.replace(&content));
                if let Err(error) = stored {
                    // Not a warning: it only costs a request, and storing the token will warn about the same cause.
                    cx.diagnostics.debug(|| format!("{}: the IAM address cannot be cached: {error}", self.url()));
                }
                Ok(discovered)
            }
            (Err(error), Some(before)) if error.kind == Kind::Unavailable => {
                cx.diagnostics.debug(|| format!("{}; the last known IAM address is used", error.reason()));
                Ok(before)
            }
            (Err(error), _) => Err(error
                .context("discovery of the IAM address")
                .hint("check `endpoint` in the profile, or set the address: iam-url = \"https://…\"")),
        }
    }

    fn cached(&self, slot: &Slot<'_>) -> Option<DiscoveredEndpoint> {
        let cached: DiscoveredEndpoint = serde_json::from_slice(&slot.read()?).ok()?;
        (cached.endpoint == self.endpoint).then_some(cached)
    }

    /// Requests the IAM endpoint alone, or the whole list if the installation does not support that call.
    fn request(&self, cx: &Context<'_>) -> Result<String> {
        let list = self.url();
        let one = format!("{list}/iam");
        match get(&one, cx) {
            Ok(response) => base_url(&read::<ApiEndpoint>(&response.body, &one)?.address, &one),
            Err(error) if error.status == Some(404) => {
                let response = get(&list, cx)?;
                iam_in_list(&response.body, &list)
            }
            Err(error) => Err(error),
        }
    }
}

impl DiscoveredEndpoint {
    /// Returns true if the address can be used. A forced refresh asks again, because the address may be wrong.
    fn is_usable(&self, cx: &Context<'_>) -> bool {
        let age = cx.clock.now().since(self.asked);
        let is_fresh = (0..millis(VALIDITY)).contains(&age);
        cx.requirements.force_since.map_or(is_fresh, |since| (since..=cx.clock.now()).contains(&self.asked))
    }
}

fn get(url: &str, cx: &Context<'_>) -> Result<HttpResponse> {
    let request =
        HttpRequest { url, headers: &[], body: None, connect: CONNECT_TIMEOUT, direct: false, is_one_time: false };
    cx.send(&request, rpc_status::explain)
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8], url: &str) -> Result<T> {
    serde_json::from_slice(body)
        .map_err(|_| Error::unavailable(format!("{url}: the response is not a list of endpoints")))
}

/// Reads either response, for the fuzzer.
pub fn parse_iam_url(body: &[u8]) -> Result<String> {
    read::<ApiEndpoint>(body, "url")
        .and_then(|listed| base_url(&listed.address, "url"))
        .or_else(|_| iam_in_list(body, "url"))
}

fn iam_in_list(body: &[u8], url: &str) -> Result<String> {
    let ListApiEndpointsResponse { endpoints } = read(body, url)?;
    let listed = endpoints.iter().find(|listed| listed.id == "iam");
    let listed =
        listed.ok_or_else(|| Error::profile(format!("{url}: has no endpoint called iam")).caused_elsewhere())?;
    base_url(&listed.address, url)
}

/// Returns the base URL for an address, which has no scheme: always https.
fn base_url(address: &str, url: &str) -> Result<String> {
    let host = Host::parse(address).filter(|host| host.scheme.is_none() && !address.contains(['/', '?', '#']));
    let host = host.ok_or_else(|| {
        Error::unavailable(format!("{url}: the IAM address \"{address}\" is not a host or host:port"))
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
    fn both_responses_are_read_and_other_fields_are_ignored() {
        let listed: ApiEndpoint = read(br#"{"id":"iam","address":"a:443","new":1}"#, "url").expect("one");
        assert_eq!(listed.address, "a:443");
        let list = br#"{"endpoints":[{"id":"ai","address":"b"},{"id":"iam","address":"a:443"}],"nextPageToken":""}"#;
        assert_eq!(iam_in_list(list, "url").expect("a list"), "https://a");
    }
}
