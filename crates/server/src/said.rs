//! What was said in a request and its answer, for the audit of a key whose policy has that kept.
//!
//! The request is its body as it came, unpacked; the answer are the bytes that left, as far as they did. Each
//! is kept up to the policy's bound and its length is told whole. Whoever holds it last writes it: the body
//! of the answer, or the task that goes on behind it.
//!
//! The status beside it is how the request ended, and not only how its answer began: a failure that came
//! after the head is told in a stream with status 200, and in the background after an answer that is whole.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use gptoss_api::generation::visibility::Visibility;
use gptoss_govern::{ContentRule, Entry, Event, Said as Kept, Spoken};
use hyper::body::{Frame, SizeHint};
use serde::Serialize;

use crate::clock::now_ms;
use crate::governance::Pass;
use crate::ids;
use crate::narrowing::narrow_response;

/// The status of a request whose client went away before the answer's end.
const CLIENT_GONE: u16 = 499;
/// The least status of what did not go well.
const FAILED_MIN: u16 = 400;

/// What is kept of one request.
pub(crate) struct Said {
    pass: Pass,
    rule: ContentRule,
    entry: Entry,
    salt: [u8; 32],
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    /// None: no body was read.
    prompt: Option<Text>,
    answer: Text,
    end: End,
    is_forgotten: bool,
}

/// How a request ended, as far as is known.
#[derive(Debug, Clone, Copy, Default)]
struct End {
    /// The status of the answer's head.
    begun: Option<u16>,
    /// The status of the bill.
    settled: Option<u16>,
    /// Whether the answer did not leave to its end.
    is_cut: bool,
}

/// The beginning of a text, and how long it is.
#[derive(Default)]
struct Text {
    bytes: Vec<u8>,
    num_bytes: u64,
}

impl Said {
    /// Of a request that has just been admitted. None: its key's policies have nothing kept.
    ///
    /// Panics: as [`ids::random`].
    pub(crate) fn new(pass: &Pass, route: &str, request_id: &str) -> Option<Arc<Said>> {
        let rule = pass.rules.content(&pass.key)?;
        let entry = Entry {
            actor: pass.key.id.clone(),
            tenant: pass.key.name.clone(),
            group: pass.key.group_name().unwrap_or_default().to_owned(),
            policy_version: pass.rules.version().to_owned(),
            route: route.to_owned(),
            request_id: request_id.to_owned(),
            ..Entry::new(Event::RequestContent)
        };
        let (pass, salt) = (pass.clone(), ids::salt());
        Some(Arc::new(Said { pass, rule, entry, salt, open: Mutex::default() }))
    }

    /// Takes the request's body; the first word counts.
    pub(crate) fn heard(&self, body: &[u8]) {
        if self.rule.has_prompt {
            let mut open = self.lock();
            let text = open.prompt.get_or_insert_default();
            if text.num_bytes == 0 {
                text.add(body, self.rule.max_bytes);
            }
        }
    }

    /// Takes more of the answer.
    pub(crate) fn told(&self, bytes: &[u8]) {
        if self.rule.has_answer {
            self.lock().answer.add(bytes, self.rule.max_bytes);
        }
    }

    /// Takes what a response in the background came to, as its reader may see it: the answer to who asked
    /// says no more than that it is on its way.
    pub(crate) fn told_later(&self, response: &impl Serialize, visibility: Visibility) {
        let Ok(mut response) = serde_json::to_value(response) else { return };
        narrow_response(&mut response, visibility);
        self.told(format!("\n{response}").as_bytes());
    }

    /// Takes down how the answer begins.
    pub(crate) fn begins(&self, status: u16) {
        self.lock().end.begun = Some(status);
    }

    /// Takes down how the request ended, as its entry in the audit says.
    pub(crate) fn settled(&self, status: u16) {
        self.lock().end.settled = Some(status);
    }

    /// Takes down that the answer did not leave to its end.
    pub(crate) fn is_cut(&self) {
        self.lock().end.is_cut = true;
    }

    /// The request will be tried again: this try is not kept.
    pub(crate) fn forget(&self) {
        self.lock().is_forgotten = true;
    }

