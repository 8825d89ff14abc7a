//! What do tokenize, detokenize and render take and give?
//!
//! Own endpoints, named as other servers name them: text to token ids and back by the model's vocabulary, and
//! a whole request to the very tokens that the model would read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::generation::sampling::Sampling;

/// Text to tokens.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct TokenizeRequest {
    /// The model whose vocabulary is meant; the served one when absent.
    pub model: Option<String>,
    /// The text; control tokens in it are spelled, not meant.
    #[serde(alias = "text", alias = "content")]
    pub prompt: String,
}

/// The tokens of a text.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TokenizeResponse {
    /// How many.
    pub count: usize,
    /// Tokens of a whole conversation.
    pub max_model_len: usize,
    /// The ids.
    pub tokens: Vec<u32>,
}

/// Tokens to text.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct DetokenizeRequest {
    /// The model whose vocabulary is meant; the served one when absent.
    pub model: Option<String>,
    /// The ids.
    pub tokens: Vec<u32>,
}

/// The text of tokens.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DetokenizeResponse {
    /// The text; bytes that are no UTF-8 are replaced.
    pub prompt: String,
}

/// What a client that works on tokens asks first, in the names of a `tokenizer_config.json`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TokenizerConfig {
    /// The class that reads such tokenizers elsewhere.
    pub tokenizer_class: &'static str,
    /// What begins a text.
    pub bos_token: &'static str,
    /// What ends an answer.
    pub eos_token: &'static str,
    /// What fills up.
    pub pad_token: &'static str,
    /// Tokens of a whole conversation.
    pub model_max_length: usize,
    /// One more than the largest id.
    pub vocab_size: usize,
}

/// What the model would read.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RenderResponse {
    /// How many tokens.
    pub count: usize,
    /// Tokens of a whole conversation.
    pub max_model_len: usize,
    /// The ids.
    pub tokens: Vec<u32>,
    /// The same as text, control tokens spelled out.
    pub text: String,
    /// What was changed or left out on the way.
    pub warnings: Vec<String>,
}

/// A request in tokens, as vLLM's render endpoints give it: what a router hashes to find whose cache has the
/// beginning.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RenderedRequest {
    /// A name for it.
    pub request_id: String,
    /// What the model would read.
    pub token_ids: Vec<u32>,
    /// What images and the like came to; a text model has none.
    pub features: Option<()>,
    /// How tokens would be chosen.
    pub sampling_params: RenderedSampling,
    /// The model that is asked.
    pub model: String,
    /// Whether the answer is asked for as a stream.
    pub stream: bool,
}

/// What a request says of sampling, in vLLM's words; what it leaves to the model is left out.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RenderedSampling {
    /// Divides the logits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// The smallest set of best tokens with this probability is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    /// The number of best tokens that are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    /// Tokens less probable than this part of the best one's probability are cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_p: Option<f32>,
    /// Subtracted once from the logit of every token that was generated before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f32>,
    /// Subtracted from a token's logit for every time it was generated before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f32>,
    /// Divides positive and multiplies negative logits of tokens that have appeared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repetition_penalty: Option<f32>,
    /// Decides every draw.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Most tokens to write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
    /// Strings before which the answer ends.
    pub stop: Vec<String>,
    /// Choices.
    pub n: usize,
}

impl RenderedSampling {
    /// Of one choice.
    pub fn new(sampling: &Sampling, max_tokens: Option<usize>, stop: Vec<String>) -> RenderedSampling {
        RenderedSampling {
            temperature: sampling.temperature,
            top_p: sampling.top_p,
            top_k: sampling.top_k,
            min_p: sampling.min_p,
            presence_penalty: sampling.presence_penalty,
            frequency_penalty: sampling.frequency_penalty,
            repetition_penalty: sampling.repetition_penalty,
            seed: sampling.seed,
            max_tokens,
            stop,
            n: 1,
        }
    }
}
