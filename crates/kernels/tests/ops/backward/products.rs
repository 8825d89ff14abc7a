//! Gradients of linear layers, of low-rank additions and of the embedding; AdamW.

use gptoss_formats::{mxfp4_dequantize, mxfp4_quantize};
use gptoss_kernels::{
    AdamW, Bf16Transposed, LinearDims, LowRank, LowRankGradients, Matrix, Moments, Mxfp4, Pool, adamw,
    embedding_backward, linear_backward_bias, linear_backward_input, linear_backward_weight, low_rank,
    low_rank_backward_factors, low_rank_backward_input, low_rank_expand, low_rank_shrink, sum_of_squares,
};
use half::{bf16, f16};

use super::differences::{Sum, U, assert_slopes, product, values, weighted, widen};
use crate::support::{FILLS, Fill, Rng, assert_bits, assert_close, pools, scalar};

const SIZES: [(usize, usize, usize); 9] = [
    (1, 1, 32),
    (3, 17, 64),
    (7, 33, 96),
    (5, 300, 160),
    (200, 20, 32),
    (2, 5, 7),
    (13, 140, 50),
    (3, 0, 8),
    (0, 4, 8),
];

fn input(pool: &Pool, start: &[f32], dy: &[f32], w: Matrix<'_>, dims: LinearDims) -> Vec<f32> {
    let mut dx = start.to_vec();
    linear_backward_input(pool, &mut dx, dy, w, dims);
    dx
}

fn weight(pool: &Pool, start: &[f32], dy: &[f32], x: &[f32], dims: LinearDims) -> Vec<f32> {
    let mut dw = start.to_vec();
    linear_backward_weight(pool, &mut dw, dy, x, dims);
    dw
}

#[test]
fn linear_near_float64_and_on_every_tier() {
    for (t, n, k) in SIZES {
        for fill in FILLS {
            let mut rng = Rng((t * 31 + n * 7 + k) as u64);
            let (x, w) = (fill.f32s(&mut rng, t * k), fill.f32s(&mut rng, n * k));
            let dy = Fill::Random.f32s(&mut rng, t * n);
            let starts = [t * k, n * k, n].map(|len| Fill::Random.f32s(&mut rng, len));
            let dims = LinearDims { t, n, k };
            let (dx, dw) = (
                input(&scalar(), &starts[0], &dy, Matrix::F32(&w), dims),
                weight(&scalar(), &starts[1], &dy, &x, dims),
            );
            let mut db = starts[2].clone();
            linear_backward_bias(&scalar(), &mut db, &dy);
            let [wide_x, wide_w, wide_dy] = [&x, &w, &dy].map(|x| widen(x));
            let twin =
                |start: &[f32], dims, a: &dyn Fn(usize, usize) -> f64, b: &dyn Fn(usize, usize) -> f64| {
                    let roundings = (dims as (usize, usize, usize)).2 + 1;
                    let sums = product(&widen(start), dims, a, b);
                    sums.into_iter().map(|sum| sum.within(roundings)).collect::<Vec<_>>()
                };
            let what = (t, n, k, fill);
            let by_output = |t: usize, n_: usize| wide_dy[t * n + n_];
            let by_token = |n_: usize, t: usize| wide_dy[t * n + n_];
            assert_close(&dx, &twin(&starts[0], (t, k, n), &by_output, &|n, k_| wide_w[n * k + k_]), &what);
            assert_close(&dw, &twin(&starts[1], (n, k, t), &by_token, &|t, k_| wide_x[t * k + k_]), &what);
            assert_close(&db, &twin(&starts[2], (n, 1, t), &by_token, &|_, _| 1.0), &what);
            for pool in &pools() {
                let what = (t, n, k, fill, pool.tier(), pool.threads());
                assert_bits(&input(pool, &starts[0], &dy, Matrix::F32(&w), dims), &dx, &what);
                assert_bits(&weight(pool, &starts[1], &dy, &x, dims), &dw, &what);
                let mut on_tier = starts[2].clone();
                linear_backward_bias(pool, &mut on_tier, &dy);
                assert_bits(&on_tier, &db, &what);
            }
        }
    }
}

#[test]
fn linear_slopes() {
    let (t, n, k) = (3, 5, 4);
    let mut rng = Rng(1);
    let [x, w, dy] = [t * k, n * k, t * n].map(|len| widen(&Fill::Random.f32s(&mut rng, len)));
    let loss = |x: &[f64], w: &[f64]| {
        let y = product(&vec![0.0; t * n], (t, n, k), |t, k_| x[t * k + k_], |k_, n| w[n * k + k_]);
        weighted(&dy, values(&y))
    };
    let dx = product(&vec![0.0; t * k], (t, k, n), |t, s| dy[t * n + s], |s, k_| w[s * k + k_]);
    let dw = product(&vec![0.0; n * k], (n, k, t), |n_, s| dy[s * n + n_], |s, k_| x[s * k + k_]);
    assert_slopes(&values(&dx), &x, |x| loss(x, &w));
    assert_slopes(&values(&dw), &w, |w| loss(&x, w));
}

