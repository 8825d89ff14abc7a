//! Which calls a person approves first.

use serde::Deserialize;

/// Which tools of a server need approval. Nothing is asked here: a caller asks before it calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum McpApproval {
    /// Every call.
    #[default]
    Always,
    /// No call.
    Never,
    /// Every call but those of these tools, by the server's names; written `{"never": [...]}`.
    #[serde(untagged)]
    Except {
        /// The tools that need none.
        never: Vec<String>,
    },
}

impl McpApproval {
    /// Whether a call of this tool, by the server's name, needs approval.
    pub fn is_needed(&self, tool: &str) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Except { never } => !never.iter().any(|name| name == tool),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_needs_it_unless_said_otherwise() {
        let parse = |text| serde_json::from_str::<McpApproval>(text);
        assert!(McpApproval::default().is_needed("read"));
        assert!(parse(r#""always""#).expect("always").is_needed("read"));
        assert!(!parse(r#""never""#).expect("never").is_needed("read"));
        let some = parse(r#"{"never": ["read"]}"#).expect("a list");
        assert!(!some.is_needed("read") && some.is_needed("write"));
        for wrong in [r#""sometimes""#, r#"{"always": 1}"#, "true", r#"{"never": "read"}"#] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
