//! The body of a request to Anthropic's Messages.
//!
//! Blocks are one flat type with a word for their kind, since clients send back whatever another server gave
//! them: the conversion judges kinds by name. What means nothing here (`cache_control`, `service_tier`,
//! `context_management`) is passed over like any unknown field.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// A request for the assistant's next message.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct MessagesRequest {
    /// The model; the served one when absent.
    pub model: Option<String>,
    /// Most tokens to write, thinking included; required but for counting.
    pub max_tokens: Option<i64>,
    /// The conversation so far; the last message is not the assistant's.
    pub messages: Vec<InputMessage>,
    /// Instructions, as a text or in blocks.
    pub system: Option<BlockList>,
    /// What the model may call.
    pub tools: Option<Vec<InputTool>>,
    /// auto, any, tool or none.
    pub tool_choice: Option<InputToolChoice>,
    /// Whether the thinking is shown, and how long it may be.
    pub thinking: Option<InputThinking>,
    /// The effort, and the form of the answer.
    pub output_config: Option<OutputConfig>,
    /// The older name of `output_config.format`.
    pub output_format: Option<Value>,
    /// Strings before which the answer ends.
    pub stop_sequences: Option<Vec<String>>,
    /// Randomness.
    pub temperature: Option<f64>,
    /// Keep the likeliest tokens whose probabilities add up to this.
    pub top_p: Option<f64>,
    /// Keep this many of the likeliest tokens.
    pub top_k: Option<i64>,
    /// Whether the answer comes as a stream of events.
    pub stream: Option<bool>,
    /// raw, summary or hidden: asks for less of the thinking than the key allows.
    pub reasoning_visibility: Option<String>,
    /// Seed of the random numbers.
    pub seed: Option<i64>,
}

/// A message of the conversation.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct InputMessage {
    /// user, assistant or system.
    pub role: String,
    /// A text or blocks.
    pub content: Option<BlockList>,
}

/// A text, or blocks.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a string or a list of content blocks")]
pub enum BlockList {
    /// One text.
    Text(String),
    /// Blocks in order.
    Blocks(Vec<InputBlock>),
}

/// A block of a message.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct InputBlock {
    /// text, thinking, redacted_thinking, tool_use, tool_result, document, search_result or tool_reference.
    #[serde(rename = "type")]
    pub kind: String,
    /// Of a text.
    pub text: Option<String>,
    /// Of a thinking block.
    pub thinking: Option<String>,
    /// Of a thinking block: what the server gave with it.
    pub signature: Option<String>,
    /// Of a call: the name by which its result refers to it.
    pub id: Option<String>,
    /// Of a call: the tool.
    pub name: Option<String>,
    /// Of a call: the arguments, an object.
    pub input: Option<Value>,
    /// Of a result: the call.
    pub tool_use_id: Option<String>,
    /// Of a result or a search result: what it says.
    pub content: Option<Box<BlockList>>,
    /// Of a result: whether the tool failed.
    pub is_error: Option<bool>,
    /// Of a document, where it is; of a search result, a text.
    pub source: Option<Value>,
    /// Of a document or a search result.
    pub title: Option<String>,
    /// Of a document.
    pub context: Option<String>,
    /// Of a reference to a tool.
    pub tool_name: Option<String>,
    /// A mark that the prompt before it stays as it is.
    pub cache_control: Option<Value>,
}

/// A tool that the model may call.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct InputTool {
    /// custom when absent; other kinds run on Anthropic's servers or need its models.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// What it does.
    pub description: Option<String>,
    /// JSON Schema of its arguments.
    pub input_schema: Option<Value>,
    /// Whether the arguments must keep to the schema.
    pub strict: Option<bool>,
}

/// What must be called.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct InputToolChoice {
    /// auto, any, tool or none.
    #[serde(rename = "type")]
    pub kind: String,
    /// The tool that must be called.
    pub name: Option<String>,
}

/// Whether the thinking is shown, and how long it may be.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct InputThinking {
    /// enabled, adaptive or disabled.
    #[serde(rename = "type")]
    pub kind: String,
    /// Most tokens of thinking, at least 1,024.
    pub budget_tokens: Option<i64>,
    /// summarized shows the thinking, omitted shows empty blocks with a signature.
    pub display: Option<String>,
}

/// The effort, and the form of the answer.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct OutputConfig {
    /// low, medium, high, xhigh or max.
    pub effort: Option<String>,
    /// json_schema, with its schema.
    pub format: Option<Value>,
}
