//! Messages of a connection that wait for the response before them.

use std::collections::VecDeque;

use axum::extract::ws::Utf8Bytes;

use crate::limits::SOCKET_MESSAGES_MAX;

/// The messages, in their order.
#[derive(Debug)]
pub(super) struct Waiting {
    bytes_max: usize,
    messages: VecDeque<Utf8Bytes>,
    num_bytes: usize,
}

impl Waiting {
    /// None, and at most `bytes_max` bytes of them later.
    pub(super) fn new(bytes_max: usize) -> Waiting {
        Waiting { bytes_max, messages: VecDeque::new(), num_bytes: 0 }
    }

    /// One more, or the message back when they are too many. One that waits alone may have any length.
    pub(super) fn push(&mut self, message: Utf8Bytes) -> Result<(), Utf8Bytes> {
        let num_bytes = self.num_bytes + message.len();
        let is_full = self.messages.len() >= SOCKET_MESSAGES_MAX || num_bytes > self.bytes_max;
        if is_full && !self.messages.is_empty() {
            return Err(message);
        }
        self.num_bytes = num_bytes;
        self.messages.push_back(message);
        Ok(())
    }

    /// The oldest.
    pub(super) fn pop(&mut self) -> Option<Utf8Bytes> {
        let message = self.messages.pop_front()?;
        self.num_bytes -= message.len();
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_wait_as_may() {
        let mut waiting = Waiting::new(10);
        let push = |waiting: &mut Waiting, text: &str| waiting.push(text.into()).is_ok();
        assert!(push(&mut waiting, "longer than ten") && !push(&mut waiting, "x"));
        assert_eq!(waiting.pop().as_deref(), Some("longer than ten"));
        assert!(push(&mut waiting, "12345") && push(&mut waiting, "12345") && !push(&mut waiting, "x"));
        while waiting.pop().is_some() {}
        assert_eq!((0..20).filter(|_| push(&mut waiting, "")).count(), SOCKET_MESSAGES_MAX);
    }
}
