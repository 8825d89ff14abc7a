//! One continuation of a text on its way, as steps like those of a turn.
//!
//! [`TextStream`] gives one delta a token, in whole characters and up to a stop string. Tokens of the prompt
//! that stand at the head of the text come first.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use gptoss_api::ApiError;
use gptoss_harmony::{Token as VocabToken, Vocab};
use gptoss_turn::{
    Channel, Delta, FinishReason, Logprob, StopFilter, Text, TextEvent, Token, TurnEnd, logprob_of,
};

use crate::metered::Metered;
use crate::model_host::Lease;
use crate::queue_share::Waiting;
use crate::stream_item::{ChoiceOutcome, StreamItem};
use crate::turn_stream::{failed, usage_of};
use crate::watch::Watch;

/// How a continuation is told.
#[derive(Debug, Clone)]
pub(crate) struct TextView {
    /// Tokens that stand at the head of the text before any comes from the engine.
    pub(crate) head: Vec<u32>,
    /// Strings before which it ends.
    pub(crate) stops: Vec<String>,
    /// Prompt tokens that are forced and not read.
    pub(crate) num_forced: usize,
    /// Whether each token comes with its log-probability.
    pub(crate) tells_logprobs: bool,
    /// Whether what is written is shown.
    pub(crate) shows_text: bool,
}

/// One continuation on its way.
pub(crate) struct TextStream {
    text: Metered<Text>,
    /// What holds it back until it was judged; None lets it go.
    pub(crate) watch: Option<Watch>,
    begun: Instant,
    /// Until it begins.
    waiting: Option<Waiting>,
    /// Stays in memory to the end.
    model: Arc<Lease>,
    head: VecDeque<u32>,
    filter: StopFilter,
    /// Bytes of a character that is not whole yet.
    bytes: Vec<u8>,
    logprobs: Vec<Logprob>,
    num_forced: usize,
    tells_logprobs: bool,
    shows_text: bool,
    is_stopped: bool,
}

impl TextStream {
    /// Of a text that has been begun, and when; `waiting` is its place in the queue.
    pub(crate) fn new(
        model: &Arc<Lease>,
        (text, begun): (Text, Instant),
        waiting: Option<Waiting>,
        view: TextView,
    ) -> TextStream {
        TextStream {
            text: Metered::new(text, model.bill(), view.num_forced),
            watch: None,
            begun,
            waiting,
            model: Arc::clone(model),
            head: view.head.into(),
            filter: StopFilter::new(view.stops),
            bytes: Vec::new(),
            logprobs: Vec::new(),
            num_forced: view.num_forced,
            tells_logprobs: view.tells_logprobs,
            shows_text: view.shows_text,
            is_stopped: false,
        }
    }

