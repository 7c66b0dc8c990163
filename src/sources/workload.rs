//! `workload`: a token of another issuer (GitHub Actions, GitLab, Kubernetes, any OIDC provider), exchanged for one of a
//! service account (RFC 8693).
//!
//! Facts: docs `iam/operations/wlif/setup-wlif.md`. The cloud knows the issuer as a workload identity federation, with
//! the audiences that its tokens may name; a federated credential of the account names one subject of it, and the
//! token's `sub` must be exactly that.

pub mod github;
pub mod subject;

use std::fmt;

use crate::base::clock::{clock_off, human};
use crate::base::environment as env;
use crate::base::environment::Environment;
use crate::base::error::{Error, Kind, Result};
use crate::base::identity::Identity;
use crate::base::secret::Secret;
use crate::base::token::Credential;
use crate::cloud::iam::is_account_id;
use crate::cloud::installation::Installation;
use crate::cloud::{Context, auth};
use crate::obtain::{Caching, Grant};
use crate::sources::origin::{Location, Origin, SecretKind};
use crate::sources::source::{Assignment, EnvironmentSettings, Key, Opening, Source, Variable};
use crate::sources::workload::github::{GITHUB, GitHub};
use crate::sources::workload::subject::{Claims, identify, subject_token};

pub const SOURCE: Source = Source {
    variables: &[Variable { rank: 4, name: env::YCRED_SERVICE_ACCOUNT_ID }],
    from_environment,
    secret_variables: &[(GITHUB, env::ACTIONS_ID_TOKEN_REQUEST_TOKEN)],
    takes_subject: true,
    ..Source::new(
        "workload",
        "a token of GitHub, GitLab, Kubernetes or another issuer, by workload identity federation",
        KEYS,
        open,
    )
};

const KEYS: &[Key] = &[
    Key { name: "service-account-id", value: "ACCOUNT", about: "the service account whose token is wanted" },
    Key { name: FILE, value: "FILE", about: "the file that holds the issuer's token, read anew each time" },
    Key { name: VARIABLE, value: "VARIABLE", about: "the environment variable that holds it" },
    Key { name: COMMAND, value: "COMMAND", about: "the command that prints it: [\"prog\", \"arg\"]" },
    Key { name: GITHUB, value: "AUDIENCE", about: "in GitHub Actions: ask GitHub for one with this audience" },
];

// The ways to the subject token, of which a profile has one.
const FILE: &str = "subject-token-file";
const VARIABLE: &str = "subject-token-env";
const COMMAND: &str = "subject-token-command";

const SUBJECT_TOKEN: SecretKind = SecretKind {
    what: "subject token",
    file: FILE,
    variable: VARIABLE,
    command: Some(COMMAND),
    is_document: false,
    is_short_lived: true,
};

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
            settings.error_at("service-account-id", &format!("is \"{account}\", which is not a service account's id"))
        );
    }
    let identity = Identity::of(SOURCE.name).with("auth-url", &opening.installation.auth_url);
    let identity = identity.with_some("ca-file", opening.ca_file).with("service-account-id", account);
    let (origin, identity) = choose(opening, identity)?;
    Ok(Box::new(WorkloadGrant {
        account: account.to_owned(),
        origin,
        identity,
        installation: opening.installation.clone(),
        caching: opening.caching(),
    }))
}

