//! Attention over slots.

use gptoss_gpu::ops::{Attention, AttentionSpans};

use crate::cache::{CardCache, FORMATS, Format, Part, Placement, poisoned};
use crate::numbers::{Fill, Rng, assert_bits};
use crate::reference::attention::{Heads, SPAN, attend};
use crate::support::{Bench, on_every_device};

/// Heads and what they look at.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub heads: usize,
    pub kv_heads: usize,
    pub d: usize,
    pub window: Option<usize>,
    /// Rows of a ring, for layers that have rings.
    pub ring_rows: Option<usize>,
    pub fill: Fill,
}

pub const FULL: Shape =
    Shape { heads: 8, kv_heads: 1, d: 64, window: None, ring_rows: None, fill: Fill::Random };
pub const WINDOWED: Shape =
    Shape { heads: 4, kv_heads: 2, d: 32, window: Some(128), ring_rows: Some(135), ..FULL };

/// The parts of a step in both ways to take spans.
pub fn check(bench: &Bench, shape: Shape, format: Format, parts: &[Part]) {
    let Shape { heads, kv_heads, d, window, ring_rows, fill } = shape;
    let mut rng = Rng((heads * d + parts.len()) as u64 + parts[0].first_position as u64);
    let placement = match ring_rows {
        Some(rows) => Placement::in_rings(&mut rng, parts, rows),
        None => Placement::in_blocks(&mut rng, parts),
    };
    let caches = [2.0, 1.0].map(|size| {
        let mut cache = poisoned(format, placement.num_rows, kv_heads, d);
        for (part, rows) in parts.iter().zip(&placement.cache_rows) {
            let oldest = window.map_or(0, |window| part.first_position.saturating_sub(window - 1));
            for row in rows.iter().skip(oldest) {
                let numbers = fill.floats(&mut rng, kv_heads * d);
                cache.write(*row, &numbers.into_iter().map(|x| x * size).collect::<Vec<_>>(), d);
            }
        }
        cache
    });
    let t: usize = parts.iter().map(|part| part.rows).sum();
    let (q, sinks) = (fill.floats(&mut rng, t * heads * d), rng.floats(heads));
    let head_rows =
        Heads { num_query_heads: heads, num_kv_heads: kv_heads, head_dim: d, window, sinks: &sinks };
    let expected: Vec<f32> = q
        .chunks_exact(heads * d)
        .zip(&placement.tokens)
        .flat_map(|(q, token)| match token {
            Some((sequence, position)) => {
                let rows = &placement.cache_rows[*sequence];
                attend(bench.fma, &head_rows, q, (&caches[0], &caches[1]), rows, *position)
            }
            None => vec![0.0; q.len()],
        })
        .collect();
    let spans_of = |position: usize| {
        let first = window.map_or(0, |window| (position + 1).saturating_sub(window));
        position / SPAN - first / SPAN + 1
    };
    let spans_max = placement.tokens.iter().flatten().map(|(_, position)| spans_of(*position)).max();
    let spans_max = spans_max.unwrap_or(0) as u32 + 1;
    let card = CardCache::holding(bench, &caches[0], &caches[1]);
    let (places, table) = (placement.places_on(bench), placement.table_on(bench));
    let (q_slice, sinks_slice) = (bench.holding(&q), bench.holding(&sinks));
    let [num_heads, num_kv_heads, head_dim, rows] = [heads, kv_heads, d, t].map(|size| size as u32);
    let bytes = AttentionSpans::bytes(rows, num_heads, num_kv_heads, head_dim, spans_max);
    let partials = bench.poisoned(bytes as usize / 4);
    for spans in [AttentionSpans::InTurn, AttentionSpans::Apart { partials: &partials, spans_max }] {
        let out = bench.poisoned(t * heads * d);
        bench.run(|kernels, recording| {
            let attention = Attention {
                out: &out,
                q: &q_slice,
                kv: card.rows(),
                places: &places,
                slots: placement.slots(&table),
                sinks: &sinks_slice,
                spans,
                t: rows,
                num_heads,
                num_kv_heads,
                head_dim,
                window: window.map(|window| window as u32),
            };
            attention.record(kernels, recording)
        });
        assert_bits(&bench.read(&out, expected.len()), &expected, &(shape, format, parts, spans));
    }
}

