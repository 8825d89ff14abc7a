//! Classes of characters as Python's `re` has them, by which the reference wraps and cleans text, and the
//! characters that are replaced because a display gives them a meaning.

use icu_properties::{CodePointMapData, props::GeneralCategory};

/// `\w`: letters, numbers and the underscore. Marks, such as the vowel signs of Devanagari, are not.
pub(super) fn is_word(c: char) -> bool {
    use GeneralCategory as G;
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    matches!(
        CodePointMapData::<GeneralCategory>::new().get(c),
        G::UppercaseLetter
            | G::LowercaseLetter
            | G::TitlecaseLetter
            | G::ModifierLetter
            | G::OtherLetter
            | G::DecimalNumber
            | G::LetterNumber
            | G::OtherNumber
    )
}

/// `[^\d\W]`: a word's character that is not a decimal digit.
pub(super) fn is_letter(c: char) -> bool {
    is_word(c) && !is_digit(c)
}

/// `\d`: a decimal digit of any script.
pub(super) fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
        || !c.is_ascii()
            && CodePointMapData::<GeneralCategory>::new().get(c) == GeneralCategory::DecimalNumber
}

/// `\s`: Unicode's white space, and the four separators of ASCII that Unicode leaves out.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// The text without the brackets of links, so that no page can write one.
pub(super) fn without_marks(text: &str) -> String {
    let replaced = |c| match c {
        '【' => Some('〖'),
        '】' => Some('〗'),
        '◼' => Some('◾'),
        '\u{200b}' => None,
        other => Some(other),
    };
    text.chars().filter_map(replaced).collect()
}

/// The text of a page of the web without pictographs and their like: they were left out when the models
/// learned to read such pages.
pub(super) fn without_pictographs(text: &str) -> String {
    text.chars().filter(|c| !('\u{10000}'..='\u{1ffff}').contains(c)).collect()
}

/// White space merged to single spaces.
pub(super) fn merge_space(text: &str) -> String {
    let mut merged = String::with_capacity(text.len());
    let mut spaced = false;
    for c in text.chars() {
        let space = is_space(c);
        if !space || !spaced {
            merged.push(if space { ' ' } else { c });
        }
        spaced = space;
    }
    merged
}

/// The text, cut to `max` characters, of which the last three are dots.
pub(super) fn truncated(text: &str, max: usize) -> String {
    if text.chars().nth(max).is_none() {
        return text.to_owned();
    }
    text.chars().take(max - 3).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_letters_and_space_are_pythons() {
        for (c, word, letter, space) in [
            ('a', true, true, false),
            ('_', true, true, false),
            ('7', true, false, false),
            ('٣', true, false, false),
            ('²', true, true, false),
            ('Ⅷ', true, true, false),
            ('é', true, true, false),
            ('語', true, true, false),
            ('\u{93f}', false, false, false),
            ('Ⓐ', false, false, false),
            ('-', false, false, false),
            ('\u{a0}', false, false, true),
            ('\u{1c}', false, false, true),
            ('\u{200b}', false, false, false),
        ] {
            assert_eq!((is_word(c), is_letter(c), is_space(c)), (word, letter, space), "{c:?}");
        }
    }

    #[test]
    fn long_text_ends_in_dots() {
        assert_eq!(truncated("éééééé", 6), "éééééé");
        assert_eq!(truncated("ééééééé", 6), "ééé...");
    }
}
