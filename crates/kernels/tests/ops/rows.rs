//! The ops on single rows: normalization, SwiGLU, the exponential, quantized activations.
//!
//! Each is compared between tiers to the bit, over all lengths up to 70 and over awkward numbers, and with a
//! float64 twin within a derived tolerance.

use gptoss_kernels::exp::exp;
use gptoss_kernels::{
    Pool, Q8Rows, Tier, gather_rows, lanes, quantize_q8, rmsnorm_on, row_dots, scatter_rows, swiglu_on,
};

use crate::support::{FILLS, Fill, Rng, assert_bits, assert_close, pools, scalar};

const U: f64 = 1.0 / (1 << 24) as f64;

fn lengths() -> impl Iterator<Item = usize> {
    (1..70).chain([2880])
}

#[test]
fn rmsnorm_on_every_tier_and_near_float64() {
    for fill in FILLS {
        for len in lengths() {
            let mut rng = Rng(len as u64);
            let (x, weight) = (fill.f32s(&mut rng, len), Fill::Random.f32s(&mut rng, len));
            let run = |tier| {
                let mut out = vec![f32::NAN; len];
                rmsnorm_on(tier, &mut out, &x, &weight, 1e-5);
                out
            };
            let expected = run(Tier::Scalar);
            for tier in Tier::available() {
                assert_bits(&run(tier), &expected, &(fill, len, tier));
            }
            let square: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
            let scale = (square / len as f64 + 1e-5_f32 as f64).sqrt().recip();
            // The sum rounds len/8 + 4 times and its root halves that; then the mean, eps, root, reciprocal,
            // two products.
            let roundings = len as f64 / 16.0 + 8.0;
            let twin: Vec<(f64, f64)> = x
                .iter()
                .zip(&weight)
                .map(|(x, weight)| {
                    let value = f64::from(*x) * scale * f64::from(*weight);
                    let claim = if square < f64::from(f32::MAX) { value } else { f64::NAN };
                    (claim, roundings * U * value.abs() + 3e-45)
                })
                .collect();
            assert_close(&expected, &twin, &(fill, len));
        }
    }
}

#[test]
fn swiglu_on_every_tier_and_near_float64() {
    for fill in FILLS {
        for len in lengths() {
            let gate_up: Vec<f32> =
                fill.f32s(&mut Rng(len as u64), 2 * len).into_iter().map(|x| x * 9.0).collect();
            let run = |tier| {
                let mut out = vec![f32::NAN; len];
                swiglu_on(tier, &mut out, &gate_up, 7.0, 1.702);
                out
            };
            let expected = run(Tier::Scalar);
            for tier in Tier::available() {
                assert_bits(&run(tier), &expected, &(fill, len, tier));
            }
            let twin: Vec<(f64, f64)> = gate_up
                .chunks_exact(2)
                .map(|pair| {
                    let (gate, up) = (f64::from(pair[0]).min(7.0), f64::from(pair[1]).clamp(-7.0, 7.0));
                    let value = gate / (1.0 + (-1.702_f32 as f64 * gate).exp()) * (up + 1.0);
                    // The argument rounds once, which the exponential magnifies by its size; then eight more
                    // roundings, and the exponential is cut at 2.4e38.
                    let relative = (8.0 + (1.702 * gate).abs().min(88.0)) * U;
                    let claim = if pair[0].is_finite() && pair[1].is_finite() { value } else { f64::NAN };
                    let sum_error = 2.0 * U * (gate / (1.0 + (-1.702 * gate).exp())).abs();
                    (claim, relative * value.abs() + sum_error + 1e-36 * gate.abs().min(1e36) + 8e-45)
                })
                .collect();
            assert_close(&expected, &twin, &(fill, len));
        }
    }
}