/// Where the subject token comes from, and what of it belongs to the identity.
fn choose(opening: &Opening<'_>, identity: Identity) -> Result<(SubjectOrigin, Identity)> {
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
        return Ok((SubjectOrigin::Request(token), identity));
    }
    if let Some(origin) = Origin::from_settings(settings, &SUBJECT_TOKEN)? {
        let identity = match &origin.location {
            // What is in it is replaced every few minutes, and speaks for the same subject: its path alone counts.
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
fn from_environment(environment: &Environment) -> Option<EnvironmentSettings> {
    let text = |name: &str| environment.get(name).map(|value| value.to_string_lossy().into_owned());
    let value = |key, variable, value| Assignment::Value { key, variable, value };
    let account = env::YCRED_SERVICE_ACCOUNT_ID;
    let mut assignments = vec![value("service-account-id", account, text(account)?)];
    if let Some(path) = text(env::YCRED_SUBJECT_TOKEN_FILE) {
        assignments.push(value(FILE, env::YCRED_SUBJECT_TOKEN_FILE, path));
        return Some(EnvironmentSettings { rank: 4, assignments });
    }
    let is_github = [env::ACTIONS_ID_TOKEN_REQUEST_URL, env::ACTIONS_ID_TOKEN_REQUEST_TOKEN]
        .iter()
        .all(|name| environment.get(name).is_some());
    // The audience that yc-actions/yc-iam-token-fed asks for.
    let of_owner =
        || Some((env::GITHUB_REPOSITORY_OWNER, format!("https://github.com/{}", text(env::GITHUB_REPOSITORY_OWNER)?)));
    let chosen = text(env::YCRED_GITHUB_AUDIENCE).map(|audience| (env::YCRED_GITHUB_AUDIENCE, audience));
    match chosen.or_else(of_owner).filter(|_| is_github) {
        Some((variable, audience)) => {
            assignments.push(value(GITHUB, variable, audience));
            Some(EnvironmentSettings { rank: 4, assignments })
        }
        None => Some(EnvironmentSettings { rank: 6, assignments }),
    }
}

struct WorkloadGrant {
    account: String,
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

impl WorkloadGrant {
    /// What the cloud compares stands in the token, and is no secret: told, so that it can be compared by eye.
    fn refused(&self, error: Error, claims: Option<&Claims>, cx: &Context<'_>) -> Error {
        let skew = error.clock_skew.unwrap_or(0);
        if error.status == Some(404) {
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
enum SubjectOrigin {
    Configured(Origin),
    GitHub(GitHub),
    /// From the client, with its request.
    Request(Secret),
}

impl SubjectOrigin {
    /// # Errors
    /// Profile (3): what the profile names holds no token. Refused (1): what a program or GitHub gave is none.
    fn read(&self, cx: &Context<'_>) -> Result<Secret> {
        let origin = match self {
            Self::Configured(origin) => origin,
            Self::GitHub(github) => return github.ask(cx),
            Self::Request(token) => return Ok(token.clone()),
        };
        let text = origin.read(cx)?;
        subject_token(text.expose()).map_err(|why| match &origin.location {
            Location::Command(program) => Error::refused(format!("{program}: what it printed {why}"))
                .hint("run the command by hand; it must print the token alone, on one line"),
            Location::File(_) | Location::Variable(..) => {
                Error::profile(format!("{self}: {why}")).hint("it must hold the token alone, on one line")
            }
        })
    }

    /// How an expired one is mended.
    fn renewal(&self) -> &'static str {
        match self {
            Self::Configured(origin) => match origin.location {
                Location::File(_) => "whatever writes the file must renew it",
                Location::Variable(..) => {
                    "a variable is not renewed while a job runs: ask for the first token early, or use a file or a command"
                }
                Location::Command(_) => "the command must print a fresh token",
            },
            Self::GitHub(_) => "GitHub must give a fresh token; run the job again",
            Self::Request(_) => "the client must send a fresh token",
        }
    }
}

impl fmt::Display for SubjectOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured(origin) => match &origin.location {
                Location::File(_) => origin.fmt(f),
                Location::Variable(..) => write!(f, "subject token in {origin}"),
                Location::Command(_) => write!(f, "subject token of {origin}"),
            },
            Self::GitHub(_) => f.write_str("ID token of GitHub Actions"),
            Self::Request(_) => f.write_str("subject token of the request"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let audience = |found: Option<EnvironmentSettings>| {
            found.map(|found| {
                let setting = |assignment: &Assignment| match assignment {
                    Assignment::Value { key, value, .. } => (*key, value.clone()),
                    Assignment::Secret { .. } => panic!("no secret"),
                };
                (found.rank, found.assignments[1..].iter().map(setting).collect::<Vec<_>>())
            })
        };
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
}
