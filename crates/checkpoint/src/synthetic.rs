//! Random weights of a real shape: what are bytes `a..b` of tensor X under seed S?
//!
//! The entry points are [`tensor`] for a whole tensor and [`fill`] for any range of one, so that a writer
//! needs no more memory than its buffer. The answer is a function of the seed, the canonical Hugging Face
//! name and the position alone, not of order, layout or thread count: each chunk of 64 KiB has a generator of
//! its own, seeded from those three.
//!
//! The statistics keep a deep model's activations and logits finite and of sensible size: norms around 1,
//! sinks and embedding N(0, 1), the unembedding 2/sqrt(C), other dense weights 0.02, random MXFP4 codes with
//! scales 119..=121. Normal numbers come from a table of 65,536 quantiles, one 16-bit draw each: experts and
//! embeddings are gigabytes, and a transcendental a number would take minutes. The table is built from
//! additions, multiplications and square roots only, which are the same on every machine, so one seed means
//! the same bits everywhere.

use std::path::Path;
use std::sync::OnceLock;

use half::bf16;

use crate::bytes::{Bytes, Tensor};
use crate::config::Config;
use crate::error::Error;
use crate::names;
use crate::part::{LayerPart, Part};
use crate::preset::{Preset, alternating_layers};

/// Bytes made by one seeding of the generator; part of what a seed means.
const CHUNK_BYTES: usize = 64 << 10;
/// Below this many bytes a second thread costs more than it gives.
const PARALLEL_BYTES_MIN: usize = 4 << 20;
/// Entries of the table of quantiles: one for each 16-bit draw.
const QUANTILES: usize = 1 << 16;

/// A preset's config with another number of layers.
///
/// Errors: [`Error::BadConfig`] when `layers` is out of bounds.
pub(crate) fn config(preset: Preset, layers: Option<usize>) -> Result<Config, Error> {
    let mut config = preset.config();
    if let Some(layers) = layers {
        config.num_hidden_layers = layers;
        config.layer_types = alternating_layers(layers.min(crate::config::NUM_LAYERS_MAX));
    }
    config.check(Path::new(preset.name()))?;
    Ok(config)
}

/// A whole tensor in new memory.
pub(crate) fn tensor(config: &Config, seed: u64, part: Part) -> Tensor {
    let num_bytes = names::num_bytes(config, part);
    let mut words = vec![0u64; num_bytes.div_ceil(8)];
    fill(config, seed, part, 0, &mut bytemuck::cast_slice_mut(&mut words)[..num_bytes]);
    Tensor {
        name: names::hugging_face(config, part),
        dtype: names::dtype(part),
        shape: names::shape(config, part),
        bytes: Bytes::owned(words, num_bytes),
    }
}

/// Bytes `start..start + out.len()` of a tensor. `start` must be even for bf16 parts.
///
/// The parts of the bf16 layout have no recipe of their own: they are the dequantised MXFP4 parts.
pub(crate) fn fill(config: &Config, seed: u64, part: Part, start: usize, out: &mut [u8]) {
    let key = key(seed, &names::hugging_face(config, part));
    let shaping = Shaping::of(recipe(config, part), out.len());
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    if threads == 1 || out.len() < PARALLEL_BYTES_MIN {
        return fill_range(key, &shaping, start, out);
    }
    let share = out.len().div_ceil(threads).next_multiple_of(CHUNK_BYTES);
    let shaping = &shaping;
    std::thread::scope(|scope| {
        for (index, out) in out.chunks_mut(share).enumerate() {
            scope.spawn(move || fill_range(key, shaping, start + index * share, out));
        }
    });
}

/// How random bits become a part's elements.
#[derive(Clone, Copy, Debug)]
enum Recipe {
    /// bf16 from a normal distribution.
    Normal { mean: f32, deviation: f32 },
    /// MXFP4 codes: the bits as they come.
    Codes,
    /// E8M0 scales of 2^-8, 2^-7 and 2^-6.
    Scales,
}

