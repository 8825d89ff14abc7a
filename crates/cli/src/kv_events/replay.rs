//! The last messages, for those who have missed some.
//!
//! Entry point: [`Replay`]. At most [`REPLAY_MESSAGES_MAX`] messages and [`REPLAY_BYTES_MAX`] bytes; the
//! oldest go first.

use std::collections::VecDeque;
use std::sync::Arc;

/// Messages that can be asked for again, as many as vLLM keeps.
pub const REPLAY_MESSAGES_MAX: usize = 10_000;
/// What they take together. Units: bytes.
pub const REPLAY_BYTES_MAX: usize = 64 << 20;

/// A message: its number and its payload.
pub type Told = (u64, Arc<[u8]>);

/// The last messages, by number.
#[derive(Debug, Default)]
pub struct Replay {
    messages: VecDeque<Told>,
    bytes: usize,
}

impl Replay {
    /// Keeps a message.
    pub fn keep(&mut self, number: u64, payload: Arc<[u8]>) {
        self.bytes += payload.len();
        self.messages.push_back((number, payload));
        while self.messages.len() > REPLAY_MESSAGES_MAX || self.bytes > REPLAY_BYTES_MAX {
            let Some((_, oldest)) = self.messages.pop_front() else { return };
            self.bytes -= oldest.len();
        }
    }

    /// Messages from a number on, as far as they are here.
    pub fn since(&self, number: u64) -> Vec<Told> {
        let first = self.messages.partition_point(|(other, _)| *other < number);
        self.messages.range(first..).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_by_number_and_by_size() {
        let mut replay = Replay::default();
        let numbers = |replay: &Replay, since| {
            let told = replay.since(since);
            (told.len(), told.first().map(|(number, _)| *number))
        };
        assert_eq!(numbers(&replay, 0), (0, None));
        for number in 0..REPLAY_MESSAGES_MAX as u64 + 5 {
            // Some were lost before they came here.
            if number != 20 {
                replay.keep(number, Arc::from([1_u8; 10]));
            }
        }
        assert_eq!(numbers(&replay, 0), (REPLAY_MESSAGES_MAX, Some(4)));
        assert_eq!(numbers(&replay, 20), (REPLAY_MESSAGES_MAX - 16, Some(21)));
        assert_eq!(numbers(&replay, 1 << 40), (0, None));
        replay.keep(1 << 20, vec![0; REPLAY_BYTES_MAX - 15].into());
        assert_eq!(numbers(&replay, 0).0, 2);
        replay.keep(1 << 21, vec![0; REPLAY_BYTES_MAX + 1].into());
        assert_eq!((numbers(&replay, 0), replay.bytes), ((0, None), 0));
    }
}
