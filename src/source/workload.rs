//! `workload`: a token of another issuer (GitHub Actions, GitLab, Kubernetes, any OIDC provider), exchanged for one of a
//! service account (RFC 8693).
//!
//! Facts: docs `iam/operations/wlif/setup-wlif.md`. The cloud knows the issuer as a workload identity federation, with
//! the audiences that its tokens may name; a federated credential of the account names one subject of it, and the
//! token's `sub` must be exactly that.

use std::fmt;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use crate::base::clock::{Timestamp, clock_off, human};
use crate::base::environment as env;
use crate::base::environment::Environment;
use crate::base::error::{Error, Kind, Result};
use crate::base::hosts::{Host, Scheme, is_loopback};
use crate::base::identity::Identity;
use crate::base::secret::Secret;
use crate::base::token::Credential;
use crate::cloud::http::failure::Explained;
use crate::cloud::http::{CONNECT, Request};
use crate::cloud::installation::Installation;
use crate::cloud::{Context, auth};
use crate::disk::files;
use crate::profile::{Key, Settings, is_account_id};
use crate::source::{Caching, Found, Grant, Opening, Source, external};

pub const SOURCE: Source = Source {
    name: "workload",
    about: "a token of GitHub, GitLab, Kubernetes or another issuer, by workload identity federation",
    keys: &[
        Key { name: "service-account-id", value: "ACCOUNT", about: "the service account whose token is wanted" },
        Key { name: FILE, value: "FILE", about: "the file that holds the issuer's token, read anew each time" },
        Key { name: VARIABLE, value: "VARIABLE", about: "the environment variable that holds it" },
        Key { name: COMMAND, value: "COMMAND", about: "the command that prints it: [\"prog\", \"arg\"]" },
        Key { name: GITHUB, value: "AUDIENCE", about: "in GitHub Actions: ask GitHub for one with this audience" },
    ],
    max_age: None,
    open,
    from_environment,
};

// The ways to the subject token, of which a profile has one.
const FILE: &str = "subject-token-file";
const VARIABLE: &str = "subject-token-env";
const COMMAND: &str = "subject-token-command";
/// Its tokens come from variables that are secrets as well: see [`Settings::secret_variables`].
pub const GITHUB: &str = "github-audience";
const WAYS: &[&str] = &[FILE, VARIABLE, COMMAND, GITHUB];

fn open(opening: &Opening<'_>) -> Result<Box<dyn Grant>> {
    let settings = opening.settings;
    let account = settings.text("service-account-id")?.ok_or_else(|| {
        settings
            .missing("source \"workload\" needs `service-account-id`")
            .hint("write service-account-id = \"ID\" (for `ycred init`: --service-account-id ID), the account that has the federated credential")
    })?;
    if !is_account_id(account) {
        return Err(
            settings.complain("service-account-id", &format!("is \"{account}\", which is not a service account's id"))
        );
    }
    let identity = Identity::of(SOURCE.name).with("auth-url", &opening.installation.auth_url);
    let identity = identity.with_some("ca-file", opening.profile.ca_file.as_ref()).with("service-account-id", account);
    let (origin, identity) = choose(opening, identity)?;
    Ok(Box::new(Workload {
        account: account.to_owned(),
        origin,
        identity,
        installation: opening.installation.clone(),
        caching: opening.caching,
    }))
}

