//! What is known of one request when it has ended.

use std::fmt;
use std::time::Duration;

use super::sse::EventReader;
use super::wire::{self, Usage};
use crate::args::EndpointArg;

/// How a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// No connection came about.
    Refused,
    /// An HTTP status other than 200.
    Status(u16),
    /// It was not over in time.
    Timeout,
    /// The connection ended before the answer did.
    Cut,
    /// What came is not what that API says.
    Malformed,
    /// The server said in the stream that it failed.
    Server,
    /// The answer ended without a token.
    Empty,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Refused => f.write_str("refused"),
            Fault::Status(status) => write!(f, "status {status}"),
            Fault::Timeout => f.write_str("timeout"),
            Fault::Cut => f.write_str("cut"),
            Fault::Malformed => f.write_str("malformed"),
            Fault::Server => f.write_str("server error"),
            Fault::Empty => f.write_str("empty"),
        }
    }
}

/// A fault and what was said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its kind.
    pub fault: Fault,
    /// In words, perhaps the server's.
    pub detail: String,
}

impl Failure {
    /// A fault in these words.
    pub fn new(fault: Fault, detail: impl Into<String>) -> Failure {
        Failure { fault, detail: detail.into() }
    }
}

/// How long a request was to be, as it was asked for. Units: tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Of the prompt; a prompt from a file has no length that was asked for.
    pub prompt: Option<u32>,
    /// Most of the answer.
    pub output: u32,
}

/// The tokens of an answer as they came in. Times are from the moment at which the request was due.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// When the first token came, of reasoning or of the answer.
    pub first_token: Option<Duration>,
    /// When the first token of the answer itself came.
    pub first_answer: Option<Duration>,
    /// When the last token came.
    pub last_token: Option<Duration>,
    /// Times between events with tokens.
    pub gaps: Vec<Duration>,
    /// What the server counted.
    pub usage: Option<Usage>,
}

impl Answer {
    /// Events that brought tokens.
    pub fn num_chunks(&self) -> usize {
        self.gaps.len() + usize::from(self.first_token.is_some())
    }

    /// Tokens of the answer: as the server counted them, else one an event.
    pub fn num_tokens(&self) -> f64 {
        match self.usage.filter(|usage| usage.completion_tokens > 0) {
            Some(usage) => f64::from(usage.completion_tokens),
            None => self.num_chunks() as f64,
        }
    }

    /// The mean time between tokens after the first; `None` with fewer than two. Units: seconds.
    pub fn tpot(&self) -> Option<f64> {
        let span = self.last_token?.checked_sub(self.first_token?)?.as_secs_f64();
        let following = self.num_tokens() - 1.0;
        (following >= 1.0).then(|| span / following)
    }

    /// Each time between events, divided by the tokens that an event of this answer brought on average: the
    /// mean is that of [`Answer::tpot`]. Units: seconds.
    pub fn itl(&self) -> impl Iterator<Item = f64> {
        let tokens = (self.num_tokens() - 1.0) / self.gaps.len().max(1) as f64;
        // Fewer tokens counted than events came leave nothing to divide by.
        let tokens = if tokens > 0.0 { tokens } else { 1.0 };
        self.gaps.iter().map(move |gap| gap.as_secs_f64() / tokens)
    }
}

/// One request that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// When it was due, from the start of its level.
    pub due: Duration,
    /// How much later it was sent.
    pub late: Duration,
    /// When it was over, from `due`.
    pub ended: Duration,
    /// How long it was to be.
    pub asked: Asked,
    /// What came.
    pub answer: Answer,
    /// Why it does not count.
    pub failure: Option<Failure>,
}

/// A stream that is being read: bytes and their times in, an [`Answer`] out. Knows no clock.
#[derive(Debug)]
pub struct Reading {
    endpoint: EndpointArg,
    events: EventReader,
    num_events: usize,
    is_ended: bool,
    answer: Answer,
}

impl Reading {
    /// Nothing has come yet.
    pub fn new(endpoint: EndpointArg) -> Reading {
        let answer = Answer::default();
        Reading { endpoint, events: EventReader::default(), num_events: 0, is_ended: false, answer }
    }

