//! Lines of a page: text wrapped at 80 characters, as the model was trained to see it.
//!
//! Source: CPython 3.12 `Lib/textwrap.py`, with `replace_whitespace=False` and `drop_whitespace=False`: no
//! character is lost, tabs become spaces, words break at hyphens, long words at the edge.

use super::{
    characters::{is_letter, is_word},
    limits::LINE_CHARS,
};

/// Columns between the stops of tabs.
const TAB_COLUMNS: usize = 8;

/// The lines of a text; an empty line stays one.
pub(super) fn lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for line in text.split('\n') {
        if line.is_empty() {
            lines.push(String::new());
        } else {
            wrap_into(&mut lines, &expand_tabs(line));
        }
    }
    lines
}

fn expand_tabs(line: &str) -> Vec<char> {
    let mut expanded = Vec::with_capacity(line.len());
    let mut column = 0;
    for c in line.chars() {
        match c {
            '\t' => {
                let spaces = TAB_COLUMNS - column % TAB_COLUMNS;
                expanded.extend(std::iter::repeat_n(' ', spaces));
                column += spaces;
            }
            '\r' => {
                expanded.push(c);
                column = 0;
            }
            _ => {
                expanded.push(c);
                column += 1;
            }
        }
    }
    expanded
}

fn wrap_into(lines: &mut Vec<String>, text: &[char]) {
    let mut line = String::new();
    let mut length = 0;
    let mut start = 0;
    while start < text.len() {
        let mut chunk = &text[start..chunk_end(text, start)];
        start += chunk.len();
        while length + chunk.len() > LINE_CHARS {
            if chunk.len() > LINE_CHARS {
                let (head, tail) = chunk.split_at(break_of_long(chunk, LINE_CHARS - length));
                line.extend(head);
                chunk = tail;
            }
            lines.push(std::mem::take(&mut line));
            length = 0;
        }
        line.extend(chunk);
        length += chunk.len();
    }
    if length > 0 {
        lines.push(line);
    }
}

/// Where a chunk that fits on no line is cut: after its last hyphen in the room that is left, or at the edge.
fn break_of_long(chunk: &[char], room: usize) -> usize {
    match chunk[..room].iter().rposition(|&c| c == '-') {
        Some(hyphen) if chunk[..hyphen].iter().any(|&c| c != '-') => hyphen + 1,
        _ => room,
    }
}

/// The end of the chunk that starts at `start`, between which lines may break: white space, a dash between
/// words, or a word or the part of one up to a hyphen. Linear over a line, since hyphens are counted once.
fn chunk_end(text: &[char], start: usize) -> usize {
    let at = |i: usize| text.get(i).copied();
    let before = |i: usize, n: usize| i.checked_sub(n).and_then(at);
    let space = |c: Option<char>| c.is_some_and(is_break);
    let letter = |c: Option<char>| c.is_some_and(is_letter);
    // Two or more hyphens at `i` between a word's end and a word: how many.
    let dash = |i: usize| {
        if !before(i, 1).is_some_and(ends_word) || at(i) != Some('-') {
            return None;
        }
        let hyphens = text[i..].iter().take_while(|&&c| c == '-').count();
        (hyphens >= 2 && at(i + hyphens).is_some_and(is_word)).then_some(hyphens)
    };
    if space(at(start)) {
        return start + text[start..].iter().take_while(|&&c| is_break(c)).count();
    }
    if let Some(hyphens) = dash(start) {
        return start + hyphens;
    }
    for i in start + 1..text.len() {
        let hyphenated = at(i) == Some('-')
            && letter(before(i, 1))
            && (letter(before(i, 2)) || before(i, 2) == Some('-') && letter(before(i, 3)))
            && letter(at(i + 1))
            && (letter(at(i + 2)) || at(i + 2) == Some('-') && letter(at(i + 3)));
        if hyphenated {
            return i + 1;
        }
        if space(at(i)) || dash(i).is_some() {
            return i;
        }
    }
    text.len()
}

/// White space that lines break at: ASCII's, since some of Unicode's must not break.
fn is_break(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

/// A character that a word may end in before a dash.
fn ends_word(c: char) -> bool {
    is_word(c) || matches!(c, '!' | '"' | '\'' | '&' | '.' | ',' | '?')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(text: &str) -> Vec<String> {
        let text: Vec<char> = text.chars().collect();
        let mut chunks = Vec::new();
        let mut start = 0;
        while start < text.len() {
            let end = chunk_end(&text, start);
            chunks.push(text[start..end].iter().collect());
            start = end;
        }
        chunks
    }

    #[test]
    fn chunks_are_those_of_textwrap() {
        for (text, expected) in [
            (
                "Hello there -- you goof-ball, use the -b option!",
                "Hello| |there| |--| |you| |goof-|ball,| |use| |the| |-b| |option!",
            ),
            ("one--two ---three", "one|--|two| |---three"),
            ("a-b-c-d e-mail x-ray", "a-b-|c-d| |e-mail| |x-ray"),
            ("pre-2020 re-use-able", "pre-2020| |re-|use-|able"),
            ("", ""),
        ] {
            assert_eq!(chunks(text).join("|"), expected, "{text}");
        }
    }

    #[test]
    fn no_character_is_lost() {
        let text = format!("{} {}-{} \u{a0}é\tend", "word ".repeat(40), "x".repeat(120), "y".repeat(70));
        let lines = lines(&text);
        assert!(lines.iter().all(|line| line.chars().count() <= LINE_CHARS));
        assert_eq!(lines.concat().replace(' ', ""), text.replace([' ', '\t'], ""));
    }
}
