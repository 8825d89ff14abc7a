//! A row of logits is the same bits, however it came to be computed.

use gptoss_checkpoint::Checkpoint;
use gptoss_kernels::{Pool, Tier};
use gptoss_model::{Batch, KvCache, LogitRows, Model, Precision, log_sum_exp};

use crate::golden::{golden, testdata};
use crate::written::{Layout, SMALL, Shape, write};

const PRECISIONS: [Precision; 2] = [Precision::Exact, Precision::Fast];

fn load(name: &str, precision: Precision, pool: Pool) -> Model {
    let checkpoint = Checkpoint::open(&testdata(name)).expect("opens");
    Model::load(&checkpoint, precision, pool, &mut |_, _| {}).expect("loads")
}

/// All rows of logits, the tokens fed in batches of `batch_tokens`.
fn in_batches(model: &Model, cache: &mut KvCache, tokens: &[u32], batch_tokens: usize) -> Vec<f32> {
    let mut rows = Vec::new();
    for tokens in tokens.chunks(batch_tokens) {
        let batch = Batch { tokens, logits: LogitRows::All };
        rows.extend(model.forward(&batch, cache).expect("runs").rows);
    }
    rows
}

fn at_once(model: &Model, tokens: &[u32]) -> Vec<f32> {
    in_batches(model, &mut model.new_cache(tokens.len()), tokens, tokens.len())
}

/// `tiny-yarn` has a window of 128 and 600 tokens, so that rings wrap several times.
#[test]
fn batches_and_chunks_of_any_length_give_the_same_bits() {
    let tokens = golden("tiny-yarn").tokens;
    for precision in PRECISIONS {
        let model = load("tiny-yarn", precision, Pool::new(2)).with_chunk_tokens(1000);
        let expected = at_once(&model, &tokens);
        for batch_tokens in [1, 7, 64] {
            let mut cache = model.new_cache(tokens.len());
            assert!(in_batches(&model, &mut cache, &tokens, batch_tokens) == expected);
        }
        for chunk_tokens in [1, 7, 64] {
            let model = load("tiny-yarn", precision, Pool::new(1)).with_chunk_tokens(chunk_tokens);
            assert!(at_once(&model, &tokens) == expected, "chunks of {chunk_tokens}");
        }
    }
}

#[test]
fn threads_and_tiers_give_the_same_bits() {
    let tokens = golden("tiny").tokens;
    for precision in PRECISIONS {
        let expected = at_once(&load("tiny", precision, Pool::new(1)), &tokens);
        for threads in [2, 3] {
            assert!(at_once(&load("tiny", precision, Pool::new(threads)), &tokens) == expected);
        }
        for tier in Tier::available() {
            let model = load("tiny", precision, Pool::with_tier(1, tier));
            assert!(at_once(&model, &tokens) == expected, "{tier:?}");
        }
    }
}

#[test]
fn a_cache_taken_back_is_as_good_as_a_fresh_one() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), &Shape { window: 7, seed: 11, ..SMALL }, Layout::HuggingFace);
    let checkpoint = Checkpoint::open(folder.path()).expect("opens");
    let tokens: Vec<u32> = (0..60).map(|i| (i * i + 3 * i) % 77).collect();
    for precision in PRECISIONS {
        let model = Model::load(&checkpoint, precision, Pool::new(1), &mut |_, _| {})
            .expect("loads")
            .with_chunk_tokens(8);
        let expected = at_once(&model, &tokens);
        let (mut taken_back, mut refused) = (0, 0);
        for to in 0..=40 {
            let mut cache = model.new_cache(tokens.len());
            in_batches(&model, &mut cache, &tokens[..40], 3);
            // Other tokens than the ones to come: what they leave behind must not be seen.
            in_batches(&model, &mut cache, &[5; 4], 1);
            assert_eq!(cache.can_truncate(to), cache.truncate(to).is_ok());
            if cache.len() == to {
                taken_back += 1;
                let rows = in_batches(&model, &mut cache, &tokens[to..], 5);
                assert!(rows == expected[to * 77..], "back to {to}");
            } else {
                refused += 1;
                assert_eq!(cache.len(), 44);
            }
        }
        // 44 - (7 - 1 + 8) = 30 is the lowest position held; position 36 looks back to it. And 0 is a fresh start.
        assert_eq!((taken_back, refused), (6, 35));
    }
}

#[test]
fn wanted_rows_are_the_same_rows() {
    let tokens = golden("tiny").tokens;
    let model = load("tiny", Precision::Fast, Pool::new(1)).with_chunk_tokens(128);
    let all = at_once(&model, &tokens);
    let last = Batch { tokens: &tokens, logits: LogitRows::Last };
    let rows = model.forward(&last, &mut model.new_cache(300)).expect("runs");
    assert!(rows.rows == all[299 * 512..]);
    let mut cache = model.new_cache(300);
    let none = Batch { tokens: &tokens, logits: LogitRows::None };
    assert_eq!(model.forward(&none, &mut cache).expect("runs").num_rows(), 0);
    assert_eq!(cache.len(), 300);
    let mut shown = 0;
    let show = Batch { tokens: &tokens, logits: LogitRows::All };
    let mut on_row = |index: usize, row: &[f32]| {
        assert_eq!(index, shown);
        assert!(row == &all[index * 512..][..512]);
        shown += 1;
    };
    model.forward_rows(&show, &mut model.new_cache(300), &mut on_row).expect("runs");
    assert_eq!(shown, 300);
    let nothing = Batch { tokens: &[], logits: LogitRows::Last };
    assert_eq!(model.forward(&nothing, &mut model.new_cache(1)).expect("runs").num_rows(), 0);
}

/// Mean Kullback-Leibler divergence of fast from exact. Units: nats.
pub fn mean_kl(exact: &[f32], fast: &[f32], vocab_size: usize) -> f64 {
    let rows = exact.chunks_exact(vocab_size).zip(fast.chunks_exact(vocab_size));
    let kl = |(exact, fast): (&[f32], &[f32])| -> f64 {
        let (of_exact, of_fast) = (log_sum_exp(exact), log_sum_exp(fast));
        let terms = exact.iter().zip(fast).map(|(&e, &f)| {
            let (e, f) = (f64::from(e) - of_exact, f64::from(f) - of_fast);
            e.exp() * (e - f)
        });
        terms.sum()
    };
    rows.map(kl).sum::<f64>() / (exact.len() / vocab_size) as f64
}

/// The goldens have random weights, large enough that the clamp of SwiGLU and the routing matter: rounding moves them
/// far more than a trained model, for which the bound is 2e-3.
#[test]
fn fast_precision_is_near_exact() {
    for (name, vocab_size) in [("tiny", 512), ("tiny-yarn", 320)] {
        let tokens = golden(name).tokens;
        let exact = at_once(&load(name, Precision::Exact, Pool::new(2)), &tokens);
        let fast = at_once(&load(name, Precision::Fast, Pool::new(2)), &tokens);
        let kl = mean_kl(&exact, &fast, vocab_size);
        println!("{name}: mean KL of fast to exact {kl:e} nats");
        assert!(kl > 0.0 && kl < 0.05, "{name}: mean KL {kl}");
    }
}
