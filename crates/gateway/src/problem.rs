//! What is wrong with a gateway's file, by line.

use std::fmt;
use std::ops::Range;

/// Why a file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for Problem {}

impl Problem {
    /// At a place of `text`.
    pub(crate) fn at(text: &str, span: &Range<usize>, reason: impl Into<String>) -> Problem {
        let before = text.get(..span.start.min(text.len())).unwrap_or(text);
        Problem { line: before.matches('\n').count() + 1, reason: reason.into() }
    }

    /// What the TOML reader says.
    pub(crate) fn of_toml(text: &str, error: &toml::de::Error) -> Problem {
        let span = error.span().unwrap_or(0..0);
        Problem::at(text, &span, error.message().replace('\n', " "))
    }
}
