//! The head fused with cross-entropy.

use gptoss_kernels::{
    Head, HeadGradients, HeadRows, Matrix, Pool, Targets, TokenLoss, head_backward, head_nll,
};

use super::differences::{Sum, U, assert_slopes, widen};
use crate::support::{Fill, Rng, assert_bits, assert_close, pools, scalar};

/// What is there before anything is computed.
const NOTHING: TokenLoss = TokenLoss { nll: f32::NAN, is_likeliest: false };

fn nll(losses: &[TokenLoss]) -> Vec<f32> {
    losses.iter().map(|loss| loss.nll).collect()
}

struct Case {
    t: usize,
    v: usize,
    c: usize,
    h: Vec<f32>,
    w: Vec<f32>,
    tokens: Vec<u32>,
    weights: Vec<f32>,
}

impl Case {
    fn new((t, v, c): (usize, usize, usize)) -> Case {
        let mut rng = Rng((t * v * c) as u64);
        let (h, w) = (Fill::Random.f32s(&mut rng, t * c), Fill::Random.f32s(&mut rng, v * c));
        let tokens = (0..t).map(|_| (rng.next() % v as u64) as u32).collect();
        // Signs, and a token without weight.
        let weights = (0..t).map(|t| if t == 1 { 0.0 } else { rng.unit() }).collect();
        Case { t, v, c, h, w, tokens, weights }
    }

    fn head(&self) -> Head<'_> {
        Head { w: Matrix::F32(&self.w), vocabulary: self.v, hidden_size: self.c, replaced: None }
    }

    /// Losses, gradient of the rows, gradient of the matrix, with `chunk` rows of logits.
    fn run(&self, pool: &Pool, chunk: usize) -> [Vec<f32>; 3] {
        let (mut losses, mut logits) = (vec![NOTHING; self.t], vec![f32::NAN; chunk * self.v]);
        let (mut dh, mut dw) = (vec![0.0; self.t * self.c], vec![0.0; self.v * self.c]);
        let targets = Targets { tokens: &self.tokens, weights: &self.weights };
        let gradients = HeadGradients { rows: &mut dh, w: Some(&mut dw), replaced: None };
        head_backward(pool, gradients, &mut losses, &self.h, &self.head(), targets, &mut logits);
        let mut alone = vec![NOTHING; self.t];
        head_nll(pool, &mut alone, &self.h, &self.head(), &self.tokens, &mut logits);
        assert_bits(&nll(&alone), &nll(&losses), &"losses with and without a gradient");
        assert_eq!(alone, losses);
        [nll(&losses), dh, dw]
    }

    /// [`Case::run`] in float64, each with what rounding can cost.
    fn twin(&self, h: &[f64], w: &[f64]) -> [Vec<(f64, f64)>; 3] {
        let (v, c) = (self.v, self.c);
        let (mut nll, mut dh, mut dw) =
            (Vec::new(), vec![Sum::default(); h.len()], vec![Sum::default(); w.len()]);
        let (mut dh_size, mut dw_size) = (vec![0.0; h.len()], vec![0.0; w.len()]);
        for (t, h) in h.chunks(c).enumerate() {
            let (target, weight) = (self.tokens[t] as usize, f64::from(self.weights[t]));
            let mut z = vec![Sum::default(); v];
            z.iter_mut().zip(w.chunks(c)).for_each(|(z, w)| h.iter().zip(w).for_each(|(h, w)| z.add(h * w)));
            let error = z.iter().fold(0.0_f64, |e, z| e.max(z.within(c / 8 + 5).1));
            let sum: f64 = z.iter().map(|z| z.value.exp()).sum();
            let value = sum.ln() - z[target].value;
            // The exponentials carry the logits' errors; a block adds 128 of them in a lane.
            let relative = 2.0 * error + 150.0 * U;
            nll.push((value, relative + 3.0 * U * (1.0 + value.abs() + sum.ln().abs())));
            for (n, z) in z.iter().enumerate() {
                let p = z.value.exp() / sum;
                let dz = (p - f64::from(u8::from(n == target))) * weight;
                let tolerance = weight.abs() * (p * relative + 4.0 * U);
                for i in 0..c {
                    dh[t * c + i].add(dz * w[n * c + i]);
                    dw[n * c + i].add(dz * h[i]);
                    dh_size[t * c + i] += tolerance * w[n * c + i].abs();
                    dw_size[n * c + i] += tolerance * h[i].abs();
                }
            }
        }
        let finish = |sums: Vec<Sum>, sizes: Vec<f64>, steps: usize| {
            let one = |(sum, size): (Sum, f64)| (sum.value, sum.within(steps + 1).1 + size);
            sums.into_iter().zip(sizes).map(one).collect()
        };
        [nll, finish(dh, dh_size, v), finish(dw, dw_size, self.t)]
    }
}

