//! Which experts of each layer are on the card: a table without bytes.
//!
//! Entry points: [`ExpertSlots::visit`], told what a layer's router chose, and [`ExpertSlots::next_part`],
//! which makes room for as many of those experts as the layer has slots. Of experts that a part does not need
//! the one goes that the router takes least (`cpu/reuse_predictor.rs`, shared with experts on disk).

use crate::cpu::reuse_predictor::ReusePredictor;

/// The experts in the slots of all layers.
pub(crate) struct ExpertSlots {
    num_experts: usize,
    /// `[L]`: the expert in each slot; none while it is on its way, and after its way was barred.
    layers: Vec<Vec<Option<usize>>>,
    predictor: ReusePredictor,
    /// Experts that were on the card when their layer's turn came.
    pub(crate) hits: u64,
    /// Experts that were not.
    pub(crate) misses: u64,
}

/// Experts of a layer that are on the card together.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// `[E]`: the slots of the part's experts.
    pub(crate) slot_of: Vec<Option<usize>>,
    /// Experts that have to be brought, each with its slot.
    pub(crate) arrivals: Vec<(usize, usize)>,
}

/// Slots of each of `num_layers` layers, when there are so many in all.
pub(crate) fn slots_of_layers(num_layers: usize, slots: usize) -> Vec<usize> {
    let more = slots % num_layers;
    (0..num_layers).map(|layer| slots / num_layers + usize::from(layer < more)).collect()
}

impl ExpertSlots {
    /// The first experts of every layer are in its slots.
    pub(crate) fn new(num_experts: usize, active: usize, slots: &[usize]) -> ExpertSlots {
        ExpertSlots {
            num_experts,
            layers: slots.iter().map(|slots| (0..*slots).map(Some).collect()).collect(),
            predictor: ReusePredictor::new(slots.len(), num_experts, active),
            hits: 0,
            misses: 0,
        }
    }

    /// Begins a layer's turn, of `num_tokens` tokens whose experts are `chosen [T, A]`: those that any token
    /// chose, ascending.
    pub(crate) fn visit(&mut self, layer: usize, chosen: &[u32], num_tokens: usize) -> Vec<usize> {
        let mut counts = vec![0; self.num_experts];
        chosen.iter().for_each(|expert| counts[*expert as usize] += 1);
        let wanted: Vec<(usize, usize)> =
            counts.into_iter().enumerate().filter(|(_, count)| *count > 0).collect();
        self.predictor.visit(layer, &wanted, num_tokens);
        let wanted: Vec<usize> = wanted.into_iter().map(|(expert, _)| expert).collect();
        let holders = self.layers[layer].iter().flatten();
        let hits = holders.filter(|expert| wanted.binary_search(expert).is_ok()).count();
        self.hits += hits as u64;
        self.misses += (wanted.len() - hits) as u64;
        wanted
    }

    /// Takes out of `wanted` the experts that are there, and as many others as there are slots for. Those are
    /// the caller's to bring, and [`ExpertSlots::settle`] then.
    pub(crate) fn next_part(&mut self, layer: usize, wanted: &mut Vec<usize>) -> Part {
        let mut part = Part { slot_of: vec![None; self.num_experts], arrivals: Vec::new() };
        let slots = &mut self.layers[layer];
        let mut is_needed = vec![false; slots.len()];
        for (slot, expert) in slots.iter().enumerate() {
            if let Some(expert) = expert.filter(|expert| wanted.binary_search(expert).is_ok()) {
                part.slot_of[expert] = Some(slot);
                is_needed[slot] = true;
            }
        }
        wanted.retain(|expert| part.slot_of[*expert].is_none());
        let wait = |expert: &Option<usize>| {
            let key = |expert: usize| layer * self.num_experts + expert;
            expert.map_or(f32::INFINITY, |expert| self.predictor.layers_until_use(key(expert)))
        };
        let room = is_needed.iter().filter(|is_needed| !**is_needed).count();
        for expert in wanted.drain(..room.min(wanted.len())) {
            let free = (0..slots.len()).filter(|slot| !is_needed[*slot]);
            let Some(slot) = free.max_by(|a, b| wait(&slots[*a]).total_cmp(&wait(&slots[*b]))) else {
                unreachable!("as many are taken as there is room for")
            };
            (slots[slot], is_needed[slot], part.slot_of[expert]) = (None, true, Some(slot));
            part.arrivals.push((expert, slot));
        }
        part
    }

