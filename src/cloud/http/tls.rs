//! Errors of TLS, in the words of a user. rustls's own words are for programmers, some of them in debug form.

use std::path::Path;

use rustls::{AlertDescription as Alert, CertificateError as C, PeerIncompatible as P};
use ureq::http::Uri;

use crate::base::error::Error;
use crate::cloud::http::proxy::Route;

/// Returns the error, and true if it is permanent: an untrusted certificate, or a server that ycred cannot talk to.
pub(super) fn tls_error(error: &rustls::Error, url: &str, route: &Route, ca_file: Option<&Path>) -> (Error, bool) {
    let (through, hint_if_not_tls) = (route.through(), route.hint_if_not_tls());
    let host = url.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
    if let rustls::Error::InvalidCertificate(defect) = error {
        let (why, hint) = certificate_defect(defect, &host, ca_file);
        return (Error::profile(format!("{url}: {why}{through}")).hint(hint).caused_elsewhere(), true);
    }
    const VERSION: &str = "the server supports neither TLS 1.2 nor TLS 1.3";
    const CIPHER: &str = "the server and ycred have no encryption in common";
    const UPDATE: &str =
        "the server's owner must enable TLS 1.2 or 1.3 with a modern cipher, such as AES-GCM with ECDHE";
    let (is_permanent, why, hint) = match error {
        rustls::Error::PeerIncompatible(
            P::ServerDoesNotSupportTls12Or13 | P::ServerTlsVersionIsDisabledByOurConfig | P::Tls12NotOffered,
        )
        | rustls::Error::AlertReceived(Alert::ProtocolVersion) => (true, VERSION.to_owned(), UPDATE),
        rustls::Error::PeerIncompatible(_) | rustls::Error::AlertReceived(Alert::InsufficientSecurity) => {
            (true, CIPHER.to_owned(), UPDATE)
        }
        rustls::Error::AlertReceived(Alert::HandshakeFailure) => (
            true,
            "the server refused the TLS handshake".to_owned(),
            "either it offers no modern encryption, or it wants a client certificate, which ycred does not have",
        ),
        rustls::Error::AlertReceived(
            Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::NoCertificate
            | Alert::UnknownCA
            | Alert::AccessDenied,
        ) => (
            true,
            "the server wants a client certificate, which ycred does not have".to_owned(),
            "check the URL: IAM needs no client certificate; a proxy in between may",
        ),
        rustls::Error::AlertReceived(Alert::UnrecognisedName) => {
            (true, format!("the server has no certificate for {host}"), "check the host in the URL")
        }
        rustls::Error::AlertReceived(alert) => {
            let why = format!("the server ended the TLS connection (alert {})", u8::from(*alert));
            (false, why, "try again; if it persists, ask the server's owner")
        }
        rustls::Error::NoCertificatesPresented => {
            (true, "the server presented no certificate".to_owned(), "check the URL and the port")
        }
        rustls::Error::InvalidMessage(_)
        | rustls::Error::InappropriateMessage { .. }
        | rustls::Error::InappropriateHandshakeMessage { .. }
        | rustls::Error::PeerSentOversizedRecord
        | rustls::Error::DecryptError
        | rustls::Error::PeerMisbehaved(_) => {
            (false, "the response is not valid TLS".to_owned(), hint_if_not_tls.as_str())
        }
        rustls::Error::FailedToGetCurrentTime | rustls::Error::FailedToGetRandomBytes => {
            (false, "this machine provides no time or no random numbers".to_owned(), "check the system")
        }
        _ => (false, "the TLS connection failed".to_owned(), hint_if_not_tls.as_str()),
    };
    (Error::unavailable(format!("{url}: {why}{through}")).hint(hint), is_permanent)
}

/// Returns what is wrong with a server's certificate, and a hint.
fn certificate_defect(defect: &C, host: &str, ca_file: Option<&Path>) -> (String, &'static str) {
    const OWNER: &str = "the server's owner must replace the certificate";
    let trusted = ca_file
        .map_or("this machine's roots".to_owned(), |path| format!("this machine's roots and {}", path.display()));
    match defect {
        C::UnknownIssuer => (
            format!("the server's certificate is signed by an authority that is not among {trusted}"),
            "behind a TLS-inspecting proxy, add the PEM file of its authority: ca-file = \"…\" in the profile, or \
             SSL_CERT_FILE, which replaces all roots",
        ),
        C::Expired | C::ExpiredContext { .. } => (
            "the server's certificate has expired".to_owned(),
            "check this machine's clock; if it is right, the server's owner must renew the certificate",
        ),
        C::NotValidYet | C::NotValidYetContext { .. } => {
            ("the server's certificate is not valid yet".to_owned(), "check this machine's clock")
        }
        C::NotValidForName | C::NotValidForNameContext { .. } => (
            format!("the server's certificate is not valid for {host}"),
            "check the URL, or open a browser if there may be a captive portal",
        ),
        C::Revoked => ("the server's certificate has been revoked".to_owned(), "do not use this server; ask its owner"),
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => {
            ("the server's certificate is not one for servers".to_owned(), OWNER)
        }
        C::BadSignature => ("the signature of the server's certificate is wrong".to_owned(), OWNER),
        C::UnsupportedSignatureAlgorithmContext { .. } | C::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            ("the server's certificate is signed with an outdated algorithm".to_owned(), OWNER)
        }
        C::BadEncoding => ("the server's certificate is malformed".to_owned(), OWNER),
        C::UnhandledCriticalExtension => {
            ("the server's certificate has a critical extension that ycred does not know".to_owned(), OWNER)
        }
        // webpki's errors have no type here, only a name.
        C::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => (
            "the server's certificate is the certificate of an authority (CA:TRUE), not of a server".to_owned(),
            "make one for the server: openssl req -x509 -addext basicConstraints=critical,CA:FALSE -addext \
             subjectAltName=DNS:HOST …",
        ),
        C::Other(other) if other.to_string().contains("UnsupportedCertVersion") => {
            ("the server's certificate is not of version 3 (X.509 v3)".to_owned(), OWNER)
        }
        _ => ("the server's certificate cannot be verified".to_owned(), "check the URL, and `ca-file` in the profile"),
    }
}