/// Where the subject token comes from, and what of it belongs to the identity.
fn choose(opening: &Opening<'_>, identity: Identity) -> Result<(Origin, Identity)> {
    let settings = opening.settings;
    let found = WAYS.iter().filter(|way| settings.has(way)).count();
    if found > 1 {
        let why = format!("source \"workload\" needs one of {}, and has {found}", WAYS.join(", "));
        return Err(settings.missing(&why));
    }
    if let Some(token) = opening.subject {
        let token = subject_token(token.expose())
            .map_err(|why| Error::refused(format!("the subject token that came with the request {why}")))?;
        let identity = identify(identity, "request", &token);
        return Ok((Origin::Request(token), identity));
    }
    if let Some(path) = settings.path(FILE)? {
        // What is in it is replaced every few minutes, and speaks for the same subject: its path alone counts.
        let identity = identity.with(FILE, &path);
        return Ok((Origin::File(path), identity));
    }
    if let Some((variable, value)) = settings.variable(VARIABLE)? {
        let token = subject_token(value)
            .map_err(|why| settings.complain(VARIABLE, &format!("names the variable {variable}, which {why}")))?;
        let identity = identify(identity.with(VARIABLE, variable), VARIABLE, &token);
        return Ok((Origin::Variable(variable.to_owned(), token), identity));
    }
    if settings.has(COMMAND) {
        let command = external::Command::from_settings(settings, COMMAND)?;
        let identity = command.identify(identity, COMMAND);
        return Ok((Origin::Command(command), identity));
    }
    if let Some(audience) = settings.text(GITHUB)? {
        let github = GitHub::of(settings, audience)?;
        let identity = identity.with(GITHUB, audience).with("github-url", &github.url).with_secret(
            "github-token",
            env::ACTIONS_ID_TOKEN_REQUEST_TOKEN,
            github.token.expose().as_bytes(),
        );
        return Ok((Origin::GitHub(github), identity));
    }
    let (why, hint) = match settings.file {
        Some(_) => (
            format!("source \"workload\" needs one of {}, or a client that sends a token of its own", WAYS.join(", ")),
            "write subject-token-file = \"PATH\", or see docs/workload.md for GitHub, GitLab and Kubernetes",
        ),
        None => (
            format!("{} is set, and no way to a subject token", env::YCRED_SERVICE_ACCOUNT_ID),
            "set YCRED_SUBJECT_TOKEN_FILE; in GitHub Actions give the job `permissions: id-token: write` \
             (and YCRED_GITHUB_AUDIENCE where GITHUB_REPOSITORY_OWNER is not set)",
        ),
    };
    Err(settings.missing(&why).hint(hint))
}

/// `YCRED_SERVICE_ACCOUNT_ID` with a file, or with what a job of GitHub Actions has. Alone it serves where nothing else
/// is set, to say what is missing, or for a client that sends a subject token.
fn from_environment(environment: &Environment) -> Option<Found> {
    let text = |name: &str| environment.get(name).map(|value| value.to_string_lossy().into_owned());
    let mut settings = vec![("service-account-id", text(env::YCRED_SERVICE_ACCOUNT_ID)?)];
    if let Some(path) = text(env::YCRED_SUBJECT_TOKEN_FILE) {
        settings.push((FILE, path));
        return Some((4, settings));
    }
    let is_github = [env::ACTIONS_ID_TOKEN_REQUEST_URL, env::ACTIONS_ID_TOKEN_REQUEST_TOKEN]
        .iter()
        .all(|name| environment.get(name).is_some());
    // The audience that yc-actions/yc-iam-token-fed asks for.
    let of_owner = || text(env::GITHUB_REPOSITORY_OWNER).map(|owner| format!("https://github.com/{owner}"));
    match text(env::YCRED_GITHUB_AUDIENCE).or_else(of_owner).filter(|_| is_github) {
        Some(audience) => {
            settings.push((GITHUB, audience));
            Some((4, settings))
        }
        None => Some((6, settings)),
    }
}

struct Workload {
    account: String,
    origin: Origin,
    identity: Identity,
    installation: Installation,
    caching: Caching,
}

impl Grant for Workload {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn caching(&self) -> Caching {
        self.caching
    }

