//! A stand-in for Object Storage: the few operations that clients need to store and fetch an object, for those alone whose
//! signature (AWS Signature Version 4) is by a living access key of the emulator's.
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

/// When every object was last modified.
const MODIFIED: &str = "Thu, 01 Jan 2026 00:00:00 GMT";
/// How far a request's time may be from the server's.
const DRIFT: Duration = Duration::from_secs(15 * 60);

/// A running stand-in. Dropping it ends it.
pub struct ObjectStorage {
    server: Server,
    state: Arc<State>,
}

struct State {
    emulator: Arc<Emulator>,
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    /// Each request: what it was, by whose key, and how it ended.
    log: Mutex<Vec<Entry>>,
}

/// A request, as it was judged.
#[derive(Debug, Clone)]
pub struct Entry {
    pub what: String,
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
            move |request| state.answer(request)
        });
        ObjectStorage { server, state }
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    /// An object by `/bucket/key`.
    pub fn object(&self, path: &str) -> Option<Vec<u8>> {
        lock(&self.state.objects).get(path).cloned()
    }

    pub fn log(&self) -> Vec<Entry> {
        lock(&self.state.log).clone()
    }
}

impl State {
    fn answer(&self, request: &Request) -> Response {
        let verdict =
            judge(request, self.emulator.now(), |id| self.emulator.access_keys().into_iter().find(|key| key.id == id));
        let what = format!("{} {}", request.method, request.target);
        lock(&self.log).push(Entry { what, key: verdict.clone() });
        match verdict {
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
                let found = objects.iter().filter(|(path, _)| path.starts_with(&prefix));
                let contents: String = found
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
    xml(status, &format!("<Error><Code>{code}</Code><Message>{code}, says the stand-in</Message></Error>"))
}

/// In the form of an object that came in parts, or clients take it for an MD5.
fn etag(body: &[u8]) -> String {
    format!("\"{}-1\"", &sha256(body)[..32])
}

// ------------------------------------------------------------------------------------------------------------ signatures

/// Whose request it is; or the code of the error, as S3 names it.
fn judge(
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
    let signed_at = moment(stamp).ok_or("AccessDenied")?;
    if (OffsetDateTime::from(now) - signed_at).unsigned_abs() > DRIFT || !stamp.starts_with(date) {
        return Err("RequestTimeTooSkewed");
    }
    let payload = header("x-amz-content-sha256");
    if payload != "UNSIGNED-PAYLOAD" && payload != sha256(&request.body) {
        return Err("XAmzContentSHA256Mismatch");
    }
    let canonical = canonical(request, &signed, payload);
    let text = format!("AWS4-HMAC-SHA256\n{stamp}\n{date}/{region}/s3/aws4_request\n{}", sha256(canonical.as_bytes()));
    if field("Signature") != Some(&signature(&key.secret, [date, region, "s3", "aws4_request"], &text)) {
        return Err("SignatureDoesNotMatch");
    }
    if key.expires <= now { Err("ExpiredToken") } else { Ok(key) }
}

/// Reads `20130524T000000Z`.
fn moment(stamp: &str) -> Option<OffsetDateTime> {
    let (date, time) = stamp.strip_suffix('Z')?.split_once('T')?;
    let part = |text: &str, at: usize, length: usize| text.get(at..at + length).map(str::to_owned);
    let date = [part(date, 0, 4)?, part(date, 4, 2)?, part(date, 6, 2)?].join("-");
    let time = [part(time, 0, 2)?, part(time, 2, 2)?, part(time, 4, 2)?].join(":");
    OffsetDateTime::parse(&format!("{date}T{time}Z"), &Rfc3339).ok()
}

/// What is signed of a request. S3 encodes paths once, so they are taken as they were sent.
fn canonical(request: &Request, signed: &[&str], payload: &str) -> String {
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

fn signature(secret: &str, scope: [&str; 4], text: &str) -> String {
    let first = format!("AWS4{secret}").into_bytes();
    let key = scope.iter().fold(first, |key, part| mac(&key, part.as_bytes()));
    hex(&mac(&key, text.as_bytes()))
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
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

    /// The example of Amazon's documentation, "Example: GET Object".
    #[test]
    fn signatures_are_as_amazon_has_them() {
        let canonical = "GET\n/test.txt\n\nhost:examplebucket.s3.amazonaws.com\nrange:bytes=0-9\n\
                         x-amz-content-sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n\
                         x-amz-date:20130524T000000Z\n\nhost;range;x-amz-content-sha256;x-amz-date\n\
                         e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let hash = sha256(canonical.as_bytes());
        assert_eq!(hash, "7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972");
        let text = format!("AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n{hash}");
        assert_eq!(
            signature(
                "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                ["20130524", "us-east-1", "s3", "aws4_request"],
                &text
            ),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
    }
}
