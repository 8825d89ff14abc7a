//! Rotary positions with the write into the cache, and attention over it.

use crate::numbers::{Fill, Rng, assert_bits};
use crate::program::{Handle, Job, Program, Run, on_host};
use crate::reference::Fma;
use crate::reference::attention::{Cache, Heads, SPAN, attend, score_factor};
use crate::reference::floats::{angles, rotate};

/// Positions of a block.
const BLOCK_TOKENS: usize = 32;
/// The position of a row that is nobody's.
const IDLE: usize = u32::MAX as usize;

/// How keys and values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    F32,
    Bf16,
    Int8,
}

const FORMATS: [Format; 3] = [Format::F32, Format::Bf16, Format::Int8];

/// Heads and what they look at.
#[derive(Clone, Copy, Debug)]
struct Shape {
    heads: usize,
    kv_heads: usize,
    d: usize,
    window: Option<usize>,
    /// Rows of a ring, for layers that have rings.
    ring_rows: Option<usize>,
    fill: Fill,
    /// Scores far below zero, and large values: what a span leaves behind must not pass for a score.
    is_opposed: bool,
}

const FULL: Shape = Shape {
    heads: 8,
    kv_heads: 1,
    d: 64,
    window: None,
    ring_rows: None,
    fill: Fill::Random,
    is_opposed: false,
};
const WINDOWED: Shape =
    Shape { heads: 4, kv_heads: 2, d: 32, window: Some(128), ring_rows: Some(135), ..FULL };

/// Sequences of a step, one row each, whose positions lie in shuffled blocks or rings.
struct Placement {
    /// Rows of the cache, half of them nobody's.
    num_rows: usize,
    table: Vec<u32>,
    /// Position, first block and ring of every row.
    places: Vec<[u32; 4]>,
    /// The cache row of every position of every sequence.
    cache_rows: Vec<Vec<usize>>,
}

impl Placement {
    fn new(rng: &mut Rng, positions: &[usize], ring_rows: Option<usize>) -> Placement {
        let end = |position: usize| if position == IDLE { 0 } else { position + 1 };
        let blocks = |position: usize| end(position).div_ceil(BLOCK_TOKENS);
        let all: usize = positions.iter().map(|position| blocks(*position)).sum();
        let table = rng.shuffled(2 * all.max(1));
        let rings = rng.shuffled(positions.len() + 1);
        let (mut places, mut cache_rows, mut first) = (Vec::new(), Vec::new(), 0);
        for (position, ring) in positions.iter().zip(&rings) {
            places.push([*position as u32, first as u32, *ring, 0]);
            let row = |p: usize| match ring_rows {
                Some(rows) => *ring as usize * rows + p % rows,
                None => table[first + p / BLOCK_TOKENS] as usize * BLOCK_TOKENS + p % BLOCK_TOKENS,
            };
            cache_rows.push((0..end(*position)).map(row).collect());
            first += blocks(*position);
        }
        let num_rows = ring_rows.map_or(table.len() * BLOCK_TOKENS, |rows| rings.len() * rows);
        Placement { num_rows, table, places, cache_rows }
    }
}

/// A cache in which nothing has been written: NaN, of int8 by its scales.
fn poisoned(format: Format, num_rows: usize, shape: Shape) -> Cache {
    let len = num_rows * shape.kv_heads * shape.d;
    match format {
        Format::F32 => Cache::F32(vec![f32::NAN; len]),
        Format::Bf16 => Cache::Bf16(vec![0xffff; len]),
        Format::Int8 => Cache::Int8 { values: vec![-1; len], scales: vec![f32::NAN; len / shape.d] },
    }
}

/// Numbers, and scales where there are some.
fn holding(job: &mut Job, cache: &Cache) -> (Handle, Option<Handle>) {
    match cache {
        Cache::F32(numbers) => (job.holding(numbers), None),
        Cache::Bf16(bits) => (job.holding(bits), None),
        Cache::Int8 { values, scales } => (job.holding(values), Some(job.holding(scales))),
    }
}

fn assert_holds(
    run: &Run<'_>,
    (numbers, scales): (Handle, Option<Handle>),
    expected: &Cache,
    what: &dyn std::fmt::Debug,
) {
    match expected {
        Cache::F32(floats) => assert_bits(&run.read(numbers, floats.len()), floats, what),
        Cache::Bf16(bits) => assert!(run.read::<u16>(numbers, bits.len()) == *bits, "{what:?}"),
        Cache::Int8 { values, scales: of_heads } => {
            assert!(run.read::<i8>(numbers, values.len()) == *values, "{what:?}");
            assert_bits(&scales.map_or_else(Vec::new, |s| run.read(s, of_heads.len())), of_heads, what);
        }
    }
}

