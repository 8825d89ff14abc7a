//! llama.cpp's k-quants, and IQ4_XS: 256 values under one or two f16 scales, with small scales for 16 or 32
//! of them.
//!
//! Entry points: one function a format, which unpacks one of eight groups of 32 values into a [`Group`], and
//! [`Group::values`]. Groups share the bytes of codes: a group takes the same bits of 32 neighbors. A value
//! is `scale * code - shift`, where scale and shift are small integers times the f16 of the block; sums and
//! products are those of llama.cpp, in f32. Blocks have the bytes that their format has.
//!
//! Source: `ggml-common.h` and `ggml-quants.c` of llama.cpp.

use crate::BLOCK_VALUES;
use crate::small_blocks::{IQ4, half_number, nibble};

/// Values of a block.
pub(crate) const SUPER_BLOCK_VALUES: usize = 256;

/// A group, unpacked; scale and shift of each half of it.
pub(crate) struct Group {
    codes: [i8; BLOCK_VALUES],
    scales: [f32; 2],
    shifts: [f32; 2],
}

impl Group {
    /// The numbers of the group.
    pub(crate) fn values(&self) -> [f32; BLOCK_VALUES] {
        std::array::from_fn(|value| {
            self.scales[value / 16] * f32::from(self.codes[value]) - self.shifts[value / 16]
        })
    }
}

/// 16 bytes of a scale and a shift for 16 values, 64 of codes, scale, shift.
pub(crate) fn q2(block: &[u8], group: usize) -> Group {
    let (scale, shift) = (number(block, 80), number(block, 82));
    let pair = |half: usize| block[2 * group + half];
    Group {
        codes: std::array::from_fn(|value| two_bits(&block[16..], group, value) as i8),
        scales: [0, 1].map(|half| scale * f32::from(pair(half) & 15)),
        shifts: [0, 1].map(|half| shift * f32::from(pair(half) >> 4)),
    }
}

/// 32 bytes of third bits, 64 of codes, 12 of scales for 16 values, scale.
pub(crate) fn q3(block: &[u8], group: usize) -> Group {
    let packed = &block[96..];
    let scale_of = |nth: usize| {
        let low = packed[nth % 8] >> (nth / 8 * 4) & 15;
        let high = packed[8 + nth % 4] >> (nth / 4 * 2) & 3;
        (low | high << 4) as i8 - 32
    };
    let code = |value: usize| {
        let low = two_bits(&block[32..], group, value) as i8;
        // The bit says that nothing is taken away.
        if block[value] >> group & 1 == 1 { low } else { low - 4 }
    };
    Group {
        codes: std::array::from_fn(code),
        scales: [0, 1].map(|half| number(block, 108) * f32::from(scale_of(2 * group + half))),
        shifts: [0.0; 2],
    }
}

/// Scale, shift, 12 bytes of scales and shifts for 32 values, 128 of codes.
pub(crate) fn q4(block: &[u8], group: usize) -> Group {
    let (scale, shift) = scale_and_shift(block, group);
    let codes = std::array::from_fn(|value| four_bits(&block[16..], group, value) as i8);
    Group { codes, scales: [scale; 2], shifts: [shift; 2] }
}

/// As [`q4`], with 32 bytes of fifth bits before the codes.
pub(crate) fn q5(block: &[u8], group: usize) -> Group {
    let (scale, shift) = scale_and_shift(block, group);
    let code = |value: usize| {
        let fifth = block[16 + value] >> group & 1;
        four_bits(&block[48..], group, value) | fifth << 4
    };
    Group { codes: std::array::from_fn(|value| code(value) as i8), scales: [scale; 2], shifts: [shift; 2] }
}

/// 128 bytes of the lower four bits, 64 of the upper two, 16 of signed scales for 16 values, scale.
pub(crate) fn q6(block: &[u8], group: usize) -> Group {
    let code = |value: usize| {
        // Of 64 bytes the low halves come first.
        let byte = block[group / 4 * 64 + group % 2 * 32 + value];
        let low = byte >> (group % 4 / 2 * 4) & 15;
        (low | two_bits(&block[128..], group, value) << 4) as i8 - 32
    };
    Group {
        codes: std::array::from_fn(code),
        scales: [0, 1].map(|half| number(block, 208) * f32::from(block[192 + 2 * group + half] as i8)),
        shifts: [0.0; 2],
    }
}

/// Scale, 6 bytes of scales for 32 values (the upper two bits of all in the first two), 128 of codes, each
/// group as a block of IQ4_NL has them.
pub(crate) fn iq4_xs(block: &[u8], group: usize) -> Group {
    let high = u16::from_le_bytes([block[2], block[3]]) >> (2 * group) & 3;
    let low = block[4 + group / 2] >> (group % 2 * 4) & 15;
    let scale = number(block, 0) * f32::from((low | (high as u8) << 4) as i8 - 32);
    let codes = &block[8 + 16 * group..];
    Group {
        codes: std::array::from_fn(|value| IQ4[usize::from(nibble(codes, value))]),
        scales: [scale; 2],
        shifts: [0.0; 2],
    }
}

/// Those of a group of Q4_K and Q5_K: the first four are six bits of a byte each, whose upper two bits
/// complete the last four.
fn scale_and_shift(block: &[u8], group: usize) -> (f32, f32) {
    let packed = &block[4..];
    let (scale, shift) = match group {
        0..4 => (packed[group] & 63, packed[group + 4] & 63),
        _ => {
            let (low, scale, shift) = (packed[group + 4], packed[group - 4], packed[group]);
            ((low & 15) | (scale >> 6 << 4), (low >> 4) | (shift >> 6 << 4))
        }
    };
    (number(block, 0) * f32::from(scale), number(block, 2) * f32::from(shift))
}

/// Two bits of a value: four groups share 32 bytes.
fn two_bits(bytes: &[u8], group: usize, value: usize) -> u8 {
    bytes[group / 4 * 32 + value] >> (group % 4 * 2) & 3
}

/// Four bits of a value: two groups share 32 bytes.
fn four_bits(bytes: &[u8], group: usize, value: usize) -> u8 {
    bytes[group / 2 * 32 + value] >> (group % 2 * 4) & 15
}

fn number(block: &[u8], at: usize) -> f32 {
    half_number(block, at).to_f32()
}
