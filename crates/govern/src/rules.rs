//! The operator's file as plain data: read whole or refused, and swapped whole.

pub(crate) mod changes;
pub mod edit;
mod file;
mod read;

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable};

use crate::ask::Ask;
use crate::content::ContentRule;
use crate::decision::{self, Decision, Finding};
use crate::digest::{Digest, to_hex};
use crate::error::{RulesProblem, Unknown};
use crate::key::{Group, Key, KeyState};
use crate::pattern::fits;
use crate::policy::{Policy, Reasoning};
use crate::price::Price;
use changes::KeyChange;

/// Hex digits of a version.
const VERSION_DIGITS: usize = 12;

/// Keys, groups, policies and prices.
#[derive(Debug, Clone)]
pub struct Rules {
    keys: Vec<Key>,
    groups: Vec<Arc<Group>>,
    policies: Vec<Arc<Policy>>,
    prices: Vec<(String, Price)>,
    version: String,
}

impl Rules {
    /// Reads a file of rules.
    ///
    /// Errors: what it says is not TOML, is not known, or cannot be meant; the first such line.
    pub fn parse(text: &str) -> Result<Rules, RulesProblem> {
        let file = file::read(text)?;
        let mut rules = read::rules(text, file)?;
        rules.version = to_hex(&Sha256::digest(text))[..VERSION_DIGITS].to_owned();
        Ok(rules)
    }

    /// The first 12 hex digits of the SHA-256 of its text.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The keys in the order of the file, expired and revoked ones too.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The groups.
    pub fn groups(&self) -> &[Arc<Group>] {
        &self.groups
    }

    /// The policies.
    pub fn policies(&self) -> &[Arc<Policy>] {
        &self.policies
    }

    /// Whose secret it is at the time `now` (seconds since 1970).
    ///
    /// Every digest is compared in full, and which one was right is chosen without a branch, so the time says
    /// nothing about how much of one was right, nor about which.
    ///
    /// Errors: it is nobody's, or its key expired or was revoked; the latter only when the secret is right.
    pub fn identify(&self, secret: &str, now: u64) -> Result<&Key, Unknown> {
        let given = Digest::of(secret);
        let place = place(self.keys.iter().map(|key| &key.digest), &given);
        let key = self.keys.get(place as usize).ok_or(Unknown::NoSuchKey)?;
        match key.state(now) {
            KeyState::InForce => Ok(key),
            KeyState::Expired(at) => Err(Unknown::Expired { name: key.name.clone(), id: key.id.clone(), at }),
            KeyState::Revoked => Err(Unknown::Revoked { name: key.name.clone(), id: key.id.clone() }),
        }
    }

    /// What the rules say to the request, with the name of the rule that refuses it.
    pub fn decide(&self, key: &Key, ask: &Ask<'_>) -> Decision {
        decision::decide(key, ask, self.price(ask.model).is_some())
    }

    /// The most of the reasoning that the key may see, whatever is asked.
    pub fn reasoning(&self, key: &Key) -> Reasoning {
        decision::reasoning(key)
    }

    /// What the audit keeps of the key's requests in their own words; None: nothing.
    pub fn content(&self, key: &Key) -> Option<ContentRule> {
        decision::content(key)
    }

    /// Every rule that is about the request, and what it says.
    pub fn explain(&self, key: &Key, ask: &Ask<'_>) -> Vec<Finding> {
        decision::findings(key, ask, self.price(ask.model).is_some())
    }

    /// What the model's tokens cost: by its name, else by the longest pattern that fits.
    pub fn price(&self, model: &str) -> Option<Price> {
        let fitting = self.prices.iter().filter(|(pattern, _)| fits(pattern, model));
        let best = fitting.max_by_key(|(pattern, _)| (pattern == model, pattern.len()));
        best.map(|(_, price)| *price)
    }

    /// What became of each key since `before`, for the audit of a reload: those that are new, those that may
    /// do other things, and those that are gone or were revoked.
    pub fn changes<'a>(&'a self, before: &'a Rules) -> Vec<(KeyChange, &'a Key)> {
        changes::changes(&before.keys, &self.keys)
    }

    /// Whether any model has a price.
    pub fn have_prices(&self) -> bool {
        !self.prices.is_empty()
    }
}

/// Where among the digests `given` is; one past what there can be, when it is not there.
fn place<'a>(digests: impl Iterator<Item = &'a Digest>, given: &Digest) -> u32 {
    let mut place = u32::MAX;
    for (index, digest) in (0..u32::MAX).zip(digests) {
        let is_it: Choice = digest.same(given);
        place.conditional_assign(&index, is_it);
    }
    place
}

#[cfg(test)]
#[path = "rules/tests.rs"]
mod tests;
