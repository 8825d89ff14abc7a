//! How much the model is to reason, by the words of the APIs: an effort, and most tokens.

use gptoss_harmony::ReasoningEffort;

use crate::errors::ApiError;

/// An effort as a request has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// What the model is told.
    pub told: ReasoningEffort,
    /// Whether it is not to reason at all, for which harmony has no word.
    pub is_none: bool,
}

impl Effort {
    /// The word of the APIs.
    pub fn as_str(self) -> &'static str {
        if self.is_none { "none" } else { self.told.as_str() }
    }

    /// Most tokens of reasoning, by this effort, by the requests' `wishes` with the names they came under and
    /// by the most that is allowed; the least counts, and -1 is no limit. Units: tokens.
    ///
    /// Errors: a number below -1.
    pub fn budget(
        self,
        wishes: &[(&str, Option<i64>)],
        allowed: Option<u32>,
    ) -> Result<Option<u32>, ApiError> {
        let mut least = if self.is_none { Some(0) } else { allowed };
        for &(param, wish) in wishes {
            let Some(tokens) = wish.filter(|&tokens| tokens != -1) else { continue };
            if tokens < 0 {
                let message = format!("{param} is {tokens}, but must be at least 0, or -1 for no limit");
                return Err(ApiError::invalid(param, message));
            }
            let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
            least = Some(least.map_or(tokens, |least| least.min(tokens)));
        }
        Ok(least)
    }
}

/// Reads an effort; words beyond harmony's three are taken for the nearest.
///
/// Errors: an unknown word.
pub fn effort(word: Option<&str>, param: &str, warnings: &mut Vec<String>) -> Result<Effort, ApiError> {
    let is_as_told = |told| Ok(Effort { told, is_none: false });
    let Some(word) = word else { return is_as_told(ReasoningEffort::Medium) };
    let near = match word.to_ascii_lowercase().as_str() {
        "none" => return Ok(Effort { told: ReasoningEffort::Low, is_none: true }),
        "low" => return is_as_told(ReasoningEffort::Low),
        "medium" | "auto" | "default" => return is_as_told(ReasoningEffort::Medium),
        "high" => return is_as_told(ReasoningEffort::High),
        "minimal" => ReasoningEffort::Low,
        "xhigh" | "max" => ReasoningEffort::High,
        _ => {
            let message = format!("{param} is {word:?}, but must be none, low, medium or high");
            return Err(ApiError::invalid(param, message));
        }
    };
    warnings.push(format!("{param} is {word:?}; the model's nearest is {}", near.as_str()));
    is_as_told(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `none` was taken for low, with a warning, and the model reasoned.
    #[test]
    fn no_reasoning_is_no_effort_of_the_models() {
        let mut warnings = Vec::new();
        let none = effort(Some("None"), "p", &mut warnings).unwrap();
        assert_eq!((none.as_str(), none.told, warnings.len()), ("none", ReasoningEffort::Low, 0));
        assert_eq!(none.budget(&[("a", Some(9))], Some(7)), Ok(Some(0)));
        let minimal = effort(Some("minimal"), "p", &mut warnings).unwrap();
        assert_eq!((minimal.as_str(), minimal.is_none, warnings.len()), ("low", false, 1));
    }

    #[test]
    fn the_least_of_all_budgets_counts() {
        let effort = effort(None, "p", &mut Vec::new()).unwrap();
        let check = |one, other, allowed, expect| {
            assert_eq!(effort.budget(&[("one", one), ("other", other)], allowed), Ok(expect));
        };
        check(None, None, None, None);
        check(None, None, Some(5), Some(5));
        check(Some(9), Some(3), Some(5), Some(3));
        check(Some(-1), Some(9), Some(5), Some(5));
        check(Some(-1), None, None, None);
        check(Some(i64::MAX), None, None, Some(u32::MAX));
        let error = effort.budget(&[("one", Some(-2))], None).unwrap_err();
        assert!(error.to_string().starts_with("one is -2"), "{error}");
    }
}
