//! Why a server could not be asked.

use std::time::Duration;

/// Why a server could not be asked. Words of the server in it are cleaned and cut.
#[derive(Debug, Clone, thiserror::Error)]
pub enum McpError {
    /// Its program did not start.
    #[error("MCP server {label:?}: {command:?} cannot be started: {reason}; see `command` of its entry")]
    Start {
        /// Which server.
        label: String,
        /// Its program.
        command: String,
        /// What the system says.
        reason: String,
    },
    /// It did not answer as a server does.
    #[error("MCP server {label:?} does not answer as one: {reason}")]
    Handshake {
        /// Which server.
        label: String,
        /// What went wrong, with its last words where it has ended.
        reason: String,
    },
    /// It is at an address, and nothing may leave.
    #[error("{refused}")]
    Closed {
        /// Which server.
        label: String,
        /// The rule's words.
        refused: gptoss_egress::Closed,
    },
    /// It took too long.
    #[error("MCP server {label:?} did not {what} within {} s", limit.as_secs_f64())]
    Time {
        /// Which server.
        label: String,
        /// What it should have done.
        what: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// It ended before it answered a call.
    #[error("MCP server {label:?} has ended: {reason}. It is started again at the next call.")]
    Ended {
        /// Which server.
        label: String,
        /// Its last words, or what the connection says.
        reason: String,
    },
    /// Its answer to a call is none.
    #[error("MCP server {label:?}: {reason}")]
    Answer {
        /// Which server.
        label: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl McpError {
    /// What may be told to those whom the server is not for: the kind alone. What a program wrote or an
    /// address answered is left out, as there may be secrets of the operator's in it.
    pub fn kind(&self) -> String {
        let (label, kind) = match self {
            Self::Start { label, .. } => (label, "it cannot be started"),
            Self::Handshake { label, .. } => (label, "it does not answer as one"),
            Self::Closed { label, .. } => (label, "no connection may leave here"),
            Self::Time { label, .. } => (label, "it took too long"),
            Self::Ended { label, .. } => (label, "it has ended"),
            Self::Answer { label, .. } => (label, "its answer cannot be read"),
        };
        format!("MCP server {label:?} could not be asked: {kind}.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_no_words_of_the_server() {
        let (label, reason) = ("wiki".to_owned(), "password=1".to_owned());
        let error = McpError::Handshake { label, reason };
        assert_eq!(error.kind(), "MCP server \"wiki\" could not be asked: it does not answer as one.");
        assert!(error.to_string().contains("password"));
    }
}