    /// What comes next; after `End` or `Failed` nothing does. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> StreamItem {
        if let Some(token) = self.head.pop_front() {
            let bytes = self.bytes_of(token);
            if self.tells_logprobs {
                // Nothing stands before the first token, so it has no probability; the wire form says null.
                self.logprobs.push(Logprob { bytes: bytes.clone(), logprob: f64::NAN, top: Vec::new() });
            }
            // No stop string is looked for in the prompt.
            return StreamItem::Delta(self.delta(&bytes));
        }
        loop {
            let event = self.text.next().await;
            self.waiting = None;
            match event {
                Some(TextEvent::Prefill { .. }) => {}
                Some(TextEvent::Token(token)) => {
                    if let Some(delta) = self.token(&token) {
                        return StreamItem::Delta(delta);
                    }
                }
                Some(TextEvent::Finished { reason, usage }) => {
                    self.model.health().ended();
                    let mut tokens = usage_of(&usage);
                    tokens.prompt += self.num_forced as u64;
                    tokens.completion = tokens.completion.saturating_sub(self.num_forced as u64);
                    let end = self.end(reason);
                    return StreamItem::End(ChoiceOutcome {
                        end,
                        tokens,
                        messages: Vec::new(),
                        rest: self.rest(),
                        stop: None,
                        begun: self.begun,
                        times: tokens.times,
                        moderation: None,
                    });
                }
                Some(TextEvent::Failed(failure)) => {
                    self.model.health().failed(&failure);
                    return StreamItem::Failed(failed(&failure));
                }
                None => {
                    let problem = "the text ended without an end".to_owned();
                    return StreamItem::Failed(ApiError::Internal { problem });
                }
            }
        }
    }

    /// Asks the text to end: within one step, with what there is.
    pub(crate) fn cancel(&mut self) {
        self.text.cancel();
    }

    /// What a token adds; None when nothing of it may be written yet.
    fn token(&mut self, token: &Token) -> Option<Delta> {
        if self.is_stopped || !self.shows_text || token.is_stop {
            return None;
        }
        let bytes = self.bytes_of(token.id);
        if self.tells_logprobs {
            self.logprobs.push(logprob_of(self.vocab(), token));
        }
        let delta = self.delta(&bytes);
        let filtered = self.filter.push(delta);
        if filtered.is_stopped {
            self.is_stopped = true;
            self.text.cancel();
        }
        joined(filtered.deltas)
    }

    /// The whole characters that there are with these bytes.
    fn delta(&mut self, bytes: &[u8]) -> Delta {
        self.bytes.extend_from_slice(bytes);
        let text = whole_characters(&mut self.bytes);
        let logprobs = std::mem::take(&mut self.logprobs);
        Delta::Text { channel: Channel::Final, text, logprobs }
    }

    /// What was kept back, at the end; nothing of it is written after a stop string.
    fn rest(&mut self) -> Vec<Delta> {
        if self.is_stopped {
            return Vec::new();
        }
        let mut deltas = self.filter.finish();
        let bytes = std::mem::take(&mut self.bytes);
        if !bytes.is_empty() || !self.logprobs.is_empty() {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let logprobs = std::mem::take(&mut self.logprobs);
            deltas.push(Delta::Text { channel: Channel::Final, text, logprobs });
        }
        deltas
    }

    fn end(&self, reason: FinishReason) -> TurnEnd {
        match reason {
            _ if self.is_stopped => TurnEnd::Answer,
            FinishReason::Length => TurnEnd::Length,
            FinishReason::Deadline => TurnEnd::Deadline,
            FinishReason::Cancelled => TurnEnd::Cancelled,
            FinishReason::Stop => TurnEnd::Answer,
        }
    }

    fn vocab(&self) -> &Vocab {
        self.model.assistant().vocab()
    }

    /// Text of a token; control tokens have none here.
    fn bytes_of(&self, id: u32) -> Vec<u8> {
        match self.vocab().token(id) {
            Some(VocabToken::Text(token)) => self.vocab().bytes(token).to_vec(),
            Some(VocabToken::Control(_)) | None => Vec::new(),
        }
    }
}

/// The deltas as one; they are of one channel.
fn joined(deltas: Vec<Delta>) -> Option<Delta> {
    deltas.into_iter().reduce(|mut delta, next| {
        let _ = delta.join(next);
        delta
    })
}

/// Takes the characters that are whole; what can be no character is replaced.
fn whole_characters(bytes: &mut Vec<u8>) -> String {
    let mut text = String::new();
    loop {
        match std::str::from_utf8(bytes) {
            Ok(valid) => {
                text.push_str(valid);
                bytes.clear();
                return text;
            }
            Err(error) => {
                let valid = error.valid_up_to();
                text.push_str(&String::from_utf8_lossy(&bytes[..valid]));
                match error.error_len() {
                    Some(wrong) => {
                        text.push(char::REPLACEMENT_CHARACTER);
                        bytes.drain(..valid + wrong);
                    }
                    None => {
                        bytes.drain(..valid);
                        return text;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_come_whole_however_their_bytes_are_cut() {
        let check = |bytes: &[u8], expect: &str| {
            for at in 0..=bytes.len() {
                let mut kept = bytes[..at].to_vec();
                let mut text = whole_characters(&mut kept);
                kept.extend_from_slice(&bytes[at..]);
                text.push_str(&whole_characters(&mut kept));
                assert_eq!(text, expect, "cut at {at}");
            }
        };
        check("aé€𝄞z".as_bytes(), "aé€𝄞z");
        check(b"a\xffb", "a\u{fffd}b");
    }
}
