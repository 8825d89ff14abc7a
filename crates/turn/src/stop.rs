//! Stop strings: where a text ends that must not contain them.
//!
//! [`StopFilter`] lets through what can no longer become a stop string, keeps back the few bytes that still
//! might, and says when one is complete; what was kept back comes out at the end. Only what is said to the
//! user is looked at: a stop string in the reasoning or in a call's arguments stops nothing. It is here and
//! not in the engine because only here is there text.

use gptoss_harmony::{Channel, Delta, Logprob};

/// Looks for stop strings.
#[derive(Debug)]
pub struct StopFilter {
    stops: Vec<String>,
    /// Of what is kept back.
    channel: Channel,
    kept: String,
    /// Of the tokens that begin in what is kept.
    logprobs: Vec<Logprob>,
    /// The place of the one that was found, among `stops`.
    found: Option<usize>,
}

/// What is to be written, and whether a stop string was found behind it.
#[derive(Debug, PartialEq)]
pub struct Filtered {
    /// In order.
    pub deltas: Vec<Delta>,
    /// Whether nothing more is to be written.
    pub is_stopped: bool,
}

impl StopFilter {
    /// For these strings; an empty one stops nothing.
    pub fn new(mut stops: Vec<String>) -> StopFilter {
        stops.retain(|stop| !stop.is_empty());
        StopFilter { stops, channel: Channel::Final, kept: String::new(), logprobs: Vec::new(), found: None }
    }

    /// What may be written now that `delta` has come.
    pub fn push(&mut self, delta: Delta) -> Filtered {
        let (channel, text, logprobs) = match delta {
            Delta::Text { channel: channel @ (Channel::Commentary | Channel::Final), text, logprobs }
                if !self.stops.is_empty() =>
            {
                (channel, text, logprobs)
            }
            other => {
                let mut deltas = self.finish();
                deltas.push(other);
                return Filtered { deltas, is_stopped: false };
            }
        };
        let mut deltas = if channel == self.channel { Vec::new() } else { self.finish() };
        self.channel = channel;
        self.kept.push_str(&text);
        self.logprobs.extend(logprobs);
        let places = self.stops.iter().enumerate();
        let found = places.filter_map(|(index, stop)| Some((self.kept.find(stop.as_str())?, index))).min();
        let free = found.map_or_else(|| self.kept.len() - self.longest_beginning(), |(at, _)| at);
        self.found = found.map(|(_, index)| index);
        deltas.extend(self.release(free));
        Filtered { deltas, is_stopped: found.is_some() }
    }

    /// The stop string that was found: the first in the text, and of those at one place the first of the
    /// list.
    pub fn found(&self) -> Option<&str> {
        self.found.map(|index| self.stops[index].as_str())
    }

    /// What was kept back, when nothing follows.
    pub fn finish(&mut self) -> Vec<Delta> {
        self.release(self.kept.len()).into_iter().collect()
    }

    /// Bytes that are kept back: after a stop string was found, it and what stood behind it.
    pub fn withheld(&self) -> usize {
        self.kept.len()
    }

    /// Bytes at the end of what is kept that a stop string may begin with.
    fn longest_beginning(&self) -> usize {
        let beginning = |stop: &String| {
            let lengths = (1..stop.len()).rev().filter(|&length| stop.is_char_boundary(length));
            lengths.into_iter().find(|&length| self.kept.ends_with(&stop[..length])).unwrap_or(0)
        };
        self.stops.iter().map(beginning).max().unwrap_or(0)
    }

    fn release(&mut self, bytes: usize) -> Option<Delta> {
        if bytes == 0 {
            return None;
        }
        let kept = self.kept.split_off(bytes);
        let text = std::mem::replace(&mut self.kept, kept);
        let mut begun = 0;
        let is_released = |logprob: &Logprob| {
            let begins = begun;
            begun += logprob.bytes.len();
            begins < bytes
        };
        let count = self.logprobs.iter().map(is_released).take_while(|&released| released).count();
        let logprobs = self.logprobs.drain(..count).collect();
        Some(Delta::Text { channel: self.channel, text, logprobs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Delta {
        Delta::Text { channel: Channel::Final, text: text.to_owned(), logprobs: Vec::new() }
    }

    /// What comes out when `text` goes in cut at every byte, or at one place.
    fn filtered(stops: &[&str], parts: &[&str]) -> (String, bool) {
        let mut filter = StopFilter::new(stops.iter().map(|stop| (*stop).to_owned()).collect());
        let mut out = String::new();
        let mut write = |deltas: Vec<Delta>| {
            for delta in deltas {
                if let Delta::Text { text, .. } = delta {
                    out.push_str(&text);
                }
            }
        };
        for part in parts {
            let filtered = filter.push(answer(part));
            write(filtered.deltas);
            if filtered.is_stopped {
                return (out, true);
            }
        }
        write(filter.finish());
        (out, false)
    }

    #[test]
    fn the_same_text_comes_out_however_it_is_cut() {
        let check = |stops: &[&str], text: &str, expect: &str, stopped: bool| {
            for at in 0..=text.len() {
                assert_eq!(
                    filtered(stops, &[&text[..at], &text[at..]]),
                    (expect.to_owned(), stopped),
                    "{at}"
                );
            }
            let bytes: Vec<&str> = (0..text.len()).map(|at| &text[at..=at]).collect();
            assert_eq!(filtered(stops, &bytes), (expect.to_owned(), stopped));
        };
        check(&["END"], "one END two", "one ", true);
        check(&["END"], "one EN two", "one EN two", false);
        check(&["END"], "one EN", "one EN", false);
        check(&["aab"], "aaab", "a", true);
        check(&["xyz", "two"], "one two xyz", "one ", true);
        check(&[], "one", "one", false);
    }

    #[test]
    fn the_string_that_came_first_is_named() {
        let check = |stops: &[&str], text: &str, expect: Option<&str>| {
            let mut filter = StopFilter::new(stops.iter().map(|stop| (*stop).to_owned()).collect());
            filter.push(answer(text));
            assert_eq!(filter.found(), expect);
        };
        check(&["two", "one"], "one two", Some("one"));
        check(&["", "ab", "abc"], "abc", Some("ab"));
        check(&["abc", "ab"], "abc", Some("abc"));
        check(&["four"], "one two", None);
    }

    #[test]
    fn reasoning_and_arguments_are_not_looked_at() {
        let mut filter = StopFilter::new(vec!["E".into()]);
        let reasoning = Delta::Text { channel: Channel::Analysis, text: "E".into(), logprobs: Vec::new() };
        for delta in [reasoning, Delta::CallArguments { text: "E".into(), logprobs: Vec::new() }] {
            let out = filter.push(delta.clone());
            assert_eq!(out, Filtered { deltas: vec![delta], is_stopped: false });
        }
    }

    #[test]
    fn tokens_leave_with_their_text() {
        let token = |text: &str| Logprob { bytes: text.as_bytes().to_vec(), logprob: -1.0, top: Vec::new() };
        let mut filter = StopFilter::new(vec!["bc".into()]);
        let delta = |text: &str| Delta::Text {
            channel: Channel::Final,
            text: text.into(),
            logprobs: vec![token(text)],
        };
        let first = filter.push(delta("ab"));
        assert!(
            matches!(&first.deltas[..], [Delta::Text { text, logprobs, .. }] if text == "a" && logprobs.len() == 1)
        );
        assert_eq!(filter.push(delta("cd")), Filtered { deltas: Vec::new(), is_stopped: true });
    }
}
