//! Forms in which a model says whether a text violates a policy: gpt-oss-safeguard's three, and Llama
//! Guard's.
//!
//! A form is a constraint that the answer is decoded under, the words that ask for it, the place of the byte
//! that decides, and a reader.

use gptoss_turn::{Body, Fidelity};
use serde::Deserialize;
use serde_json::{Value, json};

/// Longest category that a policy without rule ids may be answered with. Units: characters.
const CATEGORY_CHARS_MAX: u64 = 64;
/// Most rule ids of an answer.
const RULE_IDS_MAX: u64 = 8;
/// Longest rationale. Units: characters.
const RATIONALE_CHARS_MAX: u64 = 600;

/// How the answer looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// `0` or `1`.
    Label,
    /// `{"violation": 1, "policy_category": "H2.f"}`.
    #[default]
    Category,
    /// The same with `rule_ids`, `confidence` and `rationale`.
    Rationale,
    /// `safe`, or `unsafe` and a line of categories.
    LlamaGuard,
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Answer {
    pub(crate) is_violation: bool,
    pub(crate) category: Option<String>,
    pub(crate) rule_ids: Vec<String>,
    pub(crate) confidence: Option<String>,
    pub(crate) rationale: Option<String>,
}

impl Form {
    /// What the answer is decoded under; `rule_ids` are those that it may name.
    pub(crate) fn body(self, rule_ids: &[String]) -> Body {
        match (self.schema(rule_ids), self.pattern(rule_ids)) {
            (Some(schema), _) => Body::JsonSchema { schema, fidelity: Fidelity::Strict },
            (None, Some(pattern)) => Body::Regex(pattern),
            (None, None) => Body::Free,
        }
    }

    /// The pattern of an answer; None where it is JSON.
    pub(crate) fn pattern(self, rule_ids: &[String]) -> Option<String> {
        match self {
            Form::Label => Some("[01]".to_owned()),
            Form::Category | Form::Rationale => None,
            Form::LlamaGuard => {
                let ids: Vec<String> = rule_ids.iter().map(|id| regex_lite::escape(id)).collect();
                let id =
                    if ids.is_empty() { "S[0-9]{1,2}".to_owned() } else { format!("({})", ids.join("|")) };
                Some(format!("safe|unsafe\n{id}(,{id}){{0,7}}"))
            }
        }
    }

    /// The JSON Schema of an answer; None where it is not JSON.
    pub(crate) fn schema(self, rule_ids: &[String]) -> Option<Value> {
        let id = match rule_ids {
            [] => json!({"type": "string", "maxLength": CATEGORY_CHARS_MAX}),
            ids => json!({"type": "string", "enum": ids}),
        };
        let mut properties = json!({
            "violation": {"type": "integer", "enum": [0, 1]},
            "policy_category": {"anyOf": [{"type": "null"}, id.clone()]},
        });
        let mut required = vec!["violation", "policy_category"];
        match self {
            Form::Label | Form::LlamaGuard => return None,
            Form::Category => {}
            Form::Rationale => {
                properties["rule_ids"] = json!({"type": "array", "items": id, "maxItems": RULE_IDS_MAX});
                properties["confidence"] = json!({"type": "string", "enum": ["low", "medium", "high"]});
                properties["rationale"] = json!({"type": "string", "maxLength": RATIONALE_CHARS_MAX});
                required.extend(["rule_ids", "confidence", "rationale"]);
            }
        }
        Some(json!({
            "type": "object", "properties": properties, "required": required, "additionalProperties": false,
        }))
    }

