//! `workload`: a subject token from another issuer (GitHub Actions, GitLab, Kubernetes, any OIDC provider), exchanged
//! for a service account's IAM token (RFC 8693).
//!
//! Source: docs `iam/operations/wlif/setup-wlif.md`. A workload identity federation defines the issuer and the
//! audiences of its tokens. A federated credential of the service account defines one subject, which the token's `sub`
//! must match exactly.

pub mod github;
pub mod subject;

use std::fmt;
use std::path::Path;

use crate::base::account::Account;
use crate::base::clock::{Timestamp, clock_off, human};
use crate::base::environment as env;
use crate::base::environment::Environment;
use crate::base::error::{Error, Kind, Result};
use crate::base::identity::{Identity, hex, value_digest};
use crate::base::secret::Secret;
use crate::base::token::Credential;
use crate::cache::failure::PresentedToken;
use crate::cloud::iam::is_account_id;
use crate::cloud::installation::Installation;
use crate::cloud::{Context, auth};
use crate::obtain::{Caching, Grant};
use crate::sources::secret_origin::{Location, Origin, SecretKind};
use crate::sources::source::{Assignment, EnvironmentSettings, Key, Source, SourceInput, Variable};
use crate::sources::workload::github::{GITHUB, GitHub};
use crate::sources::workload::subject::{Claims, identify, subject_token};

pub const SOURCE: Source = Source {
    variables: &[Variable { rank: 4, name: env::YCRED_SERVICE_ACCOUNT_ID }],
    from_environment,
    secret_variables: &[(GITHUB, env::ACTIONS_ID_TOKEN_REQUEST_TOKEN)],
    takes_subject: true,
    ..Source::new("workload", "workload identity federation (GitHub, GitLab, Kubernetes …)", KEYS, open)
};

const KEYS: &[Key] = &[
    Key { name: "service-account-id", value: "ACCOUNT", about: "service account with the federated credential" },
    Key { name: FILE, value: "FILE", about: "file that contains the issuer's token, read at each fetch" },
    Key { name: VARIABLE, value: "VARIABLE", about: "environment variable that contains the issuer's token" },
    Key {
        name: COMMAND,
        value: "COMMAND",
        about: "program that prints the issuer's token; if it takes arguments, use --workload -- PROGRAM ARGUMENT...",
    },
    Key { name: GITHUB, value: "AUDIENCE", about: "in GitHub Actions: audience of the ID token to request" },
];

// Keys that name the origin of the subject token. A profile may set one of them.
const FILE: &str = "subject-token-file";
const VARIABLE: &str = "subject-token-env";
const COMMAND: &str = "subject-token-command";

const SUBJECT_TOKEN: SecretKind = SecretKind {
    what: "subject token",
    file: FILE,
    variable: VARIABLE,
    command: Some(COMMAND),
    is_part_of_content: false,
    is_short_lived: true,
};

const SUBJECT_KEYS: &[&str] = &[FILE, VARIABLE, COMMAND, GITHUB];

fn open(input: &SourceInput<'_>) -> Result<Box<dyn Grant>> {
    let settings = input.settings;
    let account = settings.text("service-account-id")?.ok_or_else(|| {
        if settings.file.is_none() {
            let (set, missing) = (env::YCRED_SUBJECT_TOKEN_FILE, env::YCRED_SERVICE_ACCOUNT_ID);
            return settings.missing(&format!("{set} is set, but {missing}, the account to exchange it for, is not"));
        }
        settings
            .missing("source \"workload\" needs `service-account-id`")
            .hint("in the profile, set service-account-id = \"ID\"; to create one, pass --service-account-id ID to `ycred init`")
    })?;
    if !is_account_id(account) {
        return Err(
            settings.error_at("service-account-id", &format!("\"{account}\" is not the ID of a service account"))
        );
    }
    let identity = Identity::of(SOURCE.name).with("auth-url", &input.installation.auth_url);
    let identity = identity.with_some("ca-file", input.ca_file).with("service-account-id", account);
    let (origin, identity) = subject_origin(input, identity)?;
    Ok(Box::new(WorkloadGrant {
        account: account.to_owned(),
        has_profile: settings.file.is_some(),
        origin,
        identity,
        installation: input.installation.clone(),
        caching: input.caching(),
    }))
}

