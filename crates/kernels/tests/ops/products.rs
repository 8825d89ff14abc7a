//! One table of cases for the matrix products, run on every tier this processor has.
//!
//! A case is an op, sizes, and what the tensors are filled with. For each one: the scalar reference lies
//! within a derived tolerance of its float64 twin; every tier and number of threads gives the reference's
//! bits; many tokens at once give the bits of one at a time. And across ops: exact MXFP4 and the transposed
//! product give the bits of the plain bf16 product of the same matrix.

use crate::support::{FILLS, Fill, Rng, assert_bits, assert_close, pools, scalar};
use gptoss_formats::{Mxfp4Block, NibbleOrder, Q8_0_BLOCK_BYTES, mxfp4_dequantize, mxfp4_dequantize_bf16};
use gptoss_kernels::{
    Bf16Transposed, LinearDims, Matrix, Mxfp4, Mxfp4Blocks, Pool, Q8Order, Q8Rows, Rows, linear, quantize_q8,
};
use half::{bf16, f16};

/// Unit roundoff of f32.
const U: f64 = 1.0 / (1 << 24) as f64;
/// The smallest subnormal: what one rounding near zero can cost.
const TINY: f64 = 1e-45;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Op {
    Bf16,
    Transposed,
    Exact,
    /// The same matrix in the blocks of a GGUF file, its even and its odd rows apart.
    ExactHalves,
    /// MXFP4 with int8 activations.
    Q8,
    /// Likewise in the blocks of a GGUF file.
    Q8Halves,
    /// The same in one stack, neighbors sharing a byte.
    Q8Blocks,
    /// Q8_0 with int8 activations.
    DenseQ8,
}

impl Op {
    fn is_mxfp4(self) -> bool {
        matches!(self, Op::Exact | Op::ExactHalves | Op::Q8 | Op::Q8Halves | Op::Q8Blocks)
    }

