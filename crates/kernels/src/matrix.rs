//! A weight matrix in whichever form it is stored, and the one product with it.
//!
//! Entry points: [`Matrix`], [`Rows`], [`linear`]. The form is asked for once a call; behind it every product
//! is compiled for its form. To add a form: its file in `stored/`, a variant here, and an arm in
//! `each_form` (and `each_int8_form`, if int8 activations can meet it).

use gptoss_formats::{Mxfp4Block, Q8_0Block};
use half::{bf16, f16};

use crate::pool::Pool;
use crate::products::float::{self, LinearDims, Weights};
use crate::products::int8::{self, Int8Weights};
use crate::products::parts;
use crate::q8::{Q8Order, Q8Rows};
use crate::stored::floats::Bf16Transposed;
use crate::stored::mxfp4::Mxfp4;
use crate::stored::mxfp4_blocks::Mxfp4Blocks;
use crate::stored::q8_panels::Q8Panels;

/// A borrowed matrix `[N, K]`: N outputs, K inputs.
#[derive(Clone, Copy, Debug)]
pub enum Matrix<'a> {
    /// bfloat16, row by row.
    Bf16(&'a [bf16]),
    /// bfloat16, column by column.
    Bf16Transposed(Bf16Transposed<'a>),
    /// IEEE half precision, row by row.
    F16(&'a [f16]),
    /// IEEE single precision, row by row.
    F32(&'a [f32]),
    /// MXFP4 as published.
    Mxfp4(Mxfp4<'a>),
    /// MXFP4 as GGUF files have it.
    Mxfp4Blocks(Mxfp4Blocks<'a>),
    /// Blocks of an f16 scale and 32 int8, row by row.
    Q8_0(&'a [Q8_0Block]),
    /// The numbers of Q8_0, sixteen rows together.
    Q8Panels(Q8Panels<'a>),
}

/// `$body` for the matrix in `$matrix`, compiled for each form; `$form` makes a [`Matrix`] of that form
/// again.
macro_rules! each_form {
    ($matrix:expr, $form:ident($w:ident) => $body:expr) => {
        each_form!(@arms $matrix, $form, $w, $body;
            Bf16, Bf16Transposed, F16, F32, Mxfp4, Mxfp4Blocks, Q8_0, Q8Panels)
    };
    (@arms $matrix:expr, $form:ident, $w:ident, $body:expr; $($variant:ident),*) => {
        match $matrix {
            $(Matrix::$variant($w) => {
                let $form = Matrix::$variant;
                $body
            })*
        }
    };
}

/// `Some($body)` for the matrix in `$matrix`, if int8 activations can meet it.
macro_rules! each_int8_form {
    ($matrix:expr, $w:ident => $body:expr) => {
        match $matrix {
            Matrix::Mxfp4($w) => Some($body),
            Matrix::Mxfp4Blocks($w) => Some($body),
            Matrix::Q8_0($w) => Some($body),
            Matrix::Q8Panels($w) => Some($body),
            Matrix::Bf16(_) | Matrix::Bf16Transposed(_) | Matrix::F16(_) | Matrix::F32(_) => None,
        }
    };
}

impl Matrix<'_> {
    /// The order that int8 activations have for this matrix; `None` if it is multiplied with f32 alone.
    pub fn activation_order(self) -> Option<Q8Order> {
        each_int8_form!(self, w => w.order())
    }

    /// Panics unless this is a matrix of N rows of K values.
    pub(crate) fn assert_shape(self, n: usize, k: usize) {
        each_form!(self, _form(w) => w.assert_shape(n, k));
    }

    /// Bytes that a product with the matrix reads.
    pub fn num_bytes(self) -> usize {
        each_form!(self, _form(w) => w.num_bytes())
    }

    /// Rows `first..first + rows` of a matrix of K columns.
    ///
    /// Panics: when they lie outside, or are not whole panels.
    pub fn rows(self, first: usize, rows: usize, k: usize) -> Self {
        each_form!(self, form(w) => form(w.rows(first, rows, k)))
    }

    /// Row `index` as blocks of MXFP4 whose neighbors share a byte; false for a matrix in another form.
    ///
    /// Shapes: `out [K / 32]`.
    /// Panics: when the row lies outside.
    pub fn mxfp4_row(self, out: &mut [Mxfp4Block], index: usize) -> bool {
        match self {
            Matrix::Mxfp4(w) => w.blocks_of(out, index),
            Matrix::Mxfp4Blocks(w) => w.blocks_of(out, index),
            _ => return false,
        }
        true
    }

    /// Row `index` as f32, exactly.
    ///
    /// Shapes: `out [K]`.
    /// Panics: when the row lies outside, or K is not whole blocks.
    #[inline(always)]
    pub fn unpack_row(self, out: &mut [f32], index: usize) {
        each_form!(self, _form(w) => w.unpack_row(out, index));
    }
}

/// Activations `[T, K]`.
#[derive(Clone, Copy, Debug)]
pub enum Rows<'a> {
    /// As they are; any matrix takes them.
    F32(&'a [f32]),
    /// int8 with a scale for 32, made for the matrix ([`Matrix::activation_order`]).
    Q8(&'a Q8Rows),
    /// 2T rows: the rows as int8, then what was left of them likewise, made for a matrix of int8 by
    /// [`quantize_q8_parts`](crate::quantize_q8_parts).
    Q8Parts(&'a Q8Rows),
}

/// Product with a matrix and a bias: `out [T, N] = x [T, K] * w [N, K]^T + bias [N]`.
///
/// The order of summation depends on the kind of rows alone (`products/float.rs`, `int8.rs`, `parts.rs`), so
/// equal matrices give equal bits in every form, and a token's numbers do not depend on those beside it, the
/// tier or the number of threads.
///
/// Panics: when a length does not fit `dims`, or int8 rows were made for other weights.
pub fn linear(
    pool: &Pool,
    out: &mut [f32],
    x: Rows<'_>,
    w: Matrix<'_>,
    bias: Option<&[f32]>,
    dims: LinearDims,
) {
    match x {
        Rows::F32(x) => each_form!(w, _form(w) => float::product(pool, out, x, w, bias, dims)),
        Rows::Q8(x) => {
            let done = each_int8_form!(w, w => int8::product(pool, out, x, w, bias, dims));
            assert!(done.is_some(), "linear: this matrix takes f32 rows");
        }
        Rows::Q8Parts(x) => {
            let done = each_int8_form!(w, w => parts::product(pool, out, x, w, bias, dims));
            assert!(done.is_some(), "linear: this matrix takes f32 rows");
        }
    }
    #[cfg(feature = "broken")]
    if let Some(first) = out.first_mut() {
        *first = f32::from_bits(first.to_bits() ^ 1);
    }
}
