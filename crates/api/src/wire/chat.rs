//! What do the bodies of Chat Completions look like?
//!
//! Requests as OpenAI documents them, with `reasoning` and `reasoning_content` on messages both ways, since
//! clients are divided between the two names. Fields that a text model cannot honour are here as plain
//! values, so that the conversion can refuse them by name.

use std::collections::BTreeMap;

use gptoss_harmony::Logprob;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::dialect::Dialect;
use super::moderations::{ChatModerated, ModerationSettings};

/// A request for the next message of a chat.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct ChatRequest {
    /// The model; the served one when absent.
    pub model: Option<String>,
    /// The conversation so far.
    pub messages: Vec<ChatMessage>,
    /// How much the model reasons: low, medium or high (minimal counts as low, xhigh as high); none is no
    /// reasoning.
    pub reasoning_effort: Option<String>,
    /// Functions the model may call.
    pub tools: Option<Vec<Value>>,
    /// none, auto, required, or one named tool.
    pub tool_choice: Option<Value>,
    /// Accepted; the format has one call at a time.
    pub parallel_tool_calls: Option<bool>,
    /// text, json_object or json_schema.
    pub response_format: Option<Value>,
    /// Most tokens to write, reasoning included.
    pub max_completion_tokens: Option<i64>,
    /// The older name of the same.
    pub max_tokens: Option<i64>,
    /// Most tokens of reasoning; 0 lets the answer begin at once, -1 is no limit.
    pub max_reasoning_tokens: Option<i64>,
    /// vLLM's name of the same.
    pub thinking_token_budget: Option<i64>,
    /// Randomness, 0 to 2.
    pub temperature: Option<f64>,
    /// Keep the likeliest tokens whose probabilities add up to this.
    pub top_p: Option<f64>,
    /// Keep this many of the likeliest tokens; 0 and -1 keep all.
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
    /// Whether the answer's tokens come with log-probabilities.
    pub logprobs: Option<bool>,
    /// How many likeliest tokens come with each.
    pub top_logprobs: Option<u32>,
    /// How many choices to write.
    pub n: Option<i64>,
    /// Seed of the random numbers.
    pub seed: Option<i64>,
    /// Strings before which the answer ends.
    pub stop: Option<Stops>,
    /// Whether to send the answer while it is written.
    pub stream: Option<bool>,
    /// What a stream tells besides.
    pub stream_options: Option<StreamOptions>,
    /// false hides the reasoning.
    pub include_reasoning: Option<bool>,
    /// raw, summary or hidden; never more than the key allows.
    pub reasoning_visibility: Option<String>,
    /// OpenRouter's form of the effort, of most tokens and of hiding the reasoning.
    pub reasoning: Option<ReasoningOptions>,
    /// Template options of other servers; only `reasoning_effort` means something here.
    pub chat_template_kwargs: Option<Value>,
    /// Refused unless it is text alone.
    pub modalities: Option<Vec<String>>,
    /// Refused.
    pub audio: Option<Value>,
    /// Refused.
    pub web_search_options: Option<Value>,
    /// The older form of tools: functions alone. Not beside them.
    pub functions: Option<Vec<Value>>,
    /// The older form of tool_choice, beside functions: none, auto, or an object with a name.
    pub function_call: Option<Value>,
    /// What is judged of the input and the output; refused by a server without --guard.
    pub moderation: Option<ModerationSettings>,
    /// Accepted; chats are not stored.
    pub store: Option<bool>,
    /// Up to 16 pairs.
    pub metadata: Option<BTreeMap<String, String>>,
    /// Accepted.
    pub service_tier: Option<String>,
    /// Accepted.
    pub user: Option<String>,
    /// Accepted.
    pub safety_identifier: Option<String>,
    /// Accepted: prefixes are found by their tokens.
    pub prompt_cache_key: Option<String>,
    /// Constraints and lengths by the names of other servers.
    #[serde(flatten)]
    pub dialect: Dialect,
}

/// One stop string or several.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a string or a list of strings")]
pub enum Stops {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

/// What a stream tells besides.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct StreamOptions {
    /// Whether the last chunk carries the usage.
    pub include_usage: Option<bool>,
}