    /// An expert of a part has come to its slot.
    pub(crate) fn settle(&mut self, layer: usize, (expert, slot): (usize, usize)) {
        self.layers[layer][slot] = Some(expert);
    }

    /// Slots of all layers.
    pub(crate) fn num_slots(&self) -> usize {
        self.layers.iter().map(Vec::len).sum()
    }

    /// Experts of all layers.
    pub(crate) fn num_experts(&self) -> usize {
        self.num_experts * self.layers.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All parts of a turn, each as its experts and those of them that were brought.
    fn turn(slots: &mut ExpertSlots, layer: usize, chosen: &[u32]) -> Vec<(Vec<usize>, Vec<usize>)> {
        let mut wanted = slots.visit(layer, chosen, 1);
        let mut parts = Vec::new();
        while !wanted.is_empty() {
            let part = slots.next_part(layer, &mut wanted);
            part.arrivals.iter().for_each(|arrival| slots.settle(layer, *arrival));
            let there = (0..part.slot_of.len()).filter(|expert| part.slot_of[*expert].is_some()).collect();
            parts.push((there, part.arrivals.iter().map(|(expert, _)| *expert).collect()));
        }
        parts
    }

    #[test]
    fn what_is_there_is_found_and_what_is_not_comes() {
        let mut slots = ExpertSlots::new(8, 2, &[4, 4]);
        assert_eq!(turn(&mut slots, 0, &[3, 1]), [(vec![1, 3], vec![])]);
        assert_eq!(turn(&mut slots, 1, &[3, 6]), [(vec![3, 6], vec![6])]);
        assert_eq!(turn(&mut slots, 1, &[6, 3]), [(vec![3, 6], vec![])]);
        assert_eq!((slots.hits, slots.misses), (5, 1));
        assert_eq!((slots.num_slots(), slots.num_experts()), (8, 16));
    }

    #[test]
    fn more_experts_than_slots_come_in_parts() {
        let mut slots = ExpertSlots::new(8, 2, &[3]);
        let parts = turn(&mut slots, 0, &[7, 6, 5, 4, 1, 0, 1, 0]);
        assert_eq!(parts, [(vec![0, 1, 4], vec![4]), (vec![5, 6, 7], vec![5, 6, 7])]);
        assert_eq!((slots.hits, slots.misses), (2, 4));
    }

    #[test]
    fn favorites_stay() {
        let mut slots = ExpertSlots::new(8, 1, &[2]);
        for round in 0..40 {
            turn(&mut slots, 0, &[5]);
            turn(&mut slots, 0, &[round % 4]);
        }
        // The first round brings it, and every other finds it.
        let before = slots.hits;
        turn(&mut slots, 0, &[5]);
        assert_eq!(slots.hits, before + 1);
    }

    /// A slot whose expert never came holds nothing.
    #[test]
    fn what_did_not_come_is_not_there() {
        let mut slots = ExpertSlots::new(4, 1, &[1]);
        let mut wanted = slots.visit(0, &[2], 1);
        assert_eq!(slots.next_part(0, &mut wanted).arrivals, [(2, 0)]);
        assert_eq!(turn(&mut slots, 0, &[2]), [(vec![2], vec![2])]);
        assert_eq!(turn(&mut slots, 0, &[0]), [(vec![0], vec![0])]);
    }

    #[test]
    fn slots_are_shared_out_evenly() {
        assert_eq!(slots_of_layers(3, 10), [4, 3, 3]);
        assert_eq!(slots_of_layers(2, 10), [5, 5]);
    }
}
