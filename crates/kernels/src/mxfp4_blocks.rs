//! MXFP4 matrices as GGUF files have them: every scale in front of its codes.
//!
//! Entry point: [`Mxfp4Blocks`]. A block is 17 bytes, the scale and 16 bytes of codes; which two values share a byte
//! decides how the activations are stored ([`Q8Order`]) and nothing else. The gate and the up projection
//! are two stacks of rows there, where the published layout has their rows in turn; this type takes two stacks for one
//! matrix whose rows alternate, so that outputs come in the published order.
//!
//! The products are those of `linear_q8.rs`, to the bit: a block's sum is an integer, whatever the order in it.
//!
//! This module does not know experts or files.

use gptoss_formats::{BLOCK_VALUES, Mxfp4Block, NibbleOrder};

use crate::Q8Order;

/// A borrowed MXFP4 matrix of N rows (outputs) by K columns (inputs) in whole blocks.
#[derive(Clone, Copy, Debug)]
pub struct Mxfp4Blocks<'a> {
    /// `[N, K / 32]`, or the rows 0, 2, 4, ... of them; no scale is 255.
    pub even: &'a [Mxfp4Block],
    /// The rows 1, 3, 5, ...; empty when all rows are in `even`.
    pub odd: &'a [Mxfp4Block],
    /// Which two values share a byte.
    pub nibbles: NibbleOrder,
}

impl<'a> Mxfp4Blocks<'a> {
    /// Panics unless the lengths are those of N rows of K values.
    pub(crate) fn assert_shape(&self, n: usize, k: usize) {
        assert!(k.is_multiple_of(BLOCK_VALUES), "mxfp4: K = {k} is no multiple of 32");
        let blocks = n * k / BLOCK_VALUES;
        match self.odd.is_empty() {
            true => assert_eq!(self.even.len(), blocks, "mxfp4: blocks are [N, K / 32]"),
            false => assert_eq!([self.even.len(), self.odd.len()].map(|len| 2 * len), [blocks; 2]),
        }
    }

    /// The order that activations have for it.
    pub fn order(&self) -> Q8Order {
        match self.nibbles {
            NibbleOrder::Neighbors => Q8Order::Mxfp4,
            NibbleOrder::Halves => Q8Order::Mxfp4Halves,
        }
    }

    /// `rows` rows from `first` on, which is even.
    #[inline(always)]
    pub(crate) fn rows(&self, first: usize, rows: usize, num_blocks: usize) -> Mxfp4Blocks<'a> {
        if self.odd.is_empty() {
            return Mxfp4Blocks { even: &self.even[first * num_blocks..][..rows * num_blocks], ..*self };
        }
        let part =
            |stack: &'a [Mxfp4Block], rows: usize| &stack[first / 2 * num_blocks..][..rows * num_blocks];
        Mxfp4Blocks { even: part(self.even, rows.div_ceil(2)), odd: part(self.odd, rows / 2), ..*self }
    }

    /// Row `n`.
    #[inline(always)]
    pub(crate) fn row(&self, n: usize, num_blocks: usize) -> &'a [Mxfp4Block] {
        let (stack, place) = match (self.odd.is_empty(), n % 2) {
            (true, _) => (self.even, n),
            (false, 0) => (self.even, n / 2),
            (false, _) => (self.odd, n / 2),
        };
        &stack[place * num_blocks..][..num_blocks]
    }

    /// The `place`-th of `rows` rows in the order in which they lie in memory: one stack after the other.
    #[inline(always)]
    pub(crate) fn nth_in_memory(&self, place: usize, rows: usize) -> usize {
        let even = rows.div_ceil(2);
        match (self.odd.is_empty(), place < even) {
            (true, _) => place,
            (false, true) => 2 * place,
            (false, false) => 2 * (place - even) + 1,
        }
    }
}
