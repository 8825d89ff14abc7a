//! The beginning and the end of a stream, within a bound.

use std::collections::VecDeque;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::cell::program::Output;

/// What is read at once. Units: bytes.
const READ_BYTES: usize = 16 << 10;

/// What is kept of a stream while it is read to its end.
#[derive(Debug)]
pub struct Keep {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    most: usize,
    num_left_out: u64,
}

impl Keep {
    /// Nothing yet, of `most` bytes.
    pub fn new(most: usize) -> Self {
        Self { head: Vec::new(), tail: VecDeque::new(), most, num_left_out: 0 }
    }

    /// Takes more of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        let half = self.most / 2;
        let (head, rest) = bytes.split_at(bytes.len().min(half - self.head.len().min(half)));
        self.head.extend(head);
        self.tail.extend(rest);
        let excess = self.tail.len().saturating_sub(self.most - half);
        self.tail.drain(..excess);
        self.num_left_out += excess as u64;
    }

    /// Reads a stream to its end. What was read before an error counts.
    pub async fn read(&mut self, stream: &mut (impl AsyncRead + Unpin)) {
        let mut bytes = vec![0; READ_BYTES];
        while let Ok(num_read @ 1..) = stream.read(&mut bytes).await {
            self.push(&bytes[..num_read]);
        }
    }

    /// What was kept.
    pub fn output(self) -> Output {
        let (mut head, tail) = (self.head, Vec::from(self.tail));
        if self.num_left_out == 0 {
            head.extend(tail);
            return Output { head, ..Output::default() };
        }
        Output { head, tail, num_left_out: self.num_left_out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_and_the_end_are_kept_however_it_comes() {
        let bytes: Vec<u8> = (0..100).collect();
        for (most, piece) in [(10, 1), (10, 3), (10, 100), (11, 7), (0, 5), (100, 9), (1000, 100)] {
            let mut keep = Keep::new(most);
            bytes.chunks(piece).for_each(|piece| keep.push(piece));
            let output = keep.output();
            if most >= 100 {
                assert_eq!((output.head.as_slice(), output.num_left_out), (&bytes[..], 0));
                continue;
            }
            let half = most / 2;
            assert_eq!(output.head, &bytes[..half], "{most} by {piece}");
            assert_eq!(output.tail, &bytes[100 - (most - half)..], "{most} by {piece}");
            assert_eq!(output.num_left_out as usize, 100 - most);
        }
    }
}
