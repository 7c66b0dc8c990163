//! Network failures (servers, proxies, connections) and the requests that they take.

mod addresses;
mod answers;
mod proxies;
mod statuses;
mod tls;
