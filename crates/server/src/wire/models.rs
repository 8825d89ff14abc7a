//! What do the lists of models look like?
//!
//! OpenAI's list under `data`; Codex asks for the same under `models`. The embedded model says of itself that
//! it is a demo, so that nobody mistakes it for gpt-oss.

use schemars::JsonSchema;
use serde::Serialize;

/// One model.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Model {
    /// The name to ask for.
    pub(crate) id: String,
    /// Always `model`.
    pub(crate) object: &'static str,
    /// When the server began to serve it. Units: seconds since 1970.
    pub(crate) created: u64,
    /// Always `gptoss`.
    pub(crate) owned_by: &'static str,
    /// Whether it is the small model inside the program, made to show everything at work.
    pub(crate) demo: bool,
    /// Tokens of a whole conversation.
    pub(crate) context_length: usize,
    /// The same under the name other servers give it.
    pub(crate) max_model_len: usize,
}

/// All models.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct ModelList {
    /// Always `list`.
    pub(crate) object: &'static str,
    /// The models.
    pub(crate) data: Vec<Model>,
    /// The same again, for clients that look here.
    pub(crate) models: Vec<Model>,
}
