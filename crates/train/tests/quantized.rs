//! Quantization-aware training: what is trained is what a merge and an export write, to the bit.

use std::path::Path;

use gptoss_checkpoint::{Adapter, Checkpoint, ExpertFormat, Preset, write_checkpoint};
use gptoss_kernels::{Document, Pool, Tier};
use gptoss_model::Merger;
use gptoss_train::{
    Batch, Gradients, Linear, LowRankPair, LowRankTuning, Network, OptimizerSettings, RunIdentity, Text,
    Trained, Trainer, Tuning, Weight, Weights, add_gradients, write_folder,
};
use serde_json::Map;

const SETTINGS: OptimizerSettings =
    OptimizerSettings { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, norm_max: 1.0 };
const MXFP4: Option<ExpertFormat> = Some(ExpertFormat::Mxfp4);
const SCALE: f32 = 2.0;
const TOKENS: [u32; 3] = [3, 37, 74];

fn tiny() -> Checkpoint {
    Checkpoint::synthetic(Preset::Tiny, 5, Some(2)).expect("a preset")
}

fn low_rank() -> Tuning {
    let (attention_rank, expert_rank) = (Some(2), Some(2));
    Tuning::LowRank(LowRankTuning { attention_rank, expert_rank, scale: SCALE, tokens: TOKENS.to_vec() })
}

/// Texts of a few tokens; the first weighs nothing.
fn texts() -> Vec<(Vec<u32>, Vec<f32>)> {
    let text = |n: u32| {
        let tokens: Vec<u32> = (0..8 + n % 5).map(|i| (n * 37 + i * 11) % 320).collect();
        let weights = (0..tokens.len()).map(|i| if i == 0 { 0.0 } else { 1.0 }).collect();
        (tokens, weights)
    };
    (0..4).map(text).collect()
}

/// A network whose passes see stored weights, trained for some steps.
fn trained(
    pool: &Pool,
    weights: &Weights,
    (tuning, stored): (&Tuning, Option<ExpertFormat>),
    (steps, rate): (u64, f64),
) -> (f64, Trained) {
    let (mut network, begin) = weights.network(tuning, 1);
    network.stored = stored;
    let mut trainer = Trainer::new(pool, &network, begin, SETTINGS, 32);
    let all = texts();
    let texts: Vec<Text<'_>> = all.iter().map(|(tokens, weights)| Text { tokens, weights }).collect();
    for _ in 0..steps {
        trainer.step(&texts, rate).expect("finite");
    }
    (trainer.loss(&texts).sum, trainer.into_trained())
}

/// The loss of a model as it lies.
fn loss_of(pool: &Pool, checkpoint: &Checkpoint) -> f64 {
    let weights = Weights::open(checkpoint, None).expect("opens");
    let all = texts();
    let texts: Vec<Text<'_>> = all.iter().map(|(tokens, weights)| Text { tokens, weights }).collect();
    weights.tuned(None).loss(pool, &texts, 32).sum
}

fn merge(base: &Checkpoint, adapter: &Adapter, experts: ExpertFormat, out: &Path) -> Checkpoint {
    let pool = Pool::new(1);
    let mut merger = Merger::new(base, adapter, experts, &pool);
    let written =
        write_checkpoint(out, base.config(), experts, &[], &mut |part, sink| merger.write(part, sink));
    written.expect("written").finish().expect("finished");
    Checkpoint::open(out).expect("opens")
}

/// Gradients of the texts, each for itself, and the sum of their losses.
fn gradients(pool: &Pool, network: &Network<'_>, trained: &Trained) -> (f64, Gradients) {
    let (mut loss, mut gradients) = (0.0, Gradients::zeros(trained));
    for (tokens, weights) in texts() {
        let rows = tokens.len() - 1;
        let (targets, weights) = (&tokens[1..], &weights[1..]);
        let documents = &[Document::alone(rows)];
        let batch = Batch { tokens: &tokens[..rows], documents, targets, weights, balance_weight: 0.0 };
        loss += add_gradients(pool, network, trained, &mut gradients, batch).sum;
    }
    (loss, gradients)
}

fn linears<'b, 'a>(network: &'b Network<'a>) -> Vec<&'b Linear<'a>> {
    let of = |layer: &'b gptoss_train::Layer<'a>| {
        let attention = &layer.attention;
        let dense = [&attention.query, &attention.key, &attention.value, &attention.out];
        let experts = layer.experts.iter().flat_map(|expert| [&expert.gate_up, &expert.down]);
        dense.into_iter().chain(experts).collect::<Vec<_>>()
    };
    network.layers.iter().flat_map(of).collect()
}

/// Errors beside the largest number that is expected.
fn assert_close(found: &[f32], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0_f64, |largest, g| largest.max(g.abs()));
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs();
        assert!(error <= 2e-5 * largest, "{what} at {index}: {found}, not {expected}; largest {largest}");
    }
}

