//! From the file's own form to rules: what cannot be meant is refused with its line.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use toml::value::{Datetime, Offset};

use super::Rules;
use super::file::{At, BudgetTable, File, GroupTable, KeyTable, PolicyTable, PriceTable, line_of};
use crate::ask::Effort;
use crate::clip::NAME_BYTES_MAX;
use crate::content::{AuditContent, CONTENT_BYTES_MAX};
use crate::digest::Digest;
use crate::error::RulesProblem;
use crate::key::{Amount, Budget, Group, Key, Limits};
use crate::pattern::Patterns;
use crate::period::Period;
use crate::policy::{Mode, Policy, Reasoning, ToolRule};
use crate::price::Price;
use crate::scope::Scope;
use crate::sensitivity::Sensitivity;

/// Most of anything that is counted: requests, places, tokens. A thousand billion, so that sums stay far from
/// what 64 bits hold.
const COUNT_MAX: i64 = 1_000_000_000_000;
/// Most of a budget or a price. Units: dollars.
const USD_MAX: f64 = 1e9;
/// Micro-dollars of a dollar.
const MICRO: f64 = 1e6;
/// Most keys: each is compared with each request's.
const KEYS_MAX: usize = 100_000;

type Result<T> = std::result::Result<T, RulesProblem>;

/// A file that is read, for the lines of its places.
struct Reader<'a> {
    text: &'a str,
    policies: Vec<Arc<Policy>>,
    groups: Vec<Arc<Group>>,
    /// Public parts and digests of the keys so far.
    ids: HashSet<String>,
    hashes: HashSet<String>,
}

pub(super) fn rules(text: &str, file: File) -> Result<Rules> {
    let (ids, hashes) = (HashSet::new(), HashSet::new());
    let mut reader = Reader { text, policies: Vec::new(), groups: Vec::new(), ids, hashes };
    for (name, table) in file.policies {
        let policy = reader.policy(&name, table)?;
        reader.policies.push(Arc::new(policy));
    }
    for (name, table) in file.groups {
        let group = reader.group(&name, table)?;
        reader.groups.push(Arc::new(group));
    }
    let mut prices = Vec::new();
    for (name, table) in file.prices {
        reader.named(&name, "a model")?;
        prices.push((name.get_ref().clone(), reader.price(table.get_ref())?));
    }
    let mut keys: Vec<Key> = Vec::new();
    for table in file.keys {
        let span = table.span();
        if keys.len() == KEYS_MAX {
            return Err(reader.refused(&span, format!("there are more than {KEYS_MAX} keys")));
        }
        let key = reader.key(&table)?;
        if key.is_bounded_by_money() && prices.is_empty() {
            let problem = "a budget in USD needs prices: add [prices.\"MODEL\"] with input and output";
            return Err(reader.refused(&span, problem));
        }
        keys.push(key);
    }
    let Reader { policies, groups, .. } = reader;
    Ok(Rules { keys, groups, policies, prices, version: String::new() })
}

