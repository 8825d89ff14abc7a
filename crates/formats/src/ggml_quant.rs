//! llama.cpp's other quantizations of dense matrices, which become Q8_0 when they are read.
//!
//! Entry point: [`GgmlQuant`]. Q4_0, Q5_0 and IQ4_NL are Q8_0 with fewer different integers, so that they
//! keep every number; the others have a shift or several scales in a block of 32 and are rounded to the
//! nearest integer of one scale, as a matrix of bf16 is.
//!
//! Any bytes of the right length are a block. A scale that is no number makes a block of NaN, as loud as in
//! the file.

use crate::small_blocks::{self, Small};
use crate::super_blocks::{self, Group, SUPER_BLOCK_VALUES};
use crate::{BLOCK_VALUES, Q8_0Block, q8_0_quantize};

/// Blocks of a scale or more with a few bits a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GgmlQuant {
    /// Four bits around a middle.
    Q4_0,
    /// Four bits from a smallest value on.
    Q4_1,
    /// Five bits around a middle.
    Q5_0,
    /// Five bits from a smallest value on.
    Q5_1,
    /// Four bits that choose from a table.
    Iq4Nl,
    /// Two bits, shift, sixteen scales.
    Q2K,
    /// Three bits, sixteen scales.
    Q3K,
    /// Four bits, shift, eight scales.
    Q4K,
    /// Five bits, shift, eight scales.
    Q5K,
    /// Six bits, sixteen scales.
    Q6K,
    /// As IQ4_NL, with eight scales.
    Iq4Xs,
}

impl GgmlQuant {
    /// Every one of them.
    pub const ALL: [GgmlQuant; 11] = {
        use GgmlQuant::{Iq4Nl, Iq4Xs, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K};
        [Q4_0, Q4_1, Q5_0, Q5_1, Iq4Nl, Q2K, Q3K, Q4K, Q5K, Q6K, Iq4Xs]
    };

    /// Values of a block; a multiple of [`BLOCK_VALUES`].
    pub const fn block_values(self) -> usize {
        match self {
            GgmlQuant::Q4_0 | GgmlQuant::Q4_1 | GgmlQuant::Q5_0 | GgmlQuant::Q5_1 | GgmlQuant::Iq4Nl => {
                BLOCK_VALUES
            }
            GgmlQuant::Q2K
            | GgmlQuant::Q3K
            | GgmlQuant::Q4K
            | GgmlQuant::Q5K
            | GgmlQuant::Q6K
            | GgmlQuant::Iq4Xs => SUPER_BLOCK_VALUES,
        }
    }

    /// Bytes of a block.
    pub const fn block_bytes(self) -> usize {
        match self {
            GgmlQuant::Q4_0 | GgmlQuant::Iq4Nl => 18,
            GgmlQuant::Q4_1 => 20,
            GgmlQuant::Q5_0 => 22,
            GgmlQuant::Q5_1 => 24,
            GgmlQuant::Q2K => 84,
            GgmlQuant::Q3K => 110,
            GgmlQuant::Iq4Xs => 136,
            GgmlQuant::Q4K => 144,
            GgmlQuant::Q5K => 176,
            GgmlQuant::Q6K => 210,
        }
    }

    /// The numbers of a block, as llama.cpp computes them in f32.
    ///
    /// Shapes: `out [block_values]`, `block [block_bytes]`.
    /// Panics: when they have others.
    pub fn dequantize(self, out: &mut [f32], block: &[u8]) {
        assert_eq!((out.len(), block.len()), (self.block_values(), self.block_bytes()), "one {self:?} block");
        for (index, out) in out.as_chunks_mut::<BLOCK_VALUES>().0.iter_mut().enumerate() {
            *out = match self.unpack(block, index) {
                Unpacked::Small(small) => small.values(),
                Unpacked::Group(group) => group.values(),
            };
        }
    }

