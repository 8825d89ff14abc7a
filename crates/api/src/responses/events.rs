//! An answer as events of the Responses API.
//!
//! [`ResponseMachine`] holds the response object, is pushed the deltas of a turn, and gives numbered events.
//! Each event changes the object in the same moment, so the body of a request without a stream, which is the
//! object at the end, is what its events add up to. An item is open from its `added` to its `done`; a delta
//! of another kind closes it and opens the next, and the end closes whatever is open. A response may be
//! several turns, with a tool of the server's run between two of them (`tool_calls`).

use gptoss_harmony::{Channel, Delta, TurnEnd};

use self::citations::Piece;
use self::tool_calls::ToolCalls;
use super::parse::COMPACTION_PREFIX;
use crate::errors::ApiError;
use crate::generation::tools::Kind;
use crate::generation::visibility::Visibility;
use crate::machine::{ChoiceEnd, EventOptions, Machine};
use crate::usage::TokenUsage;
use crate::wire::chat::TokenLogprob;
use crate::wire::moderations::Moderated;
use crate::wire::response_events::{Event, Numbered, Part};
use crate::wire::response_items::{
    CompactionItem, CustomToolCallItem, FunctionCallItem, Item, MessageItem, OutputText, ReasoningItem,
    ReasoningPart, SummaryPart,
};
use crate::wire::responses::{IncompleteDetails, ResponseError, ResponseObject};
use crate::wire::tool_items::{Annotation, ContainerFileCitation, UrlCitation};

mod citations;
mod tool_calls;

pub use citations::CitedPage;
pub use tool_calls::{MadeFile, Next, ToolEvents, ToolOutcome};

/// A response while it is written.
#[derive(Debug)]
pub struct ResponseMachine {
    response: ResponseObject,
    options: EventOptions,
    next_number: u64,
    /// What the open item is, which is the last of the output.
    open: Open,
    /// Of the call that was begun last.
    call_id: Option<String>,
    tools: ToolCalls,
    events: Vec<Numbered>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Nothing,
    Text(Channel),
    Call,
    /// A call that is written, and is being run.
    Running,
    /// A call that has no item yet.
    Unseen,
}

impl Machine for ResponseMachine {
    type Event = Numbered;

    fn begin(&mut self) -> Vec<Numbered> {
        let is_queued = self.response.background;
        self.response.status = if is_queued { "queued" } else { "in_progress" }.to_owned();
        let response = self.snapshot();
        self.emit(Event::Created { response });
        if is_queued {
            let response = self.snapshot();
            self.emit(Event::Queued { response });
            self.response.status = "in_progress".to_owned();
        }
        let response = self.snapshot();
        self.emit(Event::InProgress { response });
        self.take()
    }

    fn push(&mut self, delta: Delta) -> Vec<Numbered> {
        match delta {
            Delta::Text { channel, text, logprobs } => {
                if self.open != Open::Text(channel) {
                    self.close("completed");
                    self.open_text(channel);
                }
                match channel {
                    Channel::Analysis => self.reasoning_text(text),
                    Channel::Commentary | Channel::Final => {
                        let logprobs = logprobs.into_iter().filter(|_| self.options.tells_logprobs);
                        let logprobs = logprobs.map(TokenLogprob::from).collect();
                        self.said(text, logprobs);
                    }
                }
            }
            Delta::CallStarted { name } => {
                self.close("completed");
                if !self.open_builtin(&name) {
                    self.open_call(name);
                }
            }
            Delta::CallArguments { text, .. } => self.arguments(text),
            Delta::Called(call) => self.called(&call),
            Delta::Warning(warning) => self.response.warnings.push(warning),
        }
        self.take()
    }

    fn push_summary(&mut self, text: String) -> Vec<Numbered> {
        self.summary_text(text);
        self.take()
    }

