//! A dense weight matrix in whichever format its file has: bf16, f16, f32, or int8 with a scale for 32 values.
//!
//! Entry points: [`Dense`], [`linear_dense`], [`Dense::row`]. Every format unpacks to f32 exactly (an f16 scale times an
//! int8 has at most 18 significant bits), and the product is the f32 product of `linear.rs` in its order of summation:
//! a file's numbers are multiplied as they are, and equal matrices give equal bits in every format.
//!
//! Activations stay f32 here. Products with int8 activations are another op; this module does not know files.

use gptoss_formats::{BLOCK_VALUES, Q8_0Block, q8_0_dequantize};
use half::{bf16, f16};

use crate::Pool;
use crate::embedding::widen;
use crate::linear::{LinearDims, linear_bf16, linear_unpacked};
use crate::q8_panels::Q8Panels;

/// A matrix `[N, K]`, row by row.
#[derive(Clone, Copy, Debug)]
pub enum Dense<'a> {
    /// bfloat16.
    Bf16(&'a [bf16]),
    /// IEEE half precision.
    F16(&'a [f16]),
    /// IEEE single precision.
    F32(&'a [f32]),
    /// Blocks of 34 bytes: an f16 scale, then 32 int8. K is a multiple of 32.
    Q8_0(&'a [Q8_0Block]),
    /// The numbers of Q8_0, sixteen rows together.
    Q8Panels(Q8Panels<'a>),
}

impl Dense<'_> {
    /// Number of values: `N * K`.
    #[expect(clippy::len_without_is_empty, reason = "a matrix of no values is nothing to ask for")]
    pub fn len(&self) -> usize {
        match self {
            Dense::Bf16(values) => values.len(),
            Dense::F16(values) => values.len(),
            Dense::F32(values) => values.len(),
            Dense::Q8_0(blocks) => blocks.len() * BLOCK_VALUES,
            Dense::Q8Panels(panels) => panels.values.len(),
        }
    }

    /// Rows `first..first + rows` of a matrix of K columns.
    ///
    /// Panics: when they lie outside, or are no whole panels.
    pub fn rows(&self, first: usize, rows: usize, k: usize) -> Self {
        let range = first * k..(first + rows) * k;
        match self {
            Dense::Bf16(values) => Dense::Bf16(&values[range]),
            Dense::F16(values) => Dense::F16(&values[range]),
            Dense::F32(values) => Dense::F32(&values[range]),
            Dense::Q8_0(blocks) => Dense::Q8_0(&blocks[range.start / BLOCK_VALUES..range.end / BLOCK_VALUES]),
            Dense::Q8Panels(panels) => Dense::Q8Panels(panels.rows(first, rows, k)),
        }
    }

    /// Row `index` as f32, exactly.
    ///
    /// Shapes: `out [K]`.
    /// Panics: when the row lies outside, or K is no multiple of 32 in Q8_0.
    #[inline(always)]
    pub fn row(&self, out: &mut [f32], index: usize) {
        let k = out.len();
        match self {
            Dense::Bf16(values) => each(out, &values[index * k..][..k], |value| widen(*value)),
            Dense::F16(values) => each(out, &values[index * k..][..k], |value| value.to_f32()),
            Dense::F32(values) => out.copy_from_slice(&values[index * k..][..k]),
            Dense::Q8_0(blocks) => {
                let (groups, rest) = out.as_chunks_mut::<BLOCK_VALUES>();
                assert!(rest.is_empty(), "Dense::row: K is a multiple of 32 in Q8_0");
                let num_blocks = groups.len();
                for (out, block) in groups.iter_mut().zip(&blocks[index * num_blocks..][..num_blocks]) {
                    q8_0_dequantize(out, block);
                }
            }
            Dense::Q8Panels(panels) => {
                let (groups, rest) = out.as_chunks_mut::<BLOCK_VALUES>();
                assert!(rest.is_empty(), "Dense::row: K is a multiple of 32 in Q8_0");
                for (out, (scale, values)) in groups.iter_mut().zip(panels.row(index, k / BLOCK_VALUES)) {
                    each(out, &values, |value| f32::from(*value) * scale);
                }
            }
        }
    }
}

/// `out[i] = convert(from[i])`.
#[inline(always)]
fn each<T>(out: &mut [f32], from: &[T], convert: impl Fn(&T) -> f32) {
    for (out, from) in out.iter_mut().zip(from) {
        *out = convert(from);
    }
}

/// Product of f32 activations with a dense matrix; bit-equal to [`linear_bf16`] where the values are.
///
/// Shapes: `out [T, N]`, `x [T, K]`, `w [N, K]`, `bias [N]`.
/// Panics: when a length does not fit `dims`, or K is no multiple of 32 in Q8_0.
pub fn linear_dense(
    pool: &Pool,
    out: &mut [f32],
    x: &[f32],
    w: Dense<'_>,
    bias: Option<&[f32]>,
    dims: LinearDims,
) {
    assert_eq!(w.len(), dims.n * dims.k, "linear_dense: w is [N, K]");
    match w {
        Dense::Bf16(values) => linear_bf16(pool, out, x, values, bias, dims),
        _ => linear_unpacked(pool, out, x, w, bias, dims),
    }
}
