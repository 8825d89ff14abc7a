//! How much of the model's reasoning may be seen.
//!
//! Raw by default, as the format of the API has it; a summary, which the same model writes at low effort in a
//! pass of its own; or nothing. A key carries the most it may see, a request may ask for less, never for
//! more.

use serde::Deserialize;

use crate::errors::ApiError;

/// How much of the reasoning is seen; more is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// Nothing: for end users.
    Hidden,
    /// What the model says that it thought.
    Summary,
    /// All of it.
    #[default]
    Raw,
}

impl Visibility {
    /// The visibility of that name.
    pub fn from_name(name: &str) -> Option<Visibility> {
        match name {
            "raw" => Some(Visibility::Raw),
            "summary" => Some(Visibility::Summary),
            "hidden" => Some(Visibility::Hidden),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Visibility::Raw => "raw",
            Visibility::Summary => "summary",
            Visibility::Hidden => "hidden",
        }
    }

    /// What a request may see that wishes `wish`, with a key that allows `self`.
    ///
    /// Errors: a word that is none of the three.
    pub fn narrowed(self, wish: Option<&str>) -> Result<Visibility, ApiError> {
        let Some(wish) = wish else { return Ok(self) };
        let parsed = Visibility::from_name(wish).ok_or_else(|| {
            let message = format!("reasoning_visibility is {wish:?}, but must be raw, summary or hidden");
            ApiError::invalid("reasoning_visibility", message)
        })?;
        Ok(parsed.min(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_sees_no_more_than_its_key() {
        assert_eq!(Visibility::Summary.narrowed(Some("raw")), Ok(Visibility::Summary));
        assert_eq!(Visibility::Raw.narrowed(Some("hidden")), Ok(Visibility::Hidden));
        assert_eq!(Visibility::Hidden.narrowed(None), Ok(Visibility::Hidden));
        assert!(Visibility::Raw.narrowed(Some("loud")).is_err());
    }
}
