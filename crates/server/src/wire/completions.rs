//! What do the bodies of the old Completions API look like?
//!
//! Kept whole because evaluation harnesses score likelihoods with it: a prompt as text or tokens, `echo`, and
//! `logprobs` in its own form of parallel lists.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::chat::{ChatUsage, Stops, StreamOptions};

/// A text to continue. The model gets it as it is, without the harmony format it was made for.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[expect(dead_code, reason = "some fields are accepted and mean nothing here; the description names them")]
pub(crate) struct CompletionRequest {
    /// The model; the served one when absent.
    pub(crate) model: Option<String>,
    /// A text, token ids, or a list of either.
    pub(crate) prompt: Option<Prompt>,
    /// Most tokens to write; 0 with `echo` scores the prompt alone.
    pub(crate) max_tokens: Option<i64>,
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
    /// Log-probabilities of the tokens and of this many likeliest ones at each place.
    pub(crate) logprobs: Option<u32>,
    /// Whether the prompt stands at the head of the text.
    pub(crate) echo: Option<bool>,
    /// How many choices per prompt.
    pub(crate) n: Option<i64>,
    /// Only 1, or `n`.
    pub(crate) best_of: Option<i64>,
    /// Seed of the random numbers.
    pub(crate) seed: Option<i64>,
    /// Strings before which the text ends.
    pub(crate) stop: Option<Stops>,
    /// Refused: this model does not fill gaps.
    pub(crate) suffix: Option<String>,
    /// Whether to send the text while it is written.
    pub(crate) stream: Option<bool>,
    /// What a stream tells besides.
    pub(crate) stream_options: Option<StreamOptions>,
    /// Accepted.
    pub(crate) user: Option<String>,
    /// Write on after a stop token, until `max_tokens`; for load tests.
    pub(crate) ignore_eos: Option<bool>,
}

/// What to continue.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a string, a list of strings, a list of token ids, or a list of such lists")]
pub(crate) enum Prompt {
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
pub(crate) struct Completion {
    /// `cmpl_` and digits.
    pub(crate) id: String,
    /// Always `text_completion`.
    pub(crate) object: &'static str,
    /// Seconds since 1970.
    pub(crate) created: u64,
    /// The model that answered.
    pub(crate) model: String,
    /// The choices.
    pub(crate) choices: Vec<CompletionChoice>,
    /// What it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) usage: Option<Option<ChatUsage>>,
    /// Build, model and numeric mode.
    pub(crate) system_fingerprint: String,
    /// What was changed or left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
}

/// One continuation.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub(crate) struct CompletionChoice {
    /// Counts choices within prompts.
    pub(crate) index: u32,
    /// The text, with the prompt before it if `echo` was asked for.
    pub(crate) text: String,
    /// As asked for.
    pub(crate) logprobs: Option<CompletionLogprobs>,
    /// stop or length.
    pub(crate) finish_reason: Option<&'static str>,
}

/// Parallel lists, one entry a token.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub(crate) struct CompletionLogprobs {
    /// Text of each token.
    pub(crate) tokens: Vec<String>,
    /// Log-probability of each token; null for the very first, which nothing precedes.
    pub(crate) token_logprobs: Vec<Option<f64>>,
    /// The likeliest tokens at each place.
    pub(crate) top_logprobs: Vec<Option<BTreeMap<String, f64>>>,
    /// Where each token begins in the text. Units: characters.
    pub(crate) text_offset: Vec<usize>,
}
