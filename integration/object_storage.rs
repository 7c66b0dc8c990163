//! Emulates Object Storage: the operations that clients need to store and fetch an object.
//!
//! Every request must have a valid AWS Signature Version 4, made with a valid access key of the emulator.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use ring::{digest, hmac};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::emulator::Emulator;
use crate::emulator::access_keys::AccessKey;
use crate::server::{Request, Response, Server, decode};

/// The modification time of every object.
const MODIFIED: &str = "Thu, 01 Jan 2026 00:00:00 GMT";
/// The maximum difference between the time in a request and the server's.
const MAX_SKEW: Duration = Duration::from_secs(15 * 60);

/// A running server. Dropping it stops the server.
pub struct ObjectStorage {
    server: Server,
    state: Arc<State>,
}

struct State {
    emulator: Arc<Emulator>,
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    /// All requests so far.
    log: Mutex<Vec<Entry>>,
}

/// A request, and the key that signed it or the error code.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The method and the target.
    pub request: String,
    pub key: Result<AccessKey, &'static str>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ObjectStorage {
    pub fn start(emulator: Arc<Emulator>) -> ObjectStorage {
        let state = Arc::new(State { emulator, objects: Mutex::default(), log: Mutex::default() });
        let server = Server::start(None, {
            let state = Arc::clone(&state);
            move |request| state.respond(request)
        });
        ObjectStorage { server, state }
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Returns an object by `/bucket/key`.
    pub fn object(&self, path: &str) -> Option<Vec<u8>> {
        lock(&self.state.objects).get(path).cloned()
    }

    pub fn log(&self) -> Vec<Entry> {
        lock(&self.state.log).clone()
    }
}

impl State {
    fn respond(&self, request: &Request) -> Response {
        let key =
            check(request, self.emulator.now(), |id| self.emulator.access_keys().into_iter().find(|key| key.id == id));
        let line = format!("{} {}", request.method, request.target);
        lock(&self.log).push(Entry { request: line, key: key.clone() });
        match key {
            Ok(_) => self.serve(request),
            Err(code) => error(403, code),
        }
    }

    fn serve(&self, request: &Request) -> Response {
        let mut objects = lock(&self.objects);
        let path = decode(&request.path);
        let is_bucket = path.trim_matches('/').split('/').count() == 1;
        match (request.method.as_str(), is_bucket) {
            ("PUT", false) => {
                objects.insert(path, request.body.clone());
                Response::new(200).header("ETag", etag(&request.body))
            }
            ("GET" | "HEAD", false) => match objects.get(&path) {
                Some(body) => Response::typed(200, "application/octet-stream", body.clone())
                    .header("ETag", etag(body))
                    .header("Last-Modified", MODIFIED),
                None => error(404, "NoSuchKey"),
            },
            ("DELETE", false) => {
                objects.remove(&path);
                Response::new(204)
            }
            ("HEAD", true) => Response::new(200),
            ("GET", true) => {
                let bucket = format!("/{}/", path.trim_matches('/'));
                let prefix = format!("{bucket}{}", request.parameter("prefix").unwrap_or_default());
                let matching = objects.iter().filter(|(path, _)| path.starts_with(&prefix));
                let contents: String = matching
                    .map(|(path, body)| {
                        format!(
                            "<Contents><Key>{}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>{}</ETag>\
                             <Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>",
                            &path[bucket.len()..],
                            etag(body).replace('"', "&quot;"),
                            body.len()
                        )
                    })
                    .collect();
                xml(
                    200,
                    &format!(
                        "<ListBucketResult><Name>{}</Name><KeyCount>{}</KeyCount><MaxKeys>1000</MaxKeys>\
                         <IsTruncated>false</IsTruncated>{contents}</ListBucketResult>",
                        bucket.trim_matches('/'),
                        contents.matches("<Contents>").count()
                    ),
                )
            }
            _ => error(405, "MethodNotAllowed"),
        }
    }
}

fn xml(status: u16, body: &str) -> Response {
    Response::typed(status, "application/xml", format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}"))
}

fn error(status: u16, code: &str) -> Response {
    xml(status, &format!("<Error><Code>{code}</Code><Message>{code}, from the test server</Message></Error>"))
}

/// Returns an ETag in the form of a multipart upload. Clients would compare any other form with the MD5 of the object.
fn etag(body: &[u8]) -> String {
    format!("\"{}-1\"", &sha256(body)[..32])
}

// ------------------------------------------------------------------------------------------------------------ signatures

