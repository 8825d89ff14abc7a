//! How does an answer become chunks of Chat Completions?
//!
//! [`ChatChoice`] is pushed the deltas of one choice and gives the chunks; [`fold`] adds a choice's chunks up
//! again, which is the body that a request without a stream gets. There is no other way to a body, so what is
//! streamed and what is not are equal by construction. What the model says before a call and what it answers
//! are both `content`; a blank line stands between them.
//!
//! It does not know other choices, the engine, or bytes on a connection.

use gptoss_turn::{Channel, Delta, TurnEnd};

use crate::ids;
use crate::tools::{Kind, Tools};
use crate::usage;
use crate::visibility::Visibility;
use crate::wire::chat::{
    ChatLogprobs, Choice, ChunkChoice, ChunkDelta, CustomOut, FunctionOut, MessageOut, ReasoningDetail,
    TokenLogprob, ToolCallOut,
};

/// Between two texts of one message that were said separately.
const BETWEEN: &str = "\n\n";

/// One choice while it is written.
#[derive(Debug)]
pub(crate) struct ChatChoice {
    index: u32,
    tools: Tools,
    visibility: Visibility,
    tells_logprobs: bool,
    /// The channel that `content` was last written on.
    content_channel: Option<Channel>,
    call_ids: Vec<String>,
    is_custom: bool,
    warnings: Vec<String>,
}

impl ChatChoice {
    /// Before the first delta.
    pub(crate) fn new(index: u32, tools: Tools, visibility: Visibility, tells_logprobs: bool) -> ChatChoice {
        ChatChoice {
            index,
            tools,
            visibility,
            tells_logprobs,
            content_channel: None,
            call_ids: Vec::new(),
            is_custom: false,
            warnings: Vec::new(),
        }
    }

    /// The first chunk.
    pub(crate) fn begin(&self) -> ChunkChoice {
        self.chunk(ChunkDelta { role: Some("assistant"), ..ChunkDelta::default() })
    }

    /// What a delta adds; nothing when it is not to be seen.
    pub(crate) fn push(&mut self, delta: Delta) -> Option<ChunkChoice> {
        match delta {
            Delta::Text { channel: Channel::Analysis, text, .. } => {
                (self.visibility == Visibility::Raw).then(|| self.chunk(reasoning(text)))
            }
            Delta::Text { channel, mut text, logprobs } => {
                if self.content_channel.is_some_and(|before| before != channel) {
                    text.insert_str(0, BETWEEN);
                }
                self.content_channel = Some(channel);
                let mut chunk = self.chunk(ChunkDelta { content: Some(text), ..ChunkDelta::default() });
                if self.tells_logprobs {
                    let content = logprobs.into_iter().map(TokenLogprob::from).collect();
                    chunk.logprobs = Some(ChatLogprobs { content, refusal: None });
                }
                Some(chunk)
            }
            Delta::CallStarted { name } => Some(self.call(name)),
            Delta::CallArguments { text, .. } => Some(self.arguments(text)),
            Delta::Called(_) => None,
            Delta::Warning(warning) => {
                self.warnings.push(warning);
                None
            }
        }
    }

    /// What more of a summary of the reasoning adds.
    pub(crate) fn push_summary(&mut self, text: String) -> ChunkChoice {
        let details = vec![ReasoningDetail { kind: "reasoning.summary", summary: text.clone() }];
        let shown = match self.visibility {
            Visibility::Summary => reasoning(text),
            Visibility::Raw | Visibility::Hidden => ChunkDelta::default(),
        };
        self.chunk(ChunkDelta { reasoning_details: Some(details), ..shown })
    }

    /// The last chunk.
    pub(crate) fn finish(&mut self, end: TurnEnd) -> ChunkChoice {
        let says_nothing = self.content_channel.is_none() && self.call_ids.is_empty();
        let content = says_nothing.then(String::new);
        self.warnings.extend(usage::notice(end).map(str::to_owned));
        let mut chunk = self.chunk(ChunkDelta { content, ..ChunkDelta::default() });
        chunk.finish_reason = Some(match end {
            TurnEnd::Answer | TurnEnd::NoAnswer | TurnEnd::Cancelled => "stop",
            TurnEnd::Call => "tool_calls",
            TurnEnd::Length | TurnEnd::Context | TurnEnd::Deadline => "length",
        });
        chunk
    }