/// One matrix in each form that holds it.
#[test]
fn equal_matrices_give_equal_bits() {
    for (t, n, k) in [(1, 3, 32), (5, 19, 64), (7, 141, 288), (3, 9, 50)] {
        let mut rng = Rng((t + n + k) as u64);
        let dy = Fill::Random.f32s(&mut rng, t * n);
        let dims = LinearDims { t, n, k };
        let start = Fill::Random.f32s(&mut rng, t * k);
        let run = |pool: &Pool, w: Matrix<'_>| input(pool, &start, &dy, w, dims);
        let bf16s: Vec<bf16> =
            (0..n * k).map(|_| bf16::from_f32((rng.next() % 257) as f32 / 64.0 - 2.0)).collect();
        let f32s: Vec<f32> = bf16s.iter().map(|w| w.to_f32()).collect();
        let f16s: Vec<f16> = f32s.iter().map(|w| f16::from_f32(*w)).collect();
        let columns: Vec<bf16> = (0..n * k).map(|i| bf16s[i % n * k + i / n]).collect();
        let expected = run(&scalar(), Matrix::F32(&f32s));
        let transposed = Matrix::Bf16Transposed(Bf16Transposed::new(&columns, n));
        for pool in &pools() {
            for w in [Matrix::Bf16(&bf16s), Matrix::F16(&f16s), transposed] {
                assert_bits(&run(pool, w), &expected, &(dims, pool.tier()));
            }
        }
        if !k.is_multiple_of(32) {
            continue;
        }
        let (mut blocks, mut scales) = (vec![0; n * k / 2], vec![0; n * k / 32]);
        mxfp4_quantize(&mut blocks, &mut scales, &f32s);
        let mut unpacked = vec![0.0; n * k];
        mxfp4_dequantize(&mut unpacked, &blocks, &scales);
        let expected = run(&scalar(), Matrix::F32(&unpacked));
        let gguf: Vec<[u8; 17]> = scales
            .iter()
            .zip(blocks.as_chunks::<16>().0)
            .map(|(scale, codes)| std::array::from_fn(|i| if i == 0 { *scale } else { codes[i - 1] }))
            .collect();
        let alternating = |odd: usize| -> Vec<[u8; 17]> {
            let rows = gguf.chunks(k / 32).enumerate().filter(|(row, _)| row % 2 == odd);
            rows.flat_map(|(_, row)| row.to_vec()).collect()
        };
        let (even, odd) = (alternating(0), alternating(1));
        let nibbles = gptoss_formats::NibbleOrder::Neighbors;
        for pool in &pools() {
            let mxfp4 = Matrix::Mxfp4(Mxfp4 { blocks: &blocks, scales: &scales });
            assert_bits(&run(pool, mxfp4), &expected, &(dims, pool.tier()));
            let one = gptoss_kernels::Mxfp4Blocks { even: &gguf, odd: &[], nibbles };
            assert_bits(&run(pool, Matrix::Mxfp4Blocks(one)), &expected, &(dims, pool.tier()));
            if n.is_multiple_of(2) {
                let two = gptoss_kernels::Mxfp4Blocks { even: &even, odd: &odd, nibbles };
                assert_bits(&run(pool, Matrix::Mxfp4Blocks(two)), &expected, &(dims, pool.tier()));
            }
        }
    }
}

