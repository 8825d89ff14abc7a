//! Regular expressions that mean what they mean in Python's `re`.
//!
//! **Source**: there `\w` is what `str.isalnum` holds, and `_`: letters and numbers of every kind, such as
//! `²`, without the marks that Unicode's word characters have. `\b` follows it.

use fancy_regex::{Regex, RegexBuilder};

/// A character of a word.
const WORD: &str = r"[\p{L}\p{N}_]";
/// Steps that a search with look-around may go back, after which it is given up.
const BACKTRACK_MAX: usize = 10_000_000;

/// A pattern of ours, in which `<b` stands for the edge before a word and `b>` for the one after it.
///
/// **Panics**: it is malformed; each is compiled by a test.
pub fn fixed(pattern: &str) -> Regex {
    let pattern = pattern.replace("<b", &format!("(?<!{WORD})")).replace("b>", &format!("(?!{WORD})"));
    compile(&pattern).expect("a pattern that a test compiles")
}

/// A pattern of a user.
///
/// Errors: it is malformed.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern).backtrack_limit(BACKTRACK_MAX).build().map_err(|error| error.to_string())
}

/// The text of a group, or of the whole match where it is 0; a search that is given up has found nothing.
pub fn first_group<'t>(pattern: &Regex, text: &'t str, group: usize) -> Option<&'t str> {
    Some(pattern.captures(text).ok()??.get(group)?.as_str())
}

/// The text of a group in the last match.
pub fn last_group<'t>(pattern: &Regex, text: &'t str, group: usize) -> Option<&'t str> {
    pattern
        .captures_iter(text)
        .map_while(Result::ok)
        .filter_map(|found| found.get(group))
        .last()
        .map(|m| m.as_str())
}

/// Whether Python takes a character for one of a word.
pub fn is_word(c: char) -> bool {
    use std::sync::LazyLock;
    static WIDE: LazyLock<Regex> = LazyLock::new(|| compile(WORD).expect("a pattern that a test compiles"));
    match c {
        '\0'..='\x7f' => c.is_ascii_alphanumeric() || c == '_',
        _ => WIDE.is_match(c.encode_utf8(&mut [0; 4])).unwrap_or(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_what_python_says() {
        for (c, expected) in
            [('a', true), ('_', true), ('²', true), ('₀', true), ('é', true), ('\u{301}', false)]
        {
            assert_eq!(is_word(c), expected, "{c:?}");
        }
        let alone = fixed(r"<b[A-J]b>");
        assert_eq!(first_group(&alone, "I² and B", 0), Some("B"));
        assert_eq!(last_group(&alone, "A B C² D", 0), Some("D"));
    }
}
