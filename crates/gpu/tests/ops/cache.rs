//! Sequences whose positions lie in shuffled blocks or rings of a cache, and everything else in it is NaN.

use gptoss_gpu::Slice;
use gptoss_gpu::ops::{KvPlace, KvRows, KvSlots};

use crate::numbers::Rng;
use crate::reference::attention::Cache;
use crate::support::Bench;

/// Positions of a block.
const BLOCK_TOKENS: usize = 32;

/// How keys and values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    F32,
    Bf16,
    Int8,
}

pub const FORMATS: [Format; 3] = [Format::F32, Format::Bf16, Format::Int8];

/// The rows of a sequence in a step: consecutive positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub first_position: usize,
    pub rows: usize,
}

impl Part {
    /// One row that is nobody's.
    pub const IDLE: Part = Part { first_position: usize::MAX, rows: 1 };

    /// Positions of its sequence when the step is done.
    fn end(&self) -> usize {
        if *self == Part::IDLE { 0 } else { self.first_position + self.rows }
    }
}

/// Where the sequences of a step lie in a layer.
pub struct Placement {
    /// Rows of the cache.
    pub num_rows: usize,
    /// Rows of a ring, if the layer has rings.
    ring_rows: Option<usize>,
    /// Blocks of all sequences.
    table: Vec<u32>,
    /// Of every row of the step.
    pub places: Vec<KvPlace>,
    /// The cache row of every position of every sequence.
    pub cache_rows: Vec<Vec<usize>>,
    /// The sequence and position of every row of the step, but of those that are idle.
    pub tokens: Vec<Option<(usize, usize)>>,
}

impl Placement {
    /// Blocks in any order, with as many again that nobody has.
    pub fn in_blocks(rng: &mut Rng, parts: &[Part]) -> Placement {
        let num_blocks = |part: &Part| part.end().div_ceil(BLOCK_TOKENS);
        let all: usize = parts.iter().map(num_blocks).sum();
        let table = rng.shuffled(2 * all);
        let (mut places, mut cache_rows, mut first_block) = (Vec::new(), Vec::new(), 0);
        for part in parts {
            places.extend(places_of(part, first_block as u32, u32::MAX));
            let row =
                |p: usize| table[first_block + p / BLOCK_TOKENS] as usize * BLOCK_TOKENS + p % BLOCK_TOKENS;
            cache_rows.push((0..part.end()).map(row).collect());
            first_block += num_blocks(part);
        }
        Placement {
            num_rows: 2 * all * BLOCK_TOKENS,
            ring_rows: None,
            table,
            places,
            cache_rows,
            tokens: tokens_of(parts),
        }
    }

    /// Rings in any order, one more than there are sequences.
    pub fn in_rings(rng: &mut Rng, parts: &[Part], ring_rows: usize) -> Placement {
        let rings = rng.shuffled(parts.len() + 1);
        let (mut places, mut cache_rows) = (Vec::new(), Vec::new());
        for (part, ring) in parts.iter().zip(&rings) {
            places.extend(places_of(part, u32::MAX, *ring));
            let row = |p: usize| *ring as usize * ring_rows + p % ring_rows;
            cache_rows.push((0..part.end()).map(row).collect());
        }
        let num_rows = rings.len() * ring_rows;
        let (ring_rows, table) = (Some(ring_rows), Vec::new());
        Placement { num_rows, ring_rows, table, places, cache_rows, tokens: tokens_of(parts) }
    }

    /// The places of the step's rows, on the device.
    pub fn places_on(&self, bench: &Bench) -> Slice {
        let words: Vec<[u32; 4]> = self.places.iter().map(|place| place.words()).collect();
        bench.holding(words.as_flattened())
    }

    /// The table, on the device.
    pub fn table_on(&self, bench: &Bench) -> Slice {
        bench.holding(&self.table)
    }

    /// Its slots.
    pub fn slots<'a>(&self, table: &'a Slice) -> KvSlots<'a> {
        self.ring_rows.map_or(KvSlots::Blocks(table), |rows| KvSlots::Rings(rows as u32))
    }
}