#[test]
fn quantized_rows_are_the_same_on_every_tier_and_for_every_number_of_threads() {
    for fill in FILLS {
        for (t, k) in [(1, 32), (3, 96), (5, 2880)] {
            let x = fill.f32s(&mut Rng(k as u64), t * k);
            let run = |pool: &Pool| {
                let mut rows = Q8Rows::new();
                // What an earlier use leaves must not show.
                quantize_q8(pool, &mut rows, &vec![1.0; 4096], 1, 4096);
                quantize_q8(pool, &mut rows, &x, t, k);
                let mut back = vec![0.0; t * k];
                for (t, back) in back.chunks_exact_mut(k).enumerate() {
                    rows.dequantize(back, t);
                }
                back
            };
            let expected = run(&scalar());
            for tier in Tier::available() {
                for threads in [1, 2] {
                    let pool = Pool::with_tier(threads, tier);
                    assert_bits(&run(&pool), &expected, &(fill, t, k, tier, threads));
                }
            }
            for (i, (back, x)) in expected.iter().zip(&x).enumerate() {
                let block = &x_block(i, &expected, k);
                assert!(!x.is_finite() || back.is_nan() || (back - x).abs() <= block * 0.51 + 1e-30, "{i}");
            }
        }
    }
}

/// One step of the block that element `i` is in: its largest magnitude over 127.
fn x_block(i: usize, values: &[f32], k: usize) -> f32 {
    let first = i / k * k + i % k / 32 * 32;
    values[first..first + 32].iter().fold(0.0_f32, |largest, v| largest.max(v.abs())) / 127.0
}

/// Compiled into a loop that the compiler may vectorize, the exponential keeps its bits.
#[test]
fn exp_in_a_vectorized_loop_keeps_its_bits() {
    let x: Vec<f32> = (0..2000).map(|i| (i as f32 - 1000.0) * 0.0931).collect();
    let gate_up: Vec<f32> = x.iter().flat_map(|x| [*x, 0.0]).collect();
    for tier in Tier::available() {
        let mut out = vec![0.0; x.len()];
        swiglu_on(tier, &mut out, &gate_up, f32::MAX, 1.0);
        for (out, x) in out.iter().zip(&x) {
            assert_eq!(out.to_bits(), (x * (1.0 / (1.0 + exp(-x)))).to_bits(), "{tier:?} {x}");
        }
    }
}

/// What is added to a row that comes twice comes in the order of the rows.
#[test]
fn rows_are_gathered_and_added_back_in_order() {
    let (t, c) = (7, 150);
    let mut rng = Rng(5);
    let (x, factors) = (Fill::Random.f32s(&mut rng, t * c), Fill::Random.f32s(&mut rng, 5));
    let start = Fill::Random.f32s(&mut rng, t * c);
    let rows = [6, 0, 3, 6, 2];
    let chosen: Vec<f32> = rows.iter().flat_map(|row| x[row * c..][..c].to_vec()).collect();
    let mut expected = start.clone();
    for ((row, factor), x) in rows.iter().zip(&factors).zip(chosen.chunks_exact(c)) {
        let out = expected[row * c..][..c].iter_mut();
        out.zip(x).for_each(|(out, x)| *out = factor.mul_add(*x, *out));
    }
    for pool in pools() {
        let what = (pool.tier(), pool.threads());
        let (mut gathered, mut out) = (vec![f32::NAN; rows.len() * c], start.clone());
        gather_rows(&pool, &mut gathered, &x, &rows);
        assert_bits(&gathered, &chosen, &what);
        scatter_rows(&pool, &mut out, &gathered, &rows, &factors);
        assert_bits(&out, &expected, &what);
        gather_rows(&pool, &mut [], &x, &[]);
        scatter_rows(&pool, &mut out, &[], &[], &[]);
        assert_bits(&out, &expected, &what);
    }
}

#[test]
fn dots_of_rows_are_those_of_the_lanes() {
    for (t, c) in [(0, 3), (1, 1), (9, 70), (40, 8)] {
        let mut rng = Rng((t + c) as u64);
        let (x, y) = (Fill::Random.f32s(&mut rng, t * c), Fill::Random.f32s(&mut rng, t * c));
        let rows = x.chunks_exact(c).zip(y.chunks_exact(c));
        let expected: Vec<f32> = rows.map(|(x, y)| lanes::dot(x, y)).collect();
        for pool in pools() {
            let mut out = vec![f32::NAN; t];
            row_dots(&pool, &mut out, &x, &y);
            assert_bits(&out, &expected, &(t, c, pool.tier(), pool.threads()));
        }
    }
}
