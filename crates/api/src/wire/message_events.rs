//! An answer of Anthropic's Messages, whole and as events.
//!
//! Every event goes out under its own name, since Anthropic's clients pass over those without one. Fields
//! that are always null here are those that their types require.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// The assistant's message.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct MessageObject {
    /// `msg_` and digits.
    pub id: String,
    /// Always `message`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Always `assistant`.
    pub role: &'static str,
    /// The model, as it was asked for.
    pub model: String,
    /// What it says.
    pub content: Vec<OutputBlock>,
    /// end_turn, max_tokens, stop_sequence, tool_use or model_context_window_exceeded; null until it has
    /// ended.
    pub stop_reason: Option<&'static str>,
    /// The stop sequence that was found.
    pub stop_sequence: Option<String>,
    /// What it took.
    pub usage: MessageUsage,
    /// What was changed, repaired or left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A block of the assistant's message.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OutputBlock {
    /// What is said to the user.
    Text {
        /// The text.
        text: String,
    },
    /// The reasoning.
    Thinking {
        /// The reasoning, a summary of it, or nothing.
        thinking: String,
        /// By which the block is known when it is sent back.
        signature: String,
    },
    /// A call.
    ToolUse {
        /// `toolu_` and digits.
        id: String,
        /// The tool.
        name: String,
        /// The arguments.
        input: Value,
    },
}

/// What a message took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct MessageUsage {
    /// Tokens that were read and computed.
    pub input_tokens: u64,
    /// Always 0: what is kept costs nothing here.
    pub cache_creation_input_tokens: u64,
    /// Tokens that were read and had been computed before.
    pub cache_read_input_tokens: u64,
    /// Tokens that were written.
    pub output_tokens: u64,
    /// Of those.
    pub output_tokens_details: OutputTokenDetails,
    /// Always `standard`.
    pub service_tier: ServiceTier,
}

/// Of the tokens that were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct OutputTokenDetails {
    /// Thinking, whether it was shown or not.
    pub thinking_tokens: u64,
}

/// How urgent a request was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServiceTier {
    /// Like all others.
    #[default]
    Standard,
}

/// An event of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum MessageEvent {
    /// The message begins.
    MessageStart {
        /// Without content, with what was read.
        message: MessageObject,
    },
    /// A block begins.
    ContentBlockStart {
        /// From 0.
        index: usize,
        /// Empty.
        content_block: OutputBlock,
    },
    /// More of the block that has begun.
    ContentBlockDelta {
        /// Its index.
        index: usize,
        /// What is new.
        delta: BlockDelta,
    },
    /// The block is whole.
    ContentBlockStop {
        /// Its index.
        index: usize,
    },
    /// Why the message ended.
    MessageDelta {
        /// Why.
        delta: MessageEnd,
        /// What it took in all.
        usage: MessageUsage,
        /// What was changed, repaired or left out.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<String>,
    },
    /// Nothing more comes.
    MessageStop,
}

impl MessageEvent {
    /// The name it goes out under.
    pub fn name(&self) -> &'static str {
        match self {
            MessageEvent::MessageStart { .. } => "message_start",
            MessageEvent::ContentBlockStart { .. } => "content_block_start",
            MessageEvent::ContentBlockDelta { .. } => "content_block_delta",
            MessageEvent::ContentBlockStop { .. } => "content_block_stop",
            MessageEvent::MessageDelta { .. } => "message_delta",
            MessageEvent::MessageStop => "message_stop",
        }
    }
}

/// More of a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum BlockDelta {
    /// Of a text.
    TextDelta {
        /// What is new.
        text: String,
    },
    /// Of the thinking.
    ThinkingDelta {
        /// What is new.
        thinking: String,
    },
    /// Of the thinking, once and last.
    SignatureDelta {
        /// The signature.
        signature: String,
    },
    /// Of a call's arguments.
    InputJsonDelta {
        /// What is new of their JSON.
        partial_json: String,
    },
}

/// Why a message ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MessageEnd {
    /// As in the message.
    pub stop_reason: Option<&'static str>,
    /// As in the message.
    pub stop_sequence: Option<String>,
}

/// How many tokens a request would make the model read.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub struct TokenCount {
    /// All of them, those that are cached included.
    pub input_tokens: usize,
}

/// A model, in Anthropic's form.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct AnthropicModel {
    /// Always `model`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The name to ask for.
    pub id: String,
    /// The same.
    pub display_name: String,
    /// When the server began to serve it, RFC 3339.
    pub created_at: String,
    /// Always `active`.
    pub lifecycle: &'static str,
    /// Tokens of a whole conversation.
    pub max_input_tokens: usize,
    /// The same: nothing else bounds an answer.
    pub max_tokens: usize,
}

/// All models, in Anthropic's form.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct AnthropicModelList {
    /// The models.
    pub data: Vec<AnthropicModel>,
    /// Always false.
    pub has_more: bool,
    /// The first one's id.
    pub first_id: Option<String>,
    /// The last one's id.
    pub last_id: Option<String>,
}

/// The body of an error, and the data of the event `error`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct MessagesErrorBody {
    /// Always `error`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What went wrong.
    pub error: MessagesErrorFacts,
    /// The request's id, also in the header `request-id`.
    pub request_id: Option<String>,
}

/// What went wrong.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct MessagesErrorFacts {
    /// The class of the error.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// A sentence for people.
    pub message: String,
}
