//! Tokens into text, told at places from which another worker can go on.
//!
//! [`Speech`] takes a token after another and gives those that may be told, with their text. A token is kept
//! back while the character that it ends in is not whole, or while the text from some byte of it on may
//! become a stop string. So what was told is whole, and a worker that is given the tokens that were told
//! finds every character and every stop string that is still to come.

use std::collections::VecDeque;
use std::sync::Arc;

use gptoss_harmony::{Token as VocabToken, Vocab};

/// How tokens are told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SpeechOptions {
    /// Strings that end the text; none is empty.
    pub(crate) stops: Vec<String>,
    /// Whether the text holds the stop string, or the stop token, that ended it.
    pub(crate) includes_stop: bool,
    /// Whether control tokens have no text.
    pub(crate) skips_control: bool,
    /// Tokens before which no stop string is looked for.
    pub(crate) min_tokens: usize,
}

/// The text of one answer.
pub(crate) struct Speech<T> {
    vocab: Arc<Vocab>,
    options: SpeechOptions,
    num_tokens: usize,
    /// Tokens that were not told, each with the bytes of its text.
    kept: VecDeque<(T, usize)>,
    /// The bytes of all of them.
    bytes: Vec<u8>,
    /// Bytes at the front in which no stop string is looked for.
    blind: usize,
}

/// What may be told.
#[derive(Debug, PartialEq)]
pub(crate) struct Told<T> {
    pub(crate) tokens: Vec<T>,
    pub(crate) text: String,
    /// The stop string that ends the text, after which nothing follows.
    pub(crate) stop: Option<String>,
}

impl<T> Speech<T> {
    pub(crate) fn new(vocab: Arc<Vocab>, options: SpeechOptions) -> Speech<T> {
        Speech { vocab, options, num_tokens: 0, kept: VecDeque::new(), bytes: Vec::new(), blind: 0 }
    }

    /// Takes the next token, which is `is_stop` when it ends the answer.
    pub(crate) fn push(&mut self, id: u32, is_stop: bool, token: T) -> Told<T> {
        let before = self.bytes.len();
        if !is_stop || self.options.includes_stop {
            match self.vocab.token(id) {
                Some(VocabToken::Text(text)) => self.bytes.extend_from_slice(self.vocab.bytes(text)),
                Some(VocabToken::Control(control)) if !self.options.skips_control => {
                    self.bytes.extend_from_slice(control.literal().as_bytes());
                }
                Some(VocabToken::Control(_)) | None => {}
            }
        }
        self.kept.push_back((token, self.bytes.len() - before));
        self.num_tokens += 1;
        if self.num_tokens <= self.options.min_tokens {
            self.blind = self.bytes.len();
        } else if let Some((at, stop)) = self.found() {
            let end = if self.options.includes_stop { at + stop.len() } else { at };
            self.bytes.truncate(end);
            return Told { stop: Some(stop), ..self.finish() };
        }
        self.tell()
    }

    /// What was kept back, when nothing follows.
    pub(crate) fn finish(&mut self) -> Told<T> {
        let tokens = self.kept.drain(..).map(|(token, _)| token).collect();
        let text = String::from_utf8_lossy(&std::mem::take(&mut self.bytes)).into_owned();
        Told { tokens, text, stop: None }
    }

    /// The first stop string in what is kept, the first of the list among those at one place.
    fn found(&self) -> Option<(usize, String)> {
        let looked = &self.bytes[self.blind..];
        let each = self.options.stops.iter().enumerate();
        let places = each.filter_map(|(index, stop)| Some((position(looked, stop.as_bytes())?, index)));
        places.min().map(|(at, index)| (self.blind + at, self.options.stops[index].clone()))
    }

    /// The bytes from which on a stop string may have begun.
    fn may_begin(&self) -> usize {
        let looked = &self.bytes[self.blind..];
        let longest = |stop: &String| {
            let stop = stop.as_bytes();
            (1..stop.len().min(looked.len() + 1)).rev().find(|&length| looked.ends_with(&stop[..length]))
        };
        self.bytes.len() - self.options.stops.iter().filter_map(longest).max().unwrap_or(0)
    }

    fn tell(&mut self) -> Told<T> {
        let free = self.may_begin();
        let (mut end, mut count, mut bytes) = (0, 0, 0);
        for (index, (_, length)) in self.kept.iter().enumerate() {
            end += length;
            if end > free {
                break;
            }
            if !ends_in_a_part(&self.bytes[..end]) {
                (count, bytes) = (index + 1, end);
            }
        }
        let tokens = self.kept.drain(..count).map(|(token, _)| token).collect();
        let rest = self.bytes.split_off(bytes);
        let told = std::mem::replace(&mut self.bytes, rest);
        self.blind = self.blind.saturating_sub(bytes);
        Told { tokens, text: String::from_utf8_lossy(&told).into_owned(), stop: None }
    }
}

fn position(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word)
}