/// The twin: gradients of every weight of the merged checkpoint, through the factors in float64.
#[test]
fn gradients_go_straight_through_the_merged_weights() {
    let (base, pool, folder) = (tiny(), Pool::new(2), tempfile::tempdir().expect("a folder"));
    let weights = Weights::open(&base, None).expect("opens");
    let (_, trained) = trained(&pool, &weights, (&low_rank(), MXFP4), (4, 3e-2));
    let (mut network, _) = weights.network(&low_rank(), 1);
    network.stored = MXFP4;
    let merged = merge(&base, &network.adapter(&trained), ExpertFormat::Mxfp4, &folder.path().join("m"));
    let merged = Weights::open(&merged, None).expect("opens");
    let (whole, numbers) = merged.network(&Tuning::Full, 0);
    let (loss, found) = gradients(&pool, &network, &trained);
    let (expected_loss, expected) = gradients(&pool, &whole, &numbers);
    assert_eq!(loss, expected_loss, "the forward pass is the merged model's");
    for (index, (linear, whole)) in linears(&network).into_iter().zip(linears(&whole)).enumerate() {
        let (Some(LowRankPair { a, b, rank, scale }), Weight::Trained(span)) =
            (linear.low_rank, whole.weight)
        else {
            panic!("a pair, and a matrix in full")
        };
        let (dw, k) = (expected.of(span), linear.num_inputs);
        let (a_values, b_values) = (trained.of(a), trained.of(b));
        assert!(b_values.iter().any(|b| *b != 0.0));
        let (mut da, mut db) = (vec![0.0; rank * k], vec![0.0; b_values.len()]);
        for (place, dw) in dw.iter().enumerate() {
            let (row, column, dw) = (place / k, place % k, f64::from(scale) * f64::from(*dw));
            for j in 0..rank {
                da[j * k + column] += dw * f64::from(b_values[row * rank + j]);
                db[row * rank + j] += dw * f64::from(a_values[j * k + column]);
            }
        }
        assert_close(found.of(a), &da, &format!("A of matrix {index}"));
        assert_close(found.of(b), &db, &format!("B of matrix {index}"));
    }
    let rows = network.rows.as_ref().expect("rows");
    for (span, weight, what) in
        [(rows.embedding, whole.embedding, "embedding"), (rows.head, whole.head, "head")]
    {
        let Weight::Trained(all) = weight else { panic!("in full") };
        let c = network.shape.hidden_size;
        let of = |token: &u32| expected.of(all)[*token as usize * c..][..c].iter().map(|g| f64::from(*g));
        assert_close(found.of(span), &TOKENS.iter().flat_map(of).collect::<Vec<_>>(), what);
    }
}

#[test]
fn the_first_step_is_the_bases() {
    let (base, pool) = (tiny(), Pool::new(1));
    let weights = Weights::open(&base, None).expect("opens");
    for tuning in [low_rank(), Tuning::Full] {
        let (loss, _) = trained(&pool, &weights, (&tuning, MXFP4), (0, 0.0));
        assert_eq!(loss, loss_of(&pool, &base), "{tuning:?}");
    }
}

/// A small tuning: rounding takes most of it, unless it was trained with it.
#[test]
fn a_merge_keeps_what_was_trained_for_it() {
    let (base, pool, folder) = (tiny(), Pool::new(2), tempfile::tempdir().expect("a folder"));
    let weights = Weights::open(&base, None).expect("opens");
    let tuning = Tuning::LowRank(LowRankTuning {
        attention_rank: None,
        expert_rank: Some(2),
        scale: SCALE,
        tokens: Vec::new(),
    });
    let before = loss_of(&pool, &base);
    let run = |stored: Option<ExpertFormat>, name: &str| {
        let (loss, trained) = trained(&pool, &weights, (&tuning, stored), (12, 3e-4));
        let adapter = weights.network(&tuning, 1).0.adapter(&trained);
        let merged = merge(&base, &adapter, ExpertFormat::Mxfp4, &folder.path().join(name));
        let opened = Weights::open(&merged, None).expect("opens");
        let seen = weights.tuned(Some(&adapter)).stored(ExpertFormat::Mxfp4);
        assert!(seen.is_same(&pool, &opened.tuned(None)), "{name}: what is seen is what is merged");
        (before - loss, before - loss_of(&pool, &merged))
    };
    let (plain, plain_merged) = run(None, "plain");
    let (aware, aware_merged) = run(MXFP4, "aware");
    assert_eq!(aware_merged, aware, "the merge is the trained function");
    assert!(plain > 0.0 && plain_merged < 0.2 * plain, "{plain_merged} of {plain}");
    assert!(aware > 0.0, "{aware}");
}

#[test]
fn every_merged_number_is_the_one_that_was_seen() {
    // Of a GGUF file, codes lie in another order and dense matrices are not bf16.
    let gguf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tiny-yarn-q8_0.gguf");
    for base in [tiny(), Checkpoint::open(&gguf).expect("opens")] {
        check_merged(&base);
    }
}

