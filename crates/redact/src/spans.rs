//! From classes of tokens to places in the text.
//!
//! Entry point: [`spans_of`]. A span of tokens is the bytes of its tokens, widened to whole characters where
//! a token ends inside of one, without the white space at its ends. Where two spans would share a character,
//! the first one has it.

use std::ops::Range;
use std::sync::Arc;

use crate::labels::{Class, LabelSpace, Tag};

/// A place in a text with personal data.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// What kind of data: `private_person` and the like.
    pub label: Arc<str>,
    /// Where, on boundaries of characters, never empty. Units: bytes.
    pub bytes: Range<usize>,
    /// The mean of what the model gave to the classes of its tokens, from 0 to 1.
    pub score: f32,
}

/// The spans of a text in order, none over another.
///
/// Shapes: `classes [T]`, a path of whole spans; `scores [T]`; `ends [T]`: where each token's bytes end.
pub(crate) fn spans_of(
    text: &str,
    space: &LabelSpace,
    classes: &[usize],
    scores: &[f32],
    ends: &[usize],
) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut first = 0;
    for (index, &class) in classes.iter().enumerate() {
        let Class::In { tag, kind } = space.classes[class] else { continue };
        if matches!(tag, Tag::Begin | Tag::Single) {
            first = index;
        }
        if matches!(tag, Tag::End | Tag::Single) {
            let before = spans.last().map_or(0, |span| span.bytes.end);
            let start = if first == 0 { 0 } else { ends[first - 1] };
            let Some(bytes) = trimmed(text, start..ends[index], before) else { continue };
            let scores = &scores[first..=index];
            let score = scores.iter().sum::<f32>() / scores.len() as f32;
            spans.push(Span { label: Arc::clone(&space.kinds[kind]), bytes, score });
        }
    }
    spans
}

/// Whole characters from `before` on, without white space around; none if nothing is left.
fn trimmed(text: &str, bytes: Range<usize>, before: usize) -> Option<Range<usize>> {
    let start = text.floor_char_boundary(bytes.start).max(before);
    let end = text.ceil_char_boundary(bytes.end);
    let inside = text.get(start..end)?;
    let from_left = inside.trim_start_matches(is_space);
    let start = end - from_left.len();
    let end = start + from_left.trim_end_matches(is_space).len();
    (start < end).then_some(start..end)
}

/// White space as the reference's language has it: Unicode's, and four separators of ASCII.
fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> LabelSpace {
        let names = ["O", "B-x", "I-x", "E-x", "S-x", "B-y", "I-y", "E-y", "S-y"];
        LabelSpace::new(&names.map(str::to_owned)).unwrap()
    }

    /// Tokens are pieces of the text's bytes, each with its class.
    fn check(tokens: &[(&[u8], usize)], expected: &[(&str, &str)]) {
        let bytes: Vec<u8> = tokens.iter().flat_map(|(bytes, _)| bytes.iter().copied()).collect();
        let text = String::from_utf8(bytes).unwrap();
        let classes: Vec<usize> = tokens.iter().map(|&(_, class)| class).collect();
        let lengths = tokens.iter().map(|(bytes, _)| bytes.len());
        let ends: Vec<usize> = lengths
            .scan(0, |end, len| {
                Some({
                    *end += len;
                    *end
                })
            })
            .collect();
        let spans = spans_of(&text, &space(), &classes, &vec![0.5; classes.len()], &ends);
        let found: Vec<(&str, &str)> =
            spans.iter().map(|span| (&*span.label, &text[span.bytes.clone()])).collect();
        assert_eq!(found, expected, "{text:?}");
        assert!(spans.is_sorted_by(|a, b| a.bytes.end <= b.bytes.start));
    }

    #[test]
    fn spans_are_whole_characters_without_space_around() {
        check(&[(b"I am", 0), (b" Ann", 1), (b" Lee", 3), (b".", 0)], &[("x", "Ann Lee")]);
        check(&[(b" Ann", 4), (b" Bo", 4), (b" c", 8)], &[("x", "Ann"), ("x", "Bo"), ("y", "c")]);
        check(&[(b" \n", 4), (b"\x1f ", 8), ("\u{3000}".as_bytes(), 4)], &[]);
        // The name's last letter ends in the token after it, and that is another span: the first one has it.
        check(&[(b"Zo\xc3", 4), (b"\xab!", 8)], &[("x", "Zoë"), ("y", "!")]);
        check(&[(b"Zo\xc3", 4), (b"\xab", 8), (b"!", 0)], &[("x", "Zoë")]);
        check(&[(b"\xf0\x9f", 0), (b"\x98\x80", 4)], &[("x", "😀")]);
        check(&[], &[]);
    }

    #[test]
    fn the_score_is_the_mean_of_its_tokens() {
        let spans = spans_of("abc", &space(), &[0, 1, 3], &[0.1, 0.5, 1.0], &[1, 2, 3]);
        assert_eq!(spans, [Span { label: "x".into(), bytes: 1..3, score: 0.75 }]);
    }
}
