//! A request in the words of another API. Chat Completions is the middle: whatever comes can be put into it,
//! and it can be put into what an upstream speaks.

mod chat_to_messages;
mod messages_to_chat;
mod responses_to_chat;

use serde_json::Value;

pub use chat_to_messages::chat_to_messages;
pub use messages_to_chat::messages_to_chat;
pub use responses_to_chat::{CUSTOM_ARGUMENT, responses_to_chat};

/// The texts of a text or of blocks.
fn texts(content: &Value) -> Vec<&str> {
    match content {
        Value::String(text) => vec![text],
        Value::Array(blocks) => blocks.iter().filter_map(|block| block["text"].as_str()).collect(),
        _ => Vec::new(),
    }
}
