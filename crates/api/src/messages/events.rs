//! An answer as events of Anthropic's Messages.
//!
//! [`MessageMachine`] is pushed the deltas of a turn and gives the events; [`Folder`] adds them up again,
//! which is the body that a request without a stream gets. A block is closed before the next begins, and
//! blocks are counted from 0. The message begins when the prompt is being read, since only then is known how
//! much of it was cached. What the model says before a call and what it answers are blocks of their own.

use gptoss_harmony::{Channel, Delta, TurnEnd};
use serde_json::{Value, json};

use crate::ids::NewId;
use crate::machine::{ChoiceEnd, Machine};
use crate::usage::{self, TokenUsage};
use crate::wire::message_events::{
    BlockDelta, MessageEnd, MessageEvent, MessageObject, MessageUsage, OutputBlock, OutputTokenDetails,
    ServiceTier,
};

use super::signature::{Shown, Signer};

/// What a message is called.
#[derive(Debug, Clone)]
pub struct MessageHeader {
    /// `msg_` and digits.
    pub id: String,
    /// The model, as it was asked for.
    pub model: String,
}

/// A message while it is written.
#[derive(Debug)]
pub struct MessageMachine {
    heading: MessageHeader,
    shown: Option<Shown>,
    signer: Signer,
    new_id: NewId,
    has_begun: bool,
    open: Option<Open>,
    /// Blocks that were begun.
    num_blocks: usize,
    call_id: Option<String>,
    warnings: Vec<String>,
}

/// The block that is being written.
#[derive(Debug, PartialEq)]
enum Open {
    Text(Channel),
    /// What it shows so far.
    Thinking(String),
    Call,
}

impl MessageMachine {
    /// Before the first delta; `warnings` are told at the end, with those to come.
    pub fn new(
        heading: MessageHeader,
        shown: Option<Shown>,
        signer: Signer,
        new_id: NewId,
        warnings: Vec<String>,
    ) -> MessageMachine {
        MessageMachine {
            heading,
            shown,
            signer,
            new_id,
            has_begun: false,
            open: None,
            num_blocks: 0,
            call_id: None,
            warnings,
        }
    }

    fn start(&mut self, read: TokenUsage, events: &mut Vec<MessageEvent>) {
        if std::mem::replace(&mut self.has_begun, true) {
            return;
        }
        let message = MessageObject {
            id: self.heading.id.clone(),
            kind: "message",
            role: "assistant",
            model: self.heading.model.clone(),
            content: Vec::new(),
            stop_reason: None,
            stop_sequence: None,
            usage: message_usage(read),
            warnings: Vec::new(),
        };
        events.push(MessageEvent::MessageStart { message });
    }

    fn begin_block(&mut self, open: Open, content_block: OutputBlock, events: &mut Vec<MessageEvent>) {
        self.end_block(events);
        events.push(MessageEvent::ContentBlockStart { index: self.num_blocks, content_block });
        self.num_blocks += 1;
        self.open = Some(open);
    }

    fn end_block(&mut self, events: &mut Vec<MessageEvent>) {
        let Some(open) = self.open.take() else { return };
        if let Open::Thinking(thinking) = open {
            let shown = self.shown.unwrap_or(Shown::Nothing);
            let signature = self.signer.sign(shown, &thinking);
            events.push(self.delta(BlockDelta::SignatureDelta { signature }));
        }
        events.push(MessageEvent::ContentBlockStop { index: self.num_blocks - 1 });
    }

    fn delta(&self, delta: BlockDelta) -> MessageEvent {
        MessageEvent::ContentBlockDelta { index: self.num_blocks.saturating_sub(1), delta }
    }

    fn text(&mut self, channel: Channel, text: String, events: &mut Vec<MessageEvent>) {
        if self.open != Some(Open::Text(channel)) {
            self.begin_block(Open::Text(channel), OutputBlock::Text { text: String::new() }, events);
        }
        events.push(self.delta(BlockDelta::TextDelta { text }));
    }

    /// More of what a thinking block shows, which may be nothing.
    fn thinking(&mut self, thinking: String, events: &mut Vec<MessageEvent>) {
        if !matches!(self.open, Some(Open::Thinking(_))) {
            let block = OutputBlock::Thinking { thinking: String::new(), signature: String::new() };
            self.begin_block(Open::Thinking(String::new()), block, events);
        }
        if let Some(Open::Thinking(so_far)) = &mut self.open {
            so_far.push_str(&thinking);
        }
        if !thinking.is_empty() {
            events.push(self.delta(BlockDelta::ThinkingDelta { thinking }));
        }
    }

    fn call(&mut self, name: String, events: &mut Vec<MessageEvent>) {
        let id = (self.new_id)("toolu");
        self.call_id = Some(id.clone());
        self.begin_block(Open::Call, OutputBlock::ToolUse { id, name, input: json!({}) }, events);
    }
}

impl Machine for MessageMachine {
    type Event = MessageEvent;

    fn begin(&mut self) -> Vec<MessageEvent> {
        Vec::new()
    }

    fn read(&mut self, read: TokenUsage) -> Vec<MessageEvent> {
        let mut events = Vec::new();
        self.start(read, &mut events);
        events
    }

