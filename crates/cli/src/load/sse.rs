//! Server-sent events out of the bytes of a stream, wherever the stream is cut.

/// Bytes of the longest event; a whole response object is far below.
const EVENT_BYTES_MAX: usize = 16 << 20;

/// What has arrived of the event that is not whole yet.
#[derive(Debug, Default)]
pub struct EventReader {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
}

/// An event that is longer than events are.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

impl EventReader {
    /// The data of every event that `bytes` completes. Names, ids and comments are passed over: OpenAI's
    /// events say their type in their data.
    ///
    /// Errors: an event does not end.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut events = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.len() + self.data.len() > EVENT_BYTES_MAX {
                return Err(TooLong);
            }
            if self.line.last() == Some(&b'\n') {
                self.end_line(&mut events);
            }
        }
        Ok(events)
    }

    fn end_line(&mut self, events: &mut Vec<Vec<u8>>) {
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            if std::mem::take(&mut self.has_data) {
                events.push(std::mem::take(&mut self.data));
            }
        } else if let Some(data) = line.strip_prefix(b"data:") {
            if self.has_data {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
            self.has_data = true;
        }
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_whole_wherever_the_bytes_are_cut() {
        let stream = b": hello\r\nevent: x\r\ndata: {\"a\":1}\r\n\r\ndata:two\ndata: lines\n\nid: 4\n\ndata: [DONE]\n\ndata: cut";
        for size in 1..stream.len() {
            let mut reader = EventReader::default();
            let events: Vec<Vec<u8>> =
                stream.chunks(size).flat_map(|bytes| reader.take(bytes).unwrap()).collect();
            assert_eq!(events, [&b"{\"a\":1}"[..], b"two\nlines", b"[DONE]"], "cut every {size} bytes");
        }
    }

    #[test]
    fn an_event_without_end_is_given_up() {
        let mut reader = EventReader::default();
        let part = vec![b'x'; EVENT_BYTES_MAX / 2 + 1];
        assert_eq!(reader.take(&part), Ok(Vec::new()));
        assert_eq!(reader.take(&part), Err(TooLong));
    }
}
