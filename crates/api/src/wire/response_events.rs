//! Which events does a streamed response consist of?
//!
//! One variant per event, tagged by `type`, each with its `sequence_number`: 0, 1, 2, ... without a gap. The
//! last of a stream is `response.completed`, `response.incomplete` or `response.failed`, and carries the
//! whole object.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::chat::TokenLogprob;
use super::response_items::{Item, OutputText, ReasoningPart, SummaryPart};
use super::responses::ResponseObject;
use super::tool_items::Annotation;

/// An event with its number.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Numbered {
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// From 0, without a gap.
    pub sequence_number: u64,
}

/// What happened.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
#[expect(missing_docs, reason = "the names are OpenAI's")]
pub enum Event {
    #[serde(rename = "response.created")]
    Created { response: Box<ResponseObject> },
    #[serde(rename = "response.queued")]
    Queued { response: Box<ResponseObject> },
    #[serde(rename = "response.in_progress")]
    InProgress { response: Box<ResponseObject> },
    #[serde(rename = "response.completed")]
    Completed { response: Box<ResponseObject> },
    #[serde(rename = "response.incomplete")]
    Incomplete { response: Box<ResponseObject> },
    #[serde(rename = "response.failed")]
    Failed { response: Box<ResponseObject> },
    #[serde(rename = "response.output_item.added")]
    ItemAdded { output_index: usize, item: Item },
    #[serde(rename = "response.output_item.done")]
    ItemDone { output_index: usize, item: Item },
    #[serde(rename = "response.content_part.added")]
    PartAdded { item_id: String, output_index: usize, content_index: usize, part: Part },
    #[serde(rename = "response.content_part.done")]
    PartDone { item_id: String, output_index: usize, content_index: usize, part: Part },
    #[serde(rename = "response.output_text.delta")]
    TextDelta {
        item_id: String,
        output_index: usize,
        content_index: usize,
        delta: String,
        logprobs: Vec<TokenLogprob>,
    },
    #[serde(rename = "response.output_text.done")]
    TextDone {
        item_id: String,
        output_index: usize,
        content_index: usize,
        text: String,
        logprobs: Vec<TokenLogprob>,
    },
    #[serde(rename = "response.output_text.annotation.added")]
    AnnotationAdded {
        item_id: String,
        output_index: usize,
        content_index: usize,
        annotation_index: usize,
        annotation: Annotation,
    },
    #[serde(rename = "response.reasoning_text.delta")]
    ReasoningDelta { item_id: String, output_index: usize, content_index: usize, delta: String },
    #[serde(rename = "response.reasoning_text.done")]
    ReasoningDone { item_id: String, output_index: usize, content_index: usize, text: String },
    #[serde(rename = "response.reasoning_summary_part.added")]
    SummaryPartAdded { item_id: String, output_index: usize, summary_index: usize, part: SummaryPart },
    #[serde(rename = "response.reasoning_summary_part.done")]
    SummaryPartDone { item_id: String, output_index: usize, summary_index: usize, part: SummaryPart },
    #[serde(rename = "response.reasoning_summary_text.delta")]
    SummaryDelta { item_id: String, output_index: usize, summary_index: usize, delta: String },
    #[serde(rename = "response.reasoning_summary_text.done")]
    SummaryDone { item_id: String, output_index: usize, summary_index: usize, text: String },
    #[serde(rename = "response.function_call_arguments.delta")]
    ArgumentsDelta { item_id: String, output_index: usize, delta: String },
    #[serde(rename = "response.function_call_arguments.done")]
    ArgumentsDone { item_id: String, output_index: usize, name: String, arguments: String },
    #[serde(rename = "response.custom_tool_call_input.delta")]
    InputDelta { item_id: String, output_index: usize, delta: String },
    #[serde(rename = "response.custom_tool_call_input.done")]
    InputDone { item_id: String, output_index: usize, input: String },
    #[serde(rename = "response.web_search_call.in_progress")]
    SearchInProgress { item_id: String, output_index: usize },
    #[serde(rename = "response.web_search_call.searching")]
    Searching { item_id: String, output_index: usize },
    #[serde(rename = "response.web_search_call.completed")]
    SearchCompleted { item_id: String, output_index: usize },
    #[serde(rename = "response.code_interpreter_call.in_progress")]
    CodeInProgress { item_id: String, output_index: usize },
    #[serde(rename = "response.code_interpreter_call_code.delta")]
    CodeDelta { item_id: String, output_index: usize, delta: String },
    #[serde(rename = "response.code_interpreter_call_code.done")]
    CodeDone { item_id: String, output_index: usize, code: String },
    #[serde(rename = "response.code_interpreter_call.interpreting")]
    Interpreting { item_id: String, output_index: usize },
    #[serde(rename = "response.code_interpreter_call.completed")]
    CodeCompleted { item_id: String, output_index: usize },
    #[serde(rename = "response.mcp_list_tools.in_progress")]
    McpListInProgress { item_id: String, output_index: usize },
    #[serde(rename = "response.mcp_list_tools.completed")]
    McpListCompleted { item_id: String, output_index: usize },
    #[serde(rename = "response.mcp_list_tools.failed")]
    McpListFailed { item_id: String, output_index: usize },
    #[serde(rename = "response.mcp_call.in_progress")]
    McpCallInProgress { item_id: String, output_index: usize },
    #[serde(rename = "response.mcp_call_arguments.delta")]
    McpArgumentsDelta { item_id: String, output_index: usize, delta: String },
    #[serde(rename = "response.mcp_call_arguments.done")]
    McpArgumentsDone { item_id: String, output_index: usize, arguments: String },
    #[serde(rename = "response.mcp_call.completed")]
    McpCallCompleted { item_id: String, output_index: usize },
    #[serde(rename = "response.mcp_call.failed")]
    McpCallFailed { item_id: String, output_index: usize },
    #[serde(rename = "response.shell_call_command.added")]
    CommandAdded { output_index: usize, command_index: usize, command: String },
    #[serde(rename = "response.shell_call_command.delta")]
    CommandDelta { output_index: usize, command_index: usize, delta: String },
    #[serde(rename = "response.shell_call_command.done")]
    CommandDone { output_index: usize, command_index: usize, command: String },
}

