//! An answer as chunks of Chat Completions.
//!
//! [`ChatChoice`] is pushed the deltas of one choice and gives the chunks; [`fold`] adds a choice's chunks up
//! again, which is the body that a request without a stream gets. There is no other way to a body, so what is
//! streamed and what is not are equal by construction. What the model says before a call and what it answers
//! are both `content`; a blank line stands between them. A function that was offered in the older form is
//! called in it.

use gptoss_harmony::{Channel, Delta, Logprob, TurnEnd};

use crate::generation::tools::Kind;
use crate::generation::visibility::Visibility;
use crate::machine::{ChoiceEnd, EventOptions, Machine};
use crate::usage;
use crate::wire::chat::{
    ChatChunk, ChatCompletion, ChatLogprobs, ChatUsage, Choice, ChunkChoice, ChunkDelta, CustomOut,
    FunctionOut, MessageOut, ReasoningDetail, TokenLogprob, ToolCallOut,
};
use crate::wire::moderations::Moderated;

/// What stands in every chunk and in the body.
#[derive(Debug, Clone)]
pub struct ChunkHeader {
    /// Its id.
    pub id: String,
    /// Units: seconds since 1970.
    pub created: u64,
    /// The model that answers.
    pub model: String,
    /// Build, model and numeric mode.
    pub fingerprint: String,
}

impl ChunkHeader {
    /// A chunk of a stream.
    pub fn chunk(
        &self,
        choices: Vec<ChunkChoice>,
        usage: Option<Option<ChatUsage>>,
        (warnings, moderation): (Vec<String>, Option<Moderated>),
    ) -> ChatChunk {
        ChatChunk {
            id: self.id.clone(),
            object: "chat.completion.chunk",
            created: self.created,
            model: self.model.clone(),
            choices,
            usage,
            system_fingerprint: self.fingerprint.clone(),
            service_tier: "default",
            warnings,
            moderation: moderation.map(Into::into),
        }
    }

    /// The body of a request without a stream.
    pub fn completion(
        self,
        choices: Vec<Choice>,
        usage: ChatUsage,
        (warnings, moderation): (Vec<String>, Option<Moderated>),
    ) -> ChatCompletion {
        ChatCompletion {
            id: self.id,
            object: "chat.completion",
            created: self.created,
            model: self.model,
            choices,
            usage: Some(usage),
            system_fingerprint: self.fingerprint,
            service_tier: "default",
            warnings,
            moderation: moderation.map(Into::into),
        }
    }
}

/// Between two texts of one message that were said separately.
const BETWEEN: &str = "\n\n";

/// One choice while it is written.
#[derive(Debug)]
pub struct ChatChoice {
    index: u32,
    options: EventOptions,
    /// The channel that `content` was last written on.
    content_channel: Option<Channel>,
    call_ids: Vec<String>,
    /// How the call that was begun last is told.
    call_form: CallForm,
    warnings: Vec<String>,
    reasoning_field: ReasoningField,
}

/// How a call is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum CallForm {
    #[default]
    Function,
    Custom,
    /// As `function_call`, which has no id.
    Old,
}

impl CallForm {
    fn of(kind: Option<&Kind>) -> CallForm {
        match kind {
            Some(Kind::Custom | Kind::ApplyPatch) => CallForm::Custom,
            Some(Kind::OldFunction) => CallForm::Old,
            Some(Kind::Function | Kind::Namespaced { .. } | Kind::Shell | Kind::LocalShell) | None => {
                CallForm::Function
            }
        }
    }
}

/// What the reasoning is called in messages and chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReasoningField {
    /// It is sent twice, for clients of either kind.
    #[default]
    Both,
    /// `reasoning`, as OpenAI's guide for the models has it.
    Reasoning,
    /// `reasoning_content`, as older clients read it.
    ReasoningContent,
}

impl ChatChoice {
    /// Before the first delta of choice number `index`.
    pub fn new(index: u32, options: EventOptions) -> ChatChoice {
        ChatChoice {
            index,
            options,
            content_channel: None,
            call_ids: Vec::new(),
            call_form: CallForm::default(),
            warnings: Vec::new(),
            reasoning_field: ReasoningField::default(),
        }
    }

    /// With the reasoning under that name.
    pub fn with_reasoning_field(self, reasoning_field: ReasoningField) -> ChatChoice {
        ChatChoice { reasoning_field, ..self }
    }

    fn content(&mut self, channel: Channel, mut text: String, logprobs: Vec<Logprob>) -> ChunkChoice {
        if self.content_channel.is_some_and(|before| before != channel) {
            text.insert_str(0, BETWEEN);
        }
        self.content_channel = Some(channel);
        let mut chunk = self.chunk(ChunkDelta { content: Some(text), ..ChunkDelta::default() });
        if self.options.tells_logprobs {
            let content = logprobs.into_iter().map(TokenLogprob::from).collect();
            chunk.logprobs = Some(ChatLogprobs { content, refusal: None });
        }
        chunk
    }