    fn finish(&mut self, end: ChoiceEnd) -> Vec<Numbered> {
        let ChoiceEnd { end, usage, rest, at, .. } = end;
        let mut events: Vec<Numbered> = rest.into_iter().flat_map(|delta| self.push(delta)).collect();
        let reason = match end {
            TurnEnd::Length => Some("max_output_tokens"),
            TurnEnd::Context => Some("context_length_exceeded"),
            TurnEnd::Deadline => Some("deadline_exceeded"),
            TurnEnd::Filtered => Some("content_filter"),
            TurnEnd::Answer | TurnEnd::Call | TurnEnd::Cancelled | TurnEnd::NoAnswer => None,
        };
        let is_cut = reason.is_some() || end == TurnEnd::Cancelled;
        self.close(if is_cut { "incomplete" } else { "completed" });
        self.response.usage = Some(usage.response_usage());
        match end {
            TurnEnd::Length | TurnEnd::Context | TurnEnd::Deadline | TurnEnd::Filtered => {
                self.response.status = "incomplete".to_owned();
                self.response.incomplete_details =
                    reason.map(|reason| IncompleteDetails { reason: reason.to_owned() });
                let response = self.snapshot();
                self.emit(Event::Incomplete { response });
            }
            TurnEnd::Cancelled => {
                self.response.status = "cancelled".to_owned();
                let response = self.snapshot();
                self.emit(Event::Incomplete { response });
            }
            TurnEnd::Answer | TurnEnd::Call | TurnEnd::NoAnswer => {
                if !self.response.output.iter().any(Item::is_said) {
                    // Whoever asked gets a message, even if the model had nothing to say.
                    self.open_text(Channel::Final);
                    self.close("completed");
                }
                self.complete(at);
            }
        }
        events.append(&mut self.events);
        events
    }

    fn last_call_id(&self) -> Option<&str> {
        self.call_id.as_deref()
    }

    fn warnings(&self) -> &[String] {
        &self.response.warnings
    }
}

impl ResponseMachine {
    /// Before the first event; `response` has everything that is known of it.
    pub fn new(response: ResponseObject, options: EventOptions) -> ResponseMachine {
        ResponseMachine {
            response,
            options,
            next_number: 0,
            open: Open::Nothing,
            call_id: None,
            tools: ToolCalls::default(),
            events: Vec::new(),
        }
    }

    /// The response as it is.
    pub fn response(&self) -> &ResponseObject {
        &self.response
    }

    /// The last events of a turn that failed.
    pub fn fail(&mut self, error: &ApiError) -> Vec<Numbered> {
        self.close("incomplete");
        self.response.status = "failed".to_owned();
        let row = error.row();
        let code = if row.is_server_error() { "server_error" } else { row.code.unwrap_or(row.kind) };
        self.response.error = Some(ResponseError { code: code.to_owned(), message: error.to_string() });
        let response = self.snapshot();
        self.emit(Event::Failed { response });
        self.take()
    }

    /// Takes in what was found in the input and the output, before the end is told.
    pub fn moderated(&mut self, moderated: Option<Moderated>) {
        self.response.moderation = moderated;
    }

    /// Says in the response, and in its `last` event, that it cannot be asked for later.
    pub fn was_not_stored(&mut self, last: &mut [Numbered], error: &ApiError) {
        self.response.store = false;
        self.response.warnings.push(format!("the response was not stored: {error}"));
        if let Some(Numbered { event, .. }) = last.last_mut()
            && let Event::Completed { response } | Event::Incomplete { response } | Event::Failed { response } =
                event
        {
            *response = self.snapshot();
        }
    }

    /// The events of a conversation that was shortened before the model read it.
    pub fn compacted(&mut self, summary: &str) -> Vec<Numbered> {
        let encrypted_content = format!("{COMPACTION_PREFIX}{summary}");
        let item = Item::Compaction(CompactionItem { id: (self.options.new_id)("cmp"), encrypted_content });
        self.add(item);
        self.done();
        self.take()
    }