#[test]
fn batches_in_parts_give_the_bits_of_the_whole() {
    let (t, n, k) = (137, 21, 40);
    let mut rng = Rng(3);
    let (x, w) = (Fill::Random.f32s(&mut rng, t * k), Fill::Random.f32s(&mut rng, n * k));
    let dy = Fill::Random.f32s(&mut rng, t * n);
    let tokens: Vec<u32> = (0..t).map(|_| (rng.next() % 5) as u32).collect();
    for pool in &pools() {
        let (mut dx, mut dw, mut db) = (vec![0.0; t * k], vec![0.0; n * k], vec![0.0; n]);
        let mut table = vec![0.0; 5 * k];
        for part in [0..1, 1..60, 60..60, 60..t] {
            let dims = LinearDims { t: part.len(), n, k };
            let (x, dy) = (&x[part.start * k..part.end * k], &dy[part.start * n..part.end * n]);
            linear_backward_input(pool, &mut dx[part.start * k..part.end * k], dy, Matrix::F32(&w), dims);
            linear_backward_weight(pool, &mut dw, dy, x, dims);
            linear_backward_bias(pool, &mut db, dy);
            embedding_backward(pool, &mut table, x, &tokens[part]);
        }
        let dims = LinearDims { t, n, k };
        assert_bits(&dx, &input(&scalar(), &vec![0.0; t * k], &dy, Matrix::F32(&w), dims), &pool.tier());
        assert_bits(&dw, &weight(&scalar(), &vec![0.0; n * k], &dy, &x, dims), &pool.tier());
        let (mut expected, mut sums) = (vec![0.0; n], vec![0.0_f32; 5 * k]);
        linear_backward_bias(&scalar(), &mut expected, &dy);
        assert_bits(&db, &expected, &pool.tier());
        for (token, x) in tokens.iter().zip(x.chunks_exact(k)) {
            let row = &mut sums[*token as usize * k..][..k];
            row.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
        }
        assert_bits(&table, &sums, &pool.tier());
    }
}

#[test]
#[should_panic(expected = "a matrix of int8")]
fn int8_has_no_gradient() {
    let dims = LinearDims { t: 1, n: 1, k: 32 };
    linear_backward_input(&scalar(), &mut [0.0; 32], &[1.0], Matrix::Q8_0(&[[0; 34]]), dims);
}

#[test]
fn low_rank_near_float64_and_on_every_tier() {
    for (t, n, k, r) in [(1, 3, 8, 1), (5, 40, 24, 4), (19, 33, 70, 8)] {
        let mut rng = Rng((t * n) as u64);
        let [x, a, b, y, dy] =
            [t * k, r * k, n * r, t * n, t * n].map(|len| Fill::Random.f32s(&mut rng, len));
        let (factors, dims) = (LowRank { a: &a, b: &b, rank: r, scale: 1.5 }, LinearDims { t, n, k });
        let run = |pool: &Pool| {
            let (mut y, mut u) = (y.clone(), vec![f32::NAN; t * r]);
            low_rank(pool, &mut y, &mut u, &x, factors, dims);
            let (mut da, mut db, mut dx) = (vec![0.0; r * k], vec![0.0; n * r], vec![0.0; t * k]);
            let gradients = LowRankGradients { a: &mut da, b: &mut db };
            low_rank_backward_factors(pool, gradients, &dy, (&x, &u), factors, dims);
            low_rank_backward_input(pool, &mut dx, &dy, factors, dims);
            [y, da, db, dx]
        };
        let expected = run(&scalar());
        for pool in &pools() {
            for (actual, expected) in run(pool).iter().zip(&expected) {
                assert_bits(actual, expected, &(t, n, k, r, pool.tier(), pool.threads()));
            }
        }
        let [x, a, b, y, dy] = [&x, &a, &b, &y, &dy].map(|x| widen(x));
        let zeros = |len| vec![0.0; len];
        // Of two products in turn, the sizes multiply as the values do.
        let twin = |first: &[Sum],
                    start: &[f64],
                    dims: (usize, usize, usize),
                    factor: &dyn Fn(usize, usize) -> f64,
                    a: &dyn Fn(usize, usize) -> usize| {
            let value = product(start, dims, |i, s| 1.5 * first[a(i, s)].value, factor);
            let start: Vec<f64> = start.iter().map(|x| x.abs()).collect();
            let size = product(&start, dims, |i, s| 1.5 * first[a(i, s)].size, |s, j| factor(s, j).abs());
            let roundings = n + t + k + r + 8;
            value.iter().zip(size).map(|(v, s)| (v.value, roundings as f64 * U * s.value)).collect::<Vec<_>>()
        };
        let u = product(&zeros(t * r), (t, r, k), |t, s| x[t * k + s], |s, r_| a[r_ * k + s]);
        let du = product(&zeros(t * r), (t, r, n), |t, s| dy[t * n + s], |s, r_| b[s * r + r_]);
        assert_close(&expected[0], &twin(&u, &y, (t, n, r), &|s, n| b[n * r + s], &|t, s| t * r + s), &"y");
        assert_close(
            &expected[1],
            &twin(&du, &zeros(r * k), (r, k, t), &|s, k_| x[s * k + k_], &|r_, s| s * r + r_),
            &"da",
        );
        assert_close(
            &expected[3],
            &twin(&du, &zeros(t * k), (t, k, r), &|s, k_| a[s * k + k_], &|t, s| t * r + s),
            &"dx",
        );
        // [r, N], turned over.
        let db = twin(&u, &zeros(r * n), (r, n, t), &|s, n_| dy[s * n + n_], &|r_, s| s * r + r_);
        let db: Vec<(f64, f64)> = (0..n * r).map(|i| db[i % r * n + i / r]).collect();
        assert_close(&expected[2], &db, &"db");
        if t == 1 {
            let loss = |x: &[f64], a: &[f64], b: &[f64]| {
                let u = values(&product(&zeros(r), (1, r, k), |_, s| x[s], |s, r_| a[r_ * k + s]));
                weighted(&dy, values(&product(&y, (1, n, r), |_, s| 1.5 * u[s], |s, n| b[n * r + s])))
            };
            assert_slopes(&widen(&expected[1]), &a, |a| loss(&x, a, &b));
            assert_slopes(&widen(&expected[2]), &b, |b| loss(&x, &a, b));
            assert_slopes(&widen(&expected[3]), &x, |x| loss(x, &a, &b));
        }
    }
}

