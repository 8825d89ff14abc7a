//! `/v1/organization/admin_api_keys`: the keys that there are, without what is secret of them.

use schemars::JsonSchema;
use serde::Serialize;

/// A key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AdminKey {
    /// `organization.admin_api_key`.
    pub object: &'static str,
    /// The public part.
    pub id: String,
    /// The tenant.
    pub name: String,
    /// The public part, and stars.
    pub redacted_value: String,
    /// When it was made; 0 where the rules do not say. Units: seconds since 1970.
    pub created_at: u64,
    /// Its end. Units: seconds since 1970.
    pub expires_at: Option<u64>,
    /// When it was last used, as far as it is known. Units: seconds since 1970.
    pub last_used_at: Option<u64>,
    /// Whose it is.
    pub owner: KeyOwner,
    /// What it may do; this server's own member.
    pub x_scopes: Vec<&'static str>,
}

/// Whose a key is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct KeyOwner {
    /// `service_account`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// `organization.service_account`.
    pub object: &'static str,
    /// The tenant.
    pub id: String,
    /// The tenant.
    pub name: String,
    /// As the key's. Units: seconds since 1970.
    pub created_at: u64,
    /// `owner` for a key with the scope admin, else `member`.
    pub role: &'static str,
}

/// Keys.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct AdminKeyList {
    /// `list`.
    pub object: &'static str,
    /// The keys, in the rules' order.
    pub data: Vec<AdminKey>,
    /// The first one's.
    pub first_id: Option<String>,
    /// The last one's.
    pub last_id: Option<String>,
    /// Whether there are more.
    pub has_more: bool,
}
