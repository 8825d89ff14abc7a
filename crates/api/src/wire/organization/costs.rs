//! `/v1/organization/costs`.

use schemars::JsonSchema;
use serde::Serialize;

/// What a group cost in a bucket, by the operator's prices.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct CostResult {
    /// `organization.costs.result`.
    pub object: &'static str,
    /// How much.
    pub amount: CostAmount,
    /// The model, where it is grouped by.
    pub line_item: Option<String>,
    /// The tenant, where it is grouped by.
    pub project_id: Option<String>,
    /// The public part of the key, where it is grouped by.
    pub api_key_id: Option<String>,
    /// Tokens.
    pub quantity: Option<u64>,
}

/// An amount of money.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct CostAmount {
    /// Units: dollars. The sums behind it are whole micro-dollars.
    pub value: f64,
    /// `usd`.
    pub currency: &'static str,
}
