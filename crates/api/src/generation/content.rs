//! The text of the parts that a message's content may come in.

use crate::errors::ApiError;
use crate::wire::chat::ContentPart;

/// The text of a part.
///
/// Errors: it is no text.
pub fn part_text(part: &ContentPart, path: &str) -> Result<String, ApiError> {
    match part.kind.as_str() {
        "text" | "input_text" | "output_text" | "summary_text" | "reasoning_text" => {
            Ok(part.text.clone().unwrap_or_default())
        }
        "refusal" => Ok(part.refusal.clone().or_else(|| part.text.clone()).unwrap_or_default()),
        kind => {
            let why = format!("The part at {path} is of the type {kind:?}, but this model reads text only.");
            Err(ApiError::unsupported(format!("{path}.type"), why))
        }
    }
}
