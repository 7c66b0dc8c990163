//! Network failures (servers, proxies, connections) and the requests that they take.

mod addresses;
mod answers;
mod names;
mod proxies;
mod statuses;
mod tls;
