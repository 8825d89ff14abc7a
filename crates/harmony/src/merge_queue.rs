//! Which merge comes next: the lowest priority, leftmost first?
//!
//! [`MergeQueue`] is a priority queue over (priority, position) made for byte-pair merges: within one
//! priority, positions arrive almost always in ascending order, so each priority has a sorted list that is
//! appended to, and only positions that come late go into a small heap. A run of a million equal characters
//! has about ten distinct priorities and costs constant time per operation, where one binary heap over all
//! pairs would pay twenty cache misses; in the worst case it is as good as that heap.

use std::{cmp::Reverse, collections::BinaryHeap};

use hashbrown::HashMap;

#[derive(Default)]
struct Bucket {
    /// Ascending; those before `cursor` are gone.
    sorted: Vec<u32>,
    cursor: usize,
    late: BinaryHeap<Reverse<u32>>,
    /// Whether the bucket's priority is in `order`.
    is_queued: bool,
}

impl Bucket {
    /// Returns the work of it: 1, or the depth of the heap.
    fn push(&mut self, position: u32) -> u64 {
        if self.cursor == self.sorted.len() {
            self.sorted.clear();
            self.cursor = 0;
        }
        if self.sorted.last().is_none_or(|&last| last <= position) {
            self.sorted.push(position);
            1
        } else {
            self.late.push(Reverse(position));
            u64::from(self.late.len().ilog2()) + 1
        }
    }

    fn pop(&mut self) -> Option<u32> {
        let next = self.sorted.get(self.cursor).copied();
        match (next, self.late.peek()) {
            (Some(next), Some(&Reverse(late))) if late < next => self.late.pop().map(|Reverse(p)| p),
            (None, _) => self.late.pop().map(|Reverse(p)| p),
            (Some(next), _) => {
                self.cursor += 1;
                Some(next)
            }
        }
    }
}

/// Pending merges, smallest (priority, position) first.
#[derive(Default)]
pub(crate) struct MergeQueue {
    /// (priority, bucket) of each bucket that may hold something.
    order: BinaryHeap<Reverse<(u32, u32)>>,
    bucket_of_priority: HashMap<u32, u32>,
    /// (priority, bucket) of the last pushes: a pass over a text pushes to few buckets in turn.
    recent: [Option<(u32, u32)>; 16],
    buckets: Vec<Bucket>,
    num_operations: u64,
}

impl MergeQueue {
    pub(crate) fn push(&mut self, priority: u32, position: u32) {
        let recent = &mut self.recent[priority as usize % 16];
        let index = match *recent {
            Some((known, index)) if known == priority => index,
            _ => *self.bucket_of_priority.entry(priority).or_insert_with(|| {
                self.buckets.push(Bucket::default());
                self.buckets.len() as u32 - 1
            }),
        };
        *recent = Some((priority, index));
        let bucket = &mut self.buckets[index as usize];
        self.num_operations += bucket.push(position);
        if !bucket.is_queued {
            bucket.is_queued = true;
            self.order.push(Reverse((priority, index)));
        }
    }

    pub(crate) fn pop(&mut self) -> Option<(u32, u32)> {
        self.num_operations += 1;
        while let Some(&Reverse((priority, index))) = self.order.peek() {
            let bucket = &mut self.buckets[index as usize];
            if let Some(position) = bucket.pop() {
                return Some((priority, position));
            }
            bucket.is_queued = false;
            self.order.pop();
        }
        None
    }

    /// The deterministic measure of the work so far: pushes and pops, and the depth of the heap for positions
    /// that came late.
    pub(crate) fn num_operations(&self) -> u64 {
        self.num_operations
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pops_like_one_heap(steps in prop::collection::vec(prop::option::of((0u32..5, 0u32..50)), 0..400)) {
            let (mut queue, mut heap) = (MergeQueue::default(), BinaryHeap::new());
            for step in steps {
                match step {
                    Some((priority, position)) => {
                        queue.push(priority, position);
                        heap.push(Reverse((priority, position)));
                    }
                    None => prop_assert_eq!(queue.pop(), heap.pop().map(|Reverse(x)| x)),
                }
            }
        }
    }
}
