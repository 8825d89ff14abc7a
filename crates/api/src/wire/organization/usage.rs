//! `/v1/organization/usage/completions`.

use schemars::JsonSchema;
use serde::Serialize;

/// What a group used in a bucket. Members by which is not grouped are null.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UsageResult {
    /// `organization.usage.completions.result`.
    pub object: &'static str,
    /// Tokens read, those that were known before among them.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Of those read, the ones that were known before.
    pub input_cached_tokens: u64,
    /// Always 0.
    pub input_audio_tokens: u64,
    /// Always 0.
    pub output_audio_tokens: u64,
    /// Requests.
    pub num_model_requests: u64,
    /// The tenant.
    pub project_id: Option<String>,
    /// Always null: users are not told apart here.
    pub user_id: Option<String>,
    /// The public part of the key.
    pub api_key_id: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// Always null.
    pub batch: Option<bool>,
    /// Always null.
    pub service_tier: Option<String>,
}
