//! Gradients of the ops on rows: RMSNorm, rotary positions, SwiGLU and the router's choice.

use gptoss_kernels::{
    Pool, Rope, Tier, YarnParams, rmsnorm_backward, swiglu_backward, top_k_softmax, top_k_softmax_backward,
};

use super::differences::{Sum, TINY, U, assert_slopes, weighted, widen};
use crate::support::{FILLS, Fill, Rng, assert_bits, assert_close, pools, scalar};

const EPS: f32 = 1e-5;

fn norm(x: &[f64], weight: &[f64]) -> Vec<f64> {
    let c = weight.len();
    let row = |x: &[f64]| {
        let scale = 1.0 / (x.iter().map(|x| x * x).sum::<f64>() / c as f64 + f64::from(EPS)).sqrt();
        x.iter().zip(weight).map(move |(x, w)| x * scale * w).collect::<Vec<_>>()
    };
    x.chunks(c).flat_map(row).collect()
}

/// Gradients of x and of the weight, each with what rounding can cost.
fn norm_twin(dy: &[f64], x: &[f64], weight: &[f64]) -> [Vec<(f64, f64)>; 2] {
    let (c, t) = (weight.len(), x.len() / weight.len());
    // The scale and the mean are sums of eight lanes; then each is a few operations.
    let roundings = c as f64 / 4.0 + 24.0;
    let (mut dx, mut dweight) = (Vec::new(), vec![Sum::default(); c]);
    for (dy, x) in dy.chunks(c).zip(x.chunks(c)) {
        let scale = 1.0 / (x.iter().map(|x| x * x).sum::<f64>() / c as f64 + f64::from(EPS)).sqrt();
        let mut mean = Sum::default();
        (0..c).for_each(|i| mean.add(dy[i] * weight[i] * x[i] * scale / c as f64));
        for i in 0..c {
            let (g, n) = (dy[i] * weight[i], x[i] * scale);
            let size = scale * (g.abs() + n.abs() * mean.size);
            dx.push((scale * (g - n * mean.value), roundings * U * size + 1e3 * TINY * (1.0 + scale)));
            dweight[i].add(dy[i] * n);
        }
    }
    [dx, dweight.into_iter().map(|sum| sum.within(t + c / 8 + 16)).collect()]
}

#[test]
fn rmsnorm_near_float64_and_on_every_tier() {
    for fill in FILLS {
        for (t, c) in [(1, 1), (3, 7), (2, 8), (5, 70), (9, 300)] {
            let mut rng = Rng((t * c) as u64);
            let (x, weight) = (fill.f32s(&mut rng, t * c), Fill::Random.f32s(&mut rng, c));
            let dy = Fill::Random.f32s(&mut rng, t * c);
            let run = |pool: &Pool| {
                let (mut dx, mut dweight) = (vec![0.0; t * c], vec![0.0; c]);
                rmsnorm_backward(pool, &mut dx, Some(&mut dweight), &dy, &x, (&weight, EPS));
                [dx, dweight]
            };
            let expected = run(&scalar());
            for pool in &pools() {
                for (actual, expected) in run(pool).iter().zip(&expected) {
                    assert_bits(actual, expected, &(fill, t, c, pool.tier(), pool.threads()));
                }
            }
            // Squares of large numbers overflow, in the forward too.
            if fill != Fill::Large && fill != Fill::NonFinite {
                let twins = norm_twin(&widen(&dy), &widen(&x), &widen(&weight));
                for (actual, twin) in expected.iter().zip(twins) {
                    assert_close(actual, &twin, &(fill, t, c));
                }
            }
        }
    }
}

