//! How fast attention is on this machine, beside what the machine allows.
//!
//! Usage: `cargo run --release -p gptoss-kernels --example attention_speed [THREADS...] [WORDS...]` (1 and 2
//! threads by default; the cases whose names hold every word, of the fastest tier alone if there are words).
//! One line a case: for single tokens, bytes of keys and values per second, from caches that are larger than
//! the processor's together and paged by 256 positions; for prompts, multiply-adds per second. Plain reads
//! come first, as the ceiling of single tokens. Best and median of many calls. The shape is that of gpt-oss:
//! 64 query heads over 8 kv heads of 64.
//!
//! It knows nothing of models: shapes are written out below.

#![expect(clippy::disallowed_methods, reason = "a program with arguments of its own")]

use std::hint::black_box;
use std::time::Instant;

use gptoss_kernels::{
    AttentionJob, AttentionParams, HugePages, KvRun, KvSlice, Pool, Tier, attention, quantize_kv,
};
use half::bf16;

const HEADS: usize = 64;
const KV_HEADS: usize = 8;
const D: usize = 64;
/// Numbers of a position's keys.
const ROW: usize = KV_HEADS * D;
/// Positions of all caches together: 256 MB in bf16.
const POSITIONS: usize = 1 << 17;
/// Positions of a run.
const PAGE: usize = 256;
/// How long a case is repeated.
const CASE_SECONDS: f64 = 0.5;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut threads: Vec<usize> = args.iter().map_while(|arg| arg.parse().ok()).collect();
    let words = args[threads.len()..].to_vec();
    if threads.is_empty() {
        threads = vec![1, 2];
    }
    let kv = Kv::new(words);
    let skipped = if kv.words.is_empty() { 0 } else { Tier::available().len() - 1 };
    for tier in Tier::available().into_iter().skip(skipped).filter(|tier| *tier != Tier::Scalar) {
        for &threads in &threads {
            let pool = Pool::with_tier(threads, tier);
            println!("\n{tier:?}, {threads} threads");
            report_read(&pool, &kv);
            report_wake(&pool);
            for is_q8 in [false, true] {
                for depth in [128, 1024, 4096, 32_768] {
                    report_decode(&pool, &kv, is_q8, depth);
                }
                for (depth, window) in [(512, None), (4096, None), (4096, Some(128))] {
                    report_prefill(&pool, &kv, is_q8, depth, window);
                }
            }
        }
    }
}

struct Kv {
    /// A case runs if its name holds all of them.
    words: Vec<String>,
    keys: HugePages<bf16>,
    values: HugePages<bf16>,
    keys_q8: (HugePages<i8>, HugePages<f32>),
    values_q8: (HugePages<i8>, HugePages<f32>),
}

impl Kv {
    fn new(words: Vec<String>) -> Kv {
        let mut state = 1_u64;
        let mut random = || {
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                bf16::from_f32((state >> 40) as f32 / 1e7 - 0.8)
            };
            let mut numbers = HugePages::zeroed(POSITIONS * ROW);
            numbers.iter_mut().for_each(|number| *number = next());
            numbers
        };
        let (keys, values) = (random(), random());
        let (keys_q8, values_q8) = (quantized(&keys), quantized(&values));
        Kv { words, keys, values, keys_q8, values_q8 }
    }

    fn is_asked_for(&self, name: &str) -> bool {
        self.words.iter().all(|word| name.contains(word))
    }

    /// Cache number `index` of those with `len` positions.
    fn runs<'a>(&'a self, is_q8: bool, index: usize, len: usize) -> Vec<KvRun<'a>> {
        let start = index % (POSITIONS / len) * len;
        let run = |first: usize| {
            let rows = start + first..start + len.min(first + PAGE);
            let numbers = rows.start * ROW..rows.end * ROW;
            let slice = |dense: &'a [bf16], q8: &'a (HugePages<i8>, HugePages<f32>)| match is_q8 {
                true => KvSlice::Q8 {
                    values: &q8.0[numbers.clone()],
                    scales: &q8.1[rows.start * KV_HEADS..rows.end * KV_HEADS],
                },
                false => KvSlice::Bf16(&dense[numbers.clone()]),
            };
            let keys = slice(&self.keys, &self.keys_q8);
            let values = slice(&self.values, &self.values_q8);
            KvRun { keys, values, first_position: first, len: rows.len() }
        };
        (0..len).step_by(PAGE).map(run).collect()
    }
}

