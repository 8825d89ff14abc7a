//! The APIs in which a request comes, or is passed on.

use serde::Serialize;

/// An API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// OpenAI's Chat Completions.
    Chat,
    /// OpenAI's older Completions.
    Completions,
    /// OpenAI's Responses.
    Responses,
    /// Anthropic's Messages.
    Messages,
}

impl Dialect {
    /// The API of a route of this server's.
    pub fn of_path(path: &str) -> Option<Dialect> {
        match path {
            "/v1/chat/completions" => Some(Dialect::Chat),
            "/v1/completions" => Some(Dialect::Completions),
            "/v1/responses" => Some(Dialect::Responses),
            "/v1/messages" => Some(Dialect::Messages),
            _ => None,
        }
    }

    /// The path behind an upstream's base address.
    pub fn path(self) -> &'static str {
        match self {
            Dialect::Chat => "/chat/completions",
            Dialect::Completions => "/completions",
            Dialect::Responses => "/responses",
            Dialect::Messages => "/messages",
        }
    }

    /// What people call it.
    pub fn title(self) -> &'static str {
        match self {
            Dialect::Chat => "Chat Completions",
            Dialect::Completions => "Completions",
            Dialect::Responses => "Responses",
            Dialect::Messages => "Messages",
        }
    }
}
