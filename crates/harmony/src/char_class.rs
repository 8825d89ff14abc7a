//! Which of the kinds of character that the o200k split rule knows is this one?
//!
//! [`CharClasses::of`] is one array read. The table is filled once per process from the Unicode tables of
//! `regex-syntax`, the same that the regex engine of the published tokeniser uses, so the classes agree with
//! it down to the Unicode version.

use std::sync::OnceLock;

/// The classes that the seven alternatives of the split rule distinguish; each character is in exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum CharClass {
    /// Everything else: punctuation, symbols, control characters, unassigned.
    Other,
    /// `Lu` or `Lt`.
    Upper,
    /// `Ll`.
    Lower,
    /// `Lm` or `Lo`: counts as upper and as lower.
    OtherLetter,
    /// `M`: counts as upper, as lower and as punctuation.
    Mark,
    /// `N`.
    Number,
    /// White space other than the two below.
    Space,
    /// `\r` or `\n`.
    Newline,
}

impl CharClass {
    /// May stand in the leading, upper-case part of a word.
    pub(crate) fn is_upper_part(self) -> bool {
        matches!(self, Self::Upper | Self::OtherLetter | Self::Mark)
    }

    /// May stand in the trailing, lower-case part of a word.
    pub(crate) fn is_lower_part(self) -> bool {
        matches!(self, Self::Lower | Self::OtherLetter | Self::Mark)
    }

    /// May stand once before a word: anything but a letter, a number or a line end.
    pub(crate) fn is_word_prefix(self) -> bool {
        matches!(self, Self::Other | Self::Mark | Self::Space)
    }

    /// Neither white space nor letter nor number.
    pub(crate) fn is_symbol(self) -> bool {
        matches!(self, Self::Other | Self::Mark)
    }

    /// White space, line ends included.
    pub(crate) fn is_white(self) -> bool {
        matches!(self, Self::Space | Self::Newline)
    }
}

/// The table: one class per code point.
pub(crate) struct CharClasses {
    classes: Vec<CharClass>,
}

impl CharClasses {
    /// The table of this process, built at the first call (about a millisecond).
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<CharClasses> = OnceLock::new();
        SHARED.get_or_init(Self::build)
    }

    /// The class of one character.
    pub(crate) fn of(&self, character: char) -> CharClass {
        self.classes[character as usize]
    }

    fn build() -> Self {
        let mut classes = vec![CharClass::Other; char::MAX as usize + 1];
        for (pattern, class) in [
            (r"[\p{Lu}\p{Lt}]", CharClass::Upper),
            (r"\p{Ll}", CharClass::Lower),
            (r"[\p{Lm}\p{Lo}]", CharClass::OtherLetter),
            (r"\p{M}", CharClass::Mark),
            (r"\p{N}", CharClass::Number),
            (r"\s", CharClass::Space),
            (r"[\r\n]", CharClass::Newline),
        ] {
            let hir = regex_syntax::parse(pattern).expect("the class patterns are constants and valid");
            let regex_syntax::hir::HirKind::Class(regex_syntax::hir::Class::Unicode(ranges)) = hir.kind()
            else {
                unreachable!("a class pattern parses to a Unicode class");
            };
            for range in ranges.ranges() {
                classes[range.start() as usize..=range.end() as usize].fill(class);
            }
        }
        Self { classes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_each() {
        let classes = CharClasses::shared();
        for (character, expected) in [
            ('A', CharClass::Upper),
            ('ǅ', CharClass::Upper),
            ('a', CharClass::Lower),
            ('你', CharClass::OtherLetter),
            ('ʰ', CharClass::OtherLetter),
            ('\u{301}', CharClass::Mark),
            ('٣', CharClass::Number),
            ('½', CharClass::Number),
            (' ', CharClass::Space),
            ('\u{85}', CharClass::Space),
            ('\u{3000}', CharClass::Space),
            ('\n', CharClass::Newline),
            ('🙂', CharClass::Other),
            ('\u{10ffff}', CharClass::Other),
        ] {
            assert_eq!(classes.of(character), expected, "{character:?}");
        }
    }
}
