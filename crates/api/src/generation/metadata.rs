//! The pairs that a client attaches to what it makes.

use std::collections::BTreeMap;

use crate::errors::ApiError;
use crate::limits::{METADATA_KEY_CHARS_MAX, METADATA_PAIRS_MAX, METADATA_VALUE_CHARS_MAX};

/// Looks whether the pairs are as few and as short as they must be.
///
/// Errors: too many pairs, or too long ones.
pub fn metadata(pairs: Option<&BTreeMap<String, String>>) -> Result<(), ApiError> {
    let Some(pairs) = pairs else { return Ok(()) };
    let is_long = |(key, value): (&String, &String)| {
        key.chars().count() > METADATA_KEY_CHARS_MAX || value.chars().count() > METADATA_VALUE_CHARS_MAX
    };
    if pairs.len() > METADATA_PAIRS_MAX || pairs.iter().any(is_long) {
        let message = format!(
            "metadata holds at most {METADATA_PAIRS_MAX} pairs of {METADATA_KEY_CHARS_MAX} and {METADATA_VALUE_CHARS_MAX} characters"
        );
        return Err(ApiError::invalid("metadata", message));
    }
    Ok(())
}
