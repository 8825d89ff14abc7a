//! One step of AdamW over a tensor, and the norm of gradients by which it is clipped.
//!
//! Entry points: [`adamw`], [`sum_of_squares`]. Every operation is a single rounding of f32 in the order of
//! torch's `AdamW` (`foreach` and `fused` off), so elements do not depend on each other. The sum of squares
//! goes by blocks of 4,096 elements, each in eight lanes of f64 folded as [`crate::lanes`] folds, and blocks
//! in ascending order.

use crate::lanes::LANES;
use crate::pool::Pool;
use crate::rows::SharedRows;
use crate::tier::per_tier;

/// Elements of a task and of a block.
const BLOCK: usize = 4096;

/// How a step goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// What is added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay, times the learning rate.
    pub weight_decay: f64,
}

/// What a tensor has of an optimizer.
#[derive(Debug)]
pub struct Moments<'a> {
    /// `[n]`, zeros before the first step.
    pub first: &'a mut [f32],
    /// `[n]`, zeros before the first step.
    pub second: &'a mut [f32],
}

/// The factors of a step as f32.
#[derive(Clone, Copy)]
struct Factors {
    kept: f32,
    new1: f32,
    beta2: f32,
    new2: f32,
    root: f32,
    eps: f32,
    step: f32,
}

/// Moves `parameters` by a step; `step` counts from 1, and gradients are multiplied by `scale` (the clip)
/// first.
///
/// Shapes: all `[n]`.
/// Panics: when the lengths differ.
pub fn adamw(
    pool: &Pool,
    parameters: &mut [f32],
    gradients: &[f32],
    moments: Moments<'_>,
    (settings, step): (&AdamW, u32),
    scale: f32,
) {
    let n = parameters.len();
    assert!(
        gradients.len() == n && moments.first.len() == n && moments.second.len() == n,
        "adamw: all are [n]"
    );
    let power = |beta: f64| 1.0 - beta.powf(f64::from(step));
    let factors = Factors {
        kept: (1.0 - settings.learning_rate * settings.weight_decay) as f32,
        new1: (1.0 - settings.beta1) as f32,
        beta2: settings.beta2 as f32,
        new2: (1.0 - settings.beta2) as f32,
        root: power(settings.beta2).sqrt() as f32,
        eps: settings.eps as f32,
        step: (settings.learning_rate / power(settings.beta1)) as f32,
    };
    let (p, first) = (SharedRows::new(parameters, n), SharedRows::new(moments.first, n));
    let second = SharedRows::new(moments.second, n);
    pool.run(n.div_ceil(BLOCK), |task| {
        let start = task * BLOCK;
        let len = BLOCK.min(n - start);
        // SAFETY: each task has elements of its own.
        let (p, m, v) =
            unsafe { (p.part(0, start, len), first.part(0, start, len), second.part(0, start, len)) };
        let g = &gradients[start..][..len];
        per_tier!(
            pool.instructions(),
            update(p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], factors: Factors, scale: f32)
        );
    });
}

#[inline(always)]
fn update(p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], factors: Factors, scale: f32) {
    for (((p, m), v), g) in p.iter_mut().zip(m).zip(v).zip(g) {
        let g = g * scale;
        *m += (g - *m) * factors.new1;
        *v = *v * factors.beta2 + factors.new2 * g * g;
        let root = v.sqrt() / factors.root + factors.eps;
        *p = *p * factors.kept - factors.step * *m / root;
    }
}

/// The sum of the squares of a tensor: not finite if, and only if, one of its elements is not.
pub fn sum_of_squares(pool: &Pool, x: &[f32]) -> f64 {
    let mut sums = vec![0.0_f64; x.len().div_ceil(BLOCK)];
    pool.for_each_row(&mut sums, 1, |block, sum| {
        let x = &x[block * BLOCK..x.len().min((block + 1) * BLOCK)];
        per_tier!(pool.instructions(), add_squares(sum: &mut [f64], x: &[f32]));
    });
    sums.iter().sum()
}

#[inline(always)]
fn add_squares(sum: &mut [f64], x: &[f32]) {
    let mut l = [0.0_f64; LANES];
    let (body, tail) = x.as_chunks::<LANES>();
    for x in body {
        for (lane, x) in l.iter_mut().zip(x) {
            *lane += f64::from(*x) * f64::from(*x);
        }
    }
    for (lane, x) in l.iter_mut().zip(tail) {
        *lane += f64::from(*x) * f64::from(*x);
    }
    sum[0] = ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]));
}
