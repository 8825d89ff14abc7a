//! What do the bodies of Chat Completions look like?
//!
//! Requests as OpenAI documents them, with `reasoning` and `reasoning_content` on messages both ways, since
//! clients are divided between the two names. Fields that a text model cannot honour are here as plain
//! values, so that the conversion can refuse them by name.

use std::collections::BTreeMap;

use gptoss_turn::Logprob;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A request for the next message of a chat.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[expect(dead_code, reason = "some fields are accepted and mean nothing here; the description names them")]
pub(crate) struct ChatRequest {
    /// The model; the served one when absent.
    pub(crate) model: Option<String>,
    /// The conversation so far.
    pub(crate) messages: Vec<ChatMessage>,
    /// How much the model reasons: low, medium or high (minimal and none count as low, xhigh as high).
    pub(crate) reasoning_effort: Option<String>,
    /// Functions the model may call.
    pub(crate) tools: Option<Vec<Value>>,
    /// none, auto, required, or one named tool.
    pub(crate) tool_choice: Option<Value>,
    /// Accepted; the format has one call at a time.
    pub(crate) parallel_tool_calls: Option<bool>,
    /// text, json_object or json_schema.
    pub(crate) response_format: Option<Value>,
    /// Most tokens to write, reasoning included.
    pub(crate) max_completion_tokens: Option<i64>,
    /// The older name of the same.
    pub(crate) max_tokens: Option<i64>,
    /// Randomness, 0 to 2.
    pub(crate) temperature: Option<f64>,
    /// Keep the likeliest tokens whose probabilities add up to this.
    pub(crate) top_p: Option<f64>,
    /// Keep this many of the likeliest tokens; 0 and -1 keep all.
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
    /// Whether the answer's tokens come with log-probabilities.
    pub(crate) logprobs: Option<bool>,
    /// How many likeliest tokens come with each.
    pub(crate) top_logprobs: Option<u32>,
    /// How many choices to write.
    pub(crate) n: Option<i64>,
    /// Seed of the random numbers.
    pub(crate) seed: Option<i64>,
    /// Strings before which the answer ends.
    pub(crate) stop: Option<Stops>,
    /// Whether to send the answer while it is written.
    pub(crate) stream: Option<bool>,
    /// What a stream tells besides.
    pub(crate) stream_options: Option<StreamOptions>,
    /// false hides the reasoning.
    pub(crate) include_reasoning: Option<bool>,
    /// raw, summary or hidden; never more than the key allows.
    pub(crate) reasoning_visibility: Option<String>,
    /// OpenRouter's form of the effort and of hiding the reasoning.
    pub(crate) reasoning: Option<ReasoningOptions>,
    /// Template options of other servers; only `reasoning_effort` means something here.
    pub(crate) chat_template_kwargs: Option<Value>,
    /// Refused unless it is text alone.
    pub(crate) modalities: Option<Vec<String>>,
    /// Refused.
    pub(crate) audio: Option<Value>,
    /// Refused.
    pub(crate) web_search_options: Option<Value>,
    /// Refused: use tools.
    pub(crate) functions: Option<Value>,
    /// Refused: use tool_choice.
    pub(crate) function_call: Option<Value>,
    /// Accepted; chats are not stored.
    pub(crate) store: Option<bool>,
    /// Up to 16 pairs.
    pub(crate) metadata: Option<BTreeMap<String, String>>,
    /// Accepted.
    pub(crate) service_tier: Option<String>,
    /// Accepted.
    pub(crate) user: Option<String>,
    /// Accepted.
    pub(crate) safety_identifier: Option<String>,
    /// Accepted: prefixes are found by their tokens.
    pub(crate) prompt_cache_key: Option<String>,
}

/// One stop string or several.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a string or a list of strings")]
pub(crate) enum Stops {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

/// What a stream tells besides.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(crate) struct StreamOptions {
    /// Whether the last chunk carries the usage.
    pub(crate) include_usage: Option<bool>,
}

/// Effort and visibility of the reasoning.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(crate) struct ReasoningOptions {
    /// low, medium or high.
    pub(crate) effort: Option<String>,
    /// true hides the reasoning.
    pub(crate) exclude: Option<bool>,
}

