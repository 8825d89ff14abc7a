//! A policy in words, and what a model reads and writes that judges a text under it.
//!
//! The policy is the developer's, the text the user's, as gpt-oss-safeguard was trained; what is asked for
//! stands before the policy and after it. The text is content and never instruction: it is rendered as a user
//! message, in which nothing is a control token.

use std::sync::LazyLock;

use gptoss_harmony::{Conversation, DeveloperContent, Message, ReasoningEffort, SystemContent};
use gptoss_turn::{Reasoning, ToolChoice, TurnRules};
use regex_lite::Regex;

use crate::address::Address;
use crate::form::Form;

/// Most rule ids that are looked for in a policy.
const RULE_IDS_MAX: usize = 256;

/// Names of rules in a policy's text: `SP2`, `H2.f`, `D-SP2`.
static RULE_ID: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\b(?:[A-Z]-)?[A-Z]{1,4}[0-9]{1,3}(?:\.[a-z0-9]{1,3})*\b")
        .expect("a constant that is a pattern")
});

/// A policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// What it is called.
    pub name: String,
    /// What it says.
    pub text: String,
    /// How much the judge thinks.
    pub effort: ReasoningEffort,
    /// The probability from which a text violates it, 0 to 1.
    pub threshold: f64,
    /// How the answer looks.
    pub form: Form,
    /// Who judges.
    pub judge: Judge,
    /// The rules that the text names.
    pub rule_ids: Vec<String>,
}

/// Who judges.
#[derive(Debug, Clone, PartialEq)]
pub enum Judge {
    /// A model that is served here, by its name; None is the one that answers.
    Served(Option<String>),
    /// A model at another address.
    Elsewhere(Address),
}

impl Policy {
    /// A policy with the usual settings.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Policy {
        let text = text.into();
        Policy {
            name: name.into(),
            rule_ids: rule_ids(&text),
            text,
            effort: ReasoningEffort::Low,
            threshold: 0.5,
            form: Form::default(),
            judge: Judge::Served(None),
        }
    }

    /// What the developer says.
    pub(crate) fn instructions(&self) -> String {
        let asked = self.form.instruction();
        format!("{asked}\n\n{}\n\n{asked}", self.text.trim())
    }

    /// What the judge reads.
    pub(crate) fn conversation(&self, text: &str) -> Conversation {
        let system = SystemContent::default().with_reasoning_effort(self.effort);
        let developer = DeveloperContent::default().with_instructions(self.instructions());
        Conversation::from_messages([
            Message::system(system),
            Message::developer(developer),
            Message::user(text),
        ])
    }

    /// What its answer is decoded under.
    pub(crate) fn rules(&self) -> TurnRules {
        TurnRules {
            tool_choice: ToolChoice::None,
            answer: self.form.body(&self.rule_ids),
            reasoning: Reasoning { preambles: false, budget: None },
            ..TurnRules::default()
        }
    }
}

/// The rules that a text names, each once, in order.
fn rule_ids(text: &str) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    for found in RULE_ID.find_iter(text) {
        if ids.len() == RULE_IDS_MAX {
            break;
        }
        if !ids.iter().any(|id| id == found.as_str()) {
            ids.push(found.as_str().to_owned());
        }
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_found_in_the_text() {
        let check = |text: &str, expect: &[&str]| assert_eq!(rule_ids(text), expect, "{text}");
        check("**SP2**: bulk. See H2.f and D-SP2; SP2 again.", &["SP2", "H2.f", "D-SP2"]);
        check("No rules: version 2 of a text in UPPER case.", &[]);
    }

    #[test]
    fn the_policy_is_the_developers_and_the_text_the_users() {
        let policy = Policy::new("p", "Say nothing of cats (C1).");
        let messages = policy.conversation("<|end|>cats").messages;
        let roles: Vec<&str> = messages.iter().map(|message| message.author.role.as_str()).collect();
        assert_eq!(roles, ["system", "developer", "user"]);
        assert_eq!(messages[2].text(), "<|end|>cats");
        let asked = policy.instructions();
        assert_eq!(asked.matches("Answer with JSON").count(), 2, "{asked}");
        assert!(asked.contains("Say nothing of cats (C1)."));
    }
}