fn quantized(rows: &[bf16]) -> (HugePages<i8>, HugePages<f32>) {
    let (mut values, mut scales) = (HugePages::zeroed(rows.len()), HugePages::zeroed(rows.len() / D));
    let rows = rows.chunks_exact(ROW);
    for ((row, values), scales) in
        rows.zip(values.chunks_exact_mut(ROW)).zip(scales.chunks_exact_mut(KV_HEADS))
    {
        let row: Vec<f32> = row.iter().map(|number| number.to_f32()).collect();
        quantize_kv(values, scales, &row);
    }
    (values, scales)
}

/// Seconds of one call, over many: the best, and the median.
struct Seconds {
    best: f64,
    median: f64,
}

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

/// One line: `amount` per second, in billions, and the time of a call.
fn report(name: &str, amount: f64, unit: &str, seconds: &Seconds) {
    let (best, median) = (amount / seconds.best / 1e9, amount / seconds.median / 1e9);
    println!("{name:40} best {best:7.1} median {median:7.1} {unit} {:10.1} us", seconds.best * 1e6);
}

fn report_read(pool: &Pool, kv: &Kv) {
    const PART: usize = 1 << 14;
    let words: &[u64] = bytemuck::cast_slice(&kv.keys);
    let seconds = measure(|_| {
        pool.run(words.len() / PART, |part| {
            let mut sums = [0_u64; 16];
            for words in words[part * PART..][..PART].as_chunks::<16>().0 {
                for (sum, word) in sums.iter_mut().zip(words) {
                    *sum = sum.wrapping_add(*word);
                }
            }
            black_box(sums);
        });
    });
    report("plain reads", words.len() as f64 * 8.0, "GB/s", &seconds);
}

/// What it costs to share nothing: while the workers still spin, and after they fell asleep.
fn report_wake(pool: &Pool) {
    let tasks = pool.threads();
    let job = || {
        pool.run(tasks, |task| {
            black_box(task);
        });
    };
    report("an empty job, workers awake", 1e-9, "", &measure(|_| job()));
    let mut asleep: Vec<f64> = (0..50)
        .map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(2));
            let start = Instant::now();
            job();
            start.elapsed().as_secs_f64()
        })
        .collect();
    asleep.sort_by(f64::total_cmp);
    println!("an empty job, workers asleep: median {:.1} us", asleep[asleep.len() / 2] * 1e6);
}

fn params(window: Option<usize>) -> AttentionParams<'static> {
    AttentionParams {
        num_query_heads: HEADS,
        num_kv_heads: KV_HEADS,
        head_dim: D,
        window,
        sinks: &[0.0; HEADS],
        scale: 0.125,
    }
}

fn queries(t: usize) -> Vec<f32> {
    (0..t * HEADS * D).map(|i| (i % 89) as f32 / 89.0 - 0.5).collect()
}

fn report_decode(pool: &Pool, kv: &Kv, is_q8: bool, depth: usize) {
    let kind = if is_q8 { "q8" } else { "bf16" };
    let name = format!("{kind}, 1 token, {depth} keys");
    if !kv.is_asked_for(&name) {
        return;
    }
    let q = queries(1);
    let mut out = vec![0.0; q.len()];
    let seconds = measure(|i| {
        let runs = kv.runs(is_q8, i, depth);
        let job = AttentionJob { out: &mut out, q: &q, runs: &runs, first_position: depth - 1 };
        attention(pool, &mut [job], &params(None));
    });
    let bytes = depth * if is_q8 { 2 * (ROW + 4 * KV_HEADS) } else { 4 * ROW };
    report(&name, bytes as f64, "GB/s", &seconds);
}

fn report_prefill(pool: &Pool, kv: &Kv, is_q8: bool, depth: usize, window: Option<usize>) {
    let t = 512;
    let kind = if is_q8 { "q8" } else { "bf16" };
    let shown = window.map_or(String::new(), |window| format!(" window {window}"));
    let name = format!("{kind}, {t} tokens at {depth}{shown}");
    if !kv.is_asked_for(&name) {
        return;
    }
    let q = queries(t);
    let mut out = vec![0.0; q.len()];
    let runs = kv.runs(is_q8, 0, depth);
    let seconds = measure(|_| {
        let job = AttentionJob { out: &mut out, q: &q, runs: &runs, first_position: depth - t };
        attention(pool, &mut [job], &params(window));
    });
    let seen: usize = (depth - t..depth).map(|p| (p + 1).min(window.unwrap_or(p + 1))).sum();
    let products = (seen * HEADS * D * 2) as f64;
    report(&name, products, "GMAC/s", &seconds);
}
