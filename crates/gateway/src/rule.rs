//! A rule: which requests it is for, and where those may go.

use serde::Deserialize;

use crate::facts::Facts;
use crate::label::Label;

/// A rule. What is not said of a request matches any.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    /// What reasons call it.
    pub name: String,
    /// Names of models; a `*` stands for any characters.
    pub models: Vec<String>,
    /// Labels.
    pub labels: Vec<Label>,
    /// Whether there are tools.
    pub tools: Option<bool>,
    /// Efforts.
    pub efforts: Vec<String>,
    /// Fewest tokens of the prompt.
    pub prompt_tokens_min: Option<u64>,
    /// Most tokens of the prompt.
    pub prompt_tokens_max: Option<u64>,
    /// Where it may go, best first.
    pub targets: Vec<Target>,
    /// What is best.
    pub strategy: Strategy,
}

/// Where a request may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Whose it is.
    pub place: Place,
    /// The model there, by the name that clients use; None is that of the request.
    pub model: Option<String>,
}

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// This server's own engine.
    Local,
    /// The upstream of that index.
    Upstream(usize),
}

/// What is best of several targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The first that can.
    #[default]
    Order,
    /// The cheapest that can, as far as prices are known.
    Cost,
    /// The one with the most room.
    Load,
}

impl Strategy {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Strategy::Order => "order",
            Strategy::Cost => "cost",
            Strategy::Load => "load",
        }
    }
}

impl Rule {
    /// Whether it is for a request.
    pub fn is_for(&self, facts: &Facts<'_>) -> bool {
        let says = |list: &[String], word: Option<&str>| {
            list.is_empty() || word.is_some_and(|word| list.iter().any(|one| one == word))
        };
        (self.models.is_empty() || self.models.iter().any(|pattern| matches(pattern, facts.model)))
            && (self.labels.is_empty() || self.labels.contains(&facts.label))
            && self.tools.is_none_or(|tools| tools == facts.has_tools)
            && says(&self.efforts, facts.effort.as_deref())
            && self.prompt_tokens_min.is_none_or(|min| facts.prompt_tokens >= min)
            && self.prompt_tokens_max.is_none_or(|max| facts.prompt_tokens <= max)
    }
}

/// Whether a name is as a pattern says, in which `*` is any characters.
pub fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        let check = |pattern: &str, name: &str, expect: bool| {
            assert_eq!(matches(pattern, name), expect, "{pattern} {name}");
        };
        check("gpt-oss-20b", "gpt-oss-20b", true);
        check("gpt-oss-*", "gpt-oss-120b", true);
        check("gpt-oss-*", "gpt-os", false);
        check("*", "", true);
        check("*/*-b", "a/c-b", true);
        check("a*a", "a", false);
        check("a*bc*d", "axbcxd", true);
        check("a*bc*d", "axbxcd", false);
    }
}
