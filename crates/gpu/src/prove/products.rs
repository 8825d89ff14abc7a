//! Cases of products with matrices.

use crate::Error;
use crate::device::Slice;
use crate::ops::{
    DenseMatrix, DenseRows, EXPERT_ELSEWHERE, ExpertLinear, ExpertRows, Int8Rows, Linear, MiddleRows,
};
use crate::prove::Output;
use crate::prove::random::Random;
use crate::prove::rows::RowForm;
use crate::prove::sheet::{Bench, Sheet};

/// Experts of a case; the last is nobody's and NaN.
pub const NUM_EXPERTS: u32 = 5;

/// The numbers of a matrix.
#[derive(Clone, Debug)]
pub enum Weights {
    /// `[N, K]`
    F32(Vec<f32>),
    /// `[N, K]` by their bits.
    Bf16(Vec<u16>),
    /// `[N, K]`, and the bits of `[N, K / 32]` halves.
    Int8(Vec<i8>, Vec<u16>),
}

/// How a matrix is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightForm {
    /// f32.
    F32,
    /// bf16.
    Bf16,
    /// int8 and halves.
    Int8,
}

/// Rows of T tokens.
#[derive(Clone, Debug)]
pub enum Rows {
    /// `[T, K]`
    F32(Vec<f32>),
    /// `[T, K]` or `[2T, K]`, and `[.., K / 32]` scales.
    Int8(Vec<i8>, Vec<f32>),
}

/// A product with a dense matrix.
#[derive(Clone, Copy, Debug)]
pub struct Dense {
    /// The matrix.
    pub weight: WeightForm,
    /// The rows: f32, or int8 in one or two parts.
    pub rows: RowForm,
    /// T, N, K.
    pub tnk: [u32; 3],
    /// Whether there is a bias.
    pub has_bias: bool,
    /// Whether the output is added to.
    pub adds: bool,
}

/// Numbers of a [`Dense`].
#[derive(Clone, Debug)]
pub struct DenseNumbers {
    /// The matrix.
    pub weights: Weights,
    /// The rows.
    pub rows: Rows,
    /// `[N]`
    pub bias: Vec<f32>,
    /// `[T, N]`: what the output holds before.
    pub before: Vec<f32>,
}

impl Dense {
    /// The numbers.
    pub fn inputs(&self, random: &mut Random) -> DenseNumbers {
        let [t, n, k] = self.tnk;
        let weights = match self.weight {
            WeightForm::F32 => Weights::F32(random.floats(n * k)),
            WeightForm::Bf16 => {
                Weights::Bf16(random.floats(n * k).iter().map(|x| (x.to_bits() >> 16) as u16).collect())
            }
            WeightForm::Int8 => {
                // Halves from 2^-20, which are subnormal, to 2^-6.
                let scale = |random: &mut Random| (random.below(10) << 10 | random.below(1 << 10)).max(16);
                let scales = (0..n * k / 32).map(|_| scale(random) as u16).collect();
                Weights::Int8(random.integers(n * k, 127), scales)
            }
        };
        let rows = match self.rows {
            RowForm::F32 => Rows::F32(random.floats(t * k)),
            form => {
                let rows = t * if form == RowForm::Int8Parts { 2 } else { 1 };
                Rows::Int8(random.integers(rows * k, 127), random.scales(rows * k / 32))
            }
        };
        DenseNumbers { weights, rows, bias: random.floats(n), before: random.floats(t * n) }
    }

    pub(crate) fn outputs(&self, bench: &Bench<'_>, random: &mut Random) -> Result<Vec<Output>, Error> {
        let [t, n, k] = self.tnk;
        let DenseNumbers { weights, rows, bias, before } = self.inputs(random);
        let mut sheet = bench.sheet();
        let out = sheet.holding(&before);
        let bias = sheet.holding(&bias);
        let (values, scales) = match &weights {
            Weights::F32(values) => (sheet.holding(values), None),
            Weights::Bf16(values) => (sheet.holding(values), None),
            Weights::Int8(values, scales) => (sheet.holding(values), Some(sheet.holding(scales))),
        };
        let weight = match (&weights, &scales) {
            (Weights::Int8(..), Some(scales)) => DenseMatrix::Int8 { values: &values, scales },
            (Weights::Bf16(_), _) => DenseMatrix::Bf16(&values),
            _ => DenseMatrix::F32(&values),
        };
        let (floats, int8) = match &rows {
            Rows::F32(x) => (Some(sheet.holding(x)), None),
            Rows::Int8(values, scales) => {
                (None, Some(Int8Rows { values: sheet.holding(values), scales: sheet.holding(scales) }))
            }
        };
        let x = match (&floats, &int8) {
            (_, Some(rows)) if self.rows == RowForm::Int8Parts => DenseRows::Int8Parts(rows),
            (_, Some(rows)) => DenseRows::Int8(rows),
            (Some(floats), _) => DenseRows::F32(floats),
            (None, None) => unreachable!("rows are of one of two kinds"),
        };
        let (bias, adds) = (self.has_bias.then_some(&bias), self.adds);
        sheet.run(|kernels, recording| {
            Linear { out: &out, x, weight, bias, adds, t, n, k }.record(kernels, recording)
        })?;
        Ok(vec![sheet.floats(&out, t * n)])
    }
}