/// Effort, length and visibility of the reasoning.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct ReasoningOptions {
    /// none, low, medium or high.
    pub effort: Option<String>,
    /// Most tokens of reasoning.
    pub max_tokens: Option<i64>,
    /// true hides the reasoning.
    pub exclude: Option<bool>,
}

/// A message of the conversation so far.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct ChatMessage {
    /// system, developer, user, assistant, tool, or function as tool was called before.
    pub role: String,
    /// The text.
    pub content: Option<ChatContent>,
    /// The name of the speaker, or of the tool or function.
    pub name: Option<String>,
    /// Calls that the assistant made.
    pub tool_calls: Option<Vec<ToolCallIn>>,
    /// The call that the assistant made, in the older form.
    pub function_call: Option<FunctionIn>,
    /// The call that a tool answers.
    pub tool_call_id: Option<String>,
    /// The assistant's reasoning before it spoke.
    pub reasoning: Option<Value>,
    /// The same under its other name.
    pub reasoning_content: Option<String>,
    /// What the assistant refused with.
    pub refusal: Option<String>,
}

/// The text of a message, in one piece or in parts.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a string or a list of content parts")]
pub enum ChatContent {
    /// In one piece.
    Text(String),
    /// In parts.
    Parts(Vec<ContentPart>),
    /// One part that is not in a list.
    Part(ContentPart),
}

/// A part of a message.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct ContentPart {
    /// text, input_text, output_text or refusal; other kinds are refused.
    #[serde(rename = "type", default = "text_kind")]
    pub kind: String,
    /// The text.
    pub text: Option<String>,
    /// The text of a refusal.
    pub refusal: Option<String>,
}

fn text_kind() -> String {
    "text".to_owned()
}

/// A call that the assistant made.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct ToolCallIn {
    /// The name by which its result refers to it.
    pub id: Option<String>,
    /// The function that was called.
    pub function: Option<FunctionIn>,
    /// The custom tool that was called.
    pub custom: Option<CustomIn>,
}

/// A function that was called.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct FunctionIn {
    /// Its name.
    pub name: String,
    /// JSON as text; some clients send the object itself.
    pub arguments: Option<Value>,
}

/// A custom tool that was called.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct CustomIn {
    /// Its name.
    pub name: String,
    /// Free text.
    pub input: Option<String>,
}

/// The answer to a request that does not stream.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ChatCompletion {
    /// `chatcmpl-` and digits.
    pub id: String,
    /// Always `chat.completion`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: u64,
    /// The model that answered.
    pub model: String,
    /// The choices.
    pub choices: Vec<Choice>,
    /// What it took.
    pub usage: Option<ChatUsage>,
    /// Build, model and numeric mode.
    pub system_fingerprint: String,
    /// Always `default`.
    pub service_tier: &'static str,
    /// What was changed, repaired or left out; absent when nothing was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What was found in the input and the output; absent when nobody looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moderation: Option<ChatModerated>,
}

/// One choice.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct Choice {
    /// From 0.
    pub index: u32,
    /// The message.
    pub message: MessageOut,
    /// Log-probabilities of the answer's tokens.
    pub logprobs: Option<ChatLogprobs>,
    /// stop, length, tool_calls, content_filter, or function_call where functions were offered.
    pub finish_reason: Option<&'static str>,
}

/// A message of the assistant.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct MessageOut {
    /// Always `assistant`.
    pub role: &'static str,
    /// The answer; null when there is a call and nothing was said.
    pub content: Option<String>,
    /// Always null: refusals of this model are ordinary answers.
    pub refusal: Option<String>,
    /// The reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// The same under its other name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// Marks a summary as one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_details: Option<Vec<ReasoningDetail>>,
    /// Calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<Vec<ToolCallOut>>,
    /// The call of a function that was offered in the older form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_call: Option<FunctionOut>,
    /// Always empty.
    pub annotations: Vec<Value>,
}

