//! What do the bodies of the old Completions API look like?
//!
//! Kept whole because evaluation harnesses score likelihoods with it: a prompt as text or tokens, `echo`, and
//! `logprobs` in its own form of parallel lists.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::chat::{ChatUsage, Stops, StreamOptions};
use super::dialect::Dialect;

/// A text to continue. The model gets it as it is, without the harmony format it was made for.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct CompletionRequest {
    /// The model; the served one when absent.
    pub model: Option<String>,
    /// A text, token ids, or a list of either.
    pub prompt: Option<Prompt>,
    /// Most tokens to write; 0 with `echo` scores the prompt alone.
    pub max_tokens: Option<i64>,
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
    /// Log-probabilities of the tokens and of this many likeliest ones at each place.
    pub logprobs: Option<u32>,
    /// Whether the prompt stands at the head of the text.
    pub echo: Option<bool>,
    /// How many choices per prompt.
    pub n: Option<i64>,
    /// Only 1, or `n`.
    pub best_of: Option<i64>,
    /// Seed of the random numbers.
    pub seed: Option<i64>,
    /// Strings before which the text ends.
    pub stop: Option<Stops>,
    /// Refused: this model does not fill gaps.
    pub suffix: Option<String>,
    /// Whether to send the text while it is written.
    pub stream: Option<bool>,
    /// What a stream tells besides.
    pub stream_options: Option<StreamOptions>,
    /// Accepted.
    pub user: Option<String>,
    /// vLLM: refused; a text has no form.
    pub response_format: Option<Value>,
    /// Constraints and lengths by the names of other servers.
    #[serde(flatten)]
    pub dialect: Dialect,
}

/// What to continue.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a string, a list of strings, a list of token ids, or a list of such lists")]
pub enum Prompt {
    /// A text.
    Text(String),
    /// Token ids.
    Tokens(Vec<u32>),
    /// Texts.
    Texts(Vec<String>),
    /// Lists of token ids.
    TokenLists(Vec<Vec<u32>>),
}

/// The answer, whole or as a chunk of a stream.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Completion {
    /// `cmpl-` and digits.
    pub id: String,
    /// Always `text_completion`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: u64,
    /// The model that answered.
    pub model: String,
    /// The choices.
    pub choices: Vec<CompletionChoice>,
    /// What it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Option<ChatUsage>>,
    /// Build, model and numeric mode.
    pub system_fingerprint: String,
    /// What was changed or left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One continuation.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct CompletionChoice {
    /// Counts choices within prompts.
    pub index: u32,
    /// The text, with the prompt before it if `echo` was asked for.
    pub text: String,
    /// As asked for.
    pub logprobs: Option<CompletionLogprobs>,
    /// stop or length.
    pub finish_reason: Option<&'static str>,
}

/// Parallel lists, one entry a token.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct CompletionLogprobs {
    /// Text of each token.
    pub tokens: Vec<String>,
    /// Log-probability of each token; null for the very first, which nothing precedes.
    pub token_logprobs: Vec<Option<f64>>,
    /// The likeliest tokens at each place.
    pub top_logprobs: Vec<Option<BTreeMap<String, f64>>>,
    /// Where each token begins in the text. Units: characters.
    pub text_offset: Vec<usize>,
}