/// Determines the origin of the subject token, and adds the subject to the identity. A token in the request wins.
fn subject_origin(input: &SourceInput<'_>, identity: Identity) -> Result<(SubjectOrigin, Identity)> {
    let settings = input.settings;
    let count = SUBJECT_KEYS.iter().filter(|key| settings.has(key)).count();
    if count > 1 {
        let why = format!("source \"workload\" needs exactly one of {}, but has {count}", SUBJECT_KEYS.join(", "));
        return Err(settings.missing(&why));
    }
    if let Some(token) = input.subject {
        let token = subject_token(token.expose())
            .map_err(|why| Error::refused(format!("the subject token in the request {why}")))?;
        let identity = identify(identity, "request", &token);
        return Ok((SubjectOrigin::Request(token), identity));
    }
    if let Some(origin) = Origin::from_settings(settings, &SUBJECT_TOKEN)? {
        let identity = match &origin.location {
            // The token in the file is replaced every few minutes, but its subject stays. So the path identifies it.
            Location::File(path) => identity.with(FILE, path),
            Location::Variable(variable, value) => {
                let token = subject_token(value.expose()).map_err(|why| {
                    settings.error_at(VARIABLE, &format!("names the variable {variable}, which {why}"))
                })?;
                identify(identity.with(VARIABLE, variable), VARIABLE, &token)
            }
            Location::Command(_) => origin.identify(identity),
        };
        return Ok((SubjectOrigin::Configured(origin), identity));
    }
    if let Some(audience) = settings.text(GITHUB)? {
        let github = GitHub::of(settings, audience)?;
        let identity = identity.with(GITHUB, audience).with("github-url", &github.url).with_secret(
            "github-token",
            env::ACTIONS_ID_TOKEN_REQUEST_TOKEN,
            github.token.expose().as_bytes(),
        );
        return Ok((SubjectOrigin::GitHub(github), identity));
    }
    let (why, hint) = match settings.file {
        Some(_) => (
            format!(
                "source \"workload\" needs one of {}, or a client that sends a subject token",
                SUBJECT_KEYS.join(", ")
            ),
            "set subject-token-file = \"FILE\"; `ycred init --help` describes each key",
        ),
        None => (
            format!("{} is set, but nothing says where to get the subject token", env::YCRED_SERVICE_ACCOUNT_ID),
            "set YCRED_SUBJECT_TOKEN_FILE; in GitHub Actions, give the job `permissions: id-token: write` (and set \
             YCRED_GITHUB_AUDIENCE if GITHUB_REPOSITORY_OWNER is not set)",
        ),
    };
    Err(settings.missing(&why).hint(hint))
}

/// Selects this source if `YCRED_SERVICE_ACCOUNT_ID` or `YCRED_SUBJECT_TOKEN_FILE` is set.
///
/// One without the other selects it too, so that the error says what is missing: no other account may serve instead. The
/// client may still send a subject token.
fn from_environment(environment: &Environment, _: Timestamp) -> Option<EnvironmentSettings> {
    let get = |name: &str| environment.get(name).map(|value| value.to_string_lossy().into_owned());
    let assign = |key, variable, value| Assignment::Value { key, variable, value };
    let account = env::YCRED_SERVICE_ACCOUNT_ID;
    let id = get(account).map(|id| assign("service-account-id", account, id));
    let file = get(env::YCRED_SUBJECT_TOKEN_FILE).map(|path| assign(FILE, env::YCRED_SUBJECT_TOKEN_FILE, path));
    if file.is_some() {
        return Some(EnvironmentSettings { rank: 4, assignments: id.into_iter().chain(file).collect() });
    }
    let mut assignments = vec![id?];
    let is_github = [env::ACTIONS_ID_TOKEN_REQUEST_URL, env::ACTIONS_ID_TOKEN_REQUEST_TOKEN]
        .iter()
        .all(|name| environment.get(name).is_some());
    // The same default as the action yc-actions/yc-iam-token-fed.
    let default_audience =
        || Some((env::GITHUB_REPOSITORY_OWNER, format!("https://github.com/{}", get(env::GITHUB_REPOSITORY_OWNER)?)));
    let audience = get(env::YCRED_GITHUB_AUDIENCE).map(|audience| (env::YCRED_GITHUB_AUDIENCE, audience));
    if let Some((variable, audience)) = audience.or_else(default_audience).filter(|_| is_github) {
        assignments.push(assign(GITHUB, variable, audience));
    }
    Some(EnvironmentSettings { rank: 4, assignments })
}

