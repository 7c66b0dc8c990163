//! Service accounts, and who may impersonate them.

use std::collections::{BTreeSet, HashMap};

/// Who may request tokens of a service account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Impersonation {
    /// Nobody: the role `iam.serviceAccounts.tokenCreator` has not been granted.
    #[default]
    Nobody,
    /// Every caller with a valid token.
    Anyone,
    /// These subjects.
    By(BTreeSet<String>),
}

/// All service accounts by id.
#[derive(Default)]
pub(crate) struct Accounts {
    impersonation: HashMap<String, Impersonation>,
    /// The names that any caller may look up.
    names: HashMap<String, String>,
}

impl Accounts {
    /// Adds an account that nobody may impersonate, unless it exists.
    pub(crate) fn add(&mut self, account: &str) {
        self.impersonation.entry(account.to_owned()).or_default();
    }

    /// Adds an account, or changes who may impersonate it.
    pub(crate) fn set(&mut self, account: &str, impersonation: Impersonation) {
        self.impersonation.insert(account.to_owned(), impersonation);
    }

    /// Gives an account a name that any caller may look up.
    pub(crate) fn set_name(&mut self, account: &str, name: &str) {
        self.names.insert(account.to_owned(), name.to_owned());
    }

    /// Returns the name of an account, if any caller may look it up.
    pub(crate) fn name(&self, account: &str) -> Option<&str> {
        self.names.get(account).map(String::as_str)
    }

    /// Returns true if the account exists.
    pub(crate) fn contains(&self, account: &str) -> bool {
        self.impersonation.contains_key(account)
    }

    /// Returns true if the caller may request the account's tokens.
    pub(crate) fn may_impersonate(&self, caller: &str, account: &str) -> bool {
        match self.impersonation.get(account) {
            None | Some(Impersonation::Nobody) => false,
            Some(Impersonation::Anyone) => true,
            Some(Impersonation::By(callers)) => callers.contains(caller),
        }
    }
}
