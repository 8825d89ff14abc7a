//! The router's choice, the order of the experts' rows, and what they add to a token.

use gptoss_gpu::ops::{CollectExperts, RouterTopK, SortExperts};

use crate::numbers::{Fill, Rng, assert_bits};
use crate::reference::routing::{Sorted, combine, sort, top_k_softmax};
use crate::support::{Bench, on_every_device};

/// T rows of logits.
pub fn check_choice(bench: &Bench, t: usize, num_experts: usize, active: usize, logits: &[f32]) {
    let logits_slice = bench.holding(logits);
    let (experts, weights) = (bench.poisoned(t * active), bench.poisoned(t * active));
    bench.run(|kernels, recording| {
        let (experts, weights, logits) = (&experts, &weights, &logits_slice);
        let [t, num_experts, active] = [t, num_experts, active].map(|size| size as u32);
        RouterTopK { experts, weights, logits, t, num_experts, active }.record(kernels, recording)
    });
    let rows = logits.chunks(num_experts);
    let expected: Vec<_> = rows.map(|logits| top_k_softmax(bench.fma, logits, active)).collect();
    let chosen: Vec<u32> = expected.iter().flat_map(|(experts, _)| experts.clone()).collect();
    let shares: Vec<f32> = expected.iter().flat_map(|(_, weights)| weights.clone()).collect();
    assert_eq!(bench.read::<u32>(&experts, t * active), chosen, "{t} {num_experts} {active}");
    assert_bits(&bench.read(&weights, t * active), &shares, &(t, num_experts, active));
}

/// Awkward logits for T rows.
pub fn logits(t: usize, num_experts: usize, fill: Fill) -> Vec<f32> {
    let mut rng = Rng((t * num_experts) as u64);
    let mut logits = fill.floats(&mut rng, t * num_experts);
    // Every third row has ties, zeros of both signs among them.
    for row in logits.chunks_mut(num_experts).step_by(3) {
        row.iter_mut().for_each(|logit| *logit = (*logit * 2.0).round());
    }
    logits
}

#[test]
fn choices_with_ties_and_nan() {
    on_every_device(|bench| {
        for (t, num_experts, active) in [
            (1, 32, 4),
            (9, 32, 4),
            (5, 128, 4),
            (3, 4, 1),
            (4, 4, 2),
            (7, 8, 4),
            (2, 256, 8),
            (3, 5, 5),
            (2, 1, 1),
        ] {
            for fill in [Fill::Random, Fill::Zeros, Fill::NegativeZeros, Fill::NonFinite] {
                check_choice(bench, t, num_experts, active, &logits(t, num_experts, fill));
            }
        }
        check_choice(bench, 2, 3, 2, &[f32::NAN; 6]);
    });
}

/// T tokens whose experts are random.
pub fn check_sort(bench: &Bench, (t, active): (usize, usize), num_experts: usize, tile_rows: usize) {
    let mut rng = Rng((t * active + num_experts) as u64);
    // Some experts are never chosen, and each token's are different ones.
    let experts: Vec<u32> = (0..t)
        .flat_map(|_| {
            let mut order = rng.shuffled(num_experts);
            order.retain(|expert| expert % 5 != 3 || num_experts <= active + 1);
            order.truncate(active);
            order
        })
        .collect();
    let assignments = t * active;
    let tiles_bytes = SortExperts::tiles_bytes(assignments as u32, num_experts as u32, tile_rows as u32);
    let [slots, tokens] = [(); 2].map(|()| bench.poisoned(assignments));
    let (tiles, dispatches) = (bench.poisoned(tiles_bytes as usize / 4 + 4), bench.poisoned(6));
    let experts_slice = bench.holding(&experts);
    bench.run(|kernels, recording| {
        let sort = SortExperts {
            slots: &slots,
            tokens: &tokens,
            tiles: &tiles,
            dispatches: &dispatches,
            experts: &experts_slice,
            t: t as u32,
            active: active as u32,
            num_experts: num_experts as u32,
            tile_rows: tile_rows as u32,
            groups: [7, 5],
        };
        sort.record(kernels, recording)
    });
    let expected = sort(&experts, active, num_experts, tile_rows);
    let [found_slots, found_tokens] = [&slots, &tokens].map(|slice| bench.read::<u32>(slice, assignments));
    let num_tiles = expected.tiles.len();
    let found: Vec<[u32; 4]> = bench.read(&tiles, num_tiles + 1);
    let found_tiles = found[..num_tiles].iter().map(|[expert, first, count, _]| [*expert, *first, *count]);
    let sorted = Sorted {
        first_slot: expected.first_slot.clone(),
        slot_of_assignment: found_slots,
        token_of_slot: found_tokens,
        tiles: found_tiles.collect(),
    };
    assert_eq!(sorted, expected, "{t} {active} {num_experts} {tile_rows}");
    assert!(found[..num_tiles].iter().all(|tile| tile[3] == 0));
    assert_eq!(found[num_tiles], [u32::MAX; 4], "a tile too many");
    assert!(tiles_bytes / 16 >= num_tiles as u64, "room for {num_tiles} tiles");
    let groups: Vec<u32> = bench.read(&dispatches, 6);
    assert_eq!(groups, [7, num_tiles as u32, 1, 5, num_tiles as u32, 1]);
}

