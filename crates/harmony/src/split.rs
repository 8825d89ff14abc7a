//! Where does the o200k tokeniser cut a text before it merges bytes?
//!
//! [`Pieces`] walks the text and yields the pieces that the published regular expression ([`O200K_SPLIT`])
//! would match. The expression needs look-ahead and backtracking, so it is written out by hand: each of the
//! seven alternatives is one function that scans a run once. No character is scanned more than a small
//! constant number of times, whatever the text, because each backtracking step of the expression ends at a
//! place that the scan remembers ("the last character that may also end the word").

use crate::char_class::{CharClass, CharClasses};

/// The published expression, as `tokenizer.json` files carry it. It is compared, never run.
pub const O200K_SPLIT: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);

/// Iterator over the pieces of a text; their concatenation is the text.
pub(crate) struct Pieces<'a> {
    text: &'a str,
    position: usize,
    classes: &'static CharClasses,
}

impl<'a> Pieces<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, position: 0, classes: CharClasses::shared() }
    }

    /// The class of the character at byte `at` and the byte after it; `None` at the end of the text.
    fn look(&self, at: usize) -> Option<(CharClass, usize)> {
        let character = self.text[at..].chars().next()?;
        Some((self.classes.of(character), at + character.len_utf8()))
    }

    /// The end of the run of characters from `at` on that satisfy `belongs`.
    fn run(&self, at: usize, belongs: impl Fn(CharClass) -> bool) -> usize {
        let mut end = at;
        while let Some((class, next)) = self.look(end) {
            if !belongs(class) {
                break;
            }
            end = next;
        }
        end
    }

    /// Alternatives 1 and 2: a word with at most one character before it and a contraction after it.
    fn word(&self, at: usize, first: CharClass, after_first: usize) -> Option<usize> {
        let starts = [first.is_word_prefix().then_some(after_first), Some(at)];
        let lower = starts.iter().flatten().find_map(|&start| self.word_with_lower_part(start));
        let end = lower.or_else(|| starts.iter().flatten().find_map(|&start| self.word_of_upper_part(start)));
        end.map(|end| end + self.contraction(end))
    }

    /// `[upper]*[lower]+`: the upper part gives back characters until the lower part has one.
    fn word_with_lower_part(&self, start: usize) -> Option<usize> {
        let mut end = start;
        let mut last_both = None;
        while let Some((class, next)) = self.look(end) {
            if !class.is_upper_part() {
                if class.is_lower_part() {
                    return Some(self.run(next, CharClass::is_lower_part));
                }
                break;
            }
            end = next;
            if class.is_lower_part() {
                last_both = Some(next);
            }
        }
        last_both
    }

    /// `[upper]+[lower]*`.
    fn word_of_upper_part(&self, start: usize) -> Option<usize> {
        let end = self.run(start, CharClass::is_upper_part);
        (end > start).then(|| self.run(end, CharClass::is_lower_part))
    }

    /// Bytes of `'s 't 're 've 'm 'll 'd` at `at`, in any case; `ſ` is an `s` to a case-insensitive
    /// expression.
    fn contraction(&self, at: usize) -> usize {
        let mut characters = self.text[at..].chars();
        if characters.next() != Some('\'') {
            return 0;
        }
        let first = characters.next();
        let second = characters.next().map(|c| c.to_ascii_lowercase());
        match first.map(|c| c.to_ascii_lowercase()) {
            Some('s' | 't' | 'm' | 'd') => 2,
            Some('ſ') => 3,
            Some('r' | 'v') if second == Some('e') => 3,
            Some('l') if second == Some('l') => 3,
            _ => 0,
        }
    }

    /// Alternative 3: up to three numbers.
    fn number(&self, at: usize) -> usize {
        let mut end = at;
        for _ in 0..3 {
            match self.look(end) {
                Some((CharClass::Number, next)) => end = next,
                _ => break,
            }
        }
        end
    }

    /// Alternative 4: symbols after at most one space, then line ends and slashes.
    fn symbols(&self, at: usize) -> Option<usize> {
        let start = at + usize::from(self.text.as_bytes()[at] == b' ');
        let end = self.run(start, CharClass::is_symbol);
        let tail =
            self.text.as_bytes()[end..].iter().take_while(|b| matches!(b, b'\r' | b'\n' | b'/')).count();
        (end > start).then_some(end + tail)
    }

    /// Alternatives 5 to 7: white space up to its last line end; else all of it at the end of the text; else
    /// all but its last character, which belongs to what follows; else that one character.
    fn white_space(&self, at: usize) -> usize {
        let (mut end, mut before_last, mut after_newline) = (at, at, None);
        while let Some((class, next)) = self.look(end) {
            if !class.is_white() {
                break;
            }
            before_last = end;
            end = next;
            if class == CharClass::Newline {
                after_newline = Some(next);
            }
        }
        match after_newline {
            Some(after_newline) => after_newline,
            None if end == self.text.len() || before_last == at => end,
            None => before_last,
        }
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let at = self.position;
        let (class, after) = self.look(at)?;
        let end = self.word(at, class, after).unwrap_or_else(|| match class {
            CharClass::Number => self.number(at),
            _ => self.symbols(at).unwrap_or_else(|| self.white_space(at)),
        });
        self.position = end;
        Some(&self.text[at..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(Pieces::new(text).collect::<Vec<_>>(), expected, "{text:?}");
    }

    #[test]
    fn each_alternative() {
        check("Hello world", &["Hello", " world"]);
        check("CamelCase HTTPServer", &["Camel", "Case", " HTTPServer"]);
        check("don't WE'LL I'ſ x'r", &["don't", " WE'LL", " I'ſ", " x", "'r"]);
        check("1234567", &["123", "456", "7"]);
        check("a  b   \n  c ", &["a", " ", " b", "   \n", " ", " c", " "]);
        check("x ->/\n/\ny", &["x", " ->/\n/\n", "y"]);
        check("  \u{3000}1", &["  ", "\u{3000}", "1"]);
        check("ABCっDEF", &["ABCっ", "DEF"]);
        check("\u{301}\u{301}A\u{301}B", &["\u{301}\u{301}A\u{301}", "B"]);
        check("!\u{301}", &["!\u{301}"]);
        check("", &[]);
    }
}
