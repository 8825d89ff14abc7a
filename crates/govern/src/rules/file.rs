//! The file's own form: every field there is, each with its place, and no other.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;
use toml::value::Datetime;

use crate::error::RulesProblem;

/// A value and where it stands.
pub(super) type At<T> = Spanned<T>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) keys: Vec<At<KeyTable>>,
    #[serde(default)]
    pub(super) groups: BTreeMap<At<String>, GroupTable>,
    #[serde(default)]
    pub(super) policies: BTreeMap<At<String>, PolicyTable>,
    #[serde(default)]
    pub(super) prices: BTreeMap<At<String>, At<PriceTable>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyTable {
    pub(super) name: At<String>,
    pub(super) id: At<String>,
    pub(super) hash: At<String>,
    pub(super) scopes: Option<Vec<At<String>>>,
    pub(super) group: Option<At<String>>,
    pub(super) policy: Option<At<String>>,
    pub(super) models: Option<Vec<At<String>>>,
    pub(super) rpm_limit: Option<At<i64>>,
    pub(super) tpm_limit: Option<At<i64>>,
    pub(super) max_parallel_requests: Option<At<i64>>,
    pub(super) max_budget: Option<At<BudgetTable>>,
    pub(super) budget_duration: Option<At<String>>,
    pub(super) created_at: Option<At<Datetime>>,
    pub(super) expires_at: Option<At<Datetime>>,
    pub(super) revoked_at: Option<At<Datetime>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupTable {
    pub(super) policy: Option<At<String>>,
    pub(super) models: Option<Vec<At<String>>>,
    pub(super) rpm_limit: Option<At<i64>>,
    pub(super) tpm_limit: Option<At<i64>>,
    pub(super) max_parallel_requests: Option<At<i64>>,
    pub(super) max_budget: Option<At<BudgetTable>>,
    pub(super) budget_duration: Option<At<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BudgetTable {
    pub(super) tokens: Option<At<i64>>,
    pub(super) usd: Option<At<toml::Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyTable {
    pub(super) mode: Option<At<String>>,
    pub(super) models: Option<Vec<At<String>>>,
    pub(super) adapters: Option<Vec<At<String>>>,
    pub(super) effort_max: Option<At<String>>,
    pub(super) reasoning: Option<At<String>>,
    pub(super) tools: Option<Vec<At<String>>>,
    pub(super) hosts: Option<Vec<At<String>>>,
    pub(super) max_output_tokens: Option<At<i64>>,
    pub(super) sensitivity: Option<At<String>>,
    pub(super) moderation: Option<At<String>>,
    pub(super) audit_content: Option<At<String>>,
    pub(super) audit_content_max_bytes: Option<At<i64>>,
}

/// In dollars for a million tokens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PriceTable {
    pub(super) input: At<toml::Value>,
    pub(super) cached_input: Option<At<toml::Value>>,
    pub(super) output: At<toml::Value>,
}

/// The file in its own form.
///
/// Errors: it is not TOML, or has a field that is not known, or one of another type.
pub(super) fn read(text: &str) -> Result<File, RulesProblem> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        RulesProblem { line, problem: error.message().replace('\n', " ") }
    })
}

/// The line of a byte, from 1.
pub(super) fn line_of(text: &str, byte: usize) -> usize {
    let before = &text.as_bytes()[..byte.min(text.len())];
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}