fn suffix(format: Format) -> &'static str {
    match format {
        Format::F32 => "f32",
        Format::Bf16 => "bf16",
        Format::Int8 => "int8",
    }
}

fn check_attention_of(program: &Program, shape: Shape, format: Format, positions: &[usize]) {
    let Shape { heads, kv_heads, d, window, ring_rows, fill, is_opposed } = shape;
    let mut rng = Rng((heads * d + positions.len()) as u64 + positions[0] as u64);
    let placement = Placement::new(&mut rng, positions, ring_rows);
    let as_asked = |x: f32, size: f32| if is_opposed { x.abs() * size } else { x };
    let caches = [(2.0, -1.0), (1.0, 100.0)].map(|(size, opposed)| {
        let mut cache = poisoned(format, placement.num_rows, shape);
        for (position, rows) in positions.iter().zip(&placement.cache_rows) {
            let oldest = window.map_or(0, |window| (position.wrapping_add(1)).saturating_sub(window));
            for row in rows.iter().skip(oldest) {
                let numbers = fill.floats(&mut rng, kv_heads * d);
                let numbers = numbers.into_iter().map(|x| as_asked(x, opposed) * size);
                cache.write(*row, &numbers.collect::<Vec<_>>(), d);
            }
        }
        cache
    });
    let t = positions.len();
    let (mut q, sinks) = (fill.floats(&mut rng, t * heads * d), rng.floats(heads));
    q.iter_mut().for_each(|x| *x = as_asked(*x, 10.0));
    let shared = Heads { num_query_heads: heads, num_kv_heads: kv_heads, head_dim: d, window, sinks: &sinks };
    let mut expected = Vec::new();
    for (i, q) in q.chunks_exact(heads * d).enumerate() {
        let rows = &placement.cache_rows[i];
        expected.extend(match positions[i] {
            IDLE => vec![0.0; q.len()],
            position => attend(Fma::Fused, &shared, q, (&caches[0], &caches[1]), rows, position),
        });
    }
    let spans_of = |position: usize| {
        position / SPAN - window.map_or(0, |window| (position + 1).saturating_sub(window)) / SPAN + 1
    };
    let spans_max = positions.iter().filter(|p| **p != IDLE).map(|p| spans_of(*p)).max().unwrap_or(0) + 1;
    let group = heads / kv_heads;
    let lane_groups = group.div_ceil(8);
    let mut job = Job::default();
    let [(keys, key_scales), (values, value_scales)] =
        caches.each_ref().map(|cache| holding(&mut job, cache));
    let (q, places, table) = (job.holding(&q), job.holding(&placement.places), job.holding(&placement.table));
    let sinks = job.holding(&sinks);
    let partials = job.poisoned(t * kv_heads * lane_groups * spans_max * 8 * (2 + d));
    let (in_turn, apart) = (job.poisoned(t * heads * d), job.poisoned(t * heads * d));
    let mut inputs = vec![q, keys, values, places, table];
    inputs.extend(key_scales.into_iter().chain(value_scales));
    let [d_word, kv_word, group_word, lanes, window_word, rings, spans, tokens] =
        [d, kv_heads, group, lane_groups, window.unwrap_or(0), ring_rows.unwrap_or(0), spans_max, t]
            .map(|size| size as u32);
    let constants =
        [d_word, kv_word, group_word, lanes, window_word, rings, spans, score_factor(d).to_bits()];
    let name = suffix(format);
    let with = |last: &[Handle]| [&inputs[..], last].concat();
    job.dispatch(
        &format!("attention_rows_{name}"),
        &with(&[sinks, in_turn]),
        &constants,
        [kv_word * lanes, tokens, 1],
    );
    job.dispatch(
        &format!("attention_spans_{name}"),
        &with(&[partials]),
        &constants,
        [spans, kv_word * lanes, tokens],
    );
    let constants = [d_word, kv_word, group_word, lanes, window_word, spans];
    job.dispatch("attention_join", &[partials, places, sinks, apart], &constants, [heads as u32, tokens, 1]);
    job.run(program, |run| {
        for (out, way) in [(in_turn, "rows"), (apart, "spans")] {
            let what = (shape, format, positions, way, run.way);
            assert_bits(&run.read(out, expected.len()), &expected, &what);
        }
    });
}

