//! What happens to the events of an upstream's stream: they pass, or they are put into another API's words.

use gptoss_api::ApiError;
use gptoss_api::usage::TokenUsage;
use gptoss_harmony::TurnEnd;
use hyper::body::Bytes;

use crate::observer::Observer;
use crate::piece::{Fault, Reader};
use crate::sse::Event;
use crate::writer::{Writer, broken};

/// A stream on its way to a client.
pub enum Pump {
    /// In the client's own API.
    Pass(Box<Observer>),
    /// Out of another.
    Translate(Box<Translation>),
}

/// A stream that is put into other words.
pub struct Translation {
    reader: Reader,
    writer: Writer,
    has_begun: bool,
    has_read: bool,
    num_words: u64,
}

impl Pump {
    /// Of a stream that is put into other words.
    pub fn translate(reader: Reader, writer: Writer) -> Pump {
        let translation = Translation { reader, writer, has_begun: false, has_read: false, num_words: 0 };
        Pump::Translate(Box::new(translation))
    }

    /// What the client gets of an event.
    ///
    /// Errors: it is malformed, or reports one.
    pub fn take(&mut self, event: &Event) -> Result<Bytes, Fault> {
        match self {
            Pump::Pass(observer) => Ok(observer.see(event)?.unwrap_or_default()),
            Pump::Translate(translation) => translation.take(event),
        }
    }

    /// Whether the last word was said.
    pub fn is_over(&self) -> bool {
        match self {
            Pump::Pass(observer) => observer.is_over,
            Pump::Translate(translation) => translation.reader.answer().is_over,
        }
    }

    /// What the client gets when the upstream's stream has ended; None when it broke off.
    pub fn close(&mut self) -> Option<Bytes> {
        match self {
            Pump::Pass(observer) if observer.is_over => Some(Bytes::new()),
            // Some hosts end without the last word.
            Pump::Pass(observer) if observer.has_ended => Some(Bytes::from_static(b"data: [DONE]\n\n")),
            Pump::Pass(..) => None,
            Pump::Translate(translation) => translation.close(),
        }
    }

    /// What the client gets when it broke off.
    pub fn fail(&mut self, error: &ApiError) -> Bytes {
        match self {
            Pump::Pass(observer) => broken(observer.dialect, error, observer.next_number).into(),
            Pump::Translate(translation) => translation.writer.fail(error).into(),
        }
    }

    /// What it took, as far as that is said.
    pub fn usage(&self) -> Option<TokenUsage> {
        match self {
            Pump::Pass(observer) => observer.usage,
            Pump::Translate(translation) => translation.reader.answer().usage,
        }
    }

    /// Pieces of text that came: a guess at the tokens where nobody says how many there were.
    pub fn num_words(&self) -> u64 {
        match self {
            Pump::Pass(observer) => observer.num_words,
            Pump::Translate(translation) => translation.num_words,
        }
    }
}

impl Translation {
    fn take(&mut self, event: &Event) -> Result<Bytes, Fault> {
        let Some(data) = &event.data else { return Ok(Bytes::new()) };
        let deltas = self.reader.push(data)?;
        let mut bytes = Vec::new();
        if !std::mem::replace(&mut self.has_begun, true) {
            bytes.extend(self.writer.begin());
        }
        if !self.has_read
            && let Some(usage) = self.reader.answer().usage
        {
            self.has_read = true;
            bytes.extend(self.writer.read(TokenUsage { completion: 0, reasoning: 0, ..usage }));
        }
        self.num_words += deltas.len() as u64;
        for delta in deltas {
            bytes.extend(self.writer.push(delta));
        }
        Ok(bytes.into())
    }

    fn close(&mut self) -> Option<Bytes> {
        let answer = self.reader.answer();
        let end = match (answer.end, answer.is_over) {
            (Some(end), _) => end,
            (None, true) => TurnEnd::Answer,
            (None, false) => return None,
        };
        let (usage, stop) = (answer.usage.unwrap_or_default(), answer.stop.clone());
        Some(self.writer.finish(end, usage, stop).into())
    }

    /// The body of an answer without a stream, when it has ended.
    pub fn whole(self) -> Bytes {
        let usage = self.reader.answer().usage.unwrap_or_default();
        self.writer.whole(usage).into()
    }
}