/// A product with experts.
#[derive(Clone, Copy, Debug)]
pub struct Experts {
    /// f32, or int8 about middles.
    pub rows: RowForm,
    /// Tokens, experts of each, N, K.
    pub sizes: [u32; 4],
    /// Whether the output is added to.
    pub adds: bool,
}

/// Numbers of an [`Experts`].
#[derive(Clone, Debug)]
pub struct ExpertNumbers {
    /// The matrices.
    pub weights: ExpertWeights,
    /// `[R]`, every fifth [`EXPERT_ELSEWHERE`].
    pub experts: Vec<u32>,
    /// `[tokens, K]`: numbers for f32.
    pub x: Vec<f32>,
    /// `[tokens, K]`: for int8.
    pub int8: MiddleNumbers,
    /// `[R, N]`: what the output holds before.
    pub before: Vec<f32>,
}

impl Experts {
    /// The numbers.
    pub fn inputs(&self, random: &mut Random) -> ExpertNumbers {
        let [tokens, share, n, k] = self.sizes;
        let (rows, blocks) = (tokens * share, k / 32);
        let mut expert =
            |row: u32| if row % 5 == 4 { EXPERT_ELSEWHERE } else { random.below(NUM_EXPERTS - 1) };
        let experts = (0..rows).map(&mut expert).collect();
        ExpertNumbers {
            weights: ExpertWeights::new(random, n, blocks),
            experts,
            x: random.floats(tokens * k),
            int8: MiddleNumbers::new(random, tokens, k),
            before: random.floats(rows * n),
        }
    }

    pub(crate) fn outputs(&self, bench: &Bench<'_>, random: &mut Random) -> Result<Vec<Output>, Error> {
        let [tokens, share, n, k] = self.sizes;
        let numbers = self.inputs(random);
        let mut sheet = bench.sheet();
        let out = sheet.holding(&numbers.before);
        let [codes, code_scales, bias] = &numbers.weights.on(&mut sheet);
        let experts = sheet.holding(&numbers.experts);
        let int8 = numbers.int8.on(&mut sheet);
        let floats = sheet.holding(&numbers.x);
        let x = if self.rows == RowForm::F32 { ExpertRows::F32(&floats) } else { ExpertRows::Int8(&int8) };
        let rows = tokens * share;
        let op = ExpertLinear {
            out: &out,
            x,
            codes,
            code_scales,
            experts: &experts,
            bias,
            adds: self.adds,
            num_experts: NUM_EXPERTS,
            rows,
            share,
            n,
            k,
        };
        sheet.run(|kernels, recording| op.record(kernels, recording))?;
        Ok(vec![sheet.floats(&out, rows * n)])
    }
}

/// MXFP4 matrices of all experts.
#[derive(Clone, Debug)]
pub struct ExpertWeights {
    /// `[E, N, K / 2]`
    pub codes: Vec<u8>,
    /// `[E, N, K / 32]`
    pub code_scales: Vec<u8>,
    /// `[E, N]`
    pub bias: Vec<f32>,
}

impl ExpertWeights {
    pub(crate) fn new(random: &mut Random, n: u32, blocks: u32) -> ExpertWeights {
        let codes = (0..NUM_EXPERTS * n * blocks * 16).map(|_| random.bits() as u8).collect();
        let mut code_scales: Vec<u8> =
            (0..NUM_EXPERTS * n * blocks).map(|_| 110 + random.below(20) as u8).collect();
        let mut bias = random.floats(NUM_EXPERTS * n);
        code_scales[((NUM_EXPERTS - 1) * n * blocks) as usize..].fill(u8::MAX);
        bias[((NUM_EXPERTS - 1) * n) as usize..].fill(f32::NAN);
        ExpertWeights { codes, code_scales, bias }
    }

    /// Codes, scales and bias on the card.
    pub(crate) fn on(&self, sheet: &mut Sheet<'_>) -> [Slice; 3] {
        [sheet.holding(&self.codes), sheet.holding(&self.code_scales), sheet.holding(&self.bias)]
    }
}

/// Rows of int8 about middles.
#[derive(Clone, Debug)]
pub struct MiddleNumbers {
    /// `[rows, K]`: integers without middles.
    pub values: Vec<i8>,
    /// `[rows, K / 32]`
    pub middles: Vec<i8>,
    /// `[rows, K / 32]`
    pub scales: Vec<f32>,
}

impl MiddleNumbers {
    pub(crate) fn new(random: &mut Random, rows: u32, k: u32) -> MiddleNumbers {
        let blocks = rows * (k / 32);
        MiddleNumbers {
            values: random.integers(rows * k, 120),
            middles: random.integers(blocks, 100),
            scales: random.scales(blocks),
        }
    }

    /// As [`MiddleRows`] has them.
    pub(crate) fn on(&self, sheet: &mut Sheet<'_>) -> MiddleRows {
        let values = MiddleRows::stored(sheet.way(), &self.values);
        let mut beside = Vec::<[u32; 2]>::new();
        for (b, block) in self.values.chunks_exact(32).enumerate() {
            let middle = self.middles[b];
            let sum: i32 = block.iter().map(|value| i32::from(*value) + i32::from(middle)).sum();
            beside.push([self.scales[b].to_bits(), ((12 * sum) << 8) as u32 | u32::from(middle as u8)]);
        }
        MiddleRows { values: sheet.holding(&values), beside: sheet.holding(&beside) }
    }
}
