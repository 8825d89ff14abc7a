//! Where does an answer end that must not contain certain strings?
//!
//! [`StopFilter`] stands between a turn and the machine that writes it. It lets through what can no longer become a stop string, keeps
//! back the few bytes that still might, and says when one is complete; what was kept back comes out at the end. Only what is said to the
//! user is looked at: a stop string in the reasoning or in a call's arguments stops nothing. It is here and not in the engine because
//! only here is there text.

use crate::piece::{Piece, Voice};
use crate::wire::chat::TokenLogprob;

/// Looks for stop strings.
#[derive(Debug)]
pub(crate) struct StopFilter {
    stops: Vec<String>,
    /// Whose text is kept back.
    voice: Voice,
    kept: String,
    /// Of the tokens that begin in what is kept.
    logprobs: Vec<TokenLogprob>,
}

/// What is to be written, and whether a stop string was found behind it.
#[derive(Debug, PartialEq)]
pub(crate) struct Filtered {
    /// In order.
    pub(crate) pieces: Vec<Piece>,
    /// Whether nothing more is to be written.
    pub(crate) is_stopped: bool,
}

impl StopFilter {
    /// For these strings, none of them empty.
    pub(crate) fn new(stops: Vec<String>) -> StopFilter {
        StopFilter { stops, voice: Voice::Answer, kept: String::new(), logprobs: Vec::new() }
    }

    /// What may be written now that `piece` has come.
    pub(crate) fn push(&mut self, piece: Piece) -> Filtered {
        let (voice, text, logprobs) = match piece {
            Piece::Text { voice: voice @ (Voice::Preamble | Voice::Answer), text, logprobs }
                if !self.stops.is_empty() =>
            {
                (voice, text, logprobs)
            }
            other => {
                let mut pieces = self.finish();
                pieces.push(other);
                return Filtered { pieces, is_stopped: false };
            }
        };
        let mut pieces = if voice == self.voice { Vec::new() } else { self.finish() };
        self.voice = voice;
        self.kept.push_str(&text);
        self.logprobs.extend(logprobs);
        let found = self.stops.iter().filter_map(|stop| self.kept.find(stop.as_str())).min();
        let free = found.unwrap_or_else(|| self.kept.len() - self.longest_beginning());
        pieces.extend(self.release(free));
        Filtered { pieces, is_stopped: found.is_some() }
    }

    /// What was kept back, when nothing follows.
    pub(crate) fn finish(&mut self) -> Vec<Piece> {
        self.release(self.kept.len()).into_iter().collect()
    }

    /// Bytes at the end of what is kept that a stop string may begin with.
    fn longest_beginning(&self) -> usize {
        let beginning = |stop: &String| {
            let lengths = (1..stop.len()).rev().filter(|&length| stop.is_char_boundary(length));
            lengths.into_iter().find(|&length| self.kept.ends_with(&stop[..length])).unwrap_or(0)
        };
        self.stops.iter().map(beginning).max().unwrap_or(0)
    }

    fn release(&mut self, bytes: usize) -> Option<Piece> {
        if bytes == 0 {
            return None;
        }
        let kept = self.kept.split_off(bytes);
        let text = std::mem::replace(&mut self.kept, kept);
        let mut begun = 0;
        let is_released = |logprob: &TokenLogprob| {
            let begins = begun;
            begun += logprob.bytes.as_ref().map_or(0, Vec::len);
            begins < bytes
        };
        let count = self.logprobs.iter().map(is_released).take_while(|&released| released).count();
        let logprobs = self.logprobs.drain(..count).collect();
        Some(Piece::Text { voice: self.voice, text, logprobs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Piece {
        Piece::Text { voice: Voice::Answer, text: text.to_owned(), logprobs: Vec::new() }
    }

    /// What comes out when `text` goes in cut at every byte, or at one place.
    fn filtered(stops: &[&str], parts: &[&str]) -> (String, bool) {
        let mut filter = StopFilter::new(stops.iter().map(|stop| (*stop).to_owned()).collect());
        let mut out = String::new();
        let mut write = |pieces: Vec<Piece>| {
            for piece in pieces {
                if let Piece::Text { text, .. } = piece {
                    out.push_str(&text);
                }
            }
        };
        for part in parts {
            let filtered = filter.push(answer(part));
            write(filtered.pieces);
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
    fn reasoning_and_arguments_are_not_looked_at() {
        let mut filter = StopFilter::new(vec!["E".into()]);
        let reasoning = Piece::Text { voice: Voice::Reasoning, text: "E".into(), logprobs: Vec::new() };
        for piece in [reasoning, Piece::CallArguments("E".into())] {
            let out = filter.push(piece.clone());
            assert_eq!(out, Filtered { pieces: vec![piece], is_stopped: false });
        }
    }

    #[test]
    fn tokens_leave_with_their_text() {
        let token = |text: &str| TokenLogprob {
            token: text.into(),
            logprob: -1.0,
            bytes: Some(text.as_bytes().to_vec()),
            top_logprobs: Vec::new(),
        };
        let mut filter = StopFilter::new(vec!["bc".into()]);
        let piece =
            |text: &str| Piece::Text { voice: Voice::Answer, text: text.into(), logprobs: vec![token(text)] };
        let first = filter.push(piece("ab"));
        assert!(
            matches!(&first.pieces[..], [Piece::Text { text, logprobs, .. }] if text == "a" && logprobs.len() == 1)
        );
        assert_eq!(filter.push(piece("cd")), Filtered { pieces: Vec::new(), is_stopped: true });
    }
}
