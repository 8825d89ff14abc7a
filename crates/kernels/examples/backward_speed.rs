//! How fast gradients are on this machine, beside the forward products of the same sizes and beside fused
//! multiply-adds of registers alone, the ceiling of both.
//!
//! Usage: `cargo run --release -p gptoss-kernels --example backward_speed [THREADS...]` (2 by default). One
//! line a case: multiply-adds per second, the best and the median of calls over half a second. Calls are
//! short, some of the outputs of gpt-oss-20b: beside other work, one that is shorter than a time slice is
//! often left alone, so the best is what the code can do. Weights are synthetic.

#![expect(clippy::disallowed_methods, reason = "a program with arguments of its own")]
#![expect(unsafe_code, reason = "the ceiling is in instructions of a tier")]

use std::hint::black_box;
use std::time::Instant;

use gptoss_kernels::{
    AttentionGradients, AttentionJob, AttentionParams, AttentionRows, Bf16Transposed, Document, Head,
    HeadGradients, KvRun, KvSlice, LinearDims, Matrix, Mxfp4, Pool, Rows, Targets, Tier, TokenLoss,
    attention_backward, attention_saving, head_backward, linear, linear_backward_input,
    linear_backward_weight,
};
use half::bf16;

const C: usize = 2880;
/// Products of tokens and outputs in a call, and the outputs of one at least.
const OUTPUTS: usize = 32_768;
const OUTPUTS_MIN: usize = 128;
/// Rows of the head that are measured.
const V: usize = 1024;
const CASE_SECONDS: f64 = 0.5;

fn main() {
    let mut threads: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    if threads.is_empty() {
        threads = vec![2];
    }
    for threads in threads {
        let pool = Pool::new(threads);
        println!("\n{:?}, {threads} threads", pool.tier());
        report_peak(&pool);
        for t in [64, 256, 1024] {
            report_linear(&pool, t);
        }
        report_head(&pool, 64);
        for (t, window) in [(256, None), (512, Some(128))] {
            report_attention(&pool, t, window);
        }
    }
}

/// Numbers in -1..1.
fn floats(len: usize) -> Vec<f32> {
    let mut state = len as u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f32 / (1_u64 << 30) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Repeats a call and prints `macs` per second.
fn report(name: &str, macs: usize, mut run: impl FnMut()) {
    run();
    let (start, mut seconds) = (Instant::now(), Vec::new());
    while start.elapsed().as_secs_f64() < CASE_SECONDS || seconds.len() < 3 {
        let start = Instant::now();
        run();
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let rate = |seconds: f64| macs as f64 / seconds / 1e9;
    println!(
        "{name:44} best {:6.1} median {:6.1} GMAC/s",
        rate(seconds[0]),
        rate(seconds[seconds.len() / 2])
    );
}

fn report_peak(pool: &Pool) {
    const STEPS: usize = 20_000;
    let has_form = if cfg!(target_arch = "x86_64") { pool.tier() >= Tier::Avx2 } else { true };
    if has_form {
        report("fused multiply-adds", pool.threads() * STEPS * CHAINS * 8, || {
            // SAFETY: the tier has the instructions.
            pool.run(pool.threads(), |_| unsafe { multiply_add(STEPS) });
        });
    }
}

/// As many as hide the latency of one another.
const CHAINS: usize = 12;

/// Steps of each chain, which adds eight products.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn multiply_add(steps: usize) {
    use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_set1_ps, _mm256_setzero_ps};
    let mut sums = [_mm256_setzero_ps(); CHAINS];
    let factor = _mm256_set1_ps(black_box(0.5));
    for _ in 0..steps {
        for sum in &mut sums {
            *sum = _mm256_fmadd_ps(*sum, factor, factor);
        }
    }
    black_box(sums);
}

/// As above.
#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
fn multiply_add(steps: usize) {
    use std::arch::aarch64::{vdupq_n_f32, vfmaq_f32};
    let mut sums = [[vdupq_n_f32(0.0); 2]; CHAINS];
    let factor = vdupq_n_f32(black_box(0.5));
    for _ in 0..steps {
        for sum in sums.as_flattened_mut() {
            *sum = vfmaq_f32(factor, *sum, factor);
        }
    }
    black_box(sums);
}

