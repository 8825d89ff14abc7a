//! Low-rank additions to the matrices of a checkpoint, in the one form that the program works with.
//!
//! [`Adapter`] is what any stack's files become: which matrix is meant, and the two factors of what is added.
//! Gates and ups are one matrix, as they are in [`LayerPart::GateUpBlocks`](crate::LayerPart): stacks that
//! tune them apart are read as a pair of twice the rank. Letters are those of [`Part`].

mod check;
mod dora;
mod key;
mod read;
mod settings;
mod site;
mod write;

use std::collections::BTreeMap;

use crate::{ExpertFormat, Part};

pub use check::ADAPTER_RANK_MAX;
pub use read::{
    ADAPTER_CONFIG_BYTES_MAX, AdapterForm, LayoutSource, ReadAdapter, parse_adapter, read_adapter,
};
pub use settings::{ADAPTER_PATTERNS_MAX, FactorLayout};
pub use write::{FactorDtype, write_adapter};

/// The file with an adapter's numbers.
const WEIGHTS_FILE: &str = "adapter_model.safetensors";
/// The file that says what they are.
const CONFIG_FILE: &str = "adapter_config.json";

/// A matrix that something is added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AdapterSite {
    /// The token embedding `[V, C]`.
    Embedding,
    /// The query projection `[H*D, C]` of a layer.
    Query(usize),
    /// The key projection `[K*D, C]` of a layer.
    Key(usize),
    /// The value projection `[K*D, C]` of a layer.
    Value(usize),
    /// The output projection `[C, H*D]` of attention in a layer.
    Out(usize),
    /// The gate and up projection `[2F, C]` of an expert, rows interleaved gate, up, gate, up.
    GateUp {
        /// Index of the layer.
        layer: usize,
        /// Index of the expert; 0 where a layer is dense.
        expert: usize,
    },
    /// The down projection `[C, F]` of an expert.
    Down {
        /// Index of the layer.
        layer: usize,
        /// Index of the expert; 0 where a layer is dense.
        expert: usize,
    },
    /// The output projection `[V, C]`.
    Unembedding,
}

/// `scale * B A`, what is added to a matrix `[N, K]`.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterPair {
    /// r
    pub rank: usize,
    /// Factor on the product: `alpha / r`, or `alpha / sqrt(r)`.
    pub scale: f32,
    /// A: `[r, K]`.
    pub a: Vec<f32>,
    /// B: `[N, r]`.
    pub b: Vec<f32>,
}

/// Rows of the embedding and of the head that stand in place of the base's: control tokens that were learned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AdapterRows {
    /// Which tokens, ascending.
    pub tokens: Vec<u32>,
    /// `[tokens, C]` in place of rows of the embedding; empty where they stay.
    pub embedding: Vec<f32>,
    /// `[tokens, C]` in place of rows of the head; empty where they stay.
    pub unembedding: Vec<f32>,
}

/// Everything that an adapter changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Adapter {
    /// What is added, by matrix.
    pub pairs: BTreeMap<AdapterSite, AdapterPair>,
    /// Single rows that are replaced.
    pub rows: AdapterRows,
    /// Whole parts that are replaced, as router weights and biases are: `(part, its numbers)`.
    pub replaced: Vec<(Part, Vec<f32>)>,
    /// With quantization-aware training, the merge that gives the model that was trained.
    pub trained_for: Option<TrainedFor>,
}

/// The one merge that gives the model that was trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainedFor {
    /// The format of experts.
    pub format: ExpertFormat,
    base: Option<[u8; CHECKSUM_DIGITS]>,
}

/// Hexadecimal digits of a base's checksum.
const CHECKSUM_DIGITS: usize = 64;

impl TrainedFor {
    /// Into a base of this checksum: 64 hexadecimal digits; of anything else none is known.
    pub fn new(format: ExpertFormat, checksum: &str) -> TrainedFor {
        TrainedFor { format, base: digits(checksum) }
    }

    /// The checksum of the base, where it is known.
    pub fn base(&self) -> Option<&str> {
        self.base.as_ref().and_then(|digits| str::from_utf8(digits).ok())
    }
}

fn digits(checksum: &str) -> Option<[u8; CHECKSUM_DIGITS]> {
    let digits = <[u8; CHECKSUM_DIGITS]>::try_from(checksum.as_bytes()).ok()?;
    digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_known_by_all_of_its_checksum() {
        let checksum = "0f".repeat(32);
        let base = |checksum: &str| TrainedFor::new(ExpertFormat::Mxfp4, checksum).base().map(str::to_owned);
        assert_eq!(base(&checksum), Some(checksum.clone()));
        for wrong in ["", &checksum[1..], &checksum.replace('f', "g")] {
            assert_eq!(base(wrong), None, "{wrong}");
        }
    }
}