    fn fetch(&self, cx: &Context<'_>) -> Result<Credential> {
        let subject = self.origin.read(cx)?;
        let claims = Claims::read(subject.expose());
        cx.notes.debug(|| {
            let whose = claims.as_ref().map_or_else(|| "which is no JWT".to_owned(), Claims::to_string);
            format!("{}: exchanges the {}, {whose}", cx.profile, self.origin)
        });
        let parameters = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("audience", &self.account),
            ("subject_token", subject.expose()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
        ];
        auth::token(&self.installation, &parameters, &[], cx)
            .map_err(|error| match error.kind {
                Kind::Refused => self.refused(error, claims.as_ref(), cx),
                _ => error.context(&self.origin),
            })
            .and_then(|granted| granted.credential())
            .map_err(|error| error.context(format!("service account {}", self.account)))
    }

    fn account(&self) -> Result<String> {
        Ok(format!("service account {} (workload identity federation)", self.account))
    }
}

impl Workload {
    /// What the cloud compares stands in the token, and is no secret: told, so that it can be compared by eye.
    fn refused(&self, error: Error, claims: Option<&Claims>, cx: &Context<'_>) -> Error {
        let skew = error.clock_skew.unwrap_or(0);
        if error.reason().contains(&format!("{}: 404", auth::TOKEN_PATH)) {
            return error.context(&self.origin).hint("is that the cloud's auth host? check auth-url in the profile");
        }
        let Some(claims) = claims else {
            return error.context(&self.origin).hint("what was presented is no JWT; it must be an OIDC ID token");
        };
        // Whatever signs on this machine dates by its clock too. It comes first, since claims may fill a line.
        let clock = if skew == 0 { String::new() } else { format!("{}; ", clock_off(skew)) };
        // By the cloud's clock where it told the time; and only now that it has refused, since ours may be wrong.
        let now = cx.clock.now().shifted(skew);
        if let Some(exp) = claims.exp.filter(|exp| *exp <= now) {
            let ago = human(now.since(exp));
            return error
                .context(format!("{} (expired at {exp}, {ago} ago)", self.origin))
                .hint(format!("{clock}{}; it has {claims}", self.origin.renewal()));
        }
        error.context(&self.origin).hint(format!(
            "{clock}the token has {claims}; federation and credential must have exactly these: \
             yc iam workload-identity federated-credential list --service-account-id {}",
            self.account
        ))
    }
}

/// Where the subject token comes from.
enum Origin {
    File(PathBuf),
    Variable(String, Secret),
    Command(external::Command),
    GitHub(GitHub),
    /// From the client, with its request.
    Request(Secret),
}

impl Origin {
    /// # Errors
    /// Profile (3): what the profile names holds no token. Refused (1): what a program or GitHub gave is none.
    fn read(&self, cx: &Context<'_>) -> Result<Secret> {
        match self {
            Self::Variable(_, token) | Self::Request(token) => Ok(token.clone()),
            // No word on its mode: it is short-lived, and whoever mounts it (the kubelet, a CI runner) chooses that.
            Self::File(path) => {
                let text = files::read_text(path).map_err(|error| error.context("subject token file"))?;
                subject_token(&text).map_err(|why| {
                    Error::profile(format!("{self}: {why}")).hint("it must hold the token alone, on one line")
                })
            }
            Self::Command(command) => {
                let output = command.run(cx)?;
                subject_token(output.expose()).map_err(|why| {
                    Error::refused(format!("{command}: what it printed {why}"))
                        .hint("run the command by hand; it must print the token alone, on one line")
                })
            }
            Self::GitHub(github) => github.ask(cx),
        }
    }

    /// How an expired one is mended.
    fn renewal(&self) -> &'static str {
        match self {
            Self::File(_) => "whatever writes the file must renew it",
            Self::Variable(..) => {
                "a variable is not renewed while a job runs: ask for the first token early, or use a file or a command"
            }
            Self::Command(_) => "the command must print a fresh token",
            Self::GitHub(_) => "GitHub must give a fresh token; run the job again",
            Self::Request(_) => "the client must send a fresh token",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "subject token file {}", path.display()),
            Self::Variable(name, _) => write!(f, "subject token in {name}"),
            Self::Command(command) => write!(f, "subject token of {command}"),
            Self::GitHub(_) => f.write_str("ID token of GitHub Actions"),
            Self::Request(_) => f.write_str("subject token of the request"),
        }
    }
}