    /// The response, whose bytes are taken as they leave.
    pub(crate) fn heard_by(self: &Arc<Said>, response: Response) -> Response {
        self.begins(response.status().as_u16());
        let said = Arc::clone(self);
        response.map(|body| Body::new(Overheard { body, said, is_whole: false }))
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Said {
    fn drop(&mut self) {
        let Open { prompt, answer, end, is_forgotten } = std::mem::take(&mut *self.lock());
        if is_forgotten || (prompt.is_none() && answer.num_bytes == 0) {
            return;
        }
        let max = self.rule.max_bytes;
        let answer = self.rule.has_answer.then_some(answer);
        let kept = Kept {
            prompt: prompt.map(|text| text.spoken(max)),
            answer: answer.map(|text| text.spoken(max)),
            salt: self.salt,
        };
        let entry = Entry { status: end.status(), ..self.entry.clone() };
        let place = self.pass.governance.said_place(num_bytes(&kept));
        self.pass.governance.work(move |journal| {
            let written = journal.record_said(entry, &kept, now_ms());
            drop(place);
            written
        });
    }
}

/// What waits in memory until it is written.
fn num_bytes(kept: &Kept) -> usize {
    [&kept.prompt, &kept.answer].into_iter().flatten().map(|spoken| spoken.text.len()).sum()
}

impl End {
    /// A failure first, wherever it is known from. An answer without a head is one whose client left before.
    fn status(self) -> u16 {
        let failure = [self.settled, self.begun].into_iter().flatten().find(|status| *status >= FAILED_MIN);
        match (failure, self.begun) {
            (Some(status), _) => status,
            (None, Some(begun)) if !self.is_cut => self.settled.unwrap_or(begun),
            // What was computed until then may have been settled.
            (None, _) => CLIENT_GONE,
        }
    }
}

impl Text {
    fn add(&mut self, bytes: &[u8], max: usize) {
        let room = max.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.num_bytes += bytes.len() as u64;
    }

    /// As text, cut at a character; bytes that are none are replaced.
    fn spoken(self, max: usize) -> Spoken {
        let mut text = String::from_utf8_lossy(&self.bytes).into_owned();
        if self.num_bytes > self.bytes.len() as u64 {
            // A character that the bound cut in two.
            while text.ends_with(char::REPLACEMENT_CHARACTER) {
                text.pop();
            }
        }
        text.truncate(text.floor_char_boundary(max));
        Spoken { text, bytes: self.num_bytes }
    }
}

/// A body whose bytes are taken as they leave.
struct Overheard {
    body: Body,
    said: Arc<Said>,
    is_whole: bool,
}

impl HttpBody for Overheard {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(bytes) = frame.data_ref() {
                    self.said.told(bytes);
                }
            }
            Poll::Ready(None) => self.is_whole = true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Overheard {
    fn drop(&mut self) {
        if !self.is_whole && !self.body.is_end_stream() {
            self.said.is_cut();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_the_end_wherever_it_is_known_from() {
        for (begun, settled, is_cut, expected) in [
            (Some(200), Some(200), false, 200),
            (Some(200), Some(200), true, 499),
            (Some(200), None, true, 499),
            (Some(200), Some(500), false, 500),
            (Some(200), Some(500), true, 500),
            (Some(200), Some(499), false, 499),
            (Some(429), Some(429), true, 429),
            (Some(403), None, false, 403),
            (None, Some(502), false, 502),
            (None, None, false, 499),
            (None, Some(200), false, 499),
        ] {
            let end = End { begun, settled, is_cut };
            assert_eq!(end.status(), expected, "{end:?}");
        }
    }

    #[test]
    fn a_text_is_cut_at_a_character_and_its_length_is_told() {
        let check = |parts: &[&[u8]], max: usize, expect: &str, num_bytes: u64| {
            let mut text = Text::default();
            parts.iter().for_each(|part| text.add(part, max));
            assert_eq!(text.spoken(max), Spoken { text: expect.to_owned(), bytes: num_bytes });
        };
        check(&[b"ab", b"cd"], 4, "abcd", 4);
        check(&[b"ab", b"cd", b"e"], 3, "abc", 5);
        check(&["a\u{e4}b".as_bytes()], 2, "a", 4);
        check(&["a\u{e4}".as_bytes(), b"b"], 3, "a\u{e4}", 4);
        check(&[b"a\xff"], 9, "a\u{fffd}", 2);
        check(&[], 9, "", 0);
    }
}