/// Checks the signature of a request. Returns the key that signed it.
///
/// # Errors
/// The error code of S3.
fn check(
    request: &Request,
    now: SystemTime,
    key_of: impl Fn(&str) -> Option<AccessKey>,
) -> Result<AccessKey, &'static str> {
    let header = |name: &str| request.header(name).unwrap_or_default();
    let fields = header("authorization").strip_prefix("AWS4-HMAC-SHA256 ").ok_or("AccessDenied")?;
    let field = |name: &str| fields.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
    let scope = field("Credential").ok_or("AuthorizationHeaderMalformed")?;
    let [id, date, region, "s3", "aws4_request"] = scope.split('/').collect::<Vec<_>>()[..] else {
        return Err("AuthorizationHeaderMalformed");
    };
    let key = key_of(id).ok_or("InvalidAccessKeyId")?;
    let signed: Vec<&str> = field("SignedHeaders").unwrap_or_default().split(';').collect();
    for name in ["host", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token"] {
        if !signed.contains(&name) {
            return Err("AccessDenied");
        }
    }
    if header("x-amz-security-token") != key.session_token {
        return Err("InvalidToken");
    }
    let stamp = header("x-amz-date");
    let signed_at = parse_time(stamp).ok_or("AccessDenied")?;
    if (OffsetDateTime::from(now) - signed_at).unsigned_abs() > MAX_SKEW || !stamp.starts_with(date) {
        return Err("RequestTimeTooSkewed");
    }
    let payload = header("x-amz-content-sha256");
    if payload != "UNSIGNED-PAYLOAD" && payload != sha256(&request.body) {
        return Err("XAmzContentSHA256Mismatch");
    }
    let canonical = canonical_request(request, &signed, payload);
    let to_sign =
        format!("AWS4-HMAC-SHA256\n{stamp}\n{date}/{region}/s3/aws4_request\n{}", sha256(canonical.as_bytes()));
    if field("Signature") != Some(&signature(&key.secret, [date, region, "s3", "aws4_request"], &to_sign)) {
        return Err("SignatureDoesNotMatch");
    }
    if key.expires <= now { Err("ExpiredToken") } else { Ok(key) }
}

/// Reads `20130524T000000Z`.
fn parse_time(stamp: &str) -> Option<OffsetDateTime> {
    let (date, time) = stamp.strip_suffix('Z')?.split_once('T')?;
    let part = |digits: &str, at: usize, length: usize| digits.get(at..at + length).map(str::to_owned);
    let date = [part(date, 0, 4)?, part(date, 4, 2)?, part(date, 6, 2)?].join("-");
    let time = [part(time, 0, 2)?, part(time, 2, 2)?, part(time, 4, 2)?].join(":");
    OffsetDateTime::parse(&format!("{date}T{time}Z"), &Rfc3339).ok()
}

/// Returns the canonical request. S3 does not encode paths a second time, so the path stays as it was sent.
fn canonical_request(request: &Request, signed: &[&str], payload: &str) -> String {
    let mut query: Vec<String> = request
        .query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| if pair.contains('=') { pair.to_owned() } else { format!("{pair}=") })
        .collect();
    query.sort();
    let headers: String = signed
        .iter()
        .map(|name| {
            let values: Vec<String> = request
                .headers()
                .iter()
                .filter(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.split_whitespace().collect::<Vec<_>>().join(" "))
                .collect();
            format!("{name}:{}\n", values.join(","))
        })
        .collect();
    let (path, query, names) = (&request.path, query.join("&"), signed.join(";"));
    format!("{}\n{path}\n{query}\n{headers}\n{names}\n{payload}", request.method)
}

fn signature(secret: &str, scope: [&str; 4], to_sign: &str) -> String {
    let first = format!("AWS4{secret}").into_bytes();
    let key = scope.iter().fold(first, |key, part| mac(&key, part.as_bytes()));
    hex(&mac(&key, to_sign.as_bytes()))
}

fn mac(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), bytes).as_ref().to_vec()
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "Example: GET Object" in Amazon's documentation.
    #[test]
    fn a_signature_matches_the_example_of_amazon() {
        let canonical = "GET\n/test.txt\n\nhost:examplebucket.s3.amazonaws.com\nrange:bytes=0-9\n\
                         x-amz-content-sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n\
                         x-amz-date:20130524T000000Z\n\nhost;range;x-amz-content-sha256;x-amz-date\n\
                         e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let hash = sha256(canonical.as_bytes());
        assert_eq!(hash, "7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972");
        let to_sign = format!("AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n{hash}");
        assert_eq!(
            signature(
                "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                ["20130524", "us-east-1", "s3", "aws4_request"],
                &to_sign
            ),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
    }
}