/// The longest subject token; real ones have 1 to 4 KiB.
const LONGEST: usize = 16 * 1024;

/// A text as a subject token, or why it is none, in words that fit behind what it is.
pub(crate) fn subject_token(text: &str) -> Result<Secret, &'static str> {
    match text.trim() {
        "" => Err("is empty"),
        text if text.len() > LONGEST => Err("is longer than 16 KiB, which no token is"),
        text if !text.bytes().all(|byte| byte.is_ascii_graphic()) => Err("is not one token on one line"),
        text => Ok(Secret::new(text.to_owned())),
    }
}

/// Adds whom a token speaks for, so that a renewed one of the same subject is the same identity, and two subjects never
/// are; a token that is no JWT by its digest.
fn identify(identity: Identity, key: &str, token: &Secret) -> Identity {
    match Claims::read(token.expose()) {
        Some(Claims { iss: Some(iss), sub: Some(sub), .. }) => {
            identity.with("subject-iss", iss).with("subject-sub", sub)
        }
        _ => identity.with_secret("subject", key, token.expose().as_bytes()),
    }
}

/// What a JWT says of itself, unverified: to tell tokens apart and to explain a refusal. The cloud judges it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    pub iss: Option<String>,
    pub sub: Option<String>,
    /// As in the token: a text, or a list of some.
    pub aud: Value,
    pub exp: Option<Timestamp>,
}

impl Claims {
    /// None: it is no JWT (RFC 7519, in JWS compact serialisation).
    pub(crate) fn read(token: &str) -> Option<Self> {
        let mut parts = token.split('.');
        let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return None;
        };
        Self::of_payload(&URL_SAFE_NO_PAD.decode(payload).ok()?)
    }

    pub(crate) fn of_payload(payload: &[u8]) -> Option<Self> {
        let Ok(Value::Object(mut claims)) = serde_json::from_slice(payload) else { return None };
        let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
        // Fractions are allowed (RFC 7519, 2: NumericDate); whole seconds will do.
        #[allow(clippy::cast_possible_truncation, reason = "a cast from f64 saturates")]
        let seconds = |value: &Value| value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64));
        let exp = claims.get("exp").and_then(seconds).map(|seconds| Timestamp(seconds.saturating_mul(1000)));
        Some(Self { iss: text("iss"), sub: text("sub"), exp, aud: claims.remove("aud").unwrap_or_default() })
    }
}

/// What the cloud compares, each claim capped.
impl fmt::Display for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let capped = |text: String| match text.chars().count() {
            0..=160 => text,
            _ => text.chars().take(159).chain(['…']).collect(),
        };
        let quoted = |claim: &Option<String>| claim.as_ref().map_or("(none)".to_owned(), |text| format!("\"{text}\""));
        let aud = if self.aud.is_null() { "(none)".to_owned() } else { self.aud.to_string() };
        write!(f, "sub {}, iss {}, aud {}", capped(quoted(&self.sub)), capped(quoted(&self.iss)), capped(aud))
    }
}

/// What a job of GitHub Actions asks for its ID tokens (GitHub's documentation, "About security hardening with OpenID
/// Connect").
struct GitHub {
    url: String,
    token: Secret,
    audience: String,
}

#[derive(Deserialize)]
pub(crate) struct IdToken {
    pub value: Secret,
}