fn recipe(config: &Config, part: Part) -> Recipe {
    let normal = |mean, deviation| Recipe::Normal { mean, deviation };
    match part {
        Part::Embedding => normal(0.0, 1.0),
        Part::Unembedding => normal(0.0, 2.0 / (config.hidden_size as f32).sqrt()),
        Part::FinalNorm => normal(1.0, 0.1),
        Part::Layer(_, LayerPart::AttentionNorm | LayerPart::MlpNorm) => normal(1.0, 0.1),
        Part::Layer(_, LayerPart::Sinks) => normal(0.0, 1.0),
        Part::Layer(_, LayerPart::GateUpBlocks | LayerPart::DownBlocks) => Recipe::Codes,
        Part::Layer(_, LayerPart::GateUpScales | LayerPart::DownScales) => Recipe::Scales,
        Part::Layer(..) => normal(0.0, 0.02),
    }
}

/// A recipe made ready: for large tensors the table of quantiles is scaled and rounded once.
enum Shaping {
    Codes,
    Scales,
    Table(Vec<u16>),
    Each { mean: f32, deviation: f32 },
}

impl Shaping {
    fn of(recipe: Recipe, num_bytes: usize) -> Shaping {
        match recipe {
            Recipe::Codes => Shaping::Codes,
            Recipe::Scales => Shaping::Scales,
            Recipe::Normal { mean, deviation } if num_bytes > 2 * QUANTILES => {
                Shaping::Table((0..=u16::MAX).map(|draw| shaped(draw, mean, deviation)).collect())
            }
            Recipe::Normal { mean, deviation } => Shaping::Each { mean, deviation },
        }
    }

    fn apply(&self, raw: &mut [u8]) {
        let each_u16 = |raw: &mut [u8], value: &dyn Fn(u16) -> u16| {
            for pair in raw.as_chunks_mut::<2>().0 {
                *pair = value(u16::from_le_bytes(*pair)).to_le_bytes();
            }
        };
        match self {
            Shaping::Codes => {}
            Shaping::Scales => {
                for byte in raw {
                    *byte = 119 + ((u16::from(*byte) * 3) >> 8) as u8;
                }
            }
            Shaping::Table(table) => {
                for pair in raw.as_chunks_mut::<2>().0 {
                    *pair = table[usize::from(u16::from_le_bytes(*pair))].to_le_bytes();
                }
            }
            Shaping::Each { mean, deviation } => each_u16(raw, &|draw| shaped(draw, *mean, *deviation)),
        }
    }
}

/// The bf16 bits of one draw.
fn shaped(draw: u16, mean: f32, deviation: f32) -> u16 {
    bf16::from_f32(quantiles()[usize::from(draw)] * deviation + mean).to_bits()
}

fn fill_range(key: u64, shaping: &Shaping, start: usize, out: &mut [u8]) {
    let mut chunk_index = start / CHUNK_BYTES;
    let mut skip = start % CHUNK_BYTES;
    let mut rest = out;
    let mut scratch = Vec::new();
    while !rest.is_empty() {
        let (here, later) = rest.split_at_mut(rest.len().min(CHUNK_BYTES - skip));
        if skip == 0 {
            random_bytes(key, chunk_index, here);
        } else {
            scratch.resize(skip + here.len(), 0);
            random_bytes(key, chunk_index, &mut scratch);
            here.copy_from_slice(&scratch[skip..]);
        }
        shaping.apply(here);
        (chunk_index, skip, rest) = (chunk_index + 1, 0, later);
    }
}

/// The first `out.len()` random bytes of a chunk: xoshiro256++ seeded by splitmix64, as their authors advise.
fn random_bytes(key: u64, chunk_index: usize, out: &mut [u8]) {
    let mut seed = key ^ (chunk_index as u64).wrapping_mul(0xD134_2543_DE82_EF95);
    let mut state = [0u64; 4].map(|_| splitmix(&mut seed));
    let (words, tail) = out.as_chunks_mut::<8>();
    for word in words {
        *word = xoshiro(&mut state).to_le_bytes();
    }
    let last = xoshiro(&mut state).to_le_bytes();
    tail.copy_from_slice(&last[..tail.len()]);
}

