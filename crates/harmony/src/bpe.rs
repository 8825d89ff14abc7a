//! How do the bytes of a piece become token ids?
//!
//! [`Bpe::encode_piece`] gives exactly what tiktoken gives: a piece that is a token is that token; otherwise
//! adjacent parts merge, lowest priority first and leftmost among equals, until nothing merges. Short pieces,
//! nearly all of them, scan a small array; long ones use the [`MergeQueue`], so that a megabyte of one letter
//! costs n log n. Two kinds of merge rule exist: [`Merges::Ranked`], where two parts merge when their bytes
//! together are a token and the token's id is the priority, and [`Merges::Listed`], for vocabulary files that
//! list the allowed pairs. This module knows bytes and ids; it knows no text, no control tokens and no files.

use std::{borrow::Cow, hash::BuildHasher};

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use crate::{limits::PIECE_BYTES_MAX, merge_queue::MergeQueue};

/// "No merge here", larger than every priority.
const NO_MERGE: u32 = u32::MAX;

/// Pieces up to this length are merged by scanning; measured on prose, where longer thresholds change
/// nothing.
const SCAN_BYTES_MAX: usize = 48;

/// The bytes of every id; ids without text have none.
pub(crate) struct TokenBytes {
    bytes: Cow<'static, [u8]>,
    /// `len + 1` offsets into `bytes`.
    offsets: Vec<u32>,
}

impl TokenBytes {
    /// From all bytes in id order and the length of each token.
    pub(crate) fn new(bytes: Cow<'static, [u8]>, lengths: impl Iterator<Item = usize>) -> Self {
        let mut offsets = vec![0];
        let mut end = 0;
        offsets.extend(lengths.map(|length| {
            end += length as u32;
            end
        }));
        assert_eq!(end as usize, bytes.len(), "the lengths of all tokens are the bytes of all tokens");
        Self { bytes, offsets }
    }

    /// Number of ids.
    pub(crate) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The bytes of an id; empty when it is beyond the table or has no text.
    pub(crate) fn of(&self, id: u32) -> &[u8] {
        match self.offsets.get(id as usize..id as usize + 2) {
            Some(ends) => &self.bytes[ends[0] as usize..ends[1] as usize],
            None => &[],
        }
    }
}

/// Which adjacent parts may merge, and in which order.
pub(crate) enum Merges {
    /// Any two whose bytes together are a token; the priority is the token's id.
    Ranked,
    /// The pairs of a file; the priority is the place of the token among the file's merges.
    Listed {
        /// (left id, right id) → priority.
        priority_of_pair: HashMap<(u32, u32), u32>,
        /// priority → id of the merged token.
        token_of_priority: Vec<u32>,
    },
}

/// One vocabulary's merge machine.
pub(crate) struct Bpe {
    tokens: TokenBytes,
    id_of_bytes: HashTable<u32>,
    hasher: DefaultHashBuilder,
    byte_tokens: [u32; 256],
    longest: usize,
    merges: Merges,
    /// Whether a piece that is a token is that token without merging.
    whole_pieces: bool,
}

impl Bpe {
    /// Indexes the tokens. Errors: the first byte that has no token of its own.
    pub(crate) fn new(tokens: TokenBytes, merges: Merges, whole_pieces: bool) -> Result<Self, u8> {
        let hasher = DefaultHashBuilder::default();
        let mut id_of_bytes = HashTable::with_capacity(tokens.len());
        let mut longest = 0;
        for id in 0..tokens.len() as u32 {
            let bytes = tokens.of(id);
            if !bytes.is_empty() {
                longest = longest.max(bytes.len());
                id_of_bytes.insert_unique(hasher.hash_one(bytes), id, |&id| hasher.hash_one(tokens.of(id)));
            }
        }
        let mut bpe =
            Self { tokens, id_of_bytes, hasher, byte_tokens: [0; 256], longest, merges, whole_pieces };
        for byte in 0..=255u8 {
            bpe.byte_tokens[byte as usize] = bpe.id_of(&[byte]).ok_or(byte)?;
        }
        Ok(bpe)
    }

    pub(crate) fn tokens(&self) -> &TokenBytes {
        &self.tokens
    }

    pub(crate) fn merges(&self) -> &Merges {
        &self.merges
    }

    pub(crate) fn whole_pieces(&self) -> bool {
        self.whole_pieces
    }

    /// The id whose bytes these are.
    pub(crate) fn id_of(&self, bytes: &[u8]) -> Option<u32> {
        if bytes.len() > self.longest {
            return None;
        }
        self.id_of_bytes.find(self.hasher.hash_one(bytes), |&id| self.tokens.of(id) == bytes).copied()
    }

