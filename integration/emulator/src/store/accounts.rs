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
pub(crate) struct Accounts(HashMap<String, Impersonation>);

impl Accounts {
    /// Adds an account that nobody may impersonate, unless it exists.
    pub(crate) fn add(&mut self, account: &str) {
        self.0.entry(account.to_owned()).or_default();
    }

    /// Adds an account, or changes who may impersonate it.
    pub(crate) fn set(&mut self, account: &str, impersonation: Impersonation) {
        self.0.insert(account.to_owned(), impersonation);
    }

    /// Returns true if the account exists.
    pub(crate) fn contains(&self, account: &str) -> bool {
        self.0.contains_key(account)
    }

    /// Returns true if the caller may request the account's tokens.
    pub(crate) fn may_impersonate(&self, caller: &str, account: &str) -> bool {
        match self.0.get(account) {
            None | Some(Impersonation::Nobody) => false,
            Some(Impersonation::Anyone) => true,
            Some(Impersonation::By(callers)) => callers.contains(caller),
        }
    }
}
