//! How fast the products and attention are on this machine, beside what the machine allows.
//!
//! Usage: `cargo run --release -p gptoss-kernels --example speed [THREADS...]` (1 and 2 by default). One line a
//! case: bytes of weights per second for single tokens, multiply-adds per second for many. The ceilings of the
//! same run come first: plain reads, and fused multiply-adds in registers. Every figure is the best of seven
//! turns, on synthetic weights of the shape of gpt-oss-20b.
//!
//! It knows nothing of models: shapes are written out below.

use std::hint::black_box;
use std::time::Instant;

use gptoss_kernels::{
    AttentionDims, AttentionParams, KvRun, KvSlice, LinearDims, Mxfp4, Pool, Q8Rows, Tier, attention,
    linear_bf16, linear_bf16_transposed, linear_mxfp4_exact, linear_mxfp4_q8, quantize_q8,
};
use half::bf16;

const K: usize = 2880;
const N: usize = 5760;
/// Matrices that follow one another, so that none is in a cache when its turn comes: 280 MB of MXFP4.
const NUM_MATRICES: usize = 32;
const TURNS: usize = 7;

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
            for t in [2, 4, 8, 16, 64, 512] {
                report_many(&pool, &weights, t);
            }
            report_attention(&pool);
        }
    }
}

struct Weights {
    blocks: Vec<u8>,
    scales: Vec<u8>,
    dense: Vec<bf16>,
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
        let dense =
            (0..NUM_MATRICES / 4 * N * K).map(|_| bf16::from_f32(next() as f32 / 1e9 - 1.0)).collect();
        let x = (0..512 * K).map(|_| next() as f32 / 1e9 - 1.0).collect();
        Weights { blocks, scales, dense, x }
    }

    fn mxfp4(&self, index: usize, n: usize) -> Mxfp4<'_> {
        Mxfp4 {
            blocks: &self.blocks[index * N * K / 2..][..n * K / 2],
            scales: &self.scales[index * N * K / 32..][..n * K / 32],
        }
    }

    fn bf16(&self, index: usize, n: usize) -> &[bf16] {
        &self.dense[index * N * K..][..n * K]
    }
}

/// Best seconds of a call over the turns: by the clock, and of processor time over all threads. On a machine that
/// is shared with other work only the second says what the code can do.
struct Seconds {
    clock: f64,
    processor: f64,
}

fn best(mut run: impl FnMut()) -> Seconds {
    run();
    let mut best = Seconds { clock: f64::INFINITY, processor: f64::INFINITY };
    for _ in 0..TURNS {
        let (start, start_processor) = (Instant::now(), processor_seconds());
        run();
        best.clock = best.clock.min(start.elapsed().as_secs_f64());
        best.processor = best.processor.min(processor_seconds() - start_processor);
    }
    best
}

fn processor_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills the structure it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// One line: `amount` per second of either kind, in billions.
fn report(name: &str, amount: f64, unit: &str, seconds: &Seconds) {
    let (clock, processor) = (amount / seconds.clock / 1e9, amount / seconds.processor / 1e9);
    println!("{name:40} {clock:7.1} {unit:6} {processor:7.1} per processor second");
}

fn report_read(pool: &Pool, weights: &Weights) {
    let words: &[u64] = bytemuck::cast_slice(&weights.dense[..weights.dense.len() / 4 * 4]);
    const PART: usize = 1 << 16;
    let seconds = best(|| {
        pool.run(words.len() / PART, |part| {
            let words = &words[part * PART..][..PART];
            let mut sums = [0_u64; 16];
            for words in words.as_chunks::<16>().0 {
                for (sum, word) in sums.iter_mut().zip(words) {
                    *sum = sum.wrapping_add(*word);
                }
            }
            black_box(sums);
        });
    });
    report("plain reads", words.len() as f64 * 8.0, "GB/s", &seconds);
}