/// Whether more bytes could make the last ones a character.
fn ends_in_a_part(bytes: &[u8]) -> bool {
    let last = bytes.utf8_chunks().last();
    last.is_some_and(|chunk| {
        std::str::from_utf8(chunk.invalid()).is_err_and(|error| error.error_len().is_none())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocab() -> Arc<Vocab> {
        Vocab::o200k_harmony()
    }

    /// One token a byte.
    fn bytes_of(vocab: &Vocab, text: &[u8]) -> Vec<u32> {
        let id = |byte: u8| {
            (0..256).find(|&id| match vocab.token(id) {
                Some(VocabToken::Text(text)) => vocab.bytes(text) == [byte],
                _ => false,
            })
        };
        text.iter().map(|&byte| id(byte).expect("every byte is a token")).collect()
    }

    fn options(stops: &[&str]) -> SpeechOptions {
        SpeechOptions { stops: stops.iter().map(|&stop| stop.to_owned()).collect(), ..Default::default() }
    }

    /// All that is told, each time something is.
    fn told(text: &[u8], options: SpeechOptions) -> Vec<(usize, String, Option<String>)> {
        let vocab = vocab();
        let mut speech = Speech::new(Arc::clone(&vocab), options);
        let mut all = Vec::new();
        for id in bytes_of(&vocab, text) {
            let Told { tokens, text, stop } = speech.push(id, false, ());
            let is_over = stop.is_some();
            if is_over || !tokens.is_empty() {
                all.push((tokens.len(), text, stop));
            }
            if is_over {
                return all;
            }
        }
        let Told { tokens, text, stop } = speech.finish();
        if !tokens.is_empty() {
            all.push((tokens.len(), text, stop));
        }
        all
    }

    #[test]
    fn tokens_are_told_with_whole_characters() {
        let one = |count: usize, text: &str| (count, text.to_owned(), None);
        assert_eq!(told("aé😀".as_bytes(), options(&[])), [one(1, "a"), one(2, "é"), one(4, "😀")]);
        assert_eq!(told(b"a\xF0\x9Fb", options(&[])), [one(1, "a"), one(3, "\u{FFFD}b")]);
        assert_eq!(told(b"\xFFa\xC3", options(&[])), [one(1, "\u{FFFD}"), one(1, "a"), one(1, "\u{FFFD}")]);
    }

    #[test]
    fn what_may_become_a_stop_string_is_kept() {
        let one = |count: usize, text: &str| (count, text.to_owned(), None);
        let end = |count: usize, text: &str, stop: &str| (count, text.to_owned(), Some(stop.to_owned()));
        assert_eq!(told(b"aENDb", options(&["END"])), [one(1, "a"), end(3, "", "END")]);
        assert_eq!(told(b"aENb", options(&["END"])), [one(1, "a"), one(3, "ENb")]);
        assert_eq!(told(b"EENDb", options(&["END"])), [one(1, "E"), end(3, "", "END")]);
        assert_eq!(told(b"xEN", options(&["END"])), [one(1, "x"), one(2, "EN")]);
        let including = SpeechOptions { includes_stop: true, ..options(&["END"]) };
        assert_eq!(told(b"aENDb", including), [one(1, "a"), end(3, "END", "END")]);
        let late = SpeechOptions { min_tokens: 3, ..options(&["b"]) };
        assert_eq!(told(b"abab", late), [one(1, "a"), one(1, "b"), one(1, "a"), end(1, "", "b")]);
    }

    /// Wherever an answer is cut, the worker that goes on says the rest.
    #[test]
    fn an_answer_can_be_cut_anywhere() {
        let vocab = vocab();
        for (text, stops) in
            [("añ😀 stoSTOP", ["STOP"].as_slice()), ("x<|en|<|end|>y", &["<|end|>"]), ("plain 日本", &[])]
        {
            let ids = bytes_of(&vocab, text.as_bytes());
            let whole: String =
                told(text.as_bytes(), options(stops)).into_iter().map(|told| told.1).collect();
            for cut in 0..ids.len() {
                let mut first = Speech::new(Arc::clone(&vocab), options(stops));
                let (mut said, mut num_told, mut is_over) = (String::new(), 0, false);
                for &id in &ids[..cut] {
                    let told = first.push(id, false, ());
                    said += &told.text;
                    num_told += told.tokens.len();
                    is_over |= told.stop.is_some();
                    if is_over {
                        break;
                    }
                }
                if !is_over {
                    let rest = told(&text.as_bytes()[num_told..], options(stops));
                    said.extend(rest.into_iter().map(|told| told.1));
                }
                assert_eq!(said, whole, "{text:?} cut after {cut}");
            }
        }
    }

    #[test]
    fn control_tokens_have_text_when_it_is_asked_for() {
        let vocab = vocab();
        let id = vocab.control(gptoss_harmony::Control::Message);
        let text = |skips_control, includes_stop, is_stop| {
            let options = SpeechOptions { skips_control, includes_stop, ..Default::default() };
            Speech::new(Arc::clone(&vocab), options).push(id, is_stop, ()).text
        };
        assert_eq!(text(true, false, false), "");
        assert_eq!(text(false, false, false), "<|message|>");
        assert_eq!(text(false, false, true), "");
        assert_eq!(text(false, true, true), "<|message|>");
    }
}