#[test]
fn rmsnorm_slopes_and_parts() {
    let (t, c) = (4, 6);
    let mut rng = Rng(4);
    let [x, dy, weight] = [t * c, t * c, c].map(|len| Fill::Random.f32s(&mut rng, len));
    let [wide_x, wide_dy, wide_weight] = [&x, &dy, &weight].map(|x| widen(x));
    let [dx, dweight] =
        norm_twin(&wide_dy, &wide_x, &wide_weight).map(|twin| twin.iter().map(|g| g.0).collect());
    let (dx, dweight): (Vec<f64>, Vec<f64>) = (dx, dweight);
    assert_slopes(&dx, &wide_x, |x| weighted(&wide_dy, norm(x, &wide_weight)));
    assert_slopes(&dweight, &wide_weight, |weight| weighted(&wide_dy, norm(&wide_x, weight)));
    for pool in &pools() {
        let (mut whole, mut parts) = (vec![1.0; c], vec![1.0; c]);
        let (mut whole_dx, mut parts_dx) = (dy.clone(), dy.clone());
        rmsnorm_backward(pool, &mut whole_dx, Some(&mut whole), &dy, &x, (&weight, EPS));
        for (i, dx) in parts_dx.chunks_mut(c).enumerate() {
            let part = i * c..(i + 1) * c;
            rmsnorm_backward(pool, dx, Some(&mut parts), &dy[part.clone()], &x[part], (&weight, EPS));
        }
        assert_bits(&parts, &whole, &pool.tier());
        assert_bits(&parts_dx, &whole_dx, &pool.tier());
    }
}

#[test]
fn rope_is_transposed() {
    let yarn = YarnParams {
        factor: 4.0,
        beta_fast: 32.0,
        beta_slow: 1.0,
        original_max_position_embeddings: 32,
        truncate: false,
    };
    let (d, heads) = (16, 2);
    let angles = Rope::yarn(d, 150_000.0, &yarn).angles(90, 3);
    let mut rng = Rng(6);
    let (x, dy) = (Fill::Random.f32s(&mut rng, heads * d), Fill::Random.f32s(&mut rng, heads * d));
    let rotate = |x: &[f64]| -> Vec<f64> {
        let mut out = x.to_vec();
        for head in out.chunks_mut(d) {
            for (i, (cosine, sine)) in angles.rotations()[2 * d / 2..][..d / 2].iter().enumerate() {
                let (c, s, a, b) = (f64::from(*cosine), f64::from(*sine), head[i], head[i + d / 2]);
                (head[i], head[i + d / 2]) = (a * c - b * s, b * c + a * s);
            }
        }
        out
    };
    let mut dx = dy.clone();
    angles.apply_transposed(&mut dx, heads, 2);
    let wide = widen(&dy);
    // A rotation rounds thrice, which is a millionth of the slopes.
    assert_slopes(&widen(&dx), &widen(&x), |x| weighted(&wide, rotate(x)));
    let unit = |i: usize| -> Vec<f64> { (0..heads * d).map(|j| f64::from(u8::from(i == j))).collect() };
    let twin = |i: usize| {
        let mut sum = Sum::default();
        rotate(&unit(i)).iter().zip(&wide).for_each(|(r, dy)| sum.add(r * dy));
        sum.within(3)
    };
    assert_close(&dx, &(0..heads * d).map(twin).collect::<Vec<_>>(), &"rope");
}

const LIMIT: f64 = 7.0;
const ALPHA: f32 = 1.702;

fn swiglu(pair: &[f64]) -> f64 {
    let (g, u) = (pair[0].min(LIMIT), pair[1].clamp(-LIMIT, LIMIT));
    g / (1.0 + (-f64::from(ALPHA) * g).exp()) * (u + 1.0)
}