/// Marks a summary of the reasoning as one.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ReasoningDetail {
    /// Always `reasoning.summary`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The summary.
    pub summary: String,
}

/// A call.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct ToolCallOut {
    /// Place among the message's calls; only in streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// By which the result refers to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// function or custom.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// Of a function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<FunctionOut>,
    /// Of a custom tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom: Option<CustomOut>,
}

/// A call of a function.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct FunctionOut {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the model wrote: JSON, unless a loose tool was given something else.
    pub arguments: String,
}

/// A call of a custom tool.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct CustomOut {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Free text.
    pub input: String,
}

/// Log-probabilities of the tokens of an answer.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct ChatLogprobs {
    /// One a token.
    pub content: Vec<TokenLogprob>,
    /// Always null.
    pub refusal: Option<Vec<TokenLogprob>>,
}

/// A token and how likely it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TokenLogprob {
    /// Its text; bytes that are no UTF-8 of their own are replaced.
    pub token: String,
    /// Natural logarithm of its probability.
    pub logprob: f64,
    /// Its bytes.
    pub bytes: Option<Vec<u8>>,
    /// The likeliest tokens at its place.
    pub top_logprobs: Vec<TopLogprob>,
}

/// A token that might have stood there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TopLogprob {
    /// Its text.
    pub token: String,
    /// Natural logarithm of its probability.
    pub logprob: f64,
    /// Its bytes.
    pub bytes: Option<Vec<u8>>,
}

impl From<Logprob> for TokenLogprob {
    fn from(logprob: Logprob) -> TokenLogprob {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let top = logprob.top.into_iter().map(|other| TopLogprob {
            token: text(&other.bytes),
            logprob: other.logprob,
            bytes: Some(other.bytes),
        });
        TokenLogprob {
            token: text(&logprob.bytes),
            logprob: logprob.logprob,
            bytes: Some(logprob.bytes),
            top_logprobs: top.collect(),
        }
    }
}

/// What a request took.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct ChatUsage {
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
    /// Both.
    pub total_tokens: u64,
    /// Of the tokens read.
    pub prompt_tokens_details: PromptDetails,
    /// Of the tokens written.
    pub completion_tokens_details: CompletionDetails,
}

/// Of the tokens read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct PromptDetails {
    /// Those that had been computed before.
    pub cached_tokens: u64,
    /// Always 0.
    pub audio_tokens: u64,
}

/// Of the tokens written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct CompletionDetails {
    /// Those of the reasoning.
    pub reasoning_tokens: u64,
    /// Always 0.
    pub audio_tokens: u64,
    /// Always 0.
    pub accepted_prediction_tokens: u64,
    /// Always 0.
    pub rejected_prediction_tokens: u64,
}

/// One chunk of a stream.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ChatChunk {
    /// The same in every chunk.
    pub id: String,
    /// Always `chat.completion.chunk`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: u64,
    /// The model that answers.
    pub model: String,
    /// What is new; empty in the chunk with the usage.
    pub choices: Vec<ChunkChoice>,
    /// In the last chunk, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Option<ChatUsage>>,
    /// Build, model and numeric mode.
    pub system_fingerprint: String,
    /// Always `default`.
    pub service_tier: &'static str,
    /// What was changed, repaired or left out; in the last chunk.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What was found in the input and the output; in the last chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moderation: Option<ChatModerated>,
}

/// What is new in one choice.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct ChunkChoice {
    /// From 0.
    pub index: u32,
    /// What is new.
    pub delta: ChunkDelta,
    /// Of the new tokens.
    pub logprobs: Option<ChatLogprobs>,
    /// In the choice's last chunk.
    pub finish_reason: Option<&'static str>,
}

/// What is new in a message.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
#[schemars(rename = "Delta")]
pub struct ChunkDelta {
    /// In the first chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// More of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// More of the reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// The same under its other name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// Marks a summary as one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_details: Option<Vec<ReasoningDetail>>,
    /// A call, or more of its arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<Vec<ToolCallOut>>,
    /// The same of a function that was offered in the older form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_call: Option<FunctionOut>,
}