    /// Appends the tokens of one piece; returns the number of queue operations it took (0 for short pieces).
    pub(crate) fn encode_piece(&self, piece: &[u8], out: &mut Vec<u32>) -> u64 {
        if self.whole_pieces
            && let Some(id) = self.id_of(piece)
        {
            out.push(id);
            return 0;
        }
        if piece.len() <= SCAN_BYTES_MAX {
            self.merge_by_scan(piece, out);
            return 0;
        }
        piece.chunks(PIECE_BYTES_MAX).map(|piece| self.merge_by_queue(piece, out)).sum()
    }

    /// The priority with which `left` and `right` merge, whose bytes together are `both`.
    fn priority(&self, both: &[u8], left: u32, right: u32) -> u32 {
        match &self.merges {
            Merges::Ranked => self.id_of(both),
            Merges::Listed { priority_of_pair, .. } => priority_of_pair.get(&(left, right)).copied(),
        }
        .unwrap_or(NO_MERGE)
    }

    fn merged_token(&self, priority: u32) -> u32 {
        match &self.merges {
            Merges::Ranked => priority,
            Merges::Listed { token_of_priority, .. } => token_of_priority[priority as usize],
        }
    }

    fn merge_by_scan(&self, piece: &[u8], out: &mut Vec<u32>) {
        #[derive(Clone, Copy, Default)]
        struct Part {
            start: usize,
            token: u32,
            /// Of the merge with the part after it.
            priority: u32,
        }
        let mut storage = [Part::default(); SCAN_BYTES_MAX + 1];
        let mut num_parts = piece.len();
        for (start, &byte) in piece.iter().enumerate() {
            storage[start] = Part { start, token: self.byte_tokens[byte as usize], priority: NO_MERGE };
        }
        // Invariant: the part after the last one starts at the piece's end, so every part ends where the next
        // starts.
        storage[num_parts] = Part { start: piece.len(), token: 0, priority: NO_MERGE };
        let priority = |parts: &[Part], i: usize| match parts.get(i..i + 3) {
            Some([left, right, after]) => {
                self.priority(&piece[left.start..after.start], left.token, right.token)
            }
            _ => NO_MERGE,
        };
        for i in 0..num_parts {
            storage[i].priority = priority(&storage[..=num_parts], i);
        }
        while let Some(i) = (0..num_parts).min_by_key(|&i| storage[i].priority)
            && storage[i].priority != NO_MERGE
        {
            storage[i].token = self.merged_token(storage[i].priority);
            storage.copy_within(i + 2..=num_parts, i + 1);
            num_parts -= 1;
            for i in i.saturating_sub(1)..=i {
                storage[i].priority = priority(&storage[..=num_parts], i);
            }
        }
        out.extend(storage[..num_parts].iter().map(|part| part.token));
    }

    fn merge_by_queue(&self, piece: &[u8], out: &mut Vec<u32>) -> u64 {
        let len = piece.len();
        // Parts are known by the position of their first byte; `next[len - 1] == len`, and `previous[0]` is
        // never read.
        let mut token: Vec<u32> = piece.iter().map(|&byte| self.byte_tokens[byte as usize]).collect();
        let mut next: Vec<u32> = (1..=len as u32).collect();
        let mut previous: Vec<u32> = (0..len as u32).map(|i| i.wrapping_sub(1)).collect();
        let mut current = vec![NO_MERGE; len];
        let mut queue = MergeQueue::default();
        let mut recent = RecentPairs::new();
        for at in 0..len - 1 {
            current[at] = recent.priority(self, &piece[at..at + 2], token[at], token[at + 1]);
            if current[at] != NO_MERGE {
                queue.push(current[at], at as u32);
            }
        }
        while let Some((priority, at)) = queue.pop() {
            let at = at as usize;
            if current[at] != priority {
                continue; // this part has grown, or was swallowed, since the entry was made
            }
            let swallowed = next[at] as usize;
            let after = next[swallowed] as usize;
            current[swallowed] = NO_MERGE;
            token[at] = self.merged_token(priority);
            next[at] = after as u32;
            if after < len {
                previous[after] = at as u32;
            }
            let before = (at > 0).then(|| previous[at] as usize);
            for left in before.into_iter().chain([at]) {
                let right = next[left] as usize;
                current[left] = match next.get(right) {
                    Some(&end) => {
                        recent.priority(self, &piece[left..end as usize], token[left], token[right])
                    }
                    None => NO_MERGE,
                };
                if current[left] != NO_MERGE {
                    queue.push(current[left], left as u32);
                }
            }
        }
        let mut at = 0;
        while at < len {
            out.push(token[at]);
            at = next[at] as usize;
        }
        queue.num_operations()
    }
}

