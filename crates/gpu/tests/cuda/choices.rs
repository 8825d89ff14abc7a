//! The order of the experts' rows, and the best tokens.

use crate::numbers::{Fill, Rng, assert_bits};
use crate::program::{Job, Program, on_host};
use crate::reference::Fma;
use crate::reference::routing::sort;
use crate::reference::sampling::{best, softmax_sum};

/// The two x of a sort's grids.
const GROUPS: [u32; 2] = [7, 5];

fn check_sort_of(program: &Program, (t, active): (usize, usize), num_experts: usize, tile_rows: usize) {
    let mut rng = Rng((t * active + num_experts) as u64);
    let experts: Vec<u32> = (0..t * active).map(|_| rng.below(num_experts) as u32).collect();
    let expected = sort(&experts, active, num_experts, tile_rows);
    let (rows, num_tiles) = (experts.len(), expected.tiles.len());
    let mut job = Job::default();
    let input = job.holding(&experts);
    let [slots, tokens] = [(); 2].map(|()| job.poisoned(rows));
    let (tiles, grids) = (job.poisoned(4 * num_tiles + 4), job.poisoned(6));
    let constants = [rows as u32, active as u32, tile_rows as u32, GROUPS[0], GROUPS[1]];
    job.dispatch("experts_sort", &[input, slots, tokens, tiles, grids], &constants, [1; 3]);
    job.run(program, |run| {
        let what = (t, active, num_experts, tile_rows, run.way);
        assert_eq!(run.read::<u32>(slots, rows), expected.slot_of_assignment, "{what:?}");
        assert_eq!(run.read::<u32>(tokens, rows), expected.token_of_slot, "{what:?}");
        let found: Vec<[u32; 4]> = run.read(tiles, num_tiles + 1);
        assert!(found[..num_tiles].iter().map(|tile| [tile[0], tile[1], tile[2]]).eq(expected.tiles.clone()));
        assert_eq!(found[num_tiles], [u32::MAX; 4], "{what:?}: a tile too many");
        let count = num_tiles as u32;
        assert_eq!(run.read::<u32>(grids, 6), [GROUPS[0], count, 1, GROUPS[1], count, 1], "{what:?}");
    });
}

/// `experts_sort`.
pub fn check_sort(program: &Program) {
    for (step, num_experts, tile_rows) in [
        ((1, 1), 1, 1),
        ((9, 4), 32, 8),
        ((17, 2), 4, 3),
        ((33, 1), 1, 8),
        ((64, 4), 128, 16),
        ((40, 8), 256, 1),
    ] {
        check_sort_of(program, step, num_experts, tile_rows);
    }
}

fn check_best_of(program: &Program, logits: &[f32], vocab: usize, count: usize, mask: Option<&[u32]>) {
    let (rows, num_spans) = (logits.len() / vocab, vocab.div_ceil(2048));
    let words = mask.map_or(0, |words| words.len() / rows);
    let mut job = Job::default();
    let input = job.holding(logits);
    let masks = mask.map_or(input, |words| job.holding(words));
    let (found, softmax) = (job.poisoned(rows * num_spans * count * 2), job.poisoned(rows * num_spans * 4));
    let (tokens, sums) = (job.poisoned(rows * count * 2), job.poisoned(rows * 4));
    let [vocab_word, count_word, spans, mask_words, rows_word] =
        [vocab, count, num_spans, words, rows].map(|size| size as u32);
    let constants = [vocab_word, count_word, spans, mask_words];
    job.dispatch("best_spans", &[input, masks, found, softmax], &constants, [spans, rows_word, 1]);
    let buffers = [input, found, softmax, tokens, sums];
    job.dispatch("best_join", &buffers, &constants[..3], [rows_word, 1, 1]);
    job.run(program, |run| {
        let (tokens, sums): (Vec<[u32; 2]>, Vec<f32>) =
            (run.read(tokens, rows * count), run.read(sums, rows * 4));
        for (row, logits) in logits.chunks(vocab).enumerate() {
            let what = (row, vocab, count, words, run.way);
            let mask = mask.map(|mask| &mask[row * words..][..words]);
            let mut expected: Vec<[u32; 2]> =
                best(logits, mask, count).into_iter().map(|t| [t, logits[t as usize].to_bits()]).collect();
            expected.resize(count, [u32::MAX, f32::NEG_INFINITY.to_bits()]);
            assert_eq!(tokens[row * count..][..count], expected, "{what:?}");
            let [all, allowed] = [None, mask].map(|mask| softmax_sum(Fma::Fused, logits, mask));
            assert_bits(&sums[4 * row..][..4], &[all.0, all.1, allowed.0, allowed.1], &what);
        }
    });
}

/// `best_spans` and `best_join`.
pub fn check_best(program: &Program) {
    let mut rng = Rng(4);
    let tied: Vec<f32> = (0..2 * 2500).map(|_| (rng.unit() * 20.0).round() * 0.5).collect();
    let mask: Vec<u32> = (0..2 * 70).map(|_| rng.next() as u32 & rng.next() as u32).collect();
    check_best_of(program, &tied, 2500, 64, None);
    check_best_of(program, &tied, 2500, 5, Some(&mask));
    for fill in [Fill::Random, Fill::NegativeZeros, Fill::NonFinite] {
        check_best_of(program, &fill.floats(&mut rng, 130), 130, 64, None);
    }
}

#[test]
fn orders_are_the_cpus() {
    on_host(check_sort);
}

#[test]
fn best_tokens_are_the_cpus() {
    on_host(check_best);
}