impl GitHub {
    /// # Errors
    /// Profile (3): the variables are not there, or the URL is none that a token may go to.
    fn of(settings: &Settings, audience: &str) -> Result<Self> {
        let get = |name: &'static str| match settings.environment().text(name) {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(settings
                .complain(GITHUB, &format!("is for jobs of GitHub Actions, and the variable {name} is not set"))
                .hint("give the job, or the whole workflow, `permissions: id-token: write`")),
            Err(_) => Err(settings.complain(GITHUB, &format!("needs the variable {name}, which is not plain text"))),
        };
        let (url, token) = (get(env::ACTIONS_ID_TOKEN_REQUEST_URL)?, get(env::ACTIONS_ID_TOKEN_REQUEST_TOKEN)?);
        let complain =
            |name: &str, why: &str| settings.complain(GITHUB, &format!("needs the variable {name}, which {why}"));
        let host = url.contains("://").then(|| Host::parse(url)).flatten().filter(|_| !url.contains(['#', ' ']));
        let is_safe = host.is_some_and(|host| host.scheme == Some(Scheme::Https) || is_loopback(&host.name));
        if !is_safe {
            return Err(complain(env::ACTIONS_ID_TOKEN_REQUEST_URL, "is not an https URL"));
        }
        let token = subject_token(token).map_err(|why| complain(env::ACTIONS_ID_TOKEN_REQUEST_TOKEN, why))?;
        Ok(Self { url: url.to_owned(), token, audience: audience.to_owned() })
    }

    /// Asks for an ID token with the audience.
    fn ask(&self, cx: &Context<'_>) -> Result<Secret> {
        let separator = if self.url.contains('?') { '&' } else { '?' };
        let url = format!("{}{separator}audience={}", self.url, auth::encode(&self.audience).collect::<String>());
        let bearer = Secret::wrapping(format!("bearer {}", self.token.expose()));
        let headers = [("authorization", bearer.expose()), ("accept", "application/json")];
        let request = Request { url: &url, headers: &headers, body: None, connect: CONNECT, direct: false };
        let answer = cx.send(&request, explain).map_err(|error| {
            let hint =
                "GitHub gives ID tokens while the job runs, with `permissions: id-token: write`; run the job again";
            let error = error.context("GitHub Actions");
            if error.status.is_some() { error.replace_hint(hint) } else { error }
        })?;
        let IdToken { value } = answer.json(&url)?;
        subject_token(value.expose())
            .map_err(|why| Error::refused(format!("GitHub Actions: the ID token of {url} {why}")))
    }
}

