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
#[expect(dead_code, reason = "some fields are accepted and mean nothing here; the description names them")]
pub(crate) struct OllamaChatRequest {
    /// The model.
    pub(crate) model: Option<String>,
    /// The conversation so far.
    #[serde(default)]
    pub(crate) messages: Vec<OllamaMessage>,
    /// Functions the model may call.
    pub(crate) tools: Option<Vec<Value>>,
    /// `json`, or a JSON Schema.
    pub(crate) format: Option<Value>,
    /// Sampling: temperature, top_p, top_k, min_p, seed, num_predict, stop, penalties.
    pub(crate) options: Option<OllamaOptions>,
    /// Streams unless this is false.
    pub(crate) stream: Option<bool>,
    /// low, medium, high, or a bool; false hides the reasoning.
    pub(crate) think: Option<Value>,
    /// Accepted: the model stays loaded.
    pub(crate) keep_alive: Option<Value>,
}

/// A request to `/api/generate`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub(crate) struct OllamaGenerateRequest {
    /// The model.
    pub(crate) model: Option<String>,
    /// What the user says.
    pub(crate) prompt: Option<String>,
    /// Instructions.
    pub(crate) system: Option<String>,
    /// `json`, or a JSON Schema.
    pub(crate) format: Option<Value>,
    /// As in chat.
    pub(crate) options: Option<OllamaOptions>,
    /// Streams unless this is false.
    pub(crate) stream: Option<bool>,
    /// As in chat.
    pub(crate) think: Option<Value>,
}

/// Sampling, by Ollama's names.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub(crate) struct OllamaOptions {
    pub(crate) temperature: Option<f64>,
    pub(crate) top_p: Option<f64>,
    pub(crate) top_k: Option<i64>,
    pub(crate) min_p: Option<f64>,
    pub(crate) seed: Option<i64>,
    pub(crate) num_predict: Option<i64>,
    pub(crate) stop: Option<Vec<String>>,
    pub(crate) presence_penalty: Option<f64>,
    pub(crate) frequency_penalty: Option<f64>,
    pub(crate) repeat_penalty: Option<f64>,
}

/// A message, both ways.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub(crate) struct OllamaMessage {
    /// system, user, assistant or tool.
    pub(crate) role: String,
    /// The text.
    #[serde(default)]
    pub(crate) content: String,
    /// The assistant's reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) thinking: Option<String>,
    /// Calls that the assistant made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tool_calls: Option<Vec<OllamaCall>>,
    /// The tool that speaks.
    #[serde(skip_serializing_if = "Option::is_none", alias = "name")]
    pub(crate) tool_name: Option<String>,
    /// The call it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tool_call_id: Option<String>,
}

/// A call.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct OllamaCall {
    /// By which the result may refer to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// The function.
    pub(crate) function: OllamaFunction,
}

/// The function of a call.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct OllamaFunction {
    /// Its name.
    pub(crate) name: String,
    /// The arguments: an object here, not text.
    #[serde(default)]
    pub(crate) arguments: Value,
}

/// One line of an answer.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct OllamaLine {
    /// The model.
    pub(crate) model: String,
    /// When.
    pub(crate) created_at: String,
    /// Of chat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<OllamaMessage>,
    /// Of generate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) response: Option<String>,
    /// Reasoning, of generate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) thinking: Option<String>,
    /// Whether it is the last line.
    pub(crate) done: bool,
    /// stop or length, in the last line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) done_reason: Option<&'static str>,
    /// Tokens read, in the last line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prompt_eval_count: Option<u64>,
    /// Tokens written, in the last line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) eval_count: Option<u64>,
    /// Nanoseconds of the whole, in the last line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) total_duration: Option<u64>,
}

/// A request that names a model.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub(crate) struct OllamaName {
    /// The model.
    #[serde(alias = "name")]
    pub(crate) model: Option<String>,
}

/// How Ollama says that something went wrong.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct OllamaError {
    /// The sentence.
    pub(crate) error: String,
}