fn report_single(pool: &Pool, weights: &Weights) {
    let mut out = vec![0.0; N];
    let mut q8 = Q8Rows::new();
    quantize_q8(pool, &mut q8, &weights.x[..K], 1, K);
    let mxfp4_bytes = |n: usize| (n * K) as f64 * 17.0 / 32.0;
    for (name, n, matrices, repeats) in [("from memory", N, NUM_MATRICES, 1), ("from cache", 256, 1, 200)] {
        let dims = LinearDims { t: 1, n, k: K };
        let seconds = best(|| {
            for i in 0..matrices * repeats {
                linear_mxfp4_q8(pool, &mut out[..n], &q8, weights.mxfp4(i % matrices, n), None, dims);
            }
        });
        report(
            &format!("mxfp4 q8, 1 token, {name}"),
            mxfp4_bytes(n) * (matrices * repeats) as f64,
            "GB/s",
            &seconds,
        );
        let seconds = best(|| {
            for i in 0..matrices * repeats {
                let w = weights.mxfp4(i % matrices, n);
                linear_mxfp4_exact(pool, &mut out[..n], &weights.x[..K], w, None, dims);
            }
        });
        report(
            &format!("mxfp4 exact, 1 token, {name}"),
            mxfp4_bytes(n) * (matrices * repeats) as f64,
            "GB/s",
            &seconds,
        );
        let matrices = matrices.div_ceil(4);
        let seconds = best(|| {
            for i in 0..matrices * repeats {
                linear_bf16(pool, &mut out[..n], &weights.x[..K], weights.bf16(i % matrices, n), None, dims);
            }
        });
        report(&format!("bf16, 1 token, {name}"), (n * K * 2 * matrices * repeats) as f64, "GB/s", &seconds);
    }
    let dims = LinearDims { t: 1, n: N, k: K };
    let seconds = best(|| {
        for i in 0..NUM_MATRICES / 4 {
            linear_bf16_transposed(pool, &mut out, &weights.x[..K], weights.bf16(i, N), None, dims);
        }
    });
    report("bf16 transposed, 1 token, from memory", (N * K * 2 * NUM_MATRICES / 4) as f64, "GB/s", &seconds);
}

fn report_many(pool: &Pool, weights: &Weights, t: usize) {
    let dims = LinearDims { t, n: N, k: K };
    let mut out = vec![0.0; t * N];
    let mut q8 = Q8Rows::new();
    let x = &weights.x[..t * K];
    quantize_q8(pool, &mut q8, x, t, K);
    let report_case = |name: &str, seconds: Seconds| {
        report(&format!("{name}, {t} tokens"), (t * N * K) as f64, "GMAC/s", &seconds);
    };
    let w = weights.mxfp4(0, N);
    report_case("mxfp4 q8", best(|| linear_mxfp4_q8(pool, &mut out, &q8, w, None, dims)));
    report_case("mxfp4 exact", best(|| linear_mxfp4_exact(pool, &mut out, x, w, None, dims)));
    report_case("bf16", best(|| linear_bf16(pool, &mut out, x, weights.bf16(0, N), None, dims)));
    if t == 64 {
        let w = weights.bf16(0, N);
        report_case("bf16 transposed", best(|| linear_bf16_transposed(pool, &mut out, x, w, None, dims)));
        let seconds = best(|| quantize_q8(pool, &mut q8, x, t, K));
        report("quantising, 64 tokens", (t * K) as f64, "Gvalue/s", &seconds);
    }
}

/// 64 query heads over 8 kv heads of 64, as in gpt-oss.
fn report_attention(pool: &Pool) {
    let (heads, kv_heads, d) = (64, 8, 64);
    for (t, len, window) in [(1, 4096, None), (1, 128, Some(128)), (64, 1024, None), (64, 1024, Some(128))] {
        let keys: Vec<bf16> =
            (0..len * kv_heads * d).map(|i| bf16::from_f32((i % 97) as f32 / 97.0)).collect();
        let q: Vec<f32> = (0..t * heads * d).map(|i| (i % 89) as f32 / 890.0).collect();
        let mut out = vec![0.0; q.len()];
        let runs =
            [KvRun { keys: KvSlice::Bf16(&keys), values: KvSlice::Bf16(&keys), first_position: 0, len }];
        let params = AttentionParams {
            dims: AttentionDims { t, num_query_heads: heads, num_kv_heads: kv_heads, head_dim: d },
            first_position: len - t,
            window,
            sinks: &[0.0; 64],
            scale: 0.125,
        };
        let seconds = best(|| attention(pool, &mut out, &q, &runs, &params));
        let seen = window.unwrap_or(len).min(len);
        let products = (t * seen * heads * d * 2) as f64;
        let name = format!("attention bf16, {t} rows, {seen} keys");
        report(&name, products, "GMAC/s", &seconds);
    }
}
