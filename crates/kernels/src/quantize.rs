//! Quantization of a dense matrix to Q8_0, shared between threads. The rule of a block is that of
//! `gptoss_formats`.

use gptoss_formats::{BLOCK_VALUES, Q8_0Block, q8_0_quantize};

use crate::matrix::Matrix;
use crate::pool::Pool;
use crate::rows::SharedRows;
use crate::scratch::with_scratch;
use crate::tier::per_tier;

/// Quantizes a matrix of N rows of K values; the result is a function of each block alone.
///
/// Shapes: `out [N, K / 32]`, `w [N, K]`, K a multiple of 32.
/// Panics: when the lengths do not fit together.
pub fn quantize_q8_0(pool: &Pool, out: &mut [Q8_0Block], w: Matrix<'_>, k: usize) {
    assert!(k > 0 && k.is_multiple_of(BLOCK_VALUES), "quantize_q8_0: K = {k} is not a multiple of 32");
    assert!(out.len().is_multiple_of(k / BLOCK_VALUES), "quantize_q8_0: out is [N, K / 32]");
    let num_rows = out.len() / (k / BLOCK_VALUES);
    w.assert_shape(num_rows, k);
    let rows = SharedRows::new(out, k / BLOCK_VALUES);
    pool.run(num_rows, |row| {
        // SAFETY: task `row` alone touches its row.
        let out = unsafe { rows.row(row) };
        with_scratch(k, |values: &mut [f32]| {
            per_tier!(
                pool.instructions(),
                quantize_row(out: &mut [Q8_0Block], values: &mut [f32], w: Matrix<'_>, row: usize)
            );
        });
    });
}

#[inline(always)]
fn quantize_row(out: &mut [Q8_0Block], values: &mut [f32], w: Matrix<'_>, row: usize) {
    w.unpack_row(values, row);
    for (block, values) in out.iter_mut().zip(values.as_chunks::<BLOCK_VALUES>().0) {
        q8_0_quantize(block, values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::Tier;

    #[test]
    fn every_tier_gives_the_same_bytes() {
        let x: Vec<half::bf16> = (0..96 * 5).map(|i| half::bf16::from_f32((i as f32 * 1.3).sin())).collect();
        let run = |tier| {
            let mut out = vec![[0; 34]; 15];
            quantize_q8_0(&Pool::with_tier(3, tier), &mut out, Matrix::Bf16(&x), 96);
            out
        };
        assert!(Tier::available().into_iter().all(|tier| run(tier) == run(Tier::Scalar)));
    }
}
