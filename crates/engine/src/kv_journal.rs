//! The blocks that others know of, and what has happened to them since they were told.
//!
//! Entry points: [`KvJournal::kept`], [`KvJournal::removed`] and [`KvJournal::take`]. A block is known by its
//! hash in the chain of an entry; it comes with the first entry that has it and goes with the last. An entry
//! has every block before any of its own, so what is new of an entry are the last blocks of its chain, and
//! likewise what goes with it.

use std::collections::HashMap;

use gptoss_model::BLOCK_TOKENS;

use crate::kv_events::KvEvent;
use crate::request::KeptFor;

/// Begins with everything being forgotten: who listens may know of an engine before this one.
pub(crate) struct KvJournal {
    /// Every block that was told of, with how many entries have it.
    holders: HashMap<u64, u32>,
    pending: Vec<KvEvent>,
}

impl Default for KvJournal {
    fn default() -> KvJournal {
        KvJournal { holders: HashMap::new(), pending: vec![KvEvent::Cleared] }
    }
}

impl KvJournal {
    /// An entry was kept: `chain` has the hash before the first block and one after each full block.
    pub(crate) fn kept(&mut self, chain: &[u64], tokens: &[u32], kept_for: &KeptFor) {
        let hashes = &chain[1..];
        let known = hashes.iter().take_while(|hash| self.holders.contains_key(hash)).count();
        hashes.iter().for_each(|&hash| *self.holders.entry(hash).or_insert(0) += 1);
        if known < hashes.len() {
            self.pending.push(KvEvent::Stored {
                hashes: hashes[known..].to_vec(),
                parent: known.checked_sub(1).map(|last| hashes[last]),
                tokens: tokens[known * BLOCK_TOKENS..hashes.len() * BLOCK_TOKENS].to_vec(),
                kept_for: kept_for.clone(),
            });
        }
    }

    /// An entry was forgotten.
    pub(crate) fn removed(&mut self, chain: &[u64]) {
        let mut hashes = Vec::new();
        for &hash in chain[1..].iter().rev() {
            let Some(holders) = self.holders.get_mut(&hash) else { continue };
            *holders -= 1;
            if *holders == 0 {
                self.holders.remove(&hash);
                hashes.push(hash);
            }
        }
        if !hashes.is_empty() {
            self.pending.push(KvEvent::Removed { hashes });
        }
    }

    /// What has happened since this was asked before.
    pub(crate) fn take(&mut self) -> Vec<KvEvent> {
        std::mem::take(&mut self.pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(blocks: u32) -> Vec<u32> {
        (0..blocks * BLOCK_TOKENS as u32 + 5).collect()
    }

    #[test]
    fn a_block_comes_with_its_first_entry_and_goes_with_its_last() {
        let mut journal = KvJournal::default();
        let tenant = KeptFor::Tenant(crate::request::Tenant::default());
        let mut check = |act: &dyn Fn(&mut KvJournal), expect: &[(&str, Vec<u64>, Option<u64>, usize)]| {
            act(&mut journal);
            let told = journal.take();
            let told: Vec<_> = told.iter().map(described).collect();
            assert_eq!(told, expect);
        };
        check(&|_| (), &[("cleared", vec![], None, 0)]);
        check(&|journal| journal.kept(&[9, 1, 2], &tokens(2), &tenant), &[("stored", vec![1, 2], None, 64)]);
        check(
            &|journal| journal.kept(&[9, 1, 2, 3], &tokens(3), &tenant),
            &[("stored", vec![3], Some(2), 32)],
        );
        check(&|journal| journal.kept(&[9, 1], &tokens(1), &tenant), &[]);
        check(&|journal| journal.kept(&[9], &tokens(0), &tenant), &[]);
        check(&|journal| journal.kept(&[9, 1, 4], &tokens(2), &tenant), &[("stored", vec![4], Some(1), 32)]);
        check(&|journal| journal.removed(&[9, 1, 2]), &[]);
        check(&|journal| journal.removed(&[9, 1, 2, 3]), &[("removed", vec![3, 2], None, 0)]);
        check(&|journal| journal.removed(&[9, 1]), &[]);
        check(&|journal| journal.removed(&[9, 1, 4]), &[("removed", vec![4, 1], None, 0)]);
        assert!(journal.holders.is_empty());
    }

    fn described(event: &KvEvent) -> (&'static str, Vec<u64>, Option<u64>, usize) {
        match event {
            KvEvent::Stored { hashes, parent, tokens, .. } => {
                ("stored", hashes.clone(), *parent, tokens.len())
            }
            KvEvent::Removed { hashes } => ("removed", hashes.clone(), None, 0),
            KvEvent::Cleared => ("cleared", Vec::new(), None, 0),
        }
    }
}
