//! Which element types a GGUF file may name, how large their blocks are, and which of them this program
//! computes with.
//!
//! Entry point: [`GgmlType::from_id`]. The table holds every type whose size is known, also those that are
//! only refused later, so that a file of a foreign quantisation is told apart from a damaged one:
//! "blk.0.attn_q.weight is IQ2_S" helps, "unknown type 22" does not. f32, f16, bf16, Q8_0 and MXFP4, the last
//! in two orders of nibbles, are used as they are; what [`GgmlQuant`] lists becomes Q8_0.
//!
//! Source: the specification of architecture and files, section 2.6. This module does not know what tensors
//! mean.

use std::fmt;

use gptoss_formats::{BLOCK_VALUES, GgmlQuant, Mxfp4Block, NibbleOrder, Q8_0_BLOCK_BYTES};

/// An element type of a GGUF file. Units: values and bytes of one block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct GgmlType {
    /// The number in the file.
    pub id: u32,
    /// The usual name.
    pub name: &'static str,
    /// Values of one block; a row is whole blocks.
    pub block_values: usize,
    /// Bytes of one block.
    pub block_bytes: usize,
    /// What the bytes are, for the types that are read.
    pub storage: Option<Storage>,
}

/// The formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16.
    Bf16,
    /// 32 signed bytes behind one f16 scale.
    Q8_0,
    /// 32 codes of four bits behind one E8M0 scale.
    Mxfp4(NibbleOrder),
    /// What becomes Q8_0 when it is read.
    Quantized(GgmlQuant),
}

const fn read(
    id: u32,
    name: &'static str,
    block_values: usize,
    block_bytes: usize,
    storage: Storage,
) -> GgmlType {
    GgmlType { id, name, block_values, block_bytes, storage: Some(storage) }
}

const fn quantized(id: u32, name: &'static str, quant: GgmlQuant) -> GgmlType {
    read(id, name, quant.block_values(), quant.block_bytes(), Storage::Quantized(quant))
}

const fn foreign(id: u32, name: &'static str, block_values: usize, block_bytes: usize) -> GgmlType {
    GgmlType { id, name, block_values, block_bytes, storage: None }
}

/// Every type with a known size. Number 4 once was another format that no file of this family can have;
/// Ollama's first gpt-oss files use it for MXFP4.
const TYPES: [GgmlType; 35] = [
    read(0, "F32", 1, 4, Storage::F32),
    read(1, "F16", 1, 2, Storage::F16),
    read(
        4,
        "MXFP4 (Ollama's number 4)",
        BLOCK_VALUES,
        size_of::<Mxfp4Block>(),
        Storage::Mxfp4(NibbleOrder::Neighbors),
    ),
    read(8, "Q8_0", BLOCK_VALUES, Q8_0_BLOCK_BYTES, Storage::Q8_0),
    read(30, "BF16", 1, 2, Storage::Bf16),
    read(39, "MXFP4", BLOCK_VALUES, size_of::<Mxfp4Block>(), Storage::Mxfp4(NibbleOrder::Halves)),
    quantized(2, "Q4_0", GgmlQuant::Q4_0),
    quantized(3, "Q4_1", GgmlQuant::Q4_1),
    quantized(6, "Q5_0", GgmlQuant::Q5_0),
    quantized(7, "Q5_1", GgmlQuant::Q5_1),
    foreign(9, "Q8_1", 32, 36),
    quantized(10, "Q2_K", GgmlQuant::Q2K),
    quantized(11, "Q3_K", GgmlQuant::Q3K),
    quantized(12, "Q4_K", GgmlQuant::Q4K),
    quantized(13, "Q5_K", GgmlQuant::Q5K),
    quantized(14, "Q6_K", GgmlQuant::Q6K),
    foreign(15, "Q8_K", 256, 292),
    foreign(16, "IQ2_XXS", 256, 66),
    foreign(17, "IQ2_XS", 256, 74),
    foreign(18, "IQ3_XXS", 256, 98),
    foreign(19, "IQ1_S", 256, 50),
    quantized(20, "IQ4_NL", GgmlQuant::Iq4Nl),
    foreign(21, "IQ3_S", 256, 110),
    foreign(22, "IQ2_S", 256, 82),
    quantized(23, "IQ4_XS", GgmlQuant::Iq4Xs),
    foreign(24, "I8", 1, 1),
    foreign(25, "I16", 1, 2),
    foreign(26, "I32", 1, 4),
    foreign(27, "I64", 1, 8),
    foreign(28, "F64", 1, 8),
    foreign(29, "IQ1_M", 256, 56),
    foreign(34, "TQ1_0", 256, 54),
    foreign(35, "TQ2_0", 256, 66),
    foreign(40, "NVFP4", 64, 36),
    foreign(41, "Q1_0", 128, 18),
];

impl GgmlType {
    /// The type with this number; `None` when its size is not known.
    pub fn from_id(id: u32) -> Option<GgmlType> {
        TYPES.iter().find(|known| known.id == id).copied()
    }
}

impl fmt::Debug for GgmlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_listed_once() {
        for (index, one) in TYPES.iter().enumerate() {
            assert!(TYPES[..index].iter().all(|other| other.id != one.id), "{}", one.id);
            assert_eq!(GgmlType::from_id(one.id), Some(*one));
        }
        assert_eq!(GgmlType::from_id(5), None);
    }
}
