//! How fast the products are on this machine, beside what the machine allows.
//!
//! Usage: `cargo run --release -p gptoss-kernels --example speed [THREADS...]` (1 and 2 by default). One line
//! a case: bytes of weights per second for single tokens, multiply-adds per second for many; the best and the
//! median of short calls over 0.4 s. Plain reads come first, as the ceiling of single tokens. Weights are
//! synthetic, of the shape of gpt-oss-20b.
//!
//! It knows nothing of models: shapes are written out below.

#![expect(clippy::disallowed_methods, reason = "a program with arguments of its own")]

use std::hint::black_box;
use std::time::Instant;

use gptoss_formats::Q8_0_BLOCK_BYTES;
use gptoss_kernels::{
    Bf16Transposed, LinearDims, Matrix, Mxfp4, Pool, Q8Order, Q8Rows, Rows, Tier, linear, quantize_q8,
    quantize_q8_0,
};
use half::bf16;

const K: usize = 2880;
const N: usize = 5760;
/// Matrices that follow one another, so that none is in a cache when its turn comes: 280 MB of MXFP4.
const NUM_MATRICES: usize = 32;
/// How long a case is repeated.
const CASE_SECONDS: f64 = 0.4;

fn main() {
    let mut threads: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    if threads.is_empty() {
        threads = vec![1, 2];
    }
    let weights = Weights::new();
    for tier in Tier::available().into_iter().filter(|tier| *tier != Tier::Scalar) {
        for &threads in &threads {
            let pool = Pool::with_tier(threads, tier);
            println!("\n{tier:?}, {threads} threads");
            report_read(&pool, &weights);
            report_single(&pool, &weights);
            for t in [2, 3, 4, 8, 16, 64, 512] {
                report_many(&pool, &weights, t);
            }
        }
    }
}

struct Weights {
    blocks: Vec<u8>,
    scales: Vec<u8>,
    dense: Vec<bf16>,
    /// As many matrices as `dense`.
    q8_0: Vec<[u8; Q8_0_BLOCK_BYTES]>,
    x: Vec<f32>,
}

impl Weights {
    fn new() -> Weights {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        let blocks = (0..NUM_MATRICES * N * K / 2).map(|_| next() as u8).collect();
        let scales = (0..NUM_MATRICES * N * K / 32).map(|_| (115 + next() % 12) as u8).collect();
        let dense: Vec<bf16> =
            (0..NUM_MATRICES / 4 * N * K).map(|_| bf16::from_f32(next() as f32 / 1e9 - 1.0)).collect();
        let mut q8_0 = vec![[0; Q8_0_BLOCK_BYTES]; dense.len() / 32];
        quantize_q8_0(&Pool::new(2), &mut q8_0, Matrix::Bf16(&dense), K);
        let x = (0..512 * K).map(|_| next() as f32 / 1e9 - 1.0).collect();
        Weights { blocks, scales, dense, q8_0, x }
    }

    fn mxfp4(&self, index: usize, n: usize) -> Matrix<'_> {
        Matrix::Mxfp4(Mxfp4 {
            blocks: &self.blocks[index * N * K / 2..][..n * K / 2],
            scales: &self.scales[index * N * K / 32..][..n * K / 32],
        })
    }

    fn q8_0(&self, index: usize, n: usize) -> Matrix<'_> {
        Matrix::Q8_0(&self.q8_0[index * N * K / 32..][..n * K / 32])
    }

    fn bf16(&self, index: usize, n: usize) -> Matrix<'_> {
        Matrix::Bf16(&self.dense[index * N * K..][..n * K])
    }

    fn transposed(&self, index: usize, n: usize) -> Matrix<'_> {
        Matrix::Bf16Transposed(Bf16Transposed::new(&self.dense[index * N * K..][..n * K], n))
    }
}

/// Seconds of one call, over many: the best, and the median.
struct Seconds {
    best: f64,
    median: f64,
}