impl Reader<'_> {
    fn refused(&self, span: &Range<usize>, problem: impl Into<String>) -> RulesProblem {
        RulesProblem { line: line_of(self.text, span.start), problem: problem.into() }
    }

    /// What a word means, or which words there are.
    fn word<T>(
        &self,
        word: &At<String>,
        known: impl Fn(&str) -> Option<T>,
        field: &str,
        words: &str,
    ) -> Result<T> {
        let problem = || format!("{field} is {:?}, but must be {words}", word.get_ref());
        known(word.get_ref()).ok_or_else(|| self.refused(&word.span(), problem()))
    }

    fn named(&self, name: &At<String>, what: &str) -> Result<()> {
        let text = name.get_ref();
        let is_plain =
            !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control);
        match is_plain && text.trim() == text {
            true => Ok(()),
            false => {
                let problem = format!(
                    "{what} is named {text:?}, but a name has 1 to {NAME_BYTES_MAX} bytes, no control characters \
                     and no space at its ends"
                );
                Err(self.refused(&name.span(), problem))
            }
        }
    }

    fn count(&self, value: Option<&At<i64>>, field: &str) -> Result<Option<u64>> {
        let Some(value) = value else { return Ok(None) };
        match value.get_ref() {
            count @ 0..=COUNT_MAX => Ok(Some(count.unsigned_abs())),
            other => {
                let problem = format!("{field} is {other}, but must be 0 to {COUNT_MAX}");
                Err(self.refused(&value.span(), problem))
            }
        }
    }

    /// Dollars as micro-dollars.
    fn usd(&self, value: &At<toml::Value>, field: &str) -> Result<u64> {
        let number = match value.get_ref() {
            toml::Value::Integer(number) => Some(*number as f64),
            toml::Value::Float(number) => Some(*number),
            _ => None,
        };
        match number.filter(|number| (0.0..=USD_MAX).contains(number)) {
            // Within 10^15, which is exact in a float.
            Some(number) => Ok((number * MICRO).round() as u64),
            None => {
                let problem = format!("{field} must be a number of dollars, 0 to {USD_MAX}");
                Err(self.refused(&value.span(), problem))
            }
        }
    }

    fn patterns(&self, list: Option<Vec<At<String>>>, what: &str) -> Result<Option<Patterns>> {
        let Some(list) = list else { return Ok(None) };
        for pattern in &list {
            self.named(pattern, what)?;
        }
        Ok(Some(Patterns::new(list.into_iter().map(At::into_inner).collect())))
    }

    fn moment(&self, value: Option<&At<Datetime>>, field: &str) -> Result<Option<u64>> {
        let Some(value) = value else { return Ok(None) };
        let datetime = value.get_ref();
        let is_whole = datetime.date.is_some() && datetime.time.is_some();
        let has_offset = matches!(datetime.offset, Some(Offset::Z | Offset::Custom { .. }));
        let moment = datetime.to_string().parse::<jiff::Timestamp>().ok().filter(|_| is_whole && has_offset);
        let seconds = moment.and_then(|moment| u64::try_from(moment.as_second()).ok());
        let problem = || format!("{field} is {datetime}, but must be a moment such as 2027-01-01T00:00:00Z");
        Ok(Some(seconds.ok_or_else(|| self.refused(&value.span(), problem()))?))
    }

    fn policy(&self, name: &At<String>, table: PolicyTable) -> Result<Policy> {
        self.named(name, "a policy")?;
        let mode = table.mode.map(|word| self.word(&word, Mode::from_name, "mode", "enforce or shadow"));
        let words = "low, medium or high";
        let effort = table.effort_max.map(|word| self.word(&word, Effort::from_name, "effort_max", words));
        let words = "raw, summary or hidden";
        let reasoning =
            table.reasoning.map(|word| self.word(&word, Reasoning::from_name, "reasoning", words));
        let words = "any or local_only";
        let label =
            table.sensitivity.map(|word| self.word(&word, Sensitivity::from_name, "sensitivity", words));
        let words = "*, or one of function, python, browser, mcp, shell and apply_patch, with a name behind it \
                     if need be, as in mcp:docs";
        let tools = table.tools.map(|list| {
            let rule = |word: &At<String>| self.word(word, ToolRule::from_name, "a tool", words);
            list.iter().map(rule).collect::<Result<Vec<_>>>()
        });
        if let Some(moderation) = &table.moderation {
            self.named(moderation, "a moderation policy")?;
        }
        let tokens = self.count(table.max_output_tokens.as_ref(), "max_output_tokens")?;
        let words = "none, prompt, answer or both";
        let content =
            table.audit_content.map(|word| self.word(&word, AuditContent::from_name, "audit_content", words));
        Ok(Policy {
            name: name.get_ref().clone(),
            mode: mode.transpose()?.unwrap_or_default(),
            models: self.patterns(table.models, "a model")?,
            adapters: self.patterns(table.adapters, "an adapter")?,
            effort_max: effort.transpose()?,
            reasoning: reasoning.transpose()?,
            tools: tools.transpose()?,
            hosts: self.hosts(table.hosts)?,
            max_output_tokens: tokens.map(|tokens| u32::try_from(tokens).unwrap_or(u32::MAX)),
            sensitivity: label.transpose()?.unwrap_or_default(),
            moderation: table.moderation.map(At::into_inner),
            audit_content: content.transpose()?,
            audit_content_max_bytes: self.content_bytes(table.audit_content_max_bytes.as_ref())?,
        })
    }

    fn content_bytes(&self, value: Option<&At<i64>>) -> Result<Option<u64>> {
        let Some(value) = value else { return Ok(None) };
        match u64::try_from(*value.get_ref()) {
            Ok(bytes @ 1..=CONTENT_BYTES_MAX) => Ok(Some(bytes)),
            _ => {
                let problem = format!(
                    "audit_content_max_bytes is {}, but must be 1 to {CONTENT_BYTES_MAX}",
                    value.get_ref()
                );
                Err(self.refused(&value.span(), problem))
            }
        }
    }

    /// Hosts are compared in small letters, so they are written so.
    fn hosts(&self, list: Option<Vec<At<String>>>) -> Result<Option<Patterns>> {
        let odd = |host: &&At<String>| host.get_ref().contains(|c: char| c.is_ascii_uppercase() || c == '/');
        if let Some(host) = list.iter().flatten().find(odd) {
            let problem =
                format!("the host {:?} must be a name in small letters, without https://", host.get_ref());
            return Err(self.refused(&host.span(), problem));
        }
        self.patterns(list, "a host")
    }

    fn policy_named(&self, name: Option<&At<String>>) -> Result<Option<Arc<Policy>>> {
        let Some(name) = name else { return Ok(None) };
        let found = self.policies.iter().find(|policy| policy.name == *name.get_ref());
        let problem = || format!("there is no policy {:?}: add [policies.{0:?}]", name.get_ref());
        Ok(Some(Arc::clone(found.ok_or_else(|| self.refused(&name.span(), problem()))?)))
    }

    fn group_named(&self, name: Option<&At<String>>) -> Result<Option<Arc<Group>>> {
        let Some(name) = name else { return Ok(None) };
        let found = self.groups.iter().find(|group| group.name == *name.get_ref());
        let problem = || format!("there is no group {:?}: add [groups.{0:?}]", name.get_ref());
        Ok(Some(Arc::clone(found.ok_or_else(|| self.refused(&name.span(), problem()))?)))
    }

    fn group(&self, name: &At<String>, table: GroupTable) -> Result<Group> {
        self.named(name, "a group")?;
        Ok(Group {
            name: name.get_ref().clone(),
            policy: self.policy_named(table.policy.as_ref())?,
            models: self.patterns(table.models, "a model")?,
            limits: self.limits(&table.rpm_limit, &table.tpm_limit, &table.max_parallel_requests)?,
            budgets: self.budgets(table.max_budget.as_ref(), table.budget_duration.as_ref())?,
        })
    }

    fn limits(
        &self,
        rpm: &Option<At<i64>>,
        tpm: &Option<At<i64>>,
        parallel: &Option<At<i64>>,
    ) -> Result<Limits> {
        Ok(Limits {
            rpm: self.count(rpm.as_ref(), "rpm_limit")?,
            tpm: self.count(tpm.as_ref(), "tpm_limit")?,
            parallel: self.count(parallel.as_ref(), "max_parallel_requests")?,
        })
    }

    fn budgets(&self, amounts: Option<&At<BudgetTable>>, period: Option<&At<String>>) -> Result<Vec<Budget>> {
        let words = "a length such as 12h, 1d, 7d, 30d or 1mo; without it a budget never begins again";
        let known =
            period.map(|word| self.word(word, Period::from_name, "budget_duration", words)).transpose()?;
        let Some(table) = amounts else {
            return match period {
                Some(word) => {
                    Err(self.refused(&word.span(), "budget_duration is for a max_budget, and there is none"))
                }
                None => Ok(Vec::new()),
            };
        };
        let period = known.unwrap_or(Period::Forever);
        let BudgetTable { tokens, usd } = table.get_ref();
        let mut budgets = Vec::new();
        if let Some(tokens) = self.count(tokens.as_ref(), "tokens")? {
            budgets.push(Budget { amount: Amount::Tokens(tokens), period });
        }
        if let Some(usd) = usd {
            budgets.push(Budget { amount: Amount::MicroUsd(self.usd(usd, "usd")?), period });
        }
        match budgets.is_empty() {
            true => Err(self.refused(&table.span(), "max_budget needs tokens, usd or both")),
            false => Ok(budgets),
        }
    }

    fn price(&self, table: &PriceTable) -> Result<Price> {
        let input = self.usd(&table.input, "input")?;
        let cached = table.cached_input.as_ref().map(|value| self.usd(value, "cached_input")).transpose()?;
        Ok(Price { input, cached_input: cached.unwrap_or(input), output: self.usd(&table.output, "output")? })
    }

    fn key(&mut self, table: &At<KeyTable>) -> Result<Key> {
        let table = table.get_ref();
        self.named(&table.name, "a key")?;
        let (id, digest) = self.secret(table)?;
        let words = "infer, raw_reasoning, tools, tune, admin or metrics";
        let scope = |word: &At<String>| self.word(word, Scope::from_name, "a scope", words);
        let scopes = table.scopes.as_ref().map(|list| list.iter().map(scope).collect::<Result<Vec<_>>>());
        let key = Key {
            name: table.name.get_ref().clone(),
            id,
            scopes: scopes.transpose()?.unwrap_or_else(|| vec![Scope::Infer]),
            group: self.group_named(table.group.as_ref())?,
            policy: self.policy_named(table.policy.as_ref())?,
            models: self.patterns(table.models.clone(), "a model")?,
            limits: self.limits(&table.rpm_limit, &table.tpm_limit, &table.max_parallel_requests)?,
            budgets: self.budgets(table.max_budget.as_ref(), table.budget_duration.as_ref())?,
            created_at: self.moment(table.created_at.as_ref(), "created_at")?,
            expires_at: self.moment(table.expires_at.as_ref(), "expires_at")?,
            revoked_at: self.moment(table.revoked_at.as_ref(), "revoked_at")?,
            digest,
        };
        self.one_moderation(table, &key)?;
        Ok(key)
    }

    /// The public part and the digest, both of no other key.
    fn secret(&mut self, table: &KeyTable) -> Result<(String, Digest)> {
        let id = table.id.get_ref();
        let is_plain = (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_plain {
            let problem = format!("id is {id:?}, but must be the key's public part: letters and digits");
            return Err(self.refused(&table.id.span(), problem));
        }
        if !self.ids.insert(id.clone()) {
            return Err(self.refused(&table.id.span(), format!("there are two keys with the id {id:?}")));
        }
        let hash = table.hash.get_ref().strip_prefix("sha256:").and_then(Digest::from_hex);
        let problem = "hash must be \"sha256:\" and 64 hex digits; `gptoss key new` writes it";
        let digest = hash.ok_or_else(|| self.refused(&table.hash.span(), problem))?;
        if digest.is(&Digest::of("")) {
            let problem = "hash is the digest of nothing; make one of the key, without a line's end";
            return Err(self.refused(&table.hash.span(), problem));
        }
        if !self.hashes.insert(digest.to_hex()) {
            return Err(
                self.refused(&table.hash.span(), "there are two keys with this hash; keep one of them")
            );
        }
        Ok((id.clone(), digest))
    }

    fn one_moderation(&self, table: &KeyTable, key: &Key) -> Result<()> {
        let of = |policy: Option<&Arc<Policy>>| policy.and_then(|policy| policy.moderation.clone());
        let own = of(key.policy.as_ref());
        let group = of(key.group.as_ref().and_then(|group| group.policy.as_ref()));
        match (own, group) {
            (Some(own), Some(group)) if own != group => {
                let problem = format!(
                    "its policy is moderated by {own:?} and its group's by {group:?}, but a request is judged by one"
                );
                Err(self.refused(&table.name.span(), problem))
            }
            _ => Ok(()),
        }
    }
}
