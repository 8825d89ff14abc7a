//! What do the files of a container look like?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// Who made it; always `assistant`.
    pub source: String,
}
