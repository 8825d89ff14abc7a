//! Which dispatches must wait for which: barriers from what each reads and writes.
//!
//! Plain data, without a device. A [`Hazards`] is told the accesses of one dispatch or copy after another and
//! says before which a barrier stands. A barrier orders everything before it with everything after it, so
//! what came before the last one is forgotten. No barrier is written by hand: software drivers run dispatches
//! in order, and no test on them would miss one.

use std::ops::Range;

/// What is done with a range of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Only read.
    Read,
    /// Written, and read perhaps.
    Write,
}

/// One range of a buffer in the hands of one dispatch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// Which buffer; numbers are given once.
    pub buffer: u64,
    /// Which of its bytes.
    pub bytes: Range<u64>,
    /// What is done with them.
    pub access: Access,
}

/// What has been used since the last barrier.
#[derive(Debug, Default)]
pub struct Hazards {
    since_barrier: Vec<Use>,
}

impl Hazards {
    /// Takes the next dispatch's uses; true when a barrier must stand before it.
    pub fn next(&mut self, uses: &[Use]) -> bool {
        let conflicts = uses.iter().any(|new| self.since_barrier.iter().any(|old| conflict(old, new)));
        if conflicts {
            self.since_barrier.clear();
        }
        self.since_barrier.extend_from_slice(uses);
        conflicts
    }
}

/// Whether two uses, of different dispatches or of one copy, are in each other's way.
pub(crate) fn conflict(old: &Use, new: &Use) -> bool {
    let overlap = old.bytes.start < new.bytes.end && new.bytes.start < old.bytes.end;
    old.buffer == new.buffer && overlap && (old.access == Access::Write || new.access == Access::Write)
}

#[cfg(test)]
mod tests {
    use super::Access::{Read, Write};
    use super::*;

    fn of(buffer: u64, bytes: Range<u64>, access: Access) -> Use {
        Use { buffer, bytes, access }
    }

    fn barriers(dispatches: &[&[Use]]) -> Vec<bool> {
        let mut hazards = Hazards::default();
        dispatches.iter().map(|uses| hazards.next(uses)).collect()
    }

    #[test]
    fn each_kind_of_hazard_gives_one_barrier() {
        for (first, second) in [(Write, Read), (Read, Write), (Write, Write)] {
            let found = barriers(&[&[of(1, 0..8, first)], &[of(1, 0..8, second)]]);
            assert_eq!(found, [false, true], "{first:?} then {second:?}");
        }
    }

    #[test]
    fn readers_and_disjoint_buffers_and_ranges_run_together() {
        assert_eq!(barriers(&[&[of(1, 0..8, Read)], &[of(1, 0..8, Read)]]), [false, false]);
        assert_eq!(barriers(&[&[of(1, 0..8, Write)], &[of(2, 0..8, Write)]]), [false, false]);
        assert_eq!(barriers(&[&[of(1, 0..8, Write)], &[of(1, 8..16, Write)]]), [false, false]);
        assert_eq!(barriers(&[&[of(1, 0..9, Write)], &[of(1, 8..16, Write)]]), [false, true]);
    }

    #[test]
    fn a_barrier_serves_all_that_came_before_it() {
        let chain: [&[Use]; 5] = [
            &[of(1, 0..8, Write)],
            &[of(2, 0..8, Write)],
            &[of(1, 0..8, Read), of(3, 0..8, Write)],
            &[of(2, 0..8, Read)],
            &[of(3, 0..8, Read)],
        ];
        assert_eq!(barriers(&chain), [false, false, true, false, true]);
    }

    #[test]
    fn a_dispatch_does_not_wait_for_itself() {
        assert_eq!(barriers(&[&[of(1, 0..8, Read), of(1, 0..8, Write)]]), [false]);
    }

    /// By brute force: every conflicting pair has a barrier between, and no barrier stands without a pair.
    #[test]
    fn random_walks_have_just_the_barriers_that_they_need() {
        let mut seed = 0x9e37_79b9_u32;
        let mut next = |below: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 16) % below
        };
        for _ in 0..200 {
            let dispatches: Vec<Vec<Use>> = (0..12)
                .map(|_| {
                    let uses = (0..1 + next(3)).map(|_| {
                        let start = u64::from(next(4)) * 4;
                        let access = if next(3) == 0 { Write } else { Read };
                        of(u64::from(next(4)), start..start + 6, access)
                    });
                    uses.collect()
                })
                .collect();
            let lists: Vec<&[Use]> = dispatches.iter().map(Vec::as_slice).collect();
            let found = barriers(&lists);
            let mut last_barrier = 0;
            for (i, uses) in dispatches.iter().enumerate() {
                let since = &dispatches[last_barrier..i];
                let needed = since.iter().flatten().any(|old| uses.iter().any(|new| conflict(old, new)));
                assert_eq!(found[i], needed, "dispatch {i} of {dispatches:?}");
                if found[i] {
                    last_barrier = i;
                }
            }
        }
    }
}
