//! How much of anything a body may hold.
//!
//! Every bound has one answer: 400 with the parameter's name. [`RequestLimits`] are those that an operator
//! may change; constants are those that protect the program itself.

use crate::errors::ApiError;

/// Bounds that an operator may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestLimits {
    /// Most messages or input items of a request.
    pub messages_max: usize,
    /// Most tools of a request, those inside namespaces included.
    pub tools_max: usize,
    /// Longest JSON Schema of a tool or a response format. Units: bytes of JSON.
    pub schema_bytes_max: usize,
    /// Most choices (`n`) of a request.
    pub choices_max: usize,
}

impl RequestLimits {
    /// Looks whether a conversation may have so many messages.
    ///
    /// Errors: none, or more than are taken.
    pub(crate) fn check_messages(&self, given: usize) -> Result<(), ApiError> {
        if given == 0 {
            return Err(ApiError::invalid("messages", "messages is empty; there is nothing to answer"));
        }
        let max = self.messages_max;
        if given > max {
            let message = format!("there are {given} messages, but at most {max} are taken");
            return Err(ApiError::invalid("messages", message));
        }
        Ok(())
    }
}

impl Default for RequestLimits {
    fn default() -> RequestLimits {
        RequestLimits { messages_max: 2048, tools_max: 128, schema_bytes_max: 256 << 10, choices_max: 8 }
    }
}

/// Longest name of a container. Units: bytes.
pub const CONTAINER_NAME_BYTES_MAX: usize = 128;
/// Most files that are given to a container, by requests and uploads together.
pub const CONTAINER_INPUTS_MAX: usize = 64;
/// How long a container may wait for its next use. Units: minutes.
pub const CONTAINER_MINUTES: std::ops::RangeInclusive<u64> = 1..=20;
/// Most stop strings of a request.
pub const STOPS_MAX: usize = 16;
/// Longest stop string. Units: bytes.
pub const STOP_BYTES_MAX: usize = 256;
/// Most token ids that a request may end a text with.
pub const STOP_IDS_MAX: usize = 64;
/// Most texts that an answer may be one of.
pub const CHOICES_MAX: usize = 1024;
/// Most alternatives per token that `top_logprobs` may ask for.
pub const TOP_LOGPROBS_MAX: u32 = 20;
/// Longest name of a tool. Units: bytes.
pub const TOOL_NAME_BYTES_MAX: usize = 128;
/// Most pairs of `metadata`.
pub const METADATA_PAIRS_MAX: usize = 16;
/// Longest key of `metadata`. Units: characters.
pub const METADATA_KEY_CHARS_MAX: usize = 64;
/// Longest value of `metadata`. Units: characters.
pub const METADATA_VALUE_CHARS_MAX: usize = 512;
/// Longest mark that a client puts on a response of a connection. Units: bytes.
pub const LANE_BYTES_MAX: usize = 256;
/// Longest id of a prompt's template. Units: bytes.
pub const PROMPT_ID_BYTES_MAX: usize = 64;
/// Most templates of prompts, all versions counted.
pub const TEMPLATES_MAX: usize = 1000;
/// Longest template of a prompt. Units: bytes.
pub const TEMPLATE_BYTES_MAX: usize = 256 << 10;
/// Most prompts of one request to `/v1/completions`.
pub const PROMPTS_MAX: usize = 64;
/// Longest name of a file. Units: bytes.
pub const FILE_NAME_BYTES_MAX: usize = 255;
/// How long a file may be kept when a request says so. Units: seconds.
pub const EXPIRES_SECONDS: std::ops::RangeInclusive<u64> = 3600..=30 * 24 * 3600;
/// Most lines of a batch.
pub const BATCH_LINES_MAX: u64 = 50_000;
/// Longest `custom_id`. Units: bytes.
pub const CUSTOM_ID_BYTES_MAX: usize = 512;
/// How long a batch may be given. Units: seconds.
pub const BATCH_WINDOW_SECONDS: std::ops::RangeInclusive<u64> = 60..=30 * 24 * 3600;
/// Wrong lines of a batch that are told; the rest is not looked at.
pub const BATCH_ERRORS_MAX: usize = 100;
/// Longest word in the name of a tuned model. Units: characters.
pub const SUFFIX_CHARS_MAX: usize = 64;
/// Highest seed of a tuning job.
pub const TUNING_SEED_MAX: u32 = i32::MAX as u32;
/// Examples of a step of training.
pub const BATCH_SIZES: std::ops::RangeInclusive<u32> = 1..=256;
/// How often the examples of a training may be learned.
pub const EPOCHS: std::ops::RangeInclusive<u32> = 1..=50;
/// Ranks of what training may add to a matrix.
pub const TUNING_RANKS: std::ops::RangeInclusive<u32> = 1..=1024;
/// Longest example that a training may be asked to take. Units: tokens.
pub const TUNING_TOKENS: std::ops::RangeInclusive<u32> = 2..=131_072;