#[test]
fn near_float64_on_every_tier_and_for_every_chunk() {
    for sizes in [(1, 1, 1), (3, 17, 8), (9, 130, 21), (5, 2100, 12)] {
        let case = Case::new(sizes);
        let expected = case.run(&scalar(), case.t);
        for (actual, twin) in expected.iter().zip(case.twin(&widen(&case.h), &widen(&case.w))) {
            assert_close(actual, &twin, &sizes);
        }
        for pool in &pools() {
            for chunk in [1, 2, 7] {
                for (actual, expected) in case.run(pool, chunk).iter().zip(&expected) {
                    assert_bits(actual, expected, &(sizes, chunk, pool.tier(), pool.threads()));
                }
            }
        }
    }
}

#[test]
fn slopes_with_weights_of_both_signs() {
    let case = Case::new((4, 7, 5));
    let (h, w) = (widen(&case.h), widen(&case.w));
    let [_, dh, dw] = case.twin(&h, &w).map(|twin| twin.iter().map(|g| g.0).collect::<Vec<f64>>());
    let loss = |h: &[f64], w: &[f64]| {
        case.twin(h, w)[0].iter().zip(&case.weights).map(|(nll, weight)| nll.0 * f64::from(*weight)).sum()
    };
    assert_slopes(&dh, &h, |h| loss(h, &w));
    assert_slopes(&dw, &w, |w| loss(&h, w));
}

#[test]
fn far_logits_stay_finite_and_nan_shows() {
    let (h, w) = ([200.0], [1.0, -1.0, 0.0]);
    let head = Head { w: Matrix::F32(&w), vocabulary: 3, hidden_size: 1, replaced: None };
    let mut losses = [NOTHING; 2];
    head_nll(&scalar(), &mut losses, &[h[0], h[0]], &head, &[0, 1], &mut [0.0; 3]);
    let loss = |nll, is_likeliest| TokenLoss { nll, is_likeliest };
    assert_eq!(losses, [loss(0.0, true), loss(400.0, false)]);
    head_nll(&scalar(), &mut losses, &[f32::NAN, 0.0], &head, &[0, 1], &mut [0.0; 6]);
    assert!(losses[0].nll.is_nan() && !losses[0].is_likeliest, "{losses:?}");
    // Where all are as likely, none is likelier.
    assert!((losses[1].nll - 3.0_f32.ln()).abs() < 1e-6 && losses[1].is_likeliest, "{losses:?}");
}

/// Rows beside the matrix are rows of the matrix: the same losses, the same gradients.
#[test]
fn replaced_rows_are_as_good_as_the_matrix() {
    let (tokens, pool) = ([2, 11, 16], scalar());
    let case = Case::new((9, 17, 8));
    let [nll, dh, dw] = case.run(&pool, 9);
    let of = |x: &[f32], token: u32| x[token as usize * case.c..][..case.c].to_vec();
    let values: Vec<f32> = tokens.iter().flat_map(|token| of(&case.w, *token)).collect();
    let expected: Vec<f32> = tokens.iter().flat_map(|token| of(&dw, *token)).collect();
    let mut w = case.w.clone();
    tokens.iter().for_each(|token| w[*token as usize * case.c..][..case.c].fill(0.5));
    let replaced = Some(HeadRows { tokens: &tokens, values: &values });
    let head = Head { w: Matrix::F32(&w), replaced, ..case.head() };
    for chunk in [1, 4, 9] {
        let (mut own, mut logits) = (vec![NOTHING; case.t], vec![f32::NAN; chunk * case.v]);
        let (mut own_dh, mut dreplaced) = (vec![0.0; case.h.len()], vec![0.0; values.len()]);
        let targets = Targets { tokens: &case.tokens, weights: &case.weights };
        let gradients = HeadGradients { rows: &mut own_dh, w: None, replaced: Some(&mut dreplaced) };
        head_backward(&pool, gradients, &mut own, &case.h, &head, targets, &mut logits);
        assert_bits(&self::nll(&own), &nll, &chunk);
        assert_bits(&dreplaced, &expected, &chunk);
        // Their part of a row's gradient comes last in its chain.
        let near: Vec<(f64, f64)> = dh.iter().map(|g| (f64::from(*g), 1e-6)).collect();
        assert_close(&own_dh, &near, &chunk);
    }
}
