//! What a form with a file asks, and what it may ask.

use crate::errors::ApiError;
use crate::limits::{EXPIRES_SECONDS, FILE_NAME_BYTES_MAX};
use crate::wire::files::ExpiresAfter;

/// What a file may be for.
const PURPOSES: [&str; 6] = ["batch", "user_data", "assistants", "vision", "evals", "fine-tune"];

/// What a file is for.
///
/// Errors: a word that is none of OpenAI's; a model's own results are not sent.
pub fn purpose(word: Option<&str>) -> Result<String, ApiError> {
    let word = word.ok_or(ApiError::Missing { param: "purpose" })?;
    match PURPOSES.contains(&word) {
        true => Ok(word.to_owned()),
        false => Err(ApiError::invalid("purpose", format!("purpose must be one of {}", PURPOSES.join(", ")))),
    }
}

/// A file's name, without a path that stands before it.
///
/// Errors: too long a name.
pub fn filename(name: Option<&str>) -> Result<String, ApiError> {
    let name = name.unwrap_or_default();
    let name = name.rsplit(['/', '\\']).next().filter(|name| !name.is_empty()).unwrap_or("file");
    match name.len() <= FILE_NAME_BYTES_MAX {
        true => Ok(name.to_owned()),
        false => {
            let message = format!("the file's name has more than {FILE_NAME_BYTES_MAX} bytes");
            Err(ApiError::invalid("file", message))
        }
    }
}

/// When a file made at `created` is deleted; `otherwise` is how long it is kept when nothing is said.
///
/// Errors: another anchor than its making, a time that is too short or too long.
pub fn expires_at(
    said: Option<&ExpiresAfter>,
    param: &str,
    created: u64,
    otherwise: Option<u64>,
) -> Result<Option<u64>, ApiError> {
    let Some(said) = said else { return Ok(otherwise.map(|seconds| created.saturating_add(seconds))) };
    if said.anchor != "created_at" {
        let param = format!("{param}.anchor");
        return Err(ApiError::invalid(&param, format!("{param} must be created_at")));
    }
    if !EXPIRES_SECONDS.contains(&said.seconds) {
        let (least, most) = (EXPIRES_SECONDS.start(), EXPIRES_SECONDS.end());
        let param = format!("{param}.seconds");
        return Err(ApiError::invalid(&param, format!("{param} must be from {least} to {most}")));
    }
    Ok(Some(created.saturating_add(said.seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_form_says_is_held_to_its_bounds() {
        assert_eq!(purpose(Some("batch")).unwrap(), "batch");
        assert!(purpose(Some("batch_output")).is_err() && purpose(None).is_err());
        assert_eq!(filename(Some("C:\\a\\b.jsonl")).unwrap(), "b.jsonl");
        assert_eq!(filename(Some("../../x")).unwrap(), "x");
        assert_eq!(filename(None).unwrap(), "file");
        assert!(filename(Some(&"x".repeat(1000))).is_err());
        let after = |anchor: &str, seconds| ExpiresAfter { anchor: anchor.into(), seconds };
        let at = |said: Option<&ExpiresAfter>| expires_at(said, "expires_after", 10, None).ok();
        assert_eq!(at(None), Some(None));
        assert_eq!(at(Some(&after("created_at", 3600))), Some(Some(3610)));
        assert_eq!(at(Some(&after("created_at", 3599))), None);
        assert_eq!(at(Some(&after("now", 3600))), None);
    }
}
