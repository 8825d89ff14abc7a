//! Experts in MXFP4.

use super::Rng;
use crate::reference::Fma;
use crate::reference::products::Mxfp4Row;
use crate::reference::quantized::Int8Block;

pub const NUM_EXPERTS: usize = 5;

/// Matrices `[E, N, K]` and biases; those that nobody chose are NaN wherever they can be.
pub struct Experts {
    pub codes: Vec<u8>,
    pub scales: Vec<u8>,
    pub bias: Vec<f32>,
    n: usize,
    k: usize,
}

impl Experts {
    pub fn new(rng: &mut Rng, chosen: &[u32], n: usize, k: usize) -> Experts {
        let blocks = n * k / 32;
        let codes = (0..NUM_EXPERTS * n * k / 2).map(|_| rng.next() as u8).collect();
        let mut scales: Vec<u8> = (0..NUM_EXPERTS * blocks).map(|_| 100 + rng.below(40) as u8).collect();
        let mut bias = rng.floats(NUM_EXPERTS * n);
        for expert in (0..NUM_EXPERTS).filter(|expert| !chosen.contains(&(*expert as u32))) {
            scales[expert * blocks..][..blocks].fill(255);
            bias[expert * n..][..n].fill(f32::NAN);
        }
        Experts { codes, scales, bias, n, k }
    }

    /// A row of the matrices, of which each expert has N.
    pub fn row(&self, row: usize) -> Mxfp4Row<'_> {
        let blocks = self.k / 32;
        Mxfp4Row {
            codes: &self.codes[row * self.k / 2..][..self.k / 2],
            scales: &self.scales[row * blocks..][..blocks],
        }
    }

    /// The outputs of an expert for a row of activations.
    pub fn product(&self, fma: Fma, expert: u32, x: &[Int8Block]) -> Vec<f32> {
        let rows = expert as usize * self.n..(expert as usize + 1) * self.n;
        rows.map(|row| self.row(row).times_int8(fma, x, self.bias[row])).collect()
    }
}
