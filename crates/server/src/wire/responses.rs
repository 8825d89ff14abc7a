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

use super::response_items::Item;

/// A request for a response.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[expect(dead_code, reason = "some fields are accepted and mean nothing here; the description names them")]
pub(crate) struct ResponsesRequest {
    /// The model; the served one when absent.
    pub(crate) model: Option<String>,
    /// A text, or items.
    pub(crate) input: Option<Input>,
    /// What the developer wants of the model.
    pub(crate) instructions: Option<Value>,
    /// Functions, custom tools and namespaces; other kinds are left out with a warning.
    pub(crate) tools: Option<Vec<Value>>,
    /// none, auto, required, one named tool, or allowed tools.
    pub(crate) tool_choice: Option<Value>,
    /// Accepted; the format has one call at a time.
    pub(crate) parallel_tool_calls: Option<bool>,
    /// Effort and summary.
    pub(crate) reasoning: Option<ReasoningRequest>,
    /// Format of the answer.
    pub(crate) text: Option<TextRequest>,
    /// Most tokens to write, reasoning included.
    pub(crate) max_output_tokens: Option<i64>,
    /// Accepted: there are no built-in tools to count.
    pub(crate) max_tool_calls: Option<i64>,
    /// Randomness, 0 to 2.
    pub(crate) temperature: Option<f64>,
    /// Keep the likeliest tokens whose probabilities add up to this.
    pub(crate) top_p: Option<f64>,
    /// Keep this many of the likeliest tokens.
    pub(crate) top_k: Option<i64>,
    /// Keep tokens at least this likely relative to the likeliest.
    pub(crate) min_p: Option<f64>,
    /// Lower every token that has appeared by this much.
    pub(crate) presence_penalty: Option<f64>,
    /// Lower a token by this much for each time it has appeared.
    pub(crate) frequency_penalty: Option<f64>,
    /// Divide the logit of tokens that have appeared.
    pub(crate) repetition_penalty: Option<f64>,
    /// Added to the logits of tokens, by id.
    pub(crate) logit_bias: Option<BTreeMap<String, f64>>,
    /// How many likeliest tokens come with each token of the answer.
    pub(crate) top_logprobs: Option<u32>,
    /// Seed of the random numbers.
    pub(crate) seed: Option<i64>,
    /// Strings before which the answer ends.
    pub(crate) stop: Option<super::chat::Stops>,
    /// disabled refuses what is too long; auto leaves out the oldest turns.
    pub(crate) truncation: Option<String>,
    /// Up to 16 pairs.
    pub(crate) metadata: Option<BTreeMap<String, String>>,
    /// Whether to keep the response; it is kept unless this is false.
    pub(crate) store: Option<bool>,
    /// The response to go on from.
    pub(crate) previous_response_id: Option<String>,
    /// The conversation to go on with, by id or as `{"id"}`.
    pub(crate) conversation: Option<Value>,
    /// Whether to answer at once and write on.
    pub(crate) background: Option<bool>,
    /// What to send besides: message.output_text.logprobs, reasoning.encrypted_content.
    pub(crate) include: Option<Vec<String>>,
    /// Whether to send the response while it is written.
    pub(crate) stream: Option<bool>,
    /// Accepted.
    pub(crate) stream_options: Option<Value>,
    /// raw, summary or hidden; never more than the key allows.
    pub(crate) reasoning_visibility: Option<String>,
    /// Refused: prompts are not stored here.
    pub(crate) prompt: Option<Value>,
    /// Accepted: prefixes are found by their tokens.
    pub(crate) prompt_cache_key: Option<String>,
    /// Accepted.
    pub(crate) service_tier: Option<String>,
    /// Accepted.
    pub(crate) user: Option<String>,
    /// Accepted.
    pub(crate) safety_identifier: Option<String>,
}

/// What the model is asked.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a string or a list of input items")]
pub(crate) enum Input {
    /// What the user says.
    Text(String),
    /// Messages, reasoning, calls and their results.
    Items(Vec<Value>),
}

/// How to reason.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub(crate) struct ReasoningRequest {
    /// low, medium or high (minimal and none count as low, xhigh as high).
    pub(crate) effort: Option<String>,
    /// auto, concise or detailed adds a summary, written by the same model in a pass of its own.
    pub(crate) summary: Option<String>,
    /// The older name of the same.
    pub(crate) generate_summary: Option<String>,
}

/// How to answer.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub(crate) struct TextRequest {
    /// text, json_object or json_schema.
    pub(crate) format: Option<Value>,
    /// low, medium or high: told to the model.
    pub(crate) verbosity: Option<String>,
}

