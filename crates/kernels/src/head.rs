//! The unembedding fused with cross-entropy, so that `[T, V]` never exists.
//!
//! Entry points: [`head_nll`], and [`head_backward`] for the gradient too. Rows are taken some at a time, as
//! many as the caller's buffer of logits holds: their logits are made, turned into gradients where they lie,
//! and multiplied back. Weights of tokens have signs, so that likelihood, preference and policy losses are
//! one op. How rows are chunked changes no bit: all sums over tokens and over the vocabulary are chains
//! ([`linear_backward_input`]), and a row's softmax is its own.
//!
//! The sum of a softmax goes by blocks of 1,024 logits, each in the eight lanes of [`crate::lanes`], and the
//! blocks in f64: of 200,000 terms in one f32, digits would be lost.

use crate::exp::exp;
use crate::lanes::{LANES, tree};
use crate::linear_backward::{linear_backward_input, linear_backward_weight};
use crate::matrix::{Matrix, Rows, linear};
use crate::pool::Pool;
use crate::products::float::LinearDims;
use crate::rows::SharedRows;
use crate::tier::{Instructions, per_tier};

/// Logits whose exponentials are added in f32.
const SUM_BLOCK: usize = 1024;

/// The last matrix of a model.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// `[V, C]`
    pub w: Matrix<'a>,
    /// V
    pub vocabulary: usize,
    /// C
    pub hidden_size: usize,
    /// What stands in place of some of its rows.
    pub replaced: Option<HeadRows<'a>>,
}

/// Rows that stand in place of a few of the matrix: tokens that are learned beside a frozen head.
#[derive(Clone, Copy, Debug)]
pub struct HeadRows<'a> {
    /// Whose rows, each once and below V.
    pub tokens: &'a [u32],
    /// `[tokens, C]`
    pub values: &'a [f32],
}

/// What was made of a row's target.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TokenLoss {
    /// Its negative log-likelihood. Units: nats.
    pub nll: f32,
    /// Whether no other token is likelier.
    pub is_likeliest: bool,
}

/// What the rows should say, and how much it matters.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a> {
    /// `[T]`, each below V.
    pub tokens: &'a [u32],
    /// `[T]` factors on the negative log-likelihoods; negative ones push away.
    pub weights: &'a [f32],
}

/// What the loss adds its gradients to.
#[derive(Debug)]
pub struct HeadGradients<'a> {
    /// `[T, C]`
    pub rows: &'a mut [f32],
    /// `[V, C]`, unless the head is frozen.
    pub w: Option<&'a mut [f32]>,
    /// `[tokens, C]` of the rows that were replaced, if there are any.
    pub replaced: Option<&'a mut [f32]>,
}

/// What is made of each row's target.
///
/// Shapes: `losses [T]`, `h [T, C]`, `targets [T]`, `logits [n, V]` (scratch), for any n of at least one.
/// Panics: when a length does not fit, or a target is not below V.
pub fn head_nll(
    pool: &Pool,
    losses: &mut [TokenLoss],
    h: &[f32],
    head: &Head<'_>,
    targets: &[u32],
    logits: &mut [f32],
) {
    for_each_chunk(pool, (losses, h, targets), head, logits, |_, _| {});
}

/// The same, and the gradient of the sum of `weights[t] * nll[t]`.
///
/// Shapes: as [`head_nll`].
/// Panics: when a length does not fit, a target is not below V, or the head is of int8.
pub fn head_backward(
    pool: &Pool,
    gradients: HeadGradients<'_>,
    losses: &mut [TokenLoss],
    h: &[f32],
    head: &Head<'_>,
    targets: Targets<'_>,
    logits: &mut [f32],
) {
    let (c, v) = (head.hidden_size, head.vocabulary);
    assert_eq!(targets.weights.len(), targets.tokens.len(), "head_backward: weights are [T]");
    assert_eq!(gradients.rows.len(), h.len(), "head_backward: gradients of rows are [T, C]");
    let HeadGradients { rows: dh, w: mut dw, replaced: mut dreplaced } = gradients;
    for_each_chunk(pool, (losses, h, targets.tokens), head, logits, |first, logits| {
        pool.for_each_row(logits, v, |row, z| {
            scale(pool.instructions(), z, targets.tokens[first + row], targets.weights[first + row]);
        });
        let (t, place) = (logits.len() / v, first * c);
        let dims = LinearDims { t, n: v, k: c };
        let own = head.replaced.map(|rows| (rows, take_columns(logits, v, rows.tokens)));
        linear_backward_input(pool, &mut dh[place..][..t * c], logits, head.w, dims);
        if let Some((rows, dz)) = own {
            let dims = LinearDims { n: rows.tokens.len(), ..dims };
            linear_backward_input(pool, &mut dh[place..][..t * c], &dz, Matrix::F32(rows.values), dims);
            if let Some(dreplaced) = &mut dreplaced {
                linear_backward_weight(pool, dreplaced, &dz, &h[place..][..t * c], dims);
            }
        }
        if let Some(dw) = &mut dw {
            linear_backward_weight(pool, dw, logits, &h[place..][..t * c], dims);
        }
    });
}