/// Both halves in turn, of each row alone, are the whole of all rows.
#[test]
fn low_rank_rows_are_as_if_alone() {
    for (t, n, k, r) in [(1, 9, 8, 3), (37, 140, 70, 8), (48, 20, 33, 1)] {
        let mut rng = Rng((t + n) as u64);
        let [x, a, b, y] = [t * k, r * k, n * r, t * n].map(|len| Fill::Random.f32s(&mut rng, len));
        let factors = LowRank { a: &a, b: &b, rank: r, scale: 0.75 };
        let (mut expected, mut u) = (y.clone(), vec![f32::NAN; t * r]);
        low_rank(&scalar(), &mut expected, &mut u, &x, factors, LinearDims { t, n, k });
        let columns: Vec<f32> = (0..r * n).map(|i| b[i % n * r + i / n]).collect();
        for pool in &pools() {
            for rows in [1, t] {
                let mut actual = y.clone();
                for (y, x) in actual.chunks_mut(rows * n).zip(x.chunks(rows * k)) {
                    let (t, mut u) = (y.len() / n, vec![f32::NAN; y.len() / n * r]);
                    low_rank_shrink(pool, &mut u, x, factors, LinearDims { t, n: r, k });
                    low_rank_expand(pool, y, &u, &columns, LinearDims { t, n, k: r });
                }
                assert_bits(&actual, &expected, &(t, n, k, r, rows, pool.tier(), pool.threads()));
            }
        }
    }
}

#[test]
fn adamw_near_float64_and_on_every_tier() {
    let settings = AdamW { learning_rate: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.1 };
    let n = 9001;
    let mut rng = Rng(11);
    let start = Fill::Random.f32s(&mut rng, n);
    let gradients: Vec<Vec<f32>> = (0..5).map(|_| Fill::Random.f32s(&mut rng, n)).collect();
    let run = |pool: &Pool| {
        let (mut p, mut m, mut v) = (start.clone(), vec![0.0; n], vec![0.0; n]);
        for (step, g) in (1..).zip(&gradients) {
            let moments = Moments { first: &mut m, second: &mut v };
            adamw(pool, &mut p, g, moments, (&settings, step), 0.5);
        }
        p
    };
    let expected = run(&scalar());
    for pool in &pools() {
        assert_bits(&run(pool), &expected, &(pool.tier(), pool.threads()));
    }
    let twin = |i: usize| {
        let (mut p, mut m, mut v) = (f64::from(start[i]), 0.0, 0.0);
        for (step, g) in (1..).zip(&gradients) {
            let g = 0.5 * f64::from(g[i]);
            (m, v) = (0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g);
            let (m, v) = (m / (1.0 - 0.9_f64.powi(step)), v / (1.0 - 0.999_f64.powi(step)));
            p = p * (1.0 - 1e-4) - 1e-3 * m / (v.sqrt() + 1e-8);
        }
        // A step rounds its parameter twice, and is itself 1e-3 with some twenty roundings; moments cancel.
        (p, 5.0 * (2.0 * U * p.abs().max(1.0) + 1e-3 * 60.0 * U))
    };
    assert_close(&expected, &(0..n).map(twin).collect::<Vec<_>>(), &"adamw");
}

#[test]
fn sum_of_squares_is_finite_where_its_elements_are() {
    let mut x = Fill::Large.f32s(&mut Rng(2), 10_000);
    x[77] = f32::MAX;
    let exact: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
    for pool in &pools() {
        let sum = sum_of_squares(pool, &x);
        assert_eq!(sum.to_bits(), sum_of_squares(&scalar(), &x).to_bits());
        assert!((sum / exact - 1.0).abs() < 1e-12, "{sum} is not {exact}");
        for bad in [f32::NAN, f32::INFINITY] {
            let mut x = x.clone();
            x[9_999] = bad;
            assert!(!sum_of_squares(pool, &x).is_finite());
        }
    }
}