/// Gradients of a gate and an up, each with what rounding can cost.
fn swiglu_twin(dy: f64, gate: f64, up: f64) -> [(f64, f64); 2] {
    let (g, u) = (gate.min(LIMIT), up.clamp(-LIMIT, LIMIT));
    let alpha = f64::from(ALPHA) * g;
    let s = 1.0 / (1.0 + (-alpha).exp());
    let dgate = dy * (u + 1.0) * s * (1.0 + alpha * (1.0 - s));
    // The argument of the sigmoid rounds once, which its slope magnifies by its size; the parenthesis
    // cancels. Beyond 88 the exponential is cut.
    let relative = (12.0 + alpha.abs().min(90.0)) * U;
    let floor = TINY + 1e-36 * (1.0 + alpha.abs()) * dy.abs() * (1.0 + u.abs());
    let size = (dy * (u + 1.0)).abs() * s * (1.0 + alpha.abs());
    let dup = dy * g * s;
    let cut = |is_cut, (value, tolerance)| if is_cut { (0.0, 0.0) } else { (value, tolerance) };
    [
        cut(gate > LIMIT, (dgate, relative * size + floor)),
        cut(up.abs() > LIMIT, (dup, relative * dup.abs() + floor * (1.0 + g.abs()))),
    ]
}

#[test]
fn swiglu_near_float64_and_on_every_tier() {
    for fill in FILLS {
        for len in (1..40).chain([300]) {
            let mut rng = Rng(len as u64);
            let gate_up: Vec<f32> = fill.f32s(&mut rng, 2 * len).into_iter().map(|x| x * 9.0).collect();
            let dy = Fill::Random.f32s(&mut rng, len);
            let run = |tier| {
                let mut out = vec![f32::NAN; 2 * len];
                swiglu_backward(tier, &mut out, &dy, &gate_up, (LIMIT as f32, ALPHA));
                out
            };
            let expected = run(Tier::Scalar);
            for tier in Tier::available() {
                assert_bits(&run(tier), &expected, &(fill, len, tier));
            }
            if fill != Fill::NonFinite {
                let pairs = gate_up.as_chunks::<2>().0.iter().zip(&dy);
                let twin: Vec<(f64, f64)> = pairs
                    .flat_map(|([g, u], dy)| swiglu_twin((*dy).into(), (*g).into(), (*u).into()))
                    .collect();
                assert_close(&expected, &twin, &(fill, len));
            }
        }
    }
}

#[test]
fn swiglu_slopes_and_limits() {
    let gate_up = [0.3, -2.0, -1.3, 0.7, 6.9, 6.9, 7.5, 1.0, 2.0, 8.0, -9.0, -7.5, 3.0, -6.8];
    for pair in gate_up.chunks(2) {
        let gradient = swiglu_twin(0.8, pair[0], pair[1]).map(|g| g.0);
        assert_slopes(&gradient, pair, |pair| 0.8 * swiglu(pair));
    }
    let mut out = [f32::NAN; 8];
    let limits = [7.0, 0.0, 7.000_001, 0.0, 1.0, -7.0, 1.0, -7.000_001];
    swiglu_backward(Tier::Scalar, &mut out, &[1.0; 4], &limits, (7.0, ALPHA));
    assert!(out[0] > 0.9 && out[2] == 0.0 && out[5] > 0.5 && out[7] == 0.0, "{out:?}");
    swiglu_backward(Tier::Scalar, &mut out[..2], &[1.0], &[f32::NAN, 1.0], (7.0, ALPHA));
    assert!(out[0].is_nan() && out[1].is_nan(), "{out:?}");
}

#[test]
fn router_slopes_go_to_the_chosen() {
    let logits = [0.3_f32, 1.9, -0.7, 1.1, 0.9];
    let (mut experts, mut weights) = ([0; 3], [0.0; 3]);
    top_k_softmax(&logits, 3, &mut experts, &mut weights);
    assert_eq!(experts, [1, 3, 4]);
    let dweights = [0.4, -1.2, 0.9];
    let mut dlogits = [f32::NAN; 5];
    top_k_softmax_backward(&mut dlogits, &experts, &weights, &dweights);
    assert_eq!([dlogits[0], dlogits[2]], [0.0; 2]);
    let twin = |logits: &[f64]| {
        let chosen = experts.map(|e| logits[e as usize].exp());
        let sum: f64 = chosen.iter().sum();
        weighted(&widen(&dweights), chosen.map(|e| e / sum))
    };
    // Weights near one with a few roundings each: within a millionth.
    assert_slopes(&widen(&dlogits), &widen(&logits), twin);
}
