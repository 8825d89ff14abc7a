//! Cases of the ops on keys and values: sequences in shuffled blocks or rings of a cache in which everything
//! else is NaN.

use crate::Error;
use crate::device::Slice;
use crate::ops::{ATTENTION_SPAN, Attention, AttentionSpans, KvPlace, KvRows, KvSlots, Rope};
use crate::prove::Output;
use crate::prove::random::Random;
use crate::prove::sheet::{Bench, Sheet};

/// Positions of a block.
const BLOCK_TOKENS: u32 = 32;

/// How keys and values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvForm {
    /// As they were computed.
    F32,
    /// Two numbers a word.
    Bf16,
    /// With a scale a head.
    Int8,
}

/// Keys or values of a layer, in rows `[K, D]`.
#[derive(Clone, Debug, PartialEq)]
pub enum Stored {
    /// As they are.
    F32(Vec<f32>),
    /// By their bits.
    Bf16(Vec<u16>),
    /// With scales `[rows, K]`.
    Int8(Vec<i8>, Vec<f32>),
}

/// Heads, and the rows of a step.
#[derive(Clone, Copy, Debug)]
pub struct Layer {
    /// H, K, D.
    pub heads: [u32; 3],
    /// Of keys and values.
    pub form: KvForm,
    /// Rows of a ring; `None` for blocks.
    pub ring_rows: Option<u32>,
    /// Of each sequence, its first position and its rows; without rows, one that is nobody's.
    pub parts: &'static [(u32, u32)],
}

/// Where the rows of a step lie.
#[derive(Clone, Debug)]
pub struct Placement {
    /// Rows of the cache.
    pub num_rows: u32,
    /// Blocks of all sequences.
    pub table: Vec<u32>,
    /// Of every row of the step.
    pub places: Vec<KvPlace>,
    /// The sequence of every row of the step; `None` for nobody's.
    pub sequences: Vec<Option<usize>>,
    /// The cache row of every position of every sequence.
    pub cache_rows: Vec<Vec<u32>>,
}

impl Layer {
    /// Rows of the step.
    pub fn num_rows(&self) -> u32 {
        self.parts.iter().map(|(_, rows)| (*rows).max(1)).sum()
    }

    /// Blocks or rings in any order, with more of them than sequences take.
    pub fn placement(&self, random: &mut Random) -> Placement {
        let end = |(first, rows): &(u32, u32)| if *rows == 0 { 0 } else { first + rows };
        let blocks: u32 = self.parts.iter().map(|part| end(part).div_ceil(BLOCK_TOKENS)).sum();
        let rings = random.shuffled(self.parts.len() as u32 + 1);
        let table = random.shuffled(2 * blocks.max(1));
        let mut placement = Placement {
            num_rows: self
                .ring_rows
                .map_or(table.len() as u32 * BLOCK_TOKENS, |rows| rings.len() as u32 * rows),
            table,
            places: Vec::new(),
            sequences: Vec::new(),
            cache_rows: Vec::new(),
        };
        let mut first_block = 0;
        for (sequence, part) in self.parts.iter().enumerate() {
            let ring = rings[sequence];
            let row_of = |position: u32| match self.ring_rows {
                Some(rows) => ring * rows + position % rows,
                None => {
                    let block = placement.table[(first_block + position / BLOCK_TOKENS) as usize];
                    block * BLOCK_TOKENS + position % BLOCK_TOKENS
                }
            };
            placement.cache_rows.push((0..end(part)).map(row_of).collect());
            let (first, rows) = *part;
            let place = |row: u32| KvPlace { position: first + row, first_block, ring };
            placement.places.extend((0..rows).map(place));
            placement.places.extend((rows == 0).then_some(KvPlace::IDLE));
            placement
                .sequences
                .extend(std::iter::repeat_n((rows > 0).then_some(sequence), rows.max(1) as usize));
            first_block += end(part).div_ceil(BLOCK_TOKENS);
        }
        placement
    }

    /// A cache in which nothing has been written: NaN, of int8 by its scales.
    pub fn nothing(&self, num_rows: u32) -> Stored {
        let [_, kv_heads, d] = self.heads;
        let heads = (num_rows * kv_heads) as usize;
        match self.form {
            KvForm::F32 => Stored::F32(vec![f32::NAN; heads * d as usize]),
            KvForm::Bf16 => Stored::Bf16(vec![u16::MAX; heads * d as usize]),
            KvForm::Int8 => Stored::Int8(vec![-1; heads * d as usize], vec![f32::NAN; heads]),
        }
    }