    /// A block as Q8_0.
    ///
    /// Shapes: `out [block_values / 32]`, `block [block_bytes]`.
    /// Panics: when they have others.
    pub fn to_q8_0(self, out: &mut [Q8_0Block], block: &[u8]) {
        let shape = (out.len() * BLOCK_VALUES, block.len());
        assert_eq!(shape, (self.block_values(), self.block_bytes()), "one {self:?} block");
        for (index, out) in out.iter_mut().enumerate() {
            match self.unpack(block, index) {
                Unpacked::Small(Small { scale, shift: None, codes }) => {
                    let (scale_bytes, values) = out.split_at_mut(2);
                    scale_bytes.copy_from_slice(&scale.to_le_bytes());
                    values.iter_mut().zip(codes).for_each(|(value, code)| *value = code as u8);
                }
                Unpacked::Small(small) => q8_0_quantize(out, &small.values()),
                Unpacked::Group(group) => q8_0_quantize(out, &group.values()),
            }
        }
    }

    /// 32 values of a block: the only ones, or those of a group.
    fn unpack(self, block: &[u8], group: usize) -> Unpacked {
        match self {
            GgmlQuant::Q4_0 => Unpacked::Small(small_blocks::q4_0(block)),
            GgmlQuant::Q4_1 => Unpacked::Small(small_blocks::q4_1(block)),
            GgmlQuant::Q5_0 => Unpacked::Small(small_blocks::q5_0(block)),
            GgmlQuant::Q5_1 => Unpacked::Small(small_blocks::q5_1(block)),
            GgmlQuant::Iq4Nl => Unpacked::Small(small_blocks::iq4_nl(block)),
            GgmlQuant::Q2K => Unpacked::Group(super_blocks::q2(block, group)),
            GgmlQuant::Q3K => Unpacked::Group(super_blocks::q3(block, group)),
            GgmlQuant::Q4K => Unpacked::Group(super_blocks::q4(block, group)),
            GgmlQuant::Q5K => Unpacked::Group(super_blocks::q5(block, group)),
            GgmlQuant::Q6K => Unpacked::Group(super_blocks::q6(block, group)),
            GgmlQuant::Iq4Xs => Unpacked::Group(super_blocks::iq4_xs(block, group)),
        }
    }
}

/// 32 values as their block has them.
enum Unpacked {
    Small(Small),
    Group(Group),
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;
    use crate::{Q8_0_BLOCK_BYTES, q8_0_dequantize, q8_0_scale};