    /// The last events of a response for which nothing was generated.
    pub fn finish_without_output(&mut self, at: u64) -> Vec<Numbered> {
        self.response.usage = Some(TokenUsage::default().response_usage());
        self.complete(at);
        self.take()
    }

    fn complete(&mut self, at: u64) {
        self.response.status = "completed".to_owned();
        self.response.completed_at = Some(at);
        let response = self.snapshot();
        self.emit(Event::Completed { response });
    }

    fn take(&mut self) -> Vec<Numbered> {
        std::mem::take(&mut self.events)
    }

    fn emit(&mut self, event: Event) {
        self.events.push(Numbered { event, sequence_number: self.next_number });
        self.next_number += 1;
    }

    fn snapshot(&self) -> Box<ResponseObject> {
        Box::new(self.response.clone())
    }

    /// Index and id of the open item.
    fn place(&self) -> (usize, String) {
        let index = self.response.output.len().saturating_sub(1);
        (index, self.response.output.last().map(|item| item.id().to_owned()).unwrap_or_default())
    }

    fn add(&mut self, item: Item) {
        let event = Event::ItemAdded { output_index: self.response.output.len(), item: item.clone() };
        self.emit(event);
        self.response.output.push(item);
    }

    fn open_text(&mut self, channel: Channel) {
        self.open = Open::Text(channel);
        let status = "in_progress".to_owned();
        match channel {
            Channel::Analysis => {
                let id = (self.options.new_id)("rs");
                let item = ReasoningItem {
                    id,
                    summary: Vec::new(),
                    content: Vec::new(),
                    encrypted_content: None,
                    status,
                };
                self.add(Item::Reasoning(item));
                if self.options.visibility == Visibility::Raw {
                    self.part_added(Part::Reasoning(ReasoningPart::new("")));
                    if let Some(Item::Reasoning(item)) = self.response.output.last_mut() {
                        item.content.push(ReasoningPart::new(""));
                    }
                }
            }
            Channel::Commentary | Channel::Final => {
                let id = (self.options.new_id)("msg");
                let phase =
                    if channel == Channel::Commentary { "commentary" } else { "final_answer" }.to_owned();
                let item =
                    MessageItem { id, role: "assistant".to_owned(), status, content: Vec::new(), phase };
                self.add(Item::Message(item));
                self.part_added(Part::Text(OutputText::empty()));
                if let Some(Item::Message(item)) = self.response.output.last_mut() {
                    item.content.push(OutputText::empty());
                }
            }
        }
    }

    fn part_added(&mut self, part: Part) {
        let (output_index, item_id) = self.place();
        self.emit(Event::PartAdded { item_id, output_index, content_index: 0, part });
    }

    fn reasoning_text(&mut self, delta: String) {
        if self.options.visibility != Visibility::Raw {
            return;
        }
        if let Some(Item::Reasoning(item)) = self.response.output.last_mut()
            && let Some(part) = item.content.last_mut()
        {
            part.text.push_str(&delta);
        }
        let (output_index, item_id) = self.place();
        self.emit(Event::ReasoningDelta { item_id, output_index, content_index: 0, delta });
    }

    /// More of what is said, with links in the place of citations.
    fn said(&mut self, delta: String, logprobs: Vec<TokenLogprob>) {
        if !self.options.tools.hosted.has_browser {
            return self.output_text(delta, logprobs);
        }
        self.tools.logprobs.extend(logprobs);
        for piece in self.tools.citations.push(&delta) {
            let logprobs = std::mem::take(&mut self.tools.logprobs);
            match piece {
                Piece::Plain(text) => self.output_text(text, logprobs),
                Piece::Link { text, url, title } => {
                    let length = text.chars().count();
                    self.output_text(text, logprobs);
                    self.annotate(length, url, title);
                }
            }
        }
    }