/// The kernels of attention.
pub fn check_attention(program: &Program) {
    for format in FORMATS {
        check_attention_of(program, FULL, format, &[0, 31, 32, 510, 511, 512, 513, 1100]);
        check_attention_of(program, WINDOWED, format, &[0, 127, 128, IDLE, 135, 512, 600]);
        let window = |window| Shape { window: Some(window), ring_rows: Some(window + 3), ..WINDOWED };
        check_attention_of(program, window(1), format, &[0, 1, 513]);
        check_attention_of(program, window(129), format, &[128, 129, 130, 575]);
        check_attention_of(program, Shape { ring_rows: None, ..WINDOWED }, format, &[127, 128, 600]);
        for (heads, kv_heads, d) in [(64, 8, 64), (12, 1, 32), (3, 3, 4), (5, 1, 20), (8, 2, 128)] {
            check_attention_of(program, Shape { heads, kv_heads, d, ..FULL }, format, &[70, 3]);
        }
        check_attention_of(program, Shape { is_opposed: true, ..FULL }, format, &[1100]);
        for fill in [Fill::Zeros, Fill::NegativeZeros, Fill::NonFinite] {
            check_attention_of(program, Shape { fill, ..FULL }, format, &[40, 600]);
        }
    }
}

fn check_rope_of(program: &Program, shape: Shape, format: Format) {
    let Shape { heads, kv_heads, d, ring_rows, fill, .. } = shape;
    let positions = [30, 0, IDLE, 511, 700];
    let t = positions.len();
    let mut rng = Rng((heads * d) as u64);
    let placement = Placement::new(&mut rng, &positions, ring_rows);
    let mut tensor = |heads: usize| fill.floats(&mut rng, t * heads * d);
    let (q, k, v) = (tensor(heads), tensor(kv_heads), tensor(kv_heads));
    let frequencies: Vec<f32> = (0..d / 2).map(|i| 0.7_f32.powi(i as i32)).collect();
    let of_rows: Vec<Vec<(f32, f32)>> = positions
        .iter()
        .map(|position| angles(&frequencies, 1.346_573_6, if *position == IDLE { 0 } else { *position }))
        .collect();
    let (mut rotated, mut new_keys) = (q.clone(), k.clone());
    let before = [(); 2].map(|()| poisoned(format, placement.num_rows, shape));
    let mut after = before.clone();
    for (row, position) in positions.iter().enumerate().filter(|(_, position)| **position != IDLE) {
        rotate(&mut rotated[row * heads * d..][..heads * d], &of_rows[row]);
        rotate(&mut new_keys[row * kv_heads * d..][..kv_heads * d], &of_rows[row]);
        for (cache, new) in after.iter_mut().zip([&new_keys, &v]) {
            cache.write(placement.cache_rows[row][*position], &new[row * kv_heads * d..][..kv_heads * d], d);
        }
    }
    let flat: Vec<[f32; 2]> = of_rows.iter().flatten().map(|(cosine, sine)| [*cosine, *sine]).collect();
    let mut job = Job::default();
    let caches = before.each_ref().map(|cache| holding(&mut job, cache));
    let mut buffers = vec![job.holding(&q), job.holding(&k), job.holding(&v), job.holding(&flat)];
    buffers.extend([job.holding(&placement.places), job.holding(&placement.table), caches[0].0, caches[1].0]);
    buffers.extend(caches.iter().filter_map(|(_, scales)| *scales));
    let constants = [d, heads, kv_heads, ring_rows.unwrap_or(0)].map(|size| size as u32);
    let grid = [(heads + 2 * kv_heads).div_ceil(2) as u32, t as u32, 1];
    job.dispatch(&format!("rope_{}", suffix(format)), &buffers, &constants, grid);
    job.run(program, |run| {
        let what = (shape, format, run.way);
        assert_bits(&run.read(buffers[0], q.len()), &rotated, &what);
        caches.iter().zip(&after).for_each(|(handles, after)| assert_holds(run, *handles, after, &what));
    });
}

/// `rope_f32`, `rope_bf16` and `rope_int8`.
pub fn check_rope(program: &Program) {
    for format in FORMATS {
        for (heads, kv_heads, d) in [(64, 8, 64), (4, 2, 64), (3, 1, 4), (2, 1, 128), (5, 5, 20)] {
            check_rope_of(program, Shape { heads, kv_heads, d, ..FULL }, format);
        }
        check_rope_of(program, WINDOWED, format);
        for fill in [Fill::Zeros, Fill::NegativeZeros, Fill::Large, Fill::Tiny, Fill::NonFinite] {
            check_rope_of(program, Shape { heads: 4, kv_heads: 2, fill, ..FULL }, format);
        }
    }
}

#[test]
fn attention_is_the_cpus() {
    on_host(check_attention);
}

#[test]
fn keys_and_values_go_to_their_places_and_nothing_else_changes() {
    on_host(check_rope);
}