    /// The words that ask for it.
    pub(crate) fn instruction(self) -> &'static str {
        match self {
            Form::Label => {
                "Answer with one character and nothing else: 1 if the content violates the policy, 0 if it does not."
            }
            Form::Category => {
                "Answer with JSON and nothing else: {\"violation\": 1 if the content violates the policy, else 0, \
                 \"policy_category\": the rule that it violates, or null}."
            }
            Form::Rationale => {
                "Answer with JSON and nothing else: {\"violation\": 1 if the content violates the policy, else 0, \
                 \"policy_category\": the rule that decides, or null, \"rule_ids\": all rules that apply, \
                 \"confidence\": \"low\", \"medium\" or \"high\", \"rationale\": one or two sentences}."
            }
            Form::LlamaGuard => {
                "Answer with the word safe, or with the word unsafe and on a second line the violated categories, \
                 separated by commas, and nothing else."
            }
        }
    }

    /// The place of the byte that decides. Units: bytes from the beginning of the answer.
    pub(crate) fn decisive(self, answer: &str) -> Option<usize> {
        const LABEL: &str = "\"violation\"";
        let from = match self {
            Form::Label | Form::LlamaGuard => 0,
            Form::Category | Form::Rationale => answer.find(LABEL)? + LABEL.len(),
        };
        let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == b':';
        let skipped = answer.as_bytes()[from..].iter().take_while(|byte| is_space(byte)).count();
        (from + skipped < answer.len()).then_some(from + skipped)
    }

    /// What that byte means.
    pub(crate) fn means_violation(self, byte: u8) -> Option<bool> {
        match (self, byte) {
            (Form::LlamaGuard, b'u') => Some(true),
            (Form::LlamaGuard, b's') => Some(false),
            (Form::LlamaGuard, _) => None,
            (_, b'1') => Some(true),
            (_, b'0') => Some(false),
            _ => None,
        }
    }

    /// Reads an answer; None when it is none of this form.
    pub(crate) fn read(self, answer: &str) -> Option<Answer> {
        let byte = *answer.as_bytes().get(self.decisive(answer)?)?;
        let is_violation = self.means_violation(byte)?;
        match self {
            Form::Label => Some(Answer { is_violation, ..Answer::default() }),
            Form::LlamaGuard => {
                let ids = answer.trim().lines().nth(1).unwrap_or_default();
                let ids = ids.split(',').map(str::trim).filter(|id| !id.is_empty());
                let rule_ids: Vec<String> = ids.map(str::to_owned).collect();
                Some(Answer {
                    is_violation,
                    category: rule_ids.first().cloned(),
                    rule_ids,
                    ..Answer::default()
                })
            }
            Form::Category | Form::Rationale => {
                let object: Value = serde_json::from_str(answer.trim()).ok()?;
                let text = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
                let ids = object.get("rule_ids").and_then(Value::as_array).into_iter().flatten();
                Some(Answer {
                    is_violation: object.get("violation")?.as_u64()? == 1,
                    category: text("policy_category"),
                    rule_ids: ids.filter_map(Value::as_str).map(str::to_owned).collect(),
                    confidence: text("confidence"),
                    rationale: text("rationale"),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_read() {
        let check = |form: Form, answer: &str, expect: Option<(bool, Option<&str>, usize)>| {
            let read = form.read(answer);
            let read =
                read.as_ref().map(|read| (read.is_violation, read.category.as_deref(), read.rule_ids.len()));
            assert_eq!(read, expect, "{form:?} {answer:?}");
        };
        check(Form::Label, "1", Some((true, None, 0)));
        check(Form::Label, " 0", Some((false, None, 0)));
        check(Form::Label, "yes", None);
        check(Form::Label, "", None);
        check(Form::Category, r#"{"violation":1,"policy_category":"H2.f"}"#, Some((true, Some("H2.f"), 0)));
        check(Form::Category, r#"{"violation": 0, "policy_category": null}"#, Some((false, None, 0)));
        check(Form::Category, r#"{"violation":1"#, None);
        let whole = r#"{"violation":1,"policy_category":"A1","rule_ids":["A1","B2"],"confidence":"high","rationale":"so"}"#;
        check(Form::Rationale, whole, Some((true, Some("A1"), 2)));
        check(Form::LlamaGuard, "safe", Some((false, None, 0)));
        check(Form::LlamaGuard, "unsafe\nS1,S9", Some((true, Some("S1"), 2)));
        check(Form::LlamaGuard, "maybe", None);
    }
}