fn xoshiro(state: &mut [u64; 4]) -> u64 {
    let result = state[0].wrapping_add(state[3]).rotate_left(23).wrapping_add(state[0]);
    let shifted = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = state[3].rotate_left(45);
    result
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Seed and name in one number: FNV-1a of the name, mixed with the seed.
fn key(seed: u64, name: &str) -> u64 {
    let hash = name
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3));
    let mut state = seed;
    let mixed = splitmix(&mut state);
    let mut state = mixed ^ hash;
    splitmix(&mut state)
}

/// The normal distribution's quantiles at the middles of 65,536 equal slices.
fn quantiles() -> &'static [f32] {
    static TABLE: OnceLock<Vec<f32>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let half = QUANTILES / 2;
        let upper: Vec<f32> = (0..half)
            .map(|index| -normal_quantile(((half - 1 - index) as f64 + 0.5) / QUANTILES as f64) as f32)
            .collect();
        upper.iter().rev().map(|value| -value).chain(upper.iter().copied()).collect()
    })
}

/// Inverse of the normal distribution for `p` in (0, 0.5], by Acklam's rational approximation (relative error
/// 1.2e-9, far below bf16).
fn normal_quantile(p: f64) -> f64 {
    const CENTRE_TOP: [f64; 6] = [
        -3.969683028665376e1,
        2.209460984245205e2,
        -2.759285104469687e2,
        1.38357751867269e2,
        -3.066479806614716e1,
        2.506628277459239,
    ];
    const CENTRE_BOTTOM: [f64; 6] = [
        -5.447609879822406e1,
        1.615858368580409e2,
        -1.556989798598866e2,
        6.680131188771972e1,
        -1.328068155288572e1,
        1.0,
    ];
    const TAIL_TOP: [f64; 6] = [
        -7.784894002430293e-3,
        -3.223964580411365e-1,
        -2.400758277161838,
        -2.549732539343734,
        4.374664141464968,
        2.938163982698783,
    ];
    const TAIL_BOTTOM: [f64; 5] =
        [7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996, 3.754408661907416, 1.0];
    let polynomial = |terms: &[f64], x: f64| terms.iter().fold(0.0, |sum, term| sum * x + term);
    if p < 0.02425 {
        let q = (-2.0 * natural_logarithm(p)).sqrt();
        return polynomial(&TAIL_TOP, q) / polynomial(&TAIL_BOTTOM, q);
    }
    let q = p - 0.5;
    polynomial(&CENTRE_TOP, q * q) * q / polynomial(&CENTRE_BOTTOM, q * q)
}

