//! Products with dense matrices: one matrix in each format gives the same bits.
//!
//! Values are chosen so that several formats hold them: those of Q8_0 blocks are exact in f32, small
//! multiples of powers of two are exact in all four. The f32 product itself is compared with float64 in
//! `products.rs`, through bf16.

use gptoss_formats::Q8_0_BLOCK_BYTES;
use gptoss_kernels::{
    LinearDims, Matrix, Pool, Q8Order, Q8Panels, Q8Rows, Rows, linear, pack_q8_panels, quantize_q8,
    quantize_q8_parts,
};
use half::{bf16, f16};

use crate::support::{FILLS, Fill, Rng, assert_bits, pools};

const SIZES: [(usize, usize, usize); 6] =
    [(1, 1, 32), (1, 37, 96), (3, 17, 64), (7, 33, 2880), (1, 16, 4096), (0, 4, 32)];

fn run(pool: &Pool, x: &[f32], w: Matrix<'_>, bias: &[f32], dims: LinearDims) -> Vec<f32> {
    let mut out = vec![f32::NAN; dims.t * dims.n];
    linear(pool, &mut out, Rows::F32(x), w, Some(bias), dims);
    out
}

/// Random blocks; scales of every size, signs and subnormals among them.
fn blocks(rng: &mut Rng, count: usize) -> Vec<[u8; Q8_0_BLOCK_BYTES]> {
    let block = |_| {
        let mut block = [0; Q8_0_BLOCK_BYTES];
        block[2..].fill_with(|| rng.next() as u8);
        let scale = f16::from_f32(rng.unit() * 2f32.powi((rng.next() % 30) as i32 - 24));
        block[..2].copy_from_slice(&scale.to_le_bytes());
        block
    };
    (0..count).map(block).collect()
}

fn unpacked(blocks: &[[u8; Q8_0_BLOCK_BYTES]]) -> Vec<f32> {
    let value = |block: &[u8; Q8_0_BLOCK_BYTES], i: usize| {
        let scale = f64::from(f16::from_le_bytes([block[0], block[1]]).to_f32());
        let exact = scale * f64::from(block[2 + i] as i8);
        assert_eq!(f64::from(exact as f32), exact, "an int8 times an f16 is an f32");
        exact as f32
    };
    blocks.iter().flat_map(|block| (0..32).map(move |i| value(block, i))).collect()
}

#[test]
fn q8_0_gives_the_bits_of_its_values_in_f32() {
    for (t, n, k) in SIZES {
        for fill in FILLS {
            let mut rng = Rng((t * 31 + n * 7 + k) as u64);
            let blocks = blocks(&mut rng, n * k / 32);
            let values = unpacked(&blocks);
            let (x, bias) = (fill.f32s(&mut rng, t * k), Fill::Random.f32s(&mut rng, n));
            let dims = LinearDims { t, n, k };
            let expected = run(&pools()[0], &x, Matrix::F32(&values), &bias, dims);
            for pool in &pools() {
                let what = (t, n, k, fill, pool.tier(), pool.threads());
                assert_bits(&run(pool, &x, Matrix::Q8_0(&blocks), &bias, dims), &expected, &what);
                assert_bits(&run(pool, &x, Matrix::F32(&values), &bias, dims), &expected, &what);
            }
            let mut row = vec![f32::NAN; k];
            Matrix::Q8_0(&blocks).unpack_row(&mut row, n - 1);
            assert_bits(&row, &values[(n - 1) * k..], &(n, k));
        }
    }
}

#[test]
fn a_matrix_that_every_format_holds_gives_the_same_bits_in_each() {
    for (t, n, k) in SIZES {
        let mut rng = Rng((t * 131 + n * 17 + k) as u64);
        let values: Vec<f32> = (0..n * k).map(|_| (rng.next() % 257) as f32 / 64.0 - 2.0).collect();
        let (x, bias) = (Fill::Random.f32s(&mut rng, t * k), Fill::Random.f32s(&mut rng, n));
        let bf16s: Vec<bf16> = values.iter().map(|value| bf16::from_f32(*value)).collect();
        let values: Vec<f32> = bf16s.iter().map(|value| value.to_f32()).collect();
        let f16s: Vec<f16> = values.iter().map(|value| f16::from_f32(*value)).collect();
        let dims = LinearDims { t, n, k };
        for pool in &pools() {
            let mut expected = vec![f32::NAN; t * n];
            linear(pool, &mut expected, Rows::F32(&x), Matrix::Bf16(&bf16s), Some(&bias), dims);
            for matrix in [Matrix::Bf16(&bf16s), Matrix::F16(&f16s), Matrix::F32(&values)] {
                assert_bits(&run(pool, &x, matrix, &bias, dims), &expected, &(t, n, k, pool.tier()));
                let mut row = vec![f32::NAN; k];
                matrix.unpack_row(&mut row, n - 1);
                assert_bits(&row, &values[(n - 1) * k..], &(n, k));
            }
        }
    }
}

#[test]
fn tokens_one_by_one_give_the_bits_of_all_at_once() {
    let (t, n, k) = (9, 35, 160);
    let mut rng = Rng(5);
    let blocks = blocks(&mut rng, n * k / 32);
    let (x, bias) = (Fill::Random.f32s(&mut rng, t * k), Fill::Random.f32s(&mut rng, n));
    for pool in &pools() {
        let together = run(pool, &x, Matrix::Q8_0(&blocks), &bias, LinearDims { t, n, k });
        let one = |x| run(pool, x, Matrix::Q8_0(&blocks), &bias, LinearDims { t: 1, n, k });
        let alone: Vec<f32> = x.chunks(k).flat_map(one).collect();
        assert_bits(&together, &alone, &pool.tier());
    }
}