fn places_of(part: &Part, first_block: u32, ring: u32) -> impl Iterator<Item = KvPlace> {
    let is_idle = *part == Part::IDLE;
    let first = part.first_position as u32;
    (0..part.rows as u32).map(move |row| match is_idle {
        true => KvPlace::IDLE,
        false => KvPlace { position: first + row, first_block, ring },
    })
}

fn tokens_of(parts: &[Part]) -> Vec<Option<(usize, usize)>> {
    let of_part = |(sequence, part): (usize, &Part)| {
        let (first, is_idle) = (part.first_position, *part == Part::IDLE);
        (0..part.rows).map(move |row| (!is_idle).then(|| (sequence, first + row)))
    };
    parts.iter().enumerate().flat_map(of_part).collect()
}

/// A cache in which nothing has been written: NaN, of int8 by its scales.
pub fn poisoned(format: Format, num_rows: usize, num_kv_heads: usize, head_dim: usize) -> Cache {
    let len = num_rows * num_kv_heads * head_dim;
    match format {
        Format::F32 => Cache::F32(vec![f32::from_bits(u32::MAX); len]),
        Format::Bf16 => Cache::Bf16(vec![0xffff; len]),
        Format::Int8 => Cache::Int8 { values: vec![-1; len], scales: vec![f32::NAN; len / head_dim] },
    }
}

/// Keys and values on the device: numbers, and scales where there are some.
pub struct CardCache {
    format: Format,
    numbers: [Slice; 2],
    scales: Option<[Slice; 2]>,
}

impl CardCache {
    pub fn holding(bench: &Bench, keys: &Cache, values: &Cache) -> CardCache {
        let format = match keys {
            Cache::F32(_) => Format::F32,
            Cache::Bf16(_) => Format::Bf16,
            Cache::Int8 { .. } => Format::Int8,
        };
        let numbers = [keys, values].map(|cache| match cache {
            Cache::F32(numbers) => bench.holding(numbers),
            Cache::Bf16(bits) => bench.holding(bits),
            Cache::Int8 { values, .. } => bench.holding(values),
        });
        let scales = match (keys, values) {
            (Cache::Int8 { scales: keys, .. }, Cache::Int8 { scales: values, .. }) => {
                Some([bench.holding(keys), bench.holding(values)])
            }
            _ => None,
        };
        CardCache { format, numbers, scales }
    }

    pub fn rows(&self) -> KvRows<'_> {
        let [keys, values] = &self.numbers;
        match (&self.scales, self.format) {
            (Some([key_scales, value_scales]), _) => KvRows::Int8 { keys, values, key_scales, value_scales },
            (None, Format::F32) => KvRows::F32 { keys, values },
            (None, _) => KvRows::Bf16 { keys, values },
        }
    }

    /// Panics unless the device holds just these numbers, in every row.
    pub fn assert_holds(&self, bench: &Bench, expected: [&Cache; 2], what: &dyn std::fmt::Debug) {
        for (i, expected) in expected.into_iter().enumerate() {
            match expected {
                Cache::Bf16(bits) => {
                    let found: Vec<u16> = bench.read(&self.numbers[i], bits.len());
                    assert!(found == *bits, "{what:?}: {} of {i}", first_difference(&found, bits));
                }
                Cache::Int8 { values, scales } => {
                    let found: Vec<i8> = bench.read(&self.numbers[i], values.len());
                    assert!(found == *values, "{what:?}: {} of {i}", first_difference(&found, values));
                    let of_heads = self.scales.as_ref().map(|kept| bench.read(&kept[i], scales.len()));
                    crate::numbers::assert_bits(&of_heads.unwrap_or_default(), scales, what);
                }
                Cache::F32(numbers) => {
                    let found = bench.read(&self.numbers[i], numbers.len());
                    crate::numbers::assert_bits(&found, numbers, what);
                }
            }
        }
    }
}

fn first_difference<T: PartialEq + std::fmt::Debug>(found: &[T], expected: &[T]) -> String {
    let pair = found.iter().zip(expected).enumerate().find(|(_, (found, expected))| found != expected);
    pair.map_or_else(|| "a length".to_owned(), |(i, (f, e))| format!("number {i} is {f:?}, not {e:?}"))
}
