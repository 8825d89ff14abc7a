//! Quantization, and products with matrices of every form.

use gptoss_formats::{Mxfp4Block, NibbleOrder, Q8_0Block};
use gptoss_kernels::{
    Bf16Transposed, LinearDims, Matrix, Mxfp4, Mxfp4Blocks, Pool, Q8Order, Q8Panels, Q8Rows, Rows, Tier,
    linear, pack_q8_panels, quantize_q8, quantize_q8_parts,
};
use half::{bf16, f16};

use crate::numbers::{FILLS, Fill, Rng, assert_bits};
use crate::reference::Fma;
use crate::reference::numbers::widened;
use crate::reference::products::{Int8Row, Mxfp4Row, times_f32};
use crate::reference::quantized::{Int8Block, quantize, quantize_about_middles, quantize_parts};

const SIZES: [(usize, usize, usize); 7] =
    [(1, 1, 32), (1, 16, 64), (2, 17, 96), (3, 32, 288), (5, 16, 2880), (9, 48, 256), (8, 33, 128)];

fn pools() -> Vec<Pool> {
    Tier::available().into_iter().map(|tier| Pool::with_tier(1, tier)).collect()
}

/// Row by row, output by output.
fn outputs<'a>(x: &'a [f32], (n, k): (usize, usize), output: impl Fn(&'a [f32], usize) -> f32) -> Vec<f32> {
    x.chunks_exact(k).flat_map(|x| (0..n).map(|n| output(x, n)).collect::<Vec<_>>()).collect()
}

#[track_caller]
fn assert_stored(rows: &Q8Rows, t: usize, blocks: &[Int8Block], what: &dyn std::fmt::Debug) {
    let scales: Vec<f32> = blocks.iter().map(|block| block.scale).collect();
    assert_bits(&scales, rows.scales(t), what);
    let values = |k: usize| blocks[k / 32].value(k % 32);
    assert!((0..rows.k()).all(|k| values(k) == rows.value(t, k)), "{what:?}: row {t}");
}

#[test]
fn activations_as_int8() {
    for fill in FILLS {
        for (t, k) in [(1, 32), (3, 96), (2, 2880)] {
            let x = fill.floats(&mut Rng((t * k) as u64), t * k);
            for pool in pools() {
                let what = (fill, t, k, pool.tier());
                let mut rows = Q8Rows::for_weights(Q8Order::Q8_0);
                quantize_q8(&pool, &mut rows, &x, t, k);
                for (t, x) in x.chunks_exact(k).enumerate() {
                    assert_stored(&rows, t, &quantize(x), &what);
                }
                let mut rows = Q8Rows::new();
                quantize_q8(&pool, &mut rows, &x, t, k);
                for (t, x) in x.chunks_exact(k).enumerate() {
                    assert_stored(&rows, t, &quantize_about_middles(Fma::Fused, x), &what);
                }
                let mut rows = Q8Rows::for_weights(Q8Order::Q8_0);
                quantize_q8_parts(&pool, &mut rows, &x, t, k);
                for (row, x) in x.chunks_exact(k).enumerate() {
                    let [high, low] = quantize_parts(Fma::Fused, x);
                    assert_stored(&rows, row, &high, &what);
                    assert_stored(&rows, t + row, &low, &what);
                }
            }
        }
    }
}

/// A matrix of MXFP4 in every layout.
struct Mxfp4Layouts {
    codes: Vec<u8>,
    scales: Vec<u8>,
    neighbors: Vec<Mxfp4Block>,
    halves: Vec<Mxfp4Block>,
}

impl Mxfp4Layouts {
    fn new(rng: &mut Rng, n: usize, k: usize) -> Mxfp4Layouts {
        let codes: Vec<u8> = (0..n * k / 2).map(|_| rng.next() as u8).collect();
        let scales: Vec<u8> = (0..n * k / 32)
            .map(|_| if rng.below(9) == 0 { [0, 1, 250][rng.below(3)] } else { 115 + rng.below(14) as u8 })
            .collect();
        let block = |b: usize, of: &dyn Fn(&[u8], usize) -> u8| -> Mxfp4Block {
            let codes = &codes[b * 16..][..16];
            std::array::from_fn(|i| if i == 0 { scales[b] } else { of(codes, i - 1) })
        };
        let code = |codes: &[u8], i: usize| codes[i / 2] >> (i % 2 * 4) & 15;
        let all = 0..scales.len();
        let neighbors = all.clone().map(|b| block(b, &|codes, i| codes[i])).collect();
        let halves = all.map(|b| block(b, &|codes, i| code(codes, i) | code(codes, i + 16) << 4)).collect();
        Mxfp4Layouts { codes, scales, neighbors, halves }
    }

