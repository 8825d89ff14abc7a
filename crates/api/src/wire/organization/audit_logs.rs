//! `/v1/organization/audit_logs`: the chain of the audit, a page of it.
//!
//! Events of keys have OpenAI's names; the others, `request` first of all, are this server's own. What
//! happened stands in a member that is called as the event.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

/// One link of the chain.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct AuditLog {
    /// `audit_log-` and its number in the chain.
    pub id: String,
    /// The event.
    #[serde(rename = "type")]
    pub kind: String,
    /// When. Units: seconds since 1970.
    pub effective_at: u64,
    /// Who.
    pub actor: AuditActor,
    /// The tenant; null where there is none.
    pub project: Option<AuditProject>,
    /// The hash of the chain up to this link; this server's own member.
    pub x_chain: String,
    /// What happened, in a member that is called as the event.
    #[serde(flatten)]
    pub details: Map<String, Value>,
}

/// Who.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AuditActor {
    /// `api_key`; `session` where it was nobody with a key.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The key.
    pub api_key: Option<AuditKey>,
}

/// A key, by its public part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AuditKey {
    /// The public part.
    pub id: String,
    /// `service_account`.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AuditProject {
    /// The tenant.
    pub id: String,
    /// The same.
    pub name: String,
}

/// Links.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct AuditLogList {
    /// `list`.
    pub object: &'static str,
    /// The links, the newest first.
    pub data: Vec<AuditLog>,
    /// The first one's.
    pub first_id: Option<String>,
    /// The last one's.
    pub last_id: Option<String>,
    /// Whether there are more.
    pub has_more: bool,
}