    /// A cache with numbers in the rows that are seen.
    fn filled(&self, random: &mut Random, num_rows: u32, seen: &[u32]) -> Stored {
        let [_, kv_heads, d] = self.heads;
        let width = (kv_heads * d) as usize;
        let mut stored = self.nothing(num_rows);
        for row in seen.iter().map(|row| *row as usize) {
            match &mut stored {
                Stored::F32(numbers) => {
                    numbers[row * width..][..width].copy_from_slice(&random.floats(kv_heads * d));
                }
                Stored::Bf16(bits) => {
                    let numbers = random.floats(kv_heads * d);
                    let to = bits[row * width..].iter_mut();
                    to.zip(numbers).for_each(|(bits, number)| *bits = (number.to_bits() >> 16) as u16);
                }
                Stored::Int8(values, scales) => {
                    values[row * width..][..width].copy_from_slice(&random.integers(kv_heads * d, 127));
                    scales[row * kv_heads as usize..][..kv_heads as usize]
                        .copy_from_slice(&random.scales(kv_heads));
                }
            }
        }
        stored
    }
}

/// Keys or values on the card.
struct Part {
    form: KvForm,
    numbers: Slice,
    scales: Option<Slice>,
}

impl Part {
    fn on(sheet: &mut Sheet<'_>, stored: &Stored) -> Part {
        match stored {
            Stored::F32(numbers) => Part { form: KvForm::F32, numbers: sheet.holding(numbers), scales: None },
            Stored::Bf16(bits) => Part { form: KvForm::Bf16, numbers: sheet.holding(bits), scales: None },
            Stored::Int8(values, scales) => Part {
                form: KvForm::Int8,
                numbers: sheet.holding(values),
                scales: Some(sheet.holding(scales)),
            },
        }
    }

    fn outputs(&self, sheet: &Sheet<'_>, stored: &Stored) -> Vec<Output> {
        match (stored, &self.scales) {
            (Stored::Int8(values, scales), Some(of_heads)) => vec![
                sheet.words(&self.numbers, values.len() as u32 / 4),
                sheet.floats(of_heads, scales.len() as u32),
            ],
            (Stored::F32(numbers), _) => vec![sheet.floats(&self.numbers, numbers.len() as u32)],
            (Stored::Bf16(bits), _) => vec![sheet.words(&self.numbers, bits.len() as u32 / 2)],
            (Stored::Int8(..), None) => unreachable!("int8 has scales"),
        }
    }
}

fn kv_rows<'a>(keys: &'a Part, values: &'a Part) -> KvRows<'a> {
    match (&keys.scales, &values.scales, keys.form) {
        (Some(key_scales), Some(value_scales), _) => {
            KvRows::Int8 { keys: &keys.numbers, values: &values.numbers, key_scales, value_scales }
        }
        (_, _, KvForm::F32) => KvRows::F32 { keys: &keys.numbers, values: &values.numbers },
        _ => KvRows::Bf16 { keys: &keys.numbers, values: &values.numbers },
    }
}

fn words(places: &[KvPlace]) -> Vec<[u32; 4]> {
    places.iter().map(|place| place.words()).collect()
}

/// Rotary positions, with the write into the cache.
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    /// The rows.
    pub layer: Layer,
}

/// Numbers of a [`Rotation`].
#[derive(Clone, Debug)]
pub struct RotationNumbers {
    /// Where rows go.
    pub placement: Placement,
    /// `[T, H, D]`
    pub q: Vec<f32>,
    /// `[T, K, D]`
    pub k: Vec<f32>,
    /// `[T, K, D]`
    pub v: Vec<f32>,
    /// `[T, D / 2, 2]`; any numbers, for a host's sine may differ from another's.
    pub angles: Vec<f32>,
}

impl Rotation {
    /// The numbers.
    pub fn inputs(&self, random: &mut Random) -> RotationNumbers {
        let [heads, kv_heads, d] = self.layer.heads;
        let t = self.layer.num_rows();
        RotationNumbers {
            placement: self.layer.placement(random),
            q: random.floats(t * heads * d),
            k: random.floats(t * kv_heads * d),
            v: random.floats(t * kv_heads * d),
            angles: (0..t * d).map(|_| random.unit()).collect(),
        }
    }