/// A response.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ResponseObject {
    /// `resp_` and digits.
    pub(crate) id: String,
    /// Always `response`.
    pub(crate) object: String,
    /// Seconds since 1970.
    pub(crate) created_at: u64,
    /// Seconds since 1970.
    pub(crate) completed_at: Option<u64>,
    /// queued, in_progress, completed, incomplete, failed or cancelled.
    pub(crate) status: String,
    /// Whether it was asked to run in the background.
    pub(crate) background: bool,
    /// Why it failed.
    pub(crate) error: Option<ResponseError>,
    /// Why it is incomplete.
    pub(crate) incomplete_details: Option<IncompleteDetails>,
    /// As asked for.
    pub(crate) instructions: Option<Value>,
    /// As asked for.
    pub(crate) max_output_tokens: Option<i64>,
    /// As asked for.
    pub(crate) max_tool_calls: Option<i64>,
    /// The model that answered.
    pub(crate) model: String,
    /// What the model said, in order.
    pub(crate) output: Vec<Item>,
    /// As asked for.
    pub(crate) parallel_tool_calls: bool,
    /// The response this one goes on from.
    pub(crate) previous_response_id: Option<String>,
    /// The conversation it belongs to.
    pub(crate) conversation: Option<ConversationId>,
    /// As asked for.
    pub(crate) prompt_cache_key: Option<String>,
    /// As honoured.
    pub(crate) reasoning: ReasoningSettings,
    /// As asked for.
    pub(crate) safety_identifier: Option<String>,
    /// Always `default`.
    pub(crate) service_tier: String,
    /// Whether it is kept.
    pub(crate) store: bool,
    /// As honoured.
    pub(crate) temperature: f64,
    /// As honoured.
    pub(crate) text: TextSettings,
    /// As asked for.
    pub(crate) tool_choice: Value,
    /// As asked for.
    pub(crate) tools: Vec<Value>,
    /// As honoured.
    pub(crate) top_logprobs: u32,
    /// As honoured.
    pub(crate) top_p: f64,
    /// As honoured.
    pub(crate) presence_penalty: f64,
    /// As honoured.
    pub(crate) frequency_penalty: f64,
    /// As honoured.
    pub(crate) truncation: String,
    /// What it took; null until it has ended.
    pub(crate) usage: Option<ResponseUsage>,
    /// As asked for.
    pub(crate) user: Option<String>,
    /// As asked for.
    pub(crate) metadata: BTreeMap<String, String>,
    /// What was changed, repaired or left out; absent when nothing was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
}

/// Why a response failed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ResponseError {
    /// A word for programs.
    pub(crate) code: String,
    /// A sentence for people.
    pub(crate) message: String,
}

/// Why a response is incomplete.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct IncompleteDetails {
    /// max_output_tokens, context_length_exceeded (none was given, or it did not fit) or deadline_exceeded.
    pub(crate) reason: String,
}

/// A conversation, by its id.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ConversationId {
    /// `conv_` and digits.
    pub(crate) id: String,
}

/// Effort and summary as honoured.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ReasoningSettings {
    /// low, medium or high.
    pub(crate) effort: String,
    /// As asked for.
    pub(crate) summary: Option<String>,
}

/// Format as honoured.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TextSettings {
    /// As asked for.
    pub(crate) format: Value,
    /// As asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) verbosity: Option<String>,
}

/// What a response took.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ResponseUsage {
    /// Tokens read.
    pub(crate) input_tokens: u64,
    /// Of those.
    pub(crate) input_tokens_details: InputDetails,
    /// Tokens written.
    pub(crate) output_tokens: u64,
    /// Of those.
    pub(crate) output_tokens_details: OutputDetails,
    /// Both.
    pub(crate) total_tokens: u64,
}

/// Of the tokens read.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub(crate) struct InputDetails {
    /// Those that had been computed before.
    pub(crate) cached_tokens: u64,
}

/// Of the tokens written.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub(crate) struct OutputDetails {
    /// Those of the reasoning.
    pub(crate) reasoning_tokens: u64,
}

/// One page of items.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct ItemList {
    /// Always `list`.
    pub(crate) object: &'static str,
    /// The items.
    pub(crate) data: Vec<Value>,
    /// Id of the first.
    pub(crate) first_id: Option<String>,
    /// Id of the last.
    pub(crate) last_id: Option<String>,
    /// Whether there are more.
    pub(crate) has_more: bool,
}

/// What was deleted.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Deleted {
    /// Its id.
    pub(crate) id: String,
    /// What it was.
    pub(crate) object: &'static str,
    /// Always true.
    pub(crate) deleted: bool,
}

/// A request to shorten a conversation.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub(crate) struct CompactRequest {
    /// The model; the served one when absent.
    pub(crate) model: Option<String>,
    /// A text, or items.
    pub(crate) input: Option<Input>,
    /// What the developer wants of the model.
    pub(crate) instructions: Option<Value>,
    /// The response to go on from.
    pub(crate) previous_response_id: Option<String>,
}

/// A shortened conversation.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Compaction {
    /// `resp_` and digits.
    pub(crate) id: String,
    /// Always `response.compaction`.
    pub(crate) object: &'static str,
    /// Seconds since 1970.
    pub(crate) created_at: u64,
    /// The input of the next request: the user's messages and a summary of the rest.
    pub(crate) output: Vec<Value>,
    /// What it took.
    pub(crate) usage: ResponseUsage,
}

/// A request to make or change a conversation.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub(crate) struct ConversationRequest {
    /// Items to begin with.
    pub(crate) items: Option<Vec<Value>>,
    /// Up to 16 pairs.
    pub(crate) metadata: Option<BTreeMap<String, String>>,
}

/// A conversation.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ConversationObject {
    /// `conv_` and digits.
    pub(crate) id: String,
    /// Always `conversation`.
    pub(crate) object: String,
    /// Seconds since 1970.
    pub(crate) created_at: u64,
    /// Up to 16 pairs.
    pub(crate) metadata: BTreeMap<String, String>,
}