/// Repeats a call of some hundred microseconds. Beside other work, the best is what the code can do: a call
/// that is shorter than a time slice is often left alone.
fn measure(mut run: impl FnMut(usize)) -> Seconds {
    run(0);
    let (start, mut seconds) = (Instant::now(), Vec::new());
    while start.elapsed().as_secs_f64() < CASE_SECONDS || seconds.len() < 5 {
        let start = Instant::now();
        run(seconds.len() + 1);
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Seconds { best: seconds[0], median: seconds[seconds.len() / 2] }
}

/// One line: `amount` per second, in billions.
fn report(name: &str, amount: f64, unit: &str, seconds: &Seconds) {
    let (best, median) = (amount / seconds.best / 1e9, amount / seconds.median / 1e9);
    println!("{name:40} best {best:7.1} median {median:7.1} {unit}");
}

fn report_read(pool: &Pool, weights: &Weights) {
    const PART: usize = 1 << 13;
    const CALL: usize = PART * 32;
    let words: &[u64] = bytemuck::cast_slice(&weights.dense[..weights.dense.len() / 4 * 4]);
    let seconds = measure(|i| {
        let words = &words[i % (words.len() / CALL) * CALL..][..CALL];
        pool.run(CALL / PART, |part| {
            let mut sums = [0_u64; 16];
            for words in words[part * PART..][..PART].as_chunks::<16>().0 {
                for (sum, word) in sums.iter_mut().zip(words) {
                    *sum = sum.wrapping_add(*word);
                }
            }
            black_box(sums);
        });
    });
    report("plain reads", CALL as f64 * 8.0, "GB/s", &seconds);
}

fn report_single(pool: &Pool, weights: &Weights) {
    let mut out = vec![0.0; N];
    let mut q8 = Q8Rows::new();
    quantize_q8(pool, &mut q8, &weights.x[..K], 1, K);
    let mut natural = Q8Rows::for_weights(Q8Order::Q8_0);
    quantize_q8(pool, &mut natural, &weights.x[..K], 1, K);
    let x = Rows::F32(&weights.x[..K]);
    for (name, n, matrices) in [("from memory", N, NUM_MATRICES), ("from cache", 256, 1)] {
        let dims = LinearDims { t: 1, n, k: K };
        let out = &mut out[..n];
        let bytes = (n * K) as f64 * 17.0 / 32.0;
        let seconds =
            measure(|i| linear(pool, out, Rows::Q8(&q8), weights.mxfp4(i % matrices, n), None, dims));
        report(&format!("mxfp4 q8, 1 token, {name}"), bytes, "GB/s", &seconds);
        let seconds = measure(|i| linear(pool, out, x, weights.mxfp4(i % matrices, n), None, dims));
        report(&format!("mxfp4 exact, 1 token, {name}"), bytes, "GB/s", &seconds);
        let matrices = matrices.div_ceil(4);
        let bytes = (n * K) as f64 * Q8_0_BLOCK_BYTES as f64 / 32.0;
        let seconds =
            measure(|i| linear(pool, out, Rows::Q8(&natural), weights.q8_0(i % matrices, n), None, dims));
        report(&format!("q8_0, 1 token, {name}"), bytes, "GB/s", &seconds);
        let bytes = (n * K * 2) as f64;
        let seconds = measure(|i| linear(pool, out, x, weights.bf16(i % matrices, n), None, dims));
        report(&format!("bf16, 1 token, {name}"), bytes, "GB/s", &seconds);
        let seconds = measure(|i| linear(pool, out, x, weights.transposed(i % matrices, n), None, dims));
        report(&format!("bf16 transposed, 1 token, {name}"), bytes, "GB/s", &seconds);
    }
}

fn report_many(pool: &Pool, weights: &Weights, t: usize) {
    // Fewer rows for more tokens: a call stays about as long.
    let n = (32_768 / t).clamp(64, N);
    let dims = LinearDims { t, n, k: K };
    let mut out = vec![0.0; t * n];
    let mut q8 = Q8Rows::new();
    let x = &weights.x[..t * K];
    quantize_q8(pool, &mut q8, x, t, K);
    let report_case = |name: &str, seconds: Seconds| {
        report(&format!("{name}, {t} tokens"), (t * n * K) as f64, "GMAC/s", &seconds);
    };
    let (w, dense) = (weights.mxfp4(0, n), weights.bf16(0, n));
    report_case("mxfp4 q8", measure(|_| linear(pool, &mut out, Rows::Q8(&q8), w, None, dims)));
    report_case("mxfp4 exact", measure(|_| linear(pool, &mut out, Rows::F32(x), w, None, dims)));
    let mut natural = Q8Rows::for_weights(Q8Order::Q8_0);
    quantize_q8(pool, &mut natural, x, t, K);
    let q8_0 = weights.q8_0(0, n);
    report_case("q8_0", measure(|_| linear(pool, &mut out, Rows::Q8(&natural), q8_0, None, dims)));
    report_case("bf16", measure(|_| linear(pool, &mut out, Rows::F32(x), dense, None, dims)));
    if t == 64 {
        report_case(
            "bf16 transposed",
            measure(|_| linear(pool, &mut out, Rows::F32(x), weights.transposed(0, n), None, dims)),
        );
        let seconds = measure(|_| quantize_q8(pool, &mut q8, x, t, K));
        report("quantizing, 64 tokens", (t * K) as f64, "Gvalue/s", &seconds);
    }
}
