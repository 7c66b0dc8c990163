//! The platform's own verifier of certificates.

use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls_pki_types::CertificateDer;

/// Whether the system verifies certificates, except with roots that the user has chosen.
pub const IS_PLATFORM_VERIFIED: bool = cfg!(any(target_vendor = "apple", windows));

/// Returns `None`: there is no verifier, only files with certificate authorities.
///
/// # Errors
/// None.
#[cfg(not(any(target_vendor = "apple", windows)))]
pub fn platform_verifier(
    _: &[CertificateDer<'static>],
    _: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ServerCertVerifier>>, rustls::Error> {
    Ok(None)
}

/// Returns the verifier of the system, which knows the authorities that an administrator has distributed or revoked.
/// `extra` adds certificate authorities.
///
/// # Errors
/// An extra authority is not a valid certificate.
#[cfg(any(target_vendor = "apple", windows))]
pub fn platform_verifier(
    extra: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ServerCertVerifier>>, rustls::Error> {
    use rustls_platform_verifier::Verifier;

    let verifier = Verifier::new_with_extra_roots(extra.iter().cloned(), Arc::clone(provider))?;
    Ok(Some(Arc::new(verifier)))
}