    /// Takes bytes that came at `at`.
    ///
    /// Errors: they are not that API's, or they say that the server failed.
    pub fn take(&mut self, bytes: &[u8], at: Duration) -> Result<(), Failure> {
        let malformed = |detail: String| Failure::new(Fault::Malformed, detail);
        let events = self.events.take(bytes).map_err(|_| malformed("an event does not end".to_owned()))?;
        for data in events {
            let heard = wire::hear(self.endpoint, &data).map_err(malformed)?;
            self.num_events += 1;
            if let Some(error) = heard.error {
                return Err(Failure::new(Fault::Server, error));
            }
            self.is_ended |= heard.is_end;
            // Where usage comes with every event, the last one counts.
            self.answer.usage = heard.usage.or(self.answer.usage);
            if heard.has_answer {
                self.answer.first_answer.get_or_insert(at);
            }
            if heard.has_answer || heard.has_reasoning {
                self.token(at);
            }
        }
        Ok(())
    }

    fn token(&mut self, at: Duration) {
        self.answer.first_token.get_or_insert(at);
        if let Some(before) = self.answer.last_token.replace(at) {
            self.answer.gaps.push(at.saturating_sub(before));
        }
    }

    /// What has come so far, and what is wrong with it if the stream is over.
    pub fn finish(self) -> (Answer, Option<Failure>) {
        let failure = match (self.is_ended, self.num_events) {
            (false, 0) => Some(Failure::new(Fault::Malformed, "the answer has no events")),
            (false, _) => Some(Failure::new(Fault::Cut, "the stream ended before the answer did")),
            (true, _) if self.answer.first_token.is_none() => {
                Some(Failure::new(Fault::Empty, "the answer ended without a token"))
            }
            (true, _) => None,
        };
        (self.answer, failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn text(text: &str) -> String {
        format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
    }

    fn read(parts: &[(u64, &str)]) -> (Answer, Option<Failure>) {
        let mut reading = Reading::new(EndpointArg::Chat);
        for (at, bytes) in parts {
            if let Err(failure) = reading.take(bytes.as_bytes(), ms(*at)) {
                return (reading.answer, Some(failure));
            }
        }
        reading.finish()
    }

    const REASONING: &str = "data: {\"choices\":[{\"delta\":{\"reasoning\":\"r\"}}]}\n\n";
    const DONE: &str = "data: [DONE]\n\n";

    #[test]
    fn tokens_are_timed_when_they_come() {
        let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":7}}\n\n";
        let (a, b) = (text("a"), text("b"));
        let (answer, failure) = read(&[
            (5, ": hello\n\n"),
            (20, REASONING),
            (30, a.as_str()),
            (60, &b[..9]),
            (70, &b[9..]),
            (90, usage),
            (91, DONE),
        ]);
        assert_eq!(failure, None);
        assert_eq!(
            (answer.first_token, answer.first_answer, answer.last_token),
            (Some(ms(20)), Some(ms(30)), Some(ms(70)))
        );
        assert_eq!((answer.gaps.clone(), answer.num_chunks()), (vec![ms(10), ms(40)], 3));
        // Seven tokens in three events: six after the first, three a gap.
        let near = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(near(answer.num_tokens(), 7.0) && near(answer.tpot().unwrap(), 0.050 / 6.0));
        let itl: Vec<f64> = answer.itl().collect();
        assert!(near(itl[0], 0.010 / 3.0) && near(itl[1], 0.040 / 3.0), "{itl:?}");
    }

    #[test]
    fn without_usage_an_event_is_a_token() {
        let (answer, _) = read(&[(10, text("a").as_str()), (30, text("b").as_str()), (30, DONE)]);
        assert_eq!((answer.num_tokens(), answer.tpot()), (2.0, Some(0.020)));
        let (one, _) = read(&[(10, text("a").as_str()), (30, DONE)]);
        assert_eq!((one.num_tokens(), one.tpot(), one.itl().count()), (1.0, None, 0));
    }

    #[test]
    fn what_is_wrong_has_a_kind() {
        let check = |parts: &[&str], fault: Option<Fault>| {
            let parts: Vec<(u64, &str)> = parts.iter().map(|part| (1, *part)).collect();
            assert_eq!(read(&parts).1.map(|failure| failure.fault), fault, "{parts:?}");
        };
        let a = text("a");
        let a = a.as_str();
        let stop = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
        check(&[a, DONE], None);
        check(&[a, stop], None);
        check(&[a], Some(Fault::Cut));
        check(&[a, "data: [DO"], Some(Fault::Cut));
        check(&[], Some(Fault::Malformed));
        check(&["{\"choices\":[]}"], Some(Fault::Malformed));
        check(&[a, "data: {oops\n\n"], Some(Fault::Malformed));
        check(&[a, "data: {\"error\":{\"message\":\"full\"}}\n\n"], Some(Fault::Server));
        check(&[DONE], Some(Fault::Empty));
    }
}
