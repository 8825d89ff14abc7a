//! A key as a client has it: `sk-gptoss-<12>-<48>`, drawn once and shown once.

use std::fmt;

use crate::digest::Digest;

/// What every key begins with.
const PREFIX: &str = "sk-gptoss-";
/// Letters and digits, so that a double click takes a part whole.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Characters of the public part: 71 bits, enough that two keys never share one.
const ID_CHARS: usize = 12;
/// Characters of the secret part: 285 bits.
const SECRET_CHARS: usize = 48;

/// A key that was just drawn. Its text is shown to whoever asked for it, and its digest is kept.
pub struct Secret {
    text: String,
}

impl Secret {
    /// Draws one from random bytes.
    ///
    /// Errors: those of `fill`.
    pub fn draw<E>(mut fill: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<Secret, E> {
        let id = characters(ID_CHARS, &mut fill)?;
        let secret = characters(SECRET_CHARS, &mut fill)?;
        Ok(Secret { text: format!("{PREFIX}{id}-{secret}") })
    }

    /// The public part, for logs.
    pub fn id(&self) -> &str {
        &self.text[PREFIX.len()..PREFIX.len() + ID_CHARS]
    }

    /// The whole of it.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// What is kept.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}-...", self.id())
    }
}

/// `num` characters, each as likely as the others: bytes from 248 on, which would favor some, are drawn
/// again.
fn characters<E>(num: usize, fill: &mut impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<String, E> {
    let mut text = String::with_capacity(num);
    let mut bytes = [0; 64];
    while text.len() < num {
        fill(&mut bytes)?;
        let usable = bytes.iter().filter(|&&byte| usize::from(byte) < 4 * ALPHABET.len());
        let missing = num - text.len();
        text.extend(
            usable.take(missing).map(|&byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()])),
        );
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that count up, from 240: eight of the first sixteen cannot be used.
    fn counting(next: &mut u8) -> impl FnMut(&mut [u8]) -> Result<(), ()> {
        |bytes| {
            for byte in bytes {
                *byte = *next;
                *next = next.wrapping_add(1);
            }
            Ok(())
        }
    }

    #[test]
    fn a_secret_has_its_public_part_and_shows_no_more_of_itself() {
        let mut next = 240;
        let secret = Secret::draw(counting(&mut next)).unwrap();
        assert_eq!(secret.reveal().len(), PREFIX.len() + ID_CHARS + 1 + SECRET_CHARS);
        assert_eq!(secret.id(), "stuvwxyz0123", "240 to 247, then 0 to 3");
        assert_eq!(format!("{secret:?}"), "sk-gptoss-stuvwxyz0123-...");
        assert_eq!(secret.digest().to_hex(), Digest::of(secret.reveal()).to_hex());
    }

    #[test]
    fn a_source_that_fails_gives_no_secret() {
        assert_eq!(Secret::draw(|_| Err("dry")).unwrap_err(), "dry");
    }
}