    /// Marks the last `length` characters as a citation.
    fn annotate(&mut self, length: usize, url: String, title: String) {
        let end_index = self.said_text().chars().count();
        self.cite(Annotation::Url(UrlCitation {
            kind: "url_citation".to_owned(),
            start_index: end_index - length,
            end_index,
            url,
            title,
        }));
    }

    /// Cites the files that calls have made, each where the answer names it.
    fn cite_files(&mut self) {
        let files = std::mem::take(&mut self.tools.files);
        for MadeFile { id, path, .. } in files {
            let (start_index, end_index) = named(self.said_text(), &format!("sandbox:/mnt/data/{path}"));
            self.cite(Annotation::ContainerFile(ContainerFileCitation {
                kind: "container_file_citation".to_owned(),
                container_id: self.tools.events.container_id.clone(),
                file_id: id,
                filename: path.rsplit('/').next().unwrap_or(&path).to_owned(),
                start_index,
                end_index,
            }));
        }
    }

    /// What the open message says so far.
    fn said_text(&self) -> &str {
        match self.response.output.last() {
            Some(Item::Message(item)) => item.content.last().map_or("", |part| part.text.as_str()),
            _ => "",
        }
    }

    fn cite(&mut self, annotation: Annotation) {
        let (output_index, item_id) = self.place();
        let Some(Item::Message(item)) = self.response.output.last_mut() else { return };
        let Some(part) = item.content.last_mut() else { return };
        let annotation_index = part.annotations.len();
        part.annotations.push(annotation.clone());
        self.emit(Event::AnnotationAdded {
            item_id,
            output_index,
            content_index: 0,
            annotation_index,
            annotation,
        });
    }

    fn output_text(&mut self, delta: String, logprobs: Vec<TokenLogprob>) {
        if let Some(Item::Message(item)) = self.response.output.last_mut()
            && let Some(part) = item.content.last_mut()
        {
            part.text.push_str(&delta);
            part.logprobs.extend(logprobs.iter().cloned());
        }
        let (output_index, item_id) = self.place();
        self.emit(Event::TextDelta { item_id, output_index, content_index: 0, delta, logprobs });
    }

    fn summary_text(&mut self, delta: String) {
        let (output_index, item_id) = self.place();
        let Some(Item::Reasoning(item)) = self.response.output.last_mut() else { return };
        let is_first = item.summary.is_empty();
        if is_first {
            item.summary.push(SummaryPart::new(""));
        }
        if let Some(part) = item.summary.last_mut() {
            part.text.push_str(&delta);
        }
        if is_first {
            let (item_id, part) = (item_id.clone(), SummaryPart::new(""));
            self.emit(Event::SummaryPartAdded { item_id, output_index, summary_index: 0, part });
        }
        self.emit(Event::SummaryDelta { item_id, output_index, summary_index: 0, delta });
    }

    fn open_call(&mut self, harmony_name: String) {
        self.open = Open::Call;
        let call_id = (self.options.new_id)("call");
        self.call_id = Some(call_id.clone());
        let status = "in_progress".to_owned();
        let kind = self.options.tools.find(&harmony_name).map(|tool| tool.kind.clone());
        let item = match kind {
            Some(Kind::Custom) => Item::CustomToolCall(CustomToolCallItem {
                id: (self.options.new_id)("ctc"),
                call_id,
                name: harmony_name,
                input: String::new(),
                status,
            }),
            kind => {
                let (namespace, name) = match kind {
                    Some(Kind::Namespaced { namespace, name }) => (Some(namespace), name),
                    _ => (None, harmony_name),
                };
                let id = (self.options.new_id)("fc");
                Item::FunctionCall(FunctionCallItem {
                    id,
                    call_id,
                    name,
                    namespace,
                    arguments: String::new(),
                    status,
                })
            }
        };
        self.add(item);
    }

