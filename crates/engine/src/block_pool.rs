//! Who holds which slot of the KV store.
//!
//! Entry points: [`BlockPool`], blocks with a count of their holders (sequences and kept prefixes share
//! them), and [`SlotPool`], slots with one holder: rings and snapshots. Both give the lowest free number, so
//! that a sequence that grows alone gets neighbors and the attention kernel sees one long run.
//!
//! A number that is given back twice, or never, is a broken invariant: [`BlockPool::check`] compares the
//! counts with those of the holders, whenever the engine is idle and after every step of the simulator.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Blocks and how many hold each.
#[derive(Debug)]
pub(crate) struct BlockPool {
    holders: Vec<u32>,
    free: BinaryHeap<Reverse<u32>>,
    /// Allocations that will be refused: the simulator's way to make memory fail.
    refusals: usize,
}

impl BlockPool {
    pub(crate) fn new(num_blocks: usize) -> BlockPool {
        let free = (0..num_blocks as u32).map(Reverse).collect();
        BlockPool { holders: vec![0; num_blocks], free, refusals: 0 }
    }

    pub(crate) fn total(&self) -> usize {
        self.holders.len()
    }

    pub(crate) fn num_free(&self) -> usize {
        self.free.len()
    }

    /// The lowest free block, held once.
    pub(crate) fn take(&mut self) -> Option<u32> {
        if self.refusals > 0 {
            self.refusals -= 1;
            return None;
        }
        let Reverse(block) = self.free.pop()?;
        self.holders[block as usize] = 1;
        Some(block)
    }

    /// One more holder of a block that has some.
    pub(crate) fn share(&mut self, block: u32) {
        let holders = &mut self.holders[block as usize];
        // Invariant: only a block that somebody holds can be shared.
        assert!(*holders > 0, "block {block} is shared and nobody holds it");
        *holders += 1;
    }

    /// One holder less.
    pub(crate) fn give_back(&mut self, block: u32) {
        let holders = &mut self.holders[block as usize];
        // Invariant: every holder gives back once.
        assert!(*holders > 0, "block {block} is given back and nobody holds it");
        *holders -= 1;
        if *holders == 0 {
            self.free.push(Reverse(block));
        }
    }

    pub(crate) fn is_shared(&self, block: u32) -> bool {
        self.num_holders(block) > 1
    }

    pub(crate) fn num_holders(&self, block: u32) -> u32 {
        self.holders[block as usize]
    }

    /// Makes the next allocations fail.
    #[cfg(test)]
    pub(crate) fn refuse(&mut self, allocations: usize) {
        self.refusals = allocations;
    }

    /// Compares with everything that the holders say they hold.
    ///
    /// Errors: in words, the first block whose count is wrong.
    pub(crate) fn check(&self, held: impl Iterator<Item = u32>) -> Result<(), String> {
        let mut counted = vec![0; self.holders.len()];
        held.for_each(|block| counted[block as usize] += 1);
        if let Some(block) = (0..counted.len()).find(|&block| counted[block] != self.holders[block]) {
            let (have, say) = (counted[block], self.holders[block]);
            return Err(format!("block {block} has {have} holders and counts {say}"));
        }
        let used = self.holders.iter().filter(|&&holders| holders > 0).count();
        match self.free.len() + used == self.total() {
            true => Ok(()),
            false => Err(format!("{} free and {used} used of {} blocks", self.free.len(), self.total())),
        }
    }
}

/// Slots with one holder each.
#[derive(Debug)]
pub(crate) struct SlotPool {
    free: BinaryHeap<Reverse<u32>>,
    total: usize,
}

impl SlotPool {
    pub(crate) fn new(total: usize) -> SlotPool {
        SlotPool { free: (0..total as u32).map(Reverse).collect(), total }
    }

    pub(crate) fn total(&self) -> usize {
        self.total
    }

    pub(crate) fn num_free(&self) -> usize {
        self.free.len()
    }

    /// The lowest free slot.
    pub(crate) fn take(&mut self) -> Option<u32> {
        self.free.pop().map(|Reverse(slot)| slot)
    }

    pub(crate) fn give_back(&mut self, slot: u32) {
        self.free.push(Reverse(slot));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_blocks_come_back_after_their_last_holder() {
        let mut pool = BlockPool::new(3);
        let block = pool.take().expect("free");
        pool.share(block);
        pool.give_back(block);
        assert_eq!((pool.num_free(), pool.is_shared(block)), (2, false));
        assert!(pool.check([block].into_iter()).is_ok());
        assert!(pool.check([].into_iter()).is_err_and(|why| why.contains("block 0")));
        pool.give_back(block);
        assert_eq!((pool.num_free(), pool.take(), pool.take()), (3, Some(0), Some(1)));
    }
}
