//! The account that a token belongs to.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An account of the cloud, as far as ycred knows it. None of it is secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub kind: AccountKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The name, if the cloud was asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The kind of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccountKind {
    ServiceAccount,
    User,
    /// Written by a later version.
    #[serde(other)]
    Unknown,
}

impl Account {
    pub fn service_account(id: &str) -> Self {
        Self { kind: AccountKind::ServiceAccount, id: Some(id.to_owned()), name: None }
    }

    /// The service account of a machine, which only the cloud knows.
    pub fn of_machine() -> Self {
        Self { kind: AccountKind::ServiceAccount, id: None, name: None }
    }

    /// A person, whom only the cloud knows.
    pub fn user() -> Self {
        Self { kind: AccountKind::User, id: None, name: None }
    }
}

impl AccountKind {
    /// Returns the name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::ServiceAccount => "service-account",
            Self::User => "user",
            Self::Unknown => "unknown",
        }
    }
}

/// Writes `service account aje… "name"`, without the parts that are unknown.
impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.kind, &self.id) {
            (AccountKind::ServiceAccount, Some(_)) => "service account",
            (AccountKind::ServiceAccount, None) => "a service account whose ID the cloud does not tell",
            (AccountKind::User, Some(_)) => "user",
            (AccountKind::User, None) => "a user whose ID the cloud does not tell",
            (AccountKind::Unknown, _) => "account",
        })?;
        if let Some(id) = &self.id {
            write!(f, " {id}")?;
        }
        match &self.name {
            Some(name) => write!(f, " \"{name}\""),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_read_back_and_unknown_kinds_are_no_error() {
        let account = Account { name: Some("deployer".into()), ..Account::service_account("aje1") };
        let text = serde_json::to_string(&account).expect("JSON");
        assert_eq!(text, r#"{"kind":"service-account","id":"aje1","name":"deployer"}"#);
        assert_eq!(serde_json::from_str::<Account>(&text).expect("an account"), account);
        assert_eq!(account.to_string(), "service account aje1 \"deployer\"");
        assert_eq!(Account::user().to_string(), "a user whose ID the cloud does not tell");
        let later: Account = serde_json::from_str(r#"{"kind":"robot","id":"x","more":1}"#).expect("an account");
        assert_eq!((later.kind, later.to_string().as_str()), (AccountKind::Unknown, "account x"));
    }
}