fn report_linear(pool: &Pool, t: usize) {
    let n = (OUTPUTS / t).max(OUTPUTS_MIN);
    let dims = LinearDims { t, n, k: C };
    let macs = t * n * C;
    let (mut x, mut y) = (floats(t * C), floats(t * n));
    let blocks: Vec<u8> = (0..n * C / 2).map(|i| ((i * 37) >> 3) as u8).collect();
    let scales: Vec<u8> = (0..n * C / 32).map(|i| (115 + i % 12) as u8).collect();
    let dense: Vec<bf16> = floats(n * C).into_iter().map(bf16::from_f32).collect();
    let single = floats(n * C);
    let matrices = [
        ("mxfp4", Matrix::Mxfp4(Mxfp4 { blocks: &blocks, scales: &scales })),
        ("bf16", Matrix::Bf16(&dense)),
        ("bf16 transposed", Matrix::Bf16Transposed(Bf16Transposed::new(&dense, n))),
        ("f32", Matrix::F32(&single)),
    ];
    for (name, w) in matrices {
        report(&format!("{name} forward, {t} tokens"), macs, || {
            linear(pool, &mut y, Rows::F32(&x), w, None, dims);
        });
        report(&format!("{name} backward input, {t} tokens"), macs, || {
            linear_backward_input(pool, &mut x, &y, w, dims);
        });
        x.fill(0.5);
    }
    let mut dw = vec![0.0; n * C];
    report(&format!("backward weight, {t} tokens"), macs, || {
        linear_backward_weight(pool, &mut dw, &y, &x, dims);
    });
}

fn report_head(pool: &Pool, t: usize) {
    let w: Vec<bf16> = floats(V * C).into_iter().map(bf16::from_f32).collect();
    let head = Head { w: Matrix::Bf16(&w), vocabulary: V, hidden_size: C, replaced: None };
    let (h, tokens, weights) = (floats(t * C), vec![7; t], vec![1.0; t]);
    let (mut losses, mut logits, mut dh) =
        (vec![TokenLoss::default(); t], vec![0.0; t * V], vec![0.0; t * C]);
    report(&format!("head and its gradient, {t} tokens"), 2 * t * V * C, || {
        let targets = Targets { tokens: &tokens, weights: &weights };
        let gradients = HeadGradients { rows: &mut dh, w: None, replaced: None };
        head_backward(pool, gradients, &mut losses, &h, &head, targets, &mut logits);
    });
}

fn report_attention(pool: &Pool, t: usize, window: Option<usize>) {
    let (heads, kv_heads, d) = (64, 8, 64);
    let sinks = vec![0.0; heads];
    let params = AttentionParams {
        num_query_heads: heads,
        num_kv_heads: kv_heads,
        head_dim: d,
        window,
        sinks: &sinks,
        scale: 0.125,
    };
    let [q, dout] = [t * heads * d; 2].map(floats);
    let [keys, values] = [t * kv_heads * d; 2].map(floats);
    let (mut out, mut softmax) = (vec![0.0; q.len()], vec![0.0; 2 * t * heads]);
    let pairs: usize = (0..t).map(|i| window.unwrap_or(t).min(i + 1)).sum();
    let macs = pairs * heads * d;
    report(&format!("attention forward, {t} tokens, {window:?}"), 2 * macs, || {
        let (keys, values) = (KvSlice::F32(&keys), KvSlice::F32(&values));
        let run = [KvRun { keys, values, first_position: 0, len: t }];
        let job = AttentionJob { out: &mut out, q: &q, runs: &run, first_position: 0 };
        attention_saving(pool, &mut [job], &mut softmax, &params);
    });
    let (mut dq, mut dk, mut dv) = (vec![0.0; q.len()], vec![0.0; keys.len()], vec![0.0; values.len()]);
    report(&format!("attention backward, {t} tokens, {window:?}"), 5 * macs, || {
        let rows = AttentionRows { q: &q, keys: &keys, values: &values, out: &out, softmax: &softmax };
        let gradients = AttentionGradients { q: &mut dq, keys: &mut dk, values: &mut dv, sinks: None };
        attention_backward(pool, gradients, &dout, rows, &[Document::alone(t)], &params);
    });
}
