//! Rotary positions with the write into the cache.

use gptoss_gpu::ops::Rope;

use crate::cache::{CardCache, FORMATS, Format, Part, Placement, poisoned};
use crate::numbers::{Fill, Rng, assert_bits};
use crate::reference::floats::{angles, rotate};
use crate::support::{Bench, on_every_device};

/// The parts of a step, in blocks or in rings of so many rows.
pub fn check(
    bench: &Bench,
    (heads, kv_heads, d): (usize, usize, usize),
    (format, fill): (Format, Fill),
    parts: &[Part],
    ring_rows: Option<usize>,
) {
    let what = (heads, kv_heads, d, format, fill, parts, ring_rows);
    let mut rng = Rng((heads * d) as u64 + parts[0].first_position as u64);
    let placement = match ring_rows {
        Some(rows) => Placement::in_rings(&mut rng, parts, rows),
        None => Placement::in_blocks(&mut rng, parts),
    };
    let t = placement.places.len();
    let mut tensor = |heads: usize| fill.floats(&mut rng, t * heads * d);
    let (q, k, v) = (tensor(heads), tensor(kv_heads), tensor(kv_heads));
    let frequencies: Vec<f32> = (0..d / 2).map(|i| 0.7_f32.powi(i as i32)).collect();
    let of_rows: Vec<Vec<(f32, f32)>> = placement
        .tokens
        .iter()
        .map(|token| angles(&frequencies, 1.346_573_6, token.map_or(0, |(_, position)| position)))
        .collect();
    let (mut rotated, mut new_keys) = (q.clone(), k.clone());
    for (row, angles) in of_rows.iter().enumerate().filter(|(row, _)| placement.tokens[*row].is_some()) {
        rotate(&mut rotated[row * heads * d..][..heads * d], angles);
        rotate(&mut new_keys[row * kv_heads * d..][..kv_heads * d], angles);
    }
    let before = [(); 2].map(|()| poisoned(format, placement.num_rows, kv_heads, d));
    let mut after = before.clone();
    for (token, place) in placement.tokens.iter().enumerate() {
        let Some((sequence, position)) = place else { continue };
        let row = placement.cache_rows[*sequence][*position];
        for (cache, new) in after.iter_mut().zip([&new_keys, &v]) {
            cache.write(row, &new[token * kv_heads * d..][..kv_heads * d], d);
        }
    }
    let card = CardCache::holding(bench, &before[0], &before[1]);
    let flat: Vec<[f32; 2]> = of_rows.iter().flatten().map(|(cosine, sine)| [*cosine, *sine]).collect();
    let (q_slice, k_slice, v_slice) = (bench.holding(&q), bench.holding(&k), bench.holding(&v));
    let (angles, places, table) =
        (bench.holding(flat.as_flattened()), placement.places_on(bench), placement.table_on(bench));
    bench.run(|kernels, recording| {
        let rope = Rope {
            q: &q_slice,
            k: &k_slice,
            v: &v_slice,
            angles: &angles,
            places: &places,
            slots: placement.slots(&table),
            kv: card.rows(),
            t: t as u32,
            num_heads: heads as u32,
            num_kv_heads: kv_heads as u32,
            head_dim: d as u32,
        };
        rope.record(kernels, recording)
    });
    assert_bits(&bench.read(&q_slice, q.len()), &rotated, &what);
    card.assert_holds(bench, [&after[0], &after[1]], &what);
}

pub const PARTS: [Part; 4] = [
    Part { first_position: 30, rows: 5 },
    Part { first_position: 0, rows: 1 },
    Part::IDLE,
    Part { first_position: 511, rows: 2 },
];

#[test]
fn keys_and_values_go_to_their_places_and_nothing_else_changes() {
    on_every_device(|bench| {
        for format in FORMATS {
            for shape in [(64, 8, 64), (4, 2, 64), (4, 1, 32), (4, 4, 32), (3, 1, 4), (2, 1, 128), (5, 5, 20)]
            {
                check(bench, shape, (format, Fill::Random), &PARTS, None);
            }
            check(bench, (4, 2, 32), (format, Fill::Random), &PARTS, Some(135));
            check(bench, (4, 2, 32), (format, Fill::Random), &PARTS, Some(7));
        }
    });
}

#[test]
fn awkward_numbers() {
    on_every_device(|bench| {
        for format in FORMATS {
            for fill in [Fill::Zeros, Fill::NegativeZeros, Fill::Large, Fill::NonFinite] {
                check(bench, (4, 2, 64), (format, fill), &PARTS, None);
            }
        }
    });
}

/// What finds mistakes in either of its kernels.
pub fn check_every_way(bench: &Bench) {
    for format in FORMATS {
        check(bench, (4, 2, 64), (format, Fill::Random), &PARTS, None);
        check(bench, (4, 2, 32), (format, Fill::Random), &PARTS, Some(135));
    }
}
