//! Server-sent events out of bytes, each with the bytes that it came as.

use hyper::body::Bytes;
use serde::Serialize;

use crate::limits::EVENT_BYTES_MAX;

/// An event, or a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// As it came, with the empty line behind it.
    pub raw: Bytes,
    /// What it is called.
    pub name: Option<String>,
    /// What it says; None for a comment.
    pub data: Option<String>,
}

/// Bytes that are not yet an event.
#[derive(Debug, Default)]
pub struct Splitter {
    held: Vec<u8>,
    /// Where those begin that no event was made of.
    begin: usize,
    /// Before this there is no end of an event.
    looked: usize,
}

impl Splitter {
    /// Takes more bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.looked -= self.begin;
        self.held.drain(..std::mem::take(&mut self.begin));
        self.held.extend_from_slice(bytes);
    }

    /// The next event that is whole.
    ///
    /// Errors: it is too long, or no text.
    pub fn next(&mut self) -> Result<Option<Event>, &'static str> {
        let Some(end) = end_of_event(&self.held, self.looked) else {
            self.looked = self.held.len().saturating_sub(3).max(self.begin);
            return match self.held.len() - self.begin > EVENT_BYTES_MAX {
                true => Err("an event of the stream is too long"),
                false => Ok(None),
            };
        };
        let raw = &self.held[self.begin..end];
        (self.begin, self.looked) = (end, end);
        let text = std::str::from_utf8(raw).map_err(|_| "the stream is not UTF-8")?;
        let (name, data) = read(text);
        Ok(Some(Event { name, data, raw: Bytes::copy_from_slice(raw) }))
    }

    /// Whether there is the beginning of an event.
    pub fn is_open(&self) -> bool {
        self.held[self.begin..].iter().any(|byte| !byte.is_ascii_whitespace())
    }
}

/// Where the first empty line ends.
fn end_of_event(bytes: &[u8], from: usize) -> Option<usize> {
    (from..bytes.len()).find_map(|at| {
        let rest = &bytes[at..];
        [&b"\n\n"[..], b"\r\n\r\n", b"\r\r"]
            .into_iter()
            .find(|end| rest.starts_with(end))
            .map(|end| at + end.len())
    })
}

fn read(text: &str) -> (Option<String>, Option<String>) {
    let (mut name, mut data): (Option<String>, Option<String>) = (None, None);
    for line in text.split(['\n', '\r']) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => name = Some(value.to_owned()),
            "data" => match &mut data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => data = Some(value.to_owned()),
            },
            _ => {}
        }
    }
    (name, data)
}

/// Writes an event.
pub fn event(bytes: &mut Vec<u8>, name: Option<&str>, body: &impl Serialize) {
    if let Some(name) = name {
        bytes.extend_from_slice(format!("event: {name}\n").as_bytes());
    }
    bytes.extend_from_slice(b"data: ");
    // Plain data with text keys: writing it to memory cannot fail.
    let _ = serde_json::to_writer(&mut *bytes, body);
    bytes.extend_from_slice(b"\n\n");
}

/// An event as bytes.
pub fn framed(name: Option<&str>, body: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    event(&mut bytes, name, body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        let text =
            "event: a\r\ndata: {\"x\":1}\r\n\r\n: ping\n\ndata:one\ndata: two\n\ndata: [DONE]\n\ndata: cut";
        let bytes = text.as_bytes();
        let mut expect: Option<Vec<Event>> = None;
        for step in [1, 2, 3, 7, bytes.len()] {
            let mut splitter = Splitter::default();
            let mut events = Vec::new();
            for part in bytes.chunks(step) {
                splitter.push(part);
                while let Some(event) = splitter.next().unwrap() {
                    events.push(event);
                }
            }
            assert!(splitter.is_open());
            let raw: Vec<u8> = events.iter().flat_map(|event| event.raw.to_vec()).collect();
            assert_eq!(raw, &bytes[..bytes.len() - "data: cut".len()]);
            let first = expect.get_or_insert_with(|| events.clone());
            assert_eq!(&events, first, "{step}");
        }
        let events = expect.unwrap();
        assert_eq!(events[0].name.as_deref(), Some("a"));
        let data: Vec<Option<&str>> = events.iter().map(|event| event.data.as_deref()).collect();
        assert_eq!(data, [Some("{\"x\":1}"), None, Some("one\ntwo"), Some("[DONE]")]);
    }

    #[test]
    fn an_event_without_an_end_is_not_kept_for_ever() {
        let mut splitter = Splitter::default();
        splitter.push(&vec![b'x'; EVENT_BYTES_MAX + 1]);
        assert!(splitter.next().is_err());
    }
}
