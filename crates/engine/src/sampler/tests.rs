//! The sampler against a slow one that sorts everything, against its own probabilities, and step by step.

use proptest::prelude::*;

use gptoss_model::log_prob;

use super::*;
use crate::request::SamplingParams;

fn parse(params: SamplingParams, vocab_size: usize) -> Sampling {
    Sampling::parse(&params, vocab_size).expect("legal parameters")
}

impl Sampler {
    /// Without a mask.
    fn free(&mut self, row: &[f32], position: usize) -> Sampled {
        self.sample(row, position, Mask::Any, None).expect("a token")
    }
}

fn sampler(params: SamplingParams, row: &[f32]) -> Sampler {
    Sampler::new(parse(params, row.len()), &[])
}

/// Tokens that can be drawn, in order, by sorting the whole row: top-k, then top-p, then min-p.
fn kept_by_sorting(row: &[f32], params: &SamplingParams) -> Vec<u32> {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |token: u32| f64::from(((row[token as usize] - largest) / params.temperature).exp());
    let mut order: Vec<u32> = (0..row.len() as u32).collect();
    order.sort_by(|&a, &b| row[b as usize].total_cmp(&row[a as usize]).then(a.cmp(&b)));
    if params.top_k > 0 {
        order.truncate(params.top_k as usize);
    }
    if params.top_p < 1.0 {
        let total: f64 = order.iter().map(|&token| weight(token)).sum();
        let mut sum = 0.0;
        let mut before = order.iter().take_while(|&&token| {
            let is_needed = sum < total * f64::from(params.top_p);
            sum += weight(token);
            is_needed
        });
        let count = before.by_ref().count().max(1);
        order.truncate(count);
    }
    order.retain(|&token| weight(token) >= f64::from(params.min_p));
    order
}

/// Tokens that the sampler draws over many positions.
fn drawn(sampler: &mut Sampler, row: &[f32], draws: usize) -> Vec<usize> {
    let mut counts = vec![0; row.len()];
    for position in 0..draws {
        counts[sampler.free(row, position).token as usize] += 1;
    }
    counts
}

proptest! {
    #[test]
    fn cuts_keep_what_sorting_keeps(
        row in prop::collection::vec(-6.0_f32..6.0, 1..400),
        rounded in any::<bool>(),
        temperature in 0.1_f32..2.0,
        top_k in 0_u32..50,
        top_p in prop_oneof![Just(1.0_f32), Just(0.0), 0.0_f32..1.0],
        min_p in prop_oneof![Just(0.0_f32), 0.0_f32..1.0],
    ) {
        // Rounded rows are full of equals.
        let row: Vec<f32> = if rounded { row.iter().map(|logit| logit.round() + 0.0).collect() } else { row };
        let params = SamplingParams { temperature, top_k, top_p, min_p, ..SamplingParams::default() };
        let mut expected = kept_by_sorting(&row, &params);
        let mut sampler = sampler(params, &row);
        sampler.logits = row.clone();
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let cut = sampler.cut(&|logit| f64::from(((logit - largest) / temperature).exp()));
        let keeps = |token: u32| cut.is_none_or(|cut| cut.keeps(row[token as usize], token));
        let mut kept: Vec<u32> = (0..row.len() as u32).filter(|&token| keeps(token)).collect();
        expected.sort_unstable();
        kept.sort_unstable();
        // Sums in another order may disagree about one token on the edge of the nucleus.
        let off_by_one = top_p < 1.0 && kept.len().abs_diff(expected.len()) == 1;
        prop_assert!(kept == expected || off_by_one, "{kept:?} {expected:?}");
        prop_assert!(keeps(sampler.free(&row, 3).token));
    }

    #[test]
    fn logprobs_are_those_of_the_row(row in prop::collection::vec(-30.0_f32..30.0, 1..100), seed in any::<u64>()) {
        let params = SamplingParams {
            seed,
            temperature: 2.0,
            top_k: 7,
            presence_penalty: 1.0,
            logit_bias: vec![(0, 50.0)],
            ..SamplingParams::default()
        };
        let sampled = sampler(params, &row).free(&row, 5);
        prop_assert_eq!(sampled.logprob, log_prob(&row, sampled.token));
        prop_assert!(sampled.logprob <= 1e-6);
    }
}

