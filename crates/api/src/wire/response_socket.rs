//! What goes over a connection of the Responses API besides the events of a stream.
//!
//! A client says `response.create` with the fields of a request beside its own; what cannot be done comes
//! back as an `error`. Everything is a text message that holds one object.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::errors::ErrorFacts;

/// What a client's message says besides the request.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct ClientHead {
    /// `response.create`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Comes back with every event of the response, so that a client can tell its lanes apart. Responses of
    /// all lanes are written one after another.
    pub stream_id: Option<String>,
    /// false makes no output: what was sent is kept, and can be gone on from by the response's id.
    pub generate: Option<bool>,
}

/// Why a message of the client's came to nothing, or why the connection ends.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SocketError {
    /// Always `error`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The status that HTTP would have.
    pub status: u16,
    /// What went wrong.
    pub error: ErrorFacts,
    /// As the message had it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_id: Option<String>,
}
