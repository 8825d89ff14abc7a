//! What do the bodies of the Responses API look like?
//!
//! The request, the response object with every field that OpenAI's has, and the small bodies of lists and
//! deletions. Items are in `response_items`, events in `response_events`. Input items are read as plain JSON
//! objects here, because agents send back items of many kinds and shapes; the conversion judges each by its
//! `type`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::dialect::Dialect;
use super::moderations::{Moderated, ModerationSettings};
use super::response_items::Item;

/// A request for a response.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct ResponsesRequest {
    /// The model; the served one when absent.
    pub model: Option<String>,
    /// A text, or items.
    pub input: Option<Input>,
    /// What the developer wants of the model.
    pub instructions: Option<Value>,
    /// Functions, custom tools, namespaces and built-in tools: shell, local_shell and apply_patch, which the
    /// client runs, and web_search, code_interpreter and mcp, which the server runs if the operator turned
    /// them on. Other kinds are left out with a warning.
    pub tools: Option<Vec<Value>>,
    /// none, auto, required, one named tool, or allowed tools.
    pub tool_choice: Option<Value>,
    /// Accepted; the format has one call at a time.
    pub parallel_tool_calls: Option<bool>,
    /// Effort and summary.
    pub reasoning: Option<ReasoningRequest>,
    /// Format of the answer.
    pub text: Option<TextRequest>,
    /// Most tokens to write, reasoning included.
    pub max_output_tokens: Option<i64>,
    /// Most tokens of reasoning; 0 lets the answer begin at once, -1 is no limit.
    pub max_reasoning_tokens: Option<i64>,
    /// vLLM's name of the same.
    pub thinking_token_budget: Option<i64>,
    /// Most calls of tools that the server runs; at least 1.
    pub max_tool_calls: Option<i64>,
    /// Randomness, 0 to 2.
    pub temperature: Option<f64>,
    /// Keep the likeliest tokens whose probabilities add up to this.
    pub top_p: Option<f64>,
    /// Keep this many of the likeliest tokens.
    pub top_k: Option<i64>,
    /// Keep tokens at least this likely relative to the likeliest.
    pub min_p: Option<f64>,
    /// Lower every token that has appeared by this much.
    pub presence_penalty: Option<f64>,
    /// Lower a token by this much for each time it has appeared.
    pub frequency_penalty: Option<f64>,
    /// Divide the logit of tokens that have appeared.
    pub repetition_penalty: Option<f64>,
    /// Added to the logits of tokens, by id.
    pub logit_bias: Option<BTreeMap<String, f64>>,
    /// How many likeliest tokens come with each token of the answer.
    pub top_logprobs: Option<u32>,
    /// Seed of the random numbers.
    pub seed: Option<i64>,
    /// Strings before which the answer ends.
    pub stop: Option<super::chat::Stops>,
    /// disabled refuses what is too long; auto leaves out the oldest turns.
    pub truncation: Option<String>,
    /// Up to 16 pairs.
    pub metadata: Option<BTreeMap<String, String>>,
    /// Whether to keep the response; it is kept unless this is false.
    pub store: Option<bool>,
    /// The response to go on from.
    pub previous_response_id: Option<String>,
    /// The conversation to go on with, by id or as `{"id"}`.
    pub conversation: Option<Value>,
    /// Whether to answer at once and write on.
    pub background: Option<bool>,
    /// What to send besides: message.output_text.logprobs, reasoning.encrypted_content,
    /// web_search_call.action.sources, code_interpreter_call.outputs.
    pub include: Option<Vec<String>>,
    /// Whether to send the response while it is written.
    pub stream: Option<bool>,
    /// At most one: `compaction`.
    pub context_management: Option<Vec<ContextManagement>>,
    /// Accepted.
    pub stream_options: Option<Value>,
    /// raw, summary or hidden; never more than the key allows.
    pub reasoning_visibility: Option<String>,
    /// A template of the operator's, whose text stands before the instructions.
    pub prompt: Option<PromptRequest>,
    /// Accepted: prefixes are found by their tokens.
    pub prompt_cache_key: Option<String>,
    /// Accepted.
    pub service_tier: Option<String>,
    /// Accepted.
    pub user: Option<String>,
    /// Accepted.
    pub safety_identifier: Option<String>,
    /// What is judged of the input and the output; refused by a server without --guard.
    pub moderation: Option<ModerationSettings>,
    /// vLLM: false hides the reasoning.
    pub include_reasoning: Option<bool>,
    /// Constraints and lengths by the names of other servers.
    #[serde(flatten)]
    pub dialect: Dialect,
}

/// How a conversation that becomes long is shortened.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct ContextManagement {
    /// Always `compaction`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Tokens of input beyond which a summary takes the place of what was said before; seven eighths of the
    /// context when absent.
    pub compact_threshold: Option<i64>,
}

/// A template, and what is put into it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PromptRequest {
    /// Its id: the file's name.
    pub id: String,
    /// A number; the highest when absent.
    pub version: Option<String>,
    /// A text, or an input_text, for each place.
    pub variables: Option<BTreeMap<String, Value>>,
}

/// What the model is asked.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a string or a list of input items")]
pub enum Input {
    /// What the user says.
    Text(String),
    /// Messages, reasoning, calls and their results.
    Items(Vec<Value>),
}

/// How to reason.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct ReasoningRequest {
    /// low, medium or high (minimal counts as low, xhigh as high); none is no reasoning.
    pub effort: Option<String>,
    /// Most tokens of reasoning, as `max_reasoning_tokens`.
    pub max_tokens: Option<i64>,
    /// auto, concise or detailed adds a summary, written by the same model in a pass of its own.
    pub summary: Option<String>,
    /// The older name of the same.
    pub generate_summary: Option<String>,
}