    /// The ids of the calls that were begun.
    pub(crate) fn call_ids(&self) -> &[String] {
        &self.call_ids
    }

    /// What was repaired.
    pub(crate) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    fn call(&mut self, harmony_name: String) -> ChunkChoice {
        let id = ids::random("call");
        self.call_ids.push(id.clone());
        self.is_custom = self.tools.find(&harmony_name).is_some_and(|tool| tool.kind == Kind::Custom);
        let name = Some(harmony_name);
        let mut call = ToolCallOut { id: Some(id), ..self.open_call() };
        if self.is_custom {
            call.kind = Some("custom");
            call.custom = Some(CustomOut { name, input: String::new() });
        } else {
            call.kind = Some("function");
            call.function = Some(FunctionOut { name, arguments: String::new() });
        }
        self.chunk(ChunkDelta { tool_calls: Some(vec![call]), ..ChunkDelta::default() })
    }

    fn arguments(&self, text: String) -> ChunkChoice {
        let mut call = self.open_call();
        match self.is_custom {
            true => call.custom = Some(CustomOut { name: None, input: text }),
            false => call.function = Some(FunctionOut { name: None, arguments: text }),
        }
        self.chunk(ChunkDelta { tool_calls: Some(vec![call]), ..ChunkDelta::default() })
    }

    fn open_call(&self) -> ToolCallOut {
        ToolCallOut { index: Some(self.call_ids.len().saturating_sub(1) as u32), ..ToolCallOut::default() }
    }

    fn chunk(&self, delta: ChunkDelta) -> ChunkChoice {
        ChunkChoice { index: self.index, delta, logprobs: None, finish_reason: None }
    }
}

fn reasoning(text: String) -> ChunkDelta {
    ChunkDelta { reasoning: Some(text.clone()), reasoning_content: Some(text), ..ChunkDelta::default() }
}

/// Adds the chunks of a choice up.
pub(crate) fn fold(choice: &mut Choice, chunk: ChunkChoice) {
    choice.index = chunk.index;
    let message: &mut MessageOut = &mut choice.message;
    message.role = chunk.delta.role.unwrap_or(message.role);
    append(&mut message.content, chunk.delta.content);
    append(&mut message.reasoning, chunk.delta.reasoning);
    append(&mut message.reasoning_content, chunk.delta.reasoning_content);
    for detail in chunk.delta.reasoning_details.into_iter().flatten() {
        match message.reasoning_details.get_or_insert_default().last_mut() {
            Some(last) => last.summary.push_str(&detail.summary),
            None => message.reasoning_details.get_or_insert_default().push(detail),
        }
    }
    for call in chunk.delta.tool_calls.into_iter().flatten() {
        let calls = message.tool_calls.get_or_insert_default();
        if call.id.is_some() {
            calls.push(ToolCallOut { index: None, ..call });
        } else if let Some(last) = calls.last_mut() {
            match (&mut last.function, &mut last.custom) {
                (Some(function), _) => {
                    function
                        .arguments
                        .push_str(&call.function.map(|function| function.arguments).unwrap_or_default());
                }
                (None, Some(custom)) => {
                    custom.input.push_str(&call.custom.map(|custom| custom.input).unwrap_or_default());
                }
                (None, None) => {}
            }
        }
    }
    if let Some(logprobs) = chunk.logprobs {
        choice.logprobs.get_or_insert_default().content.extend(logprobs.content);
    }
    choice.finish_reason = chunk.finish_reason.or(choice.finish_reason);
}

fn append(text: &mut Option<String>, more: Option<String>) {
    if let Some(more) = more {
        text.get_or_insert_default().push_str(&more);
    }
}

#[cfg(test)]
mod tests;
