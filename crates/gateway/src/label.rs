//! How sensitive a request is.
//!
//! Labels rise and never fall: key, header and detectors each name one, and the highest holds. The highest of
//! all keeps a request on this machine whatever else is true.

use serde::Deserialize;

/// The sensitivity of a request; more is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// Nothing is said of it.
    #[default]
    Any,
    /// Not for everybody.
    Internal,
    /// For few.
    Confidential,
    /// It never leaves this machine, also when nobody here can answer.
    LocalOnly,
}

/// All labels, rising.
pub const LABELS: [Label; 4] = [Label::Any, Label::Internal, Label::Confidential, Label::LocalOnly];

impl Label {
    /// The label of that name.
    pub fn from_name(name: &str) -> Option<Label> {
        LABELS.into_iter().find(|label| label.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Label::Any => "any",
            Label::Internal => "internal",
            Label::Confidential => "confidential",
            Label::LocalOnly => "local_only",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways_and_labels_rise() {
        for label in LABELS {
            assert_eq!(Label::from_name(label.name()), Some(label));
        }
        assert!(LABELS.is_sorted());
        assert_eq!(Label::from_name("Local_Only"), None);
    }
}
