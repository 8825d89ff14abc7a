//! The bound on texts of others in the journal: names and reasons, cut at a character.

/// Most bytes of a name: a model's, a key's, a request's id. Units: bytes.
pub(crate) const NAME_BYTES_MAX: usize = 256;
/// Most bytes of a reason. Units: bytes.
pub(crate) const REASON_BYTES_MAX: usize = 1024;

/// The text, or as much of it as there may be, with an ellipsis.
pub(crate) fn clip(text: &str, bytes_max: usize) -> String {
    match text.len() <= bytes_max {
        true => text.to_owned(),
        false => format!("{}…", &text[..text.floor_char_boundary(bytes_max - '…'.len_utf8())]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_at_a_character() {
        assert_eq!(clip("abcdef", 6), "abcdef");
        assert_eq!(clip("abcdefg", 6), "abc…");
        assert_eq!(clip("aaäaaa", 6), "aa…", "the letter of two bytes would be cut in two");
    }
}
