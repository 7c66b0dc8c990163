//! The certificates that a server's certificate is checked against.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use rustls::RootCertStore;
use rustls_native_certs::{CertificateResult, load_certs_from_paths, load_native_certs};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::base::environment::{Environment, SSL_CERT_DIR, SSL_CERT_FILE};
use crate::base::error::{Error, Result};
use crate::base::mask;
use crate::base::pem;
use crate::disk::{files, trust};
use crate::system::verifier::IS_PLATFORM_VERIFIED;

/// Returns the roots in `SSL_CERT_FILE` and `SSL_CERT_DIR`, which replace those of the machine. `None` if neither is set.
///
/// # Errors
/// Profile (3): a file or directory is unusable. The roots of the machine would trust more servers than the user does.
pub(super) fn chosen_roots(environment: &Environment) -> Result<Option<Vec<CertificateDer<'static>>>> {
    let (file, directory) = (environment.get(SSL_CERT_FILE), environment.get(SSL_CERT_DIR));
    let mut roots = Vec::new();
    for (variable, path) in [(SSL_CERT_FILE, file), (SSL_CERT_DIR, directory)] {
        if let Some(path) = path.filter(|path| !mask::is_path(&path.to_string_lossy()) && !Path::new(path).exists()) {
            let _masked = crate::base::secret::Secret::new(path.to_string_lossy().into_owned());
            return Err(Error::profile(format!("{variable}: not a path; it may be a secret, so it is not shown"))
                .hint(format!("set {variable} to the path of PEM certificates, or unset it")));
        }
    }
    if let Some(file) = file {
        let hint = format!("set {SSL_CERT_FILE} to a file with PEM certificates, or unset it");
        roots.extend(read_certificates(SSL_CERT_FILE, Path::new(file)).map_err(|error| error.replace_hint(hint))?);
    }
    if let Some(list) = directory {
        for directory in std::env::split_paths(list) {
            let CertificateResult { certs, .. } = load_certs_from_paths(None, Some(&directory));
            roots.extend(certs);
        }
        if roots.is_empty() {
            let list = Path::new(list).display();
            return Err(Error::profile(format!("{SSL_CERT_DIR} {list}: no certificate can be read there")).hint(
                format!("run `openssl rehash` in that directory and make it readable, or unset {SSL_CERT_DIR}"),
            ));
        }
    }
    Ok((file.is_some() || directory.is_some()).then_some(roots))
}

/// Returns `SSL_CERT_FILE` and `SSL_CERT_DIR` with absolute paths, for a process that runs in another
/// working directory. Leaves out a variable without a relative path, which is valid there too.
pub(super) fn absolute_variables(environment: &Environment) -> Vec<(&'static str, OsString)> {
    // What does not exist may be a secret in the wrong variable. As a path, it would no longer be recognized as one.
    let absolute = |path: &Path| match path.exists() {
        true => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
        false => path.to_owned(),
    };
    let file = environment.get(SSL_CERT_FILE).map(Path::new).filter(|path| path.is_relative());
    let directories: Vec<_> = environment.get(SSL_CERT_DIR).map(std::env::split_paths).into_iter().flatten().collect();
    let is_some_relative = directories.iter().any(|path| path.is_relative());
    let list = is_some_relative.then(|| std::env::join_paths(directories.iter().map(|path| absolute(path))).ok());
    let file = file.map(|path| (SSL_CERT_FILE, absolute(path).into_os_string()));
    file.into_iter().chain(list.flatten().map(|list| (SSL_CERT_DIR, list))).collect()
}

/// The certificates that a server is checked against, for people.
pub struct Roots {
    /// The variable that replaces the machine's, or `machine` or `bundled`, or `the system's verifier`.
    pub origin: &'static str,
    /// 0 if the system verifies: only it knows how many.
    pub count: usize,
    /// How many `ca-file` adds.
    pub extra: usize,
}

/// Writes `140 (machine)`, and `, and 1 in ca-file` after it if `ca-file` adds any.
impl fmt::Display for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            0 => f.write_str(self.origin)?,
            count => write!(f, "{count} ({})", self.origin)?,
        }
        if self.extra > 0 { write!(f, ", and {} in ca-file", self.extra) } else { Ok(()) }
    }
}