impl Event {
    /// The word under `type`, which is also the name of the server-sent event.
    pub fn name(&self) -> &'static str {
        match self {
            Event::Created { .. } => "response.created",
            Event::Queued { .. } => "response.queued",
            Event::InProgress { .. } => "response.in_progress",
            Event::Completed { .. } => "response.completed",
            Event::Incomplete { .. } => "response.incomplete",
            Event::Failed { .. } => "response.failed",
            Event::ItemAdded { .. } => "response.output_item.added",
            Event::ItemDone { .. } => "response.output_item.done",
            Event::PartAdded { .. } => "response.content_part.added",
            Event::PartDone { .. } => "response.content_part.done",
            Event::TextDelta { .. } => "response.output_text.delta",
            Event::TextDone { .. } => "response.output_text.done",
            Event::AnnotationAdded { .. } => "response.output_text.annotation.added",
            Event::ReasoningDelta { .. } => "response.reasoning_text.delta",
            Event::ReasoningDone { .. } => "response.reasoning_text.done",
            Event::SummaryPartAdded { .. } => "response.reasoning_summary_part.added",
            Event::SummaryPartDone { .. } => "response.reasoning_summary_part.done",
            Event::SummaryDelta { .. } => "response.reasoning_summary_text.delta",
            Event::SummaryDone { .. } => "response.reasoning_summary_text.done",
            Event::ArgumentsDelta { .. } => "response.function_call_arguments.delta",
            Event::ArgumentsDone { .. } => "response.function_call_arguments.done",
            Event::InputDelta { .. } => "response.custom_tool_call_input.delta",
            Event::InputDone { .. } => "response.custom_tool_call_input.done",
            Event::SearchInProgress { .. } => "response.web_search_call.in_progress",
            Event::Searching { .. } => "response.web_search_call.searching",
            Event::SearchCompleted { .. } => "response.web_search_call.completed",
            Event::CodeInProgress { .. } => "response.code_interpreter_call.in_progress",
            Event::CodeDelta { .. } => "response.code_interpreter_call_code.delta",
            Event::CodeDone { .. } => "response.code_interpreter_call_code.done",
            Event::Interpreting { .. } => "response.code_interpreter_call.interpreting",
            Event::CodeCompleted { .. } => "response.code_interpreter_call.completed",
            Event::McpListInProgress { .. } => "response.mcp_list_tools.in_progress",
            Event::McpListCompleted { .. } => "response.mcp_list_tools.completed",
            Event::McpListFailed { .. } => "response.mcp_list_tools.failed",
            Event::McpCallInProgress { .. } => "response.mcp_call.in_progress",
            Event::McpArgumentsDelta { .. } => "response.mcp_call_arguments.delta",
            Event::McpArgumentsDone { .. } => "response.mcp_call_arguments.done",
            Event::McpCallCompleted { .. } => "response.mcp_call.completed",
            Event::McpCallFailed { .. } => "response.mcp_call.failed",
            Event::CommandAdded { .. } => "response.shell_call_command.added",
            Event::CommandDelta { .. } => "response.shell_call_command.delta",
            Event::CommandDone { .. } => "response.shell_call_command.done",
        }
    }
}

/// A part of an item: of a message or of reasoning.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Part {
    /// Of a message.
    Text(OutputText),
    /// Of reasoning.
    Reasoning(ReasoningPart),
}