#[test]
fn sorting_is_stable_and_tiles_are_whole() {
    on_every_device(|bench| {
        for t in (1..=9).chain([64, 300]) {
            check_sort(bench, (t, 4), 32, 8);
        }
        for (step, num_experts, tile_rows) in [
            ((5, 1), 4, 2),
            ((17, 2), 4, 3),
            ((1, 1), 1, 1),
            ((33, 1), 1, 8),
            ((100, 4), 128, 16),
            ((40, 8), 256, 1),
        ] {
            check_sort(bench, step, num_experts, tile_rows);
        }
    });
}

/// T rows of C numbers, the experts' in the order of assignments or shuffled.
pub fn check_collect(bench: &Bench, t: usize, active: usize, width: usize, is_sorted: bool) {
    let mut rng = Rng((t * width + active) as u64);
    let hidden = rng.floats(t * width);
    let outputs = Fill::NonFinite.floats(&mut rng, t * active * width);
    let weights: Vec<f32> = rng.floats(t * active);
    let slots: Vec<u32> =
        if is_sorted { rng.shuffled(t * active) } else { (0..(t * active) as u32).collect() };
    let mut expected = hidden.clone();
    for (token, hidden) in expected.chunks_mut(width).enumerate() {
        let of_token = token * active..(token + 1) * active;
        let rows: Vec<&[f32]> =
            slots[of_token.clone()].iter().map(|slot| &outputs[*slot as usize * width..][..width]).collect();
        combine(hidden, &rows, &weights[of_token]);
    }
    let hidden_slice = bench.holding(&hidden);
    let (outputs, weights) = (bench.holding(&outputs), bench.holding(&weights));
    let slots = bench.holding(&slots);
    bench.run(|kernels, recording| {
        let collect = CollectExperts {
            hidden: &hidden_slice,
            outputs: &outputs,
            weights: &weights,
            slots: is_sorted.then_some(&slots),
            t: t as u32,
            active: active as u32,
            width: width as u32,
        };
        collect.record(kernels, recording)
    });
    assert_bits(&bench.read(&hidden_slice, t * width), &expected, &(t, active, width, is_sorted));
}

#[test]
fn experts_are_collected_by_rank() {
    on_every_device(|bench| {
        for t in (1..=9).chain([64]) {
            for is_sorted in [false, true] {
                check_collect(bench, t, 4, 96, is_sorted);
            }
        }
        for (active, width) in [(1, 64), (2, 65), (4, 1), (8, 2880)] {
            check_collect(bench, 3, active, width, true);
        }
    });
}

/// What finds mistakes in the choice.
pub fn check_router(bench: &Bench) {
    check_choice(bench, 9, 32, 4, &logits(9, 32, Fill::Random));
    check_choice(bench, 5, 4, 2, &logits(5, 4, Fill::NegativeZeros));
    check_choice(bench, 9, 8, 4, &logits(9, 8, Fill::NonFinite));
    check_choice(bench, 2, 3, 2, &[f32::NAN; 6]);
}

/// What finds mistakes in the order.
pub fn check_order(bench: &Bench) {
    check_sort(bench, (64, 4), 32, 8);
    check_sort(bench, (33, 1), 1, 8);
}

/// What finds mistakes in the way back.
pub fn check_way_back(bench: &Bench) {
    check_collect(bench, 5, 4, 96, false);
    check_collect(bench, 5, 4, 96, true);
}