/// Chi-squared of 20,000 draws against the softmax at three temperatures.
#[test]
fn draws_follow_the_probabilities() {
    let row: Vec<f32> = (0..40).map(|i| ((i * 37) % 40) as f32 * 0.05).collect();
    for temperature in [0.5_f32, 1.0, 2.0] {
        let params = SamplingParams { temperature, seed: 4, ..SamplingParams::default() };
        let counts = drawn(&mut sampler(params, &row), &row, 20_000);
        let weights: Vec<f64> = row.iter().map(|&logit| f64::from(logit / temperature).exp()).collect();
        let total: f64 = weights.iter().sum();
        let terms = counts.iter().zip(&weights).map(|(&count, weight)| {
            let expected = weight / total * 20_000.0;
            (count as f64 - expected).powi(2) / expected
        });
        let chi2: f64 = terms.sum();
        // 39 degrees of freedom: 99.99 % lie under 83.
        assert!(chi2 < 83.0, "{chi2} at temperature {temperature}");
    }
}

#[test]
fn temperature_zero_takes_the_best_and_of_equals_the_lowest() {
    let params = SamplingParams { temperature: 0.0, ..SamplingParams::default() };
    let row = [1.0, 3.0, -2.0, 3.0];
    assert_eq!(sampler(params.clone(), &row).free(&row, 0).token, 1);
    let biased = SamplingParams { logit_bias: vec![(2, 5.5)], ..params };
    assert_eq!(sampler(biased, &row).free(&row, 0).token, 2);
}

#[test]
fn a_low_temperature_is_as_good_as_none() {
    let row = [1.0, 2.0, 1.9];
    let params = SamplingParams { temperature: 1e-30, ..SamplingParams::default() };
    assert_eq!(drawn(&mut sampler(params, &row), &row, 50), [0, 50, 0]);
}

/// One row of logits after `committed` tokens, as the draw sees it.
fn adjusted(params: SamplingParams, prompt: &[u32], committed: &[u32], row: &[f32]) -> Vec<f32> {
    let mut sampler = Sampler::new(parse(params, row.len()), prompt);
    for &token in committed {
        sampler.commit(token);
    }
    sampler.free(row, 0);
    sampler.logits
}

#[test]
fn penalties_and_bias() {
    let row = [2.0, -2.0, 4.0, 1.0];
    let none = SamplingParams::default();
    assert_eq!(adjusted(none.clone(), &[0, 1], &[2, 2], &row), row);
    let presence = SamplingParams { presence_penalty: 0.5, ..none.clone() };
    assert_eq!(adjusted(presence, &[0, 1], &[2, 2], &row), [2.0, -2.0, 3.5, 1.0]);
    let frequency = SamplingParams { frequency_penalty: 0.5, ..none.clone() };
    assert_eq!(adjusted(frequency, &[0, 1], &[2, 2], &row), [2.0, -2.0, 3.0, 1.0]);
    let repetition = SamplingParams { repetition_penalty: 2.0, ..none.clone() };
    assert_eq!(adjusted(repetition, &[0, 1], &[2, 2], &row), [1.0, -4.0, 2.0, 1.0]);
    let bias = SamplingParams { logit_bias: vec![(3, 1.5), (0, -1.0), (3, 1.0)], ..none.clone() };
    assert_eq!(adjusted(bias, &[], &[], &row), [1.0, -2.0, 4.0, 3.5]);
    let all = SamplingParams {
        presence_penalty: 1.0,
        frequency_penalty: 0.25,
        repetition_penalty: 2.0,
        logit_bias: vec![(2, 10.0)],
        ..none
    };
    assert_eq!(adjusted(all, &[1], &[2, 2], &row), [2.0, -4.0, 10.5, 1.0]);
}

