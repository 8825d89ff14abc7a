//! The states of UTF-8 between bytes, and the bytes that keep a text valid.
//!
//! [`Utf8`] is the state between two tokens of a text: at a border of characters, or inside one. Eight states
//! suffice, because only the first byte after a lead byte has a range of its own (no overlong forms, no
//! surrogates, nothing beyond U+10FFFF). A table of tokens per state makes free text a look-up: see
//! [`crate::TokenTable`].
//!
//! Source: the Unicode Standard, table 3-7, well-formed UTF-8 byte sequences.

/// Where in a character a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Utf8 {
    /// Between characters.
    #[default]
    Border,
    /// One more byte.
    Tail1,
    /// Two more bytes.
    Tail2,
    /// Three more bytes.
    Tail3,
    /// Two more bytes after E0.
    AfterE0,
    /// Two more bytes after ED.
    AfterEd,
    /// Three more bytes after F0.
    AfterF0,
    /// Three more bytes after F4.
    AfterF4,
}

impl Utf8 {
    /// All states, [`Utf8::Border`] first; `state as usize` is its index.
    pub(crate) const ALL: [Self; 8] = [
        Self::Border,
        Self::Tail1,
        Self::Tail2,
        Self::Tail3,
        Self::AfterE0,
        Self::AfterEd,
        Self::AfterF0,
        Self::AfterF4,
    ];

    /// The state after one more byte; `None` when the text is then not UTF-8.
    fn byte(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Border, 0x00..=0x7F) => Self::Border,
            (Self::Border, 0xC2..=0xDF) => Self::Tail1,
            (Self::Border, 0xE0) => Self::AfterE0,
            (Self::Border, 0xED) => Self::AfterEd,
            (Self::Border, 0xE1..=0xEF) => Self::Tail2,
            (Self::Border, 0xF0) => Self::AfterF0,
            (Self::Border, 0xF1..=0xF3) => Self::Tail3,
            (Self::Border, 0xF4) => Self::AfterF4,
            (Self::Tail1, 0x80..=0xBF) => Self::Border,
            (Self::Tail2, 0x80..=0xBF) | (Self::AfterE0, 0xA0..=0xBF) | (Self::AfterEd, 0x80..=0x9F) => {
                Self::Tail1
            }
            (Self::Tail3, 0x80..=0xBF) | (Self::AfterF0, 0x90..=0xBF) | (Self::AfterF4, 0x80..=0x8F) => {
                Self::Tail2
            }
            _ => return None,
        })
    }

    /// The state after more bytes.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Option<Self> {
        bytes.iter().try_fold(self, |state, &byte| state.byte(byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All texts of up to three bytes and all of four that begin with a lead of four, against the standard
    /// library.
    #[test]
    fn agrees_with_the_standard_library() {
        let check = |bytes: &[u8]| {
            let whole = Utf8::Border.bytes(bytes) == Some(Utf8::Border);
            assert_eq!(whole, std::str::from_utf8(bytes).is_ok(), "{bytes:x?}");
        };
        const EDGES: [u8; 18] = [
            0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xDF, 0xE0, 0xE1, 0xED, 0xF0, 0xF4,
            0xF5, 0xFF,
        ];
        for a in 0..=255 {
            check(&[a]);
            for b in 0..=255 {
                check(&[a, b]);
                for c in EDGES {
                    check(&[a, b, c]);
                    EDGES.iter().for_each(|&d| check(&[a, b, c, d]));
                }
            }
        }
    }
}
