//! What do the few bodies of Ollama's API look like that clients probe for?
//!
//! Enough for clients that look for a model (`tags`, `show`, `version`, `pull` of what is already here) and
//! for those that only speak this dialect (`chat`, `generate`, streamed as one JSON object a line).
//! What a request asks that is not kept is refused, or told in the last line. Everything else of Ollama is
//! not here and says so.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::chat::{Stops, TokenLogprob};

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
    /// low, medium, high, or a bool; false is no reasoning.
    pub think: Option<Value>,
    /// How long the model stays loaded after this request, where models come and go: seconds, or a duration
    /// such as `5m`; 0 is not at all, below 0 for ever.
    pub keep_alive: Option<Value>,
    /// Whether the answer's tokens come with log-probabilities.
    pub logprobs: Option<bool>,
    /// How many likeliest tokens come with each.
    pub top_logprobs: Option<u32>,
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
    /// Whether the prompt goes to the model as it is, without the format and without `system`.
    pub raw: Option<bool>,
    /// Refused: this model reads text only.
    pub images: Option<Vec<Value>>,
    /// Refused: this model does not fill gaps.
    pub suffix: Option<String>,
    /// Refused: the model has its own format.
    pub template: Option<String>,
    /// Refused: a conversation belongs into chat.
    pub context: Option<Vec<Value>>,
    /// How long the model stays loaded after this request, where models come and go: seconds, or a duration
    /// such as `5m`; 0 is not at all, below 0 for ever.
    pub keep_alive: Option<Value>,
    /// As in chat; refused when raw.
    pub logprobs: Option<bool>,
    /// As in chat.
    pub top_logprobs: Option<u32>,
}

/// Sampling and lengths, by Ollama's names. What belongs to the machine (`num_gpu`, `num_thread`) is the
/// operator's and passed over.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are Ollama's")]
pub struct OllamaOptions {
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub top_k: Option<i64>,
    pub min_p: Option<f64>,
    pub seed: Option<i64>,
    pub num_predict: Option<i64>,
    pub num_ctx: Option<i64>,
    pub stop: Option<Stops>,
    pub presence_penalty: Option<f64>,
    pub frequency_penalty: Option<f64>,
    pub repeat_penalty: Option<f64>,
    pub repeat_last_n: Option<Value>,
    pub typical_p: Option<Value>,
    pub tfs_z: Option<Value>,
    pub mirostat: Option<Value>,
    pub penalize_newline: Option<Value>,
}

/// A message, both ways.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct OllamaMessage {
    /// system, user, assistant or tool.
    pub role: String,
    /// The text.
    #[serde(default)]
    pub content: String,
    /// Refused unless empty: this model reads text only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<Vec<Value>>,
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
    /// From the request to its end, in the last line. Units: nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_duration: Option<u64>,
    /// Waiting for a place, since the model is always loaded; in the last line. Units: nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_duration: Option<u64>,
    /// Reading, in the last line. Units: nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_eval_duration: Option<u64>,
    /// Writing, in the last line. Units: nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_duration: Option<u64>,
    /// Log-probabilities of the tokens of the line, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Vec<TokenLogprob>>,
    /// What was changed, repaired or not kept; in the last line, absent when nothing was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
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
