//! Authorized keys of service accounts, and every form of key file in use.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rand::Rng;
use rsa::RsaPrivateKey;
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey, EncodePublicKey, LineEnding};
use serde_json::{Value, json};

/// An RSA key with its PEM forms, which take time to create.
pub struct RsaKey {
    /// The key itself.
    pub private: RsaPrivateKey,
    pkcs8: String,
    pkcs1: String,
    public: String,
    bits: usize,
}

impl RsaKey {
    /// Creates a key. 2048 bits take a moment, 4096 take seconds.
    pub fn generate(bits: usize) -> Arc<RsaKey> {
        let private = RsaPrivateKey::new(&mut rand::thread_rng(), bits).expect("an RSA key of a sensible size");
        let pkcs8 = private.to_pkcs8_pem(LineEnding::LF).expect("PKCS#8").to_string();
        let pkcs1 = private.to_pkcs1_pem(LineEnding::LF).expect("PKCS#1").to_string();
        let public = private.to_public_key().to_public_key_pem(LineEnding::LF).expect("a public key's PEM");
        Arc::new(RsaKey { private, pkcs8, pkcs1, public, bits })
    }

    /// Returns a key of 2048 bits that is shared within the process. Key ids and accounts still differ.
    pub fn shared() -> Arc<RsaKey> {
        static KEY: OnceLock<Arc<RsaKey>> = OnceLock::new();
        Arc::clone(KEY.get_or_init(|| RsaKey::generate(2048)))
    }

    /// Returns another shared key, for signatures that must be rejected.
    pub fn another() -> Arc<RsaKey> {
        static KEY: OnceLock<Arc<RsaKey>> = OnceLock::new();
        Arc::clone(KEY.get_or_init(|| RsaKey::generate(2048)))
    }

    /// Returns the private key as PKCS#8 in DER.
    pub fn pkcs8_der(&self) -> Vec<u8> {
        self.private.to_pkcs8_der().expect("PKCS#8").as_bytes().to_vec()
    }
}

/// Returns a new resource id of 20 characters, the form of all ids in IAM.
pub fn new_id() -> String {
    let mut random = rand::thread_rng();
    let tail = (0..17).map(|_| char::from(b"0123456789abcdefghijklmnopqrstuv"[random.gen_range(0..32)]));
    "aje".chars().chain(tail).collect()
}

/// An authorized key, with which a service account signs its JWTs.
#[derive(Clone)]
pub struct AuthorizedKey {
    /// The key's id, a JWT's `kid`.
    pub id: String,
    /// The account's id, a JWT's `iss`.
    pub service_account_id: String,
    /// When it was created. Newer files carry nanoseconds.
    pub created_at: String,
    /// The key.
    pub rsa: Arc<RsaKey>,
}

impl AuthorizedKey {
    /// Creates a key for this account. No emulator knows it yet.
    pub fn new(service_account_id: &str, rsa: Arc<RsaKey>) -> AuthorizedKey {
        let created_at = "2026-03-10T19:16:05.289441568Z".to_owned();
        AuthorizedKey { id: new_id(), service_account_id: service_account_id.to_owned(), created_at, rsa }
    }

    /// Returns the key file that `yc iam key create` writes today, to be varied by the methods of `KeyFile`.
    pub fn file(&self) -> KeyFile<'_> {
        KeyFile {
            key: self,
            form: Form::Snake,
            line: true,
            ends: Ends::Lf,
            pkcs1: false,
            user: false,
            escaped: false,
            trailing: 0,
        }
    }

    /// Writes the usual file, mode 0600.
    pub fn write(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.file().write(path)
    }
}

/// The shape of the JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `service_account_id`, as the Go SDK and yc write it (go-sdk v2, pkg/iamkey/key.go).
    Snake,
    /// `serviceAccountId`, which the Go SDK reads as well.
    Camel,
    /// The response of `POST /iam/v1/keys` (cloudapi key_service.proto, CreateKeyResponse):
    /// `{"key":{…},"privateKey":"…"}`.
    CreateKeyResponse,
}

/// How the lines of the PEM end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// LF.
    Lf,
    /// CR LF, as on Windows.
    CrLf,
    /// A backslash and an `n`, as in a key that went through an environment variable.
    Literal,
}

/// A key file to be varied and written.
#[derive(Clone)]
pub struct KeyFile<'a> {
    key: &'a AuthorizedKey,
    form: Form,
    line: bool,
    ends: Ends,
    pkcs1: bool,
    user: bool,
    escaped: bool,
    trailing: usize,
}

