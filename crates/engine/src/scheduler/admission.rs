//! The admission of waiting sequences.
//!
//! Entry points: `Scheduler::make_way`, which preempts for urgent requests, `Scheduler::share_out`, which
//! preempts for a tenant that has less than its share, and `Scheduler::admit`, which gives rings and kept
//! prefixes to as many as there is room for. Room is reckoned, not reserved: the blocks that all running
//! sequences still need for the tokens they have, and one more for each to go on; what they will choose is
//! not known.
//!
//! The first in line waits until it fits and is not overtaken by smaller ones, or large requests would
//! starve. Only a request whose beginning is being computed right now is stepped over: it gains by waiting.

use std::cmp::Reverse;
use std::collections::HashMap;

use gptoss_model::BLOCK_TOKENS;

use super::Scheduler;
use crate::plan::{Plan, Restore};
use crate::prefix_cache::PREFIX_TOKENS_MIN;
use crate::request::{Priority, Tenant};
use crate::sequence::Sequence;

impl Scheduler {
    /// Preempts running sequences for waiting ones of a higher priority that would not be admitted otherwise.
    pub(super) fn make_way(&mut self) {
        let waiting = self.sequences.values().filter(|sequence| sequence.is_waiting());
        let Some((priority, Reverse(id))) =
            waiting.map(|sequence| (self.aged(sequence), Reverse(sequence.id))).max()
        else {
            return;
        };
        if self.gains_by_waiting(id) {
            return;
        }
        let mut lower = self.running(|sequence| sequence.priority < priority);
        let mut victims = Vec::new();
        while self.rings.num_free() + victims.len() == 0 || !self.has_room(id, &victims) {
            let Some(lowest) = lower.pop() else { return };
            victims.push(lowest);
        }
        victims.into_iter().for_each(|victim| {
            self.preempt(victim);
        });
    }

    /// Preempts a sequence of the tenant that runs the most and lets one begin whose tenant then still has no
    /// more than its share: as many rings as there are for each tenant that is here. Neither does it to the
    /// other again.
    pub(super) fn share_out(&mut self, plan: &mut Plan) {
        if self.rings.num_free() > 0 || self.service.len() < 2 {
            return;
        }
        let share = self.rings.total() / self.service.len();
        let mut running: HashMap<&Tenant, usize> = HashMap::new();
        for sequence in self.sequences.values().filter(|sequence| sequence.ring.is_some()) {
            *running.entry(&sequence.tenant).or_default() += 1;
        }
        let num_running = |tenant: &Tenant| running.get(tenant).copied().unwrap_or(0);
        let claims = |sequence: &Sequence| sequence.is_waiting() && num_running(&sequence.tenant) < share;
        let waiting = self.sequences.values().filter(|sequence| claims(sequence)).map(|sequence| sequence.id);
        let first = waiting.min_by_key(|&id| self.turn(id)).filter(|&id| !self.gains_by_waiting(id));
        let Some(id) = first else { return };
        let priority = self.aged(&self.sequences[&id]);
        let victims =
            self.running(|sequence| num_running(&sequence.tenant) > share && sequence.priority <= priority);
        // Of equals the one of the lowest rank, which has done the least.
        let victim = victims.into_iter().max_by_key(|id| num_running(&self.sequences[id].tenant));
        let Some(victim) = victim.filter(|&victim| self.has_room(id, &[victim])) else { return };
        if self.preempt(victim) {
            self.begin(plan, id);
        }
    }

    /// Lets waiting sequences begin, or begin again.
    pub(super) fn admit(&mut self, plan: &mut Plan) {
        if self.rings.num_free() == 0 {
            return;
        }
        let waiting = self.sequences.values().filter(|sequence| sequence.is_waiting());
        let mut line: Vec<u64> = waiting.map(|sequence| sequence.id).collect();
        while self.rings.num_free() > 0 && !line.is_empty() {
            let place = (0..line.len()).min_by_key(|&place| self.turn(line[place]));
            let Some(id) = place.map(|place| line.swap_remove(place)) else { return };
            if self.gains_by_waiting(id) {
                continue;
            }
            if !self.has_room(id, &[]) {
                return;
            }
            self.begin(plan, id);
        }
    }

    /// Who is first in line: the lowest value.
    fn turn(&self, id: u64) -> (Reverse<Priority>, u64, u64) {
        let sequence = &self.sequences[&id];
        let service = self.service.get(&sequence.tenant).copied().unwrap_or(0);
        (Reverse(self.aged(sequence)), service, id)
    }

    /// Whether a running sequence is about to compute a beginning that this one could go on from.
    fn gains_by_waiting(&self, id: u64) -> bool {
        let sequence = &self.sequences[&id];
        let computing = self.sequences.values().filter(|other| {
            other.ring.is_some() && other.num_computed + 1 < other.prompt_len && other.owner == sequence.owner
        });
        let Some(coming) = computing.filter_map(|other| other.coming_place(&sequence.tokens)).max() else {
            return false;
        };
        let here = self.cache.peek(&sequence.owner, &sequence.tokens).map_or(0, |found| found.position);
        self.cache.num_total() > 0 && coming >= here + PREFIX_TOKENS_MIN
    }

    /// Whether its tokens, and the next of everybody, would have blocks if the running `victims` were
    /// preempted. One that would run alone always has.
    fn has_room(&self, id: u64, victims: &[u64]) -> bool {
        if self.num_running() == victims.len() {
            return true;
        }
        let needs = |tokens: usize, blocks: usize| (tokens + 1).div_ceil(BLOCK_TOKENS).saturating_sub(blocks);
        let (gone, stay): (Vec<&Sequence>, Vec<&Sequence>) = self
            .sequences
            .values()
            .filter(|sequence| sequence.ring.is_some())
            .partition(|sequence| victims.contains(&sequence.id));
        let promised: usize = stay.iter().map(|other| needs(other.tokens.len(), other.blocks.len())).sum();
        let sequence = &self.sequences[&id];
        // Blocks of a kept prefix count as needed: they may be evictable ones, which it then takes away.
        let needed = promised + needs(sequence.tokens.len(), 0);
        let mut given: HashMap<u32, u32> = HashMap::new();
        gone.iter()
            .flat_map(|victim| &victim.blocks)
            .for_each(|&block| *given.entry(block).or_default() += 1);
        let holders = |block: u32| self.pool.num_holders(block) - given.get(&block).copied().unwrap_or(0);
        let free = self.pool.num_free() + given.keys().filter(|&&block| holders(block) == 0).count();
        needed <= free || needed <= free + self.cache.num_evictable(holders)
    }

    fn begin(&mut self, plan: &mut Plan, id: u64) {
        let Some(ring) = self.rings.take() else { return };
        let priority = self.aged(&self.sequences[&id]);
        let Some(sequence) = self.sequences.get_mut(&id) else { return };
        sequence.ring = Some(ring);
        // What waiting has earned is kept, or the next urgent request would take it away again.
        sequence.priority = priority;
        let found = match sequence.has_begun {
            false => self.cache.find(&sequence.owner, &sequence.tokens),
            true => self.cache.peek(&sequence.owner, &sequence.tokens),
        };
        if let Some(found) = found {
            sequence.blocks = self.cache.blocks(found.snapshot).to_vec();
            sequence.blocks.iter().for_each(|&block| self.pool.share(block));
            sequence.num_computed = found.position;
            plan.restores.push(Restore { snapshot: found.snapshot, position: found.position, ring });
        }
        if !std::mem::replace(&mut sequence.has_begun, true) {
            plan.begun.push((id, sequence.num_computed));
        }
    }
}
