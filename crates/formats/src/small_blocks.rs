//! llama.cpp's blocks of 32: four or five bits a value under an f16 scale, or one number of a table.
//!
//! Entry points: one function a format, which unpacks a block into a [`Small`]. A value is `scale * code +
//! shift`; where there is no shift, scale and codes are those of a Q8_0 block, which then means the same
//! numbers exactly. Value `i` is in the low half of byte `i`, value `i + 16` in its high half; a fifth bit
//! comes from a word of 32. Blocks have the bytes that their format has.
//!
//! Source: `ggml-common.h` and `ggml-quants.c` of llama.cpp.

use half::f16;

use crate::BLOCK_VALUES;

/// What the sixteen codes of IQ4_NL and IQ4_XS mean: steps that are finer near zero.
pub(crate) const IQ4: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// One block, unpacked.
pub(crate) struct Small {
    pub(crate) scale: f16,
    /// `None` where the format has none.
    pub(crate) shift: Option<f16>,
    pub(crate) codes: [i8; BLOCK_VALUES],
}

impl Small {
    /// The numbers of the block.
    pub(crate) fn values(&self) -> [f32; BLOCK_VALUES] {
        let (scale, shift) = (self.scale.to_f32(), self.shift.map_or(0.0, f16::to_f32));
        self.codes.map(|code| f32::from(code) * scale + shift)
    }
}

/// Scale, codes around 8.
pub(crate) fn q4_0(block: &[u8]) -> Small {
    let codes = std::array::from_fn(|value| nibble(&block[2..], value) as i8 - 8);
    Small { scale: half_number(block, 0), shift: None, codes }
}

/// Scale, shift, codes.
pub(crate) fn q4_1(block: &[u8]) -> Small {
    let codes = std::array::from_fn(|value| nibble(&block[4..], value) as i8);
    Small { scale: half_number(block, 0), shift: Some(half_number(block, 2)), codes }
}

/// Scale, fifth bits, codes around 16.
pub(crate) fn q5_0(block: &[u8]) -> Small {
    let codes = five_bits(&block[2..]).map(|code| code - 16);
    Small { scale: half_number(block, 0), shift: None, codes }
}

/// Scale, shift, fifth bits, codes.
pub(crate) fn q5_1(block: &[u8]) -> Small {
    let codes = five_bits(&block[4..]);
    Small { scale: half_number(block, 0), shift: Some(half_number(block, 2)), codes }
}

/// Scale, codes of the table.
pub(crate) fn iq4_nl(block: &[u8]) -> Small {
    let codes = std::array::from_fn(|value| IQ4[usize::from(nibble(&block[2..], value))]);
    Small { scale: half_number(block, 0), shift: None, codes }
}

/// The f16 at a place of a block.
pub(crate) fn half_number(block: &[u8], at: usize) -> f16 {
    f16::from_le_bytes([block[at], block[at + 1]])
}

/// The four bits of a value among sixteen bytes.
pub(crate) fn nibble(bytes: &[u8], value: usize) -> u8 {
    bytes[value % 16] >> (value / 16 * 4) & 15
}

/// Four bytes of fifth bits, sixteen of codes.
fn five_bits(bytes: &[u8]) -> [i8; BLOCK_VALUES] {
    let high = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    std::array::from_fn(|value| {
        let fifth = ((high >> value & 1) << 4) as u8;
        (nibble(&bytes[4..], value) | fifth) as i8
    })
}