pub fn one(first_position: usize) -> Part {
    Part { first_position, rows: 1 }
}

#[test]
fn rows_at_the_edges_of_spans() {
    on_every_device(|bench| {
        for format in FORMATS {
            let edges = [0, 1, 31, 32, 510, 511, 512, 513, 1023, 1024, 1500];
            check(bench, FULL, format, &edges.map(one));
        }
    });
}

#[test]
fn batches_of_every_size_and_every_place_in_them() {
    on_every_device(|bench| {
        let positions = [37, 512, 5, 700, 127, 0, 64, 300, 95];
        for format in FORMATS {
            for size in 1..=9 {
                let shape = Shape { heads: 4, kv_heads: 2, d: 32, ..FULL };
                let turned = (0..size).map(|i| one(positions[(i + size) % positions.len()]));
                check(bench, shape, format, &turned.collect::<Vec<_>>());
            }
        }
    });
}

#[test]
fn chunks_of_prompts_beside_single_rows() {
    on_every_device(|bench| {
        for format in FORMATS {
            let parts =
                [Part { first_position: 0, rows: 9 }, one(40), Part { first_position: 508, rows: 8 }, one(0)];
            check(bench, Shape { heads: 4, kv_heads: 2, ..FULL }, format, &parts);
            let parts =
                [Part { first_position: 120, rows: 8 }, Part::IDLE, Part { first_position: 1020, rows: 8 }];
            check(bench, WINDOWED, format, &parts);
        }
    });
}

#[test]
fn windows_and_rings_at_their_edges() {
    on_every_device(|bench| {
        for format in FORMATS {
            let edges = [0, 126, 127, 128, 129, 134, 135, 136, 511, 512, 600, 639, 640];
            check(bench, WINDOWED, format, &edges.map(one));
            for window in [1, 127, 129] {
                let shape = Shape { window: Some(window), ring_rows: Some(window + 3), ..WINDOWED };
                check(bench, shape, format, &[0, 126, 127, 128, 129, 130, 513].map(one));
            }
            // A window over blocks.
            let shape = Shape { ring_rows: None, ..WINDOWED };
            check(bench, shape, format, &[127, 128, 600].map(one));
        }
    });
}

#[test]
fn heads_of_every_grouping_and_width() {
    on_every_device(|bench| {
        for format in FORMATS {
            for (heads, kv_heads, d) in [
                (64, 8, 64),
                (4, 2, 64),
                (4, 1, 32),
                (4, 4, 32),
                (12, 1, 32),
                (32, 2, 16),
                (3, 3, 4),
                (5, 1, 20),
                (8, 2, 128),
            ] {
                check(bench, Shape { heads, kv_heads, d, ..FULL }, format, &[70, 3].map(one));
            }
        }
    });
}

#[test]
fn what_is_not_finite_stays_with_those_who_see_it() {
    on_every_device(|bench| {
        for format in FORMATS {
            for fill in [Fill::Zeros, Fill::NegativeZeros, Fill::NonFinite] {
                check(bench, Shape { fill, ..FULL }, format, &[40, 600].map(one));
            }
        }
    });
}

/// What finds mistakes in any of its kernels.
pub fn check_every_way(bench: &Bench) {
    for format in FORMATS {
        check(bench, FULL, format, &[5, 600].map(one));
        let shape = Shape { heads: 4, kv_heads: 2, d: 32, ..FULL };
        check(bench, shape, format, &[Part { first_position: 510, rows: 4 }, one(40), Part::IDLE]);
        check(bench, WINDOWED, format, &[Part { first_position: 126, rows: 4 }, one(513)]);
    }
}