    fn matrices(&self) -> [Matrix<'_>; 3] {
        let (even, odd) = (&self.neighbors[..], &[][..]);
        [
            Matrix::Mxfp4(Mxfp4 { blocks: &self.codes, scales: &self.scales }),
            Matrix::Mxfp4Blocks(Mxfp4Blocks { even, odd, nibbles: NibbleOrder::Neighbors }),
            Matrix::Mxfp4Blocks(Mxfp4Blocks { even: &self.halves, odd, nibbles: NibbleOrder::Halves }),
        ]
    }

    fn row(&self, n: usize, k: usize) -> Mxfp4Row<'_> {
        Mxfp4Row { codes: &self.codes[n * k / 2..][..k / 2], scales: &self.scales[n * k / 32..][..k / 32] }
    }
}

#[test]
fn mxfp4_with_int8_and_f32() {
    for (t, n, k) in SIZES {
        for fill in FILLS {
            let mut rng = Rng((t * 31 + n * 7 + k) as u64);
            let w = Mxfp4Layouts::new(&mut rng, n, k);
            let (x, bias) = (fill.floats(&mut rng, t * k), rng.floats(n));
            let int8 = outputs(&x, (n, k), |x, n| {
                let x = quantize_about_middles(Fma::Fused, x);
                w.row(n, k).times_int8(Fma::Fused, &x, bias[n])
            });
            let float = outputs(&x, (n, k), |x, n| times_f32(Fma::Fused, x, &w.row(n, k).values(), bias[n]));
            let dims = LinearDims { t, n, k };
            for (pool, matrix) in pools().iter().flat_map(|pool| w.matrices().map(|w| (pool, w))) {
                let what = (t, n, k, fill, pool.tier());
                let mut out = vec![0.0; t * n];
                linear(pool, &mut out, Rows::F32(&x), matrix, Some(&bias), dims);
                assert_bits(&float, &out, &what);
                let mut rows = Q8Rows::for_weights(matrix.activation_order().unwrap_or_default());
                quantize_q8(pool, &mut rows, &x, t, k);
                linear(pool, &mut out, Rows::Q8(&rows), matrix, Some(&bias), dims);
                assert_bits(&int8, &out, &what);
            }
        }
    }
}

/// int8 weights apart, and as blocks.
fn int8_weights(rng: &mut Rng, n: usize, k: usize) -> (Vec<i8>, Vec<f32>, Vec<Q8_0Block>) {
    let values: Vec<i8> = (0..n * k).map(|_| rng.next() as i8).collect();
    let scales: Vec<f16> =
        (0..n * k / 32).map(|_| f16::from_f32(rng.unit() * 2f32.powi(rng.below(30) as i32 - 24))).collect();
    let block = |(b, scale): (usize, &f16)| -> Q8_0Block {
        let scale = scale.to_le_bytes();
        std::array::from_fn(|i| if i < 2 { scale[i] } else { values[b * 32 + i - 2] as u8 })
    };
    let blocks = scales.iter().enumerate().map(block).collect();
    (values, scales.iter().map(|scale| scale.to_f32()).collect(), blocks)
}