/// GitHub's error, or a short plain text.
pub(crate) fn explain(body: &[u8]) -> Option<Explained> {
    #[derive(Deserialize)]
    struct Refused {
        message: String,
    }
    match serde_json::from_slice(body) {
        Ok(Refused { message }) => {
            Some(Explained { message: message.chars().take(250).collect(), request_id: None, code: None })
        }
        Err(_) => super::metadata::explain(body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(payload: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode("{}"), URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn claims_are_read_leniently() {
        let all = Claims::read(&jwt(r#"{"iss":"https://i","sub":"repo:a/b","aud":["x","y"],"exp":1795000000.9}"#));
        let all = all.expect("a JWT");
        assert_eq!((all.iss.as_deref(), all.sub.as_deref()), (Some("https://i"), Some("repo:a/b")));
        assert_eq!(all.exp, Some(Timestamp(1_795_000_000_000)));
        assert_eq!(all.to_string(), r#"sub "repo:a/b", iss "https://i", aud ["x","y"]"#);
        let odd = Claims::read(&jwt(r#"{"iss":1,"aud":"x","exp":1e300}"#)).expect("a JWT");
        assert_eq!((odd.iss.as_ref(), odd.exp), (None, Some(Timestamp(i64::MAX))));
        assert_eq!(odd.to_string(), r#"sub (none), iss (none), aud "x""#);
        let odd = Claims::read(&jwt(r#"{"exp":"soon"}"#)).expect("a JWT");
        assert_eq!((odd.exp, odd.to_string().as_str()), (None, "sub (none), iss (none), aud (none)"));
        for none in ["", "a.b", "a.b.c", "a.!.c", &format!("{}.d", jwt("{}")), &jwt("[]"), &jwt("{")] {
            assert_eq!(Claims::read(none), None, "{none}");
        }
        let long = Claims::read(&jwt(&format!(r#"{{"sub":"{}"}}"#, "ж".repeat(500)))).expect("a JWT");
        assert!(long.to_string().chars().count() < 250 && long.to_string().contains('…'));
    }

    #[test]
    fn whom_a_token_speaks_for_is_the_identity_and_not_the_token() {
        let name = |text: &str| identify(Identity::of("workload"), "A", &Secret::new(text.to_owned())).name();
        let (first, renewed) = (jwt(r#"{"iss":"i","sub":"s","exp":1}"#), jwt(r#"{"iss":"i","sub":"s","exp":2}"#));
        assert_eq!(name(&first), name(&renewed));
        let all = [
            first,
            jwt(r#"{"iss":"i","sub":"t"}"#),
            jwt(r#"{"iss":"j","sub":"s"}"#),
            jwt(r#"{"iss":"i","exp":1}"#),
            jwt(r#"{"iss":"i","exp":2}"#),
            "opaque-one".to_owned(),
            "opaque-two".to_owned(),
        ];
        let names: std::collections::HashSet<String> = all.iter().map(|token| name(token)).collect();
        assert_eq!(names.len(), all.len());
    }

    #[test]
    fn a_subject_token_is_one_word_of_bounded_length() {
        let read = |text: &str| subject_token(text).map(|token| token.expose().to_owned());
        assert_eq!(read(" a.b.c\r\n").as_deref(), Ok("a.b.c"));
        assert!(read(&"x".repeat(LONGEST)).is_ok());
        for bad in ["", " \n", "a b", "a\nb", "a\0b", "жетон", &"x".repeat(LONGEST + 1)] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_environment_serves_only_where_it_has_a_way() {
        let found = |pairs: &[(&str, &str)]| {
            from_environment(&Environment::new(pairs.iter().map(|(name, value)| (name.into(), value.into()))))
        };
        let account = (env::YCRED_SERVICE_ACCOUNT_ID, "aje1");
        let url = (env::ACTIONS_ID_TOKEN_REQUEST_URL, "https://x/?v=1");
        let token = (env::ACTIONS_ID_TOKEN_REQUEST_TOKEN, "secret");
        let owner = (env::GITHUB_REPOSITORY_OWNER, "me");
        let file = (env::YCRED_SUBJECT_TOKEN_FILE, "/t");
        let audience = |found: Option<Found>| found.map(|(rank, settings)| (rank, settings[1..].to_vec()));
        assert!(found(&[file, url, token, owner]).is_none());
        assert_eq!(audience(found(&[account, file, url, token, owner])), Some((4, vec![(FILE, "/t".to_owned())])));
        let of_owner = vec![(GITHUB, "https://github.com/me".to_owned())];
        assert_eq!(audience(found(&[account, url, token, owner])), Some((4, of_owner)));
        let own = (env::YCRED_GITHUB_AUDIENCE, "mine");
        assert_eq!(audience(found(&[account, url, token, owner, own])), Some((4, vec![(GITHUB, "mine".to_owned())])));
        for missing in [&[account][..], &[account, url, owner], &[account, token, owner], &[account, url, token]] {
            assert_eq!(audience(found(missing)), Some((6, Vec::new())), "{missing:?}");
        }
    }

    #[test]
    fn errors_of_github_are_shown_if_they_are_words() {
        let words = |body: &str| explain(body.as_bytes()).map(|explained| explained.message);
        assert_eq!(words(r#"{"message":"Bad token","typeKey":"x"}"#).as_deref(), Some("Bad token"));
        assert_eq!(words("nope").as_deref(), Some("nope"));
        assert_eq!(words("<html>"), None);
    }
}
