//! How an emulator starts: its addresses, its certificate and its first settings.

use std::net::{Ipv4Addr, SocketAddr};

use crate::settings::Settings;

/// The certificate of the IAM endpoint and the auth host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tls {
    /// No certificate: plain http.
    #[default]
    Off,
    /// A valid one, issued by the emulator's own authority.
    Good,
    /// One that expired years ago.
    Expired,
    /// One that is not valid yet.
    Early,
    /// A valid one for another name.
    WrongName,
    /// A self-signed one.
    SelfSigned,
}

/// How an emulator starts.
#[derive(Debug, Clone)]
pub struct Config {
    /// The certificate to serve with, if any.
    pub tls: Tls,
    /// The address of the IAM endpoint.
    pub address: SocketAddr,
    /// The address of the metadata service.
    pub metadata_address: SocketAddr,
    /// The address of the auth host.
    pub auth_address: SocketAddr,
    /// Further host names of the IAM endpoint, for clients that reach it through a proxy. They are added to its
    /// certificate, and `https://<name>/iam/v1/tokens` becomes an accepted audience.
    pub names: Vec<String>,
    /// The settings to start with.
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
    /// Returns the default configuration with this certificate.
    pub fn with_tls(tls: Tls) -> Config {
        Config { tls, ..Config::default() }
    }
}