    fn call(&mut self, harmony_name: String) -> ChunkChoice {
        let id = (self.options.new_id)("call");
        self.call_ids.push(id.clone());
        self.call_form = CallForm::of(self.options.tools.find(&harmony_name).map(|tool| &tool.kind));
        let kind = if self.call_form == CallForm::Custom { "custom" } else { "function" };
        let begun = ToolCallOut { id: Some(id), kind: Some(kind), ..ToolCallOut::default() };
        self.more_of_call(begun, Some(harmony_name), String::new())
    }

    /// `call` with a name or more of its arguments in it.
    fn more_of_call(&self, call: ToolCallOut, name: Option<String>, text: String) -> ChunkChoice {
        let index = Some(self.call_ids.len().saturating_sub(1) as u32);
        let call = match self.call_form {
            CallForm::Old => {
                let function_call = Some(FunctionOut { name, arguments: text });
                return self.chunk(ChunkDelta { function_call, ..ChunkDelta::default() });
            }
            CallForm::Custom => ToolCallOut { index, custom: Some(CustomOut { name, input: text }), ..call },
            CallForm::Function => {
                ToolCallOut { index, function: Some(FunctionOut { name, arguments: text }), ..call }
            }
        };
        self.chunk(ChunkDelta { tool_calls: Some(vec![call]), ..ChunkDelta::default() })
    }

    fn reasoning(&self, text: String) -> ChunkDelta {
        let (reasoning, reasoning_content) = match self.reasoning_field {
            ReasoningField::Both => (Some(text.clone()), Some(text)),
            ReasoningField::Reasoning => (Some(text), None),
            ReasoningField::ReasoningContent => (None, Some(text)),
        };
        ChunkDelta { reasoning, reasoning_content, ..ChunkDelta::default() }
    }

    fn chunk(&self, delta: ChunkDelta) -> ChunkChoice {
        ChunkChoice { index: self.index, delta, logprobs: None, finish_reason: None }
    }
}

impl Machine for ChatChoice {
    type Event = ChunkChoice;

    fn begin(&mut self) -> Vec<ChunkChoice> {
        vec![self.chunk(ChunkDelta { role: Some("assistant"), ..ChunkDelta::default() })]
    }

    fn push(&mut self, delta: Delta) -> Vec<ChunkChoice> {
        let chunk = match delta {
            Delta::Text { channel: Channel::Analysis, text, .. } => {
                (self.options.visibility == Visibility::Raw).then(|| self.chunk(self.reasoning(text)))
            }
            Delta::Text { channel, text, logprobs } => Some(self.content(channel, text, logprobs)),
            Delta::CallStarted { name } => Some(self.call(name)),
            Delta::CallArguments { text, .. } => Some(self.more_of_call(ToolCallOut::default(), None, text)),
            Delta::Called(_) => None,
            Delta::Warning(warning) => {
                self.warnings.push(warning);
                None
            }
        };
        chunk.into_iter().collect()
    }

    fn push_summary(&mut self, text: String) -> Vec<ChunkChoice> {
        let details = vec![ReasoningDetail { kind: "reasoning.summary", summary: text.clone() }];
        let shown = match self.options.visibility {
            Visibility::Summary => self.reasoning(text),
            Visibility::Raw | Visibility::Hidden => ChunkDelta::default(),
        };
        vec![self.chunk(ChunkDelta { reasoning_details: Some(details), ..shown })]
    }

    fn finish(&mut self, end: ChoiceEnd) -> Vec<ChunkChoice> {
        let mut chunks: Vec<ChunkChoice> = end.rest.into_iter().flat_map(|delta| self.push(delta)).collect();
        let says_nothing = self.content_channel.is_none() && self.call_ids.is_empty();
        let content = says_nothing.then(String::new);
        self.warnings.extend(usage::notice(end.end).map(str::to_owned));
        let mut chunk = self.chunk(ChunkDelta { content, ..ChunkDelta::default() });
        chunk.finish_reason = Some(match end.end {
            TurnEnd::Answer | TurnEnd::NoAnswer | TurnEnd::Cancelled => "stop",
            TurnEnd::Call if self.call_form == CallForm::Old => "function_call",
            TurnEnd::Call => "tool_calls",
            TurnEnd::Length | TurnEnd::Context | TurnEnd::Deadline => "length",
            TurnEnd::Filtered => "content_filter",
        });
        chunks.push(chunk);
        chunks
    }

    fn last_call_id(&self) -> Option<&str> {
        // A client that is not told an id cannot come back with it.
        self.call_ids.last().filter(|_| self.call_form != CallForm::Old).map(String::as_str)
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// Adds the chunks of a choice up.
pub fn fold(choice: &mut Choice, chunk: ChunkChoice) {
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
    if let Some(more) = chunk.delta.function_call {
        let call = message.function_call.get_or_insert_default();
        call.name = more.name.or(call.name.take());
        call.arguments.push_str(&more.arguments);
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