#[test]
fn a_draw_depends_on_seed_and_position_alone() {
    let row: Vec<f32> = (0..50).map(|i| (i as f32 * 0.7).sin()).collect();
    let with_seed = |seed| sampler(SamplingParams { seed, ..SamplingParams::default() }, &row);
    let mut first = with_seed(1);
    let forward: Vec<u32> = (0..40).map(|position| first.free(&row, position).token).collect();
    let mut second = with_seed(1);
    let backward: Vec<u32> = (0..40).rev().map(|position| second.free(&row, position).token).collect();
    assert!(forward.iter().eq(backward.iter().rev()));
    let mut other = with_seed(2);
    assert!((0..40).any(|position| other.free(&row, position).token != forward[position]));
}

/// A mask takes tokens out before everything that looks at the rest; what is told of the model's own row
/// stays.
#[test]
fn masks_leave_only_what_they_allow() {
    let row: Vec<f32> = (0..70).map(|token| (token % 7) as f32).collect();
    let only = |tokens: &[u32]| {
        let mut words = vec![0_u32; 3];
        tokens.iter().for_each(|&token| words[token as usize / 32] |= 1 << (token % 32));
        words
    };
    let words = only(&[1, 33, 65]);
    let mut sampler = sampler(SamplingParams { top_k: 2, ..SamplingParams::default() }, &row);
    let mut seen = [0; 70];
    for position in 0..300 {
        let sampled =
            sampler.sample(&row, position, Mask::Only(&words), Some(5)).expect("something is allowed");
        seen[sampled.token as usize] += 1;
        assert_eq!(sampled.logprob, log_prob(&row, sampled.token));
        assert_eq!(sampled.top.len(), 5);
        assert!(sampled.top.iter().all(|best| best.id % 7 == 6), "the model's best, whatever is allowed");
        let masked = sampled.masked.expect("a mask was given");
        assert_eq!(masked.top.iter().map(|best| best.id).collect::<Vec<_>>(), [33, 65, 1]);
        let total: f64 = masked.top.iter().map(|best| best.logprob.exp()).sum();
        assert!((total - 1.0).abs() < 1e-6, "{total}");
    }
    assert!(seen[33] > 0 && seen[65] > 0 && seen[33] + seen[65] == 300, "top-k counts the allowed alone");
    // Words that are not there forbid; and nothing allowed is nothing chosen.
    assert_eq!(
        sampler.sample(&row, 0, Mask::Only(&only(&[5])[..1]), None).map(|sampled| sampled.token),
        Some(5)
    );
    assert_eq!(sampler.sample(&row, 0, Mask::Only(&[0, 0, 0]), None), None);
}

/// Best first, of equals the lower id, as the cuts order them.
#[test]
fn the_most_probable_are_in_the_order_of_the_cuts() {
    let row = [1.0, 3.0, 3.0, f32::NEG_INFINITY, 2.0, 3.0];
    let ids = |count| most_probable(&row, 0.0, count).iter().map(|best| best.id).collect::<Vec<_>>();
    assert_eq!(ids(0), [0; 0]);
    assert_eq!(ids(2), [1, 2]);
    assert_eq!(ids(4), [1, 2, 5, 4]);
    assert_eq!(ids(9), [1, 2, 5, 4, 0]);
}

#[test]
fn what_another_engine_generated_is_counted_as_generated() {
    let params = SamplingParams {
        temperature: 0.0,
        presence_penalty: 0.5,
        frequency_penalty: 0.25,
        repetition_penalty: 1.1,
        ..SamplingParams::default()
    };
    let row = [1.0, 1.2, 1.4, 0.9, 1.1, 1.3];
    let mut alone = Sampler::new(parse(params.clone(), row.len()), &[0, 3]);
    let mut told = Vec::new();
    for position in 0..12 {
        // The row is the same each time: penalties alone make the order.
        let mut after =
            Sampler::continued(parse(params.clone(), row.len()), &[&[0, 3], &*told].concat(), told.len());
        let token = alone.free(&row, position).token;
        assert_eq!(after.free(&row, position).token, token, "after {told:?}");
        alone.commit(token);
        told.push(token);
    }
    assert!(told.iter().collect::<std::collections::BTreeSet<_>>().len() > 3, "{told:?}");
}
