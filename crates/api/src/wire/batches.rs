//! What do the bodies of the Batch API look like?

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::files::ExpiresAfter;
use super::responses::ResponseUsage;

/// A request for a batch.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct BatchRequest {
    /// The file with a request a line.
    pub input_file_id: Option<String>,
    /// The path that every line is for.
    pub endpoint: Option<String>,
    /// How long it may take: `24h`, or another number of minutes (`m`), hours (`h`) or days (`d`).
    pub completion_window: Option<String>,
    /// Pairs that are kept with it.
    pub metadata: Option<BTreeMap<String, String>>,
    /// How long the files with its results are kept.
    pub output_expires_after: Option<ExpiresAfter>,
}

/// Where a batch is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BatchStatus {
    /// Its lines are looked through.
    Validating,
    /// A line of it is wrong, or its results cannot be kept.
    Failed,
    /// Its lines are answered.
    InProgress,
    /// Its files are written.
    Finalizing,
    /// All lines have a result.
    Completed,
    /// Its time was up first.
    Expired,
    /// Somebody cancelled it; its files are written.
    Cancelling,
    /// It was cancelled.
    Cancelled,
}

impl BatchStatus {
    /// Whether nothing changes any more.
    pub fn has_ended(self) -> bool {
        match self {
            BatchStatus::Failed | BatchStatus::Completed | BatchStatus::Expired | BatchStatus::Cancelled => {
                true
            }
            BatchStatus::Validating
            | BatchStatus::InProgress
            | BatchStatus::Finalizing
            | BatchStatus::Cancelling => false,
        }
    }
}

/// What is wrong with a line of the input, or with the batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BatchError {
    /// A word for programs.
    pub code: String,
    /// The line, from 1; null when it is the whole file.
    pub line: Option<u64>,
    /// A sentence for people.
    pub message: String,
    /// The field at fault.
    pub param: Option<String>,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BatchErrors {
    /// Always `list`.
    pub object: String,
    /// The first of them.
    pub data: Vec<BatchError>,
}

/// How far a batch is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RequestCounts {
    /// Lines of the input.
    pub total: u64,
    /// Those that were answered.
    pub completed: u64,
    /// Those that were not.
    pub failed: u64,
}

/// A batch.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Batch {
    /// Its id.
    pub id: String,
    /// Always `batch`.
    pub object: String,
    /// The path that every line is for.
    pub endpoint: String,
    /// The model that answers.
    pub model: String,
    /// What is wrong with its lines.
    pub errors: Option<BatchErrors>,
    /// The file with its requests.
    pub input_file_id: String,
    /// As it was asked for.
    pub completion_window: String,
    /// Where it is on its way.
    pub status: BatchStatus,
    /// The file with the lines that were answered.
    pub output_file_id: Option<String>,
    /// The file with the lines that were not.
    pub error_file_id: Option<String>,
    /// Units: seconds since 1970, as all that follow.
    pub created_at: u64,
    /// When its first line may be answered.
    pub in_progress_at: Option<u64>,
    /// When its time is up.
    pub expires_at: u64,
    /// When all lines had a result.
    pub finalizing_at: Option<u64>,
    /// When its files were there.
    pub completed_at: Option<u64>,
    /// When it failed.
    pub failed_at: Option<u64>,
    /// When it had expired.
    pub expired_at: Option<u64>,
    /// When somebody cancelled it.
    pub cancelling_at: Option<u64>,
    /// When it was cancelled.
    pub cancelled_at: Option<u64>,
    /// How far it is.
    pub request_counts: RequestCounts,
    /// What its answers took.
    pub usage: ResponseUsage,
    /// Pairs that are kept with it.
    pub metadata: Option<BTreeMap<String, String>>,
    /// How long the files with its results are kept.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub output_expires_after: Option<ExpiresAfter>,
}

/// One page of batches.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct BatchList {
    /// Always `list`.
    pub object: &'static str,
    /// The batches.
    pub data: Vec<Batch>,
    /// Id of the first.
    pub first_id: Option<String>,
    /// Id of the last.
    pub last_id: Option<String>,
    /// Whether there are more behind it.
    pub has_more: bool,
}
