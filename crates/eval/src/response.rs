//! What a model answered, as a row of a file.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One answer to one item.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Response {
    /// The item's id.
    pub id: String,
    /// Which time the item was asked, from 0.
    pub repeat: u32,
    /// The answer's text; empty where there is none.
    pub response: String,
    /// The text of the reasoning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// Function calls: objects of one member, the function's name, with its arguments as an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<Vec<Value>>,
    /// Why it ended, as the chat API says it: `length` is at a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<String>,
    /// Why there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What a grader said of it: a text, or one for each rubric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grades: Option<Vec<Value>>,
    /// Tokens, as the chat API counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Value>,
}

impl Response {
    /// Whether it ended at a limit of tokens.
    pub fn is_cut(&self) -> bool {
        matches!(self.finish_reason.as_deref(), Some("length" | "max_tokens" | "max_output_tokens"))
    }
}
