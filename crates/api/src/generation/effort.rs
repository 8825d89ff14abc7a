//! How much the model is to reason, by the words of the APIs.

use gptoss_harmony::ReasoningEffort;

use crate::errors::ApiError;

/// Reads an effort; words beyond harmony's three are taken for the nearest.
///
/// Errors: an unknown word.
pub fn effort(
    word: Option<&str>,
    param: &str,
    warnings: &mut Vec<String>,
) -> Result<ReasoningEffort, ApiError> {
    let Some(word) = word else { return Ok(ReasoningEffort::Medium) };
    let (effort, is_near) = match word.to_ascii_lowercase().as_str() {
        "low" => (ReasoningEffort::Low, false),
        "medium" | "auto" | "default" => (ReasoningEffort::Medium, false),
        "high" => (ReasoningEffort::High, false),
        "none" | "minimal" => (ReasoningEffort::Low, true),
        "xhigh" | "max" => (ReasoningEffort::High, true),
        _ => {
            let message = format!("{param} is {word:?}, but must be low, medium or high");
            return Err(ApiError::invalid(param, message));
        }
    };
    if is_near {
        warnings.push(format!("{param} is {word:?}; the model's nearest is {}", effort.as_str()));
    }
    Ok(effort)
}
