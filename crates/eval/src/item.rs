//! One question of a benchmark.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Key;

/// What a model is asked, and what its answer is held to.
///
/// An item that is asked again is there again, under the same id: a recipe may permute the choices of each
/// repeat anew. `(id, repeat)` is unique in a suite.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The row's own id, or its number from 0.
    pub id: String,
    /// Which time it is asked, from 0.
    pub repeat: u32,
    /// What scores are told apart by: a subject, a category.
    pub group: Option<String>,
    /// The row's question without a template.
    pub question: String,
    /// What the model is given.
    pub ask: Ask,
    /// What the answer is held to.
    pub key: Key,
}

/// What a model is given.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ask {
    /// The conversation so far.
    pub messages: Vec<AskMessage>,
    /// Functions that it may call: objects with `name`, `description` and `parameters`, a JSON Schema.
    pub functions: Vec<Value>,
}

/// A message of the conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskMessage {
    /// Who says it.
    pub role: AskRole,
    /// What is said.
    pub text: String,
}

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AskRole {
    /// Instructions of the benchmark.
    System,
    /// The same under the newer name.
    Developer,
    /// Who asks.
    User,
    /// The model.
    Assistant,
}

impl AskRole {
    /// In the chat API's words.
    pub fn name(self) -> &'static str {
        match self {
            AskRole::System => "system",
            AskRole::Developer => "developer",
            AskRole::User => "user",
            AskRole::Assistant => "assistant",
        }
    }
}

impl Ask {
    /// A single message of the user.
    pub fn user(text: impl Into<String>) -> Ask {
        let message = AskMessage { role: AskRole::User, text: text.into() };
        Ask { messages: vec![message], functions: Vec::new() }
    }
}