impl KeyFile<'_> {
    /// Sets the shape of the JSON.
    #[must_use]
    pub fn form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    /// Omits the line `PLEASE DO NOT REMOVE THIS LINE! …` in front of the PEM, as older keys do.
    #[must_use]
    pub fn without_line(mut self) -> Self {
        self.line = false;
        self
    }

    /// Sets the line ends of the PEM.
    #[must_use]
    pub fn ends(mut self, ends: Ends) -> Self {
        self.ends = ends;
        self
    }

    /// Writes `BEGIN RSA PRIVATE KEY` in place of PKCS#8.
    #[must_use]
    pub fn pkcs1(mut self) -> Self {
        self.pkcs1 = true;
        self
    }

    /// Makes it the key of a user account, which the cloud does not support (go-sdk v2, credentials/user_account.go).
    #[must_use]
    pub fn user_account(mut self) -> Self {
        self.user = true;
        self
    }

    /// Escapes `<` and `>` in the JSON, as Go's encoder does.
    #[must_use]
    pub fn escaped(mut self) -> Self {
        self.escaped = true;
        self
    }

    /// Adds this many blank lines after the PEM.
    #[must_use]
    pub fn trailing_lines(mut self, count: usize) -> Self {
        self.trailing = count;
        self
    }

    /// Returns the private key of the file, before JSON escapes it.
    pub fn pem(&self) -> String {
        let mut pem = match self.pkcs1 {
            true => self.key.rsa.pkcs1.clone(),
            false => self.key.rsa.pkcs8.clone(),
        };
        if self.line {
            pem = format!("PLEASE DO NOT REMOVE THIS LINE! Yandex.Cloud SA Key ID <{}>\n{pem}", self.key.id);
        }
        pem += &"\n".repeat(self.trailing);
        match self.ends {
            Ends::Lf => pem,
            Ends::CrLf => pem.replace('\n', "\r\n"),
            Ends::Literal => pem.replace('\n', "\\n"),
        }
    }

    /// Returns the file's contents.
    pub fn json(&self) -> String {
        let AuthorizedKey { id, service_account_id: owner, created_at, rsa } = self.key;
        let algorithm = format!("RSA_{}", rsa.bits);
        let value: Value = match self.form {
            Form::Snake => {
                let account = if self.user { "user_account_id" } else { "service_account_id" };
                json!({
                    "id": id, account: owner, "created_at": created_at, "key_algorithm": algorithm,
                    "public_key": rsa.public, "private_key": self.pem(),
                })
            }
            Form::Camel | Form::CreateKeyResponse => {
                let account = if self.user { "userAccountId" } else { "serviceAccountId" };
                let key = json!({
                    "id": id, account: owner, "createdAt": created_at,
                    "keyAlgorithm": algorithm, "publicKey": rsa.public,
                });
                match (self.form, key) {
                    (Form::Camel, Value::Object(mut key)) => {
                        key.insert("privateKey".to_owned(), self.pem().into());
                        Value::Object(key)
                    }
                    (_, key) => json!({"key": key, "privateKey": self.pem()}),
                }
            }
        };
        let text = serde_json::to_string_pretty(&value).unwrap_or_default();
        match self.escaped {
            // Only strings hold angle brackets, so replacing them in the whole file is safe.
            true => text.replace('<', "\\u003c").replace('>', "\\u003e"),
            false => text,
        }
    }

    /// Writes the file, mode 0600.
    pub fn write(&self, path: impl AsRef<Path>) -> io::Result<()> {
        write_private(path.as_ref(), &self.json())
    }
}

/// Writes a file that is created with mode 0600.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_key_files_in_every_form() {
        let key = AuthorizedKey::new("ajeq7dsmihqple6761c5", RsaKey::shared());
        let read = |file: KeyFile<'_>| serde_json::from_str::<Value>(&file.json()).unwrap();
        let snake = read(key.file());
        assert_eq!(snake["service_account_id"], key.service_account_id.as_str());
        assert_eq!(snake["key_algorithm"], "RSA_2048");
        let line = format!(
            "PLEASE DO NOT REMOVE THIS LINE! Yandex.Cloud SA Key ID <{}>\n-----BEGIN PRIVATE KEY-----\n",
            key.id
        );
        assert!(snake["private_key"].as_str().unwrap().starts_with(&line));
        assert!(key.file().escaped().json().contains("\\u003caje"));
        assert_eq!(read(key.file().escaped()), snake);
        let bare = read(key.file().without_line().form(Form::Camel));
        assert!(bare["privateKey"].as_str().unwrap().starts_with("-----BEGIN PRIVATE KEY-----\n"));
        let rest = read(key.file().form(Form::CreateKeyResponse).pkcs1());
        assert_eq!(rest["key"]["id"], key.id.as_str());
        assert!(rest["privateKey"].as_str().unwrap().contains("\n-----BEGIN RSA PRIVATE KEY-----\n"));
        assert!(read(key.file().ends(Ends::CrLf))["private_key"].as_str().unwrap().ends_with("-----\r\n"));
        assert!(read(key.file().ends(Ends::Literal))["private_key"].as_str().unwrap().ends_with("-----\\n"));
        assert!(read(key.file().user_account())["service_account_id"].is_null());
        assert!(read(key.file().trailing_lines(2))["private_key"].as_str().unwrap().ends_with("-----\n\n\n"));
    }
}