    /// The order of its int8 activations, if it has them.
    fn order(self) -> Option<Q8Order> {
        match self {
            Op::Q8 | Op::Q8Blocks => Some(Q8Order::Mxfp4),
            Op::Q8Halves => Some(Q8Order::Mxfp4Halves),
            Op::DenseQ8 => Some(Q8Order::Q8_0),
            Op::Bf16 | Op::Transposed | Op::Exact | Op::ExactHalves => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Case {
    op: Op,
    t: usize,
    n: usize,
    k: usize,
    x: Fill,
    w: Fill,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for op in [
        Op::Bf16,
        Op::Transposed,
        Op::Exact,
        Op::ExactHalves,
        Op::Q8,
        Op::Q8Halves,
        Op::Q8Blocks,
        Op::DenseQ8,
    ] {
        for (t, n, k) in [
            (1, 1, 32),
            (1, 13, 32),
            (2, 17, 64),
            (3, 33, 96),
            (7, 40, 128),
            (8, 31, 256),
            (64, 35, 288),
            (1, 67, 2880),
            (5, 19, 2880),
            (2, 9, 4096),
            (4, 16, 4096),
            (1, 296, 96),
            (4, 136, 64),
            (2, 70, 2880),
            (6, 44, 96),
        ] {
            cases.push(Case { op, t, n, k, x: Fill::Random, w: Fill::Random });
        }
        for x in FILLS {
            for w in FILLS {
                cases.push(Case { op, t: 5, n: 11, k: 352, x, w });
                cases.push(Case { op, t: 1, n: 35, k: 352, x, w });
            }
        }
    }
    // Widths that only the bf16 ops take: no multiple of 8, and none at all. Few panels share many tokens.
    for op in [Op::Bf16, Op::Transposed] {
        for (t, n, k) in [
            (1, 5, 7),
            (3, 9, 13),
            (4, 37, 100),
            (7, 8, 1),
            (2, 3, 0),
            (0, 4, 8),
            (131, 8, 293),
            (60, 22, 590),
        ] {
            cases.push(Case { op, t, n, k, x: Fill::Random, w: Fill::Random });
            cases.push(Case { op, t, n, k, x: Fill::Tiny, w: Fill::NegativeZeros });
        }
    }
    cases
}

/// The tensors of a case. MXFP4 and Q8_0 matrices are made of random codes, and of scales by the fill.
struct Tensors {
    dims: LinearDims,
    x: Vec<f32>,
    bias: Option<Vec<f32>>,
    /// `[N, K]`
    rows: Vec<bf16>,
    /// `[K, N]`
    columns: Vec<bf16>,
    blocks: Vec<u8>,
    scales: Vec<u8>,
    q8_0: Vec<[u8; Q8_0_BLOCK_BYTES]>,
    /// `[N, K]`, whatever the op's format.
    values: Vec<f32>,
}

impl Tensors {
    fn new(case: Case) -> Tensors {
        let Case { op, t, n, k, x, w } = case;
        let mut rng = Rng((t * 1_000_003 + n * 1009 + k) as u64);
        let (mut rows, mut blocks, mut scales) = (w.bf16s(&mut rng, n * k), Vec::new(), Vec::new());
        if op.is_mxfp4() {
            blocks = (0..n * k / 2).map(|_| code_byte(w, &mut rng)).collect();
            scales = (0..n * k / 32).map(|_| scale_byte(w, &mut rng)).collect();
            mxfp4_dequantize_bf16(&mut rows, &blocks, &scales);
        }
        let mut values: Vec<f32> = rows.iter().map(|value| value.to_f32()).collect();
        let mut q8_0 = Vec::new();
        if op == Op::DenseQ8 {
            q8_0 = (0..n * k / 32).map(|_| q8_0_block(w, &mut rng)).collect();
            for (row, values) in values.chunks_exact_mut(k).enumerate() {
                Matrix::Q8_0(&q8_0).unpack_row(values, row);
            }
        }
        let columns = (0..n * k).map(|i| rows[i % n * k + i / n]).collect();
        let bias = (n % 2 == 1).then(|| Fill::Random.f32s(&mut rng, n));
        Tensors {
            dims: LinearDims { t, n, k },
            x: x.f32s(&mut rng, t * k),
            bias,
            rows,
            columns,
            blocks,
            scales,
            q8_0,
            values,
        }
    }

    fn run(&self, op: Op, pool: &Pool) -> Vec<f32> {
        self.run_tokens(op, pool, 0, self.dims.t)
    }

    fn run_tokens(&self, op: Op, pool: &Pool, first: usize, t: usize) -> Vec<f32> {
        let LinearDims { n, k, .. } = self.dims;
        let dims = LinearDims { t, ..self.dims };
        let x = &self.x[first * k..][..t * k];
        let mut out = vec![f32::NAN; t * n];
        let [even, odd] = self.in_blocks(op);
        let w = match op {
            Op::Bf16 => Matrix::Bf16(&self.rows),
            Op::Transposed => Matrix::Bf16Transposed(Bf16Transposed::new(&self.columns, n)),
            Op::Exact | Op::Q8 => Matrix::Mxfp4(Mxfp4 { blocks: &self.blocks, scales: &self.scales }),
            Op::ExactHalves | Op::Q8Halves => {
                Matrix::Mxfp4Blocks(Mxfp4Blocks { even: &even, odd: &odd, nibbles: NibbleOrder::Halves })
            }
            Op::Q8Blocks => {
                Matrix::Mxfp4Blocks(Mxfp4Blocks { even: &even, odd: &odd, nibbles: NibbleOrder::Neighbors })
            }
            Op::DenseQ8 => Matrix::Q8_0(&self.q8_0),
        };
        let mut q8 = Q8Rows::new();
        let x = match op.order() {
            None => Rows::F32(x),
            Some(order) => {
                assert_eq!(w.activation_order(), Some(order));
                q8.reset_for(order);
                quantize_q8(pool, &mut q8, x, t, k);
                Rows::Q8(&q8)
            }
        };
        linear(pool, &mut out, x, w, self.bias.as_deref(), dims);
        out
    }

    /// The MXFP4 matrix with its scales in front of the codes; its odd rows apart, unless the op has one
    /// stack.
    fn in_blocks(&self, op: Op) -> [Vec<Mxfp4Block>; 2] {
        let per_row = (self.dims.k / 32).max(1);
        let mut stacks = [Vec::new(), Vec::new()];
        if matches!(op, Op::Exact | Op::Q8) {
            return stacks;
        }
        for (i, (codes, scale)) in self.blocks.as_chunks::<16>().0.iter().zip(&self.scales).enumerate() {
            let code = |value: usize| codes[value / 2] >> (value % 2 * 4) & 15;
            let mut block = [*scale; 17];
            for byte in 0..16 {
                block[1 + byte] = match op {
                    Op::ExactHalves | Op::Q8Halves => code(byte) | code(byte + 16) << 4,
                    _ => codes[byte],
                };
            }
            // One row alone has no odd one beside it, and two stacks are equally long.
            let is_apart = op != Op::Q8Blocks && self.dims.n.is_multiple_of(2);
            stacks[if is_apart { i / per_row % 2 } else { 0 }].push(block);
        }
        stacks
    }

    /// The true value of each output in float64, and how far the op may be from it.
    ///
    /// A lane of K/8 fused steps, three levels of the tree and the bias round K/8 + 4 times; with int8
    /// activations K/256 steps, one product of scales, three levels and the bias.
    fn twin(&self, op: Op) -> Vec<(f64, f64)> {
        let LinearDims { t, n, k } = self.dims;
        let mut x: Vec<f64> = self.x.iter().map(|x| f64::from(*x)).collect();
        let mut roundings = (k.div_ceil(8) + 5) as f64;
        if let Some(order) = op.order() {
            let mut rows = Q8Rows::for_weights(order);
            quantize_q8(&scalar(), &mut rows, &self.x, t, k);
            for (i, x) in x.iter_mut().enumerate() {
                *x = f64::from(rows.value(i / k, i % k)) * f64::from(rows.scales(i / k)[i % k / 32]);
            }
            roundings = (k.div_ceil(256) + 7) as f64;
        }
        let mut out = Vec::with_capacity(t * n);
        for token in 0..t {
            for row in 0..n {
                let bias = self.bias.as_ref().map_or(0.0, |bias| f64::from(bias[row]));
                let (mut sum, mut magnitude) = (bias, bias.abs());
                for i in 0..k {
                    let product = x[token * k + i] * f64::from(self.values[row * k + i]);
                    sum += product;
                    magnitude += product.abs();
                }
                // A sum that passes the largest f32 on its way may be infinite: no claim there.
                let claim = if magnitude < f64::from(f32::MAX) { sum } else { f64::NAN };
                out.push((claim, roundings * (U * magnitude * 1.01 + TINY * 130.0)));
            }
        }
        out
    }
}

fn code_byte(fill: Fill, rng: &mut Rng) -> u8 {
    match fill {
        Fill::Zeros => 0,
        Fill::NegativeZeros => [0x00, 0x88, 0x80, 0x08][(rng.next() % 4) as usize],
        _ => rng.next() as u8,
    }
}

fn scale_byte(fill: Fill, rng: &mut Rng) -> u8 {
    let random = rng.next();
    match fill {
        Fill::Tiny => [0, 1, 2, 3][(random % 4) as usize],
        Fill::Large => (90 + random % 140) as u8,
        Fill::NonFinite => [0, 1, 2, 127, 253, 254][(random % 6) as usize],
        _ => (115 + random % 12) as u8,
    }
}

/// Weights of every value, -128 among them, which only the files of others hold.
fn q8_0_block(fill: Fill, rng: &mut Rng) -> [u8; Q8_0_BLOCK_BYTES] {
    let mut block = [0; Q8_0_BLOCK_BYTES];
    let extreme = rng.next().is_multiple_of(4);
    for value in &mut block[2..] {
        *value = match fill {
            Fill::Zeros => 0,
            _ if extreme => [0x80, 0x7f, 0x81][(rng.next() % 3) as usize],
            _ => rng.next() as u8,
        };
    }
    let unit = rng.unit();
    let scale = match fill {
        Fill::Zeros => 0.0,
        Fill::NegativeZeros => -0.0,
        Fill::Tiny => unit * 2_f32.powi(-24 + (rng.next() % 10) as i32),
        Fill::Large => unit * 2_f32.powi((rng.next() % 30) as i32 - 15),
        Fill::NonFinite => [f32::NAN, f32::INFINITY, unit, unit][(rng.next() % 4) as usize],
        Fill::Random => unit / 100.0,
    };
    block[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
    block
}

#[test]
fn the_reference_is_within_its_tolerance_of_float64() {
    for case in cases() {
        let tensors = Tensors::new(case);
        assert_close(&tensors.run(case.op, &scalar()), &tensors.twin(case.op), &case);
    }
}

#[test]
fn every_tier_and_number_of_threads_gives_the_bits_of_the_reference() {
    let pools = pools();
    for case in cases() {
        let tensors = Tensors::new(case);
        let expected = tensors.run(case.op, &scalar());
        for pool in &pools {
            let what = (case, pool.tier(), pool.threads());
            assert_bits(&tensors.run(case.op, pool), &expected, &what);
        }
    }
}

#[test]
fn many_tokens_give_the_bits_of_one_at_a_time() {
    let pools = pools();
    for case in cases() {
        let tensors = Tensors::new(case);
        for pool in &pools {
            let together = tensors.run(case.op, pool);
            let alone: Vec<f32> = (0..case.t).flat_map(|t| tensors.run_tokens(case.op, pool, t, 1)).collect();
            assert_bits(&together, &alone, &(case, pool.tier(), pool.threads()));
        }
    }
}

#[test]
fn blocks_of_a_gguf_file_give_the_bits_of_the_published_layout() {
    let pools = pools();
    for case in cases().into_iter().filter(|case| matches!(case.op, Op::Q8Halves | Op::Q8Blocks)) {
        let tensors = Tensors::new(case);
        for pool in &pools {
            let what = (case, pool.tier(), pool.threads());
            assert_bits(&tensors.run(case.op, pool), &tensors.run(Op::Q8, pool), &what);
        }
    }
}

#[test]
fn exact_mxfp4_and_transposed_give_the_bits_of_plain_bf16() {
    let pools = pools();
    for case in
        cases().into_iter().filter(|case| matches!(case.op, Op::Exact | Op::ExactHalves | Op::Transposed))
    {
        let tensors = Tensors::new(case);
        for pool in &pools {
            let what = (case, pool.tier(), pool.threads());
            assert_bits(&tensors.run(case.op, pool), &tensors.run(Op::Bf16, pool), &what);
        }
    }
}

/// The widest tier that is a tile: every count of tokens around the tile's width, against one at a time.
#[test]
fn every_count_of_tokens_up_to_two_tiles_agrees() {
    for op in [Op::Bf16, Op::Exact, Op::ExactHalves, Op::Q8, Op::Q8Halves, Op::Q8Blocks, Op::DenseQ8] {
        for t in 1..=17 {
            let case = Case { op, t, n: 22, k: 320, x: Fill::Random, w: Fill::Random };
            let tensors = Tensors::new(case);
            for pool in &pools() {
                let alone: Vec<f32> = (0..t).flat_map(|i| tensors.run_tokens(op, &scalar(), i, 1)).collect();
                assert_bits(&tensors.run(op, pool), &alone, &(case, pool.tier()));
            }
        }
    }
}

#[test]
fn dequantizing_agrees_with_the_table_of_codes() {
    let blocks: Vec<u8> = (0..=255).collect();
    let scales: Vec<u8> = (0..16).map(|b| b * 16 + 7).collect();
    let mut out = vec![0.0; 512];
    mxfp4_dequantize(&mut out, &blocks, &scales);
    for (i, value) in out.iter().enumerate() {
        let code = blocks[i / 2] >> (i % 2 * 4) & 15;
        let magnitude = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0][usize::from(code & 7)];
        let sign = if code & 8 == 0 { 1.0 } else { -1.0 };
        let expected = sign * magnitude * (f64::from(scales[i / 32]) - 127.0).exp2();
        assert_eq!(f64::from(*value), expected, "element {i}");
    }
}

#[test]
fn parts_of_a_matrix_are_its_rows() {
    for case in cases().into_iter().filter(|case| case.n >= 32 && case.t == 5) {
        let tensors = Tensors::new(case);
        let matrix = match case.op {
            Op::Transposed => Matrix::Bf16Transposed(Bf16Transposed::new(&tensors.columns, case.n)),
            Op::Bf16 => Matrix::Bf16(&tensors.rows),
            _ => continue,
        };
        let part = matrix.rows(16, 16, case.k);
        assert_eq!(part.num_bytes(), 16 * case.k * 2);
        let mut row = vec![f32::NAN; case.k];
        part.unpack_row(&mut row, 3);
        assert_bits(&row, &tensors.values[19 * case.k..][..case.k], &case);
    }
}