    pub(crate) fn outputs(&self, bench: &Bench<'_>, random: &mut Random) -> Result<Vec<Output>, Error> {
        let [num_heads, num_kv_heads, head_dim] = self.layer.heads;
        let t = self.layer.num_rows();
        let RotationNumbers { placement, q, k, v, angles } = self.inputs(random);
        let nothing = self.layer.nothing(placement.num_rows);
        let mut sheet = bench.sheet();
        let (q, k, v) = (&sheet.holding(&q), &sheet.holding(&k), &sheet.holding(&v));
        let angles = &sheet.holding(&angles);
        let (places, table) = (&sheet.holding(&words(&placement.places)), &sheet.holding(&placement.table));
        let (keys, values) = (Part::on(&mut sheet, &nothing), Part::on(&mut sheet, &nothing));
        let slots = self.layer.ring_rows.map_or(KvSlots::Blocks(table), KvSlots::Rings);
        let kv = kv_rows(&keys, &values);
        sheet.run(|kernels, recording| {
            Rope { q, k, v, angles, places, slots, kv, t, num_heads, num_kv_heads, head_dim }
                .record(kernels, recording)
        })?;
        let mut outputs = vec![sheet.floats(q, t * num_heads * head_dim)];
        outputs.extend(keys.outputs(&sheet, &nothing));
        outputs.extend(values.outputs(&sheet, &nothing));
        Ok(outputs)
    }
}

/// Attention.
#[derive(Clone, Copy, Debug)]
pub struct Attending {
    /// The rows.
    pub layer: Layer,
    /// Positions that a row sees.
    pub window: Option<u32>,
    /// Whether spans are taken apart.
    pub is_apart: bool,
}

/// Numbers of an [`Attending`].
#[derive(Clone, Debug)]
pub struct AttendingNumbers {
    /// Where rows lie.
    pub placement: Placement,
    /// Keys, with numbers where they are seen.
    pub keys: Stored,
    /// Likewise.
    pub values: Stored,
    /// `[T, H, D]`
    pub q: Vec<f32>,
    /// `[H]`
    pub sinks: Vec<f32>,
}

impl Attending {
    /// The numbers.
    pub fn inputs(&self, random: &mut Random) -> AttendingNumbers {
        let [heads, _, d] = self.layer.heads;
        let placement = self.layer.placement(random);
        let of_sequence = |((first, _), rows): (&(u32, u32), &Vec<u32>)| {
            let oldest = self.window.map_or(0, |window| (first + 1).saturating_sub(window));
            rows.get(oldest as usize..).unwrap_or_default().to_vec()
        };
        let seen: Vec<u32> =
            self.layer.parts.iter().zip(&placement.cache_rows).flat_map(of_sequence).collect();
        let keys = self.layer.filled(random, placement.num_rows, &seen);
        let values = self.layer.filled(random, placement.num_rows, &seen);
        let q = random.floats(self.layer.num_rows() * heads * d);
        AttendingNumbers { placement, keys, values, q, sinks: random.floats(heads) }
    }

    /// One more span than any row sees.
    fn spans_max(&self) -> u32 {
        let spans = |(first, rows): &(u32, u32)| (first + rows) / ATTENTION_SPAN + 2;
        self.layer.parts.iter().map(spans).max().unwrap_or(1)
    }

    pub(crate) fn outputs(&self, bench: &Bench<'_>, random: &mut Random) -> Result<Vec<Output>, Error> {
        let [num_heads, num_kv_heads, head_dim] = self.layer.heads;
        let t = self.layer.num_rows();
        let AttendingNumbers { placement, keys, values, q, sinks } = self.inputs(random);
        let mut sheet = bench.sheet();
        let (q, sinks) = (&sheet.holding(&q), &sheet.holding(&sinks));
        let (places, table) = (&sheet.holding(&words(&placement.places)), &sheet.holding(&placement.table));
        let (keys, values) = (Part::on(&mut sheet, &keys), Part::on(&mut sheet, &values));
        let out = &sheet.room(t * num_heads * head_dim);
        let spans_max = self.spans_max();
        let bytes = AttentionSpans::bytes(t, num_heads, num_kv_heads, head_dim, spans_max);
        let partials = &sheet.room_bytes(bytes);
        let spans = match self.is_apart {
            true => AttentionSpans::Apart { partials, spans_max },
            false => AttentionSpans::InTurn,
        };
        let op = Attention {
            out,
            q,
            kv: kv_rows(&keys, &values),
            places,
            slots: self.layer.ring_rows.map_or(KvSlots::Blocks(table), KvSlots::Rings),
            sinks,
            spans,
            t,
            num_heads,
            num_kv_heads,
            head_dim,
            window: self.window,
        };
        sheet.run(|kernels, recording| op.record(kernels, recording))?;
        Ok(vec![sheet.floats(out, t * num_heads * head_dim)])
    }
}
