//! Norm, rotary positions, SwiGLU, the router's choice.

use gptoss_kernels::{Rope, Tier, YarnParams, exp, rmsnorm_on, swiglu_on, top_k_softmax};

use crate::numbers::{FILLS, Fill, Rng, assert_bits};
use crate::reference::{Fma, floats, numbers, routing};

fn lengths() -> impl Iterator<Item = usize> {
    (1..41).chain([64, 127, 2880])
}

#[test]
fn the_exponential() {
    let mut rng = Rng(1);
    let mut x: Vec<f32> = (0..200_000).map(|_| rng.unit() * 100.0).collect();
    x.extend([0.0, -0.0, -87.336_54, -87.336_55, 88.37, 88.38, f32::MAX, f32::MIN, f32::NAN]);
    x.extend([f32::INFINITY, f32::NEG_INFINITY, 1e-40]);
    let of = |f: &dyn Fn(f32) -> f32| x.iter().map(|x| f(*x)).collect::<Vec<_>>();
    assert_bits(&of(&|x| numbers::exp(Fma::Fused, x)), &of(&exp::exp), &"exp");
}

#[test]
fn rmsnorm() {
    for fill in FILLS {
        for len in lengths() {
            let mut rng = Rng(len as u64);
            let (x, weight) = (fill.floats(&mut rng, len), Fill::Random.floats(&mut rng, len));
            let expected = floats::rmsnorm(Fma::Fused, &x, &weight, 1e-5);
            for tier in Tier::available() {
                let mut out = vec![0.0; len];
                rmsnorm_on(tier, &mut out, &x, &weight, 1e-5);
                assert_bits(&expected, &out, &(fill, len, tier));
            }
        }
    }
}

#[test]
fn swiglu() {
    for fill in FILLS {
        for len in lengths() {
            let gate_up: Vec<f32> =
                fill.floats(&mut Rng(len as u64), 2 * len).into_iter().map(|x| x * 9.0).collect();
            let expected = floats::swiglu(Fma::Fused, &gate_up, 7.0, 1.702);
            for tier in Tier::available() {
                let mut out = vec![0.0; len];
                swiglu_on(tier, &mut out, &gate_up, 7.0, 1.702);
                assert_bits(&expected, &out, &(fill, len, tier));
            }
        }
    }
}

#[test]
fn rotary_positions() {
    for (head_dim, original) in [(64, 4096), (32, 256), (8, 512), (2, 4096)] {
        let params = YarnParams {
            factor: 32.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
            original_max_position_embeddings: original,
            truncate: false,
        };
        let rope = Rope::yarn(head_dim, 150_000.0, &params);
        for position in [0, 1, 127, 511, 512, 4095, 131_071] {
            let x = Rng(position as u64).floats(3 * head_dim);
            let (mut expected, mut out) = (x.clone(), x);
            let angles = floats::angles(rope.inverse_frequencies(), rope.concentration(), position);
            floats::rotate(&mut expected, &angles);
            rope.apply(&mut out, 3, position);
            assert_bits(&expected, &out, &(head_dim, position));
        }
    }
}

#[test]
fn the_choice_of_the_router() {
    for fill in FILLS {
        for (num_experts, k) in [(1, 1), (4, 1), (4, 2), (8, 4), (32, 4), (128, 4), (5, 5)] {
            for seed in 0..20 {
                let mut logits = fill.floats(&mut Rng(seed), num_experts);
                // Ties.
                if seed % 3 == 0 {
                    logits.iter_mut().for_each(|x| *x = (*x * 2.0).round());
                }
                let (mut experts, mut weights) = (vec![0; k], vec![0.0; k]);
                top_k_softmax(&logits, k, &mut experts, &mut weights);
                let expected = routing::top_k_softmax(Fma::Fused, &logits, k);
                assert_eq!(expected.0, experts, "{logits:?}");
                assert_bits(&expected.1, &weights, &logits);
            }
        }
    }
}