/// Every kind of number that a merge writes, in both formats.
fn check_merged(base: &Checkpoint) {
    let (pool, folder) = (Pool::new(2), tempfile::tempdir().expect("a folder"));
    let weights = Weights::open(base, None).expect("opens");
    for (format, name) in [(ExpertFormat::Mxfp4, "mxfp4"), (ExpertFormat::Bf16, "bf16")] {
        let (loss, trained) = trained(&pool, &weights, (&low_rank(), Some(format)), (3, 2e-2));
        let adapter = weights.network(&low_rank(), 1).0.adapter(&trained);
        let merged = merge(base, &adapter, format, &folder.path().join(name));
        assert_eq!(loss_of(&pool, &merged), loss, "{name}");
        let opened = Weights::open(&merged, None).expect("opens");
        let tuned = opened.tuned(None);
        assert!(weights.tuned(Some(&adapter)).stored(format).is_same(&pool, &tuned), "{name}");
        // Each kind of difference is seen.
        for change in 0..3 {
            let mut other = adapter.clone();
            match change {
                0 => other.rows.embedding[0] += 1.0,
                1 => other.rows.unembedding[0] += 1.0,
                _ => other.pairs.values_mut().take(1).for_each(|pair| pair.scale *= 4.0),
            }
            assert!(!weights.tuned(Some(&other)).stored(format).is_same(&pool, &tuned), "{name}, {change}");
        }
    }
}

#[test]
fn a_model_trained_in_full_is_written_as_it_was_seen() {
    let (base, pool, folder) = (tiny(), Pool::new(2), tempfile::tempdir().expect("a folder"));
    let weights = Weights::open(&base, None).expect("opens");
    let (loss, trained) = trained(&pool, &weights, (&Tuning::Full, MXFP4), (4, 2e-3));
    let (mut network, _) = weights.network(&Tuning::Full, 1);
    network.stored = MXFP4;
    write_folder(folder.path(), &base, &network, &trained).expect("writes");
    let written = Checkpoint::open(folder.path()).expect("opens");
    assert_eq!(loss_of(&pool, &written), loss);
    assert!(loss < loss_of(&pool, &base));
    // Gradients too are those of the written numbers: the rounding has none of its own.
    let opened = Weights::open(&written, None).expect("opens");
    let (whole, numbers) = opened.network(&Tuning::Full, 0);
    let (found, expected) = (gradients(&pool, &network, &trained), gradients(&pool, &whole, &numbers));
    assert_eq!(found.0, expected.0);
    for (ours, theirs) in trained.tensors().iter().zip(numbers.tensors()) {
        assert_eq!(found.1.of(ours.span), expected.1.of(theirs.span), "{}", ours.name);
    }
}

#[test]
fn a_run_that_goes_on_elsewhere_ends_with_the_same_bytes() {
    let (base, folder) = (tiny(), tempfile::tempdir().expect("a folder"));
    let weights = Weights::open(&base, None).expect("opens");
    let (mut network, begin) = weights.network(&low_rank(), 1);
    network.stored = MXFP4;
    let all = texts();
    let texts: Vec<Text<'_>> = all.iter().map(|(tokens, weights)| Text { tokens, weights }).collect();
    let identity = RunIdentity { data: "d".to_owned(), base: "b".to_owned(), recipe: Map::new() };
    let run = |pool: &Pool, stop: u64, resumed: bool| {
        let trainer = Trainer::new(pool, &network, begin.clone(), SETTINGS, 16);
        let mut trainer = trainer.stored_from(2);
        if resumed {
            assert!(trainer.restore(folder.path(), &identity).expect("restores"));
        }
        while trainer.steps() < stop {
            trainer.step(&texts, 1e-2).expect("finite");
        }
        trainer.save(folder.path(), &identity).expect("saves");
        std::fs::read(folder.path().join(format!("step-{stop:08}/state.safetensors"))).expect("a state")
    };
    let (wide, narrow) = (Pool::new(3), Pool::with_tier(1, Tier::Scalar));
    let whole = run(&wide, 5, false);
    for stop in [1, 3] {
        std::fs::remove_dir_all(folder.path().join("step-00000005")).expect("removed");
        run(&narrow, stop, false);
        assert!(run(&narrow, 5, true) == whole, "stopped after {stop}");
        std::fs::remove_dir_all(folder.path().join(format!("step-{stop:08}"))).expect("removed");
    }
    // The first steps see the weights as they are.
    let early = |from: u64| {
        let pool = Pool::new(1);
        let mut trainer = Trainer::new(&pool, &network, begin.clone(), SETTINGS, 64).stored_from(from);
        (0..3).map(|_| trainer.step(&texts, 1e-2).expect("finite").loss).collect::<Vec<_>>()
    };
    let (never, late, always) = (early(9), early(2), early(0));
    assert_eq!(never[..2], late[..2]);
    assert!(late[2] != never[2] && always[1] != never[1], "{never:?}, {late:?}, {always:?}");
}
