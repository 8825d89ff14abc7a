//! What do the few bodies of Ollama's API look like that clients probe for?
//!
//! Enough for clients that look for a model (`tags`, `show`, `version`, `pull` of what is already here) and
//! for those that only speak this dialect (`chat`, `generate`, streamed as one JSON object a line).
//! Everything else of Ollama is not here and says so with a 404.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A request to `/api/chat`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct OllamaChatRequest {
    /// The model.
    pub model: Option<String>,
    /// The conversation so far.
    #[serde(default)]
    pub messages: Vec<OllamaMessage>,
    /// Functions the model may call.
    pub tools: Option<Vec<Value>>,
    /// `json`, or a JSON Schema.
    pub format: Option<Value>,
    /// Sampling: temperature, top_p, top_k, min_p, seed, num_predict, stop, penalties.
    pub options: Option<OllamaOptions>,
    /// Streams unless this is false.
    pub stream: Option<bool>,
    /// low, medium, high, or a bool; false hides the reasoning.
    pub think: Option<Value>,
    /// Accepted: the model stays loaded.
    pub keep_alive: Option<Value>,
}

/// A request to `/api/generate`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct OllamaGenerateRequest {
    /// The model.
    pub model: Option<String>,
    /// What the user says.
    pub prompt: Option<String>,
    /// Instructions.
    pub system: Option<String>,
    /// `json`, or a JSON Schema.
    pub format: Option<Value>,
    /// As in chat.
    pub options: Option<OllamaOptions>,
    /// Streams unless this is false.
    pub stream: Option<bool>,
    /// As in chat.
    pub think: Option<Value>,
}

/// Sampling, by Ollama's names.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are Ollama's")]
pub struct OllamaOptions {
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub top_k: Option<i64>,
    pub min_p: Option<f64>,
    pub seed: Option<i64>,
    pub num_predict: Option<i64>,
    pub stop: Option<Vec<String>>,
    pub presence_penalty: Option<f64>,
    pub frequency_penalty: Option<f64>,
    pub repeat_penalty: Option<f64>,
}

/// A message, both ways.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct OllamaMessage {
    /// system, user, assistant or tool.
    pub role: String,
    /// The text.
    #[serde(default)]
    pub content: String,
    /// The assistant's reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking: Option<String>,
    /// Calls that the assistant made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<Vec<OllamaCall>>,
    /// The tool that speaks.
    #[serde(skip_serializing_if = "Option::is_none", alias = "name")]
    pub tool_name: Option<String>,
    /// The call it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}

/// A call.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct OllamaCall {
    /// By which the result may refer to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The function.
    pub function: OllamaFunction,
}

/// The function of a call.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct OllamaFunction {
    /// Its name.
    pub name: String,
    /// The arguments: an object here, not text.
    #[serde(default)]
    pub arguments: Value,
}

/// One line of an answer.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct OllamaLine {
    /// The model.
    pub model: String,
    /// When.
    pub created_at: String,
    /// Of chat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<OllamaMessage>,
    /// Of generate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<String>,
    /// Reasoning, of generate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking: Option<String>,
    /// Whether it is the last line.
    pub done: bool,
    /// stop or length, in the last line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done_reason: Option<&'static str>,
    /// Tokens read, in the last line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_eval_count: Option<u64>,
    /// Tokens written, in the last line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_count: Option<u64>,
    /// Nanoseconds of the whole, in the last line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_duration: Option<u64>,
}

/// A request that names a model.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct OllamaName {
    /// The model.
    #[serde(alias = "name")]
    pub model: Option<String>,
}

/// How Ollama says that something went wrong.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct OllamaError {
    /// The sentence.
    pub error: String,
}
