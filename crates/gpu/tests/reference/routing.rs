//! The router's choice, the order of the experts' rows, and what they add to a token.

use super::Fma;
use super::numbers::exp;

/// The `k` largest logits in descending order, ties to the lowest index and NaN as the lowest, with the
/// softmax over them.
pub fn top_k_softmax(fma: Fma, logits: &[f32], k: usize) -> (Vec<u32>, Vec<f32>) {
    let rank = |expert: &u32| {
        let logit = logits[*expert as usize];
        if logit.is_nan() { f32::NEG_INFINITY } else { logit }
    };
    let mut experts: Vec<u32> = (0..logits.len() as u32).collect();
    experts
        .sort_by(|a, b| rank(b).partial_cmp(&rank(a)).unwrap_or_else(|| unreachable!("ranks are numbers")));
    experts.truncate(k);
    let largest = experts.first().map_or(0.0, |expert| logits[*expert as usize]);
    let mut weights: Vec<f32> =
        experts.iter().map(|expert| exp(fma, logits[*expert as usize] - largest)).collect();
    let sum = weights.iter().fold(0.0, |sum, weight| sum + weight);
    weights.iter_mut().for_each(|weight| *weight /= sum);
    (experts, weights)
}

/// Assignments (token times A plus place) in the order of their experts.
#[derive(Debug, PartialEq, Eq)]
pub struct Sorted {
    /// `[E + 1]`: the first slot of each expert.
    pub first_slot: Vec<u32>,
    /// `[T * A]`: the slot of each assignment.
    pub slot_of_assignment: Vec<u32>,
    /// `[T * A]`: the token of each slot.
    pub token_of_slot: Vec<u32>,
    /// Up to `tile_rows` slots of one expert each: expert, first slot, slots.
    pub tiles: Vec<[u32; 3]>,
}

/// Sorts assignments by expert, those of one expert as they came, and cuts each expert's into tiles.
pub fn sort(experts: &[u32], active: usize, num_experts: usize, tile_rows: usize) -> Sorted {
    let mut order: Vec<u32> = (0..experts.len() as u32).collect();
    order.sort_by_key(|assignment| experts[*assignment as usize]);
    let mut slot_of_assignment = vec![0; experts.len()];
    for (slot, assignment) in order.iter().enumerate() {
        slot_of_assignment[*assignment as usize] = slot as u32;
    }
    let below = |expert: usize| experts.iter().filter(|e| (**e as usize) < expert).count() as u32;
    let first_slot: Vec<u32> = (0..=num_experts).map(below).collect();
    let tiles = first_slot.windows(2).enumerate().flat_map(|(expert, slots)| {
        let end = slots[1];
        (slots[0]..end)
            .step_by(tile_rows)
            .map(move |first| [expert as u32, first, (end - first).min(tile_rows as u32)])
    });
    let tiles = tiles.collect();
    let token_of_slot = order.iter().map(|assignment| assignment / active as u32).collect();
    Sorted { first_slot, slot_of_assignment, token_of_slot, tiles }
}

/// What a token's experts add to its row: `hidden += ((0 + w0 r0) + w1 r1) + ...`, every product rounded.
pub fn combine(hidden: &mut [f32], rows: &[&[f32]], weights: &[f32]) {
    for (i, hidden) in hidden.iter_mut().enumerate() {
        let mut update = 0.0;
        for (row, weight) in rows.iter().zip(weights) {
            update += weight * row[i];
        }
        *hidden += update;
    }
}
