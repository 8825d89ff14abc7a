//! The best tokens of rows of logits, and the sums of the softmax.

use gptoss_gpu::ops::BestTokens;

use crate::numbers::{Fill, Rng, assert_bits};
use crate::reference::sampling::{best, softmax_sum};
use crate::support::{Bench, on_every_device};

/// Rows of `logits [rows, V]`, under a mask of so many words if there is one.
pub fn check(bench: &Bench, logits: &[f32], vocab: usize, count: usize, mask: Option<(&[u32], usize)>) {
    let rows = logits.len() / vocab;
    let of_row = |row: usize| mask.map(|(words, len)| &words[row * len..][..len]);
    let logits_slice = bench.holding(logits);
    let words = mask.map(|(words, len)| (bench.holding(words), len as u32));
    let [rows_u32, vocab_u32, count_u32] = [rows, vocab, count].map(|size| size as u32);
    let [found, softmax] =
        BestTokens::bytes(rows_u32, vocab_u32, count_u32).map(|bytes| bench.poisoned(bytes as usize / 4));
    let (tokens, sums) = (bench.poisoned(rows * count * 2), bench.poisoned(rows * 4));
    bench.run(|kernels, recording| {
        let best = BestTokens {
            tokens: &tokens,
            sums: &sums,
            logits: &logits_slice,
            mask: words.as_ref().map(|(slice, len)| (slice, *len)),
            found: &found,
            softmax: &softmax,
            rows: rows_u32,
            vocab: vocab_u32,
            count: count_u32,
        };
        best.record(kernels, recording)
    });
    let found: Vec<[u32; 2]> = bench.read(&tokens, rows * count);
    let sums: Vec<f32> = bench.read(&sums, rows * 4);
    for (row, logits) in logits.chunks(vocab).enumerate() {
        let what = (row, vocab, count, mask.map(|(_, len)| len));
        let mut expected: Vec<[u32; 2]> = best(logits, of_row(row), count)
            .into_iter()
            .map(|token| [token, logits[token as usize].to_bits()])
            .collect();
        expected.resize(count, [u32::MAX, f32::NEG_INFINITY.to_bits()]);
        assert_eq!(found[row * count..][..count], expected, "{what:?}");
        let (m, l) = softmax_sum(bench.fma, logits, None);
        let (allowed_m, allowed_l) = softmax_sum(bench.fma, logits, of_row(row));
        assert_bits(&sums[row * 4..][..4], &[m, l, allowed_m, allowed_l], &what);
    }
}

/// Logits with many ties.
pub fn tied(rng: &mut Rng, len: usize) -> Vec<f32> {
    (0..len).map(|_| (rng.unit() * 20.0).round() * 0.5).collect()
}

#[test]
fn the_best_of_all_tokens() {
    on_every_device(|bench| {
        let mut rng = Rng(4);
        for (rows, vocab) in
            [(1, 1), (1, 64), (2, 320), (1, 2047), (3, 2048), (1, 2049), (2, 2029), (9, 5000)]
        {
            for count in [1, 5, 64] {
                check(bench, &Fill::Random.floats(&mut rng, rows * vocab), vocab, count, None);
                check(bench, &tied(&mut rng, rows * vocab), vocab, count, None);
            }
        }
        check(bench, &Fill::Zeros.floats(&mut rng, 4100), 4100, 64, None);
        check(bench, &Fill::NegativeZeros.floats(&mut rng, 4100), 4100, 64, None);
    });
}

/// So many spans that the join takes several turns.
#[test]
fn a_whole_vocabulary() {
    on_every_device(|bench| {
        let mut rng = Rng(5);
        let vocab = 201_088;
        check(bench, &tied(&mut rng, vocab), vocab, 64, None);
        check(bench, &Fill::Random.floats(&mut rng, vocab), vocab, 1, None);
    });
}

#[test]
fn masks_forbid_and_end_early() {
    on_every_device(|bench| {
        let mut rng = Rng(6);
        for (vocab, words) in [(64, 2), (320, 10), (5000, 157), (5000, 40), (2100, 1), (100, 9)] {
            for density in [0, 1, 3, 20] {
                let mut mask: Vec<u32> = (0..2 * words)
                    .map(|_| (0..32).fold(0, |word, bit| word | u32::from(rng.below(20) < density) << bit))
                    .collect();
                // What the words of the other row allow is nothing to the first.
                mask[..words].iter_mut().step_by(3).for_each(|word| *word = 0);
                let mut logits = tied(&mut rng, 2 * vocab);
                logits.iter_mut().step_by(11).for_each(|logit| *logit = f32::NEG_INFINITY);
                for count in [1, 64] {
                    check(bench, &logits, vocab, count, Some((&mask, words)));
                }
            }
        }
    });
}

#[test]
fn tokens_that_cannot_come_are_left_out() {
    on_every_device(|bench| {
        let mut logits = vec![f32::NEG_INFINITY; 3000];
        check(bench, &logits, 3000, 4, None);
        (logits[7], logits[2999], logits[2050]) = (-3.0e38, 1.0, f32::MIN);
        check(bench, &logits, 3000, 4, None);
        (logits[0], logits[100]) = (f32::NAN, f32::INFINITY);
        check(bench, &logits, 3000, 4, None);
    });
}

/// What finds mistakes in either of its kernels.
pub fn check_every_way(bench: &Bench) {
    let mut rng = Rng(7);
    let (vocab, words) = (70_000, 600);
    let logits = tied(&mut rng, 2 * vocab);
    let mask: Vec<u32> = (0..2 * words).map(|_| rng.next() as u32).collect();
    check(bench, &logits, vocab, 64, Some((&mask, words)));
    check(bench, &logits[..5000], 2500, 3, None);
}
