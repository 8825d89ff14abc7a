//! Responses of a connection that are not stored: what was said up to their end.

use std::collections::VecDeque;

use gptoss_api::history::Entry;

use crate::limits::SOCKET_RESPONSES_MAX;

/// What was said up to the end of some responses, by their ids.
#[derive(Debug)]
pub(super) struct Kept {
    bytes_max: usize,
    responses: VecDeque<Response>,
}

#[derive(Debug)]
struct Response {
    id: String,
    entries: Vec<Entry>,
    num_bytes: usize,
}

impl Kept {
    /// None, and at most `bytes_max` bytes of text later; the newest is kept whatever its size.
    pub(super) fn new(bytes_max: usize) -> Kept {
        Kept { bytes_max, responses: VecDeque::new() }
    }

    /// What was said up to the end of a response.
    pub(super) fn find(&self, id: &str) -> Option<Vec<Entry>> {
        self.responses.iter().find(|response| response.id == id).map(|response| response.entries.clone())
    }

    /// One more; the oldest make room.
    pub(super) fn keep(&mut self, id: String, entries: Vec<Entry>) {
        let num_bytes = entries.iter().map(|entry| entry.message.text().len()).sum();
        self.responses.push_back(Response { id, entries, num_bytes });
        let is_too_much = |responses: &VecDeque<Response>| {
            let num_bytes: usize = responses.iter().map(|response| response.num_bytes).sum();
            responses.len() > SOCKET_RESPONSES_MAX || num_bytes > self.bytes_max
        };
        while self.responses.len() > 1 && is_too_much(&self.responses) {
            self.responses.pop_front();
        }
    }

    /// Nothing goes on from this one any more.
    pub(super) fn forget(&mut self, id: &str) {
        self.responses.retain(|response| response.id != id);
    }
}

#[cfg(test)]
mod tests {
    use gptoss_harmony::Message;

    use super::*;

    #[test]
    fn the_oldest_make_room_and_the_newest_stays() {
        let mut kept = Kept::new(10);
        let said = |text: &str| vec![Entry::from(Message::user(text))];
        let found = |kept: &Kept| -> String {
            let ids = ["a", "b", "c", "d"].into_iter();
            ids.filter(|id| kept.find(id).is_some()).collect()
        };
        for id in ["a", "b", "c"] {
            kept.keep(id.to_owned(), said("12345"));
        }
        assert_eq!(found(&kept), "bc");
        kept.forget("b");
        kept.keep("d".to_owned(), said("longer than ten bytes"));
        assert_eq!((found(&kept), kept.find("d")), ("d".to_owned(), Some(said("longer than ten bytes"))));
        for number in 0..2 * SOCKET_RESPONSES_MAX {
            kept.keep(number.to_string(), Vec::new());
        }
        assert_eq!(kept.responses.len(), SOCKET_RESPONSES_MAX);
    }
}
