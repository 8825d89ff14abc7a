//! The lines of a file in the store, one after another.

use gptoss_api::ApiError;

use crate::store::Store;

/// A file that is read line by line, with a part of it in memory.
#[derive(Debug)]
pub(crate) struct LineReader {
    file: String,
    /// Longest line. Units: bytes.
    line_bytes_max: usize,
    next_part: u64,
    is_over: bool,
    buffer: Vec<u8>,
    /// Where the next line begins in the buffer.
    at: usize,
    number: u64,
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InputLine {
    /// With its number, from 1, and without its end.
    Whole(u64, Vec<u8>),
    /// It is longer than a line may be; nothing is read behind it.
    TooLong(u64),
}

impl LineReader {
    /// From the beginning.
    pub(crate) fn new(file: &str, line_bytes_max: usize) -> LineReader {
        LineReader {
            file: file.to_owned(),
            line_bytes_max,
            next_part: 0,
            is_over: false,
            buffer: Vec::new(),
            at: 0,
            number: 0,
        }
    }

    /// The next line; None behind the last.
    ///
    /// Errors: `Internal`, when the database fails.
    pub(crate) fn next(&mut self, store: &Store) -> Result<Option<InputLine>, ApiError> {
        let mut looked = self.at;
        loop {
            if let Some(length) = self.buffer[looked..].iter().position(|&byte| byte == b'\n') {
                let end = looked + length;
                let line = self.buffer[self.at..end].to_vec();
                self.at = end + 1;
                return Ok(Some(self.numbered(line)));
            }
            looked = self.buffer.len() - self.at;
            self.buffer.drain(..std::mem::take(&mut self.at));
            if self.buffer.len() > self.line_bytes_max {
                self.is_over = true;
                self.buffer.clear();
                return Ok(Some(InputLine::TooLong(self.number + 1)));
            }
            let part = if self.is_over { None } else { store.part(&self.file, self.next_part)? };
            match part {
                Some(part) => {
                    self.next_part += 1;
                    self.buffer.extend_from_slice(&part);
                }
                None => {
                    self.is_over = true;
                    let rest = std::mem::take(&mut self.buffer);
                    return Ok((!rest.is_empty()).then(|| self.numbered(rest)));
                }
            }
        }
    }

    fn numbered(&mut self, line: Vec<u8>) -> InputLine {
        self.number += 1;
        match line.len() > self.line_bytes_max {
            true => InputLine::TooLong(self.number),
            false => InputLine::Whole(self.number, line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn lines(parts: &[&str], max: usize) -> Vec<InputLine> {
        let store = Store::open(None, &Limits::default()).unwrap();
        store.begin_file("f", "a", 1).unwrap();
        for (number, part) in parts.iter().enumerate() {
            store.add_part("f", "a", (number as u64, part.as_bytes()), 1).unwrap();
        }
        let mut reader = LineReader::new("f", max);
        std::iter::from_fn(|| reader.next(&store).unwrap()).collect()
    }

    #[test]
    fn lines_are_whole_wherever_the_parts_are_cut() {
        let whole = |texts: &[&str]| -> Vec<InputLine> {
            let numbered = texts.iter().enumerate();
            numbered.map(|(at, text)| InputLine::Whole(at as u64 + 1, text.as_bytes().to_vec())).collect()
        };
        assert_eq!(lines(&["ab\nc", "d\n", "\ne", "f"], 9), whole(&["ab", "cd", "", "ef"]));
        assert_eq!(lines(&["ab\n"], 9), whole(&["ab"]));
        assert_eq!(lines(&[], 9), whole(&[]));
        assert_eq!(lines(&["\n", "\n"], 9), whole(&["", ""]));
    }

    #[test]
    fn a_line_that_is_too_long_is_named() {
        assert_eq!(lines(&["ab\nabcdef\n"], 5)[1], InputLine::TooLong(2));
        assert_eq!(
            lines(&["ab\nabc", "def"], 5),
            [InputLine::Whole(1, b"ab".to_vec()), InputLine::TooLong(2)]
        );
    }
}