/// A message of the conversation so far.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub(crate) struct ChatMessage {
    /// system, developer, user, assistant or tool.
    pub(crate) role: String,
    /// The text.
    pub(crate) content: Option<ChatContent>,
    /// The name of the speaker, or of the tool.
    pub(crate) name: Option<String>,
    /// Calls that the assistant made.
    pub(crate) tool_calls: Option<Vec<ToolCallIn>>,
    /// The call that a tool answers.
    pub(crate) tool_call_id: Option<String>,
    /// The assistant's reasoning before it spoke.
    pub(crate) reasoning: Option<Value>,
    /// The same under its other name.
    pub(crate) reasoning_content: Option<String>,
    /// What the assistant refused with.
    pub(crate) refusal: Option<String>,
}

/// The text of a message, in one piece or in parts.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a string or a list of content parts")]
pub(crate) enum ChatContent {
    /// In one piece.
    Text(String),
    /// In parts.
    Parts(Vec<ContentPart>),
    /// One part that is not in a list.
    Part(ContentPart),
}

/// A part of a message.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(crate) struct ContentPart {
    /// text, input_text, output_text or refusal; other kinds are refused.
    #[serde(rename = "type", default = "text_kind")]
    pub(crate) kind: String,
    /// The text.
    pub(crate) text: Option<String>,
    /// The text of a refusal.
    pub(crate) refusal: Option<String>,
}

fn text_kind() -> String {
    "text".to_owned()
}

/// A call that the assistant made.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(crate) struct ToolCallIn {
    /// The name by which its result refers to it.
    pub(crate) id: Option<String>,
    /// The function that was called.
    pub(crate) function: Option<FunctionIn>,
    /// The custom tool that was called.
    pub(crate) custom: Option<CustomIn>,
}

/// A function that was called.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(crate) struct FunctionIn {
    /// Its name.
    pub(crate) name: String,
    /// JSON as text; some clients send the object itself.
    pub(crate) arguments: Option<Value>,
}

/// A custom tool that was called.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(crate) struct CustomIn {
    /// Its name.
    pub(crate) name: String,
    /// Free text.
    pub(crate) input: Option<String>,
}

/// The answer to a request that does not stream.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct ChatCompletion {
    /// `chatcmpl_` and digits.
    pub(crate) id: String,
    /// Always `chat.completion`.
    pub(crate) object: &'static str,
    /// Seconds since 1970.
    pub(crate) created: u64,
    /// The model that answered.
    pub(crate) model: String,
    /// The choices.
    pub(crate) choices: Vec<Choice>,
    /// What it took.
    pub(crate) usage: Option<ChatUsage>,
    /// Build, model and numeric mode.
    pub(crate) system_fingerprint: String,
    /// Always `default`.
    pub(crate) service_tier: &'static str,
    /// What was changed, repaired or left out; absent when nothing was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
}

/// One choice.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub(crate) struct Choice {
    /// From 0.
    pub(crate) index: u32,
    /// The message.
    pub(crate) message: MessageOut,
    /// Log-probabilities of the answer's tokens.
    pub(crate) logprobs: Option<ChatLogprobs>,
    /// stop, length or tool_calls.
    pub(crate) finish_reason: Option<&'static str>,
}

/// A message of the assistant.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub(crate) struct MessageOut {
    /// Always `assistant`.
    pub(crate) role: &'static str,
    /// The answer; null when there is a call and nothing was said.
    pub(crate) content: Option<String>,
    /// Always null: refusals of this model are ordinary answers.
    pub(crate) refusal: Option<String>,
    /// The reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reasoning: Option<String>,
    /// The same under its other name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reasoning_content: Option<String>,
    /// Marks a summary as one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reasoning_details: Option<Vec<ReasoningDetail>>,
    /// Calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tool_calls: Option<Vec<ToolCallOut>>,
    /// Always empty.
    pub(crate) annotations: Vec<Value>,
}

/// Marks a summary of the reasoning as one.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct ReasoningDetail {
    /// Always `reasoning.summary`.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// The summary.
    pub(crate) summary: String,
}