struct WorkloadGrant {
    account: String,
    /// False if variables of the environment are the settings.
    has_profile: bool,
    origin: SubjectOrigin,
    identity: Identity,
    installation: Installation,
    caching: Caching,
}

impl Grant for WorkloadGrant {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn caching(&self) -> Caching {
        self.caching
    }

    fn fetch(&self, cx: &Context<'_>) -> Result<Credential> {
        let subject_token = self.origin.read(cx)?;
        let claims = Claims::read(subject_token.expose());
        cx.diagnostics.debug(|| {
            let subject = claims.as_ref().map_or_else(|| "not a JWT".to_owned(), Claims::to_string);
            format!("{}: exchanging the {} ({subject})", cx.profile, self.origin)
        });
        let parameters = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("audience", &self.account),
            ("subject_token", subject_token.expose()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
        ];
        auth::token(&self.installation, &parameters, &[], cx)
            .map_err(|error| match error.kind {
                Kind::Refused => self.explain_rejection(error, claims.as_ref(), cx),
                _ => error.context(&self.origin),
            })
            .and_then(|granted| granted.credential())
            .map(|credential| credential.of(Account::service_account(&self.account)))
            .map_err(|error| error.context(format!("service account {}", self.account)))
    }

    fn presented_token(&self) -> Option<PresentedToken> {
        let is_from_request = matches!(self.origin, SubjectOrigin::Request(_));
        let secret = match &self.origin {
            SubjectOrigin::Request(token) => Some(token.clone()),
            SubjectOrigin::Configured(origin) if !origin.is_program() => origin.read_quietly().ok(),
            SubjectOrigin::Configured(_) | SubjectOrigin::GitHub(_) => None,
        };
        let digest = |secret: Secret| hex(&value_digest(secret.expose().as_bytes())[..8]);
        secret.map(|secret| PresentedToken { digest: digest(secret), is_from_request })
    }

    fn renewed_file(&self) -> Option<&Path> {
        match &self.origin {
            SubjectOrigin::Configured(Origin { location: Location::File(path), .. }) => Some(path),
            SubjectOrigin::Configured(_) | SubjectOrigin::GitHub(_) | SubjectOrigin::Request(_) => None,
        }
    }

    fn runs_program(&self) -> bool {
        matches!(&self.origin, SubjectOrigin::Configured(origin) if origin.is_program())
    }

    fn account(&self) -> Result<String> {
        Ok(format!("service account {} (workload identity federation)", self.account))
    }
}

impl WorkloadGrant {
    /// Adds context and a hint to a rejection. The hint shows the claims that the cloud compares, for comparison with
    /// the federated credential. They are not secret.
    fn explain_rejection(&self, error: Error, claims: Option<&Claims>, cx: &Context<'_>) -> Error {
        let skew = error.clock_skew.unwrap_or(0);
        if error.status == Some(404) {
            let place = if self.has_profile { "`auth-url` in the profile" } else { env::YCRED_AUTH_URL };
            return error
                .context(&self.origin)
                .hint(format!("check that the auth host is the one of your installation: {place}"));
        }
        let Some(claims) = claims else {
            return error.context(&self.origin).hint("use an OIDC ID token: the subject token is not a JWT");
        };
        // If the subject token was signed on this machine, a wrong clock may be the cause. The hint mentions the clock
        // before the claims, because long claims may be cut off.
        let clock = if skew == 0 { String::new() } else { format!("{}; ", clock_off(skew)) };
        // Check the expiry only after a rejection, because this machine's clock may be wrong. Use the cloud's clock if
        // it is known.
        let now = cx.clock.now().shifted(skew);
        if let Some(exp) = claims.exp.filter(|exp| *exp <= now) {
            let ago = human(now.since(exp));
            return error
                .context(format!("{} (expired at {exp}, {ago} ago)", self.origin))
                .hint(format!("{clock}{}; the token has {claims}", self.origin.renewal()));
        }
        error.context(&self.origin).hint(format!(
            "{clock}the token has {claims}; compare these with the federation and the credential: \
             yc iam workload-identity federated-credential list --service-account-id {}",
            self.account
        ))
    }
}

