//! The network: every failure of a server, a proxy or a wire, and what it costs.

mod addresses;
mod answers;
mod proxies;
mod statuses;
mod tls;