    /// Where the f16 numbers of a block are.
    fn half_places(quant: GgmlQuant) -> &'static [usize] {
        match quant {
            GgmlQuant::Q4_1 | GgmlQuant::Q5_1 | GgmlQuant::Q4K | GgmlQuant::Q5K => &[0, 2],
            GgmlQuant::Q2K => &[80, 82],
            GgmlQuant::Q3K => &[108],
            GgmlQuant::Q6K => &[208],
            GgmlQuant::Q4_0 | GgmlQuant::Q5_0 | GgmlQuant::Iq4Nl | GgmlQuant::Iq4Xs => &[0],
        }
    }

    /// Sixteen blocks of random bytes, as `reference/ggml_quants.py` makes them.
    fn blocks(quant: GgmlQuant) -> Vec<Vec<u8>> {
        let mut bits = 2_463_534_242_u32;
        let mut byte = || {
            bits ^= bits << 13;
            bits ^= bits >> 17;
            bits ^= bits << 5;
            (bits >> 24) as u8
        };
        let mut block = || {
            let mut block: Vec<u8> = (0..quant.block_bytes()).map(|_| byte()).collect();
            half_places(quant).iter().for_each(|at| block[at + 1] = block[at + 1] & 0x83 | 0x20);
            block
        };
        (0..16).map(|_| block()).collect()
    }

    fn values(quant: GgmlQuant, block: &[u8]) -> Vec<f32> {
        let mut out = vec![0.0; quant.block_values()];
        quant.dequantize(&mut out, block);
        out
    }

    fn as_q8_0(quant: GgmlQuant, block: &[u8]) -> (Vec<f32>, Vec<Q8_0Block>) {
        let mut blocks = vec![[0; Q8_0_BLOCK_BYTES]; quant.block_values() / BLOCK_VALUES];
        quant.to_q8_0(&mut blocks, block);
        let mut out = vec![0.0; quant.block_values()];
        out.as_chunks_mut().0.iter_mut().zip(&blocks).for_each(|(out, block)| q8_0_dequantize(out, block));
        (out, blocks)
    }

    /// The sum of all values, each times its place, the first and the last: what `gguf.quants.dequantize` of
    /// llama.cpp's Python package 0.19 gives for the same bytes (`testdata/README.md`), to the bit.
    #[test]
    fn blocks_mean_what_llama_cpp_says() {
        let expected = [
            (GgmlQuant::Q4_0, [-302.10650634765625, -0.02442169189453125, -0.0263671875]),
            (GgmlQuant::Q4_1, [-3784.4116287231445, -0.00167083740234375, -0.09597015380859375]),
            (GgmlQuant::Q5_0, [1101.227897644043, 0.0, -0.0648193359375]),
            (GgmlQuant::Q5_1, [9347.871170043945, -0.08307647705078125, 0.131866455078125]),
            (GgmlQuant::Iq4Nl, [-3232.7814407348633, -0.3093414306640625, -0.3076171875]),
            (GgmlQuant::Q2K, [282463.36865997314, -0.1300811767578125, -0.15552520751953125]),
            (GgmlQuant::Q3K, [-185473.48900604248, -0.08294677734375, 0.36258697509765625]),
            (GgmlQuant::Q4K, [2746113.4416122437, -1.3755035400390625, -9.316802978515625]),
            (GgmlQuant::Q5K, [8452330.305412292, -4.0130462646484375, 2.7216110229492188]),
            (GgmlQuant::Q6K, [-785882.2994842529, -23.6513671875, -29.2862548828125]),
            (GgmlQuant::Iq4Xs, [-3625847.057220459, -7.7660980224609375, -11.996856689453125]),
        ];
        assert_eq!(expected.map(|(quant, _)| quant), GgmlQuant::ALL);
        for (quant, expected) in expected {
            let all: Vec<f64> =
                blocks(quant).iter().flat_map(|block| values(quant, block)).map(f64::from).collect();
            let sum = all.iter().zip(1..).map(|(value, place)| f64::from(place) * value).sum::<f64>();
            assert_eq!([sum, all[0], all[all.len() - 1]], expected, "{quant:?}");
        }
    }

    #[test]
    fn what_q8_0_can_say_stays_exact_and_the_rest_is_within_half_a_step() {
        for (quant, block) in GgmlQuant::ALL
            .into_iter()
            .flat_map(|quant| blocks(quant).into_iter().map(move |block| (quant, block)))
        {
            let (expected, (found, blocks)) = (values(quant, &block), as_q8_0(quant, &block));
            if matches!(quant, GgmlQuant::Q4_0 | GgmlQuant::Q5_0 | GgmlQuant::Iq4Nl) {
                assert_eq!(found, expected, "{quant:?}");
            }
            let steps = blocks.iter().flat_map(|block| [q8_0_scale(block).to_f32(); BLOCK_VALUES]);
            for ((found, expected), step) in found.iter().zip(&expected).zip(steps) {
                assert!(
                    (found - expected).abs() <= 0.50001 * step.abs(),
                    "{quant:?}: {expected} became {found}"
                );
            }
        }
    }

    #[test]
    fn a_scale_that_is_no_number_is_loud() {
        for quant in GgmlQuant::ALL {
            let mut block = blocks(quant).remove(0);
            let at = half_places(quant)[0];
            block[at..at + 2].copy_from_slice(&f16::NAN.to_le_bytes());
            assert!(values(quant, &block).iter().all(|value| value.is_nan()), "{quant:?}");
            assert!(as_q8_0(quant, &block).0.iter().all(|value| value.is_nan()), "{quant:?}");
        }
    }
}
