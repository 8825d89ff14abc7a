//! Why a server could not be asked.

use std::time::Duration;

/// Why a server could not be asked. Words of the server in it are cleaned and cut.
#[derive(Debug, thiserror::Error)]
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
}