#[test]
fn int8_with_int8_in_one_and_two_parts_and_f32() {
    for (t, n, k) in SIZES {
        for fill in FILLS {
            let mut rng = Rng((t * 37 + n * 5 + k) as u64);
            let (values, scales, blocks) = int8_weights(&mut rng, n, k);
            let row =
                |n: usize| Int8Row { values: &values[n * k..][..k], scales: &scales[n * k / 32..][..k / 32] };
            let (x, bias) = (fill.floats(&mut rng, t * k), rng.floats(n));
            let one = outputs(&x, (n, k), |x, n| row(n).times_int8(Fma::Fused, &quantize(x), bias[n]));
            let two = outputs(&x, (n, k), |x, n| {
                row(n).times_parts(Fma::Fused, &quantize_parts(Fma::Fused, x), Some(bias[n]))
            });
            let bare = outputs(&x, (n, k), |x, n| {
                row(n).times_parts(Fma::Fused, &quantize_parts(Fma::Fused, x), None)
            });
            let float = outputs(&x, (n, k), |x, n| times_f32(Fma::Fused, x, &row(n).values(), bias[n]));
            let (mut panels, mut halves) = (vec![0; n * k], vec![f16::ZERO; n * k / 32]);
            let mut matrices = vec![Matrix::Q8_0(&blocks)];
            if n.is_multiple_of(16) {
                pack_q8_panels(&Pool::new(1), &mut panels, &mut halves, &blocks, k);
                matrices.push(Matrix::Q8Panels(Q8Panels { values: &panels, scales: &halves }));
            }
            let dims = LinearDims { t, n, k };
            for (pool, w) in pools().iter().flat_map(|pool| matrices.iter().map(move |w| (pool, *w))) {
                let what = (t, n, k, fill, pool.tier());
                let mut out = vec![0.0; t * n];
                linear(pool, &mut out, Rows::F32(&x), w, Some(&bias), dims);
                assert_bits(&float, &out, &what);
                let mut rows = Q8Rows::for_weights(Q8Order::Q8_0);
                quantize_q8(pool, &mut rows, &x, t, k);
                linear(pool, &mut out, Rows::Q8(&rows), w, Some(&bias), dims);
                assert_bits(&one, &out, &what);
                quantize_q8_parts(pool, &mut rows, &x, t, k);
                linear(pool, &mut out, Rows::Q8Parts(&rows), w, Some(&bias), dims);
                assert_bits(&two, &out, &what);
                linear(pool, &mut out, Rows::Q8Parts(&rows), w, None, dims);
                assert_bits(&bare, &out, &what);
            }
        }
    }
}

#[test]
fn floats_with_f32() {
    for (t, n, k) in SIZES.into_iter().chain([(1, 5, 7), (3, 9, 13), (4, 37, 100), (7, 8, 1)]) {
        for (fill, of_weights) in FILLS.into_iter().flat_map(|x| FILLS.map(|w| (x, w))) {
            let mut rng = Rng((t * 41 + n * 3 + k) as u64);
            let halves: Vec<bf16> =
                of_weights.floats(&mut rng, n * k).into_iter().map(bf16::from_f32).collect();
            let values: Vec<f32> = halves.iter().map(|value| widened(value.to_bits())).collect();
            let columns: Vec<bf16> = (0..n * k).map(|i| halves[i % n * k + i / n]).collect();
            let (x, bias) = (fill.floats(&mut rng, t * k), rng.floats(n));
            let expected =
                outputs(&x, (n, k), |x, n| times_f32(Fma::Fused, x, &values[n * k..][..k], bias[n]));
            let transposed = Matrix::Bf16Transposed(Bf16Transposed::new(&columns, n));
            for pool in pools() {
                for w in [Matrix::Bf16(&halves), Matrix::F32(&values), transposed] {
                    let mut out = vec![0.0; t * n];
                    linear(&pool, &mut out, Rows::F32(&x), w, Some(&bias), LinearDims { t, n, k });
                    assert_bits(&expected, &out, &(t, n, k, fill, of_weights, pool.tier()));
                }
            }
        }
    }
}

#[test]
fn half_precision_with_f32() {
    let (t, n, k) = (3, 17, 96);
    let mut rng = Rng(3);
    let halves: Vec<f16> = rng.floats(n * k).into_iter().map(f16::from_f32).collect();
    let values: Vec<f32> = halves.iter().map(|value| value.to_f32()).collect();
    let (x, bias) = (Fill::Random.floats(&mut rng, t * k), rng.floats(n));
    let expected = outputs(&x, (n, k), |x, n| times_f32(Fma::Fused, x, &values[n * k..][..k], bias[n]));
    for pool in pools() {
        let mut out = vec![0.0; t * n];
        linear(&pool, &mut out, Rows::F32(&x), Matrix::F16(&halves), Some(&bias), LinearDims { t, n, k });
        assert_bits(&expected, &out, &pool.tier());
    }
}
