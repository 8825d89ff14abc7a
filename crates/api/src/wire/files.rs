//! What do the bodies of the Files API look like?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A form with a file, as `multipart/form-data`. It is read part by part; this describes it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct FileUpload {
    /// The file.
    pub file: String,
    /// What it is for: `batch`, `user_data`, or another word of OpenAI's.
    pub purpose: String,
    /// When it is deleted, as the parts `expires_after[anchor]` and `expires_after[seconds]`.
    pub expires_after: Option<ExpiresAfter>,
}

/// How long a file is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExpiresAfter {
    /// Always `created_at`.
    pub anchor: String,
    /// Units: seconds.
    pub seconds: u64,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileObject {
    /// Its id.
    pub id: String,
    /// Always `file`.
    pub object: String,
    /// Its length. Units: bytes.
    pub bytes: u64,
    /// Units: seconds since 1970.
    pub created_at: u64,
    /// When it is deleted; null is never. Units: seconds since 1970.
    pub expires_at: Option<u64>,
    /// The name it came with.
    pub filename: String,
    /// What it is for.
    pub purpose: String,
    /// Always `processed`.
    pub status: String,
    /// Always null.
    pub status_details: Option<String>,
}

/// One page of files.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct FileList {
    /// Always `list`.
    pub object: &'static str,
    /// The files.
    pub data: Vec<FileObject>,
    /// Id of the first.
    pub first_id: Option<String>,
    /// Id of the last.
    pub last_id: Option<String>,
    /// Whether there are more behind it.
    pub has_more: bool,
}
