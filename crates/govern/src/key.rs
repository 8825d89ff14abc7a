//! A key and its group: who, what for, and how much.

use std::sync::Arc;

use crate::digest::Digest;
use crate::pattern::Patterns;
use crate::period::Period;
use crate::policy::Policy;
use crate::scope::Scope;

/// One secret of a tenant's. Several keys of one name are one tenant, and one account.
#[derive(Debug, Clone)]
pub struct Key {
    /// The tenant.
    pub name: String,
    /// The public part of the secret, for logs.
    pub id: String,
    /// What it opens.
    pub scopes: Vec<Scope>,
    /// Whose limits, budgets and policy hold beside its own.
    pub group: Option<Arc<Group>>,
    /// What it may ask.
    pub policy: Option<Arc<Policy>>,
    /// Which models; None: all.
    pub models: Option<Patterns>,
    /// Rates and places.
    pub limits: Limits,
    /// Totals by period.
    pub budgets: Vec<Budget>,
    /// When it was made, if the file says so. Units: seconds since 1970.
    pub created_at: Option<u64>,
    /// From when it opens nothing. Units: seconds since 1970.
    pub expires_at: Option<u64>,
    /// When it was taken back. Units: seconds since 1970.
    pub revoked_at: Option<u64>,
    pub(crate) digest: Digest,
}

/// Whether a key opens anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// It does.
    InForce,
    /// Its time is over; since when.
    Expired(u64),
    /// It was taken back.
    Revoked,
}

impl Key {
    /// Whether it opens anything at the time `now` (seconds since 1970). One that was taken back is that,
    /// whatever else it is.
    pub fn state(&self, now: u64) -> KeyState {
        let past = |at: Option<u64>| at.filter(|at| *at <= now);
        match (past(self.revoked_at), past(self.expires_at)) {
            (Some(_), _) => KeyState::Revoked,
            (None, Some(at)) => KeyState::Expired(at),
            (None, None) => KeyState::InForce,
        }
    }
}

/// Keys that share limits and budgets.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// What its keys may ask.
    pub policy: Option<Arc<Policy>>,
    /// Which models; None: all.
    pub models: Option<Patterns>,
    /// Rates and places of all its keys together.
    pub limits: Limits,
    /// Totals of all its keys together.
    pub budgets: Vec<Budget>,
}

/// What there may be of at a time. None: any number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Requests a minute.
    pub rpm: Option<u64>,
    /// Tokens a minute.
    pub tpm: Option<u64>,
    /// Requests at a time.
    pub parallel: Option<u64>,
}

/// The most of something in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// How much of what.
    pub amount: Amount,
    /// In which windows.
    pub period: Period,
}

/// How much of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// Tokens, of prompts and of answers.
    Tokens(u64),
    /// Units: micro-dollars.
    MicroUsd(u64),
}

impl Amount {
    /// What it is of, as the journal has it.
    pub fn unit(self) -> &'static str {
        match self {
            Amount::Tokens(_) => "tokens",
            Amount::MicroUsd(_) => "usd",
        }
    }

    /// How much.
    pub fn value(self) -> u64 {
        match self {
            Amount::Tokens(value) | Amount::MicroUsd(value) => value,
        }
    }
}

/// Who is charged: a tenant or a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account<'a> {
    /// All keys of this name.
    Tenant(&'a str),
    /// All keys of this group.
    Group(&'a str),
}

impl Account<'_> {
    /// Its name in the journal: no name of a key can be that of a group.
    pub(crate) fn name(self) -> String {
        match self {
            Account::Tenant(name) => format!("key:{name}"),
            Account::Group(name) => format!("group:{name}"),
        }
    }
}

impl std::fmt::Display for Account<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Account::Tenant(name) => write!(f, "the key {name:?}"),
            Account::Group(name) => write!(f, "the group {name:?}"),
        }
    }
}

impl Key {
    /// Whether it has the scope.
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// The name of its group.
    pub fn group_name(&self) -> Option<&str> {
        self.group.as_deref().map(|group| group.name.as_str())
    }

    /// Those who are charged, with what bounds them: the tenant, then the group.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = (Account<'_>, Limits, &[Budget])> {
        let own = (Account::Tenant(&self.name), self.limits, self.budgets.as_slice());
        let group = self.group.as_deref();
        let group = group.map(|group| (Account::Group(&group.name), group.limits, group.budgets.as_slice()));
        std::iter::once(own).chain(group)
    }

    /// Whether it or its group may have only so much in a minute.
    pub fn has_rates(&self) -> bool {
        self.accounts().any(|(_, limits, _)| limits.rpm.is_some() || limits.tpm.is_some())
    }

    /// Whether its tokens or its group's are counted against anything.
    pub fn counts_tokens(&self) -> bool {
        self.accounts().any(|(_, limits, budgets)| limits.tpm.is_some() || !budgets.is_empty())
    }

    /// Whether money bounds it or its group.
    pub fn is_bounded_by_money(&self) -> bool {
        let mut budgets = self.accounts().flat_map(|(_, _, budgets)| budgets);
        budgets.any(|budget| matches!(budget.amount, Amount::MicroUsd(_)))
    }
}
