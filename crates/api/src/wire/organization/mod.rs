//! What do the bodies of OpenAI's organization API look like?
//!
//! What an operator's collectors read: usage and costs by bucket of time, the audit, the keys, the rates of a
//! project. A tenant is what OpenAI calls a project, since a key has one and all it stores is the tenant's.

pub mod audit_logs;
pub mod costs;
pub mod keys;
pub mod rates;
pub mod usage;

use schemars::JsonSchema;
use serde::Serialize;

/// Buckets of time, one page of them.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct BucketPage<T> {
    /// `page`.
    pub object: &'static str,
    /// The buckets, the oldest first.
    pub data: Vec<TimeBucket<T>>,
    /// Whether there are more.
    pub has_more: bool,
    /// What the next request gives as `page`.
    pub next_page: Option<String>,
}

/// What happened in a time.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TimeBucket<T> {
    /// `bucket`.
    pub object: &'static str,
    /// Its first second. Units: seconds since 1970.
    pub start_time: u64,
    /// The first second behind it. Units: seconds since 1970.
    pub end_time: u64,
    /// One for each group that there is anything of.
    pub results: Vec<T>,
}
