//! Every op of a step once more, in plain Rust on slices: what a kernel of any device has to give, to the
//! bit.
//!
//! Entry points: one function an op, in the file of its kind. They are written from the orders that the heads
//! of `gptoss_kernels` state and share no code with it, so that an index that is wrong there is not wrong
//! here too. [`Fma`] says how a device does a multiply-add: [`Fma::Fused`] gives the bits of `gptoss_kernels`
//! (`tests/oracle` holds it to that), [`Fma::Split`] those of a device that rounds the product first, as the
//! drivers in software do. Nothing here is fast.

#![allow(dead_code, reason = "each test program takes what it needs")]

pub mod attention;
pub mod floats;
pub mod numbers;
pub mod products;
pub mod quantized;
pub mod routing;
pub mod sampling;

/// Lanes of every long sum.
pub const LANES: usize = 8;
/// Values that share a scale.
pub const BLOCK: usize = 32;

/// How a multiply-add rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fma {
    /// Once.
    Fused,
    /// The product, then the sum.
    Split,
}

impl Fma {
    /// `a * b + c`.
    pub fn of(self, a: f32, b: f32, c: f32) -> f32 {
        match self {
            Fma::Fused => a.mul_add(b, c),
            Fma::Split => a * b + c,
        }
    }
}

/// Eight lanes folded.
pub fn tree(l: &[f32; LANES]) -> f32 {
    ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
}

/// The sum of `x[k] * y[k]`: element `k` goes to lane `k % 8`, ascending.
pub fn dot(fma: Fma, x: &[f32], y: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    for (k, (x, y)) in x.iter().zip(y).enumerate() {
        lanes[k % LANES] = fma.of(*x, *y, lanes[k % LANES]);
    }
    tree(&lanes)
}
