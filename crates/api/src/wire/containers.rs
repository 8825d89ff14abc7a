//! What do a container and its files look like?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a new container is to be.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ContainerRequest {
    /// What its owner calls it.
    pub name: Option<String>,
    /// Files of the caller's that are copied into it.
    pub file_ids: Option<Vec<String>>,
    /// How long it waits for its next use.
    pub expires_after: Option<ContainerExpiry>,
    /// Most memory of its Python: `1g`, `4g`, `16g`, `64g`; the operator's limit holds all the same.
    pub memory_limit: Option<String>,
    /// `{"type": "disabled"}`; no other is to be had.
    pub network_policy: Option<Value>,
}

/// How long a container waits for its next use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContainerExpiry {
    /// Always `last_active_at`.
    pub anchor: String,
    /// Units: minutes.
    pub minutes: u64,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContainerObject {
    /// `cntr_` and digits, or the name by which requests have called for it.
    pub id: String,
    /// Always `container`.
    pub object: String,
    /// Units: seconds since 1970.
    pub created_at: u64,
    /// Always `running`: one that has expired is not there.
    pub status: String,
    /// How long it waits for its next use.
    pub expires_after: ContainerExpiry,
    /// When it was used last. Units: seconds since 1970.
    pub last_active_at: u64,
    /// Most memory of its Python, where something was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<String>,
    /// What its owner calls it.
    pub name: String,
}

/// A file for a container: one of the caller's by its id, or one that is sent in a form as the part `file`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ContainerFileRequest {
    /// One of the caller's files.
    pub file_id: Option<String>,
}

/// A file of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContainerFile {
    /// `cfile_` and digits.
    pub id: String,
    /// Always `container.file`.
    pub object: String,
    /// Units: seconds since 1970.
    pub created_at: u64,
    /// Its length. Units: bytes.
    pub bytes: u64,
    /// The container that it is in.
    pub container_id: String,
    /// Where it is there, such as `/mnt/data/plot.png`.
    pub path: String,
    /// Who made it: `user` or `assistant`.
    pub source: String,
}