/// How to answer.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct TextRequest {
    /// text, json_object or json_schema.
    pub format: Option<Value>,
    /// low, medium or high: told to the model.
    pub verbosity: Option<String>,
}

/// A response.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct ResponseObject {
    /// `resp_` and digits.
    pub id: String,
    /// Always `response`.
    pub object: String,
    /// Seconds since 1970.
    pub created_at: u64,
    /// Seconds since 1970.
    pub completed_at: Option<u64>,
    /// queued, in_progress, completed, incomplete, failed or cancelled.
    pub status: String,
    /// Whether it was asked to run in the background.
    pub background: bool,
    /// Why it failed.
    pub error: Option<ResponseError>,
    /// Why it is incomplete.
    pub incomplete_details: Option<IncompleteDetails>,
    /// As asked for.
    pub instructions: Option<Value>,
    /// As asked for.
    pub max_output_tokens: Option<i64>,
    /// As asked for.
    pub max_tool_calls: Option<i64>,
    /// The model that answered.
    pub model: String,
    /// What the model said, in order.
    pub output: Vec<Item>,
    /// As asked for.
    pub parallel_tool_calls: bool,
    /// The response this one goes on from.
    pub previous_response_id: Option<String>,
    /// The conversation it belongs to.
    pub conversation: Option<ConversationId>,
    /// As asked for; absent when it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<PromptRequest>,
    /// As asked for.
    pub prompt_cache_key: Option<String>,
    /// As honoured.
    pub reasoning: ReasoningSettings,
    /// As asked for.
    pub safety_identifier: Option<String>,
    /// Always `default`.
    pub service_tier: String,
    /// Whether it is kept.
    pub store: bool,
    /// As honoured.
    pub temperature: f64,
    /// As honoured.
    pub text: TextSettings,
    /// As asked for.
    pub tool_choice: Value,
    /// As asked for.
    pub tools: Vec<Value>,
    /// As honoured.
    pub top_logprobs: u32,
    /// As honoured.
    pub top_p: f64,
    /// As honoured.
    pub presence_penalty: f64,
    /// As honoured.
    pub frequency_penalty: f64,
    /// As honoured.
    pub truncation: String,
    /// What it took; null until it has ended.
    pub usage: Option<ResponseUsage>,
    /// As asked for; absent when it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// As asked for.
    pub metadata: BTreeMap<String, String>,
    /// What was changed, repaired or left out; absent when nothing was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What was found in the input and the output; absent when nobody looked, and until it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moderation: Option<Moderated>,
}

/// Why a response failed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ResponseError {
    /// A word for programs.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

/// Why a response is incomplete.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct IncompleteDetails {
    /// max_output_tokens, context_length_exceeded (none was given, or it did not fit), deadline_exceeded or
    /// content_filter.
    pub reason: String,
}

/// A conversation, by its id.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ConversationId {
    /// `conv_` and digits.
    pub id: String,
}

/// Effort and summary as honoured.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct ReasoningSettings {
    /// low, medium or high.
    pub effort: String,
    /// As asked for.
    pub summary: Option<String>,
}

/// Format as honoured.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct TextSettings {
    /// As asked for.
    pub format: Value,
    /// As asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verbosity: Option<String>,
}

/// What a response took.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct ResponseUsage {
    /// Tokens read.
    pub input_tokens: u64,
    /// Of those.
    pub input_tokens_details: InputDetails,
    /// Tokens written.
    pub output_tokens: u64,
    /// Of those.
    pub output_tokens_details: OutputDetails,
    /// Both.
    pub total_tokens: u64,
}

/// Of the tokens read.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct InputDetails {
    /// Those that had been computed before.
    pub cached_tokens: u64,
    /// Always 0: keeping a prefix is not counted.
    #[serde(default)]
    pub cache_write_tokens: u64,
}

/// Of the tokens written.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct OutputDetails {
    /// Those of the reasoning.
    pub reasoning_tokens: u64,
}

/// One page of items.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ItemList {
    /// Always `list`.
    pub object: &'static str,
    /// The items.
    pub data: Vec<Value>,
    /// Id of the first.
    pub first_id: Option<String>,
    /// Id of the last.
    pub last_id: Option<String>,
    /// Whether there are more.
    pub has_more: bool,
}

/// What was deleted.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Deleted {
    /// Its id.
    pub id: String,
    /// What it was.
    pub object: &'static str,
    /// Always true.
    pub deleted: bool,
}

/// A request to shorten a conversation.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct CompactRequest {
    /// The model.
    pub model: String,
    /// A text, or items.
    pub input: Option<Input>,
    /// What the developer wants of the model.
    pub instructions: Option<Value>,
    /// The response to go on from.
    pub previous_response_id: Option<String>,
}

/// A shortened conversation.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Compaction {
    /// `resp_` and digits.
    pub id: String,
    /// Always `response.compaction`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created_at: u64,
    /// The input of the next request: the user's messages and a summary of the rest.
    pub output: Vec<Value>,
    /// What it took.
    pub usage: ResponseUsage,
}

/// How many tokens the model would read.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct InputTokens {
    /// Always `response.input_tokens`.
    pub object: &'static str,
    /// The tokens of the prompt, the format's own included.
    pub input_tokens: usize,
}

/// A request to make or change a conversation.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct ConversationRequest {
    /// Items to begin with.
    pub items: Option<Vec<Value>>,
    /// Up to 16 pairs.
    pub metadata: Option<BTreeMap<String, String>>,
}

/// A conversation.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ConversationObject {
    /// `conv_` and digits.
    pub id: String,
    /// Always `conversation`.
    pub object: String,
    /// Seconds since 1970.
    pub created_at: u64,
    /// Up to 16 pairs.
    pub metadata: BTreeMap<String, String>,
}