    fn arguments(&mut self, delta: String) {
        if self.open != Open::Call {
            return;
        }
        let (output_index, item_id) = self.place();
        let event = match self.response.output.last_mut() {
            Some(Item::FunctionCall(item)) => {
                item.arguments.push_str(&delta);
                Event::ArgumentsDelta { item_id, output_index, delta }
            }
            Some(Item::CustomToolCall(item)) => {
                item.input.push_str(&delta);
                Event::InputDelta { item_id, output_index, delta }
            }
            Some(Item::CodeInterpreterCall(item)) => {
                item.code.push_str(&delta);
                Event::CodeDelta { item_id, output_index, delta }
            }
            Some(Item::McpCall(item)) => {
                item.arguments.push_str(&delta);
                Event::McpArgumentsDelta { item_id, output_index, delta }
            }
            _ => return,
        };
        self.emit(event);
    }

    /// Closes the open item, if there is one.
    fn close(&mut self, status: &'static str) {
        let open = std::mem::replace(&mut self.open, Open::Nothing);
        match open {
            Open::Nothing | Open::Unseen => return,
            Open::Text(Channel::Analysis) | Open::Call | Open::Running => {}
            Open::Text(Channel::Commentary | Channel::Final) => {
                if let Some(held) = self.tools.citations.finish() {
                    let logprobs = std::mem::take(&mut self.tools.logprobs);
                    self.output_text(held, logprobs);
                }
                if open == Open::Text(Channel::Final) {
                    self.cite_files();
                }
            }
        }
        let (output_index, item_id) = self.place();
        let Some(last) = self.response.output.last_mut() else { return };
        last.set_status(status);
        let item = last.clone();
        match item.clone() {
            Item::Reasoning(item) => self.close_reasoning(item, output_index, &item_id),
            Item::Message(item) => {
                if let Some(part) = item.content.into_iter().next() {
                    let (text, logprobs) = (part.text.clone(), part.logprobs.clone());
                    let item_id = item_id.clone();
                    let done_id = item_id.clone();
                    self.emit(Event::TextDone { item_id, output_index, content_index: 0, text, logprobs });
                    let part = Part::Text(part);
                    self.emit(Event::PartDone { item_id: done_id, output_index, content_index: 0, part });
                }
            }
            Item::FunctionCall(item) => {
                let (name, arguments) = (item.name, item.arguments);
                self.emit(Event::ArgumentsDone { item_id, output_index, name, arguments });
            }
            Item::CustomToolCall(item) => {
                self.emit(Event::InputDone { item_id, output_index, input: item.input });
            }
            Item::CodeInterpreterCall(item) if open == Open::Call => {
                self.emit(Event::CodeDone { item_id, output_index, code: item.code });
            }
            Item::McpCall(item) if open == Open::Call => {
                self.emit(Event::McpArgumentsDone { item_id, output_index, arguments: item.arguments });
            }
            _ => {}
        }
        self.emit(Event::ItemDone { output_index, item });
    }

    fn close_reasoning(&mut self, item: ReasoningItem, output_index: usize, id: &str) {
        let item_id = || id.to_owned();
        if let Some(part) = item.content.into_iter().next() {
            let text = part.text.clone();
            self.emit(Event::ReasoningDone { item_id: item_id(), output_index, content_index: 0, text });
            let part = Part::Reasoning(part);
            self.emit(Event::PartDone { item_id: item_id(), output_index, content_index: 0, part });
        }
        if let Some(part) = item.summary.into_iter().next() {
            let text = part.text.clone();
            self.emit(Event::SummaryDone { item_id: item_id(), output_index, summary_index: 0, text });
            self.emit(Event::SummaryPartDone { item_id: item_id(), output_index, summary_index: 0, part });
        }
    }
}

/// Where a text has a name, in characters; 0 and 0 where it has none.
fn named(text: &str, name: &str) -> (usize, usize) {
    text.find(name).map_or((0, 0), |at| {
        let begin = text[..at].chars().count();
        (begin, begin + name.chars().count())
    })
}

#[cfg(test)]
mod tests;