/// The last priorities that were looked up, by pair of tokens. Long pieces repeat few pairs, and a look-up
/// hashes all their bytes: a MiB of one character takes a third of the time with this than without.
struct RecentPairs {
    entries: Vec<((u32, u32), u32)>,
}

impl RecentPairs {
    const LEN: usize = 1 << 12;

    fn new() -> Self {
        // No token has the id u32::MAX, so the empty entries match nothing.
        Self { entries: vec![((u32::MAX, u32::MAX), NO_MERGE); Self::LEN] }
    }

    fn priority(&mut self, bpe: &Bpe, both: &[u8], left: u32, right: u32) -> u32 {
        let mixed = left.wrapping_mul(0x9e37_79b1) ^ right.wrapping_mul(0x85eb_ca77);
        let entry = &mut self.entries[(mixed >> 20) as usize % Self::LEN];
        if entry.0 != (left, right) {
            *entry = ((left, right), bpe.priority(both, left, right));
        }
        entry.1
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap as Map;

    use proptest::prelude::*;

    use crate::{
        o200k::MultiDigit,
        split::Pieces,
        vocab::{Token, Vocab},
    };

    /// Merging as its definition says it: look the piece up, else merge the leftmost pair of lowest rank
    /// until none is left.
    fn naive(ranks: &Map<Vec<u8>, u32>, text: &str) -> Vec<u32> {
        let mut out = Vec::new();
        for piece in Pieces::new(text).map(str::as_bytes) {
            let mut parts: Vec<Vec<u8>> = piece.iter().map(|&byte| vec![byte]).collect();
            if ranks.contains_key(piece) {
                parts = vec![piece.to_vec()];
            }
            let rank = |pair: &[Vec<u8>]| ranks.get(&pair.concat()).copied();
            while let Some((_, at)) =
                parts.windows(2).enumerate().filter_map(|(at, pair)| Some((rank(pair)?, at))).min()
            {
                let right = parts.remove(at + 1);
                parts[at].extend(right);
            }
            out.extend(parts.iter().map(|part| ranks[part]));
        }
        out
    }

    fn ranks(vocab: &Vocab) -> Map<Vec<u8>, u32> {
        let text = |id| match vocab.token(id) {
            Some(Token::Text(token)) => Some((vocab.bytes(token).to_vec(), id)),
            _ => None,
        };
        (0..vocab.len() as u32).filter_map(text).collect()
    }

    fn texts() -> impl Strategy<Value = String> {
        prop_oneof![
            // One piece, on both sides of the length at which the queue takes over.
            "[a-e]{0,120}",
            "[a-z]{30,200}",
            "[-=*#/ ]{0,120}",
            "[a-z' \\n0-9.,]{0,120}",
            "\\PC{0,60}",
            ("[a-z^ 你🙂]", 1usize..300).prop_map(|(text, count)| text.repeat(count)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn merges_like_the_definition(text in texts(), num_ranks in 256usize..3000, drop in any::<bool>()) {
            let vocab = Vocab::truncated(num_ranks, if drop { MultiDigit::Drop } else { MultiDigit::Keep });
            let reread = Vocab::from_tokenizer_json(&vocab.to_tokenizer_json()).unwrap();
            let expected = naive(&ranks(&vocab), &text);
            prop_assert_eq!(&vocab.encode_ids(&text), &expected);
            prop_assert_eq!(&reread.encode_ids(&text), &expected, "from its tokenizer.json");
            prop_assert_eq!(vocab.decode(&expected).unwrap(), text.as_bytes());
        }

        #[test]
        fn published_merges_like_the_definition(text in texts()) {
            use std::sync::OnceLock;
            static RANKS: OnceLock<Map<Vec<u8>, u32>> = OnceLock::new();
            let vocab = Vocab::o200k_harmony();
            prop_assert_eq!(vocab.encode_ids(&text), naive(RANKS.get_or_init(|| ranks(&vocab)), &text));
        }
    }

    /// The work on a run of one character grows with its length and no faster. A piece of n bytes merges at
    /// most n times, and a merge makes at most two new pairs, so 3 n pushes and pops suffice when none of
    /// them comes late.
    #[test]
    fn one_character_repeated_is_linear() {
        let vocabularies = [Vocab::o200k_harmony(), Vocab::truncated(2048, MultiDigit::Drop).into()];
        for vocab in vocabularies {
            for character in ["a", "x", " ", "\n", "^", "=", "7", "🙂", "你", "\u{301}", "É", "\t"] {
                for len in [1 << 12, 1 << 17] {
                    let operations =
                        vocab.encode_into(&character.repeat(len / character.len()), &mut Vec::new());
                    assert!(
                        operations <= 6 * len as u64 + 1,
                        "{operations} operations for {len} bytes of {character:?}"
                    );
                }
            }
        }
    }
}
