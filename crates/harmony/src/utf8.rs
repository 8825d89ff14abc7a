//! Which whole characters can be shown, when tokens cut characters apart?
//!
//! [`Utf8Carry`] takes bytes in any portions and gives text as soon as it is decided; what it gives in all is
//! what `String::from_utf8_lossy` gives for all bytes together, however they were portioned. At most three
//! bytes wait.

use std::str;

/// Bytes of a character whose rest has not come yet.
#[derive(Debug, Default)]
pub(crate) struct Utf8Carry {
    waiting: Vec<u8>,
}

impl Utf8Carry {
    /// Takes bytes, appends the text that is now decided.
    pub(crate) fn push(&mut self, bytes: &[u8], out: &mut String) {
        self.waiting.extend_from_slice(bytes);
        let mut decided = 0;
        for chunk in self.waiting.utf8_chunks() {
            out.push_str(chunk.valid());
            decided += chunk.valid().len();
            let invalid = chunk.invalid();
            let is_last = decided + invalid.len() == self.waiting.len();
            if is_last && is_incomplete(invalid) {
                break;
            }
            if !invalid.is_empty() {
                out.push(char::REPLACEMENT_CHARACTER);
                decided += invalid.len();
            }
        }
        self.waiting.drain(..decided);
    }

    /// The end of the bytes: a character that never became whole is one replacement character.
    pub(crate) fn finish(&mut self, out: &mut String) {
        if !self.waiting.is_empty() {
            self.waiting.clear();
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

/// Whether more bytes could make these a character.
fn is_incomplete(bytes: &[u8]) -> bool {
    str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn in_portions(bytes: &[u8], lengths: &[usize]) -> String {
        let (mut carry, mut out, mut rest) = (Utf8Carry::default(), String::new(), bytes);
        for &length in lengths {
            let (portion, after) = rest.split_at(length.min(rest.len()));
            carry.push(portion, &mut out);
            rest = after;
        }
        carry.push(rest, &mut out);
        carry.finish(&mut out);
        out
    }

    proptest! {
        #[test]
        fn any_portions_give_the_lossy_text(bytes in prop::collection::vec(any::<u8>(), 0..40), lengths in prop::collection::vec(0usize..4, 0..40)) {
            prop_assert_eq!(in_portions(&bytes, &lengths), String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn cut_characters(text in "[a-zé你🙂\u{10ffff}]{0,12}", cut in 0usize..40, lengths in prop::collection::vec(0usize..3, 0..40)) {
            let bytes = &text.as_bytes()[cut.min(text.len())..];
            prop_assert_eq!(in_portions(bytes, &lengths), String::from_utf8_lossy(bytes));
        }
    }
}