/// A call.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub(crate) struct ToolCallOut {
    /// Place among the message's calls; only in streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) index: Option<u32>,
    /// By which the result refers to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// function or custom.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<&'static str>,
    /// Of a function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) function: Option<FunctionOut>,
    /// Of a custom tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) custom: Option<CustomOut>,
}

/// A call of a function.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub(crate) struct FunctionOut {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// What the model wrote: JSON, unless a loose tool was given something else.
    pub(crate) arguments: String,
}

/// A call of a custom tool.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub(crate) struct CustomOut {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// Free text.
    pub(crate) input: String,
}

/// Log-probabilities of the tokens of an answer.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub(crate) struct ChatLogprobs {
    /// One a token.
    pub(crate) content: Vec<TokenLogprob>,
    /// Always null.
    pub(crate) refusal: Option<Vec<TokenLogprob>>,
}

/// A token and how likely it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TokenLogprob {
    /// Its text; bytes that are no UTF-8 of their own are replaced.
    pub(crate) token: String,
    /// Natural logarithm of its probability.
    pub(crate) logprob: f64,
    /// Its bytes.
    pub(crate) bytes: Option<Vec<u8>>,
    /// The likeliest tokens at its place.
    pub(crate) top_logprobs: Vec<TopLogprob>,
}

/// A token that might have stood there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TopLogprob {
    /// Its text.
    pub(crate) token: String,
    /// Natural logarithm of its probability.
    pub(crate) logprob: f64,
    /// Its bytes.
    pub(crate) bytes: Option<Vec<u8>>,
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
pub(crate) struct ChatUsage {
    /// Tokens read.
    pub(crate) prompt_tokens: u64,
    /// Tokens written.
    pub(crate) completion_tokens: u64,
    /// Both.
    pub(crate) total_tokens: u64,
    /// Of the tokens read.
    pub(crate) prompt_tokens_details: PromptDetails,
    /// Of the tokens written.
    pub(crate) completion_tokens_details: CompletionDetails,
}

/// Of the tokens read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub(crate) struct PromptDetails {
    /// Those that had been computed before.
    pub(crate) cached_tokens: u64,
    /// Always 0.
    pub(crate) audio_tokens: u64,
}

/// Of the tokens written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub(crate) struct CompletionDetails {
    /// Those of the reasoning.
    pub(crate) reasoning_tokens: u64,
    /// Always 0.
    pub(crate) audio_tokens: u64,
    /// Always 0.
    pub(crate) accepted_prediction_tokens: u64,
    /// Always 0.
    pub(crate) rejected_prediction_tokens: u64,
}

/// One chunk of a stream.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct ChatChunk {
    /// The same in every chunk.
    pub(crate) id: String,
    /// Always `chat.completion.chunk`.
    pub(crate) object: &'static str,
    /// Seconds since 1970.
    pub(crate) created: u64,
    /// The model that answers.
    pub(crate) model: String,
    /// What is new; empty in the chunk with the usage.
    pub(crate) choices: Vec<ChunkChoice>,
    /// In the last chunk, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) usage: Option<Option<ChatUsage>>,
    /// Build, model and numeric mode.
    pub(crate) system_fingerprint: String,
    /// Always `default`.
    pub(crate) service_tier: &'static str,
    /// What was changed, repaired or left out; in the last chunk.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
}

/// What is new in one choice.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub(crate) struct ChunkChoice {
    /// From 0.
    pub(crate) index: u32,
    /// What is new.
    pub(crate) delta: ChunkDelta,
    /// Of the new tokens.
    pub(crate) logprobs: Option<ChatLogprobs>,
    /// In the choice's last chunk.
    pub(crate) finish_reason: Option<&'static str>,
}

/// What is new in a message.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
#[schemars(rename = "Delta")]
pub(crate) struct ChunkDelta {
    /// In the first chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<&'static str>,
    /// More of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<String>,
    /// More of the reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reasoning: Option<String>,
    /// The same under its other name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reasoning_content: Option<String>,
    /// Marks a summary as one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reasoning_details: Option<Vec<ReasoningDetail>>,
    /// A call, or more of its arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tool_calls: Option<Vec<ToolCallOut>>,
}
