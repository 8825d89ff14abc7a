//! What do tokenize, detokenize and render take and give?
//!
//! Own endpoints, named as other servers name them: text to token ids and back by the model's vocabulary, and
//! a whole request to the very tokens that the model would read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