#[test]
fn panels_give_the_bits_of_rows() {
    for (n, k) in [(16, 32), (48, 96), (336, 288), (32, 2880)] {
        let mut rng = Rng((n * 7 + k) as u64);
        let blocks = blocks(&mut rng, n * k / 32);
        let (mut values, mut scales) = (vec![0; n * k], vec![f16::ZERO; n * k / 32]);
        pack_q8_panels(&Pool::new(2), &mut values, &mut scales, &blocks, k);
        let panels = Q8Panels { values: &values, scales: &scales };
        let (mut row, mut expected) = (vec![f32::NAN; k], vec![f32::NAN; k]);
        for index in [0, n / 2, n - 1] {
            Matrix::Q8Panels(panels).unpack_row(&mut row, index);
            Matrix::Q8_0(&blocks).unpack_row(&mut expected, index);
            assert_bits(&row, &expected, &(n, k, index));
        }
        for t in [1, 2, 3, 4, 5, 8, 9, 16, 17, 70] {
            let (x, bias) = (Fill::Random.f32s(&mut rng, t * k), Fill::Random.f32s(&mut rng, n));
            let dims = LinearDims { t, n, k };
            for pool in &pools() {
                let mut rows = Q8Rows::for_weights(Q8Order::Q8_0);
                quantize_q8(pool, &mut rows, &x, t, k);
                let (mut by_row, mut by_panel) = (vec![f32::NAN; t * n], vec![f32::NAN; t * n]);
                let x = Rows::Q8(&rows);
                linear(pool, &mut by_row, x, Matrix::Q8_0(&blocks), Some(&bias), dims);
                linear(pool, &mut by_panel, x, Matrix::Q8Panels(panels), Some(&bias), dims);
                assert_bits(&by_panel, &by_row, &(t, n, k, pool.tier(), pool.threads()));
            }
            if t < 4 {
                let exact = run(&pools()[0], &x, Matrix::Q8_0(&blocks), &bias, dims);
                assert_bits(&run(&pools()[0], &x, Matrix::Q8Panels(panels), &bias, dims), &exact, &(t, n, k));
            }
        }
    }
}

/// The parts of a token are added after all products, so its bits are those of two products apart.
#[test]
fn parts_give_the_bits_of_two_products_and_their_sum() {
    for (n, k) in [(16, 32), (48, 96), (10_016, 64), (32, 2880)] {
        let mut rng = Rng((n * 5 + k) as u64);
        let blocks = blocks(&mut rng, n * k / 32);
        let (mut values, mut scales) = (vec![0; n * k], vec![f16::ZERO; n * k / 32]);
        pack_q8_panels(&Pool::new(2), &mut values, &mut scales, &blocks, k);
        let panels = Matrix::Q8Panels(Q8Panels { values: &values, scales: &scales });
        for t in [1, 2, 5, 70] {
            let (x, bias) = (Fill::Random.f32s(&mut rng, t * k), Fill::Random.f32s(&mut rng, n));
            let dims = LinearDims { t, n, k };
            let mut parts = Q8Rows::for_weights(Q8Order::Q8_0);
            quantize_q8_parts(&pools()[0], &mut parts, &x, t, k);
            let mut sums = vec![f32::NAN; 2 * t * n];
            let both = LinearDims { t: 2 * t, ..dims };
            linear(&pools()[0], &mut sums, Rows::Q8(&parts), Matrix::Q8_0(&blocks), None, both);
            let (high, low) = sums.split_at(t * n);
            let pairs = high.iter().zip(low).zip(bias.iter().cycle());
            let expected: Vec<f32> = pairs.map(|((high, low), bias)| high + low + bias).collect();
            for pool in &pools() {
                quantize_q8_parts(pool, &mut parts, &x, t, k);
                for w in [Matrix::Q8_0(&blocks), panels] {
                    let mut out = vec![f32::NAN; t * n];
                    linear(pool, &mut out, Rows::Q8Parts(&parts), w, Some(&bias), dims);
                    assert_bits(&out, &expected, &(t, n, k, pool.tier(), pool.threads()));
                }
            }
        }
    }
}

/// What int8 loses is hundreds of times less with a second part: the product is the f32 product but for the
/// last digits.
#[test]
fn two_parts_are_near_the_f32_product() {
    let (t, n, k) = (3, 32, 288);
    let mut rng = Rng(8);
    let blocks = blocks(&mut rng, n * k / 32);
    let (x, pool) = (Fill::Random.f32s(&mut rng, t * k), &pools()[0]);
    let (dims, bias) = (LinearDims { t, n, k }, vec![0.0; n]);
    let exact = run(pool, &x, Matrix::Q8_0(&blocks), &bias, dims);
    let distance =
        |out: &[f32]| out.iter().zip(&exact).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt();
    let mut rows = Q8Rows::for_weights(Q8Order::Q8_0);
    let (mut one, mut two) = (vec![0.0; t * n], vec![0.0; t * n]);
    quantize_q8(pool, &mut rows, &x, t, k);
    linear(pool, &mut one, Rows::Q8(&rows), Matrix::Q8_0(&blocks), None, dims);
    quantize_q8_parts(pool, &mut rows, &x, t, k);
    linear(pool, &mut two, Rows::Q8Parts(&rows), Matrix::Q8_0(&blocks), None, dims);
    assert!(distance(&one) > 100.0 * distance(&two), "{} and {}", distance(&one), distance(&two));
}
