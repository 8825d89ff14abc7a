//! What do the lists of models look like?
//!
//! OpenAI's list under `data`; Codex asks for the same under `models`. The embedded model says of itself that
//! it is a demo, so that nobody mistakes it for gpt-oss.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Serialize;

use super::message_events::{AnthropicModel, AnthropicModelList};

/// One model.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Model {
    /// The name to ask for.
    pub id: String,
    /// Always `model`.
    pub object: &'static str,
    /// When the server began to serve it. Units: seconds since 1970.
    pub created: u64,
    /// `gptoss`, or the name of the upstream that has it.
    pub owned_by: Cow<'static, str>,
    /// Whether it is the small model inside the program, made to show everything at work.
    pub demo: bool,
    /// Tokens of a whole conversation.
    pub context_length: usize,
    /// The same under the name other servers give it.
    pub max_model_len: usize,
    /// Whether it is in memory.
    pub status: ModelStatus,
    /// The model whose weights these are: itself, or that of an adapter.
    pub root: String,
    /// The same, of an adapter alone.
    pub parent: Option<String>,
}

/// Where a model is, in the form of llama-server's router.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub struct ModelStatus {
    /// `unloaded` (its next request loads it), `loading`, `loaded`, or `failed` (a moment ago; tried again
    /// later).
    pub value: &'static str,
}

/// All models.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ModelList {
    /// Always `list`.
    pub object: &'static str,
    /// The models.
    pub data: Vec<Model>,
    /// The same again, for clients that look here.
    pub models: Vec<Model>,
}

/// One model, in the form of the dialect that the client speaks.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum AnyModel {
    /// OpenAI's.
    OpenAi(Model),
    /// Anthropic's.
    Anthropic(AnthropicModel),
}

/// All models, in the form of the dialect that the client speaks.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum AnyModelList {
    /// OpenAI's.
    OpenAi(ModelList),
    /// Anthropic's.
    Anthropic(AnthropicModelList),
}