/// Takes rows chunk by chunk: `then(first, logits)` gets the exponentials of each, over their sum.
fn for_each_chunk(
    pool: &Pool,
    (losses, h, targets): (&mut [TokenLoss], &[f32], &[u32]),
    head: &Head<'_>,
    logits: &mut [f32],
    mut then: impl FnMut(usize, &mut [f32]),
) {
    let (c, v) = (head.hidden_size, head.vocabulary);
    assert_eq!(h.len(), targets.len() * c, "head: h is [T, C]");
    assert_eq!(losses.len(), targets.len(), "head: losses are [T]");
    assert!(targets.iter().all(|target| (*target as usize) < v), "head: targets are below V");
    let chunk = logits.len() / v.max(1);
    assert!(chunk > 0, "head: logits are one row of V at least");
    for first in (0..targets.len()).step_by(chunk) {
        let t = chunk.min(targets.len() - first);
        let logits = &mut logits[..t * v];
        let dims = LinearDims { t, n: v, k: c };
        let rows = Rows::F32(&h[first * c..][..t * c]);
        linear(pool, logits, rows, head.w, None, dims);
        if let Some(replaced) = head.replaced {
            let n = replaced.tokens.len();
            let mut own = vec![0.0; t * n];
            linear(pool, &mut own, rows, Matrix::F32(replaced.values), None, LinearDims { n, ..dims });
            for (logits, own) in logits.chunks_exact_mut(v).zip(own.chunks_exact(n.max(1))) {
                replaced.tokens.iter().zip(own).for_each(|(token, z)| logits[*token as usize] = *z);
            }
        }
        let losses = SharedRows::new(&mut losses[first..][..t], 1);
        pool.for_each_row(logits, v, |row, z| {
            // SAFETY: each row is one task's.
            let loss = unsafe { losses.row(row) };
            let target = targets[first + row] as usize;
            per_tier!(pool.instructions(), softmax(loss: &mut [TokenLoss], z: &mut [f32], target: usize));
        });
        then(first, logits);
    }
}

/// Columns `tokens` of `z [T, V]`, in whose place zeros are left.
fn take_columns(z: &mut [f32], v: usize, tokens: &[u32]) -> Vec<f32> {
    let columns =
        |z: &mut [f32]| tokens.iter().map(|token| std::mem::take(&mut z[*token as usize])).collect();
    z.chunks_exact_mut(v).flat_map(|z| -> Vec<f32> { columns(z) }).collect()
}

/// Replaces logits by probabilities.
#[inline(always)]
fn softmax(loss: &mut [TokenLoss], z: &mut [f32], target: usize) {
    let top = largest(z);
    let logit = z[target];
    let mut sum = 0.0_f64;
    for block in z.chunks_mut(SUM_BLOCK) {
        let mut lanes = [0.0; LANES];
        let (body, tail) = block.as_chunks_mut::<LANES>();
        for z in body {
            for (z, lane) in z.iter_mut().zip(&mut lanes) {
                *z = exp(*z - top);
                *lane += *z;
            }
        }
        for (z, lane) in tail.iter_mut().zip(&mut lanes) {
            *z = exp(*z - top);
            *lane += *z;
        }
        sum += f64::from(tree(&lanes));
    }
    let nll = (f64::from(top) - f64::from(logit) + sum.ln()) as f32;
    loss[0] = TokenLoss { nll, is_likeliest: logit >= top };
    let inverse = (1.0 / sum) as f32;
    for z in z {
        *z *= inverse;
    }
}

/// The largest logit, at least the lowest finite number.
#[inline(always)]
fn largest(z: &[f32]) -> f32 {
    let mut tops = [f32::MIN; LANES];
    let (body, tail) = z.as_chunks::<LANES>();
    for z in body {
        for (top, z) in tops.iter_mut().zip(z) {
            *top = if *z > *top { *z } else { *top };
        }
    }
    for (top, z) in tops.iter_mut().zip(tail) {
        *top = if *z > *top { *z } else { *top };
    }
    tops.into_iter().fold(f32::MIN, |top, z| if z > top { z } else { top })
}

/// Turns probabilities into the gradient of their logits.
fn scale(instructions: Instructions, z: &mut [f32], target: u32, weight: f32) {
    z[target as usize] -= 1.0;
    per_tier!(instructions, multiply(z: &mut [f32], weight: f32));
}

#[inline(always)]
fn multiply(z: &mut [f32], weight: f32) {
    for z in z {
        *z *= weight;
    }
}
