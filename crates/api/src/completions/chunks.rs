//! A continuation as chunks of the old Completions API.
//!
//! [`CompletionMachine`] is pushed the text of one continuation and gives the chunks; [`fold`] adds them up
//! again, which is the body that a request without a stream gets.

use std::collections::BTreeMap;

use gptoss_harmony::{Delta, TurnEnd};

use crate::machine::{ChoiceEnd, Machine};
use crate::wire::chat::TokenLogprob;
use crate::wire::completions::{CompletionChoice, CompletionLogprobs};

/// One continuation while it is written.
#[derive(Debug)]
pub struct CompletionMachine {
    index: u32,
    tells_logprobs: bool,
    /// Characters written so far.
    offset: usize,
}

impl CompletionMachine {
    /// Before the first text of continuation number `index`.
    pub fn new(index: u32, tells_logprobs: bool) -> CompletionMachine {
        CompletionMachine { index, tells_logprobs, offset: 0 }
    }

    /// One chunk of all the deltas; none when there is nothing in it.
    fn chunk(&mut self, deltas: Vec<Delta>, finish_reason: Option<&'static str>) -> Vec<CompletionChoice> {
        let mut chunk = CompletionChoice { index: self.index, finish_reason, ..CompletionChoice::default() };
        for delta in deltas {
            let Delta::Text { text, logprobs, .. } = delta else { continue };
            if self.tells_logprobs {
                let lists = chunk.logprobs.get_or_insert_default();
                let mut offset = self.offset;
                for logprob in logprobs.into_iter().map(TokenLogprob::from) {
                    let characters = logprob.token.chars().count();
                    push(lists, logprob, offset);
                    offset += characters;
                }
            }
            self.offset += text.chars().count();
            chunk.text.push_str(&text);
        }
        let is_empty = chunk.text.is_empty() && chunk.logprobs.is_none() && finish_reason.is_none();
        if is_empty { Vec::new() } else { vec![chunk] }
    }
}

impl Machine for CompletionMachine {
    type Event = CompletionChoice;

    fn begin(&mut self) -> Vec<CompletionChoice> {
        Vec::new()
    }

    fn push(&mut self, delta: Delta) -> Vec<CompletionChoice> {
        self.chunk(vec![delta], None)
    }

    fn push_summary(&mut self, _: String) -> Vec<CompletionChoice> {
        // A text has no reasoning that could be summarized.
        Vec::new()
    }

    fn finish(&mut self, end: ChoiceEnd) -> Vec<CompletionChoice> {
        let reason = match end.end {
            TurnEnd::Length => "length",
            TurnEnd::Filtered => "content_filter",
            _ => "stop",
        };
        self.chunk(end.rest, Some(reason))
    }

    fn last_call_id(&self) -> Option<&str> {
        None
    }

    fn warnings(&self) -> &[String] {
        &[]
    }
}

fn push(lists: &mut CompletionLogprobs, logprob: TokenLogprob, offset: usize) {
    let is_known = !logprob.logprob.is_nan();
    lists.token_logprobs.push(is_known.then_some(logprob.logprob));
    let top: BTreeMap<String, f64> =
        logprob.top_logprobs.into_iter().map(|top| (top.token, top.logprob)).collect();
    lists.top_logprobs.push(is_known.then_some(top));
    lists.tokens.push(logprob.token);
    lists.text_offset.push(offset);
}

/// Adds a chunk to a choice.
pub fn fold(choice: &mut CompletionChoice, chunk: CompletionChoice) {
    choice.index = chunk.index;
    choice.text.push_str(&chunk.text);
    if let Some(more) = chunk.logprobs {
        let lists = choice.logprobs.get_or_insert_default();
        lists.tokens.extend(more.tokens);
        lists.token_logprobs.extend(more.token_logprobs);
        lists.top_logprobs.extend(more.top_logprobs);
        lists.text_offset.extend(more.text_offset);
    }
    choice.finish_reason = chunk.finish_reason.or(choice.finish_reason);
}

#[cfg(test)]
mod tests {
    use gptoss_harmony::{Channel, Logprob};

    use super::*;
    use crate::usage::TokenUsage;

    fn text(text: &str, tokens: &[(&str, f64)]) -> Delta {
        let logprob = |&(token, logprob): &(&str, f64)| Logprob {
            bytes: token.as_bytes().to_vec(),
            logprob,
            top: Vec::new(),
        };
        let logprobs = tokens.iter().map(logprob).collect();
        Delta::Text { channel: Channel::Final, text: text.to_owned(), logprobs }
    }

    #[test]
    fn offsets_count_characters_and_the_first_token_has_no_probability() {
        let mut machine = CompletionMachine::new(2, true);
        let mut chunks = machine.push(text("é", &[("é", f64::NAN)]));
        chunks.extend(machine.push(text("bc", &[("b", -1.0), ("c", -2.0)])));
        let rest = vec![text("d", &[("d", -3.0)])];
        let usage = TokenUsage::default();
        chunks.extend(machine.finish(ChoiceEnd { end: TurnEnd::Length, usage, rest, at: 0, stop: None }));
        assert_eq!(chunks.len(), 3);
        let mut choice = CompletionChoice::default();
        chunks.into_iter().for_each(|chunk| fold(&mut choice, chunk));
        let lists = choice.logprobs.unwrap();
        assert_eq!((choice.index, choice.text.as_str(), choice.finish_reason), (2, "ébcd", Some("length")));
        assert_eq!(lists.text_offset, [0, 1, 2, 3]);
        assert_eq!(lists.token_logprobs, [None, Some(-1.0), Some(-2.0), Some(-3.0)]);
        assert!(lists.top_logprobs[0].is_none() && lists.top_logprobs[1].is_some());
    }

    #[test]
    fn a_text_of_half_a_character_is_no_chunk() {
        let mut machine = CompletionMachine::new(0, false);
        assert!(machine.push(text("", &[])).is_empty());
    }
}
