//! Rows of a cache, and attention over them.

use gptoss_kernels::{
    AttentionJob, AttentionParams, KvRun, KvSlice, Pool, Tier, attention, kv_bf16, quantize_kv,
};
use half::bf16;

use crate::numbers::{FILLS, Fill, Rng, assert_bits};
use crate::reference::Fma;
use crate::reference::attention::{Cache, Heads, attend, kv_bits, score_factor};

#[derive(Clone, Copy, Debug)]
struct Case {
    heads: usize,
    kv_heads: usize,
    d: usize,
    /// Keys from position 0; the query rows are the last `t` of them.
    len: usize,
    t: usize,
    window: Option<usize>,
    fill: Fill,
}

fn cases() -> Vec<Case> {
    let first = Case { heads: 8, kv_heads: 2, d: 16, len: 50, t: 9, window: None, fill: Fill::Random };
    let mut cases = vec![
        first,
        Case { window: Some(1), ..first },
        Case { heads: 64, kv_heads: 8, d: 64, len: 130, t: 3, window: Some(128), ..first },
        Case { heads: 4, kv_heads: 2, d: 64, len: 511, t: 1, ..first },
        Case { heads: 4, kv_heads: 1, d: 32, len: 514, t: 4, ..first },
        Case { heads: 4, kv_heads: 4, d: 32, len: 1540, t: 5, window: Some(128), ..first },
        Case { heads: 8, kv_heads: 1, d: 64, len: 1100, t: 1, ..first },
        Case { heads: 12, kv_heads: 1, d: 32, len: 70, t: 2, ..first },
        Case { d: 5, heads: 3, kv_heads: 3, ..first },
        Case { len: 1, t: 1, ..first },
    ];
    cases.extend([127, 128, 129].map(|window| Case { len: 140, t: 14, window: Some(window), ..first }));
    cases.extend(FILLS.map(|fill| Case { fill, d: 32, len: 600, t: 2, ..first }));
    cases
}

/// The rows of all positions, as the reference and as the kernels write them.
fn caches(x: &[f32], case: Case) -> [Cache; 3] {
    let len = x.len();
    let mut caches = [
        Cache::F32(vec![0.0; len]),
        Cache::Bf16(vec![0; len]),
        Cache::Int8 { values: vec![0; len], scales: vec![0.0; len / case.d] },
    ];
    for cache in &mut caches {
        for (row, x) in x.chunks_exact(case.kv_heads * case.d).enumerate() {
            cache.write(row, x, case.d);
        }
    }
    caches
}

fn as_bf16(cache: &Cache) -> Vec<bf16> {
    let Cache::Bf16(bits) = cache else { return Vec::new() };
    bits.iter().map(|bits| bf16::from_bits(*bits)).collect()
}

fn slice<'a>(cache: &'a Cache, bf16s: &'a [bf16]) -> KvSlice<'a> {
    match cache {
        Cache::F32(numbers) => KvSlice::F32(numbers),
        Cache::Bf16(_) => KvSlice::Bf16(bf16s),
        Cache::Int8 { values, scales } => KvSlice::Q8 { values, scales },
    }
}

#[test]
fn rows_of_every_format() {
    for fill in FILLS {
        let x = fill.floats(&mut Rng(9), 12 * 64);
        for number in &x {
            let (actual, expected) = (kv_bits(*number), kv_bf16(*number).to_bits());
            assert!(actual == expected, "{number:e}: {actual:x} is not {expected:x}");
        }
        let (mut values, mut scales) = (vec![1; x.len()], vec![1.0; 12]);
        quantize_kv(&mut values, &mut scales, &x);
        let mut cache = Cache::Int8 { values: vec![0; x.len()], scales: vec![0.0; 12] };
        cache.write(0, &x, 64);
        let Cache::Int8 { values: own, scales: of_heads } = cache else { unreachable!("it is int8") };
        assert_eq!(own, values, "{fill:?}");
        assert_bits(&of_heads, &scales, &fill);
    }
}

#[test]
fn attention_over_every_format() {
    for case in cases() {
        let Case { heads, kv_heads, d, len, t, window, fill } = case;
        let mut rng = Rng((heads * len * d) as u64);
        let mut tensor =
            |len: usize| -> Vec<f32> { fill.floats(&mut rng, len).into_iter().map(|x| x * 3.0).collect() };
        let (q, keys) = (tensor(t * heads * d), tensor(len * kv_heads * d));
        let (values, sinks) = (tensor(len * kv_heads * d), tensor(heads));
        let shared =
            Heads { num_query_heads: heads, num_kv_heads: kv_heads, head_dim: d, window, sinks: &sinks };
        let params = AttentionParams {
            num_query_heads: heads,
            num_kv_heads: kv_heads,
            head_dim: d,
            window,
            sinks: &sinks,
            scale: score_factor(d),
        };
        let rows: Vec<usize> = (0..len).collect();
        for (keys, values) in caches(&keys, case).iter().zip(&caches(&values, case)) {
            let expected: Vec<f32> = q
                .chunks_exact(heads * d)
                .enumerate()
                .flat_map(|(i, q)| attend(Fma::Fused, &shared, q, (keys, values), &rows, len - t + i))
                .collect();
            let halves = [as_bf16(keys), as_bf16(values)];
            let runs = [KvRun {
                keys: slice(keys, &halves[0]),
                values: slice(values, &halves[1]),
                first_position: 0,
                len,
            }];
            for tier in Tier::available() {
                let mut out = vec![0.0; q.len()];
                let job = AttentionJob { out: &mut out, q: &q, runs: &runs, first_position: len - t };
                attention(&Pool::with_tier(1, tier), &mut [job], &params);
                assert_bits(&expected, &out, &(case, tier));
            }
        }
    }
}
