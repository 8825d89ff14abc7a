//! Bodies of `/v1/redact`, an endpoint of our own: texts in, texts without personal data out.
//!
//! Offsets are of the text that was given, on boundaries of characters, in both of the units that clients
//! count in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Texts to redact.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct RedactRequest {
    /// The filter; there is one.
    pub model: Option<String>,
    /// A text, or several.
    pub input: RedactInput,
    /// Labels that are redacted; all when absent.
    pub labels: Option<Vec<String>>,
    /// What stands in a span's place: `{LABEL}`, `{label}` and `{n}` mean something in it; `<{LABEL}>` when
    /// absent.
    pub replace: Option<String>,
}

/// A text, or several.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RedactInput {
    /// One.
    Text(String),
    /// Each is a text of its own.
    Texts(Vec<String>),
}

/// What became of the texts.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RedactResponse {
    /// `redaction`
    pub object: &'static str,
    /// The filter.
    pub model: String,
    /// One for each text, in order.
    pub results: Vec<RedactResult>,
}

/// What became of a text.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct RedactResult {
    /// The text with something else in the place of its spans.
    pub redacted_text: String,
    /// What was found, in order.
    pub spans: Vec<RedactedSpan>,
}

/// A place with personal data.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct RedactedSpan {
    /// What kind of data: `private_person` and the like.
    pub label: String,
    /// Where it begins. Units: characters, that is Unicode's code points.
    pub start: usize,
    /// Where it ends. Units: characters.
    pub end: usize,
    /// Where it begins. Units: bytes of UTF-8.
    pub start_byte: usize,
    /// Where it ends. Units: bytes of UTF-8.
    pub end_byte: usize,
    /// What was there.
    pub text: String,
    /// What is there now.
    pub placeholder: String,
    /// What the model gives to it, from 0 to 1: the mean of its tokens.
    pub score: f32,
}
