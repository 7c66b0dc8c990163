//! Compares the accounts of yc's profiles with those of ycred's.

use std::fmt;
use std::path::Path;

use crate::base::identity::{hex, value_digest};
use crate::commands::import::draft::Draft;
use crate::commands::import::yaml::Node;
use crate::commands::import::yc::{HELPER_CONFIG, NOT_THE_DEFAULT, YcFile, convert_name, draft};
use crate::disk::files;
use crate::disk::places::YC_CONFIG;
use crate::profile::Profile;
use crate::session::Session;
use crate::sources::authorized_key::AccountKey;

/// An account, as far as it can be determined without a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownAccount {
    kind: AccountKind,
    /// The accounts to impersonate.
    impersonate: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum AccountKind {
    ServiceAccount(String),
    /// A digest of the OAuth token, which is all that is known.
    OAuthToken(String),
    Metadata,
    /// The person who logs in, by the federation.
    Person(Option<String>),
}

impl fmt::Display for KnownAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(account) = self.impersonate.last() {
            write!(f, "service account {account}, impersonated by ")?;
        }
        match &self.kind {
            AccountKind::ServiceAccount(id) => write!(f, "{id}"),
            AccountKind::OAuthToken(_) => f.write_str("the Yandex account of an OAuth token"),
            AccountKind::Metadata => f.write_str("the service account of this machine"),
            AccountKind::Person(None) => f.write_str("a person who logs in"),
            AccountKind::Person(Some(federation)) => write!(f, "a person of federation {federation}"),
        }
    }
}

impl KnownAccount {
    /// Returns true if equal accounts are the same one. Two persons of one federation are not.
    pub fn is_certain(&self) -> bool {
        !self.impersonate.is_empty() || !matches!(self.kind, AccountKind::Person(_))
    }

    /// Returns a digest that can be stored.
    pub fn digest(&self) -> String {
        hex(&value_digest(format!("{self:?}").as_bytes()))
    }
}

/// Returns the name of yc's profile that yc's docker helper uses for a registry. Returns `None` if its configuration cannot be
/// read or names none.
pub fn yc_name_for_registry(home: &Path, registry: &str, session: &Session<'_>) -> Option<String> {
    let path = home.join(YC_CONFIG).with_file_name(HELPER_CONFIG);
    let file = path.exists().then(|| YcFile::read(&path, session).ok().flatten()).flatten()?;
    let name = file.root.member(registry).or_else(|| file.root.member("default")).and_then(Node::text);
    name.map(str::to_owned)
}

/// Returns the name of yc's current profile. Returns `None` if its configuration cannot be read or names none.
pub fn current_of_yc(home: &Path, session: &Session<'_>) -> Option<String> {
    let file = YcFile::read(&home.join(YC_CONFIG), session).ok()??;
    file.root.member("current").and_then(Node::text).map(str::to_owned)
}

/// Returns true for the names that `import` gives to yc's profile `default`.
pub fn is_name_of_default(name: &str) -> bool {
    matches!(name, "default" | NOT_THE_DEFAULT)
}

/// Returns the name that `import` gives to yc's profile.
pub fn profile_name(yc_name: &str) -> Option<String> {
    convert_name(yc_name)
}

/// Returns the account of yc's profile. Returns `None` if yc's configuration cannot be read or does not have it.
pub fn of_yc(home: &Path, yc_name: &str, session: &Session<'_>) -> Option<KnownAccount> {
    let file = YcFile::read(&home.join(YC_CONFIG), session).ok()??;
    let settings = file.root.member("profiles").and_then(|profiles| profiles.member(yc_name))?;
    settings.members()?;
    let draft = draft(&file, yc_name, "yc", settings, session).ok()??;
    let value = |key: &str| values(&draft, key).into_iter().next();
    let kind = match draft.source {
        "authorized-key" => service_account(draft.secret.as_ref()?.content.expose())?,
        "oauth" => AccountKind::OAuthToken(token_digest(draft.secret.as_ref()?.content.expose())),
        "metadata" => AccountKind::Metadata,
        _ => AccountKind::Person(value("federation-id")),
    };
    Some(KnownAccount { kind, impersonate: values(&draft, "impersonate") })
}

/// Returns the account of a profile. Returns `None` if it is not known without a request.
pub fn of_profile(profile: &Profile) -> Option<KnownAccount> {
    let kind = match profile.source.name {
        "authorized-key" => {
            let grant = (profile.source.open)(&profile.source_input(None)).ok()?;
            AccountKind::ServiceAccount(grant.account().ok()?)
        }
        "oauth" => {
            let path = profile.settings.path("oauth-token-file").ok()??;
            AccountKind::OAuthToken(token_digest(&files::read_text(&path).ok()?))
        }
        "metadata" => AccountKind::Metadata,
        "login" => AccountKind::Person(profile.settings.text("federation-id").ok()?.map(str::to_owned)),
        _ => return None,
    };
    Some(KnownAccount { kind, impersonate: profile.impersonate.clone() })
}

fn service_account(json: &str) -> Option<AccountKind> {
    Some(AccountKind::ServiceAccount(AccountKey::parse(json).ok()?.description()))
}

fn token_digest(token: &str) -> String {
    hex(&value_digest(token.trim().as_bytes()))
}

fn values(draft: &Draft, key: &str) -> Vec<String> {
    draft.settings.iter().filter(|(name, _)| *name == key).flat_map(|(_, setting)| setting.values.clone()).collect()
}
