//! Answers of other servers that are kept until they have been judged: so much of one, so much of all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use gptoss_gateway::ReplyBody;

/// Most of an answer that is kept. Units: bytes.
const ANSWER_BYTES_MAX: usize = 32 << 20;
/// Most of all answers at a time. Units: bytes.
const ALL_BYTES_MAX: usize = 512 << 20;
const TOO_LONG: &str = "it is longer than what is held until it was judged";
const TOO_MUCH: &str = "too much is held already until it was judged";

/// How much of all answers is kept. Units: bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct HeldRoom(Arc<AtomicUsize>);

/// What is kept of one answer; its place is free when it goes.
#[derive(Debug)]
pub(crate) struct Held {
    room: HeldRoom,
    bytes: Vec<u8>,
    taken: usize,
    lack: Option<&'static str>,
}

impl HeldRoom {
    /// A place for an answer of which nothing has come.
    pub(crate) fn place(&self) -> Held {
        Held { room: self.clone(), bytes: Vec::new(), taken: 0, lack: None }
    }

    /// All of an answer, or its beginning where that is too much.
    pub(crate) async fn body(&self, body: ReplyBody) -> Held {
        match body {
            ReplyBody::Whole(bytes) => {
                let mut held = self.place();
                held.push(&bytes);
                held
            }
            ReplyBody::Stream(mut stream) => self.stream(&mut stream).await,
        }
    }

    /// As [`HeldRoom::body`]; a stream that is too much goes on.
    pub(crate) async fn stream(&self, stream: &mut BoxStream<'static, Bytes>) -> Held {
        let mut held = self.place();
        while let Some(more) = stream.next().await {
            held.push(&more);
            if held.lack.is_some() {
                break;
            }
        }
        held
    }
}

impl Held {
    /// Keeps more of it, unless something of it is missing already.
    pub(crate) fn push(&mut self, more: &[u8]) {
        if self.lack.is_some() {
            return;
        }
        let before = self.room.0.fetch_add(more.len(), Ordering::Relaxed);
        self.taken += more.len();
        self.lack = if self.taken > ANSWER_BYTES_MAX {
            Some(TOO_LONG)
        } else if before.saturating_add(more.len()) > ALL_BYTES_MAX {
            Some(TOO_MUCH)
        } else {
            None
        };
        if self.lack.is_none() {
            self.bytes.extend_from_slice(more);
        }
    }

    /// Why something of it is missing; None: it is whole.
    pub(crate) fn lack(&self) -> Option<&'static str> {
        self.lack
    }

    /// What is kept.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.0.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_and_all_of_them_have_a_bound() {
        let room = HeldRoom::default();
        let part = vec![b'x'; ANSWER_BYTES_MAX];
        let mut all: Vec<Held> = (0..ALL_BYTES_MAX / ANSWER_BYTES_MAX).map(|_| room.place()).collect();
        for held in &mut all {
            held.push(&part);
            assert_eq!((held.lack(), held.bytes().len()), (None, ANSWER_BYTES_MAX));
        }
        let mut more = room.place();
        more.push(b"y");
        more.push(b"z");
        assert_eq!((more.lack(), more.bytes()), (Some(TOO_MUCH), &[][..]));
        all.truncate(1);
        all[0].push(b"y");
        assert_eq!(all[0].lack(), Some(TOO_LONG));
        let mut again = room.place();
        again.push(b"y");
        assert_eq!((again.lack(), again.bytes()), (None, &b"y"[..]));
        drop((all, more, again));
        assert_eq!(room.0.load(Ordering::Relaxed), 0);
    }
}
