//! Weights as a pass sees them: as they are, or as a checkpoint would hold them.
//!
//! With quantization-aware training a pass computes with the numbers that files will have: experts in MXFP4,
//! everything else in bf16, by the rules of a merge. They are made where they are needed, a matrix at a time.
//! Gradients go straight through the rounding, to what is trained.

use std::borrow::Cow;

use gptoss_checkpoint::ExpertFormat;
use gptoss_formats::{BLOCK_VALUES, Mxfp4Block, NAN_SCALE, NibbleOrder, mxfp4_add, mxfp4_nearest};
use gptoss_kernels::{LinearDims, LowRank, Matrix, Mxfp4Blocks, Pool, low_rank_row};
use half::bf16;

use crate::network::{Linear, Network, Vector, Weight};
use crate::trained::Trained;

/// What every op of a pass is told.
#[derive(Clone, Copy)]
pub(crate) struct Pass<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) trained: &'a Trained,
    /// As what the experts of a checkpoint would be stored; `None` sees all numbers as they are.
    pub(crate) stored: Option<ExpertFormat>,
}

/// A matrix where it lies, or made for a pass.
pub(crate) enum SeenMatrix<'a> {
    Lies(Matrix<'a>),
    Bf16(Vec<bf16>),
    /// Neighbors share a byte.
    Mxfp4(Vec<Mxfp4Block>),
}

/// A linear layer as a pass sees it.
pub(crate) struct Seen<'a> {
    pub(crate) matrix: SeenMatrix<'a>,
    pub(crate) bias: Option<Cow<'a, [f32]>>,
    /// What is added beside the matrix; `None` where it is in it.
    pub(crate) beside: Option<LowRank<'a>>,
    pub(crate) num_outputs: usize,
    pub(crate) num_inputs: usize,
}

impl SeenMatrix<'_> {
    pub(crate) fn view(&self) -> Matrix<'_> {
        match self {
            SeenMatrix::Lies(matrix) => *matrix,
            SeenMatrix::Bf16(values) => Matrix::Bf16(values),
            SeenMatrix::Mxfp4(blocks) => {
                let nibbles = NibbleOrder::Neighbors;
                Matrix::Mxfp4Blocks(Mxfp4Blocks { even: blocks, odd: &[], nibbles })
            }
        }
    }
}

impl Seen<'_> {
    /// The sizes of its product with `num_inputs` numbers for each row.
    pub(crate) fn dims(&self, num_inputs: usize) -> LinearDims {
        LinearDims { t: num_inputs / self.num_inputs, n: self.num_outputs, k: self.num_inputs }
    }
}

impl<'a> Pass<'a> {
    /// A pass through a network.
    pub(crate) fn new(pool: &'a Pool, network: &Network<'_>, trained: &'a Trained) -> Pass<'a> {
        Pass { pool, trained, stored: network.stored }
    }

    /// A layer that files have in bf16.
    pub(crate) fn dense(self, layer: &Linear<'a>) -> Seen<'a> {
        self.seen(layer, self.stored.map(|_| ExpertFormat::Bf16))
    }

    /// A layer of an expert.
    pub(crate) fn expert(self, layer: &Linear<'a>) -> Seen<'a> {
        self.seen(layer, self.stored)
    }

    fn seen(self, layer: &Linear<'a>, format: Option<ExpertFormat>) -> Seen<'a> {
        let Linear { weight, bias, low_rank, num_outputs, num_inputs } = *layer;
        let pair = low_rank.map(|pair| pair.view(self.trained));
        let bias = bias.map(|bias| self.vector(bias));
        let matrix = self.stored_as(format, weight, pair, [num_outputs, num_inputs]);
        let beside = pair.filter(|_| format.is_none());
        Seen { matrix, bias, beside, num_outputs, num_inputs }
    }

    /// A matrix `[N, C]` of the embedding or the head.
    pub(crate) fn end(self, weight: Weight<'a>, [n, k]: [usize; 2]) -> SeenMatrix<'a> {
        self.stored_as(self.stored.map(|_| ExpertFormat::Bf16), weight, None, [n, k])
    }

    /// Numbers that files have in bf16.
    pub(crate) fn vector(self, vector: Vector<'a>) -> Cow<'a, [f32]> {
        self.rounded(vector.view(self.trained))
    }

    /// The same of numbers by themselves.
    pub(crate) fn rounded(self, values: &'a [f32]) -> Cow<'a, [f32]> {
        match self.stored {
            None => Cow::Borrowed(values),
            Some(_) => Cow::Owned(values.iter().map(|value| bf16::from_f32(*value).to_f32()).collect()),
        }
    }

    /// A matrix with what is added to it, in a format; of none, as it lies and by itself.
    fn stored_as(
        self,
        format: Option<ExpertFormat>,
        weight: Weight<'a>,
        pair: Option<LowRank<'_>>,
        [n, k]: [usize; 2],
    ) -> SeenMatrix<'a> {
        let matrix = weight.view(self.trained);
        match (format, matrix, pair) {
            (None, ..)
            | (Some(ExpertFormat::Mxfp4), Matrix::Mxfp4(_) | Matrix::Mxfp4Blocks(_), None)
            | (Some(ExpertFormat::Bf16), Matrix::Bf16(_) | Matrix::Bf16Transposed(_), None) => {
                SeenMatrix::Lies(matrix)
            }
            (Some(ExpertFormat::Mxfp4), ..) => {
                let mut blocks = vec![Mxfp4Block::default(); n * k / BLOCK_VALUES];
                self.pool.for_each_row(&mut blocks, k / BLOCK_VALUES, |row, out| {
                    mxfp4_row(out, matrix, pair, row);
                });
                SeenMatrix::Mxfp4(blocks)
            }
            (Some(ExpertFormat::Bf16), ..) => {
                let mut values = vec![bf16::ZERO; n * k];
                self.pool.for_each_row(&mut values, k, |row, out| {
                    let sums = sums(matrix, pair, row, k);
                    out.iter_mut().zip(sums).for_each(|(out, sum)| *out = bf16::from_f32(sum));
                });
                SeenMatrix::Bf16(values)
            }
        }
    }
}

/// A row of a matrix and of what is added to it. Blocks of MXFP4 are rounded as a merge does, other numbers
/// under the best scale of their own.
fn mxfp4_row(out: &mut [Mxfp4Block], matrix: Matrix<'_>, pair: Option<LowRank<'_>>, row: usize) {
    let k = out.len() * BLOCK_VALUES;
    if matrix.mxfp4_row(out, row) {
        let added = added(pair, row, k);
        for (block, added) in out.iter_mut().zip(added.as_chunks::<BLOCK_VALUES>().0) {
            *block = mxfp4_add(*block, added);
        }
        return;
    }
    let sums = sums(matrix, pair, row, k);
    for (block, sums) in out.iter_mut().zip(sums.as_chunks::<BLOCK_VALUES>().0) {
        *block = mxfp4_nearest(sums, NAN_SCALE);
    }
}

fn sums(matrix: Matrix<'_>, pair: Option<LowRank<'_>>, row: usize, k: usize) -> Vec<f32> {
    let mut sums = vec![0.0; k];
    matrix.unpack_row(&mut sums, row);
    if pair.is_some() {
        sums.iter_mut().zip(added(pair, row, k)).for_each(|(sum, added)| *sum += added);
    }
    sums
}

fn added(pair: Option<LowRank<'_>>, row: usize, k: usize) -> Vec<f32> {
    let mut added = vec![0.0; k];
    if let Some(pair) = pair {
        low_rank_row(&mut added, pair, row);
    }
    added
}
