//! Harmony: how do conversations become the tokens of gpt-oss, and its tokens messages?
//!
//! Entry points: [`Vocab`] (text ⇄ tokens), [`render()`] (conversation → tokens) and [`StreamParser`] (tokens
//! → messages and deltas). The room is pure: no files, no network, no clock. Text tokens and control tokens
//! are different types ([`TextToken`], [`Control`]), so text of users, tools and schemas can never become
//! structure. Rendering follows openai-harmony 0.0.8 token for token and goes beyond it for `$ref`, `anyOf`,
//! `allOf`, `const` and response formats; parsing is total, repairs malformed headers by fixed rules and
//! reports each repair as a [`Warning`]. It deliberately knows nothing of models, sampling, HTTP or which
//! tools exist.

mod bpe;
mod builtin_tools;
mod byte_alphabet;
mod char_class;
mod delta;
mod error;
mod header;
mod json;
pub mod limits;
mod merge_queue;
mod message;
mod o200k;
mod opening;
mod parse;
mod render;
mod schema;
mod sections;
mod split;
mod tokenizer_json;
mod utf8;
mod vocab;
mod warning;

pub use delta::{Call, Channel, Delta, Logprob, TopLogprob, TurnEnd};
pub use error::Error;
pub use header::Header;
pub use message::{
    Author, ChannelConfig, Content, ContentType, Conversation, DeveloperContent, FunctionTool, Message,
    Namespaces, ReasoningEffort, ResponseFormat, Role, SystemContent, ToolNamespace,
};
pub use o200k::MultiDigit;
pub use opening::Opening;
pub use parse::{ParseEvent, Parsed, StreamParser};
pub use render::{Analysis, Form, RenderOptions, TrainingTokens, render, render_training};
pub use sections::tool_bytes;
pub use split::O200K_SPLIT;
pub use tokenizer_json::GgufTokens;
pub use vocab::{Control, TextToken, Token, Vocab};
pub use warning::{Repair, Warning};
