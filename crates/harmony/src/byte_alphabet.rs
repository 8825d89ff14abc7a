//! How do vocabulary files write a byte as a character?
//!
//! Byte-level BPE files spell each byte as one printable character: the 188 printable bytes of Latin-1 are
//! themselves, the other 68 are the characters from U+0100 on, in byte order. The space, for one, is `Ġ`.
//! [`characters`] and [`bytes_of`] go both ways.

/// Whether a byte is written as the character of the same number.
fn is_printable(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

/// The character that stands for each byte.
pub(crate) fn characters() -> [char; 256] {
    let mut shifted = 0x100;
    std::array::from_fn(|byte| {
        let byte = byte as u8;
        if is_printable(byte) {
            return byte as char;
        }
        shifted += 1;
        char::from_u32(shifted - 1).expect("U+0100 to U+0143 are characters")
    })
}

/// The bytes that a spelled token stands for; `None` when a character is not of the alphabet.
pub(crate) fn bytes_of(spelled: &str) -> Option<Vec<u8>> {
    spelled.chars().map(byte_of).collect()
}

/// Whether a spelled token stands for these bytes.
pub(crate) fn spells(spelled: &str, bytes: &[u8]) -> bool {
    spelled.chars().map(byte_of).eq(bytes.iter().map(|&byte| Some(byte)))
}

fn byte_of(character: char) -> Option<u8> {
    match character as u32 {
        code @ 0..=0xff => Some(code as u8).filter(|&byte| is_printable(byte)),
        code @ 0x100..=0x120 => Some((code - 0x100) as u8),
        code @ 0x121..=0x142 => Some((code - 0x121) as u8 + 0x7f),
        0x143 => Some(0xad),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        for (byte, character) in characters().into_iter().enumerate() {
            assert_eq!(bytes_of(&character.to_string()), Some(vec![byte as u8]), "{character}");
            assert!(spells(&character.to_string(), &[byte as u8]));
        }
        assert_eq!(characters()[b' ' as usize], 'Ġ');
        assert_eq!(characters()[b'\n' as usize], 'Ċ');
        assert_eq!(bytes_of("a b"), None);
        assert_eq!(bytes_of("你"), None);
    }
}
