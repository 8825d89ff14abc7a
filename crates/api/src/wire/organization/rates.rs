//! `/v1/organization/projects/{id}/rate_limits`: what a tenant may use in a time.

use schemars::JsonSchema;
use serde::Serialize;

/// The rates of a tenant's key. What has no limit is told as the largest number that JSON holds exactly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ProjectRate {
    /// `project.rate_limit`.
    pub object: &'static str,
    /// `rl-` and the key's public part.
    pub id: String,
    /// `*`: the rates hold for all models together.
    pub model: String,
    /// Requests.
    pub max_requests_per_1_minute: u64,
    /// Tokens, read and written.
    pub max_tokens_per_1_minute: u64,
}

/// Rates.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ProjectRateList {
    /// `list`.
    pub object: &'static str,
    /// The rates.
    pub data: Vec<ProjectRate>,
    /// The first one's.
    pub first_id: Option<String>,
    /// The last one's.
    pub last_id: Option<String>,
    /// Whether there are more.
    pub has_more: bool,
}