    fn push(&mut self, delta: Delta) -> Vec<MessageEvent> {
        let mut events = Vec::new();
        if let Delta::Warning(warning) = delta {
            self.warnings.push(warning);
            return events;
        }
        self.start(TokenUsage::default(), &mut events);
        match delta {
            Delta::Text { channel: Channel::Analysis, text, .. } => match self.shown {
                Some(Shown::Whole) => self.thinking(text, &mut events),
                Some(Shown::Nothing) => self.thinking(String::new(), &mut events),
                Some(Shown::Summary) | None => {}
            },
            Delta::Text { channel, text, .. } => self.text(channel, text, &mut events),
            Delta::CallStarted { name } => self.call(name, &mut events),
            Delta::CallArguments { text, .. } => {
                events.push(self.delta(BlockDelta::InputJsonDelta { partial_json: text }));
            }
            Delta::Called(_) | Delta::Warning(_) => {}
        }
        events
    }

    fn push_summary(&mut self, text: String) -> Vec<MessageEvent> {
        let mut events = Vec::new();
        if self.shown == Some(Shown::Summary) {
            self.start(TokenUsage::default(), &mut events);
            self.thinking(text, &mut events);
        }
        events
    }

    fn finish(&mut self, end: ChoiceEnd) -> Vec<MessageEvent> {
        let mut events = Vec::new();
        self.start(end.usage, &mut events);
        self.end_block(&mut events);
        self.warnings.extend(usage::notice(end.end).map(str::to_owned));
        let stop_reason = Some(match end.end {
            TurnEnd::Answer if end.stop.is_some() => "stop_sequence",
            TurnEnd::Answer | TurnEnd::NoAnswer | TurnEnd::Cancelled => "end_turn",
            TurnEnd::Call => "tool_use",
            TurnEnd::Length | TurnEnd::Deadline => "max_tokens",
            TurnEnd::Filtered => "refusal",
            TurnEnd::Context => "model_context_window_exceeded",
        });
        events.push(MessageEvent::MessageDelta {
            delta: MessageEnd { stop_reason, stop_sequence: end.stop },
            usage: message_usage(end.usage),
            warnings: self.warnings.clone(),
        });
        events.push(MessageEvent::MessageStop);
        events
    }

    fn last_call_id(&self) -> Option<&str> {
        self.call_id.as_deref()
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// In the words of Messages, where what was cached is not among the tokens of the input.
fn message_usage(tokens: TokenUsage) -> MessageUsage {
    MessageUsage {
        input_tokens: tokens.prompt - tokens.cached.min(tokens.prompt),
        cache_creation_input_tokens: 0,
        cache_read_input_tokens: tokens.cached,
        output_tokens: tokens.completion,
        output_tokens_details: OutputTokenDetails { thinking_tokens: tokens.reasoning },
        service_tier: ServiceTier::Standard,
    }
}

/// Adds events up to the message.
#[derive(Debug, Default)]
pub struct Folder {
    message: Option<MessageObject>,
    /// The arguments of the call that is being written.
    arguments: String,
}

impl Folder {
    /// One more event.
    pub fn push(&mut self, event: MessageEvent) {
        if let MessageEvent::MessageStart { message } = event {
            self.message = Some(message);
            return;
        }
        let Some(message) = &mut self.message else { return };
        match event {
            MessageEvent::ContentBlockStart { content_block, .. } => message.content.push(content_block),
            MessageEvent::ContentBlockDelta { delta, .. } => match (message.content.last_mut(), delta) {
                (Some(OutputBlock::Text { text }), BlockDelta::TextDelta { text: more }) => {
                    text.push_str(&more)
                }
                (
                    Some(OutputBlock::Thinking { thinking, .. }),
                    BlockDelta::ThinkingDelta { thinking: more },
                ) => {
                    thinking.push_str(&more);
                }
                (
                    Some(OutputBlock::Thinking { signature, .. }),
                    BlockDelta::SignatureDelta { signature: whole },
                ) => {
                    *signature = whole;
                }
                (Some(OutputBlock::ToolUse { .. }), BlockDelta::InputJsonDelta { partial_json }) => {
                    self.arguments.push_str(&partial_json);
                }
                _ => {}
            },
            MessageEvent::ContentBlockStop { .. } => {
                let arguments = std::mem::take(&mut self.arguments);
                if let Some(OutputBlock::ToolUse { input, .. }) = message.content.last_mut() {
                    // A call that a limit cut short has no arguments; the reason of the end says so.
                    *input = serde_json::from_str(&arguments)
                        .ok()
                        .filter(Value::is_object)
                        .unwrap_or_else(|| json!({}));
                }
            }
            MessageEvent::MessageDelta { delta, usage, warnings } => {
                message.stop_reason = delta.stop_reason;
                message.stop_sequence = delta.stop_sequence;
                message.usage = usage;
                message.warnings = warnings;
            }
            MessageEvent::MessageStart { .. } | MessageEvent::MessageStop => {}
        }
    }

    /// What they add up to; None before the message began.
    pub fn finish(self) -> Option<MessageObject> {
        self.message
    }
}

#[cfg(test)]
mod tests;
