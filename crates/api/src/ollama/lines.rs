//! An answer as lines of Ollama's.
//!
//! [`LineWriter`] is pushed the chunks of a chat. Calls are told whole, in a line of their own at the end,
//! because here the arguments are an object.

use std::time::Duration;

use serde_json::Value;

use crate::chat::chunks::fold;
use crate::usage::TokenUsage;
use crate::wire::chat::{Choice, ChunkChoice, ChunkDelta, ToolCallOut};
use crate::wire::completions::CompletionChoice;
use crate::wire::ollama::{OllamaCall, OllamaFunction, OllamaLine, OllamaMessage};

/// Which endpoint answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `/api/chat`: a message.
    Chat,
    /// `/api/generate`: a text.
    Generate,
}

/// What is told when an answer has ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AnswerEnd {
    /// What it took.
    pub usage: TokenUsage,
    /// From the request to its end.
    pub total: Duration,
    /// Until its model was in memory.
    pub loading: Duration,
    /// What was changed, repaired or not kept.
    pub warnings: Vec<String>,
}

/// A piece of a raw text as a piece of an answer.
pub fn chunk_of(choice: CompletionChoice) -> ChunkChoice {
    let delta = ChunkDelta { content: Some(choice.text), ..ChunkDelta::default() };
    ChunkChoice { index: choice.index, delta, logprobs: None, finish_reason: choice.finish_reason }
}

/// Writes an answer.
#[derive(Debug)]
pub struct LineWriter {
    model: String,
    form: Form,
    shows_thinking: bool,
    /// The chunks so far, added up.
    choice: Choice,
}

impl LineWriter {
    /// Before the first chunk.
    pub fn new(model: String, form: Form, shows_thinking: bool) -> LineWriter {
        LineWriter { model, form, shows_thinking, choice: Choice::default() }
    }

    /// The line of a chunk; none when nothing of it is said. `now` is in seconds since 1970.
    pub fn push(&mut self, chunk: ChunkChoice, now: u64) -> Option<OllamaLine> {
        let ChunkDelta { content, reasoning, reasoning_content, .. } = chunk.delta.clone();
        let thinking = reasoning.or(reasoning_content);
        let logprobs = chunk.logprobs.as_ref().map(|logprobs| logprobs.content.clone());
        fold(&mut self.choice, chunk);
        if content.is_none() && thinking.is_none() && logprobs.is_none() {
            return None;
        }
        let thinking = thinking.filter(|_| self.shows_thinking);
        Some(OllamaLine { logprobs, ..self.line(content.unwrap_or_default(), thinking, None, now) })
    }

    /// The last lines of a stream.
    pub fn finish(&mut self, end: AnswerEnd, now: u64) -> Vec<OllamaLine> {
        let calls = calls(&self.choice).map(|calls| self.line(String::new(), None, Some(calls), now));
        let mut last = last(&self.model, self.reason(), Some(end), now);
        match self.form {
            Form::Chat => {
                let role = "assistant".to_owned();
                last.message = Some(OllamaMessage { role, ..OllamaMessage::default() });
            }
            Form::Generate => last.response = Some(String::new()),
        }
        calls.into_iter().chain([last]).collect()
    }

    /// The body of a request without a stream.
    pub fn whole(self, end: AnswerEnd, now: u64) -> OllamaLine {
        let message = &self.choice.message;
        let thinking = message.reasoning.clone().or_else(|| message.reasoning_content.clone());
        let thinking = thinking.filter(|_| self.shows_thinking);
        let said = self.line(message.content.clone().unwrap_or_default(), thinking, calls(&self.choice), now);
        let logprobs = self.choice.logprobs.as_ref().map(|logprobs| logprobs.content.clone());
        let last = last(&self.model, self.reason(), Some(end), now);
        OllamaLine {
            message: said.message,
            response: said.response,
            thinking: said.thinking,
            logprobs,
            ..last
        }
    }

    fn reason(&self) -> &'static str {
        match self.choice.finish_reason {
            Some(reason @ ("length" | "content_filter")) => reason,
            _ => "stop",
        }
    }

    fn line(
        &self,
        content: String,
        thinking: Option<String>,
        calls: Option<Vec<OllamaCall>>,
        now: u64,
    ) -> OllamaLine {
        let mut line = last(&self.model, "", None, now);
        line.done = false;
        line.done_reason = None;
        match self.form {
            Form::Chat => {
                let role = "assistant".to_owned();
                let message =
                    OllamaMessage { role, content, thinking, tool_calls: calls, ..OllamaMessage::default() };
                line.message = Some(message);
            }
            Form::Generate => {
                line.response = Some(content);
                line.thinking = thinking;
            }
        }
        line
    }
}

/// A line that says that the answer is over and why, and nothing else.
pub fn last(model: &str, reason: &'static str, end: Option<AnswerEnd>, now: u64) -> OllamaLine {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let of = |read: fn(&AnswerEnd) -> Duration| end.as_ref().map(|end| nanos(read(end)));
    OllamaLine {
        model: model.to_owned(),
        created_at: timestamp(now),
        message: None,
        response: None,
        thinking: None,
        done: true,
        done_reason: Some(reason),
        prompt_eval_count: end.as_ref().map(|end| end.usage.prompt),
        eval_count: end.as_ref().map(|end| end.usage.completion),
        total_duration: of(|end| end.total),
        load_duration: of(|end| end.loading + end.usage.times.queued),
        prompt_eval_duration: of(|end| end.usage.times.prefill),
        eval_duration: of(|end| end.usage.times.decode),
        logprobs: None,
        warnings: end.map(|end| end.warnings).unwrap_or_default(),
    }
}

fn calls(choice: &Choice) -> Option<Vec<OllamaCall>> {
    let call = |call: &ToolCallOut| {
        let function = call.function.as_ref()?;
        // Arguments that are not JSON are handed on as the text they are.
        let arguments = serde_json::from_str(&function.arguments)
            .unwrap_or_else(|_| Value::String(function.arguments.clone()));
        let function = OllamaFunction { name: function.name.clone().unwrap_or_default(), arguments };
        Some(OllamaCall { id: call.id.clone(), function })
    };
    Some(choice.message.tool_calls.as_ref()?.iter().filter_map(call).collect())
}

/// Seconds since 1970 as Ollama writes times.
pub fn timestamp(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_dates() {
        let check = |seconds, expect: &str| assert_eq!(timestamp(seconds), expect);
        check(0, "1970-01-01T00:00:00Z");
        check(951_782_400, "2000-02-29T00:00:00Z");
        check(1_795_392_000 + 3661, "2026-11-23T01:01:01Z");
    }
}