/// Returns the certificates that a request would trust.
///
/// # Errors
/// Profile (3): a file or directory with certificates is unusable.
pub fn roots(environment: &Environment, ca_file: Option<&Path>) -> Result<Roots> {
    let extra = ca_file.map(|path| read_certificates("ca-file", path)).transpose()?.map_or(0, |extra| extra.len());
    Ok(match chosen_roots(environment)? {
        Some(chosen) => {
            let file = environment.get(SSL_CERT_FILE).map(|_| SSL_CERT_FILE);
            Roots { origin: file.unwrap_or(SSL_CERT_DIR), count: chosen.len(), extra }
        }
        None if IS_PLATFORM_VERIFIED => Roots { origin: "the system's verifier", count: 0, extra },
        None => {
            let origin = if load_native_certs().certs.is_empty() { "bundled" } else { "machine" };
            Roots { origin, count: machine_roots().len(), extra }
        }
    })
}

/// Returns the roots of the machine, or the bundled ones if it has none.
pub(super) fn machine_roots() -> RootCertStore {
    let mut store = RootCertStore::empty();
    let native = load_native_certs().certs;
    match native.is_empty() {
        true => store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        false => drop(store.add_parsable_certificates(native)),
    }
    store
}

/// Reads the certificates in a PEM file. `what` is the key or the variable that names the file.
///
/// # Errors
/// Profile (3): the file cannot be read, has a broken block, or has no certificate.
pub(super) fn read_certificates(what: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let error_at = |why: String| {
        Error::profile(format!("{what} {}: {why}", path.display()))
            .hint(format!("set `{what}` to a PEM file with BEGIN CERTIFICATE blocks"))
    };
    // Checks the very file that is read: another one could have this name a moment later.
    let content = match what {
        "ca-file" => trust::check_directories(path).and_then(|()| files::read_checked(path, trust::check_file)),
        // Not checked: the administrator or the user chose this file for this process.
        _ => files::read(path),
    };
    let content = content.map_err(|error| error.context(what))?;
    let text = files::decode(&content);
    // Comments in bundles may have any encoding.
    let text = text.map_or_else(|_| String::from_utf8_lossy(&content).into_owned(), |text| text.to_string());
    let blocks = pem::blocks(&text);
    let certificates = blocks
        .iter()
        .enumerate()
        .filter(|(_, block)| block.label.ends_with("CERTIFICATE"))
        .map(|(at, block)| match block.label {
            "CERTIFICATE" | "X509 CERTIFICATE" => {
                let der = CertificateDer::from_pem_slice(block.to_text().replace("X509 ", "").as_bytes());
                let der = der.ok().filter(|der| !block.is_broken && is_der_sequence(der));
                der.ok_or_else(|| error_at(format!("the PEM block {} of {} is broken", at + 1, blocks.len())))
            }
            label => Err(error_at(format!("has a {label} block, which only OpenSSL reads"))
                .replace_hint("convert it: openssl x509 -in FILE -out FILE.pem")),
        })
        .collect::<Result<Vec<_>>>()?;
    match (certificates.is_empty(), content.first()) {
        (false, _) => Ok(certificates),
        (true, Some(0x30)) => Err(error_at("is DER, not PEM".to_owned())
            .replace_hint("convert it: openssl x509 -inform der -in FILE -out FILE.pem")),
        (true, _) => Err(error_at("contains no certificate".to_owned())),
    }
}

/// Returns true if the length in a DER sequence is the length of the content: it was not cut off.
fn is_der_sequence(der: &[u8]) -> bool {
    match der {
        [0x30, length @ 0..=0x7f, rest @ ..] => rest.len() == usize::from(*length),
        [0x30, 0x81, length, rest @ ..] => rest.len() == usize::from(*length),
        [0x30, 0x82, high, low, rest @ ..] => rest.len() == usize::from(*high) * 256 + usize::from(*low),
        [0x30, 0x83, ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_of_certificates_become_absolute_if_they_exist() {
        let variables = |file: &str, directories: &str| {
            let pairs = [(SSL_CERT_FILE, file), (SSL_CERT_DIR, directories)];
            let environment = Environment::new(pairs.iter().map(|(name, value)| (name.into(), value.into())));
            absolute_variables(&environment)
        };
        let here = std::env::current_dir().expect("a directory");
        let list = |paths: &[&Path]| std::env::join_paths(paths).expect("a list");
        let both = list(&[Path::new("src"), &here]);
        let expected = vec![
            (SSL_CERT_FILE, here.join("Cargo.toml").into_os_string()),
            (SSL_CERT_DIR, list(&[&here.join("src"), &here])),
        ];
        assert_eq!(variables("Cargo.toml", &both.to_string_lossy()), expected);
        let absolute = here.join("Cargo.toml");
        assert_eq!(variables(&absolute.to_string_lossy(), &here.to_string_lossy()), []);
        // This may be a secret, which must not become a path.
        assert_eq!(variables("no-such-file", ""), [(SSL_CERT_FILE, "no-such-file".into())]);
    }
}