/// The origin of the subject token.
enum SubjectOrigin {
    /// A file, variable or command in the profile.
    Configured(Origin),
    GitHub(GitHub),
    /// The client's request, with the token.
    Request(Secret),
}

impl SubjectOrigin {
    /// Gets the subject token.
    ///
    /// # Errors
    /// Profile (3): the file or variable does not contain a token. Refused (1): a program or GitHub did not supply one.
    fn read(&self, cx: &Context<'_>) -> Result<Secret> {
        let origin = match self {
            Self::Configured(origin) => origin,
            Self::GitHub(github) => return github.request_id_token(cx),
            Self::Request(token) => return Ok(token.clone()),
        };
        let content = origin.read(cx)?;
        subject_token(content.expose()).map_err(|why| match &origin.location {
            Location::Command(program) => Error::refused(format!("{program}: the output {why}"))
                .hint("run the command by hand: it must print just the token, on one line"),
            Location::File(_) | Location::Variable(..) => {
                Error::profile(format!("{self}: {why}")).hint("the content must be just the token, on one line")
            }
        })
    }

    /// Says how to replace an expired subject token, for hints.
    fn renewal(&self) -> &'static str {
        match self {
            Self::Configured(origin) => match origin.location {
                Location::File(_) => "renew the token with the program that writes the file",
                Location::Variable(..) => {
                    "run ycred earlier in the job (the variable is not renewed), or use a file or a command"
                }
                Location::Command(_) => "change the command so that it prints a new token each time",
            },
            Self::GitHub(_) => "run the job again to get a new token from GitHub",
            Self::Request(_) => "make the client send a new token",
        }
    }
}

impl fmt::Display for SubjectOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured(origin) => match &origin.location {
                Location::File(_) => origin.fmt(f),
                Location::Variable(..) => write!(f, "subject token in {origin}"),
                Location::Command(_) => write!(f, "subject token from {origin}"),
            },
            Self::GitHub(_) => f.write_str("ID token from GitHub Actions"),
            Self::Request(_) => f.write_str("subject token in the request"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_variables_selects_this_source_too() {
        let settings = |pairs: &[(&str, &str)]| {
            from_environment(
                &Environment::new(pairs.iter().map(|(name, value)| (name.into(), value.into()))),
                Timestamp(0),
            )
        };
        let account = (env::YCRED_SERVICE_ACCOUNT_ID, "aje1");
        let url = (env::ACTIONS_ID_TOKEN_REQUEST_URL, "https://x/?v=1");
        let token = (env::ACTIONS_ID_TOKEN_REQUEST_TOKEN, "secret");
        let owner = (env::GITHUB_REPOSITORY_OWNER, "me");
        let file = (env::YCRED_SUBJECT_TOKEN_FILE, "/t");
        let rank_and_subject = |settings: Option<EnvironmentSettings>| {
            settings.map(|settings| {
                let setting = |assignment: &Assignment| match assignment {
                    Assignment::Value { key, value, .. } => (*key, value.clone()),
                    Assignment::VariableName { .. } => panic!("no secret expected"),
                };
                (settings.rank, settings.assignments[1..].iter().map(setting).collect::<Vec<_>>())
            })
        };
        assert!(settings(&[url, token, owner]).is_none());
        assert_eq!(rank_and_subject(settings(&[file, url, token, owner])), Some((4, Vec::new())));
        assert_eq!(
            rank_and_subject(settings(&[account, file, url, token, owner])),
            Some((4, vec![(FILE, "/t".to_owned())]))
        );
        let default_audience = vec![(GITHUB, "https://github.com/me".to_owned())];
        assert_eq!(rank_and_subject(settings(&[account, url, token, owner])), Some((4, default_audience)));
        let own_audience = (env::YCRED_GITHUB_AUDIENCE, "mine");
        assert_eq!(
            rank_and_subject(settings(&[account, url, token, owner, own_audience])),
            Some((4, vec![(GITHUB, "mine".to_owned())]))
        );
        for missing in [&[account][..], &[account, url, owner], &[account, token, owner], &[account, url, token]] {
            assert_eq!(rank_and_subject(settings(missing)), Some((4, Vec::new())), "{missing:?}");
        }
    }
}
