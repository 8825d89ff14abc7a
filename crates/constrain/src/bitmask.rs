//! A set of tokens.
//!
//! [`Bitmask`] is one bit per token id, in words of 32: bit `id % 32` of word `id / 32`. That is the form in
//! which a sampler reads it and in which llguidance writes it, so nothing is converted on the way.

/// A set of token ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bitmask {
    words: Vec<u32>,
}

impl Bitmask {
    /// The empty set of a vocabulary with `len` ids.
    pub(crate) fn empty(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(32)] }
    }

    pub(crate) fn words(&self) -> &[u32] {
        &self.words
    }

    pub(crate) fn clear(&mut self) {
        self.words.fill(0);
    }

    pub(crate) fn insert(&mut self, token: u32) {
        self.words[token as usize / 32] |= 1 << (token % 32);
    }

    pub(crate) fn remove(&mut self, token: u32) {
        self.words[token as usize / 32] &= !(1 << (token % 32));
    }

    /// Takes the words of another set of the same vocabulary; what `words` lacks at its end is empty.
    pub(crate) fn copy_from(&mut self, words: &[u32]) {
        let len = words.len().min(self.words.len());
        self.words[..len].copy_from_slice(&words[..len]);
        self.words[len..].fill(0);
    }
}

/// Whether a token is in a mask.
pub fn is_allowed(mask: &[u32], token: u32) -> bool {
    mask.get(token as usize / 32).is_some_and(|word| word >> (token % 32) & 1 == 1)
}

/// The tokens of a mask, ascending.
pub(crate) fn ids(mask: &[u32]) -> impl Iterator<Item = u32> {
    let words = mask.iter().enumerate().filter(|(_, word)| **word != 0);
    words.flat_map(|(index, &word)| {
        (0..32).filter(move |bit| word >> bit & 1 == 1).map(move |bit| index as u32 * 32 + bit)
    })
}

/// The only token of a mask; `None` when it has none or several.
pub(crate) fn only(mask: &[u32]) -> Option<u32> {
    let mut found = None;
    for (index, &word) in mask.iter().enumerate().filter(|(_, word)| **word != 0) {
        if found.is_some() || !word.is_power_of_two() {
            return None;
        }
        found = Some(index as u32 * 32 + word.trailing_zeros());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_tokens_are_found_and_others_not() {
        let mut mask = Bitmask::empty(70);
        assert_eq!((mask.words().len(), only(mask.words())), (3, None));
        mask.insert(69);
        assert_eq!(only(mask.words()), Some(69));
        assert!(
            is_allowed(mask.words(), 69) && !is_allowed(mask.words(), 68) && !is_allowed(mask.words(), 4000)
        );
        mask.insert(68);
        assert_eq!(only(mask.words()), None);
        mask.remove(68);
        mask.insert(0);
        assert_eq!(only(mask.words()), None);
        mask.copy_from(&[2]);
        assert_eq!(only(mask.words()), Some(1));
    }
}