/// ln of a positive normal number from exact operations only; the system's `ln` may differ between machines.
fn natural_logarithm(x: f64) -> f64 {
    let bits = x.to_bits();
    let exponent = ((bits >> 52) & 0x7FF) as f64 - 1023.0;
    let mantissa = f64::from_bits((bits & 0x000F_FFFF_FFFF_FFFF) | 0x3FF0_0000_0000_0000);
    // ln m = 2 artanh((m-1)/(m+1)), with the argument at most 1/3.
    let ratio = (mantissa - 1.0) / (mantissa + 1.0);
    let series = (0..20).rev().fold(0.0, |sum, term| sum * ratio * ratio + 1.0 / (2 * term + 1) as f64);
    exponent * std::f64::consts::LN_2 + 2.0 * ratio * series
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: u64 = 7;

    /// Wide enough that a tensor spans many chunks and the parallel path is taken.
    fn wide() -> Config {
        Config { vocab_size: 30_000, ..Preset::Tiny.config() }
    }

    #[test]
    fn any_range_is_the_same_bytes_as_the_whole() {
        let config = wide();
        for part in
            [Part::Embedding, Part::Layer(1, LayerPart::DownBlocks), Part::Layer(0, LayerPart::GateUpScales)]
        {
            let whole = tensor(&config, SEED, part);
            let num_bytes = whole.bytes.len();
            for (start, len) in [(0, 2), (65_534, 6), (65_536, 1000), (2, num_bytes - 2), (100_000, 70_000)] {
                let (start, end) = (start.min(num_bytes), (start + len).min(num_bytes));
                let mut range = vec![0; end - start];
                fill(&config, SEED, part, start, &mut range);
                assert!(range == whole.bytes[start..end], "{part:?} {start}..{end}");
            }
        }
    }

    #[test]
    fn seed_name_and_nothing_else_decide() {
        let config = Preset::Tiny.config();
        let part = Part::Layer(0, LayerPart::GateUpBlocks);
        let bytes = |seed, part| tensor(&config, seed, part).bytes.to_vec();
        assert_eq!(bytes(SEED, part), bytes(SEED, part));
        assert_ne!(bytes(SEED, part), bytes(SEED + 1, part));
        assert_ne!(bytes(SEED, part), bytes(SEED, Part::Layer(1, LayerPart::GateUpBlocks)));
        assert_eq!(names::num_bytes(&config, part), bytes(SEED, part).len());
    }

    #[test]
    fn a_seed_means_these_bits_for_ever() {
        // The codes agree with an independent transcription of the generators; a change here breaks
        // everyone's `synthetic:PRESET@SEED`.
        let config = Preset::Tiny.config();
        let first = |part| tensor(&config, 0, part).bytes[..8].to_vec();
        let pinned =
            [first(Part::Embedding), first(Part::FinalNorm), first(Part::Layer(0, LayerPart::DownBlocks))];
        assert_eq!(pinned, PINNED.map(|bytes| bytes.to_vec()));
        let checksum = |part| {
            let bytes = tensor(&wide(), 0, part).bytes;
            bytes.iter().fold(0u64, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()))
        };
        assert_eq!(checksum(Part::Embedding), PINNED_CHECKSUM);
    }

    const PINNED: [[u8; 8]; 3] = [
        [71, 190, 36, 191, 47, 62, 155, 63],
        [132, 63, 128, 63, 103, 63, 79, 63],
        [16, 254, 10, 86, 130, 217, 138, 221],
    ];
    const PINNED_CHECKSUM: u64 = 13_017_218_509_597_921_323;

    #[test]
    fn the_numbers_have_the_promised_spread() {
        let config = wide();
        let spread = |part| {
            let values = tensor(&config, SEED, part).to_f32().unwrap();
            let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len() as f64;
            let square = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>();
            (mean, (square / values.len() as f64).sqrt())
        };
        let check = |part, mean: f64, deviation: f64| {
            let (found_mean, found_deviation) = spread(part);
            assert!((found_mean - mean).abs() < 0.02 * deviation.max(1.0), "{part:?} mean {found_mean}");
            assert!((found_deviation / deviation - 1.0).abs() < 0.02, "{part:?} deviation {found_deviation}");
        };
        check(Part::Embedding, 0.0, 1.0);
        check(Part::Unembedding, 0.0, 2.0 / 128f64.sqrt());
        check(Part::Layer(0, LayerPart::QWeight), 0.0, 0.02);
        let scales = tensor(&config, SEED, Part::Layer(0, LayerPart::GateUpScales));
        let seen: std::collections::BTreeSet<u8> = scales.bytes.iter().copied().collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [119, 120, 121]);
    }

    #[test]
    fn the_quantiles_are_those_of_the_normal_distribution() {
        let table = quantiles();
        assert_eq!(table.len(), QUANTILES);
        assert!(table.windows(2).all(|pair| pair[0] < pair[1]));
        // Known quantiles: 0.975 and 0.8413447 are 1.959964 and 1 deviations out.
        assert!((table[(0.975 * 65_536.0) as usize] - 1.959_964).abs() < 1e-3);
        assert!((table[(0.841_344_7 * 65_536.0) as usize] - 1.0).abs() < 1e-3);
        for x in [1e-5, 0.001, 0.5, 1.0, 3.7] {
            assert!((natural_logarithm(x) - f64::ln(x)).abs() < 1e-13, "{x}");
        }
    }
}
