//! What can the model have said in a response?
//!
//! The output items of the Responses API that a text model with tools makes: reasoning, messages, calls of
//! functions and of custom tools, and those of built-in tools (`tool_items`). They are written in responses
//! and events, and read again from the store.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::chat::TokenLogprob;
use super::tool_items::{
    Annotation, ApplyPatchCallItem, CodeInterpreterCallItem, LocalShellCallItem, McpApprovalRequestItem,
    McpCallItem, McpListToolsItem, ShellCallItem, WebSearchCallItem,
};

/// An output item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Item {
    /// What the model thought.
    Reasoning(ReasoningItem),
    /// What it said.
    Message(MessageItem),
    /// The function it calls.
    FunctionCall(FunctionCallItem),
    /// The custom tool it calls.
    CustomToolCall(CustomToolCallItem),
    /// What stands for the conversation before.
    Compaction(CompactionItem),
    /// What it looks for in the web.
    WebSearchCall(WebSearchCallItem),
    /// The code it runs.
    CodeInterpreterCall(CodeInterpreterCallItem),
    /// What an MCP server offers.
    McpListTools(McpListToolsItem),
    /// A call of an MCP server's tool that has to be allowed first.
    McpApprovalRequest(McpApprovalRequestItem),
    /// A call of an MCP server's tool.
    McpCall(McpCallItem),
    /// The commands it wants to be run.
    ShellCall(ShellCallItem),
    /// The command it wants to be run.
    LocalShellCall(LocalShellCallItem),
    /// The change of a file that it wants to be made.
    ApplyPatchCall(ApplyPatchCallItem),
}

impl Item {
    /// The item's own id.
    pub fn id(&self) -> &str {
        match self {
            Item::Reasoning(item) => &item.id,
            Item::Message(item) => &item.id,
            Item::FunctionCall(item) => &item.id,
            Item::CustomToolCall(item) => &item.id,
            Item::Compaction(item) => &item.id,
            Item::WebSearchCall(item) => &item.id,
            Item::CodeInterpreterCall(item) => &item.id,
            Item::McpListTools(item) => &item.id,
            Item::McpApprovalRequest(item) => &item.id,
            Item::McpCall(item) => &item.id,
            Item::ShellCall(item) => &item.id,
            Item::LocalShellCall(item) => &item.id,
            Item::ApplyPatchCall(item) => &item.id,
        }
    }

    /// Whether it is for whoever asked: said to them, or theirs to answer.
    pub fn is_said(&self) -> bool {
        match self {
            Item::Message(_)
            | Item::FunctionCall(_)
            | Item::CustomToolCall(_)
            | Item::McpApprovalRequest(_)
            | Item::ShellCall(_)
            | Item::LocalShellCall(_)
            | Item::ApplyPatchCall(_) => true,
            Item::Reasoning(_)
            | Item::Compaction(_)
            | Item::WebSearchCall(_)
            | Item::CodeInterpreterCall(_)
            | Item::McpListTools(_)
            | Item::McpCall(_) => false,
        }
    }

    /// Sets in_progress, completed or incomplete, where there is a status.
    pub fn set_status(&mut self, status: &'static str) {
        let place = match self {
            Item::Reasoning(item) => &mut item.status,
            Item::Message(item) => &mut item.status,
            Item::FunctionCall(item) => &mut item.status,
            Item::CustomToolCall(item) => &mut item.status,
            Item::WebSearchCall(item) => &mut item.status,
            Item::CodeInterpreterCall(item) => &mut item.status,
            Item::McpCall(item) => &mut item.status,
            Item::ShellCall(item) => &mut item.status,
            Item::LocalShellCall(item) => &mut item.status,
            Item::ApplyPatchCall(item) => &mut item.status,
            Item::Compaction(_) | Item::McpListTools(_) | Item::McpApprovalRequest(_) => return,
        };
        *place = status.to_owned();
    }
}

/// What the model thought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReasoningItem {
    /// `rs_` and digits.
    pub id: String,
    /// Summaries, if asked for.
    pub summary: Vec<SummaryPart>,
    /// The raw reasoning; empty when it is not to be seen.
    pub content: Vec<ReasoningPart>,
    /// Never there: what is hidden is kept by the server, by call id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted_content: Option<String>,
    /// in_progress, completed or incomplete.
    pub status: String,
}

/// A summary of reasoning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SummaryPart {
    /// Always `summary_text`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The summary.
    pub text: String,
}

impl SummaryPart {
    /// With a text.
    pub fn new(text: impl Into<String>) -> SummaryPart {
        SummaryPart { kind: "summary_text".into(), text: text.into() }
    }
}

/// Raw reasoning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReasoningPart {
    /// Always `reasoning_text`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The reasoning.
    pub text: String,
}

impl ReasoningPart {
    /// With a text.
    pub fn new(text: impl Into<String>) -> ReasoningPart {
        ReasoningPart { kind: "reasoning_text".into(), text: text.into() }
    }
}

/// What the model said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MessageItem {
    /// `msg_` and digits.
    pub id: String,
    /// Always `assistant`.
    pub role: String,
    /// in_progress, completed or incomplete.
    pub status: String,
    /// One part.
    pub content: Vec<OutputText>,
    /// commentary before a call, final_answer for the answer.
    pub phase: String,
}

/// A text of the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OutputText {
    /// Always `output_text`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The text.
    pub text: String,
    /// The pages that it cites, and the files.
    pub annotations: Vec<Annotation>,
    /// If asked for by `include`.
    pub logprobs: Vec<TokenLogprob>,
}

impl OutputText {
    /// Without a text yet.
    pub fn empty() -> OutputText {
        OutputText {
            kind: "output_text".into(),
            text: String::new(),
            annotations: Vec::new(),
            logprobs: Vec::new(),
        }
    }
}

/// A call of a function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FunctionCallItem {
    /// `fc_` and digits.
    pub id: String,
    /// By which the result refers to it.
    pub call_id: String,
    /// The function's name.
    pub name: String,
    /// The namespace it was offered in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// What the model wrote: JSON, unless a loose tool was given something else.
    pub arguments: String,
    /// in_progress, completed or incomplete.
    pub status: String,
}

/// A summary of everything that was said before, but for the user's own messages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CompactionItem {
    /// `cmp_` and digits.
    pub id: String,
    /// The summary, in a form of this server's own.
    pub encrypted_content: String,
}

/// A call of a custom tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CustomToolCallItem {
    /// `ctc_` and digits.
    pub id: String,
    /// By which the result refers to it.
    pub call_id: String,
    /// The tool's name.
    pub name: String,
    /// Free text.
    pub input: String,
    /// in_progress, completed or incomplete.
    pub status: String,
}
